/* server.c -- the listening side of HTTP/1.1: connections, requests in, answers out.
 *
 * A connection walks   HANDSHAKE -> READING -> HANDLING -> READING ...   and ends in CLOSING (flush what is queued) or LINGER
 * (answer sent, input thrown away for a moment so that a reset does not destroy it on its way).
 *   READING   bytes gather in `in`: first the head, then the body. Chunked bodies are unpacked in place.
 *   HANDLING  the handler has the request; nothing is read, so pipelined requests wait in the kernel.
 * A client that shuts down its side while an answer is being made has left (as nginx sees it): the handler is told through on_gone. What
 * was answered at once, within on_request, still reaches it.
 * Answers gather in `out`; the flush task sends them at the end of the loop's pass. A socket that is full is waited for.
 *
 * Memory: an idle connection holds its struct and nothing else; `in`, `out` and the parsed head come from the worker's pools
 * when there is something to hold. Sockets are watched edge-triggered, so `readable` remembers input that was not read yet.
 * Thread: the loop's, always. Users: gateway/ and mock/ through struct http_handler. */
#include "http/server_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/diag.h"

/* ---- small things ---- */

void server_set_timeout(struct http_conn *c, int64_t ms)
{
    uint64_t now_ns = loop_now_ns(c->server->loop);
    timer_set(c->server->loop, &c->timer,
              ms > 0 ? now_ns + (uint64_t)ms * NS_PER_MS : now_ns + FAR_NS);
}

static void conn_release(void *owner, void *p)
{
    struct http_server *s = owner;
    struct http_conn *c = p;
    c->magic = 0;
    pool_put(&s->conns, c);
}

void server_forget_request(struct http_conn *c)
{
    if (c->head) {
        pool_put(&c->server->heads, c->head);
        c->head = NULL;
    }
    if (c->raw_at) {
        buf_consume(&c->in, c->raw_at);
        c->raw_at = 0;
    }
    c->head_bytes = c->resume = c->body_bytes = 0;
    c->in_body = c->head_timed = false;
    c->request = (struct http_request){0};
}

/* The end of a connection, from any state; the handler learns of it if it holds a request. */
void server_close(struct http_conn *c)
{
    struct http_server *s = c->server;
    bool handling = c->state == CONN_HANDLING && !c->ended;
    if (c->state == CONN_DEAD)
        return;
    c->state = CONN_DEAD;
    if (handling && s->handler->on_gone)
        s->handler->on_gone(c);
    server_forget_request(c);
    loop_task_cancel(s->loop, &c->flush);
    timer_clear(s->loop, &c->timer);
    loop_remove(s->loop, &c->watch);
    stream_close(&c->stream);
    buf_fini(&c->in);
    buf_fini(&c->out);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    COUNTER_ADD(s->counters.open, (uint64_t)-1);
    loop_later(s->loop, conn_release, s, c);
}

/* ---- reading requests ---- */

/* An error found before the handler had the request: answered, then the connection ends, for its framing is not to be trusted. */
static void refuse(struct http_conn *c, enum error_code code, const char *detail)
{
    c->keep_alive = false;
    c->state = CONN_CLOSING;
    c->began = false;
    http_reply_error(c, code, detail);
}

static bool take_head(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct str in = buf_str(&c->in);
    while (c->resume == 0 && in.p && in.n >= 2 && in.p[0] == '\r' &&
           in.p[1] == '\n') { /* RFC 9112 §2.2 */
        buf_consume(&c->in, 2);
        in = buf_str(&c->in);
    }
    size_t n = in.p ? h1_head_end(in.p, in.n, &c->resume) : 0;
    if (n == 0) {
        if (in.p && in.n >= s->limits.max_head_bytes)
            refuse(c, memchr(in.p, '\n', in.n) ? ERR_HEADERS_TOO_LARGE : ERR_URI_TOO_LONG, NULL);
        return false;
    }
    if (n > s->limits.max_head_bytes) {
        refuse(c, ERR_HEADERS_TOO_LARGE, NULL);
        return false;
    }
    const char *why = NULL;
    c->head = pool_get(&s->heads);
    enum error_code code = h1_parse_request(in.p, n, c->head, &why);
    c->head_bytes = c->raw_at = n;
    c->old_client = c->head->minor_version == 0;
    c->head_only = c->head->method == H1_HEAD;
    if (code == ERR_NONE && c->head->framing == H1_BODY_LENGTH &&
        c->head->content_length > s->limits.max_body_bytes)
        code = ERR_BODY_TOO_LARGE;
    if (code != ERR_NONE) {
        refuse(c, code, why);
        return false;
    }
    c->keep_alive = c->head->keep_alive;
    c->request.head = c->head;
    c->in_body = true;
    body_decoder_init(&c->decoder, c->head->framing, c->head->content_length);
    code = s->handler->on_head ? s->handler->on_head(c, c->head) : ERR_NONE;
    if (code != ERR_NONE) {
        refuse(c, code, NULL);
        return false;
    }
    bool has_body = c->head->framing == H1_BODY_CHUNKED ||
                    (c->head->framing == H1_BODY_LENGTH && c->head->content_length > 0);
    if (c->head->expect_continue && !c->old_client && has_body &&
        buf_used(&c->in) == n) { /* RFC 9110 §10.1.1 */
        server_say_continue(c);
    }
    return true;
}

