/* Arrival processes: exact where they are exact, within chance's bounds where they are chance, the same however many threads draw them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "measure/arrivals.h"

#define MOST 400000

static struct arrival list[MOST];

static struct stage rate_stage(double from, double to, double seconds, enum spacing spacing)
{
    return (struct stage){.name = STR("s"),
                          .kind = STAGE_RATE,
                          .from = from,
                          .to = to,
                          .duration_ns = (uint64_t)(seconds * 1e9),
                          .spacing = spacing,
                          .gamma_shape = 1};
}

static struct arrivals_plan plan_of(const struct stage *stages, size_t count)
{
    return (struct arrivals_plan){.stages = stages, .stage_count = count, .seed = 42};
}

/* All arrivals of one thread, over all stages; returns how many. */
static size_t draw_thread(const struct arrivals_plan *p, unsigned thread, unsigned threads,
                          struct arrival *out, size_t room)
{
    struct arrivals a;
    size_t n = 0;
    arrivals_init(&a, p, thread, threads);
    do {
        while (n < room && arrivals_next(&a, &out[n]))
            n++;
        assert_true(n < room);
        assert_false(arrivals_next(&a, &out[n])); /* and stays so */
        assert_true(a.stage_ends_ns != UINT64_MAX);
    } while (arrivals_advance(&a, a.stage_ends_ns));
    arrivals_fini(&a);
    return n;
}

static size_t draw(const struct arrivals_plan *p)
{
    return draw_thread(p, 0, 1, list, MOST);
}

static void near(double value, double wanted, double within)
{
    if (!(fabs(value - wanted) <= within))
        fail_msg("%.9g is not %.9g +- %.3g", value, wanted, within);
}

static void constant_arrivals_are_a_grid(void **state)
{
    struct stage s = rate_stage(20000, 20000, 1.5, SPACING_CONSTANT);
    struct arrivals_plan p = plan_of(&s, 1);
    (void)state;
    assert_int_equal(draw(&p), 30000);
    for (size_t i = 0; i < 30000; i++) {
        assert_int_equal(list[i].offset_ns, i * 50000);
        assert_int_equal(list[i].number, i);
    }
    near(arrivals_offered(&p, 0), 30000, 0);
}

/* Requests due up to offset t, by the definition: the integral of the rate. */
static double integral_at(const struct stage *s, double t)
{
    double duration = (double)s->duration_ns / 1e9;
    return s->from * t + (s->to - s->from) * t * t / (2 * duration);
}

static void ramps_are_where_the_integral_is(void **state)
{
    static const double rates[][2] = {{0, 1000}, {1000, 0}, {100, 2000}, {2000, 100}, {700, 700}};
    (void)state;
    for (size_t k = 0; k < COUNT(rates); k++) {
        struct stage s = rate_stage(rates[k][0], rates[k][1], 10, SPACING_CONSTANT);
        struct arrivals_plan p = plan_of(&s, 1);
        double whole = integral_at(&s, 10);
        size_t n = draw(&p);
        near((double)n, whole, 1);
        near(arrivals_offered(&p, 0), (double)n, 0);
        for (size_t i = 0; i < n; i++) {
            double t = (double)list[i].offset_ns / 1e9, slack = (rates[k][0] + rates[k][1]) * 1e-9;
            near(integral_at(&s, t), (double)i, slack + 1e-7);
        }
    }
}

