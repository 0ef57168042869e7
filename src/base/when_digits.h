/* when_digits.h -- dates, times of day and zones out of digits: what stamps and people's moments have in common. Only for when*.c.
 *
 * Inline, because when_stamp.c is called for each line of a log. Functions named *_at look at the bytes where something
 * should be; *_exists tell whether there is such a day or time, so that who talks to people can say what is wrong.
 * Pure. [any thread] */
#pragma once

#include "base/when.h"

#define US_PER_S  1000000ll
#define MINUTE_US (MINUTE_S * US_PER_S)
#define HOUR_US   (HOUR_S * US_PER_S)
#define DAY_US    (DAY_S * US_PER_S)
enum { MINUTE_S = 60, HOUR_S = 3600, DAY_S = 86400, WEEK_DAYS = 7 };

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

struct date {
    unsigned year, month, day;
};

/* Two digits. What is none sets *bad, once looked at for many. */
static inline unsigned pair(const char *p, unsigned *bad)
{
    unsigned tens = (unsigned char)p[0] - (unsigned)'0', ones = (unsigned char)p[1] - (unsigned)'0';
    *bad |= (tens > 9) | (ones > 9);
    return tens * 10 + ones;
}

/* Ten bytes, "2026-11-25"; whether there is such a day is date_exists's. */
static inline bool date_at(const char *p, struct date *d)
{
    unsigned bad = (p[4] != '-') | (p[7] != '-');
    d->year = pair(p, &bad) * 100;
    d->year += pair(p + 2, &bad);
    d->month = pair(p + 5, &bad);
    d->day = pair(p + 8, &bad);
    return !bad;
}

static inline unsigned month_days(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

static inline bool date_exists(const struct date *d)
{
    return d->month - 1 < 12 && d->day - 1 < month_days(d->year, d->month);
}

/* Days since 1970-01-01: days_from_civil of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
 * (howardhinnant.github.io/date_algorithms.html). Years begin in March there, so the leap day is a year's last, and the days
 * before a month follow a straight line. His eras are of 400 years; ours begin one early, so that nothing is negative: January of
 * year 0 lies in the year before. */
static inline int64_t days_from_civil(const struct date *d)
{
    enum { ERA_DAYS = 146097, ERA_YEARS = 400, DAYS_TO_1970 = 719468 };
    unsigned year = d->year + ERA_YEARS - (d->month <= 2);
    unsigned era = year / ERA_YEARS, of_era = year % ERA_YEARS;
    unsigned of_year = (153 * (d->month > 2 ? d->month - 3 : d->month + 9) + 2) / 5 + d->day - 1;
    unsigned day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    return (int64_t)(era * ERA_DAYS + day_of_era) - ERA_DAYS - DAYS_TO_1970;
}

/* 60 is the leap second (RFC 3339, 5.7); which minutes had one is nobody's table here. */
static inline bool time_exists(unsigned hour, unsigned minute, unsigned second)
{
    return hour < 24 && minute < 60 && second <= 60;
}

static inline int64_t since_midnight_us(unsigned hour, unsigned minute, unsigned second,
                                        unsigned us)
{
    if (second == 60) { /* µs since 1970 have no room for it: the last one before */
        second = 59;
        us = 999999;
    }
    return (int64_t)(hour * HOUR_S + minute * MINUTE_S + second) * US_PER_S + us;
}

/* A fraction, if there is one: '.' or ',' and digits, of which six count. Where it ends, or NULL. */
static inline const char *fraction_at(const char *p, const char *end, unsigned *us)
{
    unsigned digits = 0, value = 0;
    *us = 0;
    if (p == end || (*p != '.' && *p != ','))
        return p;
    for (p++; p < end && is_digit(*p); p++)
        if (digits++ < 6)
            value = value * 10 + (unsigned)(*p - '0');
    if (digits < 1)
        return NULL;
    for (; digits < 6; digits++)
        value *= 10;
    *us = value;
    return p;
}

/* A zone: Z, ±hh:mm, ±hhmm, ±hh. Where it ends, or NULL. */
static inline const char *zone_at(const char *p, const char *end, int *offset_s)
{
    unsigned bad = 0, hours, minutes = 0;
    if (p < end && (*p == 'Z' || *p == 'z')) {
        *offset_s = 0;
        return p + 1;
    }
    if (end - p < 3 || (*p != '+' && *p != '-'))
        return NULL;
    bool west = *p == '-';
    hours = pair(p + 1, &bad);
    p += 3;
    if (p < end && (*p == ':' || is_digit(*p))) {
        p += *p == ':';
        if (end - p < 2)
            return NULL;
        minutes = pair(p, &bad);
        p += 2;
    }
    if (bad || hours > 23 || minutes > 59)
        return NULL;
    *offset_s = (int)(hours * HOUR_S + minutes * MINUTE_S) * (west ? -1 : 1);
    return p;
}
