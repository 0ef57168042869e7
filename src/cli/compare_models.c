/* compare_models.c -- which models are compared, who provides them, and what they cost: from /model/info, or from a configuration.
 *
 * Without names it is one model of each provider, in the gateway's order; where there is one provider only, its first few. */
#include <math.h>

#include "base/json.h"
#include "cli/compare.h"

enum { OFFERED_MAX = 256, OF_ONE_PROVIDER_MAX = 4, ASK_MS = 30000, OFFERED_SHOWN = 12 };

struct offered {
    struct compare_model models[OFFERED_MAX];
    size_t count;
};

static bool is_wild(struct str name)
{
    return str_find(name, '*') >= 0;
}

static void add_offered(struct offered *o, struct compare_model m)
{
    for (size_t i = 0; i < o->count; i++)
        if (str_eq(o->models[i].name, m.name))
            return; /* another deployment of a model that is there */
    if (m.name.n && !is_wild(m.name) && o->count < OFFERED_MAX)
        o->models[o->count++] = m;
}

/* Of model_info.mode: does the call that is to be made fit it? */
static bool is_of_api(struct str mode, enum prompt_api api)
{
    bool embeds = str_eq(mode, STR("embedding"));
    bool chats = mode.n == 0 || str_eq(mode, STR("chat")) || str_eq(mode, STR("completion")) ||
                 str_eq(mode, STR("responses"));
    return api == API_EMBEDDINGS ? embeds : chats;
}

/* ---- of the gateway ---- */

static struct str text_of(const struct json_node *object, const char *key)
{
    const struct json_node *n = object ? json_get(object, key) : NULL;
    return n && n->kind == JSON_STRING ? n->text : STR_NONE;
}

/* "groq/llama-3.1-8b": its provider is groq; without a prefix what model_info says. */
static struct str provider_of(const struct json_node *params, const struct json_node *info)
{
    struct str given = text_of(params, "custom_llm_provider"), model = text_of(params, "model");
    if (given.n == 0 && str_find(model, '/') > 0)
        given = str_cut(&model, '/');
    if (given.n == 0)
        given = text_of(info, "litellm_provider");
    return given.n ? given : STR("openai");
}

static void set_prices(struct price *p, const struct json_node *object)
{
    for (const struct json_node *n = object ? object->child : NULL; n; n = n->next)
        if (n->kind == JSON_NUMBER)
            (void)price_set(p, n->key, n->number);
}

static struct compare_model model_from_info(const struct json_node *entry)
{
    const struct json_node *params = json_get(entry, "litellm_params");
    const struct json_node *info = json_get(entry, "model_info");
    struct compare_model m = {.name = text_of(entry, "model_name"),
                              .provider = provider_of(params, info),
                              .price = price_unknown()};
    struct str model = text_of(params, "model");
    const struct price *known =
        prices_find(NULL, prices_builtin(), m.provider, model, text_of(info, "base_model"));
    if (known)
        m.price = *known;
    set_prices(&m.price, info);
    set_prices(&m.price, params); /* what the configuration says stands above all */
    return m;
}

/* False: there is no /model/info, which is no error. */
static bool offered_by_info(struct comparison *c, struct offered *o)
{
    struct measure_reply reply;
    struct err ignored = {0};
    struct str path = arena_printf(&c->arena, "%.*s/model/info", STR_ARG(c->target->root_path));
    if (!measure_ask(c->target, &c->arena, STR("GET"), path, STR_NONE, ASK_MS, &reply, &ignored) ||
        reply.status != 200)
        return false;
    struct json_node *root = json_parse(&c->arena, reply.body, &ignored);
    struct json_node *data = root ? json_get(root, "data") : NULL;
    for (struct json_node *n = data ? data->child : NULL; n; n = n->next)
        if (is_of_api(text_of(json_get(n, "model_info"), "mode"), c->api))
            add_offered(o, model_from_info(n));
    return o->count > 0;
}

/* A plain OpenAI-compatible server: names only. */
static bool offered_by_list(struct comparison *c, struct offered *o, struct err *e)
{
    struct str *names;
    size_t count;
    if (!measure_models(c->target, &c->arena, &names, &count, e))
        return false;
    for (size_t i = 0; i < count; i++)
        add_offered(o, (struct compare_model){.name = names[i], .price = price_unknown()});
    return true;
}

/* ---- of a configuration ---- */

