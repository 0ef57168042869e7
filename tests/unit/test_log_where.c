/* --where by table: expressions that are true or false of a few lines, and mistakes with their columns. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "observe/log_filter.h"
#include "observe/log_where.h"

#define NOW_US INT64_C(1795485600000000) /* 2026-11-24T02:00:00Z */

static const char weir_line[] =
    "{\"timestamp\":\"2026-11-24T01:00:00.000Z\",\"level\":\"WARNING\",\"event\":\"request\","
    "\"model\":\"gpt-4o\","
    "\"provider\":\"ollama\",\"stream\":true,\"status\":\"success\",\"http_status\":503,\"latency_"
    "ms\":2000.001,"
    "\"prompt_tokens\":10000,\"tokens_per_second\":12.5,\"cost_usd\":0.01,\"slow\":false,"
    "\"engine\":{\"load_ms\":0.5},"
    "\"error\":{\"type\":\"t\",\"message\":\"gr\\u00fcn \\\"x\\\"\"},"
    "\"metadata\":{\"team\":\"blue\",\"run\":7,\"text\":\"7.0\",\"no\":false,\"nil\":null,\"tags\":"
    "[\"prod\",null,\"a b\"],"
    "\"team\":\"red\",\"in\":{\"n\":[{\"x\":1},{\"x\":\"z\"}],\"k\\u0065y\":-2.5e1},\"none\":[]},"
    "\"request\":{\"temperature\":0.25}}";

static const char litellm_line[] =
    "{\"startTime\":1,\"endTime\":2,\"model\":\"m\",\"request_tags\":[\"A\",\"User-Agent: x\"],"
    "\"metadata\":{\"user_api_key_alias\":\"k\",\"requester_metadata\":{\"team\":\"blue\",\"tags\":"
    "[\"B\"]}}}";

/* The line, read; data is static. */
static void read_line(struct logline *l, const char *text)
{
    static char data[4096];
    enum line_status status;
    size_t n = strlen(text);
    assert_true(n + LOGLINE_SLACK < sizeof data);
    memcpy(data, text, n);
    memset(data + n, '\n', LOGLINE_SLACK);
    logline_init(l);
    (void)logline_read(l, data, data + n, &status);
    assert_int_equal(status, LINE_READ);
}

static void check(const char *line, const char *text, bool want)
{
    struct logline l;
    struct err e = {0};
    struct log_where *w = log_where_parse(str_from(text), NOW_US, &e);
    if (!w)
        fail_msg("%s: %s", text, e.text);
    read_line(&l, line);
    if (log_where_matches(w, &l) != want)
        fail_msg("%s: expected %s", text, want ? "true" : "false");
    struct log_filter f = {.where = w};
    assert_false(log_filter_is_empty(&f));
    assert_int_equal(log_filter_matches(&f, &l), want);
    log_where_free(w);
}

