/* test_results.c -- metrics of samples, groups, windows and failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "measure/failure.h"
#include "measure/results.h"

#define MS NS_PER_MS

static const uint64_t origin = 1000 * NS_PER_S;

/* A plain request: due at `due_ms` after the origin, sent 1 ms later, ended `total_ms` after that. */
static struct sample plain(uint64_t due_ms, uint64_t total_ms)
{
    uint64_t due = origin + due_ms * MS, sent = due + MS;
    return (struct sample){.outcome = OUTCOME_OK,
                           .reused = true,
                           .http_status = 200,
                           .due_ns = due,
                           .start_ns = due + MS / 2,
                           .sent_first_ns = sent,
                           .sent_ns = sent + 1000,
                           .first_byte_ns = sent + total_ms * MS - 5000,
                           .head_ns = sent + total_ms * MS - 4000,
                           .end_ns = sent + total_ms * MS,
                           .prompt_tokens = 10,
                           .completion_tokens = 20,
                           .cached_tokens = -1,
                           .reasoning_tokens = -1,
                           .body_bytes = 300,
                           .cost_usd = -1};
}

static double value(const struct results *r, enum measured m)
{
    return hdr_mean(&r->total.spreads[m].hdr) *
           (r->total.spreads[m].unit > 0 ? r->total.spreads[m].unit : 1);
}

static void a_plain_request_has_its_phases(void **state)
{
    (void)state;
    struct results *r = results_new(1, 1, NULL, origin);
    struct sample s = plain(0, 40);
    results_take(r, &s);
    results_seal(r);
    assert_true(value(r, MEASURED_TOTAL) == 40.0 * MS);
    assert_true(value(r, MEASURED_RESPONSE) == 41.0 * MS);
    assert_true(value(r, MEASURED_LAG) == 0.5 * MS);
    assert_true(value(r, MEASURED_SEND) == 1000);
    assert_true(value(r, MEASURED_WAIT) == 40.0 * MS - 6000);
    assert_true(value(r, MEASURED_RECEIVE) == 5000);
    static const enum measured absent[] = {MEASURED_TTFT,      MEASURED_TTFT_CORRECTED,
                                           MEASURED_TTFT_COLD, MEASURED_TTFO,
                                           MEASURED_TTFC,      MEASURED_E2E,
                                           MEASURED_ICL,       MEASURED_ITL,
                                           MEASURED_TPOT,      MEASURED_NORMALIZED,
                                           MEASURED_SPEED,     MEASURED_STALL,
                                           MEASURED_DNS,       MEASURED_CONNECT,
                                           MEASURED_TLS,       MEASURED_COST};
    for (size_t i = 0; i < COUNT(absent); i++)
        assert_int_equal(spread_count(&r->total.spreads[absent[i]]), 0);
    results_free(r);
}

/* Five chunks at 100, 110, 130, 140 and 170 ms after the request, of which the first is reasoning; due 1 ms before. */
static const uint64_t gaps[] = {10 * MS, 20 * MS, 10 * MS, 30 * MS};
static struct sample stream(uint64_t due_ms)
{
    struct sample s = plain(due_ms, 172);
    uint64_t sent = s.sent_first_ns;
    s.stream = true;
    s.first_byte_ns = sent + 60 * MS;
    s.first_event_ns = sent + 90 * MS;
    s.first_token_ns = sent + 100 * MS;
    s.first_content_ns = sent + 110 * MS;
    s.last_token_ns = sent + 170 * MS;
    s.usage_ns = s.done_ns = sent + 171 * MS;
    s.chunks = 5;
    s.gaps_ns = gaps;
    s.gap_count = COUNT(gaps);
    s.completion_tokens = 5;
    return s;
}

static uint64_t values_of(const struct results *r, enum measured m)
{
    return spread_count(&r->total.spreads[m]);
}

