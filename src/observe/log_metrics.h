/* log_metrics.h -- from lines of a log to the metrics that a running gateway would show: for `weir export`.
 *
 * What counts as a request, and how it ended, is log_meaning.h's rule, so that `weir export` and `weir analyze` agree. Everything is the
 * owner's thread's. */
#pragma once

#include "observe/logline.h"
#include "observe/metrics.h"

/* What `weir export` says of itself. Those up to `state_write_errors` go on counting after a restart. */
struct export_stats {
    uint64_t lines, bytes; /* of any kind */
    uint64_t requests;     /* counted */
    uint64_t older;        /* requests that were left out: before `since_us` */
    uint64_t broken;
    uint64_t dropped; /* records, by gap lines */
    uint64_t rotations, lost, state_writes, state_write_errors, read_errors;

    uint64_t behind_bytes, newest_age_us, ready; /* as they are at a scrape */
};

#define LOG_METRICS_TEXTS      10
#define LOG_METRICS_TEXT_BYTES 256 /* a label's value; what is longer is cut */

struct log_metrics {
    struct metrics *metrics;     /* of one shard at least; the first is written */
    const struct config *config; /* NULL: labels are the names in the lines */
    struct map deployments;      /* its own, by model_id */
    int64_t since_us;            /* requests before it are left out; INT64_MIN: none */
    int64_t newest_us;           /* stamp of the newest line; INT64_MIN: none yet */
    struct export_stats stats;
    char texts[LOG_METRICS_TEXTS][LOG_METRICS_TEXT_BYTES]; /* labels of the line at hand */
};

/* `c` as for metrics_new; `named` false: it has buckets and budget, but the lines' models are not looked up in it. */
void log_metrics_init(struct log_metrics *lm, const struct config *c, bool named);
void log_metrics_fini(struct log_metrics *lm);
/* `line` is without its newline. */
void log_metrics_take(struct log_metrics *lm, const struct logline *l, struct str line);
void log_metrics_broken(struct log_metrics *lm, struct str line);
