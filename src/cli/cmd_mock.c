/* cmd_mock.c -- weir mock: the simulated provider as a program of its own. */
#include <errno.h>
#include <signal.h>

#include "base/diag.h"
#include "cli/command.h"
#include "mock/mock.h"
#include "net/sock.h"

static struct {
    const char *host, *fault;
    int64_t port, control_port, workers, ttft_ms, tokens_per_second, jitter, tokens, error_status,
        delay_ms, seed, slow_ms, times, freeze_after_ms, freeze_ms;
    double error_rate, slow_share;
    bool known_only, quiet;
} given = {.host = "127.0.0.1", .port = 9000, .control_port = -1, .workers = 1, .tokens = 16};

/* clang-format off */
static const struct option_row rows[] = {
    {.name = "--port", .short_name = "-p", .type = OPT_INT, .into = &given.port, .max = 65535, .value = "PORT", .help = "port to listen on; 0 takes a free one and prints it"},
    {.name = "--host", .type = OPT_STR, .into = &given.host, .value = "ADDRESS", .help = "address to listen on: numeric, \"*\", unix:/path or unix:@name"},
    {.name = "--workers", .type = OPT_INT, .into = &given.workers, .min = 1, .max = MOCK_WORKERS_MAX, .value = "N", .help = "threads, each with its own loop"},
    {.name = "--ttft-ms", .type = OPT_INT, .into = &given.ttft_ms, .max = 3600000, .value = "MS", .help = "time to first token"},
    {.name = "--tokens-per-second", .type = OPT_INT, .into = &given.tokens_per_second, .max = 1000000, .value = "N", .help = "rate of the tokens after the first; 0: all at once"},
    {.name = "--tokens", .type = OPT_INT, .into = &given.tokens, .max = 100000, .value = "N", .help = "length of an answer in tokens (words)"},
    {.name = "--jitter", .type = OPT_INT, .into = &given.jitter, .max = 100, .value = "PERCENT", .help = "how much the times vary; the same request always varies the same way"},
    {.name = "--delay-ms", .type = OPT_INT, .into = &given.delay_ms, .max = 3600000, .value = "MS", .help = "wait before anything of an answer is sent"},
    {.name = "--slow-share", .type = OPT_F64, .into = &given.slow_share, .max = 1, .value = "SHARE", .help = "share of requests that take --slow-ms longer, 0 to 1, evenly spread"},
    {.name = "--slow-ms", .type = OPT_INT, .into = &given.slow_ms, .max = 3600000, .value = "MS", .help = "by how much those take longer"},
    {.name = "--freeze-ms", .type = OPT_INT, .into = &given.freeze_ms, .max = 3600000, .value = "MS", .help = "stand still for so long, reading and sending nothing; also POST /mock/freeze"},
    {.name = "--freeze-after-ms", .type = OPT_INT, .into = &given.freeze_after_ms, .max = 3600000, .value = "MS", .help = "when, from the start"},
    {.name = "--times", .type = OPT_INT, .into = &given.times, .max = 10000000, .value = "N", .help = "keep an account of the last N answers of each thread: when each was asked for and sent; GET /mock/times"},
    {.name = "--error-rate", .type = OPT_F64, .into = &given.error_rate, .max = 1, .value = "SHARE", .help = "share of requests that fail, 0 to 1"},
    {.name = "--error-status", .type = OPT_INT, .into = &given.error_status, .min = 400, .max = 599, .value = "STATUS", .help = "what they fail with; not given: 429, 500 and 503 mixed"},
    {.name = "--fault", .type = OPT_STR, .into = &given.fault, .value = "FAULT", .help = "what goes wrong: [MODEL:]NAME[=VALUE][,NAME...]; several, with blanks between them, in quotes"},
    {.name = "--control-port", .type = OPT_INT, .into = &given.control_port, .min = 0, .max = 65535, .value = "PORT", .help = "a second port for /mock/..., for faults that refuse connections; 0 takes a free one"},
    {.name = "--seed", .type = OPT_INT, .into = &given.seed, .max = INT64_MAX, .value = "N", .help = "another seed gives other words to the same request"},
    {.name = "--known-models-only", .type = OPT_FLAG, .into = &given.known_only, .help = "answer 404 to names that are not in the table of models"},
    {.name = "--quiet", .short_name = "-q", .type = OPT_FLAG, .into = &given.quiet, .help = "do not say where it listens"},
};
/* clang-format on */

static const struct option_row *options(size_t *count)
{
    *count = COUNT(rows);
    return rows;
}

