/* admin.c -- what weir says of itself over HTTP: health, models, metrics, the status page and its data.
 *
 * Handlers with a worker answer at once on that worker (they are small); those with a job run on the control thread. Shapes are LiteLLM's where it has
 * them (docs/compatibility.md). */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/engine.h"
#include "gateway/gateway.h"
#include "gateway/key_service.h"
#include "http/gzip.h"

#define CREATED            1677610602 /* LiteLLM's constant */
#define TAIL_BYTES_MAX     (1024u * 1024u)
#define REQUESTS_SHOWN_MAX 200

_Static_assert(METRICS_STATUSES_MAX == REST_STATUS_COUNT,
               "each status the fleet counts by is shown");

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

/* ---- metrics ---- */

/* The control thread is the only writer of struct metrics_worker: it copies what each loop counts by itself. */
static void gather_worker(struct gateway *g, int i)
{
    struct worker *w = &g->workers[i];
    struct metrics_worker *m = metrics_worker(g->metrics, i);
    const struct http_counters *s = http_server_counters(w->server);
    const struct http_client_counters *c = &w->upstream;
    m->connections_open = COUNTER_GET(s->open);
    m->connections_total = COUNTER_GET(s->accepted);
    m->connections_refused = COUNTER_GET(s->refused);
    m->streams_open = COUNTER_GET(w->streams);
    m->requests_in_flight = COUNTER_GET(w->in_flight);
    m->upstream_open = COUNTER_GET(c->open);
    m->upstream_idle = COUNTER_GET(c->idle);
    m->upstream_connects_total = COUNTER_GET(c->connects);
    m->upstream_reuses_total = COUNTER_GET(c->reuses);
    m->upstream_connect_failures_total = COUNTER_GET(c->connect_failures);
    m->http_requests_total = COUNTER_GET(s->requests);
    m->http_errors_total = COUNTER_GET(s->errors);
    m->bytes_in_total = COUNTER_GET(s->bytes_in);
    m->bytes_out_total = COUNTER_GET(s->bytes_out);
    m->loop_passes_total = loop_passes(w->loop);
}

/* Kept with 1 added, so that 0 is "none". */
static uint64_t told(const uint64_t *remaining)
{
    uint64_t kept = __atomic_load_n(remaining, __ATOMIC_RELAXED);
    return kept ? kept - 1 : METRICS_UNKNOWN;
}

static void gather_deployment(const struct deployment_state *s, uint64_t now_ns,
                              struct metrics_deployment *m)
{
    uint64_t ttft_us = __atomic_load_n(&s->ttft_us, __ATOMIC_RELAXED);
    uint64_t token_us = __atomic_load_n(&s->token_us, __ATOMIC_RELAXED);
    uint32_t probed = __atomic_load_n(&s->probed, __ATOMIC_RELAXED);
    uint64_t probed_ns = __atomic_load_n(&s->probed_ns, __ATOMIC_RELAXED);
    *m = (struct metrics_deployment){
        .state = (uint64_t)fleet_health(s, now_ns),
        .in_flight = (uint64_t)MAX(__atomic_load_n(&s->in_flight, __ATOMIC_RELAXED), 0),
        .rest_us = fleet_rest_left_ns(s, now_ns) / NS_PER_US,
        .ttft_us = ttft_us ? ttft_us : METRICS_UNKNOWN,
        .token_us = token_us ? token_us : METRICS_UNKNOWN,
        .remaining_requests = told(&s->remaining_requests),
        .remaining_tokens = told(&s->remaining_tokens),
        .probe_success = probed ? probed == PROBED_ALIVE : METRICS_UNKNOWN,
        .probe_age_us = probed ? (uint64_t)us_between(probed_ns, now_ns) : METRICS_UNKNOWN,
        .rest_count = REST_STATUS_COUNT,
    };
    for (int i = 0; i < REST_STATUS_COUNT; i++)
        m->rests[i] = (struct metrics_rests){
            fleet_rest_status(i), __atomic_load_n(&s->rests_by_status[i], __ATOMIC_RELAXED)};
}

static struct metrics_deployment *gather_deployments(struct gateway *g, struct arena *a)
{
    uint32_t count = g->snapshot->config->deployment_count;
    struct metrics_deployment *all = arena_alloc(a, MAX(count, 1u) * sizeof *all);
    uint64_t now_ns = clock_mono_ns();
    for (uint32_t i = 0; i < count; i++)
        gather_deployment(g->snapshot->states[i], now_ns, &all[i]);
    return all;
}

