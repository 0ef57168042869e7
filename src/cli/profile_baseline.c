/* profile_baseline.c -- --baseline: a saved run read back and compared with this one (profile_latency.h, measure/regression.h).
 *
 * It is the requests that are compared, not the summaries: a test needs them all. They come from "measurements" of the JSON that --export wrote. */
#include <errno.h>
#include <math.h>
#include <sys/stat.h>

#include "base/json.h"
#include "cli/measure_export.h"
#include "cli/num_signed.h"
#include "cli/profile_latency.h"
#include "cli/sentences.h"

#define FILE_BYTES_MAX (1ull << 30)

const enum measured baseline_metrics[BASELINE_METRICS] = {MEASURED_TOTAL, MEASURED_TTFT,
                                                          MEASURED_TPOT};
static const char *const members[BASELINE_METRICS] = {"latency_ms", "ttft_ms", "tpot_ms"};

/* ---- reading ---- */

static bool read_file(struct arena *a, const char *path, struct str *out, struct err *e)
{
    struct stat st;
    FILE *in = fopen(path, "re");
    if (!in)
        return err_set(e, "--baseline: cannot read %s: %s", path, strerror(errno));
    bool good = fstat(fileno(in), &st) == 0 && S_ISREG(st.st_mode) &&
                (uint64_t)st.st_size <= FILE_BYTES_MAX;
    if (!good) {
        fclose(in);
        return err_set(e, "--baseline: %s is no file of at most 1 GiB", path);
    }
    char *text = arena_alloc(a, (size_t)st.st_size + 1);
    size_t n = fread(text, 1, (size_t)st.st_size, in);
    good = !ferror(in);
    fclose(in);
    *out = (struct str){text, n};
    return good || err_set(e, "--baseline: cannot read %s: %s", path, strerror(errno));
}

static bool is_text(const struct json_node *n, const char *text)
{
    return n && n->kind == JSON_STRING && str_eq(n->text, str_from(text));
}

static void take_measurement(struct baseline *b, const struct json_node *m)
{
    const struct json_node *warm_up = json_get(m, "warm_up");
    if (m->kind != JSON_OBJECT || (warm_up && warm_up->kind == JSON_TRUE) ||
        is_text(json_get(m, "outcome"), outcome_key(OUTCOME_CANCELLED)))
        return;
    b->requests++;
    if (!is_text(json_get(m, "outcome"), outcome_key(OUTCOME_OK))) {
        b->failed_then++;
        return;
    }
    for (size_t i = 0; i < BASELINE_METRICS; i++) {
        const struct json_node *value = json_get(m, members[i]);
        if (value && value->kind == JSON_NUMBER && value->number > 0 && isfinite(value->number))
            b->values[i][b->counts[i]++] = value->number;
    }
}

/* The settings as text, so that two can be compared and shown. */
static struct str settings_of(struct arena *a, const struct json_node *settings)
{
    struct buf text = {0};
    if (!settings || settings->kind != JSON_OBJECT)
        return STR_NONE;
    buf_init(&text, 0, NULL);
    for (const struct json_node *n = settings->child; n; n = n->next) {
        const char *word = n->kind == JSON_TRUE ? "true" : n->kind == JSON_FALSE ? "false" : "null";
        struct str value =
            n->kind == JSON_STRING || n->kind == JSON_NUMBER ? n->text : str_from(word);
        ENSURE(buf_printf(&text, "%.*s=%.*s\n", STR_ARG(n->key), STR_ARG(value)));
    }
    struct str out = arena_str(a, (struct str){text.data, text.len});
    buf_fini(&text);
    return out;
}

