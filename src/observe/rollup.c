/* rollup.c -- adds lines to groups.
 *
 * Called for every line that a report is about, by the thread that read it. A view's key is its fields' texts; the group is
 * found by their hash in an open-addressed table. Then counters and histograms are added to, nothing else: no lock, and no
 * allocation but for a group, or a histogram's octave, that was not there. Merging goes group by group.
 *
 * A field that is no string (http_status, stream) is a key by its number's text. Texts are borrowed from the line while a
 * group is looked for, and copied once, when it is made. */
#include "observe/rollup.h"

#include <math.h>

#include "base/digits.h"
#include "base/rand.h"
#include "base/str.h"
#include "observe/line_cost.h"

#define PICO_PER_USD 1e12
#define COST_MAX_USD 1e6
#define TABLE_MIN    64u

/* What a line's key is in one view, while it is looked for. All values have TEXT_SLACK readable bytes behind them, so that they
 * can be hashed and compared by words: those of a line by LOGLINE_SLACK, the others by the room they are given. */
#define TEXT_SLACK LOG_REF_SLACK
struct key {
    struct str values[ROLLUP_FIELDS_MAX];
    int count;
    uint64_t hash;
    char decoded[ROLLUP_FIELDS_MAX][ROLLUP_KEY_BYTES + TEXT_SLACK];
};

/* ---- views ---- */

struct rollup_view *rollup_add_view_by(struct rollup *r, const struct log_ref *by, int count,
                                       int64_t bucket_us, uint32_t spread_mask)
{
    ENSURE(r->view_count < ROLLUP_VIEWS_MAX && count + (bucket_us > 0) <= ROLLUP_FIELDS_MAX);
    struct rollup_view *v = &r->views[r->view_count++];
    *v = (struct rollup_view){.field_count = count,
                              .bucket_us = bucket_us,
                              .spread_mask = spread_mask,
                              .tag_at = -1,
                              .table_size = TABLE_MIN,
                              .table = mem_alloc(TABLE_MIN * sizeof(struct rollup_group *))};
    for (int i = 0; i < count; i++) {
        v->fields[i] = by[i];
        if (by[i].kind == LOG_REF_TAG)
            v->tag_at = i;
    }
    return v;
}

struct rollup_view *rollup_add_view(struct rollup *r, const enum log_field *fields, int count,
                                    int64_t bucket_us, uint32_t spread_mask)
{
    struct log_ref by[ROLLUP_FIELDS_MAX];
    ENSURE(count <= ROLLUP_FIELDS_MAX);
    for (int i = 0; i < count; i++)
        by[i] = log_ref_of(fields[i]);
    return rollup_add_view_by(r, by, count, bucket_us, spread_mask);
}

void rollup_init(struct rollup *r)
{
    struct rng rng;
    rng_seed(&rng, 0);
    *r = (struct rollup){.since_us = INT64_MIN, .until_us = INT64_MAX, .seed = rng_next(&rng)};
    arena_init(&r->texts, NULL, 0);
}

void rollup_group_free(struct rollup_group *g)
{
    for (int s = 0; s < SPREAD_COUNT; s++) {
        if (g->spreads[s])
            histogram_fini(g->spreads[s]);
        mem_free(g->spreads[s]);
    }
    exact_fini(&g->latencies);
    mem_free(g);
}

void rollup_fini(struct rollup *r)
{
    for (int i = 0; i < r->view_count; i++) {
        struct rollup_view *v = &r->views[i];
        for (size_t g = 0; g < v->group_count; g++)
            rollup_group_free(v->groups[g]);
        mem_free(v->groups);
        mem_free(v->table);
    }
    arena_fini(&r->texts);
}

/* ---- groups ---- */

/* The first n bytes at p, 1 to 8, as a word. */
static inline uint64_t word_of(const char *p, size_t n)
{
    return digits_load(p) << (64 - 8 * n);
}

