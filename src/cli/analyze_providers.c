/* analyze_providers.c -- the same model at several providers, side by side (observe/provider_compare.h), and where to send it.
 *
 * Wanted by --providers. Advice is given only where the difference is real; its sentence names the figures it rests on. */
#include <math.h>

#include "cli/analyze.h"
#include "cli/table_text.h"
#include "observe/provider_compare.h"

static bool wanted(const struct analysis *a)
{
    return a->show.providers;
}

static void *make(const struct analysis *a)
{
    struct providers *p = mem_alloc(sizeof *p);
    (void)a;
    providers_init(p);
    return p;
}

static void take(void *state, const struct logline *l, enum log_event event, struct str line)
{
    (void)line;
    providers_take(state, l, event);
}

static void merge(void *into, void *from)
{
    providers_merge(into, from);
}

static void destroy(void *state)
{
    providers_fini(state);
    mem_free(state);
}

/* ---- names ---- */

/* Does the model have several deployments at this one's provider? Then the provider does not name it. */
static bool is_one_of_several(const struct provider_choice *c, const struct group *g)
{
    int same = 0;
    for (size_t i = 0; i < c->count; i++)
        same += str_eq(c->all[i]->values[1], g->values[1]);
    return same > 1;
}

static const char *name_of(const struct provider_choice *c, const struct group *g, char *out,
                           size_t out_bytes)
{
    struct str deployment = g->values[2];
    bool several = is_one_of_several(c, g);
    snprintf(out, out_bytes, "%.*s%s%.*s", STR_ARG(g->values[1]), several ? " " : "",
             several ? (int)deployment.n : 0, deployment.p ? deployment.p : "");
    return out;
}

/* ---- advice ---- */

#define NAME_BYTES   200
#define ADVICE_BYTES 700

/* "38 % faster at p95", "4 % slower at p95". */
static struct num than(double its, double other, const char *less, const char *more)
{
    struct num n;
    double part = (other - its) / other;
    if (!isfinite(part))
        n.text[0] = '\0';
    else if (fabs(part) < .005)
        snprintf(n.text, sizeof n.text, "as %s", less);
    else
        snprintf(n.text, sizeof n.text, "%.20s %s", num_pct(fabs(part)).text,
                 part > 0 ? less : more);
    return n;
}

static void put_comparison(const struct provider_choice *c, char *out, size_t out_bytes)
{
    const struct provider_sum *x = c->best->value, *y = c->other->value;
    double at[2][2] = {{(double)histogram_quantile(&x->latency_us, .5),
                        (double)histogram_quantile(&y->latency_us, .5)},
                       {(double)histogram_quantile(&x->latency_us, .95),
                        (double)histogram_quantile(&y->latency_us, .95)}};
    double usd = provider_usd_per_1k(x), other_usd = provider_usd_per_1k(y);
    size_t n =
        (size_t)snprintf(out, out_bytes, "%s at p50, %s at p95, success %s against %s",
                         than(at[0][0], at[0][1], "faster", "slower").text,
                         than(at[1][0], at[1][1], "faster", "slower").text,
                         num_pct(provider_success(x)).text, num_pct(provider_success(y)).text);
    if (n < out_bytes && isfinite(usd) && other_usd > 0)
        n += (size_t)snprintf(out + n, out_bytes - n, ", %s a token",
                              than(usd, other_usd, "cheaper", "dearer").text);
    if (n < out_bytes)
        snprintf(out + n, out_bytes - n, " (n = %s and %s)", num_count((double)x->success).text,
                 num_count((double)y->success).text);
}

static void advice(const struct provider_choice *c, char *out, size_t out_bytes)
{
    char best[NAME_BYTES], other[NAME_BYTES], figures[300];
    if (c->verdict == PROVIDER_TOO_FEW) {
        snprintf(out, out_bytes, "too few to compare: at least %d successes of two are needed",
                 PROVIDERS_ENOUGH);
        return;
    }
    name_of(c, c->best, best, sizeof best);
    name_of(c, c->other, other, sizeof other);
    put_comparison(c, figures, sizeof figures);
    int model_n = (int)MIN(c->model.n, (size_t)100);
    const char *model = c->model.p ? c->model.p : "";
    switch (c->verdict) {
    case PROVIDER_ROUTE:
        snprintf(out, out_bytes, "route %.*s to %s: than %s it is %s", model_n, model, best, other,
                 figures);
        break;
    case PROVIDER_KEEP:
        snprintf(out, out_bytes, "keep %.*s at %s: than %s it is %s", model_n, model, best, other,
                 figures);
        break;
    case PROVIDER_CHEAPER:
        snprintf(out, out_bytes, "route %.*s to %s for its price, as it is no slower than %s: %s",
                 model_n, model, best, other, figures);
        break;
    case PROVIDER_TRADE_OFF:
        snprintf(out, out_bytes, "a trade-off between %s and %s: the first is %s", best, other,
                 figures);
        break;
    case PROVIDER_FAILS_MORE:
        snprintf(out, out_bytes, "no advice: %s is faster than %s but fails more often: %s", best,
                 other, figures);
        break;
    case PROVIDER_ALIKE:
        snprintf(out, out_bytes, "no difference shown between %s and %s: %s", best, other, figures);
        break;
    case PROVIDER_TOO_FEW: break;
    }
}

