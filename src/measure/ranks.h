/* ranks.h -- tests that look at the order of values and not at their size, for systems measured in the same blocks. Pure.
 *
 * Latencies are skewed and have outliers; ranks do not mind either. A failure is +infinity: worse than every answer, as bad as
 * another failure. A p is two-sided, the chance of an outcome at least this extreme if there were no difference. [any thread]
 *
 * Known answers for the tests are from R (wilcox.test, friedman.test, mcnemar.exact) and scipy.stats. */
#pragma once

#include "base/base.h"

/* Up to so many differences the signed-rank test is exact, ties included; beyond it is normal with both corrections. */
#define SIGNED_RANK_EXACT_MAX 50

struct signed_rank {
    size_t
        n; /* differences that are not 0: zeros are dropped (Wilcoxon), as infinity minus infinity is */
    double w_plus; /* sum of the ranks of positive differences */
    double p;      /* 1 for n == 0 */
    bool exact;
};

/* Wilcoxon's signed-rank test of paired differences (Wilcoxon 1945). Tied ones share the mean of their ranks; the exact distribution is of
 * the ranks as they are, the normal one has continuity and ties corrected. */
struct signed_rank signed_rank_test(const double *differences, size_t n);
/* A pair's difference of logarithms, ln(a/b), for a and b of 0 and more; +-INFINITY where one failed, NaN where both did. */
double log_ratio(double a, double b);

/* Where the differences are centred, and the interval that the signed-rank test does not reject (Hodges and Lehmann 1963). */
struct shift {
    double value;     /* median of all (d[i] + d[k]) / 2, i <= k */
    double low, high; /* -INFINITY, INFINITY where n is too small for the confidence asked for */
};
/* O(n log n). Infinite differences count as very large ones; what comes out beyond all finite ones is infinite. NaNs count as 0. No interval
 * is looked for at a confidence of 0. */
struct shift hodges_lehmann(const double *differences, size_t n, double confidence);

/* Friedman's test: `values[block * systems + system]`, corrected for ties, chi-square with systems - 1 degrees of freedom (Friedman 1937,
 * Conover 1999 §5.8). Blocks with a NaN are left out; *blocks_used (may be NULL) says how many were not. */
struct friedman {
    double statistic, p; /* p: 1 where there is nothing to tell apart, NaN below two blocks */
    size_t blocks;
};
struct friedman friedman_test(const double *values, size_t blocks, size_t systems);

/* McNemar's test of two shares in the same blocks, exact (binomial): how often only the one succeeded, and only the other. */
double mcnemar_p(uint64_t only_a, uint64_t only_b);
/* Holm's correction (1979), in place: p of each so that calling those below alpha different errs in any with a chance of alpha. NaNs stay
 * and do not count. */
void holm_adjust(double *p, size_t count);

/* Chance of a chi-square variable above x. */
double chi_square_above(double x, double degrees_of_freedom);
/* z so that a standard normal variable is below it with chance p; 0 < p < 1. */
double normal_quantile(double p);
/* Ascending, NaNs last. */
void sort_doubles(double *values, size_t n);
/* Of sorted values: that which at least `quantile` of them do not exceed (nearest rank). NaN for n == 0. */
double sorted_quantile(const double *sorted, size_t n, double quantile);
