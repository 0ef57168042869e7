/* analyze_trace.c -- --trace ID: one request as a waterfall, a bar for each line over one axis of time, then what is known of it.
 *
 * What was asked and answered is not shown unless --show-content says so, and what looks like a secret in texts is masked
 * (base/redact): the report is what gets pasted into a ticket. */
#include <math.h>

#include "base/redact.h"
#include "base/when.h"
#include "cli/analyze.h"
#include "cli/sentences.h"
#include "observe/trace.h"

enum { BAR_COLUMNS_MIN = 20, BAR_COLUMNS_MAX = 100, BAR_COLUMNS_TEXT = 40, LABEL_COLUMNS = 30 };

static bool wanted(const struct analysis *a)
{
    return a->trace_id && a->trace_id[0];
}

static void *make(const struct analysis *a)
{
    struct trace *t = mem_alloc(sizeof *t);
    trace_init(t, str_from(a->trace_id), a->show_content);
    return t;
}

static void take(void *state, const struct logline *l, enum log_event event, struct str line)
{
    trace_take(state, l, event, line);
}

static void merge(void *into, void *from)
{
    trace_merge(into, from);
}

static void destroy(void *state)
{
    trace_fini(state);
    mem_free(state);
}

static bool is_problem(const struct analysis *a, void *state)
{
    struct str id;
    (void)a;
    return trace_settle(state, &id) != TRACE_FOUND;
}

/* ---- the command that leads here ---- */

/* Appends a word as a shell takes it, in quotes where it needs them. False: no room. */
static bool append_word(struct buf *b, struct str word)
{
    bool plain = word.n > 0;
    for (size_t i = 0; i < word.n; i++)
        plain &=
            word.p[i] > ' ' && word.p[i] < 0x7f && !strchr("\"'`$&|;<>()*?[]#~=%!{}\\^", word.p[i]);
    if (plain)
        return buf_append_str(b, word);
    bool ok = buf_append(b, "'", 1);
    for (size_t i = 0; i < word.n; i++)
        ok = ok && (word.p[i] == '\'' ? buf_append(b, "'\\''", 4) : buf_append(b, &word.p[i], 1));
    return ok && buf_append(b, "'", 1);
}

struct str analysis_trace_command(const struct analysis *a, const char *id, char *out,
                                  size_t out_bytes)
{
    struct buf b;
    if (!id || !id[0])
        return STR_NONE;
    buf_init(&b, out_bytes, NULL);
    bool ok = buf_append_str(&b, STR("weir analyze"));
    for (size_t i = 0; ok && i < a->path_count; i++)
        ok = buf_append(&b, " ", 1) && append_word(&b, str_from(a->paths[i]));
    ok = ok && buf_append_str(&b, id[0] == '-' ? STR(" --trace=") : STR(" --trace ")) &&
         append_word(&b, str_from(id));
    struct str text = ok ? buf_str(&b) : STR_NONE;
    if (text.p)
        memcpy(out, text.p, MIN(text.n, out_bytes));
    buf_fini(&b);
    return text.p ? (struct str){out, MIN(text.n, out_bytes)} : STR_NONE;
}

/* ---- what a line says ---- */

static struct str text_of(const struct trace_line *l, enum log_field field)
{
    struct str text;
    memcpy(&text, (const char *)&l->r + record_fields[field].offset, sizeof text);
    return l->found >> field & 1 && text.p ? text : STR_NONE;
}

static struct str or_dash(struct str text)
{
    return text.n ? text : STR("-");
}

static double number_of(const struct trace_line *l, uint64_t bit, int64_t value)
{
    return l->found & bit ? (double)value : NAN;
}

static double line_cost_usd(const struct trace_line *l)
{
    return l->found & LOG_BIT(cost_usd) ? l->r.cost_usd : NAN;
}

static const char *event_name(const struct trace_line *l)
{
    static const char *const names[] = {"request", "attempt", "gap",  "start",
                                        "stop",    "reload",  "other"};
    return l->shape == LOG_SHAPE_LITELLM ? "call" : names[l->event];
}

static bool has_failed(const struct trace_line *l)
{
    return l->outcome == LOG_OUTCOME_FAILURE;
}

