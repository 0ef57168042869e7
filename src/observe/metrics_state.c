/* metrics_state.c -- the cells as bytes, so that `weir export` can go on counting where it ended.
 *
 * Numbers are varints; what the program numbers for itself (errors, exceptions) is written by its name, so that another version
 * of weir still reads it. The buckets are written too: numbers counted in other ones can not be carried over.
 * Reading trusts nothing: every length and number is checked against what there is. All goes through metrics_cell and metrics_account,
 * so a smaller series budget than before makes "other" of what no longer fits, and nothing is lost. */
#include "base/varint.h"
#include "observe/metrics_internal.h"

#define FORMAT 2
_Static_assert(NUMBER_COUNT == 16 && NUMBER_ACCOUNT_COUNT == 7 && HISTOGRAM_COUNT == 7 &&
                   VALUE_ROAD == 5 && VALUE_KEYED == 8,
               "cells are made of other things than before: another FORMAT");

#define TRAITS_OF_OUTCOME                                                                          \
    (TRAIT_SUCCESS | TRAIT_FAILURE | TRAIT_CANCELLED | TRAIT_EXPECTED | TRAIT_UNKNOWN)

/* Numbers of a cell, histograms included. */
static size_t number_count(const struct metrics *m)
{
    const int last = HISTOGRAM_COUNT - 1;
    return m->histogram_at[last] + m->bounds[last].count + 2;
}

/* ---- writing ---- */

static bool put_bounds(const struct metrics *m, struct buf *out)
{
    bool ok = true;
    for (int h = 0; h < HISTOGRAM_COUNT; h++) {
        ok = ok && varint_put(out, m->bounds[h].count);
        for (uint32_t i = 0; i < m->bounds[h].count; i++)
            ok = ok && varint_put(out, m->bounds[h].ns[i]);
    }
    return ok;
}

static bool put_errors(const struct metrics *m, struct buf *out)
{
    bool ok = varint_put(out, ERR_COUNT);
    for (int code = 0; code < ERR_COUNT; code++) {
        uint64_t sum = 0;
        for (int i = 0; i < m->shard_count; i++)
            sum += COUNTER_GET(m->shards[i].errors[code]);
        ok = ok && varint_put_str(out, str_from(error_info((enum error_code)code)->name)) &&
             varint_put(out, sum);
    }
    return ok;
}

static bool put_texts(const struct shard *s, const struct cell *c, int from, int to,
                      struct buf *out)
{
    bool ok = true;
    for (int v = from; v < to; v++)
        ok = ok && varint_put_str(out, shard_text(s, c->texts[v]));
    return ok;
}

static bool put_numbers(const struct cell *c, size_t count, struct buf *out)
{
    bool ok = true;
    for (size_t i = 0; i < count; i++)
        ok = ok && varint_put(out, COUNTER_GET(c->numbers[i]));
    return ok;
}

static bool put_class(const struct outcome *o, struct buf *out)
{
    return varint_put(out, o->traits) && varint_put_str(out, str_from(outcome_names[o->kind]));
}

static bool put_cell(const struct metrics *m, const struct shard *s, const struct cell *c,
                     struct buf *out)
{
    return put_texts(s, c, 0, VALUE_ROAD, out) && put_class(&c->outcome, out) &&
           varint_put(out, (uint64_t)MAX(COUNTER_GET(c->last_real_us), 0)) &&
           put_numbers(c, number_count(m), out);
}

static bool put_account(const struct shard *s, const struct cell *c, bool coarse, struct buf *out)
{
    const struct outcome *o = &c->outcome;
    const char *error = error_info((enum error_code)o->error_code)->name;
    const char *exception = o->exception ? metrics_exceptions[o->exception] : "";
    return put_texts(s, c, 0, VALUE_KEYED, out) && varint_put(out, coarse) &&
           varint_put(out, o->http_status) && varint_put(out, o->provider_status) &&
           varint_put_str(out, str_from(error)) && varint_put_str(out, str_from(exception)) &&
           put_class(o, out) && put_numbers(c, NUMBER_ACCOUNT_COUNT, out);
}

