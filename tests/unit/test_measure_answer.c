#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/h1.h"
#include "measure/answer.h"

/* ---- one answer read, and what was found as text ---- */

#define HEAD_STREAM                                                                                \
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: r1\r\n"                   \
    "transfer-encoding: chunked\r\n\r\n"
#define HEAD_JSON                                                                                  \
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: r1\r\n"                    \
    "content-length: 9\r\n\r\n"
#define HEAD_STATUS(status)                                                                        \
    "HTTP/1.1 " status " X\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"

/* Pieces arrive at 1000, 1100, 1200 ...; `cut`: bytes a piece, 0: at the ends of events. */
struct way {
    size_t cut;
    bool no_patterns, stream, embeds;
};

struct outcome_seen {
    struct sample sample;
    uint64_t gaps[64];
    uint32_t flaws;
    char kinds[64];
};

static void note_kind(struct answer *a, enum event_kind kind, struct str data, uint64_t arrived_ns)
{
    static const char letters[] = {
        [EVENT_ROLE] = 'r',   [EVENT_CONTENT] = 'c', [EVENT_REASONING] = 't', [EVENT_TOOL] = 'f',
        [EVENT_FINISH] = 'F', [EVENT_USAGE] = 'U',   [EVENT_DONE] = 'D',      [EVENT_ERROR] = 'E',
        [EVENT_OTHER] = 'o',  [EVENT_BAD] = 'B'};
    char *kinds = a->user;
    size_t n = strlen(kinds);
    (void)arrived_ns;
    assert_non_null(data.p);
    if (n < 63)
        kinds[n] = letters[kind];
}

static size_t piece_bytes(struct str rest, size_t cut)
{
    if (cut)
        return MIN(cut, rest.n);
    const char *end = memmem(rest.p, rest.n, "\n\n", 2);
    return end ? (size_t)(end + 2 - rest.p) : rest.n;
}

/* Each piece is memory of its own size, so that sanitizers see what is read behind it. */
static void feed(struct answer *a, struct str piece, uint64_t arrived_ns)
{
    char *copy = mem_alloc(piece.n ? piece.n : 1);
    memcpy(copy, piece.p, piece.n);
    answer_body(a, (struct str){copy, piece.n}, arrived_ns);
    mem_free(copy);
}

static struct outcome_seen read_answer(const char *head, struct str body, struct way w)
{
    struct outcome_seen seen = {0};
    struct answer a;
    struct h1_head h;
    static uint64_t gaps[GAPS_KEPT];
    assert_int_equal(h1_parse_response(head, strlen(head), false, &h, NULL), ERR_NONE);
    answer_init(&a, NULL, gaps);
    a.no_patterns = w.no_patterns;
    a.embeds = w.embeds;
    a.on_event = note_kind;
    a.user = seen.kinds;
    seen.sample.stream = w.stream;
    answer_begin(&a, &seen.sample);
    answer_head(&a, &h, 900);
    uint64_t now = 1000;
    while (body.n) {
        size_t n = piece_bytes(body, w.cut);
        feed(&a, (struct str){body.p, n}, now);
        now += 100;
        body = str_skip(body, n);
    }
    answer_end(&a);
    seen.flaws = a.flaws;
    memcpy(seen.gaps, gaps, MIN(seen.sample.gap_count, COUNT(seen.gaps)) * sizeof *gaps);
    seen.sample.gaps_ns = NULL;
    answer_fini(&a);
    return seen;
}

static struct outcome_seen read_stream(const char *body)
{
    return read_answer(HEAD_STREAM, str_from(body), (struct way){.stream = true});
}

static struct outcome_seen read_json(const char *body)
{
    return read_answer(HEAD_JSON, str_from(body), (struct way){0});
}

/* ---- streams ---- */

#define DELTA(inside)                                                                              \
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{" inside                            \
    "},\"finish_reason\":null}],\"usage\":null}\n\n"
#define ROLE     DELTA("\"role\":\"assistant\",\"content\":\"\"")
#define WORD(w)  DELTA("\"content\":\"" w "\"")
#define THINK(w) DELTA("\"reasoning_content\":\"" w "\"")
#define FINISH                                                                                     \
    "data: "                                                                                       \
    "{\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE                                                                                      \
    "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,"  \
    "\"prompt_tokens_details\":{\"cached_tokens\":2},"                                             \
    "\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\n\n"
