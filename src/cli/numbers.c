/* numbers.c -- see numbers.h.
 *
 * The order of things is: round first, choose the unit then. Otherwise 999,999.6 would be written "1,000,000" and 59.999 s
 * "60 s". printf("%.2e") rounds to three digits; it knows the exact value of the double, which a multiplication by powers
 * of ten would not. Zeros at a fraction's end are left off ("0.42 ms", not "0.420 ms"), but for cents. From 1,000 to
 * 999,999 all digits are shown: a count of 12,345 is known exactly, and people compare it with other programs' counts.
 * What is less than a billionth of the unit is written as 0. */
#include "cli/numbers.h"

#include <math.h>
#include <stdarg.h>

#define LEAST       1e-9     /* of the unit; smaller ones are shown as 0 */
#define SCALED_FROM 999999.5 /* what would be rounded to a million is written with a letter */
#define USD_END     999.5e12
#define GROUPED_END 1e15 /* from here on not even days are written with all their digits */

enum { DIGITS = 3, DECIMALS_MAX = 11, PCT_DECIMALS_MAX = 6 };

PRINTF_LIKE(2, 3) static void add(struct num *n, const char *fmt, ...)
{
    size_t at = strlen(n->text);
    va_list args;
    va_start(args, fmt);
    vsnprintf(n->text + at, sizeof n->text - at, fmt, args);
    va_end(args);
}

/* `v` to three significant digits; *exponent is that of its first digit. */
static double round_digits(double v, int *exponent)
{
    char text[32];
    snprintf(text, sizeof text, "%.*e", DIGITS - 1, v);
    *exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    return strtod(text, NULL);
}

static double rounded(double v)
{
    int exponent;
    return round_digits(v, &exponent);
}

/* A whole number with a comma before each three digits. */
static void add_grouped(struct num *n, double whole)
{
    char digits[32];
    if (whole >= GROUPED_END) {
        add(n, ">999,999,999,999,999");
        return;
    }
    snprintf(digits, sizeof digits, "%.0f", whole);
    size_t count = strlen(digits);
    for (size_t i = 0; i < count; i++)
        add(n, i > 0 && (count - i) % 3 == 0 ? ",%c" : "%c", digits[i]);
}

/* Three digits below 1,000, all above; at least `decimals_min` decimals where there are any to show. */
static void add_digits(struct num *n, double v, int decimals_min)
{
    char text[64];
    int exponent;
    double three = round_digits(v, &exponent);
    if (v < LEAST) {
        add(n, "0");
        return;
    }
    if (three >= 1000) {
        add_grouped(n, round(v));
        return;
    }
    int decimals = MIN(MAX(DIGITS - 1 - exponent, 0), DECIMALS_MAX);
    snprintf(text, sizeof text, "%.*f", decimals, three);
    char *point = strchr(text, '.');
    for (size_t end = strlen(text); point && decimals > decimals_min && text[end - 1] == '0';) {
        text[--end] = '\0';
        decimals--;
    }
    if (point && decimals == 0)
        *point = '\0';
    add(n, "%s", text);
}

/* The digits of what is too large to be written out, with a letter for the power of 1000 or 1024. The letters begin with
 * the one for `scale`; past the last of them it is just "more". */
static void add_scaled(struct num *n, double v, double scale, double step,
                       const char *const *letters)
{
    for (size_t i = 0; letters[i]; i++, scale *= step) {
        if (rounded(v / scale) < 1000) {
            add_digits(n, v / scale, 0);
            add(n, " %s", letters[i]);
            return;
        }
        if (!letters[i + 1])
            add(n, ">999 %s", letters[i]);
    }
}

static void add_count(struct num *n, double v)
{
    static const char *const letters[] = {"M", "G", "T", "P", "E", NULL};
    if (v < SCALED_FROM)
        add_digits(n, v, 0);
    else
        add_scaled(n, v, 1e6, 1000, letters);
}

