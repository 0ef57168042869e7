/* answer.c -- looking at answers, and the header lines put before them.
 *
 * Nothing here changes a byte of an answer. Token counts, finish reason, errors and the first token are found by the JSON scanner: in each
 * event of a stream, or in a plain answer as its pieces pass. Header names are LiteLLM's (docs/compatibility.md). */
#include "gateway/gateway.h"
#include "gateway/lines.h"

#define FINISH_BYTES_MAX 64
#define ERROR_BYTES_MAX  512
#define TIMES_BYTES      320 /* what put_times writes, with room to spare */

static const char *const seen_paths[SEE_COUNT] = {
    [SEE_USAGE] = "usage",
    [SEE_PROMPT_TOKENS] = "usage.prompt_tokens",
    [SEE_COMPLETION_TOKENS] = "usage.completion_tokens",
    [SEE_TOTAL_TOKENS] = "usage.total_tokens",
    [SEE_CACHED_TOKENS] = "usage.prompt_tokens_details.cached_tokens",
    [SEE_REASONING_TOKENS] = "usage.completion_tokens_details.reasoning_tokens",
    [SEE_FINISH_REASON] = "choices.0.finish_reason",
    [SEE_CHOICE] = "choices.0",
    [SEE_DELTA_CONTENT] = "choices.0.delta.content",
    [SEE_DELTA_REASONING] = "choices.0.delta.reasoning_content",
    [SEE_DELTA_THINKING] = "choices.0.delta.reasoning",
    [SEE_DELTA_TOOLS] = "choices.0.delta.tool_calls",
    [SEE_TEXT] = "choices.0.text",
    [SEE_MESSAGE_CONTENT] = "choices.0.message.content",
    [SEE_ERROR] = "error",
    [SEE_ERROR_MESSAGE] = "error.message",
    [SEE_ERROR_TYPE] = "error.type",
    [SEE_ERROR_CODE] = "error.code",
    [SEE_ERROR_STATUS] = "error.status",
    [SEE_PREFILL_MS] = "timings.prompt_ms",
    [SEE_DECODE_MS] = "timings.predicted_ms",
};

static const struct json_want *wanted; /* compiled */

void answer_prepare(void)
{
    if (!wanted)
        wanted = json_want_compile(seen_paths, SEE_COUNT);
}

static void take_count(const struct json_found *f, int64_t *into)
{
    int64_t value;
    if (json_found_i64(f, &value) && value >= 0)
        *into = value;
}

static void take_ms(const struct json_found *f, int64_t *into_us)
{
    double ms;
    if (json_found_f64(f, &ms) && ms >= 0 && ms < 1e9)
        *into_us = (int64_t)(ms * 1000);
}

/* A string's text, decoded, from the bytes that were scanned; where those are gone, from what the scanner kept of it. Written to *memory, which
 * is taken from the arena once: an upstream may say the same thing in every event. */
static struct str text_of(struct request *r, const struct json_found *f, struct str scanned,
                          char **memory, size_t room)
{
    if (f->kind != JSON_STRING)
        return STR_NONE;
    bool there = f->end >= 2 && f->end <= scanned.n;
    struct str raw = there ? (struct str){scanned.p + f->start + 1, (size_t)(f->end - f->start - 2)}
                           : (struct str){f->text, f->kept};
    if (!*memory)
        *memory = arena_alloc(&r->arena, room);
    return (struct str){*memory, json_unescape(raw, *memory, room)};
}

static void take_usage(struct request *r, const struct json_found *seen)
{
    struct record *rec = &r->record;
    if (seen[SEE_USAGE].kind == JSON_OBJECT) {
        take_count(&seen[SEE_PROMPT_TOKENS], &rec->prompt_tokens);
        take_count(&seen[SEE_COMPLETION_TOKENS], &rec->completion_tokens);
        take_count(&seen[SEE_TOTAL_TOKENS], &rec->total_tokens);
        take_count(&seen[SEE_CACHED_TOKENS], &rec->cached_tokens);
        take_count(&seen[SEE_REASONING_TOKENS], &rec->reasoning_tokens);
    }
    take_ms(&seen[SEE_PREFILL_MS], &rec->engine.prefill_us);
    take_ms(&seen[SEE_DECODE_MS], &rec->engine.decode_us);
}

