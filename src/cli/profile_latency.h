/* profile_latency.h -- the parts of `weir profile latency` among themselves (profile.h lists the files). */
#pragma once

#include "cli/profile.h"
#include "measure/regression.h"

/* ---- a saved run, and what became of it ---- */

enum { BASELINE_METRICS = 3 }; /* total, TTFT, TPOT */
extern const enum measured baseline_metrics[BASELINE_METRICS];

struct baseline {
    const char *path;
    double allowed;                   /* share */
    double *values[BASELINE_METRICS]; /* ms, in the order of measuring */
    size_t counts[BASELINE_METRICS];
    uint64_t requests, failed_then;
    struct str settings; /* a line each: "name=value" */
    struct arena arena;

    /* After baseline_compare. */
    struct regression found[BASELINE_METRICS];
    uint64_t now_requests, now_failed;
    double failures_p; /* that failures are more only by chance */
    bool failed_more, failed;
};
/* Reads what --export wrote, before anything is measured. False with a sentence that names the file and what is wrong with it. */
MUST_USE bool baseline_read(struct baseline *b, const char *path, double allowed, struct err *e);
void baseline_compare(struct baseline *b, const struct profile_run *now, uint64_t seed);
void baseline_write(const struct baseline *b, struct str settings_now, enum table_format format,
                    const struct term *t);
/* For CI: a case a metric, and one of failures; at most BASELINE_METRICS + 1 of them. Texts are of the arena. Returns how many. */
struct junit_case;
size_t baseline_cases(const struct baseline *b, struct arena *a, struct junit_case *out);
void baseline_json(const struct baseline *b, struct json_out *j);
void baseline_fini(struct baseline *b);

/* ---- what a gateway adds: pairs of blocks, through it and around it ---- */

enum { OVERHEAD_METRICS = 2 }; /* total, TTFT */

struct overhead {
    size_t pairs, block;
    uint64_t failed;
    /* What became of the requests through the gateway, and of those around it. */
    struct overhead_side {
        struct str url;
        uint64_t outcomes[OUTCOME_COUNT];
        char error[SAMPLE_ERROR_BYTES]; /* of the first that failed */
    } through, direct;
    struct overhead_metric {
        size_t count; /* pairs of which both blocks have it */
        double median_ns, low_ns,
            high_ns; /* of the paired differences; low and high NaN with fewer than 6 */
        double through_ns, direct_ns; /* medians of the blocks' medians */
    } metrics[OVERHEAD_METRICS];
};
/* `through` and `direct` differ in target and model only. Ends after the first pair where one of the two answers nothing. False with a sentence: it
 * could not be started. */
MUST_USE bool overhead_measure(struct overhead *o, const struct profile_run_options *through,
                               const struct profile_run_options *direct, size_t pairs, size_t block,
                               struct err *e);
void overhead_write(const struct overhead *o, enum table_format format, const struct term *t);
void overhead_json(const struct overhead *o, struct json_out *j);
/* As profile_status: a problem where one of the two answered nothing, or no pair has both. Says why on stderr. */
int overhead_status(const char *command, const struct overhead *o);

/* ---- the report ---- */

struct latency_profile {
    struct measure_report report;
    struct str model;
    uint64_t iterations, warmup, concurrency, cold_asked;
    bool stream;
    struct str
        settings; /* what has to be equal for two runs to be compared, a line each: "name=value" */
    struct profile_run run, cold;
    bool has_cold;
    struct baseline *baseline; /* NULL: none */
    struct overhead *overhead; /* NULL: none */
};
void latency_report(const struct latency_profile *p, enum table_format format,
                    const struct term *t);
void latency_json(const struct latency_profile *p, FILE *out);
/* A case a metric compared with --baseline, and one a check of the instrument. */
void latency_junit(const struct latency_profile *p, FILE *out);
/* A row a request, for spreadsheets. */
void latency_measurements_csv(const struct latency_profile *p, FILE *out);
