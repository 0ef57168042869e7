/* cache_store.c -- shards of a hash table with a CLOCK, each behind a lock that nobody sleeps on, in memory of their own.
 *
 * A key's first bytes choose the shard and the bucket. Under a shard's lock there is a look-up and a count of references, or some unlinking: never a
 * copy, never malloc. Who finds it taken tries again for about a microsecond and then goes without: a miss, or a store skipped.
 *
 * Memory is one region, cut into blocks of 1 KiB; an entry is a chain of them. So any block that comes free serves any entry, and the bound is the region's
 * size: malloc would keep what one thread freed for that thread, three times the bound with four workers (docs/decisions/14-response-cache.md).
 * Blocks of an entry whose last reference goes are given back without the lock, on a list that the next one who needs blocks takes over.
 *
 * Eviction: the hand goes round the ring of entries. One asked for since it last came by is spared once, one being read always, and both
 * only so often in one store, so that a store takes a bounded time. */
#include "gateway/cache_store.h"

#include <sched.h>

enum {
    SHARDS_MAX = 16,
    TRIES = 64,         /* for a lock: about a microsecond */
    LOOKS_MAX = 1024,   /* entries the hand passes in one store */
    SPARES_MAX = 64,    /* of those, spared because they were asked for */
    BUCKET_BYTES = 512, /* of entries, about; so a miss seldom reads one: they are far away */
    GATHER_SHARE = 4,   /* a quarter of all bytes is for answers still arriving */
};

struct cache_shard {
    bool locked; /* atomic */
    struct cache_entry **buckets;
    uint64_t bucket_mask;
    struct cache_entry *hand;         /* NULL: empty */
    struct cache_block *free, *fresh; /* blocks given back; the first never used yet */
    struct cache_entry
        *given_back; /* atomic: entries nobody refers to any more, not yet taken apart */
    struct cache_entry *to_take_apart;  /* the same, taken over under the lock */
    uint32_t free_blocks, fresh_blocks; /* how many there are */
    uint32_t blocks, used_blocks;       /* in all; atomic: of entries that somebody refers to */
    /* Written under the lock, read by anybody. */
    uint64_t entries, stores, evictions;
    uint64_t busy, refused; /* atomic */
} __attribute__((aligned(64)));

struct cache_store {
    struct cache_shard *shards;
    uint64_t shard_mask;
    size_t table_bytes;
    size_t gather_limit_bytes;
    size_t gathered_bytes;   /* atomic */
    uint64_t gather_refused; /* atomic */
    void *shard_memory, *block_memory;
};

/* ---- locks ---- */

static bool try_lock(struct cache_shard *s)
{
    for (int i = 0; i < TRIES; i++) {
        if (!__atomic_load_n(&s->locked, __ATOMIC_RELAXED) &&
            !__atomic_test_and_set(&s->locked, __ATOMIC_ACQUIRE))
            return true;
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    }
    __atomic_add_fetch(&s->busy, 1, __ATOMIC_RELAXED);
    return false;
}

static void lock(struct cache_shard *s)
{
    while (__atomic_test_and_set(&s->locked, __ATOMIC_ACQUIRE))
        sched_yield();
}

static void unlock(struct cache_shard *s)
{
    __atomic_clear(&s->locked, __ATOMIC_RELEASE);
}

/* ---- places ---- */

static uint64_t key_bits(const struct cache_key *key)
{
    uint64_t bits;
    memcpy(&bits, key->bytes, sizeof bits);
    return bits;
}

static struct cache_shard *shard_of(struct cache_store *s, const struct cache_key *key)
{
    return &s->shards[key_bits(key) & s->shard_mask];
}

/* What points at the entry of that key, or at the end of its bucket. */
static struct cache_entry **place_of(struct cache_shard *s, const struct cache_key *key)
{
    struct cache_entry **at = &s->buckets[(key_bits(key) >> 8) & s->bucket_mask];
    while (*at && memcmp((*at)->key.bytes, key->bytes, CACHE_KEY_BYTES) != 0)
        at = &(*at)->next;
    return at;
}

