/* regression.c -- see regression.h. */
#include "measure/regression.h"

#include <math.h>

#include "base/mem.h"
#include "base/rand.h"

enum { RESAMPLES = 10000, RESAMPLES_LEAST = 1000, DRAWS_MAX = 50000000 };

/* ---- order ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double regression_median(double *values, size_t count)
{
    if (count == 0)
        return NAN;
    qsort(values, count, sizeof *values, compare_doubles);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

struct placed {
    double value;
    size_t at;
};

static int compare_placed(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    return x->value != y->value ? (x->value > y->value) - (x->value < y->value)
                                : (x->at > y->at) - (x->at < y->at);
}

/* One side: its values sorted, and for each in the order of measuring its place among them. */
struct side {
    double *sorted;
    uint32_t *place;
    size_t n, block;
    double autocorrelation; /* of the places; 0 unless it is more than chance */
    uint32_t *counts;       /* of a resample, by place */
};

static double places_autocorrelation(const uint32_t *place, size_t n)
{
    double mean = ((double)n - 1) / 2, top = 0, bottom = 0;
    for (size_t i = 0; i < n; i++) {
        double d = place[i] - mean;
        bottom += d * d;
        if (i > 0)
            top += d * (place[i - 1] - mean);
    }
    double r = bottom > 0 ? top / bottom : 0;
    return r > 2 / sqrt((double)n) ? MIN(r, 0.99) : 0;
}

static void side_init(struct side *s, const double *values, size_t n)
{
    struct placed *placed = mem_alloc(MAX(n, 1) * sizeof *placed);
    *s = (struct side){.n = n,
                       .sorted = mem_alloc(MAX(n, 1) * sizeof *s->sorted),
                       .place = mem_alloc(MAX(n, 1) * sizeof *s->place),
                       .counts = mem_alloc(MAX(n, 1) * sizeof *s->counts),
                       .block = 1};
    for (size_t i = 0; i < n; i++)
        placed[i] = (struct placed){values[i], i};
    qsort(placed, n, sizeof *placed, compare_placed);
    for (size_t i = 0; i < n; i++) {
        s->sorted[i] = placed[i].value;
        s->place[placed[i].at] = (uint32_t)i;
    }
    mem_free(placed);
    if (n < REGRESSION_N_LEAST)
        return;
    double r = s->autocorrelation = places_autocorrelation(s->place, n);
    double length = pow(sqrt(6) * r / (1 - r * r), 2.0 / 3) * cbrt((double)n);
    s->block = (size_t)MAX(1.0, MIN(ceil(length), (double)n / 4));
}

static void side_fini(struct side *s)
{
    mem_free(s->sorted);
    mem_free(s->place);
    mem_free(s->counts);
}

static double side_median(const struct side *s)
{
    return s->n % 2 ? s->sorted[s->n / 2] : (s->sorted[s->n / 2 - 1] + s->sorted[s->n / 2]) / 2;
}

/* ---- the interval ---- */

/* 0 to n - 1, by multiplication (Lemire 2019; its bias, n / 2^32, does not matter here). */
static size_t draw(struct rng *r, size_t n)
{
    return (size_t)(((rng_next(r) >> 32) * (uint64_t)n) >> 32);
}

/* The median of a resample: how often each place was drawn is counted, and the counts walked to the middle. */
static double resample_median(struct side *s, struct rng *r)
{
    memset(s->counts, 0, s->n * sizeof *s->counts);
    for (size_t drawn = 0; drawn < s->n;) {
        size_t at = draw(r, s->n);
        for (size_t i = 0; i < s->block && drawn < s->n; i++, drawn++)
            s->counts[s->place[at + i < s->n ? at + i : at + i - s->n]]++;
    }
    size_t below = 0, lower = (s->n - 1) / 2, upper = s->n / 2, i = 0;
    while (below + s->counts[i] <= lower)
        below += s->counts[i++];
    double first = s->sorted[i];
    while (below + s->counts[i] <= upper)
        below += s->counts[i++];
    return (first + s->sorted[i]) / 2;
}

static void bootstrap(struct regression *out, struct side *then, struct side *now, size_t count,
                      uint64_t seed)
{
    struct rng r;
    double *ratios = mem_alloc(count * sizeof *ratios);
    rng_seed(&r, seed ? seed : 1);
    for (size_t i = 0; i < count; i++)
        ratios[i] = resample_median(now, &r) / resample_median(then, &r);
    qsort(ratios, count, sizeof *ratios, compare_doubles);
    out->low = ratios[(size_t)(0.025 * (double)count)];
    out->high = ratios[(size_t)ceil(0.975 * (double)count) - 1];
    mem_free(ratios);
}

/* ---- the test ---- */

/* The factor by which the variance of a mean rank grows where neighbours are alike. */
static double variance_factor(const struct side *s)
{
    return (1 + s->autocorrelation) / (1 - s->autocorrelation);
}

