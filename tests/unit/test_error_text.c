/* Messages folded: each rule of error_text.h, and what must stay. The reference in Python is compared with in tests/e2e. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "observe/error_cause.h"
#include "observe/error_text.h"

struct folding {
    const char *message, *text;
};

static const struct str names[] = {{"claude-sonnet-4-20250514", 24}, {"gpt-4o", 6}, {"o3", 2}};

static struct str fold(const char *message, char *out)
{
    return error_text_fold(str_from(message), names, COUNT(names), out);
}

static void check(const struct folding *foldings, size_t count)
{
    char out[ERROR_TEXT_BYTES + 1];
    for (size_t i = 0; i < count; i++) {
        struct str text = fold(foldings[i].message, out);
        out[text.n] = '\0';
        assert_string_equal(out, foldings[i].text);
    }
}
#define CHECK(foldings) check(foldings, COUNT(foldings))

static void what_is_inside(void **state)
{
    (void)state;
    static const struct folding foldings[] = {
        {"{\"error\":{\"message\":\"engine \\\"x\\\" died\",\"code\":5}}", "engine \"x\" died"},
        {"Error code: 429 - {'error': {'message': 'slow down', 'type': 'tokens'}}", "slow down"},
        {"x {\\\"error\\\": {\\\"message\\\": \\\"say \\\\\\\"a\\\\\\\" now\\\"}}",
         "say \"a\" now"},
        {"{'message': \"it's {\\\"detail\\\": \\\"deep\\\"}\"}", "deep"},
        {"{\"detail\": \"no\", \"message\": \"yes\"}", "yes"},
        {"{\"message\": \"  \", \"msg\": \"yes\"}", "yes"},
        {"{\"message\" :\n \"cut sho", "cut sho"},
        {"{\"message\": 5, \"error\": {\"type\": \"x\"}}",
         "{\"message\": <n>, \"error\": {\"type\": \"x\"}}"},
        {"\"message\": \"x\"", "\"message\": \"x\""}, /* behind no brace */
        {"{\"message\": \"a\\nb\\\\c\"}", "a b\\c"},
        {"{\"message\": \"{'msg': '{\\\"error\\\": \\\"deep\\\"}'}\"}", "deep"},
    };
    CHECK(foldings);
}

static void what_is_taken_off(void **state)
{
    (void)state;
    static const struct folding foldings[] = {
        {"litellm.RateLimitError: RateLimitError: OpenAIException - slow", "slow"},
        {"Error code: 500", "Error code: <n>"}, /* else nothing would be left */
        {"Error code: 500 - ", "Error code: <n>"},
        {"Error code: 500 x", "x"},
        {"data: Error: x.y.ZTimeout: a", "a"},
        {"ContextWindowExceededError:a", "ContextWindowExceededError:a"},
        {"No Error - a", "No Error - a"},
        {"slow. Received Model Group=gpt-4o\nAvailable Model Group Fallbacks=None", "slow"},
        {"slow LiteLLM Retried: 1 times", "slow"},
        {" \t a\r\n\x01 b \x7f", "a b"},
        {"a .,:;- ", "a"},
        {"", ""},
        {" \n", ""},
        {"...", ""},
    };
    CHECK(foldings);
}

