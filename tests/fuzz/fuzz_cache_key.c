/* fuzz_cache_key.c -- canonical form of requests: whatever comes in, only bytes of it come out, in order; of a JSON object the canonical form is
 * JSON, canonical itself, the same for the object without its white space, and without the members that are to be left out. */
#include "base/json.h"
#include "gateway/cache_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct taken {
    struct buf text;
    struct str from; /* what the runs must lie in */
    const char *last;
};

static void take(void *arg, struct str run)
{
    struct taken *t = arg;
    ENSURE(run.n > 0 && run.p >= t->from.p && run.p + run.n <= t->from.p + t->from.n);
    ENSURE(!t->last || run.p >= t->last);
    t->last = run.p + run.n;
    ENSURE(buf_append_str(&t->text, run));
}

static void canonical(struct str body, struct buf *out)
{
    struct taken t = {.from = body};
    buf_init(&t.text, 0, NULL);
    cache_key_canonical(body, take, &t);
    *out = t.text;
}

static bool is_json(struct str s)
{
    struct json_scan scan;
    json_scan_init(&scan, NULL, NULL);
    enum json_status status = json_scan_feed(&scan, s.p, s.n);
    return status != JSON_BAD && json_scan_finish(&scan) == JSON_DONE;
}

static void check_members(struct str form)
{
    struct arena a;
    struct err e = {0};
    arena_init(&a, NULL, 0);
    bool escaped = str_contains(form, STR("\\"));
    const struct json_node *root = json_parse(&a, form, &e);
    for (const struct json_node *n = root && root->kind == JSON_OBJECT ? root->child : NULL; n;
         n = n->next) {
        bool left_out = str_eq(n->key, STR("model")) || str_eq(n->key, STR("cache")) ||
                        str_eq(n->key, STR("metadata")) || str_starts(n->key, STR("litellm_"));
        ENSURE(!left_out || escaped); /* a name spelled with an escape is kept */
    }
    arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* In memory of its own size: a byte read too many is seen. */
    char *copy = mem_alloc(size ? size : 1);
    memcpy(copy, data, size);
    struct str body = {copy, size};
    struct buf once, twice, packed;
    canonical(body, &once);
    if (size && is_json(body)) {
        ENSURE(is_json(buf_str(&once)));
        canonical(buf_str(&once), &twice);
        ENSURE(str_eq(buf_str(&once), buf_str(&twice)));
        char *small = mem_alloc(size);
        size_t n = json_compact(small, size, body);
        ENSURE(n);
        canonical((struct str){small, n}, &packed);
        ENSURE(str_eq(buf_str(&once), buf_str(&packed)));
        check_members(buf_str(&once));
        buf_fini(&twice);
        buf_fini(&packed);
        mem_free(small);
    }
    buf_fini(&once);
    mem_free(copy);
    return 0;
}
