/* Values by key: which texts are one key, what happens past the cap, and keys from lines. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "log_lines.h"
#include "observe/groups.h"

static uint64_t *count_of(struct groups *g, const char *a, const char *b)
{
    const struct str values[] = {str_from(a), str_from(b)};
    return groups_get(g, values)->value;
}

static void keys_are_their_texts(void **state)
{
    (void)state;
    struct groups g;
    groups_init(&g, 2, sizeof(uint64_t), 100);
    *count_of(&g, "a", "bc") += 1;
    *count_of(&g, "ab", "c") += 10;
    *count_of(&g, "a", NULL) += 100;
    *count_of(&g, "a", "") += 1000;
    *count_of(&g, "a", "bc") += 1;
    assert_int_equal(g.count, 4);
    assert_int_equal(*count_of(&g, "a", "bc"), 2);
    assert_int_equal(*count_of(&g, "ab", "c"), 10);
    assert_int_equal(*count_of(&g, "a", NULL), 100);
    assert_int_equal(*count_of(&g, "a", ""), 1000);
    groups_fini(&g);
}

static void past_the_cap_they_share_one(void **state)
{
    (void)state;
    struct groups g;
    char name[16];
    groups_init(&g, 2, sizeof(uint64_t), 10);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%d", i);
        ++*count_of(&g, name, "x");
    }
    assert_true(g.full);
    assert_int_equal(g.count, 11);
    assert_int_equal(*count_of(&g, "other", "other"), 990);
    assert_int_equal(*count_of(&g, "3", "x"), 1);
    groups_fini(&g);
}

static void long_keys_are_cut(void **state)
{
    (void)state;
    static char a[2000], b[2000];
    struct groups g;
    groups_init(&g, 2, sizeof(uint64_t), 10);
    memset(a, 'a', sizeof a - 1);
    memset(b, 'a', sizeof b - 2);
    assert_ptr_equal(count_of(&g, a, "x"), count_of(&g, b, "x"));
    assert_int_equal(g.all[0]->values[0].n, GROUPS_KEY_BYTES);
    groups_fini(&g);
}

static void lines_are_decoded(void **state)
{
    (void)state;
    static const enum log_field fields[] = {LOG_model, LOG_provider};
    struct groups g;
    struct logline l;
    groups_init(&g, 2, sizeof(uint64_t), 10);
    line_read(&l, "{\"event\":\"request\",\"model\":\"\\u0061\\\"\",\"latency_ms\":1}");
    struct group *first = groups_of_line(&g, &l, fields);
    assert_true(str_eq(first->values[0], STR("a\"")));
    assert_null(first->values[1].p);
    line_read(&l, "{\"event\":\"request\",\"model\":\"a\\\"\",\"latency_ms\":1}");
    assert_ptr_equal(groups_of_line(&g, &l, fields), first);
    line_read(&l, "{\"event\":\"request\",\"model\":\"a\\\"\",\"provider\":\"p\"}");
    assert_ptr_not_equal(groups_of_line(&g, &l, fields), first);
    groups_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_their_texts),
        cmocka_unit_test(past_the_cap_they_share_one),
        cmocka_unit_test(long_keys_are_cut),
        cmocka_unit_test(lines_are_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
