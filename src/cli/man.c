/* man.c -- manual pages in roff's man macros (groff_man(7)), from the commands' tables.
 *
 * Texts of the tables are plain; what roff would take for its own is written as an escape. A line never begins with a text of the
 * tables unescaped, since a dot or an apostrophe there would make it a request. Pages bear no date: the same source gives the same
 * bytes. */
#include "cli/man.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file_write.h"
#include "cli/command.h"
#include "cli/default_log.h"
#include "cli/version.h"

#define PAGE_NAME_BYTES 64

/* Characters that roff interprets, or that a terminal would show as a typographic one, which nobody can paste into a shell. */
static const char *const escapes[256] = {
    ['\\'] = "\\e",  ['-'] = "\\-",   ['\''] = "\\(aq", ['`'] = "\\(ga",
    ['^'] = "\\(ha", ['~'] = "\\(ti", ['"'] = "\\(dq",
};

static const struct {
    int status;
    const char *meaning;
} statuses[] = {
    {EXIT_GOOD, "Good."},
    {EXIT_PROBLEM, "A problem was found, or a bound was crossed."},
    {EXIT_USAGE, "Wrong usage."},
    {EXIT_UNREACHABLE, "Something could not be reached or read."},
};

/* `\&` before what begins a line keeps a dot from being a request. */
static void put_text(struct buf *out, const char *text)
{
    bool at_begin = true, ok = true;
    for (const char *p = text; *p; p++) {
        const char *escape = escapes[(unsigned char)*p];
        if (at_begin && *p == '.')
            ok = ok && buf_printf(out, "\\&");
        ok = ok && (escape ? buf_printf(out, "%s", escape) : buf_printf(out, "%c", *p));
        at_begin = *p == '\n';
    }
    ENSURE(ok);
}

/* Texts between parts that are roff already. */
#define PUT(out, ...) ENSURE(buf_printf(out, __VA_ARGS__))

static void put_block(struct buf *out, const char *title, const char *text)
{
    PUT(out, ".SH %s\n.nf\n", title);
    put_text(out, text);
    PUT(out, "%s.fi\n", str_ends(str_from(text), STR("\n")) ? "" : "\n");
}

/* "check config" -> "weir-check-config" */
static void page_name(const struct command *c, char out[PAGE_NAME_BYTES])
{
    int n = snprintf(out, PAGE_NAME_BYTES, "weir-%s", c->name);
    ENSURE(n < PAGE_NAME_BYTES);
    for (char *p = out; *p; p++)
        if (*p == ' ')
            *p = '-';
}

static void put_head(struct buf *out, const char *name, const char *summary)
{
    PUT(out, ".TH \"");
    put_text(out, name);
    PUT(out, "\" 1 \"\" \"weir %s\" \"weir\"\n.SH NAME\n", weir_version);
    put_text(out, name);
    PUT(out, " \\- ");
    put_text(out, summary);
    PUT(out, "\n");
}

static void put_option(struct buf *out, const struct option_row *row)
{
    char value[OPTION_VALUE_BYTES];
    option_describe(row, value, sizeof value);
    if (row->heading) {
        PUT(out, ".SS ");
        put_text(out, row->heading);
        PUT(out, "\n");
    }
    PUT(out, ".TP\n\\fB");
    if (row->short_name) {
        put_text(out, row->short_name);
        PUT(out, "\\fR, \\fB");
    }
    put_text(out, row->name);
    PUT(out, "\\fR");
    if (row->value) {
        PUT(out, " \\fI");
        put_text(out, row->value);
        PUT(out, "\\fR");
    }
    PUT(out, "\n");
    put_text(out, row->help);
    put_text(out, value);
    PUT(out, "\n");
}

static void put_statuses(struct buf *out)
{
    PUT(out, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < COUNT(statuses); i++)
        PUT(out, ".TP\n%d\n%s\n", statuses[i].status, statuses[i].meaning);
}

