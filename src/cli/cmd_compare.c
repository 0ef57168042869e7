/* cmd_compare.c -- weir compare: which of several models is faster, and is that more than chance? Options, the run, exit statuses. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/quantity.h"
#include "cli/compare.h"
#include "cli/measure_report.h"

#define COMMAND "compare"

enum { RESAMPLES = 10000, EARLY_LEAST = 30, EARLY_EVERY = 10, PROGRESS_EVERY_MS = 200 };

/* 72 blocks: the least for which a 95th percentile has an interval; they show a difference of 20 % more than 4 times in 5 where latencies
 * vary as usual (sigma 0.35). */
static struct {
    struct option_list models;
    const char *config, *min_effect, *budget_usd, *export_path, *html_path, *log_path;
    int64_t iterations, warmup, cold, budget_requests, concurrency;
    bool duet, stop_early, fail_if_slower;
    int format, metric, color;
} given = {.iterations = 72, .warmup = 2, .cold = 1, .concurrency = 1, .min_effect = "5%"};
static struct measure_options shared = MEASURE_OPTIONS_DEFAULTS;

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV, FORMAT_MARKDOWN };
static const char *const formats[] = {"table", "json", "csv", "markdown", NULL};
enum metric { METRIC_E2E, METRIC_TTFT, METRIC_TPOT, METRIC_COST };
static const char *const metrics[] = {"e2e", "ttft", "tpot", "cost", NULL};
static const enum compared metric_is[] = {[METRIC_E2E] = COMPARED_COUNT,
                                          [METRIC_TTFT] = COMPARED_TTFT,
                                          [METRIC_TPOT] = COMPARED_TPOT,
                                          [METRIC_COST] = COMPARED_COST};

/* clang-format off */
static const struct option_row rows[] = {
    {.name = "--models", .type = OPT_LIST, .into = &given.models, .value = "NAME", .help = "models to compare; further words are models too (default: one of each provider that the gateway offers)"},
    {.name = "--config", .short_name = "-c", .type = OPT_STR, .into = &given.config, .value = "FILE", .help = "take models, providers and prices from this configuration instead of /model/info"},
    {.name = "--iterations", .short_name = "-n", .type = OPT_INT, .into = &given.iterations, .min = 1, .max = COMPARE_BLOCKS_MAX, .value = "N", .help = "blocks: each asks every model once. 72 show a difference of 20 % 4 times in 5, 222 one of 10 %"},
    {.name = "--warmup", .type = OPT_INT, .into = &given.warmup, .min = 0, .max = 1000, .value = "N", .help = "blocks before, which do not count; at least one for each of --concurrency, unless 0"},
    {.name = "--cold", .type = OPT_INT, .into = &given.cold, .min = 0, .max = 1000, .value = "N", .help = "blocks before those on new connections: what connecting costs, told apart"},
    {.name = "--metric", .type = OPT_CHOICE, .into = &given.metric, .choices = metrics, .value = "METRIC", .help = "what decides; the others are told beside it"},
    {.name = "--min-effect", .type = OPT_STR, .into = &given.min_effect, .value = "SHARE", .help = "differences below do not matter"},
    {.name = "--concurrency", .type = OPT_INT, .into = &given.concurrency, .min = 1, .max = COMPARE_LANES_MAX, .value = "N", .help = "blocks under way at once"},
    {.name = "--duet", .type = OPT_FLAG, .into = &given.duet, .help = "ask all models of a block at the same moment instead of one after the other"},
    {.name = "--budget-usd", .type = OPT_STR, .into = &given.budget_usd, .value = "USD", .help = "end before more would be spent"},
    {.name = "--budget-requests", .type = OPT_INT, .into = &given.budget_requests, .min = 1, .max = INT64_MAX, .value = "N", .help = "end before more requests would be sent, warm-up included"},
    {.name = "--stop-early", .type = OPT_FLAG, .into = &given.stop_early, .help = "end once every interval is as narrow as the minimum effect; looked at every 10 blocks from the 30th on, and said in the report"},
    {.name = "--fail-if-slower", .type = OPT_FLAG, .into = &given.fail_if_slower, .help = "exit 1 if the first model is really slower than any other"},
    {.heading = "Output", .name = "--format", .type = OPT_CHOICE, .into = &given.format, .choices = formats, .value = "FORMAT", .help = "of standard output"},
    {.name = "--export", .type = OPT_STR, .into = &given.export_path, .value = "FILE", .help = "write there too: .json (everything), .csv, .md or .html"},
    {.name = "--html", .type = OPT_STR, .into = &given.html_path, .value = "FILE", .help = "a page with plots, one file that needs nothing else"},
    {.name = "--log", .type = OPT_STR, .into = &given.log_path, .value = "FILE", .help = "append a record a request, for weir analyze and weir tail"},
    {.name = "--color", .type = OPT_CHOICE, .into = &given.color, .choices = term_color_modes, .value = "WHEN", .help = "colours"},
    MEASURE_PROMPT_ROWS(shared),
    MEASURE_TARGET_ROWS(shared),
};
/* clang-format on */

