/* Thresholds by table: how they are read, whether they hold of a small run, mistakes with their columns, and what ends a run early. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "measure/limits_asked.h"

#define MS 1000000ull
#define S  (1000 * MS)

static struct str models[] = {{"a", 1}, {"b:8b", 4}};
static struct str stages[] = {{"warm", 4}, {"peak", 4}};

static void take(struct results *r, uint32_t model, uint32_t stage, enum outcome outcome,
                 uint64_t due_ns, uint64_t took_ns, uint64_t ttft_ns)
{
    struct sample s = {.model = model,
                       .stage = stage,
                       .outcome = (uint8_t)outcome,
                       .due_ns = due_ns,
                       .start_ns = due_ns,
                       .completion_tokens = 10,
                       .cost_usd = -1,
                       .prompt_tokens = -1,
                       .cached_tokens = -1,
                       .reasoning_tokens = -1};
    if (outcome != OUTCOME_DROPPED) {
        s.sent_first_ns = s.sent_ns = due_ns;
        s.first_byte_ns = s.first_token_ns = due_ns + ttft_ns;
        s.last_token_ns = s.end_ns = due_ns + took_ns;
    }
    results_take(r, &s);
}

/* Model a in stage warm: 100 requests of 1 to 100 ms, all OK. Model b:8b in stage peak: 20 of 1 s, 5 of them failed; 5 dropped. 10 s in all. */
static struct results *small_run(void)
{
    struct objectives o = {.total_ns = 50 * MS};
    struct results *r = results_new(2, 2, &o, 1 * S);
    for (uint64_t i = 1; i <= 100; i++)
        take(r, 0, 0, OUTCOME_OK, 1 * S + i, i * MS, i * MS / 2);
    for (uint64_t i = 0; i < 20; i++)
        take(r, 1, 1, i < 5 ? OUTCOME_HTTP_5XX : OUTCOME_OK, 2 * S, 1 * S, 500 * MS);
    for (uint64_t i = 0; i < 5; i++)
        take(r, 1, 1, OUTCOME_DROPPED, 2 * S, 0, 0);
    return r;
}

static struct limits_input input(const struct results *r)
{
    return (struct limits_input){
        .results = r, .offered = 125, .sent = 120, .dropped = 5, .seconds = 10};
}

