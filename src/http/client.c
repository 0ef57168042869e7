/* client.c -- the calling side of HTTP/1.1: connect, send, read the answer, keep the connection for the next one.
 *
 * A connection (struct http_upconn) walks
 *     RESOLVING -> CONNECTING -> [TUNNEL ->] [HANDSHAKE ->] ACTIVE <-> IDLE   and ends DEAD.
 * With an exchange it is ACTIVE: the request's pieces go out as the socket takes them, while the answer's head and then its body
 * come in. Bytes are read into one scratch buffer a loop and handed on from there: a connection that waits holds no buffer,
 * and only a head that came in parts is kept (in `in`).
 *
 * Failures are told once, through on_fail, and never from within http_send. A kept connection may have been closed by its server while it
 * lay idle; if it ends before any byte of the answer, the exchange moves to a new connection once.
 * Thread: the loop's. Lifetime: a connection is the client's; its memory is freed at the end of the pass in which it died. */
#include "http/client_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/diag.h"
#include "net/stamp.h"

static void start_new(struct http_client *c, struct http_exchange *x);

/* ---- lists and ends ---- */

static void list_add(struct http_upconn **head, struct http_upconn *u)
{
    u->next = *head;
    u->link = head;
    if (*head)
        (*head)->link = &u->next;
    *head = u;
}

static void list_remove(struct http_upconn *u)
{
    *u->link = u->next;
    if (u->next)
        u->next->link = u->link;
}

static void upconn_release(void *owner, void *p)
{
    struct http_client *c = owner;
    struct http_upconn *u = p;
    buf_fini(&u->in);
    u->magic = 0;
    pool_put(&c->conns, u);
}

static void upconn_close(struct http_upconn *u)
{
    struct http_client *c = u->client;
    if (u->state == UP_DEAD)
        return;
    if (u->state == UP_RESOLVING)
        resolve_cancel(&u->query);
    if (u->state == UP_IDLE) {
        c->idle_count[u->target_index]--;
        COUNTER_ADD(c->counters->idle, (uint64_t)-1);
    }
    u->state = UP_DEAD;
    if (u->x) {
        u->x->conn = NULL;
        u->x = NULL;
    }
    list_remove(u);
    loop_task_cancel(c->loop, &u->task);
    timer_clear(c->loop, &u->timer);
    loop_remove(c->loop, &u->watch);
    if (u->stream.fd >= 0)
        COUNTER_ADD(c->counters->open, (uint64_t)-1);
    stream_close(&u->stream);
    loop_later(c->loop, upconn_release, c,
               u); /* and `in`: a callback that cancels may still hold a piece of it */
}

/* Tells the exchange, once, and ends the connection. */
static void fail(struct http_upconn *u, enum error_code code, const char *detail)
{
    struct http_exchange *x = u->x;
    char text[sizeof u->detail];
    snprintf(text, sizeof text, "%.255s", detail); /* it may be the connection's own */
    upconn_close(u);
    if (x)
        x->on_fail(x, code, text);
}

/* Like fail, from the task: for what goes wrong inside http_send. */
void client_fail_later(struct http_upconn *u, enum error_code code, const char *detail)
{
    if (u->state == UP_RESOLVING)
        resolve_cancel(&u->query);
    u->state = UP_FAILING;
    u->failing = code;
    snprintf(u->detail, sizeof u->detail, "%.255s", detail);
    loop_task(u->client->loop, &u->task);
}

/* ---- time ---- */

void client_arm(struct http_upconn *u)
{
    uint64_t due_ns = u->phase_due_ns;
    if (u->x && u->x->total_timeout_ms > 0) {
        uint64_t total_ns = u->x->started_ns + (uint64_t)u->x->total_timeout_ms * NS_PER_MS;
        due_ns = due_ns ? MIN(due_ns, total_ns) : total_ns;
    }
    timer_set(u->client->loop, &u->timer,
              due_ns ? due_ns : loop_now_ns(u->client->loop) + 24 * 3600 * NS_PER_S);
}

