/* log_metrics.c -- a line's record, completed for metrics_record_named.
 *
 * A line has only what its writer knew: here its labels are decoded and made fit to show, and what follows from other fields is
 * filled in: the route from the call type, LiteLLM's status, the time of output tokens from their rate. Not the API's time from
 * LiteLLM's latency less its overhead: those two are not measured from the same moments.
 * Labels are names that strangers may have chosen. They are cut, and control bytes and broken UTF-8 become '?' before cells are told
 * apart by them: two cells must never show the same labels. */
#include "observe/log_metrics.h"

#include <math.h>

#include "base/json_text.h"
#include "observe/log_meaning.h"

void log_metrics_init(struct log_metrics *lm, const struct config *c, bool named)
{
    memset(lm, 0, sizeof *lm);
    lm->metrics = metrics_new(1, c);
    lm->config = named ? c : NULL;
    lm->since_us = lm->newest_us = INT64_MIN;
    map_init(&lm->deployments);
    for (uint32_t i = 0; named && i < c->deployment_count; i++)
        if (c->deployments[i].model_id.n)
            map_put(&lm->deployments, c->deployments[i].model_id, &c->deployments[i]);
}

void log_metrics_fini(struct log_metrics *lm)
{
    metrics_free(lm->metrics);
    lm->metrics = NULL;
    map_fini(&lm->deployments);
}

/* ---- labels ---- */

/* Cleans `text` into `out`, which may be where it is. */
static struct str clean(struct str text, char *out)
{
    const char *p = text.p, *end = text.p + text.n;
    size_t n = 0;
    while (p < end) {
        unsigned char c = (unsigned char)*p;
        size_t length = c < 0x80 ? 1 : utf8_char(p, end);
        if (n + MAX(length, 1) > LOG_METRICS_TEXT_BYTES)
            break;
        if (length == 0 || c < 0x20 || c == 0x7F) {
            out[n++] = '?';
            p++;
        } else {
            memmove(out + n, p, length);
            n += length;
            p += length;
        }
    }
    return (struct str){out, n};
}

/* The label's value of a field: empty where the line has none. */
static struct str label(struct log_metrics *lm, int which, const struct logline *l,
                        enum log_field field, struct str raw)
{
    char *out = lm->texts[which];
    if (!(l->found >> field & 1) || raw.n == 0)
        return STR_NONE;
    return clean(logline_text(l, field, raw, out, LOG_METRICS_TEXT_BYTES), out);
}

static void set_labels(struct log_metrics *lm, struct record *r, const struct logline *l)
{
    const struct {
        enum log_field field;
        struct str *to;
        struct str raw;
    } rows[] = {
        {LOG_model, &r->model, l->r.model},
        {LOG_provider, &r->provider, l->r.provider},
        {LOG_deployment, &r->deployment, l->r.deployment},
        {LOG_upstream_model, &r->upstream_model, l->r.upstream_model},
        {LOG_api_base, &r->api_base, l->r.api_base},
        {LOG_key_alias, &r->key_alias, l->r.key_alias},
        {LOG_key_hash, &r->key_hash, l->r.key_hash},
        {LOG_call_type, &r->call_type, l->r.call_type},
        {LOG_error_type, &r->error.type, l->r.error.type},
        {LOG_trace_id, &r->trace_id, l->r.trace_id},
    };
    _Static_assert(COUNT(rows) == LOG_METRICS_TEXTS, "a place for each");
    for (size_t i = 0; i < COUNT(rows); i++)
        *rows[i].to = label(lm, (int)i, l, rows[i].field, rows[i].raw);
}

/* What the configuration knows is shown as a gateway shows it: a wildcard's model as the wildcard. */
static void look_up(const struct log_metrics *lm, struct record *r)
{
    if (!lm->config)
        return;
    const struct model_group *group = r->model.n ? config_group(lm->config, r->model, NULL) : NULL;
    const struct deployment *d = r->deployment.n ? map_get(&lm->deployments, r->deployment) : NULL;
    if (group) {
        r->model_known = true;
        r->model = group->wildcard ? group->name : r->model;
    }
    if (d) {
        r->upstream_model = d->upstream_model;
        r->api_base = d->api_base;
        r->provider = d->provider_name;
    }
}

// clang-format off
/* weir's call types, then LiteLLM's (whose names for calls within async code begin with an 'a'). */
static const struct {
    const char *call_type, *route;
} routes[] = {
    {"chat.completions", "/v1/chat/completions"},
    {"completions", "/v1/completions"},
    {"embeddings", "/v1/embeddings"},
    {"responses", "/v1/responses"},
    {"messages", "/v1/messages"},
    {"acompletion", "/v1/chat/completions"},
    {"completion", "/v1/chat/completions"},
    {"atext_completion", "/v1/completions"},
    {"text_completion", "/v1/completions"},
    {"aembedding", "/v1/embeddings"},
    {"embedding", "/v1/embeddings"},
    {"aresponses", "/v1/responses"},
    {"anthropic_messages", "/v1/messages"},
    {"aimage_generation", "/v1/images/generations"},
    {"image_generation", "/v1/images/generations"},
    {"atranscription", "/v1/audio/transcriptions"},
    {"transcription", "/v1/audio/transcriptions"},
    {"aspeech", "/v1/audio/speech"},
    {"speech", "/v1/audio/speech"},
    {"amoderation", "/v1/moderations"},
    {"moderation", "/v1/moderations"},
    {"arerank", "/v1/rerank"},
    {"rerank", "/v1/rerank"},
};
// clang-format on

