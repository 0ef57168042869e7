/* trace.c -- the few lines that fit an id, copied; all others cost two comparisons.
 *
 * What is kept of too many is chosen by an order that has no equals (by_worth; candidates by name), so that neither threads nor
 * the order of lines change the answer. */
#include "observe/trace.h"

#include <pthread.h>

#include "base/json.h"
#include "observe/log_names.h"

static const struct json_want *messages_path;
static pthread_once_t compiled = PTHREAD_ONCE_INIT;

static void compile_path(void)
{
    static const char *const paths[] = {"messages"};
    messages_path = json_want_compile(paths, COUNT(paths));
}

enum { ROOM = 2 * TRACE_LINES_MAX }; /* lines gathered before the surplus is thrown out */

void trace_init(struct trace *t, struct str wanted, bool keep_content)
{
    *t = (struct trace){.wanted = wanted, .keep_content = keep_content};
    t->lines = mem_alloc(ROOM * sizeof(struct trace_line *));
    t->candidates = mem_alloc((TRACE_CANDIDATES_MAX + 1) * sizeof *t->candidates);
}

void trace_fini(struct trace *t)
{
    for (size_t i = 0; i < t->count; i++)
        mem_free(t->lines[i]);
    mem_free(t->lines);
    mem_free(t->candidates);
    *t = (struct trace){0};
}

/* ---- candidates ---- */

