/* measure_plots.c -- the plots of a measuring command's page: a run over time, how values are spread, one quantity over another.
 *
 * Over time there are at most MEASURE_PAGE_STEPS_MAX steps, which a reader can tell apart: of longer runs neighbours are put together, their
 * histograms too, so percentiles stay percentiles. Plots have µs where the results have ns. */
#include <math.h>

#include "base/when.h"
#include "cli/measure_page.h"

#define WIDE_PX    200
#define HIGH_PX    190
#define BANDS_WANT 48 /* of a histogram */
#define BANDS_MAX  160
#define CURVES_MAX 7
#define NS_A_US    1000.0

/* One step of the plots over time: a slot of the results, or several. */
struct step {
    uint64_t begun, ended, failed, chunks;
    double in_flight, asked, users, dropped, slots;
    struct histogram latency, response, ttft;
};

struct steps {
    struct measure_page *page;
    const struct measure_page_times *times;
    struct step *all;
    size_t count;
    double *edges;  /* real us */
    double seconds; /* a step lasts */
    double step_us;
};

/* ---- steps ---- */

static double at(const double *values, size_t i)
{
    return values ? values[i] : NAN;
}

/* NaN where nothing was known of it. */
static void add_known(double *sum, double value)
{
    if (!isnan(value))
        *sum = isnan(*sum) ? value : *sum + value;
}

static void add_slot(struct step *s, const struct measure_page_times *t, size_t i)
{
    const struct results_second *slot = &t->results->seconds[i];
    s->begun += slot->begun;
    s->ended += slot->ended;
    s->failed += slot->failed;
    s->chunks += slot->chunks;
    s->slots++;
    add_known(&s->in_flight, t->in_flight ? t->in_flight[i] : slot->in_flight);
    add_known(&s->asked, at(t->asked_per_s, i));
    add_known(&s->users, at(t->asked_users, i));
    add_known(&s->dropped, at(t->dropped, i));
    histogram_merge(&s->latency, &slot->latency);
    histogram_merge(&s->response, &slot->response);
    histogram_merge(&s->ttft, &slot->ttft);
}

static struct steps steps_of(struct measure_page *p, const struct measure_page_times *t)
{
    const struct results *r = t->results;
    struct steps s = {.page = p, .times = t};
    size_t fold = r->second_count ? (r->second_count - 1) / MEASURE_PAGE_STEPS_MAX + 1 : 1;
    s.count = (r->second_count + fold - 1) / fold;
    s.step_us = (double)fold * (double)r->second_ns / NS_A_US;
    s.seconds = s.step_us / 1e6;
    s.all = arena_zalloc(&p->arena, (s.count + 1) * sizeof *s.all);
    s.edges = arena_alloc(&p->arena, (s.count + 1) * sizeof *s.edges);
    for (size_t i = 0; i < s.count; i++)
        s.all[i].in_flight = s.all[i].asked = s.all[i].users = s.all[i].dropped = NAN;
    for (size_t i = 0; i < r->second_count; i++)
        add_slot(&s.all[i / fold], t, i);
    for (size_t i = 0; i <= s.count; i++)
        s.edges[i] = (double)t->origin_real_us + (double)i * s.step_us;
    return s;
}

static void steps_fini(struct steps *s)
{
    for (size_t i = 0; i < s->count; i++) {
        histogram_fini(&s->all[i].latency);
        histogram_fini(&s->all[i].response);
        histogram_fini(&s->all[i].ttft);
    }
}

/* ---- series over time ---- */

static double asked_rate(const struct steps *s, const struct step *x)
{
    (void)s;
    return x->asked / x->slots;
}
static double asked_users(const struct steps *s, const struct step *x)
{
    (void)s;
    return x->users / x->slots;
}
static double sent_rate(const struct steps *s, const struct step *x)
{
    return (double)x->begun / s->seconds;
}
static double done_rate(const struct steps *s, const struct step *x)
{
    return (double)x->ended / s->seconds;
}
static double failures(const struct steps *s, const struct step *x)
{
    (void)s;
    return (double)x->failed - (isnan(x->dropped) ? 0 : x->dropped);
}
static double dropped(const struct steps *s, const struct step *x)
{
    (void)s;
    return x->dropped;
}
static double in_flight(const struct steps *s, const struct step *x)
{
    (void)s;
    return x->in_flight / x->slots;
}
static double chunk_rate(const struct steps *s, const struct step *x)
{
    return (double)x->chunks / s->seconds;
}

