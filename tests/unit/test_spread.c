/* test_spread.c -- estimates and their intervals: by hand, by brute force, and by simulation (seeded): a 95 % interval has the truth in 95 of a
 * hundred samples, of values that are alike in time, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "measure/spread.h"

static double gauss(struct rng *r)
{
    return sqrt(-2 * log(1 - rng_unit(r))) * cos(2 * M_PI * rng_unit(r));
}

/* Latency in ns of a standard normal value: lognormal, median 100 ms, as provider latencies are (sigma 0.35). */
static uint64_t latency(double z)
{
    return (uint64_t)llround(1e8 * exp(0.35 * z));
}

/* The 95th percentile of the standard normal. */
static const double z95 = 1.6448536269514722;

static void add_all(struct spread *s, const uint64_t *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        spread_add(s, values[i], true);
    spread_seal(s);
}

static void the_smallest_samples(void **state)
{
    (void)state;
    static const struct {
        double quantile;
        uint64_t n;
    } cases[] = {{0.5, 6},      {0.9, 36},       {0.95, 72}, {0.99, 368},
                 {0.999, 3688}, {0.9999, 36887}, {0.01, 368}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t low, high, n = cases[i].n;
        assert_int_equal(quantile_needs(cases[i].quantile), n);
        assert_false(quantile_ranks(n - 1, cases[i].quantile, &low, &high));
        assert_true(quantile_ranks(n, cases[i].quantile, &low, &high));
        assert_true(low >= 1 && low <= high && high <= n);
    }
    assert_true(quantile_needs(0) == UINT64_MAX && quantile_needs(1) == UINT64_MAX);
}

static double binomial(uint64_t n, uint64_t k, double q)
{
    double term = 1;
    for (uint64_t i = 1; i <= k; i++)
        term *= (double)(n - k + i) / (double)i * q;
    for (uint64_t i = 0; i < n - k; i++)
        term *= 1 - q;
    return term;
}

/* By the definition: the greatest l with P(B < l) <= 2.5 %, the least u with P(B >= u) <= 2.5 %. */
static void ranks_by_brute_force(void **state)
{
    (void)state;
    static const double quantiles[] = {0.1, 0.25, 0.5, 0.75, 0.9, 0.95};
    int found = 0;
    for (uint64_t n = 1; n <= 160; n++) {
        for (size_t i = 0; i < COUNT(quantiles); i++) {
            uint64_t l = 0, u = n + 1, low, high;
            double below = 0, above = 0;
            while (l < n && (below += binomial(n, l, quantiles[i])) <= 0.025)
                l++;
            while (u > 0 && (above += binomial(n, u - 1, quantiles[i])) <= 0.025)
                u--;
            bool exists = l >= 1 && u <= n;
            assert_int_equal(quantile_ranks(n, quantiles[i], &low, &high), exists);
            if (exists) {
                assert_int_equal(low, l);
                assert_int_equal(high, u);
                found++;
            }
        }
    }
    assert_true(found > 500);
}

static void ranks_of_great_samples(void **state)
{
    (void)state;
    uint64_t low, high;
    assert_true(quantile_ranks(100, 0.5, &low, &high)); /* the textbooks' example */
    assert_int_equal(low, 40);
    assert_int_equal(high, 61);
    /* On both sides of where the normal approximation begins the same, but for a rank or two of rounding and skew. */
    for (int i = 0; i < 2; i++) {
        uint64_t n = i ? 4000100 : 3999900;
        assert_true(quantile_ranks(n, 0.5, &low, &high));
        assert_true(fabs((double)low - ((double)n / 2 - 1.96 * sqrt((double)n) / 2)) < 3);
        assert_true(fabs((double)high - ((double)n / 2 + 1.96 * sqrt((double)n) / 2)) < 3);
    }
    assert_true(quantile_ranks(1000000000, 0.9999, &low, &high));
    assert_true(low > 999899000 && low < 999900000 && high > 999900000 && high < 999901000);
}

/* ---- simulation ---- */

struct covered {
    int samples, quantile, mean, refused, bare; /* bare: a value without an interval */
};

