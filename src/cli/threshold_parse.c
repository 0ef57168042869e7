/* threshold_parse.c -- reads the text of --fail-if:
 *
 *   list      = threshold { (or | ,) threshold }
 *   threshold = no_data | [any] NUMBER [scope] SIGN VALUE { and NUMBER SIGN VALUE }
 *   scope     = '[' FIELD (= | ~) VALUE { , FIELD (= | ~) VALUE } ']' */
#include <math.h>

#include "base/tokens.h"
#include "cli/threshold_parts.h"

struct parser {
    struct tokens t;
    struct thresholds *all;
    struct err *e;
    size_t end; /* of the last token taken */
};

// clang-format off
static const struct { const char *name; struct metric metric; } metrics[] = {
    {"error_rate", {METRIC_SHARE, ROLLUP_FAILURE, 0, QUANTITY_SHARE}},
    {"success_rate", {METRIC_SHARE, ROLLUP_SUCCESS, 0, QUANTITY_SHARE}},
    {"cancelled_rate", {METRIC_SHARE, ROLLUP_CANCELLED, 0, QUANTITY_SHARE}},
    {"slow_rate", {METRIC_SHARE, ROLLUP_SLOW, 0, QUANTITY_SHARE}},
    {"cache_hit_rate", {METRIC_SHARE, ROLLUP_CACHE_HITS, 0, QUANTITY_SHARE}},
    {"cost_usd", {METRIC_COST, ROLLUP_COST_PICO, 0, QUANTITY_USD}},
    {"failed_cost_usd", {METRIC_COST, ROLLUP_FAILED_COST_PICO, 0, QUANTITY_USD}},
    {"dropped", {METRIC_LOG, LOG_NUMBER_DROPPED, 0, QUANTITY_NUMBER}},
    {"broken", {METRIC_LOG, LOG_NUMBER_BROKEN, 0, QUANTITY_NUMBER}},
    {"lines", {METRIC_LOG, LOG_NUMBER_LINES, 0, QUANTITY_NUMBER}},
};
static const struct { const char *name; enum rollup_spread spread; enum quantity unit; } spreads[] = {
    {"latency", SPREAD_LATENCY, QUANTITY_MS},
    {"ttft", SPREAD_TTFT, QUANTITY_MS},
    {"upstream", SPREAD_UPSTREAM, QUANTITY_MS},
    {"overhead", SPREAD_OVERHEAD, QUANTITY_MS},
    {"queue", SPREAD_QUEUE, QUANTITY_MS},
    {"tokens_per_second", SPREAD_TOKENS_PER_SECOND, QUANTITY_NUMBER},
};
static const struct { const char *text; enum bound_sign sign; } signs[] = {
    {">", BOUND_MORE}, {">=", BOUND_MORE_EQUAL}, {"<", BOUND_LESS}, {"<=", BOUND_LESS_EQUAL},
    {"=", BOUND_EQUAL}, {"==", BOUND_EQUAL}, {"!=", BOUND_NOT_EQUAL},
};
// clang-format on

static void next(struct parser *p)
{
    p->end = p->t.next_at;
    tokens_next(&p->t);
}

static bool take(struct parser *p, const char *word)
{
    bool is = tokens_at(&p->t, word);
    if (is)
        next(p);
    return is;
}

/* ---- numbers of a report ---- */

/* "p95", "p99.9", "min", "max". */
static bool read_statistic(struct str text, double *quantile)
{
    double percent;
    if (str_eq(text, STR("min")) || str_eq(text, STR("max"))) {
        *quantile = text.p[1] == 'a';
        return true;
    }
    if (!str_starts(text, STR("p")) || !str_to_f64(str_skip(text, 1), &percent) || percent <= 0 ||
        percent >= 100)
        return false;
    *quantile = percent / 100;
    return true;
}

/* "latency_p95", and as CSV's columns are called: "latency_p95_ms". */
static bool read_spread(struct str name, struct metric *m)
{
    double quantile;
    if (read_statistic(name, &quantile)) {
        *m = (struct metric){METRIC_SPREAD, SPREAD_LATENCY, quantile, QUANTITY_MS};
        return true;
    }
    name.n -= str_ends(name, STR("_ms")) ? 3 : 0;
    for (size_t i = 0; i < COUNT(spreads); i++) {
        struct str head = str_from(spreads[i].name);
        if (!str_starts(name, head) || name.n <= head.n || name.p[head.n] != '_' ||
            !read_statistic(str_skip(name, head.n + 1), &quantile))
            continue;
        *m = (struct metric){METRIC_SPREAD, (int)spreads[i].spread, quantile, spreads[i].unit};
        return true;
    }
    return false;
}

static bool read_metric(struct str name, struct metric *m)
{
    for (size_t i = 0; i < COUNT(metrics); i++) {
        if (str_eq(name, str_from(metrics[i].name))) {
            *m = metrics[i].metric;
            return true;
        }
    }
    for (size_t i = 0; i < analysis_count_count; i++) {
        if (str_eq(name, str_from(analysis_counts[i].name))) {
            *m = (struct metric){METRIC_COUNT, (int)analysis_counts[i].count, 0, QUANTITY_NUMBER};
            return true;
        }
    }
    return read_spread(name, m);
}

