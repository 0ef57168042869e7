/* metrics.c -- recording: from a request record to a cell of its worker's shard.
 *
 * Called by the gateway's last step, once a request, after the log line was put. What identifies
 * a cell is struct key: eight texts (model, deployment, key, route ...) and the outcome.
 * metrics_record hashes them, finds the cell in an open-addressed table, and adds: no lock, no
 * locked instruction, no system call, no allocation but for a new cell. All families of the
 * exposition are made from cells when somebody scrapes (metrics_write.c), so a new family costs
 * nothing here.
 *
 * Lifetimes: texts of a key are borrowed from the record; a cell copies them into its shard's
 * arena, because the configuration a record points into may be gone long before the cell is.
 * Cells live in chunks that never move.
 * Threads: a shard is written by its worker alone. The scraper sees a cell after `cell_count`
 * was stored with release, and reads its numbers relaxed: each is exact, though two of them may
 * be a request apart.
 * Ceiling: past config.series_budget cells a new key becomes "other", of which there are as many
 * as there are sets of traits.
 * Numbers are integers throughout (ns, 1e-12 USD): adding never loses anything, and the sum of
 * shards does not depend on their order. */
#include "observe/metrics_internal.h"

#include <math.h>

#include "base/clock.h"

#define OTHER           STR("other")
#define NONE            STR("None")
#define TABLE_SIZE_MIN  64u
#define CELLS_MAX       ((int64_t)1 << 20)
#define OTHER_CELLS_MAX 64 /* past the budget: one a set of traits and kind of outcome */
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
    if (r->stream == 1)
        traits |= TRAIT_STREAM;
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

static void key_make_other(struct key *k)
{
    for (int i = 0; i < VALUE_KEYED; i++)
        k->values[i] = OTHER;
    k->outcome = (struct outcome){.traits = k->outcome.traits, .kind = k->outcome.kind};
}

static uint64_t outcome_bits(const struct outcome *o)
{
    return (uint64_t)o->kind << 56 | (uint64_t)o->exception << 48 | (uint64_t)o->http_status << 32 |
           (uint64_t)o->provider_status << 16 | (uint64_t)o->error_code << 8 | o->traits;
}

/* The upstream's name, address and provider follow from the deployment's id but for a reload
 * that changes them: left to key_is. */
static uint64_t key_hash(const struct key *k)
{
    static const enum value hashed[] = {VALUE_REQUESTED, VALUE_MODEL_ID, VALUE_KEY_HASH,
                                        VALUE_ROUTE};
    uint64_t hash = outcome_bits(&k->outcome) * 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i < COUNT(hashed); i++)
        hash = (hash ^ hash >> 29 ^ str_hash(k->values[hashed[i]])) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 32;
}

static bool key_is(const struct key *k, const struct cell *c)
{
    if (outcome_bits(&k->outcome) != outcome_bits(&c->outcome))
        return false;
    for (int i = 0; i < VALUE_KEYED; i++)
        if (!str_eq(k->values[i], c->values[i]))
            return false;
    return true;
}

/* ---- the derived labels ---- */

// clang-format off
/* LiteLLM's exception classes: of weir's own errors on the way to a provider, then of statuses
 * that providers answer. */
static const char *const class_of_error[ERR_COUNT] = {
    [ERR_UPSTREAM_RESOLVE] = "APIConnectionError",
    [ERR_UPSTREAM_CONNECT] = "APIConnectionError",
    [ERR_UPSTREAM_TLS] = "APIConnectionError",
    [ERR_UPSTREAM_PROXY] = "APIConnectionError",
    [ERR_UPSTREAM_CLOSED] = "APIConnectionError",
    [ERR_UPSTREAM_PROTOCOL] = "APIConnectionError",
    [ERR_UPSTREAM_TRUNCATED] = "APIConnectionError",
    [ERR_UPSTREAM_TIMEOUT] = "Timeout",
    [ERR_STREAM_ERROR] = "APIError",
};
static const struct {
    uint16_t status;
    const char *class;
} class_of_status[] = {
    {400, "BadRequestError"},
    {401, "AuthenticationError"},
    {403, "PermissionDeniedError"},
    {404, "NotFoundError"},
    {408, "Timeout"},
    {422, "UnprocessableEntityError"},
    {429, "RateLimitError"},
    {500, "InternalServerError"},
    {502, "BadGatewayError"},
    {503, "ServiceUnavailableError"},
};
// clang-format on

