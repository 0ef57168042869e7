/* Where a request's time goes: by hand, for streams and others, for clocks that contradict each other, and merged. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "log_lines.h"
#include "observe/phases.h"

static void take(struct phases *p, const char *text)
{
    struct logline l;
    enum log_event event = line_read(&l, text);
    phases_take(p, &l, event);
}

static const char *const lines[] = {
    /* 10 queue, 90 until the first token, 890 generation, 10 gateway after it */
    ("{\"event\":\"request\",\"model\":\"m\",\"provider\":\"p\",\"stream\":true,\"latency_ms\":"
     "1000,"
     "\"ttft_ms\":100,\"upstream_ms\":980,\"overhead_ms\":20,\"queue_ms\":10,\"completion_tokens\":"
     "101,\"tokens_per_second\":110.5}"),
    /* 4 queue, 495 in one piece, 1 gateway */
    ("{\"event\":\"request\",\"model\":\"m\",\"provider\":\"q\",\"latency_ms\":500,\"upstream_ms\":"
     "495,\"overhead_ms\":5,\"queue_ms\":4,\"completion_tokens\":50}"),
    /* LiteLLM's lines have neither upstream nor queue */
    ("{\"startTime\":1795482000.0,\"endTime\":1795482002.0,\"completionStartTime\":1795482000.5,"
     "\"stream\":true,\"model\":\"m\",\"custom_llm_provider\":\"p\",\"status\":\"success\","
     "\"completion_tokens\":1,\"hidden_params\":{\"litellm_overhead_time_ms\":3}}"),
    "{\"event\":\"request\",\"model\":\"m\",\"latency_ms\":1,\"cache\":\"hit\"}",
    "{\"event\":\"request\",\"model\":\"m\",\"status\":\"success\"}",
    "{\"event\":\"attempt\",\"model\":\"m\",\"latency_ms\":5000}",
};

static void check(const struct phases *p)
{
    const struct phase_sum *t = &p->total;
    assert_int_equal(t->requests, 3);
    assert_int_equal(p->hits, 1);
    assert_int_equal(p->groups.count, 2);
    assert_int_equal(t->share_us[SHARE_QUEUE], 14000);
    assert_int_equal(t->share_us[SHARE_FIRST_TOKEN], 90000 + 500000);
    assert_int_equal(t->share_us[SHARE_GENERATION], 890000 + 1497000);
    assert_int_equal(t->share_us[SHARE_ANSWER], 495000);
    assert_int_equal(t->share_us[SHARE_GATEWAY], 10000 + 1000 + 3000);
    double all = 0;
    for (int i = 0; i < SHARE_COUNT; i++)
        all += phases_share(t, (enum phase_share)i);
    assert_true(fabs(all - 1) < 1e-12);
    assert_true(fabs(phases_share(t, SHARE_QUEUE) - 14.0 / 3500) < 1e-12);
    assert_int_equal(t->spreads[PHASE_QUEUE].count, 2);
    assert_int_equal(t->spreads[PHASE_OVERHEAD].count, 3);
    assert_int_equal(t->spreads[PHASE_FIRST_TOKEN].min, 90000);
    assert_int_equal(t->spreads[PHASE_FIRST_TOKEN].max, 500000);
    assert_int_equal(t->spreads[PHASE_GENERATION].min, 900000);
    assert_int_equal(t->spreads[PHASE_INTER_TOKEN].count, 1); /* one token has no time between */
    assert_int_equal(t->spreads[PHASE_INTER_TOKEN].max, 9000);
    assert_int_equal(t->spreads[PHASE_TOKENS_PER_SECOND].max, 110500);
    assert_true(phases_quantile(t, PHASE_OVERHEAD, 1) == 20000);
}

static void time_is_shared_out_in_one_piece_and_merged(void **state)
{
    (void)state;
    struct phases whole, a, b;
    phases_init(&whole);
    phases_init(&a);
    phases_init(&b);
    for (size_t i = 0; i < COUNT(lines); i++) {
        take(&whole, lines[i]);
        take(i % 2 ? &a : &b, lines[COUNT(lines) - 1 - i]);
    }
    check(&whole);
    phases_merge(&a, &b);
    check(&a);
    phases_fini(&a);
    phases_fini(&b);
    phases_fini(&whole);
}

/* What a stranger's line says need not add up: no share is negative, and all are the latency. */
static void contradictions_add_up_too(void **state)
{
    (void)state;
    static const char *const odd[] = {
        ("{\"event\":\"request\",\"latency_ms\":10,\"ttft_ms\":50,\"queue_ms\":70,\"overhead_ms\":"
         "90}"),
        "{\"event\":\"request\",\"latency_ms\":10,\"ttft_ms\":1,\"queue_ms\":5,\"overhead_ms\":2}",
        "{\"event\":\"request\",\"latency_ms\":10,\"queue_ms\":12,\"overhead_ms\":0}",
        "{\"event\":\"request\",\"latency_ms\":0,\"ttft_ms\":0,\"completion_tokens\":9}",
        "{\"event\":\"request\",\"latency_ms\":10,\"ttft_ms\":10,\"overhead_ms\":9}",
    };
    for (size_t i = 0; i < COUNT(odd); i++) {
        struct phases p;
        uint64_t all = 0;
        phases_init(&p);
        take(&p, odd[i]);
        for (int s = 0; s < SHARE_COUNT; s++)
            all += p.total.share_us[s];
        assert_int_equal(p.total.requests, 1);
        assert_int_equal(all, i == 3 ? 0 : 10000);
        assert_int_equal(p.total.spreads[PHASE_INTER_TOKEN].count, 0);
        phases_fini(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_is_shared_out_in_one_piece_and_merged),
        cmocka_unit_test(contradictions_add_up_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
