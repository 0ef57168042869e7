/* analyze_plots.c -- the plots of the report's page: which numbers, as which plot, under which title.
 *
 * Over time there are at most PAGE_STEPS_MAX steps, which a reader can tell apart: if the timeline has more, neighbours are put
 * together, histograms too, so percentiles stay percentiles. Latencies stand in bands of equal ratio. */
#include <math.h>

#include "base/when.h"
#include "cli/analyze_page.h"
#include "cli/plot.h"

#define WIDE_PX         210
#define HIGH_PX         190
#define BANDS_MAX       160
#define BANDS_AN_OCTAVE 4 /* of the histogram; a heat map, which has less room, has half of them */
#define CURVES          5
#define BARS            8
#define NAME_COLUMNS    36 /* of a group in a legend */

/* Bands of latencies: from 2^(k/n) µs to 2^((k+1)/n) µs. */
struct bands {
    size_t count;
    uint64_t begins[BANDS_MAX];
    double edges[BANDS_MAX + 1];
};

/* ---- steps ---- */

static int64_t start_of(const struct rollup_group *g)
{
    int64_t us;
    return str_to_i64(g->values[0], &us) ? us : 0;
}

static void add_step(struct page_step *s, const struct rollup_group *g)
{
    for (int i = 0; i < ROLLUP_COUNT; i++)
        s->counts[i] += g->counts[i];
    if (g->spreads[SPREAD_LATENCY])
        histogram_merge(&s->latency, g->spreads[SPREAD_LATENCY]);
    if (g->spreads[SPREAD_TTFT])
        histogram_merge(&s->ttft, g->spreads[SPREAD_TTFT]);
}

static void fill_steps(struct page *p)
{
    const struct rollup_view *v = p->a->times;
    struct rollup_group **sorted = analysis_sorted(v);
    int64_t first_us = start_of(sorted[0]);
    int64_t count = (start_of(sorted[v->group_count - 1]) - first_us) / v->bucket_us + 1;
    int64_t fold = (count - 1) / PAGE_STEPS_MAX + 1;
    p->step_us = v->bucket_us * fold;
    p->step_count = (size_t)((count - 1) / fold) + 1;
    p->steps = arena_zalloc(&p->arena, p->step_count * sizeof *p->steps);
    p->edges = arena_alloc(&p->arena, (p->step_count + 1) * sizeof *p->edges);
    for (size_t g = 0; g < v->group_count; g++)
        add_step(&p->steps[(start_of(sorted[g]) - first_us) / p->step_us], sorted[g]);
    for (size_t i = 0; i <= p->step_count; i++)
        p->edges[i] = (double)(first_us + (int64_t)i * p->step_us);
    mem_free(sorted);
}

void page_init(struct page *p, const struct analysis *a, FILE *out)
{
    *p = (struct page){.a = a, .out = out};
    arena_init(&p->arena, NULL, 0);
    if (a->times->group_count)
        fill_steps(p);
}

void page_fini(struct page *p)
{
    for (size_t i = 0; i < p->step_count; i++) {
        histogram_fini(&p->steps[i].latency);
        histogram_fini(&p->steps[i].ttft);
    }
    arena_fini(&p->arena);
}

/* ---- series over time ---- */

static double *new_values(struct page *p)
{
    return arena_alloc(&p->arena, p->step_count * sizeof(double));
}

static struct plot_series count_series(struct page *p, const char *name, enum rollup_count which,
                                       double divisor, int color)
{
    double *values = new_values(p);
    for (size_t i = 0; i < p->step_count; i++)
        values[i] = (double)p->steps[i].counts[which] / divisor;
    return (struct plot_series){.name = name, .values = values, .color = color};
}

static double error_rate(const struct page_step *s)
{
    uint64_t requests = s->counts[ROLLUP_REQUESTS];
    return requests ? (double)s->counts[ROLLUP_FAILURE] / (double)requests : NAN;
}

