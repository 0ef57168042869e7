/* cmd_profile_throughput.c -- `weir profile throughput`: how much a server answers, and from which load on it pays no more. The seed's
 * scripts/profiling/profile-throughput.
 *
 * One load (users, or requests a second by a schedule), or with --sweep users from one up, doubled until more of them bring nothing. */
#include <math.h>

#include "base/clock.h"
#include "base/quantity.h"
#include "base/when.h"
#include "cli/ending.h"
#include "cli/measure_export.h"
#include "cli/profile_throughput.h"
#include "cli/self_test.h"

#define COMMAND "profile throughput"

static const char *const formats[] = {"table", "json", "csv", "markdown", NULL};
enum { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV, FORMAT_MARKDOWN };

static struct measure_options shared = MEASURE_OPTIONS_DEFAULTS;
static const char *model, *duration_text, *slo_text, *slo_share_text, *html_path, *log_path;
static struct option_list exports;
static int64_t requests, concurrency, max_concurrency, warmup = -1, threads = 1;
static double rate = NAN;
static bool sweep, poisson;
static bool self_testing;
static int format, color = COLOR_AUTO;

// clang-format off
static const struct option_row rows[] = {
    {.name = "--model", .short_name = "-m", .type = OPT_STR, .into = &model, .value = "NAME", .help = "which one to ask (default: the first that the gateway offers)"},
    {.name = "--requests", .short_name = "-n", .type = OPT_INT, .into = &requests, .min = 1, .max = 100000000, .value = "N", .help = "so many of them; with --sweep at each level (default 100; with --sweep as many as a level needs to tell something)"},
    {.name = "--concurrency", .short_name = "-c", .type = OPT_INT, .into = &concurrency, .min = 1, .max = 60000, .value = "N", .help = "users: so many requests at a time, each user's next one when the last was answered (default 10)"},
    {.name = "--rate", .type = OPT_F64, .into = &rate, .min = 0, .max = 10000000, .value = "N", .help = "instead of users: so many requests a second by a schedule that waits for nobody"},
    {.name = "--poisson", .type = OPT_FLAG, .into = &poisson, .help = "with --rate: gaps as chance makes them (exponential), not equal ones"},
    {.name = "--duration", .short_name = "-d", .type = OPT_STR, .into = &duration_text, .value = "SPAN", .help = "so long: 30s, 2m; with --sweep each level. With --requests: whichever ends first"},
    {.name = "--warmup", .type = OPT_INT, .into = &warmup, .min = 0, .max = 1000000, .value = "N", .help = "requests before that do not count; with --sweep before each level (default: two a user)"},
    {.name = "--threads", .type = OPT_INT, .into = &threads, .min = 1, .max = ENGINE_THREADS_MAX, .value = "N", .help = "of this program; one does tens of thousands of requests a second"},
    {.heading = "Finding the limit", .name = "--sweep", .type = OPT_FLAG, .into = &sweep, .help = "1, 2, 4 and so on users until more of them bring nothing; finds the knee, and looks closer beside it"},
    {.name = "--max-concurrency", .type = OPT_INT, .into = &max_concurrency, .min = 2, .max = 60000, .value = "N", .help = "users at most, for --sweep (default 64)"},
    {.name = "--slo", .type = OPT_STR, .into = &slo_text, .value = "LIST", .help = "what a good answer meets, for goodput: ttft=500ms,e2e=5s; also tpot, itl, total, response"},
    {.name = "--slo-share", .type = OPT_STR, .into = &slo_share_text, .value = "SHARE", .help = "how many have to be good for a load to pass (default 95%)"},
    {.heading = "Results", .name = "--export", .short_name = "-o", .type = OPT_LIST, .into = &exports, .value = "FILE", .help = "write them to a file: .json (all), .csv (a row a level), .md, .html, .xml (JUnit) or .hgrm (HdrHistogram); may be given several times"},
    {.name = "--html", .type = OPT_STR, .into = &html_path, .value = "FILE", .help = "a page with plots, complete in itself"},
    {.name = "--log", .type = OPT_STR, .into = &log_path, .value = "FILE", .help = "append a record a request, for weir analyze and weir tail"},
    {.name = "--self-test", .type = OPT_FLAG, .into = &self_testing, .help = "how far off the times measured on this host are, against a simulated provider: 5 s, nothing else is done"},
    {.name = "--format", .short_name = "-f", .type = OPT_CHOICE, .into = &format, .choices = formats, .value = "FORMAT", .help = "what to print"},
    {.name = "--color", .type = OPT_CHOICE, .into = &color, .choices = term_color_modes, .value = "WHEN", .help = "colours"},
    MEASURE_PROMPT_ROWS(shared),
    MEASURE_TARGET_ROWS(shared),
};
// clang-format on

static const struct option_row *options(size_t *count)
{
    *count = COUNT(rows);
    return rows;
}

/* ---- what was asked ---- */

struct job {
    struct throughput_profile p;
    struct arena arena;
    struct measure_target *target;
    struct prompts *prompts;
    struct sample_log *log; /* or NULL */
    struct mix_part mix;
    uint64_t seed, duration_ns;
};

