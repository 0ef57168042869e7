/* key_service.c -- see key_service.h.
 *
 * When the database is opened: at the start (or a reload), if there is one, or if something is to be kept in it (what keys of the configuration spend, or all
 * requests together; a key_file that was asked for); else when /key/generate makes the first key, so that a gateway that has no virtual keys
 * leaves no file behind. Until then numbers are in memory, and nobody has any. */
#include "gateway/key_service.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/diag.h"

#define FLUSH_NS (2 * NS_PER_S)

/* ---- loading ---- */

/* What the database has, as it is read. */
struct loading {
    struct key_service *service;
    char (*seen)[KEY_HASH_BYTES]; /* of all its keys */
    size_t seen_count, seen_room;
    struct key **come; /* those that are new, or newer than the table's */
    size_t come_count;
    struct err *e;
    bool failed;
};

struct key_spend *key_service_take_spend(struct key_service *s, const struct key_facts *f,
                                         struct err *e)
{
    struct spend_numbers stored;
    struct key_spend *spend = NULL;
    bool known = s->store && key_store_spent(s->store, f->hash_hex, &stored);
    while (!spend && spend_file_room(s->spend, e))
        spend = key_spend_take(s->spend, f, known ? &stored : NULL, clock_real_us());
    return spend;
}

/* A new version around the counters of the one there is, or around those the files have. */
static struct key *make_key(struct key_service *s, const struct key_facts *f, struct err *e)
{
    const struct key *before = keys_find(s->table, KEYS_WRITER, f->hash_hex);
    struct key_spend *spend = before ? NULL : key_service_take_spend(s, f, e);
    struct key *k = before || spend ? key_new(f, before ? before->use : NULL, spend) : NULL;
    if (before && !str_eq(before->facts.budget_duration_text, f->budget_duration_text))
        key_spend_window(before->use->spend, f, clock_real_us());
    key_put(before);
    return k;
}

/* A key that both have is the configuration's. */
static bool is_current(struct key_service *s, const struct key_facts *f)
{
    const struct key *k = keys_find(s->table, KEYS_WRITER, f->hash_hex);
    bool current = k && (k->facts.from_config || k->facts.updated_us == f->updated_us);
    key_put(k);
    return current;
}

static void load_one(void *arg, const struct key_facts *f)
{
    struct loading *l = arg;
    if (l->failed)
        return;
    if (l->seen_count == l->seen_room) {
        l->seen_room = MAX(l->seen_room * 2, 64u);
        l->seen = mem_realloc(l->seen, l->seen_room * sizeof *l->seen);
        l->come = mem_realloc(l->come, l->seen_room * sizeof(void *));
    }
    memcpy(l->seen[l->seen_count++], f->hash_hex, KEY_HASH_BYTES);
    if (is_current(l->service, f))
        return;
    struct key *k = make_key(l->service, f, l->e);
    l->failed = !k;
    if (k)
        l->come[l->come_count++] = k;
}

static int compare_hashes(const void *left, const void *right)
{
    return memcmp(left, right, KEY_HASH_BYTES);
}

/* The table's keys that the database has no more. */
static size_t find_gone(struct loading *l, const struct key **all, size_t count,
                        char (*gone)[KEY_HASH_BYTES])
{
    size_t gone_count = 0;
    if (l->seen_count)
        qsort(l->seen, l->seen_count, sizeof *l->seen, compare_hashes);
    for (size_t i = 0; i < count; i++) {
        const struct key_facts *f = &all[i]->facts;
        bool stays =
            f->from_config || (l->seen_count && bsearch(f->hash_hex, l->seen, l->seen_count,
                                                        sizeof *l->seen, compare_hashes));
        if (!stays)
            memcpy(gone[gone_count++], f->hash_hex, KEY_HASH_BYTES);
    }
    return gone_count;
}

/* Makes the table's keys of the API those of the database. On failure it stays as it was. */
static bool load_stored(struct key_service *s, struct err *e)
{
    struct loading l = {.service = s, .e = e};
    size_t count;
    bool ok = key_store_load(s->store, load_one, &l, e) && !l.failed;
    const struct key **all = keys_list(s->table, KEYS_WRITER, &count);
    char(*gone)[KEY_HASH_BYTES] = mem_alloc(MAX(count, 1u) * sizeof *gone);
    size_t gone_count = find_gone(&l, all, count, gone);
    if (ok && (gone_count || l.come_count))
        keys_change(s->table, (const char(*)[KEY_HASH_BYTES])gone, gone_count, l.come,
                    l.come_count);
    for (size_t i = 0; !ok && i < l.come_count; i++)
        key_put(l.come[i]);
    keys_list_free(all, count);
    mem_free(gone);
    mem_free(l.seen);
    mem_free(l.come);
    return ok;
}

