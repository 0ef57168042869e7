/* test_config.c -- from text to snapshot: messages (tests/vectors/config), defaults, precedence, environment, groups, targets. */
#include "config_fixture.h"

#include <glob.h>

#include "base/buf.h"
#include "config/file.h"

static const char *const variables[] = {
    "OPENAI_API_KEY",       "GROQ_API_KEY",    "OPENAI_API_BASE",    "OLLAMA_API_BASE",
    "HOSTED_VLLM_API_BASE", "LITELLM_LICENSE", "LITELLM_MASTER_KEY", "WEIR_TEST_UNSET"};

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(variables); i++)
        unsetenv(variables[i]);
    return 0;
}

static void assert_str(struct str got, const char *expected)
{
    if (!str_eq(got, str_from(expected)))
        print_error("got \"%.*s\", expected \"%s\"\n", STR_ARG(got), expected);
    assert_true(str_eq(got, str_from(expected)));
}

/* ---- messages ---- */

static void check_vector(const char *path)
{
    struct arena a;
    struct buf got;
    struct config_note *notes;
    struct err e = {0};
    struct str expected;
    int count;
    arena_init(&a, NULL, 0);
    buf_init(&got, 0, NULL);
    setup(NULL);
    struct config_options o = {.path = path};
    config_check(&o, &a, &notes, &count);
    for (int i = 0; i < count; i++)
        assert_true(buf_printf(&got, "%s:%d:%d: %s: %.*s\n", notes[i].file, notes[i].line,
                               notes[i].column, notes[i].is_error ? "error" : "warning",
                               STR_ARG(notes[i].text)));
    struct str file = arena_printf(&a, "%.*s.expected", (int)(strlen(path) - 5), path);
    assert_true(file_read(&a, file.p, 1 << 20, &expected, &e));
    if (!str_eq(buf_str(&got), expected))
        print_error("%s: got\n%.*s\nexpected\n%.*s\n", path, STR_ARG(buf_str(&got)),
                    STR_ARG(expected));
    assert_true(str_eq(buf_str(&got), expected));
    buf_fini(&got);
    arena_fini(&a);
}

static void messages_are_as_in_the_vectors(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob("tests/vectors/config/*.yaml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 20);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_vector(found.gl_pathv[i]);
    globfree(&found);
}

static void first_error_is_what_loading_says(void **state)
{
    (void)state;
    struct err e = {0};
    struct config_options o = {
        .text = STR("wier_settings: {}\nweir_settings: {port: x, workers: y}\n")};
    assert_null(config_load(&o, &e));
    assert_int_equal(e.line, 2);
    assert_non_null(strstr(e.text, "weir_settings.port"));
    e = (struct err){0};
    o.text = STR("wier_settings: {}\n");
    o.strict = true;
    assert_null(config_load(&o, &e));
    assert_int_equal(e.line, 1);
}

/* ---- values ---- */

static void has_defaults(void **state)
{
    (void)state;
    struct err e = {0};
    struct config *c = config_load(&(struct config_options){0}, &e);
    assert_non_null(c);
    assert_int_equal(c->note_count, 0);
    assert_int_equal(c->deployment_count, 0);
    assert_str(c->host, "0.0.0.0");
    assert_int_equal(c->port, 4000);
    assert_int_equal(c->max_request_body_bytes, 64 << 20);
    assert_int_equal(c->max_header_bytes, 65536);
    assert_int_equal(c->log_ring_bytes, 4194304);
    assert_int_equal(c->connect_timeout_ms, 5000);
    assert_int_equal(c->series_budget, 6000);
    assert_str(c->cors_origin, "*");
    assert_str(c->log_file, "/var/log/litellm/requests.log");
    assert_str(c->log_level, "INFO");
    assert_int_equal(c->log_level_rank, 1);
    assert_int_equal(c->log_format, LOG_FORMAT_JSON);
    assert_false(c->log_requests);
    assert_true(c->log_slow_requests);
    assert_int_equal(c->slow_request_threshold_ms, 5000);
    assert_true(c->tracing_enabled && c->generate_request_id && c->include_request_id_in_response);
    assert_float_equal(c->sampling_rate, 1.0, 0);
    assert_str(c->master_key, "");
    assert_null(config_group(c, STR("x"), NULL));
    config_put(c);
}

static void null_log_file_means_none(void **state)
{
    (void)state;
    struct config *c = open_config("litellm_settings: {logging: {log_file: null, level: warning, "
                                   "slow_request_threshold: 1.5}}");
    assert_str(c->log_file, "");
    assert_str(c->log_level, "WARNING");
    assert_int_equal(c->slow_request_threshold_ms, 1500);
    config_put(c);
}

static void timeouts_have_their_precedence(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        int64_t timeout_ms, stream_timeout_ms;
    } rows[] = {
        {"", 600000, 0},
        {"litellm_settings: {request_timeout: 30}\n", 30000, 0},
        {"litellm_settings: {request_timeout: 30}\nrouter_settings: {timeout: 20, stream_timeout: "
         "5}\n",
         20000, 5000},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char yaml[512];
        snprintf(yaml, sizeof yaml,
                 "model_list:\n- {model_name: a, litellm_params: {model: openai/a, api_key: k}}\n"
                 "- {model_name: b, litellm_params: {model: openai/a, api_key: k, timeout: 0.5, "
                 "stream_timeout: 2}}\n%s",
                 rows[i].yaml);
        struct config *c = open_config(yaml);
        assert_int_equal(c->deployments[0].timeout_ms, rows[i].timeout_ms);
        assert_int_equal(c->deployments[0].stream_timeout_ms, rows[i].stream_timeout_ms);
        assert_int_equal(c->deployments[1].timeout_ms, 500);
        assert_int_equal(c->deployments[1].stream_timeout_ms, 2000);
        config_put(c);
    }
}

