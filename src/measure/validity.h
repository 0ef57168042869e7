/* validity.h -- may this run be believed? Checks of the instrument by its own account, printed with every report.
 *
 * A failed check makes the result "client-limited" (exit status 1): what was measured is then partly the measuring. Each says what was found, and when
 * it failed what to do. What cannot be asked of a run (a rate in closed loop, kernel stamps on a Unix socket) is NOT_ASKED, with the reason.
 *
 *   key             fails when
 *   dropped         any arrival was due and never sent
 *   achieved_rate   open loop: sent < 99 % of offered
 *   schedule_lag    open loop: p99 of what was sent later than due > a tenth of the latency's median, and > 1 ms
 *   client_cpu      the busiest thread used 80 % of a core or more, spinning left out, in a run of 50 ms at least
 *   littles_law     |L - lambda (W + lag)| / L >= 5 %, and > 50 us a request: L requests in flight by the engine's clock, lambda W by the samples', over
 *                   the same window of half a second at least, lag the mean time that answers waited to be read
 *   receive_lag     p99 > a tenth of the latency's median, and > 1 ms, where some reads had no kernel stamp; or the mean is, in closed loop, where the
 *                   next request waits for it and fewer are with the server than was asked for
 *   stalls          the loop did not come round for more than 100 ms (20 ms where times are not the kernel's) and a tenth of the latency's median
 *   drift           never: the latency's medians in the two halves are told, and whether they differ by 5 % and by more than chance (Mann-Whitney) */
#pragma once

#include "measure/engine.h"
#include "measure/results.h"

enum check_verdict { CHECK_GOOD, CHECK_BAD, CHECK_NOT_ASKED };

struct validity_check {
    const char *key, *heading; /* "achieved_rate", "Achieved rate" */
    enum check_verdict verdict;
    char text[400];      /* "19,998 of 20,000 requests due were sent (99.99 %)" */
    double value, bound; /* counts, shares or ns; NaN where there is none */
};

#define VALIDITY_CHECKS_MAX 12

struct validity {
    struct validity_check checks[VALIDITY_CHECKS_MAX];
    size_t count;
    bool client_limited;
    char summary[512]; /* one sentence for the report's foot */
    /* The run's own measurement error: what a time in it may be off by. Where all reads had kernel stamps: of the conversion between the two clocks, the
     * greatest that a thread of the run had; else the p99 of the receive lag, or where that is not known the longest stall. */
    double error_ns;
};
/* `r` is sealed. */
void validity_check(struct validity *v, const struct engine_account *a, const struct results *r);
