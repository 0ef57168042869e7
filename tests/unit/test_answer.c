#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/json.h"
#include "mock/answer.h"
#include "mock/tally.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static struct answer answer(enum answer_kind kind)
{
    return (struct answer){
        .kind = kind,
        .model = STR("sim-fast"),
        .seed = 0x1234,
        .number = 7,
        .created_s = 1700000000,
        .choices = 1,
        .tokens = 16,
        .usage = true,
        .prompt_tokens = 9,
    };
}

static struct json_node *parse(struct str text)
{
    struct err e = {0};
    struct json_node *root = json_parse(&arena, text, &e);
    if (!root)
        print_error("%s\n%.*s\n", e.text, STR_ARG(text));
    assert_non_null(root);
    return root;
}

static struct json_node *get(struct json_node *from, const char *path)
{
    struct str rest = str_from(path);
    while (rest.n && from) {
        struct str part = str_cut(&rest, '.');
        int64_t index;
        char key[64];
        snprintf(key, sizeof key, "%.*s", STR_ARG(part));
        if (from->kind == JSON_ARRAY && str_to_i64(part, &index)) {
            from = from->child;
            while (index-- > 0 && from)
                from = from->next;
        } else {
            from = json_get(from, key);
        }
    }
    if (!from)
        print_error("nothing at %s\n", path);
    assert_non_null(from);
    return from;
}

#define ASSERT_TEXT(root, path, expected)                                                          \
    do {                                                                                           \
        struct str text_ = get(root, path)->text;                                                  \
        assert_int_equal(text_.n, strlen(expected));                                               \
        assert_memory_equal(text_.p, expected, text_.n);                                           \
    } while (0)
#define ASSERT_NUMBER(root, path, expected)                                                        \
    assert_int_equal((int64_t)get(root, path)->number, expected)

static struct str whole(const struct answer *a)
{
    size_t room = answer_room(a);
    char *start = arena_alloc(&arena, room), *end = answer_whole(a, start);
    assert_in_range(end - start, 1, room);
    return (struct str){start, (size_t)(end - start)};
}

static void a_chat_answer_is_openais(void **state)
{
    (void)state;
    struct answer a = answer(ANSWER_CHAT);
    struct json_node *root = parse(whole(&a));
    ASSERT_TEXT(root, "id", "chatcmpl-000000000000123400000007");
    ASSERT_TEXT(root, "object", "chat.completion");
    ASSERT_NUMBER(root, "created", 1700000000);
    ASSERT_TEXT(root, "model", "sim-fast");
    ASSERT_TEXT(root, "choices.0.message.role", "assistant");
    ASSERT_TEXT(root, "choices.0.finish_reason", "stop");
    assert_int_equal(sim_count_tokens(get(root, "choices.0.message.content")->text), 16);
    ASSERT_NUMBER(root, "usage.prompt_tokens", 9);
    ASSERT_NUMBER(root, "usage.completion_tokens", 16);
    ASSERT_NUMBER(root, "usage.total_tokens", 25);
    a.usage = false;
    a.cut_short = true;
    root = parse(whole(&a));
    assert_null(json_get(root, "usage"));
    ASSERT_TEXT(root, "choices.0.finish_reason", "length");
}

static void choices_differ_and_all_count(void **state)
{
    (void)state;
    struct answer a = answer(ANSWER_TEXT);
    a.choices = 3;
    a.usage_details = true;
    a.reasoning_tokens = 32;
    a.cached_tokens = 4;
    struct json_node *root = parse(whole(&a));
    ASSERT_TEXT(root, "object", "text_completion");
    ASSERT_NUMBER(root, "choices.2.index", 2);
    assert_false(str_eq(get(root, "choices.0.text")->text, get(root, "choices.1.text")->text));
    ASSERT_NUMBER(root, "usage.completion_tokens", 3 * 16 + 32);
    ASSERT_NUMBER(root, "usage.completion_tokens_details.reasoning_tokens", 32);
    ASSERT_NUMBER(root, "usage.prompt_tokens_details.cached_tokens", 4);
}

