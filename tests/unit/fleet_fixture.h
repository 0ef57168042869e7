/* fleet_fixture.h -- a group of deployments with their states, and how often each is chosen, as tests of choosing and of the fleet need it. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>

#include "gateway/choose.h"

#define GROUP_MAX 256
#define START_NS  (1000 * NS_PER_S)

struct fixture {
    struct fleet *fleet;
    struct deployment deployments[GROUP_MAX], *list[GROUP_MAX];
    struct deployment_state *states[GROUP_MAX];
    struct model_group group;
    struct routing routing;
    struct rng rng;
    struct choice_request q;
};

static inline void fixture_init(struct fixture *f, int count)
{
    memset(f, 0, sizeof *f);
    f->fleet = fleet_new();
    for (int i = 0; i < count; i++) {
        char id[32];
        int n = snprintf(id, sizeof id, "deployment-%d", i);
        f->list[i] = &f->deployments[i];
        f->states[i] = fleet_state(f->fleet, (struct str){id, (size_t)n});
        f->deployments[i] = (struct deployment){.id = (uint32_t)i,
                                                .model_name = STR("m"),
                                                .model_id = f->states[i]->model_id,
                                                .rpm = -1,
                                                .tpm = -1,
                                                .cooldown_ms = -1,
                                                .max_input_tokens = -1,
                                                .price = price_unknown()};
    }
    f->group = (struct model_group){.name = STR("m"), .deployments = f->list, .count = count};
    f->routing = (struct routing){.latency_ttl_ms = 3600000,
                                  .allowed_fails = 3,
                                  .cooldown_ms = 5000,
                                  .tags_match_any = true,
                                  .health_check_staleness_ms = 60000};
    for (int i = 0; i < FAILURE_CLASS_COUNT; i++)
        f->routing.retry_policy.by_class[i] = f->routing.allowed_fails_policy.by_class[i] = -1;
    rng_seed(&f->rng, 20261126);
    f->q = (struct choice_request){.group = &f->group,
                                   .routing = &f->routing,
                                   .states = f->states,
                                   .now_ns = START_NS,
                                   .rng = &f->rng};
}

static inline void fixture_fini(struct fixture *f)
{
    fleet_free(f->fleet);
}

/* Out of rotation for `ms` from START_NS on. */
static inline void fixture_rest(struct fixture *f, int i, int64_t ms)
{
    struct attempt_failure failure = {
        .class = FAILURE_NOT_FOUND, .status = 404, .retry_after_ms = ms};
    assert_true(
        fleet_failed(f->states[i], &f->deployments[i], &f->routing, false, &failure, START_NS));
}

/* Index of the one chosen; -1: none. */
static inline int chosen(struct fixture *f)
{
    struct choice c = choose_deployment(&f->q);
    return c.deployment ? (int)c.deployment->id : -1;
}

/* How often each is chosen; -1 is never an answer. */
static inline void draw(struct fixture *f, int draws, int counts[GROUP_MAX])
{
    memset(counts, 0, GROUP_MAX * sizeof *counts);
    for (int i = 0; i < draws; i++) {
        int at = chosen(f);
        assert_in_range(at, 0, f->group.count - 1);
        counts[at]++;
    }
}

/* Do the counts fit the shares? Chi-square below its 99.9 % point (Wilson and Hilferty's approximation); a share of 0 allows no count. */
static inline void fits(const int *counts, const double *shares, int n)
{
    double total_share = 0, total = 0, chi = 0;
    int freedom = -1;
    for (int i = 0; i < n; i++) {
        total_share += shares[i];
        total += counts[i];
    }
    for (int i = 0; i < n; i++) {
        double expected = total * shares[i] / total_share;
        if (expected == 0) {
            assert_int_equal(counts[i], 0);
            continue;
        }
        chi += (counts[i] - expected) * (counts[i] - expected) / expected;
        freedom++;
    }
    double k = 2.0 / (9 * MAX(freedom, 1)),
           limit = MAX(freedom, 1) * pow(1 - k + 3.09 * sqrt(k), 3);
    if (freedom > 0 && chi > limit)
        fail_msg("chi-square %g is above %g with %d degrees of freedom", chi, limit, freedom);
}

static inline void set_weights(struct fixture *f, const double *weights)
{
    f->group.weight_total = 0;
    for (int i = 0; i < f->group.count; i++) {
        f->deployments[i].weight = weights[i];
        f->group.weight_total += weights[i];
    }
}
