/* test_hdr.c -- the histogram against exact values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/mem.h"
#include "base/rand.h"
#include "measure/hdr.h"

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Heavy-tailed over nine decades. */
static uint64_t draw(struct rng *r)
{
    return (uint64_t)exp(rng_unit(r) * 21.0);
}

static void quantiles_are_within_their_bound(void **state)
{
    (void)state;
    enum { N = 200000 };
    static const double quantiles[] = {0, 0.001, 0.05, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
    uint64_t *values = mem_alloc(N * sizeof *values);
    struct hdr h = {0}, parts[2] = {{0}, {0}};
    struct rng r;
    rng_seed(&r, 7);
    for (int i = 0; i < N; i++) {
        values[i] = draw(&r);
        hdr_add(&h, values[i]);
        hdr_add(&parts[i % 3 == 0], values[i]);
    }
    hdr_merge(&parts[0], &parts[1]);
    qsort(values, N, sizeof *values, compare);
    for (size_t i = 0; i < COUNT(quantiles); i++) {
        double exact = (double)values[nearest_rank(N, quantiles[i]) - 1];
        double got = (double)hdr_quantile(&h, quantiles[i]);
        assert_true(fabs(got - exact) <= 0.0005 * exact);
        assert_int_equal(hdr_quantile(&h, quantiles[i]), hdr_quantile(&parts[0], quantiles[i]));
    }
    assert_int_equal(h.min, values[0]);
    assert_int_equal(h.max, values[N - 1]);
    hdr_fini(&h);
    hdr_fini(&parts[0]);
    hdr_fini(&parts[1]);
    mem_free(values);
}

static void every_value_is_in_its_bucket(void **state)
{
    (void)state;
    uint64_t expected_low = 0;
    for (unsigned o = 0; o < HDR_OCTAVES; o++) {
        for (unsigned s = 0; s < HDR_SUBS; s++) {
            uint64_t low = hdr_low(o, s), high = hdr_high(o, s);
            assert_int_equal(low, expected_low); /* no gap, no overlap */
            assert_int_equal(hdr_octave_of(low), o);
            assert_int_equal(hdr_sub_of(o, low), s);
            assert_int_equal(hdr_octave_of(high), o);
            assert_int_equal(hdr_sub_of(o, high), s);
            expected_low = high + 1;
        }
    }
    assert_true(expected_low == UINT64_C(1) << 43);
    assert_int_equal(hdr_octave_of(UINT64_MAX), HDR_OCTAVES - 1);
    assert_int_equal(hdr_sub_of(HDR_OCTAVES - 1, UINT64_MAX), HDR_SUBS - 1);
}

static void moments_and_ranges(void **state)
{
    (void)state;
    struct hdr h = {0};
    assert_true(isnan(hdr_mean(&h)) && isnan(hdr_stddev(&h)));
    assert_int_equal(hdr_quantile(&h, 0.5), 0);
    assert_int_equal(hdr_between(&h, 0, UINT64_MAX), 0);
    for (uint64_t v = 1; v <= 5; v++)
        hdr_add(&h, v * 100);
    assert_true(fabs(hdr_mean(&h) - 300) < 1e-9);
    assert_true(fabs(hdr_stddev(&h) - 158.11388300841898) < 1e-9);
    assert_int_equal(hdr_between(&h, 0, 100), 0);
    assert_int_equal(hdr_between(&h, 100, 101), 1);
    assert_int_equal(hdr_between(&h, 100, 500), 4);
    assert_int_equal(hdr_between(&h, 0, UINT64_MAX), 5);
    hdr_add(&h, UINT64_MAX); /* beyond what it covers: counted in the last bucket, named exactly */
    assert_true(h.max == UINT64_MAX && hdr_quantile(&h, 1) == UINT64_MAX);
    assert_int_equal(h.octaves[HDR_OCTAVES - 1][HDR_SUBS - 1], 1);
    hdr_fini(&h);
}

static void ranks_are_not_moved_by_rounding(void **state)
{
    (void)state;
    assert_int_equal(nearest_rank(100, 0.07), 7); /* 0.07 * 100 is a little more than 7 */
    assert_int_equal(nearest_rank(100, 0.99), 99);
    assert_int_equal(nearest_rank(1000000, 0.999), 999000);
    assert_int_equal(nearest_rank(3, 0.5), 2);
    assert_int_equal(nearest_rank(10, 0), 1);
    assert_int_equal(nearest_rank(10, 1), 10);
    assert_int_equal(nearest_rank(0, 0.5), 0);
}

/* ---- HdrHistogram's formats: tests/vectors/hdr was made by HdrHistogram 2.2.2 (Java); its first line is the payload, the rest the text ---- */

static struct buf read_vector(const char *name, struct str *payload, struct str *text)
{
    char path[256];
    struct buf b = {0};
    snprintf(path, sizeof path, "tests/vectors/hdr/%s.txt", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *room = buf_room(&b, 65536);
    buf_wrote(&b, fread(room, 1, 65536, f));
    fclose(f);
    *text = buf_str(&b);
    *payload = str_cut(text, '\n');
    return b;
}

static void assert_text(const struct hdr *h, struct str expected)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    hdr_write_text(h, f, 1e6);
    fclose(f);
    assert_int_equal(size, expected.n);
    assert_memory_equal(text, expected.p, size);
    free(text);
}

static void assert_same_counts(const struct hdr *a, const struct hdr *b)
{
    static const uint64_t none[HDR_SUBS];
    assert_int_equal(a->count, b->count);
    for (unsigned o = 0; o < HDR_OCTAVES; o++)
        assert_memory_equal(a->octaves[o] ? a->octaves[o] : none,
                            b->octaves[o] ? b->octaves[o] : none, sizeof none);
}

static uint64_t vector_value(uint64_t i)
{
    return i * i * i * 7919 % 1000000000 * (i % 7 + 1);
}

static void reads_and_writes_what_hdrhistogram_does(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int count;
    } vectors[] = {{"decades", 5000}, {"one", 1}, {"empty", 0}};
    for (size_t v = 0; v < COUNT(vectors); v++) {
        struct hdr ours = {0}, theirs = {0}, again = {0};
        struct str payload, text;
        struct err e = {0};
        struct buf file = read_vector(vectors[v].name, &payload, &text), encoded = {0};
        for (int i = 0; i < vectors[v].count; i++)
            hdr_add(&ours, vectors[v].count == 1 ? 1234567 : vector_value((uint64_t)i));
        assert_text(&ours, text);
        assert_true(hdr_decode(&theirs, payload, &e));
        assert_same_counts(&ours, &theirs);
        assert_text(&theirs, text);
        assert_true(hdr_encode(&ours, &encoded));
        assert_true(hdr_decode(&again, buf_str(&encoded), &e));
        assert_same_counts(&ours, &again);
        hdr_fini(&ours);
        hdr_fini(&theirs);
        hdr_fini(&again);
        buf_fini(&encoded);
        buf_fini(&file);
    }
}

