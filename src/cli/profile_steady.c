/* profile_steady.c -- throughput while the load was on (profile.h). Pure. */
#include <math.h>

#include "cli/profile.h"

/* Tokens of a request that came before `until_ns`: of a stream they are taken to come evenly between the first and the last, of a whole answer at
 * its end. */
static double tokens_until(const struct profile_times *t, uint64_t until_ns)
{
    uint64_t first_ns = t->first_token_ns ? t->first_token_ns : t->end_ns;
    if (!t->tokens || first_ns > until_ns)
        return 0;
    if (t->last_token_ns <= until_ns || t->last_token_ns <= first_ns)
        return t->tokens;
    double share = (double)(until_ns - first_ns) / (double)(t->last_token_ns - first_ns);
    return 1 + share * ((double)t->tokens - 1);
}

static void count_until(struct steady *s, const struct profile_times *times, size_t count,
                        uint64_t from_ns, uint64_t until_ns)
{
    double tokens = 0;
    s->seconds = (double)(until_ns - from_ns) / 1e9;
    s->ended = 0;
    for (size_t i = 0; i < count; i++) {
        s->ended += times[i].ok && times[i].end_ns <= until_ns;
        tokens += tokens_until(&times[i], until_ns);
    }
    s->requests_per_s = (double)s->ended / s->seconds;
    s->tokens_per_s = tokens / s->seconds;
}

struct steady profile_steady(const struct profile_times *times, size_t count)
{
    struct steady s = {.seconds = NAN, .requests_per_s = NAN, .tokens_per_s = NAN};
    uint64_t from_ns = UINT64_MAX, last_start_ns = 0, end_ns = 0;
    for (size_t i = 0; i < count; i++) {
        from_ns = MIN(from_ns, times[i].due_ns);
        last_start_ns = MAX(last_start_ns, times[i].start_ns);
        end_ns = MAX(end_ns, times[i].end_ns);
    }
    if (count == 0 || end_ns <= from_ns)
        return s;
    if (last_start_ns > from_ns)
        count_until(&s, times, count, from_ns, last_start_ns);
    if (last_start_ns <= from_ns || s.ended * 2 < count) {
        count_until(&s, times, count, from_ns, end_ns);
        s.whole_run = true;
    }
    return s;
}

double profile_rate_error(const struct results_group *g, double rate)
{
    struct estimate e = spread_mean(&g->spreads[MEASURED_RESPONSE]);
    return e.value > 0 ? rate * (e.high - e.low) / 2 / e.value : NAN;
}