static void take_finish(struct request *r, const struct json_found *seen, struct str scanned)
{
    if (seen[SEE_FINISH_REASON].kind != JSON_STRING)
        return;
    r->saw_finish = true;
    r->record.finish_reason =
        text_of(r, &seen[SEE_FINISH_REASON], scanned, &r->finish_text, FINISH_BYTES_MAX);
}

static bool has_text(const struct json_found *f)
{
    return f->kind == JSON_STRING && f->end - f->start > 2;
}

/* "error": an object or a string; null is none. */
static void take_error(struct request *r, const struct json_found *seen, struct str scanned)
{
    if (seen[SEE_ERROR].kind != JSON_OBJECT && seen[SEE_ERROR].kind != JSON_STRING)
        return;
    const struct json_found *message =
        seen[SEE_ERROR].kind == JSON_STRING ? &seen[SEE_ERROR] : &seen[SEE_ERROR_MESSAGE];
    r->record.error.message = text_of(r, message, scanned, &r->error_text, ERROR_BYTES_MAX);
    r->saw_error = true;
}

/* A status said in words or numbers: OpenAI's and vLLM's "code", Anthropic's "type", Google's "status". 0: none. */
static int status_said(const struct json_found *seen)
{
    static const struct {
        struct str word;
        int status;
    } words[] = {
        {STR("rate_limit_exceeded"), 429},
        {STR("rate_limit_error"), 429},
        {STR("overloaded_error"), 529},
        {STR("authentication_error"), 401},
        {STR("invalid_api_key"), 401},
        {STR("permission_error"), 403},
        {STR("not_found_error"), 404},
        {STR("invalid_request_error"), 400},
        {STR("context_length_exceeded"), 400},
        {STR("content_filter"), 400},
        {STR("RESOURCE_EXHAUSTED"), 429},
        {STR("UNAVAILABLE"), 503},
        {STR("server_error"), 500},
        {STR("internal_server_error"), 500},
        {STR("insufficient_quota"), 429},
        {STR("timeout"), 408},
    };
    static const enum see places[] = {SEE_ERROR_CODE, SEE_ERROR_STATUS, SEE_ERROR_TYPE};
    for (size_t i = 0; i < COUNT(places); i++) {
        const struct json_found *f = &seen[places[i]];
        struct str text = {f->text, f->kept};
        int64_t number;
        if (f->kind != JSON_NUMBER && f->kind != JSON_STRING)
            continue;
        if (str_to_i64(text, &number) && number >= 400 && number <= 599)
            return (int)number;
        for (size_t k = 0; k < COUNT(words); k++)
            if (str_eq(text, words[k].word))
                return words[k].status;
    }
    return 0;
}

bool answer_is_event(struct str data)
{
    struct json_scan scan;
    if (str_eq(data, STR("[DONE]")))
        return true;
    json_scan_init(&scan, NULL, NULL);
    return data.n && json_scan_feed(&scan, data.p, data.n) == JSON_DONE;
}

bool answer_is_error(struct attempt *a, struct str data, struct failure *f)
{
    struct request *r = a->request;
    struct json_found seen[SEE_COUNT];
    struct json_scan scan;
    json_scan_init(&scan, wanted, seen);
    if (data.n == 0 || json_scan_feed(&scan, data.p, data.n) != JSON_DONE ||
        (seen[SEE_ERROR].kind != JSON_OBJECT && seen[SEE_ERROR].kind != JSON_STRING))
        return false;
    take_error(r, seen, data);
    int status = status_said(seen);
    a->status = status ? status : 502;
    r->answer_status = a->status;
    f->code = ERR_STREAM_ERROR;
    f->detail = r->record.error.message;
    f->class = failure_classify(f->code, a->status, data);
    return true;
}

