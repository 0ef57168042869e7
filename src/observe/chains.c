/* chains.c -- lines become chains: weir's at once, LiteLLM's when all parts of a trace are there (chains_settle).
 *
 * Everything that is kept is either a sum or chosen by an order that has no equals, so it does not matter which thread saw what. */
#include "observe/chains.h"

#include <math.h>

#define COUNT_LIMIT                                                                                \
    INT64_C(1000000) /* no request makes more attempts: a line's nonsense must not wrap a sum */
#define OTHER STR("other")

void chains_init(struct chains *c, size_t worst_max)
{
    worst_max = MIN(worst_max, (size_t)CHAINS_WORST_MAX);
    *c = (struct chains){.worst_max = worst_max};
    log_names_init(&c->names, CHAINS_NAMES_MAX);
    map_init(&c->models.by_name);
    map_init(&c->providers.by_name);
    map_init(&c->route_by_name);
    c->worst = mem_alloc((worst_max + 1) * sizeof(struct chain *));
}

static void groups_fini(struct chain_groups *g)
{
    for (size_t i = 0; i < g->count; i++)
        mem_free(g->list[i]);
    mem_free(g->list);
    map_fini(&g->by_name);
}

static void sum_fini(struct chain_sum *s)
{
    histogram_fini(&s->added);
}

void chains_fini(struct chains *c)
{
    groups_fini(&c->models);
    groups_fini(&c->providers);
    for (size_t i = 0; i < c->route_count; i++) {
        histogram_fini(&c->routes[i]->added);
        mem_free(c->routes[i]);
    }
    for (size_t i = 0; i < c->worst_count; i++)
        mem_free(c->worst[i]);
    sum_fini(&c->retry);
    sum_fini(&c->fallback);
    map_fini(&c->route_by_name);
    mem_free(c->routes);
    mem_free(c->worst);
    mem_free(c->traces);
    mem_free(c->table);
    log_names_fini(&c->names);
}

/* ---- groups and routes ---- */

/* Room in a list of pointers doubles at each power of two. */
static void *list_room(void *list, size_t count)
{
    return (count & (count - 1)) == 0
               ? mem_realloc(list, MAX(count * 2, (size_t)1) * sizeof(void *))
               : list;
}

/* Names are few (CHAINS_NAMES_MAX), so groups are. */
static struct chain_group *group_of(struct chain_groups *g, const char *name)
{
    struct str key = name ? str_from(name) : STR("\xFF"); /* no text: it is not UTF-8 */
    struct chain_group *found = map_get(&g->by_name, key);
    if (found)
        return found;
    found = mem_alloc(sizeof *found);
    found->name = name;
    map_put(&g->by_name, key, found);
    g->list = list_room(g->list, g->count);
    g->list[g->count++] = found;
    return found;
}

static struct chain_route *route_of(struct chains *c, const char *from, const char *to)
{
    char text[2 * LOG_NAME_BYTES + 4];
    int n = snprintf(text, sizeof text, "%s\xFE%s", from ? from : "\xFF", to ? to : "\xFF");
    struct str key = {text, (size_t)n};
    struct chain_route *found = map_get(&c->route_by_name, key);
    if (found)
        return found;
    if (c->route_count >= CHAINS_ROUTES_MAX) {
        const char *other = log_name(&c->names, OTHER);
        if (from != other || to != other)
            return route_of(c, other, other);
    }
    found = mem_alloc(sizeof *found);
    found->from = from;
    found->to = to;
    map_put(&c->route_by_name, arena_str(&c->names.texts, key), found);
    c->routes = list_room(c->routes, c->route_count);
    c->routes[c->route_count++] = found;
    return found;
}

/* ---- the worst ---- */

static int compare_names(const char *a, const char *b)
{
    return !a || !b ? (b != NULL) - (a != NULL) : strcmp(a, b);
}

static int compare(const struct chain *a, const struct chain *b)
{
    if (a->attempts != b->attempts)
        return a->attempts > b->attempts ? -1 : 1;
    if (a->latency_us != b->latency_us)
        return a->latency_us > b->latency_us ? -1 : 1;
    if (a->stamp_us != b->stamp_us)
        return a->stamp_us < b->stamp_us ? -1 : 1;
    int order = strcmp(a->id, b->id);
    order = order ? order : compare_names(a->model, b->model);
    return order ? order : (int)a->outcome - (int)b->outcome;
}

