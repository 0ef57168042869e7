/* load_json.c -- what came of a load test, for programs: all that the report says, and what weir load merge needs to add several up. */
#include <math.h>

#include "cli/load.h"
#include "cli/measure_export.h"

static const char *const spacings[] = {[SPACING_CONSTANT] = "constant",
                                       [SPACING_POISSON] = "poisson",
                                       [SPACING_GAMMA] = "gamma",
                                       [SPACING_BURST] = "burst"};

static void write_stage(struct json_out *j, struct str name, const struct stage *s)
{
    json_nest(j, NULL, "{");
    json_text(j, "name", name);
    if (s) {
        json_text(j, "kind", s->kind == STAGE_RATE ? STR("rate") : STR("users"));
        json_number(j, "from", s->from, "%.9g");
        json_number(j, "to", s->to, "%.9g");
        json_number(j, "duration_s", s->duration_ns ? (double)s->duration_ns / 1e9 : NAN, "%.9g");
        json_number(j, "requests", s->requests ? (double)s->requests : NAN, "%.0f");
        json_bool(j, "warm_up", s->warm_up);
        if (s->kind == STAGE_RATE)
            json_text(j, "spacing", str_from(spacings[s->spacing]));
        if (s->kind == STAGE_RATE && s->spacing == SPACING_GAMMA)
            json_number(j, "shape", s->gamma_shape, "%.9g");
        if (s->kind == STAGE_RATE && s->spacing == SPACING_BURST)
            json_count(j, "burst", s->burst);
    }
    json_unnest(j, "}");
}

static void write_scenario(struct json_out *j, const struct load_result *r)
{
    char hash[20];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)r->hash);
    json_nest(j, "scenario", "{");
    json_text(j, "name", r->name);
    json_text(j, "hash", str_from(hash));
    json_bool(j, "open_loop", r->open_loop);
    json_nest(j, "mix", "[");
    for (uint32_t i = 0; i < r->results->model_count; i++) {
        json_nest(j, NULL, "{");
        json_text(j, "model", r->models[i]);
        json_number(j, "weight", r->mix ? r->mix[i].weight : NAN, "%.9g");
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    json_nest(j, "stages", "[");
    for (uint32_t i = 0; i < r->results->stage_count; i++)
        write_stage(j, r->stages[i], r->plan ? &r->plan[i] : NULL);
    json_unnest(j, "]");
    json_text(j, "replay", r->replay_file);
    if (r->replay_file.n) {
        json_number(j, "replay_speed", r->replay_speed, "%.9g");
        json_count(j, "replay_requests", r->replay_requests);
    }
    json_unnest(j, "}");
}

static void write_limits(struct json_out *j, const struct load_result *r)
{
    static const char *const verdicts[] = {
        [LIMIT_HELD] = "held", [LIMIT_FAILED] = "failed", [LIMIT_REFUSED] = "refused"};
    json_nest(j, "thresholds", "[");
    for (size_t i = 0; i < r->limits.count; i++) {
        const struct limit_asked *l = &r->limits.all[i];
        json_nest(j, NULL, "{");
        json_text(j, "threshold", str_from(l->text));
        json_text(j, "verdict", str_from(verdicts[l->verdict]));
        json_number(j, "value", l->value, "%.9g");
        json_number(j, "bound", l->bound, "%.9g");
        json_text(j, "why", str_from(l->why));
        json_bool(j, "ended_the_run", l == r->aborted_by);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

static void write_series(struct json_out *j, const char *name, const double *values, size_t count)
{
    json_nest(j, name, "[");
    for (size_t i = 0; values && i < count; i++)
        json_number(j, NULL, values[i], "%.9g");
    json_unnest(j, "]");
}

/* A value for each of "seconds". */
static void write_asked(struct json_out *j, const struct load_result *r)
{
    json_nest(j, "asked", "{");
    write_series(j, "per_s", r->asked_per_s, r->results->second_count);
    write_series(j, "users", r->asked_users, r->results->second_count);
    write_series(j, "never_sent", r->dropped, r->results->second_count);
    json_unnest(j, "}");
}

static void write_remarks(struct json_out *j, const struct load_result *r)
{
    json_nest(j, "remarks", "[");
    for (size_t i = 0; i < r->remark_count; i++)
        json_text(j, NULL, r->remarks[i]);
    json_unnest(j, "]");
}

/* Good as far as it can be told without looking at the exit status: what load_verdict says in words. */
static bool is_passed(const struct load_result *r)
{
    return r->limits_held && !r->aborted_by && !r->validity.client_limited &&
           r->results->total.outcomes[OUTCOME_OK] > 0;
}

void load_write_json(const struct load_result *r, FILE *out)
{
    struct measure_report m = load_report_of(r);
    struct json_out j;
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    measure_json_head(&j, &m);
    json_count(&j, "merged", r->merged);
    write_remarks(&j, r);
    write_scenario(&j, r);
    json_bool(&j, "passed", is_passed(r));
    write_limits(&j, r);
    measure_json_group(&j, "summary", &m, &r->results->total);
    if (r->results->warm_up.requests)
        measure_json_group(&j, "warm_up", &m, &r->results->warm_up);
    measure_json_groups(&j, &m);
    measure_json_failures(&j, &m);
    measure_json_validity(&j, &m);
    measure_json_seconds(&j, &m);
    write_asked(&j, r);
    measure_json_definitions(&j);
    export_mergeable(&j, "mergeable", r->results, r->origin_real_us);
    json_unnest(&j, "}");
    json_out_end(&j, out);
}
