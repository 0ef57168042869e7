#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/clock.h"
#include "mock/sim.h"

static void models_are_found_by_name(void **state)
{
    (void)state;
    const struct sim_model *slow = sim_model_find(STR("sim-slow"));
    assert_non_null(slow);
    assert_int_equal(slow->knobs.v[SIM_TTFT_MS], 800);
    assert_int_equal(slow->knobs.v[SIM_TOKENS_PER_SECOND], 20);
    assert_null(sim_model_find(STR("sim-slo")));
    assert_null(sim_model_find(STR("")));
}

static void a_row_lays_over_the_process(void **state)
{
    (void)state;
    struct sim_knobs k;
    sim_knobs_init(&k);
    assert_int_equal(k.v[SIM_TOKENS], 16);
    assert_int_equal(k.v[SIM_CUT_AFTER], -1);
    k.v[SIM_TOKENS] = 5;
    k.v[SIM_JITTER_PCT] = 7;
    struct sim_knobs slow = k, large = k;
    sim_knobs_overlay(&slow, sim_model_find(STR("sim-slow")));
    assert_int_equal(slow.v[SIM_TTFT_MS], 800);
    assert_int_equal(slow.v[SIM_TOKENS], 5);
    assert_int_equal(slow.v[SIM_JITTER_PCT], 7);
    sim_knobs_overlay(&large, sim_model_find(STR("sim-long")));
    assert_int_equal(large.v[SIM_TOKENS], 2000);
}

static void headers_turn_knobs(void **state)
{
    (void)state;
    struct sim_knobs k;
    char why[160] = "";
    sim_knobs_init(&k);
    assert_true(sim_knob_like(STR("X-Mock-Status")));
    assert_false(sim_knob_like(STR("x-mock")));
    assert_false(sim_knob_like(STR("x-request-id")));
    assert_true(sim_knob_set(&k, STR("X-Mock-Status"), STR("429"), why, sizeof why));
    assert_int_equal(k.v[SIM_STATUS], 429);
    assert_true(sim_knob_set(&k, STR("x-mock-cut-after"), STR("0"), why, sizeof why));
    assert_int_equal(k.v[SIM_CUT_AFTER], 0);
    assert_true(sim_knob_set(&k, STR("x-mock-no-usage"), STR("true"), why, sizeof why));
    assert_int_equal(k.v[SIM_NO_USAGE], 1);
    assert_false(sim_knob_set(&k, STR("x-mock-status"), STR("200"), why, sizeof why));
    assert_string_equal(why, "x-mock-status: expected a whole number from 400 to 599, got \"200\"");
    assert_int_equal(k.v[SIM_STATUS], 429);
    assert_false(sim_knob_set(&k, STR("x-mock-tokens"), STR("9999999"), why, sizeof why));
    assert_false(sim_knob_set(&k, STR("x-mock-tokens"), STR("-1"), why, sizeof why));
    assert_false(sim_knob_set(&k, STR("x-mock-nonsense"), STR("1"), why, sizeof why));
    assert_string_equal(why, "x-mock-nonsense: the simulator knows no such header");
}

static uint64_t count_slowly(struct str s)
{
    uint64_t n = 0;
    bool in_word = false;
    for (size_t i = 0; i < s.n; i++) {
        bool letter = (unsigned char)s.p[i] > ' ';
        n += letter && !in_word;
        in_word = letter;
    }
    return n;
}

static void tokens_are_words(void **state)
{
    (void)state;
    assert_int_equal(sim_count_tokens(STR("")), 0);
    assert_int_equal(sim_count_tokens(STR(" \t\r\n ")), 0);
    assert_int_equal(sim_count_tokens(STR("one")), 1);
    assert_int_equal(sim_count_tokens(STR("  one two\nthree ")), 3);
    assert_int_equal(sim_count_tokens(STR("[{\"role\":\"user\",\"content\":\"Hello there\"}]")), 2);
    assert_int_equal(sim_count_tokens(STR("[{\"role\": \"user\", \"content\": \"Hello there\"}]")),
                     5);
    assert_int_equal(sim_count_tokens(STR("caf\xc3\xa9 \xe2\x82\xac")), 2);
}

/* The count is made eight bytes at a time, in runs: every length around several of them, and all
 * byte values. */
