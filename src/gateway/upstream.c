/* upstream.c -- step 5: send the request to the deployment that was chosen.
 *
 * Builds the head, lets the dialect lay out the body as pieces of the client's own bytes, and hands both to http/client.c. Then it waits: what comes
 * back arrives in attempt.c. */
#include "gateway/gateway.h"
#include "gateway/lines.h"

/* The request's head as one string in the arena: the deployment's fixed lines and this request's own. */
static struct str build_head(struct request *r, const struct deployment *d, struct str path,
                             size_t body_bytes)
{
    const struct deployment_texts *texts = &r->snapshot->shared->texts[d->id];
    size_t room = 160 + texts->start.n + path.n + texts->upstream.n + r->forwarded.n + r->accept.n +
                  r->traceparent_out.n + r->tracestate.n + r->record.request_id.n;
    char *head = arena_alloc(&r->arena, room), *at = head;
    at = put(at, texts->start);
    at = put(at, path);
    at = put(at, texts->upstream);
    at = put(at, STR("content-length: "));
    at = digits_u64(at, body_bytes);
    at = put(at, STR("\r\n"));
    if (r->accept.n)
        at = put_line(at, STR("accept"), r->accept);
    if (r->record.request_id.n)
        at = put_line(at, STR("x-request-id"), r->record.request_id);
    if (r->traceparent_out.n)
        at = put_line(at, STR("traceparent"), r->traceparent_out);
    if (r->tracestate.n)
        at = put_line(at, STR("tracestate"), r->tracestate);
    at = put(at, r->forwarded);
    at = put(at, STR("\r\n"));
    ENSURE((size_t)(at - head) <= room);
    return (struct str){head, (size_t)(at - head)};
}

/* A client may set the time-out of its own request (x-litellm-timeout, "timeout" in the body; seconds): shorter or longer, as with LiteLLM. */
static int64_t asked_timeout_ms(const struct request *r, enum h1_field field, int64_t configured_ms)
{
    double seconds;
    if (!str_to_f64(h1_get(r->http->head, field), &seconds))
        seconds = r->asked_timeout_s;
    if (!(seconds > 0 && seconds <= 86400))
        return configured_ms;
    return MAX((int64_t)(seconds * 1000), 1);
}

/* How long it may take to connect is the client's (http/client.h) limit; here: until the answer begins, between its pieces, and as a whole. */
static void set_timeouts(struct attempt *a)
{
    struct request *r = a->request;
    const struct deployment *d = a->deployment;
    const struct routing *routing = &r->config->routing;
    int64_t timeout_ms = asked_timeout_ms(r, H1_X_LITELLM_TIMEOUT, d->timeout_ms);
    if (!r->stream) {
        a->exchange.answer_timeout_ms = a->exchange.silence_timeout_ms =
            a->exchange.total_timeout_ms = timeout_ms;
        return;
    }
    int64_t stream_ms = asked_timeout_ms(r, H1_X_LITELLM_STREAM_TIMEOUT, d->stream_timeout_ms);
    int64_t wait_ms = stream_ms > 0 ? stream_ms : timeout_ms;
    int64_t first_ms = routing->first_token_timeout_ms, silence_ms = routing->silence_timeout_ms;
    first_ms = first_ms > 0 ? first_ms : wait_ms;
    a->exchange.answer_timeout_ms = first_ms;
    a->exchange.silence_timeout_ms = silence_ms > 0 ? silence_ms : wait_ms;
    a->exchange.total_timeout_ms = routing->stream_total_timeout_ms;
    if (first_ms > 0)
        timer_set(r->worker->loop, &a->timer, a->chosen_ns + (uint64_t)first_ms * NS_PER_MS);
}

void upstream_send(struct attempt *a)
{
    struct request *r = a->request;
    const struct deployment *d = a->deployment;
    const struct dialect_ops *dialect = provider_dialect(d->provider->dialect);
    struct iovec layout[DIALECT_PIECES_MAX];
    size_t body_bytes;
    int count = dialect->body(r, a->upstream_model, layout, &body_bytes);
    a->pieces = arena_alloc(&r->arena, (size_t)(count + 1) * sizeof *a->pieces);
    memcpy(a->pieces + 1, layout, (size_t)count * sizeof *layout);
    struct str head = build_head(r, d, dialect->path(r), body_bytes);
    a->pieces[0] = (struct iovec){(char *)head.p, head.n};
    a->exchange = attempt_callbacks;
    a->exchange.target = &r->snapshot->shared->targets[d->target];
    a->exchange.target_index = d->target;
    a->exchange.pieces = a->pieces;
    a->exchange.piece_count = count + 1;
    set_timeouts(a);
    attempt_start(a);
}

enum step_result upstream_run(struct request *r)
{
    upstream_send(r->attempt);
    if (r->record.attempts == 1)
        hedge_arm(r);
    r->step = STEP_RELAY; /* what comes next comes from there */
    return STEP_WAIT;
}
