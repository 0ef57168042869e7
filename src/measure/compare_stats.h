/* compare_stats.h -- which of several systems is faster? Arrays in, verdicts out. Pure; the only state is the seed.
 *
 * A metric is a matrix, values[block * systems + system], lower being better: the systems of a block were asked the same, at nearly the same
 * time, in random order (blocks.h). INFINITY is a failure, NaN a value that there is not (a pair's block with one is left out for that pair).
 *
 * The procedure:
 *   1. of three and more systems (that have values), Friedman's test; where it shows nothing, no pair is called different
 *   2. of each pair, Wilcoxon's signed-rank test of the blocks' log-ratios; p corrected by Holm over the pairs
 *   3. effects with 95 % intervals: the ratio of medians (bootstrap of whole blocks) and the typical ratio within a block, which is
 *      the Hodges-Lehmann shift of log values (interval: what the test does not reject)
 *   4. a verdict, with a minimum effect d: equivalent if the intervals of both effects lie within 1/(1+d) to 1+d; else faster or
 *      slower if p < alpha; else inconclusive. Two one-sided tests for many pairs: the interval's error is 2 alpha / pairs at most.
 *
 * What it errs in and what it misses is checked by simulation: tests/unit/test_compare_simulated.c. [any thread] */
#pragma once

#include "measure/bootstrap.h"
#include "measure/ranks.h"
#include "measure/spread.h"
#include "observe/significance.h"

#define COMPARE_BLOCKS_LEAST 6 /* with fewer no signed-rank test reaches 0.05 */

enum verdict { VERDICT_FASTER, VERDICT_SLOWER, VERDICT_EQUIVALENT, VERDICT_INCONCLUSIVE };
extern const char *const verdict_names[]; /* "faster", ... of the first against the second */

struct compare_plan {
    double alpha;      /* 0.05 */
    double min_effect; /* 0.05: differences below 5 % do not matter */
    size_t resamples;  /* 10,000 */
    uint64_t seed;     /* not 0 */
};

struct compare_system {
    size_t values, failures; /* values: failures included */
    struct estimate median, p95,
        p99;                /* failures are infinitely slow; intervals widened by autocorrelation */
    double autocorrelation; /* of successive values' logarithms; NaN below 8 */
    double later;           /* median of the run's second half over that of its first: drift */
};

struct compare_pair {
    uint32_t a, b;
    size_t blocks;             /* with a value of both */
    struct ratio median;       /* of a over b: 0.8 means that a takes 20 % less */
    struct ratio p95, p99;     /* NaN below 72 and 368 blocks */
    struct ratio typical;      /* exp(Hodges-Lehmann shift) */
    double less;               /* share of blocks in which a's value was less; ties count half */
    struct interval less_span; /* Wilson */
    double p, p_holm;
    double sigma; /* sd of a log value within a block, from the pair's differences; NaN below 2 */
    double
        need_blocks; /* to see a difference of min_effect 4 times in 5: 16.4 sigma^2 / ln(1 + min_effect)^2; NaN: not known */
    double seen;     /* the least difference that so many blocks show 4 times in 5: 0.12 is 12 % */
    enum verdict verdict;
    bool beyond; /* the whole interval is beyond the minimum effect */
    double
        later; /* the typical ratio in the second half over that in the first: 1 if the difference is steady */
};

struct compare_result {
    size_t systems, blocks, pair_count;
    struct friedman friedman; /* of those with values; p is NaN for two */
    bool nothing_shown;       /* by it: all pairs are at most inconclusive */
    struct compare_system *system;
    struct compare_pair *pair; /* (0,1), (0,2), ... (1,2), ... */
};

/* To be freed by compare_result_fini. systems >= 1. */
void compare_values(const double *values, size_t blocks, size_t systems,
                    const struct compare_plan *plan, struct compare_result *out);
void compare_result_fini(struct compare_result *r);
/* The pair of these two, in the order of `pair`; *turned: it is the pair (b, a). */
const struct compare_pair *compare_pair_of(const struct compare_result *r, uint32_t a, uint32_t b,
                                           bool *turned);

/* Success in the same blocks. */
struct compare_success {
    uint32_t a, b;
    size_t blocks, only_a, only_b; /* succeeded there */
    double p, p_holm;              /* McNemar, exact */
};
/* good[block * systems + system]: 1 succeeded, 0 failed, -1 not tried. `out` has room for systems * (systems - 1) / 2. */
void compare_successes(const signed char *good, size_t blocks, size_t systems,
                       struct compare_success *out);

/* Blocks needed to see a difference of `effect` (0.1: 10 %) 4 times in 5, with sd `sigma` of log values (facts: power 80 %, alpha 5 %). */
double compare_blocks_needed(double sigma, double effect);
/* Nearest rank of sorted values, with a 95 % interval from order statistics (binomial) whose ranks are moved apart by sqrt(n / n_eff); without
 * an interval where they would lie outside the sample. Refused where n is too small for any. */
struct estimate compare_level(const double *sorted, size_t n, double n_eff, double quantile);
