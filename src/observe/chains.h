/* chains.h -- retries and fallbacks: how many attempts requests needed, what that saved, and what it cost.
 *
 * A chain is all attempts that were made for one request of a client's.
 *   weir: the request's line tells of its chain itself (attempts, fallback_from); lines of event "attempt" tell of attempts that
 *     did not answer. A request without `attempts`, or with 0 (from cache, refused), never reached an upstream.
 *   LiteLLM: every attempt is a line; those with one trace_id are a chain, provided that at most one of them succeeded, and that
 *     one last. A trace with more is a session: of its requests only the number is known (each success ends one, and so
 *     does the trace itself when its last line failed). Lines from cache, or without a provider, never reached an upstream.
 * A failed attempt is any that failed: attempts' lines, LiteLLM's lines, and the last attempt of a request of weir's that failed, where it names a
 * provider (else it ended in a wait, or nobody was left to ask, and all its attempts have lines).
 * Added time is what passed before the attempt that answered: latency less upstream (weir), from the start of the first to that
 * of the last attempt (LiteLLM).
 *
 * Memory is bounded: LiteLLM's traces are kept one by one, up to CHAINS_TRACES_MAX; then half of them are let go by their hash,
 * again and again, so what is left is a sample of one in 2^sample_bits that neither threads nor order of lines change.
 * Failed attempts are counted from all lines even then. One a thread, merged, then settled. */
#pragma once

#include "observe/histogram.h"
#include "observe/line_cost.h"
#include "observe/log_names.h"

#define CHAINS_TRACES_MAX 131072
#define CHAINS_NAMES_MAX  4096 /* models and providers; more are "other" */
#define CHAINS_ROUTES_MAX 1024 /* pairs of a fallback; more are "other" to "other" */
#define CHAINS_WORST_MAX  1000
#define CHAINS_NEED_MAX   4 /* attempts that are told apart: 0 to 3, and as many or more */

/* By model or by provider. */
struct chain_group {
    const char *name;            /* NULL: the lines do not say */
    uint64_t requests, attempts; /* requests that reached an upstream, and what they needed */
    uint64_t retried,
        saved; /* of them with more than one attempt or a fallback; and well in the end */
    uint64_t failed_attempts, wasted_us, wasted_pico; /* by the attempt's own model or provider */
};

struct chain_groups {
    struct map by_name;
    struct chain_group **list;
    size_t count;
};

struct chain_route {
    const char *from, *to; /* NULL: not told */
    uint64_t count, success, cost_pico;
    struct histogram added; /* µs */
};

/* A request of more than one attempt, as long as it is among the worst. */
struct chain {
    uint64_t attempts;
    int64_t latency_us, stamp_us; /* -1: not told; INT64_MAX: no stamp */
    enum log_outcome outcome;
    const char *model, *from; /* the last one's; fell back from (NULL: did not) */
    char id[128];             /* weir: request_id; LiteLLM: trace_id */
};

/* LiteLLM's, until it is settled. */
struct chain_trace {
    uint64_t hash;
    char id[40]; /* its beginning */
    int64_t first_start_us, last_start_us, last_end_us;
    const char *first_model, *last_model, *last_provider;
    uint64_t cost_pico;
    uint32_t first_tie, last_tie; /* which of two lines at one moment is meant */
    uint32_t success, failed, others;
    enum log_outcome last_outcome;
};

struct chain_sum {
    uint64_t requests, success;
    struct histogram added; /* of retry and fallback, µs */
};

struct chains {
    struct log_names names;
    uint64_t requests, reached, attempts; /* attempts: of those that reached an upstream */
    struct chain_sum need[CHAINS_NEED_MAX + 1];
    struct chain_sum retry,
        fallback; /* requests of more than one attempt: to the same model, or another */
    uint64_t failed_attempts, wasted_us, wasted_pico;
    struct chain_groups models, providers;
    struct map route_by_name;
    struct chain_route **routes;
    size_t route_count;
    struct chain **worst; /* most attempts first */
    size_t worst_count, worst_max;
    uint64_t sessions, session_requests, session_attempts;

    struct chain_trace *traces;
    size_t trace_count, trace_room;
    uint32_t *table; /* index + 1 by hash */
    size_t table_size;
    unsigned sample_bits; /* traces kept: one in 2^sample_bits */
    uint64_t sampled;     /* traces there were when settled */
};

void chains_init(struct chains *c, size_t worst_max);
void chains_fini(struct chains *c);
void chains_take(struct chains *c, const struct logline *l, enum log_event event);
void chains_merge(struct chains *into, const struct chains *from);
/* Makes chains of the traces, and puts groups and routes in order, most failed attempts (uses) first. Once all is merged; may be called
 * again. */
void chains_settle(struct chains *c);
/* Attempts for each request that reached an upstream; NaN: none did. */
double chains_amplification(uint64_t requests, uint64_t attempts);