static const struct option_row *options(size_t *count)
{
    *count = COUNT(rows);
    return rows;
}

static int fail(const struct err *e, int status)
{
    return measure_options_fail(COMMAND, e, status);
}

/* ---- what was asked ---- */

/* "--models a b", "--models a --models b", "--models a,b" is one name with a comma: names may have any character. */
static size_t names_given(int argc, char **argv, struct str *names, size_t room, struct err *e)
{
    size_t count = 0;
    for (size_t i = 0; i < given.models.count && count < room; i++)
        names[count++] = str_from(given.models.values[i]);
    for (int i = 0; i < argc && count < room; i++)
        names[count++] = str_from(argv[i]);
    if (count && !given.models.count)
        (void)!err_set(e, "unexpected word \"%s\"; name models with --models a b", argv[0]);
    return count;
}

static bool read_quantities(struct comparison *c, struct err *e)
{
    if (!quantity_parse(str_from(given.min_effect), QUANTITY_SHARE, &c->plan.min_effect, e))
        return err_prefix(e, "--min-effect");
    if (!(c->plan.min_effect > 0 && c->plan.min_effect < 1))
        return err_set(
            e, "--min-effect: expected more than 0 and less than 100%%, such as 5%%, got %s",
            given.min_effect);
    if (!given.budget_usd)
        return true;
    if (!quantity_parse(str_from(given.budget_usd), QUANTITY_USD, &c->run_options.budget_usd, e))
        return err_prefix(e, "--budget-usd");
    return c->run_options.budget_usd > 0 ||
           err_set(e, "--budget-usd: expected more than 0, got %s", given.budget_usd);
}

/* Better now than after an hour of measuring: can there be such a file? */
static bool check_folder(const char *path, struct err *e)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    char folder[4096];
    if (!slash || slash == path || (size_t)(slash - path) >= sizeof folder)
        return true;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    return access(folder, W_OK | X_OK) == 0 ||
           err_set(e, "cannot write %s: %s: %s", path, folder, strerror(errno));
}

static bool open_log(struct comparison *c, struct err *e)
{
    const char *path = given.log_path;
    if (path)
        c->log = strcmp(path, "-") == 0 ? stdout : fopen(path, "ae");
    return !path || c->log || err_set(e, "--log: cannot write %s: %s", path, strerror(errno));
}

/* A wrong kind of file is wrong usage; one that cannot be written is not. */
static int check_files(struct comparison *c, struct err *e)
{
    enum measure_file kind;
    if (given.export_path && !measure_file_kind(given.export_path, &kind, e)) {
        (void)err_prefix(e, "--export");
        return EXIT_USAGE;
    }
    if (!check_folder(given.export_path, e))
        (void)err_prefix(e, "--export");
    else if (!check_folder(given.html_path, e))
        (void)err_prefix(e, "--html");
    else if (open_log(c, e))
        return EXIT_GOOD;
    return EXIT_UNREACHABLE;
}

