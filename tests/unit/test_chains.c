/* Chains, traces, slowest requests and rate limits: by hand, in one piece and merged from every division of the lines. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "observe/chains.h"
#include "observe/rate_limits.h"
#include "observe/slowest.h"
#include "observe/trace.h"

static char data[4096];

/* The line's text is in `data` until the next call. */
static struct str read_line(struct logline *l, const char *text)
{
    enum line_status status;
    size_t n = strlen(text);
    assert_true(n + LOGLINE_SLACK < sizeof data);
    memcpy(data, text, n);
    memset(data + n, '\n', LOGLINE_SLACK);
    logline_init(l);
    (void)logline_read(l, data, data + n, &status);
    assert_int_equal(status, LINE_READ);
    return (struct str){data, n + 1};
}

/* ---- spans ---- */

static void check_span(const char *line, const int64_t *parts)
{
    struct logline l;
    read_line(&l, line);
    struct log_span s = log_span_of(&l);
    int64_t sum = 0;
    for (int i = 0; i < SPAN_PARTS; i++) {
        assert_int_equal(s.parts[i], parts[i]);
        sum += s.parts[i];
    }
    assert_int_equal(sum, s.timed ? l.r.latency_us : 0);
}

static void spans_add_up(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int64_t parts[SPAN_PARTS]; /* queue, first token, generation, upstream, rest */
    } cases[] = {
        {"{\"model\":\"m\",\"latency_ms\":10,\"ttft_ms\":4,\"upstream_ms\":8,\"queue_ms\":1}",
         {1000, 3000, 5000, 0, 1000}},
        {"{\"model\":\"m\",\"latency_ms\":10,\"ttft_ms\":4}", {0, 4000, 6000, 0, 0}},
        {"{\"model\":\"m\",\"latency_ms\":10,\"upstream_ms\":8,\"queue_ms\":1}",
         {1000, 0, 0, 8000, 1000}},
        {"{\"model\":\"m\",\"latency_ms\":10,\"overhead_ms\":2}", {0, 0, 0, 0, 10000}},
        {"{\"startTime\":1,\"endTime\":1.01,\"hidden_params\":{\"litellm_overhead_time_ms\":2}}",
         {0, 0, 0, 8000, 2000}},
        {"{\"startTime\":1,\"endTime\":1.01}", {0, 0, 0, 10000, 0}},
        {"{\"startTime\":1,\"endTime\":1.01,\"cache_hit\":true}", {0, 0, 0, 0, 10000}},
        {"{\"model\":\"m\",\"latency_ms\":10}", {0, 0, 0, 0, 10000}},
        {"{\"model\":\"m\",\"ttft_ms\":4}", {0}},
        /* What cannot be: more than the whole, and a first token before the request was sent. */
        {"{\"model\":\"m\",\"latency_ms\":10,\"ttft_ms\":99,\"queue_ms\":3}",
         {3000, 7000, 0, 0, 0}},
        {"{\"model\":\"m\",\"latency_ms\":10,\"queue_ms\":99,\"upstream_ms\":99}",
         {10000, 0, 0, 0, 0}},
        {"{\"model\":\"m\",\"latency_ms\":10,\"ttft_ms\":1,\"queue_ms\":3,\"upstream_ms\":5}",
         {3000, 0, 7000, 0, 0}},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check_span(cases[i].line, cases[i].parts);
}

/* ---- names ---- */

static void names_are_kept_once(void **state)
{
    (void)state;
    struct log_names n;
    struct logline l;
    char out[4];
    log_names_init(&n, 2);
    const char *a = log_name(&n, STR("a"));
    assert_ptr_equal(log_name(&n, (struct str){"ab", 1}), a);
    assert_string_equal(log_name(&n, STR("b")), "b");
    assert_string_equal(log_name(&n, STR("c")), "other");
    assert_ptr_equal(log_name(&n, STR("d")), log_name(&n, STR("e")));
    assert_int_equal(n.refused, 3);
    assert_null(log_name(&n, STR_NONE));
    read_line(&l, "{\"model\":\"\\u0061\",\"provider\":\"\",\"user\":\"ab\xC3\xA9\"}");
    assert_ptr_equal(log_name_of(&n, &l, LOG_model), a);
    assert_null(log_name_of(&n, &l, LOG_key_alias));
    assert_int_equal(log_text_copy(&l, LOG_user, out, sizeof out), 2); /* not half a character */
    assert_string_equal(out, "ab");
    assert_int_equal(log_text_copy(&l, LOG_client, out, sizeof out), 0);
    log_names_fini(&n);
}

