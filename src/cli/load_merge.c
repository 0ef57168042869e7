/* load_merge.c -- reports of load tests that ran as several processes, on several machines, read and added up.
 *
 * Counts, sums and histograms add up exactly. What does not is said: percentiles are the histograms' (0.05 %), seconds are put together by the
 * machines' wall clocks, and the instrument's own figures are the worst of all. Models and stages are told apart by name. */
#include <math.h>
#include <stdarg.h>

#include "base/when.h"
#include "cli/load.h"
#include "cli/measure_export.h"
#include "config/file.h"

#define FILES_MAX        256
#define REPORT_BYTES_MAX (512u << 20)

struct file {
    const char *path;
    struct json_node *root;
    int64_t origin_real_us;
    uint32_t models_in_file, stages_in_file;
    uint32_t model_of[RESULTS_MODELS_MAX], stage_of[RESULTS_STAGES_MAX];
};

struct merge {
    struct load_result *out;
    struct file *files;
    size_t count;
    const struct option_list *thresholds;
    uint32_t model_count, stage_count;
    int64_t origin_real_us;
};

static struct str text_of(const struct json_node *n, const char *name)
{
    const struct json_node *m = json_get(n, name);
    return m && m->kind == JSON_STRING ? m->text : STR_NONE;
}

static double number_of(const struct json_node *n, const char *name)
{
    const struct json_node *m = json_get(n, name);
    return m && m->kind == JSON_NUMBER && isfinite(m->number) ? m->number : NAN;
}

static uint64_t count_of(const struct json_node *n, const char *name)
{
    double value = number_of(n, name);
    return value >= 0 && value < 1e18 ? (uint64_t)value : 0;
}

static bool is_true(const struct json_node *n, const char *name)
{
    const struct json_node *m = json_get(n, name);
    return m && m->kind == JSON_TRUE;
}

