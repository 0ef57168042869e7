/* load_run.c -- a plan is run: samples taken on the engine's threads, looked at once a second on this one.
 *
 * Each engine thread has a lane: results of its own, which nobody else touches before the run is over, and a window of the second at hand, which
 * this thread exchanges for an empty one under the lane's lock. So a request waits for another thread only while two pointers change places.
 * Where a threshold may end the run, the window has results in full beside it. */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/ending.h"
#include "cli/load.h"

#define WAIT_MS          100
#define GRACE_DEFAULT_MS 30000

struct lane {
    _Alignas(64) pthread_mutex_t lock;
    struct load_window *filling; /* under the lock */
    struct results *recent;      /* the same; NULL: no threshold ends the run */
    struct load_window windows[2];
    struct results *results; /* the thread's */
    uint64_t *dropped;       /* by second from the origin; the thread's */
    size_t dropped_count;
};

struct course {
    const struct load_plan *plan;
    struct sample_log *log;
    struct lane *lanes;
    unsigned threads;
    uint64_t origin_ns;
    bool from_due;
    struct results *so_far; /* for thresholds that end the run, or NULL */
    struct limits_asked limits;
    const struct limit_asked *aborted_by;
    struct load_progress *progress;
    unsigned interrupts;
};

/* ---- taking samples; on the engine's threads ---- */

static void note_dropped(struct lane *l, size_t second)
{
    if (second >= l->dropped_count) {
        size_t count = MAX(second + 1, l->dropped_count * 2);
        l->dropped = mem_realloc(l->dropped, count * sizeof *l->dropped);
        memset(l->dropped + l->dropped_count, 0, (count - l->dropped_count) * sizeof *l->dropped);
        l->dropped_count = count;
    }
    l->dropped[second]++;
}

static void watch_sample(const struct course *c, struct load_window *w, const struct sample *s)
{
    uint64_t from_ns = c->from_due ? s->due_ns : s->sent_first_ns;
    w->dropped += s->outcome == OUTCOME_DROPPED;
    w->failed += s->outcome != OUTCOME_OK && s->outcome != OUTCOME_DROPPED &&
                 s->outcome != OUTCOME_CANCELLED;
    if (s->outcome != OUTCOME_OK)
        return;
    w->ok++;
    if (s->end_ns >= from_ns)
        histogram_add(&w->latency, s->end_ns - from_ns);
    if (s->first_token_ns >= from_ns && s->first_token_ns)
        histogram_add(&w->ttft, s->first_token_ns - from_ns);
}

static void take(void *user, unsigned thread, const struct sample *s)
{
    struct course *c = user;
    struct lane *l = &c->lanes[thread];
    results_take(l->results, s);
    if (UNLIKELY(s->outcome == OUTCOME_DROPPED) && s->due_ns >= c->origin_ns)
        note_dropped(l, (s->due_ns - c->origin_ns) / NS_PER_S);
    pthread_mutex_lock(&l->lock);
    watch_sample(c, l->filling, s);
    if (l->recent)
        results_take(l->recent, s);
    pthread_mutex_unlock(&l->lock);
    if (c->log)
        sample_log_take(c->log, thread, s, c->plan->models[s->model]);
}

/* ---- once a second ---- */

static void empty(struct histogram *h)
{
    for (size_t o = 0; o < HISTOGRAM_OCTAVES; o++)
        if (h->octaves[o])
            memset(h->octaves[o], 0, sizeof *h->octaves[o] << HISTOGRAM_SUB_BITS);
    h->count = h->min = h->max = 0;
    h->sum = 0;
}

static void move_window(struct load_window *into, struct load_window *from)
{
    into->ok += from->ok;
    into->failed += from->failed;
    into->dropped += from->dropped;
    histogram_merge(&into->latency, &from->latency);
    histogram_merge(&into->ttft, &from->ttft);
    from->ok = from->failed = from->dropped = 0;
    empty(&from->latency);
    empty(&from->ttft);
}

static struct results *new_results(const struct course *c)
{
    const struct scenario *s = &c->plan->scenario;
    return results_new((uint32_t)s->stage_count, (uint32_t)s->mix_count, &s->slo, c->origin_ns);
}