// clang-format off
static const struct { const char *text; bool want; } cases[] = {
    /* texts */
    {"model = gpt-4o", true}, {"model == 'gpt-4o'", true}, {"model=GPT-4o", false}, {"model != gpt-4o", false},
    {"model ~ gpt-*", true}, {"model ~ 'o3,gpt-*'", true}, {"model ~ 'gpt-*,!gpt-4o'", false}, {"model !~ o*", true},
    {"model in (a, 'gpt-4o')", true}, {"model not in (a,b)", true}, {"model in (a)", false}, {"model IN(gpt-4o)", true},
    {"error.message = 'gr\xC3\xBCn \"x\"'", true}, {"error.message ~ '*\"x\"'", true},
    /* numbers and their units */
    {"latency_ms > 2000", true}, {"latency_ms > 2s", true}, {"latency_ms = 2000.001", true}, {"latency_ms >= 2000.002", false},
    {"latency_ms <= 2000.001", true}, {"latency_ms < 2000.001", false}, {"engine.load_ms = 500us", true},
    {"prompt_tokens = 10k", true}, {"prompt_tokens > 9999.5", true}, {"prompt_tokens ~ 1*", true}, {"prompt_tokens in (1, 10000)", true},
    {"cost_usd = $0.01", true}, {"cost_usd < 0.01", false}, {"tokens_per_second = 12.5", true}, {"http_status ~ 5xx", true},
    {"http_status ~ 4xx", false}, {"http_status != 503", false},
    /* times */
    {"timestamp = 2026-11-24T01:00:00Z", true}, {"timestamp > '1 hour ago'", false}, {"timestamp >= '1 hour ago'", true},
    {"timestamp > 61m and timestamp < now", true},
    /* flags, and names alone */
    {"stream", true}, {"stream = true", true}, {"stream != TRUE", false}, {"slow", false}, {"slow = false", true}, {"model", true},
    {"user", false}, {"not user", true}, {"metadata", true}, {"metadata.no", false}, {"metadata.nil", false}, {"metadata.run", true},
    /* what is not there */
    {"user = x", false}, {"user != x", true}, {"user ~ *", false}, {"user !~ *", true}, {"user in (x)", false}, {"user not in (x)", true},
    {"ttft_ms < 1", false}, {"ttft_ms >= 0", false}, {"ttft_ms != 1", true}, {"metadata.x = ''", false}, {"metadata.nil != a", true},
    /* metadata and bodies */
    {"metadata.team = red", true}, {"metadata.team = blue", false}, {"metadata.run = 7", true}, {"metadata.run = 7.0", true},
    {"metadata.run = '7'", true}, {"metadata.run = '7.0'", false}, {"metadata.text = 7", true}, {"metadata.text = '7'", false},
    {"metadata.run > 6.5", true}, {"metadata.run < 0.01k", true}, {"metadata.team > 1", false}, {"metadata.no = false", true},
    {"metadata.in.n.0.x = 1", true}, {"metadata.in.n.1.x = z", true}, {"metadata.in.n.2.x", false}, {"metadata.in.n.x", false},
    {"metadata.in.key < -20", true}, {"metadata.in.n", true}, {"metadata.none", false}, {"metadata.in ~ '*\"z\"*'", true},
    {"request.temperature = 0.25", true}, {"request.temperature = 25%", true}, {"response.id", false}, {"request ~ '*temp*'", true},
    /* tags */
    {"tag = prod", true}, {"tag = 'a b'", true}, {"tag = null", false}, {"tag != prod", false}, {"tag != x", true}, {"tag ~ p*", true},
    {"tag in (x, prod)", true}, {"tag", true}, {"metadata.tags = prod", true},
    /* and, or, not */
    {"stream and model", true}, {"stream and user", false}, {"user or stream", true}, {"user or slow", false},
    {"stream or user and slow", true}, {"(stream or user) and slow", false}, {"not stream or model", true}, {"not (stream or model)", false},
    {"user and slow or stream", true}, {"not not stream", true}, {"!stream", false}, {"!(user || slow) && stream", true},
    {"slow or user or model and not user", true}, {"stream and (user or (slow or (model ~ 'gpt*')))", true},
    {"NOT user AND stream", true}, {"stream in (true)", true},
};
// clang-format on

static void expressions_are_true_or_false(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        check(weir_line, cases[i].text, cases[i].want);
}

static void litellm_lines_are_understood(void **state)
{
    (void)state;
    check(litellm_line, "latency_ms = 1s and key_alias = k and timestamp < 1971-01-01", true);
    check(litellm_line, "tag = A and tag ~ 'User-Agent:*'", true);
    check(litellm_line, "tag = B", false);
    check(litellm_line, "metadata.team = blue and metadata.user_api_key_alias = k", true);
    check("{\"startTime\":1,\"endTime\":2,\"request_tags\":null,"
          "\"metadata\":{\"requester_metadata\":{\"tags\":[\"B\"]}}}",
          "tag = B", true);
    check("{\"event\":\"request\",\"model\":\"m\"}", "tag or metadata.a", false);
}

