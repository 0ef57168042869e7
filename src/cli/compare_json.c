/* compare_json.c -- the comparison as JSON: every figure with its unit at its name's end, null where it is not known, and every request. */
#include <math.h>

#include "cli/compare.h"
#include "cli/json_out.h"
#include "cli/version.h"

#define COMPARE_SCHEMA "weir.compare/1"

static const char *const end_names[] = {[END_BLOCKS] = "blocks",
                                        [END_BUDGET_USD] = "budget_usd",
                                        [END_BUDGET_REQUESTS] = "budget_requests",
                                        [END_STOPPED] = "interrupted",
                                        [END_PRECISE] = "stopped_early"};

static void write_interval(struct json_out *j, const char *name, double low, double high)
{
    json_nest(j, name, "[");
    json_number(j, NULL, low, "%.9g");
    json_number(j, NULL, high, "%.9g");
    json_unnest(j, "]");
}

static void write_ratio(struct json_out *j, struct arena *a, const char *name, struct ratio r)
{
    json_number(j, name, r.value, "%.9g");
    write_interval(j, arena_printf(a, "%s_ci95", name).p, r.low, r.high);
}

static void write_estimate(struct json_out *j, struct arena *a, const char *name,
                           const char *suffix, const struct estimate *e)
{
    json_number(j, arena_printf(a, "%s%s", name, suffix).p, e->refused ? NAN : e->value, "%.9g");
    write_interval(j, arena_printf(a, "%s_ci95%s", name, suffix).p, e->refused ? NAN : e->low,
                   e->refused ? NAN : e->high);
    if (e->refused)
        json_count(j, arena_printf(a, "%s_needs", name).p, e->need);
}

/* ---- the plan ---- */

static void write_plan(struct json_out *j, const struct comparison *c)
{
    const struct compare_run_options *o = &c->run_options;
    json_nest(j, "plan", "{");
    json_count(j, "blocks", o->blocks[PHASE_MEASURED]);
    json_count(j, "warm_up_blocks", o->blocks[PHASE_WARM_UP]);
    json_count(j, "cold_blocks", o->blocks[PHASE_COLD]);
    json_count(j, "blocks_at_once", o->lanes);
    json_bool(j, "duet", o->duet);
    json_bool(j, "stop_early", c->stop_early);
    json_number(j, "alpha", c->plan.alpha, "%.9g");
    json_number(j, "min_effect", c->plan.min_effect, "%.9g");
    json_count(j, "bootstrap_resamples", c->plan.resamples);
    json_number(j, "budget_usd", o->budget_usd > 0 ? o->budget_usd : NAN, "%.9g");
    json_number(j, "budget_requests", o->budget_requests ? (double)o->budget_requests : NAN,
                "%.0f");
    json_unnest(j, "}");
}

static void write_head(struct json_out *j, const struct comparison *c)
{
    json_text(j, "schema", STR(COMPARE_SCHEMA));
    json_text(j, "weir", str_from(weir_version));
    json_text(j, "command", STR("compare"));
    json_text(j, "url", c->target->url);
    json_stamp(j, "started", c->run.started_real_us);
    json_number(j, "elapsed_ms", (double)c->run.elapsed_ns / 1e6, "%.3f");
    json_count(j, "seed", c->run_options.seed);
    json_bool(j, "cut_short", c->run.end == END_STOPPED);
    json_text(j, "ended_by", str_from(end_names[c->run.end]));
    write_plan(j, c);
    json_count(j, "blocks", c->report.blocks);
    json_count(j, "requests", c->run.requests);
    json_number(j, "spent_usd", c->run.spent_usd, "%.12g");
    json_count(j, "answers_of_unknown_cost", c->run.unpriced);
    json_text(j, "percentiles", STR("exact values, nearest rank; a failure is infinitely slow"));
    json_text(
        j, "intervals",
        STR("95 %: percentiles from order statistics, their ranks moved apart by sqrt(n/n_eff); "
            "ratios of percentiles by bootstrap of whole blocks; typical ratios what the "
            "signed-rank test does not reject"));
    json_text(j, "primary_metric", str_from(compared_info(c->report.primary)->key));
}

/* ---- models ---- */

static void write_model_metrics(struct json_out *j, struct comparison *c, uint32_t m)
{
    json_nest(j, "metrics", "{");
    for (int i = 0; i < COMPARED_COUNT; i++) {
        const struct compared_info *info = compared_info((enum compared)i);
        const struct compare_system *s = &c->report.results[i].system[m];
        if (!c->report.has[i])
            continue;
        json_nest(j, info->key, "{");
        json_count(j, "values", s->values);
        json_count(j, "failures", s->failures);
        write_estimate(j, &c->arena, "median", info->suffix, &s->median);
        write_estimate(j, &c->arena, "p95", info->suffix, &s->p95);
        write_estimate(j, &c->arena, "p99", info->suffix, &s->p99);
        json_number(j, "autocorrelation", s->autocorrelation, "%.6g");
        json_number(j, "second_half_over_first", s->later, "%.6g");
        json_unnest(j, "}");
    }
    json_unnest(j, "}");
}