static void collect_second(struct course *c, struct load_window *sum)
{
    for (unsigned i = 0; i < c->threads; i++) {
        struct lane *l = &c->lanes[i];
        struct results *fresh = l->recent ? new_results(c) : NULL, *recent;
        struct load_window *full;
        pthread_mutex_lock(&l->lock);
        full = l->filling;
        recent = l->recent;
        l->filling = full == &l->windows[0] ? &l->windows[1] : &l->windows[0];
        l->recent = fresh;
        pthread_mutex_unlock(&l->lock);
        move_window(sum, full);
        if (recent)
            results_merge(c->so_far, recent);
        results_free(recent);
    }
}

/* Of the measured stages alone, as the results are: a warm-up's seconds and requests would be in every rate. */
static struct limits_input measured_so_far(const struct course *c,
                                           const struct engine_progress *now)
{
    const struct results_group *g = &c->so_far->total;
    uint64_t sent = g->requests + now->in_flight, dropped = g->outcomes[OUTCOME_DROPPED];
    uint64_t now_ns = clock_mono_ns();
    return (struct limits_input){
        .results = c->so_far,
        .offered = sent + dropped,
        .sent = sent,
        .dropped = dropped,
        .seconds = g->first_ns && now_ns > g->first_ns ? (double)(now_ns - g->first_ns) / 1e9 : 0};
}

static void look_at_limits(struct course *c, struct engine *engine,
                           const struct engine_progress *now)
{
    char value[64];
    if (!c->so_far || c->aborted_by)
        return;
    struct limits_input in = measured_so_far(c, now);
    c->aborted_by = limits_asked_abort(&c->limits, &in, now->elapsed_ns);
    if (!c->aborted_by)
        return;
    limit_asked_show(c->aborted_by, c->aborted_by->value, value, sizeof value);
    load_progress_say(c->progress, "the threshold %s ends the run: it is %s", c->aborted_by->text,
                      value);
    engine_stop(engine);
}

static void heed_signals(struct course *c, struct engine *engine)
{
    if (!ending_came())
        return;
    c->interrupts++;
    if (c->interrupts == 1) {
        load_progress_say(c->progress,
                          "stopping; what is in flight is waited for. Ctrl-C again: it "
                          "is not");
        engine_stop(engine);
    } else if (c->interrupts == 2) {
        engine_cancel(engine);
    } else {
        _exit(128 + SIGINT);
    }
}

static void watch(struct course *c, struct engine *engine)
{
    struct load_window sum = {0};
    struct engine_progress now;
    uint64_t next_ns = clock_mono_ns() + NS_PER_S;
    bool over = false;
    while (!over) {
        over = engine_wait(engine, WAIT_MS);
        heed_signals(c, engine);
        if (!over && clock_mono_ns() < next_ns)
            continue;
        next_ns += NS_PER_S;
        engine_progress(engine, &now);
        collect_second(c, &sum);
        look_at_limits(c, engine, &now);
        load_progress_second(c->progress, &sum, &now);
    }
    load_window_fini(&sum);
}

/* ---- what was asked, second by second ---- */

static void ask_replay(const struct load_plan *p, struct load_result *r, double slot_s)
{
    const struct arrivals_plan *a = &p->arrivals;
    const struct results *x = r->results;
    uint64_t until_ns = p->scenario.stage_count ? p->scenario.stages[0].duration_ns : UINT64_MAX;
    for (size_t i = 0; i < a->replay_count; i++) {
        double at_ns = (double)a->replay[i].offset_ns / a->replay_speed;
        double slot = at_ns / (double)x->second_ns;
        if (at_ns >= (double)until_ns || slot >= (double)x->second_count)
            break;
        double *asked = &r->asked_per_s[(size_t)slot];
        *asked = (isnan(*asked) ? 0 : *asked) + 1 / slot_s;
    }
}

static void ask_stages(const struct load_plan *p, struct load_result *r)
{
    const struct results *x = r->results;
    enum stage_kind kind = STAGE_RATE;
    for (size_t i = 0; i < x->second_count; i++) {
        double value = scenario_asked_at(&p->arrivals, i * x->second_ns + x->second_ns / 2, &kind);
        *(kind == STAGE_RATE ? &r->asked_per_s[i] : &r->asked_users[i]) = value;
    }
}