void client_set_phase(struct http_upconn *u, uint64_t from_ns, int64_t ms)
{
    u->phase_due_ns = ms > 0 ? from_ns + (uint64_t)ms * NS_PER_MS : 0;
    client_arm(u);
}

static void upconn_timeout(struct timer *t)
{
    struct http_upconn *u = CONTAINER(t, struct http_upconn, timer);
    struct http_exchange *x = u->x;
    char text[160];
    if (u->state == UP_IDLE || !x) {
        upconn_close(u);
        return;
    }
    uint64_t now_ns = clock_mono_ns();
    bool total = x->total_timeout_ms > 0 &&
                 now_ns >= x->started_ns + (uint64_t)x->total_timeout_ms * NS_PER_MS;
    if (total) {
        snprintf(text, sizeof text, "no complete answer within %lld ms",
                 (long long)x->total_timeout_ms);
        fail(u, ERR_UPSTREAM_TIMEOUT, text);
    } else if (u->state == UP_CONNECTING && u->address + 1 < u->answer.count) {
        u->last_errno = ETIMEDOUT;
        u->address++;
        client_try_address(u);
    } else if (u->state < UP_ACTIVE) {
        snprintf(text, sizeof text, "not connected within %lld ms (%.*s)",
                 (long long)u->client->limits.connect_timeout_ms, STR_ARG(u->target->authority));
        COUNTER_ADD(u->client->counters->connect_failures, 1);
        fail(u, ERR_UPSTREAM_CONNECT, text);
    } else if (!u->phase_due_ns || now_ns < u->phase_due_ns) {
        client_arm(u);
    } else if (u->head_done) {
        snprintf(text, sizeof text, "no byte of the answer for %lld ms",
                 (long long)x->silence_timeout_ms);
        fail(u, ERR_UPSTREAM_TIMEOUT, text);
    } else {
        const char *what =
            x->sent_ns ? "no answer within" : "the request was not taken: no progress for";
        snprintf(text, sizeof text, "%s %lld ms", what, (long long)x->answer_timeout_ms);
        fail(u, ERR_UPSTREAM_TIMEOUT, text);
    }
}

/* ---- keeping ---- */

/* Nothing may lie in a kept connection: it would be taken for the next answer's beginning, and its edge has been seen. Over TLS only a read
 * tells; it also takes what TLS has to say to itself (session tickets). */
static bool is_empty(struct http_upconn *u)
{
    char byte;
    size_t got;
    if (u->readable && stream_read(&u->stream, &byte, 1, &got) != IO_AGAIN)
        return false;
    u->readable = false;
    return true;
}

static void keep(struct http_upconn *u)
{
    struct http_client *c = u->client;
    buf_fini(&u->in);
    if (c->idle_count[u->target_index] >= c->limits.max_idle_per_target || !is_empty(u)) {
        upconn_close(u);
        return;
    }
    list_remove(u);
    u->state = UP_IDLE;
    list_add(&c->idle[u->target_index], u);
    c->idle_count[u->target_index]++;
    COUNTER_ADD(c->counters->idle, 1);
    u->phase_due_ns = 0;
    timer_set(c->loop, &u->timer,
              loop_now_ns(c->loop) + (uint64_t)c->limits.idle_timeout_ms * NS_PER_MS);
}

/* The answer is complete; `leftover` bytes behind it make the connection unfit for another. */
static void finish(struct http_upconn *u, bool leftover)
{
    struct http_exchange *x = u->x;
    bool all_sent = u->piece == x->piece_count;
    x->last_ns = loop_now_ns(u->client->loop);
    x->conn = NULL;
    u->x = NULL;
    if (u->keep_alive && all_sent && !leftover && !u->peer_closed)
        keep(u);
    else
        upconn_close(u);
    x->on_done(x);
}

/* ---- reading ---- */

