/* rules.h -- faults set for the process or for a model, at the start or at run time: which request gets which.
 *
 * One rule a model, and one for all models that have none. A rule may be for so many requests only, or for a share of them: the n-th request
 * is in it or not by arithmetic, so of 100 requests a share of 0.3 takes exactly 30. Behind a lock, which is taken only while there are rules.
 * [any thread] */
#pragma once

#include <pthread.h>

#include "mock/sim.h"

#define RULES_MAX             2048
#define RULES_MODEL_BYTES_MAX 200

struct rule {
    char model[RULES_MODEL_BYTES_MAX];
    size_t model_bytes; /* 0: all models without a rule of their own */
    struct sim_spec spec;
    int64_t left;      /* requests that still get it; -1: no end */
    int64_t share_ppm; /* of the requests it is for, in millionths */
    uint64_t seen;
};

struct rules {
    pthread_mutex_t lock;
    struct rule *list; /* under lock */
    uint32_t count;    /* written under lock; read by rules_apply without, to pass by */
};

void rules_init(struct rules *r);
void rules_fini(struct rules *r);
/* Sets the rule of a model ("": of all), replacing the one it has. `count` -1: no end. False with a sentence. */
MUST_USE bool rules_set(struct rules *r, struct str model, const struct sim_spec *spec,
                        int64_t count, double share, char *why, size_t why_bytes);
/* Takes back the rule of a model ("": of all), or every rule. */
void rules_remove(struct rules *r, struct str model);
void rules_clear(struct rules *r);
/* Lays the rule for this model over the knobs, if it is this request's turn. */
void rules_apply(struct rules *r, struct str model, struct sim_knobs *k);
/* JSON: [{"model":"m","fault":"status=429","left":-1,"share":0.3},...] */
MUST_USE bool rules_write(struct rules *r, struct buf *b);
