/* what_if.h -- the same requests at other prices: what would they have cost with another model, or by another price table?
 *
 * A plan is routes ("gpt-4o=gpt-4o-mini,claude*=groq/llama-3.3-70b-versatile"), a price table, or both. The tokens of a line that a
 * route fits are priced as its target; others by the table, where it knows their model; the rest stays what the log says.
 * Cached and reasoning tokens are priced by cost.c's rules. It cannot know how many tokens another model would have written.
 * One struct what_if a thread, merged in any order. The plan is read only, and outlives them. */
#pragma once

#include "observe/groups.h"
#include "observe/line_cost.h"

#define WHAT_IF_ROUTES_MAX 64
#define WHAT_IF_GROUPS_MAX 10000

struct what_if_route {
    struct str from, to; /* `from`: a pattern with '*' */
    const struct price *price;
};

struct what_if_plan {
    struct what_if_route routes[WHAT_IF_ROUTES_MAX];
    int count;
    const struct prices *table; /* asked before the built-in one, or NULL */
};

/* `routes` (may be NULL) and `table` (may be NULL) are borrowed. False: not routes, or a target without a price. */
MUST_USE bool what_if_plan(struct what_if_plan *plan, const char *routes,
                           const struct prices *table, struct err *e);

struct what_if_sum {
    uint64_t requests, tokens;
    uint64_t now_pico, then_pico; /* 1e-12 USD */
    uint64_t unpriced_now; /* requests with tokens of whose cost the log says nothing: 0 in `now` */
    uint64_t unknown_then; /* requests to be priced anew whose tokens are not known: as now */
};

void what_if_add(struct what_if_sum *to, const struct what_if_sum *sum);

/* A group's last text is what it was priced as: a route's target, "" for the table; missing: as the log says. */
struct what_if {
    const struct what_if_plan *plan;
    struct groups lines; /* private */
};

void what_if_init(struct what_if *w, const struct what_if_plan *plan);
void what_if_fini(struct what_if *w);
/* Requests only; other events are passed over. */
void what_if_take(struct what_if *w, const struct logline *l, enum log_event event);
void what_if_merge(struct what_if *into, const struct what_if *from);
/* Groups of struct what_if_sum by model, provider and what they were priced as, for groups_fini; and their sum. */
struct what_if_sum what_if_result(const struct what_if *w, struct groups *out);
