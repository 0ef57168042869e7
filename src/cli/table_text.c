#include "cli/table_text.h"

/* Bytes of `text` that fit into `columns`, up to a blank where there is one. */
static size_t line_bytes(const struct term *t, struct str text, int columns)
{
    size_t fits = 0;
    if (columns <= 0 || term_width(t->utf8, text) <= columns)
        return text.n;
    for (size_t i = 1; i < text.n; i++) {
        if (text.p[i] != ' ' || (i + 1 < text.n && text.p[i + 1] == '%')) /* "97 %" stays whole */
            continue;
        if (term_width(t->utf8, (struct str){text.p, i}) > columns)
            break;
        fits = i;
    }
    return fits ? fits : text.n; /* a word that is too long is cut by term_put */
}

void table_write_with_text(struct table *t, const char *text, enum table_format format,
                           const struct term *term)
{
    if (format != TABLE_TERMINAL)
        table_note(t, "%s", text);
    table_write(t, format, term);
    for (struct str rest = str_from(text); format == TABLE_TERMINAL && rest.n;) {
        size_t n = line_bytes(term, rest, term->columns);
        term_put(term, STYLE_DIM, (struct str){rest.p, n}, term->columns);
        fputc('\n', term->out);
        rest = str_skip(rest, n);
        rest = str_skip(rest, rest.n && rest.p[0] == ' ');
    }
}
