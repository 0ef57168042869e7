/* choose.h -- which of a group's deployments takes the next attempt (docs/routing.md, "Choosing").
 *
 * Pure but for three things: random numbers, the lease on a deployment whose rest is over (fleet_try), and the caller's `take`. Reads the fleet's
 * states without a lock, allocates nothing, and costs O(n) for a group of n. */
#pragma once

#include "base/err.h"
#include "base/rand.h"
#include "gateway/fleet.h"

struct choice_request {
    const struct model_group *group;
    const struct routing *routing;
    struct deployment_state *const *states; /* by deployment id */
    const struct str *tags;                 /* the request's */
    int tag_count;
    uint64_t sticky;       /* sticky_hash(); 0: nothing to be faithful to */
    bool stream;           /* what latency is: see fleet_succeeded */
    int64_t prompt_tokens; /* estimate; 0: not known */
    const uint32_t *
        tried; /* ids of deployments that failed this request; chosen again only when nothing else is left */
    int tried_count;
    /* Asked for the best one, then the next best, until it says true: takes what the attempt needs of the deployment's limits. May be NULL. */
    bool (*take)(void *arg, const struct deployment *d);
    void *take_arg;
    uint64_t now_ns;
    struct rng *rng;
};

struct choice {
    const struct deployment *deployment; /* NULL: see `why` */
    bool
        half_open; /* this request is the one that tries it after its rest: end with fleet_alive, _failed or _untried */
    /* Without a deployment: */
    enum error_code
        why; /* ERR_TAGS_UNMATCHED, ERR_PROMPT_TOO_LONG, ERR_DEPLOYMENTS_REST, ERR_DEPLOYMENTS_FULL */
    uint64_t wait_ns; /* REST and FULL: until the first of them may take a request; at least 1 s */
    int resting, full, too_long,
        other_tags; /* how many were left out, each by the first filter that did */
};

/* What a deployment may take: rpm and tpm where they are enforced, max_parallel_requests always. False: none applies. [any] */
bool deployment_limits(const struct routing *r, const struct deployment *d, struct quota_limits *l);

/* [any] */
struct choice choose_deployment(const struct choice_request *q);

#define CHOICE_PROBLEM_BYTES 400
/* A sentence for the client about a choice without a deployment; `model` is the name asked for. Returns its bytes, no NUL. [any] */
size_t choice_problem(const struct choice *c, struct str model, char out[CHOICE_PROBLEM_BYTES]);
