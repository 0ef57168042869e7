/* window_compare.c -- see window_compare.h. */
#include "observe/window_compare.h"

#include <math.h>

#define US_PER_HOUR   3.6e9
#define US_PER_MINUTE INT64_C(60000000)

double window_hours(int64_t from_us, int64_t until_us)
{
    return until_us > from_us ? (double)MAX(until_us - from_us, US_PER_MINUTE) / US_PER_HOUR
                              : (double)US_PER_MINUTE / US_PER_HOUR;
}

/* ---- what moved ---- */

// clang-format off
static const struct row {
    const char *name, *label;
    enum change_kind kind;
    bool worse_up;
    int which;       /* rollup_count, or of a time rollup_spread */
    double quantile; /* of a time */
} rows[WINDOW_CHANGES] = {
    {"requests_per_hour", "Requests per hour", CHANGE_COUNT, false, ROLLUP_REQUESTS, 0},
    {"error_rate", "Error rate", CHANGE_SHARE, true, ROLLUP_FAILURE, 0},
    {"cancelled_rate", "Cancelled", CHANGE_SHARE, true, ROLLUP_CANCELLED, 0},
    {"latency_p50_ms", "Latency p50", CHANGE_TIME, true, SPREAD_LATENCY, .5},
    {"latency_p95_ms", "Latency p95", CHANGE_TIME, true, SPREAD_LATENCY, .95},
    {"latency_p99_ms", "Latency p99", CHANGE_TIME, true, SPREAD_LATENCY, .99},
    {"ttft_p50_ms", "First token p50", CHANGE_TIME, true, SPREAD_TTFT, .5},
    {"ttft_p95_ms", "First token p95", CHANGE_TIME, true, SPREAD_TTFT, .95},
    {"tokens_per_hour", "Tokens per hour", CHANGE_COUNT, false, ROLLUP_TOTAL_TOKENS, 0},
    {"cost_usd_per_hour", "Cost per hour", CHANGE_USD, true, ROLLUP_COST_PICO, 0},
    {"cache_hit_rate", "From cache", CHANGE_SHARE, false, ROLLUP_CACHE_HITS, 0},
    {"attempts_per_hour", "Attempts per hour", CHANGE_COUNT, true, ROLLUP_ATTEMPTS, 0},
};
// clang-format on

static double value_of(const struct row *r, const struct window *w)
{
    const uint64_t *counts = w->total->counts;
    double requests = (double)counts[ROLLUP_REQUESTS];
    switch (r->kind) {
    case CHANGE_COUNT: return (double)counts[r->which] / w->hours;
    case CHANGE_USD: return (double)counts[r->which] / 1e12 / w->hours;
    case CHANGE_SHARE: return requests > 0 ? (double)counts[r->which] / requests : NAN;
    case CHANGE_TIME: return rollup_quantile(w->total, (enum rollup_spread)r->which, r->quantile);
    }
    return NAN;
}

static double p_of(const struct row *r, const struct window *now, const struct window *before)
{
    const uint64_t *x = now->total->counts, *y = before->total->counts;
    if (r->kind == CHANGE_SHARE)
        return proportions_p(x[r->which], x[ROLLUP_REQUESTS], y[r->which], y[ROLLUP_REQUESTS]);
    if (r->kind == CHANGE_TIME)
        return rank_test(now->total->spreads[r->which], before->total->spreads[r->which]).p;
    return NAN;
}

void window_changes(const struct window *now, const struct window *before,
                    struct change changes[WINDOW_CHANGES])
{
    for (size_t i = 0; i < COUNT(rows); i++)
        changes[i] = (struct change){.name = rows[i].name,
                                     .label = rows[i].label,
                                     .kind = rows[i].kind,
                                     .worse_up = rows[i].worse_up,
                                     .before = value_of(&rows[i], before),
                                     .now = value_of(&rows[i], now),
                                     .p = p_of(&rows[i], now, before)};
}

