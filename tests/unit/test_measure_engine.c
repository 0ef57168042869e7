/* The measuring engine against a simulated provider: every request is told once, with its marks in order, however it ends. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "certs.h"
#include "http/server.h"
#include "measure/engine.h"
#include "mock/mock.h"
#include "net/sock.h"

#define THREADS_MAX 4
#define SAMPLES_MAX 60000

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
    struct mock_options o = {.host = STR("127.0.0.1"),
                             .workers = 1,
                             .control_port = -1,
                             .faults = STR("m-500:status=500 m-429:status=429 m-401:status=401 "
                                           "m-close:close-before-head m-reset:reset-before-head "
                                           "m-garbage:garbage m-hang:hang-head m-cut-head:cut-head "
                                           "m-error-200:error-in-200 m-empty-200:empty-200 "
                                           "m-not-json:not-json m-hang-body:hang-body "
                                           "m-cut-chunk:cut-chunk m-error:error-in-stream=3 "
                                           "m-cut:cut-after=3 m-rst:reset-after=3 "
                                           "m-stall:stall-after=3 m-no-end:no-end "
                                           "m-slow:slow-bytes=5 m-short:length-too-long")};
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
        assert_int_equal(a.stamp_error_max_ns > 0, a.stamped_reads > 0); /* of its threads */
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

/* More at once than may wait for new connections: the rest goes over those that come free. */
static void a_burst_is_sent_whole(void **state)
{
    struct stage s = {.kind = STAGE_RATE,
                      .from = 1400,
                      .to = 1400,
                      .duration_ns = NS_PER_S / 2,
                      .spacing = SPACING_BURST,
                      .burst = 700};
    struct arrivals_plan p = plan_of(&s, 1);
    struct engine_options o = options(&p);
    (void)state;
    struct engine_account a = run(&o);
    check_all(700);
    assert_int_equal(a.dropped, 0);
    for (size_t k = 0; k < told[0].count; k++)
        assert_int_equal(told[0].list[k].due_ns, a.started_ns);
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
    assert_int_equal(a.stamp_error_max_ns, 0);
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
        {.kind = STAGE_USERS, .from = 1, .to = 6, .duration_ns = NS_PER_S / 20},
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

/* One request of a model; its sample. */
static const struct sample *ask(const char *model, struct engine_options o, struct arrivals_plan p)
{
    struct mix_part one = {str_from(model), 1};
    p.mix = &one;
    o.plan = &p;
    run(&o);
    assert_int_equal(all_told(), 1);
    return &told[0].list[0];
}

static void ends_have_their_names(void **state)
{
    static const struct {
        const char *model;
        bool stream;
        enum outcome outcome;
        int status;
    } cases[] = {
        {"m-500", false, OUTCOME_HTTP_5XX, 500},
        {"m-500", true, OUTCOME_HTTP_5XX, 500},
        {"m-429", true, OUTCOME_HTTP_429, 429},
        {"m-401", false, OUTCOME_HTTP_401, 401},
        {"m-close", false, OUTCOME_SEND, 0},
        {"m-reset", true, OUTCOME_SEND, 0},
        {"m-garbage", false, OUTCOME_TRUNCATED, 0},
        {"m-hang", true, OUTCOME_HEAD_TIMEOUT, 0},
        {"m-cut-head", false, OUTCOME_TRUNCATED, 0},
        {"m-error-200", true, OUTCOME_STREAM_ERROR, 200},
        {"m-empty-200", false, OUTCOME_INVALID, 200},
        {"m-not-json", false, OUTCOME_INVALID, 200},
        {"m-hang-body", false, OUTCOME_IDLE_TIMEOUT, 200},
        {"m-hang-body", true, OUTCOME_FIRST_TOKEN_TIMEOUT, 200},
        {"m-cut-chunk", true, OUTCOME_TRUNCATED, 200},
        {"m-error", true, OUTCOME_STREAM_ERROR, 200},
        {"m-cut", true, OUTCOME_TRUNCATED, 200},
        {"m-cut", false, OUTCOME_TRUNCATED, 200},
        {"m-rst", true, OUTCOME_TRUNCATED, 200},
        {"m-stall", true, OUTCOME_IDLE_TIMEOUT, 200},
        {"m-stall", false, OUTCOME_IDLE_TIMEOUT, 200},
        {"m-no-end", true, OUTCOME_TRUNCATED, 200},
        {"m-short", false, OUTCOME_TRUNCATED, 200},
    };
    struct stage s = {.kind = STAGE_USERS, .from = 1, .to = 1, .requests = 1};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct engine_options o = options(NULL);
        o.prompts = cases[i].stream ? streamed : whole;
        o.head_timeout_ms = o.idle_timeout_ms = 150;
        const struct sample *m = ask(cases[i].model, o, plan_of(&s, 1));
        if (m->outcome != cases[i].outcome)
            fail_msg("%s: %s (%s), not %s", cases[i].model, outcome_key(m->outcome), m->error,
                     outcome_key(cases[i].outcome));
        assert_int_equal(m->http_status, cases[i].status);
        assert_true(m->error[0] && m->end_ns > m->start_ns && m->sent_first_ns);
    }
}

