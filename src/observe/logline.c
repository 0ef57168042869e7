/* logline.c -- from bytes to a record, as fast as the line can be looked at.
 *
 * Called by logread.c for every line. Two ways through:
 *
 *   template   weir's own lines have their keys in record.def's order and no blanks. So record.def is expanded into a
 *              run of "is this key next? then take its value": a comparison a field and no table. Nothing is skipped
 *              unread, so that what follows the last field must be the line's end, and a key that comes twice or out
 *              of order is noticed.
 *   walker     everything else: any order, blanks, escapes in keys, other people's shapes. The order of keys is
 *              learned (log_order.h); one that comes where it did not before is found by a hash of length and two letters
 *              (log_keys.c). Values nobody asked for are crossed with regard to depth. A key that comes twice counts as its last.
 *
 * A line that leaves the template begins again in the walker, and one that fails there is broken: the place told is the
 * walker's. Strings end at a quote, and neither at a newline nor at any other control byte: so the newline that ends
 * the line need not be looked for first, and each byte is looked at once.
 *
 * Numbers are integers and powers of ten (RFC 8259 §6): times are exact in µs, whatever their form. A line counts only if all
 * of it is JSON (RFC 8259), also in values nobody asked for: half a line glued to another must not pass for a request. */
#include "observe/log_json_logs.h"
#include "observe/log_keys.h"
#include "observe/log_tail.h"
#include "observe/log_template.h"

_Static_assert(LOG_FIELD_COUNT <= 64, "struct logline.found has 64 bits");

/* ---- the walker ---- */

static const char *broken(struct logline *l, const char *at, const char *expected)
{
    if (!l->bad) {
        l->bad = expected;
        l->bad_at = (size_t)(uintptr_t)at; /* becomes an offset in logline_read */
    }
    return NULL;
}

static void *member_of(struct logline *l, const struct log_key *k)
{
    return (char *)l + k->offset;
}

/* "429" or 429. */
static const char *take_status_code(struct logline *l, const char *p, uint64_t bit, int64_t *out)
{
    if (*p != '"')
        return value_INT(l, p, bit, out);
    struct str text;
    const char *end = value_STR(l, p, bit, &text);
    l->escaped &= ~bit;
    if (!end || !str_to_i64(text, out) || *out < 0)
        l->found &= ~bit;
    return end;
}

static const char *take_epoch(struct logline *l, const char *p, const struct log_key *k)
{
    struct number n;
    int64_t us;
    p = take_number(p, &n);
    if (p && (us = number_scaled(&n, 6)) >= 0) {
        *(int64_t *)member_of(l, k) = us;
        l->seen |= k->seen;
    }
    return p;
}

static const char *take_cache_hit(struct logline *l, const char *p, uint64_t bit)
{
    int8_t hit;
    p = value_BOOL(l, p, bit, &hit);
    if (p)
        l->r.cache = hit ? STR("hit") : STR("miss");
    return p;
}

static const char *walk_object(struct logline *l, const char *p, enum log_place place,
                               size_t depth);

static const char *take_object(struct logline *l, const char *p, const struct log_key *k,
                               size_t depth)
{
    const char *end = walk_object(l, p, (enum log_place)k->inside, depth + 1);
    if (end && k->keep) {
        *(struct str *)member_of(l, k) = (struct str){p, (size_t)(end - p)};
        l->found |= UINT64_C(1) << k->field;
    }
    return end;
}

/* The value of a key that means something. NULL: it is none of the kind. */
static const char *take_value(struct logline *l, const char *p, const struct log_key *k,
                              size_t depth)
{
    uint64_t bit = UINT64_C(1) << k->field;
    void *member = member_of(l, k);
    switch ((enum log_take)k->take) {
    case TAKE_TIME: return value_TIME(l, p, bit, member);
    case TAKE_STR:
        l->seen |= p[0] == '"' && p[1] == '"' ? LOG_SEEN_EMPTY : 0;
        return value_STR(l, p, bit, member);
    case TAKE_INT: return value_INT(l, p, bit, member);
    case TAKE_MS: return value_MS(l, p, bit, member);
    case TAKE_USD: return value_USD(l, p, bit, member);
    case TAKE_RATE: return value_RATE(l, p, bit, member);
    case TAKE_BOOL: return value_BOOL(l, p, bit, member);
    case TAKE_RAW: return value_RAW(l, p, bit, member);
    case TAKE_EPOCH: return take_epoch(l, p, k);
    case TAKE_CACHE_HIT: return take_cache_hit(l, p, bit);
    case TAKE_STATUS_CODE: return take_status_code(l, p, bit, member);
    case TAKE_TAGS: {
        p = value_RAW(l, p, 0, member);
        l->seen |= p ? LOG_SEEN_TAGS : 0;
        return p;
    }
    case TAKE_OBJECT: return *p == '{' ? take_object(l, p, k, depth) : NULL;
    case TAKE_ASIDE: {
        uint64_t found = l->found, escaped = l->escaped;
        *(struct str *)member = STR_NONE;
        p = value_STR(l, p, 0, member);
        l->found = found;
        l->escaped = escaped;
        return p;
    }
    }
    return NULL;
}

