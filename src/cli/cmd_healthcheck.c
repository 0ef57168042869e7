/* cmd_healthcheck.c -- `weir healthcheck`: does the gateway of this machine take requests? For images that have no curl, and for scripts.
 *
 * One GET /health/readiness, which needs no key, and an exit status that container engines understand: 0 ready, 1 not ready, draining or nobody there.
 * (2 is for a wrong use of the command.) The address is read from the configuration that the gateway reads; a file that has become wrong since does
 * not make a gateway that runs unhealthy. */
#include <signal.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/question.h"
#include "cli/term.h"

#define ANSWER_BYTES_MAX (1u << 20)

static const char *config_path, *host_option;
static int64_t port_option = -1;
static double timeout_s = 3;
static bool quiet;

static const struct option_row *options(size_t *count)
{
    // clang-format off
    static const struct option_row rows[] = {
        {.name = "--config", .short_name = "-c", .type = OPT_STR, .into = &config_path, .value = "FILE", .help = "the gateway's configuration, which says where it listens and whether with TLS. Without it: port 4000"},
        {.name = "--host", .type = OPT_STR, .into = &host_option, .value = "ADDRESS", .help = "its address, as given to weir serve; or unix:/path (default: weir_settings.host)"},
        {.name = "--port", .short_name = "-p", .type = OPT_INT, .into = &port_option, .min = 1, .max = 65535, .value = "PORT", .help = "its port (default: weir_settings.port)"},
        {.name = "--timeout", .type = OPT_F64, .into = &timeout_s, .min = 0, .max = 3600, .value = "SECONDS", .help = "for the whole check"},
        {.name = "--quiet", .short_name = "-q", .type = OPT_FLAG, .into = &quiet, .help = "say nothing when it is ready"},
    };
    // clang-format on
    *count = COUNT(rows);
    return rows;
}

static int say(const char *sentence)
{
    char safe[TERM_SAFE_BYTES(1000)];
    term_safe(true, str_from(sentence), 0, safe, sizeof safe);
    fprintf(stderr, "weir healthcheck: %s\n", safe);
    return EXIT_PROBLEM;
}

/* What the command line says wins over the file, as in weir serve. */
static struct config_listener where(struct arena *a)
{
    struct config_options o = {
        .path = config_path, .text = config_path ? STR_NONE : STR("{}"), .sealed = !config_path};
    struct config_listener at;
    struct err e = {0};
    if (!config_listener(&o, a, &at, &e)) {
        char text[sizeof e.text + sizeof e.file + 32], line[sizeof text + 80];
        err_format(&e, text, sizeof text);
        snprintf(line, sizeof line, "%s (asking all the same)", text);
        say(line);
    }
    if (host_option)
        at.host = str_from(host_option);
    if (port_option > 0)
        at.port = (uint16_t)port_option;
    return at;
}

/* "status" of {"status": "healthy", ...}; STR_NONE for what is no such object. */
static struct str status_of(struct arena *a, const struct question *q)
{
    const struct json_node *root = json_parse(a, q->answer.body, NULL),
                           *n = root ? json_get(root, "status") : NULL;
    return n && n->kind == JSON_STRING ? n->text : STR_NONE;
}

static int tell(struct arena *a, const struct question *q, struct str url, uint64_t took_ns)
{
    struct str status = status_of(a, q), found;
    if (q->answer.status == 200 && str_eq(status, STR("healthy"))) {
        if (!quiet)
            printf("ready: %.*s, %.1f ms\n", STR_ARG(url), (double)took_ns / 1e6);
        return EXIT_GOOD;
    }
    if (q->answer.status == 0)
        found = arena_printf(a, "%.*s: %s", STR_ARG(url), q->answer.failure);
    else if (status.n)
        found = arena_printf(a, "%.*s is not ready: status %d, %.*s", STR_ARG(url),
                             q->answer.status, (int)MIN(status.n, (size_t)80), status.p);
    else
        found = arena_printf(a,
                             "%.*s answered status %d to /health/readiness, not as weir does: "
                             "another program listens there",
                             STR_ARG(url), q->answer.status);
    return say(found.p);
}

static int run(int argc, char **argv)
{
    struct arena a;
    struct question q;
    if (argc > 0) {
        fprintf(stderr,
                "weir healthcheck: unexpected word \"%.80s\": the file is named with "
                "--config\n",
                argv[0]);
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN); /* TLS writes without asking the kernel to leave it out */
    arena_init(&a, NULL, 0);
    struct config_listener at = where(&a);
    uint64_t began_ns = clock_mono_ns();
    /* The answer is judged, whichever way it came. */
    bool answered = question_ask(
        &q, &at,
        STR("GET /health/readiness HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
            "user-agent: weir-healthcheck\r\n\r\n"),
        ANSWER_BYTES_MAX, MAX((int64_t)(timeout_s * 1e3), (int64_t)1));
    int status = tell(&a, &q, question_url(&a, &at), clock_mono_ns() - began_ns);
    ENSURE(answered || status == EXIT_PROBLEM);
    question_fini(&q);
    arena_fini(&a);
    return status;
}

const struct command cmd_healthcheck = {
    .name = "healthcheck",
    .summary = "say by the exit status whether the gateway takes requests",
    .usage = "weir healthcheck [--config FILE] [options]",
    .examples = "  weir healthcheck\n"
                "  weir healthcheck --config config/litellm-unified.yaml --timeout 2\n"
                "  weir healthcheck --host unix:/run/weir/weir.sock --quiet\n",
    .options = options,
    .run = run,
};
