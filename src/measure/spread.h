/* spread.h -- how the values of one metric are spread, and what can be said of the population that they are a sample of.
 *
 * Values are taken one by one in the order of ending and go into a histogram; up to SPREAD_EXACT_MAX of them are kept as well, so that percentiles
 * are nearest rank of the values and not of buckets. Nothing is deleted as an outlier. Zeroed memory is an empty spread of ns. Not thread-safe: one
 * a thread, merged.
 *
 * Estimates come with a 95 % interval. Neighbours in time are alike (a slow second makes many slow requests), so n values weigh as
 * n_eff = n (1 - r) / (1 + r) independent ones, r being their lag-1 autocorrelation. */
#pragma once

#include "measure/hdr.h"

#define SPREAD_EXACT_MAX 1000000u

struct spread {
    struct hdr hdr; /* in steps of `unit` */
    double unit;    /* what a step is worth: 0 or 1: ns; 1e-3: a thousandth of 1/s; 1e-12: of USD */
    uint64_t *values; /* exact, unsorted until spread_seal */
    size_t value_count, value_room;
    bool overflowed; /* more than SPREAD_EXACT_MAX, or never kept: the histogram's are used */
    /* Lag-1 autocorrelation of each chain (a thread's values, in order): sum of products of neighbours, of the first and of the last values. */
    double lag_product_sum, firsts, lasts;
    uint64_t previous, pair_count;
    uint32_t chain_count;
    bool began; /* its own chain has a value */
};

void spread_fini(struct spread *s);
void spread_keep(struct spread *s, uint64_t value); /* for spread_add */

/* In steps of the unit. `exact`: keep the value, too. */
static inline void spread_add(struct spread *s, uint64_t value, bool exact)
{
    double v = (double)value;
    if (LIKELY(s->began)) {
        s->lag_product_sum += v * (double)s->previous;
        s->pair_count++;
        s->lasts += v - (double)s->previous;
    } else {
        s->began = true;
        s->chain_count++;
        s->firsts += v;
        s->lasts += v;
    }
    s->previous = value;
    hdr_add(&s->hdr, value);
    if (!exact)
        s->overflowed = true;
    else if (LIKELY(s->value_count < s->value_room && !s->overflowed))
        s->values[s->value_count++] = value;
    else
        spread_keep(s, value);
}
void spread_merge(struct spread *into, const struct spread *from);
/* Sorts what is kept: quantiles then cost nothing. After the last add and merge. */
void spread_seal(struct spread *s);

/* ---- reading, after spread_seal; in the metric's unit: ns, 1/s, USD ---- */

struct estimate {            /* with a 95 % interval */
    double value, low, high; /* NaN: cannot be had */
    bool
        refused; /* the sample is too small for this percentile, which is then NaN: `need` samples would do */
    uint64_t
        need; /* so many are needed: for it where it is refused, else for its interval; with 0 nothing is known of that */
};
/* Nearest rank; interval from order statistics, its ranks moved apart by sqrt(n / n_eff). Refused where n is below quantile_needs. Where n is not and
 * n_eff is, the value is given without an interval (NaN); so are those of quantile 0 and 1, the least and the greatest. */
struct estimate spread_quantile(const struct spread *s, double quantile);
/* Failure-aware: `failures` more values that are infinite. */
struct estimate spread_quantile_failing(const struct spread *s, double quantile, uint64_t failures);
struct estimate spread_mean(const struct spread *s); /* Student's t over n_eff */
double spread_stddev(const struct spread *s);        /* of the sample (n - 1); NaN below two */
double
spread_mad(const struct spread *s); /* median distance to the median, unscaled; NaN when empty */
uint64_t spread_count(const struct spread *s);
double spread_min(const struct spread *s); /* NaN when empty */
double spread_max(const struct spread *s);
/* Lag-1 autocorrelation, 0 to 0.999; less than none counts as none, and so does one that may be chance: less than 1.96 / sqrt(pairs), the 95 % bound
 * of independent values. Of k threads' chains, which hold every k-th value, it is the k-th root of theirs, and none where theirs may be chance. */
double spread_autocorrelation(const struct spread *s);
double spread_n_eff(const struct spread *s);
uint64_t spread_outliers(const struct spread *s); /* beyond Q3 + 3 IQR; 0 below 4 values */
/* "exact values, nearest rank" or "histogram, within 0.05 %". */
const char *spread_rule(const struct spread *s);
/* Smallest n with a two-sided 95 % interval of this percentile: the least with max(q, 1 - q)^n <= 0.025 (p50 6, p90 36, p95 72, p99 368, p99.9
 * 3,688). UINT64_MAX for 0 and 1. */
uint64_t quantile_needs(double quantile);
/* The ranks of that interval among n: [value of rank low, value of rank high] has the quantile with at least 95 %, at most 2.5 % being on either
 * side. False: n is less than quantile_needs. Exact binomial tails; the normal approximation where its variance is above 10^6. */
MUST_USE bool quantile_ranks(uint64_t n, double quantile, uint64_t *low, uint64_t *high);
