/* results.h -- many samples as few numbers: the metrics of a run, by stage and model.
 *
 * One a thread takes samples (results_take, from the engine's callback); merged when the run is over. Metrics are those of measured.def, of requests
 * that were answered well (OK); the schedule lag is that of all that were sent. What is undefined for a request (no token, one token) is absent,
 * never 0. Each metric has a histogram, and in `total` up to RESULTS_EXACT_MAX values are kept, so that percentiles are nearest rank of the values
 * and not of buckets; beyond, and by stage and model, they are the histogram's (0.05 %). spread_rule says which. A percentile is refused where there
 * are fewer values than quantile_needs; where there are enough, but they are too much alike in time, it has a value and no interval.
 *
 * Memory, a thread: `total` at most 8 MB a metric that occurs (a plain request has 6, a stream 17), the pooled gaps included; groups about 50 KiB a
 * metric that occurs in them; a slot of time about 4 KiB, and of these at most RESULTS_SLOTS_MAX. */
#pragma once

#include "measure/sample.h"
#include "measure/spread.h"
#include "observe/histogram.h"

#define RESULTS_EXACT_MAX    SPREAD_EXACT_MAX
#define RESULTS_MODELS_MAX   64
#define RESULTS_STAGES_MAX   64
#define RESULTS_SLOTS_MAX    1800
#define RESULTS_FAILURES_MAX 16

/* M(NAME, "key", "heading", unit, formula): measure/measured.def. */
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

struct results_group {
    uint64_t outcomes[OUTCOME_COUNT];
    uint64_t requests; /* all but dropped ones */
    uint64_t prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens;
    uint64_t
        tokens_told; /* requests whose number of tokens the server told; of the others it is the number of chunks */
    uint64_t
        tokens_in_window; /* of answers, whose arrival lies in the window; where a chunk is several tokens, each counts as many */
    uint64_t stalls;      /* gaps > max(3 x median gap of the request, 200 ms) */
    uint64_t stamped, streams, reused;
    uint64_t body_bytes;
    double cost_usd, wasted_usd;
    double slots_ns;            /* sum of end - start of all that were sent: for Little's law */
    uint64_t first_ns, last_ns; /* due of the first, end of the last */
    uint64_t good;              /* OK, and met every objective */
    struct spread spreads[MEASURED_COUNT];
};
/* Requests that were due, the dropped ones among them: goodput's denominator. */
uint64_t results_attempts(const struct results_group *g);
/* Attempts that ended otherwise than OK; those that we cancelled ourselves are none. */
uint64_t results_failures(const struct results_group *g);

/* Objectives, for goodput: at most so long; 0: not asked. An answer that is no stream comes at its end: that is its first token and its last one.
 * TPOT of a single token, and gaps where there is none, are met. */
struct objectives {
    uint64_t ttft_ns, e2e_ns, tpot_ns;
    uint64_t itl_ns;      /* every gap between two chunks */
    uint64_t total_ns;    /* end of the answer - first byte sent */
    uint64_t response_ns; /* end of the answer - due */
};
/* "ttft=500ms,e2e=5s". Numbers without a unit are ms. */
MUST_USE bool objectives_parse(struct str text, struct objectives *out, struct err *e);
bool objectives_any(const struct objectives *o);

struct results {
    uint32_t stage_count, model_count;
    struct objectives objectives;
    struct results_group total, warm_up;
    /* Histograms only; where there is one stage (one model), filled by results_seal. */
    struct results_group *by_stage; /* [stage] */
    struct results_group *by_model; /* [model] */
    /* The measurement window, for tokens_in_window and in_flight_ns; CLOCK_MONOTONIC. results_new: from origin_ns, without an end, and then the
     * warm-up has no part in it. May be set before the first sample is taken, where stages have a given length. */
    uint64_t window_from_ns, window_to_ns;
    double
        in_flight_ns; /* time in flight within the window, of all requests, failures included: Little's L is this / window */
    /* Slots of time of equal length from origin_ns, for plots and drift: a second each, until there would be more than RESULTS_SLOTS_MAX: then two
     * become one, and so on. Of all samples, warm-up included. */
    struct results_second {
        uint64_t begun, ended, failed,
            chunks; /* begun: sent; failed: ended otherwise than OK, by our own cancelling aside */
        struct histogram latency, response,
            ttft;           /* ns, of those that ended well in this slot; response: from due */
        uint32_t in_flight; /* at the slot's end; after results_seal */
    } * seconds;
    size_t second_count, second_room;
    uint64_t second_ns; /* length of a slot */
    uint64_t origin_ns;
    /* Failures in words: the first distinct ones, with how often, most frequent first after results_seal. */
    struct results_failure {
        enum outcome outcome;
        uint64_t count;
        char error[SAMPLE_ERROR_BYTES];
        char request_id[SAMPLE_ID_BYTES]; /* of the first */
    } failures[RESULTS_FAILURES_MAX];
    size_t failure_count;
    uint64_t failures_untold; /* those with yet other sentences */
};

/* `o` may be NULL. Never NULL. */
struct results *results_new(uint32_t stages, uint32_t models, const struct objectives *o,
                            uint64_t origin_ns);
void results_free(struct results *r); /* NULL is fine */
/* About 0.1 us for a plain request of one stage and model, 0.2 us of several, and 25 to 50 ns more for each gap between chunks. */
void results_take(struct results *r, const struct sample *s);
/* `from` is of the same stages, models and origin; it stays as it was. */
void results_merge(struct results *into, const struct results *from);
/* Sorts what is kept exactly, and fills what needs all. After the last take and merge. */
void results_seal(struct results *r);
