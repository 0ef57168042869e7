/* arrivals.c -- when requests are due: a plan's stages as due times for open loop, as numbers of users for closed loop. */
#include "measure/arrivals.h"

#include <math.h>

#include "base/clock.h"

#define SEED_OF_ZERO UINT64_C(0x7765697261727276) /* rng_seed would take 0 for "from the system" */

static const struct stage replay_stage = {.kind = STAGE_RATE};

/* ---- the rate and its integral ---- */

/* Seconds for which the rate goes from `from` to `to`; where the stage has a number of requests instead of a duration, as long as these take. */
static double ramp_seconds(const struct stage *s)
{
    if (s->duration_ns)
        return (double)s->duration_ns / (double)NS_PER_S;
    return s->kind == STAGE_RATE && s->from + s->to > 0
               ? 2 * (double)s->requests / (s->from + s->to)
               : 0;
}

/* Requests due within `t` seconds of the stage's begin, on average: the integral of the rate, which stays at `to` behind the ramp. */
static double integral(const struct stage *s, double ramp_s, double t)
{
    double within = fmin(t, ramp_s), behind = fmax(t - ramp_s, 0);
    double slope = ramp_s > 0 ? (s->to - s->from) / ramp_s : 0;
    return s->from * within + slope * within * within / 2 + (behind > 0 ? s->to * behind : 0);
}

/* The t at which the integral is `amount`; infinite when it never is. */
static double inverse(const struct stage *s, double ramp_s, double amount)
{
    double in_ramp = integral(s, ramp_s, ramp_s);
    if (s->from <= 0 && s->to <= 0)
        return INFINITY;
    if (amount <= 0)
        return 0;
    if (amount > in_ramp)
        return s->to > 0 ? ramp_s + (amount - in_ramp) / s->to : INFINITY;
    /* from t + slope t^2 / 2 = amount, in the form that does not cancel */
    double slope = (s->to - s->from) / ramp_s;
    double root = s->from * s->from + 2 * slope * amount;
    return 2 * amount / (s->from + sqrt(fmax(root, 0)));
}

/* ---- gaps, of mean 1 ---- */

static double draw_exponential(struct rng *r)
{
    return -log1p(-rng_unit(r));
}

/* Marsaglia's polar method; its second value is let go. */
static double draw_normal(struct rng *r)
{
    for (;;) {
        double u = 2 * rng_unit(r) - 1, v = 2 * rng_unit(r) - 1, s = u * u + v * v;
        if (s > 0 && s < 1)
            return u * sqrt(-2 * log(s) / s);
    }
}

/* Gamma of shape k and scale 1: Marsaglia and Tsang, A simple method for generating gamma variables (2000); below 1 their boost. */
static double draw_gamma(struct rng *r, double k)
{
    if (k < 1)
        return draw_gamma(r, k + 1) * pow(1 - rng_unit(r), 1 / k);
    double d = k - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = draw_normal(r), v = 1 + c * x;
        if (v <= 0)
            continue;
        v = v * v * v;
        if (log(1 - rng_unit(r)) < x * x / 2 + d - d * v + d * log(v))
            return d * v;
    }
}

/* Where the next point of the stage's process lies, on the axis of the integral. */
static double next_point(struct arrivals *a, const struct stage *s)
{
    switch (s->spacing) {
    case SPACING_POISSON: return a->at += draw_exponential(&a->rng);
    case SPACING_GAMMA: {
        double k = s->gamma_shape > 0 ? s->gamma_shape : 1;
        return a->at += draw_gamma(&a->rng, k) / k;
    }
    case SPACING_BURST:
        return (double)(a->drawn_in_stage - a->drawn_in_stage % (s->burst ? s->burst : 1));
    case SPACING_CONSTANT: break;
    }
    return (double)a->drawn_in_stage; /* counted, not added up: exact after any number */
}

/* ---- stages ---- */

const struct stage *arrivals_stage(const struct arrivals *a)
{
    const struct arrivals_plan *p = a->plan;
    if (p->stage_count == 0)
        return p->replay && a->stage == 0 ? &replay_stage : NULL;
    return a->stage < p->stage_count ? &p->stages[a->stage] : NULL;
}

bool arrivals_open_loop(const struct arrivals *a)
{
    const struct stage *s = arrivals_stage(a);
    return s && (a->plan->replay || s->kind == STAGE_RATE);
}

