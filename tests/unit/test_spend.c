/* What was spent: sums by hand, in one piece and merged in any order; rates, and what lies ahead. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/clock.h"
#include "base/rand.h"
#include "log_lines.h"
#include "observe/spend.h"

#define HOUR_US INT64_C(3600000000)
#define DAY_US  (24 * HOUR_US)

static void near(double value, double wanted)
{
    if (!(fabs(value - wanted) <= 1e-9 * MAX(1, fabs(wanted))))
        fail_msg("%.12g is not %.12g", value, wanted);
}

static void take(struct spend *s, const char *text)
{
    struct logline l;
    enum log_event event = line_read(&l, text);
    spend_take(s, &l, event);
}

/* gpt-4o-mini: $0.15 a million in, $0.075 of it cached, $0.60 out. */
static const char *const lines[] = {
    ("{\"timestamp\":\"2026-11-24T01:00:00.000Z\",\"event\":\"request\",\"model\":\"gpt-4o-mini\","
     "\"provider\":\"openai\",\"status\":\"success\",\"prompt_tokens\":1000000,\"cached_tokens\":"
     "200000,\"completion_tokens\":0,\"total_tokens\":1000000,\"cost_usd\":0.135,\"attempts\":3,"
     "\"key_alias\":\"k\",\"user\":\"u\",\"metadata\":{\"tags\":[\"x\",\"y\",\"x\"]}}"),
    ("{\"timestamp\":\"2026-11-24T02:30:00.000Z\",\"event\":\"request\",\"model\":\"gpt-4o-mini\","
     "\"provider\":\"openai\",\"status\":\"failure\",\"total_tokens\":1000,\"cost_usd\":0.5}"),
    ("{\"timestamp\":\"2026-11-24T02:31:00.000Z\",\"event\":\"request\",\"model\":\"gpt-4o-mini\","
     "\"provider\":\"openai\",\"status\":\"cancelled\",\"cost_usd\":0.25,\"metadata\":{\"tags\":["
     "\"\\u0079\"]}}"),
    ("{\"timestamp\":\"2026-11-24T02:32:00.000Z\",\"event\":\"request\",\"model\":\"gpt-4o-mini\","
     "\"status\":\"success\",\"total_tokens\":9,\"cost_usd\":0,\"cache\":\"hit\"}"),
    ("{\"timestamp\":\"2026-11-24T02:33:00.000Z\",\"event\":\"attempt\",\"model\":\"gpt-4o-mini\","
     "\"status\":\"failure\",\"cost_usd\":0.125}"),
    ("{\"timestamp\":\"2026-11-24T02:34:00.000Z\",\"event\":\"request\",\"model\":\"mine\","
     "\"status\":\"success\",\"cached_tokens\":7,\"prompt_tokens\":10,\"total_tokens\":10}"),
    ("{\"event\":\"request\",\"model\":\"mine\",\"status\":\"success\",\"total_tokens\":5,\"cost_"
     "usd\":0,\"cache\":\"miss\"}"),
    "{\"event\":\"request\",\"model\":\"mine\",\"status\":\"success\",\"cache\":\"hit\"}",
};

static const struct spend_model *model_of(const struct spend *s, const char *model,
                                          const char *provider)
{
    struct spend *any = (struct spend *)s; /* found, not made: the keys are there */
    const struct str key[] = {str_from(model), str_from(provider), STR_NONE};
    size_t before = s->models.count;
    const struct spend_model *m = groups_get(&any->models, key)->value;
    assert_int_equal(before, s->models.count);
    return m;
}

static void check_tags(struct groups *g)
{
    static const struct {
        struct str tag;
        uint64_t requests, pico;
    } rows[] = {
        {{"x", 1}, 1, 135000000000}, {{"y", 1}, 2, 385000000000}, {{NULL, 0}, 5, 500000000000}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct spend_sum *sum = groups_get(g, &rows[i].tag)->value;
        assert_int_equal(sum->requests, rows[i].requests);
        assert_int_equal(sum->pico, rows[i].pico);
    }
}

