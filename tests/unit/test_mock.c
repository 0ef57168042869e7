/* The simulator as a client sees it: a real one on a free port, spoken to over blocking sockets. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "mock/mock.h"
#include "net/sock.h"

#define ANSWER_BYTES_MAX (2 << 20)

static struct mock *mock;
static char *answer; /* of the last exchange, NUL-terminated */
static size_t answer_bytes;
static bool was_reset; /* the last exchange ended by a RST */

static int start(void **state)
{
    (void)state;
    struct mock_options o = {.host = STR("127.0.0.1"), .workers = 2};
    struct err e = {0};
    sim_knobs_init(&o.knobs);
    mock = mock_start(&o, &e);
    if (!mock)
        print_error("%s\n", e.text);
    answer = malloc(ANSWER_BYTES_MAX);
    return mock ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    mock_stop(mock);
    free(answer);
    return 0;
}

static uint16_t port_of(struct mock *m)
{
    unsigned port = 0;
    assert_int_equal(sscanf(mock_api_base(m).p, "http://127.0.0.1:%u/v1", &port), 1);
    return (uint16_t)port;
}

/* -1: refused. */
static int dial(uint16_t port)
{
    struct sock_addr to;
    assert_true(sock_addr_parse(STR("127.0.0.1"), port, &to));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, &to.any, to.len) == 0)
        return fd;
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    return -1;
}

static int ask_at(uint16_t port, const char *method, const char *path, const char *headers,
                  const char *body)
{
    char request[2048];
    int fd = dial(port);
    assert_true(fd >= 0);
    int n = snprintf(
        request, sizeof request,
        "%s %s HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n%scontent-length: %zu\r\n\r\n%s",
        method, path, headers, strlen(body), body);
    (void)!send(fd, request, (size_t)n, MSG_NOSIGNAL); /* a fault may have closed it already */
    return fd;
}

static int ask(const char *method, const char *path, const char *headers, const char *body)
{
    return ask_at(port_of(mock), method, path, headers, body);
}

static void read_to_end(int fd)
{
    ssize_t r;
    answer_bytes = 0;
    while ((r = read(fd, answer + answer_bytes, ANSWER_BYTES_MAX - 1 - answer_bytes)) > 0)
        answer_bytes += (size_t)r;
    was_reset = r < 0 && errno == ECONNRESET;
    close(fd);
    answer[answer_bytes] = '\0';
}

/* One request on a connection of its own, to the end. Returns the status; `answer` has head and
 * body. */
static int exchange(const char *method, const char *path, const char *headers, const char *body)
{
    int status = 0;
    read_to_end(ask(method, path, headers, body));
    assert_int_equal(sscanf(answer, "HTTP/1.1 %d", &status), 1);
    return status;
}

static int chat(const char *headers, const char *body)
{
    return exchange("POST", "/v1/chat/completions", headers, body);
}

static unsigned occurrences(const char *needle)
{
    unsigned n = 0;
    for (const char *at = answer; (at = strstr(at, needle)); at++)
        n++;
    return n;
}

#define PLAIN  "{\"model\":\"sim-fast\",\"messages\":[]}"
#define STREAM "{\"model\":\"sim-fast\",\"stream\":true,\"messages\":[]}"

/* A count of /mock/stats, by path of names. */
static int64_t stat_of(const char *first, const char *second)
{
    struct arena arena;
    arena_init(&arena, NULL, 0);
    assert_int_equal(exchange("GET", "/mock/stats", "", ""), 200);
    struct json_node *n = json_parse(&arena, str_from(strstr(answer, "\r\n\r\n") + 4), NULL);
    assert_non_null(n);
    n = json_get(n, first);
    if (n && second)
        n = json_get(n, second);
    int64_t value = n ? (int64_t)n->number : 0;
    arena_fini(&arena);
    return value;
}

static int reset(void **state)
{
    (void)state;
    return exchange("POST", "/mock/reset", "", "") == 200 &&
                   exchange("DELETE", "/mock/fault", "", "") == 200
               ? 0
               : -1;
}

