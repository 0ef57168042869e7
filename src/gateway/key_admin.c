/* key_admin.c -- the endpoints below /key/: keys made, changed, shown and taken away. Runs on the keys thread; only the master key comes this far, but for
 * GET /key/info, which also tells a key about itself.
 *
 * A change is in the database, durable, before it is published and before it is answered: an answer that was given survives whatever comes next. From
 * the moment of the answer on, every worker goes by the new version (keys.h's generation). */
#include <sys/random.h>

#include "gateway/gateway.h"
#include "gateway/key_body.h"
#include "gateway/key_service.h"

#define KEY_RANDOM_CHARS 27 /* of 62: 160 bits */
#define PAGE_SIZE        10
#define PAGE_SIZE_MAX    100

/* What an endpoint's function works with. */
struct call {
    struct key_service *service;
    struct control_job *job;
    struct arena arena;
    struct err err;
    int64_t now_us;
};

/* ---- answers ---- */

static void fail(struct call *c, enum error_code code)
{
    c->job->status = error_info(code)->http_status;
    buf_clear(&c->job->body);
    reply_error_json(code, str_from(c->err.text), &c->job->body);
}

static void write_row(struct call *c, const struct key *k, struct str plain, bool with_token)
{
    struct key_now now = {.spent_usd = key_spend_usd(k->use->spend, &k->facts, c->now_us),
                          .reset_us = key_spend_reset_us(k->use->spend, &k->facts, c->now_us),
                          .key = plain,
                          .with_token = with_token};
    key_row_write(&k->facts, &now, &c->job->body);
}

/* ---- finding ---- */

/* By the key itself or by its hash, as LiteLLM's endpoints take both. */
static void hash_of(struct str key, char hash_hex[KEY_HASH_BYTES])
{
    if (key_hash_ok(key))
        memcpy(hash_hex, key.p, KEY_HASH_BYTES);
    else
        key_sha256(key, hash_hex);
}

static const struct key *find(struct call *c, struct str key)
{
    char hash_hex[KEY_HASH_BYTES];
    hash_of(key, hash_hex);
    return keys_find(c->service->table, KEYS_WRITER, hash_hex);
}

/* A key that the API may change; NULL: answered. A reference. */
static const struct key *find_own(struct call *c, struct str key)
{
    if (!key.n) {
        err_set(&c->err, "key: expected a key or its hash");
        fail(c, ERR_BAD_REQUEST);
        return NULL;
    }
    const struct key *k = find(c, key);
    if (!k) {
        fail(c, ERR_KEY_UNKNOWN);
    } else if (k->facts.from_config) {
        err_set(&c->err, "this key is one of weir_settings.keys: change it there");
        fail(c, ERR_BAD_REQUEST);
        key_put(k);
        k = NULL;
    }
    return k;
}

static bool alias_is_free(struct call *c, const struct key_facts *f)
{
    const struct key *k = f->alias.n ? keys_find_alias(c->service->table, f->alias) : NULL;
    bool another = k && memcmp(k->facts.hash_hex, f->hash_hex, KEY_HASH_BYTES) != 0;
    key_put(k);
    return !another || err_set(&c->err, "key_alias: another key has it: expected a new one");
}

static bool read_body(struct call *c, enum key_call call, struct key_body *b)
{
    if (key_body_read(&c->arena, call, c->job->request_body, c->now_us, b, &c->err))
        return true;
    fail(c, ERR_BAD_REQUEST);
    return false;
}

/* ---- making ---- */

/* sk- and 27 characters of 62, each as likely as the others. */
static struct str new_key(struct call *c)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char *key = arena_alloc(&c->arena, 3 + KEY_RANDOM_CHARS);
    size_t n = 3;
    memcpy(key, "sk-", 3);
    while (n < 3 + KEY_RANDOM_CHARS) {
        uint8_t bytes[64];
        ENSURE(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
        for (size_t i = 0; i < sizeof bytes && n < 3 + KEY_RANDOM_CHARS; i++)
            if (bytes[i] < 62 * 4)
                key[n++] = letters[bytes[i] % 62];
    }
    return (struct str){key, n};
}

