/* analyze_chains.c -- --chains: what retries and fallbacks saved, and what they cost. */
#include <math.h>

#include "base/when.h"
#include "cli/analyze.h"
#include "cli/graph.h"
#include "cli/sentences.h"
#include "observe/chains.h"

enum { SHARE_COLUMNS = 20 };

static bool wanted(const struct analysis *a)
{
    return a->show.chains;
}

static void *make(const struct analysis *a)
{
    struct chains *c = mem_alloc(sizeof *c);
    chains_init(c, (size_t)a->top);
    return c;
}

static void take(void *state, const struct logline *l, enum log_event event, struct str line)
{
    (void)line;
    chains_take(state, l, event);
}

static void merge(void *into, void *from)
{
    chains_merge(into, from);
}

static void destroy(void *state)
{
    chains_fini(state);
    mem_free(state);
}

/* ---- what is shown ---- */

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

static double usd(uint64_t pico)
{
    return (double)pico / 1e12;
}

static double median_us(const struct histogram *h)
{
    return h->count ? (double)histogram_quantile(h, 0.5) : NAN;
}

static struct num ratio(double value)
{
    struct num n;
    snprintf(n.text, sizeof n.text, isfinite(value) ? "%.3f" : NUM_UNKNOWN, value);
    return n;
}

static void put_count(struct table *t, enum term_style style, uint64_t count)
{
    table_number(t, count ? style : STYLE_NONE, num_count((double)count), (double)count);
}

static void put_share(struct table *t, double value)
{
    table_number(t, STYLE_NONE, num_pct(value), value);
}

static void put_ms(struct table *t, double us)
{
    table_number(t, STYLE_NONE, num_ms(us), us / 1000);
}

static void put_usd(struct table *t, double value)
{
    table_number(t, STYLE_NONE, num_usd(value), value);
}

static void finish(struct table *t, enum table_format format, const struct term *term)
{
    if (format != TABLE_CSV)
        fputc('\n', term->out);
    table_write(t, format, term);
    table_fini(t);
}

/* ---- tables ---- */

static void write_sum(const struct chains *c, enum table_format format, const struct term *term)
{
    struct sentences s;
    uint64_t again = c->retry.requests + c->fallback.requests,
             saved = c->retry.success + c->fallback.success;
    sentences_init(&s, "Retries and fallbacks");
    sentences_add(&s, "%s requests; %s reached an upstream with %s attempts: %s a request",
                  num_count((double)c->requests).text, num_count((double)c->reached).text,
                  num_count((double)c->attempts).text,
                  ratio(chains_amplification(c->reached, c->attempts)).text);
    if (again)
        sentences_add(
            &s,
            "%s of %s that needed more than one ended well: by retry %s of %s (p50 %s added), "
            "by fallback %s of %s (p50 %s added)",
            num_count((double)saved).text, num_count((double)again).text,
            num_count((double)c->retry.success).text, num_count((double)c->retry.requests).text,
            num_ms(median_us(&c->retry.added)).text, num_count((double)c->fallback.success).text,
            num_count((double)c->fallback.requests).text,
            num_ms(median_us(&c->fallback.added)).text);
    sentences_add(&s, "%s failed attempts took %s and %s",
                  num_count((double)c->failed_attempts).text, num_ms((double)c->wasted_us).text,
                  num_usd(usd(c->wasted_pico)).text);
    if (c->sessions)
        sentences_add(&s,
                      "%s traces are sessions: of their %s requests and %s attempts it is not "
                      "known which belong together",
                      num_count((double)c->sessions).text,
                      num_count((double)c->session_requests).text,
                      num_count((double)c->session_attempts).text);
    if (c->sample_bits)
        sentences_add(
            &s,
            "LiteLLM's traces are more than are kept: all but the failed attempts is of a sample, "
            "1 in %llu (%s traces)",
            1ull << c->sample_bits, num_count((double)c->sampled).text);
    sentences_end(&s, format, term);
}