static void the_same_request_gets_the_same_words(void **state)
{
    (void)state;
    char first[512];
    assert_int_equal(chat("", PLAIN), 200);
    snprintf(first, sizeof first, "%s", strstr(answer, "\"choices\""));
    assert_int_equal(chat("", PLAIN), 200);
    assert_string_equal(strstr(answer, "\"choices\""), first);
    assert_int_equal(chat("", "{\"model\":\"sim-fast\",\"messages\":[1]}"), 200);
    assert_string_not_equal(strstr(answer, "\"choices\""), first);
}

static void a_stream_has_a_frame_a_token(void **state)
{
    (void)state;
    assert_int_equal(chat("x-mock-tokens: 500\r\n", STREAM), 200);
    assert_int_equal(occurrences("data: {"), 1 + 500 + 1);
    assert_int_equal(occurrences("\"finish_reason\":\"stop\""), 1);
    assert_int_equal(occurrences("\"usage\""), 0);
    assert_non_null(strstr(answer, "data: [DONE]\n\n\r\n0\r\n\r\n"));
    assert_int_equal(
        chat("", "{\"model\":\"sim-fast\",\"stream\":true,\"max_tokens\":3,\"n\":2,\"messages\":[],"
                 "\"stream_options\":{\"include_usage\":true}}"),
        200);
    assert_int_equal(occurrences("data: {"), 2 * (1 + 3 + 1) + 1);
    assert_int_equal(occurrences("\"usage\":null"), 2 * (1 + 3 + 1));
    assert_int_equal(occurrences("\"completion_tokens\":6,"), 1);
    assert_int_equal(occurrences("\"finish_reason\":\"length\""), 2);
}

static void headers_make_it_fail(void **state)
{
    (void)state;
    assert_int_equal(chat("x-mock-status: 429\r\nx-mock-retry-after: 7\r\n", PLAIN), 429);
    assert_non_null(strstr(answer, "\r\nretry-after: 7\r\n"));
    assert_int_equal(chat("x-mock-cut-after: 2\r\n", STREAM), 200);
    assert_int_equal(occurrences("data: {"), 1 + 2);
    assert_null(strstr(answer, "\r\n0\r\n\r\n")); /* the body's end was never sent */
    assert_int_equal(chat("x-mock-error-in-stream: 2\r\n", STREAM), 200);
    assert_int_equal(occurrences("data: {\"error\":"), 1);
    assert_null(strstr(answer, "[DONE]"));
    assert_int_equal(chat("x-mock-cut-after: 0\r\n", PLAIN), 200);
    assert_null(strstr(answer, "\"usage\""));
    assert_int_equal(chat("x-mock-wrong: 2\r\n", PLAIN), 400);
    assert_int_equal(stat_of("requests", NULL), 5);
    assert_int_equal(stat_of("completed", NULL), 2);
    assert_int_equal(stat_of("cut", NULL), 2);
    assert_int_equal(stat_of("stream_errors", NULL), 1);
    assert_int_equal(stat_of("partial_tokens", NULL), 4);
    assert_int_equal(stat_of("status", "429"), 1);
    assert_int_equal(stat_of("in_flight", NULL), 0);
}

static void a_client_that_leaves_is_counted(void **state)
{
    (void)state;
    char some[4096];
    int fd = ask("POST", "/v1/chat/completions", "x-mock-stall-after: 3\r\n", STREAM);
    assert_true(read(fd, some, sizeof some) > 0);
    assert_int_equal(stat_of("in_flight", NULL), 1);
    close(fd);
    for (int i = 0; i < 200 && stat_of("cancelled", NULL) == 0; i++)
        usleep(5000);
    assert_int_equal(stat_of("cancelled", NULL), 1);
    assert_int_equal(stat_of("partial_tokens", NULL), 3);
    assert_int_equal(stat_of("in_flight", NULL), 0);
}

