/* key_store.c -- see key_store.h. Why SQLite: docs/decisions/13-keys.md.
 *
 * One connection, write-ahead log. A change of keys is synced (synchronous=FULL); spending is not, since the spend file holds it too and the newer of
 * both wins. user_version is the schema's number: `schema` has one step for each. */
#include "gateway/key_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include "base/json.h"
#include "gateway/key_body.h"

#define BUSY_MS 5000

static const char schema_1[] =
    "CREATE TABLE keys("
    " hash TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, alias TEXT NOT NULL,"
    " user_id TEXT NOT NULL, team_id TEXT NOT NULL, models TEXT NOT NULL, metadata TEXT NOT NULL,"
    " budget_duration TEXT NOT NULL, blocked INTEGER NOT NULL, created_us INTEGER NOT NULL,"
    " updated_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, budget_began_us INTEGER NOT NULL,"
    " rpm_limit INTEGER NOT NULL, tpm_limit INTEGER NOT NULL,"
    " max_parallel_requests INTEGER NOT NULL, max_budget REAL NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE spend("
    " hash TEXT PRIMARY KEY NOT NULL, total_pico INTEGER NOT NULL, base_pico INTEGER NOT NULL,"
    " window_end_us INTEGER NOT NULL, set_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;";

static const char *const schema[] = {schema_1};
#define SCHEMA_VERSION ((int)COUNT(schema))

enum statement {
    LOAD,
    SPENT,
    VERSION,
    WRITE_KEY,
    DELETE_KEY,
    WRITE_SPENT,
    DELETE_SPENT,
    STATEMENT_COUNT
};

static const char *const statements[STATEMENT_COUNT] = {
    [LOAD] = "SELECT hash, name, alias, user_id, team_id, models, metadata, budget_duration,"
             " blocked, created_us, updated_us, expires_us, budget_began_us, rpm_limit, tpm_limit,"
             " max_parallel_requests, max_budget FROM keys",
    [SPENT] = "SELECT total_pico, base_pico, window_end_us, set_us FROM spend WHERE hash = ?1",
    [VERSION] = "PRAGMA data_version", /* changes with what other connections commit */
    [WRITE_KEY] = "INSERT OR REPLACE INTO keys(hash, name, alias, user_id, team_id, models,"
                  " metadata, budget_duration, blocked, created_us, updated_us, expires_us,"
                  " budget_began_us, rpm_limit, tpm_limit, max_parallel_requests, max_budget)"
                  " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)",
    [DELETE_KEY] = "DELETE FROM keys WHERE hash = ?1",
    [WRITE_SPENT] = "INSERT OR REPLACE INTO spend VALUES(?1,?2,?3,?4,?5)",
    [DELETE_SPENT] = "DELETE FROM spend WHERE hash = ?1",
};

struct key_store {
    sqlite3 *db;
    sqlite3_stmt *prepared[STATEMENT_COUNT];
    char path[4096];
    int64_t version; /* of the data, as seen last */
};

static bool fail(struct key_store *s, struct err *e)
{
    return err_set(e, "the key file %s: %s", s->path, sqlite3_errmsg(s->db));
}

static bool execute(struct key_store *s, const char *sql, struct err *e)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK || fail(s, e);
}

/* ---- opening ---- */

static bool schema_version(struct key_store *s, int *version, struct err *e)
{
    sqlite3_stmt *q;
    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &q, NULL) != SQLITE_OK)
        return fail(s, e);
    bool ok = sqlite3_step(q) == SQLITE_ROW;
    *version = ok ? sqlite3_column_int(q, 0) : 0;
    sqlite3_finalize(q);
    return ok || fail(s, e);
}

/* One transaction: two processes that start at once do not both make the tables. */
static bool update_schema(struct key_store *s, struct err *e)
{
    int version = 0;
    if (!execute(s, "BEGIN IMMEDIATE", e))
        return false;
    bool ok = schema_version(s, &version, e);
    if (ok && version > SCHEMA_VERSION)
        ok = err_set(e,
                     "the key file %s was written by a newer weir (schema %d, known here: %d): run "
                     "that one, or name another file in weir_settings.key_file",
                     s->path, version, SCHEMA_VERSION);
    for (int i = MAX(version, 0); ok && i < SCHEMA_VERSION; i++)
        ok = execute(s, schema[i], e);
    char set[64];
    snprintf(set, sizeof set, "PRAGMA user_version = %d", SCHEMA_VERSION);
    ok = ok && (version == SCHEMA_VERSION || execute(s, set, e)) && execute(s, "COMMIT", e);
    if (!ok)
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return ok;
}

/* SQLite gives its other files the mode of the first. */
static bool make_private(const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(e,
                       "the key file %s cannot be opened: %s; expected a path that weir may write, "
                       "in weir_settings.key_file (\"\": no keys by the API)",
                       path, strerror(errno));
    close(fd);
    return true;
}