#define DONE "data: [DONE]\n\n"
#define GOOD ROLE THINK("hm") WORD("a") WORD(" b") FINISH USAGE DONE

static void marks_of_a_stream(void **state)
{
    (void)state;
    struct outcome_seen o = read_stream(GOOD);
    const struct sample *s = &o.sample;
    assert_string_equal(o.kinds, "rtccFUD");
    assert_int_equal(s->outcome, OUTCOME_OK);
    assert_string_equal(s->error, "");
    assert_int_equal(s->http_status, 200);
    assert_int_equal(s->head_ns, 900);
    assert_int_equal(s->first_event_ns, 1000); /* the role is no token */
    assert_int_equal(s->first_token_ns, 1100);
    assert_int_equal(s->first_content_ns, 1200);
    assert_int_equal(s->last_token_ns, 1300);
    assert_int_equal(s->usage_ns, 1500);
    assert_int_equal(s->done_ns, 1600);
    assert_int_equal(s->chunks, 3);
    assert_int_equal(s->gap_count, 2);
    assert_int_equal(o.gaps[0], 100);
    assert_int_equal(o.gaps[1], 100);
    assert_int_equal(s->longest_gap_ns, 100);
    assert_int_equal(s->prompt_tokens, 7);
    assert_int_equal(s->completion_tokens, 3);
    assert_int_equal(s->cached_tokens, 2);
    assert_int_equal(s->reasoning_tokens, 1);
    assert_false(s->tokens_counted);
    assert_string_equal(s->finish_reason, "stop");
    assert_int_equal(s->body_bytes, strlen(GOOD));
    assert_int_equal(o.flaws, 0);
}

static void ends_of_streams(void **state)
{
    static const struct {
        const char *body;
        enum outcome outcome;
        uint32_t flaws;
        const char *error;
    } rows[] = {
        {WORD("a") FINISH, OUTCOME_TRUNCATED, FLAW_NO_DONE | FLAW_NO_USAGE,
         "the stream ended without [DONE]"},
        {WORD("a") USAGE DONE, OUTCOME_TRUNCATED, FLAW_NO_FINISH_REASON | FLAW_USAGE_MISMATCH,
         "the stream ended without a finish_reason"},
        {"", OUTCOME_TRUNCATED, FLAW_NO_DONE | FLAW_NO_FINISH_REASON | FLAW_NO_USAGE,
         "the stream ended without an event"},
        {ROLE FINISH USAGE DONE, OUTCOME_EMPTY, FLAW_USAGE_MISMATCH,
         "there is no content in the answer"},
        {WORD("a") "data: {oops\n\n" FINISH USAGE DONE, OUTCOME_INVALID,
         FLAW_BAD_EVENT | FLAW_USAGE_MISMATCH, "an event that is not JSON: {oops"},
        {WORD("a") "data: {\"error\":{\"message\":\"key sk-abcdefgh12345678 is used "
                   "up\",\"code\":429}}\n\n" DONE,
         OUTCOME_STREAM_ERROR, FLAW_NO_FINISH_REASON | FLAW_NO_USAGE,
         "an error inside the stream: key sk-*** is used up"},
        {"event: error\ndata: overloaded\n\n", OUTCOME_STREAM_ERROR,
         FLAW_NO_DONE | FLAW_NO_FINISH_REASON | FLAW_NO_USAGE | FLAW_BAD_EVENT,
         "an error inside the stream: overloaded"},
        {"data: {\"error\":\"no\\nway\"}\n\n", OUTCOME_STREAM_ERROR,
         FLAW_NO_DONE | FLAW_NO_FINISH_REASON | FLAW_NO_USAGE,
         "an error inside the stream: no way"},
        {GOOD WORD("x"), OUTCOME_OK, FLAW_AFTER_DONE | FLAW_USAGE_MISMATCH, ""},
        {DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"now\",\"arguments\":\"\"}}]")
             FINISH USAGE DONE,
         OUTCOME_OK, FLAW_USAGE_MISMATCH, ""},
        {": waits\n\n" ROLE WORD("a") FINISH DONE ": bye\n\n", OUTCOME_OK, FLAW_NO_USAGE, ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct outcome_seen o = read_stream(rows[i].body);
        if (o.sample.outcome != rows[i].outcome || o.flaws != rows[i].flaws ||
            strcmp(o.sample.error, rows[i].error) != 0)
            fail_msg("row %zu: outcome %d, flaws %x, error \"%s\"", i, o.sample.outcome, o.flaws,
                     o.sample.error);
    }
}

