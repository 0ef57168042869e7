/* test_model_names.c -- which group a name means: ids, aliases, names, patterns, upstream names, the default, and in which order. */
#include "config_fixture.h"

/* What a name leads to: the group's name, how many deployments, the model that the first one is asked for, '*' filled in. */
struct expected {
    const char *asked, *group;
    int count;
    const char *upstream, *matched;
};

static void check(const struct config *c, const struct expected *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct expected *x = &rows[i];
        struct str matched = STR("unset");
        const struct model_group *g = config_group(c, str_from(x->asked), &matched);
        if (!g != !x->group || (g && !str_eq(g->name, str_from(x->group))))
            print_error("\"%s\" led to \"%.*s\"\n", x->asked, g ? (int)g->name.n : 0,
                        g ? g->name.p : "");
        assert_int_equal(!g, !x->group);
        assert_true(str_eq(matched, str_from(x->matched ? x->matched : "")));
        assert_ptr_equal(config_group(c, str_from(x->asked), NULL), g);
        if (!g)
            continue;
        assert_true(str_eq(g->name, str_from(x->group)));
        assert_int_equal(g->count, x->count);
        assert_true(str_eq(g->deployments[0]->upstream_model, str_from(x->upstream)));
    }
}

static void order_is_litellms(void **state)
{
    (void)state;
    struct config *c = sealed_config(
        "model_list:\n"
        "- {model_name: m, litellm_params: {model: ollama/one}, model_info: {id: id-1}}\n"
        "- {model_name: m, litellm_params: {model: ollama/two}, model_info: {id: id-2}}\n"
        "- {model_name: m, litellm_params: {model: ollama/two, rpm: 1}, model_info: {id: id-3}}\n"
        "- {model_name: other, litellm_params: {model: ollama/two, rpm: 2}, model_info: {id: n}}\n"
        "- {model_name: n, litellm_params: {model: ollama/n}, model_info: {id: id-5}}\n"
        "- {model_name: \"openai/*\", litellm_params: {model: \"openai/*\", api_key: k}, "
        "model_info: {id: id-6}}\n"
        "- {model_name: \"openai/gpt-*\", litellm_params: {model: \"openai/gpt-*\", api_key: k}}\n"
        "- {model_name: \"claude-*\", litellm_params: {model: ollama/three}, model_info: {id: "
        "id-8}}\n"
        "router_settings: {model_group_alias: {id-2: n, m2: m, o: openai/gpt-4o, hid: {model: m, "
        "hidden: true}}}\n");
    static const struct expected rows[] = {
        {"m", "m", 3, "one", NULL},
        {"id-1", "m", 1, "one", NULL},
        {"id-2", "m", 1, "two", NULL},  /* before the alias */
        {"n", "other", 1, "two", NULL}, /* and before the name */
        {"id-5", "n", 1, "n", NULL},
        {"m2", "m", 3, "one", NULL},
        {"hid", "m", 3, "one", NULL},
        {"o", "openai/gpt-*", 1, "gpt-*", "4o"},
        {"openai/gpt-4o", "openai/gpt-*", 1, "gpt-*", "4o"},
        {"gpt-4o", "openai/gpt-*", 1, "gpt-*", "4o"}, /* a bare name, of OpenAI's */
        {"o3-mini", "openai/*", 1, "*", "o3-mini"},
        {"llama", NULL, 0, NULL, NULL}, /* bare, and nobody's */
        {"id-6", NULL, 0, NULL, NULL},  /* sends a pattern on: no model */
        {"id-8", "claude-*", 1, "three", NULL},
        {"claude-3", "claude-*", 1, "three", "3"},
        {"ollama/one", "m", 1, "one", NULL},
        {"ollama/two", "m", 2, "two", NULL}, /* of the first name that has it only */
        {"ollama/three", "claude-*", 1, "three", NULL},
        {"ollama/four", NULL, 0, NULL, NULL},
        {"", NULL, 0, NULL, NULL},
    };
    check(c, rows, COUNT(rows));
    assert_false(
        config_group(c, STR("id-8"), NULL)->wildcard); /* the file's name, not a stranger's */
    static const char *const listed[] = {"m", "other", "n", "id-2", "m2", "o"};
    assert_int_equal(c->model_name_count, COUNT(listed));
    for (size_t i = 0; i < COUNT(listed); i++)
        assert_true(str_eq(c->model_names[i], str_from(listed[i])));
    config_put(c);
}

