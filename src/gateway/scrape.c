/* scrape.c -- GET /metrics: gathered by the control thread, written out and packed by a thread that only runs where nobody else wants to.
 *
 * With the series budget full that is 40 MB of text and 30 ms of a core. A thread of ordinary priority has its core to itself for a slice of the scheduler's,
 * and whoever is woken there meanwhile waits: at one scrape a second the p99 of relayed requests sees it. Under SCHED_IDLE (sched(7)) it gives way
 * at once, and the scheduler takes its core for a free one. But where all cores are busy it may not run for seconds, and monitoring must not go blind just
 * then: what it has not written after PATIENCE_NS is written by the control thread. (The thread cannot be made an ordinary one for that:
 * leaving SCHED_IDLE takes a privilege.) Where the system refuses the class, it is an ordinary thread.
 *
 * Each exposition has all it says with it, so any number may be under way: a reference to the snapshot, copies of what changes. Only cells are read while
 * they are counted in. */
#include <pthread.h>
#include <sched.h>

#include "gateway/engine.h"
#include "gateway/gateway.h"
#include "gateway/key_service.h"
#include "gateway/scrape.h"
#include "http/gzip.h"

#define PATIENCE_NS (250 * NS_PER_MS)

_Static_assert(METRICS_STATUSES_MAX == REST_STATUS_COUNT,
               "each status the fleet counts by is shown");

struct scraper {
    struct gateway *gateway;
    struct loop *loop; /* the scrape thread's */
    pthread_t thread;
    bool runs;                    /* [control] */
    struct exposition *under_way; /* [control] */
};

/* What is answered. */
struct written {
    struct buf body;
    bool whole;
};

/* One scrape. The control thread's, but `by_thread`, which is the scrape thread's until scraped() has been called. */
struct exposition {
    struct scraper *scraper;
    struct exposition *next, **link; /* in scraper.under_way */
    struct control_job *job;         /* NULL: answered */
    struct timer patience;
    struct snapshot *snapshot; /* a reference: texts are its */
    struct arena arena;
    struct log_stats log;
    struct config_reloads reloads;
    struct key_numbers keys;
    struct metrics_process numbers;
    enum metrics_format format;
    bool packed;
    bool unwanted; /* atomic: answered, so that nothing more need be written */
    struct written by_thread;
};

/* ---- gathering ---- */

/* The control thread is the only writer of struct metrics_worker: it copies what each loop counts by itself. */
static void gather_worker(struct gateway *g, int i)
{
    struct worker *w = &g->workers[i];
    struct metrics_worker *m = metrics_worker(g->metrics, i);
    const struct http_counters *s = http_server_counters(w->server);
    const struct http_client_counters *c = &w->upstream;
    COUNTER_SET(m->connections_open, COUNTER_GET(s->open));
    COUNTER_SET(m->connections_total, COUNTER_GET(s->accepted));
    COUNTER_SET(m->connections_refused, COUNTER_GET(s->refused));
    COUNTER_SET(m->streams_open, COUNTER_GET(w->streams));
    COUNTER_SET(m->requests_in_flight, COUNTER_GET(w->in_flight));
    COUNTER_SET(m->upstream_open, COUNTER_GET(c->open));
    COUNTER_SET(m->upstream_idle, COUNTER_GET(c->idle));
    COUNTER_SET(m->upstream_connects_total, COUNTER_GET(c->connects));
    COUNTER_SET(m->upstream_reuses_total, COUNTER_GET(c->reuses));
    COUNTER_SET(m->upstream_connect_failures_total, COUNTER_GET(c->connect_failures));
    COUNTER_SET(m->http_requests_total, COUNTER_GET(s->requests));
    COUNTER_SET(m->http_errors_total, COUNTER_GET(s->errors));
    COUNTER_SET(m->bytes_in_total, COUNTER_GET(s->bytes_in));
    COUNTER_SET(m->bytes_out_total, COUNTER_GET(s->bytes_out));
    COUNTER_SET(m->loop_passes_total, loop_passes(w->loop));
}

/* Kept with 1 added, so that 0 is "none". */
static uint64_t told(const uint64_t *remaining)
{
    uint64_t kept = __atomic_load_n(remaining, __ATOMIC_RELAXED);
    return kept ? kept - 1 : METRICS_UNKNOWN;
}

