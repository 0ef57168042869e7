/* figures.h -- numbers in sentences of the instrument: so many significant digits, never an exponent.
 *
 * For what is said below the commands, which have cli/numbers.h. The text comes back by value and may be used at once. ASCII. [any thread], pure. */
#pragma once

#include "base/base.h"

struct figure {
    char text[48];
};

/* With `digits` (1 to 9) significant ones, zeros at a fraction's end left off; from 10^digits on whole, and all of them; with a comma before each
 * three: 0.00004, 12.3, 16,100. What is not finite: "n/a". */
struct figure figure_digits(double value, int digits);
struct figure figure_count(uint64_t n); /* 1,234,567 */
/* Three digits: 40 ns, 12.3 us, 4.5 ms, 1.23 s. None is "0 ms". */
struct figure figure_time(double ns);
