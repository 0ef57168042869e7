/* health.c -- is every deployment there, really? Checks for GET /health, and in the background. [control thread]
 *
 * At most CHECKS_AT_ONCE run at a time, each with a time-out of its own. An outcome is kept: who asks within FRESH_MS gets it, and who asks while a check runs
 * waits for that one. With general_settings.background_health_checks all deployments are checked every health_check_interval, and /health answers what was
 * found last. Outcomes go to the fleet too, where routing may leave out what is dead (router_settings.enable_health_check_routing).
 *
 * A check that finds a resting deployment alive may end its rest early: then one request tries it, as after a rest. It has to prove what the failure was about: a
 * connection that failed is proven by any answer; a 5xx or a time-out only by a completion, since a list of models comes from engines that can do nothing
 * else any more. A refused key and a rate limit are waited for. */
#include "gateway/health.h"

#define CHECKS_AT_ONCE     16
#define CONNECT_TIMEOUT_MS 5000
#define FRESH_MS           2000
#define FIRST_WITHIN_MS    1000 /* of the start: the first background round */
#define JITTER             0.1  /* of the interval, either way */

static const struct config *config_of(const struct health *h)
{
    return h->snapshot->config;
}

/* ---- outcomes ---- */

/* Does the check that was started at `started_ns` prove that what made it rest is over? */
static bool proves(const struct check *c, const struct deployment_state *s)
{
    enum failure_class class =
        (enum failure_class)__atomic_load_n(&s->rest_class, __ATOMIC_RELAXED);
    if (__atomic_load_n(&s->last_failure_ns, __ATOMIC_RELAXED) >= c->started_ns)
        return false;
    return class == FAILURE_CONNECTION ||
           (c->completion && (class == FAILURE_SERVER || class == FAILURE_TIMEOUT));
}

static void tell_fleet(const struct check *c, const struct deployment *d,
                       struct deployment_state *s)
{
    bool transient = c->status == 408 || c->status == 429;
    if (!provider_dialect(d->provider->dialect)->spoken ||
        (transient && config_of(c->health)->routing.health_check_ignores_transient))
        return;
    __atomic_store_n(&s->probed, c->alive ? PROBED_ALIVE : PROBED_DEAD, __ATOMIC_RELAXED);
    __atomic_store_n(&s->probed_ns, c->done_ns, __ATOMIC_RELAXED);
    if (c->alive && proves(c, s))
        fleet_wake(s, c->done_ns);
}

static void answer_ready(struct health *h)
{
    for (int i = 0; i < h->waiter_count;) {
        struct waiter *w = &h->waiters[i];
        while (w->next < h->count && (h->checks[w->next].done_ns >= w->fresh_ns ||
                                      !health_is_asked_for(w, &config_of(h)->deployments[w->next])))
            w->next++;
        if (w->next < h->count) {
            i++;
            continue;
        }
        health_write(h, w);
        *w = h->waiters[--h->waiter_count];
    }
}

/* ---- checks ---- */

static void start_more(struct health *h);

static void end_check(struct check *c)
{
    struct health *h = c->health;
    uint32_t i = (uint32_t)(c - h->checks);
    c->done_ns = clock_mono_ns();
    tell_fleet(c, &config_of(h)->deployments[i], h->snapshot->states[i]);
}

static void probe_ended(struct probe *p)
{
    struct check *c = p->arg;
    struct health *h = c->health;
    health_judge(c);
    probe_fini(p);
    c->running = false;
    h->running--;
    end_check(c);
    start_more(h);
    answer_ready(h);
}

static void start(struct check *c, const struct deployment *d)
{
    c->wanted = false;
    c->started_ns = clock_mono_ns();
    if (!provider_dialect(d->provider->dialect)->spoken) {
        c->alive = false;
        snprintf(c->said, sizeof c->said, "%s", error_info(ERR_DIALECT_UNSUPPORTED)->sentence);
        end_check(c);
        return;
    }
    c->running = true;
    c->health->running++;
    health_ask(c, d);
}

/* Keeps CHECKS_AT_ONCE running, round and round, so that nobody's deployments come first. */
static void start_more(struct health *h)
{
    while (h->running < CHECKS_AT_ONCE && h->wanted > 0) {
        struct check *c = &h->checks[h->next];
        const struct deployment *d = &config_of(h)->deployments[h->next];
        h->next = (h->next + 1) % h->count;
        if (!c->wanted)
            continue;
        h->wanted--;
        start(c, d);
    }
}

static void want(struct health *h, struct check *c)
{
    if (c->wanted || c->running)
        return;
    c->wanted = true;
    h->wanted++;
}

static void want_for(struct health *h, const struct waiter *w)
{
    for (uint32_t i = 0; i < h->count; i++)
        if (h->checks[i].done_ns < w->fresh_ns &&
            health_is_asked_for(w, &config_of(h)->deployments[i]))
            want(h, &h->checks[i]);
}

/* ---- in the background ---- */

static void schedule(struct health *h, uint64_t now_ns)
{
    double factor = 1 + JITTER * (2 * rng_unit(&h->rng) - 1);
    double ns = (double)config_of(h)->health_check_interval_ms * NS_PER_MS * factor;
    timer_set(h->gateway->control, &h->background, now_ns + (uint64_t)ns);
}