/* Counts in 100 ms of a Poisson process of 1,000/s: mean and variance are both 100. */
static void poisson_counts_are_poisson(void **state)
{
    struct stage s = rate_stage(1000, 1000, 100, SPACING_POISSON);
    struct arrivals_plan p = plan_of(&s, 1);
    static double counts[1000];
    double sum = 0, squares = 0, gaps = 0, gap_squares = 0;
    (void)state;
    size_t n = draw(&p);
    near((double)n, 100000, 4 * sqrt(100000.0));
    memset(counts, 0, sizeof counts);
    for (size_t i = 0; i < n; i++) {
        counts[list[i].offset_ns / 100000000]++;
        double gap = i ? (double)(list[i].offset_ns - list[i - 1].offset_ns) / 1e6 : 1;
        gaps += gap;
        gap_squares += gap * gap;
    }
    for (size_t i = 0; i < 1000; i++) {
        sum += counts[i];
        squares += counts[i] * counts[i];
    }
    double mean = sum / 1000, variance = squares / 1000 - mean * mean;
    near(variance / mean, 1, 4 * sqrt(2.0 / 1000)); /* index of dispersion: chi-square over n - 1 */
    double gap_mean = gaps / (double)n,
           gap_variance = gap_squares / (double)n - gap_mean * gap_mean;
    near(gap_mean, 1, 0.02);
    near(gap_variance, 1, 0.05); /* ms^2: exponential */
}

static void poisson_ramps_keep_their_shape(void **state)
{
    struct stage s = rate_stage(0, 2000, 60, SPACING_POISSON);
    struct arrivals_plan p = plan_of(&s, 1);
    double squares = 0;
    (void)state;
    size_t n = draw(&p);
    near((double)n, 60000, 4 * sqrt(60000.0));
    for (size_t i = 1; i < n; i++) { /* in the integral's time the gaps are exponential of mean 1 */
        double gap = integral_at(&s, (double)list[i].offset_ns / 1e9) -
                     integral_at(&s, (double)list[i - 1].offset_ns / 1e9);
        squares += (gap - 1) * (gap - 1);
    }
    near(squares / (double)n, 1, 0.06);
    size_t first_half = 0;
    while (list[first_half].offset_ns < 30000000000ull)
        first_half++;
    near((double)first_half, 15000, 4 * sqrt(15000.0));
}

static void gamma_gaps_have_their_variance(void **state)
{
    static const double shapes[] = {0.25, 0.5, 1, 4, 16};
    (void)state;
    for (size_t k = 0; k < COUNT(shapes); k++) {
        struct stage s = rate_stage(1000, 1000, 100, SPACING_GAMMA);
        struct arrivals_plan p = plan_of(&s, 1);
        double sum = 0, squares = 0;
        s.gamma_shape = shapes[k];
        size_t n = draw(&p);
        for (size_t i = 1; i < n; i++) {
            double gap = (double)(list[i].offset_ns - list[i - 1].offset_ns) / 1e6;
            sum += gap;
            squares += gap * gap;
        }
        double mean = sum / (double)(n - 1), variance = squares / (double)(n - 1) - mean * mean;
        near(mean, 1, 5 / sqrt(shapes[k] * 100000));
        near(variance * shapes[k], 1, 0.1); /* ms^2: 1 / shape */
    }
}

static void bursts_come_together(void **state)
{
    struct stage s = rate_stage(100, 100, 3, SPACING_BURST);
    struct arrivals_plan p = plan_of(&s, 1);
    (void)state;
    s.burst = 25;
    assert_int_equal(draw(&p), 300);
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(list[i].offset_ns, i / 25 * 250000000ull);
}

static void threads_together_are_the_process(void **state)
{
    static const enum spacing spacings[] = {SPACING_CONSTANT, SPACING_POISSON, SPACING_GAMMA,
                                            SPACING_BURST};
    static struct arrival parts[MOST];
    static const struct mix_part mix[] = {{STR("a"), 0.6}, {STR("b"), 0.25}, {STR("c"), 0.15}};
    (void)state;
    for (size_t k = 0; k < COUNT(spacings); k++) {
        struct stage s[] = {rate_stage(500, 1500, 4, spacings[k]),
                            rate_stage(300, 0, 2, spacings[k])};
        struct arrivals_plan p = plan_of(s, 2);
        s[0].gamma_shape = s[1].gamma_shape = 0.5;
        s[0].burst = s[1].burst = 7;
        p.mix = mix;
        p.mix_count = 3;
        p.prompt_count = 5;
        size_t n = draw(&p), seen = 0;
        for (unsigned thread = 0; thread < 7; thread++) {
            size_t m = draw_thread(&p, thread, 7, parts, MOST);
            for (size_t i = 0; i < m; i++) {
                const struct arrival *one = &parts[i], *whole = &list[one->number];
                assert_int_equal(one->number, i * 7 + thread);
                assert_int_equal(one->offset_ns, whole->offset_ns);
                assert_int_equal(one->model, whole->model);
                assert_int_equal(one->prompt, whole->prompt);
                assert_int_equal(one->stage, whole->stage);
            }
            seen += m;
        }
        assert_int_equal(seen, n);
    }
}

