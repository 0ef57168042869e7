/* analyze_tables.c -- the analysis for people: a head that says what was read, the sum, a timeline, and tables.
 *
 * The terminal gets all of it. Markdown has what is no table as a block of code; CSV is one table only, because a file of
 * several is no CSV: that of the part that was asked for, the errors where --errors asked for them, else the groups. */
#include <math.h>
#include <stdarg.h>

#include "base/when.h"
#include "cli/analyze.h"
#include "cli/graph.h"

#define TIMELINE_ROWS    5
#define TIMELINE_POINTS  400 /* more steps than that are no picture */
#define MARKDOWN_COLUMNS 100

/* ---- views ---- */

static int by_requests(const void *a, const void *b)
{
    const struct rollup_group *x = *(struct rollup_group *const *)a,
                              *y = *(struct rollup_group *const *)b;
    uint64_t nx = x->counts[ROLLUP_REQUESTS], ny = y->counts[ROLLUP_REQUESTS];
    if (nx != ny)
        return nx < ny ? 1 : -1;
    for (int i = 0; i < ROLLUP_FIELDS_MAX;
         i++) { /* equals in a fixed order: reports can be compared */
        size_t n = MIN(x->values[i].n, y->values[i].n);
        int order = n ? memcmp(x->values[i].p, y->values[i].p, n) : 0;
        if (order || x->values[i].n != y->values[i].n)
            return order ? order : x->values[i].n < y->values[i].n ? -1 : 1;
    }
    return 0;
}

static int64_t start_of(const struct rollup_group *g)
{
    int64_t us;
    return str_to_i64(g->values[0], &us) ? us : 0;
}

static int by_start(const void *a, const void *b)
{
    int64_t x = start_of(*(struct rollup_group *const *)a),
            y = start_of(*(struct rollup_group *const *)b);
    return (x > y) - (x < y);
}

struct rollup_group **analysis_sorted(const struct rollup_view *v)
{
    struct rollup_group **sorted = mem_alloc(MAX(v->group_count, (size_t)1) * sizeof *sorted);
    if (v->group_count)
        memcpy(sorted, v->groups, v->group_count * sizeof *sorted);
    qsort(sorted, v->group_count, sizeof *sorted, v->bucket_us > 0 ? by_start : by_requests);
    return sorted;
}

const char *analysis_field_name(enum log_field field)
{
    return record_fields[field].name;
}

/* ---- columns ----
 * One row a column: what it is called, whose value, and how it is shown. */

typedef struct num (*show_fn)(double);

static struct num show_tokens_per_s(double tokens_per_s)
{
    return num_rate(tokens_per_s);
}

struct column {
    const char *heading, *name;
    unsigned sections; /* in which it is shown */
    enum { FROM_COUNT, FROM_SHARE, FROM_QUANTILE, FROM_COST } from;
    int which; /* rollup_count or rollup_spread */
    double quantile, raw_divisor;
    show_fn show;
    enum term_style style; /* of a value above 0 */
};

