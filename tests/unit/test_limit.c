/* The limit step: what it reserves, what a refusal says and leaves behind, what the road's end settles, and budgets. */
#include "config_fixture.h"

#include "gateway/gateway.h"
#include "gateway/key_service.h"

#define PLENTY INT64_MAX

static const struct call_type chat = {.name = "chat.completions", .may_stream = true};
static const struct call_type embeddings = {.name = "embeddings"};

/* A gateway with one worker and one key, as far as the step looks at them. */
struct scene {
    struct gateway gateway;
    struct worker worker;
    struct config *config;
    struct spend_file *spends;
    struct key_use use;
    struct request *made[16];
    int made_count;
    struct key key; /* last: its texts would follow it */
};

static const char settings[] =
    "model_list:\n"
    "- {model_name: paid, litellm_params: {model: openai/x, api_base: 'http://h', api_key: k, "
    "input_cost_per_token: 0.5, output_cost_per_token: 0.5}}\n"
    "- {model_name: free, litellm_params: {model: openai/x, api_base: 'http://h', api_key: k, "
    "input_cost_per_token: 0, output_cost_per_token: 0}}\n"
    "- {model_name: unpriced, litellm_params: {model: openai/none, api_base: 'http://h', api_key: "
    "k}}\n";

static struct config *load(const char *more)
{
    char text[2048];
    snprintf(text, sizeof text, "%s%s", settings, more);
    return sealed_config(text);
}

static struct scene *scene(const char *config)
{
    struct err e = {0};
    struct scene *s = mem_alloc(sizeof *s);
    s->config = load(config);
    s->worker = (struct worker){.gateway = &s->gateway, .loop = loop_new()};
    s->gateway.keys = key_service_new(s->config, 1, &e);
    assert_non_null(s->gateway.keys);
    s->spends = spend_file_open(NULL, &e);
    assert_non_null(s->spends);
    assert_true(spend_file_room(s->spends, &e));
    memset(s->key.facts.hash_hex, 'a', KEY_HASH_BYTES);
    s->key.facts.alias = STR("team-a");
    s->key.facts.max_budget_usd = -1;
    s->key.limits = (struct quota_limits){-1, -1, -1};
    s->key.use = &s->use;
    s->use.spend = key_spend_take(s->spends, &s->key.facts, NULL, clock_real_us());
    return s;
}

static struct request *request(struct scene *s, const char *model)
{
    struct request *r = mem_alloc(sizeof *r);
    r->worker = &s->worker;
    r->config = s->config;
    r->call = &chat;
    r->key = &s->key;
    r->output_tokens_asked = -1;
    arena_init(&r->arena, NULL, 0);
    record_init(&r->record);
    r->record.model = str_from(model);
    r->record.cache = STR("off");
    s->made[s->made_count++] = r;
    return r;
}

static void end_scene(struct scene *s)
{
    for (int i = 0; i < s->made_count; i++) {
        arena_fini(&s->made[i]->arena);
        mem_free(s->made[i]);
    }
    key_spend_release(s->use.spend);
    key_service_free(s->gateway.keys);
    spend_file_free(s->spends);
    loop_free(s->worker.loop);
    config_put(s->config);
    mem_free(s);
}

static struct quota_view used(const struct scene *s)
{
    struct quota_view view;
    quota_look(&s->use.quota, &s->key.limits, loop_now_ns(s->worker.loop), &view);
    return view;
}

static void answer(struct request *r, int64_t prompt, int64_t completion)
{
    r->reached_upstream = r->measured = true;
    r->record.prompt_tokens = prompt;
    r->record.completion_tokens = completion;
    r->record.total_tokens = prompt + completion;
    limit_release(r);
}

static struct str lines(const struct request *r, bool plain)
{
    static char out[LIMIT_LINES_BYTES];
    return (struct str){out, limit_header_lines(r, plain, out)};
}

static void assert_line(const struct request *r, const char *line)
{
    struct str all = lines(r, true);
    char wanted[256];
    snprintf(wanted, sizeof wanted, "%s\r\n", line);
    if (!str_contains(all, str_from(wanted)))
        print_error("no %s in\n%.*s\n", line, STR_ARG(all));
    assert_true(str_contains(all, str_from(wanted)));
}

static void assert_refused(struct request *r, enum error_code code, const char *beginning)
{
    assert_int_equal(limit_run(r), STEP_FAIL);
    assert_int_equal(r->error, code);
    if (!str_starts(r->error_detail, str_from(beginning)))
        print_error("%.*s\n", STR_ARG(r->error_detail));
    assert_true(str_starts(r->error_detail, str_from(beginning)));
}

