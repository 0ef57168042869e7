/* load_files.c -- where a load test's results go: --export by extension, --html, --junit. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/load.h"
#include "cli/measure_export.h"

struct format {
    const char *extension;
    void (*write)(const struct load_result *r,
                  FILE *out); /* NULL: a page, which has a writer of its own */
};

static void write_markdown(const struct load_result *r, FILE *out)
{
    struct term t = {.out = out, .utf8 = true};
    load_write_report(r, TABLE_MARKDOWN, &t);
}

/* Of the time from when a request was due, as wrk2 has it; in closed loop that is the time from when a user was free. */
static void write_hgrm(const struct load_result *r, FILE *out)
{
    export_hgrm(out, &r->results->total, MEASURED_RESPONSE);
}

void load_write_junit(const struct load_result *r, FILE *out)
{
    struct arena a;
    size_t count;
    arena_init(&a, NULL, 0);
    struct junit_case *cases = junit_cases(&a, &r->limits, &r->validity, &count);
    double seconds = load_seconds(r);
    junit_write(out, r->name.n ? r->name : STR("weir load"), r->account.started_real_us,
                seconds > 0 ? seconds : 0, cases, count);
    arena_fini(&a);
}

static const struct format formats[] = {
    {".json", load_write_json},    {".csv", load_write_csv}, {".md", write_markdown},
    {".markdown", write_markdown}, {".html", NULL},          {".htm", NULL},
    {".xml", load_write_junit},    {".hgrm", write_hgrm},
};

/* "-" and what has no extension is JSON. NULL: an extension that is not known. */
static const struct format *format_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    if (!dot || dot == name)
        return &formats[0];
    for (size_t i = 0; i < COUNT(formats); i++)
        if (str_ieq(str_from(dot), str_from(formats[i].extension)))
            return &formats[i];
    return NULL;
}

static bool is_known(const char *path, struct err *e)
{
    return format_of(path) ||
           err_set(e,
                   "--export: %s: expected a name that ends in .json, .csv, .md, "
                   ".html, .xml (JUnit) or .hgrm (HdrHistogram)",
                   path);
}

/* A file is replaced by one made beside it; what is none (a pipe, a device) is written into. */
static bool is_writable(const char *option, const char *path, struct err *e)
{
    struct stat st;
    char folder[4096] = ".";
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (!path || strcmp(path, "-") == 0)
        return true;
    bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode))
        return err_set(e, "%s: %s is a folder", option, path);
    if (there && !S_ISREG(st.st_mode))
        return access(path, W_OK) == 0 ||
               err_set(e, "%s: cannot write %s: %s", option, path, strerror(errno));
    if (slash)
        snprintf(folder, sizeof folder, "%.*s", (int)MAX(slash - path, (ptrdiff_t)1), path);
    return access(folder, W_OK | X_OK) == 0 ||
           err_set(e, "%s: cannot write %s: %s: %s", option, path, folder, strerror(errno));
}

bool load_exports_possible(const struct load_options *o, int *status, struct err *e)
{
    *status = EXIT_USAGE;
    for (size_t i = 0; i < o->exports.count; i++)
        if (!is_known(o->exports.values[i], e))
            return false;
    *status = EXIT_UNREACHABLE;
    for (size_t i = 0; i < o->exports.count; i++)
        if (!is_writable("--export", o->exports.values[i], e))
            return false;
    return is_writable("--html", o->html, e) && is_writable("--junit", o->junit, e);
}

/* ---- standard output ---- */

enum { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV, FORMAT_MARKDOWN };
const char *const load_formats[] = {[FORMAT_TABLE] = "table",
                                    [FORMAT_JSON] = "json",
                                    [FORMAT_CSV] = "csv",
                                    [FORMAT_MARKDOWN] = "markdown",
                                    NULL};

void load_print_report(const struct load_result *r, const struct load_options *o)
{
    struct term t;
    term_init(&t, stdout, (enum color_mode)o->color);
    switch (o->format) {
    case FORMAT_JSON: load_write_json(r, stdout); break;
    case FORMAT_CSV: load_write_csv(r, stdout); break;
    case FORMAT_MARKDOWN: load_write_report(r, TABLE_MARKDOWN, &t); break;
    default: load_write_report(r, TABLE_TERMINAL, &t);
    }
    fflush(stdout);
}

/* ---- files ---- */

static bool write_file(const struct load_result *r, const char *path,
                       void (*write)(const struct load_result *r, FILE *out), struct err *e)
{
    struct measure_file_writer w;
    measure_file_begin(&w);
    write(r, w.out);
    return measure_file_end(&w, path, e);
}

bool load_export(const struct load_result *r, const char *path, struct err *e)
{
    const struct format *f = format_of(path);
    if (!f)
        return is_known(path, e);
    return f->write ? write_file(r, path, f->write, e) : load_write_page(r, path, e);
}

static bool say(const struct load_result *r, bool good, const char *option, struct err *e)
{
    if (good)
        return true;
    err_prefix(e, option);
    measure_options_fail(r->command, e, EXIT_UNREACHABLE);
    *e = (struct err){0};
    return false;
}

bool load_export_all(const struct load_result *r, const struct load_options *o)
{
    struct err e = {0};
    bool good = true;
    for (size_t i = 0; i < o->exports.count; i++)
        good &= say(r, load_export(r, o->exports.values[i], &e), "--export", &e);
    if (o->html)
        good &= say(r, load_write_page(r, o->html, &e), "--html", &e);
    if (o->junit)
        good &= say(r, write_file(r, o->junit, load_write_junit, &e), "--junit", &e);
    return good;
}