static void check(const struct spend *s)
{
    assert_int_equal(s->total.requests, 7);
    assert_int_equal(s->total.success, 5);
    assert_int_equal(s->total.tokens, 1001024);
    assert_int_equal(s->total.pico, 885000000000);
    assert_int_equal(s->total.failed_pico, 500000000000);
    assert_int_equal(s->total.cancelled_pico, 250000000000);
    assert_int_equal(s->retried, 1);
    assert_int_equal(s->extra_attempts, 2);
    assert_int_equal(s->attempt_lines, 1);
    assert_int_equal(s->attempt_pico, 125000000000);
    const struct spend_model *mini = model_of(s, "gpt-4o-mini", "openai");
    assert_int_equal(mini->cached_tokens, 200000);
    assert_int_equal(mini->saved_pico, 15000000000); /* 200,000 at 0.15 - 0.075 dollars a million */
    assert_int_equal(mini->unpriced, 0);
    assert_int_equal(mini->answered, 1);
    const struct spend_model *mine = model_of(s, "mine", NULL);
    assert_int_equal(mine->unpriced, 1);
    assert_int_equal(mine->unpriced_tokens, 10);
    assert_int_equal(mine->free, 1);
    assert_int_equal(mine->cached_unpriced, 7);
    assert_int_equal(mine->hits, 1);
    struct spend_saved saved = spend_saved_by_hits(s);
    assert_int_equal(saved.hits, 2);
    near(saved.usd, 0.135); /* one hit of a model with one answer at that; mine's answers cost 0 */
    assert_int_equal(saved.unknown, 0);
    for (int by = 0; by < SPEND_BY_COUNT; by++) {
        struct groups g;
        uint64_t pico = 0;
        spend_groups(s, (enum spend_by)by, &g);
        assert_int_equal(g.count, by == SPEND_TAG ? 3 : 2);
        for (size_t i = 0; i < g.count; i++)
            pico += ((const struct spend_sum *)g.all[i]->value)->pico;
        /* One request has two tags. */
        assert_int_equal(pico, s->total.pico + (by == SPEND_TAG ? 135000000000 : 0));
        if (by == SPEND_TAG)
            check_tags(&g);
        groups_fini(&g);
    }
    near(spend_rate(s, 60).usd_per_hour, 0.75); /* 01:35 to 02:34 */
    near(spend_rate(s, 60).hours, 1);
    near(spend_rate(s, 0).hours, 94 / 60.0);
    near(spend_rate(s, 0).usd_per_hour, 0.885 * 60 / 94);
    near(spend_rate(s, 1440).hours, 94 / 60.0); /* the log is no longer than that */
}

static void sums_are_right_in_one_piece_and_merged(void **state)
{
    (void)state;
    struct spend whole, a, b;
    spend_init(&whole, NULL);
    spend_init(&a, NULL);
    spend_init(&b, NULL);
    for (size_t i = 0; i < COUNT(lines); i++) {
        take(&whole, lines[i]);
        take(i % 2 ? &a : &b, lines[COUNT(lines) - 1 - i]);
    }
    check(&whole);
    spend_merge(&a, &b);
    check(&a);
    spend_fini(&a);
    spend_fini(&b);
    spend_fini(&whole);
}

/* A line counts as a million dollars at most, and what is full stays full. */
static void sums_of_nonsense_money_do_not_begin_anew(void **state)
{
    static const char line[] = "{\"timestamp\":\"2026-11-24T01:00:00.000Z\",\"event\":\"request\","
                               "\"model\":\"m\",\"status\":\"success\",\"cost_usd\":2e6}";
    (void)state;
    struct spend a, b;
    spend_init(&a, NULL);
    spend_init(&b, NULL);
    take(&a, line);
    assert_true(a.total.pico == UINT64_C(1000000000000000000));
    for (int i = 1; i < 40; i++)
        take(i % 2 ? &a : &b, line);
    assert_true(a.total.pico == UINT64_MAX && b.total.pico == UINT64_MAX);
    spend_merge(&a, &b);
    assert_int_equal(a.total.requests, 40);
    assert_true(a.total.pico == UINT64_MAX && a.total.failed_pico == 0);
    for (int by = 0; by < SPEND_BY_COUNT; by++) {
        struct groups g;
        spend_groups(&a, (enum spend_by)by, &g);
        assert_int_equal(g.count, 1);
        assert_true(((const struct spend_sum *)g.all[0]->value)->pico == UINT64_MAX);
        groups_fini(&g);
    }
    near(spend_rate(&a, 60).usd_per_hour * spend_rate(&a, 60).hours, USD_OF_PICO(UINT64_MAX));
    near(spend_between(&a, 0, INT64_MAX), USD_OF_PICO(UINT64_MAX));
    spend_fini(&a);
    spend_fini(&b);
}

