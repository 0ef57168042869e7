/* arrivals.h -- when is the next request due, and for which model: one global process, taken apart without losing its shape. Pure.
 *
 * Open loop: constant, Poisson or gamma gaps at a rate that may go from one value to another within a stage; bursts; a recorded log's times.
 * Closed loop: a number of users that may change within a stage; a request is due when a user is free.
 *
 * The process is drawn in the time in which the rate is 1 (the integral of the rate), and its points are carried back: t = L^-1(L). So ramps keep
 * the shape of the gaps exactly (time rescaling: Cox and Lewis, The Statistical Analysis of Series of Events, 1966, ch. 2). Each of n threads draws all of
 * it from the plan's seed and takes what falls to it in turn: together they are the process itself, whatever its gaps, and how many threads there are
 * changes nothing. Equal seeds, equal arrivals. */
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

struct scripted { /* of a caller that says which request is which */
    uint32_t model, prompt;
    uint64_t tag;
};

struct arrivals_plan { /* immutable, shared */
    const struct stage *stages;
    size_t stage_count;
    const struct replayed *
        replay; /* or NULL. Then stages only say when (until when) its times are kept to, and what is warm-up */
    size_t replay_count;
    double replay_speed;        /* 2: twice as fast; 0: 1 */
    const struct mix_part *mix; /* NULL: one model, number 0 */
    size_t mix_count;
    size_t prompt_count; /* taken in turn; 0: 1 */
    uint64_t seed;
    /* What request 0, 1, ... of the run is, instead of the mix; NULL: nobody says. The run ends with the last of them. In closed loop they begin in
     * this order, whatever the threads; requests of equal tags have equal nonces, so equal prompts. For plans that are all closed or all open. */
    const struct scripted *script;
    size_t script_count;
};

struct arrival {
    uint64_t offset_ns; /* from the run's start */
    uint64_t
        number;   /* of the run, from 0; distinct over all threads. In open loop: of the process */
    uint64_t tag; /* the script's; else the number */
    uint32_t stage, model, prompt;
};

struct arrivals {
    const struct arrivals_plan *plan;
    struct rng rng; /* of the gaps; the same in all threads */
    unsigned thread, threads;
    size_t stage;
    uint64_t stage_begins_ns, stage_ends_ns; /* UINT64_MAX: not known yet */
    bool exhausted;                          /* no more in this stage */
    uint64_t drawn_in_stage, drawn;          /* points of the process, for all threads */
    uint64_t taken;                          /* by this thread */
    double at;         /* where the process is, in units of the rate's integral */
    double ramp_s;     /* how long the stage's rate goes from one value to the other */
    double *shares_to; /* of the mix, cumulated, up to 1 */
};

void arrivals_init(struct arrivals *a, const struct arrivals_plan *plan, unsigned thread,
                   unsigned threads);
void arrivals_fini(struct arrivals *a);
/* The stage that is under way; NULL: all are over. */
const struct stage *arrivals_stage(const struct arrivals *a);
/* Is the stage one of arrivals_next (rates, replays), or one of users? */
bool arrivals_open_loop(const struct arrivals *a);
/* The next one of this thread in this open-loop stage. False: no more of them; stage_ends_ns is then known (UINT64_MAX: never, the rate is 0). */
bool arrivals_next(struct arrivals *a, struct arrival *out);
/* On to the next stage, which begins at `offset_ns`: where the one before ended. False: that was the last. */
bool arrivals_advance(struct arrivals *a, uint64_t offset_ns);
/* How many requests this thread may have in flight `offset_ns` after the start, in a stage of users. Rounded so that the threads' sum is right. */
uint32_t arrivals_users(const struct arrivals *a, uint64_t offset_ns);
/* When that may change next; UINT64_MAX: not in this stage. */
uint64_t arrivals_users_change(const struct arrivals *a, uint64_t offset_ns);
/* Closed loop: number, model and prompt of the next request. `script_at`, with a script: which of its requests this is (threads take them in turn, as
 * they are free); false: it has fewer. `offset_ns` is the caller's to set. */
bool arrivals_draw(struct arrivals *a, uint64_t script_at, struct arrival *out);
/* Requests that the plan asks for in a stage, on average where chance decides; for the report's "offered". NaN in closed loop and where there is no end. */
double arrivals_offered(const struct arrivals_plan *p, size_t stage);
/* Reads a request log (weir's or LiteLLM's): when each request began and for which model, ascending; models new to it are added to the mix. */
MUST_USE bool arrivals_from_log(struct arena *a, const char *path, struct replayed **out,
                                size_t *count, struct mix_part **mix, size_t *mix_count,
                                struct err *e);
