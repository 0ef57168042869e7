/* num_signed.h -- a difference for people: any of numbers.h's forms with its sign. */
#pragma once

#include <math.h>

#include "cli/numbers.h"

static inline struct num num_signed(double value, struct num (*show)(double))
{
    struct num n = show(fabs(value)), out;
    const char *sign = value > 0 ? "+" : value < 0 ? "-" : "";
    snprintf(out.text, sizeof out.text, "%s%.38s", sign, n.text);
    return out;
}
