/* table_export.c -- a table as Markdown, CSV or HTML. table_write calls it.
 *
 * Before a format escapes what is markup to it, term_safe has replaced control bytes: a report is safe to `cat`, and no
 * cell has a line end in it. A text is escaped into a buffer that the next text overwrites.
 *
 * Markdown is GitHub's (GFM 0.29, section 4.10), with columns filled up so that it can be read as it is. CSV is RFC 4180,
 * but with lines that end in LF: its readers are awk, spreadsheets and pandas, and only awk would mind the CR. */
#include "cli/table.h"

#include "base/buf.h"
#include "cli/html.h"

struct export
{
    const struct table *t;
    FILE *out;
    struct buf safe, escaped; /* the cell at hand */
    int *widths;              /* Markdown: columns of the escaped texts */
};

enum { MARKDOWN_COLUMNS_MIN = 3 }; /* "---" */

/* ---- texts ---- */

/* Both buffers have no cap: they hold a cell of our own table. Good until the next call. */
static struct str made_safe(struct export *e, struct str text)
{
    size_t bytes = TERM_SAFE_BYTES(text.n);
    buf_clear(&e->safe);
    char *room = buf_room(&e->safe, bytes);
    ENSURE(room);
    term_safe(true, text, 0, room, bytes);
    return str_from(room);
}

static void put(struct export *e, const char *p, size_t n)
{
    ENSURE(buf_append(&e->escaped, p, n));
}

/* CommonMark 0.29 section 2.4: a backslash before any ASCII punctuation takes its meaning from it. These are the ones that
 * begin something within a line: code, emphasis, links and images, HTML, entities, struck text; and the table's pipe. */
static struct str markdown_text(struct export *e, struct str text)
{
    struct str safe = made_safe(e, text);
    buf_clear(&e->escaped);
    for (size_t i = 0; i < safe.n; i++) {
        if (strchr("\\`*_[]<>&~|", safe.p[i]))
            put(e, "\\", 1);
        put(e, &safe.p[i], 1);
    }
    return buf_str(&e->escaped);
}

/* Would a spreadsheet take this text for a formula? OWASP, "CSV Injection": what begins with = + - @. Tab and CR, which
 * it names too, were replaced before. The full-width forms (U+FF1D, U+FF0B, U+FF0D, U+FF20) are to be on the safe side:
 * spreadsheets are said to read them alike in East Asian locales. */
static bool is_formula(struct str text)
{
    static const struct str begins[] = {
        {"=", 1},
        {"+", 1},
        {"-", 1},
        {"@", 1},
        {"\xEF\xBC\x9D", 3},
        {"\xEF\xBC\x8B", 3},
        {"\xEF\xBC\x8D", 3},
        {"\xEF\xBC\xA0", 3},
    };
    for (size_t i = 0; i < COUNT(begins); i++)
        if (str_starts(text, begins[i]))
            return true;
    return false;
}

/* RFC 4180 section 2, rules 5 to 7. Numbers are ours, and may begin with a minus. */
static struct str csv_text(struct export *e, struct str text, bool is_number)
{
    struct str safe = made_safe(e, text);
    bool quoted = strpbrk(safe.p, "\",") != NULL;
    buf_clear(&e->escaped);
    if (quoted)
        put(e, "\"", 1);
    if (!is_number && is_formula(safe))
        put(e, "'", 1);
    for (size_t i = 0; i < safe.n; i++) {
        if (safe.p[i] == '"')
            put(e, "\"", 1);
        put(e, &safe.p[i], 1);
    }
    if (quoted)
        put(e, "\"", 1);
    return buf_str(&e->escaped);
}

static void print_str(FILE *out, struct str s)
{
    if (s.n)
        fwrite(s.p, 1, s.n, out);
}

/* ---- Markdown ---- */

static void markdown_measure(struct export *e)
{
    for (size_t c = 0; c < e->t->column_count; c++) {
        struct str heading = markdown_text(e, str_from(e->t->columns[c].heading));
        int width = MAX(MARKDOWN_COLUMNS_MIN, term_width(true, heading));
        for (size_t r = 0; r < e->t->row_count; r++)
            width = MAX(width, term_width(true, markdown_text(e, table_at(e->t, r, c)->text)));
        e->widths[c] = width;
    }
}

static void markdown_cell(struct export *e, size_t column, struct str text)
{
    struct str escaped = markdown_text(e, text);
    int blanks = e->widths[column] - term_width(true, escaped);
    bool right = e->t->columns[column].align == ALIGN_RIGHT;
    fprintf(e->out, "%s%*s", column == 0 ? "| " : " | ", right ? blanks : 0, "");
    print_str(e->out, escaped);
    fprintf(e->out, "%*s", right ? 0 : blanks, "");
}

