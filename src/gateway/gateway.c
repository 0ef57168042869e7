/* gateway.c -- the process: workers, listeners, what they share, and how they end.
 *
 * One worker a core, each a thread with its own loop, listener (listen.c), upstream connections, pools, log ring and metrics shard. The
 * thread that calls gateway_new is the control thread: signals, health probes, pages and scrapes run on its loop. Shared state is listed in gateway.h. */
#include "gateway/reload.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "base/diag.h"
#include "gateway/key_service.h"
#include "gateway/scrape.h"

#define HOUSEKEEPING_NS       (2 * NS_PER_S)
#define DRAIN_LOOK_NS         (10 * NS_PER_MS)
#define GIVE_BACK_CONNECTIONS 256 /* so many gone since the last time: worth giving memory back */

int gateway_workers_wanted(const struct config *c)
{
    cpu_set_t set;
    if (c->workers > 0)
        return c->workers;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return MAX(CPU_COUNT(&set), 1);
}

/* ---- workers ---- */

/* Memory that a crowd needed goes back to the system once the crowd has left. */
static void housekeeping(struct timer *t)
{
    struct worker *w = CONTAINER(t, struct worker, housekeeping);
    uint64_t open = http_server_open(w->server);
    w->peak_open = MAX(w->peak_open, open);
    if (w->peak_open >= open + GIVE_BACK_CONNECTIONS) {
        pool_trim(&w->requests);
        pool_trim(&w->looks);
        pool_trim(http_server_blocks(w->server));
        malloc_trim(0);
        w->peak_open = open;
    }
    timer_set(w->loop, t, loop_now_ns(w->loop) + HOUSEKEEPING_NS);
}

static void look_if_drained(struct timer *t)
{
    struct worker *w = CONTAINER(t, struct worker, drained);
    bool due = loop_now_ns(w->loop) >= w->drain_due_ns, nothing_comes = w->quiet;
    /* While another worker accepts, it may deal connections to this one; the last of them is here a pass after that has ended. */
    w->quiet = __atomic_load_n(&w->gateway->accepting, __ATOMIC_ACQUIRE) <= 0;
    if ((nothing_comes && http_server_open(w->server) == 0) || (due && !w->retiring)) {
        __atomic_sub_fetch(&w->gateway->turning, 1, __ATOMIC_RELEASE);
        loop_stop(w->loop);
        return;
    }
    if (due)
        http_server_drain(w->server); /* idle for long enough */
    timer_set(w->loop, t, loop_now_ns(w->loop) + DRAIN_LOOK_NS);
}

static void look_after_drain(struct worker *w, bool retiring)
{
    if (!w->leaving)
        __atomic_sub_fetch(&w->gateway->accepting, 1, __ATOMIC_RELEASE);
    w->leaving = true; /* once, though SIGTERM may follow a handover */
    w->retiring = retiring;
    w->drain_due_ns =
        loop_now_ns(w->loop) + (uint64_t)worker_config(w)->drain_timeout_ms * NS_PER_MS;
    timer_set(w->loop, &w->drained, loop_now_ns(w->loop) + 1);
}

static void drain_worker(void *arg)
{
    struct worker *w = arg;
    if (!w->gateway->listening.activated && !w->leaving)
        http_server_accept_waiting(w->server); /* the queue ends with the socket */
    http_server_drain(w->server);
    look_after_drain(w, false);
}

static void retire_worker(void *arg)
{
    struct worker *w = arg;
    http_server_retire(w->server);
    look_after_drain(w, true);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    timer_set(w->loop, &w->housekeeping, loop_now_ns(w->loop) + HOUSEKEEPING_NS);
    loop_run(w->loop);
    return NULL;
}

static void worker_init(struct gateway *g, int index)
{
    struct worker *w = &g->workers[index];
    const struct config *c = g->snapshot->config;
    struct http_limits limits = worker_http_limits(g, c);
    *w = (struct worker){.gateway = g,
                         .index = index,
                         .loop = loop_new(),
                         .housekeeping = {.on_fire = housekeeping},
                         .drained = {.on_fire = look_if_drained}};
    rng_seed(&w->rng, 0);
    w->keys = mem_alloc(KEY_CACHE_ENTRIES * sizeof *w->keys);
    w->cache_keys = cache_key_maker_new();
    w->server = http_server_new(w->loop, &limits, &gateway_handler, w);
    w->resolver = resolver_new(w->loop);
    worker_use_snapshot(w, snapshot_get(g->snapshot));
    pool_init(&w->requests, sizeof(struct request), 128, "requests");
    pool_init(&w->looks, sizeof(struct answer_look), 64, "answers");
}

