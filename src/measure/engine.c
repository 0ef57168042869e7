/* engine.c -- the engine as a whole: checked, started on its threads, asked, stopped, and what it says of itself. */
#include "measure/engine_internal.h"

#include <errno.h>
#include <math.h>

#include "net/sock.h"

#define START_DELAY_NS   (2 * NS_PER_MS) /* from "all are ready" to the first stage */
#define CONNECTIONS_MAX  20000u          /* a host has some 28,000 ports towards one other */
#define FILES_KEPT_FREE  128u
#define HEADERS_OF_FRESH "connection: close\r\n"

/* ---- starting ---- */

static bool check_options(const struct engine_options *o, struct err *e)
{
    const struct arrivals_plan *p = o->plan;
    if (!o->target || !o->prompts || !p || !o->on_sample)
        return err_set(e, "the engine needs a target, prompts, a plan and somebody to tell");
    if (p->stage_count == 0 && !p->replay)
        return err_set(e, "the plan has no stage: nothing would be sent");
    if (o->threads > ENGINE_THREADS_MAX)
        return err_set(e, "%u threads: at most %d are possible", o->threads, ENGINE_THREADS_MAX);
    if (p->prompt_count > prompts_count(o->prompts))
        return err_set(e, "the plan has %zu prompts, and there are %zu", p->prompt_count,
                       prompts_count(o->prompts));
    for (size_t i = 0; i < p->stage_count; i++) {
        const struct stage *s = &p->stages[i];
        bool nobody = s->from < 0.5 && s->to < 0.5; /* as arrivals_users rounds */
        if (s->kind == STAGE_USERS && !p->replay && nobody && !s->duration_ns)
            return err_set(e, "stage %zu has neither users nor a duration: it would never end",
                           i + 1);
    }
    return true;
}

static void make_head(struct engine *e)
{
    const struct measure_target *t = e->o.target;
    struct str below = prompts_path(e->o.prompts);
    struct str path = arena_printf(&e->arena, "%.*s%.*s", STR_ARG(t->base_path), STR_ARG(below));
    struct str head = measure_target_head(t, &e->arena, STR("POST"), path);
    e->head = e->o.fresh_connections
                  ? arena_printf(&e->arena, "%.*s" HEADERS_OF_FRESH, STR_ARG(head))
                  : head;
}

static void name_run(struct engine *e)
{
    struct rng r;
    rng_seed(&r, 0);
    rng_hex(&r, e->id_prefix, 11);
    e->id_prefix[11] = '-';
    e->nonce_salt = rng_next(&r);
}

static uint32_t connections_max(const struct engine_options *o)
{
    uint64_t files = sock_raise_file_limit();
    uint64_t most = files > 2 * FILES_KEPT_FREE ? files - FILES_KEPT_FREE : files / 2;
    return o->connections_max ? o->connections_max : (uint32_t)MIN(most, CONNECTIONS_MAX);
}

static struct engine *new_engine(const struct engine_options *o)
{
    struct engine *e = mem_alloc(sizeof *e);
    e->o = *o;
    e->thread_count = o->threads ? o->threads : 1;
    e->o.connect_timeout_ms = o->connect_timeout_ms > 0
                                  ? o->connect_timeout_ms
                                  : measure_connect_timeout_ms(o->total_timeout_ms);
    arena_init(&e->arena, NULL, 0);
    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_t steady; /* waits are spans, whatever is done to the clock of day */
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&e->changed, &steady);
    pthread_condattr_destroy(&steady);
    size_t stages = MAX(o->plan->stage_count, 1u);
    e->tickets = mem_alloc(stages * sizeof *e->tickets);
    e->ticket_ends_ns = mem_alloc(stages * sizeof *e->ticket_ends_ns);
    name_run(e);
    make_head(e);
    e->threads = mem_alloc(e->thread_count * sizeof *e->threads);
    uint32_t slots = connections_max(o);
    for (unsigned i = 0; i < e->thread_count; i++) {
        struct engine_thread *t = &e->threads[i];
        t->engine = e;
        t->index = i;
        t->slot_max = MAX(slots / e->thread_count + (i < slots % e->thread_count), 1u);
        t->loop = loop_new();
    }
    return e;
}

