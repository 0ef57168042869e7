/* metrics.c -- recording: from a request record to the two cells of its worker's shard that it belongs to.
 *
 * Called by the gateway's last step, once a request, after the log line was put. What identifies
 * the cells is struct key: eight texts (model, deployment, key, route ...) and the outcome.
 * metrics_record finds them by hash (metrics_cells.c), and adds: no lock, no
 * locked instruction, no system call, no allocation but for a new cell. All families of the
 * exposition are made from cells when somebody scrapes (metrics_write.c), so a new family costs
 * nothing here.
 *
 * Lifetimes: texts of a key are borrowed from the record; a shard keeps its own copy of each,
 * because the configuration a record points into may be gone long before the cell is.
 * Threads: a shard is written by its worker alone. The scraper sees a cell after its pile's count
 * was stored with release, and reads its numbers relaxed: each is exact, though two of them may
 * be a request apart.
 * Numbers are integers throughout (ns, 1e-12 USD): adding never loses anything, and the sum of
 * shards does not depend on their order. */
#include "observe/metrics_internal.h"

#include <math.h>

#include "base/clock.h"
#include "observe/process.h"

/* What one answer can add: a provider's nonsense must not wrap a counter. */
#define TOKENS_MAX   ((int64_t)1 << 40)
#define COST_MAX_USD 1e6
#define PICO_PER_USD 1e12
#define MICROS_MAX   ((int64_t)1 << 40) /* twelve days */

/* ---- what a record's key is ---- */

static struct str or_none(struct str s)
{
    return s.n ? s : NONE;
}

static uint16_t status_of(int64_t status)
{
    return status >= 100 && status <= 999 ? (uint16_t)status : 0;
}

static uint8_t traits_of(const struct record *r, bool deployed)
{
    uint8_t traits = str_eq(r->status, STR("success"))     ? TRAIT_SUCCESS
                     : str_eq(r->status, STR("cancelled")) ? TRAIT_CANCELLED
                     : str_eq(r->status, STR("unknown"))   ? TRAIT_UNKNOWN
                                                           : TRAIT_FAILURE;
    if (deployed)
        traits |= TRAIT_DEPLOYED;
    if (str_eq(r->event, STR("attempt")))
        traits |= TRAIT_ATTEMPT;
    return traits;
}

/* Of the request; an attempt's is not told apart. */
static uint8_t kind_of(const struct record *r, struct str requested)
{
    return str_eq(r->event, STR("attempt"))
               ? OUTCOME_UNKNOWN
               : (uint8_t)outcome_of_record(r, str_find(requested, '*') >= 0);
}

static struct outcome outcome_of(const struct record *r, struct str requested, bool deployed)
{
    return (struct outcome){.kind = kind_of(r, requested),
                            .http_status = status_of(r->http_status),
                            .provider_status = status_of(r->error.provider_status),
                            .error_code = (uint8_t)r->error_code,
                            .traits = traits_of(r, deployed)};
}

static void key_set_deployment(struct key *k, const struct deployment *d)
{
    k->values[VALUE_MODEL_ID] = d ? or_none(d->model_id) : NONE;
    k->values[VALUE_UPSTREAM] = d ? or_none(d->upstream_model) : NONE;
    k->values[VALUE_API_BASE] = d ? or_none(d->api_base) : NONE;
    k->values[VALUE_PROVIDER] = d ? or_none(d->provider_name) : NONE;
}

/* A key that no one gave a name (any text passes where no master key is set) is "None". */
static void key_set_caller(struct key *k, const struct record *r)
{
    k->values[VALUE_KEY_HASH] = r->key_alias.n ? or_none(r->key_hash) : NONE;
    k->values[VALUE_KEY_ALIAS] = or_none(r->key_alias);
    k->values[VALUE_ROUTE] = or_none(r->route);
}

/* Only what the configuration knows becomes a label: a wildcard's model is shown as the
 * wildcard. */
