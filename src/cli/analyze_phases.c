/* analyze_phases.c -- where the time goes (observe/phases.h): percentiles of each phase, their shares as a bar, and whose fault it is.
 *
 * Wanted by --performance. */
#include <math.h>

#include "cli/analyze.h"
#include "cli/table_text.h"
#include "observe/phases.h"

#define BAR_COLUMNS 12

static bool wanted(const struct analysis *a)
{
    return a->show.performance;
}

static void *make(const struct analysis *a)
{
    struct phases *p = mem_alloc(sizeof *p);
    (void)a;
    phases_init(p);
    return p;
}

static void take(void *state, const struct logline *l, enum log_event event, struct str line)
{
    (void)line;
    phases_take(state, l, event);
}

static void merge(void *into, void *from)
{
    phases_merge(into, from);
}

static void destroy(void *state)
{
    phases_fini(state);
    mem_free(state);
}

/* ---- rows ---- */

static struct num num_per_s(double thousandths)
{
    return num_rate(thousandths / 1000);
}

// clang-format off
static const struct {
    const char *label, *name;
    struct num (*show)(double);
} phases[PHASE_COUNT] = {
    [PHASE_QUEUE] = {"Queue", "queue_ms", num_ms},
    [PHASE_OVERHEAD] = {"Overhead of the gateway", "overhead_ms", num_ms},
    [PHASE_FIRST_TOKEN] = {"First token, by the provider", "first_token_ms", num_ms},
    [PHASE_GENERATION] = {"Generation", "generation_ms", num_ms},
    [PHASE_INTER_TOKEN] = {"Between tokens", "inter_token_ms", num_ms},
    [PHASE_TOKENS_PER_SECOND] = {"Tokens/s", "tokens_per_second", num_per_s},
};
static const struct {
    const char *name;
    const char *glyph, *ascii; /* of the bar */
} shares[SHARE_COUNT] = {
    [SHARE_QUEUE] = {"queue", "\xE2\x96\x92", "q"},             /* ▒ */
    [SHARE_FIRST_TOKEN] = {"first_token", "\xE2\x96\x91", "."}, /* ░ */
    [SHARE_GENERATION] = {"generation", "\xE2\x96\x88", "#"},   /* █ */
    [SHARE_ANSWER] = {"answer", "\xE2\x96\x93", "="},           /* ▓ */
    [SHARE_GATEWAY] = {"gateway", "\xC2\xB7", "o"},             /* · */
};
static const double quantiles[] = {.5, .95, .99};
static const char *const quantile_names[] = {"p50", "p95", "p99"};
// clang-format on

static int by_requests(const void *a, const void *b)
{
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
    const struct phase_sum *sx = x->value, *sy = y->value;
    return sx->requests != sy->requests ? sx->requests < sy->requests ? 1 : -1
                                        : group_compare_keys(x, y);
}

/* Columns of the bar go to the shares in order; rounding is carried along, so that they are BAR_COLUMNS in all. */
static void draw_shares(bool utf8, const struct phase_sum *s, char *out, size_t out_bytes)
{
    double upto = 0;
    size_t n = 0;
    int drawn = 0;
    *out = '\0';
    for (int i = 0; i < SHARE_COUNT; i++) {
        double part = phases_share(s, (enum phase_share)i);
        upto += isfinite(part) ? part : 0;
        for (; drawn < (int)lround(upto * BAR_COLUMNS); drawn++)
            n += (size_t)snprintf(out + n, out_bytes - n, "%s",
                                  utf8 ? shares[i].glyph : shares[i].ascii);
    }
}

/* ---- the verdict ---- */

static double gateway_share(const struct phase_sum *s)
{
    return phases_share(s, SHARE_QUEUE) + phases_share(s, SHARE_GATEWAY);
}

/* A large share of very little is nobody's fault. */
static const char *whose_time(const struct phase_sum *s, double gateway)
{
    double mean_us = (double)(s->share_us[SHARE_QUEUE] + s->share_us[SHARE_GATEWAY]) /
                     (double)MAX(s->requests, (uint64_t)1);
    return gateway < .02    ? "The time is the providers'"
           : mean_us < 1000 ? "Answers are so quick that the gateway's part, less than 1 ms, shows"
           : gateway < .2
               ? "Most of the time is the providers', but the gateway's part is worth a look"
           : gateway < .5 ? "A good part of the time is the gateway's"
                          : "Most of the time is the gateway's";
}

