/* analyze.h -- what `weir analyze` found out, for its two ways of telling it: people (analyze_tables.c) and programs
 * (analyze_json.c). */
#pragma once

#include "cli/table.h"
#include "observe/logread.h"
#include "observe/rollup.h"

struct analysis {
    const char *const *paths;
    size_t path_count;
    struct logread_sum sum;
    struct rollup rollup; /* its views: */
    const struct rollup_view *by, *errors, *times;
    struct rollup_group *total;
    double seconds;                                  /* it took */
    int64_t since_us, until_us;                      /* as asked for; INT64_MIN, INT64_MAX: open */
    bool show_errors, show_performance, show_tokens; /* none of them: the overview */
    bool cut_short;                                  /* by Ctrl-C */
    int top;                                         /* rows of a table */
};

/* The groups of a view, most requests first. The caller frees the array. */
struct rollup_group **analysis_sorted(const struct rollup_view *v);
/* What a field is called in reports: its key in a line of the log. */
const char *analysis_field_name(enum log_field field);

void analyze_write_tables(const struct analysis *a, enum table_format format, const struct term *t);
void analyze_write_json(const struct analysis *a, FILE *out);
