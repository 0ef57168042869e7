/* log_filter.h -- which lines a command is about: --model, --provider, --key, --user, --status, --level, --where and their like.
 *
 * A row is a field and a pattern; all rows must match, and --where must hold. A pattern is alternatives between commas, each with '*' for any run of
 * bytes ("gpt-*,o3"); one that begins with '!' shuts out. http_status also takes classes: "5xx". Patterns are borrowed. */
#pragma once

#include "observe/log_where.h"

#define LOG_FILTER_ROWS_MAX 16

struct log_filter_row {
    enum log_field field;
    struct str pattern;
};

struct log_filter {
    int count;
    struct log_filter_row rows[LOG_FILTER_ROWS_MAX];
    bool slow_only;                /* marked slow, or at least as slow as ... */
    int64_t slow_us;               /* ... this, where it is > 0 */
    const struct log_where *where; /* NULL: none. Borrowed. */
};

/* `pattern` may be NULL: no row. */
void log_filter_add(struct log_filter *f, enum log_field field, const char *pattern);
/* An outcome, or a status that the client got: "failure", "429", "!5xx". NULL: no row. */
void log_filter_add_status(struct log_filter *f, const char *pattern);
static inline bool log_filter_is_empty(const struct log_filter *f)
{
    return f->count == 0 && !f->slow_only && !f->where;
}
/* Is `text` one of the pattern's alternatives, and none that it shuts out? */
bool log_pattern_matches(struct str pattern, struct str text);
bool log_filter_matches(const struct log_filter *f, const struct logline *l);
