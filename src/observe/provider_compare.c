/* provider_compare.c -- see provider_compare.h. */
#include "observe/provider_compare.h"

#include <math.h>

static const enum log_field fields[] = {LOG_model, LOG_provider, LOG_deployment};

void providers_init(struct providers *p)
{
    groups_init(&p->groups, COUNT(fields), sizeof(struct provider_sum), PROVIDERS_GROUPS_MAX);
}

void providers_fini(struct providers *p)
{
    for (size_t i = 0; i < p->groups.count; i++) {
        struct provider_sum *s = p->groups.all[i]->value;
        histogram_fini(&s->latency_us);
        histogram_fini(&s->ttft_us);
        histogram_fini(&s->tokens_per_second);
    }
    groups_fini(&p->groups);
}

/* ---- a line ---- */

static bool is_status(const struct logline *l, int64_t status)
{
    return ((l->found & LOG_BIT(http_status)) && l->r.http_status == status) ||
           ((l->found & LOG_BIT(error_provider_status)) && l->r.error.provider_status == status);
}

static bool is_timeout(const struct logline *l)
{
    bool named =
        (l->found & LOG_BIT(error_type)) && (str_contains(l->r.error.type, STR("timeout")) ||
                                             str_contains(l->r.error.type, STR("Timeout")));
    return named || is_status(l, 408) || is_status(l, 504);
}

static void take_times(struct provider_sum *s, const struct logline *l)
{
    if (l->found & LOG_BIT(latency))
        histogram_add(&s->latency_us, (uint64_t)l->r.latency_us);
    if (l->found & LOG_BIT(ttft))
        histogram_add(&s->ttft_us, (uint64_t)l->r.ttft_us);
    if (l->found & LOG_BIT(tokens_per_second))
        histogram_add(&s->tokens_per_second,
                      (uint64_t)(MIN(l->r.tokens_per_second, 1e9) * 1000 + 0.5));
}

void providers_take(struct providers *p, const struct logline *l, enum log_event event)
{
    if (event != LOG_EVENT_REQUEST || !(l->found & LOG_BIT(provider)) ||
        log_text_is(l, LOG_BIT(cache), l->r.cache, STR("hit")))
        return;
    struct provider_sum *s = groups_of_line(&p->groups, l, fields)->value;
    enum log_outcome outcome = log_outcome_of(l);
    uint64_t tokens = line_count(l, LOG_BIT(total_tokens), l->r.total_tokens);
    s->requests++;
    s->success += outcome == LOG_OUTCOME_SUCCESS;
    s->cancelled += outcome == LOG_OUTCOME_CANCELLED;
    s->tokens += tokens;
    if (outcome == LOG_OUTCOME_FAILURE) {
        s->rate_limited += is_status(l, 429);
        s->timeouts += is_timeout(l);
    }
    if (l->found & LOG_BIT(cost_usd)) {
        s->priced++;
        s->priced_tokens += tokens;
        sum_add(&s->pico, line_cost_pico(l));
    }
    if (outcome == LOG_OUTCOME_SUCCESS)
        take_times(s, l);
}

void providers_merge(struct providers *into, const struct providers *from)
{
    for (size_t i = 0; i < from->groups.count; i++) {
        const struct provider_sum *s = from->groups.all[i]->value;
        struct provider_sum *to = groups_get(&into->groups, from->groups.all[i]->values)->value;
        to->requests += s->requests;
        to->success += s->success;
        to->cancelled += s->cancelled;
        to->rate_limited += s->rate_limited;
        to->timeouts += s->timeouts;
        to->tokens += s->tokens;
        to->priced += s->priced;
        to->priced_tokens += s->priced_tokens;
        sum_add(&to->pico, s->pico);
        histogram_merge(&to->latency_us, &s->latency_us);
        histogram_merge(&to->ttft_us, &s->ttft_us);
        histogram_merge(&to->tokens_per_second, &s->tokens_per_second);
    }
}

/* ---- numbers ---- */

static uint64_t ended(const struct provider_sum *s)
{
    return s->requests - s->cancelled;
}

double provider_success(const struct provider_sum *s)
{
    return ended(s) ? (double)s->success / (double)ended(s) : NAN;
}

double provider_usd_per_1k(const struct provider_sum *s)
{
    return s->priced_tokens ? USD_OF_PICO(s->pico) * 1000 / (double)s->priced_tokens : NAN;
}

double provider_usd_per_request(const struct provider_sum *s)
{
    return s->priced ? USD_OF_PICO(s->pico) / (double)s->priced : NAN;
}

static double median(const struct provider_sum *s)
{
    return (double)histogram_quantile(&s->latency_us, .5);
}

/* ---- which is better ---- */

/* Those of a model that have enough successes. */
struct field {
    struct group *all[PROVIDERS_OF_A_MODEL_MAX]; /* most requests first */
    size_t count;
    double p; /* below it a difference is real: significance, shared among the pairs */
};

static const struct provider_sum *sum_of(const struct group *g)
{
    return g->value;
}

static bool fails_more(const struct field *f, const struct group *a, const struct group *b)
{
    const struct provider_sum *x = sum_of(a), *y = sum_of(b);
    return provider_success(x) < provider_success(y) &&
           proportions_p(x->success, ended(x), y->success, ended(y)) < f->p;
}