/* "upstream_timeout 408", "success 200": what went wrong, and the status that tells most. */
static void ended_text(const struct trace_line *l, char *out, size_t out_bytes)
{
    struct str what = has_failed(l) ? text_of(l, LOG_error_type) : STR_NONE;
    int64_t status = l->found & LOG_BIT(error_provider_status) ? l->r.error.provider_status
                     : l->found & LOG_BIT(http_status)         ? l->r.http_status
                                                               : 0;
    what = what.n ? what : str_from(log_outcome_names[l->outcome]);
    int n = snprintf(out, out_bytes, "%.*s", STR_ARG(what));
    if (status && (size_t)n < out_bytes)
        snprintf(out + n, out_bytes - (size_t)n, " %lld", (long long)status);
}

/* ---- bars ---- */

struct axis {
    int64_t start_us, end_us; /* equal: there is no time to show */
    int columns;
};

static struct axis axis_of(const struct trace *t, int columns)
{
    struct axis x = {INT64_MAX, INT64_MIN, columns};
    for (size_t i = 0; i < t->count; i++) {
        const struct log_span *s = &t->lines[i]->span;
        if (s->start_us == INT64_MIN)
            continue;
        x.start_us = MIN(x.start_us, s->start_us);
        x.end_us = MAX(x.end_us, s->end_us);
    }
    if (x.start_us > x.end_us)
        x.start_us = x.end_us = 0;
    return x;
}

struct glyph {
    const char *utf8, *ascii;
    enum term_style style;
};
static const struct glyph glyphs[SPAN_PARTS] = {
    [SPAN_QUEUE] = {"\xE2\x96\x91", ".", STYLE_DIM},
    [SPAN_FIRST_TOKEN] = {"\xE2\x96\x92", "-", STYLE_WARN},
    [SPAN_GENERATION] = {"\xE2\x96\x88", "#", STYLE_GOOD},
    [SPAN_UPSTREAM] = {"\xE2\x96\x93", "=", STYLE_ACCENT},
    [SPAN_REST] = {"\xC2\xB7", ":", STYLE_NONE},
};

static struct str glyph_of(bool utf8, enum log_span_part p)
{
    return str_from(utf8 ? glyphs[p].utf8 : glyphs[p].ascii);
}

/* The part at a moment of the line, or -1 outside it. */
static int part_at(const struct log_span *s, double us)
{
    double end = (double)s->start_us;
    if (us < end)
        return -1;
    for (int i = 0; i < SPAN_PARTS; i++) {
        end += (double)s->parts[i];
        if (us < end)
            return i;
    }
    return -1;
}

/* A part for each column, by the moment in its middle; -1: nothing there. A line too short for that is one column, of
 * its longest part. */
static void fill_bar(const struct axis *x, const struct log_span *s, int *parts)
{
    double step = (double)(x->end_us - x->start_us) / x->columns;
    bool seen = false;
    for (int c = 0; c < x->columns; c++) {
        parts[c] =
            s->start_us == INT64_MIN ? -1 : part_at(s, (double)x->start_us + (c + 0.5) * step);
        seen |= parts[c] >= 0;
    }
    if (seen || s->start_us == INT64_MIN)
        return;
    int longest = SPAN_REST;
    for (int i = 0; i < SPAN_PARTS; i++)
        if (s->parts[i] > s->parts[longest])
            longest = i;
    double at = step > 0 ? (double)(s->start_us - x->start_us) / step : 0;
    parts[MIN((int)at, x->columns - 1)] = longest;
}

/* Runs of one part, so that a colour is begun and ended once. */
static void print_bar(const struct term *t, const int *parts, int columns)
{
    char run[BAR_COLUMNS_MAX * 3];
    int last = columns;
    while (last > 0 && parts[last - 1] < 0)
        last--;
    for (int c = 0; c < last;) {
        size_t n = 0;
        int first = c;
        for (; c < last && parts[c] == parts[first]; c++) {
            struct str g =
                parts[c] < 0 ? STR(" ") : glyph_of(t->utf8, (enum log_span_part)parts[c]);
            memcpy(run + n, g.p, g.n);
            n += g.n;
        }
        term_put(t, parts[first] < 0 ? STYLE_NONE : glyphs[parts[first]].style,
                 (struct str){run, n}, 0);
    }
}