static void write_needs(const struct chains *c, enum table_format format, const struct term *term)
{
    static const struct table_column columns[] = {
        {"Attempts", ALIGN_RIGHT, "attempts"},    {"Requests", ALIGN_RIGHT, "requests"},
        {"Share", ALIGN_RIGHT, "share"},          {"Ended well", ALIGN_RIGHT, "success"},
        {"Success", ALIGN_RIGHT, "success_rate"}, {"", ALIGN_LEFT, "bar"},
    };
    struct table t;
    char bar[GRAPH_BYTES(SHARE_COLUMNS)];
    bool utf8 = format != TABLE_TERMINAL || term->utf8;
    table_init(&t, columns, COUNT(columns));
    for (uint64_t i = 0; i <= CHAINS_NEED_MAX; i++) {
        const struct chain_sum *s = &c->need[i];
        if (!s->requests)
            continue;
        graph_bar(utf8, SHARE_COLUMNS, share(s->requests, c->requests), bar, sizeof bar);
        table_row(&t);
        table_printf(&t, STYLE_NONE, "%llu%s", (unsigned long long)i,
                     i == CHAINS_NEED_MAX ? " or more"
                     : i == 0             ? " (cache, refused)"
                                          : "");
        put_count(&t, STYLE_NONE, s->requests);
        put_share(&t, share(s->requests, c->requests));
        put_count(&t, STYLE_NONE, s->success);
        put_share(&t, share(s->success, s->requests));
        table_text(&t, STYLE_ACCENT, str_from(bar));
    }
    finish(&t, format, term);
}

static void write_groups(const struct analysis *a, const struct chain_groups *g, const char *what,
                         enum table_format format, const struct term *term)
{
    const struct table_column columns[] = {
        {what, ALIGN_LEFT, NULL},
        {"Requests", ALIGN_RIGHT, "requests"},
        {"Attempts", ALIGN_RIGHT, "attempts"},
        {"Each", ALIGN_RIGHT, "amplification"},
        {"Retried", ALIGN_RIGHT, "retried"},
        {"Saved", ALIGN_RIGHT, "saved"},
        {"Failed att.", ALIGN_RIGHT, "failed_attempts"},
        {"Wasted", ALIGN_RIGHT, "wasted_ms"},
        {"Wasted cost", ALIGN_RIGHT, "wasted_usd"},
    };
    struct table t;
    size_t shown = MIN(g->count, (size_t)a->top);
    if (!g->count && format != TABLE_CSV)
        return;
    table_init(&t, columns, COUNT(columns));
    for (size_t i = 0; i < shown; i++) {
        const struct chain_group *row = g->list[i];
        double each = chains_amplification(row->requests, row->attempts);
        table_row(&t);
        table_maybe(&t, STYLE_NONE, str_from(row->name));
        put_count(&t, STYLE_NONE, row->requests);
        put_count(&t, STYLE_NONE, row->attempts);
        table_number(&t, each > 1.1 ? STYLE_WARN : STYLE_NONE, ratio(each), each);
        put_count(&t, STYLE_NONE, row->retried);
        put_count(&t, STYLE_GOOD, row->saved);
        put_count(&t, STYLE_BAD, row->failed_attempts);
        put_ms(&t, (double)row->wasted_us);
        put_usd(&t, usd(row->wasted_pico));
    }
    if (shown < g->count)
        table_note(&t, "%zu more: --top %zu", g->count - shown, g->count);
    finish(&t, format, term);
}

