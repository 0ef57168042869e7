/* Reports of made-up samples: what they say, and what they refuse to say. With LOOK set in the environment they are shown. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/json.h"
#include "cli/measure_report.h"

#define MS 1000000ull

static struct sample made(uint64_t i)
{
    struct sample s = {.number = i,
                       .outcome = OUTCOME_OK,
                       .stream = true,
                       .reused = i > 0,
                       .http_status = 200,
                       .prompt_tokens = 20,
                       .completion_tokens = 11,
                       .chunks = 11,
                       .cost_usd = -1,
                       .due_ns = 1000 * MS + i * 500 * MS};
    uint64_t ttft = 100 * MS + (i * 7919 % 101) * MS / 5;
    s.start_ns = s.due_ns + MS / 100;
    s.sent_first_ns = s.sent_ns = s.start_ns + MS / 10;
    s.first_byte_ns = s.head_ns = s.sent_ns + 5 * MS;
    s.first_event_ns = s.first_byte_ns + MS;
    s.first_token_ns = s.first_content_ns = s.sent_first_ns + ttft;
    s.last_token_ns = s.first_token_ns + 200 * MS;
    s.done_ns = s.end_ns = s.last_token_ns + MS;
    snprintf(s.request_id, sizeof s.request_id, "req-%llu", (unsigned long long)i);
    return s;
}

static struct results *taken(uint64_t count)
{
    struct results *r = results_new(1, 1, NULL, 1000 * MS);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t gaps[10];
        struct sample s = made(i);
        for (size_t k = 0; k < COUNT(gaps); k++)
            gaps[k] = 20 * MS + k;
        s.gaps_ns = gaps;
        s.gap_count = COUNT(gaps);
        s.longest_gap_ns = gaps[9];
        results_take(r, &s);
    }
    results_seal(r);
    return r;
}

static const struct str model = {"llama3.1:8b", 11};

static struct measure_report report_of(struct results *r)
{
    return (struct measure_report){.command = "profile latency",
                                   .url = STR("http://localhost:4000"),
                                   .models = &model,
                                   .results = r,
                                   .seed = 7};
}

struct paper {
    char *text;
    size_t bytes;
    struct term term;
};

static struct paper *paper_new(int columns, bool utf8)
{
    static struct paper p;
    p = (struct paper){.term = {.utf8 = utf8, .columns = columns}};
    p.term.out = open_memstream(&p.text, &p.bytes);
    assert_non_null(p.term.out);
    return &p;
}

static char *paper_read(struct paper *p)
{
    fclose(p->term.out);
    if (getenv("LOOK"))
        fputs(p->text, stdout);
    return p->text;
}

static void has(const char *text, const char *wanted)
{
    if (!strstr(text, wanted))
        fail_msg("no \"%s\" in:\n%s", wanted, text);
}

static void lacks(const char *text, const char *unwanted)
{
    if (strstr(text, unwanted))
        fail_msg("\"%s\" in:\n%s", unwanted, text);
}

static void ranges_share_their_unit(void **state)
{
    (void)state;
    static const struct {
        double low, high;
        const char *text;
    } cases[] = {
        {12.3e6, 14.1e6,
         "12.3\xE2\x80\x93"
         "14.1 ms"},
        {950e6, 1.2e9,
         "950 ms\xE2\x80\x93"
         "1.2 s"},
        {61e9, 65e9,
         "1 min 1 s\xE2\x80\x93"
         "1 min 5 s"},
        {NAN, 1e6, NUM_UNKNOWN},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(measured_show_range(MEASURED_TOTAL, cases[i].low, cases[i].high).text,
                            cases[i].text);
    assert_string_equal(measured_show_range(MEASURED_SPEED, 40, 50).text, "40\xE2\x80\x93"
                                                                          "50/s");
    assert_string_equal(measured_show_range(MEASURED_COST, .5, 1.5).text, "$0.50\xE2\x80\x93$1.50");
}

static void refuses_what_the_sample_does_not_carry(void **state)
{
    (void)state;
    struct results *r = taken(40);
    struct paper *p = paper_new(100, true);
    measure_write_times("Times", &r->total, NULL, 0, TABLE_TERMINAL, &p->term);
    char *text = paper_read(p);
    has(text, "n < 368");
    has(text, "n < 72");
    lacks(text, "n < 36 ");
    lacks(text, "more column"); /* all of it fits 100 columns */
    lacks(text, "Inter-chunk"); /* the same as inter-token here */
    has(text, "Inter-token");
    free(text);

    p = paper_new(0, true);
    measure_write_times("Times", &r->total, NULL, 0, TABLE_MARKDOWN, &p->term);
    text = paper_read(p);
    has(text, "n/a (n \\< 368)");
    free(text);
    results_free(r);
}

static double number_at(const struct json_node *n, const char *a, const char *b, const char *c)
{
    n = json_get(n, a);
    n = b ? json_get(n, b) : n;
    n = c ? json_get(n, c) : n;
    if (!n)
        fail_msg("no %s.%s.%s", a, b ? b : "", c ? c : "");
    return n->kind == JSON_NUMBER ? n->number : NAN;
}

