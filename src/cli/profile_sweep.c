/* profile_sweep.c -- levels of load, each a run of its own, and which of them to measure next (profile_throughput.h).
 *
 * A level that is given neither a number of requests nor a time gets as many requests as tell something: some for each user, and enough to last some
 * seconds by what the level before took. Slow models are then not measured for hours, and fast ones not for a blink. */
#include <math.h>

#include "base/clock.h"
#include "cli/profile_throughput.h"

enum {
    REQUESTS_LEAST = 20,
    REQUESTS_A_USER = 8,
    WARMUP_A_USER = 2,
    REFINED_MOST = 3,
    ATTEMPTS_MOST = 3
};
#define SECONDS_LEAST   3.0
#define REQUESTS_MOST   1e6
#define FAILED_MOST     0.05 /* a level with more failures is no level to work at */
#define WARMUP_OPEN_MAX 16.0 /* users that open connections before a rate is sent */

/* ---- one level ---- */

static double response_s(const struct results_group *g)
{
    return spread_mean(&g->spreads[MEASURED_RESPONSE]).value / 1e9;
}

/* From what the level below took, if there is one. */
static uint64_t requests_for(const struct throughput_profile *p, double users)
{
    double least = MAX((double)REQUESTS_LEAST, users * REQUESTS_A_USER), a_second = 0;
    for (size_t i = 0; i < p->level_count; i++)
        if (p->levels[i].load <= users && isfinite(p->levels[i].steady.requests_per_s))
            a_second =
                MAX(a_second, p->levels[i].steady.requests_per_s * users / p->levels[i].load);
    return (uint64_t)MIN(MAX(least, a_second * SECONDS_LEAST), REQUESTS_MOST);
}

static size_t make_stages(const struct throughput_profile *p, const struct level_plan *plan,
                          double load, struct stage stages[2])
{
    double users = plan->open_loop ? MAX(1.0, MIN(ceil(load), WARMUP_OPEN_MAX)) : load;
    double warmup = plan->warmup < 0 ? users * WARMUP_A_USER : (double)plan->warmup;
    uint64_t requests = plan->requests;
    size_t n = 0;
    if (!requests && !plan->duration_ns)
        requests = requests_for(p, load);
    if (warmup > 0)
        stages[n++] = (struct stage){.name = STR("warm-up"),
                                     .kind = STAGE_USERS,
                                     .from = users,
                                     .to = users,
                                     .requests = (uint64_t)warmup,
                                     .warm_up = true};
    stages[n++] = (struct stage){.name = STR("measured"),
                                 .kind = plan->open_loop ? STAGE_RATE : STAGE_USERS,
                                 .from = load,
                                 .to = load,
                                 .requests = requests,
                                 .duration_ns = plan->duration_ns,
                                 .spacing = plan->poisson ? SPACING_POISSON : SPACING_CONSTANT};
    return n;
}

static void judge(struct level *l, const struct throughput_profile *p, bool open_loop)
{
    const struct results_group *g = &l->run.results->total;
    uint64_t attempts = results_attempts(g);
    l->steady = profile_steady(l->run.times, l->run.time_count);
    l->error = open_loop ? NAN : profile_rate_error(g, l->steady.requests_per_s);
    l->good_share = p->slo_text && attempts ? (double)g->good / (double)attempts : NAN;
    l->bad = l->run.validity.client_limited || attempts == 0 ||
             (double)results_failures(g) > FAILED_MOST * (double)attempts;
}

/* Where a level of this load belongs; what stands there moves up. */
static struct level *insert(struct throughput_profile *p, double load)
{
    size_t at = p->level_count;
    while (at > 0 && p->levels[at - 1].load > load)
        at--;
    memmove(&p->levels[at + 1], &p->levels[at], (p->level_count - at) * sizeof *p->levels);
    p->level_count++;
    p->levels[at] = (struct level){.load = load};
    return &p->levels[at];
}

