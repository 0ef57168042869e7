/* results.c -- takes samples into groups; runs in the engine's callback, so every step is a few adds. */
#include "measure/results.h"

#include "base/clock.h"
#include "base/mem.h"
#include "measure/results_internal.h"

const struct measured_info *measured_info(enum measured m)
{
    static const struct measured_info infos[] = {
#define M(name, key, heading, unit, formula) {key, heading, formula, unit},
#include "measure/measured.def"
#undef M
    };
    ENSURE(m < MEASURED_COUNT);
    return &infos[m];
}

/* What a step of a spread is worth, so that three digits are kept of each unit. */
static const double units[] = {
    [MEASURED_NS] = 1, [MEASURED_PER_S] = 1e-3, [MEASURED_TOKENS] = 1, [MEASURED_USD] = 1e-12};

static void group_init(struct results_group *g)
{
    for (int m = 0; m < MEASURED_COUNT; m++)
        g->spreads[m].unit = units[measured_info(m)->unit];
}

static void group_fini(struct results_group *g)
{
    for (int m = 0; m < MEASURED_COUNT; m++)
        spread_fini(&g->spreads[m]);
}

static struct results_group *groups_new(uint32_t count)
{
    struct results_group *groups = mem_alloc(count * sizeof *groups);
    for (uint32_t i = 0; i < count; i++)
        group_init(&groups[i]);
    return groups;
}

static void groups_free(struct results_group *groups, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        group_fini(&groups[i]);
    mem_free(groups);
}

struct results *results_new(uint32_t stages, uint32_t models, const struct objectives *o,
                            uint64_t origin_ns)
{
    struct results *r = mem_alloc(sizeof *r);
    r->stage_count = MIN(MAX(stages, 1u), (uint32_t)RESULTS_STAGES_MAX);
    r->model_count = MIN(MAX(models, 1u), (uint32_t)RESULTS_MODELS_MAX);
    group_init(&r->total);
    group_init(&r->warm_up);
    r->by_stage = groups_new(r->stage_count);
    r->by_model = groups_new(r->model_count);
    r->objectives = o ? *o : (struct objectives){0};
    r->origin_ns = r->window_from_ns = origin_ns;
    r->window_to_ns = UINT64_MAX;
    r->second_ns = NS_PER_S;
    return r;
}

void results_free(struct results *r)
{
    if (!r)
        return;
    groups_free(r->by_stage, r->stage_count);
    groups_free(r->by_model, r->model_count);
    group_fini(&r->total);
    group_fini(&r->warm_up);
    slots_fini(r);
    mem_free(r);
}

uint64_t results_attempts(const struct results_group *g)
{
    return g->requests + g->outcomes[OUTCOME_DROPPED];
}

uint64_t results_failures(const struct results_group *g)
{
    return results_attempts(g) - g->outcomes[OUTCOME_OK] - g->outcomes[OUTCOME_CANCELLED];
}

/* ---- the metrics of one sample: measured.def's formulas ---- */

static uint64_t longest_gap(const struct sample *s)
{
    uint64_t longest = s->longest_gap_ns; /* of those, too, that were not kept */
    for (uint32_t i = 0; i < s->gap_count; i++)
        longest = MAX(longest, s->gaps_ns[i]);
    return longest;
}

struct measured_values {
    uint64_t longest_gap_ns;
    size_t count;
    struct {
        enum measured metric;
        uint64_t value;
    } all[MEASURED_COUNT];
};

static void put(struct measured_values *v, enum measured m, uint64_t value)
{
    v->all[v->count].metric = m;
    v->all[v->count++].value = value;
}

/* Where both were reached, and not in the wrong order. */
static void put_span(struct measured_values *v, enum measured m, uint64_t from_ns, uint64_t to_ns)
{
    if (from_ns && to_ns >= from_ns)
        put(v, m, to_ns - from_ns);
}