static struct str route_of(struct str call_type)
{
    for (size_t i = 0; i < COUNT(routes); i++)
        if (str_eq(call_type, str_from(routes[i].call_type)))
            return str_from(routes[i].route);
    return STR_NONE;
}

/* A line names the model asked for and the deployment that answered. Which model that is of, the configuration knows; without it the deployment's
 * upstream model is the nearest that a line says. Why the first model could not answer stands in other lines. */
static void set_fallback(const struct log_metrics *lm, struct record *r, const struct logline *l)
{
    const struct deployment *d = r->deployment.n ? map_get(&lm->deployments, r->deployment) : NULL;
    if (!(l->found & LOG_BIT(fallback_from)))
        return;
    r->fallback = (struct record_fallback){.to = d                     ? d->model_name
                                                 : r->upstream_model.n ? r->upstream_model
                                                                       : STR("None"),
                                           .cause_status = -1};
}

/* weir's own errors by their names; LiteLLM's classes are metrics_record_named's. */
static enum error_code error_of(struct str type)
{
    for (int code = ERR_NONE + 1; type.n && code < ERR_COUNT; code++)
        if (str_eq(type, str_from(error_info((enum error_code)code)->name)))
            return (enum error_code)code;
    return ERR_NONE;
}

/* ---- numbers ---- */

static void set_numbers(struct record *r, const struct logline *l)
{
#define TAKE(field, member) r->member = l->found & LOG_BIT(field) ? l->r.member : r->member
    TAKE(stream, stream);
    TAKE(http_status, http_status);
    TAKE(latency, latency_us);
    TAKE(ttft, ttft_us);
    TAKE(upstream, upstream_us);
    TAKE(overhead, overhead_us);
    TAKE(queue, queue_us);
    TAKE(prompt_tokens, prompt_tokens);
    TAKE(completion_tokens, completion_tokens);
    TAKE(total_tokens, total_tokens);
    TAKE(cached_tokens, cached_tokens);
    TAKE(reasoning_tokens, reasoning_tokens);
    TAKE(tokens_per_second, tokens_per_second);
    TAKE(tokens_source, tokens_source);
    TAKE(cost_usd, cost_usd);
    TAKE(cache, cache);
    TAKE(slow, slow);
    TAKE(engine_load, engine.load_us);
    TAKE(engine_prefill, engine.prefill_us);
    TAKE(engine_decode, engine.decode_us);
    TAKE(error_provider_status, error.provider_status);
#undef TAKE
}

/* LiteLLM names one status only: what the provider, or LiteLLM itself, answered with. Where a provider's error has a code of its own
 * ("internal_error") that stands in the status's place; the class tells it then. */
static void complete_litellm(struct record *r, enum log_outcome outcome)
{
    if (outcome == LOG_OUTCOME_FAILURE && r->error.provider_status < 0)
        r->error.provider_status = metrics_exception_status(r->error.type);
    if (r->http_status < 0)
        r->http_status = outcome == LOG_OUTCOME_SUCCESS ? 200 : r->error.provider_status;
}

/* A stream's rate is made of this time (record.def), which a line does not have. All tokens at once have no rate. */
static void complete_output_time(struct record *r)
{
    if (r->stream != 1 || r->completion_tokens < 2 || r->ttft_us < 0)
        return;
    double steps = (double)(r->completion_tokens - 1);
    double us = r->tokens_per_second > 0 ? steps * 1e6 / r->tokens_per_second : 0;
    if (us < 1e15)
        r->output_us = llround(us);
}

/* A request, or an attempt that was not its request's last. */
static void take_record(struct log_metrics *lm, const struct logline *l, bool attempt)
{
    struct record r;
    enum log_outcome outcome = log_outcome_of(l);
    record_init(&r);
    r.event = attempt ? STR("attempt") : STR("request");
    set_labels(lm, &r, l);
    set_numbers(&r, l);
    look_up(lm, &r);
    set_fallback(lm, &r, l);
    r.status = str_from(log_outcome_names[outcome]);
    r.route = route_of(r.call_type);
    r.timestamp = l->found & LOG_BIT(timestamp) ? l->r.timestamp : MAX(lm->newest_us, 0);
    if (outcome == LOG_OUTCOME_FAILURE || outcome == LOG_OUTCOME_CANCELLED)
        r.error_code = error_of(r.error.type);
    if (l->shape == LOG_SHAPE_LITELLM)
        complete_litellm(&r, outcome);
    complete_output_time(&r);
    metrics_record_named(lm->metrics, 0, &r);
    lm->stats.requests += !attempt;
}

/* ---- lines ---- */

static void count_line(struct log_metrics *lm, struct str line)
{
    lm->stats.lines++;
    lm->stats.bytes += line.n + 1;
}

void log_metrics_take(struct log_metrics *lm, const struct logline *l, struct str line)
{
    bool stamped = l->found & LOG_BIT(timestamp);
    enum log_event event = log_event_of(l);
    count_line(lm, line);
    if (event == LOG_EVENT_GAP && l->found & LOG_BIT(dropped))
        lm->stats.dropped += (uint64_t)l->r.dropped;
    bool counts = event == LOG_EVENT_REQUEST || event == LOG_EVENT_ATTEMPT;
    if (counts && log_is_within(l, lm->since_us, INT64_MAX))
        take_record(lm, l, event == LOG_EVENT_ATTEMPT);
    else if (event == LOG_EVENT_REQUEST)
        lm->stats.older++;
    if (stamped)
        lm->newest_us = MAX(lm->newest_us, l->r.timestamp);
}

void log_metrics_broken(struct log_metrics *lm, struct str line)
{
    count_line(lm, line);
    lm->stats.broken++;
}