struct str answer_error_text(const struct attempt *a, char *out, size_t room)
{
    struct str body = buf_str(&a->held);
    struct json_found seen[SEE_COUNT];
    struct json_scan scan;
    json_scan_init(&scan, wanted, seen);
    if (body.n == 0 || json_scan_feed(&scan, body.p, body.n) != JSON_DONE)
        return STR_NONE;
    const struct json_found *f =
        seen[SEE_ERROR].kind == JSON_STRING ? &seen[SEE_ERROR] : &seen[SEE_ERROR_MESSAGE];
    if (f->kind != JSON_STRING)
        return STR_NONE;
    struct str raw = {body.p + f->start + 1, (size_t)(f->end - f->start - 2)};
    return (struct str){out, json_unescape(raw, out, room)};
}

/* Does the event bring a piece of the answer? */
static bool count_token(struct request *r, const struct json_found *seen)
{
    static const enum see texts[] = {SEE_DELTA_CONTENT, SEE_DELTA_REASONING, SEE_DELTA_THINKING,
                                     SEE_TEXT};
    bool token = seen[SEE_DELTA_TOOLS].kind == JSON_ARRAY;
    for (size_t i = 0; i < COUNT(texts); i++) {
        bool twice = texts[i] == SEE_DELTA_THINKING && has_text(&seen[SEE_DELTA_REASONING]);
        if (!has_text(&seen[texts[i]]) || twice) /* some say it under both names */
            continue;
        token = true;
        r->content_bytes += seen[texts[i]].end - seen[texts[i]].start - 2;
    }
    if (!token)
        return false;
    r->token_events++;
    r->last_token_ns = loop_now_ns(r->worker->loop);
    if (!r->first_token_ns)
        r->first_token_ns = clock_mono_ns();
    return true;
}

bool answer_look_event(struct request *r, struct str data)
{
    struct json_found seen[SEE_COUNT];
    struct json_scan scan;
    if (str_eq(str_trim(data), STR("[DONE]"))) {
        r->saw_done = true;
        return false;
    }
    json_scan_init(&scan, wanted, seen);
    if (data.n == 0 || json_scan_feed(&scan, data.p, data.n) != JSON_DONE)
        return false; /* not ours to understand */
    bool finished_before = r->saw_finish;
    take_usage(r, seen);
    take_finish(r, seen, data);
    take_error(r, seen, data);
    bool token = count_token(r, seen);
    /* The first event may be the role alone; the second one is progress, also where it brings what weir does not know as a token. */
    if (token || r->data_events++ > 0)
        attempt_first_token(r->attempt);
    if (!r->added_usage || seen[SEE_USAGE].kind != JSON_OBJECT)
        return false;
    /* "choices": [] as OpenAI has it; LiteLLM sends an empty delta behind the one that finished. */
    bool empty_choice = finished_before && !token && seen[SEE_FINISH_REASON].kind != JSON_STRING;
    return seen[SEE_CHOICE].kind == JSON_NONE || empty_choice;
}

void answer_look_start(struct request *r)
{
    r->look = pool_get(&r->worker->looks);
    json_scan_init(&r->look->scan, wanted, r->look->seen);
}

static void stop_looking(struct request *r)
{
    pool_put(&r->worker->looks, r->look);
    r->look = NULL;
}

void answer_look_piece(struct request *r, struct str piece)
{
    if (r->look && json_scan_feed(&r->look->scan, piece.p, piece.n) == JSON_BAD) {
        stop_looking(r); /* not JSON: relayed all the same, where it may be something else */
        r->answer_is_no_json = true;
    }
}

