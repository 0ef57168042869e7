/* when: moments, spans and windows, each by a table of values, and of sentences for what is refused.
 *
 * Zones are POSIX rules ("CET-1CEST,..."), which need no tzdata; the changes of 2026 are tried with Europe/Berlin itself too,
 * where it is installed. Now is a Wednesday, 14:03:07.250 in Berlin. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/when.h"

#define BERLIN    "CET-1CEST,M3.5.0,M10.5.0/3"
#define SANTIAGO  "<-04>4<-03>,M9.1.6/24,M4.1.6/24"
#define KATHMANDU "<+0545>-5:45"
#define NONE      "a number is missing"
#define UNITS     "w, d, h, m, s, ms, us"
#define UNTOUCHED 4242
#define NOW_US    1795611787250000 /* 2026-11-25T13:03:07.250Z */

static void set_zone(const char *tz)
{
    assert_int_equal(setenv("TZ", tz, 1), 0);
    tzset();
}

/* The moment in UTC, to the millisecond, by code that is not under test. */
static void assert_moment(int64_t us, const char *want, const char *text)
{
    char got[CLOCK_RFC3339_BYTES + 1] = "";
    clock_rfc3339(us, got);
    if (strcmp(got, want) != 0)
        fail_msg("\"%s\" is %s, expected %s", text, got, want);
}

/* ---- spans ---- */

static void reads_spans(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"250ms", 250000},
        {"90s", 90000000},
        {"15m", 900000000},
        {"1h30m", 5400000000},
        {"2d", 172800000000},
        {"1w", 604800000000},
        {"1.5h", 5400000000},
        {"1 hour", 3600000000},
        {"2 hours 5 minutes", 7500000000},
        {"2 hours, 5 minutes", 7500000000},
        {"2 hours and 5 minutes", 7500000000},
        {"2 hrs,  and 5mins", 7500000000},
        {"an hour", 3600000000},
        {"a day and an hour", 90000000000},
        {" \t1H 30M ", 5400000000},
        {"1w2d3h4m5s6ms7us", 788645006007},
        {"7 \xC2\xB5s", 7},
        {"7\xCE\xBCs", 7},
        {"0.000001s", 1},
        {"0.1234567899s", 123456},
        {"1.000000001w", 604800000604},
        {"007s", 7000000},
        {"9223372036854775807us", INT64_MAX},
        {"15250284w", 15250284 * 604800000000},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = {0};
        int64_t us = UNTOUCHED;
        if (!when_span(str_from(cases[i].text), &us, &e))
            fail_msg("\"%s\": %s", cases[i].text, e.text);
        assert_int_equal(us, cases[i].us);
        assert_string_equal(e.text, "");
    }
}

static void refuses_what_is_no_span(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", NONE},
        {" ", NONE},
        {"15", "15 needs a unit, one of " UNITS},
        {"1.5 ", "1.5 needs a unit, one of " UNITS},
        {"h", "no number where it says \"h\""},
        {"a", "a needs a unit, one of " UNITS},
        {"-5m", "no number where it says \"-5m\""},
        {".5h", "no number where it says \".5h\""},
        {"1.h", "no digit behind the point of \"1.\""},
        {"1,5h", "1 needs a unit, one of " UNITS},
        {"2 fortnights", "\"fortnights\" is none of the units " UNITS},
        {"1 month", "\"month\" is none of the units " UNITS},
        {"1hx", "\"hx\" is none of the units " UNITS},
        {"1h!", "no number where it says \"!\""},
        {"1h and", NONE},
        {"1h,", NONE},
        {"30m1h", "larger units come first, and each once"},
        {"1h 1h", "larger units come first, and each once"},
        {"0s", "it must be longer than nothing"},
        {"0.0000001s", "it must be longer than nothing"},
        {"9223372036854775808us", "9223372036854775808 is too much"},
        {"9223372036854775807ms", "it is longer than 292,000 years"},
        {"15250285w", "it is longer than 292,000 years"},
        {"9223372036854775us 1000us", "larger units come first, and each once"},
        {"9223372036854775ms 808us", "it is longer than 292,000 years"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = {0};
        int64_t us = UNTOUCHED;
        char want[sizeof e.text];
        assert_false(when_span(str_from(cases[i][0]), &us, &e));
        assert_int_equal(us, UNTOUCHED);
        snprintf(want, sizeof want,
                 "expected a span of time, got \"%s\": %s. Examples: " WHEN_SPAN_EXAMPLES,
                 cases[i][0], cases[i][1]);
        assert_string_equal(e.text, want);
    }
    int64_t us;
    assert_false(when_span(STR_NONE, &us, NULL)); /* nobody wants the sentence */
}

