/* limit.c -- step 3: may it go on now. And, at the road's end, what it took of each limit.
 *
 * In this order: budgets (the key's, then the whole gateway's), global_max_parallel_requests, then the key's parallel, requests and
 * tokens. A budget is only looked at; the others take, exactly across workers (quota.c), and what one refuses all of them give back:
 * a refusal leaves no trace. Nothing shared is touched where nothing is limited.
 *
 * Tokens are reserved before a request goes out, since afterwards it is too late: what it says it may take (max_tokens), or what answers to
 * this key took lately, and an estimate of its prompt. When the count is known it replaces what was reserved. A reservation that rests on guesses
 * never exceeds the limit itself: then the request has the window to itself, rather than never a chance. docs/limits.md tells it to users.
 *
 * limit_release ends it all. A request that no upstream got is refunded, as if it had never been made.
 * Thread: the request's worker. */
#include <math.h>

#include "gateway/choose.h"
#include "gateway/gateway.h"
#include "gateway/key_service.h"
#include "gateway/lines.h"
#include "observe/cost.h"

#define COST_USD_MAX 1e6 /* of one request: what is more is a price that is wrong */

/* By enum quota_refusal. */
static const struct {
    enum error_code code;
    struct str type; /* LiteLLM's word for it */
} kinds[] = {
    [QUOTA_REQUESTS] = {ERR_KEY_REQUESTS_LIMIT, {"requests", 8}},
    [QUOTA_TOKENS] = {ERR_KEY_TOKENS_LIMIT, {"tokens", 6}},
    [QUOTA_PARALLEL] = {ERR_KEY_PARALLEL_LIMIT, {"max_parallel_requests", 21}},
};

static enum quota_refusal refusal_of(const struct request *r)
{
    for (size_t i = QUOTA_OK + 1; i < COUNT(kinds); i++)
        if (r->error == kinds[i].code)
            return (enum quota_refusal)i;
    return QUOTA_OK;
}

static struct quota_limits limits_of_key(const struct request *r)
{
    struct quota_limits limits = r->key->limits;
    if (limits.parallel < 0 && r->config->key_max_parallel_requests > 0)
        limits.parallel = r->config->key_max_parallel_requests;
    return limits;
}

static bool limits_nothing(const struct quota_limits *l)
{
    return l->requests < 0 && l->tokens < 0 && l->parallel < 0;
}

/* ---- budgets ---- */

static bool is_free(const struct price *p)
{
    return p->known && p->input_per_token <= 0 && p->output_per_token <= 0 &&
           p->reasoning_per_token <= 0 && p->input_per_second <= 0 && p->output_per_second <= 0 &&
           p->per_request <= 0;
}

/* Is it known to cost nothing, whichever deployment answers? */
static bool asks_for_free_model(const struct request *r)
{
    const struct model_group *group = config_group(r->config, r->record.model, NULL);
    for (int i = 0; group && i < group->count; i++)
        if (!is_free(&group->deployments[i]->price))
            return false;
    return group != NULL;
}

static enum step_result check_budget(struct request *r, struct key_spend *spend,
                                     const struct key_facts *facts, enum error_code code)
{
    double spent_usd;
    if (facts->max_budget_usd < 0 || !key_spend_over(spend, facts, clock_real_us(), &spent_usd) ||
        asks_for_free_model(r))
        return STEP_NEXT;
    return request_error(r, code,
                         "Budget has been exceeded! Current cost: %.10g, Max budget: %.10g",
                         spent_usd, facts->max_budget_usd);
}

static enum step_result check_key_budget(struct request *r)
{
    if (!r->key)
        return STEP_NEXT;
    return check_budget(r, r->key->use->spend, &r->key->facts, ERR_BUDGET_EXCEEDED);
}

/* What all requests together spent; NULL where this request's configuration has no budget of that kind. */
static struct key_spend *proxy_spend(const struct request *r)
{
    return r->config->proxy.max_budget_usd < 0 ? NULL : key_service_proxy(r->worker->gateway->keys);
}

static enum step_result check_proxy_budget(struct request *r)
{
    struct key_spend *spend = proxy_spend(r);
    if (!spend)
        return STEP_NEXT;
    return check_budget(r, spend, &r->config->proxy, ERR_PROXY_BUDGET_EXCEEDED);
}

static void add_cost(struct request *r)
{
    struct key_spend *proxy = proxy_spend(r);
    if (!(r->record.cost_usd > 0) || (!r->key && !proxy))
        return;
    int64_t pico = llround(MIN(r->record.cost_usd, COST_USD_MAX) * (double)PICO_USD_PER_USD);
    int64_t now_us = clock_real_us();
    if (r->key)
        key_spend_add(r->key->use->spend, &r->key->facts, pico, now_us);
    if (proxy)
        key_spend_add(proxy, &r->config->proxy, pico, now_us);
}

/* ---- tokens ---- */

/* Guesses are for what nothing tells; embeddings have no output. */
static bool output_is_unknown(const struct request *r, enum token_kind kind)
{
    return kind != TOKENS_INPUT && r->output_tokens_asked < 0 && r->call->may_stream;
}

