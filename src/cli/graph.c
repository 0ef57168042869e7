/* graph.c -- see graph.h.
 *
 * All three are the same idea: a value becomes a number of eighths, and a column or row shows whole cells and one that is
 * partly filled. Unicode has the partly filled ones as Block Elements (U+2581..U+2588 from below, U+2589..U+258F from
 * the left). What is more than nothing is never rounded to nothing: a single failure among a million has to be seen. */
#include "cli/graph.h"

#include "base/mem.h"

#include <limits.h>
#include <math.h>

enum { EIGHTHS = 8, SPARK_LEVELS = 8, BLOCK_BYTES = 3, LABELS_MAX = 64 };

/* ---- bars and sparklines ---- */

/* The block that is filled by so many eighths, 1 to 8: U+2580 + eighths from below, U+2590 - eighths from the left. */
static void block_from_below(char out[BLOCK_BYTES], int eighths)
{
    memcpy(out, "\xE2\x96", 2);
    out[2] = (char)(0x80 + eighths);
}

static void block_from_left(char out[BLOCK_BYTES], int eighths)
{
    memcpy(out, "\xE2\x96", 2);
    out[2] = (char)(0x90 - eighths);
}

void graph_bar(bool utf8, int columns, double fraction, char *out, size_t out_bytes)
{
    ENSURE(columns >= 0 && out_bytes >= GRAPH_BYTES(columns));
    char *at = out;
    int unit = utf8 ? EIGHTHS : 1; /* parts a cell can show */
    int parts = 0;
    if (fraction > 0) /* not so for NaN */
        parts = MAX(1, (int)lround(MIN(fraction, 1.0) * columns * unit));
    for (parts = MIN(parts, columns * unit); parts > 0; parts -= unit) {
        if (utf8) {
            block_from_left(at, MIN(parts, EIGHTHS));
            at += BLOCK_BYTES;
        } else {
            *at++ = '#';
        }
    }
    *at = '\0';
}

static double greatest(const double *values, size_t count, double at_least)
{
    for (size_t i = 0; i < count; i++)
        if (isfinite(values[i]))
            at_least = MAX(at_least, values[i]);
    return at_least;
}

/* 0 for 0, else 1 to SPARK_LEVELS - 1. */
static int spark_level(double value, double high)
{
    if (value <= 0 || high <= 0)
        return 0;
    return MAX(1, (int)lround(MIN(value / high, 1.0) * (SPARK_LEVELS - 1)));
}

void graph_spark(bool utf8, const double *values, size_t count, double high, char *out,
                 size_t out_bytes)
{
    ENSURE(out_bytes >= GRAPH_BYTES(count));
    char *at = out;
    if (high <= 0)
        high = greatest(values, count, 0);
    for (size_t i = 0; i < count; i++) {
        int level = isfinite(values[i]) ? spark_level(values[i], high) : -1;
        if (level < 0) {
            *at++ = ' ';
        } else if (utf8) {
            block_from_below(at, level + 1);
            at += BLOCK_BYTES;
        } else {
            *at++ = " .:-=+*#"[level];
        }
    }
    *at = '\0';
}

/* ---- timeline ---- */

struct chart {
    const struct term *term;
    const struct graph_timeline *g;
    double low, high;
    struct num top, bottom;
    int label_columns; /* of the axis, left */
    int room;          /* columns right of it */
    size_t fold;       /* buckets a column */
    size_t columns;
    int height;
    int *eighths; /* by column; -1: missing */
    /* By label: the column it begins at, or -1. */
    int places[LABELS_MAX];
    size_t label_count;
};

static void find_ends(struct chart *c)
{
    const struct graph_timeline *g = c->g;
    c->low = g->low;
    c->high = g->high;
    if (!(g->high > g->low)) {
        c->low = c->high = 0;
        for (size_t i = 0; i < g->count; i++)
            if (isfinite(g->values[i]))
                c->low = MIN(c->low, g->values[i]);
        c->high = greatest(g->values, g->count, 0);
    }
    c->top = g->show(c->high);
    c->bottom = g->show(c->low);
    c->label_columns = MAX(term_width(c->term->utf8, str_from(c->top.text)),
                           term_width(c->term->utf8, str_from(c->bottom.text)));
    c->room = c->term->columns > 0 ? MAX(c->term->columns - c->label_columns - 2, 1) : INT_MAX;
}

/* At least one eighth, so that a value at the axis' low end is told from a missing one. */
static int eighths_of(const struct chart *c, double value)
{
    double share = c->high > c->low ? (value - c->low) / (c->high - c->low) : 0;
    share = MAX(0.0, MIN(share, 1.0));
    return MAX(1, (int)lround(share * c->height * EIGHTHS));
}

