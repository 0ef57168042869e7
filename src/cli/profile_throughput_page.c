/* profile_throughput_page.c -- --html: the report as a page (profile_throughput.h, cli/measure_page.h). */
#include <math.h>

#include "base/buf.h"
#include "cli/measure_page.h"
#include "cli/profile_throughput.h"
#include "cli/sentences.h"

static struct num show_ms(double ms)
{
    return num_ms(ms * 1000);
}

/* ---- pieces ---- */

/* What was found, in one box; and whether it may be believed, in another. */
static void write_notes(struct measure_page *m, struct throughput_profile *p)
{
    struct sentences s;
    struct buf text;
    bool limited = throughput_client_limited(p);
    sentences_init(&s, "");
    buf_init(&text, 0, NULL);
    throughput_say(p, &s);
    for (size_t i = 0; i < s.table.row_count; i++) {
        struct str sentence = table_at(&s.table, i, 0)->text;
        ENSURE(buf_printf(&text, "%s%.*s", i ? " " : "", STR_ARG(sentence)));
    }
    if (p->report.cut_short)
        measure_page_note(m, STYLE_BAD, "Stopped by Ctrl-C: this is what there was until then.");
    if (text.len)
        measure_page_note(m, STYLE_NONE, "%.*s", (int)text.len, text.data);
    measure_page_note(m, limited ? STYLE_BAD : STYLE_GOOD, "%s", p->report.validity->summary);
    buf_fini(&text);
    table_fini(&s.table);
}

/* ---- tables, a card each ---- */

static void write_tables(struct measure_page *m, struct throughput_profile *p)
{
    const struct measure_report *r = &p->report;
    const struct results_group *g = &r->results->total;
    measure_page_begin_section(m, "tables", "Tables");
    measure_page_end_section(m);
    measure_page_begin_table(m, "levels-table", false);
    throughput_levels(p, TABLE_HTML, &m->term);
    measure_page_end_table(m);
    measure_page_begin_table(m, "times-table", false);
    measure_write_times(p->sweep ? "Times at the level told of above" : "Times", g, NULL, 0,
                        TABLE_HTML, &m->term);
    measure_page_end_table(m);
    measure_page_begin_table(m, "rates-table", false);
    measure_write_rates("Rates", r, g, TABLE_HTML, &m->term);
    measure_page_end_table(m);
    if (r->results->failure_count) {
        measure_page_begin_table(m, "failures-table", false);
        measure_write_failures(r, TABLE_HTML, &m->term);
        measure_page_end_table(m);
    }
    measure_page_begin_table(m, "instrument-table", false);
    measure_write_validity(r, false, TABLE_HTML, &m->term);
    measure_page_end_table(m);
    measure_page_begin_table(m, "definitions-table", false);
    measure_write_definitions(r, g, NULL, 0, TABLE_HTML, &m->term);
    measure_page_end_table(m);
}

static void write_tiles(struct measure_page *m, const struct throughput_profile *p, size_t at)
{
    const struct level *l = &p->levels[at];
    const struct results_group *g = &l->run.results->total;
    char under[120];
    measure_page_begin_tiles(m);
    snprintf(under, sizeof under, "at %s%s", p->open_loop ? num_rate(l->load).text : "",
             p->open_loop ? " asked" : num_count(l->load).text);
    if (!p->open_loop)
        snprintf(under, sizeof under, "at %s user%s%s", num_count(l->load).text,
                 l->load > 1 ? "s" : "",
                 p->sweep && p->knee.kind != KNEE_NOT_REACHED ? ", the knee" : "");
    measure_page_tile(m, "Requests a second", num_count(l->steady.requests_per_s), under,
                      STYLE_NONE);
    measure_page_tile(m, "Tokens a second", num_count(l->steady.tokens_per_s),
                      "of all requests together", STYLE_NONE);
    struct estimate p50 = spread_quantile(&g->spreads[MEASURED_RESPONSE], .5),
                    p95 = spread_quantile(&g->spreads[MEASURED_RESPONSE], .95);
    snprintf(under, sizeof under, "p95 %s",
             p95.refused ? "n/a" : measured_show(MEASURED_RESPONSE, p95.value).text);
    measure_page_tile(m, "Latency p50, from due", measured_show(MEASURED_RESPONSE, p50.value),
                      under, STYLE_NONE);
    snprintf(under, sizeof under, "%s of %s", num_count((double)results_failures(g)).text,
             num_count((double)results_attempts(g)).text);
    measure_page_tile(m, "Failed",
                      num_pct((double)results_failures(g) / (double)results_attempts(g)), under,
                      results_failures(g) ? STYLE_BAD : STYLE_NONE);
    measure_page_end_tiles(m);
}

/* A value of each level, of the page's arena. */
static double *values_of(struct measure_page *m, const struct throughput_profile *p,
                         double (*value)(const struct level *))
{
    double *out = arena_alloc(&m->arena, p->level_count * sizeof *out);
    for (size_t i = 0; i < p->level_count; i++)
        out[i] = value(&p->levels[i]);
    return out;
}

static double quantile_ms(const struct level *l, enum measured metric, double q)
{
    struct estimate e = spread_quantile(&l->run.results->total.spreads[metric], q);
    return e.refused ? NAN : e.value / 1e6;
}

