/* scenario_parts.c -- what of a scenario rows cannot say: models with weights, stages, objectives, thresholds. */
#include <math.h>

#include "base/quantity.h"
#include "measure/scenario_read.h"

#define NS_A_MS 1000000.0

/* ---- models ---- */

static void add_model(struct scenario_reader *r, const struct yaml_node *at, struct str name,
                      double weight)
{
    struct scenario *s = r->scenario;
    if (s->mix_count == RESULTS_MODELS_MAX) {
        scenario_mistake(r, at, "models: expected at most %u", RESULTS_MODELS_MAX);
        return;
    }
    if (name.n == 0) {
        scenario_mistake(r, at, "models: expected a model's name");
        return;
    }
    for (size_t i = 0; i < s->mix_count; i++) {
        if (str_eq(s->mix[i].model, name)) {
            scenario_mistake(r, at, "models: \"%.*s\" is there twice", (int)MIN(name.n, 60u),
                             name.p);
            return;
        }
    }
    s->mix[s->mix_count++] = (struct mix_part){arena_str(&s->arena, name), weight};
}

static bool read_weight(struct scenario_reader *r, struct yaml_node *n, double *weight)
{
    struct str text;
    if (!scenario_text(r, n, &text))
        return false;
    if (quantity_parse(text, QUANTITY_NUMBER, weight, NULL) && *weight > 0 && *weight <= 1e9)
        return true;
    scenario_mistake(r, n, "%.*s: expected a weight above 0, such as 60, got \"%.*s\"",
                     STR_ARG(n->key), STR_ARG(scenario_shown(n)));
    return false;
}

/* An element of the list: a name, or {name: ..., weight: ...}. */
static void read_model_item(struct scenario_reader *r, struct yaml_node *item)
{
    struct str name = STR_NONE;
    double weight = 1;
    bool good = true;
    if (item->kind == NODE_SCALAR) {
        if (scenario_text(r, item, &name))
            add_model(r, item, name, 1);
        return;
    }
    for (struct yaml_node *n = item->kind == NODE_MAP ? item->child : NULL; n; n = n->next) {
        if (str_eq(n->key, STR("name")) || str_eq(n->key, STR("model")))
            good &= scenario_text(r, n, &name);
        else if (str_eq(n->key, STR("weight")))
            good &= read_weight(r, n, &weight);
        else
            scenario_mistake_at_key(r, n, "unknown key \"%.*s\" in models; expected name or weight",
                                    (int)MIN(n->key.n, 60u), n->key.p ? n->key.p : "");
    }
    if (good && name.n)
        add_model(r, item, name, weight);
    else if (good)
        scenario_mistake(r, item, "models: expected {name: gpt-4o, weight: 60}");
}

void scenario_read_models(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    struct scenario *s = base;
    struct str text;
    double weight;
    if (!s->mix)
        s->mix = arena_zalloc(&s->arena, RESULTS_MODELS_MAX * sizeof *s->mix);
    if (n->kind == NODE_SCALAR) {
        if (scenario_text(r, n, &text))
            add_model(r, n, text, 1);
        return;
    }
    if (n->count == 0)
        scenario_mistake(r, n, "models: expected a model at least, such as {gpt-4o: 60}");
    for (struct yaml_node *c = n->child; c; c = c->next) {
        if (n->kind == NODE_LIST)
            read_model_item(r, c);
        else if (read_weight(r, c, &weight))
            add_model(r, c, c->key, weight);
    }
}

/* ---- stages ---- */

struct stage_read {
    struct stage *stage;
    bool has_users, has_rate, has_spacing, has_shape, has_burst;
    double shape;
    int64_t burst;
    int64_t requests, duration_ms;
    bool warm_up;
    int spacing;
    struct str name;
};

static const char *const spacings[] = {"constant", "poisson", "gamma", "burst", NULL};

static void read_amount(struct scenario_reader *r, struct yaml_node *n, enum stage_kind kind,
                        double *from, double *to)
{
    struct err e = {0};
    struct str text;
    if (scenario_text(r, n, &text) && !scenario_amount(text, kind, from, to, &e))
        scenario_mistake(r, n, "%.*s: %s", STR_ARG(n->key), e.text);
}

/* {from: 1, to: 100} */
static void read_ends(struct scenario_reader *r, struct yaml_node *map, struct stage *s)
{
    double from = NAN, to = NAN, second;
    size_t before = r->scenario->mistake_count;
    for (struct yaml_node *n = map->child; n; n = n->next) {
        bool is_from = str_eq(n->key, STR("from"));
        if (is_from || str_eq(n->key, STR("to")))
            read_amount(r, n, s->kind, is_from ? &from : &to, &second);
        else
            scenario_mistake_at_key(r, n, "unknown key \"%.*s\" in %.*s; expected from or to",
                                    (int)MIN(n->key.n, 60u), n->key.p ? n->key.p : "",
                                    STR_ARG(map->key));
    }
    if (r->scenario->mistake_count == before && (!yaml_get(map, "from") || !yaml_get(map, "to")))
        scenario_mistake(r, map, "%.*s: expected both ends, such as {from: 1, to: 100}",
                         STR_ARG(map->key));
    s->from = isnan(from) ? 0 : from;
    s->to = isnan(to) ? 0 : to;
}

