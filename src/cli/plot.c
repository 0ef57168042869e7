/* plot.c -- see plot.h.
 *
 * The outer <svg> has no viewBox: a px in it is a px, and x is in per cent of its width. Into it is put an inner one, of
 * WIDE x height units, stretched to the whole; its strokes do not stretch with it (vector-effect in the style sheet). So a plot fits
 * a phone and a poster, and its texts are as large as the page's. What is left of the axis is in the padding of the outer one. */
#include "cli/plot.h"

#include <math.h>

#include "base/mem.h"
#include "cli/html.h"
#include "cli/term.h"

enum {
    WIDE = 1000,        /* units of the inner picture */
    X_TICKS = 8,        /* about */
    Y_TICK_PX = 36,     /* from one tick to the next, about; */
    Y_LOG_TICK_PX = 28, /* less where they stand at 1, 2, 5 */
    BELOW_PX = 24,      /* room of the labels under the axis */
    HEAT_LEVELS = 8,    /* classes h1 to h8 */
    BAR_PX = 40,        /* a bar and its name */
    BAR_NAME_COLUMNS = 40,
    BAR_SHARE_PX = 62,
};
#define COLUMN_SHARE 0.86 /* of a step is the column, the rest the gap to the next */

struct drawing {
    const struct plot *p;
    FILE *out;
    struct scale x, y; /* with their final ends */
};

/* ---- numbers into paths ---- */

/* With one decimal at most, none where it is 0: most of a page is this. */
static void put_number(FILE *out, double v)
{
    double tenths = round(v * 10);
    if (fmod(tenths, 10) == 0)
        fprintf(out, "%.0f", tenths / 10 + 0.0);
    else
        fprintf(out, "%.1f", tenths / 10);
}

static void put_point(FILE *out, char command, double x, double y)
{
    fputc(command, out);
    put_number(out, x);
    fputc(' ', out);
    put_number(out, y);
}

static double across(const struct drawing *d, double v)
{
    return scale_place(&d->x, v) * WIDE;
}

static double down(const struct drawing *d, double v)
{
    return (1 - scale_place(&d->y, v)) * d->p->height;
}

/* The middle of a step, as it is seen. */
static double middle(const struct drawing *d, size_t step)
{
    return (across(d, d->p->edges[step]) + across(d, d->p->edges[step + 1])) / 2;
}

/* ---- ends of y ---- */

static double sum_of(const struct plot *p, size_t step)
{
    double sum = 0;
    for (size_t i = 0; i < p->series_count; i++)
        sum += isfinite(p->series[i].values[step]) ? MAX(p->series[i].values[step], 0.0) : 0;
    return sum;
}

static void find_ends(const struct plot *p, struct scale *y)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t step = 0; step < p->step_count; step++) {
        if (p->shape == PLOT_COLUMNS)
            high = MAX(high, sum_of(p, step));
        for (size_t i = 0; p->shape == PLOT_LINES && i < p->series_count; i++) {
            double v = p->series[i].values[step];
            bool counts = isfinite(v) && (y->kind != SCALE_DURATION || v > 0);
            low = counts ? MIN(low, v) : low;
            high = counts ? MAX(high, v) : high;
        }
    }
    y->low = p->shape == PLOT_COLUMNS ? 0 : low;
    y->high = high;
}

/* ---- axes ---- */

static int y_ticks(const struct plot *p)
{
    return MAX(2, p->height / (p->y.kind == SCALE_DURATION ? Y_LOG_TICK_PX : Y_TICK_PX));
}

static void write_y_axis(const struct drawing *d)
{
    double ticks[SCALE_TICKS_MAX];
    char label[SCALE_LABEL_BYTES];
    size_t n = scale_ticks(&d->y, y_ticks(d->p), ticks);
    for (size_t i = 0; i < n; i++) {
        double y = down(d, ticks[i]);
        scale_label(&d->y, ticks[i], label);
        fputs("<line class=\"grid\" x2=\"100%\" y1=\"", d->out);
        put_number(d->out, y);
        fputs("\" y2=\"", d->out);
        put_number(d->out, y);
        fputs("\"/><text class=\"y\" x=\"-8\" y=\"", d->out);
        put_number(d->out, y + 4);
        fprintf(d->out, "\">%s</text>\n", label);
    }
}