static void bar_text(const int *parts, int columns, char *out)
{
    for (int c = 0; c < columns; c++) {
        struct str g =
            parts[c] < 0 ? STR("\xC2\xA0") : glyph_of(true, (enum log_span_part)parts[c]);
        memcpy(out, g.p, g.n);
        out += g.n;
    }
    *out = '\0';
}

static void print_legend(const struct trace *t, const struct term *term)
{
    int64_t sums[SPAN_PARTS] = {0};
    for (size_t i = 0; i < t->count; i++)
        for (int p = 0; p < SPAN_PARTS; p++)
            sums[p] += t->lines[i]->span.parts[p];
    term_field(term, STYLE_NONE, STR(""), LABEL_COLUMNS + 1, ALIGN_LEFT);
    for (int p = 0; p < SPAN_PARTS; p++) {
        if (!sums[p])
            continue;
        term_put(term, glyphs[p].style, glyph_of(term->utf8, (enum log_span_part)p), 0);
        fprintf(term->out, " %s   ", log_span_names[p]);
    }
    fputc('\n', term->out);
}

static void print_axis(const struct axis *x, const struct term *t)
{
    struct num middle = num_ms((double)(x->end_us - x->start_us) / 2),
               end = num_ms((double)(x->end_us - x->start_us));
    int half = x->columns / 2;
    fprintf(t->out, "%*s", LABEL_COLUMNS + 1, "");
    term_field(t, STYLE_DIM, STR("0"), half, ALIGN_LEFT);
    term_field(t, STYLE_DIM, str_from(middle.text), x->columns - half - 10, ALIGN_LEFT);
    term_field(t, STYLE_DIM, str_from(end.text), 10, ALIGN_RIGHT);
    fputc('\n', t->out);
}

/* " 1 attempt openai          600 ms " */
static void print_label(const struct trace_line *l, size_t number, const struct term *t)
{
    char text[160];
    snprintf(text, sizeof text, "%2zu %-7s %.*s", number, event_name(l),
             STR_ARG(or_dash(text_of(l, LOG_provider))));
    term_field(t, has_failed(l) ? STYLE_BAD : STYLE_NONE, str_from(text), LABEL_COLUMNS - 11,
               ALIGN_LEFT);
    term_field(t, STYLE_NONE,
               str_from(num_ms(number_of(l, LOG_BIT(latency), l->r.latency_us)).text), 11,
               ALIGN_RIGHT);
    fputc(' ', t->out);
}

static void print_waterfall(const struct trace *t, const struct term *term)
{
    int parts[BAR_COLUMNS_MAX];
    int room = (term->columns ? term->columns : 100) - LABEL_COLUMNS - 1;
    struct axis x = axis_of(t, MIN(MAX(room, (int)BAR_COLUMNS_MIN), (int)BAR_COLUMNS_MAX));
    fputc('\n', term->out);
    print_axis(&x, term);
    for (size_t i = 0; i < t->count; i++) {
        print_label(t->lines[i], i + 1, term);
        fill_bar(&x, &t->lines[i]->span, parts);
        print_bar(term, parts, x.columns);
        fputc('\n', term->out);
    }
    print_legend(t, term);
}

/* ---- tables ---- */

// clang-format off
static const struct table_column line_columns[] = {
    {"#", ALIGN_RIGHT, "number"},
    {"Event", ALIGN_LEFT, "event"},
    {"Model", ALIGN_LEFT, "model"},
    {"Provider", ALIGN_LEFT, "provider"},
    {"Ended", ALIGN_LEFT, "status"},
    {"Took", ALIGN_RIGHT, "latency_ms"},
    {"First token", ALIGN_RIGHT, "ttft_ms"},
    {"Tokens", ALIGN_RIGHT, "total_tokens"},
    {"Cost", ALIGN_RIGHT, "cost_usd"},
    {"When it ran", ALIGN_LEFT, "bar"}, /* not on a terminal, which has the waterfall */
};
// clang-format on

