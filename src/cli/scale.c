/* scale.c -- see scale.h. */
#include "cli/scale.h"

#include <math.h>

#define US          1.0
#define MS          1e3
#define S           1e6
#define MINUTE      (60 * S)
#define HOUR        (60 * MINUTE)
#define DAY         (24 * HOUR)
#define GREATEST    1e300  /* so that a difference of two is finite */
#define CLOCK_RANGE 2.5e17 /* µs: to the year 9892, which localtime_r can take */

/* What people find round. Where there is no room for all, those of a higher rank are left out. */
static const struct {
    double us;
    int rank;
} durations[] = {
    // clang-format off
    {1 * US, 0},      {2 * US, 2},      {5 * US, 1},      {10 * US, 0},     {20 * US, 2},   {50 * US, 1},
    {100 * US, 0},    {200 * US, 2},    {500 * US, 1},    {1 * MS, 0},      {2 * MS, 2},    {5 * MS, 1},
    {10 * MS, 0},     {20 * MS, 2},     {50 * MS, 1},     {100 * MS, 0},    {200 * MS, 2},  {500 * MS, 1},
    {1 * S, 0},       {2 * S, 2},       {5 * S, 1},       {10 * S, 0},      {20 * S, 2},    {30 * S, 1},
    {1 * MINUTE, 0},  {2 * MINUTE, 2},  {5 * MINUTE, 1},  {10 * MINUTE, 0}, {20 * MINUTE, 2}, {30 * MINUTE, 1},
    {1 * HOUR, 0},    {2 * HOUR, 2},    {5 * HOUR, 1},    {12 * HOUR, 0},   {1 * DAY, 1},   {2 * DAY, 2},
    {7 * DAY, 0},     {30 * DAY, 1},    {365 * DAY, 0},   {3650 * DAY, 0},
    // clang-format on
};
enum { RANKS = 3 };
#define LEAST_DURATION (durations[0].us)
#define MOST_DURATION  (durations[COUNT(durations) - 1].us)

static const double clock_steps[] = {S,           2 * S,       5 * S,      10 * S,     15 * S,
                                     30 * S,      MINUTE,      2 * MINUTE, 5 * MINUTE, 10 * MINUTE,
                                     15 * MINUTE, 30 * MINUTE, HOUR,       2 * HOUR,   3 * HOUR,
                                     6 * HOUR,    12 * HOUR,   DAY,        2 * DAY,    7 * DAY,
                                     14 * DAY,    28 * DAY,    91 * DAY,   182 * DAY,  365 * DAY};

/* ---- ends ---- */

static double within(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v; /* NaN stays */
}

static double linear_step(const struct scale *s, int most)
{
    double least = (s->high - s->low) / MAX(most, 1);
    double power = pow(10, floor(log10(least)));
    double times = least / power;
    double step = (times <= 1 ? 1 : times <= 2 ? 2 : times <= 5 ? 5 : 10) * power;
    return MAX(step, s->step_least);
}

static void round_linear(struct scale *s, int most)
{
    s->low = isfinite(s->low) ? within(s->low, -GREATEST, 0) : 0;
    s->high = isfinite(s->high) ? within(s->high, 0, GREATEST) : 0;
    if (!(s->high - s->low > 1e-300))
        s->high = s->low + MAX(s->step_least, 1.0);
    double step = linear_step(s, most);
    s->low = floor(s->low / step) * step;
    s->high = ceil(s->high / step) * step;
}

static void round_duration(struct scale *s)
{
    double low = within(isfinite(s->low) ? s->low : LEAST_DURATION, LEAST_DURATION, MOST_DURATION);
    double high = within(isfinite(s->high) ? s->high : low, low, MOST_DURATION);
    size_t first = 0, last = COUNT(durations) - 1;
    while (first + 1 < COUNT(durations) && durations[first + 1].us <= low)
        first++;
    while (last > 0 && durations[last - 1].us >= high)
        last--;
    if (last <= first) {
        first -= first == COUNT(durations) - 1;
        last = first + 1;
    }
    s->low = durations[first].us;
    s->high = durations[last].us;
}

static void round_clock(struct scale *s)
{
    s->low = isfinite(s->low) ? within(s->low, -CLOCK_RANGE, CLOCK_RANGE) : 0;
    s->high = isfinite(s->high) ? within(s->high, -CLOCK_RANGE, CLOCK_RANGE) : 0;
    if (s->high <= s->low)
        s->high = s->low + S;
}

void scale_round(struct scale *s, int most)
{
    if (isfinite(s->low) && isfinite(s->high) && s->low > s->high) {
        double low = s->high;
        s->high = s->low;
        s->low = low;
    }
    switch (s->kind) {
    case SCALE_LINEAR: round_linear(s, most); break;
    case SCALE_DURATION: round_duration(s); break;
    case SCALE_CLOCK: round_clock(s); break;
    }
}

/* ---- ticks ---- */

