/* bootstrap.c -- see bootstrap.h. */
#include "measure/bootstrap.h"

#include <math.h>

#include "base/mem.h"
#include "measure/ranks.h"

struct sorted { /* one system's values, ascending, and the block of each */
    const double *values;
    uint32_t *blocks;
};

static int compare_by_value(const void *x, const void *y, void *values)
{
    double a = ((const double *)values)[*(const uint32_t *)x];
    double b = ((const double *)values)[*(const uint32_t *)y];
    return (a > b) - (a < b);
}

static struct sorted sorted_from(const double *values, size_t n)
{
    struct sorted s = {values, mem_alloc(n * sizeof *s.blocks)};
    for (size_t i = 0; i < n; i++)
        s.blocks[i] = (uint32_t)i;
    qsort_r(s.blocks, n, sizeof *s.blocks, compare_by_value, (void *)(uintptr_t)values);
    return s;
}

/* The value of rank `rank` (from 1, of n) in a resample that has counts[block] copies of each block. Walks from the nearer end. */
static double value_of_rank(const struct sorted *s, const uint16_t *counts, size_t n, size_t rank)
{
    size_t at, seen = 0;
    if (rank <= n / 2 + 1) {
        for (at = 0; (seen += counts[s->blocks[at]]) < rank;)
            at++;
    } else {
        for (at = n - 1; (seen += counts[s->blocks[at]]) < n + 1 - rank;)
            at--;
    }
    return s->values[s->blocks[at]];
}

/* n blocks with replacement; two draws a random number (multiply and shift, Lemire 2019: its bias, n / 2^32, is nothing here). */
static void draw_counts(struct rng *r, uint16_t *counts, size_t n)
{
    memset(counts, 0, n * sizeof *counts);
    for (size_t i = 0; i + 1 < n; i += 2) {
        uint64_t bits = rng_next(r);
        counts[(bits & 0xffffffff) * n >> 32]++;
        counts[(bits >> 32) * n >> 32]++;
    }
    if (n % 2)
        counts[(rng_next(r) >> 32) * n >> 32]++;
}

static double ratio_of(double a, double b)
{
    return a <= b && a >= b ? 1 : a / b; /* infinities and zeros, too */
}

static size_t rank_of(double quantile, size_t n)
{
    double rank = ceil(quantile * (double)n - 1e-9);
    return rank < 1 ? 1 : MIN((size_t)rank, n);
}

void bootstrap_ratios(const struct bootstrap *how, const double *a, const double *b, size_t blocks,
                      const double *quantiles, size_t quantile_count, struct ratio *out)
{
    size_t resamples = how->resamples;
    double tail = (1 - how->confidence) / 2;
    ENSURE(quantile_count <= BOOTSTRAP_QUANTILES_MAX);
    for (size_t q = 0; q < quantile_count; q++)
        out[q] = (struct ratio){NAN, NAN, NAN};
    if (blocks == 0 || resamples == 0)
        return;
    struct sorted of_a = sorted_from(a, blocks), of_b = sorted_from(b, blocks);
    uint16_t *counts = mem_alloc(blocks * sizeof *counts);
    double *ratios = mem_alloc(quantile_count * resamples * sizeof *ratios);
    struct rng rng;
    rng_seed(&rng, how->seed);
    for (size_t i = 0; i < resamples; i++) {
        draw_counts(&rng, counts, blocks);
        for (size_t q = 0; q < quantile_count; q++) {
            size_t rank = rank_of(quantiles[q], blocks);
            ratios[q * resamples + i] = ratio_of(value_of_rank(&of_a, counts, blocks, rank),
                                                 value_of_rank(&of_b, counts, blocks, rank));
        }
    }
    for (size_t q = 0; q < quantile_count; q++) {
        size_t at = rank_of(quantiles[q], blocks) - 1;
        sort_doubles(ratios + q * resamples, resamples);
        double of_all_a = a[of_a.blocks[at]], of_all_b = b[of_b.blocks[at]];
        out[q].value = isinf(of_all_a) && isinf(of_all_b) ? NAN : ratio_of(of_all_a, of_all_b);
        out[q].low = sorted_quantile(ratios + q * resamples, resamples, tail);
        out[q].high = sorted_quantile(ratios + q * resamples, resamples, 1 - tail);
    }
    mem_free(of_a.blocks);
    mem_free(of_b.blocks);
    mem_free(counts);
    mem_free(ratios);
}