static void write_outcomes(struct json_out *j, const struct compare_model_facts *f)
{
    json_nest(j, "outcomes", "{");
    for (int o = 0; o < OUTCOME_COUNT; o++)
        if (f->outcomes[o])
            json_count(j, outcome_key((enum outcome)o), f->outcomes[o]);
    json_unnest(j, "}");
}

static void write_model(struct json_out *j, struct comparison *c, uint32_t m)
{
    const struct compare_model_facts *f = &c->report.facts[m];
    json_nest(j, NULL, "{");
    json_text(j, "name", c->models[m].name);
    json_text(j, "provider", c->models[m].provider.n ? c->models[m].provider : STR_NONE);
    json_count(j, "requests", f->requests);
    json_count(j, "ok", f->ok);
    json_number(j, "success_rate", f->requests ? (double)f->ok / (double)f->requests : NAN, "%.9g");
    write_interval(j, "success_rate_ci95", f->success.low, f->success.high);
    write_outcomes(j, f);
    json_count(j, "limited_429", f->limited);
    json_count(j, "reconnected", f->reconnected);
    json_count(j, "token_mismatches", f->token_mismatches);
    json_count(j, "prompt_tokens", f->prompt_tokens);
    json_count(j, "completion_tokens", f->completion_tokens);
    json_number(j, "answer_tokens_least", f->tokens_least < 0 ? NAN : (double)f->tokens_least,
                "%.0f");
    json_number(j, "answer_tokens_most", f->tokens_most < 0 ? NAN : (double)f->tokens_most, "%.0f");
    json_number(j, "cost_usd", f->cost_usd, "%.12g");
    json_count(j, "answers_of_unknown_cost", f->unpriced);
    write_estimate(j, &c->arena, "median_tokens_per_second", "", &f->speed);
    json_count(j, "cold_requests", f->cold);
    json_number(j, "cold_connect_ms", f->cold_connect_ms, "%.6g");
    json_number(j, "cold_ttft_ms", f->cold_ttft_ms, "%.6g");
    json_text(j, "first_error", f->error ? str_from(f->error) : STR_NONE);
    write_model_metrics(j, c, m);
    json_unnest(j, "}");
}

/* ---- pairs ---- */

static void write_pair(struct json_out *j, struct comparison *c, const struct compare_pair *p)
{
    struct arena *a = &c->arena;
    json_nest(j, NULL, "{");
    json_text(j, "a", c->models[p->a].name);
    json_text(j, "b", c->models[p->b].name);
    json_count(j, "blocks", p->blocks);
    json_text(j, "verdict", str_from(verdict_names[p->verdict]));
    json_bool(j, "beyond_min_effect", p->beyond);
    write_ratio(j, a, "typical_ratio", p->typical);
    write_ratio(j, a, "median_ratio", p->median);
    write_ratio(j, a, "p95_ratio", p->p95);
    write_ratio(j, a, "p99_ratio", p->p99);
    json_number(j, "a_less_share", p->less, "%.9g");
    write_interval(j, "a_less_share_ci95", p->less_span.low, p->less_span.high);
    json_number(j, "p", p->p, "%.6g");
    json_number(j, "p_holm", p->p_holm, "%.6g");
    json_number(j, "sigma", p->sigma, "%.6g");
    json_number(j, "blocks_needed_for_min_effect", p->need_blocks, "%.0f");
    json_number(j, "effect_seen_4_times_in_5", p->seen, "%.6g");
    json_number(j, "second_half_over_first", p->later, "%.6g");
    json_unnest(j, "}");
}