static bool put_shard(const struct metrics *m, const struct shard *s, struct buf *out)
{
    size_t cells = pile_count(&s->cells), accounts = pile_count(&s->accounts), coarse = 0;
    for (size_t i = 0; i < cells; i++)
        coarse +=
            COUNTER_GET(cell_coarse(m, pile_cell(&s->cells, i))->numbers[NUMBER_REQUESTS]) > 0;
    bool ok = varint_put(out, cells);
    for (size_t i = 0; i < cells; i++)
        ok = ok && put_cell(m, s, pile_cell(&s->cells, i), out);
    ok = ok && varint_put(out, accounts + coarse);
    for (size_t i = 0; i < accounts; i++)
        ok = ok && put_account(s, pile_cell(&s->accounts, i), false, out);
    for (size_t i = 0; i < cells; i++) {
        const struct cell *c = cell_coarse(m, pile_cell(&s->cells, i));
        if (c->numbers[NUMBER_REQUESTS])
            ok = ok && put_account(s, c, true, out);
    }
    return ok;
}

void metrics_save(const struct metrics *m, struct buf *out)
{
    uint64_t overflows = 0;
    for (int i = 0; i < m->shard_count; i++)
        overflows += COUNTER_GET(m->shards[i].overflows);
    bool ok = varint_put(out, FORMAT) && put_bounds(m, out) && put_errors(m, out) &&
              varint_put(out, overflows) && varint_put(out, (uint64_t)m->shard_count);
    for (int i = 0; i < m->shard_count; i++)
        ok = ok && put_shard(m, &m->shards[i], out);
    ok = ok && fallbacks_save(m, out);
    ENSURE(ok);
}

/* ---- reading ---- */

static bool cut_short(struct err *e)
{
    return err_set(e, "the numbers in it are damaged");
}

static bool same_bounds(const struct metrics *m, struct str *from, struct err *e)
{
    uint64_t value;
    for (int h = 0; h < HISTOGRAM_COUNT; h++) {
        bool same = varint_get(from, &value) && value == m->bounds[h].count;
        for (uint32_t i = 0; same && i < m->bounds[h].count; i++)
            same = varint_get(from, &value) && value == m->bounds[h].ns[i];
        if (!same)
            return err_set(e, "its latencies were counted in other buckets "
                              "(litellm_settings.prometheus_latency_buckets)");
    }
    return true;
}

/* ERR_NONE for one that this version does not have. */
static enum error_code error_named(struct str name)
{
    for (int code = 0; code < ERR_COUNT; code++)
        if (str_eq(name, str_from(error_info((enum error_code)code)->name)))
            return (enum error_code)code;
    return ERR_NONE;
}

static bool get_errors(struct shard *s, struct str *from)
{
    uint64_t count, sum;
    struct str name;
    if (!varint_get(from, &count))
        return false;
    for (uint64_t i = 0; i < count; i++) {
        if (!varint_get_str(from, &name) || !varint_get(from, &sum))
            return false;
        COUNTER_ADD(s->errors[error_named(name)], sum);
    }
    return true;
}

static bool get_status(struct str *from, uint16_t *out)
{
    uint64_t value;
    if (!varint_get(from, &value) || value > 999)
        return false;
    *out = (uint16_t)value;
    return true;
}

static bool kind_named(struct str name, uint8_t *kind)
{
    for (*kind = 0; *kind < OUTCOME_COUNT; ++*kind)
        if (str_eq(name, str_from(outcome_names[*kind])))
            return true;
    return false;
}

/* What tells the cells of a road apart. One outcome, and what else there is: at most CLASSES_MAX sets (metrics_internal.h). */
static bool get_class(struct str *from, struct outcome *o)
{
    uint64_t traits;
    struct str kind;
    if (!varint_get(from, &traits) || !varint_get_str(from, &kind) || !kind_named(kind, &o->kind))
        return false;
    uint64_t outcome = traits & TRAITS_OF_OUTCOME,
             more = TRAIT_DEPLOYED | TRAIT_STREAM | TRAIT_ATTEMPT;
    o->traits = (uint8_t)traits;
    return outcome && !(outcome & (outcome - 1)) && !(traits & ~(outcome | more));
}

