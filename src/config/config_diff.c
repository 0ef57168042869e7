/* config_diff.c -- what a reload changes, by the tables of directives.
 *
 * A row that is stored is compared where it is stored, by its type: so 10s and 10000 are the same, a default that was written out is no
 * change, and what an option of the command line overrides is none either. A row that code of its own reads (fallbacks, aliases,
 * policies) is compared as the tree it was read from. Deployments are paired by id; what is left over then by public name, in order,
 * because an id that is a hash of the entry changes with it. A new row in the tables is compared without a line here. */
#include "config/config_diff.h"

#include <inttypes.h>

#include "base/json.h"
#include "base/redact.h"
#include "config/loader.h"

#define ID_SHOWN_BYTES    12
#define VALUE_SHOWN_BYTES 200 /* of a list or mapping; the rest is cut and marked */

/* ---- collecting ---- */

static void add(struct config_diff *d, struct config_change change)
{
    if (d->count == d->room) {
        d->room = d->room ? d->room * 2 : 32;
        d->changes = mem_realloc(d->changes, d->room * sizeof *d->changes);
    }
    d->restart_count += change.restart;
    d->changes[d->count++] = change;
}

static struct config_change change_of(bool had, bool has)
{
    return (struct config_change){.kind = !had   ? CONFIG_ADDED
                                          : !has ? CONFIG_REMOVED
                                                 : CONFIG_CHANGED};
}

/* A name or value as it may be shown: what looks like a secret is masked, what is long is cut. */
static struct str shown(struct config_diff *d, struct str text)
{
    char *copy = arena_alloc(&d->arena, text.n + sizeof "...");
    size_t n = text.n ? redact_secrets(text, copy, text.n) : 0;
    if (n > VALUE_SHOWN_BYTES) {
        n = VALUE_SHOWN_BYTES;
        while (n > 0 && (copy[n] & 0xc0) == 0x80) /* not within a character */
            n--;
        memcpy(copy + n, "...", 3);
        n += 3;
    }
    copy[n] = '\0';
    return (struct str){copy, n};
}

/* ---- trees ---- */

static bool is_there(const struct yaml_node *n)
{
    return n && !yaml_is_null(n);
}

static const struct yaml_node *member(const struct yaml_node *map, struct str key)
{
    for (const struct yaml_node *n = map && map->kind == NODE_MAP ? map->child : NULL; n;
         n = n->next)
        if (str_eq(n->key, key))
            return n;
    return NULL;
}

/* As deep as the tree: YAML_DEPTH_MAX. The order of a mapping's members means nothing. */
static bool equal(const struct yaml_node *a, const struct yaml_node *b)
{
    if (!is_there(a) || !is_there(b))
        return is_there(a) == is_there(b);
    if (a->kind != b->kind || a->count != b->count)
        return false;
    if (a->kind == NODE_SCALAR)
        return str_eq(a->text, b->text);
    const struct yaml_node *y = b->child;
    for (const struct yaml_node *x = a->child; x; x = x->next) {
        const struct yaml_node *other = a->kind == NODE_MAP ? member(b, x->key) : y;
        if (!other || !equal(x, other))
            return false;
        y = y ? y->next : NULL;
    }
    return true;
}

static struct str node_text(struct config_diff *d, const struct yaml_node *n)
{
    if (!is_there(n))
        return STR_NONE;
    return shown(d, n->kind == NODE_SCALAR ? n->text : model_entry_json(&d->arena, n, true));
}

static void compare_nodes(struct config_diff *d, struct str what, const struct yaml_node *before,
                          const struct yaml_node *after, bool restart)
{
    if (equal(before, after))
        return;
    const struct yaml_node *either = is_there(after) ? after : before;
    struct config_change c = change_of(is_there(before), is_there(after));
    c.what = what;
    c.restart = restart;
    c.secret =
        model_entry_is_secret(either) || (before && before->secret) || (after && after->secret);
    if (!c.secret) {
        c.before = node_text(d, before);
        c.after = node_text(d, after);
    }
    add(d, c);
}

