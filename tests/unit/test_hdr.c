/* test_hdr.c -- the histogram against exact values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "measure/hdr.h"

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Heavy-tailed over nine decades. */
static uint64_t draw(struct rng *r)
{
    return (uint64_t)exp(rng_unit(r) * 21.0);
}

static void quantiles_are_within_their_bound(void **state)
{
    (void)state;
    enum { N = 200000 };
    static const double quantiles[] = {0, 0.001, 0.05, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
    uint64_t *values = mem_alloc(N * sizeof *values);
    struct hdr h = {0}, parts[2] = {{0}, {0}};
    struct rng r;
    rng_seed(&r, 7);
    for (int i = 0; i < N; i++) {
        values[i] = draw(&r);
        hdr_add(&h, values[i]);
        hdr_add(&parts[i % 3 == 0], values[i]);
    }
    hdr_merge(&parts[0], &parts[1]);
    qsort(values, N, sizeof *values, compare);
    for (size_t i = 0; i < COUNT(quantiles); i++) {
        double exact = (double)values[nearest_rank(N, quantiles[i]) - 1];
        double got = (double)hdr_quantile(&h, quantiles[i]);
        assert_true(fabs(got - exact) <= 0.0005 * exact);
        assert_int_equal(hdr_quantile(&h, quantiles[i]), hdr_quantile(&parts[0], quantiles[i]));
    }
    assert_int_equal(h.min, values[0]);
    assert_int_equal(h.max, values[N - 1]);
    hdr_fini(&h);
    hdr_fini(&parts[0]);
    hdr_fini(&parts[1]);
    mem_free(values);
}

static void every_value_is_in_its_bucket(void **state)
{
    (void)state;
    uint64_t expected_low = 0;
    for (unsigned o = 0; o < HDR_OCTAVES; o++) {
        for (unsigned s = 0; s < HDR_SUBS; s++) {
            uint64_t low = hdr_low(o, s), high = hdr_high(o, s);
            assert_int_equal(low, expected_low); /* no gap, no overlap */
            assert_int_equal(hdr_octave_of(low), o);
            assert_int_equal(hdr_sub_of(o, low), s);
            assert_int_equal(hdr_octave_of(high), o);
            assert_int_equal(hdr_sub_of(o, high), s);
            expected_low = high + 1;
        }
    }
    assert_true(expected_low == UINT64_C(1) << 43);
    assert_int_equal(hdr_octave_of(UINT64_MAX), HDR_OCTAVES - 1);
    assert_int_equal(hdr_sub_of(HDR_OCTAVES - 1, UINT64_MAX), HDR_SUBS - 1);
}

static void moments_and_ranges(void **state)
{
    (void)state;
    struct hdr h = {0};
    assert_true(isnan(hdr_mean(&h)) && isnan(hdr_stddev(&h)));
    assert_int_equal(hdr_quantile(&h, 0.5), 0);
    assert_int_equal(hdr_between(&h, 0, UINT64_MAX), 0);
    for (uint64_t v = 1; v <= 5; v++)
        hdr_add(&h, v * 100);
    assert_true(fabs(hdr_mean(&h) - 300) < 1e-9);
    assert_true(fabs(hdr_stddev(&h) - 158.11388300841898) < 1e-9);
    assert_int_equal(hdr_between(&h, 0, 100), 0);
    assert_int_equal(hdr_between(&h, 100, 101), 1);
    assert_int_equal(hdr_between(&h, 100, 500), 4);
    assert_int_equal(hdr_between(&h, 0, UINT64_MAX), 5);
    hdr_add(&h, UINT64_MAX); /* beyond what it covers: counted in the last bucket, named exactly */
    assert_true(h.max == UINT64_MAX && hdr_quantile(&h, 1) == UINT64_MAX);
    assert_int_equal(h.octaves[HDR_OCTAVES - 1][HDR_SUBS - 1], 1);
    hdr_fini(&h);
}

static void ranks_are_not_moved_by_rounding(void **state)
{
    (void)state;
    assert_int_equal(nearest_rank(100, 0.07), 7); /* 0.07 * 100 is a little more than 7 */
    assert_int_equal(nearest_rank(100, 0.99), 99);
    assert_int_equal(nearest_rank(1000000, 0.999), 999000);
    assert_int_equal(nearest_rank(3, 0.5), 2);
    assert_int_equal(nearest_rank(10, 0), 1);
    assert_int_equal(nearest_rank(10, 1), 10);
    assert_int_equal(nearest_rank(0, 0.5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_within_their_bound),
        cmocka_unit_test(every_value_is_in_its_bucket),
        cmocka_unit_test(moments_and_ranges),
        cmocka_unit_test(ranks_are_not_moved_by_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
