/* hdr.h -- a histogram of ns with three significant digits, mergeable and in HdrHistogram's own formats.
 *
 * Log-linear: 1,024 buckets to each power of two from 2^11 on, every value its own below: the middle of a bucket is at most 0.05 % off.
 * Covers 0 to 2^43 ns (2.4 hours); above counts as the last bucket, but min, max and sums are exact. Octaves (8 KiB each) come into being with
 * their first value: latencies of one kind take two to eight. Zeroed memory is an empty histogram. Not thread-safe: one a thread, merged.
 *
 * The buckets are those of HdrHistogram with 3 digits and a lowest value of 1 (subBucketCount 2048): bucket `sub` of octave `o` has its index
 * o * 1024 + sub, so that nothing is lost between the two. Formats: percentile text (.hgrm) and V2 payload (zlib, base64); hdrhistogram.org. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#define HDR_OCTAVES  34
#define HDR_SUB_BITS 10
#define HDR_SUBS     (1u << HDR_SUB_BITS)

struct hdr {
    uint64_t count, min, max;
    double sum, sum_squares;
    uint64_t *octaves[HDR_OCTAVES]; /* HDR_SUBS counts each, or NULL */
};
void hdr_fini(struct hdr *h);
uint64_t *hdr_new_octave(struct hdr *h, unsigned octave); /* for hdr_add */

/* Octave 0 holds 0 to 1,023 and octave 1 1,024 to 2,047, both a value a bucket; octave n holds 2^(n+9) to 2^(n+10). */
static inline unsigned hdr_octave_of(uint64_t ns)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(ns | 1);
    return bits <= HDR_SUB_BITS ? 0 : MIN(bits - HDR_SUB_BITS, HDR_OCTAVES - 1u);
}
static inline unsigned hdr_sub_of(unsigned octave, uint64_t ns)
{
    uint64_t sub = octave ? (ns >> (octave - 1)) - HDR_SUBS : ns;
    return (unsigned)MIN(sub, (uint64_t)HDR_SUBS - 1);
}
static inline void hdr_add_times(struct hdr *h, uint64_t ns, uint64_t times)
{
    unsigned octave = hdr_octave_of(ns);
    uint64_t *buckets = h->octaves[octave];
    double value = (double)ns;
    if (UNLIKELY(!buckets))
        buckets = hdr_new_octave(h, octave);
    buckets[hdr_sub_of(octave, ns)] += times;
    h->min = h->count == 0 || ns < h->min ? ns : h->min;
    h->max = MAX(h->max, ns);
    h->sum += value * (double)times;
    h->sum_squares += value * value * (double)times;
    h->count += times;
}
static inline void hdr_add(struct hdr *h, uint64_t ns)
{
    hdr_add_times(h, ns, 1);
}
void hdr_merge(struct hdr *into, const struct hdr *from);

/* Nearest rank of a quantile among `count` values: 1 to count; 0 when there are none. What rounding adds to quantile * count is no rank. */
uint64_t nearest_rank(uint64_t count, double quantile);
/* The value of that rank, as the middle of its bucket within [min, max]. 0 when empty. */
uint64_t hdr_at_rank(const struct hdr *h, uint64_t rank);
/* The value that at least `quantile` (0 to 1) of all do not exceed. 0 when empty. */
uint64_t hdr_quantile(const struct hdr *h, double quantile);
double hdr_mean(const struct hdr *h);   /* NaN when empty */
double hdr_stddev(const struct hdr *h); /* of the sample (n - 1); NaN below two */
/* For plots: how many lie in [from, to). A bucket counts where its middle is. */
uint64_t hdr_between(const struct hdr *h, uint64_t from_ns, uint64_t to_ns);
/* Least and greatest value of a bucket. */
uint64_t hdr_low(unsigned octave, unsigned sub);
uint64_t hdr_high(unsigned octave, unsigned sub);

/* Percentile distribution as text, byte for byte what HdrHistogram's outputPercentileDistribution prints of the same counts (five ticks to each
 * halving of the distance to 100 %), values divided by `scale` (1e6: ms). Its mean and deviation are those of the buckets. */
void hdr_write_text(const struct hdr *h, FILE *out, double scale);
/* The V2 compressed encoding in base64 is appended to `out`; false: its cap was reached. */
MUST_USE bool hdr_encode(const struct hdr *h, struct buf *out);
/* Adds what is encoded to `h`: V2, compressed or not, of any number of digits and any lowest value. Of ours nothing is lost; what has other
 * buckets counts where the middle of its bucket is. Min, max and sums are those of the buckets. False with a sentence, and `h` as it was; memory
 * is bounded whatever the text says. */
MUST_USE bool hdr_decode(struct hdr *h, struct str base64, struct err *e);