static void put_line(struct table *t, const struct trace_line *l, size_t number)
{
    char ended[200];
    double latency_us = number_of(l, LOG_BIT(latency), l->r.latency_us);
    double ttft_us = number_of(l, LOG_BIT(ttft), l->r.ttft_us);
    double tokens = number_of(l, LOG_BIT(total_tokens), l->r.total_tokens);
    ended_text(l, ended, sizeof ended);
    table_row(t);
    table_printf(t, STYLE_DIM, "%zu", number);
    table_text(t, STYLE_NONE, str_from(event_name(l)));
    table_maybe(t, STYLE_NONE, text_of(l, LOG_model));
    table_maybe(t, STYLE_NONE, text_of(l, LOG_provider));
    table_text(t, has_failed(l) ? STYLE_BAD : STYLE_NONE, str_from(ended));
    table_number(t, STYLE_NONE, num_ms(latency_us), latency_us / 1000);
    table_number(t, STYLE_NONE, num_ms(ttft_us), ttft_us / 1000);
    table_number(t, STYLE_NONE, num_count(tokens), tokens);
    table_number(t, STYLE_NONE, num_usd(line_cost_usd(l)), line_cost_usd(l));
}

static void write_lines(const struct trace *t, enum table_format format, const struct term *term)
{
    struct table table;
    int parts[BAR_COLUMNS_MAX];
    char bar[BAR_COLUMNS_TEXT * 3 + 1];
    struct axis x = axis_of(t, BAR_COLUMNS_TEXT);
    bool with_bar = format == TABLE_MARKDOWN || format == TABLE_HTML;
    table_init(&table, line_columns, COUNT(line_columns) - !with_bar);
    for (size_t i = 0; i < t->count; i++) {
        put_line(&table, t->lines[i], i + 1);
        if (!with_bar)
            continue;
        fill_bar(&x, &t->lines[i]->span, parts);
        bar_text(parts, x.columns, bar);
        table_text(&table, STYLE_NONE, str_from(bar));
    }
    if (trace_line_total(t) > t->count)
        table_note(&table, "%s lines have this id: these are the earliest %zu",
                   num_count((double)trace_line_total(t)).text, t->count);
    else if (with_bar)
        table_note(&table, "\xE2\x96\x91 queue  \xE2\x96\x92 first token  \xE2\x96\x88 generation  "
                           "\xE2\x96\x93 upstream  \xC2\xB7 rest");
    table_write(&table, format, term);
    table_fini(&table);
}

/* ---- errors ---- */

/* Masked, and as long as it is: a message cut short is the part that was needed. The caller frees it. */
static char *masked(struct str text)
{
    size_t room = text.n;
    char *out = mem_alloc(room + 1);
    out[redact_secrets(text, out, room)] = '\0';
    return out;
}

static void write_errors(const struct trace *t, enum table_format format, const struct term *term)
{
    static const struct table_column columns[] = {{"#", ALIGN_RIGHT, NULL},
                                                  {"Message", ALIGN_LEFT, NULL}};
    struct table table;
    size_t count = 0;
    table_init(&table, columns, COUNT(columns));
    for (size_t i = 0; i < t->count; i++) {
        struct str message = text_of(t->lines[i], LOG_error_message);
        if (!message.n)
            continue;
        char *text = masked(message);
        if (format == TABLE_TERMINAL) {
            fprintf(term->out, "%s%2zu ", count ? "" : "\n", i + 1);
            term_put(term, has_failed(t->lines[i]) ? STYLE_BAD : STYLE_WARN, str_from(text), 0);
            fputc('\n', term->out);
        } else {
            table_row(&table);
            table_printf(&table, STYLE_NONE, "%zu", i + 1);
            table_text(&table, STYLE_NONE, str_from(text));
        }
        count++;
        mem_free(text);
    }
    if (count && format != TABLE_TERMINAL) {
        fputc('\n', term->out);
        table_write(&table, format, term);
    }
    table_fini(&table);
}

/* ---- facts ---- */

// clang-format off
static const enum log_field facts[] = {
    LOG_request_id, LOG_trace_id, LOG_deployment, LOG_upstream_model, LOG_api_base, LOG_call_type, LOG_stream,
    LOG_attempts, LOG_fallback_from, LOG_cache, LOG_finish_reason, LOG_prompt_tokens, LOG_completion_tokens,
    LOG_cached_tokens, LOG_reasoning_tokens, LOG_tokens_source, LOG_tokens_per_second, LOG_overhead, LOG_queue,
    LOG_engine_load, LOG_engine_prefill, LOG_engine_decode, LOG_key_alias, LOG_key_hash, LOG_user, LOG_client,
    LOG_user_agent, LOG_metadata, LOG_request, LOG_response,
};
// clang-format on

