/* profile_latency_report.c -- what `weir profile latency` says, for people and for programs (profile_latency.h). */
#include <math.h>

#include "base/clock.h"
#include "cli/measure_export.h"
#include "cli/profile_latency.h"
#include "cli/sentences.h"
#include "measure/warm_up.h"

/* WARM_UP_LEAST: so many in a row are above a 90th percentile by chance once in a thousand runs. */
enum { OUTLIERS_SHOWN = 10, WARM_UP_LEAST = 3 };

/* ---- outliers ---- */

struct outlier {
    const struct sample *sample;
    enum measured metric;
    double value, median, iqrs; /* iqrs: how many interquartile ranges above the third quartile */
};

static double outlier_value(const struct sample *s, enum measured m)
{
    int64_t ns = m == MEASURED_TOTAL  ? sample_span_ns(s->sent_first_ns, s->end_ns)
                 : m == MEASURED_TTFT ? sample_span_ns(s->sent_first_ns, s->first_token_ns)
                                      : (int64_t)s->longest_gap_ns;
    return ns > 0 ? (double)ns : NAN;
}

static double value_at(const struct spread *s, double quantile)
{
    return s->value_count ? (double)s->values[(size_t)(quantile * (double)(s->value_count - 1))]
                          : NAN;
}

static int by_distance(const void *a, const void *b)
{
    const struct outlier *x = a, *y = b;
    return (x->iqrs < y->iqrs) - (x->iqrs > y->iqrs);
}

/* Requests beyond Q3 + 3 IQR of total, TTFT or longest gap, the farthest first. The caller frees them. */
static struct outlier *find_outliers(const struct profile_run *r, size_t *count)
{
    static const enum measured metrics[] = {MEASURED_TOTAL, MEASURED_TTFT, MEASURED_STALL};
    struct outlier *found = mem_alloc((r->kept_count * COUNT(metrics) + 1) * sizeof *found);
    *count = 0;
    for (size_t m = 0; m < COUNT(metrics); m++) {
        const struct spread *s = &r->results->total.spreads[metrics[m]];
        double q1 = value_at(s, .25), q3 = value_at(s, .75), range = q3 - q1;
        if (spread_outliers(s) == 0 || !(range > 0))
            continue;
        for (size_t i = 0; i < r->kept_count; i++) {
            double value = outlier_value(&r->kept[i], metrics[m]);
            if (r->kept[i].outcome == OUTCOME_OK && value > q3 + 3 * range)
                found[(*count)++] = (struct outlier){&r->kept[i], metrics[m], value,
                                                     value_at(s, .5), (value - q3) / range};
        }
    }
    qsort(found, *count, sizeof *found, by_distance);
    return found;
}

static void write_outliers(const struct latency_profile *p, enum table_format format,
                           const struct term *term)
{
    static const struct table_column columns[] = {
        {"Request", ALIGN_LEFT, NULL},       {"Number", ALIGN_RIGHT, NULL},
        {"At", ALIGN_RIGHT, NULL},           {"What", ALIGN_LEFT, NULL},
        {"Value", ALIGN_RIGHT, NULL},        {"Of median", ALIGN_RIGHT, NULL},
        {"IQRs above Q3", ALIGN_RIGHT, NULL}};
    size_t count;
    struct outlier *found = find_outliers(&p->run, &count);
    struct table t;
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "Outliers");
    for (size_t i = 0; i < MIN(count, (size_t)OUTLIERS_SHOWN); i++) {
        const struct sample *s = found[i].sample;
        uint64_t since_ns = s->due_ns - p->run.account.started_ns;
        table_row(&t);
        table_text(&t, STYLE_NONE, str_from(s->request_id));
        table_printf(&t, STYLE_NONE, "%zu", (size_t)(s - p->run.kept) + 1);
        table_text(&t, STYLE_DIM, str_from(num_ms((double)since_ns / 1000).text));
        table_text(&t, STYLE_NONE, str_from(measured_info(found[i].metric)->heading));
        table_text(&t, STYLE_WARN, str_from(measured_show(found[i].metric, found[i].value).text));
        table_printf(&t, STYLE_NONE, "%.2f times", found[i].value / found[i].median);
        table_printf(&t, STYLE_NONE, "%.1f", found[i].iqrs);
    }
    if (count > OUTLIERS_SHOWN)
        table_note(&t, "%zu more beyond Q3 + 3 IQR; none is left out of the numbers above",
                   count - OUTLIERS_SHOWN);
    else
        table_note(&t, "Beyond Q3 + 3 IQR; none is left out of the numbers above");
    if (count) {
        fputc('\n', term->out);
        table_write(&t, format, term);
    }
    table_fini(&t);
    mem_free(found);
}

