/* model_list.c -- the list as a whole: deployments, the groups that share a name, their weights, connection targets.
 *
 * Called by config.c; which names lead to a group is model_names.c's. Deployments keep the file's order; groups are in the order of their first deployment, names without '*' first,
 * then wildcards, the one with the longest literal part first, which is the order they are tried in.
 *
 * Weights are resolved here, once, as LiteLLM's simple-shuffle does at every request: it looks at the FIRST deployment of a group only. Has that a
 * weight, all are drawn by weight (none: 0); else by rpm, if the first has one; else by tpm; else all alike. The result stands in deployment.weight, so
 * the same file balances the same way. */
#include "config/loader.h"

/* ---- targets ---- */

/* Deployments at one address with equal TLS settings share connections. */
static void number_targets(struct loader *l)
{
    struct config *c = l->config;
    struct map targets;
    map_init(&targets);
    for (uint32_t i = 0; i < c->deployment_count; i++) {
        struct deployment *d = &c->deployments[i];
        struct str key = arena_printf(l->arena, "%d %d %u %.*s", d->endpoint.tls,
                                      d->endpoint.tls && d->ssl_verify, d->endpoint.port,
                                      STR_ARG(d->endpoint.host));
        const struct deployment *first = map_get(&targets, key);
        d->target = first ? first->target : c->target_count++;
        if (!first)
            map_put(&targets, key, d);
    }
    map_fini(&targets);
}

/* ---- groups ---- */

static bool is_wildcard(struct str name)
{
    return str_find(name, '*') >= 0;
}

static size_t literal_bytes(struct str name)
{
    size_t stars = 0;
    for (size_t i = 0; i < name.n; i++)
        stars += name.p[i] == '*';
    return name.n - stars;
}

static int in_trying_order(const void *left, const void *right)
{
    const struct model_group *a = left, *b = right;
    if (a->wildcard != b->wildcard)
        return a->wildcard - b->wildcard;
    size_t literal_a = a->wildcard ? literal_bytes(a->name) : 0,
           literal_b = b->wildcard ? literal_bytes(b->name) : 0;
    if (literal_a != literal_b)
        return literal_a < literal_b ? 1 : -1;
    uint32_t first_a = a->deployments[0]->id, first_b = b->deployments[0]->id;
    return (first_a > first_b) - (first_a < first_b);
}

static void set_weights(struct model_group *g)
{
    static const size_t sources[] = {offsetof(struct deployment, weight),
                                     offsetof(struct deployment, rpm),
                                     offsetof(struct deployment, tpm)};
    size_t source = SIZE_MAX;
    for (size_t i = 0; i < COUNT(sources) && source == SIZE_MAX; i++) {
        double value;
        memcpy(&value, (const char *)g->deployments[0] + sources[i], sizeof value);
        if (value >= 0)
            source = sources[i];
    }
    g->weight_total = 0;
    for (int i = 0; i < g->count; i++) {
        double value = 0;
        if (source != SIZE_MAX)
            memcpy(&value, (const char *)g->deployments[i] + source, sizeof value);
        g->deployments[i]->weight = MAX(value, 0.0);
        g->weight_total += g->deployments[i]->weight;
    }
}

uint32_t model_list_collect(struct loader *l, model_list_name_of *name_of,
                            struct model_group **groups)
{
    struct config *c = l->config;
    struct map by_name;
    uint32_t count = 0;
    map_init(&by_name);
    *groups = arena_zalloc(l->arena, c->deployment_count * sizeof **groups);
    for (uint32_t i = 0; i < c->deployment_count; i++) {
        const struct deployment *d = &c->deployments[i];
        struct str name = name_of(d);
        if (!name.n)
            continue;
        struct model_group *g = map_get(&by_name, name);
        if (!g) {
            g = &(*groups)[count++];
            g->name = d->model_name;
            map_put(&by_name, name, g);
        }
        g->count += str_eq(g->name, d->model_name);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct model_group *g = &(*groups)[i];
        g->deployments = arena_alloc(l->arena, (size_t)g->count * sizeof(void *));
        g->count = 0;
    }
    for (uint32_t i = 0; i < c->deployment_count; i++) {
        struct deployment *d = &c->deployments[i];
        struct str name = name_of(d);
        struct model_group *g = name.n ? map_get(&by_name, name) : NULL;
        if (g && str_eq(g->name, d->model_name))
            g->deployments[g->count++] = d;
    }
    map_fini(&by_name);
    return count;
}

static struct str public_name(const struct deployment *d)
{
    return d->model_name;
}

static void make_groups(struct loader *l)
{
    struct config *c = l->config;
    c->group_count = model_list_collect(l, public_name, &c->groups);
    for (uint32_t i = 0; i < c->group_count; i++)
        c->groups[i].wildcard = is_wildcard(c->groups[i].name);
    if (c->group_count)
        qsort(c->groups, c->group_count, sizeof *c->groups, in_trying_order);
    for (uint32_t i = 0; i < c->group_count; i++) {
        struct model_group *g = &c->groups[i];
        set_weights(g);
        map_put(&c->group_by_name, g->name, g);
        c->exact_count += !g->wildcard;
        c->catch_all += !g->wildcard || literal_bytes(g->name) > 0;
    }
}

/* ---- the whole ---- */

static const struct {
    struct str name, mode;
} builtin_models[] = {
    {STR("sim-fast"), STR("chat")},       {STR("sim-slow"), STR("chat")},
    {STR("sim-flaky"), STR("chat")},      {STR("sim-tools"), STR("chat")},
    {STR("sim-embed"), STR("embedding")}, {STR("sim-long"), STR("chat")},
    {STR("sim-reasoning"), STR("chat")},
};

static void add_builtin_models(struct loader *l)
{
    struct config *c = l->config;
    uint32_t from_file = c->deployment_count;
    for (size_t i = 0; i < COUNT(builtin_models); i++) {
        bool taken = false;
        for (uint32_t k = 0; k < from_file; k++)
            taken = taken || str_eq(c->deployments[k].model_name, builtin_models[i].name);
        if (!taken)
            model_entry_add_builtin(l, builtin_models[i].name, builtin_models[i].mode);
    }
}

void model_list_build(struct loader *l, struct yaml_node *root)
{
    struct config *c = l->config;
    struct yaml_node *list = yaml_get(root, "model_list");
    struct yaml_node *first = list && list->kind == NODE_LIST ? list->child : NULL;
    size_t most = COUNT(builtin_models);
    for (struct yaml_node *n = first; n; n = n->next)
        most += model_entry_deployments(n);
    c->deployments = arena_alloc(l->arena, most * sizeof *c->deployments);
    map_init(&l->ids);
    for (struct yaml_node *n = first; n; n = n->next)
        model_entry_add(l, n);
    if (l->options->add_builtin_models && l->options->builtin_base)
        add_builtin_models(l);
    map_fini(&l->ids);
    number_targets(l);
    make_groups(l);
    if (l->error_count == 0 || c->group_count > 0) /* else every name would be complained of */
        model_names_build(l, root);
}
