/* caching.c -- what of litellm_settings.cache_params rows of a table cannot say. */
#include "config/caching.h"

#include "config/loader.h"

/* LiteLLM's names of calls, plain and with the "a" of its asynchronous twins. 0: known, and there is no such endpoint here. */
static const struct {
    struct str name;
    unsigned bit;
} calls[] = {
    {{"completion", 10}, CACHE_CHAT},
    {{"text_completion", 15}, CACHE_COMPLETIONS},
    {{"embedding", 9}, CACHE_EMBEDDINGS},
    {{"transcription", 13}, 0},
    {{"rerank", 6}, 0},
    {{"responses", 9}, 0},
    {{"generate_content", 16}, 0},
};

#define PATH "litellm_settings.cache_params"

static void read_call(struct loader *l, const struct yaml_node *n, unsigned *bits)
{
    struct str name = n->kind == NODE_SCALAR ? n->text : STR_NONE;
    for (size_t i = 0; i < COUNT(calls); i++) {
        bool twin = name.n > 1 && name.p[0] == 'a' && str_eq(str_skip(name, 1), calls[i].name);
        if (!twin && !str_eq(name, calls[i].name))
            continue;
        *bits |= calls[i].bit;
        if (!calls[i].bit)
            loader_note(l, n, PATH ".supported_call_types: \"%.*s\": there is no such endpoint yet",
                        STR_ARG(name));
        return;
    }
    loader_error(l, n,
                 PATH ".supported_call_types: expected completion, text_completion or embedding, "
                      "each also with an \"a\" before it (acompletion)");
}

static void read_calls(struct loader *l, struct yaml_node *params)
{
    struct yaml_node *n = yaml_get(params, "supported_call_types");
    struct caching *c = &l->config->caching;
    c->call_types = CACHE_ALL_CALLS;
    if (!n || n->kind != NODE_LIST)
        return;
    c->call_types = 0;
    for (struct yaml_node *item = n->child; item; item = item->next)
        read_call(l, item, &c->call_types);
}

void caching_read(struct loader *l, struct yaml_node *root)
{
    struct caching *c = &l->config->caching;
    struct yaml_node *params = yaml_get(yaml_get(root, "litellm_settings"), "cache_params");
    struct yaml_node *weir = yaml_get(root, "weir_settings");
    c->on = c->on || c->router_on;
    c->ttl_ms = c->ttl_ms >= 0 ? c->ttl_ms : c->memory_ttl_ms;
    if (c->type != 0)
        loader_note(l, yaml_get(params, "type"),
                    PATH ".type: only the cache in memory is built yet, and is used instead");
    read_calls(l, params);
    /* A part of the cache then has room for a few of them, and one does not push out all others. */
    int64_t item_limit = c->bytes / 8;
    const struct yaml_node *given = yaml_get(weir, "cache_item_bytes");
    if (given && c->item_bytes > item_limit)
        loader_error(l, given,
                     "weir_settings.cache_item_bytes: expected at most an eighth of cache_bytes, "
                     "which is %lld, got %lld",
                     (long long)item_limit, (long long)c->item_bytes);
    c->item_bytes = MIN(c->item_bytes, item_limit);
}
