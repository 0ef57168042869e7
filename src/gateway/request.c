/* request.c -- the life of a request, in one table. Read this file first.
 *
 *     accept -> intake -> auth -> limit -> cache -> route -> upstream -> relay -> record
 *                                                     ^---------|   again.c: only while no byte has reached the client
 *
 * http/server.c accepts and reads a whole request, then calls on_request below. From there each step runs in turn and says NEXT (go
 * on), WAIT (an event will call request_run again) or FAIL (the error is set: answer it, then record). A step never calls
 * another step. `record` runs exactly once, whatever happened, and before the answer's last bytes are handed to the kernel: a client
 * that got its whole answer has its record in the log.
 *
 * Who owns what: a struct request comes from its worker's pool and lives until its record is written and the answer is handed over; all its
 * strings are in its arena, in the connection's buffer (until http_release_body) or in the configuration snapshot it holds a reference to.
 * Thread: the worker's, always. */
#include <stdarg.h>

#include "gateway/gateway.h"

#define SMALL_BODY_BYTES 16384u /* read even where the answer is no: cheaper than a connection */

static const struct {
    const char *name;
    enum step_result (*run)(struct request *r);
} steps[STEP_COUNT] = {
    [STEP_INTAKE] = {"intake", intake_run},       /* what is asked for: model, stream, ids, trace */
    [STEP_AUTH] = {"auth", auth_run},             /* who asks */
    [STEP_LIMIT] = {"limit", limit_run},          /* may it go on now */
    [STEP_CACHE] = {"cache", cache_run},          /* has it been answered before */
    [STEP_ROUTE] = {"route", route_run},          /* which deployment answers */
    [STEP_UPSTREAM] = {"upstream", upstream_run}, /* send it there */
    [STEP_RELAY] = {"relay", relay_run},    /* carry the answer over while it is being produced */
    [STEP_RECORD] = {"record", finish_run}, /* log, metrics, cost: once, always */
};

struct request *request_of(struct http_conn *c)
{
    struct work *work = http_user(c);
    ENSURE(work && work->kind == WORK_REQUEST);
    struct request *r = CONTAINER(work, struct request, work);
    ENSURE(r->magic == REQUEST_MAGIC);
    return r;
}

static void request_free(void *owner, void *p)
{
    struct worker *w = owner;
    struct request *r = p;
    r->magic = 0;
    pool_put(&w->requests, r);
}

/* The road's end. The connection goes on to its next request as soon as the last bytes are out. */
static void request_end(struct request *r)
{
    struct worker *w = r->worker;
    ENSURE(r->recorded);
    timer_clear(w->loop, &r->timer);
    relay_fini(r);
    cache_request_fini(r);
    attempt_fini(&r->first_attempt);
    if (r->second_attempt)
        attempt_fini(r->second_attempt);
    limit_release(r); /* behind the attempts: they say whether an upstream was reached */
    COUNTER_ADD(w->in_flight, (uint64_t)-1);
    if (r->counted_stream)
        COUNTER_ADD(w->streams, (uint64_t)-1);
    if (r->conn)
        http_set_user(r->conn, NULL);
    key_put(r->key);
    arena_fini(&r->arena);
    worker_snapshot_put(r->snapshot);
    loop_later(w->loop, request_free, w, r); /* callbacks of this pass may still hold it */
}

void request_run(struct request *r)
{
    ENSURE(r->magic == REQUEST_MAGIC && !r->running);
    r->running = true;
    while (r->step < STEP_COUNT) {
        enum step_result result = steps[r->step].run(r);
        if (result == STEP_WAIT) {
            r->running = false;
            return;
        }
        if (result == STEP_FAIL) {
            ENSURE(r->step != STEP_RECORD && r->error != ERR_NONE);
            r->step = STEP_RECORD;
            continue;
        }
        r->step++;
    }
    r->running = false;
    struct http_conn *conn = r->conn;
    if (conn && r->error != ERR_NONE)
        reply_error(r);
    else if (conn)
        http_end(conn);
    request_end(r);
}

enum step_result request_error(struct request *r, enum error_code code, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (r->error == ERR_NONE) {
        r->error = code;
        r->error_detail = text[0] ? arena_str(&r->arena, str_from(text)) : STR_NONE;
    }
    return STEP_FAIL;
}