/* Every second label is left off where the page is narrow (class "second"). */
static void write_x_axis(const struct drawing *d)
{
    double ticks[SCALE_TICKS_MAX];
    char label[SCALE_LABEL_BYTES];
    size_t n = scale_ticks(&d->x, X_TICKS, ticks);
    int height = d->p->height;
    for (size_t i = 0; i < n; i++) {
        double percent = scale_place(&d->x, ticks[i]) * 100;
        const char *second = n > 4 && i % 2 ? " second" : "";
        scale_label(&d->x, ticks[i], label);
        fprintf(d->out,
                "<line class=\"tick\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%d\" y2=\"%d\"/>"
                "<text class=\"x%s\" x=\"%.2f%%\" y=\"%d\">%s</text>\n",
                percent, percent, height, height + 5, second, percent, height + 18, label);
    }
    fprintf(d->out, "<line class=\"axis\" x2=\"100%%\" y1=\"%d\" y2=\"%d\"/>\n", height, height);
}

/* ---- shapes ---- */

static bool has_value(const struct drawing *d, const struct plot_series *s, size_t step)
{
    return step < d->p->step_count && isfinite(s->values[step]);
}

/* Through all points that have a neighbour. */
static void write_line(const struct drawing *d, const struct plot_series *s)
{
    fprintf(d->out, "<path class=\"line c%d\" d=\"M0 0", s->color);
    for (size_t i = 0; i < d->p->step_count; i++) {
        bool after = i > 0 && has_value(d, s, i - 1), before = has_value(d, s, i + 1);
        if (has_value(d, s, i) && (after || before))
            put_point(d->out, after ? 'L' : 'M', middle(d, i), down(d, s->values[i]));
    }
    fputs("\"/>\n", d->out);
}

/* A point without neighbours is a dot: a line of no length with round ends. */
static void write_dots(const struct drawing *d, const struct plot_series *s)
{
    fprintf(d->out, "<path class=\"line dot c%d\" d=\"M0 0", s->color);
    for (size_t i = 0; i < d->p->step_count; i++) {
        if (!has_value(d, s, i) || has_value(d, s, i + 1) || (i > 0 && has_value(d, s, i - 1)))
            continue;
        put_point(d->out, 'M', middle(d, i), down(d, s->values[i]));
        fputs("h0", d->out);
    }
    fputs("\"/>\n", d->out);
}

static void write_lines(const struct drawing *d)
{
    for (size_t i = d->p->series_count; i > 0; i--) { /* the first one on top */
        write_line(d, &d->p->series[i - 1]);
        write_dots(d, &d->p->series[i - 1]);
    }
}

/* What is more than nothing is at least 1 px high: a single failure among thousands has to be seen. */
static void write_columns(const struct drawing *d)
{
    const struct plot *p = d->p;
    double *tops = mem_alloc(MAX(p->step_count, (size_t)1) * sizeof *tops);
    for (size_t i = 0; i < p->step_count; i++)
        tops[i] = p->height;
    for (size_t s = 0; s < p->series_count; s++) {
        fprintf(d->out, "<path class=\"fill c%d\" d=\"M0 0", p->series[s].color);
        for (size_t i = 0; i < p->step_count; i++) {
            double v = p->series[s].values[i];
            if (!isfinite(v) || v <= 0)
                continue;
            double width = across(d, p->edges[i + 1]) - across(d, p->edges[i]);
            double height = MAX(p->height - down(d, v), 1.0);
            double x = across(d, p->edges[i]) + width * (1 - COLUMN_SHARE) / 2;
            put_point(d->out, 'M', x, MAX(tops[i] - height, 0.0));
            fputc('h', d->out);
            put_number(d->out, width * COLUMN_SHARE);
            fputc('V', d->out);
            put_number(d->out, tops[i]);
            fputc('H', d->out);
            put_number(d->out, x);
            fputc('z', d->out);
            tops[i] = MAX(tops[i] - height, 0.0);
        }
        fputs("\"/>\n", d->out);
    }
    mem_free(tops);
}

