/* answer.c -- a body as it comes: events of a stream with their times, or one JSON value.
 *
 *     piece -> sse_scan -> event -> looks like the last one? -> marks
 *                                -> json_scan -> tokens, usage, finish_reason, error -> marks, pattern
 *
 * In a stream, an event with a token is the last one with another text, but for a few. So what stood around the text is kept (the pattern), and
 * an event that has the same bytes there and a valid JSON string between is that same event with another text: JSON's grammar has no context,
 * so scanning it would find what was found before, and it is not scanned. Any other event is. Whole answers: answer_like.c. The clock is not read here: times are the
 * caller's. */
#include "measure/answer_internal.h"

#include <pthread.h>

#include "http/h1.h"

#define PATHS(part)                                                                                \
    {                                                                                              \
        [SEE_CHOICE] = "choices.0", [SEE_FINISH] = "choices.0.finish_reason",                      \
        [SEE_TEXT] = "choices.0.text", [SEE_CONTENT] = "choices.0." part ".content",               \
        [SEE_REASONING_CONTENT] = "choices.0." part ".reasoning_content",                          \
        [SEE_REASONING] = "choices.0." part ".reasoning",                                          \
        [SEE_REFUSAL] = "choices.0." part ".refusal",                                              \
        [SEE_TOOL_ARGUMENTS] = "choices.0." part ".tool_calls.0.function.arguments",               \
        [SEE_FUNCTION_ARGUMENTS] = "choices.0." part ".function_call.arguments",                   \
        [SEE_TOOL] = "choices.0." part ".tool_calls.0", [SEE_ROLE] = "choices.0." part ".role",    \
        [SEE_USAGE] = "usage", [SEE_PROMPT_TOKENS] = "usage.prompt_tokens",                        \
        [SEE_COMPLETION_TOKENS] = "usage.completion_tokens",                                       \
        [SEE_CACHED_TOKENS] = "usage.prompt_tokens_details.cached_tokens",                         \
        [SEE_REASONING_TOKENS] = "usage.completion_tokens_details.reasoning_tokens",               \
        [SEE_ERROR] = "error", [SEE_ERROR_MESSAGE] = "error.message", [SEE_EMBEDDING] = "data.0",  \
    }

static const char *const event_paths[SEE_COUNT] = PATHS("delta");
static const char *const whole_paths[SEE_COUNT] = PATHS("message");
static const struct json_want *event_want, *whole_want;
static pthread_once_t compiled = PTHREAD_ONCE_INIT;

static void compile(void)
{
    event_want = json_want_compile(event_paths, SEE_COUNT);
    whole_want = json_want_compile(whole_paths, SEE_COUNT);
}

/* Where a token may stand, and what it then is. What comes first decides where several are said. */
static const struct {
    uint8_t place, kind;
} token_places[] = {
    {SEE_CONTENT, EVENT_CONTENT},         {SEE_TEXT, EVENT_CONTENT},
    {SEE_REFUSAL, EVENT_CONTENT},         {SEE_TOOL_ARGUMENTS, EVENT_TOOL},
    {SEE_FUNCTION_ARGUMENTS, EVENT_TOOL}, {SEE_REASONING_CONTENT, EVENT_REASONING},
    {SEE_REASONING, EVENT_REASONING},
};

void answer_init(struct answer *a, struct pool *blocks, uint64_t *gaps_ns)
{
    pthread_once(&compiled, compile);
    *a = (struct answer){.gaps_ns = gaps_ns};
    a->found = mem_alloc(SEE_COUNT * sizeof *a->found);
    sse_scan_init(&a->sse, blocks);
}

void answer_fini(struct answer *a)
{
    sse_scan_fini(&a->sse);
    mem_free(a->found);
    mem_free(a->like);
    a->found = NULL;
    a->like = NULL;
}

void answer_begin(struct answer *a, struct sample *s)
{
    struct pool *blocks = a->sse.held.pool;
    sse_scan_fini(&a->sse);
    sse_scan_init(&a->sse, blocks);
    a->sample = s;
    a->asked_stream = s->stream;
    a->stream = a->is_error = a->finished = a->done = a->has_content = false;
    a->flaws = 0;
    a->whole = WHOLE_UNREAD;
    a->excerpt_bytes = 0;
    a->content_type[0] = '\0';
    s->prompt_tokens = s->completion_tokens = s->cached_tokens = s->reasoning_tokens = -1;
    s->server_queue_us = s->server_upstream_us = s->server_overhead_us = -1;
    s->cost_usd = -1;
    s->tokens_counted = false;
    s->chunks = s->gap_count = 0;
    s->longest_gap_ns = s->body_bytes = 0;
    s->gaps_ns = a->gaps_ns;
    s->finish_reason[0] = s->deployment[0] = s->error[0] = '\0';
}

/* ---- what JSON says ---- */

bool answer_is_there(const struct json_found *f)
{
    return f->kind > JSON_NULL;
}

bool answer_has_payload(const struct json_found *f)
{
    return (f->kind == JSON_STRING || f->kind == JSON_ARRAY || f->kind == JSON_OBJECT) &&
           f->end - f->start > 2;
}

