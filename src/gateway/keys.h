/* keys.h -- the table of virtual keys: found by hash on the road without a lock, changed by one thread.
 *
 * What is published is never changed. A change of a key makes a new version of it (struct key) and a new table, which replaces the old one in one
 * store; both old ones are freed when no reader is left. What must outlive a change, a key's counters, is in struct key_use, which all versions
 * share. A request holds one reference to the version it came with, from auth to its end. */
#pragma once

#include "config/key_facts.h"
#include "gateway/key_spend.h"
#include "gateway/quota.h"

struct keys;

/* A key's counters. Freed with its last version. */
struct key_use {
    struct quota quota;
    struct key_spend *spend;
    uint32_t references; /* atomic: versions */
};

/* One version of a key. Immutable, but for `references` and what `use` points at. */
struct key {
    struct key_facts facts;
    struct quota_limits limits; /* of rpm_limit, tpm_limit, max_parallel_requests */
    struct key_use *use;
    uint32_t references;               /* atomic */
    _Alignas(struct str) char texts[]; /* the facts' */
};

/* A table for `readers` threads that will look at it, each by its number from 0. [control] */
struct keys *keys_new(int readers);
void keys_free(struct keys *t); /* gives back the table's own references; no reader may be left */

/* One more with each change: what was found under an older one may be so no longer. [any thread] */
uint64_t keys_generation(const struct keys *t);
/* The key of a hash, a reference taken; NULL: not there. No lock, no allocation. [the thread whose number `reader` is] */
const struct key *keys_find(struct keys *t, int reader, const char hash_hex[KEY_HASH_BYTES]);
const struct key *key_get(const struct key *k); /* one more reference [any thread] */
void key_put(const struct key *k);              /* gives one back; NULL is fine [any thread] */
/* All keys there are, newest first, a reference taken to each: keys_list_free gives them back. [that reader] */
const struct key **keys_list(struct keys *t, int reader, size_t *count);
void keys_list_free(const struct key **list, size_t count);

/* ---- changing: one thread, called the keys thread; before it runs, control ---- */

#define KEYS_WRITER (-1) /* the reader's number of the thread that changes the table */

/* A version not yet published, with one reference, which is the caller's. The texts of `facts` are copied. `use`: that of the version
 * before it; NULL: a new one around `spend`. */
struct key *key_new(const struct key_facts *facts, struct key_use *use, struct key_spend *spend);
/* Takes out the keys of `gone` and puts in those of `come` (their references become the table's; equal hashes replace), all at once. Waits until
 * no reader looks at the table before. */
void keys_change(struct keys *t, const char (*gone)[KEY_HASH_BYTES], size_t gone_count,
                 struct key *const *come, size_t come_count);
const struct key *keys_find_alias(struct keys *t, struct str alias); /* a reference taken */
