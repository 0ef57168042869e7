/* cmd_serve.c -- `weir serve`: configuration, log, built-in models, gateway; then signals until the end.
 *
 * The thread that runs this becomes the control thread: its loop takes signals (signalfd), pages, scrapes and health probes. SIGTERM and SIGINT drain
 * (a second one ends at once), SIGUSR1 opens the log anew. systemd is told READY and STOPPING over $NOTIFY_SOCKET (sd_notify(3); no library needed). */
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/diag.h"
#include "cli/command.h"
#include "cli/notify.h"
#include "cli/version.h"
#include "gateway/gateway.h"
#include "mock/mock.h"

static const char *config_path, *host_option, *log_file_option, *level_option;
static int64_t port_option = -1, workers_option;
static bool check_only, no_builtin;

static const struct option_row *options(size_t *count)
{
    // clang-format off
    static const struct option_row rows[] = {
        {.name = "--config", .short_name = "-c", .type = OPT_STR, .into = &config_path, .value = "FILE", .help = "LiteLLM's config.yaml. Without it: the engines found on this machine"},
        {.name = "--host", .type = OPT_STR, .into = &host_option, .value = "ADDRESS", .help = "address to listen on: IPv4, IPv6, or unix:/path (default: weir_settings.host)"},
        {.name = "--port", .short_name = "-p", .type = OPT_INT, .into = &port_option, .min = 0, .max = 65535, .value = "PORT", .help = "port to listen on, 0 for any free one (default 4000)"},
        {.name = "--workers", .type = OPT_INT, .into = &workers_option, .min = 1, .max = 1024, .value = "N", .help = "worker threads (default: one a core)"},
        {.name = "--log-file", .type = OPT_STR, .into = &log_file_option, .value = "FILE", .help = "request log, - for stdout, none for no log (default: litellm_settings.logging.log_file)"},
        {.name = "--no-builtin", .type = OPT_FLAG, .into = &no_builtin, .help = "leave out the simulated models (sim-fast, sim-slow, ...)"},
        {.name = "--diagnostics", .type = OPT_STR, .into = &level_option, .value = "LEVEL", .help = "what weir says of itself on stderr: error, warning, info, debug (default info)"},
        {.name = "--check", .type = OPT_FLAG, .into = &check_only, .help = "read the configuration, say what is wrong with it, and exit"},
    };
    // clang-format on
    *count = COUNT(rows);
    return rows;
}

/* ---- signals ---- */

struct signals {
    struct watch watch;
    struct gateway *gateway;
    struct loop *loop;
    struct timer look; /* while draining: are all workers done? */
    bool draining;
};

static uint64_t connections_left(const struct gateway *g)
{
    uint64_t left = 0;
    for (int i = 0; i < g->worker_count; i++)
        left += COUNTER_GET(http_server_counters(g->workers[i].server)->open);
    return left;
}

static void look(struct timer *t)
{
    struct signals *s = CONTAINER(t, struct signals, look);
    uint64_t limit_ns = (uint64_t)s->gateway->snapshot->config->drain_timeout_ms * NS_PER_MS;
    uint64_t since_ns = loop_now_ns(s->loop) - s->gateway->drain_started_ns;
    if (connections_left(s->gateway) == 0 || since_ns > limit_ns)
        loop_stop(s->loop);
    else
        timer_set(s->loop, t, loop_now_ns(s->loop) + 10 * NS_PER_MS);
}

static void begin_drain(struct signals *s, int number)
{
    if (s->draining) {
        diag_warn("a second signal: not waiting any longer");
        gateway_stop_now(s->gateway);
        loop_stop(s->loop);
        return;
    }
    s->draining = true;
    notify_service("STOPPING=1");
    diag_info("%s: no new connections; %llu open ones may finish within %lld s", strsignal(number),
              (unsigned long long)connections_left(s->gateway),
              (long long)s->gateway->snapshot->config->drain_timeout_ms / 1000);
    gateway_drain(s->gateway);
    timer_set(s->loop, &s->look, loop_now_ns(s->loop) + 1);
}