/* One sentence: whose fault it is, with the figures it is drawn from. */
static void verdict(const struct phase_sum *s, char *out, size_t out_bytes)
{
    double gateway = gateway_share(s);
    if (isnan(gateway) || (!s->spreads[PHASE_OVERHEAD].count && !s->spreads[PHASE_QUEUE].count)) {
        snprintf(out, out_bytes,
                 "Whose time it is cannot be told: no request of this log says what the "
                 "gateway added (overhead_ms, queue_ms).");
        return;
    }
    const char *whose = whose_time(s, gateway);
    snprintf(out, out_bytes,
             "%s: %s of it was spent with them (%s until the first token, %s on the rest of "
             "streams, %s on answers in one piece), %s waiting to be sent, %s in the gateway "
             "otherwise; overhead p50 %s, p99 %s.",
             whose, num_pct(1 - gateway).text, num_pct(phases_share(s, SHARE_FIRST_TOKEN)).text,
             num_pct(phases_share(s, SHARE_GENERATION)).text,
             num_pct(phases_share(s, SHARE_ANSWER)).text,
             num_pct(phases_share(s, SHARE_QUEUE)).text,
             num_pct(phases_share(s, SHARE_GATEWAY)).text,
             num_ms(phases_quantile(s, PHASE_OVERHEAD, .5)).text,
             num_ms(phases_quantile(s, PHASE_OVERHEAD, .99)).text);
}

/* ---- tables ---- */

static void write_total(const struct phases *p, enum table_format format, const struct term *term)
{
    static const struct table_column columns[] = {{"Phase", ALIGN_LEFT, "phase"},
                                                  {"Requests", ALIGN_RIGHT, "requests"},
                                                  {"p50", ALIGN_RIGHT, NULL},
                                                  {"p95", ALIGN_RIGHT, NULL},
                                                  {"p99", ALIGN_RIGHT, NULL}};
    char text[512];
    struct table t;
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "Where the time goes");
    for (int i = 0; i < PHASE_COUNT; i++) {
        uint64_t count = p->total.spreads[i].count;
        if (!count)
            continue;
        table_row(&t);
        table_text(&t, STYLE_NONE, str_from(phases[i].label));
        table_number(&t, STYLE_NONE, num_count((double)count), (double)count);
        for (size_t q = 0; q < COUNT(quantiles); q++) {
            double value = phases_quantile(&p->total, (enum phase)i, quantiles[q]);
            table_number(&t, STYLE_NONE, phases[i].show(value), value / 1000);
        }
    }
    verdict(&p->total, text, sizeof text);
    table_write_with_text(&t, text, format, term);
    table_fini(&t);
}

static struct str shown_text(struct str text)
{
    return text.n ? text : STR("-");
}

static void put_row(struct table *t, struct str model, struct str provider,
                    const struct phase_sum *s, bool utf8)
{
    static const struct {
        enum phase phase;
        double quantile;
    } cells[] = {{PHASE_FIRST_TOKEN, .5},
                 {PHASE_FIRST_TOKEN, .95},
                 {PHASE_GENERATION, .5},
                 {PHASE_INTER_TOKEN, .5},
                 {PHASE_OVERHEAD, .95}};
    char bar[3 * BAR_COLUMNS + 1];
    table_row(t);
    table_text(t, STYLE_NONE, model);
    table_text(t, STYLE_NONE, provider);
    draw_shares(utf8, s, bar, sizeof bar);
    table_text(t, STYLE_ACCENT, str_from(bar));
    for (size_t i = 0; i < COUNT(cells); i++) {
        double value = phases_quantile(s, cells[i].phase, cells[i].quantile);
        table_number(t, STYLE_NONE, num_ms(value), value / 1000);
    }
    double gateway = gateway_share(s);
    table_number(t, gateway > .2 ? STYLE_WARN : STYLE_NONE, num_pct(gateway), gateway);
}