static void padding_reaches_the_size_asked_for(void **state)
{
    (void)state;
    struct answer a = answer(ANSWER_CHAT);
    size_t plain = whole(&a).n;
    a.body_bytes = 100000;
    struct str padded = whole(&a);
    assert_int_equal(padded.n, 100000);
    (void)parse(padded);
    a.body_bytes = plain; /* no room for a field: left as it is */
    assert_int_equal(whole(&a).n, plain);
}

/* Puts a stream together as a client would. */
static struct str join(const struct answer *a, const char *field, size_t frame_bytes)
{
    struct answer_frames f;
    size_t room = answer_frame_room(a), n = 0;
    char *frame = arena_alloc(&arena, room), *joined = arena_alloc(&arena, 8192);
    answer_frames_init(&f, a);
    for (uint64_t k = 0; k < a->tokens; k++) {
        char *end = answer_token(&f, frame, 0, k);
        struct str text = {frame, (size_t)(end - frame)};
        assert_in_range(text.n, 1, room);
        assert_true(str_starts(text, STR("data: {")) && str_ends(text, STR("}\n\n")));
        if (frame_bytes)
            assert_int_equal(text.n, frame_bytes);
        struct json_node *root = parse((struct str){text.p + 6, text.n - 8});
        struct str piece = get(root, field)->text;
        memcpy(joined + n, piece.p, piece.n);
        n += piece.n;
    }
    return (struct str){joined, n};
}

static void a_stream_says_what_the_whole_answer_says(void **state)
{
    (void)state;
    struct answer a = answer(ANSWER_CHAT);
    a.usage_null = true;
    struct str text = get(parse(whole(&a)), "choices.0.message.content")->text;
    assert_true(str_eq(join(&a, "choices.0.delta.content", 0), text));
    a.frame_bytes = 700;
    assert_true(str_eq(join(&a, "choices.0.delta.content", 700), text));
    a.kind = ANSWER_TEXT;
    text = get(parse(whole(&a)), "choices.0.text")->text;
    assert_true(str_eq(join(&a, "choices.0.text", 700), text));
}

static void the_frames_around_the_tokens(void **state)
{
    (void)state;
    struct answer a = answer(ANSWER_CHAT);
    struct answer_frames f;
    char *frame = arena_alloc(&arena, answer_frame_room(&a));
    a.usage_null = true;
    answer_frames_init(&f, &a);
    struct str text = {frame, (size_t)(answer_first(&f, frame, 0) - frame)};
    struct json_node *root = parse((struct str){text.p + 6, text.n - 8});
    ASSERT_TEXT(root, "object", "chat.completion.chunk");
    ASSERT_TEXT(root, "choices.0.delta.role", "assistant");
    assert_int_equal(get(root, "choices.0.finish_reason")->kind, JSON_NULL);
    assert_int_equal(get(root, "usage")->kind, JSON_NULL);
    text.n = (size_t)(answer_finish(&f, frame, 0) - frame);
    root = parse((struct str){text.p + 6, text.n - 8});
    ASSERT_TEXT(root, "choices.0.finish_reason", "stop");
    text.n = (size_t)(answer_usage(&f, frame) - frame);
    root = parse((struct str){text.p + 6, text.n - 8});
    assert_null(get(root, "choices")->child);
    ASSERT_NUMBER(root, "usage.completion_tokens", 16);
    a.usage_null = false;
    text.n = (size_t)(answer_finish(&f, frame, 0) - frame);
    assert_null(json_get(parse((struct str){text.p + 6, text.n - 8}), "usage"));
}

