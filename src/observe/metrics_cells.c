/* metrics_cells.c -- where numbers are kept: roads with their cells, accounts, and what becomes of those for which there is no room.
 *
 * A road is who was asked for and who answered; its cells are one an outcome. Only the configuration makes roads, so neither keys nor
 * errors nor anything a client sends takes their room. Accounts tell key, route, status and error apart as well, and their room can run out. Then
 * the key goes first: an account without a name may use all of the room, one of a named key only keyed_max of it, and what comes after is
 * counted for the key "other". When that is full too, numbers go to the coarse account that stands behind each cell of a road: "other" in all
 * that tells the accounts of the cell apart. So sums by model, deployment and outcome are exact for ever, whatever the accounts had to give
 * up. Only past road_max roads does the model become "other".
 *
 * Threads: all of it is the shard's owner's, but that any thread may read what pile_count and struct texts have published. */
#include "observe/metrics_internal.h"

#define TABLE_SIZE_MIN 64u
#define BUDGET_MAX     ((int64_t)1 << 20)
/* Shares of the budget, of PARTS. */
#define PARTS       10
#define ROAD_PARTS  2
#define KEYED_PARTS 5
#define MIXER       0x9E3779B97F4A7C15u

/* ---- texts ---- */

static uint32_t intern(struct texts *t, struct str text)
{
    uintptr_t known = (uintptr_t)map_get(&t->ids, text);
    if (known)
        return (uint32_t)known - 1;
    uint32_t id = t->count, at = id + TEXTS_FIRST;
    uint32_t chunk = 31u - (uint32_t)__builtin_clz(at / TEXTS_FIRST);
    ENSURE(chunk < COUNT(t->chunks));
    if (!t->chunks[chunk])
        t->chunks[chunk] = mem_alloc(((size_t)TEXTS_FIRST << chunk) * sizeof(struct str));
    struct str copy = arena_str(&t->bytes, text);
    t->chunks[chunk][at - (TEXTS_FIRST << chunk)] = copy;
    map_put(&t->ids, copy, (void *)(uintptr_t)(id + 1));
    __atomic_store_n(&t->count, id + 1, __ATOMIC_RELEASE);
    return id;
}

/* ---- tables ---- */

static void table_put(struct table *t, uint64_t *item)
{
    size_t at = *item & (t->size - 1);
    while (t->slots[at])
        at = (at + 1) & (t->size - 1);
    t->slots[at] = item;
}

static void table_init(struct table *t)
{
    *t = (struct table){mem_alloc(TABLE_SIZE_MIN * sizeof(uint64_t *)), TABLE_SIZE_MIN, 0};
}

static void table_add(struct table *t, uint64_t *item)
{
    if (++t->count * 2 > t->size) {
        struct table old = *t;
        t->size = old.size * 2;
        t->slots = mem_alloc(t->size * sizeof(uint64_t *));
        for (size_t i = 0; i < old.size; i++)
            if (old.slots[i])
                table_put(t, old.slots[i]);
        mem_free(old.slots);
    }
    table_put(t, item);
}

/* ---- piles ---- */

static void pile_init(struct pile *p, size_t cell_bytes, size_t max)
{
    p->cell_bytes = cell_bytes;
    p->chunks = mem_alloc((max + CELLS_PER_CHUNK - 1) / CELLS_PER_CHUNK * sizeof(char *));
}

/* One more, not yet published. */
static struct cell *pile_next(struct pile *p)
{
    if (p->count % CELLS_PER_CHUNK == 0)
        p->chunks[p->count / CELLS_PER_CHUNK] = mem_alloc(CELLS_PER_CHUNK * p->cell_bytes);
    return pile_cell(p, p->count);
}

static void pile_publish(struct pile *p)
{
    __atomic_store_n(&p->count, p->count + 1, __ATOMIC_RELEASE);
}

static void pile_fini(struct pile *p)
{
    for (size_t i = 0; i < p->count; i++)
        mem_free(pile_cell(p, i)->exemplars);
    for (size_t i = 0; i * CELLS_PER_CHUNK < p->count; i++)
        mem_free(p->chunks[i]);
    mem_free(p->chunks);
}

/* ---- what a cell shows ---- */

static uint64_t outcome_bits(const struct outcome *o)
{
    return (uint64_t)o->kind << 56 | (uint64_t)o->exception << 48 | (uint64_t)o->http_status << 32 |
           (uint64_t)o->provider_status << 16 | (uint64_t)o->error_code << 8 | o->traits;
}

