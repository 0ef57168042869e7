/* json_found.c -- what the scanner noted of a number, as a number.
 *
 * Called for token counts, costs and engine times: nearly always short integers, which take the first way out. Exactness
 * is the point of the rest: 1e2 and 3.0 are integers, 1e-1 is not, and nothing overflows. [any thread] */
#include "base/json.h"

/* digits * 10^exponent, if it is an integer that fits. */
static bool scale(uint64_t digits, int64_t exponent, bool negative, int64_t *out)
{
    for (; digits && exponent > 0; exponent--)
        if (__builtin_mul_overflow(digits, 10u, &digits))
            return false;
    for (; digits && exponent < 0; exponent++) {
        if (digits % 10)
            return false;
        digits /= 10;
    }
    if (digits > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - digits) : (int64_t)digits;
    return true;
}

/* Digits with perhaps a point, to digits * 10^exponent. Zeros wait in `exponent` until a digit
 * follows them, so that 1000.0000 stays small. */
static bool mantissa(struct str text, uint64_t *digits, int64_t *exponent)
{
    struct str fraction = text, whole = str_cut(&fraction, '.');
    int64_t zeros = 0;
    *digits = 0;
    for (size_t i = 0; i < whole.n + fraction.n; i++) {
        char c = i < whole.n ? whole.p[i] : fraction.p[i - whole.n];
        zeros++;
        if (c == '0')
            continue;
        for (; zeros > 0; zeros--)
            if (__builtin_mul_overflow(*digits, 10u, digits))
                return false;
        if (__builtin_add_overflow(*digits, (uint64_t)(c - '0'), digits))
            return false;
    }
    *exponent = zeros - (int64_t)fraction.n;
    return true;
}

/* Up to 18 digits and nothing else. */
static bool plain_digits(struct str text, int64_t *out)
{
    int64_t value = 0;
    if (text.n > 18)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        unsigned digit = (unsigned char)text.p[i] - '0';
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool json_found_i64(const struct json_found *f, int64_t *out)
{
    if (f->kind != JSON_NUMBER || f->cut || f->kept == 0)
        return false;
    struct str text = {f->text, f->kept};
    if (plain_digits(text, out)) /* nearly always */
        return true;
    bool negative = text.p[0] == '-';
    size_t e = negative;
    while (e < text.n && (text.p[e] | 0x20) != 'e')
        e++;
    uint64_t digits;
    int64_t exponent, given = 0;
    if (!mantissa((struct str){text.p + negative, e - negative}, &digits, &exponent))
        return false;
    struct str power = str_skip(text, e + 1);
    bool down = power.n > 0 && power.p[0] == '-';
    if (power.n > 0 && (down || power.p[0] == '+'))
        power = str_skip(power, 1);
    for (size_t i = 0; i < power.n; i++)
        given =
            MIN(given * 10 + (power.p[i] - '0'), (int64_t)1000); /* past any double and any int64 */
    return scale(digits, exponent + (down ? -given : given), negative, out);
}

bool json_found_f64(const struct json_found *f, double *out)
{
    char text[JSON_KEEP_BYTES + 1];
    if (f->kind != JSON_NUMBER || f->cut || f->kept == 0)
        return false;
    memcpy(text, f->text, f->kept);
    text[f->kept] = '\0';
    double value = strtod(text, NULL);
    if (!__builtin_isfinite(value))
        return false;
    *out = value;
    return true;
}
