/* relay.c -- step 6: carry the upstream's answer to the client while it is being produced.
 *
 * attempt.c calls relay_head, relay_body (many times) and relay_done, once an answer may go to the client. Three ways through:
 *   STREAMING  server-sent events: every piece goes on the moment it came; a scanner looks at each event on the way. Only when weir asked for
 *              a usage event that the client did not ask for are events handed on whole, so that this one can be left out.
 *   HOLDING    a plain answer of up to RELAY_HOLD_BYTES: sent when it is whole, so its cost and times can stand in its head and a
 *              truncated one becomes a clean 502.
 *   PLAIN      a larger one: passed on in pieces, its last piece held back.
 * Back-pressure: when the client takes less than comes, reading from the upstream stops until on_drained. Nothing grows without a bound.
 * The end: the record must be in the log before the client can have the whole answer, and must not say "success" of one that it never took.
 * So the answer's last bytes (the final chunk, or the piece held back) are queued only when what was before them has left. */
#include "gateway/gateway.h"

#define TAIL_QUEUE_MAX_BYTES                                                                       \
    (32u *                                                                                         \
     1024u) /* what may still be queued when the end goes out with it: about a socket's buffer */

/* May it wait until it is whole? What was asked for as a stream and is not plainly something else may not. */
static bool may_hold(const struct request *r, const struct attempt *a)
{
    if (a->length > (int64_t)RELAY_HOLD_BYTES)
        return false;
    return !r->stream || a->status >= 300 || a->is_json;
}

/* The first byte: from here on nothing is tried again, and the request's body is not needed any more. */
static void begin(struct request *r, int64_t length)
{
    http_begin(r->conn, r->upstream_status, answer_headers_so_far(r), length);
    if (r->attempt->exchange
            .sent_ns) { /* an early answer to a request still on its way leaves the body where it is */
        r->http = NULL;
        http_release_body(r->conn);
    }
}

/* To the client, and to the cache where the answer is to be kept. */
static void pass_on(struct request *r, struct str piece)
{
    http_body(r->conn, piece);
    cache_take_piece(r, piece);
}

void relay_head(struct request *r)
{
    const struct attempt *a = r->attempt;
    struct pool *blocks = http_server_blocks(r->worker->server);
    r->upstream_status = a->status;
    r->upstream_length = a->length;
    r->ends_by_close = a->ends_by_close;
    r->answer_headers = a->headers;
    cache_take_head(r, a);
    buf_init(&r->held, RELAY_HOLD_BYTES * 2, blocks);
    buf_init(&r->captured, (size_t)r->config->log_body_bytes + 1, NULL);
    if (a->is_events) {
        r->relay = RELAY_STREAMING;
        sse_scan_init(&r->sse, blocks);
        COUNTER_ADD(r->worker->streams, 1);
        r->counted_stream = true;
        r->record.stream = true;
        begin(r, -1);
        return;
    }
    if (!a->packed)
        answer_look_start(r);
    r->relay = may_hold(r, a) ? RELAY_HOLDING : RELAY_PLAIN;
    if (r->relay == RELAY_PLAIN)
        begin(r, r->upstream_length);
}

/* The answer is not what it should be. */
static void failed(struct request *r, enum error_code code, struct str detail)
{
    http_cancel(r->snapshot->client, &r->attempt->exchange);
    attempt_failed(r->attempt, code, detail);
}

/* Stops the upstream when the client's queue is long even after an attempt to shorten it. */
static void press_back(struct request *r)
{
    if (http_queued(r->conn) > RELAY_QUEUE_MAX_BYTES && http_flush_now(r->conn) > 0) {
        r->paused = true;
        r->attempt->exchange.total_timeout_ms =
            0; /* how long it takes is the client's doing now; silence still counts */
        http_pause(&r->attempt->exchange);
    }
}

