/* ranks.c -- see ranks.h. */
#include "measure/ranks.h"

#include <math.h>

#include "base/mem.h"

/* Stands for an infinite difference of logarithms, so that sums of two are numbers; no finite difference of doubles' logarithms is above 1,500. */
static const double far_away = 1e6;

/* ---- order ---- */

static int compare_doubles(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    if (isnan(a) || isnan(b))
        return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

void sort_doubles(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
}

double sorted_quantile(const double *sorted, size_t n, double quantile)
{
    if (n == 0)
        return NAN;
    double rank = ceil(quantile * (double)n - 1e-9); /* 0.95 * 20 is 19, whatever doubles say */
    return sorted[rank < 1 ? 0 : MIN((size_t)rank, n) - 1];
}

double log_ratio(double a, double b)
{
    if (isinf(a) || isinf(b))
        return isinf(a) && isinf(b) ? NAN : isinf(a) ? INFINITY : -INFINITY;
    return a <= b && a >= b ? 0 : log(a / b); /* 0 and 0, too: both are free */
}

/* ---- the normal and the chi-square distribution ---- */

/* By bisection of erfc: exact to the last digits, and called a few times a report. */
double normal_quantile(double p)
{
    double low = -40, high = 40;
    for (int i = 0; i < 100; i++) {
        double middle = (low + high) / 2;
        if (erfc(-middle / sqrt(2)) / 2 < p)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

/* lgamma would write to a variable that all threads share. */
static double log_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}

/* The regularised upper incomplete gamma function: its series below a + 1, its continued fraction (Lentz's way) above. Abramowitz and
 * Stegun 6.5.29 and 6.5.31. */
double chi_square_above(double x, double degrees_of_freedom)
{
    double a = degrees_of_freedom / 2, half = x / 2;
    if (!(half > 0))
        return isnan(half) ? NAN : 1;
    if (isinf(half))
        return 0;
    double front = exp(a * log(half) - half - log_gamma(a));
    if (half < a + 1) {
        double term = 1 / a, sum = term;
        for (double k = a + 1; term > sum * 1e-17; k++) {
            term *= half / k;
            sum += term;
        }
        return 1 - front * sum;
    }
    double b = half + 1 - a, c = 1e300, d = 1 / b, value = d;
    for (int i = 1; i < 1000; i++) {
        double up = -i * (i - a), step;
        b += 2;
        d = 1 / (up * d + b);
        c = b + up / c;
        step = d * c;
        value *= step;
        if (fabs(step - 1) < 1e-16)
            break;
    }
    return front * value;
}

/* ---- signed ranks ---- */

struct difference {
    double size;
    bool positive;
};

static int compare_sizes(const void *x, const void *y)
{
    double a = ((const struct difference *)x)->size, b = ((const struct difference *)y)->size;
    return (a > b) - (a < b);
}

#define SUMS_MAX (SIGNED_RANK_EXACT_MAX * (SIGNED_RANK_EXACT_MAX + 1) + 1)

/* The chance of each sum of ranks when each has its sign by a fair coin: all sums are counted, rank by rank. Ranks and sums are doubled, since
 * tied ranks have halves. */
static void chances_of_sums(const unsigned *doubled_ranks, size_t n, double chance[SUMS_MAX])
{
    unsigned reached = 0;
    memset(chance, 0, SUMS_MAX * sizeof *chance);
    chance[0] = 1;
    for (size_t i = 0; i < n; i++) {
        unsigned r = doubled_ranks[i];
        reached += r;
        for (unsigned w = reached; w >= r; w--)
            chance[w] = (chance[w] + chance[w - r]) / 2;
        for (unsigned w = 0; w < r; w++)
            chance[w] /= 2;
    }
}

static double exact_p(const unsigned *doubled_ranks, size_t n, double w_plus)
{
    double chance[SUMS_MAX], sum = 0;
    unsigned all = (unsigned)(n * (n + 1)), w = (unsigned)lrint(2 * w_plus);
    chances_of_sums(doubled_ranks, n, chance);
    for (unsigned i = 0; i <= MIN(w, all - w); i++)
        sum += chance[i];
    return MIN(2 * sum, 1.0);
}

static double normal_p(double w, size_t count, double tie_sum)
{
    double n = (double)count, from_mean = fabs(w - n * (n + 1) / 4);
    double variance = n * (n + 1) * (2 * n + 1) / 24 - tie_sum / 48;
    if (variance <= 0 || from_mean <= .5)
        return 1;
    return erfc((from_mean - .5) / sqrt(2 * variance));
}

/* Gives tied sizes the mean of their ranks (doubled); sums the ranks of positive ones. */
static void rank_sizes(const struct difference *d, struct signed_rank *s, double *tie_sum,
                       unsigned *doubled_ranks)
{
    for (size_t from = 0, to; from < s->n; from = to) {
        for (to = from + 1; to < s->n && d[to].size <= d[from].size;)
            to++;
        double ties = (double)(to - from), rank = (double)(from + 1 + to) / 2;
        *tie_sum += ties * ties * ties - ties;
        for (size_t i = from; i < to; i++) {
            s->w_plus += d[i].positive ? rank : 0;
            if (s->exact)
                doubled_ranks[i] = (unsigned)(from + 1 + to);
        }
    }
}

struct signed_rank signed_rank_test(const double *differences, size_t n)
{
    struct signed_rank s = {0};
    struct difference *d = mem_alloc(MAX(n, (size_t)1) * sizeof *d);
    unsigned doubled_ranks[SIGNED_RANK_EXACT_MAX];
    double tie_sum = 0;
    for (size_t i = 0; i < n; i++)
        if (differences[i] < 0 || differences[i] > 0)
            d[s.n++] = (struct difference){fabs(differences[i]), differences[i] > 0};
    qsort(d, s.n, sizeof *d, compare_sizes);
    s.exact = s.n <= SIGNED_RANK_EXACT_MAX;
    rank_sizes(d, &s, &tie_sum, doubled_ranks);
    mem_free(d);
    if (s.n > 0)
        s.p = s.exact ? exact_p(doubled_ranks, s.n, s.w_plus) : normal_p(s.w_plus, s.n, tie_sum);
    else
        s.p = 1;
    return s;
}

/* ---- Hodges and Lehmann's estimate ---- */

/* How many means (d[i] + d[k]) / 2, i <= k, are at most x; d ascending. */
static double means_at_most(const double *d, size_t n, double x)
{
    double count = 0;
    size_t end = n; /* d[i] + d[k] <= 2x for k < end; it falls as i grows */
    for (size_t i = 0; i < n; i++) {
        while (end > 0 && (d[i] + d[end - 1]) / 2 > x)
            end--;
        if (end <= i)
            break;
        count += (double)(end - i);
    }
    return count;
}

/* The rank-th smallest of these means (from 1), by bisection: n^2/2 of them are never made. Off by 1e-13 of their range at most. */
static double mean_of_rank(const double *d, size_t n, double rank)
{
    double low = d[0], high = d[n - 1], close_enough = (high - low) * 1e-13;
    if (means_at_most(d, n, low) >= rank)
        return low;
    while (high - low > close_enough) {
        double middle = low + (high - low) / 2;
        if (!(middle > low && middle < high))
            break;
        if (means_at_most(d, n, middle) >= rank)
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* How many means lie below the interval: the greatest k with P(W <= k - 1) <= alpha / 2, W being n's signed-rank statistic. 0: no
 * interval. */
static double means_left_out(size_t n, double confidence)
{
    double alpha = 1 - confidence, count = (double)n;
    if (n > SIGNED_RANK_EXACT_MAX) {
        double z = normal_quantile(1 - alpha / 2);
        double sd = sqrt(count * (count + 1) * (2 * count + 1) / 24);
        return MAX(floor(count * (count + 1) / 4 - .5 - z * sd) + 1, 0);
    }
    unsigned ranks[SIGNED_RANK_EXACT_MAX], k = 0;
    double chance[SUMS_MAX], below = 0;
    for (size_t i = 0; i < n; i++)
        ranks[i] = (unsigned)(2 * (i + 1));
    chances_of_sums(ranks, n, chance);
    for (; k <= n * (n + 1) / 2; k++) {
        below += chance[2 * k];
        if (below > alpha / 2)
            break;
    }
    return k;
}

static double back_to_infinity(double value)
{
    return fabs(value) > far_away / 4 ? copysign(INFINITY, value) : value;
}

struct shift hodges_lehmann(const double *differences, size_t n, double confidence)
{
    struct shift s = {NAN, -INFINITY, INFINITY};
    if (n == 0)
        return s;
    double *d = mem_alloc(n * sizeof *d), means = (double)n * ((double)n + 1) / 2;
    for (size_t i = 0; i < n; i++)
        d[i] = isnan(differences[i]) ? 0 : fmax(-far_away, fmin(far_away, differences[i]));
    sort_doubles(d, n);
    double lower_middle = mean_of_rank(d, n, floor((means + 1) / 2));
    double upper_middle = mean_of_rank(d, n, floor(means / 2) + 1);
    s.value = back_to_infinity((lower_middle + upper_middle) / 2);
    double out = confidence > 0 ? means_left_out(n, confidence) : 0;
    if (out >= 1) {
        s.low = back_to_infinity(mean_of_rank(d, n, out));
        s.high = back_to_infinity(mean_of_rank(d, n, means + 1 - out));
    }
    mem_free(d);
    return s;
}

/* ---- more than two ---- */

/* Adds a block's ranks to the sums; returns the sum of t^3 - t over its ties. */
static double rank_block(const double *values, size_t systems, double *rank_sums)
{
    double ties = 0;
    for (size_t s = 0; s < systems; s++) {
        double below = 0, equal = 0;
        for (size_t o = 0; o < systems; o++) {
            below += values[o] < values[s];
            equal += values[o] <= values[s] && values[o] >= values[s];
        }
        rank_sums[s] += below + (equal + 1) / 2;
        ties += equal * equal - 1; /* each of `equal` values adds its part of equal^3 - equal */
    }
    return ties;
}

struct friedman friedman_test(const double *values, size_t blocks, size_t systems)
{
    struct friedman f = {NAN, NAN, 0};
    double *sums = mem_alloc(MAX(systems, (size_t)1) * sizeof *sums), ties = 0, squares = 0;
    for (size_t b = 0; b < blocks; b++) {
        bool whole = true;
        for (size_t s = 0; s < systems; s++)
            whole = whole && !isnan(values[b * systems + s]);
        if (!whole)
            continue;
        ties += rank_block(values + b * systems, systems, sums);
        f.blocks++;
    }
    double n = (double)f.blocks, k = (double)systems;
    for (size_t s = 0; s < systems; s++)
        squares += (sums[s] - n * (k + 1) / 2) * (sums[s] - n * (k + 1) / 2);
    mem_free(sums);
    if (f.blocks < 2 || systems < 2)
        return f;
    double scale = n * k * (k + 1) / 12 - ties / (12 * (k - 1));
    f.statistic = scale > 0 ? squares / scale : 0;
    f.p = scale > 0 ? chi_square_above(f.statistic, k - 1) : 1;
    return f;
}

/* ---- shares, and many tests at once ---- */

double mcnemar_p(uint64_t only_a, uint64_t only_b)
{
    double n = (double)(only_a + only_b), sum = 0;
    uint64_t rarer = MIN(only_a, only_b);
    for (uint64_t i = 0; i <= rarer && n > 0; i++) {
        double k = (double)i;
        sum += exp(log_gamma(n + 1) - log_gamma(k + 1) - log_gamma(n - k + 1) - n * log(2));
    }
    return n > 0 ? MIN(2 * sum, 1.0) : 1;
}

void holm_adjust(double *p, size_t count)
{
    double *given = mem_alloc(MAX(count, (size_t)1) * sizeof *given);
    size_t tests = 0;
    memcpy(given, p, count * sizeof *given);
    sort_doubles(given, count); /* NaNs last */
    while (tests < count && !isnan(given[tests]))
        tests++;
    for (size_t i = 0; i < count; i++) {
        double adjusted = p[i]; /* stays where it is NaN */
        for (size_t k = 0; k < tests && given[k] <= p[i]; k++)
            adjusted = fmax(adjusted, fmin(1, given[k] * (double)(tests - k)));
        p[i] = adjusted;
    }
    mem_free(given);
}
