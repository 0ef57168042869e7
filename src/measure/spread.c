/* spread.c -- values of one metric: kept, merged, estimated. */
#include "measure/spread.h"

#include <math.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "observe/significance.h"

enum { FEW = 4096 };

/* Of values that hardly differ, the sums say nothing of their differences: below this share of the squares they are rounding. */
static const double least_variance = 1e-13;

static double unit_of(const struct spread *s)
{
    return s->unit > 0 ? s->unit : 1;
}

static void forget_values(struct spread *s)
{
    if (s->value_room > FEW)
        munmap(s->values, SPREAD_EXACT_MAX * sizeof *s->values);
    else
        mem_free(s->values);
    s->values = NULL;
    s->value_count = s->value_room = 0;
}

void spread_fini(struct spread *s)
{
    double unit = s->unit;
    hdr_fini(&s->hdr);
    forget_values(s);
    *s = (struct spread){.unit = unit};
}

/* Values are added on the clock of an engine: an array that doubles would stand still for milliseconds while it is copied. So a few are in a small
 * one, and many in address space for all that may be kept, which takes memory as it is written to. False: there is none. */
static bool make_room(struct spread *s, size_t count)
{
    if (count <= s->value_room)
        return true;
    if (count <= FEW) {
        s->value_room = MIN(MAX(count, MAX(s->value_room * 2, (size_t)64)), (size_t)FEW);
        s->values = mem_realloc(s->values, s->value_room * sizeof *s->values);
        return true;
    }
    void *all = mmap(NULL, SPREAD_EXACT_MAX * sizeof *s->values, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        return false;
    if (s->value_count)
        memcpy(all, s->values, s->value_count * sizeof *s->values);
    mem_free(s->values);
    s->values = all;
    s->value_room = SPREAD_EXACT_MAX;
    return true;
}

COLD void spread_keep(struct spread *s, uint64_t value)
{
    if (s->overflowed)
        return;
    /* What was kept is given back later, by spread_seal: that takes milliseconds, too. */
    s->overflowed = s->value_count == SPREAD_EXACT_MAX || !make_room(s, s->value_count + 1);
    if (!s->overflowed)
        s->values[s->value_count++] = value;
}

void spread_merge(struct spread *into, const struct spread *from)
{
    if (from->hdr.count == 0)
        return;
    size_t count = into->value_count + from->value_count;
    into->overflowed |= from->overflowed || count > SPREAD_EXACT_MAX;
    if (!into->overflowed && !make_room(into, count))
        into->overflowed = true;
    if (into->overflowed) {
        forget_values(into);
    } else {
        memcpy(into->values + into->value_count, from->values,
               from->value_count * sizeof *from->values);
        into->value_count = count;
    }
    hdr_merge(&into->hdr, &from->hdr);
    into->lag_product_sum += from->lag_product_sum;
    into->firsts += from->firsts;
    into->lasts += from->lasts;
    into->pair_count += from->pair_count;
    into->chain_count += from->chain_count;
}

/* By digits of 11 bits, least first; digits that all values share are skipped. A million take some 30 ms where qsort takes 140. */
static void sort_values(uint64_t *values, size_t count)
{
    enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };
    uint64_t *from = values, *to = mem_alloc(count * sizeof *values + 1), differ = 0;
    for (size_t i = 0; i < count; i++)
        differ |= values[i] ^ values[0];
    for (unsigned shift = 0; shift < 64; shift += DIGIT_BITS) {
        if (!(differ >> shift & (DIGITS - 1)))
            continue;
        size_t starts[DIGITS] = {0}, at = 0;
        for (size_t i = 0; i < count; i++)
            starts[from[i] >> shift & (DIGITS - 1)]++;
        for (size_t d = 0; d < DIGITS; d++) {
            size_t here = starts[d];
            starts[d] = at;
            at += here;
        }
        for (size_t i = 0; i < count; i++)
            to[starts[from[i] >> shift & (DIGITS - 1)]++] = from[i];
        uint64_t *other = from;
        from = to;
        to = other;
    }
    if (from != values) {
        memcpy(values, from, count * sizeof *values);
        to = from;
    }
    mem_free(to);
}

void spread_seal(struct spread *s)
{
    if (s->overflowed)
        forget_values(s);
    else
        sort_values(s->values, s->value_count);
}

/* ---- reading ---- */

static uint64_t value_at(const struct spread *s, uint64_t rank)
{
    if (s->overflowed)
        return hdr_at_rank(&s->hdr, rank);
    return s->value_count ? s->values[MIN(MAX(rank, UINT64_C(1)), s->value_count) - 1] : 0;
}

/* How many values are at most `bound`. */
static uint64_t up_to(const struct spread *s, uint64_t bound)
{
    size_t low = 0, high = s->value_count;
    if (s->overflowed)
        return hdr_between(&s->hdr, 0, bound + 1);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->values[middle] <= bound)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t spread_count(const struct spread *s)
{
    return s->hdr.count;
}