static void worker_fini(struct worker *w)
{
    w->stopping = true;
    loop_pass(w->loop, 0);       /* the control thread's last answers */
    http_server_free(w->server); /* ends what is still running: each is recorded as cancelled */
    loop_settle(w->loop);        /* snapshots whose last request ended just now */
    http_client_free(w->snapshot->client);
    hedge_clocks_free(w->snapshot->hedges);
    snapshot_put(w->snapshot->shared);
    mem_free(w->snapshot);
    resolver_free(w->resolver);
    loop_free(w->loop);
    pool_trim(&w->requests);
    pool_trim(&w->looks);
    auth_fini(w);
    mem_free(w->keys);
    cache_key_maker_free(w->cache_keys);
    mem_free(w->config_problem);
}

/* ---- what is told in the log ---- */

struct event {
    struct worker *worker;
    struct record record;
    struct arena arena;
};

static void put_event(void *arg)
{
    struct event *event = arg;
    (void)log_put(event->worker->gateway->log, event->worker->index, &event->record);
    arena_fini(&event->arena);
    mem_free(event);
}

void gateway_event(struct gateway *g, const char *name, const char *problem, struct str metadata,
                   int64_t took_us)
{
    if (!g->log || (problem ? 3 : 1) < g->snapshot->config->log_level_rank)
        return;
    struct event *event = mem_alloc(sizeof *event);
    struct record *r = &event->record;
    event->worker = &g->workers[0];
    arena_init(&event->arena, NULL, 0);
    record_init(r);
    r->timestamp = clock_real_us();
    r->level = problem ? STR("ERROR") : STR("INFO");
    r->event = str_from(name);
    r->status = problem ? STR("failure") : STR("success");
    r->latency_us = took_us;
    r->metadata = arena_str(&event->arena, metadata);
    if (problem) {
        r->error.type = str_from(error_info(ERR_CONFIG_INVALID)->name);
        r->error.message = arena_str(&event->arena, str_from(problem));
    }
    /* A ring is its worker's; before that runs, and when it has ended, it is ours. */
    if (event->worker->thread)
        loop_call(event->worker->loop, put_event, event);
    else
        put_event(event);
}

static void log_start(struct gateway *g)
{
    struct buf metadata;
    buf_init(&metadata, 0, NULL);
    ENSURE(buf_printf(&metadata,
                      "{\"version\":\"%s\",\"commit\":\"%s\",\"pid\":%d,\"workers\":%d,\"took_"
                      "over\":%s,\"config\":",
                      g->version, g->commit, (int)getpid(), g->worker_count,
                      g->took_over ? "true" : "false") &&
           json_write_string(&metadata, g->snapshot->config->path) &&
           buf_append(&metadata, "}", 1));
    gateway_event(g, "start", NULL, buf_str(&metadata), -1);
    buf_fini(&metadata);
}

static void log_stop(struct gateway *g)
{
    char metadata[160];
    int n = snprintf(metadata, sizeof metadata,
                     "{\"version\":\"%s\",\"pid\":%d,\"uptime_s\":%llu,\"handed_over\":%s}",
                     g->version, (int)getpid(),
                     (unsigned long long)((clock_mono_ns() - g->started_mono_ns) / NS_PER_S),
                     g->handed_over ? "true" : "false");
    gateway_event(g, "stop", NULL, (struct str){metadata, (size_t)n}, -1);
}

/* ---- life ---- */

