/* The knee of a sweep, against systems whose knee is known: a closed loop of n users on a server of known capacity. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/rand.h"
#include "measure/knee.h"

enum { LEVELS_MAX = 16 };

static void near(double value, double wanted, double within)
{
    if (!(fabs(value - wanted) <= within))
        fail_msg("%g is not %g", value, wanted);
}

/* `slots` requests at a time take `service` each; more wait: the classic corner of a closed loop. `noise`: a share, uniform. */
static size_t sweep(struct knee_level *levels, double slots, double service, double most,
                    double noise, struct rng *r)
{
    size_t n = 0;
    for (double load = 1; load <= most; load *= 2, n++) {
        double throughput = MIN(load, slots) / service;
        throughput *= 1 + noise * (2 * rng_unit(r) - 1);
        levels[n] = (struct knee_level){.load = load,
                                        .throughput = throughput,
                                        .throughput_error = noise * throughput,
                                        .latency = load / throughput};
    }
    return n;
}

static void finds_where_slots_end(void **state)
{
    (void)state;
    struct rng r;
    struct knee_level levels[LEVELS_MAX];
    struct knee k;
    rng_seed(&r, 5);
    size_t n = sweep(levels, 16, 0.5, 128, 0, &r);
    knee_find(levels, n, &k);
    assert_int_equal(k.kind, KNEE_FOUND);
    near(levels[k.at].load, 16, 0);
    near(k.throughput_gain, 0, 1e-12);
    near(k.latency_gain, 1, 1e-12);
    near(k.throughput_gain_before, 1, 1e-12);
    near(k.latency_gain_before, 0, 1e-12);
}

static void finds_it_through_noise(void **state)
{
    (void)state;
    struct rng r;
    struct knee_level levels[LEVELS_MAX];
    struct knee k;
    rng_seed(&r, 7);
    for (int trial = 0; trial < 500; trial++) {
        size_t n = sweep(levels, 16, 0.5, 128, 0.08, &r);
        knee_find(levels, n, &k);
        assert_int_equal(k.kind, KNEE_FOUND);
        near(levels[k.at].load, 16, 0);
    }
}

static void is_not_reached_while_load_pays(void **state)
{
    (void)state;
    struct rng r;
    struct knee_level levels[LEVELS_MAX];
    struct knee k;
    rng_seed(&r, 5);
    size_t n = sweep(levels, 1000, 0.5, 64, 0, &r);
    knee_find(levels, n, &k);
    assert_int_equal(k.kind, KNEE_NOT_REACHED);
    assert_int_equal(k.at, n - 1);
    assert_true(isnan(k.throughput_gain));
    assert_true(knee_goes_on(levels, n));
}

static void one_slot_is_a_knee_at_once(void **state)
{
    (void)state;
    struct rng r;
    struct knee_level levels[LEVELS_MAX];
    struct knee k;
    double loads[2];
    rng_seed(&r, 5);
    size_t n = sweep(levels, 1, 0.5, 8, 0, &r);
    knee_find(levels, n, &k);
    assert_int_equal(k.kind, KNEE_AT_ONCE);
    assert_int_equal(k.at, 0);
    assert_true(isnan(k.throughput_gain_before));
    assert_false(knee_goes_on(levels, n));
    assert_int_equal(knee_refine(levels, n, &k, loads, 2), 0); /* no whole number between 1 and 2 */
}

static void less_than_two_levels_have_none(void **state)
{
    (void)state;
    struct knee_level one = {.load = 1, .throughput = 1, .latency = 1};
    struct knee k;
    knee_find(&one, 1, &k);
    assert_int_equal(k.kind, KNEE_NONE);
    knee_find(&one, 0, &k);
    assert_int_equal(k.kind, KNEE_NONE);
    assert_true(knee_goes_on(&one, 1));
}

/* 41 % more for twice the load is where power stands still. */
static void a_doubling_pays_from_41_percent_on(void **state)
{
    (void)state;
    for (int pays = 0; pays < 2; pays++) {
        double second = pays ? 14.3 : 14.0;
        struct knee_level levels[] = {
            {.load = 1, .throughput = 10, .latency = 100},
            {.load = 2, .throughput = second, .latency = 2 / second * 1000},
            {.load = 4, .throughput = second, .latency = 4 / second * 1000},
        };
        struct knee k;
        knee_find(levels, COUNT(levels), &k);
        assert_int_equal(k.at, pays);
    }
}

static void what_failed_is_never_the_knee(void **state)
{
    (void)state;
    struct rng r;
    struct knee_level levels[LEVELS_MAX];
    struct knee k;
    rng_seed(&r, 5);
    size_t n = sweep(levels, 64, 0.5, 64, 0, &r);
    levels[4].bad = true; /* 16 */
    knee_find(levels, n, &k);
    assert_int_equal(k.kind, KNEE_FOUND);
    near(levels[k.at].load, 8, 0);
    assert_int_equal(k.peak, 3);
    assert_false(knee_goes_on(levels, 5));
    levels[0].bad = true;
    knee_find(levels, n, &k);
    assert_int_equal(k.kind, KNEE_NONE);
}

static void looks_closer_beside_the_knee(void **state)
{
    (void)state;
    struct rng r;
    struct knee_level levels[LEVELS_MAX];
    struct knee k;
    double loads[2];
    rng_seed(&r, 5);
    size_t n = sweep(levels, 16, 0.5, 64, 0, &r);
    knee_find(levels, n, &k);
    assert_int_equal(knee_refine(levels, n, &k, loads, 2), 2);
    near(loads[0], 11, 0);
    near(loads[1], 23, 0);
    assert_int_equal(knee_refine(levels, n, &k, loads, 1), 1);
}

static void goes_on_until_two_steps_brought_nothing(void **state)
{
    (void)state;
    struct rng r;
    struct knee_level levels[LEVELS_MAX];
    rng_seed(&r, 5);
    size_t n = sweep(levels, 4, 0.5, 64, 0, &r); /* 1 2 4 | 8 16 */
    assert_true(knee_goes_on(levels, 4));
    assert_false(knee_goes_on(levels, 5));
    assert_true(n > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_where_slots_end),
        cmocka_unit_test(finds_it_through_noise),
        cmocka_unit_test(is_not_reached_while_load_pays),
        cmocka_unit_test(one_slot_is_a_knee_at_once),
        cmocka_unit_test(less_than_two_levels_have_none),
        cmocka_unit_test(a_doubling_pays_from_41_percent_on),
        cmocka_unit_test(what_failed_is_never_the_knee),
        cmocka_unit_test(looks_closer_beside_the_knee),
        cmocka_unit_test(goes_on_until_two_steps_brought_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