static void what_is_folded(void **state)
{
    (void)state;
    static const struct folding foldings[] = {
        {"model gpt-4o, gpt-4o-mini, openai/gpt-4o", "model <model>, gpt-4o-mini, openai/<model>"},
        {"claude-sonnet-4-20250514 and claude-haiku-4-20250514",
         "<model> and claude-haiku-<n>-<n>"},
        {"o3 is a name, o3-mini another", "<model> is a name, o3-mini another"},
        {"see https://a.b/c?d=1#e. (http://x) std://", "see <url>. (<url>) std://"},
        {"2026-11-24 2026-11-24T10:30:15.123Z 2026-11-24 10:30:15,1+01:00 9:05:01",
         "<time> <time> <time> <time>"},
        {"10:30 2026-11-24x", "<n>:<n> <n>-<n>-24x"},
        {"10.0.0.5 10.0.0.5:443 [2001:db8::1]:80 2001:db8::1 localhost:80 a.b:80",
         "<addr> <addr> <addr> <addr> <addr> <addr>"},
        {"1.2.3.4.5 1.2.3 10.0.0.5:1234567", "<addr>.<n> <n> <addr>:<n>"},
        {"me.you+x@example.org, @home", "<email>, @home"},
        {"550e8400-e29b-41d4-a716-446655440000", "<id>"},
        {"req_011CSHoEeqs5 chatcmpl-9kQw call_abc123 org-AbCdEfGhIjKlMnOpQr",
         "<id> <id> <id> <id>"},
        {"user_message_too_long file-not-found run_a team-07",
         "user_message_too_long file-not-found run_a team-<n>"},
        {"9f86d081884c7d65 x-a1b2c3d4 a1b2c3 deadbeef", "<id> <id> a1b2c3 deadbeef"},
        {"6m0s 350ms 1h2m3.5s 2.022s", "<n> <n> <n> <n>"},
        {"7 1,234 1.5 30k $0.50 -5 3rd 512MiB 70b v1", "<n> <n> <n> <n> $<n> -<n> <n> <n> <n> v1"},
        {"/v1/threads/thread_abc12345/runs/99 worker-17", "/v1/threads/<id>/runs/<n> worker-<n>"},
        {"key sk-A1b2C3d4E5f6 refused", "key sk-*** refused"},
        {"\xC3\x9C"
         "berlastet: 7",
         "\xC3\x9C"
         "berlastet: <n>"},
        {"C:\\temp\\new", "C:\\temp\\new"},
    };
    CHECK(foldings);
}

static void where_it_is_cut(void **state)
{
    (void)state;
    char message[3 * ERROR_TEXT_SOURCE], out[ERROR_TEXT_BYTES];
    memset(message, 'x', sizeof message);
    struct str text = error_text_fold((struct str){message, sizeof message}, NULL, 0, out);
    assert_int_equal(text.n, ERROR_TEXT_BYTES);
    for (size_t i = 0; i + 1 < sizeof message; i += 2) /* é */
        memcpy(message + i, "\xC3\xA9", 2);
    message[0] = message[1] = 'x';
    text = error_text_fold((struct str){message + 1, sizeof message - 1}, NULL, 0, out);
    assert_int_equal(text.n, ERROR_TEXT_BYTES - 1);
    text = error_text_fold(STR_NONE, NULL, 0, out);
    assert_int_equal(text.n, 0);
}

static void causes(void **state)
{
    (void)state;
    static const struct {
        const char *type, *text, *cause;
        int64_t status;
    } cases[] = {
        {"upstream_error", "Rate limit reached for <model>", "rate_limit", 429},
        {"upstream_error", "", "rate_limit", 429},
        {"upstream_error", "x", "overloaded", 503},
        {"upstream_error", "x", "provider_error", 507},
        {"upstream_error", "This model's MAXIMUM context length is <n>", "context_window", 400},
        {"ContextWindowExceededError", "x", "context_window", 400},
        {"RateLimitError", "You exceeded your current quota", "quota", 429},
        {"too_many_requests", "<n> requests are in flight, <n> are allowed", "gateway_limit", 429},
        {"key_tokens_limit", "x", "gateway_limit", 429},
        {"RateLimitError", "Rate limit exceeded for api_key: <id>", "gateway_limit", 429},
        {"proxy_budget_exceeded", "x", "quota", 400},
        {"bad_key", "Authentication Error", "auth", 401},
        {"upstream_timeout", "x", "timeout", -1},
        {"upstream_tls", "x", "tls", -1},
        {"upstream_resolve", "x", "dns", -1},
        {"upstream_connect", "x", "connect", -1},
        {"upstream_closed", "x", "cut_short", -1},
        {"model_unknown", "x", "model_not_found", 400},
        {"BadRequestError", "x", "bad_request", 400},
        {"stream_error", "engine died", "stream_error", 200},
        {"InternalServerError", "x", "provider_error", 500},
        {NULL, "content_filter", "content_policy", -1},
        {NULL, "", "unknown", -1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct error_cause *c =
            error_cause_of(str_from(cases[i].type), cases[i].status, str_from(cases[i].text));
        assert_string_equal(c->name, cases[i].cause);
        assert_true(c->title[0] && c->fix[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_inside), cmocka_unit_test(what_is_taken_off),
        cmocka_unit_test(what_is_folded), cmocka_unit_test(where_it_is_cut),
        cmocka_unit_test(causes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