static void counting_in_runs_loses_nothing(void **state)
{
    (void)state;
    char text[1100];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = sim_mix(i) % 2 ? (char)(sim_mix(i) >> 8) : ' ';
    for (size_t n = 0; n <= sizeof text; n++)
        assert_int_equal(sim_count_tokens((struct str){text, n}),
                         count_slowly((struct str){text, n}));
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 ? 'a' : ' ';
    assert_int_equal(sim_count_tokens((struct str){text, sizeof text}), sizeof text / 2);
}

static void the_seed_depends_on_all_it_should(void **state)
{
    (void)state;
    char prompt[10000];
    memset(prompt, 'a', sizeof prompt);
    static const size_t sizes[] = {10, 4096, 4097, 10000};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct str text = {prompt, sizes[i]}, shorter = {prompt, sizes[i] - 1};
        uint64_t seed = sim_seed(STR("m"), text, 1);
        assert_int_equal(seed, sim_seed(STR("m"), text, 1));
        assert_int_not_equal(seed, sim_seed(STR("n"), text, 1));
        assert_int_not_equal(seed, sim_seed(STR("m"), text, 2));
        assert_int_not_equal(seed, sim_seed(STR("m"), shorter, 1));
        size_t ends[] = {0, sizes[i] - 1};
        for (size_t e = 0; e < COUNT(ends); e++) {
            prompt[ends[e]] = 'b';
            assert_int_not_equal(seed, sim_seed(STR("m"), text, 1));
            prompt[ends[e]] = 'a';
        }
    }
}

static void text_is_n_words_and_repeats(void **state)
{
    (void)state;
    char text[100 * SIM_WORD_BYTES], again[SIM_WORD_BYTES];
    size_t n = 0;
    unsigned differ = 0;
    for (uint64_t k = 0; k < 99; k++) {
        size_t length = sim_word(42, k, text + n);
        assert_in_range(length, 1, SIM_WORD_BYTES - 1);
        assert_int_equal(text[n] == ' ', k > 0);
        assert_int_equal(sim_word(42, k, again), length);
        assert_memory_equal(again, text + n, length);
        differ += sim_word(43, k, again) != length || memcmp(again, text + n, length) != 0;
        n += length;
    }
    assert_int_equal(sim_count_tokens((struct str){text, n}), 99);
    assert_in_range(differ, 80, 99); /* another seed is another text */
}

static void pieces_join_and_keep_characters_whole(void **state)
{
    (void)state;
    static const struct str texts[] = {
        STR("{}"),
        STR("{\"city\":\"Oslo\"}"),
        STR("12345678"),
        STR("123456789"),
        STR("1234567\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"),
        STR("1234567\xf0\x9f\x8c\x8a"),
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        char joined[64];
        size_t n = 0, pieces = sim_piece_count(texts[i]);
        for (size_t k = 0; k < pieces; k++) {
            struct str piece = sim_piece(texts[i], k);
            assert_in_range(piece.n, 1, SIM_PIECE_BYTES + 3);
            assert_int_not_equal((unsigned char)piece.p[0] & 0xc0, 0x80);
            memcpy(joined + n, piece.p, piece.n);
            n += piece.n;
        }
        assert_int_equal(n, texts[i].n);
        assert_memory_equal(joined, texts[i].p, n);
        assert_int_equal(sim_piece(texts[i], pieces).n, 0);
    }
    assert_int_equal(sim_piece_count(STR("")), 0);
    assert_int_equal(sim_piece_count(STR("12345678")), 1);
    assert_int_equal(sim_piece_count(STR("123456789")), 2);
}

static struct sim_schedule schedule(int64_t ttft_ms, int64_t rate, int64_t jitter_pct,
                                    uint64_t seed)
{
    struct sim_knobs k;
    sim_knobs_init(&k);
    k.v[SIM_TTFT_MS] = ttft_ms;
    k.v[SIM_TOKENS_PER_SECOND] = rate;
    k.v[SIM_JITTER_PCT] = jitter_pct;
    return sim_schedule_make(&k, 1000 * NS_PER_S, seed);
}