/* Time for each token after the first; 0 where there is none, or all came at once. */
static double tpot_ns(const struct sample *s)
{
    if (s->completion_tokens < 2 || s->last_token_ns <= s->first_token_ns || !s->first_token_ns)
        return 0;
    return (double)(s->last_token_ns - s->first_token_ns) / (double)(s->completion_tokens - 1);
}

static void put_tokens(struct measured_values *v, const struct sample *s)
{
    double tpot = tpot_ns(s);
    put_span(v, MEASURED_TTFT, s->sent_first_ns, s->first_token_ns);
    put_span(v, MEASURED_TTFT_CORRECTED, s->due_ns, s->first_token_ns);
    if (!s->reused)
        put_span(v, MEASURED_TTFT_COLD, s->start_ns, s->first_token_ns);
    put_span(v, MEASURED_TTFO, s->sent_first_ns, s->first_content_ns);
    put_span(v, MEASURED_E2E, s->sent_first_ns, s->last_token_ns);
    if (tpot > 0) {
        put(v, MEASURED_TPOT, (uint64_t)(tpot + 0.5));
        put(v, MEASURED_SPEED, (uint64_t)MIN(1e3 * NS_PER_S / tpot + 0.5, 1e18));
    }
    if (s->completion_tokens > 0 && s->sent_first_ns && s->last_token_ns > s->sent_first_ns)
        put(v, MEASURED_NORMALIZED,
            (s->last_token_ns - s->sent_first_ns) / (uint64_t)s->completion_tokens);
    if (s->gap_count)
        put(v, MEASURED_STALL, v->longest_gap_ns);
}

static void put_all(struct measured_values *v, const struct sample *s)
{
    if (s->outcome != OUTCOME_DROPPED)
        put_span(v, MEASURED_LAG, s->due_ns, s->start_ns);
    if (s->outcome != OUTCOME_OK)
        return;
    put_span(v, MEASURED_TOTAL, s->sent_first_ns, s->end_ns);
    put_span(v, MEASURED_RESPONSE, s->due_ns, s->end_ns);
    put_span(v, MEASURED_SEND, s->sent_first_ns, s->sent_ns);
    put_span(v, MEASURED_WAIT, s->sent_ns, s->first_byte_ns);
    put_span(v, MEASURED_RECEIVE, s->first_byte_ns, s->end_ns);
    put_span(v, MEASURED_TTFC, s->sent_first_ns, s->first_event_ns);
    if (s->connected_ns) {
        put_span(v, MEASURED_DNS, s->start_ns, s->resolved_ns);
        put_span(v, MEASURED_CONNECT, s->resolved_ns ? s->resolved_ns : s->start_ns,
                 s->connected_ns);
        put_span(v, MEASURED_TLS, s->connected_ns, s->secured_ns);
    }
    if (s->first_token_ns)
        put_tokens(v, s);
    if (s->cost_usd >= 0)
        put(v, MEASURED_COST, (uint64_t)MIN(s->cost_usd * 1e12 + 0.5, 1e18));
}

/* ---- what is counted ---- */

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Apart, for its great array. */
static COLD uint64_t gaps_beyond_median(const struct sample *s, uint64_t bound)
{
    uint64_t sorted[GAPS_KEPT], stalls = 0;
    size_t n = MIN(s->gap_count, (uint32_t)GAPS_KEPT);
    memcpy(sorted, s->gaps_ns, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_u64);
    bound = MAX(bound, 3 * sorted[nearest_rank(n, 0.5) - 1]);
    for (size_t i = 0; i < n; i++)
        stalls += sorted[i] > bound;
    return stalls;
}

static uint64_t count_stalls(const struct sample *s, uint64_t longest_ns)
{
    const uint64_t bound = 200 * NS_PER_MS;
    return longest_ns <= bound || !s->gap_count ? 0 : gaps_beyond_median(s, bound);
}

static bool within(uint64_t bound_ns, uint64_t from_ns, uint64_t to_ns)
{
    return bound_ns == 0 || (from_ns && to_ns >= from_ns && to_ns - from_ns <= bound_ns);
}