struct line {
    const char *name;
    double (*value)(const struct steps *s, const struct step *x);
    int color;
    struct num (*show)(double);
};

static struct plot_series series_of(const struct steps *s, const struct line *l)
{
    double *values = arena_alloc(&s->page->arena, (s->count + 1) * sizeof *values);
    for (size_t i = 0; i < s->count; i++)
        values[i] = l->value(s, &s->all[i]);
    return (struct plot_series){l->name, values, l->color, l->show};
}

static bool has_values(const struct steps *s, const struct plot_series *x)
{
    for (size_t i = 0; i < s->count; i++)
        if (!isnan(x->values[i]) && x->values[i] > 0)
            return true;
    return false;
}

static void plot_over_time(const struct steps *s, enum plot_shape shape, int height, struct scale y,
                           const char *label, const struct plot_series *series, size_t count)
{
    struct plot plot = {.label = label,
                        .shape = shape,
                        .height = height,
                        .x = {.kind = SCALE_CLOCK, .low = s->edges[0], .high = s->edges[s->count]},
                        .y = y,
                        .edges = s->edges,
                        .step_count = s->count,
                        .series = series,
                        .series_count = count,
                        .marks = s->times->marks,
                        .mark_count = s->times->mark_count};
    plot_write(s->page->out, &plot);
}

/* "each 2 s" in front of a remark's rest. */
static const char *each_step(const struct steps *s, const char *rest)
{
    char span[WHEN_TEXT_BYTES];
    struct str each = when_span_text((int64_t)s->step_us, span, sizeof span);
    return arena_printf(&s->page->arena, "each %.*s%s", STR_ARG(each), rest).p;
}

struct figure {
    const char *title, *rest; /* of the remark, behind "each 1 s" */
    bool is_wide;
    enum plot_shape shape;
    int height;
    struct scale y;
    struct line lines[3];
    size_t count;
};

/* Of the lines, those that have values; nothing where none has. */
static void write_figure(const struct steps *s, const struct figure *f)
{
    struct plot_series series[COUNT(f->lines)];
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++) {
        series[n] = series_of(s, &f->lines[i]);
        n += has_values(s, &series[n]);
    }
    if (n == 0)
        return;
    measure_page_begin_figure(s->page, f->title, each_step(s, f->rest), f->is_wide);
    plot_over_time(s, f->shape, f->height, f->y, f->title, series, n);
    measure_page_end_figure(s->page);
}

static const struct figure traffic[] = {
    {"Requests a second",
     "",
     true,
     PLOT_LINES,
     WIDE_PX,
     {.show = num_rate},
     {{"asked", asked_rate, 7, NULL}, {"sent", sent_rate, 2, NULL}, {"done", done_rate, 1, NULL}},
     3},
    {"Failures",
     ", by when they ended",
     true,
     PLOT_COLUMNS,
     WIDE_PX / 2,
     {.step_least = 1, .show = num_count},
     {{"failed", failures, 3, NULL}, {"never sent", dropped, 2, NULL}},
     2},
    {"In flight",
     ", at its end",
     false,
     PLOT_LINES,
     HIGH_PX,
     {.step_least = 1, .show = num_count},
     {{"users asked", asked_users, 7, NULL}, {"in flight", in_flight, 5, NULL}},
     2},
    {"Token events a second",
     ", streams",
     false,
     PLOT_LINES,
     HIGH_PX,
     {.show = num_rate},
     {{"events with tokens", chunk_rate, 4, NULL}},
     1},
};

void measure_page_traffic(struct measure_page *p, const struct measure_page_times *t)
{
    struct steps s = steps_of(p, t);
    for (size_t i = 0; s.count && i < COUNT(traffic); i++)
        write_figure(&s, &traffic[i]);
    steps_fini(&s);
}

/* ---- percentiles over time ---- */

static double quantile_us(const struct histogram *h, double quantile)
{
    return h->count ? (double)histogram_quantile(h, quantile) / NS_A_US : NAN;
}

struct quantile_line {
    const char *name;
    size_t histogram; /* its place in struct step */
    double quantile;
    int color;
};

