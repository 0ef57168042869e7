/* load_report.c -- what came of a load test, for people: tables of measure_report.h, the load that was asked for beside what was sent, and the
 * thresholds. And as CSV, a row a metric. */
#include <math.h>
#include <stdarg.h>

#include "base/when.h"
#include "cli/load.h"
#include "cli/sentences.h"
#include "measure/failure.h"

struct measure_report load_report_of(const struct load_result *r)
{
    return (struct measure_report){.command = r->command,
                                   .url = r->url,
                                   .models = r->models,
                                   .stages = r->stages,
                                   .plan = r->plan,
                                   .results = r->results,
                                   .account = &r->account,
                                   .validity = &r->validity,
                                   .seed = r->seed,
                                   .cut_short = r->cut_short};
}

/* ---- the head ---- */

static void write_head(const struct load_result *r, enum table_format format, const struct term *t)
{
    char from[WHEN_TEXT_BYTES], span[WHEN_TEXT_BYTES];
    struct sentences s;
    sentences_init(&s, r->merged ? "Load test, merged" : "Load test");
    if (r->name.n)
        sentences_add(&s, "%.*s.", STR_ARG(r->name));
    sentences_add(
        &s, "%.*s, from %.*s on, for %.*s.", STR_ARG(r->url),
        STR_ARG(when_text_zoned(r->account.started_real_us, from, sizeof from)),
        STR_ARG(when_span_text((int64_t)(isnan(load_seconds(r)) ? 0 : load_seconds(r) * 1e6), span,
                               sizeof span)));
    if (r->replay_file.n)
        sentences_add(&s, "A replay of %.*s (%s requests) at %g times its speed.",
                      STR_ARG(r->replay_file), num_count((double)r->replay_requests).text,
                      r->replay_speed);
    if (r->cut_short)
        sentences_add(&s, "Stopped by Ctrl-C: this is of what was measured until then.");
    if (r->aborted_by)
        sentences_add(&s, "Ended early by the threshold %s.", r->aborted_by->text);
    for (size_t i = 0; i < r->remark_count; i++)
        sentences_add(&s, "%.*s", STR_ARG(r->remarks[i]));
    sentences_end(&s, format, t);
}

/* ---- the load ---- */

static void put_row(struct table *t, const char *what, enum term_style style, struct num value,
                    double raw, const char *of)
{
    table_row(t);
    table_text(t, STYLE_NONE, str_from(what));
    table_number(t, style, value, raw);
    table_text(t, STYLE_DIM, str_from(of));
}

static void write_load(const struct load_result *r, enum table_format format, const struct term *t)
{
    static const struct table_column columns[] = {{"Load", ALIGN_LEFT, "load"},
                                                  {"Value", ALIGN_RIGHT, "value"},
                                                  {"Of what", ALIGN_LEFT, "of"}};
    const struct engine_account *a = &r->account;
    struct table table;
    double seconds = load_seconds(r);
    table_init(&table, columns, COUNT(columns));
    table_title(&table, "Load asked for, and sent");
    if (r->open_loop) {
        put_row(&table, "Due", STYLE_NONE, num_count((double)a->offered), (double)a->offered,
                "requests that the schedule asked for");
        put_row(&table, "Asked rate", STYLE_NONE, num_rate((double)a->offered / seconds),
                (double)a->offered / seconds, "mean of the measured stages");
    }
    put_row(&table, "Sent rate", STYLE_NONE, num_rate((double)a->sent / seconds),
            (double)a->sent / seconds, "mean of the measured stages");
    put_row(&table, "Never sent", a->dropped ? STYLE_BAD : STYLE_NONE,
            num_count((double)a->dropped), (double)a->dropped,
            "due, and no connection was free or the run was over");
    put_row(&table, "In flight", STYLE_NONE, num_count(a->in_flight_mean), a->in_flight_mean,
            "mean over time");
    put_row(&table, "In flight at most", STYLE_NONE, num_count((double)a->in_flight_max),
            (double)a->in_flight_max, "at one moment");
    fputc('\n', t->out);
    table_write(&table, format, t);
    table_fini(&table);
}