/* Before a byte of the answer came, a kept connection that ends has only been found out to be closed. */
static void ended_early(struct http_upconn *u, const char *how)
{
    struct http_client *c = u->client;
    struct http_exchange *x = u->x;
    char text[200];
    bool lately = !x->sent_ns || loop_now_ns(c->loop) < x->sent_ns + REPLAY_WITHIN_NS;
    if (!u->got_bytes && x->reused && lately) {
        upconn_close(u);
        x->connected_ns = x->sent_ns = x->send_began_ns = 0;
        start_new(c, x);
        return;
    }
    snprintf(text, sizeof text, "%s (%.*s)", how, STR_ARG(u->target->authority));
    fail(u, u->head_done ? ERR_UPSTREAM_TRUNCATED : ERR_UPSTREAM_CLOSED, text);
}

static void saw_eof(struct http_upconn *u)
{
    u->peer_closed = true;
    if (u->head_done && body_decode_eof(&u->decoder) == BODY_DONE)
        finish(u, false);
    else
        ended_early(u, u->head_done ? "the connection closed in the middle of the answer"
                                    : "the connection closed without an answer");
}

/* Takes one head off the front. Returns bytes used, 0: more needed (or the exchange is over: see u->x). */
static size_t take_head(struct http_upconn *u, struct str in)
{
    struct http_client *c = u->client;
    struct http_exchange *x = u->x;
    const char *why = NULL;
    size_t n = h1_head_end(in.p, in.n, &u->resume);
    if (n > c->limits.max_head_bytes || (n == 0 && in.n >= c->limits.max_head_bytes)) {
        fail(u, ERR_UPSTREAM_TOO_LARGE, "response head too large");
        return 0;
    }
    if (n == 0)
        return 0;
    u->resume = 0;
    if (h1_parse_response(in.p, n, x->to_head, &c->head, &why) != ERR_NONE) {
        fail(u, ERR_UPSTREAM_PROTOCOL, why ? why : "malformed response head");
        return 0;
    }
    if (c->head.status < 200 && c->head.status != 101)
        return n; /* interim: the real one follows */
    u->head_done = true;
    u->keep_alive = c->head.keep_alive && c->head.framing != H1_BODY_EOF && c->head.status != 101;
    x->head_ns = loop_now_ns(c->loop);
    body_decoder_init(&u->decoder, c->head.framing, c->head.content_length);
    x->on_head(x, &c->head);
    return n;
}

static bool body_is_empty(const struct http_client *c)
{
    return c->head.framing == H1_BODY_NONE ||
           (c->head.framing == H1_BODY_LENGTH && c->head.content_length == 0);
}

static void take_body(struct http_upconn *u, struct str in)
{
    struct http_exchange *x = u->x;
    while (in.n && u->x == x) {
        size_t used;
        struct str data;
        enum body_status status = body_decode(&u->decoder, in.p, in.n, &used, &data);
        in = str_skip(in, used);
        if (data.n) {
            x->last_ns = loop_now_ns(u->client->loop);
            x->on_body(x, data);
        }
        if (u->x != x)
            return; /* cancelled in the callback */
        if (status == BODY_DONE) {
            finish(u, in.n > 0);
            return;
        }
        if (status == BODY_BAD) {
            fail(u, ERR_UPSTREAM_PROTOCOL, u->decoder.bad);
            return;
        }
    }
}

/* The head goes on: what there is of it stays in u->in, interim heads before it do not. */
static void keep_rest(struct http_upconn *u, struct str rest, bool held)
{
    if (held)
        buf_consume(&u->in, buf_used(&u->in) - rest.n);
    else if (!buf_append_str(&u->in, rest))
        fail(u, ERR_UPSTREAM_TOO_LARGE, "response head too large");
}

static void take_input(struct http_upconn *u, struct str in)
{
    struct http_exchange *x = u->x;
    bool held = buf_used(&u->in) > 0;
    u->got_bytes = true;
    if (held) {
        if (!buf_append_str(&u->in, in)) {
            fail(u, ERR_UPSTREAM_TOO_LARGE, "response head too large");
            return;
        }
        in = buf_str(&u->in);
    }
    while (!u->head_done && in.n) {
        size_t n = take_head(u, in);
        if (u->x != x)
            return;
        if (n == 0) {
            keep_rest(u, in, held);
            return;
        }
        in = str_skip(in, n);
        if (u->head_done && body_is_empty(u->client)) {
            finish(u, in.n > 0);
            return;
        }
    }
    take_body(u, in);
    if (u->x == x && u->head_done)
        buf_fini(&u->in);
}