/* Unpacks what has come of the body. True: it is complete. */
static bool take_body(struct http_conn *c)
{
    char *base = c->in.data + c->in.at;
    size_t have = buf_used(&c->in);
    enum body_status status = c->head->framing == H1_BODY_NONE ? BODY_DONE : BODY_MORE;
    if (c->head->framing == H1_BODY_LENGTH && c->head->content_length == 0)
        status = BODY_DONE;
    while (status == BODY_MORE && c->raw_at < have) {
        size_t used;
        struct str data;
        status = body_decode(&c->decoder, base + c->raw_at, have - c->raw_at, &used, &data);
        char *to = base + c->head_bytes + c->body_bytes;
        if (data.n && data.p != to) /* chunk framing lay in between */
            memmove(to, data.p, data.n);
        c->body_bytes += data.n;
        c->raw_at += used;
        if (c->body_bytes > c->server->limits.max_body_bytes) {
            refuse(c, ERR_BODY_TOO_LARGE, NULL);
            return false;
        }
    }
    if (status == BODY_BAD) {
        refuse(c, ERR_BAD_REQUEST, c->decoder.bad);
        return false;
    }
    if (status == BODY_MORE) { /* all is unpacked: the room that framing took is free again */
        c->raw_at = c->head_bytes + c->body_bytes;
        c->in.len = c->in.at + c->raw_at;
    }
    return status == BODY_DONE;
}

static void handle_request(struct http_conn *c)
{
    struct http_server *s = c->server;
    const char *base = c->in.data + c->in.at;
    if (c->head->method_text.p != base) { /* the buffer moved while the body came */
        const char *why;
        ENSURE(h1_parse_request(base, c->head_bytes, c->head, &why) == ERR_NONE);
    }
    c->request.body = (struct str){base + c->head_bytes, c->body_bytes};
    c->request.arrived_ns = loop_now_ns(s->loop);
    c->request.received_ns = c->stream.arrived_ns;
    c->request.client = str_from(c->client);
    c->state = CONN_HANDLING;
    c->in_body = false;
    c->began = c->ended = c->chunked_out = c->close_delimited = false;
    COUNTER_ADD(s->counters.requests, 1);
    server_set_timeout(c, 0);
    s->handler->on_request(c, &c->request);
}

/* Looks at what is in `in`. Returns when more input is needed or the handler has a request. */
static void parse_input(struct http_conn *c)
{
    if (c->state != CONN_READING)
        return;
    if (!c->in_body && (!buf_used(&c->in) || !take_head(c)))
        return;
    if (take_body(c))
        handle_request(c);
}

/* How much room to offer the next read: what a body of known length still lacks, within reason. */
static size_t read_room(const struct http_conn *c)
{
    if (!c->in_body || c->head->framing != H1_BODY_LENGTH)
        return READ_ROOM_BYTES;
    uint64_t left = c->head->content_length - c->body_bytes;
    return (size_t)MAX(MIN(left, READ_AHEAD_MAX_BYTES), READ_ROOM_BYTES);
}

static void arm_read_timeout(struct http_conn *c)
{
    const struct http_limits *limits = &c->server->limits;
    if (c->in_body) {
        server_set_timeout(c, limits->body_timeout_ms);
    } else if (!buf_used(&c->in)) {
        server_set_timeout(c, c->server->draining ? GRACE_MS : limits->idle_timeout_ms);
    } else if (!c->head_timed) { /* from the head's first byte, not pushed on by the next ones */
        c->head_timed = true;
        server_set_timeout(c, limits->head_timeout_ms);
    }
}