/* ---- thresholds ---- */

static void put_limit(struct table *t, const struct limit_asked *l)
{
    static const struct {
        const char *text;
        enum term_style style;
    } verdicts[] = {[LIMIT_HELD] = {"held", STYLE_GOOD},
                    [LIMIT_FAILED] = {"FAILED", STYLE_BAD},
                    [LIMIT_REFUSED] = {"FAILED", STYLE_BAD}};
    char value[64];
    limit_asked_show(l, l->value, value, sizeof value);
    table_row(t);
    table_text(t, STYLE_NONE, str_from(l->text));
    table_text(t, STYLE_NONE, str_from(value));
    table_text(t, verdicts[l->verdict].style, str_from(verdicts[l->verdict].text));
    table_text(t, STYLE_DIM, str_from(l->why));
}

static void write_limits(const struct load_result *r, enum table_format format,
                         const struct term *t)
{
    static const struct table_column columns[] = {{"Threshold", ALIGN_LEFT, "threshold"},
                                                  {"Measured", ALIGN_RIGHT, "measured"},
                                                  {"Verdict", ALIGN_LEFT, "verdict"},
                                                  {"Why", ALIGN_LEFT, "why"}};
    struct table table;
    if (!r->limits.count)
        return;
    table_init(&table, columns, COUNT(columns));
    table_title(&table, "Thresholds");
    for (size_t i = 0; i < r->limits.count; i++)
        put_limit(&table, &r->limits.all[i]);
    fputc('\n', t->out);
    table_write(&table, format, t);
    table_fini(&table);
}

/* ---- the whole ---- */

void load_write_report(const struct load_result *r, enum table_format format, const struct term *t)
{
    struct measure_report m = load_report_of(r);
    const struct results_group *g = &r->results->total;
    if (format == TABLE_CSV) {
        load_write_csv(r, t->out);
        return;
    }
    if (format != TABLE_HTML)
        write_head(r, format, t);
    write_limits(r, format, t);
    write_load(r, format, t);
    measure_write_rates("Requests", &m, g, format, t);
    measure_write_times(
        "Times: from sending (as other tools have them), and from when a request was "
        "due",
        g, NULL, 0, format, t);
    measure_write_stages(&m, format, t);
    measure_write_models(&m, format, t);
    measure_write_failures(&m, format, t);
    if (format == TABLE_TERMINAL)
        measure_write_histogram(r->open_loop ? "Total, from due" : "Total", g,
                                r->open_loop ? MEASURED_RESPONSE : MEASURED_TOTAL, format, t);
    measure_write_validity(&m, format == TABLE_TERMINAL, format, t);
    measure_write_definitions(&m, g, NULL, 0, format, t);
}

/* ---- CSV ---- */

static const struct {
    const char *heading;
    double quantile;
} quantiles[] = {{"p50", .5},  {"p75", .75}, {"p90", .9},
                 {"p95", .95}, {"p99", .99}, {"p99.9", .999}};

static void put_value(struct table *t, enum measured m, double value)
{
    double raw = measured_raw(m, value);
    if (isnan(raw))
        table_text_raw(t, STYLE_NONE, STR(""), STR(""));
    else
        table_number(t, STYLE_NONE, measured_show(m, value), raw);
}

static void put_metric(struct table *t, const char *scope, struct str name,
                       const struct results_group *g, enum measured m)
{
    const struct spread *s = &g->spreads[m];
    const char *suffix = measured_suffix(m);
    table_row(t);
    table_text(t, STYLE_NONE, str_from(scope));
    table_text(t, STYLE_NONE, name);
    table_text(t, STYLE_NONE, str_from(measured_info(m)->key));
    table_text(t, STYLE_NONE, str_from(suffix + (*suffix == '_')));
    table_number(t, STYLE_NONE, num_count((double)g->requests), (double)g->requests);
    table_number(t, STYLE_NONE, num_count((double)results_failures(g)),
                 (double)results_failures(g));
    table_number(t, STYLE_NONE, num_count((double)spread_count(s)), (double)spread_count(s));
    put_value(t, m, spread_mean(s).value);
    put_value(t, m, spread_stddev(s));
    put_value(t, m, spread_min(s));
    for (size_t i = 0; i < COUNT(quantiles); i++) {
        struct estimate e = spread_quantile(s, quantiles[i].quantile);
        put_value(t, m, e.refused ? NAN : e.value);
    }
    put_value(t, m, spread_max(s));
}