static double load_of(const struct level *l)
{
    return l->load;
}
static double requests_of(const struct level *l)
{
    return l->steady.requests_per_s;
}
static double good_of(const struct level *l)
{
    return l->steady.requests_per_s * l->good_share;
}
static double tokens_of(const struct level *l)
{
    return l->steady.tokens_per_s;
}
static double p50_of(const struct level *l)
{
    return quantile_ms(l, MEASURED_RESPONSE, .5);
}
static double p95_of(const struct level *l)
{
    return quantile_ms(l, MEASURED_RESPONSE, .95);
}
static double ttft50_of(const struct level *l)
{
    return quantile_ms(l, MEASURED_TTFT_CORRECTED, .5);
}
static double ttft95_of(const struct level *l)
{
    return quantile_ms(l, MEASURED_TTFT_CORRECTED, .95);
}

static const struct sweep_plot {
    const char *title, *remark;
    struct num (*show)(double);
    struct {
        const char *name;
        double (*value)(const struct level *);
    } series[2];
    bool of_streams;
} plots[] = {
    {"Requests a second",
     "by users; the knee is where more users stop to pay",
     num_rate,
     {{"answered well", requests_of}, {"good", good_of}},
     false},
    {"Latency",
     "by users, from when a request was due",
     show_ms,
     {{"p50", p50_of}, {"p95", p95_of}},
     false},
    {"Time to the first token",
     "by users, from when a request was due",
     show_ms,
     {{"p50", ttft50_of}, {"p95", ttft95_of}},
     true},
    {"Tokens a second",
     "of all requests together, by users",
     num_rate,
     {{"tokens", tokens_of}},
     true},
};

static bool has_any(const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (isfinite(values[i]))
            return true;
    return false;
}

static void write_plot(struct measure_page *m, const struct throughput_profile *p,
                       const struct sweep_plot *plot)
{
    struct plot_series *series = arena_alloc(&m->arena, COUNT(plot->series) * sizeof *series);
    bool has_knee = p->knee.kind == KNEE_FOUND || p->knee.kind == KNEE_AT_ONCE;
    struct plot_mark mark = {p->levels[p->knee.at].load, "knee"};
    size_t n = 0;
    for (size_t i = 0; i < COUNT(plot->series) && plot->series[i].value; i++) {
        const double *values = values_of(m, p, plot->series[i].value);
        if (has_any(values, p->level_count))
            series[n++] = (struct plot_series){
                .name = plot->series[i].name, .values = values, .color = (int)i + 1};
    }
    struct measure_page_chart chart = {.title = plot->title,
                                       .remark = plot->remark,
                                       .xs = values_of(m, p, load_of),
                                       .x_count = p->level_count,
                                       .series = series,
                                       .series_count = n,
                                       .show_x = num_count,
                                       .show_y = plot->show,
                                       .marks = &mark,
                                       .mark_count = has_knee};
    if (n)
        measure_page_lines(m, &chart);
}

static void write_sweep(struct measure_page *m, struct throughput_profile *p)
{
    measure_page_begin_section(m, "levels", "By load");
    for (size_t i = 0; i < COUNT(plots); i++)
        if (p->stream || !plots[i].of_streams)
            write_plot(m, p, &plots[i]);
    measure_page_end_section(m);
}

static void write_over_time(struct measure_page *m, const struct throughput_profile *p)
{
    const struct results *x = p->report.results;
    const struct engine_account *a = p->report.account;
    int64_t ahead_us = ((int64_t)a->started_ns - (int64_t)x->origin_ns) / 1000;
    struct measure_page_times t = {.results = x, .origin_real_us = a->started_real_us - ahead_us};
    measure_page_begin_section(m, "time", "Over time");
    measure_page_traffic(m, &t);
    measure_page_latencies(m, &t);
    measure_page_end_section(m);
}

static void write_spread(struct measure_page *m, const struct throughput_profile *p)
{
    const struct results_group *g = &p->report.results->total;
    struct measure_page_curve curves[] = {{"from due", &g->spreads[MEASURED_RESPONSE].hdr},
                                          {"from first byte", &g->spreads[MEASURED_TOTAL].hdr}};
    measure_page_begin_section(m, "spread", p->sweep ? "Times at the knee" : "Times");
    measure_page_histogram(m, "Latency", "from when a request was due",
                           &g->spreads[MEASURED_RESPONSE].hdr);
    if (p->stream)
        measure_page_histogram(m, "Time to the first token", "from when a request was due",
                               &g->spreads[MEASURED_TTFT_CORRECTED].hdr);
    measure_page_curves(m, "Corrected and uncorrected",
                        "the share that is done within a time, counted from when a request was "
                        "due and from when it was sent",
                        curves, COUNT(curves));
    measure_page_end_section(m);
}

static void write_body(struct measure_page *m, void *arg)
{
    struct throughput_profile *p = arg;
    const struct engine_account *a = p->report.account;
    size_t at = throughput_main_level(p);
    const struct engine_account *first = &p->levels[0].run.account;
    int64_t began_us = first->started_real_us;
    int64_t ended_us = a->started_real_us + (int64_t)(a->ended_ns - a->started_ns) / 1000;
    for (size_t i = 0; i < p->level_count; i++) {
        const struct engine_account *b = &p->levels[i].run.account;
        began_us = MIN(began_us, b->started_real_us);
        ended_us =
            MAX(ended_us, b->started_real_us + (int64_t)(b->ended_ns - b->started_ns) / 1000);
    }
    measure_page_range(m, began_us, ended_us, p->report.url, p->model);
    write_notes(m, p);
    write_tiles(m, p, at);
    if (p->sweep)
        write_sweep(m, p);
    else
        write_over_time(m, p);
    write_spread(m, p);
    write_tables(m, p);
}

bool throughput_page(struct throughput_profile *p, const char *path, struct err *e)
{
    size_t at = throughput_main_level(p);
    throughput_choose(p, at);
    return measure_page_write(path, "Throughput profile", write_body, p, e);
}
