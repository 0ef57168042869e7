/* self_test_found.h -- what a self-test found: filled by self_test.c and self_test_host.c, written by self_test_report.c. Private to these. */
#pragma once

#include "cli/self_test.h"
#include "measure/engine.h"
#include "measure/results.h"

/* ---- the loads: a table ---- */

#define SELF_TEST_HEADERS_MAX 3

struct self_test_load {
    const char *key, *heading;
    const char *headers[SELF_TEST_HEADERS_MAX]; /* what the simulated provider is told */
    bool stream;
    double users, rate; /* one of them */
    double seconds;
    bool judged; /* the errors count; under full load they are only told */
};

/* One percentile of one quantity. */
struct self_test_error {
    const char *metric, *heading, *quantile; /* "ttft", "TTFT", "p50" */
    double said_ns, truth_ns;
    double allowed_ns; /* as an error */
    bool holds;
};

#define SELF_TEST_ERRORS_MAX 6

struct self_test_part {
    const struct self_test_load *load;
    struct self_test_error errors[SELF_TEST_ERRORS_MAX];
    size_t error_count;
    struct engine_account account;
    uint64_t requests, failed;
    double seconds, requests_per_s;
    double
        cpu_us_per_request; /* with several threads: at most, as if all were as busy as the busiest */
    char failure[SAMPLE_ERROR_BYTES]; /* of one that failed */
};

#define SELF_TEST_LOADS 3

struct self_test_host {
    int processors;  /* that this process may use */
    double clock_ns; /* what a look at the clock costs */
    char clock_source[32];
    double foreign_share, stolen_share; /* of all processors, while the test ran; NaN: not known */
};

/* Before and after the test. */
struct self_test_ticks {
    double total, busy, stolen, own; /* seconds of processors; total 0: not known */
};
struct self_test_ticks self_test_ticks_now(void);
void self_test_look_at_host(struct self_test_host *h, const struct self_test_ticks *before,
                            const struct self_test_ticks *after);

#define SELF_TEST_ADVICE_MAX   8
#define SELF_TEST_ADVICE_BYTES 320

struct self_test_found {
    struct self_test_part parts[SELF_TEST_LOADS];
    size_t part_count;
    struct self_test_host host;
    bool user_stamps;
    double stamped_share;              /* of reads, whose bytes have the kernel's receive time */
    double error_p50_ns, error_p99_ns; /* the largest that is judged */
    bool good;
    /* Why not, and what to do; notes of what is not as it should be although all holds. */
    char advice[SELF_TEST_ADVICE_MAX][SELF_TEST_ADVICE_BYTES];
    size_t advice_count;
};

/* Lateness of sends that is still on time. */
#define SELF_TEST_LATE_P50_NS 1e5
#define SELF_TEST_LATE_P99_NS 2e6
#define SELF_TEST_RATE_SHARE  0.99

/* Sets `good` and `advice` from the rest. */
void self_test_judge(struct self_test_found *f);
void self_test_write_text(const struct self_test_found *f, enum color_mode color);
void self_test_write_json(const struct self_test_found *f);
