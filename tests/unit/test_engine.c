/* test_engine.c -- what engines say of themselves, as their documentation shows it, and as nobody should say it. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "gateway/engine.h"

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

/* Feeds `body` to the row of that kind and path. */
static bool read_as(enum engine_kind kind, const char *path, const char *body,
                    struct engine_report *r)
{
    for (int row = engine_next_ask(kind, 0); row >= 0; row = engine_next_ask(kind, row + 1))
        if (strcmp(engine_ask(row)->path, path) == 0)
            return engine_ask(row)->read(&arena, str_from(body), r);
    fail_msg("%s is not asked for %s", engine_name(kind), path);
    return false;
}

/* ---- Ollama ---- */

static void ollama_tells_its_models(void **state)
{
    (void)state;
    struct engine_report r;
    engine_report_init(&r);
    assert_true(read_as(
        ENGINE_OLLAMA, "/api/ps",
        "{\"models\":[{\"name\":\"mistral:latest\",\"model\":\"mistral:latest\",\"size\":"
        "5137025024,"
        "\"digest\":\"2ae6f6dd\",\"details\":{\"parent_model\":\"\",\"format\":\"gguf\","
        "\"family\":\"llama\",\"families\":[\"llama\"],\"parameter_size\":\"7.2B\","
        "\"quantization_level\":\"Q4_0\"},\"expires_at\":\"2026-06-04T14:38:31.83753-07:00\","
        "\"size_vram\":5137025024},{\"name\":\"old\",\"size_vram\":-1}, 7]}",
        &r));
    assert_int_equal(r.loaded, 3);
    assert_int_equal(r.models_kept, 2);
    assert_string_equal(r.models[0].name, "mistral:latest");
    assert_string_equal(r.models[0].expires_at, "2026-06-04T14:38:31.83753-07:00");
    assert_int_equal(r.models[0].vram_bytes, 5137025024);
    assert_string_equal(r.models[1].name, "old");
    assert_int_equal(r.models[1].vram_bytes, ENGINE_UNKNOWN);
    assert_int_equal(r.models[1].size_bytes, ENGINE_UNKNOWN);
    assert_true(read_as(ENGINE_OLLAMA, "/api/version", "{\"version\":\"0.5.1\"}", &r));
    assert_string_equal(r.version, "0.5.1");
    assert_int_equal(r.running, ENGINE_UNKNOWN);
}

static void ollama_with_nothing_loaded(void **state)
{
    (void)state;
    struct engine_report r;
    engine_report_init(&r);
    assert_true(read_as(ENGINE_OLLAMA, "/api/ps", "{\"models\":[]}", &r));
    assert_int_equal(r.loaded, 0);
}

static void many_models_are_counted_and_the_first_kept(void **state)
{
    (void)state;
    struct engine_report r;
    struct buf b;
    engine_report_init(&r);
    buf_init(&b, 0, NULL);
    assert_true(buf_printf(&b, "{\"models\":["));
    for (int i = 0; i < 100; i++)
        assert_true(buf_printf(&b, "%s{\"name\":\"m%d\"}", i ? "," : "", i));
    assert_true(buf_printf(&b, "]}%c", '\0'));
    assert_true(read_as(ENGINE_OLLAMA, "/api/ps", b.data, &r));
    assert_int_equal(r.loaded, 100);
    assert_int_equal(r.models_kept, ENGINE_MODELS_MAX);
    assert_string_equal(r.models[ENGINE_MODELS_MAX - 1].name, "m15");
    buf_fini(&b);
}

static void long_names_are_cut_at_a_character(void **state)
{
    (void)state;
    struct engine_report r;
    struct buf b;
    engine_report_init(&r);
    buf_init(&b, 0, NULL);
    assert_true(buf_printf(&b, "{\"models\":[{\"name\":\""));
    for (int i = 0; i < 100; i++)
        assert_true(buf_printf(&b, "\xE6\xB0\xB4"));
    assert_true(buf_printf(&b, "\"}]}%c", '\0'));
    assert_true(read_as(ENGINE_OLLAMA, "/api/ps", b.data, &r));
    assert_int_equal(strlen(r.models[0].name), 126); /* 42 characters; 127 bytes would cut one */
    buf_fini(&b);
}