struct gateway *gateway_new(const struct gateway_options *o, struct err *e)
{
    struct gateway *g = mem_alloc(sizeof *g);
    const struct config *c = o->config;
    g->log = o->log;
    g->version = o->version;
    g->commit = o->commit;
    g->started_real_us = clock_real_us();
    g->started_mono_ns = clock_mono_ns();
    g->worker_count = gateway_workers_wanted(c);
    g->control = loop_new();
    /* Fixed thresholds instead of glibc's sliding ones: bodies over 256 KiB go straight back to the system, smaller ones are kept for the
     * next request (trimming at 128 KiB cost three page faults a request with bodies of 100 KB); housekeeping returns what a crowd left. */
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_TRIM_THRESHOLD, 16 * 1024 * 1024);
    g->fleet = fleet_new();
    g->snapshot = snapshot_new(g, o->config, e);
    if (!g->snapshot)
        goto fail;
    intake_prepare();
    answer_prepare();
    cache_prepare();
    g->cache = cache_store_new((size_t)c->caching.bytes, (size_t)c->caching.item_bytes);
    g->metrics = metrics_new(g->worker_count, c);
    g->workers = mem_alloc((size_t)g->worker_count * sizeof *g->workers);
    for (int i = 0; i < g->worker_count; i++)
        worker_init(g, i);
    g->health = health_new(g);
    g->load = o->load;
    g->on_reload = o->on_reload;
    g->inherited = o->inherited;
    g->took_over = o->took_over;
    g->reloads =
        (struct config_reloads){.last_ok = true, .last_success_real_us = c->loaded_real_us};
    g->reload = reload_new(g);
    g->scraper = scraper_new(g);
    g->keys = key_service_new(c, g->worker_count + 1, e);
    if (g->keys)
        return g;
    gateway_free(g);
    return NULL;
fail:
    g->worker_count = 0;
    gateway_free(g);
    return NULL;
}

bool gateway_start(struct gateway *g, struct err *e)
{
    if (!gateway_listen(g, e))
        return false;
    if (!key_service_start(g->keys, e) || !scraper_start(g->scraper, e))
        return false;
    log_start(g);
    g->accepting = g->turning = g->worker_count;
    for (int i = 0; i < g->worker_count; i++) {
        int error = pthread_create(&g->workers[i].thread, NULL, worker_main, &g->workers[i]);
        if (error) {
            g->workers[i].thread = 0; /* glibc writes it before it knows */
            return err_set(e, "cannot start a worker thread: %s", strerror(error));
        }
    }
    __atomic_store_n(&g->ready, true, __ATOMIC_RELEASE);
    return true;
}

bool gateway_drained(const struct gateway *g)
{
    return __atomic_load_n(&g->turning, __ATOMIC_ACQUIRE) <= 0;
}

void gateway_drain(struct gateway *g)
{
    struct str host = str_from(g->listening.host); /* a reload may have named another one */
    struct str unix_path = str_skip(host, str_starts(host, STR("unix:/")) ? 5 : host.n);
    if (unix_path.n && !g->handed_over && !g->successor_comes && !g->listening.activated)
        unlink(unix_path.p); /* at once: later it may be the next weir's */
    __atomic_store_n(&g->draining, true, __ATOMIC_RELEASE);
    g->drain_started_ns = loop_now_ns(g->control);
    for (int i = 0; i < g->worker_count; i++)
        loop_call(g->workers[i].loop, drain_worker, &g->workers[i]);
}

void gateway_retire(struct gateway *g)
{
    __atomic_store_n(&g->handed_over, true, __ATOMIC_RELEASE);
    if (g->draining)
        return; /* SIGTERM came first: what it allows to finish, and for how long, stays */
    __atomic_store_n(&g->draining, true, __ATOMIC_RELEASE);
    g->drain_started_ns = loop_now_ns(g->control);
    for (int i = 0; i < g->worker_count; i++)
        loop_call(g->workers[i].loop, retire_worker, &g->workers[i]);
}

void gateway_stop_now(struct gateway *g)
{
    for (int i = 0; i < g->worker_count; i++)
        loop_stop(g->workers[i].loop);
}

void gateway_free(struct gateway *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->worker_count; i++) {
        if (g->workers[i].thread) {
            if (!g->draining)
                loop_stop(g->workers[i].loop);
            pthread_join(g->workers[i].thread, NULL);
            g->workers[i].thread = 0;
        }
    }
    scraper_stop(g->scraper);
    loop_pass(
        g->control,
        0); /* jobs on their way here; their answers go to the workers, which end them below */
    key_service_stop(g->keys);
    if (g->health)
        health_free(g->health);
    reload_free(g->reload);
    for (int i = 0; i < g->worker_count; i++)
        http_server_retire(g->workers[i].server); /* none deals to one that has gone */
    for (int i = 0; i < g->worker_count; i++)
        worker_fini(&g->workers[i]);
    key_service_free(g->keys);
    if (g->snapshot && g->ready)
        log_stop(g);
    scraper_free(g->scraper);
    loop_free(g->control);
    cache_store_free(g->cache);
    metrics_free(g->metrics);
    mem_free(g->workers);
    mem_free(g->sharing);
    if (g->snapshot)
        snapshot_put(g->snapshot);
    fleet_free(g->fleet);
    mem_free(g);
}
