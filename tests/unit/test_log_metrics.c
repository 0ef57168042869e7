/* test_log_metrics.c -- lines of a log as metrics, and cells saved and loaded. What the numbers are on whole logs is held against
 * the slow reference by tests/e2e/test_export.py. */
#include "metrics_fixture.h"

#include "observe/logline.h"
#include "observe/metrics_internal.h"

static struct log_metrics lm;

static void begin(bool named)
{
    log_metrics_init(&lm, &config, named);
}

/* Reads one line, which must be good. */
static void take(const char *text)
{
    static struct logline l;
    static char bytes[8192];
    enum line_status status;
    size_t n = strlen(text);
    assert_true(n + 1 + LOGLINE_SLACK < sizeof bytes);
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, text, n);
    bytes[n] = '\n';
    logline_init(&l);
    logline_read(&l, bytes, bytes + n + 1, &status);
    assert_int_equal(status, LINE_READ);
    log_metrics_take(&lm, &l, (struct str){bytes, n});
}

static const char *shown(void)
{
    return expose(lm.metrics);
}

/* Without what changes by itself, as the process's CPU time does. */
static const char *requests_shown(void)
{
    static struct buf out;
    const struct metrics_process p = {.about = METRICS_REQUESTS};
    buf_fini(&out);
    buf_init(&out, 0, NULL);
    metrics_write(lm.metrics, &p, METRICS_TEXT, &out);
    assert_true(buf_append(&out, "", 1));
    return out.data + out.at;
}

#define REQUEST                                                                                    \
    "{\"timestamp\":\"2026-11-24T01:49:00.000Z\",\"event\":\"request\",\"model\":\"gpt\","         \
    "\"provider\":\"openai\",\"deployment\":\"id-9\",\"upstream_model\":\"gpt-4o\","
#define END "\"api_base\":\"http://a\"}"

static void labels_are_the_names_in_the_line(void **state)
{
    (void)state;
    begin(false);
    take(REQUEST "\"call_type\":\"embeddings\",\"status\":\"success\",\"http_status\":200,"
                 "\"key_alias\":\"team\",\"key_hash\":\"abc\"," END);
    check_line(shown(),
               "litellm_proxy_total_requests_metric_total{end_user=\"None\",hashed_api_key=\"abc\","
               "api_key_alias=\"team\",requested_model=\"gpt\",team=\"None\",team_alias=\"None\","
               "user=\"None\",status_code=\"200\",user_email=\"None\",route=\"/v1/embeddings\","
               "client_ip=\"None\",user_agent=\"None\",model_id=\"id-9\"} 1");
    log_metrics_fini(&lm);
}

static void a_key_nobody_named_is_none(void **state)
{
    (void)state;
    begin(false);
    take(REQUEST "\"status\":\"success\",\"key_hash\":\"e3b0c442\"," END);
    assert_null(strstr(shown(), "e3b0c442"));
    log_metrics_fini(&lm);
}

static void what_the_configuration_knows_is_shown_its_way(void **state)
{
    (void)state;
    config.model_names = NULL;
    begin(true);
    take("{\"model\":\"x\",\"provider\":\"p\",\"deployment\":\"id-3\",\"upstream_model\":\"llama-"
         "9\","
         "\"api_base\":\"https://old\",\"status\":\"success\"}");
    check_line(shown(),
               "litellm_deployment_state{litellm_model_name=\"*\",model_id=\"id-3\",api_base="
               "\"https://api.groq.com\",api_provider=\"groq\"} 0");
    log_metrics_fini(&lm);
}

