/* What the simulator says of its own times, held against a client's clock; answers that take longer; and standing still. No upper bound here is
 * tighter than what the client saw itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "mock/mock.h"
#include "net/sock.h"
#include "net/stamp.h"

#define PLAIN      "{\"model\":\"sim-fast\",\"messages\":[]}"
#define STREAM     "{\"model\":\"sim-fast\",\"stream\":true,\"messages\":[]}"
#define ROOM_BYTES 65536

static char answer[ROOM_BYTES];
static uint64_t sent_ns, ended_ns; /* of the last exchange, by the client's clock */

static struct mock *begin(size_t times, uint32_t workers)
{
    struct mock_options o = {
        .host = STR("127.0.0.1"), .workers = workers, .control_port = -1, .times = times};
    struct err e = {0};
    sim_knobs_init(&o.knobs);
    struct mock *m = mock_start(&o, &e);
    assert_non_null(m);
    return m;
}

static int dial(struct mock *m)
{
    unsigned port = 0;
    struct sock_addr to;
    assert_int_equal(sscanf(mock_api_base(m).p, "http://127.0.0.1:%u/v1", &port), 1);
    assert_true(sock_addr_parse(STR("127.0.0.1"), (uint16_t)port, &to));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &to.any, to.len), 0);
    return fd;
}

static void say(int fd, const char *method, const char *path, const char *headers, const char *body)
{
    char request[2048];
    int n = snprintf(
        request, sizeof request,
        "%s %s HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n%scontent-length: %zu\r\n\r\n%s",
        method, path, headers, strlen(body), body);
    sent_ns = clock_mono_ns();
    assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
}

static int hear(int fd)
{
    size_t bytes = 0;
    ssize_t r;
    int status = 0;
    while ((r = read(fd, answer + bytes, ROOM_BYTES - 1 - bytes)) > 0)
        bytes += (size_t)r;
    ended_ns = clock_mono_ns();
    close(fd);
    answer[bytes] = '\0';
    assert_int_equal(sscanf(answer, "HTTP/1.1 %d", &status), 1);
    return status;
}

static int ask(struct mock *m, const char *method, const char *path, const char *headers,
               const char *body)
{
    int fd = dial(m);
    say(fd, method, path, headers, body);
    return hear(fd);
}

static int chat(struct mock *m, const char *headers, const char *body)
{
    return ask(m, "POST", "/v1/chat/completions", headers, body);
}

/* The number at a path of names in the last answer's JSON. */
static double told(const char *path)
{
    struct arena a;
    char names[96];
    arena_init(&a, NULL, 0);
    const struct json_node *n = json_parse(&a, str_from(strstr(answer, "\r\n\r\n") + 4), NULL);
    snprintf(names, sizeof names, "%s", path);
    struct str rest = str_from(names);
    while (n && rest.n) {
        struct str name = str_cut(&rest, '.');
        char one[64];
        snprintf(one, sizeof one, "%.*s", STR_ARG(name));
        if (n->kind == JSON_ARRAY) {
            n = n->child;
            for (int64_t skip = one[0] - '0'; n && skip > 0; skip--)
                n = n->next;
        } else {
            n = json_get(n, one);
        }
    }
    assert_non_null(n);
    double value = n->number;
    arena_fini(&a);
    return value;
}

static void a_whole_answer_took_what_it_took(void **state)
{
    (void)state;
    struct mock *m = begin(100, 1);
    struct mock_times t;
    assert_int_equal(chat(m, "x-mock-delay-ms: 30\r\n", PLAIN), 200);
    uint64_t seen_ns = ended_ns - sent_ns;
    mock_times(m, &t);
    assert_int_equal(t.answers, 1);
    assert_int_equal(t.total.count, 1);
    assert_int_equal(t.ttft.count, 0); /* there is no first token in a whole answer */
    assert_true(t.total.p50_ns >= 30 * NS_PER_MS);
    assert_true(t.total.p50_ns <= seen_ns);
    assert_true(t.late.max_ns <= seen_ns - 30 * NS_PER_MS);
    mock_stop(m);
}