static void link_entry(struct cache_shard *s, struct cache_entry **place, struct cache_entry *e)
{
    e->next = NULL;
    *place = e;
    if (s->hand) { /* behind the hand: it comes by last */
        e->after = s->hand;
        e->before = s->hand->before;
        e->before->after = e;
        e->after->before = e;
    } else {
        s->hand = e->before = e->after = e;
    }
    COUNTER_ADD(s->entries, 1);
}

static void unlink_entry(struct cache_shard *s, struct cache_entry **place)
{
    struct cache_entry *e = *place;
    *place = e->next;
    if (s->hand == e)
        s->hand = e->after == e ? NULL : e->after;
    e->before->after = e->after;
    e->after->before = e->before;
    e->next = NULL;
    COUNTER_ADD(s->entries, (uint64_t)-1);
}

/* ---- blocks ---- */

static struct cache_block *first_block(struct cache_entry *e)
{
    return CONTAINER(e, struct cache_block, bytes);
}

/* Under the lock: nobody refers to `e` any more. */
static void take_apart(struct cache_shard *s, struct cache_entry *e)
{
    s->free_blocks += e->blocks;
    e->last->next = s->free;
    s->free = first_block(e);
}

/* Under the lock. False: nothing was given back. */
static bool take_one_apart(struct cache_shard *s)
{
    if (!s->to_take_apart)
        s->to_take_apart = __atomic_exchange_n(&s->given_back, NULL, __ATOMIC_ACQUIRE);
    struct cache_entry *e = s->to_take_apart;
    if (!e)
        return false;
    s->to_take_apart = e->next;
    take_apart(s, e);
    return true;
}

static struct cache_block *take_block(struct cache_shard *s)
{
    struct cache_block *b = s->free;
    if (b) {
        s->free = b->next;
        s->free_blocks--;
        return b;
    }
    s->fresh_blocks--;
    return s->fresh++;
}

/* Under the lock; there are enough. */
static struct cache_entry *take_blocks(struct cache_shard *s, uint32_t count)
{
    struct cache_block *last = take_block(s), *first = last;
    last->next = NULL;
    for (uint32_t i = 1; i < count; i++) {
        struct cache_block *b = take_block(s);
        b->next = first;
        first = b;
    }
    __atomic_add_fetch(&s->used_blocks, count, __ATOMIC_RELAXED);
    struct cache_entry *e = (struct cache_entry *)(void *)first->bytes;
    *e = (struct cache_entry){.references = 1, .blocks = count, .last = last, .shard = s};
    return e;
}

