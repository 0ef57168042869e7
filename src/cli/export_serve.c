/* export_serve.c -- `weir export` as a service: one thread, one loop, four things in it.
 *
 *   the log     read a piece a pass, so that a scrape never waits long; looked at again when inotify tells of a change (but not more
 *               often than LOOK_MS: a busy log changes with every line) or when log_follow wants to
 *   HTTP        /metrics, health, a short page
 *   the state   saved every few seconds
 *   signals     SIGTERM, SIGINT, SIGHUP: save, tell systemd, end
 *
 * Until what was there at the start has been read /metrics answers 503: half of it would look to Prometheus like a burst of
 * requests, and after a restart like counters that went backwards. */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/export.h"
#include "cli/notify.h"
#include "cli/version.h"
#include "http/gzip.h"
#include "http/server.h"

#define READ_BYTES (4u << 20) /* a pass */
#define LOOK_MS    100
#define RETRY_MS   1000 /* after a read that failed */
#define DRAIN_MS   1000 /* for answers on their way, at the end */

struct service {
    struct exporter *x;
    struct loop *loop;
    struct http_server *http;
    struct watch signals, changes;
    struct timer look, save, drain;
    uint64_t save_every_ns;
    struct err read_error; /* the one that was told last */
    bool ready_told, ending;
    uint64_t ending_ns; /* since when */
};

/* ---- endpoints ---- */

static void answer_liveliness(struct service *s, struct http_conn *c, const struct http_request *q)
{
    (void)s, (void)q;
    http_reply(c, 200, STR("application/json"), STR_NONE, STR("\"I'm alive!\""));
}

static void answer_readiness(struct service *s, struct http_conn *c, const struct http_request *q)
{
    const struct exporter *x = s->x;
    struct buf body;
    (void)q;
    buf_init(&body, 0, NULL);
    const char *status = exporter_ready(x) ? "healthy" : x->missing ? "log missing" : "reading";
    ENSURE(buf_printf(&body, "{\"status\":\"%s\",\"log\":", status) &&
           json_write_string(&body, str_from(x->log)) &&
           buf_printf(&body, ",\"requests\":%llu,\"behind_bytes\":%llu}",
                      (unsigned long long)x->lm.stats.requests,
                      (unsigned long long)log_follow_behind_bytes(x->follow)));
    http_reply(c, exporter_ready(x) ? 200 : 503, STR("application/json"), STR_NONE, buf_str(&body));
    buf_fini(&body);
}

static void answer_metrics(struct service *s, struct http_conn *c, const struct http_request *q)
{
    const char *content_type;
    struct buf body;
    if (!s->x->caught_up) {
        http_reply(
            c, 503, STR("text/plain; charset=utf-8"), STR("retry-after: 1\r\n"),
            STR("still reading what is in the log already; /health/readiness says how far\n"));
        return;
    }
    enum metrics_format format = metrics_negotiate(h1_get(q->head, H1_ACCEPT), &content_type);
    buf_init(&body, 0, NULL);
    exporter_write(s->x, format, &body);
    bool packed = gzip_accepted(h1_get(q->head, H1_ACCEPT_ENCODING)) && gzip_body(&body);
    http_reply(
        c, 200, str_from(content_type),
        packed
            ? STR("content-encoding: gzip\r\nvary: accept-encoding\r\ncache-control: no-store\r\n")
            : STR("vary: accept-encoding\r\ncache-control: no-store\r\n"),
        buf_str(&body));
    buf_fini(&body);
}

static void answer_page(struct service *s, struct http_conn *c, const struct http_request *q)
{
    struct buf body;
    (void)q;
    buf_init(&body, 0, NULL);
    ENSURE(buf_printf(&body,
                      "weir export %s: metrics of the request log %s\n\n"
                      "/metrics             for Prometheus, in its text format or OpenMetrics\n"
                      "/health/readiness    200 once the log is there and was read to its end\n"
                      "/health/liveliness   200 as long as this runs\n",
                      weir_version, s->x->log));
    http_reply(c, 200, STR("text/plain; charset=utf-8"), STR("x-content-type-options: nosniff\r\n"),
               buf_str(&body));
    buf_fini(&body);
}

static const struct page {
    const char *path;
    void (*answer)(struct service *s, struct http_conn *c, const struct http_request *q);
} pages[] = {
    {"/", answer_page},
    {"/metrics", answer_metrics},
    {"/metrics/", answer_metrics}, /* where LiteLLM has it */
    {"/health/liveliness", answer_liveliness},
    {"/health/liveness", answer_liveliness},
    {"/health/readiness", answer_readiness},
};