static void equal_seeds_are_equal_arrivals(void **state)
{
    struct stage s = rate_stage(1000, 1000, 5, SPACING_POISSON);
    struct arrivals_plan p = plan_of(&s, 1);
    static struct arrival again[MOST];
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        p.seed = seed;
        size_t n = draw(&p), m = draw_thread(&p, 0, 1, again, MOST);
        assert_int_equal(n, m);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(list[i].offset_ns, again[i].offset_ns);
        p.seed = seed + 1;
        m = draw_thread(&p, 0, 1, again, MOST);
        assert_true(m != n || again[0].offset_ns != list[0].offset_ns);
    }
}

static void mixes_have_their_shares(void **state)
{
    static const struct mix_part mix[] = {
        {STR("a"), 60}, {STR("none"), 0}, {STR("b"), 25}, {STR("c"), 15}};
    static const double shares[] = {0.6, 0, 0.25, 0.15};
    struct stage s = rate_stage(1000, 1000, 100, SPACING_CONSTANT);
    struct arrivals_plan p = plan_of(&s, 1);
    size_t counts[4] = {0}, prompts[3] = {0};
    (void)state;
    p.mix = mix;
    p.mix_count = 4;
    p.prompt_count = 3;
    size_t n = draw(&p), pairs = 0;
    for (size_t i = 0; i < n; i++) {
        counts[list[i].model]++;
        prompts[list[i].prompt]++;
        pairs += i && list[i].model == 0 && list[i - 1].model == 0;
    }
    for (size_t k = 0; k < 4; k++)
        near((double)counts[k], shares[k] * (double)n, 4.5 * sqrt(shares[k] * (double)n));
    for (size_t k = 0; k < 3; k++)
        near((double)prompts[k], (double)n / 3, 1);
    near((double)pairs / (double)n, 0.36, 0.01); /* one after the other: independent */
}

static void stages_follow_each_other(void **state)
{
    struct stage s[] = {
        rate_stage(100, 100, 2, SPACING_CONSTANT), rate_stage(1000, 1000, 1, SPACING_POISSON),
        rate_stage(0, 0, 3, SPACING_CONSTANT), rate_stage(50, 50, 1, SPACING_CONSTANT)};
    struct arrivals_plan p = plan_of(s, COUNT(s));
    size_t counts[4] = {0};
    (void)state;
    size_t n = draw(&p);
    for (size_t i = 0; i < n; i++) {
        static const double begins[] = {0, 2, 3, 6, 7};
        double t = (double)list[i].offset_ns / 1e9;
        counts[list[i].stage]++;
        assert_true(t >= begins[list[i].stage] && t < begins[list[i].stage + 1]);
        assert_true(i == 0 || list[i].offset_ns >= list[i - 1].offset_ns);
        assert_int_equal(list[i].number, i);
    }
    assert_int_equal(counts[0], 200);
    near((double)counts[1], 1000, 4.5 * sqrt(1000.0));
    assert_int_equal(counts[2], 0);
    assert_int_equal(counts[3], 50);
}