static bool key_is_usable(struct call *c, struct str key, const char hash_hex[KEY_HASH_BYTES])
{
    const struct key *k = keys_find(c->service->table, KEYS_WRITER, hash_hex);
    key_put(k);
    if (k)
        return err_set(&c->err, "key: there is one already: change it with /key/update");
    if (c->service->has_master && !memcmp(hash_hex, c->service->master_hash, KEY_HASH_BYTES))
        return err_set(&c->err, "key: expected another one than the master key");
    return (str_starts(key, STR("sk-")) && key.n > 3) ||
           err_set(&c->err, "key: expected one that begins with sk-");
}

/* Into the database, then into the table. NULL: answered. */
static struct key *publish_new(struct call *c, const struct key_facts *f)
{
    struct spend_numbers none = {0};
    if (!spend_file_room(c->service->spend, &c->err) || /* first: a key that is written is served */
        !key_store_write(c->service->store, f, &none, NULL, &c->err)) {
        fail(c, ERR_KEY_STORE);
        return NULL;
    }
    struct key_spend *spend = key_service_take_spend(c->service, f, &c->err);
    if (!spend) {
        fail(c, ERR_KEY_STORE);
        return NULL;
    }
    struct key *k = key_new(f, NULL, spend);
    keys_change(c->service->table, NULL, 0, &k, 1);
    return k;
}

static void generate(struct call *c)
{
    struct key_body b = {.facts = key_facts_default()};
    if (!read_body(c, KEY_CALL_GENERATE, &b))
        return;
    struct str key = b.key.n ? b.key : new_key(c);
    key_sha256(key, b.facts.hash_hex);
    b.facts.name = key_name(&c->arena, key);
    b.facts.created_us = b.facts.updated_us = c->now_us;
    if (!key_is_usable(c, key, b.facts.hash_hex) || !alias_is_free(c, &b.facts)) {
        fail(c, ERR_BAD_REQUEST);
        return;
    }
    struct key *k = publish_new(c, &b.facts);
    if (!k)
        return;
    if (b.spend_usd >= 0)
        key_spend_set(k->use->spend, b.spend_usd, c->now_us);
    write_row(c, k, key, true);
}

/* ---- changing ---- */

/* The key's next version: NULL: answered. The table's reference; valid until the next change. */
static struct key *publish_change(struct call *c, const struct key *before, struct key_facts *f)
{
    struct spend_numbers spent;
    (void)key_spend_changed(before->use->spend, &spent);
    f->updated_us = c->now_us;
    if (!key_store_write(c->service->store, f, &spent, NULL, &c->err)) {
        fail(c, ERR_KEY_STORE);
        return NULL;
    }
    struct key *k = key_new(f, before->use, NULL);
    keys_change(c->service->table, NULL, 0, &k, 1);
    return k;
}

static void update(struct call *c)
{
    struct key_body b = {.facts = key_facts_default()};
    if (!read_body(c, KEY_CALL_UPDATE, &b)) /* what is wrong with the body comes first */
        return;
    const struct key *before = find_own(c, b.key);
    if (!before)
        return;
    b = (struct key_body){.facts = before->facts};
    struct key *k = NULL;
    if (!read_body(c, KEY_CALL_UPDATE, &b))
        goto out;
    if (!alias_is_free(c, &b.facts)) {
        fail(c, ERR_BAD_REQUEST);
        goto out;
    }
    k = publish_change(c, before, &b.facts);
    if (!k)
        goto out;
    if (b.budget_begins)
        key_spend_window(k->use->spend, &k->facts, c->now_us);
    if (b.spend_usd >= 0)
        key_spend_set(k->use->spend, b.spend_usd, c->now_us);
    write_row(c, k, STR_NONE, true);
out:
    key_put(before);
}