static void remark(struct load_result *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void remark(struct load_result *r, const char *fmt, ...)
{
    char text[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct str *all = arena_alloc(&r->arena, (r->remark_count + 1) * sizeof *all);
    if (r->remark_count)
        memcpy(all, r->remarks, r->remark_count * sizeof *all);
    all[r->remark_count++] = arena_str(&r->arena, str_from(text));
    r->remarks = all;
}

/* ---- reading ---- */

static bool in_file(const struct file *f, struct err *e)
{
    char text[sizeof e->text];
    if (!e->file[0]) {
        snprintf(text, sizeof text, "%s", e->text);
        *e = (struct err){0};
        err_set(e, "%.200s: %.280s", f->path, text);
    }
    return false;
}

static bool read_file(struct merge *m, struct file *f, struct err *e)
{
    struct str text;
    if (!file_read(&m->out->arena, f->path, REPORT_BYTES_MAX, &text, e))
        return false;
    f->root = json_parse(&m->out->arena, text, e);
    if (!f->root) {
        snprintf(e->file, sizeof e->file, "%s", f->path);
        return false;
    }
    struct str schema = text_of(f->root, "schema");
    const struct json_node *mergeable = json_get(f->root, "mergeable");
    if (!schema.n || !mergeable)
        return err_set(e, "%s: expected a report of weir load (--export FILE.json)", f->path);
    if (!str_eq(schema, STR(MEASURE_SCHEMA)))
        return err_set(e,
                       "%s: its schema is %.*s, and this is " MEASURE_SCHEMA
                       ": measure with the same version on all machines",
                       f->path, (int)MIN(schema.n, 40u), schema.p);
    return export_mergeable_origin(mergeable, &f->origin_real_us, e) || in_file(f, e);
}

/* The index of a name, which becomes the last one where it is new. False: too many. */
static bool place(struct str *names, uint32_t *count, uint32_t most, struct str name, uint32_t *out)
{
    uint32_t i = 0;
    while (i < *count && !str_eq(names[i], name))
        i++;
    if (i == most)
        return false;
    if (i == *count)
        names[(*count)++] = name;
    *out = i;
    return true;
}

/* Models or stages: where their names stand in a report, and what becomes of them. */
struct name_list {
    const char *list, *member;
    uint32_t most;
    struct str *names; /* of all reports */
    uint32_t *count;
};

static bool place_all(const struct file *f, const struct name_list *l, uint32_t *places,
                      uint32_t *in_file_count, struct err *e)
{
    const struct json_node *list = json_get(json_get(f->root, "scenario"), l->list);
    if (!list || list->kind != JSON_ARRAY || list->count > l->most || list->count == 0)
        return err_set(e, "%s: scenario.%s: expected a list of 1 to %u", f->path, l->list, l->most);
    for (const struct json_node *c = list->child; c; c = c->next) {
        struct str name = text_of(c, l->member);
        if (!name.p)
            return err_set(e, "%s: scenario.%s: expected a name in each", f->path, l->list);
        if (!place(l->names, l->count, l->most, name, &places[(*in_file_count)++]))
            return err_set(e, "%s: scenario.%s: there are more than %u in all", f->path, l->list,
                           l->most);
    }
    return true;
}

static bool place_names(struct merge *m, struct err *e)
{
    struct load_result *r = m->out;
    r->models = arena_alloc(&r->arena, RESULTS_MODELS_MAX * sizeof *r->models);
    r->stages = arena_alloc(&r->arena, RESULTS_STAGES_MAX * sizeof *r->stages);
    const struct name_list models = {"mix", "model", RESULTS_MODELS_MAX, r->models,
                                     &m->model_count};
    const struct name_list stages = {"stages", "name", RESULTS_STAGES_MAX, r->stages,
                                     &m->stage_count};
    for (size_t i = 0; i < m->count; i++) {
        struct file *f = &m->files[i];
        if (!place_all(f, &models, f->model_of, &f->models_in_file, e) ||
            !place_all(f, &stages, f->stage_of, &f->stages_in_file, e))
            return false;
    }
    return true;
}

static bool add_results(struct merge *m, const struct file *f, struct err *e)
{
    struct mergeable_places places = {.stage_count = m->stage_count,
                                      .model_count = m->model_count,
                                      .stage_of = f->stage_of,
                                      .model_of = f->model_of,
                                      .stages_in_file = f->stages_in_file,
                                      .models_in_file = f->models_in_file,
                                      .origin_real_us = m->origin_real_us};
    struct results *one = export_mergeable_read(json_get(f->root, "mergeable"), &places, e);
    if (!one)
        return in_file(f, e);
    if (!m->out->results) {
        m->out->results = one;
        return true;
    }
    bool same = memcmp(&one->objectives, &m->out->results->objectives, sizeof one->objectives) == 0;
    if (!same)
        remark(m->out, "%s has other objectives: goodput is of each run's own.", f->path);
    results_merge(m->out->results, one);
    results_free(one);
    return true;
}

/* ---- what is said of the instrument: the worst of all ---- */

static int64_t started_of(const struct file *f)
{
    int64_t us;
    bool zoned;
    return when_stamp(text_of(f->root, "started"), &us, &zoned) ? us : f->origin_real_us;
}

static void add_account(struct merge *m, const struct file *f)
{
    struct engine_account *a = &m->out->account;
    const struct json_node *n = json_get(f->root, "account");
    int64_t started_us = started_of(f);
    double seconds = number_of(n, "duration_s");
    uint64_t from_ns = (uint64_t)MAX(started_us, INT64_C(0)) * 1000;
    uint64_t to_ns = from_ns + (seconds > 0 && seconds < 1e9 ? (uint64_t)(seconds * 1e9) : 0);
    bool first = a->started_ns == 0;
    a->started_ns = first ? from_ns : MIN(a->started_ns, from_ns);
    a->started_real_us = (int64_t)(a->started_ns / 1000);
    a->ended_ns = MAX(a->ended_ns, to_ns);
    a->offered += count_of(n, "offered");
    a->sent += count_of(n, "sent");
    a->dropped += count_of(n, "dropped");
    a->in_flight_max += count_of(n, "in_flight_max");
    a->in_flight_mean += seconds > 0 ? seconds * number_of(n, "in_flight_mean") : 0;
    a->cpu_share = fmax(a->cpu_share, number_of(n, "cpu_share"));
    a->lag_p50_ns = fmax(a->lag_p50_ns, number_of(n, "receive_lag_p50_ms") * 1e6);
    a->lag_p99_ns = fmax(a->lag_p99_ns, number_of(n, "receive_lag_p99_ms") * 1e6);
    a->late_p50_ns = fmax(a->late_p50_ns, number_of(n, "send_lateness_p50_ms") * 1e6);
    a->late_p99_ns = fmax(a->late_p99_ns, number_of(n, "send_lateness_p99_ms") * 1e6);
    a->ticker_stall_max_ns = (uint64_t)fmin(
        fmax((double)a->ticker_stall_max_ns, number_of(n, "longest_stall_ms") * 1e6), 1e18);
}

/* A check a run, as far as there is room; those that failed go first. */
static void add_validity(struct merge *m, const struct file *f, bool limited)
{
    struct validity *v = &m->out->validity;
    const struct json_node *n = json_get(f->root, "validity");
    struct str summary = text_of(n, "summary");
    if (is_true(n, "client_limited") != limited)
        return;
    v->error_ns = fmax(v->error_ns, number_of(n, "measurement_error_ms") * 1e6);
    if (limited && !v->client_limited) {
        v->client_limited = true;
        snprintf(v->summary, sizeof v->summary, "%.100s: %.*s", f->path,
                 (int)MIN(summary.n, sizeof v->summary), summary.p ? summary.p : "");
    }
    if (v->count == VALIDITY_CHECKS_MAX)
        return;
    struct validity_check *c = &v->checks[v->count++];
    c->key = "run";
    c->heading = f->path;
    c->verdict = !n ? CHECK_NOT_ASKED : limited ? CHECK_BAD : CHECK_GOOD;
    c->value = c->bound = NAN;
    snprintf(c->text, sizeof c->text, "%.*s", (int)MIN(summary.n, sizeof c->text - 1),
             summary.p ? summary.p : "nothing is said of its instrument");
}

static void add_instruments(struct merge *m)
{
    for (size_t i = 0; i < m->count; i++)
        add_account(m, &m->files[i]);
    for (size_t i = 0; i < m->count; i++)
        add_validity(m, &m->files[i], true);
    for (size_t i = 0; i < m->count; i++)
        add_validity(m, &m->files[i], false);
    struct validity *v = &m->out->validity;
    if (!v->client_limited)
        snprintf(v->summary, sizeof v->summary,
                 "none of the %zu runs says that it was limited by "
                 "its client",
                 m->count);
    /* Each over its own time: together, over the time from the first's start to the last's end. */
    struct engine_account *a = &m->out->account;
    a->in_flight_mean = a->in_flight_mean / load_seconds(m->out);
}

/* ---- what was asked ---- */

static double *new_series(struct load_result *r, double value)
{
    size_t count = r->results->second_count + 1;
    double *values = arena_alloc(&r->arena, count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = value;
    return values;
}

/* A mean of rates where several of the file's seconds are one of ours; a sum over files. */
static void add_series(struct merge *m, const struct file *f, const char *name, bool mean,
                       double *into)
{
    const struct results *x = m->out->results;
    const struct json_node *asked = json_get(f->root, "asked");
    const struct json_node *list = asked ? json_get(asked, name) : NULL;
    double own_ns = number_of(json_get(f->root, "mergeable"), "second_ns");
    double shift_ns = (double)(f->origin_real_us - m->origin_real_us) * 1e3, i = 0;
    for (const struct json_node *c = list ? list->child : NULL; c; c = c->next, i++) {
        double slot = (shift_ns + (i + .5) * own_ns) / (double)x->second_ns;
        if (c->kind != JSON_NUMBER || !(slot >= 0) || !(slot < (double)x->second_count))
            continue;
        double *to = &into[(size_t)slot];
        double value = mean ? c->number * own_ns / (double)x->second_ns : c->number;
        *to = (isnan(*to) ? 0 : *to) + value;
    }
}

static void add_asked(struct merge *m)
{
    struct load_result *r = m->out;
    r->asked_per_s = new_series(r, NAN);
    r->asked_users = new_series(r, NAN);
    r->dropped = new_series(r, 0);
    for (size_t i = 0; i < m->count; i++) {
        add_series(m, &m->files[i], "per_s", true, r->asked_per_s);
        add_series(m, &m->files[i], "users", true, r->asked_users);
        add_series(m, &m->files[i], "never_sent", false, r->dropped);
    }
}

/* ---- thresholds: those of the first, measured anew ---- */

static bool add_limits(struct merge *m, struct err *e)
{
    struct load_result *r = m->out;
    const struct json_node *list = json_get(m->files[0].root, "thresholds");
    for (const struct json_node *c = list ? list->child : NULL; c; c = c->next)
        if (!limits_asked_add(&r->limits, text_of(c, "threshold"), e))
            return in_file(&m->files[0], e);
    for (size_t i = 0; i < m->thresholds->count; i++)
        if (!limits_asked_add(&r->limits, str_from(m->thresholds->values[i]), e))
            return err_prefix(e, "--threshold");
    if (!limits_asked_bind(&r->limits, r->models, m->model_count, r->stages, m->stage_count, e))
        return in_file(&m->files[0], e);
    struct limits_input in = {.results = r->results,
                              .offered = r->account.offered,
                              .sent = r->account.sent,
                              .dropped = r->account.dropped,
                              .seconds = load_seconds(r)};
    r->limits_held = limits_asked_check(&r->limits, &in);
    return true;
}

/* ---- what runs have not in common ---- */

static bool same_thresholds(const struct json_node *a, const struct json_node *b)
{
    const struct json_node *x = json_get(a, "thresholds"), *y = json_get(b, "thresholds");
    const struct json_node *c = x ? x->child : NULL, *d = y ? y->child : NULL;
    while (c && d && str_eq(text_of(c, "threshold"), text_of(d, "threshold"))) {
        c = c->next;
        d = d->next;
    }
    return !c && !d;
}

static void compare_scenarios(struct merge *m)
{
    const struct json_node *first = json_get(m->files[0].root, "scenario");
    int64_t first_end_us = INT64_MAX, last_start_us = INT64_MIN;
    for (size_t i = 0; i < m->count; i++) {
        const struct file *f = &m->files[i];
        const struct json_node *scenario = json_get(f->root, "scenario");
        double seconds = number_of(json_get(f->root, "account"), "duration_s");
        int64_t started_us = started_of(f);
        last_start_us = MAX(last_start_us, started_us);
        first_end_us = MIN(
            first_end_us, started_us + (int64_t)(seconds > 0 && seconds < 1e9 ? seconds * 1e6 : 0));
        if (!str_eq(text_of(scenario, "hash"), text_of(first, "hash")))
            remark(m->out, "The runs differ in scenario: %s asked for something else than %s.",
                   f->path, m->files[0].path);
        if (!str_eq(text_of(f->root, "url"), text_of(m->files[0].root, "url")))
            remark(m->out, "The runs differ in URL: %s asked %.*s.", f->path,
                   STR_ARG(text_of(f->root, "url")));
        if (!same_thresholds(f->root, m->files[0].root))
            remark(m->out, "%s has other thresholds: those of %s are measured.", f->path,
                   m->files[0].path);
        if (is_true(f->root, "cut_short"))
            remark(m->out, "%s was stopped by Ctrl-C.", f->path);
    }
    if (last_start_us > first_end_us)
        remark(m->out,
               "The runs did not all go on at the same time: rates of the whole are lower than "
               "those of each.");
}

static void describe(struct merge *m)
{
    struct load_result *r = m->out;
    const struct json_node *root = m->files[0].root, *scenario = json_get(root, "scenario");
    uint64_t seed = count_of(root, "seed");
    r->command = "load merge";
    r->name = text_of(scenario, "name");
    r->url = text_of(root, "url");
    r->replay_file = text_of(scenario, "replay");
    r->replay_speed = number_of(scenario, "replay_speed");
    r->replay_requests = count_of(scenario, "replay_requests");
    r->seed = seed;
    r->merged = m->count;
    r->origin_real_us = m->origin_real_us;
    r->open_loop = true;
    for (size_t i = 0; i < m->count; i++)
        r->open_loop &= is_true(json_get(m->files[i].root, "scenario"), "open_loop");
    struct str hash = text_of(scenario, "hash");
    char digits[17];
    snprintf(digits, sizeof digits, "%.*s", (int)MIN(hash.n, 16u), hash.p ? hash.p : "");
    r->hash = strtoull(digits, NULL, 16);
    remark(r, "%zu runs, added up: percentiles are those of the histograms, within 0.05 %%.",
           m->count);
    compare_scenarios(m);
}

/* ---- the whole ---- */

static bool merge_all(struct merge *m, struct err *e)
{
    m->origin_real_us = INT64_MAX;
    for (size_t i = 0; i < m->count; i++) {
        if (!read_file(m, &m->files[i], e))
            return false;
        m->origin_real_us = MIN(m->origin_real_us, m->files[i].origin_real_us);
    }
    if (!place_names(m, e))
        return false;
    for (size_t i = 0; i < m->count; i++)
        if (!add_results(m, &m->files[i], e))
            return false;
    results_seal(m->out->results);
    add_instruments(m);
    add_asked(m);
    describe(m);
    return add_limits(m, e);
}

bool load_merge(const char *const *paths, size_t count, const struct option_list *thresholds,
                struct load_result *out, struct err *e)
{
    struct merge m = {.out = out, .count = count, .thresholds = thresholds};
    *out = (struct load_result){0};
    arena_init(&out->arena, NULL, 0);
    if (count > FILES_MAX)
        return err_set(e, "expected at most %d reports, got %zu", FILES_MAX, count);
    m.files = arena_zalloc(&out->arena, count * sizeof *m.files);
    for (size_t i = 0; i < count; i++) {
        m.files[i].path = paths[i];
        for (size_t k = 0; k < i; k++)
            if (strcmp(paths[i], paths[k]) == 0)
                return err_set(e, "%s is there twice: its requests would count twice", paths[i]);
    }
    return merge_all(&m, e);
}
