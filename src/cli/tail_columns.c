/* tail_columns.c -- see tail_columns.h. A column is a row of the table; what it shows is one function. */
#include "cli/tail_columns.h"

#include <math.h>
#include <stdarg.h>

#include "base/clock.h"
#include "cli/numbers.h"
#include "observe/log_meaning.h"

#define HASH_SHOWN 8 /* characters of a key's hash, and of an id */
#define GAP        2 /* blanks between columns */

PRINTF_LIKE(2, 3) static void say(struct tail_cell *c, const char *fmt, ...)
{
    size_t at = strlen(c->text);
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->text + at, sizeof c->text - at, fmt, args);
    va_end(args);
}

/* A string field, decoded and on one line, without secrets. It is cut to the cell's room. */
static void say_text(const struct tail_view *v, struct tail_cell *c, const struct logline *l,
                     enum log_field field, struct str raw)
{
    char decoded[sizeof c->text];
    size_t at = strlen(c->text), room = sizeof c->text - 1 - at;
    if (!(l->found >> field & 1))
        return;
    struct str text = logline_text(l, field, raw, decoded, sizeof decoded);
    at += tail_view_public(v, text, c->text + at, room);
    c->text[at] = '\0';
}
#define SAY(cell, l, field, member) say_text(v, cell, l, LOG_##field, (l)->r.member)

/* ---- the usual columns ---- */

/* Local time; a second's text is made once. */
static void say_time(struct tail_cell *c, int64_t us, bool with_day)
{
    static time_t second = -1;
    static char day[16], clock[16];
    time_t now = (time_t)(us / 1000000);
    if (now != second) {
        struct tm tm;
        localtime_r(&now, &tm);
        strftime(day, sizeof day, "%Y-%m-%d ", &tm);
        strftime(clock, sizeof clock, "%H:%M:%S", &tm);
        second = now;
    }
    say(c, "%s%s.%03d", with_day ? day : "", clock, (int)(us / 1000 % 1000));
}

static void tell_time(const struct tail_view *v, const struct logline *l, struct tail_cell *c)
{
    c->style = STYLE_DIM;
    if (l->found & LOG_BIT(timestamp))
        say_time(c, l->r.timestamp, v->term->columns == 0);
}

static void tell_status(const struct tail_view *v, const struct logline *l, struct tail_cell *c)
{
    static const enum term_style styles[] = {[LOG_OUTCOME_SUCCESS] = STYLE_GOOD,
                                             [LOG_OUTCOME_FAILURE] = STYLE_BAD,
                                             [LOG_OUTCOME_CANCELLED] = STYLE_WARN,
                                             [LOG_OUTCOME_UNKNOWN] = STYLE_DIM};
    static const char *const words[] = {"ok", "err", "gone", "?"};
    enum log_outcome outcome = log_outcome_of(l);
    (void)v;
    c->style = styles[outcome];
    if (l->found & LOG_BIT(http_status)) {
        say(c, "%d", (int)l->r.http_status);
        if (l->r.http_status >= 400 && l->r.http_status < 500)
            c->style = STYLE_WARN; /* the client's doing */
    } else {
        say(c, "%s", words[outcome]);
    }
}

static void tell_model(const struct tail_view *v, const struct logline *l, struct tail_cell *c)
{
    c->style = STYLE_ACCENT;
    SAY(c, l, model, model);
}

static void tell_provider(const struct tail_view *v, const struct logline *l, struct tail_cell *c)
{
    SAY(c, l, provider, provider);
}

static bool is_slow(const struct logline *l)
{
    return (l->found & LOG_BIT(slow)) && l->r.slow;
}

static void tell_latency(const struct tail_view *v, const struct logline *l, struct tail_cell *c)
{
    (void)v;
    if (l->found & LOG_BIT(latency))
        say(c, "%s", num_ms((double)l->r.latency_us).text);
    c->style = is_slow(l) ? STYLE_WARN : STYLE_NONE;
}

static void tell_ttft(const struct tail_view *v, const struct logline *l, struct tail_cell *c)
{
    (void)v;
    if (l->found & LOG_BIT(ttft))
        say(c, "%s", num_ms((double)l->r.ttft_us).text);
}

