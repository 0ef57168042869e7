/* --fail-if by table: bounds that hold or not of a small report, and mistakes with their columns. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "cli/thresholds.h"

/* Model a, provider x: 8 requests of 100 ms, 1 of them failed; b, y: 2 of 3 s, both failed; c without a provider: 1, cancelled. */
static void take(struct rollup *r, const char *text)
{
    static char data[512];
    struct logline l;
    enum line_status status;
    size_t n = strlen(text);
    assert_true(n + LOGLINE_SLACK < sizeof data);
    memcpy(data, text, n);
    memset(data + n, '\n', LOGLINE_SLACK);
    logline_init(&l);
    (void)logline_read(&l, data, data + n, &status);
    assert_int_equal(status, LINE_READ);
    rollup_take(r, &l, log_event_of(&l));
}

static void make_report(struct analysis *a, bool empty)
{
    *a = (struct analysis){.by_count = 2, .sum = {.lines = 12, .broken = 1}};
    a->by_refs[0] = log_ref_of(LOG_model);
    a->by_refs[1] = log_ref_of(LOG_provider);
    rollup_init(&a->rollup);
    a->by = rollup_add_view_by(&a->rollup, a->by_refs, 2, 0, (1u << SPREAD_COUNT) - 1);
    for (int i = 0; i < 8 && !empty; i++)
        take(&a->rollup,
             i ? "{\"event\":\"request\",\"model\":\"a\",\"provider\":\"x\",\"status\":\"success\","
                 "\"latency_ms\":100,\"cost_usd\":0.5,\"total_tokens\":10}"
               : "{\"event\":\"request\",\"model\":\"a\",\"provider\":\"x\",\"status\":\"failure\","
                 "\"latency_ms\":100}");
    for (int i = 0; i < 2 && !empty; i++)
        take(&a->rollup,
             "{\"event\":\"request\",\"model\":\"b\",\"provider\":\"y\",\"status\":\"failure\","
             "\"latency_ms\":3000}");
    if (!empty)
        take(&a->rollup, "{\"event\":\"request\",\"model\":\"c\",\"status\":\"cancelled\"}");
    take(&a->rollup, "{\"event\":\"gap\",\"dropped\":5}");
    a->total = rollup_total(a->by);
}

static void free_report(struct analysis *a)
{
    rollup_group_free(a->total);
    rollup_fini(&a->rollup);
}

// clang-format off
static const struct { const char *text; bool fails; } cases[] = {
    /* of all: 11 requests, 3 failed, 1 cancelled */
    {"error_rate > 27%", true}, {"error_rate > 28%", false}, {"error_rate >= 0.27", true}, {"error_rate < 28%", true},
    {"requests = 11", true}, {"requests != 11", false}, {"requests < 12", true}, {"requests<=11", true}, {"requests > 0.01k", true},
    {"failure >= 3", true}, {"cancelled > 0", true}, {"success_rate < 90%", true}, {"cancelled_rate > 9%", true}, {"cache_hit_rate < 10%", true},
    {"cost_usd >= $3.5", true}, {"cost_usd > 3.5", false}, {"total_tokens = 70", true}, {"dropped > 4", true}, {"dropped > 5", false},
    {"broken > 0", true}, {"lines < 12", false},
    /* times, and what is not there */
    {"p50 > 99", true}, {"p50 > 101ms", false}, {"p95 > 2s", true}, {"latency_max >= 2.98s", true}, {"latency_min < 0.101s", true},
    {"latency_p80_ms < 101", true}, {"ttft_p95 > 0", false}, {"ttft_p95 < 1h", false}, {"ttft_p95 != 1", false},
    /* of some groups */
    {"error_rate[model=a] > 12%", true}, {"error_rate[model=a] > 13%", false}, {"error_rate[provider=y] = 100%", true},
    {"requests[model~'a,b'] = 10", true}, {"requests[model=a,provider=y] > 0", false}, {"requests[model = a , provider ~ x*] = 8", true},
    {"requests[provider=''] = 1", true}, {"error_rate[model=none] >= 0", false}, {"requests[model=none] = 0", true},
    /* of any group */
    {"any error_rate > 50%", true}, {"any error_rate > 50% and requests > 2", false}, {"any error_rate > 10% and requests > 2", true},
    {"any p95[provider=x] > 1s", false}, {"any p95 > 1s", true}, {"any requests < 2", true}, {"any ttft_p50 > 0", false},
    {"error_rate > 20% and requests > 100", false}, {"error_rate > 20% and requests > 10 and p50 > 10ms", true},
    /* lists */
    {"lines > 99, dropped > 0", true}, {"lines > 99 or lines > 98 || lines > 97", false}, {"no_data", false}, {"ttft_p95 > 1, no_data", true},
    {"no_data, any ttft_p95 > 1", true}, {"no_data or error_rate[model=none] > 1%", true},
};
// clang-format on

static void bounds_hold_or_not(void **state)
{
    (void)state;
    struct analysis a;
    make_report(&a, false);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = {0};
        struct thresholds *t = thresholds_parse(str_from(cases[i].text), a.by_refs, 2, &e);
        if (!t)
            fail_msg("%s: %s", cases[i].text, e.text);
        if (thresholds_check(t, &a) != cases[i].fails)
            fail_msg("%s: expected that it %s", cases[i].text,
                     cases[i].fails ? "holds" : "does not");
        thresholds_free(t);
    }
    free_report(&a);
}