static void reads_other_buckets(void **state)
{
    (void)state;
    struct hdr ours = {0}, theirs = {0};
    struct str payload, text;
    struct err e = {0};
    struct buf file = read_vector("two-digits", &payload, &text);
    for (uint64_t i = 0; i < 5000; i++)
        hdr_add(&ours, vector_value(i));
    assert_true(hdr_decode(&theirs, payload, &e));
    assert_int_equal(theirs.count, 5000);
    for (double q = 0.05; q < 1; q += 0.05) {
        double a = (double)hdr_quantile(&ours, q), b = (double)hdr_quantile(&theirs, q);
        assert_true(fabs(a - b) <= 0.01 * a + 1000); /* two digits, at least 1,000 ns */
    }
    hdr_fini(&ours);
    hdr_fini(&theirs);
    buf_fini(&file);
}

/* ---- what a stranger may send ---- */

struct forged {
    uint32_t outer, inner, digits, shift;
    uint64_t lowest, highest;
    double ratio;
    int says; /* this much more than there is */
};
static const struct forged honest = {.outer = 0x1c849314,
                                     .inner = 0x1c849313,
                                     .digits = 3,
                                     .lowest = 1,
                                     .highest = 1u << 30,
                                     .ratio = 1};

static void be(char *to, uint64_t v, int n)
{
    for (; n > 0; v >>= 8)
        to[--n] = (char)v;
}

static void base64(const unsigned char *p, size_t n, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | p[i];
        for (have += 8; have >= 6; have -= 6)
            assert_true(buf_append(out, &digits[bits >> (have - 6) & 63], 1));
    }
    if (have)
        assert_true(buf_append(out, &digits[bits << (6 - have) & 63], 1));
}

static struct buf forge(struct forged f, const void *counts, size_t n)
{
    size_t size = 40 + n;
    uLongf packed = compressBound(size);
    char *plain = mem_alloc(size), *out = mem_alloc(packed + 8);
    uint64_t ratio;
    struct buf text = {0};
    memcpy(&ratio, &f.ratio, sizeof ratio);
    be(plain, f.inner, 4);
    be(plain + 4, n + (uint64_t)f.says, 4);
    be(plain + 8, f.shift, 4);
    be(plain + 12, f.digits, 4);
    be(plain + 16, f.lowest, 8);
    be(plain + 24, f.highest, 8);
    be(plain + 32, ratio, 8);
    memcpy(plain + 40, counts, n);
    assert_int_equal(compress((Bytef *)out + 8, &packed, (Bytef *)plain, size), Z_OK);
    be(out, f.outer, 4);
    be(out + 4, packed, 4);
    base64((unsigned char *)out, packed + 8, &text);
    mem_free(plain);
    mem_free(out);
    return text;
}