static double quantile_of(const struct histogram *h, double quantile)
{
    return h->count ? (double)histogram_quantile(h, quantile) : NAN;
}

static struct plot_series quantile_series(struct page *p, const char *name, bool of_ttft,
                                          double quantile, int color)
{
    double *values = new_values(p);
    for (size_t i = 0; i < p->step_count; i++)
        values[i] = quantile_of(of_ttft ? &p->steps[i].ttft : &p->steps[i].latency, quantile);
    return (struct plot_series){.name = name, .values = values, .color = color, .show = num_ms};
}

static void plot_over_time(const struct page *p, enum plot_shape shape, int height, struct scale y,
                           const char *label, const struct plot_series *series, size_t count)
{
    struct plot plot = {
        .label = label,
        .shape = shape,
        .height = height,
        .x = {.kind = SCALE_CLOCK, .low = p->edges[0], .high = p->edges[p->step_count]},
        .y = y,
        .edges = p->edges,
        .step_count = p->step_count,
        .series = series,
        .series_count = count};
    plot_write(p->out, &plot);
}

/* "each 2 h" in front of a remark's rest. */
static const char *each_step(struct page *p, const char *rest)
{
    char span[WHEN_TEXT_BYTES];
    struct str each = when_span_text(p->step_us, span, sizeof span);
    return arena_printf(&p->arena, "each %.*s%s", STR_ARG(each), rest).p;
}

/* ---- traffic ---- */

static void plot_requests(struct page *p)
{
    static const struct {
        const char *name;
        enum rollup_count which;
        int color;
    } outcomes[] = {
        {"failed", ROLLUP_FAILURE, 3},
        {"cancelled", ROLLUP_CANCELLED, 2},
        {"unknown", ROLLUP_UNKNOWN, 7},
        {"succeeded", ROLLUP_SUCCESS, 6},
    };
    struct plot_series series[COUNT(outcomes)];
    size_t n = 0;
    for (size_t i = 0; i < COUNT(outcomes); i++)
        if (p->a->total->counts[outcomes[i].which])
            series[n++] =
                count_series(p, outcomes[i].name, outcomes[i].which, 1, outcomes[i].color);
    page_begin_figure(p, "Requests", each_step(p, ", by outcome"), true);
    plot_over_time(p, PLOT_COLUMNS, WIDE_PX, (struct scale){.step_least = 1, .show = num_count},
                   "Requests over time, stacked by outcome", series, n);
    page_end_figure(p);
}

static void plot_error_rate(struct page *p)
{
    double *values = new_values(p);
    for (size_t i = 0; i < p->step_count; i++)
        values[i] = error_rate(&p->steps[i]);
    struct plot_series series = {"error rate", values, 3, num_pct};
    page_begin_figure(p, "Error rate", each_step(p, ", failed of all requests"), true);
    plot_over_time(p, PLOT_LINES, WIDE_PX / 2, (struct scale){.show = num_pct},
                   "Share of requests that failed, over time", &series, 1);
    page_end_figure(p);
}

void page_traffic(struct page *p)
{
    if (!p->step_count)
        return;
    plot_requests(p);
    plot_error_rate(p);
}

/* ---- latency ---- */

static void fill_bands(struct bands *b, const struct histogram *h, int an_octave)
{
    double low = h->count ? MAX((double)h->min, 1.0) : 1, high = h->count ? (double)h->max : 1;
    int first = (int)floor(log2(low) * an_octave);
    int end = MAX(first, (int)floor(log2(MAX(high, 1.0)) * an_octave)) + 1;
    b->count = (size_t)MIN(end - first, BANDS_MAX);
    for (size_t i = 0; i <= b->count; i++)
        b->edges[i] = exp2((double)(first + (int)i) / an_octave);
    for (size_t i = 0; i < b->count; i++)
        b->begins[i] = (uint64_t)ceil(b->edges[i]);
}

static bool has_ttft(const struct page *p)
{
    return p->a->total->spreads[SPREAD_TTFT] != NULL;
}