bool answer_look_end(struct request *r)
{
    if (!r->look)
        return !r->answer_is_no_json;
    const struct json_found *seen = r->look->seen;
    struct str scanned = r->relay == RELAY_HOLDING ? buf_str(&r->held) : STR_NONE;
    if (json_scan_finish(&r->look->scan) != JSON_DONE) {
        stop_looking(r);
        return false;
    }
    r->answer_is_json = true;
    take_usage(r, seen);
    take_finish(r, seen, scanned);
    take_error(r, seen, scanned);
    const struct json_found *text =
        has_text(&seen[SEE_MESSAGE_CONTENT]) ? &seen[SEE_MESSAGE_CONTENT] : &seen[SEE_TEXT];
    if (has_text(text))
        r->content_bytes = text->end - text->start - 2;
    return true;
}

/* ---- header lines ---- */

/* Upstream headers are echoed as llm_provider-<name>; what belongs to the connection or to somebody's session is not. */
static bool is_echoed(const struct h1_header *h)
{
    switch (h->field) {
    case H1_CONTENT_TYPE:
    case H1_DATE:
    case H1_SERVER:
    case H1_SET_COOKIE:
    case H1_ALT_SVC:
    case H1_ACCESS_CONTROL_ALLOW_ORIGIN: return false;
    default: return !h1_is_hop_by_hop(h->field);
    }
}

static bool is_ratelimit(const struct h1_header *h)
{
    static const struct str ratelimit = {"x-ratelimit-", 12};
    return h->field == H1_OTHER && h->name.n > ratelimit.n &&
           str_ieq((struct str){h->name.p, ratelimit.n}, ratelimit);
}

/* These also go to the client under their own name: SDKs act on them. */
static bool is_passed(const struct h1_header *h)
{
    static const struct str others[] = {{"retry-after-ms", 14}, {"x-should-retry", 14}};
    for (size_t i = 0; i < COUNT(others); i++)
        if (h->field == H1_OTHER && str_ieq(h->name, others[i]))
            return true;
    if (h->field == H1_RETRY_AFTER || h->field == H1_CACHE_CONTROL ||
        h->field == H1_CONTENT_ENCODING)
        return true;
    return is_ratelimit(h);
}

/* The lines of the key's limits, in the arena. */
static struct str limit_lines(struct request *r, const struct h1_head *h)
{
    char lines[LIMIT_LINES_BYTES];
    bool upstreams = false;
    for (int i = 0; i < h->header_count; i++)
        upstreams |= is_ratelimit(&h->headers[i]);
    size_t n = limit_header_lines(r, !upstreams, lines);
    return n ? arena_str(&r->arena, (struct str){lines, n}) : STR_NONE;
}

char *answer_put_attempts(char *at, const struct request *r)
{
    at = put(at, STR("x-litellm-attempted-retries: "));
    at = digits_u64(at, (uint64_t)MAX(r->record.attempts - 1, 0));
    at = put(at, STR("\r\nx-litellm-attempted-fallbacks: "));
    at = digits_u64(at, (uint64_t)r->fallbacks);
    return put(at, STR("\r\n"));
}

struct str answer_headers(struct request *r, const struct attempt *a, const struct h1_head *h)
{
    static const struct str echo = {"llm_provider-", 13};
    struct str fixed = r->snapshot->shared->texts[a->deployment->id].answer;
    struct str id = r->record.request_id, type = h1_get(h, H1_CONTENT_TYPE);
    struct str limits = r->key ? limit_lines(r, h) : STR_NONE;
    struct str cache = cache_lines(r, a);
    size_t room = 400 + cache.n + 2 * id.n + type.n + fixed.n + limits.n + r->cors.n;
    for (int i = 0; i < h->header_count; i++)
        room += 2 * (h->headers[i].name.n + h->headers[i].value.n + 4) + echo.n;
    char *text = arena_alloc(&r->arena, room), *at = text;
    if (type.n)
        at = put_line(at, STR("content-type"), type);
    if (id.n && r->config->include_request_id_in_response) {
        at = put_line(at, STR("x-request-id"), id);
        at = put_line(at, STR("x-litellm-call-id"), id);
    }
    at = put(at, fixed);
    at = answer_put_attempts(at, r);
    at = put(at, limits);
    at = put(put(at, cache), r->cors);
    for (int i = 0; i < h->header_count; i++) {
        const struct h1_header *header = &h->headers[i];
        if (is_passed(header))
            at = put_line(at, header->name, header->value);
        if (is_echoed(header)) {
            at = put(at, echo);
            at = put_line(at, header->name, header->value);
        }
    }
    ENSURE((size_t)(at - text) <= room);
    return (struct str){text, (size_t)(at - text)};
}