/* ---- moments ---- */

static const char *const moments[][2] = {
    {"now", "2026-11-25T13:03:07.250Z"},
    {" NOW\t", "2026-11-25T13:03:07.250Z"},
    /* so long before now */
    {"1 hour ago", "2026-11-25T12:03:07.250Z"},
    {"An Hour Ago", "2026-11-25T12:03:07.250Z"},
    {"a week ago", "2026-11-18T13:03:07.250Z"},
    {"90 minutes ago", "2026-11-25T11:33:07.250Z"},
    {"2 hours and 5 minutes ago", "2026-11-25T10:58:07.250Z"},
    {"2d ago", "2026-11-23T13:03:07.250Z"},
    {"-3h", "2026-11-25T10:03:07.250Z"},
    {"- 3h", "2026-11-25T10:03:07.250Z"},
    {"15m", "2026-11-25T12:48:07.250Z"},
    {"1.5h", "2026-11-25T11:33:07.250Z"},
    {"250ms", "2026-11-25T13:03:07.000Z"},
    {"an hour", "2026-11-25T12:03:07.250Z"},
    {"5w", "2026-10-21T13:03:07.250Z"}, /* 24-hour days, though summer time was then */
    /* days and times */
    {"today", "2026-11-24T23:00:00.000Z"},
    {"yesterday", "2026-11-23T23:00:00.000Z"},
    {"today 14:00", "2026-11-25T13:00:00.000Z"},
    {"yesterday 14:00", "2026-11-24T13:00:00.000Z"},
    {"yesterday at 14:00:05", "2026-11-24T13:00:05.000Z"},
    {"  Yesterday   AT  9:30 ", "2026-11-24T08:30:00.000Z"},
    {"14:00", "2026-11-25T13:00:00.000Z"},
    {"14:00:05", "2026-11-25T13:00:05.000Z"},
    {"14:00:05,25", "2026-11-25T13:00:05.250Z"},
    {"14:00:60", "2026-11-25T13:00:59.999Z"},
    {"0:00", "2026-11-24T23:00:00.000Z"},
    {"23:59", "2026-11-25T22:59:00.000Z"}, /* today's, and yet to come */
    {"14:00 UTC", "2026-11-25T14:00:00.000Z"},
    {"today 00:30+14:00", "2026-11-25T10:30:00.000Z"}, /* there it is the 26th */
    {"today 23:00-1130", "2026-11-26T10:30:00.000Z"},
    /* weekdays: today, a Wednesday, is a week away */
    {"monday", "2026-11-22T23:00:00.000Z"},
    {"tuesday", "2026-11-23T23:00:00.000Z"},
    {"Wednesday", "2026-11-17T23:00:00.000Z"},
    {"last wednesday", "2026-11-17T23:00:00.000Z"},
    {"thurs", "2026-11-18T23:00:00.000Z"},
    {"LAST  friday", "2026-11-19T23:00:00.000Z"},
    {"sat at 7:05", "2026-11-21T06:05:00.000Z"},
    {"last sun 12:00", "2026-11-22T11:00:00.000Z"},
    /* dates */
    {"2026-11-25", "2026-11-24T23:00:00.000Z"},
    {"2026-11-25 14:00", "2026-11-25T13:00:00.000Z"},
    {"2026-11-25  at 14:00", "2026-11-25T13:00:00.000Z"},
    {"2026-07-01 12:00", "2026-07-01T10:00:00.000Z"},
    {"2026-11-25T14:00:00", "2026-11-25T13:00:00.000Z"},
    {"2026-11-25T14:00:00Z", "2026-11-25T14:00:00.000Z"},
    {"2026-11-25t14:00z", "2026-11-25T14:00:00.000Z"},
    {"2026-11-25T14:00:00+01:00", "2026-11-25T13:00:00.000Z"},
    {"2026-11-25 14:00:00.123456789 +0530", "2026-11-25T08:30:00.123Z"},
    {"2026-11-25 14:00-03", "2026-11-25T17:00:00.000Z"},
    {"2024-02-29", "2024-02-28T23:00:00.000Z"},
    {"2000-02-29 12:00 gmt", "2000-02-29T12:00:00.000Z"},
    {"1970-01-01 00:00Z", "1970-01-01T00:00:00.000Z"},
    {"1969-12-31 23:59:59.5Z", "1969-12-31T23:59:59.500Z"},
    {"1970-01-01", "1969-12-31T23:00:00.000Z"},
    {"0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"},
    {"9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"},
    /* since 1970 */
    {"@0", "1970-01-01T00:00:00.000Z"},
    {"@1795640452", "2026-11-25T21:00:52.000Z"},
    {"@ 1795640452.5", "2026-11-25T21:00:52.500Z"},
    {"@1795640452123", "2026-11-25T21:00:52.123Z"},
    {"@99999999999", "5138-11-16T09:46:39.000Z"},
    {"@100000000000", "1973-03-03T09:46:40.000Z"},
};