static void whole_answers(void **state)
{
    static const struct {
        const char *body;
        enum outcome outcome;
        const char *error;
    } rows[] = {
        {"{\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}],\"usage\":{"
         "\"prompt_tokens\":1,\"completion_tokens\":2}}",
         OUTCOME_OK, ""},
        {"{\"choices\":[{\"text\":\"hi\",\"finish_reason\":\"length\"}]}", OUTCOME_OK, ""},
        {"{\"choices\":[{\"message\":{\"content\":null,\"tool_calls\":[{\"function\":{\"name\":"
         "\"f\",\"arguments\":\"\"}}]},\"finish_reason\":\"tool_calls\"}]}",
         OUTCOME_OK, ""},
        {"{\"choices\":[{\"message\":{\"content\":\"\"},\"finish_reason\":\"stop\"}]}",
         OUTCOME_EMPTY, "there is no content in the answer"},
        {"{\"choices\":[", OUTCOME_INVALID, "the answer is not JSON: {\"choices\":["},
        {"<html>", OUTCOME_INVALID, "the answer is not JSON: <html>"},
        {"", OUTCOME_INVALID, "the answer is not JSON"},
        {"{\"error\":{\"message\":\"no \\u00e4\"}}", OUTCOME_STREAM_ERROR,
         "an error under a status of success: no \xC3\xA4"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct outcome_seen o = read_json(rows[i].body);
        if (o.sample.outcome != rows[i].outcome || strcmp(o.sample.error, rows[i].error) != 0)
            fail_msg("row %zu: outcome %d, error \"%s\"", i, o.sample.outcome, o.sample.error);
        assert_int_equal(o.sample.chunks, 0);
        assert_int_equal(o.sample.first_token_ns, 0);
    }
}

/* ---- what does not depend on pieces and patterns ---- */

static const char *const streams[] = {
    GOOD,
    ROLE WORD("a") WORD("b") WORD("\\n") WORD("\\u00e4\\\"") WORD("\xC3\xA4\xF0\x9F\x98\x80")
        WORD("c") FINISH USAGE DONE,
    /* what looks like the pattern and is not: an end within, broken escapes and characters, empty texts */
    WORD("a") WORD("b\",\"x\":\"c") WORD("\\") WORD("d\\") WORD("\\x") WORD("\\u12") WORD("\\u12g4")
        WORD("\xC3") WORD("\x01") WORD("") WORD("e"),
    WORD("a") WORD("b\"},\"finish_reason\":\"stop\"}],\"x\":[{\"d\":{\"content\":\"") WORD("z")
        DONE,
    THINK("a") THINK("b") WORD("c") THINK("d") WORD("e") WORD("f") FINISH USAGE DONE,
    DELTA("\"content\":\"a\",\"reasoning\":\"b\"") DELTA("\"content\":\"\",\"reasoning\":\"b\"")
        DELTA("\"content\":\"c\",\"reasoning\":\"\"") FINISH DONE,
    DELTA("\"content\":\"a\",\"content\":\"b\"") DELTA("\"content\":\"a\",\"content\":\"\"")
        FINISH DONE,
    DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"now\",\"arguments\":\"\"}}]")
        DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\"}}]")
            DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\\\":1}\"}}]")
                FINISH DONE,
    "event: error\n" WORD("a") WORD("b") "event: error\n" WORD("c"),
    "data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: {\"choices\":[{\"text\":\"bc\"}]}\n\ndata: "
    "{\"choices\":[{\"text\":\"d\",\"finish_reason\":\"length\"}]}\n\n" DONE WORD("x"),
    ": hello\n\n" WORD("a") "data\n\n" WORD(
        "b") "data: {\"error\":null}\n\ndata: {\"error\":{}}\n\n" WORD("c"),
    "data: {\"choices\":\ndata: [{\"text\":\"a\"}]}\n\n"
    "data: {\"choices\":\ndata: [{\"text\":\"b\"}]}\n\n" DONE,
};