/* What a double holds exactly; more is no count, and two of them are to add up. */
#define TOKENS_MAX (INT64_C(1) << 53)

static void take_count(const struct json_found *f, int64_t *into)
{
    int64_t value;
    if (json_found_i64(f, &value) && value >= 0 && value <= TOKENS_MAX)
        *into = value;
}

static void take_usage(struct sample *s, const struct json_found *found)
{
    take_count(&found[SEE_PROMPT_TOKENS], &s->prompt_tokens);
    take_count(&found[SEE_COMPLETION_TOKENS], &s->completion_tokens);
    take_count(&found[SEE_CACHED_TOKENS], &s->cached_tokens);
    take_count(&found[SEE_REASONING_TOKENS], &s->reasoning_tokens);
}

void answer_take_facts(struct answer *a)
{
    struct sample *s = a->sample;
    const struct json_found *finish = &a->found[SEE_FINISH];
    if (a->found[SEE_USAGE].kind == JSON_OBJECT)
        take_usage(s, a->found);
    if (finish->kind == JSON_STRING) {
        a->finished = true;
        size_t n = json_unescape((struct str){finish->text, finish->kept}, s->finish_reason,
                                 sizeof s->finish_reason - 1);
        s->finish_reason[n] = '\0';
    }
    a->has_content |= answer_is_there(&a->found[SEE_TOOL]);
}

/* ---- patterns ---- */

static inline bool fits_pattern(const struct answer_pattern *t, struct str data)
{
    size_t around = (size_t)t->head_bytes + t->tail_bytes;
    if (!t->head_bytes || data.n <= around || memcmp(data.p, t->text, t->head_bytes) != 0)
        return false;
    const char *end = data.p + data.n - t->tail_bytes;
    return memcmp(end, t->text + t->head_bytes, t->tail_bytes) == 0 &&
           answer_string_end(data.p + t->head_bytes, end) == end;
}

/* The event at hand brought one token as a string, and nothing else that is looked for: the next one may be like it. */
static void learn_pattern(struct answer_pattern *t, struct str data, const struct json_found *token,
                          enum event_kind kind)
{
    size_t head = token->start + 1, tail = data.n - (token->end - 1);
    if (token->kind != JSON_STRING || head + tail > sizeof t->text)
        return;
    memcpy(t->text, data.p, head);
    memcpy(t->text + head, data.p + token->end - 1, tail);
    t->head_bytes = (uint16_t)head;
    t->tail_bytes = (uint16_t)tail;
    t->kind = (uint8_t)kind;
}

/* ---- events ---- */

/* The gap before this token; longer streams than GAPS_KEPT keep their first ones and the longest. */
static inline void note_gap(struct answer *a, struct sample *s, uint64_t gap_ns)
{
    if (gap_ns > s->longest_gap_ns)
        s->longest_gap_ns = gap_ns;
    if (a->gaps_ns && s->gap_count < GAPS_KEPT)
        a->gaps_ns[s->gap_count++] = gap_ns;
}

static inline void note_token(struct answer *a, enum event_kind kind, uint64_t arrived_ns)
{
    struct sample *s = a->sample;
    if (s->chunks++ == 0)
        s->first_token_ns = arrived_ns;
    else
        note_gap(a, s, arrived_ns > s->last_token_ns ? arrived_ns - s->last_token_ns : 0);
    if (kind != EVENT_REASONING && !s->first_content_ns)
        s->first_content_ns = arrived_ns;
    s->last_token_ns = MAX(s->last_token_ns, arrived_ns);
}

/* Which token the event brings, noted; EVENT_OTHER: none. */
static enum event_kind take_token(struct answer *a, struct str data, uint64_t arrived_ns)
{
    enum event_kind kind = EVENT_OTHER;
    const struct json_found *token = NULL;
    unsigned tokens = 0;
    for (size_t i = 0; i < COUNT(token_places); i++) {
        const struct json_found *f = &a->found[token_places[i].place];
        if (!answer_has_payload(f))
            continue;
        if (tokens++ == 0) {
            token = f;
            kind = (enum event_kind)token_places[i].kind;
        }
    }
    if (!tokens)
        return EVENT_OTHER;
    note_token(a, kind, arrived_ns);
    a->has_content = true;
    if (tokens == 1 && !answer_is_there(&a->found[SEE_FINISH]) &&
        !answer_is_there(&a->found[SEE_USAGE]))
        learn_pattern(&a->pattern, data, token, kind);
    return kind;
}

static enum event_kind take_error(struct answer *a, struct str detail)
{
    if (!a->is_error)
        answer_say(a, "an error inside the stream", detail);
    a->is_error = true;
    return EVENT_ERROR;
}

