/* numbers.h -- numbers for people: three significant digits, a unit, never an exponent.
 *
 * Every table, graph and line of `weir analyze` and its kin writes its numbers here, so that the same quantity looks the
 * same everywhere. All take a double, so a column can name its function in a table; NaN stands for "not known" and is
 * written NUM_UNKNOWN, as infinities are. The text comes back by value and may be used at once:
 *
 *     printf("%s", num_ms(took_us).text);
 *
 * It is UTF-8 only for NUM_UNKNOWN, which term_safe turns into "-" for ASCII. All functions: [any thread], pure. */
#pragma once

#include "base/base.h"

#define NUM_UNKNOWN "\xE2\x80\x93" /* an en dash */

struct num {
    char text[40];
};

struct num num_count(double count);  /* 0.5, 12.3, 12,345, 1.23 M */
struct num num_ms(double us);        /* 0.42 ms, 850 ms, 1.23 s, 2 min 5 s, 3 h 12 min, 2 d 5 h */
struct num num_usd(double usd);      /* $0.0000123, $0.10, $1.23, $12,345, $1.23 M */
struct num num_pct(double fraction); /* 0.3 %, 12 %; "100 %" is said of nothing less than all */
struct num num_rate(double per_second); /* 0.25/s, 12.3/s, 1,235/s */
struct num num_bytes(double bytes);     /* 512 B, 1.5 KiB, 0.98 MiB: IEC 80000-13 */
