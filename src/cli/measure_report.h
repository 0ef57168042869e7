/* measure_report.h -- what a measuring run found, as tables and as JSON: one way for weir profile, weir load and weir compare.
 *
 * Everything is read from sealed results (measure/results.h), so all parts of a report agree. A percentile that the sample cannot carry is
 * never a number: "n/a" in a table, with a note that says how many would do; null in JSON, with `need`. Intervals are of 95 %.
 * Texts of strangers go through the tables and json_out, which make them safe. Nothing is kept: all pointers are borrowed for the call.
 * [one thread] */
#pragma once

#include "cli/json_out.h"
#include "cli/table.h"
#include "measure/validity.h"

#define MEASURE_SCHEMA "weir.measure/1" /* of every JSON document written here */

struct measure_report {
    const char *command; /* "profile latency" */
    struct str url;      /* as shown: without credentials */
    const struct str *models,
        *stages; /* names, results->model_count and ->stage_count of them; stages may be NULL */
    const struct stage *plan;      /* of each stage; NULL: not known */
    const struct results *results; /* sealed */
    const struct engine_account *account;
    const struct validity *validity; /* NULL: nothing is said of it */
    uint64_t seed;
    bool cut_short; /* ended by Ctrl-C */
};

/* ---- numbers ---- */

/* A value in a metric's unit (results.h: ns, 1/s, tokens, USD) for people: "12.3 ms", "45/s". */
struct num measured_show(enum measured m, double value);
/* "12.3–14.1 ms"; a dash where there is no interval. */
struct num measured_show_range(enum measured m, double low, double high);
/* The same value as machines get it, by the unit at its name's end: ms for times ("_ms"), else as it is. */
double measured_raw(enum measured m, double value);
/* "_ms", "_per_s", "_tokens", "_usd". */
const char *measured_suffix(enum measured m);
/* The mean with its interval, of which nothing is below 0: none of the metrics can be. */
struct estimate measured_mean(const struct spread *s);
/* Seconds from the first request's due time to the last one's end; NaN where there was none. */
double measure_window_s(const struct results_group *g);
/* Requests answered well a second, tokens' arrivals a second, good requests a second; NaN without a window. */
double measure_requests_per_s(const struct results_group *g);
double measure_tokens_per_s(const struct results_group *g);
double measure_goodput_per_s(const struct results_group *g);
/* Which of the metrics have values, in their order; NULL: of those that matter to most readers. Returns how many. */
size_t measure_metrics_shown(const struct results_group *g, const enum measured *metrics,
                             size_t count, enum measured out[MEASURED_COUNT]);

/* ---- tables; each begins with a blank line, and is left out where it has nothing to show ---- */

/* A row a metric that has values, two lines each: the value, and its interval below. `metrics` (count of them) says which and in what order;
 * NULL: all that matter to most readers. On at least 120 columns, and in Markdown, CSV and HTML, with min and max. */
void measure_write_times(const char *title, const struct results_group *g,
                         const enum measured *metrics, size_t count, enum table_format format,
                         const struct term *t);
/* Requests, failures, rates, tokens, connections, goodput, cost: a row a figure. */
void measure_write_rates(const char *title, const struct measure_report *r,
                         const struct results_group *g, enum table_format format,
                         const struct term *t);
/* A row a stage or a model: requests, failed, rate, p50/p95/p99 of latency and of TTFT, tokens/s, goodput where objectives were given. Nothing
 * when there is one only. */
void measure_write_stages(const struct measure_report *r, enum table_format format,
                          const struct term *t);
void measure_write_models(const struct measure_report *r, enum table_format format,
                          const struct term *t);
/* How requests failed: outcome, how often, in which words, an example's id. */
void measure_write_failures(const struct measure_report *r, enum table_format format,
                            const struct term *t);
/* The checks of the instrument, a row each, and the verdict in a sentence. `brief`: the sentence, and rows of failed checks only. */
void measure_write_validity(const struct measure_report *r, bool brief, enum table_format format,
                            const struct term *t);
/* Footer: what each metric shown means (its formula), the rule of percentiles and intervals, where token counts come from, the run's own
 * measurement error, the seed. */
void measure_write_definitions(const struct measure_report *r, const struct results_group *g,
                               const enum measured *metrics, size_t count, enum table_format format,
                               const struct term *t);
/* A metric's distribution: a bar a band, logarithmic where the greatest is more than ten times the least, with marks of p50 to p99, where
 * the sample carries them. CSV has the bands without bars. */
void measure_write_histogram(const char *title, const struct results_group *g, enum measured m,
                             enum table_format format, const struct term *t);

/* The metrics that measure_write_times shows for NULL. */
extern const enum measured measure_main_metrics[];
extern const size_t measure_main_metric_count;

/* ---- JSON: members of the object that is open in `j` ---- */

/* schema, weir (version), command, url, started (RFC 3339), seed, cut_short, models, rule (of percentiles), intervals. */
void measure_json_head(struct json_out *j, const struct measure_report *r);
/* "summary": {requests, ok, failed, ..., mean_latency_ms, median_latency_ms, p50_latency_ms, p90_, p95_, p99_latency_ms, ...; "metrics": {"ttft":
 * {count, n_eff, mean_ms, mean_ci95_ms: [low, high], stddev_ms, p50_ms, p50_ci95_ms, ..., refused: {"p99": 368}}}}. */
void measure_json_group(struct json_out *j, const char *name, const struct measure_report *r,
                        const struct results_group *g);
/* "stages": [...], "models_measured": [...], with names and the members of measure_json_group. Nothing when there is one only. */
void measure_json_groups(struct json_out *j, const struct measure_report *r);
/* "seconds": [{at_s, ended, failed, chunks, in_flight, latency_p50_ms, ttft_p50_ms}]. */
void measure_json_seconds(struct json_out *j, const struct measure_report *r);
void measure_json_failures(struct json_out *j, const struct measure_report *r);
/* "validity": {client_limited, summary, measurement_error_ms, checks: []}; "account": {...}. */
void measure_json_validity(struct json_out *j, const struct measure_report *r);
/* "definitions": {"ttft": "first token's arrival - first byte sent", ...}. */
void measure_json_definitions(struct json_out *j);
/* One request, as an element of "measurements": id, model, outcome, http_status, when it was due (ms after `origin_ns`), latency_ms, ttft_ms, ... */
void measure_json_sample(struct json_out *j, const struct sample *s, struct str model,
                         uint64_t origin_ns);

/* ---- files ---- */

enum measure_file { MEASURE_FILE_JSON, MEASURE_FILE_CSV, MEASURE_FILE_MARKDOWN, MEASURE_FILE_HTML };
/* By the extension: .json .csv .md .markdown .html .htm; "-" and what has none is JSON. False with a sentence. */
MUST_USE bool measure_file_kind(const char *path, enum measure_file *kind, struct err *e);
/* A stream that collects what is to be in the file; measure_file_end puts it there as a whole (file_write.h; "-": standard output; devices and
 * pipes are written into). False: `e` says why. Both always free. */
struct measure_file_writer {
    FILE *out;
    char *text;
    size_t bytes;
};
void measure_file_begin(struct measure_file_writer *w);
MUST_USE bool measure_file_end(struct measure_file_writer *w, const char *path, struct err *e);
