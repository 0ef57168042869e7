/* The listening side over real sockets: the client here is a plain socket on the same thread, the loop is driven pass by pass. */
#include "http_server_fixture.h"

#include <sys/syscall.h>

#include "certs.h"

/* ---- requests in ---- */

static void pipelined_requests_split_anywhere(void **state)
{
    static const char text[] = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
                               "\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
                               "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
                               "chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
                               "GET /d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    (void)state;
    for (size_t cut = 0; cut < sizeof text; cut++) {
        int fd = dial();
        requests = 0;
        say_bytes(fd, text, cut);
        passes(cut % 3);
        say_bytes(fd, text + cut, sizeof text - 1 - cut);
        expect_end(fd);
        assert_false(heard_reset);
        assert_int_equal(count("HTTP/1.1 200 OK\r\n"), 4);
        assert_int_equal(count("\r\n\r\n1:0:.HTTP"), 1);
        assert_int_equal(count("\r\n\r\n2:5:hello.HTTP"), 1);
        assert_int_equal(count("\r\n\r\n3:5:abcde.HTTP"), 1);
        assert_int_equal(count("connection: close\r\n\r\n4:0:."), 1);
        close(fd);
    }
}

static void many_pipelined_requests_in_one_packet(void **state)
{
    (void)state;
    int fd = dial();
    struct buf b;
    buf_init(&b, 0, NULL);
    for (int i = 0; i < 500; i++)
        assert_true(buf_printf(&b, "GET /p%d HTTP/1.1\r\nHost: h\r\n\r\n", i));
    say_bytes(fd, buf_str(&b).p, buf_used(&b));
    shutdown(
        fd,
        SHUT_WR); /* what was sent before is answered; the last answer says that it is the last */
    expect_end(fd);
    assert_int_equal(count("HTTP/1.1 200 OK\r\n"), 500);
    assert_int_equal(count("\r\n\r\n500:0:."), 1);
    assert_int_equal(count("connection: close"), 1);
    buf_fini(&b);
    hang_up(fd);
}

