/* control.c -- requests that the control thread answers, so that a scrape or a health check never holds up the road.
 *
 * The worker copies what the answer depends on into a job and posts it to the control loop; the answer comes back the same way. The client may leave in between:
 * the worker then clears job->conn, and the job ends in silence. Owner: the worker, but while the job is at the control thread only that reads and
 * writes it (all but `conn`, which stays the worker's). The jobs of /key/ go on from there to the keys thread (key_admin.c), which answers them the same way. */
#include "gateway/gateway.h"
#include "http/gzip.h"

#define JOB_BODY_BYTES_MAX 65536u

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

void control_gone(struct control_job *j)
{
    j->conn = NULL;
}

/* Back on the worker. */
static void answer(void *arg)
{
    struct control_job *j = arg;
    if (j->conn) {
        struct arena a;
        char first[512];
        arena_init(&a, first, sizeof first);
        struct str cors = reply_cors(&a, worker_config(j->worker), j->http->head);
        struct str headers =
            arena_printf(&a,
                         "%svary: accept-encoding\r\ncache-control: "
                         "no-store\r\nx-content-type-options: nosniff\r\n%.*s",
                         j->gzipped ? "content-encoding: gzip\r\n" : "", STR_ARG(cors));
        http_set_user(j->conn, NULL);
        http_reply(j->conn, j->status, str_from(j->content_type), headers, buf_str(&j->body));
        arena_fini(&a);
    }
    buf_fini(&j->body);
    mem_free((char *)j->request_body.p);
    mem_free(j);
}

void control_done(struct control_job *j)
{
    j->gzipped = gzip_accepted(str_from(j->accept_encoding)) && gzip_body(&j->body);
    if (j->worker->stopping) /* its loop has ended, and no thread but this one runs */
        answer(j);
    else
        loop_call(j->worker->loop, answer, j);
}
