/* limits_asked.h -- what a run must keep to: the thresholds of `weir load`, in words and in k6's.
 *
 *   latency p95 < 500ms                  a metric (measured.def's keys), what of it, a bound
 *   p(95)<500                            k6's: of latency, in ms. avg, med, min, max, p(99.9) work, too
 *   latency_p95 < 500ms, p95 < 500ms     as `weir analyze --fail-if` writes them
 *   errors < 1%, rate<0.01               failed of the requests sent, but those that we ended (k6's rate of http_req_failed)
 *   errors count < 10                    requests rate > 100 (a second); requests count >= 1000
 *   dropped < 0.1%, dropped count = 0    arrivals that were due and never sent, of all that were due
 *   goodput > 95%, goodput rate > 20     requests that met every objective, of all tried; a second
 *   achieved > 99%                       requests sent of requests asked, in open loop
 *   ttft p95 [model=gpt-4o] < 1s         of one model or one stage; also {model:gpt-4o}
 *   http_req_duration: p(95)<500         k6's names of metrics, with a colon or without
 *   errors < 10% abort after 10s         ends the run early, when that much of it is over
 *
 * Commas and `and` separate several: all must hold. Bounds have a unit (500ms, 2s, 1%, $0.05); without one a time is in ms. A
 * threshold that has nothing to be measured by, or too few samples for its percentile, fails with a sentence. [one thread] */
#pragma once

#include "measure/results.h"

#define LIMITS_ASKED_MAX      64
#define LIMIT_TEXT_BYTES      160
#define LIMIT_SCOPE_BYTES     128
#define LIMIT_ABORT_CHECK_MIN 20 /* no run is ended early for fewer requests in scope */

enum limit_of {
    LIMIT_METRIC, /* a spread of measured.def */
    LIMIT_ERRORS,
    LIMIT_REQUESTS,
    LIMIT_DROPPED,
    LIMIT_GOODPUT,
    LIMIT_ACHIEVED,
    LIMIT_TOKENS,
};
enum limit_stat {
    LIMIT_QUANTILE, /* with `quantile`; min and max are 0 and 1 */
    LIMIT_MEAN,
    LIMIT_STDDEV,
    LIMIT_COUNT,
    LIMIT_SHARE, /* 0 to 1 */
    LIMIT_RATE,  /* a second */
};
enum limit_sign {
    LIMIT_LESS,
    LIMIT_LESS_EQUAL,
    LIMIT_MORE,
    LIMIT_MORE_EQUAL,
    LIMIT_EQUAL,
    LIMIT_NOT_EQUAL
};
enum limit_scope { LIMIT_ALL, LIMIT_MODEL, LIMIT_STAGE };
enum limit_verdict { LIMIT_HELD, LIMIT_FAILED, LIMIT_REFUSED };

struct limit_asked {
    char text[LIMIT_TEXT_BYTES]; /* as written, blanks put in order */
    enum limit_of of;
    enum measured metric; /* LIMIT_METRIC */
    enum limit_stat stat;
    double quantile;
    enum limit_sign sign;
    double bound; /* ms for times; a share; 1/s; USD; a count */
    enum limit_scope scope;
    char name[LIMIT_SCOPE_BYTES]; /* of the model or stage */
    uint32_t index;               /* ... which limits_asked_bind finds */
    bool abort;
    uint64_t abort_after_ns;
    /* As measured by limits_asked_check: */
    enum limit_verdict verdict;
    double value;  /* in the bound's unit; NaN: there is none */
    char why[200]; /* a sentence; "" when it held */
};

struct limits_asked {
    struct limit_asked all[LIMITS_ASKED_MAX];
    size_t count;
    bool aborted; /* one of them ended the run */
};

/* Reads one or several and adds them. On a mistake nothing is added: the sentence has the column and a line that shows it. */
MUST_USE bool limits_asked_add(struct limits_asked *l, struct str text, struct err *e);
/* Finds the models and stages that are named. False: one is not there, with the nearest. */
MUST_USE bool limits_asked_bind(struct limits_asked *l, const struct str *models,
                                size_t model_count, const struct str *stages, size_t stage_count,
                                struct err *e);
/* Goodput asked for without objectives, achieved rate in a closed loop: false with a sentence that says what is missing. */
MUST_USE bool limits_asked_fit(const struct limits_asked *l, bool has_objectives, bool open_loop,
                               struct err *e);

/* What limits measure. Sealed results, of a run that is over. */
struct limits_input {
    const struct results *results;
    uint64_t offered, sent, dropped; /* of measured stages */
    double seconds;                  /* that they lasted: for rates */
};
/* Measures all. True: all held. */
bool limits_asked_check(struct limits_asked *l, const struct limits_input *in);
/* A value as the limit's bound is shown: "500 ms", "1 %", "20/s". */
void limit_asked_show(const struct limit_asked *l, double value, char *out, size_t out_bytes);

/* While the run goes on: the first of those that abort that is past its bound, or NULL. `results` need not be sealed; percentiles are the
 * histogram's, and none is looked at before the sample can carry it, or before LIMIT_ABORT_CHECK_MIN requests. */
const struct limit_asked *limits_asked_abort(struct limits_asked *l, const struct limits_input *in,
                                             uint64_t elapsed_ns);
