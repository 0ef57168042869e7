/* quantile_interval.c -- between which ranks of a sample does a percentile of the population lie?
 *
 * How many of n independent values lie below the q-quantile is binomial(n, q): B. The value of rank l is above the quantile when B < l, and that of
 * rank u is not above it when B >= u, whatever the values' distribution. So l is the greatest rank with P(B <= l - 1) <= 2.5 %, and u the least one
 * with P(B >= u) <= 2.5 % (Conover, Practical Nonparametric Statistics, 3.2). */
#include <math.h>

#include "measure/spread.h"

static const double tail = 0.025, z95 = 1.959963984540054;
/* Above this variance the normal approximation is off by a rank of thousands. */
static const double normal_variance = 1e6;

uint64_t quantile_needs(double quantile)
{
    double larger = MAX(quantile, 1 - quantile);
    return larger >= 1 || !(larger > 0) ? UINT64_MAX : (uint64_t)ceil(log(tail) / log(larger));
}

static double log_choose(double n, double k)
{
    int sign; /* lgamma would write a global */
    return lgamma_r(n + 1, &sign) - lgamma_r(k + 1, &sign) - lgamma_r(n - k + 1, &sign);
}

/* Sums the binomial's terms from far below the mean, each made from the one before. */
static void exact_ranks(double n, double q, uint64_t *low, uint64_t *high)
{
    double mean = n * q, sd = sqrt(mean * (1 - q)), odds = q / (1 - q);
    double k = MAX(floor(mean - 12 * sd - 40), 0.0), sum = 0;
    double term = exp(log_choose(n, k) + k * log(q) + (n - k) * log1p(-q));
    *low = 0;
    while (k < n) {
        sum += term; /* P(B <= k) */
        if (sum <= tail)
            *low = (uint64_t)k + 1;
        if (1 - sum <= tail)
            break;
        term *= (n - k) / (k + 1) * odds;
        k += 1;
    }
    *high = (uint64_t)k + 1;
}

bool quantile_ranks(uint64_t n, double quantile, uint64_t *low, uint64_t *high)
{
    double size = (double)n, variance = size * quantile * (1 - quantile);
    if (n < quantile_needs(quantile))
        return false;
    if (variance < normal_variance) {
        exact_ranks(size, quantile, low, high);
        return *low >= 1 && *high <= n;
    }
    *low = (uint64_t)floor(size * quantile - z95 * sqrt(variance));
    *high = (uint64_t)ceil(size * quantile + z95 * sqrt(variance)) + 1;
    return *low >= 1 && *high <= n;
}
