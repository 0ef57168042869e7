/* cache_store.h -- the response cache's memory: keys to immutable answers, shared by all workers, bounded by bytes.
 *
 * An entry has a head (the maker's, in one piece) and a body (in pieces). It is made by one thread, filled, put, and never changed again. Who gets one
 * holds a reference and may read it as long as it likes, also when it has meanwhile been deleted, replaced or has expired. Nothing here waits:
 * a shard that another thread is busy with for longer than a moment is a miss, or an answer that is not kept.
 * Owner: the gateway. All functions: [any thread], but new and free. */
#pragma once

#include "base/mem.h"
#include "gateway/cache_key.h"

#define CACHE_BLOCK_BYTES 1024

struct cache_shard;
struct cache_store;

struct cache_block {
    struct cache_block *next;
    _Alignas(16) char bytes[CACHE_BLOCK_BYTES - 16];
};

/* Lies at the beginning of its first block's bytes. */
struct cache_entry {
    uint64_t stored_ns, expires_ns; /* CLOCK_MONOTONIC */
    struct cache_key key;
    uint32_t head_bytes;
    size_t body_bytes;

    /* Private from here. */
    uint32_t references; /* atomic */
    uint32_t blocks;
    struct cache_block *last;
    struct cache_shard *shard;
    struct cache_entry *next;           /* in its bucket, or among those given back */
    struct cache_entry *before, *after; /* in the ring the hand goes round */
    bool hot;                           /* asked for since the hand last came by */
    _Alignas(16) char head[];
};

#define CACHE_HEAD_BYTES_MAX (sizeof(((struct cache_block *)0)->bytes) - sizeof(struct cache_entry))

/* `bytes`: of everything the store holds, its own tables included. `entry_bytes`: the largest entry that is to fit. [control] */
struct cache_store *cache_store_new(size_t bytes, size_t entry_bytes);
void cache_store_free(struct cache_store *s); /* no reference may be left; NULL is fine [control] */

/* Memory for an entry of that key, the caller's, with `body` in it; head and times are the caller's to fill. Others make room for it. NULL: there is none, a
 * head too large, or the shard is busy. It is given up by cache_store_put or cache_store_release. */
struct cache_entry *cache_store_make(struct cache_store *s, const struct cache_key *key,
                                     size_t head_bytes, struct str body, uint64_t now_ns);
/* Lets others find `e`, in the place of one with the same key, and takes it over whatever comes of it. False: the shard is busy, it is not kept. */
bool cache_store_put(struct cache_entry *e);
/* A reference to the entry of that key; NULL: there is none that is young enough, or the shard is busy. */
MUST_USE struct cache_entry *cache_store_get(struct cache_store *s, const struct cache_key *key,
                                             uint64_t now_ns);
void cache_store_release(struct cache_entry *e); /* NULL is fine */

/* A body's pieces, in order; valid as long as the reference is. */
struct cache_reader {
    const struct cache_block *block;
    size_t at, left_bytes;
};
void cache_store_read(const struct cache_entry *e, struct cache_reader *r);
struct str cache_store_next(struct cache_reader *r); /* empty: that was all */

/* These wait for a busy shard: not for the road. */
bool cache_store_delete(struct cache_store *s, const struct cache_key *key); /* was there one? */
uint64_t cache_store_flush(struct cache_store *s); /* how many there were */

/* Memory for answers that are still arriving: a share of the store's bytes. False: it is used up. */
MUST_USE bool cache_store_reserve(struct cache_store *s, size_t bytes);
void cache_store_unreserve(struct cache_store *s, size_t bytes);

struct cache_stats {
    uint64_t bytes, entries;
    uint64_t stores, evictions;
    uint64_t busy;    /* look-ups and stores given up because the shard was in use */
    uint64_t refused; /* answers not kept for want of room */
};
void cache_store_stats(const struct cache_store *s, struct cache_stats *out);
