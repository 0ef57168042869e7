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

struct bootstrap {
    size_t resamples;
    double confidence; /* 0.95 */
    uint64_t seed;     /* not 0; equal seeds, equal intervals */
};

/* a[block] and b[block], 0 or more, infinite for a failure, no NaN. Nearest rank. out[q] for quantiles[q]. */
void bootstrap_ratios(const struct bootstrap *how, const double *a, const double *b, size_t blocks,
                      const double *quantiles, size_t quantile_count, struct ratio *out);