static void a_total_timeout_is_told_apart(void **state)
{
    struct stage s = {.kind = STAGE_USERS, .from = 1, .to = 1, .requests = 1};
    struct engine_options o = options(NULL);
    (void)state;
    o.total_timeout_ms = 150;
    assert_int_equal(ask("m-hang", o, plan_of(&s, 1))->outcome, OUTCOME_TOTAL_TIMEOUT);
    assert_int_equal(ask("m-slow", o, plan_of(&s, 1))->outcome, OUTCOME_TOTAL_TIMEOUT);
}

/* Answers one connection with what is no TLS. */
static void *speak_plainly(void *arg)
{
    int fd = accept(*(int *)arg, NULL, NULL);
    (void)!write(fd, "220 not TLS at all\r\n", 20);
    char what[512];
    (void)!read(fd, what, sizeof what);
    close(fd);
    return NULL;
}

static int listen_at(char *url, size_t room, const char *scheme, int backlog)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &bytes), 0);
    snprintf(url, room, "%s://127.0.0.1:%u", scheme, ntohs(at.sin_port));
    for (int i = 0; i < 2 && backlog == 0; i++) { /* then nobody else gets in */
        int queued = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(queued, (struct sockaddr *)&at, sizeof at);
    }
    return fd;
}

/* A queue of connections that is full; nobody listens; no TLS there; no such name. */
static void connections_fail_by_name(void **state)
{
    char urls[4][120];
    pthread_t plain;
    static const enum outcome wanted[] = {OUTCOME_CONNECT_TIMEOUT, OUTCOME_CONNECT_REFUSED,
                                          OUTCOME_TLS, OUTCOME_DNS};
    (void)state;
    int full = listen_at(urls[0], sizeof urls[0], "http", 0);
    int no_tls = listen_at(urls[2], sizeof urls[2], "https", 5);
    pthread_create(&plain, NULL, speak_plainly, &no_tls);
    snprintf(urls[1], sizeof urls[1], "http://127.0.0.1:1");
    snprintf(urls[3], sizeof urls[3], "http://%070d.test", 1); /* a label has 63 bytes at most */
    for (size_t i = 0; i < COUNT(urls); i++) {
        struct err e = {0};
        struct stage s = {.kind = STAGE_USERS, .from = 1, .to = 1, .requests = 1};
        struct engine_options o = options(NULL);
        struct measure_target *t =
            measure_target_new(&(struct measure_target_options){.url = urls[i]}, &e);
        if (!t)
            fail_msg("%s", e.text);
        o.target = t;
        o.connect_timeout_ms = i == 0 ? 200 : 5000;
        const struct sample *m = ask("sim-fast", o, plan_of(&s, 1));
        if (m->outcome != wanted[i])
            fail_msg("%s: %s (%s)", urls[i], outcome_key(m->outcome), m->error);
        assert_int_equal(m->sent_first_ns, 0);
        measure_target_free(t);
    }
    pthread_join(plain, NULL);
    close(no_tls);
    close(full);
}

/* ---- over TLS: a server of our own, on a thread ---- */

#define EVENT(delta) "data: {\"choices\":[{\"index\":0,\"delta\":" delta "}]}\n\n"

static void answer_stream(struct http_conn *c, struct http_request *r)
{
    (void)r;
    http_begin(c, 200, STR("content-type: text/event-stream\r\n"), -1);
    http_body(c, STR(EVENT("{\"role\":\"assistant\",\"content\":\"\"}")));
    for (int i = 0; i < 5; i++)
        http_body(c, STR(EVENT("{\"content\":\"sea \"}")));
    http_body(c, STR("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}"
                     "\n\ndata: [DONE]\n\n"));
    http_end(c);
}

static void gone(struct http_conn *c)
{
    (void)c;
}

static void *serve(void *loop)
{
    loop_run(loop);
    return NULL;
}