static inline bool texts_equal(struct str a, struct str b)
{
    if (a.n != b.n || !a.p != !b.p)
        return false;
    for (; a.n > 8; a.n -= 8, a.p += 8, b.p += 8)
        if (digits_load(a.p) != digits_load(b.p))
            return false;
    return a.n == 0 || word_of(a.p, a.n) == word_of(b.p, a.n);
}

/* A word at a time, each multiplied in. Seeded (struct rollup), because strangers choose the texts. */
static inline uint64_t hash_text(uint64_t hash, struct str text)
{
    const uint64_t odd = UINT64_C(0x9E3779B97F4A7C15);
    for (hash ^= text.n; text.n > 8; text.n -= 8, text.p += 8) {
        hash = (hash ^ digits_load(text.p)) * odd;
        hash ^= hash >> 32;
    }
    if (text.n)
        hash ^= word_of(text.p, text.n);
    hash *= odd;
    return hash ^ hash >> 32;
}

static inline bool group_is(const struct rollup_group *g, const struct key *k)
{
    if (g->hash != k->hash)
        return false;
    for (int i = 0; i < k->count; i++)
        if (!texts_equal(g->values[i], k->values[i]))
            return false;
    return true;
}

static struct rollup_group **slot_of(struct rollup_view *v, const struct key *k)
{
    size_t mask = v->table_size - 1, i = k->hash & mask;
    while (v->table[i] && !group_is(v->table[i], k))
        i = (i + 1) & mask;
    return &v->table[i];
}

static void grow_table(struct rollup_view *v)
{
    v->table_size *= 2;
    mem_free(v->table);
    v->table = mem_alloc(v->table_size * sizeof *v->table);
    for (size_t g = 0; g < v->group_count; g++) {
        size_t i = v->groups[g]->hash & (v->table_size - 1);
        while (v->table[i])
            i = (i + 1) & (v->table_size - 1);
        v->table[i] = v->groups[g];
    }
}

static struct str keep_text(struct arena *a, struct str text)
{
    char *copy = arena_zalloc(a, text.n + TEXT_SLACK);
    memcpy(copy, text.p, text.n);
    return (struct str){copy, text.n};
}

static struct rollup_group *add_group(struct rollup *r, struct rollup_view *v, const struct key *k)
{
    struct rollup_group *g = mem_alloc(sizeof *g);
    g->hash = k->hash;
    g->first_us = INT64_MAX;
    g->last_us = INT64_MIN;
    for (int i = 0; i < k->count; i++)
        g->values[i] = k->values[i].p ? keep_text(&r->texts, k->values[i]) : STR_NONE;
    if ((v->group_count & (v->group_count - 1)) == 0) /* room doubles at each power of two */
        v->groups = mem_realloc(v->groups, MAX(v->group_count * 2, (size_t)1) * sizeof *v->groups);
    v->groups[v->group_count++] = g;
    if (v->group_count * 2 > v->table_size)
        grow_table(v);
    else
        *slot_of(v, k) = g;
    return g;
}

static inline void hash_key(const struct rollup *r, struct key *k)
{
    k->hash = r->seed;
    for (int i = 0; i < k->count; i++)
        k->hash = hash_text(k->hash, k->values[i]);
}

static struct rollup_group *group_of(struct rollup *r, struct rollup_view *v, struct key *k)
{
    static const char other[5 + TEXT_SLACK] = "other";
    struct rollup_group *g = *slot_of(v, k);
    if (LIKELY(g))
        return g;
    if (v->group_count >= ROLLUP_GROUPS_MAX) {
        for (int i = 0; i < k->count; i++)
            k->values[i] = (struct str){other, 5};
        hash_key(r, k);
        g = *slot_of(v, k);
    }
    return g ? g : add_group(r, v, k);
}

/* ---- keys ---- */

static struct str number_text(char *out, int64_t value)
{
    return (struct str){out, (size_t)(digits_u64(out, (uint64_t)value) - out)};
}

