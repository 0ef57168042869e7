/* cache_admin.c -- /cache/ping, /cache/delete, /cache/flushall: LiteLLM's paths, and its shapes where it has them.
 *
 * Deleting is a look-up a key and done by the worker; emptying the whole may free a great many entries and is the control thread's. */
#include "gateway/gateway.h"

#define DELETE_KEYS_MAX 10000

void cache_admin_ping(struct worker *w, struct http_conn *c, const struct http_request *q)
{
    const struct caching *settings = &worker_config(w)->caching;
    struct cache_stats stats;
    char params[512], body[1024];
    if (!settings->on) {
        http_reply_error(c, ERR_CACHE_OFF, NULL);
        return;
    }
    cache_store_stats(w->gateway->cache, &stats);
    /* LiteLLM gives these as a text that holds JSON. */
    snprintf(
        params, sizeof params,
        "{\\\"ttl\\\": %.3f, \\\"mode\\\": \\\"%s\\\", \\\"max_bytes\\\": %lld, \\\"bytes\\\": "
        "%llu, \\\"entries\\\": %llu}",
        (double)settings->ttl_ms / 1000,
        settings->mode == CACHE_DEFAULT_ON ? "default_on" : "default_off",
        (long long)settings->bytes, (unsigned long long)stats.bytes,
        (unsigned long long)stats.entries);
    int n =
        snprintf(body, sizeof body,
                 "{\"status\":\"healthy\",\"cache_type\":\"local\",\"ping_response\":true,\"set_"
                 "cache_response\":null,\"litellm_cache_params\":\"%s\",\"health_check_cache_"
                 "params\":null}",
                 params);
    admin_reply_json(w, c, q, 200, (struct str){body, (size_t)n});
}

/* {"keys": ["...", ...]}: how many of them there were; negative: not of that form. */
static int64_t delete_all(struct cache_store *store, const struct json_node *keys)
{
    int64_t deleted = 0;
    if (!keys || keys->kind != JSON_ARRAY || keys->count > DELETE_KEYS_MAX)
        return -1;
    for (const struct json_node *n = keys->child; n; n = n->next) {
        struct cache_key key;
        if (n->kind != JSON_STRING || !cache_key_from_hex(n->text, &key))
            return -1;
        deleted += cache_store_delete(store, &key);
    }
    return deleted;
}

void cache_admin_delete(struct worker *w, struct http_conn *c, const struct http_request *q)
{
    struct arena a;
    struct err e = {0};
    char body[96];
    arena_init(&a, NULL, 0);
    struct json_node *root = json_parse(&a, q->body, &e);
    int64_t deleted = delete_all(w->gateway->cache, json_get(root, "keys"));
    arena_fini(&a);
    if (deleted < 0) {
        http_reply_error(c, ERR_BAD_REQUEST,
                         "expected {\"keys\": [...]} with at most 10000 keys as "
                         "x-litellm-cache-key gives them: 64 hex digits each");
        return;
    }
    int n = snprintf(body, sizeof body, "{\"status\":\"success\",\"deleted\":%lld}",
                     (long long)deleted);
    admin_reply_json(w, c, q, 200, (struct str){body, (size_t)n});
}

void cache_admin_flush(struct gateway *g, struct control_job *j)
{
    uint64_t count = cache_store_flush(g->cache);
    ENSURE(buf_printf(&j->body, "{\"status\":\"success\",\"deleted\":%llu}",
                      (unsigned long long)count));
    control_done(j);
}