static void tls_has_marks_of_its_own(void **state)
{
    struct err e = {0};
    struct sockaddr_in at;
    socklen_t bytes = sizeof at;
    char url[64];
    pthread_t thread;
    const struct http_limits limits = {.max_head_bytes = 16384,
                                       .max_body_bytes = 65536,
                                       .max_connections = 1000,
                                       .head_timeout_ms = 60000,
                                       .body_timeout_ms = 60000,
                                       .idle_timeout_ms = 60000,
                                       .write_timeout_ms = 60000};
    const struct http_handler handler = {.on_request = answer_stream, .on_gone = gone};
    (void)state;
    certs_begin();
    cert_put(&(struct cert_wish){.name = "ca", .san = "IP:127.0.0.1", .is_ca = true});
    struct tls_server *ts = tls_server_new(cert_path("ca", "pem"), cert_path("ca", "key"), &e);
    int fd = sock_listen(STR("127.0.0.1"), 0, false, 64, &e);
    struct loop *loop = loop_new();
    struct http_server *server = http_server_new(loop, &limits, &handler, NULL);
    assert_true(ts && fd >= 0 && http_server_listen(server, fd, ts));
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &bytes), 0);
    snprintf(url, sizeof url, "https://127.0.0.1:%u", ntohs(at.sin_port));
    pthread_create(&thread, NULL, serve, loop);
    struct measure_target *t = measure_target_new(
        &(struct measure_target_options){.url = url, .ca_file = cert_path("ca", "pem")}, &e);
    if (!t)
        fail_msg("%s", e.text);
    struct stage s = {.kind = STAGE_USERS, .from = 3, .to = 3, .requests = 30};
    struct arrivals_plan p = plan_of(&s, 1);
    struct engine_options o = options(&p);
    o.target = t;
    o.prompts = streamed;
    struct engine_account account = run(&o);
    check_all(30);
    assert_true(account.reads >= 30);
    size_t reused = 0;
    for (size_t k = 0; k < told[0].count; k++) {
        const struct sample *m = &told[0].list[k];
        reused += m->reused;
        assert_int_equal(m->chunks, 5);
        if (!m->reused)
            assert_true(m->connected_ns < m->secured_ns && m->secured_ns <= m->sent_first_ns);
        else
            assert_int_equal(m->secured_ns, 0);
    }
    assert_int_equal(reused, 27);
    measure_target_free(t);
    loop_stop(loop);
    pthread_join(thread, NULL);
    http_server_free(server);
    loop_free(loop);
    tls_server_free(ts);
    certs_end((const char *const[]){"ca"}, 1);
}

static void the_grace_ends_what_is_in_flight(void **state)
{
    struct mix_part hang[] = {{STR("m-hang"), 1}};
    struct stage s = {.kind = STAGE_USERS, .from = 5, .to = 5, .duration_ns = 50 * NS_PER_MS};
    struct arrivals_plan p = plan_of(&s, 1);
    (void)state;
    p.mix = hang;
    for (unsigned threads = 1; threads <= 2; threads++) {
        struct engine_options o = options(&p);
        o.threads = threads;
        o.grace_ms = threads == 1 ? 100 : 0;
        struct engine_account a = run(&o);
        assert_int_equal(all_told(), 5);
        assert_int_equal(told_of(OUTCOME_CANCELLED), 5);
        assert_int_equal(a.sent, 5);
        for (size_t k = 0; k < told[0].count; k++)
            assert_true(told[0].list[k].end_ns >=
                        a.ended_ns + (uint64_t)o.grace_ms * NS_PER_MS - NS_PER_MS);
    }
}

/* A slot for one, and an answer that takes long: what is due meanwhile waits, and what never had a slot is told. */
static void what_is_never_sent_is_told(void **state)
{
    struct mix_part hang[] = {{STR("m-hang"), 1}};
    struct stage s = {.kind = STAGE_RATE, .from = 100, .to = 100, .duration_ns = NS_PER_S / 5};
    struct arrivals_plan p = plan_of(&s, 1);
    (void)state;
    p.mix = hang;
    struct engine_options o = options(&p);
    o.connections_max = 2;
    o.head_timeout_ms = 120;
    struct engine_account a = run(&o);
    assert_int_equal(all_told(), 20);
    assert_int_equal(a.offered, 20);
    assert_int_equal(a.sent + a.dropped, 20);
    assert_int_equal(told_of(OUTCOME_DROPPED), a.dropped);
    assert_true(a.dropped >= 10 && a.sent >= 2);
    for (size_t k = 0; k < told[0].count; k++) {
        const struct sample *m = &told[0].list[k];
        assert_int_equal(m->due_ns - a.started_ns, m->number * 10000000);
        if (m->outcome == OUTCOME_DROPPED)
            assert_true(!m->start_ns && m->error[0]);
        else
            assert_true(m->start_ns >= m->due_ns);
    }
}

