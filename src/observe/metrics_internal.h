/* metrics_internal.h -- what metrics.c (recording) and metrics_write.c (exposition) share: cells
 * and shards.
 *
 * A cell is written by one worker only and read by any thread. Its labels are immutable once it
 * is published; its numbers are relaxed atomics; it is never moved or freed before metrics_free. */
#pragma once

#include "observe/metrics.h"
#include "observe/outcome.h"

/* What a label of a cell can show. The first VALUE_KEYED tell cells apart (with struct outcome);
 * the rest is derived. */
enum value {
    VALUE_REQUESTED, /* the model asked for, if configured; the wildcard row's name; "other" */
    VALUE_MODEL_ID,
    VALUE_UPSTREAM, /* the model's name at the provider */
    VALUE_API_BASE,
    VALUE_PROVIDER,
    VALUE_KEY_HASH,
    VALUE_KEY_ALIAS,
    VALUE_ROUTE,
    VALUE_KEYED,
    VALUE_OUTCOME = VALUE_KEYED, /* success, failure, cancelled */
    VALUE_STATUS_CODE,           /* what the client got */
    VALUE_EXCEPTION_STATUS,      /* what the provider answered, if it did */
    VALUE_EXCEPTION_CLASS,       /* LiteLLM's: "Openai.RateLimitError" */
    VALUE_NONE,                  /* "None", LiteLLM's text for what is not known or not shown */
    VALUE_COUNT,
    VALUE_FALLBACK =
        VALUE_COUNT /* of struct fallback_cell, not of cells: the model asked instead */
};

/* Numbers a cell adds up. */
enum number {
    NUMBER_REQUESTS,
    NUMBER_PROMPT_TOKENS,
    NUMBER_COMPLETION_TOKENS,
    NUMBER_TOTAL_TOKENS,
    NUMBER_CACHED_TOKENS, /* read from the provider's prompt cache */
    NUMBER_REASONING_TOKENS,
    NUMBER_ESTIMATED_TOKENS, /* counted by weir, not by the provider */
    NUMBER_COST,             /* 1e-12 USD */
    NUMBER_UNPRICED,
    NUMBER_CACHE_HITS,
    NUMBER_CACHE_MISSES,
    NUMBER_CACHE_TOKENS, /* of answers served from the response cache */
    NUMBER_SLOW,
    NUMBER_LOAD, /* µs that an engine told of: loading, reading the prompt, writing the answer */
    NUMBER_PREFILL,
    NUMBER_DECODE,
    NUMBER_COUNT,
    /* Not held, but made of the cell's requests: */
    NUMBER_CALLS = NUMBER_COUNT, /* less those answered from the response cache */
    NUMBER_RETRIES,              /* all of them if it counts attempts, else none */
    NUMBER_OUTCOME, /* + enum outcome_kind: all of them if it is the cell's, else none */
};

enum histogram {
    HISTOGRAM_LATENCY,
    HISTOGRAM_UPSTREAM,
    HISTOGRAM_TTFT,
    HISTOGRAM_OVERHEAD,
    HISTOGRAM_OUTPUT_TOKEN,
    HISTOGRAM_OVERHEAD_FINE,
    HISTOGRAM_QUEUE,
    HISTOGRAM_COUNT
};

/* Traits: what families filter cells by. A cell has exactly one of the first four, or UNKNOWN. */
enum {
    TRAIT_SUCCESS = 1,
    TRAIT_FAILURE = 2,
    TRAIT_CANCELLED = 4,
    TRAIT_EXPECTED = 8, /* a failure that has not happened yet, for families to show as 0 */
    TRAIT_DEPLOYED = 16,
    TRAIT_STREAM = 32,
    TRAIT_ATTEMPT =
        128, /* not a request: an attempt of one that went on to another (event "attempt") */
    TRAIT_UNKNOWN = 64, /* read from a log whose line does not say how the request ended */
};

struct outcome {
    uint16_t http_status, provider_status;
    uint8_t error_code, traits;
    uint8_t exception; /* of a line of LiteLLM's: which of its classes (metrics_exceptions), or 0 */
    uint8_t kind;      /* enum outcome_kind: follows from the rest but in a cell labelled "other" */
};

/* The last request seen in a bucket. A seqlock: `version` is odd while the owner writes. */
struct exemplar {
    uint32_t version;
    uint64_t value_ns;
    int64_t real_us;
    uint64_t trace_id[4]; /* 32 hex digits */
};

