/* reload.c -- SIGHUP, a changed file, POST /config/reload: one function that builds a snapshot, or says why it cannot.
 *
 *   load (the command's: file, environment, options)  ->  config_diff  ->  snapshot_new  ->  workers, health, log, metrics
 *
 * All of it runs on the control thread, so the road is not held up while a large file is read; /metrics and the status page wait meanwhile. A worker learns
 * of the result by a call to its loop: the new snapshot, which it takes as a whole between two events, or the reason of a failure, for
 * /health/readiness, which it answers itself. Nothing is shared but the snapshot, and that never changes. Who asked by request is answered when
 * all have taken it: a key that a reload took away opens nothing any more once that is said.
 *
 * A reload runs at the end of a pass of the control loop: connections of health checks are closed, for which events may have been fetched. */
#include "gateway/reload.h"

#include <limits.h>
#include <stdlib.h>

#include "base/diag.h"
#include "config/config_diff.h"
#include "gateway/file_watch.h"
#include "gateway/key_service.h"

#define CHANGES_SAID_MAX   50
#define METADATA_BYTES_MAX 65536u /* of a "reload" line in the log; more is counted only */
#define PROBLEM_BYTES      900

struct reload {
    struct gateway *gateway;
    struct file_watch *files;
    enum reload_trigger asked_by;
    bool asked; /* for one at the end of this pass */
};

/* One reload. */
struct reloading {
    struct gateway *gateway;
    enum reload_trigger trigger;
    bool dry_run, ok;
    struct control_job *job; /* NULL: nobody waits for an answer */
    struct config *config;   /* NULL: it could not be loaded */
    struct config_diff diff; /* where there is a config */
    struct err error;
    uint64_t began_ns;
    double took_ms;
};

static const char *const trigger_words[] = {"signal", "file", "api"};
static const char *const trigger_names[] = {"SIGHUP", "the file has changed",
                                            "POST /config/reload"};

/* ---- in force everywhere ---- */

/* Whoever comes last sends the answer: a worker, the keys thread, or control, which writes it. */
struct settling {
    struct control_job *job; /* NULL: nobody waits */
    int left;                /* atomic */
};

static struct settling *settling_new(struct gateway *g, struct control_job *job)
{
    struct settling *s = mem_alloc(sizeof *s);
    *s = (struct settling){job, g->worker_count + 2};
    return s;
}