static void tool_calls_stream_their_arguments(void **state)
{
    (void)state;
    struct answer a = answer(ANSWER_CHAT);
    a.tool_name = STR("look \"up\"");
    a.tool_arguments = STR("{\"stra\xc3\x9f"
                           "e\":\"a\\\"b\",\"n\":12}");
    a.tokens = (uint32_t)sim_piece_count(a.tool_arguments);
    struct json_node *root = parse(whole(&a));
    ASSERT_TEXT(root, "choices.0.message.tool_calls.0.function.name", "look \"up\"");
    assert_true(str_eq(get(root, "choices.0.message.tool_calls.0.function.arguments")->text,
                       a.tool_arguments));
    assert_int_equal(get(root, "choices.0.message.content")->kind, JSON_NULL);
    ASSERT_TEXT(root, "choices.0.finish_reason", "tool_calls");
    assert_true(
        str_eq(join(&a, "choices.0.delta.tool_calls.0.function.arguments", 0), a.tool_arguments));
}

static void arguments_follow_the_schema(void **state)
{
    (void)state;
    struct str schema =
        STR("{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{"
            "\"type\":\"integer\"},"
            "\"unit\":{\"type\":\"string\",\"enum\":[\"C\",\"F\"]},\"now\":{\"type\":[\"boolean\","
            "\"null\"]},"
            "\"at\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"number\"}}},"
            "\"tags\":{\"type\":\"array\"}}}");
    struct str text = answer_arguments(&arena, schema, 99);
    struct json_node *root = parse(text);
    assert_int_equal(get(root, "city")->kind, JSON_STRING);
    assert_int_equal(get(root, "days")->kind, JSON_NUMBER);
    ASSERT_TEXT(root, "unit", "C");
    assert_in_range(get(root, "now")->kind, JSON_FALSE, JSON_TRUE);
    assert_int_equal(get(root, "at.x")->kind, JSON_NUMBER);
    assert_int_equal(get(root, "tags")->kind, JSON_ARRAY);
    assert_true(str_eq(text, answer_arguments(&arena, schema, 99)));
    assert_true(str_eq(answer_arguments(&arena, STR_NONE, 99), STR("{}")));
    assert_true(str_eq(answer_arguments(&arena, STR("{\"properties\":[1]"), 99), STR("{}")));
}

static int from_base64(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(alphabet, c);
    return at && c ? (int)(at - alphabet) : 0;
}

static void both_encodings_of_an_embedding_agree(void **state)
{
    (void)state;
    static const size_t dims[] = {1, 2, 3, 64, 4096};
    for (size_t d = 0; d < COUNT(dims); d++) {
        struct buf plain, packed;
        buf_init(&plain, 0, NULL);
        buf_init(&packed, 0, NULL);
        assert_true(answer_embedding(&plain, 3, 77, dims[d], false));
        assert_true(answer_embedding(&packed, 3, 77, dims[d], true));
        struct json_node *root = parse(buf_str(&plain));
        ASSERT_NUMBER(root, "index", 3);
        struct str text = get(parse(buf_str(&packed)), "embedding")->text;
        assert_int_equal(text.n, (4 * dims[d] + 2) / 3 * 4);
        unsigned char *bytes = arena_alloc(&arena, text.n);
        for (size_t i = 0; i < text.n; i += 4) {
            int group = from_base64(text.p[i]) << 18 | from_base64(text.p[i + 1]) << 12 |
                        from_base64(text.p[i + 2]) << 6 | from_base64(text.p[i + 3]);
            bytes[i / 4 * 3] = (unsigned char)(group >> 16);
            bytes[i / 4 * 3 + 1] = (unsigned char)(group >> 8);
            bytes[i / 4 * 3 + 2] = (unsigned char)group;
        }
        struct json_node *number = get(root, "embedding")->child;
        for (size_t i = 0; i < dims[d]; i++, number = number->next) {
            float packed_value;
            memcpy(&packed_value, bytes + 4 * i, 4);
            assert_non_null(number);
            assert_true(packed_value == (float)number->number);
        }
        assert_null(number);
        buf_fini(&plain);
        buf_fini(&packed);
    }
}

