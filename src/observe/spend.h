/* spend.h -- what a log's requests cost: for whom, how fast, where to that leads, what was wasted and what caches saved.
 *
 * One a thread takes lines; merged when all is read, in any order. Costs are those that the lines say. Prices are asked only for what
 * prompt caches saved, because that is not in the log. Memory: groups and hours, both capped. */
#pragma once

#include "observe/groups.h"
#include "observe/line_cost.h"

#define SPEND_GROUPS_MAX 10000  /* of each kind */
#define SPEND_HOURS_MAX  100000 /* eleven years with a request each hour */
#define SPEND_RING       2048   /* minutes, a power of two; more than a day */

/* By tag a request counts for each of its tags, so that those groups are more than all. */
enum spend_by { SPEND_MODEL, SPEND_PROVIDER, SPEND_KEY, SPEND_USER, SPEND_TAG, SPEND_BY_COUNT };
extern const char *const spend_names[SPEND_BY_COUNT]; /* as --by has them */

struct spend_sum {
    uint64_t requests, success, tokens;
    uint64_t pico, failed_pico, cancelled_pico; /* 1e-12 USD */
};

/* A model as a provider has it. */
struct spend_model {
    struct spend_sum sum;
    uint64_t unpriced; /* requests with tokens and without a cost */
    uint64_t free;     /* successes with tokens at a cost of 0, not from the response cache */
    uint64_t unpriced_tokens, free_tokens;
    uint64_t cached_tokens; /* read from the provider's prompt cache, ... */
    uint64_t saved_pico;    /* ... against the price of as many that were not, where it is known */
    uint64_t cached_unpriced;
    uint64_t hits;             /* answered by the response cache */
    uint64_t answered;         /* successes with a cost that were not ... */
    uint64_t answered_pico;    /* ... and theirs */
    const struct price *price; /* of the table; NULL: not known, or ... */
    bool looked_up;            /* ... not asked for yet */
};

struct spend_hour {
    uint64_t requests, pico;
};

struct spend {
    const struct prices *prices; /* asked before the built-in ones, or NULL */
    struct spend_sum total;
    struct groups keys, users, tags; /* of struct spend_sum */
    struct groups models;            /* of struct spend_model, by model, provider, upstream_model */
    struct groups hours; /* of struct spend_hour by number since 1970, an int64_t's bytes */
    uint64_t retried,
        extra_attempts; /* requests with more than one attempt, and those beyond the first */
    uint64_t attempt_lines, attempt_pico;
    struct spend_hour *hour; /* of the line before: lines are nearly in order */
    int64_t hour_number;
    int64_t first_us, last_us; /* INT64_MAX, INT64_MIN: none had a stamp */
    struct spend_minute {
        int64_t minute; /* since 1970; 0: none */
        uint64_t pico;
    } recent[SPEND_RING];
};

/* `prices` outlives it; NULL: the built-in table alone. */
void spend_init(struct spend *s, const struct prices *prices);
void spend_fini(struct spend *s);
/* Lines of events request and attempt; others are passed over. */
void spend_take(struct spend *s, const struct logline *l, enum log_event event);
void spend_merge(struct spend *into, const struct spend *from);

/* Groups of struct spend_sum by one of these, for groups_fini. */
void spend_groups(const struct spend *s, enum spend_by by, struct groups *out);

/* Dollars an hour over the last `minutes` (at most SPEND_RING) up to the log's last line, or over the whole log where that is
 * shorter or `minutes` is 0. `hours` is what it was measured over: never less than a minute; 0: no line had a stamp. */
struct spend_rate {
    double usd_per_hour, hours;
};
struct spend_rate spend_rate(const struct spend *s, int minutes);

/* What response caches saved: each hit at the mean cost of its model's answers. `unknown`: hits of models without such. */
struct spend_saved {
    double usd;
    uint64_t hits, unknown;
};
struct spend_saved spend_saved_by_hits(const struct spend *s);

/* The hours that had requests, in order, as plain numbers. The caller frees it. */
struct spend_point {
    int64_t start_us;
    uint64_t requests, pico;
};
struct spend_point *spend_points(const struct spend *s, size_t *count);

/* ---- looking ahead (spend_ahead.c) ---- */

enum spend_method {
    SPEND_NO_METHOD,    /* the log is shorter than an hour */
    SPEND_MEAN,         /* the log's mean an hour */
    SPEND_HOUR_OF_WEEK, /* each hour as its like in the log's last 7 days */
};
/* From the log's last stamp on. `low` and `high`: 95 % of outcomes if days go on to differ as those of the log did (Student's t, days taken to
 * be independent); NaN with fewer than 3 whole days. */
struct spend_ahead {
    enum spend_method method;
    double usd, low, high;
    int days_known; /* whole days that low and high are from, 28 at most */
};
struct spend_ahead spend_ahead(const struct spend *s, int64_t until_us);
/* When the month (UTC, as bills are) of that moment begins, and the next one. */
void spend_month(int64_t at_us, int64_t *begin_us, int64_t *end_us);
/* What the log has of that time, in whole hours. */
double spend_between(const struct spend *s, int64_t from_us, int64_t until_us);
