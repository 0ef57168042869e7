/* analyze_parts.c -- the parts of the report beside the rollup's tables, in the order they are told. */
#include "cli/analyze.h"

extern const struct analyze_part analyze_trace, analyze_compare, analyze_patterns,
    analyze_log_errors, analyze_phases, analyze_slowest, analyze_cost, analyze_what_if,
    analyze_providers, analyze_chains, analyze_limits;

const struct analyze_part *const analyze_parts[] = {
    &analyze_trace,     &analyze_compare, &analyze_patterns, &analyze_log_errors,
    &analyze_phases,    &analyze_slowest, &analyze_cost,     &analyze_what_if,
    &analyze_providers, &analyze_chains,  &analyze_limits,   NULL,
};
const size_t analyze_part_count = COUNT(analyze_parts) - 1;
_Static_assert(COUNT(analyze_parts) - 1 <= ANALYZE_PARTS_MAX, "a state for each");