static bool meets(const struct sample *s, const struct objectives *o, uint64_t longest_gap_ns)
{
    uint64_t first = s->first_token_ns ? s->first_token_ns : s->end_ns;
    uint64_t last = s->last_token_ns ? s->last_token_ns : s->end_ns;
    return s->outcome == OUTCOME_OK && within(o->ttft_ns, s->sent_first_ns, first) &&
           within(o->e2e_ns, s->sent_first_ns, last) &&
           within(o->total_ns, s->sent_first_ns, s->end_ns) &&
           within(o->response_ns, s->due_ns, s->end_ns) &&
           (o->tpot_ns == 0 || tpot_ns(s) <= (double)o->tpot_ns) &&
           (o->itl_ns == 0 || longest_gap_ns <= o->itl_ns);
}

struct counted { /* of one sample, for all its groups */
    bool good;
    uint64_t stalls, tokens_in_window;
};

static uint64_t known(int64_t tokens)
{
    return tokens > 0 ? (uint64_t)tokens : 0;
}

static void count(struct results_group *g, const struct sample *s, const struct counted *c)
{
    g->outcomes[s->outcome]++;
    if (!g->first_ns || s->due_ns < g->first_ns)
        g->first_ns = s->due_ns;
    g->tokens_in_window += c->tokens_in_window;
    if (s->outcome == OUTCOME_DROPPED)
        return;
    g->requests++;
    g->slots_ns += s->end_ns > s->start_ns ? (double)(s->end_ns - s->start_ns) : 0;
    g->last_ns = MAX(g->last_ns, s->end_ns);
    g->prompt_tokens += known(s->prompt_tokens);
    g->completion_tokens += known(s->completion_tokens);
    g->cached_tokens += known(s->cached_tokens);
    g->reasoning_tokens += known(s->reasoning_tokens);
    g->tokens_told += s->completion_tokens >= 0 && !s->tokens_counted;
    g->stalls += c->stalls;
    g->stamped += s->kernel_stamped;
    g->streams += s->stream;
    g->reused += s->reused;
    g->body_bytes += s->body_bytes;
    g->good += c->good;
    if (s->cost_usd >= 0) {
        g->cost_usd += s->cost_usd;
        g->wasted_usd += s->outcome == OUTCOME_OK ? 0 : s->cost_usd;
    }
}

static void take(struct results_group *g, const struct sample *s, const struct counted *c,
                 const struct measured_values *v, bool exact)
{
    count(g, s, c);
    for (size_t i = 0; i < v->count; i++)
        spread_add(&g->spreads[v->all[i].metric], v->all[i].value, exact);
    if (s->outcome != OUTCOME_OK)
        return;
    bool tokens = s->chunks == known(s->completion_tokens) && !s->tokens_counted;
    for (uint32_t i = 0; i < s->gap_count; i++)
        spread_add(&g->spreads[MEASURED_ICL], s->gaps_ns[i], exact);
    for (uint32_t i = 0; tokens && i < s->gap_count; i++)
        spread_add(&g->spreads[MEASURED_ITL], s->gaps_ns[i], exact);
}

static void note_failure(struct results *r, enum outcome outcome, uint64_t times, const char *error,
                         const char *request_id)
{
    for (size_t i = 0; i < r->failure_count; i++) {
        struct results_failure *f = &r->failures[i];
        if (f->outcome == outcome && strcmp(f->error, error) == 0) {
            f->count += times;
            return;
        }
    }
    if (r->failure_count == RESULTS_FAILURES_MAX) {
        r->failures_untold += times;
        return;
    }
    struct results_failure *f = &r->failures[r->failure_count++];
    f->outcome = outcome;
    f->count = times;
    snprintf(f->error, sizeof f->error, "%s", error);
    snprintf(f->request_id, sizeof f->request_id, "%s", request_id);
}

