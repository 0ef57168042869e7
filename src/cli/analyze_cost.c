/* analyze_cost.c -- what was spent (observe/spend.h): the sum, its rate and where that leads, what was wasted and saved, and for whom.
 *
 * Wanted by --tokens and --cost. What the log does not say is said to be so: requests without a price have a table of their own, with what to
 * do about them. */
#include <math.h>
#include <stdarg.h>

#include "base/when.h"
#include "cli/analyze.h"
#include "cli/graph.h"
#include "cli/table_text.h"
#include "observe/spend.h"

#define BAR_COLUMNS 12
#define SPARK_MAX   48
#define HOUR_US     INT64_C(3600000000)
#define DAY_US      (24 * HOUR_US)

static bool wanted(const struct analysis *a)
{
    return a->show.tokens;
}

static void *make(const struct analysis *a)
{
    struct spend *s = mem_alloc(sizeof *s);
    spend_init(s, a->prices);
    return s;
}

static void take(void *state, const struct logline *l, enum log_event event, struct str line)
{
    (void)line;
    spend_take(state, l, event);
}

static void merge(void *into, void *from)
{
    spend_merge(into, from);
}

static void destroy(void *state)
{
    spend_fini(state);
    mem_free(state);
}

/* ---- the figures ---- */

static double per(uint64_t pico, uint64_t count)
{
    return count ? USD_OF_PICO(pico) / (double)count : NAN;
}

static double share(uint64_t part, uint64_t all)
{
    return all ? (double)part / (double)all : NAN;
}

static const char *const methods[] = {
    [SPEND_NO_METHOD] = "the log is shorter than an hour",
    [SPEND_MEAN] = "at the log's mean",
    [SPEND_HOUR_OF_WEEK] = "each hour as in the last 7 days",
};
static const char *const method_names[] = {
    [SPEND_NO_METHOD] = "none", [SPEND_MEAN] = "mean", [SPEND_HOUR_OF_WEEK] = "hour_of_week"};

