/* test_metrics_fallbacks.c -- requests that went on to another model, and the families that are made of the rest of a record: outcomes, retries, slow
 * requests, phases of engines. */
#include "metrics_fixture.h"

#include <pthread.h>

#include "observe/metrics_internal.h"

static struct record fell_back(const char *asked, const char *to, const char *status)
{
    struct record r = record_of(&deployments[1]);
    r.status = str_from(status);
    r.fallback = (struct record_fallback){.asked = str_from(asked),
                                          .to = str_from(to),
                                          .cause = ERR_UPSTREAM_ERROR,
                                          .cause_status = 503,
                                          .cause_provider = STR("openai")};
    return r;
}

#define LABELS_OF(asked, to, status, class)                                                        \
    "{requested_model=\"" asked "\",fallback_model=\"" to                                          \
    "\",hashed_api_key=\"None\",api_key_alias=\"None\",team=\"None\",team_alias=\"None\","         \
    "exception_status=\"" status "\",exception_class=\"" class "\",model_id=\"None\"}"

static void counted_once_a_request_and_once_a_model(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(2, &config);
    struct record to_b = fell_back("a", "b", "success"), to_c = fell_back("a", "c", "success");
    metrics_record(m, 0, &to_b);
    metrics_record(m, 1, &to_b);
    metrics_passed_on(m, 0, &to_b); /* a third one: b failed it, and c answered */
    metrics_record(m, 0, &to_c);
    const char *text = expose(m);
    check_line(text, "weir_fallbacks_total{model=\"a\",fallback_model=\"b\",status=\"success\"} 2");
    check_line(text, "weir_fallbacks_total{model=\"a\",fallback_model=\"c\",status=\"success\"} 1");
    check_near(sum_of(text, "weir_fallbacks_total"), 3, 0);
    check_line(text, "litellm_deployment_successful_fallbacks_total" LABELS_OF(
                         "a", "b", "503", "Openai.ServiceUnavailableError") " 2");
    check_line(text, "litellm_deployment_failed_fallbacks_total" LABELS_OF(
                         "a", "b", "503", "Openai.ServiceUnavailableError") " 1");
    check_near(sum_of(text, "litellm_deployment_successful_fallbacks_total"), 3, 0);
    check_near(sum_of(text, "litellm_deployment_failed_fallbacks_total"), 1, 0);
    metrics_free(m);
}

static void why_the_first_could_not(void **state)
{
    (void)state;
    static const struct {
        struct record_fallback why;
        const char *labels;
    } cases[] = {
        {{.cause = ERR_UPSTREAM_ERROR, .cause_status = 429, .cause_provider = {"groq", 4}},
         "exception_status=\"429\",exception_class=\"Groq.RateLimitError\""},
        {{.cause = ERR_UPSTREAM_CONNECT, .cause_status = -1, .cause_provider = {"openai", 6}},
         "exception_status=\"502\",exception_class=\"Openai.APIConnectionError\""},
        {{.cause = ERR_DEPLOYMENTS_REST, .cause_status = -1},
         "exception_status=\"429\",exception_class=\"ProxyException\""},
        {{.cause = ERR_NONE, .cause_status = -1},
         "exception_status=\"None\",exception_class=\"None\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct metrics *m = metrics_new(1, &config);
        struct record r = record_of(&deployments[1]);
        r.fallback = cases[i].why;
        r.fallback.to = STR("b");
        metrics_record(m, 0, &r); /* .asked is empty: it is the record's own */
        const char *text = expose(m);
        assert_non_null(strstr(text, cases[i].labels));
        assert_non_null(
            strstr(text, "fallbacks_total{requested_model=\"local\",fallback_model=\"b\""));
        metrics_free(m);
    }
}

static void other_requests_are_none(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    struct record plain = record_of(&deployments[0]), attempt = fell_back("a", "b", "failure");
    attempt.event = STR("attempt");
    metrics_record(m, 0, &plain);
    metrics_record(m, 0, &attempt);
    check_absent(expose(m), "fallbacks_total");
    metrics_free(m);
}

static void the_table_has_a_ceiling(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    char name[16];
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "m%d", i);
        struct record r = fell_back(name, "b", i % 2 ? "success" : "failure");
        metrics_record(m, 0, &r);
    }
    assert_true(m->shards[0].fallback_count <= FALLBACK_CELLS + 3);
    const char *text = expose(m);
    check_near(sum_of(text, "weir_fallbacks_total"), 5000, 0);
    check_line(text,
               "weir_fallbacks_total{model=\"m1\",fallback_model=\"b\",status=\"success\"} 1");
    check_near(sum_of(text, "weir_metrics_series_overflow_total"), 5000 - FALLBACK_CELLS, 0);
    assert_non_null(strstr(text, "weir_fallbacks_total{model=\"other\",fallback_model=\"other\","
                                 "status=\"success\"}"));
    metrics_free(m);
}