static void catch_all_comes_behind_patterns(void **state)
{
    (void)state;
    struct config *c = sealed_config(
        "model_list:\n"
        "- {model_name: \"*\", litellm_params: {model: ollama/rest}}\n"
        "- {model_name: \"openai/*\", litellm_params: {model: \"openai/*\", api_key: k}}\n"
        "- {model_name: a, litellm_params: {model: ollama/a}}\n");
    static const struct expected rows[] = {
        {"gpt-4o", "openai/*", 1, "*", "gpt-4o"},
        {"anything", "*", 1, "rest", "anything"},
        {"ollama/a", "*", 1, "rest", "ollama/a"}, /* never asked behind it, as in LiteLLM */
        {"a", "a", 1, "a", NULL},
    };
    check(c, rows, COUNT(rows));
    config_put(c);
}

static void default_fallback_is_last(void **state)
{
    (void)state;
    struct config *c = sealed_config(
        "model_list:\n"
        "- {model_name: a, litellm_params: {model: ollama/a}}\n"
        "- {model_name: a, litellm_params: {model: ollama/a2}}\n"
        "- {model_name: \"groq/*\", litellm_params: {model: \"groq/*\", api_key: k}}\n"
        "litellm_settings: {default_fallbacks: [a, groq/x]}\n");
    static const struct expected rows[] = {
        {"unknown", "a", 2, "a", NULL},
        {"groq/b", "groq/*", 1, "*", "b"},
    };
    check(c, rows, COUNT(rows));
    assert_true(config_group(c, STR("unknown"), NULL)->wildcard); /* never a label */
    assert_false(config_group(c, STR("a"), NULL)->wildcard);
    config_put(c);
    c = sealed_config(
        "model_list: [{model_name: \"groq/*\", litellm_params: {model: \"groq/*\", api_key: "
        "k}}]\nlitellm_settings: {default_fallbacks: [groq/x]}\n");
    check(c, (struct expected[]){{"unknown", "groq/*", 1, "*", "x"}}, 1);
    config_put(c);
}

static void aliases_of_both_sections(void **state)
{
    (void)state;
    struct config *c = sealed_config("model_list:\n"
                                     "- {model_name: a, litellm_params: {model: ollama/a}}\n"
                                     "- {model_name: b, litellm_params: {model: ollama/b}}\n"
                                     "litellm_settings: {model_alias_map: {x: a, y: a, w: z}}\n"
                                     "router_settings: {model_group_alias: {y: b, z: b}}\n");
    static const struct expected rows[] = {{"x", "a", 1, "a", NULL},
                                           {"y", "a", 1, "a", NULL},
                                           {"z", "b", 1, "b", NULL},
                                           {"w", "b", 1, "b", NULL}};
    check(c, rows, COUNT(rows));
    assert_int_equal(c->model_name_count, 6);
    config_put(c);
}

/* Groups of one share deployments with their group: its weights stay as they are. */
static void weights_stay(void **state)
{
    (void)state;
    struct config *c = sealed_config(
        "model_list:\n"
        "- {model_name: a, litellm_params: {model: ollama/x, weight: 3}, model_info: {id: i1}}\n"
        "- {model_name: a, litellm_params: {model: ollama/x, weight: 1}}\n"
        "- {model_name: a, litellm_params: {model: ollama/y, weight: 2}}\n");
    const struct model_group *a = config_group(c, STR("a"), NULL);
    assert_float_equal(a->weight_total, 6, 0);
    assert_float_equal(a->deployments[0]->weight, 3, 0);
    assert_float_equal(config_group(c, STR("i1"), NULL)->weight_total, 3, 0);
    assert_float_equal(config_group(c, STR("ollama/x"), NULL)->weight_total, 4, 0);
    assert_ptr_equal(config_group(c, STR("i1"), NULL)->deployments[0], a->deployments[0]);
    config_put(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_litellms),
        cmocka_unit_test(catch_all_comes_behind_patterns),
        cmocka_unit_test(default_fallback_is_last),
        cmocka_unit_test(aliases_of_both_sections),
        cmocka_unit_test(weights_stay),
    };
    return cmocka_run_group_tests_name("model_names", tests, NULL, NULL);
}
