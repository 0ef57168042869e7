/* tail_stats.c -- see tail_stats.h. */
#include "cli/tail_stats.h"

#include <math.h>

#include "base/clock.h"
#include "base/when.h"
#include "cli/numbers.h"
#include "observe/log_meaning.h"

#define LIVE_S 10

void tail_stats_init(struct tail_stats *s, uint64_t now_ns)
{
    *s = (struct tail_stats){.begin_ns = now_ns, .span_ns = now_ns, .last_s = now_ns / NS_PER_S};
}

static void clear(struct tail_tally *t)
{
    histogram_fini(&t->latency_us);
    *t = (struct tail_tally){0};
}

void tail_stats_fini(struct tail_stats *s)
{
    for (size_t i = 0; i < TAIL_SLOTS; i++)
        clear(&s->slots[i]);
    clear(&s->span);
    clear(&s->whole);
}

/* Slots of seconds in which nothing came are emptied on the way. */
static struct tail_tally *slot_now(struct tail_stats *s, uint64_t now_ns)
{
    uint64_t now_s = now_ns / NS_PER_S;
    if (now_s >= s->last_s + TAIL_SLOTS)
        s->last_s = now_s - TAIL_SLOTS;
    while (s->last_s < now_s)
        clear(&s->slots[++s->last_s % TAIL_SLOTS]);
    return &s->slots[s->last_s % TAIL_SLOTS];
}

static void add(struct tail_tally *t, const struct logline *l, bool failed)
{
    t->requests++;
    t->failed += failed;
    if (l->found & LOG_BIT(completion_tokens))
        t->tokens += (uint64_t)l->r.completion_tokens;
    if (l->found & LOG_BIT(cost_usd))
        t->cost_usd += l->r.cost_usd;
    if (l->found & LOG_BIT(latency))
        histogram_add(&t->latency_us, (uint64_t)l->r.latency_us);
}

static void merge(struct tail_tally *into, const struct tail_tally *from)
{
    into->requests += from->requests;
    into->failed += from->failed;
    into->tokens += from->tokens;
    into->cost_usd += from->cost_usd;
    histogram_merge(&into->latency_us, &from->latency_us);
}

void tail_stats_take(struct tail_stats *s, const struct logline *l, uint64_t now_ns)
{
    bool failed = log_outcome_of(l) == LOG_OUTCOME_FAILURE;
    add(slot_now(s, now_ns), l, failed);
    add(&s->span, l, failed);
    add(&s->whole, l, failed);
}

static double quantile_us(const struct tail_tally *t, double q)
{
    return t->latency_us.count ? (double)histogram_quantile(&t->latency_us, q) : NAN;
}

static void tell(const struct tail_tally *t, double seconds, double usd_per_min, char *out,
                 size_t out_bytes)
{
    double n = (double)t->requests;
    snprintf(out, out_bytes, "%s req/s  errors %s  p50 %s  p95 %s  %s tok/s  %s/min",
             num_count(n / seconds).text, num_pct(n > 0 ? (double)t->failed / n : NAN).text,
             num_ms(quantile_us(t, 0.5)).text, num_ms(quantile_us(t, 0.95)).text,
             num_count((double)t->tokens / seconds).text, num_usd(usd_per_min).text);
}

static double seconds_since(uint64_t then_ns, uint64_t now_ns)
{
    return MAX((double)(now_ns - then_ns) / 1e9, 0.001);
}

void tail_stats_live(struct tail_stats *s, uint64_t now_ns, char *out, size_t out_bytes)
{
    struct tail_tally sum = {0};
    double minute_usd = 0, since = MAX(seconds_since(s->begin_ns, now_ns), 1.0);
    (void)slot_now(s, now_ns);
    for (uint64_t i = 0; i < TAIL_SLOTS; i++) {
        const struct tail_tally *slot = &s->slots[(s->last_s + TAIL_SLOTS - i) % TAIL_SLOTS];
        if (i < LIVE_S)
            merge(&sum, slot);
        minute_usd += slot->cost_usd;
    }
    /* The newest second is not over yet. */
    double begun = (double)(now_ns % NS_PER_S) / 1e9;
    tell(&sum, MIN(since, LIVE_S - 1 + begun), minute_usd * 60 / MIN(since, TAIL_SLOTS - 1 + begun),
         out, out_bytes);
    histogram_fini(&sum.latency_us);
}

static void tell_all(const struct tail_tally *t, double seconds, char *out, size_t out_bytes)
{
    char text[256], span[WHEN_TEXT_BYTES];
    struct str took = when_span_text((int64_t)(seconds * 1e6), span, sizeof span);
    tell(t, seconds, t->cost_usd * 60 / seconds, text, sizeof text);
    snprintf(out, out_bytes, "%.*s: %s requests, %s failed, %s tokens, %s  (%s)", STR_ARG(took),
             num_count((double)t->requests).text, num_count((double)t->failed).text,
             num_count((double)t->tokens).text, num_usd(t->cost_usd).text, text);
}

void tail_stats_span(struct tail_stats *s, uint64_t now_ns, char *out, size_t out_bytes)
{
    tell_all(&s->span, seconds_since(s->span_ns, now_ns), out, out_bytes);
    clear(&s->span);
    s->span_ns = now_ns;
}

void tail_stats_whole(const struct tail_stats *s, uint64_t now_ns, char *out, size_t out_bytes)
{
    tell_all(&s->whole, seconds_since(s->begin_ns, now_ns), out, out_bytes);
}
