/* metrics_fallbacks.c -- requests that went on to another model: counted by which to which, and for whom.
 *
 * Cells know which deployment answered, not what it stood in for; and a fallback's labels (two models, and why the first one could not answer) are many for something
 * that is rare. So these have a small table of their own in each shard, with counters and no histograms. Same rules as for cells: one writer, a row
 * is published once and never moves, texts are copied into the shard's arena, and past the ceiling all are "other".
 * Keys are no labels here, as in all families about deployments.
 * weir_fallbacks_total counts requests, each once, by the model they ended at. LiteLLM's two families count models asked: of a request that went
 * from a to b, which failed, and on to c, also the failure of b ("passed"). */
#include "base/varint.h"
#include "observe/log_meaning.h"
#include "observe/metrics_scrape.h"

/* ---- counting [owner] ---- */

static uint64_t hash_of(const struct fallback_cell *c)
{
    uint64_t hash = 0;
    for (int i = 0; i < FALLBACK_TEXTS; i++)
        hash = (hash ^ hash >> 29 ^ str_hash(c->texts[i])) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 32;
}

static bool is_same(const struct fallback_cell *a, const struct fallback_cell *b)
{
    if (a->hash != b->hash)
        return false;
    for (int i = 0; i < FALLBACK_TEXTS; i++)
        if (!str_eq(a->texts[i], b->texts[i]))
            return false;
    return true;
}

static struct fallback_cell **slot_of(const struct shard *s, const struct fallback_cell *key)
{
    uint32_t at = (uint32_t)key->hash & (FALLBACK_SLOTS - 1);
    while (s->fallbacks[at] && !is_same(s->fallbacks[at], key))
        at = (at + 1) & (FALLBACK_SLOTS - 1);
    return &s->fallbacks[at];
}

static struct fallback_cell *add_cell(struct shard *s, struct fallback_cell **slot,
                                      const struct fallback_cell *key)
{
    struct fallback_cell *c = arena_zalloc(&s->memory, sizeof *c);
    c->hash = key->hash;
    for (int i = 0; i < FALLBACK_TEXTS; i++)
        c->texts[i] = arena_str(&s->memory, key->texts[i]);
    s->fallback_count++;
    __atomic_store_n(slot, c, __ATOMIC_RELEASE);
    return c;
}

/* The cell of a key, made where it is new; past the ceiling "other", which keeps its status. */
static struct fallback_cell *cell_of(const struct metrics *m, struct shard *s,
                                     struct fallback_cell *key, bool *folded)
{
    key->hash = hash_of(key);
    struct fallback_cell **slot = slot_of(s, key);
    if (!*slot && s->fallback_count >= MIN(m->budget, FALLBACK_CELLS)) {
        *folded = true;
        for (int i = 0; i < FALLBACK_STATUS; i++)
            key->texts[i] = OTHER;
        key->hash = hash_of(key);
        slot = slot_of(s, key);
    }
    return *slot ? *slot : add_cell(s, slot, key);
}

/* What the failure of the first model was, as the failures' own families would tell it. */
static void tell_cause(struct arena *a, const struct record_fallback *f, struct fallback_cell *key)
{
    struct derived derived = {.exception_status = NONE, .exception_class = NONE};
    const struct outcome o = {
        .error_code = (uint8_t)f->cause,
        .traits = f->cause_provider.n ? TRAIT_FAILURE | TRAIT_DEPLOYED : TRAIT_FAILURE,
        .http_status = (uint16_t)error_info(f->cause)->http_status,
        .provider_status = (uint16_t)MIN(MAX(f->cause_status, 0), 999),
    };
    if (f->cause != ERR_NONE)
        metrics_derive(a, &o, f->cause_provider, &derived);
    key->texts[FALLBACK_CAUSE_STATUS] = derived.exception_status;
    key->texts[FALLBACK_CAUSE_CLASS] = derived.exception_class;
}

