/* cmd_load.c -- weir load: a load test by a scenario or by options; load.h lists its parts. */
#include "cli/ending.h"
#include "cli/load.h"
#include "cli/self_test.h"

static struct load_options given = {
    .shared = MEASURE_OPTIONS_DEFAULTS, .rate = NAN, .gamma = NAN, .speed = NAN};
static bool self_testing;

/* clang-format off */
static const struct option_row rows[] = {
    {.heading = "Load", .name = "--concurrency", .short_name = "-c", .type = OPT_INT, .into = &given.concurrency, .min = 1, .max = 1000000, .value = "N", .help = "closed loop: N users, each with one request at a time (10, where nothing else is said)"},
    {.name = "--rate", .type = OPT_F64, .into = &given.rate, .min = 0, .max = 10000000, .value = "R", .help = "open loop: R requests a second, whatever the answers take"},
    {.name = "--poisson", .type = OPT_FLAG, .into = &given.poisson, .help = "with --rate: as independent clients come, instead of evenly"},
    {.name = "--gamma", .type = OPT_F64, .into = &given.gamma, .min = 0, .max = 1000, .value = "K", .help = "with --rate: gamma gaps of shape K: 1 is Poisson, less is burstier"},
    {.name = "--burst", .type = OPT_INT, .into = &given.burst, .min = 1, .max = 1000000, .value = "N", .help = "with --rate: N at once, at that rate on average"},
    {.name = "--duration", .short_name = "-d", .type = OPT_STR, .into = &given.duration, .value = "TIME", .help = "how long: 30s, 5m (30s, where nothing else is said)"},
    {.name = "--requests", .short_name = "-n", .type = OPT_INT, .into = &given.requests, .min = 1, .max = INT64_MAX / 2, .value = "N", .help = "... or how many"},
    {.name = "--ramp", .type = OPT_STR, .into = &given.ramp, .value = "TIME", .help = "from 0 to that load in this time, before it; measured as a stage of its own"},
    {.name = "--warmup", .type = OPT_STR, .into = &given.warmup, .value = "TIME", .help = "before all, and measured apart"},
    {.name = "--stages", .type = OPT_STR, .into = &given.stages, .value = "LIST", .help = "\"10s:100,1m:500\": in 10 s to 100 users, in 1 min on to 500; \"1m:50/s\" requests a second; \"1m:=50\" 50 from the start"},
    {.name = "--replay", .type = OPT_STR, .into = &given.replay, .value = "FILE", .help = "a request log's own times and models, weir's or LiteLLM's"},
    {.name = "--speed", .type = OPT_F64, .into = &given.speed, .min = 0, .max = 1000000, .value = "X", .help = "... so many times as fast"},
    {.heading = "Models", .name = "--model", .short_name = "-m", .type = OPT_STR, .into = &given.model, .value = "NAME", .help = "whom to ask (the first one that the gateway offers)"},
    {.name = "--mix", .type = OPT_STR, .into = &given.mix, .value = "LIST", .help = "several, with weights: gpt-4o=60,claude=25,llama=15"},
    {.heading = "Judging", .name = "--threshold", .type = OPT_LIST, .into = &given.thresholds, .value = "BOUND", .help = "what must hold, or the exit status is 1: \"latency p95 < 500ms\", \"p(95)<500\", \"errors < 1% abort after 10s\"; may be given several times"},
    {.name = "--slo", .type = OPT_STR, .into = &given.slo, .value = "LIST", .help = "objectives of a request, for goodput: ttft=500ms,e2e=5s"},
    {.heading = "Sending", .name = "--threads", .type = OPT_INT, .into = &given.threads, .min = 1, .max = ENGINE_THREADS_MAX, .value = "N", .help = "of the generator, each with its own loop (1)"},
    {.name = "--connections", .type = OPT_INT, .into = &given.connections, .min = 1, .max = 1000000, .value = "N", .help = "in flight at most; what is due beyond that waits, and is late"},
    {.name = "--fresh-connections", .type = OPT_FLAG, .into = &given.fresh_connections, .help = "a new connection for each request"},
    {.name = "--grace", .type = OPT_STR, .into = &given.grace, .value = "TIME", .help = "for what is in flight at the end (30s)"},
    {.name = "--no-spin", .type = OPT_FLAG, .into = &given.no_spin, .help = "do not poll for the last 100 us before a request is due: less CPU, 50 us later"},
    {.name = "--user-stamps", .type = OPT_FLAG, .into = &given.user_stamps, .help = "times of arrival by this program's clock, not by the kernel's"},
    {.name = "--self-test", .type = OPT_FLAG, .into = &self_testing, .help = "how far off the times measured on this host are, against a simulated provider: 5 s, nothing else is done"},
    {.heading = "Results", .name = "--export", .type = OPT_LIST, .into = &given.exports, .value = "FILE", .help = "by extension: .json (for weir load merge, too), .csv, .md, .html, .xml (JUnit), .hgrm (HdrHistogram); may be given several times"},
    {.name = "--html", .type = OPT_STR, .into = &given.html, .value = "FILE", .help = "a page with plots that needs nothing else"},
    {.name = "--junit", .type = OPT_STR, .into = &given.junit, .value = "FILE", .help = "thresholds as tests, for CI"},
    {.name = "--log", .type = OPT_STR, .into = &given.log, .value = "FILE", .help = "a record a request, appended, for weir analyze"},
    {.name = "--format", .type = OPT_CHOICE, .into = &given.format, .choices = load_formats, .value = "FORMAT", .help = "of the report on standard output"},
    {.name = "--name", .type = OPT_STR, .into = &given.name, .value = "TEXT", .help = "what the test is called in reports"},
    {.name = "--quiet", .short_name = "-q", .type = OPT_FLAG, .into = &given.quiet, .help = "no progress on standard error"},
    {.name = "--color", .type = OPT_CHOICE, .into = &given.color, .choices = term_color_modes, .value = "WHEN", .help = "colours"},
    MEASURE_PROMPT_ROWS(given.shared),
    MEASURE_TARGET_ROWS(given.shared),
};
/* clang-format on */

