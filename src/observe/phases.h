/* phases.h -- where a request's time goes: waiting to be sent, the provider's first token, writing the rest, the gateway.
 *
 * Of all requests that say how long they took, but for those that the response cache answered. In terms of the record:
 *   queue        queue_ms: read to sent upstream
 *   first token  ttft_ms less queue_ms: what the provider took until its first token
 *   generation   latency_ms less ttft_ms
 *   inter-token  generation / (completion tokens - 1), of streams with two tokens or more (TPOT; ITL's mean of one request)
 *   overhead     overhead_ms: all that the gateway added, the queue in it
 * Shares are of the sum of latencies, and add up to it: there the overhead's part after the queue is the gateway's and not the generation's,
 * and an answer without a first token is one piece. One a thread, merged in any order. */
#pragma once

#include "observe/groups.h"
#include "observe/histogram.h"
#include "observe/log_meaning.h"

#define PHASES_GROUPS_MAX 2000

enum phase {
    PHASE_QUEUE,
    PHASE_OVERHEAD,
    PHASE_FIRST_TOKEN,
    PHASE_GENERATION,
    PHASE_INTER_TOKEN,
    PHASE_TOKENS_PER_SECOND, /* in 1/1000; the others in µs */
    PHASE_COUNT
};

enum phase_share {
    SHARE_QUEUE,
    SHARE_FIRST_TOKEN,
    SHARE_GENERATION,
    SHARE_ANSWER, /* of requests without a first token: not streamed, or failed before it */
    SHARE_GATEWAY,
    SHARE_COUNT
};

struct phase_sum {
    uint64_t requests;
    uint64_t share_us[SHARE_COUNT];
    struct histogram spreads[PHASE_COUNT];
};

struct phases {
    struct phase_sum total;
    struct groups groups; /* of struct phase_sum, by model and provider */
    uint64_t hits;        /* left out */
};

void phases_init(struct phases *p);
void phases_fini(struct phases *p);
/* Requests only; other events are passed over. */
void phases_take(struct phases *p, const struct logline *l, enum log_event event);
void phases_merge(struct phases *into, const struct phases *from);

/* A share of the time, 0 to 1; NaN where no request says how long it took. */
double phases_share(const struct phase_sum *s, enum phase_share share);
/* A quantile in the phase's unit (µs, or 1/1000 tokens/s); NaN where there is no value. */
double phases_quantile(const struct phase_sum *s, enum phase phase, double quantile);
