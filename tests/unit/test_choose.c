/* Which deployment is chosen: shares against chance itself, filters and levels by hand, limits, eight threads at one half-open door. */
#include "fleet_fixture.h"

#define DRAWS 60000

static void measured(struct fixture *f, int i, int64_t ttft_us, int64_t token_us)
{
    fleet_succeeded(f->states[i], ttft_us, token_us, f->q.now_ns);
}

static bool refuse_all(void *arg, const struct deployment *d)
{
    int *order = arg;
    order[1 + order[0]++] = (int)d->id;
    return false;
}

/* ---- shares ---- */

static void without_weights_all_get_alike(void **state)
{
    struct fixture f;
    int counts[GROUP_MAX];
    double shares[GROUP_MAX];
    (void)state;
    static const int sizes[] = {1,  2,  5,
                                64, 65, 200}; /* beyond 64 nothing is kept between passes */
    for (size_t s = 0; s < COUNT(sizes); s++) {
        fixture_init(&f, sizes[s]);
        for (int i = 0; i < sizes[s]; i++)
            shares[i] = 1;
        draw(&f, DRAWS, counts);
        fits(counts, shares, sizes[s]);
        fixture_fini(&f);
    }
}

static void weights_are_shares(void **state)
{
    struct fixture f;
    int counts[GROUP_MAX];
    static const double weights[] = {1, 2, 7, 0.5}, rested[] = {1, 2, 0, 0.5};
    (void)state;
    fixture_init(&f, 4);
    set_weights(&f, weights);
    draw(&f, DRAWS, counts);
    fits(counts, weights, 4);
    fixture_rest(&f, 2, 5000); /* what is left keeps its proportions */
    draw(&f, DRAWS, counts);
    fits(counts, rested, 4);
    fixture_fini(&f);
}

static bool refuse_the_heavy(void *arg, const struct deployment *d)
{
    (void)arg;
    return d->weight < 7;
}

static void after_a_refusal_the_rest_keeps_its_proportions(void **state)
{
    struct fixture f;
    int counts[GROUP_MAX];
    static const double weights[] = {1, 2, 7}, shares[] = {1, 2, 0};
    (void)state;
    fixture_init(&f, 3);
    set_weights(&f, weights);
    f.q.take = refuse_the_heavy;
    draw(&f, DRAWS, counts);
    fits(counts, shares, 3);
    fixture_fini(&f);
}

static void weight_0_gets_nothing_unless_nothing_else_is_left(void **state)
{
    struct fixture f;
    int counts[GROUP_MAX];
    static const double weights[] = {0, 3, 0}, others[] = {1, 0, 1}, all[] = {1, 1, 1};
    (void)state;
    fixture_init(&f, 3);
    set_weights(&f, weights);
    draw(&f, 1000, counts);
    fits(counts, weights, 3);
    for (f.q.sticky = 1; f.q.sticky < 1000; f.q.sticky++) /* no session either */
        assert_int_equal(chosen(&f), 1);
    f.q.sticky = 0;
    fixture_rest(&f, 1, 5000);
    draw(&f, DRAWS, counts);
    fits(counts, others, 3);
    fixture_fini(&f);
    fixture_init(&f, 3);
    draw(&f, DRAWS, counts);
    fits(counts, all, 3);
    fixture_fini(&f);
}

/* ---- strategies ---- */

static void the_least_busy_is_chosen_and_ties_are_drawn(void **state)
{
    struct fixture f;
    int counts[GROUP_MAX];
    static const int in_flight[] = {4, 1, 2, 1};
    static const double shares[] = {0, 1, 0, 1};
    (void)state;
    fixture_init(&f, 4);
    f.routing.strategy = STRATEGY_LEAST_BUSY;
    for (int i = 0; i < 4; i++)
        f.states[i]->in_flight = in_flight[i];
    draw(&f, DRAWS, counts);
    fits(counts, shares, 4);
    fixture_fini(&f);
}

