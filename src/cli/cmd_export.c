/* cmd_export.c -- `weir export`: a request log as Prometheus metrics; its options, where it begins, and --once.
 *
 * For logs that weir itself did not serve: LiteLLM's, by examples/litellm-callback, or a gateway's on another machine. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/diag.h"
#include "base/file_write.h"
#include "base/when.h"
#include "cli/command.h"
#include "cli/default_log.h"
#include "cli/export.h"
#include "cli/version.h"
#include "observe/log_input.h"
#include "observe/log_set.h"

#define DEFAULT_LISTEN "127.0.0.1:9464" /* what OpenTelemetry's Prometheus exporters listen on */
#define SERIES_DEFAULT 6000             /* as weir_settings.series_budget */

static const char *listen_at = DEFAULT_LISTEN, *state_path, *backfill = "all", *export_path,
                  *config_path, *history_path, *step_text = "1m", *save_every = "5s";
static bool poll_only, once;
static int64_t series_max;

static const struct option_row *options(size_t *count)
{
    // clang-format off
    static const struct option_row rows[] = {
        {.name = "--listen", .type = OPT_STR, .into = &listen_at, .value = "ADDRESS:PORT", .help = "where to answer /metrics: [::1]:9464, *:9464, unix:/path"},
        {.name = "--state", .type = OPT_STR, .into = &state_path, .value = "FILE", .help = "where position and numbers are kept over restarts (default: FILE.weir-export beside the log, or in $STATE_DIRECTORY)"},
        {.name = "--backfill", .type = OPT_STR, .into = &backfill, .value = "SPAN", .help = "how much of what is in the log already to count at the first start: all (rotated files included), none, or the last 2d"},
        {.name = "--config", .short_name = "-c", .type = OPT_STR, .into = &config_path, .value = "FILE", .help = "LiteLLM's config.yaml: buckets, series budget, names of models, and series that begin at 0"},
        {.name = "--series-max", .type = OPT_INT, .into = &series_max, .min = 16, .max = 1000000, .value = "N", .help = "most label combinations; what comes after is counted as other (default 6000, or the configuration's)"},
        {.name = "--save-every", .type = OPT_STR, .into = &save_every, .value = "SPAN", .help = "how often the state is saved; also at the end"},
        {.name = "--poll", .type = OPT_FLAG, .into = &poll_only, .help = "look at the log by the clock, not by inotify: for network file systems that weir does not know as such"},
        {.name = "--once", .type = OPT_FLAG, .into = &once, .help = "read what is there, print the metrics and exit; goes on from --state FILE if that is given"},
        {.name = "--export", .type = OPT_STR, .into = &export_path, .value = "FILE", .help = "with --once: write there, as a whole, instead of standard output"},
        {.name = "--openmetrics-history", .type = OPT_STR, .into = &history_path, .value = "FILE", .help = "read what is there and write it with its own stamps, for promtool tsdb create-blocks-from openmetrics"},
        {.name = "--step", .type = OPT_STR, .into = &step_text, .value = "SPAN", .help = "with --openmetrics-history: time between samples, in whole seconds"},
    };
    // clang-format on
    *count = COUNT(rows);
    return rows;
}

/* ---- the exporter ---- */

/* Stamps from the future would make steps without end: such lines count in the step that is open. */
static void advance_history(struct exporter *x, const struct logline *l)
{
    bool usable = l->found & LOG_BIT(timestamp) && l->r.timestamp <= x->started_real_us &&
                  l->r.timestamp >= x->lm.since_us;
    if (usable && !x->history_error.text[0])
        (void)!history_advance(x->history, x->lm.metrics, l->r.timestamp, &x->history_error);
}

static void on_line(void *arg, const struct logline *l, struct str line)
{
    struct exporter *x = arg;
    if (x->history)
        advance_history(x, l);
    log_metrics_take(&x->lm, l, line);
}

static void on_broken(void *arg, const char *expected, size_t column, struct str line)
{
    struct exporter *x = arg;
    (void)expected, (void)column;
    log_metrics_broken(&x->lm, line);
}

static void on_event(void *arg, enum log_follow_event event, const char *path)
{
    struct exporter *x = arg;
    switch (event) {
    case FOLLOW_MISSING:
        x->missing = true;
        if (x->caught_up)
            diag_warn("%s is gone; waiting for it", path);
        break;
    case FOLLOW_APPEARED:
        x->missing = false;
        diag_info("%s is there now", path);
        break;
    case FOLLOW_ROTATED:
    case FOLLOW_TRUNCATED:
        x->missing = false;
        x->lm.stats.rotations++;
        break;
    case FOLLOW_LOST:
        /* What is left may have been counted: only what is newer is. */
        x->lm.stats.lost++;
        x->lm.since_us = MAX(x->lm.since_us, x->lm.newest_us);
        diag_warn("%s: the file that was read last is gone, and with it what was written to it "
                  "since; counting what is newer than "
                  "the newest line counted",
                  path);
        break;
    }
}

