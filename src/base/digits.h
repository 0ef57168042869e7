/* digits.h -- numbers as digits, into memory that has the room, and back. For all that is written or read once a request or
 * oftener: no format string, no allocation, no division but by constants. What writes returns where it stopped. [any thread] */
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

/* Two lower-case hex digits a byte. */
static inline void digits_hex_bytes(char *at, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        at = digits_hex_fixed(at, bytes[i], 2);
}

/* As many hex digits as `v` needs, at most 16. */
static inline char *digits_hex(char *at, uint64_t v)
{
    return digits_hex_fixed(at, v, v ? 16 - (unsigned)__builtin_clzll(v) / 4 : 1);
}

/* ---- reading: up to eight digits at once, as the eight bytes of a word (SWAR; Lemire, Mula: "Faster integer parsing") ---- */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a word's first byte is its lowest");

static inline uint64_t digits_load(const char *p) /* 8 bytes must be readable */
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* How many of the word's first bytes are digits: 0 to 8. */
static inline unsigned digits_leading(uint64_t word)
{
    const uint64_t high = UINT64_C(0xF0F0F0F0F0F0F0F0), zeros = UINT64_C(0x3030303030303030);
    uint64_t odd =
        ((word & high) ^ zeros) | (((word + UINT64_C(0x0606060606060606)) & high) ^ zeros);
    return odd ? (unsigned)__builtin_ctzll(odd) / 8 : 8;
}

/* The number that the word's first `count` bytes are, 1 to 8 digits. */
static inline uint64_t digits_value(uint64_t word, unsigned count)
{
    word = (word << (64 - 8 * count)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    word = word * 2561 >> 8 & UINT64_C(0x00FF00FF00FF00FF);
    word = word * 6553601 >> 16 & UINT64_C(0x0000FFFF0000FFFF);
    return word * UINT64_C(42949672960001) >> 32;
}
