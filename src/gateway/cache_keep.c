/* cache_keep.c -- answers on their way to a client are gathered, and kept when they turn out to be whole.
 *
 * What is kept are the bytes that the client got, so a replay is the same answer: a usage event hidden from it is not in them. Nothing is kept that is not
 * a complete success: an error, a cut, an answer without its finish_reason, one that another group gave instead (a fallback).
 * While it is gathered an answer takes memory from a share of the cache's bytes; where that is used up, or the answer grows past
 * cache_item_bytes, it is let go and relayed all the same. */
#include "gateway/gateway.h"

void cache_let_go(struct request *r)
{
    buf_fini(&r->cache.taken);
    cache_store_unreserve(r->worker->gateway->cache, r->cache.reserved_bytes);
    r->cache.reserved_bytes = 0;
    r->cache.taking = false;
}

bool cache_may_take(const struct request *r, const struct attempt *a)
{
    return r->cache.keeps && a->status == 200 && !a->packed &&
           a->length <= r->config->caching.item_bytes;
}

void cache_take_head(struct request *r, const struct attempt *a)
{
    struct cache_request *c = &r->cache;
    cache_let_go(r); /* of an attempt before this one */
    if (!cache_may_take(r, a))
        return;
    c->taking = true;
    c->content_type = a->content_type;
    buf_init(&c->taken, (size_t)r->config->caching.item_bytes,
             http_server_blocks(r->worker->server));
}

void cache_take_piece(struct request *r, struct str sent)
{
    struct cache_request *c = &r->cache;
    if (!c->taking || !sent.n)
        return;
    bool ok = buf_append_str(&c->taken, sent);
    size_t more = c->taken.cap - MIN(c->reserved_bytes, c->taken.cap);
    if (ok && more) {
        ok = cache_store_reserve(r->worker->gateway->cache, more);
        c->reserved_bytes += ok ? more : 0;
    }
    if (!ok)
        cache_let_go(r);
}

/* Streams: relay saw their end. Plain answers: whole JSON. Both: a reason why they ended, where their kind has one. */
static bool is_whole(const struct request *r)
{
    bool reasoned = r->saw_finish || !strcmp(r->call->name, "embeddings");
    return reasoned && (r->counted_stream || r->answer_is_json);
}

static char *copy_text(char *at, struct str *to, struct str from)
{
    if (from.n)
        memcpy(at, from.p, from.n);
    *to = (struct str){at, from.n};
    return at + from.n;
}

static struct cache_entry *make_entry(const struct request *r, uint64_t now_ns)
{
    const struct record *rec = &r->record;
    size_t texts = r->cache.content_type.n + rec->deployment.n + rec->upstream_model.n +
                   rec->finish_reason.n + rec->tokens_source.n;
    struct cache_entry *e =
        cache_store_make(r->worker->gateway->cache, &r->cache.key,
                         sizeof(struct cached_answer) + texts, buf_str(&r->cache.taken), now_ns);
    if (!e)
        return NULL;
    struct cached_answer *a = (struct cached_answer *)(void *)e->head;
    *a = (struct cached_answer){.prompt_tokens = rec->prompt_tokens,
                                .completion_tokens = rec->completion_tokens,
                                .total_tokens = rec->total_tokens,
                                .cached_tokens = rec->cached_tokens,
                                .reasoning_tokens = rec->reasoning_tokens,
                                .stream = r->counted_stream};
    char *at = (char *)(a + 1);
    at = copy_text(at, &a->content_type, r->cache.content_type);
    at = copy_text(at, &a->model_id, rec->deployment);
    at = copy_text(at, &a->upstream_model, rec->upstream_model);
    at = copy_text(at, &a->finish_reason, rec->finish_reason);
    copy_text(at, &a->tokens_source, rec->tokens_source);
    e->stored_ns = now_ns;
    e->expires_ns = now_ns + (uint64_t)r->cache.control.ttl_ms * NS_PER_MS;
    return e;
}

void cache_keep(struct request *r)
{
    bool success = r->record.error_code == ERR_NONE && !r->saw_error;
    struct cache_entry *e = NULL;
    if (!r->cache.taking)
        return;
    if (success && is_whole(r) && !r->record.fallback_from.n)
        e = make_entry(r, loop_now_ns(r->worker->loop));
    cache_let_go(r);
    if (e)
        cache_store_put(e);
}
