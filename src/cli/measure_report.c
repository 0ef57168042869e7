/* measure_report.c -- numbers of measured results for people, and the two tables that every report has: times and rates.
 *
 * A terminal gets a metric in two lines, the value and below it its interval: in one they would need more room than there is. Where width
 * costs nothing (Markdown, HTML) it is one cell, and CSV has a column a number. */
#include "cli/measure_report.h"

#include <math.h>

#define WIDE_COLUMNS 120 /* from here on, with least and greatest */

const enum measured measure_main_metrics[] = {
    MEASURED_TOTAL, MEASURED_RESPONSE, MEASURED_TTFT,  MEASURED_TTFT_CORRECTED, MEASURED_ICL,
    MEASURED_ITL,   MEASURED_TPOT,     MEASURED_STALL, MEASURED_SPEED};
const size_t measure_main_metric_count = COUNT(measure_main_metrics);

/* ---- numbers ---- */

/* To 0.1 us: no clock of ours is better than that. */
static struct num show_ns(double ns)
{
    return num_ms(round(ns / 100) / 10);
}

/* By enum measured_unit. */
static const struct {
    struct num (*show)(double);
    double raw; /* a factor: of the value for machines */
    const char *suffix;
} units[] = {
    [MEASURED_NS] = {show_ns, 1e-6, "_ms"},
    [MEASURED_PER_S] = {num_rate, 1, "_per_s"},
    [MEASURED_TOKENS] = {num_count, 1, "_tokens"},
    [MEASURED_USD] = {num_usd, 1, "_usd"},
};

struct num measured_show(enum measured m, double value)
{
    return units[measured_info(m)->unit].show(value);
}

double measured_raw(enum measured m, double value)
{
    return value * units[measured_info(m)->unit].raw;
}

const char *measured_suffix(enum measured m)
{
    return units[measured_info(m)->unit].suffix;
}

struct estimate measured_mean(const struct spread *s)
{
    struct estimate e = spread_mean(s);
    e.low = e.low < 0 ? 0 : e.low;
    return e;
}

/* One number and its unit, as "12.3 ms" and unlike "2 min 5 s"? `*digits`: where the unit begins. */
static bool is_plain(const char *text, size_t *digits)
{
    *digits = strspn(text, "0123456789.,");
    return *digits > 0 && strcspn(text + *digits, "0123456789") == strlen(text + *digits);
}

struct num measured_show_range(enum measured m, double low, double high)
{
    struct num from = measured_show(m, low), until = measured_show(m, high), out;
    size_t n, k;
    if (!isfinite(low) || !isfinite(high)) {
        snprintf(out.text, sizeof out.text, "%s", NUM_UNKNOWN);
        return out;
    }
    bool from_plain = is_plain(from.text, &n), until_plain = is_plain(until.text, &k);
    if (from_plain && until_plain && strcmp(from.text + n, until.text + k) == 0)
        from.text[n] = '\0';
    snprintf(out.text, sizeof out.text, "%.16s" NUM_UNKNOWN "%.16s", from.text, until.text);
    return out;
}

double measure_window_s(const struct results_group *g)
{
    return g->requests && g->last_ns > g->first_ns ? (double)(g->last_ns - g->first_ns) / 1e9 : NAN;
}

double measure_requests_per_s(const struct results_group *g)
{
    return (double)g->outcomes[OUTCOME_OK] / measure_window_s(g);
}

double measure_tokens_per_s(const struct results_group *g)
{
    return (double)g->tokens_in_window / measure_window_s(g);
}

double measure_goodput_per_s(const struct results_group *g)
{
    return (double)g->good / measure_window_s(g);
}

/* ---- times ---- */

static const struct {
    const char *heading, *name;
    double quantile;
} quantiles[] = {{"p50", "p50", .5}, {"p90", "p90", .9}, {"p95", "p95", .95}, {"p99", "p99", .99}};

static bool has_values(const struct results_group *g, enum measured m)
{
    return spread_count(&g->spreads[m]) > 0;
}

/* Of the metrics for most readers one is left out that says what another one does: gaps between chunks, where each chunk is one token. */
static bool is_double(const struct results_group *g, enum measured m)
{
    return m == MEASURED_ICL &&
           spread_count(&g->spreads[MEASURED_ITL]) == spread_count(&g->spreads[MEASURED_ICL]);
}