/* All but times and what is behind the strings' ends. */
static void print(char *out, size_t room, const struct outcome_seen *o)
{
    const struct sample *s = &o->sample;
    snprintf(
        out, room,
        "%s outcome %d flaws %x chunks %u gaps %u tokens %lld/%lld/%lld/%lld%s finish %s error %s "
        "bytes %llu reached %d%d%d%d%d%d",
        o->kinds, s->outcome, o->flaws, s->chunks, s->gap_count, (long long)s->prompt_tokens,
        (long long)s->completion_tokens, (long long)s->cached_tokens,
        (long long)s->reasoning_tokens, s->tokens_counted ? " counted" : "", s->finish_reason,
        s->error, (unsigned long long)s->body_bytes, s->first_event_ns != 0, s->first_token_ns != 0,
        s->first_content_ns != 0, s->last_token_ns != 0, s->usage_ns != 0, s->done_ns != 0);
}

static void the_same_however_it_is_cut(void **state)
{
    char expected[1024], got[1024];
    (void)state;
    for (size_t i = 0; i < COUNT(streams); i++) {
        struct str body = str_from(streams[i]);
        struct outcome_seen slow =
            read_answer(HEAD_STREAM, body, (struct way){.stream = true, .no_patterns = true});
        print(expected, sizeof expected, &slow);
        for (size_t cut = 0; cut <= body.n; cut++)
            for (int no_patterns = 0; no_patterns < 2; no_patterns++) {
                struct way w = {.cut = cut, .stream = true, .no_patterns = no_patterns};
                struct outcome_seen o = read_answer(HEAD_STREAM, body, w);
                print(got, sizeof got, &o);
                if (strcmp(got, expected) != 0)
                    fail_msg("stream %zu, pieces of %zu, patterns %d:\n%s\n%s", i, cut,
                             !no_patterns, expected, got);
            }
        /* An event's time is that of its last byte. */
        struct outcome_seen bytes =
            read_answer(HEAD_STREAM, body, (struct way){.cut = 1, .stream = true});
        if (i == 0)
            assert_int_equal(bytes.sample.first_token_ns,
                             1000 + 100 * (strlen(ROLE THINK("hm")) - 1));
    }
}

static void patterns_are_used(void **state)
{
    struct sample s = {.stream = true};
    struct answer a;
    struct h1_head h;
    (void)state;
    assert_int_equal(h1_parse_response(HEAD_STREAM, strlen(HEAD_STREAM), false, &h, NULL),
                     ERR_NONE);
    answer_init(&a, NULL, NULL);
    answer_begin(&a, &s);
    answer_head(&a, &h, 1);
    answer_body(&a, STR(WORD("a")), 2);
    assert_true(a.pattern.head_bytes > 0);
    /* The scanner would leave its traces. */
    memset(&a.json, 0, sizeof a.json);
    answer_body(&a, STR(WORD("b") WORD("\\t\xC3\xA4")), 3);
    assert_int_equal(s.chunks, 3);
    assert_int_equal(a.json.offset, 0);
    answer_body(&a, STR(WORD("")), 4);
    assert_int_not_equal(a.json.offset, 0);
    assert_int_equal(s.chunks, 3);
    answer_fini(&a);
}

/* ---- whole answers that are like a former one ---- */

#define LIKE(id, text, finish, prompt, completion)                                                 \
    "{\"id\":\"" id "\",\"choices\":[{\"message\":{\"content\":\"" text                            \
    "\",\"refusal\":null},\"finish_reason\":\"" finish "\"}],\"usage\":{\"prompt_tokens\":" prompt \
    ",\"completion_tokens\":" completion "}}"
#define FORMER LIKE("c-1", "a \\u00e4", "stop", "7", "16")

static void read_whole(struct answer *a, const char *body, size_t cut, struct outcome_seen *seen)
{
    struct h1_head h;
    assert_int_equal(h1_parse_response(HEAD_JSON, strlen(HEAD_JSON), false, &h, NULL), ERR_NONE);
    *seen = (struct outcome_seen){0};
    answer_begin(a, &seen->sample);
    answer_head(a, &h, 900);
    for (struct str rest = str_from(body); rest.n;) {
        size_t n = MIN(rest.n, cut);
        feed(a, (struct str){rest.p, n}, 1000);
        rest = str_skip(rest, n);
    }
    answer_end(a);
    seen->flaws = a->flaws;
}