/* Whose labels it takes is counted, also where the record that follows keeps its own. */
static void passed_on_past_the_ceiling(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    char name[16];
    for (int i = 0; i < (int)FALLBACK_CELLS; i++) {
        snprintf(name, sizeof name, "m%d", i);
        struct record r = fell_back(name, "b", "failure");
        metrics_passed_on(m, 0, &r);
    }
    check_near(sum_of(expose(m), "weir_metrics_series_overflow_total"), 0, 0);
    struct record late = fell_back("late", "b", "success"), known = fell_back("m0", "b", "failure");
    metrics_passed_on(m, 0, &late);
    metrics_passed_on(m, 0, &known);
    const char *text = expose(m);
    check_near(sum_of(text, "weir_metrics_series_overflow_total"), 1, 0);
    check_near(sum_of(text, "litellm_deployment_failed_fallbacks_total"), FALLBACK_CELLS + 2, 0);
    metrics_free(m);
}

static void saved_and_loaded(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(2, &config), *again = metrics_new(1, &config);
    struct buf bytes;
    struct err e = {0};
    struct record good = fell_back("a", "b", "success"), bad = fell_back("a", "c", "failure");
    buf_init(&bytes, 0, NULL);
    metrics_record(m, 0, &good);
    metrics_record(m, 1, &good);
    metrics_record(m, 1, &bad);
    metrics_passed_on(m, 0, &good);
    metrics_save(m, &bytes);
    assert_true(metrics_load(again, buf_str(&bytes), &e));
    const char *text = expose(again);
    check_line(text, "weir_fallbacks_total{model=\"a\",fallback_model=\"b\",status=\"success\"} 2");
    check_near(sum_of(text, "litellm_deployment_failed_fallbacks_total"), 2, 0);
    check_line(text, "weir_request_outcomes_total{model=\"local\",provider=\"ollama\",outcome="
                     "\"success\"} 2");
    for (size_t n = 0; n < buf_used(&bytes); n++) { /* cut short anywhere */
        struct metrics *part = metrics_new(1, &config);
        struct err why = {0};
        assert_false(metrics_load(part, (struct str){bytes.data + bytes.at, n}, &why));
        metrics_free(part);
    }
    buf_fini(&bytes);
    metrics_free(m);
    metrics_free(again);
}

/* A state file may say anything: also more fallbacks than there are places. */
static void a_state_file_cannot_fill_it(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(8, &config), *again = metrics_new(1, &config);
    struct buf bytes;
    struct err e = {0};
    char name[16];
    buf_init(&bytes, 0, NULL);
    for (int i = 0; i < 8 * 400; i++) {
        snprintf(name, sizeof name, "m%d", i);
        struct record r = fell_back(name, "b", "success");
        metrics_record(m, i % 8, &r);
    }
    metrics_save(m, &bytes);
    assert_true(metrics_load(again, buf_str(&bytes), &e));
    check_near(sum_of(expose(again), "weir_fallbacks_total"), 8 * 400, 0);
    buf_fini(&bytes);
    metrics_free(m);
    metrics_free(again);
}

#define RECORDS 20000

static void *write_fallbacks(void *arg)
{
    char name[16];
    for (int i = 0; i < RECORDS; i++) {
        snprintf(name, sizeof name, "m%d", i / 50);
        struct record r = fell_back(name, "b", "success");
        metrics_record(arg, 0, &r);
    }
    return NULL;
}

static void a_writer_and_a_scraper(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    pthread_t thread;
    double before = 0;
    assert_int_equal(pthread_create(&thread, NULL, write_fallbacks, m), 0);
    for (int i = 0; i < 20; i++) {
        double now = sum_of(expose(m), "weir_fallbacks_total");
        assert_true(now >= before);
        before = now;
    }
    pthread_join(thread, NULL);
    check_near(sum_of(expose(m), "weir_fallbacks_total"), RECORDS, 0);
    metrics_free(m);
}

/* ---- the rest of a record ---- */

static void outcomes_are_by_fault(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
#define OUTCOME(model, provider, outcome)                                                          \
    "weir_request_outcomes_total{model=\"" model "\",provider=\"" provider "\",outcome=\"" outcome \
    "\"} "
    const char *text = expose(m);
    check_line(text, OUTCOME("gpt", "openai", "gateway_error") "0");
    check_line(text, OUTCOME("embed", "openai", "cancelled") "0");
    check_absent(text, "outcome=\"unknown\"");
    struct record good = record_of(&deployments[0]);
    struct record theirs = failure_of(&deployments[0], ERR_UPSTREAM_ERROR, 429, 429);
    struct record ours = failure_of(NULL, ERR_TOO_MANY_REQUESTS, 429, -1);
    struct record wild = failure_of(&deployments[2], ERR_UPSTREAM_ERROR, 404, 404);
    wild.model_known = false;
    struct record attempt = theirs;
    attempt.event = STR("attempt");
    const struct record *all[] = {&good, &theirs, &ours, &wild, &attempt};
    for (size_t i = 0; i < COUNT(all); i++)
        metrics_record(m, 0, all[i]);
    text = expose(m);
    check_line(text, OUTCOME("gpt", "openai", "success") "1");
    check_line(text, OUTCOME("gpt", "openai", "provider_error") "1");
    check_line(text, OUTCOME("gpt", "None", "gateway_error") "1");
    check_line(text, OUTCOME("groq/*", "groq", "client_error") "1");
    check_near(sum_of(text, "weir_request_outcomes_total"), 4, 0);
    check_line(text, "weir_retries_total{model=\"gpt\",provider=\"openai\"} 1");
    check_near(sum_of(text, "weir_retries_total"), 1, 0);
    metrics_free(m);
}