static void background_round(struct timer *t)
{
    struct health *h = CONTAINER(t, struct health, background);
    for (uint32_t i = 0; i < h->count; i++)
        want(h, &h->checks[i]);
    start_more(h);
    answer_ready(h); /* where nothing had to be asked */
    schedule(h, loop_now_ns(h->gateway->control));
}

/* Where it goes on already, a reload is no reason to ask everybody anew. */
static void start_background(struct health *h)
{
    struct loop *l = h->gateway->control;
    uint64_t now_ns = loop_now_ns(l);
    double longest_ns = (double)config_of(h)->health_check_interval_ms * NS_PER_MS * (1 + JITTER);
    if (!config_of(h)->background_health_checks)
        timer_clear(l, &h->background);
    else if (!timer_armed(&h->background) || h->background.due_ns > now_ns + (uint64_t)longest_ns)
        timer_set(l, &h->background,
                  now_ns + (uint64_t)(rng_unit(&h->rng) * FIRST_WITHIN_MS * NS_PER_MS) + 1);
}

/* ---- a snapshot's deployments ---- */

/* What is known of a deployment stays known over a reload. */
static void take_over(struct health *h, struct check *former, uint32_t count,
                      const struct config *config)
{
    struct map known;
    map_init(&known);
    for (uint32_t i = 0; i < count; i++)
        map_put(&known, config->deployments[i].model_id, &former[i]);
    for (uint32_t i = 0; i < h->count; i++) {
        const struct check *old = map_get(&known, config_of(h)->deployments[i].model_id);
        struct check *c = &h->checks[i];
        if (!old)
            continue;
        c->completion = old->completion;
        c->done_ns = old->done_ns;
        c->alive = old->alive;
        c->status = old->status;
        memcpy(c->said, old->said, sizeof c->said);
    }
    map_fini(&known);
}

static void attach(struct health *h, struct snapshot *s)
{
    struct http_client_limits limits = {.connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                        .idle_timeout_ms = 10000,
                                        .max_head_bytes = H1_HEAD_BYTES_MAX,
                                        .max_idle_per_target = 1};
    __atomic_add_fetch(&s->references, 1, __ATOMIC_RELAXED);
    h->snapshot = s;
    h->client = http_client_new(h->gateway->control, h->resolver, &h->blocks, &limits,
                                MAX(s->config->target_count, 1u));
    h->count = s->config->deployment_count;
    h->checks = mem_alloc(MAX(h->count, 1u) * sizeof *h->checks);
    h->next = h->wanted = h->running = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        struct check *c = &h->checks[i];
        c->health = h;
        c->probe.on_end = probe_ended;
        c->probe.arg = c;
    }
}

/* Stops what runs. */
static void detach(struct check *checks, uint32_t count, struct http_client *client,
                   struct snapshot *s)
{
    for (uint32_t i = 0; i < count; i++)
        probe_fini(&checks[i].probe);
    http_client_free(client);
    mem_free(checks);
    snapshot_put(s);
}

struct health *health_new(struct gateway *g)
{
    struct health *h = mem_alloc(sizeof *h);
    h->gateway = g;
    h->resolver = resolver_new(g->control);
    h->background.on_fire = background_round;
    rng_seed(&h->rng, 0);
    pool_init(&h->blocks, BUF_BLOCK_BYTES, 4, "health blocks");
    attach(h, g->snapshot);
    h->engines = engines_new(g->control, h->snapshot, h->client, NULL);
    start_background(h);
    return h;
}

/* When no worker runs any more. */
void health_free(struct health *h)
{
    for (int i = 0; i < h->waiter_count; i++)
        control_done(h->waiters[i].job); /* to nobody: its client is cut off */
    timer_clear(h->gateway->control, &h->background);
    engines_free(h->engines);
    detach(h->checks, h->count, h->client, h->snapshot);
    resolver_free(h->resolver);
    pool_trim(&h->blocks);
    mem_free(h);
}

void health_use_snapshot(struct health *h, struct snapshot *s)
{
    struct snapshot *snapshot = h->snapshot; /* the former one, and what belongs to it */
    struct http_client *client = h->client;
    struct engines *engines = h->engines;
    struct check *checks = h->checks;
    uint32_t count = h->count;
    attach(h, s);
    take_over(h, checks, count, snapshot->config);
    h->engines = engines_new(h->gateway->control, s, h->client, engines);
    engines_free(engines);
    detach(checks, count, client, snapshot);
    for (int i = 0; i < h->waiter_count; i++) {
        h->waiters[i].next = 0;
        want_for(h, &h->waiters[i]);
    }
    start_background(h);
    start_more(h);
    answer_ready(h);
}

struct engines *health_engines(struct health *h)
{
    return h->engines;
}

/* ---- GET /health ---- */

void health_answer(struct gateway *g, struct control_job *j)
{
    struct health *h = g->health;
    struct waiter w = {.job = j};
    if (!health_read_query(h, &w))
        return;
    if (h->waiter_count == HEALTH_WAITERS_MAX) {
        j->status = error_info(ERR_OVERLOADED)->http_status;
        reply_error_json(ERR_OVERLOADED, STR("too many health checks are waiting"), &j->body);
        control_done(j);
        return;
    }
    w.fresh_ns =
        config_of(h)->background_health_checks ? 1 : clock_mono_ns() - FRESH_MS * NS_PER_MS;
    h->waiters[h->waiter_count++] = w;
    want_for(h, &w);
    start_more(h);
    answer_ready(h);
}
