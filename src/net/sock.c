/* sock.c -- socket addresses as text and back, listening, accepting, connecting.
 *
 * Called by http/server.c (listen, accept), http/client.c (connect) and net/resolve.c
 * (addresses). Nothing is kept here: each function is a few system calls and may be called from
 * any thread.
 *
 * Two things are done once on the listener because Linux hands them down to what it accepts:
 * TCP_NODELAY (a frame of a stream must not wait for the acknowledgement of the one before),
 * and, through accept4, the descriptor's flags.
 *
 * A file of a Unix socket outlives its process. Whether it is stale is asked of the socket
 * itself, by connecting: only the kernel knows whether somebody still listens, and a file
 * removed by mistake would cut off a running server. */
#include "net/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct str UNIX_PREFIX = STR("unix:");
enum {
    HOST_TEXT_BYTES = INET6_ADDRSTRLEN + IF_NAMESIZE + 1,
    UNIX_HEAD = offsetof(struct sockaddr_un, sun_path)
};

/* ---- addresses ---- */

static bool parse_unix(struct str path, struct sock_addr *out)
{
    if (path.n == 0 || path.n >= sizeof out->un.sun_path || memchr(path.p, 0, path.n))
        return false;
    out->un.sun_family = AF_UNIX;
    memcpy(out->un.sun_path, path.p, path.n);
    out->len = (socklen_t)(UNIX_HEAD + path.n);
    if (path.p[0] == '@')
        out->un.sun_path[0] = 0; /* abstract: its name is as long as `len` says */
    else
        out->len++; /* the NUL behind a path */
    return true;
}

/* "fe80::1%eth0": a link-local address means nothing without its interface (RFC 4007 section
 * 11). */
static bool parse_ipv6(char *text, uint16_t port, struct sock_addr *out)
{
    char *zone = strchr(text, '%');
    if (zone) {
        *zone++ = 0;
        out->in6.sin6_scope_id = if_nametoindex(zone);
        if (!out->in6.sin6_scope_id)
            return false;
    }
    if (inet_pton(AF_INET6, text, &out->in6.sin6_addr) != 1)
        return false;
    out->in6.sin6_family = AF_INET6;
    out->in6.sin6_port = htons(port);
    out->len = sizeof out->in6;
    return true;
}

bool sock_addr_parse(struct str host, uint16_t port, struct sock_addr *out)
{
    char text[HOST_TEXT_BYTES];
    memset(out, 0, sizeof *out);
    if (str_starts(host, UNIX_PREFIX))
        return parse_unix(str_skip(host, UNIX_PREFIX.n), out);
    bool bracketed = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (bracketed)
        host = (struct str){host.p + 1, host.n - 2};
    if (host.n == 0 || host.n >= sizeof text || memchr(host.p, 0, host.n))
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = 0;
    if (!bracketed && inet_pton(AF_INET, text, &out->in.sin_addr) == 1) {
        out->in.sin_family = AF_INET;
        out->in.sin_port = htons(port);
        out->len = sizeof out->in;
        return true;
    }
    return parse_ipv6(text, port, out);
}

static struct str put_text(char *out, size_t out_bytes, const char *fmt, ...) PRINTF_LIKE(3, 4);
static struct str put_text(char *out, size_t out_bytes, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(out, out_bytes, fmt, args);
    va_end(args);
    ENSURE(n >= 0 && out_bytes > 0);
    return (struct str){out, MIN((size_t)n, out_bytes - 1)};
}

static struct str unix_text(const struct sock_addr *a, char *out, size_t out_bytes)
{
    size_t n = a->len > UNIX_HEAD ? a->len - UNIX_HEAD : 0; /* 0: a client that did not bind */
    if (n > 0 && a->un.sun_path[0] == 0)
        return put_text(out, out_bytes, "unix:@%.*s", (int)n - 1, a->un.sun_path + 1);
    return put_text(out, out_bytes, "unix:%.*s", (int)strnlen(a->un.sun_path, n), a->un.sun_path);
}

static void ipv6_text(const struct sockaddr_in6 *a, char out[HOST_TEXT_BYTES])
{
    char zone[IF_NAMESIZE];
    inet_ntop(AF_INET6, &a->sin6_addr, out, HOST_TEXT_BYTES);
    if (a->sin6_scope_id && if_indextoname(a->sin6_scope_id, zone)) {
        size_t n = strlen(out);
        snprintf(out + n, HOST_TEXT_BYTES - n, "%%%s", zone);
    }
}

struct str sock_addr_host(const struct sock_addr *a, char *out, size_t out_bytes)
{
    char host[HOST_TEXT_BYTES];
    switch (a->any.sa_family) {
    case AF_UNIX: return unix_text(a, out, out_bytes);
    case AF_INET: inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof host); break;
    case AF_INET6:
        /* An IPv4 client on a dual-stack listener: people know it by its IPv4 address. */
        if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
            inet_ntop(AF_INET, &a->in6.sin6_addr.s6_addr[12], host, sizeof host);
        else
            ipv6_text(&a->in6, host);
        break;
    default: return put_text(out, out_bytes, "?");
    }
    return put_text(out, out_bytes, "%s", host);
}

