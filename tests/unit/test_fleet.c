/* What is known of deployments: when they rest and for how long, who may try them, how fast they are; then all of it from eight threads. */
#include "fleet_fixture.h"

/* One failure of deployment 0 at q.now_ns; did it send it to rest? */
static bool fails(struct fixture *f, enum failure_class class, int64_t retry_after_ms)
{
    struct attempt_failure failure = {
        .class = class, .status = 500, .retry_after_ms = retry_after_ms};
    return fleet_failed(f->states[0], f->list[0], &f->routing, f->group.count == 1, &failure,
                        f->q.now_ns);
}

static void succeeds(struct fixture *f)
{
    fleet_succeeded(f->states[0], -1, 1000, f->q.now_ns);
}

static enum rest rest_now(const struct fixture *f)
{
    return fleet_rest(f->states[0], f->q.now_ns);
}

static int64_t left_ms(const struct fixture *f)
{
    return (int64_t)((fleet_rest_left_ns(f->states[0], f->q.now_ns) + NS_PER_MS - 1) / NS_PER_MS);
}

static void pass(struct fixture *f, int64_t ms)
{
    f->q.now_ns += (uint64_t)ms * NS_PER_MS;
}

/* So that "more than half of this minute's attempts" never comes true. */
static void with_a_good_minute(struct fixture *f)
{
    for (int i = 0; i < 100; i++)
        succeeds(f);
}

static void states_are_found_by_id(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 3);
    assert_ptr_equal(fleet_state(f.fleet, STR("deployment-1")), f.states[1]);
    struct deployment_state *other = fleet_state(f.fleet, STR("another"));
    assert_ptr_not_equal(other, f.states[0]);
    assert_ptr_equal(fleet_state(f.fleet, STR("another")), other);
    assert_int_not_equal(f.states[0]->hash, f.states[1]->hash);
    fixture_fini(&f);
    fleet_free(NULL);
}

static void it_rests_after_one_failure_more_than_allowed(void **state)
{
    static const int allowed[] = {0, 1, 3, 10};
    (void)state;
    for (size_t i = 0; i < COUNT(allowed); i++) {
        struct fixture f;
        fixture_init(&f, 1 + (int)i % 2); /* alone or not */
        f.routing.allowed_fails = allowed[i];
        with_a_good_minute(&f);
        for (int k = 0; k < allowed[i]; k++) {
            assert_false(fails(&f, FAILURE_CONNECTION, -1));
            assert_int_equal(rest_now(&f), REST_NOT);
        }
        assert_true(fails(&f, FAILURE_CONNECTION, -1));
        assert_int_equal(rest_now(&f), REST_RESTS);
        assert_int_equal(left_ms(&f), 5000);
        assert_int_equal(f.states[0]->rests_total, 1);
        fixture_fini(&f);
    }
}

static void a_success_between_begins_the_row_anew(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    with_a_good_minute(&f);
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < 3; k++)
            assert_false(fails(&f, FAILURE_SERVER, -1));
        succeeds(&f);
    }
    fixture_fini(&f);
}

