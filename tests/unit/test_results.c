/* test_results.c -- metrics of samples, groups, windows and failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_request_has_its_phases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