/* ---- all lines, to one state or to two that are merged ---- */

#define W "{\"timestamp\":\"2026-11-24T10:00:"

static const char *const chain_lines[] = {
    (W
     "01.000Z\",\"event\":\"request\",\"request_id\":\"plain\",\"model\":\"a\",\"provider\":\"x\","
     "\"status\":\"success\",\"latency_ms\":100,\"attempts\":1}"),
    (W "02.000Z\",\"event\":\"attempt\",\"request_id\":\"retried\",\"model\":\"a\",\"provider\":"
       "\"y\","
       "\"status\":\"failure\",\"latency_ms\":250,\"cost_usd\":0.5}"),
    (W "03.000Z\",\"event\":\"request\",\"request_id\":\"retried\",\"model\":\"a\",\"provider\":"
       "\"x\","
       "\"status\":\"success\",\"latency_ms\":400,\"upstream_ms\":100,\"attempts\":2}"),
    (W "04.000Z\",\"event\":\"request\",\"request_id\":\"moved\",\"model\":\"b\",\"provider\":"
       "\"x\",\"upstream_model\":\"c\","
       "\"status\":\"failure\",\"latency_ms\":900,\"upstream_ms\":300,\"cost_usd\":0.25,"
       "\"attempts\":5,\"fallback_from\":\"b\"}"),
    (W "05.000Z\",\"event\":\"request\",\"request_id\":\"hit\",\"model\":\"a\",\"status\":"
       "\"success\",\"cache\":\"hit\"}"),
    /* LiteLLM: a chain that fell back from m to n, a session, and one from cache. */
    ("{\"id\":\"1\",\"trace_id\":\"t1\",\"status\":\"failure\",\"custom_llm_provider\":\"p\","
     "\"model\":\"m\","
     "\"startTime\":100,\"endTime\":101}"),
    ("{\"id\":\"2\",\"trace_id\":\"t1\",\"status\":\"success\",\"custom_llm_provider\":\"q\","
     "\"model\":\"n\","
     "\"startTime\":102,\"endTime\":104}"),
    ("{\"id\":\"3\",\"trace_id\":\"t2\",\"status\":\"success\",\"custom_llm_provider\":\"p\","
     "\"model\":\"m\","
     "\"startTime\":100,\"endTime\":101}"),
    ("{\"id\":\"4\",\"trace_id\":\"t2\",\"status\":\"success\",\"custom_llm_provider\":\"p\","
     "\"model\":\"m\","
     "\"startTime\":200,\"endTime\":201}"),
    ("{\"id\":\"5\",\"trace_id\":\"t2\",\"status\":\"failure\",\"custom_llm_provider\":\"p\","
     "\"model\":\"m\","
     "\"startTime\":300,\"endTime\":301}"),
    ("{\"id\":\"6\",\"trace_id\":\"t3\",\"status\":\"success\",\"custom_llm_provider\":\"p\","
     "\"model\":\"m\",\"cache_hit\":true,"
     "\"startTime\":300,\"endTime\":301}"),
};

static const struct chain_group *group(const struct chain_groups *g, const char *name)
{
    for (size_t i = 0; i < g->count; i++)
        if (name ? g->list[i]->name && strcmp(g->list[i]->name, name) == 0 : !g->list[i]->name)
            return g->list[i];
    fail_msg("no group %s", name ? name : "without a name");
    return NULL;
}

