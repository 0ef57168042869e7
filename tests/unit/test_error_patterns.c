/* Patterns of errors: counted by hand, and in one piece against merged in any order; counts over time; json_logs' own errors. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rand.h"
#include "observe/error_patterns.h"
#include "observe/log_errors.h"

#define DAY_US INT64_C(86400000000)

static struct logline l;

/* A line as it stands in a file; `text` must outlive what is read of it. */
static void read_line(const char *text)
{
    static char line[4096 + LOGLINE_SLACK];
    enum line_status status;
    size_t n = strlen(text);
    memcpy(line, text, n);
    line[n] = '\n';
    logline_init(&l);
    logline_read(&l, line, line + n, &status);
    assert_int_equal(status, LINE_READ);
}

static void take(struct error_patterns *p, const char *text)
{
    read_line(text);
    assert_int_equal(log_event_of(&l), LOG_EVENT_REQUEST);
    error_patterns_take(p, &l);
}

#define LINE(second, id, model, type, message)                                                     \
    "{\"timestamp\":\"2026-11-24T10:00:" second                                                    \
    ".000Z\",\"event\":\"request\",\"request_id\":\"" id "\",\"model\":\"" model                   \
    "\",\"status\":\"failure\",\"error\":{\"type\":\"" type                                        \
    "\",\"provider_status\":429,\"message\":\"" message "\"}}"

static void by_hand(void **state)
{
    (void)state;
    struct error_patterns p;
    error_patterns_init(&p);
    take(&p, LINE("05", "b", "m1-x", "t", "limit 5 of m1-x"));
    take(&p, LINE("03", "c", "m2-x", "t", "limit 17 of m2-x"));
    take(&p, LINE("03", "a", "m2-x", "t", "limit 4 of m2-x"));
    take(&p, LINE("09", "a", "m2-x", "u", "limit 4 of m2-x"));
    take(&p, "{\"event\":\"request\",\"model\":\"m\",\"status\":\"success\",\"http_status\":200}");
    take(&p, "{\"event\":\"request\",\"model\":\"m\",\"status\":\"failure\",\"http_status\":500}");
    error_patterns_settle(&p);
    assert_int_equal(p.errors, 5);
    assert_int_equal(p.other, 0);
    assert_int_equal(p.count, 3);
    const struct error_pattern *e = p.list[0];
    assert_int_equal(e->count, 3);
    assert_true(str_eq(e->text, STR("limit <n> of <model>")) && str_eq(e->type, STR("t")));
    assert_true(e->status == 429 && !e->status_is_clients);
    assert_int_equal(e->last_us - e->first_us, 2000000);
    assert_memory_equal(e->first.id, "a", 1); /* of two with one stamp the smaller */
    assert_memory_equal(e->last.id, "b", 1);
    assert_int_equal(e->names[ERROR_MODELS].count, 2);
    assert_true(str_eq(e->names[ERROR_MODELS].list[0].name, STR("m2-x")));
    assert_int_equal(e->names[ERROR_MODELS].list[0].count, 2);
    assert_int_equal(e->names[ERROR_PROVIDERS].count, 0);
    e = p.list[1]; /* no type comes before "u" */
    assert_true(e->status == 500 && e->status_is_clients && e->text.n == 0 && !e->type.p);
    assert_true(e->first_us == INT64_MAX && e->first.n == 0);
    assert_int_equal(error_pattern_trend(e, 0, DAY_US), TREND_UNKNOWN);
    error_patterns_fini(&p);
}

static void joins(void **state)
{
    (void)state;
    struct error_patterns p;
    error_patterns_init(&p);
    take(&p, LINE("01", "a", "m", "t", "the engine Alpha has died again"));
    take(&p, LINE("02", "b", "m", "t", "the engine Beta has died again"));
    take(&p, LINE("02", "c", "m", "t", "the engine Beta has died again"));
    take(&p, LINE("03", "d", "m", "t", "the engine Beta has risen again"));
    take(&p, LINE("03", "d", "m", "u", "the engine Alpha has died again"));
    take(&p, LINE("03", "d", "m", "t", "the engine Alpha has died"));
    take(&p, LINE("03", "d", "m", "t", "Some engine Alpha Has died Again"));
    error_patterns_settle(&p);
    assert_int_equal(p.count, 5);
    assert_int_equal(p.list[0]->count, 3);
    assert_true(str_eq(p.list[0]->text, STR("the engine <*> has died again")));
    error_patterns_settle(&p);
    assert_int_equal(p.count, 5);
    error_patterns_fini(&p);
}

static void same_patterns(const struct error_patterns *a, const struct error_patterns *b)
{
    assert_int_equal(a->errors, b->errors);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct error_pattern *x = a->list[i], *y = b->list[i];
        assert_true(str_eq(x->text, y->text) && str_eq(x->type, y->type));
        assert_true(x->count == y->count && x->first_us == y->first_us && x->last_us == y->last_us);
        assert_memory_equal(&x->first, &y->first, sizeof x->first);
        assert_memory_equal(&x->last, &y->last, sizeof x->last);
        assert_memory_equal(&x->times, &y->times, sizeof x->times);
        for (int k = 0; k < ERROR_NAMES_COUNT; k++) {
            assert_int_equal(x->names[k].count, y->names[k].count);
            for (size_t n = 0; n < x->names[k].count; n++)
                assert_true(x->names[k].list[n].count == y->names[k].list[n].count &&
                            str_eq(x->names[k].list[n].name, y->names[k].list[n].name));
        }
    }
}

