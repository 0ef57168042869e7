/* cache.c -- the step between limit and route: has this been answered before?
 *
 * The key is made of what the answer depends on: namespace, kind of call, model group (and what a wildcard stood for), the body in canonical form
 * (cache_key.h), and those client headers that change what a provider does. The caller is no part of it: keys share answers, as in LiteLLM.
 * A hit never goes near a deployment. Its entry is read where it lies while a reference keeps it: nothing is copied but what the client's
 * socket cannot take yet, and of that at most QUEUE_MAX_BYTES and one piece. As with every answer, its last piece is queued when what was before it has left,
 * and its record is written before that piece is handed to the kernel.
 * An entry names its deployment by id and is used only while the group still has that one: nothing points into an old configuration. */
#include "gateway/gateway.h"
#include "gateway/lines.h"

#define QUEUE_MAX_BYTES (32u * 1024u)
#define LINES_BYTES     256 /* what cache_lines writes, with room to spare */

/* ---- the key ---- */

/* Client headers that go upstream and change the answer there. */
static bool changes_answer(const struct h1_header *h)
{
    static const struct str prefixes[] = {
        {"openai-beta", 11}, {"anthropic-beta", 14}, {"x-mock-", 7}};
    for (size_t i = 0; i < COUNT(prefixes); i++)
        if (h->name.n >= prefixes[i].n &&
            str_ieq((struct str){h->name.p, prefixes[i].n}, prefixes[i]))
            return true;
    return false;
}

static void make_key(struct request *r, const struct model_group *g, struct str matched)
{
    struct cache_key_maker *m = r->worker->cache_keys;
    const struct h1_head *h = r->http->head;
    struct str own = r->cache.control.space;
    cache_key_begin(m);
    cache_key_part(m, own.p ? own : r->config->caching.space);
    cache_key_part(m, str_from(r->call->name));
    cache_key_part(m, g->name);
    cache_key_part(m, matched);
    for (int i = 0; i < h->header_count; i++) {
        if (h->headers[i].field != H1_OTHER || !changes_answer(&h->headers[i]))
            continue;
        cache_key_part(m, h->headers[i].name);
        cache_key_part(m, h->headers[i].value);
    }
    cache_key_body(m, r->body);
    cache_key_end(m, &r->cache.key);
}

/* ---- may it, and is there one ---- */

static bool takes_part(const struct request *r)
{
    const struct config *c = r->config;
    static const struct {
        const char *call;
        unsigned bit;
    } calls[] = {{"chat.completions", CACHE_CHAT},
                 {"completions", CACHE_COMPLETIONS},
                 {"embeddings", CACHE_EMBEDDINGS}};
    for (size_t i = 0; c->caching.on && i < COUNT(calls); i++)
        if (!strcmp(calls[i].call, r->call->name))
            return c->caching.call_types & calls[i].bit;
    return false;
}

static const struct deployment *deployment_of(const struct model_group *g, struct str model_id)
{
    for (int i = 0; i < g->count; i++)
        if (str_eq(g->deployments[i]->model_id, model_id))
            return g->deployments[i];
    return NULL;
}

static const struct cached_answer *answer_of(const struct cache_entry *e)
{
    return (const struct cached_answer *)(const void *)e->head;
}

/* NULL: a miss. */
static const struct deployment *look_up(struct request *r, const struct model_group *g)
{
    const struct deployment *d = NULL;
    int64_t max_age_ms = r->cache.control.max_age_ms;
    uint64_t now_ns = loop_now_ns(r->worker->loop);
    struct cache_entry *e = cache_store_get(r->worker->gateway->cache, &r->cache.key, now_ns);
    if (!e)
        return NULL;
    uint64_t age_ns = now_ns - MIN(e->stored_ns, now_ns);
    if (max_age_ms < 0 || age_ns <= (uint64_t)max_age_ms * NS_PER_MS)
        d = deployment_of(g, answer_of(e)->model_id);
    if (d)
        r->cache.entry = e;
    else
        cache_store_release(e);
    return d;
}

/* ---- a hit ---- */

static struct str body_for_log(struct request *r)
{
    const struct cache_entry *e = r->cache.entry;
    size_t cap = (size_t)r->config->log_body_bytes, n = 0;
    char *text = arena_alloc(&r->arena, cap + CACHE_BLOCK_BYTES);
    struct cache_reader reader;
    struct str piece;
    cache_store_read(e, &reader);
    while (n < cap && (piece = cache_store_next(&reader)).n) {
        memcpy(text + n, piece.p, piece.n);
        n += piece.n;
    }
    return intake_body_for_log(&r->arena, (struct str){text, n}, e->body_bytes, cap,
                               !answer_of(e)->stream);
}

static void fill_record(struct request *r, const struct model_group *g, const struct deployment *d)
{
    const struct cached_answer *a = answer_of(r->cache.entry);
    struct record *rec = &r->record;
    rec->cache = STR("hit");
    rec->model_known = !g->wildcard;
    rec->deployed = d;
    rec->deployment = d->model_id;
    rec->provider = d->provider_name;
    rec->api_base = d->api_base;
    rec->upstream_model = a->upstream_model;
    rec->attempts = 0;
    rec->cost_usd = 0;
    rec->stream = a->stream;
    rec->prompt_tokens = a->prompt_tokens;
    rec->completion_tokens = a->completion_tokens;
    rec->total_tokens = a->total_tokens;
    rec->cached_tokens = a->cached_tokens;
    rec->reasoning_tokens = a->reasoning_tokens;
    rec->tokens_source = a->tokens_source;
    rec->finish_reason = a->finish_reason;
    if (r->config->log_responses && !r->config->turn_off_message_logging)
        rec->response = body_for_log(r);
}

