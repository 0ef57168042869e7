/* test_directives.c -- the tables are sound, every key has its place in the example, and setters check what they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config/directives.h"
#include "config/file.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void tables_are_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < directive_section_count; i++) {
        const struct directive_section *s = &directive_sections[i];
        assert_ptr_equal(directive_section(s->path), s);
        for (size_t k = 0; k < s->count; k++) {
            const struct directive *d = &s->rows[k];
            assert_ptr_equal(directive_find(s, str_from(d->key)), d); /* no key twice */
            assert_true(d->help && d->help[strlen(d->help) - 1] == '.');
            assert_true(d->type != D_CHOICE || d->choices);
            assert_true(d->min <= d->max || d->type == D_STR);
        }
    }
}

static struct yaml_node *find(struct yaml_node *root, const char *path)
{
    if (!strcmp(path, ""))
        return root;
    struct yaml_node *entry = yaml_get(root, "model_list")->child;
    if (!strcmp(path, "model_list"))
        return entry;
    if (!strcmp(path, "litellm_params") || !strcmp(path, "model_info"))
        return yaml_get(entry, path);
    if (!strcmp(path, "weir_settings.keys"))
        return yaml_get(yaml_get(root, "weir_settings"), "keys")->child;
    const char *dot = strchr(path, '.');
    if (!dot)
        return yaml_get(root, path);
    char section[64];
    snprintf(section, sizeof section, "%.*s", (int)(dot - path), path);
    return yaml_get(yaml_get(root, section), dot + 1);
}

static void example_names_every_key_and_loads(void **state)
{
    (void)state;
    struct err e = {0};
    struct str text;
    assert_true(
        file_read(&arena, "config/examples/all-directives.yaml", CONFIG_BYTES_MAX, &text, &e));
    struct yaml_node *root = yaml_parse(&arena, text, "all-directives.yaml", &e);
    assert_non_null(root);
    for (size_t i = 0; i < directive_section_count; i++) {
        const struct directive_section *s = &directive_sections[i];
        struct yaml_node *map = find(root, s->path);
        assert_non_null(map);
        for (size_t k = 0; k < s->count; k++) {
            if (!yaml_get(map, s->rows[k].key))
                print_error("config/examples/all-directives.yaml: %s.%s is missing\n", s->path,
                            s->rows[k].key);
            assert_non_null(yaml_get(map, s->rows[k].key));
        }
    }
    struct config *c =
        config_load(&(struct config_options){.path = "config/examples/all-directives.yaml"}, &e);
    assert_non_null(c);
    config_put(c);
}

static bool set(const char *section, const char *key, const char *value, void *base, struct err *e)
{
    struct yaml_node n = {
        .kind = NODE_SCALAR, .text = str_from(value), .file = "t.yaml", .line = 3, .column = 9};
    *e = (struct err){0};
    return directive_set(directive_find(directive_section(section), str_from(key)), base, &arena,
                         section, &n, e);
}

static void reads_units(void **state)
{
    (void)state;
    struct config c = {0};
    struct err e;
    static const struct {
        const char *text;
        int64_t bytes; /* -1: refused */
    } sizes[] = {{"65536", 65536},
                 {"64KiB", 65536},
                 {"1MiB", 1 << 20},
                 {"1 MiB", 1 << 20},
                 {"2MB", 2000000},
                 {"1GiB", 1 << 30},
                 {"2000B", 2000},
                 {"64", -1},
                 {"64kib", -1},
                 {"-1", -1},
                 {"1.5MiB", -1},
                 {"MiB", -1},
                 {"5GiB", -1},
                 {"99999999999999999999GiB", -1},
                 {"9223372036854775807GiB", -1}};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        bool ok = set("weir_settings", "max_request_body_bytes", sizes[i].text, &c, &e);
        assert_int_equal(ok, sizes[i].bytes >= 0);
        if (ok)
            assert_int_equal(c.max_request_body_bytes, sizes[i].bytes);
    }
    assert_true(set("weir_settings", "idle_timeout_ms", "10s", &c, &e));
    assert_int_equal(c.idle_timeout_ms, 10000);
    assert_true(set("weir_settings", "idle_timeout_ms", "2m", &c, &e));
    assert_int_equal(c.idle_timeout_ms, 120000);
    assert_false(set("weir_settings", "idle_timeout_ms", "0", &c, &e));
    assert_true(set("litellm_settings.logging", "slow_request_threshold", "2.5", &c, &e));
    assert_int_equal(c.slow_request_threshold_ms, 2500);
}

static void says_what_was_expected(void **state)
{
    (void)state;
    struct config c = {0};
    struct err e;
    char shown[1024];
    assert_false(set("weir_settings", "port", "70000", &c, &e));
    err_format(&e, shown, sizeof shown);
    assert_string_equal(
        shown,
        "t.yaml:3:9: weir_settings.port: expected an integer between 0 and 65535, got \"70000\"");
    assert_false(set("general_settings", "master_key", "sk-\nsecret", &c, &e));
    assert_null(strstr(e.text, "secret,"));
    assert_null(strstr(e.text, "sk-"));
}

static void finds_the_nearest_key(void **state)
{
    (void)state;
    const struct directive_section *s = directive_section("weir_settings");
    assert_string_equal(directive_nearest(s, STR("max_conections")), "max_connections");
    assert_string_equal(directive_nearest(s, STR("prot")), "port");
    assert_null(directive_nearest(s, STR("something_else")));
    assert_null(directive_nearest(s, STR("")));
}

static void writes_docs(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0, NULL);
    directives_write_docs(&b);
    struct str text = buf_str(&b);
    for (size_t i = 0; i < directive_section_count; i++)
        for (size_t k = 0; k < directive_sections[i].count; k++) {
            char key[80];
            snprintf(key, sizeof key, "`%s`", directive_sections[i].rows[k].key);
            assert_true(str_contains(text, str_from(key)));
        }
    assert_true(str_contains(text, STR("| `port` | an integer between 0 and 65535 | `4000` |")));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tables_are_sound, setup, teardown),
        cmocka_unit_test_setup_teardown(example_names_every_key_and_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_units, setup, teardown),
        cmocka_unit_test_setup_teardown(says_what_was_expected, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_the_nearest_key, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_docs, setup, teardown),
    };
    return cmocka_run_group_tests_name("directives", tests, NULL, NULL);
}