static inline struct str text_of(const struct logline *l, const struct log_ref *by, char *out)
{
    return LIKELY(by->kind == LOG_REF_FIELD) ? log_field_text(l, by->field, out)
                                             : log_ref_text(by, l, out);
}

/* Stamps before 1970 are nobody's: they count as 1970. */
static int64_t bucket_start(const struct rollup_view *v, int64_t stamp_us)
{
    return stamp_us > 0 ? stamp_us - stamp_us % v->bucket_us : 0;
}

static void key_of(const struct rollup *r, struct key *k, const struct rollup_view *v,
                   const struct logline *l)
{
    k->count = 0;
    if (v->bucket_us > 0) {
        k->values[0] = number_text(k->decoded[0], bucket_start(v, l->r.timestamp));
        k->count = 1;
    }
    for (int i = 0; i < v->field_count; i++, k->count++)
        k->values[k->count] = text_of(l, &v->fields[i], k->decoded[k->count]);
    hash_key(r, k);
}

/* ---- a line ---- */

/* A line's numbers, worked out once for all views. */
struct worth {
    uint64_t amounts[ROLLUP_AMOUNTS];
    uint32_t marks;       /* one bit a count behind the amounts: it is one more */
    uint32_t spread_mask; /* those that are known */
    uint64_t spreads[SPREAD_COUNT];
    int64_t stamp_us;
    bool stamped, failed;
};

#define MARK(count) (1u << (ROLLUP_##count - ROLLUP_AMOUNTS))

static inline uint64_t amount_of(const struct logline *l, uint64_t bit, int64_t value)
{
    return l->found & bit ? (uint64_t)value : 0;
}

static inline uint32_t mark_if(bool yes, uint32_t mark)
{
    return yes ? mark : 0;
}

static void worth_amounts(struct worth *w, const struct logline *l)
{
    const struct record *r = &l->r;
    uint64_t *n = w->amounts;
    bool priced = l->found & LOG_BIT(cost_usd);
    double cost_usd = priced ? MIN(r->cost_usd, COST_MAX_USD) : 0;
    n[ROLLUP_REQUESTS] = 1;
    n[ROLLUP_ATTEMPTS] = amount_of(l, LOG_BIT(attempts), r->attempts);
    n[ROLLUP_PROMPT_TOKENS] = amount_of(l, LOG_BIT(prompt_tokens), r->prompt_tokens);
    n[ROLLUP_COMPLETION_TOKENS] = amount_of(l, LOG_BIT(completion_tokens), r->completion_tokens);
    n[ROLLUP_TOTAL_TOKENS] = amount_of(l, LOG_BIT(total_tokens), r->total_tokens);
    n[ROLLUP_CACHED_TOKENS] = amount_of(l, LOG_BIT(cached_tokens), r->cached_tokens);
    n[ROLLUP_REASONING_TOKENS] = amount_of(l, LOG_BIT(reasoning_tokens), r->reasoning_tokens);
    n[ROLLUP_COST_PICO] = (uint64_t)(int64_t)(cost_usd * PICO_PER_USD + 0.5);
}

