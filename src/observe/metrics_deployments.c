/* metrics_deployments.c -- exposition of what does not come from requests: deployments' limits, states, rests and probes, their engines, and virtual keys.
 *
 * One series a configured deployment, so the configuration bounds them. Two rows of the configuration may show equal labels (the same model_info.id twice): the
 * first of them is written, since a series that comes twice would make Prometheus refuse the whole scrape. */
#include "observe/metrics_scrape.h"

/* ---- deployments ---- */

/* METRICS_UNKNOWN: this one has none. */
typedef uint64_t (*value_fn)(const struct scrape *s, const struct family *f, uint32_t deployment);

/* The deployments that have a value, sorted by their labels; `first` is which one. */
static struct group *rows_of(struct scrape *s, const struct family *f, value_fn value,
                             uint32_t *count)
{
    const struct config *c = s->process->config;
    uint32_t all = c ? c->deployment_count : 0, n = 0;
    struct group *rows = arena_alloc(&s->texts, (all + 1) * sizeof *rows);
    for (uint32_t i = 0; i < all; i++) {
        const struct deployment *d = &c->deployments[i];
        const struct str values[VALUE_COUNT] = {
            [VALUE_REQUESTED] = d->model_name,    [VALUE_NONE] = STR("None"),
            [VALUE_UPSTREAM] = d->upstream_model, [VALUE_MODEL_ID] = d->model_id,
            [VALUE_API_BASE] = d->api_base,       [VALUE_PROVIDER] = d->provider_name};
        if (value(s, f, i) != METRICS_UNKNOWN)
            rows[n++] =
                (struct group){scrape_labels(&s->texts, f->labels, f->label_count, values), i, i};
    }
    if (n > 1)
        qsort(rows, n, sizeof *rows, scrape_compare_labels);
    *count = 0;
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || !str_eq(rows[i].labels, rows[*count - 1].labels))
            rows[(*count)++] = rows[i];
    return rows;
}

static void write_rows(struct scrape *s, const struct family *f, value_fn value)
{
    uint32_t count;
    const struct group *rows = rows_of(s, f, value, &count);
    for (uint32_t i = 0; i < count; i++)
        scrape_sample(s, f, rows[i].labels, STR_NONE, value(s, f, rows[i].first));
}

static uint64_t member(const struct scrape *s, const struct family *f, uint32_t i)
{
    if (!s->process->deployments)
        return METRICS_UNKNOWN;
    const char *d = (const char *)&s->process->deployments[i];
    return *(const uint64_t *)(const void *)(d + f->source.index);
}

void scrape_each_deployment(struct scrape *s, const struct family *f)
{
    write_rows(s, f, member);
}

static uint64_t limit(double given)
{
    return given >= 0 ? (uint64_t)MIN(given, 1e18) : METRICS_UNKNOWN;
}

static uint64_t tpm(const struct scrape *s, const struct family *f, uint32_t i)
{
    (void)f;
    return limit(s->process->config->deployments[i].tpm);
}
static uint64_t rpm(const struct scrape *s, const struct family *f, uint32_t i)
{
    (void)f;
    return limit(s->process->config->deployments[i].rpm);
}

void tpm_limits(struct scrape *s, const struct family *f)
{
    write_rows(s, f, tpm);
}
void rpm_limits(struct scrape *s, const struct family *f)
{
    write_rows(s, f, rpm);
}

/* Rests of any status. */
static uint64_t rests(const struct scrape *s, const struct family *f, uint32_t i)
{
    (void)f;
    uint64_t sum = 0;
    const struct metrics_deployment *d = s->process->deployments;
    for (int k = 0; d && k < d[i].rest_count; k++)
        sum += d[i].rests[k].count;
    return sum ? sum : METRICS_UNKNOWN;
}

static struct str status_label(struct arena *a, int status)
{
    return status > 0    ? arena_printf(a, "exception_status=\"%d\"", status)
           : status == 0 ? STR("exception_status=\"None\"")
                         : STR("exception_status=\"other\"");
}

void cooled_down(struct scrape *s, const struct family *f)
{
    uint32_t count;
    const struct group *rows = rows_of(s, f, rests, &count);
    for (uint32_t i = 0; i < count; i++) {
        const struct metrics_deployment *d = &s->process->deployments[rows[i].first];
        for (int k = 0; k < d->rest_count; k++)
            if (d->rests[k].count)
                scrape_sample(s, f, rows[i].labels, status_label(&s->texts, d->rests[k].status),
                              d->rests[k].count);
    }
}

