#include "metrics_fixture.h"

#include <pthread.h>

#include "observe/metrics_internal.h"

/* ---- recording ---- */

static void zeros_from_the_start(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(2, &config);
    const char *text = expose(m);
    check_line(text,
               "litellm_requests_total{model=\"gpt\",provider=\"openai\",status=\"success\"} 0");
    check_line(text,
               "litellm_requests_total{model=\"gpt\",provider=\"openai\",status=\"failure\"} 0");
    check_line(text,
               "litellm_tokens_total{model=\"local\",provider=\"ollama\",type=\"reasoning\"} 0");
    check_line(text, "litellm_cache_hits{model=\"gpt\"} 0");
    check_line(text,
               "litellm_latency_seconds_bucket{model=\"gpt\",provider=\"openai\",le=\"+Inf\"} 0");
    check_line(text,
               "litellm_latency_seconds_bucket{model=\"gpt\",provider=\"openai\",le=\"1.0\"} 0");
    check_line(text, "weir_overhead_seconds_bucket{le=\"0.00001\"} 0");
    check_line(text, "weir_errors_total{error=\"upstream_timeout\"} 0");
    check_line(text, "weir_tokens_estimated_total 0");
    check_line(text, "litellm_deployment_state{litellm_model_name=\"gpt-4o\",model_id=\"id-1\","
                     "api_base=\"https://api.openai.com/v1\",api_provider=\"openai\"} 0");
    check_line(text, "litellm_deployment_success_responses_total{requested_model=\"embed\",litellm_"
                     "model_name=\"e5\",model_id=\"id-4\","
                     "api_base=\"https://api.openai.com/"
                     "v1\",api_provider=\"openai\",hashed_api_key=\"None\",api_key_alias=\"None\","
                     "team=\"None\",team_alias=\"None\",client_ip=\"None\",user_agent=\"None\"} 0");
    check_absent(text, "litellm_llm_api_latency_metric");
    check_absent(text, "litellm_proxy_failed_requests_metric");
    metrics_free(m);
}

