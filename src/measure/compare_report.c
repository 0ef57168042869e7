/* compare_report.c -- see compare_report.h. */
#include "measure/compare_report.h"

#include <math.h>

#include "base/clock.h"
#include "base/mem.h"

static const struct compared_info infos[] = {
    [COMPARED_E2E] =
        {"e2e", "E2E", "_ms", "end-to-end time", "faster", "slower",
         "last token's arrival - first byte sent; of an answer that is no stream: its end"},
    [COMPARED_PER_TOKEN] = {"normalized", "Per token", "_ms", "time per token", "faster", "slower",
                            "E2E / tokens of the answer"},
    [COMPARED_TTFT] = {"ttft", "TTFT", "_ms", "time to first token", "faster", "slower",
                       "first token's arrival - first byte sent, over a kept connection"},
    [COMPARED_TPOT] = {"tpot", "TPOT", "_ms", "time per token after the first", "faster", "slower",
                       "(last token - first token) / (tokens - 1)"},
    [COMPARED_COST] = {"cost_per_1k", "Cost/1k", "_usd", "cost", "cheaper", "dearer",
                       "cost / (prompt tokens + completion tokens) x 1,000"},
};

/* Blocks with answers of one length, as a share of all, from which totals are compared over them. */
static const double equal_share = .9;

const struct compared_info *compared_info(enum compared c)
{
    return &infos[c];
}

/* ---- values ---- */

static double ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return from_ns && to_ns > from_ns ? (double)(to_ns - from_ns) / (double)NS_PER_MS : NAN;
}

static double e2e_ms(const struct sample *s)
{
    uint64_t end_ns = s->stream && s->last_token_ns ? s->last_token_ns : s->end_ns;
    return ms_between(s->sent_first_ns, end_ns);
}

static double value_of(const struct compare_trial *t, enum compared c)
{
    const struct sample *s = &t->sample;
    double tokens = (double)s->completion_tokens;
    double all_tokens = (double)(MAX(s->prompt_tokens, 0) + MAX(s->completion_tokens, 0));
    if (s->outcome != OUTCOME_OK)
        return c == COMPARED_COST ? NAN : INFINITY;
    switch (c) {
    case COMPARED_E2E: return e2e_ms(s);
    case COMPARED_PER_TOKEN: return tokens >= 1 ? e2e_ms(s) / tokens : NAN;
    case COMPARED_TTFT: return ms_between(s->sent_first_ns, s->first_token_ns);
    case COMPARED_TPOT:
        return tokens >= 2 ? ms_between(s->first_token_ns, s->last_token_ns) / (tokens - 1) : NAN;
    case COMPARED_COST:
        return t->cost_usd >= 0 && all_tokens > 0 ? 1000 * t->cost_usd / all_tokens : NAN;
    case COMPARED_COUNT: break;
    }
    return NAN;
}

/* The row of each measured trial is its block's number of order; blocks are numbered as they were planned, and some may be missing. */
struct rows {
    const struct compare_run *run;
    size_t models, count;
    const struct compare_trial **trials; /* [row * models + model] */
};

static int compare_blocks(const void *x, const void *y)
{
    const struct compare_trial *a = *(const struct compare_trial *const *)x;
    const struct compare_trial *b = *(const struct compare_trial *const *)y;
    if (a->block != b->block)
        return a->block < b->block ? -1 : 1;
    return a->model < b->model ? -1 : a->model > b->model;
}

static void rows_init(struct rows *rows, const struct compare_run *run)
{
    size_t n = 0;
    *rows = (struct rows){.run = run, .models = run->options->model_count};
    rows->trials = mem_alloc(MAX(run->trial_count, (size_t)1) * sizeof *rows->trials);
    for (size_t i = 0; i < run->trial_count; i++)
        if (run->trials[i].phase == PHASE_MEASURED)
            rows->trials[n++] = &run->trials[i];
    qsort(rows->trials, n, sizeof *rows->trials, compare_blocks);
    rows->count = n / rows->models;
}

static void rows_fini(struct rows *rows)
{
    mem_free(rows->trials);
}

/* Freed by the caller. *any: there is a finite one. */
static double *matrix_of(const struct rows *rows, enum compared c, bool *any)
{
    size_t cells = rows->count * rows->models;
    double *values = mem_alloc(MAX(cells, (size_t)1) * sizeof *values);
    *any = false;
    for (size_t i = 0; i < cells; i++) {
        values[i] = value_of(rows->trials[i], c);
        *any = *any || isfinite(values[i]);
    }
    return values;
}

/* ---- lengths ---- */

/* Do all answers of the row that succeeded and say so have one length? */
static bool is_equally_long(const struct rows *rows, size_t row)
{
    int64_t length = -1;
    for (size_t m = 0; m < rows->models; m++) {
        const struct sample *s = &rows->trials[row * rows->models + m]->sample;
        if (s->outcome != OUTCOME_OK || s->completion_tokens < 0)
            continue;
        if (length >= 0 && s->completion_tokens != length)
            return false;
        length = s->completion_tokens;
    }
    return true;
}