/* AR(1): each value is `like` of the one before; `like` 0: independent. Truth is known: the quantile of the lognormal. */
static struct covered simulate(size_t n, double quantile, double z, double like, int samples)
{
    struct covered c = {.samples = samples};
    uint64_t *values = mem_alloc(n * sizeof *values);
    double true_mean = 1e8 * exp(0.35 * 0.35 / 2);
    struct rng r;
    rng_seed(&r, 20261126);
    for (int k = 0; k < samples; k++) {
        struct spread s = {0};
        double at = gauss(&r);
        for (size_t i = 0; i < n; i++) {
            values[i] = latency(at);
            at = like * at + sqrt(1 - like * like) * gauss(&r);
        }
        add_all(&s, values, n);
        struct estimate q = spread_quantile(&s, quantile), m = spread_mean(&s);
        double truth = (double)latency(z);
        c.refused += q.refused;
        c.bare += !q.refused && isnan(q.low);
        c.quantile += q.low <= truth && truth <= q.high;
        c.mean += m.low <= true_mean && true_mean <= m.high;
        spread_fini(&s);
    }
    mem_free(values);
    return c;
}

static double percent(int count, const struct covered *c)
{
    return 100.0 * count / c->samples;
}

static void assert_percent(double got, double from, double to, const char *of)
{
    if (!(got >= from && got <= to))
        fail_msg("%s: %.2f %%, expected %.1f to %.1f", of, got, from, to);
}

/* Samples so great that ranks are fine steps: with few, the interval is the next one that has 95 % or more. */
static void intervals_cover_what_they_say(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double quantile, z;
        size_t n;
        int samples;
    } cases[] = {{"p50", 0.5, 0, 401, 3000},
                 {"p90", 0.9, 1.2815515655446004, 2000, 3000},
                 {"p95", 0.95, 1.6448536269514722, 4000, 1500},
                 {"p99", 0.99, 2.3263478740408408, 6000, 1500}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct covered c = simulate(cases[i].n, cases[i].quantile, cases[i].z, 0, cases[i].samples);
        assert_percent(percent(c.quantile, &c), 93.5, 96.5, cases[i].name);
        assert_percent(percent(c.mean, &c), 93.5, 96.5, "mean");
        assert_int_equal(c.refused, 0);
    }
    /* Of eight, ranks 2 to 7 are 93 %, so it is all of them: 99 %. Where the sample happens to look alike in time, it has no interval. */
    struct covered few = simulate(8, 0.5, 0, 0, 3000);
    assert_percent(percent(few.quantile + few.bare, &few), 98.5, 100, "p50 of 8");
    assert_percent(percent(few.bare, &few), 0, 3, "p50 of 8, without an interval");
    assert_int_equal(few.refused, 0);
    few = simulate(100, 0.95, z95, 0, 1000);
    assert_percent(percent(few.quantile + few.bare, &few), 93.5, 100, "p95 of 100");
    assert_percent(percent(few.bare, &few), 0, 4, "p95 of 100, without an interval");
    assert_int_equal(few.refused, 0);
}

/* r = 0.5: the mean's interval must be 1.73 times as wide. A quantile's values are less alike than the values themselves (of the median by a third,
 * further out by less), so its interval, widened by the same, has more than 95 %. */
static void intervals_cover_what_is_alike_in_time(void **state)
{
    (void)state;
    struct covered c = simulate(1000, 0.5, 0, 0.5, 3000);
    assert_percent(percent(c.mean, &c), 93.5, 96.5, "mean");
    assert_percent(percent(c.quantile, &c), 93.5, 99, "p50");
    c = simulate(2000, 0.95, z95, 0.5, 1500);
    assert_percent(percent(c.quantile, &c), 93.5, 99.6, "p95");
}

/* ---- one sample ---- */

/* AR(1) as several threads see it: each takes every k-th value. */
static struct spread of_threads(int threads, double like, size_t n, uint64_t seed)
{
    struct spread parts[4] = {0}, all = {0};
    struct rng r;
    rng_seed(&r, seed);
    double at = gauss(&r);
    for (size_t i = 0; i < n; i++) {
        spread_add(&parts[i % (size_t)threads], latency(at), true);
        at = like * at + sqrt(1 - like * like) * gauss(&r);
    }
    for (int t = 0; t < threads; t++) {
        spread_merge(&all, &parts[t]);
        spread_fini(&parts[t]);
    }
    spread_seal(&all);
    return all;
}

