/* Throughput while the load was on, of runs whose throughput is known exactly. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "cli/profile.h"

#define MS 1000000ull

static void near(double value, double wanted, double within)
{
    if (!(fabs(value - wanted) <= within))
        fail_msg("%g is not %g", value, wanted);
}

/* `users` who each send their next request when the last was answered, `service` ms each, until `count` were sent; 5 tokens from the middle on. */
static void closed_loop(struct profile_times *out, size_t users, size_t count, uint64_t service_ms)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t start = 1000 * MS + i / users * service_ms * MS;
        out[i] = (struct profile_times){.due_ns = start,
                                        .start_ns = start,
                                        .first_token_ns = start + service_ms * MS / 2,
                                        .last_token_ns = start + service_ms * MS,
                                        .end_ns = start + service_ms * MS,
                                        .tokens = 5,
                                        .ok = true};
    }
}

/* 10 users of 100 ms each: 100 a second, whatever the run's length. */
static void the_ending_is_left_out(void **state)
{
    (void)state;
    struct profile_times times[1000];
    static const size_t counts[] = {30, 100, 103, 1000};
    for (size_t i = 0; i < COUNT(counts); i++) {
        closed_loop(times, 10, counts[i], 100);
        struct steady s = profile_steady(times, counts[i]);
        near(s.requests_per_s, 100, 1e-9);
        assert_false(s.whole_run);
        near(s.seconds, (double)((counts[i] - 1) / 10) * .1, 1e-12);
    }
    /* Of the requests under way at the end none of the tokens had come: the second half of the time brings them. */
    struct steady s = profile_steady(times, 1000);
    near(s.tokens_per_s, 500, 1e-9);
}

static void one_round_is_told_whole(void **state)
{
    (void)state;
    struct profile_times times[10];
    closed_loop(times, 10, 10, 100);
    struct steady s = profile_steady(times, 10);
    assert_true(s.whole_run);
    near(s.requests_per_s, 100, 1e-9);
}

static void failures_are_no_throughput(void **state)
{
    (void)state;
    struct profile_times times[100];
    closed_loop(times, 10, 100, 100);
    for (size_t i = 0; i < 100; i += 4)
        times[i].ok = false;
    struct steady s = profile_steady(times, 100);
    near(s.requests_per_s, 75, 1.2); /* of 90 that ended in the window 22 or 23 failed */
}

/* A token more each quarter of the time: two of five when half of it has passed. */
static void tokens_under_way_count_as_far_as_they_came(void **state)
{
    (void)state;
    struct profile_times times[] = {
        {.due_ns = 1000 * MS,
         .start_ns = 1000 * MS,
         .first_token_ns = 1000 * MS + 1,
         .last_token_ns = 1400 * MS + 1,
         .end_ns = 1400 * MS + 1,
         .tokens = 5,
         .ok = true},
        {.due_ns = 1000 * MS, .start_ns = 1000 * MS, .end_ns = 1100 * MS, .tokens = 7, .ok = true},
        {.due_ns = 1200 * MS,
         .start_ns = 1200 * MS + 1,
         .end_ns = 1300 * MS,
         .tokens = 9,
         .ok = true},
    };
    struct steady s = profile_steady(times, 2);
    assert_true(s.whole_run);
    near(s.tokens_per_s, 12 / .4, 1e-3);
    struct profile_times more[] = {times[0], times[1], times[1], times[2]};
    s = profile_steady(more, 4);
    assert_false(s.whole_run);
    near(s.tokens_per_s, (7 + 7 + 3) / .2, 1e-3);
}

static void nothing_is_not_a_number(void **state)
{
    (void)state;
    struct steady s = profile_steady(NULL, 0);
    assert_true(isnan(s.requests_per_s) && isnan(s.tokens_per_s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ending_is_left_out),
        cmocka_unit_test(one_round_is_told_whole),
        cmocka_unit_test(failures_are_no_throughput),
        cmocka_unit_test(tokens_under_way_count_as_far_as_they_came),
        cmocka_unit_test(nothing_is_not_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
