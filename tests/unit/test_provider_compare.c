/* Providers side by side: counts by hand and merged, and advice that is given when, and only when, there is a difference. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/rand.h"
#include "log_lines.h"
#include "observe/provider_compare.h"

static void take(struct providers *p, const char *text)
{
    struct logline l;
    enum log_event event = line_read(&l, text);
    providers_take(p, &l, event);
}

struct made {
    const char *provider;
    int requests;
    double median_ms, fail_share, usd;
};

static struct rng rng;

/* Requests of model "m", of 1000 tokens each, whose latencies are spread over a factor of 4. */
static void take_made(struct providers *p, const struct made *m)
{
    char text[512];
    for (int i = 0; i < m->requests; i++) {
        bool failed = rng_unit(&rng) < m->fail_share;
        snprintf(text, sizeof text,
                 ("{\"event\":\"request\",\"model\":\"m\",\"provider\":\"%s\",\"deployment\":\"d\","
                  "\"status\":\"%s\",\"latency_ms\":%.3f,\"total_tokens\":1000,\"cost_usd\":%.6f}"),
                 m->provider, failed ? "failure" : "success",
                 m->median_ms * exp((rng_unit(&rng) - .5) * log(4)), m->usd);
        take(p, text);
    }
}

struct verdict {
    enum provider_verdict is;
    char best[16], other[16];
};

static struct verdict verdict_of(const struct made *made, size_t count)
{
    struct providers p;
    struct verdict v = {.is = PROVIDER_TOO_FEW};
    size_t choices_count, alone;
    providers_init(&p);
    for (size_t i = 0; i < count; i++)
        take_made(&p, &made[i]);
    struct provider_choice *choices = providers_choices(&p, &choices_count, &alone);
    assert_int_equal(choices_count, 1);
    assert_int_equal(alone, 0);
    v.is = choices->verdict;
    if (choices->best) {
        snprintf(v.best, sizeof v.best, "%.*s", STR_ARG(choices->best->values[1]));
        snprintf(v.other, sizeof v.other, "%.*s", STR_ARG(choices->other->values[1]));
    }
    mem_free(choices);
    providers_fini(&p);
    return v;
}

#define VERDICT(...)                                                                               \
    verdict_of((const struct made[]){__VA_ARGS__}, COUNT(((const struct made[]){__VA_ARGS__})))

static void advice_is_what_the_figures_say(void **state)
{
    (void)state;
    rng_seed(&rng, 11);
    struct verdict v = VERDICT({"a", 500, 1000, .02, .01}, {"b", 300, 600, .02, .008});
    assert_int_equal(v.is, PROVIDER_ROUTE);
    assert_string_equal(v.best, "b");
    assert_string_equal(v.other, "a");
    v = VERDICT({"a", 500, 600, .02, .01}, {"b", 300, 1000, .02, .01});
    assert_int_equal(v.is, PROVIDER_KEEP);
    assert_string_equal(v.best, "a");
    v = VERDICT({"a", 500, 1000, .02, .01}, {"b", 300, 600, .3, .01});
    assert_int_equal(v.is, PROVIDER_FAILS_MORE);
    assert_string_equal(v.best, "b");
    v = VERDICT({"a", 500, 1000, .02, .01}, {"b", 300, 600, .02, .02});
    assert_int_equal(v.is, PROVIDER_TRADE_OFF);
    v = VERDICT({"a", 500, 1000, .02, .01}, {"b", 300, 1000, .02, .005});
    assert_int_equal(v.is, PROVIDER_CHEAPER);
    assert_string_equal(v.best, "b");
    v = VERDICT({"a", 500, 1000, .02, .01}, {"b", 300, 1000, .3, .005});
    assert_int_equal(v.is, PROVIDER_ALIKE);
    v = VERDICT({"a", 500, 1000, .02, .01}, {"b", 20, 100, 0, .001});
    assert_int_equal(v.is, PROVIDER_TOO_FEW);
    /* Faster than one of two is not enough. */
    v = VERDICT({"a", 500, 1000, .02, .01}, {"b", 500, 600, .02, .01}, {"c", 500, 600, .02, .01});
    assert_int_equal(v.is, PROVIDER_ALIKE);
    /* Two hundred thousand values show 2 %, which is no reason to change. */
    v = VERDICT({"a", 60000, 1000, .02, .01}, {"b", 50000, 980, .02, .01});
    assert_int_equal(v.is, PROVIDER_ALIKE);
}