static void one_record_in_all_families(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(2, &config);
    struct record r = record_of(&deployments[0]);
    r.key_alias = STR("ann");
    r.key_hash = STR("cafe");
    metrics_record(m, 1, &r);
    const char *text = expose(m);
#define KEY    "end_user=\"None\",hashed_api_key=\"cafe\",api_key_alias=\"ann\","
#define NO_KEY "end_user=\"None\",hashed_api_key=\"None\",api_key_alias=\"None\","
#define TEAM   "team=\"None\",team_alias=\"None\",user=\"None\","
    check_line(text,
               "litellm_requests_total{model=\"gpt\",provider=\"openai\",status=\"success\"} 1");
    check_line(text, "litellm_tokens_total{model=\"gpt\",provider=\"openai\",type=\"prompt\"} 10");
    check_line(text,
               "litellm_tokens_total{model=\"gpt\",provider=\"openai\",type=\"completion\"} 20");
    check_line(text, "litellm_tokens_total{model=\"gpt\",provider=\"openai\",type=\"cached\"} 4");
    check_line(text,
               "litellm_tokens_total{model=\"gpt\",provider=\"openai\",type=\"reasoning\"} 5");
    check_line(text, "litellm_proxy_total_requests_metric_total{" KEY
                     "requested_model=\"gpt\"," TEAM "status_code=\"200\",user_email=\"None\","
                     "route=\"/v1/chat/"
                     "completions\",client_ip=\"None\",user_agent=\"None\",model_id=\"id-1\"} 1");
    check_line(text, "litellm_spend_metric_total{" KEY "model=\"gpt-4o\"," TEAM
                     "user_email=\"None\",client_ip=\"None\","
                     "user_agent=\"None\",model_id=\"id-1\"} 0.000125");
    check_line(text, "litellm_total_tokens_metric_total{" KEY "model=\"gpt-4o\"," TEAM
                     "user_email=\"None\",requested_model=\"gpt\","
                     "model_id=\"id-1\"} 30");
    check_line(text, "litellm_total_tokens_total{" KEY "model=\"gpt-4o\"," TEAM
                     "user_email=\"None\",requested_model=\"gpt\",model_id=\"id-1\"} 30");
    check_line(text, "litellm_request_total_latency_metric_sum{" NO_KEY
                     "requested_model=\"gpt\"," TEAM "model=\"gpt-4o\",model_id=\"id-1\"} 0.02");
    check_line(text, "litellm_llm_api_latency_metric_count{model=\"gpt-4o\",hashed_api_key="
                     "\"None\",api_key_alias=\"None\",team=\"None\","
                     "team_alias=\"None\",requested_model=\"gpt\",end_user=\"None\",user=\"None\","
                     "model_id=\"id-1\"} 1");
    check_line(text, "litellm_overhead_latency_metric_sum{model_group=\"gpt\",api_provider="
                     "\"openai\",api_base=\"https://api.openai.com/v1\","
                     "litellm_model_name=\"gpt-4o\",hashed_api_key=\"None\",api_key_alias=\"None\","
                     "model_id=\"id-1\"} 0.0001");
    check_line(text, "litellm_deployment_latency_per_output_token_sum{litellm_model_name=\"gpt-"
                     "4o\",model_id=\"id-1\","
                     "api_base=\"https://api.openai.com/"
                     "v1\",api_provider=\"openai\",hashed_api_key=\"None\",api_key_alias=\"None\","
                     "team=\"None\",team_alias=\"None\"} 0.000995");
    check_line(text, "weir_overhead_seconds_sum 0.0001");
    check_line(text, "weir_overhead_seconds_bucket{le=\"0.00005\"} 0");
    check_line(text, "weir_overhead_seconds_bucket{le=\"0.0001\"} 1");
    check_line(text, "weir_queue_seconds_count 1");
    check_absent(text, "litellm_llm_api_time_to_first_token_metric");
    struct metrics_totals totals;
    metrics_totals(m, &totals);
    assert_int_equal(totals.requests, 1);
    assert_int_equal(totals.successes, 1);
    assert_int_equal(totals.prompt_tokens, 10);
    assert_int_equal(totals.completion_tokens, 20);
    check_near(totals.cost_usd, 0.000125, 1e-12);
    metrics_free(m);
}

static void shards_add_up(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(3, &config);
    for (int i = 0; i < 30; i++) {
        struct record r = record_of(&deployments[i % 2]);
        metrics_record(m, i % 3, &r);
    }
    const char *text = expose(m);
    check_line(text,
               "litellm_requests_total{model=\"gpt\",provider=\"openai\",status=\"success\"} 15");
    check_line(text,
               "litellm_requests_total{model=\"local\",provider=\"ollama\",status=\"success\"} 15");
    check_line(text, "litellm_latency_seconds_sum{model=\"local\",provider=\"ollama\"} 0.3");
    metrics_worker(m, 0)->upstream_open = 5;
    metrics_worker(m, 2)->upstream_open = 2;
    metrics_worker(m, 2)->upstream_idle = 3;
    metrics_worker(m, 1)->requests_in_flight = 9;
    text = expose(m);
    check_line(text, "weir_upstream_connections{state=\"active\"} 4");
    check_line(text, "weir_upstream_connections{state=\"idle\"} 3");
    check_line(text, "litellm_in_flight_requests 9");
    metrics_free(m);
}