static void outcomes(void **state)
{
    (void)state;
    static const struct {
        const char *says, *counts;
    } cases[] = {
        {"\"status\":\"success\",", "success"},     {"\"status\":\"failure\",", "failure"},
        {"\"status\":\"cancelled\",", "cancelled"}, {"\"http_status\":200,", "success"},
        {"\"http_status\":499,", "cancelled"},      {"\"http_status\":503,", "failure"},
        {"\"error\":{\"type\":\"x\"},", "failure"}, {"\"latency_ms\":1,", "unknown"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char line[512], wanted[128];
        begin(false);
        snprintf(line, sizeof line, "%s%s%s", REQUEST, cases[i].says, END);
        take(line);
        snprintf(wanted, sizeof wanted,
                 "litellm_requests_total{model=\"gpt\",provider=\"openai\",status=\"%s\"} 1",
                 cases[i].counts);
        check_line(shown(), wanted);
        log_metrics_fini(&lm);
    }
}

static void failures_have_their_class(void **state)
{
    (void)state;
    static const struct {
        const char *says, *class;
    } cases[] = {
        {"\"error\":{\"type\":\"RateLimitError\"}", "Openai.RateLimitError"},
        {"\"error\":{\"type\":\"ContextWindowExceededError\",\"provider_status\":400}",
         "Openai.ContextWindowExceededError"},
        {"\"error\":{\"type\":\"upstream_timeout\"}", "Openai.Timeout"},
        {"\"error\":{\"type\":\"upstream_error\",\"provider_status\":429}",
         "Openai.RateLimitError"},
        {"\"error\":{\"type\":\"a stranger's\",\"provider_status\":503}",
         "Openai.ServiceUnavailableError"},
        {"\"error\":{\"type\":\"a stranger's\"}", "Openai.APIError"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char line[512], wanted[128];
        begin(false);
        snprintf(line, sizeof line, "%s\"status\":\"failure\",%s,%s", REQUEST, cases[i].says, END);
        take(line);
        snprintf(wanted, sizeof wanted, "exception_class=\"%s\"", cases[i].class);
        assert_non_null(strstr(shown(), wanted));
        log_metrics_fini(&lm);
    }
}

static void weirs_errors_are_counted_by_name(void **state)
{
    (void)state;
    begin(false);
    take(REQUEST "\"status\":\"failure\",\"error\":{\"type\":\"upstream_timeout\"}," END);
    take(REQUEST "\"status\":\"failure\",\"error\":{\"type\":\"RateLimitError\"}," END);
    check_line(shown(), "weir_errors_total{error=\"upstream_timeout\"} 1");
    check_line(shown(), "weir_errors_total{error=\"upstream_error\"} 0");
    log_metrics_fini(&lm);
}

static void what_else_a_line_knows(void **state)
{
    (void)state;
    begin(true);
    take("{\"event\":\"request\",\"model\":\"gpt\",\"provider\":\"ollama\",\"deployment\":\"id-2\","
         "\"status\":\"success\",\"slow\":true,\"fallback_from\":\"gpt\",\"engine\":{\"load_ms\":"
         "1500,"
         "\"decode_ms\":20.5},\"api_base\":\"http://a\"}");
    take("{\"event\":\"attempt\",\"model\":\"gpt\",\"provider\":\"openai\",\"deployment\":\"id-1\","
         "\"status\":\"failure\",\"error\":{\"type\":\"upstream_error\",\"provider_status\":503}}");
    const char *text = shown();
    check_line(text, "weir_slow_requests_total{model=\"gpt\",provider=\"ollama\"} 1");
    check_line(text, "weir_engine_phase_seconds_total{model=\"gpt\",provider=\"ollama\",phase="
                     "\"load\"} 1.5");
    check_line(text, "weir_engine_phase_seconds_total{model=\"gpt\",provider=\"ollama\",phase="
                     "\"decode\"} 0.0205");
    check_line(text, "weir_fallbacks_total{model=\"gpt\",fallback_model=\"local\",status="
                     "\"success\"} 1");
    check_line(text, "weir_retries_total{model=\"gpt\",provider=\"openai\"} 1");
    check_line(text, "weir_request_outcomes_total{model=\"gpt\",provider=\"ollama\",outcome="
                     "\"success\"} 1");
    check_near(sum_of(text, "weir_request_outcomes_total"), 1, 0);
    log_metrics_fini(&lm);
    begin(false); /* no configuration says which model the deployment is of */
    take(REQUEST "\"status\":\"failure\",\"fallback_from\":\"gpt\"," END);
    take(REQUEST "\"latency_ms\":3," END);
    check_line(shown(), "weir_fallbacks_total{model=\"gpt\",fallback_model=\"gpt-4o\",status="
                        "\"failure\"} 1");
    check_line(shown(), "weir_request_outcomes_total{model=\"gpt\",provider=\"openai\",outcome="
                        "\"unknown\"} 1");
    log_metrics_fini(&lm);
}

static void litellms_payload(void **state)
{
    (void)state;
    begin(false);
    take("{\"id\":\"x\",\"call_type\":\"acompletion\",\"stream\":true,\"status\":\"success\","
         "\"custom_llm_provider\":\"openai\",\"model\":\"gpt-4o\",\"model_group\":\"gpt\",\"model_"
         "id\":"
         "\"id-1\",\"api_base\":\"http://a\",\"startTime\":100.0,\"endTime\":102.0,"
         "\"completionStartTime\":100.5,\"prompt_tokens\":7,\"completion_tokens\":4,"
         "\"total_tokens\":11,\"response_cost\":0.25,\"upstream_ms\":1500,\"cache_hit\":false,"
         "\"hidden_params\":{\"litellm_overhead_time_ms\":500}}");
    const char *text = shown();
#define API                                                                                        \
    "{model=\"gpt-4o\",hashed_api_key=\"None\",api_key_alias=\"None\",team=\"None\",team_alias="   \
    "\"None\",requested_model=\"gpt\",end_user=\"None\",user=\"None\",model_id=\"id-1\"}"
    check_line(text, "litellm_llm_api_latency_metric_sum" API " 1.5");
    check_line(text, "litellm_llm_api_time_to_first_token_metric_sum" API " 0.5");
    check_line(text, "litellm_latency_seconds_sum{model=\"gpt\",provider=\"openai\"} 2");
    check_line(text,
               "litellm_deployment_latency_per_output_token_sum{litellm_model_name=\"gpt-4o\","
               "model_id=\"id-1\",api_base=\"http://a\",api_provider=\"openai\","
               "hashed_api_key=\"None\",api_key_alias=\"None\",team=\"None\",team_alias="
               "\"None\"} 0.5");
    assert_non_null(
        strstr(text, "status_code=\"200\",user_email=\"None\",route=\"/v1/chat/completions\""));
    log_metrics_fini(&lm);
}

static void only_requests_count(void **state)
{
    (void)state;
    struct metrics_totals t;
    begin(false);
    take("{\"timestamp\":\"2026-11-24T01:49:00.000Z\",\"event\":\"attempt\",\"model\":\"gpt\"}");
    take("{\"timestamp\":\"2026-11-24T01:49:00.000Z\",\"event\":\"gap\",\"dropped\":17}");
    take("{\"timestamp\":\"2026-11-24T01:49:00.000Z\",\"event\":\"start\"}");
    take("{\"a\":1}");
    take("{\"message\":\"hello\",\"level\":\"INFO\",\"timestamp\":\"2026-11-24T01:49:00.000000\"}");
    log_metrics_broken(&lm, STR("nonsense"));
    metrics_totals(lm.metrics, &t);
    assert_int_equal(t.requests, 0);
    assert_int_equal(lm.stats.lines, 6);
    assert_int_equal(lm.stats.broken, 1);
    assert_int_equal(lm.stats.dropped, 17);
    log_metrics_fini(&lm);
}

static void older_requests_are_left_out(void **state)
{
    (void)state;
    begin(false);
    lm.since_us = INT64_C(1795484940000000) + 1; /* REQUEST's stamp is the moment before */
    take(REQUEST "\"status\":\"success\"," END);
    assert_int_equal(lm.stats.older, 1);
    lm.since_us--;
    take(REQUEST "\"status\":\"success\"," END);
    assert_int_equal(lm.stats.older, 1);
    assert_int_equal(lm.stats.requests, 1);
    assert_int_equal(lm.newest_us, INT64_C(1795484940000000));
    log_metrics_fini(&lm);
}

/* ---- saved and loaded ---- */

static void fill(void)
{
    begin(false);
    take(REQUEST
         "\"status\":\"success\",\"latency_ms\":12.345,\"upstream_ms\":12,\"overhead_ms\":0.3,"
         "\"prompt_tokens\":5,\"completion_tokens\":6,\"cost_usd\":0.5," END);
    take(REQUEST
         "\"status\":\"failure\",\"http_status\":429,\"error\":{\"type\":\"RateLimitError\","
         "\"provider_status\":429}," END);
    take(REQUEST "\"status\":\"failure\",\"error\":{\"type\":\"upstream_timeout\"}," END);
    take(REQUEST "\"status\":\"success\",\"slow\":true,\"fallback_from\":\"a\"," END);
    take("{\"model\":\"\\u00e9\",\"provider\":\"other\",\"latency_ms\":1}");
}

static void loaded_is_what_was_saved(void **state)
{
    (void)state;
    struct buf bytes;
    struct err e = {0};
    buf_init(&bytes, 0, NULL);
    fill();
    char *before = mem_strdup(str_from(requests_shown()));
    metrics_save(lm.metrics, &bytes);
    log_metrics_fini(&lm);
    begin(false);
    assert_true(metrics_load(lm.metrics, buf_str(&bytes), &e));
    assert_string_equal(requests_shown(), before);
    /* Counting goes on in the same cells. */
    take(REQUEST "\"status\":\"success\"," END);
    check_line(shown(),
               "litellm_requests_total{model=\"gpt\",provider=\"openai\",status=\"success\"} 3");
    log_metrics_fini(&lm);
    mem_free(before);
    buf_fini(&bytes);
}

/* Nothing is lost when fewer cells may be made than before. */
static void a_smaller_budget_makes_other(void **state)
{
    (void)state;
    struct buf bytes;
    struct err e = {0};
    struct metrics_totals t;
    int64_t budget = config.series_budget;
    buf_init(&bytes, 0, NULL);
    fill();
    for (int i = 0; i < 100; i++) {
        char line[256];
        snprintf(line, sizeof line, "{\"model\":\"m%d\",\"provider\":\"p\",\"status\":\"success\"}",
                 i);
        take(line);
    }
    metrics_save(lm.metrics, &bytes);
    log_metrics_fini(&lm);
    config.series_budget = 20;
    begin(false);
    assert_true(metrics_load(lm.metrics, buf_str(&bytes), &e));
    metrics_totals(lm.metrics, &t);
    assert_int_equal(t.requests, 105);
    assert_non_null(strstr(shown(), "model=\"other\""));
    log_metrics_fini(&lm);
    config.series_budget = budget;
    buf_fini(&bytes);
}

static void other_buckets_are_refused(void **state)
{
    (void)state;
    struct buf bytes;
    struct err e = {0};
    struct config other = config;
    other.latency_bucket_count--;
    buf_init(&bytes, 0, NULL);
    fill();
    metrics_save(lm.metrics, &bytes);
    log_metrics_fini(&lm);
    struct metrics *m = metrics_new(1, &other);
    assert_false(metrics_load(m, buf_str(&bytes), &e));
    assert_non_null(strstr(e.text, "buckets"));
    metrics_free(m);
    buf_fini(&bytes);
}

/* The checksum is the file's: this must hold for any bytes. */
static void damaged_bytes_do_no_harm(void **state)
{
    (void)state;
    struct buf bytes;
    buf_init(&bytes, 0, NULL);
    fill();
    metrics_save(lm.metrics, &bytes);
    log_metrics_fini(&lm);
    struct str all = buf_str(&bytes);
    for (size_t n = 0; n < all.n; n++) {
        struct err e = {0};
        char *cut = mem_strdup((struct str){all.p, n}); /* of its own size, for AddressSanitizer */
        struct metrics *m = metrics_new(1, &config);
        assert_false(metrics_load(m, (struct str){cut, n}, &e));
        assert_true(e.text[0]);
        metrics_free(m);
        mem_free(cut);
    }
    for (size_t i = 0; i < all.n; i++) {
        struct err e = {0};
        char *flipped = mem_strdup(all);
        flipped[i] = (char)(flipped[i] ^ (1 << i % 8));
        struct metrics *m = metrics_new(1, &config);
        if (metrics_load(m, (struct str){flipped, all.n}, &e))
            assert_true(strlen(expose(m)) > 0);
        metrics_free(m);
        mem_free(flipped);
    }
    buf_fini(&bytes);
}

/* A state file may ask for every set of traits and kind of outcome, on every road: all must have room. */
static void every_class_has_room(void **state)
{
    (void)state;
    static const uint8_t outcomes[] = {TRAIT_SUCCESS, TRAIT_FAILURE, TRAIT_CANCELLED,
                                       TRAIT_EXPECTED, TRAIT_UNKNOWN};
    static const uint8_t more[] = {TRAIT_DEPLOYED, TRAIT_STREAM, TRAIT_ATTEMPT};
    struct config small = config;
    small.series_budget = 16; /* 3 roads: two, and "other" */
    small.deployment_count = 0;
    struct metrics *m = metrics_new(1, &small);
    for (int road = 0; road < 10; road++)
        for (unsigned i = 0; i < COUNT(outcomes) * 8 * OUTCOME_COUNT; i++) {
            char model[16];
            bool folded = false;
            struct key k = {.outcome = {.kind = (uint8_t)(i % OUTCOME_COUNT),
                                        .traits = outcomes[i / OUTCOME_COUNT % COUNT(outcomes)]}};
            for (unsigned bit = 0; bit < COUNT(more); bit++)
                if (i / (OUTCOME_COUNT * COUNT(outcomes)) >> bit & 1)
                    k.outcome.traits |= more[bit];
            snprintf(model, sizeof model, "m%d", road);
            for (int v = 0; v < VALUE_KEYED; v++)
                k.values[v] = str_from(model);
            COUNTER_ADD(metrics_cell(m, &m->shards[0], &k, &folded)->numbers[NUMBER_REQUESTS], 1);
        }
    assert_int_equal(pile_count(&m->shards[0].cells), 3 * COUNT(outcomes) * 8 * OUTCOME_COUNT);
    assert_true(strlen(expose(m)) > 0);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_the_names_in_the_line),
        cmocka_unit_test(a_key_nobody_named_is_none),
        cmocka_unit_test(what_the_configuration_knows_is_shown_its_way),
        cmocka_unit_test(outcomes),
        cmocka_unit_test(failures_have_their_class),
        cmocka_unit_test(weirs_errors_are_counted_by_name),
        cmocka_unit_test(what_else_a_line_knows),
        cmocka_unit_test(litellms_payload),
        cmocka_unit_test(only_requests_count),
        cmocka_unit_test(older_requests_are_left_out),
        cmocka_unit_test(loaded_is_what_was_saved),
        cmocka_unit_test(a_smaller_budget_makes_other),
        cmocka_unit_test(other_buckets_are_refused),
        cmocka_unit_test(damaged_bytes_do_no_harm),
        cmocka_unit_test(every_class_has_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
