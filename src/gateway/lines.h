/* lines.h -- writing header lines into memory whose size was worked out before. Private to src/gateway. */
#pragma once

#include "base/digits.h"
#include "base/str.h"

static inline char *put(char *at, struct str s)
{
    if (s.n)
        memcpy(at, s.p, s.n);
    return at + s.n;
}

static inline char *put_line(char *at, struct str name, struct str value)
{
    at = put(at, name);
    at = put(at, STR(": "));
    at = put(at, value);
    return put(at, STR("\r\n"));
}

/* Microseconds as milliseconds with three decimals: "12.345". */
static inline char *put_ms(char *at, int64_t us)
{
    uint64_t v = us > 0 ? (uint64_t)us : 0;
    at = digits_u64(at, v / 1000);
    *at++ = '.';
    return digits_fixed(at, v % 1000, 3);
}

/* US dollars with up to 12 decimals, no exponent: "0.000034". Below a million. */
static inline char *put_usd(char *at, double usd)
{
    uint64_t pico = usd < 1e6 ? (uint64_t)(usd * 1e12 + 0.5) : 0, whole = 1000000000000u;
    at = digits_u64(at, pico / whole);
    pico %= whole;
    if (!pico)
        return at;
    *at++ = '.';
    at = digits_fixed(at, pico, 12);
    while (at[-1] == '0')
        at--;
    return at;
}
