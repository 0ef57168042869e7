#include "observe/phases.h"

#include <math.h>

static const enum log_field fields[] = {LOG_model, LOG_provider};

void phases_init(struct phases *p)
{
    *p = (struct phases){0};
    groups_init(&p->groups, COUNT(fields), sizeof(struct phase_sum), PHASES_GROUPS_MAX);
}

static void sum_fini(struct phase_sum *s)
{
    for (int i = 0; i < PHASE_COUNT; i++)
        histogram_fini(&s->spreads[i]);
}

void phases_fini(struct phases *p)
{
    sum_fini(&p->total);
    for (size_t i = 0; i < p->groups.count; i++)
        sum_fini(p->groups.all[i]->value);
    groups_fini(&p->groups);
}

/* ---- a line ---- */

#define UNKNOWN INT64_C(-1)

/* A line's phases, worked out once for its group and the sum of all. UNKNOWN where the line does not tell. */
struct worth {
    int64_t values[PHASE_COUNT];
    int64_t share_us[SHARE_COUNT];
};

/* What is left of `whole` without `part`: nobody's clock runs backwards. */
static int64_t less(int64_t whole, int64_t part)
{
    return MAX(whole - MAX(part, INT64_C(0)), INT64_C(0));
}

static void worth_rates(struct worth *w, const struct logline *l)
{
    int64_t tokens = l->found & LOG_BIT(completion_tokens) ? l->r.completion_tokens : 0;
    if (w->values[PHASE_GENERATION] > 0 && tokens > 1)
        w->values[PHASE_INTER_TOKEN] =
            (w->values[PHASE_GENERATION] + (tokens - 1) / 2) / (tokens - 1);
    if (l->found & LOG_BIT(tokens_per_second))
        w->values[PHASE_TOKENS_PER_SECOND] =
            (int64_t)(MIN(l->r.tokens_per_second, 1e9) * 1000 + 0.5);
}

static struct worth worth_of(const struct logline *l)
{
    struct worth w;
    for (int i = 0; i < PHASE_COUNT; i++)
        w.values[i] = UNKNOWN;
    memset(w.share_us, 0, sizeof w.share_us);
    int64_t latency_us = l->r.latency_us, queue_us = 0, after_us = 0;
    if (l->found & LOG_BIT(queue))
        w.values[PHASE_QUEUE] = queue_us = MIN(l->r.queue_us, latency_us);
    if (l->found & LOG_BIT(overhead)) {
        w.values[PHASE_OVERHEAD] = MIN(l->r.overhead_us, latency_us);
        after_us = less(w.values[PHASE_OVERHEAD], queue_us);
    }
    w.share_us[SHARE_QUEUE] = queue_us;
    if (l->found & LOG_BIT(ttft)) {
        int64_t ttft_us = MAX(MIN(l->r.ttft_us, latency_us), queue_us);
        w.values[PHASE_FIRST_TOKEN] = w.share_us[SHARE_FIRST_TOKEN] = ttft_us - queue_us;
        w.values[PHASE_GENERATION] = latency_us - ttft_us;
        after_us = MIN(after_us, latency_us - ttft_us);
        w.share_us[SHARE_GENERATION] = latency_us - ttft_us - after_us;
    } else {
        w.share_us[SHARE_ANSWER] = latency_us - queue_us - after_us;
    }
    w.share_us[SHARE_GATEWAY] = after_us;
    worth_rates(&w, l);
    return w;
}

static void add_worth(struct phase_sum *s, const struct worth *w)
{
    s->requests++;
    for (int i = 0; i < SHARE_COUNT; i++)
        s->share_us[i] += (uint64_t)w->share_us[i];
    for (int i = 0; i < PHASE_COUNT; i++)
        if (w->values[i] != UNKNOWN)
            histogram_add(&s->spreads[i], (uint64_t)w->values[i]);
}

void phases_take(struct phases *p, const struct logline *l, enum log_event event)
{
    if (event != LOG_EVENT_REQUEST || !(l->found & LOG_BIT(latency)))
        return;
    if (log_text_is(l, LOG_BIT(cache), l->r.cache, STR("hit"))) {
        p->hits++;
        return;
    }
    struct worth w = worth_of(l);
    add_worth(&p->total, &w);
    add_worth(groups_of_line(&p->groups, l, fields)->value, &w);
}

/* ---- merging ---- */

static void merge_sum(struct phase_sum *into, const struct phase_sum *from)
{
    into->requests += from->requests;
    for (int i = 0; i < SHARE_COUNT; i++)
        into->share_us[i] += from->share_us[i];
    for (int i = 0; i < PHASE_COUNT; i++)
        histogram_merge(&into->spreads[i], &from->spreads[i]);
}

void phases_merge(struct phases *into, const struct phases *from)
{
    merge_sum(&into->total, &from->total);
    for (size_t i = 0; i < from->groups.count; i++)
        merge_sum(groups_get(&into->groups, from->groups.all[i]->values)->value,
                  from->groups.all[i]->value);
    into->hits += from->hits;
}

/* ---- what it comes to ---- */

double phases_share(const struct phase_sum *s, enum phase_share share)
{
    double all_us = 0;
    for (int i = 0; i < SHARE_COUNT; i++)
        all_us += (double)s->share_us[i];
    return all_us > 0 ? (double)s->share_us[share] / all_us : NAN;
}

double phases_quantile(const struct phase_sum *s, enum phase phase, double quantile)
{
    const struct histogram *h = &s->spreads[phase];
    return h->count ? (double)histogram_quantile(h, quantile) : NAN;
}