/* By the root: there would be one dark cell in a pale picture otherwise. 0 for 0, else 1 to HEAT_LEVELS. */
static int heat_level(uint64_t value, uint64_t greatest)
{
    return value ? MAX(1, (int)ceil(sqrt((double)value / (double)greatest) * HEAT_LEVELS)) : 0;
}

static uint64_t greatest_heat(const struct plot *p)
{
    uint64_t greatest = 0;
    for (size_t i = 0; i < p->step_count * p->band_count; i++)
        greatest = MAX(greatest, p->heat[i]);
    return greatest;
}

/* The cells of one level in one band: a line a run of neighbours, as thick as the band is high. */
static void write_heat_runs(const struct drawing *d, size_t band, int level, uint64_t greatest)
{
    const struct plot *p = d->p;
    double y = (down(d, p->bands[band]) + down(d, p->bands[band + 1])) / 2;
    for (size_t step = 0, end; step < p->step_count; step = end + 1) {
        for (end = step; end < p->step_count &&
                         heat_level(p->heat[end * p->band_count + band], greatest) == level;)
            end++;
        if (end == step)
            continue;
        double x = across(d, p->edges[step]);
        put_point(d->out, 'M', x, y);
        fputc('h', d->out);
        put_number(d->out, across(d, p->edges[end]) - x);
    }
}

/* A path a level. All bands are of the same height as they are seen. */
static void write_heat(const struct drawing *d)
{
    const struct plot *p = d->p;
    uint64_t greatest = greatest_heat(p);
    double height = p->band_count ? down(d, p->bands[0]) - down(d, p->bands[1]) : 0;
    for (int level = 1; level <= HEAT_LEVELS; level++) {
        fprintf(d->out, "<path class=\"heat h%d\" stroke-width=\"%.2f\" d=\"M0 0", level, height);
        for (size_t band = 0; band < p->band_count; band++)
            write_heat_runs(d, band, level, greatest);
        fputs("\"/>\n", d->out);
    }
}

static void write_shape(const struct drawing *d)
{
    static void (*const writers[])(const struct drawing *) = {
        [PLOT_LINES] = write_lines, [PLOT_COLUMNS] = write_columns, [PLOT_HEAT] = write_heat};
    fprintf(d->out,
            "<svg width=\"100%%\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "preserveAspectRatio=\"none\">\n",
            d->p->height, WIDE, d->p->height);
    writers[d->p->shape](d);
    fputs("</svg>\n", d->out);
}

static void write_marks(const struct drawing *d)
{
    for (size_t i = 0; i < d->p->mark_count; i++) {
        const struct plot_mark *m = &d->p->marks[i];
        double percent = scale_place(&d->x, m->at) * 100;
        if (isnan(percent))
            continue;
        fprintf(d->out,
                "<line class=\"mark\" x1=\"%.2f%%\" x2=\"%.2f%%\" y2=\"%d\"/>"
                "<text class=\"mark\" x=\"%.2f%%\" y=\"%zu\">",
                percent, percent, d->p->height, percent, 10 + i * 14);
        html_put(d->out, str_from(m->name));
        fputs("</text>\n", d->out);
    }
}

/* ---- tooltips ---- */

static bool has_values(const struct plot *p, size_t step)
{
    for (size_t i = 0; i < p->series_count; i++)
        if (isfinite(p->series[i].values[step]))
            return true;
    return false;
}

/* A column over each step, seen only under the pointer, that says what is there. */
static void write_tips(const struct drawing *d)
{
    const struct plot *p = d->p;
    char span[SCALE_LABEL_BYTES];
    fputs("<g class=\"tips\">\n", d->out);
    for (size_t step = 0; step < p->step_count; step++) {
        double x = scale_place(&d->x, p->edges[step]) * 100;
        double width = scale_place(&d->x, p->edges[step + 1]) * 100 - x;
        if (!has_values(p, step) || !(width > 0))
            continue;
        scale_span(&d->x, p->edges[step], p->edges[step + 1], span);
        fprintf(d->out, "<rect x=\"%.2f%%\" width=\"%.2f%%\" height=\"%d\"><title>%s", x, width,
                p->height, span);
        for (size_t i = 0; i < p->series_count; i++) {
            const struct plot_series *s = &p->series[i];
            if (!isfinite(s->values[step]))
                continue;
            fputc('\n', d->out);
            html_put(d->out, str_from(s->name));
            fprintf(d->out, ": %s", (s->show ? s->show : d->y.show)(s->values[step]).text);
        }
        fputs("</title></rect>\n", d->out);
    }
    fputs("</g>\n", d->out);
}