static void a_number_of_requests_ends_a_stage(void **state)
{
    struct stage s[] = {rate_stage(100, 300, 0, SPACING_CONSTANT),
                        rate_stage(100, 100, 0, SPACING_POISSON),
                        rate_stage(100, 100, 10, SPACING_CONSTANT)};
    struct arrivals_plan p = plan_of(s, COUNT(s));
    (void)state;
    s[0].requests = 400; /* so the ramp takes 2 s */
    s[1].requests = 50;
    s[2].requests = 10;
    assert_int_equal(draw(&p), 460);
    assert_int_equal(list[400].stage, 1);
    near((double)list[399].offset_ns / 1e9, 2, 1.01 / 300);
    assert_int_equal(list[450].stage, 2);
    assert_int_equal(list[450].offset_ns, list[449].offset_ns); /* begins with the last one */
    near(arrivals_offered(&p, 0), 400, 0);
    near(arrivals_offered(&p, 2), 10, 0);
}

static void a_rate_that_ends_ends_the_stage(void **state)
{
    struct stage s = rate_stage(100, 0, 0, SPACING_CONSTANT);
    struct arrivals_plan p = plan_of(&s, 1);
    struct arrivals a;
    struct arrival one;
    size_t n = 0;
    (void)state;
    s.requests = 200; /* a ramp of 4 s, at whose end the rate is 0 */
    arrivals_init(&a, &p, 0, 1);
    while (arrivals_next(&a, &one))
        n++;
    assert_int_equal(n, 200);
    near((double)a.stage_ends_ns / 1e9, 4, 1e-6);
    arrivals_fini(&a);
}

static void users_add_up_over_threads(void **state)
{
    struct stage s[] = {{.kind = STAGE_USERS, .from = 0, .to = 100, .duration_ns = 10 * NS_PER_S},
                        {.kind = STAGE_USERS, .from = 13, .to = 13, .duration_ns = NS_PER_S},
                        {.kind = STAGE_USERS, .from = 50, .to = 1, .duration_ns = 5 * NS_PER_S}};
    struct arrivals_plan p = plan_of(s, COUNT(s));
    struct arrivals threads[3];
    (void)state;
    for (unsigned k = 0; k < 3; k++)
        arrivals_init(&threads[k], &p, k, 3);
    for (size_t stage = 0; stage < 3; stage++) {
        uint64_t begin = threads[0].stage_begins_ns;
        for (uint64_t t = 0; t <= s[stage].duration_ns; t += 7 * NS_PER_MS) {
            uint32_t sum = 0, most = 0, least = UINT32_MAX;
            for (unsigned k = 0; k < 3; k++) {
                uint32_t n = arrivals_users(&threads[k], begin + t);
                sum += n;
                most = MAX(most, n);
                least = MIN(least, n);
            }
            double share = (double)t / (double)s[stage].duration_ns;
            double wanted = s[stage].from + (s[stage].to - s[stage].from) * share;
            assert_true(fabs((double)sum - wanted) <= 0.5 + 1e-9);
            assert_true(most - least <= 1);
        }
        for (unsigned k = 0; k < 3; k++)
            arrivals_advance(&threads[k], threads[k].stage_ends_ns);
    }
    for (unsigned k = 0; k < 3; k++) {
        assert_null(arrivals_stage(&threads[k]));
        arrivals_fini(&threads[k]);
    }
}

/* Going from change to change meets every number of users in turn. */
static void changes_of_users_are_foretold(void **state)
{
    struct stage s[] = {{.kind = STAGE_USERS, .from = 0, .to = 40, .duration_ns = 2 * NS_PER_S},
                        {.kind = STAGE_USERS, .from = 40, .to = 3, .duration_ns = NS_PER_S}};
    struct arrivals_plan p = plan_of(s, COUNT(s));
    struct arrivals a;
    (void)state;
    arrivals_init(&a, &p, 0, 1);
    for (uint32_t stage = 0; stage < 2; stage++) {
        uint64_t at = a.stage_begins_ns;
        uint32_t users = arrivals_users(&a, at), changes = 0;
        assert_int_equal(users, s[stage].from);
        for (uint64_t next; (next = arrivals_users_change(&a, at)) != UINT64_MAX; at = next) {
            uint32_t now = arrivals_users(&a, next);
            assert_true(next > at);
            assert_int_equal(arrivals_users(&a, next - 2), users);
            assert_int_equal(now, stage == 0 ? users + 1 : users - 1);
            users = now;
            changes++;
        }
        assert_int_equal(users, s[stage].to);
        assert_int_equal(changes, stage == 0 ? 40 : 37);
        arrivals_advance(&a, a.stage_ends_ns);
    }
    arrivals_fini(&a);
}

