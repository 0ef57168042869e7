/* when.c -- moments, spans and windows as people write them.
 *
 * Called by the options of the log tools, a few times a run. The stamps of lines are when_stamp.c's, which has to be fast.
 *
 * when_parse and when_window try their forms in order, by table. Each form looks at the head of the text: not mine
 * (ABSENT), read (SEEN), or mine and mistaken (WRONG). So the sentence is about what was meant: "2026-02-30" is told of
 * February, not that it is no span. Forms say only why; the two functions put what was expected around it.
 *
 * Local time: libc's mktime is not used. For a time that the clocks skip or show twice, its answer with tm_isdst = -1
 * depends on what it was asked before (glibc keeps its last offset as the first guess). Here such a time is read
 * with the offset that was in force before the clocks changed. So of the two 02:30 in autumn the first is meant, and 02:30 in
 * the night in which it is skipped is what a clock that nobody has set yet shows: 03:30. It is the rule of RFC 5545 (3.3.5) and
 * of JavaScript's Temporal ("compatible"). */
#include "base/when_digits.h"

/* Year 1 to 9999: what four digits can say, so that each moment can be written and read back. */
static const int64_t moment_min_us = -62135596800 * US_PER_S;
static const int64_t moment_end_us = 253402300800 * US_PER_S;

/* For "%.*s": what was found, cut where a sentence would become unreadable. */
#define FOUND(s) (int)MIN((s).n, (size_t)40), (s).p ? (s).p : ""

enum seen { ABSENT, SEEN, WRONG };

/* For `return`: says why, and is WRONG. */
#define SAY_WRONG(...) ((void)err_set(__VA_ARGS__), WRONG)

/* Towards minus infinity: moments before 1970 have a day, too. `b` > 0. */
static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* ---- local time ---- */

/* `second`: since 1970. All that fit into µs have a year that fits into struct tm, so localtime_r cannot fail. */
static struct tm local_time(int64_t second)
{
    time_t t = (time_t)second;
    struct tm tm;
    ENSURE(localtime_r(&t, &tm));
    return tm;
}

static int64_t local_offset_s(int64_t second)
{
    return local_time(second).tm_gmtoff;
}

/* The moment at which local clocks show `wall_s`, which is counted as if they showed UTC. The top of this file says what happens
 * about the clocks' changes. Offsets are within a day, so a day to either side of the moment meant is surely before
 * and after it. */
static int64_t moment_of_wall_s(int64_t wall_s)
{
    int64_t before_s = local_offset_s(wall_s - DAY_S), after_s = local_offset_s(wall_s + DAY_S);
    int64_t unchanged = wall_s - before_s, changed = wall_s - after_s;
    bool is_changed = local_offset_s(unchanged) != before_s && local_offset_s(changed) == after_s;
    return is_changed ? changed : unchanged;
}

/* Days since 1970, in local time. */
static int64_t local_day(int64_t now_us)
{
    int64_t now_s = floor_div(now_us, US_PER_S);
    return floor_div(now_s + local_offset_s(now_s), DAY_S);
}

/* Where that local day begins. If its midnight is skipped, this is the moment at which it is: the day's first, too. */
static int64_t day_begin_us(int64_t day)
{
    return moment_of_wall_s(day * DAY_S) * US_PER_S;
}

/* 0 is Monday (ISO 8601); 1970-01-01 was a Thursday. */
static int weekday_of(int64_t day)
{
    return (int)(day + 3 - floor_div(day + 3, WEEK_DAYS) * WEEK_DAYS);
}

/* ---- words ---- */