static void tell_tokens(const struct tail_view *v, const struct logline *l, struct tail_cell *c)
{
    static const struct str estimated = {"estimated", 9};
    uint64_t both = LOG_BIT(prompt_tokens) | LOG_BIT(completion_tokens);
    (void)v;
    if (!(l->found & both))
        return;
    bool guess = log_text_is(l, LOG_BIT(tokens_source), l->r.tokens_source, estimated);
    double in = l->found & LOG_BIT(prompt_tokens) ? (double)l->r.prompt_tokens : NAN;
    say(c, "%s%s", guess ? "~" : "", num_count(in).text);
    if (l->found & LOG_BIT(completion_tokens))
        say(c, "\xE2\x86\x92%s", num_count((double)l->r.completion_tokens).text);
}

static void tell_rate(const struct tail_view *v, const struct logline *l, struct tail_cell *c)
{
    (void)v;
    if (l->found & LOG_BIT(tokens_per_second))
        say(c, "%s", num_rate(l->r.tokens_per_second).text);
}

static void tell_cost(const struct tail_view *v, const struct logline *l, struct tail_cell *c)
{
    (void)v;
    if (l->found & LOG_BIT(cost_usd))
        say(c, "%s", num_usd(l->r.cost_usd).text);
}

/* The key's name, or the beginning of its hash; and the user. */
static void tell_who(const struct tail_view *v, const struct logline *l, struct tail_cell *c)
{
    if (l->found & LOG_BIT(key_alias))
        SAY(c, l, key_alias, key_alias);
    else if (l->found & LOG_BIT(key_hash))
        say(c, "#%.*s", (int)MIN(l->r.key_hash.n, (size_t)HASH_SHOWN), l->r.key_hash.p);
    if (c->text[0] && l->found & LOG_BIT(user))
        say(c, "/");
    SAY(c, l, user, user);
}

static void tell_id(const struct tail_view *v, const struct logline *l, struct tail_cell *c)
{
    (void)v;
    c->style = STYLE_DIM;
    if (!(l->found & LOG_BIT(request_id)))
        return;
    struct str id = l->r.request_id,
               prefix = STR("chatcmpl-"); /* LiteLLM's begin so, all of them */
    id = str_starts(id, prefix) ? str_skip(id, prefix.n) : id;
    say(c, "%.*s", (int)MIN(id.n, (size_t)HASH_SHOWN), id.n ? id.p : "");
}

static void note(struct tail_cell *c, const char *text)
{
    say(c, "%s%s", c->text[0] ? ", " : "", text);
}

/* What is not as usual. */
static void tell_notes(const struct tail_view *v, const struct logline *l, struct tail_cell *c)
{
    static const struct str hit = {"hit", 3}, cut[] = {{"length", 6}, {"max_tokens", 10}},
                            filtered = {"content_filter", 14};
    struct str end = l->found & LOG_BIT(finish_reason) ? l->r.finish_reason : STR_NONE;
    c->style = STYLE_WARN;
    if (is_slow(l))
        note(c, "slow");
    if (log_outcome_of(l) == LOG_OUTCOME_CANCELLED)
        note(c, "cancelled");
    if (l->found & LOG_BIT(attempts) && l->r.attempts > 1) {
        note(c, "");
        say(c, "%lld attempts", (long long)l->r.attempts);
    }
    if (l->found & LOG_BIT(fallback_from)) {
        note(c, "instead of ");
        SAY(c, l, fallback_from, fallback_from);
    }
    if (log_text_is(l, LOG_BIT(cache), l->r.cache, hit))
        note(c, "cache hit");
    if (str_eq(end, cut[0]) || str_eq(end, cut[1]))
        note(c, "cut short");
    if (str_eq(end, filtered))
        note(c, "filtered");
}

