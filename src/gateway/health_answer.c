/* health_answer.c -- GET /health as JSON, in LiteLLM's shape and with what weir knows besides. [control thread] */
#include "gateway/health.h"

#include "base/json.h"

/* ---- who is asked for ---- */

/* As LiteLLM: the public name, or litellm_params.model. */
bool health_is_asked_for(const struct waiter *w, const struct deployment *d)
{
    struct str model = str_from(w->model), id = str_from(w->model_id);
    return (!model.n || str_eq(d->model_name, model) || str_eq(d->litellm_model, model)) &&
           (!id.n || str_eq(d->model_id, id));
}

bool health_read_query(const struct health *h, struct waiter *w)
{
    struct control_job *j = w->job;
    const struct config *c = h->snapshot->config;
    struct str query = str_from(j->query);
    bool filtered = query_value(query, STR("model"), w->model, sizeof w->model);
    filtered |= query_value(query, STR("model_id"), w->model_id, sizeof w->model_id);
    for (uint32_t i = 0; i < c->deployment_count; i++)
        if (health_is_asked_for(w, &c->deployments[i]))
            return true;
    if (!filtered)
        return true; /* there is none at all */
    j->status = error_info(ERR_NOT_FOUND)->http_status;
    reply_error_json(ERR_NOT_FOUND,
                     STR("no deployment has this model and model_id; GET /model/info lists those "
                         "there are"),
                     &j->body);
    control_done(j);
    return false;
}

/* ---- a deployment's state, from traffic ---- */

static double seconds_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e9 : 0;
}

static const char *state_name(const struct deployment_state *s, uint64_t now_ns)
{
    static const char *const names[] = {"healthy", "failing", "resting"};
    if (fleet_rest(s, now_ns) == REST_HALF_OPEN)
        return "half_open";
    return names[fleet_health(s, now_ns)];
}

static bool write_last_failure(struct buf *out, const struct deployment_state *s, uint64_t now_ns)
{
    uint64_t at_ns = __atomic_load_n(&s->last_failure_ns, __ATOMIC_RELAXED);
    uint32_t class = __atomic_load_n(&s->last_class, __ATOMIC_RELAXED);
    uint32_t status = __atomic_load_n(&s->last_status, __ATOMIC_RELAXED);
    if (!at_ns)
        return buf_printf(out, ",\"last_failure\":null");
    return buf_printf(out, ",\"last_failure\":{\"class\":\"%s\",\"status\":",
                      fleet_failure_name((enum failure_class) class)) &&
           (status ? buf_printf(out, "%u", status) : buf_printf(out, "null")) &&
           buf_printf(out, ",\"seconds_ago\":%.3f}", seconds_between(at_ns, now_ns));
}

static bool write_speed(struct buf *out, const char *name, uint64_t us)
{
    return us ? buf_printf(out, ",\"%s\":%.3f", name, (double)us / 1e3)
              : buf_printf(out, ",\"%s\":null", name);
}

bool health_write_state(struct buf *out, const struct deployment_state *s, uint64_t now_ns)
{
    return buf_printf(out,
                      "{\"state\":\"%s\",\"in_flight\":%d,\"fails_in_row\":%u,"
                      "\"rests_for_ms\":%llu,\"rests\":%llu",
                      state_name(s, now_ns), __atomic_load_n(&s->in_flight, __ATOMIC_RELAXED),
                      __atomic_load_n(&s->fails_in_row, __ATOMIC_RELAXED),
                      (unsigned long long)(fleet_rest_left_ns(s, now_ns) / NS_PER_MS),
                      (unsigned long long)__atomic_load_n(&s->rests_total, __ATOMIC_RELAXED)) &&
           write_last_failure(out, s, now_ns) &&
           write_speed(out, "ttft_ms", __atomic_load_n(&s->ttft_us, __ATOMIC_RELAXED)) &&
           write_speed(out, "ms_per_token", __atomic_load_n(&s->token_us, __ATOMIC_RELAXED)) &&
           buf_printf(out, "}");
}

/* ---- engines ---- */

static bool write_count(struct buf *out, const char *name, int64_t count)
{
    return count == ENGINE_UNKNOWN ? buf_printf(out, ",\"%s\":null", name)
                                   : buf_printf(out, ",\"%s\":%lld", name, (long long)count);
}