static void read_level(struct scenario_reader *r, struct yaml_node *n, struct stage *s)
{
    if (n->kind == NODE_MAP)
        read_ends(r, n, s);
    else
        read_amount(r, n, s->kind, &s->from, &s->to);
}

static void own_users(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    struct stage_read *x = base;
    x->has_users = true;
    x->stage->kind = STAGE_USERS;
    read_level(r, n, x->stage);
}

static void own_rate(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    struct stage_read *x = base;
    x->has_rate = true;
    x->stage->kind = STAGE_RATE;
    read_level(r, n, x->stage);
}

static const struct scenario_key stage_keys[] = {
    {"name", KEY_NAME, offsetof(struct stage_read, name), 0, 0, NULL, NULL},
    {"users", KEY_OWN, 0, 0, 0, NULL, own_users},
    {"rate", KEY_OWN, 0, 0, 0, NULL, own_rate},
    {"duration", KEY_MS, offsetof(struct stage_read, duration_ms), 0, 0, NULL, NULL},
    {"requests", KEY_WHOLE, offsetof(struct stage_read, requests), 1, 1e12, NULL, NULL},
    {"spacing", KEY_CHOICE, offsetof(struct stage_read, spacing), 0, 0, spacings, NULL},
    {"shape", KEY_NUMBER, offsetof(struct stage_read, shape), .01, 1000, NULL, NULL},
    {"burst", KEY_WHOLE, offsetof(struct stage_read, burst), 1, 1e6, NULL, NULL},
    {"warm_up", KEY_BOOL, offsetof(struct stage_read, warm_up), 0, 0, NULL, NULL},
};

static void fit_spacing(struct scenario_reader *r, const struct yaml_node *item,
                        const struct stage_read *x)
{
    struct stage *s = x->stage;
    bool gamma = !isnan(x->shape), burst = x->burst > 0;
    s->spacing = x->spacing >= 0 ? (enum spacing)x->spacing
                 : gamma         ? SPACING_GAMMA
                 : burst         ? SPACING_BURST
                                 : SPACING_CONSTANT;
    s->gamma_shape = gamma ? x->shape : 0;
    s->burst = (uint32_t)MAX(x->burst, (int64_t)0);
    if (s->kind == STAGE_USERS && (x->spacing >= 0 || gamma || burst))
        scenario_mistake(r, item,
                         "spacing, shape and burst are of a rate: expected rate, not users");
    else if (s->spacing == SPACING_GAMMA && !gamma)
        scenario_mistake(r, item, "spacing gamma: expected its shape, such as shape: 0.5");
    else if (s->spacing == SPACING_BURST && !burst)
        scenario_mistake(r, item, "spacing burst: expected how many at once, such as burst: 20");
    else if ((gamma && s->spacing != SPACING_GAMMA) || (burst && s->spacing != SPACING_BURST))
        scenario_mistake(r, item, "%s is of spacing %s: the stage says %s",
                         gamma ? "shape" : "burst", gamma ? "gamma" : "burst",
                         spacings[s->spacing]);
}

static void read_stage(struct scenario_reader *r, struct yaml_node *item, struct stage *s)
{
    struct stage_read x = {
        .stage = s, .shape = NAN, .burst = 0, .spacing = -1, .duration_ms = 0, .requests = 0};
    size_t before = r->scenario->mistake_count;
    scenario_read_map(r, item, "stages", stage_keys, COUNT(stage_keys), &x);
    s->name = x.name;
    s->duration_ns = (uint64_t)x.duration_ms * (uint64_t)NS_A_MS;
    s->requests = (uint64_t)x.requests;
    s->warm_up = x.warm_up;
    if (r->scenario->mistake_count != before || item->kind != NODE_MAP)
        return;
    if (x.has_users == x.has_rate)
        scenario_mistake(r, item, "stage: expected either users or rate%s",
                         x.has_users ? ", not both" : "");
    else if (!s->duration_ns && !s->requests)
        scenario_mistake(r, item, "stage: expected duration or requests, so that it ends");
    else if (s->from != s->to && !s->duration_ns)
        scenario_mistake(r, item, "stage: expected duration: it goes from one number to another");
    else if (s->from <= 0 && s->to <= 0)
        scenario_mistake(r, item, "stage: expected more than 0 %s",
                         x.has_users ? "users" : "requests a second");
    else
        fit_spacing(r, item, &x);
}