struct cell {
    uint64_t hash;
    struct str values[VALUE_COUNT];
    struct outcome outcome;
    int64_t last_real_us;       /* of the newest record */
    struct exemplar *exemplars; /* one a latency bucket; NULL until a record has a trace id */
    uint64_t numbers[]; /* NUMBER_COUNT, then each histogram: its buckets, then the sum in ns */
};

/* Upper bounds of a histogram, in ns; the bucket behind the last is +Inf. */
struct bounds {
    uint64_t *ns;
    uint32_t count;
};

struct shard {
    struct metrics_worker worker;
    struct cell **table; /* [owner] open addressing, a power of two, never more than half full */
    size_t table_size;
    char **chunks;     /* of CELLS_PER_CHUNK cells; the array never moves */
    size_t cell_count; /* published with release, read with acquire */
    uint64_t overflows;
    uint64_t errors[ERR_COUNT];
    struct arena labels;              /* [owner] */
    struct fallback_cell **fallbacks; /* open addressing, FALLBACK_SLOTS; published with release */
    uint32_t fallback_count;          /* [owner] */
};

/* Requests that went on to another model, told apart by these. Never moved or freed before its shard. */
#define FALLBACK_SLOTS 1024u
#define FALLBACK_CELLS 512u /* then "other" */
enum fallback_text {
    FALLBACK_ASKED,
    FALLBACK_TO,
    FALLBACK_KEY_HASH,
    FALLBACK_KEY_ALIAS,
    FALLBACK_TEXTS
};
struct fallback_cell {
    uint64_t hash;
    struct str texts[FALLBACK_TEXTS];
    struct str status, cause_status,
        cause_class;   /* success, failure, cancelled; as LiteLLM's labels */
    uint64_t requests; /* that ended at this model */
    uint64_t passed;   /* that it failed too, and that went on to yet another */
};

#define CELLS_PER_CHUNK 16u

struct metrics {
    struct shard *shards;
    int shard_count;
    size_t budget; /* cells a shard may make for what it sees */
    size_t cell_bytes;
    struct bounds bounds[HISTOGRAM_COUNT];
    uint32_t histogram_at[HISTOGRAM_COUNT]; /* index into struct cell's numbers */
    void *shard_memory;
};

/* Cell `i` of the first `cell_count` ones. */
static inline struct cell *shard_cell(const struct metrics *m, const struct shard *s, size_t i)
{
    return (struct cell *)(void *)(s->chunks[i / CELLS_PER_CHUNK] +
                                   i % CELLS_PER_CHUNK * m->cell_bytes);
}

static inline size_t shard_cell_count(const struct shard *s)
{
    return __atomic_load_n(&s->cell_count, __ATOMIC_ACQUIRE);
}

/* What tells a cell from others. Texts are borrowed. */
struct key {
    struct str values[VALUE_KEYED];
    struct outcome outcome;
};

/* The cell of a key, made where it is new; past the budget "other", and `k` is changed to that. [owner of `s`] */
struct cell *metrics_cell(const struct metrics *m, struct shard *s, struct key *k);

/* LiteLLM's exception classes by number, from 1 on: the known set that labels are taken from. */
#define METRICS_EXCEPTIONS_MAX 40
extern const char *const metrics_exceptions[METRICS_EXCEPTIONS_MAX]; /* NULL where there is none */
uint8_t metrics_exception(struct str name);                          /* 0: not one of them */

/* LiteLLM's text for a failure: "Openai.RateLimitError", or "ProxyException" where no provider was asked. `provider` may be "None". [any] */
struct str metrics_class_text(struct arena *a, struct str provider, const struct outcome *o);
struct str metrics_status_text(struct arena *a, const struct outcome *o);

/* ---- metrics_fallbacks.c ---- */
/* Counts a record that tells of a fallback; `passed`: its model failed, and yet another is asked. `k` is its key. [owner] */
void fallback_count(const struct metrics *m, struct shard *s, const struct key *k,
                    const struct record *r, bool passed);
void fallbacks_free(struct shard *s);
bool fallbacks_save(const struct metrics *m, struct buf *out); /* as metrics_save */
bool fallbacks_load(const struct metrics *m, struct shard *s,
                    struct str *from); /* as metrics_load */

/* Copies a whole exemplar; false when there is none. [any] */
bool exemplar_read(const struct exemplar *from, struct exemplar *to);