static char *stages_of(const struct measure_report *m)
{
    struct paper *p = paper_new(160, true);
    measure_write_stages(m, TABLE_TERMINAL, &p->term);
    return paper_read(p);
}

static void stages_leave_out_the_warm_up(void **state)
{
    (void)state;
    static const struct str names[] = {
        {"slowly", 6}, {"first", 5}, {"second", 6}, {"never begun", 11}};
    static const struct stage plan[4] = {{.warm_up = true}};
    struct results *r = results_new(4, 1, NULL, 1000 * MS);
    for (uint64_t i = 0; i < 60; i++) {
        struct sample s = made(i);
        s.stage = (uint32_t)(i / 20);
        s.warm_up = s.stage == 0;
        results_take(r, &s);
    }
    results_seal(r);
    struct measure_report m = report_of(r);
    m.stages = names;
    m.plan = plan;
    char *text = stages_of(&m);
    lacks(text, "slowly");
    has(text, "first");
    has(text, "second");
    has(text, "never begun"); /* what was asked and not sent is said */
    free(text);
    m.plan = NULL; /* reports that were merged do not say which is which */
    text = stages_of(&m);
    lacks(text, "slowly");
    has(text, "second");
    free(text);
    results_free(r);

    r = results_new(2, 1, NULL, 1000 * MS);
    for (uint64_t i = 0; i < 40; i++) {
        struct sample s = made(i);
        s.stage = i >= 20;
        s.warm_up = i < 20;
        results_take(r, &s);
    }
    results_seal(r);
    m = report_of(r);
    m.stages = names;
    m.plan = plan;
    text = stages_of(&m);
    assert_string_equal(text, ""); /* one stage is the run */
    free(text);
    results_free(r);
}

/* A ramp: enough values for p50 and p90, and so alike that they have no interval. */
static void a_dash_where_the_values_are_too_alike(void **state)
{
    (void)state;
    struct results *r = results_new(1, 1, NULL, 1000 * MS);
    static const enum measured latency[] = {MEASURED_TOTAL};
    for (uint64_t i = 0; i < 40; i++) {
        struct sample s = made(i);
        s.done_ns = s.end_ns = s.sent_first_ns + 400 * MS + i * MS;
        results_take(r, &s);
    }
    results_seal(r);
    struct paper *p = paper_new(0, true);
    measure_write_times("Times", &r->total, latency, 1, TABLE_MARKDOWN, &p->term);
    char *text = paper_read(p);
    has(text, "419 ms (" NUM_UNKNOWN ")");
    has(text, "435 ms (" NUM_UNKNOWN ")");
    has(text, "n/a (n \\< 72)");
    lacks(text, "nan");
    free(text);
    p = paper_new(100, true);
    measure_write_times("Times", &r->total, latency, 1, TABLE_TERMINAL, &p->term);
    has(text = paper_read(p), "419 ms");
    lacks(text, "n < 36 ");
    free(text);
    p = paper_new(0, true);
    measure_write_times("Times", &r->total, latency, 1, TABLE_CSV, &p->term);
    has(text = paper_read(p), ",419,,,435,,,,,,,,,"); /* p50, p90: no ends; p95, p99: nothing */
    lacks(text, "nan");
    free(text);

    struct measure_report m = report_of(r);
    struct json_out j;
    p = paper_new(0, true);
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    measure_json_group(&j, "summary", &m, &r->total);
    json_unnest(&j, "}");
    json_out_end(&j, p->term.out);
    struct arena a;
    struct err e = {0};
    arena_init(&a, NULL, 0);
    text = paper_read(p);
    struct json_node *n = json_parse(&a, str_from(text), &e);
    assert_non_null(n);
    const struct json_node *metrics = json_get(json_get(n, "summary"), "metrics");
    const struct json_node *ends = json_get(json_get(metrics, "latency"), "p90_ci95_ms")->child;
    assert_true(number_at(metrics, "latency", "p90_ms", NULL) == 435);
    assert_int_equal(ends->kind, JSON_NULL);
    assert_int_equal(ends->next->kind, JSON_NULL);
    arena_fini(&a);
    free(text);
    results_free(r);
}

static void gives_what_it_carries(void **state)
{
    (void)state;
    struct results *r = taken(400);
    struct paper *p = paper_new(160, true);
    struct measure_report m = report_of(r);
    measure_write_times("Times", &r->total, NULL, 0, TABLE_TERMINAL, &p->term);
    measure_write_rates("Rates", &m, &r->total, TABLE_TERMINAL, &p->term);
    measure_write_histogram("Total", &r->total, MEASURED_TOTAL, TABLE_TERMINAL, &p->term);
    measure_write_definitions(&m, &r->total, NULL, 0, TABLE_TERMINAL, &p->term);
    char *text = paper_read(p);
    lacks(text, "n/a ");
    has(text, "Min");
    has(text, "400 answered well");
    has(text, "p99");
    has(text, measured_info(MEASURED_TTFT)->formula);
    has(text, "Seed 7.");
    free(text);
    results_free(r);
}