static void take_cost(struct spend *s, int64_t at_us, double usd)
{
    char text[256], stamp[CLOCK_RFC3339_BYTES];
    clock_rfc3339(at_us, stamp);
    snprintf(
        text, sizeof text,
        ("{\"timestamp\":\"%.*s\",\"event\":\"request\",\"model\":\"m\",\"status\":\"success\","
         "\"total_tokens\":1,\"cost_usd\":%.9f}"),
        (int)sizeof stamp, stamp, usd);
    take(s, text);
}

#define MONDAY INT64_C(1761523200000000) /* 2025-10-27 00:00 UTC */

/* Ten days; a dollar each hour of Monday to Friday, none at week-ends. */
static void an_hour_to_come_is_like_that_of_last_week(void **state)
{
    (void)state;
    struct spend s;
    spend_init(&s, NULL);
    for (int hour = 0; hour < 10 * 24; hour++)
        take_cost(&s, MONDAY + hour * HOUR_US, hour / 24 % 7 < 5 ? 1 : 0);
    take_cost(&s, MONDAY + 10 * DAY_US, 0); /* Thursday 00:00 */
    struct spend_ahead a = spend_ahead(&s, MONDAY + 14 * DAY_US);
    assert_int_equal(a.method, SPEND_HOUR_OF_WEEK);
    near(a.usd, 48); /* Thursday and Friday */
    assert_int_equal(a.days_known, 10);
    assert_true(a.low < 48 && a.high > 48);
    near(spend_ahead(&s, MONDAY + 24 * DAY_US).usd, 240);
    near(spend_ahead(&s, MONDAY + 10 * DAY_US + HOUR_US / 2).usd, 0.5);
    near(spend_between(&s, MONDAY, MONDAY + 7 * DAY_US), 120);
    int64_t begin_us, end_us;
    spend_month(MONDAY, &begin_us, &end_us);
    near((double)begin_us, (double)MONDAY - 26.0 * (double)DAY_US);
    near((double)end_us, (double)MONDAY + 5.0 * (double)DAY_US);
    spend_month(INT64_C(1798675200000000), &begin_us, &end_us); /* 2026-12-31 */
    near((double)(end_us - begin_us), 31.0 * (double)DAY_US);
    spend_fini(&s);
}

static void a_short_log_has_its_mean_and_no_interval(void **state)
{
    (void)state;
    struct spend s;
    spend_init(&s, NULL);
    assert_int_equal(spend_ahead(&s, MONDAY).method, SPEND_NO_METHOD);
    near(spend_rate(&s, 60).hours, 0);
    take_cost(&s, MONDAY, 1);
    take_cost(&s, MONDAY + HOUR_US / 2, 1);
    assert_int_equal(spend_ahead(&s, MONDAY + DAY_US).method, SPEND_NO_METHOD);
    take_cost(&s, MONDAY + 2 * HOUR_US, 2);
    struct spend_ahead a = spend_ahead(&s, MONDAY + 12 * HOUR_US);
    assert_int_equal(a.method, SPEND_MEAN);
    near(a.usd, 20); /* 4 dollars in 2 hours, for 10 */
    assert_true(isnan(a.low) && isnan(a.high));
    spend_fini(&s);
}

/* Of days that cost 100 +- 20, so many sums of 5 to come must lie within the 95 % interval. */
static void the_interval_holds_what_it_says(void **state)
{
    (void)state;
    enum { ROUNDS = 400, DAYS = 14, AHEAD = 5 };
    struct rng rng;
    int held = 0;
    rng_seed(&rng, 5);
    for (int round = 0; round < ROUNDS; round++) {
        struct spend s;
        double to_come = 0;
        spend_init(&s, NULL);
        for (int day = 0; day < DAYS + AHEAD; day++) {
            double gauss = 0;
            for (int i = 0; i < 12; i++)
                gauss += rng_unit(&rng);
            double usd = 100 + 20 * (gauss - 6);
            if (day < DAYS)
                take_cost(&s, MONDAY + day * DAY_US, usd);
            else
                to_come += usd;
        }
        take_cost(&s, MONDAY + DAYS * DAY_US, 0);
        struct spend_ahead a = spend_ahead(&s, MONDAY + (DAYS + AHEAD) * DAY_US);
        held += to_come >= a.low && to_come <= a.high;
        spend_fini(&s);
    }
    assert_in_range(held, ROUNDS * 91 / 100, ROUNDS * 99 / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_right_in_one_piece_and_merged),
        cmocka_unit_test(sums_of_nonsense_money_do_not_begin_anew),
        cmocka_unit_test(an_hour_to_come_is_like_that_of_last_week),
        cmocka_unit_test(a_short_log_has_its_mean_and_no_interval),
        cmocka_unit_test(the_interval_holds_what_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