static void write_comparisons(struct json_out *j, struct comparison *c)
{
    json_nest(j, "comparisons", "[");
    for (int i = 0; i < COMPARED_COUNT; i++) {
        const struct compare_result *r = &c->report.results[i];
        if (!c->report.is_compared[i])
            continue;
        json_nest(j, NULL, "{");
        json_text(j, "metric", str_from(compared_info((enum compared)i)->key));
        json_bool(j, "primary", (enum compared)i == c->report.primary);
        json_number(j, "friedman_p", r->friedman.p, "%.6g");
        json_number(j, "friedman_statistic", r->friedman.statistic, "%.6g");
        json_bool(j, "nothing_shown", r->nothing_shown);
        json_nest(j, "pairs", "[");
        for (size_t p = 0; p < r->pair_count; p++)
            write_pair(j, c, &r->pair[p]);
        json_unnest(j, "]");
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

static void write_successes(struct json_out *j, const struct comparison *c)
{
    json_nest(j, "successes", "[");
    for (size_t i = 0; i < c->report.results[0].pair_count; i++) {
        const struct compare_success *s = &c->report.successes[i];
        json_nest(j, NULL, "{");
        json_text(j, "a", c->models[s->a].name);
        json_text(j, "b", c->models[s->b].name);
        json_count(j, "blocks", s->blocks);
        json_count(j, "only_a_succeeded", s->only_a);
        json_count(j, "only_b_succeeded", s->only_b);
        json_number(j, "p", s->p, "%.6g");
        json_number(j, "p_holm", s->p_holm, "%.6g");
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

/* ---- the rest ---- */

static void write_sentences(struct json_out *j, const char *name, const struct sentence *s,
                            size_t count)
{
    json_nest(j, name, "[");
    for (size_t i = 0; i < count; i++)
        json_text(j, NULL, s[i].text);
    json_unnest(j, "]");
}

static void write_drift(struct json_out *j, const struct comparison *c)
{
    const struct compare_report *r = &c->report;
    json_nest(j, "drift", "{");
    json_number(j, "second_half_over_first", r->later, "%.6g");
    json_nest(j, "by_position", "[");
    for (size_t i = 0; i < r->models; i++)
        json_number(j, NULL, r->position[i], "%.6g");
    json_unnest(j, "]");
    json_count(j, "blocks_of_equal_length", r->blocks_equal);
    json_count(j, "blocks_of_unequal_length", r->blocks_unequal);
    json_unnest(j, "}");
}

static void write_instrument(struct json_out *j, const struct compare_run *r)
{
    double stamped = (double)r->stamped_reads;
    json_nest(j, "instrument", "{");
    json_number(j, "cpu_share", (double)r->cpu_ns / (double)r->elapsed_ns, "%.4f");
    json_count(j, "reads", r->reads);
    json_count(j, "reads_stamped_by_kernel", r->stamped_reads);
    json_number(j, "receive_lag_mean_ms", stamped > 0 ? r->lag_sum_ns / stamped / 1e6 : NAN,
                "%.6g");
    json_number(j, "receive_lag_max_ms", stamped > 0 ? (double)r->lag_max_ns / 1e6 : NAN, "%.6g");
    json_unnest(j, "}");
}

static void write_span(struct json_out *j, const char *name, uint64_t from_ns, uint64_t to_ns)
{
    int64_t ns = sample_span_ns(from_ns, to_ns);
    json_number(j, name, ns < 0 ? NAN : (double)ns / 1e6, "%.6f");
}

static void write_known(struct json_out *j, const char *name, int64_t count)
{
    json_number(j, name, count < 0 ? NAN : (double)count, "%.0f");
}

static void write_trial(struct json_out *j, const struct comparison *c,
                        const struct compare_trial *t, uint64_t origin_ns)
{
    static const char *const phases[] = {"cold", "warm_up", "measured"};
    const struct sample *s = &t->sample;
    json_nest(j, NULL, "{");
    json_text(j, "phase", str_from(phases[t->phase]));
    json_count(j, "block", t->block);
    json_count(j, "position", t->position);
    json_text(j, "model", c->models[t->model].name);
    json_text(j, "request_id", str_from(s->request_id));
    json_text(j, "outcome", str_from(outcome_key((enum outcome)s->outcome)));
    json_count(j, "http_status", (uint64_t)MAX(s->http_status, 0));
    json_bool(j, "new_connection", !s->reused);
    json_number(j, "started_ms", (double)(int64_t)(s->due_ns - origin_ns) / 1e6, "%.6f");
    write_span(j, "latency_ms", s->sent_first_ns, s->end_ns);
    write_span(j, "ttft_ms", s->sent_first_ns, s->first_token_ns);
    write_span(j, "e2e_ms", s->sent_first_ns, s->last_token_ns);
    write_known(j, "prompt_tokens", s->prompt_tokens);
    write_known(j, "completion_tokens", s->completion_tokens);
    json_number(j, "cost_usd", t->cost_usd < 0 ? NAN : t->cost_usd, "%.12g");
    json_text(j, "deployment", s->deployment[0] ? str_from(s->deployment) : STR_NONE);
    json_text(j, "error", s->error[0] ? str_from(s->error) : STR_NONE);
    json_unnest(j, "}");
}

static void write_trials(struct json_out *j, const struct comparison *c)
{
    uint64_t origin_ns = UINT64_MAX;
    for (size_t i = 0; i < c->run.trial_count; i++)
        origin_ns = MIN(origin_ns, c->run.trials[i].sample.due_ns);
    json_nest(j, "measurements", "[");
    for (size_t i = 0; i < c->run.trial_count; i++)
        write_trial(j, c, &c->run.trials[i], origin_ns);
    json_unnest(j, "]");
}

static void write_definitions(struct json_out *j)
{
    json_nest(j, "definitions", "{");
    for (int i = 0; i < COMPARED_COUNT; i++)
        json_text(j, compared_info((enum compared)i)->key,
                  str_from(compared_info((enum compared)i)->formula));
    json_unnest(j, "}");
}

void compare_write_json(struct comparison *c, FILE *out)
{
    struct json_out j;
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    write_head(&j, c);
    write_sentences(&j, "verdicts", c->verdicts, c->verdict_count);
    write_sentences(&j, "remarks", c->remarks, c->remark_count);
    json_nest(&j, "models", "[");
    for (uint32_t m = 0; m < c->model_count; m++)
        write_model(&j, c, m);
    json_unnest(&j, "]");
    write_comparisons(&j, c);
    write_successes(&j, c);
    write_drift(&j, c);
    write_instrument(&j, &c->run);
    write_definitions(&j);
    write_trials(&j, c);
    json_unnest(&j, "}");
    json_out_end(&j, out);
}