/* The folder of a path that names one, with its slash. */
static void copy_folder(char *out, size_t room, struct str path)
{
    while (path.n > 1 && path.p[path.n - 1] != '/')
        path.n--;
    snprintf(out, room, "%.*s", STR_ARG(path));
}

/* In the first folder that will have it: those of the log's rings, in their order. The name stands for the database's file, whatever its path is. */
static struct spend_file *open_spend(const struct key_service *s, struct err *e)
{
    struct stat st;
    struct err why = {0};
    char beside[sizeof s->path] = ".", runtime[sizeof s->path];
    struct str rest = str_from(getenv("RUNTIME_DIRECTORY")), first = str_cut(&rest, ':');
    snprintf(runtime, sizeof runtime, "%.*s", STR_ARG(first));
    if (strchr(s->path, '/'))
        copy_folder(beside, sizeof beside, str_from(s->path));
    const char *const folders[] = {s->spend_folder, "/dev/shm", runtime, beside};
    if (stat(s->path, &st) != 0) {
        err_set(e, "the key file %s: %s", s->path, strerror(errno));
        return NULL;
    }
    for (size_t i = 0; i < COUNT(folders); i++) {
        char path[sizeof s->path + 64];
        snprintf(path, sizeof path, "%s/weir-keys-%llx-%llx.spend", folders[i],
                 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
        why = (struct err){0};
        struct spend_file *f = folders[i][0] ? spend_file_open(path, &why) : NULL;
        if (f)
            return f;
    }
    err_set(e, "%s", why.text);
    return NULL;
}

static bool open_files(struct key_service *s, struct err *e)
{
    s->store = key_store_open(s->path, e);
    struct spend_file *spend = s->store ? open_spend(s, e) : NULL;
    if (spend) {
        spend_file_free(s->spend); /* that in memory: nothing uses it yet */
        s->spend = spend;
    }
    if (spend && load_stored(s, e)) {
        __atomic_store_n(&s->has_database, true, __ATOMIC_RELEASE);
        return true;
    }
    key_store_close(s->store);
    s->store = NULL;
    return false;
}

/* ---- spending into the database ---- */

/* True: the database has it all. */
static bool save_spent(struct key_service *s, bool durable)
{
    struct err e = {0};
    size_t count, changed = 0;
    if (!s->store)
        return false;
    const struct key **all = keys_list(s->table, KEYS_WRITER, &count);
    struct key_spent *rows = mem_alloc((count + 1) * sizeof *rows);
    struct key_spend **spends = mem_alloc((count + 1) * sizeof(void *));
    for (size_t i = 0; i < count + (s->proxy != NULL); i++) {
        struct key_spend *spend = i < count ? all[i]->use->spend : s->proxy;
        if (!key_spend_changed(spend, &rows[changed].numbers))
            continue;
        memcpy(rows[changed].hash_hex, i < count ? all[i]->facts.hash_hex : s->proxy_hash,
               KEY_HASH_BYTES);
        spends[changed++] = spend;
    }
    bool saved = changed == 0 || key_store_save_spent(s->store, rows, changed, durable, &e);
    for (size_t i = 0; saved && i < changed; i++)
        key_spend_saved(spends[i], &rows[i].numbers);
    if (!saved && !s->save_failed)
        diag_warn("what keys spent is not in the database yet (nothing is lost: it is in the spend "
                  "file): %s",
                  e.text);
    s->save_failed = !saved;
    mem_free(spends);
    mem_free(rows);
    keys_list_free(all, count);
    return saved;
}

/* ---- opening ---- */

/* Of a key that the configuration had once, or that of another process has: the database knows of it. */
static bool has_spent(void *arg, const char hash_hex[KEY_HASH_BYTES])
{
    struct key_service *s = arg;
    struct spend_numbers ignored;
    return s->store && key_store_spent(s->store, hash_hex, &ignored);
}

/* Is there something to read, or something to keep? */
static bool is_needed(const struct key_service *s, const struct config *c)
{
    bool keeps = c->key_count > 0 || c->proxy.max_budget_usd >= 0;
    return s->path[0] &&
           (keeps || (c->master_key.n && (c->key_file_given || access(s->path, F_OK) == 0)));
}

/* Not being able to read keys that exist, or to use a file that was asked for, is for the caller to say; else nothing is kept, and `closed` says why. */
static bool open_for(struct key_service *s, const struct config *c, struct err *e)
{
    struct err why = {0};
    if (s->store || s->closed[0] || !is_needed(s, c) || open_files(s, &why))
        return true;
    snprintf(s->closed, sizeof s->closed, "%s", why.text);
    if (c->key_file_given || access(s->path, F_OK) == 0)
        return err_set(e, "%s", why.text);
    diag_warn("%s; what is spent from budgets is forgotten at a restart", why.text);
    return true;
}

/* ---- the configuration's keys ---- */

static void complain(const struct key_facts *f, const char *why)
{
    diag_warn("key %.*s of the configuration is not served: %s",
              STR_ARG(f->alias.n ? f->alias : f->name), why);
}

static bool has_key(const struct config *c, const char hash_hex[KEY_HASH_BYTES])
{
    for (int i = 0; i < c->key_count; i++)
        if (!memcmp(c->keys[i].hash_hex, hash_hex, KEY_HASH_BYTES))
            return true;
    return false;
}

/* Windows are counted from 1970: another budget_duration makes another window of the one under way. */
static void configure_proxy(struct key_service *s, const struct key_facts *f)
{
    struct err e = {0};
    int64_t now_us = clock_real_us();
    if (f->max_budget_usd < 0)
        return;
    if (!s->proxy)
        __atomic_store_n(&s->proxy, key_service_take_spend(s, f, &e), __ATOMIC_RELEASE);
    if (!s->proxy)
        diag_warn("litellm_settings.max_budget is not kept: %s", e.text);
    else if (duration_given(f->budget_duration) &&
             key_spend_reset_us(s->proxy, f, now_us) !=
                 duration_window_end(f->budget_began_us, f->budget_duration, now_us))
        key_spend_window(s->proxy, f, now_us);
    memcpy(s->proxy_hash, f->hash_hex, KEY_HASH_BYTES);
}

void key_service_configure(struct key_service *s, const struct config *c)
{
    struct err e = {0};
    if (!open_for(s, c, &e))
        diag_warn("%s: keys made by the API are not served", e.text);
    configure_proxy(s, &c->proxy);
    size_t count, gone_count = 0, come_count = 0;
    s->has_master = c->master_key.n > 0;
    key_sha256(c->master_key, s->master_hash);
    const struct key **all = keys_list(s->table, KEYS_WRITER, &count);
    char(*gone)[KEY_HASH_BYTES] = mem_alloc(MAX(count, 1u) * sizeof *gone);
    struct key **come = mem_alloc((size_t)MAX(c->key_count, 1) * sizeof(void *));
    for (size_t i = 0; i < count; i++)
        if (all[i]->facts.from_config && !has_key(c, all[i]->facts.hash_hex))
            memcpy(gone[gone_count++], all[i]->facts.hash_hex, KEY_HASH_BYTES);
    for (int i = 0; i < c->key_count; i++) {
        struct err why = {0};
        struct key *k = make_key(s, &c->keys[i], &why);
        if (k)
            come[come_count++] = k;
        else
            complain(&c->keys[i], why.text);
    }
    if (gone_count)
        (void)save_spent(s, true); /* they may come back */
    keys_change(s->table, (const char(*)[KEY_HASH_BYTES])gone, gone_count, come, come_count);
    keys_list_free(all, count);
    mem_free(gone);
    mem_free(come);
    spend_file_loaded_keeping(s->spend, has_spent, s); /* when all that have numbers took them */
    if (gone_count && s->store && !load_stored(s, &e)) /* the API may have made the same key */
        diag_warn("keys of the database that the configuration had are not served: %s", e.text);
}

struct reload {
    struct key_service *service;
    struct config *config; /* a reference */
    void (*done)(void *arg);
    void *arg;
};

static void run_reload(void *arg)
{
    struct reload *r = arg;
    key_service_configure(r->service, r->config);
    config_put(r->config);
    r->done(r->arg);
    mem_free(r);
}

void key_service_reload(struct key_service *s, struct config *c, void (*done)(void *arg), void *arg)
{
    struct reload *r = mem_alloc(sizeof *r);
    *r = (struct reload){s, c, done, arg};
    config_get(c);
    loop_call(s->loop, run_reload, r);
}

/* ---- every two seconds ---- */

/* Keys that another process made or changed: one that this one takes over from, or one beside it. */
static void look_for_changes(struct key_service *s)
{
    struct err e = {0};
    if (!s->store)
        return;
    s->behind |= key_store_changed(s->store);
    bool seen = !s->behind || load_stored(s, &e);
    if (!seen && !s->load_failed)
        diag_warn("keys changed by another process are not seen yet, trying again every 2 s: %s",
                  e.text);
    s->behind = s->load_failed = !seen;
}

static void on_flush(struct timer *t)
{
    struct key_service *s = CONTAINER(t, struct key_service, flush);
    look_for_changes(s);
    (void)save_spent(s, false);
    timer_set(s->loop, t, loop_now_ns(s->loop) + FLUSH_NS);
}

/* ---- metrics ---- */

static uint64_t known_limit(int64_t limit)
{
    return limit >= 0 ? (uint64_t)limit : METRICS_UNKNOWN;
}

static bool has_numbers(const struct key *k)
{
    return k->facts.max_budget_usd >= 0 || k->limits.requests >= 0 || k->limits.tokens >= 0 ||
           k->limits.parallel >= 0;
}

static void tell_budget(const struct key *k, int64_t now_us, struct metrics_key *out)
{
    const struct key_facts *f = &k->facts;
    int64_t reset_us = key_spend_reset_us(k->use->spend, f, now_us);
    double left_usd = f->max_budget_usd - key_spend_usd(k->use->spend, f, now_us);
    out->max_pico_usd = out->left_pico_usd = out->reset_microhours = METRICS_UNKNOWN;
    if (f->max_budget_usd < 0)
        return;
    out->max_pico_usd = (uint64_t)(f->max_budget_usd * (double)PICO_USD_PER_USD + 0.5);
    out->left_pico_usd = (uint64_t)(MAX(left_usd, 0.0) * (double)PICO_USD_PER_USD + 0.5);
    if (reset_us)
        out->reset_microhours = (uint64_t)MAX(reset_us - now_us, 0) / 3600;
}

static void tell_limits(const struct key *k, struct metrics_key *out)
{
    struct quota_view view;
    quota_look(&k->use->quota, &k->limits, clock_mono_ns(), &view);
    out->requests_allowed = known_limit(k->limits.requests);
    out->requests_used = (uint64_t)MAX(view.requests, 0);
    out->tokens_allowed = known_limit(k->limits.tokens);
    out->tokens_used = (uint64_t)MAX(view.tokens, 0);
    out->parallel_allowed = known_limit(k->limits.parallel);
    out->parallel_used = (uint64_t)MAX(view.parallel, 0);
}

void key_service_numbers(struct key_service *s, int reader, size_t most, struct key_numbers *out)
{
    int64_t now_us = clock_real_us();
    *out = (struct key_numbers){0};
    out->keys = keys_list(s->table, reader, &out->key_count);
    out->rows = mem_alloc(MAX(out->key_count, 1u) * sizeof *out->rows);
    for (size_t i = 0; i < out->key_count && out->row_count < most; i++) {
        const struct key *k = out->keys[i];
        if (!has_numbers(k))
            continue;
        struct metrics_key *row = &out->rows[out->row_count++];
        row->hash = (struct str){k->facts.hash_hex, KEY_HASH_BYTES};
        row->alias = k->facts.alias.n ? k->facts.alias : k->facts.name;
        tell_budget(k, now_us, row);
        tell_limits(k, row);
    }
}

void key_numbers_fini(struct key_numbers *n)
{
    keys_list_free(n->keys, n->key_count);
    mem_free(n->rows);
}

/* ---- life ---- */

struct key_service *key_service_new(const struct config *c, int readers, struct err *e)
{
    struct key_service *s = mem_alloc(sizeof *s);
    s->table = keys_new(readers);
    s->loop = loop_new();
    s->flush.on_fire = on_flush;
    snprintf(s->path, sizeof s->path, "%.*s", STR_ARG(c->key_file));
    snprintf(s->spend_folder, sizeof s->spend_folder, "%.*s", STR_ARG(c->log_ring_dir));
    s->spend = spend_file_open(NULL, e);
    if (!open_for(s, c, e)) {
        key_service_free(s);
        return NULL;
    }
    key_service_configure(s, c);
    return s;
}

bool key_service_open(struct key_service *s, struct err *e)
{
    if (s->store)
        return true;
    if (!s->path[0])
        return err_set(e,
                       "weir_settings.key_file is \"\": keys are those of weir_settings.keys only");
    if (s->closed[0])
        return err_set(e, "%s", s->closed);
    if (!open_files(s, e))
        return false;
    spend_file_loaded_keeping(s->spend, has_spent, s);
    return true;
}

static void *thread_main(void *arg)
{
    struct key_service *s = arg;
    timer_set(s->loop, &s->flush, loop_now_ns(s->loop) + FLUSH_NS);
    loop_run(s->loop);
    return NULL;
}

bool key_service_start(struct key_service *s, struct err *e)
{
    int error = pthread_create(&s->thread, NULL, thread_main, s);
    if (error)
        return err_set(e, "cannot start the keys thread: %s", strerror(error));
    s->started = true;
    return true;
}

void key_service_stop(struct key_service *s)
{
    if (!s)
        return;
    if (s->started) {
        loop_stop(s->loop);
        pthread_join(s->thread, NULL);
    }
    s->started = false;
    loop_pass(s->loop, 0);
}

void key_service_free(struct key_service *s)
{
    if (!s)
        return;
    bool saved = s->spend && save_spent(s, true);
    keys_free(s->table);
    if (s->proxy)
        key_spend_release(s->proxy);
    if (saved)
        spend_file_remove(s->spend);
    else
        spend_file_free(s->spend);
    key_store_close(s->store);
    loop_free(s->loop);
    mem_free(s);
}
