/* intake.c -- step 1: what is being asked for.
 *
 * Scans the body once (base/json.h) for the few members that matter and keeps their places, so that later steps can splice. Gives the
 * request its id and its place in a trace (W3C Trace Context), copies what must outlive the connection's buffer. The body is not changed here. */
#include "gateway/gateway.h"

#define ID_BYTES_MAX         128
#define MODEL_BYTES_MAX      256
#define TRACESTATE_BYTES_MAX 512
#define TOKENS_ASKED_MAX     1000000000 /* more is as good as none */
#define CHOICES_ASKED_MAX    1000

static const char *const wanted_paths[WANT_COUNT] = {
    [WANT_MODEL] = "model",
    [WANT_STREAM] = "stream",
    [WANT_STREAM_OPTIONS] = "stream_options",
    [WANT_INCLUDE_USAGE] = "stream_options.include_usage",
    [WANT_USER] = "user",
    [WANT_METADATA] = "metadata",
    [WANT_MESSAGES] = "messages",
    [WANT_PROMPT] = "prompt",
    [WANT_INPUT] = "input",
    [WANT_MAX_TOKENS] = "max_tokens",
    [WANT_MAX_COMPLETION_TOKENS] = "max_completion_tokens",
    [WANT_N] = "n",
    [WANT_FALLBACKS] = "fallbacks",
    [WANT_NO_FALLBACKS] = "disable_fallbacks",
    [WANT_NUM_RETRIES] = "num_retries",
    [WANT_TIMEOUT] = "timeout",
    [WANT_TAGS] = "tags",
    [WANT_SESSION_ID] = "litellm_session_id",
    [WANT_TRACE_ID] = "litellm_trace_id",
    [WANT_CACHE] = "cache",
    [WANT_PROMPT_CACHE_KEY] = "prompt_cache_key",
    [WANT_METADATA_TAGS] = "metadata.tags",
    [WANT_METADATA_SESSION_ID] = "metadata.session_id",
};

static const struct json_want *wanted; /* compiled */

void intake_prepare(void)
{
    if (!wanted)
        wanted = json_want_compile(wanted_paths, WANT_COUNT);
}

/* A scalar's text, decoded, in the arena. The raw text is taken from the body: json_found keeps only its beginning. */
struct str intake_text(struct request *r, const struct json_found *f, size_t max_bytes)
{
    if (f->kind != JSON_STRING)
        return STR_NONE;
    struct str raw = {r->body.p + f->start + 1, (size_t)(f->end - f->start - 2)};
    raw.n = MIN(raw.n, max_bytes * 6); /* an escape is at most six bytes */
    char *out = arena_alloc(&r->arena, MIN(raw.n, max_bytes) + 1);
    size_t n = json_unescape(raw, out, MIN(raw.n, max_bytes));
    out[n] = '\0';
    return (struct str){out, n};
}

static bool sane_id(struct str id)
{
    if (id.n == 0 || id.n > ID_BYTES_MAX)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.' || c == ':';
        if (!ok)
            return false;
    }
    return true;
}

static void take_request_id(struct request *r, const struct h1_head *h)
{
    static const enum h1_field fields[] = {H1_X_REQUEST_ID, H1_X_LITELLM_CALL_ID};
    for (size_t i = 0; i < COUNT(fields); i++) {
        struct str id = h1_get(h, fields[i]);
        if (sane_id(id)) {
            r->record.request_id = arena_str(&r->arena, id);
            return;
        }
    }
    if (!r->config->generate_request_id)
        return;
    char *id = arena_alloc(&r->arena, 36);
    rng_uuid(&r->worker->rng, id);
    r->record.request_id = (struct str){id, 36};
}

static bool is_lower_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

static bool is_id(struct str s)
{
    bool zero = true;
    for (size_t i = 0; i < s.n; i++)
        zero = zero && s.p[i] == '0';
    return is_lower_hex(s) && !zero;
}

/* version 00: "00-" trace-id(32) "-" parent-id(16) "-" flags(2); higher versions may be longer (W3C Trace Context §3.2). */
static bool parse_traceparent(struct str t, struct str *trace_id, bool *sampled)
{
    if (t.n < 55 || t.p[2] != '-' || t.p[35] != '-' || t.p[52] != '-' ||
        (t.n > 55 && t.p[55] != '-'))
        return false;
    struct str version = {t.p, 2}, trace = {t.p + 3, 32}, parent = {t.p + 36, 16},
               flags = {t.p + 53, 2};
    if (str_eq(version, STR("ff")) || (str_eq(version, STR("00")) && t.n != 55))
        return false;
    if (!is_lower_hex(version) || !is_id(trace) || !is_id(parent) || !is_lower_hex(flags))
        return false;
    *trace_id = trace;
    *sampled = strchr("13579bdf", t.p[54]) != NULL;
    return true;
}

