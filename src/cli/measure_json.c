/* measure_json.c -- measured results as JSON (measure_report.h). Names of members end in their unit; what is not known is null. */
#include <math.h>

#include "base/clock.h"
#include "cli/measure_report.h"
#include "cli/version.h"

/* name + suffix, for the call only. */
struct member {
    char text[96];
};

static struct member member(const char *head, const char *middle, const char *tail)
{
    struct member m;
    snprintf(m.text, sizeof m.text, "%s%s%s", head, middle, tail);
    return m;
}

void measure_json_head(struct json_out *j, const struct measure_report *r)
{
    const struct results *x = r->results;
    json_text(j, "schema", STR(MEASURE_SCHEMA));
    json_text(j, "weir", str_from(weir_version));
    json_text(j, "command", str_from(r->command));
    json_text(j, "url", r->url);
    json_stamp(j, "started", r->account ? r->account->started_real_us : INT64_MIN);
    json_count(j, "seed", r->seed);
    json_bool(j, "cut_short", r->cut_short);
    json_nest(j, "models", "[");
    for (uint32_t i = 0; i < x->model_count; i++)
        json_text(j, NULL, r->models[i]);
    json_unnest(j, "]");
    json_text(j, "rule", str_from(spread_rule(&x->total.spreads[MEASURED_TOTAL])));
    json_text(j, "intervals",
              STR("95 %: percentiles from order statistics (binomial), means by Student's t, both "
                  "over n_eff = n (1 - r)/(1 + r)"));
}

/* ---- a group ---- */

static const struct {
    const char *name;
    double quantile;
} quantiles[] = {{"p50", .5},  {"p75", .75}, {"p90", .9},
                 {"p95", .95}, {"p99", .99}, {"p999", .999}};

static void write_interval(struct json_out *j, const char *name, enum measured m,
                           const struct estimate *e)
{
    json_nest(j, member(name, "_ci95", measured_suffix(m)).text, "[");
    json_number(j, NULL, e->refused ? NAN : measured_raw(m, e->low), "%.9g");
    json_number(j, NULL, e->refused ? NAN : measured_raw(m, e->high), "%.9g");
    json_unnest(j, "]");
}

static void write_estimate(struct json_out *j, const char *name, enum measured m,
                           const struct estimate *e)
{
    json_number(j, member(name, measured_suffix(m), "").text,
                e->refused ? NAN : measured_raw(m, e->value), "%.9g");
    write_interval(j, name, m, e);
}

static void write_metric(struct json_out *j, enum measured m, const struct spread *s)
{
    const char *suffix = measured_suffix(m);
    struct estimate mean = measured_mean(s);
    json_nest(j, measured_info(m)->key, "{");
    json_count(j, "count", spread_count(s));
    json_number(j, "n_eff", spread_n_eff(s), "%.6g");
    write_estimate(j, "mean", m, &mean);
    json_number(j, member("stddev", suffix, "").text, measured_raw(m, spread_stddev(s)), "%.9g");
    json_number(j, member("mad", suffix, "").text, measured_raw(m, spread_mad(s)), "%.9g");
    json_number(j, member("min", suffix, "").text, measured_raw(m, spread_min(s)), "%.9g");
    json_number(j, member("max", suffix, "").text, measured_raw(m, spread_max(s)), "%.9g");
    json_count(j, "outliers", spread_outliers(s));
    json_nest(j, "percentiles_refused", "{");
    for (size_t i = 0; i < COUNT(quantiles); i++) {
        struct estimate e = spread_quantile(s, quantiles[i].quantile);
        if (e.refused)
            json_count(j, quantiles[i].name, e.need);
    }
    json_unnest(j, "}");
    for (size_t i = 0; i < COUNT(quantiles); i++) {
        struct estimate e = spread_quantile(s, quantiles[i].quantile);
        write_estimate(j, quantiles[i].name, m, &e);
    }
    json_unnest(j, "}");
}

static void write_counts(struct json_out *j, const struct results_group *g)
{
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"requests", g->requests},
        {"ok", g->outcomes[OUTCOME_OK]},
        {"failed", results_failures(g)},
        {"dropped", g->outcomes[OUTCOME_DROPPED]},
        {"cancelled", g->outcomes[OUTCOME_CANCELLED]},
        {"streams", g->streams},
        {"tokens_told", g->tokens_told},
        {"on_kept_connections", g->reused},
        {"kernel_stamped", g->stamped},
        {"prompt_tokens", g->prompt_tokens},
        {"completion_tokens", g->completion_tokens},
        {"cached_tokens", g->cached_tokens},
        {"reasoning_tokens", g->reasoning_tokens},
        {"stalls", g->stalls},
        {"body_bytes", g->body_bytes},
    };
    for (size_t i = 0; i < COUNT(counts); i++)
        json_count(j, counts[i].name, counts[i].value);
    json_nest(j, "outcomes", "{");
    for (int o = 0; o < OUTCOME_COUNT; o++)
        if (g->outcomes[o])
            json_count(j, outcome_key((enum outcome)o), g->outcomes[o]);
    json_unnest(j, "}");
}

