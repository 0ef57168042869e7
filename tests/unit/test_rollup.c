/* Histograms against sorted values; rollups of lines against sums done by hand, in one piece and merged. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/rand.h"
#include "observe/rollup.h"

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Nearest rank, from the values themselves. */
static uint64_t exact(const uint64_t *sorted, size_t n, double q)
{
    size_t rank = (size_t)ceil(q * (double)n);
    return sorted[rank ? rank - 1 : 0];
}

static void quantiles_are_within_half_a_percent(void **state)
{
    (void)state;
    static const double quantiles[] = {0, 0.001, 0.5, 0.9, 0.95, 0.99, 0.999, 1};
    static uint64_t values[50000];
    struct rng rng;
    rng_seed(&rng, 3);
    for (int scale = 0; scale < 42; scale += 4) {
        struct histogram h = {0}, half = {0}, merged = {0};
        for (size_t i = 0; i < COUNT(values); i++) {
            values[i] = (uint64_t)(exp(rng_unit(&rng) * 3) * (double)(UINT64_C(1) << scale));
            histogram_add(&h, values[i]);
            histogram_add(i % 2 ? &half : &merged, values[i]);
        }
        histogram_merge(&merged, &half);
        qsort(values, COUNT(values), sizeof *values, compare);
        assert_int_equal(h.min, values[0]);
        assert_int_equal(h.max, values[COUNT(values) - 1]);
        for (size_t i = 0; i < COUNT(quantiles); i++) {
            double is = (double)histogram_quantile(&h, quantiles[i]);
            double want = (double)exact(values, COUNT(values), quantiles[i]);
            assert_true(fabs(is - want) <= want * 0.004);
            assert_true(is == (double)histogram_quantile(&merged, quantiles[i]));
        }
        histogram_fini(&h);
        histogram_fini(&half);
        histogram_fini(&merged);
    }
}

static void small_values_are_exact(void **state)
{
    (void)state;
    struct histogram h = {0};
    for (uint64_t v = 0; v < 256; v++)
        histogram_add(&h, v);
    for (int i = 1; i <= 256; i++)
        assert_int_equal(histogram_quantile(&h, i / 256.0), i - 1);
    histogram_add(&h, UINT64_MAX);
    assert_int_equal(histogram_quantile(&h, 1), UINT64_MAX);
    histogram_fini(&h);
    assert_int_equal(histogram_quantile(&h, 0.5), 0);
}

/* ---- rollups ---- */

