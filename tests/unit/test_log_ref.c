/* JSON looked at where it lies, values of a line by their names, and groups by tag. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/json_view.h"
#include "observe/rollup.h"

static void members_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *object, *key, *value;
    } cases[] = {
        {"{\"a\":1,\"b\":[{\"a\":2}],\"c\":\"}\"}", "c", "\"}\""},
        {"{ \"a\" : { \"b\" : 1 } , \"b\":\t2 }", "b", "2"},
        {"{\"a\":1,\"a\":\"last\"}", "a", "\"last\""},
        {"{\"\\u0061\":true}", "a", "true"},
        {"{\"a\\\"b\":3}", "a\"b", "3"},
        {"{\"x\":\"\\\\\",\"a\":4}", "a", "4"},
        {"{\"x\":\"\\\"a\\\":5\",\"a\":6}", "a", "6"},
        {"{}", "a", NULL},
        {"[\"a\"]", "a", NULL},
        {"\"a\"", "a", NULL},
        {"{\"a\":1", "a", "1"}, /* of what is no JSON anything may come, but nothing from outside */
        {"{\"a\"", "a", NULL},
        {"{\"a\\", "a", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str found = json_view_member(str_from(cases[i].object), str_from(cases[i].key));
        struct str want = str_from(cases[i].value);
        if (!str_eq(found, want) || !found.p != !want.p)
            fail_msg("%s in %s: %.*s", cases[i].key, cases[i].object, STR_ARG(found));
    }
}

static void elements_are_found(void **state)
{
    (void)state;
    struct str rest = STR("[1, \"a,b\" ,[2,3], {\"x\":[4]} ]"), all = rest, element;
    static const char *const want[] = {"1", "\"a,b\"", "[2,3]", "{\"x\":[4]}"};
    for (size_t i = 0; i < COUNT(want); i++) {
        assert_true(json_view_next(&rest, &element));
        assert_true(str_eq(element, str_from(want[i])));
        assert_true(str_eq(json_view_element(all, i), str_from(want[i])));
    }
    assert_false(json_view_next(&rest, &element));
    assert_null(json_view_element(all, 4).p);
    rest = STR("[]");
    assert_false(json_view_next(&rest, &element));
    rest = STR("{\"a\":1}");
    assert_false(json_view_next(&rest, &element));
}

/* ---- references ---- */

static void read_line(struct logline *l, const char *text)
{
    static char data[4096];
    enum line_status status;
    size_t n = strlen(text);
    assert_true(n + LOGLINE_SLACK < sizeof data);
    memcpy(data, text, n);
    memset(data + n, '\n', LOGLINE_SLACK);
    logline_init(l);
    (void)logline_read(l, data, data + n, &status);
    assert_int_equal(status, LINE_READ);
}

static void texts_of_a_line(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
    } cases[] = {
        {"model", "m\"x"},       {"http_status", "200"},     {"stream", "true"},
        {"user", NULL},          {"error.type", "t"},        {"metadata.team", "gr\xC3\xBCn"},
        {"metadata.n", "1.50"},  {"metadata.list", "[1,2]"}, {"metadata.list.1", "2"},
        {"metadata.nil", NULL},  {"metadata.a.b", NULL},     {"tag", "x,y,,z z"},
        {"request.model", NULL},
    };
    struct logline l;
    char out[LOG_REF_OUT_BYTES];
    read_line(
        &l,
        "{\"event\":\"request\",\"model\":\"m\\\"x\",\"stream\":true,\"http_status\":200,"
        "\"error\":{\"type\":\"t\"},\"metadata\":{\"team\":\"gr\\u00fcn\",\"n\":1.50,"
        "\"list\":[1,2],\"nil\":null,\"tags\":[\"x\",\"y\",\"\\u0078\",\"\",7,\"z\\u0020z\"]}}");
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct log_ref ref;
        assert_true(log_ref_parse(&ref, str_from(cases[i].name), NULL));
        assert_true(log_ref_groups(&ref));
        assert_string_equal(ref.name, cases[i].name);
        struct str text = log_ref_text(&ref, &l, out), want = str_from(cases[i].text);
        if (!str_eq(text, want) || !text.p != !want.p)
            fail_msg("%s is %.*s", cases[i].name, STR_ARG(text));
    }
}

static void times_and_bodies_make_no_groups(void **state)
{
    (void)state;
    static const char *const names[] = {"latency_ms", "timestamp", "cost_usd", "tokens_per_second",
                                        "metadata"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct log_ref ref;
        assert_true(log_ref_parse(&ref, str_from(names[i]), NULL));
        assert_false(log_ref_groups(&ref));
    }
}

/* ---- groups by tag ---- */

static const char *const lines[] = {
    "{\"event\":\"request\",\"model\":\"a\",\"status\":\"success\",\"metadata\":{\"tags\":[\"x\","
    "\"y\",\"x\"]}}",
    "{\"event\":\"request\",\"model\":\"b\",\"status\":\"failure\",\"metadata\":{\"tags\":[\"x\"]}"
    "}",
    "{\"event\":\"request\",\"model\":\"b\",\"status\":\"success\",\"metadata\":{\"tags\":[]}}",
    "{\"event\":\"request\",\"model\":\"b\",\"status\":\"success\"}",
};

static uint64_t requests_of(const struct rollup_view *v, const char *model, const char *tag)
{
    for (size_t g = 0; g < v->group_count; g++) {
        struct str want = str_from(tag), is = v->groups[g]->values[1];
        if (str_eq(v->groups[g]->values[0], str_from(model)) && str_eq(is, want) &&
            !is.p == !want.p)
            return v->groups[g]->counts[ROLLUP_REQUESTS];
    }
    return 0;
}

static bool is_of_x(const struct rollup_group *g, const void *arg)
{
    return str_eq(g->values[1], *(const struct str *)arg);
}

static void each_tag_counts_a_request(void **state)
{
    (void)state;
    struct log_ref by[2] = {log_ref_of(LOG_model)};
    struct rollup r;
    struct logline l;
    assert_true(log_ref_parse(&by[1], STR("tag"), NULL));
    rollup_init(&r);
    const struct rollup_view *v = rollup_add_view_by(&r, by, 2, 0, 0);
    for (size_t i = 0; i < COUNT(lines); i++) {
        read_line(&l, lines[i]);
        rollup_take(&r, &l, log_event_of(&l));
    }
    assert_int_equal(r.matched, 4);
    assert_int_equal(v->group_count, 4);
    assert_int_equal(requests_of(v, "a", "x"), 1);
    assert_int_equal(requests_of(v, "a", "y"), 1);
    assert_int_equal(requests_of(v, "b", "x"), 1);
    assert_int_equal(requests_of(v, "b", NULL), 2);
    struct str x = STR("x");
    struct rollup_group *sum = rollup_sum(v, is_of_x, &x);
    assert_int_equal(sum->counts[ROLLUP_REQUESTS], 2);
    assert_int_equal(sum->counts[ROLLUP_FAILURE], 1);
    rollup_group_free(sum);
    rollup_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found),
        cmocka_unit_test(elements_are_found),
        cmocka_unit_test(texts_of_a_line),
        cmocka_unit_test(times_and_bodies_make_no_groups),
        cmocka_unit_test(each_tag_counts_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
