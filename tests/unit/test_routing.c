/* test_routing.c -- what the configuration says about trying again: defaults, precedence, policies by kind of error and model, fallbacks. */
#include "config_fixture.h"

#define MODELS                                                                                     \
    "model_list:\n"                                                                                \
    "- {model_name: a, litellm_params: {model: ollama/a, tags: [free, \"default\"], order: 2, "    \
    "num_retries: 4, cooldown_time: 1.5, max_parallel_requests: 7}, model_info: "                  \
    "{max_input_tokens: 4096}}\n"                                                                  \
    "- {model_name: b, litellm_params: {model: ollama/b, max_retries: 1}}\n"                       \
    "- {model_name: c, litellm_params: {model: ollama/c}}\n"                                       \
    "- {model_name: \"groq/*\", litellm_params: {model: \"groq/*\", api_key: k}}\n"

static void has_defaults(void **state)
{
    (void)state;
    struct config *c = sealed_config(MODELS);
    const struct routing *r = &c->routing;
    assert_int_equal(c->note_count, 0);
    assert_int_equal(r->strategy, STRATEGY_SIMPLE_SHUFFLE);
    assert_int_equal(r->num_retries, 2);
    assert_int_equal(r->max_fallbacks, 5);
    assert_int_equal(r->allowed_fails, 3);
    assert_int_equal(r->cooldown_ms, 5000);
    assert_int_equal(r->retry_after_ms, 0);
    assert_int_equal(r->latency_ttl_ms, 3600000);
    assert_float_equal(r->lowest_latency_buffer, 0, 0);
    assert_true(r->session_affinity && r->tags_match_any);
    assert_false(r->prefix_affinity || r->tag_filtering || r->pre_call_checks ||
                 r->enforce_rate_limits || r->disable_cooldowns || r->health_check_routing);
    for (int class = 0; class < FAILURE_CLASS_COUNT; class ++) {
        assert_int_equal(routing_policy_retries(r, STR("a"), STR("a"), class), -1);
        assert_int_equal(r->allowed_fails_policy.by_class[class], -1);
    }
    for (int kind = 0; kind < FALLBACK_KIND_COUNT; kind++)
        assert_null(routing_fallback(r, kind, STR("a"), STR("a")));
    config_put(c);
}

static void deployments_say_their_own(void **state)
{
    (void)state;
    struct config *c =
        sealed_config(MODELS "router_settings: {default_max_parallel_requests: 3}\n");
    const struct deployment *a = &c->deployments[0], *b = &c->deployments[1],
                            *d = &c->deployments[2];
    assert_int_equal(a->tag_count, 2);
    assert_true(str_eq(a->tags[0], STR("free")) && str_eq(a->tags[1], STR("default")));
    assert_int_equal(a->order, 2);
    assert_int_equal(a->num_retries, 4);
    assert_int_equal(a->cooldown_ms, 1500);
    assert_int_equal(a->max_parallel_requests, 7);
    assert_int_equal(a->max_input_tokens, 4096);
    assert_int_equal(b->num_retries, 1);
    assert_int_equal(d->num_retries, -1);
    assert_int_equal(d->cooldown_ms, -1);
    assert_int_equal(d->max_input_tokens, -1);
    assert_int_equal(d->tag_count, 0);
    assert_int_equal(d->max_parallel_requests, 3);
    config_put(c);
}