/* Options that exclude each other: the first sentence that applies. */
static const char *contradiction(void)
{
    if (!isnan(rate) && !(rate > 0))
        return "--rate: expected more than 0 requests a second";
    if (sweep && rate > 0)
        return "--sweep goes over users: it cannot be combined with --rate";
    if (sweep && concurrency > 0)
        return "--sweep begins with one user: say with --max-concurrency how many at most";
    if (rate > 0 && concurrency > 0)
        return "--rate sends by a schedule and --concurrency when a user is free: give one of them";
    if (poisson && !(rate > 0))
        return "--poisson says what gaps --rate has, which is not given";
    if (max_concurrency > 0 && !sweep)
        return "--max-concurrency is for --sweep, which is not given";
    if (slo_share_text && !slo_text)
        return "--slo-share is for --slo, which is not given";
    return NULL;
}

static bool parse_texts(struct job *j, struct err *e)
{
    int64_t us = 0;
    j->p.slo_share = 0.95;
    j->p.slo_text = slo_text;
    if (duration_text && (!when_span(str_from(duration_text), &us, NULL) || us <= 0 ||
                          us > 30 * 86400 * INT64_C(1000000))) {
        err_set(e, "expected a span of at most 30 days with its unit, as 30s or 2m, got \"%s\"",
                duration_text);
        return err_prefix(e, "--duration");
    }
    j->duration_ns = (uint64_t)us * NS_PER_US;
    if (slo_text && !objectives_parse(str_from(slo_text), &j->p.objectives, e))
        return err_prefix(e, "--slo");
    if (slo_share_text &&
        (!quantity_parse(str_from(slo_share_text), QUANTITY_SHARE, &j->p.slo_share, e) ||
         !(j->p.slo_share > 0 && j->p.slo_share <= 1))) {
        err_set(e, "expected a share above 0 and up to 100%%, as 95%%");
        return err_prefix(e, "--slo-share");
    }
    return true;
}

static int check_options(struct job *j, int argc, char **argv)
{
    struct err e = {0};
    const char *wrong = contradiction();
    if (argc > 0)
        return profile_usage(
            COMMAND, "unexpected word \"%.100s\"; it takes options only (weir " COMMAND " --help)",
            argv[0]);
    if (wrong)
        return profile_usage(COMMAND, "%s", wrong);
    if (!parse_texts(j, &e))
        return measure_options_fail(COMMAND, &e, EXIT_USAGE);
    for (size_t i = 0; i < exports.count; i++) {
        enum measure_file kind;
        if (profile_file_of(exports.values[i]) == PROFILE_FILE_MEASURE &&
            !measure_file_kind(exports.values[i], &kind, NULL))
            return profile_usage(COMMAND,
                                 "--export: \"%s\": expected a name that ends in .json, .csv, "
                                 ".md, .html, .xml or .hgrm",
                                 exports.values[i]);
    }
    j->p.sweep = sweep;
    j->p.open_loop = rate > 0;
    j->p.poisson = poisson;
    return EXIT_GOOD;
}

static int prepare(struct job *j)
{
    struct err e = {0};
    int status = EXIT_GOOD;
    shared.seed = profile_seed(shared.seed);
    j->seed = (uint64_t)shared.seed;
    j->prompts = measure_options_prompts(COMMAND, &shared, &status);
    if (!j->prompts)
        return status;
    j->target = measure_options_target(COMMAND, &shared, &status);
    if (!j->target)
        return status;
    j->p.model = measure_options_model(COMMAND, j->target, &j->arena, model, &status);
    if (!j->p.model.p)
        return status;
    j->mix = (struct mix_part){j->p.model, 1};
    j->p.stream = prompts_stream(j->prompts);
    j->p.report = (struct measure_report){
        .command = COMMAND, .url = j->target->url, .models = &j->p.model, .seed = j->seed};
    if (log_path) {
        j->log = sample_log_open(log_path, (unsigned)threads, (enum prompt_api)shared.api, &e);
        if (!j->log)
            return measure_options_fail(COMMAND, &e, EXIT_UNREACHABLE);
    }
    return EXIT_GOOD;
}

/* ---- measuring ---- */

static bool measure(struct job *j, struct err *e)
{
    struct profile_run_options o = {.command = COMMAND,
                                    .target = j->target,
                                    .prompts = j->prompts,
                                    .objectives = &j->p.objectives,
                                    .threads = (unsigned)threads,
                                    .timeout_s = shared.timeout_s,
                                    .log = j->log};
    struct level_plan plan = {.options = &o,
                              .mix = &j->mix,
                              .prompt_count = prompts_count(j->prompts),
                              .seed = j->seed,
                              .requests = (uint64_t)requests,
                              .duration_ns = j->duration_ns,
                              .warmup = warmup,
                              .open_loop = j->p.open_loop,
                              .poisson = poisson};
    if (sweep)
        return throughput_sweep(&j->p, &plan, max_concurrency ? max_concurrency : 64, e);
    if (!requests && !j->duration_ns)
        plan.requests = 100;
    double load = rate > 0 ? rate : concurrency ? (double)concurrency : 10;
    bool good = throughput_measure(&j->p, &plan, load, e);
    throughput_find(&j->p);
    return good;
}

