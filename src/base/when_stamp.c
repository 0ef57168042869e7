/* when_stamp.c -- the stamp of a log's line.
 *
 * Called once a line by whatever reads logs, millions of times a second. One shape, each byte looked at once, no libc: strptime
 * asks the locale, timegm takes a lock and the zone's rules. What is no digit is noted and decided upon once at the
 * end, so that the usual line has few branches. [any thread] */
#include "base/when_digits.h"

bool when_stamp(struct str text, int64_t *out_us, bool *zoned)
{
    enum { SHORTEST_BYTES = 19, TIME_AT = 11 }; /* 2026-11-24T01:49:00 */
    struct date d;
    int offset_s = 0;
    unsigned us;
    if (text.n < SHORTEST_BYTES || !date_at(text.p, &d) || !date_exists(&d))
        return false;
    const char *p = text.p + TIME_AT, *end = text.p + text.n;
    unsigned bad = (p[-1] != 'T') & (p[-1] != ' ') & (p[-1] != 't'); /* 't': RFC 3339, 5.6 */
    bad |= (p[2] != ':') | (p[5] != ':');
    unsigned hour = pair(p, &bad), minute = pair(p + 3, &bad), second = pair(p + 6, &bad);
    if (bad || !time_exists(hour, minute, second) || !(p = fraction_at(p + 8, end, &us)))
        return false;
    bool has_zone = p < end;
    if (has_zone && zone_at(p, end, &offset_s) != end)
        return false;
    *out_us = (days_from_civil(&d) * DAY_S - offset_s) * US_PER_S +
              since_midnight_us(hour, minute, second, us);
    *zoned = has_zone;
    return true;
}