static void gather_deployment(const struct deployment_state *s, uint64_t now_ns,
                              struct metrics_deployment *m)
{
    uint64_t ttft_us = __atomic_load_n(&s->ttft_us, __ATOMIC_RELAXED);
    uint64_t token_us = __atomic_load_n(&s->token_us, __ATOMIC_RELAXED);
    uint32_t probed = __atomic_load_n(&s->probed, __ATOMIC_RELAXED);
    uint64_t probed_ns = __atomic_load_n(&s->probed_ns, __ATOMIC_RELAXED);
    *m = (struct metrics_deployment){
        .state = (uint64_t)fleet_health(s, now_ns),
        .in_flight = (uint64_t)MAX(__atomic_load_n(&s->in_flight, __ATOMIC_RELAXED), 0),
        .rest_us = fleet_rest_left_ns(s, now_ns) / NS_PER_US,
        .ttft_us = ttft_us ? ttft_us : METRICS_UNKNOWN,
        .token_us = token_us ? token_us : METRICS_UNKNOWN,
        .remaining_requests = told(&s->remaining_requests),
        .remaining_tokens = told(&s->remaining_tokens),
        .probe_success = probed ? probed == PROBED_ALIVE : METRICS_UNKNOWN,
        .probe_age_us = probed ? (uint64_t)us_between(probed_ns, now_ns) : METRICS_UNKNOWN,
        .rest_count = REST_STATUS_COUNT,
    };
    for (int i = 0; i < REST_STATUS_COUNT; i++)
        m->rests[i] = (struct metrics_rests){
            fleet_rest_status(i), __atomic_load_n(&s->rests_by_status[i], __ATOMIC_RELAXED)};
}

static struct metrics_deployment *gather_deployments(struct gateway *g, struct arena *a)
{
    uint32_t count = g->snapshot->config->deployment_count;
    struct metrics_deployment *all = arena_alloc(a, MAX(count, 1u) * sizeof *all);
    uint64_t now_ns = clock_mono_ns();
    for (uint32_t i = 0; i < count; i++)
        gather_deployment(g->snapshot->states[i], now_ns, &all[i]);
    return all;
}

/* The configured models that an engine has loaded, each once; the names of others come from the engine, and are no labels (promise 6). */
static void gather_loaded(struct gateway *g, uint32_t engine, const struct engine_report *r,
                          struct metrics_engine *m, struct arena *a)
{
    const struct config *c = g->snapshot->config;
    m->models = arena_alloc(a, ((size_t)r->models_kept + 1) * sizeof *m->models);
    for (int k = 0; k < r->models_kept; k++) {
        struct str name = STR("other");
        for (uint32_t i = 0; i < c->deployment_count; i++)
            if (engines_of(health_engines(g->health), i) == engine &&
                engine_is_model(r->models[k].name, c->deployments[i].upstream_model))
                name = c->deployments[i].upstream_model;
        if (r->models[k].vram_bytes >= 0)
            m->models[m->model_count++] =
                (struct metrics_engine_model){name, (uint64_t)r->models[k].vram_bytes};
    }
}

static uint64_t known(int64_t count)
{
    return count >= 0 ? (uint64_t)count : METRICS_UNKNOWN;
}

static struct metrics_engine *gather_engines(struct gateway *g, struct arena *a, uint32_t *count)
{
    struct engines *engines = health_engines(g->health);
    *count = engines_count(engines);
    struct metrics_engine *all = arena_zalloc(a, MAX(*count, 1u) * sizeof *all);
    for (uint32_t i = 0; i < *count; i++) {
        struct engine_view v = engines_view(engines, i);
        const struct engine_report *r = v.report;
        all[i] = (struct metrics_engine){
            .engine = str_from(engine_name(v.kind)),
            .api_base = arena_str(a, v.base),
            .up = v.asked_ns ? r->up : METRICS_UNKNOWN,
            .loaded_models = known(r->loaded),
            .running = known(r->running),
            .waiting = known(r->waiting),
            .kv_cache_millionths = r->kv_cache_ratio >= 0
                                       ? (uint64_t)(r->kv_cache_ratio * 1e6 + 0.5)
                                       : METRICS_UNKNOWN,
        };
        gather_loaded(g, i, r, &all[i], a);
    }
    return all;
}

/* All that is said beside the cells, as it is now. */
static struct exposition *gather(struct gateway *g, struct control_job *j)
{
    struct exposition *e = mem_alloc(sizeof *e);
    struct cache_stats cache;
    e->scraper = g->scraper;
    e->job = j;
    e->snapshot = snapshot_get(g->snapshot);
    e->format = metrics_negotiate(str_from(j->accept), &j->content_type);
    e->packed = gzip_accepted(str_from(j->accept_encoding));
    e->reloads = g->reloads;
    arena_init(&e->arena, NULL, 0);
    if (g->log)
        log_stats(g->log, &e->log);
    for (int i = 0; i < g->worker_count; i++)
        gather_worker(g, i);
    cache_store_stats(g->cache, &cache);
    e->numbers = (struct metrics_process){
        .cache = {.bytes = cache.bytes,
                  .entries = cache.entries,
                  .stores_total = cache.stores,
                  .evictions_total = cache.evictions,
                  .busy_total = cache.busy,
                  .refused_total = cache.refused},
        .start_time_seconds = (double)g->started_real_us / 1e6,
        .version = g->version,
        .git_commit = g->commit,
        .compiler = __VERSION__,
        .log = g->log ? &e->log : NULL,
        .config = e->snapshot->config,
        .reloads = &e->reloads,
        .deployments = gather_deployments(g, &e->arena),
        .ready = __atomic_load_n(&g->ready, __ATOMIC_ACQUIRE) &&
                 !__atomic_load_n(&g->draining, __ATOMIC_ACQUIRE),
    };
    key_service_numbers(g->keys, g->worker_count, (size_t)e->snapshot->config->series_budget,
                        &e->keys);
    e->numbers.keys = e->keys.rows;
    e->numbers.key_count = e->keys.row_count;
    e->numbers.engines = gather_engines(g, &e->arena, &e->numbers.engine_count);
    return e;
}

