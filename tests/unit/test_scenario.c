/* Scenarios: what a file becomes, every mistake with its place, the same in options' words, and what a plan asks for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <math.h>

#include "measure/scenario.h"

#define S 1000000000ull

static bool parse(struct scenario *s, const char *text)
{
    scenario_init(s);
    return scenario_parse(s, str_from(text), "load.yaml", STR("/srv/load"));
}

static void parse_good(struct scenario *s, const char *text)
{
    char shown[900];
    if (parse(s, text))
        return;
    err_format(&s->mistakes[0], shown, sizeof shown);
    fail_msg("%s", shown);
}

static const char *const whole =
    "name: evening peak\n"
    "url: http://localhost:4000/v1\n"
    "key: os.environ/SCENARIO_TEST_KEY\n"
    "headers: {x-team: load, x-run: 7}\n"
    "ca_file: ca.pem\n"
    "models:\n"
    "  gpt-4o: 60\n"
    "  claude: 25\n"
    "  llama3.1:8b: 15\n"
    "prompts: {tokens: 200, max_tokens: 100, temperature: 0.5, stream: false, nonce: no, metadata: "
    "{team: load, tags: [a, b]}}\n"
    "stages:\n"
    "  - {name: warm, users: 5, duration: 5s, warm_up: true}\n"
    "  - {rate: {from: 10, to: 100/s}, duration: 1m30s, spacing: poisson}\n"
    "  - {rate: 600/min, requests: 1k, shape: 0.5}\n"
    "  - {rate: 50..20, duration: 2s, burst: 20}\n"
    "  - {users: 1..100, duration: 10s}\n"
    "connections: {reuse: false, max: 512}\n"
    "timeouts: {connect: 5s, head: 30s, idle: none, total: 2m}\n"
    "grace: 3s\n"
    "slo: {ttft: 500ms, e2e: 5s}\n"
    "thresholds:\n"
    "  - latency p95 < 500ms\n"
    "  - errors < 1% abort after 10s\n"
    "  - ttft[model=llama3.1:8b] p50 < 1s\n"
    "  - latency[stage=warm] max < 10s\n"
    "threads: 2\n"
    "seed: 42\n"
    "kernel_stamps: false\n";

static void reads_all_keys(void **state)
{
    (void)state;
    struct scenario s;
    setenv("SCENARIO_TEST_KEY", "sk-secret", 1);
    parse_good(&s, whole);
    assert_true(str_eq(s.name, STR("evening peak")));
    assert_string_equal(s.url, "http://localhost:4000/v1");
    assert_string_equal(s.key, "sk-secret");
    assert_int_equal(s.header_count, 2);
    assert_string_equal(s.headers[1], "x-run: 7");
    assert_string_equal(s.ca_file, "/srv/load/ca.pem");
    assert_int_equal(s.mix_count, 3);
    assert_true(str_eq(s.mix[2].model, STR("llama3.1:8b")) && s.mix[2].weight == 15);
    assert_int_equal(s.prompts.source, PROMPT_SYNTHETIC);
    assert_int_equal(s.prompts.prompt_tokens, 200);
    assert_true(s.prompts.max_tokens == 100 && s.prompts.temperature == 0.5 && !s.prompts.stream &&
                !s.prompts.nonce);
    assert_string_equal(s.prompts.metadata, "{\"team\":\"load\",\"tags\":[\"a\",\"b\"]}");
    assert_true(s.fresh_connections && s.connections_max == 512 && s.user_stamps);
    assert_true(s.connect_timeout_ms == 5000 && s.head_timeout_ms == 30000 &&
                s.idle_timeout_ms == 0 && s.total_timeout_ms == 120000 && s.grace_ms == 3000);
    assert_true(s.slo.ttft_ns == S / 2 && s.slo.e2e_ns == 5 * S && s.slo.itl_ns == 0);
    assert_true(s.limits.count == 4 && s.limits.all[1].abort && s.threads == 2 && s.seed == 42);
    scenario_fini(&s);
}

static void reads_stages(void **state)
{
    (void)state;
    struct scenario s;
    parse_good(&s, whole);
    const struct stage *t = s.stages;
    assert_int_equal(s.stage_count, 5);
    assert_true(t[0].kind == STAGE_USERS && t[0].from == 5 && t[0].to == 5 &&
                t[0].duration_ns == 5 * S && t[0].warm_up);
    assert_true(str_eq(t[0].name, STR("warm")));
    assert_true(t[1].kind == STAGE_RATE && t[1].from == 10 && t[1].to == 100 &&
                t[1].duration_ns == 90 * S && t[1].spacing == SPACING_POISSON);
    assert_true(str_eq(t[1].name, STR("2: 10 to 100/s")));
    assert_true(t[2].from == 10 && t[2].requests == 1000 && t[2].spacing == SPACING_GAMMA &&
                t[2].gamma_shape == 0.5);
    assert_true(t[3].from == 50 && t[3].to == 20 && t[3].spacing == SPACING_BURST &&
                t[3].burst == 20 && !t[3].warm_up);
    assert_true(t[4].kind == STAGE_USERS && t[4].from == 1 && t[4].to == 100);
    scenario_fini(&s);
}

static void models_prompts_and_thresholds_in_other_forms(void **state)
{
    (void)state;
    struct scenario s;
    parse_good(&s, "model: gpt-4o\nprompts: Say hello.\nreplay: logs/requests.log\nslo: ttft=1s\n"
                   "thresholds:\n  http_req_duration: ['p(95)<500', 'p(99)<1000']\n  "
                   "http_req_failed: rate<0.01\n");
    assert_true(s.mix_count == 1 && s.mix[0].weight == 1);
    assert_string_equal(s.prompts.text, "Say hello.");
    assert_string_equal(s.replay_file, "/srv/load/logs/requests.log");
    assert_true(isnan(s.replay_speed) && s.slo.ttft_ns == S);
    assert_int_equal(s.limits.count, 3);
    assert_string_equal(s.limits.all[1].text, "http_req_duration: p(99)<1000");
    scenario_fini(&s);
    parse_good(&s, "models: [a, {name: b, weight: 2.5}]\nreplay: {file: /x.log, speed: "
                   "2}\nprompts: {file: p.jsonl}\napi: completions\n");
    assert_true(s.mix_count == 2 && s.mix[1].weight == 2.5 && s.replay_speed == 2);
    assert_string_equal(s.prompts.file, "/srv/load/p.jsonl");
    assert_true(s.prompts.source == PROMPT_FILE && s.prompts.api == API_COMPLETIONS &&
                s.prompts.stream);
    scenario_fini(&s);
    parse_good(&s, "");
    scenario_fini(&s);
}

// clang-format off
static const struct { const char *text; int line, column; const char *says; } mistakes[] = {
    {"nme: x\n", 1, 1, "unknown key \"nme\"; did you mean name?"},
    {"flavour: x\n", 1, 1, "expected one of name, url, key"},
    {"url: [a]\n", 1, 6, "url: expected a text, got a list"},
    {"url: \n", 1, 5, "url: expected a text, got nothing"},
    {"key: os.environ/SCENARIO_TEST_UNSET\n", 1, 6, "SCENARIO_TEST_UNSET is not set"},
    {"insecure: maybe\n", 1, 11, "expected true or false"},
    {"threads: 2.5\n", 1, 10, "expected a whole number from 1 to 64, got \"2.5\""},
    {"grace: 30\n", 1, 8, "expected a time with its unit, such as 500ms, 30s or 1m30s, got \"30\""},
    {"api: chatt\n", 1, 6, "expected chat, completions or embeddings, got \"chatt\""},
    {"models: {a: 0}\n", 1, 13, "expected a weight above 0"},
    {"models: [a, a]\n", 1, 13, "\"a\" is there twice"},
    {"models: []\n", 1, 9, "expected a model at least"},
    {"models: [{name: a, wait: 2}]\n", 1, 20, "unknown key \"wait\" in models; expected name or weight"},
    {"model: a\nmodels: [b]\n", 2, 1, "either model or models"},
    {"prompts: {text: a, tokens: 3}\n", 1, 1, "one of text, file, body and tokens"},
    {"prompts: {tokenz: 3}\n", 1, 11, "unknown key \"tokenz\" in prompts; did you mean tokens?"},
    {"prompts: {metadata: x}\n", 1, 21, "metadata: expected a mapping"},
    {"headers: {\"a b\": x}\n", 1, 11, "expected a header's name"},
    {"headers: {a: \"x\\ny\"}\n", 1, 14, "without line breaks"},
    {"stages: 5\n", 1, 9, "expected a list"},
    {"stages: [{users: 1}]\n", 1, 10, "expected duration or requests"},
    {"stages: [{duration: 1s}]\n", 1, 10, "expected either users or rate"},
    {"stages: [{users: 1, rate: 1, duration: 1s}]\n", 1, 10, "users or rate, not both"},
    {"stages: [{users: 1.5, duration: 1s}]\n", 1, 18, "users: expected a whole number of users"},
    {"stages: [{rate: fast, duration: 1s}]\n", 1, 17, "rate: expected requests a second"},
    {"stages: [{rate: {from: 1}, duration: 1s}]\n", 1, 17, "expected both ends"},
    {"stages: [{rate: {from: 1, too: 2}, duration: 1s}]\n", 1, 27, "unknown key \"too\" in rate; expected from or to"},
    {"stages: [{rate: 1..5, requests: 9}]\n", 1, 10, "expected duration: it goes"},
    {"stages: [{rate: 0, duration: 1s}]\n", 1, 10, "more than 0 requests a second"},
    {"stages: [{users: 5, duration: 1s, spacing: poisson}]\n", 1, 10, "are of a rate"},
    {"stages: [{rate: 5, duration: 1s, spacing: gamma}]\n", 1, 10, "expected its shape"},
    {"stages: [{rate: 5, duration: 1s, spacing: burst}]\n", 1, 10, "how many at once"},
    {"stages: [{rate: 5, duration: 1s, spacing: poisson, burst: 3}]\n", 1, 10, "burst is of spacing burst: the stage says poisson"},
    {"stages: [{rate: 5, duration: 1s, spacing: randomly}]\n", 1, 43, "expected constant, poisson, gamma or burst"},
    {"stages: [{rate: 5, duration: 1s, warm_up: true}]\n", 1, 9, "all are warm-up"},
    {"stages: [{name: x, rate: 5, duration: 1s}, {name: x, rate: 5, duration: 1s}]\n", 1, 44, "two are called \"x\""},
    {"stages:\n  - rate: 5\n    duratoin: 1s\n", 3, 5, "unknown key \"duratoin\" in stages; did you mean duration?"},
    {"replay: {speed: 2}\n", 1, 1, "expected the log as file"},
    {"replay: x.log\nstages: [{users: 1, duration: 1s}]\n", 1, 1, "either stages or replay"},
    {"replay: {file: x, speed: 0}\n", 1, 26, "expected a number from 0.001"},
    {"slo: {ttfb: 1s}\n", 1, 13, "slo: "},
    {"slo: {ttft: soon}\n", 1, 13, "slo: "},
    {"slo: [ttft]\n", 1, 6, "slo: expected a mapping"},
    {"thresholds: [latency p95 < 5, latncy p95 < 5]\n", 1, 31, "did you mean latency?"},
    {"model: a\nstages: [{name: peak, users: 1, duration: 1s}]\nthresholds:\n  - p95[stage=peek] < 1\n", 4, 5, "there is no stage \"peek\"; did you mean peak?"},
    {"connections: {max: 0}\n", 1, 20, "expected a whole number from 1"},
    {"timeouts: {connect: -1s}\n", 1, 21, "expected a time with its unit"},
    {"timeouts: 5s\n", 1, 11, "timeouts: expected a mapping, such as {connect: ...}"},
    {"name: a\nname: b\n", 2, 1, ""},
    {"a: [\n", 2, 1, ""},
};
// clang-format on

static void every_mistake_has_its_place(void **state)
{
    (void)state;
    unsetenv("SCENARIO_TEST_UNSET");
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        struct scenario s;
        char shown[900];
        if (parse(&s, mistakes[i].text))
            fail_msg("taken: %s", mistakes[i].text);
        const struct err *e = &s.mistakes[0];
        err_format(e, shown, sizeof shown);
        if (s.mistake_count != 1 || e->line != mistakes[i].line ||
            e->column != mistakes[i].column || !strstr(e->text, mistakes[i].says) ||
            strcmp(e->file, "load.yaml") != 0)
            fail_msg("%s: %zu mistakes, the first %s", mistakes[i].text, s.mistake_count, shown);
        scenario_fini(&s);
    }
}

static void all_mistakes_are_told_at_once(void **state)
{
    (void)state;
    struct scenario s;
    assert_false(parse(&s, "nme: x\ngrace: 3\nstages:\n  - {users: x, duration: 1s}\n  - {rate: "
                           "5}\nthresholds: [p95]\n"));
    assert_int_equal(s.mistake_count, 5);
    assert_int_equal(s.mistakes[4].line, 6);
    scenario_fini(&s);
}

static void secrets_are_in_no_message(void **state)
{
    (void)state;
    static const char *const texts[] = {"key: [sk-secret]\n",
                                        "key: {sk-secret: 1}\n",
                                        "headers: {authorization: \"sk-secret\\n\"}\n",
                                        "grace: os.environ/SCENARIO_TEST_KEY\n",
                                        "threads: os.environ/SCENARIO_TEST_KEY\n",
                                        "insecure: os.environ/SCENARIO_TEST_KEY\n",
                                        "api: os.environ/SCENARIO_TEST_KEY\n"};
    setenv("SCENARIO_TEST_KEY", "sk-secret", 1);
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct scenario s;
        assert_false(parse(&s, texts[i]));
        for (size_t m = 0; m < s.mistake_count; m++)
            if (strstr(s.mistakes[m].text, "sk-secret"))
                fail_msg("%s", s.mistakes[m].text);
        scenario_fini(&s);
    }
}

static void a_missing_file_is_told(void **state)
{
    (void)state;
    struct scenario s;
    scenario_init(&s);
    assert_false(scenario_read(&s, "/nowhere/load.yaml"));
    assert_int_equal(s.mistake_count, 1);
    assert_string_equal(s.mistakes[0].file, "/nowhere/load.yaml");
    scenario_fini(&s);
}

static void the_examples_are_good(void **state)
{
    (void)state;
    glob_t found;
    setenv("LITELLM_MASTER_KEY", "sk-test", 1);
    assert_int_equal(glob("examples/load/*.yaml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 6);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct scenario s;
        char shown[900] = "";
        scenario_init(&s);
        bool good = scenario_read(&s, found.gl_pathv[i]);
        if (!good)
            err_format(&s.mistakes[0], shown, sizeof shown);
        assert_string_equal(shown, "");
        assert_true(good && s.name.n && (s.stage_count || s.replay_file));
        scenario_fini(&s);
    }
    globfree(&found);
}

static void mixes_in_words(void **state)
{
    (void)state;
    struct arena a;
    struct mix_part *mix;
    size_t n;
    struct err e = {0};
    arena_init(&a, NULL, 0);
    assert_true(scenario_mix_text(&a, STR("gpt-4o=60, claude = 25,llama3.1:8b"), &mix, &n, &e));
    assert_true(n == 3 && mix[0].weight == 60 && mix[1].weight == 25 && mix[2].weight == 1);
    assert_true(str_eq(mix[1].model, STR("claude")) && str_eq(mix[2].model, STR("llama3.1:8b")));
    static const char *const bad[] = {"", "a=", "a=0", "a=x", "=5", "a,,b", "a,a", "a=-1"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct err why = {0};
        assert_false(scenario_mix_text(&a, str_from(bad[i]), &mix, &n, &why));
        assert_true(why.text[0]);
    }
    arena_fini(&a);
}

static void stages_in_words(void **state)
{
    (void)state;
    struct arena a;
    struct stage *t;
    size_t n;
    struct err e = {0};
    arena_init(&a, NULL, 0);
    assert_true(scenario_stages_text(&a, STR("10s:100,1m:500,1m:=20,5s:0"), false, &t, &n, &e));
    assert_true(n == 4 && t[0].kind == STAGE_USERS && t[0].from == 0 && t[0].to == 100 &&
                t[0].duration_ns == 10 * S);
    assert_true(t[1].from == 100 && t[1].to == 500 && t[2].from == 20 && t[2].to == 20 &&
                t[3].from == 20 && t[3].to == 0);
    assert_true(str_eq(t[1].name, STR("2: 100 to 500 users")));
    assert_true(scenario_stages_text(&a, STR("10s:50..60/s"), false, &t, &n, &e));
    assert_true(n == 1 && t[0].kind == STAGE_RATE && t[0].from == 50 && t[0].to == 60);
    assert_true(scenario_stages_text(&a, STR("10s:50"), true, &t, &n, &e));
    assert_true(t[0].kind == STAGE_RATE);
    static const char *const bad[] = {"",      "10:5",    "10s",    "10s:", "10s:x",
                                      "10s:0", "10s:1.5", "10s:5,", "x:5"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct err why = {0};
        if (scenario_stages_text(&a, str_from(bad[i]), false, &t, &n, &why))
            fail_msg("taken: %s", bad[i]);
        assert_true(why.text[0]);
    }
    arena_fini(&a);
}

static void what_is_asked_for_at_a_moment(void **state)
{
    (void)state;
    struct stage stages[] = {
        {.kind = STAGE_RATE, .from = 0, .to = 100, .duration_ns = 10 * S},
        {.kind = STAGE_USERS, .from = 7, .to = 7, .duration_ns = 5 * S},
    };
    struct arrivals_plan p = {.stages = stages, .stage_count = 2};
    enum stage_kind kind;
    assert_true(scenario_asked_at(&p, 5 * S, &kind) == 50 && kind == STAGE_RATE);
    assert_true(scenario_asked_at(&p, 12 * S, &kind) == 7 && kind == STAGE_USERS);
    assert_true(isnan(scenario_asked_at(&p, 15 * S, &kind)));
    assert_int_equal(scenario_duration_ns(&p), 15 * S);
    stages[1].duration_ns = 0;
    assert_true(scenario_asked_at(&p, 99 * S, &kind) == 7);
    assert_int_equal(scenario_duration_ns(&p), 0);
    struct replayed replay[] = {{0, 0}, {8 * S, 0}};
    p = (struct arrivals_plan){.replay = replay, .replay_count = 2, .replay_speed = 2};
    assert_int_equal(scenario_duration_ns(&p), 4 * S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_keys),
        cmocka_unit_test(reads_stages),
        cmocka_unit_test(models_prompts_and_thresholds_in_other_forms),
        cmocka_unit_test(every_mistake_has_its_place),
        cmocka_unit_test(all_mistakes_are_told_at_once),
        cmocka_unit_test(secrets_are_in_no_message),
        cmocka_unit_test(a_missing_file_is_told),
        cmocka_unit_test(the_examples_are_good),
        cmocka_unit_test(mixes_in_words),
        cmocka_unit_test(stages_in_words),
        cmocka_unit_test(what_is_asked_for_at_a_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