static void some_failures_send_to_rest_at_once_if_others_are_there(void **state)
{
    static const struct {
        enum failure_class class;
        int64_t retry_after_ms;
        bool in_group, alone;
    } rows[] = {
        {FAILURE_BAD_REQUEST, -1, false, false},    {FAILURE_CONTEXT_WINDOW, -1, false, false},
        {FAILURE_CONTENT_POLICY, -1, false, false}, {FAILURE_AUTHENTICATION, -1, true, false},
        {FAILURE_NOT_FOUND, -1, true, false},       {FAILURE_TIMEOUT, -1, false, false},
        {FAILURE_RATE_LIMIT, -1, true, false},      {FAILURE_RATE_LIMIT, 7000, true, false},
        {FAILURE_RATE_LIMIT, 61000, true, true},    {FAILURE_SERVER, -1, false, false},
        {FAILURE_CONNECTION, -1, false, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int alone = 0; alone < 2; alone++) {
            struct fixture f;
            fixture_init(&f, 2 - alone);
            bool rests = fails(&f, rows[i].class, rows[i].retry_after_ms);
            if (rests != (alone ? rows[i].alone : rows[i].in_group))
                fail_msg("row %zu, alone %d", i, alone);
            fixture_fini(&f);
        }
}

static void more_than_half_of_a_minute_is_too_much(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.routing.allowed_fails = 100;
    f.q.now_ns = 60 * 100 * NS_PER_S;
    succeeds(&f);
    succeeds(&f);
    assert_false(fails(&f, FAILURE_SERVER, -1)); /* 1 of 3 */
    assert_false(fails(&f, FAILURE_SERVER, -1)); /* 2 of 4 */
    pass(&f, 60000);                             /* another minute counts from 0 */
    for (int i = 0; i < 4; i++)
        assert_false(fails(&f, FAILURE_SERVER, -1));
    assert_true(fails(&f, FAILURE_SERVER, -1)); /* 5 of 5 */
    fixture_fini(&f);
}

static void a_full_minute_keeps_its_share(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.routing.allowed_fails = 1 << 30;
    for (int i = 0; i < (1 << 20) + 1000; i++) { /* two of five fail: never more than half */
        if (i % 5 < 3)
            succeeds(&f);
        else
            assert_false(fails(&f, FAILURE_SERVER, -1));
    }
    fixture_fini(&f);
}

static void a_late_clock_does_not_bring_back_the_last_minute(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.routing.allowed_fails = 100;
    f.q.now_ns = 60 * 100 * NS_PER_S;
    for (int i = 0; i < 4; i++)
        assert_false(fails(&f, FAILURE_SERVER, -1));
    f.q.now_ns -= NS_PER_MS; /* another worker's */
    assert_true(fails(&f, FAILURE_SERVER, -1));
    fixture_fini(&f);
}

static void the_time_is_the_deployments_else_the_providers_else_the_routers(void **state)
{
    static const struct {
        int64_t own_ms, retry_after_ms, router_ms, expect_ms; /* 0: no rest */
    } rows[] = {
        {2000, 9000, 5000, 2000}, {-1, 9000, 5000, 9000},       {-1, -1, 5000, 5000},
        {-1, 0, 5000, 5000},      {-1, 86400000, 5000, 600000}, {0, 9000, 5000, 0},
        {-1, -1, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fixture f;
        fixture_init(&f, 2);
        f.deployments[0].cooldown_ms = rows[i].own_ms;
        f.routing.cooldown_ms = rows[i].router_ms;
        assert_int_equal(fails(&f, FAILURE_RATE_LIMIT, rows[i].retry_after_ms),
                         rows[i].expect_ms > 0);
        assert_int_equal(left_ms(&f), rows[i].expect_ms);
        fixture_fini(&f);
    }
}

static void each_failed_trial_doubles_the_rest_up_to_a_minute(void **state)
{
    static const int64_t times_ms[] = {5000, 10000, 20000, 40000, 60000, 60000};
    struct fixture f;
    (void)state;
    fixture_init(&f, 1);
    for (int i = 0; i < 3; i++)
        assert_false(fails(&f, FAILURE_TIMEOUT, -1));
    for (size_t i = 0; i < COUNT(times_ms); i++) {
        assert_true(fails(&f, FAILURE_TIMEOUT, -1));
        assert_int_equal(left_ms(&f), times_ms[i]);
        pass(&f, times_ms[i] - 1);
        assert_int_equal(rest_now(&f), REST_RESTS);
        assert_false(fleet_try(f.states[0], f.q.now_ns));
        pass(&f, 1);
        assert_int_equal(rest_now(&f), REST_HALF_OPEN);
        assert_int_equal(left_ms(&f), 0);
        assert_true(fleet_try(f.states[0], f.q.now_ns));
    }
    succeeds(&f);
    assert_int_equal(rest_now(&f), REST_NOT);
    for (int i = 0; i < 3; i++)
        assert_false(fails(&f, FAILURE_TIMEOUT, -1));
    assert_true(fails(&f, FAILURE_TIMEOUT, -1));
    assert_int_equal(left_ms(&f), 5000); /* forgiven */
    assert_int_equal(f.states[0]->rests_total, COUNT(times_ms) + 1);
    fixture_fini(&f);
}

static void a_long_cooldown_is_not_cut_to_a_minute(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.routing.cooldown_ms = 300000;
    for (int i = 0; i < 2; i++) {
        assert_true(fails(&f, FAILURE_NOT_FOUND, -1));
        assert_int_equal(left_ms(&f), 300000);
        pass(&f, 300000);
        assert_true(fleet_try(f.states[0], f.q.now_ns));
    }
    fixture_fini(&f);
}

static void a_trial_ends_in_one_of_four_ways(void **state)
{
    (void)state;
    for (int way = 0; way < 6; way++) {
        struct fixture f;
        fixture_init(&f, 2);
        fixture_rest(&f, 0, 1000);
        pass(&f, 1000);
        assert_true(fleet_try(f.states[0], f.q.now_ns));
        assert_false(fleet_try(f.states[0], f.q.now_ns));
        assert_int_equal(rest_now(&f), REST_RESTS);
        assert_int_equal(left_ms(&f), 1000); /* ask again in a second */
        switch (way) {
        case 0:
            fleet_alive(f.states[0]);
            assert_int_equal(rest_now(&f), REST_NOT);
            break;
        case 1:
            fleet_untried(f.states[0]);
            assert_int_equal(rest_now(&f), REST_HALF_OPEN);
            break;
        case 2:
            assert_true(fails(&f, FAILURE_SERVER, -1));
            assert_int_equal(rest_now(&f), REST_RESTS);
            break;
        case 3: /* the request's own fault: it answered */
            assert_false(fails(&f, FAILURE_BAD_REQUEST, -1));
            assert_int_equal(rest_now(&f), REST_NOT);
            break;
        case 4: /* nothing was ever heard of it */
            pass(&f, 599999);
            assert_int_equal(rest_now(&f), REST_RESTS);
            pass(&f, 1);
            assert_true(fleet_try(f.states[0], f.q.now_ns));
            break;
        case 5: /* cooldowns were switched off meanwhile */
            f.routing.disable_cooldowns = true;
            assert_false(fails(&f, FAILURE_SERVER, -1));
            assert_int_equal(rest_now(&f), REST_NOT);
            break;
        }
        fixture_fini(&f);
    }
}

static void what_began_before_a_rest_does_not_end_it(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    fixture_rest(&f, 0, 9000);
    fleet_alive(f.states[0]);
    succeeds(&f);
    fleet_untried(f.states[0]);
    assert_int_equal(left_ms(&f), 9000);
    assert_false(fails(&f, FAILURE_TIMEOUT, -1)); /* nor make it longer, or count as another one */
    assert_int_equal(left_ms(&f), 9000);
    pass(&f, 9000);
    assert_false(fails(&f, FAILURE_TIMEOUT, -1)); /* nor forbid the trial */
    assert_int_equal(rest_now(&f), REST_HALF_OPEN);
    assert_int_equal(f.states[0]->rests_total, 1);
    fixture_fini(&f);
}

static void nobody_needs_to_try_what_is_in_rotation(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 1);
    assert_false(fleet_try(f.states[0], f.q.now_ns));
    assert_int_equal(rest_now(&f), REST_NOT);
    fixture_fini(&f);
}

static void a_policy_counts_its_own_class(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.routing.allowed_fails_policy.by_class[FAILURE_RATE_LIMIT] = 2;
    f.routing.allowed_fails_policy.by_class[FAILURE_BAD_REQUEST] = 1;
    with_a_good_minute(&f);
    assert_false(fails(&f, FAILURE_RATE_LIMIT, 7000));
    assert_false(fails(&f, FAILURE_RATE_LIMIT, 7000));
    assert_false(fails(&f, FAILURE_TIMEOUT, -1));
    assert_true(fails(&f, FAILURE_RATE_LIMIT, 7000));
    pass(&f, 7000);
    assert_true(fleet_try(f.states[0], f.q.now_ns));
    assert_true(fails(&f, FAILURE_SERVER, -1)); /* a trial that fails, whatever the policy */
    pass(&f, 60000);
    assert_true(fleet_try(f.states[0], f.q.now_ns));
    succeeds(&f);
    assert_false(fails(&f, FAILURE_BAD_REQUEST,
                       -1)); /* other deployments would refuse it too, unless asked for */
    succeeds(&f);            /* in a row only */
    assert_false(fails(&f, FAILURE_BAD_REQUEST, -1));
    assert_true(fails(&f, FAILURE_BAD_REQUEST, -1));
    fixture_fini(&f);
}

static void a_wildcards_404_is_the_clients(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.deployments[0].model_name = STR("openai/*");
    for (int i = 0; i < 50; i++)
        assert_false(fails(&f, FAILURE_NOT_FOUND, -1));
    assert_int_equal(fleet_health(f.states[0], f.q.now_ns), 0);
    assert_true(fails(&f, FAILURE_AUTHENTICATION, -1));
    fixture_fini(&f);
}

static void speed_is_a_decayed_mean(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 1);
    struct deployment_state *s = f.states[0];
    fleet_succeeded(s, 1000, 10, f.q.now_ns);
    assert_int_equal(s->ttft_us, 1000);
    assert_int_equal(s->token_us, 10);
    fleet_succeeded(s, 2000, -1, f.q.now_ns); /* one token: no time between two */
    assert_int_equal(s->ttft_us, 1200);
    assert_int_equal(s->token_us, 10);
    assert_int_equal(s->plain_measured_ns, 0);
    fleet_succeeded(s, -1, 700, f.q.now_ns + 5);
    assert_int_equal(s->plain_token_us, 700);
    assert_int_equal(s->plain_measured_ns, f.q.now_ns + 5);
    assert_int_equal(s->measured_ns, f.q.now_ns);
    fleet_succeeded(s, -1, -1, f.q.now_ns + 9);
    assert_int_equal(s->plain_measured_ns, f.q.now_ns + 5);
    for (int i = 0; i < 60; i++)
        fleet_succeeded(s, 0, 0, f.q.now_ns);
    assert_in_range(s->ttft_us, 1, 5); /* never 0: that is "not measured" */
    fixture_fini(&f);
}

