/* test_config_diff.c -- what a reload changes: directives by their tables, deployments by id and name, secrets never shown. */
#include "config_fixture.h"

#include "base/json.h"
#include "config/config_diff.h"

/* The lines of the diff, in order, one behind the other. */
static void check(const char *before, const char *after, const char *expected)
{
    struct config *a = open_config(before), *b = open_config(after);
    struct config_diff d;
    struct arena arena;
    struct buf lines;
    arena_init(&arena, NULL, 0);
    buf_init(&lines, 0, NULL);
    config_diff(a, b, &d);
    config_put(a); /* nothing of the diff may point there */
    config_put(b);
    for (uint32_t i = 0; i < d.count; i++)
        assert_true(buf_append_str(&lines, config_change_text(&arena, &d.changes[i])) &&
                    buf_append_str(&lines, STR("\n")));
    if (!str_eq(buf_str(&lines), str_from(expected)))
        print_error("got:\n%.*s\nexpected:\n%s\n", STR_ARG(buf_str(&lines)), expected);
    assert_true(str_eq(buf_str(&lines), str_from(expected)));
    config_diff_fini(&d);
    buf_fini(&lines);
    arena_fini(&arena);
}

#define MODEL(name, more)                                                                          \
    "  - {model_name: " name ", litellm_params: {model: openai/" name                              \
    ", api_base: \"http://h/v1\", api_key: k" more "}}\n"

static void what_means_the_same_is_no_change(void **state)
{
    (void)state;
    check("", "", "");
    check("model_list:\n" MODEL("a", "") "weir_settings: {idle_timeout_ms: 10s}\n",
          "weir_settings: {idle_timeout_ms: 10000, port: 4000}\nmodel_list:\n" MODEL("a", ""), "");
    check("router_settings: {fallbacks: [{a: [b]}]}\nmodel_list:\n" MODEL("a", "") MODEL("b", ""),
          "router_settings: {\"fallbacks\": [{\"a\": [\"b\"]}]}\nmodel_list:\n" MODEL("a", "")
              MODEL("b", ""),
          "");
}

static void directives_are_told_with_both_values(void **state)
{
    (void)state;
    check("", "router_settings: {num_retries: 7, routing_strategy: least-busy}\n",
          "~ router_settings.routing_strategy: simple-shuffle -> least-busy\n"
          "~ router_settings.num_retries: 2 -> 7\n");
    check("weir_settings: {port: 1, cors_origin: x}\n",
          "weir_settings: {port: 2, cors_origin: \"\", header_timeout_ms: 1s}\n",
          "~ weir_settings.port: 1 -> 2 (takes effect at a restart)\n"
          "~ weir_settings.header_timeout_ms: 10000ms -> 1000ms\n"
          "- weir_settings.cors_origin: x\n");
    check("litellm_settings: {logging: {slow_request_threshold: 2}}\n",
          "litellm_settings: {num_retries: 9}\n",
          "~ litellm_settings.logging.slow_request_threshold_ms: 2000ms -> 5000ms\n"
          "~ router_settings.num_retries: 2 -> 9\n");
    check("router_settings: {timeout: 2.5}\n", "", "~ router_settings.timeout: 2.5 -> not set\n");
}

static void what_code_reads_is_compared_as_a_tree(void **state)
{
    (void)state;
    check(
        "model_list:\n" MODEL("a", "") MODEL("b", "") "router_settings: {fallbacks: [{a: [b]}]}\n",
        "model_list:\n" MODEL("a", "") MODEL("b", "") "router_settings: {fallbacks: [{b: [a]}]}\n",
        "~ router_settings.fallbacks: [{\"a\":[\"b\"]}] -> [{\"b\":[\"a\"]}]\n");
    check("litellm_settings: {prometheus_latency_buckets: [1, 2]}\n", "",
          "- litellm_settings.prometheus_latency_buckets: [1,2] (takes effect at a restart)\n");
}

static void secrets_are_never_shown(void **state)
{
    (void)state;
    check("general_settings: {master_key: sk-old}\n", "general_settings: {master_key: sk-new}\n",
          "~ general_settings.master_key: changed, a secret\n");
    check("", "general_settings: {master_key: sk-new}\n",
          "+ general_settings.master_key: added, a secret\n");
    check("model_list:\n" MODEL("a", ""),
          "model_list:\n  - {model_name: a, litellm_params: {model: openai/a, api_base: "
          "\"http://h/v1\", api_key: other}}\n",
          "~ model_list[a].litellm_params.api_key: changed, a secret\n");
    check("", "environment_variables: {WEIR_TEST_DIFF: hidden}\n",
          "+ environment_variables.WEIR_TEST_DIFF: added, a secret\n");
    check("model_list:\n" MODEL("a", ""),
          "model_list:\n" MODEL("a", ", extra_headers: {x-key: hidden}"),
          "+ model_list[a].litellm_params.extra_headers: {\"x-key\":\"***\"}\n");
}

