/* client_connect.c -- from a target to a connection that may carry a request: resolve, connect, tunnel, TLS.
 *
 * Addresses are tried in order; with more to come each gets half of the time that is left. A plain proxy gets the request itself; towards
 * a TLS upstream it is asked for a tunnel (RFC 9110 §9.3.6). What fails is told later, from the connection's task. */
#include "http/client_internal.h"

#include <errno.h>

/* ---- connecting ---- */

static void connect_failed(struct http_upconn *u, enum error_code code, const char *what)
{
    char where[80], text[240];
    COUNTER_ADD(u->client->counters->connect_failures, 1);
    int i = MIN(u->address, u->answer.count - 1);
    struct str at = i >= 0 ? sock_addr_text(&u->answer.addresses[i], where, sizeof where)
                           : u->target->authority;
    snprintf(text, sizeof text, "%s (%.*s)", what, STR_ARG(at));
    client_fail_later(u, code, text);
}

static void drop_socket(struct http_upconn *u)
{
    loop_remove(u->client->loop, &u->watch);
    if (u->stream.fd >= 0)
        COUNTER_ADD(u->client->counters->open, (uint64_t)-1);
    stream_close(&u->stream);
    u->readable = u->writable = u->peer_closed = false;
}

void client_try_address(struct http_upconn *u)
{
    struct http_client *c = u->client;
    drop_socket(u);
    for (; u->address < u->answer.count; u->address++) {
        int fd = sock_connect(&u->answer.addresses[u->address]);
        if (fd < 0) {
            u->last_errno = errno;
            continue;
        }
        u->state = UP_CONNECTING;
        u->stream.fd = fd;
        u->watch.fd = fd;
        COUNTER_ADD(c->counters->open, 1);
        if (!loop_add(c->loop, &u->watch)) {
            u->last_errno = errno;
            drop_socket(u);
            continue;
        }
        /* With more addresses to try, this one gets half of what is left, so that a black hole does not eat it all. */
        uint64_t now_ns = loop_now_ns(c->loop);
        uint64_t left_ns = u->connect_due_ns > now_ns ? u->connect_due_ns - now_ns : NS_PER_MS;
        u->phase_due_ns = now_ns + (u->address + 1 < u->answer.count ? left_ns / 2 : left_ns);
        client_arm(u);
        return;
    }
    u->address = u->answer.count - 1;
    connect_failed(u, ERR_UPSTREAM_CONNECT, strerror(u->last_errno));
}

void client_resolved(struct resolve_query *q, const struct resolve_answer *a)
{
    struct http_upconn *u = CONTAINER(q, struct http_upconn, query);
    u->state = UP_CONNECTING;
    u->x->resolved_ns = clock_mono_ns();
    u->answer = *a;
    u->address = 0;
    if (a->count == 0) {
        char text[sizeof u->detail];
        struct str host = u->target->proxy ? str_from(u->target->proxy->host) : u->target->host;
        snprintf(text, sizeof text, "%s: %.*s", a->error ? a->error : "no such host",
                 STR_ARG(host));
        COUNTER_ADD(u->client->counters->connect_failures, 1);
        client_fail_later(u, ERR_UPSTREAM_RESOLVE, text);
        return;
    }
    client_try_address(u);
}

/* The connection is ready for a request, which upconn_event then sends. */
static void activate(struct http_upconn *u)
{
    u->state = UP_ACTIVE;
    if (u->client->limits.stamp_arrivals && !u->stream.tls)
        stream_stamp(&u->stream);
    u->x->connected_ns = clock_mono_ns();
    client_set_phase(u, u->x->connected_ns, u->x->answer_timeout_ms);
}

void client_drive_handshake(struct http_upconn *u)
{
    enum io io = stream_handshake(&u->stream);
    if (io == IO_OK)
        activate(u);
    else if (io != IO_AGAIN)
        connect_failed(u, ERR_UPSTREAM_TLS, tls_error(u->stream.tls));
}