void scenario_read_stages(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    struct scenario *s = base;
    bool measured = false;
    size_t before = s->mistake_count;
    if (n->kind != NODE_LIST || n->count == 0) {
        scenario_mistake(r, n, "stages: expected a list, such as [{users: 10, duration: 1m}]");
        return;
    }
    if (n->count > RESULTS_STAGES_MAX) {
        scenario_mistake(r, n, "stages: expected at most %u, got %zu", RESULTS_STAGES_MAX,
                         n->count);
        return;
    }
    s->stages = arena_zalloc(&s->arena, n->count * sizeof *s->stages);
    for (struct yaml_node *c = n->child; c; c = c->next) {
        struct stage *stage = &s->stages[s->stage_count];
        read_stage(r, c, stage);
        measured |= !stage->warm_up;
        for (size_t i = 0; i < s->stage_count; i++)
            if (stage->name.n && str_eq(stage->name, s->stages[i].name))
                scenario_mistake(r, c, "stages: two are called \"%.*s\"",
                                 (int)MIN(stage->name.n, 60u), stage->name.p);
        s->stage_count++;
    }
    if (!measured && s->mistake_count == before)
        scenario_mistake(r, n, "stages: all are warm-up: expected one that is measured");
    scenario_name_stages(&s->arena, s->stages, s->stage_count);
}

/* ---- objectives and thresholds ---- */

/* "ttft=500ms,e2e=5s", or the same as a mapping. */
void scenario_read_slo(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    struct scenario *s = base;
    struct err e = {0};
    struct str text = STR("");
    struct arena *a = &s->arena;
    if (n->kind == NODE_LIST) {
        scenario_mistake(r, n, "slo: expected a mapping, such as {ttft: 500ms, e2e: 5s}");
        return;
    }
    if (n->kind == NODE_SCALAR) {
        if (scenario_text(r, n, &text) && !objectives_parse(text, &s->slo, &e))
            scenario_mistake(r, n, "slo: %s", e.text);
        return;
    }
    /* One at a time, so that a mistake has its own place. */
    for (struct yaml_node *c = n->child; c; c = c->next) {
        struct err one = {0};
        struct objectives alone;
        struct str value;
        if (!scenario_text(r, c, &value))
            continue;
        struct str pair = arena_printf(a, "%.*s=%.*s", STR_ARG(c->key), STR_ARG(value));
        if (!objectives_parse(pair, &alone, &one))
            scenario_mistake(r, c, "slo: %s", one.text);
        else
            text = arena_printf(a, "%.*s%s%.*s", STR_ARG(text), text.n ? "," : "", STR_ARG(pair));
    }
    if (text.n && !objectives_parse(text, &s->slo, &e))
        scenario_mistake(r, n, "slo: %s", e.text);
}

/* Names that are known already; a replay brings models of its own. */
static bool bind_names(struct scenario_reader *r, struct limits_asked *one, struct err *e)
{
    struct scenario *s = r->scenario;
    struct str models[RESULTS_MODELS_MAX], stages[RESULTS_STAGES_MAX];
    if (s->replay_file || !s->mix_count)
        return true;
    for (size_t i = 0; i < s->mix_count; i++)
        models[i] = s->mix[i].model;
    for (size_t i = 0; i < s->stage_count; i++)
        stages[i] = s->stages[i].name;
    return limits_asked_bind(one, models, s->mix_count, stages, s->stage_count, e);
}

/* Two limits may stand in one text, joined by `and`. */
static void read_threshold(struct scenario_reader *r, struct yaml_node *n)
{
    struct scenario *s = r->scenario;
    struct err e = {0};
    struct str text;
    size_t before = s->limits.count;
    if (!scenario_text(r, n, &text))
        return;
    if (limits_asked_add(&s->limits, text, &e)) {
        struct limits_asked *added = arena_zalloc(&s->arena, sizeof *added);
        added->count = s->limits.count - before;
        memcpy(added->all, s->limits.all + before, added->count * sizeof added->all[0]);
        if (bind_names(r, added, &e))
            return;
    }
    s->limits.count = before;
    scenario_mistake(r, n, "thresholds: %s", e.text);
}

/* k6 has metrics as keys, each with a list: {http_req_duration: ["p(95)<500"]}. */
static void read_k6(struct scenario_reader *r, struct yaml_node *n)
{
    struct str text;
    struct arena *a = &r->scenario->arena;
    if (n->kind == NODE_SCALAR) {
        if (!scenario_text(r, n, &text))
            return;
        n->text = arena_printf(a, "%.*s: %.*s", STR_ARG(n->key), STR_ARG(text));
        read_threshold(r, n);
        return;
    }
    for (struct yaml_node *c = n->child; c; c = c->next) {
        if (!scenario_text(r, c, &text))
            continue;
        c->text = arena_printf(a, "%.*s: %.*s", STR_ARG(n->key), STR_ARG(text));
        read_threshold(r, c);
    }
}

void scenario_read_thresholds(struct scenario_reader *r, struct yaml_node *n)
{
    if (n->kind == NODE_SCALAR) {
        read_threshold(r, n);
        return;
    }
    for (struct yaml_node *c = n->child; c; c = c->next) {
        if (n->kind == NODE_MAP)
            read_k6(r, c);
        else
            read_threshold(r, c);
    }
}
