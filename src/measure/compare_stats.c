/* compare_stats.c -- see compare_stats.h. */
#include "measure/compare_stats.h"

#include <math.h>

#include "base/mem.h"

const char *const verdict_names[] = {"faster", "slower", "equivalent", "inconclusive"};

static const double confidence = .95;

/* (z(0.975) + z(0.8))^2 = 7.85, twice since two values differ, and over 3 / pi, the signed-rank test's efficiency among normal values. */
static const double power_factor = 16.4;

double compare_blocks_needed(double sigma, double effect)
{
    double step = log1p(effect);
    return ceil(power_factor * sigma * sigma / (step * step));
}

/* ---- one system ---- */

struct estimate compare_level(const double *sorted, size_t n, double n_eff, double quantile)
{
    struct estimate e = {NAN, NAN, NAN, false, quantile_needs(quantile)};
    uint64_t low, high;
    if (!quantile_ranks(n, quantile, &low, &high)) {
        e.refused = true;
        return e;
    }
    e.value = sorted_quantile(sorted, n, quantile);
    double middle = quantile * (double)n, wider = sqrt((double)n / n_eff);
    double first = floor(middle - (middle - (double)low) * wider);
    double last = ceil(middle + ((double)high - middle) * wider);
    if (first >= 1 && last <= (double)n) {
        e.low = sorted[(size_t)first - 1];
        e.high = sorted[(size_t)last - 1];
    }
    return e;
}

/* Lag-1 autocorrelation of logarithms of the finite values, in the order given. */
static double autocorrelation(const double *values, size_t n)
{
    double mean = 0, sum = 0, squares = 0, before = NAN;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isinf(values[i])) {
            mean += log(values[i]);
            count++;
        }
    }
    if (count < 8)
        return NAN;
    mean /= (double)count;
    for (size_t i = 0; i < n; i++) {
        if (isinf(values[i]))
            continue;
        double from_mean = log(values[i]) - mean;
        squares += from_mean * from_mean;
        sum += isnan(before) ? 0 : before * from_mean;
        before = from_mean;
    }
    return squares > 1e-18 * (double)count ? sum / squares
                                           : 0; /* else all alike, but for rounding */
}

static double median_of(double *values, size_t n)
{
    sort_doubles(values, n);
    return sorted_quantile(values, n, .5);
}

static void describe_system(const double *values, size_t blocks, size_t systems, size_t which,
                            struct compare_system *out)
{
    double *kept = mem_alloc(MAX(blocks, (size_t)1) * sizeof *kept);
    *out = (struct compare_system){.autocorrelation = NAN, .later = NAN};
    for (size_t b = 0; b < blocks; b++) {
        double value = values[b * systems + which];
        if (isnan(value))
            continue;
        kept[out->values++] = value;
        out->failures += isinf(value) != 0;
    }
    size_t n = out->values, half = n / 2;
    out->autocorrelation = autocorrelation(kept, n);
    double r = n > 0 && out->autocorrelation > 0 ? MIN(out->autocorrelation, .9) : 0;
    double n_eff = (double)n * (1 - r) / (1 + r);
    if (half >= COMPARE_BLOCKS_LEAST)
        out->later = median_of(kept + n - half, half) / median_of(kept, half);
    sort_doubles(kept, n);
    out->median = compare_level(kept, n, n_eff, .5);
    out->p95 = compare_level(kept, n, n_eff, .95);
    out->p99 = compare_level(kept, n, n_eff, .99);
    mem_free(kept);
}

/* ---- a pair ---- */

struct columns { /* of the blocks that have a value of both, in their order */
    double *a, *b, *log_ratios;
    size_t n, log_ratio_count; /* fewer: without those in which both failed */
};

static void columns_init(struct columns *c, const double *values, size_t blocks, size_t systems,
                         const struct compare_pair *p)
{
    size_t room = MAX(blocks, (size_t)1) * sizeof(double);
    *c = (struct columns){mem_alloc(room), mem_alloc(room), mem_alloc(room), 0, 0};
    for (size_t i = 0; i < blocks; i++) {
        double a = values[i * systems + p->a], b = values[i * systems + p->b];
        if (isnan(a) || isnan(b))
            continue;
        c->a[c->n] = a;
        c->b[c->n++] = b;
        if (!isinf(a) || !isinf(b))
            c->log_ratios[c->log_ratio_count++] = log_ratio(a, b);
    }
}