/* Each member of two mappings, either of which may be missing. */
static void compare_members(struct config_diff *d, const char *where,
                            const struct yaml_node *before, const struct yaml_node *after,
                            bool secret)
{
    for (int side = 0; side < 2; side++) {
        const struct yaml_node *map = side ? after : before;
        for (const struct yaml_node *n = map && map->kind == NODE_MAP ? map->child : NULL; n;
             n = n->next) {
            const struct yaml_node *was = member(before, n->key), *is = member(after, n->key);
            if (side && was)
                continue; /* seen from the other side */
            uint32_t count = d->count;
            compare_nodes(d, arena_printf(&d->arena, "%s.%.*s", where, STR_ARG(n->key)), was, is,
                          false);
            if (secret && d->count > count) {
                d->changes[count].secret = true;
                d->changes[count].before = d->changes[count].after = STR_NONE;
            }
        }
    }
}

/* ---- rows that are stored ---- */

static struct str str_value(struct config_diff *d, const struct directive *row, const void *field)
{
    struct str text;
    (void)row;
    memcpy(&text, field, sizeof text);
    return text.n ? shown(d, text) : STR("\"\"");
}

static struct str i64_value(struct config_diff *d, const struct directive *row, const void *field)
{
    int64_t value;
    (void)row;
    memcpy(&value, field, sizeof value);
    return arena_printf(&d->arena, "%" PRId64, value);
}

static struct str int_value(struct config_diff *d, const struct directive *row, const void *field)
{
    int value;
    (void)row;
    memcpy(&value, field, sizeof value);
    return arena_printf(&d->arena, "%d", value);
}

static struct str bool_value(struct config_diff *d, const struct directive *row, const void *field)
{
    bool value;
    (void)d, (void)row;
    memcpy(&value, field, sizeof value);
    return value ? STR("true") : STR("false");
}

static struct str ms_value(struct config_diff *d, const struct directive *row, const void *field)
{
    int64_t ms;
    memcpy(&ms, field, sizeof ms);
    if (ms < 0)
        return STR("not set");
    if (row->type == D_MS)
        return arena_printf(&d->arena, "%" PRId64 "ms", ms);
    return arena_printf(&d->arena, "%.10g", (double)ms / 1000);
}

static struct str f64_value(struct config_diff *d, const struct directive *row, const void *field)
{
    double value;
    (void)row;
    memcpy(&value, field, sizeof value);
    return arena_printf(&d->arena, "%.10g", value);
}

static struct str choice_value(struct config_diff *d, const struct directive *row,
                               const void *field)
{
    int value;
    (void)d;
    memcpy(&value, field, sizeof value);
    return str_from(row->choices[value]);
}

/* By directive_type: size of the field, and its value as text. Size 0: not compared where it is stored. */
static const struct {
    size_t bytes;
    struct str (*text)(struct config_diff *d, const struct directive *row, const void *field);
} types[] = {
    [D_BOOL] = {sizeof(bool), bool_value},
    [D_INT] = {sizeof(int64_t), i64_value},
    [D_INT32] = {sizeof(int), int_value},
    [D_BYTES] = {sizeof(int64_t), i64_value},
    [D_MS] = {sizeof(int64_t), ms_value},
    [D_SECONDS_AS_MS] = {sizeof(int64_t), ms_value},
    [D_F64] = {sizeof(double), f64_value},
    [D_STR] = {sizeof(struct str), str_value},
    [D_SECRET] = {sizeof(struct str), str_value},
    [D_CHOICE] = {sizeof(int), choice_value},
    [D_ANY] = {0, NULL},
};

static bool is_text(const struct directive *row)
{
    return row->type == D_STR || row->type == D_SECRET;
}

static bool same_field(const struct directive *row, const void *a, const void *b)
{
    struct str x, y;
    if (!is_text(row))
        return memcmp(a, b, types[row->type].bytes) == 0;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return str_eq(x, y);
}

static bool is_empty_text(const struct directive *row, const void *field)
{
    struct str text;
    if (!is_text(row))
        return false;
    memcpy(&text, field, sizeof text);
    return text.n == 0;
}

