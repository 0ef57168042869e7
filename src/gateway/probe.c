/* probe.c -- one request to an upstream that no client sent, its answer kept up to a cap. For health checks, engines and discovery. */
#include "gateway/gateway.h"

static void on_head(struct http_exchange *x, const struct h1_head *h)
{
    CONTAINER(x, struct probe, exchange)->status = h->status;
}

static void on_body(struct http_exchange *x, struct str piece)
{
    struct probe *p = CONTAINER(x, struct probe, exchange);
    if (p->body.max && !p->too_long && !buf_append_str(&p->body, piece)) {
        p->too_long = true; /* so it is not what was asked for; the rest is let pass */
        buf_clear(&p->body);
    }
}

static void on_done(struct http_exchange *x)
{
    struct probe *p = CONTAINER(x, struct probe, exchange);
    p->on_end(p);
}

static void on_fail(struct http_exchange *x, enum error_code code, const char *detail)
{
    struct probe *p = CONTAINER(x, struct probe, exchange);
    p->status = 0;
    snprintf(p->failure, sizeof p->failure, "%s: %s", error_info(code)->sentence, detail);
    p->on_end(p);
}

static void write_request(struct buf *out, const struct probe_ask *a)
{
    const struct http_target *t = a->target;
    bool absolute = t->proxy && !t->tls; /* for a proxy (RFC 9112 §3.2.2) */
    bool ok =
        buf_printf(out, "%s %s%.*s%.*s", a->body.n ? "POST" : "GET", absolute ? "http://" : "",
                   STR_ARG(absolute ? t->authority : STR_NONE), STR_ARG(a->path));
    if (a->lines.n)
        ok = ok && buf_append_str(out, a->lines);
    else
        ok = ok && buf_printf(out, " HTTP/1.1\r\nhost: %.*s\r\nuser-agent: weir\r\n",
                              STR_ARG(t->authority));
    if (a->body.n)
        ok = ok && buf_printf(out, "content-length: %zu\r\n", a->body.n);
    ENSURE(ok && buf_append_str(out, STR("accept: */*\r\n\r\n")) && buf_append_str(out, a->body));
}

void probe_start(struct probe *p, struct http_client *client, const struct probe_ask *a)
{
    p->client = client;
    p->status = 0;
    p->failure[0] = '\0';
    p->too_long = false;
    buf_init(&p->request, 0, NULL);
    buf_init(&p->body, a->keep_bytes, NULL);
    write_request(&p->request, a);
    struct str text = buf_str(&p->request);
    p->piece = (struct iovec){(char *)text.p, text.n};
    p->exchange = (struct http_exchange){
        .target = a->target,
        .target_index = a->target_index,
        .pieces = &p->piece,
        .piece_count = 1,
        .total_timeout_ms = a->timeout_ms,
        .on_head = on_head,
        .on_body = on_body,
        .on_done = on_done,
        .on_fail = on_fail,
    };
    http_send(client, &p->exchange);
}

void probe_fini(struct probe *p)
{
    if (!p->client)
        return;
    http_cancel(p->client, &p->exchange);
    buf_fini(&p->request);
    buf_fini(&p->body);
    p->client = NULL;
}