static void begin_stage(struct arrivals *a, uint64_t offset_ns)
{
    const struct stage *s = arrivals_stage(a);
    a->stage_begins_ns = offset_ns;
    a->stage_ends_ns = s && s->duration_ns ? offset_ns + s->duration_ns : UINT64_MAX;
    a->exhausted = false;
    a->drawn_in_stage = 0;
    a->at = 0;
    a->ramp_s = s ? ramp_seconds(s) : 0;
}

bool arrivals_advance(struct arrivals *a, uint64_t offset_ns)
{
    if (arrivals_stage(a))
        a->stage++;
    begin_stage(a, offset_ns);
    return arrivals_stage(a) != NULL;
}

void arrivals_init(struct arrivals *a, const struct arrivals_plan *plan, unsigned thread,
                   unsigned threads)
{
    ENSURE(threads > 0 && thread < threads);
    *a = (struct arrivals){.plan = plan, .thread = thread, .threads = threads};
    rng_seed(&a->rng, plan->seed ? plan->seed : SEED_OF_ZERO);
    if (plan->mix_count > 1) {
        double sum = 0, to = 0;
        a->shares_to = mem_alloc(plan->mix_count * sizeof *a->shares_to);
        for (size_t i = 0; i < plan->mix_count; i++)
            sum += plan->mix[i].weight;
        for (size_t i = 0; i < plan->mix_count; i++) {
            to += plan->mix[i].weight;
            a->shares_to[i] = sum > 0 ? to / sum : (double)(i + 1) / (double)plan->mix_count;
        }
    }
    begin_stage(a, 0);
}

void arrivals_fini(struct arrivals *a)
{
    mem_free(a->shares_to);
    a->shares_to = NULL;
}

/* ---- which model ---- */