static void compare_field(struct config_diff *d, struct str what, const struct directive *row,
                          const struct config *before, const struct config *after)
{
    const char *a = (const char *)before + row->offset, *b = (const char *)after + row->offset;
    if (same_field(row, a, b))
        return;
    struct config_change c = change_of(!is_empty_text(row, a), !is_empty_text(row, b));
    c.what = what;
    c.restart = row->restart;
    c.secret = row->type == D_SECRET;
    if (!c.secret) {
        c.before = c.kind == CONFIG_ADDED ? STR_NONE : types[row->type].text(d, row, a);
        c.after = c.kind == CONFIG_REMOVED ? STR_NONE : types[row->type].text(d, row, b);
    }
    add(d, c);
}

/* Several keys may set one field (slow_request_threshold and ..._ms): it is told of under the one that has the default, else under the
 * first. */
static const struct directive *main_row(size_t offset)
{
    const struct directive *found = NULL;
    for (size_t i = 0; i < directive_section_count; i++) {
        const struct directive_section *s = &directive_sections[i];
        for (size_t k = 0; s->base == IN_CONFIG && k < s->count; k++)
            if (s->rows[k].offset == offset && (!found || (s->rows[k].def && !found->def)))
                found = &s->rows[k];
    }
    return found;
}

/* ---- sections ---- */

static bool is_section(const char *path)
{
    for (size_t i = 0; i < directive_section_count; i++)
        if (!strcmp(directive_sections[i].path, path))
            return true;
    return false;
}

static void compare_row(struct config_diff *d, const struct directive_section *s,
                        const struct directive *row, const struct config *before,
                        const struct config *after)
{
    struct str what = arena_printf(&d->arena, "%s%s%s", s->path, *s->path ? "." : "", row->key);
    if (row->later || is_section(what.p) || !strcmp(row->key, "include"))
        return; /* without effect; told of member by member; merged into the rest */
    if (row->offset != DIRECTIVE_NOT_STORED && types[row->type].bytes) {
        if (main_row(row->offset) == row)
            compare_field(d, what, row, before, after);
        return;
    }
    const struct yaml_node *was = yaml_get(config_section(before->tree, s->path), row->key);
    const struct yaml_node *is = yaml_get(config_section(after->tree, s->path), row->key);
    if (!strcmp(row->key, "environment_variables"))
        compare_members(d, row->key, was, is, true);
    else
        compare_nodes(d, what, was, is, row->restart);
}

static void compare_sections(struct config_diff *d, const struct config *before,
                             const struct config *after)
{
    for (size_t i = 0; i < directive_section_count; i++) {
        const struct directive_section *s = &directive_sections[i];
        for (size_t k = 0; s->base == IN_CONFIG && k < s->count; k++)
            compare_row(d, s, &s->rows[k], before, after);
    }
}

/* ---- deployments ---- */

static bool same_price(const struct price *a, const struct price *b)
{
    return a->input_per_token == b->input_per_token && a->output_per_token == b->output_per_token &&
           a->cache_read_per_token == b->cache_read_per_token && a->per_request == b->per_request;
}

/* Beside what the entry says: what came from the environment or from a table of prices. */
static void compare_resolved(struct config_diff *d, const char *where, const struct deployment *was,
                             const struct deployment *is)
{
    if (!str_eq(was->authorization, is->authorization))
        add(d, (struct config_change){
                   .kind = CONFIG_CHANGED,
                   .what = arena_printf(&d->arena, "%s.litellm_params.api_key", where),
                   .secret = true});
    if (!same_price(&was->price, &is->price))
        add(d, (struct config_change){
                   .kind = CONFIG_CHANGED,
                   .what = arena_printf(&d->arena, "%s: price per token", where),
                   .before = arena_printf(&d->arena, "%g, %g", was->price.input_per_token,
                                          was->price.output_per_token),
                   .after = arena_printf(&d->arena, "%g, %g", is->price.input_per_token,
                                         is->price.output_per_token)});
}

static const struct model_group *group_of(const struct config *c, struct str name)
{
    const struct model_group *exact = map_get(&c->group_by_name, name);
    for (uint32_t i = 0; !exact && i < c->group_count;
         i++) /* wildcards are not in the map, and few */
        if (c->groups[i].wildcard && str_eq(c->groups[i].name, name))
            return &c->groups[i];
    return exact;
}