/* Once all threads are ready, the first stage begins a little later, at one moment for all. */
static void begin_together(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    while (e->ready < e->threads_started)
        pthread_cond_wait(&e->changed, &e->lock);
    e->start_ns = clock_mono_ns() + START_DELAY_NS;
    e->start_real_us = clock_real_us() + (int64_t)(START_DELAY_NS / NS_PER_US);
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

struct engine *engine_start(const struct engine_options *o, struct err *err)
{
    if (!check_options(o, err))
        return NULL;
    struct engine *e = new_engine(o);
    int error = 0;
    for (unsigned i = 0; i < e->thread_count && !error; i++) {
        struct engine_thread *t = &e->threads[i];
        __atomic_add_fetch(&e->running, 1, __ATOMIC_RELEASE);
        error = pthread_create(&t->id, NULL, engine_thread_main, t);
        if (error) {
            __atomic_sub_fetch(&e->running, 1, __ATOMIC_RELEASE);
        } else {
            e->threads_started++;
            pthread_setname_np(t->id, "weir-measure");
        }
    }
    if (error)
        e->stop = true;
    begin_together(e);
    if (!error)
        return e;
    err_set(err, "thread %u of %u could not be started: %s", e->threads_started + 1,
            e->thread_count, strerror(error));
    engine_free(e);
    return NULL;
}

/* ---- while it runs ---- */

void engine_progress(const struct engine *e, struct engine_progress *out)
{
    *out = (struct engine_progress){0};
    for (unsigned i = 0; i < e->thread_count; i++) {
        const struct engine_thread *t = &e->threads[i];
        const struct engine_counters *c = &t->counters;
        out->ended += COUNTER_GET(c->ended); /* before `sent`: never more ended than sent */
        out->ok += COUNTER_GET(c->ok);
        out->failed += COUNTER_GET(c->failed);
        out->sent += COUNTER_GET(c->sent);
        out->dropped += COUNTER_GET(c->dropped);
        out->in_flight += COUNTER_GET(c->in_flight);
        out->chunks += COUNTER_GET(c->chunks);
        out->connects += COUNTER_GET(t->net.connects);
        out->bytes_in += COUNTER_GET(t->net.bytes_in);
        out->stage = MAX(out->stage, (uint32_t)COUNTER_GET(c->stage));
    }
    uint64_t now_ns = clock_mono_ns();
    out->elapsed_ns = now_ns > e->start_ns ? now_ns - e->start_ns : 0;
    out->over = __atomic_load_n(&e->running, __ATOMIC_ACQUIRE) == 0;
}

void engine_stop(struct engine *e)
{
    __atomic_store_n(&e->stop, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < e->thread_count; i++)
        loop_call(e->threads[i].loop, engine_thread_look, &e->threads[i]);
}

void engine_cancel(struct engine *e)
{
    __atomic_store_n(&e->cancel, true, __ATOMIC_RELEASE);
    engine_stop(e);
}

bool engine_wait(struct engine *e, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (timeout_ms >= 0) {
        int64_t ns = until.tv_nsec + (int64_t)timeout_ms * (int64_t)NS_PER_MS;
        until.tv_sec += ns / (int64_t)NS_PER_S;
        until.tv_nsec = ns % (int64_t)NS_PER_S;
    }
    pthread_mutex_lock(&e->lock);
    int status = 0;
    while (__atomic_load_n(&e->running, __ATOMIC_ACQUIRE) && status == 0)
        status = timeout_ms < 0 ? pthread_cond_wait(&e->changed, &e->lock)
                                : pthread_cond_timedwait(&e->changed, &e->lock, &until);
    bool done = __atomic_load_n(&e->running, __ATOMIC_ACQUIRE) == 0;
    pthread_mutex_unlock(&e->lock);
    return done;
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    engine_stop(e);
    for (unsigned i = 0; i < e->threads_started; i++)
        pthread_join(e->threads[i].id, NULL);
    for (unsigned i = 0; i < e->thread_count; i++) {
        struct engine_thread *t = &e->threads[i];
        histogram_fini(&t->lag);
        histogram_fini(&t->late);
        loop_free(t->loop);
    }
    mem_free(e->threads);
    mem_free(e->tickets);
    mem_free(e->ticket_ends_ns);
    arena_fini(&e->arena);
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    mem_free(e);
}

/* ---- what it says of itself ---- */

static void add_thread(struct engine_account *out, const struct engine_thread *t,
                       uint64_t *last_end_ns, double *slots_ns)
{
    out->sent += t->sent;
    out->dropped += t->dropped;
    out->reads += t->reads;
    out->stamped_reads += t->stamped_reads;
    out->stamp_error_max_ns = MAX(out->stamp_error_max_ns, t->stamp_error_max_ns);
    out->in_flight_max += t->in_flight_max;
    out->ticker_stall_max_ns = MAX(out->ticker_stall_max_ns, t->stall_max_ns);
    *last_end_ns = MAX(*last_end_ns, t->measured_last_end_ns);
    *slots_ns += t->slots_ns;
    if (!t->measured_from_ns)
        return;
    if (!out->started_ns || t->measured_from_ns < out->started_ns)
        out->started_ns = t->measured_from_ns;
    out->ended_ns = MAX(out->ended_ns, t->measured_to_ns);
    uint64_t busy_ns = t->cpu_ns > t->spun_measured_ns ? t->cpu_ns - t->spun_measured_ns : 0;
    if (t->cpu_window_ns)
        out->cpu_share = fmax(out->cpu_share, (double)busy_ns / (double)t->cpu_window_ns);
}

void engine_account(const struct engine *e, struct engine_account *out)
{
    struct histogram lag = {0}, late = {0};
    uint64_t last_end_ns = 0;
    double slots_ns = 0;
    *out = (struct engine_account){0};
    for (unsigned i = 0; i < e->thread_count; i++) {
        add_thread(out, &e->threads[i], &last_end_ns, &slots_ns);
        histogram_merge(&lag, &e->threads[i].lag);
        histogram_merge(&late, &e->threads[i].late);
    }
    out->offered = out->sent + out->dropped;
    out->started_real_us =
        e->start_real_us +
        (int64_t)((out->started_ns - MIN(e->start_ns, out->started_ns)) / NS_PER_US);
    out->lag_p50_ns = (double)histogram_quantile(&lag, 0.5);
    out->lag_p99_ns = (double)histogram_quantile(&lag, 0.99);
    out->lag_max_ns = (double)lag.max;
    out->lag_mean_ns = lag.count ? lag.sum / (double)lag.count : 0;
    out->late_p50_ns = (double)histogram_quantile(&late, 0.5);
    out->late_p99_ns = (double)histogram_quantile(&late, 0.99);
    out->late_max_ns = (double)late.max;
    if (last_end_ns > out->started_ns) {
        out->in_flight_window_ns = last_end_ns - out->started_ns;
        out->in_flight_mean = slots_ns / (double)out->in_flight_window_ns;
    }
    histogram_fini(&lag);
    histogram_fini(&late);
}