/* `body` behind the former answer, cut after `cut` bytes: the same is found as by a scan. */
static void like_a_scan(const char *body, size_t cut, bool known)
{
    char expected[1024], got[1024];
    struct outcome_seen o;
    struct answer like, scan;
    answer_init(&like, NULL, NULL);
    answer_init(&scan, NULL, NULL);
    scan.no_patterns = true;
    read_whole(&scan, body, cut, &o);
    assert_true(scan.whole != WHOLE_LIKE);
    print(expected, sizeof expected, &o);
    read_whole(&like, FORMER, SIZE_MAX, &o);
    assert_int_equal(like.whole, WHOLE_OFFERED);
    read_whole(&like, body, cut, &o);
    print(got, sizeof got, &o);
    if (strcmp(got, expected) != 0 || known != (like.whole == WHOLE_LIKE))
        fail_msg("%s\ncut at %zu, known %d:\n%s\n%s", body, cut, like.whole, expected, got);
    answer_fini(&like);
    answer_fini(&scan);
}

static void answers_like_a_former_one(void **state)
{
    static const struct {
        const char *body;
        bool known;
    } rows[] = {
        {FORMER, true},
        {FORMER " \n", false},
        {LIKE("c-22", "b\\n\\\"\xC3\xA4 a longer one", "length", "0", "123456789012345"), true},
        {LIKE("", "a", "stop", "7", "16"), false},
        {LIKE("c-1", "", "stop", "7", "16"), false},
        {LIKE("c-1", "a", "\\u0073top", "7", "1"), true},
        {LIKE("c-1", "a", "a reason that is longer than what is kept of it", "7", "1"), true},
        {LIKE("c-1", "a", "s", "07", "16"), false},
        {LIKE("c-1", "a", "s", "-7", "16"), false},
        {LIKE("c-1", "a", "s", "7.0", "16"), false},
        {LIKE("c-1", "a", "s", "7", "1e2"), false},
        {LIKE("c-1", "a", "s", "7", ""), false},
        {LIKE("c-1", "a", "s", "7", "1234567890123459"), false},
        {LIKE("c-1", "a\\", "s", "7", "16"), false},
        {LIKE("c-1", "a\\x", "s", "7", "16"), false},
        {LIKE("c-1", "a\\u12g4", "s", "7", "16"), false},
        {LIKE("c-1", "a\x01", "s", "7", "16"), false},
        {LIKE("c-1", "a\xC3", "s", "7", "16"), false},
        {LIKE("c-1", "a\",\"x\":\"", "s", "7", "16"), false},
        {LIKE("c-1", "a", "s", "7,\"x\":1", "16"), false},
        {LIKE("c-1", "a", "s\"}],\"error\":\"no", "7", "16"), false},
        {FORMER "x", false},
        {"", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        like_a_scan(rows[i].body, SIZE_MAX, rows[i].known);
        for (size_t cut = 1; cut < strlen(rows[i].body); cut++)
            like_a_scan(rows[i].body, cut,
                        cut == strlen(FORMER) && strcmp(rows[i].body, FORMER " \n") == 0);
    }
    for (size_t n = 0; n < strlen(FORMER); n++) {
        char part[sizeof FORMER];
        snprintf(part, sizeof part, "%.*s", (int)n, FORMER);
        like_a_scan(part, SIZE_MAX, false);
    }
}

/* ---- heads ---- */

static void statuses(void **state)
{
    static const struct {
        const char *head;
        enum outcome outcome;
        const char *error;
    } rows[] = {
        {HEAD_STATUS("400"), OUTCOME_HTTP_400, "status 400: no"},
        {HEAD_STATUS("401"), OUTCOME_HTTP_401, "status 401: no"},
        {HEAD_STATUS("403"), OUTCOME_HTTP_403, "status 403: no"},
        {HEAD_STATUS("404"), OUTCOME_HTTP_404, "status 404: no"},
        {HEAD_STATUS("408"), OUTCOME_HTTP_408, "status 408: no"},
        {HEAD_STATUS("413"), OUTCOME_HTTP_413, "status 413: no"},
        {HEAD_STATUS("429"), OUTCOME_HTTP_429, "status 429: no"},
        {HEAD_STATUS("418"), OUTCOME_HTTP_4XX, "status 418: no"},
        {HEAD_STATUS("307"), OUTCOME_HTTP_4XX, "status 307: no"},
        {HEAD_STATUS("500"), OUTCOME_HTTP_5XX, "status 500: no"},
        {HEAD_STATUS("529"), OUTCOME_HTTP_5XX, "status 529: no"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int stream = 0; stream < 2; stream++) {
            struct outcome_seen o =
                read_answer(rows[i].head, STR("{\"error\":{\"message\":\"no\"}}"),
                            (struct way){.stream = stream, .cut = 5});
            if (o.sample.outcome != rows[i].outcome || strcmp(o.sample.error, rows[i].error) != 0)
                fail_msg("row %zu: outcome %d, error \"%s\"", i, o.sample.outcome, o.sample.error);
        }
    struct outcome_seen page =
        read_answer(HEAD_STATUS("502"), STR("<h1>Bad\r\nGateway</h1>"), (struct way){0});
    assert_string_equal(page.sample.error, "status 502: <h1>Bad  Gateway</h1>");
    struct outcome_seen none = read_answer(HEAD_STATUS("503"), STR(""), (struct way){0});
    assert_string_equal(none.sample.error, "status 503");
}

#define HEAD_WITH(lines)                                                                           \
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n" lines "\r\n"

static void what_the_gateway_says(void **state)
{
    static const struct {
        const char *head;
        int64_t queue_us, upstream_us, overhead_us;
        double cost_usd;
        const char *deployment;
    } rows[] = {
        {HEAD_WITH(""), -1, -1, -1, -1, ""},
        {HEAD_WITH("server-timing: queue;dur=0.012, upstream;dur=50.1;desc=x, overhead;dur=3\r\n"
                   "x-litellm-response-cost: 0.000034\r\nx-litellm-model-id: abc\r\n"),
         12, 50100, 3000, 0.000034, "abc"},
        {HEAD_WITH("server-timing: cache, overhead;desc=\"a\";dur=1.2345\r\n"), -1, -1, 1234, -1,
         ""},
        {HEAD_WITH("server-timing: queue;dur=x, upstream;dur=, overhead;dur=-1\r\n"), -1, -1, -1,
         -1, ""},
        {HEAD_WITH("server-timing: queue;dur=99999999999999999999\r\n"), -1, -1, -1, -1, ""},
        {HEAD_WITH("server-timing: queue;dur=1000000000, upstream;dur=1000000000.001, "
                   "overhead;dur=9223372036854\r\n"),
         1000000000000, -1, -1, -1, ""},
        {HEAD_WITH(
             "x-litellm-response-duration-ms: 120.5\r\nx-litellm-overhead-duration-ms: 2.25\r\n"),
         -1, 118250, 2250, -1, ""},
        {HEAD_WITH("x-litellm-response-cost: -1\r\n"), -1, -1, -1, -1, ""},
        {HEAD_WITH("x-litellm-response-cost: 3.5e-05\r\n"), -1, -1, -1, 0.000035, ""},
        {HEAD_WITH("x-litellm-response-cost: None\r\n"), -1, -1, -1, -1, ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct outcome_seen o = read_answer(rows[i].head, STR("{}"), (struct way){0});
        const struct sample *s = &o.sample;
        if (s->server_queue_us != rows[i].queue_us ||
            s->server_upstream_us != rows[i].upstream_us ||
            s->server_overhead_us != rows[i].overhead_us ||
            strcmp(s->deployment, rows[i].deployment) != 0)
            fail_msg("row %zu: %lld %lld %lld %s", i, (long long)s->server_queue_us,
                     (long long)s->server_upstream_us, (long long)s->server_overhead_us,
                     s->deployment);
        assert_true(s->cost_usd > rows[i].cost_usd - 1e-12 &&
                    s->cost_usd < rows[i].cost_usd + 1e-12);
        assert_int_equal(o.flaws & FLAW_NO_REQUEST_ID, FLAW_NO_REQUEST_ID);
    }
}

/* As strtod reads them, to the last bit. */
static void costs(void **state)
{
    static const char *const plain[] = {"0",
                                        "1",
                                        "0.1",
                                        "0.000025",
                                        "0.000000000001",
                                        "123.456",
                                        "99999999999999",
                                        "0.3333333333333",
                                        "1e-5",
                                        "2.5E3",
                                        "0.00000000000000000123",
                                        "12345678901234.5",
                                        "7."};
    static const char *const none[] = {".",    "-1",  "x",   "1x", "1..2",
                                       "None", "nan", "inf", "",   "1 2"};
    char head[300];
    (void)state;
    for (size_t i = 0; i < COUNT(plain); i++) {
        snprintf(head, sizeof head, HEAD_WITH("x-litellm-response-cost: %s\r\n"), plain[i]);
        double got = read_answer(head, STR("{}"), (struct way){0}).sample.cost_usd,
               expected = strtod(plain[i], NULL);
        if (memcmp(&got, &expected, sizeof got) != 0)
            fail_msg("%s: %.17g", plain[i], got);
    }
    for (size_t i = 0; i < COUNT(none); i++) {
        snprintf(head, sizeof head, HEAD_WITH("x-litellm-response-cost: %s\r\n"), none[i]);
        double got = read_answer(head, STR("{}"), (struct way){0}).sample.cost_usd;
        if (got >= 0)
            fail_msg("%s: %g", none[i], got);
    }
}

static void what_comes_is_what_was_asked_for(void **state)
{
    const char *plain =
        "{\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}";
    (void)state;
    struct outcome_seen o = read_answer(HEAD_JSON, str_from(plain), (struct way){.stream = true});
    assert_int_equal(o.sample.outcome, OUTCOME_INVALID);
    assert_string_equal(o.sample.error, "a stream was asked for, and a whole answer came");
    o = read_answer(HEAD_STREAM, STR(GOOD), (struct way){0});
    assert_int_equal(o.sample.outcome, OUTCOME_INVALID);
    o = read_answer("HTTP/1.1 200 OK\r\nx-request-id: 1\r\n\r\n", STR(GOOD),
                    (struct way){.stream = true});
    assert_int_equal(o.sample.outcome, OUTCOME_OK);
    assert_int_equal(o.flaws, FLAW_NO_CONTENT_TYPE);
    o = read_answer("HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; "
                    "charset=utf-8\r\nx-request-id: 1\r\n\r\n",
                    STR(GOOD), (struct way){.stream = true});
    assert_int_equal(o.flaws, 0);
}

static void embeddings(void **state)
{
    (void)state;
    struct way w = {.embeds = true, .cut = 3};
    struct outcome_seen o = read_answer(
        HEAD_JSON, STR("{\"data\":[{\"embedding\":[0.5,1]}],\"usage\":{\"prompt_tokens\":4}}"), w);
    assert_int_equal(o.sample.outcome, OUTCOME_OK);
    assert_int_equal(o.sample.prompt_tokens, 4);
    assert_int_equal(o.flaws, 0);
    o = read_answer(HEAD_JSON, STR("{\"data\":[]}"), w);
    assert_int_equal(o.sample.outcome, OUTCOME_EMPTY);
    assert_string_equal(o.sample.error, "there is no embedding in the answer");
}

/* ---- long streams, and one after another ---- */

static void the_longest_gap_is_of_all(void **state)
{
    struct sample s = {.stream = true};
    struct answer a;
    struct h1_head h;
    uint64_t *gaps = mem_alloc(GAPS_KEPT * sizeof *gaps), now = 1000;
    (void)state;
    assert_int_equal(h1_parse_response(HEAD_STREAM, strlen(HEAD_STREAM), false, &h, NULL),
                     ERR_NONE);
    answer_init(&a, NULL, gaps);
    answer_begin(&a, &s);
    answer_head(&a, &h, 1);
    for (int i = 0; i < GAPS_KEPT + 10; i++) {
        answer_body(&a, STR(WORD("a")), now);
        now += i == GAPS_KEPT + 5 ? 7777 : 10;
    }
    assert_int_equal(s.chunks, GAPS_KEPT + 10);
    assert_int_equal(s.gap_count, GAPS_KEPT);
    assert_int_equal(s.longest_gap_ns, 7777);
    assert_int_equal(gaps[GAPS_KEPT - 1], 10);
    /* The next exchange begins at nothing. */
    struct sample next = {.stream = true};
    answer_begin(&a, &next);
    answer_head(&a, &h, 1);
    answer_body(&a, STR("data: {\"choi"), 5);
    answer_begin(&a, &next); /* given up within an event */
    answer_head(&a, &h, 1);
    answer_body(&a, STR(GOOD), 9);
    answer_end(&a);
    assert_int_equal(next.outcome, OUTCOME_OK);
    assert_int_equal(next.chunks, 3);
    assert_int_equal(next.gap_count, 2);
    answer_fini(&a);
    mem_free(gaps);
}

/* Providers repeat the key that they refuse. It need not look like one. */
static void the_key_is_not_repeated(void **state)
{
    static const struct {
        const char *body, *error;
    } rows[] = {
        {"{\"error\":{\"message\":\"Incorrect API key provided: hunter2-mine. No hunt.\"}}",
         "status 401: Incorrect API key provided: ***. No hunt."},
        {"refused hunter2-minehunter2-mine, said hunter2-mi",
         "status 401: refused ******, said ***"},
    };
    static const char head[] = "HTTP/1.1 401 No\r\ncontent-type: application/json\r\n\r\n";
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct sample s = {0};
        struct answer a;
        struct h1_head h;
        assert_int_equal(h1_parse_response(head, strlen(head), false, &h, NULL), ERR_NONE);
        answer_init(&a, NULL, NULL);
        a.key = STR("hunter2-mine");
        answer_begin(&a, &s);
        answer_head(&a, &h, 1);
        answer_body(&a, str_from(rows[i].body), 2);
        answer_end(&a);
        assert_string_equal(s.error, rows[i].error);
        answer_fini(&a);
    }
}

/* A set clock, or a read without the kernel's stamp, may have a token come before the one in front of it. */
static void time_does_not_run_backwards(void **state)
{
    static const uint64_t arrivals[] = {1000, 990, 1005};
    static const uint64_t expected[] = {0, 5};
    struct sample s = {.stream = true};
    struct answer a;
    struct h1_head h;
    static uint64_t gaps[GAPS_KEPT];
    (void)state;
    assert_int_equal(h1_parse_response(HEAD_STREAM, strlen(HEAD_STREAM), false, &h, NULL),
                     ERR_NONE);
    answer_init(&a, NULL, gaps);
    answer_begin(&a, &s);
    answer_head(&a, &h, 1);
    for (size_t i = 0; i < COUNT(arrivals); i++)
        answer_body(&a, STR(WORD("a")), arrivals[i]);
    assert_int_equal(s.gap_count, 2);
    assert_memory_equal(gaps, expected, sizeof expected);
    assert_int_equal(s.longest_gap_ns, 5);
    assert_int_equal(s.last_token_ns, 1005);
    answer_fini(&a);
}

/* Of which two could not be added. */
static void impossible_counts_are_not_taken(void **state)
{
    (void)state;
    struct outcome_seen o =
        read_stream(WORD("a") FINISH "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":"
                                     "9223372036854775807,\"completion_tokens\":"
                                     "9007199254740992}}\n\n" DONE);
    assert_int_equal(o.sample.prompt_tokens, -1);
    assert_int_equal(o.sample.completion_tokens, INT64_C(9007199254740992));
}

static void tokens_are_counted_for_want_of_usage(void **state)
{
    (void)state;
    struct outcome_seen o = read_stream(WORD("a") WORD("b") FINISH DONE);
    assert_int_equal(o.sample.completion_tokens, 2);
    assert_true(o.sample.tokens_counted);
    assert_int_equal(o.flaws, FLAW_NO_USAGE);
}

static void every_flaw_and_kind_has_words(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 8; bit++)
        assert_true(strlen(answer_flaw_text((enum answer_flaw)(1u << bit))) > 10);
    assert_null(answer_flaw_text((enum answer_flaw)(1u << 8)));
    for (int kind = EVENT_ROLE; kind <= EVENT_BAD; kind++)
        assert_non_null(event_kind_name((enum event_kind)kind));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_of_a_stream),
        cmocka_unit_test(ends_of_streams),
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(the_same_however_it_is_cut),
        cmocka_unit_test(patterns_are_used),
        cmocka_unit_test(answers_like_a_former_one),
        cmocka_unit_test(statuses),
        cmocka_unit_test(what_the_gateway_says),
        cmocka_unit_test(costs),
        cmocka_unit_test(what_comes_is_what_was_asked_for),
        cmocka_unit_test(embeddings),
        cmocka_unit_test(the_longest_gap_is_of_all),
        cmocka_unit_test(the_key_is_not_repeated),
        cmocka_unit_test(time_does_not_run_backwards),
        cmocka_unit_test(impossible_counts_are_not_taken),
        cmocka_unit_test(tokens_are_counted_for_want_of_usage),
        cmocka_unit_test(every_flaw_and_kind_has_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