static void keep_if_worst(struct chains *c, const struct chain *chain)
{
    size_t at = c->worst_count;
    if (at == c->worst_max && (!at || compare(chain, c->worst[at - 1]) >= 0))
        return;
    struct chain *kept = mem_alloc(sizeof *kept);
    *kept = *chain;
    for (; at > 0 && compare(kept, c->worst[at - 1]) < 0; at--)
        c->worst[at] = c->worst[at - 1];
    c->worst[at] = kept;
    if (++c->worst_count > c->worst_max)
        mem_free(c->worst[--c->worst_count]);
}

/* ---- a chain ---- */

struct finished {
    struct chain chain;           /* attempts 0: never reached an upstream */
    const char *asked, *provider; /* what it counts for */
    int64_t added_us;             /* -1: not told */
    uint64_t cost_pico;
    bool fell_back;
};

static void add_to_sum(struct chain_sum *s, bool success, int64_t added_us)
{
    s->requests++;
    s->success += success;
    if (added_us >= 0)
        histogram_add(&s->added, (uint64_t)added_us);
}

static void add_to_group(struct chain_group *g, uint64_t requests, uint64_t attempts, bool again,
                         bool success)
{
    g->requests += requests;
    g->attempts += attempts;
    g->retried += again;
    g->saved += again && success;
}

static void add_fallback(struct chains *c, const struct finished *f, bool success)
{
    struct chain_route *r = route_of(c, f->chain.from, f->chain.model);
    r->count++;
    r->success += success;
    sum_add(&r->cost_pico, f->cost_pico);
    if (f->added_us >= 0)
        histogram_add(&r->added, (uint64_t)f->added_us);
}

static void add_chain(struct chains *c, const struct finished *f)
{
    uint64_t attempts = f->chain.attempts;
    bool success = f->chain.outcome == LOG_OUTCOME_SUCCESS;
    bool again = attempts > 1 || f->fell_back;
    c->requests++;
    c->need[MIN(attempts, (uint64_t)CHAINS_NEED_MAX)].requests++;
    c->need[MIN(attempts, (uint64_t)CHAINS_NEED_MAX)].success += success;
    if (again)
        add_to_sum(f->fell_back ? &c->fallback : &c->retry, success, f->added_us);
    if (f->fell_back)
        add_fallback(c, f, success);
    if (!attempts)
        return;
    c->reached++;
    c->attempts += attempts;
    add_to_group(group_of(&c->models, f->asked), 1, attempts, again, success);
    add_to_group(group_of(&c->providers, f->provider), 1, attempts, again, success);
    if (again)
        keep_if_worst(c, &f->chain);
}

static void add_failed_attempt(struct chains *c, const struct logline *l, int64_t took_us,
                               uint64_t cost_pico)
{
    struct chain_group *groups[] = {
        group_of(&c->models, log_name_of(&c->names, l, LOG_model)),
        group_of(&c->providers, log_name_of(&c->names, l, LOG_provider))};
    for (size_t i = 0; i < COUNT(groups); i++) {
        groups[i]->failed_attempts++;
        groups[i]->wasted_us += (uint64_t)took_us;
        sum_add(&groups[i]->wasted_pico, cost_pico);
    }
    c->failed_attempts++;
    c->wasted_us += (uint64_t)took_us;
    sum_add(&c->wasted_pico, cost_pico);
}

/* ---- lines ---- */

static int64_t known(const struct logline *l, uint64_t bit, int64_t value, int64_t otherwise)
{
    return l->found & bit ? value : otherwise;
}

static int64_t stamp_of(const struct logline *l)
{
    return known(l, LOG_BIT(timestamp), l->r.timestamp, INT64_MAX);
}

static void take_attempt(struct chains *c, const struct logline *l)
{
    int64_t upstream_us = known(l, LOG_BIT(upstream), l->r.upstream_us, 0);
    if (log_outcome_of(l) == LOG_OUTCOME_FAILURE)
        add_failed_attempt(c, l, known(l, LOG_BIT(latency), l->r.latency_us, upstream_us),
                           line_cost_pico(l));
}