static void values_alike_in_time_weigh_less(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        struct spread alike = of_threads(threads, 0.6, 40000, 5);
        struct spread apart = of_threads(threads, 0, 40000, 6);
        struct spread against = of_threads(threads, -0.6, 40001, 7);
        assert_int_equal(alike.chain_count, threads);
        assert_true(fabs(spread_autocorrelation(&alike) - 0.59) < 0.04); /* of the exponentials */
        assert_true(fabs(spread_n_eff(&alike) / 40000 - 0.26) < 0.03);
        assert_true(spread_autocorrelation(&apart) < 0.02 || threads > 1);
        if (threads % 2 == 1) /* of two threads each sees every second value: 0.36 */
            assert_true(spread_autocorrelation(&against) == 0);
        spread_fini(&alike);
        spread_fini(&apart);
        spread_fini(&against);
    }
}

/* 1,000 values that are much alike weigh as fewer than the 368 that p99's interval needs: it is theirs, and nobody else's. */
static void an_interval_needs_independent_values(void **state)
{
    (void)state;
    struct spread alike = of_threads(1, 0.9, 1000, 8), apart = of_threads(1, 0, 1000, 8);
    struct estimate p99 = spread_quantile(&alike, 0.99), p50 = spread_quantile(&alike, 0.5);
    double r = spread_autocorrelation(&alike);
    assert_true(!p99.refused && isnan(p99.low) && isnan(p99.high));
    assert_true(p99.value == (double)alike.values[989]);
    assert_true(p99.need > 1000 && fabs((double)p99.need - 368 * (1 + r) / (1 - r)) < 2);
    assert_true(isfinite(p50.low) && isfinite(p50.high));
    assert_true(spread_autocorrelation(&apart) == 0);
    assert_true(isfinite(spread_quantile(&apart, 0.99).high));
    assert_int_equal(spread_quantile(&apart, 0.99).need, 368);
    struct estimate narrow = spread_quantile(&apart, 0.5);
    double times = (p50.high - p50.low) / (narrow.high - narrow.low);
    assert_true(times > 2.5 && times < 7); /* sqrt(1.9 / 0.1) is 4.4 */
    spread_fini(&alike);
    spread_fini(&apart);
    alike = of_threads(1, 0.9, 367, 8); /* too few, alike or not: 368 would have a value */
    p99 = spread_quantile(&alike, 0.99);
    assert_true(p99.refused && isnan(p99.value) && isnan(p99.high) && p99.need == 368);
    spread_fini(&alike);
}

/* Of independent values r is above 1.96 / sqrt(pairs) in 2.5 % of samples, however many there are of them. */
static void chance_is_no_likeness(void **state)
{
    (void)state;
    static const size_t sizes[] = {20, 31, 100, 1000};
    for (size_t k = 0; k < COUNT(sizes); k++) {
        int found = 0;
        for (uint64_t seed = 0; seed < 1000; seed++) {
            struct spread s = of_threads(1, 0, sizes[k], seed);
            double r = spread_autocorrelation(&s);
            assert_true(r == 0 || r >= 1.96 / sqrt((double)sizes[k] - 1));
            found += r > 0;
            spread_fini(&s);
        }
        assert_true(found < 45);
    }
    struct spread slight =
        of_threads(1, 0.2, 40000, 3); /* and is not overlooked where it is more */
    assert_true(spread_autocorrelation(&slight) > 0.15);
    spread_fini(&slight);
}