/* Bytes of UTF-8 count as letters, for the sake of µs. No isalpha: it asks the locale. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

static void skip_blanks(struct str *rest)
{
    while (rest->n && (rest->p[0] == ' ' || rest->p[0] == '\t'))
        *rest = str_skip(*rest, 1);
}

static struct str head_of(struct str s, bool (*belongs)(char))
{
    size_t n = 0;
    while (n < s.n && belongs(s.p[n]))
        n++;
    return (struct str){s.p, n};
}

/* Takes `word`, and the blanks behind it, off `*rest` if that begins with it. */
static bool take_word(struct str *rest, const char *word)
{
    struct str head = head_of(*rest, is_letter);
    if (!str_ieq(head, str_from(word)))
        return false;
    *rest = str_skip(*rest, head.n);
    skip_blanks(rest);
    return true;
}

static bool take_char(struct str *rest, char c)
{
    if (!rest->n || rest->p[0] != c)
        return false;
    *rest = str_skip(*rest, 1);
    return true;
}

/* The part of `whole` before `rest`, which is its end. */
static struct str before(struct str whole, struct str rest)
{
    return str_trim((struct str){whole.p, whole.n - rest.n});
}

/* ---- spans ---- */

static const struct {
    const char *names; /* the last row has the micro sign (U+00B5) and the Greek letter (U+03BC) */
    int64_t us;
} units[] = {
    {"w wk wks week weeks", 7 * DAY_US},
    {"d day days", DAY_US},
    {"h hr hrs hour hours", HOUR_US},
    {"m min mins minute minutes", MINUTE_US},
    {"s sec secs second seconds", US_PER_S},
    {"ms msec msecs millisecond milliseconds", 1000},
    {"us usec usecs microsecond microseconds µs μs", 1},
};
#define UNIT_NAMES "w, d, h, m, s, ms, us"

/* 0: no such unit. */
static int64_t unit_us(struct str name)
{
    for (size_t i = 0; name.n && i < COUNT(units); i++) {
        struct str names = str_from(units[i].names);
        while (names.n)
            if (str_ieq(str_cut(&names, ' '), name))
                return units[i].us;
    }
    return 0;
}

/* whole + fraction / scale */
struct number {
    int64_t whole, fraction, scale;
};

/* Digits beyond a billionth are dropped: of a week, that is less than a millisecond. */
static bool take_number(struct str *rest, struct number *n, struct err *why)
{
    struct str whole = head_of(*rest, is_digit), fraction = STR_NONE;
    *n = (struct number){.scale = 1};
    if (!whole.n && !rest->n)
        return err_set(why, "a number is missing");
    if (!whole.n)
        return err_set(why, "no number where it says \"%.*s\"", FOUND(*rest));
    if (!str_to_i64(whole, &n->whole))
        return err_set(why, "%.*s is too much", FOUND(whole));
    *rest = str_skip(*rest, whole.n);
    if (take_char(rest, '.')) {
        fraction = head_of(*rest, is_digit);
        if (!fraction.n)
            return err_set(why, "no digit behind the point of \"%.*s.\"", FOUND(whole));
        *rest = str_skip(*rest, fraction.n);
    }
    for (size_t i = 0; i < MIN(fraction.n, (size_t)9); i++) {
        n->fraction = n->fraction * 10 + (fraction.p[i] - '0');
        n->scale *= 10;
    }
    return true;
}

/* "2 hours": how much, and of which unit. */
static bool take_part(struct str *rest, __int128_t *part_us, int64_t *of_us, struct err *why)
{
    struct str all = *rest;
    struct number n = {1, 0, 1};
    if (!take_word(rest, "a") && !take_word(rest, "an") && !take_number(rest, &n, why))
        return false;
    struct str amount = before(all, *rest);
    skip_blanks(rest);
    struct str name = head_of(*rest, is_letter);
    *of_us = unit_us(name);
    if (!*of_us && name.n)
        return err_set(why, "\"%.*s\" is none of the units " UNIT_NAMES, FOUND(name));
    if (!*of_us)
        return err_set(why, "%.*s needs a unit, one of " UNIT_NAMES, FOUND(amount));
    *rest = str_skip(*rest, name.n);
    skip_blanks(rest);
    *part_us = (__int128_t)n.whole * *of_us + (__int128_t)n.fraction * *of_us / n.scale;
    return true;
}

