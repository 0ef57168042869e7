/* cache.h -- the response cache on the road: what a request carries of it, and the functions other steps call.
 *
 *     limit -> cache_run -> route -> upstream -> relay -> record
 *                 | hit                           |         |
 *                 +-> replay -> record    cache_take_*    cache_keep
 *
 * cache_control.c reads what the request says of the cache, cache.c looks up and replays, cache_keep.c gathers and keeps. The store itself is
 * cache_store.h. Private to src/gateway. Thread: the request's worker, always. */
#pragma once

#include "base/buf.h"
#include "gateway/cache_store.h"

struct attempt;
struct gateway;
struct request;

/* What a request says of the cache: the body's member `cache`, and Cache-Control. */
struct cache_control {
    bool no_cache, no_store, use_cache;
    int64_t ttl_ms;     /* how long its answer may be kept; negative: not said */
    int64_t max_age_ms; /* the oldest answer it takes; negative: any */
    struct str space;   /* its namespace; .p NULL: not said */
};

/* Part of struct request; all zero: the cache has no part in it. */
struct cache_request {
    struct cache_control control;
    struct cache_key key;
    bool asked;  /* was looked up */
    bool keeps;  /* its answer is to be kept, if it is worth it */
    bool taking; /* ... and is being gathered */
    /* a hit */
    struct cache_entry *entry; /* a reference */
    struct cache_reader left;  /* of its body, not yet queued to the client */
    /* a miss */
    struct str content_type;
    struct buf taken;
    size_t reserved_bytes; /* for `taken`, of the store's share for answers that arrive */
};

/* An entry's head: what the record says of the answer. The strings lie behind the struct. The body is the answer as its client got it. */
struct cached_answer {
    struct str content_type, model_id, upstream_model, finish_reason, tokens_source;
    int64_t prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens;
    bool stream;
};

void cache_prepare(void); /* once, before the workers */

/* cache_control.c. False: the request is wrong, and its error is set. */
MUST_USE bool cache_control_read(struct request *r);

/* cache.c, beside the step (gateway.h). Header lines that tell of the cache, for the head of a hit (`a` NULL) or of an attempt's answer; empty where it has no part. */
struct str cache_lines(struct request *r, const struct attempt *a);
/* Gives back what the request holds; once, at the road's end. */
void cache_request_fini(struct request *r);

/* cache_keep.c, called by relay and finish. The attempt whose answer goes to the client ... */
void cache_take_head(struct request *r, const struct attempt *a);
/* ... each piece of its payload as it is queued to the client ... */
void cache_take_piece(struct request *r, struct str sent);
/* ... and its record, once that says success: before its last bytes are handed to the kernel, so that who has the answer finds it kept. */
void cache_keep(struct request *r);
void cache_let_go(struct request *r); /* what was gathered is not to be kept */
/* Would the answer with this head be gathered? */
bool cache_may_take(const struct request *r, const struct attempt *a);
