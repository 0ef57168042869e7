/* regression.h -- did a metric get worse since a saved run, more than is allowed and more than chance makes of nothing?
 *
 * The rule, for a metric of which less is better: it failed when
 *   1. the ratio of medians, now to then, is above 1 + what is allowed, and
 *   2. the change is real: the rank test's p (Mann and Whitney, two-sided, Holm-corrected over the metrics compared) is below 0.05, and the
 *      whole 95 % bootstrap interval of the ratio is above 1.
 * So the size is judged by the estimate, and only whether there is any change by the tests. Asking for the whole interval above the bound instead
 * (`certain` says whether it is) would pass most regressions that are somewhat larger than the bound.
 *
 * Values are in the order they were measured in: where neighbours are alike (lag-1 autocorrelation r of the ranks above 2/sqrt(n)), the bootstrap
 * draws circular blocks of Carlstein's length, (sqrt(6) r / (1 - r^2))^(2/3) n^(1/3), and the test's variance is that of n (1 - r)/(1 + r)
 * independent values. What no test can tell from two runs is a machine that changed between them. Pure; same seed, same answer. [any thread] */
#pragma once

#include "base/base.h"

#define REGRESSION_P       0.05
#define REGRESSION_N_LEAST 8 /* values a side; with fewer no verdict is given */

enum regression_verdict {
    REGRESSION_TOO_FEW,  /* no verdict */
    REGRESSION_NONE,     /* no change that is more than chance */
    REGRESSION_SMALLER,  /* real, worse, and within what is allowed */
    REGRESSION_BETTER,   /* real, and better */
    REGRESSION_FAILED,   /* real, and beyond it */
    REGRESSION_UNPROVEN, /* beyond it, and may be chance */
};

struct regression {
    size_t n_then, n_now;
    double median_then, median_now;
    double ratio, low, high; /* of medians, now / then, and its 95 % interval */
    double p;                /* as tested; Holm-corrected after regression_judge */
    double worse;            /* the chance that a value of now is greater than one of then */
    double spread;           /* sd of the log, both sides pooled: what regression_needs takes */
    size_t block_then, block_now; /* of the bootstrap; 1: neighbours are independent */
    bool certain;                 /* the whole interval is above what is allowed */
    enum regression_verdict verdict;
};

/* Measures one metric, of values above 0, with so many resamples (0: 10,000, fewer for more than 5,000 values). */
void regression_measure(struct regression *out, const double *then, size_t n_then,
                        const double *now, size_t n_now, unsigned resamples, uint64_t seed);
/* Gives the verdicts of all metrics compared, together: p becomes Holm's. `allowed` is a share: 0.1. True: one of them failed. */
bool regression_judge(struct regression *all, size_t count, double allowed);
/* How many values a side it takes to find a change by the factor `1 + share` with 80 % power: 16.4 spread^2 / ln(1 + share)^2 (facts of the docs:
 * docs/profile.md). */
double regression_needs(double spread, double share);
/* Median, the mean of the two middle ones for an even count; NaN for none. Sorts. */
double regression_median(double *values, size_t count);

/* Fisher's exact test, one-sided: the chance that at least `now_bad` of `now_n` fail if both sides failed at one rate. */
double fisher_more(uint64_t then_bad, uint64_t then_n, uint64_t now_bad, uint64_t now_n);
