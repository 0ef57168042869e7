/* error_patterns.h -- failed requests, grouped by what their error says: how many, since when, whose, and how it goes on.
 *
 * One struct a thread takes lines; they are merged when all is read, then settled once. A pattern is a type, a status and a folded message
 * (error_text.h). Settling joins patterns that differ in few words only: the same type, status and number of words, five at least, of
 * which seven in ten are equal, and where they differ not both plain words: "refused" and "reset" are different failures, "gpt-5-eu" and
 * "gpt-5-us" are not. The words that differ become <*>. It begins with the most frequent, so the result is the same however
 * lines came and threads were merged.
 * Memory: patterns, not lines. Past ERROR_PATTERNS_MAX a new one counts as `other`; then which ones do depends on the order. Not thread-safe. */
#pragma once

#include "base/mem.h"
#include "observe/error_cause.h"
#include "observe/error_text.h"
#include "observe/log_meaning.h"
#include "observe/time_slots.h"

#define ERROR_PATTERNS_MAX 4096
#define ERROR_NAMES_MAX                                                                            \
    64 /* distinct models, providers, keys of a pattern; others are counted as one */

/* Whom it struck, most often first when settled. */
struct error_name {
    struct str name;
    uint64_t count;
};
struct error_names {
    struct error_name *list;
    size_t count;
    uint64_t other; /* requests of names past the limit */
};
enum error_names_of { ERROR_MODELS, ERROR_PROVIDERS, ERROR_KEYS, ERROR_NAMES_COUNT };

/* A request: of two with one stamp the smaller id is first, and the greater last. */
struct error_example {
    int64_t us; /* INT64_MAX, INT64_MIN: no stamp */
    uint8_t n;  /* bytes of `id`; 0: none */
    char id[95];
};

struct error_pattern {
    uint64_t hash;
    struct str type;        /* error.type; STR_NONE: none */
    struct str text;        /* folded; empty: no message */
    int64_t status;         /* that the provider answered; else that the client got; -1: neither */
    bool status_is_clients; /* ... it is the latter */
    uint64_t count;
    int64_t first_us, last_us;        /* INT64_MAX, INT64_MIN: no stamps */
    struct error_example first, last; /* of those that have an id */
    struct error_names names[ERROR_NAMES_COUNT];
    struct time_slots times;
};

struct error_patterns {
    struct error_pattern **list; /* when settled: most frequent first */
    size_t count;
    struct error_pattern **table;
    uint64_t errors, other; /* all failed requests; those in no pattern for want of room */
    bool settled;
    struct arena texts;
};

void error_patterns_init(struct error_patterns *p);
void error_patterns_fini(struct error_patterns *p);
/* Of a request's line: taken when it failed. */
void error_patterns_take(struct error_patterns *p, const struct logline *l);
/* `from` is left as it is. Not after settling. */
void error_patterns_merge(struct error_patterns *into, const struct error_patterns *from);
/* Joins and sorts; the second time does nothing. */
void error_patterns_settle(struct error_patterns *p);

/* How it goes over a window. NEW: not before its last quarter. FEW: less than 8, too few to tell. GONE: not in its last quarter. GROWING, FALLING: the halves
 * differ by half and by more than chance (three standard deviations). UNKNOWN: no stamps, or no window. It is of counts: when all traffic
 * grows, so do its errors. */
enum error_trend {
    TREND_UNKNOWN,
    TREND_NEW,
    TREND_FEW,
    TREND_GONE,
    TREND_GROWING,
    TREND_FALLING,
    TREND_STEADY,
    TREND_COUNT
};
extern const char *const error_trend_names[TREND_COUNT]; /* "unknown", "new", ... */
/* The window is [first_us, last_us], of all requests. [any thread] */
enum error_trend error_pattern_trend(const struct error_pattern *p, int64_t first_us,
                                     int64_t last_us);