static bool read_span(struct str text, int64_t *out_us, struct err *why)
{
    struct str rest = str_trim(text);
    __int128_t total_us = 0, part_us = 0;
    int64_t last_unit_us = INT64_MAX, of_us = 0;
    for (;;) {
        if (!take_part(&rest, &part_us, &of_us, why))
            return false;
        if (of_us >= last_unit_us) /* "5m2h" is more often a slip than meant */
            return err_set(why, "larger units come first, and each once");
        last_unit_us = of_us;
        total_us += part_us; /* at most seven parts below 2^63 * 2^40: no overflow */
        if (!rest.n)
            break;
        if (take_char(&rest, ','))
            skip_blanks(&rest);
        (void)take_word(&rest, "and");
    }
    if (total_us > INT64_MAX)
        return err_set(why, "it is longer than 292,000 years");
    if (total_us <= 0)
        return err_set(why, "it must be longer than nothing");
    *out_us = (int64_t)total_us;
    return true;
}

bool when_span(struct str text, int64_t *out_us, struct err *e)
{
    struct err why = {0};
    return read_span(text, out_us, &why) ||
           err_set(e, "expected a span of time, got \"%.*s\": %s. Examples: " WHEN_SPAN_EXAMPLES,
                   FOUND(text), why.text);
}

/* ---- days and times of day ---- */

/* A moment as it is written: a day, a time, or both. It becomes one when all is read, for the zone stands last and
 * decides which day is today. */
struct calendar {
    enum { NO_DAY, DATE, DAYS_BACK, WEEKDAY } day_kind;
    int64_t day; /* DATE: since 1970; DAYS_BACK: before today; WEEKDAY: 0 is Monday */
    bool has_time, zoned;
    int64_t time_us; /* since midnight */
    int zone_s;      /* east of Greenwich */
};

static enum seen scan_date(struct str *rest, struct calendar *c, struct err *why)
{
    enum { DATE_BYTES = 10 };
    struct date d;
    struct str year = head_of(*rest, is_digit);
    if (year.n != 4 || rest->n < 5 || rest->p[4] != '-')
        return ABSENT;
    bool ends = rest->n >= DATE_BYTES && !(rest->n > DATE_BYTES && is_digit(rest->p[DATE_BYTES]));
    if (!ends || !date_at(rest->p, &d))
        return SAY_WRONG(why, "a date has ten characters, like 2026-11-25");
    if (!date_exists(&d) && d.month - 1 < 12)
        return SAY_WRONG(why, "the days of %04u-%02u are 01 to %u", d.year, d.month,
                         month_days(d.year, d.month));
    if (!date_exists(&d))
        return SAY_WRONG(why, "months are 01 to 12, not %02u", d.month);
    c->day_kind = DATE;
    c->day = days_from_civil(&d);
    *rest = str_skip(*rest, DATE_BYTES);
    return SEEN;
}

static const struct {
    const char *word;
    size_t letters_min; /* "mon" and "thurs" will do */
    int kind, day;
} day_words[] = {
    {"today", 5, DAYS_BACK, 0}, {"yesterday", 9, DAYS_BACK, 1}, {"monday", 3, WEEKDAY, 0},
    {"tuesday", 3, WEEKDAY, 1}, {"wednesday", 3, WEEKDAY, 2},   {"thursday", 3, WEEKDAY, 3},
    {"friday", 3, WEEKDAY, 4},  {"saturday", 3, WEEKDAY, 5},    {"sunday", 3, WEEKDAY, 6},
};

static enum seen scan_day_word(struct str *rest, struct calendar *c, struct err *why)
{
    struct str ahead = *rest;
    bool last = take_word(&ahead, "last");
    struct str word = head_of(ahead, is_letter);
    for (size_t i = 0; i < COUNT(day_words); i++) {
        struct str whole = str_from(day_words[i].word);
        whole.n = MIN(whole.n, word.n);
        if (word.n < day_words[i].letters_min || !str_ieq(word, whole))
            continue;
        if (last && day_words[i].kind != WEEKDAY)
            break;
        c->day_kind = day_words[i].kind;
        c->day = day_words[i].day;
        *rest = str_skip(ahead, word.n);
        return SEEN;
    }
    if (!last)
        return ABSENT;
    return SAY_WRONG(why, "expected a weekday behind \"last\", not \"%.*s\"", FOUND(ahead));
}

