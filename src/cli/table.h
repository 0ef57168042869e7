/* table.h -- rows and columns of text and numbers, written for a terminal, as Markdown, CSV or HTML.
 *
 * A command fills a table once and writes it in the format the user asked for:
 *
 *     static const struct table_column columns[] = {
 *         {"Model", ALIGN_LEFT, "model"}, {"Latency", ALIGN_RIGHT, "latency_ms"}};
 *     table_init(&t, columns, COUNT(columns));
 *     table_title(&t, "Slowest models");
 *     for each model:
 *         table_row(&t);
 *         table_text(&t, STYLE_NONE, model);
 *         table_number(&t, STYLE_NONE, num_ms(us), us / 1000);
 *     table_note(&t, "8 more rows: --top 20");
 *     table_write(&t, TABLE_TERMINAL, &term);
 *     table_fini(&t);
 *
 * The table copies all it is given, the columns too. CSV is for programs: it has the columns' machine names, raw values
 * instead of shown ones, and neither title nor note. Cells may come from strangers: no format lets control bytes or
 * invalid UTF-8 through, and each escapes what is markup in it. Not thread-safe; the owner is who called table_init. */
#pragma once

#include "base/mem.h"
#include "cli/numbers.h"
#include "cli/term.h"

enum table_format { TABLE_TERMINAL, TABLE_MARKDOWN, TABLE_CSV, TABLE_HTML };

struct table_column {
    const char *heading;
    enum align align;
    const char *name; /* in CSV, with the raw value's unit: "latency_ms"; NULL: the heading */
};

enum table_raw { RAW_NONE, RAW_TEXT, RAW_NUMBER };

struct table_cell {
    struct str text, raw;
    enum term_style style;
    enum table_raw raw_kind; /* RAW_NONE: CSV has the text */
};

struct table {
    struct arena arena; /* of all texts */
    struct table_column *columns;
    size_t column_count;
    struct table_cell *cells; /* row by row, all complete but perhaps the last */
    size_t row_count, cell_count, cell_room;
    struct str title, note;
};

void table_init(struct table *t, const struct table_column *columns, size_t count);
void table_fini(struct table *t);
void table_title(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void table_note(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Begins a row; cells follow from left to right. What the row before lacks is empty. */
void table_row(struct table *t);
void table_text(struct table *t, enum term_style style, struct str text);
void table_printf(struct table *t, enum term_style style, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* `raw` is the plain number for CSV; NaN leaves it empty there. */
void table_number(struct table *t, enum term_style style, struct num shown, double raw);
/* Text that CSV has differently: a time, a bar with its number. */
void table_text_raw(struct table *t, enum term_style style, struct str shown, struct str raw);

/* Text that may not be there (n == 0): a dash for people, nothing for programs. */
void table_maybe(struct table *t, enum term_style style, struct str text);

/* Markdown, CSV and HTML are always UTF-8 without colours and as wide as they come. */
void table_write(const struct table *t, enum table_format format, const struct term *term);

/* Cell `column` of row `row`; an empty one where the last row is not complete. For the writers. */
const struct table_cell *table_at(const struct table *t, size_t row, size_t column);
void table_export(const struct table *t, enum table_format format, FILE *out); /* table_export.c */