/* "model_list[gpt-4o]", with the beginning of the id where the name is not its alone. */
static const char *deployment_name(struct config_diff *d, const struct config *c,
                                   const struct deployment *dep)
{
    const struct model_group *g = group_of(c, dep->model_name);
    struct str name = shown(d, dep->model_name), id = shown(d, dep->model_id);
    if (!g || g->count == 1)
        return arena_printf(&d->arena, "model_list[%.*s]", STR_ARG(name)).p;
    return arena_printf(&d->arena, "model_list[%.*s, id %.*s]", STR_ARG(name),
                        (int)MIN(id.n, (size_t)ID_SHOWN_BYTES), id.p)
        .p;
}

static void compare_deployment(struct config_diff *d, const char *where,
                               const struct deployment *was, const struct deployment *is)
{
    static const char *const parts[] = {"litellm_params", "model_info"};
    uint32_t count = d->count;
    if (!str_eq(was->model_name, is->model_name))
        add(d, (struct config_change){.kind = CONFIG_CHANGED,
                                      .what = arena_printf(&d->arena, "%s.model_name", where),
                                      .before = shown(d, was->model_name),
                                      .after = shown(d, is->model_name)});
    for (size_t i = 0; i < COUNT(parts); i++)
        compare_members(d, arena_printf(&d->arena, "%s.%s", where, parts[i]).p,
                        member(was->item, str_from(parts[i])), member(is->item, str_from(parts[i])),
                        false);
    if (d->count == count)
        compare_resolved(d, where, was, is);
}

static void add_whole(struct config_diff *d, enum config_change_kind kind,
                      const struct config *owner, const struct deployment *dep)
{
    struct str text = arena_printf(&d->arena, "%.*s at %.*s, id %.*s", STR_ARG(dep->litellm_model),
                                   STR_ARG(dep->api_base), STR_ARG(dep->model_id));
    struct config_change c = {.kind = kind, .what = str_from(deployment_name(d, owner, dep))};
    *(kind == CONFIG_ADDED ? &c.after : &c.before) = shown(d, text);
    add(d, c);
}

/* Of the same public name in `after`, and not paired yet. */
static struct deployment *namesake(const struct config *after, const bool *taken, struct str name)
{
    const struct model_group *g = group_of(after, name);
    for (int i = 0; g && i < g->count; i++)
        if (!taken[g->deployments[i]->id])
            return g->deployments[i];
    return NULL;
}

static void pair_deployments(const struct config *before, const struct config *after,
                             struct deployment **pairs, bool *taken)
{
    struct map by_id;
    map_init(&by_id);
    for (uint32_t i = 0; i < after->deployment_count; i++)
        map_put(&by_id, after->deployments[i].model_id, &after->deployments[i]);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < before->deployment_count; i++) {
            const struct deployment *was = &before->deployments[i];
            struct deployment *is =
                pass ? namesake(after, taken, was->model_name) : map_get(&by_id, was->model_id);
            if (pairs[i] || !is || taken[is->id])
                continue;
            pairs[i] = is;
            taken[is->id] = true;
        }
    }
    map_fini(&by_id);
}

static void compare_deployments(struct config_diff *d, const struct config *before,
                                const struct config *after)
{
    bool *taken = arena_zalloc(&d->arena, after->deployment_count + 1u);
    struct deployment **pairs =
        arena_zalloc(&d->arena, (before->deployment_count + 1u) * sizeof *pairs);
    pair_deployments(before, after, pairs, taken);
    for (uint32_t i = 0; i < before->deployment_count; i++) {
        if (pairs[i])
            compare_deployment(d, deployment_name(d, after, pairs[i]), &before->deployments[i],
                               pairs[i]);
        else
            add_whole(d, CONFIG_REMOVED, before, &before->deployments[i]);
    }
    for (uint32_t i = 0; i < after->deployment_count; i++)
        if (!taken[i])
            add_whole(d, CONFIG_ADDED, after, &after->deployments[i]);
}

/* ---- virtual keys ---- */

/* The entry that a key was read from: they come in the file's order. */
static const struct yaml_node *key_item(const struct config *c, int i)
{
    const struct yaml_node *list = yaml_get(config_section(c->tree, "weir_settings"), "keys");
    const struct yaml_node *n = list && list->kind == NODE_LIST ? list->child : NULL;
    while (n && i-- > 0)
        n = n->next;
    return n;
}