static void check_chains(struct chains *c)
{
    chains_settle(c);
    chains_settle(c); /* no harm done */
    assert_int_equal(c->requests, 4 + 1 + 3 + 1);
    assert_int_equal(c->reached, 3 + 1 + 3);
    assert_int_equal(c->attempts, 1 + 2 + 5 + 2 + 3);
    assert_int_equal(c->need[0].requests, 2);
    assert_int_equal(c->need[1].requests, 1);
    assert_int_equal(c->need[2].requests, 2);
    assert_int_equal(c->need[CHAINS_NEED_MAX].requests, 1);
    assert_int_equal(c->need[CHAINS_NEED_MAX].success, 0);
    assert_int_equal(c->retry.requests, 1);
    assert_int_equal(c->retry.added.max, 300000);
    assert_int_equal(c->fallback.requests, 2);
    assert_int_equal(c->fallback.success, 1);
    /* "retried" and "moved" once each, LiteLLM's 1 and 5. */
    assert_int_equal(c->failed_attempts, 4);
    assert_int_equal(c->wasted_us, 250000 + 300000 + 1000000 + 1000000);
    assert_int_equal(c->wasted_pico, 750000000000);
    assert_int_equal(c->sessions, 1);
    assert_int_equal(c->session_requests, 3);
    assert_int_equal(group(&c->providers, "y")->failed_attempts, 1);
    assert_int_equal(group(&c->providers, "y")->requests, 0);
    assert_int_equal(group(&c->models, "a")->attempts, 3);
    assert_int_equal(group(&c->models, "a")->saved, 1);
    assert_int_equal(c->route_count, 2);
    assert_string_equal(c->routes[0]->from, "b");
    assert_string_equal(c->routes[0]->to, "c");
    assert_string_equal(c->routes[1]->to, "n");
    assert_int_equal(c->routes[1]->added.max, 2000000);
    assert_int_equal(c->worst_count, 2); /* three, and room for two */
    assert_string_equal(c->worst[0]->id, "moved");
    assert_string_equal(c->worst[1]->id, "t1");
}

static void take_chain(struct chains *c, const char *line)
{
    struct logline l;
    read_line(&l, line);
    chains_take(c, &l, log_event_of(&l));
}

static void chains_however_divided(void **state)
{
    (void)state;
    for (unsigned division = 0; division < 1u << COUNT(chain_lines); division++) {
        struct chains one, two;
        chains_init(&one, 2);
        chains_init(&two, 2);
        for (size_t i = 0; i < COUNT(chain_lines); i++)
            take_chain(division >> i & 1 ? &two : &one, chain_lines[i]);
        chains_merge(&one, &two);
        chains_fini(&two);
        check_chains(&one);
        chains_fini(&one);
    }
    assert_true(isnan(chains_amplification(0, 0)));
    assert_true(chains_amplification(4, 6) == 1.5);
}

/* ---- traces ---- */

static const char *const trace_lines[] = {
    (W "02.000Z\",\"event\":\"request\",\"request_id\":\"abcdef-1\",\"trace_id\":\"t-abcdef\","
       "\"status\":\"success\","
       "\"latency_ms\":1900,\"request\":{\"secret\":1}}"),
    (W "01.000Z\",\"event\":\"attempt\",\"request_id\":\"abcdef\\u002d1\",\"status\":\"failure\","
       "\"latency_ms\":800}"),
    (W "03.000Z\",\"event\":\"request\",\"request_id\":\"abcdef-2\",\"status\":\"success\","
       "\"latency_ms\":5}"),
    ("{\"event\":\"request\",\"request_id\":\"unstamped\",\"trace_id\":\"t-abcdef\"}"),
    (W "04.000Z\",\"event\":\"gap\",\"dropped\":3}"),
};

struct expected {
    const char *wanted, *id;
    enum trace_result result;
    size_t lines, candidates;
};

static void check_trace(const struct expected *x, unsigned division)
{
    struct trace one, two;
    struct logline l;
    struct str id;
    trace_init(&one, str_from(x->wanted), false);
    trace_init(&two, str_from(x->wanted), false);
    for (size_t i = 0; i < COUNT(trace_lines); i++) {
        struct str line = read_line(&l, trace_lines[i]);
        trace_take(division >> i & 1 ? &two : &one, &l, log_event_of(&l), line);
    }
    trace_merge(&one, &two);
    trace_fini(&two);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(trace_settle(&one, &id), x->result);
        assert_true(str_eq(id, str_from(x->id)));
        assert_int_equal(x->result == TRACE_FOUND ? one.count : 0, x->lines);
        assert_int_equal(trace_line_total(&one), x->lines);
        assert_int_equal(one.candidate_count, x->candidates);
    }
    if (x->result == TRACE_FOUND && one.count == 2) /* by start; what has no stamp is last */
        assert_true(one.lines[0]->r.latency_us == 1900000);
    trace_fini(&one);
}

