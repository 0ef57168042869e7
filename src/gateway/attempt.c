/* attempt.c -- step 5: one try at one deployment, until its answer may go to the client or it has failed.
 *
 * http/client.c's callbacks arrive here. An answer is the client's, and goes to relay.c, as soon as it is known to be one:
 *   a plain answer   with its head (relay.c holds small ones until they are whole: until then it may still fail and be tried again);
 *   a stream         with its first event. Up to then nothing has been sent, so a stream that hangs, dies or begins with an error can be tried
 *                    elsewhere, and where nothing else is left the error is a plain answer with a status that SDKs understand. The event goes out the
 *                    moment it is whole: nothing is delayed but the head, which would otherwise have gone alone;
 *   an error         never at once: its body is read (up to a cap) for what it says, then again.c decides. Where nothing is tried again, it is
 *                    relayed byte for byte.
 * With two attempts at once (hedge.c) the first to get that far wins; the other one is cancelled. */
#include "gateway/attempt.h"

#include "gateway/gateway.h"

#define REFUSED_BYTES_MAX RELAY_HOLD_BYTES

/* ---- beginning and end ---- */

static bool is_live(const struct attempt *a)
{
    return a && a->phase != ATTEMPT_NONE;
}

/* Is it (still) the one that relay.c carries over? What relay.c is given may end it, and the request, whose arena may be the attempt's memory: then
 * only `r` is still there, to the end of the loop's pass. */
static bool is_won(const struct request *r, const struct attempt *a)
{
    return !r->recorded && r->attempt == a && a->phase == ATTEMPT_WON;
}

static struct attempt *other_than(struct request *r, const struct attempt *a)
{
    struct attempt *other = a == &r->first_attempt ? r->second_attempt : &r->first_attempt;
    return is_live(other) ? other : NULL;
}

static void no_token_in_time(struct timer *t)
{
    struct attempt *a = CONTAINER(t, struct attempt, timer);
    struct request *r = a->request;
    char text[96];
    int64_t ms = (int64_t)((loop_now_ns(r->worker->loop) - a->chosen_ns) / NS_PER_MS);
    snprintf(text, sizeof text, "no token of the stream within %lld ms", (long long)ms);
    attempt_failed(a, ERR_UPSTREAM_TIMEOUT, str_from(text));
}

void attempt_start(struct attempt *a)
{
    struct request *r = a->request;
    a->phase = ATTEMPT_SENT;
    a->retry_after_ms = -1;
    a->timer.on_fire = no_token_in_time;
    __atomic_add_fetch(&a->state->in_flight, 1, __ATOMIC_RELAXED);
    a->number = ++r->record.attempts;
    http_send(r->snapshot->client, &a->exchange);
}

/* Stops all that belongs to it. What became of it has been counted. */
static void stop(struct attempt *a)
{
    struct request *r = a->request;
    timer_clear(r->worker->loop, &a->timer);
    http_cancel(r->snapshot->client, &a->exchange);
    if (a->phase > ATTEMPT_CHOSEN)
        __atomic_sub_fetch(&a->state->in_flight, 1, __ATOMIC_RELAXED);
    bool reached = a->exchange.sent_ns || a->exchange.head_ns; /* some answer before all is sent */
    r->reached_upstream |= reached;
    deployment_settle(r, &a->ticket, reached, a->phase == ATTEMPT_WON);
    if (a->half_open && !a->judged)
        fleet_untried(a->state);
    a->half_open = false;
    a->phase = ATTEMPT_NONE;
}

void attempt_fini(struct attempt *a)
{
    if (is_live(a))
        stop(a);
    buf_fini(&a->held);
}

void attempt_drop(struct attempt *a)
{
    static const struct failure lost = {.code = ERR_HEDGE_LOST};
    if (a->phase > ATTEMPT_CHOSEN)
        finish_attempt(a, &lost);
    stop(a);
    buf_fini(&a->held);
}

void attempts_cancel(struct request *r)
{
    struct attempt *both[] = {&r->first_attempt, r->second_attempt};
    static const struct failure gone = {.code = ERR_CLIENT_GONE};
    for (size_t i = 0; i < COUNT(both); i++) {
        if (!is_live(both[i]))
            continue;
        if (both[i] != r->attempt)
            finish_attempt(both[i], &gone); /* the other one is told by the request's own record */
        stop(both[i]);
    }
}

void attempt_first_token(struct attempt *a)
{
    timer_clear(a->request->worker->loop, &a->timer);
}

/* ---- won ---- */