static void errors_have_openais_shape(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *type, *code;
    } rows[] = {{429, "rate_limit_error", "rate_limit_exceeded"},
                {500, "server_error", "internal_error"},
                {503, "server_error", "overloaded"},
                {404, "invalid_request_error", "model_not_found"},
                {418, "invalid_request_error", NULL},
                {599, "server_error", NULL}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b;
        buf_init(&b, 0, NULL);
        assert_true(answer_error(&b, rows[i].status, i ? NULL : "a \"quoted\" reason"));
        struct json_node *root = parse(buf_str(&b));
        ASSERT_TEXT(root, "error.type", rows[i].type);
        if (rows[i].code)
            ASSERT_TEXT(root, "error.code", rows[i].code);
        else
            assert_int_equal(get(root, "error.code")->kind, JSON_NULL);
        if (i == 0)
            ASSERT_TEXT(root, "error.message", "a \"quoted\" reason");
        buf_fini(&b);
    }
}

static void the_tally_adds_up_and_resets(void **state)
{
    (void)state;
    struct tally one = {0}, two = {0}, now = {0}, base = {0};
    struct buf b;
    buf_init(&b, 0, NULL);
    tally_add(tally_slot(&one, STR("sim-fast")), TALLY_REQUESTS, 5);
    tally_add(tally_slot(&one, STR("sim-fast")), TALLY_COMPLETED, 3);
    tally_add(tally_slot(&one, STR("sim-fast")), TALLY_STATUS + 429, 2);
    tally_add(tally_slot(&two, STR("sim-fast")), TALLY_REQUESTS, 1);
    tally_add(tally_slot(&two, STR("sim-long")), TALLY_REQUESTS, 10);
    tally_merge(&base, &two);
    tally_add(tally_slot(&two, STR("sim-long")), TALLY_REQUESTS, 4);
    tally_merge(&now, &one);
    tally_merge(&now, &two);
    assert_true(buf_append_str(&b, STR("{")) && tally_write(&b, &now, &base) &&
                buf_append_str(&b, STR("}")));
    struct json_node *root = parse(buf_str(&b));
    ASSERT_NUMBER(root, "requests", 5 + 4);
    ASSERT_NUMBER(root, "in_flight", 2 + 15); /* what was in flight at the reset still is */
    ASSERT_NUMBER(root, "status.429", 2);
    ASSERT_NUMBER(root, "models.sim-fast.requests", 5);
    ASSERT_NUMBER(root, "models.sim-long.requests", 4);
    buf_fini(&b);
    tally_fini(&one);
    tally_fini(&two);
    tally_fini(&now);
    tally_fini(&base);
}

static void names_beyond_the_limit_are_other(void **state)
{
    (void)state;
    struct tally t = {0};
    char name[16];
    for (int i = 0; i < TALLY_MODELS_MAX + 100; i++) {
        int n = snprintf(name, sizeof name, "m%d", i);
        tally_add(tally_slot(&t, (struct str){name, (size_t)n}), TALLY_REQUESTS, 1);
    }
    assert_int_equal(t.slot_count, TALLY_MODELS_MAX + 1);
    assert_int_equal(tally_slot(&t, STR("other"))->counts[TALLY_REQUESTS], 100);
    assert_int_equal(tally_slot(&t, STR("m5"))->counts[TALLY_REQUESTS], 1);
    tally_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_chat_answer_is_openais, setup, teardown),
        cmocka_unit_test_setup_teardown(choices_differ_and_all_count, setup, teardown),
        cmocka_unit_test_setup_teardown(padding_reaches_the_size_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stream_says_what_the_whole_answer_says, setup, teardown),
        cmocka_unit_test_setup_teardown(the_frames_around_the_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(tool_calls_stream_their_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(arguments_follow_the_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(both_encodings_of_an_embedding_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_have_openais_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(the_tally_adds_up_and_resets, setup, teardown),
        cmocka_unit_test_setup_teardown(names_beyond_the_limit_are_other, setup, teardown),
    };
    return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}