static void write_routes(const struct analysis *a, const struct chains *c, enum table_format format,
                         const struct term *term)
{
    static const struct table_column columns[] = {
        {"Fell back from", ALIGN_LEFT, "from"},     {"To", ALIGN_LEFT, "to"},
        {"Requests", ALIGN_RIGHT, "requests"},      {"Success", ALIGN_RIGHT, "success_rate"},
        {"Added p50", ALIGN_RIGHT, "added_p50_ms"}, {"Cost", ALIGN_RIGHT, "cost_usd"},
    };
    struct table t;
    size_t shown = MIN(c->route_count, (size_t)a->top);
    if (!shown)
        return;
    table_init(&t, columns, COUNT(columns));
    for (size_t i = 0; i < shown; i++) {
        const struct chain_route *r = c->routes[i];
        table_row(&t);
        table_maybe(&t, STYLE_NONE, str_from(r->from));
        table_maybe(&t, STYLE_NONE, str_from(r->to));
        put_count(&t, STYLE_NONE, r->count);
        put_share(&t, share(r->success, r->count));
        put_ms(&t, median_us(&r->added));
        put_usd(&t, usd(r->cost_pico));
    }
    if (shown < c->route_count)
        table_note(&t, "%zu more: --top %zu", c->route_count - shown, c->route_count);
    finish(&t, format, term);
}

static void write_worst(const struct analysis *a, const struct chains *c, enum table_format format,
                        const struct term *term)
{
    static const struct table_column columns[] = {
        {"Most attempts", ALIGN_RIGHT, "attempts"},
        {"Took", ALIGN_RIGHT, "latency_ms"},
        {"Model", ALIGN_LEFT, "model"},
        {"Fell back from", ALIGN_LEFT, "fallback_from"},
        {"Ended", ALIGN_LEFT, "status"},
        {"When", ALIGN_RIGHT, "timestamp"},
        {"Id", ALIGN_LEFT, "id"},
    };
    struct table t;
    char when[WHEN_TEXT_BYTES], command[1024];
    if (!c->worst_count)
        return;
    table_init(&t, columns, COUNT(columns));
    for (size_t i = 0; i < c->worst_count; i++) {
        const struct chain *w = c->worst[i];
        table_row(&t);
        put_count(&t, STYLE_NONE, w->attempts);
        put_ms(&t, w->latency_us >= 0 ? (double)w->latency_us : NAN);
        table_maybe(&t, STYLE_NONE, str_from(w->model));
        table_maybe(&t, STYLE_NONE, str_from(w->from));
        table_text(&t, w->outcome == LOG_OUTCOME_FAILURE ? STYLE_BAD : STYLE_NONE,
                   str_from(log_outcome_names[w->outcome]));
        table_text(&t, STYLE_DIM,
                   w->stamp_us == INT64_MAX ? STR("-") : when_text(w->stamp_us, when, sizeof when));
        table_maybe(&t, STYLE_NONE, str_from(w->id));
    }
    struct str next = analysis_trace_command(a, c->worst[0]->id, command, sizeof command);
    if (next.n)
        table_note(&t, "The first one in full: %.*s", STR_ARG(next));
    finish(&t, format, term);
}

static void write_tables(const struct analysis *a, void *state, enum table_format format,
                         const struct term *term)
{
    struct chains *c = state;
    chains_settle(c);
    if (format == TABLE_CSV) { /* one table: which models and how many attempts */
        write_groups(a, &c->models, "model", format, term);
        return;
    }
    write_sum(c, format, term);
    write_needs(c, format, term);
    write_groups(a, &c->models, "Model", format, term);
    write_groups(a, &c->providers, "Provider", format, term);
    write_routes(a, c, format, term);
    write_worst(a, c, format, term);
}

/* ---- JSON ---- */

static void json_name(struct json_out *j, const char *key, const char *name)
{
    json_text(j, key, name ? str_from(name) : STR_NONE);
}

static void json_sum(struct json_out *j, const char *name, const struct chain_sum *s)
{
    json_nest(j, name, "{");
    json_count(j, "requests", s->requests);
    json_count(j, "success", s->success);
    json_number(j, "added_p50_ms", median_us(&s->added) / 1000, "%.3f");
    json_unnest(j, "}");
}

