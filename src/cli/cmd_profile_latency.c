/* cmd_profile_latency.c -- `weir profile latency`: how long an answer takes, its first token, and each one after. The seed's
 * scripts/profiling/profile-latency.
 *
 * Few requests at a time, usually one: what is measured is the server, not its queue. After the warm-up the iterations go over kept connections;
 * then a few over new ones, apart, since who opens a connection waits for DNS, TCP and TLS as well. */
#include <math.h>

#include "base/quantity.h"
#include "cli/ending.h"
#include "cli/measure_export.h"
#include "cli/profile_latency.h"
#include "cli/self_test.h"

#define COMMAND        "profile latency"
#define KEPT_MAX       100000
#define OVERHEAD_BLOCK 4 /* requests of a block of --direct */

static const char *const formats[] = {"table", "json", "csv", "markdown", NULL};
enum { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV, FORMAT_MARKDOWN };

static struct measure_options shared = MEASURE_OPTIONS_DEFAULTS;
static const char *model, *baseline_path, *allowed_text, *log_path, *direct_url, *direct_key,
    *direct_model;
static struct option_list exports;
static int64_t iterations = 50, warmup = 3, concurrency = 1, cold = 6;
static bool self_testing;
static int format, color = COLOR_AUTO;

// clang-format off
static const struct option_row rows[] = {
    {.name = "--model", .short_name = "-m", .type = OPT_STR, .into = &model, .value = "NAME", .help = "which one to ask (default: the first that the gateway offers)"},
    {.name = "--iterations", .short_name = "-n", .type = OPT_INT, .into = &iterations, .min = 1, .max = KEPT_MAX, .value = "N", .help = "requests that are measured; 36 carry a p90, 72 a p95, 368 a p99"},
    {.name = "--warmup", .type = OPT_INT, .into = &warmup, .min = 0, .max = 100000, .value = "N", .help = "requests before them that do not count"},
    {.name = "--concurrency", .short_name = "-c", .type = OPT_INT, .into = &concurrency, .min = 1, .max = 10000, .value = "N", .help = "requests at a time"},
    {.name = "--cold", .type = OPT_INT, .into = &cold, .min = 0, .max = 100000, .value = "N", .help = "requests after them over connections of their own, reported apart; 0: none"},
    {.name = "--direct", .type = OPT_STR, .into = &direct_url, .value = "URL", .help = "the provider behind the gateway: tells what the gateway adds, from as many requests each way, in alternating blocks"},
    {.name = "--direct-key", .type = OPT_STR, .into = &direct_key, .value = "KEY", .help = "its key (default: none; that of the gateway is not sent there)"},
    {.name = "--direct-model", .type = OPT_STR, .into = &direct_model, .value = "NAME", .help = "what it calls the model (default: the same)"},
    {.heading = "Results", .name = "--export", .short_name = "-o", .type = OPT_LIST, .into = &exports, .value = "FILE", .help = "write them to a file: .json (all), .csv (a row a request), .md, .xml (JUnit) or .hgrm (HdrHistogram); may be given several times"},
    {.name = "--baseline", .type = OPT_STR, .into = &baseline_path, .value = "FILE", .help = "compare with what --export wrote as JSON; exits 1 on a regression that is statistically real"},
    {.name = "--max-regression", .type = OPT_STR, .into = &allowed_text, .value = "SHARE", .help = "how much worse a median may be: 10%, 0.1 (default 10%)"},
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
    struct latency_profile p;
    struct arena arena;
    struct measure_target *target, *direct;
    struct prompts *prompts;
    struct baseline baseline;
    struct overhead overhead;
    struct sample_log *log; /* or NULL */
    struct mix_part mix, direct_mix;
    uint64_t seed;
};

