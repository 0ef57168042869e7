/* when_stamp: the stamps of logs by a table, against timegm at random, and every day of 800 years. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "base/when.h"

#define UNTOUCHED 4242

static void reads_stamps(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
        bool zoned;
    } cases[] = {
        {"2026-11-24T01:49:00.123Z", 1795484940123000, true},
        {"2026-11-24T01:49:00Z", 1795484940000000, true},
        {"2026-11-24t01:49:00z", 1795484940000000, true},
        {"2026-11-24T01:49:00", 1795484940000000, false},
        {"2026-11-24 01:49:00,123", 1795484940123000, false},
        {"2026-11-24 01:49:00.1", 1795484940100000, false},
        {"2026-11-24 01:49:00.123456Z", 1795484940123456, true},
        {"2026-11-24 01:49:00.1234567Z", 1795484940123456, true},
        {"2026-11-24 01:49:00.999999999Z", 1795484940999999, true},
        {"2026-11-24T02:49:00+01:00", 1795484940000000, true},
        {"2026-11-24T02:49:00.5+0100", 1795484940500000, true},
        {"2026-11-23T22:49:00-03", 1795484940000000, true},
        {"2026-11-24T01:49:00-00:00", 1795484940000000, true},
        {"2026-11-24T01:49:00+23:59", 1795398600000000, true},
        {"1970-01-01T00:00:00Z", 0, true},
        {"1969-12-31T23:59:59.999999Z", -1, true},
        {"1970-01-01T00:00:00+00:01", -60000000, true},
        {"2000-02-29T12:34:56.999Z", 951827696999000, true},
        {"2024-02-29T00:00:00Z", 1709164800000000, true},
        {"2016-12-31T23:59:60Z", 1483228799999999, true},
        {"2016-12-31T23:59:60.25Z", 1483228799999999, true},
        {"2038-01-19T03:14:08Z", 2147483648000000, true},
        {"0000-01-01T00:00:00Z", -62167219200000000, true},
        {"0000-02-29T00:00:00Z", -62162121600000000, true},
        {"0000-03-01T00:00:00Z", -62162035200000000, true},
        {"9999-12-31T23:59:59.999999Z", 253402300799999999, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t us = UNTOUCHED;
        bool zoned = !cases[i].zoned;
        if (!when_stamp(str_from(cases[i].text), &us, &zoned))
            fail_msg("\"%s\" was refused", cases[i].text);
        if (us != cases[i].us || zoned != cases[i].zoned)
            fail_msg("\"%s\" is %lld, zoned %d", cases[i].text, (long long)us, zoned);
    }
}

static const char *const no_stamps[] = {
    "",
    "2026-11-24",
    "2026-11-24T01:49",
    "2026-11-24T01:49Z",
    "2026-11-24T01:49:0",
    " 2026-11-24T01:49:00",
    "2026-11-24T01:49:00 ",
    "2026-11-24T01:49:00 Z",
    "2026-11-24  01:49:00",
    "2026-11-24_01:49:00",
    "2026/11/24T01:49:00",
    "2026-11-24T01.49.00",
    "20261124T014900Z000",
    "-001-11-24T01:49:00Z",
    "+2026-11-24T01:49:00",
    "2026-00-24T01:49:00Z",
    "2026-13-24T01:49:00Z",
    "2026-11-00T01:49:00Z",
    "2026-11-31T01:49:00Z",
    "2026-02-29T01:49:00Z",
    "1900-02-29T01:49:00Z",
    "2100-02-29T01:49:00Z",
    "2024-02-30T01:49:00Z",
    "2026-04-31T01:49:00Z",
    "2026-11-24T24:00:00Z",
    "2026-11-24T01:60:00Z",
    "2026-11-24T01:49:61Z",
    "2026-11-24T01:49:00.Z",
    "2026-11-24T01:49:00.",
    "2026-11-24T01:49:00,",
    "2026-11-24T01:49:00.12x",
    "2026-11-24T01:49:00ZZ",
    "2026-11-24T01:49:00Z1",
    "2026-11-24T01:49:00+",
    "2026-11-24T01:49:00+1",
    "2026-11-24T01:49:00+01:",
    "2026-11-24T01:49:00+01:0",
    "2026-11-24T01:49:00+010",
    "2026-11-24T01:49:00+01000",
    "2026-11-24T01:49:00+24:00",
    "2026-11-24T01:49:00+01:60",
    "2026-11-24T01:49:00+0a:00",
    "2026-11-24T01:49:00+01:00:00",
    "2O26-11-24T01:49:00Z",
    "2026-11-24T01:4/:00Z",
    "2026-11-24T01:49::0Z",
    "\xB2\xB0\xB2\xB6-11-24T01:49:00Z",
};

static void refuses_what_is_no_stamp(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(no_stamps); i++) {
        int64_t us = UNTOUCHED;
        bool zoned = true;
        if (when_stamp(str_from(no_stamps[i]), &us, &zoned))
            fail_msg("\"%s\" was read", no_stamps[i]);
        assert_int_equal(us, UNTOUCHED);
        assert_true(zoned);
    }
    int64_t us;
    bool zoned;
    assert_false(when_stamp(STR_NONE, &us, &zoned));
    assert_false(when_stamp(STR("2026-11-24T01:49:00\0"), &us, &zoned));
}

/* Of each length, in memory that ends there, so that the sanitizer sees a byte read too many. */
static void ends_where_the_text_ends(void **state)
{
    (void)state;
    static const char whole[] = "2026-11-24T01:49:00.12+01:30";
    static const size_t stamps[] = {19, 21, 22, 25, 28};
    int64_t us;
    bool zoned;
    assert_false(when_stamp((struct str){"2026-11-24T01:49:00", 18}, &us, &zoned));
    for (size_t n = 0, next = 0; n < sizeof whole; n++) {
        char *copy = mem_alloc(n ? n : 1);
        bool is_stamp = next < COUNT(stamps) && n == stamps[next];
        next += is_stamp;
        memcpy(copy, whole, n);
        assert_int_equal(when_stamp((struct str){copy, n}, &us, &zoned), is_stamp);
        assert_int_equal(when_stamp((struct str){whole, n}, &us, &zoned), is_stamp);
        mem_free(copy);
    }
}