static struct str hit_headers(struct request *r, const struct deployment *d)
{
    struct str type = answer_of(r->cache.entry)->content_type, id = r->record.request_id;
    struct str fixed = r->snapshot->shared->texts[d->id].answer, cache = cache_lines(r, NULL);
    char limits[LIMIT_LINES_BYTES];
    struct str limited = {limits, limit_header_lines(r, true, limits)};
    char *text = arena_alloc(&r->arena,
                             128 + type.n + 2 * id.n + fixed.n + cache.n + limited.n + r->cors.n),
         *at = text;
    if (type.n)
        at = put_line(at, STR("content-type"), type);
    if (id.n && r->config->include_request_id_in_response) {
        at = put_line(at, STR("x-request-id"), id);
        at = put_line(at, STR("x-litellm-call-id"), id);
    }
    at = put(put(put(put(at, fixed), cache), limited), r->cors);
    return (struct str){text, (size_t)(at - text)};
}

static void begin_hit(struct request *r, const struct model_group *g, const struct deployment *d)
{
    const struct cached_answer *a = answer_of(r->cache.entry);
    fill_record(r, g, d);
    r->upstream_status = 200;
    cache_store_read(r->cache.entry, &r->cache.left);
    r->answer_headers = hit_headers(r, d);
    r->http = NULL;
    http_release_body(r->conn);
    if (!a->stream) {
        finish_measure(r);
        http_begin(r->conn, 200, answer_headers_with_costs(r), (int64_t)r->cache.entry->body_bytes);
        return;
    }
    r->counted_stream = true;
    COUNTER_ADD(r->worker->streams, 1);
    r->first_token_ns = r->last_token_ns = clock_mono_ns();
    http_begin(r->conn, 200, answer_headers_so_far(r), -1);
}

static enum step_result replay(struct request *r)
{
    while (r->cache.left.left_bytes) {
        bool queue_is_long = http_queued(r->conn) > QUEUE_MAX_BYTES || http_blocked(r->conn);
        if (queue_is_long && http_flush_now(r->conn) > 0)
            return STEP_WAIT;
        http_body(r->conn, cache_store_next(&r->cache.left));
    }
    r->step = STEP_RECORD - 1; /* nothing is asked of a deployment */
    return STEP_NEXT;
}

/* ---- the step ---- */

enum step_result cache_run(struct request *r)
{
    struct cache_request *c = &r->cache;
    struct str matched = STR_NONE;
    if (c->entry)
        return replay(r);
    if (!takes_part(r))
        return STEP_NEXT;
    if (!cache_control_read(r))
        return STEP_FAIL;
    const struct model_group *g = config_group(r->config, r->record.model, &matched);
    int64_t ttl_ms = c->control.ttl_ms >= 0 ? c->control.ttl_ms : r->config->caching.ttl_ms;
    if (!g || (r->config->caching.mode == CACHE_DEFAULT_OFF && !c->control.use_cache))
        return STEP_NEXT;
    c->control.ttl_ms = ttl_ms;
    c->keeps = !c->control.no_store && ttl_ms > 0;
    if (c->keeps || !c->control.no_cache)
        make_key(r, g, matched);
    if (c->control.no_cache)
        return STEP_NEXT;
    c->asked = true;
    r->record.cache = STR("miss");
    const struct deployment *d = look_up(r, g);
    if (!d)
        return STEP_NEXT;
    begin_hit(r, g, d);
    return replay(r);
}

/* RFC 9211 for people and tools, LiteLLM's key for /cache/delete, RFC 9111's age. */
struct str cache_lines(struct request *r, const struct attempt *a)
{
    const struct cache_request *c = &r->cache;
    bool may_keep = a && cache_may_take(r, a);
    char *text, *at, hex[CACHE_KEY_HEX];
    if (!c->entry && !c->asked && !may_keep)
        return STR_NONE;
    text = at = arena_alloc(&r->arena, LINES_BYTES);
    cache_key_hex(&c->key, hex);
    if (c->entry || may_keep)
        at = put_line(at, STR("x-litellm-cache-key"), (struct str){hex, sizeof hex});
    if (c->entry) {
        uint64_t now_ns = loop_now_ns(r->worker->loop);
        uint64_t age_ns = now_ns - MIN(c->entry->stored_ns, now_ns);
        at = digits_u64(put(at, STR("age: ")), age_ns / NS_PER_S);
        at = put(at, STR("\r\ncache-status: weir; hit; ttl="));
        at = digits_u64(at, (c->entry->expires_ns - MIN(now_ns, c->entry->expires_ns)) / NS_PER_S);
        at = put(at, STR("\r\n"));
    } else {
        at = put_line(at, STR("cache-status"),
                      c->asked ? STR("weir; fwd=uri-miss") : STR("weir; fwd=request"));
    }
    return (struct str){text, (size_t)(at - text)};
}

void cache_request_fini(struct request *r)
{
    cache_store_release(r->cache.entry);
    r->cache.entry = NULL;
    cache_let_go(r);
}
