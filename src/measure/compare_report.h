/* compare_report.h -- what a run of a comparison found: metrics by model and pair, successes, and all that could mislead.
 *
 * Only measured trials of whole blocks count; cold ones give what connecting costs. A failed request is infinitely slow in every metric of
 * time. Definitions are those of docs/measuring.md. */
#pragma once

#include "measure/compare_run.h"
#include "measure/compare_stats.h"

enum compared {
    COMPARED_E2E, /* first byte sent to last token; compared where all answers are equally long */
    COMPARED_PER_TOKEN, /* that over the answer's tokens */
    COMPARED_TTFT,
    COMPARED_TPOT,
    COMPARED_COST, /* USD for 1,000 tokens */
    COMPARED_COUNT
};
struct compared_info {
    const char *key, *heading; /* "e2e", "E2E" */
    const char *suffix;        /* of keys in files: "_ms", "_usd" */
    const char *noun;          /* "end-to-end time" */
    const char *less, *more;   /* "faster", "slower" */
    const char *formula;
};
const struct compared_info *compared_info(enum compared c);

struct compare_model_facts {
    uint64_t requests, ok, limited, reconnected, token_mismatches, unpriced;
    uint64_t outcomes[OUTCOME_COUNT];
    struct interval success;           /* Wilson; of measured requests */
    int64_t tokens_least, tokens_most; /* of answers; -1: not known */
    uint64_t prompt_tokens, completion_tokens;
    double cost_usd;       /* of measured requests whose cost is known; NaN: of none */
    struct estimate speed; /* tokens/s of a request, 1 / TPOT; NaN without streams */
    double cold_connect_ms,
        cold_ttft_ms; /* medians of cold trials (DNS to TLS; start to first token); NaN: none */
    size_t cold;
    const char *error; /* of the first failure, or NULL; the run's */
};

struct compare_report {
    const struct compare_run *run;
    struct compare_plan plan;
    size_t models, blocks;
    struct compare_model_facts *facts; /* by model */
    struct compare_result results[COMPARED_COUNT];
    bool has[COMPARED_COUNT];            /* there are values */
    bool is_compared[COMPARED_COUNT];    /* and their pairs mean something */
    enum compared primary;               /* the one that decides */
    struct compare_success *successes;   /* by pair, as in results */
    size_t blocks_equal, blocks_unequal; /* by the length of all answers that succeeded */
    double
        later; /* median of all models' second halves over that of their first: common drift; NaN below 12 blocks */
    double
        *position; /* [models]: typical time at this place of the block over that of all places */
};

/* `asked`: the metric that decides, or COMPARED_COUNT for the usual one: end to end, by the token where answers differ in length. compare_report_fini
 * frees; `run` is borrowed. */
void compare_report_make(struct compare_report *r, const struct compare_run *run,
                         const struct compare_plan *plan, enum compared asked);
void compare_report_fini(struct compare_report *r);

/* Is every pair of the deciding metric known as closely as the minimum effect asks, the interval's half no wider than it? For stopping early. */
bool compare_is_precise(const struct compare_run *run, const struct compare_plan *plan,
                        enum compared asked);