static void buckets_hold_their_bound(void **state)
{
    (void)state;
    static const int64_t latencies_us[] = {0, 5000, 5001, 600000000, 600000001};
    struct metrics *m = metrics_new(1, &config);
    for (size_t i = 0; i < COUNT(latencies_us); i++) {
        struct record r = record_of(&deployments[0]);
        r.latency_us = latencies_us[i];
        metrics_record(m, 0, &r);
    }
    const char *text = expose(m);
#define BUCKET(le)                                                                                 \
    "litellm_latency_seconds_bucket{model=\"gpt\",provider=\"openai\",le=\"" le "\"} "
    check_line(text, BUCKET("0.005") "2");
    check_line(text, BUCKET("0.01") "3");
    check_line(text, BUCKET("420.0") "3");
    check_line(text, BUCKET("600.0") "4");
    check_line(text, BUCKET("+Inf") "5");
    check_line(text, "litellm_latency_seconds_sum{model=\"gpt\",provider=\"openai\"} 1200.010002");
    check_line(text, "litellm_latency_seconds_count{model=\"gpt\",provider=\"openai\"} 5");
    metrics_free(m);
}

static void streams(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    struct record r = record_of(&deployments[1]);
    r.stream = 1;
    r.ttft_us = 7000;
    r.output_us = 1900000; /* 20 tokens: 19 steps of 0.1 s */
    metrics_record(m, 0, &r);
    const char *text = expose(m);
    check_near(sum_of(text, "litellm_llm_api_time_to_first_token_metric_sum"), 0.007, 1e-12);
    check_near(sum_of(text, "litellm_deployment_latency_per_output_token_sum"), 0.1, 1e-12);
    metrics_free(m);
}

static void exception_classes(void **state)
{
    (void)state;
    static const struct {
        enum error_code code;
        int http_status, provider_status;
        const char *labels;
    } cases[] = {
        {ERR_UPSTREAM_ERROR, 429, 429,
         "exception_status=\"429\",exception_class=\"Openai.RateLimitError\""},
        {ERR_UPSTREAM_ERROR, 401, 401,
         "exception_status=\"401\",exception_class=\"Openai.AuthenticationError\""},
        {ERR_UPSTREAM_ERROR, 502, 503,
         "exception_status=\"503\",exception_class=\"Openai.ServiceUnavailableError\""},
        {ERR_UPSTREAM_ERROR, 418, 418,
         "exception_status=\"418\",exception_class=\"Openai.APIError\""},
        {ERR_UPSTREAM_CONNECT, 502, -1,
         "exception_status=\"502\",exception_class=\"Openai.APIConnectionError\""},
        {ERR_UPSTREAM_TIMEOUT, 408, -1,
         "exception_status=\"408\",exception_class=\"Openai.Timeout\""},
    };
    struct metrics *m = metrics_new(1, &config);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct record r = failure_of(&deployments[0], cases[i].code, cases[i].http_status,
                                     cases[i].provider_status);
        metrics_record(m, 0, &r);
    }
    struct record none = failure_of(NULL, ERR_MODEL_UNKNOWN, 400, -1);
    metrics_record(m, 0, &none);
    const char *text = expose(m);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char line[512];
        snprintf(line, sizeof line,
                 "litellm_deployment_failure_responses_total{requested_model=\"gpt\",litellm_model_"
                 "name=\"gpt-4o\",model_id=\"id-1\","
                 "api_base=\"https://api.openai.com/"
                 "v1\",api_provider=\"openai\",%s,hashed_api_key=\"None\",api_key_alias=\"None\","
                 "team=\"None\",team_alias=\"None\",client_ip=\"None\",user_agent=\"None\"} 1",
                 cases[i].labels);
        check_line(text, line);
    }
    assert_non_null(strstr(text, "exception_status=\"400\",exception_class=\"ProxyException\","
                                 "route=\"/v1/chat/completions\""));
    check_line(text, "weir_errors_total{error=\"upstream_error\"} 4");
    check_line(text, "weir_errors_total{error=\"model_unknown\"} 1");
    check_near(sum_of(text, "litellm_proxy_failed_requests_metric_total"), 7, 0);
    check_near(sum_of(text, "litellm_deployment_failure_responses_total"), 6, 0);
    check_near(sum_of(text, "litellm_proxy_total_requests_metric_total"), 7, 0);
    metrics_free(m);
}

