/* rollup.h -- many requests as few numbers: counts, tokens, cost and the spread of times, by group.
 *
 * One rollup a thread takes lines; they are merged when all is read. What `weir analyze` prints is taken from here and
 * from nowhere else.
 * A view is a list of values of a line ("model", "model,metadata.team"; none: one group of all); each view has a group for each
 * combination of values that was seen, up to a limit, past which they count as "other". Memory: groups, not lines. By "tag", a request
 * counts in the group of each of its tags, so that the groups are more than all.
 * What counts (the same rules as tests/reference/analyze.py): lines of event "request" or of none; from attempts, only
 * their number; "gap" lines add to `dropped`. */
#pragma once

#include "observe/exact.h"
#include "observe/histogram.h"
#include "observe/log_meaning.h"
#include "observe/log_ref.h"

#define ROLLUP_VIEWS_MAX  8
#define ROLLUP_FIELDS_MAX 4
#define ROLLUP_GROUPS_MAX 100000             /* a view */
#define ROLLUP_KEY_BYTES  LOG_REF_TEXT_BYTES /* a value in a group's key; longer ones are cut */

enum rollup_spread {
    SPREAD_LATENCY,
    SPREAD_TTFT,
    SPREAD_UPSTREAM,
    SPREAD_OVERHEAD,
    SPREAD_QUEUE,
    SPREAD_TOKENS_PER_SECOND, /* in 1/1000 */
    SPREAD_COUNT
};

/* First the amounts, then those that are one more or not with each request. */
enum rollup_count {
    ROLLUP_REQUESTS,
    ROLLUP_ATTEMPTS,
    ROLLUP_PROMPT_TOKENS,
    ROLLUP_COMPLETION_TOKENS,
    ROLLUP_TOTAL_TOKENS,
    ROLLUP_CACHED_TOKENS,
    ROLLUP_REASONING_TOKENS,
    ROLLUP_COST_PICO, /* 1e-12 USD; full at UINT64_MAX, as sum_add's (line_cost.h) */
    ROLLUP_FAILED_COST_PICO,
    ROLLUP_AMOUNTS,
    ROLLUP_SUCCESS = ROLLUP_AMOUNTS,
    ROLLUP_FAILURE,
    ROLLUP_CANCELLED,
    ROLLUP_UNKNOWN, /* the line does not say how it ended */
    ROLLUP_SLOW,
    ROLLUP_STREAMS,
    ROLLUP_CACHE_HITS,
    ROLLUP_FALLBACKS,
    ROLLUP_ESTIMATED, /* requests whose tokens were estimated */
    ROLLUP_UNPRICED,  /* requests with tokens and without a cost */
    ROLLUP_COUNT
};

struct rollup_group {
    uint64_t hash;
    struct str values[ROLLUP_FIELDS_MAX]; /* decoded; STR_NONE where the field was not there */
    uint64_t counts[ROLLUP_COUNT];
    int64_t first_us, last_us;               /* stamps; INT64_MAX and INT64_MIN: none had one */
    struct histogram *spreads[SPREAD_COUNT]; /* NULL: no value yet, or not kept */
    struct exact latencies;                  /* where the view keeps them */
    const struct rollup_view *all_of;        /* a total: the view whose groups it is */
};

struct rollup_view {
    int field_count;
    struct log_ref fields[ROLLUP_FIELDS_MAX]; /* lines can be grouped by each (log_ref_groups) */
    int tag_at;                               /* which of them is the tag; -1: none */
    int64_t bucket_us; /* > 0: the first value is the start of the stamp's bucket of this length */
    uint32_t spread_mask; /* one bit a spread that is kept */
    bool only_failed;     /* only requests that failed count here */
    bool exact;           /* every latency is kept: its quantiles are exact, at 4 bytes a request */
    /* Filled in: */
    struct rollup_group **groups;
    size_t group_count;
    size_t table_size; /* of `table`, a power of two */
    struct rollup_group **table;
    struct rollup_group *last; /* of a view of time only: the group of the line before ... */
    int64_t last_start_us;     /* ... and where its bucket begins */
};

struct rollup {
    int view_count;
    struct rollup_view views[ROLLUP_VIEWS_MAX];
    int64_t since_us,
        until_us; /* [since, until): what is outside is left out, and requests among it counted */
    uint64_t matched, outside, dropped;
    uint64_t seed; /* of the hashes of groups */
    /* Latencies that may still be kept: a number shared by all threads (atomic), and what this one has taken from it in
     * advance. When there are no more, all are dropped, and histograms answer. */
    uint64_t *exact_pool, exact_left;
    struct arena texts;
};

/* A view with these fields, for the caller to set more of. Before the first line. */
struct rollup_view *rollup_add_view_by(struct rollup *r, const struct log_ref *by, int count,
                                       int64_t bucket_us, uint32_t spread_mask);
struct rollup_view *rollup_add_view(struct rollup *r, const enum log_field *fields, int count,
                                    int64_t bucket_us, uint32_t spread_mask);
void rollup_init(struct rollup *r);
void rollup_fini(struct rollup *r);
/* `event` is log_event_of the line. */
void rollup_take(struct rollup *r, const struct logline *l, enum log_event event);
/* All of a view's groups as one, without values; for as long as the view lasts. The caller frees it with rollup_group_free. */
struct rollup_group *rollup_total(const struct rollup_view *v);
/* The same of those groups that are wanted. */
struct rollup_group *rollup_sum(const struct rollup_view *v,
                                bool (*wanted)(const struct rollup_group *g, const void *arg),
                                const void *arg);
void rollup_group_free(struct rollup_group *g);
/* A quantile of one of a group's spreads; NaN where there is no value. Of latencies exact, if the group's view still is. */
double rollup_quantile(const struct rollup_group *g, enum rollup_spread s, double quantile);
/* Both have the same views. `from` keeps its counts, but the latencies that it kept are `into`'s then. */
void rollup_merge(struct rollup *into, struct rollup *from);