static bool is_faster(const struct field *f, const struct group *a, const struct group *b)
{
    const struct provider_sum *x = sum_of(a), *y = sum_of(b);
    struct rank_test test = rank_test(&x->latency_us, &y->latency_us);
    return test.p < f->p && test.less > .5 && median(x) < median(y) * (1 - PROVIDERS_MATTERS);
}

static const struct group *busiest_but(const struct field *f, const struct group *best)
{
    return f->all[0] == best ? f->all[1] : f->all[0];
}

static const struct group *fails_less_than(const struct field *f, const struct group *best)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->all[i] != best && fails_more(f, best, f->all[i]))
            return f->all[i];
    return NULL;
}

static const struct group *cheaper_than(const struct field *f, const struct group *best)
{
    double usd = provider_usd_per_1k(sum_of(best)) * (1 - PROVIDERS_MATTERS);
    for (size_t i = 0; i < f->count; i++)
        if (f->all[i] != best && provider_usd_per_1k(sum_of(f->all[i])) < usd)
            return f->all[i];
    return NULL;
}

/* The one with the lowest median, if it is faster than each of the others. */
static const struct group *fastest(const struct field *f)
{
    const struct group *best = f->all[0];
    for (size_t i = 1; i < f->count; i++)
        best = median(sum_of(f->all[i])) < median(sum_of(best)) ? f->all[i] : best;
    for (size_t i = 0; i < f->count; i++)
        if (f->all[i] != best && !is_faster(f, best, f->all[i]))
            return NULL;
    return best;
}

/* Than the busiest, by what matters, without being slower or failing more. */
static const struct group *cheapest(const struct field *f)
{
    const struct group *busiest = f->all[0], *best = NULL;
    double usd = provider_usd_per_1k(sum_of(busiest)) * (1 - PROVIDERS_MATTERS);
    for (size_t i = 1; i < f->count; i++) {
        const struct group *g = f->all[i];
        double its = provider_usd_per_1k(sum_of(g));
        if (!(its < usd) || is_faster(f, busiest, g) || fails_more(f, g, busiest))
            continue;
        best = g;
        usd = its;
    }
    return best;
}

static void judge(struct provider_choice *c)
{
    struct field f = {.count = 0};
    for (size_t i = 0; i < c->count; i++)
        if (sum_of(c->all[i])->success >= PROVIDERS_ENOUGH)
            f.all[f.count++] = c->all[i];
    c->verdict = PROVIDER_TOO_FEW;
    c->p = NAN;
    if (f.count < 2)
        return;
    f.p = SIGNIFICANCE_P / ((double)f.count * (double)(f.count - 1) / 2);
    c->best = fastest(&f);
    if (c->best) {
        const struct group *safer = fails_less_than(&f, c->best);
        const struct group *cheaper = cheaper_than(&f, c->best);
        c->verdict = safer                 ? PROVIDER_FAILS_MORE
                     : cheaper             ? PROVIDER_TRADE_OFF
                     : c->best == f.all[0] ? PROVIDER_KEEP
                                           : PROVIDER_ROUTE;
        c->other = safer ? safer : cheaper ? cheaper : busiest_but(&f, c->best);
    } else {
        c->best = cheapest(&f);
        c->verdict = c->best ? PROVIDER_CHEAPER : PROVIDER_ALIKE;
        c->other = c->best ? f.all[0] : f.all[1];
        c->best = c->best ? c->best : f.all[0];
    }
    c->p = rank_test(&sum_of(c->best)->latency_us, &sum_of(c->other)->latency_us).p;
}

/* ---- models ---- */

static int by_model(const void *a, const void *b)
{
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
    const struct group x_model = {.values = {x->values[0]}}, y_model = {.values = {y->values[0]}};
    int order = group_compare_keys(&x_model, &y_model);
    uint64_t nx = sum_of(x)->requests, ny = sum_of(y)->requests;
    if (order || nx != ny)
        return order ? order : nx < ny ? 1 : -1;
    return group_compare_keys(x, y);
}

static uint64_t requests_of(const struct provider_choice *c)
{
    uint64_t requests = 0;
    for (size_t i = 0; i < c->count; i++)
        requests += sum_of(c->all[i])->requests;
    return requests;
}

static int by_choice(const void *a, const void *b)
{
    const struct provider_choice *x = a, *y = b;
    uint64_t nx = requests_of(x), ny = requests_of(y);
    return nx != ny ? nx < ny ? 1 : -1 : group_compare_keys(x->all[0], y->all[0]);
}

struct provider_choice *providers_choices(const struct providers *p, size_t *count, size_t *alone)
{
    struct group **sorted = groups_sorted(&p->groups, by_model);
    struct provider_choice *choices = mem_alloc(MAX(p->groups.count, (size_t)1) * sizeof *choices);
    *count = *alone = 0;
    for (size_t i = 0, next; i < p->groups.count; i = next) {
        struct provider_choice *c = &choices[*count];
        *c = (struct provider_choice){.model = sorted[i]->values[0]};
        for (next = i; next < p->groups.count && str_eq(sorted[next]->values[0], c->model);
             next++) {
            if (c->count < COUNT(c->all))
                c->all[c->count++] = sorted[next];
            else
                c->left_out++;
        }
        if (c->count < 2) {
            ++*alone;
            continue;
        }
        judge(c);
        ++*count;
    }
    qsort(choices, *count, sizeof *choices, by_choice);
    mem_free(sorted);
    return choices;
}
