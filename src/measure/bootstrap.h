/* bootstrap.h -- intervals by resampling (Efron 1979): how would the ratio of two quantiles look in other runs like this one? Pure.
 *
 * Whole blocks are drawn with replacement, so what hit both systems of a block hits both of its copies. Only counts are drawn, and quantiles
 * are found by walking values in an order that was sorted once: 10,000 resamples of 1,000 blocks take some 25 ms. */
#pragma once

#include "base/rand.h"

#define BOOTSTRAP_QUANTILES_MAX 3

struct ratio {
    double value;     /* quantile of a over that of b; NaN where both are infinite */
    double low, high; /* percentile interval */
};

/* a[block] and b[block], 0 or more, infinite for a failure, no NaN. Nearest rank. out[q] for quantiles[q]; equal seeds, equal intervals. */
void bootstrap_ratios(const double *a, const double *b, size_t blocks, const double *quantiles,
                      size_t quantile_count, size_t resamples, double confidence, uint64_t seed,
                      struct ratio *out);