/* litellm.exceptions, and what its proxy and its clients raise besides. */
const char *const metrics_exceptions[METRICS_EXCEPTIONS_MAX] = {
    NULL,
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "BudgetExceededError",
    "CancelledError",
    "ContentPolicyViolationError",
    "ContextWindowExceededError",
    "GuardrailRaisedException",
    "HTTPException",
    "ImageFetchError",
    "InternalServerError",
    "InvalidRequestError",
    "JSONSchemaValidationError",
    "MidStreamFallbackError",
    "MockException",
    "NotFoundError",
    "OpenAIError",
    "PermissionDeniedError",
    "ProxyException",
    "RateLimitError",
    "RejectedRequestError",
    "RouterRateLimitError",
    "ServiceUnavailableError",
    "Timeout",
    "TimeoutError",
    "UnprocessableEntityError",
    "UnsupportedParamsError",
};

uint8_t metrics_exception(struct str name)
{
    for (uint8_t i = 1; i < METRICS_EXCEPTIONS_MAX && metrics_exceptions[i]; i++)
        if (str_eq(name, str_from(metrics_exceptions[i])))
            return i;
    return 0;
}

int64_t metrics_exception_status(struct str class)
{
    for (size_t i = 0; i < COUNT(class_of_status); i++)
        if (str_eq(class, str_from(class_of_status[i].class)))
            return class_of_status[i].status;
    return -1;
}

static const char *exception_of(const struct outcome *o, uint16_t status)
{
    if (o->exception)
        return metrics_exceptions[o->exception];
    if (!(o->traits & TRAIT_DEPLOYED))
        return "ProxyException";
    if (class_of_error[o->error_code])
        return class_of_error[o->error_code];
    for (size_t i = 0; i < COUNT(class_of_status); i++)
        if (class_of_status[i].status == status)
            return class_of_status[i].class;
    return "APIError";
}

static uint16_t told_status(const struct outcome *o)
{
    return o->provider_status ? o->provider_status : o->http_status;
}

/* The provider's first letter is raised, as LiteLLM prints it. */
struct str metrics_class_text(struct arena *a, struct str provider, const struct outcome *o)
{
    const char *class = exception_of(o, told_status(o));
    if (!(o->traits & TRAIT_DEPLOYED) || str_eq(provider, NONE))
        return str_from(class);
    char first =
        provider.p[0] >= 'a' && provider.p[0] <= 'z' ? (char)(provider.p[0] - 32) : provider.p[0];
    struct str rest = str_skip(provider, 1);
    return arena_printf(a, "%c%.*s.%s", first, STR_ARG(rest), class);
}

static struct str status_text(struct arena *a, uint16_t status)
{
    return status ? arena_printf(a, "%u", status) : NONE;
}

struct str metrics_status_text(struct arena *a, const struct outcome *o)
{
    return status_text(a, told_status(o));
}

static void derive_values(struct arena *a, struct cell *c)
{
    const struct outcome *o = &c->outcome;
    bool failed = o->traits & TRAIT_FAILURE, other = str_eq(c->values[VALUE_ROUTE], OTHER);
    c->values[VALUE_OUTCOME] = o->traits & TRAIT_SUCCESS     ? STR("success")
                               : o->traits & TRAIT_CANCELLED ? STR("cancelled")
                               : o->traits & TRAIT_UNKNOWN   ? STR("unknown")
                                                             : STR("failure");
    c->values[VALUE_STATUS_CODE] = other ? OTHER : status_text(a, o->http_status);
    c->values[VALUE_EXCEPTION_STATUS] = other ? OTHER : failed ? metrics_status_text(a, o) : NONE;
    c->values[VALUE_EXCEPTION_CLASS] = other ? OTHER
                                       : failed
                                           ? metrics_class_text(a, c->values[VALUE_PROVIDER], o)
                                           : NONE;
    c->values[VALUE_NONE] = NONE;
}

/* ---- cells of a shard ---- */

static struct cell **slot_of(struct shard *s, const struct key *k, uint64_t hash)
{
    for (size_t i = hash & (s->table_size - 1);; i = (i + 1) & (s->table_size - 1)) {
        struct cell **slot = &s->table[i];
        if (!*slot || ((*slot)->hash == hash && key_is(k, *slot)))
            return slot;
    }
}