bool throughput_measure(struct throughput_profile *p, const struct level_plan *plan, double load,
                        struct err *e)
{
    struct stage stages[2];
    char label[64];
    struct arrivals_plan arrivals = {.stages = stages,
                                     .stage_count = make_stages(p, plan, load, stages),
                                     .mix = plan->mix,
                                     .mix_count = 1,
                                     .prompt_count = plan->prompt_count,
                                     .seed = plan->seed};
    struct profile_run_options o = *plan->options;
    struct profile_run run;
    ENSURE(p->level_count < LEVELS_MAX);
    snprintf(label, sizeof label, plan->open_loop ? "%s" : "%s user%s",
             plan->open_loop ? num_rate(load).text : num_count(load).text, load > 1 ? "s" : "");
    o.label = label;
    o.plan = &arrivals;
    unsigned attempts = 0;
    bool again;
    do {
        if (!profile_run(&o, &run, e))
            return false;
        attempts++;
        again = p->sweep && attempts < ATTEMPTS_MOST && run.validity.client_limited &&
                !profile_interrupted();
        if (again)
            profile_run_fini(&run);
    } while (again);
    struct level *l = insert(p, load);
    l->run = run;
    l->attempts = attempts;
    judge(l, p, plan->open_loop);
    return true;
}

/* ---- the sweep ---- */

/* Up to the first level at which the client was the limit: what the server does from there on is not known. */
static size_t knee_levels(const struct throughput_profile *p, struct knee_level out[LEVELS_MAX])
{
    for (size_t i = 0; i < p->level_count; i++) {
        const struct level *l = &p->levels[i];
        if (l->run.validity.client_limited)
            return i;
        out[i] = (struct knee_level){
            .load = l->load,
            .throughput = l->steady.requests_per_s,
            .throughput_error = l->error,
            .latency = response_s(&l->run.results->total),
            .bad = l->bad || !isfinite(l->steady.requests_per_s),
        };
    }
    return p->level_count;
}

void throughput_find(struct throughput_profile *p)
{
    struct knee_level levels[LEVELS_MAX];
    knee_find(levels, knee_levels(p, levels), &p->knee);
    p->slo_at = -1;
    for (size_t i = 0; i < p->level_count; i++)
        if (!p->levels[i].run.validity.client_limited && p->levels[i].good_share >= p->slo_share)
            p->slo_at = (ptrdiff_t)i;
}

/* A load between the highest level that meets the objectives and the next one; 0: there is none. */
static double between_slo(const struct throughput_profile *p)
{
    size_t at = (size_t)p->slo_at;
    if (!p->slo_text || p->slo_at < 0 || at + 1 >= p->level_count || p->levels[at + 1].bad)
        return 0;
    double low = p->levels[at].load, high = p->levels[at + 1].load, load = round(sqrt(low * high));
    return load > low && load < high ? load : 0;
}

static bool refine(struct throughput_profile *p, const struct level_plan *plan, struct err *e)
{
    struct knee_level levels[LEVELS_MAX];
    double loads[2];
    size_t count = knee_refine(levels, knee_levels(p, levels), &p->knee, loads, COUNT(loads));
    bool good = true;
    for (size_t i = 0; i < count && good && !profile_interrupted(); i++)
        good = throughput_measure(p, plan, loads[i], e);
    throughput_find(p);
    for (int i = 0; i < REFINED_MOST && good && between_slo(p) > 0 && !profile_interrupted(); i++) {
        good = throughput_measure(p, plan, between_slo(p), e);
        throughput_find(p);
    }
    return good;
}

bool throughput_sweep(struct throughput_profile *p, const struct level_plan *plan, int64_t most,
                      struct err *e)
{
    struct knee_level levels[LEVELS_MAX];
    bool good = true;
    for (double users = 1; good; users = MIN(users * 2, (double)most)) {
        good = throughput_measure(p, plan, users, e);
        if (!good || profile_interrupted() || users >= (double)most ||
            throughput_client_limited(p) || !knee_goes_on(levels, knee_levels(p, levels)))
            break;
    }
    throughput_find(p);
    /* A level that Ctrl-C cut short says little: it stays in the report, and nothing is built on it. */
    return good && (profile_interrupted() || refine(p, plan, e));
}

/* ---- the rest ---- */

void throughput_fini(struct throughput_profile *p)
{
    for (size_t i = 0; i < p->level_count; i++)
        profile_run_fini(&p->levels[i].run);
    p->level_count = 0;
}

bool throughput_client_limited(const struct throughput_profile *p)
{
    for (size_t i = 0; i < p->level_count; i++)
        if (p->levels[i].run.validity.client_limited)
            return true;
    return false;
}

size_t throughput_main_level(const struct throughput_profile *p)
{
    return p->sweep && p->knee.kind != KNEE_NONE ? p->knee.at : 0;
}

void throughput_choose(struct throughput_profile *p, size_t level)
{
    struct level *l = &p->levels[level];
    p->report.results = l->run.results;
    p->report.account = &l->run.account;
    p->report.validity = &l->run.validity;
}