static void traces_however_divided(void **state)
{
    (void)state;
    static const struct expected cases[] = {
        {"abcdef-1", "abcdef-1", TRACE_FOUND, 2, 0},
        {"t-abcdef", "t-abcdef", TRACE_FOUND, 2, 0},
        {"abcdef", "abcdef", TRACE_AMBIGUOUS, 0, 2},
        {"abcdef-2", "abcdef-2", TRACE_FOUND, 1, 0},
        {"unstam", "unstamped", TRACE_FOUND, 1, 1},
        {"abcde", "abcde", TRACE_NOT_FOUND, 0, 0},
        {"abcdef-10", "abcdef-10", TRACE_NOT_FOUND, 0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        for (unsigned division = 0; division < 1u << COUNT(trace_lines); division++)
            check_trace(&cases[i], division);
}

static void content_is_kept_when_asked_for(void **state)
{
    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        struct trace t;
        struct logline l;
        struct str id;
        trace_init(&t, STR("abcdef-1"), keep);
        struct str line = read_line(&l, trace_lines[0]);
        trace_take(&t, &l, LOG_EVENT_REQUEST, line);
        memset(data, 'x', sizeof data); /* nothing may point there */
        assert_int_equal(trace_settle(&t, &id), TRACE_FOUND);
        struct str request = t.lines[0]->r.request;
        assert_int_equal(request.n, strlen("{\"secret\":1}"));
        assert_true(keep ? str_eq(request, STR("{\"secret\":1}")) : request.p == NULL);
        assert_true(str_eq(t.lines[0]->r.trace_id, STR("t-abcdef")));
        trace_fini(&t);
    }
}

/* However many lines fit, the earliest are kept; however many ids, the first by name, each with all its lines. */
static void traces_have_a_limit(void **state)
{
    (void)state;
    struct trace t;
    struct logline l;
    struct str id;
    char text[200];
    trace_init(&t, STR("common"), false);
    for (int i = 0; i < 5000; i++) {
        int number = i * 4111 % 5000; /* in no order, each once */
        snprintf(text, sizeof text, "{\"request_id\":\"common-%04d\",\"latency_ms\":1}",
                 number / 2);
        struct str line = read_line(&l, text);
        trace_take(&t, &l, LOG_EVENT_REQUEST, line);
    }
    assert_int_equal(trace_settle(&t, &id), TRACE_AMBIGUOUS);
    assert_int_equal(t.candidate_count, TRACE_CANDIDATES_MAX);
    assert_true(t.more_candidates);
    for (size_t i = 0; i < t.candidate_count; i++) {
        snprintf(text, sizeof text, "common-%04zu", i);
        assert_string_equal(t.candidates[i].id, text);
        assert_int_equal(t.candidates[i].lines, 2);
    }
    trace_fini(&t);
}

/* ---- slowest ---- */

static void slowest_are_those(void **state)
{
    (void)state;
    for (size_t max = 0; max < 12; max++) {
        struct slowest one, two;
        struct logline l;
        char text[200];
        slowest_init(&one, max);
        slowest_init(&two, max);
        for (int i = 0; i < 100; i++) { /* each latency twice; of equals the smaller id is first */
            snprintf(text, sizeof text, "{\"request_id\":\"%02d\",\"latency_ms\":%d}", i,
                     i * 37 % 50);
            read_line(&l, text);
            slowest_take(i % 3 ? &one : &two, &l);
        }
        read_line(&l, "{\"request_id\":\"untimed\"}");
        slowest_take(&one, &l);
        slowest_merge(&one, &two);
        slowest_fini(&two);
        slowest_sort(&one);
        assert_int_equal(one.count, max);
        for (size_t i = 0; i < max; i++) {
            assert_int_equal(one.heap[i]->latency_us, (49 - (int64_t)i / 2) * 1000);
            assert_true(i % 2 == 0 || strcmp(one.heap[i - 1]->id, one.heap[i]->id) < 0);
        }
        slowest_fini(&one);
    }
}

/* ---- rates ---- */

/* `sent` in a minute by one key, of which `refused` got a 429 from the provider; 10 tokens each that did not. */
static void take_minute(struct rates *r, int minute, int sent, int refused)
{
    struct logline l;
    char text[300];
    for (int i = 0; i < sent; i++) {
        snprintf(text, sizeof text,
                 "{\"timestamp\":\"2026-11-24T10:%02d:30.000Z\",\"event\":\"%s\",\"provider\":"
                 "\"p\",\"key_alias\":\"k\","
                 "\"latency_ms\":1000,%s}",
                 minute, i % 2 ? "attempt" : "request",
                 i < refused ? "\"error\":{\"type\":\"t\",\"provider_status\":429}"
                             : "\"total_tokens\":10");
        read_line(&l, text);
        rates_take(r, &l, log_event_of(&l));
    }
}

static void take_rest(struct rates *r)
{
    static const char *const lines[] = {
        /* Refused by the gateway; from cache; never sent; sent in the minute before its stamp. */
        W
        "00.000Z\",\"event\":\"request\",\"http_status\":429,\"key_hash\":\"0123456789abcdefgh\"}",
        W "00.000Z\",\"event\":\"request\",\"provider\":\"p\",\"key_alias\":\"k\",\"cache\":"
          "\"hit\",\"total_tokens\":7}",
        W "00.000Z\",\"event\":\"request\",\"provider\":\"p\",\"key_alias\":\"k\",\"attempts\":0}",
        W "01.000Z\",\"event\":\"request\",\"provider\":\"p\",\"key_alias\":\"k\",\"latency_ms\":"
          "2000,\"prompt_tokens\":3}",
    };
    struct logline l;
    for (size_t i = 0; i < COUNT(lines); i++) {
        read_line(&l, lines[i]);
        rates_take(r, &l, log_event_of(&l));
    }
}

static void limits_lie_where_they_lie(void **state)
{
    (void)state;
    for (int division = 0; division < 8; division++) {
        struct rates one, two;
        rates_init(&one);
        rates_init(&two);
        take_minute(division & 1 ? &one : &two, 1, 20, 0);
        take_minute(division & 2 ? &one : &two, 2, 50, 12);
        take_minute(division & 4 ? &one : &two, 3, 31, 1);
        take_minute(&one, 4, 10, 0);
        take_minute(&two, 5, 1, 0);
        take_rest(&two);
        rates_merge(&one, &two);
        rates_fini(&two);
        rates_settle(&one);
        rates_settle(&one);
        const struct rate_pair *p = &one.wholes[0];
        assert_string_equal(p->provider, "p");
        assert_int_equal(p->requests, 113);
        assert_int_equal(p->tokens, (112 - 13) * 10 + 3);
        assert_int_equal(p->provider_429, 13);
        assert_int_equal(p->minutes, 6); /* 9:59, and 10:01 to 10:05 */
        assert_int_equal(p->minutes_429, 2);
        assert_int_equal(p->rpm.peak, 50);
        assert_int_equal(p->rpm.hit, 31);
        assert_int_equal(p->rpm.passed, 38);
        assert_int_equal(p->rpm.now, 10); /* the last one, 10:05, may not be whole */
        assert_true(p->rpm.estimate == 38);
        assert_true(fabs(p->rpm.headroom - (1 - 10.0 / 38)) < 1e-12);
        assert_int_equal(p->tpm.passed, 380);
        assert_int_equal(p->cause, RATE_BY_EITHER);
        assert_true(rates_share_when_limited(&one.pairs[0], p) == 1);
        const struct rate_pair *none = &one.wholes[1];
        assert_null(none->provider);
        assert_int_equal(none->gateway_429, 1);
        assert_int_equal(none->requests, 0);
        assert_int_equal(none->cause, RATE_NO_429);
        assert_string_equal(one.pairs[1].key, "0123456789ab");
        assert_true(one.pairs[1].hashed);
        rates_fini(&one);
    }
}

static void a_quiet_minute_with_a_429_is_not_explained(void **state)
{
    (void)state;
    struct rates r;
    rates_init(&r);
    take_minute(&r, 1, 20, 0);
    take_minute(&r, 2, 5, 1);
    rates_settle(&r);
    assert_int_equal(r.wholes[0].cause, RATE_UNEXPLAINED);
    assert_true(isnan(r.wholes[0].rpm.estimate) && isnan(r.wholes[0].tpm.headroom));
    rates_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_add_up),
        cmocka_unit_test(names_are_kept_once),
        cmocka_unit_test(chains_however_divided),
        cmocka_unit_test(traces_however_divided),
        cmocka_unit_test(content_is_kept_when_asked_for),
        cmocka_unit_test(traces_have_a_limit),
        cmocka_unit_test(slowest_are_those),
        cmocka_unit_test(limits_lie_where_they_lie),
        cmocka_unit_test(a_quiet_minute_with_a_429_is_not_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
