/* fuzz_measured.c -- answers as the measuring side reads them: whole and scanned, or in pieces and by patterns, the same is found; of a
 * stream, a plain reading with trees of JSON counts the same tokens.
 *
 * The first byte: bit 0, a stream was asked for; bit 1, one comes; bit 2, the call is /embeddings; bit 3, a status of failure. */
#include "base/json.h"
#include "http/h1.h"
#include "measure/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct found {
    struct sample sample;
    uint64_t gaps[GAPS_KEPT];
    uint32_t flaws;
};

static void read_head(uint8_t flags, struct h1_head *h)
{
    static const char stream[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
                      json[] = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n",
                      failure[] = "HTTP/1.1 429 No\r\n\r\n";
    const char *text = flags & 8 ? failure : flags & 2 ? stream : json;
    ENSURE(h1_parse_response(text, strlen(text), false, h, NULL) == ERR_NONE);
}

static void check(const struct answer *a, const struct found *f)
{
    const struct sample *s = &f->sample;
    ENSURE(s->outcome < OUTCOME_COUNT);
    ENSURE(memchr(s->error, 0, sizeof s->error) &&
           memchr(s->finish_reason, 0, sizeof s->finish_reason));
    ENSURE((s->outcome == OUTCOME_OK) == (s->error[0] == '\0') || a->is_error);
    ENSURE(s->gap_count == MIN(MAX(s->chunks, 1u) - 1, (uint32_t)GAPS_KEPT));
    ENSURE(!s->chunks == !s->first_token_ns);
    ENSURE(s->first_event_ns <= s->first_token_ns || !s->first_token_ns);
    ENSURE(s->first_token_ns <= s->last_token_ns);
    ENSURE(s->outcome != OUTCOME_OK || !a->stream || (s->done_ns && s->first_event_ns));
}

static void read_body(struct answer *a, uint8_t flags, const char *p, size_t n, bool in_pieces,
                      struct found *f)
{
    struct h1_head h;
    read_head(flags, &h);
    memset(&f->sample, 0, sizeof f->sample);
    f->sample.stream = flags & 1;
    a->embeds = flags & 4;
    answer_begin(a, &f->sample);
    answer_head(a, &h, 5);
    for (size_t at = 0; at < n;) {
        size_t piece = in_pieces ? MIN(n - at, (size_t)((uint8_t)p[n - 1 - at] & 31) + 1) : n;
        answer_body(a, (struct str){p + at, piece}, 1000 + at);
        at += piece;
    }
    answer_end(a);
    f->flaws = a->flaws;
    check(a, f);
}

static void same(const struct found *a, const struct found *b)
{
    const struct sample *x = &a->sample, *y = &b->sample;
    ENSURE(x->outcome == y->outcome && a->flaws == b->flaws);
    ENSURE(x->chunks == y->chunks && x->gap_count == y->gap_count);
    ENSURE(x->prompt_tokens == y->prompt_tokens && x->completion_tokens == y->completion_tokens);
    ENSURE(x->cached_tokens == y->cached_tokens && x->reasoning_tokens == y->reasoning_tokens);
    ENSURE(x->tokens_counted == y->tokens_counted && x->body_bytes == y->body_bytes);
    ENSURE(!x->first_event_ns == !y->first_event_ns && !x->first_token_ns == !y->first_token_ns);
    ENSURE(!x->first_content_ns == !y->first_content_ns && !x->usage_ns == !y->usage_ns);
    ENSURE(!x->done_ns == !y->done_ns);
    ENSURE(strcmp(x->error, y->error) == 0 && strcmp(x->finish_reason, y->finish_reason) == 0);
}

/* ---- by trees ---- */

static const struct json_node *at_path(const struct json_node *node, const char *const *path)
{
    for (; node && *path; path++)
        node = strcmp(*path, "0")         ? json_get(node, *path)
               : node->kind == JSON_ARRAY ? node->child
                                          : NULL;
    return node;
}

/* 1: there is a token; 0: none; -1: it is no string, which only the scanner weighs. */
static int token_in(const struct json_node *root)
{
    static const char *const paths[][8] = {
        {"choices", "0", "delta", "content"},
        {"choices", "0", "delta", "reasoning_content"},
        {"choices", "0", "delta", "reasoning"},
        {"choices", "0", "delta", "refusal"},
        {"choices", "0", "delta", "tool_calls", "0", "function", "arguments"},
        {"choices", "0", "delta", "function_call", "arguments"},
        {"choices", "0", "text"},
    };
    int token = 0;
    for (size_t i = 0; i < COUNT(paths); i++) {
        const struct json_node *node = at_path(root, paths[i]);
        if (node && (node->kind == JSON_OBJECT || node->kind == JSON_ARRAY))
            return -1;
        token |= node && node->kind == JSON_STRING && node->text.n > 0;
    }
    return token;
}

static void by_trees(const char *p, size_t n, const struct found *f)
{
    struct sse_scan scan;
    uint32_t tokens = 0;
    bool weighed = false;
    sse_scan_init(&scan, NULL);
    for (size_t at = 0; at < n;) {
        struct sse_event ev;
        struct arena arena;
        struct err e = {0};
        bool got;
        at += sse_scan_feed(&scan, p + at, n - at, &ev, &got);
        if (!got)
            break;
        arena_init(&arena, NULL, 0);
        struct json_node *root = ev.data.n ? json_parse(&arena, ev.data, &e) : NULL;
        const struct json_node *error = root ? json_get(root, "error") : NULL;
        int token = root && !(error && (error->kind == JSON_OBJECT || error->kind == JSON_STRING))
                        ? token_in(root)
                        : 0;
        weighed |= token < 0;
        tokens += token > 0;
        arena_fini(&arena);
    }
    sse_scan_fini(&scan);
    ENSURE(weighed || tokens == f->sample.chunks);
}

/* ---- whole answers that are nearly the same ---- */

/* Another body: one byte of it is changed, left off or put in. */
static size_t change(const char *p, size_t n, uint64_t dice, char *out)
{
    static const char bytes[] = "\"\\09ae,}:- \x80\x01u";
    size_t at = (size_t)(dice >> 8) % n, put = 0;
    char byte = bytes[(dice >> 40) % (sizeof bytes - 1)];
    memcpy(out, p, at);
    put = at;
    unsigned what = dice & 3;
    if (what != 0)
        out[put++] = byte; /* changed (1, 3) or put in (2) */
    size_t from = what == 2 ? at : at + 1;
    memcpy(out + put, p + from, n - from);
    return put + n - from;
}

/* By comparing with a former answer, the same is found as by a scan. */
static void by_likeness(uint8_t flags, const char *p, size_t n)
{
    static struct found known, scanned;
    struct answer like, plain;
    char *other = mem_alloc(n + 1);
    uint64_t dice = n;
    answer_init(&like, NULL, known.gaps);
    answer_init(&plain, NULL, scanned.gaps);
    plain.no_patterns = true;
    for (size_t i = 0; i < n; i++)
        dice = (dice ^ (uint8_t)p[i]) * UINT64_C(0x100000001b3);
    for (int i = 0; i < 8; i++) {
        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
        read_body(&like, flags, p, n, false, &known);
        size_t bytes = change(p, n, dice >> 8, other);
        read_body(&like, flags, other, bytes, false, &known);
        read_body(&plain, flags, other, bytes, false, &scanned);
        same(&scanned, &known);
    }
    answer_fini(&like);
    answer_fini(&plain);
    mem_free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct found whole, pieces, again;
    struct answer a, b;
    if (size < 1 || size > 100000)
        return 0;
    uint8_t flags = data[0];
    const char *p = (const char *)data + 1;
    answer_init(&a, NULL, whole.gaps);
    a.no_patterns = true;
    read_body(&a, flags, p, size - 1, false, &whole);
    bool stream = a.stream;
    answer_fini(&a);
    answer_init(&b, NULL, pieces.gaps);
    read_body(&b, flags, p, size - 1, true, &pieces);
    b.gaps_ns = again.gaps;
    read_body(&b, flags, p, size - 1, false, &again); /* with the pattern of before */
    answer_fini(&b);
    same(&whole, &pieces);
    same(&whole, &again);
    if (stream)
        by_trees(p, size - 1, &whole);
    else if (size > 1 && size < 2000)
        by_likeness(flags, p, size - 1);
    return 0;
}