void request_fail(struct request *r, enum error_code code, struct str detail)
{
    request_error(r, code, "%.*s", STR_ARG(detail));
    r->step = STEP_RECORD;
    if (!r->running)
        request_run(r);
}

/* ---- what http/server.c calls ---- */

static struct request *request_new(struct worker *w, struct http_conn *c, struct http_request *q,
                                   const struct call_type *call)
{
    struct request *r = pool_get(&w->requests);
    memset(r, 0, offsetof(struct request, found));
    r->work.kind = WORK_REQUEST;
    r->magic = REQUEST_MAGIC;
    r->worker = w;
    r->snapshot = worker_snapshot_get(w);
    r->config = r->snapshot->shared->config;
    r->conn = c;
    r->http = q;
    r->call = call;
    r->body = q->body;
    r->arrived_ns = q->arrived_ns;
    r->upstream_length = -1;
    r->asked_retries = -1;
    arena_init(&r->arena, r->first_block, sizeof r->first_block);
    record_init(&r->record);
    COUNTER_ADD(w->in_flight, 1);
    http_set_user(c, &r->work);
    return r;
}

static enum error_code on_head(struct http_conn *c, const struct h1_head *h)
{
    bool small = h->framing == H1_BODY_LENGTH && h->content_length <= SMALL_BODY_BYTES &&
                 !h->expect_continue;
    if (h->framing == H1_BODY_NONE || small)
        return ERR_NONE; /* answered in on_request, over a connection that lives on */
    enum error_code why = ERR_NONE;
    const struct endpoint_row *row = endpoint_find(h->path, h->method, &why);
    if (!row)
        return why;
    struct worker *w = http_server_user(http_conn_server(c));
    return endpoint_auth(row, w, h);
}

static void answer_options(struct worker *w, struct http_conn *c, const struct http_request *q)
{
    struct arena a;
    char first[1024];
    arena_init(&a, first, sizeof first);
    struct str cors = reply_cors(&a, worker_config(w), q->head);
    struct str headers = arena_printf(&a, "allow: GET, HEAD, POST, OPTIONS\r\n%.*s", STR_ARG(cors));
    http_reply(c, 204, STR_NONE, headers, STR_NONE);
    arena_fini(&a);
}

static void on_request(struct http_conn *c, struct http_request *q)
{
    struct worker *w = http_server_user(http_conn_server(c));
    const struct h1_head *h = q->head;
    enum error_code why = ERR_NONE;
    http_set_user(c, NULL);
    if (h->method == H1_OPTIONS) {
        answer_options(w, c, q);
        return;
    }
    const struct endpoint_row *row = endpoint_find(h->path, h->method, &why);
    if (row)
        why = endpoint_auth(row, w, h);
    ENSURE(row || why != ERR_NONE);
    if (why != ERR_NONE) {
        reply_refusal(c, worker_config(w), h, why);
    } else if (row->call) {
        request_run(request_new(w, c, q, row->call));
    } else if (row->work) {
        control_start(w, c, q, row);
    } else {
        row->handle(w, c, q);
    }
}

static void on_drained(struct http_conn *c)
{
    struct work *work = http_user(c);
    if (!work)
        return;
    if (work->kind == WORK_JOB) {
        control_drained(CONTAINER(work, struct control_job, work));
        return;
    }
    struct request *r = request_of(c);
    if (r->step == STEP_CACHE)
        request_run(r); /* a replay goes on */
    else
        relay_drained(r);
}

static void on_gone(struct http_conn *c)
{
    struct work *work = http_user(c);
    if (!work)
        return;
    if (work->kind == WORK_JOB) {
        control_gone(CONTAINER(work, struct control_job, work));
        return;
    }
    struct request *r = request_of(c);
    r->conn = NULL;
    r->http = NULL;
    r->client_gone = true;
    if (!r->recorded) {
        attempts_cancel(r);
        request_fail(r, r->worker->stopping ? ERR_DRAINING : ERR_CLIENT_GONE, STR_NONE);
    }
}

const struct http_handler gateway_handler = {
    .on_head = on_head,
    .on_request = on_request,
    .on_drained = on_drained,
    .on_gone = on_gone,
    .write_error = reply_write_error,
};
