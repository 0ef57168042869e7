/* The regression gate: numbers known from elsewhere, and how often it cries wolf or sleeps, in seeded simulations. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/rand.h"
#include "measure/regression.h"

enum { RESAMPLES = 400 };

static void near(double value, double wanted, double within)
{
    if (!(fabs(value - wanted) <= within))
        fail_msg("%g is not %g", value, wanted);
}

/* Box and Muller. */
static double normal(struct rng *r)
{
    double u = 1 - rng_unit(r), v = rng_unit(r);
    return sqrt(-2 * log(u)) * cos(2 * 3.141592653589793 * v);
}

/* Lognormal latencies, sd of the log `sigma`, each like the one before by `alike` (AR(1)). */
static void latencies(double *out, size_t n, double median, double sigma, double alike,
                      struct rng *r)
{
    double at = normal(r);
    for (size_t i = 0; i < n; i++) {
        out[i] = median * exp(sigma * at);
        at = alike * at + sqrt(1 - alike * alike) * normal(r);
    }
}

static void medians(void **state)
{
    (void)state;
    double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2};
    near(regression_median(odd, 3), 2, 0);
    near(regression_median(even, 4), 2.5, 0);
    assert_true(isnan(regression_median(odd, 0)));
}

/* R: wilcox.test(a, b, exact = FALSE) of these: U = 14.5 pairs of b before a (ties half); z from the same formula by hand. */
static void ranks_by_hand(void **state)
{
    (void)state;
    static const double a[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    static const double b[] = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    struct regression r;
    double greater = 0, ties = 6 * (8 - 2);
    for (size_t i = 0; i < COUNT(a); i++)
        for (size_t k = 0; k < COUNT(b); k++)
            greater += b[k] > a[i] ? 1 : b[k] == a[i] ? .5 : 0;
    /* Sorted values are as alike as can be: shuffled, so that only the test is tested. */
    static const size_t order[] = {3, 8, 0, 6, 1, 9, 4, 2, 7, 5};
    double x[10], y[10];
    for (size_t i = 0; i < 10; i++) {
        x[i] = a[order[i]];
        y[i] = b[order[i]];
    }
    regression_measure(&r, x, 10, y, 10, RESAMPLES, 1);
    double z = (fabs(greater - 50) - .5) / sqrt(100.0 / 12 * (21 - ties / (20 * 19)));
    near(r.worse, greater / 100, 1e-12);
    near(r.p, erfc(z / sqrt(2)), 1e-12);
    near(r.ratio, 9.5 / 5.5, 1e-12);
    assert_int_equal(r.block_then, 1);
    assert_true(r.low <= r.ratio && r.ratio <= r.high);
}

static void too_few_give_no_verdict(void **state)
{
    (void)state;
    static const double few[] = {1, 2, 3}, more[] = {10, 20, 30, 40, 50, 60, 70, 80};
    struct regression r;
    regression_measure(&r, few, 3, more, 8, RESAMPLES, 1);
    assert_false(regression_judge(&r, 1, 0.1));
    assert_int_equal(r.verdict, REGRESSION_TOO_FEW);
    near(r.ratio, 22.5, 1e-12);
    regression_measure(&r, few, 0, more, 8, RESAMPLES, 1);
    assert_false(regression_judge(&r, 1, 0.1));
    assert_true(isnan(r.ratio));
}

static void verdicts(void **state)
{
    (void)state;
    static const struct {
        double ratio, low, high, p;
        enum regression_verdict verdict;
        bool certain;
    } cases[] = {
        {1.30, 1.20, 1.40, 0.001, REGRESSION_FAILED, true},
        {1.12, 1.05, 1.20, 0.001, REGRESSION_FAILED, false},
        {1.08, 1.05, 1.11, 0.001, REGRESSION_SMALLER, false},
        {1.30, 0.90, 1.80, 0.200, REGRESSION_UNPROVEN, false},
        {1.30, 0.90, 1.80, 0.001, REGRESSION_UNPROVEN, false}, /* the two tests disagree */
        {1.02, 0.97, 1.06, 0.400, REGRESSION_NONE, false},
        {0.80, 0.70, 0.90, 0.001, REGRESSION_BETTER, false},
        {1.30, 1.20, 1.40, NAN, REGRESSION_TOO_FEW, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct regression r = {
            .ratio = cases[i].ratio, .low = cases[i].low, .high = cases[i].high, .p = cases[i].p};
        bool failed = regression_judge(&r, 1, 0.1);
        if (r.verdict != cases[i].verdict || r.certain != cases[i].certain)
            fail_msg("case %zu: verdict %d, certain %d", i, r.verdict, r.certain);
        assert_int_equal(failed, cases[i].verdict == REGRESSION_FAILED);
    }
}

static void holm(void **state)
{
    (void)state;
    struct regression all[] = {{.p = 0.04}, {.p = 0.01}, {.p = NAN}, {.p = 0.03}};
    regression_judge(all, COUNT(all), 0.1);
    near(all[1].p, 0.03, 1e-12); /* * 3 */
    near(all[3].p, 0.06, 1e-12); /* * 2 */
    near(all[0].p, 0.06, 1e-12); /* * 1, and not less than the one before */
    assert_true(isnan(all[2].p));
}

/* The share of `trials` experiments in which one metric failed. */
static double alarm_rate(size_t n, double slower, double alike, double allowed, int trials,
                         uint64_t seed)
{
    struct rng r;
    double then[200], now[200];
    int alarms = 0;
    ENSURE(n <= COUNT(then));
    rng_seed(&r, seed);
    for (int i = 0; i < trials; i++) {
        struct regression g;
        latencies(then, n, 100, .35, alike, &r);
        latencies(now, n, 100 * slower, .35, alike, &r);
        regression_measure(&g, then, n, now, n, RESAMPLES, (uint64_t)i + 1);
        alarms += regression_judge(&g, 1, allowed);
    }
    return alarms / (double)trials;
}

static void at_most(double rate, double bound, const char *what)
{
    if (rate > bound)
        fail_msg("%s: %.1f %% alarms, at most %.1f %% expected", what, 100 * rate, 100 * bound);
}

/* Nothing changed: even with nothing allowed at most the 2.5 % of one side of a test at 5 %, within three standard errors of the simulation. */
static void cries_wolf_seldom(void **state)
{
    (void)state;
    enum { TRIALS = 200 };
    double slack = 3 * sqrt(.025 * .975 / TRIALS);
    at_most(alarm_rate(30, 1, 0, 0, TRIALS, 11), .025 + slack, "n = 30, nothing allowed");
    at_most(alarm_rate(30, 1, 0, .1, TRIALS, 12), .025 + slack, "n = 30, 10 % allowed");
    at_most(alarm_rate(100, 1, 0, .1, TRIALS, 13), .025 + slack, "n = 100, 10 % allowed");
    /* Neighbours alike by 0.5 would be 12 % without blocks and the corrected variance. */
    at_most(alarm_rate(100, 1, .5, 0, TRIALS, 14), .04 + slack, "n = 100, r = 0.5");
}

/* A third slower is found nearly always from 100 values on, as regression_needs says: 16.4 * .35^2 / ln(1.2)^2 = 61 for a fifth. */
static void wakes_up(void **state)
{
    (void)state;
    near(regression_needs(.35, .2), 61, 0);
    near(regression_needs(.35, .1), 222, 0);
    double power = alarm_rate(100, 1.33, 0, .1, 100, 21);
    if (power < .95)
        fail_msg("a third slower was found in %.0f %% of all cases", 100 * power);
}

static void fisher(void **state)
{
    (void)state;
    /* R: fisher.test(matrix(c(7, 3, 1, 9), 2), alternative = "greater"): 0.009883 */
    near(fisher_more(1, 10, 7, 10), 0.009883, 1e-6);
    near(fisher_more(0, 30, 0, 30), 1, 1e-12);
    near(fisher_more(5, 10, 0, 10), 1, 1e-12);
    near(fisher_more(0, 10, 10, 10), 1 / 184756.0, 1e-12);
    assert_true(isnan(fisher_more(0, 0, 1, 10)));
}

static void same_seed_same_interval(void **state)
{
    (void)state;
    struct rng r;
    double then[50], now[50];
    struct regression a, b;
    rng_seed(&r, 3);
    latencies(then, 50, 100, .35, 0, &r);
    latencies(now, 50, 100, .35, 0, &r);
    regression_measure(&a, then, 50, now, 50, RESAMPLES, 9);
    regression_measure(&b, then, 50, now, 50, RESAMPLES, 9);
    near(a.low, b.low, 0);
    near(a.high, b.high, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(medians),
        cmocka_unit_test(ranks_by_hand),
        cmocka_unit_test(too_few_give_no_verdict),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(holm),
        cmocka_unit_test(cries_wolf_seldom),
        cmocka_unit_test(wakes_up),
        cmocka_unit_test(fisher),
        cmocka_unit_test(same_seed_same_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