size_t measure_metrics_shown(const struct results_group *g, const enum measured *metrics,
                             size_t count, enum measured out[MEASURED_COUNT])
{
    const enum measured *wanted = metrics ? metrics : measure_main_metrics;
    size_t n = 0, wanted_count = metrics ? count : measure_main_metric_count;
    for (size_t i = 0; i < wanted_count && n < MEASURED_COUNT; i++)
        if (has_values(g, wanted[i]) && (metrics || !is_double(g, wanted[i])))
            out[n++] = wanted[i];
    return n;
}

/* A value and its interval, in two lines or in one cell. */
struct cell {
    struct num value, range;
};

/* Below its value the interval needs no unit, if it is the same one. */
static void leave_off_unit(struct cell *c)
{
    size_t digits, n = strlen(c->range.text);
    if (!is_plain(c->value.text, &digits))
        return;
    const char *unit = c->value.text + digits;
    size_t k = strlen(unit);
    /* In one unit both ends share it; then it stands at the end only. */
    if (k > 0 && n > k && strcmp(c->range.text + n - k, unit) == 0 &&
        strstr(c->range.text, unit) == c->range.text + n - k)
        c->range.text[n - k] = '\0';
}

static struct cell estimate_cell(enum measured m, const struct estimate *e, bool two_lines)
{
    struct cell c = {measured_show(m, e->value), measured_show_range(m, e->low, e->high)};
    if (e->refused) {
        snprintf(c.value.text, sizeof c.value.text, "n/a");
        snprintf(c.range.text, sizeof c.range.text, "n < %llu", (unsigned long long)e->need);
    } else if (two_lines) {
        leave_off_unit(&c);
    }
    return c;
}

static void put_cell(struct table *t, bool second, bool both, const struct estimate *e,
                     const struct cell *c)
{
    enum term_style style = e->refused ? STYLE_DIM : STYLE_NONE;
    if (both && e->refused)
        table_printf(t, style, "n/a (%s)", c->range.text);
    else if (both)
        table_printf(t, style, "%s (%s)", c->value.text, c->range.text);
    else
        table_text(t, second ? STYLE_DIM : style, str_from(second ? c->range.text : c->value.text));
}

struct times_row {
    enum measured m;
    const struct spread *spread;
    struct estimate mean, at[COUNT(quantiles)];
    uint64_t n;
};

static void read_row(struct times_row *r, const struct results_group *g, enum measured m)
{
    *r = (struct times_row){.m = m, .spread = &g->spreads[m], .n = spread_count(&g->spreads[m])};
    r->mean = measured_mean(r->spread);
    for (size_t i = 0; i < COUNT(quantiles); i++)
        r->at[i] = spread_quantile(r->spread, quantiles[i].quantile);
}

/* `line` 0: values, 1: intervals, 2: both in a cell. */
static void put_times_line(struct table *t, const struct times_row *r, int line, bool wide)
{
    bool second = line == 1, both = line == 2;
    struct cell c = estimate_cell(r->m, &r->mean, !both);
    table_row(t);
    table_text(t, STYLE_NONE, str_from(second ? "" : measured_info(r->m)->heading));
    table_text(t, STYLE_NONE, str_from(second ? "" : num_count((double)r->n).text));
    put_cell(t, second, both, &r->mean, &c);
    table_text(t, STYLE_NONE,
               str_from(second ? "" : measured_show(r->m, spread_stddev(r->spread)).text));
    for (size_t i = 0; i < COUNT(quantiles); i++) {
        c = estimate_cell(r->m, &r->at[i], !both);
        put_cell(t, second, both, &r->at[i], &c);
    }
    for (int greatest = 0; greatest < 2 && wide; greatest++)
        table_text(t, STYLE_NONE,
                   str_from(second ? ""
                                   : measured_show(r->m, greatest ? spread_max(r->spread)
                                                                  : spread_min(r->spread))
                                         .text));
}

