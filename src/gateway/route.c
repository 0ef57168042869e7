/* route.c -- step 4: which deployment is asked. Name to group (config_group), then one of the group's deployments (choose.c).
 *
 * Runs once an attempt. The first time it resolves the name; after a failure again.c has settled which group comes next. Where only a deployment is left that
 * failed this very request, it waits before it asks that one again. */
#include "gateway/choose.h"
#include "gateway/gateway.h"
#include "gateway/lines.h"
#include "observe/cost.h"

/* From the first "*" to the last one, the deployment's model stands for what those in the group's name matched. */
static struct str fill_in(struct arena *a, struct str pattern, struct str matched)
{
    ptrdiff_t star = str_find(pattern, '*');
    if (star < 0)
        return pattern;
    size_t last = pattern.n - 1;
    while (pattern.p[last] != '*')
        last--;
    struct str head = {pattern.p, (size_t)star}, tail = str_skip(pattern, last + 1);
    char *text = arena_alloc(a, head.n + matched.n + tail.n);
    return (struct str){text, (size_t)(put(put(put(text, head), matched), tail) - text)};
}

static const struct price *price_of(const struct request *r, const struct deployment *d,
                                    struct str upstream_model)
{
    if (!r->group->wildcard || d->price.known)
        return &d->price;
    const struct price *listed = prices_find(r->config->prices, prices_builtin(), d->provider_name,
                                             upstream_model, STR_NONE);
    return listed ? listed : &d->price;
}

void route_take(struct request *r, struct attempt *a)
{
    const struct deployment *d = a->deployment;
    struct record *rec = &r->record;
    r->attempt = a;
    r->deployment = d;
    r->price = a->price;
    r->upstream_model = a->upstream_model;
    rec->deployed = d;
    rec->deployment = d->model_id;
    rec->provider = d->provider_name;
    rec->upstream_model = a->upstream_model;
    rec->api_base = d->api_base;
}

/* Nobody is asked (any more): what was said of an earlier attempt has its own line in the log. */
static void take_none(struct request *r)
{
    struct record *rec = &r->record;
    r->attempt = NULL;
    r->deployment = NULL;
    rec->deployed = NULL;
    rec->deployment = rec->provider = rec->upstream_model = rec->api_base = STR_NONE;
}

/* A place at the deployment that choose.c likes best. */
struct place {
    const struct request *request;
    struct quota_ticket ticket;
};

static bool take_place(void *arg, const struct deployment *d)
{
    struct place *p = arg;
    const struct request *r = p->request;
    p->ticket = (struct quota_ticket){0};
    return deployment_take(r, r->snapshot->shared->states[d->id], d, loop_now_ns(r->worker->loop),
                           &p->ticket) == QUOTA_OK;
}

static struct choice choose(struct request *r, struct place *place)
{
    *place = (struct place){.request = r};
    struct choice_request q = {
        .group = r->group,
        .routing = &r->config->routing,
        .states = r->snapshot->shared->states,
        .tags = r->tags,
        .tag_count = r->tag_count,
        .sticky = r->sticky,
        .stream = r->stream,
        .prompt_tokens = cost_estimate_tokens((uint64_t)r->prompt_bytes),
        .tried = r->tried,
        .tried_count = r->tried_count,
        .take = take_place,
        .take_arg = place,
        .now_ns = loop_now_ns(r->worker->loop),
        .rng = &r->worker->rng,
    };
    return choose_deployment(&q);
}

/* It was not to be. */
static void give_back(struct request *r, const struct choice *c, struct place *place)
{
    if (c->half_open)
        fleet_untried(r->snapshot->shared->states[c->deployment->id]);
    quota_refund(&place->ticket);
}

static void make_attempt(struct request *r, struct attempt *a, const struct choice *c,
                         const struct place *place)
{
    const struct deployment *d = c->deployment;
    *a = (struct attempt){
        .request = r,
        .phase = ATTEMPT_CHOSEN,
        .half_open = c->half_open,
        .ticket = place->ticket,
        .fallback_from = r->record.fallback_from,
        .deployment = d,
        .state = r->snapshot->shared->states[d->id],
        .upstream_model = fill_in(&r->arena, d->upstream_model, r->matched),
        .chosen_ns = loop_now_ns(r->worker->loop),
    };
    a->price = price_of(r, d, a->upstream_model);
    if (!r->first_chosen_ns)
        r->first_chosen_ns = a->chosen_ns;
}

