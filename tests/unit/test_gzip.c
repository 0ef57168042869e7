#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <zlib.h>

#include "http/gzip.h"

/* Packed in pieces of `piece` bytes, and unpacked by zlib, which also checks the sum and the length. Returns the packed size. */
static size_t round_trip(const char *text, size_t n, size_t piece)
{
    struct buf packed;
    struct gzip *g = gzip_begin();
    buf_init(&packed, 0, NULL);
    for (size_t at = 0; at < n; at += piece)
        assert_true(gzip_add(g, (struct str){text + at, MIN(piece, n - at)}, false, &packed));
    assert_true(gzip_add(g, STR_NONE, true, &packed));
    gzip_free(g);
    char *out = mem_alloc(n + 1);
    z_stream z = {.next_in = (Bytef *)packed.data + packed.at,
                  .avail_in = (uInt)buf_used(&packed),
                  .next_out = (Bytef *)out,
                  .avail_out = (uInt)n + 1};
    assert_int_equal(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, n);
    assert_int_equal(z.avail_in, 0);
    if (n)
        assert_memory_equal(out, text, n);
    inflateEnd(&z);
    mem_free(out);
    size_t bytes = buf_used(&packed);
    buf_fini(&packed);
    return bytes;
}

static uint64_t random_state = 88172645463325252u;
static uint32_t some(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % below;
}

static void short_texts(void **state)
{
    (void)state;
    static const char text[] = "abcabcabcabcabcabcabcd\0\xff\x90\x8f";
    for (size_t n = 0; n < sizeof text; n++)
        for (size_t piece = 1; piece < 9; piece++)
            round_trip(text, n, piece);
}

/* Every length of a match, and the ends of the codes' ranges of distances. */
static void all_lengths_and_distances(void **state)
{
    (void)state;
    static char text[70000];
    for (size_t length = 1; length < 1100; length++) {
        memset(text, 'x', sizeof text);
        for (size_t i = 0; i < 40; i++)
            text[i] = (char)('a' + some(26));
        memset(text + 40, 'y', length);
        text[40 + length] = 'z';
        memset(text + 41 + length, 'y', length);
        round_trip(text, 42 + 2 * length, sizeof text);
    }
    for (uint32_t distance = 4; distance <= 33000; distance += distance < 40 ? 1 : distance / 9) {
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)some(256);
        for (size_t i = 0; i < 20; i++) /* a match may overlap itself */
            text[distance + i] = text[i];
        memcpy(text + distance + 32768, text + distance, 20);
        round_trip(text, distance + 32768 + 20, sizeof text);
        round_trip(text, distance + 32768 + 20, 5000);
    }
}

static void random_texts(void **state)
{
    (void)state;
    static char text[30000];
    for (int round = 0; round < 300; round++) {
        size_t n = some(sizeof text);
        uint32_t letters = 1 + some(256), repeats = some(20);
        for (size_t i = 0; i < n; i++)
            text[i] = (char)some(letters);
        for (uint32_t r = 0; r < repeats && n > 1000; r++) {
            uint32_t length = some(500), from = some((uint32_t)n - 500),
                     to = some((uint32_t)n - 500);
            memmove(text + to, text + from, length);
        }
        (void)round_trip(text, n, 1 + some(20000));
        assert_true(round_trip(text, n, n + 1) <=
                    n + n / 8 + 32); /* random bytes grow no further */
    }
}

/* What it is for: lines that begin as the line before. */
static void lines_shrink(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 0, NULL);
    for (int i = 0; i < 20000; i++)
        assert_true(buf_printf(&text,
                               "some_latency_metric_bucket{model=\"model-%03d\",provider="
                               "\"openai\",key=\"None\",team=\"None\",le=\"%d.5\"} %u\n",
                               i / 20, i % 20, some(1000)));
    size_t n = buf_used(&text);
    assert_true(round_trip(text.data, n, 262144) < n / 8);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_texts),
        cmocka_unit_test(all_lengths_and_distances),
        cmocka_unit_test(random_texts),
        cmocka_unit_test(lines_shrink),
    };
    return cmocka_run_group_tests_name("gzip", tests, NULL, NULL);
}