static void key_of_record(struct key *k, const struct record *r)
{
    k->values[VALUE_REQUESTED] = r->model_known ? or_none(r->model)
                                 : r->deployed  ? r->deployed->model_name
                                                : OTHER;
    key_set_deployment(k, r->deployed);
    key_set_caller(k, r);
    k->outcome = outcome_of(r, k->values[VALUE_REQUESTED], r->deployed);
}

/* What a log knows of the same: names. A model that nobody served may be any text a client sent: "other". */
static void key_of_names(struct key *k, const struct record *r)
{
    bool deployed = r->deployment.n || r->provider.n || r->api_base.n;
    k->values[VALUE_REQUESTED] = r->model_known || deployed ? or_none(r->model) : OTHER;
    k->values[VALUE_MODEL_ID] = or_none(r->deployment);
    k->values[VALUE_UPSTREAM] = deployed ? or_none(r->upstream_model) : NONE;
    k->values[VALUE_API_BASE] = or_none(r->api_base);
    k->values[VALUE_PROVIDER] = or_none(r->provider);
    key_set_caller(k, r);
    k->outcome = outcome_of(r, k->values[VALUE_REQUESTED], deployed);
    if (k->outcome.traits & TRAIT_FAILURE)
        k->outcome.exception = metrics_exception(r->error.type);
}

/* ---- adding a record ---- */

static uint32_t bucket_of(const struct bounds *b, uint64_t ns)
{
    uint32_t i = 0;
    while (i < b->count && ns > b->ns[i])
        i++;
    return i;
}

static void observe(const struct metrics *m, struct cell *c, enum histogram h, uint64_t ns)
{
    const struct bounds *b = &m->bounds[h];
    uint64_t *buckets = c->numbers + m->histogram_at[h];
    COUNTER_ADD(buckets[bucket_of(b, ns)], 1);
    COUNTER_ADD(buckets[b->count + 1], ns);
}

static void observe_us(const struct metrics *m, struct cell *c, enum histogram h, int64_t us)
{
    if (us >= 0)
        observe(m, c, h, (uint64_t)us * NS_PER_US);
}

static uint64_t tokens(int64_t n)
{
    return (uint64_t)MIN(MAX(n, 0), TOKENS_MAX);
}

static uint64_t micros(int64_t us)
{
    return (uint64_t)MIN(MAX(us, 0), MICROS_MAX);
}

/* What a record adds to the numbers of its cells. */
static void numbers_of(const struct record *r, uint64_t n[NUMBER_COUNT])
{
    uint64_t prompt = tokens(r->prompt_tokens), completion = tokens(r->completion_tokens);
    uint64_t total = r->total_tokens >= 0 ? tokens(r->total_tokens) : prompt + completion;
    n[NUMBER_REQUESTS] = 1;
    n[NUMBER_PROMPT_TOKENS] = prompt;
    n[NUMBER_COMPLETION_TOKENS] = completion;
    n[NUMBER_TOTAL_TOKENS] = total;
    n[NUMBER_CACHED_TOKENS] = tokens(r->cached_tokens);
    n[NUMBER_REASONING_TOKENS] = tokens(r->reasoning_tokens);
    if (str_eq(r->tokens_source, STR("estimated")))
        n[NUMBER_ESTIMATED_TOKENS] = prompt + completion;
    if (r->cost_usd > 0)
        n[NUMBER_COST] = (uint64_t)llround(MIN(r->cost_usd, COST_MAX_USD) * PICO_PER_USD);
    n[NUMBER_SLOW] = r->slow == 1;
    n[NUMBER_LOAD] = micros(r->engine.load_us);
    n[NUMBER_PREFILL] = micros(r->engine.prefill_us);
    n[NUMBER_DECODE] = micros(r->engine.decode_us);
    n[NUMBER_UNPRICED] = total > 0 && r->cost_usd < 0;
    if (str_eq(r->cache, STR("hit"))) {
        n[NUMBER_CACHE_HITS] = 1;
        n[NUMBER_CACHE_TOKENS] = total;
    } else if (str_eq(r->cache, STR("miss"))) {
        n[NUMBER_CACHE_MISSES] = 1;
    }
}

