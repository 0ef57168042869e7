/* rate_limits.h -- where rate limits lie: requests, tokens and 429s by key, provider and minute.
 *
 * What counts is what was sent to a provider: every attempt (lines of event "attempt" too) in the minute in which it was sent,
 * its stamp less its upstream time (less its latency where that is not told); what came from cache or was refused was not. Tokens are those of the line, in that
 * same minute, since that is how providers count them.
 * A 429 is the provider's where the line says that the upstream answered so, and the gateway's where only the client got one: then
 * nothing was sent. LiteLLM's lines have one status for both: without a provider it is the gateway's.
 *
 * Of a key at a provider, and of each provider as a whole (whose limits are often the account's), the limit is looked for in
 * the minutes. A quantity, requests or tokens, explains the 429s if every minute that had one had more of it than every minute
 * that had none; then the limit is about the most that went through in a minute: what was sent less what was refused, and the
 * tokens of what was answered.
 *
 * Memory: a cell for each minute of a pair that had traffic, RATE_CELLS_MAX at most; lines past it are counted as left out.
 * One a thread, merged, then settled. */
#pragma once

#include "observe/log_meaning.h"
#include "observe/log_names.h"

#define RATE_NAMES_MAX 4096
#define RATE_PAIRS_MAX 4096 /* more are key "other" at provider "other" */
#define RATE_CELLS_MAX (1u << 20)

struct rate_cell {
    uint32_t pair;   /* index */
    uint32_t minute; /* since 1970 */
    uint32_t requests, provider_429, gateway_429;
    uint64_t tokens;
};

/* What is known of one quantity, requests or tokens a minute. */
struct rate_limit {
    uint64_t peak, p95; /* of the minutes that had traffic */
    uint64_t passed,
        hit;      /* the most that went through; the least sent in a minute with a 429 (0: none) */
    uint64_t now; /* in the last whole minute of the log */
    double estimate; /* NaN: there was no 429, or this quantity does not explain them */
    double headroom; /* 1 - now / estimate; NaN: no estimate */
};

enum rate_cause { RATE_NO_429, RATE_BY_REQUESTS, RATE_BY_TOKENS, RATE_BY_EITHER, RATE_UNEXPLAINED };

/* A key at a provider, or (key NULL in `wholes`) all keys at it. */
struct rate_pair {
    const char *key, *provider; /* NULL: the lines do not say */
    bool hashed;                /* `key` is how the key's hash begins */
    uint64_t requests, tokens, provider_429, gateway_429;
    uint64_t minutes, minutes_429; /* with traffic; with any 429 */
    struct rate_limit rpm, tpm;
    enum rate_cause cause;
    const struct rate_cell *cells; /* of its minutes, in order; once settled */
    size_t cell_count;
};

struct rates {
    struct log_names names;
    struct map pair_by_name;
    struct rate_pair *pairs;
    size_t pair_count;
    struct rate_cell *cells;
    size_t cell_count, cell_room;
    uint32_t *table; /* index + 1 of a cell */
    size_t table_size;
    uint64_t left_out;
    /* Once settled: */
    struct rate_cell *whole_cells;
    struct rate_pair *wholes; /* a provider each, most 429s first, as `pairs` are */
    size_t whole_count;
    uint32_t first_minute, last_minute;
};

void rates_init(struct rates *r);
void rates_fini(struct rates *r);
void rates_take(struct rates *r, const struct logline *l, enum log_event event);
/* `from` has not been settled, nor `into`. */
void rates_merge(struct rates *into, const struct rates *from);
/* Once all is merged: puts all in order and works out the limits. May be called again. */
void rates_settle(struct rates *r);
/* A key's share of what its provider was sent in the minutes in which that answered 429. NaN: there were none. */
double rates_share_when_limited(const struct rate_pair *pair, const struct rate_pair *whole);
