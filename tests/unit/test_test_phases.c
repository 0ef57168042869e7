#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/rand.h"
#include "cli/test.h"

static struct test_header headers[8];
static struct test_result result;

/* A stream over a new connection, in us: name 10, TCP 30, sent 40 to 45, first byte 1045, role 1050, token 1100 to 1500, [DONE] 1600, end 1610. */
static int reset(void **state)
{
    (void)state;
    result = (struct test_result){.headers = headers, .stream = true};
    struct sample *s = &result.sample;
    s->start_ns = 1000000;
    s->resolved_ns = s->start_ns + 10 * NS_PER_US;
    s->connected_ns = s->start_ns + 30 * NS_PER_US;
    s->sent_first_ns = s->start_ns + 40 * NS_PER_US;
    s->sent_ns = s->start_ns + 45 * NS_PER_US;
    s->first_byte_ns = s->head_ns = s->start_ns + 1045 * NS_PER_US;
    s->first_event_ns = s->start_ns + 1050 * NS_PER_US;
    s->first_token_ns = s->first_content_ns = s->start_ns + 1100 * NS_PER_US;
    s->last_token_ns = s->start_ns + 1500 * NS_PER_US;
    s->done_ns = s->start_ns + 1600 * NS_PER_US;
    s->end_ns = s->start_ns + 1610 * NS_PER_US;
    s->server_queue_us = s->server_upstream_us = s->server_overhead_us = -1;
    return 0;
}

static void add_header(const char *name, const char *value)
{
    headers[result.header_count++] = (struct test_header){str_from(name), str_from(value)};
}

/* "dns 10, tcp 20, ..." in us, whole; checks what holds of all. */
static const char *phases(struct test_phases *p)
{
    static char text[800];
    int64_t sum_ns = 0;
    size_t n = 0;
    test_phases(&result, p);
    for (size_t i = 0; i < p->count; i++) {
        const struct test_phase *one = &p->list[i];
        assert_int_equal((int64_t)one->begins_ns, sum_ns); /* no hole, no overlap */
        sum_ns += one->took_ns;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %lld", n ? ", " : "", one->key,
                              (long long)one->took_ns / 1000);
    }
    assert_int_equal(sum_ns, p->total_ns);
    assert_int_equal(p->total_ns, result.sample.end_ns - result.sample.start_ns);
    if (p->upstream_ns >= 0)
        assert_int_equal(p->before_ns + p->upstream_ns + p->after_ns + p->rest_ns, p->wait_ns);
    return text;
}

static void a_server_that_says_nothing(void **state)
{
    struct test_phases p;
    (void)state;
    assert_string_equal(phases(&p),
                        "dns 10, tcp 20, send 15, wait 1000, first_event 5, first_token 50, "
                        "tokens 400, done 100, end 10");
    assert_int_equal(p.upstream_ns, -1);
}

static void a_gateway_with_server_timing(void **state)
{
    struct test_phases p;
    (void)state;
    result.sample.server_queue_us = 120;
    result.sample.server_upstream_us = 700;
    result.sample.server_overhead_us = 100;
    add_header("x-litellm-response-duration-ms", "0.850");
    assert_string_equal(
        phases(&p),
        "dns 10, tcp 20, send 15, gateway_before 120, upstream 700, gateway_after 30, "
        "network_and_client 150, first_event 5, first_token 50, tokens 400, done 100, end 10");
    assert_int_equal(p.lost_ns, 50000); /* 850 - 700 - 100: attempts that failed */
    /* Without the whole duration, what is told adds up all the same. */
    result.header_count = 0;
    assert_non_null(strstr(phases(&p), "gateway_before 120, upstream 700, network_and_client 180"));
    assert_int_equal(p.after_ns, 0);
}

static void the_rest_may_be_below_zero(void **state)
{
    struct test_phases p;
    (void)state;
    result.sample.server_queue_us = 120;
    result.sample.server_upstream_us = 885;
    test_phases(&result, &p);
    assert_int_equal(p.rest_ns, -5000);
    int64_t sum_ns = 0;
    for (size_t i = 0; i < p.count; i++)
        sum_ns += p.list[i].took_ns;
    assert_int_equal(sum_ns, p.total_ns);
}

static void litellm_itself(void **state)
{
    struct test_phases p;
    (void)state;
    result.sample.server_upstream_us = 800; /* answer_head made them of its two durations */
    result.sample.server_overhead_us = 60;
    assert_non_null(strstr(phases(&p), "gateway_before 60, upstream 800, network_and_client 140"));
    assert_int_equal(p.lost_ns, 0);
}

static void a_cache_asks_no_upstream(void **state)
{
    struct test_phases p;
    (void)state;
    result.sample.server_queue_us = 300;
    result.sample.server_upstream_us = 0;
    result.sample.server_overhead_us = 300;
    add_header("X-LiteLLM-Response-Duration-Ms", "0.300");
    assert_non_null(strstr(phases(&p), "send 15, gateway_before 300, network_and_client 700, "));
}

static void openais_own_account(void **state)
{
    struct test_phases p;
    (void)state;
    add_header("openai-processing-ms", "0.6");
    assert_non_null(strstr(phases(&p), "send 15, upstream 600, network_and_client 400, "));
    assert_int_equal(p.processing_ns, 600000);
    result.header_count = 0;
    add_header("openai-processing-ms", "900"); /* longer than there was to wait: not believed */
    assert_non_null(strstr(phases(&p), "send 15, wait 1000, "));
    result.header_count = 0;
    add_header("llm_provider-openai-processing-ms", "0.6");
    result.sample.server_queue_us = 100;
    result.sample.server_upstream_us = 700;
    assert_non_null(strstr(phases(&p), "gateway_before 100, upstream 700, network_and_client 200"));
    assert_int_equal(p.processing_ns, 600000);
}