static void plot_percentiles(const struct steps *s, const char *title, const char *rest,
                             const struct quantile_line *lines, size_t count)
{
    struct plot_series series[4];
    ENSURE(count <= COUNT(series));
    for (size_t l = 0; l < count; l++) {
        double *values = arena_zalloc(&s->page->arena, (s->count + 1) * sizeof *values);
        for (size_t i = 0; i < s->count; i++) {
            const char *step = (const char *)&s->all[i];
            values[i] = quantile_us((const struct histogram *)(step + lines[l].histogram),
                                    lines[l].quantile);
        }
        series[l] = (struct plot_series){lines[l].name, values, lines[l].color, num_ms};
    }
    if (!has_values(s, &series[0]))
        return;
    struct scale y = {.kind = SCALE_DURATION, .show = num_ms};
    measure_page_begin_figure(s->page, title, each_step(s, rest), false);
    plot_over_time(s, PLOT_LINES, HIGH_PX, y, title, series, count);
    measure_page_end_figure(s->page);
}

void measure_page_latencies(struct measure_page *p, const struct measure_page_times *t)
{
    static const struct quantile_line latency[] = {
        {"p50", offsetof(struct step, response), .5, 1},
        {"p95", offsetof(struct step, response), .95, 2},
        {"p99", offsetof(struct step, response), .99, 3},
        {"p99 from sending", offsetof(struct step, latency), .99, 7}};
    static const struct quantile_line ttft[] = {{"p50", offsetof(struct step, ttft), .5, 1},
                                                {"p95", offsetof(struct step, ttft), .95, 2},
                                                {"p99", offsetof(struct step, ttft), .99, 3}};
    struct steps s = steps_of(p, t);
    if (s.count) {
        plot_percentiles(&s, "Latency, from due", ", logarithmic", latency, COUNT(latency));
        plot_percentiles(&s, "Time to first token", ", from sending, logarithmic", ttft,
                         COUNT(ttft));
    }
    steps_fini(&s);
}

/* ---- how values are spread ---- */

/* Bands of equal ratio from the least value to the greatest, in us. */
struct bands {
    size_t count;
    double edges[BANDS_MAX + 1];
};

static void fill_bands(struct bands *b, double low_ns, double high_ns)
{
    double low = MAX(low_ns, 1.0) / NS_A_US, high = MAX(high_ns, 1.0) / NS_A_US;
    double octaves = MAX(log2(high / low), .001);
    /* Edges at round fractions of an octave, so that pages of like runs have like bands. */
    double an_octave = exp2(floor(log2(BANDS_WANT / octaves)));
    an_octave = MIN(MAX(an_octave, 1.0), 64.0);
    double first = floor(log2(low) * an_octave);
    double end = MAX(floor(log2(high) * an_octave), first) + 1;
    b->count = (size_t)MIN(end - first, (double)BANDS_MAX);
    for (size_t i = 0; i <= b->count; i++)
        b->edges[i] = exp2((first + (double)i) / an_octave);
}

static double *counted(struct measure_page *p, const struct bands *b, const struct hdr *h)
{
    double *values = arena_alloc(&p->arena, (b->count + 1) * sizeof *values);
    for (size_t i = 0; i < b->count; i++) {
        uint64_t from = i ? (uint64_t)(b->edges[i] * NS_A_US) : 0;
        uint64_t to = i + 1 < b->count ? (uint64_t)(b->edges[i + 1] * NS_A_US) : UINT64_MAX;
        values[i] = (double)hdr_between(h, from, to);
    }
    return values;
}

void measure_page_histogram(struct measure_page *p, const char *title, const char *remark,
                            const struct hdr *h)
{
    static const struct {
        const char *name;
        double quantile;
    } wanted[] = {{"p50", .5}, {"p95", .95}, {"p99", .99}};
    struct bands b;
    struct plot_mark marks[COUNT(wanted)];
    size_t n = 0;
    if (!h->count)
        return;
    fill_bands(&b, (double)h->min, (double)h->max);
    for (size_t i = 0; i < COUNT(wanted); i++)
        if (h->count >= quantile_needs(wanted[i].quantile))
            marks[n++] = (struct plot_mark){(double)hdr_quantile(h, wanted[i].quantile) / NS_A_US,
                                            wanted[i].name};
    struct plot_series series = {"values", counted(p, &b, h), 1, NULL};
    struct plot plot = {
        .label = title,
        .shape = PLOT_COLUMNS,
        .height = HIGH_PX,
        .x = {.kind = SCALE_DURATION, .low = b.edges[0], .high = b.edges[b.count], .show = num_ms},
        .y = {.step_least = 1, .show = num_count},
        .edges = b.edges,
        .step_count = b.count,
        .series = &series,
        .series_count = 1,
        .marks = marks,
        .mark_count = n};
    measure_page_begin_figure(p, title, remark, false);
    plot_write(p->out, &plot);
    measure_page_end_figure(p);
}