// clang-format off
static const struct { const char *text; enum limit_verdict verdict; double value; } cases[] = {
    /* of model a: nearest rank of 1 to 100 ms */
    {"latency[model=a] p95 <= 95ms", LIMIT_HELD, 95}, {"latency[model=a] p95 < 94ms", LIMIT_FAILED, 95},
    {"p(50)[model=a]<51", LIMIT_HELD, 50}, {"p50 [model=a] < 51 ms", LIMIT_HELD, 50}, {"med[stage=warm]<51", LIMIT_HELD, 50},
    {"http_req_duration{model:a}: p(50)<49", LIMIT_FAILED, 50}, {"http_req_duration{model:b:8b} max<=1000", LIMIT_HELD, 1000},
    {"latency_p50 [stage=1] < 51", LIMIT_HELD, 50}, {"latency_p50_ms[model='a'] < 51", LIMIT_HELD, 50},
    {"latency min < 2", LIMIT_HELD, 1}, {"latency max < 0.9s", LIMIT_FAILED, 1000}, {"avg[model=a]<50.6", LIMIT_HELD, 50.5},
    {"ttft p50 [model=a] <= 25", LIMIT_HELD, 25}, {"latency count == 115", LIMIT_HELD, 115}, {"latency stddev[stage=peak] < 1", LIMIT_HELD, 0},
    /* of all: 115 OK, 5 failed, 5 dropped of 125 due */
    {"rate<0.05", LIMIT_HELD, 5.0 / 120}, {"rate<0.04", LIMIT_FAILED, 5.0 / 120}, {"errors < 5%", LIMIT_HELD, 5.0 / 120},
    {"errors < 5 %", LIMIT_HELD, 5.0 / 120}, {"http_req_failed: rate<0.04", LIMIT_FAILED, 5.0 / 120}, {"errors count <= 5", LIMIT_HELD, 5},
    {"errors[model=b:8b] < 25%", LIMIT_FAILED, .25}, {"errors[model=a] <= 0", LIMIT_HELD, 0},
    {"requests >= 120", LIMIT_HELD, 120}, {"requests rate > 11/s", LIMIT_HELD, 12}, {"http_reqs: count>=121", LIMIT_FAILED, 120}, {"count>=120", LIMIT_HELD, 120},
    {"dropped < 4%", LIMIT_FAILED, .04}, {"dropped count = 0", LIMIT_FAILED, 5}, {"dropped_iterations: count<6", LIMIT_HELD, 5}, {"dropped[model=b:8b] <= 20%", LIMIT_HELD, .2},
    {"goodput >= 40%", LIMIT_HELD, .4}, {"goodput rate >= 5", LIMIT_HELD, 5}, {"goodput count != 50", LIMIT_FAILED, 50},
    {"achieved > 99%", LIMIT_FAILED, .96}, {"achieved_rate rate >= 12/s", LIMIT_HELD, 12}, {"achieved >= 0.96", LIMIT_HELD, .96},
    {"tokens count > 1k", LIMIT_HELD, 1200},
    /* what the sample cannot carry, or does not have, is no good news */
    {"latency p99 < 10s", LIMIT_REFUSED, NAN}, {"p(99.9)<10s", LIMIT_REFUSED, NAN}, {"latency[model=b:8b] p95 < 2s", LIMIT_REFUSED, NAN},
    {"tls max < 1s", LIMIT_REFUSED, NAN}, {"cost_usd max < $1", LIMIT_REFUSED, NAN},
};

static const struct { const char *text, *says; } mistakes[] = {
    {"", "column 1: expected a threshold"}, {"latncy p95 < 1", "did you mean latency?"}, {"http_req_duratoin: p(95)<1", "did you mean http_req_duration?"},
    {"latency < 500ms", "column 9: expected what of latency"}, {"latency rate < 1", "expected what of latency"}, {"latency p95 500", "expected <"},
    {"latency p95 <", "expected a bound"}, {"latency p95 < soon", "expected a time"}, {"latency p95 < -1", "not negative"}, {"latency p100 < 1", "expected p95"},
    {"p(0)<1", "expected a percentile"}, {"p(95<1", "expected )"}, {"p 95<1", "expected p95"}, {"errors < 5", "at most 100%"}, {"errors p95 < 1", "errors has share, rate, count only"},
    {"achieved[model=a] > 1%", "of the whole run"}, {"achieved count > 1", "achieved has share, rate only"}, {"latency[model=a] p95 [stage=x] < 1", "not both"}, {"latency[mode=a] p95 < 1", "expected model or stage"},
    {"latency[model=a p95 < 1", "expected ]"}, {"latency[model] p95 < 1", "expected ="}, {"p95 < 1 abort after", "expected a time with its unit"}, {"p95 < 1 abort after 10", "expected a time with its unit"},
    {"requests >= 100 abort", "until the end"}, {"p95 < 1 p99 < 2", "expected a comma"}, {"p95 < 1,", "expected a threshold"}, {"latency{model:a p95 < 1", "without blanks"}, {"latency[model=''] p95 < 1", "the name of a model"},
};
// clang-format on

static void holds_or_not(void **state)
{
    (void)state;
    struct results *r = small_run();
    struct limits_input in = input(r);
    results_seal(r);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct limits_asked l = {0};
        struct err e = {0};
        if (!limits_asked_add(&l, str_from(cases[i].text), &e) ||
            !limits_asked_bind(&l, models, 2, stages, 2, &e))
            fail_msg("%s: %s", cases[i].text, e.text);
        bool held = limits_asked_check(&l, &in);
        if (l.all[0].verdict != cases[i].verdict ||
            (isnan(cases[i].value)
                 ? !isnan(l.all[0].value)
                 : fabs(l.all[0].value - cases[i].value) > 1e-9 + cases[i].value * 6e-4))
            fail_msg("%s: verdict %d, value %g (%s)", cases[i].text, l.all[0].verdict,
                     l.all[0].value, l.all[0].why);
        assert_int_equal(held, cases[i].verdict == LIMIT_HELD);
        assert_true(held || l.all[0].why[0]);
    }
    results_free(r);
}

