/* What measuring writes for others: histograms that add up to what one run of all samples would say, JUnit, HdrHistogram text, the page. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <unistd.h>

#include "base/rand.h"
#include "cli/measure_export.h"
#include "cli/measure_page.h"

#define MS     1000000ull
#define S      (1000 * MS)
#define T0_US  INT64_C(1795674561000000)
#define MODELS 2
#define STAGES 3

/* Request i of 4,000 in 8 s: heavy-tailed, streamed, some failed, some never sent. */
static struct sample sample_of(struct rng *r, uint64_t i, uint64_t *gaps)
{
    struct sample s = {.number = i,
                       .stage = (uint32_t)(i % STAGES),
                       .model = (uint32_t)(rng_next(r) % MODELS),
                       .stream = true,
                       .reused = i > 10,
                       .kernel_stamped = true,
                       .outcome = i % 50 == 7    ? OUTCOME_HTTP_429
                                  : i % 400 == 9 ? OUTCOME_DROPPED
                                                 : OUTCOME_OK,
                       .due_ns = 5 * S + i * 2 * MS,
                       .prompt_tokens = 20,
                       .completion_tokens = 4,
                       .cached_tokens = -1,
                       .reasoning_tokens = -1,
                       .cost_usd = 0.001,
                       .chunks = 4,
                       .gaps_ns = gaps,
                       .gap_count = 3};
    double tail = -log(1 - rng_unit(r)) * 30e6;
    if (s.outcome == OUTCOME_DROPPED)
        return s;
    s.start_ns = s.due_ns + rng_next(r) % MS;
    s.sent_first_ns = s.sent_ns = s.start_ns + 1000;
    s.first_byte_ns = s.head_ns = s.first_event_ns = s.sent_ns + MS + (uint64_t)tail;
    s.first_token_ns = s.first_content_ns = s.first_event_ns;
    s.last_token_ns = s.first_token_ns;
    for (int g = 0; g < 3; g++) {
        gaps[g] = 4 * MS + rng_next(r) % (4 * MS);
        s.last_token_ns += gaps[g];
    }
    s.end_ns = s.last_token_ns + 1000;
    if (s.outcome != OUTCOME_OK)
        snprintf(s.error, sizeof s.error, "429 limited \"<&>\x1b[2J");
    return s;
}

/* All samples into `all`; the first and second half of them, by turns, into `a` and `b`, which began 3 s apart. */
static void fill(struct results *a, struct results *b, struct results *all)
{
    struct rng r;
    uint64_t gaps[3];
    rng_seed(&r, 7);
    for (uint64_t i = 0; i < 4000; i++) {
        struct sample s = sample_of(&r, i, gaps);
        results_take(all, &s);
        results_take(i % 3 == 0 ? a : b, &s);
    }
}

static struct results *through_json(const struct results *r, int64_t origin_us, int64_t base_us,
                                    struct arena *arena)
{
    static const uint32_t same[] = {0, 1, 2};
    struct mergeable_places p = {STAGES, MODELS, same, same, STAGES, MODELS, base_us};
    struct json_out j;
    struct err e = {0};
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    export_mergeable(&j, "mergeable", r, origin_us);
    json_unnest(&j, "}");
    struct json_node *n = json_parse(arena, arena_str(arena, buf_str(&j.out)), &e);
    assert_non_null(n);
    buf_fini(&j.out);
    struct results *back = export_mergeable_read(json_get(n, "mergeable"), &p, &e);
    if (!back)
        fail_msg("%s", e.text);
    return back;
}

static void same_group(const struct results_group *merged, const struct results_group *all)
{
    assert_memory_equal(merged->outcomes, all->outcomes, sizeof all->outcomes);
    assert_int_equal(merged->requests, all->requests);
    assert_int_equal(merged->completion_tokens, all->completion_tokens);
    assert_int_equal(merged->tokens_in_window, all->tokens_in_window);
    assert_int_equal(merged->good, all->good);
    assert_int_equal(merged->reused, all->reused);
    assert_true(fabs(merged->cost_usd - all->cost_usd) < 1e-9);
    assert_int_equal(merged->last_ns - merged->first_ns, all->last_ns - all->first_ns);
    for (int m = 0; m < MEASURED_COUNT; m++) {
        const struct hdr *x = &merged->spreads[m].hdr, *y = &all->spreads[m].hdr;
        assert_int_equal(x->count, y->count);
        if (!y->count)
            continue;
        assert_int_equal(x->min, y->min);
        assert_int_equal(x->max, y->max);
        assert_true(fabs(x->sum - y->sum) <= 1e-9 * y->sum);
        for (double q = 0.01; q < 1; q += 0.01)
            assert_int_equal(hdr_quantile(x, q), hdr_quantile(y, q));
    }
}