void cache_store_release(struct cache_entry *e)
{
    if (!e || __atomic_sub_fetch(&e->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    struct cache_shard *s = e->shard;
    __atomic_sub_fetch(&s->used_blocks, e->blocks, __ATOMIC_RELAXED);
    e->next = __atomic_load_n(&s->given_back, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&s->given_back, &e->next, e, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ; /* another one came in between */
}

/* ---- making room ---- */

/* How far the hand may still go in one store. */
struct sweep {
    int looks, spares;
    uint64_t now_ns;
};

/* The next entry that has to go, by CLOCK. NULL: none was found within the sweep's bounds. */
static struct cache_entry *find_victim(struct cache_shard *s, struct sweep *sweep)
{
    while (s->hand && sweep->looks-- > 0) {
        struct cache_entry *e = s->hand;
        s->hand = e->after;
        /* More references come only under the lock, so 1 stays 1: unlinking it will free it. */
        if (__atomic_load_n(&e->references, __ATOMIC_ACQUIRE) > 1)
            continue;
        if (!e->hot || e->expires_ns <= sweep->now_ns || sweep->spares-- <= 0)
            return e;
        e->hot = false;
    }
    return NULL;
}

/* Until there are `count` blocks. */
static bool make_room(struct cache_shard *s, uint32_t count, uint64_t now_ns)
{
    struct sweep sweep = {LOOKS_MAX, SPARES_MAX, now_ns};
    while (s->free_blocks + s->fresh_blocks < count) {
        if (take_one_apart(s))
            continue;
        struct cache_entry *victim = find_victim(s, &sweep);
        if (!victim)
            return false;
        unlink_entry(s, place_of(s, &victim->key));
        COUNTER_ADD(s->evictions, 1);
        __atomic_sub_fetch(&s->used_blocks, victim->blocks, __ATOMIC_RELAXED);
        take_apart(s, victim);
    }
    return true;
}

/* ---- the road's three ---- */

static void fill_body(struct cache_entry *e, struct str body)
{
    struct cache_block *b = first_block(e);
    size_t at = (size_t)(e->head + e->head_bytes - b->bytes);
    e->body_bytes = body.n;
    while (body.n) {
        ENSURE(b); /* the entry has as many as it needs */
        size_t n = MIN(body.n, sizeof b->bytes - at);
        if (n)
            memcpy(b->bytes + at, body.p, n);
        body = str_skip(body, n);
        b = b->next;
        at = 0;
    }
}

struct cache_entry *cache_store_make(struct cache_store *store, const struct cache_key *key,
                                     size_t head_bytes, struct str body, uint64_t now_ns)
{
    struct cache_shard *s = shard_of(store, key);
    size_t bytes = sizeof(struct cache_entry) + head_bytes + body.n;
    size_t count = (bytes + sizeof s->free->bytes - 1) / sizeof s->free->bytes;
    bool fits = head_bytes <= CACHE_HEAD_BYTES_MAX && count <= s->blocks;
    struct cache_entry *e = NULL;
    if (fits && !try_lock(s))
        return NULL;
    if (fits) {
        if (make_room(s, (uint32_t)count, now_ns))
            e = take_blocks(s, (uint32_t)count);
        unlock(s);
    }
    if (!e) {
        __atomic_add_fetch(&s->refused, 1, __ATOMIC_RELAXED);
        return NULL;
    }
    e->key = *key;
    e->head_bytes = (uint32_t)head_bytes;
    fill_body(e, body);
    return e;
}

bool cache_store_put(struct cache_entry *e)
{
    struct cache_shard *s = e->shard;
    if (!try_lock(s)) {
        cache_store_release(e);
        return false;
    }
    struct cache_entry **place = place_of(s, &e->key), *old = *place;
    if (old)
        unlink_entry(s, place);
    link_entry(s, place_of(s, &e->key), e);
    COUNTER_ADD(s->stores, 1);
    unlock(s);
    cache_store_release(old);
    return true;
}

struct cache_entry *cache_store_get(struct cache_store *store, const struct cache_key *key,
                                    uint64_t now_ns)
{
    struct cache_shard *s = shard_of(store, key);
    struct cache_entry *old = NULL;
    if (!try_lock(s))
        return NULL;
    struct cache_entry **place = place_of(s, key), *e = *place;
    if (e && e->expires_ns <= now_ns) {
        unlink_entry(s, place);
        old = e;
        e = NULL;
    }
    if (e) {
        __atomic_add_fetch(&e->references, 1, __ATOMIC_RELAXED);
        e->hot = true;
    }
    unlock(s);
    cache_store_release(old);
    return e;
}

void cache_store_read(const struct cache_entry *e, struct cache_reader *r)
{
    const struct cache_block *b = CONTAINER(e, const struct cache_block, bytes);
    *r = (struct cache_reader){b, (size_t)(e->head + e->head_bytes - b->bytes), e->body_bytes};
}

struct str cache_store_next(struct cache_reader *r)
{
    if (r->at == sizeof r->block->bytes && r->left_bytes) { /* the head filled its block */
        r->block = r->block->next;
        r->at = 0;
    }
    struct str piece = {r->block->bytes + r->at,
                        MIN(sizeof r->block->bytes - r->at, r->left_bytes)};
    r->left_bytes -= piece.n;
    if (r->left_bytes) {
        r->block = r->block->next;
        r->at = 0;
    }
    return piece;
}

/* ---- the operator's two ---- */

bool cache_store_delete(struct cache_store *store, const struct cache_key *key)
{
    struct cache_shard *s = shard_of(store, key);
    lock(s);
    struct cache_entry **place = place_of(s, key), *e = *place;
    if (e)
        unlink_entry(s, place);
    unlock(s);
    cache_store_release(e);
    return e != NULL;
}

/* Takes the whole ring out at once, so that the lock is held for a moment only; what is in it is freed after that. */
static uint64_t flush_shard(struct cache_shard *s)
{
    lock(s);
    struct cache_entry *first = s->hand;
    uint64_t count = COUNTER_GET(s->entries);
    s->hand = NULL;
    memset(s->buckets, 0, (s->bucket_mask + 1) * sizeof *s->buckets);
    COUNTER_ADD(s->entries, (uint64_t)-count);
    unlock(s);
    if (first)
        first->before->after = NULL;
    for (struct cache_entry *e = first; e;) {
        struct cache_entry *after = e->after;
        cache_store_release(e);
        e = after;
    }
    return count;
}

uint64_t cache_store_flush(struct cache_store *store)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i <= store->shard_mask; i++)
        count += flush_shard(&store->shards[i]);
    return count;
}

/* ---- answers on their way ---- */

bool cache_store_reserve(struct cache_store *s, size_t bytes)
{
    size_t now = __atomic_add_fetch(&s->gathered_bytes, bytes, __ATOMIC_RELAXED);
    if (now <= s->gather_limit_bytes)
        return true;
    __atomic_sub_fetch(&s->gathered_bytes, bytes, __ATOMIC_RELAXED);
    __atomic_add_fetch(&s->gather_refused, 1, __ATOMIC_RELAXED);
    return false;
}

void cache_store_unreserve(struct cache_store *s, size_t bytes)
{
    if (bytes)
        __atomic_sub_fetch(&s->gathered_bytes, bytes, __ATOMIC_RELAXED);
}

/* ---- life ---- */

static void shard_init(struct cache_shard *s, size_t buckets, struct cache_block *blocks,
                       size_t count)
{
    s->buckets = mem_alloc(buckets * sizeof *s->buckets);
    s->bucket_mask = buckets - 1;
    s->fresh = blocks;
    s->blocks = s->fresh_blocks = (uint32_t)count;
}

struct cache_store *cache_store_new(size_t bytes, size_t entry_bytes)
{
    struct cache_store *store = mem_alloc(sizeof *store);
    size_t shards = 1, buckets = 16, for_entries = bytes - bytes / GATHER_SHARE;
    while (shards < SHARDS_MAX && for_entries / (shards * 2) >= 2 * entry_bytes)
        shards *= 2;
    while (buckets * BUCKET_BYTES < for_entries / shards)
        buckets *= 2;
    store->table_bytes = shards * (sizeof(struct cache_shard) + buckets * sizeof(void *));
    size_t count =
        (for_entries - MIN(store->table_bytes, for_entries)) / shards / CACHE_BLOCK_BYTES;
    /* Zeroed memory of this size is the system's: what is not used yet takes no room. */
    store->block_memory = mem_alloc((shards * count + 1) * CACHE_BLOCK_BYTES);
    store->shard_memory = mem_alloc((shards + 1) * sizeof(struct cache_shard));
    store->shards = (struct cache_shard *)(((uintptr_t)store->shard_memory + 63) & ~(uintptr_t)63);
    struct cache_block *blocks =
        (struct cache_block *)(((uintptr_t)store->block_memory + 63) & ~(uintptr_t)63);
    store->shard_mask = shards - 1;
    store->gather_limit_bytes = bytes / GATHER_SHARE;
    for (size_t i = 0; i < shards; i++)
        shard_init(&store->shards[i], buckets, blocks + i * count, count);
    return store;
}

void cache_store_free(struct cache_store *store)
{
    if (!store)
        return;
    cache_store_flush(store);
    for (uint64_t i = 0; i <= store->shard_mask; i++) {
        ENSURE(store->shards[i].used_blocks == 0);
        mem_free(store->shards[i].buckets);
    }
    mem_free(store->block_memory);
    mem_free(store->shard_memory);
    mem_free(store);
}

void cache_store_stats(const struct cache_store *store, struct cache_stats *out)
{
    *out = (struct cache_stats){
        .bytes = store->table_bytes + COUNTER_GET(store->gathered_bytes),
        .refused = COUNTER_GET(store->gather_refused),
    };
    for (uint64_t i = 0; i <= store->shard_mask; i++) {
        const struct cache_shard *s = &store->shards[i];
        out->bytes += (uint64_t)COUNTER_GET(s->used_blocks) * CACHE_BLOCK_BYTES;
        out->entries += COUNTER_GET(s->entries);
        out->stores += COUNTER_GET(s->stores);
        out->evictions += COUNTER_GET(s->evictions);
        out->busy += COUNTER_GET(s->busy);
        out->refused += COUNTER_GET(s->refused);
    }
}