// clang-format off
static const struct column columns[] = {
    {"Requests", "requests", SECTION_OVERVIEW | SECTION_PERFORMANCE | SECTION_TOKENS | SECTION_ERRORS, FROM_COUNT, ROLLUP_REQUESTS, 0, 1, num_count, STYLE_NONE},
    {"Failed", "failure", SECTION_OVERVIEW, FROM_COUNT, ROLLUP_FAILURE, 0, 1, num_count, STYLE_BAD},
    {"Error rate", "error_rate", SECTION_OVERVIEW, FROM_SHARE, ROLLUP_FAILURE, 0, 1, num_pct, STYLE_BAD},
    {"p50", "latency_p50_ms", SECTION_OVERVIEW | SECTION_PERFORMANCE, FROM_QUANTILE, SPREAD_LATENCY, .5, 1000, num_ms, STYLE_NONE},
    {"p90", "latency_p90_ms", SECTION_PERFORMANCE, FROM_QUANTILE, SPREAD_LATENCY, .9, 1000, num_ms, STYLE_NONE},
    {"p95", "latency_p95_ms", SECTION_OVERVIEW | SECTION_PERFORMANCE, FROM_QUANTILE, SPREAD_LATENCY, .95, 1000, num_ms, STYLE_NONE},
    {"p99", "latency_p99_ms", SECTION_OVERVIEW | SECTION_PERFORMANCE, FROM_QUANTILE, SPREAD_LATENCY, .99, 1000, num_ms, STYLE_NONE},
    {"First token p50", "ttft_p50_ms", SECTION_PERFORMANCE, FROM_QUANTILE, SPREAD_TTFT, .5, 1000, num_ms, STYLE_NONE},
    {"p95", "ttft_p95_ms", SECTION_PERFORMANCE, FROM_QUANTILE, SPREAD_TTFT, .95, 1000, num_ms, STYLE_NONE},
    {"Tokens/s p50", "tokens_per_second_p50", SECTION_OVERVIEW | SECTION_PERFORMANCE, FROM_QUANTILE, SPREAD_TOKENS_PER_SECOND, .5, 1000, show_tokens_per_s, STYLE_NONE},
    {"Overhead p95", "overhead_p95_ms", SECTION_PERFORMANCE, FROM_QUANTILE, SPREAD_OVERHEAD, .95, 1000, num_ms, STYLE_NONE},
    {"Queue p95", "queue_p95_ms", SECTION_PERFORMANCE, FROM_QUANTILE, SPREAD_QUEUE, .95, 1000, num_ms, STYLE_NONE},
    {"Slow", "slow", SECTION_PERFORMANCE, FROM_COUNT, ROLLUP_SLOW, 0, 1, num_count, STYLE_WARN},
    {"Prompt", "prompt_tokens", SECTION_TOKENS, FROM_COUNT, ROLLUP_PROMPT_TOKENS, 0, 1, num_count, STYLE_NONE},
    {"Completion", "completion_tokens", SECTION_TOKENS, FROM_COUNT, ROLLUP_COMPLETION_TOKENS, 0, 1, num_count, STYLE_NONE},
    {"Tokens", "total_tokens", SECTION_OVERVIEW | SECTION_TOKENS, FROM_COUNT, ROLLUP_TOTAL_TOKENS, 0, 1, num_count, STYLE_NONE},
    {"Cached", "cached_tokens", SECTION_TOKENS, FROM_COUNT, ROLLUP_CACHED_TOKENS, 0, 1, num_count, STYLE_NONE},
    {"Reasoning", "reasoning_tokens", SECTION_TOKENS, FROM_COUNT, ROLLUP_REASONING_TOKENS, 0, 1, num_count, STYLE_NONE},
    {"Cost", "cost_usd", SECTION_OVERVIEW | SECTION_TOKENS, FROM_COST, ROLLUP_COST_PICO, 0, 1, num_usd, STYLE_NONE},
    {"Of failures", "failed_cost_usd", SECTION_TOKENS, FROM_COST, ROLLUP_FAILED_COST_PICO, 0, 1, num_usd, STYLE_WARN},
    {"Unpriced", "unpriced", SECTION_TOKENS, FROM_COUNT, ROLLUP_UNPRICED, 0, 1, num_count, STYLE_WARN},
};
// clang-format on

static double value_of(const struct column *c, const struct rollup_group *g)
{
    uint64_t requests = g->counts[ROLLUP_REQUESTS];
    switch (c->from) {
    case FROM_COUNT: return (double)g->counts[c->which];
    case FROM_SHARE: return requests ? (double)g->counts[c->which] / (double)requests : NAN;
    case FROM_COST: return (double)g->counts[c->which] / 1e12;
    case FROM_QUANTILE: return rollup_quantile(g, (enum rollup_spread)c->which, c->quantile);
    }
    return NAN;
}

/* Both µs and 1/1000 tokens a second are what the record's fields are when divided by 1000; num_ms takes µs. */
static void put_cell(struct table *t, const struct column *c, const struct rollup_group *g)
{
    double value = value_of(c, g), raw = value / c->raw_divisor;
    enum term_style style = value > 0 ? c->style : STYLE_NONE;
    table_number(t, style, c->show(c->show == show_tokens_per_s ? raw : value), raw);
}

static size_t pick_columns(unsigned section, struct table_column *out, const struct column **picked)
{
    size_t n = 0;
    for (size_t i = 0; i < COUNT(columns); i++) {
        if (!(columns[i].sections & section))
            continue;
        out[n] = (struct table_column){columns[i].heading, ALIGN_RIGHT, columns[i].name};
        picked[n++] = &columns[i];
    }
    return n;
}