/* All pages but that of `but`, NULL for weir(1). */
static void put_see_also(struct buf *out, const struct command *but)
{
    PUT(out, ".SH SEE ALSO\n");
    if (but)
        PUT(out, ".BR weir (1)");
    for (size_t i = 0; i < command_count; i++) {
        char name[PAGE_NAME_BYTES];
        if (commands[i] == but)
            continue;
        page_name(commands[i], name);
        PUT(out, "%s.BR ", i || but ? ",\n" : "");
        put_text(out, name);
        PUT(out, " (1)");
    }
    PUT(out, "\n");
}

static void write_command_page(struct buf *out, const struct command *c)
{
    char name[PAGE_NAME_BYTES];
    size_t count;
    const struct option_row *rows = c->options(&count);
    page_name(c, name);
    put_head(out, name, c->summary);
    put_block(out, "SYNOPSIS", c->usage);
    if (count)
        PUT(out, ".SH OPTIONS\n");
    for (size_t i = 0; i < count; i++)
        put_option(out, &rows[i]);
    if (c->examples)
        put_block(out, "EXAMPLES", c->examples);
    put_statuses(out);
    put_see_also(out, c);
}

static void write_main_page(struct buf *out)
{
    put_head(out, "weir", "an LLM gateway that measures everything that flows through it");
    put_block(out, "SYNOPSIS", "weir COMMAND [options]\nweir COMMAND --help");
    PUT(out, ".SH DESCRIPTION\n"
             "One address for all models: OpenAI's API in front, LiteLLM's configuration behind. "
             "Each request is a line of JSON in the log and counts in the metrics; the commands "
             "that read logs take those of LiteLLM, too.\n");
    PUT(out, ".SH COMMANDS\n");
    for (size_t i = 0; i < command_count; i++) {
        PUT(out, ".TP\n\\fB");
        put_text(out, commands[i]->name);
        PUT(out, "\\fR\n");
        put_text(out, commands[i]->summary);
        PUT(out, "\n");
    }
    PUT(out, ".SH TOOLS\nNames under which the program does one thing:\n");
    for (size_t i = 0; i < tool_count; i++) {
        PUT(out, ".TP\n\\fB");
        put_text(out, tools[i].name);
        PUT(out, "\\fR\nweir %s\n", tools[i].command->name);
    }
    PUT(out, ".SH FILES\n.TP\n");
    put_text(out, DEFAULT_LOG);
    PUT(out, "\nThe request log that is written, and read where none is named. Where that may "
             "not be, \\fIrequests.log\\fR in the current folder.\n");
    put_statuses(out);
    put_see_also(out, NULL);
}

static bool write_page(const char *folder, const char *name, struct buf *page, struct err *e)
{
    char path[PATH_MAX];
    bool ok =
        snprintf(path, sizeof path, "%s/%s.1", folder, name) < (int)sizeof path
            ? file_write_whole(path, (struct str){page->data + page->at, buf_used(page)}, 0644, e)
            : err_set(e, "%s: expected a shorter path", folder);
    buf_fini(page);
    return ok;
}

bool man_write_pages(const char *folder, struct err *e)
{
    struct buf page;
    char name[PAGE_NAME_BYTES];
    if (mkdir(folder, 0755) != 0 && errno != EEXIST)
        return err_set(e, "cannot make the folder %s: %m", folder);
    buf_init(&page, 0, NULL);
    write_main_page(&page);
    bool ok = write_page(folder, "weir", &page, e);
    for (size_t i = 0; ok && i < command_count; i++) {
        buf_init(&page, 0, NULL);
        write_command_page(&page, commands[i]);
        page_name(commands[i], name);
        ok = write_page(folder, name, &page, e);
    }
    for (size_t i = 0; ok && i < tool_count; i++) {
        buf_init(&page, 0, NULL);
        page_name(tools[i].command, name);
        PUT(&page, ".so man1/%s.1\n", name);
        ok = write_page(folder, tools[i].name, &page, e);
    }
    return ok;
}
