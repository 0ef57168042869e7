/* tail_columns.h -- the columns of `weir tail`: what each says of a request, how wide, and which go first where room is short. */
#pragma once

#include "cli/tail_view.h"

struct tail_cell {
    char text[512];
    struct str whole; /* instead of `text`, where that is too long for it */
    enum term_style style;
};

struct tail_column {
    const char *heading;
    int columns, columns_max; /* it may grow to columns_max */
    enum align align;
    int rank; /* 0: never left out; the highest go first */
    void (*tell)(const struct tail_view *v, const struct logline *l, struct tail_cell *cell);
};

extern const struct tail_column tail_columns[];
extern const size_t tail_column_count;

/* Widths for a terminal of so many columns (0: no limit): 0 for what has no room. */
void tail_columns_fit(int terminal_columns, int *widths);

/* A found field's value as text; "" where it was not found. */
void tail_field_tell(const struct tail_view *v, const struct logline *l, enum log_field field,
                     struct tail_cell *cell);
int tail_field_columns(enum log_field field);