/* A view as a table: its fields, then the section's columns. */
static void write_view(const struct analysis *a, const struct rollup_view *v, unsigned section,
                       const char *title, enum table_format format, const struct term *term)
{
    struct table_column heads[ROLLUP_FIELDS_MAX + COUNT(columns)];
    const struct column *picked[COUNT(columns)];
    struct table t;
    size_t fields = (size_t)v->field_count, shown = MIN(v->group_count, (size_t)a->top);
    for (size_t i = 0; i < fields; i++)
        heads[i] = (struct table_column){v->fields[i].name, ALIGN_LEFT, NULL};
    size_t count = pick_columns(section, heads + fields, picked);
    struct rollup_group **sorted = analysis_sorted(v);
    table_init(&t, heads, fields + count);
    table_title(&t, "%s", title);
    for (size_t g = 0; g < shown; g++) {
        table_row(&t);
        for (size_t i = 0; i < fields; i++)
            table_maybe(&t, STYLE_NONE, sorted[g]->values[i]);
        for (size_t i = 0; i < count; i++)
            put_cell(&t, picked[i], sorted[g]);
    }
    if (shown < v->group_count)
        table_note(&t, "%zu more: --top %zu", v->group_count - shown, v->group_count);
    table_write(&t, format, term);
    table_fini(&t);
    mem_free(sorted);
}

void analyze_write_section(const struct analysis *a, enum analyze_section section,
                           const char *title, enum table_format format, const struct term *t)
{
    write_view(a, section == SECTION_ERRORS ? a->errors : a->by, section, title, format, t);
}

/* ---- the head ---- */

