/* health.h -- what the parts of GET /health share: checks of deployments, and those who wait for their outcome. [control thread]
 *
 * health.c makes the checks, health_ask.c says what one asks and what an answer means, health_answer.c writes it down. */
#pragma once

#include "gateway/engine.h"
#include "gateway/gateway.h"

#define HEALTH_WAITERS_MAX 64

/* One deployment's. */
struct check {
    struct health *health;
    struct probe probe;
    bool wanted, running;
    bool completion;              /* what runs, or ran last, asks for a completion */
    uint64_t started_ns, done_ns; /* done_ns: of the last outcome; 0: none yet */
    /* the outcome */
    bool alive;
    int status;     /* 0: no answer, or nothing asked */
    char said[320]; /* dead: why; alive: what is worth knowing, or "" */
};

/* Somebody who asked for /health. */
struct waiter {
    struct control_job *job;
    char model[256], model_id[256]; /* ?model= and ?model_id=; "": any */
    uint64_t fresh_ns;              /* outcomes older than this are not what was asked for */
    uint32_t next;                  /* checks before this one are done */
};

struct health {
    struct gateway *gateway;
    struct snapshot *snapshot; /* a reference */
    struct resolver *resolver;
    struct pool blocks;
    struct http_client *client; /* the snapshot's targets */
    struct engines *engines;
    struct check *checks; /* one a deployment */
    uint32_t count, next, wanted, running;
    struct timer background;
    struct rng rng;
    struct waiter waiters[HEALTH_WAITERS_MAX];
    int waiter_count;
};

/* ---- health_ask.c ---- */
void health_ask(struct check *c, const struct deployment *d);
/* The probe has ended: fills the outcome. */
void health_judge(struct check *c);

/* ---- health_answer.c ---- */
/* Fills what the query asks for. False: the job was answered with an error. */
bool health_read_query(const struct health *h, struct waiter *w);
bool health_is_asked_for(const struct waiter *w, const struct deployment *d);
void health_write(const struct health *h, const struct waiter *w);