static bool read_measurements(struct baseline *b, struct str text, struct err *e)
{
    struct err why = {0};
    struct json_node *root = json_parse(&b->arena, text, &why);
    if (!root)
        return err_set(e, "--baseline: %s:%d:%d is not JSON: %s", b->path, why.line, why.column,
                       why.text);
    const struct json_node *schema = json_get(root, "schema");
    if (!schema || schema->kind != JSON_STRING)
        return err_set(e,
                       "--baseline: %s has no \"schema\": expected what weir profile latency "
                       "--export FILE.json wrote",
                       b->path);
    if (!is_text(schema, MEASURE_SCHEMA))
        return err_set(e, "--baseline: %s is of schema %.*s: expected %s", b->path,
                       STR_ARG(schema->text), MEASURE_SCHEMA);
    const struct json_node *list = json_get(root, "measurements");
    if (!list || list->kind != JSON_ARRAY)
        return err_set(e,
                       "--baseline: %s has no \"measurements\": expected what weir profile latency "
                       "--export FILE.json wrote",
                       b->path);
    for (size_t i = 0; i < BASELINE_METRICS; i++)
        b->values[i] = arena_alloc(&b->arena, (list->count + 1) * sizeof(double));
    for (const struct json_node *m = list->child; m; m = m->next)
        take_measurement(b, m);
    b->settings = settings_of(&b->arena, json_get(root, "settings"));
    return b->counts[0] >= REGRESSION_N_LEAST ||
           err_set(e,
                   "--baseline: %s has %zu requests that were answered well: at least %d are "
                   "needed to compare",
                   b->path, b->counts[0], REGRESSION_N_LEAST);
}

bool baseline_read(struct baseline *b, const char *path, double allowed, struct err *e)
{
    struct str text = STR_NONE;
    *b = (struct baseline){.path = path, .allowed = allowed};
    arena_init(&b->arena, NULL, 0);
    return read_file(&b->arena, path, &text, e) && read_measurements(b, text, e);
}

void baseline_fini(struct baseline *b)
{
    arena_fini(&b->arena);
}

/* ---- comparing ---- */

static double value_of(const struct sample *s, enum measured m)
{
    int64_t ns = m == MEASURED_TOTAL  ? sample_span_ns(s->sent_first_ns, s->end_ns)
                 : m == MEASURED_TTFT ? sample_span_ns(s->sent_first_ns, s->first_token_ns)
                                      : sample_span_ns(s->first_token_ns, s->last_token_ns);
    if (m == MEASURED_TPOT)
        return s->completion_tokens >= 2 ? (double)ns / 1e6 / (double)(s->completion_tokens - 1)
                                         : -1;
    return (double)ns / 1e6;
}

void baseline_compare(struct baseline *b, const struct profile_run *now, uint64_t seed)
{
    double *values = mem_alloc((now->kept_count + 1) * sizeof *values);
    for (size_t i = 0; i < BASELINE_METRICS; i++) {
        size_t n = 0;
        for (size_t k = 0; k < now->kept_count; k++) {
            double value = now->kept[k].outcome == OUTCOME_OK
                               ? value_of(&now->kept[k], baseline_metrics[i])
                               : -1;
            if (value > 0)
                values[n++] = value;
        }
        regression_measure(&b->found[i], b->values[i], b->counts[i], values, n, 0, seed);
    }
    mem_free(values);
    b->now_requests =
        results_attempts(&now->results->total) - now->results->total.outcomes[OUTCOME_CANCELLED];
    b->now_failed = results_failures(&now->results->total);
    b->failures_p = fisher_more(b->failed_then, b->requests, b->now_failed, b->now_requests);
    b->failed = regression_judge(b->found, BASELINE_METRICS, b->allowed);
    if (b->failures_p < REGRESSION_P)
        b->failed_more = b->failed = true;
}

/* ---- saying ---- */

static const struct {
    const char *key, *text;
    enum term_style style;
} verdicts[] = {
    [REGRESSION_TOO_FEW] = {"too_few", "too few to tell", STYLE_WARN},
    [REGRESSION_NONE] = {"none", "no change shown", STYLE_NONE},
    [REGRESSION_SMALLER] = {"within", "slower, within what is allowed", STYLE_WARN},
    [REGRESSION_BETTER] = {"better", "better", STYLE_GOOD},
    [REGRESSION_FAILED] = {"regression", "REGRESSION", STYLE_BAD},
    [REGRESSION_UNPROVEN] = {"unproven", "may be chance", STYLE_WARN},
};

