/* line_cost.h -- what a line of the log cost, as it says itself and as another price would have it.
 *
 * Money is summed in whole 1e-12 USD, as rollups do, so that a sum does not depend on its order. A sum that is full ($18.4 million) stays
 * full: lines of nonsense cannot make it begin anew, and that, too, is so in any order. [any thread], pure. */
#pragma once

#include "observe/cost.h"
#include "observe/log_meaning.h"

#define USD_OF_PICO(pico) ((double)(pico) / 1e12)

/* 1e-12 USD; the caller's amounts are not negative. More than a million dollars is a stranger's nonsense, and counts as that. */
static inline uint64_t pico_of_usd(double usd)
{
    return usd > 0 ? (uint64_t)(MIN(usd, 1e6) * 1e12 + 0.5) : 0;
}
/* Past UINT64_MAX it stays there. */
static inline void sum_add(uint64_t *sum, uint64_t amount)
{
    if (UNLIKELY(__builtin_add_overflow(*sum, amount, sum)))
        *sum = UINT64_MAX;
}
/* What the line says; 0 where it does not (then LOG_BIT(cost_usd) is not in `found`). */
static inline uint64_t line_cost_pico(const struct logline *l)
{
    return l->found & LOG_BIT(cost_usd) ? pico_of_usd(l->r.cost_usd) : 0;
}
/* A found count, held below what could make a sum wrap; 0 where it is not there. */
static inline uint64_t line_count(const struct logline *l, uint64_t bit, int64_t value)
{
    return l->found & bit ? (uint64_t)MIN(value, INT64_C(1000000000000000)) : 0;
}
/* The line's numbers that cost_of looks at, as a record: a logline has only what was found. */
struct record line_cost_record(const struct logline *l);