static void labels_are_never_raw(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    struct record unknown = failure_of(NULL, ERR_MODEL_UNKNOWN, 400, -1);
    unknown.model = STR("sent-by-a-stranger");
    unknown.model_known = false;
    unknown.key_hash = STR("0ff1ce");
    metrics_record(m, 0, &unknown);
    struct record wild = record_of(&deployments[2]);
    wild.model = STR("groq/sent-by-a-stranger");
    wild.upstream_model = STR("sent-by-a-stranger");
    wild.model_known = false;
    wild.user = wild.client = wild.user_agent = STR("stranger");
    metrics_record(m, 0, &wild);
    const char *text = expose(m);
    check_absent(text, "stranger");
    check_absent(text, "0ff1ce"); /* a key without a name is one that nobody checked */
    check_line(text,
               "litellm_requests_total{model=\"other\",provider=\"None\",status=\"failure\"} 1");
    check_line(text,
               "litellm_requests_total{model=\"groq/*\",provider=\"groq\",status=\"success\"} 1");
    metrics_free(m);
}

static void cancelled_is_neither(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    struct record r = record_of(&deployments[0]);
    r.status = STR("cancelled");
    r.http_status = 499;
    r.error_code = ERR_CLIENT_GONE;
    metrics_record(m, 0, &r);
    const char *text = expose(m);
    check_line(text,
               "litellm_requests_total{model=\"gpt\",provider=\"openai\",status=\"cancelled\"} 1");
    check_line(text,
               "litellm_requests_total{model=\"gpt\",provider=\"openai\",status=\"success\"} 0");
    check_line(text,
               "litellm_requests_total{model=\"gpt\",provider=\"openai\",status=\"failure\"} 0");
    check_line(text,
               "litellm_tokens_total{model=\"gpt\",provider=\"openai\",type=\"completion\"} 20");
    check_near(sum_of(text, "litellm_spend_metric_total"), 0.000125, 1e-12);
    check_near(sum_of(text, "litellm_deployment_total_requests_total"), 1, 0);
    check_near(sum_of(text, "litellm_deployment_success_responses_total"), 0, 0);
    check_absent(text, "litellm_deployment_failure_responses_total");
    metrics_free(m);
}

static void deployment_state_follows_the_newest(void **state)
{
    (void)state;
#define STATE_OF_GPT                                                                               \
    "litellm_deployment_state{litellm_model_name=\"gpt-4o\",model_id=\"id-1\",api_base=\"https://" \
    "api.openai.com/v1\",api_provider=\"openai\"} "
    struct metrics *m = metrics_new(2, &config);
    struct record bad = failure_of(&deployments[0], ERR_UPSTREAM_CONNECT, 502, -1),
                  good = record_of(&deployments[0]);
    bad.timestamp = good.timestamp + 1;
    metrics_record(m, 0, &good);
    metrics_record(m, 1, &bad);
    check_line(expose(m), STATE_OF_GPT "1");
    good.timestamp += 2;
    metrics_record(m, 0, &good);
    check_line(expose(m), STATE_OF_GPT "0");
    metrics_free(m);
}

/* ---- the budget ---- */

/* A metrics whose budget is `budget`: a fifth of it for models, half for named keys. */
static struct metrics *metrics_of(int64_t budget)
{
    struct config small = config;
    small.series_budget = budget;
    return metrics_new(1, &small);
}

static void record_key(struct metrics *m, struct record r, int key)
{
    char alias[16], hash[16];
    snprintf(alias, sizeof alias, "key-%d", key);
    snprintf(hash, sizeof hash, "hash-%d", key);
    r.key_alias = str_from(alias);
    r.key_hash = str_from(hash);
    metrics_record(m, 0, &r);
}

