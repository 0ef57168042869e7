/* Numbers for people: units, three digits, and what happens where rounding carries. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "cli/numbers.h"

struct pair {
    double value;
    const char *text;
};

#define CHECK(function, pairs)                                                                     \
    for (size_t i = 0; i < COUNT(pairs); i++)                                                      \
    assert_string_equal(function((pairs)[i].value).text, (pairs)[i].text)

static void counts(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {0, "0"},
        {1, "1"},
        {0.5, "0.5"},
        {0.0009996, "0.001"},
        {0.00012345, "0.000123"},
        {9.996, "10"},
        {12.345, "12.3"},
        {99.96, "100"},
        {999, "999"},
        {999.4, "999"},
        {999.5, "1,000"},
        {1000, "1,000"},
        {1234.5, "1,235"},
        {12345, "12,345"},
        {999999, "999,999"},
        {999999.6, "1 M"},
        {1e6, "1 M"},
        {1234567, "1.23 M"},
        {12345678, "12.3 M"},
        {999.4e6, "999 M"},
        {999.6e6, "1 G"},
        {18446744073709551615.0, "18.4 E"},
        {1e21, ">999 E"},
        {1e300, ">999 E"},
        {-1, "-1"},
        {-12345, "-12,345"},
        {-0.0, "0"},
        {1e-10, "0"},
        {-1e-10, "0"},
    };
    CHECK(num_count, pairs);
}

static void what_is_not_known(void **state)
{
    (void)state;
    static struct num (*const all[])(double) = {num_count, num_ms,   num_usd,
                                                num_pct,   num_rate, num_bytes};
    for (size_t i = 0; i < COUNT(all); i++) {
        assert_string_equal(all[i](NAN).text, "–");
        assert_string_equal(all[i](INFINITY).text, "–");
        assert_string_equal(all[i](-INFINITY).text, "–");
    }
}

static void durations(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {0, "0 ms"},
        {0.9996, "0.001 ms"},
        {1, "0.001 ms"},
        {420, "0.42 ms"},
        {999.6, "1 ms"},
        {1234, "1.23 ms"},
        {850000, "850 ms"},
        {999400, "999 ms"},
        {999500, "1 s"},
        {999600, "1 s"},
        {1e6, "1 s"},
        {1.234e6, "1.23 s"},
        {59.9e6, "59.9 s"},
        {59.94e6, "59.9 s"},
        {59.999e6, "1 min"},
        {60e6, "1 min"},
        {61e6, "1 min 1 s"},
        {125e6, "2 min 5 s"},
        {119.6e6, "2 min"},
        {3599.4e6, "59 min 59 s"},
        {3599.6e6, "1 h"},
        {11520e6, "3 h 12 min"},
        {86369e6, "23 h 59 min"},
        {86371e6, "1 d"},
        {190800e6, "2 d 5 h"},
        {86400e6 * 12345, "12,345 d"},
        {1e300, ">999,999,999,999,999 d"},
        {-1500, "-1.5 ms"},
        {-125e6, "-2 min 5 s"},
    };
    CHECK(num_ms, pairs);
}

static void money(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {0, "$0"},
        {0.0000123, "$0.0000123"},
        {0.00001234567, "$0.0000123"},
        {0.0009996, "$0.001"},
        {0.01, "$0.01"},
        {0.1, "$0.10"},
        {0.12345, "$0.123"},
        {0.9996, "$1.00"},
        {1, "$1.00"},
        {1.234, "$1.23"},
        {12.5, "$12.50"},
        {123.456, "$123.46"},
        {999.994, "$999.99"},
        {999.996, "$1,000"},
        {1234.56, "$1,235"},
        {12345, "$12,345"},
        {999999.6, "$1 M"},
        {1234567, "$1.23 M"},
        {2.5e9, "$2.5 B"},
        {1e18, ">$999 T"},
        {-1.234, "-$1.23"},
        {-0.0005, "-$0.0005"},
        {1e-12, "$0"},
    };
    CHECK(num_usd, pairs);
}

static void shares(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {0, "0 %"},
        {0.003, "0.3 %"},
        {0.000009996, "0.001 %"},
        {0.12, "12 %"},
        {0.1234, "12.3 %"},
        {0.07, "7 %"},
        {0.999, "99.9 %"},
        {0.9996, "99.96 %"},
        {0.99996, "99.996 %"},
        {0.99999996, "99.999996 %"},
        {0.999999999996, ">99.9999 %"},
        {1, "100 %"},
        {1.5, "150 %"},
        {123.45, "12,345 %"},
        {-0.25, "-25 %"},
    };
    CHECK(num_pct, pairs);
}

static void rates(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {0, "0/s"},          {0.25, "0.25/s"},   {12.34, "12.3/s"}, {999.6, "1,000/s"},
        {1234.6, "1,235/s"}, {2.5e6, "2.5 M/s"}, {-3, "-3/s"},
    };
    CHECK(num_rate, pairs);
}

static void sizes(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {0, "0 B"},
        {512, "512 B"},
        {999, "999 B"},
        {1000, "0.977 KiB"},
        {1024, "1 KiB"},
        {1536, "1.5 KiB"},
        {1023 * 1024.0, "0.999 MiB"},
        {1048576, "1 MiB"},
        {64 * 1048576.0, "64 MiB"},
        {1e300, ">999 EiB"},
        {-2048, "-2 KiB"},
    };
    CHECK(num_bytes, pairs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),    cmocka_unit_test(what_is_not_known),
        cmocka_unit_test(durations), cmocka_unit_test(money),
        cmocka_unit_test(shares),    cmocka_unit_test(rates),
        cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