static void throw_input_away(struct http_conn *c)
{
    static __thread char sink[16384];
    uint64_t silence_ns = loop_now_ns(c->server->loop) + LINGER_MS * NS_PER_MS;
    size_t got;
    enum io io = IO_OK;
    for (int reads = 0; reads < READS_A_PASS && io == IO_OK; reads++) {
        io = stream_read(&c->stream, sink, sizeof sink, &got);
        COUNTER_ADD(c->server->counters.bytes_in, got);
    }
    if (io == IO_EOF || io == IO_FAIL) {
        server_close(c);
        return;
    }
    timer_set(c->server->loop, &c->timer, MIN(silence_ns, c->linger_end_ns));
    if (io == IO_AGAIN)
        c->readable = false;
    else
        loop_task(c->server->loop, &c->flush);
}

/* One read into `in`. False: nothing more to do now. */
static bool read_some(struct http_conn *c)
{
    size_t room_bytes = read_room(c), got;
    char *room = buf_room(&c->in, room_bytes);
    if (!room) {
        refuse(c, c->in_body ? ERR_BODY_TOO_LARGE : ERR_HEADERS_TOO_LARGE, NULL);
        return false;
    }
    room_bytes = c->in.cap - c->in.len;
    enum io io = stream_read(&c->stream, room, room_bytes, &got);
    if (io == IO_OK) {
        COUNTER_ADD(c->server->counters.bytes_in, got);
        buf_wrote(&c->in, got);
        if (got < room_bytes && !stream_may_hold_more(&c->stream))
            c->readable = false;
        return true;
    }
    if (buf_used(&c->in) == 0)
        buf_fini(&c->in);
    if (io == IO_AGAIN) {
        c->readable = false;
        return false;
    }
    server_close(
        c); /* between requests this is the usual end; within one there is nobody left to tell */
    return false;
}

void server_read(struct http_conn *c)
{
    if (c->state == CONN_LINGER) {
        throw_input_away(c);
        return;
    }
    for (int reads = 0; c->state == CONN_READING && c->readable; reads++) {
        if (reads == READS_A_PASS) {
            loop_task(c->server->loop, &c->flush);
            break;
        }
        if (!read_some(c))
            break;
        parse_input(c);
    }
    if (c->state != CONN_READING)
        return;
    if (c->peer_closed && !c->readable)
        server_close(c); /* half a request, or none, and no more to come */
    else
        arm_read_timeout(c);
}

void server_next_request(struct http_conn *c)
{
    server_forget_request(c);
    c->state = CONN_READING;
    c->began = c->ended = c->head_only = c->old_client = false;
    c->answered = true;
    if (c->server->draining && !buf_used(&c->in)) {
        server_close(c);
        return;
    }
    parse_input(c); /* a pipelined request may be here already */
    if (c->state == CONN_READING)
        server_read(c);
}

/* ---- events ---- */

static void conn_handshake(struct http_conn *c)
{
    enum io io = stream_handshake(&c->stream);
    c->heard_ns = loop_now_ns(c->server->loop);
    if (io == IO_AGAIN)
        return;
    if (io != IO_OK) {
        COUNTER_ADD(c->server->counters.errors, 1);
        server_close(c);
        return;
    }
    c->state = CONN_READING;
    /* The first request may have been read together with the handshake's last bytes: TLS has it then, and no event will tell. */
    c->readable = true;
    server_set_timeout(c, c->server->draining ? GRACE_MS : c->server->limits.idle_timeout_ms);
}

static void conn_event(struct watch *w, uint32_t events)
{
    struct http_conn *c = CONTAINER(w, struct http_conn, watch);
    ENSURE(c->magic == CONN_MAGIC);
    if (events & EPOLLIN)
        c->readable = true;
    if (events & EPOLLOUT)
        c->writable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->peer_closed = true;
    if (events & (EPOLLHUP | EPOLLERR)) {
        server_close(c);
        return;
    }
    if (c->state == CONN_HANDSHAKE)
        conn_handshake(c);
    if (c->state == CONN_READING || c->state == CONN_LINGER) {
        if (c->readable || c->peer_closed) {
            c->readable = true;
            server_read(c);
        }
    }
    if (c->state == CONN_HANDLING && c->peer_closed && !c->ended) {
        server_close(c); /* nobody waits for this answer any more */
        return;
    }
    if (c->state != CONN_DEAD && c->blocked && c->writable)
        loop_task(c->server->loop, &c->flush);
}

