/* engine_internal.h -- the measuring engine from the inside: engine.c (the whole), engine_thread.c (one loop's life and its stages),
 * engine_pace.c (being on time), engine_slot.c (one request and its answer).
 *
 * A thread owns all that its struct engine_thread holds but the counters, which any thread may read (COUNTER_GET), and what is marked
 * atomic. A slot is a request in flight with its buffers; a free one keeps them for the next request. */
#pragma once

#include <pthread.h>

#include "http/client.h"
#include "measure/answer.h"
#include "measure/engine.h"
#include "observe/histogram.h"

#define ENGINE_COLD_MAX 256
#define ENGINE_ID_BYTES 24 /* of x-request-id: 11 that name the run, '-', 12 digits of the number */

struct engine_thread;

struct slot {
    struct http_exchange x;
    struct answer answer;
    struct sample sample;
    struct engine_thread *thread;
    struct iovec request;
    char *buffer;
    size_t room;
    uint64_t *gaps_ns;
    uint64_t read_ns; /* of the last read that was looked at */
    uint64_t chunks;  /* of the answer, counted so far */
    bool busy, open_loop;
    struct slot *next_free;
};

enum thread_phase { PHASE_WAITING, PHASE_RUNNING, PHASE_GRACE, PHASE_OVER };

/* Written by the thread alone; read by any. */
struct engine_counters {
    uint64_t sent, ended, ok, failed, dropped, in_flight, chunks, stage;
};

struct engine_thread {
    struct engine *engine;
    unsigned index;
    pthread_t id;
    struct loop *loop;
    struct resolver *resolver;
    struct pool blocks;
    struct http_client *client;
    struct http_client_counters net;
    struct engine_counters counters;
    enum thread_phase phase;

    struct arrivals arrivals;
    struct arrival next; /* the next one due, with has_next */
    bool has_next;
    struct slot **slots, *free_slots;
    size_t slot_count, slot_max;
    uint64_t **gaps; /* mappings, for several slots each */
    uint32_t in_flight;
    /* Requests of open loop that wait for a connection: some may have got one since. */
    struct cold {
        const struct slot *slot;
        uint64_t started_ns;
    } cold[ENGINE_COLD_MAX];
    unsigned cold_count;

    struct timer stage_timer; /* the stage's end, a change of users, the end of the grace */
    struct timer pace_timer;  /* shortly before the next one is due */
    struct timer ticker;
    uint64_t paced_for_ns, tick_due_ns, grace_ends_ns;
    uint64_t work; /* counts what was done: a pass that leaves it as it was has only waited */

    /* the account */
    struct histogram lag, late;
    uint64_t reads, stamped_reads;
    uint64_t stamp_error_max_ns;
    uint64_t stall_max_ns;
    uint64_t spun_ns, cpu_from_ns, spun_from_ns; /* ..._from: at the begin of what is measured */
    /* Of the measured stages, and the time in which they were used: from the first request that was sent until the end was seen, which may be long
     * after it. */
    uint64_t cpu_ns, spun_measured_ns, cpu_window_from_ns, cpu_window_ns;
    bool measuring;
    uint64_t measured_from_ns, measured_to_ns, measured_last_end_ns;
    uint64_t sent, dropped; /* of measured stages */
    uint64_t in_flight_max;
    double slots_ns; /* sum of the times for which slots were taken */
};

struct engine {
    struct engine_options o;
    unsigned thread_count, threads_started;
    struct engine_thread *threads;
    struct arena arena;
    struct str head; /* of every request, up to x-request-id */
    char id_prefix[16];
    uint64_t nonce_salt;
    /* Of stages of users that end with a number of requests: how many were begun, and when (from the start, ns) the last was; 0: not yet.
     * Atomic. */
    uint64_t *tickets, *ticket_ends_ns;
    uint64_t scripted; /* atomic: requests of the script that were begun */
    uint64_t start_ns; /* atomic; 0: the threads are not all ready */
    int64_t start_real_us;
    bool stop, cancel; /* atomic */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ready;   /* under lock */
    unsigned running; /* atomic; going down is told under lock */
};

/* ---- engine_thread.c ---- */
void *engine_thread_main(void *arg);
/* Looks again: has a stage ended, may more be sent? On the thread's loop. */
void engine_thread_look(void *thread);
/* A slot came free at `now_ns`. */
void engine_thread_freed(struct engine_thread *t, uint64_t now_ns);

/* A request of this stage is sent or dropped. */
void engine_thread_note_stage(struct engine_thread *t, uint32_t stage, bool warm_up);

/* ---- engine_pace.c ---- */
/* Sends what is due, as far as there are slots. */
void engine_pace_due(struct engine_thread *t);
/* The same after something else was handled: one look at the clock when nothing is. */
void engine_pace_check(struct engine_thread *t);
/* One pass of the loop: waits for events, or until the next one is due. */
void engine_pace_pass(struct engine_thread *t);
void engine_pace_init(struct engine_thread *t);
void engine_pace_fini(struct engine_thread *t);

/* ---- engine_slot.c ---- */
/* NULL: all are taken. */
struct slot *engine_slot_get(struct engine_thread *t);
/* Sends a request that was due at `due_ns`. */
void engine_slot_send(struct slot *s, const struct arrival *a, uint64_t due_ns, bool open_loop);
/* A sample of what was due and is not sent. */
void engine_slot_drop(struct engine_thread *t, const struct arrival *a, uint64_t due_ns);
/* Ends what is in flight, as CANCELLED. */
void engine_slots_cancel(struct engine_thread *t);
void engine_slots_fini(struct engine_thread *t);