static void assert_refused(struct str text, const char *sentence)
{
    struct hdr h = {0};
    struct err e = {0};
    hdr_add(&h, 7);
    assert_false(hdr_decode(&h, text, &e));
    if (!strstr(e.text, sentence))
        fail_msg("expected \"%s\" in \"%s\"", sentence, e.text);
    assert_int_equal(h.count, 1); /* as it was */
    hdr_fini(&h);
}

static void assert_forged_is_refused(struct forged f, const void *counts, size_t n,
                                     const char *sentence)
{
    struct buf text = forge(f, counts, n);
    assert_refused(buf_str(&text), sentence);
    buf_fini(&text);
}

#define WITH(...)                                                                                  \
    ({                                                                                             \
        struct forged f = honest;                                                                  \
        __VA_ARGS__;                                                                               \
        f;                                                                                         \
    })

static void refuses_what_is_not_one(void **state)
{
    (void)state;
    const char ten[] = {20}; /* ZigZag: 10 */
    struct hdr h = {0};
    struct err e = {0};
    struct buf good = forge(honest, ten, 1);
    assert_true(hdr_decode(&h, buf_str(&good), &e)); /* the forger can also be honest */
    assert_int_equal(h.count, 10);
    hdr_fini(&h);
    assert_refused(STR(""), "its cookie is 0x00000000");
    assert_refused(STR("HIST"), "expected an HdrHistogram V2 payload");
    assert_refused(STR("HIST!AAA"), "character 5 is none of base64's");
    struct str cut = buf_str(&good);
    cut.n -= 4;
    assert_refused(cut, "it is cut or damaged");
    good.data[20] ^= 1;
    assert_refused(buf_str(&good), "");
    assert_forged_is_refused(WITH(f.outer = 0x1c849302), ten, 1, "expected V2");
    assert_forged_is_refused(WITH(f.outer = 0x1c849377), ten, 1, "its cookie is 0x1c849377");
    assert_forged_is_refused(WITH(f.inner = 0x1c849301), ten, 1, "within, the cookie is");
    assert_forged_is_refused(WITH(f.digits = 6), ten, 1, "it has 6 digits");
    assert_forged_is_refused(WITH(f.digits = UINT32_MAX), ten, 1, "digits");
    assert_forged_is_refused(WITH(f.lowest = 0), ten, 1, "range is 0");
    assert_forged_is_refused(WITH(f.lowest = UINT64_MAX), ten, 1, "range is");
    assert_forged_is_refused(WITH(f.lowest = 1u << 30), ten, 1, "range is");
    assert_forged_is_refused(WITH(f.highest = UINT64_MAX), ten, 1, "range is");
    assert_forged_is_refused(WITH(f.lowest = 1ull << 60; f.highest = INT64_MAX), ten, 1,
                             "lowest value is");
    assert_forged_is_refused(WITH(f.shift = 1), ten, 1, "whole numbers");
    assert_forged_is_refused(WITH(f.ratio = 0.5), ten, 1, "whole numbers");
    assert_forged_is_refused(WITH(f.ratio = NAN), ten, 1, "whole numbers");
    assert_forged_is_refused(WITH(f.says = 1), ten, 1, "ends too early");
    assert_forged_is_refused(WITH(f.says = -1), ten, 1, "longer than it says");
    buf_fini(&good);
}

static void refuses_bad_counts_and_bombs(void **state)
{
    (void)state;
    enum { BOMB = 64 << 20 };
    static const unsigned char most_negative[] = {0xff, 0xff, 0xff, 0xff, 0xff,
                                                  0xff, 0xff, 0xff, 0xff};
    static const unsigned char half[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                         0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80};
    static const unsigned char unended[] = {0x80, 0x80};
    assert_forged_is_refused(honest, most_negative, sizeof most_negative, "beyond its highest");
    assert_forged_is_refused(honest, half, sizeof half, "more than 2^62"); /* 2^62, twice */
    assert_forged_is_refused(honest, unended, sizeof unended, "ends too early");
    char *zeros = mem_alloc(BOMB); /* 64 KiB packed; each byte is an empty bucket */
    assert_forged_is_refused(honest, zeros, BOMB, "beyond its highest");
    assert_forged_is_refused(WITH(f.digits = 5; f.highest = INT64_MAX), zeros, BOMB,
                             "beyond its highest");
    mem_free(zeros);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_within_their_bound),
        cmocka_unit_test(every_value_is_in_its_bucket),
        cmocka_unit_test(moments_and_ranges),
        cmocka_unit_test(ranks_are_not_moved_by_rounding),
        cmocka_unit_test(reads_and_writes_what_hdrhistogram_does),
        cmocka_unit_test(reads_other_buckets),
        cmocka_unit_test(refuses_what_is_not_one),
        cmocka_unit_test(refuses_bad_counts_and_bombs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
