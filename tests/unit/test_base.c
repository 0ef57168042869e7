/* str, mem, buf, map, clock, rand, err: the small things everything stands on. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/digits.h"
#include "base/err.h"
#include "base/map.h"
#include "base/rand.h"

static void cuts_and_trims(void **state)
{
    (void)state;
    struct str rest = STR("a, b ,,c"), part;
    part = str_trim(str_cut(&rest, ','));
    assert_true(str_eq(part, STR("a")));
    part = str_trim(str_cut(&rest, ','));
    assert_true(str_eq(part, STR("b")));
    part = str_cut(&rest, ',');
    assert_int_equal(part.n, 0);
    part = str_cut(&rest, ',');
    assert_true(str_eq(part, STR("c")));
    assert_int_equal(rest.n, 0);
    assert_true(str_eq(str_skip(STR("hello"), 3), STR("lo")));
    assert_int_equal(str_skip(STR("hi"), 9).n, 0);
}

static void writes_digits(void **state)
{
    (void)state;
    static const uint64_t values[] = {0,
                                      1,
                                      9,
                                      10,
                                      11,
                                      99,
                                      100,
                                      101,
                                      999,
                                      1000,
                                      9999,
                                      10000,
                                      99999,
                                      12345,
                                      1u << 31,
                                      4294967295u,
                                      4294967296u,
                                      1000000000000,
                                      9999999999999999,
                                      UINT64_MAX - 1,
                                      UINT64_MAX};
    char got[64], want[64];
    for (size_t i = 0; i < COUNT(values); i++) {
        *digits_u64(got, values[i]) = 0;
        snprintf(want, sizeof want, "%llu", (unsigned long long)values[i]);
        assert_string_equal(got, want);
        assert_int_equal(digits_count(values[i]), strlen(want));
        *digits_hex(got, values[i]) = 0;
        snprintf(want, sizeof want, "%llx", (unsigned long long)values[i]);
        assert_string_equal(got, want);
        *digits_hex_fixed(got, values[i], 16) = 0;
        snprintf(want, sizeof want, "%016llx", (unsigned long long)values[i]);
        assert_string_equal(got, want);
        for (unsigned count = 1; count <= DIGITS_U64_MAX; count++) {
            *digits_fixed(got, values[i], count) = 0;
            int n = snprintf(want, sizeof want, "%020llu", (unsigned long long)values[i]);
            assert_string_equal(got, want + n - count); /* higher digits are left off */
        }
    }
}

static void reads_integers_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-1", true, -1},
        {"007", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"1x", false, 0},
        {" 1", false, 0},
        {"+1", false, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t value = 42;
        assert_int_equal(str_to_i64(str_from(cases[i].text), &value), cases[i].ok);
        assert_int_equal(value, cases[i].ok ? cases[i].value : 42);
    }
}

static void reads_decimals_strictly(void **state)
{
    (void)state;
    double value = 0;
    assert_true(str_to_f64(STR("1.286e-05"), &value));
    assert_true(value > 1.2859e-05 && value < 1.2861e-05);
    assert_false(str_to_f64(STR("nan"), &value));
    assert_false(str_to_f64(STR("0x10"), &value));
    assert_false(str_to_f64(STR("1e999"), &value));
    assert_false(str_to_f64(STR("1 "), &value));
}

static void globs(void **state)
{
    (void)state;
    assert_true(str_glob(STR("*"), STR("")));
    assert_true(str_glob(STR("openai/*"), STR("openai/gpt-4o")));
    assert_true(str_glob(STR("a*b*c"), STR("aXbYbZc")));
    assert_false(str_glob(STR("a*b*c"), STR("aXbYbZ")));
    assert_false(str_glob(STR("abc"), STR("abcd")));
}

static void measures_distance(void **state)
{
    (void)state;
    assert_int_equal(str_distance(STR("port"), STR("port")), 0);
    assert_int_equal(str_distance(STR("prot"), STR("port")), 1); /* transposed */
    assert_int_equal(str_distance(STR("kitten"), STR("sitting")), 3);
    assert_int_equal(str_distance(STR(""), STR("abc")), 3);
    assert_int_equal(str_distance(STR("aaaaaaaaaaaaaaaa"), STR("b")), 9);
}

static void compares_secrets(void **state)
{
    (void)state;
    assert_true(str_eq_secret(STR("sk-1234"), STR("sk-1234")));
    assert_false(str_eq_secret(STR("sk-1235"), STR("sk-1234")));
    assert_false(str_eq_secret(STR("sk-123"), STR("sk-1234")));
    assert_false(str_eq_secret(STR("sk-12345"), STR("sk-1234")));
    assert_false(str_eq_secret(STR_NONE, STR("sk-1234")));
}

