/* analyze_limits.c -- --limits: who answered 429 to whom and when, where the limit seems to lie, and how much room is left. */
#include <math.h>
#include <stdarg.h>

#include "base/when.h"
#include "cli/analyze.h"
#include "cli/sentences.h"
#include "config/config.h"
#include "observe/rate_limits.h"

enum { STRIP_COLUMNS_MAX = 72, LABEL_COLUMNS = 26, HINTS_MAX = 12, HINT_BYTES = 400 };
#define MINUTE_US INT64_C(60000000)

static bool wanted(const struct analysis *a)
{
    return a->show.limits;
}

static void *make(const struct analysis *a)
{
    struct rates *r = mem_alloc(sizeof *r);
    (void)a;
    rates_init(r);
    return r;
}

static void take(void *state, const struct logline *l, enum log_event event, struct str line)
{
    (void)line;
    rates_take(state, l, event);
}

static void merge(void *into, void *from)
{
    rates_merge(into, from);
}

static void destroy(void *state)
{
    rates_fini(state);
    mem_free(state);
}

/* ---- what is configured ---- */

/* The sum over a provider's deployments; NaN: one of them says nothing, or there is none. */
static double configured(const struct analysis *a, const char *provider, bool tokens)
{
    double sum = 0;
    bool any = false;
    for (uint32_t i = 0; a->config && provider && i < a->config->deployment_count; i++) {
        const struct deployment *d = &a->config->deployments[i];
        double limit = tokens ? d->tpm : d->rpm;
        if (!str_eq(d->provider_name, str_from(provider)))
            continue;
        if (limit < 0)
            return NAN;
        sum += limit;
        any = true;
    }
    return any ? sum : NAN;
}

/* ---- hints ---- */

struct hints {
    char text[HINTS_MAX][HINT_BYTES];
    int count;
};