static void take_request(struct chains *c, const struct logline *l)
{
    int64_t latency_us = known(l, LOG_BIT(latency), l->r.latency_us, -1);
    int64_t upstream_us = known(l, LOG_BIT(upstream), l->r.upstream_us, -1);
    int64_t attempts = MIN(known(l, LOG_BIT(attempts), l->r.attempts, 0), COUNT_LIMIT);
    struct finished f = {
        .chain = {.attempts = (uint64_t)attempts,
                  .latency_us = latency_us,
                  .stamp_us = stamp_of(l),
                  .outcome = log_outcome_of(l),
                  .model = log_name_of(&c->names, l, LOG_model),
                  .from = log_name_of(&c->names, l, LOG_fallback_from)},
        .asked = log_name_of(&c->names, l, LOG_model),
        .provider = log_name_of(&c->names, l, LOG_provider),
        .added_us = latency_us >= 0 && upstream_us >= 0 ? MAX(latency_us - upstream_us, 0) : -1,
        .cost_pico = line_cost_pico(l),
        .fell_back = l->found & LOG_BIT(fallback_from)};
    /* Where the model asked for is the one that failed, what answered is told by its upstream name only. */
    f.chain.model = f.fell_back && f.asked == f.chain.from
                        ? log_name_of(&c->names, l, LOG_upstream_model)
                        : f.asked;
    if (attempts > 1 || f.fell_back)
        log_text_copy(l, LOG_request_id, f.chain.id, sizeof f.chain.id);
    add_chain(c, &f);
    /* Without a provider it ended between two attempts, or nobody was left to ask: each of its attempts has a line of its own. */
    if (attempts > 0 && f.chain.outcome == LOG_OUTCOME_FAILURE && l->found & LOG_BIT(provider))
        add_failed_attempt(c, l,
                           upstream_us >= 0 ? upstream_us
                           : attempts == 1  ? MAX(latency_us, 0)
                                            : 0,
                           f.cost_pico);
}

/* ---- LiteLLM: traces ---- */

static bool is_sampled(const struct chains *c, uint64_t hash)
{
    return c->sample_bits == 0 || hash >> (64 - c->sample_bits) == 0;
}

static void index_traces(struct chains *c)
{
    mem_free(c->table);
    c->table_size = 64;
    while (c->table_size < c->trace_room * 2)
        c->table_size *= 2;
    c->table = mem_alloc(c->table_size * sizeof *c->table);
    for (size_t t = 0; t < c->trace_count; t++) {
        size_t i = c->traces[t].hash & (c->table_size - 1);
        while (c->table[i])
            i = (i + 1) & (c->table_size - 1);
        c->table[i] = (uint32_t)t + 1;
    }
}

/* The trace, or NULL: there is none yet. */
static struct chain_trace *find_trace(const struct chains *c, uint64_t hash, const char *id)
{
    if (!c->table_size)
        return NULL;
    for (size_t i = hash & (c->table_size - 1); c->table[i]; i = (i + 1) & (c->table_size - 1)) {
        struct chain_trace *t = &c->traces[c->table[i] - 1];
        if (t->hash == hash && strcmp(t->id, id) == 0)
            return t;
    }
    return NULL;
}

/* Takes half of them for the whole, as often as it takes to have room. */
static void thin_out(struct chains *c)
{
    while (c->trace_count >= CHAINS_TRACES_MAX) {
        size_t kept = 0;
        c->sample_bits++;
        for (size_t t = 0; t < c->trace_count; t++)
            if (is_sampled(c, c->traces[t].hash))
                c->traces[kept++] = c->traces[t];
        c->trace_count = kept;
    }
    index_traces(c);
}

static void add_trace(struct chains *c, const struct chain_trace *t)
{
    if (c->trace_count >= CHAINS_TRACES_MAX) {
        thin_out(c);
        if (!is_sampled(c, t->hash))
            return;
    }
    if (c->trace_count == c->trace_room) {
        c->trace_room = MAX(c->trace_room * 2, (size_t)64);
        c->traces = mem_realloc(c->traces, c->trace_room * sizeof *c->traces);
        index_traces(c);
    }
    size_t i = t->hash & (c->table_size - 1);
    while (c->table[i])
        i = (i + 1) & (c->table_size - 1);
    c->traces[c->trace_count++] = *t;
    c->table[i] = (uint32_t)c->trace_count;
}

/* Two parts of one trace. */
static void join_trace(struct chain_trace *into, const struct chain_trace *t)
{
    bool earlier = t->first_start_us != into->first_start_us
                       ? t->first_start_us < into->first_start_us
                       : t->first_tie < into->first_tie;
    bool later = t->last_end_us != into->last_end_us ? t->last_end_us > into->last_end_us
                                                     : t->last_tie > into->last_tie;
    if (earlier) {
        into->first_start_us = t->first_start_us;
        into->first_model = t->first_model;
        into->first_tie = t->first_tie;
    }
    if (later) {
        into->last_start_us = t->last_start_us;
        into->last_end_us = t->last_end_us;
        into->last_model = t->last_model;
        into->last_provider = t->last_provider;
        into->last_outcome = t->last_outcome;
        into->last_tie = t->last_tie;
    }
    sum_add(&into->cost_pico, t->cost_pico);
    into->success += t->success;
    into->failed += t->failed;
    into->others += t->others;
}