static void each_token_of_a_stream_is_in_the_account(void **state)
{
    (void)state;
    struct mock *m = begin(100, 1);
    struct mock_times t;
    const char *pace =
        "x-mock-ttft-ms: 40\r\nx-mock-tokens-per-second: 200\r\nx-mock-tokens: 9\r\n";
    assert_int_equal(chat(m, pace, STREAM), 200);
    uint64_t seen_ns = ended_ns - sent_ns;
    mock_times(m, &t);
    assert_int_equal(t.gap.count, 8);
    assert_true(t.ttft.p50_ns >= 40 * NS_PER_MS);
    assert_true(t.e2e.p50_ns >= 80 * NS_PER_MS && t.e2e.p50_ns <= t.total.p50_ns);
    assert_true(t.total.p50_ns <= seen_ns);
    double gaps_ns = t.gap.mean_ns * 8, between_ns = (double)(t.e2e.p50_ns - t.ttft.p50_ns);
    assert_true(gaps_ns > between_ns - 100 && gaps_ns < between_ns + 100); /* rounding of a mean */
    mock_stop(m);
}

static void tokens_that_leave_together_have_no_gap(void **state)
{
    (void)state;
    struct mock *m = begin(100, 1);
    struct mock_times t;
    assert_int_equal(chat(m, "x-mock-tokens: 5\r\n", STREAM), 200);
    mock_times(m, &t);
    assert_int_equal(t.gap.count, 4);
    assert_int_equal(t.gap.max_ns, 0);
    mock_stop(m);
}

static void what_failed_is_not_in_it(void **state)
{
    (void)state;
    struct mock *m = begin(100, 1);
    struct mock_times t;
    assert_int_equal(chat(m, "x-mock-status: 429\r\n", PLAIN), 429);
    assert_int_equal(chat(m, "x-mock-cut-after: 2\r\n", STREAM), 200);
    assert_int_equal(chat(m, "x-mock-error-in-200: 1\r\n", PLAIN), 200);
    mock_times(m, &t);
    assert_int_equal(t.answers, 0);
    assert_int_equal(t.total.count, 0);
    mock_stop(m);
}

static void the_newest_are_kept_and_a_reset_forgets(void **state)
{
    (void)state;
    struct mock *m = begin(4, 1);
    struct mock_times t;
    for (int i = 0; i < 10; i++)
        assert_int_equal(chat(m, "", PLAIN), 200);
    mock_times(m, &t);
    assert_int_equal(t.answers, 10);
    assert_int_equal(t.total.count, 4);
    assert_int_equal(t.forgotten, 6);
    assert_int_equal(ask(m, "POST", "/mock/reset", "", ""), 200);
    mock_times(m, &t);
    assert_int_equal(t.answers, 0);
    assert_int_equal(t.total.count, 0);
    mock_stop(m);
}

static void the_account_is_served_as_json(void **state)
{
    (void)state;
    struct mock *m = begin(100, 2); /* of both workers */
    for (int i = 0; i < 12; i++)
        assert_int_equal(chat(m, i % 2 ? "" : "x-mock-delay-ms: 5\r\n", i % 3 ? PLAIN : STREAM),
                         200);
    assert_int_equal(ask(m, "GET", "/mock/times?rows", "", ""), 200);
    assert_true(told("answers") == 12 && told("total_ns.count") == 12);
    assert_true(told("ttft_ns.count") == 4);
    assert_true(told("total_ns.p50") >= 0 && told("total_ns.max") >= 5e6);
    assert_true(told("rows.0.0") == 0); /* times since the first arrival */
    assert_true(told("rows.9.0") > told("rows.8.0"));
    assert_true(told("rows.0.5") >= 5e6);
    mock_stop(m);
    m = begin(0, 1);
    assert_int_equal(ask(m, "GET", "/mock/times", "", ""), 404);
    assert_non_null(strstr(answer, "--times"));
    mock_stop(m);
}

