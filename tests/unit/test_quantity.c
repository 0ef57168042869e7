/* Numbers with units, and the tokens of --where and --fail-if, with the place that a mistake is shown at. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/quantity.h"
#include "base/tokens.h"

static void reads_numbers_with_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum quantity kind;
        double value;
    } good[] = {
        {"12", QUANTITY_NUMBER, 12},     {"-1.5", QUANTITY_NUMBER, -1.5},
        {"10k", QUANTITY_NUMBER, 10000}, {"10K", QUANTITY_NUMBER, 10000},
        {"1.1k", QUANTITY_NUMBER, 1100}, {"2.5M", QUANTITY_NUMBER, 2500000},
        {"1G", QUANTITY_NUMBER, 1e9},    {"7%", QUANTITY_NUMBER, 0.07},
        {"1e3", QUANTITY_NUMBER, 1000},  {"2000", QUANTITY_MS, 2000},
        {"1.001", QUANTITY_MS, 1.001},   {"2s", QUANTITY_MS, 2000},
        {"250ms", QUANTITY_MS, 250},     {"1m30s", QUANTITY_MS, 90000},
        {"500us", QUANTITY_MS, 0.5},     {"0", QUANTITY_MS, 0},
        {"$0.01", QUANTITY_USD, 0.01},   {"0.01", QUANTITY_USD, 0.01},
        {"$2k", QUANTITY_USD, 2000},     {"5%", QUANTITY_SHARE, 0.05},
        {"0.1%", QUANTITY_SHARE, 0.001}, {"0.05", QUANTITY_SHARE, 0.05},
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        struct err e = {0};
        double value = -1;
        if (!quantity_parse(str_from(good[i].text), good[i].kind, &value, &e))
            fail_msg("%s: %s", good[i].text, e.text);
        if (value != good[i].value)
            fail_msg("%s is %.17g", good[i].text, value);
    }
}

static void refuses_what_is_no_number(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum quantity kind;
    } bad[] = {
        {"", QUANTITY_NUMBER},      {"k", QUANTITY_NUMBER},        {"10m", QUANTITY_NUMBER},
        {"10kk", QUANTITY_NUMBER},  {"1e3k", QUANTITY_NUMBER},     {"1.k", QUANTITY_NUMBER},
        {"nan", QUANTITY_NUMBER},   {"inf", QUANTITY_NUMBER},      {"0x10", QUANTITY_NUMBER},
        {"$1", QUANTITY_NUMBER},    {"2 fortnights", QUANTITY_MS}, {"s", QUANTITY_MS},
        {"$", QUANTITY_USD},        {"%", QUANTITY_SHARE},         {"1e999", QUANTITY_NUMBER},
        {"1,000", QUANTITY_NUMBER},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct err e = {0};
        double value = -1;
        if (quantity_parse(str_from(bad[i].text), bad[i].kind, &value, &e))
            fail_msg("\"%s\" was taken as %g", bad[i].text, value);
        assert_true(value == -1);
        assert_non_null(strstr(e.text, "expected a"));
    }
}

static void cuts_tokens(void **state)
{
    (void)state;
    static const struct {
        enum token_kind kind;
        const char *text;
    } want[] = {
        {TOKEN_WORD, "a.b"},   {TOKEN_SIGN, ">="}, {TOKEN_WORD, "-1"},       {TOKEN_SIGN, "&&"},
        {TOKEN_SIGN, "!"},     {TOKEN_SIGN, "("},  {TOKEN_WORD, "b*"},       {TOKEN_SIGN, "!~"},
        {TOKEN_TEXT, "x \"y"}, {TOKEN_SIGN, ")"},  {TOKEN_SIGN, "&"},        {TOKEN_TEXT, ""},
        {TOKEN_SIGN, "=="},    {TOKEN_SIGN, "="},  {TOKEN_UNCLOSED, "rest"}, {TOKEN_END, ""},
    };
    struct tokens t;
    tokens_init(&t, STR("a.b>=-1&&!(b*!~'x \"y')&\"\" === 'rest"));
    for (size_t i = 0; i < COUNT(want); i++, tokens_next(&t)) {
        assert_int_equal(t.now.kind, want[i].kind);
        assert_true(str_eq(t.now.text, str_from(want[i].text)));
    }
    assert_int_equal(t.now.kind, TOKEN_END);
}

static void shows_the_place_of_a_mistake(void **state)
{
    (void)state;
    struct tokens t;
    struct err e = {0};
    tokens_init(&t, STR("gr\xC3\xBCn x\x1b[2J"));
    tokens_next(&t);
    assert_false(tokens_fail(&t, &e, "expected %s", "y"));
    assert_string_equal(e.text, "column 6: expected y\n  gr\xC3\xBCn x?[2J\n       ^");
}

static void a_long_line_is_shown_around_the_mistake(void **state)
{
    (void)state;
    char text[2001];
    struct tokens t;
    struct err e = {0};
    memset(text, 'a', sizeof text - 1);
    memcpy(text + 1000, " bad ", 5);
    text[sizeof text - 1] = '\0';
    tokens_init(&t, str_from(text));
    tokens_next(&t);
    assert_false(tokens_fail(&t, &e, "no"));
    assert_non_null(strstr(e.text, "column 1002: no\n  aaaa"));
    const char *caret = strchr(e.text, '^'), *line = strchr(e.text, '\n') + 1;
    const char *second = strchr(line, '\n') + 1;
    assert_memory_equal(line + (caret - second), "bad ", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_numbers_with_units),
        cmocka_unit_test(refuses_what_is_no_number),
        cmocka_unit_test(cuts_tokens),
        cmocka_unit_test(shows_the_place_of_a_mistake),
        cmocka_unit_test(a_long_line_is_shown_around_the_mistake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