static void take_text(struct rollup *r, const char *text)
{
    static char data[1024];
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

static const char *const lines[] = {
    ("{\"timestamp\":\"2026-11-24T01:00:00.000Z\",\"event\":\"request\",\"model\":\"a\","
     "\"provider\":\"x\",\"status\":\"success\",\"latency_ms\":100,\"prompt_tokens\":10,"
     "\"completion_tokens\":5,\"total_tokens\":15,\"cost_usd\":0.5,\"cache\":\"hit\",\"attempts\":"
     "1}"),
    ("{\"timestamp\":\"2026-11-24T01:00:30.000Z\",\"event\":\"request\",\"model\":\"a\","
     "\"provider\":\"y\",\"status\":\"failure\",\"latency_ms\":200,\"prompt_tokens\":10,\"cost_"
     "usd\":0.25,\"attempts\":3,\"fallback_from\":\"b\",\"error\":{\"type\":\"t\"}}"),
    ("{\"timestamp\":\"2026-11-24T01:01:00.000Z\",\"model\":\"\\u0061\",\"provider\":\"x\","
     "\"status\":\"cancelled\",\"latency_ms\":300,\"completion_tokens\":7,\"slow\":true,\"stream\":"
     "true}"),
    ("{\"timestamp\":\"2026-11-24T01:02:00.000Z\",\"event\":\"attempt\",\"model\":\"a\","
     "\"provider\":\"x\",\"status\":\"failure\"}"),
    ("{\"timestamp\":\"2026-11-24T01:03:00.000Z\",\"event\":\"gap\",\"dropped\":7}"),
    ("{\"model\":\"unstamped\",\"provider\":\"x\",\"status\":\"success\"}"),
};

static void start(struct rollup *r)
{
    static const enum log_field by[] = {LOG_model, LOG_provider}, errors[] = {LOG_error_type};
    rollup_init(r);
    rollup_add_view(r, by, 2, 0, 1u << SPREAD_LATENCY);
    rollup_add_view(r, errors, 1, 0, 0)->only_failed = true;
    rollup_add_view(r, NULL, 0, 60000000, 0);
}

static const struct rollup_group *group(const struct rollup_view *v, const char *first,
                                        const char *second)
{
    for (size_t g = 0; g < v->group_count; g++)
        if (str_eq(v->groups[g]->values[0], str_from(first)) &&
            (!second || str_eq(v->groups[g]->values[1], str_from(second))))
            return v->groups[g];
    fail_msg("no group %s, %s", first, second ? second : "");
    return NULL;
}

static void check_sums(const struct rollup *r)
{
    const struct rollup_view *by = &r->views[0], *errors = &r->views[1], *times = &r->views[2];
    assert_int_equal(r->matched, 4);
    assert_int_equal(r->dropped, 7);
    assert_int_equal(by->group_count, 3);
    const struct rollup_group *ax = group(by, "a", "x"); /* an escaped "a" is the same */
    assert_int_equal(ax->counts[ROLLUP_REQUESTS], 2);
    assert_int_equal(ax->counts[ROLLUP_SUCCESS], 1);
    assert_int_equal(ax->counts[ROLLUP_CANCELLED], 1);
    assert_int_equal(ax->counts[ROLLUP_FAILURE], 0);
    assert_int_equal(ax->counts[ROLLUP_TOTAL_TOKENS], 15);
    assert_int_equal(ax->counts[ROLLUP_COST_PICO], 500000000000);
    assert_int_equal(ax->counts[ROLLUP_UNPRICED], 0);
    assert_int_equal(ax->counts[ROLLUP_SLOW], 1);
    assert_int_equal(ax->last_us - ax->first_us, 60000000);
    assert_true(rollup_quantile(ax, SPREAD_LATENCY, 1) == 300000);
    assert_true(isnan(rollup_quantile(ax, SPREAD_TTFT, 0.5)));
    const struct rollup_group *ay = group(by, "a", "y");
    assert_int_equal(ay->counts[ROLLUP_ATTEMPTS], 3);
    assert_int_equal(ay->counts[ROLLUP_FALLBACKS], 1);
    assert_int_equal(ay->counts[ROLLUP_FAILED_COST_PICO], 250000000000);
    assert_int_equal(errors->group_count, 1);
    assert_int_equal(group(errors, "t", NULL)->counts[ROLLUP_FAILURE], 1);
    assert_int_equal(times->group_count, 2);
    assert_int_equal(group(times, "1795482000000000", NULL)->counts[ROLLUP_REQUESTS], 2);
    struct rollup_group *total = rollup_total(by);
    assert_int_equal(total->counts[ROLLUP_REQUESTS], 4);
    assert_int_equal(total->spreads[SPREAD_LATENCY]->count, 3);
    rollup_group_free(total);
}

static void sums_lines(void **state)
{
    (void)state;
    struct rollup r;
    start(&r);
    for (size_t i = 0; i < COUNT(lines); i++)
        take_text(&r, lines[i]);
    check_sums(&r);
    rollup_fini(&r);
}

static void merged_parts_are_the_whole(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= COUNT(lines); cut++) {
        struct rollup first, second;
        start(&first);
        start(&second);
        for (size_t i = 0; i < COUNT(lines); i++)
            take_text(i < cut ? &first : &second, lines[i]);
        rollup_merge(&first, &second);
        rollup_fini(&second);
        check_sums(&first);
        rollup_fini(&first);
    }
}

static void leaves_out_what_is_outside(void **state)
{
    (void)state;
    struct rollup r;
    start(&r);
    r.since_us = 1795482030000000; /* 01:00:30 */
    r.until_us = 1795482060000000; /* 01:01:00, not in it */
    for (size_t i = 0; i < COUNT(lines); i++)
        take_text(&r, lines[i]);
    assert_int_equal(r.matched, 1);
    assert_int_equal(r.outside, 3);
    rollup_fini(&r);
}

/* A line's cost counts as a million dollars at most. A sum of money that is full stays full, in one piece and merged. */
static void sums_of_nonsense_money_do_not_begin_anew(void **state)
{
    static const char text[] = "{\"model\":\"a\",\"status\":\"failure\",\"cost_usd\":9e9}";
    (void)state;
    for (int cut = 0; cut <= 40; cut += 10) {
        struct rollup first, second;
        start(&first);
        start(&second);
        for (int i = 0; i < 40; i++)
            take_text(i < cut ? &first : &second, text);
        take_text(&first, "{\"model\":\"a\",\"status\":\"success\",\"cost_usd\":0.5}");
        if (cut == 10)
            assert_true(first.views[0].groups[0]->counts[ROLLUP_COST_PICO] ==
                        UINT64_C(10000000500000000000));
        rollup_merge(&first, &second);
        rollup_fini(&second);
        const uint64_t *counts = first.views[0].groups[0]->counts;
        assert_int_equal(counts[ROLLUP_REQUESTS], 41);
        assert_true(counts[ROLLUP_COST_PICO] == UINT64_MAX);
        assert_true(counts[ROLLUP_FAILED_COST_PICO] == UINT64_MAX);
        struct rollup_group *total = rollup_total(&first.views[0]);
        assert_true(total->counts[ROLLUP_COST_PICO] == UINT64_MAX);
        rollup_group_free(total);
        rollup_fini(&first);
    }
}

