/* measure_page.h -- the report of a measuring command as a page: one file that fetches nothing, runs nothing, and can be sent on.
 *
 *     static void body(struct measure_page *p, void *arg) {
 *         measure_page_begin_tiles(p);
 *         measure_page_tile(p, "Requests", num_count(n), "12 failed", STYLE_BAD);
 *         measure_page_end_tiles(p);
 *         measure_page_begin_section(p, "latency", "Latency");
 *         measure_page_over_time(p, &times);
 *         measure_page_end_section(p);
 *         ...
 *     }
 *     if (!measure_page_write("out.html", "Load test", body, &arg, &e)) ...
 *
 * Style and plots are those of `weir analyze --html` (web/report.css, cli/plot.h). All texts are made safe here; what is written to `out`
 * directly must be (html_put). Tables: write them with TABLE_HTML to `term` between measure_page_begin_table and _end_table.
 * [one thread] */
#pragma once

#include "base/mem.h"
#include "cli/plot.h"
#include "cli/term.h"
#include "measure/results.h"

#define MEASURE_PAGE_STEPS_MAX 120 /* of a plot over time; more seconds are put together */

struct measure_page {
    FILE *out;
    struct term term;   /* for tables: writes to `out` */
    struct arena arena; /* for what the body makes */
};

/* Writes the whole page to `path` ("-": standard output; a file is replaced when the page is whole). `title` is the head line. False with a
 * sentence. */
MUST_USE bool measure_page_write(const char *path, const char *title,
                                 void (*body)(struct measure_page *p, void *arg), void *arg,
                                 struct err *e);

/* Below the title: whom, when, how long. `url` and `what` may be STR_NONE. */
void measure_page_range(struct measure_page *p, int64_t from_real_us, int64_t until_real_us,
                        struct str url, struct str what);
/* A box with a sentence: STYLE_BAD, STYLE_GOOD or STYLE_NONE. */
void measure_page_note(struct measure_page *p, enum term_style style, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

void measure_page_begin_tiles(struct measure_page *p);
void measure_page_tile(struct measure_page *p, const char *name, struct num value,
                       const char *under, enum term_style style);
void measure_page_end_tiles(struct measure_page *p);

/* A heading, and a grid of figures until the end. */
void measure_page_begin_section(struct measure_page *p, const char *id, const char *title);
void measure_page_end_section(struct measure_page *p);
void measure_page_begin_figure(struct measure_page *p, const char *title, const char *remark,
                               bool is_wide);
void measure_page_end_figure(struct measure_page *p);
void measure_page_begin_table(struct measure_page *p, const char *id, bool is_long);
void measure_page_end_table(struct measure_page *p);

/* ---- plots; each a figure of its own, and none where there is nothing to draw ---- */

/* A run by the second, from results' `seconds`. The arrays have results->second_count values each, NaN where there is none, or are NULL. */
struct measure_page_times {
    const struct results *results;
    int64_t origin_real_us;        /* when second 0 began */
    const double *asked_per_s;     /* requests asked for */
    const double *asked_users;     /* ... or users */
    const double *dropped;         /* requests */
    const double *in_flight;       /* NULL: that of the results */
    const struct plot_mark *marks; /* stages: where they begin, in real us */
    size_t mark_count;
};
/* Requests a second (asked, sent, done), failures, in flight, token events; percentiles of latency and TTFT. */
void measure_page_traffic(struct measure_page *p, const struct measure_page_times *t);
void measure_page_latencies(struct measure_page *p, const struct measure_page_times *t);

/* How values are spread, in bands of equal ratio, with marks of p50, p95, p99. `h` in ns. */
void measure_page_histogram(struct measure_page *p, const char *title, const char *remark,
                            const struct hdr *h);
/* Percentiles of several at once (corrected and uncorrected; models): the share that is done within a time. */
struct measure_page_curve {
    const char *name;
    const struct hdr *hdr; /* ns */
};
void measure_page_curves(struct measure_page *p, const char *title, const char *remark,
                         const struct measure_page_curve *curves, size_t count);
/* y over x, a line a series through its points: throughput by concurrency (weir profile throughput --sweep). Each series has a value for each x,
 * NaN: none. A mark says where the knee is. */
struct measure_page_chart {
    const char *title, *remark;
    const double *xs; /* ascending */
    size_t x_count;
    const struct plot_series *series;
    size_t series_count;
    struct num (*show_x)(double);
    struct num (*show_y)(double);
    const struct plot_mark *marks;
    size_t mark_count;
};
void measure_page_lines(struct measure_page *p, const struct measure_page_chart *c);