static void tokens_are_not_sent_early(void **state)
{
    (void)state;
    const char *pace =
        "x-mock-ttft-ms: 40\r\nx-mock-tokens-per-second: 200\r\nx-mock-tokens: 9\r\n";
    uint64_t began_ns = clock_mono_ns();
    assert_int_equal(chat(pace, STREAM), 200);
    assert_true(clock_mono_ns() - began_ns >= 80 * NS_PER_MS); /* 40 + 8 × 5 */
    began_ns = clock_mono_ns();
    assert_int_equal(chat(pace, PLAIN), 200);
    assert_true(clock_mono_ns() - began_ns >= 80 * NS_PER_MS);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *body, *says;
    } rows[] = {
        {"{\"model\":\"sim-fast\",", "could not parse the JSON body of your request: byte "},
        {"{\"messages\":[]}", "you must provide a model parameter"},
        {"{\"model\":\"m\"}", "messages: expected an array of messages"},
        {"{\"model\":\"m\",\"messages\":[],\"n\":129}", "n: expected a whole number from 1 to 128"},
        {"{\"model\":\"m\",\"messages\":[],\"max_tokens\":0}", "max_tokens: expected"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(chat("", rows[i].body), 400);
        assert_non_null(strstr(answer, rows[i].says));
    }
    assert_int_equal(exchange("GET", "/v1/nothing", "", ""), 404);
    assert_int_equal(exchange("GET", "/v1/completions", "", ""), 405);
    assert_int_equal(stat_of("status", "400"), (int64_t)COUNT(rows));
}

static void the_other_endpoints(void **state)
{
    (void)state;
    assert_int_equal(exchange("GET", "/v1/models", "", ""), 200);
    assert_int_equal(occurrences("\"object\":\"model\""), sim_model_count);
    assert_int_equal(exchange("GET", "/models/sim-long", "", ""), 200);
    assert_int_equal(exchange("GET", "/v1/models/sim-none", "", ""), 404);
    assert_int_equal(exchange("GET", "/health", "", ""), 200);
    assert_int_equal(
        exchange("POST", "/embeddings", "", "{\"model\":\"sim-embed\",\"input\":[\"a b\",\"c\"]}"),
        200);
    assert_int_equal(occurrences("\"object\":\"embedding\""), 2);
    assert_non_null(strstr(answer, "\"prompt_tokens\":2,"));
    assert_int_equal(
        exchange("POST", "/embeddings", "", "{\"model\":\"sim-embed\",\"input\":[1,2,3]}"), 200);
    assert_int_equal(occurrences("\"object\":\"embedding\""), 1);
    assert_int_equal(exchange("POST", "/completions", "",
                              "{\"model\":\"m\",\"prompt\":\"a b c\",\"max_tokens\":2}"),
                     200);
    assert_non_null(strstr(answer, "\"prompt_tokens\":3,\"completion_tokens\":2,"));
}

static void flaky_fails_by_share_and_again_after_a_reset(void **state)
{
    (void)state;
    int first[60], failed = 0;
    for (int round = 0; round < 2; round++) {
        reset(NULL);
        for (size_t i = 0; i < COUNT(first); i++) {
            int status = chat("", "{\"model\":\"sim-flaky\",\"messages\":[]}");
            if (round == 0) {
                first[i] = status;
                failed += status != 200;
            }
            assert_int_equal(status, first[i]);
        }
    }
    assert_in_range(failed, 8, 30);
    assert_int_equal(stat_of("status", "200"), (int64_t)COUNT(first) - failed);
}

/* ---- faults ---- */

static bool is_whole(void)
{
    const char *end = strstr(answer, "\r\n0\r\n\r\n");
    return (end && strstr(answer, "[DONE]")) || strstr(answer, "\"usage\":{");
}