static void settled(void *arg)
{
    struct settling *s = arg;
    if (!s || __atomic_sub_fetch(&s->left, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (s->job)
        control_done(s->job);
    mem_free(s);
}

/* ---- the workers' side ---- */

struct news {
    struct worker *worker;
    struct snapshot *snapshot; /* a reference; NULL: the reload failed */
    char *problem;             /* NULL: it did not */
    int64_t real_us;
    struct settling *settling; /* NULL: nobody waits */
};

static void take_news(void *arg)
{
    struct news *n = arg;
    struct worker *w = n->worker;
    if (n->snapshot)
        worker_use_snapshot(w, n->snapshot);
    mem_free(w->config_problem);
    w->config_problem = n->problem;
    w->config_problem_real_us = n->real_us;
    settled(n->settling);
    mem_free(n);
}

static void tell_workers(struct gateway *g, struct snapshot *s, const char *problem,
                         struct settling *settling)
{
    for (int i = 0; i < g->worker_count; i++) {
        struct news *n = mem_alloc(sizeof *n);
        *n = (struct news){.worker = &g->workers[i],
                           .snapshot = s,
                           .real_us = clock_real_us(),
                           .settling = settling};
        if (s)
            __atomic_add_fetch(&s->references, 1, __ATOMIC_RELAXED);
        if (problem)
            n->problem = mem_strdup(str_from(problem));
        loop_call(g->workers[i].loop, take_news, n);
    }
}

/* ---- building ---- */

static void on_file(void *arg, const char *path)
{
    file_watch_add(arg, path);
}

static void watch_named_files(struct reload *r, const struct config *c)
{
    const struct str named[] = {c->prices_file, c->tls_cert_file, c->tls_key_file, c->ca_file};
    for (size_t i = 0; i < COUNT(named); i++)
        if (named[i].n)
            file_watch_add(r->files, named[i].p);
}

/* Leaves `config` of it with a reference of its own, whatever becomes of the snapshot. */
static struct snapshot *build(struct reloading *t)
{
    struct gateway *g = t->gateway;
    struct config_options o = {0};
    if (!t->dry_run) {
        file_watch_begin(g->reload->files);
        o.on_file = on_file;
        o.on_file_arg = g->reload->files;
    }
    t->config = g->load(&o, &t->error);
    if (!t->config)
        return NULL;
    config_diff(g->snapshot->config, t->config, &t->diff);
    config_get(t->config);
    return snapshot_new(g, t->config, &t->error);
}

static void put_in_force(struct gateway *g, struct snapshot *s, struct settling *settling)
{
    struct snapshot *old = g->snapshot;
    g->snapshot = s;
    tell_workers(g, s, NULL, settling);
    health_use_snapshot(g->health, s);
    key_service_reload(g->keys, s->config, settled, settling);
    diag_set_json(s->config->json_logs);
    snapshot_put(old);
}

/* ---- telling ---- */

void reload_say_warnings(const struct config *c)
{
    for (int i = 0; i < c->note_count; i++) {
        const struct config_note *n = &c->notes[i];
        if (n->line)
            diag_warn("%s:%d:%d: %.*s", n->file, n->line, n->column, STR_ARG(n->text));
        else
            diag_warn("%.*s", STR_ARG(n->text));
    }
}

static void say_changes(const struct reloading *t)
{
    const struct config_diff *d = &t->diff;
    struct arena a;
    arena_init(&a, NULL, 0);
    reload_say_warnings(t->config);
    diag_info("configuration reloaded (%s) in %.1f ms: %u change%s%s", trigger_names[t->trigger],
              t->took_ms, d->count, d->count == 1 ? "" : "s",
              d->restart_count ? ", some of them take effect at a restart only" : "");
    for (uint32_t i = 0; i < MIN(d->count, (uint32_t)CHANGES_SAID_MAX); i++)
        diag_info("  %.*s", STR_ARG(config_change_text(&a, &d->changes[i])));
    if (d->count > CHANGES_SAID_MAX)
        diag_info("  ... and %u more", d->count - CHANGES_SAID_MAX);
    arena_fini(&a);
}

/* A "reload" line for the request log. */
static void log_reload(const struct reloading *t, const char *problem)
{
    struct buf metadata;
    buf_init(&metadata, METADATA_BYTES_MAX, NULL);
    bool ok = buf_printf(&metadata, "{\"trigger\":\"%s\",\"config\":", trigger_words[t->trigger]) &&
              json_write_string(&metadata, t->gateway->snapshot->config->path);
    if (ok && t->ok) {
        ok = buf_printf(&metadata, ",\"change_count\":%u", t->diff.count);
        size_t count_only = metadata.len;
        bool fits = buf_printf(&metadata, ",\"changes\":") &&
                    config_diff_write_json(&t->diff, &metadata) &&
                    buf_used(&metadata) < METADATA_BYTES_MAX;
        if (!fits)
            metadata.len = count_only;
    }
    ENSURE(ok && buf_append(&metadata, "}", 1));
    gateway_event(t->gateway, "reload", problem, buf_str(&metadata), (int64_t)(t->took_ms * 1000));
    buf_fini(&metadata);
}

static bool write_warnings(const struct config *c, struct buf *out)
{
    bool ok = buf_printf(out, ",\"warnings\":[");
    for (int i = 0; ok && i < c->note_count; i++) {
        const struct config_note *n = &c->notes[i];
        ok = buf_printf(out, "%s{\"file\":", i ? "," : "") &&
             json_write_string(out, str_from(n->file)) &&
             buf_printf(out, ",\"line\":%d,\"column\":%d,\"message\":", n->line, n->column) &&
             json_write_string(out, n->text) && buf_printf(out, "}");
    }
    return ok && buf_printf(out, "]");
}

static bool write_restart(const struct config_diff *d, struct buf *out)
{
    bool ok = buf_printf(out, ",\"restart_needed\":["), first = true;
    for (uint32_t i = 0; ok && i < d->count; i++) {
        if (!d->changes[i].restart)
            continue;
        ok = (first || buf_printf(out, ",")) && json_write_string(out, d->changes[i].what);
        first = false;
    }
    return ok && buf_printf(out, "]");
}

/* Absolute, so that another process can tell which file it is. */
static bool write_path(struct str path, struct buf *out)
{
    char real[PATH_MAX];
    return json_write_string(out, path.n && realpath(path.p, real) ? str_from(real) : path);
}

static bool write_good(const struct reloading *t, struct buf *out)
{
    const char *status = t->dry_run ? "checked" : t->diff.count ? "reloaded" : "unchanged";
    return buf_printf(out, "{\"status\":\"%s\",\"config\":", status) &&
           write_path(t->config->path, out) &&
           buf_printf(out, ",\"took_ms\":%.3f,\"changes\":", t->took_ms) &&
           config_diff_write_json(&t->diff, out) && write_restart(&t->diff, out) &&
           write_warnings(t->config, out) && buf_printf(out, "}\n");
}

static bool write_bad(const struct reloading *t, const char *problem, struct buf *out)
{
    const struct error_info *info = error_info(ERR_CONFIG_INVALID);
    return buf_printf(out, "{\"status\":\"failed\",\"error\":{\"message\":") &&
           json_write_string(out, str_from(problem)) &&
           buf_printf(out,
                      ",\"type\":\"%s\",\"param\":null,\"code\":\"%d\"},\"file\":", info->api_type,
                      info->http_status) &&
           json_write_string(out, str_from(t->error.file)) &&
           buf_printf(out, ",\"line\":%d,\"column\":%d,\"message\":", t->error.line,
                      t->error.column) &&
           json_write_string(out, str_from(t->error.text)) && buf_printf(out, "}\n");
}

/* ---- one reload ---- */

static void conclude(struct reloading *t, const char *problem)
{
    struct gateway *g = t->gateway;
    struct config_reloads *counts = &g->reloads;
    counts->last_ok = t->ok;
    if (t->ok) {
        counts->successes++;
        counts->last_success_real_us = clock_real_us();
        say_changes(t);
    } else {
        counts->failures++;
        tell_workers(g, NULL, problem, NULL);
        diag_error("configuration not reloaded (%s), the one in force goes on: %s",
                   trigger_names[t->trigger], problem);
    }
    if (t->config)
        watch_named_files(g->reload, t->config);
    file_watch_commit(g->reload->files, g->snapshot->config->watch_config);
    log_reload(t, problem);
}

static void write_answer(const struct reloading *t, const char *problem)
{
    struct control_job *j = t->job;
    ENSURE(t->ok ? write_good(t, &j->body) : write_bad(t, problem, &j->body));
    if (!t->ok)
        j->status = error_info(ERR_CONFIG_INVALID)->http_status;
}

/* Answers `job`, where there is one: at once if nothing changes, else when the new configuration is in force on all workers. */
static void reload(struct gateway *g, enum reload_trigger trigger, bool dry_run,
                   struct control_job *job)
{
    struct reloading t = {.gateway = g,
                          .trigger = trigger,
                          .dry_run = dry_run,
                          .job = job,
                          .began_ns = clock_mono_ns()};
    char text[PROBLEM_BYTES] = "", *problem = NULL;
    struct settling *settling = NULL;
    if (!dry_run && g->on_reload)
        g->on_reload(g, true, NULL);
    struct snapshot *s = build(&t);
    t.ok = s != NULL;
    t.took_ms = (double)(clock_mono_ns() - t.began_ns) / 1e6;
    if (!t.ok) {
        err_format(&t.error, text, sizeof text);
        problem = text;
    }
    if (s && dry_run)
        snapshot_put(s);
    else if (s)
        put_in_force(g, s, settling = settling_new(g, job));
    if (!dry_run)
        conclude(&t, problem);
    if (job)
        write_answer(&t, problem);
    if (settling)
        settled(settling);
    else if (job)
        control_done(job);
    if (t.config) {
        config_diff_fini(&t.diff);
        config_put(t.config);
    }
    if (!dry_run && g->on_reload)
        g->on_reload(g, false, problem);
}

static void reload_asked(void *owner, void *p)
{
    struct reload *r = p;
    struct gateway *g = owner;
    if (!r->asked || g->draining)
        return; /* asked for twice in one pass; or there is no more use in it */
    r->asked = false;
    reload(g, r->asked_by, false, NULL);
}

void gateway_reload(struct gateway *g, enum reload_trigger trigger)
{
    g->reload->asked = true;
    g->reload->asked_by = trigger;
    loop_later(g->control, reload_asked, g, g->reload);
}

static void answer_job(void *owner, void *p)
{
    struct gateway *g = owner;
    struct control_job *j = p;
    bool dry_run = str_eq(str_from(j->query), STR("dry_run=true"));
    if (g->draining) {
        j->status = error_info(ERR_DRAINING)->http_status;
        reply_error_json(ERR_DRAINING, STR_NONE, &j->body);
    } else if (j->query[0] && !dry_run) {
        j->status = error_info(ERR_BAD_REQUEST)->http_status;
        reply_error_json(ERR_BAD_REQUEST, STR("expected no query, or dry_run=true"), &j->body);
    } else {
        reload(g, RELOAD_BY_API, dry_run, j);
        return;
    }
    control_done(j);
}

void reload_answer(struct gateway *g, struct control_job *j)
{
    loop_later(g->control, answer_job, g, j);
}

/* ---- watching ---- */

static void files_changed(void *arg)
{
    struct reload *r = arg;
    gateway_reload(r->gateway, RELOAD_BY_FILE);
}

struct reload *reload_new(struct gateway *g)
{
    const struct config *c = g->snapshot->config;
    struct reload *r = mem_alloc(sizeof *r);
    r->gateway = g;
    r->files = file_watch_new(g->control, files_changed, r);
    for (int i = 0; i < c->file_count; i++)
        file_watch_add(r->files, c->files[i]);
    watch_named_files(r, c);
    file_watch_commit(r->files, c->watch_config);
    return r;
}

void reload_free(struct reload *r)
{
    if (!r)
        return;
    file_watch_free(r->files);
    mem_free(r);
}