static void slow_ones_and_engines(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    const char *text = expose(m);
    check_line(text, "weir_slow_requests_total{model=\"gpt\",provider=\"openai\"} 0");
    check_absent(text, "weir_engine_phase_seconds_total");
    struct record r = record_of(&deployments[1]);
    r.slow = 1;
    r.engine.load_us = 1500000;
    r.engine.prefill_us = 250000;
    r.engine.decode_us = 125;
    metrics_record(m, 0, &r);
    r.slow = -1; /* not known */
    r.engine.load_us = r.engine.prefill_us = r.engine.decode_us = -1;
    metrics_record(m, 0, &r);
    text = expose(m);
    check_line(text, "weir_slow_requests_total{model=\"local\",provider=\"ollama\"} 1");
#define PHASE(phase)                                                                               \
    "weir_engine_phase_seconds_total{model=\"local\",provider=\"ollama\",phase=\"" phase "\"} "
    check_line(text, PHASE("load") "1.5");
    check_line(text, PHASE("prefill") "0.25");
    check_line(text, PHASE("decode") "0.000125");
    check_absent(text, "weir_engine_phase_seconds_total{model=\"gpt\"");
    metrics_free(m);
}

static void times_of_streams(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    const char *text = expose(m);
    check_line(text, "weir_ttft_seconds_count{model=\"gpt\",provider=\"openai\"} 0");
    check_line(text, "weir_output_token_seconds_count{model=\"local\",provider=\"ollama\"} 0");
    check_absent(text, "weir_ttft_seconds_count{model=\"embed\"");
    check_absent(text, "weir_output_token_seconds_count{model=\"embed\"");
    struct record r = record_of(&deployments[0]);
    r.stream = 1;
    r.ttft_us = 7000;
    r.output_us = 1900000; /* 20 tokens: 19 steps of 0.1 s */
    metrics_record(m, 0, &r);
    r.cache = STR("hit"); /* its tokens were not written now */
    r.output_us = 0;
    metrics_record(m, 0, &r);
    struct record broken = failure_of(&deployments[0], ERR_UPSTREAM_TRUNCATED, 200, -1);
    broken.stream = 1;
    broken.ttft_us = 1000;
    metrics_record(m, 0, &broken);
    text = expose(m);
    check_line(text, "weir_ttft_seconds_count{model=\"gpt\",provider=\"openai\"} 3");
    check_near(sum_of(text, "weir_ttft_seconds_sum"), 0.015, 1e-12);
    check_line(text, "weir_output_token_seconds_count{model=\"gpt\",provider=\"openai\"} 1");
    check_near(sum_of(text, "weir_output_token_seconds_sum"), 0.1, 1e-12);
    metrics_free(m);
}

static void services_of_litellm(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    check_line(expose(m), "litellm_self_total_requests_total{self=\"self\"} 0");
    check_line(expose(m), "litellm_self_latency_count{self=\"self\"} 0");
    struct record good = record_of(&deployments[0]);
    struct record bad = failure_of(&deployments[0], ERR_UPSTREAM_ERROR, 429, 429);
    metrics_record(m, 0, &good);
    metrics_record(m, 0, &bad);
    const char *text = expose(m);
    check_line(text, "litellm_self_total_requests_total{self=\"self\"} 2");
    check_line(text, "litellm_self_latency_sum{self=\"self\"} 0.02");
    check_line(text, "litellm_self_failed_requests_total{self=\"self\",error_class=\"Openai."
                     "RateLimitError\",function_name=\"/v1/chat/completions\"} 1");
    check_line(text, "litellm_router_latency_count{router=\"router\"} 2");
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counted_once_a_request_and_once_a_model),
        cmocka_unit_test(why_the_first_could_not),
        cmocka_unit_test(other_requests_are_none),
        cmocka_unit_test(the_table_has_a_ceiling),
        cmocka_unit_test(passed_on_past_the_ceiling),
        cmocka_unit_test(saved_and_loaded),
        cmocka_unit_test(a_state_file_cannot_fill_it),
        cmocka_unit_test(a_writer_and_a_scraper),
        cmocka_unit_test(outcomes_are_by_fault),
        cmocka_unit_test(slow_ones_and_engines),
        cmocka_unit_test(times_of_streams),
        cmocka_unit_test(services_of_litellm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