static void columns_fini(struct columns *c)
{
    mem_free(c->a);
    mem_free(c->b);
    mem_free(c->log_ratios);
}

/* sd of the finite log-ratios over the square root of 2. */
static double sigma_of(const double *log_ratios, size_t n)
{
    double mean = 0, squares = 0;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (isinf(log_ratios[i]))
            continue;
        double from_mean = log_ratios[i] - mean; /* Welford */
        mean += from_mean / (double)++count;
        squares += from_mean * (log_ratios[i] - mean);
    }
    return count < 2 ? NAN : sqrt(squares / (double)(count - 1) / 2);
}

static struct ratio ratio_from(struct shift s)
{
    return (struct ratio){exp(s.value), exp(s.low), exp(s.high)};
}

static void bootstrap_pair(const struct columns *c, const struct compare_plan *plan,
                           struct compare_pair *p)
{
    static const double quantiles[] = {.5, .95, .99};
    struct ratio *const into[] = {&p->median, &p->p95, &p->p99};
    struct ratio ratios[COUNT(quantiles)];
    size_t count = 0; /* those that so many blocks carry */
    while (count < COUNT(quantiles) && c->n >= quantile_needs(quantiles[count]))
        count++;
    for (size_t q = 0; q < COUNT(into); q++)
        *into[q] = (struct ratio){NAN, NAN, NAN};
    bootstrap_ratios(&(struct bootstrap){plan->resamples, confidence, plan->seed}, c->a, c->b, c->n,
                     quantiles, count, ratios);
    for (size_t q = 0; q < count; q++)
        *into[q] = ratios[q];
}

static void count_wins(const struct columns *c, struct compare_pair *p)
{
    uint64_t halves = 0;
    for (size_t i = 0; i < c->n; i++)
        halves += c->a[i] < c->b[i] ? 2 : c->a[i] > c->b[i] ? 0 : 1;
    p->less = c->n ? (double)halves / 2 / (double)c->n : NAN;
    p->less_span = wilson_interval(halves / 2, c->n);
}

/* All but the verdict, which needs p of the others. */
static void measure_pair(const double *values, size_t blocks, size_t systems,
                         const struct compare_plan *plan, struct compare_pair *p)
{
    struct columns c;
    columns_init(&c, values, blocks, systems, p);
    size_t n = c.log_ratio_count, half = n / 2;
    p->blocks = c.n;
    p->p = n >= COMPARE_BLOCKS_LEAST ? signed_rank_test(c.log_ratios, n).p : 1;
    p->typical = ratio_from(hodges_lehmann(c.log_ratios, n, confidence));
    p->sigma = sigma_of(c.log_ratios, n);
    p->need_blocks = compare_blocks_needed(p->sigma, plan->min_effect);
    p->seen = n ? expm1(sqrt(power_factor * p->sigma * p->sigma / (double)n)) : NAN;
    p->later = NAN;
    if (half >= COMPARE_BLOCKS_LEAST)
        p->later = exp(hodges_lehmann(c.log_ratios + n - half, half, 0).value -
                       hodges_lehmann(c.log_ratios, half, 0).value);
    count_wins(&c, p);
    bootstrap_pair(&c, plan, p);
    columns_fini(&c);
}

/* ---- the verdict ---- */

static bool is_within(struct ratio r, double least, double most)
{
    return r.low >= least && r.high <= most; /* false for NaN */
}

/* Both effects' intervals within the minimum, the typical one's widened for many pairs. */
static bool is_equivalent(const double *values, const struct compare_result *r,
                          const struct compare_plan *plan, const struct compare_pair *p)
{
    double most = 1 + plan->min_effect, least = 1 / most;
    double error = 2 * plan->alpha / (double)r->pair_count;
    if (!is_within(p->typical, least, most) || !is_within(p->median, least, most))
        return false;
    if (error >= 1 - confidence)
        return true;
    struct columns c;
    columns_init(&c, values, r->blocks, r->systems, p);
    struct ratio wider = ratio_from(hodges_lehmann(c.log_ratios, c.log_ratio_count, 1 - error));
    columns_fini(&c);
    return is_within(wider, least, most);
}