static void put_trace(struct chains *c, const struct chain_trace *t)
{
    struct chain_trace *known_one = find_trace(c, t->hash, t->id);
    if (known_one)
        join_trace(known_one, t);
    else if (is_sampled(c, t->hash))
        add_trace(c, t);
}

static uint64_t name_hash(const char *name)
{
    return name ? str_hash(str_from(name)) : 1;
}

/* Two lines of one moment are told apart by all that they have a say in. */
static uint32_t tie_of(const struct logline *l, const struct chain_trace *t)
{
    char id[512];
    uint64_t hash = str_hash((struct str){id, log_text_copy(l, LOG_request_id, id, sizeof id)});
    hash = hash * 31 + name_hash(t->last_model);
    hash = hash * 31 + name_hash(t->last_provider);
    hash = hash * 31 + (uint64_t)t->last_outcome;
    hash = hash * 31 + (uint64_t)(t->last_end_us - t->last_start_us);
    return (uint32_t)(hash ^ hash >> 32);
}

static void take_call(struct chains *c, const struct logline *l)
{
    char id[512];
    enum log_outcome outcome = log_outcome_of(l);
    int64_t end_us = stamp_of(l), latency_us = known(l, LOG_BIT(latency), l->r.latency_us, 0);
    const char *model = log_name_of(&c->names, l, LOG_model);
    struct chain_trace t = {.first_start_us = end_us - latency_us,
                            .last_start_us = end_us - latency_us,
                            .last_end_us = end_us,
                            .first_model = model,
                            .last_model = model,
                            .last_provider = log_name_of(&c->names, l, LOG_provider),
                            .cost_pico = line_cost_pico(l),
                            .success = outcome == LOG_OUTCOME_SUCCESS,
                            .failed = outcome == LOG_OUTCOME_FAILURE,
                            .last_outcome = outcome};
    t.others = !t.success && !t.failed;
    bool reached =
        l->found & LOG_BIT(provider) && !log_text_is(l, LOG_BIT(cache), l->r.cache, STR("hit"));
    if (t.failed && reached)
        add_failed_attempt(c, l, latency_us, t.cost_pico);
    t.first_tie = tie_of(l, &t);
    t.last_tie = t.first_tie;
    size_t n = log_text_copy(l, LOG_trace_id, id, sizeof id);
    if (!reached || !n) {
        struct finished f = {.chain = {.attempts = reached, .outcome = outcome, .model = model},
                             .asked = model,
                             .provider = t.last_provider,
                             .added_us = -1};
        add_chain(c, &f);
        return;
    }
    t.hash = str_hash((struct str){id, n});
    snprintf(t.id, sizeof t.id, "%.*s", (int)sizeof t.id - 1, id);
    put_trace(c, &t);
}

void chains_take(struct chains *c, const struct logline *l, enum log_event event)
{
    if (l->shape == LOG_SHAPE_LITELLM)
        take_call(c, l);
    else if (event == LOG_EVENT_ATTEMPT)
        take_attempt(c, l);
    else if (event == LOG_EVENT_REQUEST)
        take_request(c, l);
}

/* ---- merging ---- */

static const char *same_name(struct chains *into, const char *name)
{
    return name ? log_name(&into->names, str_from(name)) : NULL;
}

static void merge_groups(struct chains *c, struct chain_groups *into,
                         const struct chain_groups *from)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct chain_group *g = from->list[i];
        struct chain_group *to = group_of(into, same_name(c, g->name));
        to->requests += g->requests;
        to->attempts += g->attempts;
        to->retried += g->retried;
        to->saved += g->saved;
        to->failed_attempts += g->failed_attempts;
        to->wasted_us += g->wasted_us;
        sum_add(&to->wasted_pico, g->wasted_pico);
    }
}

static void merge_routes(struct chains *into, const struct chains *from)
{
    for (size_t i = 0; i < from->route_count; i++) {
        const struct chain_route *r = from->routes[i];
        struct chain_route *to = route_of(into, same_name(into, r->from), same_name(into, r->to));
        to->count += r->count;
        to->success += r->success;
        sum_add(&to->cost_pico, r->cost_pico);
        histogram_merge(&to->added, &r->added);
    }
}

static void merge_sum(struct chain_sum *into, const struct chain_sum *from)
{
    into->requests += from->requests;
    into->success += from->success;
    histogram_merge(&into->added, &from->added);
}