static struct plot_series curve(struct measure_page *p, const struct bands *b,
                                const struct measure_page_curve *c, int color)
{
    double *values = counted(p, b, c->hdr), sum = 0;
    for (size_t i = 0; i < b->count; i++) {
        sum += values[i];
        values[i] = sum / (double)c->hdr->count;
    }
    return (struct plot_series){c->name, values, color, NULL};
}

void measure_page_curves(struct measure_page *p, const char *title, const char *remark,
                         const struct measure_page_curve *curves, size_t count)
{
    struct bands b = {.count = 0};
    struct plot_series series[CURVES_MAX];
    double low = INFINITY, high = 0;
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        low = curves[i].hdr->count ? MIN(low, (double)curves[i].hdr->min) : low;
        high = curves[i].hdr->count ? MAX(high, (double)curves[i].hdr->max) : high;
    }
    if (high <= 0)
        return;
    fill_bands(&b, low, high);
    for (size_t i = 0; i < count && n < CURVES_MAX; i++) {
        if (!curves[i].hdr->count)
            continue;
        series[n] = curve(p, &b, &curves[i], 1 + (int)n);
        n++;
    }
    /* A line goes through the middle of a step, but what is known is of a band's end: steps are half a band later. */
    double half = sqrt(b.edges[1] / b.edges[0]);
    for (size_t i = 0; i <= b.count; i++)
        b.edges[i] *= half;
    struct plot plot = {
        .label = title,
        .shape = PLOT_LINES,
        .height = HIGH_PX,
        .x = {.kind = SCALE_DURATION, .low = b.edges[0], .high = b.edges[b.count], .show = num_ms},
        .y = {.high = 1, .show = num_pct},
        .edges = b.edges,
        .step_count = b.count,
        .series = series,
        .series_count = n};
    measure_page_begin_figure(p, title, remark, false);
    plot_write(p->out, &plot);
    measure_page_end_figure(p);
}

/* ---- one quantity over another ---- */

/* A line's point is the middle of its step. Even and doubled levels have edges with each in the middle; between other ones an edge is half way. */
static void put_edges(double *edges, const double *xs, size_t count)
{
    bool in_the_middle = true;
    edges[0] = count > 1 ? xs[0] - (xs[1] - xs[0]) / 2 : xs[0] - 1;
    for (size_t i = 0; i < count; i++) {
        edges[i + 1] = 2 * xs[i] - edges[i];
        in_the_middle &= edges[i + 1] > xs[i] && (i + 1 == count || edges[i + 1] < xs[i + 1]);
    }
    for (size_t i = 1; i < count && !in_the_middle; i++)
        edges[i] = (xs[i - 1] + xs[i]) / 2;
    if (!in_the_middle)
        edges[count] = xs[count - 1] + (xs[count - 1] - edges[count - 1]);
}

void measure_page_lines(struct measure_page *p, const struct measure_page_chart *c)
{
    if (c->x_count == 0)
        return;
    double *edges = arena_zalloc(&p->arena, (c->x_count + 1) * sizeof *edges);
    put_edges(edges, c->xs, c->x_count);
    struct plot plot = {.label = c->title,
                        .shape = PLOT_LINES,
                        .height = HIGH_PX,
                        .x = {.kind = SCALE_LINEAR,
                              .low = MAX(edges[0], 0.0),
                              .high = edges[c->x_count],
                              .step_least = 1,
                              .show = c->show_x},
                        .y = {.show = c->show_y},
                        .edges = edges,
                        .step_count = c->x_count,
                        .series = c->series,
                        .series_count = c->series_count,
                        .marks = c->marks,
                        .mark_count = c->mark_count};
    measure_page_begin_figure(p, c->title, c->remark, true);
    plot_write(p->out, &plot);
    measure_page_end_figure(p);
}
