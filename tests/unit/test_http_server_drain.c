/* test_http_server_drain.c -- the end of a server that loses no request, and connections that are dealt out to several. */
#include "http_server_fixture.h"

static void draining(void **state)
{
    (void)state;
    int busy = ask("GET /later HTTP/1.1\r\nHost: h\r\n\r\n"), half = ask("GET /half HTTP/1.1\r\n"),
        idle = dial();
    passes(3);
    http_server_drain(server);
    expect_end(idle);
    assert_int_equal(http_server_open(server), 2);
    buf_clear(&heard);
    heard_end = false;
    http_reply(waiting, 200, STR_NONE, STR_NONE, STR("last"));
    expect(busy, "connection: close\r\n\r\nlast");
    expect_end(busy);
    heard_end = false;
    say(half, "Host: h\r\n\r\n");
    expect(half, "connection: close\r\n\r\n2:0:.");
    expect_end(half);
    passes(2);
    assert_int_equal(http_server_open(server), 0);
    close(busy), close(half), close(idle);
}

/* Nobody told the client to go elsewhere: what was accepted just now gets its first answer, and no second one; what stays silent is closed after a second. */
static void draining_answers_what_was_accepted(void **state)
{
    (void)state;
    uint64_t began_ns = clock_mono_ns();
    int fresh = dial(), silent = dial(), idle = ask("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(idle, ".");
    passes(3);
    assert_int_equal(http_server_open(server), 3);
    http_server_drain(server);
    assert_int_equal(http_server_open(server), 2);
    buf_clear(&heard);
    expect_end(idle);
    passes(3);
    http_server_drain(server); /* does not push the end on */
    heard_end = false;
    say(fresh, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(fresh, "connection: close\r\n\r\n2:0:.");
    expect_end(fresh);
    heard_end = false;
    expect_end(silent);
    assert_true(clock_mono_ns() - began_ns >= 900 * NS_PER_MS);
    assert_int_equal(http_server_open(server), 0);
    close(fresh), close(silent), close(idle);
}

static void wait_ms(int64_t ms)
{
    uint64_t end_ns = clock_mono_ns() + (uint64_t)ms * NS_PER_MS;
    while (clock_mono_ns() < end_ns)
        loop_pass(loop, 10);
}

/* Who has had that second is not waited for, but what is in the kernel's queue by then is answered, on a fresh connection and on a kept one. */
static void draining_does_not_wait_for_the_silent(void **state)
{
    (void)state;
    int silent = dial(), late = dial(), kept = ask("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(kept, ".");
    wait_ms(1100);
    int fresh = dial();
    assert_int_equal(http_server_open(server), 4);
    say(late, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
    say(kept, "GET /c HTTP/1.1\r\nHost: h\r\n\r\n");
    http_server_drain(server); /* the loop has not told of these two */
    assert_int_equal(http_server_open(server), 3);
    const int asked[] = {late, kept};
    for (size_t i = 0; i < COUNT(asked); i++) {
        buf_clear(&heard);
        heard_end = heard_reset = false;
        expect(asked[i], ":0:.");
        expect_end(asked[i]);
        assert_false(heard_reset);
        assert_int_equal(count("connection: close\r\n"), 1);
    }
    assert_int_equal(http_server_open(server), 1);
    heard_end = false;
    expect_end(silent);
    heard_end = false;
    expect_end(fresh);
    assert_int_equal(http_server_open(server), 0);
    close(silent), close(late), close(kept), close(fresh);
}

static void connections_are_dealt_out(void **state)
{
    (void)state;
    struct http_server *other = http_server_new(loop, &limits, &handler, NULL);
    struct http_server *const both[] = {server, other};
    int fds[10];
    http_server_deal(server, both, 2);
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = dial();
    passes(5);
    assert_int_equal(http_server_open(server), COUNT(fds) / 2);
    assert_int_equal(http_server_open(other), COUNT(fds) / 2);
    assert_int_equal(http_server_counters(other)->accepted, COUNT(fds) / 2);
    for (size_t i = 0; i < COUNT(fds); i++) {
        say(fds[i], "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        expect(fds[i], ".");
        buf_clear(&heard);
        close(fds[i]);
    }
    http_server_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(draining),
        T(draining_answers_what_was_accepted),
        T(draining_does_not_wait_for_the_silent),
        T(connections_are_dealt_out),
    };
    return cmocka_run_group_tests_name("http_server_drain", tests, NULL, NULL);
}
