/* log_value.h -- the values of a log's line: strings, numbers, stamps, and how to get past what nobody asked for. Private to
 * logline.c; a header, so that the template takes each value without a call.
 *
 * p is at the value's first byte; the line ends in a newline, and LOGLINE_SLACK bytes behind it may be read. Each function
 * returns the byte behind the value, or NULL where it is none of the kind. value_KIND also sets the member and its bit in
 * `found`; what is of the kind but makes no sense (a negative count) is crossed and not found. */
#pragma once

#include "base/clock.h"
#include "base/digits.h"
#include "base/json.h"
#include "base/when.h"
#include "observe/log_keys.h"

/* ---- strings ---- */

#ifdef __SSE2__
#include <emmintrin.h>
/* One bit for each of 16 bytes: a quote, a backslash, or a control byte. */
static inline unsigned marks_16(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    __m128i other =
        _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(control, other));
}
#else
static inline unsigned marks_16(const char *p)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < 16; i++)
        bits |= (unsigned)((unsigned char)p[i] < 0x20 || p[i] == '"' || p[i] == '\\') << i;
    return bits;
}
#endif

static inline const char *next_mark(const char *p)
{
    unsigned bits;
    while (!(bits = marks_16(p)))
        p += 16;
    return p + __builtin_ctz(bits);
}

static bool is_hex_4(const char *p)
{
    for (int i = 0; i < 4; i++)
        if (!((p[i] >= '0' && p[i] <= '9') || ((p[i] | 0x20) >= 'a' && (p[i] | 0x20) <= 'f')))
            return false;
    return true;
}