static void worth_marks(struct worth *w, const struct logline *l)
{
    static const uint32_t outcome_marks[LOG_OUTCOME_COUNT] = {
        [LOG_OUTCOME_SUCCESS] = MARK(SUCCESS),
        [LOG_OUTCOME_FAILURE] = MARK(FAILURE),
        [LOG_OUTCOME_CANCELLED] = MARK(CANCELLED),
        [LOG_OUTCOME_UNKNOWN] = MARK(UNKNOWN),
    };
    const struct record *r = &l->r;
    enum log_outcome outcome = log_outcome_of(l);
    w->failed = outcome == LOG_OUTCOME_FAILURE;
    w->amounts[ROLLUP_FAILED_COST_PICO] =
        outcome == LOG_OUTCOME_SUCCESS ? 0 : w->amounts[ROLLUP_COST_PICO];
    w->marks = outcome_marks[outcome];
    w->marks |= mark_if((l->found & LOG_BIT(slow)) && r->slow, MARK(SLOW));
    w->marks |= mark_if((l->found & LOG_BIT(stream)) && r->stream, MARK(STREAMS));
    w->marks |= mark_if((l->found & LOG_BIT(cache)) && STR_IS(r->cache, "hit"), MARK(CACHE_HITS));
    w->marks |= mark_if(l->found & LOG_BIT(fallback_from), MARK(FALLBACKS));
    w->marks |=
        mark_if((l->found & LOG_BIT(tokens_source)) && STR_IS(r->tokens_source, "estimated"),
                MARK(ESTIMATED));
    w->marks |= mark_if(!(l->found & LOG_BIT(cost_usd)) && w->amounts[ROLLUP_TOTAL_TOKENS] > 0,
                        MARK(UNPRICED));
}

static void worth_times(struct worth *w, const struct logline *l)
{
    const struct record *r = &l->r;
    const struct {
        uint64_t bit;
        int64_t us;
    } times[] = {
        [SPREAD_LATENCY] = {LOG_BIT(latency), r->latency_us},
        [SPREAD_TTFT] = {LOG_BIT(ttft), r->ttft_us},
        [SPREAD_UPSTREAM] = {LOG_BIT(upstream), r->upstream_us},
        [SPREAD_OVERHEAD] = {LOG_BIT(overhead), r->overhead_us},
        [SPREAD_QUEUE] = {LOG_BIT(queue), r->queue_us},
    };
    w->spread_mask = 0;
    for (size_t i = 0; i < COUNT(times); i++) { /* a value that is not there is not looked at */
        w->spreads[i] = (uint64_t)times[i].us;
        w->spread_mask |= mark_if(l->found & times[i].bit, 1u << i);
    }
    if (l->found & LOG_BIT(tokens_per_second)) {
        w->spreads[SPREAD_TOKENS_PER_SECOND] =
            (uint64_t)(int64_t)(MIN(r->tokens_per_second, 1e9) * 1000 + 0.5);
        w->spread_mask |= 1u << SPREAD_TOKENS_PER_SECOND;
    }
}

static inline struct histogram *spread_of(struct rollup_group *g, int spread)
{
    if (UNLIKELY(!g->spreads[spread]))
        g->spreads[spread] = mem_alloc(sizeof(struct histogram));
    return g->spreads[spread];
}

static uint64_t quantile_of_all(const struct rollup_view *v, const struct histogram *h,
                                double quantile)
{
    const struct exact **lists = mem_alloc(v->group_count * sizeof(struct exact *));
    for (size_t g = 0; g < v->group_count; g++)
        lists[g] = &v->groups[g]->latencies;
    uint64_t value = exact_quantile(lists, v->group_count, h, quantile);
    mem_free(lists);
    return value;
}

double rollup_quantile(const struct rollup_group *g, enum rollup_spread s, double quantile)
{
    const struct histogram *h = g->spreads[s];
    const struct exact *list = &g->latencies;
    if (!h || !h->count)
        return NAN;
    if (s == SPREAD_LATENCY && g->all_of && g->all_of->exact)
        return (double)quantile_of_all(g->all_of, h, quantile);
    if (s == SPREAD_LATENCY && list->pages)
        return (double)exact_quantile(&list, 1, h, quantile);
    return (double)histogram_quantile(h, quantile);
}

/* Sums of money that began anew stop where they are full, as sum_add's do. */
static COLD void hold_costs(struct rollup_group *g, const struct worth *w)
{
    static const enum rollup_count costs[] = {ROLLUP_COST_PICO, ROLLUP_FAILED_COST_PICO};
    for (size_t i = 0; i < COUNT(costs); i++)
        if (g->counts[costs[i]] < w->amounts[costs[i]])
            g->counts[costs[i]] = UINT64_MAX;
}