/* LiteLLM's durations and W3C Server-Timing, all in ms. */
static char *put_times(char *at, int64_t latency_us, int64_t queue_us, int64_t upstream_us,
                       int64_t lost_us)
{
    int64_t overhead_us = MAX(latency_us - MAX(upstream_us, 0) - lost_us, 0);
    at = put(at, STR("x-litellm-response-duration-ms: "));
    at = put_ms(at, latency_us);
    at = put(at, STR("\r\nx-litellm-overhead-duration-ms: "));
    at = put_ms(at, overhead_us);
    at = put(at, STR("\r\nserver-timing: queue;dur="));
    at = put_ms(at, queue_us);
    at = put(at, STR(", upstream;dur="));
    at = put_ms(at, upstream_us);
    at = put(at, STR(", overhead;dur="));
    at = put_ms(at, overhead_us);
    return put(at, STR("\r\n"));
}

struct str answer_headers_so_far(struct request *r)
{
    static const struct http_exchange nobody; /* was asked: the cache answers */
    const struct http_exchange *x = r->attempt ? &r->attempt->exchange : &nobody;
    uint64_t now_ns = clock_mono_ns(), sent_ns = x->sent_ns ? x->sent_ns : now_ns;
    /* A stream begins with its first event, which may come long after its head: that wait is the upstream's. */
    uint64_t came_ns = x->last_ns ? x->last_ns : x->head_ns;
    char *text = arena_alloc(&r->arena, r->answer_headers.n + TIMES_BYTES + KEY_LINES_BYTES),
         *at = put(text, r->answer_headers);
    at += key_header_lines(r, at);
    at = put_times(at, us_between(r->arrived_ns, now_ns), us_between(r->arrived_ns, sent_ns),
                   us_between(sent_ns, came_ns), finish_lost_us(r, now_ns));
    return (struct str){text, (size_t)(at - text)};
}

struct str answer_times_of_failure(struct request *r)
{
    const struct http_exchange *x = r->attempt ? &r->attempt->exchange : NULL;
    uint64_t now_ns = clock_mono_ns(), sent_ns = x && x->sent_ns ? x->sent_ns : now_ns;
    char *text = arena_alloc(&r->arena, TIMES_BYTES);
    char *end =
        put_times(text, us_between(r->arrived_ns, now_ns), us_between(r->arrived_ns, sent_ns),
                  us_between(sent_ns, now_ns), finish_lost_us(r, now_ns));
    return (struct str){text, (size_t)(end - text)};
}

struct str answer_headers_with_costs(struct request *r)
{
    const struct record *rec = &r->record;
    char *text = arena_alloc(&r->arena, r->answer_headers.n + 64 + TIMES_BYTES + KEY_LINES_BYTES),
         *at = put(text, r->answer_headers);
    at += key_header_lines(r, at);
    if (rec->cost_usd >= 0)
        at = put(put_usd(put(at, STR("x-litellm-response-cost: ")), rec->cost_usd), STR("\r\n"));
    at = put_times(at, rec->latency_us, rec->queue_us, rec->upstream_us,
                   finish_lost_us(r, clock_mono_ns()));
    return (struct str){text, (size_t)(at - text)};
}
