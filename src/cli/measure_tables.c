/* measure_tables.c -- the other tables of a measuring report (measure_report.h): rates, stages and models, failures, the instrument's checks,
 * what the numbers mean, how they are spread. */
#include <math.h>
#include <stdarg.h>

#include "cli/graph.h"
#include "cli/measure_report.h"
#include "cli/sentences.h"
#include "measure/figures.h"

/* ---- rates: a figure a row ---- */

static void figure(struct table *t, const char *name, struct num value, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void figure(struct table *t, const char *name, struct num value, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    table_row(t);
    table_text(t, STYLE_NONE, str_from(name));
    table_text(t, STYLE_NONE, str_from(value.text));
    table_text(t, STYLE_DIM, str_from(text));
}

static double share(uint64_t part, uint64_t all)
{
    return all ? (double)part / (double)all : NAN;
}

static void request_figures(struct table *t, const struct results_group *g)
{
    uint64_t failed = results_failures(g), dropped = g->outcomes[OUTCOME_DROPPED];
    figure(t, "Requests", num_count((double)g->requests), "%s answered well",
           num_count((double)g->outcomes[OUTCOME_OK]).text);
    figure(t, "Failed", num_pct(share(failed, results_attempts(g))), "%s requests",
           num_count((double)failed).text);
    if (dropped)
        figure(t, "Dropped", num_count((double)dropped), "due, and never sent; part of the failed");
    if (g->outcomes[OUTCOME_CANCELLED])
        figure(t, "Cancelled", num_count((double)g->outcomes[OUTCOME_CANCELLED]),
               "by the end of the run");
}

static void rate_figures(struct table *t, const struct results_group *g)
{
    figure(t, "Requests/s", num_rate(measure_requests_per_s(g)), "answered well, in %s",
           num_ms(measure_window_s(g) * 1e6).text);
    if (g->tokens_in_window)
        figure(t, "Tokens/s", num_rate(measure_tokens_per_s(g)), "of all requests together");
    if (g->prompt_tokens || g->completion_tokens)
        figure(t, "Tokens", num_count((double)(g->prompt_tokens + g->completion_tokens)),
               "%s in, %s out, %s from a cache", num_count((double)g->prompt_tokens).text,
               num_count((double)g->completion_tokens).text,
               num_count((double)g->cached_tokens).text);
}

static void other_figures(struct table *t, const struct measure_report *r,
                          const struct results_group *g)
{
    if (objectives_any(&r->results->objectives))
        figure(t, "Goodput", num_rate(measure_goodput_per_s(g)), "%s of all met every objective",
               num_pct(share(g->good, results_attempts(g))).text);
    if (g->stalls)
        figure(t, "Stalls", num_count((double)g->stalls),
               "gaps of more than 200 ms and three times the request's median gap");
    figure(t, "Connections", num_count((double)(g->requests - MIN(g->reused, g->requests))),
           "new ones; %s of the requests went over a kept one",
           num_pct(share(g->reused, g->requests)).text);
    if (g->cost_usd > 0)
        figure(t, "Cost", num_usd(g->cost_usd), "%s of it on requests that failed",
               num_usd(g->wasted_usd).text);
}

void measure_write_rates(const char *title, const struct measure_report *r,
                         const struct results_group *g, enum table_format format,
                         const struct term *term)
{
    static const struct table_column columns[] = {
        {"Figure", ALIGN_LEFT, NULL}, {"Value", ALIGN_RIGHT, NULL}, {"Of what", ALIGN_LEFT, NULL}};
    struct table t;
    if (format == TABLE_CSV || results_attempts(g) == 0)
        return;
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "%s", title);
    request_figures(&t, g);
    rate_figures(&t, g);
    other_figures(&t, r, g);
    fputc('\n', term->out);
    table_write(&t, format, term);
    table_fini(&t);
}

/* ---- stages and models: a group a row ---- */

static void put_quantile(struct table *t, const struct results_group *g, enum measured m,
                         double quantile)
{
    struct estimate e = spread_quantile(&g->spreads[m], quantile);
    if (e.refused && spread_count(&g->spreads[m]))
        table_text_raw(t, STYLE_DIM, STR("n/a"), STR(""));
    else
        table_number(t, STYLE_NONE, measured_show(m, e.value), measured_raw(m, e.value));
}