struct key_store *key_store_open(const char *path, struct err *e)
{
    struct key_store *s = mem_alloc(sizeof *s);
    /* SQLite has meanings of its own for names such as ":memory:". */
    snprintf(s->path, sizeof s->path, "%s%s", path[0] == ':' ? "./" : "", path);
    bool ok = make_private(s->path, e) &&
              (sqlite3_open_v2(s->path, &s->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                               NULL) == SQLITE_OK ||
               fail(s, e));
    if (ok)
        sqlite3_busy_timeout(s->db, BUSY_MS);
    ok = ok && execute(s, "PRAGMA journal_mode = WAL", e) &&
         execute(s, "PRAGMA synchronous = FULL", e) && update_schema(s, e);
    for (int i = 0; ok && i < STATEMENT_COUNT; i++)
        ok = sqlite3_prepare_v3(s->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                &s->prepared[i], NULL) == SQLITE_OK ||
             fail(s, e);
    if (ok) {
        (void)key_store_changed(s);
        return s;
    }
    key_store_close(s);
    return NULL;
}

void key_store_close(struct key_store *s)
{
    if (!s)
        return;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(s->prepared[i]);
    sqlite3_close(s->db);
    mem_free(s);
}

/* ---- values ---- */

static void bind_text(sqlite3_stmt *q, int at, struct str text)
{
    sqlite3_bind_text(q, at, text.p ? text.p : "", (int)text.n, SQLITE_TRANSIENT);
}

static void bind_hash(sqlite3_stmt *q, const char hash_hex[KEY_HASH_BYTES])
{
    bind_text(q, 1, (struct str){hash_hex, KEY_HASH_BYTES});
}

static struct str column_text(sqlite3_stmt *q, int at)
{
    const char *p = (const char *)sqlite3_column_text(q, at);
    return p ? (struct str){p, (size_t)sqlite3_column_bytes(q, at)} : STR("");
}

/* Runs a statement that gives no rows, and makes it ready for the next time. */
static bool run(struct key_store *s, enum statement which, struct err *e)
{
    sqlite3_stmt *q = s->prepared[which];
    bool ok = sqlite3_step(q) == SQLITE_DONE || fail(s, e);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    return ok;
}

static bool models_read(struct arena *a, struct str json, struct key_facts *facts)
{
    const struct json_node *list = json_parse(a, json, NULL);
    if (!list || list->kind != JSON_ARRAY)
        return false;
    struct str *models = arena_alloc(a, MAX(list->count, 1u) * sizeof *models);
    facts->model_count = 0;
    for (const struct json_node *n = list->child; n; n = n->next)
        if (n->kind == JSON_STRING)
            models[facts->model_count++] = n->text;
    facts->models = models;
    return true;
}

/* A row; false: somebody else wrote it, and it makes no sense. */
static bool read_key(sqlite3_stmt *q, struct arena *a, struct key_facts *f)
{
    struct str hash = column_text(q, 0);
    *f = (struct key_facts){
        .name = column_text(q, 1),
        .alias = column_text(q, 2),
        .user_id = column_text(q, 3),
        .team_id = column_text(q, 4),
        .metadata_json = column_text(q, 6),
        .budget_duration_text = column_text(q, 7),
        .blocked = sqlite3_column_int(q, 8) != 0,
        .created_us = sqlite3_column_int64(q, 9),
        .updated_us = sqlite3_column_int64(q, 10),
        .expires_us = sqlite3_column_int64(q, 11),
        .budget_began_us = sqlite3_column_int64(q, 12),
        .rpm_limit = sqlite3_column_int64(q, 13),
        .tpm_limit = sqlite3_column_int64(q, 14),
        .max_parallel_requests = sqlite3_column_int64(q, 15),
        .max_budget_usd = sqlite3_column_double(q, 16),
    };
    for (size_t i = 0; i < hash.n; i++)
        if (!strchr("0123456789abcdef", hash.p[i]))
            return false;
    if (hash.n != KEY_HASH_BYTES || !models_read(a, column_text(q, 5), f))
        return false;
    memcpy(f->hash_hex, hash.p, KEY_HASH_BYTES);
    return f->budget_duration_text.n == 0 ||
           duration_parse(f->budget_duration_text, &f->budget_duration, NULL);
}

/* ---- reading ---- */

bool key_store_load(struct key_store *s, void (*each)(void *arg, const struct key_facts *facts),
                    void *arg, struct err *e)
{
    sqlite3_stmt *q = s->prepared[LOAD];
    bool ok = true;
    int state;
    while (ok && (state = sqlite3_step(q)) == SQLITE_ROW) {
        struct arena a;
        struct key_facts facts;
        arena_init(&a, NULL, 0);
        ok = read_key(q, &a, &facts) || err_set(e,
                                                "the key file %s: the row of key %.8s makes no "
                                                "sense: take it out, or restore the file",
                                                s->path, (const char *)sqlite3_column_text(q, 0));
        if (ok)
            each(arg, &facts);
        arena_fini(&a);
    }
    ok = ok && (state == SQLITE_DONE || fail(s, e));
    sqlite3_reset(q);
    return ok;
}

