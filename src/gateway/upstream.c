/* upstream.c -- step 5: send the request to the deployment that was chosen.
 *
 * Builds the head, lets the dialect lay out the body as pieces of the client's own bytes, and hands both to http/client.c. Then it waits: the
 * answer's head, pieces and end arrive as callbacks and go to relay.c. What fails before the first byte reached the client fails the step. */
#include "gateway/gateway.h"
#include "gateway/lines.h"

static void on_head(struct http_exchange *x, const struct h1_head *h)
{
    relay_head(CONTAINER(x, struct request, exchange), h);
}
static void on_body(struct http_exchange *x, struct str piece)
{
    relay_body(CONTAINER(x, struct request, exchange), piece);
}
static void on_done(struct http_exchange *x)
{
    relay_done(CONTAINER(x, struct request, exchange));
}

static void on_fail(struct http_exchange *x, enum error_code code, const char *detail)
{
    struct request *r = CONTAINER(x, struct request, exchange);
    request_fail(r, code, str_from(detail));
}

/* The request's head as one string in the arena: the deployment's fixed lines and this request's own. */
static struct str build_head(struct request *r, struct str path, size_t body_bytes)
{
    const struct deployment_texts *texts = &r->snapshot->shared->texts[r->deployment->id];
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

/* A client may set the time-out of its own request (x-litellm-timeout, seconds): shorter or longer, as with LiteLLM. */
static int64_t asked_timeout_ms(const struct request *r, enum h1_field field, int64_t configured_ms)
{
    double seconds;
    if (!str_to_f64(h1_get(r->http->head, field), &seconds) || seconds <= 0 || seconds > 86400)
        return configured_ms;
    return MAX((int64_t)(seconds * 1000), 1);
}

enum step_result upstream_run(struct request *r)
{
    const struct deployment *d = r->deployment;
    const struct dialect_ops *dialect = provider_dialect(d->provider->dialect);
    size_t body_bytes;
    int body_pieces = dialect->body(r, r->pieces + 1, &body_bytes);
    ENSURE(body_pieces + 1 <= (int)COUNT(r->pieces));
    struct str head = build_head(r, dialect->path(r), body_bytes);
    r->pieces[0] = (struct iovec){(char *)head.p, head.n};
    int64_t timeout_ms = asked_timeout_ms(r, H1_X_LITELLM_TIMEOUT, d->timeout_ms);
    int64_t stream_ms = asked_timeout_ms(r, H1_X_LITELLM_STREAM_TIMEOUT, d->stream_timeout_ms);
    int64_t wait_ms = r->stream && stream_ms > 0 ? stream_ms : timeout_ms;
    r->exchange = (struct http_exchange){
        .target = &r->snapshot->shared->targets[d->target],
        .target_index = d->target,
        .pieces = r->pieces,
        .piece_count = body_pieces + 1,
        .answer_timeout_ms = wait_ms,
        .silence_timeout_ms = wait_ms,
        .total_timeout_ms = r->stream ? 0 : timeout_ms,
        .on_head = on_head,
        .on_body = on_body,
        .on_done = on_done,
        .on_fail = on_fail,
    };
    r->record.attempts = 1;
    r->step = STEP_RELAY; /* what comes next comes from there */
    http_send(r->snapshot->client, &r->exchange);
    return STEP_WAIT;
}