static void grow_table(struct shard *s)
{
    struct cell **old = s->table;
    size_t old_size = s->table_size;
    s->table_size = old_size * 2;
    s->table = mem_alloc(s->table_size * sizeof(struct cell *));
    for (size_t i = 0; i < old_size; i++) {
        if (!old[i])
            continue;
        size_t at = old[i]->hash & (s->table_size - 1);
        while (s->table[at])
            at = (at + 1) & (s->table_size - 1);
        s->table[at] = old[i];
    }
    mem_free(old);
}

static struct cell *add_cell(const struct metrics *m, struct shard *s, const struct key *k,
                             uint64_t hash)
{
    size_t i = s->cell_count;
    if (i % CELLS_PER_CHUNK == 0)
        s->chunks[i / CELLS_PER_CHUNK] = mem_alloc(CELLS_PER_CHUNK * m->cell_bytes);
    struct cell *c = shard_cell(m, s, i);
    c->hash = hash;
    c->outcome = k->outcome;
    for (int v = 0; v < VALUE_KEYED; v++)
        c->values[v] = arena_str(&s->labels, k->values[v]);
    derive_values(&s->labels, c);
    if ((i + 1) * 2 > s->table_size)
        grow_table(s);
    *slot_of(s, k, hash) = c;
    __atomic_store_n(&s->cell_count, i + 1, __ATOMIC_RELEASE);
    return c;
}

struct cell *metrics_cell(const struct metrics *m, struct shard *s, struct key *k)
{
    uint64_t hash = key_hash(k);
    struct cell *c = *slot_of(s, k, hash);
    if (LIKELY(c))
        return c;
    if (s->cell_count >= m->budget) {
        COUNTER_ADD(s->overflows, 1);
        key_make_other(k);
        hash = key_hash(k);
        c = *slot_of(s, k, hash);
    }
    return c ? c : add_cell(m, s, k, hash);
}

/* ---- adding a record ---- */

static void bump(struct cell *c, enum number n, uint64_t by)
{
    if (by)
        COUNTER_ADD(c->numbers[n], by);
}

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

static void add_tokens(struct cell *c, const struct record *r)
{
    uint64_t prompt = tokens(r->prompt_tokens), completion = tokens(r->completion_tokens);
    uint64_t total = r->total_tokens >= 0 ? tokens(r->total_tokens) : prompt + completion;
    bump(c, NUMBER_PROMPT_TOKENS, prompt);
    bump(c, NUMBER_COMPLETION_TOKENS, completion);
    bump(c, NUMBER_TOTAL_TOKENS, total);
    bump(c, NUMBER_CACHED_TOKENS, tokens(r->cached_tokens));
    bump(c, NUMBER_REASONING_TOKENS, tokens(r->reasoning_tokens));
    if (str_eq(r->tokens_source, STR("estimated")))
        bump(c, NUMBER_ESTIMATED_TOKENS, prompt + completion);
    if (r->cost_usd > 0)
        bump(c, NUMBER_COST, (uint64_t)llround(MIN(r->cost_usd, COST_MAX_USD) * PICO_PER_USD));
    bump(c, NUMBER_UNPRICED, total > 0 && r->cost_usd < 0);
    if (str_eq(r->cache, STR("hit"))) {
        bump(c, NUMBER_CACHE_HITS, 1);
        bump(c, NUMBER_CACHE_TOKENS, total);
    } else if (str_eq(r->cache, STR("miss"))) {
        bump(c, NUMBER_CACHE_MISSES, 1);
    }
}

static uint64_t micros(int64_t us)
{
    return (uint64_t)MIN(MAX(us, 0), MICROS_MAX);
}