/* Two digits, if there are as many. */
static unsigned next_pair(const char **p, const char *end, unsigned *bad)
{
    if (end - *p < 2) {
        *bad = 1;
        return 0;
    }
    *p += 2;
    return pair(*p - 2, bad);
}

/* H:MM, HH:MM, HH:MM:SS, the last perhaps with a fraction. */
static enum seen scan_time(struct str *rest, struct calendar *c, struct err *why)
{
    struct str hours = head_of(*rest, is_digit);
    unsigned bad = 0, hour, minute, second = 0, us = 0;
    if (hours.n < 1 || hours.n > 2 || rest->n <= hours.n || rest->p[hours.n] != ':')
        return ABSENT;
    const char *p = rest->p + hours.n + 1, *end = rest->p + rest->n;
    hour = hours.n == 2 ? pair(hours.p, &bad) : (unsigned)(hours.p[0] - '0');
    minute = next_pair(&p, end, &bad);
    if (p < end && *p == ':') {
        p++;
        second = next_pair(&p, end, &bad);
        p = fraction_at(p, end, &us);
    }
    if (bad || !p || !time_exists(hour, minute, second))
        return SAY_WRONG(why,
                         "times are 00:00 to 23:59, or with seconds like 14:00:05, not \"%.*s\"",
                         FOUND(*rest));
    c->has_time = true;
    c->time_us = since_midnight_us(hour, minute, second, us);
    *rest = str_skip(*rest, (size_t)(p - rest->p));
    return SEEN;
}

/* Names of summer and winter times are not taken: many of them mean several zones. */
static enum seen scan_zone(struct str *rest, struct calendar *c, struct err *why)
{
    c->zoned = take_word(rest, "z") || take_word(rest, "utc") || take_word(rest, "gmt");
    if (c->zoned)
        return SEEN;
    if (!rest->n || (rest->p[0] != '+' && rest->p[0] != '-'))
        return ABSENT;
    const char *after = zone_at(rest->p, rest->p + rest->n, &c->zone_s);
    if (!after)
        return SAY_WRONG(why, "zones are Z, UTC or like +01:00, not \"%.*s\"", FOUND(*rest));
    c->zoned = true;
    *rest = str_skip(*rest, (size_t)(after - rest->p));
    return SEEN;
}

static enum seen scan_calendar(struct str text, struct calendar *c, struct err *why)
{
    struct str rest = text;
    *c = (struct calendar){0};
    enum seen day = scan_date(&rest, c, why);
    if (day == ABSENT)
        day = scan_day_word(&rest, c, why);
    if (day == WRONG)
        return WRONG;
    skip_blanks(&rest);
    bool joined = day == SEEN && (take_word(&rest, "t") || take_word(&rest, "at"));
    enum seen hour = scan_time(&rest, c, why);
    if (hour == ABSENT && day == ABSENT)
        return ABSENT;
    if (hour == ABSENT && joined)
        return SAY_WRONG(why, "expected a time like 14:00 behind the day");
    skip_blanks(&rest);
    if (hour == WRONG || (hour == SEEN && scan_zone(&rest, c, why) == WRONG))
        return WRONG;
    skip_blanks(&rest);
    if (rest.n)
        return SAY_WRONG(why, "\"%.*s\" is not understood", FOUND(rest));
    return SEEN;
}

