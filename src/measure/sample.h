/* sample.h -- one measured request: its marks on the clock, what came back, how it ended.
 *
 * All marks are CLOCK_MONOTONIC in ns, 0: not reached. "Arrived" is the kernel's receive time of the segment that completed the event where
 * it can be had (kernel_stamped), else the time at which read returned; never after parsing. The names are those of the definitions in
 * docs/measuring.md. */
#pragma once

#include "base/str.h"

struct record;

enum outcome {
#define O(name, key, help) OUTCOME_##name,
#include "measure/outcomes.def"
#undef O
    OUTCOME_COUNT
};
const char *outcome_key(enum outcome o);
const char *outcome_help(enum outcome o);

#define SAMPLE_ID_BYTES    64
#define SAMPLE_NAME_BYTES  96
#define SAMPLE_ERROR_BYTES 160

struct sample {
    uint64_t number;               /* of the run, from 0, in the order of due times of its thread */
    uint64_t tag;                  /* the arrival's: the caller's own */
    uint32_t stage, model, prompt; /* indices */
    uint16_t thread;
    uint8_t outcome; /* enum outcome */
    bool stream, reused, kernel_stamped, warm_up;
    int http_status; /* 0: no head came */

    uint64_t due_ns;   /* intended send: the schedule's; closed loop: when the slot was free */
    uint64_t start_ns; /* dispatch */
    uint64_t resolved_ns, connected_ns,
        secured_ns;                  /* ends of DNS, TCP, TLS; 0 on a kept connection */
    uint64_t sent_first_ns, sent_ns; /* t_w0, t_w1: first and last byte given to the kernel */
    uint64_t first_byte_ns, head_ns; /* t_b, t_h */
    uint64_t first_event_ns;         /* first event of any kind: the role delta */
    uint64_t
        first_token_ns; /* c_1: first event with content, reasoning, refusal or tool arguments */
    uint64_t first_content_ns;  /* first of these that is no reasoning */
    uint64_t last_token_ns;     /* c_m */
    uint64_t usage_ns, done_ns; /* t_u, t_d */
    uint64_t end_ns;            /* t_e: end of the body, or of the trying */

    uint32_t chunks; /* m: events that carry tokens */
    /* Gaps between them, chunks - 1 of them; valid in the callback only. Of very long answers the first GAPS_KEPT. */
    const uint64_t *gaps_ns;
    uint32_t gap_count;
    uint64_t longest_gap_ns; /* of all of them, also of those not kept */
    int64_t prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens; /* -1: not told */
    bool tokens_counted; /* completion_tokens is the number of chunks, for want of usage */
    uint64_t body_bytes;
    double cost_usd; /* x-litellm-response-cost; < 0: not told */
    /* The gateway's own account (Server-Timing, x-litellm-*), us; < 0: not told. */
    int64_t server_queue_us, server_upstream_us, server_overhead_us;
    char request_id[SAMPLE_ID_BYTES];   /* sent as x-request-id */
    char deployment[SAMPLE_NAME_BYTES]; /* x-litellm-model-id, or "" */
    char finish_reason[32];
    char error[SAMPLE_ERROR_BYTES]; /* a sentence; "" when OK */
};

#define GAPS_KEPT 8192

/* a - b where both were reached, else -1. */
static inline int64_t sample_span_ns(uint64_t from_ns, uint64_t to_ns)
{
    return from_ns && to_ns ? (int64_t)(to_ns - from_ns) : -1;
}

/* The request as a record (event request), for --log. Strings are borrowed from `s`, `model` and static text. [any thread] */
void sample_to_record(const struct sample *s, struct str model, int64_t real_us_at_end,
                      struct record *out);