static void merged_is_what_one_run_would_say(void **state)
{
    (void)state;
    struct objectives o = {.ttft_ns = 40 * MS};
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct results *a = results_new(STAGES, MODELS, &o, 5 * S);
    struct results *b = results_new(STAGES, MODELS, &o, 5 * S);
    struct results *all = results_new(STAGES, MODELS, &o, 5 * S);
    fill(a, b, all);
    /* The second's clock has another zero; on the wall it is the same moment. */
    struct results *x = through_json(a, T0_US, T0_US, &arena);
    struct results *y = through_json(b, T0_US, T0_US, &arena);
    results_merge(x, y);
    results_merge(a, b);
    results_seal(x);
    results_seal(a);
    results_seal(all);
    same_group(&x->total, &all->total);
    for (int i = 0; i < STAGES; i++)
        same_group(&x->by_stage[i], &all->by_stage[i]);
    for (int i = 0; i < MODELS; i++)
        same_group(&x->by_model[i], &all->by_model[i]);
    /* What is not of the union but of its parts: chains of neighbours. */
    for (int m = 0; m < MEASURED_COUNT; m++)
        assert_true(fabs(spread_autocorrelation(&x->total.spreads[m]) -
                         spread_autocorrelation(&a->total.spreads[m])) < 1e-6);
    assert_int_equal(x->failure_count, 2);
    assert_string_equal(x->failures[0].error, all->failures[0].error);
    assert_int_equal(x->failures[0].count, all->failures[0].count);
    assert_true(fabs(x->in_flight_ns - all->in_flight_ns) < 1);
    /* Percentiles that are reported are the histogram's. */
    struct estimate p99 = spread_quantile(&x->total.spreads[MEASURED_TTFT], .99);
    assert_false(p99.refused);
    assert_int_equal(p99.value, hdr_quantile(&all->total.spreads[MEASURED_TTFT].hdr, .99));
    for (struct results *r[] = {a, b, all, x, y}, **i = r; i < r + 5; i++)
        results_free(*i);
    arena_fini(&arena);
}

static void seconds_meet_on_the_wall_clock(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct results *a = results_new(STAGES, MODELS, NULL, 5 * S);
    struct results *b = results_new(STAGES, MODELS, NULL, 5 * S);
    struct results *all = results_new(STAGES, MODELS, NULL, 5 * S);
    fill(a, b, all);
    struct results *x = through_json(a, T0_US, T0_US, &arena);
    struct results *y = through_json(b, T0_US + 3000000, T0_US, &arena); /* 3 s later */
    results_merge(x, y);
    results_seal(x);
    results_seal(a);
    results_seal(b);
    assert_int_equal(x->second_count, b->second_count + 3);
    for (size_t i = 0; i < x->second_count; i++) {
        const struct results_second *s = &x->seconds[i];
        const struct results_second *p = i < a->second_count ? &a->seconds[i] : NULL;
        const struct results_second *q = i >= 3 ? &b->seconds[i - 3] : NULL;
        assert_int_equal(s->ended, (p ? p->ended : 0) + (q ? q->ended : 0));
        assert_int_equal(s->failed, (p ? p->failed : 0) + (q ? q->failed : 0));
        assert_int_equal(s->chunks, (p ? p->chunks : 0) + (q ? q->chunks : 0));
        assert_int_equal(s->latency.count, (p ? p->latency.count : 0) + (q ? q->latency.count : 0));
        assert_int_equal(s->response.count,
                         (p ? p->response.count : 0) + (q ? q->response.count : 0));
    }
    /* Alone in its second, a slot's percentiles are as they were, within a bucket. */
    double was = (double)histogram_quantile(&a->seconds[1].latency, .95);
    assert_true(fabs((double)histogram_quantile(&x->seconds[1].latency, .95) / was - 1) < .004);
    /* Far apart: seconds become longer ones, and none is lost. */
    struct results *far = through_json(b, T0_US + INT64_C(5000) * 1000000, T0_US, &arena);
    uint64_t ended = 0, far_ended = 0;
    for (size_t i = 0; i < b->second_count; i++)
        ended += b->seconds[i].ended;
    for (size_t i = 0; i < far->second_count; i++)
        far_ended += far->seconds[i].ended;
    assert_true(far->second_count <= RESULTS_SLOTS_MAX && far->second_ns == 4 * S);
    assert_int_equal(far_ended, ended);
    for (struct results *r[] = {a, b, all, x, y, far}, **i = r; i < r + 6; i++)
        results_free(*i);
    arena_fini(&arena);
}