static bool is_empty(const struct regression *r)
{
    return r->n_then == 0 && r->n_now == 0;
}

static struct num change(double ratio)
{
    return num_signed(round((ratio - 1) * 1000) / 1000, num_pct);
}

static void put_row(struct table *t, enum measured m, const struct regression *r)
{
    char range[100];
    table_row(t);
    table_text(t, STYLE_NONE, str_from(measured_info(m)->heading));
    table_number(t, STYLE_NONE, measured_show(m, r->median_then * 1e6), r->median_then);
    table_number(t, STYLE_NONE, measured_show(m, r->median_now * 1e6), r->median_now);
    table_number(t, STYLE_NONE, change(r->ratio), r->ratio - 1);
    snprintf(range, sizeof range, "%s to %s", change(r->low).text, change(r->high).text);
    table_text(t, STYLE_DIM, str_from(isnan(r->low) ? "" : range));
    if (isnan(r->p))
        table_text(t, STYLE_NONE, STR(""));
    else if (r->p < 0.001)
        table_text_raw(t, STYLE_NONE, STR("< 0.001"), STR("0.001"));
    else
        table_printf(t, STYLE_NONE, "%.3f", r->p);
    table_text(t, verdicts[r->verdict].style, str_from(verdicts[r->verdict].text));
}

/* Names of settings whose values differ, from lines "name=value". */
static void name_differences(struct sentences *s, const struct baseline *b, struct str now)
{
    char names[300] = "";
    size_t n = 0;
    for (struct str then = b->settings, line; then.n;) {
        line = str_cut(&then, '\n');
        struct str rest = now, other = STR_NONE, key = line;
        key = str_cut(&key, '=');
        while (rest.n && !str_eq(other, line))
            other = str_cut(&rest, '\n');
        if (!str_eq(other, line) && n < sizeof names)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%.*s", n ? ", " : "",
                                  STR_ARG(key));
    }
    if (n)
        sentences_add(s, "The saved run was made with other settings: %s.", names);
}

static void say(const struct baseline *b, struct str settings_now, enum table_format format,
                const struct term *t)
{
    struct sentences s;
    sentences_init(&s, "");
    for (size_t i = 0; i < BASELINE_METRICS; i++) {
        const struct regression *r = &b->found[i];
        const char *name = measured_info(baseline_metrics[i])->heading;
        if (r->verdict == REGRESSION_FAILED)
            sentences_add(&s, "%s got worse by %s, more than the %s allowed, and it is no chance.",
                          name, num_pct(r->ratio - 1).text, num_pct(b->allowed).text);
        if (r->verdict == REGRESSION_UNPROVEN && r->spread > 0)
            sentences_add(&s,
                          "%s is %s slower here, which may be chance: to be sure of a change by %s "
                          "takes about %.0f requests a run.",
                          name, num_pct(r->ratio - 1).text, num_pct(MAX(b->allowed, 0.01)).text,
                          regression_needs(r->spread, MAX(b->allowed, 0.01)));
    }
    if (b->failed_more)
        sentences_add(
            &s, "More requests failed than then: %llu of %llu, then %llu of %llu (p = %.3f).",
            (unsigned long long)b->now_failed, (unsigned long long)b->now_requests,
            (unsigned long long)b->failed_then, (unsigned long long)b->requests, b->failures_p);
    name_differences(&s, b, settings_now);
    sentences_add(
        &s,
        "A regression is a median worse by more than %s whose change is real: p of the "
        "rank test (Mann-Whitney, Holm) below 0.05 and the whole 95 %% bootstrap interval "
        "above 0. A machine that changed between the runs looks the same.",
        num_pct(b->allowed).text);
    sentences_end(&s, format, t);
}

