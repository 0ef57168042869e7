/* model_names.c -- which group a model's name means, in LiteLLM's order:
 *
 *   a deployment's id | alias | model_name      one look-up in config.names, made at load time
 *   pattern ("openai/<any>")                    longest literal part first; a bare name of OpenAI's also as "openai/NAME"
 *   "*"                                         the default deployments
 *   litellm_params.model                        one look-up in config.upstream_names
 *   the first of default_fallbacks
 *
 * An id or an upstream name leads to a group of its own, which is no row of config.groups and bears the model_name of its deployments: what is said
 * of that model (fallbacks, retry policies, a key's models) holds for them too. An upstream name means the deployments of the first
 * model_name that has it: were it to mean all, it would lead past what a key may use. A pattern is no model: neither id nor upstream
 * name of an entry that sends one on. */
#include "config/loader.h"

/* ---- finding ---- */

/* What the first '*' to the last one stand for in `model`; false: no match. */
static bool match(struct str pattern, struct str model, struct str *matched)
{
    if (!pattern.p || !str_glob(pattern, model))
        return false;
    ptrdiff_t head_bytes = str_find(pattern, '*');
    if (head_bytes < 0)
        return false; /* no pattern */
    size_t head = (size_t)head_bytes, tail = 0;
    while (pattern.p[pattern.n - 1 - tail] != '*')
        tail++;
    *matched = (struct str){model.p + head, model.n - head - tail};
    return true;
}

/* Patterns of one provider, "openai/gpt-*", against a model without a prefix. */
static bool match_bare(struct str pattern, struct str prefix, struct str model, struct str *matched)
{
    if (!str_starts(pattern, prefix) || pattern.n <= prefix.n || pattern.p[prefix.n] != '/')
        return false;
    pattern = str_skip(pattern, prefix.n + 1);
    return str_find(pattern, '*') >= 0 && match(pattern, model, matched);
}

static const struct model_group *find_pattern(const struct config *c, struct str model,
                                              struct str *matched)
{
    const struct model_group *first = c->groups + c->exact_count,
                             *catch_all = c->groups + c->catch_all,
                             *end = c->groups + c->group_count;
    for (const struct model_group *g = first; g < catch_all; g++)
        if (match(g->name, model, matched))
            return g;
    const struct provider_info *p =
        first < catch_all && str_find(model, '/') < 0 ? provider_of_bare_model(model) : NULL;
    for (const struct model_group *g = first; p && g < catch_all; g++)
        if (match_bare(g->name, str_from(p->prefix), model, matched))
            return g;
    *matched = model;
    return catch_all < end ? catch_all : NULL;
}

const struct model_group *config_group(const struct config *c, struct str model,
                                       struct str *matched)
{
    struct str ignored;
    struct str *out = matched ? matched : &ignored;
    const struct model_ref *known = map_get(&c->names, model);
    if (!known) {
        const struct model_group *g = find_pattern(c, model, out);
        if (g)
            return g;
        known = map_get(&c->upstream_names, model);
    }
    if (!known)
        known = &c->unknown_name;
    *out = known->matched;
    return known->group;
}

/* ---- what a name leads to ---- */

static void put_ref(struct loader *l, struct map *names, struct str name,
                    const struct model_group *g, struct str matched)
{
    struct model_ref *ref = arena_alloc(l->arena, sizeof *ref);
    *ref = (struct model_ref){g, arena_str(l->arena, matched)};
    map_put(names, name, ref);
}

static struct str id_of(const struct deployment *d)
{
    return str_find(d->upstream_model, '*') >= 0 ? STR_NONE : d->model_id;
}

static struct str upstream_of(const struct deployment *d)
{
    return str_find(d->litellm_model, '*') >= 0 ? STR_NONE : d->litellm_model;
}

static void add_groups_of_their_own(struct loader *l, struct map *names,
                                    model_list_name_of *name_of)
{
    struct model_group *groups;
    uint32_t count = model_list_collect(l, name_of, &groups);
    for (uint32_t i = 0; i < count; i++) {
        struct model_group *g = &groups[i];
        put_ref(l, names, name_of(g->deployments[0]), g, STR_NONE);
        for (int k = 0; k < g->count; k++) /* resolved already, by the group they are in */
            g->weight_total += g->deployments[k]->weight;
    }
}

/* An id that is a model's name, too, leads past that model's other deployments. */
static void note_ids(struct loader *l, struct yaml_node *list)
{
    for (struct yaml_node *n = list && list->kind == NODE_LIST ? list->child : NULL; n;
         n = n->next) {
        struct yaml_node *id = yaml_get(yaml_get(n, "model_info"), "id");
        const struct model_ref *named =
            id && id->kind == NODE_SCALAR ? map_get(&l->config->names, id->text) : NULL;
        if (named &&
            (named->group->count > 1 || !str_eq(named->group->deployments[0]->model_id, id->text)))
            loader_note(l, id,
                        "model_info.id: \"%.*s\" is a model's name too: requests for it go to this "
                        "deployment only",
                        STR_ARG(id->text));
    }
}

/* ---- aliases ---- */

