/* Axes and plots: round ends and ticks, places, and paths exactly as they are drawn. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "cli/plot.h"

#define DAY_US 86400e6

/* ---- scales ---- */

static const char *ends_of(enum scale_kind kind, double low, double high, double step_least,
                           int most)
{
    static char text[600];
    struct scale s = {.kind = kind, .low = low, .high = high, .step_least = step_least};
    scale_round(&s, most);
    assert_true(isfinite(s.low) && isfinite(s.high) && s.low < s.high);
    snprintf(text, sizeof text, "%g..%g", s.low, s.high);
    return text;
}

static const char *ticks_of(enum scale_kind kind, double low, double high, double step_least,
                            int most)
{
    static char text[2000];
    char label[SCALE_LABEL_BYTES];
    double ticks[SCALE_TICKS_MAX];
    struct scale s = {.kind = kind,
                      .low = low,
                      .high = high,
                      .step_least = step_least,
                      .show = kind == SCALE_DURATION ? num_ms : num_count};
    scale_round(&s, most);
    size_t n = scale_ticks(&s, most, ticks), at = 0;
    assert_true(n <= SCALE_TICKS_MAX);
    text[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || ticks[i] > ticks[i - 1]);
        assert_true(scale_place(&s, ticks[i]) >= 0 && scale_place(&s, ticks[i]) <= 1);
        scale_label(&s, ticks[i], label);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? "|" : "", label);
    }
    return text;
}

static void linear_ends(void **state)
{
    (void)state;
    assert_string_equal(ends_of(SCALE_LINEAR, 0, 3260, 1, 5), "0..4000");
    assert_string_equal(ends_of(SCALE_LINEAR, 7, 7, 0, 5), "0..8"); /* 0 is always on it */
    assert_string_equal(ends_of(SCALE_LINEAR, 0, 0, 0, 5), "0..1");
    assert_string_equal(ends_of(SCALE_LINEAR, -3, 8, 0, 5), "-5..10");
    assert_string_equal(ends_of(SCALE_LINEAR, -8, -3, 0, 5), "-8..0");
    assert_string_equal(ends_of(SCALE_LINEAR, 8, -3, 0, 5), "-5..10");
    assert_string_equal(ends_of(SCALE_LINEAR, 0, 1e-9, 0, 5), "0..1e-09");
    assert_string_equal(ends_of(SCALE_LINEAR, 0, INFINITY, 0, 5), "0..1");
    assert_string_equal(ends_of(SCALE_LINEAR, NAN, NAN, 1, 5), "0..1");
    assert_string_equal(ends_of(SCALE_LINEAR, INFINITY, -INFINITY, 1, 5), "0..1");
    ends_of(SCALE_LINEAR, -1e308, 1e308, 0, 5);
    ends_of(SCALE_LINEAR, 0, 5e-324, 0, 5);
}

static void linear_ticks(void **state)
{
    (void)state;
    assert_string_equal(ticks_of(SCALE_LINEAR, 0, 3260, 1, 5), "0|1,000|2,000|3,000|4,000");
    assert_string_equal(ticks_of(SCALE_LINEAR, 0, 1, 0, 5), "0|0.2|0.4|0.6|0.8|1");
    assert_string_equal(ticks_of(SCALE_LINEAR, 0, 1, 1, 5), "0|1"); /* no half requests */
    assert_string_equal(ticks_of(SCALE_LINEAR, -3, 8, 0, 5), "-5|0|5|10");
    assert_string_equal(ticks_of(SCALE_LINEAR, 0, 0, 1, 5), "0|1");
}

static void duration_ends(void **state)
{
    (void)state;
    assert_string_equal(ends_of(SCALE_DURATION, 780e3, 24e6, 0, 6), "500000..3e+07");
    assert_string_equal(ends_of(SCALE_DURATION, 1e6, 1e6, 0, 6), "1e+06..2e+06");
    assert_string_equal(ends_of(SCALE_DURATION, 0, 0, 0, 6), "1..2");
    assert_string_equal(ends_of(SCALE_DURATION, -5, 3, 0, 6), "1..5");
    assert_string_equal(ends_of(SCALE_DURATION, INFINITY, -INFINITY, 0, 6), "1..2");
    ends_of(SCALE_DURATION, 1e300, 1e301, 0, 6);
}

