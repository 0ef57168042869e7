/* question.c -- one request to the gateway of this machine, and its whole answer. */
#include "cli/question.h"

/* A listener on all addresses is asked on this machine's own. */
static struct str host_to_ask(struct str host)
{
    static const struct {
        const char *any, *own;
    } hosts[] = {
        {"0.0.0.0", "127.0.0.1"}, {"*", "127.0.0.1"}, {"localhost", "127.0.0.1"}, {"::", "::1"}};
    for (size_t i = 0; i < COUNT(hosts); i++)
        if (str_eq(host, str_from(hosts[i].any)))
            return str_from(hosts[i].own);
    return host;
}

bool question_ask(struct question *q, const struct config_listener *at, struct str request,
                  size_t body_bytes_max, int64_t timeout_ms)
{
    struct tls_client_options own_certificate = {.insecure = true};
    struct http_target target = {.host = host_to_ask(at->host),
                                 .port = at->port,
                                 .tls = at->tls,
                                 .authority = STR("localhost")};
    struct err e = {0};
    *q = (struct question){0};
    arena_init(&q->arena, NULL, 0);
    if (!str_starts(at->host, STR("unix:")) && at->port == 0)
        snprintf(q->answer.failure, sizeof q->answer.failure,
                 "port 0 does not tell where it would be");
    else if (target.tls && !(target.tls_client = tls_client_new(&own_certificate, &e)))
        snprintf(q->answer.failure, sizeof q->answer.failure, "%.200s", e.text);
    if (q->answer.failure[0])
        return false;
    bool answered = http_ask(&target, request, body_bytes_max, timeout_ms, &q->arena, &q->answer);
    tls_client_free(target.tls_client);
    return answered;
}

void question_fini(struct question *q)
{
    arena_fini(&q->arena);
}

struct str question_url(struct arena *a, const struct config_listener *at)
{
    struct str host = host_to_ask(at->host);
    bool bare_v6 = str_find(host, ':') >= 0 && host.p[0] != '[';
    if (str_starts(host, STR("unix:")))
        return host;
    return arena_printf(a, "%s://%s%.*s%s:%u", at->tls ? "https" : "http", bare_v6 ? "[" : "",
                        STR_ARG(host), bare_v6 ? "]" : "", at->port);
}