/* The key is the first to become "other": models stay, whatever keys there are, and nothing is lost. */
static void keys_fold_first(void **state)
{
    (void)state;
    struct metrics *m = metrics_of(50);
    for (int i = 0; i < 500; i++) {
        struct record r = i % 5 ? record_of(&deployments[i % 2])
                                : failure_of(&deployments[i % 2], ERR_UPSTREAM_ERROR, 429, 429);
        r.stream = (int8_t)(i % 3 == 0);
        record_key(m, r, i);
    }
    const char *text = expose(m);
    check_absent(text, "model=\"other\"");
    check_absent(text, "exception_status=\"other\"");
    check_line(text,
               "litellm_requests_total{model=\"gpt\",provider=\"openai\",status=\"success\"} 200");
    check_line(text,
               "litellm_requests_total{model=\"local\",provider=\"ollama\",status=\"failure\"} 50");
    check_line(text, "litellm_latency_seconds_count{model=\"gpt\",provider=\"openai\"} 250");
    check_near(sum_of(text, "litellm_proxy_total_requests_metric_total"), 500, 0);
    check_near(sum_of(text, "litellm_proxy_failed_requests_metric_total"), 100, 0);
    check_near(sum_of(text, "litellm_deployment_failure_responses_total"), 100, 0);
    check_near(sum_of(text, "litellm_spend_metric_total"), 400 * 0.000125, 1e-12);
    check_near(sum_of(text, "litellm_output_tokens_metric_total"), 400 * 20, 0);
    check_line(text, "litellm_spend_metric_total{end_user=\"None\",hashed_api_key=\"hash-1\","
                     "api_key_alias=\"key-1\",model=\"llama\",team=\"None\",team_alias=\"None\","
                     "user=\"None\",user_email=\"None\",client_ip=\"None\",user_agent=\"None\","
                     "model_id=\"id-2\"} 0.000125");
    check_absent(text, "key-30\""); /* twenty-five keys have accounts of their own */
    check_line(text, "weir_metrics_series_overflow_total 475");
    check_line(text, "weir_metrics_series_budget 50");
    metrics_free(m);
}

/* Many errors then lose what tells them apart, not their model; and take no key's room. */
static void errors_fold_before_models(void **state)
{
    (void)state;
    struct metrics *m = metrics_of(50);
    record_key(m, record_of(&deployments[0]), 1);
    for (int status = 400; status < 600; status++) {
        struct record r = failure_of(&deployments[0], ERR_UPSTREAM_ERROR, status, status);
        metrics_record(m, 0, &r);
    }
    record_key(m, record_of(&deployments[1]), 1);
    record_key(m, record_of(&deployments[0]), 1);
    const char *text = expose(m);
    check_absent(text, "model=\"other\"");
    check_line(text,
               "litellm_requests_total{model=\"gpt\",provider=\"openai\",status=\"failure\"} 200");
    check_near(sum_of(text, "litellm_proxy_failed_requests_metric_total"), 200, 0);
    check_line(
        text,
        "litellm_deployment_failure_responses_total{requested_model=\"gpt\",litellm_model_name="
        "\"gpt-4o\",model_id=\"id-1\",api_base=\"https://api.openai.com/v1\",api_provider="
        "\"openai\",exception_status=\"other\",exception_class=\"other\",hashed_api_key=\"None\","
        "api_key_alias=\"None\",team=\"None\",team_alias=\"None\",client_ip=\"None\","
        "user_agent=\"None\"} 165"); /* 40 accounts: four at the start, one key's */
    check_near(sum_of(text, "litellm_spend_metric_total"), 3 * 0.000125, 1e-12);
    check_line(text, "weir_metrics_series_overflow_total 166"); /* and key 1 at the second model */
    assert_true(sum_of(text, "weir_metrics_series") <= 50);
    metrics_free(m);
}

