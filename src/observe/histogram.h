/* histogram.h -- how values are spread, in memory that depends on their range and not on their number.
 *
 * Log-linear buckets, as in HdrHistogram (Tene): 128 to each power of two, so a bucket is 1/128 of its value wide and its middle
 * is at most 0.4 % off; below 256 every value has its own. An octave's buckets come into being with its first value.
 * Zeroed memory is an empty histogram. Not thread-safe: one a thread, merged. */
#pragma once

#include "base/base.h"

#define HISTOGRAM_OCTAVES  40 /* 2^7 µs to 2^47 µs: four years; above counts as the last */
#define HISTOGRAM_SUB_BITS 7  /* 128 buckets an octave */

struct histogram {
    uint64_t count, min, max;
    double sum;
    uint32_t *octaves[HISTOGRAM_OCTAVES]; /* 128 buckets each, or NULL */
};

void histogram_fini(struct histogram *h);
uint32_t *histogram_new_octave(struct histogram *h, unsigned octave); /* for histogram_add */
/* Octave 0 holds 0 to 127 and octave 1 128 to 255, both a value a bucket; octave n holds 2^(n+6) to 2^(n+7). Inline: called
 * several times a line. */
static inline void histogram_add_times(struct histogram *h, uint64_t value, uint32_t times)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    unsigned octave =
        bits <= HISTOGRAM_SUB_BITS ? 0 : MIN(bits - HISTOGRAM_SUB_BITS, HISTOGRAM_OCTAVES - 1u);
    const uint64_t subs = UINT64_C(1) << HISTOGRAM_SUB_BITS;
    uint64_t sub = octave ? (value >> (octave - 1)) - subs : value;
    uint32_t *buckets = h->octaves[octave];
    if (UNLIKELY(!buckets))
        buckets = histogram_new_octave(h, octave);
    buckets[MIN(sub, subs - 1)] += times;
    h->min = h->count == 0 || value < h->min ? value : h->min;
    h->max = MAX(h->max, value);
    h->sum += (double)value * times;
    h->count += times;
}
static inline void histogram_add(struct histogram *h, uint64_t value)
{
    histogram_add_times(h, value, 1);
}
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The value that at least `quantile` (0 to 1) of all values do not exceed (nearest rank): the middle of its bucket, within [min, max].
 * 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double quantile);
/* Nearest rank of a quantile: 1 to count. 0 when empty. */
uint64_t histogram_rank(const struct histogram *h, double quantile);
/* The bucket that has the value of that rank: the least and the greatest value that it may hold, how many it holds, and how many are in those
 * before it. Not when empty. */
struct histogram_bucket {
    uint64_t low, high, count, below;
};
struct histogram_bucket histogram_bucket(const struct histogram *h, uint64_t rank);
/* How many values lie in each of `count` bands, which begin at `begins`, ascending; the first has all that is below it, too, and the last all
 * above. A bucket counts where its middle is. */
void histogram_bands(const struct histogram *h, const uint64_t *begins, size_t count,
                     uint64_t *out);