static bool offered_by_config(struct comparison *c, const char *path, struct offered *o,
                              struct err *e)
{
    struct config *config = config_load(&(struct config_options){.path = path}, e);
    if (!config)
        return false;
    for (uint32_t i = 0; i < config->group_count; i++) {
        const struct model_group *g = &config->groups[i];
        const struct deployment *d = g->count ? g->deployments[0] : NULL;
        if (d && !g->wildcard && is_of_api(d->mode, c->api))
            add_offered(o,
                        (struct compare_model){.name = arena_str(&c->arena, g->name),
                                               .provider = arena_str(&c->arena, d->provider_name),
                                               .price = d->price});
    }
    config_put(config);
    return true;
}

/* ---- the choice ---- */

static bool has_provider(const struct comparison *c, struct str provider)
{
    for (size_t i = 0; i < c->model_count; i++)
        if (str_eq(c->models[i].provider, provider))
            return true;
    return false;
}

static void add_model(struct comparison *c, const struct compare_model *m)
{
    if (c->model_count < COMPARE_MODELS_MAX)
        c->models[c->model_count++] = *m;
}

static bool choose_one_of_each(struct comparison *c, const struct offered *o, struct err *e)
{
    for (size_t i = 0; i < o->count; i++)
        if (!has_provider(c, o->models[i].provider))
            add_model(c, &o->models[i]);
    if (c->model_count == 1 && o->count > 1) { /* one provider: its first ones */
        c->model_count = 0;
        for (size_t i = 0; i < MIN(o->count, (size_t)OF_ONE_PROVIDER_MAX); i++)
            add_model(c, &o->models[i]);
    }
    if (c->model_count < 2)
        return err_set(e,
                       "two models are the least, and %.*s offers %s%.*s%s; name others with "
                       "--models a b",
                       STR_ARG(c->target->url), c->model_count ? "only \"" : "none",
                       STR_ARG(c->model_count ? c->models[0].name : STR_NONE),
                       c->model_count ? "\"" : "");
    return true;
}

/* The names as given, with what is known of them. */
static bool choose_named(struct comparison *c, const struct str *names, size_t count,
                         const struct offered *o, struct err *e)
{
    if (count > COMPARE_MODELS_MAX)
        return err_set(e, "--models: %zu models; at most %d", count, COMPARE_MODELS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct compare_model m = {.name = names[i], .price = price_unknown()};
        const struct price *known = prices_find(NULL, prices_builtin(), STR_NONE, m.name, STR_NONE);
        for (size_t k = 0; k < i; k++)
            if (str_eq(names[k], names[i]))
                return err_set(e, "--models: \"%.*s\" is named twice", STR_ARG(names[i]));
        if (known)
            m.price = *known;
        for (size_t k = 0; k < o->count; k++)
            if (str_eq(o->models[k].name, m.name))
                m = o->models[k];
        add_model(c, &m);
    }
    return count >= 2 ||
           err_set(e, "--models: two are the least, got \"%.*s\" only", STR_ARG(names[0]));
}

bool compare_find_models(struct comparison *c, const struct str *names, size_t name_count,
                         const char *config, struct err *e, int *status)
{
    struct offered *o = mem_alloc(sizeof *o);
    bool good = true;
    *status = EXIT_UNREACHABLE;
    if (config)
        good = offered_by_config(c, config, o, e);
    else if (!offered_by_info(c, o) && name_count == 0)
        good = offered_by_list(c, o, e);
    if (good) {
        *status = EXIT_USAGE;
        good = name_count ? choose_named(c, names, name_count, o, e) : choose_one_of_each(c, o, e);
    }
    mem_free(o);
    return good;
}

struct str compare_offered(struct comparison *c)
{
    struct str *names, text = STR_NONE;
    size_t count;
    struct err ignored = {0};
    if (!measure_models(c->target, &c->arena, &names, &count, &ignored))
        return STR_NONE;
    for (size_t i = 0; i < MIN(count, (size_t)OFFERED_SHOWN); i++)
        text =
            arena_printf(&c->arena, "%.*s%s%.*s", STR_ARG(text), i ? ", " : "", STR_ARG(names[i]));
    if (count > OFFERED_SHOWN)
        text = arena_printf(&c->arena, "%.*s and %zu more", STR_ARG(text), count - OFFERED_SHOWN);
    return text;
}