/* The line that sums the request up: the last of event request. Else the last of all. */
static const struct trace_line *main_line(const struct trace *t)
{
    const struct trace_line *best = t->lines[t->count - 1];
    bool found = false;
    for (size_t i = 0; i < t->count; i++) {
        const struct trace_line *l = t->lines[i];
        if (l->event != LOG_EVENT_REQUEST || (found && l->span.end_us < best->span.end_us))
            continue;
        best = l;
        found = true;
    }
    return best;
}

#define HASH_SHOWN 12 /* enough to tell keys apart, and no more */

static void put_text_fact(struct table *t, enum log_field field, struct str text)
{
    char *shown = masked(
        field == LOG_key_hash && text.n > HASH_SHOWN ? (struct str){text.p, HASH_SHOWN} : text);
    table_printf(t, STYLE_NONE, "%s%s", shown, field == LOG_key_hash ? "\xE2\x80\xA6" : "");
    mem_free(shown);
}

static void put_content(struct table *t, struct str text)
{
    if (text.p)
        table_text(t, STYLE_NONE, text);
    else
        table_printf(t, STYLE_DIM, "%s, not shown: --show-content", num_bytes((double)text.n).text);
}

static void put_fact(struct table *t, const struct trace_line *l, enum log_field field)
{
    const char *member = (const char *)&l->r + record_fields[field].offset;
    int64_t integer = 0;
    struct str text = STR_NONE;
    double number = 0;
    table_row(t);
    table_text(t, STYLE_DIM, str_from(record_fields[field].name));
    switch (record_fields[field].kind) {
    case RECORD_STR:
        memcpy(&text, member, sizeof text);
        put_text_fact(t, field, text);
        return;
    case RECORD_RAW:
        memcpy(&text, member, sizeof text);
        put_content(t, text);
        return;
    case RECORD_BOOL:
        table_text(t, STYLE_NONE, *(const int8_t *)member ? STR("yes") : STR("no"));
        return;
    case RECORD_RATE:
    case RECORD_USD:
        memcpy(&number, member, sizeof number);
        table_number(t, STYLE_NONE, num_rate(number), number);
        return;
    default: memcpy(&integer, member, sizeof integer);
    }
    bool is_time = record_fields[field].kind == RECORD_MS;
    table_number(t, STYLE_NONE, is_time ? num_ms((double)integer) : num_count((double)integer),
                 (double)integer);
}

static void note_next(const struct analysis *a, const struct trace *t, const struct trace_line *l,
                      struct table *table)
{
    char command[1024];
    size_t attempts = 0;
    struct str trace_id = text_of(l, LOG_trace_id);
    for (size_t i = 0; i < t->count; i++)
        attempts += t->lines[i]->event == LOG_EVENT_ATTEMPT;
    if (l->found & LOG_BIT(attempts) && l->r.attempts > (int64_t)attempts + 1)
        table_note(table, "%lld of its %lld attempts have no line of their own in what was read",
                   (long long)(l->r.attempts - (int64_t)attempts), (long long)l->r.attempts);
    else if (trace_id.n && !str_eq(l->matched, trace_id))
        table_note(table, "All of its trace: %.*s",
                   STR_ARG(analysis_trace_command(a, trace_id.p, command, sizeof command)));
}

static void write_facts(const struct analysis *a, const struct trace *t, enum table_format format,
                        const struct term *term)
{
    static const struct table_column columns[] = {{"Field", ALIGN_LEFT, NULL},
                                                  {"Value", ALIGN_LEFT, NULL}};
    const struct trace_line *l = main_line(t);
    struct table table;
    table_init(&table, columns, COUNT(columns));
    for (size_t i = 0; i < COUNT(facts); i++)
        if (l->found >> facts[i] & 1)
            put_fact(&table, l, facts[i]);
    if (l->messages.n) {
        table_row(&table);
        table_text(&table, STYLE_DIM, STR("messages"));
        table_text(&table, STYLE_NONE, l->messages);
    }
    note_next(a, t, l, &table);
    fputc('\n', term->out);
    table_write(&table, format, term);
    table_fini(&table);
}

/* ---- the whole ---- */