static void plot_latency_over_time(struct page *p)
{
    struct plot_series latency[] = {quantile_series(p, "p50", false, .5, 1),
                                    quantile_series(p, "p95", false, .95, 2),
                                    quantile_series(p, "p99", false, .99, 3)};
    struct scale y = {.kind = SCALE_DURATION, .show = num_ms};
    page_begin_figure(p, "Latency", each_step(p, ", logarithmic"), !has_ttft(p));
    plot_over_time(p, PLOT_LINES, HIGH_PX, y, "Latency percentiles over time", latency, 3);
    page_end_figure(p);
}

static void plot_ttft_over_time(struct page *p)
{
    if (!has_ttft(p))
        return;
    struct plot_series ttft[] = {quantile_series(p, "p50", true, .5, 1),
                                 quantile_series(p, "p95", true, .95, 2),
                                 quantile_series(p, "p99", true, .99, 3)};
    struct scale y = {.kind = SCALE_DURATION, .show = num_ms};
    page_begin_figure(p, "Time to first token", each_step(p, ", streams, logarithmic"), false);
    plot_over_time(p, PLOT_LINES, HIGH_PX, y, "Percentiles of the time to the first token", ttft,
                   3);
    page_end_figure(p);
}

static void plot_heat_map(struct page *p, const struct histogram *all)
{
    struct bands b;
    fill_bands(&b, all, BANDS_AN_OCTAVE / 2);
    uint64_t *heat = arena_alloc(&p->arena, p->step_count * b.count * sizeof *heat);
    for (size_t i = 0; i < p->step_count; i++)
        histogram_bands(&p->steps[i].latency, b.begins, b.count, heat + i * b.count);
    struct plot_series tips[] = {
        count_series(p, "requests", ROLLUP_REQUESTS, 1, 1), quantile_series(p, "p50", false, .5, 1),
        quantile_series(p, "p99", false, .99, 1), quantile_series(p, "longest", false, 1, 1)};
    tips[0].show = num_count;
    struct plot plot = {
        .label = "How many requests took how long, over time",
        .shape = PLOT_HEAT,
        .height = WIDE_PX,
        .x = {.kind = SCALE_CLOCK, .low = p->edges[0], .high = p->edges[p->step_count]},
        .y = {.kind = SCALE_DURATION, .low = b.edges[0], .high = b.edges[b.count], .show = num_ms},
        .edges = p->edges,
        .step_count = p->step_count,
        .series = tips,
        .series_count = COUNT(tips),
        .bands = b.edges,
        .band_count = b.count,
        .heat = heat};
    page_begin_figure(p, "Latencies over time", "how many requests took how long", true);
    plot_write(p->out, &plot);
    page_end_figure(p);
}

static double *counted_bands(struct page *p, const struct histogram *h, const struct bands *b)
{
    uint64_t counts[BANDS_MAX];
    double *values = arena_alloc(&p->arena, b->count * sizeof *values);
    histogram_bands(h, b->begins, b->count, counts);
    for (size_t i = 0; i < b->count; i++)
        values[i] = (double)counts[i];
    return values;
}

static void plot_histogram(struct page *p, const struct histogram *h)
{
    struct bands b;
    fill_bands(&b, h, BANDS_AN_OCTAVE);
    struct plot_series series = {"requests", counted_bands(p, h, &b), 1, NULL};
    struct plot_mark marks[] = {
        {quantile_of(h, .5), "p50"}, {quantile_of(h, .95), "p95"}, {quantile_of(h, .99), "p99"}};
    struct plot plot = {
        .label = "Histogram of latencies",
        .shape = PLOT_COLUMNS,
        .height = HIGH_PX,
        .x = {.kind = SCALE_DURATION, .low = b.edges[0], .high = b.edges[b.count], .show = num_ms},
        .y = {.step_least = 1, .show = num_count},
        .edges = b.edges,
        .step_count = b.count,
        .series = &series,
        .series_count = 1,
        .marks = marks,
        .mark_count = COUNT(marks)};
    page_begin_figure(p, "How long requests took", "all of them", false);
    plot_write(p->out, &plot);
    page_end_figure(p);
}

