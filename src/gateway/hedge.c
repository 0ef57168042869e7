/* hedge.c -- a second attempt at another deployment when the first token is late. Off unless weir_settings.hedge_percentile says when.
 *
 * Each worker keeps, by model group, a decaying histogram of the times to first token (streams) and to the answer's head (others) that it has seen. A first attempt that is
 * later than the configured percentile of them gets a rival; the first of the two that answers wins, the other is cancelled (attempt.c). How many
 * may is bounded by a budget: each request earns hedge_max_share of a hedge, so that a slow fleet is not given twice the load ("The tail at scale", Dean and
 * Barroso, 2013). [worker] */
#include "gateway/gateway.h"

#define SAMPLES_MIN 20   /* fewer say nothing of a percentile */
#define SAMPLES_MAX 1024 /* then all counts are halved: what is old fades */
#define CREDIT_MAX  10.0
#define STEPS       4 /* buckets an octave: a percentile is at most 19 % too long */
#define BUCKETS     128

struct late {
    uint16_t counts[BUCKETS];
    uint32_t total;
};

struct hedge_clock {
    struct late plain, streams;
    double credit; /* hedges that may be made now */
};

struct hedge_clock *hedge_clocks_new(uint32_t groups)
{
    return mem_alloc(MAX(groups, 1u) * sizeof(struct hedge_clock));
}

void hedge_clocks_free(struct hedge_clock *h)
{
    mem_free(h);
}

/* Bucket b holds what is below bound_us(b): 2^(b / STEPS) µs, four a doubling, in whole steps of the mantissa. */
static int bucket_of(int64_t us)
{
    uint64_t v = (uint64_t)MAX(us, 1);
    int octave = 63 - __builtin_clzll(v);
    int step = octave >= 2 ? (int)(v >> (octave - 2) & 3) : 0;
    return MIN(octave * STEPS + step, BUCKETS - 1);
}

/* The least time that is above all of bucket b. */
static int64_t bound_us(int bucket)
{
    int octave = bucket / STEPS, step = bucket % STEPS;
    return octave >= 2 ? (int64_t)(step + 5) << (octave - 2) : (int64_t)2 << octave;
}

static void add(struct late *l, int64_t us)
{
    l->counts[bucket_of(us)]++;
    if (++l->total < SAMPLES_MAX)
        return;
    l->total = 0;
    for (int i = 0; i < BUCKETS; i++) {
        l->counts[i] /= 2;
        l->total += l->counts[i];
    }
}

/* -1: too few samples. */
static int64_t percentile_us(const struct late *l, double percentile)
{
    double wanted = (double)l->total * percentile / 100;
    uint32_t seen = 0;
    if (l->total < SAMPLES_MIN)
        return -1;
    for (int i = 0; i < BUCKETS; i++) {
        seen += l->counts[i];
        if (seen >= wanted)
            return bound_us(i);
    }
    return bound_us(BUCKETS - 1);
}

/* A group of its own (that of an upstream name, or of a name that nobody knows; model_names.c) is no row of config.groups: it shares its model's clock. */
static struct hedge_clock *clock_of(const struct request *r)
{
    const struct model_group *row = map_get(&r->config->group_by_name, r->group->name);
    ENSURE(row);
    return &r->snapshot->hedges[row - r->config->groups];
}

static struct late *late_of(const struct request *r)
{
    return r->stream ? &clock_of(r)->streams : &clock_of(r)->plain;
}

void hedge_measure(struct request *r, int64_t us)
{
    if (r->config->routing.hedge_percentile > 0 && r->group && r->group->count > 1 && us >= 0)
        add(late_of(r), us);
}

/* The first one is late. */
static void second_attempt(struct timer *t)
{
    struct request *r = CONTAINER(t, struct request, timer);
    struct hedge_clock *clock = clock_of(r);
    if (clock->credit < 1 || !route_hedge(r))
        return;
    clock->credit -= 1;
}

void hedge_arm(struct request *r)
{
    const struct routing *routing = &r->config->routing;
    if (routing->hedge_percentile <= 0 || r->group->count < 2)
        return;
    struct hedge_clock *clock = clock_of(r);
    clock->credit = MIN(clock->credit + routing->hedge_max_share, CREDIT_MAX);
    int64_t us = percentile_us(late_of(r), routing->hedge_percentile);
    if (us < 0 || clock->credit < 1)
        return;
    us = MAX(us, routing->hedge_min_ms * 1000);
    r->timer.on_fire = second_attempt;
    timer_set(r->worker->loop, &r->timer, loop_now_ns(r->worker->loop) + (uint64_t)us * NS_PER_US);
}
