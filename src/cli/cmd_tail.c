/* cmd_tail.c -- `weir tail`: requests as they go by. The seed's scripts/debugging/tail-requests.
 *
 * log_follow gives the lines, tail.c decides on each; the loop here waits for the log, for keys, for the terminal to take more and
 * for signals, whichever comes first. */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/when.h"
#include "cli/command.h"
#include "cli/default_log.h"
#include "cli/tail.h"

#define BACKLOG_LINES     10
#define BACKLOG_LOOKED_AT 20000 /* of the log's end, for the last lines that match */
#define BYTES_A_RUN       (256u << 10)
#define FAILED_WAIT_MS    250

static const char *model, *provider, *key_alias, *user, *status, *level, *since_text, *fields;
static const char *every_text, *where_text;
static struct log_where *where;
static bool errors, json, no_follow, no_summary, poll_only, show_content;
static int color = COLOR_AUTO;
static int64_t lines = -1, slow_ms;

// clang-format off
static const struct option_row rows[] = {
    {.name = "--lines", .short_name = "-n", .type = OPT_INT, .into = &lines, .min = 0, .max = INT64_MAX, .value = "N", .help = "begin with the last N lines that match (default 10)"},
    {.name = "--since", .type = OPT_STR, .into = &since_text, .value = "TIME", .help = "begin with everything since then: \"1 hour ago\", 15m, \"yesterday 14:00\", 2026-11-25T14:00:00Z"},
    {.name = "--no-follow", .type = OPT_FLAG, .into = &no_follow, .help = "end when all is shown that there is"},
    {.name = "--model", .type = OPT_STR, .into = &model, .value = "NAME", .help = "only this model; * is a wildcard, commas separate, ! shuts out"},
    {.name = "--provider", .type = OPT_STR, .into = &provider, .value = "NAME", .help = "only this provider"},
    {.name = "--key", .type = OPT_STR, .into = &key_alias, .value = "ALIAS", .help = "only this key's alias"},
    {.name = "--user", .type = OPT_STR, .into = &user, .value = "NAME", .help = "only this user"},
    {.name = "--status", .type = OPT_STR, .into = &status, .value = "STATUS", .help = "only success, failure or cancelled; or a status sent to the client: 429, 5xx"},
    {.name = "--level", .type = OPT_STR, .into = &level, .value = "LEVEL", .help = "only INFO, WARNING or ERROR"},
    {.name = "--slow", .type = OPT_INT, .into = &slow_ms, .min = 1, .max = INT64_MAX / 1000, .value = "MS", .help = "only requests that took at least this long"},
    {.name = "--where", .type = OPT_STR, .into = &where_text, .value = "EXPRESSION", .help = "only what this is true of: 'latency_ms > 2s and provider = ollama'"},
    {.name = "--errors", .type = OPT_FLAG, .into = &errors, .help = "only what failed"},
    {.name = "--fields", .type = OPT_STR, .into = &fields, .value = "FIELD[,FIELD]", .help = "show these fields of the record instead (see docs/log.md)"},
    {.name = "--json", .type = OPT_FLAG, .into = &json, .help = "print the matching lines of the log themselves"},
    {.name = "--show-content", .type = OPT_FLAG, .into = &show_content, .help = "do not hide contents of requests and answers, hashes of keys and secrets in messages"},
    {.name = "--summary-every", .type = OPT_STR, .into = &every_text, .value = "SPAN", .help = "print a line with what was since the last such line: 10s, 5m"},
    {.name = "--no-summary", .type = OPT_FLAG, .into = &no_summary, .help = "no summary at the terminal's bottom and none at the end"},
    {.name = "--poll", .type = OPT_FLAG, .into = &poll_only, .help = "look at the file four times a second instead of being told of changes"},
    {.name = "--color", .type = OPT_CHOICE, .into = &color, .choices = term_color_modes, .value = "WHEN", .help = "colours"},
};
// clang-format on

static const struct option_row *options(size_t *count)
{
    *count = COUNT(rows);
    return rows;
}

/* ---- signals ---- */

static struct tail tail;
static volatile sig_atomic_t resized, to_suspend, continued;
static int wake_fd = -1;

