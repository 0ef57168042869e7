/* quota.h -- how much one holder (a key, a deployment) may take: requests and tokens a window, requests in flight at once.
 *
 * Exact across threads without a lock. A window lasts 60 s and starts with its first request, as LiteLLM's does; what it admits never
 * exceeds a limit, whatever number of threads asks at once. Tokens are reserved before a request goes out and settled when
 * its count is known. A request that is refused leaves nothing behind. Limits are the caller's, passed with each call: they may change
 * between two calls, and the next one goes by the new.
 *
 * All functions: [any thread], never wait, never fail. `now_ns` is the monotonic clock's; a loop's cached time will do. */
#pragma once

#include "base/base.h"

#define QUOTA_WINDOW_MS 60000

struct quota_limits {
    int64_t requests, tokens; /* a window; negative: no limit */
    int64_t parallel;         /* in flight at once; negative: no limit */
};

/* Zero-initialised it is empty. Only quota.c looks inside (atomics). */
struct quota {
    uint64_t window;           /* when the current one started, and its number */
    uint64_t requests, tokens; /* the number of a window, and the count in it */
    int64_t parallel;
    int64_t usual_tokens; /* a moving average, in 1/8 token; 0: nothing learnt yet */
};

enum quota_refusal { QUOTA_OK, QUOTA_REQUESTS, QUOTA_TOKENS, QUOTA_PARALLEL };

/* What a request holds of a quota, from quota_take until it is settled or refunded. Zero-initialised it holds nothing. */
struct quota_ticket {
    struct quota *quota; /* must outlive the ticket */
    uint32_t window;     /* the one it was taken in */
    int64_t tokens;      /* reserved */
    bool held;
};

/* As of one moment; the numbers are not read in one instant, so they may be a request apart. */
struct quota_view {
    int64_t requests, tokens, parallel;           /* used and reserved in this window; in flight */
    int64_t remaining_requests, remaining_tokens; /* at least 0; -1: no limit */
    uint64_t reset_ns;                            /* until the window ends; 0: none is under way */
};

/* Takes one request, `tokens` tokens (at least 0) and one place in flight, or nothing of all that: then says which limit refused, the first of
 * parallel, requests and tokens. A window in which no token is left admits no request, even one that reserves none. On QUOTA_OK the
 * ticket holds, and must be settled or refunded once. */
MUST_USE enum quota_refusal quota_take(struct quota *q, const struct quota_limits *limits,
                                       int64_t tokens, uint64_t now_ns, struct quota_ticket *t);

/* The request is over: replaces what was reserved by what was used, in the window it was taken in, and ends `parallel`. When that window is
 * over, only what was used beyond the reservation still counts: in the one that is under way now. Nothing on a ticket that holds nothing. */
void quota_settle(struct quota_ticket *t, int64_t used_tokens);

/* As if it had never been taken; but a window that it started stays started. Nothing on a ticket that holds nothing. */
void quota_refund(struct quota_ticket *t);

void quota_look(const struct quota *q, const struct quota_limits *limits, uint64_t now_ns,
                struct quota_view *out);

/* What requests of this holder use, for those that do not say: a moving average of what quota_learn was told (each new one weighs an eighth),
 * or -1 when nothing was. Learning may lose a count to another thread's. */
void quota_learn(struct quota *q, int64_t tokens);
int64_t quota_usual_tokens(const struct quota *q);
