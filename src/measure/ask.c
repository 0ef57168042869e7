/* ask.c -- one request and its whole answer, on a loop of its own: for health checks and lists of models. Nothing here is measured closely. */
#include "base/clock.h"
#include "base/json.h"
#include "measure/target.h"

#define BODY_BYTES_MAX (16u << 20)

struct ask {
    struct http_exchange exchange;
    struct measure_reply *reply;
    struct arena *arena;
    struct buf body;
    bool over, too_long;
    char failure[300];
};

static void on_head(struct http_exchange *x, const struct h1_head *h)
{
    struct ask *k = CONTAINER(x, struct ask, exchange);
    k->reply->status = h->status;
    k->reply->content_type = arena_str(k->arena, h1_get(h, H1_CONTENT_TYPE));
}

static void on_body(struct http_exchange *x, struct str piece)
{
    struct ask *k = CONTAINER(x, struct ask, exchange);
    k->too_long |= !buf_append_str(&k->body, piece);
}

static void on_done(struct http_exchange *x)
{
    CONTAINER(x, struct ask, exchange)->over = true;
}

static void on_fail(struct http_exchange *x, enum error_code code, const char *detail)
{
    struct ask *k = CONTAINER(x, struct ask, exchange);
    k->over = true;
    /* The detail is about this connection; the sentence is the gateway's, about its upstreams. */
    snprintf(k->failure, sizeof k->failure, "%s",
             detail && *detail ? detail : error_info(code)->sentence);
}

/* Runs until the exchange is over. */
static void run(struct ask *k, const struct measure_target *t, struct str request,
                int64_t timeout_ms)
{
    struct http_client_limits limits = {.connect_timeout_ms = timeout_ms,
                                        .max_head_bytes = H1_HEAD_BYTES_MAX};
    struct pool blocks;
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop);
    pool_init(&blocks, BUF_BLOCK_BYTES, 4, "ask");
    struct http_client *client = http_client_new(loop, resolver, &blocks, &limits, 1);
    struct iovec piece = {(char *)request.p, request.n};
    k->exchange = (struct http_exchange){.target = &t->http,
                                         .pieces = &piece,
                                         .piece_count = 1,
                                         .total_timeout_ms = timeout_ms,
                                         .on_head = on_head,
                                         .on_body = on_body,
                                         .on_done = on_done,
                                         .on_fail = on_fail};
    http_send(client, &k->exchange);
    while (!k->over)
        loop_pass(loop, -1);
    http_client_free(client);
    resolver_free(resolver);
    loop_settle(loop);
    loop_free(loop);
    pool_trim(&blocks);
}

bool measure_ask(const struct measure_target *t, struct arena *a, struct str method,
                 struct str path, struct str body, int64_t timeout_ms, struct measure_reply *out,
                 struct err *e)
{
    struct ask k = {.reply = out, .arena = a};
    *out = (struct measure_reply){0};
    buf_init(&k.body, BODY_BYTES_MAX, NULL);
    struct str head = measure_target_head(t, a, method, path), length = STR_NONE;
    if (body.n)
        length = arena_printf(a, "content-length: %zu\r\n", body.n);
    struct str request = arena_printf(a, "%.*s%.*sconnection: close\r\n\r\n%.*s", STR_ARG(head),
                                      STR_ARG(length), STR_ARG(body));
    uint64_t began_ns = clock_mono_ns();
    run(&k, t, request, timeout_ms);
    out->took_ns = clock_mono_ns() - began_ns;
    out->body = arena_str(a, buf_str(&k.body));
    buf_fini(&k.body);
    if (k.failure[0]) {
        out->status = 0;
        return err_set(e, "%.*s: %s", STR_ARG(t->url), k.failure);
    }
    if (k.too_long)
        return err_set(e, "%.*s%.*s: the answer is longer than %u MiB", STR_ARG(t->url),
                       STR_ARG(path), BODY_BYTES_MAX >> 20);
    return true;
}

/* ---- models ---- */

static bool no_models(const struct measure_target *t, const struct measure_reply *r, struct err *e)
{
    static const struct {
        int status;
        const char *advice;
    } known[] = {
        {401, "it wants a key: give --key, or set LITELLM_API_KEY"},
        {403, "the key may not see the models"},
        {404, "there is no such path: is the URL an OpenAI API's?"},
    };
    for (size_t i = 0; i < COUNT(known); i++)
        if (r->status == known[i].status)
            return err_set(e, "%.*s: status %d for the list of models; %s", STR_ARG(t->url),
                           r->status, known[i].advice);
    return err_set(e, "%.*s: status %d for the list of models", STR_ARG(t->url), r->status);
}

bool measure_models(const struct measure_target *t, struct arena *a, struct str **names,
                    size_t *count, struct err *e)
{
    struct measure_reply reply;
    struct err bad = {0};
    struct str path = arena_printf(a, "%.*s/models", STR_ARG(t->base_path));
    if (!measure_ask(t, a, STR("GET"), path, STR_NONE, 30000, &reply, e))
        return false;
    if (reply.status != 200)
        return no_models(t, &reply, e);
    struct json_node *root = json_parse(a, reply.body, &bad);
    struct json_node *data = root ? json_get(root, "data") : NULL;
    if (!data || data->kind != JSON_ARRAY)
        return err_set(e, "%.*s%.*s: expected a list of models ({\"data\": [...]}), got %s",
                       STR_ARG(t->url), STR_ARG(path), root ? "other JSON" : "no JSON");
    *names = arena_alloc(a, MAX(data->count, (size_t)1) * sizeof **names);
    *count = 0;
    for (struct json_node *m = data->child; m; m = m->next) {
        struct json_node *id = json_get(m, "id");
        if (id && id->kind == JSON_STRING && id->text.n)
            (*names)[(*count)++] = id->text;
    }
    return true;
}
