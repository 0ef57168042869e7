#include "base/rand.h"

#include <sys/random.h>

#include "base/clock.h"

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void rng_seed(struct rng *r, uint64_t seed)
{
    if (seed == 0 && getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = clock_mono_ns() ^ (uint64_t)(uintptr_t)r;
    for (size_t i = 0; i < COUNT(r->s); i++)
        r->s[i] = splitmix(&seed);
}

static inline uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

/* xoshiro256** 1.0 (Blackman and Vigna, 2018). */
uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

double rng_unit(struct rng *r)
{
    return (double)(rng_next(r) >> 11) * 0x1.0p-53;
}

/* The eight low nibbles of `bits`, each in a byte of its own. */
static uint64_t spread(uint64_t bits)
{
    bits &= 0xffffffff;
    bits = (bits | bits << 16) & 0x0000ffff0000ffff;
    bits = (bits | bits << 8) & 0x00ff00ff00ff00ff;
    return (bits | bits << 4) & 0x0f0f0f0f0f0f0f0f;
}

/* Eight digits at once: every request needs some eighty of them. */
static uint64_t eight_digits(uint64_t bits)
{
    uint64_t nibbles = spread(bits);
    uint64_t letters =
        ((nibbles + 0x0606060606060606) >> 4) & 0x0101010101010101; /* 1 where >= 10 */
    return nibbles + 0x3030303030303030 + letters * ('a' - '0' - 10);
}

void rng_hex(struct rng *r, char *out, size_t digits)
{
    for (; digits >= 16; digits -= 16, out += 16) {
        uint64_t bits = rng_next(r), text[2] = {eight_digits(bits), eight_digits(bits >> 32)};
        memcpy(out, text, sizeof text);
    }
    for (uint64_t bits = digits ? rng_next(r) : 0; digits; digits--, bits >>= 4)
        *out++ = "0123456789abcdef"[bits & 15];
}

void rng_uuid(struct rng *r, char out[36])
{
    char digits[32];
    rng_hex(r, digits, sizeof digits);
    digits[12] = '4';                     /* version */
    digits[16] = "89ab"[rng_next(r) & 3]; /* variant */
    static const uint8_t group_bytes[] = {8, 4, 4, 4, 12};
    const char *from = digits;
    for (size_t g = 0; g < COUNT(group_bytes); g++) {
        if (g)
            *out++ = '-';
        memcpy(out, from, group_bytes[g]);
        out += group_bytes[g];
        from += group_bytes[g];
    }
}