static void write_rates(struct json_out *j, const struct measure_report *r,
                        const struct results_group *g)
{
    double all = (double)results_attempts(g);
    json_number(j, "window_s", measure_window_s(g), "%.6f");
    json_number(j, "requests_per_s", measure_requests_per_s(g), "%.9g");
    json_number(j, "tokens_per_s", measure_tokens_per_s(g), "%.9g");
    if (objectives_any(&r->results->objectives)) {
        json_number(j, "goodput_per_s", measure_goodput_per_s(g), "%.9g");
        json_number(j, "good_share", (double)g->good / all, "%.6f");
    }
    json_number(j, "cost_usd", g->cost_usd, "%.12g");
    json_number(j, "wasted_usd", g->wasted_usd, "%.12g");
}

/* The members that are read most, under flat names: "p95_latency_ms". */
static void write_latencies(struct json_out *j, const struct spread *s)
{
    static const struct {
        const char *name;
        double quantile;
    } flat[] = {{"median_latency_ms", .5},
                {"p50_latency_ms", .5},
                {"p90_latency_ms", .9},
                {"p95_latency_ms", .95},
                {"p99_latency_ms", .99}};
    json_number(j, "mean_latency_ms", spread_mean(s).value / 1e6, "%.9g");
    for (size_t i = 0; i < COUNT(flat); i++) {
        struct estimate e = spread_quantile(s, flat[i].quantile);
        json_number(j, flat[i].name, e.refused ? NAN : e.value / 1e6, "%.9g");
    }
    json_number(j, "stddev_latency_ms", spread_stddev(s) / 1e6, "%.9g");
}

static void write_group(struct json_out *j, const struct measure_report *r,
                        const struct results_group *g)
{
    write_counts(j, g);
    write_rates(j, r, g);
    write_latencies(j, &g->spreads[MEASURED_TOTAL]);
    json_nest(j, "metrics", "{");
    for (int m = 0; m < MEASURED_COUNT; m++)
        if (spread_count(&g->spreads[m]))
            write_metric(j, (enum measured)m, &g->spreads[m]);
    json_unnest(j, "}");
}

void measure_json_group(struct json_out *j, const char *name, const struct measure_report *r,
                        const struct results_group *g)
{
    json_nest(j, name, "{");
    write_group(j, r, g);
    json_unnest(j, "}");
}