static int64_t tokens_to_reserve(const struct request *r, const struct quota *q,
                                 enum token_kind kind, int64_t limit)
{
    int64_t tokens = 0, asked = kind == TOKENS_INPUT ? 0 : MAX(r->output_tokens_asked, 0);
    if (kind != TOKENS_OUTPUT)
        tokens += cost_estimate_tokens((uint64_t)r->prompt_bytes);
    if (output_is_unknown(r, kind)) {
        int64_t usual = quota_usual_tokens(q);
        tokens += usual >= 0 ? usual : r->config->reserve_output_tokens;
    }
    tokens += asked;
    return limit >= 0 && asked <= limit ? MIN(tokens, limit) : tokens;
}

static int64_t tokens_used(const struct record *rec, enum token_kind kind)
{
    int64_t prompt = MAX(rec->prompt_tokens, 0), completion = MAX(rec->completion_tokens, 0);
    if (str_eq(rec->cache, STR("hit")))
        return 0; /* no provider was asked */
    switch (kind) {
    case TOKENS_INPUT: return prompt;
    case TOKENS_OUTPUT: return completion;
    case TOKENS_TOTAL: break;
    }
    return rec->total_tokens >= 0 ? rec->total_tokens : prompt + completion;
}

static void settle(const struct request *r, struct quota_ticket *t, enum token_kind kind)
{
    if (!t->held)
        return;
    if (output_is_unknown(r, kind))
        quota_learn(t->quota, r->record.completion_tokens);
    quota_settle(t, tokens_used(&r->record, kind));
}

/* ---- the key's limits ---- */

/* "2026-11-24 01:49:00 UTC" */
#define RESET_TEXT_BYTES 23
static void write_reset(int64_t real_us, char out[RESET_TEXT_BYTES])
{
    char text[CLOCK_RFC3339_BYTES];
    clock_rfc3339(real_us, text);
    put(put(put(put(out, (struct str){text, 10}), STR(" ")), (struct str){text + 11, 8}),
        STR(" UTC"));
}

/* When a place in flight is free again nobody knows: come again in a second. */
static void set_reset(struct request *r, enum quota_refusal why, uint64_t reset_ns)
{
    uint64_t wait_ns = why == QUOTA_PARALLEL ? NS_PER_S : MAX(reset_ns, 1);
    int64_t at_us = clock_real_us() + (int64_t)(wait_ns / NS_PER_US), second_us = 1000000;
    r->refusal.retry_after_s = (int64_t)((wait_ns + NS_PER_S - 1) / NS_PER_S);
    r->refusal.resets_us = (at_us + second_us - 1) / second_us * second_us;
}

static enum step_result refuse(struct request *r, enum quota_refusal why,
                               const struct quota_limits *limits, int64_t tokens)
{
    struct quota_view view;
    char reset[RESET_TEXT_BYTES];
    const struct key_facts *facts = &r->key->facts;
    struct str name = facts->alias.n ? facts->alias : (struct str){facts->hash_hex, KEY_HASH_BYTES};
    quota_look(&r->key->use->quota, limits, loop_now_ns(r->worker->loop), &view);
    if (why == QUOTA_TOKENS && tokens > limits->tokens)
        return request_error(
            r, kinds[why].code,
            "Rate limit exceeded for api_key: %.*s. Limit type: tokens. Current limit: %lld, "
            "Remaining: %lld. This request may use %lld tokens, which is more than the key has in "
            "any window: ask for fewer with max_tokens",
            STR_ARG(name), (long long)limits->tokens, (long long)view.remaining_tokens,
            (long long)tokens);
    set_reset(r, why, view.reset_ns);
    write_reset(r->refusal.resets_us, reset);
    const int64_t limit_by[] = {0, limits->requests, limits->tokens, limits->parallel};
    return request_error(r, kinds[why].code,
                         "Rate limit exceeded for api_key: %.*s. Limit type: %.*s. Current limit: "
                         "%lld, Remaining: %lld. Limit resets at: %.*s",
                         STR_ARG(name), STR_ARG(kinds[why].type), (long long)limit_by[why],
                         (long long)(why == QUOTA_TOKENS ? view.remaining_tokens : 0),
                         RESET_TEXT_BYTES, reset);
}

static enum step_result take_from_key(struct request *r)
{
    if (!r->key)
        return STEP_NEXT;
    struct quota *q = &r->key->use->quota;
    struct quota_limits limits = limits_of_key(r);
    if (limits_nothing(&limits))
        return STEP_NEXT;
    enum token_kind kind = (enum token_kind)r->config->token_rate_limit_type;
    int64_t tokens = limits.tokens < 0 ? 0 : tokens_to_reserve(r, q, kind, limits.tokens);
    enum quota_refusal why =
        quota_take(q, &limits, tokens, loop_now_ns(r->worker->loop), &r->key_ticket);
    return why == QUOTA_OK ? STEP_NEXT : refuse(r, why, &limits, tokens);
}

/* ---- all requests together ---- */