/* A full socket becomes writable again only when a third of its buffer is free, which a slow reader may need minutes for. What it
 * has taken meanwhile shows in the bytes not acknowledged yet. */
static bool client_took_some(struct http_conn *c)
{
    int unacked = 0;
    if (ioctl(c->stream.fd, SIOCOUTQ, &unacked) != 0)
        return false;
    bool took_some = c->unacked_bytes == 0 || unacked < c->unacked_bytes;
    c->unacked_bytes = unacked;
    return took_some;
}

static void conn_timeout(struct timer *t)
{
    struct http_conn *c = CONTAINER(t, struct http_conn, timer);
    bool waiting_for_request = c->state == CONN_READING && (buf_used(&c->in) || c->in_body);
    if (c->state == CONN_HANDLING && !c->blocked) {
        server_set_timeout(c, 0); /* the handler's own timeouts rule here */
    } else if (c->blocked && client_took_some(c)) {
        server_set_timeout(c, c->server->limits.write_timeout_ms);
    } else if (waiting_for_request) {
        refuse(c, ERR_REQUEST_TIMEOUT, NULL);
        server_set_timeout(c, c->server->limits.write_timeout_ms);
    } else {
        server_close(c);
    }
}

/* ---- accepting ---- */

/* Head, body, and a read's worth of framing, which does not stay: bodies are unpacked in place. */
static size_t input_max(const struct http_server *s)
{
    return s->limits.max_head_bytes + s->limits.max_body_bytes + BUF_BLOCK_BYTES;
}

static void conn_open(struct http_server *s, int fd, const struct sock_addr *peer)
{
    struct http_conn *c = pool_get(&s->conns);
    *c = (struct http_conn){
        .magic = CONN_MAGIC,
        .state = s->tls ? CONN_HANDSHAKE : CONN_READING,
        .server = s,
        .stream = {.fd = fd},
        .watch = {.fd = fd, .on_event = conn_event},
        .timer = {.on_fire = conn_timeout},
        .flush = {.run = server_flush_task},
        .next = s->open,
        .link = &s->open,
        .writable = true,
        .heard_ns = loop_now_ns(s->loop),
    };
    buf_init(&c->in, input_max(s), &s->blocks);
    buf_init(&c->out, 0, &s->blocks);
    sock_addr_host(peer, c->client, sizeof c->client);
    if (s->tls)
        c->stream.tls = tls_accept(s->tls, fd);
    if (s->limits.stamps)
        stream_stamp(&c->stream);
    if (s->open)
        s->open->link = &c->next;
    s->open = c;
    COUNTER_ADD(s->counters.open, 1);
    COUNTER_ADD(s->counters.accepted, 1);
    server_set_timeout(c, s->draining ? GRACE_MS : s->limits.head_timeout_ms);
    if ((s->tls && !c->stream.tls) || !loop_add(s->loop, &c->watch)) {
        server_close(c);
        return;
    }
}

/* Over the limit: said in plain HTTP, once, without keeping anything. What the client has sent already is taken first: closing over unread
 * input resets the connection, and the client might never see the answer. */
static void turn_away(struct http_server *s, int fd)
{
    char ignored_input[4096];
    static const char answer[] =
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
        "connection: close\r\ncontent-length: 98\r\n\r\n"
        "{\"error\":{\"message\":\"too many "
        "connections\",\"type\":\"api_error\",\"param\":null,\"code\":\"503\"}}        \n";
    COUNTER_ADD(s->counters.refused, 1);
    if (!s->tls)
        (void)!send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(fd, SHUT_WR);
    (void)!recv(fd, ignored_input, sizeof ignored_input, MSG_DONTWAIT);
    close(fd);
}

/* What the handler wants done with a new connection. False: it is closed. */
static bool is_welcome(struct http_server *s, int fd)
{
    struct linger at_once = {.l_onoff = 1};
    enum http_welcome how = s->handler->on_accept ? s->handler->on_accept(s) : HTTP_SERVE;
    if (how == HTTP_SERVE)
        return true;
    if (how == HTTP_TURN_AWAY_RST)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
    return false;
}

static void admit(struct http_server *s, int fd, const struct sock_addr *peer)
{
    if (s->counters.open >= s->limits.max_connections)
        turn_away(s, fd);
    else if (is_welcome(s, fd))
        conn_open(s, fd, peer);
}

struct dealt { /* on its way to another loop */
    struct http_server *to;
    int fd;
    struct sock_addr peer;
};

