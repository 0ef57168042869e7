/* analyze.h -- `weir analyze`, in its pieces: what was asked for, the reading, the parts of the report, the ways of telling it.
 *
 * cmd_analyze.c makes options into a struct analysis; analyze_read.c fills it, with one rollup and one state of each part a
 * thread, merged at the end; analyze_tables.c (people), analyze_json.c (programs) and analyze_html.c (a page) tell it.
 *
 * A part is a question that the rollup's groups do not answer: error patterns, chains of attempts, the map of rate limits. It looks at
 * lines of its own accord. Parts are rows of analyze_parts.c, each in a file analyze_NAME.c, with its arithmetic in src/observe. */
#pragma once

#include "cli/json_out.h"
#include "cli/table.h"
#include "observe/log_filter.h"
#include "observe/logread.h"
#include "observe/rollup.h"
#include "observe/what_if.h"

#define ANALYZE_PARTS_MAX 16

/* Which columns of the groups a table has. */
enum analyze_section {
    SECTION_OVERVIEW = 1,
    SECTION_PERFORMANCE = 2,
    SECTION_TOKENS = 4,
    SECTION_ERRORS = 8
};

/* Sections of the report: a flag each. None of them: the overview. */
struct analyze_sections {
    bool errors, performance, tokens, providers, chains, limits;
};

struct analyze_part;
struct thresholds;

struct analysis {
    /* What was asked for. */
    const char *const *paths;
    size_t path_count;
    struct log_filter filter;
    int64_t now_us, since_us, until_us; /* the window; INT64_MIN, INT64_MAX: open */
    bool compares;                      /* --compare-with: with this one */
    int64_t other_since_us, other_until_us;
    struct log_ref by_refs[ROLLUP_FIELDS_MAX];
    int by_count;
    int64_t step_us; /* of the timeline */
    struct analyze_sections show;
    const char *trace_id;  /* --trace; NULL: none */
    const char *html_path; /* --html; "-": standard output; NULL: no page */
    bool show_content;     /* what was asked and answered, too */
    struct config *config; /* --config, for configured limits; NULL: none given */
    int top;               /* rows of a table */
    int threads;
    bool
        failures_only; /* nothing is asked about requests that did not fail, but how many they are */
    bool plain;        /* only what the overview's tables show of requests is asked for */
    int64_t exact_max; /* latencies kept for exact percentiles, 4 bytes each; more: histograms */
    const struct prices *prices;        /* --prices; NULL: the built-in table alone */
    const struct what_if_plan *what_if; /* --what-if, or --prices alone; NULL: none */

    /* What was found. */
    struct logread_sum sum;
    struct rollup rollup; /* its views: */
    const struct rollup_view *by, *errors, *times;
    struct rollup_group *total;
    struct rollup other;            /* of the window that is compared with: the same views */
    struct thresholds *thresholds;  /* --fail-if, measured; NULL: none */
    void *parts[ANALYZE_PARTS_MAX]; /* state of each row of analyze_parts; NULL: not wanted */
    double seconds;                 /* it took */
    bool cut_short;                 /* by Ctrl-C */
};

static inline bool analysis_is_overview(const struct analysis *a)
{
    const struct analyze_sections *s = &a->show;
    return !s->errors && !s->performance && !s->tokens && !s->providers && !s->chains &&
           !s->limits && !a->trace_id && !a->what_if;
}

/* Everything but `name` and `wanted` is called only when wanted. States of several threads are merged in no particular order, so the result
 * must not depend on it: the earliest line wins, not the first one seen. */
struct analyze_part {
    const char *name; /* its member of the JSON */
    bool (*wanted)(const struct analysis *a);
    bool
        is_csv; /* --format csv is its table when it is wanted; else it is the groups' or the errors' */
    unsigned
        events; /* LOG_EVENT_BITs of the lines it takes; only those past filter and window come */
    void *(*make)(const struct analysis *a);
    /* `line` with its newline; it and the record's strings live only during the call. */
    void (*take)(void *state, const struct logline *l, enum log_event event, struct str line);
    void (*merge)(void *into, void *from); /* `from` is destroyed afterwards */
    void (*destroy)(void *state);
    /* Terminal, Markdown and HTML, where a blank line is before each table; CSV if is_csv: one table, with its head even if it is empty. */
    void (*write_tables)(const struct analysis *a, void *state, enum table_format format,
                         const struct term *t);
    void (*write_json)(const struct analysis *a, void *state, struct json_out *j);
    /* NULL: never. True: what was asked for is not there, or not good; the command ends with EXIT_PROBLEM. */
    bool (*is_problem)(const struct analysis *a, void *state);
};
extern const struct analyze_part analyze_compare, analyze_cost, analyze_what_if, analyze_phases,
    analyze_providers;
extern const struct analyze_part *const analyze_parts[];
extern const size_t analyze_part_count;

/* analyze_read.c: fills in what was found. False: something could not be read (`e`); the rest stands. */
MUST_USE bool analyze_read(struct analysis *a, struct err *e);
void analyze_free(struct analysis *a);
/* All requests of a rollup that analyze_read has filled in. The caller frees it with rollup_group_free. */
struct rollup_group *analysis_total(const struct rollup *r);
/* From a signal handler: reading ends soon. */
void analyze_stop(void);

/* The groups of a view, most requests first (of time: in its order). The caller frees the array. */
struct rollup_group **analysis_sorted(const struct rollup_view *v);
/* What a field is called in reports: its key in a line of the log. */
const char *analysis_field_name(enum log_field field);

/* The counts of a group, by their names in JSON and --fail-if. */
struct analysis_count {
    const char *name;
    enum rollup_count count;
};
extern const struct analysis_count analysis_counts[];
extern const size_t analysis_count_count;
/* The values of a group as an object {NAME: value, ...}: of its own, lest a name be that of something counted. */
void analysis_put_keys(struct json_out *j, const char *name, const struct log_ref *by, int count,
                       const struct str *values);
/* The command that shows a request: "weir analyze FILE --trace ID", quoted for a shell, since ids are strangers' words. `id` NULL
 * or "": nothing. */
struct str analysis_trace_command(const struct analysis *a, const char *id, char *out,
                                  size_t out_bytes);

void analyze_write_tables(const struct analysis *a, enum table_format format, const struct term *t);
void analyze_write_json(const struct analysis *a, FILE *out);
/* One table of the groups; with SECTION_ERRORS of what failed. */
void analyze_write_section(const struct analysis *a, enum analyze_section section,
                           const char *title, enum table_format format, const struct term *t);
/* analyze_html.c: the page at html_path. The file is there when it is whole, not before; false: it could not be written (`e`). */
MUST_USE bool analyze_write_page(const struct analysis *a, struct err *e);