static const char *nearest_metric(struct str name)
{
    const char *nearest = "latency_p95";
    int best = str_distance(str_from(nearest), name);
    for (size_t i = 0; i < COUNT(metrics) + analysis_count_count; i++) {
        const char *known =
            i < COUNT(metrics) ? metrics[i].name : analysis_counts[i - COUNT(metrics)].name;
        int distance = str_distance(str_from(known), name);
        if (distance < best) {
            best = distance;
            nearest = known;
        }
    }
    return nearest;
}

static bool take_metric(struct parser *p, struct metric *m)
{
    struct str name = p->t.now.text;
    if (p->t.now.kind != TOKEN_WORD)
        return tokens_fail(&p->t, p->e,
                           "expected a number of the report, such as error_rate or p95");
    if (!read_metric(name, m))
        return tokens_fail(
            &p->t, p->e,
            "expected a number of the report, such as error_rate or latency_p95; did "
            "you mean %s?",
            nearest_metric(name));
    next(p);
    return true;
}

/* ---- the scope ---- */

static bool take_scope_field(struct parser *p, int *by)
{
    for (int i = 0; i < p->all->by_count; i++) {
        if (p->t.now.kind == TOKEN_WORD && str_eq(p->t.now.text, str_from(p->all->by[i].name))) {
            *by = i;
            next(p);
            return true;
        }
    }
    return tokens_fail(&p->t, p->e, "expected a field of --by, such as %s", p->all->by[0].name);
}

static bool take_scope(struct parser *p, struct threshold *t)
{
    do {
        struct scope *s = &t->scope[t->scope_count];
        if (t->scope_count == ROLLUP_FIELDS_MAX)
            return tokens_fail(&p->t, p->e, "expected at most %d fields", ROLLUP_FIELDS_MAX);
        if (!take_scope_field(p, &s->by))
            return false;
        s->is_pattern = take(p, "~");
        if (!s->is_pattern && !take(p, "=") && !take(p, "=="))
            return tokens_fail(&p->t, p->e, "expected = or ~");
        if (p->t.now.kind != TOKEN_WORD && p->t.now.kind != TOKEN_TEXT)
            return tokens_fail(&p->t, p->e, "expected a value");
        s->value = p->t.now.text;
        t->scope_count++;
        next(p);
    } while (take(p, ","));
    return take(p, "]") || tokens_fail(&p->t, p->e, "expected , or ]");
}

/* ---- thresholds ---- */

static bool take_bound(struct parser *p, struct bound *b)
{
    struct err e = {0};
    size_t i = 0;
    while (i < COUNT(signs) && !tokens_at(&p->t, signs[i].text))
        i++;
    if (i == COUNT(signs))
        return tokens_fail(&p->t, p->e, "expected > >= < <= = or !=");
    b->sign = signs[i].sign;
    next(p);
    if (p->t.now.kind != TOKEN_WORD && p->t.now.kind != TOKEN_TEXT)
        return tokens_fail(&p->t, p->e, "expected a bound, such as 5%%, 2s or 100");
    if (!quantity_parse(p->t.now.text, b->metric.unit, &b->value, &e))
        return tokens_fail(&p->t, p->e, "%s", e.text);
    if (b->metric.unit == QUANTITY_SHARE && b->value > 1)
        return tokens_fail(&p->t, p->e, "expected a share of at most 100%%: 5%% or 0.05");
    next(p);
    return true;
}

static bool take_condition(struct parser *p, struct threshold *t)
{
    if (t->bound_count == THRESHOLD_BOUNDS_MAX)
        return tokens_fail(&p->t, p->e, "expected at most %d numbers", THRESHOLD_BOUNDS_MAX);
    struct tokens at = p->t;
    struct bound *b = &t->bounds[t->bound_count++];
    if (!take_metric(p, &b->metric))
        return false;
    if (t->bound_count == 1 && take(p, "[") && !take_scope(p, t))
        return false;
    if (b->metric.from == METRIC_LOG && (t->any || t->scope_count))
        return tokens_fail(&at, p->e, "%.*s is of the whole log: expected neither any nor [ ]",
                           STR_ARG(at.now.text));
    return take_bound(p, b);
}

static bool take_threshold(struct parser *p, struct threshold *t)
{
    size_t from = p->t.now.at;
    t->value = NAN;
    t->no_data = take(p, "no_data");
    if (!t->no_data) {
        t->any = take(p, "any");
        do {
            if (!take_condition(p, t))
                return false;
        } while (take(p, "and") || take(p, "&&"));
    }
    t->text = (struct str){p->t.all.p + from, p->end - from};
    return true;
}

static bool take_all(struct parser *p)
{
    do {
        if (p->all->count == THRESHOLDS_MAX)
            return tokens_fail(&p->t, p->e, "expected at most %d thresholds", THRESHOLDS_MAX);
        if (!take_threshold(p, &p->all->all[p->all->count++]))
            return false;
    } while (take(p, ",") || take(p, "or") || take(p, "||"));
    return p->t.now.kind == TOKEN_END || tokens_fail(&p->t, p->e, "expected and, or, or the end");
}

struct thresholds *thresholds_parse(struct str text, const struct log_ref *by, int by_count,
                                    struct err *e)
{
    struct thresholds *all = mem_alloc(sizeof *all);
    struct parser p = {.all = all, .e = e};
    arena_init(&all->arena, NULL, 0);
    ENSURE(by_count > 0 && by_count <= ROLLUP_FIELDS_MAX);
    memcpy(all->by, by, (size_t)by_count * sizeof *by);
    all->by_count = by_count;
    tokens_init(&p.t, arena_str(&all->arena, text));
    if (take_all(&p))
        return all;
    thresholds_free(all);
    return NULL;
}