/* Faults that are over by themselves: what is read until the connection ends. */
static void faults_are_what_they_say(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool reset;
        const char *begins, *has; /* has: or NULL */
    } rows[] = {
        {"close-before-head", false, "", NULL},
        {"reset-before-head", true, "", NULL},
        {"garbage", false, "220 ", NULL},
        {"cut-head", false, "HTTP/1.1 200 OK\r\nconte", NULL},
        {"context-window", false, "HTTP/1.1 400 ", "\"code\":\"context_length_exceeded\"}}"},
        {"content-policy", false, "HTTP/1.1 400 ", "\"code\":\"content_policy_violation\"}}"},
        {"content-filter", false, "HTTP/1.1 400 ", "\"code\":\"content_filter\""},
        {"html-error", false, "HTTP/1.1 502 ", "text/html"},
        {"huge-error", false, "HTTP/1.1 500 ", "content-length: 1048"},
        {"error-in-200", false, "HTTP/1.1 200 ", "\r\n\r\n{\"error\":{"},
        {"empty-200", false, "HTTP/1.1 200 ", "content-length: 0\r\n"},
        {"not-json", false, "HTTP/1.1 200 ", "application/json"},
        {"cut-json", false, "HTTP/1.1 200 ", "\r\n\r\n{\"id\":"},
        {"length-too-short", false, "HTTP/1.1 200 ", "content-length: "},
        {"length-too-long", false, "HTTP/1.1 200 ", "content-length: "},
        {"cut-chunk", false, "HTTP/1.1 200 ", "transfer-encoding: chunked\r\n"},
        {"cut-after", false, "HTTP/1.1 200 ", NULL},
        {"reset-after", true, "HTTP/1.1 200 ", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int stream = 0; stream < 2; stream++) {
            char header[64];
            snprintf(header, sizeof header, "x-mock-%s:\r\n", rows[i].header);
            read_to_end(ask("POST", "/v1/chat/completions", header, stream ? STREAM : PLAIN));
            assert_int_equal(strncmp(answer, rows[i].begins, strlen(rows[i].begins)), 0);
            assert_true(!rows[i].has || strstr(answer, rows[i].has));
            assert_int_equal(was_reset, rows[i].reset);
            bool lengths = strncmp(rows[i].header, "length", 6) == 0; /* the bytes are all there */
            assert_true(lengths || !is_whole());
            assert_int_equal(stat_of("faults", rows[i].header), stream + 1);
        }
    }
    assert_int_equal(stat_of("requests", NULL), 2 * COUNT(rows));
    assert_int_equal(stat_of("in_flight", NULL), 0);
}

/* Content-Length of the last answer, and the bytes that came behind its head. */
static void lengths(size_t *said, size_t *came)
{
    const char *at = strstr(answer, "content-length: "), *body = strstr(answer, "\r\n\r\n");
    assert_non_null(at);
    *said = (size_t)strtoul(at + strlen("content-length: "), NULL, 10);
    *came = strlen(body + 4);
}

static void wrong_lengths_are_wrong_by_so_much(void **state)
{
    (void)state;
    size_t said, came;
    assert_int_equal(chat("x-mock-length-too-long:\r\n", PLAIN), 200);
    lengths(&said, &came);
    assert_int_equal(said, came + 100);
    assert_int_equal(chat("x-mock-length-too-short:\r\n", PLAIN), 200);
    lengths(&said, &came);
    assert_int_equal(said, came / 2);
    assert_int_equal(chat("x-mock-cut-json:\r\n", PLAIN), 200);
    lengths(&said, &came);
    assert_int_equal(said, came);
}

/* Those that end when the client has had enough. */
static void hanging_answers_are_counted_when_the_client_leaves(void **state)
{
    (void)state;
    static const struct {
        const char *header, *sends;
    } rows[] = {{"hang-head", ""},
                {"hang-in-head", "HTTP/1.1 200 OK\r\nconte"},
                {"hang-body", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-l"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char header[64], some[1024];
        snprintf(header, sizeof header, "x-mock-%s:\r\n", rows[i].header);
        int fd = ask("POST", "/v1/chat/completions", header, PLAIN);
        usleep(30000);
        ssize_t n = recv(fd, some, sizeof some, MSG_DONTWAIT);
        assert_int_equal(MAX(n, 0) > 0, rows[i].sends[0] != '\0');
        if (n > 0)
            assert_memory_equal(some, rows[i].sends, strlen(rows[i].sends));
        assert_int_equal(stat_of("in_flight", NULL), 1);
        uint64_t left_ns = clock_mono_ns();
        close(fd);
        for (int k = 0; k < 200 && stat_of("cancelled", NULL) == (int64_t)i; k++)
            usleep(5000);
        assert_int_equal(stat_of("cancelled", NULL), i + 1);
        assert_true((uint64_t)stat_of("last_cancel_ns", NULL) >= left_ns);
        assert_true((uint64_t)stat_of("last_cancel_ns", NULL) < clock_mono_ns());
        assert_in_range(stat_of("last_cancel_after_ms", NULL), 15, 30000);
        assert_int_equal(stat_of("faults", rows[i].header), 1);
    }
}

static void slow_answers_are_whole_in_the_end(void **state)
{
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        const char *body = stream ? STREAM : PLAIN;
        uint64_t began_ns = clock_mono_ns();
        assert_int_equal(chat("x-mock-slow-head: 2\r\nx-mock-tokens: 1\r\n", body), 200);
        assert_true(clock_mono_ns() - began_ns > 100 * NS_PER_MS);
        assert_true(is_whole());
        assert_int_equal(chat("x-mock-slow-bytes:\r\nx-mock-tokens: 1\r\n", body), 200);
        assert_true(is_whole());
    }
    assert_int_equal(stat_of("completed", NULL), 4);
    assert_int_equal(stat_of("completion_tokens", NULL), 4);
}

