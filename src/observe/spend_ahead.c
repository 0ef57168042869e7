/* spend_ahead.c -- what will be spent if things go on as they did.
 *
 * With 7 days or more, an hour to come costs what its like of the log's last 7 days did: nights and week-ends stay what they are. With
 * less, each costs the log's mean. The interval is that of a sum of days to come, given the days that were: their spread
 * counts once for those, and once for these. It knows nothing of growth. */
#include <math.h>

#include "observe/significance.h"
#include "observe/spend.h"

#define US_PER_HOUR    INT64_C(3600000000)
#define HOURS_PER_WEEK 168
#define DAYS_MIN       3
#define DAYS_MAX       28

/* The whole hours before the one of the last line, which is not over. */
struct past {
    int64_t end, first_whole;  /* hours since 1970 */
    double usd[DAYS_MAX * 24]; /* [i]: hour end - 1 - i */
};

static void past_read(struct past *p, const struct spend *s)
{
    size_t count;
    struct spend_point *points = spend_points(s, &count);
    *p = (struct past){.end = s->last_us / US_PER_HOUR,
                       .first_whole = (s->first_us + US_PER_HOUR - 1) / US_PER_HOUR};
    for (size_t i = 0; i < count; i++) {
        int64_t back = p->end - 1 - points[i].start_us / US_PER_HOUR;
        if (back >= 0 && back < (int64_t)COUNT(p->usd))
            p->usd[back] = USD_OF_PICO(points[i].pico);
    }
    mem_free(points);
}

/* Sum over hours to come, those at both ends by their part. */
static double by_hour_of_week(const struct past *p, int64_t from_us, int64_t until_us)
{
    double usd = 0;
    for (int64_t at_us = from_us; at_us < until_us;) {
        int64_t hour = at_us / US_PER_HOUR;
        int64_t next_us = MIN((hour + 1) * US_PER_HOUR, until_us);
        int64_t back = HOURS_PER_WEEK - 1 - (hour - p->end) % HOURS_PER_WEEK;
        usd += p->usd[back] * (double)(next_us - at_us) / (double)US_PER_HOUR;
        at_us = next_us;
    }
    return usd;
}

/* What the days that were weigh in a sum of days to come, squared and added up: the part of its error that comes from them. By the mean
 * each of n days weighs days_ahead / n; by the hour of the week each of 7 as often as it comes again. */
static double weights_squared(const struct spend_ahead *a, double days_ahead, double n)
{
    if (a->method == SPEND_MEAN)
        return days_ahead * days_ahead / n;
    double weeks = floor(days_ahead / 7), more = days_ahead - 7 * weeks;
    return (7 - more) * weeks * weeks + more * (weeks + 1) * (weeks + 1);
}

/* From the spread of whole days, counted back from the log's end. */
static void add_interval(struct spend_ahead *a, const struct past *p, double days_ahead)
{
    int64_t days = MIN((p->end - p->first_whole) / 24, (int64_t)DAYS_MAX);
    double sum = 0, squares = 0;
    a->low = a->high = NAN;
    a->days_known = (int)MAX(days, INT64_C(0));
    if (days < DAYS_MIN)
        return;
    for (int d = 0; d < days; d++) {
        double usd = 0;
        for (int h = 0; h < 24; h++)
            usd += p->usd[d * 24 + h];
        sum += usd;
        squares += usd * usd;
    }
    double n = (double)days, mean = sum / n;
    double variance = MAX(squares - n * mean * mean, 0.0) / (n - 1);
    double half = student_t95((unsigned)days - 1) *
                  sqrt(variance * (days_ahead + weights_squared(a, days_ahead, n)));
    a->low = MAX(a->usd - half, 0.0);
    a->high = a->usd + half;
}

struct spend_ahead spend_ahead(const struct spend *s, int64_t until_us)
{
    struct spend_ahead a = {.method = SPEND_NO_METHOD, .usd = NAN, .low = NAN, .high = NAN};
    struct past p;
    if (s->last_us < s->first_us || s->last_us - s->first_us < US_PER_HOUR || until_us < s->last_us)
        return a;
    past_read(&p, s);
    double hours = (double)(until_us - s->last_us) / (double)US_PER_HOUR;
    if (p.end - p.first_whole >= HOURS_PER_WEEK) {
        a.method = SPEND_HOUR_OF_WEEK;
        a.usd = by_hour_of_week(&p, s->last_us, until_us);
    } else {
        a.method = SPEND_MEAN;
        a.usd = spend_rate(s, 0).usd_per_hour * hours;
    }
    add_interval(&a, &p, hours / 24);
    return a;
}

void spend_month(int64_t at_us, int64_t *begin_us, int64_t *end_us)
{
    time_t seconds = (time_t)(at_us / 1000000);
    struct tm utc;
    ENSURE(gmtime_r(&seconds, &utc));
    struct tm begin = {.tm_year = utc.tm_year, .tm_mon = utc.tm_mon, .tm_mday = 1};
    struct tm end = {.tm_year = utc.tm_year, .tm_mon = utc.tm_mon + 1, .tm_mday = 1};
    *begin_us = (int64_t)timegm(&begin) * 1000000;
    *end_us = (int64_t)timegm(&end) * 1000000;
}

double spend_between(const struct spend *s, int64_t from_us, int64_t until_us)
{
    uint64_t pico = 0;
    size_t count;
    struct spend_point *points = spend_points(s, &count);
    for (size_t i = 0; i < count; i++)
        if (points[i].start_us >= from_us && points[i].start_us < until_us)
            sum_add(&pico, points[i].pico);
    mem_free(points);
    return USD_OF_PICO(pico);
}