static void tokens_are_due_on_an_absolute_schedule(void **state)
{
    (void)state;
    struct sim_schedule s = schedule(800, 20, 0, 1), at_once = schedule(0, 0, 0, 1);
    assert_int_equal(sim_due_ns(&s, 0), 1000 * NS_PER_S + 800 * NS_PER_MS);
    assert_int_equal(sim_due_ns(&s, 1), 1000 * NS_PER_S + 850 * NS_PER_MS);
    assert_int_equal(sim_due_ns(&s, 200), 1000 * NS_PER_S + 10800 * NS_PER_MS);
    assert_int_equal(sim_due_ns(&at_once, 5000), 1000 * NS_PER_S);
    /* A third of a second each: no error adds up. */
    struct sim_schedule thirds = schedule(0, 3, 0, 1);
    assert_int_equal(sim_due_ns(&thirds, 30000), 11000 * NS_PER_S);
}

static void jitter_moves_but_never_reorders(void **state)
{
    (void)state;
    struct sim_schedule even = schedule(100, 50, 0, 9);
    uint64_t moved = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim_schedule s = schedule(100, 50, 100, seed);
        for (uint64_t k = 0; k < 200; k++) {
            uint64_t due = sim_due_ns(&s, k);
            int64_t off = (int64_t)(due - sim_due_ns(&even, k));
            assert_in_range(off + (int64_t)(60 * NS_PER_MS), 0, 120 * NS_PER_MS);
            assert_int_equal(due, sim_due_ns(&s, k));
            assert_true(k == 0 || due >= sim_due_ns(&s, k - 1));
            moved += off != 0;
        }
    }
    assert_in_range(moved, 9900, 10000);
}

static void errors_come_by_share_and_repeat(void **state)
{
    (void)state;
    struct sim_knobs k;
    unsigned failed = 0, by_status[600] = {0};
    sim_knobs_init(&k);
    assert_int_equal(sim_error_status(&k, 1, 0), 0);
    k.v[SIM_ERRORS_PER_MILLION] = 300000;
    for (uint32_t i = 0; i < 10000; i++) {
        int status = sim_error_status(&k, sim_mix(i % 100), i / 100);
        assert_int_equal(status, sim_error_status(&k, sim_mix(i % 100), i / 100));
        failed += status != 0;
        by_status[status]++;
    }
    assert_in_range(failed, 2800, 3200); /* 4 standard deviations are 183 */
    assert_in_range(by_status[429], 850, 1150);
    assert_in_range(by_status[500], 850, 1150);
    assert_int_equal(by_status[429] + by_status[500] + by_status[503], failed);
    k.v[SIM_ERRORS_PER_MILLION] = 1000000;
    k.v[SIM_ERROR_STATUS] = 418;
    assert_int_equal(sim_error_status(&k, 7, 0), 418);
    k.v[SIM_STATUS] = 503;
    assert_int_equal(sim_error_status(&k, 7, 0), 503);
}

/* The same request must not fail for ever: a retry has its chance. */
static void slow_ones_are_evenly_spread(void **state)
{
    (void)state;
    struct sim_knobs k;
    int slow = 0;
    uint64_t last = 0, longest = 0;
    sim_knobs_init(&k);
    assert_false(sim_is_slow(&k, 0));
    k.v[SIM_SLOW_PER_MILLION] = 50000;
    for (uint64_t i = 0; i < 2000; i++) {
        if (!sim_is_slow(&k, i))
            continue;
        slow++;
        longest = MAX(longest, i - last);
        last = i;
    }
    assert_int_equal(slow, 100);
    assert_int_equal(longest, 20);
    k.v[SIM_SLOW_PER_MILLION] = 1000000;
    assert_true(sim_is_slow(&k, 0) && sim_is_slow(&k, 1));
}

static void a_failed_request_succeeds_later(void **state)
{
    (void)state;
    struct sim_knobs k;
    sim_knobs_init(&k);
    k.v[SIM_ERRORS_PER_MILLION] = 300000;
    for (uint64_t hash = 0; hash < 200; hash++) {
        uint32_t nth = 0;
        while (sim_error_status(&k, hash, nth))
            nth++;
        assert_in_range(nth, 0, 15);
    }
}

static void vectors_have_unit_length(void **state)
{
    (void)state;
    int32_t v[4096], again[4096], other[4096];
    static const size_t dims[] = {1, 2, 64, 1536, 4096};
    for (size_t d = 0; d < COUNT(dims); d++) {
        double squares = 0, dot = 0;
        sim_vector(5, v, dims[d]);
        sim_vector(5, again, dims[d]);
        sim_vector(6, other, dims[d]);
        assert_memory_equal(v, again, dims[d] * sizeof *v);
        for (size_t i = 0; i < dims[d]; i++) {
            squares += pow((double)v[i] / SIM_VECTOR_UNIT, 2);
            dot += (double)v[i] / SIM_VECTOR_UNIT * other[i] / SIM_VECTOR_UNIT;
        }
        assert_true(fabs(squares - 1) < 1e-5);
        assert_true(dims[d] < 64 || fabs(dot) < 0.5); /* other text, other direction */
    }
}