/* Writes the sign, or all there is to say of what is not a number. True: *v is left to be written, and not negative. */
static bool begin(struct num *n, double *v)
{
    *n = (struct num){""};
    if (!isfinite(*v)) {
        add(n, NUM_UNKNOWN);
        return false;
    }
    if (*v <= -LEAST)
        add(n, "-");
    *v = fabs(*v);
    return true;
}

struct num num_count(double count)
{
    struct num n;
    if (begin(&n, &count))
        add_count(&n, count);
    return n;
}

struct num num_rate(double per_second)
{
    struct num n;
    if (begin(&n, &per_second)) {
        add_count(&n, per_second);
        add(&n, "/s");
    }
    return n;
}

/* A minute or more: two units, the second left off when there is none of it. */
static void add_span(struct num *n, double s)
{
    static const struct {
        double part_s; /* rounded to whole ones of these */
        double ratio;  /* parts in a unit */
        double end;    /* as many parts are one of the next row's units */
        const char *unit, *part;
    } spans[] = {
        {1, 60, 3600, "min", "s"},
        {60, 60, 1440, "h", "min"},
        {3600, 24, HUGE_VAL, "d", "h"},
    };
    size_t i = 0;
    while (round(s / spans[i].part_s) >= spans[i].end)
        i++;
    double parts = round(s / spans[i].part_s);
    double rest = fmod(parts, spans[i].ratio);
    add_grouped(n, (parts - rest) / spans[i].ratio);
    add(n, " %s", spans[i].unit);
    if (rest > 0 && parts < GROUPED_END)
        add(n, " %.0f %s", rest, spans[i].part);
}

struct num num_ms(double us)
{
    struct num n;
    if (!begin(&n, &us))
        return n;
    double s = us / 1e6;
    if (rounded(us / 1e3) < 1000) {
        add_digits(&n, us / 1e3, 0);
        add(&n, " ms");
    } else if (rounded(s) < 60) {
        add_digits(&n, s, 0);
        add(&n, " s");
    } else {
        add_span(&n, s);
    }
    return n;
}

/* Below a dollar three digits but at least cents; then dollars and cents; from 1,000 dollars alone. */
struct num num_usd(double usd)
{
    static const char *const letters[] = {"M", "B", "T", NULL};
    struct num n;
    if (!begin(&n, &usd))
        return n;
    if (usd >= USD_END) {
        add(&n, ">$999 T");
        return n;
    }
    add(&n, "$");
    if (rounded(usd) < 1)
        add_digits(&n, usd, 2);
    else if (usd < 999.995)
        add(&n, "%.2f", usd);
    else if (usd < SCALED_FROM)
        add_grouped(&n, round(usd));
    else
        add_scaled(&n, usd, 1e6, 1000, letters);
    return n;
}

/* Just below 100 %: as many decimals as show that it is not all. */
static void add_nearly_all(struct num *n, double pct)
{
    char text[32];
    for (int decimals = 2; decimals <= PCT_DECIMALS_MAX; decimals++) {
        snprintf(text, sizeof text, "%.*f", decimals, pct);
        if (text[0] == '9') {
            add(n, "%s", text);
            return;
        }
    }
    add(n, ">99.9999");
}

struct num num_pct(double fraction)
{
    struct num n;
    double pct = fraction * 100;
    if (!begin(&n, &pct))
        return n;
    if (fabs(fraction) < 1 && rounded(pct) >= 100)
        add_nearly_all(&n, pct);
    else
        add_digits(&n, pct, 0);
    add(&n, " %%");
    return n;
}

struct num num_bytes(double bytes)
{
    static const char *const letters[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", NULL};
    struct num n;
    if (!begin(&n, &bytes))
        return n;
    if (rounded(bytes) < 1000) {
        add_digits(&n, bytes, 0);
        add(&n, " B");
    } else {
        add_scaled(&n, bytes, 1024, 1024, letters);
    }
    return n;
}
