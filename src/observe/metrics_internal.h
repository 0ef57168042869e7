/* metrics_internal.h -- what metrics.c (recording), metrics_cells.c (where it is kept), metrics_state.c and the files of the exposition share.
 *
 * A record is added to two cells. One belongs to its road (who was asked for, who answered) and its outcome, and holds all numbers and
 * the histograms: as many of them as the configuration has deployments, times a handful of outcomes. The other is an account: the same with the
 * key, the route, the statuses and the error, and only the numbers that are worth a series a key. docs/decisions/18-metrics-series.md says why.
 *
 * A cell is written by one worker only and read by any thread. Its labels are immutable once it
 * is published; its numbers are relaxed atomics; it is never moved or freed before metrics_free. */
#pragma once

#include "base/map.h"
#include "observe/metrics.h"
#include "observe/outcome.h"

/* What a label of a cell can show. */
enum value {
    /* A road: the same for all its cells. */
    VALUE_REQUESTED, /* the model asked for, if configured; the wildcard row's name; "other" */
    VALUE_MODEL_ID,
    VALUE_UPSTREAM, /* the model's name at the provider */
    VALUE_API_BASE,
    VALUE_PROVIDER,
    VALUE_ROAD, /* how many those are */
    /* What accounts have besides. */
    VALUE_KEY_HASH = VALUE_ROAD,
    VALUE_KEY_ALIAS,
    VALUE_ROUTE,
    VALUE_KEYED, /* with struct outcome these tell accounts apart; the rest is derived */
    VALUE_STATUS_CODE = VALUE_KEYED, /* what the client got */
    VALUE_EXCEPTION_STATUS,          /* what the provider answered, if it did */
    VALUE_EXCEPTION_CLASS,           /* LiteLLM's: "Openai.RateLimitError" */
    /* What every cell has. */
    VALUE_OUTCOME, /* success, failure, cancelled */
    VALUE_NONE,    /* "None", LiteLLM's text for what is not known or not shown */
    VALUE_COUNT,
    VALUE_FALLBACK =
        VALUE_COUNT /* of struct fallback_cell, not of cells: the model asked instead */
};

/* A family that shows one of these is a view of the accounts, any other of the cells of roads. */
#define VALUES_OF_ACCOUNTS                                                                         \
    (1u << VALUE_KEY_HASH | 1u << VALUE_KEY_ALIAS | 1u << VALUE_ROUTE | 1u << VALUE_STATUS_CODE |  \
     1u << VALUE_EXCEPTION_STATUS | 1u << VALUE_EXCEPTION_CLASS)

/* Numbers a cell adds up. */
enum number {
    NUMBER_REQUESTS,
    NUMBER_PROMPT_TOKENS,
    NUMBER_COMPLETION_TOKENS,
    NUMBER_TOTAL_TOKENS,
    NUMBER_COST,          /* 1e-12 USD */
    NUMBER_CACHED_TOKENS, /* read from the provider's prompt cache */
    NUMBER_REASONING_TOKENS,
    NUMBER_ACCOUNT_COUNT,                           /* accounts hold those above, and no more */
    NUMBER_ESTIMATED_TOKENS = NUMBER_ACCOUNT_COUNT, /* counted by weir, not by the provider */
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
    TRAIT_STREAM = 32,  /* of an expected one: there may be streams */
    TRAIT_UNKNOWN = 64, /* read from a log whose line does not say how the request ended */
    TRAIT_ATTEMPT =
        128, /* not a request: an attempt of one that went on to another (event "attempt") */
};

struct outcome {
    uint16_t http_status, provider_status;
    uint8_t error_code, traits;
    uint8_t exception; /* of a line of LiteLLM's: which of its classes (metrics_exceptions), or 0 */
    uint8_t kind;      /* enum outcome_kind */
};

/* The last request seen in a bucket. A seqlock: `version` is odd while the owner writes. */
struct exemplar {
    uint32_t version;
    uint64_t value_ns;
    int64_t real_us;
    uint64_t trace_id[4]; /* 32 hex digits */
};