/* Continues the client's trace or begins one; what the client decided on sampling stands. */
static void take_trace(struct request *r, const struct h1_head *h)
{
    struct str theirs = h1_get(h, H1_TRACEPARENT), state = h1_get(h, H1_TRACESTATE), trace_id;
    struct rng *rng = &r->worker->rng;
    if (state.n > TRACESTATE_BYTES_MAX)
        state = STR_NONE;
    if (!r->config->tracing_enabled) {
        r->traceparent_out = theirs.n ? arena_str(&r->arena, theirs) : STR_NONE;
        r->tracestate = state.n ? arena_str(&r->arena, state) : STR_NONE;
        return;
    }
    char *out = arena_alloc(&r->arena, 56);
    memcpy(out, "00-", 3);
    if (parse_traceparent(theirs, &trace_id, &r->sampled)) {
        memcpy(out + 3, trace_id.p, 32);
        if (state.n)
            r->tracestate = arena_str(&r->arena, state);
    } else {
        rng_hex(rng, out + 3, 32);
        r->sampled = r->config->sampling_rate >= 1.0 || rng_unit(rng) < r->config->sampling_rate;
    }
    out[35] = '-';
    rng_hex(rng, out + 36, 16);
    memcpy(out + 52, r->sampled ? "-01" : "-00", 3);
    out[55] = '\0';
    r->traceparent_out = (struct str){out, 55};
    if (r->sampled)
        r->record.trace_id = (struct str){out + 3, 32};
}

/* Client headers that the upstream may see, written once as the lines they will be sent as. */
static void take_headers(struct request *r, const struct h1_head *h)
{
    size_t total = 0;
    uint8_t which[H1_HEADERS_MAX];
    int count = 0;
    for (int i = 0; i < h->header_count; i++) {
        const struct h1_header *header = &h->headers[i];
        if (header->field != H1_OTHER || !provider_forwards(header->name))
            continue;
        which[count++] = (uint8_t)i;
        total += header->name.n + header->value.n + 4;
    }
    if (!count)
        return;
    char *at = arena_alloc(&r->arena, total);
    r->forwarded = (struct str){at, total};
    for (int i = 0; i < count; i++) {
        const struct h1_header *header = &h->headers[which[i]];
        memcpy(at, header->name.p, header->name.n);
        at += header->name.n;
        memcpy(at, ": ", 2);
        memcpy(at + 2, header->value.p, header->value.n);
        at += 2 + header->value.n;
        memcpy(at, "\r\n", 2);
        at += 2;
    }
}

/* A body for the log: as it is when it fits and is JSON, else its beginning as a string with a marker. */
struct str intake_body_for_log(struct arena *a, struct str body, uint64_t whole_bytes, size_t cap,
                               bool valid_json)
{
    if (valid_json && whole_bytes <= cap && body.n == whole_bytes)
        return arena_str(a, body);
    struct str head = {body.p, MIN(body.n, cap)};
    bool cut = whole_bytes > head.n;
    char marker[64];
    int m = cut ? snprintf(marker, sizeof marker, "… [cut: %zu of %llu bytes]", head.n,
                           (unsigned long long)whole_bytes)
                : 0;
    char *joined = arena_alloc(a, head.n + (size_t)m + 1);
    memcpy(joined, head.p, head.n);
    memcpy(joined + head.n, marker, (size_t)m);
    size_t room = 6 * (head.n + (size_t)m) + 2;
    char *out = arena_alloc(a, room);
    return (struct str){out, json_escape(out, room, (struct str){joined, head.n + (size_t)m})};
}