static void add_numbers(struct cell *c, const uint64_t *n, int count)
{
    for (int i = 0; i < count; i++)
        if (n[i])
            COUNTER_ADD(c->numbers[i], n[i]);
}

/* Streams: from the first token to the last, which are n - 1 steps. Others: all of the
 * upstream's time. (LiteLLM divides a stream's time to first token by its tokens, which measures
 * neither.) An answer from the response cache was not written token by token. */
static void add_output_token_time(const struct metrics *m, struct cell *c, const struct record *r)
{
    if (r->completion_tokens < 1 || str_eq(r->cache, STR("hit")))
        return;
    uint64_t n = tokens(r->completion_tokens);
    if (r->stream == 1 && r->output_us >= 0 && n > 1)
        observe(m, c, HISTOGRAM_OUTPUT_TOKEN, (uint64_t)r->output_us * NS_PER_US / (n - 1));
    else if (r->stream != 1 && r->upstream_us >= 0)
        observe(m, c, HISTOGRAM_OUTPUT_TOKEN, (uint64_t)r->upstream_us * NS_PER_US / n);
}

static void add_times(const struct metrics *m, struct cell *c, const struct record *r)
{
    observe_us(m, c, HISTOGRAM_LATENCY, r->latency_us);
    observe_us(m, c, HISTOGRAM_UPSTREAM, r->upstream_us);
    observe_us(m, c, HISTOGRAM_OVERHEAD, r->overhead_us);
    observe_us(m, c, HISTOGRAM_OVERHEAD_FINE, r->overhead_us);
    observe_us(m, c, HISTOGRAM_QUEUE, r->queue_us);
    if (r->stream == 1)
        observe_us(m, c, HISTOGRAM_TTFT, r->ttft_us);
    add_output_token_time(m, c, r);
}

/* Every store of the content is a release, so whoever reads (with acquire) any new word of it
 * also sees the odd version: the pattern needs no fence, which ThreadSanitizer could not follow,
 * and on x86 is plain moves. */
static void exemplar_write(struct exemplar *e, uint64_t value_ns, int64_t real_us,
                           const char trace_id[32])
{
    uint64_t id[4];
    memcpy(id, trace_id, sizeof id);
    uint32_t version = __atomic_load_n(&e->version, __ATOMIC_RELAXED);
    __atomic_store_n(&e->version, version + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&e->value_ns, value_ns, __ATOMIC_RELEASE);
    __atomic_store_n(&e->real_us, real_us, __ATOMIC_RELEASE);
    for (size_t i = 0; i < COUNT(id); i++)
        __atomic_store_n(&e->trace_id[i], id[i], __ATOMIC_RELEASE);
    __atomic_store_n(&e->version, version + 2, __ATOMIC_RELEASE);
}

bool exemplar_read(const struct exemplar *from, struct exemplar *to)
{
    do {
        to->version = __atomic_load_n(&from->version, __ATOMIC_ACQUIRE);
        to->value_ns = __atomic_load_n(&from->value_ns, __ATOMIC_ACQUIRE);
        to->real_us = __atomic_load_n(&from->real_us, __ATOMIC_ACQUIRE);
        for (size_t i = 0; i < COUNT(to->trace_id); i++)
            to->trace_id[i] = __atomic_load_n(&from->trace_id[i], __ATOMIC_ACQUIRE);
    } while (to->version & 1 || to->version != __atomic_load_n(&from->version, __ATOMIC_RELAXED));
    return to->version > 0;
}

static void add_exemplar(const struct metrics *m, struct cell *c, const struct record *r)
{
    if (r->trace_id.n != 32 || r->latency_us < 0)
        return;
    const struct bounds *b = &m->bounds[HISTOGRAM_LATENCY];
    uint64_t ns = (uint64_t)r->latency_us * NS_PER_US;
    struct exemplar *e = c->exemplars;
    if (UNLIKELY(!e)) {
        e = mem_alloc((b->count + 1) * sizeof *e);
        __atomic_store_n(&c->exemplars, e, __ATOMIC_RELEASE);
    }
    exemplar_write(&e[bucket_of(b, ns)], ns, r->timestamp, r->trace_id.p);
}