void fallback_count(const struct metrics *m, struct shard *s, const struct key *k,
                    const struct record *r, bool passed, bool *folded)
{
    struct arena texts;
    char first[256];
    arena_init(&texts, first, sizeof first);
    struct fallback_cell key = {
        .texts = {[FALLBACK_ASKED] =
                      r->fallback.asked.n ? r->fallback.asked : k->values[VALUE_REQUESTED],
                  [FALLBACK_TO] = r->fallback.to,
                  [FALLBACK_STATUS] = passed ? STR("failure") : r->status},
    };
    tell_cause(&texts, &r->fallback, &key);
    struct fallback_cell *c = cell_of(m, s, &key, folded);
    if (passed)
        COUNTER_ADD(c->passed, 1);
    else
        COUNTER_ADD(c->requests, 1);
    arena_fini(&texts);
}

/* ---- writing ---- */

struct rows {
    struct group *rows; /* `first` is an index into `values` */
    uint64_t *values;
    uint32_t count, room;
};

static void add_row(struct scrape *s, const struct family *f, struct rows *to,
                    const struct str *values, uint64_t value)
{
    if (to->count == to->room) {
        struct rows old = *to;
        to->room = MAX(2 * old.room, 64u);
        to->rows = arena_alloc(&s->texts, to->room * sizeof *to->rows);
        to->values = arena_alloc(&s->texts, to->room * sizeof *to->values);
        for (uint32_t i = 0; i < old.count; i++) {
            to->rows[i] = old.rows[i];
            to->values[i] = old.values[i];
        }
    }
    to->rows[to->count] = (struct group){
        scrape_labels(&s->texts, f->labels, f->label_count, values), to->count, to->count};
    to->values[to->count++] = value;
}

/* LiteLLM's families want one status, and models that were passed on. */
static void add_cells(struct scrape *s, const struct family *f, struct rows *to, struct str status)
{
    for (int i = 0; i < s->m->shard_count; i++) {
        for (uint32_t k = 0; k < FALLBACK_SLOTS; k++) {
            const struct fallback_cell *c =
                __atomic_load_n(&s->m->shards[i].fallbacks[k], __ATOMIC_ACQUIRE);
            if (!c || (status.n && !str_eq(status, c->texts[FALLBACK_STATUS])))
                continue;
            const struct str values[VALUE_COUNT + 1] = {
                [VALUE_REQUESTED] = c->texts[FALLBACK_ASKED],
                [VALUE_FALLBACK] = c->texts[FALLBACK_TO],
                [VALUE_OUTCOME] = c->texts[FALLBACK_STATUS],
                [VALUE_EXCEPTION_STATUS] = c->texts[FALLBACK_CAUSE_STATUS],
                [VALUE_EXCEPTION_CLASS] = c->texts[FALLBACK_CAUSE_CLASS],
                [VALUE_NONE] = NONE,
            };
            add_row(s, f, to, values,
                    COUNTER_GET(c->requests) + (status.n ? COUNTER_GET(c->passed) : 0));
        }
    }
}

static void add_zeros(struct scrape *s, const struct family *f, struct rows *to, struct str asked,
                      struct str instead)
{
    const struct str statuses[] = {STR("success"), STR("failure")};
    for (size_t i = 0; i < COUNT(statuses); i++) {
        const struct str values[VALUE_COUNT + 1] = {
            [VALUE_REQUESTED] = asked, [VALUE_FALLBACK] = instead, [VALUE_OUTCOME] = statuses[i]};
        add_row(s, f, to, values, 0);
    }
}

/* What the configuration makes possible in one step, so that rate() sees the first. */
static void add_configured(struct scrape *s, const struct family *f, struct rows *to)
{
    const struct config *c = s->process->config;
    for (uint32_t i = 0; c && i < c->group_count; i++) {
        const struct model_group *g = &c->groups[i];
        for (int kind = 0; kind < FALLBACK_KIND_COUNT; kind++) {
            const struct fallback *row =
                routing_fallback(&c->routing, (enum fallback_kind)kind, g->name, g->name);
            for (int k = 0; row && k < row->count; k++) {
                const struct model_group *other = config_group(c, row->to[k], NULL);
                if (other && other->deployments != g->deployments)
                    add_zeros(s, f, to, g->name, other->name);
            }
        }
    }
}

