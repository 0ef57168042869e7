/* What weir compare makes of its trials: metrics, lengths, failures, costs, drift; from runs made by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/clock.h"
#include "base/mem.h"
#include "measure/compare_report.h"

#define MS NS_PER_MS

enum { BLOCKS = 40, MODELS = 2 };

struct made {
    struct compare_run run;
    struct compare_run_options options;
};

static const struct compare_plan plan = {
    .alpha = .05, .min_effect = .05, .resamples = 500, .seed = 3};

static void near(double value, double wanted, double within)
{
    if (!(fabs(value - wanted) <= within))
        fail_msg("%.9g is not %.9g", value, wanted);
}

/* A stream: first token after `ttft` ms, then one each `tpot` ms. */
static struct compare_trial trial(uint32_t block, uint32_t model, double ttft, double tpot,
                                  int64_t tokens)
{
    struct compare_trial t = {.phase = PHASE_MEASURED,
                              .block = block,
                              .model = model,
                              .position = (block + model) % MODELS,
                              .cost_usd = -1};
    struct sample *s = &t.sample;
    s->outcome = OUTCOME_OK;
    s->stream = s->reused = true;
    s->start_ns = s->due_ns = (uint64_t)block * 1000 * MS + 1;
    s->sent_first_ns = s->start_ns + MS / 10;
    s->first_token_ns = s->sent_first_ns + (uint64_t)(ttft * (double)MS);
    s->last_token_ns = s->first_token_ns + (uint64_t)(tpot * (double)(tokens - 1) * (double)MS);
    s->end_ns = s->last_token_ns + MS;
    s->prompt_tokens = 10;
    s->completion_tokens = tokens;
    s->chunks = (uint32_t)tokens;
    return t;
}

/* Blocks in another order than they began: as with several lanes. */
static void made_init(struct made *m)
{
    *m = (struct made){.options = {.model_count = MODELS}};
    m->run.options = &m->options;
    m->run.trials = mem_alloc(BLOCKS * MODELS * sizeof *m->run.trials);
    m->run.trial_count = BLOCKS * MODELS;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        uint32_t block = (i * 7) % BLOCKS;
        double noise = 1 + block % 5 * .01, more = 1 + block % 3 * .01;
        m->run.trials[2 * i] = trial(block, 0, 10 * noise, 2 * noise, 11);
        m->run.trials[2 * i + 1] = trial(block, 1, 20 * noise * more, 2 * noise, 11);
    }
}

static void made_fini(struct made *m)
{
    mem_free(m->run.trials);
}

static void metrics_are_those_defined(void **state)
{
    struct made m;
    struct compare_report r;
    (void)state;
    made_init(&m);
    compare_report_make(&r, &m.run, &plan, COMPARED_COUNT);
    assert_int_equal(r.blocks, BLOCKS);
    assert_int_equal(r.primary, COMPARED_E2E);
    near(r.results[COMPARED_TTFT].system[0].median.value, 10.2, 1e-6);
    near(r.results[COMPARED_TPOT].system[0].median.value, 2.04, 1e-6);
    near(r.results[COMPARED_E2E].system[0].median.value, 10.2 + 10 * 2.04,
         1e-6); /* to the last token */
    near(r.results[COMPARED_PER_TOKEN].system[0].median.value, 30.6 / 11, 1e-6);
    near(r.facts[0].speed.value, 1000 / 2.04, 1e-3);
    assert_false(r.has[COMPARED_COST]);
    assert_false(r.is_compared[COMPARED_PER_TOKEN]); /* all are equally long */
    assert_int_equal(r.results[COMPARED_E2E].pair[0].verdict, VERDICT_FASTER);
    assert_int_equal(r.results[COMPARED_TPOT].pair[0].verdict, VERDICT_EQUIVALENT);
    near(r.results[COMPARED_TTFT].pair[0].typical.value, 1 / (2 * 1.01), .01);
    assert_int_equal(r.facts[0].ok, BLOCKS);
    assert_int_equal(r.facts[0].tokens_least, 11);
    compare_report_fini(&r);
    made_fini(&m);
}

static void answers_of_other_lengths_are_compared_by_the_token(void **state)
{
    struct made m;
    struct compare_report r;
    (void)state;
    made_init(&m);
    for (size_t i = 0; i < m.run.trial_count; i++)
        if (m.run.trials[i].model == 1)
            m.run.trials[i] = trial(m.run.trials[i].block, 1, 10, 2, 30);
    compare_report_make(&r, &m.run, &plan, COMPARED_E2E);
    assert_int_equal(r.primary, COMPARED_PER_TOKEN);
    assert_int_equal(r.blocks_unequal, BLOCKS);
    assert_false(r.is_compared[COMPARED_E2E]);
    assert_true(r.has[COMPARED_E2E]); /* shown for each by itself */
    compare_report_fini(&r);
    made_fini(&m);
}

/* Two of forty blocks: totals are compared over the others, and each model's median is of all. */
static void few_other_lengths_are_left_out(void **state)
{
    struct made m;
    struct compare_report r;
    (void)state;
    made_init(&m);
    m.run.trials[1] = trial(m.run.trials[1].block, 1, 10, 2, 30);
    m.run.trials[5] = trial(m.run.trials[5].block, 1, 10, 2, 30);
    compare_report_make(&r, &m.run, &plan, COMPARED_COUNT);
    assert_int_equal(r.primary, COMPARED_E2E);
    assert_int_equal(r.blocks_unequal, 2);
    assert_int_equal(r.results[COMPARED_E2E].pair[0].blocks, BLOCKS - 2);
    assert_int_equal(r.results[COMPARED_E2E].system[1].values, BLOCKS);
    assert_int_equal(r.results[COMPARED_TTFT].pair[0].blocks, BLOCKS);
    compare_report_fini(&r);
    made_fini(&m);
}