/* Days since 1970. */
static int64_t calendar_day(const struct calendar *c, int64_t now_us)
{
    int64_t today = c->zoned ? floor_div(now_us + c->zone_s * US_PER_S, DAY_US) : local_day(now_us);
    switch (c->day_kind) {
    case DATE: return c->day;
    case WEEKDAY: { /* today's is none: "today" is shorter */
        int back = (weekday_of(today) - (int)c->day + WEEK_DAYS) % WEEK_DAYS;
        return today - (back ? back : WEEK_DAYS);
    }
    case NO_DAY:
    case DAYS_BACK: break;
    }
    return today - c->day;
}

static int64_t calendar_moment_us(const struct calendar *c, int64_t now_us)
{
    int64_t wall_s = calendar_day(c, now_us) * DAY_S + c->time_us / US_PER_S;
    int64_t moment_s = c->zoned ? wall_s - c->zone_s : moment_of_wall_s(wall_s);
    return moment_s * US_PER_S + c->time_us % US_PER_S;
}

/* ---- moments ---- */

static enum seen as_now(struct str text, int64_t now_us, int64_t *out_us, struct err *why)
{
    (void)why;
    *out_us = now_us;
    return str_ieq(text, STR("now")) ? SEEN : ABSENT;
}

/* Which unit: 10^11 seconds are the year 5138, and 10^11 ms were in 1973. */
static enum seen as_unix_time(struct str text, int64_t now_us, int64_t *out_us, struct err *why)
{
    const int64_t first_ms = 100000000000;
    struct number n;
    struct str rest = text;
    (void)now_us;
    if (!take_char(&rest, '@'))
        return ABSENT;
    skip_blanks(&rest);
    if (!take_number(&rest, &n, why))
        return WRONG;
    if (rest.n)
        return SAY_WRONG(why, "\"%.*s\" is not understood", FOUND(rest));
    int64_t unit = n.whole < first_ms ? US_PER_S : 1000;
    if (__builtin_mul_overflow(n.whole, unit, out_us))
        *out_us = INT64_MAX; /* the check of years will tell */
    else
        *out_us += n.fraction * unit / n.scale;
    return SEEN;
}

static enum seen span_before(struct str span, int64_t now_us, int64_t *out_us, struct err *why)
{
    int64_t us = 0;
    if (!read_span(span, &us, why))
        return WRONG;
    if (__builtin_sub_overflow(now_us, us, out_us))
        *out_us = INT64_MIN; /* the check of years will tell */
    return SEEN;
}

static enum seen as_ago(struct str text, int64_t now_us, int64_t *out_us, struct err *why)
{
    struct str ago = STR("ago"), rest = text;
    if (take_char(&rest, '-'))
        return span_before(rest, now_us, out_us, why);
    if (text.n < ago.n || !str_ieq(str_skip(text, text.n - ago.n), ago))
        return ABSENT;
    return span_before((struct str){text.p, text.n - ago.n}, now_us, out_us, why);
}

static enum seen as_calendar(struct str text, int64_t now_us, int64_t *out_us, struct err *why)
{
    struct calendar c;
    enum seen seen = scan_calendar(text, &c, why);
    if (seen == SEEN)
        *out_us = calendar_moment_us(&c, now_us);
    return seen;
}

/* The last form: a span alone is that long ago. */
static enum seen as_span(struct str text, int64_t now_us, int64_t *out_us, struct err *why)
{
    struct str rest = text;
    if (is_digit(text.p[0]) || take_word(&rest, "a") || take_word(&rest, "an"))
        return span_before(text, now_us, out_us, why);
    return SAY_WRONG(why, "it is no day, time or span");
}

static bool in_years(int64_t us, struct err *why)
{
    if (us < moment_min_us || us >= moment_end_us)
        return err_set(why, "it is not in the years 0001 to 9999");
    return true;
}

