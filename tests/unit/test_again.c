/* What follows a failed attempt: of what kind a failure is by status and words, what Retry-After says, and when a hedge is due. The rest is tested through
 * the gateway (tests/e2e/test_again.py). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/hedge.c" /* its histogram is nobody else's */

/* ---- failures ---- */

#define NO_STATUS 0

static void kinds_of_failure_by_status(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum error_code code;
        enum failure_class class;
    } rows[] = {
        {400, ERR_UPSTREAM_ERROR, FAILURE_BAD_REQUEST},
        {401, ERR_UPSTREAM_ERROR, FAILURE_AUTHENTICATION},
        {402, ERR_UPSTREAM_ERROR, FAILURE_BAD_REQUEST},
        {403, ERR_UPSTREAM_ERROR, FAILURE_AUTHENTICATION},
        {404, ERR_UPSTREAM_ERROR, FAILURE_NOT_FOUND},
        {405, ERR_UPSTREAM_ERROR, FAILURE_BAD_REQUEST},
        {408, ERR_UPSTREAM_ERROR, FAILURE_TIMEOUT},
        {409, ERR_UPSTREAM_ERROR, FAILURE_SERVER},
        {413, ERR_UPSTREAM_ERROR, FAILURE_BAD_REQUEST},
        {422, ERR_UPSTREAM_ERROR, FAILURE_BAD_REQUEST},
        {429, ERR_UPSTREAM_ERROR, FAILURE_RATE_LIMIT},
        {499, ERR_UPSTREAM_ERROR, FAILURE_BAD_REQUEST},
        {500, ERR_UPSTREAM_ERROR, FAILURE_SERVER},
        {503, ERR_UPSTREAM_TRUNCATED, FAILURE_SERVER}, /* its body was cut: the status stands */
        {529, ERR_UPSTREAM_ERROR, FAILURE_SERVER},
        {599, ERR_STREAM_ERROR, FAILURE_SERVER},
        {NO_STATUS, ERR_UPSTREAM_TIMEOUT, FAILURE_TIMEOUT},
        {NO_STATUS, ERR_UPSTREAM_CONNECT, FAILURE_CONNECTION},
        {NO_STATUS, ERR_UPSTREAM_CLOSED, FAILURE_CONNECTION},
        {200, ERR_UPSTREAM_TIMEOUT, FAILURE_TIMEOUT}, /* a stream's first token */
        {200, ERR_UPSTREAM_TRUNCATED, FAILURE_CONNECTION},
        {302, ERR_UPSTREAM_PROTOCOL, FAILURE_CONNECTION},
        {200, ERR_STREAM_ERROR, FAILURE_SERVER},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (failure_classify(rows[i].code, rows[i].status, STR("{\"error\":{}}")) != rows[i].class)
            fail_msg("%d, %s", rows[i].status, error_info(rows[i].code)->name);
}