/* More models than there is room for: the last step. */
static void models_fold_last(void **state)
{
    (void)state;
    struct metrics *m = metrics_of(20); /* four models: three and "other" */
    for (int i = 0; i < 40; i++) {
        struct record r = record_of(&deployments[i % 4]);
        metrics_record(m, 0, &r);
    }
    const char *text = expose(m);
    for (int i = 0; i < 3; i++)
        assert_non_null(strstr(
            text, (const char *[]){"model=\"gpt\"", "model=\"local\"", "model=\"groq/*\""}[i]));
    check_line(text,
               "litellm_requests_total{model=\"other\",provider=\"other\",status=\"success\"} 10");
    check_line(text, "litellm_latency_seconds_count{model=\"other\",provider=\"other\"} 10");
    check_near(sum_of(text, "litellm_requests_total"), 40, 0);
    check_near(sum_of(text, "litellm_proxy_total_requests_metric_total"), 40, 0);
    check_line(text, "weir_metrics_series_overflow_total 10");
    assert_true(sum_of(text, "weir_metrics_series") <= 20);
    metrics_free(m);
}

static void the_smallest_budgets_hold(void **state)
{
    (void)state;
    for (int64_t budget = 1; budget < 20; budget++) {
        struct metrics *m = metrics_of(budget);
        for (int i = 0; i < 60; i++)
            record_key(m, record_of(&deployments[i % 4]), i % 9);
        const char *text = expose(m);
        check_near(sum_of(text, "litellm_requests_total"), 60, 0);
        check_near(sum_of(text, "litellm_proxy_total_requests_metric_total"), 60, 0);
        check_near(sum_of(text, "litellm_total_tokens_metric_total"), 1800, 0);
        assert_true(sum_of(text, "weir_metrics_series") <= (double)MAX(budget, 2));
        metrics_free(m);
    }
}

static void nonsense_from_providers_is_capped(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    struct record r = record_of(&deployments[0]);
    r.prompt_tokens = r.completion_tokens = r.total_tokens = INT64_MAX;
    r.cost_usd = 1e300;
    metrics_record(m, 0, &r);
    r.cost_usd = (double)NAN;
    r.total_tokens = -1;
    metrics_record(m, 0, &r);
    const char *text = expose(m);
    check_near(sum_of(text, "litellm_input_tokens_metric_total"), 2.0 * (double)(1ll << 40), 0);
    check_near(sum_of(text, "litellm_spend_metric_total"), 1e6, 0);
    metrics_free(m);
}

/* ---- threads ---- */

#define RECORDS_A_WRITER 20000

struct writer {
    struct metrics *m;
    int worker;
};

static void *write_records(void *arg)
{
    const struct writer *w = arg;
    static const struct str traces[] = {{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 32},
                                        {"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", 32}};
    for (int i = 0; i < RECORDS_A_WRITER; i++) {
        char alias[16];
        struct record r = record_of(&deployments[i % 2]);
        snprintf(alias, sizeof alias, "key-%d", i / 100);
        r.key_alias = str_from(alias); /* new cells all along */
        r.trace_id = traces[i % 2];
        r.latency_us = i % 2 ? 11000 : 12000; /* one bucket, so that a torn exemplar would show */
        r.timestamp = 1700000000000000 + r.latency_us;
        metrics_record(w->m, w->worker, &r);
        COUNTER_ADD(metrics_worker(w->m, w->worker)->http_requests_total, 1);
    }
    return NULL;
}

/* Exemplars of the two kinds of record, whole: trace, value and time belong together. */
static int check_exemplars(const char *text)
{
    const struct str a =
        STR("# {trace_id=\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"} 0.012 1700000000.012\n");
    const struct str b =
        STR("# {trace_id=\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"} 0.011 1700000000.011\n");
    int count = 0;
    for (const char *at = text; (at = strstr(at, "# {trace_id=\"")); at++, count++)
        if (strncmp(at, a.p, a.n) != 0 && strncmp(at, b.p, b.n) != 0)
            fail_msg("torn: %.80s", at);
    return count;
}