static void failures_are_infinitely_slow_and_cost_nothing_known(void **state)
{
    struct made m;
    struct compare_report r;
    (void)state;
    made_init(&m);
    for (size_t i = 0; i < m.run.trial_count; i++) {
        struct compare_trial *t = &m.run.trials[i];
        t->cost_usd = t->model == 0 ? .00021 : .00042; /* of 21 tokens */
        if (t->model == 0 && t->block % 4 != 0) {
            t->sample.outcome = t->block % 4 == 1 ? OUTCOME_HTTP_429 : OUTCOME_HTTP_5XX;
            t->cost_usd = -1;
            snprintf(t->sample.error, sizeof t->sample.error, "status 5xx");
        }
    }
    compare_report_make(&r, &m.run, &plan, COMPARED_COUNT);
    assert_true(isinf(r.results[COMPARED_E2E].system[0].median.value));
    assert_int_equal(r.results[COMPARED_E2E].pair[0].verdict, VERDICT_SLOWER);
    assert_int_equal(r.facts[0].ok, BLOCKS / 4);
    assert_int_equal(r.facts[0].limited, BLOCKS / 4);
    assert_string_equal(r.facts[0].error, "status 5xx");
    assert_true(r.successes[0].p < 1e-6);
    assert_int_equal(r.successes[0].only_b, BLOCKS * 3 / 4);
    near(r.results[COMPARED_COST].system[0].median.value, .01, 1e-9);
    near(r.results[COMPARED_COST].pair[0].typical.value, .5, 1e-9);
    assert_int_equal(r.results[COMPARED_COST].pair[0].blocks, BLOCKS / 4);
    near(r.facts[0].cost_usd, .00021 * BLOCKS / 4, 1e-12);
    compare_report_fini(&r);
    made_fini(&m);
}

static void drift_and_places_are_found(void **state)
{
    struct made m;
    struct compare_report r;
    (void)state;
    made_init(&m);
    for (size_t i = 0; i < m.run.trial_count; i++) {
        struct compare_trial *t = &m.run.trials[i];
        double late = t->block >= BLOCKS / 2 ? 1.5 : 1, first = t->position == 0 ? 1.2 : 1;
        *t = trial(t->block, t->model, 10 * late * first, 2 * late * first, 11);
    }
    compare_report_make(&r, &m.run, &plan, COMPARED_COUNT);
    near(r.later, 1.5, .01);
    near(r.position[0] / r.position[1], 1.2, .01);
    near(r.results[COMPARED_E2E].pair[0].later, 1, .01); /* it is common to both */
    assert_int_not_equal(r.results[COMPARED_E2E].pair[0].verdict, VERDICT_FASTER);
    compare_report_fini(&r);
    made_fini(&m);
}

static void cold_trials_are_apart(void **state)
{
    struct made m;
    struct compare_report r;
    (void)state;
    made_init(&m);
    for (size_t i = 0; i < 4; i++) { /* blocks 0 and 7, both models */
        struct compare_trial *t = &m.run.trials[i];
        t->phase = PHASE_COLD;
        t->sample.reused = false;
        t->sample.resolved_ns = t->sample.start_ns;
        t->sample.connected_ns = t->sample.start_ns + 3 * MS;
        t->sample.secured_ns = t->sample.start_ns + 5 * MS;
    }
    compare_report_make(&r, &m.run, &plan, COMPARED_COUNT);
    assert_int_equal(r.blocks, BLOCKS - 2);
    assert_int_equal(r.facts[0].cold, 2);
    near(r.facts[0].cold_connect_ms, 5, 1e-6);
    near(r.facts[0].cold_ttft_ms, 10 + .1, .3); /* from the start, connecting included */
    assert_int_equal(r.facts[0].reconnected, 0);
    compare_report_fini(&r);
    made_fini(&m);
}

static void precision_is_of_every_pair(void **state)
{
    struct made m;
    struct compare_plan strict = plan;
    (void)state;
    made_init(&m);
    assert_true(compare_is_precise(&m.run, &plan, COMPARED_COUNT));
    strict.min_effect = .0005;
    assert_false(compare_is_precise(&m.run, &strict, COMPARED_COUNT));
    m.run.trial_count = 4; /* two blocks: no interval at all */
    assert_false(compare_is_precise(&m.run, &plan, COMPARED_COUNT));
    m.run.trial_count = 0;
    assert_false(compare_is_precise(&m.run, &plan, COMPARED_COUNT));
    made_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_are_those_defined),
        cmocka_unit_test(answers_of_other_lengths_are_compared_by_the_token),
        cmocka_unit_test(few_other_lengths_are_left_out),
        cmocka_unit_test(failures_are_infinitely_slow_and_cost_nothing_known),
        cmocka_unit_test(drift_and_places_are_found),
        cmocka_unit_test(cold_trials_are_apart),
        cmocka_unit_test(precision_is_of_every_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