/* The two-pass formula, over one chain. */
static void autocorrelation_is_the_formula(void **state)
{
    (void)state;
    static const uint64_t values[] = {9, 8, 9, 7, 5, 4, 4, 3, 5, 2, 1, 1};
    double mean = 0, products = 0, squares = 0;
    struct spread s = {0};
    add_all(&s, values, COUNT(values));
    for (size_t i = 0; i < COUNT(values); i++)
        mean += (double)values[i] / COUNT(values);
    for (size_t i = 0; i < COUNT(values); i++) {
        double d = (double)values[i] - mean;
        squares += d * d;
        products += i ? d * ((double)values[i - 1] - mean) : 0;
    }
    assert_true(fabs(spread_autocorrelation(&s) - products / squares) < 1e-12);
    spread_fini(&s);
    struct spread same = {0};
    for (int i = 0; i < 1000; i++)
        spread_add(&same, 123456789, true);
    spread_seal(&same);
    assert_true(spread_autocorrelation(&same) == 0 && spread_n_eff(&same) == 1000);
    struct estimate m = spread_mean(&same);
    assert_true(m.value == 123456789 && m.low <= m.value && m.high - m.low < 1);
    spread_fini(&same);
}

static void numbers_by_hand(void **state)
{
    (void)state;
    /* Alternating, so that lag-1 autocorrelation is below zero and counts as none. */
    static const uint64_t values[] = {10, 90, 20, 80, 30, 70, 40, 60, 50, 1000};
    struct spread s = {0};
    add_all(&s, values, COUNT(values));
    struct estimate p50 = spread_quantile(&s, 0.5), p95 = spread_quantile(&s, 0.95);
    assert_true(p50.value == 50 && !p50.refused);
    assert_true(p50.low == 20 && p50.high == 90); /* ranks 2 and 9 of 10: 97.9 % */
    assert_true(p95.refused && isnan(p95.value) && isnan(p95.low) && p95.need == 72);
    assert_true(spread_quantile(&s, 0).value == 10 && spread_quantile(&s, 1).value == 1000);
    assert_true(isnan(spread_quantile(&s, 1).high) && !spread_quantile(&s, 1).refused);
    assert_true(spread_min(&s) == 10 && spread_max(&s) == 1000);
    assert_true(spread_mad(&s) == 20); /* distances 0 10 10 20 20 30 30 40 40 950: the fifth */
    assert_int_equal(spread_outliers(&s), 1);
    struct estimate m = spread_mean(&s);
    assert_true(m.value == 145);
    assert_true(fabs(spread_stddev(&s) - 301.5239073) < 1e-5);
    double half = 2.262 * 301.5239073 / sqrt(10); /* t with 9 degrees of freedom */
    assert_true(m.low == 0 && half > 145 && fabs(m.high - (145 + half)) < 1e-3);
    assert_string_equal(spread_rule(&s), "exact values, nearest rank");
    spread_fini(&s);
}

static void nothing_is_not_zero(void **state)
{
    (void)state;
    struct spread s = {0};
    spread_seal(&s);
    struct estimate q = spread_quantile(&s, 0.5), m = spread_mean(&s);
    assert_true(q.refused && isnan(q.value) && q.need == 6);
    assert_true(isnan(m.value) && isnan(m.low));
    assert_true(isnan(spread_mad(&s)) && isnan(spread_stddev(&s)) && isnan(spread_min(&s)));
    assert_true(spread_quantile(&s, 1).refused);
    assert_int_equal(spread_outliers(&s), 0);
    spread_add(&s, 7, true);
    spread_seal(&s);
    m = spread_mean(&s);
    assert_true(m.value == 7 && isnan(m.low) && isnan(m.high));
    spread_fini(&s);
}

static void failures_are_infinitely_slow(void **state)
{
    (void)state;
    struct spread s = {0};
    struct rng r;
    rng_seed(&r, 1);
    for (int i = 0; i < 900; i++)
        spread_add(&s, latency(gauss(&r)), true);
    spread_seal(&s);
    struct estimate plain = spread_quantile(&s, 0.9), p90 = spread_quantile_failing(&s, 0.9, 100);
    struct estimate p85 = spread_quantile_failing(&s, 0.85, 100);
    struct estimate p95 = spread_quantile_failing(&s, 0.95, 100);
    assert_true(isfinite(plain.high));
    assert_true(p90.value == spread_max(&s)); /* rank 900 of 1,000 is the last that did not fail */
    assert_true(isfinite(p90.low) && isinf(p90.high));
    assert_true(isfinite(p85.high) && p85.value > spread_quantile(&s, 0.85).value);
    assert_true(isinf(p95.value) && isinf(p95.low) && isinf(p95.high) && !p95.refused);
    spread_fini(&s);
}

