/* One line of a log: weir's by the template and by the walker, LiteLLM's two shapes, and everything that is broken. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rand.h"
#include "observe/logline.h"

static struct logline l;

/* Reads `text` as the last line of a log, without its newline, from memory with nothing behind it but the slack. */
static enum line_status read_line(const char *text, size_t n)
{
    static char *data;
    free(data);
    data = malloc(n + LOGLINE_SLACK);
    assert_non_null(data);
    memcpy(data, text, n);
    memset(data + n, 0, LOGLINE_SLACK);
    data[n] = '\n';
    enum line_status status;
    logline_init(&l);
    assert_ptr_equal(logline_read(&l, data, data + n, &status), data + n);
    return status;
}

static enum line_status read_text(const char *text)
{
    return read_line(text, strlen(text));
}

static void assert_text(enum log_field field, struct str raw, const char *expected)
{
    char out[256];
    assert_true(l.found >> field & 1);
    struct str text = logline_text(&l, field, raw, out, sizeof out);
    assert_int_equal(text.n, strlen(expected));
    assert_memory_equal(text.p, expected, text.n);
}

#define FULL                                                                                       \
    "{\"timestamp\":\"2026-11-24T01:49:00.123Z\",\"level\":\"INFO\",\"event\":\"request\","        \
    "\"request_id\":\"r-1\",\"model\":\"llama3.1:8b\",\"provider\":\"ollama\",\"stream\":true,"    \
    "\"status\":\"success\",\"http_status\":200,\"latency_ms\":1234.5,\"ttft_ms\":80,"             \
    "\"prompt_tokens\":171,\"tokens_per_second\":48.25,\"cost_usd\":0.000000000001,"               \
    "\"engine\":{\"load_ms\":1,\"decode_ms\":2.25},\"user\":\"zo\\u00eb\",\"metadata\":{"          \
    "\"model\":\"no\",\"a\":[1,{}]}}"

static void check_full(void)
{
    assert_int_equal(l.shape, LOG_SHAPE_WEIR);
    assert_int_equal(l.r.timestamp, 1795484940123000);
    assert_text(LOG_model, l.r.model, "llama3.1:8b");
    assert_text(LOG_user, l.r.user, "zo\xc3\xab");
    assert_int_equal(l.r.stream, 1);
    assert_int_equal(l.r.http_status, 200);
    assert_int_equal(l.r.latency_us, 1234500);
    assert_int_equal(l.r.ttft_us, 80000);
    assert_int_equal(l.r.prompt_tokens, 171);
    assert_true(l.r.tokens_per_second == 48.25);
    assert_true(l.r.cost_usd == 1e-12);
    assert_int_equal(l.r.engine.load_us, 1000);
    assert_int_equal(l.r.engine.decode_us, 2250);
    assert_text(LOG_metadata, l.r.metadata, "{\"model\":\"no\",\"a\":[1,{}]}");
    assert_false(logline_has(&l, LOG_BIT(engine_prefill)));
    assert_false(logline_has(&l, LOG_BIT(upstream)));
    assert_int_equal(__builtin_popcountll(l.found), 18);
}

static void reads_weirs_own_order(void **state)
{
    (void)state;
    assert_int_equal(read_text(FULL), LINE_READ);
    check_full();
}

/* The same, so that the template cannot take it: a blank at the front, a CR at the end, a hole before it. */
static void reads_the_same_by_walking(void **state)
{
    (void)state;
    static const char cr[] = FULL "\r", holes[] = "\0\0\0 " FULL;
    assert_int_equal(read_text(" " FULL " "), LINE_READ);
    check_full();
    assert_int_equal(read_line(cr, sizeof cr - 1), LINE_READ);
    check_full();
    assert_int_equal(read_line(holes, sizeof holes - 1), LINE_READ);
    check_full();
}

static void walks_any_order_blanks_and_escapes(void **state)
{
    (void)state;
    assert_int_equal(
        read_text("{ \"status\" : \"failure\" , "
                  "\"mod\\u0065l\":\"a\\\"b\",\"deep\":{\"model\":\"x\",\"y\":[[\"]\"]]},"
                  "\"error\": {\"type\":\"upstream_timeout\", \"provider_status\": "
                  "504},\"latency_ms\":1.2345e3,\"model\":\"last\\n\"}"),
        LINE_READ);
    assert_text(LOG_model, l.r.model, "last\n"); /* of two the last one */
    assert_text(LOG_error_type, l.r.error.type, "upstream_timeout");
    assert_int_equal(l.r.error.provider_status, 504);
    assert_int_equal(l.r.latency_us, 1234500);
    assert_int_equal(l.shape, LOG_SHAPE_WEIR);
}