static inline void add_record(const struct metrics *m, struct shard *s, const struct key *k,
                              const struct record *r)
{
    uint64_t n[NUMBER_COUNT] = {0};
    bool folded = false;
    struct cell *c = metrics_cell(m, s, k, &folded);
    numbers_of(r, n);
    add_numbers(c, n, NUMBER_COUNT);
    add_numbers(metrics_account(m, s, c, k, &folded), n, NUMBER_ACCOUNT_COUNT);
    add_times(m, c, r);
    add_exemplar(m, c, r);
    if (!n[NUMBER_CACHE_HITS]) /* the cache's answers say nothing of a deployment's state */
        __atomic_store_n(&c->last_real_us, r->timestamp, __ATOMIC_RELAXED);
    if (UNLIKELY(r->fallback.to.n) && !(k->outcome.traits & TRAIT_ATTEMPT))
        fallback_count(m, s, k, r, false, &folded);
    if (folded)
        COUNTER_ADD(s->overflows, 1);
    if (r->error_code != ERR_NONE && !(k->outcome.traits & TRAIT_ATTEMPT))
        COUNTER_ADD(s->errors[r->error_code], 1);
}

void metrics_record(struct metrics *m, int worker, const struct record *r)
{
    struct key k;
    key_of_record(&k, r);
    add_record(m, &m->shards[worker], &k, r);
}

void metrics_passed_on(struct metrics *m, int worker, const struct record *r)
{
    struct key k;
    bool folded = false;
    key_of_record(&k, r);
    fallback_count(m, &m->shards[worker], &k, r, true, &folded);
    if (folded)
        COUNTER_ADD(m->shards[worker].overflows, 1);
}

void metrics_record_named(struct metrics *m, int worker, const struct record *r)
{
    struct key k;
    key_of_names(&k, r);
    add_record(m, &m->shards[worker], &k, r);
}

/* ---- life ---- */

/* LiteLLM's since 1.83.7, where the configuration gives none. */
static const double latency_buckets[] = {.005, .01, .025, .05, .1,  .25, .5,  1,  2,
                                         5,    10,  30,   60,  120, 300, 420, 600};

/* Overhead and queueing are microseconds in this gateway; LiteLLM's buckets start at 5 ms. */
static const double fine_buckets[] = {.00001, .000025, .00005, .0001, .00025, .0005, .001,
                                      .0025,  .005,    .01,    .025,  .05,    .1};
/* The defaults of Prometheus's Python client, which LiteLLM leaves in place for
 * litellm_deployment_latency_per_output_token, and below them three for engines faster than 200
 * tokens a second. */
static const double output_token_buckets[] = {.0005, .001, .0025, .005, .01, .025, .05, .075, .1,
                                              .25,   .5,   .75,   1,    2.5, 5,    7.5, 10};

static struct bounds bounds_from(const double *seconds, size_t count)
{
    struct bounds b = {mem_alloc(count * sizeof *b.ns), (uint32_t)count};
    for (size_t i = 0; i < count; i++)
        b.ns[i] = (uint64_t)llround(seconds[i] * (double)NS_PER_S);
    return b;
}

/* Returns how many numbers a cell has. */
static uint32_t lay_out_numbers(struct metrics *m, const struct config *c)
{
    uint32_t at = NUMBER_COUNT;
    for (int h = 0; h < HISTOGRAM_COUNT; h++) {
        if (h == HISTOGRAM_OVERHEAD_FINE || h == HISTOGRAM_QUEUE)
            m->bounds[h] = bounds_from(fine_buckets, COUNT(fine_buckets));
        else if (h == HISTOGRAM_OUTPUT_TOKEN)
            m->bounds[h] = bounds_from(output_token_buckets, COUNT(output_token_buckets));
        else if (c->latency_bucket_count > 0)
            m->bounds[h] = bounds_from(c->latency_buckets, (size_t)c->latency_bucket_count);
        else
            m->bounds[h] = bounds_from(latency_buckets, COUNT(latency_buckets));
        m->histogram_at[h] = at;
        at += m->bounds[h].count + 2;
    }
    return at;
}

