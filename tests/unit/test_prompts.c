#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <unistd.h>

#include "base/json.h"
#include "measure/prompts.h"

static struct prompts_options defaults(void)
{
    return (struct prompts_options){.max_tokens = -1, .temperature = NAN, .seed = 1};
}

/* In memory of just the promised size; must be JSON. The caller frees it. */
static char *body(const struct prompts *p, size_t i, const char *model, uint64_t nonce)
{
    size_t room = prompts_bytes_max(p, i, strlen(model));
    char *exact = mem_alloc(room);
    struct arena a;
    struct err e = {0};
    size_t n = prompts_write(p, i, str_from(model), nonce, exact);
    assert_true(n <= room);
    char *text = mem_strdup((struct str){exact, n});
    mem_free(exact);
    arena_init(&a, NULL, 0);
    if (!json_parse(&a, str_from(text), &e))
        fail_msg("not JSON: %s: %s", e.text, text);
    arena_fini(&a);
    return text;
}

static void assert_body(const struct prompts_options *o, const char *model, const char *expected)
{
    struct err e = {0};
    struct prompts *p = prompts_new(o, &e);
    assert_string_equal(e.text, "");
    assert_non_null(p);
    char *text = body(p, 0, model, 5);
    assert_string_equal(text, expected);
    mem_free(text);
    prompts_free(p);
}

static void bodies_by_options(void **state)
{
    (void)state;
    struct prompts_options o = defaults();
    o.text = "Say \"hi\"\n";
    assert_body(&o, "a\"b",
                "{\"model\":\"a\\\"b\",\"messages\":[{\"role\":\"user\",\"content\":\"Say "
                "\\\"hi\\\"\\n\"}]}");
    o.stream = true;
    o.max_tokens = 9;
    o.temperature = 0.5;
    o.metadata = "{\"team\": \"x\"}";
    assert_body(&o, "m",
                "{\"model\":\"m\",\"max_tokens\":9,\"temperature\":0.5,\"metadata\":{\"team\": "
                "\"x\"},\"stream\":true,\"stream_options\":{\"include_usage\":true},"
                "\"messages\":[{\"role\":\"user\",\"content\":\"Say \\\"hi\\\"\\n\"}]}");
    o = defaults();
    o.text = "x";
    o.api = API_COMPLETIONS;
    assert_body(&o, "m", "{\"model\":\"m\",\"prompt\":\"x\"}");
    o.api = API_EMBEDDINGS;
    o.stream = true; /* there are no streams of embeddings */
    assert_body(&o, "m", "{\"model\":\"m\",\"input\":\"x\"}");
}

static void a_nonce_is_in_front_and_distinct(void **state)
{
    (void)state;
    struct prompts_options o = defaults();
    struct err e = {0};
    o.text = "x";
    o.nonce = true;
    struct prompts *p = prompts_new(&o, &e), *again = prompts_new(&o, &e);
    char *first = body(p, 0, "m", 1), *second = body(p, 0, "m", 2), *same = body(again, 0, "m", 1);
    const char *content = strstr(first, "\"content\":\"[");
    assert_non_null(content);
    assert_string_equal(content + strlen("\"content\":\"[") + 16, "] x\"}]}");
    assert_string_not_equal(first, second);
    assert_string_equal(first, same); /* equal seeds, equal nonces: equal bodies */
    o.seed = 2;
    struct prompts *other = prompts_new(&o, &e);
    char *differs = body(other, 0, "m", 1);
    assert_string_not_equal(first, differs);
    o.seed = 0;
    struct prompts *random_1 = prompts_new(&o, &e), *random_2 = prompts_new(&o, &e);
    char *r1 = body(random_1, 0, "m", 1), *r2 = body(random_2, 0, "m", 1);
    assert_string_not_equal(r1, r2);
    char *texts[] = {first, second, same, differs, r1, r2};
    struct prompts *all[] = {p, again, other, random_1, random_2};
    for (size_t i = 0; i < COUNT(texts); i++)
        mem_free(texts[i]);
    for (size_t i = 0; i < COUNT(all); i++)
        prompts_free(all[i]);
}

/* ---- files ---- */

static char path[64];

