/* The kernel's receive times: they tell when bytes came, not when the program found time to read them; plain, over TLS and through the client. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "certs.h"
#include "http/client.h"
#include "net/stamp.h"

/* A program that is busy elsewhere. */
#define BUSY_MS 30
/* What two clocks and a loopback may differ by, generously. */
#define SLACK_NS (BUSY_MS * NS_PER_MS / 2)

static int listener, held;
static uint16_t port;

/* Two ends of a TCP connection. */
static void connect_both(int *client, int *server)
{
    struct sock_addr to;
    assert_true(sock_addr_parse(STR("127.0.0.1"), port, &to));
    *client = sock_connect(&to);
    assert_true(*client >= 0);
    for (*server = -1; *server < 0; usleep(1000))
        *server = sock_accept(listener, NULL);
}

/* The kernel begins to note times a moment after the first socket has asked for them. */
static void await_stamps(void)
{
    int fds[2];
    char p[16];
    uint64_t arrived_ns = 0, read_ns = 0;
    connect_both(&fds[0], &fds[1]);
    assert_true(stamp_enable(fds[0]));
    for (int i = 0; i < 2000 && !arrived_ns; i++) {
        assert_int_equal(send(fds[1], "?", 1, 0), 1);
        usleep(1000);
        uint64_t before_ns = clock_mono_ns();
        assert_int_equal(stamp_recv(fds[0], p, sizeof p, &arrived_ns, &read_ns), 1);
        assert_true(!arrived_ns == !read_ns && arrived_ns <= read_ns);
        assert_true(!read_ns || (before_ns <= read_ns && read_ns <= clock_mono_ns()));
    }
    assert_true(arrived_ns);
    close(fds[0]);
    close(fds[1]);
}

static int begin(void **state)
{
    (void)state;
    struct err e = {0};
    struct sockaddr_in at;
    socklen_t n = sizeof at;
    signal(SIGPIPE, SIG_IGN);
    listener = sock_listen(STR("127.0.0.1"), 0, false, 4, &e);
    assert_true(listener >= 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &n), 0);
    port = ntohs(at.sin_port);
    held = stamp_hold();
    assert_true(held >= 0);
    await_stamps();
    return 0;
}

static int end(void **state)
{
    (void)state;
    close(listener);
    close(held);
    return 0;
}

/* Was it when the bytes were sent, and not when they were read? */
static void assert_arrived(uint64_t arrived_ns, uint64_t before_ns, uint64_t read_ns)
{
    assert_true(arrived_ns + SLACK_NS > before_ns);
    assert_true(arrived_ns + BUSY_MS * NS_PER_MS - SLACK_NS < read_ns);
}

static void a_read_tells_when_its_bytes_came(void **state)
{
    (void)state;
    int fds[2];
    char p[16];
    connect_both(&fds[0], &fds[1]);
    struct stream s = {.fd = fds[0]};
    stream_stamp(&s);
    assert_true(s.stamped);
    for (int i = 0; i < 3; i++) {
        size_t got;
        uint64_t before_ns = clock_mono_ns();
        assert_int_equal(send(fds[1], "token", 5, 0), 5);
        usleep(BUSY_MS * 1000);
        assert_int_equal(stream_read(&s, p, sizeof p, &got), IO_OK);
        assert_int_equal(got, 5);
        assert_arrived(s.arrived_ns, before_ns, clock_mono_ns());
        assert_int_equal(stream_read(&s, p, sizeof p, &got), IO_AGAIN);
    }
    assert_true(stamp_error_ns() > 0 && stamp_error_ns() < NS_PER_MS);
    stream_close(&s);
    close(fds[1]);
}

static void a_socket_without_stamps_still_reads(void **state)
{
    (void)state;
    int fds[2];
    char p[16];
    size_t got;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct stream s = {.fd = fds[0]};
    stream_stamp(&s);
    assert_int_equal(send(fds[1], "ok", 2, 0), 2);
    assert_int_equal(stream_read(&s, p, sizeof p, &got), IO_OK);
    assert_int_equal(got, 2);
    assert_int_equal(s.arrived_ns, 0);
    close(fds[1]);
    assert_int_equal(stream_read(&s, p, sizeof p, &got), IO_EOF);
    stream_close(&s);
}

static void tls_records_tell_too(void **state)
{
    (void)state;
    struct err e = {0};
    int fds[2];
    char p[16];
    size_t got = 0;
    certs_begin();
    cert_put(&(struct cert_wish){.name = "ca", .san = "IP:127.0.0.1", .is_ca = true});
    struct tls_server *ts = tls_server_new(cert_path("ca", "pem"), cert_path("ca", "key"), &e);
    struct tls_client *tc =
        tls_client_new(&(struct tls_client_options){.ca_file = cert_path("ca", "pem")}, &e);
    assert_true(ts && tc);
    connect_both(&fds[0], &fds[1]);
    struct stream c = {.fd = fds[0], .tls = tls_connect(tc, fds[0], STR("127.0.0.1"))};
    struct stream s = {.fd = fds[1], .tls = tls_accept(ts, fds[1])};
    stream_stamp(&c);
    for (enum io a = IO_AGAIN, b = IO_AGAIN; a == IO_AGAIN || b == IO_AGAIN; usleep(1000)) {
        a = stream_handshake(&c);
        b = stream_handshake(&s);
        assert_true(a != IO_FAIL && b != IO_FAIL);
    }
    assert_string_equal(tls_version(c.tls), "TLSv1.3");
    assert_true(strlen(tls_cipher(c.tls)) > 8);
    while (stream_read(&c, p, sizeof p, &got) == IO_OK) /* session tickets */
        ;
    uint64_t before_ns = clock_mono_ns();
    struct iovec piece = {(char *)"token", 5};
    assert_int_equal(stream_writev(&s, &piece, 1, &got), IO_OK);
    usleep(BUSY_MS * 1000);
    assert_int_equal(stream_read(&c, p, sizeof p, &got), IO_OK);
    assert_int_equal(got, 5);
    assert_arrived(c.arrived_ns, before_ns, clock_mono_ns());
    stream_close(&s);
    while (stream_read(&c, p, sizeof p, &got) == IO_AGAIN)
        usleep(1000);
    stream_close(&c);
    tls_server_free(ts);
    tls_client_free(tc);
    certs_end((const char *const[]){"ca"}, 1);
}