/* Share of a group's requests that were over by the end of each band. */
static struct plot_series curve_of(struct page *p, const struct rollup_group *g,
                                   const struct bands *b, size_t at)
{
    const struct histogram *h = g->spreads[SPREAD_LATENCY];
    double *values = counted_bands(p, h, b), sum = 0;
    for (size_t i = 0; i < b->count; i++) {
        sum += values[i];
        values[i] = sum / (double)h->count;
    }
    /* The name comes with each tooltip, and is not to make the page a large one. */
    struct str name = page_group_name(p, p->a->by, g);
    char *cut = arena_alloc(&p->arena, TERM_SAFE_BYTES(name.n));
    term_safe(true, name, NAME_COLUMNS, cut, TERM_SAFE_BYTES(name.n));
    return (struct plot_series){cut, values, 1 + (int)at, NULL};
}

static void plot_curves(struct page *p, const struct histogram *all)
{
    struct bands b;
    struct plot_series series[CURVES];
    size_t n = 0;
    fill_bands(&b, all, BANDS_AN_OCTAVE);
    struct rollup_group **sorted = analysis_sorted(p->a->by);
    for (size_t g = 0; g < p->a->by->group_count && n < CURVES; g++)
        if (sorted[g]->spreads[SPREAD_LATENCY])
            series[n] = curve_of(p, sorted[g], &b, n), n++;
    mem_free(sorted);
    /* A line goes through the middle of a step, but what is known is of a band's end: steps are half a band later. */
    for (size_t i = 0; i <= b.count; i++)
        b.edges[i] *= exp2(.5 / BANDS_AN_OCTAVE);
    struct plot plot = {
        .label = "Share of requests that were done within a time, by group",
        .shape = PLOT_LINES,
        .height = HIGH_PX,
        .x = {.kind = SCALE_DURATION, .low = b.edges[0], .high = b.edges[b.count], .show = num_ms},
        .y = {.high = 1, .show = num_pct},
        .edges = b.edges,
        .step_count = b.count,
        .series = series,
        .series_count = n};
    page_begin_figure(p, "Done within", "share of requests, largest groups", false);
    plot_write(p->out, &plot);
    page_end_figure(p);
}

void page_latency(struct page *p)
{
    const struct histogram *h = p->a->total->spreads[SPREAD_LATENCY];
    if (!h || !h->count)
        return;
    if (p->step_count) {
        plot_latency_over_time(p);
        plot_ttft_over_time(p);
        plot_heat_map(p, h);
    }
    plot_histogram(p, h);
    plot_curves(p, h);
}

/* ---- tokens and cost ---- */

struct str page_group_name(struct page *p, const struct rollup_view *v,
                           const struct rollup_group *g)
{
    struct str name = STR("");
    for (int i = 0; i < v->field_count; i++) {
        struct str value = g->values[i].n ? g->values[i] : STR("-");
        name = arena_printf(&p->arena, "%.*s%s%.*s", STR_ARG(name), i ? " \xC2\xB7 " : "",
                            STR_ARG(value));
    }
    return name;
}

static int by_value(const void *a, const void *b)
{
    double x = ((const struct plot_bar *)a)->value, y = ((const struct plot_bar *)b)->value;
    return (x < y) - (x > y);
}

/* The greatest of them, at most BARS. */
static void write_top(struct page *p, const char *title, const char *what, struct plot_bar *bars,
                      size_t count, struct num (*show)(double), int color)
{
    double total = 0;
    for (size_t i = 0; i < count; i++)
        total += bars[i].value;
    if (total <= 0)
        return;
    qsort(bars, count, sizeof *bars, by_value);
    while (count > 0 && bars[count - 1].value <= 0)
        count--;
    if (count > BARS)
        what = arena_printf(&p->arena, "%s, the first %d of %zu", what, BARS, count).p;
    page_begin_figure(p, title, what, false);
    plot_bars(p->out, title, bars, MIN(count, (size_t)BARS), total, show, color);
    page_end_figure(p);
}

