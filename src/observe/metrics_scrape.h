/* metrics_scrape.h -- what the files that write the exposition share: a row of metrics.def, and one scrape.
 *
 * metrics_write.c writes what cells and the process say, metrics_deployments.c what a gateway says of its deployments, their engines and its keys,
 * metrics_fallbacks.c where requests went on to another model. */
#pragma once

#include "observe/metrics_internal.h"

/* ---- what a row of the table says ---- */

struct scrape;
struct family;
typedef uint64_t (*scalar_fn)(const struct scrape *s);
typedef uint64_t (*process_fn)(void);
typedef void (*call_fn)(struct scrape *s, const struct family *f);

enum type { TYPE_COUNTER, TYPE_GAUGE, TYPE_HISTOGRAM, TYPE_INFO };
enum source_kind {
    SOURCE_SUM,
    SOURCE_TIMES,
    SOURCE_STATE,
    SOURCE_EACH,
    SOURCE_ENGINE,
    SOURCE_WORKERS,
    SOURCE_CACHE,
    SOURCE_LOG,
    SOURCE_EXPORT,
    SOURCE_KEYS,
    SOURCE_SCALAR,
    SOURCE_PROCESS,
    SOURCE_CALL
};

struct label {
    const char *name;
    enum value value;
    const char *text; /* what it always shows; else NULL */
};

/* One of several numbers of a family, and the label value that tells it apart. */
struct part {
    const char *text;
    unsigned number; /* enum number */
    bool rare;       /* left out while it is 0 */
};

struct source {
    enum source_kind kind;
    unsigned about;         /* METRICS_ bit */
    unsigned index;         /* number, histogram, or offset of a member */
    unsigned cells;         /* TRAIT_ bits and HISTOGRAM_ZEROS */
    const char *part_label; /* names of labels that parts or the called function add */
    const struct part *parts;
    unsigned part_count, decimals;
    scalar_fn scalar;
    process_fn process;
    call_fn call;
};

struct family {
    const char *name;
    enum type type;
    const struct label *labels;
    size_t label_count;
    struct source source;
    const char *unit, *help;
};

/* ---- one scrape ---- */

/* Cells that show equal labels. */
struct group {
    struct str labels; /* written out: a="b",c="d" */
    uint32_t first;    /* cell; more by scrape.next */
};

#define NO_CELL UINT32_MAX

struct scrape {
    const struct metrics *m;
    const struct metrics_process *process;
    enum metrics_format format;
    struct buf *out;
    bool failed;        /* out's cap was reached */
    bool headed;        /* the family's HELP and TYPE are written */
    struct arena texts; /* of the family being written */

    const struct cell **cells;
    uint32_t cell_count;
    uint32_t (*ids)[VALUE_COUNT]; /* of a cell's values: equal ids, equal texts */
    uint32_t *next;               /* in the cell's group */
    struct group *groups;
    uint32_t group_count;
    uint32_t *table; /* hash of ids to group, NO_CELL where free */
    uint32_t table_size;
    uint64_t *sums; /* of one group: room for the longest histogram */
};

/* ---- metrics_write.c ---- */
/* One line: name{labels[,extra]} value. `extra` is a whole label, or empty. Before the first one HELP and TYPE. */
void scrape_sample(struct scrape *s, const struct family *f, struct str labels, struct str extra,
                   uint64_t value);
/* a="b",c="d", escaped; `values` by enum value. */
struct str scrape_labels(struct arena *a, const struct label *labels, size_t count,
                         const struct str *values);
int scrape_compare_labels(const void *a, const void *b); /* of two struct group, for qsort */

/* ---- metrics_deployments.c ---- */
/* f's member of struct metrics_deployment, a series a deployment; of struct metrics_engine, a series an engine. */
void scrape_each_deployment(struct scrape *s, const struct family *f);
void scrape_each_engine(struct scrape *s, const struct family *f);
/* ... of struct metrics_key, a series a virtual key that has the number. */
void scrape_each_key(struct scrape *s, const struct family *f);
/* Rows of metrics.def. */
void key_limits_allowed(struct scrape *s, const struct family *f);
void key_limits_used(struct scrape *s, const struct family *f);
void tpm_limits(struct scrape *s, const struct family *f);
void rpm_limits(struct scrape *s, const struct family *f);
void cooled_down(struct scrape *s, const struct family *f);
void engine_vram(struct scrape *s, const struct family *f);

/* ---- metrics_fallbacks.c: rows of metrics.def ---- */
void fallbacks(struct scrape *s, const struct family *f);
void fallbacks_succeeded(struct scrape *s, const struct family *f);
void fallbacks_failed(struct scrape *s, const struct family *f);
