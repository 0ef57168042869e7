/* freeze.h -- the simulator stands still: all its workers stop reading and writing at one moment, and go on at another. For what a stalled
 * server does to those who measure it (coordinated omission). Connections are still made, by the kernel.
 *
 * Private to the mock room. [any thread, where nothing else is said] */
#pragma once

#include <pthread.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/loop.h"

#define FREEZES_TOLD 16 /* newest ones */

struct freeze {
    uint64_t begin_ns, end_ns; /* as asked for */
    /* As it was, once it was: from when on no worker moved, until when. */
    uint64_t began_ns, ended_ns;
    uint32_t workers_begun, workers_ended;
};

struct freezer {
    pthread_mutex_t lock;
    struct freeze list[FREEZES_TOLD]; /* ring */
    uint64_t count;                   /* ever */
    bool stopping;                    /* atomic: nobody waits any longer */
};

/* One a worker. */
struct freeze_worker {
    struct freezer *freezer;
    struct loop *loop;
    struct timer timer;
};

void freezer_init(struct freezer *f);
void freezer_fini(struct freezer *f);
/* A freeze from `begin_ns` to `end_ns` becomes the next one. False with a sentence: the one before is not over. */
MUST_USE bool freezer_order(struct freezer *f, uint64_t begin_ns, uint64_t end_ns, struct err *e);
/* Sets this worker's timer for the freeze ordered last. [the worker, or before it runs] */
void freeze_worker_follow(struct freeze_worker *w);
/* Those who stand still go on: the simulator ends. */
void freezer_stop(struct freezer *f);
/* [{"begin_ns":...,"end_ns":...},...], CLOCK_MONOTONIC: those that are over. */
MUST_USE bool freezer_write(struct freezer *f, struct buf *b);
