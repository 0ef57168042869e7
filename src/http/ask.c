/* ask.c -- one request and its whole answer, on a loop of its own (ask.h). */
#include "http/ask.h"

struct asking {
    struct http_exchange exchange;
    struct http_answer *answer;
    struct arena *arena;
    struct buf body;
    bool over;
};

static void on_head(struct http_exchange *x, const struct h1_head *h)
{
    struct asking *k = CONTAINER(x, struct asking, exchange);
    k->answer->status = h->status;
    k->answer->content_type = arena_str(k->arena, h1_get(h, H1_CONTENT_TYPE));
}

static void on_body(struct http_exchange *x, struct str piece)
{
    struct asking *k = CONTAINER(x, struct asking, exchange);
    k->answer->too_long |= !buf_append_str(&k->body, piece);
}

static void on_done(struct http_exchange *x)
{
    CONTAINER(x, struct asking, exchange)->over = true;
}

static void on_fail(struct http_exchange *x, enum error_code code, const char *detail)
{
    struct asking *k = CONTAINER(x, struct asking, exchange);
    /* The sentence is the gateway's, about its upstreams; the detail is about this connection. */
    snprintf(k->answer->failure, sizeof k->answer->failure, "%s",
             detail && *detail ? detail : error_info(code)->sentence);
    k->answer->status = 0;
    k->over = true;
}

/* Until the exchange is over. */
static void run(struct asking *k, int64_t timeout_ms)
{
    struct http_client_limits limits = {.connect_timeout_ms = timeout_ms,
                                        .max_head_bytes = H1_HEAD_BYTES_MAX};
    struct pool blocks;
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop);
    pool_init(&blocks, BUF_BLOCK_BYTES, 4, "ask");
    struct http_client *client = http_client_new(loop, resolver, &blocks, &limits, 1);
    http_send(client, &k->exchange);
    while (!k->over)
        loop_pass(loop, -1);
    http_client_free(client);
    resolver_free(resolver);
    loop_free(loop);
    pool_trim(&blocks);
}

bool http_ask(const struct http_target *target, struct str request, size_t body_bytes_max,
              int64_t timeout_ms, struct arena *a, struct http_answer *out)
{
    struct iovec piece = {(char *)request.p, request.n};
    struct asking k = {.answer = out,
                       .arena = a,
                       .exchange = {.target = target,
                                    .pieces = &piece,
                                    .piece_count = 1,
                                    .total_timeout_ms = timeout_ms,
                                    .on_head = on_head,
                                    .on_body = on_body,
                                    .on_done = on_done,
                                    .on_fail = on_fail}};
    *out = (struct http_answer){0};
    buf_init(&k.body, body_bytes_max, NULL);
    run(&k, timeout_ms);
    if (out->status && !out->too_long)
        out->body = arena_str(a, buf_str(&k.body));
    buf_fini(&k.body);
    return out->status > 0;
}
