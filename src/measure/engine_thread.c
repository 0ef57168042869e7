/* engine_thread.c -- one loop's life: waits for the common start, goes through the stages, lets what is in flight end, and leaves.
 *
 * engine_thread_look is the one place that decides what is next: it goes on to the next stage when one has ended, sends as many as there may be
 * in a stage of users, and sets the timer for when to look again. */
#include "measure/engine_internal.h"

#include <sys/prctl.h>

#define KEPT_IDLE_MS   (300 * 1000)
#define HEAD_BYTES_MAX (64u * 1024)
#define CATCH_UP_NS    (500 * NS_PER_MS)

static uint64_t start_ns(const struct engine_thread *t)
{
    return t->engine->start_ns;
}

static uint64_t offset_of(const struct engine_thread *t, uint64_t now_ns)
{
    return now_ns > start_ns(t) ? now_ns - start_ns(t) : 0;
}

static bool told_to_stop(const struct engine_thread *t)
{
    return __atomic_load_n(&t->engine->stop, __ATOMIC_ACQUIRE);
}

static bool told_to_cancel(const struct engine_thread *t)
{
    return __atomic_load_n(&t->engine->cancel, __ATOMIC_ACQUIRE);
}

static void look_at(struct engine_thread *t, uint64_t offset_ns)
{
    if (offset_ns == UINT64_MAX)
        timer_clear(t->loop, &t->stage_timer);
    else
        timer_set(t->loop, &t->stage_timer, start_ns(t) + offset_ns);
}

/* ---- the measured part ---- */

static uint64_t thread_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
}

void engine_thread_note_stage(struct engine_thread *t, uint32_t stage, bool warm_up)
{
    __atomic_store_n(&t->counters.stage, stage, __ATOMIC_RELAXED);
    if (warm_up || t->measured_from_ns)
        return;
    t->measuring = true;
    t->measured_from_ns = start_ns(t) + t->arrivals.stage_begins_ns;
    t->cpu_window_from_ns = clock_mono_ns();
    t->cpu_from_ns = thread_cpu_ns();
    t->spun_from_ns = t->spun_ns;
}

static void end_measuring(struct engine_thread *t, uint64_t now_ns)
{
    if (!t->measuring)
        return;
    t->measuring = false;
    t->measured_to_ns = now_ns;
    t->cpu_ns = thread_cpu_ns() - t->cpu_from_ns;
    t->spun_measured_ns = t->spun_ns - t->spun_from_ns;
    t->cpu_window_ns = clock_mono_ns() - t->cpu_window_from_ns; /* read last: a thread has a core */
}

/* ---- the end ---- */

static void over(struct engine_thread *t)
{
    t->phase = PHASE_OVER;
    timer_clear(t->loop, &t->stage_timer);
}

/* No more requests. What was due and found no slot is told as such. */
static void run_over(struct engine_thread *t, uint64_t now_ns, uint64_t end_ns)
{
    if (!told_to_stop(t))
        engine_pace_due(t);
    t->phase = PHASE_GRACE;
    end_measuring(t, MIN(now_ns, end_ns));
    while (t->has_next && start_ns(t) + t->next.offset_ns <= now_ns) {
        engine_slot_drop(t, &t->next, start_ns(t) + t->next.offset_ns);
        t->has_next = arrivals_next(&t->arrivals, &t->next);
    }
    t->has_next = false;
    timer_clear(t->loop, &t->pace_timer);
    t->grace_ends_ns = told_to_cancel(t) ? now_ns
                       : t->engine->o.grace_ms < 0
                           ? UINT64_MAX
                           : now_ns + (uint64_t)t->engine->o.grace_ms * NS_PER_MS;
    look_at(t, t->in_flight == 0                ? 0
               : t->grace_ends_ns == UINT64_MAX ? UINT64_MAX
                                                : t->grace_ends_ns - start_ns(t));
}

static void end_grace(struct engine_thread *t, uint64_t now_ns)
{
    if (t->in_flight && now_ns < t->grace_ends_ns && !told_to_cancel(t))
        return;
    engine_slots_cancel(t);
    over(t);
}

/* ---- stages of users ---- */