/* The body's next bytes are due. */
static void await_more(struct http_upconn *u)
{
    if (u->x->silence_timeout_ms > 0)
        client_set_phase(u, loop_now_ns(u->client->loop), u->x->silence_timeout_ms);
    else if (u->phase_due_ns)
        client_set_phase(u, 0, 0);
}

static void note_arrival(struct http_upconn *u)
{
    struct http_exchange *x = u->x;
    x->read_ns = u->stream.read_ns ? u->stream.read_ns : clock_mono_ns();
    x->arrived_by_kernel = u->stream.arrived_ns != 0;
    /* Never before what came earlier: the two clocks, and a read that was not stamped, would have it so by some ns. */
    x->arrived_ns = MAX(x->arrived_ns, x->arrived_by_kernel ? u->stream.arrived_ns : x->read_ns);
    if (!u->got_bytes)
        x->first_byte_ns = x->arrived_ns;
}

void client_read(struct http_upconn *u)
{
    struct http_client *c = u->client;
    struct http_exchange *x = u->x;
    for (int reads = 0; u->readable && !u->paused && u->x == x && x; reads++) {
        size_t got;
        if (reads == READS_A_PASS) {
            loop_task(c->loop, &u->task);
            return;
        }
        enum io io = stream_read(&u->stream, c->scratch, sizeof c->scratch, &got);
        if (io == IO_OK) {
            COUNTER_ADD(c->counters->bytes_in, got);
            if (c->limits.stamp_arrivals)
                note_arrival(u);
            if (got < sizeof c->scratch && !stream_may_hold_more(&u->stream) && !u->peer_closed)
                u->readable = false;
            take_input(u, (struct str){c->scratch, got});
            if (u->x == x && u->head_done && !u->paused)
                await_more(u);
        } else if (io == IO_AGAIN) {
            u->readable = false;
        } else if (io == IO_EOF) {
            saw_eof(u);
        } else {
            ended_early(u, u->stream.tls ? tls_error(u->stream.tls) : strerror(errno));
        }
    }
}

/* ---- sending ---- */

/* Small requests are put together first: one copy of a kilobyte costs less than the kernel's walk over a list of pieces, and over TLS it
 * saves records. */
