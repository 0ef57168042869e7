/* fleet.h -- what the gateway knows of its deployments while it runs: requests in flight, failures, rest, speed.
 *
 * One state a deployment, found by its id, so that it outlives a reload of the configuration; all workers share it. Everything in it is atomic and
 * read without a lock: a choice made from numbers that are a moment old is as good as any. States live as long as the process. */
#pragma once

#include "base/clock.h"
#include "config/config.h"
#include "gateway/quota.h"

#define REST_STATUS_COUNT 12 /* statuses that rests are counted by; the last is all others */

/* Written by any worker with the __atomic builtins; the functions below are all that do so, but for `in_flight` and `quota`. What every choice
 * reads stands on lines of its own: those that each request writes would take it away from the other cores. */
struct deployment_state {
    struct str model_id;
    struct deployment_state *next; /* in the fleet's list */
    uint64_t hash;                 /* of model_id: the same in every process, for choose.c */

    uint64_t rest; /* 0: in rotation; else one word that says all about its rest (fleet.c) */

    uint32_t fails_in_row;
    uint32_t class_fails[FAILURE_CLASS_COUNT]; /* in a row, by class, for allowed_fails_policy */
    uint32_t rests_in_row;                     /* each doubles the time, up to a limit */
    uint32_t last_status, last_class;          /* of the newest failure */
    uint64_t last_failure_ns;
    uint32_t rest_class;                         /* of the failure that began the newest rest */
    uint64_t rests_total;                        /* times it was sent to rest */
    uint64_t rests_by_status[REST_STATUS_COUNT]; /* the same, by fleet_rest_status */

    /* Set by health.c [control]. */
    uint32_t probed; /* enum probed */
    uint64_t probed_ns;

    /* Written by each request. */
    int in_flight __attribute__((aligned(128)));
    struct quota quota; /* rpm, tpm, max_parallel_requests */
    uint64_t minute;    /* attempts and failures of this minute, packed (fleet.c) */
    uint64_t last_success_ns;
    /* Speed, decayed: µs; 0: not measured. */
    uint64_t ttft_us, token_us, measured_ns;    /* of streams: to the first token, between two */
    uint64_t plain_token_us, plain_measured_ns; /* of plain answers: whole time per token */
    /* What its provider's newest answer that told of it said is left of the provider's own limits, and 1; 0: none did (upstream_limits.c). */
    uint64_t remaining_requests, remaining_tokens;
} __attribute__((aligned(128)));

enum probed { PROBED_NEVER, PROBED_ALIVE, PROBED_DEAD };

struct fleet;

struct fleet *fleet_new(void);
void fleet_free(struct fleet *f);
/* The state of a deployment, made where it is new. [control] */
struct deployment_state *fleet_state(struct fleet *f, struct str model_id);

enum rest {
    REST_NOT,
    REST_HALF_OPEN, /* its rest is over: one request may try it */
    REST_RESTS      /* or another request is trying it */
};
/* Is it out of rotation? [any] */
enum rest fleet_rest(const struct deployment_state *s, uint64_t now_ns);
/* ns until it may be tried; 0: it may now. [any] */
uint64_t fleet_rest_left_ns(const struct deployment_state *s, uint64_t now_ns);
/* For the one request that tries a half-open deployment: false, another one does, or it is in rotation already. Ends with fleet_alive, _failed,
 * _succeeded or _untried; where none of them comes, another may try after ten minutes. [any] */
MUST_USE bool fleet_try(struct deployment_state *s, uint64_t now_ns);
/* The request that tried it (and no other) went away before anything was known. [any] */
void fleet_untried(struct deployment_state *s);
/* It has begun to answer: when it was being tried, it is in rotation again. A rest that has not ended goes on: answers to requests sent before it
 * began say nothing new. [any] */
void fleet_alive(struct deployment_state *s);
/* A whole answer. Times in µs, negative: not known. A stream has `ttft_us` and, with two tokens or more, `token_us`, the mean time between two. A plain
 * answer has no first token to time: `ttft_us` is negative and `token_us` is its whole time over its completion tokens (over 1 where it has
 * none, as embeddings). The two are kept apart. [any] */
void fleet_succeeded(struct deployment_state *s, int64_t ttft_us, int64_t token_us,
                     uint64_t now_ns);

#define FLEET_WAITED_FOR_MS                                                                        \
    60000 /* a provider's Retry-After up to this is waited for before a retry */

/* How an attempt failed. */
struct attempt_failure {
    enum failure_class class;
    int status;             /* the provider's; 0: none */
    int64_t retry_after_ms; /* the provider's; negative: not given */
};
/* Counts a failure. True: it was sent to rest by this one. `alone`: it is its group's only one. [any] */
bool fleet_failed(struct deployment_state *s, const struct deployment *d, const struct routing *r,
                  bool alone, const struct attempt_failure *f, uint64_t now_ns);
/* A probe found it alive: if it rests, its rest is over and one request may try it. False: it was not resting. [any] */
bool fleet_wake(struct deployment_state *s, uint64_t now_ns);
/* The status that rests_by_status[index] counts: 0 none (not reached, or no HTTP), -1 any other. [any] */
int fleet_rest_status(int index);
/* "rate_limit"; "none" for FAILURE_NONE. [any] */
const char *fleet_failure_name(enum failure_class class);
/* 0 healthy, 1 its newest attempt failed, 2 out of rotation: LiteLLM's litellm_deployment_state. [any] */
int fleet_health(const struct deployment_state *s, uint64_t now_ns);