/* A seed of 0 is one that is drawn, and told. */
static uint64_t seed_given(void)
{
    struct rng rng;
    if (shared.seed)
        return (uint64_t)shared.seed;
    rng_seed(&rng, 0);
    shared.seed = (int64_t)(rng_next(&rng) >> 33) + 1; /* short enough to be typed */
    return (uint64_t)shared.seed;
}

static bool read_options(struct comparison *c, struct err *e)
{
    c->unusable = -1;
    c->asked = metric_is[given.metric];
    c->stop_early = given.stop_early;
    c->api = (enum prompt_api)shared.api;
    c->run_options.seed = seed_given();
    c->run_options.lanes = (size_t)given.concurrency;
    c->run_options.duet = given.duet;
    c->run_options.budget_requests = (uint64_t)given.budget_requests;
    c->run_options.timeout_ms = (int64_t)(shared.timeout_s * 1000);
    c->run_options.blocks[PHASE_COLD] = (size_t)given.cold;
    c->run_options.blocks[PHASE_WARM_UP] =
        (size_t)(given.warmup ? MAX(given.warmup, given.concurrency) : 0); /* every lane connects */
    c->run_options.blocks[PHASE_MEASURED] = (size_t)given.iterations;
    c->plan = (struct compare_plan){
        .alpha = .05, .min_effect = .05, .resamples = RESAMPLES, .seed = c->run_options.seed};
    return read_quantities(c, e);
}

/* ---- while it runs ---- */

static struct comparison *running; /* for the signal */

static void on_signal(int number)
{
    (void)number;
    if (running)
        running->interrupted = 1;
}

/* The first Ctrl-C ends the run with a report; the second one ends the program. */
static void catch_signals(struct comparison *c)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    running = c;
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

struct progress {
    struct comparison *comparison;
    bool on_terminal, shown;
    uint64_t began_ns, next_ns;
};

static void show_progress(struct progress *p, const struct compare_run *r)
{
    uint64_t now_ns = clock_mono_ns();
    size_t done = 0, all = 0;
    if (!p->on_terminal || now_ns < p->next_ns)
        return;
    p->next_ns = now_ns + PROGRESS_EVERY_MS * NS_PER_MS;
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        done += r->blocks_done[phase];
        all += r->options->blocks[phase];
    }
    double elapsed_us = (double)(now_ns - p->began_ns) / 1000;
    double left_us = done ? elapsed_us / (double)done * (double)(all - done) : NAN;
    const char *phase =
        r->blocks_done[PHASE_MEASURED] || done >= all - r->options->blocks[PHASE_MEASURED]
            ? "measuring"
            : "warming up";
    fprintf(stderr, "\r\033[K%s: block %zu of %zu, %s spent, %s left", phase, done, all,
            num_usd(r->spent_usd).text, isnan(left_us) ? "?" : num_ms(left_us).text);
    fflush(stderr);
    p->shown = true;
}

/* A model that answered nothing so far; -1: none. */
static int silent_model(const struct compare_run *r)
{
    for (size_t m = 0; m < r->options->model_count; m++) {
        bool answered = false;
        for (size_t i = 0; i < r->trial_count; i++)
            answered =
                answered || (r->trials[i].model == m && r->trials[i].sample.outcome == OUTCOME_OK);
        if (!answered)
            return (int)m;
    }
    return -1;
}

/* Once cold and warm-up blocks are over: it makes no sense to spend on a comparison with a model that does not answer. */
static bool check_usable(struct comparison *c, const struct compare_run *r)
{
    size_t before = c->run_options.blocks[PHASE_COLD] + c->run_options.blocks[PHASE_WARM_UP];
    if (r->blocks_done[PHASE_COLD] + r->blocks_done[PHASE_WARM_UP] == before)
        c->unusable = silent_model(r);
    return c->unusable < 0;
}

