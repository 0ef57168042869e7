/* thresholds.c -- measures a report by --fail-if's bounds. threshold_parse.c makes them of the text. */
#include "cli/threshold_parts.h"

#include <math.h>

#include "base/json.h"

/* ---- numbers ---- */

static double share(const struct rollup_group *g, int count)
{
    uint64_t requests = g->counts[ROLLUP_REQUESTS];
    return requests ? (double)g->counts[count] / (double)requests : NAN;
}

static double of_log(const struct analysis *a, int which)
{
    switch (which) {
    case LOG_NUMBER_DROPPED: return (double)a->rollup.dropped;
    case LOG_NUMBER_BROKEN: return (double)a->sum.broken;
    default: return (double)a->sum.lines;
    }
}

/* In the unit of its bound: ms, USD, a share, or a plain number. */
static double measure(const struct metric *m, const struct rollup_group *g,
                      const struct analysis *a)
{
    switch (m->from) {
    case METRIC_COUNT: return (double)g->counts[m->which];
    case METRIC_SHARE: return share(g, m->which);
    case METRIC_COST: return (double)g->counts[m->which] / 1e12;
    case METRIC_LOG: return of_log(a, m->which);
    case METRIC_SPREAD: break;
    }
    return rollup_quantile(g, (enum rollup_spread)m->which, m->quantile) / 1000;
}

static bool is_past(const struct bound *b, double value)
{
    switch (b->sign) {
    case BOUND_MORE: return value > b->value;
    case BOUND_MORE_EQUAL: return value >= b->value;
    case BOUND_LESS: return value < b->value;
    case BOUND_LESS_EQUAL: return value <= b->value;
    case BOUND_EQUAL: return value == b->value;
    case BOUND_NOT_EQUAL: return !isnan(value) && value != b->value;
    }
    return false;
}

/* ---- groups ---- */

static bool is_in_scope(const struct rollup_group *g, const void *arg)
{
    const struct threshold *t = arg;
    for (int i = 0; i < t->scope_count; i++) {
        const struct scope *s = &t->scope[i];
        struct str value = g->values[s->by];
        if (s->is_pattern ? !value.p || !log_pattern_matches(s->value, value)
                          : !str_eq(s->value, value))
            return false;
    }
    return true;
}

/* Is the first value a worse one, by the bound's direction? */
static bool is_worse(const struct bound *b, double value, double than)
{
    bool low = b->sign == BOUND_LESS || b->sign == BOUND_LESS_EQUAL;
    return isnan(than) ? !isnan(value) : low ? value < than : value > than;
}

static void measure_group(struct threshold *t, const struct rollup_group *g,
                          const struct analysis *a)
{
    double value = measure(&t->bounds[0].metric, g, a);
    bool holds = true;
    for (int i = 0; i < t->bound_count; i++)
        holds &= is_past(&t->bounds[i], measure(&t->bounds[i].metric, g, a));
    bool first = isnan(t->value) && !t->holds;
    if (holds < t->holds ||
        (holds == t->holds && !first && !is_worse(&t->bounds[0], value, t->value)))
        return;
    t->holds = holds;
    t->value = value;
    t->group = g;
}

/* The worst group is told, so that one line says where to look. */
static void measure_any(struct threshold *t, const struct analysis *a)
{
    struct rollup_group **sorted = analysis_sorted(a->by);
    for (size_t i = 0; i < a->by->group_count; i++)
        if (is_in_scope(sorted[i], t))
            measure_group(t, sorted[i], a);
    mem_free(sorted);
}

static void measure_one(struct threshold *t, const struct analysis *a)
{
    t->value = NAN;
    t->holds = false;
    t->group = NULL;
    if (t->any) {
        measure_any(t, a);
    } else if (t->scope_count) {
        struct rollup_group *sum = rollup_sum(a->by, is_in_scope, t);
        measure_group(t, sum, a);
        rollup_group_free(sum);
        t->group = NULL;
    } else {
        measure_group(t, a->total, a);
        t->group = NULL;
    }
}

bool thresholds_check(struct thresholds *t, const struct analysis *a)
{
    bool fails = false, no_data = a->total->counts[ROLLUP_REQUESTS] == 0;
    for (int i = 0; i < t->count; i++) {
        if (t->all[i].no_data)
            continue;
        measure_one(&t->all[i], a);
        no_data |= isnan(t->all[i].value);
        fails |= t->all[i].holds;
    }
    for (int i = 0; i < t->count; i++) {
        if (!t->all[i].no_data)
            continue;
        t->all[i].holds = no_data;
        fails |= no_data;
    }
    return fails;
}

/* ---- telling ---- */

static struct num show(const struct metric *m, double value)
{
    switch (m->unit) {
    case QUANTITY_MS: return num_ms(value * 1000);
    case QUANTITY_USD: return num_usd(value);
    case QUANTITY_SHARE: return num_pct(value);
    case QUANTITY_NUMBER: break;
    }
    return m->from == METRIC_SPREAD ? num_rate(value) : num_count(value);
}

static void write_group(const struct thresholds *t, const struct threshold *one,
                        const struct term *term)
{
    for (int i = 0; i < t->by_count; i++) {
        struct str value = one->group->values[i];
        term_put(term, STYLE_NONE, i ? STR(", ") : STR(" ("), 0);
        term_put(term, STYLE_NONE, str_from(t->by[i].name), 0);
        term_put(term, STYLE_NONE, STR(" "), 0);
        term_put(term, STYLE_NONE, value.n ? value : STR("-"), 80);
    }
    term_put(term, STYLE_NONE, STR(")"), 0);
}

void thresholds_write(const struct thresholds *t, const struct term *term)
{
    for (int i = 0; i < t->count; i++) {
        const struct threshold *one = &t->all[i];
        if (!one->holds)
            continue;
        term_put(term, STYLE_NONE, STR("weir analyze: --fail-if: "), 0);
        term_put(term, STYLE_BAD, one->text, 0);
        term_put(term, STYLE_NONE, STR(": "), 0);
        if (one->no_data)
            term_put(term, STYLE_NONE, STR("there is nothing to measure by"), 0);
        else
            term_put(term, STYLE_NONE, str_from(show(&one->bounds[0].metric, one->value).text), 0);
        if (one->group)
            write_group(t, one, term);
        fputc('\n', term->out);
    }
}

static void put_group(struct json_out *j, const struct thresholds *t, const struct threshold *one)
{
    if (one->group)
        analysis_put_keys(j, "group", t->by, t->by_count, one->group->values);
    else
        json_text(j, "group", STR_NONE);
}

void thresholds_write_json(const struct thresholds *t, struct json_out *j, const char *name)
{
    json_nest(j, name, "[");
    for (int i = 0; i < t->count; i++) {
        const struct threshold *one = &t->all[i];
        json_nest(j, NULL, "{");
        json_text(j, "text", one->text);
        json_bool(j, "holds", one->holds);
        json_number(j, "value", one->no_data ? NAN : one->value, "%.12g");
        json_number(j, "bound", one->no_data ? NAN : one->bounds[0].value, "%.12g");
        put_group(j, t, one);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

void thresholds_free(struct thresholds *t)
{
    if (!t)
        return;
    arena_fini(&t->arena);
    mem_free(t);
}