static void write_named(struct json_out *j, const char *name, const struct measure_report *r,
                        const struct results_group *groups, const struct str *names, size_t count)
{
    if (count < 2 || !names)
        return;
    json_nest(j, name, "[");
    for (size_t i = 0; i < count; i++) {
        json_nest(j, NULL, "{");
        json_text(j, "name", names[i]);
        write_group(j, r, &groups[i]);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

void measure_json_groups(struct json_out *j, const struct measure_report *r)
{
    const struct results *x = r->results;
    write_named(j, "stages", r, x->by_stage, r->stages, x->stage_count);
    write_named(j, "models_measured", r, x->by_model, r->models, x->model_count);
}

/* ---- the rest ---- */

static double median_ms(const struct histogram *h)
{
    return h->count ? (double)histogram_quantile(h, .5) / 1e6 : NAN;
}

void measure_json_seconds(struct json_out *j, const struct measure_report *r)
{
    const struct results *x = r->results;
    json_nest(j, "seconds", "[");
    for (size_t i = 0; i < x->second_count; i++) {
        json_nest(j, NULL, "{");
        json_number(j, "at_s", (double)i * (double)x->second_ns / 1e9, "%.6g");
        json_count(j, "ended", x->seconds[i].ended);
        json_count(j, "failed", x->seconds[i].failed);
        json_count(j, "chunks", x->seconds[i].chunks);
        json_count(j, "in_flight", x->seconds[i].in_flight);
        json_number(j, "latency_p50_ms", median_ms(&x->seconds[i].latency), "%.6g");
        json_number(j, "ttft_p50_ms", median_ms(&x->seconds[i].ttft), "%.6g");
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

void measure_json_failures(struct json_out *j, const struct measure_report *r)
{
    const struct results *x = r->results;
    json_nest(j, "failures", "[");
    for (size_t i = 0; i < x->failure_count; i++) {
        json_nest(j, NULL, "{");
        json_text(j, "outcome", str_from(outcome_key(x->failures[i].outcome)));
        json_count(j, "requests", x->failures[i].count);
        json_text(j, "error", str_from(x->failures[i].error));
        json_text(j, "request_id", str_from(x->failures[i].request_id));
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

static void write_account(struct json_out *j, const struct engine_account *a)
{
    const struct {
        const char *name;
        double value;
    } members[] = {
        {"duration_s", (double)(a->ended_ns - a->started_ns) / 1e9},
        {"offered", (double)a->offered},
        {"sent", (double)a->sent},
        {"dropped", (double)a->dropped},
        {"cpu_share", a->cpu_share},
        {"receive_lag_p50_ms", a->lag_p50_ns / 1e6},
        {"receive_lag_p99_ms", a->lag_p99_ns / 1e6},
        {"send_lateness_p50_ms", a->late_p50_ns / 1e6},
        {"send_lateness_p99_ms", a->late_p99_ns / 1e6},
        {"longest_stall_ms", (double)a->ticker_stall_max_ns / 1e6},
        {"in_flight_mean", a->in_flight_mean},
        {"in_flight_max", (double)a->in_flight_max},
    };
    json_nest(j, "account", "{");
    for (size_t i = 0; i < COUNT(members); i++)
        json_number(j, members[i].name, members[i].value, "%.9g");
    json_unnest(j, "}");
}

void measure_json_validity(struct json_out *j, const struct measure_report *r)
{
    static const char *const verdicts[] = {
        [CHECK_GOOD] = "good", [CHECK_BAD] = "bad", [CHECK_NOT_ASKED] = "not asked"};
    const struct validity *v = r->validity;
    if (v) {
        json_nest(j, "validity", "{");
        json_bool(j, "client_limited", v->client_limited);
        json_text(j, "summary", str_from(v->summary));
        json_number(j, "measurement_error_ms", v->error_ns / 1e6, "%.6g");
        json_nest(j, "checks", "[");
        for (size_t i = 0; i < v->count; i++) {
            json_nest(j, NULL, "{");
            json_text(j, "check", str_from(v->checks[i].key));
            json_text(j, "verdict", str_from(verdicts[v->checks[i].verdict]));
            json_text(j, "found", str_from(v->checks[i].text));
            json_number(j, "value", v->checks[i].value, "%.9g");
            json_number(j, "bound", v->checks[i].bound, "%.9g");
            json_unnest(j, "}");
        }
        json_unnest(j, "]");
        json_unnest(j, "}");
    }
    if (r->account)
        write_account(j, r->account);
}

void measure_json_definitions(struct json_out *j)
{
    json_nest(j, "definitions", "{");
    for (int m = 0; m < MEASURED_COUNT; m++)
        json_text(j, measured_info((enum measured)m)->key,
                  str_from(measured_info((enum measured)m)->formula));
    json_unnest(j, "}");
}

/* ---- one request ---- */

static void write_span(struct json_out *j, const char *name, uint64_t from_ns, uint64_t to_ns)
{
    int64_t ns = sample_span_ns(from_ns, to_ns);
    json_number(j, name, ns < 0 ? NAN : (double)ns / 1e6, "%.6f");
}

static void write_tokens(struct json_out *j, const char *name, int64_t tokens)
{
    json_number(j, name, tokens < 0 ? NAN : (double)tokens, "%.0f");
}

static void write_pace(struct json_out *j, const struct sample *s)
{
    int64_t ns = sample_span_ns(s->first_token_ns, s->last_token_ns);
    double tpot = ns >= 0 && s->completion_tokens >= 2
                      ? (double)ns / 1e6 / (double)(s->completion_tokens - 1)
                      : NAN;
    json_number(j, "tpot_ms", tpot, "%.6f");
    json_number(j, "tokens_per_s", tpot > 0 ? 1000 / tpot : NAN, "%.6g");
}

void measure_json_sample(struct json_out *j, const struct sample *s, struct str model,
                         uint64_t origin_ns)
{
    json_nest(j, NULL, "{");
    json_text(j, "request_id", str_from(s->request_id));
    json_text(j, "model", model);
    json_text(j, "outcome", str_from(outcome_key((enum outcome)s->outcome)));
    json_count(j, "http_status", (uint64_t)MAX(s->http_status, 0));
    json_bool(j, "warm_up", s->warm_up);
    json_bool(j, "new_connection", !s->reused);
    json_number(j, "due_ms", (double)(int64_t)(s->due_ns - origin_ns) / 1e6, "%.6f");
    write_span(j, "latency_ms", s->sent_first_ns, s->end_ns);
    write_span(j, "response_ms", s->due_ns, s->end_ns);
    write_span(j, "ttft_ms", s->sent_first_ns, s->first_token_ns);
    write_span(j, "e2e_ms", s->sent_first_ns, s->last_token_ns);
    write_pace(j, s);
    json_count(j, "chunks", s->chunks);
    write_tokens(j, "prompt_tokens", s->prompt_tokens);
    write_tokens(j, "completion_tokens", s->completion_tokens);
    json_bool(j, "tokens_counted", s->tokens_counted);
    json_number(j, "cost_usd", s->cost_usd < 0 ? NAN : s->cost_usd, "%.12g");
    json_text(j, "deployment", s->deployment[0] ? str_from(s->deployment) : STR_NONE);
    json_text(j, "error", s->error[0] ? str_from(s->error) : STR_NONE);
    json_unnest(j, "}");
}
