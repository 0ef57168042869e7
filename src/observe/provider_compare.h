/* provider_compare.h -- the same model at several providers or deployments, side by side, and whether one of them is better.
 *
 * Requests that an upstream was chosen for, without those that the response cache answered. Times are of successes; success is out of those
 * that were not cancelled, since a client that leaves says nothing about the provider. Advice is given where a difference is both
 * more than chance (significance.h, divided by the number of pairs) and large enough to matter. It is about the traffic as it
 * was: one that got the longer prompts looks slower. `weir compare` measures with the same prompts.
 * One a thread, merged in any order. */
#pragma once

#include "observe/groups.h"
#include "observe/histogram.h"
#include "observe/line_cost.h"
#include "observe/significance.h"

#define PROVIDERS_GROUPS_MAX 2000
#define PROVIDERS_ENOUGH     30   /* successes, to be compared */
#define PROVIDERS_MATTERS    0.05 /* of the median, or of the price: less is no reason to change */

struct provider_sum {
    uint64_t requests, success, cancelled;
    uint64_t rate_limited, timeouts; /* 429s of either side; errors named so, 408 and 504 */
    uint64_t tokens;
    uint64_t priced, priced_tokens,
        pico; /* requests that say what they cost, their tokens, 1e-12 USD */
    struct histogram latency_us, ttft_us, tokens_per_second; /* the last in 1/1000 */
};

struct providers {
    struct groups groups; /* of struct provider_sum, by model, provider, deployment */
};

void providers_init(struct providers *p);
void providers_fini(struct providers *p);
/* Requests only; other events are passed over. */
void providers_take(struct providers *p, const struct logline *l, enum log_event event);
void providers_merge(struct providers *into, const struct providers *from);

/* ---- a model ---- */

#define PROVIDERS_OF_A_MODEL_MAX 32

enum provider_verdict {
    PROVIDER_ROUTE,   /* to `best`, which is faster than each other and fails no more often */
    PROVIDER_KEEP,    /* the same, and it has the most requests already */
    PROVIDER_CHEAPER, /* none is faster; `best` costs less a token than `other`, which has the most requests, and fails no more often */
    PROVIDER_TRADE_OFF,  /* `best` is faster than each other, but `other` costs less a token */
    PROVIDER_FAILS_MORE, /* `best` is faster but fails more often than `other` */
    PROVIDER_ALIKE,      /* no difference shown */
    PROVIDER_TOO_FEW,    /* less than two have enough successes */
};

struct provider_choice {
    struct str model;
    struct group *all[PROVIDERS_OF_A_MODEL_MAX]; /* most requests first */
    size_t count, left_out;
    enum provider_verdict verdict;
    const struct group *best,
        *other; /* `other`: the one with the most requests but `best`, or that fails less */
    double p;   /* of the difference in time between them */
};

/* Models with at least two, most requests first; how many have only one is *alone. The caller frees the array. */
struct provider_choice *providers_choices(const struct providers *p, size_t *count, size_t *alone);

double provider_success(const struct provider_sum *s); /* share, NaN: none */
double provider_usd_per_1k(const struct provider_sum *s);
double provider_usd_per_request(const struct provider_sum *s);
