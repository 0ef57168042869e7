/* digits.h -- numbers as digits, into memory that has the room. For all that is written once a request or oftener: no
 * format string, no allocation, no division but by constants. Each returns where it stopped. [any thread] */
#pragma once

#include "base/base.h"

#define DIGITS_U64_MAX 20 /* of the largest uint64_t in decimal */

/* How many decimal digits `v` has; 0 has one. */
static inline unsigned digits_count(uint64_t v)
{
    for (unsigned n = 1;; n += 4, v /= 10000) {
        if (v < 10)
            return n;
        if (v < 100)
            return n + 1;
        if (v < 1000)
            return n + 2;
        if (v < 10000)
            return n + 3;
    }
}

/* Exactly `count` digits, zeros in front; higher ones are left off. Two a step: a division less for each. */
static inline char *digits_fixed(char *at, uint64_t v, unsigned count)
{
    static const char pairs[201] = "000102030405060708091011121314151617181920212223242526272829303"
                                   "13233343536373839404142434445464748"
                                   "495051525354555657585960616263646566676869707172737475767778798"
                                   "08182838485868788899091929394959697"
                                   "9899";
    char *end = at + count;
    for (; count >= 2; count -= 2, v /= 100)
        memcpy(at + count - 2, pairs + v % 100 * 2, 2);
    if (count)
        *at = (char)('0' + v % 10);
    return end;
}

static inline char *digits_u64(char *at, uint64_t v)
{
    return digits_fixed(at, v, digits_count(v));
}

/* Exactly `count` lower-case hex digits; higher ones are left off. */
static inline char *digits_hex_fixed(char *at, uint64_t v, unsigned count)
{
    for (unsigned i = count; i > 0; v >>= 4)
        at[--i] = "0123456789abcdef"[v & 15];
    return at + count;
}

/* As many hex digits as `v` needs, at most 16. */
static inline char *digits_hex(char *at, uint64_t v)
{
    return digits_hex_fixed(at, v, v ? 16 - (unsigned)__builtin_clzll(v) / 4 : 1);
}