static void a_model_is_known_by_its_tag(void **state)
{
    (void)state;
    assert_true(engine_is_model("llama3", STR("llama3")));
    assert_true(engine_is_model("llama3:latest", STR("llama3")));
    assert_true(engine_is_model("llama3:8b", STR("llama3:8b")));
    assert_false(engine_is_model("llama3:8b", STR("llama3")));
    assert_false(engine_is_model("llama3", STR("llama3:latest")));
    assert_false(engine_is_model("llama3.1", STR("llama3")));
    assert_false(engine_is_model("", STR("llama3")));
}

/* ---- vLLM ---- */

static const char vllm_page[] =
    "# HELP vllm:num_requests_running Number of requests in model execution batches.\n"
    "# TYPE vllm:num_requests_running gauge\n"
    "vllm:num_requests_running{engine=\"0\",model_name=\"Qwen/Qwen3-27B\"} 2.0\n"
    "vllm:num_requests_running{engine=\"1\",model_name=\"Qwen/Qwen3-27B\"} 3.0\n"
    "vllm:num_requests_waiting{engine=\"0\",model_name=\"a}b\\\"c\"} 72.0\n"
    "vllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"capacity\"} 72.0\n"
    "vllm:kv_cache_usage_perc{engine=\"0\"} 0.3412\n"
    "vllm:kv_cache_usage_perc{engine=\"1\"} 0.25\n"
    "vllm:e2e_request_latency_seconds_bucket{le=\"+Inf\"} 1.7e+3 # {trace_id=\"x\"} 1 2\n"
    "process_open_fds 12\n";

static void vllm_tells_its_queue(void **state)
{
    (void)state;
    struct engine_report r;
    engine_report_init(&r);
    assert_true(read_as(ENGINE_VLLM, "/metrics", vllm_page, &r));
    assert_int_equal(r.running, 5);
    assert_int_equal(r.waiting, 72);
    assert_true(fabs(r.kv_cache_ratio - 0.3412) < 1e-12);
    assert_int_equal(r.loaded, ENGINE_UNKNOWN);
}

static void vllm_before_v1(void **state)
{
    (void)state;
    struct engine_report r;
    engine_report_init(&r);
    assert_true(read_as(ENGINE_VLLM, "/metrics", "vllm:gpu_cache_usage_perc 1\n", &r));
    assert_true(fabs(r.kv_cache_ratio - 1) < 1e-12);
    assert_int_equal(r.running, ENGINE_UNKNOWN);
}

static void somebody_else_s_metrics(void **state)
{
    (void)state;
    struct engine_report r;
    engine_report_init(&r);
    assert_false(read_as(ENGINE_VLLM, "/metrics", "llamacpp:requests_processing 1\n", &r));
    assert_false(read_as(ENGINE_VLLM, "/metrics", "<html>vllm:num_requests_running 1</html>", &r));
    assert_false(read_as(ENGINE_VLLM, "/metrics", "", &r));
    assert_int_equal(r.running, ENGINE_UNKNOWN);
}

static void impossible_numbers_are_not_believed(void **state)
{
    (void)state;
    struct engine_report r;
    engine_report_init(&r);
    assert_true(read_as(ENGINE_VLLM, "/metrics",
                        "vllm:num_requests_running NaN\nvllm:num_requests_running -3\n"
                        "vllm:kv_cache_usage_perc 1.5\nvllm:kv_cache_usage_perc NaN\n"
                        "vllm:num_requests_waiting +Inf\nvllm:num_requests_waiting 1e300\n",
                        &r));
    assert_int_equal(r.running, ENGINE_UNKNOWN);
    assert_true(r.kv_cache_ratio < 0);
    assert_int_equal(r.waiting, 9007199254740991);
}

/* ---- llama.cpp ---- */

static void llama_cpp_tells_its_slots(void **state)
{
    (void)state;
    struct engine_report r;
    engine_report_init(&r);
    assert_true(read_as(ENGINE_LLAMA_CPP, "/props",
                        "{\"default_generation_settings\":{\"id\":0},\"total_slots\":4,"
                        "\"model_path\":\"m.gguf\",\"build_info\":\"b6123-abcdef\"}",
                        &r));
    assert_int_equal(r.slots, 4);
    assert_string_equal(r.version, "b6123-abcdef");
    assert_true(read_as(ENGINE_LLAMA_CPP, "/slots",
                        "[{\"id\":0,\"is_processing\":true},{\"id\":1,\"is_processing\":false},"
                        "{\"id\":2,\"state\":1},{\"id\":3,\"state\":0}]",
                        &r));
    assert_int_equal(r.running, 2);
    assert_int_equal(r.slots, 4);
    assert_int_equal(r.waiting, ENGINE_UNKNOWN);
}

