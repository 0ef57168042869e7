/* admin.c -- what weir says of itself over HTTP: health, models, the status page and its data.
 *
 * Handlers with a worker answer at once on that worker (they are small); those with a job run on the control thread. Shapes are LiteLLM's where it has
 * them (docs/compatibility.md). */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/engine.h"
#include "gateway/gateway.h"
#include "gateway/key_service.h"

#define CREATED            1677610602 /* LiteLLM's constant */
#define TAIL_BYTES_MAX     (1024u * 1024u)
#define REQUESTS_SHOWN_MAX 200

__asm__(
    ".section .rodata\n"
    ".globl status_page, status_page_end\n" /* link-time optimisation may put this and its users into different objects */
    "status_page:\n"
    ".incbin \"web/status.html\"\n"
    "status_page_end:\n"
    ".byte 0\n"
    ".previous\n");
extern const char status_page[], status_page_end[];

void admin_reply_json(struct worker *w, struct http_conn *c, const struct http_request *q,
                      int status, struct str body)
{
    struct arena a;
    char first[512];
    arena_init(&a, first, sizeof first);
    http_reply(c, status, STR("application/json"), reply_cors(&a, worker_config(w), q->head), body);
    arena_fini(&a);
}

void admin_liveliness(struct worker *w, struct http_conn *c, const struct http_request *q)
{
    admin_reply_json(w, c, q, 200, STR("\"I'm alive!\""));
}

/* ---- readiness: one row a member ---- */

static bool is_draining(struct gateway *g)
{
    return __atomic_load_n(&g->draining, __ATOMIC_ACQUIRE) &&
           !__atomic_load_n(&g->handed_over,
                            __ATOMIC_ACQUIRE); /* else the service goes on, elsewhere */
}

static bool write_status(struct buf *out, struct worker *w)
{
    return buf_append_str(out, is_draining(w->gateway) ? STR("\"draining\"") : STR("\"healthy\""));
}
static bool write_db(struct buf *out, struct worker *w)
{
    return buf_append_str(out, key_service_has_database(w->gateway->keys)
                                   ? STR("\"connected\"")
                                   : STR("\"Not connected\""));
}
static bool write_cache(struct buf *out, struct worker *w)
{
    return buf_append_str(out, worker_config(w)->caching.on ? STR("\"local\"") : STR("null"));
}
static bool write_version(struct buf *out, struct worker *w)
{
    return json_write_string(out, str_from(w->gateway->version));
}
static bool write_callbacks(struct buf *out, struct worker *w)
{
    (void)w;
    return buf_append_str(out, STR("[\"prometheus\"]"));
}
static bool write_aiohttp(struct buf *out, struct worker *w)
{
    (void)w;
    return buf_append_str(out, STR("false"));
}
static bool write_workers(struct buf *out, struct worker *w)
{
    return buf_printf(out, "%d", w->gateway->worker_count);
}

/* The configuration in force is good whatever the newest reload found, so that does not change the status. */
static bool write_config(struct buf *out, struct worker *w)
{
    char when[CLOCK_RFC3339_BYTES];
    bool failed = w->config_problem != NULL;
    clock_rfc3339(failed ? w->config_problem_real_us : worker_config(w)->loaded_real_us, when);
    return buf_printf(out, "{\"status\":\"%s\",\"since\":\"%.*s\",\"error\":",
                      failed ? "failed" : "loaded", (int)sizeof when, when) &&
           (failed ? json_write_string(out, str_from(w->config_problem))
                   : buf_printf(out, "null")) &&
           buf_append_str(out, STR("}"));
}

/* Each writes a JSON value; called by any worker. */
static const struct {
    const char *name;
    bool (*write)(struct buf *out, struct worker *w);
} readiness_members[] = {
    {"status", write_status},
    {"db", write_db},
    {"cache", write_cache},
    {"litellm_version", write_version},
    {"success_callbacks", write_callbacks},
    {"use_aiohttp_transport", write_aiohttp},
    {"workers", write_workers},
    {"config", write_config},
};

void admin_readiness(struct worker *w, struct http_conn *c, const struct http_request *q)
{
    struct buf out;
    bool ok = true;
    buf_init(&out, 0, NULL);
    for (size_t i = 0; i < COUNT(readiness_members); i++)
        ok = ok && buf_printf(&out, "%c\"%s\":", i ? ',' : '{', readiness_members[i].name) &&
             readiness_members[i].write(&out, w);
    ENSURE(ok && buf_append_str(&out, STR("}")));
    admin_reply_json(w, c, q, is_draining(w->gateway) ? 503 : 200, buf_str(&out));
    buf_fini(&out);
}