/* Where nothing differs, advice about speed is given in 1 of 100 cases at most. */
static void without_a_difference_there_is_no_advice(void **state)
{
    (void)state;
    enum { ROUNDS = 300 };
    int given = 0;
    rng_seed(&rng, 12);
    for (int i = 0; i < ROUNDS; i++)
        given +=
            VERDICT({"a", 80, 1000, .02, .01}, {"b", 80, 1000, .02, .01}, {"c", 80, 1000, .02, .01})
                .is != PROVIDER_ALIKE;
    assert_in_range(given, 0, ROUNDS / 50);
}

static const char *const lines[] = {
    ("{\"event\":\"request\",\"model\":\"m\",\"provider\":\"p\",\"deployment\":\"1\",\"status\":"
     "\"success\",\"latency_ms\":10,\"ttft_ms\":5,\"tokens_per_second\":7.5,\"total_tokens\":2000,"
     "\"cost_usd\":0.5}"),
    ("{\"event\":\"request\",\"model\":\"m\",\"provider\":\"p\",\"deployment\":\"1\",\"status\":"
     "\"failure\",\"http_status\":502,\"latency_ms\":99,\"error\":{\"type\":\"upstream_error\","
     "\"provider_status\":429}}"),
    ("{\"event\":\"request\",\"model\":\"m\",\"provider\":\"p\",\"deployment\":\"1\",\"status\":"
     "\"failure\",\"http_status\":502,\"error\":{\"type\":\"upstream_timeout\"}}"),
    ("{\"event\":\"request\",\"model\":\"m\",\"provider\":\"p\",\"deployment\":\"1\",\"status\":"
     "\"cancelled\",\"latency_ms\":1,\"total_tokens\":100}"),
    ("{\"event\":\"request\",\"model\":\"m\",\"provider\":\"p\",\"deployment\":\"2\",\"status\":"
     "\"success\"}"),
    "{\"event\":\"request\",\"model\":\"n\",\"provider\":\"p\",\"status\":\"success\"}",
    "{\"event\":\"request\",\"model\":\"m\",\"status\":\"failure\",\"http_status\":429}",
    ("{\"event\":\"request\",\"model\":\"m\",\"provider\":\"p\",\"deployment\":\"1\",\"cache\":"
     "\"hit\"}"),
    "{\"event\":\"attempt\",\"model\":\"m\",\"provider\":\"p\",\"deployment\":\"1\"}",
};

static void check(const struct providers *p)
{
    size_t count, alone;
    struct provider_choice *choices = providers_choices(p, &count, &alone);
    assert_int_equal(count, 1);
    assert_int_equal(alone, 1);
    assert_int_equal(choices->count, 2);
    assert_int_equal(choices->verdict, PROVIDER_TOO_FEW);
    const struct provider_sum *s = choices->all[0]->value;
    assert_true(str_eq(choices->all[0]->values[2], STR("1")));
    assert_int_equal(s->requests, 4);
    assert_int_equal(s->success, 1);
    assert_int_equal(s->cancelled, 1);
    assert_int_equal(s->rate_limited, 1);
    assert_int_equal(s->timeouts, 1);
    assert_int_equal(s->latency_us.count, 1);
    assert_int_equal(s->ttft_us.max, 5000);
    assert_int_equal(s->tokens_per_second.max, 7500);
    assert_true(fabs(provider_success(s) - 1 / 3.0) < 1e-12);
    assert_true(fabs(provider_usd_per_1k(s) - .25) < 1e-12);
    assert_true(fabs(provider_usd_per_request(s) - .5) < 1e-12);
    mem_free(choices);
}

static void counts_are_right_in_one_piece_and_merged(void **state)
{
    (void)state;
    struct providers whole, a, b;
    providers_init(&whole);
    providers_init(&a);
    providers_init(&b);
    for (size_t i = 0; i < COUNT(lines); i++) {
        take(&whole, lines[i]);
        take(i % 2 ? &a : &b, lines[COUNT(lines) - 1 - i]);
    }
    check(&whole);
    providers_merge(&a, &b);
    check(&a);
    providers_fini(&a);
    providers_fini(&b);
    providers_fini(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_right_in_one_piece_and_merged),
        cmocka_unit_test(advice_is_what_the_figures_say),
        cmocka_unit_test(without_a_difference_there_is_no_advice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
