/* mock.c -- the simulated provider as a server: its threads, its listeners, its table of endpoints.
 *
 * Each worker has a loop, a server and a tally; workers share nothing but struct mock's options
 * (read-only), the table of requests seen (atomic) and the counts at the last reset (locked, never
 * on the way of a request). What a request gets is job.c's.
 *
 * Faults (knobs.def) come by headers, by rules (rules.c) set at the start or at run time (admin.c), and are played by job.c and fault.c.
 *
 * TCP: every worker listens for itself (SO_REUSEPORT) when there are several; one alone does
 * without, so that a port in use is an error and not a second server beside the first. Unix sockets
 * know no SO_REUSEPORT: the workers share one listener. */
#include "mock/job.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/diag.h"
#include "net/stamp.h"

/* ---- endpoints ---- */

static void reply_json(struct mock_worker *w, struct http_conn *c)
{
    http_reply(c, 200, STR("application/json"), STR_NONE, buf_str(&w->text));
}

static void serve_health(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    (void)w, (void)r;
    http_reply(c, 200, STR("application/json"), STR_NONE, STR("{\"status\":\"ok\"}"));
}

static void serve_models(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    (void)r;
    buf_clear(&w->text);
    bool ok = buf_append_str(&w->text, STR("{\"object\":\"list\",\"data\":["));
    for (size_t i = 0; ok && i < sim_model_count; i++)
        ok = (i == 0 || buf_append_str(&w->text, STR(","))) &&
             answer_model(&w->text, sim_models[i].name);
    ENSURE(ok && buf_append_str(&w->text, STR("]}")));
    reply_json(w, c);
}

static void serve_model(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    struct str path = r->head->path;
    struct str id =
        str_skip(path, str_starts(path, STR("/v1/")) ? strlen("/v1/models/") : strlen("/models/"));
    const struct sim_model *m = sim_model_find(id);
    if (!m) {
        job_refuse(w, c, 404, NULL);
        return;
    }
    buf_clear(&w->text);
    ENSURE(answer_model(&w->text, m->name));
    reply_json(w, c);
}

static void gather(struct mock *m, struct tally *into)
{
    for (uint32_t i = 0; i < m->worker_count; i++) {
        const struct mock_worker *w = &m->workers[i];
        tally_merge(into, &w->tally);
        into->accepted += COUNTER_GET(http_server_counters(w->server)->accepted) +
                          COUNTER_GET(w->tally.turned_away);
    }
}

static void serve_stats(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    struct tally now = {0};
    (void)r;
    gather(w->mock, &now);
    buf_clear(&w->text);
    pthread_mutex_lock(&w->mock->reset_lock);
    bool ok = buf_append_str(&w->text, STR("{")) && tally_write(&w->text, &now, &w->mock->base);
    pthread_mutex_unlock(&w->mock->reset_lock);
    tally_fini(&now);
    ENSURE(ok && buf_append_str(&w->text, STR(",\"freezes\":")) &&
           freezer_write(&w->mock->freezer, &w->text) && buf_append_str(&w->text, STR("}")));
    reply_json(w, c);
}

void mock_reset(struct mock *m)
{
    struct tally now = {0};
    gather(m, &now);
    pthread_mutex_lock(&m->reset_lock);
    tally_fini(&m->base);
    m->base = now;
    pthread_mutex_unlock(&m->reset_lock);
    for (size_t i = 0; i < MOCK_SEEN_SLOTS; i++)
        __atomic_store_n(&m->seen[i], 0, __ATOMIC_RELAXED);
    __atomic_store_n(&m->slow_seen, 0, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < m->worker_count; i++)
        times_reset(&m->workers[i].times);
}

static void serve_reset(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    mock_reset(w->mock);
    serve_health(w, c, r);
}

