/* sentences.h -- a few sentences under a heading, beside tables: wrapped lines on a terminal, a table of one column elsewhere.
 *
 * Names in them may come from strangers; like a table's cells they are made safe, and what is markup in a format is escaped.
 * CSV has none. Not thread-safe; the owner is who called sentences_init. */
#pragma once

#include "cli/table.h"

struct sentences {
    struct table table;
    const char *heading;
};

/* `heading` is borrowed; "" for none (the table's column is then called "Notes"). */
void sentences_init(struct sentences *s, const char *heading);
void sentences_add(struct sentences *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* With a blank line before it, nothing at all when there is no sentence; and frees them. */
void sentences_end(struct sentences *s, enum table_format format, const struct term *term);