static void duration_ticks(void **state)
{
    (void)state;
    assert_string_equal(ticks_of(SCALE_DURATION, 250e3, 9e6, 0, 6),
                        "200 ms|500 ms|1 s|2 s|5 s|10 s");
    assert_string_equal(ticks_of(SCALE_DURATION, 780e3, 24e6, 0, 6), "500 ms|1 s|5 s|10 s|30 s");
    assert_string_equal(ticks_of(SCALE_DURATION, 100, 60e6, 0, 7),
                        "0.1 ms|1 ms|10 ms|100 ms|1 s|10 s|1 min");
    assert_string_equal(ticks_of(SCALE_DURATION, 100, 60e6, 0, 5), "0.1 ms|10 ms|1 s|1 min");
}

static void set_zone(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

static void clock_ticks(void **state)
{
    (void)state;
    set_zone("UTC0");
    double start = 1795046400e6; /* 2026-11-19T00:00:00Z */
    assert_string_equal(ticks_of(SCALE_CLOCK, start, start + 3 * DAY_US, 0, 8),
                        "19 Nov|12:00|20 Nov|12:00|21 Nov|12:00|22 Nov");
    assert_string_equal(ticks_of(SCALE_CLOCK, start + 50e6, start + 110e6, 0, 4),
                        "00:01|00:01:15|00:01:30|00:01:45");
    assert_string_equal(ticks_of(SCALE_CLOCK, start, start, 0, 8), "19 Nov|00:00:01");
    ticks_of(SCALE_CLOCK, -1e300, 1e300, 0, 8);
    ticks_of(SCALE_CLOCK, NAN, INFINITY, 0, 8);
    /* Where the clocks go back an hour on 25 October, midnight stays midnight. */
    set_zone("CET-1CEST,M3.5.0,M10.5.0/3");
    assert_string_equal(
        ticks_of(SCALE_CLOCK, 1792792800e6 - 60e6, 1792792800e6 + 3.1 * DAY_US, 0, 4),
        "24 Oct|25 Oct|26 Oct|27 Oct");
    set_zone("UTC0");
}

static void places(void **state)
{
    (void)state;
    struct scale s = {.low = 0, .high = 10};
    assert_float_equal(scale_place(&s, 2.5), .25, 1e-12);
    assert_float_equal(scale_place(&s, -1), 0, 0);
    assert_float_equal(scale_place(&s, INFINITY), 1, 0);
    assert_true(isnan(scale_place(&s, NAN)));
    s = (struct scale){.kind = SCALE_DURATION, .low = 10, .high = 1000};
    assert_float_equal(scale_place(&s, 100), .5, 1e-12);
    assert_float_equal(scale_place(&s, 0), 0, 0);
    assert_float_equal(scale_place(&s, -7), 0, 0);
}

static void spans(void **state)
{
    (void)state;
    char text[SCALE_LABEL_BYTES];
    struct scale s = {.kind = SCALE_CLOCK};
    set_zone("UTC0");
    scale_span(&s, 1795046400e6, 1795046400e6 + 7200e6, text);
    assert_string_equal(text, "Thu 19 Nov 00:00 to 02:00");
    scale_span(&s, 1795046400e6, 1795046400e6 + 5e6, text);
    assert_string_equal(text, "Thu 19 Nov 00:00:00 to 00:00:05");
    s = (struct scale){.kind = SCALE_DURATION, .show = num_ms};
    scale_span(&s, 1e3, 2e6, text);
    assert_string_equal(text, "1 ms to 2 s");
}

/* ---- plots ---- */

static char *page;
static size_t page_bytes;

static int forget(void **state)
{
    (void)state;
    free(page);
    page = NULL;
    return 0;
}

static const char *drawn(const struct plot *p)
{
    forget(NULL);
    FILE *out = open_memstream(&page, &page_bytes);
    plot_write(out, p);
    fclose(out);
    assert_null(strstr(page, "nan"));
    assert_null(strstr(page, "inf"));
    return page;
}

/* The path of a class, up to its end. */
static const char *path_of(const char *class)
{
    static char text[2000];
    char begin[100];
    snprintf(begin, sizeof begin, "<path class=\"%s\"", class);
    const char *at = strstr(page, begin);
    assert_non_null(at);
    at = strstr(at, " d=\"") + 4;
    snprintf(text, sizeof text, "%.*s", (int)(strchr(at, '"') - at), at);
    return text;
}

static size_t times(const char *what)
{
    size_t n = 0;
    for (const char *at = page; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

static const double edges[] = {0, 1, 2, 3, 4};

static struct plot simple(enum plot_shape shape, const struct plot_series *series, size_t count,
                          size_t steps)
{
    return (struct plot){.label = "what <it> is",
                         .shape = shape,
                         .height = 100,
                         .x = {.low = 0, .high = 4, .show = num_count},
                         .y = {.show = num_count},
                         .edges = edges,
                         .step_count = steps,
                         .series = series,
                         .series_count = count};
}

static void lines(void **state)
{
    (void)state;
    struct plot_series s = {"s", (const double[]){0, 10, 5, 10}, 1, NULL};
    struct plot p = simple(PLOT_LINES, &s, 1, 4);
    drawn(&p);
    assert_string_equal(path_of("line c1"), "M0 0M125 100L375 0L625 50L875 0");
    assert_int_equal(times("<title>"), 4);
    assert_non_null(strstr(page, "aria-label=\"what &lt;it&gt; is\""));
    assert_non_null(strstr(page, "role=\"img\""));
    assert_non_null(strstr(page, "<title>1 to 2\ns: 10</title>"));
    assert_null(strstr(page, "legend")); /* of one series there is nothing to tell apart */
}

static void gaps_are_gaps(void **state)
{
    (void)state;
    struct plot_series s = {"s", (const double[]){10, NAN, 5, 10}, 1, NULL};
    struct plot p = simple(PLOT_LINES, &s, 1, 4);
    drawn(&p);
    assert_string_equal(path_of("line dot c1"), "M0 0M125 0h0");
    assert_string_equal(path_of("line c1"), "M0 0M625 50L875 0");
    assert_int_equal(times("<title>"), 3);
    s.values = (const double[]){NAN, NAN, NAN, INFINITY};
    drawn(&p);
    assert_string_equal(path_of("line c1"), "M0 0");
    assert_int_equal(times("<title>"), 0);
}

static void empty_and_single(void **state)
{
    (void)state;
    struct plot_series s = {"s", (const double[]){3}, 1, NULL};
    struct plot p = simple(PLOT_LINES, &s, 1, 0);
    drawn(&p);
    assert_string_equal(path_of("line c1"), "M0 0");
    p = simple(PLOT_LINES, NULL, 0, 0);
    drawn(&p);
    p = simple(PLOT_COLUMNS, &s, 1, 1);
    p.y.step_least = 1;
    drawn(&p);
    assert_string_equal(path_of("fill c1"), "M0 0M17.5 25h215V100H17.5z");
    p = simple(PLOT_HEAT, &s, 1, 0);
    p.y.high = 1;
    drawn(&p);
    assert_int_equal(times("class=\"heat h8\" stroke-width"), 1);
}

static void values_of_any_size(void **state)
{
    (void)state;
    const double rows[][4] = {{7, 7, 7, 7},          {-1, -2, -3, -4},  {1e300, 1e308, 0, 1},
                              {-1e308, 1e308, 0, 1}, {1e-300, 0, 0, 0}, {0, 0, 0, 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int shape = PLOT_LINES; shape <= PLOT_COLUMNS; shape++) {
            struct plot_series s = {"s", rows[i], 1, NULL};
            struct plot p = simple((enum plot_shape)shape, &s, 1, 4);
            drawn(&p);
        }
    }
}

static void columns_stack(void **state)
{
    (void)state;
    struct plot_series s[] = {{"few", (const double[]){1, 0, NAN, 5000}, 3, NULL},
                              {"many", (const double[]){9999, 5000, 0, 5000}, 1, NULL}};
    struct plot p = simple(PLOT_COLUMNS, s, 2, 4);
    drawn(&p);
    /* One of ten thousand is a px high; 0 is nothing. */
    assert_string_equal(path_of("fill c3"), "M0 0M17.5 99h215V100H17.5zM767.5 50h215V100H767.5z");
    assert_string_equal(path_of("fill c1"),
                        "M0 0M17.5 0h215V99H17.5zM267.5 50h215V100H267.5zM767.5 0h215V50H767.5z");
    assert_int_equal(times("<i class=\"c"), 2);
}

static void heat_has_runs(void **state)
{
    (void)state;
    const double bands[] = {0, 5, 10};
    const uint64_t heat[] = {64, 0, 64, 1, 0, 0, 16, 0}; /* by step, from the lowest band up */
    struct plot_series s = {"requests", (const double[]){64, 65, 0, 16}, 1, NULL};
    struct plot p = simple(PLOT_HEAT, &s, 1, 4);
    p.y.high = 10;
    p.bands = bands;
    p.band_count = 2;
    p.heat = heat;
    drawn(&p);
    assert_string_equal(path_of("heat h8"), "M0 0M0 75h500"); /* two neighbours are one line */
    assert_string_equal(path_of("heat h4"), "M0 0M750 75h250");
    assert_string_equal(path_of("heat h1"), "M0 0M250 25h250");
    assert_non_null(strstr(page, "stroke-width=\"50.00\""));
    assert_non_null(strstr(page, "up to 64"));
}

static void marks_and_missing_marks(void **state)
{
    (void)state;
    const struct plot_mark marks[] = {{2, "p<50"}, {NAN, "p99"}};
    struct plot_series s = {"s", (const double[]){1, 2, 3, 4}, 1, NULL};
    struct plot p = simple(PLOT_COLUMNS, &s, 1, 4);
    p.marks = marks;
    p.mark_count = 2;
    drawn(&p);
    assert_non_null(strstr(page, "x1=\"50.00%\" x2=\"50.00%\""));
    assert_non_null(strstr(page, ">p&lt;50</text>"));
    assert_null(strstr(page, "p99"));
}

static void names_are_inert(void **state)
{
    (void)state;
    struct plot_series s[] = {
        {"</svg><script>alert(1)</script>", (const double[]){1, 2, 3, 4}, 1, NULL},
        {"\x1b[31m\"'&\xE2\x80\xAE\xFF\n", (const double[]){1, 2, 3, 4}, 2, NULL}};
    struct plot p = simple(PLOT_LINES, s, 2, 4);
    p.label = "\" onload=\"alert(1)";
    drawn(&p);
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "\" onload"));
    assert_null(strchr(page, '\x1b'));
    assert_null(strstr(page, "\xE2\x80\xAE"));
    assert_null(strchr(page, '\xFF'));
    assert_non_null(strstr(page, "&quot;&#39;&amp;"));
}

static void bars(void **state)
{
    (void)state;
    const struct plot_bar rows[] = {
        {STR("<b>"), 75}, {STR("none"), 0}, {STR("odd"), NAN}, {STR("tiny"), 1e-9}};
    FILE *out = open_memstream(&page, &page_bytes);
    plot_bars(out, "a \"label\"", rows, COUNT(rows), 100, num_count, 3);
    fclose(out);
    assert_non_null(strstr(page, "aria-label=\"a &quot;label&quot;\""));
    assert_non_null(strstr(page, "&lt;b&gt;</text>"));
    assert_non_null(strstr(page, ">75 %</text>"));
    assert_int_equal(times("class=\"fill\" width=\"100.00%\""), 1);
    assert_int_equal(times("class=\"fill\" width=\"0.00%\""), 2);
    assert_int_equal(times("class=\"fill\" width=\"0.30%\""), 1); /* more than nothing is seen */
    assert_null(strstr(page, "nan"));
}

static void no_bars(void **state)
{
    (void)state;
    FILE *out = open_memstream(&page, &page_bytes);
    plot_bars(out, "none", NULL, 0, 0, num_count, 3);
    fclose(out);
    assert_int_equal(times("<rect"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_ends),
        cmocka_unit_test(linear_ticks),
        cmocka_unit_test(duration_ends),
        cmocka_unit_test(duration_ticks),
        cmocka_unit_test(clock_ticks),
        cmocka_unit_test(places),
        cmocka_unit_test(spans),
        cmocka_unit_test_teardown(lines, forget),
        cmocka_unit_test_teardown(gaps_are_gaps, forget),
        cmocka_unit_test_teardown(empty_and_single, forget),
        cmocka_unit_test_teardown(values_of_any_size, forget),
        cmocka_unit_test_teardown(columns_stack, forget),
        cmocka_unit_test_teardown(heat_has_runs, forget),
        cmocka_unit_test_teardown(marks_and_missing_marks, forget),
        cmocka_unit_test_teardown(names_are_inert, forget),
        cmocka_unit_test_teardown(bars, forget),
        cmocka_unit_test_teardown(no_bars, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
