/* The measuring engine against a simulated provider: every request is told once, with its marks in order, however it ends. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "measure/engine.h"
#include "mock/mock.h"

#define THREADS_MAX 4
#define SAMPLES_MAX 20000

static struct mock *mock;
static struct measure_target *target;
static struct prompts *whole, *streamed;

/* What came, by thread: on_sample runs on the thread that sent. */
static struct told {
    size_t count;
    struct sample *list;
} told[THREADS_MAX];

static int start(void **state)
{
    struct mock_options o = {.host = STR("127.0.0.1"), .workers = 1, .control_port = -1};
    struct err e = {0};
    (void)state;
    sim_knobs_init(&o.knobs);
    mock = mock_start(&o, &e);
    if (!mock)
        return -1;
    target = measure_target_new(
        &(struct measure_target_options){.url = mock_api_base(mock).p, .key = "sk-x"}, &e);
    struct prompts_options p = {.max_tokens = 8, .temperature = NAN, .nonce = true, .seed = 1};
    whole = prompts_new(&p, &e);
    p.stream = true;
    streamed = prompts_new(&p, &e);
    for (size_t i = 0; i < THREADS_MAX; i++)
        told[i].list = mem_alloc(SAMPLES_MAX * sizeof(struct sample));
    return target && whole && streamed ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    for (size_t i = 0; i < THREADS_MAX; i++)
        mem_free(told[i].list);
    prompts_free(whole);
    prompts_free(streamed);
    measure_target_free(target);
    mock_stop(mock);
    return 0;
}

static void keep(void *user, unsigned thread, const struct sample *s)
{
    (void)user;
    assert_true(told[thread].count < SAMPLES_MAX);
    told[thread].list[told[thread].count++] = *s;
}

static struct mix_part mix[] = {{STR("sim-fast"), 1}};

static struct engine_options options(const struct arrivals_plan *p)
{
    return (struct engine_options){.target = target,
                                   .prompts = whole,
                                   .plan = p,
                                   .threads = 1,
                                   .on_sample = keep,
                                   .head_timeout_ms = 5000,
                                   .idle_timeout_ms = 5000,
                                   .grace_ms = 5000};
}

static struct arrivals_plan plan_of(const struct stage *stages, size_t count)
{
    return (struct arrivals_plan){
        .stages = stages, .stage_count = count, .mix = mix, .mix_count = 1, .seed = 7};
}

static void forget(void)
{
    for (size_t i = 0; i < THREADS_MAX; i++)
        told[i].count = 0;
}

/* The run to its end, and what it says of itself. */
static struct engine_account run(const struct engine_options *o)
{
    struct engine_account account;
    struct err e = {0};
    forget();
    struct engine *engine = engine_start(o, &e);
    if (!engine)
        fail_msg("%s", e.text);
    assert_true(engine_wait(engine, 30000));
    struct engine_progress p;
    engine_progress(engine, &p);
    assert_true(p.over);
    assert_int_equal(p.sent, p.ended);
    assert_int_equal(p.ended, p.ok + p.failed);
    assert_int_equal(p.in_flight, 0);
    engine_account(engine, &account);
    engine_free(engine);
    return account;
}

static size_t all_told(void)
{
    size_t n = 0;
    for (size_t i = 0; i < THREADS_MAX; i++)
        n += told[i].count;
    return n;
}

static size_t told_of(enum outcome o)
{
    size_t n = 0;
    for (size_t i = 0; i < THREADS_MAX; i++)
        for (size_t k = 0; k < told[i].count; k++)
            n += told[i].list[k].outcome == o;
    return n;
}

static void check_marks(const struct sample *s)
{
    assert_int_equal(s->http_status, 200);
    assert_true(s->due_ns && s->due_ns <= s->start_ns);
    assert_true(s->start_ns <= s->sent_first_ns && s->sent_first_ns <= s->sent_ns);
    assert_true(s->sent_first_ns < s->first_byte_ns && s->first_byte_ns <= s->head_ns);
    assert_true(s->head_ns <= s->end_ns);
    if (!s->reused) {
        assert_true(s->start_ns <= s->resolved_ns && s->resolved_ns <= s->connected_ns);
        assert_true(s->connected_ns <= s->sent_first_ns);
    } else {
        assert_int_equal(s->connected_ns, 0);
    }
    assert_int_equal(strlen(s->request_id), 24);
    assert_string_equal(s->error, "");
}

static void check_all(size_t wanted)
{
    static bool seen[SAMPLES_MAX];
    assert_int_equal(all_told(), wanted);
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < THREADS_MAX; i++)
        for (size_t k = 0; k < told[i].count; k++) {
            const struct sample *s = &told[i].list[k];
            if (s->outcome != OUTCOME_OK)
                fail_msg("%s: %s", outcome_key(s->outcome), s->error);
            check_marks(s);
            assert_int_equal(s->thread, i);
            assert_true(s->number < SAMPLES_MAX && !seen[s->number]);
            seen[s->number] = true;
        }
}