static void kinds_of_errors_become_classes(void **state)
{
    (void)state;
    static const struct {
        const char *policy;
        int expected[FAILURE_CLASS_COUNT];
    } rows[] = {
        {"BadRequestError%s: 5",
         {[FAILURE_NONE] = -1, [FAILURE_BAD_REQUEST] = 5, 5, 5, -1, -1, -1, -1, -1, -1}},
        {"BadRequestError%s: 5, ContentPolicyViolationError%s: 0",
         {[FAILURE_NONE] = -1, [FAILURE_BAD_REQUEST] = 5, 5, 0, -1, -1, -1, -1, -1, -1}},
        {"AuthenticationError%s: 1, TimeoutError%s: 2",
         {[FAILURE_NONE] = -1, [FAILURE_BAD_REQUEST] = -1, -1, -1, 1, -1, 2, -1, -1, -1}},
        {"RateLimitError%s: 3, InternalServerError%s: 4",
         {[FAILURE_NONE] = -1, [FAILURE_BAD_REQUEST] = -1, -1, -1, -1, -1, -1, 3, 4, 4}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char retries[128], allowed[128], yaml[2048];
        snprintf(retries, sizeof retries, rows[i].policy, "Retries", "Retries");
        snprintf(allowed, sizeof allowed, rows[i].policy, "AllowedFails", "AllowedFails");
        snprintf(yaml, sizeof yaml,
                 MODELS "router_settings: {retry_policy: {%s}, allowed_fails_policy: {%s}}\n",
                 retries, allowed);
        struct config *c = sealed_config(yaml);
        assert_int_equal(c->note_count, 0);
        for (int class = 0; class < FAILURE_CLASS_COUNT; class ++) {
            assert_int_equal(c->routing.retry_policy.by_class[class], rows[i].expected[class]);
            assert_int_equal(c->routing.allowed_fails_policy.by_class[class],
                             rows[i].expected[class]);
        }
        config_put(c);
    }
}

static void a_models_policy_replaces_the_general_one(void **state)
{
    (void)state;
    struct config *c =
        sealed_config(MODELS "router_settings:\n"
                             "  model_group_alias: {alias: b}\n"
                             "  retry_policy: {TimeoutErrorRetries: 9, RateLimitErrorRetries: "
                             "8}\n"
                             "  model_group_retry_policy:\n"
                             "    a: {TimeoutErrorRetries: 1}\n"
                             "    alias: {TimeoutErrorRetries: 2}\n"
                             "    b: {}\n");
    const struct routing *r = &c->routing;
    static const struct {
        const char *asked, *group;
        int timeout, rate_limit;
    } rows[] = {{"a", "a", 1, -1}, {"alias", "b", 2, -1}, {"b", "b", -1, -1}, {"c", "c", 9, 8}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct str asked = str_from(rows[i].asked), group = str_from(rows[i].group);
        assert_int_equal(routing_policy_retries(r, asked, group, FAILURE_TIMEOUT), rows[i].timeout);
        assert_int_equal(routing_policy_retries(r, asked, group, FAILURE_RATE_LIMIT),
                         rows[i].rate_limit);
    }
    config_put(c);
}

static void assert_leads_to(const struct config *c, enum fallback_kind kind, const char *asked,
                            const char *group, const char *expected)
{
    char names[128] = "-";
    const struct fallback *f =
        routing_fallback(&c->routing, kind, str_from(asked), str_from(group));
    for (int i = 0, n = 0; f && (i < f->count || i == 0); i++)
        n += snprintf(names + n, sizeof names - (size_t)n, "%s%.*s", i ? " " : "",
                      f->count ? (int)f->to[i].n : 0, f->count ? f->to[i].p : "");
    assert_string_equal(names, expected);
}

static void fallbacks_are_found(void **state)
{
    (void)state;
    struct config *c =
        sealed_config(MODELS "router_settings:\n"
                             "  model_group_alias: {alias: a}\n"
                             "  fallbacks: [{a: [b, c]}, {alias: [c]}, {llama: b}, {c: []}]\n"
                             "  context_window_fallbacks: [{a: [{model: groq/long}]}]\n"
                             "  default_fallbacks: [groq/any, c]\n");
    assert_int_equal(c->note_count, 0);
    assert_leads_to(c, FALLBACK_GENERAL, "a", "a", "b c");
    assert_leads_to(c, FALLBACK_GENERAL, "alias", "a", "c");
    assert_leads_to(c, FALLBACK_GENERAL, "some-id", "a", "b c");
    assert_leads_to(c, FALLBACK_GENERAL, "groq/llama", "groq/*", "b");
    assert_leads_to(c, FALLBACK_GENERAL, "groq/other", "groq/*", "groq/any c");
    assert_leads_to(c, FALLBACK_GENERAL, "b", "b", "groq/any c");
    assert_leads_to(c, FALLBACK_GENERAL, "c", "c", ""); /* said to have none */
    assert_leads_to(c, FALLBACK_CONTEXT_WINDOW, "a", "a", "groq/long");
    assert_leads_to(c, FALLBACK_CONTEXT_WINDOW, "b", "b", "-");
    assert_leads_to(c, FALLBACK_CONTENT_POLICY, "a", "a", "-");
    config_put(c);
}

static void router_settings_win(void **state)
{
    (void)state;
    struct config *c =
        sealed_config(MODELS "litellm_settings: {num_retries: 7, allowed_fails: 8, "
                             "fallbacks: [{a: [b]}], content_policy_fallbacks: [{a: [b]}]}\n"
                             "router_settings: {num_retries: 1, fallbacks: [{b: [c]}], "
                             "content_policy_fallbacks: null}\n");
    assert_int_equal(c->routing.num_retries, 1);
    assert_int_equal(c->routing.allowed_fails, 8);
    assert_leads_to(c, FALLBACK_GENERAL, "a", "a", "-");
    assert_leads_to(c, FALLBACK_GENERAL, "b", "b", "c");
    assert_leads_to(c, FALLBACK_CONTENT_POLICY, "a", "a", "b");
    assert_int_equal(c->note_count, 2); /* what litellm_settings said in vain */
    config_put(c);
}

static void checks_switch_on(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        bool limits, session, prefix;
    } rows[] = {
        {"", false, true, false},
        {"weir_settings: {session_affinity: false, prefix_affinity: true}\n", false, false, true},
        {"weir_settings: {session_affinity: false}\n"
         "router_settings: {optional_pre_call_checks: [session_affinity]}\n",
         false, true, false},
        {"router_settings: {optional_pre_call_checks: [enforce_model_rate_limits, "
         "prompt_caching]}\n",
         true, true, true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct config *c = sealed_config(rows[i].yaml);
        assert_int_equal(c->routing.enforce_rate_limits, rows[i].limits);
        assert_int_equal(c->routing.session_affinity, rows[i].session);
        assert_int_equal(c->routing.prefix_affinity, rows[i].prefix);
        config_put(c);
    }
}

static void strategies_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum routing_strategy strategy;
    } rows[] = {
        {"simple-shuffle", STRATEGY_SIMPLE_SHUFFLE}, {"least-busy", STRATEGY_LEAST_BUSY},
        {"usage-based-routing", STRATEGY_USAGE},     {"usage-based-routing-v2", STRATEGY_USAGE_V2},
        {"latency-based-routing", STRATEGY_LATENCY}, {"cost-based-routing", STRATEGY_COST},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char yaml[256];
        snprintf(yaml, sizeof yaml,
                 "router_settings: {routing_strategy: %s, routing_strategy_args: {ttl: 60, "
                 "lowest_latency_buffer: 0.25}}\n",
                 rows[i].name);
        struct config *c = sealed_config(yaml);
        assert_int_equal(c->routing.strategy, rows[i].strategy);
        assert_int_equal(c->routing.latency_ttl_ms, 60000);
        assert_float_equal(c->routing.lowest_latency_buffer, 0.25, 0);
        config_put(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_defaults),
        cmocka_unit_test(deployments_say_their_own),
        cmocka_unit_test(kinds_of_errors_become_classes),
        cmocka_unit_test(a_models_policy_replaces_the_general_one),
        cmocka_unit_test(fallbacks_are_found),
        cmocka_unit_test(router_settings_win),
        cmocka_unit_test(checks_switch_on),
        cmocka_unit_test(strategies_are_read),
    };
    return cmocka_run_group_tests_name("routing", tests, NULL, NULL);
}