static bool write_models(struct buf *out, const struct engine_report *r)
{
    bool ok = buf_printf(out, ",\"models\":[");
    for (int i = 0; i < r->models_kept; i++) {
        const struct engine_model *m = &r->models[i];
        ok = ok && buf_printf(out, "%s{\"name\":", i ? "," : "") &&
             json_write_string(out, str_from(m->name)) &&
             write_count(out, "size_bytes", m->size_bytes) &&
             write_count(out, "vram_bytes", m->vram_bytes) && buf_printf(out, ",\"expires_at\":") &&
             json_write_string(out, str_from(m->expires_at)) && buf_printf(out, "}");
    }
    return ok && buf_printf(out, "]");
}

bool health_write_engine(struct buf *out, const struct engines *e, uint32_t deployment,
                         uint64_t now_ns)
{
    int64_t index = engines_of(e, deployment);
    if (index < 0)
        return buf_printf(out, "null");
    struct engine_view v = engines_view(e, (uint32_t)index);
    const struct engine_report *r = v.report;
    bool ok = buf_printf(out, "{\"engine\":\"%s\",\"base\":", engine_name(v.kind)) &&
              json_write_string(out, v.base) &&
              buf_printf(out, ",\"up\":%s,\"version\":", r->up ? "true" : "false") &&
              json_write_string(out, str_from(r->version)) &&
              write_count(out, "loaded_models", r->loaded) && write_models(out, r) &&
              write_count(out, "running", r->running) && write_count(out, "waiting", r->waiting) &&
              write_count(out, "slots", r->slots);
    ok = ok &&
         (r->kv_cache_ratio >= 0 ? buf_printf(out, ",\"kv_cache_usage\":%.6g", r->kv_cache_ratio)
                                 : buf_printf(out, ",\"kv_cache_usage\":null"));
    return ok && (v.asked_ns ? buf_printf(out, ",\"asked_seconds_ago\":%.3f}",
                                          seconds_between(v.asked_ns, now_ns))
                             : buf_printf(out, ",\"asked_seconds_ago\":null}"));
}

/* ---- the answer ---- */

static bool write_said(struct buf *out, const struct check *c)
{
    if (!c->said[0])
        return true;
    return buf_printf(out, c->alive ? ",\"note\":" : ",\"error\":") &&
           json_write_string(out, str_from(c->said));
}

static bool write_details(struct buf *out, const struct check *c, const struct deployment *d,
                          const struct deployment_state *s, uint64_t now_ns)
{
    return buf_printf(out, ",\"model_name\":") && json_write_string(out, d->model_name) &&
           buf_printf(out, ",\"model_id\":") && json_write_string(out, d->model_id) &&
           buf_printf(out, ",\"api_base\":") && json_write_string(out, d->api_base) &&
           buf_printf(out, ",\"provider\":") && json_write_string(out, d->provider_name) &&
           write_said(out, c) &&
           buf_printf(out, ",\"checked_seconds_ago\":%.3f,\"traffic\":",
                      seconds_between(c->done_ns, now_ns)) &&
           health_write_state(out, s, now_ns);
}

/* Those that are alive, or those that are not; returns how many. */
static int write_list(const struct health *h, const struct waiter *w, bool alive, uint64_t now_ns)
{
    const struct config *config = h->snapshot->config;
    struct buf *out = &w->job->body;
    int count = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        const struct deployment *d = &config->deployments[i];
        if (h->checks[i].alive != alive || !health_is_asked_for(w, d))
            continue;
        bool ok = buf_printf(out, "%s{\"model\":", count++ ? "," : "") &&
                  json_write_string(out, d->litellm_model);
        if (config->health_check_details)
            ok = ok && write_details(out, &h->checks[i], d, h->snapshot->states[i], now_ns);
        ENSURE(ok && buf_printf(out, "}"));
    }
    return count;
}

void health_write(const struct health *h, const struct waiter *w)
{
    struct buf *out = &w->job->body;
    uint64_t now_ns = clock_mono_ns();
    bool ok = buf_printf(out, "{\"healthy_endpoints\":[");
    int healthy = write_list(h, w, true, now_ns);
    ok = ok && buf_printf(out, "],\"unhealthy_endpoints\":[");
    int unhealthy = write_list(h, w, false, now_ns);
    ENSURE(ok &&
           buf_printf(out, "],\"healthy_count\":%d,\"unhealthy_count\":%d}\n", healthy, unhealthy));
    control_done(w->job);
}