static void take_dealt(void *arg)
{
    struct dealt *d = arg;
    admit(d->to, d->fd, &d->peer);
    mem_free(d);
}

static void deal(struct http_server *s, int fd, const struct sock_addr *peer)
{
    struct http_server *to = s->dealt ? s->dealt[s->next_dealt++ % s->dealt_count] : s;
    if (to == s) {
        admit(s, fd, peer);
        return;
    }
    struct dealt *d = mem_alloc(sizeof *d);
    *d = (struct dealt){to, fd, *peer};
    loop_call(to->loop, take_dealt, d);
}

/* Descriptors or memory ran out: those who wait stay in the kernel's queue for a moment. */
static void pause_accepting(struct http_server *s)
{
    uint64_t now_ns = loop_now_ns(s->loop);
    if (!s->warned_ns || now_ns > s->warned_ns + 10 * NS_PER_S) {
        diag_warn("cannot accept connections: %s; trying again every 100 ms (raise the limit on "
                  "open files)",
                  strerror(errno));
        s->warned_ns = now_ns;
    }
    for (struct listener *l = s->listeners; l; l = l->next)
        if (l->watch.fd >= 0 && !loop_change_level(s->loop, &l->watch, EPOLLERR))
            diag_warn("cannot pause a listener: %s", strerror(errno));
    timer_set(s->loop, &s->accept_again, now_ns + 100 * NS_PER_MS);
}

