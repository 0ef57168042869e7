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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_of_a_stream),
        cmocka_unit_test(ends_of_streams),
        cmocka_unit_test(whole_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