/* ---- tables ---- */

static void put_time(struct table *t, const struct histogram *h, double quantile)
{
    double us = h->count ? (double)histogram_quantile(h, quantile) : NAN;
    table_number(t, STYLE_NONE, num_ms(us), us / 1000);
}

static void put_count(struct table *t, enum term_style style, uint64_t count)
{
    table_number(t, count ? style : STYLE_NONE, num_count((double)count), (double)count);
}

static void put_row(struct table *t, const struct provider_choice *c, const struct group *g,
                    bool csv)
{
    const struct provider_sum *s = g->value;
    char name[NAME_BYTES];
    struct interval success = wilson_interval(s->success, s->requests - s->cancelled);
    double rate = s->tokens_per_second.count
                      ? (double)histogram_quantile(&s->tokens_per_second, .5) / 1000
                      : NAN;
    table_row(t);
    if (csv)
        table_text(t, STYLE_NONE, c->model);
    bool best = g == c->best && (c->verdict == PROVIDER_ROUTE || c->verdict == PROVIDER_KEEP ||
                                 c->verdict == PROVIDER_CHEAPER);
    table_text(t, best ? STYLE_GOOD : STYLE_NONE, str_from(name_of(c, g, name, sizeof name)));
    put_count(t, STYLE_NONE, s->requests);
    table_number(t, STYLE_NONE, num_pct(provider_success(s)), provider_success(s));
    /* Both bounds in one cell; CSV has the lower one, which is what a decision rests on. */
    snprintf(name, sizeof name, "%.1f..%.1f %%", 100 * success.low, 100 * success.high);
    struct num shown;
    snprintf(shown.text, sizeof shown.text, "%.38s", isnan(success.low) ? NUM_UNKNOWN : name);
    table_number(t, STYLE_DIM, shown, success.low);
    put_time(t, &s->latency_us, .5);
    put_time(t, &s->latency_us, .95);
    put_time(t, &s->ttft_us, .5);
    put_time(t, &s->ttft_us, .95);
    table_number(t, STYLE_NONE, num_rate(rate), rate);
    table_number(t, STYLE_NONE, num_usd(provider_usd_per_1k(s)), provider_usd_per_1k(s));
    table_number(t, STYLE_NONE, num_usd(provider_usd_per_request(s)), provider_usd_per_request(s));
    put_count(t, STYLE_WARN, s->rate_limited);
    put_count(t, STYLE_WARN, s->timeouts);
}

// clang-format off
static const struct table_column columns[] = {
    {"model", ALIGN_LEFT, NULL}, /* in CSV only: elsewhere it is the title */
    {"Provider", ALIGN_LEFT, "provider"},
    {"Requests", ALIGN_RIGHT, "requests"},
    {"Success", ALIGN_RIGHT, "success_rate"},
    {"95 %", ALIGN_RIGHT, "success_rate_low"},
    {"p50", ALIGN_RIGHT, "latency_p50_ms"},
    {"p95", ALIGN_RIGHT, "latency_p95_ms"},
    {"First p50", ALIGN_RIGHT, "ttft_p50_ms"},
    {"p95", ALIGN_RIGHT, "ttft_p95_ms"},
    {"Tokens/s", ALIGN_RIGHT, "tokens_per_second_p50"},
    {"1k tokens", ALIGN_RIGHT, "usd_per_1k_tokens"},
    {"A request", ALIGN_RIGHT, "usd_per_request"},
    {"429s", ALIGN_RIGHT, "rate_limited"},
    {"Timeouts", ALIGN_RIGHT, "timeouts"},
};
// clang-format on

static void write_csv(const struct provider_choice *choices, size_t count, const struct term *term)
{
    struct table t;
    table_init(&t, columns, COUNT(columns));
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < choices[i].count; k++)
            put_row(&t, &choices[i], choices[i].all[k], true);
    table_write(&t, TABLE_CSV, term);
    table_fini(&t);
}

static void write_choice(const struct provider_choice *c, enum table_format format,
                         const struct term *term)
{
    char text[ADVICE_BYTES];
    struct table t;
    table_init(&t, columns + 1, COUNT(columns) - 1);
    if (c->left_out)
        table_title(&t, "%.*s by provider (%zu of its deployments are left out)", STR_ARG(c->model),
                    c->left_out);
    else
        table_title(&t, "%.*s by provider", STR_ARG(c->model));
    for (size_t i = 0; i < c->count; i++)
        put_row(&t, c, c->all[i], false);
    advice(c, text, sizeof text);
    fputc('\n', term->out);
    table_write_with_text(&t, text, format, term);
    table_fini(&t);
}