double spread_min(const struct spread *s)
{
    return s->hdr.count ? (double)s->hdr.min * unit_of(s) : NAN;
}

double spread_max(const struct spread *s)
{
    return s->hdr.count ? (double)s->hdr.max * unit_of(s) : NAN;
}

double spread_stddev(const struct spread *s)
{
    return hdr_stddev(&s->hdr) * unit_of(s);
}

double spread_autocorrelation(const struct spread *s)
{
    double n = (double)s->hdr.count, pairs = (double)s->pair_count;
    if (s->pair_count < 2)
        return 0;
    double mean = s->hdr.sum / n, variance = s->hdr.sum_squares / n - mean * mean;
    if (variance <= least_variance * mean * mean)
        return 0;
    double products =
        s->lag_product_sum - mean * (2 * s->hdr.sum - s->firsts - s->lasts) + pairs * mean * mean;
    double r = products / (variance * n);
    if (r < 1.96 / sqrt(pairs)) /* or below zero */
        return 0;
    if (s->chain_count > 1)
        r = pow(r, 1.0 / s->chain_count);
    return MAX(MIN(r, 0.999), 0.0);
}

double spread_n_eff(const struct spread *s)
{
    double r = spread_autocorrelation(s);
    return (double)s->hdr.count * (1 - r) / (1 + r);
}

struct estimate spread_mean(const struct spread *s)
{
    double mean = hdr_mean(&s->hdr), n_eff = spread_n_eff(s);
    struct estimate out = {mean * unit_of(s), NAN, NAN, false, 2};
    if (s->hdr.count < 2)
        return out;
    n_eff = MAX(n_eff, 2.0);
    double half = student_t95((unsigned)MIN(n_eff - 1, 1e9)) * hdr_stddev(&s->hdr) / sqrt(n_eff);
    out.low = MAX(mean - half, 0.0) * unit_of(s); /* no metric goes below */
    out.high = (mean + half) * unit_of(s);
    return out;
}

/* So many values alike in time weigh as `independent` ones. */
static uint64_t needed(uint64_t independent, double times)
{
    double all = ceil((double)independent * times);
    return all < 1e18 ? (uint64_t)all : UINT64_MAX;
}

/* A rank of the interval, `wider` times as far from the middle one, within the sample. */
static uint64_t moved_rank(uint64_t middle, uint64_t rank, double wider, uint64_t n)
{
    double moved = round((double)middle + ((double)rank - (double)middle) * wider);
    return (uint64_t)MAX(MIN(moved, (double)n), 1.0);
}

/* Failures rank behind all values. */
static double value_or_failed(const struct spread *s, uint64_t rank)
{
    return rank > s->hdr.count ? INFINITY : (double)value_at(s, rank) * unit_of(s);
}

struct estimate spread_quantile_failing(const struct spread *s, double quantile, uint64_t failures)
{
    uint64_t n = s->hdr.count + failures, low, high, rank = nearest_rank(n, quantile);
    struct estimate out = {NAN, NAN, NAN, false, quantile_needs(quantile)};
    if (quantile <= 0 || quantile >= 1) {
        out.need = 1;
        out.refused = n == 0;
        if (n)
            out.value = value_or_failed(s, rank);
        return out;
    }
    out.refused = n < out.need || !quantile_ranks(n, quantile, &low, &high);
    if (out.refused)
        return out;
    double r = spread_autocorrelation(s), wider = sqrt((1 + r) / (1 - r));
    out.need = needed(out.need, wider * wider);
    out.value = value_or_failed(s, rank);
    if (n < out.need) /* it is this sample's; of the population nothing can be said */
        return out;
    out.low = value_or_failed(s, moved_rank(rank, low, wider, n));
    out.high = value_or_failed(s, moved_rank(rank, high, wider, n));
    return out;
}

struct estimate spread_quantile(const struct spread *s, double quantile)
{
    return spread_quantile_failing(s, quantile, 0);
}

/* The least distance within which half of the values are: counted at each step, so that a histogram can tell it, too. */
double spread_mad(const struct spread *s)
{
    uint64_t half = nearest_rank(s->hdr.count, 0.5), median = value_at(s, half);
    uint64_t low = 0, high = s->hdr.max;
    if (s->hdr.count == 0)
        return NAN;
    while (low < high) {
        uint64_t distance = low + (high - low) / 2, from = median - MIN(distance, median);
        if (up_to(s, median + distance) - (from ? up_to(s, from - 1) : 0) >= half)
            high = distance;
        else
            low = distance + 1;
    }
    return (double)low * unit_of(s);
}

uint64_t spread_outliers(const struct spread *s)
{
    uint64_t n = s->hdr.count, q1 = value_at(s, nearest_rank(n, 0.25));
    uint64_t q3 = value_at(s, nearest_rank(n, 0.75));
    return n < 4 ? 0 : n - up_to(s, q3 + 3 * (q3 - q1));
}

const char *spread_rule(const struct spread *s)
{
    return s->overflowed ? "histogram, within 0.05 %" : "exact values, nearest rank";
}
