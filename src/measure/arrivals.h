/* arrivals.h -- when is the next request due, and for which model: one global process, taken apart without losing its shape. Pure.
 *
 * Open loop: constant, Poisson or gamma gaps at a rate that may go from one value to another within a stage; bursts; a recorded log's times.
 * Closed loop: a number of users that may change within a stage; a request is due when a user is free. With n threads, thread k draws an
 * independent Poisson process of rate/n (their superposition is one of `rate`), and takes every n-th slot, beginning with k, of a
 * constant one: never a grid with jitter. Equal seeds, equal arrivals. */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "base/rand.h"

enum stage_kind { STAGE_USERS, STAGE_RATE };
enum spacing { SPACING_CONSTANT, SPACING_POISSON, SPACING_GAMMA, SPACING_BURST };

struct stage {
    struct str name;
    enum stage_kind kind;
    double from, to;      /* users, or requests a second: linear from one to the other */
    uint64_t duration_ns; /* 0: until `requests` were sent */
    uint64_t requests;    /* 0: no such limit */
    enum spacing spacing; /* STAGE_RATE */
    double gamma_shape;   /* SPACING_GAMMA: 1 is Poisson, less is burstier (vLLM's burstiness) */
    uint32_t burst; /* SPACING_BURST: so many at once, at `rate` requests a second on average */
    bool warm_up;   /* measured apart */
};

struct replayed {       /* of a log */
    uint64_t offset_ns; /* from the first */
    uint32_t model;
};

struct mix_part {
    struct str model;
    double weight;
};

struct arrivals_plan { /* immutable, shared */
    const struct stage *stages;
    size_t stage_count;
    const struct replayed *replay; /* or NULL */
    size_t replay_count;
    double replay_speed; /* 2: twice as fast */
    const struct mix_part *mix;
    size_t mix_count;
    size_t prompt_count;
    uint64_t seed;
};

struct arrival {
    uint64_t offset_ns; /* from the run's start */
    uint64_t tag;
    uint32_t stage, model, prompt;
};

struct arrivals {
    const struct arrivals_plan *plan;
    struct rng rng;
    unsigned thread, threads;
    size_t stage;
    uint64_t stage_begins_ns, sent_in_stage, number;
    double at; /* where the process is within the stage */
};

void arrivals_init(struct arrivals *a, const struct arrivals_plan *plan, unsigned thread,
                   unsigned threads);
/* The next one of an open-loop stage or a replay. False: no more in this stage; arrivals_stage then says which comes next. */
bool arrivals_next(struct arrivals *a, struct arrival *out);
/* How many requests this thread may have in flight `offset_ns` after the start, in a stage of users. Rounded so that the threads' sum is right. */
uint32_t arrivals_users(const struct arrivals *a, uint64_t offset_ns);
/* Closed loop: model and prompt of the next request. */
void arrivals_draw(struct arrivals *a, struct arrival *out);
/* Requests that the plan asks for between two moments; for the report's "offered". NaN in closed loop. */
double arrivals_offered(const struct arrivals_plan *p, size_t stage);
/* Reads a request log (weir's or LiteLLM's): when each request began and for which model, ascending; models new to it are added to the mix. */
MUST_USE bool arrivals_from_log(struct arena *a, const char *path, struct replayed **out,
                                size_t *count, struct mix_part **mix, size_t *mix_count,
                                struct err *e);
