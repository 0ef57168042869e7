/* log_value.h -- the values of a log's line: strings, numbers, stamps, and how to get past what nobody asked for. Private to
 * logline.c; a header, so that the template takes each value without a call.
 *
 * p is at the value's first byte; the line ends in a newline, and LOGLINE_SLACK bytes behind it may be read. Each function
 * returns the byte behind the value, or NULL where it is none of the kind. value_KIND also sets the member and its bit in
 * `found`; what is of the kind but makes no sense (a negative count) is crossed and not found. */
#pragma once

#include "base/clock.h"
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

/* p is at the first mark of a string that is not its end. Returns its closing quote, or NULL. */
static COLD const char *string_end_escaped(const char *p)
{
    while (*p == '\\') {
        if (p[1] == 'u' && is_hex_4(p + 2))
            p += 6;
        else if (p[1] && strchr("\"\\/bfnrt", p[1]))
            p += 2;
        else
            return NULL;
        p = next_mark(p);
    }
    return *p == '"' ? p : NULL;
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

static inline const char *take_digits(const char *p, struct number *n, bool fraction)
{
    for (; is_digit(*p); p++) {
        if (LIKELY(n->digits < 100000000000000000u)) {
            n->digits = n->digits * 10 + (unsigned)(*p - '0');
            n->exponent -= fraction;
        } else {
            n->exponent += !fraction;
        }
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

static inline int two(const char *p)
{
    return (p[0] - '0') * 10 + (p[1] - '0');
}

/* "2026-11-24T01:49:00.123Z" whose day is the one seen last. */
static inline bool stamp_of_day(const struct logline *l, const char *p, int64_t *us)
{
    static const uint8_t digits[] = {11, 12, 14, 15, 17, 18, 20, 21, 22};
    unsigned bad = 0;
    if (memcmp(p, l->day, sizeof l->day) != 0)
        return false;
    for (size_t i = 0; i < sizeof digits; i++)
        bad |= (unsigned)!is_digit(p[digits[i]]);
    bad |= (unsigned)(p[13] != ':') | (unsigned)(p[16] != ':') | (unsigned)(p[19] != '.') |
           (unsigned)(p[23] != 'Z');
    int h = two(p + 11), m = two(p + 14), s = two(p + 17), ms = (p[20] - '0') * 100 + two(p + 21);
    if (bad || h > 23 || m > 59 || s > 59)
        return false;
    *us = l->day_us + ((h * 3600 + m * 60 + s) * INT64_C(1000) + ms) * 1000;
    return true;
}

static const char *value_TIME(struct logline *l, const char *p, uint64_t bit, int64_t *us)
{
    bool escaped;
    if (*p != '"')
        return NULL;
    const char *end = string_end(p + 1, &escaped);
    if (!end)
        return NULL;
    struct str text = {p + 1, (size_t)(end - p - 1)};
    char decoded[160];
    if (UNLIKELY(escaped)) {
        text = (struct str){decoded, json_unescape(text, decoded, sizeof decoded)};
    }
    if (LIKELY(text.n == CLOCK_RFC3339_BYTES) && stamp_of_day(l, text.p, us)) {
        l->seen &= ~LOG_SEEN_UNZONED;
    } else if (stamp_slow(l, text, us)) {
        if (text.n == CLOCK_RFC3339_BYTES && text.p[text.n - 1] == 'Z') {
            memcpy(l->day, text.p, sizeof l->day);
            l->day_us = *us - (*us % 86400000000 + 86400000000) % 86400000000;
        }
    } else {
        return end + 1; /* a string, and no stamp: not there */
    }
    if (*us >= 0) /* nobody logged before 1970 */
        l->found |= bit;
    return end + 1;
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

/* A count as weir writes it: up to 15 digits. */
static inline const char *value_INT(struct logline *l, const char *p, uint64_t bit, int64_t *out)
{
    const char *q = p;
    uint64_t value = 0; /* of too many digits it wraps; then `plain` is false */
    for (; is_digit(*q); q++)
        value = value * 10 + (unsigned)(*q - '0');
    bool plain = q > p && q - p <= 15 && (*p != '0' || q - p == 1) && ends_value(*q);
    if (UNLIKELY(!plain))
        return value_count(l, p, bit, out);
    *out = (int64_t)value;
    l->found |= bit;
    return q;
}

/* Milliseconds as weir writes them: up to 12 digits, and perhaps up to three behind a point. */
static inline const char *value_MS(struct logline *l, const char *p, uint64_t bit, int64_t *out)
{
    static const uint16_t to_us[] = {1000, 100, 10, 1};
    const char *q = p, *point = NULL;
    uint64_t value = 0;
    for (; is_digit(*q); q++)
        value = value * 10 + (unsigned)(*q - '0');
    size_t whole = (size_t)(q - p), fraction = 0;
    if (*q == '.') {
        for (point = ++q; is_digit(*q) && q - point < 4; q++)
            value = value * 10 + (unsigned)(*q - '0');
        fraction = (size_t)(q - point);
    }
    bool plain = whole > 0 && whole <= 12 && (*p != '0' || whole == 1) && ends_value(*q) &&
                 fraction <= 3 && (!point || fraction > 0);
    if (UNLIKELY(!plain))
        return value_scaled(l, p, bit, 3, out);
    *out = (int64_t)(value * to_us[fraction]);
    l->found |= bit;
    return q;
}

static inline const char *value_USD(struct logline *l, const char *p, uint64_t bit, double *out)
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
    while (*p == ' ' || *p == '\t' || *p == '\r')
        p++;
    return p;
}

static const char *skip_scalar(const char *p)
{
    bool escaped;
    struct number n;
    switch (*p) {
    case '"': p = string_end(p + 1, &escaped); return p ? p + 1 : NULL;
    case 't': return memcmp(p, "true", 4) == 0 ? p + 4 : NULL;
    case 'n': return memcmp(p, "null", 4) == 0 ? p + 4 : NULL;
    case 'f': return memcmp(p, "false", 5) == 0 ? p + 5 : NULL;
    default: return take_number(p, &n);
    }
}

/* p is at a member's key. Returns where its value begins. */
static const char *skip_key(const char *p)
{
    bool escaped;
    if (*p != '"' || !(p = string_end(p + 1, &escaped)))
        return NULL;
    p = skip_blanks(p + 1);
    return *p == ':' ? skip_blanks(p + 1) : NULL;
}

/* p is at '{' or '[', inside `depth` open ones. The stack of what is open is one bit each: is it an object? */
static const char *skip_container(const char *p, size_t depth)
{
    uint64_t objects[DEPTH_MAX / 64 + 1];
    size_t open = 0;
    for (;;) { /* p is at a value */
        if (*p == '{' || *p == '[') {
            uint64_t bit = UINT64_C(1) << open % 64;
            bool object = *p == '{';
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
        for (;;) { /* p is behind a value, or at the end of an empty container */
            bool object = objects[(open - 1) / 64] >> (open - 1) % 64 & 1;
            if (*p == ',') {
                p = skip_blanks(p + 1);
                if (object && !(p = skip_key(p)))
                    return NULL;
                break;
            }
            if (*p != (object ? '}' : ']'))
                return NULL;
            if (--open == 0)
                return p + 1;
            p = skip_blanks(p + 1);
        }
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