static void fact(struct table *t, const char *what, struct num value, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void fact(struct table *t, const char *what, struct num value, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    table_row(t);
    table_text(t, STYLE_NONE, str_from(what));
    table_text(t, STYLE_NONE, str_from(value.text));
    table_text(t, STYLE_NONE, str_from(text));
}

static struct num usd_per_hour(double usd)
{
    struct num n = num_usd(usd);
    size_t at = strlen(n.text);
    snprintf(n.text + at, sizeof n.text - at, "/h");
    return n;
}

static void put_rates(struct table *t, const struct spend *s)
{
    static const struct {
        const char *what;
        int minutes;
    } rates[] = {{"Last hour", 60}, {"Last 24 hours", 1440}, {"Whole time", 0}};
    for (size_t i = 0; i < COUNT(rates); i++) {
        struct spend_rate r = spend_rate(s, rates[i].minutes);
        if (r.hours > 0)
            fact(t, rates[i].what, usd_per_hour(r.usd_per_hour), "%s in %s",
                 num_usd(r.usd_per_hour * r.hours).text, num_ms(r.hours * (double)HOUR_US).text);
    }
}

static void put_between(char *out, size_t out_bytes, const struct spend_ahead *ahead, double spent)
{
    *out = '\0';
    if (isfinite(ahead->low))
        snprintf(out, out_bytes, "%s to %s, ", num_usd(spent + ahead->low).text,
                 num_usd(spent + ahead->high).text);
}

static void put_ahead(struct table *t, const struct spend *s)
{
    char between[96], month[32];
    int64_t begin_us, end_us;
    if (s->last_us < s->first_us)
        return;
    struct spend_ahead ahead = spend_ahead(s, s->last_us + 30 * DAY_US);
    put_between(between, sizeof between, &ahead, 0);
    fact(t, "Next 30 days", num_usd(ahead.usd), "%s%s", between, methods[ahead.method]);
    spend_month(s->last_us, &begin_us, &end_us);
    time_t seconds = (time_t)(begin_us / 1000000);
    struct tm utc;
    ENSURE(gmtime_r(&seconds, &utc));
    strftime(month, sizeof month, "%B (UTC)", &utc);
    ahead = spend_ahead(s, end_us);
    double spent = spend_between(s, begin_us, end_us);
    put_between(between, sizeof between, &ahead, spent);
    fact(t, month, num_usd(spent + ahead.usd), "%s%s so far%s", between, num_usd(spent).text,
         s->first_us > begin_us ? " in this log (begins mid-month)" : "");
}

static void put_waste(struct table *t, const struct spend *s)
{
    const struct spend_sum *all = &s->total;
    if (all->failed_pico)
        fact(t, "Failed requests", num_usd(USD_OF_PICO(all->failed_pico)), "%s of all",
             num_pct(share(all->failed_pico, all->pico)).text);
    if (all->cancelled_pico)
        fact(t, "Cancelled requests", num_usd(USD_OF_PICO(all->cancelled_pico)), "%s of all",
             num_pct(share(all->cancelled_pico, all->pico)).text);
    if (s->retried || s->attempt_lines)
        fact(t, "Failed attempts", num_usd(USD_OF_PICO(s->attempt_pico)),
             "on top; %s requests took %s attempts beyond the first",
             num_count((double)s->retried).text, num_count((double)s->extra_attempts).text);
}

/* Sums over the models. */
static struct spend_model all_models(const struct spend *s)
{
    struct spend_model all = {0};
    for (size_t i = 0; i < s->models.count; i++) {
        const struct spend_model *m = s->models.all[i]->value;
        all.cached_tokens += m->cached_tokens;
        sum_add(&all.saved_pico, m->saved_pico);
        all.cached_unpriced += m->cached_unpriced;
        all.unpriced += m->unpriced;
        all.unpriced_tokens += m->unpriced_tokens;
        all.free += m->free;
    }
    return all;
}

static void put_saved(struct table *t, const struct spend *s)
{
    struct spend_model all = all_models(s);
    struct spend_saved hits = spend_saved_by_hits(s);
    if (all.cached_tokens)
        fact(t, "Saved by prompt caches", num_usd(USD_OF_PICO(all.saved_pico)),
             "%s tokens read from them, at list prices%s%s",
             num_count((double)all.cached_tokens).text, all.cached_unpriced ? "; no price: " : "",
             all.cached_unpriced ? num_count((double)all.cached_unpriced).text : "");
    if (hits.hits)
        fact(t, "Saved by kept answers", num_usd(hits.usd),
             "about: %s hits at their model's mean cost%s%s", num_count((double)hits.hits).text,
             hits.unknown ? "; cost not known: " : "",
             hits.unknown ? num_count((double)hits.unknown).text : "");
}

/* By day where there are more hours than columns; the least and the greatest are said, as a picture has no axis. */
static void put_spark(struct table *t, const struct spend *s, bool utf8)
{
    char spark[GRAPH_BYTES(SPARK_MAX)], low[40];
    double values[SPARK_MAX] = {0}, least = INFINITY, greatest = 0;
    size_t count;
    struct spend_point *points = spend_points(s, &count);
    int64_t first_us = count ? points[0].start_us : 0;
    int64_t last_us = count ? points[count - 1].start_us : 0;
    bool by_hour = last_us - first_us < SPARK_MAX * HOUR_US;
    int64_t step_us = by_hour ? HOUR_US : DAY_US;
    int64_t last = last_us / step_us, first = MAX(first_us / step_us, last - SPARK_MAX + 1);
    for (size_t i = 0; i < count; i++)
        if (points[i].start_us / step_us >= first)
            values[points[i].start_us / step_us - first] += USD_OF_PICO(points[i].pico);
    mem_free(points);
    if (last == first)
        return;
    for (int64_t i = 0; i <= last - first; i++) {
        least = MIN(least, values[i]);
        greatest = MAX(greatest, values[i]);
    }
    graph_spark(utf8, values, (size_t)(last - first) + 1, 0, spark, sizeof spark);
    snprintf(low, sizeof low, "%s", num_usd(least).text);
    fact(t, by_hour ? "Hour by hour" : "Day by day (UTC)", (struct num){""}, "%s  %s to %s", spark,
         low, num_usd(greatest).text);
}

static void write_figures(const struct spend *s, enum table_format format, const struct term *term)
{
    static const struct table_column columns[] = {
        {"Cost", ALIGN_LEFT, "what"}, {"USD", ALIGN_RIGHT, "usd"}, {"", ALIGN_LEFT, "detail"}};
    const struct spend_sum *all = &s->total;
    struct table t;
    fputc('\n', term->out);
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "Spend");
    fact(&t, "Total", num_usd(USD_OF_PICO(all->pico)), "%s requests, %s tokens",
         num_count((double)all->requests).text, num_count((double)all->tokens).text);
    fact(&t, "A request", num_usd(per(all->pico, all->requests)), "%s a successful one",
         num_usd(per(all->pico, all->success)).text);
    fact(&t, "1,000 tokens", num_usd(1000 * per(all->pico, all->tokens)), "%s", "");
    put_rates(&t, s);
    put_ahead(&t, s);
    put_waste(&t, s);
    put_saved(&t, s);
    put_spark(&t, s, format == TABLE_TERMINAL ? term->utf8 : true);
    table_write(&t, format, term);
    table_fini(&t);
}