/* At most `most` of those who wait. */
static void accept_some(struct listener *l, int most)
{
    for (int i = 0; i < most; i++) {
        struct sock_addr peer;
        int fd = sock_accept(l->watch.fd, &peer);
        if (fd >= 0) {
            deal(l->server, fd, &peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accepting(l->server);
        return;
    }
}

static void listener_event(struct watch *w, uint32_t events)
{
    (void)events;
    accept_some(CONTAINER(w, struct listener, watch), ACCEPTS_A_PASS);
}

void http_server_accept_waiting(struct http_server *s)
{
    for (struct listener *l = s->listeners; l; l = l->next)
        if (l->watch.fd >= 0)
            accept_some(l, WAITING_MAX);
}

static void accept_again(struct timer *t)
{
    struct http_server *s = CONTAINER(t, struct http_server, accept_again);
    for (struct listener *l = s->listeners; l; l = l->next)
        if (l->watch.fd >= 0 && !loop_change_level(s->loop, &l->watch, EPOLLIN))
            diag_error("cannot resume a listener: %s", strerror(errno));
}

bool http_server_listen(struct http_server *s, int fd, struct tls_server *tls)
{
    struct listener *l = mem_alloc(sizeof *l);
    *l = (struct listener){{.fd = fd, .on_event = listener_event}, -1, s, s->listeners};
    if (!loop_add_level(s->loop, &l->watch, EPOLLIN)) {
        mem_free(l);
        return false;
    }
    s->listeners = l;
    s->tls = tls;
    return true;
}

void http_server_deal(struct http_server *s, struct http_server *const *to, int count)
{
    s->dealt = to;
    s->dealt_count = count;
    s->next_dealt = 0;
    while (s->next_dealt < count && to[s->next_dealt] != s)
        s->next_dealt++; /* each begins with itself */
}

/* ---- the server ---- */

struct http_server *http_server_new(struct loop *loop, const struct http_limits *limits,
                                    const struct http_handler *h, void *user)
{
    struct http_server *s = mem_alloc(sizeof *s);
    s->loop = loop;
    s->limits = *limits;
    s->handler = h;
    s->user = user;
    s->accept_again.on_fire = accept_again;
    s->date_second = UINT64_MAX;
    pool_init(&s->conns, sizeof(struct http_conn), 512, "connections");
    pool_init(&s->heads, sizeof(struct h1_head), 64, "request heads");
    pool_init(&s->blocks, BUF_BLOCK_BYTES, 128, "blocks");
    return s;
}

static void listener_release(void *owner, void *p)
{
    (void)owner;
    mem_free(p);
}

/* Freed at the end of the pass: an event for the listener may have been fetched already. */
static void stop_listening(struct http_server *s)
{
    timer_clear(s->loop, &s->accept_again);
    for (struct listener *l; (l = s->listeners);) {
        int fd = l->paused_fd >= 0 ? l->paused_fd : l->watch.fd;
        s->listeners = l->next;
        loop_remove(s->loop, &l->watch);
        close(fd);
        loop_later(s->loop, listener_release, s, l);
    }
}

void http_server_retire(struct http_server *s)
{
    s->retiring = true;
    stop_listening(s);
}

void http_server_set_limits(struct http_server *s, const struct http_limits *limits)
{
    s->limits = *limits;
    for (struct http_conn *c = s->open; c; c = c->next)
        c->in.max = input_max(s);
}

void http_server_set_tls(struct http_server *s, struct tls_server *tls)
{
    s->tls = tls;
}

/* Is there something that the loop has not told of yet? */
static bool input_waits(const struct http_conn *c)
{
    int bytes = 0;
    return (c->state == CONN_READING && c->readable) ||
           (ioctl(c->stream.fd, FIONREAD, &bytes) == 0 && bytes > 0);
}

/* Until when a connection without a request may still send one, for nobody told its client to go elsewhere. One that had an answer has had its chance, and so has
 * one that was silent for `grace_ms`: 0. Whatever the kernel has already is a request, as far as one can know. */
static uint64_t waits_until_ns(const struct http_conn *c, uint64_t grace_ns)
{
    uint64_t now_ns = loop_now_ns(c->server->loop);
    uint64_t until_ns = c->answered ? 0 : c->heard_ns + grace_ns;
    if (input_waits(c))
        return now_ns + grace_ns;
    return until_ns > now_ns ? until_ns : 0;
}

static void close_idle(struct http_server *s, int64_t grace_ms)
{
    uint64_t grace_ns = (uint64_t)grace_ms * NS_PER_MS;
    for (struct http_conn *c = s->open, *next; c; c = next) {
        bool waits = c->state == CONN_HANDSHAKE ||
                     (c->state == CONN_READING && !buf_used(&c->in) && !c->in_body);
        uint64_t until_ns = waits && grace_ms ? waits_until_ns(c, grace_ns) : 0;
        next = c->next;
        if (c->state == CONN_LINGER || (waits && !until_ns))
            server_close(c);
        else if (waits && c->timer.due_ns > until_ns)
            timer_set(s->loop, &c->timer, until_ns);
    }
}

void http_server_drain(struct http_server *s)
{
    s->draining = true;
    stop_listening(s);
    close_idle(s, GRACE_MS);
}

/* Linux takes a listening TCP socket back to "bound" on shutdown(2). One whose port the kernel chose loses that, so it is bound anew;
 * for others that fails, and nothing is lost. */
static void stop_accepting(struct listener *l)
{
    struct sock_addr bound = {.len = sizeof bound.storage};
    l->paused_fd = l->watch.fd;
    loop_remove(l->server->loop, &l->watch);
    (void)getsockname(l->paused_fd, &bound.any, &bound.len);
    shutdown(l->paused_fd, SHUT_RD);
    (void)!bind(l->paused_fd, &bound.any, bound.len);
}

static void accept_anew(struct listener *l)
{
    l->watch.fd = l->paused_fd;
    l->paused_fd = -1;
    if (listen(l->watch.fd, REFUSED_BACKLOG) != 0 ||
        !loop_add_level(l->server->loop, &l->watch, EPOLLIN))
        diag_error("cannot listen again: %s", strerror(errno));
}

void http_server_refuse(struct http_server *s, bool refuse)
{
    for (struct listener *l = s->listeners; l; l = l->next)
        if (refuse != (l->paused_fd >= 0))
            (refuse ? stop_accepting : accept_anew)(l);
    if (refuse)
        close_idle(s, 0);
}

void http_server_free(struct http_server *s)
{
    stop_listening(s);
    while (s->open)
        server_close(s->open);
    loop_settle(s->loop); /* what server_close put off */
    pool_trim(&s->conns);
    pool_trim(&s->heads);
    pool_trim(&s->blocks);
    mem_free(s);
}

void *http_server_user(struct http_server *s)
{
    return s->user;
}
struct loop *http_server_loop(struct http_server *s)
{
    return s->loop;
}
const struct http_counters *http_server_counters(struct http_server *s)
{
    return &s->counters;
}
uint32_t http_server_open(const struct http_server *s)
{
    return (uint32_t)s->counters.open;
}
struct pool *http_server_blocks(struct http_server *s)
{
    return &s->blocks;
}
struct http_server *http_conn_server(struct http_conn *c)
{
    return c->server;
}
void http_set_user(struct http_conn *c, void *user)
{
    c->user = user;
}
void *http_user(struct http_conn *c)
{
    return c->user;
}