/* clang-format off */
static const struct endpoint {
    enum h1_method method;
    struct str path; /* without /v1; one that ends in '/' stands for all below it */
    void (*serve)(struct mock_worker *w, struct http_conn *c, struct http_request *r);
} endpoints[] = {
    {H1_POST, STR("/chat/completions"), job_chat},
    {H1_POST, STR("/completions"),      job_completion},
    {H1_POST, STR("/embeddings"),       job_embeddings},
    {H1_GET,  STR("/models"),           serve_models},
    {H1_GET,  STR("/models/"),          serve_model},
    {H1_GET,  STR("/health"),           serve_health},
    {H1_GET,  STR("/mock/stats"),       serve_stats},
    {H1_POST, STR("/mock/reset"),       serve_reset},
    {H1_GET,  STR("/mock/times"),       admin_times},
    {H1_POST, STR("/mock/freeze"),      admin_freeze},
    {H1_GET,  STR("/mock/faults"),      admin_faults},
    {H1_POST, STR("/mock/fault"),       admin_set_fault},
    {H1_DELETE, STR("/mock/fault"),     admin_clear_faults},
};
/* clang-format on */

static bool path_matches(const struct endpoint *e, struct str path)
{
    return e->path.p[e->path.n - 1] == '/' ? str_starts(path, e->path) : str_eq(path, e->path);
}

static void on_request(struct http_conn *c, struct http_request *r)
{
    struct mock_worker *w = http_server_user(http_conn_server(c));
    struct str path = r->head->path;
    enum h1_method method = r->head->method == H1_HEAD ? H1_GET : r->head->method;
    bool known = false;
    if (str_starts(path, STR("/v1/")))
        path = str_skip(path, 3);
    for (size_t i = 0; i < COUNT(endpoints); i++) {
        if (!path_matches(&endpoints[i], path))
            continue;
        known = true;
        if (endpoints[i].method == method) {
            endpoints[i].serve(w, c, r);
            return;
        }
    }
    http_reply_error(c, known ? ERR_METHOD_NOT_ALLOWED : ERR_NOT_FOUND, NULL);
}

static void write_error(struct http_conn *c, enum error_code code, const char *detail,
                        struct buf *body)
{
    const struct error_info *info = error_info(code);
    (void)c;
    ENSURE(answer_error_as(body, info->api_type, info->name, detail ? detail : info->sentence));
}

static const struct http_handler handler = {
    .on_accept = mock_on_accept,
    .on_request = on_request,
    .on_drained = job_drained,
    .on_gone = job_gone,
    .write_error = write_error,
};

/* The control port's: the same, but no fault holds there. */
static const struct http_handler control_handler = {
    .on_request = on_request,
    .on_drained = job_drained,
    .on_gone = job_gone,
    .write_error = write_error,
};

static const struct http_limits limits = {
    .max_head_bytes = H1_HEAD_BYTES_MAX,
    .max_body_bytes = 64 << 20,
    .max_connections = 1 << 20, /* the limit on open files comes first */
    .head_timeout_ms = 60000,
    .body_timeout_ms = 60000,
    .idle_timeout_ms = 600000, /* longer than a gateway keeps its connections: it closes first */
    .write_timeout_ms = 600000,
};

/* ---- workers ---- */

static void *run_worker(void *arg)
{
    struct mock_worker *w = arg;
    loop_run(w->loop);
    return NULL;
}

static void worker_fini(struct mock_worker *w)
{
    if (w->server)
        http_server_free(w->server);
    if (w->loop)
        loop_free(w->loop);
    pool_trim(&w->jobs);
    buf_fini(&w->text);
    tally_fini(&w->tally);
    times_fini(&w->times);
}