/* A stamp of any kind, and what timegm says of it. */
struct sample {
    char text[128];
    int64_t us;
    bool zoned;
};

static int below(struct rng *r, int end)
{
    return (int)(rng_next(r) % (unsigned)end);
}

static struct tm random_time(struct rng *r)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct tm tm = {.tm_year = below(r, 10000) - 1900,
                    .tm_mon = below(r, 12),
                    .tm_hour = below(r, 24),
                    .tm_min = below(r, 60),
                    .tm_sec = below(r, 60)};
    tm.tm_mday = 1 + below(r, month_days[tm.tm_mon]);
    return tm;
}

static struct sample random_sample(struct rng *r)
{
    static const char *const zones[] = {"", "Z", "%c%02d:%02d", "%c%02d%02d", "%c%02d"};
    struct sample s;
    struct tm tm = random_time(r);
    char nanoseconds[16], fraction[16] = "", zone[16];
    int digits = below(r, 10), kind = below(r, COUNT(zones));
    bool west = below(r, 2);
    int hours = below(r, 24), minutes = kind == 4 ? 0 : below(r, 60);
    snprintf(nanoseconds, sizeof nanoseconds, "%09d", below(r, 1000000000));
    memset(nanoseconds + digits, '0', (size_t)(9 - digits)); /* they are not written */
    if (digits)
        snprintf(fraction, sizeof fraction, "%c%.*s", ".,"[below(r, 2)], digits, nanoseconds);
    snprintf(zone, sizeof zone, zones[kind], west ? '-' : '+', hours, minutes);
    snprintf(s.text, sizeof s.text, "%04d-%02d-%02d%c%02d:%02d:%02d%s%s", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, "T "[below(r, 2)], tm.tm_hour, tm.tm_min, tm.tm_sec,
             fraction, zone);
    int offset_s = kind < 2 ? 0 : (hours * 3600 + minutes * 60) * (west ? -1 : 1);
    s.us = ((int64_t)timegm(&tm) - offset_s) * 1000000 + strtoll(nanoseconds, NULL, 10) / 1000;
    s.zoned = kind > 0;
    return s;
}

static void agrees_with_timegm(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 20261125);
    for (int i = 0; i < 20000; i++) {
        struct sample s = random_sample(&r);
        int64_t us = UNTOUCHED;
        bool zoned = !s.zoned;
        if (!when_stamp(str_from(s.text), &us, &zoned))
            fail_msg("\"%s\" was refused", s.text);
        if (us != s.us || zoned != s.zoned)
            fail_msg("\"%s\" is %lld, expected %lld", s.text, (long long)us, (long long)s.us);
    }
}

/* From 1570 to 2369: two of the calendar's periods of 400 years. */
static void knows_every_day(void **state)
{
    (void)state;
    for (int64_t day = -146097; day < 146097; day++) {
        time_t t = (time_t)day * 86400;
        struct tm tm;
        char text[64];
        int64_t us = UNTOUCHED;
        bool zoned;
        assert_non_null(gmtime_r(&t, &tm));
        snprintf(text, sizeof text, "%04d-%02d-%02dT00:00:00Z", tm.tm_year + 1900, tm.tm_mon + 1,
                 tm.tm_mday);
        if (!when_stamp(str_from(text), &us, &zoned) || us != day * 86400000000)
            fail_msg("\"%s\" is %lld", text, (long long)us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_stamps),
        cmocka_unit_test(refuses_what_is_no_stamp),
        cmocka_unit_test(ends_where_the_text_ends),
        cmocka_unit_test(agrees_with_timegm),
        cmocka_unit_test(knows_every_day),
    };
    return cmocka_run_group_tests_name("when_stamp", tests, NULL, NULL);
}