/* ---- engines ---- */

static struct str engine_labels(struct scrape *s, const struct metrics_engine *e, struct str model)
{
    static const struct label labels[] = {
        {"engine", 0, NULL}, {"api_base", 1, NULL}, {"model", 2, NULL}};
    const struct str values[] = {e->engine, e->api_base, model};
    return scrape_labels(&s->texts, labels, model.n ? 3 : 2, values);
}

/* An earlier one shows the same labels: one server under two kinds, of which one was found out. */
static bool shown_before(const struct scrape *s, uint32_t index)
{
    const struct metrics_engine *all = s->process->engines;
    for (uint32_t i = 0; i < index; i++)
        if (str_eq(all[i].engine, all[index].engine) &&
            str_eq(all[i].api_base, all[index].api_base))
            return true;
    return false;
}

void scrape_each_engine(struct scrape *s, const struct family *f)
{
    for (uint32_t i = 0; i < s->process->engine_count; i++) {
        const struct metrics_engine *e = &s->process->engines[i];
        uint64_t value = *(const uint64_t *)(const void *)((const char *)e + f->source.index);
        if (value != METRICS_UNKNOWN && !shown_before(s, i))
            scrape_sample(s, f, engine_labels(s, e, STR_NONE), STR_NONE, value);
    }
}

static bool named_before(const struct metrics_engine *e, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (str_eq(e->models[i].name, e->models[index].name))
            return true;
    return false;
}

void engine_vram(struct scrape *s, const struct family *f)
{
    for (uint32_t i = 0; i < s->process->engine_count; i++) {
        const struct metrics_engine *e = &s->process->engines[i];
        for (uint32_t k = 0; k < e->model_count && !shown_before(s, i); k++) {
            uint64_t sum = 0;
            for (uint32_t n = k; n < e->model_count; n++)
                if (str_eq(e->models[n].name, e->models[k].name))
                    sum += e->models[n].vram_bytes;
            if (!named_before(e, k))
                scrape_sample(s, f, engine_labels(s, e, e->models[k].name), STR_NONE, sum);
        }
    }
}

/* ---- keys ---- */

/* Sorted by their labels; `first` is which one. */
static struct group *keys_of(struct scrape *s, const struct family *f)
{
    const struct metrics_process *p = s->process;
    struct group *rows = arena_alloc(&s->texts, (p->key_count + 1) * sizeof *rows);
    for (uint32_t i = 0; i < p->key_count; i++) {
        struct str values[VALUE_COUNT] = {
            [VALUE_KEY_HASH] = p->keys[i].hash, [VALUE_KEY_ALIAS] = p->keys[i].alias};
        rows[i] = (struct group){scrape_labels(&s->texts, f->labels, f->label_count, values), i, i};
    }
    if (p->key_count > 1)
        qsort(rows, p->key_count, sizeof *rows, scrape_compare_labels);
    return rows;
}

void scrape_each_key(struct scrape *s, const struct family *f)
{
    const struct group *rows = keys_of(s, f);
    for (uint32_t i = 0; i < s->process->key_count; i++) {
        const char *key = (const char *)&s->process->keys[rows[i].first];
        uint64_t value = *(const uint64_t *)(const void *)(key + f->source.index);
        if (value != METRICS_UNKNOWN)
            scrape_sample(s, f, rows[i].labels, STR_NONE, value);
    }
}

static void write_limits(struct scrape *s, const struct family *f, bool used)
{
    const struct group *rows = keys_of(s, f);
    for (uint32_t i = 0; i < s->process->key_count; i++) {
        const struct metrics_key *k = &s->process->keys[rows[i].first];
        const struct {
            const char *type; /* LiteLLM's words */
            uint64_t allowed, used;
        } limits[] = {
            {"requests", k->requests_allowed, k->requests_used},
            {"tokens", k->tokens_allowed, k->tokens_used},
            {"max_parallel_requests", k->parallel_allowed, k->parallel_used},
        };
        for (size_t n = 0; n < COUNT(limits); n++)
            if (limits[n].allowed != METRICS_UNKNOWN)
                scrape_sample(s, f, rows[i].labels,
                              arena_printf(&s->texts, "rate_limit_type=\"%s\"", limits[n].type),
                              used ? limits[n].used : limits[n].allowed);
    }
}

void key_limits_allowed(struct scrape *s, const struct family *f)
{
    write_limits(s, f, false);
}
void key_limits_used(struct scrape *s, const struct family *f)
{
    write_limits(s, f, true);
}
