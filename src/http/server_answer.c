/* server_answer.c -- the answering half of http/server: heads, bodies, their framing, and handing bytes to the kernel.
 *
 * Everything said gathers in the connection's `out` and leaves in the flush task at the end of the loop's pass, so an answer is usually one
 * system call. When the socket is full the rest waits for EPOLLOUT, and on_drained tells the handler when all of it has gone. */
#include "http/server_internal.h"

#include <sys/socket.h>
#include <time.h>

#include "base/digits.h"

/* ---- writing ---- */

static void start_linger(struct http_conn *c)
{
    c->state = CONN_LINGER;
    shutdown(c->stream.fd,
             SHUT_WR); /* over TLS too: the answer's own framing says that it is whole */
    server_forget_request(c);
    buf_fini(&c->in);
    c->linger_end_ns = loop_now_ns(c->server->loop) + LINGER_MAX_MS * NS_PER_MS;
    server_set_timeout(c, LINGER_MS);
    if (c->peer_closed)
        server_close(c);
    else if (c->readable)
        server_read(c);
}

/* A broken-off answer that only the end of the connection delimits would look whole: let it end in an error the client sees,
 * a reset or, over TLS, the missing close_notify. */
static void break_off(struct http_conn *c)
{
    struct linger at_once = {.l_onoff = 1};
    if (c->close_delimited && c->stream.tls && !c->reset)
        shutdown(c->stream.fd, SHUT_WR);
    else if (c->close_delimited || c->reset)
        setsockopt(c->stream.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    server_close(c);
}

/* The answer is out: on to the next request, or to the end. */
static void answer_sent(struct http_conn *c)
{
    /* Over TLS `readable` only says that nobody has looked yet. */
    bool more_came =
        c->state == CONN_CLOSING || (c->readable && !c->stream.tls) || buf_used(&c->in) > c->raw_at;
    bool unread_input = more_came && !c->peer_closed;
    if (c->aborted) {
        break_off(c);
    } else if (!c->keep_alive) {
        if (unread_input)
            start_linger(c);
        else
            server_close(c);
    } else {
        server_next_request(c);
    }
}

static enum io send_queued(struct http_conn *c)
{
    while (buf_used(&c->out)) {
        struct str text = buf_str(&c->out);
        struct iovec piece = {(char *)text.p, text.n};
        size_t put;
        enum io io = stream_writev(&c->stream, &piece, 1, &put);
        if (io == IO_OK && put > 0) {
            COUNTER_ADD(c->server->counters.bytes_out, put);
            buf_consume(&c->out, put);
            if (put == text.n)
                return IO_OK;
            if (!c->stream.tls) /* a short send: the socket is full */
                io = IO_AGAIN;
            else
                continue;
        }
        if (io == IO_AGAIN || io == IO_OK) {
            c->writable = false;
            return IO_AGAIN;
        }
        return IO_FAIL;
    }
    return IO_OK;
}

static void conn_flush(struct http_conn *c)
{
    if (c->state == CONN_DEAD || c->state == CONN_HANDSHAKE || c->state == CONN_LINGER)
        return;
    size_t queued = buf_used(&c->out);
    enum io io = c->writable || c->stream.tls ? send_queued(c) : IO_AGAIN;
    if (io == IO_FAIL) {
        server_close(c);
        return;
    }
    if (buf_used(&c->out)) {
        if (!c->blocked || buf_used(&c->out) < queued) {
            c->unacked_bytes = 0;
            server_set_timeout(c, c->server->limits.write_timeout_ms);
        }
        c->blocked = true;
        return;
    }
    bool was_blocked = c->blocked;
    c->blocked = false;
    if (c->ended || c->aborted) {
        answer_sent(c);
    } else if (was_blocked && c->state == CONN_HANDLING) {
        server_set_timeout(c, 0);
        if (c->server->handler->on_drained)
            c->server->handler->on_drained(c);
    }
}

/* The end of a pass: writes what its events have queued, and goes on reading where that was broken off for the others' sake. */
void server_flush_task(struct task *t)
{
    struct http_conn *c = CONTAINER(t, struct http_conn, flush);
    conn_flush(c);
    if ((c->state == CONN_READING || c->state == CONN_LINGER) && c->readable && !t->queued)
        server_read(c);
}

static void queue_flush(struct http_conn *c)
{
    if (!c->blocked || c->aborted)
        loop_task(c->server->loop, &c->flush);
}

static void put(struct http_conn *c, struct str s)
{
    /* `out` has no cap of its own: handlers look at http_queued and stop their sources. */
    ENSURE(buf_append_str(&c->out, s));
}

void server_say_continue(struct http_conn *c)
{
    put(c, STR("HTTP/1.1 100 Continue\r\n\r\n"));
    queue_flush(c);
}

static struct str date_line(struct http_server *s)
{
    uint64_t second = loop_now_ns(s->loop) / NS_PER_S;
    if (second != s->date_second) {
        time_t now = time(NULL);
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(s->date, sizeof s->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        s->date_second = second;
    }
    return str_from(s->date);
}

static char *copy(char *at, struct str s)
{
    if (s.p)
        memcpy(at, s.p, s.n);
    return at + s.n;
}

static void begin(struct http_conn *c, int status, struct str content_type, struct str headers,
                  int64_t length)
{
    ENSURE(c->magic == CONN_MAGIC && c->state != CONN_DEAD && !c->began);
    bool bodyless = status == 204 || status == 304 || status < 200;
    bool said_all = c->peer_closed && !c->readable &&
                    buf_used(&c->in) <= c->raw_at; /* no further request can come */
    c->began = true;
    c->no_body = c->head_only || bodyless;
    c->sized_out = length >= 0;
    c->owed = length >= 0 ? (uint64_t)length : 0;
    c->close_delimited = length < 0 && c->old_client && !bodyless;
    c->chunked_out = length < 0 && !c->old_client && !bodyless;
    if (c->close_delimited || c->server->draining || c->server->retiring || said_all)
        c->keep_alive = false;
    char *start = buf_room(&c->out, content_type.n + headers.n + 256), *at = start;
    ENSURE(start);
    struct str reason = str_from(h1_reason(status));
    at = copy(at, STR("HTTP/1.1 "));
    at = digits_u64(at, (uint64_t)status);
    *at++ = ' ';
    at = copy(at, reason);
    at = copy(at, STR("\r\ndate: "));
    at = copy(at, date_line(c->server));
    at = copy(at, STR("\r\n"));
    if (content_type.n) {
        at = copy(at, STR("content-type: "));
        at = copy(at, content_type);
        at = copy(at, STR("\r\n"));
    }
    if (headers.n)
        at = copy(at, headers);
    if (c->chunked_out) {
        at = copy(at, STR("transfer-encoding: chunked\r\n"));
    } else if (length >= 0 && (!bodyless || (status == 304 && length > 0))) { /* RFC 9110 §8.6 */
        at = copy(at, STR("content-length: "));
        at = digits_u64(at, (uint64_t)length);
        at = copy(at, STR("\r\n"));
    }
    if (!c->keep_alive)
        at = copy(at, STR("connection: close\r\n"));
    else if (c->old_client)
        at = copy(at, STR("connection: keep-alive\r\n"));
    at = copy(at, STR("\r\n"));
    buf_wrote(&c->out, (size_t)(at - start));
    queue_flush(c);
}

void http_begin(struct http_conn *c, int status, struct str headers, int64_t length)
{
    begin(c, status, STR_NONE, headers, length);
}

void http_body(struct http_conn *c, struct str piece)
{
    if (piece.n == 0 || c->no_body || c->state == CONN_DEAD)
        return;
    if (c->sized_out) {
        ENSURE(piece.n <= c->owed); /* more than announced would be read as the next answer */
        c->owed -= piece.n;
    }
    if (c->chunked_out) {
        char *start = buf_room(&c->out, piece.n + 20), *at = start;
        ENSURE(start);
        at = digits_hex(at, piece.n);
        at = copy(at, STR("\r\n"));
        at = copy(at, piece);
        at = copy(at, STR("\r\n"));
        buf_wrote(&c->out, (size_t)(at - start));
    } else {
        put(c, piece);
    }
    queue_flush(c);
}

void http_end(struct http_conn *c)
{
    ENSURE(c->magic == CONN_MAGIC && c->began && !c->ended);
    if (c->owed && !c->no_body) { /* less than was announced: the client must be able to tell */
        http_abort(c);
        return;
    }
    if (c->chunked_out && !c->no_body)
        put(c, STR("0\r\n\r\n"));
    c->ended = true;
    queue_flush(c);
}

void http_abort(struct http_conn *c)
{
    ENSURE(c->magic == CONN_MAGIC);
    c->aborted = true;
    c->ended = true;
    c->keep_alive = false;
    queue_flush(c);
}

void http_raw(struct http_conn *c, struct str bytes)
{
    ENSURE(c->magic == CONN_MAGIC && c->state != CONN_DEAD && !c->ended);
    if (!c->began) {
        c->no_body = c->sized_out = c->chunked_out = false;
        c->owed = 0;
    }
    c->began = true;
    put(c, bytes);
    queue_flush(c);
}

void http_reset(struct http_conn *c)
{
    c->reset = true;
    http_abort(c);
}

void http_reply(struct http_conn *c, int status, struct str content_type, struct str headers,
                struct str body)
{
    begin(c, status, content_type, headers, (int64_t)body.n);
    http_body(c, body);
    http_end(c);
}

void http_reply_error(struct http_conn *c, enum error_code code, const char *detail)
{
    struct buf body;
    buf_init(&body, 0, NULL);
    if (c->server->handler->write_error)
        c->server->handler->write_error(c, code, detail, &body);
    COUNTER_ADD(c->server->counters.errors, 1);
    http_reply(c, error_info(code)->http_status, STR("application/json"), STR_NONE, buf_str(&body));
    buf_fini(&body);
}

size_t http_queued(const struct http_conn *c)
{
    return buf_used(&c->out);
}

bool http_blocked(const struct http_conn *c)
{
    return c->blocked;
}

size_t http_flush_now(struct http_conn *c)
{
    bool may_send = c->state == CONN_HANDLING && !c->blocked && (c->writable || c->stream.tls);
    bool failed = may_send && send_queued(c) == IO_FAIL;
    if (failed || (buf_used(&c->out) && !c->blocked)) {
        /* From here on the caller counts on on_drained, even if the task gets rid of the rest at once. And if sending failed the
         * task finds out again and closes, when nobody is in the middle of something. */
        c->blocked = true;
        server_set_timeout(c, c->server->limits.write_timeout_ms);
        loop_task(c->server->loop, &c->flush);
    }
    return buf_used(&c->out);
}

bool http_began(const struct http_conn *c)
{
    return c->began;
}

void http_release_body(struct http_conn *c)
{
    server_forget_request(c);
}
