/* The OpenAI dialect's splices: members cut out, the model's name put in, usage asked for, in every order and at once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rand.h"
#include "splice_check.h"

static struct str became(struct arena *a, const char *body, const char *model)
{
    struct spliced s = splice(a, str_from(body), str_from(model));
    assert_true(s.admitted);
    return s.text;
}

static void is_spliced_to_the_letter(void **state)
{
    (void)state;
    static const struct {
        const char *body, *model, *expected;
    } rows[] = {
        {"{\"model\":\"m\"}", "m", "{\"model\":\"m\"}"},
        {"{\"model\":\"m\"}", "a\"b", "{\"model\":\"a\\\"b\"}"},
        {"{\"timeout\":5,\"model\":\"m\"}", "m", "{\"model\":\"m\"}"},
        {"{\"model\":\"m\",\"timeout\":5}", "m", "{\"model\":\"m\"}"},
        {"{\"a\":1,\"timeout\":5,\"model\":\"m\"}", "m", "{\"a\":1,\"model\":\"m\"}"},
        {"{\"timeout\":5,\"tags\":[\"x\"],\"model\":\"m\",\"num_retries\":1,\"cache\":{}}", "n",
         "{\"model\":\"n\"}"},
        {"{\"model\":\"m\" , \"timeout\":5 , \"tags\":[] }", "m", "{\"model\":\"m\"  }"},
        {"{\"model\":\"m\",\n\t\"fallbacks\": [{\"model\":\"timeout\"}]\n}", "m",
         "{\"model\":\"m\"}"},
        {"{\"model\":\"m\",\"time\\u006fut\":5}", "m", "{\"model\":\"m\"}"},
        {"{\"metadata\":{\"tags\":[\"t\"],\"timeout\":1},\"tags\":[],\"model\":\"m\"}", "m",
         "{\"metadata\":{\"tags\":[\"t\"],\"timeout\":1},\"model\":\"m\"}"},
        {"{\"cache\":\",\\\"timeout\\\":1,\",\"model\":\"m\"}", "m", "{\"model\":\"m\"}"},
        {"{\"model\":\"m\",\"stream\":true}", "m",
         "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true}"},
        {"{\"timeout\":1,\"model\":\"m\",\"stream\":true}", "m",
         "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true}"},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{ },\"timeout\":1}", "m",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true }}"},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"x\":1},\"timeout\":1}", "m",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true,\"x\":1}}"},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":false}}", "m",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {"{\"model\":\"m\",\"stream\":true,\"timeout\":1,\"stream_options\":null}", "m",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":7}", "m",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":7}"},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", "m",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct arena a;
        arena_init(&a, NULL, 0);
        struct str text = became(&a, rows[i].body, rows[i].model);
        if (!str_eq(text, str_from(rows[i].expected)))
            fail_msg("%s\nbecame   %.*s\nnot      %s", rows[i].body, STR_ARG(text),
                     rows[i].expected);
        arena_fini(&a);
    }
}

/* Members that bodies are made of, LiteLLM's and others, with values that look like more than they are. */
static const char *const members[] = {
    "\"fallbacks\":[\"a\",{\"model\":\"b\",\"timeout\":3}]",
    "\"disable_fallbacks\":true",
    "\"num_retries\":3",
    "\"timeout\":1.5e1",
    "\"t\\u0061gs\":[\"x,y\",\"}\"]",
    "\"litellm_session_id\":\"s\\\\\"",
    "\"litellm_trace_id\":\"\"",
    "\"cache\":{\"no-cache\":true,\"ttl\":60}",
    "\"model\":\"m\"",
    "\"stream\":true",
    "\"stream_options\":{\"timeout\":1}",
    "\"metadata\":{\"tags\":[\"t\"],\"timeout\":{\"tags\":1}}",
    "\"messages\":[{\"role\":\"user\",\"content\":\"\\\"timeout\\\":1,\"}]",
    "\"x\":null",
};
#define MODEL_AT 8

static size_t put_text(char *out, const char *text)
{
    size_t n = strlen(text);
    memcpy(out, text, n);
    return n;
}

/* A body of the members in `order`, with `blank` wherever there may be white space between them. */
static struct str body_of(char *out, const int *order, int count, const char *blank)
{
    size_t n = put_text(out, "{");
    for (int i = 0; i < count; i++) {
        if (i)
            n += put_text(out + n, ",");
        n += put_text(out + n, blank);
        n += put_text(out + n, members[order[i]]);
        n += put_text(out + n, blank);
    }
    n += put_text(out + n, "}");
    return (struct str){out, n};
}

static void check_all_ways(const int *order, int count)
{
    static const char *const blanks[] = {"", " ", "\r\n\t ", "\n\n"};
    for (size_t b = 0; b < COUNT(blanks); b++) {
        char text[2048];
        struct arena a;
        struct str body = body_of(text, order, count, blanks[b]);
        arena_init(&a, NULL, 0);
        struct spliced s = splice(&a, body, b % 2 ? STR("m") : STR("another/name\n"));
        if (!s.admitted)
            fail_msg("not admitted: %.*s", STR_ARG(body));
        arena_fini(&a);
    }
}

/* Every subset of the members that are cut, with the model at every place among them. */
static void every_subset_and_place(void **state)
{
    (void)state;
    for (unsigned set = 0; set < 1u << MODEL_AT; set++)
        for (int place = 0; place <= __builtin_popcount(set); place++) {
            int order[MODEL_AT + 1], n = 0;
            for (int i = 0; i < MODEL_AT; i++) {
                if (n == place)
                    order[n++] = MODEL_AT;
                if (set >> i & 1)
                    order[n++] = i;
            }
            if (n == place)
                order[n++] = MODEL_AT;
            check_all_ways(order, n);
        }
}

static void random_orders_of_all_kinds(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 20261126);
    for (int round = 0; round < 20000; round++) {
        int order[COUNT(members)], n = 0;
        for (int i = 0; i < (int)COUNT(members); i++)
            if (i == MODEL_AT || rng_next(&rng) % 2)
                order[n++] = i;
        for (int i = n - 1; i > 0; i--) {
            int k = (int)(rng_next(&rng) % (uint64_t)(i + 1)), swapped = order[i];
            order[i] = order[k];
            order[k] = swapped;
        }
        check_all_ways(order, n);
    }
}

/* Of two only one would be cut out: neither goes upstream. */
static void given_twice_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i <= MODEL_AT; i++) {
        char text[1024];
        struct arena a;
        struct str body = body_of(text, (int[]){i, MODEL_AT, i}, 3, "");
        arena_init(&a, NULL, 0);
        assert_false(splice(&a, body, STR("m")).admitted);
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_spliced_to_the_letter),
        cmocka_unit_test(every_subset_and_place),
        cmocka_unit_test(random_orders_of_all_kinds),
        cmocka_unit_test(given_twice_is_refused),
    };
    return cmocka_run_group_tests_name("provider", tests, NULL, NULL);
}