static void fill(struct chart *c)
{
    const struct graph_timeline *g = c->g;
    c->fold = (g->count - 1) / (size_t)c->room + 1;
    c->columns = (g->count + c->fold - 1) / c->fold;
    c->eighths = mem_alloc(c->columns * sizeof *c->eighths);
    for (size_t i = 0; i < c->columns; i++)
        c->eighths[i] = -1;
    for (size_t i = 0; i < g->count; i++) {
        int *eighths = &c->eighths[i / c->fold];
        if (isfinite(g->values[i]))
            *eighths = MAX(*eighths, eighths_of(c, g->values[i]));
    }
}

/* Puts each label below its bucket, the last ones a little to the left when the terminal ends. */
static void place_labels(struct chart *c)
{
    const struct graph_timeline *g = c->g;
    int free_from = 0;
    c->label_count = MIN(g->label_count, (size_t)LABELS_MAX);
    for (size_t i = 0; i < c->label_count; i++) {
        int width = term_width(c->term->utf8, str_from(g->labels[i].text));
        int at = MIN((int)(g->labels[i].at / c->fold), c->room - width);
        c->places[i] = -1;
        if (g->labels[i].at < g->count && at >= free_from) {
            c->places[i] = at;
            free_from = at + width + 1;
        }
    }
}

/* One cell of the chart, filled by 0 to 8 eighths. */
static void print_cell(const struct chart *c, int eighths)
{
    char block[BLOCK_BYTES];
    if (eighths <= 0) {
        fputc(' ', c->term->out);
    } else if (c->term->utf8) {
        block_from_below(block, MIN(eighths, EIGHTHS));
        fwrite(block, 1, sizeof block, c->term->out);
    } else {
        fputc(eighths < 4 ? '.' : eighths < 7 ? ':' : '#', c->term->out);
    }
}

/* The axis' part of a line: what stands left of it, and its own character. */
static void print_axis(const struct chart *c, const char *label, const char *utf8,
                       const char *ascii)
{
    const struct term *t = c->term;
    term_field(t, STYLE_DIM, str_from(label), c->label_columns, ALIGN_RIGHT);
    fprintf(t->out, " %s%s%s", term_sgr(t, STYLE_DIM), t->utf8 ? utf8 : ascii,
            term_sgr_end(t, STYLE_DIM));
}

static void print_chart_row(const struct chart *c, int row)
{
    const struct term *t = c->term;
    int below = (c->height - 1 - row) * EIGHTHS; /* eighths under this row */
    bool is_bottom = row == c->height - 1, is_top = row == 0 && c->high > c->low;
    size_t end = c->columns;
    while (end > 0 && c->eighths[end - 1] <= below)
        end--;
    if (is_top || is_bottom)
        print_axis(c, is_top ? c->top.text : c->bottom.text, "\xE2\x94\xA4", "+");
    else
        print_axis(c, "", "\xE2\x94\x82", "|");
    fputs(end > 0 ? term_sgr(t, c->g->style) : "", t->out);
    for (size_t i = 0; i < end; i++)
        print_cell(c, c->eighths[i] - below);
    fputs(end > 0 ? term_sgr_end(t, c->g->style) : "", t->out);
    fputc('\n', t->out);
}

static bool has_label_at(const struct chart *c, size_t column)
{
    for (size_t i = 0; i < c->label_count; i++)
        if (c->places[i] >= 0 && c->g->labels[i].at / c->fold == column)
            return true;
    return false;
}

static void print_bottom(const struct chart *c)
{
    const struct term *t = c->term;
    int at = -(c->label_columns + 2); /* columns are counted from the chart's left edge */
    bool any = false;
    print_axis(c, "", "\xE2\x94\x94", "+");
    fputs(term_sgr(t, STYLE_DIM), t->out);
    for (size_t i = 0; i < c->columns; i++) {
        bool tick = has_label_at(c, i);
        fputs(t->utf8 ? (tick ? "\xE2\x94\xAC" : "\xE2\x94\x80") : (tick ? "+" : "-"), t->out);
    }
    fprintf(t->out, "%s\n", term_sgr_end(t, STYLE_DIM));
    for (size_t i = 0; i < c->label_count; i++) {
        if (c->places[i] < 0)
            continue;
        fprintf(t->out, "%*s", c->places[i] - at, "");
        at = c->places[i] + term_put(t, STYLE_DIM, str_from(c->g->labels[i].text), 0);
        any = true;
    }
    if (any)
        fputc('\n', t->out);
}

void graph_timeline(const struct term *t, const struct graph_timeline *g)
{
    struct chart c = {.term = t, .g = g, .height = MAX(g->height, 1)};
    if (g->count == 0)
        return;
    find_ends(&c);
    fill(&c);
    place_labels(&c);
    for (int row = 0; row < c.height; row++)
        print_chart_row(&c, row);
    print_bottom(&c);
    mem_free(c.eighths);
}