static void a_share_of_answers_takes_longer(void **state)
{
    (void)state;
    struct mock *m = begin(100, 1);
    struct mock_times t;
    const char *two =
        "x-mock-delay-ms: 1\r\nx-mock-slow-ms: 40\r\nx-mock-slow-per-million: 100000\r\n";
    for (int i = 0; i < 20; i++)
        assert_int_equal(chat(m, two, PLAIN), 200);
    mock_times(m, &t);
    assert_true(t.total.p90_ns >= NS_PER_MS); /* the 18th of 20 */
    assert_true(t.total.p99_ns >= 41 * NS_PER_MS);
    assert_int_equal(ask(m, "GET", "/mock/stats", "", ""), 200);
    assert_true(told("slow") == 2 && told("models.sim-fast.slow") == 2);
    mock_stop(m);
}

static void it_stands_still_as_long_as_told(void **state)
{
    (void)state;
    struct mock *m = begin(100, 2);
    struct err e = {0};
    uint64_t ordered_ns = clock_mono_ns();
    assert_true(mock_freeze(m, 20, 200, &e));
    assert_false(mock_freeze(m, 0, 5, &e));
    assert_non_null(strstr(e.text, "not over"));
    usleep(60000); /* by now it stands still */
    int fd = dial(m);
    say(fd, "POST", "/v1/chat/completions", "", PLAIN);
    assert_int_equal(hear(fd), 200);
    uint64_t answered_ns = ended_ns, asked_ns = sent_ns;
    assert_true(answered_ns >= ordered_ns + 220 * NS_PER_MS);
    assert_int_equal(ask(m, "GET", "/mock/times?rows", "", ""), 200);
    double began_ns = told("freezes.0.begin_ns"), end_ns = told("freezes.0.end_ns");
    assert_true(began_ns >= (double)(ordered_ns + 20 * NS_PER_MS));
    assert_true(end_ns >= (double)(ordered_ns + 220 * NS_PER_MS) && end_ns > began_ns);
    assert_true(end_ns <= (double)answered_ns);
    int held = stamp_hold();
    if (held >= 0) { /* what came while it stood still is known to have come then */
        close(held);
        double arrived_by_ns = told("base_ns");
        assert_true(arrived_by_ns >= (double)asked_ns - 1e6 && arrived_by_ns < end_ns);
        assert_true(told("total_ns.max") >= end_ns - arrived_by_ns);
    }
    mock_stop(m);
}

static void an_end_does_not_wait_for_it(void **state)
{
    (void)state;
    struct mock *m = begin(0, 1);
    struct err e = {0};
    assert_true(mock_freeze(m, 0, 3600000, &e));
    usleep(20000);
    uint64_t began_ns = clock_mono_ns();
    mock_stop(m);
    assert_true(clock_mono_ns() - began_ns < 30 * NS_PER_S);
}

static void orders_to_stand_still_are_checked(void **state)
{
    (void)state;
    struct mock *m = begin(0, 1);
    static const struct {
        const char *body, *says;
    } rows[] = {
        {"", "byte"},
        {"[]", "expected a JSON object"},
        {"{\"ms\":-1}", "ms: expected a whole number of ms"},
        {"{\"ms\":5,\"after_ms\":\"soon\"}", "after_ms: expected"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(ask(m, "POST", "/mock/freeze", "", rows[i].body), 400);
        if (i)
            assert_non_null(strstr(answer, rows[i].says));
    }
    assert_int_equal(ask(m, "POST", "/mock/freeze", "", "{\"ms\":1}"), 200);
    mock_stop(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_answer_took_what_it_took),
        cmocka_unit_test(each_token_of_a_stream_is_in_the_account),
        cmocka_unit_test(tokens_that_leave_together_have_no_gap),
        cmocka_unit_test(what_failed_is_not_in_it),
        cmocka_unit_test(the_newest_are_kept_and_a_reset_forgets),
        cmocka_unit_test(the_account_is_served_as_json),
        cmocka_unit_test(a_share_of_answers_takes_longer),
        cmocka_unit_test(it_stands_still_as_long_as_told),
        cmocka_unit_test(an_end_does_not_wait_for_it),
        cmocka_unit_test(orders_to_stand_still_are_checked),
    };
    return cmocka_run_group_tests_name("mock times", tests, NULL, NULL);
}