static void count_lengths(struct compare_report *r, const struct rows *rows)
{
    for (size_t row = 0; row < rows->count; row++) {
        if (is_equally_long(rows, row))
            r->blocks_equal++;
        else
            r->blocks_unequal++;
    }
}

static bool lengths_fit(const struct compare_report *r)
{
    return (double)r->blocks_equal >= equal_share * (double)(r->blocks_equal + r->blocks_unequal);
}

/* Totals are compared over blocks with answers of one length only, but each model's own figures are of all. */
static void compare_totals(struct compare_report *r, const struct rows *rows, double *values)
{
    struct compare_result *all = &r->results[COMPARED_E2E], of_equal;
    if (r->blocks_unequal == 0 || !lengths_fit(r))
        return;
    for (size_t row = 0; row < rows->count; row++)
        for (size_t m = 0; !is_equally_long(rows, row) && m < rows->models; m++)
            values[row * rows->models + m] = NAN;
    compare_values(values, rows->count, rows->models, &r->plan, &of_equal);
    mem_free(of_equal.system);
    of_equal.system = all->system;
    all->system = NULL;
    compare_result_fini(all);
    *all = of_equal;
}

static void compare_metric(struct compare_report *r, const struct rows *rows, enum compared c)
{
    double *values = matrix_of(rows, c, &r->has[c]);
    compare_values(values, rows->count, rows->models, &r->plan, &r->results[c]);
    r->is_compared[c] = r->has[c];
    if (c == COMPARED_E2E) {
        r->is_compared[c] = r->has[c] && lengths_fit(r);
        compare_totals(r, rows, values);
    } else if (c == COMPARED_PER_TOKEN && lengths_fit(r)) {
        r->is_compared[c] = false; /* would say the same as the total */
    }
    mem_free(values);
}

/* ---- drift and places ---- */

/* Of the logarithms of totals, each model's own centre taken off: by halves of the run, and by place in the block. */
static void find_drift(struct compare_report *r, const struct rows *rows)
{
    size_t cells = rows->count * rows->models, half = rows->count / 2;
    double *kept = mem_alloc(MAX(cells, (size_t)1) * sizeof *kept);
    double halves[2] = {NAN, NAN};
    for (size_t h = 0; h < 2 + rows->models; h++) {
        size_t n = 0;
        for (size_t i = 0; i < cells; i++) {
            const struct compare_trial *t = rows->trials[i];
            size_t row = i / rows->models;
            double value = value_of(t, COMPARED_E2E);
            double centre = r->results[COMPARED_E2E].system[t->model].median.value;
            bool wanted = h == 0   ? row < half
                          : h == 1 ? row >= rows->count - half
                                   : t->position == h - 2;
            if (wanted && isfinite(value) && isfinite(centre))
                kept[n++] = log(value / centre);
        }
        sort_doubles(kept, n);
        double middle = n >= COMPARE_BLOCKS_LEAST ? exp(sorted_quantile(kept, n, .5)) : NAN;
        if (h < 2)
            halves[h] = middle;
        else
            r->position[h - 2] = middle;
    }
    r->later = half >= COMPARE_BLOCKS_LEAST ? halves[1] / halves[0] : NAN;
    mem_free(kept);
}

/* ---- facts ---- */

static bool is_mismatch(const struct sample *s)
{
    if (!s->stream || s->tokens_counted || s->completion_tokens <= 0 || s->outcome != OUTCOME_OK)
        return false;
    double told = (double)s->completion_tokens, counted = s->chunks;
    return fabs(told - counted) > .1 * told;
}

static void count_trial(struct compare_model_facts *f, const struct compare_trial *t)
{
    const struct sample *s = &t->sample;
    f->requests++;
    f->ok += s->outcome == OUTCOME_OK;
    f->limited += s->outcome == OUTCOME_HTTP_429;
    f->reconnected += !s->reused;
    f->token_mismatches += is_mismatch(s);
    f->outcomes[s->outcome]++;
    if (s->outcome != OUTCOME_OK && !f->error)
        f->error = s->error;
    f->prompt_tokens += (uint64_t)MAX(s->prompt_tokens, 0);
    f->completion_tokens += (uint64_t)MAX(s->completion_tokens, 0);
    if (s->outcome == OUTCOME_OK && s->completion_tokens >= 0) {
        bool first = f->tokens_most < 0;
        f->tokens_least = first ? s->completion_tokens : MIN(f->tokens_least, s->completion_tokens);
        f->tokens_most = MAX(f->tokens_most, s->completion_tokens);
    }
    if (t->cost_usd >= 0)
        f->cost_usd = (isnan(f->cost_usd) ? 0 : f->cost_usd) + t->cost_usd;
    else
        f->unpriced += s->outcome == OUTCOME_OK;
}