/* The configured models that an engine has loaded, each once; the names of others come from the engine, and are no labels (promise 6). */
static void gather_loaded(struct gateway *g, uint32_t engine, const struct engine_report *r,
                          struct metrics_engine *m, struct arena *a)
{
    const struct config *c = g->snapshot->config;
    m->models = arena_alloc(a, ((size_t)r->models_kept + 1) * sizeof *m->models);
    for (int k = 0; k < r->models_kept; k++) {
        struct str name = STR("other");
        for (uint32_t i = 0; i < c->deployment_count; i++)
            if (engines_of(health_engines(g->health), i) == engine &&
                engine_is_model(r->models[k].name, c->deployments[i].upstream_model))
                name = c->deployments[i].upstream_model;
        if (r->models[k].vram_bytes >= 0)
            m->models[m->model_count++] =
                (struct metrics_engine_model){name, (uint64_t)r->models[k].vram_bytes};
    }
}

static uint64_t known(int64_t count)
{
    return count >= 0 ? (uint64_t)count : METRICS_UNKNOWN;
}

static struct metrics_engine *gather_engines(struct gateway *g, struct arena *a, uint32_t *count)
{
    struct engines *engines = health_engines(g->health);
    *count = engines_count(engines);
    struct metrics_engine *all = arena_zalloc(a, MAX(*count, 1u) * sizeof *all);
    for (uint32_t i = 0; i < *count; i++) {
        struct engine_view v = engines_view(engines, i);
        const struct engine_report *r = v.report;
        all[i] = (struct metrics_engine){
            .engine = str_from(engine_name(v.kind)),
            .api_base = v.base,
            .up = v.asked_ns ? r->up : METRICS_UNKNOWN,
            .loaded_models = known(r->loaded),
            .running = known(r->running),
            .waiting = known(r->waiting),
            .kv_cache_millionths = r->kv_cache_ratio >= 0
                                       ? (uint64_t)(r->kv_cache_ratio * 1e6 + 0.5)
                                       : METRICS_UNKNOWN,
        };
        gather_loaded(g, i, r, &all[i], a);
    }
    return all;
}

struct packing {
    struct gzip *gzip;
    struct buf packed;
    bool failed;
};

static bool pack(void *arg, struct buf *piece)
{
    struct packing *p = arg;
    p->failed = !gzip_add(p->gzip, buf_str(piece), false, &p->packed);
    buf_clear(piece);
    return !p->failed;
}

/* Packed piece by piece for who takes that: the text of a large gateway is some forty times as long, and never in memory as a whole. */
static void write_metrics(struct gateway *g, struct control_job *j, struct metrics_process *p)
{
    struct packing packing = {.gzip = gzip_accepted(str_from(j->accept_encoding)) ? gzip_begin()
                                                                                  : NULL};
    enum metrics_format format = metrics_negotiate(str_from(j->accept), &j->content_type);
    if (!packing.gzip) {
        metrics_write(g->metrics, p, format, &j->body);
        return;
    }
    buf_init(&packing.packed, 0, NULL);
    p->drain = pack;
    p->drain_arg = &packing;
    metrics_write(g->metrics, p, format, &j->body);
    j->gzipped =
        !packing.failed && gzip_add(packing.gzip, buf_str(&j->body), true, &packing.packed);
    if (!j->gzipped) { /* half an exposition would look like series that ended */
        buf_fini(&packing.packed);
        j->status = 503;
    }
    buf_fini(&j->body);
    j->body = packing.packed;
    gzip_free(packing.gzip);
}

void admin_metrics(struct gateway *g, struct control_job *j)
{
    struct arena a;
    struct log_stats log = {0};
    if (control_is_full(g)) {
        j->status = error_info(ERR_OVERLOADED)->http_status;
        reply_error_json(ERR_OVERLOADED, STR("too many clients have not taken their metrics yet"),
                         &j->body);
        control_done(j);
        return;
    }
    arena_init(&a, NULL, 0);
    if (g->log)
        log_stats(g->log, &log);
    for (int i = 0; i < g->worker_count; i++)
        gather_worker(g, i);
    struct cache_stats cache;
    cache_store_stats(g->cache, &cache);
    struct metrics_process p = {
        .cache = {.bytes = cache.bytes,
                  .entries = cache.entries,
                  .stores_total = cache.stores,
                  .evictions_total = cache.evictions,
                  .busy_total = cache.busy,
                  .refused_total = cache.refused},
        .start_time_seconds = (double)g->started_real_us / 1e6,
        .version = g->version,
        .git_commit = g->commit,
        .compiler = __VERSION__,
        .log = g->log ? &log : NULL,
        .config = g->snapshot->config,
        .reloads = &g->reloads,
        .deployments = gather_deployments(g, &a),
        .ready = __atomic_load_n(&g->ready, __ATOMIC_ACQUIRE) && !is_draining(g),
    };
    struct key_numbers keys;
    key_service_numbers(g->keys, g->worker_count, (size_t)g->snapshot->config->series_budget,
                        &keys);
    p.keys = keys.rows;
    p.key_count = keys.row_count;
    p.engines = gather_engines(g, &a, &p.engine_count);
    write_metrics(g, j, &p);
    key_numbers_fini(&keys);
    arena_fini(&a);
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
