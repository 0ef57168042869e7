/* figures.c -- see figures.h. */
#include "measure/figures.h"

#include <math.h>

enum { DECIMALS_MAX = 12 };
#define WRITTEN_OUT_END 1e18 /* more is as good as without end */

/* Appends the digits of a whole number, a comma before each three. */
static void add_grouped(struct figure *f, const char *digits, size_t count)
{
    size_t at = strlen(f->text);
    for (size_t i = 0; i < count && at + 2 < sizeof f->text; i++) {
        if (i && (count - i) % 3 == 0)
            f->text[at++] = ',';
        f->text[at++] = digits[i];
    }
    f->text[at] = '\0';
}

struct figure figure_digits(double value, int digits)
{
    struct figure f = {""};
    char text[40];
    if (!isfinite(value) || fabs(value) >= WRITTEN_OUT_END) {
        snprintf(f.text, sizeof f.text, isfinite(value) ? "more than 10^18" : "n/a");
        return f;
    }
    /* Rounding may add a digit: 9.996 is 10. So the exponent is that of what was rounded. */
    snprintf(text, sizeof text, "%.*e", digits - 1, fabs(value));
    int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    int decimals = MIN(MAX(digits - 1 - exponent, 0), DECIMALS_MAX);
    snprintf(text, sizeof text, "%.*f", decimals,
             exponent >= digits ? round(fabs(value)) : strtod(text, NULL));
    size_t whole = strcspn(text, "."), end = strlen(text);
    while (end > whole && (text[end - 1] == '0' || text[end - 1] == '.'))
        text[--end] = '\0';
    if (value < 0 && strcmp(text, "0") != 0)
        snprintf(f.text, sizeof f.text, "-");
    add_grouped(&f, text, whole);
    size_t at = strlen(f.text);
    snprintf(f.text + at, sizeof f.text - at, "%s", text + whole);
    return f;
}

struct figure figure_count(uint64_t n)
{
    struct figure f = {""};
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    add_grouped(&f, digits, (size_t)count);
    return f;
}

struct figure figure_time(double ns)
{
    static const struct {
        double less_than, in_ns; /* 999.6 ns are said to be 1 us */
        const char *name;
    } units[] = {
        {999.5, 1, "ns"}, {999.5e3, 1e3, "us"}, {999.5e6, 1e6, "ms"}, {INFINITY, 1e9, "s"}};
    size_t i = 0;
    if (!(ns > 0))
        i = 2;
    while (ns > 0 && i + 1 < COUNT(units) && ns >= units[i].less_than)
        i++;
    struct figure f = figure_digits(ns / units[i].in_ns, 3);
    size_t at = strlen(f.text);
    if (isfinite(ns))
        snprintf(f.text + at, sizeof f.text - at, " %s", units[i].name);
    return f;
}