static void put_group(struct table *t, const struct measure_report *r, struct str name,
                      const struct results_group *g)
{
    uint64_t failed = results_failures(g), all = results_attempts(g);
    table_row(t);
    table_text(t, STYLE_NONE, name);
    table_number(t, STYLE_NONE, num_count((double)g->requests), (double)g->requests);
    table_number(t, failed ? STYLE_BAD : STYLE_NONE, num_pct(share(failed, all)),
                 share(failed, all));
    table_number(t, STYLE_NONE, num_rate(measure_requests_per_s(g)), measure_requests_per_s(g));
    put_quantile(t, g, MEASURED_TOTAL, .5);
    put_quantile(t, g, MEASURED_TOTAL, .95);
    put_quantile(t, g, MEASURED_TOTAL, .99);
    put_quantile(t, g, MEASURED_TTFT, .5);
    put_quantile(t, g, MEASURED_TTFT, .95);
    put_quantile(t, g, MEASURED_SPEED, .5);
    if (objectives_any(&r->results->objectives))
        table_number(t, STYLE_NONE, num_pct(share(g->good, all)), share(g->good, all));
}

/* Requests of a warm-up are in a group of their own: its stage would be an empty row. */
static bool is_warm_up(const struct measure_report *r, const struct results_group *g)
{
    const struct results *x = r->results;
    if (results_attempts(g) || g < x->by_stage || g >= x->by_stage + x->stage_count)
        return false;
    return !r->plan || r->plan[g - x->by_stage].warm_up;
}

static void write_groups(const struct measure_report *r, const char *title, const char *heading,
                         const struct results_group *groups, const struct str *names, size_t count,
                         enum table_format format, const struct term *term)
{
    const struct table_column columns[] = {{heading, ALIGN_LEFT, "name"},
                                           {"Requests", ALIGN_RIGHT, "requests"},
                                           {"Failed", ALIGN_RIGHT, "failed_share"},
                                           {"Rate", ALIGN_RIGHT, "requests_per_s"},
                                           {"p50", ALIGN_RIGHT, "latency_p50_ms"},
                                           {"p95", ALIGN_RIGHT, "latency_p95_ms"},
                                           {"p99", ALIGN_RIGHT, "latency_p99_ms"},
                                           {"TTFT p50", ALIGN_RIGHT, "ttft_p50_ms"},
                                           {"TTFT p95", ALIGN_RIGHT, "ttft_p95_ms"},
                                           {"Tokens/s", ALIGN_RIGHT, "tokens_per_s_p50"},
                                           {"Good", ALIGN_RIGHT, "good_share"}};
    struct table t;
    table_init(&t, columns, COUNT(columns) - (objectives_any(&r->results->objectives) ? 0 : 1));
    table_title(&t, "%s", title);
    for (size_t i = 0; i < count; i++)
        if (!is_warm_up(r, &groups[i]))
            put_group(&t, r, names[i], &groups[i]);
    if (t.row_count > 1) { /* a single one is the whole */
        if (format != TABLE_CSV)
            fputc('\n', term->out);
        table_write(&t, format, term);
    }
    table_fini(&t);
}

void measure_write_stages(const struct measure_report *r, enum table_format format,
                          const struct term *term)
{
    if (r->stages)
        write_groups(r, "Stages", "Stage", r->results->by_stage, r->stages, r->results->stage_count,
                     format, term);
}

void measure_write_models(const struct measure_report *r, enum table_format format,
                          const struct term *term)
{
    write_groups(r, "Models", "Model", r->results->by_model, r->models, r->results->model_count,
                 format, term);
}

/* ---- failures ---- */

void measure_write_failures(const struct measure_report *r, enum table_format format,
                            const struct term *term)
{
    static const struct table_column columns[] = {{"How", ALIGN_LEFT, "outcome"},
                                                  {"Requests", ALIGN_RIGHT, "requests"},
                                                  {"In its words", ALIGN_LEFT, "error"},
                                                  {"For example", ALIGN_LEFT, "request_id"}};
    const struct results *x = r->results;
    struct table t;
    if (x->failure_count == 0)
        return;
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "Failures");
    for (size_t i = 0; i < x->failure_count; i++) {
        table_row(&t);
        table_text(&t, STYLE_BAD, str_from(outcome_key(x->failures[i].outcome)));
        table_number(&t, STYLE_NONE, num_count((double)x->failures[i].count),
                     (double)x->failures[i].count);
        table_maybe(&t, STYLE_NONE,
                    str_from(x->failures[i].error[0] ? x->failures[i].error
                                                     : outcome_help(x->failures[i].outcome)));
        table_maybe(&t, STYLE_DIM, str_from(x->failures[i].request_id));
    }
    if (format != TABLE_CSV)
        fputc('\n', term->out);
    table_write(&t, format, term);
    table_fini(&t);
}