static double *new_series(struct load_result *r, double value)
{
    size_t count = r->results->second_count + 1;
    double *values = arena_alloc(&r->arena, count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = value;
    return values;
}

static void fill_series(const struct course *c, struct load_result *r)
{
    const struct results *x = r->results;
    uint64_t seconds = x->second_ns / NS_PER_S;
    r->asked_per_s = new_series(r, NAN);
    r->asked_users = new_series(r, NAN);
    r->dropped = new_series(r, 0);
    if (c->plan->arrivals.replay)
        ask_replay(c->plan, r, (double)seconds);
    else
        ask_stages(c->plan, r);
    for (unsigned i = 0; i < c->threads; i++)
        for (size_t s = 0; s < c->lanes[i].dropped_count; s++)
            if (s / seconds < x->second_count)
                r->dropped[s / seconds] += (double)c->lanes[i].dropped[s];
}

/* ---- the result ---- */

/* Equal for runs that asked for the same: models and their weights, stages, what is asked. Not whom, and not for how many of all. */
static uint64_t hash_of(const struct load_plan *p)
{
    struct buf b;
    const struct scenario *s = &p->scenario;
    buf_init(&b, 0, NULL);
    bool good = true;
    for (size_t i = 0; i < s->mix_count; i++)
        good &= buf_printf(&b, "m %.*s %.9g\n", STR_ARG(s->mix[i].model), s->mix[i].weight);
    for (size_t i = 0; i < s->stage_count; i++) {
        const struct stage *t = &s->stages[i];
        good &= buf_printf(&b, "s %d %.9g %.9g %llu %llu %d %.9g %u %d\n", t->kind, t->from, t->to,
                           (unsigned long long)t->duration_ns, (unsigned long long)t->requests,
                           t->spacing, t->gamma_shape, t->burst, t->warm_up);
    }
    good &= buf_printf(&b, "r %zu %.9g\np %llx\n", p->arrivals.replay_count,
                       p->arrivals.replay_speed, (unsigned long long)p->prompts_hash);
    ENSURE(good);
    uint64_t hash = str_hash(buf_str(&b));
    buf_fini(&b);
    return hash;
}

static struct str *copy_names(struct arena *a, const struct str *names, size_t count)
{
    struct str *out = arena_alloc(a, (count + 1) * sizeof *out);
    for (size_t i = 0; i < count; i++)
        out[i] = arena_str(a, names[i]);
    return out;
}

static void describe(const struct course *c, struct load_result *r)
{
    const struct load_plan *p = c->plan;
    const struct scenario *s = &p->scenario;
    r->command = "load";
    r->name = s->name;
    r->url = p->target->url;
    r->models = copy_names(&r->arena, p->models, s->mix_count);
    r->stages = copy_names(&r->arena, p->stages, MAX(s->stage_count, (size_t)1));
    r->plan = s->stage_count && !p->arrivals.replay ? s->stages : NULL;
    r->mix = s->mix;
    r->replay_file = p->arrivals.replay ? str_from(s->replay_file) : STR_NONE;
    r->replay_speed = p->arrivals.replay_speed;
    r->replay_requests = p->arrivals.replay_count;
    r->hash = hash_of(p);
    r->open_loop = p->all_open;
    r->seed = (uint64_t)s->seed;
    r->cut_short = c->interrupts > 0;
}

double load_seconds(const struct load_result *r)
{
    return r->account.ended_ns > r->account.started_ns
               ? (double)(r->account.ended_ns - r->account.started_ns) / 1e9
               : NAN;
}

static void judge(const struct course *c, struct load_result *r)
{
    r->limits = c->limits;
    validity_check(&r->validity, &r->account, r->results);
    struct limits_input in = {.results = r->results,
                              .offered = r->account.offered,
                              .sent = r->account.sent,
                              .dropped = r->account.dropped,
                              .seconds = load_seconds(r)};
    r->limits_held = limits_asked_check(&r->limits, &in);
    if (c->aborted_by)
        r->aborted_by = &r->limits.all[c->aborted_by - c->limits.all];
}

static void finish(struct course *c, struct load_result *r)
{
    r->results = c->lanes[0].results;
    for (unsigned i = 1; i < c->threads; i++) {
        results_merge(r->results, c->lanes[i].results);
        results_free(c->lanes[i].results);
    }
    results_seal(r->results);
    /* The slots' origin on the wall clock: both clocks were read when the measured stages began. */
    r->origin_real_us = r->account.started_real_us -
                        ((int64_t)r->account.started_ns - (int64_t)c->origin_ns) / 1000;
    fill_series(c, r);
    describe(c, r);
    judge(c, r);
}

/* ---- the run ---- */

static struct engine_options engine_options_of(const struct load_plan *p,
                                               const struct load_options *o, struct course *c)
{
    static const struct measure_options defaults = MEASURE_OPTIONS_DEFAULTS;
    const struct scenario *s = &p->scenario;
    bool by_file = s->total_timeout_ms >= 0 && o->shared.timeout_s == defaults.timeout_s;
    return (struct engine_options){
        .target = p->target,
        .prompts = p->prompts,
        .plan = &p->arrivals,
        .threads = c->threads,
        .connections_max = s->connections_max > 0 ? (uint32_t)s->connections_max : 0,
        .fresh_connections = s->fresh_connections,
        .user_stamps = s->user_stamps,
        .spin = p->spin,
        .connect_timeout_ms = MAX(s->connect_timeout_ms, INT64_C(0)),
        .head_timeout_ms = MAX(s->head_timeout_ms, INT64_C(0)),
        .idle_timeout_ms = MAX(s->idle_timeout_ms, INT64_C(0)),
        .total_timeout_ms = by_file ? s->total_timeout_ms : (int64_t)(o->shared.timeout_s * 1000),
        .grace_ms = s->grace_ms >= 0 ? s->grace_ms : GRACE_DEFAULT_MS,
        .on_sample = take,
        .user = c,
    };
}

static void open_lanes(struct course *c)
{
    bool aborts = false;
    for (size_t i = 0; i < c->limits.count; i++)
        aborts |= c->limits.all[i].abort;
    c->so_far = aborts ? new_results(c) : NULL;
    c->lanes = aligned_alloc(64, c->threads * sizeof *c->lanes);
    ENSURE(c->lanes != NULL);
    memset(c->lanes, 0, c->threads * sizeof *c->lanes);
    for (unsigned i = 0; i < c->threads; i++) {
        struct lane *l = &c->lanes[i];
        pthread_mutex_init(&l->lock, NULL);
        l->filling = &l->windows[0];
        l->results = new_results(c);
        l->recent = aborts ? new_results(c) : NULL;
    }
}

static void close_lanes(struct course *c)
{
    for (unsigned i = 0; i < c->threads; i++) {
        struct lane *l = &c->lanes[i];
        load_window_fini(&l->windows[0]);
        load_window_fini(&l->windows[1]);
        results_free(l->recent);
        mem_free(l->dropped);
        pthread_mutex_destroy(&l->lock);
    }
    free(c->lanes);
    results_free(c->so_far);
}

bool load_run(const struct load_plan *p, const struct load_options *o, struct sample_log *log,
              struct load_result *out, struct err *e)
{
    struct course c = {.plan = p,
                       .log = log,
                       .threads = p->scenario.threads > 0 ? (unsigned)p->scenario.threads : 1,
                       .origin_ns = clock_mono_ns(),
                       .from_due = p->open_loop,
                       .limits = p->scenario.limits};
    struct engine_options options = engine_options_of(p, o, &c);
    *out = (struct load_result){0};
    arena_init(&out->arena, NULL, 0);
    open_lanes(&c);
    struct engine *engine = engine_start(&options, e);
    if (engine) {
        c.progress = load_progress_new(p, o->quiet);
        watch(&c, engine);
        load_progress_free(c.progress);
        engine_account(engine, &out->account);
        engine_free(engine);
        finish(&c, out);
    } else {
        for (unsigned i = 0; i < c.threads; i++)
            results_free(c.lanes[i].results);
    }
    close_lanes(&c);
    return engine != NULL;
}

void load_result_fini(struct load_result *r)
{
    results_free(r->results);
    arena_fini(&r->arena);
}