static void weights_are_simple_shuffles_alone(void **state)
{
    struct fixture f;
    int counts[GROUP_MAX];
    static const double weights[] = {0, 1, 9}, shares[] = {1, 1, 1};
    (void)state;
    fixture_init(&f, 3);
    set_weights(&f, weights);
    f.routing.strategy = STRATEGY_LEAST_BUSY;
    draw(&f, DRAWS, counts);
    fits(counts, shares, 3);
    fixture_fini(&f);
}

static void use(struct fixture *f, int i, int64_t tokens)
{
    static const struct quota_limits none = {-1, -1, -1};
    struct quota_ticket t = {0};
    assert_int_equal(quota_take(&f->states[i]->quota, &none, tokens, f->q.now_ns, &t), QUOTA_OK);
    quota_settle(&t, tokens);
}

static void usage_is_this_windows_tokens(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 3);
    f.routing.strategy = STRATEGY_USAGE_V2;
    use(&f, 0, 500);
    use(&f, 1, 100);
    use(&f, 2, 300);
    for (int i = 0; i < 100; i++)
        assert_int_equal(chosen(&f), 1);
    f.q.now_ns += 30 * NS_PER_S;
    use(&f, 1, 900); /* the window began with its first request */
    assert_int_equal(chosen(&f), 2);
    f.q.now_ns += 31 * NS_PER_S; /* all windows are over: a draw */
    int counts[GROUP_MAX];
    static const double shares[] = {1, 1, 1};
    draw(&f, DRAWS, counts);
    fits(counts, shares, 3);
    fixture_fini(&f);
}

static bool too_many_tokens(void *arg, const struct deployment *d)
{
    (void)arg;
    return d->tpm < 0;
}

static void a_full_one_is_left_out_until_its_window_ends(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.routing.strategy = STRATEGY_USAGE;
    f.deployments[0].rpm = 1;
    f.deployments[1].tpm = 1000;
    use(&f, 0, 1);
    use(&f, 1, 900);
    assert_int_equal(chosen(&f), 1);
    f.q.take = too_many_tokens; /* for this request */
    f.q.now_ns += 10 * NS_PER_S;
    struct choice c = choose_deployment(&f.q);
    assert_null(c.deployment);
    assert_int_equal(c.why, ERR_DEPLOYMENTS_FULL);
    assert_int_equal(c.full, 2);
    assert_in_range(c.wait_ns, 50 * NS_PER_S, 50 * NS_PER_S + NS_PER_MS);
    f.q.take = NULL;
    use(&f, 1, 100);
    f.routing.strategy = STRATEGY_SIMPLE_SHUFFLE; /* there limits are weights ... */
    assert_true(chosen(&f) >= 0);
    f.routing.enforce_rate_limits = true; /* ... unless they are asked for */
    assert_int_equal(chosen(&f), -1);
    f.q.now_ns += 51 * NS_PER_S;
    assert_true(chosen(&f) >= 0);
    fixture_fini(&f);
}

static void max_parallel_requests_always_counts(void **state)
{
    static const struct quota_limits none = {-1, -1, -1};
    struct quota_ticket t = {0};
    struct fixture f;
    (void)state;
    fixture_init(&f, 1);
    f.routing.default_max_parallel_requests = 1;
    assert_int_equal(quota_take(&f.states[0]->quota, &none, 0, f.q.now_ns, &t), QUOTA_OK);
    struct choice c = choose_deployment(&f.q);
    assert_null(c.deployment);
    assert_int_equal(c.why, ERR_DEPLOYMENTS_FULL);
    assert_int_equal(c.wait_ns, NS_PER_S);
    f.deployments[0].max_parallel_requests = 2; /* its own word stands */
    assert_int_equal(chosen(&f), 0);
    quota_settle(&t, 0);
    fixture_fini(&f);
}

