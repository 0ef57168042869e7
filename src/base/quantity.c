/* quantity.c -- a number and its unit. Units of powers of ten become an exponent behind the digits, so that nothing is rounded twice. */
#include "base/quantity.h"

#include <math.h>

#include "base/when.h"

static const struct {
    char suffix;
    const char *exponent;
} scales[] = {{'k', "e3"}, {'K', "e3"}, {'M', "e6"}, {'G', "e9"}, {'%', "e-2"}};

static const char *const expected[] = {
    [QUANTITY_NUMBER] = "a number, such as 12, 10k, 1.5M or 5%",
    [QUANTITY_MS] = "a time, such as 2000 (ms), 250ms, 2s or 1m30s",
    [QUANTITY_USD] = "an amount in USD, such as 0.01 or $0.01",
    [QUANTITY_SHARE] = "a share, such as 5% or 0.05",
};

static bool plain_number(struct str text, double *out)
{
    double value;
    if (!str_to_f64(text, &value) || !isfinite(value))
        return false;
    *out = value;
    return true;
}

static bool scaled_number(struct str text, double *out)
{
    char digits[64];
    for (size_t i = 0; i < COUNT(scales); i++) {
        if (text.n < 2 || text.n > 48 || text.p[text.n - 1] != scales[i].suffix)
            continue;
        text.n--;
        if (text.p[text.n - 1] == '.' || str_find(text, 'e') >= 0 || str_find(text, 'E') >= 0)
            return false;
        int n = snprintf(digits, sizeof digits, "%.*s%s", STR_ARG(text), scales[i].exponent);
        return plain_number((struct str){digits, (size_t)n}, out);
    }
    return plain_number(text, out);
}

static bool parse(struct str text, enum quantity kind, double *out)
{
    int64_t us;
    if (kind == QUANTITY_MS) {
        if (plain_number(text, out))
            return true;
        if (!when_span(text, &us, NULL))
            return false;
        *out = (double)us / 1000;
        return true;
    }
    if (kind == QUANTITY_USD)
        text = str_skip(text, str_starts(text, STR("$")));
    return scaled_number(text, out);
}

bool quantity_parse(struct str text, enum quantity kind, double *out, struct err *e)
{
    if (parse(text, kind, out))
        return true;
    return err_set(e, "expected %s, got \"%.*s\"", expected[kind], (int)MIN(text.n, 60u),
                   text.p ? text.p : "");
}