static void replays_keep_times_and_models(void **state)
{
    static const struct replayed log[] = {{0, 2}, {1000, 0}, {1000, 1}, {5000000, 2}, {9000000, 0}};
    struct stage warm[] = {
        {.kind = STAGE_RATE, .duration_ns = 1000000, .warm_up = true},
        {.kind = STAGE_RATE},
    };
    struct arrivals_plan p = {.replay = log, .replay_count = COUNT(log), .replay_speed = 1};
    (void)state;
    assert_int_equal(draw(&p), COUNT(log));
    for (size_t i = 0; i < COUNT(log); i++) {
        assert_int_equal(list[i].offset_ns, log[i].offset_ns);
        assert_int_equal(list[i].model, log[i].model);
    }
    p.replay_speed = 2;
    p.stages = warm;
    p.stage_count = 2;
    assert_int_equal(draw(&p), COUNT(log));
    for (size_t i = 0; i < COUNT(log); i++) {
        assert_int_equal(list[i].offset_ns, log[i].offset_ns / 2);
        assert_int_equal(list[i].stage, i >= 3);
    }
    near(arrivals_offered(&p, 0), 3, 0);
    near(arrivals_offered(&p, 1), 2, 0);
    warm[1].requests = 1;
    assert_int_equal(draw(&p), 4);
}

static void a_script_says_which_is_which(void **state)
{
    static const struct scripted script[] = {{3, 1, 77}, {0, 0, 77}, {2, 5, 78}};
    struct stage s = {.kind = STAGE_USERS, .from = 1, .to = 1, .requests = 100};
    struct arrivals_plan p = plan_of(&s, 1);
    struct arrivals a;
    struct arrival one;
    (void)state;
    p.script = script;
    p.script_count = COUNT(script);
    arrivals_init(&a, &p, 0, 1);
    for (size_t i = 0; i < COUNT(script); i++) {
        assert_true(arrivals_draw(&a, i, &one));
        assert_int_equal(one.model, script[i].model);
        assert_int_equal(one.prompt, script[i].prompt);
        assert_int_equal(one.tag, script[i].tag);
        assert_int_equal(one.number, i);
    }
    assert_false(arrivals_draw(&a, COUNT(script), &one));
    arrivals_fini(&a);
    assert_true(isnan(arrivals_offered(&p, 0)));
}

/* ---- logs ---- */

static const char *write_log(const char *text)
{
    static char path[] = "/tmp/weir-arrivals-XXXXXX";
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return path;
}

static bool read_log(const char *text, struct arena *a, struct arrivals_plan *p, struct err *e)
{
    struct replayed *replay = NULL;
    struct mix_part *mix = (struct mix_part *)p->mix;
    const char *path = write_log(text);
    bool fine = arrivals_from_log(a, path, &replay, &p->replay_count, &mix, &p->mix_count, e);
    p->replay = replay;
    p->mix = mix;
    unlink(path);
    return fine;
}

#define LINE(stamp, event, model, latency)                                                         \
    "{\"timestamp\":\"2026-11-26T10:00:" stamp "Z\",\"level\":\"INFO\",\"event\":\"" event         \
    "\",\"request_id\":\"r\",\"model\":\"" model                                                   \
    "\",\"status\":\"success\",\"latency_ms\":" latency "}\n"
