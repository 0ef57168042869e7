/* keys.c -- see keys.h.
 *
 * Reading without a lock: a reader makes its own counter odd, loads the table, finds, takes a reference, and makes the counter even. The
 * writer puts the new table in place and then waits until every counter is even or another one than it was: nobody can hold the old
 * table then, and it is freed. A look-up takes nanoseconds, so the writer waits that long; readers never wait. */
#include "gateway/keys.h"

#include <sched.h>

#include "base/mem.h"

struct reader {
    uint64_t looks; /* atomic, its reader's; odd: looking */
} __attribute__((aligned(64)));

struct slot {
    uint64_t
        hash; /* of hash_hex: most keys that are another are told by it, without looking at them */
    struct key *key;
};

struct table {
    size_t cap, count; /* cap: a power of two, twice the count at least */
    struct slot slots[];
};

struct keys {
    struct table *table; /* atomic */
    uint64_t generation; /* atomic */
    int reader_count;
    struct reader readers[];
};

/* ---- one version ---- */

/* All texts of a key's facts but its models. */
#define TEXTS 6
static void texts_of(struct key_facts *f, struct str *texts[TEXTS])
{
    struct str *const all[TEXTS] = {&f->name,    &f->alias,         &f->user_id,
                                    &f->team_id, &f->metadata_json, &f->budget_duration_text};
    memcpy(texts, all, sizeof all);
}

static char *copy_text(char *at, struct str *text)
{
    if (text->n)
        memcpy(at, text->p, text->n);
    text->p = at;
    return at + text->n;
}

struct key *key_new(const struct key_facts *facts, struct key_use *use, struct key_spend *spend)
{
    struct key_facts f = *facts;
    struct str *texts[TEXTS];
    size_t list_bytes = (size_t)f.model_count * sizeof *f.models, bytes = 0;
    texts_of(&f, texts);
    for (int i = 0; i < TEXTS; i++)
        bytes += texts[i]->n;
    for (int i = 0; i < f.model_count; i++)
        bytes += f.models[i].n;
    struct key *k = mem_alloc(sizeof *k + list_bytes + bytes);
    struct str *models = (struct str *)(void *)k->texts;
    char *at = k->texts + list_bytes;
    for (int i = 0; i < TEXTS; i++)
        at = copy_text(at, texts[i]);
    for (int i = 0; i < f.model_count; i++) {
        models[i] = f.models[i];
        at = copy_text(at, &models[i]);
    }
    f.models = models;
    k->facts = f;
    k->limits = (struct quota_limits){
        .requests = f.rpm_limit, .tokens = f.tpm_limit, .parallel = f.max_parallel_requests};
    k->references = 1;
    if (!use) {
        use = mem_alloc(sizeof *use);
        use->spend = spend;
    }
    __atomic_add_fetch(&use->references, 1, __ATOMIC_RELAXED);
    k->use = use;
    return k;
}

const struct key *key_get(const struct key *k)
{
    __atomic_add_fetch(&((struct key *)k)->references, 1, __ATOMIC_RELAXED);
    return k;
}

