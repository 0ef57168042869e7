/* metrics_fixture.h -- a small gateway's worth of configuration and records, and ways to look
 * into an exposition, for the tests of metrics. Every function is static: each test binary has
 * its own. */
#pragma once

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "observe/log_metrics.h"
#include "observe/log_writer.h"
#include "observe/metrics.h"

static double buckets[] = {.005, .01, .025, .05, .1,  .25, .5,  1,  2,
                           5,    10,  30,   60,  120, 300, 420, 600};
static struct deployment deployments[] = {
    {.id = 0,
     .model_name = {"gpt", 3},
     .model_id = {"id-1", 4},
     .upstream_model = {"gpt-4o", 6},
     .provider_name = {"openai", 6},
     .api_base = {"https://api.openai.com/v1", 25},
     .tpm = 1000,
     .rpm = -1},
    {.id = 1,
     .model_name = {"local", 5},
     .model_id = {"id-2", 4},
     .upstream_model = {"llama", 5},
     .provider_name = {"ollama", 6},
     .api_base = {"http://localhost:11434/v1", 25},
     .tpm = -1,
     .rpm = -1},
    {.id = 2,
     .model_name = {"groq/*", 6},
     .model_id = {"id-3", 4},
     .upstream_model = {"*", 1},
     .provider_name = {"groq", 4},
     .api_base = {"https://api.groq.com", 20},
     .tpm = 7,
     .rpm = 60},
    {.id = 3,
     .model_name = {"embed", 5},
     .model_id = {"id-4", 4},
     .upstream_model = {"e5", 2},
     .provider_name = {"openai", 6},
     .api_base = {"https://api.openai.com/v1", 25},
     .mode = {"embedding", 9},
     .tpm = -1,
     .rpm = -1},
};
static struct config config = {.deployments = deployments,
                               .deployment_count = COUNT(deployments),
                               .latency_buckets = buckets,
                               .latency_bucket_count = COUNT(buckets),
                               .series_budget = 1000,
                               .loaded_real_us = 1700000000250000};

/* A name of its own: record_init belongs to record.c's tests. */
static inline struct record record_of(const struct deployment *d)
{
    struct record r = {.status = STR("success"),
                       .http_status = 200,
                       .stream = 0,
                       .latency_us = 20000,
                       .ttft_us = -1,
                       .upstream_us = 19900,
                       .overhead_us = 100,
                       .queue_us = 30,
                       .prompt_tokens = 10,
                       .completion_tokens = 20,
                       .total_tokens = 30,
                       .cached_tokens = 4,
                       .reasoning_tokens = 5,
                       .tokens_source = STR("provider"),
                       .cost_usd = 0.000125,
                       .cache = STR("off"),
                       .route = STR("/v1/chat/completions"),
                       .output_us = -1,
                       .timestamp = 1700000001000000,
                       .deployed = d,
                       .model_known = true};
    r.model = d ? d->model_name : STR("gpt");
    r.error.provider_status = -1;
    return r;
}

static inline struct record failure_of(const struct deployment *d, enum error_code code,
                                       int http_status, int provider_status)
{
    struct record r = record_of(d);
    r.status = STR("failure");
    r.error_code = code;
    r.http_status = http_status;
    r.error.provider_status = provider_status;
    r.prompt_tokens = r.completion_tokens = r.total_tokens = r.cached_tokens = r.reasoning_tokens =
        -1;
    r.cost_usd = -1;
    return r;
}

/* What the gateway says besides, where a test wants it: one a deployment. */
static const struct metrics_deployment *exposed_deployments;

#define UNKNOWN METRICS_UNKNOWN
static const struct metrics_deployment some_deployments[COUNT(deployments)] = {
    {.state = 2,
     .remaining_requests = 480,
     .remaining_tokens = 149984,
     .in_flight = 3,
     .rest_us = 1500000,
     .ttft_us = 250000,
     .token_us = 12500,
     .probe_success = 0,
     .probe_age_us = 4000000,
     .rests = {{429, 4}, {0, 1}, {-1, 2}, {503, 0}},
     .rest_count = 4},
    {.remaining_requests = 0,
     .remaining_tokens = UNKNOWN,
     .ttft_us = UNKNOWN,
     .token_us = UNKNOWN,
     .probe_success = 1,
     .probe_age_us = 0},
    {.state = 1,
     .remaining_requests = UNKNOWN,
     .remaining_tokens = UNKNOWN,
     .ttft_us = UNKNOWN,
     .token_us = UNKNOWN,
     .probe_success = UNKNOWN,
     .probe_age_us = UNKNOWN},
    {.remaining_requests = UNKNOWN,
     .remaining_tokens = UNKNOWN,
     .ttft_us = UNKNOWN,
     .token_us = UNKNOWN,
     .probe_success = UNKNOWN,
     .probe_age_us = UNKNOWN},
};
static struct metrics_engine_model some_models[] = {
    {{"llama", 5}, 1000}, {{"other", 5}, 20}, {{"other", 5}, 3}};
