/* window_compare.h -- two windows of a log side by side: what moved, whether that is more than noise, and which groups explain it.
 *
 * Works on two rollups' totals and views, which must have the same fields. Amounts are an hour, so that windows of different lengths can be
 * compared. Shares are tested as proportions, times as ranks (significance.h); amounts are not: traffic is too bursty for
 * a test that takes requests to be independent. [any thread], pure. */
#pragma once

#include "observe/rollup.h"
#include "observe/significance.h"

struct window {
    const struct rollup_group *total;
    double hours;
};

/* How long the time between two stamps is for this purpose: never less than a minute. */
double window_hours(int64_t from_us, int64_t until_us);

enum change_kind {
    CHANGE_COUNT, /* an hour */
    CHANGE_USD,   /* an hour */
    CHANGE_SHARE,
    CHANGE_TIME, /* µs */
};

struct change {
    const char *name, *label; /* for programs, for people */
    enum change_kind kind;
    bool worse_up;      /* more of it is bad */
    double before, now; /* NaN: no value */
    double p;           /* NaN: not tested, or too little to tell */
};

#define WINDOW_CHANGES 12
/* Fills all WINDOW_CHANGES. */
void window_changes(const struct window *now, const struct window *before,
                    struct change changes[WINDOW_CHANGES]);
/* Of the tests that window_changes makes: is this one more than noise? */
bool change_is_real(const struct change *c);

enum explained { EXPLAIN_ERRORS, EXPLAIN_COST, EXPLAIN_TIME, EXPLAIN_COUNT };

struct contribution {
    const struct rollup_group *now,
        *before;                          /* one of them NULL: a new group, or one that is gone */
    double before_per_hour, now_per_hour; /* failures, USD, or seconds of latency */
    double
        share; /* of all that moved, up or down: -1 to 1, the absolute values of all adding up to 1 */
};

/* All groups of both views, largest change first. The caller frees the array. */
struct contribution *window_explain(const struct rollup_view *now, double now_hours,
                                    const struct rollup_view *before, double before_hours,
                                    enum explained what, size_t *count);
