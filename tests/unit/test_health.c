/* test_health.c -- health checks on a gateway whose workers never start: the test turns the control loop itself, so that it sees every step.
 *
 * The upstream is a thread that answers each connection's one request with the status it is told, or never. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/health.h"

#define PATIENCE_NS (30 * NS_PER_S)

enum { SILENT = 0 };

static struct gateway *gateway;

/* ---- the upstream ---- */

static struct {
    int listener, port;
    pthread_t thread;
    int status; /* atomic: to answer with */
    int asked;  /* atomic: requests read */
    int held[64], held_count;
} upstream;

static void serve(int fd)
{
    char request[4096];
    size_t n = 0;
    while (n < sizeof request - 1) {
        ssize_t got = read(fd, request + n, sizeof request - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
        request[n] = '\0';
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    __atomic_add_fetch(&upstream.asked, 1, __ATOMIC_RELEASE);
    int status = __atomic_load_n(&upstream.status, __ATOMIC_ACQUIRE);
    if (status == SILENT) {
        upstream.held[upstream.held_count++] = fd;
        return;
    }
    char answer[128];
    int bytes =
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 %d X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}", status);
    ssize_t put = write(fd, answer, (size_t)bytes);
    (void)put; /* the gateway may be gone */
    close(fd);
}

static void *upstream_main(void *arg)
{
    (void)arg;
    for (int fd; (fd = accept(upstream.listener, NULL, NULL)) >= 0;)
        serve(fd);
    return NULL;
}

static void answers(int status)
{
    __atomic_store_n(&upstream.status, status, __ATOMIC_RELEASE);
}

static int asked(void)
{
    return __atomic_load_n(&upstream.asked, __ATOMIC_ACQUIRE);
}

static int set_up_upstream(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    (void)state;
    upstream.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(upstream.listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(upstream.listener, 64), 0);
    assert_int_equal(getsockname(upstream.listener, (struct sockaddr *)&at, &n), 0);
    upstream.port = ntohs(at.sin_port);
    return pthread_create(&upstream.thread, NULL, upstream_main, NULL);
}

static int tear_down_upstream(void **state)
{
    (void)state;
    shutdown(upstream.listener, SHUT_RDWR);
    pthread_join(upstream.thread, NULL);
    close(upstream.listener);
    for (int i = 0; i < upstream.held_count; i++)
        close(upstream.held[i]);
    return 0;
}

/* ---- the gateway ---- */

static const char *engine = "none";

/* Models a, b, c, ... of these names, all at the upstream, which is that engine. */
static struct config *config_of(const char *names, const char *more)
{
    struct buf text;
    struct err e = {0};
    buf_init(&text, 0, NULL);
    assert_true(buf_printf(&text, "model_list:\n"));
    for (const char *name = names; *name; name++)
        assert_true(buf_printf(
            &text,
            "  - {model_name: m%c, litellm_params: {model: openai/up-%c, api_key: k, api_base: "
            "\"http://127.0.0.1:%d/v1\"}, model_info: {id: id-%c, health_check_timeout: 1, engine: "
            "%s}}\n",
            *name, *name, upstream.port, *name, engine));
    assert_true(buf_printf(&text, "%s", more));
    struct config *c =
        config_load(&(struct config_options){.text = buf_str(&text), .sealed = true}, &e);
    if (!c)
        fail_msg("%s", e.text);
    buf_fini(&text);
    return c;
}

static void begin(const char *names, const char *more)
{
    struct err e = {0};
    gateway = gateway_new(&(struct gateway_options){.config = config_of(names, more),
                                                    .version = "1",
                                                    .commit = "abc"},
                          &e);
    assert_non_null(gateway);
}

static void end(void)
{
    gateway_free(gateway);
}

/* As a reload does it, on the control thread. */
static void reload(const char *names, const char *more)
{
    struct err e = {0};
    struct snapshot *former = gateway->snapshot, *s;
    s = snapshot_new(gateway, config_of(names, more), &e);
    assert_non_null(s);
    gateway->snapshot = s;
    health_use_snapshot(gateway->health, s);
    snapshot_put(former);
}

static struct control_job *ask(const char *query)
{
    struct control_job *j = mem_alloc(sizeof *j);
    j->worker = &gateway->workers[0];
    j->status = 200;
    snprintf(j->query, sizeof j->query, "%s", query);
    buf_init(&j->body, 0, NULL);
    health_answer(gateway, j);
    return j;
}

static bool is_answered(const struct control_job *j)
{
    return buf_used(&j->body) > 0;
}

static void turn_until_answered(const struct control_job *j)
{
    uint64_t end_ns = clock_mono_ns() + PATIENCE_NS;
    while (!is_answered(j) && clock_mono_ns() < end_ns)
        loop_pass(gateway->control, 10);
    assert_true(is_answered(j));
}

static void turn_until_asked(int count)
{
    uint64_t end_ns = clock_mono_ns() + PATIENCE_NS;
    while (asked() < count && clock_mono_ns() < end_ns)
        loop_pass(gateway->control, 1);
    assert_true(asked() >= count);
}

/* The job is on its way to the worker, which would free it: that happens in end(). */
static void check_counts(struct control_job *j, int healthy, int unhealthy)
{
    char expected[80];
    turn_until_answered(j);
    assert_true(buf_append(&j->body, "", 1));
    snprintf(expected, sizeof expected, "\"healthy_count\":%d,\"unhealthy_count\":%d}", healthy,
             unhealthy);
    if (!strstr(j->body.data, expected))
        fail_msg("not %s: %s", expected, j->body.data);
}

static struct deployment_state *state_of(uint32_t deployment)
{
    return gateway->snapshot->states[deployment];
}

/* ---- outcomes ---- */

static void what_an_answer_means(void **state)
{
    (void)state;
    static const struct {
        int status;
        bool models, completion;
    } cases[] = {{200, true, true},   {204, true, true},   {302, false, false}, {400, false, false},
                 {401, false, false}, {403, false, false}, {404, true, false},  {405, true, false},
                 {429, false, false}, {500, false, false}, {503, false, false}};
    for (int completion = 0; completion < 2; completion++) {
        for (size_t i = 0; i < COUNT(cases); i++) {
            begin("a", completion ? "weir_settings: {health_check: completion}\n" : "");
            answers(cases[i].status);
            bool alive = completion ? cases[i].completion : cases[i].models;
            check_counts(ask(""), alive, !alive);
            assert_int_equal(state_of(0)->probed, alive ? PROBED_ALIVE : PROBED_DEAD);
            end();
        }
    }
}

static void silence_is_death_and_costs_its_timeout(void **state)
{
    (void)state;
    begin("abc", "");
    answers(SILENT);
    uint64_t before_ns = clock_mono_ns();
    check_counts(ask(""), 0, 3);
    uint64_t ns = clock_mono_ns() - before_ns;
    assert_true(ns > 900 * NS_PER_MS && ns < 15 * NS_PER_S); /* health_check_timeout: 1 */
    end();
}

static void many_askers_share_one_round(void **state)
{
    (void)state;
    begin("abcdefghijklmnopqrstuvwxyz", "");
    answers(200);
    int before = asked();
    struct control_job *jobs[10];
    for (int i = 0; i < 10; i++)
        jobs[i] = ask("");
    for (int i = 0; i < 9; i++)
        turn_until_answered(jobs[i]);
    check_counts(jobs[9], 26, 0);
    assert_int_equal(asked() - before, 26);
    check_counts(ask(""), 26, 0); /* fresh */
    assert_int_equal(asked() - before, 26);
    end();
}

static void one_model_is_asked_for(void **state)
{
    (void)state;
    begin("abc", "");
    answers(200);
    int before = asked();
    check_counts(ask("model=mb"), 1, 0);
    check_counts(ask("model=openai%2Fup-b"), 1, 0);
    check_counts(ask("x=1&model_id=id-b"), 1, 0);
    assert_int_equal(asked() - before, 1);
    struct control_job *j = ask("model=mb&model_id=id-c");
    assert_true(is_answered(j));
    assert_int_equal(j->status, 404);
    end();
}

static void passing_errors_can_be_ignored(void **state)
{
    (void)state;
    begin("a", "router_settings: {health_check_ignore_transient_errors: true}\n");
    answers(429);
    check_counts(ask(""), 0, 1);
    assert_int_equal(state_of(0)->probed, PROBED_NEVER);
    end();
}

/* ---- rest ---- */

static void check_wakes(const char *settings, enum failure_class class, int status, bool wakes)
{
    begin("ab", settings);
    answers(200);
    const struct config *c = gateway->snapshot->config;
    struct attempt_failure f = {.class = class, .status = status, .retry_after_ms = -1};
    struct deployment_state *s = state_of(0);
    for (int i = 0; i < 4; i++)
        fleet_failed(s, &c->deployments[0], &c->routing, false, &f, clock_mono_ns());
    assert_int_equal(fleet_rest(s, clock_mono_ns()), REST_RESTS);
    check_counts(ask(""), 2, 0);
    assert_int_equal(fleet_rest(s, clock_mono_ns()), wakes ? REST_HALF_OPEN : REST_RESTS);
    assert_int_equal(fleet_rest(state_of(1), clock_mono_ns()), REST_NOT);
    if (wakes) { /* one request, not all of them */
        assert_true(fleet_try(s, clock_mono_ns()));
        assert_false(fleet_try(s, clock_mono_ns()));
    }
    end();
}

static void a_check_wakes_what_it_proves(void **state)
{
    (void)state;
    static const struct {
        enum failure_class class;
        int status;
        bool models, completion;
    } cases[] = {{FAILURE_CONNECTION, 0, true, true},
                 {FAILURE_SERVER, 503, false, true},
                 {FAILURE_TIMEOUT, 0, false, true},
                 {FAILURE_RATE_LIMIT, 429, false, false},
                 {FAILURE_AUTHENTICATION, 401, false, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        check_wakes("router_settings: {cooldown_time: 60}\n", cases[i].class, cases[i].status,
                    cases[i].models);
        check_wakes(
            "router_settings: {cooldown_time: 60}\nweir_settings: {health_check: completion}\n",
            cases[i].class, cases[i].status, cases[i].completion);
    }
}

/* An attempt that was under way when it was sent to rest ends otherwise: it is the first one that counts. */
static void what_began_the_rest_is_to_be_proven(void **state)
{
    (void)state;
    begin("ab", "");
    answers(200);
    const struct config *c = gateway->snapshot->config;
    struct attempt_failure limit = {
        .class = FAILURE_RATE_LIMIT, .status = 429, .retry_after_ms = 60000};
    struct attempt_failure lost = {.class = FAILURE_CONNECTION, .retry_after_ms = -1};
    assert_true(
        fleet_failed(state_of(0), &c->deployments[0], &c->routing, false, &limit, clock_mono_ns()));
    assert_false(
        fleet_failed(state_of(0), &c->deployments[0], &c->routing, false, &lost, clock_mono_ns()));
    check_counts(ask(""), 2, 0);
    assert_int_equal(fleet_rest(state_of(0), clock_mono_ns()), REST_RESTS);
    end();
}

static void a_dead_one_rests_on(void **state)
{
    (void)state;
    begin("ab", "router_settings: {cooldown_time: 60}\n");
    answers(500);
    const struct config *c = gateway->snapshot->config;
    struct attempt_failure f = {.class = FAILURE_CONNECTION, .retry_after_ms = -1};
    for (int i = 0; i < 4; i++)
        fleet_failed(state_of(0), &c->deployments[0], &c->routing, false, &f, clock_mono_ns());
    check_counts(ask(""), 0, 2);
    assert_int_equal(fleet_rest(state_of(0), clock_mono_ns()), REST_RESTS);
    end();
}

/* ---- reload ---- */

static void a_reload_while_checks_run(void **state)
{
    (void)state;
    begin("abcdefghijklmnopqrst", "");
    answers(SILENT);
    int before = asked();
    struct control_job *all = ask(""), *one = ask("model=mt");
    turn_until_asked(before + 10);
    answers(200);
    reload("tzy", ""); /* of twenty one is left */
    check_counts(one, 1, 0);
    check_counts(all, 3, 0);
    assert_int_equal(gateway->health->count, 3);
    end();
}

static void a_reload_takes_the_model_that_is_waited_for(void **state)
{
    (void)state;
    begin("ab", "");
    answers(SILENT);
    int before = asked();
    struct control_job *j = ask("model=mb");
    turn_until_asked(before + 1);
    reload("a", "");
    check_counts(j, 0, 0);
    end();
}

static void outcomes_outlive_a_reload(void **state)
{
    (void)state;
    begin("ab", "");
    answers(200);
    check_counts(ask(""), 2, 0);
    int before = asked();
    answers(500);
    reload("ba", "");
    check_counts(ask(""), 2, 0); /* fresh enough */
    assert_int_equal(asked(), before);
    end();
}

static void a_reload_turns_background_checks_on_and_off(void **state)
{
    (void)state;
    begin("ab", "");
    answers(200);
    int before = asked();
    reload("ab", "general_settings: {background_health_checks: true, health_check_interval: 1}\n");
    turn_until_asked(before + 6);
    check_counts(ask(""), 2, 0);
    reload("ab", "");
    assert_false(timer_armed(&gateway->health->background));
    end();
}

static void a_reload_keeps_the_background_checks_going(void **state)
{
    (void)state;
    static const char on[] =
        "general_settings: {background_health_checks: true, health_check_interval: 600}\n";
    begin("ab", on);
    answers(200);
    check_counts(ask(""), 2, 0);
    for (int i = 0; i < 200; i++) /* past the first round */
        loop_pass(gateway->control, 10);
    int before = asked();
    uint64_t due_ns = gateway->health->background.due_ns;
    reload("abc", on);
    assert_int_equal(gateway->health->background.due_ns, due_ns);
    check_counts(ask(""), 3, 0);
    assert_int_equal(asked() - before, 1); /* the new one, since it was asked for */
    end();
}

static void engines_outlive_a_reload(void **state)
{
    (void)state;
    engine = "auto";
    begin("ab", "weir_settings: {engine_poll_ms: 20}\n");
    answers(200); /* {}: no engine's answer */
    int before = asked();
    turn_until_asked(before + 6);
    assert_int_equal(engines_count(health_engines(gateway->health)), 1);
    struct engine_view v = engines_view(health_engines(gateway->health), 0);
    assert_true(v.asked_ns > 0 && !v.report->up && v.kind == ENGINE_AUTO);
    answers(SILENT);
    before = asked();
    turn_until_asked(before + 1);
    reload("bc", "weir_settings: {engine_poll_ms: 20}\n"); /* while one is asked */
    v = engines_view(health_engines(gateway->health), 0);
    assert_true(v.asked_ns > 0);
    before = asked();
    turn_until_asked(before + 1);
    reload("b", "weir_settings: {engine_poll_ms: 0}\n");
    assert_int_equal(engines_count(health_engines(gateway->health)), 0);
    assert_int_equal(engines_of(health_engines(gateway->health), 0), -1);
    end();
    engine = "none";
}

static void the_end_while_checks_run(void **state)
{
    (void)state;
    begin("abcdefghijklmnopqrst", "");
    answers(SILENT);
    int before = asked();
    (void)ask("");
    turn_until_asked(before + 5);
    end();
}

/* ---- texts ---- */

static void queries(void **state)
{
    (void)state;
    static const struct {
        const char *query, *value; /* NULL: not there */
    } cases[] = {{"", NULL},
                 {"model", NULL},
                 {"model=", NULL},
                 {"model=a", "a"},
                 {"x&model=a%20b", "a b"},
                 {"model=%2f%zz%4", "/%zz%4"},
                 {"modelx=a", NULL},
                 {"model=a&model=b", "a"},
                 {"model=a=b", "a=b"},
                 {"model=0123456789", "0123456"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[8];
        bool there = query_value(str_from(cases[i].query), STR("model"), out, sizeof out);
        assert_int_equal(there, cases[i].value != NULL);
        assert_string_equal(out, cases[i].value ? cases[i].value : "");
    }
}

static void a_state_as_json(void **state)
{
    (void)state;
    static struct deployment_state s = {.in_flight = 2,
                                        .fails_in_row = 3,
                                        .rest = 5 * NS_PER_S,
                                        .last_failure_ns = 2 * NS_PER_S,
                                        .last_class = FAILURE_SERVER,
                                        .last_status = 503,
                                        .rests_total = 1,
                                        .ttft_us = 1500};
    struct buf out;
    buf_init(&out, 0, NULL);
    assert_true(health_write_state(&out, &s, 3 * NS_PER_S) && buf_append(&out, "", 1));
    assert_string_equal(out.data,
                        "{\"state\":\"resting\",\"in_flight\":2,\"fails_in_row\":3,"
                        "\"rests_for_ms\":2000,\"rests\":1,\"last_failure\":{\"class\":\"server\","
                        "\"status\":503,\"seconds_ago\":1.000},\"ttft_ms\":1.500,"
                        "\"ms_per_token\":null}");
    static const struct {
        uint64_t now_s;
        const char *state;
    } cases[] = {{3, "\"resting\""}, {6, "\"half_open\""}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&out);
        assert_true(health_write_state(&out, &s, cases[i].now_s * NS_PER_S) &&
                    buf_append(&out, "", 1));
        assert_non_null(strstr(out.data, cases[i].state));
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_answer_means),
        cmocka_unit_test(silence_is_death_and_costs_its_timeout),
        cmocka_unit_test(many_askers_share_one_round),
        cmocka_unit_test(one_model_is_asked_for),
        cmocka_unit_test(passing_errors_can_be_ignored),
        cmocka_unit_test(a_check_wakes_what_it_proves),
        cmocka_unit_test(what_began_the_rest_is_to_be_proven),
        cmocka_unit_test(a_dead_one_rests_on),
        cmocka_unit_test(a_reload_while_checks_run),
        cmocka_unit_test(a_reload_takes_the_model_that_is_waited_for),
        cmocka_unit_test(outcomes_outlive_a_reload),
        cmocka_unit_test(a_reload_turns_background_checks_on_and_off),
        cmocka_unit_test(a_reload_keeps_the_background_checks_going),
        cmocka_unit_test(engines_outlive_a_reload),
        cmocka_unit_test(the_end_while_checks_run),
        cmocka_unit_test(queries),
        cmocka_unit_test(a_state_as_json),
    };
    return cmocka_run_group_tests_name("health", tests, set_up_upstream, tear_down_upstream);
}
