/* tail_stats.h -- what `weir tail` sums up while lines go by: the last seconds, and all since it began.
 *
 * A slot a second of arrival, sixty of them. Lines of the backlog are not counted: they came before. Not thread-safe. */
#pragma once

#include "observe/histogram.h"
#include "observe/logline.h"

#define TAIL_SLOTS 60

struct tail_tally {
    uint64_t requests, failed, tokens; /* tokens: of answers */
    double cost_usd;
    struct histogram latency_us;
};

struct tail_stats {
    struct tail_tally slots[TAIL_SLOTS], span, whole;
    uint64_t begin_ns, span_ns, last_s; /* last_s: the second of the newest slot */
};

void tail_stats_init(struct tail_stats *s, uint64_t now_ns);
void tail_stats_fini(struct tail_stats *s);
/* Counts a request. */
void tail_stats_take(struct tail_stats *s, const struct logline *l, uint64_t now_ns);
/* "12.3 req/s  errors 1.2 %  p50 850 ms  p95 2.3 s  310 tok/s  $0.12/min": over the last 10 s, the money over a minute. */
void tail_stats_live(struct tail_stats *s, uint64_t now_ns, char *out, size_t out_bytes);
/* The same with counts, over the time since it was last called so, ... */
void tail_stats_span(struct tail_stats *s, uint64_t now_ns, char *out, size_t out_bytes);
/* ... and over all. */
void tail_stats_whole(const struct tail_stats *s, uint64_t now_ns, char *out, size_t out_bytes);