static const struct option_row *options(size_t *count)
{
    *count = COUNT(rows);
    return rows;
}

static bool check_options(int argc, char **argv, int *status, struct err *e)
{
    *status = EXIT_USAGE;
    if (argc > 1)
        return err_set(e, "expected one scenario, got %s as well", argv[1]);
    return load_exports_possible(&given, status, e);
}

static int run_plan(const struct load_plan *p)
{
    struct err e = {0};
    struct load_result r;
    struct sample_log *log = NULL;
    unsigned threads = p->scenario.threads > 0 ? (unsigned)p->scenario.threads : 1;
    ending_hold(); /* before the threads, which inherit it */
    if (given.log) {
        log = sample_log_open(given.log, threads, p->api, &e);
        if (!log)
            return measure_options_fail("load", &e, EXIT_UNREACHABLE);
    }
    bool ran = load_run(p, &given, log, &r, &e);
    struct err log_error = {0};
    bool logged = sample_log_close(log, &log_error);
    ending_release();
    int status = EXIT_GOOD;
    if (!ran) {
        status = measure_options_fail("load", &e, EXIT_UNREACHABLE);
    } else {
        load_print_report(&r, &given);
        bool exported = load_export_all(&r, &given);
        status = load_verdict(&r);
        status = exported ? status : EXIT_UNREACHABLE;
    }
    if (!logged)
        status = measure_options_fail("load", &log_error, EXIT_UNREACHABLE);
    load_result_fini(&r);
    return status;
}

static int run(int argc, char **argv)
{
    struct err e = {0};
    struct load_plan p;
    int status = EXIT_USAGE;
    if (!check_options(argc, argv, &status, &e))
        return measure_options_fail("load", &e, status);
    if (self_testing)
        return self_test(
            &(struct self_test_options){.command = "load",
                                        .threads = (unsigned)given.threads,
                                        .json = strcmp(load_formats[given.format], "json") == 0,
                                        .color = (enum color_mode)given.color,
                                        .user_stamps = given.user_stamps});
    if (load_plan_make(&p, &given, argc ? argv[0] : NULL, &status))
        status = run_plan(&p);
    load_plan_fini(&p);
    return status;
}

const struct command cmd_load = {
    .name = "load",
    .summary = "a load test: rates or users, stages, mixes, thresholds",
    .usage =
        "weir load [SCENARIO.yaml] [options]      (options go before the file; weir load merge "
        "adds reports up)",
    .examples =
        "  weir load --concurrency 50 --duration 1m\n"
        "  weir load --rate 200 --poisson --warmup 5s --threshold 'ttft p95 < 500ms' \\\n"
        "       --threshold 'errors < 1%'\n"
        "  weir load --mix gpt-4o=60,claude=25,llama=15 --stages 30s:20/s,2m:100/s,30s:0/s\n"
        "  weir load examples/load/spike.yaml --html spike.html --junit spike.xml\n"
        "  weir load --replay requests.log --speed 2 --log replayed.log\n"
        "  weir load peak.yaml --export a.json      (on each machine, then:)\n"
        "  weir load merge a.json b.json --html both.html\n",
    .options = options,
    .run = run,
};