static void reads_moments(void **state)
{
    (void)state;
    set_zone(BERLIN);
    for (size_t i = 0; i < COUNT(moments); i++) {
        struct err e = {0};
        int64_t us = UNTOUCHED;
        if (!when_parse(str_from(moments[i][0]), NOW_US, &us, &e))
            fail_msg("\"%s\": %s", moments[i][0], e.text);
        assert_moment(us, moments[i][1], moments[i][0]);
    }
    int64_t us;
    assert_true(when_parse(STR("1970-01-01 00:00:00.123456789Z"), NOW_US, &us, NULL));
    assert_int_equal(us, 123456);
    assert_true(when_parse(STR("@1795640452.123456"), NOW_US, &us, NULL));
    assert_int_equal(us, 1795640452123456);
}

static const char *const no_moments[][2] = {
    {"", "there is nothing"},
    {"  ", "there is nothing"},
    {"soonish", "it is no day, time or span"},
    {"+3h", "it is no day, time or span"},
    {"nowhere", "it is no day, time or span"},
    {"yesterda", "it is no day, time or span"},
    {"mo", "it is no day, time or span"},
    {"2026-02-29", "the days of 2026-02 are 01 to 28"},
    {"2024-02-30", "the days of 2024-02 are 01 to 29"},
    {"1900-02-29", "the days of 1900-02 are 01 to 28"},
    {"2026-11-31", "the days of 2026-11 are 01 to 30"},
    {"2026-11-00 14:00", "the days of 2026-11 are 01 to 30"},
    {"2026-13-01", "months are 01 to 12, not 13"},
    {"2026-00-10", "months are 01 to 12, not 00"},
    {"2026-1-5", "a date has ten characters, like 2026-11-25"},
    {"2026-", "a date has ten characters, like 2026-11-25"},
    {"2026-11-255", "a date has ten characters, like 2026-11-25"},
    {"2026-11-2514:00", "a date has ten characters, like 2026-11-25"},
    {"-0001-01-01", "0001 needs a unit, one of " UNITS},
    {"0000-12-31", "it is not in the years 0001 to 9999"},
    {"0001-01-01T00:00:00+00:01", "it is not in the years 0001 to 9999"},
    {"9999-12-31T23:59:59-00:01", "it is not in the years 0001 to 9999"},
    {"10000-01-01", "10000 needs a unit, one of " UNITS},
    {"24:00", "times are 00:00 to 23:59, or with seconds like 14:00:05, not \"24:00\""},
    {"14:6", "times are 00:00 to 23:59, or with seconds like 14:00:05, not \"14:6\""},
    {"14:60", "times are 00:00 to 23:59, or with seconds like 14:00:05, not \"14:60\""},
    {"14:", "times are 00:00 to 23:59, or with seconds like 14:00:05, not \"14:\""},
    {"today 14:00:61", "times are 00:00 to 23:59, or with seconds like 14:00:05, not \"14:00:61\""},
    {"14:00:05.", "times are 00:00 to 23:59, or with seconds like 14:00:05, not \"14:00:05.\""},
    {"14:00:", "times are 00:00 to 23:59, or with seconds like 14:00:05, not \"14:00:\""},
    {"114:00", "114 needs a unit, one of " UNITS},
    {"14:000", "\"0\" is not understood"},
    {"2:30pm", "\"pm\" is not understood"},
    {"yesterday noon", "\"noon\" is not understood"},
    {"2026-11-25 14:00 CET", "\"CET\" is not understood"},
    {"2026-11-25Z", "\"Z\" is not understood"},
    {"yesterday at", "expected a time like 14:00 behind the day"},
    {"2026-11-25T", "expected a time like 14:00 behind the day"},
    {"last week", "expected a weekday behind \"last\", not \"week\""},
    {"last today", "expected a weekday behind \"last\", not \"today\""},
    {"last", "expected a weekday behind \"last\", not \"\""},
    {"14:00 +1", "zones are Z, UTC or like +01:00, not \"+1\""},
    {"14:00+24:00", "zones are Z, UTC or like +01:00, not \"+24:00\""},
    {"14:00-01:60", "zones are Z, UTC or like +01:00, not \"-01:60\""},
    {"14:00Z+1", "\"+1\" is not understood"},
    {"@", NONE},
    {"@-1", "no number where it says \"-1\""},
    {"@12x", "\"x\" is not understood"},
    {"@253402300800000", "it is not in the years 0001 to 9999"},
    {"@9223372036854775807", "it is not in the years 0001 to 9999"},
    {"@99999999999999999999", "99999999999999999999 is too much"},
    {"15", "15 needs a unit, one of " UNITS},
    {"3 months ago", "\"months\" is none of the units " UNITS},
    {"ago", NONE},
    {"today ago", "no number where it says \"today\""},
    {"-", NONE},
    {"--3h", "no number where it says \"-3h\""},
    {"-3h ago", "no number where it says \"ago\""},
    {"0s ago", "it must be longer than nothing"},
    {"110000w", "it is not in the years 0001 to 9999"},
    {"9223372036854775807us ago", "it is not in the years 0001 to 9999"},
    {"15250285w ago", "it is longer than 292,000 years"},
};