/* ---- a warm-up that was too short ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* How many from the first on are above the 90th percentile of those behind the first `cut`. MSER-5 alone finds a cut in most runs of mere noise. */
static size_t leading(const double *values, size_t cut, size_t count)
{
    size_t rest = count - cut, n = 0;
    double *others = mem_alloc((rest + 1) * sizeof *others);
    memcpy(others, values + cut, rest * sizeof *others);
    qsort(others, rest, sizeof *others, compare_doubles);
    double p90 = rest ? others[(size_t)(0.9 * (double)(rest - 1))] : INFINITY;
    while (n < cut && values[n] > p90)
        n++;
    mem_free(others);
    return n;
}

/* How many of the first requests a longer warm-up would have left out; 0: none. They are in the numbers all the same: who measures decides. */
static size_t late_warm_up(const struct latency_profile *p)
{
    double *values = mem_alloc((p->run.kept_count + 1) * sizeof *values);
    size_t n = 0;
    for (size_t i = 0; i < p->run.kept_count; i++)
        if (p->run.kept[i].outcome == OUTCOME_OK)
            values[n++] = outlier_value(&p->run.kept[i], MEASURED_TOTAL);
    size_t cut = mser5(values, n), first = cut ? leading(values, cut, n) : 0;
    mem_free(values);
    return first >= WARM_UP_LEAST ? first : 0;
}

static void say_warm_up(const struct latency_profile *p, enum table_format format,
                        const struct term *term)
{
    size_t more = late_warm_up(p);
    struct sentences s;
    if (!more || format == TABLE_CSV)
        return;
    sentences_init(&s, "");
    sentences_add(
        &s,
        "The first %zu requests differ from the others, as of a server that was still "
        "getting warm (MSER-5). They are in all numbers; to leave them out: --warmup %llu.",
        more, (unsigned long long)p->warmup + more);
    sentences_end(&s, format, term);
}

/* ---- for people ---- */

static void write_heading(const struct latency_profile *p, enum table_format format,
                          const struct term *term)
{
    struct sentences s;
    char how[64];
    snprintf(how, sizeof how, p->concurrency == 1 ? "one after another" : "%llu at a time",
             (unsigned long long)p->concurrency);
    sentences_init(&s, "Latency profile");
    sentences_add(&s, "%.*s at %.*s", STR_ARG(p->model), STR_ARG(p->report.url));
    sentences_add(&s, "%s requests, %s, %s; %llu of warm-up before, not counted.%s",
                  num_count((double)p->run.results->total.requests).text, how,
                  p->stream ? "streamed" : "not streamed", (unsigned long long)p->warmup,
                  p->report.cut_short ? " Stopped by Ctrl-C: this is what there was until then."
                                      : "");
    sentences_end(&s, format, term);
}

static const enum measured cold_metrics[] = {MEASURED_DNS,  MEASURED_CONNECT,   MEASURED_TLS,
                                             MEASURED_WAIT, MEASURED_TTFT_COLD, MEASURED_TTFT,
                                             MEASURED_TOTAL};