/* Does the key set a member of struct logline? All others set a field. */
static bool is_aside(const struct log_key *k)
{
    return k->take == TAKE_EPOCH || k->take == TAKE_ASIDE || k->take == TAKE_TAGS;
}

/* An earlier value of the key no longer counts. */
static void forget_earlier(struct logline *l, const struct log_key *k)
{
    if (!is_aside(k) && (k->take != TAKE_OBJECT || k->keep)) {
        l->found &= ~(UINT64_C(1) << k->field);
        l->escaped &= ~(UINT64_C(1) << k->field);
    }
    l->seen &= ~k->seen;
}

/* p is at a value that belongs to the key k (or to none: NULL). */
static const char *walk_value(struct logline *l, const char *p, const struct log_key *k,
                              size_t depth)
{
    const char *end = NULL;
    if (k) {
        forget_earlier(l, k);
        end = take_value(l, p, k, depth);
    }
    if (k && k->take != TAKE_EPOCH && k->take != TAKE_TAGS) /* those tell of good values only */
        l->seen |= k->seen;
    return end ? end : skip_value(p, depth);
}

/* p is at a key's opening quote. Returns the byte behind the closing one; *k is what the key means. */
static const char *walk_key(const char *p, enum log_place place, const struct log_key **k)
{
    bool escaped;
    char name[128];
    const char *end = string_end(p + 1, &escaped);
    if (!end)
        return NULL;
    struct str text = {p + 1, (size_t)(end - p - 1)};
    if (UNLIKELY(escaped)) /* longer ones are nobody's */
        text = (struct str){name, json_unescape(text, name, sizeof name)};
    *k = log_key_find(place, text.p, text.n);
    return end + 1;
}

/* p is behind '{' or ','. Returns where the next value begins; *k is what it means. */
static const char *walk_to_value(struct logline *l, const char *p, enum log_place place,
                                 const struct log_key **k)
{
    const char *from = p = skip_blanks(p);
    if (*p != '"' || !(p = walk_key(p, place, k)))
        return broken(l, from, "a key in quotes");
    p = skip_blanks(p);
    return *p == ':' ? skip_blanks(p + 1) : broken(l, p, "a colon behind the key");
}

/* p is at '{', which is the line's bracket number `depth`. Returns the byte behind the matching '}', or NULL. Recursion is as deep
 * as log_keys.c's places nest. */
static const char *walk_object(struct logline *l, const char *p, enum log_place place, size_t depth)
{
    unsigned at = place; /* the step of log_order.h */
    const char *from = skip_blanks(p + 1);
    if (*from == '}')
        return from + 1;
    do {
        const struct log_key *k = NULL;
        unsigned step = log_order_next(&l->order, at, from = ++p);
        if (LIKELY(step)) {
            k = l->order.steps[step].key;
            p = skip_blanks(p + l->order.steps[step].bytes); /* there were none, last time */
        } else {
            if (!(p = walk_to_value(l, p, place, &k)))
                return NULL;
            step = log_order_learn(&l->order, at, place, from, (size_t)(p - from), k);
        }
        at = step;
        from = p;
        p = walk_value(l, p, k, depth);
        if (!p)
            return broken(l, from, "a value");
        p = skip_blanks(p);
    } while (*p == ',');
    return *p == '}' ? p + 1 : broken(l, p, "',' or '}' behind the value");
}

