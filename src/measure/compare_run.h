/* compare_run.h -- asks several models of one server the same, block by block, so that they can be compared.
 *
 *     cold blocks      every request on a new connection: what connecting costs, measured apart
 *     warm-up blocks   not counted; they open the connections that are kept
 *     measured blocks  over kept connections, one for each model and lane
 *
 * In a block every model gets the same prompt, with a nonce that is new to all, in random order (blocks.h): one after the other, or all
 * at once (duet). `lanes` blocks are under way at a time. One thread, one loop; kernel receive times where they can be had. */
#pragma once

#include "measure/prompts.h"
#include "measure/sample.h"
#include "measure/target.h"

#define COMPARE_MODELS_MAX 16
#define COMPARE_LANES_MAX  64
#define COMPARE_BLOCKS_MAX 100000

struct compare_run;

struct compare_model {
    struct str name;
    struct str provider; /* "" where it is not known */
    struct price price;  /* for what the server does not say; price.known */
};

enum compare_phase { PHASE_COLD, PHASE_WARM_UP, PHASE_MEASURED, PHASE_COUNT };

struct compare_trial {
    enum compare_phase phase;
    uint32_t block, model, position; /* position within the block, from 0 */
    double cost_usd;      /* as the server says, else by tokens and price; < 0: not known */
    struct sample sample; /* without its gaps */
};

/* Why a run ended. */
enum compare_end { END_BLOCKS, END_BUDGET_USD, END_BUDGET_REQUESTS, END_STOPPED, END_PRECISE };

struct compare_run_options {
    const struct measure_target *target;
    const struct prompts *prompts;
    const struct compare_model *models;
    size_t model_count;         /* 1 to COMPARE_MODELS_MAX */
    size_t blocks[PHASE_COUNT]; /* of each phase */
    size_t lanes;               /* 1 to COMPARE_LANES_MAX */
    bool duet;
    double
        budget_usd; /* 0: none. No block begins that would go beyond, by the mean cost of those before */
    uint64_t budget_requests; /* 0: none. Cold and warm-up ones count */
    int64_t timeout_ms;       /* of a whole request; 0: none */
    uint64_t seed;            /* not 0: order and nonces */
    const volatile int
        *stop; /* becomes != 0: the run ends, blocks under way are lost; may be NULL */
    /* After each block that is whole; and after each pass of the loop, many times a second, with block == SIZE_MAX, for progress. False ends the
     * run (END_PRECISE), without the blocks that are under way; of a pass it is ignored. May be NULL. */
    bool (*on_block)(void *user, const struct compare_run *r, enum compare_phase phase,
                     size_t block);
    void *user;
};

struct compare_run {
    const struct compare_run_options *options;
    struct compare_trial *trials; /* of whole blocks, in the order of their ends */
    size_t trial_count, trial_room;
    size_t blocks_done[PHASE_COUNT];
    uint64_t requests; /* sent, those of lost blocks too */
    double spent_usd;  /* known costs, of lost blocks too */
    uint64_t unpriced; /* answered requests whose cost is not known */
    enum compare_end end;
    int64_t started_real_us;
    uint64_t elapsed_ns, cpu_ns; /* cpu: of this thread */
    uint64_t reads, stamped_reads,
        lag_max_ns; /* receive lag: the kernel's stamp to the read's return */
    double lag_sum_ns;
};

/* Runs to its end. compare_run_fini frees. */
void compare_run(struct compare_run *r, const struct compare_run_options *o);
void compare_run_fini(struct compare_run *r);
