/* hdr.h -- a histogram of ns with three significant digits, mergeable and in HdrHistogram's own formats.
 *
 * Log-linear: 1,024 buckets to each power of two above 2^11, every value its own below: at most 0.05 % off. Covers 1 ns to 2^43 ns (2.4 hours);
 * above counts as the last. Octaves come into being with their first value. Zeroed memory is an empty one. One a thread, merged.
 * Formats: HdrHistogram's percentile text (.hgrm) and V2 log payload (compressed, base64): hdrhistogram.org. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#define HDR_OCTAVES 33
#define HDR_SUBS    1024

struct hdr {
    uint64_t count, min, max;
    double sum, sum_squares;
    uint64_t *octaves[HDR_OCTAVES];
};
void hdr_fini(struct hdr *h);
void hdr_add(struct hdr *h, uint64_t ns);
void hdr_merge(struct hdr *into, const struct hdr *from);
/* Nearest rank: the value that at least `quantile` of all do not exceed, as the middle of its bucket within [min, max]. 0 when empty. */
uint64_t hdr_quantile(const struct hdr *h, double quantile);
double hdr_mean(const struct hdr *h);   /* NaN when empty */
double hdr_stddev(const struct hdr *h); /* of the sample (n - 1); NaN below two */
/* For plots: how many lie in [from, to). */
uint64_t hdr_between(const struct hdr *h, uint64_t from_ns, uint64_t to_ns);
/* Percentile distribution as text, values in ms (`scale` 1e6), as HdrHistogram's outputPercentileDistribution prints it. */
void hdr_write_text(const struct hdr *h, FILE *out, double scale);
/* The V2 compressed encoding, base64, and back. */
MUST_USE bool hdr_encode(const struct hdr *h, struct buf *out);
MUST_USE bool hdr_decode(struct hdr *h, struct str base64, struct err *e);