static void deployments_are_paired(void **state)
{
    (void)state;
    check("model_list:\n" MODEL("a", ", rpm: 1") MODEL("b", ""),
          "model_list:\n" MODEL("c", "") MODEL("a", ", rpm: 2"),
          "~ model_list[a].litellm_params.rpm: 1 -> 2\n"
          "- model_list[b]: openai/b at http://h/v1, id "
          "108e36a40e9e879f5aaa6b985833ba0e999fca68c3f4a37b56527a0d35fd545b\n"
          "+ model_list[c]: openai/c at http://h/v1, id "
          "916c1a156cb212543e519b3fc0871566102287bc074dce874b704b5be243a6dd\n");
}

static void deployments_by_id(void **state)
{
    (void)state;
#define WITH_ID(name, id, weight)                                                                  \
    "  - {model_name: " name ", litellm_params: {model: openai/x, api_base: \"http://h/v1\", "     \
    "api_key: k, weight: " weight "}, model_info: {id: " id "}}\n"
    check("model_list:\n" WITH_ID("a", "one", "1") WITH_ID("a", "two", "1"),
          "model_list:\n" WITH_ID("a", "two", "5") WITH_ID("a", "three", "1"),
          "~ model_list[a, id three].model_info.id: one -> three\n"
          "~ model_list[a, id two].litellm_params.weight: 1 -> 5\n");
    check("model_list:\n" WITH_ID("a", "one", "1"),
          "model_list:\n" WITH_ID("a", "one", "1") WITH_ID("b", "two", "1"),
          "+ model_list[b]: openai/x at http://h/v1, id two\n");
    check("model_list:\n" WITH_ID("a", "one", "1") WITH_ID("b", "two", "1"),
          "model_list:\n" WITH_ID("a", "one", "1"),
          "- model_list[b]: openai/x at http://h/v1, id two\n");
    check("model_list:\n" WITH_ID("a", "one", "1"), "model_list:\n" WITH_ID("b", "one", "1"),
          "~ model_list[b].model_name: a -> b\n");
}

static void virtual_keys_are_paired_by_their_hash(void **state)
{
    (void)state;
#define KEYS(list) "general_settings: {master_key: m}\nweir_settings: {keys: [" list "]}\n"
    check(KEYS("{key: not-to-be-seen-1, key_alias: one, rpm_limit: 1}, {key: not-to-be-seen-2, "
               "key_alias: two}"),
          KEYS("{key: not-to-be-seen-3, key_alias: three}, {key: not-to-be-seen-1, key_alias: one, "
               "rpm_limit: 2}"),
          "~ weir_settings.keys[one].rpm_limit: 1 -> 2\n"
          "- weir_settings.keys[two]: hash 1f5f1e856a91...\n"
          "+ weir_settings.keys[three]: hash 41f05d30427b...\n");
}

static void long_values_are_cut(void **state)
{
    (void)state;
    char yaml[1024], expected[1024], text[401];
    memset(text, 'x', 400);
    text[400] = '\0';
    snprintf(yaml, sizeof yaml, "weir_settings: {cors_origin: %s}\n", text);
    snprintf(expected, sizeof expected, "~ weir_settings.cors_origin: * -> %.200s...\n", text);
    check("", yaml, expected);
}

static void json_is_json(void **state)
{
    (void)state;
    struct config *a = open_config("general_settings: {master_key: sk-old-secret}\n");
    struct config *b =
        open_config("general_settings: {master_key: sk-new-secret}\nweir_settings: {port: 9}\n");
    struct config_diff d;
    struct buf out;
    struct arena arena;
    arena_init(&arena, NULL, 0);
    buf_init(&out, 0, NULL);
    config_diff(a, b, &d);
    assert_int_equal(d.count, 2);
    assert_int_equal(d.restart_count, 1);
    assert_true(config_diff_write_json(&d, &out));
    assert_false(str_contains(buf_str(&out), STR("sk-")));
    struct json_node *list = json_parse(&arena, buf_str(&out), NULL);
    assert_non_null(list);
    assert_int_equal(list->count, 2);
    assert_int_equal(json_get(list->child, "before")->kind, JSON_NULL);
    assert_true(str_eq(json_get(list->child->next, "after")->text, STR("9")));
    assert_int_equal(json_get(list->child->next, "restart")->kind, JSON_TRUE);
    config_diff_fini(&d);
    buf_fini(&out);
    arena_fini(&arena);
    config_put(a);
    config_put(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_means_the_same_is_no_change),
        cmocka_unit_test(directives_are_told_with_both_values),
        cmocka_unit_test(what_code_reads_is_compared_as_a_tree),
        cmocka_unit_test(secrets_are_never_shown),
        cmocka_unit_test(deployments_are_paired),
        cmocka_unit_test(deployments_by_id),
        cmocka_unit_test(virtual_keys_are_paired_by_their_hash),
        cmocka_unit_test(long_values_are_cut),
        cmocka_unit_test(json_is_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