static const struct page *page_of(const struct h1_head *h)
{
    for (size_t i = 0; i < COUNT(pages); i++)
        if (str_eq(h->path, str_from(pages[i].path)))
            return &pages[i];
    return NULL;
}

static enum error_code on_head(struct http_conn *c, const struct h1_head *h)
{
    (void)c;
    if (!page_of(h))
        return ERR_NOT_FOUND;
    return h->method == H1_GET || h->method == H1_HEAD ? ERR_NONE : ERR_METHOD_NOT_ALLOWED;
}

static void on_request(struct http_conn *c, struct http_request *r)
{
    const struct page *page = page_of(r->head);
    page->answer(http_server_user(http_conn_server(c)), c, r);
}

static void on_gone(struct http_conn *c)
{
    (void)c; /* answers are given at once: there is nothing to let go of */
}

static void write_error(struct http_conn *c, enum error_code code, const char *detail,
                        struct buf *body)
{
    const struct error_info *info = error_info(code);
    (void)c;
    ENSURE(
        buf_printf(body, "{\"error\":{\"message\":") &&
        json_write_string(body, str_from(detail ? detail : info->sentence)) &&
        buf_printf(body, ",\"type\":\"%s\",\"code\":\"%d\"}}", info->api_type, info->http_status));
}

static const struct http_handler handler = {
    .on_head = on_head, .on_request = on_request, .on_gone = on_gone, .write_error = write_error};

static const struct http_limits limits = {
    .max_head_bytes = H1_HEAD_BYTES_MAX,
    .max_body_bytes = 4096, /* nobody needs one */
    .max_connections = 256,
    .head_timeout_ms = 10000,
    .body_timeout_ms = 10000,
    .idle_timeout_ms = 120000,
    .write_timeout_ms = 30000,
};

/* ---- the log ---- */

static void arm(struct service *s, struct timer *t, uint64_t in_ns)
{
    timer_set(s->loop, t, loop_now_ns(s->loop) + in_ns + 1);
}

static void tell_ready(struct service *s)
{
    const struct exporter *x = s->x;
    if (s->ready_told || !x->caught_up)
        return;
    s->ready_told = true;
    diag_info("%s: %llu requests counted%s", x->log, (unsigned long long)x->lm.stats.requests,
              x->missing ? "; there is no such file yet: waiting for it" : "");
    notify_service("READY=1");
}

/* Said once, not with each try. */
static void tell_read_error(struct service *s, const struct err *e)
{
    if (strcmp(e->text, s->read_error.text) != 0)
        diag_warn("%s; trying again", e->text);
    s->read_error = *e;
}

static void look(struct timer *t)
{
    struct service *s = CONTAINER(t, struct service, look);
    struct err e = {0};
    enum log_follow_state state = exporter_read(s->x, READ_BYTES, &e);
    int wait_ms = log_follow_wait_ms(s->x->follow);
    tell_ready(s);
    switch (state) {
    case FOLLOW_MORE: arm(s, t, 0); break;
    case FOLLOW_CAUGHT_UP:
        s->read_error.text[0] = '\0';
        if (wait_ms >= 0)
            arm(s, t, (uint64_t)wait_ms * NS_PER_MS);
        break;
    case FOLLOW_FAILED:
        tell_read_error(s, &e);
        arm(s, t, RETRY_MS * NS_PER_MS);
        break;
    case FOLLOW_ENDED: loop_stop(s->loop); break;
    }
}

static void on_change(struct watch *w, uint32_t events)
{
    struct service *s = CONTAINER(w, struct service, changes);
    uint64_t soon_ns = loop_now_ns(s->loop) + LOOK_MS * NS_PER_MS;
    (void)events;
    if (!s->ending && (!timer_armed(&s->look) || s->look.due_ns > soon_ns))
        timer_set(s->loop, &s->look, soon_ns);
}

static void save(struct timer *t)
{
    struct service *s = CONTAINER(t, struct service, save);
    exporter_save(s->x, false);
    arm(s, t, s->save_every_ns);
}

/* ---- the end ---- */

static void drained(struct timer *t)
{
    struct service *s = CONTAINER(t, struct service, drain);
    bool waited = loop_now_ns(s->loop) - s->ending_ns > DRAIN_MS * NS_PER_MS;
    if (http_server_open(s->http) == 0 || waited)
        loop_stop(s->loop);
    else
        arm(s, t, 10 * NS_PER_MS);
}