/* ---- environment ---- */

static void environment_is_written_before_it_is_read(void **state)
{
    (void)state;
    struct config *c =
        open_config("environment_variables: {WEIR_TEST_KEY: sk-from-file, WEIR_TEST_COPY: "
                    "os.environ/WEIR_TEST_KEY}\n"
                    "general_settings: {master_key: os.environ/WEIR_TEST_COPY}\n");
    assert_str(c->master_key, "sk-from-file");
    assert_string_equal(getenv("WEIR_TEST_KEY"), "sk-from-file");
    config_put(c);
    unsetenv("WEIR_TEST_KEY");
    unsetenv("WEIR_TEST_COPY");
}

static void master_key_comes_from_the_environment_too(void **state)
{
    (void)state;
    setenv("LITELLM_MASTER_KEY", "sk-env", 1);
    struct config *c = open_config("");
    assert_str(c->master_key, "sk-env");
    config_put(c);
    c = open_config("general_settings: {master_key: sk-file}");
    assert_str(c->master_key, "sk-file");
    config_put(c);
    unsetenv("LITELLM_MASTER_KEY");
}

static void keys_stay_with_their_provider(void **state)
{
    (void)state;
    setenv("OPENAI_API_KEY", "sk-openai", 1);
    struct config *c =
        open_config("model_list:\n"
                    "- {model_name: own, litellm_params: {model: openai/gpt-4o}}\n"
                    "- {model_name: other, litellm_params: {model: openai/x, api_base: "
                    "http://localhost:8000/v1}}\n"
                    "- {model_name: said, litellm_params: {model: openai/x, api_base: "
                    "http://localhost:8000/v1, api_key: k}}\n");
    assert_str(c->deployments[0].authorization, "Bearer sk-openai");
    assert_str(c->deployments[1].authorization, "");
    assert_str(c->deployments[2].authorization, "Bearer k");
    assert_int_equal(c->note_count, 1);
    assert_int_equal(c->notes[0].line, 3);
    config_put(c);
    unsetenv("OPENAI_API_KEY");
}

/* ---- models ---- */