enum log_follow_state exporter_read(struct exporter *x, uint64_t bytes_max, struct err *e)
{
    enum log_follow_state state = log_follow_run(x->follow, bytes_max, e);
    if (state == FOLLOW_FAILED)
        x->lm.stats.read_errors++;
    if (state == FOLLOW_CAUGHT_UP || state == FOLLOW_ENDED) {
        x->caught_up = true;
        x->lm.since_us = INT64_MIN; /* an old stamp in a new line counts */
    }
    return state;
}

void exporter_save(struct exporter *x, bool all_the_same)
{
    struct export_stats *stats = &x->lm.stats;
    struct err e = {0};
    bool changed = stats->lines != x->saved_lines || stats->rotations != x->saved_rotations;
    if (!x->state.path || (!changed && !all_the_same))
        return;
    struct log_position position = log_follow_position(x->follow);
    stats->state_writes++; /* this one included, should it succeed */
    bool ok = export_state_save(&x->state, x->log, &x->lm, &position, &e);
    if (ok) {
        x->saved_lines = stats->lines;
        x->saved_rotations = stats->rotations;
    } else {
        stats->state_writes--;
        stats->state_write_errors++;
        if (!x->state_failed)
            diag_warn("%s; trying again, and after a restart counting from the last state saved",
                      e.text);
    }
    x->state_failed = !ok;
}

bool exporter_ready(const struct exporter *x)
{
    return x->caught_up && !x->missing;
}

void exporter_write(struct exporter *x, enum metrics_format format, struct buf *out)
{
    struct export_stats *stats = &x->lm.stats;
    int64_t newest_us = x->lm.newest_us;
    stats->behind_bytes = log_follow_behind_bytes(x->follow);
    stats->newest_age_us = newest_us > 0 ? (uint64_t)MAX(clock_real_us() - newest_us, 0) : 0;
    stats->ready = exporter_ready(x);
    struct metrics_process p = {
        .about = METRICS_REQUESTS | METRICS_EXPORT | METRICS_PROCESS,
        .start_time_seconds = (double)x->started_real_us / 1e6,
        .version = weir_version,
        .git_commit = weir_commit,
        .compiler = __VERSION__,
        .exporter = stats,
    };
    metrics_write(x->lm.metrics, &p, format, out);
}

/* ---- where it begins ---- */

/* A position at the begin of the oldest rotated file there is; false: there is none, or it is the log itself. */
static bool oldest_file(const char *log, struct log_position *p)
{
    struct log_set set;
    struct log_input in;
    struct stat st;
    struct err ignored = {0};
    char head[LOG_POSITION_HEAD];
    if (!log_set_open(&set, &log, 1, true, &ignored))
        return false;
    bool found = set.count > 1 && stat(set.paths[0], &st) == 0;
    if (found && log_input_open(&in, set.paths[0])) {
        ssize_t n = log_input_read(&in, head, sizeof head, 0);
        *p = (struct log_position){.device = st.st_dev, .inode = st.st_ino};
        if (n > 0) {
            p->head_bytes = (uint32_t)n;
            p->head_hash = str_hash((struct str){head, (size_t)n});
        }
    }
    if (found)
        log_input_close(&in);
    log_set_close(&set);
    return found;
}

static bool begin_by_backfill(struct exporter *x, struct log_follow_options *o, struct err *e)
{
    int64_t span_us;
    o->start = FOLLOW_FROM_BEGIN;
    if (strcmp(backfill, "none") == 0) {
        o->start = FOLLOW_FROM_END;
        return true;
    }
    if (strcmp(backfill, "all") != 0) {
        if (!when_span(str_from(backfill), &span_us, e))
            return err_set(e, "%s", e->text);
        x->lm.since_us = clock_real_us() - span_us;
    }
    if (strcmp(x->log, "-") != 0 && oldest_file(x->log, &o->position))
        o->start = FOLLOW_FROM_POSITION;
    return true;
}

/* Where a state was saved before there was a file it has no position: then all of the file is new. */
static void begin_by_state(const struct exporter *x, struct log_follow_options *o)
{
    bool any = o->position.inode || o->position.head_bytes;
    o->start = any ? FOLLOW_FROM_POSITION : FOLLOW_FROM_BEGIN;
    diag_info("going on from the state %s: %llu requests counted before", x->state.path,
              (unsigned long long)x->lm.stats.requests);
}