static void ascii_stays_ascii(void **state)
{
    (void)state;
    struct results *r = taken(100);
    struct paper *p = paper_new(100, false);
    struct measure_report m = report_of(r);
    measure_write_times("Times", &r->total, NULL, 0, TABLE_TERMINAL, &p->term);
    measure_write_histogram("Total", &r->total, MEASURED_TOTAL, TABLE_TERMINAL, &p->term);
    measure_write_definitions(&m, &r->total, NULL, 0, TABLE_TERMINAL, &p->term);
    char *text = paper_read(p);
    for (const char *c = text; *c; c++)
        assert_true((unsigned char)*c < 0x80);
    free(text);
    results_free(r);
}

static void csv_has_a_number_a_column(void **state)
{
    (void)state;
    struct results *r = taken(40);
    struct paper *p = paper_new(0, true);
    measure_write_times("Times", &r->total, NULL, 0, TABLE_CSV, &p->term);
    char *text = paper_read(p);
    has(text, "metric,unit,n,n_eff,mean,mean_low");
    has(text, "latency,ms,40,");
    has(text, "tokens_per_second,per_s,40,40,50,");
    free(text);
    results_free(r);
}

static void json_has_the_promised_members(void **state)
{
    (void)state;
    struct results *r = taken(80);
    struct measure_report m = report_of(r);
    struct json_out j;
    struct sample s = made(3);
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    measure_json_head(&j, &m);
    measure_json_group(&j, "summary", &m, &r->total);
    measure_json_groups(&j, &m);
    measure_json_seconds(&j, &m);
    measure_json_failures(&j, &m);
    measure_json_validity(&j, &m);
    measure_json_definitions(&j);
    json_nest(&j, "measurements", "[");
    measure_json_sample(&j, &s, model, 1000 * MS);
    json_unnest(&j, "]");
    json_unnest(&j, "}");
    json_out_end(&j, out);
    fclose(out);

    struct arena a;
    struct err e = {0};
    arena_init(&a, NULL, 0);
    struct json_node *n = json_parse(&a, (struct str){text, bytes}, &e);
    if (!n)
        fail_msg("%s", e.text);
    assert_true(number_at(n, "summary", "requests", NULL) == 80);
    double p50 = number_at(n, "summary", "p50_latency_ms", NULL);
    assert_true(p50 == number_at(n, "summary", "median_latency_ms", NULL));
    assert_true(p50 > 301 && p50 < 322);
    assert_true(number_at(n, "summary", "mean_latency_ms", NULL) > 301);
    assert_false(isnan(number_at(n, "summary", "p95_latency_ms", NULL)));
    assert_true(isnan(number_at(n, "summary", "p99_latency_ms", NULL))); /* null: 80 < 368 */
    const struct json_node *metrics = json_get(json_get(n, "summary"), "metrics");
    assert_true(number_at(metrics, "latency", "percentiles_refused", "p99") == 368);
    assert_true(fabs(number_at(metrics, "tpot", "p50_ms", NULL) - 20) < 1e-9);
    const struct json_node *one = json_get(n, "measurements")->child;
    assert_true(fabs(json_get(one, "tpot_ms")->number - 20) < 1e-9);
    assert_true(json_get(one, "due_ms")->number == 1500);
    assert_true(json_get(n, "definitions")->count == MEASURED_COUNT);
    arena_fini(&a);
    free(text);
    results_free(r);
}

static void files_by_their_extension(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int kind; /* -1: refused */
    } cases[] = {{"a.json", MEASURE_FILE_JSON},
                 {"x.y/a", MEASURE_FILE_JSON},
                 {"-", MEASURE_FILE_JSON},
                 {"a.CSV", MEASURE_FILE_CSV},
                 {"b/a.md", MEASURE_FILE_MARKDOWN},
                 {"a.html", MEASURE_FILE_HTML},
                 {"a.xlsx", -1},
                 {".hidden", MEASURE_FILE_JSON}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum measure_file kind;
        struct err e = {0};
        bool good = measure_file_kind(cases[i].path, &kind, &e);
        if (good != (cases[i].kind >= 0) || (good && (int)kind != cases[i].kind))
            fail_msg("%s", cases[i].path);
        if (!good)
            has(e.text, ".json");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_share_their_unit),
        cmocka_unit_test(refuses_what_the_sample_does_not_carry),
        cmocka_unit_test(stages_leave_out_the_warm_up),
        cmocka_unit_test(a_dash_where_the_values_are_too_alike),
        cmocka_unit_test(gives_what_it_carries),
        cmocka_unit_test(ascii_stays_ascii),
        cmocka_unit_test(csv_has_a_number_a_column),
        cmocka_unit_test(json_has_the_promised_members),
        cmocka_unit_test(files_by_their_extension),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