void results_take(struct results *r, const struct sample *s)
{
    struct measured_values values;
    uint64_t longest_ns = longest_gap(s);
    struct counted c = {meets(s, &r->objectives, longest_ns), count_stalls(s, longest_ns), 0};
    values.count = 0;
    values.longest_gap_ns = longest_ns;
    ENSURE(s->outcome < OUTCOME_COUNT);
    c.tokens_in_window = slots_take(r, s);
    put_all(&values, s);
    if (s->warm_up) {
        take(&r->warm_up, s, &c, &values, false);
        r->total.tokens_in_window += c.tokens_in_window;
        return;
    }
    take(&r->total, s, &c, &values, true);
    if (r->stage_count >
        1) /* of one results_seal makes the group: taking is on the engine's clock */
        take(&r->by_stage[MIN(s->stage, r->stage_count - 1)], s, &c, &values, false);
    if (r->model_count > 1)
        take(&r->by_model[MIN(s->model, r->model_count - 1)], s, &c, &values, false);
    if (s->outcome != OUTCOME_OK)
        note_failure(r, s->outcome, 1, s->error, s->request_id);
}

/* ---- merging ---- */

static void merge_groups(struct results_group *into, const struct results_group *from)
{
    for (int i = 0; i < OUTCOME_COUNT; i++)
        into->outcomes[i] += from->outcomes[i];
    if (from->first_ns && (!into->first_ns || from->first_ns < into->first_ns))
        into->first_ns = from->first_ns;
    into->last_ns = MAX(into->last_ns, from->last_ns);
    into->requests += from->requests;
    into->slots_ns += from->slots_ns;
    into->prompt_tokens += from->prompt_tokens;
    into->completion_tokens += from->completion_tokens;
    into->cached_tokens += from->cached_tokens;
    into->reasoning_tokens += from->reasoning_tokens;
    into->tokens_told += from->tokens_told;
    into->tokens_in_window += from->tokens_in_window;
    into->stalls += from->stalls;
    into->stamped += from->stamped;
    into->streams += from->streams;
    into->reused += from->reused;
    into->body_bytes += from->body_bytes;
    into->cost_usd += from->cost_usd;
    into->wasted_usd += from->wasted_usd;
    into->good += from->good;
    for (int m = 0; m < MEASURED_COUNT; m++)
        spread_merge(&into->spreads[m], &from->spreads[m]);
}

void results_merge(struct results *into, const struct results *from)
{
    ENSURE(into->stage_count == from->stage_count && into->model_count == from->model_count);
    merge_groups(&into->total, &from->total);
    merge_groups(&into->warm_up, &from->warm_up);
    for (uint32_t i = 0; i < into->stage_count; i++)
        merge_groups(&into->by_stage[i], &from->by_stage[i]);
    for (uint32_t i = 0; i < into->model_count; i++)
        merge_groups(&into->by_model[i], &from->by_model[i]);
    into->in_flight_ns += from->in_flight_ns;
    slots_merge(into, from);
    for (size_t i = 0; i < from->failure_count; i++)
        note_failure(into, from->failures[i].outcome, from->failures[i].count,
                     from->failures[i].error, from->failures[i].request_id);
    into->failures_untold += from->failures_untold;
}

static void seal_group(struct results_group *g)
{
    for (int m = 0; m < MEASURED_COUNT; m++)
        spread_seal(&g->spreads[m]);
}

static int more_frequent(const void *a, const void *b)
{
    const struct results_failure *x = a, *y = b;
    return (x->count < y->count) - (x->count > y->count);
}

/* The only stage, or the only model, has had all that `total` has. */
static void fill_only_group(struct results_group *only, const struct results_group *total)
{
    if (results_attempts(only))
        return;
    for (int m = 0; m < MEASURED_COUNT; m++)
        only->spreads[m].overflowed = true;
    merge_groups(only, total);
}

void results_seal(struct results *r)
{
    seal_group(&r->total);
    if (r->stage_count == 1)
        fill_only_group(r->by_stage, &r->total);
    if (r->model_count == 1)
        fill_only_group(r->by_model, &r->total);
    slots_seal(r);
    qsort(r->failures, r->failure_count, sizeof *r->failures, more_frequent);
}