/* A function of seed and number: what other threads draw does not matter. */
static uint32_t choose_model(const struct arrivals *a, uint64_t number)
{
    const struct arrivals_plan *p = a->plan;
    if (p->mix_count < 2)
        return 0;
    struct rng r;
    uint64_t seed = (p->seed ^ SEED_OF_ZERO) + number * UINT64_C(0xd1342543de82ef95);
    rng_seed(&r, seed ? seed : 1);
    double at = rng_unit(&r);
    uint32_t low = 0, high = (uint32_t)p->mix_count - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (at < a->shares_to[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The next number of this thread. */
static uint64_t next_number(const struct arrivals *a)
{
    return a->taken * a->threads + a->thread;
}

/* What that request is. False: the script is at its end. */
static bool take(struct arrivals *a, uint64_t number, struct arrival *out)
{
    const struct arrivals_plan *p = a->plan;
    *out = (struct arrival){.number = number, .tag = number, .stage = (uint32_t)a->stage};
    if (p->script) {
        if (number >= p->script_count)
            return false;
        const struct scripted *s = &p->script[number];
        out->model = s->model;
        out->prompt = s->prompt;
        out->tag = s->tag;
    } else {
        out->model = choose_model(a, number);
        out->prompt = p->prompt_count > 1 ? (uint32_t)(number % p->prompt_count) : 0;
    }
    a->taken++;
    return true;
}

bool arrivals_draw(struct arrivals *a, uint64_t script_at, struct arrival *out)
{
    return arrivals_stage(a) && take(a, a->plan->script ? script_at : next_number(a), out);
}

/* ---- open loop ---- */

static uint64_t replay_offset_ns(const struct arrivals_plan *p, size_t i)
{
    double speed = p->replay_speed > 0 ? p->replay_speed : 1;
    return (uint64_t)((double)p->replay[i].offset_ns / speed + 0.5);
}

static bool no_more(struct arrivals *a, uint64_t end_ns)
{
    a->exhausted = true;
    a->stage_ends_ns = MIN(a->stage_ends_ns, end_ns);
    return false;
}

static uint64_t after_begin(const struct arrivals *a, double t_s)
{
    double ns = t_s * (double)NS_PER_S + 0.5;
    return ns < 0x1p62 ? a->stage_begins_ns + (uint64_t)ns : UINT64_MAX;
}

/* The process's next point of all threads. */
static bool next_replayed(struct arrivals *a, const struct stage *s, uint64_t *offset_ns)
{
    const struct arrivals_plan *p = a->plan;
    uint64_t last_ns = a->drawn ? replay_offset_ns(p, a->drawn - 1) : a->stage_begins_ns;
    if (a->drawn == p->replay_count || (s->requests && a->drawn_in_stage == s->requests))
        return no_more(a, MAX(last_ns, a->stage_begins_ns));
    *offset_ns = replay_offset_ns(p, a->drawn);
    return *offset_ns < a->stage_ends_ns || no_more(a, a->stage_ends_ns);
}

static bool next_due(struct arrivals *a, const struct stage *s, uint64_t *offset_ns)
{
    if (s->requests && a->drawn_in_stage == s->requests) {
        bool grid = s->spacing == SPACING_CONSTANT || s->spacing == SPACING_BURST;
        double end = grid ? (double)s->requests : a->at;
        return no_more(a, after_begin(a, inverse(s, a->ramp_s, end)));
    }
    double t_s = inverse(s, a->ramp_s, next_point(a, s));
    uint64_t due_ns = isinf(t_s) ? UINT64_MAX : after_begin(a, t_s);
    if (due_ns == UINT64_MAX) /* the rate has come down to 0 */
        return no_more(a, after_begin(a, a->ramp_s));
    if (due_ns >= a->stage_ends_ns)
        return no_more(a, a->stage_ends_ns);
    *offset_ns = due_ns;
    return true;
}

bool arrivals_next(struct arrivals *a, struct arrival *out)
{
    const struct stage *s = arrivals_stage(a);
    while (s && !a->exhausted) {
        uint64_t offset_ns = 0;
        bool replay = a->plan->replay != NULL;
        if (!(replay ? next_replayed(a, s, &offset_ns) : next_due(a, s, &offset_ns)))
            return false;
        uint64_t index = a->drawn++;
        a->drawn_in_stage++;
        if (a->threads > 1 && index % a->threads != a->thread)
            continue;
        if (!take(a, next_number(a), out))
            return no_more(a, offset_ns);
        out->offset_ns = offset_ns;
        if (replay)
            out->model = a->plan->replay[index].model;
        return true;
    }
    return false;
}

/* ---- closed loop ---- */

static double users_at(const struct arrivals *a, const struct stage *s, uint64_t offset_ns)
{
    if (a->ramp_s <= 0 || offset_ns <= a->stage_begins_ns)
        return a->ramp_s > 0 ? s->from : s->to;
    double t_s = (double)(offset_ns - a->stage_begins_ns) / (double)NS_PER_S;
    return s->from + (s->to - s->from) * fmin(t_s / a->ramp_s, 1);
}

uint32_t arrivals_users(const struct arrivals *a, uint64_t offset_ns)
{
    const struct stage *s = arrivals_stage(a);
    if (!s || s->kind != STAGE_USERS)
        return 0;
    uint32_t users = (uint32_t)(fmax(users_at(a, s, offset_ns), 0) + 0.5);
    return users / a->threads + (a->thread < users % a->threads);
}

uint64_t arrivals_users_change(const struct arrivals *a, uint64_t offset_ns)
{
    const struct stage *s = arrivals_stage(a);
    if (!s || s->kind != STAGE_USERS || a->ramp_s <= 0 || s->from == s->to)
        return UINT64_MAX;
    double slope = (s->to - s->from) / a->ramp_s;
    double now = floor(users_at(a, s, offset_ns) + 0.5), next = slope > 0 ? now + 0.5 : now - 0.5;
    double t_s = (next - s->from) / slope;
    if (t_s > a->ramp_s)
        return UINT64_MAX;
    uint64_t change_ns = after_begin(a, t_s) + 1; /* past the rounding */
    return MAX(change_ns, offset_ns + 1);
}

/* ---- what was asked for ---- */

static double replayed_within(const struct arrivals_plan *p, uint64_t from_ns, uint64_t to_ns)
{
    double count = 0;
    for (size_t i = 0; i < p->replay_count; i++) {
        uint64_t at_ns = replay_offset_ns(p, i);
        count += at_ns >= from_ns && at_ns < to_ns;
    }
    return count;
}

double arrivals_offered(const struct arrivals_plan *p, size_t stage)
{
    const struct stage *s = p->stage_count ? &p->stages[stage] : &replay_stage;
    double asked = s->requests ? (double)s->requests : INFINITY;
    ENSURE(stage < MAX(p->stage_count, 1u));
    if (p->replay) {
        uint64_t from_ns = 0;
        for (size_t i = 0; i < stage; i++)
            from_ns += p->stages[i].duration_ns;
        uint64_t to_ns = s->duration_ns ? from_ns + s->duration_ns : UINT64_MAX;
        return fmin(asked, replayed_within(p, from_ns, to_ns));
    }
    if (s->kind == STAGE_USERS)
        return NAN;
    double ramp_s = ramp_seconds(s), due = integral(s, ramp_s, ramp_s);
    if (s->duration_ns) {
        if (s->spacing == SPACING_CONSTANT)
            due = ceil(due - 1e-9);
        asked = fmin(asked, due);
    }
    return isinf(asked) ? NAN : asked;
}