/* Passes on all of `piece` at once, and looks at the events in it. */
static void stream_through(struct request *r, struct str piece)
{
    struct sse_event ev;
    bool got;
    pass_on(r, piece);
    while (piece.n) {
        piece = str_skip(piece, sse_scan_feed(&r->sse, piece.p, piece.n, &ev, &got));
        if (got && !ev.too_long)
            answer_look_event(r, ev.data);
    }
}

/* Passes on whole events, but the one that only weir asked for. Neighbours in the piece stay together. */
static bool stream_whole_events(struct request *r, struct str piece)
{
    struct sse_event ev;
    struct str run = {piece.p, 0};
    bool got;
    while (piece.n) {
        bool from_before = sse_scan_held(&r->sse) > 0;
        size_t used = sse_scan_feed(&r->sse, piece.p, piece.n, &ev, &got);
        if (got && ev.too_long)
            return false;
        bool hide = got && answer_look_event(r, ev.data);
        if (got && !hide && !from_before) {
            run.n += used;
        } else {
            pass_on(r, run);
            if (got && !hide)
                pass_on(r, ev.raw); /* it began in an earlier piece */
            run = (struct str){piece.p + used, 0};
        }
        piece = str_skip(piece, used);
    }
    pass_on(r, run);
    return !r->sse.too_long; /* the one that is not complete yet */
}

static void capture(struct request *r, struct str piece)
{
    if (!r->config->log_responses || r->config->turn_off_message_logging)
        return;
    size_t room = (size_t)r->config->log_body_bytes -
                  MIN(buf_used(&r->captured), (size_t)r->config->log_body_bytes);
    if (!buf_append(&r->captured, piece.p, MIN(piece.n, room)))
        return; /* full: the marker in the log says how much is missing */
}

/* HOLDING no longer works out (no length was given, and it is long): pass on what there is and go on in pieces. */
static void stop_holding(struct request *r)
{
    r->relay = RELAY_PLAIN;
    begin(r, -1);
    pass_on(r, buf_str(&r->held));
    buf_fini(&r->held);
}

void relay_body(struct request *r, struct str piece)
{
    bool ok = true;
    r->relayed_bytes += piece.n;
    capture(r, piece);
    if (r->relay == RELAY_STREAMING) {
        if (r->added_usage)
            ok = stream_whole_events(r, piece);
        else
            stream_through(r, piece);
    } else {
        answer_look_piece(r, piece);
        if (r->relay == RELAY_HOLDING && buf_used(&r->held) + piece.n > RELAY_HOLD_BYTES)
            stop_holding(r);
        bool last = r->relay == RELAY_PLAIN && (int64_t)r->relayed_bytes == r->upstream_length;
        if (r->relay == RELAY_HOLDING || last)
            ok = buf_append_str(&r->held, piece);
        else
            pass_on(r, piece);
    }
    if (!ok) {
        failed(r, ERR_UPSTREAM_PROTOCOL, STR("an event of the stream is larger than weir keeps"));
        return;
    }
    press_back(r);
}

/* The stream's last event may lack its empty line: it is looked at as if it had one. Where whole events are passed on, it is still to be
 * sent. Returns its bytes. */
static size_t look_at_rest(struct request *r)
{
    struct sse_event ev;
    bool got = false;
    size_t rest = sse_scan_held(&r->sse);
    if (!rest)
        return 0;
    sse_scan_feed(&r->sse, "\n\n", 2, &ev, &got);
    if (!got || ev.too_long)
        return rest;
    bool hide = answer_look_event(r, ev.data);
    if (r->added_usage && !hide)
        r->tail = (struct str){ev.raw.p, rest}; /* in r->sse until relay_fini */
    return hide ? 0 : rest;
}

/* Was the stream cut somewhere before us, although its framing calls it complete? [DONE] proves that it was not. A finish_reason will do too, but
 * not in the middle of an event, nor where the end of the connection is all there is of framing. */
