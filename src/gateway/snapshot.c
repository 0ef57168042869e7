/* snapshot.c -- one configuration and all that is made from it: targets, TLS, header lines, deployments' states.
 *
 * A reload makes a new one; each worker then takes it for its new requests, while those under way end on the one they began on. A worker has
 * its own upstream connections for each (struct worker_snapshot), so indexes of targets never mix; the old ones are closed when the last request on
 * them has ended. [snapshot_new: control; worker_*: that worker] */
#include "gateway/gateway.h"

#include "base/diag.h"

#define MAX_IDLE_PER_TARGET 1024

static struct tls_client *tls_for(struct snapshot *s, bool verify, struct err *e)
{
    struct tls_client **slot = verify ? &s->tls_verified : &s->tls_unverified;
    if (!*slot) {
        struct tls_client_options o = {
            .ca_file = s->config->ca_file.n ? s->config->ca_file.p : NULL, .insecure = !verify};
        *slot = tls_client_new(&o, e);
        if (!verify)
            diag_warn("ssl_verify is off for some deployments: their certificates are not checked");
    }
    return *slot;
}

static bool make_targets(struct snapshot *s, struct err *e)
{
    const struct config *c = s->config;
    s->targets = arena_zalloc(&s->arena, MAX(c->target_count, 1u) * sizeof *s->targets);
    s->proxies = arena_zalloc(&s->arena, MAX(c->target_count, 1u) * sizeof *s->proxies);
    for (uint32_t i = 0; i < c->deployment_count; i++) {
        const struct deployment *d = &c->deployments[i];
        struct http_target *t = &s->targets[d->target];
        if (t->host.n || !provider_dialect(d->provider->dialect)->spoken)
            continue;
        *t = (struct http_target){.host = d->endpoint.host,
                                  .port = d->endpoint.port,
                                  .tls = d->endpoint.tls,
                                  .authority = d->endpoint.authority};
        struct proxy_env *proxy = &s->proxies[d->target];
        if (proxy_env_for(t->tls, t->host, t->port, proxy))
            t->proxy = proxy;
        if (t->proxy && proxy->problem[0])
            return err_set(e, "the way to %.*s: %s", STR_ARG(d->api_base), proxy->problem);
        if (t->tls && !(t->tls_client = tls_for(s, d->ssl_verify, e)))
            return false;
    }
    return true;
}

struct snapshot *snapshot_new(struct gateway *g, struct config *c, struct err *e)
{
    struct snapshot *s = mem_alloc(sizeof *s);
    s->config = c;
    s->references = 1;
    arena_init(&s->arena, NULL, 0);
    if (!make_targets(s, e)) {
        snapshot_put(s);
        return NULL;
    }
    if (c->tls_cert_file.n &&
        !(s->tls_listen = tls_server_new(c->tls_cert_file.p, c->tls_key_file.p, e))) {
        snapshot_put(s);
        return NULL;
    }
    s->texts = texts_new(s, g->version);
    s->states = arena_zalloc(&s->arena, MAX(c->deployment_count, 1u) * sizeof(void *));
    for (uint32_t i = 0; i < c->deployment_count; i++)
        s->states[i] = fleet_state(g->fleet, c->deployments[i].model_id);
    return s;
}

struct snapshot *snapshot_get(struct snapshot *s)
{
    __atomic_add_fetch(&s->references, 1, __ATOMIC_RELAXED);
    return s;
}

void snapshot_put(struct snapshot *s)
{
    if (__atomic_sub_fetch(&s->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    tls_client_free(s->tls_verified);
    tls_client_free(s->tls_unverified);
    tls_server_free(s->tls_listen); /* connections that use it hold what they need */
    arena_fini(&s->arena);
    config_put(s->config);
    mem_free(s);
}

/* ---- a worker's ---- */

static void put_later(void *arg)
{
    snapshot_put(arg);
}

/* Freeing a large configuration and its certificates takes milliseconds: the control thread's. */
static void retire(void *owner, void *p)
{
    struct worker_snapshot *ws = p;
    struct worker *w = owner;
    http_client_free(ws->client);
    hedge_clocks_free(ws->hedges);
    if (w->stopping)
        snapshot_put(ws->shared);
    else
        loop_call(w->gateway->control, put_later, ws->shared);
    mem_free(ws);
}

/* The safe moment is the pass's end: a callback of the client may be what brought us here. */
static void retire_when_unused(struct worker *w, struct worker_snapshot *ws)
{
    if (ws->requests == 0 && ws != w->snapshot)
        loop_later(w->loop, retire, w, ws);
}

struct http_limits worker_http_limits(const struct gateway *g, const struct config *c)
{
    return (struct http_limits){
        .max_head_bytes = (size_t)c->max_header_bytes,
        .max_body_bytes = (size_t)c->max_request_body_bytes,
        .max_connections = (uint32_t)MAX(c->max_connections / g->worker_count, 1),
        .head_timeout_ms = c->header_timeout_ms,
        .body_timeout_ms = c->body_timeout_ms,
        .idle_timeout_ms = c->idle_timeout_ms,
        .write_timeout_ms = c->body_timeout_ms,
    };
}

/* What of the worker follows the configuration beside its requests. */
static void follow(struct worker *w, const struct snapshot *s)
{
    struct gateway *g = w->gateway;
    struct http_limits limits = worker_http_limits(g, s->config);
    http_server_set_limits(w->server, &limits);
    http_server_set_tls(w->server, s->tls_listen);
    if (g->log)
        log_set_text(g->log, w->index, s->config->log_format == LOG_FORMAT_TEXT);
    if (w->index == 0)
        metrics_expect(g->metrics, s->config);
}

void worker_use_snapshot(struct worker *w, struct snapshot *s)
{
    struct worker_snapshot *old = w->snapshot, *ws = mem_alloc(sizeof *ws);
    struct http_client_limits limits = {
        .connect_timeout_ms = s->config->connect_timeout_ms,
        .idle_timeout_ms = s->config->upstream_idle_timeout_ms,
        .max_head_bytes = H1_HEAD_BYTES_MAX,
        .max_idle_per_target = MAX_IDLE_PER_TARGET,
        .counters = &w->upstream,
    };
    ws->shared = s;
    ws->worker = w;
    ws->client = http_client_new(w->loop, w->resolver, http_server_blocks(w->server), &limits,
                                 MAX(s->config->target_count, 1u));
    ws->hedges = hedge_clocks_new(s->config->group_count);
    w->snapshot = ws;
    if (!old)
        return;
    follow(w, s);
    retire_when_unused(w, old);
}

struct worker_snapshot *worker_snapshot_get(struct worker *w)
{
    w->snapshot->requests++;
    return w->snapshot;
}

void worker_snapshot_put(struct worker_snapshot *ws)
{
    ws->requests--;
    retire_when_unused(ws->worker, ws);
}