static void bodies_up_to_the_limit(void **state)
{
    (void)state;
    char text[BODY_MAX * 6 + 200];
    for (int over = 0; over < 2; over++) {
        int n =
            snprintf(text, sizeof text, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
                     BODY_MAX + over);
        memset(text + n, 'b', BODY_MAX + 1);
        int fd = dial();
        say_bytes(fd, text, (size_t)n + BODY_MAX + (size_t)over);
        expect(fd, over ? "413 Content Too Large" : ":4000:bbb");
        hang_up(fd);
        /* The same in chunks of one byte: six bytes for one. */
        n = snprintf(text, sizeof text,
                     "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < BODY_MAX + over; i++, n += 6)
            memcpy(text + n, "1\r\nc\r\n", 6);
        memcpy(text + n, "0\r\n\r\n", 5);
        fd = dial();
        say_bytes(fd, text, (size_t)n + 5);
        expect(fd, over ? "error=body_too_large." : ":4000:ccc");
        if (over)
            expect_end(fd);
        hang_up(fd);
    }
}

static void heads_up_to_the_limit(void **state)
{
    (void)state;
    char text[HEAD_MAX + 100];
    for (int over = 0; over < 2; over++) {
        int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
        memset(text + n, 'x', sizeof text - (size_t)n);
        memcpy(text + HEAD_MAX + over - 4, "\r\n\r\n", 4);
        int fd = dial();
        say_bytes(fd, text, HEAD_MAX + (size_t)over);
        expect(fd, over ? "error=headers_too_large." : ":0:.");
        hang_up(fd);
    }
    memset(text, 'u', sizeof text);
    memcpy(text, "GET /", 5);
    int fd = dial();
    say_bytes(fd, text, sizeof text);
    expect(fd, "error=uri_too_long.");
    hang_up(fd);
}

static void expect_continue(void **state)
{
    static const char head[] =
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    (void)state;
    int fd = ask(head);
    expect(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "ok");
    expect(fd, "1:2:ok.");
    say(fd,
        "GET /later HTTP/1.1\r\nHost: h\r\n\r\n"); /* behind an answer that takes its time, "continue" waits its turn */
    say(fd, head);
    passes(5);
    listen_once(fd);
    assert_int_equal(count("100 Continue"), 1);
    http_reply(waiting, 200, STR("text/plain"), STR_NONE, STR("late"));
    expect_times(fd, "100 Continue", 2);
    assert_true(strstr(buf_str(&heard).p, "late") <
                strstr(strstr(buf_str(&heard).p, "late"), "100 Continue"));
    say(fd, "ok");
    expect(fd, "3:2:ok.");
    hang_up(fd);
    fd = ask(head); /* the body is there already */
    say(fd, "ok");
    expect(fd, "4:2:ok.");
    hang_up(fd);
    check_closes(
        "POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
        "error=not_found.");
    assert_int_equal(count("100 Continue"), 0);
    check_closes("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 200-ok\r\n\r\n",
                 "417");
}

/* The client goes on sending for a while: the answer must not be lost to a reset. */
static void early_errors_survive_an_upload(void **state)
{
    static char block[65536];
    (void)state;
    int fd = ask("POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n");
    for (int sent = 0; sent < 200; passes(1)) {
        ssize_t n = send(fd, block, sizeof block, MSG_NOSIGNAL | MSG_DONTWAIT);
        assert_true(n > 0 || errno == EAGAIN);
        sent += n > 0;
    }
    expect(fd, "error=not_found.");
    expect_end(fd);
    assert_false(heard_reset);
    hang_up(fd);
    assert_int_equal(http_server_open(server), 0);
}

/* ---- answers out ---- */

static void answers_without_a_body(void **state)
{
    (void)state;
    int fd = ask("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\nHEAD /pieces HTTP/1.1\r\nHost: h\r\n\r\nGET "
                 "/204 HTTP/1.1\r\nHost: h\r\n\r\n"
                 "GET /304 HTTP/1.1\r\nHost: h\r\n\r\nGET /z HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(fd, "5:0:.");
    assert_int_equal(count("content-length: 5\r\n\r\nHTTP/1.1 200"), 1);
    assert_int_equal(count("transfer-encoding: chunked\r\n\r\nHTTP/1.1 204 No Content"), 1);
    assert_int_equal(count("content-length"), 2);
    assert_int_equal(count("\r\n\r\nHTTP/1.1 304 Not Modified"), 1);
    assert_int_equal(count("\r\n\r\nHTTP/1.1 200"), 2);
    say(fd,
        "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\nBAD\r\n\r\n"); /* the error is not an answer to HEAD */
    expect(fd, "error=bad_request.");
    hang_up(fd);
}

static void old_clients(void **state)
{
    (void)state;
    check_closes("GET /a HTTP/1.0\r\n\r\n", "connection: close\r\n\r\n1:0:.");
    int fd = ask("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\nConnection: "
                 "keep-alive\r\n\r\n");
    expect(fd, "connection: keep-alive\r\n\r\n3:0:.");
    hang_up(fd);
    check_closes("GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                 "connection: close\r\n\r\nabcde");
    assert_int_equal(count("chunked"), 0);
    fd = ask("GET /abort HTTP/1.0\r\n\r\n"); /* a clean end would say that the answer is whole */
    expect_end(fd);
    assert_true(heard_reset);
    hang_up(fd);
}

static void answers_in_pieces(void **state)
{
    (void)state;
    int fd = ask("GET /pieces HTTP/1.1\r\nHost: h\r\n\r\nGET /headers HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(fd, "x-kind: pieces\r\ntransfer-encoding: "
               "chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n");
    expect(fd, "hhh\r\ncontent-length: 2\r\n\r\nok");
    hang_up(fd);
    check_closes("GET /abort HTTP/1.1\r\nHost: h\r\n\r\n", "3\r\ncde\r\n");
    assert_int_equal(count("0\r\n\r\n"), 0);
    check_closes("GET /short HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
                 "content-length: 10\r\n\r\nabc");
    check_closes("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "connection: close\r\n");
}

static void slow_readers(void **state)
{
    (void)state;
    limits.write_timeout_ms = 600; /* the kernel's own pause at a closed window is 200 */
    stop(NULL);
    start_with(NULL);
    int fd = ask("GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
    uint64_t begin_ns = clock_mono_ns();
    size_t got = 0;
    while (clock_mono_ns() <
           begin_ns + 1000 * NS_PER_MS) { /* slow, but it reads: longer than the time-out */
        static char sink[65536];
        ssize_t n = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
        loop_pass(loop, 0);
        usleep(4000);
    }
    assert_true(got > 0 && gone == 0 && drained > 0);
    begin_ns = clock_mono_ns();
    while (!gone && clock_mono_ns() < begin_ns + 5 * NS_PER_S)
        loop_pass(loop, 10); /* now it does not read */
    assert_int_equal(gone, 1);
    assert_int_equal(http_server_open(server), 0);
    close(fd);
}

/* ---- ends ---- */

static void timeouts_of_every_state(void **state)
{
    (void)state;
    limits.head_timeout_ms = limits.body_timeout_ms = limits.idle_timeout_ms = SHORT_MS;
    stop(NULL);
    start_with(NULL);
    check_closes("GET / HTTP/1.1\r\nHost: h\r\n", "error=request_timeout.");
    check_closes("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab",
                 "HTTP/1.1 408 Request Timeout\r\n");
    int fd = dial(); /* says nothing */
    expect_end(fd);
    assert_int_equal(buf_used(&heard), 0);
    hang_up(fd);
    fd = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n"); /* and nothing more */
    expect_end(fd);
    assert_int_equal(count("HTTP/1.1"), 1);
    hang_up(fd);
    fd = ask("GET / HTTP/1.1\r\nX: "); /* drips: each byte in time, the head not */
    for (int i = 0; i < 100 && send(fd, "x", 1, MSG_NOSIGNAL) == 1 && !count("408"); i++) {
        loop_pass(loop, 5);
        listen_once(fd);
    }
    expect(fd, "error=request_timeout.");
    hang_up(fd);
    fd = ask(
        "GET /later HTTP/1.1\r\nHost: h\r\n\r\n"); /* the handler may take longer than any of them */
    uint64_t end_ns = clock_mono_ns() + 2 * SHORT_MS * NS_PER_MS;
    while (clock_mono_ns() < end_ns)
        loop_pass(loop, 10);
    assert_non_null(waiting);
    http_reply(waiting, 200, STR_NONE, STR_NONE, STR("patience"));
    expect(fd, "patience");
    hang_up(fd);
}

static void clients_that_leave(void **state)
{
    (void)state;
    int fd = ask("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    passes(2);
    assert_non_null(waiting);
    hang_up(fd);
    assert_int_equal(gone, 1);
    fd = ask("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    passes(2);
    shutdown(fd, SHUT_WR); /* waits for an answer that is still being made: taken for leaving */
    expect_end(fd);
    assert_int_equal(gone, 2);
    hang_up(fd);
    fd = ask("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    shutdown(fd, SHUT_WR);
    expect(fd, ":0:.");
    expect_end(fd);
    hang_up(fd);
    fd = ask(
        "GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /never HTTP/1.1\r\nHost: h\r\n\r\n"); /* answered, but not yet flushed */
    passes(2);
    http_begin(waiting, 200, STR_NONE, -1);
    http_body(waiting, STR("x"));
    struct linger reset = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    hang_up(fd);
    assert_int_equal(gone, 3);
    assert_int_equal(http_server_open(server), 0);
    assert_int_equal(http_server_blocks(server)->in_use, 0);
}

static void idle_connections_hold_nothing(void **state)
{
    (void)state;
    int fds[50];
    for (size_t i = 0; i < COUNT(fds); i++) {
        fds[i] = ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
        expect(fds[i], ":3:abc.");
    }
    passes(2);
    assert_int_equal(http_server_open(server), COUNT(fds));
    assert_int_equal(http_server_blocks(server)->in_use, 0);
    for (size_t i = 0; i < COUNT(fds); i++)
        close(fds[i]);
}

static void connections_over_the_limit(void **state)
{
    (void)state;
    limits.max_connections = 1;
    stop(NULL);
    start_with(NULL);
    int kept = dial();
    int fd = ask("");
    expect(fd, "503 Service Unavailable");
    expect_end(fd);
    const char *body = strstr(buf_str(&heard).p, "\r\n\r\n") + 4;
    char wanted[40];
    snprintf(wanted, sizeof wanted, "content-length: %zu\r\n", strlen(body));
    assert_int_equal(count(wanted), 1);
    assert_int_equal(http_server_counters(server)->refused, 1);
    close(fd), close(kept);
}

static void over_tls(void **state)
{
    (void)state;
    struct err e = {0};
    certs_begin();
    cert_put(&(struct cert_wish){.name = "localhost", .san = "IP:127.0.0.1", .is_ca = true});
    struct tls_server *ts =
        tls_server_new(cert_path("localhost", "pem"), cert_path("localhost", "key"), &e);
    struct tls_client *tc =
        tls_client_new(&(struct tls_client_options){.ca_file = cert_path("localhost", "pem")}, &e);
    assert_true(ts && tc);
    stop(NULL);
    start_with(ts);
    int fd = dial();
    struct stream s = {.fd = fd, .tls = tls_connect(tc, fd, STR("127.0.0.1"))};
    while (stream_handshake(&s) == IO_AGAIN)
        loop_pass(loop, 5);
    struct iovec request = {(char *)"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /big HTTP/1.1\r\nHost: "
                                    "h\r\nConnection: close\r\n\r\n",
                            0};
    request.iov_len = strlen(request.iov_base);
    size_t put, got, total = 0;
    static char sink[65536];
    assert_int_equal(stream_writev(&s, &request, 1, &put), IO_OK);
    for (enum io io = IO_OK; io == IO_OK || io == IO_AGAIN; total += got) {
        io = stream_read(&s, sink, sizeof sink, &got);
        if (io == IO_AGAIN)
            loop_pass(loop, 5);
        else
            assert_true(io == IO_OK || io == IO_EOF);
    }
    assert_true(total > BIG_BYTES && total < BIG_BYTES + 1000);
    stream_close(&s);
    passes(2);
    stop(NULL);
    start_with(NULL);
    tls_server_free(ts);
    tls_client_free(tc);
    certs_end((const char *const[]){"localhost"}, 1);
}

/* OpenSSL reads sockets with this read: before the server's, a fast client may do its next step. */
static struct stream *hasty;
static struct iovec hasty_request;
static bool within_read, request_is_sent;

static void make_haste(void)
{
    size_t put;
    if (request_is_sent || stream_handshake(hasty) != IO_OK)
        return;
    assert_int_equal(stream_writev(hasty, &hasty_request, 1, &put), IO_OK);
    request_is_sent = true;
}

ssize_t read(int fd, void *p, size_t n)
{
    if (hasty && fd != hasty->fd && !within_read) {
        within_read = true;
        make_haste();
        within_read = false;
    }
    return syscall(SYS_read, fd, p, n);
}

/* The request comes with the handshake's last bytes: TLS has read both, and no event tells of the request. */
static void a_request_with_the_end_of_the_handshake(void **state)
{
    (void)state;
    struct err e = {0};
    char answer[4096];
    size_t got = 0;
    certs_begin();
    cert_put(&(struct cert_wish){.name = "localhost", .san = "IP:127.0.0.1", .is_ca = true});
    struct tls_server *ts =
        tls_server_new(cert_path("localhost", "pem"), cert_path("localhost", "key"), &e);
    struct tls_client *tc =
        tls_client_new(&(struct tls_client_options){.ca_file = cert_path("localhost", "pem")}, &e);
    stop(NULL);
    start_with(ts);
    int fd = dial();
    struct stream s = {.fd = fd, .tls = tls_connect(tc, fd, STR("127.0.0.1"))};
    hasty_request.iov_base = (char *)"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    hasty_request.iov_len = strlen(hasty_request.iov_base);
    hasty = &s;
    request_is_sent = false;
    enum io io = IO_AGAIN;
    for (int i = 0; i < 200 && io == IO_AGAIN; i++) {
        loop_pass(loop, 5);
        if (request_is_sent)
            io = stream_read(&s, answer, sizeof answer, &got);
    }
    hasty = NULL;
    assert_true(request_is_sent);
    assert_int_equal(io, IO_OK);
    assert_true(got > 12 && memcmp(answer, "HTTP/1.1 200", 12) == 0);
    stream_close(&s);
    passes(2);
    stop(NULL);
    start_with(NULL);
    tls_server_free(ts);
    tls_client_free(tc);
    certs_end((const char *const[]){"localhost"}, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(pipelined_requests_split_anywhere),
        T(many_pipelined_requests_in_one_packet),
        T(bodies_up_to_the_limit),
        T(heads_up_to_the_limit),
        T(expect_continue),
        T(early_errors_survive_an_upload),
        T(answers_without_a_body),
        T(old_clients),
        T(answers_in_pieces),
        T(slow_readers),
        T(timeouts_of_every_state),
        T(clients_that_leave),
        T(idle_connections_hold_nothing),
        T(connections_over_the_limit),
        T(over_tls),
        T(a_request_with_the_end_of_the_handshake),
    };
    return cmocka_run_group_tests_name("http_server", tests, NULL, NULL);
}