/* As the providers word them. */
static const struct {
    const char *provider;
    int status;
    enum failure_class class;
    const char *body;
} worded[] = {
    {"OpenAI", 400, FAILURE_CONTEXT_WINDOW,
     "{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens. However, "
     "your "
     "messages resulted in 9001 tokens.\",\"type\":\"invalid_request_error\",\"param\":"
     "\"messages\",\"code\":\"context_length_exceeded\"}}"},
    {"OpenAI, newer", 400, FAILURE_CONTEXT_WINDOW,
     "{\"error\":{\"message\":\"Your input exceeds the context window of this model. Please "
     "adjust your input and try again.\",\"code\":null}}"},
    {"OpenAI", 400, FAILURE_CONTENT_POLICY,
     "{\"error\":{\"code\":\"content_policy_violation\",\"message\":\"Your request was "
     "rejected "
     "as a result of our safety system.\",\"type\":\"invalid_request_error\"}}"},
    {"OpenAI", 400, FAILURE_CONTENT_POLICY,
     "{\"error\":{\"message\":\"Invalid prompt: your prompt was flagged as potentially "
     "violating "
     "our usage policy.\",\"code\":\"invalid_prompt\"}}"},
    {"OpenAI", 400, FAILURE_BAD_REQUEST,
     "{\"error\":{\"message\":\"Unrecognized request argument supplied: tempature\",\"type\":"
     "\"invalid_request_error\",\"code\":null}}"},
    {"OpenAI", 429, FAILURE_RATE_LIMIT,
     "{\"error\":{\"message\":\"Request too large ... reduce the length of the messages\","
     "\"code\":\"rate_limit_exceeded\"}}"},
    {"Azure", 400, FAILURE_CONTENT_POLICY,
     "{\"error\":{\"message\":\"The response was filtered due to the prompt triggering Azure "
     "OpenAI's content management policy.\",\"code\":\"content_filter\",\"status\":400,"
     "\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}"},
    {"Azure", 400, FAILURE_CONTEXT_WINDOW,
     "{\"error\":{\"message\":\"This model's maximum context length is 4096 tokens, however "
     "you "
     "requested 4200 tokens\",\"type\":\"invalid_request_error\",\"code\":null}}"},
    {"Anthropic", 400, FAILURE_CONTEXT_WINDOW,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt "
     "is "
     "too long: 210000 tokens > 200000 maximum\"}}"},
    {"Anthropic", 400, FAILURE_CONTEXT_WINDOW,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"input "
     "length and `max_tokens` exceed context limit: 190000 + 20000 > 200000\"}}"},
    {"Anthropic", 400, FAILURE_CONTENT_POLICY,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Output "
     "blocked by content filtering policy\"}}"},
    {"Anthropic", 529, FAILURE_SERVER,
     "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}"
     "}"},
    {"vLLM", 400, FAILURE_CONTEXT_WINDOW,
     "{\"object\":\"error\",\"message\":\"This model's maximum context length is 2048 tokens. "
     "However, you requested 2100 tokens\",\"type\":\"BadRequestError\",\"code\":400}"},
    {"vLLM", 400, FAILURE_CONTEXT_WINDOW,
     "{\"error\":{\"message\":\"The decoder prompt (length 5000) is longer than the maximum "
     "model "
     "length of 4096.\",\"type\":\"BadRequestError\",\"code\":400}}"},
    {"vLLM", 404, FAILURE_NOT_FOUND,
     "{\"object\":\"error\",\"message\":\"The model `x` does not exist.\",\"code\":404}"},
    {"llama.cpp", 400, FAILURE_CONTEXT_WINDOW,
     "{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context size, "
     "try "
     "increasing it\",\"type\":\"exceed_context_size_error\",\"n_ctx\":512}}"},
    {"llama.cpp", 503, FAILURE_SERVER,
     "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}"},
    {"Ollama", 400, FAILURE_CONTEXT_WINDOW,
     "{\"error\":{\"message\":\"the input length exceeds the context length\",\"type\":"
     "\"invalid_request_error\"}}"},
    {"Ollama", 400, FAILURE_CONTEXT_WINDOW,
     "{\"error\":\"prompt too long; exceeded max context length by 4 tokens\"}"},
    {"Ollama", 404, FAILURE_NOT_FOUND, "{\"error\":\"model 'x' not found\"}"},
    {"Gemini", 400, FAILURE_CONTEXT_WINDOW,
     "{\"error\":{\"code\":400,\"message\":\"The input token count (1189809) exceeds the "
     "maximum "
     "number of tokens allowed (1048576).\",\"status\":\"INVALID_ARGUMENT\"}}"},
    {"Gemini", 400, FAILURE_CONTEXT_WINDOW,
     "{\"error\":{\"code\":400,\"message\":\"The input token count exceeds the maximum number "
     "of "
     "tokens allowed\"}}"},
    {"Gemini", 400, FAILURE_BAD_REQUEST,
     "{\"error\":{\"code\":400,\"message\":\"API key not valid.\",\"status\":"
     "\"INVALID_ARGUMENT\"}}"},
    {"Groq", 413, FAILURE_CONTEXT_WINDOW,
     "{\"error\":{\"message\":\"Please reduce the length of the messages or completion.\"}}"},
    {"xAI", 400, FAILURE_CONTEXT_WINDOW,
     "{\"error\":\"This model's maximum prompt length is 131072 but the request contains "
     "140000 "
     "tokens.\"}"},
    {"Bedrock", 400, FAILURE_CONTEXT_WINDOW,
     "{\"message\":\"Input is too long for requested model.\"}"},
    {"Mistral", 422, FAILURE_CONTEXT_WINDOW,
     "{\"message\":\"Prompt contains 40000 tokens, too large for model with 32768 MAXIMUM "
     "CONTEXT "
     "LENGTH\"}"},
    {"a proxy", 400, FAILURE_BAD_REQUEST, "<html><body><h1>400 Bad Request</h1></body></html>"},
    {"nobody", 400, FAILURE_BAD_REQUEST, ""},
    /* Words count only where the status lets them. */
    {"any", 500, FAILURE_SERVER, "{\"error\":{\"code\":\"context_length_exceeded\"}}"},
};

