/* sentences.c -- a table of one column that a terminal gets as wrapped text. */
#include "cli/sentences.h"

#include <stdarg.h>

enum { INDENT_COLUMNS = 2, SENTENCE_BYTES = 1024 };

void sentences_init(struct sentences *s, const char *heading)
{
    struct table_column column = {heading[0] ? heading : "Notes", ALIGN_LEFT, NULL};
    s->heading = heading;
    table_init(&s->table, &column, 1);
}

void sentences_add(struct sentences *s, const char *fmt, ...)
{
    char text[SENTENCE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    table_row(&s->table);
    table_text(&s->table, STYLE_NONE, str_from(text));
}

/* Breaks at blanks; what follows the first line is indented. */
static void print_wrapped(const struct term *t, struct str text)
{
    int at = 0;
    while (text.n) {
        struct str word = str_cut(&text, ' ');
        int width = term_width(t->utf8, word);
        if (at > 0 && t->columns > 0 && at + 1 + width > t->columns) {
            fprintf(t->out, "\n%*s", INDENT_COLUMNS, "");
            at = INDENT_COLUMNS;
        } else if (at > 0) {
            fputc(' ', t->out);
            at++;
        }
        at += term_put(t, STYLE_NONE, word, 0);
    }
    fputc('\n', t->out);
}

void sentences_end(struct sentences *s, enum table_format format, const struct term *term)
{
    size_t count = s->table.row_count;
    if (count && format != TABLE_CSV)
        fputc('\n', term->out);
    if (count && format == TABLE_TERMINAL) {
        term_put(term, STYLE_TITLE, str_from(s->heading), 0);
        fputs(s->heading[0] ? "\n" : "", term->out);
        for (size_t i = 0; i < count; i++)
            print_wrapped(term, table_at(&s->table, i, 0)->text);
    } else if (count && format != TABLE_CSV) {
        table_write(&s->table, format, term);
    }
    table_fini(&s->table);
}