static size_t linear_ticks(const struct scale *s, int most, double out[SCALE_TICKS_MAX])
{
    size_t n = 0;
    double step = linear_step(s, most);
    for (double i = ceil(s->low / step - 1e-9);
         n < SCALE_TICKS_MAX && i * step <= s->high + step * 1e-9; i++)
        out[n++] = i == 0 ? 0 : i * step; /* never -0 */
    return n;
}

static bool is_tick(const struct scale *s, size_t i, int rank)
{
    return durations[i].us >= s->low && durations[i].us <= s->high && durations[i].rank <= rank;
}

static size_t duration_ticks(const struct scale *s, int most, double out[SCALE_TICKS_MAX])
{
    size_t counts[RANKS] = {0}, n = 0, at = 0;
    for (int rank = 0; rank < RANKS; rank++)
        for (size_t i = 0; i < COUNT(durations); i++)
            counts[rank] += is_tick(s, i, rank);
    int rank = RANKS - 1;
    while (rank > 0 && counts[rank] > (size_t)most)
        rank--;
    size_t each = MAX(1, (counts[rank] + (size_t)most - 1) / (size_t)most);
    for (size_t i = 0; i < COUNT(durations); i++)
        if (is_tick(s, i, rank) && at++ % each == 0)
            out[n++] = durations[i].us;
    return n;
}

/* What the local clock is ahead of UTC then. */
static double zone_us(double us)
{
    time_t s = (time_t)floor(us / S);
    struct tm tm = {0};
    return localtime_r(&s, &tm) ? (double)tm.tm_gmtoff * S : 0;
}

static size_t clock_ticks(const struct scale *s, int most, double out[SCALE_TICKS_MAX])
{
    size_t n = 0, i = 0;
    double range = s->high - s->low;
    while (i + 1 < COUNT(clock_steps) && range / clock_steps[i] > most)
        i++;
    double step = clock_steps[i];
    while (range / step > most)
        step *= 2;
    /* Round in local time, whose distance to UTC may change on the way. */
    double local = ceil((s->low + zone_us(s->low)) / step) * step;
    for (; n < SCALE_TICKS_MAX; local += step) {
        double us = local - zone_us(local - zone_us(local));
        if (us > s->high)
            break;
        if (us >= s->low)
            out[n++] = us;
    }
    return n;
}

size_t scale_ticks(const struct scale *s, int most, double out[SCALE_TICKS_MAX])
{
    most = MAX(1, MIN(most, SCALE_TICKS_MAX - 2));
    switch (s->kind) {
    case SCALE_LINEAR: return linear_ticks(s, most, out);
    case SCALE_DURATION: return duration_ticks(s, most, out);
    case SCALE_CLOCK: return clock_ticks(s, most, out);
    }
    return 0;
}

double scale_place(const struct scale *s, double value)
{
    if (isnan(value))
        return NAN;
    double v = within(value, s->low, s->high);
    if (s->kind == SCALE_DURATION)
        return log(v / s->low) / log(s->high / s->low);
    return (v - s->low) / (s->high - s->low);
}

/* ---- texts ---- */

static void clock_text(double us, const char *format, char out[SCALE_LABEL_BYTES])
{
    time_t s = (time_t)floor(us / S);
    struct tm tm = {0};
    if (!localtime_r(&s, &tm) || !strftime(out, SCALE_LABEL_BYTES, format, &tm))
        snprintf(out, SCALE_LABEL_BYTES, "%s", NUM_UNKNOWN);
}

static bool is_whole(double us, double unit)
{
    return fmod(us + zone_us(us), unit) == 0;
}

void scale_label(const struct scale *s, double tick, char out[SCALE_LABEL_BYTES])
{
    if (s->kind == SCALE_CLOCK)
        clock_text(tick,
                   is_whole(tick, DAY)      ? "%-d %b"
                   : is_whole(tick, MINUTE) ? "%H:%M"
                                            : "%H:%M:%S",
                   out);
    else
        snprintf(out, SCALE_LABEL_BYTES, "%s", s->show(tick).text);
}

void scale_span(const struct scale *s, double from, double to, char out[SCALE_LABEL_BYTES])
{
    char begin[SCALE_LABEL_BYTES], end[SCALE_LABEL_BYTES];
    if (s->kind == SCALE_CLOCK) {
        bool minutes = is_whole(from, MINUTE) && is_whole(to, MINUTE);
        clock_text(from, minutes ? "%a %-d %b %H:%M" : "%a %-d %b %H:%M:%S", begin);
        clock_text(to,
                   is_whole(from, DAY) && is_whole(to, DAY) ? "%a %-d %b %H:%M"
                   : minutes                                ? "%H:%M"
                                                            : "%H:%M:%S",
                   end);
    } else {
        snprintf(begin, sizeof begin, "%s", s->show(from).text);
        snprintf(end, sizeof end, "%s", s->show(to).text);
    }
    snprintf(out, SCALE_LABEL_BYTES, "%.28s to %.28s", begin, end);
}