/* Where `id` is among the candidates, or would be. */
static size_t candidate_place(const struct trace *t, const char *id)
{
    size_t low = 0, high = t->candidate_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(t->candidates[middle].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Those that come first by id are kept. One that fell out can never be among them again, so its count is never half a one. */
static void add_candidate(struct trace *t, const struct trace_candidate *c)
{
    size_t at = candidate_place(t, c->id);
    struct trace_candidate *place = &t->candidates[at];
    if (at < t->candidate_count && strcmp(place->id, c->id) == 0) {
        place->lines += c->lines;
        place->first_us = MIN(place->first_us, c->first_us);
        return;
    }
    if (at == TRACE_CANDIDATES_MAX) {
        t->more_candidates = true;
        return;
    }
    memmove(place + 1, place, (t->candidate_count - at) * sizeof *place);
    *place = *c;
    t->candidate_count++;
    if (t->candidate_count > TRACE_CANDIDATES_MAX) {
        t->more_candidates = true;
        t->candidate_count = TRACE_CANDIDATES_MAX;
    }
}

/* ---- lines ---- */

static int compare_str(struct str a, struct str b)
{
    size_t n = MIN(a.n, b.n);
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int64_t stamp_of(const struct trace_line *l)
{
    return l->found & LOG_BIT(timestamp) ? l->r.timestamp : INT64_MAX;
}

#define COMPARE(a, b)                                                                              \
    if ((a) != (b))                                                                                \
    return (a) < (b) ? -1 : 1

/* Which lines are kept: exact ones, then the earliest. */
static int by_worth(const void *x, const void *y)
{
    const struct trace_line *a = *(struct trace_line *const *)x,
                            *b = *(struct trace_line *const *)y;
    COMPARE(b->exact, a->exact);
    COMPARE(stamp_of(a), stamp_of(b));
    int order = compare_str(a->r.request_id, b->r.request_id);
    if (order)
        return order;
    COMPARE(a->event, b->event);
    COMPARE(a->r.latency_us, b->r.latency_us);
    return compare_str(a->r.provider, b->r.provider);
}

/* As a waterfall wants them: what began first, and what holds others before them; without a stamp last. */
static int by_start(const void *x, const void *y)
{
    const struct trace_line *a = *(struct trace_line *const *)x,
                            *b = *(struct trace_line *const *)y;
    bool a_placed = a->span.start_us != INT64_MIN, b_placed = b->span.start_us != INT64_MIN;
    COMPARE(b_placed, a_placed);
    COMPARE(a->span.start_us, b->span.start_us);
    COMPARE(b->span.end_us, a->span.end_us);
    return by_worth(x, y);
}

static void sort(struct trace *t, int (*order)(const void *, const void *))
{
    if (t->count > 1)
        qsort(t->lines, t->count, sizeof *t->lines, order);
}

static void throw_out(struct trace *t)
{
    sort(t, by_worth);
    for (; t->count > TRACE_LINES_MAX; t->count--)
        mem_free(t->lines[t->count - 1]);
}

static void add_line(struct trace *t, struct trace_line *l)
{
    if (t->count == ROOM)
        throw_out(t);
    t->lines[t->count++] = l;
}

/* ---- a line that fits ---- */

static struct str *text_member(struct record *r, size_t field)
{
    return (struct str *)(void *)((char *)r + record_fields[field].offset);
}

/* Is the field one of text that `l` has and that is to be kept? */
static bool is_kept(const struct trace *t, const struct logline *l, size_t field)
{
    enum record_kind kind = record_fields[field].kind;
    return l->found >> field & 1 && (kind == RECORD_STR || (kind == RECORD_RAW && t->keep_content));
}

static size_t room_for(const struct trace *t, const struct logline *l, size_t field)
{
    struct record r = l->r;
    size_t n = text_member(&r, field)->n;
    return !is_kept(t, l, field)                     ? 0
           : record_fields[field].kind == RECORD_RAW ? n + 1
                                                     : MIN(n, (size_t)TRACE_TEXT_BYTES) + 1;
}

/* Copies the field's text to `at`; returns where the next one goes. Without a copy only its length stays. */
static char *keep_text(const struct trace *t, struct trace_line *to, const struct logline *l,
                       size_t field, char *at)
{
    struct str *text = text_member(&to->r, field);
    size_t room = room_for(t, l, field);
    if (!room) {
        *text = (struct str){NULL, l->found >> field & 1 ? text->n : 0};
        return at;
    }
    if (record_fields[field].kind == RECORD_RAW)
        memcpy(at, text->p, text->n);
    else
        text->n = log_text_copy(l, (enum log_field)field, at, room);
    text->p = at;
    return at + room;
}

/* LiteLLM's messages are no field of the record: only this has ever asked for them. */
static struct str messages_of(const struct trace *t, const struct logline *l, struct str line)
{
    struct json_scan scan;
    struct json_found found;
    if (!t->keep_content || l->shape != LOG_SHAPE_LITELLM)
        return STR_NONE;
    pthread_once(&compiled, compile_path);
    json_scan_init(&scan, messages_path, &found);
    bool read = json_scan_feed(&scan, line.p, line.n) != JSON_BAD;
    bool there = read && found.kind != JSON_NONE && found.end > found.start;
    return there ? (struct str){line.p + found.start, (size_t)(found.end - found.start)} : STR_NONE;
}

static struct trace_line *copy_of(const struct trace *t, const struct logline *l,
                                  enum log_event event, struct str line)
{
    size_t bytes = 0;
    struct str messages = messages_of(t, l, line);
    for (size_t i = 0; i < record_field_count; i++)
        if (record_fields[i].kind == RECORD_STR || record_fields[i].kind == RECORD_RAW)
            bytes += room_for(t, l, i);
    struct trace_line *to = mem_alloc(sizeof *to + bytes + messages.n + 1);
    char *at = to->texts;
    to->event = event;
    to->shape = l->shape;
    to->outcome = log_outcome_of(l);
    to->span = log_span_of(l);
    to->found = l->found;
    to->r = l->r;
    for (size_t i = 0; i < record_field_count; i++)
        if (record_fields[i].kind == RECORD_STR || record_fields[i].kind == RECORD_RAW)
            at = keep_text(t, to, l, i, at);
    if (messages.n)
        memcpy(at, messages.p, messages.n);
    to->messages = messages.n ? (struct str){at, messages.n} : STR_NONE;
    if (!(to->found & LOG_BIT(latency)))
        to->r.latency_us = -1;
    return to;
}

enum fit { FITS_NOT, BEGINS_SO, IS_IT };

static enum fit fits(const struct trace *t, const struct logline *l, enum log_field field,
                     struct str raw)
{
    char decoded[TRACE_TEXT_BYTES];
    if (LIKELY(!(l->found >> field & 1)))
        return FITS_NOT;
    struct str text = logline_text(l, field, raw, decoded, sizeof decoded);
    if (LIKELY(!str_starts(text, t->wanted)))
        return FITS_NOT;
    return text.n == t->wanted.n ? IS_IT : t->wanted.n >= TRACE_PREFIX_MIN ? BEGINS_SO : FITS_NOT;
}

void trace_take(struct trace *t, const struct logline *l, enum log_event event, struct str line)
{
    enum fit own = fits(t, l, LOG_request_id, l->r.request_id);
    enum fit shared = own == IS_IT ? FITS_NOT : fits(t, l, LOG_trace_id, l->r.trace_id);
    if (LIKELY(own == FITS_NOT && shared == FITS_NOT))
        return;
    struct trace_line *kept = copy_of(t, l, event, line);
    bool by_trace = shared == IS_IT || own == FITS_NOT;
    kept->exact = own == IS_IT || shared == IS_IT;
    kept->matched = by_trace ? kept->r.trace_id : kept->r.request_id;
    t->exact_lines += kept->exact;
    if (!kept->exact) {
        struct trace_candidate c = {.lines = 1, .first_us = stamp_of(kept)};
        snprintf(c.id, sizeof c.id, "%.*s", STR_ARG(kept->matched));
        add_candidate(t, &c);
    }
    add_line(t, kept);
}

void trace_merge(struct trace *into, struct trace *from)
{
    for (size_t i = 0; i < from->candidate_count; i++)
        add_candidate(into, &from->candidates[i]);
    for (size_t i = 0; i < from->count; i++)
        add_line(into, from->lines[i]);
    from->count = 0;
    into->exact_lines += from->exact_lines;
    into->more_candidates |= from->more_candidates;
}

/* ---- the answer ---- */

/* Lines that only begin so are not of it when there are some that are. */
static void leave_only_exact(struct trace *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (t->lines[i]->exact)
            t->lines[n++] = t->lines[i];
        else
            mem_free(t->lines[i]);
    }
    t->count = n;
}

enum trace_result trace_settle(struct trace *t, struct str *id)
{
    *id = t->wanted;
    throw_out(t);
    if (t->exact_lines)
        leave_only_exact(t);
    else if (t->candidate_count == 1)
        *id = str_from(t->candidates[0].id);
    sort(t, by_start);
    return t->exact_lines || t->candidate_count == 1 ? TRACE_FOUND
           : t->candidate_count                      ? TRACE_AMBIGUOUS
                                                     : TRACE_NOT_FOUND;
}

uint64_t trace_line_total(const struct trace *t)
{
    return t->exact_lines ? t->exact_lines : t->candidate_count == 1 ? t->candidates[0].lines : 0;
}