static uint64_t closed_end(const struct engine_thread *t)
{
    uint64_t *ends = t->engine->ticket_ends_ns;
    uint64_t told = ends ? __atomic_load_n(&ends[t->arrivals.stage], __ATOMIC_ACQUIRE) : 0;
    return MIN(t->arrivals.stage_ends_ns, told ? told : UINT64_MAX);
}

/* May one more request of this stage begin? Who begins the last one ends the stage for all threads. */
static bool take_ticket(struct engine_thread *t, uint64_t now_ns)
{
    struct engine *e = t->engine;
    const struct stage *s = arrivals_stage(&t->arrivals);
    size_t i = t->arrivals.stage;
    if (!s->requests)
        return true;
    uint64_t number = __atomic_fetch_add(&e->tickets[i], 1, __ATOMIC_RELAXED);
    if (number + 1 == s->requests) {
        __atomic_store_n(&e->ticket_ends_ns[i], MAX(offset_of(t, now_ns), 1u), __ATOMIC_RELEASE);
        for (unsigned k = 0; k < e->thread_count; k++)
            loop_call(e->threads[k].loop, engine_thread_look, &e->threads[k]);
    }
    return number < s->requests;
}

static bool draw(struct engine_thread *t, struct arrival *out)
{
    struct engine *e = t->engine;
    bool script = e->o.plan->script != NULL;
    uint64_t at = script ? __atomic_fetch_add(&e->scripted, 1, __ATOMIC_RELAXED) : 0;
    if (arrivals_draw(&t->arrivals, at, out))
        return true;
    engine_stop(e); /* the script is at its end */
    return false;
}

/* As many as there may be. */
static void fill(struct engine_thread *t, uint64_t now_ns)
{
    uint32_t users = arrivals_users(&t->arrivals, offset_of(t, now_ns));
    while (t->in_flight < users && !told_to_stop(t)) {
        struct arrival a;
        struct slot *s = engine_slot_get(t);
        if (!s)
            break;
        if (!take_ticket(t, now_ns) || !draw(t, &a)) { /* who had the last one tells all threads */
            s->next_free = t->free_slots;
            t->free_slots = s;
            return;
        }
        engine_slot_send(s, &a, now_ns, false);
        now_ns = s->x.started_ns;
    }
}

/* True: this stage goes on. */
static bool go_on_closed(struct engine_thread *t, uint64_t now_ns)
{
    uint64_t offset_ns = offset_of(t, now_ns);
    if (offset_ns >= closed_end(t))
        return false;
    fill(t, now_ns);
    uint64_t end_ns = closed_end(t);
    look_at(t, MIN(end_ns, arrivals_users_change(&t->arrivals, offset_ns)));
    return offset_ns < end_ns;
}

/* ---- stages of rates ---- */

static bool is_last(const struct engine_thread *t)
{
    return t->arrivals.stage + 1 >= MAX(t->engine->o.plan->stage_count, 1u);
}

static bool next_is_open(const struct engine_thread *t)
{
    const struct arrivals_plan *p = t->engine->o.plan;
    return !is_last(t) && (p->replay || p->stages[t->arrivals.stage + 1].kind == STAGE_RATE);
}

/* The last stage is over, and something due was not sent. As long as that is this program's fault (there are slots), it is sent late, for a
 * moment: a stall just before the end is no reason to drop what was due in it. */
static void catch_up(struct engine_thread *t, uint64_t now_ns, uint64_t end_ns)
{
    uint64_t allowed_ns = CATCH_UP_NS;
    if (t->engine->o.grace_ms >= 0)
        allowed_ns = MIN(allowed_ns, (uint64_t)t->engine->o.grace_ms * NS_PER_MS);
    bool slots = t->free_slots || t->slot_count < t->slot_max;
    uint64_t offset_ns = offset_of(t, now_ns);
    end_measuring(t, start_ns(t) + end_ns);
    if (slots && offset_ns < end_ns + allowed_ns)
        look_at(t, offset_ns + NS_PER_MS);
    else
        run_over(t, now_ns, start_ns(t) + end_ns);
}