static void the_fastest_is_chosen(void **state)
{
    struct fixture f;
    int counts[GROUP_MAX];
    static const double within[] = {1, 1, 0};
    (void)state;
    fixture_init(&f, 3);
    f.routing.strategy = STRATEGY_LATENCY;
    f.q.stream = true;
    measured(&f, 0, 100000, 20000); /* first to begin, but 2.1 s to its 100th token */
    measured(&f, 1, 500000, 10000); /* 1.5 s */
    measured(&f, 2, 900000, 30000); /* 3.9 s */
    for (int i = 0; i < 100; i++)
        assert_int_equal(chosen(&f), 1);
    f.routing.lowest_latency_buffer = 0.5; /* up to 2.25 s */
    draw(&f, DRAWS, counts);
    fits(counts, within, 3);
    fixture_fini(&f);
}

static void streams_and_plain_answers_are_timed_apart(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.routing.strategy = STRATEGY_LATENCY;
    measured(&f, 0, 100000, 1000);
    measured(&f, 1, 900000, 1000);
    measured(&f, 0, -1, 80000);
    measured(&f, 1, -1, 20000);
    assert_int_equal(chosen(&f), 1);
    f.q.stream = true;
    assert_int_equal(chosen(&f), 0);
    fixture_fini(&f);
}

static void the_unmeasured_is_tried_first_but_by_one_at_a_time(void **state)
{
    struct fixture f;
    int counts[GROUP_MAX];
    static const double shares[] = {1, 1, 1};
    (void)state;
    fixture_init(&f, 3);
    f.routing.strategy = STRATEGY_LATENCY;
    f.q.stream = true;
    draw(&f, DRAWS, counts); /* nothing known: all alike */
    fits(counts, shares, 3);
    measured(&f, 0, 100000, 1000);
    measured(&f, 1, 900000, 1000);
    assert_int_equal(chosen(&f), 2);
    f.states[2]->in_flight = 1;
    assert_int_equal(chosen(&f), 0);
    f.states[2]->in_flight = 0;
    f.q.now_ns += 3601 * NS_PER_S; /* what was measured before the ttl counts no more */
    measured(&f, 2, 500000, 1000);
    assert_in_range(chosen(&f), 0, 1);
    fixture_fini(&f);
}

static void the_unmeasured_that_failed_is_let_alone_for_a_while(void **state)
{
    struct attempt_failure failure = {.class = FAILURE_SERVER, .status = 500};
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.routing.strategy = STRATEGY_LATENCY;
    measured(&f, 0, -1, 1000);
    assert_false(fleet_failed(f.states[1], f.list[1], &f.routing, false, &failure, f.q.now_ns));
    assert_int_equal(chosen(&f), 0);
    f.q.now_ns += 5 * NS_PER_S;
    assert_int_equal(chosen(&f), 1);
    fixture_fini(&f);
}

static void latency_does_not_forget_one_that_rested(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.routing.strategy = STRATEGY_LATENCY;
    measured(&f, 0, -1, 1000);
    measured(&f, 1, -1, 9000);
    fixture_rest(&f, 1, 2000);
    assert_int_equal(chosen(&f), 0);
    f.q.now_ns += 2 * NS_PER_S; /* slower, but its one trial comes first */
    struct choice c = choose_deployment(&f.q);
    assert_int_equal(c.deployment->id, 1);
    assert_true(c.half_open);
    assert_int_equal(chosen(&f), 0);
    fixture_fini(&f);
}

static void the_cheapest_is_chosen_and_the_unknown_last(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 4);
    f.routing.strategy = STRATEGY_COST;
    f.deployments[0].price.input_per_token = 3e-6;
    f.deployments[0].price.output_per_token = 15e-6;
    f.deployments[1].price.input_per_token = 5e-6;
    f.deployments[1].price.output_per_token = 10e-6;
    f.deployments[2].price.input_per_token = 1e-9; /* output unknown: $5 */
    static const int by_cost[] = {1, 0, 2, 3};
    int order[1 + GROUP_MAX] = {0};
    f.q.take = refuse_all;
    f.q.take_arg = order;
    assert_int_equal(chosen(&f), -1);
    assert_int_equal(order[0], 4);
    assert_memory_equal(order + 1, by_cost, sizeof by_cost);
    fixture_fini(&f);
}

