/* metrics.h -- counters and histograms from records: one shard a worker, summed when scraped.
 *
 * A shard holds one cell per combination of (deployment, key, route, stream, outcome) seen; a
 * record is one hash look-up and some additions, no lock, no locked instruction. Every family in
 * metrics.def is a view of the cells: which of their labels it shows and which of their numbers
 * it adds up. So families can never disagree with each other, nor with the log, which is written
 * from the same record. Label values come from the configuration and from known sets (a key becomes
 * a label only if the record names it: key_alias); past the series budget a combination goes to a
 * cell labelled "other", and weir_metrics_series_overflow_total counts it. */
#pragma once

#include "base/buf.h"
#include "config/config.h"
#include "observe/record.h"

struct metrics;
struct log_stats;
struct export_stats;

/* Numbers that are not made of records. Single writer (who has the exposition made: it copies what each worker counts, COUNTER_SET), read while an
 * exposition is written with COUNTER_GET. */
struct metrics_worker {
    uint64_t connections_open, connections_total, connections_refused;
    uint64_t streams_open, requests_in_flight;
    /* upstream_open: all, the idle ones included */
    uint64_t upstream_open, upstream_idle, upstream_connects_total, upstream_reuses_total,
        upstream_connect_failures_total;
    uint64_t http_requests_total; /* all, health and metrics included */
    uint64_t http_errors_total;   /* requests refused before the road (malformed, too large, ...) */
    uint64_t bytes_in_total, bytes_out_total;
    uint64_t loop_passes_total;
} __attribute__((aligned(64)));

/* The response cache, as its owner counts it. */
struct metrics_cache {
    uint64_t bytes, entries;
    uint64_t stores_total, evictions_total;
    uint64_t busy_total;    /* look-ups and stores given up because another thread was at it */
    uint64_t refused_total; /* answers not kept for want of room */
};

/* What families tell of: who serves an exposition says which of them it has. */
enum {
    METRICS_REQUESTS = 1, /* the cells */
    METRICS_GATEWAY = 2,  /* workers, log writer, configuration */
    METRICS_EXPORT = 4,   /* `weir export` */
    METRICS_PROCESS = 8,
};

#define METRICS_UNKNOWN      UINT64_MAX /* a number that is left out */
#define METRICS_STATUSES_MAX 12

struct metrics_rests {
    int status; /* 0: none, -1: any other */
    uint64_t count;
};

/* What a gateway knows of a deployment while it runs. */
struct metrics_deployment {
    uint64_t state; /* LiteLLM's: 0 healthy, 1 partial outage, 2 complete outage */
    uint64_t remaining_requests, remaining_tokens; /* what its provider said last */
    uint64_t in_flight, rest_us, ttft_us, token_us, probe_success, probe_age_us;
    struct metrics_rests rests[METRICS_STATUSES_MAX];
    int rest_count;
};

/* ... and of an inference engine. Texts are the configuration's. */
struct metrics_engine_model {
    struct str name;
    uint64_t vram_bytes;
};
struct metrics_engine {
    struct str engine, api_base;
    uint64_t up, loaded_models, running, waiting, kv_cache_millionths;
    struct metrics_engine_model *models; /* of equal names they are added up */
    uint32_t model_count;
};

/* A virtual key that has a budget or a limit. Texts are the caller's; what is not set is METRICS_UNKNOWN. */
struct metrics_key {
    struct str hash, alias;
    uint64_t max_pico_usd, left_pico_usd; /* 1e-12 USD; left: 0 also where more was spent */
    uint64_t reset_microhours;            /* until the budget starts again */
    /* Limits of a window, and what of it is used or reserved. */
    uint64_t requests_allowed, requests_used, tokens_allowed, tokens_used;
    uint64_t parallel_allowed, parallel_used; /* requests in flight */
};

/* How reloading the configuration went. [control] */
struct config_reloads {
    uint64_t successes, failures;
    bool last_ok; /* true before the first */
    int64_t last_success_real_us;
};

