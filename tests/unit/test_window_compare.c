/* Two windows side by side: figures by hand, noise told from change, groups that are new or gone; and the report of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "cli/analyze.h"
#include "log_lines.h"
#include "observe/window_compare.h"

#define HOUR_US INT64_C(3600000000)

static void open_rollup(struct rollup *r)
{
    static const enum log_field by[] = {LOG_model, LOG_provider};
    rollup_init(r);
    rollup_add_view(r, by, 2, 0, (1u << SPREAD_COUNT) - 1);
}

/* `count` requests, each `failed_each`th of which failed (0: none). */
static void take(struct rollup *r, const char *model, int count, int failed_each, int latency_ms,
                 double usd)
{
    char text[512];
    struct logline l;
    for (int i = 1; i <= count; i++) {
        snprintf(
            text, sizeof text,
            "{\"timestamp\":\"2026-11-24T01:%02d:00.000Z\",\"event\":\"request\",\"model\":"
            "\"%s\",\"provider\":\"p\",\"status\":\"%s\",\"latency_ms\":%d,\"total_tokens\":10,"
            "\"cost_usd\":%.6f}",
            i % 60, model, failed_each && i % failed_each == 0 ? "failure" : "success",
            latency_ms + i % 50, usd);
        enum log_event event = line_read(&l, text);
        rollup_take(r, &l, event);
    }
}

static const struct change *find(const struct change *changes, const char *name)
{
    for (size_t i = 0; i < WINDOW_CHANGES; i++)
        if (!strcmp(changes[i].name, name))
            return &changes[i];
    fail_msg("no change %s", name);
    return NULL;
}

static void near(double value, double wanted)
{
    if (!(fabs(value - wanted) <= 1e-9 * MAX(1, fabs(wanted))))
        fail_msg("%.12g is not %.12g", value, wanted);
}

static void make(struct rollup *now, struct rollup *before)
{
    open_rollup(now);
    open_rollup(before);
    take(before, "steady", 200, 20, 100, .01);
    take(before, "worse", 200, 20, 100, .01);
    take(before, "gone", 40, 0, 100, .01);
    take(now, "steady", 100, 20, 100, .01);
    take(now, "worse", 100, 2, 500, .01);
    take(now, "new", 50, 0, 100, 1);
}

static void changes_are_told_from_noise(void **state)
{
    (void)state;
    struct rollup now, before;
    struct change changes[WINDOW_CHANGES];
    make(&now, &before);
    struct rollup_group *n = rollup_total(&now.views[0]), *b = rollup_total(&before.views[0]);
    window_changes(&(struct window){n, 1}, &(struct window){b, 2}, changes);
    near(find(changes, "requests_per_hour")->now, 250);
    near(find(changes, "requests_per_hour")->before, 220);
    assert_true(isnan(find(changes, "requests_per_hour")->p));
    near(find(changes, "error_rate")->now, 55 / 250.0);
    near(find(changes, "error_rate")->before, 20 / 440.0);
    assert_true(change_is_real(find(changes, "error_rate")));
    near(find(changes, "cost_usd_per_hour")->now, 52);
    near(find(changes, "cost_usd_per_hour")->before, 2.2);
    assert_true(change_is_real(find(changes, "latency_p95_ms")));
    near(find(changes, "tokens_per_hour")->now, 2500);
    assert_true(isnan(find(changes, "ttft_p50_ms")->now));
    window_changes(&(struct window){n, 1}, &(struct window){n, 1}, changes);
    for (size_t i = 0; i < WINDOW_CHANGES; i++)
        assert_false(change_is_real(&changes[i]));
    rollup_group_free(n);
    rollup_group_free(b);
    rollup_fini(&now);
    rollup_fini(&before);
}

static void groups_are_ranked_by_what_they_moved(void **state)
{
    (void)state;
    struct rollup now, before;
    size_t count;
    make(&now, &before);
    struct contribution *c =
        window_explain(&now.views[0], 1, &before.views[0], 2, EXPLAIN_ERRORS, &count);
    assert_int_equal(count, 4);
    assert_true(str_eq(c[0].now->values[0], STR("worse")));
    near(c[0].now_per_hour, 50);
    near(c[0].before_per_hour, 5);
    near(c[0].share, 1); /* "steady" has 5 an hour in both */
    mem_free(c);
    c = window_explain(&now.views[0], 1, &before.views[0], 2, EXPLAIN_COST, &count);
    assert_true(str_eq(c[0].now->values[0], STR("new")));
    assert_null(c[0].before);
    near(c[0].now_per_hour, 50);
    near(c[0].share, 50 / 50.2);
    assert_true(str_eq(c[1].before->values[0], STR("gone")));
    assert_null(c[1].now);
    near(c[1].share, -.2 / 50.2);
    mem_free(c);
    c = window_explain(&now.views[0], 1, &before.views[0], 2, EXPLAIN_TIME, &count);
    assert_true(str_eq(c[0].now->values[0], STR("worse")));
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += fabs(c[i].share);
    near(sum, 1);
    mem_free(c);
    rollup_fini(&now);
    rollup_fini(&before);
}

static void hours_are_never_none(void **state)
{
    (void)state;
    near(window_hours(0, HOUR_US), 1);
    near(window_hours(5, 5), 1 / 60.0);
    near(window_hours(9, 5), 1 / 60.0);
}

/* The report: the same figures come out of it, with windows open or not. */
static void the_report_tells_it(void **state)
{
    (void)state;
    struct analysis a = {.since_us = INT64_C(1795482000000000), /* 2026-11-24T01:00 UTC */
                         .until_us = INT64_C(1795482000000000) + HOUR_US,
                         .now_us = INT64_MAX,
                         .top = 10,
                         .compares = true};
    a.other_since_us = a.since_us - 2 * HOUR_US;
    a.other_until_us = a.since_us;
    make(&a.rollup, &a.other);
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    struct term t = {.out = out};
    struct json_out j;
    analyze_compare.write_tables(&a, NULL, TABLE_MARKDOWN, &t);
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    analyze_compare.write_json(&a, NULL, &j);
    json_unnest(&j, "}");
    json_out_end(&j, out);
    analyze_compare.write_tables(&a, NULL, TABLE_CSV, &t);
    fclose(out);
    static const char *const wanted[] = {
        "What moved the cost",
        "| new ",
        "| gone ",
        "{\"compare\":{\"now\":{\"since\":\"2026-11-24T01:00:00.000Z\"",
        "\"what\":\"requests_per_hour\",\"before\":220,\"now\":250,\"difference\":30",
        "error_rate,0.045454",
    };
    for (size_t i = 0; i < COUNT(wanted); i++)
        if (!strstr(text, wanted[i]))
            fail_msg("%s is not in\n%s", wanted[i], text);
    free(text);
    rollup_fini(&a.rollup);
    rollup_fini(&a.other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_told_from_noise),
        cmocka_unit_test(groups_are_ranked_by_what_they_moved),
        cmocka_unit_test(hours_are_never_none),
        cmocka_unit_test(the_report_tells_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
