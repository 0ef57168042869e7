/* attempt.h -- one try at one deployment, and what is tried next when it fails. Private to src/gateway.
 *
 * A request has one attempt at a time, or two while it is hedged. An attempt begins when `route` has chosen a deployment; it is won when its answer may go to
 * the client (attempt.c), and from then on it is the request's: relay.c carries it over, and nothing else is tried. Until then it may fail, and again.c
 * decides whether another one follows: at another deployment, after a wait at the same one, or at a fallback model.
 * The rule behind it: no byte has reached the client. http_began(r->conn) is asserted false wherever something is tried again. */
#pragma once

#include "gateway/fleet.h"
#include "http/client.h"

struct request;

enum attempt_phase {
    ATTEMPT_NONE,
    ATTEMPT_CHOSEN,  /* a deployment was chosen */
    ATTEMPT_SENT,    /* no answer yet */
    ATTEMPT_STREAM,  /* a stream's head is here; its first event is not */
    ATTEMPT_REFUSED, /* an error's head is here; its body is being read */
    ATTEMPT_WON,     /* relay.c has it */
};

struct attempt {
    struct request *request;
    enum attempt_phase phase;
    bool half_open; /* it is the one request that tries a deployment that rested */
    bool is_hedge;
    bool judged;              /* the fleet was told how it ended */
    bool rested;              /* ... and sent the deployment to rest */
    int64_t number;           /* among its request's: 1, 2, ... */
    struct str fallback_from; /* the group that failed before its own, or empty */
    const struct deployment *deployment;
    struct deployment_state *state;
    const struct price *price; /* the deployment's, or for a wildcard that of the model meant */
    struct str upstream_model;
    struct quota_ticket ticket; /* its place at the deployment */
    struct http_exchange exchange;
    struct iovec *pieces;
    struct timer timer; /* streams: when the first token is due */
    uint64_t chosen_ns;
    /* the answer's head */
    int status; /* 0: no answer came */
    bool ends_by_close, packed, is_events, is_json;
    struct str content_type; /* where the cache is to keep the answer */
    int64_t length;          /* -1: not known */
    int64_t retry_after_ms;  /* -1: not given */
    struct str headers;      /* lines for the client */
    struct buf held;         /* a stream's bytes before its first event is whole; an error's body */
};

/* How it failed, all that decisions need. */
struct failure {
    enum error_code code;
    struct str detail; /* may be empty */
    enum failure_class class;
};

/* ---- attempt.c ---- */
extern const struct http_exchange attempt_callbacks;
/* The step `upstream`: sends it. [worker] */
void attempt_start(struct attempt *a);
/* Ends it without a verdict: cancelled, or lost against the other one. Logs and counts it if it was sent. [worker] */
void attempt_drop(struct attempt *a);
/* Tells the fleet how it failed, once. */
void attempt_judge(struct attempt *a, const struct failure *f);
/* It failed, or the answer that relay.c has been given of it did, before a byte reached the client. */
void attempt_failed(struct attempt *a, enum error_code code, struct str detail);
/* The client is gone: whatever is under way is stopped, at once. */
void attempts_cancel(struct request *r);
/* A whole answer turned out to be an error (f) before a byte reached the client. True: the request goes on with another attempt. */
bool attempt_refused(struct attempt *a, const struct failure *f);
/* A token of the stream has come: its time-out is off. */
void attempt_first_token(struct attempt *a);
/* Frees what it holds; its exchange must have ended. */
void attempt_fini(struct attempt *a);

/* ---- upstream_limits.c ---- */
/* Keeps what an answer's head says is left of its provider's own limits. [any] */
void upstream_limits_note(struct deployment_state *s, const struct h1_head *h);

/* ---- again.c ---- */
/* What class a failure is of: weir's own error, the provider's status, the words of its body. [any] */
enum failure_class failure_classify(enum error_code code, int status, struct str body);
/* Retry-After in ms from retry-after-ms, seconds, or a date (RFC 9110 §10.2.3); -1: none that makes sense. [any] */
int64_t retry_after_ms(const struct h1_head *h, int64_t now_real_us);
/* Has this deployment failed the request in the group at hand? */
bool again_has_failed(const struct request *r, const struct deployment *d);
/* Remembers that the attempt's deployment failed the request, and when the provider said to come again. */
void again_note(struct request *r, const struct attempt *failed);
/* Plans what follows a failed attempt, which was noted: true, and the request will go on by itself; false: that was all. */
bool again_plan(struct request *r, const struct attempt *failed, const struct failure *f);
/* Does as planned: back to the step `route`. */
void again_go(struct request *r);
/* Where no deployment of the group at hand is to be had (`why`): true, another group is. Called by `route`. */
bool again_elsewhere(struct request *r, enum error_code why);
/* Before the same deployment is asked again: ns to wait, the last one's Retry-After or a backoff with jitter. */
uint64_t again_wait_ns(struct request *r);

/* ---- hedge.c: a second attempt when the first token is late ---- */
struct hedge_clock;
struct hedge_clock *hedge_clocks_new(uint32_t groups);
void hedge_clocks_free(struct hedge_clock *h);
/* A request's first attempt was sent: sets the timer, if this request may be hedged. */
void hedge_arm(struct request *r);
/* Its first token (or answer) came so many µs after its first attempt began. */
void hedge_measure(struct request *r, int64_t us);