static void kinds_of_failure_by_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(worded); i++)
        if (failure_classify(ERR_UPSTREAM_ERROR, worded[i].status, str_from(worded[i].body)) !=
            worded[i].class)
            fail_msg("%s: %d %s", worded[i].provider, worded[i].status, worded[i].body);
}

/* Only the beginning of a body is looked at. */
static void words_far_behind_do_not_count(void **state)
{
    (void)state;
    static const char words[] = "context_length_exceeded";
    size_t n = 64 * 1024, limit = 16384, last = sizeof words - 1;
    char *body = mem_alloc(n);
    memset(body, 'x', n);
    memcpy(body + limit - last, words, last);
    assert_int_equal(failure_classify(ERR_UPSTREAM_ERROR, 400, (struct str){body, n}),
                     FAILURE_CONTEXT_WINDOW);
    memset(body, 'x', n);
    memcpy(body + limit - last + 1, words, last);
    assert_int_equal(failure_classify(ERR_UPSTREAM_ERROR, 400, (struct str){body, n}),
                     FAILURE_BAD_REQUEST);
    mem_free(body);
}

/* ---- Retry-After ---- */

#define NOW_S INT64_C(1764129600) /* Wed, 26 Nov 2025 04:00:00 GMT */

static int64_t waits(const char *lines)
{
    char text[512];
    struct h1_head h;
    int n = snprintf(text, sizeof text, "HTTP/1.1 429 Too Many\r\n%s\r\n", lines);
    assert_int_equal(h1_parse_response(text, (size_t)n, false, &h, NULL), ERR_NONE);
    return retry_after_ms(&h, NOW_S * 1000000);
}

static void retry_after_in_all_its_forms(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        int64_t ms;
    } rows[] = {
        {"", -1},
        {"retry-after: 0\r\n", 0},
        {"Retry-After: 2\r\n", 2000},
        {"retry-after: 1.5\r\n", 1500},
        {"retry-after:   7  \r\n", 7000},
        {"retry-after: 999999\r\n", 999999000},
        {"retry-after-ms: 250\r\n", 250},
        {"Retry-After-Ms: 12.9\r\nretry-after: 9\r\n", 12},
        {"retry-after: 9\r\nretry-after-ms: 250\r\n", 250},
        /* of no use: the other one holds, or none */
        {"retry-after-ms: soon\r\nretry-after: 9\r\n", 9000},
        {"retry-after-ms: -1\r\nretry-after: 9\r\n", 9000},
        {"retry-after-ms: 1e12\r\nretry-after: 9\r\n", 9000},
        {"retry-after-ms: \r\n", -1},
        {"retry-after: -1\r\n", -1},
        {"retry-after: 1e300\r\n", -1},
        {"retry-after: 99999999999999999999999999\r\n", -1},
        {"retry-after: nan\r\n", -1},
        {"retry-after: inf\r\n", -1},
        {"retry-after: soon\r\n", -1},
        {"retry-after: 5 s\r\n", -1},
        {"retry-after: \r\n", -1},
        /* dates, RFC 9110 section 5.6.7 */
        {"retry-after: Wed, 26 Nov 2025 04:00:30 GMT\r\n", 30000},
        {"retry-after: Wednesday, 26-Nov-25 04:00:30 GMT\r\n", 30000},
        {"retry-after: Wed Nov 26 04:00:30 2025\r\n", 30000},
        {"retry-after: Sat Nov  1 04:00:30 2025\r\n", 0},
        {"retry-after: Wed, 26 Nov 2025 03:59:59 GMT\r\n", 0},
        {"retry-after: Thu, 27 Nov 2025 04:00:00 GMT\r\n", 86400000},
        {"retry-after: Wed, 26 Nov 2025 04:00:30 CET\r\n", -1},
        {"retry-after: Wed, 26 Nov 2025\r\n", -1},
        {"retry-after: Wed, 26 Nov 2025 04:00:30 GMT and then some more words\r\n", -1},
        {"retry-after: 2025-11-26T04:00:30Z\r\n", -1},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (waits(rows[i].lines) != rows[i].ms)
            fail_msg("%s: %lld", rows[i].lines, (long long)waits(rows[i].lines));
}