/* ---- the instrument ---- */

static const struct {
    const char *text;
    enum term_style style;
} verdicts[] = {[CHECK_GOOD] = {"good", STYLE_GOOD},
                [CHECK_BAD] = {"BAD", STYLE_BAD},
                [CHECK_NOT_ASKED] = {"-", STYLE_DIM}};

/* A check's text, broken at blanks into rows of at most `columns` (0: one row). */
static void put_wrapped(struct table *t, struct str text, int columns)
{
    while (columns > 0 && text.n > (size_t)columns) {
        size_t end = (size_t)columns;
        while (end > 0 && text.p[end] != ' ')
            end--;
        if (end == 0)
            break;
        table_text(t, STYLE_NONE, (struct str){text.p, end});
        table_row(t);
        table_text(t, STYLE_NONE, STR(""));
        table_text(t, STYLE_NONE, STR(""));
        text = str_skip(text, end + 1);
    }
    table_text(t, STYLE_NONE, text);
}

/* Columns that the last of the three has on a terminal. */
static int text_columns(const struct validity *v, enum table_format format, const struct term *term)
{
    int used = 4 + (int)strlen("Verdict"), heading = 0;
    for (size_t i = 0; i < v->count; i++)
        heading = MAX(heading, term_width(term->utf8, str_from(v->checks[i].heading)));
    if (format != TABLE_TERMINAL || term->columns <= 0)
        return 0;
    return MAX(term->columns - used - heading, 20);
}

static void write_checks(const struct validity *v, bool brief, enum table_format format,
                         const struct term *term)
{
    static const struct table_column columns[] = {{"Check", ALIGN_LEFT, "check"},
                                                  {"Verdict", ALIGN_LEFT, "verdict"},
                                                  {"Found", ALIGN_LEFT, "found"}};
    struct table t;
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "The instrument");
    for (size_t i = 0; i < v->count; i++) {
        const struct validity_check *c = &v->checks[i];
        if (brief && c->verdict != CHECK_BAD)
            continue;
        table_row(&t);
        table_text(&t, STYLE_NONE, str_from(c->heading));
        table_text(&t, verdicts[c->verdict].style, str_from(verdicts[c->verdict].text));
        put_wrapped(&t, str_from(c->text), text_columns(v, format, term));
    }
    if (t.row_count) {
        fputc('\n', term->out);
        table_write(&t, format, term);
    }
    table_fini(&t);
}

void measure_write_validity(const struct measure_report *r, bool brief, enum table_format format,
                            const struct term *term)
{
    struct sentences s;
    char summary[sizeof r->validity->summary];
    if (!r->validity || format == TABLE_CSV)
        return;
    write_checks(r->validity, brief, format, term);
    sentences_init(&s, "");
    /* It may begin in the middle, for use behind a colon. */
    snprintf(summary, sizeof summary, "%s", r->validity->summary);
    if (summary[0] >= 'a' && summary[0] <= 'z')
        summary[0] = (char)(summary[0] - 'a' + 'A');
    sentences_add(&s, "%s", summary);
    sentences_end(&s, format, term);
}

/* ---- what the numbers mean ---- */

static void say_rules(struct sentences *s, const struct measure_report *r,
                      const struct results_group *g)
{
    sentences_add(s,
                  "Percentiles: %s. Ranges are 95 %% intervals: of percentiles from order "
                  "statistics, of means by Student's t, both widened where neighbours are alike. "
                  "n/a: the sample does not carry the percentile; it takes the n that is named. A "
                  "dash for a range: the values are too alike in time for one.",
                  spread_rule(&g->spreads[MEASURED_TOTAL]));
    if (g->completion_tokens)
        sentences_add(s,
                      "Tokens were counted by the server for %s of the answers, by chunks for "
                      "the others.",
                      num_pct(MIN(share(g->tokens_told, g->outcomes[OUTCOME_OK]), 1.0)).text);
    if (g->stamped)
        sentences_add(s, "Times of arrival are the kernel's for %s of the answers.",
                      num_pct(MIN(share(g->stamped, g->outcomes[OUTCOME_OK]), 1.0)).text);
    if (r->validity && r->validity->error_ns > 0)
        sentences_add(s, "A time in this report may be off by %s: the run's own measurement error.",
                      figure_time(r->validity->error_ns).text);
    if (r->seed)
        sentences_add(s, "Seed %llu.", (unsigned long long)r->seed);
}