/* ---- for whom ---- */

static int by_cost(const void *a, const void *b)
{
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
    const struct spend_sum *sx = x->value, *sy = y->value;
    if (sx->pico != sy->pico)
        return sx->pico < sy->pico ? 1 : -1;
    if (sx->requests != sy->requests)
        return sx->requests < sy->requests ? 1 : -1;
    return group_compare_keys(x, y);
}

static void put_usd(struct table *t, double usd)
{
    table_number(t, STYLE_NONE, num_usd(usd), usd);
}

static void put_group(struct table *t, const struct spend_sum *all, const struct group *g,
                      bool bars, bool utf8)
{
    const struct spend_sum *sum = g->value;
    char bar[GRAPH_BYTES(BAR_COLUMNS)];
    double part = share(sum->pico, all->pico);
    table_row(t);
    table_text(t, STYLE_NONE, g->values[0].n ? g->values[0] : STR("-"));
    put_usd(t, USD_OF_PICO(sum->pico));
    table_number(t, STYLE_NONE, num_pct(part), part);
    if (bars) {
        graph_bar(utf8, BAR_COLUMNS, part, bar, sizeof bar);
        table_text(t, STYLE_ACCENT, str_from(bar));
    }
    table_number(t, STYLE_NONE, num_count((double)sum->requests), (double)sum->requests);
    table_number(t, STYLE_NONE, num_count((double)sum->tokens), (double)sum->tokens);
    put_usd(t, per(sum->pico, sum->requests));
    put_usd(t, 1000 * per(sum->pico, sum->tokens));
    put_usd(t, USD_OF_PICO(sum->failed_pico + sum->cancelled_pico));
}

/* A table of one line, which says what the sum says, is left out but for the models'. */
static void write_groups(const struct analysis *a, const struct spend *s, enum spend_by by,
                         enum table_format format, const struct term *term)
{
    struct groups groups, *g = &groups;
    spend_groups(s, by, g);
    const char *field = spend_names[by];
    bool bars = format == TABLE_TERMINAL;
    const struct table_column all[] = {
        {field, ALIGN_LEFT, NULL},
        {"Cost", ALIGN_RIGHT, "cost_usd"},
        {"Share", ALIGN_RIGHT, "share"},
        {"", ALIGN_LEFT, NULL}, /* the bar */
        {"Requests", ALIGN_RIGHT, "requests"},
        {"Tokens", ALIGN_RIGHT, "total_tokens"},
        {"A request", ALIGN_RIGHT, "usd_per_request"},
        {"1k tokens", ALIGN_RIGHT, "usd_per_1k_tokens"},
        {"Wasted", ALIGN_RIGHT, "failed_or_cancelled_usd"},
    };
    struct table_column columns[COUNT(all)];
    size_t count = 0, shown = MIN(g->count, (size_t)a->top);
    for (size_t i = 0; i < COUNT(all); i++)
        if (bars || i != 3)
            columns[count++] = all[i];
    struct group **sorted = groups_sorted(g, by_cost);
    struct table t;
    table_init(&t, columns, count);
    table_title(&t, "Cost by %s%s", field,
                by == SPEND_TAG ? " (a request counts once for each of its tags)" : "");
    for (size_t i = 0; i < shown; i++)
        put_group(&t, &s->total, sorted[i], bars, term->utf8);
    if (shown < g->count)
        table_note(&t, "%zu more: --top %zu%s", g->count - shown, g->count,
                   g->full ? "; \"other\" is those past the first " : "");
    if (g->count > 1 || by == SPEND_MODEL) {
        fputc('\n', term->out);
        table_write(&t, format, term);
    }
    table_fini(&t);
    mem_free(sorted);
    groups_fini(g);
}

/* ---- without a price ---- */

static const char how_to_price[] =
    "To price them: input_cost_per_token and output_cost_per_token (0 for machines of your own, or "
    "input_cost_per_second) in the model's litellm_params, or in a table that "
    "weir_settings.prices_file names. For this log: --prices FILE.";

