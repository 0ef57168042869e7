/* The self-test: its verdict on made-up findings, and one that is run for real, whatever this machine is like. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/command.h"
#include "cli/self_test_found.h"

static const struct self_test_load streams = {.key = "streams",
                                              .heading = "streams",
                                              .stream = true,
                                              .users = 8,
                                              .seconds = 1,
                                              .judged = true};
static const struct self_test_load schedule = {
    .key = "schedule", .heading = "schedule", .rate = 1000, .seconds = 1, .judged = true};

/* All is well. */
static struct self_test_found fine(void)
{
    return (struct self_test_found){
        .parts = {{.load = &streams,
                   .error_count = 2,
                   .requests = 500,
                   .errors = {{"ttft", "TTFT", "p50", 5.01e6, 5e6, 1e5, true},
                              {"ttft", "TTFT", "p99", 6.05e6, 6e6, 1e5, true}}},
                  {.load = &schedule,
                   .error_count = 1,
                   .requests = 1000,
                   .account = {.sent = 1000, .late_p50_ns = 900, .late_p99_ns = 4e4},
                   .errors = {{"latency", "Total", "p50", 2.02e6, 2e6, 1e5, true}}}},
        .part_count = 2,
        .stamped_share = 1,
        .host = {.processors = 4, .clock_ns = 25, .clock_source = "tsc"},
    };
}

static bool says(const struct self_test_found *f, const char *words)
{
    for (size_t i = 0; i < f->advice_count; i++)
        if (strstr(f->advice[i], words))
            return true;
    return false;
}

static void all_well_is_good_and_says_nothing_more(void **state)
{
    (void)state;
    struct self_test_found f = fine();
    self_test_judge(&f);
    assert_true(f.good);
    assert_int_equal(f.advice_count, 0);
    assert_true(f.error_p50_ns == 2e4 && f.error_p99_ns == 5e4);
}

static void one_error_is_enough(void **state)
{
    (void)state;
    struct self_test_found f = fine();
    f.parts[0].errors[1].said_ns = 6.5e6;
    f.parts[0].errors[1].holds = false;
    self_test_judge(&f);
    assert_false(f.good);
    assert_true(says(&f, "streams: p99 of TTFT is off by 0.5 ms; at most 0.1 ms is allowed"));
    assert_true(says(&f, "try again")); /* no cause is seen */
}

static void a_load_that_is_only_told_is_not_judged(void **state)
{
    (void)state;
    struct self_test_load told = streams;
    struct self_test_found f = fine();
    told.judged = false;
    f.parts[0].load = &told;
    f.parts[0].errors[1].holds = false;
    self_test_judge(&f);
    assert_true(f.good);
}

static void late_and_missing_sends_are_poor(void **state)
{
    (void)state;
    struct self_test_found f = fine();
    f.parts[1].account.late_p99_ns = 3e6;
    self_test_judge(&f);
    assert_false(f.good);
    assert_true(says(&f, "sends are late"));
    f = fine();
    f.parts[1].account.sent = 900;
    self_test_judge(&f);
    assert_false(f.good);
    assert_true(says(&f, "only 900 of 1,000 requests were sent"));
}

static void failures_and_silence_are_poor(void **state)
{
    (void)state;
    struct self_test_found f = fine();
    f.parts[0].failed = 3;
    snprintf(f.parts[0].failure, sizeof f.parts[0].failure, "Connection refused");
    self_test_judge(&f);
    assert_false(f.good);
    assert_true(says(&f, "3 of 500 requests failed: Connection refused"));
    f = fine();
    f.parts[1].error_count = 0;
    self_test_judge(&f);
    assert_false(f.good);
    assert_true(says(&f, "no request was answered"));
}

static void causes_are_named_even_when_all_holds(void **state)
{
    (void)state;
    struct self_test_found f = fine();
    f.host = (struct self_test_host){.processors = 1,
                                     .clock_ns = 900,
                                     .clock_source = "hpet",
                                     .foreign_share = 0.4,
                                     .stolen_share = 0.1};
    f.stamped_share = 0.5;
    self_test_judge(&f);
    assert_true(f.good);
    assert_true(says(&f, "Other programs used 40 %"));
    assert_true(says(&f, "hypervisor took 10 %"));
    assert_true(says(&f, "one processor only"));
    assert_true(says(&f, "50 % of the reads"));
    assert_true(says(&f, "hpet"));
    f = fine();
    f.host.foreign_share = f.host.stolen_share = NAN; /* no /proc/stat */
    self_test_judge(&f);
    assert_int_equal(f.advice_count, 0);
}

/* Its standard output, and its exit status. */
static int run_for_real(struct arena *a, const struct json_node **root)
{
    char path[] = "/tmp/weir-self-test-XXXXXX";
    int file = mkstemp(path), before = dup(STDOUT_FILENO);
    assert_true(file >= 0 && before >= 0);
    fflush(stdout);
    dup2(file, STDOUT_FILENO);
    int status = self_test(
        &(struct self_test_options){.command = "load", .json = true, .color = COLOR_NEVER});
    fflush(stdout);
    dup2(before, STDOUT_FILENO);
    close(before);
    off_t n = lseek(file, 0, SEEK_END);
    char *text = arena_alloc(a, (size_t)n + 1);
    assert_int_equal(pread(file, text, (size_t)n, 0), n);
    close(file);
    unlink(path);
    *root = json_parse(a, (struct str){text, (size_t)n}, NULL);
    assert_non_null(*root);
    return status;
}

static void what_it_says_fits_together(void **state)
{
    (void)state;
    struct arena a;
    const struct json_node *root;
    size_t loads = 0, errors = 0;
    bool all_hold = true;
    arena_init(&a, NULL, 0);
    int status = run_for_real(&a, &root);
    bool good = str_eq(json_get(root, "verdict")->text, STR("good"));
    assert_int_equal(status, good ? EXIT_GOOD : EXIT_PROBLEM);
    for (const struct json_node *n = json_get(root, "loads")->child; n; n = n->next) {
        loads++;
        assert_true(json_get(n, "requests")->number > 0);
        assert_true(json_get(n, "failed")->number == 0);
        for (const struct json_node *e = json_get(n, "errors")->child; e; e = e->next) {
            double said = json_get(e, "said_ms")->number, truth = json_get(e, "truth_ms")->number;
            double off_us = (said - truth) * 1000, allowed = json_get(e, "allowed_us")->number;
            bool holds = json_get(e, "holds")->kind == JSON_TRUE;
            errors++;
            assert_true(fabs(off_us - json_get(e, "error_us")->number) < 0.01);
            assert_true(said > 0 && truth > 0);
            assert_true(fabs(fabs(off_us) - allowed) < 0.01 || holds == (fabs(off_us) < allowed));
            all_hold &= holds || json_get(n, "judged")->kind == JSON_FALSE;
        }
    }
    assert_int_equal(loads, SELF_TEST_LOADS);
    assert_int_equal(errors, 6 + 2 + 2);
    assert_true(all_hold || !good);
    assert_true(good || json_get(root, "advice")->child);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_well_is_good_and_says_nothing_more),
        cmocka_unit_test(one_error_is_enough),
        cmocka_unit_test(a_load_that_is_only_told_is_not_judged),
        cmocka_unit_test(late_and_missing_sends_are_poor),
        cmocka_unit_test(failures_and_silence_are_poor),
        cmocka_unit_test(causes_are_named_even_when_all_holds),
        cmocka_unit_test(what_it_says_fits_together),
    };
    return cmocka_run_group_tests_name("self-test", tests, NULL, NULL);
}
