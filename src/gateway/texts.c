/* texts.c -- the header lines that are the same for every request to a deployment, written once a snapshot.
 *
 * On the road they are then one copy each instead of a dozen: about 0.4 µs a request. They hold the deployment's key, so they are never logged. */
#include "gateway/gateway.h"
#include "gateway/lines.h"

/* "POST {absolute or not}{path of api_base}": what comes before the call's own path. */
static struct str start_line(struct arena *a, const struct deployment *d,
                             const struct http_target *t)
{
    const struct endpoint *e = &d->endpoint;
    bool absolute = t->proxy && !t->tls; /* for a proxy (RFC 9112 §3.2.2) */
    return arena_printf(a, "POST %s%.*s%.*s", absolute ? "http://" : "",
                        STR_ARG(absolute ? e->authority : STR_NONE), STR_ARG(e->path));
}

static struct str upstream_lines(struct arena *a, const struct deployment *d,
                                 const struct http_target *t)
{
    size_t room = 256 + d->endpoint.authority.n + d->authorization.n +
                  (t->proxy ? sizeof t->proxy->authorization : 0);
    for (int i = 0; i < d->extra_header_count; i++)
        room += d->extra_headers[i].name.n + d->extra_headers[i].value.n + 4;
    char *text = arena_alloc(a, room), *at = text;
    at = put(at, STR(" HTTP/1.1\r\n"));
    at = put_line(at, STR("host"), d->endpoint.authority);
    at = put(
        at,
        STR("content-type: application/json\r\naccept-encoding: identity\r\nuser-agent: weir\r\n"));
    if (t->proxy && !t->tls && t->proxy->authorization[0])
        at = put_line(at, STR("proxy-authorization"), str_from(t->proxy->authorization));
    if (d->authorization.n)
        at = put_line(at, STR("authorization"), d->authorization);
    for (int i = 0; i < d->extra_header_count; i++)
        at = put_line(at, d->extra_headers[i].name, d->extra_headers[i].value);
    ENSURE((size_t)(at - text) <= room);
    return (struct str){text, (size_t)(at - text)};
}

static struct str answer_lines(struct arena *a, const struct deployment *d, const char *version)
{
    bool wildcard = str_find(d->model_name, '*') >= 0;
    return arena_printf(
        a,
        "x-litellm-model-id: %.*s\r\nx-litellm-model-api-base: "
        "%.*s\r\n%s%.*s%s" GATEWAY_VERSION_HEADER ": %s\r\n",
        STR_ARG(d->model_id), STR_ARG(d->api_base),
        wildcard ? "" : "x-litellm-model-group: ", STR_ARG(wildcard ? STR_NONE : d->model_name),
        wildcard ? "" : "\r\n", version);
}

struct deployment_texts *texts_new(struct snapshot *s, const char *version)
{
    const struct config *c = s->config;
    struct deployment_texts *texts =
        arena_zalloc(&s->arena, MAX(c->deployment_count, 1u) * sizeof *texts);
    for (uint32_t i = 0; i < c->deployment_count; i++) {
        const struct deployment *d = &c->deployments[i];
        const struct http_target *t = &s->targets[d->target];
        texts[i].start = start_line(&s->arena, d, t);
        texts[i].upstream = upstream_lines(&s->arena, d, t);
        texts[i].answer = answer_lines(&s->arena, d, version);
    }
    return texts;
}