static inline void add_worth(struct rollup_group *g, const struct worth *w, uint32_t spread_mask)
{
    for (int i = 0; i < ROLLUP_AMOUNTS; i++)
        g->counts[i] += w->amounts[i];
    /* What failures cost is a part of all: full no sooner. */
    if (UNLIKELY(g->counts[ROLLUP_COST_PICO] < w->amounts[ROLLUP_COST_PICO]))
        hold_costs(g, w);
    for (uint32_t left = w->marks; left; left &= left - 1)
        g->counts[ROLLUP_AMOUNTS + __builtin_ctz(left)]++;
    for (uint32_t left = w->spread_mask & spread_mask; left; left &= left - 1) {
        int i = __builtin_ctz(left);
        histogram_add(spread_of(g, i), w->spreads[i]);
    }
    if (LIKELY(w->stamped)) {
        g->first_us = MIN(g->first_us, w->stamp_us);
        g->last_us = MAX(g->last_us, w->stamp_us);
    }
}

/* The group of a view of time only: nearly always that of the line before, since lines are nearly in order. */
static inline struct rollup_group *group_of_time(struct rollup *r, struct rollup_view *v,
                                                 const struct logline *l)
{
    struct key k;
    if (LIKELY(v->last && l->r.timestamp >= v->last_start_us &&
               l->r.timestamp < v->last_start_us + v->bucket_us))
        return v->last;
    key_of(r, &k, v, l);
    v->last = group_of(r, v, &k);
    v->last_start_us = bucket_start(v, l->r.timestamp);
    return v->last;
}

static struct rollup_group *group_of_line(struct rollup *r, struct rollup_view *v,
                                          const struct logline *l)
{
    struct key k;
    if (v->bucket_us > 0 && v->field_count == 0)
        return group_of_time(r, v, l);
    key_of(r, &k, v, l);
    return group_of(r, v, &k);
}

static COLD void forget_exact(struct rollup *r)
{
    for (int i = 0; i < r->view_count; i++) {
        struct rollup_view *v = &r->views[i];
        for (size_t g = 0; g < v->group_count && v->exact; g++)
            exact_fini(&v->groups[g]->latencies);
        v->exact = false;
    }
}

