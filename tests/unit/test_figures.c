/* test_figures.c -- numbers in the instrument's sentences: digits, units, and never an exponent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>

#include <cmocka.h>

#include "measure/figures.h"

static void digits_are_counted(void **state)
{
    (void)state;
    static const struct {
        double value;
        int digits;
        const char *text;
    } cases[] = {
        {0, 3, "0"},
        {-0.0, 3, "0"},
        {1, 3, "1"},
        {12.345, 3, "12.3"},
        {9.996, 3, "10"},
        {99.96, 3, "100"},
        {999.6, 3, "1,000"},
        {16123.4, 3, "16,123"},
        {0.00004, 3, "0.00004"},
        {1e6, 4, "1,000,000"},
        {90.0123, 4, "90.01"},
        {1234567.8, 3, "1,234,568"},
        {0.5, 1, "0.5"},
        {-1234.6, 4, "-1,235"},
        {1e-15, 3, "0"},
        {-1e-15, 3, "0"},
        {NAN, 3, "n/a"},
        {INFINITY, 3, "n/a"},
        {1e300, 3, "more than 10^18"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(figure_digits(cases[i].value, cases[i].digits).text, cases[i].text);
    for (double v = 1e-12; v < 1e18; v *= 3.7)
        for (int digits = 1; digits <= 9; digits++)
            assert_null(strchr(figure_digits(v, digits).text, 'e'));
}

static void counts_are_grouped(void **state)
{
    (void)state;
    assert_string_equal(figure_count(0).text, "0");
    assert_string_equal(figure_count(999).text, "999");
    assert_string_equal(figure_count(1000).text, "1,000");
    assert_string_equal(figure_count(UINT64_MAX).text, "18,446,744,073,709,551,615");
}

static void times_have_the_unit_that_fits(void **state)
{
    (void)state;
    static const struct {
        double ns;
        const char *text;
    } cases[] = {
        {0, "0 ms"},        {40, "40 ns"},    {0.5, "0.5 ns"},    {999.6, "1 us"},
        {12345, "12.3 us"}, {80000, "80 us"}, {999600, "1 ms"},   {2.1e6, "2.1 ms"},
        {101e6, "101 ms"},  {999.6e6, "1 s"}, {1234e6, "1.23 s"}, {5e12, "5,000 s"},
        {NAN, "n/a"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(figure_time(cases[i].ns).text, cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_are_counted),
        cmocka_unit_test(counts_are_grouped),
        cmocka_unit_test(times_have_the_unit_that_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
