/* engine_poll.c -- asks the engines behind deployments how they are, every weir_settings.engine_poll_ms. [control thread]
 *
 * An engine is asked one thing after the other (engine.c's rows), on a timer of its own, so that many of them spread over the time. Each question has
 * ASK_TIMEOUT_MS and ANSWER_BYTES_MAX; an engine that does not answer the first is down, and nothing older is shown for it. The key and headers of its first
 * deployment are sent: engines with a key ask for it here, too, and it goes nowhere but where that deployment's requests go. */
#include "gateway/gateway.h"

#include "gateway/engine.h"

#define ASK_TIMEOUT_MS   2000
#define ANSWER_BYTES_MAX (1024u * 1024u)
#define FIRST_WITHIN_MS  1000
#define JITTER           0.1 /* of the time between two rounds, either way */

struct engine {
    struct engines *all;
    struct timer timer;
    struct probe probe;
    const struct deployment *deployment; /* the first there: whose key and address are used */
    struct str path, base;
    enum engine_kind configured, kind; /* `kind`: found out, where it is configured as auto */
    enum engine_kind trying;
    int tried; /* kinds, in this round */
    int row;   /* being asked */
    struct engine_report report, next;
    uint64_t asked_ns;
};

struct engines {
    struct loop *loop;
    const struct snapshot *snapshot;
    struct http_client *client;
    struct engine *list;
    uint32_t count;
    uint32_t *of_deployment; /* index in `list` + 1; 0: none */
    struct rng rng;
    struct arena arena, scratch;
};

/* ---- a round ---- */

static int64_t poll_ms(const struct engine *e)
{
    return e->all->snapshot->config->engine_poll_ms;
}

static void ask(struct engine *e, int row)
{
    struct engines *all = e->all;
    const struct deployment *d = e->deployment;
    e->row = row;
    struct probe_ask a = {
        .target = &all->snapshot->targets[d->target],
        .target_index = d->target,
        .path = arena_printf(&all->scratch, "%.*s%s", STR_ARG(e->path), engine_ask(row)->path),
        .lines = all->snapshot->texts[d->id].upstream,
        .keep_bytes = ANSWER_BYTES_MAX,
        .timeout_ms = MIN(poll_ms(e), ASK_TIMEOUT_MS),
    };
    probe_start(&e->probe, all->client, &a);
    arena_reset(&all->scratch);
}

static void try_kind(struct engine *e, enum engine_kind kind)
{
    engine_report_init(&e->next);
    e->trying = kind;
    e->tried++;
    ask(e, engine_next_ask(kind, 0));
}

static void begin_round(struct timer *t)
{
    struct engine *e = CONTAINER(t, struct engine, timer);
    e->tried = 0;
    try_kind(e, e->kind == ENGINE_AUTO ? engine_next_kind(ENGINE_AUTO) : e->kind);
}

static void end_round(struct engine *e)
{
    struct loop *l = e->all->loop;
    double factor = 1 + JITTER * (2 * rng_unit(&e->all->rng) - 1);
    e->report = e->next;
    e->asked_ns = loop_now_ns(l);
    timer_set(l, &e->timer, e->asked_ns + (uint64_t)((double)poll_ms(e) * factor * NS_PER_MS));
}

/* It is not the kind it was taken for: another one, if that is left to us. */
static void not_that_kind(struct engine *e, bool answered)
{
    enum engine_kind next = engine_next_kind(e->trying);
    if (next == ENGINE_NONE)
        next = engine_next_kind(ENGINE_AUTO); /* it began with the kind found before */
    if (e->configured == ENGINE_AUTO && answered && e->tried < ENGINE_KIND_COUNT - ENGINE_AUTO - 1)
        try_kind(e, next);
    else
        end_round(e);
}

static void answered(struct probe *p)
{
    struct engine *e = p->arg;
    const struct engine_ask *asked = engine_ask(e->row);
    int status = p->status;
    bool first = e->row == engine_next_ask(e->trying, 0);
    bool understood =
        status == 200 && !p->too_long && asked->read(&e->all->scratch, buf_str(&p->body), &e->next);
    arena_reset(&e->all->scratch);
    probe_fini(p);
    if (first && !understood) {
        not_that_kind(e, status != 0);
        return;
    }
    if (first) {
        e->kind = e->trying;
        e->next.up = true;
    }
    int row = engine_next_ask(e->trying, e->row + 1);
    if (row >= 0)
        ask(e, row);
    else
        end_round(e);
}