/* ---- filters and levels ---- */

static void a_level_gives_way_to_the_next(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 4);
    static const int orders[] = {2, 1, 1, -3};
    for (int i = 0; i < 4; i++)
        f.deployments[i].order = orders[i];
    uint32_t tried[4];
    static const int expect[][2] = {{3, 3}, {1, 2}, {1, 2}, {0, 0}}; /* one of each two */
    f.q.tried = tried;
    for (int i = 0; i < 4; i++) {
        int at = chosen(&f);
        assert_true(at == expect[i][0] || at == expect[i][1]);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(at, tried[k]);
        tried[f.q.tried_count++] = (uint32_t)at;
    }
    assert_int_equal(chosen(&f), 3); /* all failed: from the start */
    f.q.tried_count = 0;
    fixture_rest(&f, 3, 5000);
    fixture_rest(&f, 2, 5000);
    assert_int_equal(chosen(&f), 1);
    fixture_rest(&f, 1, 5000);
    assert_int_equal(chosen(&f), 0);
    fixture_fini(&f);
}

static void refused_ones_are_asked_once_each_level_by_level(void **state)
{
    struct fixture f;
    (void)state;
    for (int round = 0; round < 4 * 6; round++) {
        fixture_init(&f, 150);
        f.routing.strategy = (enum routing_strategy)(round % 6);
        f.q.sticky = round >= 12 ? rng_next(&f.rng) | 1 : 0;
        f.routing.health_check_routing = true;
        int may = 0;
        for (int i = 0; i < 150; i++) {
            f.deployments[i].order = (int)(rng_next(&f.rng) % 3);
            f.deployments[i].weight = (double)(rng_next(&f.rng) % 3);
            f.states[i]->in_flight = (int)(rng_next(&f.rng) % 3);
            if (rng_next(&f.rng) % 3 == 0)
                measured(&f, i, (int64_t)(rng_next(&f.rng) % 4), 1000);
            if (rng_next(&f.rng) % 4 == 0)
                fixture_rest(&f, i, 5000);
            else
                may++;
        }
        int order[1 + GROUP_MAX] = {0};
        bool seen[GROUP_MAX] = {false};
        f.q.take = refuse_all;
        f.q.take_arg = order;
        struct choice c = choose_deployment(&f.q);
        assert_null(c.deployment);
        assert_int_equal(c.why, ERR_DEPLOYMENTS_FULL);
        assert_int_equal(order[0], may);
        for (int i = 1; i <= may; i++) {
            assert_false(seen[order[i]]);
            seen[order[i]] = true;
            assert_true(i == 1 ||
                        f.deployments[order[i - 1]].order <= f.deployments[order[i]].order);
        }
        fixture_fini(&f);
    }
}