static void refuses_what_is_no_moment(void **state)
{
    (void)state;
    set_zone(BERLIN);
    for (size_t i = 0; i < COUNT(no_moments); i++) {
        struct err e = {0};
        int64_t us = UNTOUCHED;
        char want[sizeof e.text];
        if (when_parse(str_from(no_moments[i][0]), NOW_US, &us, &e))
            fail_msg("\"%s\" was read", no_moments[i][0]);
        assert_int_equal(us, UNTOUCHED);
        snprintf(want, sizeof want,
                 "expected a moment, got \"%s\": %s. Examples: " WHEN_MOMENT_EXAMPLES,
                 no_moments[i][0], no_moments[i][1]);
        assert_string_equal(e.text, want);
    }
}

/* Of the longest text, all of the sentence is there. */
static void cuts_what_it_quotes(void **state)
{
    (void)state;
    char text[2000];
    struct err e = {0};
    int64_t from_us, until_us;
    memset(text, '7', sizeof text);
    assert_false(when_parse((struct str){text, sizeof text}, NOW_US, &from_us, &e));
    assert_string_equal(e.text,
                        "expected a moment, got \"7777777777777777777777777777777777777777\": "
                        "7777777777777777777777777777777777777777 is too much. Examples: " //
                        WHEN_MOMENT_EXAMPLES);
    e = (struct err){0};
    memcpy(text + sizeof text - 7, "..today", 7);
    assert_false(when_window((struct str){text, sizeof text}, NOW_US, &from_us, &until_us, &e));
    assert_string_equal(
        e.text, "expected a window of time, got \"7777777777777777777777777777777777777777\": of "
                "its beginning, 7777777777777777777777777777777777777777 is too much. Examples: " //
        WHEN_WINDOW_EXAMPLES);
}

/* ---- windows ---- */