static void llama_cpp_metrics_win_over_slots(void **state)
{
    (void)state;
    struct engine_report r;
    engine_report_init(&r);
    assert_true(read_as(ENGINE_LLAMA_CPP, "/metrics",
                        "llamacpp:requests_processing 1\r\nllamacpp:requests_deferred 46\r\n", &r));
    assert_true(read_as(ENGINE_LLAMA_CPP, "/slots", "[{\"is_processing\":false}]", &r));
    assert_int_equal(r.running, 1);
    assert_int_equal(r.waiting, 46);
}

static void what_is_no_json_is_refused(void **state)
{
    (void)state;
    static const struct {
        enum engine_kind kind;
        const char *path, *body;
    } cases[] = {
        {ENGINE_OLLAMA, "/api/ps", ""},
        {ENGINE_OLLAMA, "/api/ps", "null"},
        {ENGINE_OLLAMA, "/api/ps", "{\"models\":3}"},
        {ENGINE_OLLAMA, "/api/ps", "{\"models\":[{\"name\":\"x\"}"},
        {ENGINE_OLLAMA, "/api/version", "\"0.5\""},
        {ENGINE_OLLAMA, "/api/version", "{\"version\":5}"},
        {ENGINE_LLAMA_CPP, "/props", "[]"},
        {ENGINE_LLAMA_CPP, "/props", "{\"error\":{\"code\":404}}"},
        {ENGINE_LLAMA_CPP, "/slots", "{\"error\":{\"code\":501}}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct engine_report r;
        engine_report_init(&r);
        if (read_as(cases[i].kind, cases[i].path, cases[i].body, &r))
            fail_msg("%s took %s", cases[i].path, cases[i].body);
    }
}

/* ---- the text format ---- */

static void samples_and_what_is_none(void **state)
{
    (void)state;
    struct str rest = STR("# a comment\n"
                          "\n"
                          "a 1\n"
                          " b:c_9 {x=\"}\\\"\",y=\"2\"}  -2.5 1700000000000\n"
                          "9bad 1\n"
                          "no_value\n"
                          "open{x=\"1\" 5\n"
                          "hex 0x10\n"
                          "t\t3\t4\r\n"
                          "empty{} 7\n"
                          "last +Inf");
    static const struct {
        const char *name, *labels;
        double value;
    } expected[] = {{"a", "", 1},
                    {"b:c_9", "x=\"}\\\"\",y=\"2\"", -2.5},
                    {"t", "", 3},
                    {"empty", "", 7},
                    {"last", "", (double)INFINITY}};
    struct prom_sample s;
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_true(prom_next(&rest, &s));
        assert_true(str_eq(s.name, str_from(expected[i].name)));
        assert_true(str_eq(s.labels, str_from(expected[i].labels)));
        assert_true(s.value == expected[i].value);
    }
    assert_false(prom_next(&rest, &s));
}

static void auto_goes_through_all_kinds(void **state)
{
    (void)state;
    int kinds = 0;
    for (enum engine_kind k = engine_next_kind(ENGINE_AUTO); k != ENGINE_NONE;
         k = engine_next_kind(k), kinds++)
        assert_true(engine_next_ask(k, 0) >= 0);
    assert_int_equal(kinds, ENGINE_KIND_COUNT - ENGINE_AUTO - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ollama_tells_its_models),
        cmocka_unit_test(ollama_with_nothing_loaded),
        cmocka_unit_test(many_models_are_counted_and_the_first_kept),
        cmocka_unit_test(long_names_are_cut_at_a_character),
        cmocka_unit_test(a_model_is_known_by_its_tag),
        cmocka_unit_test(vllm_tells_its_queue),
        cmocka_unit_test(vllm_before_v1),
        cmocka_unit_test(somebody_else_s_metrics),
        cmocka_unit_test(impossible_numbers_are_not_believed),
        cmocka_unit_test(llama_cpp_tells_its_slots),
        cmocka_unit_test(llama_cpp_metrics_win_over_slots),
        cmocka_unit_test(what_is_no_json_is_refused),
        cmocka_unit_test(samples_and_what_is_none),
        cmocka_unit_test(auto_goes_through_all_kinds),
    };
    return cmocka_run_group_tests_name("engine", tests, set_up, tear_down);
}