/* ---- hedge.c's histogram ---- */

static void buckets_are_a_fifth_wide_at_most(void **state)
{
    (void)state;
    int last = 0;
    for (int64_t us = 1; us < INT64_C(1) << 31; us += us / 50 + 1) {
        int b = bucket_of(us);
        assert_true(b >= last);
        last = b;
        assert_true(bound_us(b) > us);
        if (us >= 4)
            assert_true((double)bound_us(b) <= (double)us * 1.25);
        assert_int_equal(bucket_of(bound_us(b)), bucket_of(bound_us(b) - 1) + (us >= 4 ? 1 : 4));
    }
    assert_int_equal(bucket_of(0), 0);
    assert_int_equal(bucket_of(-5), 0);
    assert_int_equal(bucket_of(INT64_MAX), BUCKETS - 1);
}

static void percentiles_need_samples_and_are_a_little_long(void **state)
{
    (void)state;
    static const double percentiles[] = {1, 50, 90, 95, 99, 100};
    struct late l = {0};
    for (int i = 1; i < SAMPLES_MIN; i++)
        add(&l, 1000);
    assert_int_equal(percentile_us(&l, 95), -1);
    l = (struct late){0};
    for (int i = 1; i <= 1000; i++) /* 1 to 1000 ms, in an order of no meaning */
        add(&l, (int64_t)(i * 7919 % 1000 + 1) * 1000);
    for (size_t i = 0; i < COUNT(percentiles); i++) {
        double exact_us = percentiles[i] * 10 * 1000;
        assert_in_range(percentile_us(&l, percentiles[i]), (int64_t)exact_us,
                        (int64_t)(exact_us * 1.25));
    }
}

static void what_is_old_fades(void **state)
{
    (void)state;
    struct late l = {0};
    for (int i = 0; i < 5000; i++)
        add(&l, 1000000);
    assert_true(percentile_us(&l, 50) > 1000000);
    for (int i = 0; i < 3 * SAMPLES_MAX; i++) {
        add(&l, 1000);
        uint32_t sum = 0;
        for (int k = 0; k < BUCKETS; k++)
            sum += l.counts[k];
        assert_int_equal(sum, l.total);
        assert_true(l.total < SAMPLES_MAX);
    }
    assert_true(percentile_us(&l, 50) < 1300);
    assert_true(percentile_us(&l, 80) < 1300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_of_failure_by_status),
        cmocka_unit_test(kinds_of_failure_by_words),
        cmocka_unit_test(words_far_behind_do_not_count),
        cmocka_unit_test(retry_after_in_all_its_forms),
        cmocka_unit_test(buckets_are_a_fifth_wide_at_most),
        cmocka_unit_test(percentiles_need_samples_and_are_a_little_long),
        cmocka_unit_test(what_is_old_fades),
    };
    return cmocka_run_group_tests_name("again", tests, NULL, NULL);
}