static void reads_windows(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"today", "2026-11-24T23:00:00.000Z", "2026-11-25T23:00:00.000Z"},
        {" Yesterday ", "2026-11-23T23:00:00.000Z", "2026-11-24T23:00:00.000Z"},
        {"last hour", "2026-11-25T12:00:00.000Z", "2026-11-25T13:00:00.000Z"},
        {"LAST  week", "2026-11-15T23:00:00.000Z", "2026-11-22T23:00:00.000Z"},
        {"2026-11-24", "2026-11-23T23:00:00.000Z", "2026-11-24T23:00:00.000Z"},
        {"2024-02-29", "2024-02-28T23:00:00.000Z", "2024-02-29T23:00:00.000Z"},
        {"9999-12-31", "9999-12-30T23:00:00.000Z", "9999-12-31T23:00:00.000Z"},
        {"monday", "2026-11-22T23:00:00.000Z", "2026-11-23T23:00:00.000Z"},
        {"last fri", "2026-11-19T23:00:00.000Z", "2026-11-20T23:00:00.000Z"},
        {"2026-03-29", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"}, /* 23 h */
        {"2026-10-25", "2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z"}, /* 25 h */
        {"2h..1h", "2026-11-25T11:03:07.250Z", "2026-11-25T12:03:07.250Z"},
        {"yesterday .. now", "2026-11-23T23:00:00.000Z", "2026-11-25T13:03:07.250Z"},
        {"2026-11-24 14:00..2026-11-24 15:30", "2026-11-24T13:00:00.000Z",
         "2026-11-24T14:30:00.000Z"},
        {"14:00:00.5..14:00:01", "2026-11-25T13:00:00.500Z", "2026-11-25T13:00:01.000Z"},
        {"@1795640452..2026-11-26T00:00Z", "2026-11-25T21:00:52.000Z", "2026-11-26T00:00:00.000Z"},
    };
    set_zone(BERLIN);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = {0};
        int64_t from_us = UNTOUCHED, until_us = UNTOUCHED;
        if (!when_window(str_from(cases[i][0]), NOW_US, &from_us, &until_us, &e))
            fail_msg("\"%s\": %s", cases[i][0], e.text);
        assert_moment(from_us, cases[i][1], cases[i][0]);
        assert_moment(until_us, cases[i][2], cases[i][0]);
    }
}

static void refuses_what_is_no_window(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "there is nothing"},
        {"1h", "it is no day, no hour or week, and has no \"..\""},
        {"now", "it is no day, no hour or week, and has no \"..\""},
        {"yesterday 14:00", "it is one moment, and has no \"..\" and another"},
        {"14:00", "it is one moment, and has no \"..\" and another"},
        {"last month", "expected a weekday behind \"last\", not \"month\""},
        {"2026-02-30", "the days of 2026-02 are 01 to 28"},
        {"0000-01-01", "it is not in the years 0001 to 9999"},
        {"..now", "of its beginning, there is nothing"},
        {"yesterday..", "of its end, there is nothing"},
        {"..", "of its beginning, there is nothing"},
        {"soon..now", "of its beginning, it is no day, time or span"},
        {"today..25:00",
         "of its end, times are 00:00 to 23:59, or with seconds like 14:00:05, not \"25:00\""},
        {"3h..2h..1h", "of its end, no number where it says \"..1h\""},
        {"now..now", "its end is not after its beginning"},
        {"1h..2h", "its end is not after its beginning"},
    };
    set_zone(BERLIN);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = {0};
        int64_t from_us = UNTOUCHED, until_us = UNTOUCHED;
        char want[sizeof e.text];
        if (when_window(str_from(cases[i][0]), NOW_US, &from_us, &until_us, &e))
            fail_msg("\"%s\" was read", cases[i][0]);
        assert_int_equal(from_us, UNTOUCHED);
        assert_int_equal(until_us, UNTOUCHED);
        snprintf(want, sizeof want,
                 "expected a window of time, got \"%s\": %s. Examples: " WHEN_WINDOW_EXAMPLES,
                 cases[i][0], cases[i][1]);
        assert_string_equal(e.text, want);
    }
}

/* ---- clocks that change ---- */

