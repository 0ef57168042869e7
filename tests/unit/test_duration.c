/* Durations as LiteLLM writes them, and the windows they cut time into. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/duration.h"
#include "base/when.h"

static int64_t at(const char *stamp)
{
    int64_t us;
    bool zoned;
    assert_true(when_stamp(str_from(stamp), &us, &zoned));
    return us;
}

static struct duration of(const char *text)
{
    struct duration d;
    assert_true(duration_parse(str_from(text), &d, NULL));
    return d;
}

static void takes_what_litellm_takes(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds;
        int months;
    } rows[] = {{"30s", 30, 0},      {"30m", 1800, 0},         {"12h", 43200, 0},
                {"30d", 2592000, 0}, {"2w", 1209600, 0},       {"1mo", 0, 1},
                {"1200mo", 0, 1200}, {"36600d", 3162240000, 0}};
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct duration d = of(rows[i].text);
        assert_int_equal(d.seconds, rows[i].seconds);
        assert_int_equal(d.months, rows[i].months);
    }
}

static void refuses_the_rest(void **state)
{
    static const char *const texts[] = {"",
                                        "30",
                                        "s",
                                        "0s",
                                        "-1s",
                                        "1.5h",
                                        "1y",
                                        "1 d",
                                        "1mo ",
                                        "1M",
                                        "1S",
                                        "1201mo",
                                        "36601d",
                                        "1d1h",
                                        "99999999999999999999s",
                                        "9223372036854775807w"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct duration d;
        struct err e = {0};
        assert_false(duration_parse(str_from(texts[i]), &d, &e));
        assert_non_null(strstr(e.text, "1mo"));
        assert_non_null(strstr(e.text, texts[i]));
    }
}

static void months_end_where_the_calendar_says(void **state)
{
    (void)state;
    int64_t begin = at("2026-01-31T10:00:00.5Z");
    assert_int_equal(duration_after(begin, of("1mo"), 1), at("2026-02-28T10:00:00.5Z"));
    assert_int_equal(duration_after(begin, of("1mo"), 2), at("2026-03-31T10:00:00.5Z"));
    assert_int_equal(duration_after(begin, of("1mo"), 25), at("2028-02-29T10:00:00.5Z"));
    assert_int_equal(duration_after(0, of("1mo"), 1), at("1970-02-01T00:00:00Z"));
    assert_int_equal(duration_after(0, of("100w"), INT64_MAX / 2), INT64_MAX);
}

/* Every moment lies in one window, which ends after it, and the next begins where it ends. */
static void windows_leave_no_gap(void **state)
{
    static const char *const texts[] = {"30s", "7m", "5h", "1d", "1w", "1mo", "3mo", "12mo"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct duration d = of(texts[i]);
        int64_t began = at("2026-01-31T23:59:59.9Z"), now = began;
        for (int64_t n = 1; n < 200; n++) {
            int64_t end = duration_window_end(began, d, now);
            assert_int_equal(end, duration_after(began, d, n));
            assert_true(end > now);
            assert_int_equal(duration_window_end(began, d, end - 1), end);
            now = end;
        }
        assert_int_equal(duration_window_end(began, d, began - 1), duration_after(began, d, 1));
    }
    assert_int_equal(duration_window_end(0, of("1d"), at("2026-11-26T03:00:00Z")),
                     at("2026-11-27T00:00:00Z"));
    assert_int_equal(duration_window_end(0, of("1mo"), at("2026-11-26T03:00:00Z")),
                     at("2026-12-01T00:00:00Z"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_litellm_takes),
        cmocka_unit_test(refuses_the_rest),
        cmocka_unit_test(months_end_where_the_calendar_says),
        cmocka_unit_test(windows_leave_no_gap),
    };
    return cmocka_run_group_tests_name("duration", tests, NULL, NULL);
}