static void tags_decide_first(void **state)
{
    static const struct str gold[] = {STR("gold"), STR("eu")},
                            silver[] = {STR("silver"), STR("eu")}, plain[] = {STR("default")};
    static const struct str asks[] = {STR("gold"), STR("eu"), STR("nobody")};
    struct fixture f;
    (void)state;
    fixture_init(&f, 4);
    f.deployments[0].tags = gold, f.deployments[0].tag_count = 2;
    f.deployments[1].tags = silver, f.deployments[1].tag_count = 2;
    f.deployments[2].tags = plain, f.deployments[2].tag_count = 1;
    static const struct {
        const struct str *tags;
        int count;
        bool all;
        double shares[4];
    } rows[] = {
        {asks, 1, false, {1, 0, 0, 0}},     {asks + 1, 1, false, {1, 1, 0, 0}},
        {asks, 2, false, {1, 1, 0, 0}},     {asks, 2, true, {1, 0, 0, 0}},
        {asks + 1, 2, false, {1, 1, 0, 0}}, {asks + 1, 2, true, {0, 0, 1, 0}},
        {asks + 2, 1, false, {0, 0, 1, 0}}, {NULL, 0, false, {0, 0, 1, 0}},
        {plain, 1, false, {0, 0, 1, 0}},
    };
    int counts[GROUP_MAX];
    f.routing.tag_filtering = true;
    for (size_t i = 0; i < COUNT(rows); i++) {
        f.q.tags = rows[i].tags;
        f.q.tag_count = rows[i].count;
        f.routing.tags_match_any = !rows[i].all;
        draw(&f, 3000, counts);
        fits(counts, rows[i].shares, 4);
    }
    f.routing.tag_filtering = false;
    static const double everybody[] = {1, 1, 1, 1};
    draw(&f, DRAWS, counts);
    fits(counts, everybody, 4);
    fixture_fini(&f);
}

static void tags_that_nobody_has_are_an_error_and_a_rest_is_another(void **state)
{
    static const struct str gold[] = {STR("gold")}, lead[] = {STR("lead")},
                            plain[] = {STR("default")};
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.routing.tag_filtering = true;
    f.deployments[0].tags = gold, f.deployments[0].tag_count = 1;
    f.q.tags = lead, f.q.tag_count = 1;
    struct choice c = choose_deployment(&f.q);
    assert_null(c.deployment);
    assert_int_equal(c.why, ERR_TAGS_UNMATCHED);
    assert_int_equal(c.other_tags, 2);
    assert_int_equal(c.wait_ns, 0);
    f.q.tag_count = 0; /* no default there: untagged requests go anywhere */
    assert_true(chosen(&f) >= 0);
    f.q.tags = gold, f.q.tag_count = 1;
    fixture_rest(&f, 0, 4000);
    c = choose_deployment(&f.q);
    assert_int_equal(c.why, ERR_DEPLOYMENTS_REST);
    assert_int_equal(c.wait_ns, 4 * NS_PER_S);
    f.deployments[1].tags = plain, f.deployments[1].tag_count = 1;
    assert_int_equal(chosen(&f), 1); /* the default one steps in ... */
    f.q.tag_count = 0;
    fixture_rest(&f, 1, 4000);
    f.q.now_ns += 0;
    c = choose_deployment(&f.q); /* ... but the untagged never go to the tagged */
    assert_int_equal(c.why, ERR_DEPLOYMENTS_REST);
    assert_int_equal(c.other_tags, 1);
    fixture_fini(&f);
}

static void long_prompts_go_where_they_fit(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.deployments[0].max_input_tokens = 4096;
    f.deployments[1].max_input_tokens = 8192;
    f.q.prompt_tokens = 8192;
    f.routing.pre_call_checks = true;
    for (int i = 0; i < 100; i++)
        assert_int_equal(chosen(&f), 1);
    f.q.prompt_tokens++;
    struct choice c = choose_deployment(&f.q);
    assert_int_equal(c.why, ERR_PROMPT_TOO_LONG);
    assert_int_equal(c.too_long, 2);
    f.routing.pre_call_checks = false;
    assert_true(chosen(&f) >= 0);
    fixture_fini(&f);
}

static void the_probed_dead_are_the_last_resort_while_that_is_fresh(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 2);
    f.routing.health_check_routing = true;
    f.states[0]->probed = PROBED_DEAD;
    f.states[0]->probed_ns = START_NS - NS_PER_S;
    f.states[1]->probed = PROBED_ALIVE;
    f.deployments[1].order = 9;
    for (int i = 0; i < 100; i++)
        assert_int_equal(chosen(&f), 1);
    fixture_rest(&f, 1, 600000);
    assert_int_equal(chosen(&f), 0);
    fleet_alive(f.states[1]);
    f.q.now_ns += 60 * NS_PER_S;
    assert_int_equal(chosen(&f), 0); /* stale */
    fixture_fini(&f);
}

