/* routing.c -- what of router_settings and litellm_settings rows of a table cannot say: fallbacks, policies by model, checks' names, tags.
 *
 * Called by config.c before the model list is read (routing_read) and behind it (routing_check), when it is known which models there are: a fallback
 * that names none would be found out on the day it is needed. The look-ups at the end are the road's; they are made after a
 * failure only, so they just walk the rows. */
#include "config/routing.h"

#include "config/loader.h"

/* ---- policies: a number by kind of error ---- */

static void clear(struct failure_policy *p)
{
    for (int i = 0; i < FAILURE_CLASS_COUNT; i++)
        p->by_class[i] = -1;
}

void routing_init(struct routing *r)
{
    clear(&r->retry_policy);
    clear(&r->allowed_fails_policy);
}

/* LiteLLM's kinds are fewer than weir's classes, and its exceptions inherit: what is said of one holds for those that have no word of their own. */
static void inherit(struct failure_policy *p)
{
    static const struct {
        enum failure_class from, to;
    } rows[] = {
        {FAILURE_BAD_REQUEST, FAILURE_CONTEXT_WINDOW},
        {FAILURE_BAD_REQUEST, FAILURE_CONTENT_POLICY},
        {FAILURE_SERVER, FAILURE_CONNECTION},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (p->by_class[rows[i].to] < 0)
            p->by_class[rows[i].to] = p->by_class[rows[i].from];
}

/* Read through retry_policy's own rows, which lie in a config: a spare one takes what a group says. */
static void read_group_policies(struct loader *l, struct yaml_node *map)
{
    struct routing *r = &l->config->routing;
    struct directive_section rows = *directive_section("router_settings.retry_policy");
    if (!map || map->kind != NODE_MAP)
        return;
    struct group_retry_policy *list = arena_alloc(l->arena, (map->count + 1) * sizeof *list);
    for (struct yaml_node *n = map->child; n; n = n->next) {
        struct config spare = {0};
        if (n->kind != NODE_MAP) {
            loader_error(l, n, "router_settings.model_group_retry_policy: expected a mapping");
            continue;
        }
        routing_init(&spare.routing);
        rows.path =
            arena_printf(l->arena, "router_settings.model_group_retry_policy.%.*s", STR_ARG(n->key))
                .p;
        loader_apply(l, &rows, &spare, n);
        inherit(&spare.routing.retry_policy);
        list[r->group_retry_policy_count++] =
            (struct group_retry_policy){n->key, spare.routing.retry_policy};
    }
    r->group_retry_policies = list;
}

/* ---- fallbacks ---- */

static const char *const fallback_keys[FALLBACK_KIND_COUNT] = {
    [FALLBACK_GENERAL] = "fallbacks",
    [FALLBACK_CONTEXT_WINDOW] = "context_window_fallbacks",
    [FALLBACK_CONTENT_POLICY] = "content_policy_fallbacks",
};
#define DEFAULT_FALLBACKS "default_fallbacks"

/* The key as router_settings has it, else as litellm_settings has. */
static struct yaml_node *find_setting(struct yaml_node *root, const char *key, const char **section)
{
    struct yaml_node *router = yaml_get(yaml_get(root, "router_settings"), key),
                     *litellm = yaml_get(yaml_get(root, "litellm_settings"), key);
    bool is_routers = router && !yaml_is_null(router);
    *section = is_routers ? "router_settings" : "litellm_settings";
    struct yaml_node *n = is_routers ? router : litellm;
    return n && n->kind == NODE_LIST ? n : NULL;
}

/* A list of names becomes a row; an entry may be {model: NAME, ...}, whose other parameters are not sent. */
static bool read_names(struct loader *l, const char *section, const char *key,
                       struct yaml_node *names, struct fallback *row)
{
    size_t count = names->kind == NODE_LIST ? names->count : 1;
    struct str *to = arena_alloc(l->arena, (count + 1) * sizeof *to);
    row->to = to;
    row->count = 0;
    for (struct yaml_node *n = names->kind == NODE_LIST ? names->child : names; n;
         n = names->kind == NODE_LIST ? n->next : NULL) {
        struct yaml_node *name = n->kind == NODE_MAP ? yaml_get(n, "model") : n;
        if (!name || name->kind != NODE_SCALAR || yaml_is_null(name)) {
            loader_error(l, n, "%s.%s: expected a model's name", section, key);
            return false;
        }
        if (n->kind == NODE_MAP && n->count > 1)
            loader_note(l, n,
                        "%s.%s: of a fallback only its model is used; the other parameters are not "
                        "built yet: they have no effect",
                        section, key);
        to[row->count++] = name->text;
    }
    return true;
}

static const struct fallback *find_row(const struct fallback_table *t, struct str from)
{
    for (int i = 0; i < t->count; i++)
        if (str_eq(t->rows[i].from, from))
            return &t->rows[i];
    return NULL;
}

static void add_row(struct loader *l, const char *section, const char *key, struct yaml_node *names,
                    struct str from, struct fallback_table *into)
{
    struct fallback *rows = (struct fallback *)into->rows; /* ours until loading is over */
    struct fallback row = {.from = from};
    if (!read_names(l, section, key, names, &row))
        return;
    if (find_row(into, from))
        loader_note_at_key(l, names,
                           "%s.%s: \"%.*s\" has fallbacks already: the first ones are used",
                           section, key, STR_ARG(from));
    else
        rows[into->count++] = row;
}

static size_t count_rows(const struct yaml_node *list)
{
    size_t count = 1; /* for default_fallbacks */
    for (const struct yaml_node *n = list ? list->child : NULL; n; n = n->next)
        count += n->count;
    return count;
}

static void read_fallbacks(struct loader *l, struct yaml_node *root, enum fallback_kind kind)
{
    struct fallback_table *t = &l->config->routing.fallbacks[kind];
    const char *section, *key = fallback_keys[kind];
    struct yaml_node *list = find_setting(root, key, &section);
    t->rows = arena_alloc(l->arena, count_rows(list) * sizeof *t->rows);
    for (struct yaml_node *item = list ? list->child : NULL; item; item = item->next) {
        if (item->kind != NODE_MAP)
            loader_error(l, item, "%s.%s: expected {model: [other models]}", section, key);
        for (struct yaml_node *n = item->kind == NODE_MAP ? item->child : NULL; n; n = n->next)
            add_row(l, section, key, n, n->key, t);
    }
    struct yaml_node *defaults = find_setting(root, DEFAULT_FALLBACKS, &section);
    if (kind == FALLBACK_GENERAL && defaults)
        add_row(l, section, DEFAULT_FALLBACKS, defaults, STR("*"), t);
}

/* ---- optional_pre_call_checks ---- */

#define NOT_BUILT SIZE_MAX

static const struct {
    const char *name;
    size_t offset; /* of the bool in struct routing */
    const char *remark;
} checks[] = {
    {"enforce_model_rate_limits", offsetof(struct routing, enforce_rate_limits), NULL},
    {"session_affinity", offsetof(struct routing, session_affinity), NULL},
    {"deployment_affinity", offsetof(struct routing, session_affinity),
     "sticks by the session's id, not by the client's key"},
    {"prompt_caching", offsetof(struct routing, prefix_affinity), NULL},
    {"router_budget_limiting", NOT_BUILT, "not built yet: it has no effect"},
    {"responses_api_deployment_check", NOT_BUILT, "not built yet: it has no effect"},
    {"forward_client_headers_by_model_group", NOT_BUILT, "not built yet: it has no effect"},
    {"encrypted_content_affinity", NOT_BUILT, "not built yet: it has no effect"},
};

static void note_unknown_check(struct loader *l, const struct yaml_node *n)
{
    const char *nearest = NULL;
    int best_distance = 5;
    for (size_t i = 0; i < COUNT(checks); i++) {
        int distance = str_distance(n->text, str_from(checks[i].name));
        if (distance < best_distance) {
            nearest = checks[i].name;
            best_distance = distance;
        }
    }
    loader_note(l, n,
                "router_settings.optional_pre_call_checks: \"%.*s\" is not known, it has no "
                "effect%s%s%s",
                STR_ARG(n->text), nearest ? "; did you mean " : "", nearest ? nearest : "",
                nearest ? "?" : "");
}

static void read_checks(struct loader *l, struct yaml_node *list)
{
    struct routing *r = &l->config->routing;
    for (struct yaml_node *n = list && list->kind == NODE_LIST ? list->child : NULL; n;
         n = n->next) {
        size_t i = 0;
        if (n->kind != NODE_SCALAR) {
            loader_error(l, n, "router_settings.optional_pre_call_checks: expected a check's name");
            continue;
        }
        while (i < COUNT(checks) && !str_eq(n->text, str_from(checks[i].name)))
            i++;
        if (i == COUNT(checks)) {
            note_unknown_check(l, n);
            continue;
        }
        if (checks[i].remark)
            loader_note(l, n, "router_settings.optional_pre_call_checks: %s: %s", checks[i].name,
                        checks[i].remark);
        if (checks[i].offset != NOT_BUILT)
            *(bool *)((char *)r + checks[i].offset) = true;
    }
}

/* ---- reading ---- */

/* Both sections may say it; what is said in vain is told. */
static void note_overruled(struct loader *l, struct yaml_node *root)
{
    static const char *const keys[] = {
        "num_retries",
        "allowed_fails",
        "fallbacks",
        "context_window_fallbacks",
        "content_policy_fallbacks",
        DEFAULT_FALLBACKS,
    };
    for (size_t i = 0; i < COUNT(keys); i++) {
        struct yaml_node *router = yaml_get(yaml_get(root, "router_settings"), keys[i]),
                         *litellm = yaml_get(yaml_get(root, "litellm_settings"), keys[i]);
        if (router && litellm && !yaml_is_null(router) && !yaml_is_null(litellm))
            loader_note_at_key(l, litellm,
                               "litellm_settings.%s: router_settings.%s is there too, and wins",
                               keys[i], keys[i]);
    }
}

void routing_read(struct loader *l, struct yaml_node *root)
{
    struct routing *r = &l->config->routing;
    struct yaml_node *router = yaml_get(root, "router_settings");
    inherit(&r->retry_policy);
    inherit(&r->allowed_fails_policy);
    read_group_policies(l, yaml_get(router, "model_group_retry_policy"));
    for (int kind = 0; kind < FALLBACK_KIND_COUNT; kind++)
        read_fallbacks(l, root, kind);
    read_checks(l, yaml_get(router, "optional_pre_call_checks"));
    note_overruled(l, root);
}

void routing_read_tags(struct loader *l, struct yaml_node *tags, struct deployment *d)
{
    if (!tags || tags->kind != NODE_LIST)
        return;
    struct str *list = arena_alloc(l->arena, (tags->count + 1) * sizeof *list);
    for (struct yaml_node *n = tags->child; n; n = n->next)
        if (n->kind == NODE_SCALAR && n->text.n)
            list[d->tag_count++] = n->text;
        else
            loader_error(l, n, "litellm_params.tags: expected a tag's name");
    d->tags = list;
}

/* ---- checking: what is named must be there ---- */

/* An entry of the list that is wrong itself has its own message. */
static bool is_in_file(struct yaml_node *root, struct str name)
{
    struct yaml_node *list = yaml_get(root, "model_list");
    for (struct yaml_node *n = list ? list->child : NULL; n; n = n->next) {
        struct yaml_node *own = yaml_get(n, "model_name");
        if (own && str_eq(own->text, name))
            return true;
    }
    return false;
}

/* Fallbacks of "gpt-4o" hold for "openai/gpt-4o" too, which a pattern may take. */
static bool is_without_prefix(const struct config *c, struct str name)
{
    for (uint32_t i = 0; i < c->group_count; i++) {
        struct str rest = c->groups[i].name;
        str_cut(&rest, '/');
        if (rest.n && str_glob(rest, name))
            return true;
    }
    return false;
}

static bool is_model(struct loader *l, struct yaml_node *root, struct str name)
{
    return config_group(l->config, name, NULL) || is_in_file(root, name);
}

static void complain(struct loader *l, const struct yaml_node *at, bool at_key, const char *section,
                     const char *key, struct str name)
{
    struct str nearest = model_names_nearest(l->config, name);
    (at_key ? loader_error_at_key : loader_error)(
        l, at, "%s.%s: \"%.*s\" is no model of model_list%s%.*s%s", section, key, STR_ARG(name),
        nearest.n ? "; did you mean " : "", STR_ARG(nearest), nearest.n ? "?" : "");
}

static bool is_same(const struct config *c, struct str a, struct str b)
{
    struct str matched_a, matched_b;
    const struct model_group *left = config_group(c, a, &matched_a),
                             *right = config_group(c, b, &matched_b);
    return a.n && left && left == right && str_eq(matched_a, matched_b);
}

/* `names`: a list, or one. */
static void check_names(struct loader *l, struct yaml_node *root, const char *section,
                        const char *key, struct yaml_node *names, struct str from)
{
    for (struct yaml_node *n = names->kind == NODE_LIST ? names->child : names; n;
         n = names->kind == NODE_LIST ? n->next : NULL) {
        struct yaml_node *name = n->kind == NODE_MAP ? yaml_get(n, "model") : n;
        if (!name || name->kind != NODE_SCALAR || yaml_is_null(name))
            continue; /* complained of */
        if (!is_model(l, root, name->text))
            complain(l, name, false, section, key, name->text);
        else if (is_same(l->config, from, name->text))
            loader_error(l, name, "%s.%s: \"%.*s\" falls back to itself", section, key,
                         STR_ARG(from));
    }
}

static void check_fallbacks(struct loader *l, struct yaml_node *root, enum fallback_kind kind)
{
    const char *section, *key = fallback_keys[kind];
    struct yaml_node *list = find_setting(root, key, &section);
    for (struct yaml_node *item = list ? list->child : NULL; item; item = item->next)
        for (struct yaml_node *n = item->kind == NODE_MAP ? item->child : NULL; n; n = n->next) {
            if (!STR_IS(n->key, "*") && !is_model(l, root, n->key) &&
                !is_without_prefix(l->config, n->key))
                complain(l, n, true, section, key, n->key);
            check_names(l, root, section, key, n, n->key);
        }
}

static void check_group_policies(struct loader *l, struct yaml_node *root)
{
    static const char key[] = "model_group_retry_policy";
    struct yaml_node *map = yaml_get(yaml_get(root, "router_settings"), key);
    for (struct yaml_node *n = map && map->kind == NODE_MAP ? map->child : NULL; n; n = n->next)
        if (!is_model(l, root, n->key))
            complain(l, n, true, "router_settings", key, n->key);
}

void routing_check(struct loader *l, struct yaml_node *root)
{
    const char *section;
    for (int kind = 0; kind < FALLBACK_KIND_COUNT; kind++)
        check_fallbacks(l, root, kind);
    check_group_policies(l, root);
    struct yaml_node *defaults = find_setting(root, DEFAULT_FALLBACKS, &section);
    if (!defaults)
        return;
    check_names(l, root, section, DEFAULT_FALLBACKS, defaults, STR_NONE);
    const struct fallback *row =
        find_row(&l->config->routing.fallbacks[FALLBACK_GENERAL], STR("*"));
    if (row && row->count && config_group(l->config, row->to[0], NULL))
        model_names_set_default(l, row->to[0]);
}

/* ---- the road's look-ups ---- */

static struct str without_prefix(struct str name)
{
    ptrdiff_t slash = str_find(name, '/');
    return slash < 0 ? name : str_skip(name, (size_t)slash + 1);
}

const struct fallback *routing_fallback(const struct routing *r, enum fallback_kind kind,
                                        struct str asked, struct str group)
{
    const struct str names[] = {asked, group, without_prefix(asked), without_prefix(group),
                                STR("*")};
    const struct fallback *row = NULL;
    for (size_t i = 0; i < COUNT(names) && !row; i++)
        row = find_row(&r->fallbacks[kind], names[i]);
    return row;
}

int routing_policy_retries(const struct routing *r, struct str asked, struct str group,
                           enum failure_class class)
{
    for (int i = 0; i < r->group_retry_policy_count; i++) {
        const struct group_retry_policy *g = &r->group_retry_policies[i];
        if (str_eq(g->group, asked) || str_eq(g->group, group))
            return g->policy.by_class[class];
    }
    return r->retry_policy.by_class[class];
}