static void write_file(const char *text)
{
    snprintf(path, sizeof path, "/tmp/weir-prompts-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void a_file_is_a_prompt_a_line(void **state)
{
    (void)state;
    struct prompts_options o = defaults();
    struct err e = {0};
    write_file("one\r\n\n  two \n{\"prompt\": \"th\\u0072ee\", \"id\": 3}\n{\"messages\": "
               "[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"s\"}]}]}");
    o.source = PROMPT_FILE;
    o.file = path;
    o.nonce = true;
    struct prompts *p = prompts_new(&o, &e);
    unlink(path);
    assert_string_equal(e.text, "");
    assert_int_equal(prompts_count(p), 4);
    static const char *const ends[] = {"] one\"}]}", "] two\"}]}", "] three\"}]}", "] s\"}]}]}"};
    for (size_t i = 0; i < 4; i++) {
        char *text = body(p, i, "m", i);
        assert_true(str_ends(str_from(text), str_from(ends[i])));
        mem_free(text);
    }
    prompts_free(p);
}

static void a_body_keeps_what_is_not_ours(void **state)
{
    (void)state;
    struct prompts_options o = defaults();
    write_file("{\"model\": \"old\", \"stream\": true, \"messages\": [1], \"top_p\": 0.1,\n"
               " \"messages\": [{\"role\": \"user\", \"content\": \"hi\"}], \"max_tokens\": 5, "
               "\"stream_options\": {}, \"tools\": []}");
    o.source = PROMPT_BODY;
    o.file = path;
    assert_body(&o, "m",
                "{\"model\":\"m\",\"top_p\":0.1,\"messages\":[{\"role\": \"user\", \"content\": "
                "\"hi\"}],\"max_tokens\":5,\"tools\":[]}");
    o.max_tokens = 7;
    o.stream = true;
    assert_body(&o, "m",
                "{\"model\":\"m\",\"max_tokens\":7,\"stream\":true,\"stream_options\":{\"include_"
                "usage\":true},\"top_p\":0.1,\"messages\":[{\"role\": \"user\", \"content\": "
                "\"hi\"}],\"tools\":[]}");
    unlink(path);
}

static void synthetic_prompts(void **state)
{
    (void)state;
    struct prompts_options o = defaults();
    struct err e = {0};
    o.source = PROMPT_SYNTHETIC;
    o.prompt_tokens = 100;
    struct prompts *p = prompts_new(&o, &e), *again = prompts_new(&o, &e);
    assert_true(prompts_count(p) > 1);
    char *first = body(p, 0, "m", 0), *second = body(p, 1, "m", 0), *same = body(again, 0, "m", 9);
    size_t blanks = 0;
    for (const char *c = first; *c; c++)
        blanks += *c == ' ';
    assert_int_equal(blanks, 99); /* a hundred words */
    assert_string_not_equal(first, second);
    assert_string_equal(first, same);
    mem_free(first);
    mem_free(second);
    mem_free(same);
    prompts_free(p);
    prompts_free(again);
}

static void mistakes_are_placed(void **state)
{
    static const struct {
        enum prompt_source source;
        enum prompt_api api;
        const char *file;     /* its text */
        const char *expected; /* behind the path */
    } rows[] = {
        {PROMPT_FILE, API_CHAT, "", ":1:1: no prompts in it: expected one a line"},
        {PROMPT_FILE, API_CHAT, "ok\n{\"prompt\": 1}\n",
         ":2:1: expected {\"prompt\": \"...\"} or {\"messages\": [...]}"},
        {PROMPT_FILE, API_COMPLETIONS, "{\"messages\": [1]}",
         ":1:1: expected {\"prompt\": \"...\"}"},
        {PROMPT_FILE, API_CHAT, "{\"messages\": []}",
         ":1:1: expected {\"prompt\": \"...\"} or {\"messages\": [...]}"},
        {PROMPT_FILE, API_CHAT, "\n\n{\"prompt\": }\n", ":3:12: not JSON: "},
        {PROMPT_BODY, API_CHAT, "[]", ":1:1: expected a JSON object"},
        {PROMPT_BODY, API_CHAT, "{\"prompt\": \"x\"}",
         ":1:1: expected \"messages\" in it, as /chat/completions has it"},
        {PROMPT_BODY, API_CHAT, "{\n\"messages\": [,]}", ":2:14: not JSON: "},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct prompts_options o = defaults();
        struct err e = {0};
        char text[900];
        write_file(rows[i].file);
        o.source = rows[i].source;
        o.api = rows[i].api;
        o.file = path;
        assert_null(prompts_new(&o, &e));
        unlink(path);
        err_format(&e, text, sizeof text);
        if (!str_starts(str_from(text), str_from(path)) ||
            !str_starts(str_from(text + strlen(path)), str_from(rows[i].expected)))
            fail_msg("row %zu: %s", i, text);
    }
}

static void options_that_do_not_fit(void **state)
{
    (void)state;
    struct prompts_options o = defaults();
    struct err e = {0};
    o.api = API_EMBEDDINGS;
    o.max_tokens = 1;
    assert_null(prompts_new(&o, &e));
    assert_string_equal(e.text, "embeddings have neither --max-tokens nor --temperature");
    o = defaults();
    o.metadata = "[1]";
    e = (struct err){0};
    assert_null(prompts_new(&o, &e));
    assert_string_equal(e.text,
                        "--metadata: expected a JSON object, such as '{\"team\": \"search\"}'");
    o.metadata = "{\"a\":";
    e = (struct err){0};
    assert_null(prompts_new(&o, &e));
    assert_true(str_starts(str_from(e.text), STR("--metadata: not JSON at column 6")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_by_options),
        cmocka_unit_test(a_nonce_is_in_front_and_distinct),
        cmocka_unit_test(a_file_is_a_prompt_a_line),
        cmocka_unit_test(a_body_keeps_what_is_not_ours),
        cmocka_unit_test(synthetic_prompts),
        cmocka_unit_test(mistakes_are_placed),
        cmocka_unit_test(options_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
