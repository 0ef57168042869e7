/* plot.h -- plots as SVG within an HTML page: lines, stacked columns, heat maps over an axis; and bars with names.
 *
 * There are no scripts: a tooltip is a <title> of the column the pointer is over. Sizes need none either: what is drawn is stretched to
 * the width there is, and texts, placed in per cent of it, are not. Colours, fonts and the room left of the axis are the style
 * sheet's (web/report.css): series n is of class "cn", so one page has them for light, dark and paper.
 *
 * Each plot is role="img" with its label; its numbers belong into a table near it. Names may come from strangers and are escaped.
 * Not-a-number is a gap. All functions: [any thread] that owns the FILE. */
#pragma once

#include "base/str.h"
#include "cli/scale.h"

enum plot_shape {
    PLOT_LINES,   /* through the middle of each step */
    PLOT_COLUMNS, /* stacked, the first series at the bottom */
    PLOT_HEAT,    /* `heat`, darker for more; the series are for tooltips only */
};

struct plot_series {
    const char *name;
    const double *values;       /* one a step */
    int color;                  /* its class: 1 to 7 */
    struct num (*show)(double); /* in tooltips; NULL: as the axis does */
};

/* A line across at a value of x, with its name: a percentile in a histogram. */
struct plot_mark {
    double at;
    const char *name;
};

struct plot {
    const char *label; /* what it shows, in words */
    enum plot_shape shape;
    int height;          /* of what is drawn, in px */
    struct scale x, y;   /* y's ends are found in the series if both are 0; PLOT_HEAT needs them */
    const double *edges; /* of the steps on x: step_count + 1, ascending */
    size_t step_count;
    const struct plot_series *series;
    size_t series_count;
    const struct plot_mark *marks;
    size_t mark_count;
    const double *bands; /* PLOT_HEAT: edges on y, band_count + 1, evenly spaced as seen */
    size_t band_count;
    const uint64_t *heat; /* [step * band_count + band] */
};

/* The legend, when there is more than one series, and the plot. */
void plot_write(FILE *out, const struct plot *p);

struct plot_bar {
    struct str name;
    double value;
};

/* A bar a row, as long as its value is to the greatest. `total` > 0: each value's share of it is written, too. */
void plot_bars(FILE *out, const char *label, const struct plot_bar *bars, size_t count,
               double total, struct num (*show)(double), int color);
