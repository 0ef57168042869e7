/* tally.h -- what the simulator counted, by model: exact, so that tests can hold a gateway's log
 * and metrics against it.
 *
 * One tally a worker, written by that worker alone; any thread may merge it into another one while
 * it is being written. Counts are in place before the answer they belong to is handed to the
 * kernel: who has an answer finds it counted. */
#pragma once

#include "mock/knobs.h"

#define TALLY_MODELS_MAX 2048 /* names beyond these are counted as "other" */
#define TALLY_STATUS_MIN 100
#define TALLY_STATUS_MAX 599

enum tally_counter {
    TALLY_REQUESTS,          /* read; = completed + cancelled + cut + stream_errors + in_flight */
    TALLY_STREAMS,           /* of these, streams */
    TALLY_COMPLETED,         /* answered whole, whatever the status */
    TALLY_CANCELLED,         /* the client left before the end */
    TALLY_CUT,               /* ended early on purpose, by a close or a reset */
    TALLY_STREAM_ERRORS,     /* ended by an error event inside the stream */
    TALLY_PROMPT_TOKENS,     /* of completed answers with status 200 */
    TALLY_COMPLETION_TOKENS, /* the same */
    TALLY_CACHED_TOKENS,
    TALLY_REASONING_TOKENS,
    TALLY_SLOW,           /* requests that slow-ms held for */
    TALLY_SENT_TOKENS,    /* in streams, as they go, whatever becomes of these */
    TALLY_PARTIAL_TOKENS, /* sent in streams that did not complete */
    TALLY_IN_FLIGHT,      /* worked out by tally_write */
    TALLY_NAMED_COUNT,
    TALLY_STATUS = TALLY_NAMED_COUNT - TALLY_STATUS_MIN, /* + status: answers begun with it */
    TALLY_FAULT = TALLY_STATUS + TALLY_STATUS_MAX + 1,   /* + knob: requests that got this fault */
    TALLY_COUNTER_COUNT = TALLY_FAULT + SIM_KNOB_COUNT
};

struct tally_slot {
    struct str model; /* raw JSON text without quotes */
    uint64_t counts[TALLY_COUNTER_COUNT];
    /* The newest client that left: when (CLOCK_MONOTONIC, so that another program on this machine can
     * compare), and how long after its request had come. 0: none yet. */
    uint64_t last_cancel_ns, last_cancel_after_ns;
};
struct tally {
    uint64_t accepted,
        turned_away; /* connections; turned_away of these closed by a fault at once */
    struct tally_slot *slots[TALLY_MODELS_MAX + 1];
    uint32_t slot_count; /* slots[0..slot_count) are there; published with release order */
};

/* The slot of a model, made when it is new. Never NULL. [the owner] */
struct tally_slot *tally_slot(struct tally *t, struct str model);
static inline void tally_add(struct tally_slot *s, int counter, uint64_t n)
{
    COUNTER_ADD(s->counts[counter], n);
}
/* A client left at `now_ns`; its request had come at `arrived_ns`. Counts it. */
void tally_cancel(struct tally_slot *s, uint64_t arrived_ns, uint64_t now_ns);
/* Adds `from` (maybe another thread's) to `into` (the caller's). */
void tally_merge(struct tally *into, const struct tally *from);
/* `now` less `base` as members of a JSON object, without its braces: totals, "status", "faults", "connections" and "models". */
MUST_USE bool tally_write(struct buf *b, struct tally *now, struct tally *base);
void tally_fini(struct tally *t);