// clang-format off
const struct tail_column tail_columns[] = {
    {"time",      12, 12, ALIGN_LEFT,  0, tell_time},
    {"status",     6,  6, ALIGN_LEFT,  0, tell_status},
    {"model",     16, 32, ALIGN_LEFT,  0, tell_model},
    {"provider",  10, 12, ALIGN_LEFT,  4, tell_provider},
    {"latency",    9,  9, ALIGN_RIGHT, 1, tell_latency},
    {"ttft",       8,  8, ALIGN_RIGHT, 7, tell_ttft},
    {"tokens",    13, 13, ALIGN_RIGHT, 2, tell_tokens},
    {"tok/s",      9,  9, ALIGN_RIGHT, 9, tell_rate},
    {"cost",      10, 10, ALIGN_RIGHT, 5, tell_cost},
    {"key/user",  12, 24, ALIGN_LEFT,  8, tell_who},
    {"id",         8,  8, ALIGN_LEFT,  6, tell_id},
    {"",          12, 40, ALIGN_LEFT,  3, tell_notes},
};
// clang-format on
const size_t tail_column_count = COUNT(tail_columns);
_Static_assert(COUNT(tail_columns) <= TAIL_COLUMNS_MAX, "widths have room for all");

#define TIME_WITH_DAY 23

static int total_of(const int *widths)
{
    int total = 0;
    for (size_t i = 0; i < COUNT(tail_columns); i++)
        total += widths[i] ? widths[i] + (total ? GAP : 0) : 0;
    return total;
}

/* The one to leave out first of those that are in; -1: all that are have to stay. */
static int least_wanted(const int *widths)
{
    int least = -1;
    for (size_t i = 0; i < COUNT(tail_columns); i++)
        if (widths[i] && tail_columns[i].rank > (least < 0 ? 0 : tail_columns[least].rank))
            least = (int)i;
    return least;
}

void tail_columns_fit(int terminal_columns, int *widths)
{
    int least;
    for (size_t i = 0; i < COUNT(tail_columns); i++)
        widths[i] = terminal_columns ? tail_columns[i].columns : tail_columns[i].columns_max;
    if (terminal_columns == 0) {
        widths[0] = TIME_WITH_DAY;
        return;
    }
    while (total_of(widths) > terminal_columns && (least = least_wanted(widths)) >= 0)
        widths[least] = 0;
    int left = terminal_columns - total_of(widths);
    for (size_t i = 0; i < COUNT(tail_columns) && left > 0; i++) {
        int more = widths[i] ? MIN(left, tail_columns[i].columns_max - widths[i]) : 0;
        widths[i] += more;
        left -= more;
    }
}

/* ---- --fields ---- */

static void say_string(const struct tail_view *v, const struct logline *l, enum log_field field,
                       struct tail_cell *c)
{
    struct str text;
    memcpy(&text, (const char *)&l->r + record_fields[field].offset, sizeof text);
    if (record_fields[field].kind == RECORD_RAW) {
        c->whole = text;
        return;
    }
    if (field == LOG_key_hash && !v->show_content)
        text.n = MIN(text.n, (size_t)HASH_SHOWN);
    say_text(v, c, l, field, text);
}

void tail_field_tell(const struct tail_view *v, const struct logline *l, enum log_field field,
                     struct tail_cell *c)
{
    enum record_kind kind = record_fields[field].kind;
    const char *member = (const char *)&l->r + record_fields[field].offset;
    int64_t whole = 0;
    double number = 0;
    if (!(l->found >> field & 1))
        return;
    if (kind == RECORD_TIME || kind == RECORD_INT || kind == RECORD_MS)
        memcpy(&whole, member, sizeof whole);
    else if (kind == RECORD_USD || kind == RECORD_RATE)
        memcpy(&number, member, sizeof number);
    switch (kind) {
    case RECORD_TIME: say_time(c, whole, true); break;
    case RECORD_INT: say(c, "%lld", (long long)whole); break;
    case RECORD_MS: say(c, "%.3f", (double)whole / 1000); break;
    case RECORD_USD: say(c, "%.10g", number); break;
    case RECORD_RATE: say(c, "%.2f", number); break;
    case RECORD_BOOL: say(c, "%s", *member ? "true" : "false"); break;
    case RECORD_STR:
    case RECORD_RAW: say_string(v, l, field, c); break;
    }
}

int tail_field_columns(enum log_field field)
{
    static const int columns[] = {[RECORD_TIME] = TIME_WITH_DAY,
                                  [RECORD_STR] = 20,
                                  [RECORD_INT] = 8,
                                  [RECORD_MS] = 11,
                                  [RECORD_USD] = 14,
                                  [RECORD_RATE] = 9,
                                  [RECORD_BOOL] = 6,
                                  [RECORD_RAW] = 30};
    return MAX(columns[record_fields[field].kind], (int)strlen(record_fields[field].name));
}
