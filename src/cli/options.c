/* options.c -- the command line, by table: parsing, range checks, suggestions, --help.
 *
 * Every command hands in its rows; nothing here knows a command. parse_words does the work and
 * reports through struct err, so it can be tested; options_parse is the thin part that prints and
 * exits. Long options with one meaning everywhere; a value may follow as the next word or behind
 * '='. A value that begins with '-' is taken as a value: "--port -5" is told that -5 is out of
 * range. */
#include "cli/command.h"

#include <unistd.h>

enum { HELP_COLUMNS = 96, NAME_COLUMNS_MAX = 34, SUGGEST_DISTANCE_MAX = 3 };

enum outcome { PARSED, ASKED_FOR_HELP, MISTAKEN };

struct words {
    const struct option_row *rows;
    size_t row_count;
    char **argv;
    int argc, at, kept; /* argv[0..kept): positional words found so far */
};

/* ---- parsing ---- */

static const struct option_row *find_row(const struct words *w, struct str name)
{
    for (size_t i = 0; i < w->row_count; i++) {
        const struct option_row *row = &w->rows[i];
        if (str_eq(str_from(row->name), name) ||
            (row->short_name && str_eq(str_from(row->short_name), name)))
            return row;
    }
    return NULL;
}

/* The option that was probably meant, or NULL. */
static const char *nearest_option(const struct words *w, struct str name)
{
    const char *best = NULL;
    int best_distance = SUGGEST_DISTANCE_MAX + 1;
    if (name.n < 4) /* "-x" is near to everything */
        return NULL;
    for (size_t i = 0; i < w->row_count; i++) {
        int distance = str_distance(str_from(w->rows[i].name), name);
        if (distance < best_distance) {
            best_distance = distance;
            best = w->rows[i].name;
        }
    }
    return best;
}

static bool unknown_option(const struct words *w, struct str name, struct err *e)
{
    const char *near = nearest_option(w, name);
    if (near)
        return err_set(e, "unknown option %.*s; did you mean %s?", STR_ARG(name), near);
    return err_set(e, "unknown option %.*s", STR_ARG(name));
}

static bool has_range(const struct option_row *row)
{
    return row->min < row->max;
}

static bool set_int(const struct option_row *row, struct str text, struct err *e)
{
    int64_t value;
    bool whole = str_to_i64(text, &value);
    if (whole && (!has_range(row) || (value >= row->min && value <= row->max))) {
        *(int64_t *)row->into = value;
        return true;
    }
    if (has_range(row) && row->max == INT64_MAX)
        return err_set(e, "%s: expected a whole number of at least %lld, got \"%.*s\"", row->name,
                       (long long)row->min, STR_ARG(text));
    if (has_range(row))
        return err_set(e, "%s: expected a whole number from %lld to %lld, got \"%.*s\"", row->name,
                       (long long)row->min, (long long)row->max, STR_ARG(text));
    return err_set(e, "%s: expected a whole number, got \"%.*s\"", row->name, STR_ARG(text));
}

static bool set_f64(const struct option_row *row, struct str text, struct err *e)
{
    double value;
    bool number = str_to_f64(text, &value);
    if (number && (!has_range(row) || (value >= (double)row->min && value <= (double)row->max))) {
        *(double *)row->into = value;
        return true;
    }
    if (has_range(row))
        return err_set(e, "%s: expected a number from %lld to %lld, got \"%.*s\"", row->name,
                       (long long)row->min, (long long)row->max, STR_ARG(text));
    return err_set(e, "%s: expected a number, got \"%.*s\"", row->name, STR_ARG(text));
}

/* "json, csv or table" */
static void list_choices(const struct option_row *row, char *out, size_t out_bytes)
{
    size_t n = 0;
    out[0] = '\0';
    for (int i = 0; row->choices[i] && n < out_bytes; i++) {
        const char *before = i == 0 ? "" : row->choices[i + 1] ? ", " : " or ";
        n += (size_t)snprintf(out + n, out_bytes - n, "%s%s", before, row->choices[i]);
    }
}