/* Requests on the road, of all workers: what an autoscaler asks for. */
void admin_backlog(struct worker *w, struct http_conn *c, const struct http_request *q)
{
    struct gateway *g = w->gateway;
    char body[64];
    uint64_t in_flight = 0;
    for (int i = 0; i < g->worker_count; i++)
        in_flight += COUNTER_GET(g->workers[i].in_flight);
    int n =
        snprintf(body, sizeof body, "{\"in_flight_requests\":%llu}", (unsigned long long)in_flight);
    admin_reply_json(w, c, q, 200, (struct str){body, (size_t)n});
}

/* ---- models ---- */

static bool write_model(struct buf *out, struct str name)
{
    return buf_printf(out, "{\"id\":") && json_write_string(out, name) &&
           buf_printf(out, ",\"object\":\"model\",\"created\":%d,\"owned_by\":\"openai\"}",
                      CREATED);
}

void admin_models(struct worker *w, struct http_conn *c, const struct http_request *q)
{
    const struct config *config = worker_config(w);
    struct buf out;
    buf_init(&out, 0, NULL);
    bool ok = buf_printf(&out, "{\"data\":[");
    struct caller who;
    int shown = 0;
    (void)auth_check(w, config, q->head, &who); /* it passed before it came here */
    for (uint32_t i = 0; i < config->model_name_count; i++)
        if (auth_model_allowed(config, who.key, config->model_names[i]))
            ok = ok && buf_printf(&out, "%s", shown++ ? "," : "") &&
                 write_model(&out, config->model_names[i]);
    key_put(who.key);
    ENSURE(ok && buf_printf(&out, "],\"object\":\"list\"}"));
    admin_reply_json(w, c, q, 200, buf_str(&out));
    buf_fini(&out);
}

void admin_model(struct worker *w, struct http_conn *c, const struct http_request *q)
{
    char name[256];
    struct str path = q->head->path;
    struct str id =
        percent_decode(str_skip(path, str_starts(path, STR("/v1/")) ? 11 : 8), name, sizeof name);
    struct caller who;
    (void)auth_check(w, worker_config(w), q->head, &who);
    bool allowed = auth_model_allowed(worker_config(w), who.key, id);
    key_put(who.key);
    if (!allowed || !config_group(worker_config(w), id, NULL)) {
        http_reply_error(c, ERR_NOT_FOUND, "no such model; GET /v1/models lists those there are");
        return;
    }
    struct buf out;
    buf_init(&out, 0, NULL);
    ENSURE(write_model(&out, id));
    admin_reply_json(w, c, q, 200, buf_str(&out));
    buf_fini(&out);
}

void admin_model_info(struct gateway *g, struct control_job *j)
{
    const struct config *c = g->snapshot->config;
    char id[300];
    bool one = query_value(str_from(j->query), STR("litellm_model_id"), id, sizeof id);
    int count = 0;
    bool ok = buf_printf(&j->body, "{\"data\":[");
    for (uint32_t i = 0; i < c->deployment_count; i++) {
        const struct deployment *d = &c->deployments[i];
        if (one && !str_eq(d->model_id, str_from(id)))
            continue;
        ok = ok && buf_printf(&j->body, "%s{\"model_name\":", count++ ? "," : "") &&
             json_write_string(&j->body, d->model_name) &&
             buf_printf(&j->body, ",\"litellm_params\":%.*s,\"model_info\":%.*s}",
                        STR_ARG(d->params_json), STR_ARG(d->model_info_json));
    }
    ENSURE(ok && buf_printf(&j->body, "]}"));
    if (one && count == 0) { /* LiteLLM's status */
        buf_clear(&j->body);
        j->status = error_info(ERR_BAD_REQUEST)->http_status;
        reply_error_json(ERR_BAD_REQUEST,
                         STR("litellm_model_id: no deployment has this id; GET /model/info without "
                             "it lists those there are"),
                         &j->body);
    }
    control_done(j);
}

/* ---- the status page ---- */

void admin_status_page(struct gateway *g, struct control_job *j)
{
    (void)g;
    j->content_type = "text/html; charset=utf-8";
    ENSURE(buf_append(&j->body, status_page, (size_t)(status_page_end - status_page)));
    control_done(j);
}

static bool write_deployment(struct gateway *g, uint32_t i, struct buf *out)
{
    const struct deployment *d = &g->snapshot->config->deployments[i];
    uint64_t now_ns = clock_mono_ns();
    return buf_printf(out, "{\"model\":") && json_write_string(out, d->model_name) &&
           buf_printf(out, ",\"provider\":") && json_write_string(out, d->provider_name) &&
           buf_printf(out, ",\"upstream_model\":") && json_write_string(out, d->upstream_model) &&
           buf_printf(out, ",\"api_base\":") && json_write_string(out, d->api_base) &&
           buf_printf(out, ",\"priced\":%s,\"builtin\":%s,\"model_id\":",
                      d->price.known ? "true" : "false", d->builtin ? "true" : "false") &&
           json_write_string(out, d->model_id) && buf_printf(out, ",\"traffic\":") &&
           health_write_state(out, g->snapshot->states[i], now_ns) &&
           buf_printf(out, ",\"engine\":") &&
           health_write_engine(out, health_engines(g->health), i, now_ns) && buf_printf(out, "}");
}