static void win(struct attempt *a)
{
    struct request *r = a->request;
    struct attempt *other = other_than(r, a);
    ENSURE(!http_began(r->conn));
    timer_clear(r->worker->loop, &r->timer);
    if (other)
        attempt_drop(other);
    a->phase = ATTEMPT_WON;
    if (!a->is_events) /* asked for as a stream, but it is none: silence is all that is timed now */
        timer_clear(r->worker->loop, &a->timer);
    if (a->status < 300 && !a->judged) {
        fleet_alive(a->state);
        a->half_open = false; /* a trial that comes later is not this one's to end */
    }
    route_take(r, a);
    relay_head(r);
}

/* What was kept back of its body goes to relay.c first. */
static void win_with(struct attempt *a, struct str piece)
{
    struct request *r = a->request;
    struct str held = buf_str(&a->held);
    win(a);
    if (held.n)
        relay_body(r, held);
    if (piece.n && is_won(r, a))
        relay_body(r, piece);
}

/* ---- failed ---- */

void attempt_judge(struct attempt *a, const struct failure *f)
{
    struct request *r = a->request;
    struct attempt_failure said = {.class = f->class,
                                   .status = a->status >= 400 ? a->status : 0,
                                   .retry_after_ms = a->retry_after_ms};
    if (a->judged)
        return;
    a->judged = true;
    a->rested = fleet_failed(a->state, a->deployment, &r->config->routing, r->group->count == 1,
                             &said, loop_now_ns(r->worker->loop));
}

bool attempt_refused(struct attempt *a, const struct failure *f)
{
    struct request *r = a->request;
    struct attempt *other = other_than(r, a);
    attempt_judge(a, f);
    if (http_began(r->conn))
        return false;
    again_note(r, a);
    if (!other && !again_plan(r, a, f))
        return false;
    finish_attempt(a, f);
    stop(a);
    buf_fini(&a->held);
    relay_reset(r);
    if (other)
        route_take(r, other); /* goes on alone */
    else
        again_go(r);
    return true;
}

static void fail(struct attempt *a, const struct failure *f)
{
    struct request *r = a->request;
    if (attempt_refused(a, f))
        return;
    route_take(r, a);
    r->upstream_status = a->status;
    stop(a);
    request_fail(r, f->code, f->detail);
}

void attempt_failed(struct attempt *a, enum error_code code, struct str detail)
{
    struct failure f = {code, detail, failure_classify(code, a->status, buf_str(&a->held))};
    fail(a, &f);
}

/* An error's body is here, or as much of it as is kept and a piece more. */
static void refused(struct attempt *a, struct str rest, bool complete)
{
    struct request *r = a->request;
    struct failure f = {.code = ERR_UPSTREAM_ERROR};
    f.class = failure_classify(f.code, a->status, buf_str(&a->held));
    if (attempt_refused(a, &f))
        return;
    win_with(a, rest);
    if (complete && is_won(r, a))
        relay_done(r);
}

/* ---- a stream's first event ---- */

/* The end of the first whole frame in `bytes` (a comment, an event), or 0. Line ends may be LF, CR LF or CR (HTML, "Server-sent events"). */
static size_t first_frame(struct str bytes)
{
    const char *end = bytes.p + bytes.n;
    bool any = false;
    for (const char *line = bytes.p; line && line < end;) {
        const char *lf = memchr(line, '\n', (size_t)(end - line)), *stop = lf ? lf : end;
        const char *cr = memchr(line, '\r', (size_t)(stop - line)), *at = cr ? cr : stop;
        if (at == end)
            return 0;
        const char *next = at + 1 + (*at == '\r' && at + 1 < end && at[1] == '\n');
        if (at == line && any)
            return (size_t)(next - bytes.p);
        any = any || at > line;
        line = next;
    }
    return 0;
}

/* The data of the first event in `bytes` (its first line of it), or empty. */
static struct str first_data(struct str bytes)
{
    while (bytes.n) {
        struct str line = str_trim(str_cut(&bytes, '\n'));
        if (str_starts(line, STR("data:")))
            return str_trim(str_skip(line, 5));
    }
    return STR_NONE;
}

/* Says the first event that the provider failed? Then `*f` is how, and a->status what it says or stands for. */
static bool begins_with_error(struct attempt *a, struct str frame, struct failure *f)
{
    return str_contains(frame, STR("\"error\"")) && answer_is_error(a, first_data(frame), f);
}

