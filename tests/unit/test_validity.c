/* test_validity.c -- each check of the instrument: passes, and fails when its number is changed; and the proposal of a warm-up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rand.h"
#include "measure/validity.h"
#include "measure/warm_up.h"

#define MS NS_PER_MS

static const uint64_t origin = 500 * NS_PER_S;

/* 1,000 requests over ten seconds, of 20 ms each; from `slower_from` on of 30 ms. */
static struct results *some_results(int slower_from)
{
    struct results *r = results_new(1, 1, NULL, origin);
    for (int i = 0; i < 1000; i++) {
        uint64_t due = origin + (uint64_t)i * 10 * MS, total = (i >= slower_from ? 30 : 20) * MS;
        struct sample s = {.outcome = OUTCOME_OK,
                           .due_ns = due,
                           .start_ns = due + 1000,
                           .sent_first_ns = due + 2000,
                           .sent_ns = due + 3000,
                           .first_byte_ns = due + total,
                           .end_ns = due + total + (uint64_t)(i % 7) * 1000,
                           .completion_tokens = -1,
                           .prompt_tokens = -1,
                           .cached_tokens = -1,
                           .reasoning_tokens = -1,
                           .cost_usd = -1,
                           .reused = true};
        results_take(r, &s);
    }
    results_seal(r);
    return r;
}

static struct engine_account good_account(void)
{
    return (struct engine_account){.started_ns = origin,
                                   .ended_ns = origin + 10 * NS_PER_S,
                                   .cpu_share = 0.125,
                                   .ticker_stall_max_ns = 3 * MS,
                                   .lag_p50_ns = 5000,
                                   .lag_p99_ns = 80000,
                                   .lag_max_ns = 900000,
                                   .lag_mean_ns = 0,
                                   .stamped_reads = 1000,
                                   .stamp_error_max_ns = 40,
                                   .reads = 1000,
                                   .late_p50_ns = 2000,
                                   .late_p99_ns = 50000,
                                   .late_max_ns = 200000,
                                   .offered = 1000,
                                   .sent = 1000,
                                   .in_flight_mean = 2.0,
                                   .in_flight_window_ns = 10 * NS_PER_S,
                                   .in_flight_max = 3};
}

static const struct validity_check *find(const struct validity *v, const char *key)
{
    for (size_t i = 0; i < v->count; i++)
        if (strcmp(v->checks[i].key, key) == 0)
            return &v->checks[i];
    fail_msg("no check \"%s\"", key);
    return NULL;
}

/* The check's verdict and text; all others are as in a good run. */
static void assert_check(struct engine_account a, const char *key, enum check_verdict verdict,
                         const char *text)
{
    struct results *r = some_results(1000);
    struct validity v;
    validity_check(&v, &a, r);
    const struct validity_check *c = find(&v, key);
    if (c->verdict != verdict || !strstr(c->text, text))
        fail_msg("%s: %d, \"%s\"; expected %d, \"%s\"", key, c->verdict, c->text, verdict, text);
    assert_int_equal(v.client_limited, verdict == CHECK_BAD);
    if (verdict == CHECK_BAD)
        assert_non_null(strstr(v.summary, "client-limited (1 of 8 checks failed): "));
    for (size_t i = 0; i < v.count; i++)
        assert_true(&v.checks[i] == c || v.checks[i].verdict != CHECK_BAD);
    results_free(r);
}

#define WITH(...)                                                                                  \
    ({                                                                                             \
        struct engine_account a = good_account();                                                  \
        __VA_ARGS__;                                                                               \
        a;                                                                                         \
    })

static void a_good_run_is_believed(void **state)
{
    (void)state;
    struct results *r = some_results(1000);
    struct engine_account a = good_account();
    struct validity v;
    validity_check(&v, &a, r);
    assert_false(v.client_limited);
    assert_int_equal(v.count, 8);
    for (size_t i = 0; i < v.count; i++)
        assert_int_equal(v.checks[i].verdict, CHECK_GOOD);
    assert_non_null(strstr(v.summary, "the client kept up: 12.5 % of a core at most"));
    assert_string_equal(find(&v, "achieved_rate")->text,
                        "1,000 of 1,000 requests due were sent (100.00 %, 100/s)");
    assert_true(v.error_ns == 40);
    assert_non_null(strstr(v.summary, "; a time may be off by 40 ns"));
    results_free(r);
}

