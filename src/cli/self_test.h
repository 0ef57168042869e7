/* self_test.h -- how far off is the measuring engine on this host? Measured against a simulated provider in the same process, whose account of its own
 * sends is the truth (mock.h), closed loop and open loop. `weir load --self-test`, `weir profile ... --self-test`.
 *
 * Takes about five seconds. What an instrument says here is trusted when p50 and p99 of total, first token and gaps are within 1 % or 100 us of the
 * truth and its sends are on time; else the report says what is in the way. */
#pragma once

#include "cli/term.h"

struct self_test_options {
    const char *command; /* "load": for sentences on stderr */
    unsigned threads;    /* of the engine; 0: 1 */
    bool json;           /* on standard output; else a report for people */
    enum color_mode color;
    bool user_stamps; /* without the kernel's receive times, for comparison */
};

/* Prints the report. EXIT_GOOD: to be trusted; EXIT_PROBLEM: not; EXIT_UNREACHABLE: it could not be made, said on stderr. Blocks. [one thread, before
 * others of this program run: signals that come meanwhile end it as they always do] */
int self_test(const struct self_test_options *o);