static void stream_began(struct attempt *a, struct str piece)
{
    struct failure f = {0};
    bool was_empty = buf_used(&a->held) == 0;
    struct str seen = piece;
    size_t end = was_empty ? first_frame(piece) : 0;
    if (!end) {
        if (!buf_append_str(&a->held, piece)) {
            win_with(a, piece); /* an event larger than is kept back: let it go */
            return;
        }
        seen = buf_str(&a->held);
        end = first_frame(seen);
    }
    if (!end)
        return;
    if (begins_with_error(a, (struct str){seen.p, end}, &f))
        fail(a, &f);
    else
        win_with(a, was_empty && seen.p == piece.p ? piece : STR_NONE);
}

static void stream_ended_early(struct attempt *a)
{
    struct request *r = a->request;
    struct failure f = {0};
    struct str held = buf_str(&a->held);
    if (!answer_is_event(
            first_data(held))) { /* the last event's empty line may be missing, but no more */
        attempt_failed(a, ERR_UPSTREAM_TRUNCATED, STR("the stream ended before its first event"));
    } else if (begins_with_error(a, held, &f)) {
        fail(a, &f);
    } else {
        win_with(a, STR_NONE);
        if (is_won(r, a))
            relay_done(r);
    }
}

/* ---- callbacks of the exchange ---- */

static bool is_media(const struct h1_head *h, struct str wanted)
{
    struct str rest = h1_get(h, H1_CONTENT_TYPE), media = str_trim(str_cut(&rest, ';'));
    return str_ieq(media, wanted);
}

/* Packed although identity was asked for? Then its bytes are passed on, and nothing in them can be read or left out. */
static bool is_packed(const struct h1_head *h)
{
    struct str coding = h1_get(h, H1_CONTENT_ENCODING);
    return coding.n && !str_ieq(coding, STR("identity"));
}

static void on_head(struct http_exchange *x, const struct h1_head *h)
{
    struct attempt *a = CONTAINER(x, struct attempt, exchange);
    struct request *r = a->request;
    struct pool *blocks = http_server_blocks(r->worker->server);
    a->status = h->status;
    a->length = h->framing == H1_BODY_LENGTH ? (int64_t)h->content_length
                : h->framing == H1_BODY_NONE ? 0
                                             : -1;
    a->ends_by_close = h->framing == H1_BODY_EOF;
    a->packed = is_packed(h);
    a->content_type = r->cache.keeps ? arena_str(&r->arena, h1_get(h, H1_CONTENT_TYPE)) : STR_NONE;
    a->is_events = is_media(h, STR("text/event-stream")) && !a->packed && h->status < 300;
    a->is_json = is_media(h, STR("application/json"));
    if (h->status < 200 || (h->status >= 300 && h->status < 400)) {
        char text[128];
        snprintf(text, sizeof text,
                 "the upstream answered %d, which is no answer to an API call; check api_base",
                 h->status);
        attempt_failed(a, ERR_UPSTREAM_PROTOCOL, str_from(text));
        return;
    }
    upstream_limits_note(a->state, h);
    a->headers = answer_headers(r, a, h);
    buf_init(&a->held, REFUSED_BYTES_MAX, blocks);
    if (h->status >= 400) {
        a->phase = ATTEMPT_REFUSED;
        a->retry_after_ms = retry_after_ms(h, clock_real_us());
    } else if (a->is_events) {
        a->phase = ATTEMPT_STREAM;
    } else {
        win(a);
    }
}

static void on_body(struct http_exchange *x, struct str piece)
{
    struct attempt *a = CONTAINER(x, struct attempt, exchange);
    if (a->phase == ATTEMPT_WON)
        relay_body(a->request, piece);
    else if (a->phase == ATTEMPT_STREAM)
        stream_began(a, piece);
    else if (!buf_append_str(&a->held, piece))
        refused(a, piece, false);
}

static void on_done(struct http_exchange *x)
{
    struct attempt *a = CONTAINER(x, struct attempt, exchange);
    timer_clear(a->request->worker->loop, &a->timer); /* it has ended without a token: no fault */
    if (a->phase == ATTEMPT_WON)
        relay_done(a->request);
    else if (a->phase == ATTEMPT_STREAM)
        stream_ended_early(a);
    else
        refused(a, STR_NONE, true);
}

static void on_fail(struct http_exchange *x, enum error_code code, const char *detail)
{
    attempt_failed(CONTAINER(x, struct attempt, exchange), code, str_from(detail));
}

const struct http_exchange attempt_callbacks = {
    .on_head = on_head, .on_body = on_body, .on_done = on_done, .on_fail = on_fail};