/* Everything that can be wrong is found before anything is sent. */
static int check_options(int argc, char **argv, double *allowed)
{
    struct err e = {0};
    *allowed = 0.1;
    if (argc > 0)
        return profile_usage(
            COMMAND, "unexpected word \"%.100s\"; it takes options only (weir " COMMAND " --help)",
            argv[0]);
    if (allowed_text && !baseline_path)
        return profile_usage(COMMAND,
                             "--max-regression is for --baseline FILE, which is not given");
    if ((direct_key || direct_model) && !direct_url)
        return profile_usage(COMMAND, "--direct-key and --direct-model are for --direct URL, which "
                                      "is not given");
    if (allowed_text && (!quantity_parse(str_from(allowed_text), QUANTITY_SHARE, allowed, &e) ||
                         !(*allowed >= 0))) {
        err_prefix(&e, "--max-regression");
        return measure_options_fail(COMMAND, &e, EXIT_USAGE);
    }
    for (size_t i = 0; i < exports.count; i++) {
        enum measure_file kind;
        if (profile_file_of(exports.values[i]) == PROFILE_FILE_MEASURE &&
            (!measure_file_kind(exports.values[i], &kind, NULL) || kind == MEASURE_FILE_HTML))
            return profile_usage(
                COMMAND,
                "--export: \"%s\": expected a name that ends in .json, .csv, .md, .xml or .hgrm",
                exports.values[i]);
    }
    return EXIT_GOOD;
}

static int prepare_direct(struct job *j)
{
    struct measure_options o = shared;
    int status = EXIT_GOOD;
    if (!direct_url)
        return EXIT_GOOD;
    o.url = direct_url;
    /* The gateway's key and headers are not for others. */
    o.key = direct_key ? direct_key : "";
    o.headers.count = 0;
    j->direct = measure_options_target(COMMAND, &o, &status);
    j->direct_mix = (struct mix_part){direct_model ? str_from(direct_model) : j->p.model, 1};
    return j->direct ? EXIT_GOOD : status;
}

/* What has to be equal for two runs to be compared, a line each. Long texts by their hash. */
static struct str settings_text(struct job *j)
{
    struct str prompt = shared.prompt        ? str_from(shared.prompt)
                        : shared.prompt_file ? str_from(shared.prompt_file)
                        : shared.body_file   ? str_from(shared.body_file)
                                             : STR("");
    return arena_printf(&j->arena,
                        "url=%.*s\nmodel=%.*s\nstream=%s\nconcurrency=%lld\nmax_tokens=%s\n"
                        "prompt_tokens=%lld\nprompt_hash=%016llx\nnonce=%s\napi=%s\n",
                        STR_ARG(j->target->url), STR_ARG(j->p.model),
                        j->p.stream ? "true" : "false", (long long)concurrency,
                        shared.max_tokens < 0 ? "default"
                                              : num_count((double)shared.max_tokens).text,
                        (long long)shared.prompt_tokens, (unsigned long long)str_hash(prompt),
                        shared.no_nonce ? "false" : "true", measure_api_names[shared.api]);
}

static int prepare(struct job *j, double allowed)
{
    struct err e = {0};
    int status = EXIT_GOOD;
    shared.seed = profile_seed(shared.seed);
    j->seed = (uint64_t)shared.seed;
    if (baseline_path) {
        j->p.baseline = &j->baseline;
        if (!baseline_read(&j->baseline, baseline_path, allowed, &e))
            return measure_options_fail(COMMAND, &e, EXIT_UNREACHABLE);
    }
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
    j->p.settings = settings_text(j);
    status = prepare_direct(j);
    if (status == EXIT_GOOD && log_path) {
        j->log = sample_log_open(log_path, 1, (enum prompt_api)shared.api, &e);
        if (!j->log)
            status = measure_options_fail(COMMAND, &e, EXIT_UNREACHABLE);
    }
    return status;
}

/* ---- measuring ---- */

static struct arrivals_plan plan_of(const struct job *j, const struct stage *stages, size_t count,
                                    const struct mix_part *mix)
{
    return (struct arrivals_plan){.stages = stages,
                                  .stage_count = count,
                                  .mix = mix,
                                  .mix_count = 1,
                                  .prompt_count = prompts_count(j->prompts),
                                  .seed = j->seed};
}

static struct profile_run_options run_options(struct job *j, const struct arrivals_plan *plan,
                                              const char *label)
{
    return (struct profile_run_options){.command = COMMAND,
                                        .label = label,
                                        .target = j->target,
                                        .prompts = j->prompts,
                                        .plan = plan,
                                        .timeout_s = shared.timeout_s,
                                        .keep_max = KEPT_MAX,
                                        .log = j->log};
}

