/* question.c -- one request to the gateway of this machine, and its whole answer. */
#include "cli/question.h"

#include "http/client.h"

struct asking {
    struct http_exchange exchange;
    struct question *q;
    bool over;
};

static void on_head(struct http_exchange *x, const struct h1_head *h)
{
    CONTAINER(x, struct asking, exchange)->q->status = h->status;
}

static void on_body(struct http_exchange *x, struct str piece)
{
    struct question *q = CONTAINER(x, struct asking, exchange)->q;
    if (!buf_append_str(&q->body, piece))
        buf_clear(&q->body); /* too long to be what was asked for */
}

static void on_done(struct http_exchange *x)
{
    CONTAINER(x, struct asking, exchange)->over = true;
}

static void on_fail(struct http_exchange *x, enum error_code code, const char *detail)
{
    struct asking *k = CONTAINER(x, struct asking, exchange);
    /* The sentence is the gateway's, about its upstreams; the detail is about this connection. */
    snprintf(k->q->failure, sizeof k->q->failure, "%s",
             detail && *detail ? detail : error_info(code)->sentence);
    k->q->status = 0;
    k->over = true;
}

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

static void exchange(struct question *q, const struct http_target *target, struct str request,
                     int64_t timeout_ms)
{
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop);
    struct pool blocks;
    struct http_client_limits limits = {.connect_timeout_ms = timeout_ms,
                                        .idle_timeout_ms = 1,
                                        .max_head_bytes = H1_HEAD_BYTES_MAX};
    struct iovec piece = {(char *)request.p, request.n};
    struct asking k = {.q = q,
                       .exchange = {.target = target,
                                    .pieces = &piece,
                                    .piece_count = 1,
                                    .total_timeout_ms = timeout_ms,
                                    .on_head = on_head,
                                    .on_body = on_body,
                                    .on_done = on_done,
                                    .on_fail = on_fail}};
    pool_init(&blocks, BUF_BLOCK_BYTES, 4, "question");
    struct http_client *client = http_client_new(loop, resolver, &blocks, &limits, 1);
    http_send(client, &k.exchange);
    while (!k.over)
        loop_pass(loop, -1);
    http_client_free(client);
    resolver_free(resolver);
    loop_free(loop);
    pool_trim(&blocks);
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
    buf_init(&q->body, body_bytes_max, NULL);
    if (!str_starts(at->host, STR("unix:")) && at->port == 0)
        snprintf(q->failure, sizeof q->failure, "port 0 does not tell where it would be");
    else if (target.tls && !(target.tls_client = tls_client_new(&own_certificate, &e)))
        snprintf(q->failure, sizeof q->failure, "%.200s", e.text);
    if (q->failure[0])
        return false;
    exchange(q, &target, request, timeout_ms);
    tls_client_free(target.tls_client);
    return q->status > 0;
}

void question_fini(struct question *q)
{
    buf_fini(&q->body);
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
