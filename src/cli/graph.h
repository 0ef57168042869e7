/* graph.h -- small graphs made of characters: bars and sparklines for a table's cell, and a chart over time.
 *
 * With `utf8` false all is ASCII. NaN and infinities are missing values, drawn as nothing, which is not what 0 looks like.
 * All functions: [any thread]; the timeline writes to the terminal's FILE. */
#pragma once

#include "cli/numbers.h"
#include "cli/term.h"

#define GRAPH_BYTES(columns) (3 * (size_t)(columns) + 1) /* room that a bar or sparkline needs */

/* A horizontal bar, `fraction` of `columns` long, in eighths of a column: "███▌". Nothing for 0 and less, at least a
 * sliver for more than 0, all columns for 1 and more. Not filled up with blanks. */
void graph_bar(bool utf8, int columns, double fraction, char *out, size_t out_bytes);

/* One column a value, from 0 to `high` (0: the greatest of them): "▁▃█ ▂". Values that are not 0 stand out from 0;
 * negative ones are drawn as 0. */
void graph_spark(bool utf8, const double *values, size_t count, double high, char *out,
                 size_t out_bytes);

/* A text below the chart that begins under bucket `at`. */
struct graph_label {
    size_t at;
    const char *text;
};

struct graph_timeline {
    const double *values; /* one a bucket */
    size_t count;
    double low, high;           /* ends of the axis; equal: from 0, or the least, to the greatest */
    int height;                 /* rows */
    struct num (*show)(double); /* writes the ends of the axis */
    const struct graph_label *labels; /* in ascending order */
    size_t label_count;
    enum term_style style; /* of the columns */
};

/* A column chart, a column a bucket. When there are more buckets than the terminal has room for, some neighbours share a
 * column, which shows the greatest of them. Labels that would run into the one before are left off.
 *
 *     12.3/s ┤  ▂█
 *            │  ██▆
 *        0/s ┤▁▄███
 *            └┬───┬─
 *             10:00 */
void graph_timeline(const struct term *t, const struct graph_timeline *g);