static void refuses_with_how_many_are_needed(void **state)
{
    (void)state;
    struct results *r = small_run();
    struct limits_input in = input(r);
    struct limits_asked l = {0};
    results_seal(r);
    assert_true(limits_asked_add(&l, STR("latency p99 < 10s, tls p50 < 1s"), NULL));
    assert_false(limits_asked_check(&l, &in));
    assert_non_null(strstr(l.all[0].why, "p99 needs 368 values, and there are 115"));
    assert_non_null(strstr(l.all[1].why, "nothing to measure tls by"));
    results_free(r);
}

static void mistakes_have_a_column(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        struct limits_asked l = {0};
        struct err e = {0};
        if (limits_asked_add(&l, str_from(mistakes[i].text), &e))
            fail_msg("taken: %s", mistakes[i].text);
        if (!strstr(e.text, mistakes[i].says) || strncmp(e.text, "column ", 7) != 0)
            fail_msg("%s: %s", mistakes[i].text, e.text);
        assert_int_equal(l.count, 0);
    }
}

static void several_in_one_text(void **state)
{
    (void)state;
    struct limits_asked l = {0};
    struct err e = {0};
    assert_true(
        limits_asked_add(&l, STR("p(95)<500, p(99)  <\t1s and errors<1% abort after 10s"), &e));
    assert_int_equal(l.count, 3);
    assert_string_equal(l.all[0].text, "p(95)<500");
    assert_string_equal(l.all[1].text, "p(99) < 1s");
    assert_true(l.all[2].abort && l.all[2].abort_after_ns == 10 * S && !l.all[0].abort);
    assert_false(limits_asked_add(&l, STR("p(95)<500, nonsense < 1"), &e));
    assert_int_equal(l.count, 3);
    for (int i = 3; i < LIMITS_ASKED_MAX; i++)
        assert_true(limits_asked_add(&l, STR("p(95)<500"), NULL));
    struct err full = {0};
    assert_false(limits_asked_add(&l, STR("p(95)<500"), &full));
    assert_non_null(strstr(full.text, "at most 64"));
}

static void names_are_found_or_nearest_told(void **state)
{
    (void)state;
    struct limits_asked l = {0};
    struct err e = {0};
    assert_true(limits_asked_add(&l, STR("p95[stage=peek] < 1"), NULL));
    assert_false(limits_asked_bind(&l, models, 2, stages, 2, &e));
    assert_non_null(strstr(e.text, "there is no stage \"peek\"; did you mean peak?"));
}

static void asks_only_for_what_can_be_had(void **state)
{
    (void)state;
    struct limits_asked l = {0};
    struct err e = {0};
    assert_true(limits_asked_add(&l, STR("goodput > 90%"), NULL));
    assert_true(limits_asked_fit(&l, true, false, NULL));
    assert_false(limits_asked_fit(&l, false, true, &e));
    assert_non_null(strstr(e.text, "--slo"));
    l.count = 0;
    assert_true(limits_asked_add(&l, STR("achieved > 99%"), NULL));
    assert_true(limits_asked_fit(&l, false, true, NULL));
    assert_false(limits_asked_fit(&l, true, false, NULL));
}

