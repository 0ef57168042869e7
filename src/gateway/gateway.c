/* gateway.c -- the process: workers, listeners, what they share, and how they end.
 *
 * One worker a core, each a thread with its own loop, listener (SO_REUSEPORT), upstream connections, pools, log ring and metrics shard. The
 * thread that calls gateway_new is the control thread: signals, health probes, pages and scrapes run on its loop. Shared state is listed in gateway.h. */
#include "gateway/gateway.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "base/diag.h"
#include "gateway/key_service.h"

#define LISTEN_BACKLOG        4096
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
    if (http_server_open(w->server) == 0 || loop_now_ns(w->loop) >= w->drain_due_ns)
        loop_stop(w->loop);
    else
        timer_set(w->loop, t, loop_now_ns(w->loop) + DRAIN_LOOK_NS);
}

static void drain_worker(void *arg)
{
    struct worker *w = arg;
    w->drain_due_ns =
        loop_now_ns(w->loop) + (uint64_t)worker_config(w)->drain_timeout_ms * NS_PER_MS;
    http_server_drain(w->server);
    timer_set(w->loop, &w->drained, loop_now_ns(w->loop) + 1);
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
    struct http_limits limits = {
        .max_head_bytes = (size_t)c->max_header_bytes,
        .max_body_bytes = (size_t)c->max_request_body_bytes,
        .max_connections = (uint32_t)MAX(c->max_connections / g->worker_count, 1),
        .head_timeout_ms = c->header_timeout_ms,
        .body_timeout_ms = c->body_timeout_ms,
        .idle_timeout_ms = c->idle_timeout_ms,
        .write_timeout_ms = c->body_timeout_ms,
    };
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
    __atomic_add_fetch(&g->snapshot->references, 1, __ATOMIC_RELAXED);
    worker_use_snapshot(w, g->snapshot);
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
}

/* ---- listening ---- */

static uint16_t port_of(int fd)
{
    struct sock_addr a = {.len = sizeof a.storage};
    if (getsockname(fd, &a.any, &a.len) != 0)
        return 0;
    return a.any.sa_family == AF_INET    ? ntohs(a.in.sin_port)
           : a.any.sa_family == AF_INET6 ? ntohs(a.in6.sin6_port)
                                         : 0;
}

/* SO_REUSEPORT would let a second weir share the port unnoticed: so first ask for it alone. */
static bool port_is_free(struct gateway *g, struct err *e)
{
    const struct config *c = g->snapshot->config;
    int fd = sock_listen(c->host, (uint16_t)c->port, false, LISTEN_BACKLOG, e);
    if (fd < 0)
        return false;
    g->port = port_of(fd);
    close(fd);
    return true;
}

static bool listen_all(struct gateway *g, struct err *e)
{
    struct str host = g->snapshot->config->host;
    bool is_unix = str_starts(host, STR("unix:"));
    int shared = -1;
    if (!is_unix && !port_is_free(g, e))
        return false;
    for (int i = 0; i < g->worker_count; i++) {
        int fd;
        if (is_unix && shared >= 0)
            fd = dup(shared);
        else
            fd = sock_listen(host, g->port, true, LISTEN_BACKLOG, e);
        if (fd < 0)
            return err_set(e, "cannot listen: %s", strerror(errno));
        shared = fd;
        if (!http_server_listen(g->workers[i].server, fd, g->tls_listen))
            return err_set(e, "cannot watch the listening socket: %s", strerror(errno));
    }
    return true;
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
    if (c->tls_cert_file.n &&
        !(g->tls_listen = tls_server_new(c->tls_cert_file.p, c->tls_key_file.p, e)))
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
    if (!listen_all(g, e) || !key_service_start(g->keys, e))
        return false;
    for (int i = 0; i < g->worker_count; i++) {
        int error = pthread_create(&g->workers[i].thread, NULL, worker_main, &g->workers[i]);
        if (error)
            return err_set(e, "cannot start a worker thread: %s", strerror(error));
    }
    __atomic_store_n(&g->ready, true, __ATOMIC_RELEASE);
    return true;
}

void gateway_drain(struct gateway *g)
{
    struct str host = g->snapshot->config->host;
    struct str unix_path = str_skip(host, str_starts(host, STR("unix:/")) ? 5 : host.n);
    if (unix_path.n)
        unlink(unix_path.p); /* at once: later it may be the next weir's */
    __atomic_store_n(&g->draining, true, __ATOMIC_RELEASE);
    g->drain_started_ns = loop_now_ns(g->control);
    for (int i = 0; i < g->worker_count; i++)
        loop_call(g->workers[i].loop, drain_worker, &g->workers[i]);
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
        }
    }
    loop_pass(
        g->control,
        0); /* jobs on their way here; their answers go to the workers, which end them below */
    key_service_stop(g->keys);
    if (g->health)
        health_free(g->health);
    for (int i = 0; i < g->worker_count; i++)
        worker_fini(&g->workers[i]);
    key_service_free(g->keys);
    loop_free(g->control);
    cache_store_free(g->cache);
    metrics_free(g->metrics);
    tls_server_free(g->tls_listen);
    mem_free(g->workers);
    if (g->snapshot)
        snapshot_put(g->snapshot);
    fleet_free(g->fleet);
    mem_free(g);
}