static void on_signal(struct watch *w, uint32_t events)
{
    struct service *s = CONTAINER(w, struct service, signals);
    struct signalfd_siginfo info;
    (void)events;
    while (read(w->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (s->ending) {
            loop_stop(s->loop); /* a second one: no waiting for answers on their way */
            return;
        }
        s->ending = true;
        s->ending_ns = loop_now_ns(s->loop);
        diag_info("%s: ending", strsignal((int)info.ssi_signo));
        notify_service("STOPPING=1");
        timer_clear(s->loop, &s->look);
        timer_clear(s->loop, &s->save);
        http_server_drain(s->http);
        drained(&s->drain);
    }
}

static int signals_open(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- the beginning ---- */

/* "127.0.0.1:9464", "[::1]:9464", "*:9464", ":9464", "9464", "unix:/path". */
static bool parse_listen(const char *text, struct str *host, uint16_t *port, struct err *e)
{
    struct str all = str_from(text), digits = all;
    int64_t number = 0;
    *host = all;
    *port = 0;
    if (str_starts(all, STR("unix:")))
        return true;
    const char *colon = strrchr(text, ':');
    *host = STR("127.0.0.1");
    if (colon) {
        *host = (struct str){text, (size_t)(colon - text)};
        digits = str_from(colon + 1);
    }
    if (host->n == 0)
        *host = STR("*");
    if (str_eq(*host, STR("localhost")))
        *host = STR("127.0.0.1");
    if (!str_to_i64(digits, &number) || number < 0 || number > 65535)
        return err_set(e,
                       "--listen: expected ADDRESS:PORT, such as 127.0.0.1:9464, [::1]:9464, "
                       "*:9464 or unix:/path, got \"%s\"",
                       text);
    *port = (uint16_t)number;
    return true;
}

static bool open_http(struct service *s, struct str host, uint16_t port, struct err *e)
{
    char where[128];
    struct sock_addr bound = {.len = sizeof bound.storage};
    int fd = sock_listen(host, port, false, 64, e);
    if (fd < 0)
        return false;
    ENSURE(getsockname(fd, &bound.any, &bound.len) == 0);
    s->http = http_server_new(s->loop, &limits, &handler, s);
    if (!http_server_listen(s->http, fd, NULL))
        return err_set(e, "cannot listen on %.*s", STR_ARG(host));
    struct str at = sock_addr_text(&bound, where, sizeof where);
    diag_info("weir export %s: listens on %s%.*s, follows %s; state: %s", weir_version,
              bound.any.sa_family == AF_UNIX ? "" : "http://", STR_ARG(at), s->x->log,
              s->x->state.path ? s->x->state.path : "none");
    return true;
}

static void begin(struct service *s)
{
    /* A file that epoll does not take is looked at by the clock. */
    if (s->changes.fd >= 0 && !loop_add(s->loop, &s->changes))
        s->changes.fd = -1;
    ENSURE(loop_add_level(s->loop, &s->signals, 0));
    arm(s, &s->look, 0);
    if (s->x->state.path)
        arm(s, &s->save, s->save_every_ns);
}

int export_serve(struct exporter *x, const char *listen, int64_t save_every_us)
{
    struct err e = {0};
    struct str host;
    uint16_t port;
    if (!parse_listen(listen, &host, &port, &e)) {
        diag_error("%s", e.text);
        return EXIT_USAGE;
    }
    struct service s = {.x = x,
                        .loop = loop_new(),
                        .signals = {.fd = signals_open(), .on_event = on_signal},
                        .changes = {.fd = log_follow_fd(x->follow), .on_event = on_change},
                        .look = {.on_fire = look},
                        .save = {.on_fire = save},
                        .drain = {.on_fire = drained},
                        .save_every_ns = (uint64_t)save_every_us * NS_PER_US};
    bool ok = open_http(&s, host, port, &e);
    if (ok) {
        begin(&s);
        loop_run(s.loop);
        exporter_save(x, true);
        loop_remove(s.loop, &s.signals);
        if (s.changes.fd >= 0)
            loop_remove(s.loop, &s.changes);
        timer_clear(s.loop, &s.look);
        timer_clear(s.loop, &s.save);
        timer_clear(s.loop, &s.drain);
    } else {
        diag_error("%s", e.text);
    }
    if (s.http)
        http_server_free(s.http);
    loop_settle(s.loop);
    loop_free(s.loop);
    close(s.signals.fd);
    return ok ? EXIT_GOOD : EXIT_UNREACHABLE;
}