static bool go_on_open(struct engine_thread *t, uint64_t now_ns)
{
    uint64_t offset_ns = offset_of(t, now_ns), end_ns;
    if (!t->has_next)
        t->has_next = arrivals_next(&t->arrivals, &t->next);
    end_ns = t->arrivals.stage_ends_ns;
    if (t->has_next) {
        if (is_last(t) && offset_ns >= end_ns)
            catch_up(t, now_ns, end_ns);
        else
            look_at(t, is_last(t) ? end_ns : UINT64_MAX);
        return true;
    }
    if (next_is_open(t)) /* its requests have due times of their own */
        return false;
    look_at(t, end_ns);
    return offset_ns < end_ns;
}

/* ---- looking ---- */

static void step(struct engine_thread *t, uint64_t now_ns)
{
    while (t->phase == PHASE_RUNNING) {
        bool open = arrivals_open_loop(&t->arrivals);
        uint64_t end_ns;
        if (open ? go_on_open(t, now_ns) : go_on_closed(t, now_ns))
            return;
        end_ns = open ? t->arrivals.stage_ends_ns : closed_end(t);
        if (!arrivals_advance(&t->arrivals, end_ns))
            run_over(t, now_ns, start_ns(t) + end_ns);
    }
}

void engine_thread_look(void *thread)
{
    struct engine_thread *t = thread;
    uint64_t now_ns = clock_mono_ns();
    if (t->phase == PHASE_RUNNING && told_to_stop(t))
        run_over(t, now_ns, now_ns);
    else if (t->phase == PHASE_RUNNING)
        step(t, now_ns);
    else if (t->phase == PHASE_GRACE)
        end_grace(t, now_ns);
}

static void stage_timer_fired(struct timer *timer)
{
    engine_thread_look(CONTAINER(timer, struct engine_thread, stage_timer));
}

void engine_thread_freed(struct engine_thread *t, uint64_t now_ns)
{
    if (t->phase == PHASE_GRACE && t->in_flight == 0)
        over(t);
    else if (t->phase != PHASE_RUNNING)
        return;
    else if (t->has_next)
        engine_pace_check(t);
    else if (arrivals_open_loop(&t->arrivals))
        return;
    else if (offset_of(t, now_ns) < closed_end(t))
        fill(t, now_ns);
    else
        step(t, now_ns);
}

/* ---- the thread ---- */

static void set_up(struct engine_thread *t)
{
    struct engine *e = t->engine;
    struct http_client_limits limits = {
        .connect_timeout_ms = e->o.connect_timeout_ms,
        .idle_timeout_ms = KEPT_IDLE_MS,
        .max_head_bytes = HEAD_BYTES_MAX,
        .max_idle_per_target = e->o.fresh_connections ? 0 : (uint32_t)t->slot_max,
        .stamp_arrivals = !e->o.user_stamps,
        .counters = &t->net,
    };
    prctl(PR_SET_TIMERSLACK, 1ul); /* the default of 50 us would be in every due time */
    pool_init(&t->blocks, BUF_BLOCK_BYTES, 64, "measuring");
    t->resolver = resolver_new(t->loop);
    t->client = http_client_new(t->loop, t->resolver, &t->blocks, &limits, 1);
    arrivals_init(&t->arrivals, e->o.plan, t->index, e->thread_count);
    t->stage_timer.on_fire = stage_timer_fired;
    engine_pace_init(t);
}

static void tear_down(struct engine_thread *t)
{
    engine_pace_fini(t);
    http_client_free(t->client);
    resolver_free(t->resolver);
    engine_slots_fini(t);
    arrivals_fini(&t->arrivals);
    loop_settle(t->loop);
    pool_trim(&t->blocks);
}

static void wait_for_start(struct engine_thread *t)
{
    struct engine *e = t->engine;
    pthread_mutex_lock(&e->lock);
    e->ready++;
    pthread_cond_broadcast(&e->changed);
    while (!e->start_ns)
        pthread_cond_wait(&e->changed, &e->lock);
    pthread_mutex_unlock(&e->lock);
}

void *engine_thread_main(void *arg)
{
    struct engine_thread *t = arg;
    struct engine *e = t->engine;
    set_up(t);
    wait_for_start(t);
    loop_pass(t->loop, 0); /* the loop's time is now */
    t->phase = PHASE_RUNNING;
    look_at(t, 0);
    while (t->phase != PHASE_OVER)
        engine_pace_pass(t);
    tear_down(t);
    pthread_mutex_lock(&e->lock);
    __atomic_sub_fetch(&e->running, 1, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
    return NULL;
}