/* The report of a small run, with one thing in it replaced. */
static bool read_changed(const char *what, const char *with, struct err *e)
{
    static const uint32_t same[] = {0, 1, 2};
    struct mergeable_places p = {1, 1, same, same, 1, 1, T0_US};
    struct arena arena;
    struct json_out j;
    struct sample s = {.due_ns = 5 * S, .sent_first_ns = 5 * S, .end_ns = 6 * S, .cost_usd = -1};
    struct results *r = results_new(1, 1, NULL, 5 * S);
    results_take(r, &s);
    arena_init(&arena, NULL, 0);
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    export_mergeable(&j, "mergeable", r, T0_US);
    json_unnest(&j, "}");
    struct str text = arena_str(&arena, buf_str(&j.out));
    const char *at = strstr(text.p, what);
    assert_non_null(at);
    struct str changed =
        arena_printf(&arena, "%.*s%s%s", (int)(at - text.p), text.p, with, at + strlen(what));
    struct json_node *n = json_parse(&arena, changed, e);
    struct results *back = n ? export_mergeable_read(json_get(n, "mergeable"), &p, e) : NULL;
    results_free(back);
    results_free(r);
    buf_fini(&j.out);
    arena_fini(&arena);
    return back != NULL;
}

static void broken_reports_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what, *with, *says;
    } cases[] = {
        {"\"mergeable\"", "\"something\"", "weir load"},
        {"\"requests\":1", "\"requests\":-1", "total.requests: expected a whole number"},
        {"\"requests\":1", "\"requests\":1.5", "total.requests"},
        {"\"count\":1,\"min\"", "\"count\":2,\"min\"",
         "total.latency.count: expected as many values"},
        {"\"hdr\":\"", "\"hdr\":\"AAAA", "total.latency.hdr: "},
        {"\"latency\":{", "\"latencies\":{", "total.metrics: expected metrics that this version"},
        {"\"outcomes\":{\"ok\"", "\"outcomes\":{\"okay\"", "outcomes that this version"},
        {"\"by_stage\":[", "\"by_stage\":[{},", "by_stage: expected a list"},
        {"\"second_ns\":1000000000", "\"second_ns\":1", "second_ns: expected a second or more"},
        {"\"sum_squares\":", "\"sum_squares\":1e999,\"x\":", "sum_squares: expected a number"},
        {"\"origin_real_us\":", "\"origin_real_us\":-", "origin_real_us"},
        {"\"objectives\":", "\"objectivez\":", "objectives: expected an object"},
    };
    struct err fine = {0};
    assert_true(read_changed("\"requests\":1", "\"requests\":1", &fine));
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = {0};
        if (read_changed(cases[i].what, cases[i].with, &e) || !strstr(e.text, cases[i].says))
            fail_msg("%s: %s", cases[i].with, e.text);
    }
}

/* ---- the other formats ---- */

static char *written(void (*write)(FILE *out))
{
    char *text;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    write(out);
    fclose(out);
    return text;
}

static void write_junit(FILE *out)
{
    const struct junit_case cases[] = {
        {STR("latency p95 < 500ms"), STR("thresholds"), 1.5, STR_NONE, STR("measured: 3 ms")},
        {STR("errors[model=\"a&b\"] < 1%"), STR("thresholds"), 0, STR("it is 5 %\x1b[2J \xff"),
         STR_NONE},
    };
    junit_write(out, STR("evening"), T0_US, 12.25, cases, 2);
}

static void junit_is_well_formed(void **state)
{
    (void)state;
    char *text = written(write_junit);
    assert_non_null(
        strstr(text, "<testsuites tests=\"2\" failures=\"1\" errors=\"0\" time=\"12.250\">"));
    assert_non_null(strstr(text, "timestamp=\"2026-11-26T06:29:21\""));
    assert_non_null(strstr(
        text,
        "<testcase name=\"latency p95 &lt; 500ms\" classname=\"thresholds\" time=\"1.500\">"));
    assert_non_null(strstr(text, "name=\"errors[model=&quot;a&amp;b&quot;] &lt; 1%\""));
    assert_non_null(strstr(text, "<failure message=\"it is 5 %\xEF\xBF\xBD[2J \xEF\xBF\xBD\"/>"));
    assert_null(strchr(text, '\x1b'));
    free(text);
}

static void cases_of_thresholds_and_checks(void **state)
{
    (void)state;
    struct arena a;
    size_t n;
    struct limits_asked l = {.count = 2};
    struct validity v = {.count = 3};
    arena_init(&a, NULL, 0);
    snprintf(l.all[0].text, sizeof l.all[0].text, "p(95)<500");
    l.all[1].verdict = LIMIT_REFUSED;
    snprintf(l.all[1].why, sizeof l.all[1].why, "too few");
    v.checks[0] = (struct validity_check){
        .key = "cpu", .heading = "CPU", .verdict = CHECK_BAD, .text = "97 %"};
    v.checks[1] = (struct validity_check){.key = "x", .heading = "X", .verdict = CHECK_NOT_ASKED};
    v.checks[2] =
        (struct validity_check){.key = "y", .heading = "Y", .verdict = CHECK_GOOD, .text = "fine"};
    struct junit_case *c = junit_cases(&a, &l, &v, &n);
    assert_int_equal(n, 4);
    assert_true(str_eq(c[0].name, STR("p(95)<500")) && c[0].failure.n == 0);
    assert_true(str_eq(c[1].failure, STR("too few")));
    assert_true(str_eq(c[2].failure, STR("97 %")) && str_eq(c[3].name, STR("Y")));
    arena_fini(&a);
}