static bool stream_was_cut(struct request *r)
{
    size_t rest = look_at_rest(r);
    if (r->saw_done || r->saw_error)
        return false;
    return !r->saw_finish || rest > 0 || r->ends_by_close;
}

/* A plain answer is whole. False: it is not what it should be, and was dealt with. */
static bool plain_is_good(struct request *r)
{
    struct attempt *a = r->attempt;
    struct failure f = {0};
    bool half_json = !answer_look_end(r), held = r->relay == RELAY_HOLDING;
    if (r->upstream_status >= 300)
        return true;
    if (half_json && (r->ends_by_close || (held && a->is_json))) {
        failed(r, ERR_UPSTREAM_TRUNCATED,
               r->ends_by_close ? STR("the connection closed in the middle of the answer's JSON")
                                : STR("the answer says it is JSON and is not"));
        return false;
    }
    if (held && r->saw_error && !r->saw_finish && answer_is_error(a, buf_str(&r->held), &f)) {
        if (attempt_refused(a, &f))
            return false;
        r->upstream_status =
            a->status; /* nobody else to ask: the provider's words, under a status that SDKs understand */
    }
    return true;
}

void relay_done(struct request *r)
{
    if (r->relay == RELAY_STREAMING && stream_was_cut(r)) {
        failed(r, ERR_UPSTREAM_TRUNCATED,
               STR("the stream ended without [DONE] or a finish_reason"));
        return;
    }
    if (r->relay != RELAY_STREAMING) {
        if (!plain_is_good(r))
            return;
        r->tail = buf_str(&r->held);
    }
    request_run(r);
}

static void send_held_answer(struct request *r)
{
    finish_measure(r);
    http_begin(r->conn, r->upstream_status, answer_headers_with_costs(r), (int64_t)r->tail.n);
    pass_on(r, r->tail);
}

enum step_result relay_run(struct request *r)
{
    if (r->relay == RELAY_HOLDING) {
        send_held_answer(r);
        return STEP_NEXT;
    }
    bool queue_is_long = http_queued(r->conn) > TAIL_QUEUE_MAX_BYTES || http_blocked(r->conn);
    if (queue_is_long && http_flush_now(r->conn) > 0) {
        r->relay = RELAY_DRAINING;
        return STEP_WAIT;
    }
    pass_on(r, r->tail);
    return STEP_NEXT;
}

void relay_drained(struct request *r)
{
    if (r->relay == RELAY_DRAINING) {
        request_run(r);
    } else if (r->paused) {
        r->paused = false;
        http_resume(r->snapshot->client, &r->attempt->exchange);
    }
}

void relay_fini(struct request *r)
{
    if (r->relay == RELAY_IDLE)
        return;
    buf_fini(&r->held);
    buf_fini(&r->captured);
    if (r->look)
        pool_put(&r->worker->looks, r->look);
    r->look = NULL;
    if (r->counted_stream)
        sse_scan_fini(&r->sse);
}

void relay_reset(struct request *r)
{
    struct record fresh;
    ENSURE(!r->counted_stream && !r->token_events);
    relay_fini(r);
    r->relay = RELAY_IDLE;
    r->upstream_status = r->answer_status = 0;
    r->upstream_length = -1;
    r->relayed_bytes = r->content_bytes = 0;
    r->saw_error = r->saw_finish = r->ends_by_close = false;
    r->answer_is_json = r->answer_is_no_json = false;
    r->tail = r->answer_headers = STR_NONE;
    record_init(&fresh);
    r->record.finish_reason = fresh.finish_reason;
    r->record.prompt_tokens = fresh.prompt_tokens;
    r->record.completion_tokens = fresh.completion_tokens;
    r->record.total_tokens = fresh.total_tokens;
    r->record.cached_tokens = fresh.cached_tokens;
    r->record.reasoning_tokens = fresh.reasoning_tokens;
    r->record.engine = fresh.engine;
    r->record.error = fresh.error;
}