/* ---- through the client ---- */

static struct {
    int heads, pieces, done;
    enum error_code failed;
    uint64_t head_arrived_ns, body_arrived_ns;
} seen;

static void on_head(struct http_exchange *x, const struct h1_head *h)
{
    (void)h;
    seen.heads++;
    seen.head_arrived_ns = x->arrived_ns;
}
static void on_body(struct http_exchange *x, struct str piece)
{
    (void)piece;
    seen.pieces++;
    seen.body_arrived_ns = x->arrived_ns;
    assert_true(x->arrived_by_kernel);
}
static void on_done(struct http_exchange *x)
{
    (void)x;
    seen.done++;
}
static void on_fail(struct http_exchange *x, enum error_code code, const char *detail)
{
    (void)x, (void)detail;
    seen.failed = code;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void passes_until(struct loop *l, const int *counter)
{
    for (int i = 0; i < 2000 && !*counter && seen.failed == ERR_NONE; i++)
        loop_pass(l, 5);
    assert_true(*counter);
}

/* One exchange whose head and body come apart, while the program is busy. */
static void ask_and_be_late(struct loop *l, struct http_client *c, struct http_exchange *x, int *fd)
{
    char request[200];
    memset(&seen, 0, sizeof seen);
    uint64_t before_ns = clock_mono_ns();
    http_send(c, x);
    assert_int_equal(seen.done, 0);
    bool kept = *fd >= 0;
    if (kept) /* at_once: it is there although no pass was made */
        assert_true(recv(*fd, request, sizeof request, 0) > 0);
    while (*fd < 0) {
        loop_pass(l, 5);
        *fd = sock_accept(listener, NULL);
    }
    while (!kept && recv(*fd, request, sizeof request, MSG_DONTWAIT) < 0)
        loop_pass(l, 5);
    say(*fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    usleep(BUSY_MS * 1000);
    passes_until(l, &seen.heads);
    assert_arrived(seen.head_arrived_ns, before_ns, x->read_ns);
    assert_true(x->first_byte_ns == seen.head_arrived_ns && x->first_byte_ns >= x->send_began_ns);
    uint64_t between_ns = clock_mono_ns();
    say(*fd, "ok");
    usleep(BUSY_MS * 1000);
    passes_until(l, &seen.done);
    assert_arrived(seen.body_arrived_ns, between_ns, x->read_ns);
    assert_true(seen.body_arrived_ns > seen.head_arrived_ns);
    assert_int_equal(x->reused, kept);
    assert_true(kept ? !x->tcp_ns : x->resolved_ns && x->tcp_ns >= x->resolved_ns);
    assert_true(x->send_began_ns >= x->started_ns && x->sent_ns >= x->send_began_ns);
}

static void exchanges_tell_when_their_bytes_came(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    struct resolver *r = resolver_new(l);
    struct pool blocks;
    pool_init(&blocks, BUF_BLOCK_BYTES, 8, "blocks");
    struct http_client_limits limits = {.connect_timeout_ms = 5000,
                                        .idle_timeout_ms = 20000,
                                        .max_head_bytes = 8192,
                                        .max_idle_per_target = 4,
                                        .stamp_arrivals = true};
    struct http_client *c = http_client_new(l, r, &blocks, &limits, 1);
    struct http_target target = {.host = STR("127.0.0.1"), .port = port, .authority = STR("h")};
    struct iovec piece = {(char *)"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27};
    struct http_exchange x = {.target = &target,
                              .pieces = &piece,
                              .piece_count = 1,
                              .at_once = true,
                              .on_head = on_head,
                              .on_body = on_body,
                              .on_done = on_done,
                              .on_fail = on_fail};
    int fd = -1;
    for (int i = 0; i < 3; i++)
        ask_and_be_late(l, c, &x, &fd);

    /* Written at once into a connection that breaks: what fails is told later, and once. */
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    memset(&seen, 0, sizeof seen);
    http_send(c, &x);
    assert_true(seen.failed == ERR_NONE && seen.done == 0);
    fd = -1;
    while (fd < 0 && seen.failed == ERR_NONE) { /* it was stale: a new one is made */
        loop_pass(l, 5);
        fd = sock_accept(listener, NULL);
    }
    assert_int_equal(seen.failed, ERR_NONE);
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    passes_until(l, &seen.done);
    close(fd);
    http_client_free(c);
    pool_trim(&blocks);
    resolver_free(r);
    loop_free(l);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_read_tells_when_its_bytes_came),
        T(a_socket_without_stamps_still_reads),
        T(tls_records_tell_too),
        T(exchanges_tell_when_their_bytes_came),
    };
    return cmocka_run_group_tests_name("stamp", tests, NULL, NULL);
}