static int by_unpriced(const void *a, const void *b)
{
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
    const struct spend_model *mx = x->value, *my = y->value;
    uint64_t nx = mx->unpriced_tokens + mx->free_tokens;
    uint64_t ny = my->unpriced_tokens + my->free_tokens;
    return nx != ny ? nx < ny ? 1 : -1 : group_compare_keys(x, y);
}

static void write_unpriced(const struct analysis *a, const struct spend *s,
                           enum table_format format, const struct term *term)
{
    static const struct table_column columns[] = {
        {"model", ALIGN_LEFT, NULL},          {"provider", ALIGN_LEFT, NULL},
        {"upstream_model", ALIGN_LEFT, NULL}, {"No price", ALIGN_RIGHT, "unpriced"},
        {"At $0", ALIGN_RIGHT, "free"},       {"Tokens", ALIGN_RIGHT, "tokens"}};
    struct group **sorted = groups_sorted(&s->models, by_unpriced);
    struct table t;
    int shown = 0;
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "Without a price, or at $0");
    for (size_t i = 0; i < s->models.count && shown < a->top; i++) {
        const struct spend_model *m = sorted[i]->value;
        uint64_t tokens = m->unpriced_tokens + m->free_tokens;
        if (!tokens)
            break;
        shown++;
        table_row(&t);
        for (int f = 0; f < 3; f++)
            table_text(&t, STYLE_NONE, sorted[i]->values[f].n ? sorted[i]->values[f] : STR("-"));
        table_number(&t, STYLE_WARN, num_count((double)m->unpriced), (double)m->unpriced);
        table_number(&t, STYLE_NONE, num_count((double)m->free), (double)m->free);
        table_number(&t, STYLE_NONE, num_count((double)tokens), (double)tokens);
    }
    if (shown) {
        fputc('\n', term->out);
        table_write_with_text(&t, how_to_price, format, term);
    }
    table_fini(&t);
    mem_free(sorted);
}

static void write_tables(const struct analysis *a, void *state, enum table_format format,
                         const struct term *t)
{
    const struct spend *s = state;
    write_figures(s, format, t);
    for (int by = 0; by < SPEND_BY_COUNT; by++)
        write_groups(a, s, (enum spend_by)by, format, t);
    write_unpriced(a, s, format, t);
}

/* ---- JSON ---- */

#define USD "%.12f"

static void put_sum(struct json_out *j, const struct spend_sum *s)
{
    json_number(j, "cost_usd", USD_OF_PICO(s->pico), USD);
    json_count(j, "requests", s->requests);
    json_count(j, "success", s->success);
    json_count(j, "total_tokens", s->tokens);
    json_number(j, "usd_per_request", per(s->pico, s->requests), USD);
    json_number(j, "usd_per_success", per(s->pico, s->success), USD);
    json_number(j, "usd_per_1k_tokens", 1000 * per(s->pico, s->tokens), USD);
    json_number(j, "failed_usd", USD_OF_PICO(s->failed_pico), USD);
    json_number(j, "cancelled_usd", USD_OF_PICO(s->cancelled_pico), USD);
}

static void json_rates(struct json_out *j, const struct spend *s)
{
    static const struct {
        const char *name;
        int minutes;
    } rates[] = {{"last_hour", 60}, {"last_day", 1440}, {"window", 0}};
    json_nest(j, "rates", "{");
    for (size_t i = 0; i < COUNT(rates); i++) {
        struct spend_rate r = spend_rate(s, rates[i].minutes);
        json_nest(j, rates[i].name, "{");
        json_number(j, "usd_per_hour", r.hours > 0 ? r.usd_per_hour : NAN, USD);
        json_number(j, "hours", r.hours, "%.6f");
        json_unnest(j, "}");
    }
    json_unnest(j, "}");
}

static void json_ahead(struct json_out *j, const char *name, const struct spend *s, double spent,
                       int64_t until_us)
{
    struct spend_ahead ahead = {.usd = NAN, .low = NAN, .high = NAN};
    if (s->last_us >= s->first_us)
        ahead = spend_ahead(s, until_us);
    json_nest(j, name, "{");
    json_text(j, "method", str_from(method_names[ahead.method]));
    json_stamp(j, "until", until_us);
    json_number(j, "spent_usd", spent, USD);
    json_number(j, "usd", spent + ahead.usd, USD);
    json_number(j, "low_usd", spent + ahead.low, USD);
    json_number(j, "high_usd", spent + ahead.high, USD);
    json_count(j, "days_known", (uint64_t)ahead.days_known);
    json_unnest(j, "}");
}