static void each_check_can_fail(void **state)
{
    (void)state;
    assert_check(WITH(a.dropped = 3; a.offered = 1003), "dropped", CHECK_BAD,
                 "3 of 1,003 requests due were never sent");
    assert_check(WITH(a.offered = 1010), "achieved_rate", CHECK_GOOD, "(99.00 %, 100/s)");
    assert_check(
        WITH(a.offered = 1011), "achieved_rate", CHECK_BAD,
        "1,000 of 1,011 requests due were sent (98.91 %, 100/s): more --threads, or a lower "
        "--rate");
    assert_check(WITH(a.late_p99_ns = 1.9e6), "schedule_lag", CHECK_GOOD, "1.9 ms at p99");
    assert_check(WITH(a.late_p99_ns = 2.1e6), "schedule_lag", CHECK_BAD,
                 "2.1 ms at p99; latency's median is 20 ms: more --threads");
    assert_check(WITH(a.cpu_share = 0.799), "client_cpu", CHECK_GOOD, "79.9 % of a core");
    assert_check(WITH(a.cpu_share = 0.93), "client_cpu", CHECK_BAD,
                 "the busiest thread used 93 % of a core: more --threads, or a lower --rate");
    assert_check(WITH(a.cpu_share = 0.93; a.ended_ns = origin + 49 * MS), "client_cpu",
                 CHECK_NOT_ASKED, "too short to tell: 49 ms of at least 50 ms");
    assert_check(WITH(a.in_flight_mean = 2.09), "littles_law", CHECK_GOOD,
                 "2.09 requests in flight");
    assert_check(WITH(a.in_flight_mean = 2.2), "littles_law", CHECK_BAD,
                 "2.2 requests in flight by the clock, 2 by rate times mean time and 0 whose "
                 "answers lay unread (9.1 % apart): requests waited inside the client");
    assert_check(WITH(a.in_flight_mean = 1.8), "littles_law", CHECK_BAD, "11.1 % apart");
    assert_check(WITH(a.in_flight_mean = 16123), "littles_law", CHECK_BAD,
                 "16,123 requests in flight by the clock");
    assert_check(WITH(a.in_flight_mean = 2.2; a.in_flight_window_ns = 499999999), "littles_law",
                 CHECK_NOT_ASKED, "too short to tell");
    assert_check(WITH(a.in_flight_mean = 2.2; a.lag_mean_ns = 2e6), "littles_law", CHECK_GOOD,
                 "(0.0 % apart)"); /* answers lay unread so long */
    assert_check(WITH(a.in_flight_mean = 2.0; a.lag_mean_ns = 2e6), "littles_law", CHECK_BAD,
                 "(10.0 % apart)");
    assert_check(WITH(a.lag_p99_ns = 9e6), "receive_lag", CHECK_GOOD, "times are the kernel's");
    assert_check(WITH(a.stamped_reads = 900), "receive_lag", CHECK_GOOD, "some times are not");
    assert_check(WITH(a.stamped_reads = 900; a.lag_p99_ns = 9e6), "receive_lag", CHECK_BAD,
                 "9 ms at p99 to be read; some times are not the kernel's and have it within: more "
                 "--threads");
    assert_check(WITH(a.lag_mean_ns = 2.1e6; a.in_flight_mean = 2.2), "receive_lag", CHECK_GOOD,
                 "2.1 ms on average");
    assert_check(WITH(a.late_max_ns = 0; a.lag_mean_ns = 2.1e6; a.in_flight_mean = 2.2),
                 "receive_lag", CHECK_BAD,
                 "the next request waited for it: more --threads, or a lower --concurrency");
    assert_check(WITH(a.ticker_stall_max_ns = 100 * MS), "stalls", CHECK_GOOD, "100 ms");
    assert_check(WITH(a.ticker_stall_max_ns = 101 * MS), "stalls", CHECK_BAD,
                 "stood still for 101 ms");
    assert_check(WITH(a.ticker_stall_max_ns = 21 * MS; a.stamped_reads = 0), "stalls", CHECK_BAD,
                 "stood still for 21 ms");
}

static void what_cannot_be_asked_is_not_failed(void **state)
{
    (void)state;
    struct engine_account closed = WITH(a.late_p50_ns = a.late_p99_ns = a.late_max_ns = 0);
    assert_check(closed, "achieved_rate", CHECK_NOT_ASKED, "closed loop");
    assert_check(closed, "schedule_lag", CHECK_NOT_ASKED, "closed loop");
    closed.cpu_share = 0.9;
    assert_check(closed, "client_cpu", CHECK_BAD, "or a lower --concurrency");
    assert_check(WITH(a.stamped_reads = 0), "receive_lag", CHECK_NOT_ASKED, "when reads returned");
    assert_check(WITH(a.in_flight_mean = 0), "littles_law", CHECK_NOT_ASKED,
                 "nothing was in flight");
    struct results *nothing = results_new(1, 1, NULL, origin);
    struct engine_account none = {0};
    struct validity v;
    results_seal(nothing);
    validity_check(&v, &none, nothing); /* no request at all: nothing is divided by it */
    assert_false(v.client_limited);
    results_free(nothing);
}