/* Past the limit values become "other", and nothing is lost. */
static void groups_have_a_limit(void **state)
{
    (void)state;
    static const enum log_field by[] = {LOG_request_id};
    struct rollup r;
    char text[128];
    rollup_init(&r);
    rollup_add_view(&r, by, 1, 0, 0);
    for (int i = 0; i < ROLLUP_GROUPS_MAX + 50; i++) {
        snprintf(text, sizeof text, "{\"request_id\":\"%d\",\"status\":\"success\"}", i);
        take_text(&r, text);
    }
    assert_int_equal(r.views[0].group_count, ROLLUP_GROUPS_MAX + 1);
    assert_int_equal(group(&r.views[0], "other", NULL)->counts[ROLLUP_REQUESTS], 50);
    assert_int_equal(group(&r.views[0], "4711", NULL)->counts[ROLLUP_REQUESTS], 1);
    rollup_fini(&r);
}

/* ---- exact latencies ---- */

static uint64_t latencies[30000];

static void take_latency(struct rollup *r, uint64_t us, char model)
{
    char text[200];
    snprintf(text, sizeof text,
             "{\"timestamp\":\"2026-11-24T01:00:00.000Z\",\"model\":\"%c\",\"provider\":\"x\","
             "\"latency_ms\":%llu.%03llu}",
             model, (unsigned long long)(us / 1000), (unsigned long long)(us % 1000));
    take_text(r, text);
}

static void make_latencies(void)
{
    struct rng rng;
    rng_seed(&rng, 5);
    for (size_t i = 0; i < COUNT(latencies); i++)
        latencies[i] = (uint64_t)exp(rng_unit(&rng) * 20); /* 1 µs to 8 minutes */
}

static void latencies_are_exact_up_to_the_limit(void **state)
{
    (void)state;
    static const double quantiles[] = {0, 0.25, 0.5, 0.9, 0.95, 0.99, 0.9999, 1};
    struct rollup parts[3];
    uint64_t pool = COUNT(latencies) + 3 * 1024; /* each part takes some in advance */
    make_latencies();
    for (size_t i = 0; i < COUNT(parts); i++) {
        start(&parts[i]);
        parts[i].views[0].exact = true;
        parts[i].exact_pool = &pool;
    }
    for (size_t i = 0; i < COUNT(latencies); i++)
        take_latency(&parts[i % 3], latencies[i], "abc"[i % 2 + (i % 5 == 0)]);
    rollup_merge(&parts[0], &parts[1]);
    rollup_merge(&parts[0], &parts[2]);
    assert_true(parts[0].views[0].exact);
    struct rollup_group *total = rollup_total(&parts[0].views[0]);
    qsort(latencies, COUNT(latencies), sizeof *latencies, compare);
    for (size_t i = 0; i < COUNT(quantiles); i++)
        assert_true(rollup_quantile(total, SPREAD_LATENCY, quantiles[i]) ==
                    (double)exact(latencies, COUNT(latencies), quantiles[i]));
    rollup_group_free(total);
    for (int i = 0; i < 3 * 1024 + 1; i++)
        take_latency(&parts[0], 5, 'a');
    assert_false(parts[0].views[0].exact);
    total = rollup_total(&parts[0].views[0]);
    double median = (double)exact(latencies, COUNT(latencies), 0.5);
    assert_true(rollup_quantile(total, SPREAD_LATENCY, 0.5) < median);
    rollup_group_free(total);
    for (size_t i = 0; i < COUNT(parts); i++)
        rollup_fini(&parts[i]);
}

static void one_part_past_the_limit_makes_all_inexact(void **state)
{
    (void)state;
    struct rollup a, b;
    start(&a);
    start(&b);
    a.views[0].exact = b.views[0].exact = true;
    uint64_t pool_a = 100, pool_b = 1;
    a.exact_pool = &pool_a;
    b.exact_pool = &pool_b;
    for (int i = 0; i < 50; i++)
        take_latency(i % 2 ? &a : &b, 1000, 'a');
    rollup_merge(&a, &b);
    assert_false(a.views[0].exact);
    assert_int_equal(rollup_quantile(a.views[0].groups[0], SPREAD_LATENCY, 0.5), 1000);
    assert_null(a.views[0].groups[0]->latencies.pages);
    rollup_fini(&a);
    rollup_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_within_half_a_percent),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(sums_lines),
        cmocka_unit_test(sums_of_nonsense_money_do_not_begin_anew),
        cmocka_unit_test(merged_parts_are_the_whole),
        cmocka_unit_test(leaves_out_what_is_outside),
        cmocka_unit_test(groups_have_a_limit),
        cmocka_unit_test(latencies_are_exact_up_to_the_limit),
        cmocka_unit_test(one_part_past_the_limit_makes_all_inexact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