static void write_head(const struct trace *t, struct str id, enum table_format format,
                       const struct term *term)
{
    double tokens = 0, cost = 0;
    size_t failed = 0;
    struct axis x = axis_of(t, 1);
    struct sentences s;
    char when[WHEN_TEXT_BYTES], heading[TRACE_ID_BYTES + 16];
    for (size_t i = 0; i < t->count; i++) {
        const struct trace_line *l = t->lines[i];
        failed += has_failed(l);
        tokens += l->found & LOG_BIT(total_tokens) ? (double)l->r.total_tokens : 0;
        cost += l->found & LOG_BIT(cost_usd) ? l->r.cost_usd : 0;
    }
    snprintf(heading, sizeof heading, "Trace %.*s", STR_ARG(id));
    sentences_init(&s, heading);
    sentences_add(&s, "%.*s: %zu line%s, %zu failed, %s in all, %s tokens, %s",
                  STR_ARG(when_text_zoned(x.start_us, when, sizeof when)), t->count,
                  t->count == 1 ? "" : "s", failed, num_ms((double)(x.end_us - x.start_us)).text,
                  num_count(tokens).text, num_usd(cost).text);
    sentences_end(&s, format, term);
}

static void write_candidates(const struct trace *t, struct str id, const struct analysis *a,
                             enum table_format format, const struct term *term)
{
    static const struct table_column columns[] = {
        {"Id", ALIGN_LEFT, "id"}, {"Lines", ALIGN_RIGHT, "lines"}, {"First", ALIGN_RIGHT, "first"}};
    struct table table;
    char when[WHEN_TEXT_BYTES];
    size_t shown = MIN(t->candidate_count, (size_t)a->top);
    table_init(&table, columns, COUNT(columns));
    table_title(&table, "Several ids begin with %.*s: which one?", STR_ARG(id));
    for (size_t i = 0; i < shown; i++) {
        const struct trace_candidate *c = &t->candidates[i];
        table_row(&table);
        table_text(&table, STYLE_NONE, str_from(c->id));
        table_number(&table, STYLE_NONE, num_count((double)c->lines), (double)c->lines);
        table_maybe(&table, STYLE_DIM,
                    c->first_us == INT64_MAX ? STR_NONE
                                             : when_text_zoned(c->first_us, when, sizeof when));
    }
    if (shown < t->candidate_count)
        table_note(&table, "%s%zu more: --top %zu, or a longer beginning",
                   t->more_candidates ? "at least " : "", t->candidate_count - shown,
                   t->candidate_count);
    if (format != TABLE_CSV)
        fputc('\n', term->out);
    table_write(&table, format, term);
    table_fini(&table);
}

static void write_not_found(const struct analysis *a, struct str id, enum table_format format,
                            const struct term *term)
{
    char first[WHEN_TEXT_BYTES], last[WHEN_TEXT_BYTES], window[2 * WHEN_TEXT_BYTES + 16] = "";
    const struct rollup_group *g = a->total;
    bool narrowed =
        a->since_us != INT64_MIN || a->until_us != INT64_MAX || !log_filter_is_empty(&a->filter);
    struct sentences s;
    if (g->counts[ROLLUP_REQUESTS] && g->first_us <= g->last_us)
        snprintf(window, sizeof window, " from %.*s to %.*s",
                 STR_ARG(when_text_zoned(g->first_us, first, sizeof first)),
                 STR_ARG(when_text_zoned(g->last_us, last, sizeof last)));
    sentences_init(&s, "Not found");
    sentences_add(&s, "%.*s is no request_id or trace_id in the %s lines%s", STR_ARG(id),
                  num_count((double)a->sum.lines).text, window);
    sentences_add(&s,
                  "Try %sthe rotated logs too (requests.log.1, requests.log.2.gz); %sthe "
                  "x-request-id of the answer",
                  narrowed ? "without --since, --until and filters; " : "",
                  id.n < TRACE_PREFIX_MIN ? "at least 6 letters of how it begins; " : "");
    sentences_end(&s, format, term);
}
_Static_assert(TRACE_PREFIX_MIN == 6, "as write_not_found says");