struct cell;

/* Who was asked for and who answered. [owner] */
struct road {
    uint64_t hash;
    uint32_t texts[VALUE_ROAD];
    struct cell *cells; /* newest first, by `next` */
};

struct cell {
    uint64_t hash; /* of an account */
    struct road *road;
    struct cell *next; /* of the road's [owner] */
    uint32_t texts[VALUE_COUNT];
    struct outcome outcome;     /* of a road's cell: what cell_outcome leaves */
    int64_t last_real_us;       /* of the newest record; accounts have none */
    struct exemplar *exemplars; /* one a latency bucket; NULL until a record has a trace id */
    uint64_t numbers[];         /* accounts: NUMBER_ACCOUNT_COUNT. Others: NUMBER_COUNT, then each
                                   histogram: its buckets, then the sum in ns */
};

/* Upper bounds of a histogram, in ns; the bucket behind the last is +Inf. */
struct bounds {
    uint64_t *ns;
    uint32_t count;
};

/* Cells of one kind, in chunks that never move. */
struct pile {
    char **chunks; /* of CELLS_PER_CHUNK cells; the array never moves */
    size_t cell_bytes;
    size_t count; /* published with release, read with acquire */
};
#define CELLS_PER_CHUNK 16u

/* Open addressing, a power of two, never more than half full. What a slot points to begins with its hash. [owner] */
struct table {
    uint64_t **slots;
    size_t size, count;
};

/* Every text that cells show, once. Chunk k has TEXTS_FIRST << k of them. */
struct texts {
    struct str *chunks[24];
    uint32_t count;     /* published with release, before the cell that shows it */
    struct map ids;     /* number + 1 [owner] */
    struct arena bytes; /* [owner] */
};
#define TEXTS_FIRST 64u

struct shard {
    struct metrics_worker worker;
    struct table roads, account_table;
    struct road *other_road; /* of those that came after the budget's end; NULL: none yet */
    struct pile cells;       /* of roads; behind each its coarse account (cell_coarse) */
    struct pile accounts;
    uint64_t keyed_accounts; /* of a key that has a name */
    uint64_t road_count;     /* for the scraper */
    uint64_t overflows;
    uint64_t errors[ERR_COUNT];
    struct texts texts;
    struct arena memory;              /* of roads and fallbacks [owner] */
    struct fallback_cell **fallbacks; /* open addressing, FALLBACK_SLOTS; published with release */
    uint32_t fallback_count;          /* [owner] */
};

/* Cells that one road can have, whatever a state file says: one of five outcomes, with or without each of three more traits, times the kinds. Some five are usual. */
#define CLASSES_MAX (5u * 8u * OUTCOME_COUNT)

/* Requests that went on to another model, told apart by these. Never moved or freed before its shard. */
#define FALLBACK_SLOTS 1024u
#define FALLBACK_CELLS 512u /* then "other" */
enum fallback_text {
    FALLBACK_ASKED,
    FALLBACK_TO,
    FALLBACK_CAUSE_STATUS, /* of the first model's failure, as LiteLLM's labels */
    FALLBACK_CAUSE_CLASS,
    FALLBACK_STATUS, /* success, failure, cancelled */
    FALLBACK_TEXTS
};
struct fallback_cell {
    uint64_t hash;
    struct str texts[FALLBACK_TEXTS];
    uint64_t requests; /* that ended at this model */
    uint64_t passed;   /* that it failed too, and that went on to yet another */
};

/* Of the last exposition. [any, relaxed] */
struct scrape_note {
    uint64_t ns, bytes;
};

struct metrics {
    struct shard *shards;
    int shard_count;
    size_t budget;                           /* label combinations a shard may hold: */
    size_t road_max, account_max, keyed_max; /* of these, keyed_max are some of account_max */
    uint32_t coarse_at;                      /* bytes from a road's cell to its coarse account */
    struct bounds bounds[HISTOGRAM_COUNT];
    uint32_t histogram_at[HISTOGRAM_COUNT]; /* index into struct cell's numbers */
    struct scrape_note *last_scrape;
    void *shard_memory;
};

