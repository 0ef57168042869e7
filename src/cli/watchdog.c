/* watchdog.c -- rounds of calls through all loops.
 *
 *   control                     each worker's loop
 *   tick: owes = true, call ──► runs it: owes = false; the last one of the round ──┐
 *   all_turned: on_alive     ◄──────────────────────────────────────────────── call
 *
 * A round needs control's loop too: for the tick, and for the word that all have turned. So a round that ended proves that each of them ran since it began. */
#include "cli/watchdog.h"

#include "base/diag.h"
#include "base/mem.h"

struct pulse { /* of one loop */
    struct watchdog *dog;
    struct loop *loop;
    bool owes; /* atomic: it was asked, and has not run the call */
};

struct watchdog {
    struct loop *control;
    struct timer tick;
    struct pulse *pulses;
    int count, left; /* `left` is atomic: loops that owe */
    uint64_t every_ns, round_began_ns;
    bool stopped;
    void (*on_alive)(void *arg);
    void *arg;
};

static void all_turned(void *arg)
{
    struct watchdog *d = arg;
    if (!d->stopped)
        d->on_alive(d->arg);
}

/* On the loop that was asked. */
static void turned(void *arg)
{
    struct pulse *p = arg;
    struct watchdog *d = p->dog;
    __atomic_store_n(&p->owes, false, __ATOMIC_RELEASE);
    if (__atomic_sub_fetch(&d->left, 1, __ATOMIC_ACQ_REL) == 0)
        loop_call(d->control, all_turned, d);
}

static void begin_round(struct watchdog *d)
{
    d->round_began_ns = loop_now_ns(d->control);
    __atomic_store_n(&d->left, d->count, __ATOMIC_RELEASE);
    for (int i = 0; i < d->count; i++) {
        __atomic_store_n(&d->pulses[i].owes, true, __ATOMIC_RELEASE);
        loop_call(d->pulses[i].loop, turned, &d->pulses[i]);
    }
}

static void say_who_hangs(const struct watchdog *d)
{
    double seconds = (double)(loop_now_ns(d->control) - d->round_began_ns) / 1e9;
    for (int i = 0; i < d->count; i++)
        if (__atomic_load_n(&d->pulses[i].owes, __ATOMIC_ACQUIRE))
            diag_error("worker %d has not turned for %.1f s: the service manager's watchdog is not "
                       "told that all is well",
                       i, seconds);
}

static void on_tick(struct timer *t)
{
    struct watchdog *d = CONTAINER(t, struct watchdog, tick);
    if (__atomic_load_n(&d->left, __ATOMIC_ACQUIRE) == 0)
        begin_round(d);
    else
        say_who_hangs(d);
    timer_set(d->control, t, loop_now_ns(d->control) + d->every_ns);
}

struct watchdog *watchdog_new(struct loop *control, struct loop *const *loops, int count,
                              uint64_t every_ns, void (*on_alive)(void *arg), void *arg)
{
    struct watchdog *d = mem_alloc(sizeof *d);
    *d = (struct watchdog){.control = control,
                           .tick = {.on_fire = on_tick},
                           .pulses = mem_alloc((size_t)count * sizeof *d->pulses),
                           .count = count,
                           .every_ns = MAX(every_ns, NS_PER_MS),
                           .on_alive = on_alive,
                           .arg = arg};
    for (int i = 0; i < count; i++)
        d->pulses[i] = (struct pulse){d, loops[i], false};
    timer_set(control, &d->tick, loop_now_ns(control) + 1);
    return d;
}

void watchdog_stop(struct watchdog *d)
{
    if (!d || d->stopped)
        return;
    d->stopped = true;
    timer_clear(d->control, &d->tick);
}

void watchdog_free(struct watchdog *d)
{
    if (!d)
        return;
    mem_free(d->pulses);
    mem_free(d);
}
