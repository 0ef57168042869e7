/* duration.c -- see duration.h. */
#include "base/duration.h"

#include <time.h>

#define US_PER_S     1000000ll
#define MONTHS_MAX   1200
#define SECONDS_MAX  (100ll * 366 * 86400)
#define SECONDS_LEAN (28ll * 86400) /* no month is shorter */

bool duration_parse(struct str text, struct duration *out, struct err *e)
{
    static const struct {
        struct str name;
        int64_t seconds;
        int months;
    } units[] = {{STR("s"), 1, 0},     {STR("m"), 60, 0},     {STR("h"), 3600, 0},
                 {STR("d"), 86400, 0}, {STR("w"), 604800, 0}, {STR("mo"), 0, 1}};
    size_t digits = 0;
    int64_t count;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    struct str unit = str_skip(text, digits);
    bool number = str_to_i64((struct str){text.p, digits}, &count) && count > 0;
    for (size_t i = 0; number && i < COUNT(units); i++) {
        if (!str_eq(unit, units[i].name))
            continue;
        if (count > (units[i].months ? MONTHS_MAX : SECONDS_MAX / units[i].seconds))
            break;
        *out = (struct duration){.seconds = units[i].seconds * count,
                                 .months = units[i].months * (int)count};
        return true;
    }
    return err_set(
        e, "expected a duration of at most 100 years, such as " DURATION_EXAMPLES ", got \"%.*s\"",
        (int)MIN(text.n, (size_t)40), text.n ? text.p : "");
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month] + (month == 1 && leap);
}

static int64_t months_after(int64_t from_us, int64_t months)
{
    time_t seconds = (time_t)(from_us / US_PER_S);
    struct tm t;
    if (!gmtime_r(&seconds, &t))
        return INT64_MAX;
    int64_t month = (int64_t)t.tm_year * 12 + t.tm_mon + months;
    t.tm_year = (int)(month / 12);
    t.tm_mon = (int)(month % 12);
    t.tm_mday = MIN(t.tm_mday, days_of(t.tm_year + 1900, t.tm_mon));
    return (int64_t)timegm(&t) * US_PER_S + from_us % US_PER_S;
}

int64_t duration_after(int64_t from_us, struct duration d, int64_t times)
{
    int64_t add_us, sum_us;
    if (d.months)
        return months_after(from_us, d.months * times);
    if (__builtin_mul_overflow(d.seconds * US_PER_S, times, &add_us) ||
        __builtin_add_overflow(from_us, add_us, &sum_us))
        return INT64_MAX;
    return sum_us;
}

int64_t duration_window_end(int64_t began_us, struct duration d, int64_t now_us)
{
    int64_t length_s = d.months ? d.months * SECONDS_LEAN : d.seconds;
    ENSURE(length_s > 0);
    if (now_us < began_us)
        return duration_after(began_us, d, 1);
    int64_t times = (now_us - began_us) / (length_s * US_PER_S) + 1;
    int64_t end_us = duration_after(began_us, d, times);
    /* Months are mostly longer than the shortest: the guess is then too late, by one in fifteen. */
    while (times > 1 && duration_after(began_us, d, times - 1) > now_us)
        end_us = duration_after(began_us, d, --times);
    return end_us;
}