/* ---- writing: both threads ---- */

static void write_out(const struct exposition *e, const bool *unwanted, struct written *out)
{
    const struct metrics *m = e->scraper->gateway->metrics;
    struct metrics_process numbers = e->numbers;
    numbers.unwanted = unwanted;
    buf_init(&out->body, 0, NULL);
    out->whole =
        (e->packed ? metrics_write_gzip : metrics_write)(m, &numbers, e->format, &out->body);
}

/* ---- answering: control ---- */

static void answer(struct exposition *e, struct written *w)
{
    struct control_job *j = e->job;
    e->job = NULL;
    buf_fini(&j->body);
    j->body = w->body;
    j->gzipped = w->whole && e->packed;
    w->body = (struct buf){0};
    if (!w->whole) { /* half an exposition would look like series that ended */
        buf_fini(&j->body);
        j->status = 503;
    }
    control_done(j);
}

static void write_here(struct exposition *e)
{
    struct written w = {0};
    write_out(e, NULL, &w);
    answer(e, &w);
}

static void end(struct exposition *e)
{
    timer_clear(e->scraper->gateway->control, &e->patience);
    if (e->link) {
        *e->link = e->next;
        if (e->next)
            e->next->link = e->link;
    }
    buf_fini(&e->by_thread.body);
    key_numbers_fini(&e->keys);
    arena_fini(&e->arena);
    snapshot_put(e->snapshot);
    mem_free(e);
}

/* Back from the scrape thread. Neither answered nor written: weir ends at once. */
static void scraped(void *arg)
{
    struct exposition *e = arg;
    if (e->job)
        answer(e, &e->by_thread);
    end(e);
}

/* On the scrape thread. */
static void write_there(void *arg)
{
    struct exposition *e = arg;
    if (!__atomic_load_n(&e->unwanted, __ATOMIC_RELAXED))
        write_out(e, &e->unwanted, &e->by_thread);
    loop_call(e->scraper->gateway->control, scraped, e);
}

static void out_of_patience(struct timer *t)
{
    struct exposition *e = CONTAINER(t, struct exposition, patience);
    __atomic_store_n(&e->unwanted, true, __ATOMIC_RELAXED);
    write_here(e);
}

void scrape_metrics(struct gateway *g, struct control_job *j)
{
    struct scraper *s = g->scraper;
    if (control_is_full(g)) {
        j->status = error_info(ERR_OVERLOADED)->http_status;
        reply_error_json(ERR_OVERLOADED, STR("too many clients have not taken their metrics yet"),
                         &j->body);
        control_done(j);
        return;
    }
    struct exposition *e = gather(g, j);
    if (!s->runs) {
        write_here(e);
        end(e);
        return;
    }
    e->next = s->under_way;
    e->link = &s->under_way;
    if (e->next)
        e->next->link = &e->next;
    s->under_way = e;
    e->patience.on_fire = out_of_patience;
    timer_set(g->control, &e->patience, loop_now_ns(g->control) + PATIENCE_NS);
    loop_call(s->loop, write_there, e);
}

/* ---- the thread ---- */

static void *thread_main(void *arg)
{
    struct scraper *s = arg;
    pthread_setname_np(pthread_self(), "weir-scrape");
    (void)pthread_setschedparam(pthread_self(), SCHED_IDLE, &(struct sched_param){0});
    loop_run(s->loop);
    return NULL;
}

struct scraper *scraper_new(struct gateway *g)
{
    struct scraper *s = mem_alloc(sizeof *s);
    s->gateway = g;
    s->loop = loop_new();
    return s;
}

bool scraper_start(struct scraper *s, struct err *e)
{
    int error = pthread_create(&s->thread, NULL, thread_main, s);
    if (error)
        return err_set(e, "cannot start the scrape thread: %s", strerror(error));
    s->runs = true;
    return true;
}

void scraper_stop(struct scraper *s)
{
    if (!s || !s->runs)
        return;
    for (struct exposition *e = s->under_way; e; e = e->next)
        __atomic_store_n(&e->unwanted, true, __ATOMIC_RELAXED);
    loop_stop(s->loop);
    pthread_join(s->thread, NULL);
    s->runs = false;
    loop_pass(s->loop, 0); /* those it had not begun */
}

void scraper_free(struct scraper *s)
{
    if (!s)
        return;
    loop_free(s->loop);
    mem_free(s);
}