static enum step_result scan_body(struct request *r)
{
    struct json_scan scan;
    json_scan_init(&scan, wanted, r->found);
    enum json_status status = json_scan_feed(&scan, r->body.p, r->body.n);
    if (status == JSON_MORE)
        status = json_scan_finish(&scan);
    if (status != JSON_DONE)
        return request_error(r, ERR_BAD_JSON, "the request body is not valid JSON: byte %llu: %s",
                             (unsigned long long)scan.offset,
                             scan.bad ? scan.bad : "the text ends early");
    const struct json_found *model = &r->found[WANT_MODEL];
    if (model->count > 1)
        return request_error(r, ERR_BAD_REQUEST, "\"model\" is given %d times; give it once",
                             model->count);
    for (int i = WANT_FALLBACKS; i <= WANT_CACHE; i++) /* only one of them would be cut out */
        if (r->found[i].count > 1)
            return request_error(r, ERR_BAD_REQUEST, "\"%s\" is given %d times; give it once",
                                 wanted_paths[i], r->found[i].count);
    if (model->kind != JSON_STRING || model->end - model->start <= 2)
        return request_error(
            r, ERR_MODEL_MISSING,
            "\"model\" must be a non-empty string; GET /v1/models lists those there are");
    r->record.model = intake_text(r, model, MODEL_BYTES_MAX + 1);
    if (r->record.model.n > MODEL_BYTES_MAX)
        return request_error(
            r, ERR_MODEL_UNKNOWN,
            "\"model\" is longer than %d bytes; GET /v1/models lists those there are",
            MODEL_BYTES_MAX);
    r->stream = r->found[WANT_STREAM].kind == JSON_TRUE && r->call->may_stream;
    r->wants_usage = r->found[WANT_INCLUDE_USAGE].kind == JSON_TRUE;
    return STEP_NEXT;
}

/* The most an answer may have, all its choices together, as far as the client says: for tpm limits. */
static int64_t output_tokens_asked(const struct json_found *found)
{
    int64_t each, choices = 1;
    if (!json_found_i64(&found[WANT_MAX_COMPLETION_TOKENS], &each) &&
        !json_found_i64(&found[WANT_MAX_TOKENS], &each))
        return -1;
    (void)json_found_i64(&found[WANT_N], &choices);
    each = MIN(MAX(each, 0), TOKENS_ASKED_MAX);
    return each * MIN(MAX(choices, 1), CHOICES_ASKED_MAX);
}

static void take_members(struct request *r)
{
    struct record *rec = &r->record;
    static const enum want prompts[] = {WANT_MESSAGES, WANT_PROMPT, WANT_INPUT};
    if (r->found[WANT_USER].kind == JSON_STRING)
        rec->user = intake_text(r, &r->found[WANT_USER], 256);
    const struct json_found *metadata = &r->found[WANT_METADATA];
    if (metadata->kind == JSON_OBJECT && metadata->end - metadata->start <= RECORD_STR_MAX)
        rec->metadata =
            arena_str(&r->arena, (struct str){r->body.p + metadata->start,
                                              (size_t)(metadata->end - metadata->start)});
    for (size_t i = 0; i < COUNT(prompts); i++)
        if (r->found[prompts[i]].kind != JSON_NONE)
            r->prompt_bytes += (int64_t)(r->found[prompts[i]].end - r->found[prompts[i]].start);
    r->output_tokens_asked = output_tokens_asked(r->found);
    rec->stream = r->stream;
}

static bool is_json_type(struct str type)
{
    struct str rest = type, media = str_trim(str_cut(&rest, ';'));
    return type.n == 0 || str_ieq(media, STR("application/json")) || str_ends(media, STR("+json"));
}

enum step_result intake_run(struct request *r)
{
    const struct h1_head *h = r->http->head;
    struct record *rec = &r->record;
    rec->event = STR("request");
    rec->call_type = str_from(r->call->name);
    rec->route = r->call->route;
    rec->cache = STR("off");
    take_request_id(r, h);
    take_trace(r, h);
    rec->client = arena_str(&r->arena, r->http->client);
    struct str agent = h1_get(h, H1_USER_AGENT), accept = h1_get(h, H1_ACCEPT);
    if (agent.n)
        rec->user_agent = arena_str(&r->arena, (struct str){agent.p, MIN(agent.n, 256)});
    if (accept.n)
        r->accept = arena_str(&r->arena, accept);
    take_headers(r, h);
    r->cors = reply_cors(&r->arena, r->config, h);
    if (!is_json_type(h1_get(h, H1_CONTENT_TYPE)) || h1_get(h, H1_CONTENT_ENCODING).n)
        return request_error(r, ERR_MEDIA_TYPE,
                             "the body must be application/json without content-encoding");
    enum step_result result = scan_body(r);
    if (r->config->log_requests && !r->config->turn_off_message_logging)
        rec->request = intake_body_for_log(&r->arena, r->body, r->body.n,
                                           (size_t)r->config->log_body_bytes, result == STEP_NEXT);
    if (result != STEP_NEXT)
        return result;
    take_members(r);
    asks_take(r);
    return STEP_NEXT;
}