static void write_tables(const struct analysis *a, void *state, enum table_format format,
                         const struct term *term)
{
    struct trace *t = state;
    struct str id;
    enum trace_result result = trace_settle(t, &id);
    if (format == TABLE_CSV && result != TRACE_AMBIGUOUS) {
        write_lines(t, format, term);
    } else if (result == TRACE_NOT_FOUND) {
        write_not_found(a, id, format, term);
    } else if (result == TRACE_AMBIGUOUS) {
        write_candidates(t, id, a, format, term);
    } else {
        write_head(t, id, format, term);
        if (format == TABLE_TERMINAL)
            print_waterfall(t, term);
        fputc('\n', term->out);
        write_lines(t, format, term);
        write_errors(t, format, term);
        write_facts(a, t, format, term);
    }
}

/* ---- JSON ---- */

static void write_field(struct json_out *j, const struct trace_line *l, enum log_field field)
{
    const char *member = (const char *)&l->r + record_fields[field].offset;
    const char *name = record_fields[field].name;
    int64_t integer;
    double number;
    switch (record_fields[field].kind) {
    case RECORD_TIME:
    case RECORD_INT:
    case RECORD_MS:
        memcpy(&integer, member, sizeof integer);
        if (record_fields[field].kind == RECORD_TIME)
            json_stamp(j, name, integer);
        else if (record_fields[field].kind == RECORD_MS)
            json_number(j, name, (double)integer / 1000, "%.3f");
        else
            json_count(j, name, (uint64_t)integer);
        return;
    case RECORD_USD:
    case RECORD_RATE:
        memcpy(&number, member, sizeof number);
        json_number(j, name, number, record_fields[field].kind == RECORD_USD ? "%.12f" : "%.2f");
        return;
    case RECORD_BOOL: json_bool(j, name, *(const int8_t *)member != 0); return;
    case RECORD_RAW:
    case RECORD_STR: break;
    }
    struct str text = text_of(l, field);
    if (!text.p) /* content that was not asked for */
        return;
    char *shown = record_fields[field].kind == RECORD_STR ? masked(text) : NULL;
    json_text(j, name, shown ? str_from(shown) : text);
    mem_free(shown);
}

static void write_line_json(struct json_out *j, const struct trace_line *l)
{
    json_nest(j, NULL, "{");
    json_stamp(j, "start", l->span.start_us);
    json_text(j, "outcome", str_from(log_outcome_names[l->outcome]));
    json_nest(j, "parts_ms", "{");
    for (int i = 0; i < SPAN_PARTS; i++)
        json_number(j, i == SPAN_FIRST_TOKEN ? "first_token" : log_span_names[i],
                    (double)l->span.parts[i] / 1000, "%.3f");
    json_unnest(j, "}");
    json_nest(j, "record", "{");
    for (int field = 0; field < LOG_FIELD_COUNT; field++)
        if (l->found >> field & 1)
            write_field(j, l, (enum log_field)field);
    json_unnest(j, "}");
    if (l->messages.n)
        json_text(j, "messages", l->messages);
    json_unnest(j, "}");
}

static void write_json(const struct analysis *a, void *state, struct json_out *j)
{
    struct trace *t = state;
    struct str id;
    enum trace_result result = trace_settle(t, &id);
    (void)a;
    json_nest(j, "trace", "{");
    json_text(j, "wanted", t->wanted);
    json_text(j, "id", result == TRACE_FOUND ? id : STR_NONE);
    json_bool(j, "found", result == TRACE_FOUND);
    json_count(j, "line_count", trace_line_total(t));
    json_nest(j, "candidates", "[");
    for (size_t i = 0; result == TRACE_AMBIGUOUS && i < t->candidate_count; i++) {
        json_nest(j, NULL, "{");
        json_text(j, "id", str_from(t->candidates[i].id));
        json_count(j, "lines", t->candidates[i].lines);
        json_stamp(j, "first", t->candidates[i].first_us);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    json_nest(j, "lines", "[");
    for (size_t i = 0; result == TRACE_FOUND && i < t->count; i++)
        write_line_json(j, t->lines[i]);
    json_unnest(j, "]");
    json_unnest(j, "}");
}

const struct analyze_part analyze_trace = {
    .name = "trace",
    .wanted = wanted,
    .is_csv = true,
    .events = ~0u,
    .make = make,
    .take = take,
    .merge = merge,
    .destroy = destroy,
    .write_tables = write_tables,
    .write_json = write_json,
    .is_problem = is_problem,
};