static bool read_moment(struct str text, int64_t now_us, int64_t *out_us, struct err *why)
{
    static enum seen (*const forms[])(struct str, int64_t, int64_t *, struct err *) = {
        as_now, as_unix_time, as_ago, as_calendar, as_span,
    };
    struct str rest = str_trim(text);
    enum seen seen = ABSENT;
    int64_t us = 0;
    if (!rest.n)
        return err_set(why, "there is nothing");
    for (size_t i = 0; i < COUNT(forms) && seen == ABSENT; i++)
        seen = forms[i](rest, now_us, &us, why);
    if (seen != SEEN || !in_years(us, why))
        return false;
    *out_us = us;
    return true;
}

bool when_parse(struct str text, int64_t now_us, int64_t *out_us, struct err *e)
{
    struct err why = {0};
    return read_moment(text, now_us, out_us, &why) ||
           err_set(e, "expected a moment, got \"%.*s\": %s. Examples: " WHEN_MOMENT_EXAMPLES,
                   FOUND(text), why.text);
}

/* ---- windows ---- */

struct window {
    int64_t from_us, until_us;
};

/* By the minutes that clocks show, but counted back in true time: in the hour after 02:59 became 02:00 again, the hour
 * before is the first 02:00. */
static struct window hour_before(int64_t now_us)
{
    int64_t now_s = floor_div(now_us, US_PER_S);
    struct tm tm = local_time(now_s);
    int64_t until_s = now_s - tm.tm_min * MINUTE_S - tm.tm_sec;
    return (struct window){(until_s - HOUR_S) * US_PER_S, until_s * US_PER_S};
}

static struct window week_before(int64_t now_us)
{
    int64_t today = local_day(now_us), monday = today - weekday_of(today);
    return (struct window){day_begin_us(monday - WEEK_DAYS), day_begin_us(monday)};
}

static enum seen as_last(struct str text, int64_t now_us, struct window *w, struct err *why)
{
    static const struct {
        const char *name;
        struct window (*before)(int64_t now_us);
    } periods[] = {{"hour", hour_before}, {"week", week_before}};
    struct str rest = text;
    (void)why;
    if (!take_word(&rest, "last"))
        return ABSENT;
    for (size_t i = 0; i < COUNT(periods); i++)
        if (str_ieq(rest, str_from(periods[i].name))) {
            *w = periods[i].before(now_us);
            return SEEN;
        }
    return ABSENT; /* a weekday, perhaps */
}

static enum seen as_two_moments(struct str text, int64_t now_us, struct window *w, struct err *why)
{
    struct str dots = STR(".."), from = text;
    const char *at = memmem(text.p, text.n, dots.p, dots.n);
    struct err inner = {0};
    if (!at)
        return ABSENT;
    from.n = (size_t)(at - text.p);
    if (!read_moment(from, now_us, &w->from_us, &inner))
        return SAY_WRONG(why, "of its beginning, %s", inner.text);
    if (!read_moment(str_skip(text, from.n + dots.n), now_us, &w->until_us, &inner))
        return SAY_WRONG(why, "of its end, %s", inner.text);
    return SEEN;
}

/* The last form. */
static enum seen as_day(struct str text, int64_t now_us, struct window *w, struct err *why)
{
    struct calendar c;
    enum seen seen = scan_calendar(text, &c, why);
    if (seen == WRONG)
        return WRONG;
    if (seen == ABSENT)
        return SAY_WRONG(why, "it is no day, no hour or week, and has no \"..\"");
    if (c.has_time)
        return SAY_WRONG(why, "it is one moment, and has no \"..\" and another");
    int64_t day = calendar_day(&c, now_us);
    *w = (struct window){day_begin_us(day), day_begin_us(day + 1)};
    return SEEN;
}

static bool read_window(struct str text, int64_t now_us, struct window *w, struct err *why)
{
    static enum seen (*const forms[])(struct str, int64_t, struct window *, struct err *) = {
        as_two_moments,
        as_last,
        as_day,
    };
    struct str rest = str_trim(text);
    enum seen seen = ABSENT;
    if (!rest.n)
        return err_set(why, "there is nothing");
    for (size_t i = 0; i < COUNT(forms) && seen == ABSENT; i++)
        seen = forms[i](rest, now_us, w, why);
    if (seen != SEEN || !in_years(w->from_us, why))
        return false;
    /* Also a day that a zone left out, as Samoa did 2011-12-30. */
    return w->from_us < w->until_us || err_set(why, "its end is not after its beginning");
}