static void set_blocked(struct call *c, bool blocked)
{
    struct key_body b = {.facts = key_facts_default()};
    if (!read_body(c, KEY_CALL_BLOCK, &b))
        return;
    const struct key *before = find_own(c, b.key);
    if (!before)
        return;
    struct key_facts f = before->facts;
    f.blocked = blocked;
    struct key *k = publish_change(c, before, &f);
    if (k)
        write_row(c, k, STR_NONE, true);
    key_put(before);
}

static void block(struct call *c)
{
    set_blocked(c, true);
}

static void unblock(struct call *c)
{
    set_blocked(c, false);
}

/* A new key with the facts and the spending of the old one, which ends. */
static void regenerate(struct call *c)
{
    struct key_body b = {.facts = key_facts_default()};
    struct spend_numbers spent;
    if (!read_body(c, KEY_CALL_REGENERATE, &b))
        return;
    const struct key *before = find_own(c, b.key);
    if (!before)
        return;
    struct str key = new_key(c);
    struct key_facts f = before->facts;
    key_sha256(key, f.hash_hex);
    f.name = key_name(&c->arena, key);
    f.updated_us = c->now_us;
    (void)key_spend_changed(before->use->spend, &spent);
    struct key_spend *spend = NULL;
    if (spend_file_room(c->service->spend, &c->err) &&
        key_store_write(c->service->store, &f, &spent, before->facts.hash_hex, &c->err))
        spend = key_service_take_spend(c->service, &f, &c->err);
    if (spend) {
        struct key *k = key_new(&f, NULL, spend);
        keys_change(c->service->table, &before->facts.hash_hex, 1, &k, 1);
        key_spend_drop(before->use->spend);
        write_row(c, k, key, true);
    } else {
        fail(c, ERR_KEY_STORE);
    }
    key_put(before);
}

/* ---- taking away ---- */

/* Collects the keys that a body names; false: answered. */
static bool collect(struct call *c, const struct key_body *b, const struct key **found,
                    size_t *count)
{
    for (int i = 0; i < b->keys.count + b->key_aliases.count; i++) {
        bool by_alias = i >= b->keys.count;
        struct str name = by_alias ? b->key_aliases.names[i - b->keys.count] : b->keys.names[i];
        const struct key *named =
            by_alias ? keys_find_alias(c->service->table, name) : find_own(c, name);
        if (named && by_alias) {
            const struct key *own =
                find_own(c, (struct str){named->facts.hash_hex, KEY_HASH_BYTES});
            key_put(named);
            named = own;
        } else if (!named && by_alias) {
            err_set(&c->err, "key_aliases: no key has this one: \"%.*s\"", STR_ARG(name));
            fail(c, ERR_KEY_UNKNOWN);
        }
        if (!named)
            return false;
        found[(*count)++] = named;
    }
    return true;
}

static void delete_found(struct call *c, const struct key **found, size_t count)
{
    char(*hashes)[KEY_HASH_BYTES] = arena_alloc(&c->arena, count * sizeof *hashes);
    for (size_t i = 0; i < count; i++)
        memcpy(hashes[i], found[i]->facts.hash_hex, KEY_HASH_BYTES);
    const char(*gone)[KEY_HASH_BYTES] = (const char(*)[KEY_HASH_BYTES])hashes;
    if (!key_store_delete(c->service->store, gone, count, &c->err)) {
        fail(c, ERR_KEY_STORE);
        return;
    }
    keys_change(c->service->table, gone, count, NULL, 0);
    ENSURE(buf_printf(&c->job->body, "{\"deleted_keys\":["));
    for (size_t i = 0; i < count; i++) {
        key_spend_drop(found[i]->use->spend);
        ENSURE(buf_printf(&c->job->body, "%s\"%.*s\"", i ? "," : "", KEY_HASH_BYTES, hashes[i]));
    }
    ENSURE(buf_printf(&c->job->body, "]}"));
}