static bool on_block(void *user, const struct compare_run *r, enum compare_phase phase,
                     size_t block)
{
    struct progress *p = user;
    struct comparison *c = p->comparison;
    size_t done = r->blocks_done[PHASE_MEASURED];
    show_progress(p, r);
    if (block == SIZE_MAX)
        return true;
    if (phase != PHASE_MEASURED)
        return check_usable(c, r);
    if (!c->stop_early || done < EARLY_LEAST || done % EARLY_EVERY)
        return true;
    return !compare_is_precise(r, &c->plan, c->asked);
}

static void run_it(struct comparison *c)
{
    struct progress p = {
        .comparison = c, .on_terminal = isatty(STDERR_FILENO) == 1, .began_ns = clock_mono_ns()};
    p.next_ns = p.began_ns + NS_PER_S; /* work of less than a second needs none */
    c->run_options.target = c->target;
    c->run_options.prompts = c->prompts;
    c->run_options.models = c->models;
    c->run_options.model_count = c->model_count;
    c->run_options.stop = &c->interrupted;
    c->run_options.on_block = on_block;
    c->run_options.user = &p;
    catch_signals(c);
    compare_run(&c->run, &c->run_options);
    if (p.shown)
        fputs("\r\033[K", stderr);
}

/* ---- what comes out ---- */

static void write_as(struct comparison *c, enum format format, FILE *out)
{
    struct term t = {.out = out, .utf8 = true};
    switch (format) {
    case FORMAT_JSON: compare_write_json(c, out); return;
    case FORMAT_CSV: compare_write_csv(c, out); return;
    case FORMAT_MARKDOWN: compare_write_tables(c, TABLE_MARKDOWN, &t); return;
    case FORMAT_TABLE:
        term_init(&t, out, (enum color_mode)given.color);
        compare_write_tables(c, TABLE_TERMINAL, &t);
        return;
    }
}

static bool export_to(struct comparison *c, const char *path, struct err *e)
{
    static const enum format formats_of[] = {[MEASURE_FILE_JSON] = FORMAT_JSON,
                                             [MEASURE_FILE_CSV] = FORMAT_CSV,
                                             [MEASURE_FILE_MARKDOWN] = FORMAT_MARKDOWN};
    enum measure_file kind;
    struct measure_file_writer w;
    if (!measure_file_kind(path, &kind, e))
        return false;
    if (kind == MEASURE_FILE_HTML)
        return compare_write_page(c, path, e);
    measure_file_begin(&w);
    write_as(c, formats_of[kind], w.out);
    return measure_file_end(&w, path, e);
}

static bool write_outputs(struct comparison *c, struct err *e)
{
    write_as(c, (enum format)given.format, stdout);
    if (fflush(stdout) != 0)
        return err_set(e, "cannot write standard output: %s", strerror(errno));
    if (given.export_path && !export_to(c, given.export_path, e))
        return err_prefix(e, "--export");
    if (given.html_path && !compare_write_page(c, given.html_path, e))
        return err_prefix(e, "--html");
    return true;
}

/* Is the first model really slower than any other in what decides? */
static bool first_is_slower(const struct comparison *c)
{
    const struct compare_result *r = &c->report.results[c->report.primary];
    for (size_t i = 0; i < r->pair_count; i++)
        if (r->pair[i].a == 0 && r->pair[i].verdict == VERDICT_SLOWER)
            return true;
    return false;
}

static int status_of(const struct comparison *c)
{
    for (size_t m = 0; m < c->model_count; m++)
        if (c->report.facts[m].ok == 0)
            return EXIT_PROBLEM;
    return given.fail_if_slower && first_is_slower(c) ? EXIT_PROBLEM : EXIT_GOOD;
}