static void assert_changes_of_2026(void)
{
    static const char *const cases[][2] = {
        {"2026-03-29 01:59:59", "2026-03-29T00:59:59.000Z"},
        {"2026-03-29 02:00", "2026-03-29T01:00:00.000Z"}, /* skipped: 03:00 */
        {"2026-03-29 02:30", "2026-03-29T01:30:00.000Z"}, /* skipped: 03:30 */
        {"2026-03-29 02:59:59", "2026-03-29T01:59:59.000Z"},
        {"2026-03-29 03:00", "2026-03-29T01:00:00.000Z"},
        {"2026-03-29 03:30", "2026-03-29T01:30:00.000Z"},
        {"2026-10-25 01:59:59", "2026-10-24T23:59:59.000Z"},
        {"2026-10-25 02:00", "2026-10-25T00:00:00.000Z"}, /* twice: the first */
        {"2026-10-25 02:30", "2026-10-25T00:30:00.000Z"},
        {"2026-10-25 02:59:59", "2026-10-25T00:59:59.000Z"},
        {"2026-10-25 03:00", "2026-10-25T02:00:00.000Z"},
        {"2026-10-25 02:30+01:00", "2026-10-25T01:30:00.000Z"}, /* the second, by its zone */
    };
    /* Backward and forward: what was asked before must not matter. */
    for (size_t i = 0; i < 2 * COUNT(cases); i++) {
        const char *const *c = cases[i < COUNT(cases) ? i : 2 * COUNT(cases) - 1 - i];
        int64_t us = UNTOUCHED;
        assert_true(when_parse(str_from(c[0]), NOW_US, &us, NULL));
        assert_moment(us, c[1], c[0]);
    }
}

static void changes_of_the_clocks_are_deterministic(void **state)
{
    (void)state;
    set_zone(BERLIN);
    assert_changes_of_2026();
    if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == 0) {
        set_zone("Europe/Berlin");
        assert_changes_of_2026();
    } else {
        print_message("no tzdata: Europe/Berlin by its rule only\n");
    }
}

static void days_and_hours_follow_the_zone(void **state)
{
    (void)state;
    static const struct {
        const char *tz, *now, *text, *from, *until;
    } cases[] = {
        /* the hour before the second 02:30 is the first 02:00 to 03:00 */
        {BERLIN, "2026-10-25T01:30Z", "last hour", "2026-10-25T00:00:00.000Z",
         "2026-10-25T01:00:00.000Z"},
        {BERLIN, "2026-03-29T01:30Z", "last hour", "2026-03-29T00:00:00.000Z",
         "2026-03-29T01:00:00.000Z"},
        {BERLIN, "2026-03-30T12:00Z", "yesterday", "2026-03-28T23:00:00.000Z",
         "2026-03-29T22:00:00.000Z"},
        {BERLIN, "2026-03-30T12:00Z", "last week", "2026-03-22T23:00:00.000Z",
         "2026-03-29T22:00:00.000Z"}, /* that Monday's: 167 h */
        {BERLIN, "2026-03-29T21:59Z", "last week", "2026-03-15T23:00:00.000Z",
         "2026-03-22T23:00:00.000Z"},
        {BERLIN, "2026-11-24T23:00Z", "today", "2026-11-24T23:00:00.000Z",
         "2026-11-25T23:00:00.000Z"},
        {BERLIN, "2026-11-24T22:59Z", "today", "2026-11-23T23:00:00.000Z",
         "2026-11-24T23:00:00.000Z"},
        {BERLIN, "1969-12-31T22:30Z", "today", "1969-12-30T23:00:00.000Z",
         "1969-12-31T23:00:00.000Z"},
        /* midnight of the 6th is skipped, and the last hour of the 4th is there twice */
        {SANTIAGO, "2026-09-06T12:00Z", "today", "2026-09-06T04:00:00.000Z",
         "2026-09-07T03:00:00.000Z"},
        {SANTIAGO, "2026-04-05T12:00Z", "yesterday", "2026-04-04T03:00:00.000Z",
         "2026-04-05T04:00:00.000Z"},
        {KATHMANDU, "2026-11-25T13:03:07Z", "last hour", "2026-11-25T11:15:00.000Z",
         "2026-11-25T12:15:00.000Z"},
        {KATHMANDU, "2026-11-25T13:03:07Z", "today", "2026-11-24T18:15:00.000Z",
         "2026-11-25T18:15:00.000Z"},
        {"UTC0", "2026-01-01T00:00Z", "yesterday", "2025-12-31T00:00:00.000Z",
         "2026-01-01T00:00:00.000Z"},
        {"UTC0", "1970-01-01T00:00Z", "last week", "1969-12-22T00:00:00.000Z",
         "1969-12-29T00:00:00.000Z"},
        {"UTC0", "1969-12-31T23:30Z", "last hour", "1969-12-31T22:00:00.000Z",
         "1969-12-31T23:00:00.000Z"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t then_us, from_us, until_us;
        set_zone(cases[i].tz);
        assert_true(when_parse(str_from(cases[i].now), 0, &then_us, NULL));
        assert_true(when_window(str_from(cases[i].text), then_us, &from_us, &until_us, NULL));
        assert_moment(from_us, cases[i].from, cases[i].text);
        assert_moment(until_us, cases[i].until, cases[i].text);
    }
}

/* ---- texts ---- */

static void writes_spans(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "0 s"},
        {1, "1 µs"},
        {999, "999 µs"},
        {1000, "1 ms"},
        {1499, "1 ms"},
        {1500, "2 ms"},
        {250000, "250 ms"},
        {999499, "999 ms"},
        {999500, "1 s"},
        {1000000, "1 s"},
        {4200000, "4.2 s"},
        {4249999, "4.2 s"},
        {4250000, "4.3 s"},
        {59500000, "59.5 s"},
        {59949999, "59.9 s"},
        {59950000, "1 min"},
        {200000000, "3 min 20 s"},
        {180400000, "3 min"},
        {3599499999, "59 min 59 s"},
        {3599500000, "1 h"},
        {7500000000, "2 h 5 min"},
        {86369999999, "23 h 59 min"},
        {86370000000, "1 d"},
        {273600000000, "3 d 4 h"},
        {604800000000, "7 d"},
        {-4200000, "-4.2 s"},
        {INT64_MAX, "106751991 d 4 h"},
        {INT64_MIN, "-106751991 d 4 h"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[WHEN_TEXT_BYTES];
        struct str text = when_span_text(cases[i].us, out, sizeof out);
        assert_string_equal(out, cases[i].text);
        assert_ptr_equal(text.p, out);
        assert_int_equal(text.n, strlen(out));
    }
    char small[5] = "....";
    assert_int_equal(when_span_text(7500000000, small, sizeof small).n, 4);
    assert_string_equal(small, "2 h ");
    assert_int_equal(when_span_text(1, small, 0).n, 0);
}