static void providers_are_resolved(void **state)
{
    (void)state;
    static const struct {
        const char *params, *provider, *upstream_model, *api_base;
    } rows[] = {
        {"model: openai/gpt-4o, api_key: k", "openai", "gpt-4o", "https://api.openai.com/v1"},
        {"model: gpt-4o, api_key: k", "openai", "gpt-4o", "https://api.openai.com/v1"},
        {"model: o3-mini, api_key: k", "openai", "o3-mini", "https://api.openai.com/v1"},
        {"model: \"ollama/llama3.1:8b\"", "ollama", "llama3.1:8b", "http://localhost:11434/v1"},
        {"model: ollama_chat/q, api_base: \"http://gpu:11434/\"", "ollama_chat", "q",
         "http://gpu:11434/v1"},
        {"model: ollama_chat/q, api_base: \"http://gpu:11434/v1\"", "ollama_chat", "q",
         "http://gpu:11434/v1"},
        {"model: hosted_vllm/Qwen/Qwen2.5, api_base: \"http://h:8001/v1\"", "hosted_vllm",
         "Qwen/Qwen2.5", "http://h:8001/v1"},
        {"model: my-own/thing, api_base: \"http://h/v1\", api_key: k", "openai", "my-own/thing",
         "http://h/v1"},
        {"model: thing, custom_llm_provider: groq, api_key: k", "groq", "thing",
         "https://api.groq.com/openai/v1"},
        {"model: groq/thing, custom_llm_provider: groq, api_key: k", "groq", "thing",
         "https://api.groq.com/openai/v1"},
        {"model: openrouter/openai/gpt-4o, api_key: k", "openrouter", "openai/gpt-4o",
         "https://openrouter.ai/api/v1"},
        {"model: openai/a, api_base: \"unix:/run/a.sock:/v1\", api_key: k", "openai", "a",
         "unix:/run/a.sock:/v1"},
        {"model: sim/sim-fast", "sim", "sim-fast", "unix:@sim"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char yaml[512];
        snprintf(yaml, sizeof yaml, "model_list: [{model_name: m, litellm_params: {%s}}]",
                 rows[i].params);
        struct config *c = open_config(yaml);
        assert_int_equal(c->deployment_count, 1);
        assert_str(c->deployments[0].provider_name, rows[i].provider);
        assert_str(c->deployments[0].upstream_model, rows[i].upstream_model);
        assert_str(c->deployments[0].api_base, rows[i].api_base);
        config_put(c);
    }
}

static void wildcards_match_longest_first(void **state)
{
    (void)state;
    struct config *c = open_config(
        "model_list:\n"
        "- {model_name: \"*\", litellm_params: {model: \"openai/*\", api_key: k}}\n"
        "- {model_name: \"openai/*\", litellm_params: {model: \"openai/*\", api_key: k}}\n"
        "- {model_name: \"openai/*-mini\", litellm_params: {model: \"openai/*-mini\", "
        "api_key: k}}\n"
        "- {model_name: openai/gpt-4o, litellm_params: {model: openai/gpt-4o, api_key: k}}\n"
        "router_settings: {model_group_alias: {short: openai/gpt-5, exact: openai/gpt-4o}}\n");
    static const struct {
        const char *model, *group, *matched;
    } rows[] = {
        {"openai/gpt-4o", "openai/gpt-4o", ""}, {"openai/gpt-4o-mini", "openai/*-mini", "gpt-4o"},
        {"openai/gpt-5", "openai/*", "gpt-5"},  {"anything", "*", "anything"},
        {"short", "openai/*", "gpt-5"},         {"exact", "openai/gpt-4o", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct str matched;
        const struct model_group *g = config_group(c, str_from(rows[i].model), &matched);
        assert_non_null(g);
        assert_str(g->name, rows[i].group);
        assert_str(matched, rows[i].matched);
    }
    assert_int_equal(c->model_name_count, 3); /* no patterns: one exact group, two aliases */
    assert_str(c->model_names[0], "openai/gpt-4o");
    config_put(c);
}

static void weights_follow_the_first_deployment(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second;
        double weights[2], total;
    } rows[] = {
        {"", ", weight: 5", {0, 0}, 0}, /* LiteLLM looks at the first only */
        {", weight: 3", ", weight: 1", {3, 1}, 4},
        {", weight: 3, rpm: 10", ", rpm: 90", {3, 0}, 3},
        {", rpm: 10, tpm: 1", ", rpm: 90", {10, 90}, 100},
        {", tpm: 7", ", rpm: 90", {7, 0}, 7},
        {", weight: 0", ", weight: 0", {0, 0}, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char yaml[512];
        snprintf(yaml, sizeof yaml,
                 "model_list:\n- {model_name: a, litellm_params: {model: ollama/a%s}}\n"
                 "- {model_name: a, litellm_params: {model: ollama/b%s}}\n",
                 rows[i].first, rows[i].second);
        struct config *c = open_config(yaml);
        const struct model_group *g = config_group(c, STR("a"), NULL);
        assert_int_equal(g->count, 2);
        assert_float_equal(g->weight_total, rows[i].total, 0);
        for (int k = 0; k < 2; k++)
            assert_float_equal(g->deployments[k]->weight, rows[i].weights[k], 0);
        config_put(c);
    }
}

static void equal_addresses_share_a_target(void **state)
{
    (void)state;
    struct config *c =
        open_config("model_list:\n"
                    "- {model_name: a, litellm_params: {model: openai/a, api_key: k, "
                    "api_base: \"https://h/v1\"}}\n"
                    "- {model_name: b, litellm_params: {model: openai/b, api_key: l, "
                    "api_base: \"https://H:443/v2\"}}\n"
                    "- {model_name: c, litellm_params: {model: openai/c, api_key: k, "
                    "api_base: \"https://h/v1\", ssl_verify: false}}\n"
                    "- {model_name: d, litellm_params: {model: openai/d, api_key: k, "
                    "api_base: \"http://h/v1\"}}\n"
                    "- {model_name: e, litellm_params: {model: openai/e, api_key: k, "
                    "api_base: \"http://h/v1\", ssl_verify: false}}\n");
    static const uint32_t targets[] = {0, 0, 1, 2, 2};
    assert_int_equal(c->target_count, 3);
    for (uint32_t i = 0; i < COUNT(targets); i++)
        assert_int_equal(c->deployments[i].target, targets[i]);
    config_put(c);
}

static void ids_are_stable_and_distinct(void **state)
{
    (void)state;
    struct config *c = open_config(
        "model_list:\n- {model_name: a, litellm_params: {model: ollama/a, rpm: 1}}\n"
        "- {model_name: a, litellm_params: {rpm: 1, model: ollama/a}}\n"
        "- {model_name: a, litellm_params: {model: openai/x, api_key: k, organization: [o1, o2]}}\n"
        "- {model_name: a, litellm_params: {model: ollama/a}, model_info: {id: mine, mode: "
        "chat}}\n");
    struct config *again =
        open_config("model_list:\n- {model_name: a, litellm_params: {rpm: 1, model: ollama/a}}\n");
    assert_int_equal(c->deployment_count, 5);
    assert_int_equal(c->deployments[0].model_id.n, 64);
    assert_true(str_eq(c->deployments[0].model_id, again->deployments[0].model_id));
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < i; k++)
            assert_false(str_eq(c->deployments[i].model_id, c->deployments[k].model_id));
    assert_str(c->deployments[4].model_id, "mine");
    assert_str(c->deployments[4].model_info_json,
               "{\"id\":\"mine\",\"db_model\":false,\"mode\":\"chat\"}");
    assert_str(c->deployments[2].extra_headers[0].value, "o1");
    assert_str(c->deployments[3].extra_headers[0].value, "o2");
    config_put(c);
    config_put(again);
}

static void secrets_are_not_shown(void **state)
{
    (void)state;
    struct config *c = open_config(
        "model_list:\n- {model_name: a, litellm_params: {model: openai/a, api_key: sk-1, "
        "max_tokens: 7, "
        "my_secret: s3, session_token: s4, nested: {password: s5, x: [1, 2.5, \"3\", true, null]}, "
        "extra_headers: {x-auth: s6}}}\n");
    assert_str(
        c->deployments[0].params_json,
        "{\"model\":\"openai/"
        "a\",\"api_key\":\"***\",\"max_tokens\":7,\"my_secret\":\"***\",\"session_token\":\"***\","
        "\"nested\":{\"password\":\"***\",\"x\":[1,2.5,\"3\",true,null]},\"extra_headers\":{\"x-"
        "auth\":\"***\"}}");
    config_put(c);
}

static void prices_have_their_precedence(void **state)
{
    (void)state;
    struct config *c =
        open_config("model_list:\n"
                    "- {model_name: a, litellm_params: {model: openai/gpt-4o-mini, api_key: k}}\n"
                    "- {model_name: b, litellm_params: {model: openai/gpt-4o-mini, api_key: k, "
                    "input_cost_per_token: 1e-6}}\n"
                    "- {model_name: c, litellm_params: {model: openai/gpt-4o-mini, api_key: k}, "
                    "model_info: {output_cost_per_token: 2}}\n"
                    "- {model_name: d, litellm_params: {model: ollama/x}, model_info: {base_model: "
                    "gpt-4o-mini}}\n"
                    "- {model_name: e, litellm_params: {model: ollama/x}}\n");
    assert_float_equal(c->deployments[0].price.input_per_token, 0.15e-6, 1e-15);
    assert_float_equal(c->deployments[1].price.input_per_token, 1e-6, 1e-15);
    assert_float_equal(c->deployments[2].price.output_per_token, 2, 0);
    assert_float_equal(c->deployments[3].price.output_per_token, 0.6e-6, 1e-15);
    assert_false(c->deployments[4].price.known);
    config_put(c);
}

static void built_in_models_fill_gaps(void **state)
{
    (void)state;
    struct err e = {0};
    struct config_options o = {
        .text = STR("model_list: [{model_name: sim-slow, litellm_params: {model: ollama/x}}]"),
        .builtin_base = "unix:@sim",
        .add_builtin_models = true};
    struct config *c = config_load(&o, &e);
    assert_non_null(c);
    assert_int_equal(c->deployment_count, 7);
    assert_str(config_group(c, STR("sim-slow"), NULL)->deployments[0]->provider_name, "ollama");
    const struct deployment *d = config_group(c, STR("sim-embed"), NULL)->deployments[0];
    assert_true(d->builtin && d->price.known);
    assert_str(d->mode, "embedding");
    assert_str(d->upstream_model, "sim-embed");
    config_put(c);
}

static void includes_are_merged(void **state)
{
    (void)state;
    struct err e = {0};
    struct config *c = config_load(
        &(struct config_options){.path = "tests/vectors/config/include_replaces.yaml"}, &e);
    assert_non_null(c);
    assert_non_null(config_group(c, STR("from-include"), NULL));
    assert_int_equal(c->deployments[0].timeout_ms, 7000);
    config_put(c);
}

/* For who asks a gateway that runs already: what is wrong elsewhere in its file does not hide where it listens. */
static void a_listener_is_found_in_a_wrong_file(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
        bool tls, good;
    } rows[] = {
        {"{}", "0.0.0.0", 4000, false, true},
        {"weir_settings: {host: '::1', port: 4100}", "::1", 4100, false, true},
        {"weir_settings: {tls_cert_file: a, tls_key_file: b}", "0.0.0.0", 4000, true, true},
        {"weir_settings: {port: 4100}\nrouter_settings: {num_retries: x}", "0.0.0.0", 4100, false,
         false},
        {"weir_settings: {port: 70000}", "0.0.0.0", 4000, false, false},
        {"weir_settings: [", "0.0.0.0", 4000, false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct arena a;
        struct config_listener at;
        struct err e = {0};
        struct config_options o = {.text = str_from(rows[i].text), .sealed = true};
        arena_init(&a, NULL, 0);
        assert_int_equal(config_listener(&o, &a, &at, &e), rows[i].good);
        assert_int_equal(e.text[0] == '\0', rows[i].good);
        assert_str(at.host, rows[i].host);
        assert_int_equal(at.port, rows[i].port);
        assert_int_equal(at.tls, rows[i].tls);
        arena_fini(&a);
    }
}

static void shipped_files_load(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int notes; /* unset keys */
    } rows[] = {{"config/litellm-unified.yaml", 1},
                {"config/examples/sharing.yaml", 0},
                {"config/examples/fallbacks.yaml", 0},
                {"config/examples/wildcard.yaml", 2}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct err e = {0};
        struct config *c = config_load(&(struct config_options){.path = rows[i].path}, &e);
        assert_non_null(c);
        assert_int_equal(c->note_count, rows[i].notes);
        config_put(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(messages_are_as_in_the_vectors, setup),
        cmocka_unit_test_setup(first_error_is_what_loading_says, setup),
        cmocka_unit_test_setup(has_defaults, setup),
        cmocka_unit_test_setup(null_log_file_means_none, setup),
        cmocka_unit_test_setup(timeouts_have_their_precedence, setup),
        cmocka_unit_test_setup(environment_is_written_before_it_is_read, setup),
        cmocka_unit_test_setup(master_key_comes_from_the_environment_too, setup),
        cmocka_unit_test_setup(keys_stay_with_their_provider, setup),
        cmocka_unit_test_setup(providers_are_resolved, setup),
        cmocka_unit_test_setup(wildcards_match_longest_first, setup),
        cmocka_unit_test_setup(weights_follow_the_first_deployment, setup),
        cmocka_unit_test_setup(equal_addresses_share_a_target, setup),
        cmocka_unit_test_setup(ids_are_stable_and_distinct, setup),
        cmocka_unit_test_setup(secrets_are_not_shown, setup),
        cmocka_unit_test_setup(prices_have_their_precedence, setup),
        cmocka_unit_test_setup(built_in_models_fill_gaps, setup),
        cmocka_unit_test_setup(includes_are_merged, setup),
        cmocka_unit_test_setup(a_listener_is_found_in_a_wrong_file, setup),
        cmocka_unit_test_setup(shipped_files_load, setup),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