/* ---- telling ---- */

static void print_report(struct throughput_profile *p)
{
    static const enum table_format table_formats[] = {[FORMAT_TABLE] = TABLE_TERMINAL,
                                                      [FORMAT_CSV] = TABLE_CSV,
                                                      [FORMAT_MARKDOWN] = TABLE_MARKDOWN};
    struct term term;
    term_init(&term, stdout, (enum color_mode)color);
    if (format == FORMAT_JSON)
        throughput_json(p, stdout);
    else if (format == FORMAT_CSV)
        throughput_levels(p, TABLE_CSV, &term);
    else
        throughput_report(p, table_formats[format], &term);
    fflush(stdout);
}

static bool export_to(struct throughput_profile *p, const char *path, struct err *e)
{
    enum profile_file file = profile_file_of(path);
    enum measure_file kind = MEASURE_FILE_JSON;
    struct measure_file_writer w;
    if (file == PROFILE_FILE_MEASURE && !measure_file_kind(path, &kind, e))
        return false;
    if (kind == MEASURE_FILE_HTML)
        return throughput_page(p, path, e) || err_prefix(e, "--export");
    measure_file_begin(&w);
    struct term term = {.out = w.out, .utf8 = true};
    if (file == PROFILE_FILE_JUNIT)
        throughput_junit(p, w.out);
    else if (file == PROFILE_FILE_HGRM)
        export_hgrm(w.out, &p->levels[throughput_main_level(p)].run.results->total,
                    MEASURED_RESPONSE);
    else if (kind == MEASURE_FILE_MARKDOWN)
        throughput_report(p, TABLE_MARKDOWN, &term);
    else if (kind == MEASURE_FILE_CSV)
        throughput_levels(p, TABLE_CSV, &term);
    else
        throughput_json(p, w.out);
    return measure_file_end(&w, path, e) || err_prefix(e, "--export");
}

/* Of a sweep: nobody reached at the first level, or the client the limit at any. */
static int status_of(const struct throughput_profile *p)
{
    int status = EXIT_GOOD;
    for (size_t i = 0; i < p->level_count && status == EXIT_GOOD; i++)
        if (i == 0 || p->levels[i].run.validity.client_limited)
            status = profile_status(COMMAND, &p->levels[i].run);
    return status;
}

static int tell(struct throughput_profile *p)
{
    struct err e = {0};
    bool written = true;
    print_report(p);
    for (size_t i = 0; i < exports.count && written; i++)
        written = export_to(p, exports.values[i], &e);
    if (written && html_path)
        written = throughput_page(p, html_path, &e) || err_prefix(&e, "--html");
    int status = status_of(p);
    return written ? status : measure_options_fail(COMMAND, &e, EXIT_UNREACHABLE);
}

static int measure_and_tell(struct job *j)
{
    struct err e = {0};
    ending_hold();
    bool good = measure(j, &e);
    good = sample_log_close(j->log, &e) && good;
    int status = good ? EXIT_GOOD : measure_options_fail(COMMAND, &e, EXIT_UNREACHABLE);
    j->p.report.cut_short = profile_interrupted();
    ending_release();
    if (j->p.level_count) {
        int told = tell(&j->p);
        status = status == EXIT_GOOD ? told : status;
    }
    return status;
}

static int run(int argc, char **argv)
{
    static struct job j; /* its levels are too many for a stack */
    int status = check_options(&j, argc, argv);
    if (status != EXIT_GOOD)
        return status;
    if (self_testing)
        return self_test(&(struct self_test_options){
            .command = COMMAND, .json = format == FORMAT_JSON, .color = (enum color_mode)color});
    arena_init(&j.arena, NULL, 0);
    status = prepare(&j);
    if (status == EXIT_GOOD)
        status = measure_and_tell(&j);
    throughput_fini(&j.p);
    prompts_free(j.prompts);
    measure_target_free(j.target);
    arena_fini(&j.arena);
    return status;
}

const struct command cmd_profile_throughput = {
    .name = COMMAND,
    .summary = "how much a server answers, and from which load on it pays no more",
    .usage = "weir profile throughput [--model NAME] [--sweep] [options]",
    .examples =
        "  weir profile throughput --requests 100 --concurrency 10\n"
        "  weir profile throughput --sweep\n"
        "  weir profile throughput --sweep --slo ttft=500ms,e2e=5s --html sweep.html\n"
        "  weir profile throughput --rate 50 --poisson --duration 1m --export results.json\n"
        "\n"
        "Exits 1 when no request was answered, and when this program and not the server was the\n"
        "limit; 3 when nobody could be reached. Ctrl-C ends with the report so far.\n"
        "What is measured, and how to read it: docs/profile.md.\n",
    .options = options,
    .run = run,
};