static void add_engine(struct cell *c, const struct record *r)
{
    bump(c, NUMBER_LOAD, micros(r->engine.load_us));
    bump(c, NUMBER_PREFILL, micros(r->engine.prefill_us));
    bump(c, NUMBER_DECODE, micros(r->engine.decode_us));
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

static inline void add_record(const struct metrics *m, struct shard *s, struct key *k,
                              const struct record *r)
{
    if (UNLIKELY(r->fallback.to.n) && !(k->outcome.traits & TRAIT_ATTEMPT))
        fallback_count(m, s, k, r, false);
    struct cell *c = metrics_cell(m, s, k);
    bool hit = str_eq(r->cache, STR("hit"));
    bump(c, NUMBER_REQUESTS, 1);
    bump(c, NUMBER_SLOW, r->slow == 1);
    add_tokens(c, r);
    add_engine(c, r);
    add_times(m, c, r);
    add_exemplar(m, c, r);
    if (!hit) /* the cache's answers say nothing of a deployment's state */
        __atomic_store_n(&c->last_real_us, r->timestamp, __ATOMIC_RELAXED);
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
    key_of_record(&k, r);
    k.outcome.traits = TRAIT_FAILURE;
    fallback_count(m, &m->shards[worker], &k, r, true);
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

static void lay_out_cell(struct metrics *m, const struct config *c)
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
    m->cell_bytes = (sizeof(struct cell) + at * sizeof(uint64_t) + 63) & ~(size_t)63;
}

/* What is known to be possible is shown as 0 from the start: rate() does not see the first
 * increment of a series that appears with it. */
static void add_expected_cells(struct metrics *m, struct shard *s, const struct deployment *d)
{
    static const uint8_t expected[] = {TRAIT_SUCCESS, TRAIT_SUCCESS | TRAIT_STREAM, TRAIT_EXPECTED};
    struct key k;
    bool embeds = str_eq(d->mode, STR("embedding"));
    k.values[VALUE_REQUESTED] = d->model_name;
    key_set_deployment(&k, d);
    k.values[VALUE_KEY_HASH] = k.values[VALUE_KEY_ALIAS] = NONE;
    k.values[VALUE_ROUTE] = embeds                               ? STR("/v1/embeddings")
                            : str_eq(d->mode, STR("completion")) ? STR("/v1/completions")
                                                                 : STR("/v1/chat/completions");
    for (size_t i = 0; i < COUNT(expected) && s->cell_count < m->budget; i++) {
        if (embeds && expected[i] & TRAIT_STREAM)
            continue;
        uint8_t traits = expected[i] | TRAIT_DEPLOYED;
        bool good = traits & TRAIT_SUCCESS;
        k.outcome = (struct outcome){.http_status = good ? 200 : 0,
                                     .traits = traits,
                                     .kind = good ? OUTCOME_SUCCESS : OUTCOME_UNKNOWN};
        metrics_cell(m, s, &k);
    }
}

struct metrics *metrics_new(int workers, const struct config *c)
{
    struct metrics *m = mem_alloc(sizeof *m);
    lay_out_cell(m, c);
    m->budget = (size_t)MIN(MAX(c->series_budget, 1), CELLS_MAX);
    m->shard_count = workers;
    /* struct metrics_worker stands on cache lines of its own, which mem_alloc does not promise. */
    m->shard_memory = mem_alloc((size_t)workers * sizeof(struct shard) + 63);
    m->shards = (struct shard *)(void *)(((uintptr_t)m->shard_memory + 63) & ~(uintptr_t)63);
    for (int i = 0; i < workers; i++) {
        struct shard *s = &m->shards[i];
        s->table_size = TABLE_SIZE_MIN;
        s->table = mem_alloc(s->table_size * sizeof(struct cell *));
        s->chunks = mem_alloc((m->budget + OTHER_CELLS_MAX + CELLS_PER_CHUNK) / CELLS_PER_CHUNK *
                              sizeof(char *));
        s->fallbacks = mem_alloc(FALLBACK_SLOTS * sizeof *s->fallbacks);
        arena_init(&s->labels, NULL, 0);
    }
    metrics_expect(m, c);
    return m;
}

void metrics_expect(struct metrics *m, const struct config *c)
{
    for (uint32_t i = 0; i < c->deployment_count; i++)
        add_expected_cells(m, &m->shards[0], &c->deployments[i]);
}

static void shard_free(const struct metrics *m, struct shard *s)
{
    for (size_t i = 0; i < s->cell_count; i++)
        mem_free(shard_cell(m, s, i)->exemplars);
    for (size_t i = 0; i * CELLS_PER_CHUNK < s->cell_count; i++)
        mem_free(s->chunks[i]);
    mem_free(s->chunks);
    mem_free(s->table);
    fallbacks_free(s);
    arena_fini(&s->labels);
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->shard_count; i++)
        shard_free(m, &m->shards[i]);
    for (int h = 0; h < HISTOGRAM_COUNT; h++)
        mem_free(m->bounds[h].ns);
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
        for (size_t k = 0, n = shard_cell_count(s); k < n; k++) {
            const struct cell *c = shard_cell(m, s, k);
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
