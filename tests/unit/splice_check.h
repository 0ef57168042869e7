/* splice_check.h -- what goes upstream against what came in, member by member: for test_provider.c and fuzz_splice.c.
 *
 * The body is scanned as intake.c does it (its source is included: the scan is not public), laid out by the OpenAI dialect, joined and read again. It must be
 * JSON, the same members in the same order with the same values, but for: those that are LiteLLM's, which are gone; the model's name; and
 * stream_options.include_usage, where weir asks for it. */
#pragma once

#include "gateway/intake.c"

struct spliced {
    bool admitted, added_usage;
    struct str text; /* what goes upstream; the arena's */
    int pieces;
};

static const char *const splice_cut[] = {
    "fallbacks", "disable_fallbacks",  "num_retries", "timeout",
    "tags",      "litellm_session_id", "cache",       "litellm_trace_id"};

static inline bool splice_is_cut(const struct json_node *n)
{
    for (size_t i = 0; i < COUNT(splice_cut); i++)
        if (str_eq(n->key, str_from(splice_cut[i])))
            return true;
    return false;
}

static inline bool splice_equal(const struct json_node *a, const struct json_node *b)
{
    if (a->kind != b->kind || a->count != b->count || !str_eq(a->key, b->key) ||
        !str_eq(a->text, b->text))
        return false;
    const struct json_node *x = a->child, *y = b->child;
    for (; x && y; x = x->next, y = y->next)
        if (!splice_equal(x, y))
            return false;
    return !x && !y;
}

/* But for include_usage, which must be true in the end. */
static inline bool splice_asks_usage(const struct json_node *before, const struct json_node *after)
{
    const struct str usage = STR("include_usage");
    const struct json_node *asked = json_get(after, "include_usage");
    if (!asked || asked->kind != JSON_TRUE)
        return false;
    const struct json_node *x = before->child, *y = after->child;
    for (;;) {
        while (x && str_eq(x->key, usage))
            x = x->next;
        while (y && str_eq(y->key, usage))
            y = y->next;
        if (!x || !y)
            return !x && !y;
        if (!splice_equal(x, y))
            return false;
        x = x->next;
        y = y->next;
    }
}

static inline const struct json_node *splice_skip(const struct json_node *n)
{
    while (n && splice_is_cut(n))
        n = n->next;
    return n;
}

/* Dies where `out` is not what it must be. */
static inline void splice_compare(struct arena *a, struct str body, struct str model,
                                  const struct spliced *out)
{
    struct err e = {0};
    const struct json_node *before = json_parse(a, body, &e), *after = json_parse(a, out->text, &e);
    ENSURE(before && after && before->kind == JSON_OBJECT && after->kind == JSON_OBJECT);
    const struct json_node *options = json_get(before, "stream_options"), *y = after->child;
    if (out->added_usage && !options) {
        const struct json_node nothing = {.kind = JSON_OBJECT};
        ENSURE(str_eq(y->key, STR("stream_options")) && splice_asks_usage(&nothing, y));
        y = y->next;
    }
    for (const struct json_node *x = splice_skip(before->child); x;
         x = splice_skip(x->next), y = y->next) {
        ENSURE(y && str_eq(x->key, y->key));
        if (str_eq(x->key, STR("model")))
            ENSURE(y->kind == JSON_STRING && str_eq(y->text, model));
        else if (x == options && out->added_usage)
            ENSURE(splice_asks_usage(x, y));
        else
            ENSURE(splice_equal(x, y));
    }
    ENSURE(!y);
}

/* `model`: what the deployment calls it. In memory of its own size, so that a byte read too many is seen. */
static inline struct spliced splice(struct arena *a, struct str body, struct str model)
{
    static const struct call_type chat = {.name = "chat.completions", .may_stream = true};
    struct request *r = mem_alloc(sizeof *r);
    struct spliced out = {0};
    struct iovec pieces[DIALECT_PIECES_MAX];
    size_t bytes, at = 0;
    char *copy = mem_alloc(MAX(body.n, (size_t)1));
    intake_prepare();
    memset(r, 0, sizeof *r);
    memcpy(copy, body.p, body.n);
    arena_init(&r->arena, r->first_block, sizeof r->first_block);
    r->call = &chat;
    r->body = (struct str){copy, body.n};
    out.admitted = scan_body(r) == STEP_NEXT;
    if (out.admitted) {
        out.pieces = provider_dialect(DIALECT_OPENAI)->body(r, model, pieces, &bytes);
        ENSURE(out.pieces >= 1 && out.pieces <= DIALECT_PIECES_MAX);
        char *text = arena_alloc(a, bytes + 1);
        for (int i = 0; i < out.pieces; i++) {
            ENSURE(at + pieces[i].iov_len <= bytes);
            memcpy(text + at, pieces[i].iov_base, pieces[i].iov_len);
            at += pieces[i].iov_len;
        }
        ENSURE(at == bytes);
        out.text = (struct str){text, bytes};
        out.added_usage = r->added_usage;
        ENSURE(out.added_usage || !r->stream || r->wants_usage ||
               r->found[WANT_STREAM_OPTIONS].kind != JSON_NONE);
        splice_compare(a, body, model, &out);
    }
    arena_fini(&r->arena);
    mem_free(copy);
    mem_free(r);
    return out;
}