static void merge_traces(struct chains *into, const struct chains *from)
{
    if (from->sample_bits > into->sample_bits) { /* a sample of what both have */
        size_t kept = 0;
        into->sample_bits = from->sample_bits;
        for (size_t t = 0; t < into->trace_count; t++)
            if (is_sampled(into, into->traces[t].hash))
                into->traces[kept++] = into->traces[t];
        into->trace_count = kept;
        index_traces(into);
    }
    for (size_t i = 0; i < from->trace_count; i++) {
        struct chain_trace t = from->traces[i];
        t.first_model = same_name(into, t.first_model);
        t.last_model = same_name(into, t.last_model);
        t.last_provider = same_name(into, t.last_provider);
        put_trace(into, &t);
    }
}

void chains_merge(struct chains *into, const struct chains *from)
{
    into->requests += from->requests;
    into->reached += from->reached;
    into->attempts += from->attempts;
    into->failed_attempts += from->failed_attempts;
    into->wasted_us += from->wasted_us;
    sum_add(&into->wasted_pico, from->wasted_pico);
    for (int i = 0; i <= CHAINS_NEED_MAX; i++)
        merge_sum(&into->need[i], &from->need[i]);
    merge_sum(&into->retry, &from->retry);
    merge_sum(&into->fallback, &from->fallback);
    merge_groups(into, &into->models, &from->models);
    merge_groups(into, &into->providers, &from->providers);
    merge_routes(into, from);
    for (size_t i = 0; i < from->worst_count; i++) {
        struct chain chain = *from->worst[i];
        chain.model = same_name(into, chain.model);
        chain.from = same_name(into, chain.from);
        keep_if_worst(into, &chain);
    }
    merge_traces(into, from);
}

/* ---- the answer ---- */

static void settle_session(struct chains *c, const struct chain_trace *t)
{
    uint64_t requests = (uint64_t)t->success + (t->last_outcome != LOG_OUTCOME_SUCCESS);
    uint64_t attempts = (uint64_t)t->success + t->failed + t->others;
    c->sessions++;
    c->session_requests += requests;
    c->session_attempts += attempts;
    c->requests += requests;
    c->reached += requests;
    c->attempts += attempts;
    add_to_group(group_of(&c->models, t->last_model), requests, attempts, false, false);
    add_to_group(group_of(&c->providers, t->last_provider), requests, attempts, false, false);
}

static void settle_trace(struct chains *c, const struct chain_trace *t)
{
    bool is_chain = t->success == 0 || (t->success == 1 && t->last_outcome == LOG_OUTCOME_SUCCESS);
    if (!is_chain) {
        settle_session(c, t);
        return;
    }
    bool fell_back = t->first_model != t->last_model;
    uint64_t attempts = (uint64_t)t->success + t->failed + t->others;
    struct finished f = {.chain = {.attempts = attempts,
                                   .latency_us = t->last_end_us - t->first_start_us,
                                   .stamp_us = t->last_end_us,
                                   .outcome = t->last_outcome,
                                   .model = t->last_model,
                                   .from = fell_back ? t->first_model : NULL},
                         .asked = t->first_model,
                         .provider = t->last_provider,
                         .added_us =
                             attempts > 1 ? MAX(t->last_start_us - t->first_start_us, 0) : -1,
                         .cost_pico = t->cost_pico,
                         .fell_back = fell_back};
    memcpy(f.chain.id, t->id, sizeof t->id);
    add_chain(c, &f);
}

static int by_failed(const void *x, const void *y)
{
    const struct chain_group *a = *(struct chain_group *const *)x,
                             *b = *(struct chain_group *const *)y;
    if (a->failed_attempts != b->failed_attempts)
        return a->failed_attempts > b->failed_attempts ? -1 : 1;
    if (a->requests != b->requests)
        return a->requests > b->requests ? -1 : 1;
    return compare_names(a->name, b->name);
}

static int by_use(const void *x, const void *y)
{
    const struct chain_route *a = *(struct chain_route *const *)x,
                             *b = *(struct chain_route *const *)y;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    int order = compare_names(a->from, b->from);
    return order ? order : compare_names(a->to, b->to);
}

void chains_settle(struct chains *c)
{
    c->sampled += c->trace_count;
    for (size_t i = 0; i < c->trace_count; i++)
        settle_trace(c, &c->traces[i]);
    c->trace_count = 0; /* they are chains now */
    if (c->table_size)
        index_traces(c);
    if (c->models.count)
        qsort(c->models.list, c->models.count, sizeof(void *), by_failed);
    if (c->providers.count)
        qsort(c->providers.list, c->providers.count, sizeof(void *), by_failed);
    if (c->route_count)
        qsort(c->routes, c->route_count, sizeof(void *), by_use);
}

double chains_amplification(uint64_t requests, uint64_t attempts)
{
    return requests ? (double)attempts / (double)requests : NAN;
}