/* LiteLLM writes "" for what it does not know. */
static void forget_empty(struct logline *l)
{
    for (uint64_t left = l->found; left; left &= left - 1) {
        int field = __builtin_ctzll(left);
        struct str text;
        if (record_fields[field].kind != RECORD_STR)
            continue;
        memcpy(&text, (const char *)&l->r + record_fields[field].offset, sizeof text);
        if (text.n == 0)
            l->found &= ~(UINT64_C(1) << field);
    }
}

/* Streams: from the first token to the last, which are n - 1 steps. Others: all of the time. */
static void settle_token_rate(struct logline *l)
{
    struct record *r = &l->r;
    if (!logline_has(l, LOG_BIT(latency) | LOG_BIT(completion_tokens)))
        return;
    bool streamed = l->found & LOG_BIT(ttft);
    int64_t us = streamed ? r->latency_us - r->ttft_us : r->latency_us;
    int64_t steps = streamed ? r->completion_tokens - 1 : r->completion_tokens;
    if (us <= 0 || steps <= 0)
        return;
    r->tokens_per_second = (double)steps * 1e6 / (double)us;
    l->found |= LOG_BIT(tokens_per_second);
}

/* A text that was taken aside is the field `bit`: where the key for it says nothing, wherever in the line either stands. */
static void settle_second_best(struct logline *l, uint64_t seen, struct str aside, uint64_t bit,
                               struct str *text)
{
    bool is_known = l->found & bit && text->n;
    if (is_known || !(l->seen & seen) || aside.n == 0)
        return;
    *text = aside;
    l->found |= bit;
    l->escaped &= ~bit;
    if (memchr(aside.p, '\\', aside.n))
        l->escaped |= bit;
}

/* LiteLLM's payload: what it calls otherwise, and what follows from its three times. */
static void settle_payload(struct logline *l)
{
    struct record *r = &l->r;
    l->shape = LOG_SHAPE_LITELLM;
    settle_second_best(l, LOG_SEEN_ID, l->id, LOG_BIT(request_id), &r->request_id);
    settle_second_best(l, LOG_SEEN_ERROR_STR, l->error_str, LOG_BIT(error_message),
                       &r->error.message);
    if (l->found & LOG_BIT(model)) {
        r->upstream_model = r->model;
        l->found |= LOG_BIT(upstream_model);
        if (l->escaped & LOG_BIT(model))
            l->escaped |= LOG_BIT(upstream_model);
    }
    if (l->seen & LOG_SEEN_GROUP && l->group.n) {
        r->model = l->group;
        l->found |= LOG_BIT(model);
        l->escaped &= ~LOG_BIT(model);
        if (memchr(l->group.p, '\\', l->group.n))
            l->escaped |= LOG_BIT(model);
    }
    if (l->seen & LOG_SEEN_EMPTY)
        forget_empty(l);
    if (l->seen & LOG_SEEN_END) {
        r->timestamp = l->end_us;
        l->found |= LOG_BIT(timestamp);
    }
    bool ordered =
        (l->seen & LOG_SEEN_START) && (l->seen & LOG_SEEN_END) && l->end_us >= l->start_us;
    if (ordered) {
        r->latency_us = l->end_us - l->start_us;
        l->found |= LOG_BIT(latency);
    }
    if (ordered && (l->seen & LOG_SEEN_FIRST_TOKEN) && (l->found & LOG_BIT(stream)) && r->stream &&
        l->first_token_us >= l->start_us && l->first_token_us <= l->end_us) {
        r->ttft_us = l->first_token_us - l->start_us;
        l->found |= LOG_BIT(ttft);
    }
    settle_token_rate(l);
}

/* What is compared with words is decoded here, so that nobody has to think of escapes in "success". */
static void decode_words(struct logline *l)
{
    struct {
        enum log_field field;
        struct str *text;
    } words[] = {{LOG_event, &l->r.event},
                 {LOG_status, &l->r.status},
                 {LOG_cache, &l->r.cache},
                 {LOG_tokens_source, &l->r.tokens_source}};
    _Static_assert(COUNT(words) == COUNT(l->words), "a place for each");
    for (size_t i = 0; i < COUNT(words); i++) {
        if (!(l->escaped >> words[i].field & 1))
            continue;
        size_t n = json_unescape(*words[i].text, l->words[i], sizeof l->words[i]);
        *words[i].text = (struct str){l->words[i], n};
        l->escaped &= ~(UINT64_C(1) << words[i].field);
    }
}

