/* choose.c -- see choose.h. A sieve, then an order.
 *
 * The sieve (`sieve`) leaves out what may not be chosen at all: wrong tags, a prompt that is too long, a rest, a limit reached. The rest is put in
 * order by three things, the first of which counts most, and the first in that order whose `take` succeeds is the choice:
 *
 *     tier    what comes before any strategy: tags that match before "default"; healthy before probed dead; not yet tried by this request
 *             before tried; then `order`. So a level whose deployments all failed or are full gives way to the next one, by itself.
 *     score   the strategy's number, lower is better
 *     race    who wins among equals, at random: -ln(u) / weight, with u from a hash of the deployment and a seed
 *
 * The race is where weights live: of exponential times with rates w, each is the first with probability w / sum of w, and what is left
 * when the first is taken away races on with the same odds. With a random seed that is a weighted shuffle. With the session's hash as
 * seed it is rendezvous hashing: every worker and every process agree without a table, and a deployment that goes moves only
 * its own sessions.
 *
 * Nothing is remembered of those that were refused: the next best is the lowest place in the order that is higher than the last one. */
#include "gateway/choose.h"

#include <math.h>

#define EXPECTED_TOKENS  100 /* of a stream: what its speed is judged by */
#define EXPLORE_AGAIN_NS (5 * NS_PER_S)
#define UNKNOWN_COST     5.0 /* USD a token: LiteLLM's, so that the unknown is the last resort */
/* A session's deployment is crowded when it has this many more in flight than its share, and a quarter: then others take over what comes. */
#define CROWD_SLACK 8.0
#define CROWD_SHARE 1.25
#define MEMO_BITS   64

#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)

/* One call of choose_deployment. */
struct chooser {
    const struct choice_request *q;
    bool tagged_only; /* an untagged request in a group that has "default" deployments */
    uint64_t seed;
};

enum sieved { MAY, RESTS, FULL, TOO_LONG, OTHER_TAGS, SIEVED_COUNT };

/* The lowest tier that has a candidate, and what the strategies want to know of it as a whole. */
struct tier {
    uint64_t number;
    int count;
    uint64_t memo;            /* the members among the group's first 64 */
    double lowest_us;         /* latency; infinite: nothing measured */
    double weight, in_flight; /* sums; 0: all are weightless */
};

struct place {
    double score, race;
    int at; /* index in the group; for two entries of one id, which race alike */
};

static struct deployment_state *state_of(const struct chooser *c, const struct deployment *d)
{
    return c->q->states[d->id];
}

/* ---- tags ---- */

static bool has_tag(const struct deployment *d, struct str tag)
{
    for (int i = 0; i < d->tag_count; i++)
        if (str_eq(d->tags[i], tag))
            return true;
    return false;
}

static bool is_default(const struct deployment *d)
{
    return has_tag(d, STR("default"));
}

static bool tags_match(const struct chooser *c, const struct deployment *d)
{
    bool any = c->q->routing->tags_match_any;
    for (int i = 0; i < c->q->tag_count; i++)
        if (has_tag(d, c->q->tags[i]) == any)
            return any;
    return !any;
}

/* 0: first choice; 1: where there is none; -1: not at all. */
static int tag_rank(const struct chooser *c, const struct deployment *d)
{
    if (!c->q->routing->tag_filtering)
        return 0;
    if (c->q->tag_count == 0)
        return c->tagged_only && !is_default(d) ? -1 : 0;
    return tags_match(c, d) ? 0 : is_default(d) ? 1 : -1;
}

static bool group_has_default(const struct model_group *g)
{
    for (int i = 0; i < g->count; i++)
        if (is_default(g->deployments[i]))
            return true;
    return false;
}

/* ---- limits ---- */

static bool is_usage(const struct routing *r)
{
    return r->strategy == STRATEGY_USAGE || r->strategy == STRATEGY_USAGE_V2;
}

bool deployment_limits(const struct routing *r, const struct deployment *d, struct quota_limits *l)
{
    bool rates = is_usage(r) || r->enforce_rate_limits;
    int parallel =
        d->max_parallel_requests > 0 ? d->max_parallel_requests : r->default_max_parallel_requests;
    *l = (struct quota_limits){.requests = rates && d->rpm >= 0 ? (int64_t)d->rpm : -1,
                               .tokens = rates && d->tpm >= 0 ? (int64_t)d->tpm : -1,
                               .parallel = parallel > 0 ? parallel : -1};
    return l->requests >= 0 || l->tokens >= 0 || l->parallel >= 0;
}