struct metrics_process { /* filled by the caller at each scrape */
    unsigned about;      /* METRICS_ bits; 0: those of a gateway */
    double start_time_seconds;
    const char *version, *git_commit, *compiler;
    struct log_stats *log;               /* NULL: no log */
    const struct export_stats *exporter; /* for METRICS_EXPORT */
    struct metrics_cache cache;
    const struct config *config;
    const struct metrics_key *keys;
    size_t key_count;
    const struct metrics_deployment
        *deployments; /* one each of `config`; NULL: all there is to know is in the cells */
    const struct metrics_engine *engines;
    uint32_t engine_count;
    const struct config_reloads *reloads; /* with `config` */
    bool ready;
    /* If set: takes what was written so far, whole lines, and empties `out`; called each time that there are METRICS_PIECE_BYTES or a bit
     * more. What remains at the end is left in `out`. False: no more is wanted, and `out` stays as it is. */
    bool (*drain)(void *arg, struct buf *out);
    void *drain_arg;
    /* If set, atomic: true once the exposition need not be ended. And the writer gives way to all others meanwhile. */
    const bool *unwanted;
};
#define METRICS_PIECE_BYTES 65536u

/* One shard a worker; `c` gives buckets and the series budget. [control] */
struct metrics *metrics_new(int workers, const struct config *c);
/* Shows what this configuration makes possible as 0, as metrics_new does. [owner of shard 0] */
void metrics_expect(struct metrics *m, const struct config *c);
void metrics_free(struct metrics *m);
struct metrics_worker *metrics_worker(struct metrics *m, int worker);
/* Adds a record to a worker's shard. [that worker] */
void metrics_record(struct metrics *m, int worker, const struct record *r);
/* Counts that a model asked instead of the one wanted (r->fallback) failed too, and that the request goes on to yet another. [that worker] */
void metrics_passed_on(struct metrics *m, int worker, const struct record *r);
/* The same as metrics_record for a record read from a log, which has names only: labels are its model (if model_known, or if somebody served it),
 * deployment, upstream_model, api_base, provider, key_alias with key_hash, and route; error.type may be one of LiteLLM's
 * exception classes; status may be "unknown". All under the series budget. [that worker] */
void metrics_record_named(struct metrics *m, int worker, const struct record *r);
/* The HTTP status that one of LiteLLM's exception classes stands for; -1: none of its own. [any thread] */
int64_t metrics_exception_status(struct str class);

/* All that was recorded, as bytes that outlive the process; exemplars are left out. [owner of all shards] */
void metrics_save(const struct metrics *m, struct buf *out);
/* Adds what metrics_save wrote to shard 0. False: these are not such bytes, or were counted in other buckets (`e` says which);
 * `m` may then hold a part of them. [owner of shard 0] */
MUST_USE bool metrics_load(struct metrics *m, struct str bytes, struct err *e);

enum metrics_format { METRICS_TEXT, METRICS_OPENMETRICS };
/* What the Accept header asks for; *content_type gets the whole header value. */
enum metrics_format metrics_negotiate(struct str accept, const char **content_type);
/* The whole exposition, appended to `out`. False: that has a cap and no room, or it was not wanted to its end; what there is of it then is not to be
 * shown. Only cells and struct metrics_worker change meanwhile. [any thread] */
bool metrics_write(const struct metrics *m, const struct metrics_process *p, enum metrics_format f,
                   struct buf *out);
/* The same, packed by gzip while it is written: the text of a large gateway is some forty times as long, and never in memory as a whole. `p`'s drain is not used. */
bool metrics_write_gzip(const struct metrics *m, const struct metrics_process *p,
                        enum metrics_format f, struct buf *out);

/* Sums over all cells, for status page and tests. */
struct metrics_totals {
    uint64_t requests, successes, failures, cancelled, prompt_tokens, completion_tokens;
    double cost_usd;
};
void metrics_totals(const struct metrics *m, struct metrics_totals *out);
/* docs/metrics.md, generated. */
void metrics_write_docs(struct buf *out);