static enum event_kind take_json(struct answer *a, struct str data, uint64_t arrived_ns)
{
    char message[SAMPLE_ERROR_BYTES];
    json_scan_init(&a->json, event_want, a->found);
    if (json_scan_feed(&a->json, data.p, data.n) == JSON_BAD ||
        json_scan_finish(&a->json) != JSON_DONE) {
        if (!(a->flaws & FLAW_BAD_EVENT) && !a->is_error)
            answer_say(a, "an event that is not JSON", data);
        a->flaws |= FLAW_BAD_EVENT;
        return EVENT_BAD;
    }
    answer_take_facts(a);
    if (answer_error_said(a, data, message, sizeof message))
        return take_error(a, str_from(message));
    enum event_kind kind = take_token(a, data, arrived_ns);
    bool usage = a->found[SEE_USAGE].kind == JSON_OBJECT;
    if (usage)
        a->sample->usage_ns = arrived_ns;
    if (kind != EVENT_OTHER)
        return kind;
    if (a->found[SEE_FINISH].kind == JSON_STRING)
        return EVENT_FINISH;
    if (usage)
        return EVENT_USAGE;
    return a->found[SEE_ROLE].kind == JSON_STRING ? EVENT_ROLE : EVENT_OTHER;
}

static enum event_kind take_done(struct answer *a, uint64_t arrived_ns)
{
    a->done = true;
    a->sample->done_ns = arrived_ns;
    return EVENT_DONE;
}

static enum event_kind take_event(struct answer *a, const struct sse_event *ev, uint64_t arrived_ns)
{
    struct sample *s = a->sample;
    if (!s->first_event_ns)
        s->first_event_ns = arrived_ns;
    if (a->done)
        a->flaws |= FLAW_AFTER_DONE;
    if (!a->no_patterns && ev->name.n == 0 && fits_pattern(&a->pattern, ev->data)) {
        enum event_kind kind = (enum event_kind)a->pattern.kind;
        note_token(a, kind, arrived_ns);
        a->has_content = true;
        return kind;
    }
    if (str_eq(str_trim(ev->data), STR("[DONE]")))
        return take_done(a, arrived_ns);
    enum event_kind kind = take_json(a, ev->data, arrived_ns);
    if (kind != EVENT_ERROR && str_eq(ev->name, STR("error")))
        kind = take_error(a, ev->data);
    return kind;
}

static void take_stream(struct answer *a, struct str piece, uint64_t arrived_ns)
{
    for (size_t at = 0; at < piece.n;) {
        struct sse_event ev;
        bool got;
        at += sse_scan_feed(&a->sse, piece.p + at, piece.n - at, &ev, &got);
        if (!got)
            return;
        enum event_kind kind = EVENT_OTHER;
        if (ev.too_long) {
            a->flaws |= FLAW_BAD_EVENT;
            kind = EVENT_BAD;
        } else if (ev.data.n) { /* else a comment: it keeps connections alive, and is no event */
            kind = take_event(a, &ev, arrived_ns);
        }
        if (a->on_event)
            a->on_event(a, kind, ev.data.n ? ev.data : ev.raw, arrived_ns);
    }
}

/* A good answer of one piece may be kept, for the next one to be compared with. Only of such is the scanner asked at once. */
static void scan_whole(struct answer *a, struct str piece)
{
    bool first = a->whole == WHOLE_UNREAD;
    if (first)
        json_scan_init(&a->json, whole_want, a->found);
    a->whole = WHOLE_SCANNED;
    bool done = json_scan_feed(&a->json, piece.p, piece.n) == JSON_DONE;
    if (first && done && !a->no_patterns && answer_like_offer(a, piece))
        a->whole = WHOLE_OFFERED;
}

static void take_whole(struct answer *a, struct str piece)
{
    size_t n = MIN(piece.n, sizeof a->excerpt - a->excerpt_bytes);
    if (n) {
        memcpy(a->excerpt + a->excerpt_bytes, piece.p, n);
        a->excerpt_bytes += n;
    }
    switch ((enum answer_whole)a->whole) {
    case WHOLE_UNREAD:
        if (!a->no_patterns && !a->asked_stream && a->sample->http_status / 100 == 2 &&
            answer_like_fits(a, piece)) {
            a->whole = WHOLE_LIKE;
            return;
        }
        break;
    case WHOLE_LIKE: /* white space may follow, as after what was scanned */
        for (size_t i = 0; i < piece.n; i++)
            if (!strchr(" \t\r\n", piece.p[i]) || !piece.p[i])
                a->whole = WHOLE_NOT_JSON;
        return;
    case WHOLE_NOT_JSON: return;
    case WHOLE_SCANNED:
    case WHOLE_OFFERED: break;
    }
    scan_whole(a, piece); /* JSON_BAD stays so: answer_end sees it */
}

void answer_body(struct answer *a, struct str piece, uint64_t arrived_ns)
{
    a->sample->body_bytes += piece.n;
    if (a->stream)
        take_stream(a, piece, arrived_ns);
    else
        take_whole(a, piece);
}

const char *event_kind_name(enum event_kind kind)
{
    static const char *const names[] = {
        [EVENT_ROLE] = "role",   [EVENT_CONTENT] = "content", [EVENT_REASONING] = "reasoning",
        [EVENT_TOOL] = "tool",   [EVENT_FINISH] = "finish",   [EVENT_USAGE] = "usage",
        [EVENT_DONE] = "done",   [EVENT_ERROR] = "error",     [EVENT_OTHER] = "other",
        [EVENT_BAD] = "not JSON"};
    return names[kind];
}
