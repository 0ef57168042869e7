/* table_text.h -- a table with a sentence below it: a verdict, or advice, that has to be read whole.
 *
 * A table's note is one line, cut at the terminal's edge. This text is broken into lines there instead; in other formats it is the note. */
#pragma once

#include "cli/table.h"

void table_write_with_text(struct table *t, const char *text, enum table_format format,
                           const struct term *term);
