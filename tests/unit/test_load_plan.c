/* weir load's options and files as plans: which stages they become, and which of the two is heard. No request is sent. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/load.h"

#define NOTHING                                                                                    \
    .shared = MEASURE_OPTIONS_DEFAULTS, .rate = NAN, .gamma = NAN, .speed = NAN, .model = "m"

static void plan(struct load_plan *p, struct load_options o, const char *file)
{
    int status = EXIT_GOOD;
    o.shared.url = "http://127.0.0.1:1";
    o.shared.key = "";
    if (!load_plan_make(p, &o, file, &status))
        fail_msg("refused with %d", status);
}

/* What is said on stderr is the tests' output, too: the exit status is what is looked at. */
static void refused(struct load_options o, int expected)
{
    struct load_plan p;
    int status = EXIT_GOOD;
    o.shared.url = "http://127.0.0.1:1";
    assert_false(load_plan_make(&p, &o, NULL, &status));
    assert_int_equal(status, expected);
    load_plan_fini(&p);
}

static void without_options_a_few_users_for_half_a_minute(void **state)
{
    (void)state;
    struct load_plan p;
    plan(&p, (struct load_options){NOTHING}, NULL);
    const struct stage *s = p.arrivals.stages;
    assert_int_equal(p.arrivals.stage_count, 1);
    assert_true(s->kind == STAGE_USERS && s->from == 10 && s->duration_ns == 30 * NS_PER_S);
    assert_true(!p.open_loop && !p.all_open && p.spin && p.arrivals.seed > 0);
    assert_true(str_eq(p.models[0], STR("m")) && str_eq(p.stages[0], STR("1: 10 users")));
    load_plan_fini(&p);
}

static void a_rate_with_ramp_and_warm_up(void **state)
{
    (void)state;
    struct load_plan p;
    struct load_options o = {NOTHING, .duration = "1m", .ramp = "10s", .warmup = "5s"};
    o.rate = 200;
    o.gamma = .5;
    plan(&p, o, NULL);
    const struct stage *s = p.arrivals.stages;
    assert_int_equal(p.arrivals.stage_count, 3);
    assert_true(s[0].warm_up && s[0].from == 20 && s[0].to == 20 &&
                s[0].duration_ns == 5 * NS_PER_S);
    assert_true(!s[1].warm_up && s[1].from == 0 && s[1].to == 200 &&
                s[1].duration_ns == 10 * NS_PER_S);
    assert_true(s[2].from == 200 && s[2].spacing == SPACING_GAMMA && s[2].gamma_shape == .5);
    assert_true(str_eq(p.stages[0], STR("warm-up")) && str_eq(p.stages[1], STR("ramp")));
    assert_true(p.open_loop && p.all_open);
    load_plan_fini(&p);
}

static void requests_end_a_stage(void **state)
{
    (void)state;
    struct load_plan p;
    plan(&p, (struct load_options){NOTHING, .concurrency = 3, .requests = 500}, NULL);
    assert_true(p.arrivals.stages[0].requests == 500 && p.arrivals.stages[0].duration_ns == 0);
    load_plan_fini(&p);
}

static void users_and_rates_one_after_another(void **state)
{
    (void)state;
    struct load_plan p;
    plan(&p, (struct load_options){NOTHING, .stages = "1s:5,1s:=20/s", .poisson = true}, NULL);
    const struct stage *s = p.arrivals.stages;
    assert_true(s[0].kind == STAGE_USERS && s[0].spacing == SPACING_CONSTANT);
    assert_true(s[1].kind == STAGE_RATE && s[1].spacing == SPACING_POISSON);
    assert_true(p.open_loop && !p.all_open);
    load_plan_fini(&p);
}

static void what_excludes_each_other(void **state)
{
    (void)state;
    refused((struct load_options){NOTHING, .concurrency = 3, .stages = "1s:3"}, EXIT_USAGE);
    refused((struct load_options){NOTHING, .stages = "1s:3", .ramp = "1s"}, EXIT_USAGE);
    refused((struct load_options){NOTHING, .replay = "x.log", .requests = 3}, EXIT_USAGE);
    refused((struct load_options){NOTHING, .replay = "/nowhere/x.log"}, EXIT_UNREACHABLE);
    refused((struct load_options){NOTHING, .poisson = true, .burst = 3}, EXIT_USAGE);
    refused((struct load_options){NOTHING, .mix = "a,b"}, EXIT_USAGE); /* and --model */
    refused((struct load_options){NOTHING, .grace = "5"}, EXIT_USAGE);
}

static void options_go_before_the_file(void **state)
{
    (void)state;
    static const char text[] =
        "name: f\nmodels: {a: 1, b: 2}\nkey: sk-file\nprompts: {tokens: 9, max_tokens: 3, stream: "
        "false}\n"
        "stages: [{users: 4, duration: 2s}]\nseed: 5\nthreads: 3\ngrace: 1s\n"
        "connections: {reuse: false, max: 7}\nthresholds: [errors < 1%]\n";
    char path[] = "/tmp/weir-plan-XXXXXX";
    struct load_plan p, q;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    struct load_options o = {NOTHING};
    o.model = NULL;
    plan(&p, o, path);
    assert_true(p.arrivals.mix_count == 2 && p.arrivals.stages[0].from == 4 &&
                p.arrivals.seed == 5);
    assert_true(!prompts_stream(p.prompts) && p.scenario.threads == 3 &&
                p.scenario.grace_ms == 1000);
    assert_true(p.scenario.fresh_connections && p.scenario.connections_max == 7);
    o = (struct load_options){NOTHING,          .concurrency = 2, .threads = 1,
                              .connections = 9, .grace = "2s",    .name = "mine"};
    o.shared.seed = 6;
    o.shared.prompt = "hello";
    o.thresholds.values[o.thresholds.count++] = "p(95)<500";
    plan(&q, o, path);
    assert_true(q.arrivals.mix_count == 1 && q.arrivals.stages[0].from == 2 &&
                q.arrivals.seed == 6);
    assert_true(q.scenario.threads == 1 && q.scenario.connections_max == 9 &&
                q.scenario.grace_ms == 2000);
    assert_true(str_eq(q.scenario.name, STR("mine")) && q.scenario.limits.count == 2);
    assert_true(q.prompts_hash != p.prompts_hash);
    load_plan_fini(&p);
    load_plan_fini(&q);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_options_a_few_users_for_half_a_minute),
        cmocka_unit_test(a_rate_with_ramp_and_warm_up),
        cmocka_unit_test(requests_end_a_stage),
        cmocka_unit_test(users_and_rates_one_after_another),
        cmocka_unit_test(what_excludes_each_other),
        cmocka_unit_test(options_go_before_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