/* ---- which there are ---- */

static struct str without_v1(struct str s)
{
    if (str_ends(s, STR("/v1")))
        s.n -= 3;
    return s;
}

static bool is_there(const struct engine *e, const struct deployment *d)
{
    return e->deployment->target == d->target && e->configured == d->engine &&
           str_eq(e->path, without_v1(d->endpoint.path));
}

static struct engine *find(struct engines *all, const struct deployment *d)
{
    for (uint32_t i = 0; i < all->count; i++)
        if (is_there(&all->list[i], d))
            return &all->list[i];
    return NULL;
}

static struct engine *add(struct engines *all, const struct deployment *d)
{
    struct engine *e = &all->list[all->count++];
    *e = (struct engine){.all = all,
                         .timer = {.on_fire = begin_round},
                         .probe = {.on_end = answered, .arg = e},
                         .deployment = d,
                         .path = without_v1(d->endpoint.path),
                         .base = without_v1(d->api_base),
                         .configured = d->engine,
                         .kind = d->engine};
    engine_report_init(&e->report);
    return e;
}

/* What is known of it from before a reload. */
static void take_over(struct engine *e, const struct engines *former)
{
    for (uint32_t i = 0; former && i < former->count; i++) {
        const struct engine *old = &former->list[i];
        if (old->configured == e->configured && str_eq(old->base, e->base)) {
            e->kind = old->kind;
            e->report = old->report;
            e->asked_ns = old->asked_ns;
            return;
        }
    }
}

static bool is_asked(const struct deployment *d)
{
    return d->engine != ENGINE_NONE && provider_dialect(d->provider->dialect)->spoken;
}

static void start(struct engine *e)
{
    uint64_t within_ns = (uint64_t)MIN(poll_ms(e), FIRST_WITHIN_MS) * NS_PER_MS;
    uint64_t wait_ns = (uint64_t)(rng_unit(&e->all->rng) * (double)within_ns);
    timer_set(e->all->loop, &e->timer, loop_now_ns(e->all->loop) + wait_ns + 1);
}

struct engines *engines_new(struct loop *l, const struct snapshot *s, struct http_client *client,
                            const struct engines *former)
{
    struct engines *all = mem_alloc(sizeof *all);
    const struct config *c = s->config;
    *all = (struct engines){.loop = l, .snapshot = s, .client = client};
    rng_seed(&all->rng, 0);
    arena_init(&all->arena, NULL, 0);
    arena_init(&all->scratch, NULL, 0);
    all->of_deployment =
        arena_zalloc(&all->arena, MAX(c->deployment_count, 1u) * sizeof *all->of_deployment);
    uint32_t at_most = 0;
    for (uint32_t i = 0; c->engine_poll_ms > 0 && i < c->deployment_count; i++)
        at_most += is_asked(&c->deployments[i]);
    all->list = arena_zalloc(&all->arena, MAX(at_most, 1u) * sizeof *all->list);
    for (uint32_t i = 0; at_most > 0 && i < c->deployment_count; i++) {
        const struct deployment *d = &c->deployments[i];
        if (!is_asked(d))
            continue;
        struct engine *e = find(all, d);
        if (!e) {
            e = add(all, d);
            take_over(e, former);
            start(e);
        }
        all->of_deployment[i] = (uint32_t)(e - all->list) + 1;
    }
    return all;
}

void engines_free(struct engines *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        timer_clear(all->loop, &all->list[i].timer);
        probe_fini(&all->list[i].probe);
    }
    arena_fini(&all->scratch);
    arena_fini(&all->arena);
    mem_free(all);
}

/* ---- showing ---- */

uint32_t engines_count(const struct engines *all)
{
    return all->count;
}

struct engine_view engines_view(const struct engines *all, uint32_t index)
{
    const struct engine *e = &all->list[index];
    return (struct engine_view){
        .kind = e->kind, .base = e->base, .report = &e->report, .asked_ns = e->asked_ns};
}

int64_t engines_of(const struct engines *all, uint32_t deployment)
{
    return (int64_t)all->of_deployment[deployment] - 1;
}