/* ns until there is room for a request; 0: there is. `refused`: not for this one, which then needs more tokens than are left. */
static uint64_t room_after_ns(const struct chooser *c, const struct deployment *d, bool refused)
{
    struct quota_limits limits;
    struct quota_view view;
    if (!deployment_limits(c->q->routing, d, &limits))
        return 0;
    quota_look(&state_of(c, d)->quota, &limits, c->q->now_ns, &view);
    if (view.remaining_requests == 0 || view.remaining_tokens == 0 ||
        (refused && limits.tokens >= 0))
        return MAX(view.reset_ns, NS_PER_S);
    if (limits.parallel >= 0 && view.parallel >= limits.parallel)
        return NS_PER_S; /* when one of them ends: a guess */
    return 0;
}

/* ---- the sieve and the tiers ---- */

static enum sieved sieve(const struct chooser *c, const struct deployment *d)
{
    const struct routing *r = c->q->routing;
    if (tag_rank(c, d) < 0)
        return OTHER_TAGS;
    if (r->pre_call_checks && d->max_input_tokens >= 0 && c->q->prompt_tokens > d->max_input_tokens)
        return TOO_LONG;
    if (!r->disable_cooldowns && fleet_rest(state_of(c, d), c->q->now_ns) == REST_RESTS)
        return RESTS;
    return room_after_ns(c, d, false) ? FULL : MAY;
}

/* What the background check found, as long as it is fresh. */
static bool is_probed_dead(const struct chooser *c, const struct deployment *d)
{
    const struct routing *r = c->q->routing;
    const struct deployment_state *s = state_of(c, d);
    if (!r->health_check_routing || LOAD(s->probed) != PROBED_DEAD)
        return false;
    uint64_t probed_ns = LOAD(s->probed_ns), now_ns = c->q->now_ns;
    return r->health_check_staleness_ms <= 0 || now_ns <= probed_ns ||
           now_ns - probed_ns <= (uint64_t)r->health_check_staleness_ms * NS_PER_MS;
}

static bool was_tried(const struct chooser *c, const struct deployment *d)
{
    for (int i = 0; i < c->q->tried_count; i++)
        if (c->q->tried[i] == d->id)
            return true;
    return false;
}

static uint64_t tier_of(const struct chooser *c, const struct deployment *d)
{
    uint64_t order = (uint32_t)d->order ^ 0x80000000u; /* negative ones first */
    return (uint64_t)tag_rank(c, d) << 34 | (uint64_t)is_probed_dead(c, d) << 33 |
           (uint64_t)was_tried(c, d) << 32 | order;
}

/* ---- the strategies ---- */

/* By simple-shuffle only, as in LiteLLM; elsewhere all are alike. */
static double weight_of(const struct chooser *c, const struct deployment *d)
{
    bool weighted = c->q->routing->strategy == STRATEGY_SIMPLE_SHUFFLE;
    return weighted && d->weight > 0 ? d->weight : 1;
}

/* Weight 0 is for when all others are gone, or have weight 0 too. */
static bool is_weightless(const struct chooser *c, const struct deployment *d)
{
    return c->q->routing->strategy == STRATEGY_SIMPLE_SHUFFLE && d->weight <= 0;
}

static double by_weight(const struct chooser *c, const struct tier *t, const struct deployment *d)
{
    (void)t;
    return is_weightless(c, d);
}

static double by_in_flight(const struct chooser *c, const struct tier *t,
                           const struct deployment *d)
{
    (void)t;
    return LOAD(state_of(c, d)->in_flight);
}

static double by_usage(const struct chooser *c, const struct tier *t, const struct deployment *d)
{
    static const struct quota_limits none = {-1, -1, -1};
    struct quota_view view;
    (void)t;
    quota_look(&state_of(c, d)->quota, &none, c->q->now_ns, &view);
    return (double)view.tokens;
}

static double by_cost(const struct chooser *c, const struct tier *t, const struct deployment *d)
{
    double input = d->price.input_per_token, output = d->price.output_per_token;
    (void)c, (void)t;
    return (input >= 0 ? input : UNKNOWN_COST) + (output >= 0 ? output : UNKNOWN_COST);
}

static bool is_half_open(const struct chooser *c, const struct deployment *d)
{
    return fleet_rest(state_of(c, d), c->q->now_ns) == REST_HALF_OPEN;
}

/* µs: of a stream the time to its 100th token, of a plain answer the time per token. Negative: not measured, too long ago, or before a rest. */
static double latency_us(const struct chooser *c, const struct deployment *d)
{
    const struct deployment_state *s = state_of(c, d);
    uint64_t measured_ns = c->q->stream ? LOAD(s->measured_ns) : LOAD(s->plain_measured_ns);
    uint64_t stale_ns = measured_ns + (uint64_t)c->q->routing->latency_ttl_ms * NS_PER_MS;
    if (!measured_ns || c->q->now_ns > stale_ns || is_half_open(c, d))
        return -1;
    if (!c->q->stream)
        return (double)LOAD(s->plain_token_us);
    return (double)LOAD(s->ttft_us) + EXPECTED_TOKENS * (double)LOAD(s->token_us);
}