/* What is said goes through term_put: a file's name, or a sign that ASCII has not, may be in it. */
static void say(const struct term *t, enum term_style style, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
static void say(const struct term *t, enum term_style style, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ENSURE(n >= 0);
    term_put(t, style, (struct str){text, MIN((size_t)n, sizeof text - 1)}, 0);
}

static void write_reading(const struct analysis *a, const struct term *t)
{
    char first[WHEN_TEXT_BYTES], last[WHEN_TEXT_BYTES];
    const struct rollup_group *g = a->total;
    say(t, STYLE_NONE, "%zu file%s, %s in %.2f s (%s/s), %s lines", a->path_count,
        a->path_count == 1 ? "" : "s", num_bytes((double)a->sum.bytes).text, a->seconds,
        num_bytes(a->seconds > 0 ? (double)a->sum.bytes / a->seconds : 0).text,
        num_count((double)a->sum.lines).text);
    if (a->sum.heads)
        say(t, STYLE_NONE, " (%s of them as far as their status)",
            num_count((double)a->sum.heads).text);
    if (a->sum.skipped)
        say(t, STYLE_NONE, "; %s skipped by time", num_bytes((double)a->sum.skipped).text);
    if (a->rollup.outside)
        say(t, STYLE_NONE, ", %s requests outside the time asked for",
            num_count((double)a->rollup.outside).text);
    fputc('\n', t->out);
    if (g->counts[ROLLUP_REQUESTS] && g->first_us <= g->last_us)
        fprintf(t->out, "%.*s to %.*s\n",
                STR_ARG(when_text_zoned(g->first_us, first, sizeof first)),
                STR_ARG(when_text_zoned(g->last_us, last, sizeof last)));
    if (!a->by->exact) {
        say(t, STYLE_NONE, "percentiles are within 0.4 %% (exact ones of latency: --exact N)");
        fputc('\n', t->out);
    }
    if (a->cut_short) {
        say(t, STYLE_WARN, "stopped by Ctrl-C: what follows is of a part of the log");
        fputc('\n', t->out);
    }
}

static void write_rejects(const struct analysis *a, const struct term *t)
{
    uint64_t other = a->sum.read[LOG_SHAPE_JSON_LOGS];
    if (a->sum.broken)
        say(t, STYLE_WARN,
            "%s line%s could not be read; the first:", num_count((double)a->sum.broken).text,
            a->sum.broken == 1 ? "" : "s");
    fputs(a->sum.broken ? "\n" : "", t->out);
    for (int i = 0; i < a->sum.broken_kept; i++) {
        const struct broken_line *b = &a->sum.first_broken[i];
        if (b->line)
            say(t, STYLE_NONE, "  %s:%llu:%llu: expected %s: ", b->path,
                (unsigned long long)b->line, (unsigned long long)b->column, b->expected);
        else
            say(t, STYLE_NONE, "  %s, line at byte %llu, column %llu: expected %s: ", b->path,
                (unsigned long long)b->byte, (unsigned long long)b->column, b->expected);
        term_put(t, STYLE_DIM, str_from(b->text), t->columns ? MAX(t->columns / 2, 20) : 0);
        fputc('\n', t->out);
    }
    if (other)
        say(t, STYLE_NONE,
            "%s lines are LiteLLM's own messages (json_logs), which tell of no request's times",
            num_count((double)other).text);
    fputs(other ? "\n" : "", t->out);
    if (a->rollup.dropped)
        say(t, STYLE_BAD, "%s records are missing: the gateway could not keep them (event gap)",
            num_count((double)a->rollup.dropped).text);
    fputs(a->rollup.dropped ? "\n" : "", t->out);
}

static void write_sum(const struct analysis *a, const struct term *t)
{
    const struct rollup_group *g = a->total;
    const uint64_t *n = g->counts;
    double requests = (double)n[ROLLUP_REQUESTS];
    fputc('\n', t->out);
    say(t, STYLE_HEADING, "Requests  ");
    if (a->failures_only) {
        say(t, STYLE_NONE, "%s: %s failed (%s), %s cancelled", num_count(requests).text,
            num_count((double)n[ROLLUP_FAILURE]).text,
            num_pct(requests > 0 ? (double)n[ROLLUP_FAILURE] / requests : NAN).text,
            num_count((double)n[ROLLUP_CANCELLED]).text);
        fputc('\n', t->out);
        return;
    }
    say(t, STYLE_NONE, "%s: %s failed (%s), %s cancelled, %s slow, %s from cache",
        num_count(requests).text, num_count((double)n[ROLLUP_FAILURE]).text,
        num_pct(requests > 0 ? (double)n[ROLLUP_FAILURE] / requests : NAN).text,
        num_count((double)n[ROLLUP_CANCELLED]).text, num_count((double)n[ROLLUP_SLOW]).text,
        num_count((double)n[ROLLUP_CACHE_HITS]).text);
    fputc('\n', t->out);
    say(t, STYLE_HEADING, "Latency   ");
    say(t, STYLE_NONE, "p50 %s, p95 %s, p99 %s, longest %s; first token p50 %s, p95 %s",
        num_ms(rollup_quantile(g, SPREAD_LATENCY, .5)).text,
        num_ms(rollup_quantile(g, SPREAD_LATENCY, .95)).text,
        num_ms(rollup_quantile(g, SPREAD_LATENCY, .99)).text,
        num_ms(rollup_quantile(g, SPREAD_LATENCY, 1)).text,
        num_ms(rollup_quantile(g, SPREAD_TTFT, .5)).text,
        num_ms(rollup_quantile(g, SPREAD_TTFT, .95)).text);
    fputc('\n', t->out);
    say(t, STYLE_HEADING, "Tokens    ");
    say(t, STYLE_NONE, "%s: %s prompt, %s completion; %s%s",
        num_count((double)n[ROLLUP_TOTAL_TOKENS]).text,
        num_count((double)n[ROLLUP_PROMPT_TOKENS]).text,
        num_count((double)n[ROLLUP_COMPLETION_TOKENS]).text,
        num_usd((double)n[ROLLUP_COST_PICO] / 1e12).text,
        n[ROLLUP_UNPRICED] ? " (some requests have no price)" : "");
    fputc('\n', t->out);
}

/* ---- the timeline ---- */

static void write_timeline(const struct analysis *a, const struct term *t)
{
    const struct rollup_view *v = a->times;
    struct rollup_group **sorted = analysis_sorted(v);
    int64_t first_us = v->group_count ? start_of(sorted[0]) : 0;
    int64_t last_us = v->group_count ? start_of(sorted[v->group_count - 1]) : 0;
    size_t count = (size_t)((last_us - first_us) / v->bucket_us) + 1;
    char span[WHEN_TEXT_BYTES], begin[WHEN_TEXT_BYTES], end[WHEN_TEXT_BYTES];
    if (v->group_count > 1 && count <= TIMELINE_POINTS) {
        double *values = mem_alloc(count * sizeof *values);
        for (size_t g = 0; g < v->group_count; g++)
            values[(start_of(sorted[g]) - first_us) / v->bucket_us] =
                (double)sorted[g]->counts[ROLLUP_REQUESTS];
        when_text(first_us, begin, sizeof begin);
        when_text(last_us, end, sizeof end);
        struct graph_label labels[] = {{0, begin}, {count - 1, end}};
        struct graph_timeline graph = {.values = values,
                                       .count = count,
                                       .height = TIMELINE_ROWS,
                                       .show = num_count,
                                       .labels = labels,
                                       .label_count = 2,
                                       .style = STYLE_ACCENT};
        struct str each = when_span_text(v->bucket_us, span, sizeof span);
        fprintf(t->out, "\n%sRequests each %.*s%s\n", term_sgr(t, STYLE_TITLE), STR_ARG(each),
                term_sgr_end(t, STYLE_TITLE));
        graph_timeline(t, &graph);
        mem_free(values);
    }
    mem_free(sorted);
}

/* ---- the whole ---- */

static unsigned section_of(const struct analysis *a)
{
    return a->show.performance ? SECTION_PERFORMANCE
           : a->show.tokens    ? SECTION_TOKENS
                               : SECTION_OVERVIEW;
}

static void title_of(const struct rollup_view *v, char *out, size_t out_bytes)
{
    size_t n = (size_t)snprintf(out, out_bytes, "By ");
    for (int i = 0; i < v->field_count && n < out_bytes; i++)
        n += (size_t)snprintf(out + n, out_bytes - n, "%s%s", i ? ", " : "", v->fields[i].name);
    if (v->tag_at >= 0 && n < out_bytes)
        snprintf(out + n, out_bytes - n, " (a request counts once for each of its tags)");
}

/* All that is no table. In Markdown it is a block of code: lines stay lines, and what strangers wrote is no markup. No line
 * begins with what they wrote, so none can end the block. */
static void write_summary(const struct analysis *a, enum table_format format, const struct term *t)
{
    struct term plain = {.out = t->out, .utf8 = true, .columns = MARKDOWN_COLUMNS};
    bool is_markdown = format == TABLE_MARKDOWN;
    t = is_markdown ? &plain : t;
    fputs(is_markdown ? "```text\n" : "", t->out);
    write_reading(a, t);
    write_rejects(a, t);
    if (!a->trace_id) /* one request is not told by what all of them sum up to */
        write_sum(a, t);
    if (analysis_is_overview(a))
        write_timeline(a, t);
    fputs(is_markdown ? "```\n" : "", t->out);
}

/* cmd_analyze.c saw to it that no two tables were asked for. */
static void write_csv(const struct analysis *a, const char *title, const struct term *t)
{
    for (size_t i = 0; i < analyze_part_count; i++) {
        if (!a->parts[i] || !analyze_parts[i]->is_csv)
            continue;
        analyze_parts[i]->write_tables(a, a->parts[i], TABLE_CSV, t);
        return;
    }
    if (a->show.errors)
        write_view(a, a->errors, SECTION_ERRORS, title, TABLE_CSV, t);
    else
        write_view(a, a->by, section_of(a), title, TABLE_CSV, t);
}

void analyze_write_tables(const struct analysis *a, enum table_format format, const struct term *t)
{
    char title[3 * LOG_REF_NAME_BYTES + 128];
    bool overview = analysis_is_overview(a);
    title_of(a->by, title, sizeof title);
    if (format == TABLE_CSV) {
        write_csv(a, title, t);
        return;
    }
    write_summary(a, format, t);
    if (overview || a->show.performance || a->show.tokens) {
        fputc('\n', t->out);
        write_view(a, a->by, section_of(a), title, format, t);
    }
    if ((overview || a->show.errors) && a->errors->group_count) {
        fputc('\n', t->out);
        write_view(a, a->errors, SECTION_ERRORS, "Errors", format, t);
        if (overview && format == TABLE_TERMINAL) {
            say(t, STYLE_DIM, "what they say and what to do: --errors");
            fputc('\n', t->out);
        }
    }
    for (size_t i = 0; i < analyze_part_count; i++)
        if (a->parts[i])
            analyze_parts[i]->write_tables(a, a->parts[i], format, t);
}
