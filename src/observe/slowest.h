/* slowest.h -- the slowest requests of a log: the N of greatest latency, whatever the number of lines.
 *
 * The order is total, so that neither threads nor the order of lines change the answer: greater latency, then earlier
 * stamp, then smaller id. Only lines with a latency come in. One a thread, merged. */
#pragma once

#include "observe/log_meaning.h"
#include "observe/log_span.h"

#define SLOWEST_MAX 1000

struct slow_request {
    int64_t latency_us, stamp_us; /* INT64_MAX: no stamp */
    int64_t ttft_us;              /* here and below -1: not told */
    int64_t prompt_tokens, completion_tokens, total_tokens, http_status, provider_status;
    struct log_span span;
    enum log_outcome outcome;
    char id[128], trace_id[64], model[128], provider[64], deployment[128], error_type[64];
};

struct slowest {
    size_t max, count;
    struct slow_request **heap; /* the least slow one first; after slowest_sort the slowest */
};

/* `max` is brought down to SLOWEST_MAX. */
void slowest_init(struct slowest *s, size_t max);
void slowest_fini(struct slowest *s);
void slowest_take(struct slowest *s, const struct logline *l);
/* Moves what it needs out of `from`. */
void slowest_merge(struct slowest *into, struct slowest *from);
/* The slowest first. Afterwards nothing more is taken. */
void slowest_sort(struct slowest *s);