static void write_times_csv(const struct results_group *g, const enum measured *shown, size_t count,
                            const struct term *term)
{
    static const struct table_column columns[] = {
        {"metric", ALIGN_LEFT, NULL},     {"unit", ALIGN_LEFT, NULL},
        {"n", ALIGN_RIGHT, NULL},         {"n_eff", ALIGN_RIGHT, NULL},
        {"mean", ALIGN_RIGHT, NULL},      {"mean_low", ALIGN_RIGHT, NULL},
        {"mean_high", ALIGN_RIGHT, NULL}, {"stddev", ALIGN_RIGHT, NULL},
        {"mad", ALIGN_RIGHT, NULL},       {"min", ALIGN_RIGHT, NULL},
        {"p50", ALIGN_RIGHT, NULL},       {"p50_low", ALIGN_RIGHT, NULL},
        {"p50_high", ALIGN_RIGHT, NULL},  {"p90", ALIGN_RIGHT, NULL},
        {"p90_low", ALIGN_RIGHT, NULL},   {"p90_high", ALIGN_RIGHT, NULL},
        {"p95", ALIGN_RIGHT, NULL},       {"p95_low", ALIGN_RIGHT, NULL},
        {"p95_high", ALIGN_RIGHT, NULL},  {"p99", ALIGN_RIGHT, NULL},
        {"p99_low", ALIGN_RIGHT, NULL},   {"p99_high", ALIGN_RIGHT, NULL},
        {"max", ALIGN_RIGHT, NULL}};
    struct table t;
    table_init(&t, columns, COUNT(columns));
    for (size_t i = 0; i < count; i++) {
        struct times_row r;
        read_row(&r, g, shown[i]);
        double values[21] = {(double)r.n, spread_n_eff(r.spread)};
        size_t n = 2;
        values[n++] = r.mean.value;
        values[n++] = r.mean.low;
        values[n++] = r.mean.high;
        values[n++] = spread_stddev(r.spread);
        values[n++] = spread_mad(r.spread);
        values[n++] = spread_min(r.spread);
        for (size_t k = 0; k < COUNT(quantiles); k++) {
            values[n++] = r.at[k].refused ? NAN : r.at[k].value;
            values[n++] = r.at[k].refused ? NAN : r.at[k].low;
            values[n++] = r.at[k].refused ? NAN : r.at[k].high;
        }
        values[n++] = spread_max(r.spread);
        table_row(&t);
        table_text(&t, STYLE_NONE, str_from(measured_info(r.m)->key));
        table_text(&t, STYLE_NONE, str_from(measured_suffix(r.m) + 1));
        for (size_t k = 0; k < n; k++)
            table_number(&t, STYLE_NONE, num_count(values[k]),
                         k < 2 ? values[k] : measured_raw(r.m, values[k]));
    }
    table_write(&t, TABLE_CSV, term);
    table_fini(&t);
}

void measure_write_times(const char *title, const struct results_group *g,
                         const enum measured *metrics, size_t count, enum table_format format,
                         const struct term *term)
{
    static const struct table_column columns[] = {
        {"Metric", ALIGN_LEFT, NULL},  {"n", ALIGN_RIGHT, NULL},   {"Mean", ALIGN_RIGHT, NULL},
        {"Stddev", ALIGN_RIGHT, NULL}, {"p50", ALIGN_RIGHT, NULL}, {"p90", ALIGN_RIGHT, NULL},
        {"p95", ALIGN_RIGHT, NULL},    {"p99", ALIGN_RIGHT, NULL}, {"Min", ALIGN_RIGHT, NULL},
        {"Max", ALIGN_RIGHT, NULL}};
    enum measured shown[MEASURED_COUNT];
    size_t n = measure_metrics_shown(g, metrics, count, shown);
    bool wide = format != TABLE_TERMINAL || term->columns <= 0 || term->columns >= WIDE_COLUMNS;
    struct table t;
    if (n == 0)
        return;
    if (format == TABLE_CSV) {
        write_times_csv(g, shown, n, term);
        return;
    }
    table_init(&t, columns, wide ? COUNT(columns) : COUNT(columns) - 2);
    table_title(&t, "%s", title);
    for (size_t i = 0; i < n; i++) {
        struct times_row r;
        read_row(&r, g, shown[i]);
        put_times_line(&t, &r, format == TABLE_TERMINAL ? 0 : 2, wide);
        if (format == TABLE_TERMINAL)
            put_times_line(&t, &r, 1, wide);
    }
    fputc('\n', term->out);
    table_write(&t, format, term);
    table_fini(&t);
}
