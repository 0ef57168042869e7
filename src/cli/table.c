/* table.c -- holds a table, and writes it for a terminal; table_export.c has the other formats.
 *
 * On a terminal a row is a line, always: what does not fit is cut, never wrapped, because a wrapped table cannot be read.
 * Room is found in this order: left-aligned columns (names) give way, the widest first, down to LEFT_COLUMNS_MIN; then
 * whole columns are left off from the right, and a line says so. A number is never cut, since the rest of it would be a
 * wrong number; only when the first column alone is too wide for the terminal it is cut all the same.
 *
 *     Title
 *     Model       Requests  Latency
 *     ----------  --------  -------
 *     gpt-4o-mi…    12,345   850 ms
 *     8 more rows: --top 20 */
#include "cli/table.h"

#include <math.h>
#include <stdarg.h>

enum { GAP_COLUMNS = 2, LEFT_COLUMNS_MIN = 8, CELLS_FIRST = 64 };

/* ---- building ---- */

static struct str vprint(struct arena *a, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    ENSURE(n >= 0);
    char *text = arena_alloc(a, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return (struct str){text, (size_t)n};
}

void table_init(struct table *t, const struct table_column *columns, size_t count)
{
    *t = (struct table){.column_count = count};
    ENSURE(count > 0);
    arena_init(&t->arena, NULL, 0);
    t->columns = arena_alloc(&t->arena, count * sizeof *columns);
    for (size_t i = 0; i < count; i++) {
        const struct table_column *from = &columns[i];
        const char *name = from->name ? from->name : from->heading;
        t->columns[i] = (struct table_column){
            .heading = arena_str(&t->arena, str_from(from->heading)).p,
            .align = from->align,
            .name = arena_str(&t->arena, str_from(name)).p,
        };
    }
}

void table_fini(struct table *t)
{
    arena_fini(&t->arena);
    mem_free(t->cells);
    *t = (struct table){0};
}

void table_title(struct table *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    t->title = vprint(&t->arena, fmt, args);
    va_end(args);
}

void table_note(struct table *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    t->note = vprint(&t->arena, fmt, args);
    va_end(args);
}

static void add_cell(struct table *t, struct table_cell cell)
{
    ENSURE(t->cell_count < t->row_count * t->column_count);
    if (t->cell_count == t->cell_room) {
        t->cell_room = MAX(t->cell_room * 2, (size_t)CELLS_FIRST);
        t->cells = mem_realloc(t->cells, t->cell_room * sizeof *t->cells);
    }
    t->cells[t->cell_count++] = cell;
}

void table_row(struct table *t)
{
    while (t->cell_count < t->row_count * t->column_count)
        add_cell(t, (struct table_cell){0});
    t->row_count++;
}

void table_text(struct table *t, enum term_style style, struct str text)
{
    add_cell(t, (struct table_cell){.text = arena_str(&t->arena, text), .style = style});
}

void table_printf(struct table *t, enum term_style style, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_cell(t, (struct table_cell){.text = vprint(&t->arena, fmt, args), .style = style});
    va_end(args);
}

/* 15 digits are what a decimal number keeps through a double; 17 are what a double keeps through decimal digits. The
 * fewer are taken where they are enough: 0.1 is not to become 0.10000000000000001. */
static struct str plain_number(struct arena *a, double v)
{
    if (!isfinite(v))
        return STR_NONE;
    struct str text = arena_printf(a, "%.15g", v);
    return strtod(text.p, NULL) == v ? text : arena_printf(a, "%.17g", v);
}

void table_number(struct table *t, enum term_style style, struct num shown, double raw)
{
    add_cell(t, (struct table_cell){.text = arena_str(&t->arena, str_from(shown.text)),
                                    .raw = plain_number(&t->arena, raw),
                                    .style = style,
                                    .raw_kind = RAW_NUMBER});
}

void table_text_raw(struct table *t, enum term_style style, struct str shown, struct str raw)
{
    add_cell(t, (struct table_cell){.text = arena_str(&t->arena, shown),
                                    .raw = arena_str(&t->arena, raw),
                                    .style = style,
                                    .raw_kind = RAW_TEXT});
}

void table_maybe(struct table *t, enum term_style style, struct str text)
{
    if (text.n)
        table_text(t, style, text);
    else
        table_text_raw(t, style, STR("-"), STR(""));
}

const struct table_cell *table_at(const struct table *t, size_t row, size_t column)
{
    static const struct table_cell empty;
    size_t at = row * t->column_count + column;
    return at < t->cell_count ? &t->cells[at] : &empty;
}

/* ---- on a terminal ---- */

struct layout {
    const struct term *term;
    int *widths;       /* of all columns */
    size_t shown;      /* columns, from the left */
    int columns_least; /* that a terminal needs to show all */
};

/* What a column cannot be made narrower than. */
static int least_width(const struct table *t, const struct layout *l, size_t column)
{
    int width = l->widths[column];
    return t->columns[column].align == ALIGN_LEFT ? MIN(width, LEFT_COLUMNS_MIN) : width;
}

static void measure(const struct table *t, struct layout *l)
{
    for (size_t c = 0; c < t->column_count; c++) {
        int width = term_width(l->term->utf8, str_from(t->columns[c].heading));
        for (size_t r = 0; r < t->row_count; r++)
            width = MAX(width, term_width(l->term->utf8, table_at(t, r, c)->text));
        l->widths[c] = width;
    }
}

/* Columns, from the left, that fit with all of them at their least. */
static void choose_columns(const struct table *t, struct layout *l)
{
    int used = -GAP_COLUMNS;
    l->shown = 0;
    for (size_t c = 0; c < t->column_count; c++) {
        used += GAP_COLUMNS + least_width(t, l, c);
        if (used <= l->term->columns && l->shown == c)
            l->shown = c + 1;
    }
    l->columns_least = used;
    if (l->shown == 0) {
        l->shown = 1;
        l->widths[0] = MIN(l->widths[0], l->term->columns);
    }
}

/* The widest left-aligned column of those that can still give way, or NULL. */
static int *widest(const struct table *t, const struct layout *l)
{
    int *found = NULL;
    for (size_t c = 0; c < l->shown; c++)
        if (t->columns[c].align == ALIGN_LEFT && l->widths[c] > LEFT_COLUMNS_MIN &&
            (!found || l->widths[c] > *found))
            found = &l->widths[c];
    return found;
}

static void fit(const struct table *t, struct layout *l)
{
    l->shown = t->column_count;
    if (l->term->columns <= 0)
        return;
    choose_columns(t, l);
    int used = -GAP_COLUMNS, *wide;
    for (size_t c = 0; c < l->shown; c++)
        used += GAP_COLUMNS + l->widths[c];
    while (used > l->term->columns && (wide = widest(t, l)) != NULL) {
        --*wide;
        used--;
    }
}

/* A field and the gap before it; behind the text of a line's last one is nothing. */
static void print_field(const struct table *t, const struct layout *l, size_t column, bool is_last,
                        enum term_style style, struct str text)
{
    enum align align = t->columns[column].align;
    if (column > 0)
        fprintf(l->term->out, "%*s", GAP_COLUMNS, "");
    if (l->widths[column] == 0)
        return;
    if (align == ALIGN_LEFT && is_last)
        term_put(l->term, style, text, l->widths[column]);
    else
        term_field(l->term, style, text, l->widths[column], align);
}

static void print_headings(const struct table *t, const struct layout *l)
{
    FILE *out = l->term->out;
    for (size_t c = 0; c < l->shown; c++)
        print_field(t, l, c, c + 1 == l->shown, STYLE_HEADING, str_from(t->columns[c].heading));
    fprintf(out, "\n%s", term_sgr(l->term, STYLE_DIM));
    for (size_t c = 0; c < l->shown; c++) {
        fprintf(out, "%*s", c > 0 ? GAP_COLUMNS : 0, "");
        for (int i = 0; i < l->widths[c]; i++)
            fputs(l->term->utf8 ? "\xE2\x94\x80" : "-", out);
    }
    fprintf(out, "%s\n", term_sgr_end(l->term, STYLE_DIM));
}

static void print_row(const struct table *t, const struct layout *l, size_t row)
{
    size_t end = l->shown;
    while (end > 0 && table_at(t, row, end - 1)->text.n == 0)
        end--;
    for (size_t c = 0; c < end; c++) {
        const struct table_cell *cell = table_at(t, row, c);
        print_field(t, l, c, c + 1 == end, cell->style, cell->text);
    }
    fputs("\n", l->term->out);
}

static void print_line(const struct term *term, enum term_style style, struct str text)
{
    if (text.n == 0)
        return;
    term_put(term, style, text, term->columns);
    fputs("\n", term->out);
}

static void print_notes(const struct table *t, const struct layout *l)
{
    char text[96];
    size_t hidden = t->column_count - l->shown;
    if (hidden > 0) {
        snprintf(text, sizeof text, "%zu more column%s: needs %d columns of terminal", hidden,
                 hidden == 1 ? "" : "s", l->columns_least);
        print_line(l->term, STYLE_DIM, str_from(text));
    }
    print_line(l->term, STYLE_DIM, t->note);
}

static void write_terminal(const struct table *t, const struct term *term)
{
    struct layout l = {.term = term, .widths = mem_alloc(t->column_count * sizeof *l.widths)};
    measure(t, &l);
    fit(t, &l);
    print_line(term, STYLE_TITLE, t->title);
    print_headings(t, &l);
    for (size_t r = 0; r < t->row_count; r++)
        print_row(t, &l, r);
    print_notes(t, &l);
    mem_free(l.widths);
}

void table_write(const struct table *t, enum table_format format, const struct term *term)
{
    if (format == TABLE_TERMINAL)
        write_terminal(t, term);
    else
        table_export(t, format, term->out);
}
