/* auth.c -- step 2: who asks.
 *
 * With a master key that key may do everything, and each virtual key (keys.h) what it was given; without one everything is open, and a key
 * that is sent anyway is only hashed for the record. The master key is compared in constant time; virtual keys are found by their
 * SHA-256, so nothing about one can be learnt from how long that takes. No key is stored or logged in the clear. */
#include "gateway/gateway.h"
#include "gateway/key_service.h"
#include "gateway/lines.h"

/* LiteLLM's order (docs/compatibility.md). */
static const enum h1_field key_fields[] = {H1_X_LITELLM_API_KEY, H1_AUTHORIZATION,
                                           H1_API_KEY,           H1_X_API_KEY,
                                           H1_X_GOOG_API_KEY,    H1_OCP_APIM_KEY};

static struct str without_scheme(struct str value)
{
    static const struct str schemes[] = {{"bearer ", 7},
                                         {"basic ", 6}}; /* in any case (RFC 9110 §11.1) */
    for (size_t i = 0; i < COUNT(schemes); i++)
        if (value.n > schemes[i].n && str_ieq((struct str){value.p, schemes[i].n}, schemes[i]))
            return str_trim(str_skip(value, schemes[i].n));
    return value;
}

static struct str custom_header(const struct h1_head *h, struct str name)
{
    for (int i = 0; i < h->header_count; i++)
        if (str_ieq(h->headers[i].name, name))
            return h->headers[i].value;
    return STR_NONE;
}

static struct str key_of(const struct config *c, const struct h1_head *h)
{
    if (c->key_header.n) {
        struct str value = custom_header(h, c->key_header);
        if (value.n)
            return without_scheme(value);
    }
    for (size_t i = 0; i < COUNT(key_fields); i++) {
        struct str value = h1_get(h, key_fields[i]);
        if (value.n)
            return without_scheme(value);
    }
    return STR_NONE;
}

/* ---- the worker's cache ---- */

static struct key_cache_entry *cached(struct worker *w, struct str key)
{
    struct key_cache_entry *entry = &w->keys[str_hash(key) % KEY_CACHE_ENTRIES];
    if (str_eq_secret((struct str){entry->key, entry->key_bytes}, key))
        return entry;
    key_put(entry->found);
    key_sha256(key, entry->hash_hex);
    memcpy(entry->key, key.p, key.n);
    entry->key_bytes = (uint8_t)key.n;
    entry->found = NULL;
    entry->generation = 0;
    return entry;
}

/* A reference, or NULL. The generation is read before the table: what changes in between is looked up again next time. */
static const struct key *find_key(struct worker *w, struct key_cache_entry *entry)
{
    struct keys *table = w->gateway->keys->table;
    uint64_t generation = keys_generation(table);
    if (entry->generation != generation) {
        key_put(entry->found);
        entry->found = keys_find(table, w->index, entry->hash_hex);
        entry->generation = generation;
    }
    return entry->found ? key_get(entry->found) : NULL;
}

void auth_fini(struct worker *w)
{
    for (int i = 0; i < KEY_CACHE_ENTRIES; i++)
        key_put(w->keys[i].found);
}

/* ---- who ---- */

static enum error_code check_virtual(const struct key *k)
{
    if (!k)
        return ERR_BAD_KEY;
    if (k->facts.blocked)
        return ERR_KEY_BLOCKED;
    return k->facts.expires_us && clock_real_us() >= k->facts.expires_us ? ERR_KEY_EXPIRED
                                                                         : ERR_NONE;
}

enum error_code auth_check(struct worker *w, const struct config *c, const struct h1_head *h,
                           struct caller *out)
{
    struct str key = key_of(c, h);
    struct key_cache_entry *entry = NULL;
    out->key = NULL;
    out->hashed = key.n > 0;
    out->is_master = c->master_key.n == 0;
    if (key.n && key.n <= sizeof entry->key)
        entry = cached(w, key);
    if (entry)
        memcpy(out->hash_hex, entry->hash_hex, KEY_HASH_BYTES);
    else if (out->hashed)
        key_sha256(key, out->hash_hex);
    if (out->is_master)
        return ERR_NONE;
    if (!out->hashed)
        return ERR_NO_KEY;
    out->is_master = str_eq_secret(key, c->master_key);
    if (out->is_master)
        return ERR_NONE;
    out->key = entry ? find_key(w, entry) : NULL; /* no virtual key is that long */
    return check_virtual(out->key);
}

