/* validity.h -- may this run be believed? Checks of the instrument by its own account, printed with every report.
 *
 * A failed check makes the result "client-limited" (exit status 1): what was measured is then partly the measuring. */
#pragma once

#include "measure/engine.h"
#include "measure/results.h"

enum check_verdict { CHECK_GOOD, CHECK_BAD, CHECK_NOT_ASKED };

struct validity_check {
    const char *key, *heading; /* "achieved_rate", "Achieved rate" */
    enum check_verdict verdict;
    char text[160]; /* "19,998/s of 20,000/s asked (99.99 %)" */
    double value, bound;
};

#define VALIDITY_CHECKS_MAX 12

struct validity {
    struct validity_check checks[VALIDITY_CHECKS_MAX];
    size_t count;
    bool client_limited;
    char summary[200]; /* one sentence for the report's foot */
    double error_ns;   /* the run's own measurement error: what a time in it may be off by */
};
/* Achieved over offered >= 99 %, schedule lag p99 against latency p50, generator's CPU < 80 %, Little's law within 5 %, receive lag, stalls of
 * the ticker, drift between the halves (told, never bad by itself), dropped arrivals. */
void validity_check(struct validity *v, const struct engine_account *a, const struct results *r);