void measure_write_definitions(const struct measure_report *r, const struct results_group *g,
                               const enum measured *metrics, size_t count, enum table_format format,
                               const struct term *term)
{
    enum measured shown[MEASURED_COUNT];
    size_t n = measure_metrics_shown(g, metrics, count, shown);
    struct sentences s;
    if (n == 0)
        return;
    sentences_init(&s, "What the numbers mean");
    for (size_t i = 0; i < n; i++)
        sentences_add(&s, "%s: %s.", measured_info(shown[i])->heading,
                      measured_info(shown[i])->formula);
    say_rules(&s, r, g);
    sentences_end(&s, format, term);
}

/* ---- how values are spread ---- */

enum { BANDS = 12, BAR_COLUMNS = 40 };

struct bands {
    double edges[BANDS + 1]; /* in what the histogram holds */
    uint64_t counts[BANDS];
    uint64_t most;
};

static void fill_bands(struct bands *b, const struct hdr *h)
{
    double low = (double)h->min, high = (double)h->max + 1;
    bool logarithmic = low > 0 && high > 10 * low;
    *b = (struct bands){.most = 0};
    for (int i = 0; i <= BANDS; i++)
        b->edges[i] =
            logarithmic ? low * pow(high / low, (double)i / BANDS) : low + (high - low) * i / BANDS;
    for (int i = 0; i < BANDS; i++) {
        uint64_t until = i + 1 == BANDS ? h->max + 1 : (uint64_t)b->edges[i + 1];
        b->counts[i] = hdr_between(h, (uint64_t)b->edges[i], until);
        b->most = MAX(b->most, b->counts[i]);
    }
}

/* "p50 p90", and where outliers begin. */
static void name_marks(const struct bands *b, int band, const struct spread *s, double kept,
                       char *out, size_t out_bytes)
{
    static const struct {
        double quantile;
        const char *name;
    } marks[] = {{.5, "p50"}, {.9, "p90"}, {.95, "p95"}, {.99, "p99"}};
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < COUNT(marks); i++) {
        struct estimate e = spread_quantile(s, marks[i].quantile);
        double at = e.value / kept;
        bool last = band == BANDS - 1;
        if (!e.refused && at >= floor(b->edges[band]) && (last || at < floor(b->edges[band + 1])) &&
            n < out_bytes)
            n += (size_t)snprintf(out + n, out_bytes - n, "%s%s", n ? " " : "", marks[i].name);
    }
}

void measure_write_histogram(const char *title, const struct results_group *g, enum measured m,
                             enum table_format format, const struct term *term)
{
    static const struct table_column columns[] = {{"From", ALIGN_RIGHT, "from"},
                                                  {"To", ALIGN_RIGHT, "to"},
                                                  {"n", ALIGN_RIGHT, "n"},
                                                  {"", ALIGN_LEFT, "marks"},
                                                  {"", ALIGN_LEFT, "bar"}};
    const struct spread *s = &g->spreads[m];
    double kept = s->unit > 0 ? s->unit : 1;
    struct table t;
    struct bands b;
    if (s->hdr.count < 2 || s->hdr.max == s->hdr.min)
        return;
    fill_bands(&b, &s->hdr);
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "%s", title);
    for (int i = 0; i < BANDS; i++) {
        char bar[GRAPH_BYTES(BAR_COLUMNS)], marks[40];
        graph_bar(term->utf8 || format != TABLE_TERMINAL, BAR_COLUMNS,
                  (double)b.counts[i] / (double)b.most, bar, sizeof bar);
        name_marks(&b, i, s, kept, marks, sizeof marks);
        table_row(&t);
        table_number(&t, STYLE_NONE, measured_show(m, b.edges[i] * kept),
                     measured_raw(m, b.edges[i] * kept));
        table_number(&t, STYLE_NONE, measured_show(m, b.edges[i + 1] * kept),
                     measured_raw(m, b.edges[i + 1] * kept));
        table_number(&t, STYLE_NONE, num_count((double)b.counts[i]), (double)b.counts[i]);
        table_text(&t, STYLE_ACCENT, str_from(marks));
        table_text(&t, STYLE_ACCENT, str_from(bar));
    }
    if (format != TABLE_CSV)
        fputc('\n', term->out);
    table_write(&t, format, term);
    table_fini(&t);
}