static void an_end_may_be_missing(void **state)
{
    (void)state;
    assert_int_equal(chat("x-mock-no-end:\r\n", STREAM), 200);
    assert_non_null(strstr(answer, "\r\n0\r\n\r\n"));
    assert_null(strstr(answer, "[DONE]"));
    assert_null(strstr(answer, "\"finish_reason\":\"stop\""));
    assert_int_equal(chat("x-mock-error-in-stream: 0\r\n", STREAM), 200);
    assert_int_equal(occurrences("data: "), 1);
    assert_int_equal(chat("x-mock-status: 503\r\nx-mock-retry-after-ms: 20\r\n"
                          "x-mock-retry-after-date: 60\r\n",
                          PLAIN),
                     503);
    assert_non_null(strstr(answer, "\r\nretry-after-ms: 20\r\n"));
    assert_non_null(strstr(answer, " GMT\r\n"));
}

static int set_fault(const char *body)
{
    return exchange("POST", "/mock/fault", "", body);
}

static void rules_choose_requests(void **state)
{
    (void)state;
    int failed = 0;
    assert_int_equal(set_fault("{\"fault\":\"status=503\",\"model\":\"m\",\"count\":2}"), 200);
    assert_int_equal(set_fault("{\"fault\":\"status\",\"value\":404}"), 200);
    static const int m[] = {503, 503, 404, 404};
    for (size_t i = 0; i < COUNT(m); i++)
        assert_int_equal(chat("", "{\"model\":\"m\",\"messages\":[]}"), m[i]);
    assert_int_equal(chat("x-mock-status: 418\r\n", PLAIN), 418); /* the request's own word */
    assert_int_equal(set_fault("{\"fault\":\"status=500,retry-after=3\",\"share\":0.3}"), 200);
    for (int i = 0; i < 50; i++)
        failed += chat("", PLAIN) == 500 && strstr(answer, "\r\nretry-after: 3\r\n");
    assert_int_equal(failed, 15);
    assert_int_equal(exchange("GET", "/mock/faults", "", ""), 200);
    assert_non_null(strstr(answer, "{\"name\":\"hang-head\","));
    assert_non_null(strstr(answer,
                           "\"set\":[{\"model\":\"\",\"fault\":\"status=500,retry-after=3\","
                           "\"left\":-1,\"share\":0.3}]"));
    assert_int_equal(set_fault("{\"fault\":\"none\"}"), 200);
    assert_int_equal(chat("", PLAIN), 200);
}

static void wrong_rules_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *says;
    } rows[] = {
        {"[", "expected a value or ']'"},
        {"3", "expected a JSON object"},
        {"{\"fault\":\"hang-hed\"}", "\\\"hang-hed\\\" is no fault"},
        {"{\"fault\":\"status=200\"}", "status: expected a whole number from 400 to 599"},
        {"{\"fault\":\"status=500,\",\"value\":1}", "is no fault"},
        {"{\"value\":3}", "fault: expected the name of a fault"},
        {"{\"fault\":\"garbage\",\"share\":1.5}", "share: expected a number from 0 to 1"},
        {"{\"fault\":\"garbage\",\"count\":0}", "count: expected"},
        {"{\"fault\":\"garbage\",\"modle\":\"m\"}", "modle: expected one of"},
        {"{\"fault\":\"refuse\",\"model\":\"m\"}", "it is about connections"},
        {"{\"fault\":\"refuse,garbage\"}", "one fault at a time"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(set_fault(rows[i].body), 400);
        assert_non_null(strstr(answer, rows[i].says));
    }
    assert_int_equal(chat("x-mock-refuse: 1\r\n", PLAIN), 400);
    assert_int_equal(chat("", PLAIN), 200);
}