/* An unmeasured one comes first, but with one request at a time, since it may be slow; and not at once after it failed. */
static bool may_explore(const struct chooser *c, const struct deployment *d)
{
    const struct deployment_state *s = state_of(c, d);
    uint64_t failed_ns = LOAD(s->last_failure_ns);
    bool failed_lately =
        failed_ns > LOAD(s->last_success_ns) && c->q->now_ns < failed_ns + EXPLORE_AGAIN_NS;
    return LOAD(s->in_flight) == 0 && (!failed_lately || is_half_open(c, d));
}

static double by_latency(const struct chooser *c, const struct tier *t, const struct deployment *d)
{
    if (isinf(t->lowest_us)) /* nothing is known of any */
        return by_in_flight(c, t, d);
    double us = latency_us(c, d);
    if (us < 0)
        return may_explore(c, d) ? -1 : INFINITY;
    return us <= t->lowest_us * (1 + c->q->routing->lowest_latency_buffer) ? 0 : us;
}

typedef double score_fn(const struct chooser *c, const struct tier *t, const struct deployment *d);

static score_fn *const scores[] = {
    [STRATEGY_SIMPLE_SHUFFLE] = by_weight, [STRATEGY_LEAST_BUSY] = by_in_flight,
    [STRATEGY_USAGE] = by_usage,           [STRATEGY_USAGE_V2] = by_usage,
    [STRATEGY_LATENCY] = by_latency,       [STRATEGY_COST] = by_cost,
};

/* ---- sessions ---- */

/* A session with many requests at once, or a beginning that all prompts have in common, must not bury one deployment while others idle. */
static bool is_crowded(const struct chooser *c, const struct tier *t, const struct deployment *d)
{
    double share = t->in_flight * (t->weight > 0 ? weight_of(c, d) / t->weight : 1.0 / t->count);
    return LOAD(state_of(c, d)->in_flight) >= CROWD_SLACK + CROWD_SHARE * share;
}

static double by_session(const struct chooser *c, const struct tier *t, const struct deployment *d)
{
    return 2 * is_weightless(c, d) + is_crowded(c, t, d);
}

/* ---- the order ---- */

static double race_of(const struct chooser *c, const struct deployment *d)
{
    uint64_t pair[] = {c->seed, state_of(c, d)->hash};
    uint64_t hash = str_hash((struct str){(const char *)pair, sizeof pair});
    double u = ((double)(hash >> 11) + 0.5) * 0x1.0p-53; /* within (0, 1) */
    return -log(u) / weight_of(c, d);
}

static bool is_before(struct place a, struct place b)
{
    if (a.score != b.score)
        return a.score < b.score;
    return a.race != b.race ? a.race < b.race : a.at < b.at;
}

static void add_member(const struct chooser *c, struct tier *t, const struct deployment *d, int at)
{
    double us = c->q->routing->strategy == STRATEGY_LATENCY ? latency_us(c, d) : -1;
    t->count++;
    t->memo |= at < MEMO_BITS ? (uint64_t)1 << at : 0;
    t->lowest_us = us >= 0 ? MIN(us, t->lowest_us) : t->lowest_us;
    t->weight += is_weightless(c, d) ? 0 : weight_of(c, d);
    t->in_flight += LOAD(state_of(c, d)->in_flight);
}

/* The lowest tier from `from` on; its count is 0 where there is none. */
static struct tier find_tier(const struct chooser *c, uint64_t from)
{
    struct tier t = {.number = UINT64_MAX, .lowest_us = INFINITY};
    for (int i = 0; i < c->q->group->count; i++) {
        const struct deployment *d = c->q->group->deployments[i];
        if (sieve(c, d) != MAY)
            continue;
        uint64_t number = tier_of(c, d);
        if (number < from || number > t.number)
            continue;
        if (number < t.number)
            t = (struct tier){.number = number, .lowest_us = INFINITY};
        add_member(c, &t, d, i);
    }
    return t;
}

static bool is_member(const struct chooser *c, const struct tier *t, int at)
{
    const struct deployment *d = c->q->group->deployments[at];
    return at < MEMO_BITS ? t->memo >> at & 1 : sieve(c, d) == MAY && tier_of(c, d) == t->number;
}