/* A warm-up, where there is one, and requests by so many users. Returns how many stages. */
static size_t make_stages(struct stage stages[2], int64_t warmups, int64_t requests, int64_t users)
{
    size_t n = 0;
    if (warmups > 0)
        stages[n++] = (struct stage){.name = STR("warm-up"),
                                     .kind = STAGE_USERS,
                                     .from = (double)users,
                                     .to = (double)users,
                                     .requests = (uint64_t)warmups,
                                     .warm_up = true};
    stages[n++] = (struct stage){.name = STR("measured"),
                                 .kind = STAGE_USERS,
                                 .from = (double)users,
                                 .to = (double)users,
                                 .requests = (uint64_t)requests};
    return n;
}

static bool measure_main(struct job *j, struct err *e)
{
    struct stage stages[2];
    size_t count = make_stages(stages, warmup, iterations, concurrency);
    struct arrivals_plan plan = plan_of(j, stages, count, &j->mix);
    struct profile_run_options o = run_options(j, &plan, "measuring");
    return profile_run(&o, &j->p.run, e);
}

static bool measure_cold(struct job *j, struct err *e)
{
    struct stage stages[2];
    if (cold == 0 || profile_interrupted() || j->p.run.results->total.outcomes[OUTCOME_OK] == 0)
        return true;
    size_t count = make_stages(stages, 0, cold, 1);
    struct arrivals_plan plan = plan_of(j, stages, count, &j->mix);
    struct profile_run_options o = run_options(j, &plan, "new connections");
    o.fresh_connections = true;
    o.first_number = (uint64_t)(warmup + iterations);
    j->p.has_cold = profile_run(&o, &j->p.cold, e);
    return j->p.has_cold;
}

static bool measure_direct(struct job *j, struct err *e)
{
    struct stage stages[2];
    if (!j->direct || profile_interrupted() || j->p.run.results->total.outcomes[OUTCOME_OK] == 0)
        return true;
    size_t count = make_stages(stages, 1, OVERHEAD_BLOCK, 1);
    struct arrivals_plan plans[2] = {plan_of(j, stages, count, &j->mix),
                                     plan_of(j, stages, count, &j->direct_mix)};
    struct profile_run_options through = run_options(j, &plans[0], "through the gateway"),
                               direct = run_options(j, &plans[1], "direct");
    direct.target = j->direct;
    size_t pairs = MAX(((size_t)iterations + OVERHEAD_BLOCK - 1) / OVERHEAD_BLOCK, 6u);
    j->p.overhead = &j->overhead;
    return overhead_measure(&j->overhead, &through, &direct, pairs, OVERHEAD_BLOCK, e);
}

/* ---- telling ---- */

static void fill_report(struct job *j)
{
    struct latency_profile *p = &j->p;
    p->iterations = (uint64_t)iterations;
    p->warmup = (uint64_t)warmup;
    p->concurrency = (uint64_t)concurrency;
    p->report = (struct measure_report){.command = COMMAND,
                                        .url = j->target->url,
                                        .models = &p->model,
                                        .results = p->run.results,
                                        .account = &p->run.account,
                                        .validity = &p->run.validity,
                                        .seed = j->seed,
                                        .cut_short = profile_interrupted()};
    if (p->baseline)
        baseline_compare(p->baseline, &p->run, j->seed);
}

static void print_report(const struct latency_profile *p)
{
    static const enum table_format table_formats[] = {[FORMAT_TABLE] = TABLE_TERMINAL,
                                                      [FORMAT_CSV] = TABLE_CSV,
                                                      [FORMAT_MARKDOWN] = TABLE_MARKDOWN};
    struct term term;
    term_init(&term, stdout, (enum color_mode)color);
    if (format == FORMAT_JSON)
        latency_json(p, stdout);
    else
        latency_report(p, table_formats[format], &term);
    fflush(stdout);
}