static void waited(struct timer *t)
{
    struct request *r = CONTAINER(t, struct request, timer);
    r->waited = true;
    request_run(r);
}

static enum step_result wait_first(struct request *r, const struct choice *c, struct place *place)
{
    give_back(r, c, place);
    take_none(r);
    r->timer.on_fire = waited;
    timer_set(r->worker->loop, &r->timer, loop_now_ns(r->worker->loop) + again_wait_ns(r));
    return STEP_WAIT;
}

static enum step_result find_group(struct request *r)
{
    struct record *rec = &r->record;
    r->group = config_group(r->config, rec->model, &r->matched);
    if (!r->group)
        return request_error(r, ERR_MODEL_UNKNOWN,
                             "%.*s: Invalid model name passed in model=%.*s. Call `/v1/models` to "
                             "view available models for your key.",
                             STR_ARG(r->call->route), STR_ARG(rec->model));
    /* A wildcard matches names that strangers choose: those never become a label. */
    rec->model_known = !r->group->wildcard;
    for (int i = 0; i < r->asked_fallbacks.count; i++)
        if (!config_group(r->config, r->asked_fallbacks.to[i], NULL))
            return request_error(r, ERR_MODEL_UNKNOWN,
                                 "\"fallbacks\": \"%.*s\" is no model here; GET /v1/models lists "
                                 "those there are",
                                 STR_ARG(r->asked_fallbacks.to[i]));
    return STEP_NEXT;
}

static enum step_result none_to_ask(struct request *r, const struct choice *c)
{
    char text[CHOICE_PROBLEM_BYTES];
    size_t n = choice_problem(c, r->record.model, text);
    take_none(r);
    if (c->wait_ns)
        r->retry_after_s = (int64_t)MAX((c->wait_ns + NS_PER_S - 1) / NS_PER_S, 1u);
    return request_error(r, c->why, "%.*s", (int)n, text);
}

enum step_result route_run(struct request *r)
{
    r->record.attempts = MAX(r->record.attempts, (int64_t)0);
    if (!r->group && find_group(r) == STEP_FAIL)
        return STEP_FAIL;
    struct place place;
    struct choice c = choose(r, &place);
    while (!c.deployment && again_elsewhere(r, c.why))
        c = choose(r, &place);
    if (!c.deployment)
        return none_to_ask(r, &c);
    if (again_has_failed(r, c.deployment) && !r->waited)
        return wait_first(r, &c, &place);
    r->waited = false;
    make_attempt(r, &r->first_attempt, &c, &place);
    route_take(r, &r->first_attempt);
    if (provider_dialect(c.deployment->provider->dialect)->spoken)
        return STEP_NEXT;
    return request_error(r, ERR_DIALECT_UNSUPPORTED, "%.*s: %s",
                         STR_ARG(c.deployment->provider_name),
                         error_info(ERR_DIALECT_UNSUPPORTED)->sentence);
}

bool route_hedge(struct request *r)
{
    struct attempt *first = &r->first_attempt;
    if (r->attempt != first || r->tried_count || first->phase == ATTEMPT_WON)
        return false;
    r->tried[r->tried_count++] = first->deployment->id;
    struct place place;
    struct choice c = choose(r, &place);
    r->tried_count = 0;
    bool other = c.deployment && c.deployment != first->deployment && !c.half_open &&
                 provider_dialect(c.deployment->provider->dialect)->spoken;
    if (!other) {
        if (c.deployment)
            give_back(r, &c, &place);
        return false;
    }
    if (!r->second_attempt)
        r->second_attempt = arena_zalloc(&r->arena, sizeof *r->second_attempt);
    make_attempt(r, r->second_attempt, &c, &place);
    r->second_attempt->is_hedge = true;
    upstream_send(r->second_attempt);
    return true;
}