/* Some at a time: threads that count one by one would wait for each other. */
static bool take_from_pool(struct rollup *r)
{
    uint64_t have = __atomic_load_n(r->exact_pool, __ATOMIC_RELAXED), some;
    do {
        some = MIN(have, UINT64_C(1024));
    } while (!__atomic_compare_exchange_n(r->exact_pool, &have, have - some, false,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    r->exact_left = some;
    return some > 0;
}

static inline void add_exact(struct rollup *r, struct rollup_group *g, const struct worth *w)
{
    if (!(w->spread_mask >> SPREAD_LATENCY & 1))
        return;
    if (UNLIKELY(r->exact_left == 0) && !take_from_pool(r)) {
        forget_exact(r);
        return;
    }
    r->exact_left--;
    exact_add(&g->latencies, w->spreads[SPREAD_LATENCY]);
}

static inline void add_to_group(struct rollup *r, const struct rollup_view *v,
                                struct rollup_group *g, const struct worth *w)
{
    add_worth(g, w, v->spread_mask);
    if (v->exact)
        add_exact(r, g, w);
}

/* A request with several tags counts in the group of each. */
static COLD void add_to_tags(struct rollup *r, struct rollup_view *v, const struct logline *l,
                             const struct worth *w)
{
    struct str tags[LOG_REF_TAGS_MAX], values[ROLLUP_FIELDS_MAX];
    char decoded[LOG_REF_OUT_BYTES];
    struct key k;
    int count = log_ref_tags(l, tags, decoded);
    key_of(r, &k, v, l);
    memcpy(values, k.values, sizeof values);
    for (int i = 0; i < MAX(count, 1); i++) {
        memcpy(k.values, values, sizeof values); /* a full view makes "other" of them */
        k.values[v->tag_at + (v->bucket_us > 0)] = count ? tags[i] : STR_NONE;
        hash_key(r, &k);
        add_to_group(r, v, group_of(r, v, &k), w);
    }
}

void rollup_take(struct rollup *r, const struct logline *l, enum log_event event)
{
    bool stamped = l->found & LOG_BIT(timestamp);
    if (UNLIKELY(!log_is_within(l, r->since_us, r->until_us))) {
        r->outside += event == LOG_EVENT_REQUEST;
        return;
    }
    if (UNLIKELY(event == LOG_EVENT_GAP))
        r->dropped += amount_of(l, LOG_BIT(dropped), l->r.dropped);
    if (UNLIKELY(event != LOG_EVENT_REQUEST))
        return;
    struct worth w;
    w.stamp_us = l->r.timestamp;
    w.stamped = stamped;
    worth_amounts(&w, l);
    worth_marks(&w, l);
    worth_times(&w, l);
    r->matched++;
    for (int i = 0; i < r->view_count; i++) {
        struct rollup_view *v = &r->views[i];
        if ((v->only_failed && !w.failed) || (v->bucket_us > 0 && !stamped))
            continue;
        if (UNLIKELY(v->tag_at >= 0))
            add_to_tags(r, v, l, &w);
        else
            add_to_group(r, v, group_of_line(r, v, l), &w);
    }
}

/* ---- merging ---- */

static void merge_group(struct rollup_group *into, const struct rollup_group *from)
{
    for (int i = 0; i < ROLLUP_COUNT; i++)
        sum_add(&into->counts[i], from->counts[i]);
    for (int i = 0; i < SPREAD_COUNT; i++)
        if (from->spreads[i])
            histogram_merge(spread_of(into, i), from->spreads[i]);
    into->first_us = MIN(into->first_us, from->first_us);
    into->last_us = MAX(into->last_us, from->last_us);
}

struct rollup_group *rollup_sum(const struct rollup_view *v,
                                bool (*wanted)(const struct rollup_group *g, const void *arg),
                                const void *arg)
{
    struct rollup_group *total = mem_alloc(sizeof *total);
    total->first_us = INT64_MAX;
    total->last_us = INT64_MIN;
    for (size_t g = 0; g < v->group_count; g++)
        if (!wanted || wanted(v->groups[g], arg))
            merge_group(total, v->groups[g]);
    return total;
}

struct rollup_group *rollup_total(const struct rollup_view *v)
{
    struct rollup_group *total = rollup_sum(v, NULL, NULL);
    total->all_of = v;
    return total;
}

/* Latencies kept are taken over, so that no thread's are there twice. */
static void merge_exact(struct rollup *into, struct rollup *from)
{
    for (int i = 0; i < from->view_count; i++) {
        if (into->views[i].exact == from->views[i].exact)
            continue;
        forget_exact(into);
        forget_exact(from);
        return;
    }
}

void rollup_merge(struct rollup *into, struct rollup *from)
{
    struct key k;
    ENSURE(into->view_count == from->view_count);
    merge_exact(into, from);
    into->matched += from->matched;
    into->outside += from->outside;
    into->dropped += from->dropped;
    for (int i = 0; i < from->view_count; i++) {
        struct rollup_view *v = &from->views[i];
        for (size_t g = 0; g < v->group_count; g++) {
            k.count = v->field_count + (v->bucket_us > 0);
            memcpy(k.values, v->groups[g]->values, sizeof k.values);
            hash_key(into, &k);
            struct rollup_group *g_into = group_of(into, &into->views[i], &k);
            merge_group(g_into, v->groups[g]);
            exact_merge(&g_into->latencies, &v->groups[g]->latencies);
        }
    }
}
