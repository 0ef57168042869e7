/* listen.c -- which sockets the workers listen on.
 *
 *   of our own    one a worker, of one port (SO_REUSEPORT): the kernel spreads connections, and no worker wakes for another's
 *   Unix          one socket, a descriptor of it a worker
 *   taken over    from the weir that ran before (handover.c): the same, as many as it had
 *   systemd's     (net/activation.c) each worker on each of them. No sockets of our own beside them: what waits in the queue of systemd's is
 *                 answered by the next process, what waits in one of ours would be reset when this one ends
 *
 * A shared socket wakes every idle worker for each connection, and the first to come accepts. Of 200 connections one of two workers got 186 so, and with
 * EPOLLEXCLUSIVE all 200; so who accepts deals them out (http_server_deal). (EPOLLEXCLUSIVE would also lose the wake-up for a connection when the
 * worker that was chosen stops listening at that moment, and a successor has the same socket.) */
#include "gateway/gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/diag.h"

#define LISTEN_BACKLOG 4096

static bool address_of(int fd, struct sock_addr *a)
{
    *a = (struct sock_addr){.len = sizeof a->storage};
    return getsockname(fd, &a->any, &a->len) == 0;
}

static uint16_t port_of(int fd)
{
    struct sock_addr a;
    if (!address_of(fd, &a))
        return 0;
    return a.any.sa_family == AF_INET    ? ntohs(a.in.sin_port)
           : a.any.sa_family == AF_INET6 ? ntohs(a.in6.sin6_port)
                                         : 0;
}

/* SO_REUSEPORT would let a second weir share the port unnoticed: so first ask for it alone. */
static bool port_is_free(struct gateway *g, struct err *e)
{
    const struct config *c = g->snapshot->config;
    int fd = sock_listen(c->host, (uint16_t)c->port, false, LISTEN_BACKLOG, e);
    if (fd < 0)
        return false;
    g->listening.port = port_of(fd);
    close(fd);
    return true;
}

static bool listen_with(struct gateway *g, int worker, int fd)
{
    return http_server_listen(g->workers[worker].server, fd, g->snapshot->tls_listen);
}

static bool listen_on(struct gateway *g, int worker, int fd)
{
    struct listeners *l = &g->listening;
    if (!listen_with(g, worker, fd))
        return false;
    l->fds[l->count++] = fd;
    return true;
}

static void share(struct gateway *g)
{
    g->sharing = mem_alloc((size_t)g->worker_count * sizeof(struct http_server *));
    for (int w = 0; w < g->worker_count; w++) {
        g->sharing[w] = g->workers[w].server;
        http_server_deal(g->workers[w].server, g->sharing, g->worker_count);
    }
}

/* Every socket taken over is listened on by one worker at least: whoever waits in its queue is served. Workers beyond them get a
 * socket of their own, or share one. */
static bool listen_inherited(struct gateway *g, const struct listeners *in, struct err *e)
{
    struct str host = g->snapshot->config->host;
    bool is_unix = str_starts(host, STR("unix:"));
    int count = MAX(in->count, g->worker_count);
    g->listening.port = in->port;
    if (is_unix)
        share(g);
    for (int i = 0; i < count; i++) {
        int fd = i < in->count ? in->fds[i] : -1;
        if (fd < 0 && !is_unix)
            fd = sock_listen(host, g->listening.port, true, LISTEN_BACKLOG, NULL);
        if (fd < 0)
            fd = fcntl(in->fds[0], F_DUPFD_CLOEXEC, 0);
        if (fd < 0 || !listen_on(g, i % g->worker_count, fd))
            return err_set(e, "cannot listen on a socket taken over: %s", strerror(errno));
    }
    return true;
}

/* Each socket is listed once, as the first worker has it: so a successor gets each of them once, too, for however many workers. */
static bool listen_activated(struct gateway *g, const struct listeners *in, struct err *e)
{
    g->listening.activated = true;
    share(g);
    for (int i = 0; i < in->count; i++) {
        if (!g->listening.port)
            g->listening.port = port_of(in->fds[i]);
        for (int w = 0; w < g->worker_count; w++) {
            int fd = w == 0 ? in->fds[i] : fcntl(in->fds[i], F_DUPFD_CLOEXEC, 0);
            if (fd < 0 || !(w == 0 ? listen_on : listen_with)(g, w, fd))
                return err_set(e, "cannot listen on a socket of systemd's: %s", strerror(errno));
        }
    }
    return true;
}

static bool listen_all(struct gateway *g, struct err *e)
{
    struct str host = g->snapshot->config->host;
    bool is_unix = str_starts(host, STR("unix:"));
    int shared = -1;
    if (!is_unix && !port_is_free(g, e))
        return false;
    if (is_unix)
        share(g);
    for (int i = 0; i < g->worker_count; i++) {
        int fd;
        if (is_unix && shared >= 0)
            fd = fcntl(shared, F_DUPFD_CLOEXEC, 0);
        else
            fd = sock_listen(host, g->listening.port, true, LISTEN_BACKLOG, e);
        if (fd < 0)
            return err_set(e, "cannot listen: %s", strerror(errno));
        shared = fd;
        if (!listen_on(g, i, fd))
            return err_set(e, "cannot watch the listening socket: %s", strerror(errno));
    }
    return true;
}

bool gateway_listen(struct gateway *g, struct err *e)
{
    snprintf(g->listening.host, sizeof g->listening.host, "%.*s",
             STR_ARG(g->snapshot->config->host));
    if (!g->inherited)
        return listen_all(g, e);
    return g->inherited->activated ? listen_activated(g, g->inherited, e)
                                   : listen_inherited(g, g->inherited, e);
}

/* ---- where that is ---- */

static bool is_any(const struct sock_addr *a)
{
    return a->any.sa_family == AF_INET ? a->in.sin_addr.s_addr == htonl(INADDR_ANY)
                                       : IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

void gateway_address(const struct gateway *g, char out[GATEWAY_ADDRESS_BYTES])
{
    const char *scheme = g->snapshot->tls_listen ? "https" : "http";
    struct sock_addr a;
    char text[200];
    if (!g->listening.count || !address_of(g->listening.fds[0], &a)) {
        snprintf(out, GATEWAY_ADDRESS_BYTES, "%s", g->listening.host);
        return;
    }
    struct str where = sock_addr_text(&a, text, sizeof text);
    if (a.any.sa_family == AF_UNIX)
        snprintf(out, GATEWAY_ADDRESS_BYTES, "%.*s", STR_ARG(where));
    else if (is_any(&a))
        snprintf(out, GATEWAY_ADDRESS_BYTES, "%s://localhost:%u", scheme,
                 port_of(g->listening.fds[0]));
    else
        snprintf(out, GATEWAY_ADDRESS_BYTES, "%s://%.*s", scheme, STR_ARG(where));
}
