/* What a request is faithful to: the same for a chat however long it gets and however a client spells it; no byte read outside. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "gateway/sticky.h"

static uint64_t of(const char *prompt)
{
    return sticky_hash(STR_NONE, str_from(prompt));
}

#define SYSTEM "{\"role\":\"system\",\"content\":\"Be brief.\"}"
#define ASK    "{\"role\":\"user\",\"content\":\"How deep is the \\\"weir\\\"?\"}"
#define REPLY  ",{\"role\":\"assistant\",\"content\":\"Two metres.\"}"
#define MORE   ",{\"role\":\"user\",\"content\":\"And how wide?\"}"

static void a_session_comes_first(void **state)
{
    (void)state;
    struct str prompt = STR("[" SYSTEM "," ASK "]");
    assert_int_not_equal(sticky_hash(STR("s1"), prompt), 0);
    assert_int_equal(sticky_hash(STR("s1"), prompt), sticky_hash(STR("s1"), STR_NONE));
    assert_int_not_equal(sticky_hash(STR("s1"), prompt), sticky_hash(STR("s2"), prompt));
    assert_int_not_equal(sticky_hash(STR("s1"), prompt), sticky_hash(STR_NONE, prompt));
}

static void nothing_to_be_faithful_to_is_0(void **state)
{
    static const char *const nothing[] = {
        "",        "null",   "[]",   "[" SYSTEM "]",  "{}", "7", "\"short\"",
        "[1,2,3]", "[null]", "[{}]", "[\"a\",\"b\"]",
    };
    (void)state;
    assert_int_equal(sticky_hash(STR_NONE, STR_NONE), 0);
    for (size_t i = 0; i < COUNT(nothing); i++)
        if (of(nothing[i]) != 0)
            fail_msg("%s is something", nothing[i]);
}

static void a_chat_that_grows_stays(void **state)
{
    (void)state;
    uint64_t first = of("[" SYSTEM "," ASK "]");
    assert_int_not_equal(first, 0);
    assert_int_equal(first, of("[" SYSTEM "," ASK REPLY MORE "]"));
    assert_int_equal(first, of("[" SYSTEM "," ASK REPLY MORE REPLY MORE REPLY MORE "]"));
    assert_int_equal(first, of("[ " SYSTEM " ,\n " ASK " ]"));
}

static void another_beginning_is_another_chat(void **state)
{
    static const char *const chats[] = {
        "[" SYSTEM "," ASK "]",
        "[" ASK "]",
        "[" SYSTEM "," SYSTEM "," ASK "]",
        "[{\"role\":\"developer\",\"content\":\"Be brief.\"}," ASK "]",
        "[" SYSTEM ",{\"role\":\"user\",\"content\":\"How wide is it?\"}]",
        "[" SYSTEM ",{\"role\":\"user\",\"content\":\"\"}]",
        "[" SYSTEM ",{\"role\":\"user\"}]",
        "[" SYSTEM ",{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
        "\"url\":\"a\"}}]}]",
        "[" SYSTEM ",{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
        "\"url\":\"b\"}}]}]",
        "[{\"role\":\"system\",\"content\":\"Be brief.How\"},{\"role\":\"user\",\"content\":\"\"}]",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(chats); i++)
        for (size_t k = 0; k < i; k++)
            if (of(chats[i]) == of(chats[k]))
                fail_msg("%s is as %s", chats[i], chats[k]);
}

static void marks_of_a_cache_do_not_count(void **state)
{
    (void)state;
    uint64_t plain = of("[{\"role\":\"user\",\"content\":\"hello\"}]");
    static const char *const spellings[] = {
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hello\"}]}]",
        ("[{\"content\":[{\"text\":\"hello\",\"cache_control\":{\"type\":\"ephemeral\"},\"type\":"
         "\"text\"}],\"role\":\"user\"}]"),
        "[{\"role\":\"user\",\"name\":\"ann\",\"content\":\"hello\"}]",
    };
    for (size_t i = 0; i < COUNT(spellings); i++)
        if (of(spellings[i]) != plain)
            fail_msg("%s is another", spellings[i]);
}

/* [{"role":"system","content":"xxx..."},{"role":"user","content":"hello"}, more], the long text of `bytes`. */
static struct str long_chat(struct arena *a, size_t bytes, char fill, const char *more)
{
    char *text = arena_alloc(a, bytes + 1);
    memset(text, fill, bytes);
    text[bytes] = '\0';
    return arena_printf(
        a, "[{\"role\":\"system\",\"content\":\"%s\"},{\"role\":\"user\",\"content\":\"hello\"}%s]",
        text, more);
}

static void long_beginnings_stay_too(void **state)
{
    static const size_t sizes[] = {1000,
                                   5000,
                                   STICKY_PROMPT_BYTES - 90,
                                   STICKY_PROMPT_BYTES - 70,
                                   STICKY_PROMPT_BYTES,
                                   3 * STICKY_PROMPT_BYTES};
    struct arena a;
    (void)state;
    arena_init(&a, NULL, 0);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        uint64_t hash = sticky_hash(STR_NONE, long_chat(&a, sizes[i], 'x', ""));
        uint64_t grown = sticky_hash(STR_NONE, long_chat(&a, sizes[i], 'x', REPLY MORE REPLY MORE));
        assert_int_equal(hash, grown);
        assert_int_not_equal(hash, 0);
        assert_int_not_equal(hash, sticky_hash(STR_NONE, long_chat(&a, sizes[i], 'y', "")));
        if (sizes[i] < STICKY_PROMPT_BYTES) /* of longer ones only the beginning is seen */
            assert_int_not_equal(hash, sticky_hash(STR_NONE, long_chat(&a, sizes[i] - 1, 'x', "")));
    }
    arena_fini(&a);
}

static void a_prompt_counts_by_its_head(void **state)
{
    char prompt[3000];
    (void)state;
    memset(prompt, 'p', sizeof prompt);
    prompt[0] = '"';
    struct str turn = {prompt, 1023};
    assert_int_equal(sticky_hash(STR_NONE, turn), 0);
    turn.n = 1024;
    uint64_t first = sticky_hash(STR_NONE, turn);
    assert_int_not_equal(first, 0);
    turn.n = sizeof prompt;
    assert_int_equal(sticky_hash(STR_NONE, turn), first);
    prompt[1000] = 'q';
    assert_int_not_equal(sticky_hash(STR_NONE, turn), first);
}

static void no_byte_outside_is_read(void **state)
{
    static const char text[] =
        "[" SYSTEM ",{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\\\\\"},{"
        "\"type\":\"x\",\"x\":{}}]}" REPLY "]";
    (void)state;
    for (size_t n = 0; n < sizeof text;
         n++) { /* each in memory of just its size, for the sanitizer */
        char *part = mem_strdup((struct str){text, n});
        char *exact = mem_alloc(MAX(n, 1u));
        memcpy(exact, part, n);
        uint64_t once = sticky_hash(STR_NONE, (struct str){exact, n});
        assert_int_equal(once, sticky_hash(STR_NONE, (struct str){exact, n}));
        mem_free(exact);
        mem_free(part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_comes_first),
        cmocka_unit_test(nothing_to_be_faithful_to_is_0),
        cmocka_unit_test(a_chat_that_grows_stays),
        cmocka_unit_test(another_beginning_is_another_chat),
        cmocka_unit_test(marks_of_a_cache_do_not_count),
        cmocka_unit_test(long_beginnings_stay_too),
        cmocka_unit_test(a_prompt_counts_by_its_head),
        cmocka_unit_test(no_byte_outside_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