/* All of them or, where one is not there, none. */
static void delete_keys(struct call *c)
{
    struct key_body b = {.facts = key_facts_default()};
    if (!read_body(c, KEY_CALL_DELETE, &b))
        return;
    size_t count = 0, most = (size_t)b.keys.count + (size_t)b.key_aliases.count;
    if (most == 0) {
        err_set(&c->err, "expected keys or key_aliases, with one at least");
        fail(c, ERR_BAD_REQUEST);
        return;
    }
    const struct key **found = arena_alloc(&c->arena, most * sizeof *found);
    if (collect(c, &b, found, &count))
        delete_found(c, found, count);
    for (size_t i = 0; i < count; i++)
        key_put(found[i]);
}

/* ---- showing ---- */

/* The value of a parameter of the query, decoded; STR_NONE: not there. */
static struct str parameter(struct call *c, const char *name)
{
    struct str rest = str_from(c->job->query);
    while (rest.n) {
        struct str value = str_cut(&rest, '&'), key = str_cut(&value, '=');
        if (!str_eq(key, str_from(name)))
            continue;
        char *text = arena_alloc(&c->arena, value.n + 1);
        return percent_decode(value, text, value.n + 1);
    }
    return STR_NONE;
}

static bool parameters_known(struct call *c, const char *const *names, size_t count)
{
    struct str rest = str_from(c->job->query);
    if (rest.n + 1 >= sizeof c->job->query)
        return err_set(&c->err, "the query is too long");
    while (rest.n) {
        struct str value = str_cut(&rest, '&'), key = str_cut(&value, '=');
        size_t i = 0;
        while (i < count && !str_eq(key, str_from(names[i])))
            i++;
        if (i == count && key.n)
            return err_set(&c->err, "%.*s: no such parameter, or not built yet", STR_ARG(key));
    }
    return true;
}

static void info(struct call *c)
{
    static const char *const known[] = {"key"};
    if (!parameters_known(c, known, COUNT(known))) {
        fail(c, ERR_BAD_REQUEST);
        return;
    }
    struct str key = parameter(c, "key"), own = {c->job->key_hash, KEY_HASH_BYTES};
    if (!key.n && c->job->by_master) {
        err_set(&c->err, "expected the parameter key: a key or its hash");
        fail(c, ERR_BAD_REQUEST);
        return;
    }
    const struct key *k = find(c, key.n ? key : own);
    if (!c->job->by_master && (!k || memcmp(k->facts.hash_hex, own.p, own.n) != 0)) {
        err_set(&c->err, "a key may ask only about itself");
        fail(
            c,
            ERR_KEY_NOT_ADMIN); /* also where there is no such key: which there are is no one's business */
    } else if (!k) {
        fail(c, ERR_KEY_UNKNOWN);
    } else {
        bool ok = buf_printf(&c->job->body, "{\"key\":") &&
                  json_write_string(&c->job->body, key.n ? key : own) &&
                  buf_printf(&c->job->body, ",\"info\":");
        ENSURE(ok);
        write_row(c, k, STR_NONE, false);
        ENSURE(buf_printf(&c->job->body, "}"));
    }
    key_put(k);
}

/* A whole number from 1 to `most`. */
static bool page_number(struct call *c, const char *name, int64_t most, int64_t *out)
{
    struct str text = parameter(c, name);
    if (!text.n)
        return true;
    return (str_to_i64(text, out) && *out >= 1 && *out <= most) ||
           err_set(&c->err, "%s: expected a number from 1 to %lld", name, (long long)most);
}

struct filter {
    struct str key_alias, user_id, team_id, key_hash;
};

