/* key_list.c -- weir_settings.keys: virtual keys that the configuration itself names, and where those of the API are kept.
 *
 * Called by config.c when master_key is known. A key is hashed here, and from here on only its hash is known; the node's text is what remains of it
 * until the loader's arena goes with the snapshot. */
#include <openssl/sha.h>

#include "base/digits.h"
#include "base/when.h"
#include "config/loader.h"

#define MODELS_MAX    1000
#define KEY_FILE_NAME "keys.db"

static const char section[] = "weir_settings.keys";

void key_sha256(struct str key, char hex[KEY_HASH_BYTES])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)key.p, key.n, digest);
    digits_hex_bytes(hex, digest, sizeof digest);
}

struct str key_name(struct arena *a, struct str key)
{
    return key.n >= KEY_NAME_FROM_BYTES
               ? arena_printf(a, "sk-...%.*s", 4, key.p + key.n - 4)
               : STR("sk-..."); /* four of so few would be too much of it */
}

bool key_hash_ok(struct str hex)
{
    for (size_t i = 0; i < hex.n; i++)
        if (!memchr("0123456789abcdef", hex.p[i], 16))
            return false;
    return hex.n == KEY_HASH_BYTES;
}

/* ---- one entry ---- */

static void read_models(struct loader *l, struct yaml_node *list, struct key_facts *f)
{
    if (!list || list->kind != NODE_LIST)
        return;
    if (list->count > MODELS_MAX) {
        loader_error(l, list, "%s: models: expected at most %d", section, MODELS_MAX);
        return;
    }
    struct str *models = arena_alloc(l->arena, MAX(list->count, (size_t)1) * sizeof *models);
    for (struct yaml_node *n = list->child; n; n = n->next) {
        if (n->kind != NODE_SCALAR || yaml_is_null(n))
            loader_error(l, n, "%s: models: expected models' names", section);
        else
            models[f->model_count++] = n->text;
    }
    f->models = models;
}

static void read_identity(struct loader *l, struct yaml_node *item, const struct key_entry *w,
                          struct key_facts *f)
{
    if ((w->key.n > 0) == (w->key_hash.n > 0)) {
        loader_error(l, item, "%s: expected one of key and key_hash in every entry", section);
        return;
    }
    if (w->key_hash.n) {
        if (key_hash_ok(w->key_hash))
            memcpy(f->hash_hex, w->key_hash.p, KEY_HASH_BYTES);
        else
            loader_error(l, yaml_get(item, "key_hash"),
                         "%s: key_hash: expected the SHA-256 of a key, 64 digits in lower-case hex",
                         section);
        f->name = STR("sk-...");
        return;
    }
    if (str_eq(w->key, l->config->master_key))
        loader_error(l, yaml_get(item, "key"), "%s: key: expected another key than master_key",
                     section);
    key_sha256(w->key, f->hash_hex);
    f->name = key_name(l->arena, w->key);
}

static void read_times(struct loader *l, struct yaml_node *item, const struct key_entry *w,
                       struct key_facts *f)
{
    struct err e = {0};
    bool zoned;
    if (w->budget_duration.n && !duration_parse(w->budget_duration, &f->budget_duration, &e))
        loader_error(l, yaml_get(item, "budget_duration"), "%s: budget_duration: %s", section,
                     e.text);
    if (w->expires.n && !when_stamp(w->expires, &f->expires_us, &zoned) &&
        !when_stamp(arena_printf(l->arena, "%.*sT00:00:00Z", STR_ARG(w->expires)), &f->expires_us,
                    &zoned))
        loader_error(l, yaml_get(item, "expires"),
                     "%s: expires: expected a moment, 2026-12-31 or 2026-12-31T12:00:00Z, got "
                     "\"%.*s\"",
                     section, STR_ARG(w->expires));
}

static struct key_facts read_entry(struct loader *l, struct yaml_node *item)
{
    struct yaml_node *metadata = yaml_get(item, "metadata");
    struct key_entry w = {.key = STR(""),
                          .key_hash = STR(""),
                          .key_alias = STR(""),
                          .user_id = STR(""),
                          .team_id = STR(""),
                          .expires = STR(""),
                          .budget_duration = STR(""),
                          .rpm_limit = -1,
                          .tpm_limit = -1,
                          .max_parallel_requests = -1,
                          .max_budget = -1};
    loader_apply(l, directive_section(section), &w, item);
    struct key_facts f = {.alias = w.key_alias,
                          .user_id = w.user_id,
                          .team_id = w.team_id,
                          .from_config = true,
                          .blocked = w.blocked,
                          .rpm_limit = w.rpm_limit,
                          .tpm_limit = w.tpm_limit,
                          .max_parallel_requests = w.max_parallel_requests,
                          .max_budget_usd = w.max_budget,
                          .budget_duration_text = w.budget_duration,
                          .metadata_json = metadata && metadata->kind == NODE_MAP
                                               ? loader_json(l->arena, metadata)
                                               : STR("{}")};
    read_identity(l, item, &w, &f);
    read_times(l, item, &w, &f);
    read_models(l, yaml_get(item, "models"), &f);
    return f;
}

/* ---- the list ---- */

/* Two entries of one key or one name: which of them counts would be chance. */
static void check_twins(struct loader *l, struct yaml_node *item, struct map *known,
                        const struct key_facts *f)
{
    struct str hash = {f->hash_hex, KEY_HASH_BYTES};
    if (f->hash_hex[0] && map_put(known, hash, item))
        loader_error(l, item, "%s: the same key is in the list twice", section);
    if (f->alias.n && map_put(known, f->alias, item))
        loader_error(l, yaml_get(item, "key_alias"),
                     "%s: key_alias: \"%.*s\" is another entry's name too", section,
                     STR_ARG(f->alias));
}

static void read_list(struct loader *l, struct yaml_node *list)
{
    struct key_facts *keys = arena_alloc(l->arena, list->count * sizeof *keys);
    struct map known;
    map_init(&known);
    for (struct yaml_node *n = list->child; n; n = n->next) {
        if (n->kind != NODE_MAP) {
            loader_error(l, n, "%s: expected a mapping with key or key_hash", section);
            continue;
        }
        struct key_facts *f = &keys[l->config->key_count++];
        *f = read_entry(l, n);
        check_twins(l, n, &known, f);
    }
    map_fini(&known);
    l->config->keys = keys;
}

/* systemd names the folder of a service's state (StateDirectory=); of several the first. */
static void set_key_file(struct loader *l)
{
    struct config *c = l->config;
    const char *folder = loader_env(l, "STATE_DIRECTORY");
    struct str first = str_from(folder ? folder : "");
    first = str_cut(&first, ':');
    c->key_file_given = c->key_file.p != NULL;
    if (!c->key_file_given)
        c->key_file =
            arena_printf(l->arena, "%.*s%s" KEY_FILE_NAME, STR_ARG(first), first.n ? "/" : "");
}

void key_list_read(struct loader *l, struct yaml_node *weir)
{
    struct yaml_node *list = yaml_get(weir, "keys");
    set_key_file(l);
    if (!list || list->kind != NODE_LIST || list->count == 0)
        return;
    if (!l->config->master_key.n)
        loader_error_at_key(l, list,
                            "%s: expected general_settings.master_key too: without one "
                            "everything is open, with or without a key",
                            section);
    read_list(l, list);
}