/* What is known to be possible is shown as 0 from the start: rate() does not see the first
 * increment of a series that appears with it. */
static void expect(struct metrics *m, struct shard *s, const struct deployment *d)
{
    bool folded = false; /* an account that has no room is not missed */
    struct key k = {.outcome = {.http_status = 200, .traits = TRAIT_SUCCESS | TRAIT_DEPLOYED}};
    k.values[VALUE_REQUESTED] = d->model_name;
    key_set_deployment(&k, d);
    k.values[VALUE_KEY_HASH] = k.values[VALUE_KEY_ALIAS] = NONE;
    k.values[VALUE_ROUTE] = str_eq(d->mode, STR("embedding"))    ? STR("/v1/embeddings")
                            : str_eq(d->mode, STR("completion")) ? STR("/v1/completions")
                                                                 : STR("/v1/chat/completions");
    if (!metrics_road_fits(m, s, &k))
        return;
    (void)metrics_account(m, s, metrics_cell(m, s, &k, &folded), &k, &folded);
    uint8_t streams = str_eq(d->mode, STR("embedding")) ? 0 : TRAIT_STREAM;
    k.outcome = (struct outcome){.traits = (uint8_t)(TRAIT_EXPECTED | TRAIT_DEPLOYED | streams),
                                 .kind = OUTCOME_UNKNOWN};
    (void)metrics_cell(m, s, &k, &folded);
}

struct metrics *metrics_new(int workers, const struct config *c)
{
    struct metrics *m = mem_alloc(sizeof *m);
    metrics_lay_out(m, c->series_budget, lay_out_numbers(m, c));
    m->last_scrape = mem_alloc(sizeof *m->last_scrape);
    m->shard_count = workers;
    /* struct metrics_worker stands on cache lines of its own, which mem_alloc does not promise. */
    m->shard_memory = mem_alloc((size_t)workers * sizeof(struct shard) + 63);
    m->shards = (struct shard *)(void *)(((uintptr_t)m->shard_memory + 63) & ~(uintptr_t)63);
    for (int i = 0; i < workers; i++)
        shard_init(m, &m->shards[i]);
    metrics_expect(m, c);
    process_prepare();
    return m;
}

void metrics_expect(struct metrics *m, const struct config *c)
{
    for (uint32_t i = 0; i < c->deployment_count; i++)
        expect(m, &m->shards[0], &c->deployments[i]);
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->shard_count; i++)
        shard_fini(&m->shards[i]);
    for (int h = 0; h < HISTOGRAM_COUNT; h++)
        mem_free(m->bounds[h].ns);
    mem_free(m->last_scrape);
    mem_free(m->shard_memory);
    mem_free(m);
}

struct metrics_worker *metrics_worker(struct metrics *m, int worker)
{
    return &m->shards[worker].worker;
}

void metrics_totals(const struct metrics *m, struct metrics_totals *out)
{
    *out = (struct metrics_totals){0};
    for (int i = 0; i < m->shard_count; i++) {
        const struct shard *s = &m->shards[i];
        for (size_t k = 0, n = pile_count(&s->cells); k < n; k++) {
            const struct cell *c = pile_cell(&s->cells, k);
            if (c->outcome.traits & TRAIT_ATTEMPT)
                continue;
            uint64_t requests = COUNTER_GET(c->numbers[NUMBER_REQUESTS]);
            out->requests += requests;
            out->successes += c->outcome.traits & TRAIT_SUCCESS ? requests : 0;
            out->failures += c->outcome.traits & TRAIT_FAILURE ? requests : 0;
            out->cancelled += c->outcome.traits & TRAIT_CANCELLED ? requests : 0;
            out->prompt_tokens += COUNTER_GET(c->numbers[NUMBER_PROMPT_TOKENS]);
            out->completion_tokens += COUNTER_GET(c->numbers[NUMBER_COMPLETION_TOKENS]);
            out->cost_usd += (double)COUNTER_GET(c->numbers[NUMBER_COST]) / PICO_PER_USD;
        }
    }
}