static void all_at_rest_says_how_long(void **state)
{
    struct fixture f;
    char text[CHOICE_PROBLEM_BYTES];
    (void)state;
    fixture_init(&f, 2);
    fixture_rest(&f, 0, 9000);
    fixture_rest(&f, 1, 2500);
    struct choice c = choose_deployment(&f.q);
    assert_null(c.deployment);
    assert_int_equal(c.why, ERR_DEPLOYMENTS_REST);
    assert_int_equal(c.resting, 2);
    assert_int_equal(c.wait_ns, 2500 * NS_PER_MS);
    size_t n = choice_problem(&c, STR("gpt-4o"), text);
    static const char wanted[] =
        "No deployments available for selected model, Try again in 3 seconds. "
        "Passed model=gpt-4o. Its deployments: resting after failures: 2";
    assert_int_equal(n, sizeof wanted - 1);
    assert_memory_equal(text, wanted, n);
    f.routing.disable_cooldowns = true; /* as after a reload */
    assert_true(chosen(&f) >= 0);
    fixture_fini(&f);
}

static void the_longest_problem_fits(void **state)
{
    char name[200], text[CHOICE_PROBLEM_BYTES];
    struct choice c = {.wait_ns = UINT64_MAX,
                       .resting = INT32_MAX,
                       .full = INT32_MAX,
                       .too_long = INT32_MAX,
                       .other_tags = INT32_MAX};
    (void)state;
    memset(name, 'm', sizeof name);
    size_t n = choice_problem(&c, (struct str){name, sizeof name}, text);
    assert_in_range(n, 200, sizeof text - 1);
    assert_memory_equal(text + n - 22, "other tags: 2147483647", 22);
}

/* ---- half open ---- */

struct door {
    struct fixture *f;
    pthread_barrier_t *barrier;
    int won, other; /* chosen: half open, and the deployment that is not */
};

static void *knock(void *arg)
{
    struct door *door = arg;
    struct choice_request q = door->f->q;
    struct rng rng;
    rng_seed(&rng, (uint64_t)(uintptr_t)door | 1);
    q.rng = &rng;
    pthread_barrier_wait(door->barrier);
    for (int i = 0; i < 200; i++) {
        struct choice c = choose_deployment(&q);
        door->won += c.half_open;
        door->other += !c.half_open && c.deployment && c.deployment->id == 1;
    }
    return NULL;
}

static void one_of_eight_threads_tries_the_half_open(void **state)
{
    (void)state;
    for (int round = 0; round < 30; round++) {
        struct fixture f;
        pthread_t threads[8];
        struct door doors[8];
        pthread_barrier_t barrier;
        int won = 0, other = 0;
        fixture_init(&f, 2);
        fixture_rest(&f, 0, 1000);
        f.deployments[1].order = 1; /* the half-open one is everybody's first choice */
        f.q.now_ns += NS_PER_S;
        pthread_barrier_init(&barrier, NULL, 8);
        for (int i = 0; i < 8; i++) {
            doors[i] = (struct door){.f = &f, .barrier = &barrier};
            assert_int_equal(pthread_create(&threads[i], NULL, knock, &doors[i]), 0);
        }
        for (int i = 0; i < 8; i++) {
            pthread_join(threads[i], NULL);
            won += doors[i].won;
            other += doors[i].other;
        }
        assert_int_equal(won, 1);
        assert_int_equal(other, 8 * 200 - 1);
        pthread_barrier_destroy(&barrier);
        fixture_fini(&f);
    }
}