static void values_of_another_kind_are_not_there(void **state)
{
    (void)state;
    assert_int_equal(read_text("{\"model\":7,\"latency_ms\":\"3\",\"stream\":\"true\",\"http_"
                               "status\":null,\"prompt_tokens\":-1,"
                               "\"metadata\":null,\"timestamp\":\"soon\",\"error\":\"text\","
                               "\"provider\":[\"a\"],\"level\":\"INFO\"}"),
                     LINE_READ);
    assert_int_equal(l.found, LOG_BIT(level));
    assert_int_equal(read_text("{\"model\":\"a\",\"model\":null}"), LINE_READ);
    assert_int_equal(l.found, 0);
}

/* What says the same thing less well counts where the better key says nothing, in any order; of equal keys the last counts. */
static void prefers_the_better_of_two_keys(void **state)
{
    static const struct {
        const char *members, *id, *message;
    } rows[] = {
        {"\"id\":\"a\",\"id\":\"b\"", "b", NULL},
        {"\"id\":\"a\",\"id\":null", NULL, NULL},
        {"\"id\":\"a\",\"id\":\"\"", NULL, NULL},
        {"\"id\":\"a\",\"litellm_call_id\":\"c\"", "c", NULL},
        {"\"litellm_call_id\":\"c\",\"id\":\"a\"", "c", NULL},
        {"\"id\":\"a\",\"litellm_call_id\":null", "a", NULL},
        {"\"litellm_call_id\":\"\",\"id\":\"a\"", "a", NULL},
        {"\"litellm_call_id\":\"c\",\"litellm_call_id\":7,\"id\":\"a\"", "a", NULL},
        {"\"litellm_call_id\":\"\\u0063\",\"id\":\"a\"", "c", NULL},
        {"\"id\":\"\\u0061\"", "a", NULL},
        {"\"error_str\":\"x\",\"error_str\":\"y\"", NULL, "y"},
        {"\"error_str\":\"x\",\"error_information\":{\"error_message\":\"m\"}", NULL, "m"},
        {"\"error_information\":{\"error_message\":\"m\"},\"error_str\":\"x\"", NULL, "m"},
        {"\"error_str\":\"x\",\"error_information\":{\"error_message\":null}", NULL, "x"},
        {"\"error_information\":{\"error_message\":\"\"},\"error_str\":\"x\"", NULL, "x"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char line[256];
        snprintf(line, sizeof line, "{\"startTime\":1,%s,\"endTime\":2}", rows[i].members);
        assert_int_equal(read_text(line), LINE_READ);
        assert_int_equal(l.shape, LOG_SHAPE_LITELLM);
        assert_int_equal(!!(l.found & LOG_BIT(request_id)), !!rows[i].id);
        assert_int_equal(!!(l.found & LOG_BIT(error_message)), !!rows[i].message);
        if (rows[i].id)
            assert_text(LOG_request_id, l.r.request_id, rows[i].id);
        if (rows[i].message)
            assert_text(LOG_error_message, l.r.error.message, rows[i].message);
    }
}

static void reads_litellms_payload(void **state)
{
    (void)state;
    assert_int_equal(
        read_text("{\"id\": \"chatcmpl-1\", \"litellm_call_id\": \"call-1\", \"stream\": true, "
                  "\"response_cost\": 1.286e-05, \"status\": \"failure\", "
                  "\"custom_llm_provider\": \"openai\", \"startTime\": 1732500000.5, \"endTime\": "
                  "1732500002.75, \"completionStartTime\": 1732500001.0, "
                  "\"model\": \"gpt-4o\", \"model_group\": \"smart\", \"model_id\": \"d1\", "
                  "\"cache_hit\": false, \"prompt_tokens\": 10, "
                  "\"metadata\": {\"user_api_key_alias\": \"team-a\", \"model\": \"decoy\"}, "
                  "\"error_information\": {\"error_code\": \"429\", \"error_class\": "
                  "\"RateLimitError\"}, \"error_str\": \"slow down\", "
                  "\"hidden_params\": {\"litellm_overhead_time_ms\": 4.5}}"),
        LINE_READ);
    assert_int_equal(l.shape, LOG_SHAPE_LITELLM);
    assert_text(LOG_request_id, l.r.request_id, "call-1");
    assert_text(LOG_model, l.r.model, "smart");
    assert_text(LOG_upstream_model, l.r.upstream_model, "gpt-4o");
    assert_text(LOG_key_alias, l.r.key_alias, "team-a");
    assert_text(LOG_error_type, l.r.error.type, "RateLimitError");
    assert_text(LOG_error_message, l.r.error.message, "slow down");
    assert_int_equal(l.r.error.provider_status, 429);
    assert_int_equal(l.r.latency_us, 2250000);
    assert_int_equal(l.r.ttft_us, 500000);
    assert_int_equal(l.r.timestamp, 1732500002750000);
    assert_int_equal(l.r.overhead_us, 4500);
    assert_text(LOG_cache, l.r.cache, "miss");
    assert_true(l.r.cost_usd > 1.28599e-05 && l.r.cost_usd < 1.28601e-05);
}

static void reads_json_logs_in_local_time(void **state)
{
    (void)state;
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    assert_int_equal(read_text("{\"message\": \"10.0.0.5:51234 - \\\"POST /chat/completions "
                               "HTTP/1.1\\\" 200\", \"level\": \"INFO\", "
                               "\"timestamp\": \"2026-07-01T12:00:00.250000\"}"),
                     LINE_READ);
    assert_int_equal(l.shape, LOG_SHAPE_JSON_LOGS);
    assert_int_equal(l.r.timestamp, 1782900000250000); /* 10:00 UTC */
    unsetenv("TZ");
    tzset();
}

static void tells_where_a_line_is_broken(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
        size_t at;
    } cases[] = {
        {"hello", "a JSON object", 0},
        {"[1]", "a JSON object", 0},
        {"{\"a\":1}x", "the line's end behind the object", 7},
        {"{\"a\":1}{\"a\":2}", "the line's end behind the object", 7},
        {"{\"a\"}", "a colon behind the key", 4},
        {"{\"a\":tru}", "a value", 5},
        {"{\"a\":01}", "a value", 5},
        {"{\"a\":1.}", "a value", 5},
        {"{\"a\":1 \"b\":2}", "',' or '}' behind the value", 7},
        {"{\"a\":1,}", "a key in quotes", 7},
        {"{\"model\":\"x", "a value", 9},
        {"{\"model\":\"\\q\"}", "a value", 9},
        {"{\"model\":\"\t\"}", "a value", 9},
        {"{\"m\":{\"a\":[1}", "a value", 5},
        {"{\"m\":{\"a\":[1}},\"b\":1}", "a value", 5},
        {"{", "a key in quotes", 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(read_text(cases[i].text), LINE_BROKEN);
        assert_string_equal(l.bad, cases[i].expected);
        assert_int_equal(l.bad_at, cases[i].at);
    }
    assert_int_equal(read_text(""), LINE_BLANK);
    assert_int_equal(read_text(" \t\r"), LINE_BLANK);
}

/* Whatever bytes come, none behind the slack is read (ASan sees to that), and the next line begins behind the newline. */
static void survives_damage(void **state)
{
    (void)state;
    struct rng rng;
    char text[sizeof FULL];
    rng_seed(&rng, 7);
    for (int round = 0; round < 200000; round++) {
        size_t n = round % 2 ? sizeof FULL - 1 : rng_next(&rng) % sizeof FULL;
        memcpy(text, FULL, n);
        for (int hits = (int)(rng_next(&rng) % 4); hits > 0 && n; hits--)
            text[rng_next(&rng) % n] = "\"\\{}[],:0a\0\n \x80"[rng_next(&rng) % 14];
        for (size_t i = 0; i < n; i++)
            text[i] = text[i] == '\n' ? ' ' : text[i];
        (void)read_line(text, n);
    }
}

/* record_write's lines go through the template and come back. */
/* Ids are compared at their length before anybody knows where the line ends. Nothing but the slack may be read behind it. */
static void ids_may_be_cut_anywhere(void **state)
{
    (void)state;
    static const char text[] =
        "{\"timestamp\":\"2026-11-24T01:49:00.123Z\",\"level\":\"INFO\",\"event\":\"request\","
        "\"request_id\":\"9310d502-03a1-402e-ab31-afb3b8985537\",\"status\":\"success\","
        "\"latency_ms\":12.5,\"finish_reason\":\"stop\",\"key_hash\":"
        "\"d809488809d004977e6c59ecbb903df1328faaa20338fcfcbed49d0ee32f0c6e\","
        "\"trace_id\":\"c5336d3de0c416cef67a4c213a144822\"}";
    assert_int_equal(read_text(text), LINE_READ);
    assert_text(LOG_request_id, l.r.request_id, "9310d502-03a1-402e-ab31-afb3b8985537");
    assert_int_equal(l.r.key_hash.n, 64);
    for (size_t n = 1; n < sizeof text - 1; n++)
        assert_int_equal(read_line(text, n), LINE_BROKEN);
}

static void reads_what_record_write_writes(void **state)
{
    (void)state;
    struct record r;
    char line[4096];
    record_init(&r);
    r.timestamp = 1795484940123000;
    r.level = STR("ERROR");
    r.event = STR("request");
    r.model = STR("a \"quoted\" \\ name");
    r.status = STR("failure");
    r.latency_us = 1;
    r.error.type = STR("upstream_error");
    r.error.provider_status = 500;
    r.error.message = STR("line\nbreak");
    r.request = STR("{\"messages\":[]}");
    size_t n = record_write(&r, line, sizeof line);
    assert_true(n > 0);
    assert_int_equal(read_line(line, n - 1), LINE_READ);
    assert_text(LOG_model, l.r.model, "a \"quoted\" \\ name");
    assert_text(LOG_error_message, l.r.error.message, "line\nbreak");
    assert_int_equal(l.r.error.provider_status, 500);
    assert_int_equal(l.r.latency_us, 1);
    assert_text(LOG_request, l.r.request, "{\"messages\":[]}");
}

#define HEAD                                                                                       \
    "{\"timestamp\":\"2026-11-24T01:49:00.123Z\",\"level\":\"INFO\",\"event\":\"request\","        \
    "\"model\":\"m\",\"status\":\"success\""

static void passes_over_what_did_not_fail(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum line_status status;
    } rows[] = {
        {HEAD "}", LINE_HEAD},
        {HEAD ",\"latency_ms\":1,\"user\":\"a long enough one to need more than one step\"}",
         LINE_HEAD},
        {HEAD ",\"slow\":true,\"user\":\"status\",\"metadata\":{\"status\":\"failure\"}}",
         LINE_HEAD},
        {HEAD ",\"metadata\":{\"a\":1,\"status\":\"failure\",\"b\":[{\"c\":2,\"status\":3}]}}",
         LINE_HEAD},
        {HEAD ",\"user\":\"\\\"status\\\":\\\"failure\\\"\"}", LINE_HEAD},
        {HEAD ",\"user\":\"gr\\u00fcn\",\"metadata\":{\"x\":1,\"st\\u0061tus\":1}}", LINE_HEAD},
        /* A second status, whatever it is written as, is the one that counts. */
        {HEAD ",\"status\":\"failure\"}", LINE_READ},
        {HEAD ",\"latency_ms\":1, \"status\" :\"failure\"}", LINE_READ},
        {HEAD ",\"user\":\"a long enough one to need more than one step\",\"status\":\"failure\"}",
         LINE_READ},
        {HEAD ",\"metadata\":{\"a\":\"}\"},\"status\":\"failure\"}", LINE_READ},
        {HEAD ",\"st\\u0061tus\":\"failure\"}", LINE_READ},
        {HEAD ",\"\\u0073\\u0074atus\":\"failure\"}", LINE_READ},
        {HEAD ",\"statu\\u0073\":\"failure\"}", LINE_READ},
        /* Not in weir's own order, or nothing is said. */
        {"{\"status\":\"success\",\"timestamp\":\"2026-11-24T01:49:00.123Z\"}", LINE_READ},
        {"{\"timestamp\":\"2026-11-24T01:49:00.123Z\",\"model\":\"m\"}", LINE_READ},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum line_status status;
        size_t n = strlen(rows[i].text);
        char *data = malloc(n + LOGLINE_SLACK);
        memcpy(data, rows[i].text, n);
        memset(data + n, 0, LOGLINE_SLACK);
        data[n] = '\n';
        logline_init(&l);
        assert_ptr_equal(logline_read_failed(&l, data, data + n, &status), data + n);
        if (status != rows[i].status)
            fail_msg("%s: expected %d, got %d", rows[i].text, rows[i].status, status);
        assert_int_equal(read_text(rows[i].text), LINE_READ);
        free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_weirs_own_order),
        cmocka_unit_test(reads_the_same_by_walking),
        cmocka_unit_test(walks_any_order_blanks_and_escapes),
        cmocka_unit_test(values_of_another_kind_are_not_there),
        cmocka_unit_test(prefers_the_better_of_two_keys),
        cmocka_unit_test(reads_litellms_payload),
        cmocka_unit_test(reads_json_logs_in_local_time),
        cmocka_unit_test(tells_where_a_line_is_broken),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(ids_may_be_cut_anywhere),
        cmocka_unit_test(reads_what_record_write_writes),
        cmocka_unit_test(passes_over_what_did_not_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