static bool passes(const struct filter *f, const struct key_facts *k)
{
    struct str hash = {k->hash_hex, KEY_HASH_BYTES};
    return (!f->key_alias.n || str_eq(f->key_alias, k->alias)) &&
           (!f->user_id.n || str_eq(f->user_id, k->user_id)) &&
           (!f->team_id.n || str_eq(f->team_id, k->team_id)) &&
           (!f->key_hash.n || str_eq(f->key_hash, hash));
}

static void write_page(struct call *c, const struct key **keys, size_t count, int64_t page,
                       int64_t size)
{
    struct str full = parameter(c, "return_full_object");
    bool whole = str_ieq(full, STR("true"));
    size_t first = (size_t)(page - 1) * (size_t)size, end = MIN(count, first + (size_t)size);
    ENSURE(buf_printf(&c->job->body, "{\"keys\":["));
    for (size_t i = first; i < end; i++) {
        ENSURE(buf_printf(&c->job->body, "%s", i > first ? "," : ""));
        if (whole)
            write_row(c, keys[i], STR_NONE, true);
        else
            ENSURE(buf_printf(&c->job->body, "\"%.*s\"", KEY_HASH_BYTES, keys[i]->facts.hash_hex));
    }
    ENSURE(buf_printf(&c->job->body,
                      "],\"total_count\":%zu,\"current_page\":%lld,\"total_pages\":%zu}", count,
                      (long long)page, (count + (size_t)size - 1) / (size_t)size));
}

static void list(struct call *c)
{
    static const char *const known[] = {
        "page", "size", "return_full_object", "key_alias", "user_id", "team_id", "key_hash"};
    int64_t page = 1, size = PAGE_SIZE;
    if (!parameters_known(c, known, COUNT(known)) || !page_number(c, "page", 1000000, &page) ||
        !page_number(c, "size", PAGE_SIZE_MAX, &size)) {
        fail(c, ERR_BAD_REQUEST);
        return;
    }
    struct filter filter = {parameter(c, "key_alias"), parameter(c, "user_id"),
                            parameter(c, "team_id"), parameter(c, "key_hash")};
    size_t count, shown = 0;
    const struct key **all = keys_list(c->service->table, KEYS_WRITER, &count);
    const struct key **chosen = arena_alloc(&c->arena, MAX(count, 1u) * sizeof *chosen);
    for (size_t i = 0; i < count; i++)
        if (passes(&filter, &all[i]->facts))
            chosen[shown++] = all[i];
    write_page(c, chosen, shown, page, size);
    keys_list_free(all, count);
}

/* ---- which is which ---- */

static const struct {
    struct str path;
    bool changes; /* needs the database */
    void (*run)(struct call *c);
} calls[] = {
    {STR("/key/generate"), true, generate},  {STR("/key/update"), true, update},
    {STR("/key/delete"), true, delete_keys}, {STR("/key/block"), true, block},
    {STR("/key/unblock"), true, unblock},    {STR("/key/regenerate"), true, regenerate},
    {STR("/key/info"), false, info},         {STR("/key/list"), false, list},
};

static void run(void *arg)
{
    struct control_job *j = arg;
    struct call c = {.service = j->worker->gateway->keys, .job = j, .now_us = clock_real_us()};
    size_t i = 0;
    arena_init(&c.arena, NULL, 0);
    while (i < COUNT(calls) && !str_eq(calls[i].path, j->row->path))
        i++;
    ENSURE(i < COUNT(calls));
    if (!c.service->has_master) {
        err_set(&c.err,
                "virtual keys need general_settings.master_key: without one everything is open");
        fail(&c, ERR_KEYS_OFF);
    } else if (!calls[i].changes || key_service_open(c.service, &c.err)) {
        calls[i].run(&c);
    } else {
        fail(&c, c.service->path[0] ? ERR_KEY_STORE : ERR_KEYS_OFF);
    }
    arena_fini(&c.arena);
    control_done(j);
}

void key_admin(struct gateway *g, struct control_job *j)
{
    loop_call(g->keys->loop, run, j);
}