/* Loads the state if one is kept. Returns an exit status; EXIT_GOOD to go on. */
static int begin(struct exporter *x, const struct config *c, struct err *e)
{
    struct log_follow_options o = {.path = x->log,
                                   .poll_only = poll_only,
                                   .take = on_line,
                                   .broken = on_broken,
                                   .event = on_event,
                                   .arg = x};
    enum export_state_found found =
        x->state.path ? export_state_load(&x->state, x->log, &x->lm, &o.position, e) : STATE_NONE;
    if (found == STATE_FOREIGN)
        return EXIT_USAGE;
    if (found == STATE_REFUSED) {
        diag_warn("%s", e->text);
        e->text[0] = '\0';
        log_metrics_fini(&x->lm);
        log_metrics_init(&x->lm, c, config_path);
        o.position = (struct log_position){0};
    }
    if (found == STATE_LOADED)
        begin_by_state(x, &o);
    else if (!begin_by_backfill(x, &o, e))
        return EXIT_USAGE;
    x->follow = log_follow_open(&o, e);
    return x->follow ? EXIT_GOOD : EXIT_UNREACHABLE;
}

/* ---- --once, and history ---- */

/* All there is. Standard input has more until it ends. */
static bool read_all(struct exporter *x, struct err *e)
{
    enum log_follow_state state;
    bool is_stream = strcmp(x->log, "-") == 0;
    while ((state = exporter_read(x, 0, e)) == FOLLOW_MORE ||
           (state == FOLLOW_CAUGHT_UP && is_stream)) {
        struct pollfd p = {.fd = log_follow_fd(x->follow), .events = POLLIN};
        if (state == FOLLOW_CAUGHT_UP)
            poll(&p, 1, log_follow_wait_ms(x->follow));
    }
    if (state == FOLLOW_FAILED)
        return false;
    if (x->history_error.text[0])
        return err_set(e, "%s", x->history_error.text);
    return !x->missing || err_set(e, "cannot read %s: there is no such file", x->log);
}

static bool print_once(struct exporter *x, struct err *e)
{
    struct buf out;
    buf_init(&out, 0, NULL);
    exporter_write(x, METRICS_TEXT, &out);
    struct str text = buf_str(&out);
    bool ok = export_path ? file_write_whole(export_path, text, 0644, e)
                          : (fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0) ||
                                err_set(e, "cannot write: %s", strerror(errno));
    buf_fini(&out);
    return ok;
}

static bool write_history(struct exporter *x, struct err *e)
{
    bool ok = history_write(x->history, x->lm.metrics, x->history_out);
    ok &= fclose(x->history_out) == 0;
    x->history_out = NULL;
    return ok ||
           err_set(e, "--openmetrics-history: cannot write %s: %s", history_path, strerror(errno));
}

/* The state is saved first: what is printed twice is no harm, what is counted twice is. */
static int run_once(struct exporter *x)
{
    struct err e = {0};
    bool ok = read_all(x, &e);
    if (ok)
        exporter_save(x, false);
    if (ok)
        ok = !x->state_failed && (x->history ? write_history(x, &e) : print_once(x, &e));
    if (e.text[0])
        diag_error("%s", e.text);
    return ok ? EXIT_GOOD : EXIT_UNREACHABLE;
}

/* ---- the command ---- */

static bool check_words(int argc, char **argv, struct err *e)
{
    if (argc > 1)
        return err_set(e,
                       "export follows one log; \"%s\" is one too many (its rotated files are "
                       "found by themselves)",
                       argv[1]);
    if (export_path && !once)
        return err_set(e, "--export goes with --once; to serve, give --listen");
    if (once && history_path)
        return err_set(
            e, "--once and --openmetrics-history are two ways to write what is there: choose one");
    if (history_path && state_path)
        return err_set(e, "--openmetrics-history begins where the log does, and keeps no state: "
                          "leave out --state");
    if (argc == 1 && strcmp(argv[0], "-") == 0 && state_path)
        return err_set(e, "--state: there is no going back in standard input; name the log's file");
    return true;
}

/* The path is kept in the state: it must be the same wherever the next start is. Its last part may be a link, and stays one: the log
 * is followed by name. */
