/* engine_pace.c -- being on time: what is due is sent when it is due, and a thread knows how late it was.
 *
 * With `spin` a thread sleeps until shortly before the next request is due, then polls its sockets without waiting, and for the last few
 * microseconds looks at nothing but the clock. Without, the loop's timer wakes it. Long sleeps are taken in two: the kernel may wake a sleeper of
 * epoll late by a thousandth of the time asked for, whatever its timer slack (select_estimate_accuracy in fs/select.c).
 *
 * Who is behind must not lose its time by connecting: a connection costs ten times what a request over a kept one does. So at most ENGINE_COLD_MAX
 * requests wait for new connections; what is due beyond that waits for one of these, or for one that comes free, and is late. */
#include "measure/engine_internal.h"

#define SPIN_WINDOW_NS   (100 * NS_PER_US) /* a sleep ends late by less than this, 99 times of 100 */
#define SLEEP_LEAST_NS   (200 * NS_PER_US) /* a shorter one costs more than it saves, and precision */
#define PREEMPTED_NS     (20 * NS_PER_US) /* a poll takes less, if the thread is let run */
#define CLOCK_ONLY_NS    (3 * NS_PER_US)  /* a poll that finds nothing takes less */
#define SENDS_A_LOOK     32u              /* then the answers have their turn */
#define SENDS_A_CALLBACK 1u
#define SLEEP_SLACK      512 /* of the sleep; twice what the kernel may add */
#define TICK_NS          (5 * NS_PER_MS)

static uint64_t next_due_ns(const struct engine_thread *t)
{
    return t->engine->start_ns + t->next.offset_ns;
}

static bool still_cold(const struct cold *c)
{
    const struct slot *s = c->slot;
    return s->busy && s->x.started_ns == c->started_ns && !s->x.send_began_ns;
}

static bool may_connect(struct engine_thread *t)
{
    if (t->cold_count < ENGINE_COLD_MAX)
        return true;
    unsigned left = 0;
    for (unsigned i = 0; i < t->cold_count; i++)
        if (still_cold(&t->cold[i]))
            t->cold[left++] = t->cold[i];
    t->cold_count = left;
    return left < ENGINE_COLD_MAX;
}

static bool may_send(struct engine_thread *t)
{
    return (t->free_slots || t->slot_count < t->slot_max) && (t->net.idle || may_connect(t));
}

static void send_one(struct engine_thread *t)
{
    struct slot *s = engine_slot_get(t);
    struct arrival a = t->next;
    uint64_t due_ns = next_due_ns(t);
    t->has_next = arrivals_next(&t->arrivals, &t->next);
    engine_slot_send(s, &a, due_ns, true);
    if (!s->x.send_began_ns && t->cold_count < ENGINE_COLD_MAX)
        t->cold[t->cold_count++] = (struct cold){s, s->x.started_ns};
}

static void send_due(struct engine_thread *t, uint32_t most)
{
    while (most-- && t->has_next && t->phase == PHASE_RUNNING &&
           clock_mono_ns() >= next_due_ns(t) && may_send(t)) {
        send_one(t);
        if (!t->has_next)
            engine_thread_look(t);
    }
}

void engine_pace_due(struct engine_thread *t)
{
    send_due(t, UINT32_MAX);
}

void engine_pace_check(struct engine_thread *t)
{
    if (t->has_next)
        send_due(t, SENDS_A_CALLBACK);
}

static void pace_fired(struct timer *timer)
{
    send_due(CONTAINER(timer, struct engine_thread, pace_timer), SENDS_A_LOOK);
}

static void note_stall(struct engine_thread *t, uint64_t ns)
{
    if (ns > t->stall_max_ns && t->phase == PHASE_RUNNING)
        t->stall_max_ns = ns;
}

/* Finds what the passes cannot see: a process that the machine did not let run. */
static void ticked(struct timer *timer)
{
    struct engine_thread *t = CONTAINER(timer, struct engine_thread, ticker);
    uint64_t now_ns = loop_now_ns(t->loop);
    if (t->tick_due_ns && now_ns > t->tick_due_ns)
        note_stall(t, now_ns - t->tick_due_ns);
    t->tick_due_ns = now_ns + TICK_NS;
    timer_set(t->loop, &t->ticker, t->tick_due_ns);
}

/* Wakes the loop in time for `due_ns`. */
static void arm(struct engine_thread *t, uint64_t now_ns, uint64_t due_ns)
{
    if (timer_armed(&t->pace_timer) && t->paced_for_ns == due_ns)
        return;
    uint64_t sleep_ns = due_ns - now_ns - (t->engine->o.spin ? SPIN_WINDOW_NS : 0);
    t->paced_for_ns = due_ns;
    timer_set(t->loop, &t->pace_timer,
              now_ns + sleep_ns - (sleep_ns > NS_PER_MS ? sleep_ns / SLEEP_SLACK : 0));
}

static void poll_once(struct engine_thread *t, uint64_t now_ns)
{
    uint64_t work = t->work;
    loop_pass(t->loop, 0);
    uint64_t after_ns = loop_now_ns(t->loop);
    if (t->work == work && after_ns > now_ns) /* time in which it did not run is no CPU time */
        t->spun_ns += MIN(after_ns - now_ns, PREEMPTED_NS);
}

void engine_pace_pass(struct engine_thread *t)
{
    uint64_t now_ns = clock_mono_ns();
    note_stall(t, now_ns - loop_now_ns(t->loop));
    if (t->phase != PHASE_RUNNING || !t->has_next) {
        loop_pass(t->loop, -1);
        return;
    }
    uint64_t due_ns = next_due_ns(t);
    if (due_ns <= now_ns && !may_send(t)) {
        loop_pass(t->loop, -1);
        return;
    }
    if (due_ns > now_ns + (t->engine->o.spin ? SPIN_WINDOW_NS + SLEEP_LEAST_NS : 0)) {
        arm(t, now_ns, due_ns);
        loop_pass(t->loop, -1);
        return;
    }
    if (due_ns <= now_ns + CLOCK_ONLY_NS) {
        uint64_t from_ns = now_ns;
        while (now_ns < due_ns)
            now_ns = clock_mono_ns();
        t->spun_ns += now_ns - from_ns;
        send_due(t, SENDS_A_LOOK);
        now_ns = clock_mono_ns();
    }
    poll_once(t, now_ns);
}

void engine_pace_init(struct engine_thread *t)
{
    t->pace_timer.on_fire = pace_fired;
    t->ticker.on_fire = ticked;
    timer_set(t->loop, &t->ticker, loop_now_ns(t->loop) + TICK_NS);
}

void engine_pace_fini(struct engine_thread *t)
{
    timer_clear(t->loop, &t->pace_timer);
    timer_clear(t->loop, &t->ticker);
}