static double median_of_cold(const struct compare_run *run, uint32_t model, bool connect,
                             size_t *count)
{
    double *kept = mem_alloc(MAX(run->trial_count, (size_t)1) * sizeof *kept), median;
    size_t n = 0;
    for (size_t i = 0; i < run->trial_count; i++) {
        const struct compare_trial *t = &run->trials[i];
        const struct sample *s = &t->sample;
        if (t->phase != PHASE_COLD || t->model != model || s->outcome != OUTCOME_OK)
            continue;
        uint64_t ready_ns = s->secured_ns ? s->secured_ns : s->connected_ns;
        double value = ms_between(s->start_ns, connect ? ready_ns : s->first_token_ns);
        if (!isnan(value))
            kept[n++] = value;
    }
    sort_doubles(kept, n);
    median = sorted_quantile(kept, n, .5);
    mem_free(kept);
    *count = MAX(*count, n);
    return median;
}

static struct estimate inverted(struct estimate l)
{
    return (struct estimate){1000 / l.value, 1000 / l.high, 1000 / l.low, l.refused, l.need};
}

static void find_facts(struct compare_report *r, const struct rows *rows)
{
    for (uint32_t m = 0; m < r->models; m++) {
        struct compare_model_facts *f = &r->facts[m];
        *f = (struct compare_model_facts){.tokens_least = -1, .tokens_most = -1, .cost_usd = NAN};
        for (size_t row = 0; row < rows->count; row++)
            count_trial(f, rows->trials[row * rows->models + m]);
        f->success = wilson_interval(f->ok, f->requests);
        if (f->requests && f->ok == f->requests)
            f->success.high = 1; /* which rounding may miss by a hair */
        if (f->requests && f->ok == 0)
            f->success.low = 0;
        f->cold_connect_ms = median_of_cold(rows->run, m, true, &f->cold);
        f->cold_ttft_ms = median_of_cold(rows->run, m, false, &f->cold);
        f->speed = inverted(r->results[COMPARED_TPOT].system[m].median);
    }
}

static void find_successes(struct compare_report *r, const struct rows *rows)
{
    size_t cells = rows->count * rows->models;
    signed char *good = mem_alloc(MAX(cells, (size_t)1));
    for (size_t i = 0; i < cells; i++)
        good[i] = rows->trials[i]->sample.outcome == OUTCOME_OK;
    r->successes = mem_alloc(MAX(r->results[0].pair_count, (size_t)1) * sizeof *r->successes);
    compare_successes(good, rows->count, rows->models, r->successes);
    mem_free(good);
}

/* ---- the report ---- */

static enum compared decider(const struct compare_report *r, enum compared asked)
{
    if (asked == COMPARED_COUNT || asked == COMPARED_E2E || asked == COMPARED_PER_TOKEN)
        asked = r->has[COMPARED_PER_TOKEN] && !lengths_fit(r) ? COMPARED_PER_TOKEN : COMPARED_E2E;
    return asked;
}

void compare_report_make(struct compare_report *r, const struct compare_run *run,
                         const struct compare_plan *plan, enum compared asked)
{
    struct rows rows;
    rows_init(&rows, run);
    *r = (struct compare_report){
        .run = run, .plan = *plan, .models = rows.models, .blocks = rows.count};
    r->facts = mem_alloc(r->models * sizeof *r->facts);
    r->position = mem_alloc(r->models * sizeof *r->position);
    count_lengths(r, &rows);
    for (int c = 0; c < COMPARED_COUNT; c++)
        compare_metric(r, &rows, (enum compared)c);
    r->primary = decider(r, asked);
    find_facts(r, &rows);
    find_successes(r, &rows);
    find_drift(r, &rows);
    rows_fini(&rows);
}

void compare_report_fini(struct compare_report *r)
{
    for (int c = 0; c < COMPARED_COUNT; c++)
        compare_result_fini(&r->results[c]);
    mem_free(r->facts);
    mem_free(r->position);
    mem_free(r->successes);
}

bool compare_is_precise(const struct compare_run *run, const struct compare_plan *plan,
                        enum compared asked)
{
    struct compare_report r;
    struct compare_plan quick = *plan;
    quick.resamples = 1; /* what is asked for comes from the ranks alone */
    compare_report_make(&r, run, &quick, asked);
    const struct compare_result *result = &r.results[r.primary];
    bool precise = result->pair_count > 0;
    for (size_t i = 0; i < result->pair_count; i++) {
        struct ratio typical = result->pair[i].typical;
        double half = (log(typical.high) - log(typical.low)) / 2;
        precise = precise && half <= log1p(plan->min_effect);
    }
    compare_report_fini(&r);
    return precise;
}