#define LITELLM                                                                                    \
    "{\"id\":\"x\",\"trace_id\":\"t\",\"call_type\":\"acompletion\",\"status\":\"success\","       \
    "\"startTime\":1795687200.25,\"endTime\":1795687205.5,\"model\":\"gpt-4o\","                   \
    "\"model_group\":\"b\"}\n"

static void logs_become_arrivals(void **state)
{
    static struct mix_part given[] = {{STR("a"), 3}};
    struct arrivals_plan p = {.mix = given, .mix_count = 1, .replay_speed = 1};
    struct arena a;
    struct err e = {0};
    (void)state;
    arena_init(&a, NULL, 0);
    bool fine =
        read_log(LINE("00.500", "request", "b", "500") LINE("03.000", "request", "a", "2900.5")
                     LINE("01.000", "attempt", "z", "1") LINE("02.000", "request", "b", "1250")
                         LITELLM "not JSON\n",
                 &a, &p, &e);
    if (!fine)
        fail_msg("%s", e.text);
    assert_int_equal(p.replay_count, 4);
    assert_int_equal(p.mix_count, 2); /* an attempt is no request of a client */
    near(p.mix[0].weight, 3, 0);
    near(p.mix[1].weight, 3, 0);
    assert_true(STR_IS(p.mix[1].model, "b"));
    assert_int_equal(draw(&p), 4);
    static const struct replayed wanted[] = {{0, 1}, {99500000, 0}, {250000000, 1}, {750000000, 1}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(list[i].offset_ns, wanted[i].offset_ns);
        assert_int_equal(list[i].model, wanted[i].model);
    }
    arena_fini(&a);
}

static void logs_that_are_none_are_told(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "no request with a time in it"},
        {"hello\n", "to replay, give a request log"},
        {LINE("01.000", "attempt", "z", "1"), "no request with a time in it"},
        {"{\"timestamp\":\"2026-11-26T10:00:00.000Z\",\"event\":\"request\"}\n",
         "no line names a model"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arrivals_plan p = {0};
        struct arena a;
        struct err e = {0};
        arena_init(&a, NULL, 0);
        assert_false(read_log(cases[i].text, &a, &p, &e));
        if (!strstr(e.text, cases[i].says))
            fail_msg("%s", e.text);
        arena_fini(&a);
    }
    struct err e = {0};
    struct arena a;
    struct replayed *r;
    struct mix_part *m = NULL;
    size_t n, parts = 0;
    arena_init(&a, NULL, 0);
    assert_false(arrivals_from_log(&a, "/nowhere/log", &r, &n, &m, &parts, &e));
    assert_non_null(strstr(e.text, "/nowhere/log"));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_arrivals_are_a_grid),
        cmocka_unit_test(ramps_are_where_the_integral_is),
        cmocka_unit_test(poisson_counts_are_poisson),
        cmocka_unit_test(poisson_ramps_keep_their_shape),
        cmocka_unit_test(gamma_gaps_have_their_variance),
        cmocka_unit_test(bursts_come_together),
        cmocka_unit_test(threads_together_are_the_process),
        cmocka_unit_test(equal_seeds_are_equal_arrivals),
        cmocka_unit_test(mixes_have_their_shares),
        cmocka_unit_test(stages_follow_each_other),
        cmocka_unit_test(a_number_of_requests_ends_a_stage),
        cmocka_unit_test(a_rate_that_ends_ends_the_stage),
        cmocka_unit_test(users_add_up_over_threads),
        cmocka_unit_test(changes_of_users_are_foretold),
        cmocka_unit_test(replays_keep_times_and_models),
        cmocka_unit_test(a_script_says_which_is_which),
        cmocka_unit_test(logs_become_arrivals),
        cmocka_unit_test(logs_that_are_none_are_told),
    };
    return cmocka_run_group_tests_name("arrivals", tests, NULL, NULL);
}