/* Is it a line of weir's at all? */
static enum log_shape own_shape(const struct logline *l)
{
    const uint64_t own =
        LOG_BIT(event) | LOG_BIT(request_id) | LOG_BIT(model) | LOG_BIT(status) | LOG_BIT(latency);
    return l->found & own ? LOG_SHAPE_WEIR : LOG_SHAPE_OTHER;
}

/* Which shape it is: the first that fits. */
static void settle(struct logline *l)
{
    if (UNLIKELY(l->escaped))
        decode_words(l);
    if ((l->seen & LOG_SEEN_START) && (l->seen & LOG_SEEN_END)) {
        settle_payload(l);
    } else if (l->seen & LOG_SEEN_MESSAGE && !(l->found & LOG_BIT(event))) {
        l->shape = LOG_SHAPE_JSON_LOGS;
        if (l->seen & LOG_SEEN_UNZONED && l->found & LOG_BIT(timestamp))
            l->r.timestamp -= local_offset_us(l->r.timestamp - local_offset_us(l->r.timestamp));
        log_json_logs_settle(l);
    } else {
        l->shape = own_shape(l);
    }
}

/* ---- lines ---- */

void logline_init(struct logline *l)
{
    memset(l, 0, sizeof *l);
    log_keys_prepare();
}

static const char *line_end(const char *p, const char *end)
{
    const char *newline = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    return newline ? newline : end;
}

/* What may stand before a line: the hole that a truncated file leaves, then blanks. */
static const char *skip_junk(const char *p, const char *end)
{
    while (p < end && *p == '\0')
        p++;
    return skip_blanks(p); /* the newline ends it */
}

static void forget_line(struct logline *l)
{
    l->found = l->escaped = l->seen = 0;
    l->bad = NULL;
}

static const char *read_walking(struct logline *l, const char *p, const char *end,
                                enum line_status *status)
{
    const char *line = p, *stop = line_end(p, end);
    p = skip_junk(p, stop);
    if (p == stop) {
        *status = LINE_BLANK;
        return stop < end ? stop + 1 : end;
    }
    const char *behind =
        *p == '{' ? walk_object(l, p, PLACE_TOP, 1) : broken(l, p, "a JSON object");
    if (behind && (behind = skip_blanks(behind)) != stop)
        behind = broken(l, behind, "the line's end behind the object");
    if (behind)
        settle(l);
    else
        l->bad_at = (size_t)((const char *)(uintptr_t)l->bad_at - line);
    *status = behind ? LINE_READ : LINE_BROKEN;
    return stop < end ? stop + 1 : end;
}

/* Out of line, so that what is expanded twice is not expanded into its callers, too. */
static __attribute__((noinline)) const char *read_whole(struct logline *l, const char *p)
{
    return read_template(l, p, false);
}

static __attribute__((noinline)) const char *read_head(struct logline *l, const char *p)
{
    return read_template(l, p, true);
}

const char *logline_read(struct logline *l, const char *p, const char *end,
                         enum line_status *status)
{
    forget_line(l);
    const char *behind = read_whole(l, p);
    if (LIKELY(behind && *behind == '\n')) {
        l->shape = own_shape(l);
        if (UNLIKELY(l->escaped))
            decode_words(l);
        *status = LINE_READ;
        return behind < end ? behind + 1 : end;
    }
    forget_line(l);
    return read_walking(l, p, end, status);
}

const char *logline_read_failed(struct logline *l, const char *p, const char *end,
                                enum line_status *status)
{
    forget_line(l);
    const char *tail = read_head(l, p);
    bool ended_well = tail && !l->escaped && logline_has(l, LOG_BIT(event) | LOG_BIT(status)) &&
                      (STR_IS(l->r.status, "success") || STR_IS(l->r.status, "cancelled"));
    const char *newline = ended_well ? tail_end(tail) : NULL;
    if (UNLIKELY(!newline))
        return logline_read(l, p, end, status);
    l->shape = own_shape(l);
    *status = LINE_HEAD;
    return newline < end ? newline + 1 : end;
}

struct str logline_text(const struct logline *l, enum log_field field, struct str raw, char *out,
                        size_t out_bytes)
{
    if (!(l->escaped >> field & 1))
        return raw;
    return (struct str){out, json_unescape(raw, out, out_bytes)};
}