static void write_hgrm(FILE *out)
{
    struct results *r = results_new(1, 1, NULL, 5 * S);
    for (uint64_t i = 1; i <= 100; i++) {
        struct sample s = {
            .due_ns = 5 * S, .sent_first_ns = 5 * S, .end_ns = 5 * S + i * MS, .cost_usd = -1};
        results_take(r, &s);
    }
    export_hgrm(out, &r->total, MEASURED_RESPONSE);
    results_free(r);
}

static void hgrm_is_in_ms(void **state)
{
    (void)state;
    char *text = written(write_hgrm);
    assert_non_null(strstr(text, "Value     Percentile TotalCount 1/(1-Percentile)"));
    assert_non_null(strstr(text, "#[Max     =      100.0"));
    free(text);
}

/* ---- the page ---- */

static void body(struct measure_page *p, void *arg)
{
    const struct results *r = arg;
    double asked[64];
    const double xs[] = {1, 2, 4, 8}, ys[] = {10, 20, NAN, 22};
    const struct plot_series line = {"requests/s", ys, 1, NULL};
    const struct measure_page_curve curve = {"total <b>", &r->total.spreads[MEASURED_TOTAL].hdr};
    for (size_t i = 0; i < COUNT(asked); i++)
        asked[i] = 500;
    struct measure_page_times t = {.results = r, .origin_real_us = T0_US, .asked_per_s = asked};
    measure_page_note(p, STYLE_BAD, "a <script> of %s", "strangers");
    measure_page_begin_tiles(p);
    measure_page_tile(p, "Requests", num_count(5), "<i>", STYLE_BAD);
    measure_page_end_tiles(p);
    measure_page_begin_section(p, "x", "X & Y");
    measure_page_traffic(p, &t);
    measure_page_latencies(p, &t);
    measure_page_histogram(p, "Total", "spread", curve.hdr);
    measure_page_curves(p, "Done", "within", &curve, 1);
    const struct measure_page_chart chart = {.title = "Throughput",
                                             .remark = "by users",
                                             .xs = xs,
                                             .x_count = 4,
                                             .series = &line,
                                             .series_count = 1,
                                             .show_x = num_count,
                                             .show_y = num_rate};
    measure_page_lines(p, &chart);
    measure_page_end_section(p);
}

static size_t occurrences(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

static void the_page_needs_and_runs_nothing(void **state)
{
    (void)state;
    char path[] = "/tmp/weir-page-XXXXXX", *text = NULL;
    size_t room = 0;
    struct err e = {0};
    struct results *a = results_new(STAGES, MODELS, NULL, 5 * S);
    struct results *b = results_new(STAGES, MODELS, NULL, 5 * S);
    struct results *all = results_new(STAGES, MODELS, NULL, 5 * S);
    fill(a, b, all);
    results_seal(all);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(measure_page_write(path, "Load <test>", body, all, &e));
    FILE *in = fopen(path, "r");
    assert_true(getdelim(&text, &room, '\0', in) > 0);
    fclose(in);
    close(fd);
    unlink(path);
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "http://"));
    assert_null(strstr(text, "https://"));
    assert_null(strstr(text, "nan"));
    assert_non_null(strstr(text, "<title>Load &lt;test&gt;</title>"));
    assert_non_null(strstr(text, "a &lt;script&gt; of strangers"));
    assert_int_equal(occurrences(text, "<figure"), occurrences(text, "</figure>"));
    assert_int_equal(occurrences(text, "<figure"), 9);
    assert_int_equal(occurrences(text, "<section"), 1);
    free(text);
    assert_false(measure_page_write("/nowhere/page.html", "x", body, all, &e));
    assert_non_null(strstr(e.text, "/nowhere/page.html"));
    results_free(a);
    results_free(b);
    results_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_is_what_one_run_would_say),
        cmocka_unit_test(seconds_meet_on_the_wall_clock),
        cmocka_unit_test(broken_reports_are_refused),
        cmocka_unit_test(junit_is_well_formed),
        cmocka_unit_test(cases_of_thresholds_and_checks),
        cmocka_unit_test(hgrm_is_in_ms),
        cmocka_unit_test(the_page_needs_and_runs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
