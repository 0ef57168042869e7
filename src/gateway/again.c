/* again.c -- what follows a failed attempt: another deployment, the same one after a wait, another model, or nothing.
 *
 * Semantics are LiteLLM's where they make sense (docs/routing.md; what differs: docs/compatibility.md):
 *   - a class of failure is never tried again, only at another deployment, or anywhere (the table `again`); a retry policy that names the class wins;
 *   - num_retries counts per model: the client's, the deployment's, the router's;
 *   - no wait when another deployment can be asked; else Retry-After, or a backoff that doubles, with jitter;
 *   - then fallbacks by class, depth first, each with retries of its own, each model once, at most max_fallbacks.
 * Only while no byte has reached the client (ENSUREd in again_go). [worker] */
#include <time.h>

#include "gateway/gateway.h"

#define BACKOFF_FIRST_MS   500
#define BACKOFF_MAX_MS     8000
#define JITTER_MS          750
#define CLASSIFY_BYTES_MAX 16384u

/* ---- what kind of failure ---- */

enum again { NEVER, ELSEWHERE, ANYWHERE };

static const struct {
    enum again again;
    enum fallback_kind fallbacks; /* asked first; then the general ones */
} classes[FAILURE_CLASS_COUNT] = {
    [FAILURE_BAD_REQUEST] = {NEVER, FALLBACK_GENERAL},
    [FAILURE_CONTEXT_WINDOW] = {NEVER, FALLBACK_CONTEXT_WINDOW},
    [FAILURE_CONTENT_POLICY] = {NEVER, FALLBACK_CONTENT_POLICY},
    [FAILURE_AUTHENTICATION] = {ELSEWHERE, FALLBACK_GENERAL},
    [FAILURE_NOT_FOUND] = {ELSEWHERE, FALLBACK_GENERAL},
    [FAILURE_TIMEOUT] = {ANYWHERE, FALLBACK_GENERAL},
    [FAILURE_RATE_LIMIT] = {ANYWHERE, FALLBACK_GENERAL},
    [FAILURE_SERVER] = {ANYWHERE, FALLBACK_GENERAL},
    [FAILURE_CONNECTION] = {ANYWHERE, FALLBACK_GENERAL},
};

/* Words that providers use, in lower case: OpenAI, Azure, Anthropic, vLLM, llama.cpp, Ollama, Gemini, Mistral, Groq. */
static const struct {
    struct str words;
    enum failure_class class;
} phrases[] = {
    {STR("context_length_exceeded"), FAILURE_CONTEXT_WINDOW},
    {STR("exceed_context_size"), FAILURE_CONTEXT_WINDOW},
    {STR("maximum context length"), FAILURE_CONTEXT_WINDOW},
    {STR("maximum model length"), FAILURE_CONTEXT_WINDOW},
    {STR("context window"), FAILURE_CONTEXT_WINDOW},
    {STR("exceeds the available context size"), FAILURE_CONTEXT_WINDOW},
    {STR("prompt is too long"), FAILURE_CONTEXT_WINDOW},
    {STR("input is too long"), FAILURE_CONTEXT_WINDOW},
    {STR("prompt too long"), FAILURE_CONTEXT_WINDOW},
    {STR("maximum prompt length"), FAILURE_CONTEXT_WINDOW},
    {STR("maximum context limit"), FAILURE_CONTEXT_WINDOW},
    {STR("exceed context limit"), FAILURE_CONTEXT_WINDOW},
    {STR("exceeds the context length"), FAILURE_CONTEXT_WINDOW},
    {STR("longer than the model's context length"), FAILURE_CONTEXT_WINDOW},
    {STR("input tokens exceed the configured limit"), FAILURE_CONTEXT_WINDOW},
    {STR("input token count exceeds"), FAILURE_CONTEXT_WINDOW},
    {STR("exceeds the maximum number of tokens allowed"), FAILURE_CONTEXT_WINDOW},
    {STR("reduce the length of the messages"), FAILURE_CONTEXT_WINDOW},
    {STR("content_policy_violation"), FAILURE_CONTENT_POLICY},
    {STR("content_filter"), FAILURE_CONTENT_POLICY},
    {STR("content management policy"), FAILURE_CONTENT_POLICY},
    {STR("content filtering policy"), FAILURE_CONTENT_POLICY},
    {STR("responsibleaipolicyviolation"), FAILURE_CONTENT_POLICY},
    {STR("flagged as potentially violating"), FAILURE_CONTENT_POLICY},
    {STR("your request was rejected as a result of our safety system"), FAILURE_CONTENT_POLICY},
};

