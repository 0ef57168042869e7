/* service.c -- the sentences of the conversation with systemd (sd_notify(3)), and the watchdog behind one of them.
 *
 *   start      READY=1, STATUS=ready: ...
 *   running    WATCHDOG=1 at half of WatchdogSec=, but only while all loops turn (watchdog.c)
 *   reload     RELOADING=1, MONOTONIC_USEC=...; then READY=1 with a STATUS of what came of it
 *   handover   MAINPID= of the successor, which then says READY=1 itself
 *   end        STOPPING=1; EXTEND_TIMEOUT_USEC= for as long as connections may finish (drain_timeout_ms), so that TimeoutStopSec= need not be longer
 *   no start   STATUS=cannot start: ..., ERRNO= where the system said why
 *
 * While it drains there is no WATCHDOG=1: workers end one by one, and TimeoutStopSec= is what guards the end. */
#include "cli/service.h"

#include "cli/notify.h"
#include "cli/watchdog.h"

#define STATE_BYTES 1200
#define TEXT_BYTES  900
#define SAY_EVERY_S 1
#define EXTEND_S    10 /* each time; a message a second keeps well within it */

struct service {
    struct watchdog *watchdog; /* NULL: none is wanted */
    uint64_t said_ns;          /* draining: when it was said last */
    bool silent;
};

static void say_ready(const struct gateway *g)
{
    const struct config *c = g->snapshot->config;
    char state[STATE_BYTES], where[GATEWAY_ADDRESS_BYTES];
    gateway_address(g, where);
    snprintf(state, sizeof state, "READY=1\nSTATUS=ready: %u model%s, %u deployment%s, %s",
             c->model_name_count, c->model_name_count == 1 ? "" : "s", c->deployment_count,
             c->deployment_count == 1 ? "" : "s", where);
    notify_service(state);
}

static void say_alive(void *arg)
{
    (void)arg;
    notify_service("WATCHDOG=1");
}

struct service *service_ready(struct gateway *g)
{
    struct service *s = mem_alloc(sizeof *s);
    uint64_t watchdog_us = notify_watchdog_us();
    *s = (struct service){0};
    say_ready(g);
    if (watchdog_us) {
        struct loop **loops = mem_alloc((size_t)g->worker_count * sizeof(struct loop *));
        for (int i = 0; i < g->worker_count; i++)
            loops[i] = g->workers[i].loop;
        s->watchdog = watchdog_new(g->control, loops, g->worker_count, watchdog_us * NS_PER_US / 2,
                                   say_alive, NULL);
        mem_free(loops);
    }
    return s;
}

void service_free(struct service *s)
{
    if (s)
        watchdog_free(s->watchdog);
    mem_free(s);
}

void service_reload(const struct gateway *g, bool begins, const char *problem)
{
    char state[STATE_BYTES], text[TEXT_BYTES];
    if (!begins && !problem) {
        say_ready(g);
        return;
    }
    if (begins) { /* Type=notify-reload: the stamp tells this reload from an older one */
        snprintf(state, sizeof state,
                 "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reading the configuration anew",
                 (unsigned long long)(clock_mono_ns() / NS_PER_US));
    } else {
        notify_value(problem, text, sizeof text);
        snprintf(state, sizeof state,
                 "READY=1\nSTATUS=reload failed, the configuration in force goes on: %s", text);
    }
    notify_service(state);
}

void service_hand_over(struct service *s, pid_t successor)
{
    char state[40];
    watchdog_stop(s->watchdog);
    snprintf(state, sizeof state, "MAINPID=%d", (int)successor);
    notify_service(state);
    s->silent = true;
}

static void say_draining(struct service *s, const struct gateway *g, const char *before,
                         uint64_t left)
{
    char state[STATE_BYTES];
    uint64_t now_ns = loop_now_ns(g->control);
    long long limit_s = (long long)g->snapshot->config->drain_timeout_ms / 1000,
              since_s = (long long)((now_ns - g->drain_started_ns) / NS_PER_S);
    snprintf(state, sizeof state,
             "%sEXTEND_TIMEOUT_USEC=%llu\nSTATUS=draining: %llu connection%s left, for %lld s at "
             "most",
             before, (unsigned long long)EXTEND_S * 1000000, (unsigned long long)left,
             left == 1 ? "" : "s", MAX(limit_s - since_s, 0LL));
    notify_service(state);
    s->said_ns = now_ns;
}

void service_stopping(struct service *s, const struct gateway *g, uint64_t left)
{
    if (!s || s->silent)
        return;
    watchdog_stop(s->watchdog);
    say_draining(s, g, "STOPPING=1\n", left);
}

void service_draining(struct service *s, const struct gateway *g, uint64_t left)
{
    if (s && !s->silent && notify_wanted() &&
        loop_now_ns(g->control) >= s->said_ns + SAY_EVERY_S * NS_PER_S)
        say_draining(s, g, "", left);
}

void service_failed(const struct err *e)
{
    char state[STATE_BYTES], whole[TEXT_BYTES], text[TEXT_BYTES], number[32] = "";
    err_format(e, whole, sizeof whole);
    notify_value(whole, text, sizeof text);
    if (e->os_error)
        snprintf(number, sizeof number, "\nERRNO=%d", e->os_error);
    snprintf(state, sizeof state, "STATUS=cannot start: %s%s", text, number);
    notify_service(state);
}
