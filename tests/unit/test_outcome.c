#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "observe/outcome.h"

static struct record failed(enum error_code code, int64_t provider_status)
{
    struct record r;
    record_init(&r);
    r.status = STR("failure");
    r.error_code = code;
    r.http_status = error_info(code)->http_status;
    r.error.provider_status = provider_status;
    r.error.type = str_from(error_info(code)->name);
    return r;
}

/* A line of LiteLLM's log: `provider` tells that a deployment was asked. */
static struct record litellms(const char *class, int64_t status, const char *provider)
{
    struct record r;
    record_init(&r);
    r.status = STR("failure");
    r.error.type = str_from(class);
    r.error.provider_status = r.http_status = status;
    r.provider = str_from(provider);
    return r;
}

static void how_it_ended_comes_first(void **state)
{
    (void)state;
    struct record r = failed(ERR_UPSTREAM_ERROR, 503);
    r.status = STR("success");
    assert_int_equal(outcome_of_record(&r, false), OUTCOME_SUCCESS);
    r.status = STR("cancelled");
    assert_int_equal(outcome_of_record(&r, false), OUTCOME_CANCELLED);
    r.status = STR("unknown");
    assert_int_equal(outcome_of_record(&r, false), OUTCOME_UNKNOWN);
    r.status = STR("failure");
    assert_int_equal(outcome_of_record(&r, false), OUTCOME_PROVIDER_ERROR);
}

static void errors_of_weir(void **state)
{
    (void)state;
    static const struct {
        enum error_code code;
        enum outcome_kind kind;
    } cases[] = {
        {ERR_BAD_JSON, OUTCOME_CLIENT_ERROR},
        {ERR_MODEL_UNKNOWN, OUTCOME_CLIENT_ERROR},
        {ERR_BAD_KEY, OUTCOME_CLIENT_ERROR},
        {ERR_KEY_REQUESTS_LIMIT, OUTCOME_CLIENT_ERROR},
        {ERR_KEY_TOKENS_LIMIT, OUTCOME_CLIENT_ERROR},
        {ERR_KEY_PARALLEL_LIMIT, OUTCOME_CLIENT_ERROR},
        {ERR_BUDGET_EXCEEDED, OUTCOME_CLIENT_ERROR},
        {ERR_PROXY_BUDGET_EXCEEDED, OUTCOME_GATEWAY_ERROR},
        {ERR_TOO_MANY_REQUESTS, OUTCOME_GATEWAY_ERROR},
        {ERR_DEPLOYMENTS_FULL, OUTCOME_GATEWAY_ERROR},
        {ERR_DEPLOYMENTS_REST, OUTCOME_PROVIDER_ERROR},
        {ERR_INTERNAL, OUTCOME_GATEWAY_ERROR},
        {ERR_DRAINING, OUTCOME_GATEWAY_ERROR},
        {ERR_DIALECT_UNSUPPORTED, OUTCOME_GATEWAY_ERROR},
        {ERR_UPSTREAM_CONNECT, OUTCOME_PROVIDER_ERROR},
        {ERR_UPSTREAM_TIMEOUT, OUTCOME_PROVIDER_ERROR},
        {ERR_UPSTREAM_TRUNCATED, OUTCOME_PROVIDER_ERROR},
        {ERR_STREAM_ERROR, OUTCOME_PROVIDER_ERROR},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct record r = failed(cases[i].code, -1);
        if (outcome_of_record(&r, false) != cases[i].kind)
            fail_msg("%s: %s", error_info(cases[i].code)->name,
                     outcome_names[outcome_of_record(&r, false)]);
    }
}