static void json_projections(struct json_out *j, const struct spend *s)
{
    bool stamped = s->last_us >= s->first_us;
    int64_t begin_us = 0, end_us = INT64_MAX;
    if (stamped)
        spend_month(s->last_us, &begin_us, &end_us);
    json_ahead(j, "next_30_days", s, 0, stamped ? s->last_us + 30 * DAY_US : INT64_MAX);
    json_ahead(j, "month", s, spend_between(s, begin_us, end_us), end_us);
}

static void json_saved(struct json_out *j, const struct spend *s)
{
    struct spend_model all = all_models(s);
    struct spend_saved hits = spend_saved_by_hits(s);
    json_nest(j, "saved", "{");
    json_number(j, "prompt_cache_usd", USD_OF_PICO(all.saved_pico), USD);
    json_count(j, "cached_tokens", all.cached_tokens);
    json_count(j, "cached_tokens_unpriced", all.cached_unpriced);
    json_number(j, "response_cache_usd", hits.usd, USD);
    json_count(j, "response_cache_hits", hits.hits);
    json_count(j, "response_cache_hits_unpriced", hits.unknown);
    json_unnest(j, "}");
}

static void json_groups(struct json_out *j, const struct spend *s, enum spend_by by)
{
    static const char *const names[] = {"by_model", "by_provider", "by_key_alias", "by_user",
                                        "by_tag"};
    struct groups groups;
    spend_groups(s, by, &groups);
    struct group **sorted = groups_sorted(&groups, by_cost);
    json_nest(j, names[by], "[");
    for (size_t i = 0; i < groups.count; i++) {
        json_nest(j, NULL, "{");
        json_text(j, spend_names[by], sorted[i]->values[0]);
        put_sum(j, sorted[i]->value);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    mem_free(sorted);
    groups_fini(&groups);
}

static void json_unpriced(struct json_out *j, const struct spend *s)
{
    struct group **sorted = groups_sorted(&s->models, by_unpriced);
    json_nest(j, "unpriced", "[");
    for (size_t i = 0; i < s->models.count; i++) {
        const struct spend_model *m = sorted[i]->value;
        if (!m->unpriced && !m->free)
            continue;
        json_nest(j, NULL, "{");
        json_text(j, "model", sorted[i]->values[0]);
        json_text(j, "provider", sorted[i]->values[1]);
        json_text(j, "upstream_model", sorted[i]->values[2]);
        json_count(j, "unpriced", m->unpriced);
        json_count(j, "unpriced_tokens", m->unpriced_tokens);
        json_count(j, "free", m->free);
        json_count(j, "free_tokens", m->free_tokens);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    mem_free(sorted);
}

static void json_hours(struct json_out *j, const struct spend *s)
{
    size_t count;
    struct spend_point *points = spend_points(s, &count);
    json_nest(j, "hours", "[");
    for (size_t i = 0; i < count; i++) {
        json_nest(j, NULL, "{");
        json_stamp(j, "start", points[i].start_us);
        json_count(j, "requests", points[i].requests);
        json_number(j, "cost_usd", USD_OF_PICO(points[i].pico), USD);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    mem_free(points);
}

static void write_json(const struct analysis *a, void *state, struct json_out *j)
{
    const struct spend *s = state;
    (void)a;
    json_nest(j, analyze_cost.name, "{");
    json_nest(j, "total", "{");
    put_sum(j, &s->total);
    json_unnest(j, "}");
    json_rates(j, s);
    json_projections(j, s);
    json_nest(j, "retries", "{");
    json_count(j, "requests", s->retried);
    json_count(j, "extra_attempts", s->extra_attempts);
    json_count(j, "attempt_lines", s->attempt_lines);
    json_number(j, "attempts_usd", USD_OF_PICO(s->attempt_pico), USD);
    json_unnest(j, "}");
    json_saved(j, s);
    for (int by = 0; by < SPEND_BY_COUNT; by++)
        json_groups(j, s, (enum spend_by)by);
    json_unpriced(j, s);
    json_hours(j, s);
    json_unnest(j, "}");
}

const struct analyze_part analyze_cost = {
    .name = "cost",
    .wanted = wanted,
    .events = LOG_EVENT_BIT(REQUEST) | LOG_EVENT_BIT(ATTEMPT),
    .make = make,
    .take = take,
    .merge = merge,
    .destroy = destroy,
    .write_tables = write_tables,
    .write_json = write_json,
};