static void health_is_0_1_2(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    assert_int_equal(fleet_health(f.states[0], f.q.now_ns), 0);
    pass(&f, 1);
    fails(&f, FAILURE_SERVER, -1);
    assert_int_equal(fleet_health(f.states[0], f.q.now_ns), 1);
    pass(&f, 1);
    succeeds(&f);
    assert_int_equal(fleet_health(f.states[0], f.q.now_ns), 0);
    pass(&f, 1);
    fails(&f, FAILURE_BAD_REQUEST, -1);
    assert_int_equal(fleet_health(f.states[0], f.q.now_ns), 0);
    pass(&f, 1);
    fails(&f, FAILURE_AUTHENTICATION, -1);
    assert_int_equal(fleet_health(f.states[0], f.q.now_ns), 2);
    pass(&f, 5000);
    assert_int_equal(fleet_health(f.states[0], f.q.now_ns), 1);
    fixture_fini(&f);
}

/* ---- eight threads ---- */

#define THREADS 8

struct crowd {
    struct fixture *f;
    pthread_barrier_t *barrier;
    int number, rests, trials;
};

static void *all_fail(void *arg)
{
    struct crowd *c = arg;
    struct attempt_failure failure = {.class = FAILURE_CONNECTION};
    pthread_barrier_wait(c->barrier);
    for (int i = 0; i < 100; i++)
        c->rests += fleet_failed(c->f->states[0], c->f->list[0], &c->f->routing, true, &failure,
                                 c->f->q.now_ns);
    return NULL;
}