void admin_status(struct gateway *g, struct control_job *j)
{
    struct metrics_totals t;
    uint64_t in_flight = 0, streams = 0, open = 0;
    metrics_totals(g->metrics, &t);
    for (int i = 0; i < g->worker_count; i++) {
        in_flight += COUNTER_GET(g->workers[i].in_flight);
        streams += COUNTER_GET(g->workers[i].streams);
        open += COUNTER_GET(http_server_counters(g->workers[i].server)->open);
    }
    bool ok =
        buf_printf(
            &j->body,
            "{\"version\":\"%s\",\"commit\":\"%s\",\"uptime_s\":%llu,\"workers\":%d,\"config\":",
            g->version, g->commit,
            (unsigned long long)((clock_mono_ns() - g->started_mono_ns) / NS_PER_S),
            g->worker_count) &&
        json_write_string(&j->body, g->snapshot->config->path) && buf_printf(&j->body, ",\"log\":");
    struct log_stats log = {0};
    if (g->log)
        log_stats(g->log, &log);
    ok = ok && json_write_string(&j->body, str_from(log.path ? log.path : "")) &&
         buf_printf(&j->body,
                    ",\"connections\":%llu,\"in_flight\":%llu,\"streams\":%llu,\"requests\":%llu,"
                    "\"successes\":%llu,\"failures\":%llu,"
                    "\"cancelled\":%llu,\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"cost_"
                    "usd\":%.9g,\"models\":[",
                    (unsigned long long)open, (unsigned long long)in_flight,
                    (unsigned long long)streams, (unsigned long long)t.requests,
                    (unsigned long long)t.successes, (unsigned long long)t.failures,
                    (unsigned long long)t.cancelled, (unsigned long long)t.prompt_tokens,
                    (unsigned long long)t.completion_tokens, t.cost_usd);
    for (uint32_t i = 0; i < g->snapshot->config->deployment_count; i++)
        ok = ok && buf_printf(&j->body, "%s", i ? "," : "") && write_deployment(g, i, &j->body);
    ENSURE(ok && buf_printf(&j->body, "]}"));
    control_done(j);
}

/* The end of the log file, whole lines only. */
static struct str read_tail(struct arena *a, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return STR_NONE;
    char *text = arena_alloc(a, TAIL_BYTES_MAX);
    ssize_t n = -1;
    bool whole = false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        whole = st.st_size <= (off_t)TAIL_BYTES_MAX;
        n = pread(fd, text, TAIL_BYTES_MAX, whole ? 0 : st.st_size - (off_t)TAIL_BYTES_MAX);
    }
    close(fd);
    struct str tail = {text, n > 0 ? (size_t)n : 0};
    if (!whole)
        str_cut(&tail, '\n'); /* the first line is only a part */
    return tail;
}

/* The last lines of the log, newest first: the log is the database. ?n=50 */
void admin_requests(struct gateway *g, struct control_job *j)
{
    struct arena a;
    struct log_stats log = {0};
    int64_t wanted = 50, shown = 0;
    struct str query = str_from(j->query);
    if (str_starts(query, STR("n=")) && !str_to_i64(str_skip(query, 2), &wanted))
        wanted = 50;
    arena_init(&a, NULL, 0);
    ENSURE(buf_append_str(&j->body, STR("[")));
    if (g->log && g->snapshot->config->log_format == LOG_FORMAT_JSON) {
        log_sync(g->log, 100);
        log_stats(g->log, &log);
        struct str tail = read_tail(&a, log.path);
        while (tail.n && shown < MIN(wanted, REQUESTS_SHOWN_MAX)) {
            size_t end = tail.n - 1; /* its newline */
            const char *before = end ? memrchr(tail.p, '\n', end) : NULL;
            size_t start = before ? (size_t)(before - tail.p) + 1 : 0;
            struct str line = {tail.p + start, end - start};
            if (line.n && line.p[0] == '{' && line.p[line.n - 1] == '}')
                ENSURE(buf_append_str(&j->body, shown++ ? STR(",\n") : STR("")) &&
                       buf_append_str(&j->body, line));
            tail.n = start;
        }
    }
    ENSURE(buf_append_str(&j->body, STR("]")));
    arena_fini(&a);
    control_done(j);
}
