/* Sessions: each stays where it belongs, whoever asks; who leaves moves its own, who joins takes its share; a crowd spreads. */
#include "fleet_fixture.h"

#define SESSIONS 20000

static void homes_of(struct fixture *f, int homes[SESSIONS])
{
    for (int i = 0; i < SESSIONS; i++) {
        char id[32];
        int n = snprintf(id, sizeof id, "session-%d", i);
        f->q.sticky = str_hash((struct str){id, (size_t)n});
        homes[i] = chosen(f);
    }
}

static void sessions_stay_and_are_spread_by_weight(void **state)
{
    static int homes[SESSIONS], again[SESSIONS];
    static const double weights[] = {1, 2, 3, 4};
    int counts[4] = {0};
    struct fixture f;
    (void)state;
    fixture_init(&f, 4);
    set_weights(&f, weights);
    homes_of(&f, homes);
    for (int i = 0; i < SESSIONS; i++)
        counts[homes[i]]++;
    fits(counts, weights, 4);
    rng_seed(&f.rng, 99); /* another worker, another process */
    homes_of(&f, again);
    assert_memory_equal(homes, again, sizeof homes);
    fixture_fini(&f);
}

static void one_that_leaves_moves_only_its_own_sessions(void **state)
{
    static int homes[SESSIONS], without[SESSIONS], back[SESSIONS];
    static const double others[] = {1, 1, 0, 1, 1};
    int moved_to[5] = {0};
    struct fixture f;
    (void)state;
    fixture_init(&f, 5);
    homes_of(&f, homes);
    fixture_rest(&f, 2, 5000);
    homes_of(&f, without);
    for (int i = 0; i < SESSIONS; i++)
        if (homes[i] == 2)
            moved_to[without[i]]++;
        else
            assert_int_equal(homes[i], without[i]);
    fits(moved_to, others, 5); /* and they are spread over all others */
    f.q.now_ns += 5 * NS_PER_S;
    assert_true(fleet_try(f.states[2], f.q.now_ns));
    fleet_alive(f.states[2]);
    homes_of(&f, back);
    assert_memory_equal(homes, back, sizeof homes);
    fixture_fini(&f);
}

static void one_that_joins_takes_its_share_from_all(void **state)
{
    static int before[SESSIONS], after[SESSIONS];
    int taken_from[5] = {0}, taken = 0;
    static const double alike[] = {1, 1, 1, 1};
    struct fixture f;
    (void)state;
    fixture_init(&f, 5);
    f.group.count = 4;
    homes_of(&f, before);
    f.group.count = 5;
    homes_of(&f, after);
    for (int i = 0; i < SESSIONS; i++) {
        if (after[i] == before[i])
            continue;
        assert_int_equal(after[i], 4);
        taken_from[before[i]]++;
        taken++;
    }
    fits(taken_from, alike, 4);
    assert_in_range(taken, SESSIONS / 5 - 300, SESSIONS / 5 + 300);
    fixture_fini(&f);
}

static void sessions_come_before_the_strategy_but_after_levels_and_failures(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 3);
    f.routing.strategy = STRATEGY_COST;
    f.deployments[0].price.input_per_token = f.deployments[0].price.output_per_token = 0;
    int counts[GROUP_MAX] = {0};
    for (f.q.sticky = 1; f.q.sticky <= 300; f.q.sticky++)
        counts[chosen(&f)]++;
    assert_true(counts[1] > 50 && counts[2] > 50); /* the cheapest is not asked for */
    f.q.sticky = 7;
    uint32_t tried[] = {(uint32_t)chosen(&f)};
    f.q.tried = tried, f.q.tried_count = 1;
    int second = chosen(&f);
    assert_int_not_equal(second, tried[0]);
    f.q.tried_count = 0;
    fixture_rest(&f, (int)tried[0], 5000);
    assert_int_equal(chosen(&f),
                     second); /* while it rests the session has one other home, not many */
    f.deployments[second].order = 1;
    assert_int_not_equal(chosen(&f), second);
    fixture_fini(&f);
}

static void a_crowd_of_one_session_spreads(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 4);
    f.q.sticky = 4711;
    int home = chosen(&f), at;
    for (int i = 0; i < 8; i++) { /* up to eight beyond its share stay together */
        assert_int_equal(chosen(&f), home);
        f.states[home]->in_flight++;
    }
    for (int i = 0; i < 400; i++) {
        at = chosen(&f);
        f.states[at]->in_flight++;
    }
    for (int i = 0; i < 4; i++) /* 408 in flight: none has more than 8 and 1.25 times its share */
        assert_in_range(f.states[i]->in_flight, 1, 136);
    for (int i = 0; i < 4; i++)
        f.states[i]->in_flight = 0;
    assert_int_equal(chosen(&f), home); /* and comes home again */
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_stay_and_are_spread_by_weight),
        cmocka_unit_test(one_that_leaves_moves_only_its_own_sessions),
        cmocka_unit_test(one_that_joins_takes_its_share_from_all),
        cmocka_unit_test(sessions_come_before_the_strategy_but_after_levels_and_failures),
        cmocka_unit_test(a_crowd_of_one_session_spreads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
