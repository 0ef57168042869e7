/* Socket activation: what is taken, what is refused with which sentence, and that the variables are gone afterwards. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/activation.h"
#include "net/sock.h"

#define TOP_FD 20 /* descriptors 3 to TOP_FD - 1 are the tests' own, where nothing else is */

static void put_at(int fd, int at)
{
    assert_true(fd >= 0);
    if (fd == at)
        return;
    assert_int_equal(dup2(fd, at), at);
    close(fd);
}

static void clear(void)
{
    for (int fd = 3; fd < TOP_FD; fd++)
        close(fd);
}

static int tcp(void)
{
    struct err e = {0};
    int fd = sock_listen(STR("127.0.0.1"), 0, false, 16, &e);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0); /* as systemd may have it: blocking, inherited */
    assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
    return fd;
}

static int unix_stream(void)
{
    struct err e = {0};
    char name[64];
    int n = snprintf(name, sizeof name, "unix:@weir-activation-%d", (int)getpid());
    return sock_listen((struct str){name, (size_t)n}, 0, false, 16, &e);
}

static void set(int pid, const char *count, const char *names)
{
    char text[16];
    snprintf(text, sizeof text, "%d", pid);
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDS", count, 1);
    if (names)
        setenv("LISTEN_FDNAMES", names, 1);
    else
        unsetenv("LISTEN_FDNAMES");
}

static bool take(struct activation *a, struct err *e)
{
    *e = (struct err){0};
    bool good = activation_take(a, "http", e);
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_FDNAMES"));
    assert_int_equal(good, e->text[0] == '\0');
    return good;
}

static void sockets_are_taken_and_prepared(void **state)
{
    (void)state;
    struct activation a;
    struct err e;
    clear();
    put_at(tcp(), 3);
    put_at(unix_stream(), 4);
    set((int)getpid(), "2", "http:litellm.socket");
    assert_true(take(&a, &e));
    assert_int_equal(a.count, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(a.fds[i], 3 + i);
        assert_true(fcntl(a.fds[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(a.fds[i], F_GETFD) & FD_CLOEXEC);
    }
    int on = 0;
    socklen_t bytes = sizeof on;
    assert_int_equal(getsockopt(3, IPPROTO_TCP, TCP_NODELAY, &on, &bytes), 0);
    assert_int_equal(on, 1);
    assert_true(take(&a, &e)); /* once */
    assert_int_equal(a.count, 0);
}

static void names_systemd_gives_by_itself_are_ours(void **state)
{
    (void)state;
    static const char *const names[] = {NULL, "", "http", "unknown", "litellm.socket"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct activation a;
        struct err e;
        clear();
        put_at(tcp(), 3);
        set((int)getpid(), "1", names[i]);
        assert_true(take(&a, &e));
        assert_int_equal(a.count, 1);
    }
}

static void what_is_meant_for_another_process_is_left_alone(void **state)
{
    (void)state;
    struct activation a;
    struct err e;
    clear();
    put_at(socket(AF_INET, SOCK_DGRAM, 0), 3); /* would be refused */
    set((int)getpid() + 1, "1", NULL);
    assert_true(take(&a, &e));
    assert_int_equal(a.count, 0);
    unsetenv("LISTEN_FDS");
    assert_true(take(&a, &e));
    assert_int_equal(a.count, 0);
    setenv("LISTEN_FDS", "1", 1); /* no LISTEN_PID: not the protocol */
    assert_true(take(&a, &e));
    assert_int_equal(a.count, 0);
}

static void refuse(const char *count, const char *names, const char *says)
{
    struct activation a;
    struct err e;
    set((int)getpid(), count, names);
    assert_false(take(&a, &e));
    if (!strstr(e.text, says))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
}

static void what_cannot_be_used_is_named(void **state)
{
    (void)state;
    int ends[2];
    clear();
    refuse("1", NULL, "descriptor 3 (\"\") cannot be used: it is not open");
    put_at(tcp(), 3);
    refuse("1", "metrics", "is called \"metrics\"; expected FileDescriptorName=http");
    refuse("1", "connection", "is called \"connection\"");
    refuse("1", "stored", "is called \"stored\"");
    refuse("2", "http:x", "descriptor 4 (\"x\") cannot be used: it is not open");
    refuse("many", NULL, "LISTEN_FDS: expected a number from 0 to 64, got \"many\"");
    refuse("-1", NULL, "LISTEN_FDS: expected");
    refuse("65", NULL, "LISTEN_FDS: expected");
    put_at(socket(AF_INET, SOCK_DGRAM, 0), 3);
    refuse("1", "http", "it is not a stream socket: use ListenStream=");
    put_at(socket(AF_INET, SOCK_STREAM, 0), 3);
    refuse("1", "http", "it does not listen, it is one connection: use Accept=no");
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    put_at(ends[0], 3);
    refuse("1", "http", "it is not a stream socket");
    close(ends[1]);
    put_at(open("/dev/null", O_RDONLY), 3);
    refuse("1", "http", "it is not a socket");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockets_are_taken_and_prepared),
        cmocka_unit_test(names_systemd_gives_by_itself_are_ours),
        cmocka_unit_test(what_is_meant_for_another_process_is_left_alone),
        cmocka_unit_test(what_cannot_be_used_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