static enum io send_pieces(struct http_upconn *u, const struct iovec *pieces, int count,
                           size_t total, size_t *put)
{
    if (count == 1 || total > SEND_JOIN_MAX_BYTES)
        return stream_writev(&u->stream, pieces, count, put);
    struct iovec whole = {u->client->send_scratch, total};
    char *at = u->client->send_scratch;
    for (int i = 0; i < count; i++) {
        memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    return stream_writev(&u->stream, &whole, 1, put);
}

/* The server has closed its side for input, as one does that answers early (401, 413): what it has said is worth more than the error. */
static void send_failed(struct http_upconn *u)
{
    struct http_exchange *x = u->x;
    char why[128];
    if (u->in_call) {
        loop_task(u->client->loop, &u->task);
        return;
    }
    snprintf(why, sizeof why, "%s", u->stream.tls ? tls_error(u->stream.tls) : strerror(errno));
    u->send_broken = u->peer_closed = u->readable = true;
    client_read(u);
    if (u->x == x && !u->got_bytes && u->state == UP_ACTIVE)
        ended_early(u, why);
}

static bool may_send(const struct http_upconn *u)
{
    return u->writable && !u->send_broken && u->piece < u->x->piece_count;
}

/* `now_ns`: 0, or the time, if it was just looked at. */
static void send_rest(struct http_upconn *u, uint64_t now_ns)
{
    struct http_exchange *x = u->x;
    for (bool known = now_ns != 0; u->piece < x->piece_count; known = false) {
        struct iovec pieces[PIECES_MAX];
        int count = MIN(x->piece_count - u->piece, PIECES_MAX);
        size_t put, total = 0;
        memcpy(pieces, x->pieces + u->piece, (size_t)count * sizeof *pieces);
        pieces[0].iov_base = (char *)pieces[0].iov_base + u->piece_at;
        pieces[0].iov_len -= u->piece_at;
        for (int i = 0; i < count; i++)
            total += pieces[i].iov_len;
        /* Before the call: on a busy core the kernel runs the upstream first and returns to us when it has
         * answered. */
        now_ns = known ? now_ns : clock_mono_ns();
        x->send_began_ns = x->send_began_ns ? x->send_began_ns : now_ns;
        enum io io = total ? send_pieces(u, pieces, count, total, &put) : (put = 0, IO_OK);
        if (io == IO_AGAIN) {
            u->writable = false;
            return;
        }
        if (io != IO_OK) {
            send_failed(u);
            return;
        }
        COUNTER_ADD(u->client->counters->bytes_out, put);
        bool full = put < total;
        for (int i = 0; i < count && put >= pieces[i].iov_len; i++) {
            put -= pieces[i].iov_len;
            u->piece++;
            u->piece_at = 0;
        }
        if (u->piece < x->piece_count)
            u->piece_at += put;
        if (full && !u->head_done)
            client_set_phase(u, loop_now_ns(u->client->loop), x->answer_timeout_ms);
        if (full && !u->stream.tls) {
            u->writable = false;
            return;
        }
    }
    x->sent_ns = now_ns;
    if (!u->head_done)
        client_set_phase(u, x->sent_ns, x->answer_timeout_ms);
}

void client_send(struct http_upconn *u)
{
    send_rest(u, 0);
}

static void upconn_task(struct task *t)
{
    struct http_upconn *u = CONTAINER(t, struct http_upconn, task);
    if (u->state == UP_FAILING) {
        fail(u, u->failing, u->detail);
        return;
    }
    if (u->state != UP_ACTIVE)
        return;
    struct http_exchange *x = u->x;
    if (may_send(u))
        client_send(u);
    if (u->state == UP_ACTIVE && u->x == x && u->readable)
        client_read(u);
}

/* ---- events ---- */

static void upconn_event(struct watch *w, uint32_t events)
{
    struct http_upconn *u = CONTAINER(w, struct http_upconn, watch);
    ENSURE(u->magic == UPCONN_MAGIC);
    u->readable |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    u->writable |= (events & EPOLLOUT) != 0;
    u->peer_closed |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    switch (u->state) {
    case UP_CONNECTING: client_connected(u); break;
    case UP_TUNNEL:
        if (u->readable)
            client_read_tunnel(u);
        break;
    case UP_HANDSHAKE: client_drive_handshake(u); break;
    case UP_IDLE:
        /* The first edge after a request may only say "writable again"; anything readable means it is over. */
        if (u->peer_closed || !is_empty(u))
            upconn_close(u);
        break;
    default: break;
    }
    if (u->state != UP_ACTIVE) /* it may have become so just now, with an answer waiting already */
        return;
    if (may_send(u))
        client_send(u);
    if (u->state == UP_ACTIVE && u->readable)
        client_read(u);
}

/* ---- the calls ---- */

static void attach(struct http_upconn *u, struct http_exchange *x)
{
    u->x = x;
    x->conn = u;
    u->piece = 0;
    u->piece_at = 0;
    u->resume = 0;
    u->head_done = u->got_bytes = u->paused = u->send_broken = false;
    u->phase_due_ns = 0;
}

static void start_new(struct http_client *c, struct http_exchange *x)
{
    struct http_upconn *u = pool_get(&c->conns);
    *u = (struct http_upconn){
        .magic = UPCONN_MAGIC,
        .state = UP_RESOLVING,
        .client = c,
        .target = x->target,
        .target_index = x->target_index,
        .stream = {.fd = -1},
        .watch = {.fd = -1, .on_event = upconn_event},
        .timer = {.on_fire = upconn_timeout},
        .task = {.run = upconn_task},
        .query = {.on_answer = client_resolved},
    };
    buf_init(&u->in, c->limits.max_head_bytes + SCRATCH_BYTES, c->blocks);
    list_add(&c->busy, u);
    attach(u, x);
    x->reused = false;
    u->connect_due_ns = clock_mono_ns() + (uint64_t)c->limits.connect_timeout_ms * NS_PER_MS;
    u->phase_due_ns = u->connect_due_ns;
    client_arm(u);
    const struct proxy_env *proxy = x->target->proxy;
    if (proxy)
        resolve(c->resolver, str_from(proxy->host), proxy->port, &u->query);
    else
        resolve(c->resolver, x->target->host, x->target->port, &u->query);
}

void http_send(struct http_client *c, struct http_exchange *x)
{
    ENSURE(x->target_index < c->targets && !x->conn);
    x->started_ns = clock_mono_ns();
    x->connected_ns = x->sent_ns = x->head_ns = x->last_ns = 0;
    x->resolved_ns = x->tcp_ns = x->send_began_ns = x->first_byte_ns = x->arrived_ns = 0;
    struct http_upconn *u = c->idle[x->target_index];
    if (!u) {
        start_new(c, x);
        return;
    }
    list_remove(u);
    c->idle_count[x->target_index]--;
    COUNTER_ADD(c->counters->idle, (uint64_t)-1);
    COUNTER_ADD(c->counters->reuses, 1);
    list_add(&c->busy, u);
    u->state = UP_ACTIVE;
    u->writable = true;
    attach(u, x);
    x->reused = true;
    x->connected_ns = x->started_ns;
    client_set_phase(u, x->started_ns, x->answer_timeout_ms);
    if (!x->at_once) {
        loop_task(c->loop, &u->task);
        return;
    }
    u->in_call = true;
    send_rest(u, x->started_ns);
    u->in_call = false;
}

int http_exchange_fd(const struct http_exchange *x)
{
    return x->conn ? x->conn->stream.fd : -1;
}

const struct tls *http_exchange_tls(const struct http_exchange *x)
{
    return x->conn ? x->conn->stream.tls : NULL;
}

void http_cancel(struct http_client *c, struct http_exchange *x)
{
    (void)c;
    if (x->conn)
        upconn_close(x->conn);
}

void http_pause(struct http_exchange *x)
{
    struct http_upconn *u = x->conn;
    if (!u)
        return;
    u->paused = true;
    if (u->head_done)
        u->phase_due_ns = 0; /* the silence is ours; the timer finds out when it fires */
}

void http_resume(struct http_client *c, struct http_exchange *x)
{
    struct http_upconn *u = x->conn;
    if (!u || !u->paused)
        return;
    u->paused = false;
    if (u->head_done)
        await_more(u);
    if (u->readable)
        loop_task(c->loop, &u->task);
}

struct http_client *http_client_new(struct loop *l, struct resolver *r, struct pool *blocks,
                                    const struct http_client_limits *limits, uint32_t targets)
{
    struct http_client *c = mem_alloc(sizeof *c);
    c->loop = l;
    c->resolver = r;
    c->blocks = blocks;
    c->limits = *limits;
    c->targets = targets;
    c->stamp_fd = limits->stamp_arrivals ? stamp_hold() : -1;
    c->counters = limits->counters ? limits->counters : &c->own_counters;
    c->idle = mem_alloc(targets * sizeof *c->idle);
    c->idle_count = mem_alloc(targets * sizeof *c->idle_count);
    pool_init(&c->conns, sizeof(struct http_upconn), 256, "upstream connections");
    return c;
}

void http_client_free(struct http_client *c)
{
    while (c->busy)
        upconn_close(c->busy);
    for (uint32_t i = 0; i < c->targets; i++)
        while (c->idle[i])
            upconn_close(c->idle[i]);
    loop_settle(c->loop); /* what upconn_close put off */
    pool_trim(&c->conns);
    if (c->stamp_fd >= 0)
        close(c->stamp_fd);
    mem_free(c->idle);
    mem_free(c->idle_count);
    mem_free(c);
}

void *http_client_user(struct http_client *c)
{
    return c->user;
}
void http_client_set_user(struct http_client *c, void *user)
{
    c->user = user;
}
const struct http_client_counters *http_client_counters(const struct http_client *c)
{
    return c->counters;
}