static inline struct cell *pile_cell(const struct pile *p, size_t i)
{
    return (struct cell *)(void *)(p->chunks[i / CELLS_PER_CHUNK] +
                                   i % CELLS_PER_CHUNK * p->cell_bytes);
}

/* How many of its cells may be looked at. [any] */
static inline size_t pile_count(const struct pile *p)
{
    return __atomic_load_n(&p->count, __ATOMIC_ACQUIRE);
}

/* What came of the accounts of a road's cell for which there was no room: key, route, status and error are "other". */
static inline struct cell *cell_coarse(const struct metrics *m, const struct cell *c)
{
    return (struct cell *)(void *)((char *)(uintptr_t)c + m->coarse_at);
}

/* Text `id` of a cell of this shard. [any] */
static inline struct str shard_text(const struct shard *s, uint32_t id)
{
    uint32_t at = id + TEXTS_FIRST, chunk = 31u - (uint32_t)__builtin_clz(at / TEXTS_FIRST);
    return s->texts.chunks[chunk][at - (TEXTS_FIRST << chunk)];
}

/* What tells an account from others. Texts are borrowed. */
struct key {
    struct str values[VALUE_KEYED];
    struct outcome outcome;
};

#define OTHER STR("other")
#define NONE  STR("None")

/* ---- metrics_cells.c ---- */
/* Sets limits and sizes; `numbers` is how many a road's cell has. Before any shard_init. */
void metrics_lay_out(struct metrics *m, int64_t budget, uint32_t numbers);
void shard_init(const struct metrics *m, struct shard *s);
void shard_fini(struct shard *s);
/* The cell of a key's road and traits, made where it is new; past the budget that of "other". `*folded` is set when it is that. [owner of `s`] */
struct cell *metrics_cell(const struct metrics *m, struct shard *s, const struct key *k,
                          bool *folded);
/* The account of a key, `c` being its cell. What no longer fits loses its key first, then all that tells accounts of `c` apart. [owner] */
struct cell *metrics_account(const struct metrics *m, struct shard *s, struct cell *c,
                             const struct key *k, bool *folded);
/* Is the key's road there, or is there room for it? [owner] */
bool metrics_road_fits(const struct metrics *m, const struct shard *s, const struct key *k);

/* ---- metrics_labels.c ---- */
/* How a road's cells are told apart: what is left of an account's outcome. */
static inline struct outcome cell_outcome(const struct outcome *o)
{
    return (struct outcome){.traits = o->traits, .kind = o->kind};
}
/* The texts that follow from an outcome and the provider's name. */
struct derived {
    struct str outcome, status_code, exception_status, exception_class;
};
void metrics_derive(struct arena *a, const struct outcome *o, struct str provider,
                    struct derived *out);

/* LiteLLM's exception classes by number, from 1 on: the known set that labels are taken from. */
#define METRICS_EXCEPTIONS_MAX 40
extern const char *const metrics_exceptions[METRICS_EXCEPTIONS_MAX]; /* NULL where there is none */
uint8_t metrics_exception(struct str name);                          /* 0: not one of them */

/* ---- metrics_fallbacks.c ---- */
/* Counts a record that tells of a fallback; `passed`: its model failed, and yet another is asked. `k` is the record's key. *folded is set when
 * there was no room to tell it apart. [owner] */
void fallback_count(const struct metrics *m, struct shard *s, const struct key *k,
                    const struct record *r, bool passed, bool *folded);
bool fallbacks_save(const struct metrics *m, struct buf *out); /* as metrics_save */
bool fallbacks_load(const struct metrics *m, struct shard *s,
                    struct str *from); /* as metrics_load */

/* ---- metrics.c ---- */
/* Copies a whole exemplar; false when there is none. [any] */
bool exemplar_read(const struct exemplar *from, struct exemplar *to);