/* Random lines into one, and into several that are merged in another order. */
static void merged_is_the_same(void **state)
{
    (void)state;
    static const char *const texts[] = {"limit %u reached by Alpha-%c now",
                                        "engine %u of %c is gone for good", "worker-%u lost %c",
                                        "limit %u reached by Beta-%c now"};
    struct error_patterns whole, pieces[4];
    struct rng rng;
    rng_seed(&rng, 11);
    error_patterns_init(&whole);
    for (size_t i = 0; i < COUNT(pieces); i++)
        error_patterns_init(&pieces[i]);
    for (int i = 0; i < 3000; i++) {
        char line[512], message[100];
        unsigned letter = 'a' + (unsigned)(rng_next(&rng) % 5);
        snprintf(message, sizeof message, texts[rng_next(&rng) % COUNT(texts)],
                 (unsigned)(rng_next(&rng) % 1000), (int)letter);
        snprintf(
            line, sizeof line,
            "{\"timestamp\":\"2026-11-%02uT%02u:00:00Z\",\"request_id\":\"r%u\",\"model\":\"m%u\","
            "\"key_alias\":\"k%u\",\"status\":\"failure\",\"error\":{\"message\":\"%s\"}}",
            1 + (unsigned)(rng_next(&rng) % 28), (unsigned)(rng_next(&rng) % 24),
            (unsigned)(rng_next(&rng) % 100), (unsigned)(rng_next(&rng) % 7),
            (unsigned)(rng_next(&rng) % 60), message);
        take(&whole, line);
        error_patterns_take(&pieces[rng_next(&rng) % COUNT(pieces)], &l);
    }
    static const size_t order[] = {1, 3, 0};
    for (size_t i = 0; i < COUNT(order); i++)
        error_patterns_merge(&pieces[2], &pieces[order[i]]);
    error_patterns_settle(&whole);
    error_patterns_settle(&pieces[2]);
    same_patterns(&whole, &pieces[2]);
    error_patterns_fini(&whole);
    for (size_t i = 0; i < COUNT(pieces); i++)
        error_patterns_fini(&pieces[i]);
}

static void limits(void **state)
{
    (void)state;
    struct error_patterns p, q;
    char line[256];
    error_patterns_init(&p);
    error_patterns_init(&q);
    for (unsigned i = 0; i < ERROR_PATTERNS_MAX + 10; i++) {
        snprintf(line, sizeof line,
                 "{\"model\":\"m%u\",\"status\":\"failure\",\"error\":{\"message\":\"%c%c%c\"}}",
                 i % 100, 'g' + i % 16, 'g' + i / 16 % 16, 'g' + i / 256);
        take(&p, line);
        take(&q, "{\"model\":\"m\",\"status\":\"failure\",\"error\":{\"message\":\"another\"}}");
    }
    assert_int_equal(p.count, ERROR_PATTERNS_MAX);
    assert_int_equal(p.other, 10);
    error_patterns_merge(&p, &q);
    assert_int_equal(p.other, 10 + ERROR_PATTERNS_MAX + 10);
    error_patterns_fini(&p);
    error_patterns_fini(&q);
    error_patterns_init(&p);
    for (unsigned i = 0; i < ERROR_NAMES_MAX + 5; i++) {
        snprintf(line, sizeof line, "{\"model\":\"m%u\",\"status\":\"failure\"}", i);
        take(&p, line);
    }
    assert_int_equal(p.list[0]->names[ERROR_MODELS].count, ERROR_NAMES_MAX);
    assert_int_equal(p.list[0]->names[ERROR_MODELS].other, 5);
    error_patterns_fini(&p);
}

/* ---- over time ---- */

static void slots_hold_what_came(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 5);
    for (int round = 0; round < 200; round++) {
        struct time_slots whole = {0}, a = {0}, b = {0};
        int64_t base = (int64_t)(rng_next(&rng) % 2000000) * 1000000, first = INT64_MAX, last = 0;
        int64_t span = INT64_C(1) << (rng_next(&rng) % 45);
        static int64_t stamps[100];
        for (size_t i = 0; i < COUNT(stamps); i++) {
            stamps[i] = base + (int64_t)(rng_next(&rng) % (uint64_t)span);
            first = MIN(first, stamps[i]);
            last = MAX(last, stamps[i]);
            time_slots_add(&whole, stamps[i]);
            time_slots_add(rng_next(&rng) % 3 ? &a : &b, stamps[i]);
        }
        time_slots_merge(&b, &a);
        assert_memory_equal(&whole, &b, sizeof whole);
        struct time_buckets buckets = time_buckets_over(first, last);
        assert_true(buckets.count >= 1 && buckets.count <= TIME_SLOTS_SHOWN_MAX);
        double counts[TIME_SLOTS_SHOWN_MAX], expected[TIME_SLOTS_SHOWN_MAX] = {0};
        time_slots_fill(&whole, &buckets, counts);
        for (size_t i = 0; i < COUNT(stamps); i++)
            expected[(stamps[i] - buckets.start_us) / buckets.bucket_us]++;
        for (size_t i = 0; i < buckets.count; i++)
            assert_true(counts[i] == expected[i]);
    }
}