static void ends_a_run_early(void **state)
{
    (void)state;
    struct results *r = small_run();
    struct limits_input in = input(r);
    struct limits_asked l = {0};
    assert_true(
        limits_asked_add(&l, STR("p50 < 1, p(99)<1 abort, errors<4% abort after 5s"), NULL));
    assert_null(limits_asked_abort(&l, &in, 4 * S)); /* too early; p99 has too few; p50 may not */
    assert_false(l.aborted);
    assert_ptr_equal(limits_asked_abort(&l, &in, 5 * S), &l.all[2]);
    assert_true(l.aborted);
    l.count = 0;
    assert_true(limits_asked_add(&l, STR("latency p50 < 40ms abort"), NULL));
    assert_ptr_equal(limits_asked_abort(&l, &in, 1), &l.all[0]);
    assert_true(fabs(l.all[0].value - 58) < 0.1);
    results_free(r);
}

static void no_abort_on_a_handful(void **state)
{
    (void)state;
    struct results *r = results_new(1, 1, NULL, 1 * S);
    struct limits_input in = {.results = r, .seconds = 1};
    struct limits_asked l = {0};
    assert_true(limits_asked_add(&l, STR("errors[model=a] < 1% abort"), NULL));
    assert_true(limits_asked_bind(&l, models, 1, stages, 1, NULL));
    for (int i = 0; i < LIMIT_ABORT_CHECK_MIN; i++) {
        assert_null(limits_asked_abort(&l, &in, S));
        take(r, 0, 0, OUTCOME_HTTP_5XX, 1 * S, MS, MS);
    }
    assert_non_null(limits_asked_abort(&l, &in, S));
    results_free(r);
}

/* 1 to 100 ms in order: p90 needs 36, of values that are not their neighbours' doubles. The bound is of this run. */
static void a_ramp_is_held_against_its_bound(void **state)
{
    (void)state;
    struct results *r = small_run();
    results_seal(r);
    struct limits_input in = input(r);
    struct limits_asked l = {0};
    assert_true(limits_asked_add(&l, STR("latency p90[model=a] < 91ms"), NULL));
    assert_true(limits_asked_add(&l, STR("latency p90[model=a] < 89ms"), NULL));
    assert_true(limits_asked_bind(&l, models, 2, stages, 2, NULL));
    assert_false(limits_asked_check(&l, &in));
    assert_int_equal(l.all[0].verdict, LIMIT_HELD);
    assert_non_null(strstr(l.all[0].why, "of this run alone: neighbours are alike"));
    assert_int_equal(l.all[1].verdict, LIMIT_FAILED);
    assert_string_equal(l.all[1].why, "it is 90.01 ms, and the bound is 89 ms");
    results_free(r);
}

static void shown_without_an_exponent(void **state)
{
    (void)state;
    static const struct {
        struct str limit;
        double value;
        const char *text;
    } shown[] = {
        {STR("latency p50 < 1ms"), 0.00004, "0.00004 ms"},
        {STR("latency p50 < 1ms"), 1234.56, "1,235 ms"},
        {STR("latency p50 < 1ms"), 12345.6, "12.35 s"},
        {STR("requests rate > 11/s"), 16123.4, "16,123/s"},
        {STR("requests >= 120"), 1234567, "1,234,567"},
        {STR("errors < 5%"), 1e-7, "0.00001 %"},
        {STR("errors < 5%"), NAN, "n/a"},
    };
    for (size_t i = 0; i < COUNT(shown); i++) {
        char text[64];
        struct limits_asked l = {0};
        assert_true(limits_asked_add(&l, shown[i].limit, NULL));
        limit_asked_show(&l.all[0], shown[i].value, text, sizeof text);
        assert_string_equal(text, shown[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_or_not),
        cmocka_unit_test(refuses_with_how_many_are_needed),
        cmocka_unit_test(mistakes_have_a_column),
        cmocka_unit_test(several_in_one_text),
        cmocka_unit_test(names_are_found_or_nearest_told),
        cmocka_unit_test(asks_only_for_what_can_be_had),
        cmocka_unit_test(ends_a_run_early),
        cmocka_unit_test(no_abort_on_a_handful),
        cmocka_unit_test(a_ramp_is_held_against_its_bound),
        cmocka_unit_test(shown_without_an_exponent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