static void arena_keeps_what_it_gave(void **state)
{
    (void)state;
    char first[128];
    struct arena a;
    char *pieces[200];
    arena_init(&a, first, sizeof first);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 200; i++) {
            size_t n = (size_t)(1 + i * 37 % 5000);
            pieces[i] = arena_alloc(&a, n);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            memset(pieces[i], i, n);
        }
        for (int i = 0; i < 200; i++) {
            size_t n = (size_t)(1 + i * 37 % 5000);
            assert_int_equal((unsigned char)pieces[i][0], i);
            assert_int_equal((unsigned char)pieces[i][n - 1], i);
        }
        arena_reset(&a);
    }
    assert_string_equal(arena_printf(&a, "%d-%s", 7, "x").p, "7-x");
    arena_fini(&a);
}

static void buf_stops_at_its_cap(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000, NULL);
    for (int i = 0; i < 100; i++)
        assert_true(buf_append(&b, "0123456789", 10));
    assert_false(buf_append(&b, "x", 1));
    assert_int_equal(buf_used(&b), 1000);
    buf_consume(&b, 600);
    assert_true(buf_append(&b, "0123456789", 10)); /* room at the front was found */
    assert_int_equal(buf_used(&b), 410);
    assert_memory_equal(buf_str(&b).p + 400, "0123456789", 10);
    assert_null(buf_room(&b, SIZE_MAX / 2));
    buf_fini(&b);
}

static void buf_gives_blocks_back(void **state)
{
    (void)state;
    struct pool blocks;
    struct buf b;
    pool_init(&blocks, BUF_BLOCK_BYTES, 4, "test");
    buf_init(&b, 0, &blocks);
    assert_true(buf_append(&b, "hello", 5));
    assert_int_equal(blocks.in_use, 1);
    buf_consume(&b, 5);
    assert_int_equal(blocks.in_use, 0);
    assert_null(b.data);
    static char big[3 * BUF_BLOCK_BYTES];
    memset(big, 'y', sizeof big);
    assert_true(buf_append(&b, "head", 4));
    assert_true(buf_append(&b, big, sizeof big)); /* grows out of the pool's block */
    assert_int_equal(blocks.in_use, 0);
    assert_int_equal(buf_used(&b), sizeof big + 4);
    assert_memory_equal(buf_str(&b).p, "heady", 5);
    buf_fini(&b);
    pool_trim(&blocks);
}

static void map_finds_what_was_put(void **state)
{
    (void)state;
    struct map m;
    static char keys[1000][16];
    static int values[1000];
    map_init(&m);
    assert_null(map_get(&m, STR("nothing")));
    for (int i = 0; i < 1000; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        assert_null(map_put(&m, str_from(keys[i]), &values[i]));
    }
    for (int i = 0; i < 1000; i++)
        assert_ptr_equal(map_get(&m, str_from(keys[i])), &values[i]);
    assert_ptr_equal(map_put(&m, STR("k5"), &values[6]), &values[5]);
    assert_ptr_equal(map_get(&m, STR("k5")), &values[6]);
    assert_int_equal(m.count, 1000);
    map_fini(&m);
}

static void writes_rfc3339(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {1795484940123456, "2026-11-24T01:49:00.123Z"},
        {951827696999999, "2000-02-29T12:34:56.999Z"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[CLOCK_RFC3339_BYTES + 1] = "";
        clock_rfc3339(cases[i].us, out);
        assert_string_equal(out, cases[i].text);
    }
}

static void makes_uuids(void **state)
{
    (void)state;
    struct rng r;
    char a[37] = "", b[37] = "";
    rng_seed(&r, 0);
    rng_uuid(&r, a);
    rng_uuid(&r, b);
    assert_string_not_equal(a, b);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    for (int i = 0; i < 36; i++)
        assert_non_null(
            strchr(i == 8 || i == 13 || i == 18 || i == 23 ? "-" : "0123456789abcdef", a[i]));
}

static void keeps_the_first_error(void **state)
{
    (void)state;
    struct err e = {0};
    char text[200];
    assert_false(err_at(&e, "f.yaml", 3, 7, "expected %d", 5));
    assert_false(err_set(&e, "later"));
    err_format(&e, text, sizeof text);
    assert_string_equal(text, "f.yaml:3:7: expected 5");
    assert_string_equal(error_info(ERR_UPSTREAM_TIMEOUT)->name, "upstream_timeout");
    assert_false(err_set(NULL, "nobody listens"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_and_trims),
        cmocka_unit_test(writes_digits),
        cmocka_unit_test(reads_integers_exactly),
        cmocka_unit_test(reads_decimals_strictly),
        cmocka_unit_test(globs),
        cmocka_unit_test(measures_distance),
        cmocka_unit_test(compares_secrets),
        cmocka_unit_test(arena_keeps_what_it_gave),
        cmocka_unit_test(buf_stops_at_its_cap),
        cmocka_unit_test(buf_gives_blocks_back),
        cmocka_unit_test(map_finds_what_was_put),
        cmocka_unit_test(writes_rfc3339),
        cmocka_unit_test(makes_uuids),
        cmocka_unit_test(keeps_the_first_error),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