static void array_elements_are_cut_whole(void **state)
{
    (void)state;
    struct str rest = str_skip(STR("[ \"a,b]\" , \"c\\\"]d\",[1, 2] ,{\"x\":[1]},12 ]"), 1),
               element;
    static const struct str expected[] = {STR("\"a,b]\""), STR("\"c\\\"]d\""), STR("[1, 2]"),
                                          STR("{\"x\":[1]}"), STR("12")};
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_true(sim_next_element(&rest, &element));
        assert_int_equal(element.n, expected[i].n);
        assert_memory_equal(element.p, expected[i].p, element.n);
    }
    assert_false(sim_next_element(&rest, &element));
    rest = STR(" ]");
    assert_false(sim_next_element(&rest, &element));
    rest = STR("");
    assert_false(sim_next_element(&rest, &element));
}

static void faults_are_told_in_words(void **state)
{
    (void)state;
    struct sim_spec spec;
    struct sim_knobs k;
    struct buf b;
    char why[160] = "";
    buf_init(&b, 0, NULL);
    sim_knobs_init(&k);
    assert_false(k.faulty);
    assert_true(sim_spec_parse(&spec, STR("cut-after, retry-after=2,tokens=9"), why, sizeof why));
    sim_spec_apply(&spec, &k);
    assert_true(k.faulty);
    assert_int_equal(k.v[SIM_TOKENS], 9);
    assert_int_equal(k.v[SIM_RETRY_AFTER], 2);
    assert_int_equal(k.v[SIM_CUT_AFTER], 2); /* the value that goes without saying */
    assert_true(sim_spec_write(&b, &spec));
    assert_true(str_eq(buf_str(&b), STR("cut-after=2,retry-after=2,tokens=9")));
    buf_fini(&b);
    assert_true(sim_spec_parse(&spec, STR("delay-ms=30"), why, sizeof why));
    sim_knobs_init(&k);
    sim_spec_apply(&spec, &k);
    assert_false(k.faulty); /* slow is not wrong */
    assert_true(sim_spec_parse(&spec, STR("refuse"), why, sizeof why));
    assert_true(spec.at_accept);
    static const char *const wrong[] = {"",
                                        ",",
                                        "statu",
                                        "status=",
                                        "tokens",
                                        "status=1000",
                                        "hang-head=2",
                                        "refuse,hang-head",
                                        "hang-head,refuse",
                                        "hang-head,status=500",
                                        "refuse,tokens=2",
                                        "n,o",
                                        "stamp,stamp,stamp,stamp,stamp,stamp,stamp,stamp,stamp"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        bool fine = strcmp(wrong[i], "status=") == 0; /* as without '=' */
        why[0] = '\0';
        assert_int_equal(sim_spec_parse(&spec, str_from(wrong[i]), why, sizeof why), fine);
        assert_int_equal(why[0] == '\0', fine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_found_by_name),
        cmocka_unit_test(a_row_lays_over_the_process),
        cmocka_unit_test(headers_turn_knobs),
        cmocka_unit_test(faults_are_told_in_words),
        cmocka_unit_test(tokens_are_words),
        cmocka_unit_test(counting_in_runs_loses_nothing),
        cmocka_unit_test(the_seed_depends_on_all_it_should),
        cmocka_unit_test(text_is_n_words_and_repeats),
        cmocka_unit_test(pieces_join_and_keep_characters_whole),
        cmocka_unit_test(tokens_are_due_on_an_absolute_schedule),
        cmocka_unit_test(jitter_moves_but_never_reorders),
        cmocka_unit_test(errors_come_by_share_and_repeat),
        cmocka_unit_test(slow_ones_are_evenly_spread),
        cmocka_unit_test(a_failed_request_succeeds_later),
        cmocka_unit_test(vectors_have_unit_length),
        cmocka_unit_test(array_elements_are_cut_whole),
    };
    return cmocka_run_group_tests_name("sim", tests, NULL, NULL);
}