static void the_histogram_tells_the_same(void **state)
{
    (void)state;
    struct spread exact = {0}, rough = {0};
    struct rng r;
    rng_seed(&r, 3);
    for (int i = 0; i < 50000; i++) {
        uint64_t v = latency(gauss(&r) * 2);
        spread_add(&exact, v, true);
        spread_add(&rough, v, false);
    }
    spread_seal(&exact);
    spread_seal(&rough);
    static const double quantiles[] = {0.001, 0.25, 0.5, 0.9, 0.99, 0.999};
    for (size_t i = 0; i < COUNT(quantiles); i++) {
        struct estimate a = spread_quantile(&exact, quantiles[i]);
        struct estimate b = spread_quantile(&rough, quantiles[i]);
        assert_true(fabs(a.value - b.value) <= 0.0005 * a.value);
        assert_true(fabs(a.low - b.low) <= 0.0005 * a.low);
        assert_true(fabs(a.high - b.high) <= 0.0005 * a.high);
    }
    assert_true(fabs(spread_mad(&exact) - spread_mad(&rough)) <= 0.002 * spread_mad(&exact));
    assert_true(llabs((int64_t)(spread_outliers(&exact) - spread_outliers(&rough))) <= 5);
    assert_true(spread_mean(&exact).high == spread_mean(&rough).high);
    assert_string_equal(spread_rule(&rough), "histogram, within 0.05 %");
    spread_fini(&exact);
    spread_fini(&rough);
}

/* In one, and by merging; and what was kept of either is then forgotten. */
static void beyond_a_million_the_histogram_is_used(void **state)
{
    (void)state;
    struct spread s = {.unit = 1e-3}, half = {.unit = 1e-3}, other = {.unit = 1e-3};
    for (uint32_t i = 0; i <= SPREAD_EXACT_MAX; i++) {
        if (i == SPREAD_EXACT_MAX)
            assert_false(s.overflowed);
        spread_add(&s, 1000 + i, true);
        spread_add(i % 2 ? &half : &other, 1000 + i, true);
    }
    spread_merge(&half, &other);
    spread_seal(&s);
    spread_seal(&half);
    assert_true(s.overflowed && !s.values && half.overflowed && !half.values);
    double truth = (1000 + SPREAD_EXACT_MAX / 2) * 1e-3; /* in the metric's unit */
    assert_true(fabs(spread_quantile(&s, 0.5).value - truth) <= 0.0005 * truth);
    assert_true(spread_quantile(&half, 0.5).value == spread_quantile(&s, 0.5).value);
    assert_int_equal(spread_count(&half), SPREAD_EXACT_MAX + 1);
    spread_fini(&s);
    spread_fini(&half);
    spread_fini(&other);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void sealing_sorts(void **state)
{
    (void)state;
    enum { N = 5000 };
    uint64_t *values = mem_alloc(N * sizeof *values);
    struct rng r;
    rng_seed(&r, 11);
    for (int shift = 0; shift < 64; shift += 7) {
        struct spread s = {0};
        for (int i = 0; i < N; i++)
            spread_add(&s, values[i] = rng_next(&r) >> shift, true);
        spread_seal(&s);
        qsort(values, N, sizeof *values, compare);
        assert_memory_equal(values, s.values, N * sizeof *values);
        spread_fini(&s);
    }
    mem_free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_samples),
        cmocka_unit_test(ranks_by_brute_force),
        cmocka_unit_test(ranks_of_great_samples),
        cmocka_unit_test(intervals_cover_what_they_say),
        cmocka_unit_test(intervals_cover_what_is_alike_in_time),
        cmocka_unit_test(values_alike_in_time_weigh_less),
        cmocka_unit_test(an_interval_needs_independent_values),
        cmocka_unit_test(chance_is_no_likeness),
        cmocka_unit_test(autocorrelation_is_the_formula),
        cmocka_unit_test(numbers_by_hand),
        cmocka_unit_test(nothing_is_not_zero),
        cmocka_unit_test(failures_are_infinitely_slow),
        cmocka_unit_test(the_histogram_tells_the_same),
        cmocka_unit_test(beyond_a_million_the_histogram_is_used),
        cmocka_unit_test(sealing_sorts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
