/* test_varint.c -- numbers as bytes and back, and bytes that are no numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/varint.h"

static void there_and_back(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        size_t bytes;
    } cases[] = {{0, 1},          {1, 1},         {127, 1},
                 {128, 2},        {16383, 2},     {16384, 3},
                 {UINT32_MAX, 5}, {INT64_MAX, 9}, {UINT64_C(1) << 63, 10},
                 {UINT64_MAX, 10}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf b;
        uint64_t value = 7;
        buf_init(&b, 0, NULL);
        assert_true(varint_put(&b, cases[i].value));
        assert_int_equal(buf_used(&b), cases[i].bytes);
        struct str all = buf_str(&b), cut = {all.p, all.n - 1};
        assert_false(varint_get(&cut, &value));
        assert_int_equal(value, 7);
        assert_true(varint_get(&all, &value));
        assert_true(value == cases[i].value);
        assert_int_equal(all.n, 0);
        buf_fini(&b);
    }
}

static void more_than_64_bits(void **state)
{
    (void)state;
    uint64_t value = 7;
    struct str eleven = STR("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
               wide = STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
    assert_false(varint_get(&eleven, &value));
    assert_false(varint_get(&wide, &value));
    assert_int_equal(eleven.n, 11); /* nothing was taken */
    assert_int_equal(value, 7);
}

static void texts(void **state)
{
    (void)state;
    struct buf b;
    struct str text;
    buf_init(&b, 0, NULL);
    assert_true(varint_put_str(&b, STR("a\0b")) && varint_put_str(&b, STR("")));
    struct str all = buf_str(&b), cut = {all.p, 3};
    assert_false(varint_get_str(&cut, &text));
    assert_true(varint_get_str(&all, &text));
    assert_int_equal(text.n, 3);
    assert_memory_equal(text.p, "a\0b", 3);
    assert_true(varint_get_str(&all, &text));
    assert_int_equal(text.n, 0);
    assert_int_equal(all.n, 0);
    struct str huge = STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"); /* as long as can be said */
    assert_false(varint_get_str(&huge, &text));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(more_than_64_bits),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
