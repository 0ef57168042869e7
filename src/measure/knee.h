/* knee.h -- at which load does more load stop to pay: throughput hardly grows any more, and latency does.
 *
 * The knee is the level where throughput / latency (Kleinrock's power, 1979) is greatest. In a closed loop, where latency is load / throughput,
 * that is the last level up to which load paid: its growth e = ln(throughput ratio) / ln(load ratio), from the level before, was at least 1/2; a
 * doubling brought at least +41 %. Of levels whose power is the same within their intervals (a quarter at most) the lowest is taken: more load brought nothing that
 * can be shown. Pure. [any thread] */
#pragma once

#include "base/base.h"

struct knee_level {
    double load;             /* users, or requests a second; ascending */
    double throughput;       /* requests a second that were answered */
    double throughput_error; /* half of its 95 % interval; NaN: not known, taken for 0 */
    double latency;          /* any unit: the median */
    bool
        bad; /* failures, or the client was the limit: not taken for the knee, nor anything above it */
};

enum knee_kind {
    KNEE_NONE, /* fewer than two levels */
    KNEE_FOUND,
    KNEE_NOT_REACHED, /* the highest level is the best: it may go on */
    KNEE_AT_ONCE,     /* the lowest level is */
};

struct knee {
    enum knee_kind kind;
    size_t at;   /* index of the level; of the best one where it was not reached */
    size_t peak; /* the level of the highest throughput */
    /* From the knee to the next level, as shares: +0.03, +0.92. NaN where there is no next one. */
    double throughput_gain, latency_gain;
    /* From the level before. NaN where there is none. */
    double throughput_gain_before, latency_gain_before;
};

void knee_find(const struct knee_level *levels, size_t count, struct knee *out);
/* ln(throughput ratio) / ln(load ratio) of two levels: 1 grows as load does, 0 not at all. */
double knee_growth(const struct knee_level *from, const struct knee_level *to);
/* Is there anything to gain from going on? False after two levels in a row that brought less than a growth of 0.1. */
bool knee_goes_on(const struct knee_level *levels, size_t count);
/* Loads worth a closer look once the knee is found: whole numbers between its neighbours, at most `most`, not measured yet. */
size_t knee_refine(const struct knee_level *levels, size_t count, const struct knee *knee,
                   double *out, size_t most);