void latency_report(const struct latency_profile *p, enum table_format format,
                    const struct term *term)
{
    const struct results_group *g = &p->run.results->total;
    const struct measure_report *r = &p->report;
    write_heading(p, format, term);
    measure_write_times(g->reused == g->requests ? "Times on kept connections" : "Times", g, NULL,
                        0, format, term);
    say_warm_up(p, format, term);
    if (p->has_cold)
        measure_write_times("Times on new connections, each request its own",
                            &p->cold.results->total, cold_metrics, COUNT(cold_metrics), format,
                            term);
    if (p->overhead)
        overhead_write(p->overhead, format, term);
    measure_write_rates("Rates", r, g, format, term);
    if (format != TABLE_CSV) {
        measure_write_histogram("How total is spread", g, MEASURED_TOTAL, format, term);
        if (p->stream)
            measure_write_histogram("How the time to the first token is spread", g, MEASURED_TTFT,
                                    format, term);
        write_outliers(p, format, term);
        measure_write_failures(r, format, term);
    }
    if (p->baseline)
        baseline_write(p->baseline, p->settings, format, term);
    measure_write_validity(r, true, format, term);
    if (format != TABLE_CSV)
        measure_write_definitions(r, g, NULL, 0, format, term);
}

/* ---- for programs ---- */

/* "name=value" lines as members. */
static void write_settings(struct json_out *j, struct str settings)
{
    json_nest(j, "settings", "{");
    while (settings.n) {
        char name[64];
        struct str value = str_cut(&settings, '\n'), key = str_cut(&value, '=');
        snprintf(name, sizeof name, "%.*s", STR_ARG(key));
        json_text(j, name, value.p ? value : STR(""));
    }
    json_unnest(j, "}");
}