static void nothing_is_touched_where_nothing_is_limited(void **state)
{
    (void)state;
    struct scene *s = scene("");
    struct request *r = request(s, "paid"), *open = request(s, "paid");
    open->key = NULL;
    assert_int_equal(limit_run(r), STEP_NEXT);
    assert_int_equal(limit_run(open), STEP_NEXT);
    assert_int_equal(used(s).requests, 0);
    assert_int_equal(lines(r, true).n, 0);
    assert_int_equal(lines(open, true).n, 0);
    answer(r, 1, 1);
    answer(open, 1, 1);
    end_scene(s);
}

static void reserves_what_a_request_may_take(void **state)
{
    (void)state;
    static const struct {
        const char *kind;
        const struct call_type *call;
        int64_t prompt_bytes, asked, limit, reserved;
    } cases[] = {
        {"total", &chat, 400, 50, 1000, 150},
        {"output", &chat, 400, 50, 1000, 50},
        {"input", &chat, 400, 50, 1000, 100},
        {"total", &chat, 400, -1, 1000, 356}, /* weir_settings.reserve_output_tokens */
        {"total", &embeddings, 400, -1, 1000, 100},
        {"total", &chat, 400, -1, 200, 200},  /* a guess never shuts a request out for good */
        {"total", &chat, 400, 150, 200, 200}, /* nor does an estimate of the prompt */
        {"total", &chat, 400, 200, 200, 200},
        {"total", &chat, 0, 0, 1000, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char config[128];
        snprintf(config, sizeof config, "general_settings: {token_rate_limit_type: %s}",
                 cases[i].kind);
        struct scene *s = scene(config);
        s->key.limits.tokens = cases[i].limit;
        struct request *r = request(s, "paid");
        r->call = cases[i].call;
        r->prompt_bytes = cases[i].prompt_bytes;
        r->output_tokens_asked = cases[i].asked;
        assert_int_equal(limit_run(r), STEP_NEXT);
        assert_int_equal(used(s).tokens, cases[i].reserved);
        answer(r, 7, 5);
        assert_int_equal(used(s).tokens, !strcmp(cases[i].kind, "total")    ? 12
                                         : !strcmp(cases[i].kind, "output") ? 5
                                                                            : 7);
        end_scene(s);
    }
}

static void learns_what_answers_take(void **state)
{
    (void)state;
    struct scene *s = scene("");
    s->key.limits.tokens = 1000;
    struct request *first = request(s, "paid"), *asking = request(s, "paid"),
                   *second = request(s, "paid");
    assert_int_equal(limit_run(first), STEP_NEXT);
    assert_int_equal(used(s).tokens, 256);
    answer(first, 0, 40);
    asking->output_tokens_asked = 3; /* an answer that was cut says nothing of others */
    assert_int_equal(limit_run(asking), STEP_NEXT);
    answer(asking, 0, 3);
    assert_int_equal(limit_run(second), STEP_NEXT);
    assert_int_equal(used(s).tokens, 43 + 40);
    answer(second, 0, 40);
    end_scene(s);
}

static void a_refusal_says_which_limit_and_until_when(void **state)
{
    (void)state;
    struct scene *s = scene("");
    s->key.limits = (struct quota_limits){1, 100, -1};
    struct request *a = request(s, "paid"), *b = request(s, "paid"), *c = request(s, "paid"),
                   *d = request(s, "paid"), *e = request(s, "paid");
    a->output_tokens_asked = 90;
    assert_int_equal(limit_run(a), STEP_NEXT);
    assert_line(a, "x-ratelimit-api_key-remaining-requests: 0");
    assert_line(a, "x-ratelimit-api_key-limit-requests: 1");
    assert_line(a, "x-ratelimit-remaining-tokens: 10");
    assert_line(a, "x-ratelimit-limit-tokens: 100");
    assert_false(str_contains(lines(a, false), STR("x-ratelimit-remaining")));
    assert_refused(
        b, ERR_KEY_REQUESTS_LIMIT,
        "Rate limit exceeded for api_key: team-a. Limit type: requests. Current limit: 1, "
        "Remaining: 0. Limit resets at: 20");
    assert_true(str_ends(b->error_detail, STR(" UTC")));
    assert_line(b, "rate_limit_type: requests");
    assert_line(b, "retry-after: 60");
    s->key.limits.requests = 2;
    c->output_tokens_asked = 11;
    assert_refused(
        c, ERR_KEY_TOKENS_LIMIT,
        "Rate limit exceeded for api_key: team-a. Limit type: tokens. Current limit: 100, "
        "Remaining: 10. Limit resets at: 20");
    s->key.facts.alias = STR_NONE;
    d->output_tokens_asked = 101; /* not now and not ever */
    assert_refused(d, ERR_KEY_TOKENS_LIMIT, "Rate limit exceeded for api_key: aaaaaaaaaaaaaaaa");
    assert_true(str_contains(d->error_detail, STR("max_tokens")));
    assert_line(d, "x-should-retry: false");
    assert_false(str_contains(lines(d, true), STR("retry-after")));
    s->key.limits = (struct quota_limits){-1, -1, 1};
    assert_refused(e, ERR_KEY_PARALLEL_LIMIT, "Rate limit exceeded for api_key: aaaa");
    assert_line(e, "rate_limit_type: max_parallel_requests");
    assert_line(e, "retry-after: 1");
    assert_line(e, "x-ratelimit-api_key-limit-max_parallel_requests: 1");
    for (int i = 1; i < 5; i++)
        limit_release(s->made[i]); /* who was refused holds nothing */
    assert_int_equal(used(s).parallel, 1);
    answer(a, 1, 1);
    assert_int_equal(used(s).parallel, 0);
    assert_int_equal(used(s).requests, 1);
    end_scene(s);
}

static void the_lines_have_room(void **state)
{
    (void)state;
    struct scene *s = scene("");
    s->key.limits = (struct quota_limits){PLENTY, PLENTY, PLENTY};
    struct request *r = request(s, "paid");
    assert_int_equal(limit_run(r), STEP_NEXT);
    r->error = ERR_KEY_PARALLEL_LIMIT; /* the longest of all */
    r->refusal = (struct limit_refusal){60, clock_real_us()};
    assert_in_range(lines(r, true).n, 500, LIMIT_LINES_BYTES);
    answer(r, 1, 1);
    end_scene(s);
}

static void what_one_limit_refuses_the_others_give_back(void **state)
{
    (void)state;
    struct scene *s = scene("general_settings: {global_max_parallel_requests: 2, "
                            "max_parallel_requests: 1}\n");
    struct request *a = request(s, "paid"), *b = request(s, "paid"), *c = request(s, "paid"),
                   *d = request(s, "paid");
    assert_int_equal(limit_run(a), STEP_NEXT);
    assert_int_equal(s->gateway.in_flight, 1);
    assert_refused(b, ERR_KEY_PARALLEL_LIMIT, "Rate limit exceeded"); /* the default of all keys */
    assert_int_equal(s->gateway.in_flight, 1);
    c->key = NULL; /* the master key's holder */
    assert_int_equal(limit_run(c), STEP_NEXT);
    d->key = NULL;
    assert_refused(d, ERR_TOO_MANY_REQUESTS, "2 requests are in flight");
    assert_int_equal(s->gateway.in_flight, 2);
    for (int i = 0; i < 4; i++)
        limit_release(s->made[i]);
    assert_int_equal(s->gateway.in_flight, 0);
    assert_int_equal(used(s).parallel, 0);
    end_scene(s);
}

static void what_no_upstream_got_is_refunded(void **state)
{
    (void)state;
    struct scene *s = scene("");
    s->key.limits = (struct quota_limits){10, 1000, -1};
    struct request *lost = request(s, "paid"), *hit = request(s, "paid"),
                   *failed = request(s, "paid");
    assert_int_equal(limit_run(lost), STEP_NEXT);
    limit_release(lost);
    assert_int_equal(used(s).requests, 0);
    assert_int_equal(used(s).tokens, 0);
    assert_int_equal(limit_run(hit), STEP_NEXT);
    hit->record.cache = STR("hit");
    hit->record.total_tokens = 30;
    limit_release(hit);
    assert_int_equal(used(s).requests, 1); /* it was answered, */
    assert_int_equal(used(s).tokens, 0);   /* and nobody was asked */
    assert_int_equal(limit_run(failed), STEP_NEXT);
    failed->reached_upstream = failed->measured = true; /* but no count came */
    limit_release(failed);
    assert_int_equal(used(s).requests, 2);
    assert_int_equal(used(s).tokens, 0);
    end_scene(s);
}

static void budgets_end_what_costs(void **state)
{
    (void)state;
    struct scene *s = scene("litellm_settings: {max_budget: 3, budget_duration: 30d}\n"
                            "weir_settings: {key_file: ''}\n");
    s->key.facts.max_budget_usd = 2;
    s->key.limits.requests = 100;
    struct request *r[6];
    for (int i = 0; i < 6; i++)
        r[i] = request(s, i == 2 ? "free" : i == 3 ? "unpriced" : "paid");
    assert_int_equal(limit_run(r[0]), STEP_NEXT);
    r[0]->record.cost_usd = 2;
    answer(r[0], 2, 2);
    assert_refused(r[1], ERR_BUDGET_EXCEEDED,
                   "Budget has been exceeded! Current cost: 2, Max budget: 2");
    assert_int_equal(error_info(r[1]->error)->http_status, 400);
    assert_string_equal(error_info(r[1]->error)->api_type, "budget_exceeded");
    assert_int_equal(used(s).requests, 1);
    assert_int_equal(limit_run(r[2]), STEP_NEXT); /* known to cost nothing */
    answer(r[2], 1, 1);
    assert_refused(r[3], ERR_BUDGET_EXCEEDED, "Budget"); /* not known */
    r[4]->key = r[5]->key = NULL;
    assert_int_equal(limit_run(r[4]), STEP_NEXT); /* 2 of the 3 of all together are spent */
    r[4]->record.cost_usd = 1.25;
    answer(r[4], 1, 1);
    assert_refused(r[5], ERR_PROXY_BUDGET_EXCEEDED,
                   "Budget has been exceeded! Current cost: 3.25, Max budget: 3");
    for (int i = 1; i < 6; i += i == 3 ? 2 : i == 1 ? 2 : 1)
        limit_release(r[i]);
    assert_true(key_spend_usd(s->use.spend, &s->key.facts, clock_real_us()) == 2);
    end_scene(s);
}

static void deployments_are_limited_as_configured(void **state)
{
    (void)state;
    static const char *const configs[] = {
        "", "router_settings: {routing_strategy: usage-based-routing-v2}\n",
        "router_settings: {routing_strategy: usage-based-routing}\n",
        "router_settings: {optional_pre_call_checks: [enforce_model_rate_limits]}\n"};
    for (size_t k = 0; k < COUNT(configs); k++) {
        bool enforced = k > 0;
        struct scene *s = scene(configs[k]);
        struct deployment d = {.rpm = 2, .tpm = -1, .max_parallel_requests = 3};
        struct deployment_state *state_of = NULL;
        assert_int_equal(posix_memalign((void **)&state_of, 128, sizeof *state_of), 0);
        memset(state_of, 0, sizeof *state_of);
        struct quota_ticket t[4] = {{0}};
        struct request *r = request(s, "paid");
        const enum quota_refusal expected[2][4] = {
            {QUOTA_OK, QUOTA_OK, QUOTA_OK, QUOTA_PARALLEL},
            {QUOTA_OK, QUOTA_OK, QUOTA_REQUESTS, QUOTA_REQUESTS}};
        for (int i = 0; i < 4; i++)
            assert_int_equal(deployment_take(r, state_of, &d, 1, &t[i]), expected[enforced][i]);
        deployment_settle(r, &t[0], false, false); /* not reached: another may have its place */
        assert_int_equal(deployment_take(r, state_of, &d, 1, &t[0]), QUOTA_OK);
        for (int i = 0; i < 4; i++)
            deployment_settle(r, &t[i], true, true);
        assert_int_equal(state_of->quota.parallel, 0);
        free(state_of);
        end_scene(s);
    }
}

/* What an attempt took of tpm: what it was answered with; nothing where it failed; all that was reserved where nobody knows. */
static void attempts_are_settled_by_how_they_ended(void **state)
{
    (void)state;
    static const struct {
        bool reached, answered, measured;
        int64_t tokens;
    } cases[] = {{true, true, true, 12},
                 {true, true, false, 100},
                 {true, false, false, 0},
                 {false, false, false, 0}};
    struct deployment d = {.rpm = -1, .tpm = 1000};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct scene *s = scene("");
        struct deployment_state *of = NULL;
        struct quota_ticket t = {0};
        struct quota_view view;
        struct request *r = request(s, "paid");
        assert_int_equal(posix_memalign((void **)&of, 128, sizeof *of), 0);
        memset(of, 0, sizeof *of);
        r->output_tokens_asked = 100;
        assert_int_equal(deployment_take(r, of, &d, 1, &t), QUOTA_OK);
        r->measured = cases[i].measured;
        r->record.total_tokens = cases[i].measured ? 12 : -1;
        deployment_settle(r, &t, cases[i].reached, cases[i].answered);
        quota_look(&of->quota, &(struct quota_limits){-1, -1, -1}, 1, &view);
        assert_int_equal(view.tokens, cases[i].tokens);
        assert_int_equal(view.requests, cases[i].reached);
        assert_int_equal(view.parallel, 0);
        free(of);
        end_scene(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_touched_where_nothing_is_limited),
        cmocka_unit_test(reserves_what_a_request_may_take),
        cmocka_unit_test(learns_what_answers_take),
        cmocka_unit_test(a_refusal_says_which_limit_and_until_when),
        cmocka_unit_test(the_lines_have_room),
        cmocka_unit_test(what_one_limit_refuses_the_others_give_back),
        cmocka_unit_test(what_no_upstream_got_is_refunded),
        cmocka_unit_test(budgets_end_what_costs),
        cmocka_unit_test(deployments_are_limited_as_configured),
        cmocka_unit_test(attempts_are_settled_by_how_they_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