static void a_port_refuses_closes_and_resets(void **state)
{
    (void)state;
    struct mock_options o = {.host = STR("127.0.0.1"), .workers = 1};
    struct err e = {0};
    sim_knobs_init(&o.knobs);
    struct mock *m = mock_start(&o, &e);
    assert_non_null(m);
    uint16_t port = port_of(m), control = mock_control_port(m);
    assert_true(control != 0);
    int kept = dial(port);
    static const struct {
        const char *fault;
        bool refused, reset;
    } rows[] = {{"refuse", true, false},
                {"close-on-accept", false, false},
                {"reset-on-accept", false, true},
                {"refuse", true, false}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char body[64], some[16];
        snprintf(body, sizeof body, "{\"fault\":\"%s\"}", rows[i].fault);
        read_to_end(ask_at(control, "POST", "/mock/fault", "", body));
        assert_non_null(strstr(answer, "200 OK"));
        int fd = dial(port);
        assert_int_equal(fd < 0, rows[i].refused);
        if (fd >= 0) {
            ssize_t n = read(fd, some, sizeof some);
            assert_int_equal(n, rows[i].reset ? -1 : 0);
            close(fd);
        }
        if (i == 0)
            assert_int_equal(read(kept, some, sizeof some), 0); /* idle ones are closed, too */
        read_to_end(ask_at(control, "DELETE", "/mock/fault", "", ""));
        read_to_end(ask_at(port, "POST", "/v1/chat/completions", "", PLAIN));
        assert_non_null(strstr(answer, "HTTP/1.1 200 OK"));
    }
    read_to_end(ask_at(control, "GET", "/mock/stats", "", ""));
    assert_non_null(strstr(answer, "\"connections\":{\"accepted\":7,\"turned_away\":2}"));
    close(kept);
    mock_stop(m);
}

static void faults_may_be_given_at_the_start(void **state)
{
    (void)state;
    static const struct {
        const char *faults, *wrong; /* wrong: NULL where they are right */
    } rows[] = {
        {"status=404 a:b:status=429", NULL},
        {" refuse", NULL},
        {"hang-hed", "--fault hang-hed: \"hang-hed\" is no fault"},
        {"m:refuse", "a model does not go with it"},
        {"m:", "is no fault"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mock_options o = {
            .host = STR("127.0.0.1"), .workers = 1, .faults = str_from(rows[i].faults)};
        struct err e = {0};
        sim_knobs_init(&o.knobs);
        struct mock *m = mock_start(&o, &e);
        assert_int_equal(m == NULL, rows[i].wrong != NULL);
        if (rows[i].wrong)
            assert_non_null(strstr(e.text, rows[i].wrong));
        if (i == 0) {
            read_to_end(ask_at(port_of(m), "POST", "/v1/chat/completions", "", PLAIN));
            assert_non_null(strstr(answer, " 404 "));
            read_to_end(ask_at(port_of(m), "POST", "/v1/chat/completions", "",
                               "{\"model\":\"a:b\",\"messages\":[]}"));
            assert_non_null(strstr(answer, " 429 "));
        } else if (m) {
            assert_int_equal(dial(port_of(m)), -1);
        }
        mock_stop(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_same_request_gets_the_same_words, reset),
        cmocka_unit_test_setup(a_stream_has_a_frame_a_token, reset),
        cmocka_unit_test_setup(headers_make_it_fail, reset),
        cmocka_unit_test_setup(a_client_that_leaves_is_counted, reset),
        cmocka_unit_test_setup(tokens_are_not_sent_early, reset),
        cmocka_unit_test_setup(what_is_wrong_is_said, reset),
        cmocka_unit_test_setup(the_other_endpoints, reset),
        cmocka_unit_test_setup(flaky_fails_by_share_and_again_after_a_reset, reset),
        cmocka_unit_test_setup(faults_are_what_they_say, reset),
        cmocka_unit_test_setup(wrong_lengths_are_wrong_by_so_much, reset),
        cmocka_unit_test_setup(hanging_answers_are_counted_when_the_client_leaves, reset),
        cmocka_unit_test_setup(slow_answers_are_whole_in_the_end, reset),
        cmocka_unit_test_setup(an_end_may_be_missing, reset),
        cmocka_unit_test_setup(rules_choose_requests, reset),
        cmocka_unit_test_setup(wrong_rules_are_refused, reset),
        cmocka_unit_test_setup(a_port_refuses_closes_and_resets, reset),
        cmocka_unit_test_setup(faults_may_be_given_at_the_start, reset),
    };
    return cmocka_run_group_tests_name("mock", tests, start, stop);
}