/* A 5xx that is told to the client is never the client's fault, but for what its own request cannot ask for; and every error has a fault. */
static void the_table_makes_sense(void **state)
{
    (void)state;
    for (int code = ERR_NONE + 1; code < ERR_COUNT; code++) {
        const struct error_info *info = error_info((enum error_code)code);
        struct record r = failed((enum error_code)code, -1);
        bool asks_for_it = code == ERR_NOT_IMPLEMENTED || code == ERR_VERSION_UNSUPPORTED;
        if (info->http_status >= 500 && !asks_for_it)
            assert_int_not_equal(outcome_of_record(&r, false), OUTCOME_CLIENT_ERROR);
        if (strncmp(info->name, "upstream_", 9) == 0)
            assert_int_equal(info->fault, FAULT_PROVIDER);
        if (strncmp(info->name, "key_", 4) == 0 && code != ERR_KEY_STORE)
            assert_int_equal(info->fault, FAULT_CLIENT);
        assert_true((info->fault == FAULT_NOBODY) ==
                    (code == ERR_CLIENT_GONE || code == ERR_HEDGE_LOST));
    }
}

static void statuses_of_providers(void **state)
{
    (void)state;
    static const int providers[] = {401, 402, 403, 404, 407, 408, 409,
                                    425, 429, 500, 503, 529, 599};
    static const int clients[] = {400, 405, 413, 415, 418, 422, 451};
    for (size_t i = 0; i < COUNT(providers); i++) {
        struct record r = failed(ERR_UPSTREAM_ERROR, providers[i]);
        assert_int_equal(outcome_of_record(&r, false), OUTCOME_PROVIDER_ERROR);
    }
    for (size_t i = 0; i < COUNT(clients); i++) {
        struct record r = failed(ERR_UPSTREAM_ERROR, clients[i]);
        assert_int_equal(outcome_of_record(&r, false), OUTCOME_CLIENT_ERROR);
    }
    struct record r = failed(ERR_UPSTREAM_ERROR, 404);
    assert_int_equal(outcome_of_record(&r, true), OUTCOME_CLIENT_ERROR);
    /* What weir refused by itself is not the provider's, whatever an earlier attempt was told. */
    r = failed(ERR_KEY_REQUESTS_LIMIT, 503);
    assert_int_equal(outcome_of_record(&r, false), OUTCOME_CLIENT_ERROR);
    r = failed(ERR_DEPLOYMENTS_FULL, 400);
    assert_int_equal(outcome_of_record(&r, false), OUTCOME_GATEWAY_ERROR);
}

static void lines_of_litellm(void **state)
{
    (void)state;
    static const struct {
        const char *class;
        int64_t status;
        const char *provider;
        enum outcome_kind kind;
    } cases[] = {
        {"RateLimitError", 429, "openai", OUTCOME_PROVIDER_ERROR},
        {"ContextWindowExceededError", 400, "openai", OUTCOME_CLIENT_ERROR},
        {"AuthenticationError", 401, "openai", OUTCOME_PROVIDER_ERROR},
        {"NotFoundError", 404, "openai", OUTCOME_PROVIDER_ERROR},
        {"UnprocessableEntityError", 422, "openai", OUTCOME_CLIENT_ERROR},
        {"Timeout", 408, "openai", OUTCOME_PROVIDER_ERROR},
        {"APIConnectionError", -1, "openai", OUTCOME_PROVIDER_ERROR},
        {"RouterRateLimitError", 429, "", OUTCOME_PROVIDER_ERROR},
        {"BudgetExceededError", 400, "", OUTCOME_CLIENT_ERROR},
        {"ProxyException", 401, "", OUTCOME_CLIENT_ERROR},
        {"ProxyException", 429, "", OUTCOME_CLIENT_ERROR},
        {"ProxyException", 500, "", OUTCOME_GATEWAY_ERROR},
        {"nobody's", -1, "", OUTCOME_GATEWAY_ERROR},
        {"nobody's", -1, "openai", OUTCOME_PROVIDER_ERROR},
        {"CancelledError", -1, "openai", OUTCOME_CANCELLED},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct record r = litellms(cases[i].class, cases[i].status, cases[i].provider);
        if (outcome_of_record(&r, false) != cases[i].kind)
            fail_msg("%s %lld: %s", cases[i].class, (long long)cases[i].status,
                     outcome_names[outcome_of_record(&r, false)]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(how_it_ended_comes_first), cmocka_unit_test(errors_of_weir),
        cmocka_unit_test(the_table_makes_sense),    cmocka_unit_test(statuses_of_providers),
        cmocka_unit_test(lines_of_litellm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