static void on_signal(struct watch *w, uint32_t events)
{
    struct signals *s = CONTAINER(w, struct signals, watch);
    struct signalfd_siginfo info;
    (void)events;
    while (read(w->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGUSR1 && s->gateway->log)
            log_reopen(s->gateway->log);
        else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            begin_drain(s, (int)info.ssi_signo);
    }
}

/* Blocked before any thread starts, so that all of them arrive here. */
static int block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- configuration ---- */

static int say(const struct err *e, int status)
{
    char text[900];
    err_format(e, text, sizeof text);
    diag_error("%s", text);
    return status;
}

static void say_notes(const struct config *c)
{
    for (int i = 0; i < c->note_count; i++) {
        const struct config_note *n = &c->notes[i];
        if (n->file && n->line)
            diag_warn("%s:%d:%d: %.*s", n->file, n->line, n->column, STR_ARG(n->text));
        else
            diag_warn("%.*s", STR_ARG(n->text));
    }
}

static struct config *load_config(struct mock *mock, struct err *e)
{
    struct arena a;
    int found = 0;
    arena_init(&a, NULL, 0);
    struct config_options o = {.path = config_path, .add_builtin_models = !no_builtin};
    struct str base = mock ? mock_api_base(mock) : STR_NONE;
    o.builtin_base = mock ? base.p : NULL;
    if (!config_path) {
        o.text = discover_config(&a, &found);
        diag_info("no --config: found %d model%s on ports 11434, 8001, 8000 and 8080%s", found,
                  found == 1 ? "" : "s",
                  no_builtin ? ""
                             : "; the simulated models (sim-fast, sim-slow, ...) are there too");
    }
    struct config *c = config_load(&o, e);
    arena_fini(&a);
    return c;
}

/* Options win over the file. The snapshot is not shared yet, so it may still be changed here. */
static bool apply_options(struct config *c, struct err *e)
{
    if (host_option)
        c->host = arena_str(&c->arena, str_from(host_option));
    if (port_option >= 0)
        c->port = port_option;
    if (workers_option > 0)
        c->workers = (int)workers_option;
    if (log_file_option)
        c->log_file = strcmp(log_file_option, "none")
                          ? arena_str(&c->arena, str_from(log_file_option))
                          : STR_NONE;
    if (c->deployment_count == 0)
        return err_set(e, "there are no models: give --config FILE, start an engine (Ollama, vLLM, "
                          "llama.cpp), or leave out --no-builtin");
    return true;
}

/* The log where it was asked for, else ./requests.log, and says so. NULL without an error in `e`: no log is wanted. */
static struct log_writer *open_log(const struct config *c, struct err *e)
{
    struct log_options o = {
        .path = c->log_file.p,
        .ring_dir = c->log_ring_dir.p,
        .ring_bytes = (size_t)c->log_ring_bytes,
        .rings = gateway_workers_wanted(c),
        .text = c->log_format == LOG_FORMAT_TEXT,
    };
    if (!c->log_file.n)
        return NULL;
    struct err first = {0};
    struct log_writer *w = log_open(&o, &first);
    if (w || log_file_option) {
        *e = first;
        return w;
    }
    o.path = "requests.log";
    w = log_open(&o, e);
    if (w)
        diag_warn("%s; writing the request log to ./requests.log instead (set "
                  "litellm_settings.logging.log_file, or make the folder writable)",
                  first.text);
    return w;
}

/* ---- running ---- */