static void put_group(struct table *t, const char *scope, struct str name,
                      const struct results_group *g)
{
    for (int m = 0; m < MEASURED_COUNT; m++)
        if (spread_count(&g->spreads[m]))
            put_metric(t, scope, name, g, (enum measured)m);
}

void load_write_csv(const struct load_result *r, FILE *out)
{
    static const struct table_column columns[] = {
        {"scope", ALIGN_LEFT, NULL},     {"name", ALIGN_LEFT, NULL},
        {"metric", ALIGN_LEFT, NULL},    {"unit", ALIGN_LEFT, NULL},
        {"requests", ALIGN_RIGHT, NULL}, {"failed", ALIGN_RIGHT, NULL},
        {"count", ALIGN_RIGHT, NULL},    {"mean", ALIGN_RIGHT, NULL},
        {"stddev", ALIGN_RIGHT, NULL},   {"min", ALIGN_RIGHT, NULL},
        {"p50", ALIGN_RIGHT, NULL},      {"p75", ALIGN_RIGHT, NULL},
        {"p90", ALIGN_RIGHT, NULL},      {"p95", ALIGN_RIGHT, NULL},
        {"p99", ALIGN_RIGHT, NULL},      {"p99.9", ALIGN_RIGHT, NULL},
        {"max", ALIGN_RIGHT, NULL}};
    const struct results *x = r->results;
    struct table t;
    table_init(&t, columns, COUNT(columns));
    put_group(&t, "total", STR(""), &x->total);
    for (uint32_t i = 0; i < x->stage_count; i++)
        put_group(&t, "stage", r->stages[i], &x->by_stage[i]);
    for (uint32_t i = 0; i < x->model_count; i++)
        put_group(&t, "model", r->models[i], &x->by_model[i]);
    put_group(&t, "warm-up", STR(""), &x->warm_up);
    table_export(&t, TABLE_CSV, out);
    table_fini(&t);
}

/* ---- how it ends ---- */

static int say(const struct load_result *r, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int say(const struct load_result *r, int status, const char *fmt, ...)
{
    struct err e = {0};
    va_list args;
    va_start(args, fmt);
    vsnprintf(e.text, sizeof e.text, fmt, args);
    va_end(args);
    return measure_options_fail(r->command, &e, status);
}

int load_verdict(const struct load_result *r)
{
    const struct results_group *g = &r->results->total;
    const char *words = r->results->failure_count ? r->results->failures[0].error : "";
    int status = EXIT_GOOD;
    for (size_t i = 0; i < r->limits.count; i++)
        if (r->limits.all[i].verdict != LIMIT_HELD)
            status = say(r, EXIT_PROBLEM, "threshold failed: %s: %s", r->limits.all[i].text,
                         r->limits.all[i].why);
    if (r->aborted_by)
        status = say(r, EXIT_PROBLEM, "ended early by the threshold %s", r->aborted_by->text);
    if (r->validity.client_limited)
        status = say(r, EXIT_PROBLEM, "%s", r->validity.summary);
    if (outcomes_are_unreached(g->outcomes))
        return say(r, EXIT_UNREACHABLE, "no request reached the server: %.300s; is it running?",
                   words);
    if (g->outcomes[OUTCOME_OK] == 0 && !r->cut_short)
        return say(r, EXIT_PROBLEM, "no request was answered well%s%.300s", *words ? ": " : "",
                   words);
    return status;
}