static int find_key(const struct config *c, const char hash_hex[KEY_HASH_BYTES])
{
    for (int i = 0; i < c->key_count; i++)
        if (!memcmp(c->keys[i].hash_hex, hash_hex, KEY_HASH_BYTES))
            return i;
    return -1;
}

/* By alias, or by what may be shown of the key. */
static const char *key_place(struct config_diff *d, const struct key_facts *k)
{
    struct str name = k->alias.n ? k->alias : k->name;
    return arena_printf(&d->arena, "weir_settings.keys[%.*s]", STR_ARG(shown(d, name))).p;
}

static void add_key(struct config_diff *d, enum config_change_kind kind, const struct key_facts *k)
{
    struct config_change c = {.kind = kind, .what = str_from(key_place(d, k))};
    *(kind == CONFIG_ADDED ? &c.after : &c.before) =
        arena_printf(&d->arena, "hash %.*s...", ID_SHOWN_BYTES, k->hash_hex);
    add(d, c);
}

static void compare_keys(struct config_diff *d, const struct config *before,
                         const struct config *after)
{
    for (int i = 0; i < before->key_count; i++) {
        const struct key_facts *was = &before->keys[i];
        int at = find_key(after, was->hash_hex);
        if (at < 0)
            add_key(d, CONFIG_REMOVED, was);
        else
            compare_members(d, key_place(d, &after->keys[at]), key_item(before, i),
                            key_item(after, at), false);
    }
    for (int i = 0; i < after->key_count; i++)
        if (find_key(before, after->keys[i].hash_hex) < 0)
            add_key(d, CONFIG_ADDED, &after->keys[i]);
}

/* ---- the whole ---- */

void config_diff(const struct config *before, const struct config *after, struct config_diff *out)
{
    *out = (struct config_diff){0};
    arena_init(&out->arena, NULL, 0);
    compare_deployments(out, before, after);
    compare_sections(out, before, after);
    compare_keys(out, before, after);
}

void config_diff_fini(struct config_diff *d)
{
    mem_free(d->changes);
    arena_fini(&d->arena);
}

const char *config_change_word(enum config_change_kind kind)
{
    static const char *const words[] = {"added", "removed", "changed"};
    return words[kind];
}

struct str config_change_text(struct arena *a, const struct config_change *c)
{
    static const char signs[] = {'+', '-', '~'};
    const char *end = c->restart ? " (takes effect at a restart)" : "";
    if (c->secret)
        return arena_printf(a, "%c %.*s: %s, a secret%s", signs[c->kind], STR_ARG(c->what),
                            config_change_word(c->kind), end);
    if (c->kind == CONFIG_CHANGED)
        return arena_printf(a, "%c %.*s: %.*s -> %.*s%s", signs[c->kind], STR_ARG(c->what),
                            STR_ARG(c->before), STR_ARG(c->after), end);
    struct str value = c->kind == CONFIG_ADDED ? c->after : c->before;
    return arena_printf(a, "%c %.*s: %.*s%s", signs[c->kind], STR_ARG(c->what), STR_ARG(value),
                        end);
}

static bool write_value(struct buf *out, const char *name, struct str value)
{
    return buf_printf(out, ",\"%s\":", name) &&
           (value.n ? json_write_string(out, value) : buf_printf(out, "null"));
}

bool config_diff_write_json(const struct config_diff *d, struct buf *out)
{
    bool ok = buf_printf(out, "[");
    for (uint32_t i = 0; ok && i < d->count; i++) {
        const struct config_change *c = &d->changes[i];
        ok = buf_printf(out, "%s{\"change\":\"%s\",\"name\":", i ? "," : "",
                        config_change_word(c->kind)) &&
             json_write_string(out, c->what) && write_value(out, "before", c->before) &&
             write_value(out, "after", c->after) &&
             buf_printf(out, ",\"secret\":%s,\"restart\":%s}", c->secret ? "true" : "false",
                        c->restart ? "true" : "false");
    }
    return ok && buf_printf(out, "]");
}