static void write_groups(const struct analysis *a, const struct phases *p, enum table_format format,
                         const struct term *term)
{
    static const struct table_column columns[] = {{"model", ALIGN_LEFT, NULL},
                                                  {"provider", ALIGN_LEFT, NULL},
                                                  {"Mean shares", ALIGN_LEFT, "shares"},
                                                  {"First p50", ALIGN_RIGHT, "first_token_p50_ms"},
                                                  {"p95", ALIGN_RIGHT, "first_token_p95_ms"},
                                                  {"Rest p50", ALIGN_RIGHT, "generation_p50_ms"},
                                                  {"A token", ALIGN_RIGHT, "inter_token_p50_ms"},
                                                  {"Overhead p95", ALIGN_RIGHT, "overhead_p95_ms"},
                                                  {"Gateway", ALIGN_RIGHT, "gateway_share"}};
    bool utf8 = format == TABLE_TERMINAL ? term->utf8 : true;
    struct group **sorted = groups_sorted(&p->groups, by_requests);
    size_t shown = MIN(p->groups.count, (size_t)a->top);
    struct table t;
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "Phases by model, provider");
    put_row(&t, STR("all"), STR(""), &p->total, utf8);
    for (size_t i = 0; i < shown; i++)
        put_row(&t, shown_text(sorted[i]->values[0]), shown_text(sorted[i]->values[1]),
                sorted[i]->value, utf8);
    table_note(&t, "%s queue  %s first token  %s generation  %s answer in one piece  %s gateway",
               utf8 ? shares[0].glyph : shares[0].ascii, utf8 ? shares[1].glyph : shares[1].ascii,
               utf8 ? shares[2].glyph : shares[2].ascii, utf8 ? shares[3].glyph : shares[3].ascii,
               utf8 ? shares[4].glyph : shares[4].ascii);
    table_write(&t, format, term);
    table_fini(&t);
    mem_free(sorted);
}

static void write_tables(const struct analysis *a, void *state, enum table_format format,
                         const struct term *t)
{
    const struct phases *p = state;
    if (!p->total.requests)
        return;
    fputc('\n', t->out);
    write_total(p, format, t);
    fputc('\n', t->out);
    write_groups(a, p, format, t);
}

/* ---- JSON ---- */

static void json_sum(struct json_out *j, const struct phase_sum *s)
{
    json_count(j, "requests", s->requests);
    json_nest(j, "shares", "{");
    for (int i = 0; i < SHARE_COUNT; i++)
        json_number(j, shares[i].name, phases_share(s, (enum phase_share)i), "%.9f");
    json_unnest(j, "}");
    for (int i = 0; i < PHASE_COUNT; i++) {
        const struct histogram *h = &s->spreads[i];
        if (!h->count)
            continue;
        json_nest(j, phases[i].name, "{");
        json_count(j, "count", h->count);
        json_number(j, "mean", h->sum / (double)h->count / 1000, "%.3f");
        for (size_t q = 0; q < COUNT(quantiles); q++)
            json_number(j, quantile_names[q],
                        phases_quantile(s, (enum phase)i, quantiles[q]) / 1000, "%.3f");
        json_unnest(j, "}");
    }
}

static void write_json(const struct analysis *a, void *state, struct json_out *j)
{
    const struct phases *p = state;
    char text[512];
    (void)a;
    struct group **sorted = groups_sorted(&p->groups, by_requests);
    json_nest(j, analyze_phases.name, "{");
    json_nest(j, "total", "{");
    json_sum(j, &p->total);
    json_unnest(j, "}");
    json_count(j, "cache_hits_left_out", p->hits);
    json_number(j, "gateway_share", gateway_share(&p->total), "%.9f");
    verdict(&p->total, text, sizeof text);
    json_text(j, "verdict", str_from(text));
    json_nest(j, "groups", "[");
    for (size_t i = 0; i < p->groups.count; i++) {
        json_nest(j, NULL, "{");
        json_text(j, "model", sorted[i]->values[0]);
        json_text(j, "provider", sorted[i]->values[1]);
        json_sum(j, sorted[i]->value);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    json_unnest(j, "}");
    mem_free(sorted);
}

const struct analyze_part analyze_phases = {
    .name = "phases",
    .wanted = wanted,
    .events = LOG_EVENT_BIT(REQUEST),
    .make = make,
    .take = take,
    .merge = merge,
    .destroy = destroy,
    .write_tables = write_tables,
    .write_json = write_json,
};