/* Whatever the numbers: the sentence of what to do is at the end of a text, and must not be cut off. */
static void the_longest_texts_have_room(void **state)
{
    (void)state;
    struct results *r = some_results(1000);
    const uint64_t most = UINT64_MAX / 4;
    struct engine_account closed = WITH(
        a.dropped = most; a.offered = 2 * most; a.sent = most; a.late_p50_ns = a.late_p99_ns = 1e18;
        a.late_max_ns = 0; a.lag_mean_ns = a.lag_p99_ns = 987654321e9; a.stamped_reads = 900;
        a.in_flight_mean = 123456789012; a.cpu_share = 1234567; a.ticker_stall_max_ns = most);
    struct engine_account open_loop = closed;
    open_loop.late_max_ns = 1e18;
    struct validity v;
    for (int open = 0; open < 2; open++) {
        const char *ending = open ? "a lower --rate" : "a lower --concurrency";
        validity_check(&v, open ? &open_loop : &closed, r);
        assert_true(v.client_limited);
        for (size_t i = 0; i < v.count; i++) {
            const struct validity_check *c = &v.checks[i];
            const char *wanted = strcmp(c->key, "stalls") ? ending : "with nothing else to do";
            size_t n = strlen(c->text), end = strlen(wanted);
            assert_true(n + 1 < sizeof c->text);
            if (c->verdict == CHECK_BAD && (n < end || strcmp(c->text + n - end, wanted)))
                fail_msg("%s: \"%s\" does not end in \"%s\"", c->key, c->text, wanted);
            /* With it, the summary of this check would still fit. */
            assert_true(n + strlen(c->heading) + 50 < sizeof v.summary);
        }
        assert_non_null(strstr(v.summary, find(&v, "dropped")->text));
    }
    results_free(r);
}

static void drift_is_told(void **state)
{
    (void)state;
    struct results *r = some_results(500);
    struct engine_account a = good_account();
    a.in_flight_mean = 2.5;
    struct validity v;
    validity_check(&v, &a, r);
    const struct validity_check *c = find(&v, "drift");
    assert_int_equal(c->verdict, CHECK_GOOD);
    assert_non_null(strstr(c->text, "went from 20"));
    assert_non_null(strstr(c->text, "it was getting slower"));
    assert_true(fabs(c->value - 0.5) < 0.02);
    assert_false(v.client_limited);
    results_free(r);
    r = some_results(1000);
    validity_check(&v, &a, r);
    assert_non_null(strstr(find(&v, "drift")->text, "none to speak of"));
    results_free(r);
}

static void the_error_is_that_of_the_clock_used(void **state)
{
    (void)state;
    struct results *r = some_results(1000);
    struct validity v;
    struct engine_account a = good_account();
    a.stamped_reads = 999;
    validity_check(&v, &a, r);
    assert_true(v.error_ns == 80000);
    a.stamped_reads = 0;
    validity_check(&v, &a, r);
    assert_true(v.error_ns == 3e6);
    results_free(r);
}

static void mser_finds_where_it_settles(void **state)
{
    (void)state;
    double values[1000];
    struct rng r;
    rng_seed(&r, 42);
    for (int i = 0; i < 1000; i++)
        values[i] = 100 + rng_unit(&r) + (i < 150 ? (150 - i) * 0.5 : 0);
    size_t cut = mser5(values, 1000);
    assert_true(cut >= 135 && cut <= 165);
    for (int i = 0; i < 1000; i++)
        values[i] = 100 + rng_unit(&r);
    assert_true(mser5(values, 1000) <= 200); /* by chance a few */
    for (int i = 0; i < 1000; i++)
        values[i] = 7;
    assert_int_equal(mser5(values, 1000), 0);
    for (int i = 0; i < 1000; i++)
        values[i] = i;
    assert_int_equal(mser5(values, 1000), 500); /* it never settles */
    assert_int_equal(mser5(values, 19), 0);
    assert_int_equal(mser5(values, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_run_is_believed),
        cmocka_unit_test(each_check_can_fail),
        cmocka_unit_test(what_cannot_be_asked_is_not_failed),
        cmocka_unit_test(the_longest_texts_have_room),
        cmocka_unit_test(drift_is_told),
        cmocka_unit_test(the_error_is_that_of_the_clock_used),
        cmocka_unit_test(mser_finds_where_it_settles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