static void a_refusal_gives_the_trial_back(void **state)
{
    struct fixture f;
    int order[1 + GROUP_MAX] = {0};
    (void)state;
    fixture_init(&f, 1);
    fixture_rest(&f, 0, 1000);
    f.q.now_ns += NS_PER_S;
    f.q.take = refuse_all;
    f.q.take_arg = order;
    assert_int_equal(chosen(&f), -1);
    f.q.take = NULL;
    struct choice c = choose_deployment(&f.q);
    assert_true(c.deployment && c.half_open);
    c = choose_deployment(&f.q);
    assert_int_equal(c.why, ERR_DEPLOYMENTS_REST);
    fleet_alive(f.states[0]);
    c = choose_deployment(&f.q);
    assert_true(c.deployment && !c.half_open);
    fixture_fini(&f);
}

/* ---- cost of a choice ---- */

static void it_costs_little(void **state)
{
    static const int sizes[] = {1, 3, 20, 200};
    static const char *const names[] = {"simple-shuffle", "least-busy", "usage",  "usage-v2",
                                        "latency",        "cost",       "session"};
    struct fixture f;
    (void)state;
    for (size_t s = 0; s < COUNT(sizes); s++) {
        for (size_t k = 0; k < COUNT(names); k++) {
            fixture_init(&f, sizes[s]);
            f.routing.strategy = k < 6 ? (enum routing_strategy)k : STRATEGY_SIMPLE_SHUFFLE;
            f.q.sticky = k == 6;
            for (int i = 0; i < sizes[s]; i++)
                measured(&f, i, -1, 1000 + i);
            double best_ns = INFINITY; /* of many short runs: what it costs when nobody disturbs */
            for (int run = 0; run < 40; run++) {
                uint64_t start_ns = clock_mono_ns();
                for (int i = 0; i < 50; i++)
                    assert_true(chosen(&f) >= 0);
                best_ns = MIN(best_ns, (double)(clock_mono_ns() - start_ns) / 50);
            }
            print_message("%-14s of %3d: %6.0f ns\n", names[k], sizes[s], best_ns);
            fixture_fini(&f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_weights_all_get_alike),
        cmocka_unit_test(weights_are_shares),
        cmocka_unit_test(after_a_refusal_the_rest_keeps_its_proportions),
        cmocka_unit_test(weight_0_gets_nothing_unless_nothing_else_is_left),
        cmocka_unit_test(the_least_busy_is_chosen_and_ties_are_drawn),
        cmocka_unit_test(weights_are_simple_shuffles_alone),
        cmocka_unit_test(usage_is_this_windows_tokens),
        cmocka_unit_test(a_full_one_is_left_out_until_its_window_ends),
        cmocka_unit_test(max_parallel_requests_always_counts),
        cmocka_unit_test(the_fastest_is_chosen),
        cmocka_unit_test(streams_and_plain_answers_are_timed_apart),
        cmocka_unit_test(the_unmeasured_is_tried_first_but_by_one_at_a_time),
        cmocka_unit_test(the_unmeasured_that_failed_is_let_alone_for_a_while),
        cmocka_unit_test(latency_does_not_forget_one_that_rested),
        cmocka_unit_test(the_cheapest_is_chosen_and_the_unknown_last),
        cmocka_unit_test(a_level_gives_way_to_the_next),
        cmocka_unit_test(refused_ones_are_asked_once_each_level_by_level),
        cmocka_unit_test(tags_decide_first),
        cmocka_unit_test(tags_that_nobody_has_are_an_error_and_a_rest_is_another),
        cmocka_unit_test(long_prompts_go_where_they_fit),
        cmocka_unit_test(the_probed_dead_are_the_last_resort_while_that_is_fresh),
        cmocka_unit_test(all_at_rest_says_how_long),
        cmocka_unit_test(the_longest_problem_fits),
        cmocka_unit_test(one_of_eight_threads_tries_the_half_open),
        cmocka_unit_test(a_refusal_gives_the_trial_back),
        cmocka_unit_test(it_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