static void on_signal(int number)
{
    int before = errno;
    switch (number) {
    case SIGWINCH: resized = 1; break;
    case SIGTSTP: to_suspend = 1; break;
    case SIGCONT: continued = 1; break;
    default: tail.stop = 1; break;
    }
    uint64_t one = 1;
    ssize_t n = write(wake_fd, &one, sizeof one);
    (void)n; /* full means woken already */
    errno = before;
}

/* Without SA_RESTART, so that a write to a pipe that nobody reads ends as well. */
static void catch_signals(bool terminal)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT},
                     steers[] = {SIGWINCH, SIGTSTP, SIGCONT};
    struct sigaction catch = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    for (size_t i = 0; i < COUNT(ends); i++)
        sigaction(ends[i], &catch, NULL);
    for (size_t i = 0; i < COUNT(steers) && terminal; i++)
        sigaction(steers[i], &catch, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

static void heed_signals(struct tail *t)
{
    uint64_t times;
    ssize_t n = read(wake_fd, &times, sizeof times);
    (void)n;
    if (to_suspend) {
        to_suspend = 0;
        screen_suspend(&t->screen);
    }
    if (continued) {
        continued = 0;
        screen_continued(&t->screen);
    }
    if (resized) {
        resized = 0;
        screen_resized(&t->screen);
    }
}

/* ---- remarks ---- */

/* Among the lines on a terminal; beside them where programs read. */
static void remark(struct tail *t, const char *text)
{
    if (t->screen.terminal)
        tail_view_note(&t->view, "%s", text);
    else
        fprintf(stderr, "weir tail: %s\n", text);
}

static void on_event(void *arg, enum log_follow_event event, const char *path)
{
    static const char *const texts[] = {
        [FOLLOW_MISSING] = "%s is not there: waiting for it",
        [FOLLOW_APPEARED] = "%s is there now",
        [FOLLOW_ROTATED] = "%s was rotated: this is the next one",
        [FOLLOW_TRUNCATED] = "%s was emptied: from its beginning again",
        [FOLLOW_LOST] = "%s: what stood before is gone",
    };
    char text[600], safe[400];
    struct tail *t = arg;
    term_safe(t->screen.term.utf8, str_from(path), 0, safe, sizeof safe);
    snprintf(text, sizeof text, texts[event], safe);
    remark(t, text);
}

/* ---- the loop ---- */

static void end_backlog(struct tail *t)
{
    t->in_backlog = false;
    if (!t->backlog_is_kept)
        return;
    tail_show_kept(t, 0, t->backlog_lines);
    tail_keep(t, t->screen.keys_fd >= 0 ? TAIL_KEPT_LINES : 0);
}

static void read_keys(struct tail *t)
{
    char keys[64];
    ssize_t n = read(t->screen.keys_fd, keys, sizeof keys);
    if (n > 0)
        tail_key(t, keys, (size_t)n);
    else if (n == 0 || (errno != EINTR && errno != EAGAIN))
        t->screen.gone = true; /* the terminal hung up */
}

static int earlier(int ms, uint64_t then_ns, uint64_t now_ns)
{
    uint64_t due_ms = then_ns > now_ns ? (then_ns - now_ns) / NS_PER_MS + 1 : 0;
    return ms < 0 || due_ms < (uint64_t)ms ? (int)MIN(due_ms, 60000u) : ms;
}

static int wait_ms(const struct tail *t, uint64_t now_ns, uint64_t every_ns)
{
    int ms = log_follow_wait_ms(t->follow);
    if (t->screen.live && !t->no_summary && !t->editing)
        ms = earlier(ms, t->summary_ns + NS_PER_S, now_ns);
    return every_ns ? earlier(ms, t->stats.span_ns + every_ns, now_ns) : ms;
}

static void wait_for_something(struct tail *t, int ms)
{
    enum { LOG, WAKE, OUT, KEYS };
    bool waiting = t->screen.terminal && buf_used(&t->screen.pending);
    bool keys = t->screen.keys_raw;
    struct pollfd fds[] = {
        [LOG] = {.fd = log_follow_fd(t->follow), .events = POLLIN},
        [WAKE] = {.fd = wake_fd, .events = POLLIN},
        /* Without events it still tells that the reader went away. */
        [OUT] = {.fd = t->screen.fd, .events = waiting ? POLLOUT : 0},
        [KEYS] = {.fd = keys ? t->screen.keys_fd : -1, .events = POLLIN},
    };
    if (poll(fds, COUNT(fds), ms) <= 0)
        return;
    if (fds[OUT].revents & (POLLERR | POLLHUP))
        t->screen.gone = true;
    if (fds[KEYS].revents)
        read_keys(t);
}

static void summarise(struct tail *t, uint64_t now_ns, uint64_t every_ns)
{
    char text[512];
    if (every_ns && now_ns - t->stats.span_ns >= every_ns) {
        tail_stats_span(&t->stats, now_ns, text, sizeof text);
        if (t->json)
            remark(t, text);
        else
            tail_view_note(&t->view, "%s", text);
    }
    tail_bottom(t, now_ns);
}

/* One look at everything. False: it is over. */
static bool step(struct tail *t, uint64_t every_ns, int *exit_status)
{
    static char last_failure[sizeof((struct err *)0)->text];
    struct err e = {0};
    enum log_follow_state state = log_follow_run(t->follow, BYTES_A_RUN, &e);
    bool caught_up = state == FOLLOW_CAUGHT_UP || state == FOLLOW_ENDED;
    if (state == FOLLOW_FAILED && strcmp(e.text, last_failure) != 0)
        remark(t, e.text);
    memcpy(last_failure, e.text, sizeof last_failure);
    if (caught_up && t->in_backlog)
        end_backlog(t);
    uint64_t now_ns = clock_mono_ns();
    tail_catch_up(t);
    summarise(t, now_ns, every_ns);
    screen_flush(&t->screen, &t->stop);
    if (state == FOLLOW_ENDED ||
        (no_follow && state != FOLLOW_MORE && log_follow_fd(t->follow) != STDIN_FILENO)) {
        *exit_status = state == FOLLOW_FAILED ? EXIT_UNREACHABLE : EXIT_GOOD;
        return false;
    }
    int ms = state == FOLLOW_FAILED ? FAILED_WAIT_MS : wait_ms(t, now_ns, every_ns);
    wait_for_something(t, ms);
    heed_signals(t);
    return !t->stop && !t->quit && !t->screen.gone;
}

static void say_goodbye(struct tail *t)
{
    char text[512];
    screen_bottom(&t->screen, STYLE_NONE, STR(""));
    if (t->screen.terminal && !t->no_summary && (t->stop || t->quit) && t->stats.whole.requests) {
        tail_stats_whole(&t->stats, clock_mono_ns(), text, sizeof text);
        tail_view_note(&t->view, "%s", text);
    }
    if (t->json && t->unread)
        fprintf(stderr, "weir tail: %llu lines are no JSON and were not printed\n",
                (unsigned long long)t->unread);
    if (t->withheld)
        fprintf(stderr,
                "weir tail: %llu lines are not printed, for they are not quite JSON and may hold "
                "contents; see --show-content\n",
                (unsigned long long)t->withheld);
}

/* ---- from options to a tail ---- */

static void take_filter(struct log_filter *f)
{
    *f = (struct log_filter){.slow_only = slow_ms > 0, .slow_us = slow_ms * 1000};
    log_filter_add(f, LOG_model, model);
    log_filter_add(f, LOG_provider, provider);
    log_filter_add(f, LOG_key_alias, key_alias);
    log_filter_add(f, LOG_user, user);
    log_filter_add(f, LOG_level, level);
    log_filter_add_status(f, status);
}

static bool take_options(struct tail *t, bool is_stream, int64_t *every_us, struct err *e)
{
    t->errors = errors;
    t->json = json;
    t->no_summary = no_summary;
    t->view.show_content = show_content;
    t->since_us = INT64_MIN;
    take_filter(&t->filter);
    if (since_text && lines >= 0)
        return err_set(e, "--since and -n both say where to begin: give one of them");
    if (is_stream && lines >= 0)
        return err_set(e, "-n: standard input is shown from where it is; expected a file");
    if (is_stream && isatty(STDIN_FILENO))
        return err_set(e, "standard input is a terminal; expected a pipe: zcat FILE | weir tail -");
    if (json && fields)
        return err_set(
            e, "--json prints whole lines, --fields some of what is in them: give one of them");
    if (since_text && !when_parse(str_from(since_text), clock_real_us(), &t->since_us, e))
        return err_prefix(e, "--since");
    if (where_text) {
        t->filter.where = where = log_where_parse(str_from(where_text), clock_real_us(), e);
        if (!where)
            return err_prefix(e, "--where");
    }
    if (every_text && !when_span(str_from(every_text), every_us, e))
        return err_prefix(e, "--summary-every");
    return !fields || tail_view_fields(&t->view, fields, e);
}

static void choose_begin(struct tail *t, struct log_follow_options *o)
{
    uint64_t wanted = lines >= 0 ? (uint64_t)lines : BACKLOG_LINES;
    bool filtered = t->errors || !log_filter_is_empty(&t->filter);
    t->in_backlog = strcmp(o->path, "-") != 0;
    o->start = since_text ? FOLLOW_FROM_TIME : FOLLOW_LAST_LINES;
    o->last_lines = wanted;
    o->since_us = t->since_us;
    t->backlog_is_kept = t->in_backlog && !since_text && filtered && wanted > 0;
    if (!t->backlog_is_kept)
        return;
    o->last_lines = MAX(wanted, (uint64_t)BACKLOG_LOOKED_AT);
    t->backlog_lines = MIN(wanted, o->last_lines);
}

static int follow(struct tail *t, const char *path, int64_t every_us)
{
    struct err e = {0};
    int exit_status = EXIT_GOOD;
    struct log_follow_options o = {.path = path,
                                   .poll_only = poll_only,
                                   .take = tail_take,
                                   .broken = tail_take_broken,
                                   .event = on_event,
                                   .arg = t};
    choose_begin(t, &o);
    if (!no_follow || access(path, F_OK) == 0 || !t->in_backlog)
        t->follow = log_follow_open(&o, &e);
    else
        err_set(&e, "%s is not there: name the log, or leave --no-follow out to wait for it", path);
    if (!t->follow) {
        fprintf(stderr, "weir tail: %s\n", e.text);
        return EXIT_UNREACHABLE;
    }
    screen_open(&t->screen, json ? COLOR_NEVER : (enum color_mode)color);
    t->view.term = &t->screen.term;
    tail_keep(t, t->backlog_is_kept                ? t->backlog_lines
                 : t->screen.keys_fd >= 0 && !json ? TAIL_KEPT_LINES
                                                   : 0);
    catch_signals(t->screen.live);
    tail_stats_init(&t->stats, clock_mono_ns());
    if (t->screen.terminal && !json)
        tail_view_heading(&t->view);
    while (step(t, (uint64_t)every_us * NS_PER_US, &exit_status))
        ;
    say_goodbye(t);
    screen_close(&t->screen);
    log_follow_close(t->follow);
    return exit_status;
}

static int run(int argc, char **argv)
{
    struct err e = {0};
    int64_t every_us = 0;
    const char *path = argc > 0 ? argv[0] : default_log();
    if (argc > 1)
        err_set(&e, "expected one FILE, got %s as well; weir analyze reads several", argv[1]);
    if (argc > 1 || !take_options(&tail, strcmp(path, "-") == 0, &every_us, &e)) {
        fprintf(stderr, "weir tail: %s\n", e.text);
        return EXIT_USAGE;
    }
    buf_init(&tail.public, 0, NULL);
    logline_init(&tail.line);
    int exit_status = follow(&tail, path, every_us);
    tail_keep(&tail, 0);
    tail_stats_fini(&tail.stats);
    buf_fini(&tail.public);
    log_where_free(where);
    return exit_status;
}

const struct command cmd_tail = {
    .name = "tail",
    .summary = "show requests as they go by",
    .usage = "weir tail [FILE] [options]      (FILE: a log that grows, through rotations; - is "
             "standard input)",
    .examples = "  weir tail                                       " DEFAULT_LOG "\n"
                "  weir tail --model llama3.1:8b\n"
                "  weir tail --level ERROR --since \"1 hour ago\"\n"
                "  weir tail --status 5xx,429 --fields timestamp,model,http_status,error.message\n"
                "  weir tail --json --slow 5000 | jq .request_id\n",
    .options = options,
    .run = run,
};
