/* cmd_load_merge.c -- weir load merge: reports of several processes become one (load_merge.c). */
#include "cli/load.h"

static struct load_options given;

/* clang-format off */
static const struct option_row rows[] = {
    {.name = "--threshold", .type = OPT_LIST, .into = &given.thresholds, .value = "BOUND", .help = "what must hold of all together, beside the thresholds of the first report; may be given several times"},
    {.name = "--export", .type = OPT_LIST, .into = &given.exports, .value = "FILE", .help = "by extension: .json, .csv, .md, .html, .xml (JUnit), .hgrm (HdrHistogram); may be given several times"},
    {.name = "--html", .type = OPT_STR, .into = &given.html, .value = "FILE", .help = "a page with plots that needs nothing else"},
    {.name = "--junit", .type = OPT_STR, .into = &given.junit, .value = "FILE", .help = "thresholds as tests, for CI"},
    {.name = "--format", .type = OPT_CHOICE, .into = &given.format, .choices = load_formats, .value = "FORMAT", .help = "of the report on standard output"},
    {.name = "--color", .type = OPT_CHOICE, .into = &given.color, .choices = term_color_modes, .value = "WHEN", .help = "colours"},
};
/* clang-format on */

static const struct option_row *options(size_t *count)
{
    *count = COUNT(rows);
    return rows;
}

static int run(int argc, char **argv)
{
    struct err e = {0};
    struct load_result r;
    if (argc < 1) {
        err_set(&e, "expected reports of weir load: weir load merge a.json b.json");
        return measure_options_fail("load merge", &e, EXIT_USAGE);
    }
    int status = EXIT_GOOD;
    if (!load_exports_possible(&given, &status, &e))
        return measure_options_fail("load merge", &e, status);
    if (!load_merge((const char *const *)argv, (size_t)argc, &given.thresholds, &r, &e)) {
        bool by_option = str_starts(str_from(e.text), STR("--threshold"));
        status = measure_options_fail("load merge", &e, by_option ? EXIT_USAGE : EXIT_UNREACHABLE);
    } else {
        load_print_report(&r, &given);
        bool exported = load_export_all(&r, &given);
        status = load_verdict(&r);
        status = exported ? status : EXIT_UNREACHABLE;
    }
    load_result_fini(&r);
    return status;
}

const struct command cmd_load_merge = {
    .name = "load merge",
    .summary = "reports of several load tests, added up",
    .usage =
        "weir load merge FILE.json... [options]      (files: what weir load --export FILE.json "
        "wrote)",
    .examples = "  weir load merge a.json b.json\n"
                "  weir load merge machine-*.json --html all.html --threshold 'errors < 1%'\n",
    .options = options,
    .run = run,
};