void key_put(const struct key *published)
{
    struct key *k = (struct key *)published;
    if (!k || __atomic_sub_fetch(&k->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (__atomic_sub_fetch(&k->use->references, 1, __ATOMIC_ACQ_REL) == 0) {
        key_spend_release(k->use->spend);
        mem_free(k->use);
    }
    mem_free(k);
}

/* ---- the table ---- */

static struct table *table_new(size_t count)
{
    size_t cap = 16;
    while (cap < 2 * count)
        cap *= 2;
    struct table *t = mem_alloc(sizeof *t + cap * sizeof *t->slots);
    t->cap = cap;
    return t;
}

static uint64_t hash_of(const char hash_hex[KEY_HASH_BYTES])
{
    return str_hash((struct str){hash_hex, KEY_HASH_BYTES});
}

/* Where the key is, or would be. */
static struct slot *slot_of(struct table *t, uint64_t hash, const char hash_hex[KEY_HASH_BYTES])
{
    size_t i = hash & (t->cap - 1);
    while (t->slots[i].key && (t->slots[i].hash != hash || memcmp(t->slots[i].key->facts.hash_hex,
                                                                  hash_hex, KEY_HASH_BYTES) != 0))
        i = (i + 1) & (t->cap - 1);
    return &t->slots[i];
}

static struct key *find_in(struct table *t, const char hash_hex[KEY_HASH_BYTES])
{
    return slot_of(t, hash_of(hash_hex), hash_hex)->key;
}

/* Puts it in place of the one of the same hash, if there is one. */
static void insert(struct table *t, uint64_t hash, struct key *k)
{
    struct slot *slot = slot_of(t, hash, k->facts.hash_hex);
    t->count += !slot->key;
    *slot = (struct slot){hash, k};
}

struct keys *keys_new(int readers)
{

    size_t bytes = sizeof(struct keys) + (size_t)readers * sizeof(struct reader);
    struct keys *t = aligned_alloc(64, (bytes + 63) / 64 * 64);
    ENSURE(t);
    memset(t, 0, bytes);
    t->table = table_new(0);
    t->generation = 1;
    t->reader_count = readers;
    return t;
}

void keys_free(struct keys *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->table->cap; i++)
        key_put(t->table->slots[i].key);
    mem_free(t->table);
    free(t);
}

uint64_t keys_generation(const struct keys *t)
{
    return __atomic_load_n(&t->generation, __ATOMIC_ACQUIRE);
}

/* Sequentially consistent, all of it: the reader's counter must be seen before it can have loaded the table. */
static struct table *look(struct keys *t, int reader)
{
    if (reader != KEYS_WRITER)
        __atomic_add_fetch(&t->readers[reader].looks, 1, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&t->table, __ATOMIC_SEQ_CST);
}

static void looked(struct keys *t, int reader)
{
    if (reader != KEYS_WRITER)
        __atomic_add_fetch(&t->readers[reader].looks, 1, __ATOMIC_SEQ_CST);
}

const struct key *keys_find(struct keys *t, int reader, const char hash_hex[KEY_HASH_BYTES])
{
    struct table *table = look(t, reader);
    const struct key *k = find_in(table, hash_hex);
    if (k)
        key_get(k);
    looked(t, reader);
    return k;
}

static int newest_first(const void *left, const void *right)
{
    const struct key *const *a = left, *const *b = right;
    if ((*a)->facts.created_us != (*b)->facts.created_us)
        return (*a)->facts.created_us < (*b)->facts.created_us ? 1 : -1;
    return memcmp((*a)->facts.hash_hex, (*b)->facts.hash_hex, KEY_HASH_BYTES);
}

const struct key **keys_list(struct keys *t, int reader, size_t *count)
{
    struct table *table = look(t, reader);
    const struct key **list = mem_alloc(MAX(table->count, 1u) * sizeof *list);
    *count = 0;
    for (size_t i = 0; i < table->cap; i++)
        if (table->slots[i].key)
            list[(*count)++] = key_get(table->slots[i].key);
    looked(t, reader);
    qsort(list, *count, sizeof *list, newest_first);
    return list;
}

void keys_list_free(const struct key **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        key_put(list[i]);
    mem_free(list);
}

/* ---- changing ---- */

static void wait_for_readers(struct keys *t)
{
    for (int i = 0; i < t->reader_count; i++) {
        uint64_t before = __atomic_load_n(&t->readers[i].looks, __ATOMIC_SEQ_CST);
        while (before % 2 && __atomic_load_n(&t->readers[i].looks, __ATOMIC_SEQ_CST) == before)
            sched_yield();
    }
}

/* The keys of `old` that are not to go, and those that come. */
static struct table *changed_table(struct table *old, const char (*gone)[KEY_HASH_BYTES],
                                   size_t gone_count, struct key *const *come, size_t come_count)
{
    struct table *leaving = table_new(gone_count), *t = table_new(old->count + come_count);
    for (size_t i = 0; i < gone_count; i++) {
        struct key *k = find_in(old, gone[i]);
        if (k)
            insert(leaving, hash_of(gone[i]), k);
    }
    for (size_t i = 0; i < old->cap; i++) {
        struct slot s = old->slots[i];
        if (s.key && !slot_of(leaving, s.hash, s.key->facts.hash_hex)->key)
            insert(t, s.hash, s.key);
    }
    for (size_t i = 0; i < come_count; i++)
        insert(t, hash_of(come[i]->facts.hash_hex), come[i]);
    mem_free(leaving);
    return t;
}

void keys_change(struct keys *t, const char (*gone)[KEY_HASH_BYTES], size_t gone_count,
                 struct key *const *come, size_t come_count)
{
    struct table *old = t->table, *changed = changed_table(old, gone, gone_count, come, come_count);
    __atomic_store_n(&t->table, changed, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&t->generation, 1, __ATOMIC_ACQ_REL);
    wait_for_readers(t);
    for (size_t i = 0; i < old->cap; i++) {
        struct slot s = old->slots[i];
        if (s.key && slot_of(changed, s.hash, s.key->facts.hash_hex)->key != s.key)
            key_put(s.key);
    }
    mem_free(old);
}

const struct key *keys_find_alias(struct keys *t, struct str alias)
{
    const struct table *table = t->table;
    for (size_t i = 0; i < table->cap; i++)
        if (table->slots[i].key && str_eq(table->slots[i].key->facts.alias, alias))
            return key_get(table->slots[i].key);
    return NULL;
}