/* The alias's target, or NULL (and a complaint) where the value makes no sense. */
static struct yaml_node *alias_target(struct loader *l, const char *key, struct yaml_node *n,
                                      bool *hidden)
{
    struct yaml_node *target = n->kind == NODE_MAP ? yaml_get(n, "model") : n,
                     *hide = yaml_get(n, "hidden");
    *hidden = false;
    if (hide && !yaml_is_null(hide) && !yaml_bool(hide, hidden)) {
        loader_error(l, hide, "%s: hidden: expected true or false", key);
        return NULL;
    }
    if (!target || target->kind != NODE_SCALAR || yaml_is_null(target)) {
        loader_error(l, n, "%s: expected a model's name, or {model: ..., hidden: ...}", key);
        return NULL;
    }
    return target;
}

static void complain_of_alias(struct loader *l, const char *key, const struct yaml_node *target)
{
    struct str nearest = model_names_nearest(l->config, target->text);
    loader_error(l, target, "%s: \"%.*s\" is no model_name of model_list%s%.*s%s", key,
                 STR_ARG(target->text), nearest.n ? "; did you mean " : "", STR_ARG(nearest),
                 nearest.n ? "?" : "");
}

static void put_alias(struct loader *l, const char *key, const struct yaml_node *n,
                      const struct model_ref *ref, bool hidden)
{
    struct config *c = l->config;
    if (map_get(&c->group_by_name, n->key))
        loader_note_at_key(l, n, "%s: \"%.*s\" is a model_name too: the alias comes first", key,
                           STR_ARG(n->key));
    if (!hidden && !map_get(&c->names, n->key))
        c->model_names[c->model_name_count++] = n->key;
    put_ref(l, &c->names, n->key, ref->group, ref->matched);
}

/* All are looked up before the first is put in: an alias of an alias of the same mapping would depend on their order. */
static void add_aliases(struct loader *l, const char *key, struct yaml_node *map)
{
    if (!map || map->kind != NODE_MAP)
        return;
    struct model_ref *refs = arena_zalloc(l->arena, (map->count + 1) * sizeof *refs);
    bool *hidden = arena_zalloc(l->arena, (map->count + 1) * sizeof *hidden);
    size_t i = 0;
    for (struct yaml_node *n = map->child; n; n = n->next, i++) {
        struct yaml_node *target = alias_target(l, key, n, &hidden[i]);
        refs[i].group = target ? config_group(l->config, target->text, &refs[i].matched) : NULL;
        if (target && !refs[i].group)
            complain_of_alias(l, key, target);
    }
    i = 0;
    for (struct yaml_node *n = map->child; n; n = n->next, i++)
        if (refs[i].group)
            put_alias(l, key, n, &refs[i], hidden[i]);
}

static size_t count_of(const struct yaml_node *map)
{
    return map && map->kind == NODE_MAP ? map->count : 0;
}

/* litellm_settings.model_alias_map is looked at first, as in LiteLLM: it wins, and may lead to one of the router's aliases. */
static void name_models(struct loader *l, struct yaml_node *root)
{
    struct config *c = l->config;
    struct yaml_node *general = yaml_get(yaml_get(root, "litellm_settings"), "model_alias_map"),
                     *router = yaml_get(yaml_get(root, "router_settings"), "model_group_alias");
    size_t most = c->group_count + count_of(general) + count_of(router);
    c->model_names = arena_alloc(l->arena, most * sizeof *c->model_names);
    for (uint32_t i = 0; i < c->exact_count; i++)
        c->model_names[c->model_name_count++] = c->groups[i].name;
    add_aliases(l, "router_settings.model_group_alias", router);
    add_aliases(l, "litellm_settings.model_alias_map", general);
}

/* ---- the whole ---- */

void model_names_build(struct loader *l, struct yaml_node *root)
{
    struct config *c = l->config;
    for (uint32_t i = 0; i < c->group_count; i++)
        put_ref(l, &c->names, c->groups[i].name, &c->groups[i], STR_NONE);
    name_models(l, root);
    note_ids(l, yaml_get(root, "model_list"));
    add_groups_of_their_own(l, &c->names, id_of);
    add_groups_of_their_own(l, &c->upstream_names, upstream_of);
}

/* A copy that says what patterns say: any name may have led here, so the name must not become a label. */
void model_names_set_default(struct loader *l, struct str fallback)
{
    struct config *c = l->config;
    ENSURE(c);
    struct model_ref *ref = &c->unknown_name;
    const struct model_group *known = config_group(c, fallback, &ref->matched);
    ENSURE(known); /* routing_check has looked */
    struct model_group *g = arena_alloc(l->arena, sizeof *g);
    *g = *known;
    g->wildcard = true;
    ref->group = g;
}

struct str model_names_nearest(const struct config *c, struct str name)
{
    struct str best = STR_NONE;
    int best_distance = 4;
    for (uint32_t i = 0; i < c->model_name_count; i++) {
        int distance = str_distance(name, c->model_names[i]);
        if (distance < best_distance) {
            best = c->model_names[i];
            best_distance = distance;
        }
    }
    return best;
}
