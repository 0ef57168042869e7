/* A sample as a line of the log: what was not reached is not told, and what is told is what analyze reads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "measure/sample.h"
#include "observe/record.h"

static struct sample good(void)
{
    struct sample s = {.outcome = OUTCOME_OK,
                       .stream = true,
                       .http_status = 200,
                       .due_ns = 1000000,
                       .start_ns = 1500000,
                       .sent_first_ns = 2000000,
                       .sent_ns = 2000000,
                       .first_token_ns = 52000000,
                       .last_token_ns = 152000000,
                       .end_ns = 162500000,
                       .chunks = 11,
                       .prompt_tokens = 7,
                       .completion_tokens = 11,
                       .cached_tokens = -1,
                       .reasoning_tokens = 3,
                       .cost_usd = 0.0025,
                       .server_queue_us = -1,
                       .server_upstream_us = 49000,
                       .server_overhead_us = 150};
    snprintf(s.request_id, sizeof s.request_id, "abc-1");
    snprintf(s.finish_reason, sizeof s.finish_reason, "stop");
    return s;
}

static void check_line(const struct sample *s, const char *wanted)
{
    struct record r;
    char line[4096] = "";
    sample_to_record(s, STR("gpt-4o"), 1795687200123456, &r);
    size_t n = record_write(&r, line, sizeof line - 1);
    assert_true(n > 0);
    line[n - 1] = '\0';
    assert_string_equal(line, wanted);
}

#define BEGIN(level)                                                                               \
    "{\"timestamp\":\"2026-11-26T10:00:00.123Z\",\"level\":\"" level                               \
    "\",\"event\":\"request\",\"request_id\":\"abc-1\",\"model\":\"gpt-4o\","

static void a_good_answer_is_told_whole(void **state)
{
    struct sample s = good();
    (void)state;
    check_line(&s, BEGIN("INFO") "\"call_type\":\"chat.completions\",\"stream\":true,"
                                 "\"status\":\"success\",\"http_status\":200,\"latency_ms\":160.5,"
                                 "\"ttft_ms\":50,\"upstream_ms\":49,\"overhead_ms\":0.15,"
                                 "\"prompt_tokens\":7,\"completion_tokens\":11,\"total_tokens\":18,"
                                 "\"reasoning_tokens\":3,\"tokens_source\":\"provider\","
                                 "\"tokens_per_second\":100,\"cost_usd\":0.0025,"
                                 "\"finish_reason\":\"stop\"}");
    s.stream = false; /* over all the time: 11 tokens in 160.5 ms */
    s.first_token_ns = s.last_token_ns = 0;
    s.tokens_counted = true;
    struct record r;
    sample_to_record(&s, STR("m"), 0, &r);
    assert_int_equal(r.ttft_us, -1);
    assert_int_equal(r.output_us, -1);
    assert_true(STR_IS(r.tokens_source, "estimated"));
    assert_true(r.tokens_per_second > 68.5 && r.tokens_per_second < 68.6);
}

static void what_failed_says_how(void **state)
{
    struct sample s = {.outcome = OUTCOME_CONNECT_REFUSED,
                       .start_ns = 1000,
                       .end_ns = 2001000,
                       .prompt_tokens = -1,
                       .completion_tokens = -1,
                       .cached_tokens = -1,
                       .reasoning_tokens = -1,
                       .cost_usd = -1,
                       .server_queue_us = -1,
                       .server_upstream_us = -1,
                       .server_overhead_us = -1};
    (void)state;
    snprintf(s.request_id, sizeof s.request_id, "abc-1");
    snprintf(s.error, sizeof s.error, "Connection refused (127.0.0.1:1)");
    check_line(&s, BEGIN("ERROR") "\"call_type\":\"chat.completions\",\"stream\":false,"
                                  "\"status\":\"failure\",\"latency_ms\":2,"
                                  "\"error\":{\"type\":\"connect_refused\",\"message\":"
                                  "\"Connection refused (127.0.0.1:1)\"}}");
    s.outcome = OUTCOME_DROPPED;
    s.start_ns = s.end_ns = 0;
    s.error[0] = '\0';
    struct record r;
    sample_to_record(&s, STR("m"), 0, &r);
    assert_int_equal(r.latency_us, -1);
    assert_true(r.error.message.n > 10);
    s.outcome = OUTCOME_CANCELLED;
    sample_to_record(&s, STR("m"), 0, &r);
    assert_true(STR_IS(r.status, "cancelled"));
}

static void outcomes_have_keys_of_their_own(void **state)
{
    (void)state;
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        assert_true(outcome_key((enum outcome)i)[0] && outcome_help((enum outcome)i)[0]);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(outcome_key((enum outcome)i), outcome_key((enum outcome)k));
    }
    assert_string_equal(outcome_key(OUTCOME_COUNT), "unknown");
    assert_string_equal(outcome_help(OUTCOME_COUNT), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_answer_is_told_whole),
        cmocka_unit_test(what_failed_says_how),
        cmocka_unit_test(outcomes_have_keys_of_their_own),
    };
    return cmocka_run_group_tests_name("sample", tests, NULL, NULL);
}