bool when_window(struct str text, int64_t now_us, int64_t *from_us, int64_t *until_us,
                 struct err *e)
{
    struct err why = {0};
    struct window w = {0, 0};
    if (!read_window(text, now_us, &w, &why))
        return err_set(e, "expected a window of time, got \"%.*s\": %s. Examples: %s", FOUND(text),
                       why.text, WHEN_WINDOW_EXAMPLES);
    *from_us = w.from_us;
    *until_us = w.until_us;
    return true;
}

/* ---- for people to read ---- */

/* What snprintf, which returned `n`, left in `out`. */
static struct str written(const char *out, size_t out_bytes, int n)
{
    if (n < 0 || out_bytes == 0)
        return STR_NONE;
    return (struct str){out, MIN((size_t)n, out_bytes - 1)};
}

struct str when_span_text(int64_t us, char *out, size_t out_bytes)
{
    static const struct {
        uint64_t unit_us, round_us; /* round_us is also the unit of the rest */
        const char *name, *rest_name;
    } tiers[] = {
        {1, 1, "µs", NULL},
        {1000, 1000, "ms", NULL},
        {US_PER_S, US_PER_S / 10, "s", NULL},
        {MINUTE_US, US_PER_S, "min", "s"},
        {HOUR_US, MINUTE_US, "h", "min"},
        {DAY_US, HOUR_US, "d", "h"},
    };
    const char *sign = us < 0 ? "-" : "";
    uint64_t size_us = us < 0 ? 0 - (uint64_t)us : (uint64_t)us, rounded_us = 0;
    size_t i = us == 0 ? 2 : 0; /* nothing is "0 s" */
    /* Upward, by the rounded value: 59.96 s are 1 min, never 60.0 s, and 59.5 s not yet. */
    for (;; i++) {
        rounded_us = (size_us + tiers[i].round_us / 2) / tiers[i].round_us * tiers[i].round_us;
        if (i + 1 == COUNT(tiers) || rounded_us < tiers[i + 1].unit_us)
            break;
    }
    unsigned long long whole = rounded_us / tiers[i].unit_us;
    unsigned long long rest = rounded_us % tiers[i].unit_us / tiers[i].round_us;
    int n;
    if (rest == 0)
        n = snprintf(out, out_bytes, "%s%llu %s", sign, whole, tiers[i].name);
    else if (tiers[i].rest_name)
        n = snprintf(out, out_bytes, "%s%llu %s %llu %s", sign, whole, tiers[i].name, rest,
                     tiers[i].rest_name);
    else
        n = snprintf(out, out_bytes, "%s%llu.%llu %s", sign, whole, rest, tiers[i].name);
    return written(out, out_bytes, n);
}

static struct str write_local(int64_t us, bool zoned, char *out, size_t out_bytes)
{
    struct tm tm = local_time(floor_div(us, US_PER_S));
    char zone[32] = "";
    long minutes = tm.tm_gmtoff / MINUTE_S; /* seconds of an offset ended with local mean time */
    if (zoned && minutes)
        snprintf(zone, sizeof zone, "%c%02ld:%02ld", minutes < 0 ? '-' : '+', labs(minutes) / 60,
                 labs(minutes) % 60);
    else if (zoned)
        snprintf(zone, sizeof zone, "Z");
    int n = snprintf(out, out_bytes, "%04d-%02d-%02d %02d:%02d:%02d%s", tm.tm_year + 1900,
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, zone);
    return written(out, out_bytes, n);
}

struct str when_text(int64_t us, char *out, size_t out_bytes)
{
    return write_local(us, false, out, out_bytes);
}

struct str when_text_zoned(int64_t us, char *out, size_t out_bytes)
{
    return write_local(us, true, out, out_bytes);
}