/* Equal labels become one sample. */
static void write_rows(struct scrape *s, const struct family *f, struct rows *r)
{
    if (r->count > 1)
        qsort(r->rows, r->count, sizeof *r->rows, scrape_compare_labels);
    for (uint32_t i = 0; i < r->count;) {
        struct str labels = r->rows[i].labels;
        uint64_t sum = 0;
        for (; i < r->count && str_eq(r->rows[i].labels, labels); i++)
            sum += r->values[r->rows[i].first];
        scrape_sample(s, f, labels, STR_NONE, sum);
    }
}

void fallbacks(struct scrape *s, const struct family *f)
{
    struct rows rows = {0};
    add_configured(s, f, &rows);
    add_cells(s, f, &rows, STR_NONE);
    write_rows(s, f, &rows);
}

void fallbacks_succeeded(struct scrape *s, const struct family *f)
{
    struct rows rows = {0};
    add_cells(s, f, &rows, STR("success"));
    write_rows(s, f, &rows);
}

void fallbacks_failed(struct scrape *s, const struct family *f)
{
    struct rows rows = {0};
    add_cells(s, f, &rows, STR("failure"));
    write_rows(s, f, &rows);
}

/* ---- as bytes that outlive the process (metrics_state.c) ---- */

static bool put_cell(struct buf *out, const struct fallback_cell *c)
{
    bool ok = true;
    for (int i = 0; i < FALLBACK_TEXTS; i++)
        ok = ok && varint_put_str(out, c->texts[i]);
    return ok && varint_put(out, COUNTER_GET(c->requests)) &&
           varint_put(out, COUNTER_GET(c->passed));
}

bool fallbacks_save(const struct metrics *m, struct buf *out)
{
    uint64_t count = 0;
    for (int i = 0; i < m->shard_count; i++)
        for (uint32_t k = 0; k < FALLBACK_SLOTS; k++)
            count += m->shards[i].fallbacks[k] != NULL;
    bool ok = varint_put(out, count);
    for (int i = 0; i < m->shard_count; i++)
        for (uint32_t k = 0; k < FALLBACK_SLOTS; k++)
            ok = ok && (!m->shards[i].fallbacks[k] || put_cell(out, m->shards[i].fallbacks[k]));
    return ok;
}

/* Cells of "other" are one a status: so many there may be past the ceiling. */
static bool is_status(struct str text)
{
    for (int i = 0; i < LOG_OUTCOME_COUNT; i++)
        if (str_eq(text, str_from(log_outcome_names[i])))
            return true;
    return false;
}

static bool get_cell(const struct metrics *m, struct shard *s, struct str *from)
{
    struct fallback_cell key = {0};
    uint64_t requests, passed;
    bool folded = false;
    for (int i = 0; i < FALLBACK_TEXTS; i++)
        if (!varint_get_str(from, &key.texts[i]) || key.texts[i].n == 0)
            return false;
    if (!is_status(key.texts[FALLBACK_STATUS]) || !varint_get(from, &requests) ||
        !varint_get(from, &passed))
        return false;
    struct fallback_cell *c = cell_of(m, s, &key, &folded);
    COUNTER_ADD(c->requests, requests);
    COUNTER_ADD(c->passed, passed);
    return true;
}

bool fallbacks_load(const struct metrics *m, struct shard *s, struct str *from)
{
    uint64_t count;
    if (!varint_get(from, &count))
        return false;
    for (uint64_t i = 0; i < count; i++)
        if (!get_cell(m, s, from))
            return false;
    return true;
}