/* Mann and Whitney's U with the normal approximation, corrected for ties and continuity. */
static void test_ranks(struct regression *out, const struct side *then, const struct side *now)
{
    double na = (double)then->n, nb = (double)now->n, n = na + nb, greater = 0, ties = 0;
    size_t i = 0, k = 0;
    while (i < then->n || k < now->n) {
        double value = i == then->n                       ? now->sorted[k]
                       : k == now->n                      ? then->sorted[i]
                       : now->sorted[k] < then->sorted[i] ? now->sorted[k]
                                                          : then->sorted[i];
        size_t i0 = i, k0 = k;
        while (i < then->n && then->sorted[i] == value)
            i++;
        while (k < now->n && now->sorted[k] == value)
            k++;
        double in_then = (double)(i - i0), in_now = (double)(k - k0), both = in_then + in_now;
        greater += in_now * ((double)i0 + in_then / 2);
        ties += both * both * both - both;
    }
    double variance = na * nb / 12 * (n + 1 - ties / (n * (n - 1)));
    variance *= (variance_factor(then) + variance_factor(now)) / 2;
    double off = MAX(fabs(greater - na * nb / 2) - 0.5, 0.0);
    out->p = variance > 0 ? erfc(off / sqrt(variance) / sqrt(2)) : 1;
    out->worse = greater / (na * nb);
}

static double log_variance(const struct side *s)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < s->n; i++) {
        double v = log(s->sorted[i]);
        sum += v;
        squares += v * v;
    }
    return MAX(squares - sum * sum / (double)s->n, 0.0) / ((double)s->n - 1);
}

void regression_measure(struct regression *out, const double *then, size_t n_then,
                        const double *now, size_t n_now, unsigned resamples, uint64_t seed)
{
    struct side a, b;
    side_init(&a, then, n_then);
    side_init(&b, now, n_now);
    *out = (struct regression){.n_then = n_then,
                               .n_now = n_now,
                               .block_then = a.block,
                               .block_now = b.block,
                               .median_then = n_then ? side_median(&a) : NAN,
                               .median_now = n_now ? side_median(&b) : NAN,
                               .low = NAN,
                               .high = NAN,
                               .p = NAN,
                               .worse = NAN,
                               .spread = NAN};
    out->ratio = out->median_now / out->median_then;
    if (MIN(n_then, n_now) >= REGRESSION_N_LEAST) {
        size_t fits = DRAWS_MAX / (n_then + n_now);
        fits = MAX(MIN(fits, (size_t)RESAMPLES), (size_t)RESAMPLES_LEAST);
        bootstrap(out, &a, &b, resamples ? resamples : fits, seed);
        test_ranks(out, &a, &b);
        out->spread = sqrt((log_variance(&a) + log_variance(&b)) / 2);
    }
    side_fini(&a);
    side_fini(&b);
}

/* ---- the verdict ---- */

/* Holm (1979): the k-th smallest of m is multiplied by m - k + 1, and none is less than the one before. */
static void correct(struct regression *all, size_t count)
{
    bool done[64] = {false};
    size_t tests = 0;
    double least = 0;
    ENSURE(count <= COUNT(done));
    for (size_t i = 0; i < count; i++)
        tests += !isnan(all[i].p);
    for (size_t left = tests; left > 0; left--) {
        size_t best = count;
        for (size_t i = 0; i < count; i++)
            if (!done[i] && !isnan(all[i].p) && (best == count || all[i].p < all[best].p))
                best = i;
        done[best] = true;
        least = all[best].p = MIN(1.0, MAX(least, all[best].p * (double)left));
    }
}

static enum regression_verdict verdict_of(const struct regression *r, double allowed)
{
    bool beyond = r->ratio > 1 + allowed;
    if (isnan(r->p))
        return REGRESSION_TOO_FEW;
    if (r->p < REGRESSION_P && r->low > 1)
        return beyond ? REGRESSION_FAILED : REGRESSION_SMALLER;
    if (r->p < REGRESSION_P && r->high < 1)
        return REGRESSION_BETTER;
    return beyond ? REGRESSION_UNPROVEN : REGRESSION_NONE;
}

bool regression_judge(struct regression *all, size_t count, double allowed)
{
    bool failed = false;
    correct(all, count);
    for (size_t i = 0; i < count; i++) {
        all[i].verdict = verdict_of(&all[i], allowed);
        all[i].certain = all[i].low > 1 + allowed;
        failed |= all[i].verdict == REGRESSION_FAILED;
    }
    return failed;
}

double regression_needs(double spread, double share)
{
    double size = log1p(share);
    return ceil(16.4 * spread * spread / (size * size));
}

/* ---- failures ---- */

static double log_choose(double n, double k)
{
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
}

double fisher_more(uint64_t then_bad, uint64_t then_n, uint64_t now_bad, uint64_t now_n)
{
    uint64_t bad = then_bad + now_bad;
    double every_way = log_choose((double)(then_n + now_n), (double)bad), sum = 0;
    if (then_n == 0 || now_n == 0)
        return NAN;
    for (uint64_t k = now_bad; k <= MIN(bad, now_n); k++)
        if (bad - k <= then_n)
            sum += exp(log_choose((double)now_n, (double)k) +
                       log_choose((double)then_n, (double)(bad - k)) - every_way);
    return MIN(sum, 1.0);
}
