/* The same tokens at other prices: plans and their errors, sums by hand, in one piece and merged. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "log_lines.h"
#include "observe/what_if.h"

static void plans_say_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } bad[] = {{"gpt-4o", "expected MODEL=MODEL"},
               {"gpt-4o=", "expected MODEL=MODEL"},
               {"=gpt-4o", "expected MODEL=MODEL"},
               {"", "expected MODEL=MODEL"},
               {" , ", "expected MODEL=MODEL"},
               {"gpt-4o=no-such-model", "no price is known for \"no-such-model\""}};
    struct what_if_plan plan;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct err e = {0};
        assert_false(what_if_plan(&plan, bad[i].text, NULL, &e));
        if (!strstr(e.text, bad[i].said))
            fail_msg("%s: %s", bad[i].text, e.text);
    }
    struct err e = {0};
    assert_true(what_if_plan(&plan, NULL, NULL, &e));
    assert_int_equal(plan.count, 0);
    assert_true(what_if_plan(&plan, " gpt-4o = gpt-4o-mini , claude*=openai/gpt-4o", NULL, &e));
    assert_int_equal(plan.count, 2);
    assert_true(str_eq(plan.routes[0].from, STR("gpt-4o")));
    assert_true(str_eq(plan.routes[1].to, STR("openai/gpt-4o")));
    char many[WHAT_IF_ROUTES_MAX * 10 + 20] = "";
    for (size_t i = 0; i <= WHAT_IF_ROUTES_MAX; i++)
        memcpy(many + 9 * i, "a=gpt-4o,", 10);
    assert_false(what_if_plan(&plan, many, NULL, &e));
}

/* gpt-4o-mini: $0.15 a million in, $0.075 of it cached, $0.60 out. */
static const char *const lines[] = {
    ("{\"event\":\"request\",\"model\":\"big\",\"provider\":\"p\",\"upstream_model\":\"big-1\","
     "\"status\":\"success\",\"prompt_tokens\":1000000,\"cached_tokens\":500000,"
     "\"completion_tokens\":1000000,\"total_tokens\":2000000,\"cost_usd\":10}"),
    ("{\"event\":\"request\",\"model\":\"big\",\"provider\":\"p\",\"upstream_model\":\"big-2\","
     "\"status\":\"success\",\"prompt_tokens\":1000000,\"total_tokens\":1000000}"),
    ("{\"event\":\"request\",\"model\":\"big\",\"provider\":\"p\",\"upstream_model\":\"big-2\","
     "\"status\":\"failure\",\"cost_usd\":0.5}"),
    ("{\"event\":\"request\",\"model\":\"big\",\"provider\":\"p\",\"upstream_model\":\"big-2\","
     "\"status\":\"success\",\"prompt_tokens\":9,\"total_tokens\":9,\"cost_usd\":0,\"cache\":"
     "\"hit\"}"),
    ("{\"event\":\"request\",\"model\":\"alias\",\"provider\":\"p\",\"upstream_model\":\"big-3\","
     "\"status\":\"success\",\"prompt_tokens\":1000000,\"total_tokens\":1000000,\"cost_usd\":1}"),
    ("{\"event\":\"request\",\"model\":\"small\",\"provider\":\"p\",\"status\":\"success\","
     "\"prompt_tokens\":5,\"total_tokens\":5,\"cost_usd\":0.25}"),
    "{\"event\":\"attempt\",\"model\":\"big\",\"provider\":\"p\",\"cost_usd\":100}",
};

static void take(struct what_if *w, const char *text)
{
    struct logline l;
    enum log_event event = line_read(&l, text);
    what_if_take(w, &l, event);
}

static const struct what_if_sum *sum_of(struct groups *g, const char *model, const char *as)
{
    const struct str key[] = {str_from(model), STR("p"), str_from(as)};
    size_t before = g->count;
    const struct what_if_sum *sum = groups_get(g, key)->value;
    assert_int_equal(before, g->count);
    return sum;
}

static void check(const struct what_if *w)
{
    struct groups g;
    struct what_if_sum total = what_if_result(w, &g);
    const struct what_if_sum *big = sum_of(&g, "big", "gpt-4o-mini");
    assert_int_equal(g.count, 3);
    assert_int_equal(big->requests, 4);
    assert_int_equal(big->now_pico, 10500000000000);
    /* 0.5 * 0.15 + 0.5 * 0.075 + 0.60, then 0.15, then 0.5 as now, then a hit */
    assert_int_equal(big->then_pico, 712500000000 + 150000000000 + 500000000000);
    assert_int_equal(big->unpriced_now, 1);
    assert_int_equal(big->unknown_then, 1);
    assert_int_equal(sum_of(&g, "alias", "gpt-4o-mini")->then_pico, 150000000000);
    assert_int_equal(sum_of(&g, "small", NULL)->then_pico, 250000000000);
    assert_int_equal(total.requests, 6);
    assert_int_equal(total.now_pico, 11750000000000);
    assert_int_equal(total.then_pico, big->then_pico + 400000000000);
    groups_fini(&g);
}

static void sums_are_right_in_one_piece_and_merged(void **state)
{
    (void)state;
    struct what_if_plan plan;
    struct what_if whole, a, b;
    assert_true(what_if_plan(&plan, "big*=gpt-4o-mini,b*=gpt-4o", NULL, NULL));
    what_if_init(&whole, &plan);
    what_if_init(&a, &plan);
    what_if_init(&b, &plan);
    for (size_t i = 0; i < COUNT(lines); i++) {
        take(&whole, lines[i]);
        take(i % 2 ? &a : &b, lines[COUNT(lines) - 1 - i]);
    }
    check(&whole);
    what_if_merge(&a, &b);
    check(&a);
    what_if_fini(&a);
    what_if_fini(&b);
    what_if_fini(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_say_what_is_wrong),
        cmocka_unit_test(sums_are_right_in_one_piece_and_merged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