static void write_top_groups(struct page *p, const char *title, enum rollup_count which,
                             double divisor, struct num (*show)(double), int color)
{
    const struct rollup_view *v = p->a->by;
    struct plot_bar *bars = mem_alloc(MAX(v->group_count, (size_t)1) * sizeof *bars);
    for (size_t g = 0; g < v->group_count; g++)
        bars[g] = (struct plot_bar){page_group_name(p, v, v->groups[g]),
                                    (double)v->groups[g]->counts[which] / divisor};
    write_top(p, title, "with share", bars, v->group_count, show, color);
    mem_free(bars);
}

void page_tokens(struct page *p)
{
    const uint64_t *total = p->a->total->counts;
    bool has_tokens = total[ROLLUP_PROMPT_TOKENS] + total[ROLLUP_COMPLETION_TOKENS] > 0;
    bool has_cost = total[ROLLUP_COST_PICO] > 0;
    if (p->step_count && has_tokens) {
        struct plot_series tokens[] = {
            count_series(p, "completion", ROLLUP_COMPLETION_TOKENS, 1, 5),
            count_series(p, "prompt", ROLLUP_PROMPT_TOKENS, 1, 6)};
        page_begin_figure(p, "Tokens", each_step(p, ""), !has_cost);
        plot_over_time(p, PLOT_COLUMNS, HIGH_PX, (struct scale){.step_least = 1, .show = num_count},
                       "Tokens over time, prompt and completion", tokens, 2);
        page_end_figure(p);
    }
    if (p->step_count && has_cost) {
        struct plot_series cost = count_series(p, "cost", ROLLUP_COST_PICO, 1e12, 4);
        page_begin_figure(p, "Cost", each_step(p, ""), !has_tokens);
        plot_over_time(p, PLOT_COLUMNS, HIGH_PX, (struct scale){.show = num_usd}, "Cost over time",
                       &cost, 1);
        page_end_figure(p);
    }
    write_top_groups(p, "Tokens by group", ROLLUP_TOTAL_TOKENS, 1, num_count, 6);
    write_top_groups(p, "Cost by group", ROLLUP_COST_PICO, 1e12, num_usd, 4);
}

/* ---- errors ---- */

static int by_first_value(const void *a, const void *b)
{
    struct str x = ((const struct plot_bar *)a)->name, y = ((const struct plot_bar *)b)->name;
    int order = MIN(x.n, y.n) ? memcmp(x.p, y.p, MIN(x.n, y.n)) : 0;
    return order ? order : (x.n > y.n) - (x.n < y.n);
}

/* Failures by one field of the view of errors: its groups are put together. */
static void write_top_errors(struct page *p, int field, const char *title)
{
    const struct rollup_view *v = p->a->errors;
    struct plot_bar *bars = mem_alloc(MAX(v->group_count, (size_t)1) * sizeof *bars);
    size_t n = 0;
    for (size_t g = 0; g < v->group_count; g++)
        bars[g] = (struct plot_bar){v->groups[g]->values[field].n ? v->groups[g]->values[field]
                                                                  : STR("-"),
                                    (double)v->groups[g]->counts[ROLLUP_FAILURE]};
    qsort(bars, v->group_count, sizeof *bars, by_first_value);
    for (size_t g = 0; g < v->group_count; g++) {
        if (n > 0 && str_eq(bars[n - 1].name, bars[g].name))
            bars[n - 1].value += bars[g].value;
        else
            bars[n++] = bars[g];
    }
    write_top(p, title, "failed requests", bars, n, num_count, 3);
    mem_free(bars);
}

void page_errors(struct page *p)
{
    write_top_errors(p, 0, "Errors by type");
    write_top_errors(p, 2, "Errors by model");
}

/* ---- the tables behind ---- */

static void put_count(struct table *t, uint64_t count, enum term_style style)
{
    table_number(t, count ? style : STYLE_NONE, num_count((double)count), (double)count);
}