static const struct metrics_engine some_engines[] = {
    {.engine = {"ollama", 6},
     .api_base = {"http://localhost:11434", 22},
     .up = 1,
     .loaded_models = 3,
     .running = UNKNOWN,
     .waiting = UNKNOWN,
     .kv_cache_millionths = UNKNOWN,
     .models = some_models,
     .model_count = COUNT(some_models)},
    {.engine = {"vllm", 4},
     .api_base = {"http://gpu:8000", 15},
     .up = 1,
     .loaded_models = UNKNOWN,
     .running = 7,
     .waiting = 2,
     .kv_cache_millionths = 341200},
    {.engine = {"vllm", 4},
     .api_base = {"http://gpu:8000", 15},
     .running = 99}, /* twice: not shown */
};

static inline const char *expose_with(const struct metrics *m, enum metrics_format format,
                                      struct log_stats *log)
{
    static struct buf out;
    static const struct export_stats exporter = {.lines = 9};
    static const struct metrics_key keys[] = {
        {.hash = {"ffff", 4},
         .alias = {"team-b", 6},
         .max_pico_usd = 2500000000000,
         .reset_microhours = UNKNOWN,
         .requests_allowed = 60,
         .requests_used = 7,
         .tokens_allowed = UNKNOWN,
         .parallel_allowed = 4,
         .parallel_used = 1},
        {.hash = {"0123", 4},
         .alias = {"team-a", 6},
         .max_pico_usd = 10000000000000,
         .left_pico_usd = 9999999999999,
         .reset_microhours = 1500000,
         .requests_allowed = UNKNOWN,
         .tokens_allowed = 1000,
         .tokens_used = 870,
         .parallel_allowed = UNKNOWN},
    };
    struct metrics_process p = {.about = METRICS_REQUESTS | METRICS_GATEWAY | METRICS_EXPORT |
                                         METRICS_PROCESS,
                                .exporter = &exporter,
                                .start_time_seconds = 1700000000.5,
                                .version = "1.2.3",
                                .git_commit = "abc",
                                .compiler = "gcc",
                                .log = log,
                                .config = &config,
                                .keys = keys,
                                .key_count = COUNT(keys),
                                .deployments = exposed_deployments,
                                .engines = some_engines,
                                .engine_count = exposed_deployments ? COUNT(some_engines) : 0,
                                .ready = true};
    buf_fini(&out);
    buf_init(&out, 0, NULL);
    metrics_write(m, &p, format, &out);
    assert_true(buf_append(&out, "", 1));
    return out.data + out.at;
}

static inline const char *expose(const struct metrics *m)
{
    return expose_with(m, METRICS_TEXT, NULL);
}

/* The exposition has exactly this line. */
static inline void check_line(const char *text, const char *line)
{
    size_t n = strlen(line);
    for (const char *at = text; (at = strstr(at, line)); at++)
        if ((at == text || at[-1] == '\n') && at[n] == '\n')
            return;
    size_t name = strcspn(line, "{ ");
    for (const char *at = text; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (strncmp(at, line, name) == 0)
            print_message("has:   %.*s\n", (int)strcspn(at, "\n"), at);
    fail_msg("no line: %s", line);
}

static inline void check_absent(const char *text, const char *part)
{
    const char *at = strstr(text, part);
    if (at)
        fail_msg("found what must not be there: %.*s", (int)strcspn(at, "\n"), at);
}

static inline void check_near(double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance))
        fail_msg("expected %.12g, got %.12g", expected, got);
}

/* Sum of all samples of a counter, for what must add up over labels. */
static inline double sum_of(const char *text, const char *name)
{
    double sum = 0;
    size_t n = strlen(name);
    for (const char *at = text; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        if (strncmp(at, name, n) != 0 || (at[n] != '{' && at[n] != ' '))
            continue;
        const char *end = strchr(at, '\n'), *value = end;
        while (value[-1] != ' ')
            value--;
        sum += strtod(value, NULL);
    }
    return sum;
}

/* The rows of metrics.def. */
enum row_type { ROW_COUNTER, ROW_GAUGE, ROW_HISTOGRAM, ROW_INFO };
static const struct {
    const char *name;
    enum row_type type;
    const char *unit, *help;
} rows[] = {
#define LABELS(set, list)
#define M(name, type, set, source, unit, help) {name, ROW_##type, unit, help},
#include "observe/metrics.def"
#undef LABELS
#undef M
};
