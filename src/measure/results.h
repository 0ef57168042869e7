/* results.h -- many samples as few numbers: the metrics of a run, by stage and model.
 *
 * One a thread takes samples (results_take, from the engine's callback); merged when the run is over. Metrics are the table below; each has a
 * histogram, and up to RESULTS_EXACT_MAX values kept exactly, so that percentiles are nearest rank of the values and not of buckets; beyond, of the
 * histogram's (0.05 %), and results_rule says which. */
#pragma once

#include "measure/hdr.h"
#include "measure/sample.h"

#define RESULTS_EXACT_MAX  1000000u
#define RESULTS_MODELS_MAX 64
#define RESULTS_STAGES_MAX 64

/* M(NAME, "key", "heading", unit, formula): measure/metrics_measured.def. */
enum measured {
#define M(name, key, heading, unit, formula) MEASURED_##name,
#include "measure/measured.def"
#undef M
    MEASURED_COUNT
};
enum measured_unit { MEASURED_NS, MEASURED_PER_S, MEASURED_TOKENS, MEASURED_USD };
struct measured_info {
    const char *key, *heading, *formula; /* "ttft", "TTFT", "first token - first byte sent" */
    enum measured_unit unit;
};
const struct measured_info *measured_info(enum measured m);

struct spread {
    struct hdr hdr;   /* ns; rates in 1/1000 a second; USD in 1e-12 */
    uint64_t *values; /* exact, unsorted until results_seal */
    size_t value_count, value_room;
    bool overflowed; /* more than RESULTS_EXACT_MAX: the histogram's are used */
    double lag_product_sum;
    uint64_t previous, pair_count; /* lag-1 autocorrelation, in the order of ending */
};

struct results_group {
    uint64_t outcomes[OUTCOME_COUNT];
    uint64_t requests; /* all but dropped ones */
    uint64_t prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens;
    uint64_t tokens_in_window; /* token events that arrived while stages were measured */
    uint64_t stalls;           /* gaps > max(3 x median gap, 200 ms) */
    uint64_t stamped, streams, reused;
    uint64_t body_bytes;
    double cost_usd, wasted_usd;
    uint64_t first_ns, last_ns; /* due of the first, end of the last */
    uint64_t good;              /* met every objective */
    struct spread spreads[MEASURED_COUNT];
};

/* Objectives, for goodput: at most so long; 0: not asked. */
struct objectives {
    uint64_t ttft_ns, e2e_ns, tpot_ns, itl_ns, total_ns;
};
/* "ttft=500ms,e2e=5s". */
MUST_USE bool objectives_parse(struct str text, struct objectives *out, struct err *e);
bool objectives_any(const struct objectives *o);

struct results {
    uint32_t stage_count, model_count;
    struct objectives objectives;
    struct results_group total, warm_up;
    struct results_group *by_stage; /* [stage] */
    struct results_group *by_model; /* [model] */
    /* A second each, from the first due time: for plots and "drift". */
    struct results_second {
        uint64_t ended, failed, chunks;
        struct hdr latency, ttft;
        uint32_t in_flight;
    } * seconds;
    size_t second_count, second_room;
    uint64_t origin_ns;
    /* Failures in words: up to 16 distinct ones, with how often. */
    struct results_failure {
        enum outcome outcome;
        uint64_t count;
        char error[SAMPLE_ERROR_BYTES];
        char request_id[SAMPLE_ID_BYTES];
    } failures[16];
    size_t failure_count;
};

struct results *results_new(uint32_t stages, uint32_t models, const struct objectives *o,
                            uint64_t origin_ns);
void results_free(struct results *r);
void results_take(struct results *r, const struct sample *s);
void results_merge(struct results *into, struct results *from);
/* Sorts what is kept exactly: quantiles then cost nothing. After the last take and merge. */
void results_seal(struct results *r);

/* ---- reading, after results_seal ---- */
struct estimate {            /* with a 95 % interval */
    double value, low, high; /* NaN: cannot be had */
    bool refused; /* the sample is too small for this percentile: `need` samples would do */
    uint64_t need;
};
/* In the metric's unit as doubles: ns, 1/s, USD. Nearest rank; interval from order statistics (binomial), widened by autocorrelation. */
struct estimate spread_quantile(const struct spread *s, double quantile);
struct estimate spread_mean(const struct spread *s); /* Student's t over n_eff */
double spread_stddev(const struct spread *s);
double spread_mad(const struct spread *s);
uint64_t spread_count(const struct spread *s);
double spread_n_eff(const struct spread *s);
uint64_t spread_outliers(const struct spread *s); /* beyond Q3 + 3 IQR */
/* Failure-aware: failures enter as infinity. */
struct estimate spread_quantile_failing(const struct spread *s, double quantile, uint64_t failures);
/* "exact values, nearest rank" or "histogram, within 0.05 %". */
const char *spread_rule(const struct spread *s);
/* Smallest n that a two-sided 95 % interval of this percentile needs (p50 6, p90 36, p95 72, p99 368, p99.9 3688). */
uint64_t quantile_needs(double quantile);