/* `detail`: what shows instead of all that only accounts tell apart; empty: what the key says. */
static void name_cell(struct shard *s, struct cell *c, const struct key *k, struct str detail)
{
    char first[512];
    struct arena a;
    struct derived derived;
    arena_init(&a, first, sizeof first);
    metrics_derive(&a, &k->outcome, shard_text(s, c->road->texts[VALUE_PROVIDER]), &derived);
    struct str texts[VALUE_COUNT] = {
        [VALUE_STATUS_CODE] = derived.status_code,
        [VALUE_EXCEPTION_STATUS] = derived.exception_status,
        [VALUE_EXCEPTION_CLASS] = derived.exception_class,
        [VALUE_OUTCOME] = derived.outcome,
        [VALUE_NONE] = NONE,
    };
    for (int v = VALUE_ROAD; v < VALUE_KEYED; v++)
        texts[v] = k->values[v];
    for (unsigned v = VALUE_ROAD; v < VALUE_COUNT; v++)
        c->texts[v] =
            intern(&s->texts, detail.n && VALUES_OF_ACCOUNTS & 1u << v ? detail : texts[v]);
    memcpy(c->texts, c->road->texts, sizeof c->road->texts);
    arena_fini(&a);
}

/* ---- roads ---- */

/* Address and provider follow from the deployment's id but for a reload that changes them: left to road_is. */
static uint64_t road_hash(const struct str values[VALUE_ROAD])
{
    uint64_t hash = str_hash(values[VALUE_REQUESTED]) * MIXER;
    hash = (hash ^ hash >> 29 ^ str_hash(values[VALUE_MODEL_ID])) * MIXER;
    return hash ^ hash >> 32;
}

static bool road_is(const struct shard *s, const struct road *r, const struct str *values)
{
    for (int v = 0; v < VALUE_ROAD; v++)
        if (!str_eq(values[v], shard_text(s, r->texts[v])))
            return false;
    return true;
}

static struct road *find_road(const struct shard *s, const struct str *values, uint64_t hash)
{
    const struct table *t = &s->roads;
    for (size_t i = hash & (t->size - 1); t->slots[i]; i = (i + 1) & (t->size - 1)) {
        struct road *r = (struct road *)(void *)t->slots[i];
        if (r->hash == hash && road_is(s, r, values))
            return r;
    }
    return NULL;
}

static struct road *add_road(struct shard *s, const struct str *values, uint64_t hash)
{
    struct road *r = arena_zalloc(&s->memory, sizeof *r);
    r->hash = hash;
    for (int v = 0; v < VALUE_ROAD; v++)
        r->texts[v] = intern(&s->texts, values[v]);
    table_add(&s->roads, &r->hash);
    COUNTER_ADD(s->road_count, 1);
    return r;
}

/* One place is kept for the road of "other". */
static bool room_for_road(const struct metrics *m, const struct shard *s)
{
    return s->roads.count - (s->other_road != NULL) + 1 < m->road_max;
}

static struct road *other_road(struct shard *s)
{
    static const struct str values[VALUE_ROAD] = {
        {"other", 5}, {"other", 5}, {"other", 5}, {"other", 5}, {"other", 5}};
    if (!s->other_road)
        s->other_road = add_road(s, values, road_hash(values));
    return s->other_road;
}

static bool is_other(const struct str *values)
{
    for (int v = 0; v < VALUE_ROAD; v++)
        if (!str_eq(values[v], OTHER))
            return false;
    return true;
}

bool metrics_road_fits(const struct metrics *m, const struct shard *s, const struct key *k)
{
    return room_for_road(m, s) || find_road(s, k->values, road_hash(k->values));
}

static struct road *road_of(const struct metrics *m, struct shard *s, const struct key *k,
                            bool *folded)
{
    uint64_t hash = road_hash(k->values);
    struct road *r = find_road(s, k->values, hash);
    if (LIKELY(r)) {
        *folded |= r == s->other_road;
        return r;
    }
    if (room_for_road(m, s) && !is_other(k->values))
        return add_road(s, k->values, hash);
    *folded = true;
    return other_road(s);
}

struct cell *metrics_cell(const struct metrics *m, struct shard *s, const struct key *k,
                          bool *folded)
{
    struct road *r = road_of(m, s, k, folded);
    struct key plain = {.outcome = cell_outcome(&k->outcome)};
    uint64_t bits = outcome_bits(&plain.outcome);
    for (struct cell *c = r->cells; c; c = c->next)
        if (outcome_bits(&c->outcome) == bits)
            return c;
    for (int v = VALUE_ROAD; v < VALUE_KEYED; v++)
        plain.values[v] = NONE;
    struct cell *c = pile_next(&s->cells), *coarse = cell_coarse(m, c);
    c->road = coarse->road = r;
    c->outcome = coarse->outcome = plain.outcome;
    name_cell(s, c, &plain, NONE);
    name_cell(s, coarse, &plain, OTHER);
    c->next = r->cells;
    r->cells = c;
    pile_publish(&s->cells);
    return c;
}