/* ---- the whole ---- */

static void write_legend(FILE *out, const struct plot *p)
{
    if (p->shape == PLOT_HEAT) {
        fputs("<p class=\"legend levels\">fewer ", out);
        for (int level = 1; level <= HEAT_LEVELS; level++)
            fprintf(out, "<i class=\"heat h%d\"></i>", level);
        fprintf(out, " more: up to %s</p>\n", num_count((double)greatest_heat(p)).text);
        return;
    }
    if (p->series_count < 2)
        return;
    fputs("<p class=\"legend\">", out);
    for (size_t i = 0; i < p->series_count; i++) {
        fprintf(out, "<span><i class=\"c%d\"></i>", p->series[i].color);
        html_put(out, str_from(p->series[i].name));
        fputs("</span>\n", out);
    }
    fputs("</p>\n", out);
}

void plot_write(FILE *out, const struct plot *p)
{
    struct drawing d = {.p = p, .out = out, .x = p->x, .y = p->y};
    if (p->shape != PLOT_HEAT && p->y.low == 0 && p->y.high == 0)
        find_ends(p, &d.y);
    scale_round(&d.y, y_ticks(p));
    scale_round(&d.x, X_TICKS);
    write_legend(out, p);
    fprintf(out, "<svg class=\"plot\" role=\"img\" width=\"100%%\" height=\"%d\" aria-label=\"",
            p->height + BELOW_PX);
    html_put(out, str_from(p->label));
    fputs("\">\n", out);
    write_y_axis(&d);
    write_shape(&d);
    write_x_axis(&d);
    write_marks(&d);
    write_tips(&d);
    fputs("</svg>\n", out);
}

/* ---- bars ---- */

static void write_bar(FILE *out, const struct plot_bar *bar, size_t row, double greatest,
                      double total, struct num (*show)(double))
{
    char name[TERM_SAFE_BYTES(BAR_NAME_COLUMNS * 4)];
    int y = (int)row * BAR_PX;
    double value = isfinite(bar->value) ? MAX(bar->value, 0.0) : 0;
    double percent = greatest > 0 ? value / greatest * 100 : 0;
    term_safe(true, bar->name, BAR_NAME_COLUMNS, name, sizeof name);
    fputs("<g><title>", out);
    html_put(out, bar->name);
    fprintf(out, ": %s</title><text y=\"%d\">", show(bar->value).text, y + 13);
    html_put(out, str_from(name));
    fprintf(out, "</text><text class=\"value\" x=\"100%%\" dx=\"%d\" y=\"%d\">%s",
            total > 0 ? -BAR_SHARE_PX : 0, y + 13, show(bar->value).text);
    if (total > 0)
        fprintf(out, "</text><text class=\"share\" x=\"100%%\" y=\"%d\">%s", y + 13,
                num_pct(value / total).text);
    fprintf(out,
            "</text><rect class=\"rail\" width=\"100%%\" y=\"%d\" height=\"8\" rx=\"2\"/>"
            "<rect class=\"fill\" width=\"%.2f%%\" y=\"%d\" height=\"8\" rx=\"2\"/></g>\n",
            y + 19, value > 0 ? MAX(percent, 0.3) : 0, y + 19);
}

void plot_bars(FILE *out, const char *label, const struct plot_bar *bars, size_t count,
               double total, struct num (*show)(double), int color)
{
    double greatest = 0;
    for (size_t i = 0; i < count; i++)
        if (isfinite(bars[i].value))
            greatest = MAX(greatest, bars[i].value);
    fprintf(out,
            "<svg class=\"bars c%d\" role=\"img\" width=\"100%%\" height=\"%zu\" aria-label=\"",
            color, MAX(count, (size_t)1) * BAR_PX);
    html_put(out, str_from(label));
    fputs("\">\n", out);
    for (size_t i = 0; i < count; i++)
        write_bar(out, &bars[i], i, greatest, total, show);
    fputs("</svg>\n", out);
}
