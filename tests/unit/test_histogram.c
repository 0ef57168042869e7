/* Bands of a histogram: each value is in exactly one, and in the right one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "observe/histogram.h"

static void bands_by_hand(void **state)
{
    (void)state;
    struct histogram h = {0};
    uint64_t counts[3];
    const uint64_t values[] = {0, 5, 9, 10, 99, 100, 1000000};
    for (size_t i = 0; i < COUNT(values); i++)
        histogram_add(&h, values[i]);
    histogram_bands(&h, (const uint64_t[]){5, 10, 100}, 3, counts);
    assert_int_equal(counts[0], 3); /* what is below the first counts there */
    assert_int_equal(counts[1], 2);
    assert_int_equal(counts[2], 2);
    histogram_bands(&h, (const uint64_t[]){50}, 1, counts);
    assert_int_equal(counts[0], COUNT(values));
    histogram_fini(&h);
}

static void no_values(void **state)
{
    (void)state;
    struct histogram h = {0};
    uint64_t counts[] = {7, 7};
    histogram_bands(&h, (const uint64_t[]){1, 2}, 2, counts);
    assert_int_equal(counts[0] + counts[1], 0);
}

/* Against counting one by one, where a value near a border may be in either band. */
static void bands_of_many(void **state)
{
    (void)state;
    enum { VALUES = 20000, BANDS = 40 };
    struct histogram h = {0};
    uint64_t begins[BANDS], counts[BANDS], surely[BANDS] = {0}, seed = 1, sum = 0;
    for (int i = 0; i < BANDS; i++)
        begins[i] = UINT64_C(1) << i;
    for (int i = 0; i < VALUES; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t value = seed >> (24 + i % 40);
        histogram_add(&h, value);
        for (int b = 0; b < BANDS; b++) {
            bool above = b == 0 || (double)value >= (double)begins[b] * 1.004;
            bool below = b == BANDS - 1 || (double)value * 1.004 < (double)begins[b + 1];
            surely[b] += above && below;
        }
    }
    histogram_bands(&h, begins, BANDS, counts);
    for (int b = 0; b < BANDS; b++) {
        assert_true(counts[b] >= surely[b]);
        sum += counts[b];
    }
    assert_int_equal(sum, VALUES);
    histogram_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bands_by_hand),
        cmocka_unit_test(no_values),
        cmocka_unit_test(bands_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