static bool set_choice(const struct option_row *row, struct str text, struct err *e)
{
    char known[256];
    for (int i = 0; row->choices[i]; i++) {
        if (str_eq(str_from(row->choices[i]), text)) {
            *(int *)row->into = i;
            return true;
        }
    }
    list_choices(row, known, sizeof known);
    return err_set(e, "%s: expected %s, got \"%.*s\"", row->name, known, STR_ARG(text));
}

static bool add_to_list(const struct option_row *row, const char *value, struct err *e)
{
    struct option_list *list = row->into;
    if (list->count == OPTION_LIST_MAX)
        return err_set(e, "%s: given more than %d times", row->name, OPTION_LIST_MAX);
    list->values[list->count++] = value;
    return true;
}

static bool set_value(const struct option_row *row, const char *value, struct err *e)
{
    switch (row->type) {
    case OPT_FLAG: *(bool *)row->into = true; return true;
    case OPT_STR: *(const char **)row->into = value; return true;
    case OPT_INT: return set_int(row, str_from(value), e);
    case OPT_F64: return set_f64(row, str_from(value), e);
    case OPT_CHOICE: return set_choice(row, str_from(value), e);
    case OPT_LIST: return add_to_list(row, value, e);
    }
    return false;
}

/* argv[at] is an option, perhaps with its value behind '='. */
static bool take_option(struct words *w, struct err *e)
{
    char *word = w->argv[w->at++];
    char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
    struct str name = {word, equals ? (size_t)(equals - word) : strlen(word)};
    const struct option_row *row = find_row(w, name);
    if (!row)
        return unknown_option(w, name, e);
    if (row->type == OPT_FLAG && equals)
        return err_set(e, "%s takes no value", row->name);
    if (row->type == OPT_FLAG || equals)
        return set_value(row, equals ? equals + 1 : NULL, e);
    if (w->at == w->argc)
        return err_set(e, "%s needs a value: %s %s", row->name, row->name,
                       row->value ? row->value : "VALUE");
    return set_value(row, w->argv[w->at++], e);
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* A lone "-" is a positional word: it stands for stdin. */
static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0';
}

/* Looked for before anything is parsed, because --help shows defaults, which parsing overwrites. */
static bool asks_for_help(const struct words *w)
{
    for (int i = 0; i < w->argc && strcmp(w->argv[i], "--") != 0; i++)
        if (is_help(w->argv[i]) && !find_row(w, str_from(w->argv[i])))
            return true;
    return false;
}

static enum outcome parse_words(struct words *w, struct err *e)
{
    if (asks_for_help(w))
        return ASKED_FOR_HELP;
    while (w->at < w->argc) {
        char *word = w->argv[w->at];
        if (strcmp(word, "--") == 0) {
            w->at++;
            break;
        }
        if (!is_option(word)) {
            w->argv[w->kept++] = word;
            w->at++;
        } else if (!take_option(w, e)) {
            return MISTAKEN;
        }
    }
    while (w->at < w->argc)
        w->argv[w->kept++] = w->argv[w->at++];
    return PARSED;
}

/* ---- help ---- */

struct style {
    const char *bold, *plain;
};

static struct style style_for(FILE *out)
{
    const char *no_color = getenv("NO_COLOR"); /* no-color.org: set and not empty */
    bool plain = (no_color && no_color[0]) || !isatty(fileno(out));
    return plain ? (struct style){"", ""} : (struct style){"\033[1m", "\033[0m"};
}

