/* health.c -- GET /health: is every deployment there, really? [control thread]
 *
 * One GET {api_base}/models per deployment: it proves name resolution, connection, TLS and key without buying tokens (LiteLLM sends a paid
 * completion: docs/compatibility.md). At most PROBES_AT_ONCE run at a time, each at most PROBE_TIMEOUT_MS; the outcome is kept for FRESH_MS and callers
 * that come meanwhile share one round. */
#include "gateway/gateway.h"

#define PROBES_AT_ONCE   16
#define PROBE_TIMEOUT_MS 5000
#define FRESH_MS         2000
#define WAITERS_MAX      64

struct health {
    struct gateway *gateway;
    struct resolver *resolver;
    struct pool blocks;
    struct http_client *client;
    struct probe *probes;   /* one a deployment */
    uint32_t next, running; /* round: next deployment to probe, probes under way */
    uint64_t done_ns;       /* when the last round ended; 0: never */
    bool busy;
    struct control_job *waiters[WAITERS_MAX];
    int waiter_count;
};

struct health *health_new(struct gateway *g)
{
    struct health *h = mem_alloc(sizeof *h);
    struct http_client_limits limits = {.connect_timeout_ms = PROBE_TIMEOUT_MS,
                                        .idle_timeout_ms = 10000,
                                        .max_head_bytes = H1_HEAD_BYTES_MAX,
                                        .max_idle_per_target = 1};
    h->gateway = g;
    h->resolver = resolver_new(g->control);
    pool_init(&h->blocks, BUF_BLOCK_BYTES, 4, "health blocks");
    h->client = http_client_new(g->control, h->resolver, &h->blocks, &limits,
                                g->snapshot->config->target_count);
    h->probes = mem_alloc(g->snapshot->config->deployment_count * sizeof *h->probes);
    return h;
}

/* When no worker runs any more. */
void health_free(struct health *h)
{
    for (int i = 0; i < h->waiter_count; i++)
        control_done(h->waiters[i]); /* to nobody: its client is cut off */
    for (uint32_t i = 0; i < h->gateway->snapshot->config->deployment_count; i++)
        if (h->probes[i].client)
            probe_fini(&h->probes[i]);
    http_client_free(h->client);
    resolver_free(h->resolver);
    pool_trim(&h->blocks);
    mem_free(h->probes);
    mem_free(h);
}

static bool is_healthy(const struct probe *p)
{
    return p->status >= 200 && p->status < 300;
}

static bool write_endpoint(struct buf *out, const struct deployment *d, const struct probe *p,
                           bool first)
{
    bool ok = buf_printf(out, "%s{\"model\":", first ? "" : ",") &&
              json_write_string(out, d->litellm_model) && buf_printf(out, ",\"model_name\":") &&
              json_write_string(out, d->model_name) && buf_printf(out, ",\"model_id\":") &&
              json_write_string(out, d->model_id) && buf_printf(out, ",\"api_base\":") &&
              json_write_string(out, d->api_base) && buf_printf(out, ",\"provider\":") &&
              json_write_string(out, d->provider_name);
    if (ok && !is_healthy(p)) {
        char status[80];
        snprintf(status, sizeof status, "GET {api_base}/models answered %d", p->status);
        ok = buf_printf(out, ",\"error\":") &&
             json_write_string(out, p->status ? str_from(status) : str_from(p->failure));
    }
    return ok && buf_printf(out, "}");
}

static int write_list(struct health *h, struct buf *out, bool healthy)
{
    const struct config *c = h->gateway->snapshot->config;
    int count = 0;
    for (uint32_t i = 0; i < c->deployment_count; i++) {
        if (is_healthy(&h->probes[i]) != healthy)
            continue;
        ENSURE(write_endpoint(out, &c->deployments[i], &h->probes[i], count == 0));
        count++;
    }
    return count;
}

static void answer_waiter(struct health *h, struct control_job *j)
{
    bool ok = buf_printf(&j->body, "{\"healthy_endpoints\":[");
    int healthy = write_list(h, &j->body, true);
    ok = ok && buf_printf(&j->body, "],\"unhealthy_endpoints\":[");
    int unhealthy = write_list(h, &j->body, false);
    ok = ok && buf_printf(&j->body, "],\"healthy_count\":%d,\"unhealthy_count\":%d}\n", healthy,
                          unhealthy);
    ENSURE(ok);
    control_done(j);
}

static void start_more(struct health *h);

static void probe_ended(struct probe *p)
{
    struct health *h = p->arg;
    h->running--;
    start_more(h);
}

/* Keeps PROBES_AT_ONCE running; answers when all have ended. */
static void start_more(struct health *h)
{
    struct gateway *g = h->gateway;
    while (h->running < PROBES_AT_ONCE && h->next < g->snapshot->config->deployment_count) {
        const struct deployment *d = &g->snapshot->config->deployments[h->next];
        struct probe *p = &h->probes[h->next++];
        char path[1024];
        int n = snprintf(path, sizeof path, "%.*s/models", STR_ARG(d->endpoint.path));
        if (!provider_dialect(d->provider->dialect)->spoken) {
            snprintf(p->failure, sizeof p->failure, "%s",
                     error_info(ERR_DIALECT_UNSUPPORTED)->sentence);
            continue;
        }
        if (p->client)
            probe_fini(p);
        p->on_end = probe_ended;
        p->arg = h;
        h->running++;
        probe_start(p, h->client, &g->snapshot->targets[d->target], d->target,
                    (struct str){path, MIN((size_t)n, sizeof path - 1)}, d->authorization,
                    PROBE_TIMEOUT_MS);
    }
    if (h->running > 0)
        return;
    h->busy = false;
    h->done_ns = clock_mono_ns();
    for (int i = 0; i < h->waiter_count; i++)
        answer_waiter(h, h->waiters[i]);
    h->waiter_count = 0;
}

void health_answer(struct gateway *g, struct control_job *j)
{
    struct health *h = g->health;
    if (!h->busy && h->done_ns && clock_mono_ns() - h->done_ns < FRESH_MS * NS_PER_MS) {
        answer_waiter(h, j);
        return;
    }
    if (h->waiter_count == WAITERS_MAX) {
        j->status = error_info(ERR_OVERLOADED)->http_status;
        reply_error_json(ERR_OVERLOADED, STR("too many health checks are waiting"), &j->body);
        control_done(j);
        return;
    }
    h->waiters[h->waiter_count++] = j;
    if (h->busy)
        return;
    h->busy = true;
    h->next = 0;
    start_more(h);
}
