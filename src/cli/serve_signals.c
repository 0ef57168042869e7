/* serve_signals.c -- `weir serve` from ready to end: what each signal does, and who is told.
 *
 *   SIGHUP            reload the configuration
 *   SIGUSR1           open the log anew (rotation)
 *   SIGUSR2           start this program again and hand the listening sockets over to it
 *   SIGTERM, SIGINT   drain: no new connections, open ones may finish; a second one ends at once. A successor that is not ready yet ends first
 *
 * Signals come through a signalfd, so everything here runs between two events of the control thread's loop. What systemd is told of it is service.c's. A
 * process that has handed over says nothing any more: the service is the new one. */
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/diag.h"
#include "cli/serve.h"
#include "cli/service.h"
#include "gateway/reload.h"

#define LOOK_NS (10 * NS_PER_MS)

struct serving {
    struct watch watch;
    struct gateway *gateway;
    struct loop *loop;
    struct handover *handover;
    struct service *service; /* NULL: not ready yet, or never ours */
    struct timer look;       /* while draining: are all workers done? */
    const char *stopped_by;  /* SIGTERM came, or SIGINT; NULL: not yet */
    bool draining; /* and a successor that was not ready yet, if there was one, has ended */
};

static sigset_t mask_before; /* what a successor is started with */

static uint64_t connections_left(const struct gateway *g)
{
    uint64_t left = 0;
    for (int i = 0; i < g->worker_count; i++)
        left += COUNTER_GET(http_server_counters(g->workers[i].server)->open);
    return left;
}

/* After a handover requests may take the time they need: nobody waits for this process to end. */
static void look(struct timer *t)
{
    struct serving *s = CONTAINER(t, struct serving, look);
    uint64_t limit_ns = (uint64_t)s->gateway->snapshot->config->drain_timeout_ms * NS_PER_MS;
    uint64_t since_ns = loop_now_ns(s->loop) - s->gateway->drain_started_ns;
    uint64_t left = connections_left(s->gateway);
    if (gateway_drained(s->gateway) || (s->draining && since_ns > limit_ns)) {
        loop_stop(s->loop);
        return;
    }
    service_draining(s->service, s->gateway, left);
    timer_set(s->loop, t, loop_now_ns(s->loop) + LOOK_NS);
}

static void drain(void *arg)
{
    struct serving *s = arg;
    s->draining = true;
    diag_info("%s: no new connections; %llu open ones may finish within %lld s", s->stopped_by,
              (unsigned long long)connections_left(s->gateway),
              (long long)s->gateway->snapshot->config->drain_timeout_ms / 1000);
    gateway_drain(s->gateway);
    service_stopping(s->service, s->gateway, connections_left(s->gateway));
    timer_set(s->loop, &s->look, loop_now_ns(s->loop) + 1);
}

static void stop(struct serving *s, const char *why)
{
    if (s->stopped_by) {
        diag_warn("a second signal: not waiting any longer");
        handover_kill(s->handover);
        gateway_stop_now(s->gateway);
        loop_stop(s->loop);
        return;
    }
    s->stopped_by = why;
    if (!handover_stop(s->handover, drain))
        drain(s);
}

/* ---- signals ---- */

static void on_reload_signal(struct serving *s)
{
    if (s->stopped_by || s->gateway->draining)
        diag_info("SIGHUP: not reloading any more, this process is about to end");
    else
        gateway_reload(s->gateway, RELOAD_BY_SIGNAL);
}

static void on_handover_signal(struct serving *s)
{
    struct err e = {0};
    if (s->stopped_by || s->gateway->draining)
        diag_info("SIGUSR2: nothing to hand over any more, this process is about to end");
    else if (handover_spawn(s->handover, &mask_before, &e))
        diag_info("SIGUSR2: started this program again; it takes over once it is ready");
    else
        diag_error("SIGUSR2: %s; this one goes on", e.text);
}

static void on_signal(struct watch *w, uint32_t events)
{
    struct serving *s = CONTAINER(w, struct serving, watch);
    struct signalfd_siginfo info;
    (void)events;
    while (read(w->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        switch (info.ssi_signo) {
        case SIGUSR1:
            if (s->gateway->log)
                log_reopen(s->gateway->log);
            break;
        case SIGHUP: on_reload_signal(s); break;
        case SIGUSR2: on_handover_signal(s); break;
        case SIGCHLD: handover_reap(s->handover); break;
        default: stop(s, strsignal((int)info.ssi_signo));
        }
    }
}

int serve_block_signals(void)
{
    static const int taken[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < COUNT(taken); i++)
        sigaddset(&set, taken[i]);
    sigprocmask(SIG_BLOCK, &set, &mask_before);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- handover ---- */

static void handed_over(void *arg, pid_t successor)
{
    struct serving *s = arg;
    service_hand_over(s->service, successor);
    diag_info("handed over to process %d; %llu open connections end here in their own time",
              (int)successor, (unsigned long long)connections_left(s->gateway));
    if (s->stopped_by && !s->draining)
        drain(s);
    timer_set(s->loop, &s->look, loop_now_ns(s->loop) + 1);
}

/* False: the old process goes on, and so this one must end. */
static bool finish_takeover(struct takeover *t, struct err *e)
{
    if (t->socket < 0)
        return true;
    bool taken = takeover_ready(t, e);
    if (taken)
        diag_info("process %d has taken the listening sockets over (%d)", (int)getpid(),
                  t->listeners.count);
    takeover_end(t);
    return taken;
}

bool serve_stop_is_asked(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

int serve_until_end(struct gateway *g, int signal_fd, struct takeover *takeover,
                    void (*say_ready)(const struct gateway *g), struct service **service,
                    struct err *e)
{
    struct serving s = {.watch = {.fd = signal_fd, .on_event = on_signal},
                        .gateway = g,
                        .loop = g->control,
                        .look = {.on_fire = look}};
    ENSURE(loop_add_level(g->control, &s.watch, 0));
    bool ours = finish_takeover(takeover, e);
    if (ours) {
        s.handover = handover_new(g, handed_over, &s);
        say_ready(g);
        s.service = service_ready(g);
    } else { /* what was accepted meanwhile is answered; the sockets, and what systemd hears, stay the old one's */
        gateway_retire(g);
        timer_set(g->control, &s.look, loop_now_ns(g->control) + 1);
    }
    loop_run(g->control);
    handover_free(s.handover);
    timer_clear(g->control, &s.look);
    loop_remove(g->control, &s.watch);
    close(signal_fd);
    *service = s.service;
    return ours ? EXIT_GOOD : EXIT_PROBLEM;
}
