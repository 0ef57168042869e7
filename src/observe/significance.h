/* significance.h -- is a difference more than chance? Intervals and tests, from counts and histograms.
 *
 * A p is the chance of a difference at least this great if there were none, two-sided; NaN where there is too little to tell.
 * What is compared is taken to be independent: a burst of failures is less evidence than its number says. [any thread], pure. */
#pragma once

#include "observe/histogram.h"

/* Below this a difference is called real. Callers that make n comparisons divide it by n (Bonferroni). */
#define SIGNIFICANCE_P 0.01

struct interval {
    double low, high;
};

/* Where the true share lies with 95 % confidence (Wilson's score interval); NaNs for n = 0. */
struct interval wilson_interval(uint64_t count, uint64_t n);
/* Two-proportion z test of a/n_a and b/n_b, pooled. NaN where fewer than 5 of either kind are to be expected on a side. */
double proportions_p(uint64_t a, uint64_t n_a, uint64_t b, uint64_t n_b);

/* Mann and Whitney's U test, values of one bucket being ties. `less` is the chance that a value of a is less than one of b, ties
 * counting half: 0.5 where neither tends to be. NaN with fewer than 8 values on a side. */
struct rank_test {
    double p, less;
};
struct rank_test rank_test(const struct histogram *a, const struct histogram *b);

/* Student's t: the half-width, in standard errors, of a two-sided 95 % interval. */
double student_t95(unsigned degrees_of_freedom);