static void keep_and_compute(void *user, unsigned thread, const struct sample *s)
{
    keep(user, thread, s);
    for (uint64_t until_ns = clock_mono_ns() + 300 * NS_PER_MS; clock_mono_ns() < until_ns;)
        ;
}

/* A thread that works on long after the stage's end, which it could not see before: no thread has more than a core. */
static void no_thread_uses_more_than_a_core(void **state)
{
    (void)state;
    for (int open = 0; open < 2; open++) {
        struct stage s = {.kind = open ? STAGE_RATE : STAGE_USERS,
                          .from = open ? 20 : 2,
                          .to = open ? 20 : 2,
                          .duration_ns = NS_PER_S / 10};
        struct arrivals_plan p = plan_of(&s, 1);
        struct engine_options o = options(&p);
        o.on_sample = keep_and_compute;
        struct engine_account a = run(&o);
        assert_int_equal(a.ended_ns - a.started_ns, s.duration_ns);
        assert_true(all_told() >= 2);
        assert_true(a.cpu_share > 0 && a.cpu_share <= 1);
    }
}

static void it_stops_when_told(void **state)
{
    struct stage closed = {.kind = STAGE_USERS, .from = 4, .to = 4},
                 open = {
                     .kind = STAGE_RATE, .from = 200, .to = 200, .duration_ns = 3600 * NS_PER_S};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct arrivals_plan p = plan_of(i & 1 ? &open : &closed, 1);
        struct engine_options o = options(&p);
        struct err e = {0};
        o.threads = 1 + i / 2;
        forget();
        struct engine *engine = engine_start(&o, &e);
        assert_non_null(engine);
        assert_false(engine_wait(engine, 50));
        engine_stop(engine);
        engine_stop(engine);
        assert_true(engine_wait(engine, 10000));
        struct engine_progress progress;
        engine_progress(engine, &progress);
        assert_int_equal(progress.ended, told_of(OUTCOME_OK));
        assert_int_equal(progress.ended + progress.dropped, all_told());
        assert_true(progress.ended > 0);
        engine_free(engine);
    }
    struct arrivals_plan p = plan_of(&closed, 1); /* freed while it runs */
    struct engine_options o = options(&p);
    struct err e = {0};
    forget();
    struct engine *engine = engine_start(&o, &e);
    assert_false(engine_wait(engine, 20));
    engine_free(engine);
}

static void requests_are_as_scripted(void **state)
{
    static struct mix_part two[] = {{STR("sim-fast"), 1}, {STR("m-500"), 1}};
    static struct scripted script[30];
    struct stage s = {.kind = STAGE_USERS, .from = 1, .to = 1};
    struct arrivals_plan p = plan_of(&s, 1);
    (void)state;
    for (uint32_t i = 0; i < COUNT(script); i++)
        script[i] = (struct scripted){.model = i % 3 == 0, .tag = 100 + i / 2};
    p.mix = two;
    p.mix_count = 2;
    p.script = script;
    p.script_count = COUNT(script);
    struct engine_options o = options(&p);
    run(&o);
    assert_int_equal(all_told(), COUNT(script));
    for (size_t k = 0; k < told[0].count; k++) {
        const struct sample *m = &told[0].list[k];
        assert_int_equal(m->number, k);
        assert_int_equal(m->model, script[k].model);
        assert_int_equal(m->tag, script[k].tag);
        assert_int_equal(m->outcome, m->model ? OUTCOME_HTTP_5XX : OUTCOME_OK);
    }
    s.from = s.to = 5;
    for (o.threads = 2; o.threads <= 4; o.threads++) {
        size_t tags[200] = {0};
        run(&o);
        assert_int_equal(all_told(), COUNT(script));
        for (unsigned t = 0; t < o.threads; t++)
            for (size_t k = 0; k < told[t].count; k++)
                tags[told[t].list[k].tag]++;
        for (size_t i = 0; i < COUNT(script) / 2; i++)
            assert_int_equal(tags[100 + i], 2);
    }
}