static void a_closed_loop_sends_so_many(void **state)
{
    static const struct {
        unsigned threads, users;
        uint64_t requests;
    } cases[] = {{1, 1, 20}, {1, 8, 200}, {3, 8, 200}, {4, 2, 50}, {2, 64, 64}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct stage s = {.kind = STAGE_USERS,
                          .from = cases[i].users,
                          .to = cases[i].users,
                          .requests = cases[i].requests};
        struct arrivals_plan p = plan_of(&s, 1);
        struct engine_options o = options(&p);
        o.threads = cases[i].threads;
        struct engine_account a = run(&o);
        assert_int_equal(all_told(), cases[i].requests);
        assert_int_equal(told_of(OUTCOME_OK), cases[i].requests);
        assert_int_equal(a.sent, cases[i].requests);
        assert_int_equal(a.offered, a.sent);
        assert_true(a.in_flight_max <= cases[i].users);
        assert_true(a.in_flight_mean > 0 && a.in_flight_mean <= cases[i].users);
        for (unsigned t = 0; t < THREADS_MAX; t++)
            for (size_t k = 0; k < told[t].count; k++)
                check_marks(&told[t].list[k]);
    }
}

static void an_open_loop_is_on_time(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct stage s = {.kind = STAGE_RATE,
                          .from = 400,
                          .to = 400,
                          .duration_ns = NS_PER_S / 2,
                          .spacing = i & 1 ? SPACING_POISSON : SPACING_CONSTANT};
        struct arrivals_plan p = plan_of(&s, 1);
        struct engine_options o = options(&p);
        o.threads = 1 + (i & 2);
        o.spin = i == 0;
        struct engine_account a = run(&o);
        size_t n = all_told();
        if (!(i & 1))
            assert_int_equal(n, 200);
        check_all(n);
        assert_int_equal(a.sent, n);
        assert_int_equal(a.dropped, 0);
        assert_int_equal(a.ended_ns - a.started_ns, s.duration_ns);
        for (unsigned t = 0; t < o.threads; t++)
            for (size_t k = 0; k < told[t].count; k++) {
                const struct sample *m = &told[t].list[k];
                if (!(i & 1))
                    assert_int_equal(m->due_ns - a.started_ns, m->number * 2500000);
                assert_true(m->due_ns >= a.started_ns && m->due_ns < a.ended_ns);
            }
    }
}

static void streams_are_read_by_token(void **state)
{
    struct stage s = {.kind = STAGE_USERS, .from = 4, .to = 4, .requests = 40};
    struct arrivals_plan p = plan_of(&s, 1);
    struct engine_options o = options(&p);
    (void)state;
    o.prompts = streamed;
    o.threads = 2;
    struct engine_account a = run(&o);
    check_all(40);
    assert_true(a.reads >= 40);
    for (unsigned t = 0; t < 2; t++)
        for (size_t k = 0; k < told[t].count; k++) {
            const struct sample *m = &told[t].list[k];
            assert_true(m->stream && m->chunks == 8 && m->completion_tokens == 8);
            assert_true(m->head_ns <= m->first_event_ns && m->first_event_ns <= m->first_token_ns);
            assert_true(m->last_token_ns <= m->done_ns && m->done_ns <= m->end_ns);
            assert_int_equal(m->gap_count, 7);
        }
}

static void fresh_connections_are_fresh(void **state)
{
    struct stage s = {.kind = STAGE_USERS, .from = 3, .to = 3, .requests = 30};
    struct arrivals_plan p = plan_of(&s, 1);
    struct engine_options o = options(&p);
    (void)state;
    o.user_stamps = true;
    o.fresh_connections = true;
    struct engine_account a = run(&o);
    check_all(30);
    assert_int_equal(a.stamped_reads, 0);
    for (size_t k = 0; k < told[0].count; k++)
        assert_false(told[0].list[k].reused || told[0].list[k].kernel_stamped);
    o.fresh_connections = false;
    run(&o);
    size_t reused = 0;
    for (size_t k = 0; k < told[0].count; k++)
        reused += told[0].list[k].reused;
    assert_int_equal(reused, 27);
}

static void stages_go_by_in_turn(void **state)
{
    struct stage s[] = {
        {.kind = STAGE_USERS, .from = 1, .to = 1, .requests = 5, .warm_up = true},
        {.kind = STAGE_RATE, .from = 100, .to = 300, .duration_ns = NS_PER_S / 4},
        {.kind = STAGE_USERS, .from = 1, .to = 6, .duration_ns = NS_PER_S / 4},
        {.kind = STAGE_RATE, .from = 200, .to = 200, .requests = 20, .spacing = SPACING_POISSON},
        {.kind = STAGE_USERS, .from = 4, .to = 4, .requests = 10},
    };
    struct arrivals_plan p = plan_of(s, COUNT(s));
    size_t counts[COUNT(s)];
    (void)state;
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        struct engine_options o = options(&p);
        o.threads = threads;
        struct engine_account a = run(&o);
        memset(counts, 0, sizeof counts);
        for (unsigned t = 0; t < threads; t++)
            for (size_t k = 0; k < told[t].count; k++) {
                const struct sample *m = &told[t].list[k];
                assert_int_equal(m->outcome, OUTCOME_OK);
                assert_int_equal(m->warm_up, m->stage == 0);
                counts[m->stage]++;
            }
        assert_int_equal(counts[0], 5);
        assert_int_equal(counts[1], 50);
        assert_true(counts[2] > 5);
        assert_int_equal(counts[3], 20);
        assert_int_equal(counts[4], 10);
        assert_int_equal(a.sent, all_told() - 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_loop_sends_so_many),
        cmocka_unit_test(an_open_loop_is_on_time),
        cmocka_unit_test(streams_are_read_by_token),
        cmocka_unit_test(fresh_connections_are_fresh),
        cmocka_unit_test(stages_go_by_in_turn),
    };
    return cmocka_run_group_tests_name("measure_engine", tests, start, stop);
}