static void put_us(struct table *t, double us)
{
    table_number(t, STYLE_NONE, num_ms(us), us / 1000);
}

void page_write_steps(const struct page *p, const struct term *term)
{
    static const struct table_column columns[] = {
        {"From", ALIGN_LEFT, "start"},
        {"Requests", ALIGN_RIGHT, NULL},
        {"Failed", ALIGN_RIGHT, NULL},
        {"Error rate", ALIGN_RIGHT, NULL},
        {"Cancelled", ALIGN_RIGHT, NULL},
        {"Latency p50", ALIGN_RIGHT, NULL},
        {"p95", ALIGN_RIGHT, NULL},
        {"p99", ALIGN_RIGHT, NULL},
        {"First token p50", ALIGN_RIGHT, NULL},
        {"p95", ALIGN_RIGHT, NULL},
        {"Prompt", ALIGN_RIGHT, NULL},
        {"Completion", ALIGN_RIGHT, NULL},
        {"Cost", ALIGN_RIGHT, NULL},
    };
    struct table t;
    char start[WHEN_TEXT_BYTES], span[WHEN_TEXT_BYTES];
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "Each %.*s", STR_ARG(when_span_text(p->step_us, span, sizeof span)));
    for (size_t i = 0; i < p->step_count; i++) {
        const struct page_step *s = &p->steps[i];
        double cost = (double)s->counts[ROLLUP_COST_PICO] / 1e12;
        table_row(&t);
        table_text(&t, STYLE_NONE, when_text((int64_t)p->edges[i], start, sizeof start));
        put_count(&t, s->counts[ROLLUP_REQUESTS], STYLE_NONE);
        put_count(&t, s->counts[ROLLUP_FAILURE], STYLE_BAD);
        table_number(&t, STYLE_NONE, num_pct(error_rate(s)), error_rate(s));
        put_count(&t, s->counts[ROLLUP_CANCELLED], STYLE_NONE);
        put_us(&t, quantile_of(&s->latency, .5));
        put_us(&t, quantile_of(&s->latency, .95));
        put_us(&t, quantile_of(&s->latency, .99));
        put_us(&t, quantile_of(&s->ttft, .5));
        put_us(&t, quantile_of(&s->ttft, .95));
        put_count(&t, s->counts[ROLLUP_PROMPT_TOKENS], STYLE_NONE);
        put_count(&t, s->counts[ROLLUP_COMPLETION_TOKENS], STYLE_NONE);
        table_number(&t, STYLE_NONE, num_usd(cost), cost);
    }
    table_write(&t, TABLE_HTML, term);
    table_fini(&t);
}

void page_write_bands(struct page *p, const struct term *term)
{
    static const struct table_column columns[] = {
        {"From", ALIGN_RIGHT, NULL},       {"To", ALIGN_RIGHT, NULL},
        {"Requests", ALIGN_RIGHT, NULL},   {"Share", ALIGN_RIGHT, NULL},
        {"Up to here", ALIGN_RIGHT, NULL},
    };
    const struct histogram *h = p->a->total->spreads[SPREAD_LATENCY];
    if (!h || !h->count)
        return;
    struct bands b;
    struct table t;
    double sum = 0, all = (double)h->count;
    fill_bands(&b, h, BANDS_AN_OCTAVE / 2);
    const double *counts = counted_bands(p, h, &b);
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "Latencies");
    for (size_t i = 0; i < b.count; i++) {
        sum += counts[i];
        table_row(&t);
        put_us(&t, b.edges[i]);
        put_us(&t, b.edges[i + 1]);
        put_count(&t, (uint64_t)counts[i], STYLE_NONE);
        table_number(&t, STYLE_NONE, num_pct(counts[i] / all), counts[i] / all);
        table_number(&t, STYLE_NONE, num_pct(sum / all), sum / all);
    }
    table_write(&t, TABLE_HTML, term);
    table_fini(&t);
}