void option_describe(const struct option_row *row, char *out, size_t out_bytes)
{
    char known[256];
    out[0] = '\0';
    if (row->type == OPT_INT) {
        int64_t value = *(const int64_t *)row->into;
        if (!has_range(row) || (value >= row->min && value <= row->max))
            snprintf(out, out_bytes, " (default %lld)", (long long)value);
    } else if (row->type == OPT_F64) {
        double value = *(const double *)row->into;
        if (!has_range(row) || (value >= (double)row->min && value <= (double)row->max))
            snprintf(out, out_bytes, " (default %g)", value);
    } else if (row->type == OPT_STR && *(const char *const *)row->into) {
        snprintf(out, out_bytes, " (default %s)", *(const char *const *)row->into);
    } else if (row->type == OPT_CHOICE) {
        list_choices(row, known, sizeof known);
        snprintf(out, out_bytes, ": %s (default %s)", known, row->choices[*(const int *)row->into]);
    }
}

static void option_names(const struct option_row *row, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "  %s%s%s%s%s", row->short_name ? row->short_name : "  ",
             row->short_name ? ", " : "  ", row->name, row->value ? " " : "",
             row->value ? row->value : "");
}

/* Prints `text` from column `at` on, broken between words, later lines indented by `indent`. */
static void print_wrapped(FILE *out, struct str text, size_t at, size_t indent)
{
    bool first = true;
    while (text.n) {
        struct str word = str_cut(&text, ' ');
        if (!first && at + 1 + word.n > HELP_COLUMNS) {
            fprintf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!first) {
            fputc(' ', out);
            at++;
        }
        fwrite(word.p, 1, word.n, out);
        at += word.n;
        first = false;
    }
    fputc('\n', out);
}

static void print_row(FILE *out, const struct option_row *row, size_t indent)
{
    char names[80], value[OPTION_VALUE_BYTES], text[1024];
    option_names(row, names, sizeof names);
    option_describe(row, value, sizeof value);
    snprintf(text, sizeof text, "%s%s", row->help ? row->help : "", value);
    fputs(names, out);
    size_t at = strlen(names);
    if (at + 2 > indent) {
        fputc('\n', out);
        at = 0;
    }
    fprintf(out, "%*s", (int)(indent - at), "");
    print_wrapped(out, str_from(text), indent, indent);
}

static void print_help(const struct command *c, const struct option_row *rows, size_t count,
                       FILE *out)
{
    static const struct option_row help_row = {
        .name = "--help", .short_name = "-h", .type = OPT_FLAG, .help = "show this text"};
    struct style s = style_for(out);
    size_t indent = strlen("  -h, --help") + 2;
    for (size_t i = 0; i < count; i++) {
        char names[80];
        option_names(&rows[i], names, sizeof names);
        size_t n = strlen(names) + 2;
        if (n > indent && n <= NAME_COLUMNS_MAX)
            indent = n;
    }
    fprintf(out, "%sweir %s%s - %s\n\n", s.bold, c->name, s.plain, c->summary);
    fprintf(out, "%sUsage:%s %s\n", s.bold, s.plain, c->usage);
    if (!count || !rows[0].heading)
        fprintf(out, "\n%sOptions:%s\n", s.bold, s.plain);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].heading)
            fprintf(out, "\n%s%s:%s\n", s.bold, rows[i].heading, s.plain);
        print_row(out, &rows[i], indent);
    }
    print_row(out, &help_row, indent);
    if (c->examples)
        fprintf(out, "\n%sExamples:%s\n%s", s.bold, s.plain, c->examples);
    if (c->examples && !str_ends(str_from(c->examples), STR("\n")))
        fputc('\n', out);
}

int options_parse(const struct command *c, int argc, char **argv)
{
    struct words w = {.argv = argv, .argc = argc};
    struct err e = {0};
    w.rows = c->options ? c->options(&w.row_count) : NULL;
    switch (parse_words(&w, &e)) {
    case PARSED: break;
    case ASKED_FOR_HELP: print_help(c, w.rows, w.row_count, stdout); exit(EXIT_GOOD);
    case MISTAKEN:
        fprintf(stderr, "weir %s: %s\nTry \"weir %s --help\".\n", c->name, e.text, c->name);
        exit(EXIT_USAGE);
    }
    return w.kept;
}