static bool export_to(const struct latency_profile *p, const char *path, struct err *e)
{
    enum profile_file file = profile_file_of(path);
    enum measure_file kind = MEASURE_FILE_JSON;
    struct measure_file_writer w;
    if (file == PROFILE_FILE_MEASURE && !measure_file_kind(path, &kind, e))
        return false;
    measure_file_begin(&w);
    struct term term = {.out = w.out, .utf8 = true};
    if (file == PROFILE_FILE_JUNIT)
        latency_junit(p, w.out);
    else if (file == PROFILE_FILE_HGRM)
        export_hgrm(w.out, &p->run.results->total, MEASURED_TOTAL);
    else if (kind == MEASURE_FILE_MARKDOWN)
        latency_report(p, TABLE_MARKDOWN, &term);
    else if (kind == MEASURE_FILE_CSV)
        latency_measurements_csv(p, w.out);
    else
        latency_json(p, w.out);
    return measure_file_end(&w, path, e) || err_prefix(e, "--export");
}

/* The gravest of what there is to say. */
static int tell(struct job *j)
{
    struct err e = {0};
    bool written = true;
    print_report(&j->p);
    for (size_t i = 0; i < exports.count && written; i++)
        written = export_to(&j->p, exports.values[i], &e);
    int status = profile_status(COMMAND, &j->p.run);
    int added = j->p.overhead ? overhead_status(COMMAND, j->p.overhead) : EXIT_GOOD;
    status = MAX(status, added);
    if (!written)
        status = measure_options_fail(COMMAND, &e, EXIT_UNREACHABLE);
    if (status == EXIT_GOOD && j->p.baseline && j->p.baseline->failed) {
        err_set(&e, "a regression against %s that is statistically real", j->p.baseline->path);
        status = measure_options_fail(COMMAND, &e, EXIT_PROBLEM);
    }
    return status;
}

static int measure_and_tell(struct job *j)
{
    struct err e = {0};
    ending_hold();
    bool good = measure_main(j, &e) && measure_cold(j, &e) && measure_direct(j, &e);
    good = sample_log_close(j->log, &e) && good;
    int status = good ? EXIT_GOOD : measure_options_fail(COMMAND, &e, EXIT_UNREACHABLE);
    if (j->p.run.results) {
        fill_report(j);
        ending_release();
        int told = tell(j);
        status = status == EXIT_GOOD ? told : status;
    }
    return status;
}

static int run(int argc, char **argv)
{
    struct job j = {0};
    double allowed;
    int status = check_options(argc, argv, &allowed);
    if (status != EXIT_GOOD)
        return status;
    if (self_testing)
        return self_test(&(struct self_test_options){
            .command = COMMAND, .json = format == FORMAT_JSON, .color = (enum color_mode)color});
    arena_init(&j.arena, NULL, 0);
    status = prepare(&j, allowed);
    if (status == EXIT_GOOD)
        status = measure_and_tell(&j);
    profile_run_fini(&j.p.run);
    profile_run_fini(&j.p.cold);
    if (j.p.baseline)
        baseline_fini(j.p.baseline);
    prompts_free(j.prompts);
    measure_target_free(j.target);
    measure_target_free(j.direct);
    arena_fini(&j.arena);
    return status;
}

const struct command cmd_profile_latency = {
    .name = COMMAND,
    .summary = "how long an answer takes: total, first token, each token, with intervals",
    .usage = "weir profile latency [--model NAME] [options]",
    .examples =
        "  weir profile latency --model llama3.1:8b\n"
        "  weir profile latency --iterations 400 --export results.json\n"
        "  weir profile latency --baseline results.json --max-regression 10%\n"
        "  weir profile latency --model llama3.1:8b --direct http://localhost:11434/v1\n"
        "  weir profile latency --no-stream --concurrency 4 --format markdown\n"
        "\n"
        "Exits 1 when no request was answered, when this program and not the server was the "
        "limit,\n"
        "and on a regression; 3 when nobody could be reached, at the URL or at that of --direct. "
        "Ctrl-C\n"
        "ends with the report so far.\n"
        "What is measured, and how to read it: docs/profile.md.\n",
    .options = options,
    .run = run,
};
