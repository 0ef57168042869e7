/* http_server_fixture.h -- a server on the test's own loop, a handler that does what the path says, and a client that is a plain socket on the same
 * thread: the loop is driven pass by pass. Every function is static: each test binary has its own. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "http/server.h"

enum {
    BODY_MAX = 4000,
    HEAD_MAX = 8192,
    SHORT_MS = 60,
    LONG_MS = 20000,
    BIG_BYTES = 24 * 1024 * 1024
};

static struct loop *loop;
static struct http_server *server;
static uint16_t port;
static struct http_limits limits;
static struct http_conn *waiting;   /* of "/later" */
static int gone, requests, drained; /* calls of the handler */
static size_t big_left;

/* ---- the handler: what it does is in the path ---- */

static inline enum error_code on_head(struct http_conn *c, const struct h1_head *h)
{
    (void)c;
    return str_eq(h->path, STR("/refuse")) ? ERR_NOT_FOUND : ERR_NONE;
}

static inline void send_big(struct http_conn *c)
{
    static const char block[65536] = {'x'};
    while (big_left && !http_blocked(c) && http_queued(c) < sizeof block) {
        size_t n = MIN(big_left, sizeof block);
        http_body(c, (struct str){block, n});
        big_left -= n;
        http_flush_now(c);
    }
    if (!big_left)
        http_end(c);
}

static inline void reply_in_pieces(struct http_conn *c, bool whole)
{
    http_begin(c, 200, STR("x-kind: pieces\r\n"), -1);
    http_body(c, STR("ab"));
    http_body(c, STR_NONE);
    http_body(c, STR("cde"));
    if (whole)
        http_end(c);
    else
        http_abort(c);
}

static inline void on_request(struct http_conn *c, struct http_request *r)
{
    static char huge[5000];
    struct str path = r->head->path;
    requests++;
    if (str_eq(path, STR("/later"))) {
        waiting = c;
    } else if (str_eq(path, STR("/pieces")) || str_eq(path, STR("/abort"))) {
        reply_in_pieces(c, str_eq(path, STR("/pieces")));
    } else if (str_eq(path, STR("/204")) || str_eq(path, STR("/304"))) {
        http_reply(c, path.p[1] == '2' ? 204 : 304, STR_NONE, STR_NONE, STR_NONE);
    } else if (str_eq(path, STR("/short"))) {
        http_begin(c, 200, STR_NONE, 10);
        http_body(c, STR("abc"));
        http_end(c);
    } else if (str_eq(path, STR("/headers"))) {
        memset(huge, 'h', sizeof huge);
        memcpy(huge, "x-huge: ", 8);
        memcpy(huge + sizeof huge - 2, "\r\n", 2);
        http_reply(c, 200, STR("text/plain"), (struct str){huge, sizeof huge}, STR("ok"));
    } else if (str_eq(path, STR("/big"))) {
        big_left = BIG_BYTES;
        http_begin(c, 200, STR_NONE, BIG_BYTES);
        send_big(c);
    } else {
        char text[BODY_MAX + 64];
        int n = snprintf(text, sizeof text, "%d:%zu:%.*s.", requests, r->body.n,
                         (int)MIN(r->body.n, (size_t)20), r->body.p ? r->body.p : "");
        http_release_body(c);
        http_reply(c, 200, STR("text/plain"), STR_NONE, (struct str){text, (size_t)n});
    }
}

static inline void on_drained(struct http_conn *c)
{
    drained++;
    if (big_left)
        send_big(c);
}

static inline void on_gone(struct http_conn *c)
{
    gone++;
    if (c == waiting)
        waiting = NULL;
}

static inline void write_error(struct http_conn *c, enum error_code code, const char *detail,
                               struct buf *body)
{
    (void)c, (void)detail;
    assert_true(buf_printf(body, "error=%s.", error_info(code)->name));
}

static const struct http_handler handler = {on_head, on_request,  on_drained,
                                            on_gone, write_error, NULL};

/* ---- the client ---- */

static struct buf heard; /* from the connection asked last */
static bool heard_end, heard_reset;

static inline int dial(void)
{
    struct sock_addr a;
    assert_true(sock_addr_parse(STR("127.0.0.1"), port, &a));
    int fd = sock_connect(&a);
    assert_true(fd >= 0);
    buf_clear(&heard);
    heard_end = heard_reset = false;
    loop_pass(loop, 100);
    return fd;
}

static inline void say_bytes(int fd, const char *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
}
static inline void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

static inline void listen_once(int fd)
{
    char *room = buf_room(&heard, 65536);
    ssize_t n = recv(fd, room, 65535, MSG_DONTWAIT);
    if (n > 0)
        buf_wrote(&heard, (size_t)n);
    heard_end |= n == 0;
    heard_reset |= n < 0 && errno == ECONNRESET;
    room = buf_room(&heard, 1);
    room[0] = 0;
}

static inline int count(const char *what)
{
    int n = 0;
    for (const char *at = buf_str(&heard).p; at && (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

/* Runs the loop until `what` was heard `times` times; NULL: until the connection ended. */
static inline void expect_times(int fd, const char *what, int times)
{
    uint64_t end_ns = clock_mono_ns() + 5 * NS_PER_S;
    for (;;) {
        listen_once(fd);
        if (what ? count(what) >= times : heard_end || heard_reset)
            return;
        if (clock_mono_ns() > end_ns || (what && (heard_end || heard_reset)))
            fail_msg("expected %d of \"%s\"; heard \"%.500s\" %s", times, what ? what : "(end)",
                     buf_str(&heard).p, heard_end ? "and the end" : "");
        loop_pass(loop, 2);
    }
}

static inline void expect(int fd, const char *what)
{
    expect_times(fd, what, 1);
}
static inline void expect_end(int fd)
{
    expect_times(fd, NULL, 0);
}

static inline void passes(int n)
{
    for (int i = 0; i < n; i++)
        loop_pass(loop, 1);
}

static inline void hang_up(int fd)
{
    close(fd);
    passes(2);
}

static inline int ask(const char *text)
{
    int fd = dial();
    say(fd, text);
    return fd;
}

/* One exchange that must contain `want` and then end. */
static inline void check_closes(const char *text, const char *want)
{
    int fd = ask(text);
    expect(fd, want);
    expect_end(fd);
    assert_false(heard_reset);
    hang_up(fd);
}

static inline int start_with(struct tls_server *tls)
{
    struct err e = {0};
    struct sockaddr_in at;
    socklen_t n = sizeof at;
    loop = loop_new();
    server = http_server_new(loop, &limits, &handler, NULL);
    int fd = sock_listen(STR("127.0.0.1"), 0, false, 512, &e);
    assert_true(fd >= 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    port = ntohs(at.sin_port);
    assert_true(http_server_listen(server, fd, tls));
    gone = requests = drained = 0;
    waiting = NULL;
    big_left = 0;
    buf_init(&heard, 0, NULL);
    return 0;
}

static inline int start(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    limits = (struct http_limits){.max_head_bytes = HEAD_MAX,
                                  .max_body_bytes = BODY_MAX,
                                  .max_connections = 1000,
                                  .head_timeout_ms = LONG_MS,
                                  .body_timeout_ms = LONG_MS,
                                  .idle_timeout_ms = LONG_MS,
                                  .write_timeout_ms = LONG_MS};
    return start_with(NULL);
}

static inline int stop(void **state)
{
    (void)state;
    http_server_free(server);
    loop_free(loop);
    buf_fini(&heard);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
