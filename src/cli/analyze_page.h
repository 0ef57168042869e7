/* analyze_page.h -- between the two halves of the report's page: analyze_html.c has its frame and tables, analyze_plots.c its plots. */
#pragma once

#include "cli/analyze.h"

#define PAGE_STEPS_MAX 100 /* of a plot over time; more are put together */

/* One step of the plots over time: one or several steps of the timeline. */
struct page_step {
    uint64_t counts[ROLLUP_COUNT];
    struct histogram latency, ttft;
};

struct page {
    const struct analysis *a;
    FILE *out;
    struct arena arena; /* of the plots' numbers */
    int64_t step_us;
    size_t step_count; /* 0: no request had a stamp */
    struct page_step *steps;
    double *edges; /* step_count + 1, µs since 1970 */
};

/* All is of the page's owner and lives until page_fini. */
void page_init(struct page *p, const struct analysis *a, FILE *out);
void page_fini(struct page *p);

/* A figure with a title and, unless it is NULL, a remark; what is drawn follows, then page_end_figure. */
void page_begin_figure(const struct page *p, const char *title, const char *remark, bool is_wide);
void page_end_figure(const struct page *p);

/* The figures of each section: of what there is to draw. */
void page_traffic(struct page *p);
void page_latency(struct page *p);
void page_tokens(struct page *p);
void page_errors(struct page *p);

/* What a group is called: its values, "gpt-4o · azure". Of the page's arena. */
struct str page_group_name(struct page *p, const struct rollup_view *v,
                           const struct rollup_group *g);
/* The tables behind the plots: of steps, and of latencies. */
void page_write_steps(const struct page *p, const struct term *t);
void page_write_bands(struct page *p, const struct term *t);