static void write_outliers_json(const struct latency_profile *p, struct json_out *j)
{
    size_t count;
    struct outlier *found = find_outliers(&p->run, &count);
    json_nest(j, "outliers", "[");
    for (size_t i = 0; i < count; i++) {
        json_nest(j, NULL, "{");
        json_text(j, "request_id", str_from(found[i].sample->request_id));
        json_text(j, "metric", str_from(measured_info(found[i].metric)->key));
        json_number(j, "value_ms", found[i].value / 1e6, "%.6f");
        json_number(j, "median_ms", found[i].median / 1e6, "%.6f");
        json_number(j, "iqrs_above_q3", found[i].iqrs, "%.6g");
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    mem_free(found);
}

void latency_json(const struct latency_profile *p, FILE *out)
{
    const struct measure_report *r = &p->report;
    struct json_out j;
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    measure_json_head(&j, r);
    write_settings(&j, p->settings);
    json_count(&j, "iterations", p->iterations);
    json_count(&j, "warmup", p->warmup);
    json_count(&j, "concurrency", p->concurrency);
    json_count(&j, "warmup_proposed", p->warmup + late_warm_up(p));
    measure_json_group(&j, "summary", r, &p->run.results->total);
    if (p->has_cold)
        measure_json_group(&j, "new_connections", r, &p->cold.results->total);
    write_outliers_json(p, &j);
    if (p->baseline)
        baseline_json(p->baseline, &j);
    if (p->overhead)
        overhead_json(p->overhead, &j);
    measure_json_failures(&j, r);
    measure_json_validity(&j, r);
    measure_json_definitions(&j);
    json_nest(&j, "measurements", "[");
    for (size_t i = 0; i < p->run.kept_count; i++)
        measure_json_sample(&j, &p->run.kept[i], r->models[p->run.kept[i].model],
                            p->run.account.started_ns);
    json_unnest(&j, "]");
    json_count(&j, "measurements_left_out", p->run.kept_lost);
    json_unnest(&j, "}");
    json_out_end(&j, out);
}

void latency_junit(const struct latency_profile *p, FILE *out)
{
    const struct engine_account *a = &p->run.account;
    struct arena arena;
    size_t checks, n = 0;
    arena_init(&arena, NULL, 0);
    struct junit_case *of_instrument = junit_cases(&arena, NULL, &p->run.validity, &checks);
    struct junit_case *cases = arena_alloc(&arena, (checks + BASELINE_METRICS + 1) * sizeof *cases);
    if (p->baseline)
        n = baseline_cases(p->baseline, &arena, cases);
    memcpy(cases + n, of_instrument, checks * sizeof *cases);
    junit_write(out, STR("weir profile latency"), a->started_real_us,
                (double)(a->ended_ns - a->started_ns) / 1e9, cases, n + checks);
    arena_fini(&arena);
}

/* ---- a row a request ---- */

static void put_span(struct table *t, uint64_t from_ns, uint64_t to_ns)
{
    int64_t ns = sample_span_ns(from_ns, to_ns);
    table_number(t, STYLE_NONE, num_ms((double)ns / 1000), ns < 0 ? NAN : (double)ns / 1e6);
}

static void put_request(struct table *t, const struct latency_profile *p, const struct sample *s)
{
    int64_t ns = sample_span_ns(s->first_token_ns, s->last_token_ns);
    double tokens = (double)s->completion_tokens;
    table_row(t);
    table_text(t, STYLE_NONE, str_from(s->request_id));
    table_text(t, STYLE_NONE, p->report.models[s->model]);
    table_text(t, STYLE_NONE, str_from(outcome_key((enum outcome)s->outcome)));
    table_printf(t, STYLE_NONE, "%d", s->http_status);
    table_text(t, STYLE_NONE, s->reused ? STR("kept") : STR("new"));
    put_span(t, p->run.account.started_ns, s->due_ns);
    put_span(t, s->sent_first_ns, s->end_ns);
    put_span(t, s->due_ns, s->end_ns);
    put_span(t, s->sent_first_ns, s->first_token_ns);
    put_span(t, s->due_ns, s->first_token_ns);
    table_number(t, STYLE_NONE, num_count(0),
                 ns >= 0 && tokens >= 2 ? (double)ns / 1e6 / (tokens - 1) : NAN);
    table_number(t, STYLE_NONE, num_count(0), (double)s->longest_gap_ns / 1e6);
    table_number(t, STYLE_NONE, num_count(0),
                 s->prompt_tokens < 0 ? NAN : (double)s->prompt_tokens);
    table_number(t, STYLE_NONE, num_count(0), tokens < 0 ? NAN : tokens);
    table_text(t, STYLE_NONE, str_from(s->error));
}

void latency_measurements_csv(const struct latency_profile *p, FILE *out)
{
    static const struct table_column columns[] = {
        {"request_id", ALIGN_LEFT, NULL},     {"model", ALIGN_LEFT, NULL},
        {"outcome", ALIGN_LEFT, NULL},        {"http_status", ALIGN_RIGHT, NULL},
        {"connection", ALIGN_LEFT, NULL},     {"due_ms", ALIGN_RIGHT, NULL},
        {"latency_ms", ALIGN_RIGHT, NULL},    {"response_ms", ALIGN_RIGHT, NULL},
        {"ttft_ms", ALIGN_RIGHT, NULL},       {"ttft_corrected_ms", ALIGN_RIGHT, NULL},
        {"tpot_ms", ALIGN_RIGHT, NULL},       {"max_stall_ms", ALIGN_RIGHT, NULL},
        {"prompt_tokens", ALIGN_RIGHT, NULL}, {"completion_tokens", ALIGN_RIGHT, NULL},
        {"error", ALIGN_LEFT, NULL}};
    struct term term = {.out = out, .utf8 = true};
    struct table t;
    table_init(&t, columns, COUNT(columns));
    for (size_t i = 0; i < p->run.kept_count; i++)
        put_request(&t, p, &p->run.kept[i]);
    table_write(&t, TABLE_CSV, &term);
    table_fini(&t);
}