static void start_tls(struct http_upconn *u)
{
    bool is_unix = str_starts(u->target->host, STR("unix:")); /* a path is no name to check */
    u->stream.tls = tls_connect(u->target->tls_client, u->stream.fd,
                                is_unix ? u->target->authority : u->target->host);
    if (!u->stream.tls) {
        connect_failed(u, ERR_UPSTREAM_TLS, "TLS could not be set up");
        return;
    }
    if (u->client->limits.stamp_arrivals)
        stream_stamp(&u->stream);
    u->state = UP_HANDSHAKE;
    client_drive_handshake(u);
}

/* Through a proxy to a TLS upstream: RFC 9110 §9.3.6. The request fits any socket's empty send buffer. */
static void start_tunnel(struct http_upconn *u)
{
    const struct proxy_env *proxy = u->target->proxy;
    bool ipv6 = str_find(u->target->host, ':') >= 0;
    char request[1400];
    int n = snprintf(request, sizeof request,
                     "CONNECT %s%.*s%s:%u HTTP/1.1\r\nhost: %s%.*s%s:%u\r\n%s%s%s\r\n",
                     ipv6 ? "[" : "", STR_ARG(u->target->host), ipv6 ? "]" : "", u->target->port,
                     ipv6 ? "[" : "", STR_ARG(u->target->host), ipv6 ? "]" : "", u->target->port,
                     proxy->authorization[0] ? "proxy-authorization: " : "", proxy->authorization,
                     proxy->authorization[0] ? "\r\n" : "");
    struct iovec piece = {request, (size_t)n};
    size_t put;
    u->state = UP_TUNNEL;
    if (n < 0 || (size_t)n >= sizeof request ||
        stream_writev(&u->stream, &piece, 1, &put) != IO_OK || put < (size_t)n)
        connect_failed(u, ERR_UPSTREAM_PROXY, "the request to the proxy could not be sent");
}

/* What is wrong with the proxy's answer of `n` bytes, of which the first are a head of `head_bytes`; NULL: nothing. */
static const char *judge_tunnel(struct http_upconn *u, struct str in, size_t head_bytes, char *text,
                                size_t text_bytes)
{
    struct h1_head *h = &u->client->head;
    const char *why = NULL;
    if (head_bytes == 0)
        return in.n >= u->client->limits.max_head_bytes ? "the proxy's answer is too large"
                                                        : "the proxy closed the connection";
    if (h1_parse_response(in.p, head_bytes, true, h, &why) != ERR_NONE)
        return "the proxy's answer is not valid HTTP";
    if (h->status / 100 != 2) {
        snprintf(text, text_bytes, "the proxy answered %d", h->status);
        return text;
    }
    return head_bytes < in.n ? "the proxy sent more than its answer" : NULL;
}

void client_read_tunnel(struct http_upconn *u)
{
    size_t n = 0;
    enum io io = IO_OK;
    while (io == IO_OK && n == 0 && buf_used(&u->in) < u->client->limits.max_head_bytes) {
        size_t got = 0;
        char *room = buf_room(&u->in, 1024);
        io = room ? stream_read(&u->stream, room, 1024, &got) : IO_FAIL;
        if (io == IO_AGAIN) {
            u->readable = false;
            return;
        }
        buf_wrote(&u->in, got);
        n = got ? h1_head_end(buf_str(&u->in).p, buf_used(&u->in), &u->resume) : 0;
    }
    char text[64];
    const char *wrong = judge_tunnel(u, buf_str(&u->in), n, text, sizeof text);
    if (wrong) {
        connect_failed(u, ERR_UPSTREAM_PROXY, wrong);
        return;
    }
    u->resume = 0;
    buf_fini(&u->in);
    start_tls(u);
}

void client_connected(struct http_upconn *u)
{
    if (!u->writable && !u->peer_closed)
        return;
    int error = sock_error(u->stream.fd);
    if (error) {
        u->last_errno = error;
        u->address++;
        client_try_address(u);
        return;
    }
    COUNTER_ADD(u->client->counters->connects, 1);
    u->x->tcp_ns = clock_mono_ns();
    if (u->target->proxy && u->target->tls)
        start_tunnel(u);
    else if (u->target->tls)
        start_tls(u);
    else
        activate(u);
}
