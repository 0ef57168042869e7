/* engine.h -- sends requests by a plan and measures each: the instrument. One event loop a thread, on the gateway's own net/ and http/.
 *
 * Latency is counted from when a request was due, not from when there was time to send it (no coordinated omission). Nothing is hidden: what is due waits
 * for a slot and is sent late; what never had one before the run was over is a sample too (OUTCOME_DROPPED). A stall of this program just before the
 * end is made up for half a second: as long as there are slots, what was due in it is sent late. Precise schedules sleep until shortly before a request
 * is due and then spin. Each request has an x-request-id of its own, and a nonce in its prompt that no other run has. */
#pragma once

#include "measure/arrivals.h"
#include "measure/prompts.h"
#include "measure/sample.h"
#include "measure/target.h"

#define ENGINE_THREADS_MAX 64

struct engine_options {
    const struct measure_target *target;
    const struct prompts *prompts;
    const struct arrivals_plan *plan;
    unsigned threads; /* 0: 1 */
    uint32_t
        connections_max; /* in flight at most, all threads; 0: 20,000, or fewer where the limit of open files is lower. Open loop: what is
                            due beyond that waits for a slot and is late; so is what finds 256 of its thread waiting for new connections */
    bool fresh_connections; /* a new one for each request */
    bool user_stamps;       /* do not ask the kernel for receive times */
    bool spin;              /* before a due time: precise, and one busy core a thread */
    int64_t connect_timeout_ms, head_timeout_ms, idle_timeout_ms, total_timeout_ms; /* 0: none */
    int64_t
        grace_ms; /* what is in flight when the last stage is over has so long to end; then CANCELLED. < 0: as long as it takes */
    /* Called for each request that ended, in the order of ending, on the thread that sent it: `thread` is 0 to threads - 1. What it points to is
     * valid during the call. Keep it short: it is on the clock of the others. */
    void (*on_sample)(void *user, unsigned thread, const struct sample *s);
    void *user;
    uint64_t first_number; /* of the ids */
};

struct engine;
/* Starts the threads; the first stage begins start_delay later, at one moment for all. NULL with a sentence. */
MUST_USE struct engine *engine_start(const struct engine_options *o, struct err *e);

struct engine_progress { /* summed over threads; any thread may ask at any time */
    uint64_t sent, ended, ok, failed, dropped, in_flight, connects;
    uint64_t bytes_in, chunks;
    uint32_t stage;      /* the latest that has begun */
    uint64_t elapsed_ns; /* since the first stage began */
    bool over;
};
void engine_progress(const struct engine *e, struct engine_progress *out);
/* No more requests; those in flight have grace_ms. [any thread, not signal handlers] */
void engine_stop(struct engine *e);
/* The same, and those in flight are ended at once, as CANCELLED. [any thread, not signal handlers] */
void engine_cancel(struct engine *e);
/* Waits until all threads are done, at most `timeout_ms` (-1: as long as it takes). True: they are. */
bool engine_wait(struct engine *e, int timeout_ms);
void engine_free(struct engine *e);

/* What the run says of the instrument itself, once it is over. */
struct engine_account {
    uint64_t started_ns, ended_ns; /* CLOCK_MONOTONIC; of the measured stages */
    int64_t started_real_us;
    /* Of the busiest thread: its CPU time over the time elapsed, spinning left out, both from its first measured request until it saw the end of the
     * measured stages: at most 1. */
    double cpu_share;
    uint64_t ticker_stall_max_ns; /* longest time a loop did not come round */
    /* Receive lag, kernel's stamp to read returned, over all reads: what a tool without stamps would have added. ns. */
    double lag_p50_ns, lag_p99_ns, lag_max_ns, lag_mean_ns;
    uint64_t stamped_reads, reads;
    uint64_t
        stamp_error_max_ns; /* how far off a kernel's stamp may be on the clock of durations, of all threads (net/stamp.h); 0: there was none */
    /* Lateness of sends in open loop: first byte given to the kernel (on a new connection: dispatch) - due. ns. */
    double late_p50_ns, late_p99_ns, late_max_ns;
    uint64_t offered, sent, dropped; /* arrivals of measured stages */
    /* For Little's law: time-weighted mean number of slots taken by requests of the measured stages, from started_ns until the last of them ended
     * (in_flight_window_ns): number / window x mean time in it must give the same. A slot is taken from dispatch until the answer's end was seen. */
    double in_flight_mean;
    uint64_t in_flight_window_ns;
    uint64_t in_flight_max; /* with several threads the sum of what each had at most */
};
void engine_account(const struct engine *e, struct engine_account *out);