static void markdown_rule(struct export *e)
{
    for (size_t c = 0; c < e->t->column_count; c++) {
        bool right = e->t->columns[c].align == ALIGN_RIGHT;
        fputs(c == 0 ? "| " : " | ", e->out);
        for (int i = right; i < e->widths[c]; i++)
            fputc('-', e->out);
        if (right)
            fputc(':', e->out);
    }
    fputs(" |\n", e->out);
}

static void write_markdown(struct export *e)
{
    const struct table *t = e->t;
    markdown_measure(e);
    if (t->title.n) {
        fputs("### ", e->out);
        print_str(e->out, markdown_text(e, t->title));
        fputs("\n\n", e->out);
    }
    for (size_t c = 0; c < t->column_count; c++)
        markdown_cell(e, c, str_from(t->columns[c].heading));
    fputs(" |\n", e->out);
    markdown_rule(e);
    for (size_t r = 0; r < t->row_count; r++) {
        for (size_t c = 0; c < t->column_count; c++)
            markdown_cell(e, c, table_at(t, r, c)->text);
        fputs(" |\n", e->out);
    }
    if (t->note.n) {
        fputc('\n', e->out);
        print_str(e->out, markdown_text(e, t->note));
        fputc('\n', e->out);
    }
}

/* ---- CSV ---- */

static void csv_field(struct export *e, size_t column, struct str text, bool is_number)
{
    if (column > 0)
        fputc(',', e->out);
    print_str(e->out, csv_text(e, text, is_number));
}

static void write_csv(struct export *e)
{
    const struct table *t = e->t;
    for (size_t c = 0; c < t->column_count; c++)
        csv_field(e, c, str_from(t->columns[c].name), false);
    fputc('\n', e->out);
    for (size_t r = 0; r < t->row_count; r++) {
        for (size_t c = 0; c < t->column_count; c++) {
            const struct table_cell *cell = table_at(t, r, c);
            csv_field(e, c, cell->raw_kind == RAW_NONE ? cell->text : cell->raw,
                      cell->raw_kind == RAW_NUMBER);
        }
        fputc('\n', e->out);
    }
}

/* ---- HTML ---- */

static void html_element(struct export *e, const char *open, struct str text, const char *close)
{
    fputs(open, e->out);
    html_put(e->out, text);
    fputs(close, e->out);
}

/* Alignment is said in place, since the table has to stand without a style sheet; the style is a class for one. */
static void html_cell(struct export *e, const char *name, size_t column, enum term_style style,
                      struct str text)
{
    static const char *const classes[] = {
        [STYLE_NONE] = "",
        [STYLE_TITLE] = " class=\"title\"",
        [STYLE_HEADING] = " class=\"heading\"",
        [STYLE_DIM] = " class=\"dim\"",
        [STYLE_GOOD] = " class=\"good\"",
        [STYLE_WARN] = " class=\"warn\"",
        [STYLE_BAD] = " class=\"bad\"",
        [STYLE_ACCENT] = " class=\"accent\"",
    };
    bool right = e->t->columns[column].align == ALIGN_RIGHT;
    fprintf(e->out, "<%s%s style=\"text-align:%s\">", name, classes[style],
            right ? "right" : "left");
    html_put(e->out, text);
    fprintf(e->out, "</%s>", name);
}

static void write_html(struct export *e)
{
    const struct table *t = e->t;
    fputs("<table>\n", e->out);
    if (t->title.n)
        html_element(e, "<caption>", t->title, "</caption>\n");
    fputs("<thead>\n<tr>", e->out);
    for (size_t c = 0; c < t->column_count; c++)
        html_cell(e, "th", c, STYLE_NONE, str_from(t->columns[c].heading));
    fputs("</tr>\n</thead>\n<tbody>\n", e->out);
    for (size_t r = 0; r < t->row_count; r++) {
        fputs("<tr>", e->out);
        for (size_t c = 0; c < t->column_count; c++) {
            const struct table_cell *cell = table_at(t, r, c);
            html_cell(e, "td", c, cell->style, cell->text);
        }
        fputs("</tr>\n", e->out);
    }
    fputs("</tbody>\n", e->out);
    if (t->note.n) {
        fprintf(e->out, "<tfoot>\n<tr><td colspan=\"%zu\">", t->column_count);
        html_element(e, "", t->note, "</td></tr>\n</tfoot>\n");
    }
    fputs("</table>\n", e->out);
}

void table_export(const struct table *t, enum table_format format, FILE *out)
{
    struct export e = {.t = t, .out = out, .widths = mem_alloc(t->column_count * sizeof *e.widths)};
    buf_init(&e.safe, 0, NULL);
    buf_init(&e.escaped, 0, NULL);
    switch (format) {
    case TABLE_TERMINAL: break; /* table.c's */
    case TABLE_MARKDOWN: write_markdown(&e); break;
    case TABLE_CSV: write_csv(&e); break;
    case TABLE_HTML: write_html(&e); break;
    }
    buf_fini(&e.safe);
    buf_fini(&e.escaped);
    mem_free(e.widths);
}