static char *absolute(const char *path, struct err *e)
{
    char given[PATH_MAX], folder[PATH_MAX];
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (strcmp(path, "-") == 0)
        return mem_strdup(str_from(path));
    snprintf(given, sizeof given, "%.*s", slash ? (int)(name - path) : 1, slash ? path : ".");
    if (!realpath(given, folder)) {
        err_set(e, "cannot follow %s: cannot find its folder: %s", path, strerror(errno));
        return NULL;
    }
    struct arena a;
    arena_init(&a, NULL, 0);
    char *whole = mem_strdup(arena_printf(&a, "%s/%s", strcmp(folder, "/") ? folder : "", name));
    arena_fini(&a);
    return whole;
}

static bool open_state(struct exporter *x, struct err *e)
{
    bool wanted = state_path || (!once && !history_path && strcmp(x->log, "-") != 0);
    char *path = !wanted      ? NULL
                 : state_path ? mem_strdup(str_from(state_path))
                              : export_state_default(x->log, e);
    bool ok = !wanted || (path && export_state_open(&x->state, path, e));
    mem_free(path);
    return ok;
}

/* Before a long reading, not after it. */
static bool open_history(struct exporter *x, int64_t step_us, struct err *e)
{
    x->history_out = fopen(history_path, "we");
    if (!x->history_out)
        return err_set(e, "--openmetrics-history: cannot write %s: %s", history_path,
                       strerror(errno));
    x->history = history_new(step_us);
    return true;
}

static bool take_spans(int64_t *save_us, int64_t *step_us, struct err *e)
{
    struct err why = {0};
    if (!when_span(str_from(save_every), save_us, &why))
        return err_set(e, "--save-every: %s", why.text);
    if (!when_span(str_from(step_text), step_us, &why))
        return err_set(e, "--step: %s", why.text);
    if (*step_us % 1000000)
        return err_set(e, "--step: expected whole seconds, got \"%s\"", step_text);
    if (strcmp(backfill, "all") != 0 && strcmp(backfill, "none") != 0 &&
        !when_span(str_from(backfill), &(int64_t){0}, &why))
        return err_set(e, "--backfill: expected all, none, or a span: %s", why.text);
    return true;
}

/* The file's, or what stands for one. */
static struct config *open_config(struct config *stand_in, struct err *e)
{
    struct config_options o = {.path = config_path};
    struct config *c = config_path ? config_load(&o, e) : stand_in;
    if (c && (series_max || !config_path))
        c->series_budget = series_max ? series_max : SERIES_DEFAULT;
    return c;
}

static int run_exporter(struct exporter *x, const struct config *c, struct err *e)
{
    int64_t save_us = 0, step_us = 0;
    if (!take_spans(&save_us, &step_us, e))
        return EXIT_USAGE;
    if (!open_state(x, e))
        return EXIT_UNREACHABLE;
    if (history_path && !open_history(x, step_us, e))
        return EXIT_UNREACHABLE;
    int status = begin(x, c, e);
    if (status != EXIT_GOOD)
        return status;
    return once || history_path ? run_once(x) : export_serve(x, listen_at, save_us);
}

static int run(int argc, char **argv)
{
    struct err e = {0};
    struct config stand_in = {0};
    struct exporter x = {.started_real_us = clock_real_us(), .state = {.lock_fd = -1}};
    char *log = NULL;
    int status = EXIT_USAGE;
    if (check_words(argc, argv, &e)) {
        log = absolute(argc ? argv[0] : default_log(), &e);
        status = log ? EXIT_PROBLEM : EXIT_UNREACHABLE;
    }
    struct config *c = log ? open_config(&stand_in, &e) : NULL;
    if (c) {
        x.log = log;
        log_metrics_init(&x.lm, c, config_path);
        status = run_exporter(&x, c, &e);
        if (x.follow)
            log_follow_close(x.follow);
        log_metrics_fini(&x.lm);
        history_free(x.history);
        if (x.history_out)
            fclose(x.history_out);
        export_state_close(&x.state);
        if (config_path)
            config_put(c);
    }
    mem_free(log);
    if (e.text[0]) {
        char text[900];
        err_format(&e, text, sizeof text);
        diag_error("%s", text);
    }
    return status;
}

const struct command cmd_export = {
    .name = "export",
    .summary = "a request log as Prometheus metrics",
    .usage =
        "weir export [FILE] [options]      (FILE: the log that is followed; - is standard input)",
    .examples =
        "  weir export                                     " DEFAULT_LOG ", on " DEFAULT_LISTEN "\n"
        "  weir export requests.log --listen '*:9464' --backfill 2d\n"
        "  weir export requests.log --once --state textfile.state --export "
        "/var/lib/node_exporter/llm.prom\n"
        "  weir export requests.log --openmetrics-history history.om\n"
        "  promtool tsdb create-blocks-from openmetrics history.om /var/lib/prometheus\n",
    .options = options,
    .run = run,
};
