/* cmd_serve.c -- `weir serve`: configuration, log, built-in models, gateway; then signals until the end (serve_signals.c).
 *
 * The thread that runs this becomes the control thread: its loop takes signals, pages, scrapes, health probes and reloads. What the command line
 * says wins over the file, at the start and at every reload. */

#include "base/diag.h"
#include "cli/command.h"
#include "cli/notify.h"
#include "cli/serve.h"
#include "cli/service.h"
#include "cli/version.h"
#include "gateway/handover.h"
#include "gateway/reload.h"
#include "mock/mock.h"
#include "net/activation.h"

static const char *config_path, *host_option, *log_file_option, *level_option;
static int64_t port_option = -1, workers_option;
static bool check_only, dry_run, as_json, take_over, no_builtin;
static struct mock *mock;        /* the simulated models; NULL: none */
static struct activation passed; /* systemd's sockets */
static bool successor;           /* of a weir that runs */

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
        {.name = "--dry-run", .type = OPT_FLAG, .into = &dry_run, .help = "as --check, and show what it changes in the weir that runs, or else against the defaults"},
        {.name = "--json", .type = OPT_FLAG, .into = &as_json, .help = "--dry-run: print one JSON object"},
        {.name = "--takeover", .type = OPT_FLAG, .into = &take_over, .help = "take the listening sockets over from the weir that runs, which then ends what it has begun (an upgrade without a refused connection)"},
    };
    // clang-format on
    *count = COUNT(rows);
    return rows;
}

/* ---- configuration ---- */

static int say(const struct err *e, int status)
{
    char text[900];
    err_format(e, text, sizeof text);
    diag_error("%s", text);
    return status;
}

/* The snapshot is not shared yet, so it may still be changed here. */
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