static void a_stream_has_its_tokens_times(void **state)
{
    (void)state;
    struct results *r = results_new(1, 1, NULL, origin);
    struct sample s = stream(0);
    s.cost_usd = 0.00123;
    results_take(r, &s);
    results_seal(r);
    static const struct {
        enum measured metric;
        double expected;
    } cases[] = {
        {MEASURED_TOTAL, 172e6},      {MEASURED_RESPONSE, 173e6},
        {MEASURED_TTFT, 100e6},       {MEASURED_TTFT_CORRECTED, 101e6},
        {MEASURED_TTFO, 110e6},       {MEASURED_TTFC, 90e6},
        {MEASURED_E2E, 170e6},        {MEASURED_ICL, 17.5e6},
        {MEASURED_ITL, 17.5e6},       {MEASURED_TPOT, 17.5e6},
        {MEASURED_NORMALIZED, 34e6},  {MEASURED_SPEED, 57.143},
        {MEASURED_STALL, 30e6},       {MEASURED_COST, 0.00123},
        {MEASURED_WAIT, 60e6 - 1000}, {MEASURED_RECEIVE, 112e6},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        if (fabs(value(r, cases[i].metric) - cases[i].expected) > 1e-6 * cases[i].expected)
            fail_msg("%s: %f, expected %f", measured_info(cases[i].metric)->key,
                     value(r, cases[i].metric), cases[i].expected);
    assert_int_equal(values_of(r, MEASURED_ICL), 4);
    assert_int_equal(values_of(r, MEASURED_TTFT_COLD), 0); /* on a kept connection */
    assert_int_equal(r->total.tokens_in_window, 5);
    assert_int_equal(r->total.tokens_told, 1);
    assert_int_equal(r->total.stalls, 0);
    results_free(r);
}

static void a_new_connection_has_its_phases(void **state)
{
    (void)state;
    struct results *r = results_new(1, 1, NULL, origin);
    struct sample s = stream(0);
    s.reused = false;
    s.start_ns = s.due_ns + MS / 10;
    s.resolved_ns = s.start_ns + MS / 10;
    s.connected_ns = s.resolved_ns + MS / 5;
    s.secured_ns = s.connected_ns + MS / 4;
    results_take(r, &s);
    assert_true(value(r, MEASURED_DNS) == 0.1 * MS && value(r, MEASURED_CONNECT) == 0.2 * MS &&
                value(r, MEASURED_TLS) == 0.25 * MS);
    assert_true(value(r, MEASURED_TTFT_COLD) == 100.9 * MS);
    s.resolved_ns = s.secured_ns = 0; /* an address, and no TLS */
    results_take(r, &s);
    assert_int_equal(values_of(r, MEASURED_DNS), 1);
    assert_int_equal(values_of(r, MEASURED_TLS), 1);
    assert_int_equal(values_of(r, MEASURED_CONNECT), 2);
    assert_int_equal(r->total.spreads[MEASURED_CONNECT].hdr.max, 3 * MS / 10);
    results_free(r);
}

static void what_is_undefined_is_absent(void **state)
{
    (void)state;
    struct results *r = results_new(1, 1, NULL, origin);
    struct sample s = stream(0);
    s.completion_tokens = 9; /* chunks of several tokens: gaps are no times of tokens */
    results_take(r, &s);
    assert_int_equal(values_of(r, MEASURED_ITL), 0);
    assert_int_equal(values_of(r, MEASURED_ICL), 4);
    s.completion_tokens = 5; /* not told, counted */
    s.tokens_counted = true;
    results_take(r, &s);
    assert_int_equal(values_of(r, MEASURED_ITL), 0);
    assert_int_equal(values_of(r, MEASURED_TPOT), 2);
    assert_int_equal(r->total.tokens_told, 1);
    s = stream(0);
    s.last_token_ns = s.first_token_ns; /* one chunk of one token */
    s.chunks = 1;
    s.gap_count = 0;
    s.completion_tokens = 1;
    results_take(r, &s);
    s.completion_tokens = 50; /* one chunk of all tokens */
    results_take(r, &s);
    assert_int_equal(values_of(r, MEASURED_TPOT), 2);
    assert_int_equal(values_of(r, MEASURED_SPEED), 2);
    assert_int_equal(values_of(r, MEASURED_STALL), 2);
    assert_int_equal(values_of(r, MEASURED_NORMALIZED), 4);
    assert_int_equal(values_of(r, MEASURED_COST), 0);
    s.completion_tokens = -1; /* not told, and nobody counted */
    results_take(r, &s);
    assert_int_equal(values_of(r, MEASURED_NORMALIZED), 4);
    assert_int_equal(values_of(r, MEASURED_E2E), 5);
    results_free(r);
}

static void failures_have_no_latency_but_a_name(void **state)
{
    (void)state;
    struct results *r = results_new(1, 1, NULL, origin);
    struct sample s = stream(0);
    s.outcome = OUTCOME_TRUNCATED;
    s.cost_usd = 0.5;
    snprintf(s.error, sizeof s.error, "the stream stops");
    snprintf(s.request_id, sizeof s.request_id, "id-1");
    results_take(r, &s);
    s = plain(1, 40);
    s.outcome = OUTCOME_DROPPED;
    s.start_ns = s.sent_first_ns = s.sent_ns = s.end_ns = 0;
    results_take(r, &s);
    for (int i = 0; i < 20; i++) {
        s = plain((uint64_t)i, 40);
        s.outcome = OUTCOME_HTTP_5XX;
        snprintf(s.error, sizeof s.error, "sentence %d", i);
        for (int times = 0; times <= i; times++)
            results_take(r, &s);
    }
    s.outcome = OUTCOME_CANCELLED;
    results_take(r, &s);
    results_seal(r);
    for (int m = 0; m < MEASURED_COUNT; m++)
        assert_int_equal(values_of(r, (enum measured)m), m == MEASURED_LAG ? 1 + 210 + 1 : 0);
    assert_int_equal(r->total.requests, 212);
    assert_int_equal(results_attempts(&r->total), 213);
    assert_int_equal(results_failures(&r->total), 212);
    assert_true(r->total.cost_usd == 0.5 && r->total.wasted_usd == 0.5);
    assert_int_equal(r->total.good, 0);
    assert_int_equal(r->failure_count, RESULTS_FAILURES_MAX);
    assert_string_equal(r->failures[0].error,
                        "sentence 13"); /* the most frequent that had a place */
    assert_int_equal(r->failures[0].count, 14);
    uint64_t told = 0;
    for (size_t i = 0; i < r->failure_count; i++)
        told += r->failures[i].count;
    assert_int_equal(told + r->failures_untold, 213);
    assert_int_equal(r->total.tokens_in_window, 5); /* they did arrive */
    assert_int_equal(r->seconds[0].failed, 212);
    results_free(r);
}

static void stalls_are_long_for_their_stream(void **state)
{
    (void)state;
    static const uint64_t some[] = {20 * MS, 250 * MS, 20 * MS, 20 * MS, 199 * MS};
    static const uint64_t slow[] = {100 * MS, 250 * MS, 100 * MS, 301 * MS, 90 * MS};
    struct results *r = results_new(1, 1, NULL, origin);
    struct sample s = stream(0);
    s.gaps_ns = some;
    s.gap_count = COUNT(some);
    s.chunks = 6;
    results_take(r, &s); /* one: the bound is 200 ms */
    assert_int_equal(r->total.stalls, 1);
    s.gaps_ns = slow;
    results_take(r, &s); /* one: three medians are 300 ms */
    assert_int_equal(r->total.stalls, 2);
    results_free(r);
}

static uint64_t good(struct objectives o, struct sample s)
{
    struct results *r = results_new(1, 1, &o, origin);
    results_take(r, &s);
    uint64_t n = r->total.good;
    results_free(r);
    return n;
}

static void goodput_counts_who_met_all(void **state)
{
    (void)state;
    struct sample s = stream(0), one = stream(0);
    assert_int_equal(good((struct objectives){0}, s), 1);
    assert_int_equal(good((struct objectives){.ttft_ns = 100 * MS}, s), 1); /* at most */
    assert_int_equal(good((struct objectives){.ttft_ns = 100 * MS - 1}, s), 0);
    assert_int_equal(good((struct objectives){.e2e_ns = 170 * MS}, s), 1);
    assert_int_equal(good((struct objectives){.e2e_ns = 169 * MS}, s), 0);
    assert_int_equal(good((struct objectives){.tpot_ns = 18 * MS}, s), 1);
    assert_int_equal(good((struct objectives){.tpot_ns = 17 * MS}, s), 0);
    assert_int_equal(good((struct objectives){.itl_ns = 30 * MS}, s), 1);
    assert_int_equal(good((struct objectives){.itl_ns = 29 * MS}, s), 0);
    assert_int_equal(good((struct objectives){.total_ns = 171 * MS}, s), 0);
    assert_int_equal(good((struct objectives){.response_ns = 172 * MS}, s), 0);
    assert_int_equal(good((struct objectives){.response_ns = 173 * MS}, s), 1);
    assert_int_equal(good((struct objectives){.ttft_ns = 100 * MS, .e2e_ns = 169 * MS}, s), 0);
    one.completion_tokens = 1; /* no second token to be late */
    assert_int_equal(good((struct objectives){.tpot_ns = 1}, one), 1);
    /* No stream: its tokens are there when its end is. */
    assert_int_equal(good((struct objectives){.ttft_ns = 40 * MS, .e2e_ns = 40 * MS}, plain(0, 40)),
                     1);
    assert_int_equal(good((struct objectives){.ttft_ns = 39 * MS}, plain(0, 40)), 0);
    s.outcome = OUTCOME_EMPTY;
    assert_int_equal(good((struct objectives){0}, s), 0);
}

static void stages_models_and_warm_up_are_apart(void **state)
{
    (void)state;
    struct results *r = results_new(2, 3, NULL, origin), *one = results_new(1, 1, NULL, origin);
    for (uint64_t i = 0; i < 12; i++) {
        struct sample s = plain(i, 10 + i);
        s.stage = i >= 8;
        s.model = (uint32_t)i % 3;
        s.warm_up = i < 2;
        results_take(r, &s);
        s.stage = 9, s.model = 9; /* indices that nobody announced are the last */
        results_take(one, &s);
    }
    results_seal(r);
    results_seal(one);
    assert_int_equal(r->total.requests, 10);
    assert_int_equal(r->warm_up.requests, 2);
    assert_int_equal(r->by_stage[0].requests, 6);
    assert_int_equal(r->by_stage[1].requests, 4);
    assert_int_equal(r->by_model[0].requests, 3);
    assert_int_equal(spread_count(&r->by_model[2].spreads[MEASURED_TOTAL]), 4);
    assert_true(r->by_stage[1].spreads[MEASURED_TOTAL].overflowed);
    assert_false(r->total.spreads[MEASURED_TOTAL].overflowed);
    assert_int_equal(one->by_stage[0].requests, 10);
    assert_int_equal(spread_count(&one->by_model[0].spreads[MEASURED_TOTAL]), 10);
    results_seal(one); /* twice is once */
    assert_int_equal(one->by_stage[0].requests, 10);
    results_free(r);
    results_free(one);
}

static void tokens_count_where_they_arrive(void **state)
{
    (void)state;
    struct results *r = results_new(1, 1, NULL, origin);
    r->window_from_ns = origin + 1000 * MS;
    r->window_to_ns = origin + 2000 * MS;
    struct sample s = stream(880); /* at 981, 991, 1011, 1021 and 1051 ms */
    s.warm_up = true;
    s.completion_tokens = 10; /* each chunk is two */
    results_take(r, &s);
    assert_int_equal(r->total.tokens_in_window, 6);
    assert_int_equal(r->seconds[0].chunks, 2);
    assert_int_equal(r->seconds[1].chunks, 3);
    assert_int_equal(r->seconds[1].ended, 1);
    assert_int_equal(r->seconds[0].begun, 1);
    s = stream(1869); /* at 1970, 1980, 2000, ... */
    results_take(r, &s);
    assert_int_equal(r->total.tokens_in_window, 8);
    s = plain(1900, 10); /* 20 tokens, all at 1911 ms */
    results_take(r, &s);
    assert_int_equal(r->total.tokens_in_window, 28);
    s = plain(2000, 10);
    results_take(r, &s);
    assert_int_equal(r->total.tokens_in_window, 28);
    results_seal(r);
    assert_int_equal(r->seconds[0].in_flight, 1);
    assert_int_equal(r->seconds[1].in_flight, 1);
    assert_int_equal(r->seconds[2].in_flight, 0);
    /* 54 ms of the first, 129.5 and 10.5 of the next two, nothing of the last. */
    assert_true(fabs(r->in_flight_ns - (53.0 + 130.5 + 10.5) * MS) < 1);
    results_free(r);
}

static void without_a_window_the_warm_up_is_not_counted(void **state)
{
    (void)state;
    struct results *r = results_new(1, 1, NULL, origin);
    struct sample s = stream(0);
    s.warm_up = true;
    results_take(r, &s);
    assert_int_equal(r->total.tokens_in_window, 0);
    assert_int_equal(r->warm_up.tokens_in_window, 0);
    assert_true(r->in_flight_ns == 0);
    assert_int_equal(r->seconds[0].chunks, 5); /* a plot shows it */
    s.warm_up = false;
    results_take(r, &s);
    assert_int_equal(r->total.tokens_in_window, 5);
    assert_true(r->in_flight_ns == 172.5 * MS);
    results_free(r);
}

/* Of gaps only the first are kept; the others are spread up to the last token. */
static void long_answers_lose_no_token(void **state)
{
    (void)state;
    struct results *r = results_new(1, 1, NULL, origin);
    static const uint64_t two[] = {1000 * MS, 1000 * MS};
    struct sample s = stream(0);
    s.gaps_ns = two;
    s.gap_count = 2;
    s.chunks = 12;
    s.completion_tokens = 12;
    s.last_token_ns = s.first_token_ns + 11000 * MS;
    s.end_ns = s.last_token_ns + MS;
    results_take(r, &s);
    for (int i = 0; i < 12; i++)
        assert_int_equal(r->seconds[i].chunks, 1);
    assert_int_equal(r->total.tokens_in_window, 12);
    results_free(r);
}

static void long_runs_have_longer_slots(void **state)
{
    (void)state;
    struct results *r = results_new(1, 1, NULL, origin), *brief = results_new(1, 1, NULL, origin);
    for (uint64_t i = 0; i < 10000; i++) {
        struct sample s = plain(i * 1000, 40);
        results_take(r, &s);
        if (i < 100)
            results_take(brief, &s);
    }
    assert_int_equal(r->second_ns, 8 * NS_PER_S);
    assert_int_equal(r->second_count, 1250);
    for (size_t i = 0; i < r->second_count; i++) {
        assert_int_equal(r->seconds[i].begun, 8);
        assert_int_equal(r->seconds[i].ended, 8);
        assert_int_equal(r->seconds[i].latency.count, 8);
    }
    results_merge(brief, r); /* a short run's slots become as long */
    assert_int_equal(brief->second_ns, 8 * NS_PER_S);
    assert_int_equal(brief->seconds[0].ended, 16);
    assert_int_equal(brief->seconds[12].ended, 12);
    assert_int_equal(brief->seconds[13].ended, 8);
    assert_int_equal(brief->total.requests, 10100);
    results_free(r);
    results_free(brief);
}

static void merged_is_as_if_one_had_taken_all(void **state)
{
    (void)state;
    struct results *all = results_new(2, 2, NULL, origin), *parts[2];
    for (int p = 0; p < 2; p++)
        parts[p] = results_new(2, 2, NULL, origin);
    for (uint64_t i = 0; i < 600; i++) {
        struct sample s = i % 3 ? plain(i * 7, 20 + i % 50) : stream(i * 5);
        s.stage = i > 300;
        s.model = i % 2;
        s.warm_up = i < 20;
        s.outcome = i % 10 ? OUTCOME_OK : OUTCOME_HTTP_429;
        snprintf(s.error, sizeof s.error, "%s", i % 10 ? "" : "slow down");
        results_take(all, &s);
        results_take(parts[i % 4 == 0], &s);
    }
    results_merge(parts[0], parts[1]);
    results_seal(all);
    results_seal(parts[0]);
    const struct results *got = parts[0];
    assert_memory_equal(got->total.outcomes, all->total.outcomes, sizeof all->total.outcomes);
    assert_int_equal(got->total.requests, 580);
    assert_int_equal(got->total.first_ns, all->total.first_ns);
    assert_int_equal(got->total.last_ns, all->total.last_ns);
    assert_int_equal(got->total.good, all->total.good);
    assert_int_equal(got->total.tokens_in_window, all->total.tokens_in_window);
    assert_int_equal(got->warm_up.requests, all->warm_up.requests);
    assert_int_equal(got->by_stage[1].requests, all->by_stage[1].requests);
    assert_true(fabs(got->in_flight_ns - all->in_flight_ns) < 1);
    assert_true(fabs(got->total.slots_ns - all->total.slots_ns) < 1);
    assert_int_equal(got->failure_count, 1);
    assert_int_equal(got->failures[0].count, all->failures[0].count);
    assert_int_equal(got->second_count, all->second_count);
    for (size_t i = 0; i < all->second_count; i++)
        assert_int_equal(got->seconds[i].in_flight, all->seconds[i].in_flight);
    for (int m = 0; m < MEASURED_COUNT; m++) {
        const struct spread *a = &all->total.spreads[m], *b = &got->total.spreads[m];
        assert_int_equal(spread_count(a), spread_count(b));
        for (double q = 0.1; spread_count(a) && q < 1; q += 0.2)
            assert_int_equal(hdr_quantile(&a->hdr, q), hdr_quantile(&b->hdr, q));
        assert_int_equal(a->value_count, b->value_count);
        if (a->value_count)
            assert_memory_equal(a->values, b->values, a->value_count * sizeof *a->values);
    }
    results_free(all);
    results_free(parts[0]);
    results_free(parts[1]);
}

static void objectives_are_read(void **state)
{
    (void)state;
    struct objectives o;
    struct err e = {0};
    assert_true(objectives_parse(STR("ttft=500ms, e2e=5s,tpot=12.5,itl=1s,total=1m30s,response=2s"),
                                 &o, &e));
    assert_int_equal(o.ttft_ns, 500 * MS);
    assert_int_equal(o.e2e_ns, 5000 * MS);
    assert_int_equal(o.tpot_ns, 12500000);
    assert_int_equal(o.itl_ns, 1000 * MS);
    assert_int_equal(o.total_ns, 90000 * MS);
    assert_int_equal(o.response_ns, 2000 * MS);
    assert_true(objectives_any(&o));
    o = (struct objectives){0};
    assert_false(objectives_any(&o));
    o.response_ns = 1;
    assert_true(objectives_any(&o));
    static const struct {
        const char *text, *sentence;
    } wrong[] = {
        {"", "expected ttft, e2e, tpot, itl, total or response, got \"\": write ttft=500ms,e2e=5s"},
        {"ttft", "ttft has no bound: write ttft=500ms"},
        {"p99=5s",
         "expected ttft, e2e, tpot, itl, total or response, got \"p99\": write ttft=500ms,e2e=5s"},
        {"ttft=1s,",
         "expected ttft, e2e, tpot, itl, total or response, got \"\": write ttft=500ms,e2e=5s"},
        {"ttft=fast", "ttft: expected a time, such as 2000 (ms), 250ms, 2s or 1m30s, got \"fast\""},
        {"e2e=0", "e2e: expected a time above 0 and of at most a day, got \"0\""},
        {"e2e=-5", "e2e: expected a time above 0 and of at most a day, got \"-5\""},
        {"e2e=3d", "e2e: expected a time above 0 and of at most a day, got \"3d\""},
        {"e2e=1s,e2e=2s", "e2e is given twice: write one bound for it"},
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        e = (struct err){0};
        assert_false(objectives_parse(str_from(wrong[i].text), &o, &e));
        assert_string_equal(e.text, wrong[i].sentence);
    }
    assert_int_equal(o.response_ns, 1); /* as it was */
}

/* Answers longer than GAPS_KEPT: their longest gap may not be among those kept. */
static void the_longest_gap_may_not_be_kept(void **state)
{
    const struct objectives slo = {.itl_ns = 50 * MS};
    struct results *r = results_new(1, 1, &slo, origin);
    struct sample s = stream(0);
    (void)state;
    s.longest_gap_ns = 80 * MS;
    results_take(r, &s);
    s.longest_gap_ns = 300 * MS;
    s.gaps_ns = NULL;
    s.gap_count = 0;
    results_take(r, &s);
    results_seal(r);
    assert_int_equal(r->total.good, 0);
    assert_true(spread_max(&r->total.spreads[MEASURED_STALL]) == 80.0 * MS);
    results_free(r);
}

/* What a server may say of itself must not leave a number's range. */
static void absurd_claims_are_bounded(void **state)
{
    struct results *r = results_new(1, 1, NULL, origin);
    struct sample s = stream(0);
    (void)state;
    s.cost_usd = 1e300;
    s.completion_tokens = INT64_C(1) << 53;
    s.last_token_ns = s.first_token_ns + 1;
    results_take(r, &s);
    results_seal(r);
    assert_int_equal(spread_count(&r->total.spreads[MEASURED_COST]), 1);
    assert_int_equal(spread_count(&r->total.spreads[MEASURED_SPEED]), 1);
    results_free(r);
}

static void time_outs_are_told_apart(void **state)
{
    struct http_exchange x = {.total_timeout_ms = 100, .started_ns = 1};
    struct sample s = {.stream = true};
    uint64_t late_ns = 1 + 100 * MS;
    (void)state;
    assert_int_equal(sample_failure(&s, &x, ERR_UPSTREAM_TIMEOUT, "", late_ns),
                     OUTCOME_CONNECT_TIMEOUT);
    x.connected_ns = 2;
    assert_int_equal(sample_failure(&s, &x, ERR_UPSTREAM_TIMEOUT, "", late_ns),
                     OUTCOME_TOTAL_TIMEOUT);
    assert_int_equal(sample_failure(&s, &x, ERR_UPSTREAM_TIMEOUT, "", 50 * MS),
                     OUTCOME_HEAD_TIMEOUT);
    s.head_ns = 3;
    assert_int_equal(sample_failure(&s, &x, ERR_UPSTREAM_TIMEOUT, "", 50 * MS),
                     OUTCOME_FIRST_TOKEN_TIMEOUT);
    s.first_token_ns = 4;
    assert_int_equal(sample_failure(&s, &x, ERR_UPSTREAM_TIMEOUT, "", 50 * MS),
                     OUTCOME_IDLE_TIMEOUT);
}

static void nobody_was_reached(void **state)
{
    uint64_t counts[OUTCOME_COUNT] = {0};
    (void)state;
    assert_false(outcomes_are_unreached(counts));
    counts[OUTCOME_CANCELLED] = 1; /* a server that is only slow */
    counts[OUTCOME_DROPPED] = 99;
    assert_false(outcomes_are_unreached(counts));
    counts[OUTCOME_CONNECT_REFUSED] = 3;
    assert_true(outcomes_are_unreached(counts));
    counts[OUTCOME_HEAD_TIMEOUT] = 1;
    assert_false(outcomes_are_unreached(counts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_request_has_its_phases),
        cmocka_unit_test(a_stream_has_its_tokens_times),
        cmocka_unit_test(a_new_connection_has_its_phases),
        cmocka_unit_test(what_is_undefined_is_absent),
        cmocka_unit_test(failures_have_no_latency_but_a_name),
        cmocka_unit_test(stalls_are_long_for_their_stream),
        cmocka_unit_test(goodput_counts_who_met_all),
        cmocka_unit_test(stages_models_and_warm_up_are_apart),
        cmocka_unit_test(tokens_count_where_they_arrive),
        cmocka_unit_test(without_a_window_the_warm_up_is_not_counted),
        cmocka_unit_test(long_answers_lose_no_token),
        cmocka_unit_test(long_runs_have_longer_slots),
        cmocka_unit_test(merged_is_as_if_one_had_taken_all),
        cmocka_unit_test(objectives_are_read),
        cmocka_unit_test(the_longest_gap_may_not_be_kept),
        cmocka_unit_test(absurd_claims_are_bounded),
        cmocka_unit_test(time_outs_are_told_apart),
        cmocka_unit_test(nobody_was_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