static void write_alone(size_t alone, size_t count, const struct term *term)
{
    char text[200];
    snprintf(text, sizeof text, "%s%zu model%s only one provider%s",
             count ? "" : "Nothing to compare: ", alone, alone == 1 ? " has" : "s have",
             count ? ": not compared." : ".");
    fputc('\n', term->out);
    term_put(term, STYLE_DIM, str_from(text), 0);
    fputc('\n', term->out);
}

static void write_tables(const struct analysis *a, void *state, enum table_format format,
                         const struct term *term)
{
    size_t count, alone;
    struct provider_choice *choices = providers_choices(state, &count, &alone);
    if (format == TABLE_CSV) {
        write_csv(choices, count, term);
    } else {
        for (size_t i = 0; i < MIN(count, (size_t)a->top); i++)
            write_choice(&choices[i], format, term);
        if (alone && format != TABLE_HTML)
            write_alone(alone, count, term);
    }
    mem_free(choices);
}

/* ---- JSON ---- */

static const char *const verdicts[] = {
    [PROVIDER_ROUTE] = "route",           [PROVIDER_KEEP] = "keep",
    [PROVIDER_CHEAPER] = "cheaper",       [PROVIDER_TRADE_OFF] = "trade_off",
    [PROVIDER_FAILS_MORE] = "fails_more", [PROVIDER_ALIKE] = "no_difference",
    [PROVIDER_TOO_FEW] = "too_few",
};

static void json_time(struct json_out *j, const char *name, const struct histogram *h)
{
    json_nest(j, name, "{");
    json_count(j, "count", h->count);
    json_number(j, "p50", h->count ? (double)histogram_quantile(h, .5) / 1000 : NAN, "%.3f");
    json_number(j, "p95", h->count ? (double)histogram_quantile(h, .95) / 1000 : NAN, "%.3f");
    json_unnest(j, "}");
}

static void json_provider(struct json_out *j, const struct group *g)
{
    const struct provider_sum *s = g->value;
    struct interval success = wilson_interval(s->success, s->requests - s->cancelled);
    json_nest(j, NULL, "{");
    json_text(j, "provider", g->values[1]);
    json_text(j, "deployment", g->values[2]);
    json_count(j, "requests", s->requests);
    json_count(j, "success", s->success);
    json_count(j, "cancelled", s->cancelled);
    json_number(j, "success_rate", provider_success(s), "%.6f");
    json_number(j, "success_rate_low", success.low, "%.6f");
    json_number(j, "success_rate_high", success.high, "%.6f");
    json_count(j, "rate_limited", s->rate_limited);
    json_count(j, "timeouts", s->timeouts);
    json_count(j, "total_tokens", s->tokens);
    json_number(j, "usd_per_1k_tokens", provider_usd_per_1k(s), "%.12f");
    json_number(j, "usd_per_request", provider_usd_per_request(s), "%.12f");
    json_time(j, "latency_ms", &s->latency_us);
    json_time(j, "ttft_ms", &s->ttft_us);
    json_time(j, "tokens_per_second", &s->tokens_per_second);
    json_unnest(j, "}");
}

static void json_choice(struct json_out *j, const struct provider_choice *c)
{
    char text[ADVICE_BYTES];
    bool compared = c->verdict != PROVIDER_TOO_FEW;
    json_nest(j, NULL, "{");
    json_text(j, "model", c->model);
    json_text(j, "verdict", str_from(verdicts[c->verdict]));
    json_text(j, "best", compared ? c->best->values[1] : STR_NONE);
    json_text(j, "best_deployment", compared ? c->best->values[2] : STR_NONE);
    json_text(j, "than", compared ? c->other->values[1] : STR_NONE);
    json_text(j, "than_deployment", compared ? c->other->values[2] : STR_NONE);
    json_number(j, "p", c->p, "%.3g");
    advice(c, text, sizeof text);
    json_text(j, "advice", str_from(text));
    json_nest(j, "providers", "[");
    for (size_t i = 0; i < c->count; i++)
        json_provider(j, c->all[i]);
    json_unnest(j, "]");
    json_count(j, "left_out", c->left_out);
    json_unnest(j, "}");
}

static void write_json(const struct analysis *a, void *state, struct json_out *j)
{
    size_t count, alone;
    struct provider_choice *choices = providers_choices(state, &count, &alone);
    (void)a;
    json_nest(j, analyze_providers.name, "{");
    json_nest(j, "models", "[");
    for (size_t i = 0; i < count; i++)
        json_choice(j, &choices[i]);
    json_unnest(j, "]");
    json_count(j, "with_one_provider", alone);
    json_unnest(j, "}");
    mem_free(choices);
}

const struct analyze_part analyze_providers = {
    .name = "providers",
    .wanted = wanted,
    .is_csv = true,
    .events = LOG_EVENT_BIT(REQUEST),
    .make = make,
    .take = take,
    .merge = merge,
    .destroy = destroy,
    .write_tables = write_tables,
    .write_json = write_json,
};