static void nothing_fails_only_no_data(void **state)
{
    (void)state;
    struct analysis a;
    make_report(&a, true);
    struct thresholds *t =
        thresholds_parse(STR("error_rate < 100%, any p95 < 1h"), a.by_refs, 2, NULL);
    assert_false(thresholds_check(t, &a));
    thresholds_free(t);
    t = thresholds_parse(STR("no_data"), a.by_refs, 2, NULL);
    assert_true(thresholds_check(t, &a));
    thresholds_free(t);
    free_report(&a);
}

/* What is told, in both ways. */
static void it_is_told(void **state)
{
    (void)state;
    struct analysis a;
    char *text = NULL, *json = NULL;
    size_t text_bytes = 0, json_bytes = 0;
    struct json_out j;
    make_report(&a, false);
    struct thresholds *t = thresholds_parse(
        STR(" any error_rate>5%  or requests > 1k, any p95 > 1h and requests > 0,no_data"),
        a.by_refs, 2, NULL);
    assert_true(thresholds_check(t, &a));
    FILE *out = open_memstream(&text, &text_bytes);
    struct term term = {.out = out, .utf8 = true};
    thresholds_write(t, &term);
    fclose(out);
    assert_string_equal(
        text, "weir analyze: --fail-if: any error_rate>5%: 100 % (model b, provider y)\n");
    out = open_memstream(&json, &json_bytes);
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    thresholds_write_json(t, &j, "thresholds");
    json_unnest(&j, "}");
    json_out_end(&j, out);
    fclose(out);
    static const char head[] =
        "{\"thresholds\":[{\"text\":\"any "
        "error_rate>5%\",\"holds\":true,\"value\":1,\"bound\":0.05,"
        "\"group\":{\"model\":\"b\",\"provider\":\"y\"}},{\"text\":\"requests > "
        "1k\",\"holds\":false,"
        "\"value\":11,\"bound\":1000,\"group\":null},{\"text\":\"any p95 > 1h and requests > 0\","
        "\"holds\":false,";
    static const char tail[] =
        "{\"text\":\"no_data\",\"holds\":false,\"value\":null,\"bound\":null,"
        "\"group\":null}]}\n";
    assert_true(str_starts(str_from(json), str_from(head)));
    assert_true(str_ends(str_from(json), str_from(tail)));
    free(text);
    free(json);
    thresholds_free(t);
    free_report(&a);
}

// clang-format off
static const struct { const char *text; int column; const char *sentence; } mistakes[] = {
    {"", 1, "expected a number of the report"}, {"error_rte > 1%", 1, "did you mean error_rate?"}, {"latncy_p95 > 1", 1, "did you mean latency_p95?"},
    {"error_rate", 11, "expected > >= < <= = or !="}, {"error_rate ~ x", 12, "expected > >="}, {"error_rate >", 13, "expected a bound"},
    {"error_rate > x", 14, "expected a share"}, {"error_rate > 5", 14, "at most 100%"}, {"p95 > 5 fortnights", 9, "or the end"}, {"p95 > soon", 7, "expected a time"},
    {"p0 > 1", 1, "a number of the report"}, {"p100 > 1", 1, "a number of the report"}, {"latency > 1", 1, "a number of the report"},
    {"error_rate[user=x] > 1%", 12, "expected a field of --by, such as model"}, {"error_rate[model>x] > 1%", 17, "expected = or ~"},
    {"error_rate[model=] > 1%", 18, "expected a value"}, {"error_rate[model=a > 1%", 20, "expected , or ]"}, {"any dropped > 1", 5, "of the whole log"},
    {"broken[model=a] > 1", 1, "of the whole log"}, {"requests > 1 and", 17, "a number of the report"}, {"requests > 1 or", 16, "a number of the report"},
    {"requests>1 and requests>1 and requests>1 and requests>1 and requests>1", 61, "at most 4 numbers"}, {"requests > 'x", 12, "a closing quote"},
    {"requests > 1 and p95[model=a] > 1", 21, "expected > >="}, {"cost_usd > EUR5", 12, "in USD"},
};
// clang-format on

static void mistakes_are_shown(void **state)
{
    (void)state;
    const struct log_ref by[] = {log_ref_of(LOG_model), log_ref_of(LOG_provider)};
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        char place[32];
        struct err e = {0};
        if (thresholds_parse(str_from(mistakes[i].text), by, 2, &e))
            fail_msg("%s was taken", mistakes[i].text);
        snprintf(place, sizeof place, "column %d: ", mistakes[i].column);
        if (!strstr(e.text, place) || !strstr(e.text, mistakes[i].sentence))
            fail_msg("%s: %s", mistakes[i].text, e.text);
    }
}

static void there_is_a_limit(void **state)
{
    (void)state;
    char text[THRESHOLDS_MAX * 8 + 16] = "";
    struct err e = {0};
    const struct log_ref by[] = {log_ref_of(LOG_model)};
    for (int i = 0; i < THRESHOLDS_MAX; i++)
        memcpy(text + (size_t)i * 8, "no_data,", 8);
    text[THRESHOLDS_MAX * 8 - 1] = '\0';
    struct thresholds *t = thresholds_parse(str_from(text), by, 1, &e);
    assert_non_null(t);
    thresholds_free(t);
    memcpy(text + THRESHOLDS_MAX * 8 - 1, ",p5>1", 6);
    assert_null(thresholds_parse(str_from(text), by, 1, &e));
    assert_non_null(strstr(e.text, "at most 32 thresholds"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_hold_or_not), cmocka_unit_test(nothing_fails_only_no_data),
        cmocka_unit_test(it_is_told),         cmocka_unit_test(mistakes_are_shown),
        cmocka_unit_test(there_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