/* Five things are tested: three shares, and two spreads of times, whose quantiles share a test. */
bool change_is_real(const struct change *c)
{
    return c->p < SIGNIFICANCE_P / 5;
}

/* ---- what explains it ---- */

static double amount_of(const struct rollup_group *g, enum explained what)
{
    switch (what) {
    case EXPLAIN_ERRORS: return (double)g->counts[ROLLUP_FAILURE];
    case EXPLAIN_COST: return (double)g->counts[ROLLUP_COST_PICO] / 1e12;
    case EXPLAIN_TIME:
        return g->spreads[SPREAD_LATENCY] ? g->spreads[SPREAD_LATENCY]->sum / 1e6 : 0;
    case EXPLAIN_COUNT: break;
    }
    return 0;
}

/* A missing text before an empty one: they are two groups. */
static int by_values(const struct rollup_group *a, const struct rollup_group *b)
{
    for (int i = 0; i < ROLLUP_FIELDS_MAX; i++) {
        struct str x = a->values[i], y = b->values[i];
        size_t n = MIN(x.n, y.n);
        int order = n ? memcmp(x.p, y.p, n) : 0;
        if (order || x.n != y.n)
            return order ? order : x.n < y.n ? -1 : 1;
        if (!x.p != !y.p)
            return x.p ? 1 : -1;
    }
    return 0;
}

static int by_key(const void *a, const void *b)
{
    return by_values(*(struct rollup_group *const *)a, *(struct rollup_group *const *)b);
}

static struct rollup_group **sorted_by_key(const struct rollup_view *v)
{
    struct rollup_group **sorted = mem_alloc(MAX(v->group_count, (size_t)1) * sizeof *sorted);
    if (v->group_count)
        memcpy(sorted, v->groups, v->group_count * sizeof *sorted);
    qsort(sorted, v->group_count, sizeof *sorted, by_key);
    return sorted;
}

/* The groups of both, those with the same key as one. Returns how many there are. */
static size_t pair_up(const struct rollup_view *now, const struct rollup_view *before,
                      struct contribution *out)
{
    struct rollup_group **x = sorted_by_key(now), **y = sorted_by_key(before);
    size_t i = 0, k = 0, n = 0;
    while (i < now->group_count || k < before->group_count) {
        int order = i == now->group_count      ? 1
                    : k == before->group_count ? -1
                                               : by_values(x[i], y[k]);
        out[n] = (struct contribution){0};
        if (order <= 0)
            out[n].now = x[i++];
        if (order >= 0)
            out[n].before = y[k++];
        n++;
    }
    mem_free(x);
    mem_free(y);
    return n;
}

static double moved(const struct contribution *c)
{
    return c->now_per_hour - c->before_per_hour;
}

static int by_change(const void *a, const void *b)
{
    const struct contribution *x = a, *y = b;
    double mx = fabs(moved(x)), my = fabs(moved(y));
    if (mx != my)
        return mx < my ? 1 : -1;
    return by_values(x->now ? x->now : x->before, y->now ? y->now : y->before);
}

struct contribution *window_explain(const struct rollup_view *now, double now_hours,
                                    const struct rollup_view *before, double before_hours,
                                    enum explained what, size_t *count)
{
    size_t room = now->group_count + before->group_count;
    struct contribution *all = mem_alloc(MAX(room, (size_t)1) * sizeof *all);
    size_t n = pair_up(now, before, all);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        all[i].now_per_hour = all[i].now ? amount_of(all[i].now, what) / now_hours : 0;
        all[i].before_per_hour = all[i].before ? amount_of(all[i].before, what) / before_hours : 0;
        sum += fabs(moved(&all[i]));
    }
    for (size_t i = 0; i < n; i++)
        all[i].share = sum > 0 ? moved(&all[i]) / sum : 0;
    qsort(all, n, sizeof *all, by_change);
    *count = n;
    return all;
}
