/* json_text.h -- what JSON strings are made of, shared by the scanner and the writer: runs of
 * plain bytes, and UTF-8.
 *
 * A byte is plain when it stands for itself in a JSON string and is a whole character: ASCII
 * from space on, without '"' and '\'. Most bytes of most bodies are, so runs of them are found
 * 64 at a time, as a mask made with SSE2 (part of every x86-64) or with 8-byte words
 * (elsewhere). Both see the same; tests/unit/test_json.c holds them together. */
#pragma once

#include "base/str.h"

#include <endian.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline bool json_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Eight bytes, the first one lowest: the high bit of each that is not plain. With the high bits aside nothing carries
 * from byte to byte: adding sets the high bit of each byte that is not 0, or that is at least space. */
static inline uint64_t json_odd_8(const char *p)
{
    const uint64_t ones = UINT64_MAX / 255, highs = ones * 0x80, lows = ~highs;
    uint64_t v;
    memcpy(&v, p, sizeof v);
    v = le64toh(v);
    uint64_t low7 = v & lows, quote = low7 ^ (ones * '"'), slash = low7 ^ (ones * '\\');
    uint64_t plain = (quote + lows) & (slash + lows) & (low7 + ones * (0x80 - 0x20)) & ~v;
    return ~plain & highs;
}

/* One bit for each of the 64 bytes at p: set where it is not plain. Eight bytes a step. */
static inline uint64_t json_odd_64_swar(const char *p)
{
    uint64_t odd = 0;
    for (unsigned i = 0; i < 64;
         i += 8) /* gathers eight high bits in the top byte, the lowest byte's lowest */
        odd |= (json_odd_8(p + i) >> 7) * UINT64_C(0x0102040810204080) >> 56 << i;
    return odd;
}

#ifdef __SSE2__
/* 16 bytes. As signed bytes, control and non-ASCII bytes are those below space. */
static inline unsigned json_odd_16(const char *p)
{
    const __m128i space = _mm_set1_epi8(' '), quote = _mm_set1_epi8('"'),
                  slash = _mm_set1_epi8('\\');
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i other = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_cmplt_epi8(v, space), other));
}

static inline uint64_t json_odd_64_sse2(const char *p)
{
    uint64_t odd = 0;
    for (unsigned i = 0; i < 64; i += 16)
        odd |= (uint64_t)json_odd_16(p + i) << i;
    return odd;
}
#define json_odd_64 json_odd_64_sse2
#else
static inline unsigned json_odd_16(const char *p) /* which bytes is not said: 0, or not */
{
    return (json_odd_8(p) | json_odd_8(p + 8)) != 0;
}
#define json_odd_64 json_odd_64_swar
#endif

/* Crosses whole 64-byte blocks that are all plain; returns where they end. For what is long: a prompt of 100 KB is one string.
 * AVX2 where the machine has it, which is asked once; elsewhere nothing is crossed, and the caller's own loop does it. */
#ifdef __x86_64__
#include <immintrin.h>

static inline __attribute__((target("avx2"))) __m256i json_odd_32_avx2(const char *p)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i low = _mm256_cmpgt_epi8(_mm256_set1_epi8(' '), v);
    __m256i quote = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('"'));
    __m256i slash = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'));
    return _mm256_or_si256(low, _mm256_or_si256(quote, slash));
}

static __attribute__((target("avx2"), noinline)) const char *json_plain_blocks_avx2(const char *p,
                                                                                    const char *end)
{
    for (; end - p >= 64; p += 64) {
        __m256i odd = _mm256_or_si256(json_odd_32_avx2(p), json_odd_32_avx2(p + 32));
        if (!_mm256_testz_si256(odd, odd))
            break;
    }
    return p;
}

static inline const char *json_plain_blocks(const char *p, const char *end)
{
    return __builtin_cpu_supports("avx2") ? json_plain_blocks_avx2(p, end) : p;
}
#else
static inline const char *json_plain_blocks(const char *p, const char *end)
{
    (void)end;
    return p;
}
#endif

/* json_odd_64 for n < 64 bytes; bits past them are set. */
static __attribute__((noinline)) uint64_t json_odd_tail(const char *p, size_t n)
{
    char padded[64] = {0};
    memcpy(padded, p, n);
    return json_odd_64(padded);
}

static inline uint64_t json_odd_window(const char *p, const char *end)
{
    return LIKELY(end - p >= 64) ? json_odd_64(p) : json_odd_tail(p, (size_t)(end - p));
}

/* First byte in [p, end) that is not plain, or `end`. */
static inline const char *json_plain_end(const char *p, const char *end)
{
    for (; p < end; p += 64) {
        uint64_t odd = json_odd_window(p, end);
        if (odd)
            return p + __builtin_ctzll(odd);
    }
    return end;
}

/* A UTF-8 lead byte: how many bytes follow, and the range of the first of them (RFC 3629
 * section 4); later ones lie in 80..BF. The ranges shut out overlong forms, surrogates and what
 * lies above U+10FFFF. need 0: not a lead byte. */
struct utf8_lead {
    uint8_t need, min, max;
};

static inline struct utf8_lead utf8_lead(unsigned char c)
{
    if (c < 0xC2 || c > 0xF4)
        return (struct utf8_lead){0, 0, 0};
    if (c < 0xE0)
        return (struct utf8_lead){1, 0x80, 0xBF};
    if (c < 0xF0)
        return (struct utf8_lead){2, c == 0xE0 ? 0xA0 : 0x80, c == 0xED ? 0x9F : 0xBF};
    return (struct utf8_lead){3, c == 0xF0 ? 0x90 : 0x80, c == 0xF4 ? 0x8F : 0xBF};
}

static inline bool utf8_follows(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* Bytes of the whole, valid multi-byte character at p < end, or 0. */
static inline size_t utf8_char(const char *p, const char *end)
{
    struct utf8_lead lead = utf8_lead((unsigned char)*p);
    if (lead.need == 0 || end - p <= lead.need)
        return 0;
    unsigned char second = (unsigned char)p[1];
    if (second < lead.min || second > lead.max)
        return 0;
    if (lead.need == 2)
        return utf8_follows(p[2]) ? 3 : 0;
    if (lead.need == 3)
        return utf8_follows(p[2]) && utf8_follows(p[3]) ? 4 : 0;
    return 2;
}