/* Measuring did not begin, or no block became whole. */
static int report_nothing(struct comparison *c)
{
    struct err e = {0};
    const char *why = "";
    for (size_t i = 0; i < c->run.trial_count && !why[0]; i++)
        if (c->unusable < 0 || c->run.trials[i].model == (uint32_t)c->unusable)
            why = c->run.trials[i].sample.error;
    if (c->unusable >= 0) {
        struct str offered = compare_offered(c);
        (void)!err_set(&e, "\"%.*s\" answered none of its first requests: %s%s%.*s",
                       STR_ARG(c->models[c->unusable].name), why,
                       offered.n ? "; offered are: " : "", STR_ARG(offered));
        return fail(&e, EXIT_UNREACHABLE);
    }
    if (c->run.end == END_STOPPED)
        (void)!err_set(&e, "interrupted before a block was whole");
    else
        (void)!err_set(&e,
                       "the budget is spent before a block could be measured: raise it, or lower "
                       "--cold and --warmup");
    return fail(&e, c->run.end == END_STOPPED ? 128 + SIGINT : EXIT_USAGE);
}

static int report(struct comparison *c)
{
    struct err e = {0};
    if (c->unusable >= 0 || c->run.blocks_done[PHASE_MEASURED] == 0)
        return report_nothing(c);
    compare_report_make(&c->report, &c->run, &c->plan, c->asked);
    compare_find_words(c);
    bool written = write_outputs(c, &e);
    int status = written ? status_of(c) : fail(&e, EXIT_UNREACHABLE);
    compare_report_fini(&c->report);
    return status;
}

/* ---- the command ---- */

static int prepare(struct comparison *c, int argc, char **argv)
{
    struct str names[COMPARE_MODELS_MAX + 1];
    struct err e = {0};
    int status = EXIT_GOOD;
    size_t name_count = names_given(argc, argv, names, COUNT(names), &e);
    if (e.text[0] || !read_options(c, &e))
        return fail(&e, EXIT_USAGE);
    status = check_files(c, &e);
    if (status != EXIT_GOOD)
        return fail(&e, status);
    c->target = measure_options_target(COMMAND, &shared, &status);
    c->prompts = c->target ? measure_options_prompts(COMMAND, &shared, &status) : NULL;
    if (!c->prompts)
        return status;
    if (!compare_find_models(c, names, name_count, given.config, &e, &status))
        return fail(&e, status);
    return EXIT_GOOD;
}

static int run(int argc, char **argv)
{
    static struct comparison c;
    struct err e = {0};
    arena_init(&c.arena, NULL, 0);
    int status = prepare(&c, argc, argv);
    if (status == EXIT_GOOD) {
        run_it(&c);
        status = report(&c);
        if (c.log && !compare_write_log(&c, c.log, given.log_path, &e))
            status = fail(&e, EXIT_UNREACHABLE);
        compare_run_fini(&c.run);
    }
    prompts_free(c.prompts);
    measure_target_free(c.target);
    arena_fini(&c.arena);
    return status;
}

const struct command cmd_compare = {
    .name = "compare",
    .summary = "which of several models is faster, and is the difference real",
    .usage = "weir compare [--models A B ...] [options]",
    .examples =
        "  weir compare\n"
        "  weir compare --models llama3.1:8b qwen-coder\n"
        "  weir compare --iterations 20\n"
        "  weir compare --models gpt-4o-mini claude-haiku -n 222 --min-effect 10% --budget-usd 2\n"
        "  weir compare --models new old --fail-if-slower --export comparison.json --html "
        "page.html\n"
        "\n"
        "Every block asks each model the same, in random order, so that drift hits all alike. "
        "Verdicts\n"
        "are faster, slower, equivalent (within --min-effect) or \"no difference shown\", which is "
        "said\n"
        "where it is so. Docs: docs/compare.md.\n",
    .options = options,
    .run = run,
};