static void writes_moments(void **state)
{
    (void)state;
    static const struct {
        const char *tz;
        int64_t us;
        const char *text, *zoned;
    } cases[] = {
        {BERLIN, NOW_US, "2026-11-25 14:03:07", "2026-11-25 14:03:07+01:00"},
        {BERLIN, 1782864000000000, "2026-07-01 02:00:00", "2026-07-01 02:00:00+02:00"},
        {BERLIN, 1792890000000000, "2026-10-25 02:00:00", "2026-10-25 02:00:00+01:00"},
        {"UTC0", NOW_US, "2026-11-25 13:03:07", "2026-11-25 13:03:07Z"},
        {"UTC0", 0, "1970-01-01 00:00:00", "1970-01-01 00:00:00Z"},
        {"UTC0", -1, "1969-12-31 23:59:59", "1969-12-31 23:59:59Z"},
        {"<-0330>3:30", NOW_US, "2026-11-25 09:33:07", "2026-11-25 09:33:07-03:30"},
        {KATHMANDU, NOW_US, "2026-11-25 18:48:07", "2026-11-25 18:48:07+05:45"},
        {"<-0030>0:30", NOW_US, "2026-11-25 12:33:07", "2026-11-25 12:33:07-00:30"},
    };
    char out[WHEN_TEXT_BYTES];
    for (size_t i = 0; i < COUNT(cases); i++) {
        set_zone(cases[i].tz);
        assert_int_equal(when_text(cases[i].us, out, sizeof out).n, 19);
        assert_string_equal(out, cases[i].text);
        struct str zoned = when_text_zoned(cases[i].us, out, sizeof out);
        assert_string_equal(out, cases[i].zoned);
        assert_int_equal(zoned.n, strlen(out));
    }
    /* Whatever 64 bits hold has a text, and it fits. */
    set_zone(KATHMANDU);
    assert_string_equal(when_text_zoned(INT64_MAX, out, sizeof out).p,
                        "294247-01-10 09:45:54+05:45");
    assert_string_equal(when_text_zoned(INT64_MIN, out, sizeof out).p,
                        "-290308-12-22 01:44:05+05:45");
    assert_int_equal(when_text(0, out, 5).n, 4);
    assert_string_equal(out, "1970");
}