/* All but its thread. Takes over the listener. */
static bool worker_init(struct mock *m, uint32_t index, int listener, struct err *e)
{
    struct mock_worker *w = &m->workers[index];
    *w = (struct mock_worker){.mock = m, .index = index};
    buf_init(&w->text, 0, NULL);
    pool_init(&w->jobs, job_bytes(), 256, "simulated requests");
    times_init(&w->times, m->options.times);
    for (size_t i = 0; i < sim_model_count; i++)
        (void)tally_slot(&w->tally, sim_models[i].name);
    struct http_limits own_limits = limits;
    own_limits.stamps = m->options.times > 0;
    w->loop = loop_new();
    w->freeze = (struct freeze_worker){.freezer = &m->freezer, .loop = w->loop};
    w->server = http_server_new(w->loop, &own_limits, &handler, w);
    if (http_server_listen(w->server, listener, NULL))
        return true;
    close(listener);
    worker_fini(w);
    return err_set(e, "weir mock cannot watch its listening socket: %s", strerror(errno));
}

static bool is_unix(struct str host)
{
    return str_starts(host, STR("unix:"));
}

/* The listener of worker `index`; the first one settles the port. */
static int listener_for(struct mock *m, uint32_t index, int first, uint16_t *port, struct err *e)
{
    const struct mock_options *o = &m->options;
    if (index > 0 && is_unix(o->host)) {
        int fd = fcntl(first, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            err_set(e, "weir mock cannot share its listening socket: %s", strerror(errno));
        return fd;
    }
    int fd = sock_listen(o->host, *port, o->workers > 1 && !is_unix(o->host), 4096, e);
    /* What comes before a connection is accepted has a time, too: it inherits this. */
    if (fd >= 0 && o->times && !is_unix(o->host) && !stamp_enable(fd))
        diag_warn(
            "the kernel does not tell when requests arrive: the account begins when they are read");
    struct sock_addr bound = {.len = sizeof bound.storage};
    if (fd >= 0 && *port == 0 && getsockname(fd, &bound.any, &bound.len) == 0)
        *port = ntohs(bound.any.sa_family == AF_INET6 ? bound.in6.sin6_port : bound.in.sin_port);
    return fd;
}

static void name_api_base(struct mock *m, uint16_t port)
{
    struct str host = m->options.host;
    bool everywhere =
        str_eq(host, STR("*")) || str_eq(host, STR("0.0.0.0")) || str_eq(host, STR("::"));
    bool bare_ipv6 = str_find(host, ':') >= 0 && host.p[0] != '[';
    if (everywhere)
        host = STR("127.0.0.1");
    if (is_unix(host))
        snprintf(m->api_base, sizeof m->api_base, "%.*s", STR_ARG(host));
    else
        snprintf(m->api_base, sizeof m->api_base,
                 bare_ipv6 && !everywhere ? "http://[%.*s]:%u/v1" : "http://%.*s:%u/v1",
                 STR_ARG(host), port);
}

static bool start_workers(struct mock *m, struct err *e)
{
    uint16_t port = m->options.port;
    int first = -1;
    for (uint32_t i = 0; i < m->options.workers; i++) {
        int listener = listener_for(m, i, first, &port, e);
        if (listener < 0 || !worker_init(m, i, listener, e))
            return false;
        if (i == 0)
            first = listener;
        m->worker_count = i + 1;
    }
    name_api_base(m, port);
    return true;
}

/* A second port, on the first worker's loop, that faults at accepting leave alone. */
static bool start_control(struct mock *m, struct err *e)
{
    struct mock_worker *w = &m->workers[0];
    uint16_t port = (uint16_t)m->options.control_port;
    if (m->options.control_port < 0)
        return true;
    if (is_unix(m->options.host))
        return err_set(e, "--control-port goes with a TCP port, not with a Unix socket");
    int fd = sock_listen(m->options.host, port, false, 64, e);
    if (fd < 0)
        return false;
    struct sock_addr bound = {.len = sizeof bound.storage};
    if (port == 0 && getsockname(fd, &bound.any, &bound.len) == 0)
        port = ntohs(bound.any.sa_family == AF_INET6 ? bound.in6.sin6_port : bound.in.sin_port);
    m->control_port = port;
    m->control = http_server_new(w->loop, &limits, &control_handler, w);
    if (http_server_listen(m->control, fd, NULL))
        return true;
    close(fd);
    return err_set(e, "weir mock cannot watch its control port: %s", strerror(errno));
}

static void free_mock(struct mock *m)
{
    if (m->control)
        http_server_free(m->control);
    rules_fini(&m->rules);
    mem_free((char *)m->options.faults.p);
    for (uint32_t i = 0; i < m->worker_count; i++)
        worker_fini(&m->workers[i]);
    freezer_fini(&m->freezer);
    tally_fini(&m->base);
    pthread_mutex_destroy(&m->reset_lock);
    mem_free(m->workers);
    mem_free(m->model_knobs);
    mem_free((char *)m->options.host.p);
    mem_free(m);
}

/* Workers see each other's tallies, so threads start when all of them are in place. */
static void start_threads(struct mock *m)
{
    for (uint32_t i = 0; i < m->worker_count; i++) {
        struct mock_worker *w = &m->workers[i];
        ENSURE(pthread_create(&w->thread, NULL, run_worker, w) == 0);
        pthread_setname_np(w->thread, "weir-sim");
    }
}

struct mock *mock_start(const struct mock_options *o, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, job_init);
    ENSURE(o->workers >= 1 && o->workers <= MOCK_WORKERS_MAX);
    struct mock *m = mem_alloc(sizeof *m);
    m->options = *o;
    m->options.host = (struct str){mem_strdup(o->host), o->host.n};
    m->options.faults = (struct str){mem_strdup(o->faults), o->faults.n};
    rules_init(&m->rules);
    freezer_init(&m->freezer);
    m->workers = mem_alloc(o->workers * sizeof *m->workers);
    m->model_knobs = mem_alloc(sim_model_count * sizeof *m->model_knobs);
    for (size_t i = 0; i < sim_model_count; i++) {
        m->model_knobs[i] = o->knobs;
        sim_knobs_overlay(&m->model_knobs[i], &sim_models[i]);
    }
    pthread_mutex_init(&m->reset_lock, NULL);
    if (!start_workers(m, e) || !start_control(m, e) || !mock_set_faults(m, m->options.faults, e) ||
        (o->freeze_ms > 0 && !mock_order_freeze(m, NULL, o->freeze_after_ms, o->freeze_ms, e))) {
        free_mock(m);
        return NULL;
    }
    start_threads(m);
    return m;
}

