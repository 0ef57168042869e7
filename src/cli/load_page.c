/* load_page.c -- a load test as a page: figures that matter, plots over time, tables, definitions. */
#include <math.h>

#include "cli/load.h"
#include "cli/measure_page.h"

#define MARKS_MAX  12
#define NAME_BYTES 40

/* ---- what the head says ---- */

static void write_notes(struct measure_page *p, const struct load_result *r)
{
    for (size_t i = 0; i < r->limits.count; i++) {
        const struct limit_asked *l = &r->limits.all[i];
        if (l->verdict != LIMIT_HELD)
            measure_page_note(p, STYLE_BAD, "Threshold failed: %s: %s", l->text, l->why);
    }
    if (r->limits.count && r->limits_held)
        measure_page_note(p, STYLE_GOOD, "All %zu thresholds held.", r->limits.count);
    if (r->aborted_by)
        measure_page_note(p, STYLE_NONE, "Ended early by the threshold %s.", r->aborted_by->text);
    if (r->validity.client_limited)
        measure_page_note(p, STYLE_BAD, "%s", r->validity.summary);
    if (r->cut_short)
        measure_page_note(p, STYLE_NONE,
                          "Stopped by Ctrl-C: this is of what was measured until then.");
    for (size_t i = 0; i < r->remark_count; i++)
        measure_page_note(p, STYLE_NONE, "%.*s", STR_ARG(r->remarks[i]));
}

/* ---- tiles ---- */

static struct num quantile_of(const struct spread *s, enum measured m, double quantile)
{
    return measured_show(m, spread_quantile(s, quantile).value);
}

static void tile_of_times(struct measure_page *p, const struct results_group *g, enum measured m,
                          const char *name)
{
    char under[160];
    const struct spread *s = &g->spreads[m];
    snprintf(under, sizeof under, "p95 %s \xC2\xB7 p99 %s", quantile_of(s, m, .95).text,
             quantile_of(s, m, .99).text);
    measure_page_tile(p, name, quantile_of(s, m, .5), under, STYLE_NONE);
}

static void write_tiles(struct measure_page *p, const struct load_result *r)
{
    const struct results_group *g = &r->results->total;
    const struct engine_account *a = &r->account;
    double seconds = load_seconds(r), failed = (double)results_failures(g);
    char under[160];
    measure_page_begin_tiles(p);
    snprintf(under, sizeof under, "%s well, %s a second",
             num_count((double)g->outcomes[OUTCOME_OK]).text,
             num_count(round((double)g->outcomes[OUTCOME_OK] / seconds * 10) / 10).text);
    measure_page_tile(p, "Requests", num_count((double)g->requests), under, STYLE_NONE);
    snprintf(under, sizeof under, "%s of %s that were due", num_count(failed).text,
             num_count((double)results_attempts(g)).text);
    measure_page_tile(p, "Failed", num_pct(failed / (double)results_attempts(g)), under,
                      failed > 0 ? STYLE_BAD : STYLE_NONE);
    snprintf(under, sizeof under, r->open_loop ? "of %s asked, mean" : "users decide",
             num_rate((double)a->offered / seconds).text);
    measure_page_tile(p, "Sent", num_rate((double)a->sent / seconds), under, STYLE_NONE);
    measure_page_tile(p, "Never sent", num_count((double)a->dropped), "due, and not sent",
                      a->dropped ? STYLE_BAD : STYLE_NONE);
    tile_of_times(p, g, MEASURED_TOTAL, "Latency p50");
    tile_of_times(p, g, MEASURED_RESPONSE, "Latency p50, from due");
    if (spread_count(&g->spreads[MEASURED_TTFT]))
        tile_of_times(p, g, MEASURED_TTFT, "First token p50");
    snprintf(under, sizeof under, "at most %s", num_count((double)a->in_flight_max).text);
    measure_page_tile(p, "In flight, mean", num_count(a->in_flight_mean), under, STYLE_NONE);
    measure_page_end_tiles(p);
}

/* ---- plots ---- */

/* Where stages begin, as long as it is known. */
static size_t mark_stages(struct measure_page *p, const struct load_result *r,
                          struct plot_mark *marks)
{
    double at = (double)r->origin_real_us;
    size_t n = 0;
    for (uint32_t i = 0; r->plan && i < r->results->stage_count && n < MARKS_MAX; i++) {
        char *name = arena_alloc(&p->arena, TERM_SAFE_BYTES(NAME_BYTES));
        term_safe(true, r->stages[i], 24, name, TERM_SAFE_BYTES(NAME_BYTES));
        if (i)
            marks[n++] = (struct plot_mark){at, name};
        if (!r->plan[i].duration_ns)
            break;
        at += (double)r->plan[i].duration_ns / 1e3;
    }
    return n;
}