static void what_was_not_reached_is_no_phase(void **state)
{
    struct test_phases p;
    (void)state;
    struct sample *s = &result.sample;
    s->usage_ns = s->done_ns;
    s->first_content_ns = s->last_token_ns - NS_PER_US; /* it reasoned first */
    s->reused = true;
    s->resolved_ns = s->connected_ns = 0;
    assert_string_equal(
        phases(&p), "send 45, wait 1000, first_event 5, first_token 50, reasoning 399, tokens 1, "
                    "usage 100, done 0, end 10");
    /* Not connected in time. */
    result.stream = false;
    *s = (struct sample){.start_ns = 5,
                         .end_ns = 5 + NS_PER_S,
                         .server_queue_us = -1,
                         .server_upstream_us = -1,
                         .server_overhead_us = -1};
    assert_string_equal(phases(&p), "receive 1000000");
}

/* A mark before the one in front of it takes no time, and gives none. */
static void marks_out_of_order_still_add_up(void **state)
{
    struct rng r;
    struct test_phases p;
    (void)state;
    rng_seed(&r, 7);
    for (int round = 0; round < 20000; round++) {
        reset(NULL);
        struct sample *s = &result.sample;
        uint64_t *marks[] = {&s->resolved_ns,    &s->connected_ns,     &s->secured_ns,
                             &s->sent_ns,        &s->first_byte_ns,    &s->first_event_ns,
                             &s->first_token_ns, &s->first_content_ns, &s->last_token_ns,
                             &s->usage_ns,       &s->done_ns};
        for (size_t i = 0; i < COUNT(marks); i++)
            *marks[i] = rng_next(&r) % 4 ? s->start_ns + rng_next(&r) % 1000000 : 0;
        s->server_queue_us = (int64_t)(rng_next(&r) % 1200) - 100;
        s->server_upstream_us = (int64_t)(rng_next(&r) % 1200) - 100;
        s->end_ns = s->start_ns + 1000000 + rng_next(&r) % 1000;
        result.stream = rng_next(&r) % 2;
        test_phases(&result, &p);
        int64_t sum_ns = 0;
        for (size_t i = 0; i < p.count; i++) {
            sum_ns += p.list[i].took_ns;
            assert_true(p.list[i].took_ns >= 0 || strcmp(p.list[i].key, "network_and_client") == 0);
        }
        assert_int_equal(sum_ns, p.total_ns);
        assert_int_equal(p.total_ns, s->end_ns - s->start_ns);
    }
}

/* ---- which of several is shown ---- */

static void the_median_is_of_those_that_went_well(void **state)
{
    static const struct {
        int64_t took_us[5]; /* below 0: failed */
        size_t median;
    } rows[] = {
        {{5, 3, 9, 1, 7}, 0},     {{-5, 3, 9, 1, 7}, 1}, {{-5, -3, -9, -1, -7}, 0},
        {{-5, -3, 9, -1, -7}, 2}, {{4, 4, 4, 4, 4}, 2},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct test_result list[5] = {0};
        for (size_t k = 0; k < 5; k++) {
            int64_t us = rows[i].took_us[k];
            list[k].sample.outcome = us < 0 ? OUTCOME_TRUNCATED : OUTCOME_OK;
            list[k].sample.start_ns = 1000;
            list[k].sample.end_ns = 1000 + (uint64_t)(us < 0 ? -us : us) * NS_PER_US;
        }
        assert_int_equal(test_median(list, 5), rows[i].median);
    }
}

/* ---- what is not shown ---- */

static void the_key_is_masked_wherever_it_stands(void **state)
{
    static const struct {
        const char *text, *key, *expected;
    } rows[] = {
        {"authorization: Bearer plainkey", "plainkey", "authorization: Bearer ***"},
        {"a plainkey b plainkey", "plainkey", "a *** b ***"},
        {"plainkey", "plainkey", "***"},
        {"x-api-key: abcdef123", NULL, "x-api-key: ***"},
        {"abc", "abc", "abc"}, /* too short to tell from a word */
        {"Set-Cookie: session=abc; Path=/", NULL, "Set-Cookie: ***"},
        {"cookies: 2", NULL, "cookies: 2"},
        {"", "plainkey", ""},
    };
    struct arena a;
    (void)state;
    arena_init(&a, NULL, 0);
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_string_equal(test_masked(&a, str_from(rows[i].text), rows[i].key).p,
                            rows[i].expected);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_server_that_says_nothing, reset),
        cmocka_unit_test_setup(a_gateway_with_server_timing, reset),
        cmocka_unit_test_setup(the_rest_may_be_below_zero, reset),
        cmocka_unit_test_setup(litellm_itself, reset),
        cmocka_unit_test_setup(a_cache_asks_no_upstream, reset),
        cmocka_unit_test_setup(openais_own_account, reset),
        cmocka_unit_test_setup(what_was_not_reached_is_no_phase, reset),
        cmocka_unit_test_setup(marks_out_of_order_still_add_up, reset),
        cmocka_unit_test(the_median_is_of_those_that_went_well),
        cmocka_unit_test(the_key_is_masked_wherever_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