struct mock *mock_start_builtin(uint32_t workers, struct err *e)
{
    char host[48];
    int n = snprintf(host, sizeof host, "unix:@weir-sim-%d", (int)getpid());
    struct mock_options o = {
        .host = {host, (size_t)n},
        .workers = workers,
        .known_models_only = true,
        .control_port = -1,
    };
    sim_knobs_init(&o.knobs);
    return mock_start(&o, e);
}

struct str mock_api_base(const struct mock *m)
{
    return str_from(m->api_base);
}

uint16_t mock_control_port(const struct mock *m)
{
    return m->control_port;
}

void mock_times(struct mock *m, struct mock_times *out)
{
    struct times *all[MOCK_WORKERS_MAX];
    for (uint32_t i = 0; i < m->worker_count; i++)
        all[i] = &m->workers[i].times;
    times_summary(all, m->worker_count, out);
}

bool mock_freeze(struct mock *m, int64_t after_ms, int64_t ms, struct err *e)
{
    return mock_order_freeze(m, NULL, after_ms, ms, e);
}

void mock_stop(struct mock *m)
{
    if (!m)
        return;
    freezer_stop(&m->freezer);
    for (uint32_t i = 0; i < m->worker_count; i++)
        loop_stop(m->workers[i].loop);
    for (uint32_t i = 0; i < m->worker_count; i++)
        pthread_join(m->workers[i].thread, NULL);
    free_mock(m);
}