/* Every fault at once, on several threads, stopped at any moment: each request is told once, whatever becomes of it. */
static void whatever_happens_each_is_told_once(void **state)
{
    static struct mix_part all[] = {{STR("sim-fast"), 6}, {STR("m-500"), 1},   {STR("m-close"), 1},
                                    {STR("m-reset"), 1},  {STR("m-hang"), 1},  {STR("m-cut"), 1},
                                    {STR("m-rst"), 1},    {STR("m-stall"), 1}, {STR("m-error"), 1},
                                    {STR("m-garbage"), 1}};
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        static bool seen[SAMPLES_MAX];
        struct rng r;
        rng_seed(&r, seed);
        struct stage s[] = {
            {.kind = STAGE_RATE, .from = 2000, .to = 100, .duration_ns = 60 * NS_PER_MS},
            {.kind = STAGE_USERS, .from = 1, .to = 40, .duration_ns = 60 * NS_PER_MS},
            {.kind = STAGE_RATE, .from = 500, .to = 500, .duration_ns = 60 * NS_PER_MS}};
        struct arrivals_plan p = plan_of(s, COUNT(s));
        s[0].spacing = s[2].spacing = SPACING_POISSON;
        p.mix = all;
        p.mix_count = COUNT(all);
        p.seed = seed;
        struct engine_options o = options(&p);
        o.prompts = seed & 1 ? streamed : whole;
        o.threads = 1 + (unsigned)(seed % 4);
        o.fresh_connections = seed % 3 == 0;
        o.spin = seed % 5 == 0;
        o.connections_max = seed & 2 ? 20 : 0;
        o.head_timeout_ms = o.idle_timeout_ms = 40;
        o.grace_ms = (int64_t)(seed % 3) * 20;
        struct err e = {0};
        forget();
        struct engine *engine = engine_start(&o, &e);
        assert_non_null(engine);
        if (!engine_wait(engine, (int)(rng_next(&r) % 300))) {
            if (seed & 4)
                engine_cancel(engine);
            else
                engine_stop(engine);
        }
        assert_true(engine_wait(engine, 20000));
        struct engine_progress now;
        engine_progress(engine, &now);
        assert_int_equal(now.sent, now.ended);
        assert_int_equal(now.sent + now.dropped, all_told());
        assert_int_equal(now.in_flight, 0);
        assert_int_equal(now.ok, told_of(OUTCOME_OK));
        engine_free(engine);
        memset(seen, 0, sizeof seen);
        for (size_t i = 0; i < THREADS_MAX; i++)
            for (size_t k = 0; k < told[i].count; k++) {
                uint64_t number = told[i].list[k].number;
                assert_true(number < SAMPLES_MAX && !seen[number]);
                seen[number] = true;
            }
    }
}

static void what_cannot_be_is_said(void **state)
{
    struct stage s = {.kind = STAGE_USERS, .from = 1, .to = 1, .requests = 1};
    struct arrivals_plan p = plan_of(&s, 0);
    struct engine_options o = options(&p);
    struct err e = {0};
    (void)state;
    assert_null(engine_start(&o, &e));
    assert_non_null(strstr(e.text, "no stage"));
    p = plan_of(&s, 1);
    p.prompt_count = 99;
    e = (struct err){0};
    assert_null(engine_start(&o, &e));
    assert_non_null(strstr(e.text, "99 prompts"));
    p.prompt_count = 1;
    s.from = s.to = 0;
    e = (struct err){0};
    assert_null(engine_start(&o, &e));
    assert_non_null(strstr(e.text, "stage 1 has neither users"));
    s.from = 1;
    o.threads = ENGINE_THREADS_MAX + 1;
    e = (struct err){0};
    assert_null(engine_start(&o, &e));
    assert_non_null(strstr(e.text, "threads"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_loop_sends_so_many),
        cmocka_unit_test(an_open_loop_is_on_time),
        cmocka_unit_test(a_burst_is_sent_whole),
        cmocka_unit_test(streams_are_read_by_token),
        cmocka_unit_test(fresh_connections_are_fresh),
        cmocka_unit_test(stages_go_by_in_turn),
        cmocka_unit_test(ends_have_their_names),
        cmocka_unit_test(a_total_timeout_is_told_apart),
        cmocka_unit_test(connections_fail_by_name),
        cmocka_unit_test(tls_has_marks_of_its_own),
        cmocka_unit_test(the_grace_ends_what_is_in_flight),
        cmocka_unit_test(what_is_never_sent_is_told),
        cmocka_unit_test(no_thread_uses_more_than_a_core),
        cmocka_unit_test(it_stops_when_told),
        cmocka_unit_test(requests_are_as_scripted),
        cmocka_unit_test(whatever_happens_each_is_told_once),
        cmocka_unit_test(what_cannot_be_is_said),
    };
    return cmocka_run_group_tests_name("measure_engine", tests, start, stop);
}
