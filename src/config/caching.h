/* caching.h -- the response cache's settings: part of struct config (gateway/cache.h is the cache). */
#pragma once

#include "base/str.h"

enum cache_mode { CACHE_DEFAULT_ON, CACHE_DEFAULT_OFF }; /* off: only requests that say use-cache */

/* Calls that may be answered from the cache, one bit each. */
enum { CACHE_CHAT = 1, CACHE_COMPLETIONS = 2, CACHE_EMBEDDINGS = 4, CACHE_ALL_CALLS = 7 };

struct caching {
    bool on;
    bool router_on;        /* router_settings.cache_responses: the same; folded into `on` */
    int mode;              /* enum cache_mode */
    int type;              /* of cache_params; whatever it is, the cache is in memory */
    struct str space;      /* namespace: part of every key; "" for none */
    int64_t ttl_ms;        /* how long an answer is kept; resolved */
    int64_t memory_ttl_ms; /* ... where `ttl` is not given */
    unsigned call_types;
    int64_t bytes;      /* of memory, all told */
    int64_t item_bytes; /* of the largest answer kept */
};
