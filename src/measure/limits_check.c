/* limits_check.c -- measures a run by its thresholds (limits_asked.h); in a running one only those that may end it. */
#include <math.h>

#include "measure/figures.h"
#include "measure/limits_asked.h"

#define NS_A_MS 1e6

static bool holds(const struct limit_asked *l, double value)
{
    switch (l->sign) {
    case LIMIT_LESS: return value < l->bound;
    case LIMIT_LESS_EQUAL: return value <= l->bound;
    case LIMIT_MORE: return value > l->bound;
    case LIMIT_MORE_EQUAL: return value >= l->bound;
    case LIMIT_EQUAL: return value == l->bound;
    case LIMIT_NOT_EQUAL: return value != l->bound;
    }
    return false;
}

static double share(uint64_t part, uint64_t of)
{
    return of ? (double)part / (double)of : NAN;
}

static double rate(double number, double seconds)
{
    return seconds > 0 ? number / seconds : NAN;
}

/* ---- a run that is over ---- */

static const struct results_group *group_of(const struct limit_asked *l, const struct results *r)
{
    ENSURE(r != NULL);
    bool is_only = l->scope == LIMIT_MODEL ? r->model_count == 1 : r->stage_count == 1;
    if (l->scope == LIMIT_ALL || (is_only && l->index == 0))
        return &r->total; /* results_seal fills the only group: until then it is empty */
    switch (l->scope) {
    case LIMIT_MODEL: return l->index < r->model_count ? &r->by_model[l->index] : NULL;
    case LIMIT_STAGE: return l->index < r->stage_count ? &r->by_stage[l->index] : NULL;
    case LIMIT_ALL: break;
    }
    return &r->total;
}

/* Of what was sent: what was dropped, and what we ended ourselves, is told apart. */
static uint64_t failed_of(const struct results_group *g)
{
    return results_failures(g) - g->outcomes[OUTCOME_DROPPED];
}

static uint64_t answered_of(const struct results_group *g)
{
    return failed_of(g) + g->outcomes[OUTCOME_OK];
}

static double seconds_of(const struct limit_asked *l, const struct results_group *g,
                         const struct limits_input *in)
{
    if (l->scope == LIMIT_ALL)
        return in->seconds;
    return g->last_ns > g->first_ns ? (double)(g->last_ns - g->first_ns) / 1e9 : NAN;
}

/* Of `number` things: the statistic that is asked for. */
static double figure(const struct limit_asked *l, uint64_t number, uint64_t of, double seconds)
{
    if (l->stat == LIMIT_COUNT)
        return (double)number;
    return l->stat == LIMIT_SHARE ? share(number, of) : rate((double)number, seconds);
}

static double of_counts(const struct limit_asked *l, const struct results_group *g,
                        const struct limits_input *in)
{
    double seconds = seconds_of(l, g, in);
    uint64_t dropped = g->outcomes[OUTCOME_DROPPED], answered = answered_of(g);
    switch (l->of) {
    case LIMIT_ERRORS: return figure(l, failed_of(g), answered, seconds);
    case LIMIT_REQUESTS: return figure(l, answered, answered, seconds);
    case LIMIT_DROPPED:
        if (l->scope == LIMIT_ALL)
            return figure(l, in->dropped, in->offered, seconds);
        return figure(l, dropped, g->requests + dropped, seconds);
    case LIMIT_GOODPUT: return figure(l, g->good, answered + dropped, seconds);
    case LIMIT_ACHIEVED: return figure(l, in->sent, in->offered, seconds);
    case LIMIT_TOKENS:
        return figure(l, l->stat == LIMIT_COUNT ? g->completion_tokens : g->tokens_in_window, 0,
                      seconds);
    case LIMIT_METRIC: break;
    }
    return NAN;
}

/* From the results' unit to the bound's: only times differ, which are bounded in ms. */
static double to_bound(const struct limit_asked *l, double value)
{
    return measured_info(l->metric)->unit == MEASURED_NS ? value / NS_A_MS : value;
}

/* A threshold is about this run, not about others like it: where values that resemble their neighbours leave the percentile without an interval
 * (a ramp), it is held against the bound still. */
static double quantile_of(struct limit_asked *l, const struct spread *s)
{
    struct estimate e = spread_quantile(s, l->quantile);
    if (e.refused)
        snprintf(l->why, sizeof l->why,
                 "p%g needs %llu values, and there are %llu: run longer, or ask for a lower "
                 "percentile",
                 l->quantile * 100, (unsigned long long)e.need,
                 (unsigned long long)spread_count(s));
    else if (isnan(e.low))
        snprintf(l->why, sizeof l->why,
                 "of this run alone: neighbours are alike, and it takes %llu to tell p%g of others "
                 "like it",
                 (unsigned long long)e.need, l->quantile * 100);
    return e.value;
}