static void *write_one_bucket(void *arg)
{
    static const struct str traces[] = {{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 32},
                                        {"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", 32}};
    struct metrics *m = arg;
    struct record r = record_of(&deployments[0]);
    for (int i = 0; i < 10 * RECORDS_A_WRITER; i++) {
        r.trace_id = traces[i % 2];
        r.latency_us = r.timestamp = 11000 + i % 2;
        metrics_record(m, 0, &r);
    }
    return NULL;
}

/* Reads one exemplar as fast as it is written: trace, value and time of two requests never mix. */
static void exemplars_are_read_whole(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    struct record r = record_of(&deployments[0]);
    r.trace_id = STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    r.latency_us = r.timestamp = 11000;
    metrics_record(m, 0, &r);
    const struct exemplar *e = &pile_cell(&m->shards[0].cells, 0)->exemplars[2];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_one_bucket, m), 0);
    int torn = 0, changes = 0;
    int64_t before_us = 0;
    for (uint32_t last = 2 + 2 * 10 * RECORDS_A_WRITER, seen = 0; seen != last;) {
        struct exemplar got;
        assert_true(exemplar_read(e, &got));
        seen = got.version;
        const char *id = (const char *)got.trace_id;
        char expected = got.real_us == 11000 ? 'a' : 'b';
        torn += got.value_ns != (uint64_t)got.real_us * 1000;
        for (int i = 0; i < 32; i++)
            torn += id[i] != expected;
        changes += got.real_us != before_us;
        before_us = got.real_us;
    }
    pthread_join(thread, NULL);
    assert_int_equal(torn, 0);
    assert_true(changes > 0);
    metrics_free(m);
}

static void writers_and_a_scraper(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(2, &config);
    struct writer writers[2] = {{m, 0}, {m, 1}};
    pthread_t threads[2];
    double before = 0;
    int exemplars = 0;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_records, &writers[i]), 0);
    for (int i = 0; i < 20; i++) {
        const char *text = expose_with(m, METRICS_OPENMETRICS, NULL);
        double now = sum_of(text, "litellm_requests_total");
        assert_true(now >= before);
        before = now;
        exemplars += check_exemplars(text);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    const char *text = expose_with(m, METRICS_OPENMETRICS, NULL);
    assert_true(check_exemplars(text) + exemplars > 0);
    check_near(sum_of(text, "litellm_requests_total"), 2 * RECORDS_A_WRITER, 0);
    check_near(sum_of(text, "litellm_latency_seconds_count"), 2 * RECORDS_A_WRITER, 0);
    check_near(sum_of(text, "litellm_input_tokens_metric_total"), 20 * RECORDS_A_WRITER, 0);
    check_near(sum_of(text, "litellm_spend_metric_total"), 0.000125 * 2 * RECORDS_A_WRITER, 1e-9);
    check_near(sum_of(text, "weir_http_requests_total"), 2 * RECORDS_A_WRITER, 0);
    struct metrics_totals totals;
    metrics_totals(m, &totals);
    assert_int_equal(totals.requests, 2 * RECORDS_A_WRITER);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeros_from_the_start),
        cmocka_unit_test(one_record_in_all_families),
        cmocka_unit_test(shards_add_up),
        cmocka_unit_test(buckets_hold_their_bound),
        cmocka_unit_test(streams),
        cmocka_unit_test(exception_classes),
        cmocka_unit_test(labels_are_never_raw),
        cmocka_unit_test(cancelled_is_neither),
        cmocka_unit_test(deployment_state_follows_the_newest),
        cmocka_unit_test(keys_fold_first),
        cmocka_unit_test(errors_fold_before_models),
        cmocka_unit_test(models_fold_last),
        cmocka_unit_test(the_smallest_budgets_hold),
        cmocka_unit_test(nonsense_from_providers_is_capped),
        cmocka_unit_test(exemplars_are_read_whole),
        cmocka_unit_test(writers_and_a_scraper),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