/* p is at a backslash. Returns the bytes of the escape, or 0. */
static inline size_t escape_bytes(const char *p)
{
    static const bool plain[256] = {['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true,
                                    ['f'] = true, ['n'] = true,  ['r'] = true, ['t'] = true};
    if (plain[(unsigned char)p[1]])
        return 2;
    return p[1] == 'u' && is_hex_4(p + 2) ? 6 : 0;
}

/* p is at the first mark of a string that is not its end. Returns its closing quote, or NULL. The marks of a block are looked at one after
 * the other: texts with escapes have many. */
static const char *string_end_escaped(const char *p)
{
    for (;;) {
        const char *block = p;
        p += 16;
        for (unsigned marks = marks_16(block); marks;) {
            unsigned at = (unsigned)__builtin_ctz(marks);
            size_t bytes = block[at] == '\\' ? escape_bytes(block + at) : 0;
            if (bytes == 0)
                return block[at] == '"' ? block + at : NULL;
            if (at + bytes >= 16) {
                p = block + at + bytes;
                break;
            }
            marks &= ~0u << (at + bytes);
        }
    }
}

/* p is behind the opening quote. Returns the closing one, or NULL; *escaped is set when there is a backslash. */
static inline const char *string_end(const char *p, bool *escaped)
{
    p = next_mark(p);
    *escaped = *p == '\\';
    return LIKELY(*p == '"') ? p : string_end_escaped(p);
}

/* ---- numbers ---- */

struct number {
    uint64_t digits; /* digits * 10^exponent; what does not fit 18 digits is left off */
    int exponent;
    bool negative;
};

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const uint64_t powers[] = {1,
                                  10,
                                  100,
                                  1000,
                                  10000,
                                  100000,
                                  1000000,
                                  10000000,
                                  100000000,
                                  1000000000,
                                  10000000000,
                                  100000000000,
                                  1000000000000,
                                  10000000000000,
                                  100000000000000,
                                  1000000000000000,
                                  10000000000000000,
                                  100000000000000000,
                                  1000000000000000000};

/* Digits past the 18th only count. */
static COLD const char *cross_digits(const char *p, struct number *n, bool fraction)
{
    for (; is_digit(*p); p++) {
        if (n->digits < 100000000000000000u) {
            n->digits = n->digits * 10 + (unsigned)(*p - '0');
            n->exponent -= fraction;
        } else {
            n->exponent += !fraction;
        }
    }
    return p;
}

static inline const char *take_digits(const char *p, struct number *n, bool fraction)
{
    for (unsigned count = 8; count == 8; p += count) {
        uint64_t word = digits_load(p);
        count = digits_leading(word);
        if (count == 0)
            return p;
        if (UNLIKELY(n->digits >= 10000000000))
            return cross_digits(p, n, fraction);
        n->digits = n->digits * powers[count] + digits_value(word, count);
        n->exponent -= fraction ? (int)count : 0;
    }
    return p;
}

static const char *take_exponent(const char *p, struct number *n)
{
    bool down = *p == '-';
    int given = 0;
    p += down || *p == '+';
    if (!is_digit(*p))
        return NULL;
    for (; is_digit(*p); p++)
        given = MIN(given * 10 + (*p - '0'), 9999);
    n->exponent += down ? -given : given;
    return p;
}

/* Returns the byte behind the number, or NULL where there is none. */
static inline const char *take_number(const char *p, struct number *n)
{
    *n = (struct number){0};
    if (UNLIKELY(*p == '-')) {
        n->negative = true;
        p++;
    }
    if (!is_digit(*p) || (*p == '0' && is_digit(p[1])))
        return NULL;
    p = take_digits(p, n, false);
    if (*p == '.') {
        if (!is_digit(p[1]))
            return NULL;
        p = take_digits(p + 1, n, true);
    }
    return UNLIKELY((*p | 0x20) == 'e') ? take_exponent(p + 1, n) : p;
}

static double number_double(const struct number *n)
{
    double value = (double)n->digits;
    for (int e = n->exponent; e < 0; e += 18)
        value /= (double)powers[MIN(-e, 18)];
    for (int e = n->exponent; e > 0 && value > 0 && value < 1e308; e -= 18)
        value *= (double)powers[MIN(e, 18)];
    return n->negative ? -value : value;
}

/* No count, time or price is this large: what is, is nonsense, and counts as not there. */
#define NUMBER_LIMIT 1e15

/* n * 10^scale, rounded half up; -1 where it is negative or too large: then it counts as not there. */
static inline int64_t number_scaled(const struct number *n, int scale)
{
    int shift = n->exponent + scale;
    uint64_t value = n->digits;
    if ((n->negative && value) || number_double(n) >= NUMBER_LIMIT)
        return -1;
    if (shift >= 0) {
        if (value && (shift > 18 || __builtin_mul_overflow(value, powers[shift], &value)))
            return -1;
    } else {
        value = -shift > 18 ? 0 : (value + powers[-shift] / 2) / powers[-shift];
    }
    return value <= INT64_MAX ? (int64_t)value : -1;
}

/* ---- values of record.def's kinds ----
 * p is at the value. Each returns the byte behind it, or NULL where it is none of the kind. */

static int64_t local_offset_us(int64_t us)
{
    time_t t = (time_t)(us / 1000000);
    struct tm tm;
    return localtime_r(&t, &tm) ? tm.tm_gmtoff * INT64_C(1000000) : 0;
}

/* Any form of stamp. One without a zone is UTC, but in json_logs local time: settled when the shape is known. */
static COLD bool stamp_slow(struct logline *l, struct str text, int64_t *us)
{
    bool zoned;
    if (!when_stamp(text, us, &zoned))
        return false;
    l->seen = zoned ? l->seen & ~LOG_SEEN_UNZONED : l->seen | LOG_SEEN_UNZONED;
    return true;
}

/* Are all bytes of the word 0 to 9? */
static inline bool all_below_10(uint64_t word)
{
    return !(((word + UINT64_C(0x7676767676767676)) | word) & UINT64_C(0x8080808080808080));
}

/* The two bytes of the word from `at` on, each 0 to 9, as one number. */
static inline unsigned two_at(uint64_t word, unsigned at)
{
    return (unsigned)(word >> 8 * at & 0xFF) * 10 + (unsigned)(word >> 8 * (at + 1) & 0xFF);
}

/* `2026-11-24T01:49:00.123Z"`, weir's own form, if its day is the one seen last: two words, whose bytes are digits or what
 * belongs between them. */
static inline bool stamp_of_day(const struct logline *l, const char *p, int64_t *us)
{
    uint64_t time = digits_load(p + 11) ^ digits_load("00:00:00");
    uint64_t end = digits_load(p + 17) ^ digits_load("00.000Z\"");
    if (memcmp(p, l->day, 8) != 0 || memcmp(p + 3, l->day + 3, 8) != 0)
        return false;
    uint64_t between = (time & UINT64_C(0x0000FF0000FF0000)) | (end & UINT64_C(0xFFFF000000FF0000));
    unsigned h = two_at(time, 0), m = two_at(time, 3), s = two_at(time, 6);
    if (between || !all_below_10(time) || !all_below_10(end) || h > 23 || m > 59 || s > 59)
        return false;
    unsigned ms = two_at(end, 3) * 10 + (unsigned)(end >> 40 & 0xFF);
    *us = l->day_us + ((h * 3600 + m * 60 + s) * INT64_C(1000) + ms) * 1000;
    return true;
}

/* Any other string that may be a stamp. */
static const char *value_TIME_slow(struct logline *l, const char *p, uint64_t bit, int64_t *us)
{
    bool escaped;
    char decoded[160];
    const char *end = *p == '"' ? string_end(p + 1, &escaped) : NULL;
    if (!end)
        return NULL;
    struct str text = {p + 1, (size_t)(end - p - 1)};
    if (UNLIKELY(escaped))
        text = (struct str){decoded, json_unescape(text, decoded, sizeof decoded)};
    if (!stamp_slow(l, text, us))
        return end + 1; /* a string, and no stamp: not there */
    if (*us < 0)        /* nobody logged before 1970 */
        return end + 1;
    l->found |= bit;
    if (text.n == CLOCK_RFC3339_BYTES && text.p[text.n - 1] == 'Z') {
        memcpy(l->day, text.p, sizeof l->day);
        l->day_us = *us - *us % 86400000000;
    }
    return end + 1;
}

static inline const char *value_TIME(struct logline *l, const char *p, uint64_t bit, int64_t *us)
{
    if (UNLIKELY(*p != '"' || !stamp_of_day(l, p + 1, us)))
        return value_TIME_slow(l, p, bit, us);
    l->seen &= ~LOG_SEEN_UNZONED;
    l->found |= bit;
    return p + 2 + CLOCK_RFC3339_BYTES;
}

static inline const char *value_STR(struct logline *l, const char *p, uint64_t bit, struct str *out)
{
    bool escaped;
    if (UNLIKELY(*p != '"'))
        return NULL;
    const char *end = string_end(p + 1, &escaped);
    if (UNLIKELY(!end))
        return NULL;
    *out = (struct str){p + 1, (size_t)(end - p - 1)};
    l->found |= bit;
    if (UNLIKELY(escaped))
        l->escaped |= bit;
    return end + 1;
}

static const char *value_scaled(struct logline *l, const char *p, uint64_t bit, int scale,
                                int64_t *out)
{
    struct number n;
    p = take_number(p, &n);
    if (UNLIKELY(!p))
        return NULL;
    *out = number_scaled(&n, scale);
    if (LIKELY(*out >= 0))
        l->found |= bit;
    return p;
}

/* What a value may be followed by; other bytes are for the slow way to judge. */
static inline bool ends_value(char c)
{
    return c == ',' || c == '}';
}

/* A count in any form: 1E2 and 100.0 are counts, 12.5 is none. */
static COLD const char *value_count(struct logline *l, const char *p, uint64_t bit, int64_t *out)
{
    struct number n;
    p = take_number(p, &n);
    if (!p)
        return NULL;
    bool whole = n.exponent >= 0 || (n.exponent > -19 && n.digits % powers[-n.exponent] == 0);
    *out = whole || n.digits == 0 ? number_scaled(&n, 0) : -1;
    if (*out >= 0)
        l->found |= bit;
    return p;
}

/* A count as weir writes it: up to 7 digits. */
static inline const char *value_INT(struct logline *l, const char *p, uint64_t bit, int64_t *out)
{
    uint64_t word = digits_load(p);
    unsigned n = digits_leading(word);
    bool plain = n - 1 < 7 && (*p != '0' || n == 1) && ends_value(p[n]);
    if (UNLIKELY(!plain))
        return value_count(l, p, bit, out);
    *out = (int64_t)digits_value(word, n);
    l->found |= bit;
    return p + n;
}

/* Milliseconds as weir writes them: up to 5 digits, and perhaps up to three behind a point, read side by side as one number. */
static inline const char *value_MS(struct logline *l, const char *p, uint64_t bit, int64_t *out)
{
    static const uint16_t to_us[] = {1000, 100, 10, 1};
    uint64_t word = digits_load(p), below;
    unsigned n = digits_leading(word), m = 0;
    const char *end = p + n;
    if (UNLIKELY(n - 1 >= 5 || (*p == '0' && n > 1)))
        return value_scaled(l, p, bit, 3, out);
    if (LIKELY(*end == '.')) {
        below = digits_load(end + 1);
        m = digits_leading(below);
        if (UNLIKELY(m - 1 >= 3))
            return value_scaled(l, p, bit, 3, out);
        word = (word & ~(UINT64_MAX << 8 * n)) | below << 8 * n;
        end += 1 + m;
    }
    if (UNLIKELY(!ends_value(*end)))
        return value_scaled(l, p, bit, 3, out);
    *out = (int64_t)(digits_value(word, n + m) * to_us[m]);
    l->found |= bit;
    return end;
}

/* Behind a number of up to 8 digits, and perhaps up to 8 behind a point; others: NULL, though they may be numbers. */
static inline const char *cross_decimal(const char *p)
{
    unsigned n = digits_leading(digits_load(p));
    if (UNLIKELY(n == 0 || (*p == '0' && n > 1)))
        return NULL;
    p += n;
    if (LIKELY(*p == '.')) {
        n = digits_leading(digits_load(p + 1));
        p += n ? n + 1 : 0;
    }
    return LIKELY(ends_value(*p)) ? p : NULL;
}

/* Any number that is no count. */
static const char *value_USD_slow(struct logline *l, const char *p, uint64_t bit, double *out)
{
    struct number n;
    p = take_number(p, &n);
    if (UNLIKELY(!p))
        return NULL;
    *out = number_double(&n);
    if (*out >= 0 && *out < NUMBER_LIMIT)
        l->found |= bit;
    return p;
}

/* Money as weir writes it: up to 7 digits, a point, and up to 8 more. */
static inline const char *value_USD(struct logline *l, const char *p, uint64_t bit, double *out)
{
    uint64_t word = digits_load(p), below;
    unsigned n = digits_leading(word), m;
    if (UNLIKELY(n - 1 >= 7 || (*p == '0' && n > 1) || p[n] != '.'))
        return value_USD_slow(l, p, bit, out);
    below = digits_load(p + n + 1);
    m = digits_leading(below);
    if (UNLIKELY(m == 0 || !ends_value(p[n + 1 + m])))
        return value_USD_slow(l, p, bit, out);
    uint64_t digits = digits_value(word, n) * powers[m] + digits_value(below, m);
    *out = (double)digits / (double)powers[m];
    l->found |= bit;
    return p + n + 1 + m;
}

static inline const char *value_RATE(struct logline *l, const char *p, uint64_t bit, double *out)
{
    return value_USD(l, p, bit, out);
}

static inline const char *value_BOOL(struct logline *l, const char *p, uint64_t bit, int8_t *out)
{
    bool yes = memcmp(p, "true", 4) == 0;
    if (!yes && memcmp(p, "false", 5) != 0)
        return NULL;
    *out = yes;
    l->found |= bit;
    return p + (yes ? 4 : 5);
}

/* ---- values nobody asked for ---- */

#define DEPTH_MAX 1000 /* of a line's brackets, its own included */

static inline const char *skip_blanks(const char *p)
{
    if (LIKELY((unsigned char)*p > ' '))
        return p;
    while (*p == ' ' || *p == '\t' || *p == '\r')
        p++;
    return p;
}

static const char *skip_number_slow(const char *p)
{
    struct number n;
    return take_number(p, &n);
}

/* Up to 7 digits, and perhaps up to 7 behind a point; others the long way. */
static inline const char *skip_number(const char *p)
{
    unsigned n = digits_leading(digits_load(p));
    const char *end = p + n;
    if (UNLIKELY(n - 1 >= 7 || (*p == '0' && n > 1)))
        return skip_number_slow(p);
    if (*end == '.') {
        n = digits_leading(digits_load(++end));
        end += n;
        if (UNLIKELY(n - 1 >= 7))
            return skip_number_slow(p);
    }
    return UNLIKELY((*end | 0x20) == 'e') ? skip_number_slow(p) : end;
}

static inline const char *skip_string(const char *p)
{
    bool escaped;
    p = string_end(p + 1, &escaped);
    return p ? p + 1 : NULL;
}

static inline const char *skip_scalar(const char *p)
{
    if (LIKELY(*p == '"'))
        return skip_string(p);
    switch (*p) {
    case 't': return memcmp(p, "true", 4) == 0 ? p + 4 : NULL;
    case 'n': return memcmp(p, "null", 4) == 0 ? p + 4 : NULL;
    case 'f': return memcmp(p, "false", 5) == 0 ? p + 5 : NULL;
    default: return skip_number(p);
    }
}

/* p is at a member's key. Returns where its value begins. */
static inline const char *skip_key(const char *p)
{
    if (*p != '"' || !(p = skip_string(p)))
        return NULL;
    p = skip_blanks(p);
    return *p == ':' ? skip_blanks(p + 1) : NULL;
}

/* p is at '{' or '[', inside `depth` open ones. The stack of what is open is one bit each: is it an object? */
static const char *skip_container(const char *p, size_t depth)
{
    uint64_t objects[DEPTH_MAX / 64 + 1];
    size_t open = 0;
    bool object = false; /* the innermost one */
    for (;;) {           /* p is at a value */
        if (*p == '{' || *p == '[') {
            uint64_t bit = UINT64_C(1) << open % 64;
            object = *p == '{';
            if (depth + open >= DEPTH_MAX)
                return NULL;
            if (open % 64 == 0)
                objects[open / 64] = 0;
            objects[open / 64] = (objects[open / 64] & ~bit) | (object ? bit : 0);
            open++;
            p = skip_blanks(p + 1);
            if (*p != (object ? '}' : ']')) {
                if (object && !(p = skip_key(p)))
                    return NULL;
                continue;
            }
        } else if (!(p = skip_scalar(p))) {
            return NULL;
        } else {
            p = skip_blanks(p);
        }
        while (*p != ',') { /* p is behind a value, or at the end of an empty container */
            if (*p != (object ? '}' : ']'))
                return NULL;
            if (--open == 0)
                return p + 1;
            object = objects[(open - 1) / 64] >> (open - 1) % 64 & 1;
            p = skip_blanks(p + 1);
        }
        p = skip_blanks(p + 1);
        if (object && !(p = skip_key(p)))
            return NULL;
    }
}

static const char *skip_value(const char *p, size_t depth)
{
    return *p == '{' || *p == '[' ? skip_container(p, depth) : skip_scalar(p);
}

static const char *value_RAW(struct logline *l, const char *p, uint64_t bit, struct str *out)
{
    const char *end = skip_value(p, 1);
    if (!end)
        return NULL;
    *out = (struct str){p, (size_t)(end - p)};
    l->found |= *p == 'n' ? 0 : bit; /* null is not there */
    return end;
}
