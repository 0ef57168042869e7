/* metrics_scrape.h -- what the files that write the exposition share: a row of metrics.def, and one scrape.
 *
 * metrics_write.c writes what cells and the process say, metrics_groups.c puts cells that show equal labels together, metrics_deployments.c
 * writes what a gateway says of its deployments, their engines and its keys, metrics_fallbacks.c where requests went on to another model. */
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

/* Cells that show equal labels: cells[first..end) of their grouping. Of other things `first` says which one. */
struct group {
    struct str labels; /* written out: a="b",c="d" */
    uint32_t first, end;
};

/* All cells of a view by one label set, sorted by their labels. Made once a scrape. */
struct grouping {
    const struct label *labels;
    size_t label_count;
    bool of_accounts;
    const struct cell **cells;
    struct group *groups;
    uint32_t group_count;
    struct grouping *next;
};

/* Cells of one kind, of all shards, as they were when the scrape began. */
struct view {
    const struct cell **cells;
    uint32_t count;
    uint32_t *ranks
        [VALUE_COUNT]; /* by cell: where its text stands among all, sorted as they are written */
    bool differs[VALUE_COUNT]; /* not all cells have the same */
    struct grouping *groupings;
};
enum { VIEW_CELLS, VIEW_ACCOUNTS, VIEW_COUNT };

struct scrape {
    const struct metrics *m;
    const struct metrics_process *process;
    enum metrics_format format;
    struct buf *out;
    bool failed;        /* out's cap was reached, or nobody wants more */
    uint64_t written;   /* and drained */
    uint64_t gave_way;  /* after how many bytes others were let run */
    bool headed;        /* the family's HELP and TYPE are written */
    struct arena texts; /* of the family being written */
    struct arena kept;  /* of the scrape */

    struct view views[VIEW_COUNT];
    struct str *escaped; /* by rank: as it stands between the quotes, and the second quote */
    uint32_t text_count;
    uint64_t *sums; /* of one group: room for the longest histogram */
};

/* ---- metrics_groups.c ---- */
/* Looks at all shards; everything it makes is in s->kept. */
void scrape_collect(struct scrape *s);
/* The family's cells by its label set; cells that it does not take are among them. */
const struct grouping *scrape_groups(struct scrape *s, const struct family *f);
/* Writes `t` to `out`, which has room for 2 * t.n, with \\ and \n escaped, and \" where texts are quoted; returns the bytes written. Bytes that are
 * not UTF-8 would make Prometheus refuse the whole scrape: they become '?'. */
size_t scrape_escape(char *out, struct str t, bool quoted);

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
