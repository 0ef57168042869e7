/* log_tail.h -- the end of a line whose rest nobody wants to know. Private to logline.c.
 *
 * Looks for a newline, and on the way for what may be another key "status": `"status"` itself, and that with an escape by number in it. Two
 * neighbours are compared for each place: '"' with 's' behind it, and '\\' with 'u'; 16 or 32 places at once. What is found is looked at
 * closer: most of it is text of strings, or a key of an inner object. AVX2 where the machine has it, which is asked once. */
#pragma once

#include "observe/log_value.h"

/* Is `at` inside an inner object or list, or inside a string, of what begins at p, behind a value of the line's object? */
static bool is_inside(const char *p, const char *at)
{
    int depth = 0;
    bool escaped;
    while (p < at) {
        depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
        if (depth < 0 || (*p == '"' && !(p = string_end(p + 1, &escaped))))
            return false; /* no JSON: read it whole */
        p++;
    }
    return p > at || depth > 0;
}

/* The quote of the key that the escape at `at` may be part of: only if what stands between is a part of the word "status". Else NULL. */
static const char *key_of_escape(const char *at)
{
    if (!strchr("\"statu", at[-1]))
        return NULL;
    for (const char *quote = at - 1; quote > at - 7; quote--)
        if (*quote == '"')
            return memcmp(quote + 1, "status", (size_t)(at - quote - 1)) == 0 ? quote : NULL;
    return NULL;
}

/* `"s` at `at`. Behind '{' it is an inner object's key, behind a backslash text; and a key has a colon. */
static bool is_key(const char *at)
{
    return memcmp(at, "\"status\"", 8) == 0 && at[-1] != '{' && at[-1] != '\\' &&
           *skip_blanks(at + 8) == ':';
}

/* The tail begins at `tail`. */
static bool is_harmless(const char *tail, const char *at)
{
    const char *key = *at == '\\' ? key_of_escape(at) : is_key(at) ? at : NULL;
    return LIKELY(!key) || is_inside(tail, key);
}

/* Looks at the places p + i, one bit each. True: that is the end, or NULL, as tail_end returns it. */
static inline bool judge(const char *tail, const char *p, unsigned hits, const char **end)
{
    for (; hits; hits &= hits - 1) {
        const char *at = p + __builtin_ctz(hits);
        if (*at != '\n' && is_harmless(tail, at))
            continue;
        *end = *at == '\n' ? at : NULL;
        return true;
    }
    return false;
}

#ifdef __x86_64__
#include <immintrin.h>

static inline unsigned hits_16(const char *p)
{
    __m128i v = _mm_loadu_si128((const void *)p), next = _mm_loadu_si128((const void *)(p + 1));
    __m128i key = _mm_and_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                _mm_cmpeq_epi8(next, _mm_set1_epi8('s')));
    __m128i escape = _mm_and_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')),
                                   _mm_cmpeq_epi8(next, _mm_set1_epi8('u')));
    __m128i newline = _mm_cmpeq_epi8(v, _mm_set1_epi8('\n'));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(key, escape), newline));
}

static __attribute__((target("avx2"))) const char *tail_end_avx2(const char *tail)
{
    const char *p = tail, *end;
    for (;; p += 32) {
        __m256i v = _mm256_loadu_si256((const void *)p);
        __m256i next = _mm256_loadu_si256((const void *)(p + 1));
        __m256i key = _mm256_and_si256(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('"')),
                                       _mm256_cmpeq_epi8(next, _mm256_set1_epi8('s')));
        __m256i escape = _mm256_and_si256(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\')),
                                          _mm256_cmpeq_epi8(next, _mm256_set1_epi8('u')));
        __m256i newline = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\n'));
        __m256i hit = _mm256_or_si256(_mm256_or_si256(key, escape), newline);
        unsigned hits = (unsigned)_mm256_movemask_epi8(hit);
        if (UNLIKELY(hits) && judge(tail, p, hits, &end))
            return end;
    }
}
#else
static inline unsigned hits_16(const char *p)
{
    unsigned hits = 0;
    for (unsigned i = 0; i < 16; i++)
        hits |= (unsigned)(p[i] == '\n' || (p[i] == '"' && p[i + 1] == 's') ||
                           (p[i] == '\\' && p[i + 1] == 'u'))
                << i;
    return hits;
}
#endif

static const char *tail_end_16(const char *tail)
{
    const char *p = tail, *end;
    for (;; p += 16) {
        unsigned hits = hits_16(p);
        if (UNLIKELY(hits) && judge(tail, p, hits, &end))
            return end;
    }
}

/* p is inside a line, behind a value of its object. Returns its newline; or NULL: the line is to be read whole. LOGLINE_SLACK bytes behind the newline
 * may be read. */
static const char *tail_end(const char *p)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2"))
        return tail_end_avx2(p);
#endif
    return tail_end_16(p);
}