/* Moves *last on to the tier's next place. False: that was the last. */
static bool next_place(const struct chooser *c, const struct tier *t, struct place *last)
{
    score_fn *score = c->q->sticky ? by_session : scores[c->q->routing->strategy];
    struct place best;
    bool found = false;
    for (int i = 0; i < c->q->group->count; i++) {
        if (!is_member(c, t, i))
            continue;
        const struct deployment *d = c->q->group->deployments[i];
        struct place here = {.score = score(c, t, d), .race = race_of(c, d), .at = i};
        if (is_before(*last, here) && (!found || is_before(here, best))) {
            best = here;
            found = true;
        }
    }
    if (found)
        *last = best;
    return found;
}

/* Takes what must be won: the lease of one that is half open, and the caller's part. */
static bool win(const struct chooser *c, const struct deployment *d, struct choice *out)
{
    struct deployment_state *s = state_of(c, d);
    bool rested = !c->q->routing->disable_cooldowns && fleet_rest(s, c->q->now_ns) != REST_NOT;
    bool half_open = rested && fleet_try(s, c->q->now_ns);
    if (rested && !half_open && fleet_rest(s, c->q->now_ns) != REST_NOT)
        return false; /* another one tries it */
    if (c->q->take && !c->q->take(c->q->take_arg, d)) {
        if (half_open)
            fleet_untried(s);
        return false;
    }
    *out = (struct choice){.deployment = d, .half_open = half_open};
    return true;
}

/* ---- nothing found ---- */

static COLD struct choice nothing(const struct chooser *c)
{
    struct choice out = {.wait_ns = UINT64_MAX};
    int left_out[SIEVED_COUNT] = {0};
    for (int i = 0; i < c->q->group->count; i++) {
        const struct deployment *d = c->q->group->deployments[i];
        enum sieved sieved = sieve(c, d);
        left_out[sieved == MAY ? FULL : sieved]++; /* it may, but `take` refused or it was lost */
        if (sieved == RESTS)
            out.wait_ns = MIN(out.wait_ns, fleet_rest_left_ns(state_of(c, d), c->q->now_ns));
        else if (sieved == FULL || sieved == MAY)
            out.wait_ns = MIN(out.wait_ns, room_after_ns(c, d, sieved == MAY));
    }
    out.resting = left_out[RESTS];
    out.full = left_out[FULL];
    out.too_long = left_out[TOO_LONG];
    out.other_tags = left_out[OTHER_TAGS];
    out.why = out.full       ? ERR_DEPLOYMENTS_FULL
              : out.resting  ? ERR_DEPLOYMENTS_REST
              : out.too_long ? ERR_PROMPT_TOO_LONG
                             : ERR_TAGS_UNMATCHED;
    out.wait_ns = out.full || out.resting ? MAX(out.wait_ns, NS_PER_S) : 0;
    return out;
}

struct choice choose_deployment(const struct choice_request *q)
{
    struct chooser c = {.q = q, .seed = q->sticky ? q->sticky : rng_next(q->rng)};
    struct choice out;
    c.tagged_only = q->routing->tag_filtering && q->tag_count == 0 && group_has_default(q->group);
    for (struct tier t = find_tier(&c, 0); t.count; t = find_tier(&c, t.number + 1))
        for (struct place at = {.score = -INFINITY, .at = -1}; next_place(&c, &t, &at);)
            if (win(&c, q->group->deployments[at.at], &out))
                return out;
    return nothing(&c);
}

size_t choice_problem(const struct choice *c, struct str model, char out[CHOICE_PROBLEM_BYTES])
{
    const struct {
        const char *what;
        int count;
    } causes[] = {{"resting after failures", c->resting},
                  {"at a limit", c->full},
                  {"prompt too long for", c->too_long},
                  {"other tags", c->other_tags}};
    struct str name = {model.p, MIN(model.n, 64)};
    char *at = out, *end = out + CHOICE_PROBLEM_BYTES; /* has room for the longest */
    at += snprintf(at, (size_t)(end - at), "No deployments available for selected model");
    if (c->wait_ns)
        at += snprintf(at, (size_t)(end - at), ", Try again in %llu seconds",
                       (unsigned long long)((c->wait_ns + NS_PER_S - 1) / NS_PER_S));
    at += snprintf(at, (size_t)(end - at), ". Passed model=%.*s. Its deployments: ", STR_ARG(name));
    const char *between = "";
    for (size_t i = 0; i < COUNT(causes); i++) {
        if (!causes[i].count)
            continue;
        at +=
            snprintf(at, (size_t)(end - at), "%s%s: %d", between, causes[i].what, causes[i].count);
        between = ", ";
    }
    return (size_t)(at - out);
}