struct str sock_addr_text(const struct sock_addr *a, char *out, size_t out_bytes)
{
    char host[HOST_TEXT_BYTES];
    if (a->any.sa_family != AF_INET && a->any.sa_family != AF_INET6)
        return sock_addr_host(a, out, out_bytes);
    struct str h = sock_addr_host(a, host, sizeof host);
    unsigned port = ntohs(a->any.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
    const char *fmt = str_find(h, ':') >= 0 ? "[%s]:%u" : "%s:%u";
    return put_text(out, out_bytes, fmt, h.p, port);
}

/* ---- listening ---- */

/* What an errno of socket, bind or listen means to the person who chose the address. */
static const char *listen_advice(int error, bool is_unix)
{
    switch (error) {
    case EADDRINUSE:
        return is_unix ? "another program is listening on it"
                       : "the port is in use; another weir may be running (see `ss -ltnp`), or "
                         "choose another "
                         "with --port";
    case EACCES:
        return is_unix ? "no permission to make a file there"
                       : "no permission: ports below 1024 need root or CAP_NET_BIND_SERVICE; "
                         "choose another with "
                         "--port";
    case EADDRNOTAVAIL: return "the address is not one of this machine's (see `ip address`)";
    case EAFNOSUPPORT: return "this machine has no IPv6";
    case ENOENT: return "the folder does not exist";
    case ENOTSOCK: return "a file that is not a socket is in the way";
    case EMFILE: return "too many open files (see `ulimit -n`)";
    default: return strerror(error);
    }
}

static int refuse(const struct sock_addr *a, int fd, int error, struct err *e)
{
    char where[sizeof a->un.sun_path + 16];
    struct str text = sock_addr_text(a, where, sizeof where);
    if (fd >= 0)
        close(fd);
    err_set(e, "cannot listen on %.*s: %s", STR_ARG(text),
            listen_advice(error, a->any.sa_family == AF_UNIX));
    if (e)
        e->os_error = error;
    errno = error;
    return -1;
}

/* 0: the file was left behind by a process that is gone, and is removed. Else an errno: who or
 * what is there. */
static int remove_stale(const struct sock_addr *a)
{
    struct stat st;
    if (a->un.sun_path[0] == 0)
        return EADDRINUSE; /* abstract names vanish with their process */
    if (lstat(a->un.sun_path, &st) != 0)
        return errno == ENOENT ? 0 : errno;
    if (!S_ISSOCK(st.st_mode))
        return ENOTSOCK;
    int fd = sock_connect(a);
    if (fd >= 0)
        close(fd);
    if (fd >= 0 || errno != ECONNREFUSED)
        return EADDRINUSE;
    return unlink(a->un.sun_path) == 0 ? 0 : errno;
}

static int set_on(int fd, int level, int option, int on)
{
    return setsockopt(fd, level, option, &on, sizeof on);
}

static int bind_to(int fd, const struct sock_addr *a)
{
    if (bind(fd, &a->any, a->len) == 0)
        return 0;
    if (errno != EADDRINUSE || a->any.sa_family != AF_UNIX)
        return errno;
    int error = remove_stale(a);
    if (error)
        return error;
    return bind(fd, &a->any, a->len) == 0 ? 0 : errno;
}

static int listen_on(const struct sock_addr *a, bool reuse_port, int backlog, struct err *e)
{
    int family = a->any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return refuse(a, -1, errno, e);
    if (family != AF_UNIX) {
        if (set_on(fd, SOL_SOCKET, SO_REUSEADDR, 1) != 0 ||
            set_on(fd, IPPROTO_TCP, TCP_NODELAY, 1) != 0 ||
            (reuse_port && set_on(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0))
            return refuse(a, fd, errno, e);
        /* The default comes from a sysctl: "::" shall mean all addresses whatever that says. */
        if (family == AF_INET6 &&
            set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY, !IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr)) != 0)
            return refuse(a, fd, errno, e);
    }
    int error = bind_to(fd, a);
    if (error)
        return refuse(a, fd, error, e);
    if (listen(fd, backlog) != 0)
        return refuse(a, fd, errno, e);
    return fd;
}

int sock_listen(struct str host, uint16_t port, bool reuse_port, int backlog, struct err *e)
{
    struct sock_addr a;
    if (str_eq(host, STR("*"))) {
        ENSURE(sock_addr_parse(STR("::"), port, &a));
        struct err ignored = {0};
        int fd = listen_on(&a, reuse_port, backlog, &ignored);
        if (fd >= 0 || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)) {
            if (fd < 0 && e && !e->text[0])
                *e = ignored;
            return fd;
        }
        host = STR("0.0.0.0"); /* no IPv6 here */
    }
    if (str_ieq(host, STR("localhost")))
        host = STR("127.0.0.1");
    if (sock_addr_parse(host, port, &a))
        return listen_on(&a, reuse_port, backlog, e);
    err_set(e,
            "cannot listen on \"%.*s\": expected an IP address of this machine, \"*\" for all, or "
            "unix:/path (at "
            "most %zu bytes)",
            STR_ARG(host), sizeof a.un.sun_path - 1);
    errno = EINVAL;
    return -1;
}

/* ---- connections ---- */

/* accept(2): errors of the connection that was waiting come out of accept; the next one may be
 * fine. */
static bool is_peers_fault(int error)
{
    static const int faults[] = {ECONNABORTED, EINTR,        EPROTO,     ENETDOWN,   ENOPROTOOPT,
                                 EHOSTDOWN,    EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH};
    for (size_t i = 0; i < COUNT(faults); i++) {
        if (error == faults[i])
            return true;
    }
    return false;
}

int sock_accept(int listener, struct sock_addr *peer)
{
    int fd;
    do {
        socklen_t len = sizeof(struct sockaddr_storage);
        fd = accept4(listener, peer ? &peer->any : NULL, peer ? &len : NULL,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (peer)
            peer->len = len;
    } while (fd < 0 && is_peers_fault(errno));
    return fd;
}

int sock_connect(const struct sock_addr *to)
{
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    bool ready = to->any.sa_family == AF_UNIX || set_on(fd, IPPROTO_TCP, TCP_NODELAY, 1) == 0;
    if (ready && (connect(fd, &to->any, to->len) == 0 || errno == EINPROGRESS))
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int sock_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

uint64_t sock_raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    rlim_t soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : soft;
}