static enum verdict decide(const double *values, const struct compare_result *r,
                           const struct compare_plan *plan, const struct compare_pair *p)
{
    if (is_equivalent(values, r, plan, p))
        return VERDICT_EQUIVALENT;
    if (r->nothing_shown || !(p->p_holm < plan->alpha))
        return VERDICT_INCONCLUSIVE;
    return p->typical.value < 1 ? VERDICT_FASTER : VERDICT_SLOWER;
}

static void correct_for_many(struct compare_result *r)
{
    double *p = mem_alloc(MAX(r->pair_count, (size_t)1) * sizeof *p);
    for (size_t i = 0; i < r->pair_count; i++)
        p[i] = r->pair[i].p;
    holm_adjust(p, r->pair_count);
    for (size_t i = 0; i < r->pair_count; i++)
        r->pair[i].p_holm = p[i];
    mem_free(p);
}

/* Of the systems that have values at all: one without would leave no block whole. */
static struct friedman friedman_of(const double *values, size_t blocks, size_t systems,
                                   const struct compare_system *system)
{
    double *kept = mem_alloc(MAX(blocks * systems, (size_t)1) * sizeof *kept);
    struct friedman f = {NAN, NAN, 0};
    size_t n = 0, count = 0;
    for (size_t s = 0; s < systems; s++)
        count += system[s].values > 0;
    for (size_t i = 0; i < blocks * systems; i++)
        if (system[i % systems].values > 0)
            kept[n++] = values[i];
    if (count > 2)
        f = friedman_test(kept, blocks, count);
    mem_free(kept);
    return f;
}

void compare_values(const double *values, size_t blocks, size_t systems,
                    const struct compare_plan *plan, struct compare_result *out)
{
    size_t pairs = systems * (systems - 1) / 2, at = 0;
    *out = (struct compare_result){.systems = systems, .blocks = blocks, .pair_count = pairs};
    out->system = mem_alloc(systems * sizeof *out->system);
    out->pair = mem_alloc(MAX(pairs, (size_t)1) * sizeof *out->pair);
    for (size_t s = 0; s < systems; s++)
        describe_system(values, blocks, systems, s, &out->system[s]);
    out->friedman = friedman_of(values, blocks, systems, out->system);
    out->nothing_shown = out->friedman.p >= plan->alpha;
    for (uint32_t a = 0; a < systems; a++) {
        for (uint32_t b = a + 1; b < systems; b++, at++) {
            out->pair[at] = (struct compare_pair){.a = a, .b = b};
            measure_pair(values, blocks, systems, plan, &out->pair[at]);
        }
    }
    correct_for_many(out);
    for (size_t i = 0; i < pairs; i++) {
        struct compare_pair *p = &out->pair[i];
        double most = 1 + plan->min_effect;
        p->verdict = decide(values, out, plan, p);
        p->beyond = (p->verdict == VERDICT_FASTER && p->typical.high < 1 / most) ||
                    (p->verdict == VERDICT_SLOWER && p->typical.low > most);
    }
}

void compare_result_fini(struct compare_result *r)
{
    mem_free(r->system);
    mem_free(r->pair);
    *r = (struct compare_result){0};
}

const struct compare_pair *compare_pair_of(const struct compare_result *r, uint32_t a, uint32_t b,
                                           bool *turned)
{
    *turned = a > b;
    for (size_t i = 0; i < r->pair_count; i++)
        if (r->pair[i].a == MIN(a, b) && r->pair[i].b == MAX(a, b))
            return &r->pair[i];
    return NULL;
}

/* ---- success ---- */

void compare_successes(const signed char *good, size_t blocks, size_t systems,
                       struct compare_success *out)
{
    size_t at = 0;
    double *p = mem_alloc(MAX(systems * systems, (size_t)1) * sizeof *p);
    for (uint32_t a = 0; a < systems; a++) {
        for (uint32_t b = a + 1; b < systems; b++, at++) {
            out[at] = (struct compare_success){.a = a, .b = b};
            for (size_t i = 0; i < blocks; i++) {
                signed char of_a = good[i * systems + a], of_b = good[i * systems + b];
                if (of_a < 0 || of_b < 0)
                    continue;
                out[at].blocks++;
                out[at].only_a += of_a > of_b;
                out[at].only_b += of_b > of_a;
            }
            p[at] = out[at].p = mcnemar_p(out[at].only_a, out[at].only_b);
        }
    }
    holm_adjust(p, at);
    for (size_t i = 0; i < at; i++)
        out[i].p_holm = p[i];
    mem_free(p);
}