static enum step_result take_place(struct request *r)
{
    int limit = r->config->global_max_parallel_requests;
    if (limit <= 0)
        return STEP_NEXT;
    int *in_flight = &r->worker->gateway->in_flight;
    int seen = __atomic_load_n(in_flight, __ATOMIC_ACQUIRE);
    do {
        if (seen >= limit)
            return request_error(
                r, ERR_TOO_MANY_REQUESTS,
                "%d requests are in flight, as many as global_max_parallel_requests allows", limit);
    } while (!__atomic_compare_exchange_n(in_flight, &seen, seen + 1, true, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    r->counted_in_flight = true;
    return STEP_NEXT;
}

static void leave_place(struct request *r)
{
    if (r->counted_in_flight)
        __atomic_sub_fetch(&r->worker->gateway->in_flight, 1, __ATOMIC_ACQ_REL);
    r->counted_in_flight = false;
}

/* ---- the step, and the road's end ---- */

enum step_result limit_run(struct request *r)
{
    static enum step_result (*const checks[])(struct request *) = {
        check_key_budget,
        check_proxy_budget,
        take_place,
        take_from_key,
    };
    for (size_t i = 0; i < COUNT(checks); i++) {
        if (checks[i](r) == STEP_NEXT)
            continue;
        leave_place(r); /* the key's quota is the last that takes */
        return STEP_FAIL;
    }
    return STEP_NEXT;
}

void limit_release(struct request *r)
{
    leave_place(r);
    if (r->reached_upstream || str_eq(r->record.cache, STR("hit")))
        settle(r, &r->key_ticket, (enum token_kind)r->config->token_rate_limit_type);
    else
        quota_refund(&r->key_ticket);
    add_cost(r);
}

/* ---- for answers ---- */

static char *put_number_line(char *at, struct str scope, struct str what, struct str type,
                             int64_t n)
{
    at = put(at, STR("x-ratelimit-"));
    at = put(put(at, scope), what);
    at = put(put(at, type), STR(": "));
    return put(digits_u64(at, (uint64_t)n), STR("\r\n"));
}

static char *put_limits(char *at, struct str scope, size_t kind_count,
                        const struct quota_limits *limits, const struct quota_view *view)
{
    const struct {
        enum quota_refusal kind;
        int64_t limit, remaining;
    } rows[] = {
        {QUOTA_REQUESTS, limits->requests, view->remaining_requests},
        {QUOTA_TOKENS, limits->tokens, view->remaining_tokens},
        {QUOTA_PARALLEL, limits->parallel, MAX(limits->parallel - view->parallel, 0)},
    };
    for (size_t i = 0; i < kind_count; i++) {
        if (rows[i].limit < 0)
            continue;
        struct str type = kinds[rows[i].kind].type;
        at = put_number_line(at, scope, STR("remaining-"), type, rows[i].remaining);
        at = put_number_line(at, scope, STR("limit-"), type, rows[i].limit);
    }
    return at;
}

static char *put_refusal(char *at, const struct request *r, struct str type)
{
    char reset[RESET_TEXT_BYTES];
    at = put_line(at, STR("rate_limit_type"), type);
    if (!r->refusal.retry_after_s)
        return put(at, STR("x-should-retry: false\r\n")); /* OpenAI's SDKs go by it */
    write_reset(r->refusal.resets_us, reset);
    at = put(at, STR("retry-after: "));
    at = put(digits_u64(at, (uint64_t)r->refusal.retry_after_s), STR("\r\n"));
    return put_line(at, STR("reset_at"), (struct str){reset, sizeof reset});
}

size_t limit_header_lines(const struct request *r, bool plain, char out[LIMIT_LINES_BYTES])
{
    char *at = out;
    if (!r->key)
        return 0;
    struct quota_limits limits = limits_of_key(r);
    if (limits_nothing(&limits))
        return 0;
    struct quota_view view;
    enum quota_refusal why = refusal_of(r);
    quota_look(&r->key->use->quota, &limits, loop_now_ns(r->worker->loop), &view);
    if (why != QUOTA_OK)
        at = put_refusal(at, r, kinds[why].type);
    at = put_limits(at, STR("api_key-"), 3, &limits, &view);
    if (plain)
        at = put_limits(at, STR_NONE, 2, &limits, &view);
    ENSURE(at - out <= LIMIT_LINES_BYTES);
    return (size_t)(at - out);
}

/* ---- deployments ---- */

enum quota_refusal deployment_take(const struct request *r, struct deployment_state *s,
                                   const struct deployment *d, uint64_t now_ns,
                                   struct quota_ticket *t)
{
    struct quota_limits limits;
    (void)deployment_limits(&r->config->routing, d, &limits);
    int64_t tokens = tokens_to_reserve(r, &s->quota, TOKENS_TOTAL, limits.tokens);
    return quota_take(&s->quota, &limits, tokens, now_ns, t);
}

void deployment_settle(const struct request *r, struct quota_ticket *t, bool reached, bool answered)
{
    if (!reached)
        quota_refund(t);
    else if (!answered)
        quota_settle(t, 0);
    else if (r->measured)
        settle(r, t, TOKENS_TOTAL);
    else
        quota_settle(t, t->tokens); /* the client left: how much it was nobody knows */
}
