/* test_http_ask.c -- one request and its whole answer, against a thread that answers as it is told to. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/ask.h"
#include "net/sock.h"

#define REQUEST "GET /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"

static int listener;
static uint16_t port;
static const char *reply; /* NULL: none, until the client leaves */
static char heard[200];

static void *answer_once(void *arg)
{
    char rest[100];
    int fd = accept(listener, NULL, NULL);
    ssize_t n = recv(fd, heard, sizeof heard - 1, 0);
    heard[MAX(n, 0)] = 0;
    if (reply)
        send(fd, reply, strlen(reply), MSG_NOSIGNAL);
    else
        (void)!recv(fd, rest, sizeof rest, 0);
    close(fd);
    return arg;
}

static int start(void **state)
{
    struct err e = {0};
    struct sockaddr_in at;
    socklen_t n = sizeof at;
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    listener = sock_listen(STR("127.0.0.1"), 0, false, 8, &e);
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&at, &n) != 0)
        return -1;
    port = ntohs(at.sin_port);
    (void)!fcntl(listener, F_SETFL, 0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    return close(listener);
}

/* By name, so that the resolver's work is there to be put away, too. */
static bool ask(const char *text, size_t body_bytes_max, int64_t timeout_ms, struct arena *a,
                struct http_answer *out)
{
    struct http_target target = {
        .host = STR("localhost"), .port = port, .authority = STR("localhost")};
    pthread_t thread;
    reply = text;
    assert_int_equal(pthread_create(&thread, NULL, answer_once, NULL), 0);
    bool answered = http_ask(&target, STR(REQUEST), body_bytes_max, timeout_ms, a, out);
    pthread_join(thread, NULL);
    assert_string_equal(heard, REQUEST);
    return answered;
}

static void whole_answers(void **state)
{
    static const struct {
        const char *text;
        int status;
        const char *type, *body;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 5\r\n\r\nhello", 200, "a/b",
         "hello"},
        {"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 503,
         "", "abc"},
        {"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", 404, "", ""},
        {"HTTP/1.0 200 OK\r\n\r\nto the end", 200, "", "to the end"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena a;
        struct http_answer answer;
        arena_init(&a, NULL, 0);
        assert_true(ask(cases[i].text, 100, 10000, &a, &answer));
        assert_int_equal(answer.status, cases[i].status);
        assert_true(str_eq(answer.content_type, str_from(cases[i].type)));
        assert_true(str_eq(answer.body, str_from(cases[i].body)));
        assert_false(answer.too_long || answer.failure[0]);
        arena_fini(&a);
    }
}

static void a_body_over_the_limit_is_left_out(void **state)
{
    struct arena a;
    struct http_answer answer;
    (void)state;
    arena_init(&a, NULL, 0);
    assert_true(ask("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 4, 10000, &a, &answer));
    assert_int_equal(answer.status, 200);
    assert_true(answer.too_long && answer.body.n == 0);
    arena_fini(&a);
}

/* No status then, though a head may have come. */
static void half_an_answer_is_none(void **state)
{
    static const char *const texts[] = {"", "HTTP/1.1 200 OK\r\ncontent-le",
                                        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
                                        "nonsense\r\n\r\n"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct arena a;
        struct http_answer answer;
        arena_init(&a, NULL, 0);
        assert_false(ask(texts[i], 100, 10000, &a, &answer));
        assert_true(answer.status == 0 && answer.body.n == 0 && answer.failure[0]);
        arena_fini(&a);
    }
}

static void who_does_not_answer_is_waited_for_so_long(void **state)
{
    struct arena a;
    struct http_answer answer;
    uint64_t began_ns = clock_mono_ns();
    (void)state;
    arena_init(&a, NULL, 0);
    assert_false(ask(NULL, 100, 100, &a, &answer));
    assert_true(clock_mono_ns() - began_ns >= 100 * NS_PER_MS);
    assert_true(answer.status == 0 && answer.failure[0]);
    arena_fini(&a);
}

static void nobody_there(void **state)
{
    struct http_target target = {
        .host = STR("127.0.0.1"), .port = port, .authority = STR("localhost")};
    struct arena a;
    struct http_answer answer;
    (void)state;
    arena_init(&a, NULL, 0);
    shutdown(listener, SHUT_RD); /* bound, but refusing */
    assert_false(http_ask(&target, STR(REQUEST), 100, 10000, &a, &answer));
    assert_non_null(strstr(answer.failure, "refused"));
    target.host = STR("unix:/there/is/nothing");
    assert_false(http_ask(&target, STR(REQUEST), 100, 10000, &a, &answer));
    assert_true(answer.status == 0 && answer.failure[0]);
    arena_fini(&a);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(whole_answers),          T(a_body_over_the_limit_is_left_out),
        T(half_an_answer_is_none), T(who_does_not_answer_is_waited_for_so_long),
        T(nobody_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