static enum failure_class by_words(struct str body)
{
    char lower[CLASSIFY_BYTES_MAX];
    size_t n = MIN(body.n, sizeof lower);
    for (size_t i = 0; i < n; i++) {
        char c = body.p[i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    for (size_t i = 0; i < COUNT(phrases); i++)
        if (memmem(lower, n, phrases[i].words.p, phrases[i].words.n))
            return phrases[i].class;
    return FAILURE_BAD_REQUEST;
}

enum failure_class failure_classify(enum error_code code, int status, struct str body)
{
    switch (status) {
    case 400:
    case 413:
    case 422: return by_words(body);
    case 401:
    case 403: return FAILURE_AUTHENTICATION;
    case 404: return FAILURE_NOT_FOUND;
    case 408: return FAILURE_TIMEOUT;
    case 409: return FAILURE_SERVER;
    case 429: return FAILURE_RATE_LIMIT;
    default: break;
    }
    if (status >= 500)
        return FAILURE_SERVER;
    if (status >= 400)
        return FAILURE_BAD_REQUEST;
    if (code == ERR_UPSTREAM_TIMEOUT)
        return FAILURE_TIMEOUT;
    return code == ERR_STREAM_ERROR || code == ERR_UPSTREAM_ERROR ? FAILURE_SERVER
                                                                  : FAILURE_CONNECTION;
}

/* ---- Retry-After ---- */

/* An HTTP date of any of the three forms (RFC 9110 §5.6.7), in seconds since 1970; -1: it is none. */
static int64_t http_date_s(struct str value)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %e %H:%M:%S %Y"};
    char text[48];
    if (value.n >= sizeof text)
        return -1;
    memcpy(text, value.p, value.n);
    text[value.n] = '\0';
    for (size_t i = 0; i < COUNT(forms); i++) {
        struct tm tm = {0};
        const char *end = strptime(text, forms[i], &tm);
        if (end && !*end)
            return timegm(&tm);
    }
    return -1;
}

int64_t retry_after_ms(const struct h1_head *h, int64_t now_real_us)
{
    double number;
    for (int i = 0; i < h->header_count; i++)
        if (str_ieq(h->headers[i].name, STR("retry-after-ms")) &&
            str_to_f64(h->headers[i].value, &number) && number >= 0 && number < 1e9)
            return (int64_t)number;
    struct str value = h1_get(h, H1_RETRY_AFTER);
    if (!value.n)
        return -1;
    if (str_to_f64(value, &number))
        return number >= 0 && number < 1e6 ? (int64_t)(number * 1000) : -1;
    int64_t date_s = http_date_s(value);
    return date_s < 0 ? -1 : MAX(date_s * 1000 - now_real_us / 1000, 0);
}

/* ---- may it be tried again? ---- */

/* How many times, for a failure of this class at this deployment; *again: where. */
static int retries_for(const struct request *r, const struct deployment *d,
                       enum failure_class class, enum again *again)
{
    const struct routing *routing = &r->config->routing;
    int policy = routing_policy_retries(routing, r->record.model, r->group->name, class);
    *again = classes[class].again;
    if (policy > 0 && *again == NEVER)
        *again = ANYWHERE; /* somebody asked for it */
    if (r->asked_retries >= 0)
        return r->asked_retries;
    if (policy >= 0)
        return policy;
    return d->num_retries >= 0 ? d->num_retries : routing->num_retries;
}

bool again_has_failed(const struct request *r, const struct deployment *d)
{
    for (int i = 0; i < r->tried_count; i++)
        if (r->tried[i] == d->id)
            return true;
    return false;
}

/* Is there a deployment in the group that does not rest (and has not failed this request, if `fresh`)? */
static bool group_has(const struct request *r, bool fresh)
{
    uint64_t now_ns = loop_now_ns(r->worker->loop);
    for (int i = 0; i < r->group->count; i++) {
        const struct deployment *d = r->group->deployments[i];
        if (fleet_rest(r->snapshot->shared->states[d->id], now_ns) != REST_RESTS &&
            !(fresh && again_has_failed(r, d)))
            return true;
    }
    return false;
}

static bool may_retry(const struct request *r, const struct attempt *failed,
                      const struct failure *f)
{
    enum again again;
    int most = retries_for(r, failed->deployment, f->class, &again);
    if (r->retries >= most || again == NEVER)
        return false;
    return group_has(r, again == ELSEWHERE);
}

/* ---- fallbacks ---- */

/* The row of what is being tried: of the name asked for only while that is it. */
static const struct fallback *row_for(const struct request *r, enum fallback_kind kind)
{
    struct str asked = r->fallbacks ? r->group->name : r->record.model;
    return routing_fallback(&r->config->routing, kind, asked, r->group->name);
}

static void push_fallbacks(struct request *r, enum failure_class class)
{
    const struct fallback *row = NULL;
    if (r->fallback_depth == (int)COUNT(r->fallback_lists))
        return;
    if (r->asked_fallbacks.count) {
        row = r->fallbacks ? NULL : &r->asked_fallbacks; /* the client's own, once, instead */
    } else {
        row = row_for(r, classes[class].fallbacks);
        if (!row)
            row = row_for(r, FALLBACK_GENERAL);
    }
    if (row)
        r->fallback_lists[r->fallback_depth++] = (struct fallback_list){row, 0};
}

/* A name that nobody knows leads to a copy of its default's group: the deployments tell that it is the same. */
static bool was_used(const struct request *r, const struct model_group *g)
{
    for (int i = 0; i < r->used_group_count; i++)
        if (r->used_groups[i]->deployments == g->deployments)
            return true;
    return g->deployments == r->group->deployments;
}

/* The next model to try, depth first; NULL: none is left. */
static const struct model_group *next_group(struct request *r, struct str *matched)
{
    while (r->fallback_depth) {
        struct fallback_list *list = &r->fallback_lists[r->fallback_depth - 1];
        if (list->next == list->row->count) {
            r->fallback_depth--;
            continue;
        }
        const struct model_group *g = config_group(r->config, list->row->to[list->next++], matched);
        if (g && !was_used(r, g))
            return g;
    }
    return NULL;
}

/* What is told of a fallback in metrics: which model stands in for which, and why. What failed last is why the first model could not answer, or, later on, that a
 * model asked instead could not either. Names of the configuration: a wildcard stands for what it matched. */
static void tell_fallback(struct request *r, const struct record_fallback *why,
                          const struct model_group *next)
{
    struct record_fallback *told = &r->record.fallback;
    if (told->to.n) {
        metrics_passed_on(r->worker->gateway->metrics, r->worker->index, &r->record);
    } else {
        *told = *why;
        told->asked = r->record.model_known ? r->record.model : r->group->name;
    }
    told->to = next->name;
}

static bool go_elsewhere(struct request *r, enum failure_class class,
                         const struct record_fallback *why)
{
    struct str matched = STR_NONE;
    if (r->no_fallbacks || r->fallbacks >= r->config->routing.max_fallbacks ||
        r->used_group_count == (int)COUNT(r->used_groups))
        return false;
    push_fallbacks(r, class);
    const struct model_group *g = next_group(r, &matched);
    if (!g)
        return false;
    tell_fallback(r, why, g);
    r->used_groups[r->used_group_count++] = r->group;
    r->record.fallback_from = r->group->name;
    r->group = g;
    r->matched = matched;
    r->fallbacks++;
    r->retries = 0;
    r->tried_count = 0;
    return true;
}

bool again_elsewhere(struct request *r, enum error_code why)
{
    const struct record_fallback told = {.cause = why, .cause_status = -1};
    return go_elsewhere(r, FAILURE_RATE_LIMIT, &told);
}

/* ---- the plan ---- */

void again_note(struct request *r, const struct attempt *failed)
{
    if (!again_has_failed(r, failed->deployment) && r->tried_count < (int)COUNT(r->tried))
        r->tried[r->tried_count++] = failed->deployment->id;
    r->last_retry_after_ms = failed->retry_after_ms;
}

bool again_plan(struct request *r, const struct attempt *failed, const struct failure *f)
{
    if (r->worker->stopping)
        return false;
    if (may_retry(r, failed, f)) {
        r->retries++;
        return true;
    }
    const struct record_fallback why = {.cause = f->code,
                                        .cause_status = failed->status >= 400 ? failed->status : -1,
                                        .cause_provider = failed->deployment->provider_name};
    return go_elsewhere(r, f->class, &why);
}

uint64_t again_wait_ns(struct request *r)
{
    const struct routing *routing = &r->config->routing;
    int64_t ms = r->last_retry_after_ms;
    if (ms <= 0 || ms > FLEET_WAITED_FOR_MS) {
        int doublings = MIN(MAX(r->retries - 1, 0), 8);
        ms = MIN((int64_t)BACKOFF_FIRST_MS << doublings, BACKOFF_MAX_MS);
        ms += (int64_t)(rng_unit(&r->worker->rng) * JITTER_MS);
    }
    return (uint64_t)MAX(ms, routing->retry_after_ms) * NS_PER_MS;
}

void again_go(struct request *r)
{
    ENSURE(!http_began(r->conn) && !r->recorded && r->http);
    timer_clear(r->worker->loop, &r->timer); /* a hedge's, that was not due yet */
    r->attempt = NULL;
    r->step = STEP_ROUTE;
    request_run(r);
}