static void reads_what_it_writes(void **state)
{
    (void)state;
    struct rng r;
    char out[WHEN_TEXT_BYTES];
    rng_seed(&r, 7);
    set_zone(BERLIN);
    for (int i = 0; i < 5000; i++) {
        int64_t second = (int64_t)(rng_next(&r) % 4102444800), us = UNTOUCHED; /* to 2100 */
        struct str text = when_text_zoned(second * 1000000 + 999999, out, sizeof out);
        assert_true(when_parse(text, NOW_US, &us, NULL));
        assert_int_equal(us, second * 1000000);
        /* Local time alone says the same, or the hour before in the one hour that is there twice. */
        assert_true(when_parse(when_text(us, out, sizeof out), NOW_US, &us, NULL));
        assert_true(us == second * 1000000 || us == (second - 3600) * 1000000);
    }
}

/* ---- whatever may come ---- */

static size_t mutate(struct rng *r, char *text, size_t n, size_t cap)
{
    static const char likely[] = "0123456789-+:.,@ TZaghdmsw\xC2\xB5";
    for (unsigned count = (unsigned)(rng_next(r) % 4); count; count--) {
        size_t at = n ? rng_next(r) % n : 0;
        char c = likely[rng_next(r) % (sizeof likely - 1)];
        switch (rng_next(r) % 3) {
        case 0:
            if (n)
                text[at] = c;
            break;
        case 1:
            if (n)
                memmove(text + at, text + at + 1, --n - at);
            break;
        default:
            if (n < cap) {
                memmove(text + at + 1, text + at, n++ - at);
                text[at] = c;
            }
        }
    }
    return n;
}

/* Copies have no byte too many, so that the sanitizer sees one that is read. */
static void assert_sound(struct str text)
{
    char *copy = mem_alloc(text.n ? text.n : 1);
    memcpy(copy, text.p, text.n);
    struct str s = {copy, text.n};
    struct err e = {0};
    int64_t us = UNTOUCHED, until_us = UNTOUCHED;
    bool zoned;
    if (when_parse(s, NOW_US, &us, &e)) {
        assert_true(us >= -62135596800000000 && us < 253402300800000000);
        assert_string_equal(e.text, "");
    } else {
        assert_int_equal(us, UNTOUCHED);
        assert_non_null(strstr(e.text, "@1795640452")); /* the sentence's end */
    }
    if (when_span(s, &us, NULL))
        assert_true(us > 0);
    if (when_window(s, NOW_US, &us, &until_us, NULL))
        assert_true(us < until_us);
    int64_t stamp_us, moment_us;
    if (when_stamp(s, &stamp_us, &zoned) && zoned && stamp_us >= -62135596800000000 &&
        stamp_us < 253402300800000000) { /* each such stamp is also a moment */
        assert_true(when_parse(s, NOW_US, &moment_us, NULL));
        assert_int_equal(moment_us, stamp_us);
    }
    mem_free(copy);
}

static void survives_slips_of_the_finger(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        "now",
        "2 hours and 5 minutes ago",
        "-1h30m",
        "1.5h",
        "yesterday at 14:00:05",
        "last friday 9:30",
        "2026-11-25T14:00:00.123+01:00",
        "2026-11-25 14:00",
        "@1795640452.5",
        "2026-11-24 14:00..15:30Z",
        "last week",
        "9223372036854775807us",
    };
    struct rng r;
    rng_seed(&r, 42);
    set_zone(BERLIN);
    for (int i = 0; i < 40000; i++) {
        char text[64];
        size_t n = strlen(seeds[(size_t)i % COUNT(seeds)]);
        memcpy(text, seeds[(size_t)i % COUNT(seeds)], n);
        n = mutate(&r, text, n, sizeof text);
        assert_sound((struct str){text, n});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_spans),
        cmocka_unit_test(refuses_what_is_no_span),
        cmocka_unit_test(reads_moments),
        cmocka_unit_test(refuses_what_is_no_moment),
        cmocka_unit_test(cuts_what_it_quotes),
        cmocka_unit_test(reads_windows),
        cmocka_unit_test(refuses_what_is_no_window),
        cmocka_unit_test(changes_of_the_clocks_are_deterministic),
        cmocka_unit_test(days_and_hours_follow_the_zone),
        cmocka_unit_test(writes_spans),
        cmocka_unit_test(writes_moments),
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(survives_slips_of_the_finger),
    };
    return cmocka_run_group_tests_name("when", tests, NULL, NULL);
}