bool key_store_spent(struct key_store *s, const char hash_hex[KEY_HASH_BYTES],
                     struct spend_numbers *out)
{
    sqlite3_stmt *q = s->prepared[SPENT];
    bind_hash(q, hash_hex);
    bool found = sqlite3_step(q) == SQLITE_ROW;
    if (found)
        *out = (struct spend_numbers){.total_pico = sqlite3_column_int64(q, 0),
                                      .base_pico = sqlite3_column_int64(q, 1),
                                      .window_end_us = sqlite3_column_int64(q, 2),
                                      .set_us = sqlite3_column_int64(q, 3)};
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    return found;
}

bool key_store_changed(struct key_store *s)
{
    sqlite3_stmt *q = s->prepared[VERSION];
    int64_t version = sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_int64(q, 0) : s->version;
    bool changed = version != s->version;
    sqlite3_reset(q);
    s->version = version;
    return changed;
}

/* ---- writing ---- */

static bool begin(struct key_store *s, bool durable, struct err *e)
{
    return execute(s, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", e) &&
           execute(s, "BEGIN IMMEDIATE", e);
}

static bool end(struct key_store *s, bool ok, struct err *e)
{
    ok = ok && execute(s, "COMMIT", e);
    if (!ok)
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return ok;
}

static bool write_key(struct key_store *s, const struct key_facts *f, struct err *e)
{
    sqlite3_stmt *q = s->prepared[WRITE_KEY];
    struct buf models;
    buf_init(&models, 0, NULL);
    key_models_write(f, &models);
    const struct str texts[] = {f->name,
                                f->alias,
                                f->user_id,
                                f->team_id,
                                buf_str(&models),
                                f->metadata_json,
                                f->budget_duration_text};
    const int64_t numbers[] = {f->blocked,    f->created_us,           f->updated_us,
                               f->expires_us, f->budget_began_us,      f->rpm_limit,
                               f->tpm_limit,  f->max_parallel_requests};
    bind_hash(q, f->hash_hex);
    for (size_t i = 0; i < COUNT(texts); i++)
        bind_text(q, 2 + (int)i, texts[i]);
    for (size_t i = 0; i < COUNT(numbers); i++)
        sqlite3_bind_int64(q, 2 + (int)(COUNT(texts) + i), numbers[i]);
    sqlite3_bind_double(q, 2 + (int)(COUNT(texts) + COUNT(numbers)), f->max_budget_usd);
    buf_fini(&models);
    return run(s, WRITE_KEY, e);
}

static bool write_spent(struct key_store *s, const char hash_hex[KEY_HASH_BYTES],
                        const struct spend_numbers *n, struct err *e)
{
    sqlite3_stmt *q = s->prepared[WRITE_SPENT];
    bind_hash(q, hash_hex);
    sqlite3_bind_int64(q, 2, n->total_pico);
    sqlite3_bind_int64(q, 3, n->base_pico);
    sqlite3_bind_int64(q, 4, n->window_end_us);
    sqlite3_bind_int64(q, 5, n->set_us);
    return run(s, WRITE_SPENT, e);
}

static bool delete_key(struct key_store *s, const char hash_hex[KEY_HASH_BYTES], struct err *e)
{
    bind_hash(s->prepared[DELETE_KEY], hash_hex);
    if (!run(s, DELETE_KEY, e))
        return false;
    bind_hash(s->prepared[DELETE_SPENT], hash_hex);
    return run(s, DELETE_SPENT, e);
}

bool key_store_write(struct key_store *s, const struct key_facts *facts,
                     const struct spend_numbers *spent, const char *instead_of, struct err *e)
{
    if (!begin(s, true, e))
        return false;
    bool ok = (!instead_of || delete_key(s, instead_of, e)) && write_key(s, facts, e) &&
              write_spent(s, facts->hash_hex, spent, e);
    return end(s, ok, e);
}

bool key_store_delete(struct key_store *s, const char (*hashes)[KEY_HASH_BYTES], size_t count,
                      struct err *e)
{
    bool ok = true;
    if (!begin(s, true, e))
        return false;
    for (size_t i = 0; ok && i < count; i++)
        ok = delete_key(s, hashes[i], e);
    return end(s, ok, e);
}

bool key_store_save_spent(struct key_store *s, const struct key_spent *spent, size_t count,
                          bool durable, struct err *e)
{
    bool ok = true;
    if (!begin(s, durable, e))
        return false;
    for (size_t i = 0; ok && i < count; i++)
        ok = write_spent(s, spent[i].hash_hex, &spent[i].numbers, e);
    return end(s, ok, e);
}