// clang-format off
static const struct { const char *text; int column; const char *sentence; } mistakes[] = {
    {"", 1, "expected the name of a field"}, {"  ", 3, "expected the name of a field"}, {"= 3", 1, "expected the name"},
    {"modle = x", 1, "did you mean model?"}, {"error = x", 1, "did you mean error.type?"}, {"Stream", 1, "did you mean stream?"},
    {"zzzzzzzzzzzz", 1, "got \"zzzzzzzzzzzz\"\n"}, {"tags = x", 1, "did you mean tag?"}, {"metadata.", 1, "behind each dot"},
    {"metadata..x", 1, "behind each dot"}, {"model =", 8, "expected a value to compare model with"}, {"model = and x", 13, "expected and, or, or the end"},
    {"model > x", 7, "model is a text: expected = != ~ !~ or in"}, {"latency_ms ~ 2*", 12, "latency_ms is a duration"},
    {"latency_ms > fast", 14, "expected a time, such as"}, {"prompt_tokens > 10m", 17, "expected a number"}, {"cost_usd > EUR1", 12, "in USD"},
    {"stream = 1", 10, "expected true or false"}, {"request = x", 9, "request is JSON"},
    {"timestamp > whenever", 13, "expected a moment"}, {"metadata.x > y", 14, "expected a number"}, {"model = 'x", 9, "a closing quote"},
    {"model in x", 10, "expected ("}, {"model in ()", 11, "expected a value"}, {"model in (a b)", 13, "expected , or )"}, {"model not x", 11, "expected in"},
    {"(model", 7, "expected and, or, or )"}, {"model)", 6, "the end"}, {"model = a b", 11, "needs quotes"}, {"model and", 10, "the name of a field"},
    {"model & slow", 7, "expected and, or, or the end"}, {"not", 4, "the name of a field"},
};
// clang-format on

static void mistakes_are_shown(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        char place[32];
        struct err e = {0};
        struct log_where *w = log_where_parse(str_from(mistakes[i].text), NOW_US, &e);
        if (w)
            fail_msg("%s was taken", mistakes[i].text);
        snprintf(place, sizeof place, "column %d: ", mistakes[i].column);
        if (!strstr(e.text, place) || !strstr(e.text, mistakes[i].sentence))
            fail_msg("%s: %s", mistakes[i].text, e.text);
    }
}

static struct log_where *parse_many(const char *piece, int times, const char *last, struct err *e)
{
    char *text = mem_alloc(strlen(piece) * (size_t)times + strlen(last) + 1);
    size_t n = 0;
    for (int i = 0; i < times; i++, n += strlen(piece))
        memcpy(text + n, piece, strlen(piece));
    memcpy(text + n, last, strlen(last));
    struct log_where *w = log_where_parse(str_from(text), NOW_US, e);
    mem_free(text);
    return w;
}

static void sizes_have_limits(void **state)
{
    (void)state;
    struct err steps = {0}, depth = {0}, name = {0};
    struct log_where *w = parse_many("slow or ", 127, "slow", &steps);
    assert_non_null(w);
    log_where_free(w);
    assert_null(parse_many("slow or ", 128, "slow", &steps));
    assert_non_null(strstr(steps.text, "at most 256 tests"));
    assert_null(parse_many("(", 100000, "", &depth));
    assert_non_null(strstr(depth.text, "at most 64 brackets"));
    w = parse_many("not ", 100000, "slow", &depth);
    assert_non_null(w);
    log_where_free(w);
    assert_null(parse_many("metadata.", 20, "a", &name));
    assert_non_null(strstr(name.text, "at most 95 bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_are_true_or_false),
        cmocka_unit_test(litellm_lines_are_understood),
        cmocka_unit_test(mistakes_are_shown),
        cmocka_unit_test(sizes_have_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