/* ---- which models ---- */

static bool lists(const struct key_facts *f, struct str name)
{
    for (int i = 0; i < f->model_count; i++)
        if (str_eq(f->models[i], STR("all-proxy-models")) || str_glob(f->models[i], name))
            return true;
    return false;
}

bool auth_model_allowed(const struct config *c, const struct key *k, struct str model)
{
    if (!k || k->facts.model_count == 0 || lists(&k->facts, model))
        return true;
    const struct model_group *group = config_group(c, model, NULL);
    return group && lists(&k->facts, group->name);
}

/* LiteLLM's sentence. */
static enum step_result deny_model(struct request *r, struct str model)
{
    char text[256];
    size_t n = 0;
    const struct key_facts *f = &r->key->facts;
    for (int i = 0; i < f->model_count && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s'%.*s'", i ? ", " : "",
                              STR_ARG(f->models[i]));
    return request_error(r, ERR_KEY_MODEL_DENIED,
                         "key not allowed to access model. This key can only access models=[%s%s]. "
                         "Tried to access %.*s",
                         text, n >= sizeof text ? "..." : "", (int)MIN(model.n, (size_t)128),
                         model.p);
}

/* ---- the step ---- */

static void name_caller(struct request *r, const struct caller *who)
{
    struct record *rec = &r->record;
    r->key = who->key;
    if (who->hashed)
        rec->key_hash = arena_str(&r->arena, (struct str){who->hash_hex, KEY_HASH_BYTES});
    if (who->key)
        rec->key_alias = who->key->facts.alias.n ? who->key->facts.alias : who->key->facts.name;
    else if (who->is_master && r->config->master_key.n)
        rec->key_alias = STR("master_key");
}

enum step_result auth_run(struct request *r)
{
    struct caller who;
    enum error_code code = auth_check(r->worker, r->config, r->http->head, &who);
    name_caller(r, &who);
    if (code != ERR_NONE)
        return request_error(r, code, "%s", "");
    if (!auth_model_allowed(r->config, r->key, r->record.model))
        return deny_model(r, r->record.model);
    for (int i = 0; i < r->asked_fallbacks.count; i++)
        if (!auth_model_allowed(r->config, r->key, r->asked_fallbacks.to[i]))
            return deny_model(r, r->asked_fallbacks.to[i]);
    return STEP_NEXT;
}

/* ---- header lines ---- */

static char *put_limit(char *at, struct str name, int64_t limit)
{
    if (limit < 0)
        return at;
    at = put(put(at, name), STR(": "));
    return put(digits_u64(at, (uint64_t)limit), STR("\r\n"));
}

size_t key_header_lines(const struct request *r, char out[KEY_LINES_BYTES])
{
    const struct key *k = r->key;
    if (!k)
        return 0;
    double spent_usd = key_spend_usd(k->use->spend, &k->facts, clock_real_us());
    if (r->measured && r->record.cost_usd > 0)
        spent_usd += r->record.cost_usd;
    char *at = put(put_usd(put(out, STR("x-litellm-key-spend: ")), MAX(spent_usd, 0)), STR("\r\n"));
    if (k->facts.max_budget_usd >= 0)
        at = put(put_usd(put(at, STR("x-litellm-key-max-budget: ")), k->facts.max_budget_usd),
                 STR("\r\n"));
    at = put_limit(at, STR("x-litellm-key-rpm-limit"), k->facts.rpm_limit);
    at = put_limit(at, STR("x-litellm-key-tpm-limit"), k->facts.tpm_limit);
    return (size_t)(at - out);
}