static void say_ready(const struct gateway *g)
{
    const struct config *c = g->snapshot->config;
    struct log_stats log = {0};
    char where[320];
    bool any =
        str_eq(c->host, STR("0.0.0.0")) || str_eq(c->host, STR("::")) || str_eq(c->host, STR("*"));
    bool ipv6 = !any && str_find(c->host, ':') >= 0 && c->host.p[0] != '[';
    if (g->log)
        log_stats(g->log, &log);
    if (str_starts(c->host, STR("unix:")))
        snprintf(where, sizeof where, "%.*s", STR_ARG(c->host));
    else
        snprintf(where, sizeof where, "%s://%s%.*s%s:%u", g->tls_listen ? "https" : "http",
                 ipv6 ? "[" : "", STR_ARG(any ? STR("localhost") : c->host), ipv6 ? "]" : "",
                 g->port);
    diag_info("weir %s listens on %s, %d worker%s, %u models; log: %s", g->version, where,
              g->worker_count, g->worker_count == 1 ? "" : "s", c->model_name_count,
              g->log ? log.path : "none");
    if (getenv("LITELLM_LICENSE"))
        diag_info("LITELLM_LICENSE is set; weir needs no licence for anything");
}

static int serve(struct gateway *g, int signal_fd)
{
    struct signals s = {.watch = {.fd = signal_fd, .on_event = on_signal},
                        .gateway = g,
                        .loop = g->control,
                        .look = {.on_fire = look}};
    ENSURE(loop_add_level(g->control, &s.watch, 0));
    say_ready(g);
    notify_service("READY=1");
    loop_run(g->control);
    timer_clear(g->control, &s.look);
    loop_remove(g->control, &s.watch);
    close(signal_fd);
    return EXIT_GOOD;
}

static bool set_level(struct err *e)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    for (int i = 0; level_option && i < (int)COUNT(names); i++) {
        if (strcasecmp(level_option, names[i]) == 0) {
            diag_set_level((enum diag_level)i);
            return true;
        }
    }
    return !level_option ||
           err_set(e, "--diagnostics: expected error, warning, info or debug, got \"%s\"",
                   level_option);
}

static int run(int argc, char **argv)
{
    struct err e = {0};
    struct gateway *g = NULL;
    struct log_writer *log = NULL;
    struct mock *mock = NULL;
    int status = EXIT_PROBLEM;
    if (argc > 0) {
        diag_error("serve takes no words, only options; \"%s\" is too much (weir serve --help)",
                   argv[0]);
        return EXIT_USAGE;
    }
    if (!set_level(&e))
        return say(&e, EXIT_USAGE);
    int signal_fd = block_signals();
    sock_raise_file_limit();
    if (!no_builtin && !check_only && !(mock = mock_start_builtin(1, &e)))
        return say(&e, EXIT_PROBLEM);
    struct config *c = load_config(mock, &e);
    if (!c) {
        mock_stop(mock);
        return say(&e, EXIT_PROBLEM);
    }
    say_notes(c);
    diag_set_json(c->json_logs);
    if (!apply_options(c, &e)) {
        config_put(c);
        goto done;
    }
    if (check_only) {
        printf("%s is good: %u models, %u deployments, %d warnings\n",
               config_path ? config_path : "the configuration", c->model_name_count,
               c->deployment_count, c->note_count);
        config_put(c);
        status = EXIT_GOOD;
        goto done;
    }
    log = open_log(c, &e);
    if (c->log_file.n && !log) {
        config_put(c);
        goto done;
    }
    struct gateway_options o = {
        .config = c, .log = log, .version = weir_version, .commit = weir_commit};
    g = gateway_new(&o, &e);
    if (g && gateway_start(g, &e))
        status = serve(g, signal_fd);
done:
    gateway_free(g);
    if (log)
        log_close(log);
    mock_stop(mock);
    return status == EXIT_GOOD ? EXIT_GOOD : say(&e, status);
}

const struct command cmd_serve = {
    .name = "serve",
    .summary = "run the gateway",
    .usage = "weir serve [--config FILE] [options]",
    .examples = "  weir serve                                   engines found on this machine, and "
                "the simulated models\n"
                "  weir serve --config config/litellm-unified.yaml\n"
                "  weir serve --config litellm.yaml --port 8080 --workers 4\n",
    .options = options,
    .run = run,
};
