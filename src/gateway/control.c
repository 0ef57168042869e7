/* control.c -- requests that the control thread answers, so that a scrape or a health check never holds up the road.
 *
 * The worker copies what the answer depends on into a job and posts it to the control loop; the answer comes back the same way. The client may leave in between:
 * the worker then clears job->conn, and the job ends in silence. Owner: the worker, but while the job is at the control thread only that reads and
 * writes it (all but `conn`, which stays the worker's). A long answer (an exposition of a large gateway: megabytes) goes to the socket in pieces, one a
 * pass of the worker's loop, so that no request waits behind the whole of it. The jobs of /key/ go on from there to the keys thread (key_admin.c), which answers them the same way. */
#include "gateway/gateway.h"
#include "http/gzip.h"

#define JOB_BODY_BYTES_MAX 65536u
#define PIECE_BYTES        65536u

static void copy_text(char *to, size_t room, struct str s)
{
    size_t n = MIN(s.n, room - 1);
    if (n)
        memcpy(to, s.p, n);
    to[n] = '\0';
}

static void run_job(void *arg)
{
    struct control_job *j = arg;
    j->row->work(j->worker->gateway, j);
}

static void set_caller(struct control_job *j, struct worker *w, const struct h1_head *h)
{
    struct caller who = {0};
    if (j->row->key == KEY_NO)
        return;
    (void)auth_check(w, worker_config(w), h, &who); /* it passed before it came here */
    key_put(who.key);
    j->by_master = who.is_master;
    memcpy(j->key_hash, who.hash_hex, KEY_HASH_BYTES);
}

void control_start(struct worker *w, struct http_conn *c, const struct http_request *q,
                   const struct endpoint_row *row)
{
    if (w->stopping) { /* control's loop has ended, too */
        http_reply_error(c, ERR_DRAINING, NULL);
        return;
    }
    if (q->body.n > JOB_BODY_BYTES_MAX) {
        http_reply_error(c, ERR_BODY_TOO_LARGE, "at most 64 KiB here");
        return;
    }
    struct control_job *j = mem_alloc(sizeof *j);
    j->work.kind = WORK_JOB;
    j->worker = w;
    j->conn = c;
    j->http = q;
    j->row = row;
    j->status = 200;
    j->content_type = "application/json";
    buf_init(&j->body, 0, NULL);
    copy_text(j->query, sizeof j->query, q->head->query);
    copy_text(j->accept, sizeof j->accept, h1_get(q->head, H1_ACCEPT));
    copy_text(j->accept_encoding, sizeof j->accept_encoding, h1_get(q->head, H1_ACCEPT_ENCODING));
    j->request_body = (struct str){mem_strdup(q->body), q->body.n};
    set_caller(j, w, q->head);
    http_set_user(c, &j->work);
    loop_call(w->gateway->control, run_job, j);
}

/* Of all clients that read slowly together: an exposition can be tens of megabytes, and each of them keeps one. */
#define ANSWERS_BYTES_MAX ((uint64_t)128 << 20)

bool control_is_full(const struct gateway *g)
{
    return __atomic_load_n(&g->answers_bytes, __ATOMIC_RELAXED) > ANSWERS_BYTES_MAX;
}

static void free_job(struct control_job *j)
{
    __atomic_sub_fetch(&j->worker->gateway->answers_bytes, j->held_bytes, __ATOMIC_RELAXED);
    buf_fini(&j->body);
    mem_free((char *)j->request_body.p);
    mem_free(j);
}

void control_gone(struct control_job *j)
{
    j->conn = NULL;
    if (j->sending && !j->called)
        free_job(j);
}

/* The next piece. What follows comes in the next pass, or when the client has taken this one. */
static void send_piece(void *arg)
{
    struct control_job *j = arg;
    j->called = false;
    if (!j->conn) {
        free_job(j);
        return;
    }
    struct str rest = buf_str(&j->body);
    bool last = rest.n <= PIECE_BYTES;
    http_body(j->conn, (struct str){rest.p, MIN(rest.n, PIECE_BYTES)});
    if (last) {
        http_set_user(j->conn, NULL);
        http_end(j->conn);
        free_job(j);
        return;
    }
    buf_consume(&j->body, PIECE_BYTES);
    if (!j->worker->stopping && http_flush_now(j->conn) == 0) {
        j->called = true;
        loop_call(j->worker->loop, send_piece, j);
    }
}

void control_drained(struct control_job *j)
{
    if (j->sending && !j->called)
        send_piece(j);
}

static void begin_answer(struct control_job *j)
{
    struct arena a;
    char first[512];
    arena_init(&a, first, sizeof first);
    struct str cors = reply_cors(&a, worker_config(j->worker), j->http->head);
    struct str headers = arena_printf(
        &a,
        "content-type: %s\r\n%svary: accept-encoding\r\ncache-control: "
        "no-store\r\nx-content-type-options: nosniff\r\n%.*s",
        j->content_type, j->gzipped ? "content-encoding: gzip\r\n" : "", STR_ARG(cors));
    http_begin(j->conn, j->status, headers, (int64_t)buf_used(&j->body));
    arena_fini(&a);
}

/* Back on the worker. */
static void answer(void *arg)
{
    struct control_job *j = arg;
    if (j->conn)
        begin_answer(j);
    j->sending = true;
    send_piece(j);
}

void control_done(struct control_job *j)
{
    if (!j->gzipped)
        j->gzipped = gzip_accepted(str_from(j->accept_encoding)) && gzip_body(&j->body);
    j->held_bytes = buf_used(&j->body);
    __atomic_add_fetch(&j->worker->gateway->answers_bytes, j->held_bytes, __ATOMIC_RELAXED);
    if (j->worker->stopping) /* its loop has ended, and no thread but this one runs */
        answer(j);
    else
        loop_call(j->worker->loop, answer, j);
}