static void json_groups(struct json_out *j, const char *name, const char *key,
                        const struct chain_groups *g)
{
    json_nest(j, name, "[");
    for (size_t i = 0; i < g->count; i++) {
        const struct chain_group *row = g->list[i];
        json_nest(j, NULL, "{");
        json_name(j, key, row->name);
        json_count(j, "requests", row->requests);
        json_count(j, "attempts", row->attempts);
        json_number(j, "amplification", chains_amplification(row->requests, row->attempts), "%.6f");
        json_count(j, "retried", row->retried);
        json_count(j, "saved", row->saved);
        json_count(j, "failed_attempts", row->failed_attempts);
        json_number(j, "wasted_ms", (double)row->wasted_us / 1000, "%.3f");
        json_number(j, "wasted_usd", usd(row->wasted_pico), "%.12f");
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

static void json_needs(struct json_out *j, const struct chains *c)
{
    json_nest(j, "need", "[");
    for (uint64_t i = 0; i <= CHAINS_NEED_MAX; i++) {
        json_nest(j, NULL, "{");
        json_count(j, "attempts", i);
        json_bool(j, "or_more", i == CHAINS_NEED_MAX);
        json_count(j, "requests", c->need[i].requests);
        json_count(j, "success", c->need[i].success);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

static void json_routes(struct json_out *j, const struct chains *c)
{
    json_nest(j, "routes", "[");
    for (size_t i = 0; i < c->route_count; i++) {
        const struct chain_route *r = c->routes[i];
        json_nest(j, NULL, "{");
        json_name(j, "from", r->from);
        json_name(j, "to", r->to);
        json_count(j, "requests", r->count);
        json_count(j, "success", r->success);
        json_number(j, "added_p50_ms", median_us(&r->added) / 1000, "%.3f");
        json_number(j, "cost_usd", usd(r->cost_pico), "%.12f");
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

static void json_worst(const struct analysis *a, struct json_out *j, const struct chains *c)
{
    char command[1024];
    json_nest(j, "worst", "[");
    for (size_t i = 0; i < c->worst_count; i++) {
        const struct chain *w = c->worst[i];
        json_nest(j, NULL, "{");
        json_text(j, "id", str_from(w->id));
        json_count(j, "attempts", w->attempts);
        json_number(j, "latency_ms", w->latency_us >= 0 ? (double)w->latency_us / 1000 : NAN,
                    "%.3f");
        json_name(j, "model", w->model);
        json_name(j, "fallback_from", w->from);
        json_text(j, "status", str_from(log_outcome_names[w->outcome]));
        json_stamp(j, "timestamp", w->stamp_us);
        json_text(j, "next", analysis_trace_command(a, w->id, command, sizeof command));
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

static void write_json(const struct analysis *a, void *state, struct json_out *j)
{
    struct chains *c = state;
    chains_settle(c);
    json_nest(j, "chains", "{");
    json_count(j, "requests", c->requests);
    json_count(j, "reached_upstream", c->reached);
    json_count(j, "attempts", c->attempts);
    json_number(j, "amplification", chains_amplification(c->reached, c->attempts), "%.6f");
    json_needs(j, c);
    json_sum(j, "retry", &c->retry);
    json_sum(j, "fallback", &c->fallback);
    json_count(j, "failed_attempts", c->failed_attempts);
    json_number(j, "wasted_ms", (double)c->wasted_us / 1000, "%.3f");
    json_number(j, "wasted_usd", usd(c->wasted_pico), "%.12f");
    json_nest(j, "sessions", "{");
    json_count(j, "traces", c->sessions);
    json_count(j, "requests", c->session_requests);
    json_count(j, "attempts", c->session_attempts);
    json_unnest(j, "}");
    json_count(j, "sample_one_in", UINT64_C(1) << c->sample_bits);
    json_groups(j, "models", "model", &c->models);
    json_groups(j, "providers", "provider", &c->providers);
    json_routes(j, c);
    json_worst(a, j, c);
    json_unnest(j, "}");
}

const struct analyze_part analyze_chains = {
    .name = "chains",
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