static double of_spread(struct limit_asked *l, const struct spread *s)
{
    if (l->stat == LIMIT_COUNT)
        return (double)spread_count(s);
    if (spread_count(s) == 0)
        return NAN;
    if (l->stat == LIMIT_MEAN)
        return to_bound(l, spread_mean(s).value);
    if (l->stat == LIMIT_STDDEV)
        return to_bound(l, spread_stddev(s));
    if (l->quantile <= 0 || l->quantile >= 1)
        return to_bound(l, l->quantile <= 0 ? spread_min(s) : spread_max(s));
    return to_bound(l, quantile_of(l, s));
}

static void refuse(struct limit_asked *l)
{
    l->verdict = LIMIT_REFUSED;
    if (l->why[0])
        return;
    const char *of = l->of == LIMIT_METRIC ? measured_info(l->metric)->key : "it";
    snprintf(l->why, sizeof l->why,
             "there is nothing to measure %s by: no request%s%s%s that has it", of,
             l->scope == LIMIT_ALL     ? ""
             : l->scope == LIMIT_MODEL ? " of model "
                                       : " of stage ",
             l->scope == LIMIT_ALL ? "" : l->name,
             l->of == LIMIT_METRIC ? "" : " was answered, or none");
}

static bool check_one(struct limit_asked *l, const struct limits_input *in)
{
    char value[64], bound[64];
    const struct results_group *g = group_of(l, in->results);
    l->why[0] = '\0';
    l->verdict = LIMIT_HELD;
    l->value = !g                      ? NAN
               : l->of == LIMIT_METRIC ? of_spread(l, &g->spreads[l->metric])
                                       : of_counts(l, g, in);
    if (isnan(l->value)) {
        refuse(l);
        return false;
    }
    if (holds(l, l->value))
        return true;
    l->verdict = LIMIT_FAILED;
    limit_asked_show(l, l->value, value, sizeof value);
    limit_asked_show(l, l->bound, bound, sizeof bound);
    snprintf(l->why, sizeof l->why, "it is %s, and the bound is %s", value, bound);
    return false;
}

bool limits_asked_check(struct limits_asked *l, const struct limits_input *in)
{
    bool good = true;
    for (size_t i = 0; i < l->count; i++)
        good &= check_one(&l->all[i], in);
    return good;
}

/* ---- a run that goes on ---- */

static double of_growing(const struct limit_asked *l, const struct spread *s)
{
    double unit = s->unit > 0 ? s->unit : 1;
    if (l->stat == LIMIT_COUNT)
        return (double)s->hdr.count;
    if (l->stat == LIMIT_MEAN)
        return to_bound(l, hdr_mean(&s->hdr) * unit);
    if (l->stat == LIMIT_STDDEV)
        return to_bound(l, hdr_stddev(&s->hdr) * unit);
    if (l->quantile <= 0 || l->quantile >= 1)
        return to_bound(l, (double)(l->quantile <= 0 ? s->hdr.min : s->hdr.max) * unit);
    if (s->hdr.count < quantile_needs(l->quantile))
        return NAN;
    return to_bound(l, (double)hdr_quantile(&s->hdr, l->quantile) * unit);
}

const struct limit_asked *limits_asked_abort(struct limits_asked *l, const struct limits_input *in,
                                             uint64_t elapsed_ns)
{
    for (size_t i = 0; i < l->count; i++) {
        struct limit_asked *one = &l->all[i];
        const struct results_group *g = group_of(one, in->results);
        if (!one->abort || elapsed_ns < one->abort_after_ns || !g ||
            results_attempts(g) < LIMIT_ABORT_CHECK_MIN)
            continue;
        double value = one->of == LIMIT_METRIC ? of_growing(one, &g->spreads[one->metric])
                                               : of_counts(one, g, in);
        if (isnan(value) || holds(one, value))
            continue;
        one->value = value;
        l->aborted = true;
        return one;
    }
    return NULL;
}

void limit_asked_show(const struct limit_asked *l, double value, char *out, size_t out_bytes)
{
    enum measured_unit unit =
        l->of == LIMIT_METRIC ? measured_info(l->metric)->unit : MEASURED_PER_S;
    const char *before = "", *after = "";
    if (l->stat == LIMIT_COUNT) {
        value = round(value);
    } else if (l->stat == LIMIT_SHARE) {
        value *= 100;
        after = " %";
    } else if (unit == MEASURED_NS) {
        bool in_s = value >= 10000;
        value /= in_s ? 1000 : 1;
        after = in_s ? " s" : " ms";
    } else if (unit == MEASURED_PER_S) {
        after = "/s";
    } else if (unit == MEASURED_USD) {
        before = "$";
    }
    snprintf(out, out_bytes, "%s%s%s", isnan(value) ? "" : before, figure_digits(value, 4).text,
             isnan(value) ? "" : after);
}