static void hint(struct hints *h, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void hint(struct hints *h, const char *fmt, ...)
{
    va_list args;
    if (h->count == HINTS_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(h->text[h->count++], HINT_BYTES, fmt, args);
    va_end(args);
}

static const char *name_or(const char *name, const char *otherwise)
{
    return name && name[0] ? name : otherwise;
}

/* What explains a provider's 429s, and what to do about it. */
static void hint_cause(struct hints *h, const struct rate_pair *p)
{
    const char *name = name_or(p->provider, "a provider that is not named");
    switch (p->cause) {
    case RATE_NO_429: return;
    case RATE_BY_EITHER:
        hint(h,
             "%s: refuses at about %s requests or %s tokens a minute (which of the two the log "
             "cannot tell): ask for more, or spread over another deployment",
             name, num_count(p->rpm.estimate).text, num_count(p->tpm.estimate).text);
        return;
    case RATE_BY_REQUESTS:
        hint(h,
             "%s: lets about %s requests a minute through: batch small requests, ask for more, or "
             "spread over another deployment",
             name, num_count(p->rpm.estimate).text);
        return;
    case RATE_BY_TOKENS:
        hint(
            h,
            "%s: lets about %s tokens a minute through: shorten prompts, lower max_tokens, ask for "
            "more, or spread over another deployment",
            name, num_count(p->tpm.estimate).text);
        return;
    case RATE_UNEXPLAINED: return; /* all of them in one: hint_unexplained */
    }
}

static void hint_unexplained(struct hints *h, const struct rates *r)
{
    enum { NAMED_MAX = 4 };
    char names[200] = "";
    size_t n = 0, count = 0;
    for (size_t i = 0; i < r->whole_count; i++) {
        if (r->wholes[i].cause != RATE_UNEXPLAINED)
            continue;
        if (count++ < NAMED_MAX && n < sizeof names)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "",
                                  name_or(r->wholes[i].provider, "-"));
    }
    if (count > NAMED_MAX && n < sizeof names)
        snprintf(names + n, sizeof names - n, " and %zu more", count - NAMED_MAX);
    if (count)
        hint(h,
             "%s: refused at rates that passed in other minutes: a limit on bursts or of a day, an "
             "overload, or others on the same account",
             names);
}

static void hint_configured(struct hints *h, const struct analysis *a, const struct rate_pair *p)
{
    const struct rate_limit *limits[] = {&p->rpm, &p->tpm};
    for (int i = 0; i < 2; i++) {
        double set = configured(a, p->provider, i == 1);
        const char *key = i ? "tpm" : "rpm";
        if (isfinite(set) && isfinite(limits[i]->estimate) && set > limits[i]->estimate)
            hint(h, "%s: the configuration says %s: %s, and about %s is what passes",
                 name_or(p->provider, "-"), key, num_count(set).text,
                 num_count(limits[i]->estimate).text);
        else if (isfinite(set) && (double)limits[i]->peak > set)
            hint(h, "%s: the busiest minute had %s, more than the configured %s: %s",
                 name_or(p->provider, "-"), num_count((double)limits[i]->peak).text, key,
                 num_count(set).text);
    }
}

static void hint_key(struct hints *h, const struct rates *r, const struct rate_pair *whole)
{
    for (size_t i = 0; i < r->pair_count; i++) {
        const struct rate_pair *p = &r->pairs[i];
        double share = p->provider == whole->provider ? rates_share_when_limited(p, whole) : 0;
        if (share > 0.5 && share < 1)
            hint(h,
                 "%s: key %s sent %s of what it got in the minutes with 429s: a limit on that key "
                 "protects the others",
                 name_or(whole->provider, "-"), name_or(p->key, "(none)"), num_pct(share).text);
    }
}

static void find_hints(struct hints *h, const struct analysis *a, const struct rates *r)
{
    uint64_t own = 0;
    h->count = 0;
    for (size_t i = 0; i < r->whole_count; i++)
        own += r->wholes[i].gateway_429;
    for (size_t i = 0; i < r->whole_count; i++) {
        hint_cause(h, &r->wholes[i]);
        hint_configured(h, a, &r->wholes[i]);
        if (r->wholes[i].provider_429)
            hint_key(h, r, &r->wholes[i]);
    }
    hint_unexplained(h, r);
    if (own)
        hint(h,
             "the gateway refused %s itself: global_max_parallel_requests, or a limit on a key; no "
             "provider saw them",
             num_count((double)own).text);
}

/* ---- tables ---- */

enum shown_for {
    FOR_PROVIDERS = 1,
    FOR_CONFIGURED = 2,
    FOR_KEYS = 4,
    FOR_ALL = FOR_PROVIDERS | FOR_KEYS
};

// clang-format off
static const struct { struct table_column column; int shown_for; } pair_columns[] = {
    {{"Sent", ALIGN_RIGHT, "sent"}, FOR_ALL},
    {{"429", ALIGN_RIGHT, "provider_429"}, FOR_ALL},
    {{"Own 429", ALIGN_RIGHT, "gateway_429"}, FOR_ALL},
    {{"Minutes", ALIGN_RIGHT, "minutes_429"}, FOR_ALL},
    {{"rpm p95", ALIGN_RIGHT, "rpm_p95"}, FOR_ALL},
    {{"Peak", ALIGN_RIGHT, "rpm_peak"}, FOR_ALL},
    {{"Limit", ALIGN_RIGHT, "rpm_estimate"}, FOR_PROVIDERS},
    {{"tpm p95", ALIGN_RIGHT, "tpm_p95"}, FOR_ALL},
    {{"Peak", ALIGN_RIGHT, "tpm_peak"}, FOR_ALL},
    {{"Limit", ALIGN_RIGHT, "tpm_estimate"}, FOR_PROVIDERS},
    {{"Room", ALIGN_RIGHT, "headroom"}, FOR_PROVIDERS},
    {{"Set rpm", ALIGN_RIGHT, "configured_rpm"}, FOR_CONFIGURED},
    {{"Set tpm", ALIGN_RIGHT, "configured_tpm"}, FOR_CONFIGURED},
};
// clang-format on

static void put_number(struct table *t, enum term_style style, double value)
{
    table_number(t, value > 0 ? style : STYLE_NONE, num_count(value), value);
}

/* "~60" where it seems to lie; "> 58" where nothing was refused; "?" where this does not explain what was. */
static void put_limit(struct table *t, const struct rate_pair *p, const struct rate_limit *l)
{
    struct num shown = num_count(NAN);
    if (isfinite(l->estimate))
        snprintf(shown.text, sizeof shown.text, "~%.30s", num_count(l->estimate).text);
    else if (p->provider_429)
        snprintf(shown.text, sizeof shown.text, "?");
    else if (l->peak)
        snprintf(shown.text, sizeof shown.text, "> %.30s", num_count((double)l->peak).text);
    table_number(t, isfinite(l->estimate) ? STYLE_WARN : STYLE_NONE, shown, l->estimate);
}

/* What is left of the quantity that is nearest its end. */
static double headroom(const struct rate_pair *p)
{
    return fmin(p->rpm.headroom, p->tpm.headroom);
}

static void put_pair(struct table *t, const struct analysis *a, const struct rate_pair *p,
                     int shown_for)
{
    double room = headroom(p);
    put_number(t, STYLE_NONE, (double)p->requests);
    put_number(t, STYLE_BAD, (double)p->provider_429);
    put_number(t, STYLE_BAD, (double)p->gateway_429);
    put_number(t, STYLE_WARN, (double)p->minutes_429);
    put_number(t, STYLE_NONE, (double)p->rpm.p95);
    put_number(t, STYLE_NONE, (double)p->rpm.peak);
    if (shown_for & FOR_PROVIDERS)
        put_limit(t, p, &p->rpm);
    put_number(t, STYLE_NONE, (double)p->tpm.p95);
    put_number(t, STYLE_NONE, (double)p->tpm.peak);
    if (shown_for & FOR_PROVIDERS) {
        put_limit(t, p, &p->tpm);
        table_number(t, room < 0.2 ? STYLE_BAD : STYLE_NONE, room < 0 ? num_pct(0) : num_pct(room),
                     room);
    }
    if (shown_for & FOR_CONFIGURED) {
        put_number(t, STYLE_NONE, configured(a, p->provider, false));
        put_number(t, STYLE_NONE, configured(a, p->provider, true));
    }
}

static void key_text(const struct rate_pair *p, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s%s", name_or(p->key, "-"), p->hashed ? "\xE2\x80\xA6" : "");
}

static void write_pairs(const struct analysis *a, const struct rate_pair *pairs, size_t count,
                        int shown_for, enum table_format format, const struct term *term)
{
    struct table_column heads[COUNT(pair_columns) + 2] = {{"Provider", ALIGN_LEFT, "provider"},
                                                          {"Key", ALIGN_LEFT, "key"}};
    struct table t;
    char key[LOG_NAME_BYTES + 4];
    size_t columns = shown_for & FOR_KEYS ? 2 : 1, shown = MIN(count, (size_t)a->top);
    for (size_t i = 0; i < COUNT(pair_columns); i++)
        if (pair_columns[i].shown_for & shown_for)
            heads[columns++] = pair_columns[i].column;
    if (!count && format != TABLE_CSV)
        return;
    table_init(&t, heads, columns);
    for (size_t i = 0; i < shown; i++) {
        const struct rate_pair *p = &pairs[i];
        table_row(&t);
        table_maybe(&t, STYLE_NONE, str_from(p->provider));
        key_text(p, key, sizeof key);
        if (shown_for & FOR_KEYS)
            table_maybe(&t, STYLE_NONE, p->key && p->key[0] ? str_from(key) : STR_NONE);
        put_pair(&t, a, p, shown_for);
    }
    if (shown < count)
        table_note(&t, "%zu more: --top %zu", count - shown, count);
    if (format != TABLE_CSV)
        fputc('\n', term->out);
    table_write(&t, format, term);
    table_fini(&t);
}

/* ---- the strip: time from left to right ---- */

struct shade {
    double at_least; /* 429s of all that was asked for */
    const char *utf8, *ascii;
    enum term_style style;
};
static const struct shade shades[] = {
    {0.2, "\xE2\x96\x88", "#", STYLE_BAD},   {0.05, "\xE2\x96\x93", "*", STYLE_BAD},
    {0.01, "\xE2\x96\x92", "+", STYLE_WARN}, {1e-12, "\xE2\x96\x91", "-", STYLE_WARN},
    {0, "\xC2\xB7", ".", STYLE_DIM},
};

struct strip {
    const struct rates *r;
    int columns;
    double minutes; /* a column */
};

static struct strip strip_of(const struct rates *r, int columns_max)
{
    double minutes = r->cell_count ? (double)(r->last_minute - r->first_minute) + 1 : 1;
    int columns = (int)fmin(minutes, columns_max);
    return (struct strip){r, columns, minutes / columns};
}

/* Which shade each column is; -1: no traffic. */
static void fill_strip(const struct strip *s, const struct rate_pair *p, int *shade)
{
    double asked[STRIP_COLUMNS_MAX] = {0}, refused[STRIP_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct rate_cell *c = &p->cells[i];
        int at = MIN((int)((double)(c->minute - s->r->first_minute) / s->minutes), s->columns - 1);
        asked[at] += c->requests + c->gateway_429;
        refused[at] += c->provider_429 + c->gateway_429;
    }
    for (int c = 0; c < s->columns; c++) {
        shade[c] = asked[c] > 0 ? 0 : -1;
        while (shade[c] >= 0 && refused[c] / asked[c] < shades[shade[c]].at_least)
            shade[c]++;
    }
}

static void print_strip(const struct strip *s, const struct rate_pair *p, const struct term *t)
{
    int shade[STRIP_COLUMNS_MAX];
    char label[2 * LOG_NAME_BYTES], key[LOG_NAME_BYTES + 4];
    key_text(p, key, sizeof key);
    snprintf(label, sizeof label, "%s %s", name_or(p->provider, "-"), key);
    term_field(t, STYLE_NONE, str_from(label), LABEL_COLUMNS, ALIGN_LEFT);
    fputc(' ', t->out);
    fill_strip(s, p, shade);
    for (int c = 0; c < s->columns; c++) {
        const struct shade *h = shade[c] < 0 ? NULL : &shades[shade[c]];
        term_put(t, h ? h->style : STYLE_NONE,
                 str_from(!h        ? " "
                          : t->utf8 ? h->utf8
                                    : h->ascii),
                 0);
    }
    fputc('\n', t->out);
}

static void print_strips(const struct analysis *a, const struct rates *r, const struct term *t)
{
    char first[WHEN_TEXT_BYTES], last[WHEN_TEXT_BYTES], each[WHEN_TEXT_BYTES];
    int room = (t->columns ? t->columns : 100) - LABEL_COLUMNS - 1;
    struct strip s = strip_of(r, MIN(MAX(room, 20), (int)STRIP_COLUMNS_MAX));
    fprintf(t->out, "\n%*s", LABEL_COLUMNS + 1, "");
    struct str begin = when_text(r->first_minute * MINUTE_US, first, sizeof first),
               end = when_text(r->last_minute * MINUTE_US, last, sizeof last);
    term_field(t, STYLE_DIM, begin, s.columns >= 40 ? s.columns - 19 : 19, ALIGN_LEFT);
    if (s.columns >= 40)
        term_field(t, STYLE_DIM, end, 19, ALIGN_RIGHT);
    fputc('\n', t->out);
    for (size_t i = 0; i < r->pair_count && i < (size_t)a->top; i++)
        if (r->pairs[i].minutes_429)
            print_strip(&s, &r->pairs[i], t);
    struct str span = when_span_text((int64_t)(s.minutes * (double)MINUTE_US), each, sizeof each);
    fprintf(t->out, "%*s%.*s each: ", LABEL_COLUMNS + 1, "", STR_ARG(span));
    static const char *const meanings[] = {"20 %+", "5 %+", "1 %+", "some", "no 429"};
    for (size_t i = COUNT(shades); i-- > 0;) {
        term_put(t, shades[i].style, str_from(t->utf8 ? shades[i].utf8 : shades[i].ascii), 0);
        fprintf(t->out, " %s  ", meanings[i]);
    }
    fputc('\n', t->out);
}

/* ---- the whole ---- */

static void write_sum(const struct rates *r, enum table_format format, const struct term *term)
{
    struct sentences s;
    uint64_t theirs = 0, ours = 0, sent = 0;
    for (size_t i = 0; i < r->whole_count; i++) {
        theirs += r->wholes[i].provider_429;
        ours += r->wholes[i].gateway_429;
        sent += r->wholes[i].requests;
    }
    sentences_init(&s, "Rate limits");
    sentences_add(
        &s, "%s sent to providers, which refused %s with 429; the gateway refused %s itself",
        num_count((double)sent).text, num_count((double)theirs).text, num_count((double)ours).text);
    if (r->left_out)
        sentences_add(&s, "%s are left out: more keys, providers and minutes than are kept (%s)",
                      num_count((double)r->left_out).text, num_count(RATE_CELLS_MAX).text);
    sentences_end(&s, format, term);
}

static void write_hints(const struct analysis *a, const struct rates *r, enum table_format format,
                        const struct term *term)
{
    struct hints h;
    struct sentences s;
    find_hints(&h, a, r);
    sentences_init(&s, "");
    for (int i = 0; i < h.count; i++)
        sentences_add(&s, "%s", h.text[i]);
    sentences_end(&s, format, term);
}

static void write_tables(const struct analysis *a, void *state, enum table_format format,
                         const struct term *term)
{
    struct rates *r = state;
    rates_settle(r);
    if (format == TABLE_CSV) {
        write_pairs(a, r->pairs, r->pair_count, FOR_KEYS, format, term);
        return;
    }
    write_sum(r, format, term);
    write_pairs(a, r->wholes, r->whole_count, FOR_PROVIDERS | (a->config ? FOR_CONFIGURED : 0),
                format, term);
    write_pairs(a, r->pairs, r->pair_count, FOR_KEYS, format, term);
    if (format == TABLE_TERMINAL && r->pair_count && r->pairs[0].minutes_429)
        print_strips(a, r, term);
    write_hints(a, r, format, term);
}

/* ---- JSON ---- */

static void json_limit(struct json_out *j, const char *name, const struct rate_limit *l)
{
    json_nest(j, name, "{");
    json_count(j, "peak", l->peak);
    json_count(j, "p95", l->p95);
    json_count(j, "passed", l->passed);
    json_number(j, "hit", l->hit ? (double)l->hit : NAN, "%.0f");
    json_count(j, "now", l->now);
    json_number(j, "estimate", l->estimate, "%.1f");
    json_number(j, "headroom", l->headroom, "%.6f");
    json_unnest(j, "}");
}

/* The minutes with 429s, as many as --top says. */
static void json_minutes(struct json_out *j, const struct analysis *a, const struct rate_pair *p)
{
    int left = a->top;
    json_nest(j, "limited_minutes", "[");
    for (size_t i = 0; i < p->cell_count && left > 0; i++) {
        const struct rate_cell *c = &p->cells[i];
        if (!c->provider_429 && !c->gateway_429)
            continue;
        left--;
        json_nest(j, NULL, "{");
        json_stamp(j, "minute", c->minute * MINUTE_US);
        json_count(j, "sent", c->requests);
        json_count(j, "tokens", c->tokens);
        json_count(j, "provider_429", c->provider_429);
        json_count(j, "gateway_429", c->gateway_429);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

static void json_pairs(struct json_out *j, const struct analysis *a, const char *name,
                       const struct rate_pair *pairs, size_t count, bool by_key)
{
    static const char *const causes[] = {[RATE_NO_429] = "none",
                                         [RATE_BY_REQUESTS] = "requests",
                                         [RATE_BY_TOKENS] = "tokens",
                                         [RATE_BY_EITHER] = "requests or tokens",
                                         [RATE_UNEXPLAINED] = "unexplained"};
    json_nest(j, name, "[");
    for (size_t i = 0; i < count; i++) {
        const struct rate_pair *p = &pairs[i];
        json_nest(j, NULL, "{");
        json_text(j, "provider", str_from(p->provider));
        if (by_key) {
            json_text(j, "key", str_from(p->key));
            json_bool(j, "key_is_hash", p->hashed);
        } else {
            json_number(j, "configured_rpm", configured(a, p->provider, false), "%.0f");
            json_number(j, "configured_tpm", configured(a, p->provider, true), "%.0f");
        }
        json_count(j, "sent", p->requests);
        json_count(j, "tokens", p->tokens);
        json_count(j, "provider_429", p->provider_429);
        json_count(j, "gateway_429", p->gateway_429);
        json_count(j, "minutes", p->minutes);
        json_count(j, "minutes_429", p->minutes_429);
        json_limit(j, "rpm", &p->rpm);
        json_limit(j, "tpm", &p->tpm);
        json_text(j, "limited_by", str_from(causes[p->cause]));
        json_minutes(j, a, p);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

static void write_json(const struct analysis *a, void *state, struct json_out *j)
{
    struct rates *r = state;
    struct hints h;
    rates_settle(r);
    find_hints(&h, a, r);
    json_nest(j, "limits", "{");
    json_count(j, "left_out", r->left_out);
    json_pairs(j, a, "providers", r->wholes, r->whole_count, false);
    json_pairs(j, a, "keys", r->pairs, r->pair_count, true);
    json_nest(j, "hints", "[");
    for (int i = 0; i < h.count; i++)
        json_text(j, NULL, str_from(h.text[i]));
    json_unnest(j, "]");
    json_unnest(j, "}");
}

const struct analyze_part analyze_limits = {
    .name = "limits",
    .wanted = wanted,
    .is_csv = true,
    .events = LOG_EVENT_BIT(REQUEST) | LOG_EVENT_BIT(ATTEMPT),
    .make = make,
    .take = take,
    .merge = merge,
    .destroy = destroy,
    .write_tables = write_tables,
    .write_json = write_json,
};
