/* knee.c -- see knee.h. */
#include "measure/knee.h"

#include <math.h>

#define GROWTH_NONE 0.1 /* a doubling brings 7 % */
#define WITHIN_MOST                                                                                \
    0.25 /* a doubling that pays in full doubles the power: never take that for noise */

static double power_of(const struct knee_level *l)
{
    return l->latency > 0 ? l->throughput / l->latency : 0;
}

/* How much of itself the power may be off by. Latency's error is throughput's, as one follows from the other. */
static double power_error(const struct knee_level *l)
{
    double share = l->throughput > 0 ? l->throughput_error / l->throughput : 0;
    return isfinite(share) ? 2 * share : 0;
}

static double gain(double from, double to)
{
    return from > 0 ? to / from - 1 : NAN;
}

double knee_growth(const struct knee_level *from, const struct knee_level *to)
{
    return log(to->throughput / from->throughput) / log(to->load / from->load);
}

/* Levels up to the first bad one. */
static size_t good_levels(const struct knee_level *levels, size_t count)
{
    size_t n = 0;
    while (n < count && !levels[n].bad)
        n++;
    return n;
}

void knee_find(const struct knee_level *levels, size_t count, struct knee *out)
{
    size_t good = good_levels(levels, count), best = 0;
    *out = (struct knee){KNEE_NONE, 0, 0, NAN, NAN, NAN, NAN};
    for (size_t i = 0; i < good; i++) {
        if (levels[i].throughput > levels[out->peak].throughput)
            out->peak = i;
        if (power_of(&levels[i]) > power_of(&levels[best]))
            best = i;
    }
    if (good == 0 || count < 2)
        return;
    size_t at = best;
    for (size_t i = 0; i < best; i++) {
        double within =
            MIN(hypot(power_error(&levels[i]), power_error(&levels[best])), WITHIN_MOST);
        if (power_of(&levels[i]) >= power_of(&levels[best]) * (1 - within)) {
            at = i;
            break;
        }
    }
    out->at = at;
    /* A bad level above counts as a limit that was reached. */
    out->kind = at + 1 == count ? KNEE_NOT_REACHED : at == 0 ? KNEE_AT_ONCE : KNEE_FOUND;
    if (at + 1 < count) {
        out->throughput_gain = gain(levels[at].throughput, levels[at + 1].throughput);
        out->latency_gain = gain(levels[at].latency, levels[at + 1].latency);
    }
    if (at > 0) {
        out->throughput_gain_before = gain(levels[at - 1].throughput, levels[at].throughput);
        out->latency_gain_before = gain(levels[at - 1].latency, levels[at].latency);
    }
}

bool knee_goes_on(const struct knee_level *levels, size_t count)
{
    if (count > 0 && levels[count - 1].bad)
        return false;
    return count < 3 || knee_growth(&levels[count - 3], &levels[count - 2]) >= GROWTH_NONE ||
           knee_growth(&levels[count - 2], &levels[count - 1]) >= GROWTH_NONE;
}

static bool is_measured(const struct knee_level *levels, size_t count, double load)
{
    for (size_t i = 0; i < count; i++)
        if (levels[i].load == load)
            return true;
    return false;
}

size_t knee_refine(const struct knee_level *levels, size_t count, const struct knee *knee,
                   double *out, size_t most)
{
    size_t n = 0;
    if (knee->kind != KNEE_FOUND && knee->kind != KNEE_AT_ONCE)
        return 0;
    /* In the middle of each gap beside the knee, as the logarithm sees it. */
    for (size_t side = 0; side < 2 && n < most; side++) {
        size_t from = side == 0 ? knee->at - 1 : knee->at;
        if ((side == 0 && knee->at == 0) || from + 1 >= count)
            continue;
        double load = round(sqrt(levels[from].load * levels[from + 1].load));
        if (load > levels[from].load && load < levels[from + 1].load &&
            !is_measured(levels, count, load))
            out[n++] = load;
    }
    return n;
}