static bool get_texts(struct str *from, struct key *k, int first, int end)
{
    for (int v = first; v < end; v++)
        if (!varint_get_str(from, &k->values[v]) || k->values[v].n == 0)
            return false;
    return true;
}

static bool get_numbers(struct str *from, struct cell *c, size_t count)
{
    uint64_t value;
    for (size_t i = 0; i < count; i++) {
        if (!varint_get(from, &value))
            return false;
        if (value)
            COUNTER_ADD(c->numbers[i], value);
    }
    return true;
}

static bool get_cell(const struct metrics *m, struct shard *s, struct str *from)
{
    struct key k = {0};
    uint64_t last_us;
    bool folded = false;
    if (!get_texts(from, &k, 0, VALUE_ROAD) || !get_class(from, &k.outcome) ||
        !varint_get(from, &last_us) || last_us > INT64_MAX)
        return false;
    struct cell *c = metrics_cell(m, s, &k, &folded);
    int64_t newest_us = MAX(COUNTER_GET(c->last_real_us), (int64_t)last_us);
    __atomic_store_n(&c->last_real_us, newest_us, __ATOMIC_RELAXED);
    return get_numbers(from, c, number_count(m));
}

static bool get_outcome(struct str *from, struct outcome *o)
{
    struct str error, exception;
    if (!get_status(from, &o->http_status) || !get_status(from, &o->provider_status) ||
        !varint_get_str(from, &error) || !varint_get_str(from, &exception) || !get_class(from, o))
        return false;
    o->error_code = (uint8_t)error_named(error);
    o->exception = metrics_exception(exception);
    return true;
}

static bool get_account(const struct metrics *m, struct shard *s, struct str *from)
{
    struct key k = {0};
    uint64_t coarse;
    bool folded = false;
    if (!get_texts(from, &k, 0, VALUE_KEYED) || !varint_get(from, &coarse) || coarse > 1 ||
        !get_outcome(from, &k.outcome))
        return false;
    struct cell *c = metrics_cell(m, s, &k, &folded);
    struct cell *a = coarse ? cell_coarse(m, c) : metrics_account(m, s, c, &k, &folded);
    return get_numbers(from, a, NUMBER_ACCOUNT_COUNT);
}

static bool get_shard(const struct metrics *m, struct shard *s, struct str *from)
{
    uint64_t cells, accounts;
    if (!varint_get(from, &cells))
        return false;
    for (uint64_t i = 0; i < cells; i++)
        if (!get_cell(m, s, from))
            return false;
    if (!varint_get(from, &accounts))
        return false;
    for (uint64_t i = 0; i < accounts; i++)
        if (!get_account(m, s, from))
            return false;
    return true;
}

bool metrics_load(struct metrics *m, struct str bytes, struct err *e)
{
    struct shard *s = &m->shards[0];
    uint64_t format, overflows, shards;
    if (!varint_get(&bytes, &format))
        return cut_short(e);
    if (format != FORMAT)
        return err_set(e, "another version of weir wrote it (its format is %llu, this one's %d)",
                       (unsigned long long)format, FORMAT);
    if (!same_bounds(m, &bytes, e))
        return false;
    if (!get_errors(s, &bytes) || !varint_get(&bytes, &overflows) || !varint_get(&bytes, &shards))
        return cut_short(e);
    for (uint64_t i = 0; i < shards; i++)
        if (!get_shard(m, s, &bytes))
            return cut_short(e);
    if (!fallbacks_load(m, s, &bytes))
        return cut_short(e);
    COUNTER_ADD(s->overflows, overflows); /* requests that did, not cells that do now */
    return bytes.n == 0 || cut_short(e);
}