/* ---- accounts ---- */

static uint64_t account_hash(const struct cell *c, const struct key *k)
{
    uint64_t hash = (c->road->hash ^ outcome_bits(&k->outcome)) * MIXER;
    hash = (hash ^ hash >> 29 ^ str_hash(k->values[VALUE_KEY_HASH])) * MIXER;
    hash = (hash ^ hash >> 29 ^ str_hash(k->values[VALUE_ROUTE])) * MIXER;
    return hash ^ hash >> 32;
}

static bool account_is(const struct shard *s, const struct cell *a, const struct cell *c,
                       const struct key *k)
{
    if (a->road != c->road || outcome_bits(&a->outcome) != outcome_bits(&k->outcome))
        return false;
    for (int v = VALUE_ROAD; v < VALUE_KEYED; v++)
        if (!str_eq(k->values[v], shard_text(s, a->texts[v])))
            return false;
    return true;
}

static struct cell *find_account(const struct shard *s, const struct cell *c, const struct key *k,
                                 uint64_t hash)
{
    const struct table *t = &s->account_table;
    for (size_t i = hash & (t->size - 1); t->slots[i]; i = (i + 1) & (t->size - 1)) {
        struct cell *a = (struct cell *)(void *)t->slots[i];
        if (a->hash == hash && account_is(s, a, c, k))
            return a;
    }
    return NULL;
}

static struct cell *add_account(struct shard *s, const struct cell *c, const struct key *k,
                                uint64_t hash)
{
    struct cell *a = pile_next(&s->accounts);
    a->hash = hash;
    a->road = c->road;
    a->outcome = k->outcome;
    name_cell(s, a, k, STR_NONE);
    table_add(&s->account_table, &a->hash);
    pile_publish(&s->accounts);
    return a;
}

static bool is_named(const struct key *k)
{
    return !str_eq(k->values[VALUE_KEY_ALIAS], NONE) && !str_eq(k->values[VALUE_KEY_ALIAS], OTHER);
}

struct cell *metrics_account(const struct metrics *m, struct shard *s, struct cell *c,
                             const struct key *k, bool *folded)
{
    uint64_t hash = account_hash(c, k);
    struct cell *a = find_account(s, c, k, hash);
    bool named = is_named(k), full = s->account_table.count >= m->account_max;
    if (LIKELY(a))
        return a;
    if (c->road == s->other_road)
        return cell_coarse(m, c);
    if (!named || (!full && s->keyed_accounts < m->keyed_max)) {
        if (!full) {
            COUNTER_ADD(s->keyed_accounts, named);
            return add_account(s, c, k, hash);
        }
        *folded = true;
        return cell_coarse(m, c);
    }
    struct key keyless = *k;
    keyless.values[VALUE_KEY_HASH] = keyless.values[VALUE_KEY_ALIAS] = OTHER;
    *folded = true;
    return metrics_account(m, s, c, &keyless, folded);
}

/* ---- life ---- */

void metrics_lay_out(struct metrics *m, int64_t budget, uint32_t numbers)
{
    m->budget = (size_t)MIN(MAX(budget, 1), BUDGET_MAX);
    m->road_max = MAX(m->budget * ROAD_PARTS / PARTS, 2u);
    m->account_max = m->budget > m->road_max ? m->budget - m->road_max : 0;
    m->keyed_max = MIN(m->budget * KEYED_PARTS / PARTS, m->account_max);
    m->coarse_at = (uint32_t)(sizeof(struct cell) + numbers * sizeof(uint64_t));
}

void shard_init(const struct metrics *m, struct shard *s)
{
    size_t account_bytes = sizeof(struct cell) + NUMBER_ACCOUNT_COUNT * sizeof(uint64_t);
    table_init(&s->roads);
    table_init(&s->account_table);
    pile_init(&s->cells, (m->coarse_at + account_bytes + 63) & ~(size_t)63,
              m->road_max * CLASSES_MAX);
    pile_init(&s->accounts, account_bytes, MAX(m->account_max, 1u));
    s->fallbacks = mem_alloc(FALLBACK_SLOTS * sizeof(struct fallback_cell *));
    map_init(&s->texts.ids);
    arena_init(&s->texts.bytes, NULL, 0);
    arena_init(&s->memory, NULL, 0);
}

void shard_fini(struct shard *s)
{
    pile_fini(&s->cells);
    pile_fini(&s->accounts);
    mem_free(s->fallbacks);
    mem_free(s->roads.slots);
    mem_free(s->account_table.slots);
    map_fini(&s->texts.ids);
    for (size_t i = 0; i < COUNT(s->texts.chunks); i++)
        mem_free(s->texts.chunks[i]);
    arena_fini(&s->texts.bytes);
    arena_fini(&s->memory);
}
