/* cache_key.h -- the name of an answer in the response cache: SHA-256 over what the answer depends on.
 *
 * A key is made of parts, each with its length before it, and of one request body in canonical form: without white space between tokens and
 * without the members that do not change an answer. Everything else counts as it was written: the order of members, numbers,
 * escapes. Two requests that mean the same may so have two keys (one answer too many is bought); two that do not mean the same never have one. */
#pragma once

#include "base/str.h"

#define CACHE_KEY_BYTES 32
#define CACHE_KEY_HEX   (2 * CACHE_KEY_BYTES)

struct cache_key {
    uint8_t bytes[CACHE_KEY_BYTES];
};

/* The hash's working state, reused from key to key: fetching the algorithm anew takes a lock of OpenSSL's. One a worker. */
struct cache_key_maker;
struct cache_key_maker *cache_key_maker_new(void);
void cache_key_maker_free(struct cache_key_maker *m); /* NULL is fine */

/* A key: begin, any number of parts, one body, end. [the maker's thread] */
void cache_key_begin(struct cache_key_maker *m);
void cache_key_part(struct cache_key_maker *m, struct str part);
/* `body` is a JSON object that was checked before; of what is none, nothing outside is read, and some key comes of it. */
void cache_key_body(struct cache_key_maker *m, struct str body);
void cache_key_end(struct cache_key_maker *m, struct cache_key *out);

/* The canonical form of a body, in runs of bytes that lie in it, in one pass. [any thread] */
void cache_key_canonical(struct str body, void (*take)(void *arg, struct str run), void *arg);

void cache_key_hex(const struct cache_key *k, char out[CACHE_KEY_HEX]); /* lower case, no NUL */
MUST_USE bool cache_key_from_hex(struct str hex, struct cache_key *out);