/* Of stages or models, where there are several: how long they took, from due in open loop. */
static void write_curves(struct measure_page *p, const struct load_result *r, const char *title,
                         const struct str *names, const struct results_group *groups,
                         uint32_t count)
{
    struct measure_page_curve curves[7];
    enum measured m = r->open_loop ? MEASURED_RESPONSE : MEASURED_TOTAL;
    size_t n = 0;
    for (uint32_t i = 0; i < count && n < COUNT(curves); i++) {
        char *name = arena_alloc(&p->arena, TERM_SAFE_BYTES(names[i].n));
        term_safe(true, names[i], 36, name, TERM_SAFE_BYTES(names[i].n));
        if (groups[i].spreads[m].hdr.count)
            curves[n++] = (struct measure_page_curve){name, &groups[i].spreads[m].hdr};
    }
    if (n > 1)
        measure_page_curves(p, title, r->open_loop ? "total, from due" : "total", curves, n);
}

static void write_plots(struct measure_page *p, const struct load_result *r)
{
    const struct results_group *g = &r->results->total;
    struct plot_mark marks[MARKS_MAX];
    struct measure_page_times times = {.results = r->results,
                                       .origin_real_us = r->origin_real_us,
                                       .asked_per_s = r->asked_per_s,
                                       .asked_users = r->asked_users,
                                       .dropped = r->dropped,
                                       .marks = marks,
                                       .mark_count = mark_stages(p, r, marks)};
    measure_page_begin_section(p, "traffic", "Load");
    measure_page_traffic(p, &times);
    measure_page_end_section(p);
    times.mark_count = 0; /* half as wide: no room for names */
    measure_page_begin_section(p, "latency", "Times");
    measure_page_latencies(p, &times);
    measure_page_histogram(p, "Total", "from sending: as other tools have it",
                           &g->spreads[MEASURED_TOTAL].hdr);
    measure_page_histogram(p, "Total, from due", "with the wait for its turn",
                           &g->spreads[MEASURED_RESPONSE].hdr);
    measure_page_histogram(p, "Time to first token", "from sending",
                           &g->spreads[MEASURED_TTFT].hdr);
    const struct measure_page_curve curves[] = {
        {"total", &g->spreads[MEASURED_TOTAL].hdr},
        {"total, from due", &g->spreads[MEASURED_RESPONSE].hdr},
        {"first token", &g->spreads[MEASURED_TTFT].hdr},
        {"first token, from due", &g->spreads[MEASURED_TTFT_CORRECTED].hdr}};
    measure_page_curves(p, "Done within", "share of requests that were answered well", curves,
                        COUNT(curves));
    write_curves(p, r, "Done within, by stage", r->stages, r->results->by_stage,
                 r->results->stage_count);
    write_curves(p, r, "Done within, by model", r->models, r->results->by_model,
                 r->results->model_count);
    measure_page_end_section(p);
}

/* ---- the whole ---- */

static void write_body(struct measure_page *p, void *arg)
{
    const struct load_result *r = arg;
    double seconds = load_seconds(r);
    int64_t took_us = isnan(seconds) ? 0 : (int64_t)(seconds * 1e6);
    measure_page_range(p, r->account.started_real_us, r->account.started_real_us + took_us, r->url,
                       r->replay_file.n ? STR("a replay")
                       : r->open_loop   ? STR("open loop")
                                        : STR("closed loop"));
    write_notes(p, r);
    write_tiles(p, r);
    write_plots(p, r);
    measure_page_begin_section(p, "tables", "Tables");
    measure_page_begin_table(p, "report", false);
    load_write_report(r, TABLE_HTML, &p->term);
    measure_page_end_table(p);
    measure_page_end_section(p);
}

bool load_write_page(const struct load_result *r, const char *path, struct err *e)
{
    char title[256];
    snprintf(title, sizeof title, "Load test%s%.*s", r->name.n ? ": " : "",
             (int)MIN(r->name.n, (size_t)200), r->name.p ? r->name.p : "");
    return measure_page_write(path, title, write_body, (void *)r, e);
}