/* Time passes at each thread's own pace; whoever wins a trial ends it in one of the ways there are. */
static void *live(void *arg)
{
    struct crowd *c = arg;
    struct fixture *f = c->f;
    struct deployment_state *s = f->states[0];
    struct rng rng;
    rng_seed(&rng, 1 + (uint64_t)c->number);
    pthread_barrier_wait(c->barrier);
    for (int i = 0; i < 20000; i++) {
        uint64_t now_ns = START_NS + (uint64_t)i * NS_PER_MS, dice = rng_next(&rng) % 16;
        struct attempt_failure failure = {.class = (enum failure_class)(1 + dice % 9)};
        bool tries = fleet_rest(s, now_ns) == REST_HALF_OPEN && fleet_try(s, now_ns);
        if (tries)
            c->trials++;
        if (dice < 9)
            c->rests += fleet_failed(s, f->list[0], &f->routing, false, &failure, now_ns);
        else if (dice < 15)
            fleet_succeeded(s, (int64_t)dice, 5, now_ns);
        else if (tries)
            fleet_untried(s);
        (void)fleet_health(s, now_ns);
        (void)fleet_rest_left_ns(s, now_ns);
    }
    return NULL;
}

static void run_crowd(struct fixture *f, void *(*what)(void *), struct crowd *sum)
{
    pthread_t threads[THREADS];
    struct crowd crowds[THREADS];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, THREADS);
    *sum = (struct crowd){0};
    for (int i = 0; i < THREADS; i++) {
        crowds[i] = (struct crowd){.f = f, .barrier = &barrier, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, what, &crowds[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum->rests += crowds[i].rests;
        sum->trials += crowds[i].trials;
    }
    pthread_barrier_destroy(&barrier);
}

static void one_failure_of_a_crowd_sends_it_to_rest(void **state)
{
    (void)state;
    for (int round = 0; round < 30; round++) {
        struct fixture f;
        struct crowd sum;
        fixture_init(&f, 1);
        run_crowd(&f, all_fail, &sum);
        assert_int_equal(sum.rests, 1);
        assert_int_equal(f.states[0]->rests_total, 1);
        assert_int_equal(left_ms(&f), 5000);
        fixture_fini(&f);
    }
}

static void eight_threads_leave_it_usable(void **state)
{
    struct fixture f;
    struct crowd sum;
    (void)state;
    fixture_init(&f, 2);
    f.routing.cooldown_ms = 3;
    run_crowd(&f, live, &sum);
    assert_int_equal(f.states[0]->rests_total, sum.rests); /* each was reported once */
    assert_true(sum.rests > 10 && sum.trials > 10);
    pass(&f, 20000 + 600000);
    if (rest_now(&f) != REST_NOT) {
        assert_int_equal(rest_now(&f), REST_HALF_OPEN);
        assert_true(fleet_try(f.states[0], f.q.now_ns));
    }
    succeeds(&f);
    assert_int_equal(rest_now(&f), REST_NOT);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_found_by_id),
        cmocka_unit_test(it_rests_after_one_failure_more_than_allowed),
        cmocka_unit_test(a_success_between_begins_the_row_anew),
        cmocka_unit_test(some_failures_send_to_rest_at_once_if_others_are_there),
        cmocka_unit_test(more_than_half_of_a_minute_is_too_much),
        cmocka_unit_test(a_full_minute_keeps_its_share),
        cmocka_unit_test(a_late_clock_does_not_bring_back_the_last_minute),
        cmocka_unit_test(the_time_is_the_deployments_else_the_providers_else_the_routers),
        cmocka_unit_test(each_failed_trial_doubles_the_rest_up_to_a_minute),
        cmocka_unit_test(a_long_cooldown_is_not_cut_to_a_minute),
        cmocka_unit_test(a_trial_ends_in_one_of_four_ways),
        cmocka_unit_test(what_began_before_a_rest_does_not_end_it),
        cmocka_unit_test(nobody_needs_to_try_what_is_in_rotation),
        cmocka_unit_test(a_policy_counts_its_own_class),
        cmocka_unit_test(a_wildcards_404_is_the_clients),
        cmocka_unit_test(speed_is_a_decayed_mean),
        cmocka_unit_test(health_is_0_1_2),
        cmocka_unit_test(one_failure_of_a_crowd_sends_it_to_rest),
        cmocka_unit_test(eight_threads_leave_it_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