static struct error_pattern pattern_at(const int64_t *us, size_t count)
{
    struct error_pattern p = {.first_us = INT64_MAX, .last_us = INT64_MIN, .count = count};
    for (size_t i = 0; i < count; i++) {
        p.first_us = MIN(p.first_us, us[i]);
        p.last_us = MAX(p.last_us, us[i]);
        time_slots_add(&p.times, us[i]);
    }
    return p;
}

static void trends(void **state)
{
    (void)state;
    static const struct {
        int64_t from, to; /* hours; stamps are spread evenly between */
        size_t count;
        enum error_trend trend;
    } cases[] = {
        {0, 24, 48, TREND_STEADY},   {0, 24, 7, TREND_FEW},       {19, 24, 2, TREND_NEW},
        {0, 12, 30, TREND_GONE},     {11, 24, 60, TREND_GROWING}, {0, 24, 12, TREND_STEADY},
        {0, 19, 400, TREND_FALLING},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t us[400], hour = 3600 * INT64_C(1000000);
        for (size_t n = 0; n < cases[i].count; n++)
            us[n] = cases[i].from * hour +
                    (int64_t)n * (cases[i].to - cases[i].from) * hour / (int64_t)cases[i].count;
        struct error_pattern p = pattern_at(us, cases[i].count);
        assert_int_equal(error_pattern_trend(&p, 0, DAY_US), cases[i].trend);
        assert_int_equal(error_pattern_trend(&p, 5, 5), TREND_UNKNOWN);
    }
}

/* ---- json_logs ---- */

static void json_logs_tell_requests_and_errors(void **state)
{
    (void)state;
    struct log_errors e = {0}, more = {0};
    read_line("{\"message\": \"10.0.0.5:51234 - \\\"POST /v1/embeddings?x=1 HTTP/1.1\\\" 429\", "
              "\"level\": \"ERROR\", "
              "\"model\": \"no\", \"status\": \"success\"}");
    assert_int_equal(l.shape, LOG_SHAPE_JSON_LOGS);
    assert_int_equal(log_event_of(&l), LOG_EVENT_REQUEST);
    assert_int_equal(log_outcome_of(&l), LOG_OUTCOME_FAILURE);
    assert_true(l.found ==
                (LOG_BIT(level) | LOG_BIT(http_status) | LOG_BIT(client) | LOG_BIT(call_type)));
    assert_true(str_eq(l.r.client, STR("10.0.0.5")) && str_eq(l.r.call_type, STR("embeddings")));
    log_errors_take(&e, &l);
    assert_int_equal(e.count, 0);
    read_line("{\"message\": \"x\", \"level\": \"ERROR\", \"timestamp\": \"2026-11-24T10:00:00Z\", "
              "\"stacktrace\": \"a\\nlitellm.exceptions.Timeout: b: c\\n\\u000a \"}");
    assert_int_equal(log_event_of(&l), LOG_EVENT_OTHER);
    log_errors_take(&e, &l);
    log_errors_take(&more, &l);
    read_line(
        "{\"message\": \"x\", \"level\": \"CRITICAL\", \"stacktrace\": \"a\", \"stacktrace\": 5}");
    log_errors_take(&e, &l);
    log_errors_merge(&e, &more);
    log_errors_sort(&e);
    assert_int_equal(e.count, 2);
    assert_string_equal(e.list[0].class, "Timeout");
    assert_int_equal(e.list[0].count, 2);
    assert_int_equal(e.list[0].first_us, e.list[0].last_us);
    assert_string_equal(e.list[1].class, "");
    assert_int_equal(e.list[1].first_us, INT64_MAX);
}

static void log_errors_have_a_limit(void **state)
{
    (void)state;
    static struct log_errors e, more;
    char line[128];
    for (unsigned i = 0; i < LOG_ERRORS_MAX + 3; i++) {
        snprintf(line, sizeof line,
                 "{\"message\":\"x\",\"level\":\"ERROR\",\"stacktrace\":\"E%u: y\"}", i);
        read_line(line);
        log_errors_take(&e, &l);
    }
    assert_int_equal(e.count, LOG_ERRORS_MAX);
    assert_int_equal(e.other, 3);
    log_errors_take(&more, &l);
    log_errors_merge(&e, &more);
    assert_int_equal(e.other, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(joins),
        cmocka_unit_test(merged_is_the_same),
        cmocka_unit_test(limits),
        cmocka_unit_test(slots_hold_what_came),
        cmocka_unit_test(trends),
        cmocka_unit_test(json_logs_tell_requests_and_errors),
        cmocka_unit_test(log_errors_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