void baseline_write(const struct baseline *b, struct str settings_now, enum table_format format,
                    const struct term *term)
{
    static const struct table_column columns[] = {
        {"Median of", ALIGN_LEFT, "metric"},  {"Then", ALIGN_RIGHT, "then_ms"},
        {"Now", ALIGN_RIGHT, "now_ms"},       {"Change", ALIGN_RIGHT, "change"},
        {"95 % interval", ALIGN_RIGHT, NULL}, {"p", ALIGN_RIGHT, "p"},
        {"Verdict", ALIGN_LEFT, "verdict"}};
    struct table t;
    if (format == TABLE_CSV)
        return;
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "Against %s", b->path);
    for (size_t i = 0; i < BASELINE_METRICS; i++)
        if (!is_empty(&b->found[i]))
            put_row(&t, baseline_metrics[i], &b->found[i]);
    fputc('\n', term->out);
    table_write(&t, format, term);
    table_fini(&t);
    say(b, settings_now, format, term);
}

size_t baseline_cases(const struct baseline *b, struct arena *a, struct junit_case *out)
{
    size_t n = 0;
    for (size_t i = 0; i < BASELINE_METRICS; i++) {
        const struct regression *r = &b->found[i];
        enum measured m = baseline_metrics[i];
        if (is_empty(r))
            continue;
        char then[40];
        snprintf(then, sizeof then, "%s", measured_show(m, r->median_then * 1e6).text);
        struct str text = arena_printf(a, "median %s then, %s now (%s): %s", then,
                                       measured_show(m, r->median_now * 1e6).text,
                                       change(r->ratio).text, verdicts[r->verdict].text);
        out[n++] = (struct junit_case){
            .name = arena_printf(a, "%s against %s", measured_info(m)->heading, b->path),
            .class_name = STR("regression"),
            .failure = r->verdict == REGRESSION_FAILED ? text : STR_NONE,
            .output = text};
    }
    struct str text =
        arena_printf(a, "%llu of %llu failed then, %llu of %llu now",
                     (unsigned long long)b->failed_then, (unsigned long long)b->requests,
                     (unsigned long long)b->now_failed, (unsigned long long)b->now_requests);
    out[n++] = (struct junit_case){.name = arena_printf(a, "Failures against %s", b->path),
                                   .class_name = STR("regression"),
                                   .failure = b->failed_more ? text : STR_NONE,
                                   .output = text};
    return n;
}

void baseline_json(const struct baseline *b, struct json_out *j)
{
    json_nest(j, "baseline", "{");
    json_text(j, "file", str_from(b->path));
    json_number(j, "max_regression", b->allowed, "%.9g");
    json_bool(j, "failed", b->failed);
    json_bool(j, "more_failures", b->failed_more);
    json_number(j, "failures_p", b->failures_p, "%.6g");
    json_nest(j, "metrics", "{");
    for (size_t i = 0; i < BASELINE_METRICS; i++) {
        const struct regression *r = &b->found[i];
        if (is_empty(r))
            continue;
        json_nest(j, measured_info(baseline_metrics[i])->key, "{");
        json_text(j, "verdict", str_from(verdicts[r->verdict].key));
        json_bool(j, "interval_above_bound", r->certain);
        json_count(j, "n_then", r->n_then);
        json_count(j, "n_now", r->n_now);
        json_number(j, "median_then_ms", r->median_then, "%.9g");
        json_number(j, "median_now_ms", r->median_now, "%.9g");
        json_number(j, "ratio", r->ratio, "%.9g");
        json_nest(j, "ratio_ci95", "[");
        json_number(j, NULL, r->low, "%.9g");
        json_number(j, NULL, r->high, "%.9g");
        json_unnest(j, "]");
        json_number(j, "p", r->p, "%.6g");
        json_number(j, "probability_worse", r->worse, "%.6g");
        json_unnest(j, "}");
    }
    json_unnest(j, "}");
    json_unnest(j, "}");
}