static struct mock_options mock_options_given(void)
{
    struct mock_options o = {
        .host = str_from(given.host),
        .port = (uint16_t)given.port,
        .workers = (uint32_t)given.workers,
        .seed = (uint64_t)given.seed,
        .faults = str_from(given.fault),
        .control_port = (int)given.control_port,
        .known_models_only = given.known_only,
        .times = (size_t)given.times,
        .freeze_after_ms = given.freeze_after_ms,
        .freeze_ms = given.freeze_ms,
    };
    sim_knobs_init(&o.knobs);
    o.knobs.v[SIM_TTFT_MS] = given.ttft_ms;
    o.knobs.v[SIM_TOKENS_PER_SECOND] = given.tokens_per_second;
    o.knobs.v[SIM_TOKENS] = given.tokens;
    o.knobs.v[SIM_JITTER_PCT] = given.jitter;
    o.knobs.v[SIM_DELAY_MS] = given.delay_ms;
    o.knobs.v[SIM_SLOW_MS] = given.slow_ms;
    o.knobs.v[SIM_SLOW_PER_MILLION] = (int64_t)(given.slow_share * 1e6 + 0.5);
    o.knobs.v[SIM_ERRORS_PER_MILLION] = (int64_t)(given.error_rate * 1e6 + 0.5);
    o.knobs.v[SIM_ERROR_STATUS] = given.error_status;
    return o;
}

static void say_where(const struct mock *m)
{
    printf("weir mock: listening on %.*s\n", STR_ARG(mock_api_base(m)));
    for (size_t i = 0; i < sim_model_count; i++)
        printf("  %-14.*s %s\n", STR_ARG(sim_models[i].name), sim_models[i].says);
    if (mock_control_port(m))
        printf("  control port   %u\n", mock_control_port(m));
    printf("GET /mock/stats says what was counted%s.\n",
           given.times ? ", GET /mock/times how long answers took" : "");
    fflush(stdout);
}

static int run(int argc, char **argv)
{
    struct err e = {0};
    sigset_t ends;
    int sig;
    if (argc > 0) {
        fprintf(stderr,
                "weir mock: unexpected word \"%s\"; it takes options only (weir mock --help)\n",
                argv[0]);
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* before the threads, which inherit it */
    sock_raise_file_limit();
    struct mock_options o = mock_options_given();
    if (!mock_check_faults(o.faults, &e)) {
        fprintf(stderr, "weir mock: %s\n", e.text);
        return EXIT_USAGE;
    }
    struct mock *m = mock_start(&o, &e);
    if (!m) {
        fprintf(stderr, "weir mock: %s\n", e.text);
        return EXIT_UNREACHABLE;
    }
    if (!given.quiet)
        say_where(m);
    sigwait(&ends, &sig);
    mock_stop(m);
    return EXIT_GOOD;
}

const struct command cmd_mock = {
    .name = "mock",
    .summary = "a simulated OpenAI-compatible provider, for tests and benches",
    .usage = "weir mock [--port PORT] [options]",
    .examples =
        "  weir mock --port 9000\n"
        "  weir mock --ttft-ms 200 --tokens-per-second 50 --tokens 300 --jitter 20\n"
        "  curl localhost:9000/v1/completions -H 'content-type: application/json' \\\n"
        "       -H 'x-mock-status: 429' \\\n"
        "       -d '{\"model\":\"sim-fast\",\"prompt\":\"hello\"}'\n"
        "  weir mock --fault 'hang-head gpt-4o:status=429,retry-after=2'\n"
        "  curl localhost:9000/mock/fault -H 'content-type: application/json' \\\n"
        "       -d '{\"fault\":\"cut-after=3\",\"model\":\"gpt-4o\",\"count\":5,\"share\":0.5}'\n"
        "  curl -X DELETE localhost:9000/mock/fault\n"
        "\n"
        "Models sim-slow, sim-flaky, sim-tools, sim-long, sim-reasoning and sim-embed have ways "
        "of\n"
        "their own; any other name behaves as sim-fast.\n"
        "\n"
        "Settings of one request, as headers \"x-mock-NAME: VALUE\":\n"
#define K(id, name, off, min, max, implied, help) "  " name ": " help "\n"
#define F(id, name, off, min, max, implied, help)
#define A(id, name, off, min, max, implied, help)
#include "mock/knobs.def"
#undef K
#undef F
#undef A
        "\n"
        "Faults of an answer, by the same headers, by --fault, or by POST /mock/fault while it "
        "runs:\n"
#define K(id, name, off, min, max, implied, help)
#define F(id, name, off, min, max, implied, help) "  " name ": " help "\n"
#define A(id, name, off, min, max, implied, help)
#include "mock/knobs.def"
#undef K
#undef F
#undef A
        "\n"
        "Faults of the whole port, by --fault or POST /mock/fault at the control port:\n"
#define K(id, name, off, min, max, implied, help)
#define F(id, name, off, min, max, implied, help)
#define A(id, name, off, min, max, implied, help) "  " name ": " help "\n"
#include "mock/knobs.def"
#undef K
#undef F
#undef A
    ,
    .options = options,
    .run = run,
};
