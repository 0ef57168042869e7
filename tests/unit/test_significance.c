/* Intervals and tests against values known from elsewhere, and against chance itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/rand.h"
#include "observe/significance.h"

static void near(double value, double wanted, double within)
{
    if (!(fabs(value - wanted) <= within))
        fail_msg("%g is not %g", value, wanted);
}

static void wilson_is_as_published(void **state)
{
    (void)state;
    struct interval i = wilson_interval(1, 10);
    near(i.low, 0.0178762, 1e-6);
    near(i.high, 0.4041500, 1e-6);
    i = wilson_interval(0, 20);
    near(i.low, 0, 0);
    near(i.high, 0.1611252, 1e-6);
    i = wilson_interval(20, 20);
    near(i.high, 1, 1e-12);
    near(i.low, 1 - 0.1611252, 1e-6);
    assert_true(isnan(wilson_interval(0, 0).low));
}

static void proportions_are_as_prop_test(void **state)
{
    (void)state;
    /* z = (0.10 - 0.15) / sqrt(0.125 * 0.875 * 2 / 200) = -1.5118579 */
    near(proportions_p(20, 200, 30, 200), 0.1305700, 1e-6);
    near(proportions_p(20, 200, 60, 200), 5.733031e-7, 1e-12); /* z = 5 */
    near(proportions_p(0, 100, 0, 50), 1, 0);
    near(proportions_p(100, 100, 50, 50), 1, 0);
    assert_true(isnan(proportions_p(0, 0, 5, 10)));
    assert_true(isnan(proportions_p(1, 10, 2, 10))); /* too few failures for the test */
}

static void ranks_are_as_wilcox_test(void **state)
{
    (void)state;
    struct histogram a = {0}, b = {0}, none = {0};
    /* All below 256: exact buckets. U is counted pair by pair below. */
    static const uint64_t x[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    static const uint64_t y[] = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    double less = 0, ties = 0, n = 20;
    for (size_t i = 0; i < COUNT(x); i++) {
        histogram_add(&a, x[i]);
        histogram_add(&b, y[i]);
        for (size_t k = 0; k < COUNT(y); k++) /* pair by pair */
            less += x[i] < y[k] ? 1 : x[i] == y[k] ? .5 : 0;
    }
    ties = 6 * (8 - 2); /* 5 to 10 are there twice */
    double z = (less - 50) / sqrt(100.0 / 12 * (n + 1 - ties / (n * (n - 1))));
    struct rank_test test = rank_test(&a, &b);
    near(test.less, less / 100, 1e-12);
    near(test.p, erfc(fabs(z) / sqrt(2)), 1e-12);
    near(test.p, 0.0153317, 1e-7);
    near(rank_test(&b, &a).less, 1 - less / 100, 1e-12);
    near(rank_test(&b, &a).p, test.p, 1e-12);
    near(rank_test(&a, &a).p, 1, 1e-12);
    assert_true(isnan(rank_test(&a, &none).p));
    assert_true(isnan(rank_test(NULL, &b).less));
    histogram_fini(&a);
    histogram_fini(&b);
}

/* Of two samples of one distribution about 1 % differ at p < 0.01, of two that differ nearly all. */
static void false_alarms_are_as_rare_as_said(void **state)
{
    (void)state;
    enum { ROUNDS = 1000, VALUES = 120 };
    struct rng rng;
    int alarms = 0, found = 0;
    rng_seed(&rng, 7);
    for (int round = 0; round < ROUNDS; round++) {
        struct histogram a = {0}, b = {0}, slower = {0};
        for (int i = 0; i < VALUES; i++) {
            histogram_add(&a, (uint64_t)(1e6 * exp(rng_unit(&rng) * 2)));
            histogram_add(&b, (uint64_t)(1e6 * exp(rng_unit(&rng) * 2)));
            histogram_add(&slower, (uint64_t)(1.6e6 * exp(rng_unit(&rng) * 2)));
        }
        alarms += rank_test(&a, &b).p < 0.01;
        found += rank_test(&a, &slower).p < 0.01;
        histogram_fini(&a);
        histogram_fini(&b);
        histogram_fini(&slower);
    }
    assert_in_range(alarms, 1, 25);
    assert_in_range(found, 950, ROUNDS);
}

static void student_is_as_printed(void **state)
{
    (void)state;
    near(student_t95(2), 4.303, 0);
    near(student_t95(27), 2.052, 0);
    near(student_t95(40), 2.021, 0.002);
    near(student_t95(1000), 1.962, 0.001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson_is_as_published),
        cmocka_unit_test(proportions_are_as_prop_test),
        cmocka_unit_test(ranks_are_as_wilcox_test),
        cmocka_unit_test(false_alarms_are_as_rare_as_said),
        cmocka_unit_test(student_is_as_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