/* The configuration as the command line and the file say it, read at the start and again at each reload. */
static struct config *load_config(struct config_options *o, struct err *e)
{
    struct arena a;
    int found = 0;
    arena_init(&a, NULL, 0);
    o->path = config_path;
    o->add_builtin_models = !no_builtin;
    o->builtin_base = mock                        ? mock_api_base(mock).p
                      : check_only && !no_builtin ? "unix:@weir-sim" /* nothing connects */
                                                  : NULL;
    if (!config_path) {
        o->text = discover_config(&a, &found);
        diag_info("no --config: found %d model%s on ports 11434, 8001, 8000 and 8080%s", found,
                  found == 1 ? "" : "s",
                  no_builtin ? ""
                             : "; the simulated models (sim-fast, sim-slow, ...) are there too");
    }
    struct config *c = config_load(o, e);
    arena_fini(&a);
    if (c && !apply_options(c, e)) {
        config_put(c);
        c = NULL;
    }
    return c;
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
    char where[GATEWAY_ADDRESS_BYTES];
    if (g->log)
        log_stats(g->log, &log);
    gateway_address(g, where);
    diag_info("weir %s listens on %s%s, %d worker%s, %u models; log: %s", g->version, where,
              g->listening.activated ? " (systemd's socket; host and port of the configuration are "
                                       "not used)"
                                     : "",
              g->worker_count, g->worker_count == 1 ? "" : "s", c->model_name_count,
              g->log ? log.path : "none");
    if (getenv("LITELLM_LICENSE"))
        diag_info("LITELLM_LICENSE is set; weir needs no licence for anything");
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

static int check(const struct config *c)
{
    const char *name = config_path ? config_path : "the configuration";
    if (dry_run)
        return serve_dry_run(c, name, as_json);
    printf("%s is good: %u models, %u deployments, %d warnings\n", name, c->model_name_count,
           c->deployment_count, c->note_count);
    return EXIT_GOOD;
}

/* Sockets that come from outside: systemd's, or those of the weir that runs. NULL: there are none, or an error in `e`. */
static const struct listeners *find_sockets(struct takeover *t, const struct config *c,
                                            struct err *e)
{
    if (passed.count && take_over) {
        (void)err_set(e, "--takeover: systemd has passed the sockets already; leave it out");
        return NULL;
    }
    if (!takeover_begin(t, c, take_over, e))
        return NULL;
    if (t->socket < 0 && passed.count) {
        t->listeners.activated = true;
        t->listeners.count = passed.count;
        memcpy(t->listeners.fds, passed.fds, (size_t)passed.count * sizeof passed.fds[0]);
    }
    return t->listeners.count ? &t->listeners : NULL;
}

/* The weir that was to be taken over from is stopping (handover_stop), and waits for the end of this process. */
static bool is_not_wanted_any_more(void)
{
    if (!successor || !serve_stop_is_asked())
        return false;
    diag_info("told to end before it has taken over");
    return true;
}

/* Takes over the reference to `c`. */
static int serve(struct config *c, int signal_fd, struct err *e)
{
    struct takeover takeover = {.socket = -1};
    struct log_writer *log = NULL;
    struct gateway *g = NULL;
    struct service *service = NULL;
    int status = EXIT_PROBLEM;
    const struct listeners *sockets = find_sockets(&takeover, c, e);
    bool stop = is_not_wanted_any_more();
    if (!e->text[0] && !stop)
        log = open_log(c, e);
    if (e->text[0] || stop) {
        config_put(c);
        takeover_end(&takeover);
        return e->text[0] ? EXIT_PROBLEM : EXIT_GOOD;
    }
    struct gateway_options o = {
        .config = c,
        .log = log,
        .version = weir_version,
        .commit = weir_commit,
        .load = load_config,
        .on_reload = service_reload,
        .inherited = sockets,
        .took_over = takeover.socket >= 0,
    };
    g = gateway_new(&o, e);
    if (g && is_not_wanted_any_more())
        status = EXIT_GOOD;
    else if (g && gateway_start(g, e))
        status = serve_until_end(g, signal_fd, &takeover, say_ready, &service, e);
    takeover_end(&takeover);
    gateway_free(g);
    service_free(service);
    if (log)
        log_close(log);
    return status;
}

/* A start that failed. One that was to take over is not what systemd watches: the weir that runs goes on. */
static int fail(const struct err *e, int status)
{
    if (!check_only && !successor)
        service_failed(e);
    return say(e, status);
}

static int run(int argc, char **argv)
{
    struct err e = {0};
    int status = EXIT_PROBLEM;
    check_only |= dry_run;
    if (argc > 0) {
        diag_error("serve takes no words, only options; \"%s\" is too much (weir serve --help)",
                   argv[0]);
        return EXIT_USAGE;
    }
    successor = takeover_is_asked(take_over);
    if (!set_level(&e))
        return fail(&e, EXIT_USAGE);
    int signal_fd = serve_block_signals();
    sock_raise_file_limit();
    notify_begin();
    if (!check_only && !activation_take(&passed, "http", &e))
        return fail(&e, EXIT_PROBLEM);
    if (!no_builtin && !check_only && !(mock = mock_start_builtin(1, &e)))
        return fail(&e, EXIT_PROBLEM);
    struct config_options o = {0};
    struct config *c = load_config(&o, &e);
    if (c) {
        reload_say_warnings(c);
        diag_set_json(c->json_logs);
    }
    if (c && check_only) {
        status = check(c);
        config_put(c);
    } else if (c) {
        status = serve(c, signal_fd, &e);
    }
    mock_stop(mock);
    return status == EXIT_GOOD || !e.text[0] ? status : fail(&e, status);
}

const struct command cmd_serve = {
    .name = "serve",
    .summary = "run the gateway",
    .usage = "weir serve [--config FILE] [options]",
    .examples = "  weir serve                                   engines found on this machine, and "
                "the simulated models\n"
                "  weir serve --config config/litellm-unified.yaml\n"
                "  weir serve --config litellm.yaml --port 8080 --workers 4\n"
                "  weir serve --config litellm.yaml --dry-run   what a reload would change\n",
    .options = options,
    .run = run,
};
