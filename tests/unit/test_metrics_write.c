#include "metrics_fixture.h"

#include <unistd.h>

/* ---- the table ---- */

static void table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct str name = str_from(rows[i].name), help = str_from(rows[i].help);
        if (help.n < 10 || !str_ends(help, STR(".")))
            fail_msg("%s: the help is not a sentence", rows[i].name);
        for (size_t k = i + 1; k < COUNT(rows); k++)
            if (strcmp(rows[i].name, rows[k].name) == 0)
                fail_msg("%s: used twice", rows[i].name);
        bool total = str_ends(name, STR("_total")) || str_eq(name, STR("litellm_cache_hits"));
        if ((rows[i].type == ROW_COUNTER) != total)
            fail_msg("%s: counters, and only they, end in _total", rows[i].name);
        if (rows[i].type == ROW_INFO && !str_ends(name, STR("_info")))
            fail_msg("%s: an info ends in _info", rows[i].name);
    }
}

static void docs_name_every_row(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 0, NULL);
    metrics_write_docs(&out);
    assert_true(buf_append(&out, "", 1));
    for (size_t i = 0; i < COUNT(rows); i++) {
        char start[128];
        snprintf(start, sizeof start, "| `%s` | ", rows[i].name);
        assert_non_null(strstr(out.data, start));
        assert_non_null(strstr(out.data, rows[i].help));
    }
    assert_non_null(
        strstr(out.data, "| `litellm_tokens_total` | counter | model, provider, type | tokens | "));
    assert_non_null(strstr(out.data, "| `weir_build_info` | info | version, commit, compiler |"));
    buf_fini(&out);
}

/* ---- the texts ---- */

static void labels_are_escaped_once(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    struct record r = record_of(&deployments[0]);
    r.model = STR("a\"b\\c\nd\xC3\xA9\xFF.");
    metrics_record(m, 0, &r);
    check_line(expose(m), "litellm_requests_total{model=\"a\\\"b\\\\c\\nd\xC3\xA9?.\",provider="
                          "\"openai\",status=\"success\"} 1");
    metrics_free(m);
}

static void process_and_log(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    const char *text = expose(m);
    check_absent(text, "weir_log_");
    check_line(text, "weir_build_info{version=\"1.2.3\",commit=\"abc\",compiler=\"gcc\"} 1");
    check_line(text, "weir_config_loaded_timestamp_seconds 1700000000.25");
    check_line(text, "process_start_time_seconds 1700000000.5");
    check_line(text, "weir_ready 1");
    assert_true(sum_of(text, "process_resident_memory_bytes") > 100000);
    assert_true(sum_of(text, "process_open_fds") >= 3);
    assert_true(sum_of(text, "process_max_fds") >= sum_of(text, "process_open_fds"));
    assert_true(sum_of(text, "process_cpu_seconds_total") > 0);
    struct log_stats log = {
        .records = 12, .bytes = 3456, .dropped = 1, .recovered = 2, .ring_bytes = 4194304};
    text = expose_with(m, METRICS_TEXT, &log);
    check_line(text, "weir_log_records_total 12");
    check_line(text, "weir_log_bytes_total 3456");
    check_line(text, "weir_log_dropped_records_total 1");
    check_line(text, "weir_log_recovered_records_total 2");
    check_line(text, "weir_log_ring_bytes 4194304");
    check_line(text, "litellm_deployment_rpm_limit{litellm_model_name=\"*\",model_id=\"id-3\",api_"
                     "base=\"https://api.groq.com\","
                     "api_provider=\"groq\"} 60");
    check_line(text, "litellm_deployment_tpm_limit{litellm_model_name=\"gpt-4o\",model_id=\"id-1\","
                     "api_base=\"https://api.openai.com/v1\","
                     "api_provider=\"openai\"} 1000");
    metrics_free(m);
}

#define DEPLOYMENT_1                                                                               \
    "litellm_model_name=\"gpt-4o\",model_id=\"id-1\",api_base=\"https://api.openai.com/"           \
    "v1\",api_provider=\"openai\""
#define REMAINING_1                                                                                \
    "model_group=\"gpt\",api_provider=\"openai\",api_base=\"https://api.openai.com/v1\","          \
    "litellm_model_name=\"gpt-4o\",hashed_api_key=\"None\",api_key_alias=\"None\",model_id="       \
    "\"id-1\""
#define DEPLOYMENT_3                                                                               \
    "litellm_model_name=\"*\",model_id=\"id-3\",api_base=\"https://"                               \
    "api.groq.com\",api_provider=\"groq\""

static void deployments_and_engines(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    exposed_deployments = some_deployments;
    const char *text = expose(m);
    static const char *const lines[] = {
        "litellm_deployment_state{" DEPLOYMENT_1 "} 2",
        "litellm_deployment_state{" DEPLOYMENT_3 "} 1",
        "litellm_deployment_cooled_down_total{" DEPLOYMENT_1 ",exception_status=\"429\"} 4",
        "litellm_deployment_cooled_down_total{" DEPLOYMENT_1 ",exception_status=\"None\"} 1",
        "litellm_deployment_cooled_down_total{" DEPLOYMENT_1 ",exception_status=\"other\"} 2",
        "weir_deployment_in_flight{" DEPLOYMENT_1 "} 3",
        "litellm_deployment_in_progress_requests{" DEPLOYMENT_1 "} 3",
        "litellm_remaining_requests_metric{" REMAINING_1 "} 480",
        "litellm_remaining_requests{" REMAINING_1 "} 480",
        "litellm_remaining_tokens_metric{" REMAINING_1 "} 149984",
        "litellm_remaining_tokens{" REMAINING_1 "} 149984",
        "weir_deployment_in_flight{" DEPLOYMENT_3 "} 0",
        "weir_deployment_rest_seconds{" DEPLOYMENT_1 "} 1.5",
        "weir_deployment_ttft_seconds{" DEPLOYMENT_1 "} 0.25",
        "weir_deployment_token_seconds{" DEPLOYMENT_1 "} 0.0125",
        "weir_deployment_probe_success{" DEPLOYMENT_1 "} 0",
        "weir_deployment_probe_age_seconds{" DEPLOYMENT_1 "} 4",
        "weir_engine_up{engine=\"ollama\",api_base=\"http://localhost:11434\"} 1",
        "weir_engine_loaded_models{engine=\"ollama\",api_base=\"http://localhost:11434\"} 3",
        "weir_engine_model_vram_bytes{engine=\"ollama\",api_base=\"http://"
        "localhost:11434\",model=\"llama\"} 1000",
        "weir_engine_model_vram_bytes{engine=\"ollama\",api_base=\"http://"
        "localhost:11434\",model=\"other\"} 23",
        "weir_engine_requests_running{engine=\"vllm\",api_base=\"http://gpu:8000\"} 7",
        "weir_engine_requests_waiting{engine=\"vllm\",api_base=\"http://gpu:8000\"} 2",
        "weir_engine_kv_cache_usage_ratio{engine=\"vllm\",api_base=\"http://gpu:8000\"} 0.3412",
    };
    for (size_t i = 0; i < COUNT(lines); i++)
        check_line(text, lines[i]);
    static const char *const absent[] = {
        "weir_deployment_ttft_seconds{" DEPLOYMENT_3,
        "weir_deployment_probe_success{" DEPLOYMENT_3,
        "cooled_down_total{" DEPLOYMENT_3,
        "exception_status=\"503\"",
        "weir_engine_requests_running{engine=\"ollama\"",
        "} 99",
    };
    for (size_t i = 0; i < COUNT(absent); i++)
        check_absent(text, absent[i]);
    exposed_deployments = NULL;
    text = expose(m);
    check_absent(text, "weir_deployment_");
    check_absent(text, "weir_engine_");
    metrics_free(m);
}

static void exemplars_only_in_openmetrics(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(2, &config);
    struct record r = record_of(&deployments[0]);
    r.trace_id = STR("0af7651916cd43dd8448eb211c80319c");
    metrics_record(m, 0, &r);
    r.trace_id = STR("11111111111111111111111111111111");
    r.latency_us = 21000; /* newer, in the same bucket, of another worker */
    r.timestamp += 1500000;
    metrics_record(m, 1, &r);
    r.trace_id = STR("not hexadecimal, but 32 bytes...");
    r.latency_us = 70000;
    metrics_record(m, 1, &r);
    check_absent(expose(m), " # ");
    const char *text = expose_with(m, METRICS_OPENMETRICS, NULL);
    check_line(text,
               "litellm_latency_seconds_bucket{model=\"gpt\",provider=\"openai\",le=\"0.025\"} 2 "
               "# {trace_id=\"11111111111111111111111111111111\"} 0.021 1700000002.5");
    check_line(text,
               "litellm_latency_seconds_bucket{model=\"gpt\",provider=\"openai\",le=\"0.1\"} 3");
    check_absent(text, "hexadecimal");
    metrics_free(m);
}

static void a_full_buffer_gets_nothing(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    struct metrics_process p = {.version = "", .git_commit = "", .compiler = "", .config = &config};
    struct buf out;
    buf_init(&out, 5000, NULL);
    assert_true(buf_append(&out, "kept", 4));
    metrics_write(m, &p, METRICS_TEXT, &out);
    assert_int_equal(buf_used(&out), 4);
    buf_fini(&out);
    metrics_free(m);
}

static void budgets_of_keys(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    const char *text = expose(m);
    assert_non_null(strstr(
        text, "litellm_api_key_max_budget_metric{hashed_api_key=\"0123\",api_key_alias=\"team-a\"} "
              "10\nlitellm_api_key_max_budget_metric{hashed_api_key=\"ffff\",api_key_alias=\"team-"
              "b\"} 2.5\n"));
    assert_non_null(strstr(text, "litellm_remaining_api_key_budget_metric{hashed_api_key=\"0123\","
                                 "api_key_alias=\"team-a\"} 9.999999999999\n"));
    assert_non_null(strstr(text, "api_key_alias=\"team-b\"} 0\n"));
    const char *hours = strstr(text, "litellm_api_key_budget_remaining_hours_metric{");
    assert_non_null(strstr(hours, "team-a\"} 1.5\n"));
    assert_null(strstr(hours, "budget_remaining_hours_metric{hashed_api_key=\"ffff\""));
    metrics_free(m);
}

static void limits_of_keys(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    const char *text = expose(m);
#define LIMIT(which, key, alias, type)                                                             \
    "litellm_api_key_rate_limit_" which "_metric{hashed_api_key=\"" key                            \
    "\",api_key_alias=\"" alias "\",rate_limit_type=\"" type "\"} "
    check_line(text, LIMIT("allowed", "ffff", "team-b", "requests") "60");
    check_line(text, LIMIT("used", "ffff", "team-b", "requests") "7");
    check_line(text, LIMIT("allowed", "ffff", "team-b", "max_parallel_requests") "4");
    check_line(text, LIMIT("used", "ffff", "team-b", "max_parallel_requests") "1");
    check_line(text, LIMIT("allowed", "0123", "team-a", "tokens") "1000");
    check_line(text, LIMIT("used", "0123", "team-a", "tokens") "870");
    check_near(sum_of(text, "litellm_api_key_rate_limit_allowed_metric"), 1064, 0);
    metrics_free(m);
}

static void the_counter_without_total_has_no_type(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(1, &config);
    assert_non_null(strstr(expose(m), "# TYPE litellm_cache_hits untyped\n"));
    assert_non_null(
        strstr(expose_with(m, METRICS_OPENMETRICS, NULL), "# TYPE litellm_cache_hits unknown\n"));
    metrics_free(m);
}

static void negotiation(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        enum metrics_format format;
    } cases[] = {
        {"", METRICS_TEXT},
        {"*/*", METRICS_TEXT},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", METRICS_TEXT},
        {"text/plain", METRICS_TEXT},
        {"application/openmetrics-text", METRICS_OPENMETRICS},
        {"Application/OpenMetrics-Text ; Version=1.0.0 ; charset=utf-8", METRICS_OPENMETRICS},
        /* Prometheus 2.42 and 3 */
        {"application/openmetrics-text;version=1.0.0,application/"
         "openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         METRICS_OPENMETRICS},
        {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/"
         "openmetrics-text;version=0.0.1;q=0.4,"
         "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/"
         "*;q=0.1",
         METRICS_OPENMETRICS},
        {"application/openmetrics-text;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.5",
         METRICS_TEXT},
        {"application/openmetrics-text;version=1.0.0;q=0,*/*;q=0.1", METRICS_TEXT},
        {"application/openmetrics-text;version=2.0.0", METRICS_TEXT},
        {"application/openmetrics-text;version=0.0.1;q=1", METRICS_TEXT},
        {"application/openmetrics-text;q=0.5,text/*;q=0.2,*/*",
         METRICS_OPENMETRICS}, /* the closer range counts for text */
        {"application/openmetrics-text;q=nonsense", METRICS_TEXT},
        {";;;,,,=;q", METRICS_TEXT},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *type = NULL;
        if (metrics_negotiate(str_from(cases[i].accept), &type) != cases[i].format)
            fail_msg("wrong format for: %s", cases[i].accept);
        assert_string_equal(type,
                            cases[i].format == METRICS_TEXT
                                ? "text/plain; version=0.0.4; charset=utf-8"
                                : "application/openmetrics-text; version=1.0.0; charset=utf-8");
    }
}

/* A bit of everything, as an exposition has it after a day. */
static struct metrics *busy_metrics(void)
{
    struct metrics *m = metrics_new(2, &config);
    for (int i = 0; i < 200; i++) {
        const struct deployment *d = &deployments[(size_t)i % COUNT(deployments)];
        struct record r =
            i % 7 ? record_of(d) : failure_of(i % 3 ? d : NULL, ERR_UPSTREAM_ERROR, 429, 429);
        r.stream = (int8_t)(i % 2);
        r.ttft_us = r.stream ? 1000 * i : -1;
        r.output_us = r.stream ? 5000 * i : -1;
        r.latency_us = (int64_t)i * i * 1000;
        r.trace_id = STR("0af7651916cd43dd8448eb211c80319c");
        r.engine.decode_us = i % 4 == 1 ? 1000 * i : -1;
        if (i % 5 == 0)
            r.fallback = (struct record_fallback){.asked = STR("gpt"),
                                                  .to = STR("local"),
                                                  .cause = ERR_UPSTREAM_CONNECT,
                                                  .cause_provider = STR("openai")};
        metrics_record(m, i % 2, &r);
    }
    return m;
}

/* What promtool says against names that are not ours to choose. */
static const char *const dictated[] = {
    /* LiteLLM's name; promtool 2.42 says it. */
    "litellm_api_key_budget_remaining_hours_metric use base unit \"seconds\" instead of \"hours\"",
};

static bool is_dictated(const char *finding)
{
    for (size_t i = 0; i < COUNT(dictated); i++)
        if (strcmp(finding, dictated[i]) == 0)
            return true;
    return false;
}

static void promtool_has_nothing_to_say(void **state)
{
    (void)state;
    if (system("command -v promtool >/dev/null 2>&1") != 0)
        skip();
    struct metrics *m = busy_metrics();
    struct log_stats log = {.records = 12};
    char path[] = "/tmp/test_metrics_XXXXXX", command[128], finding[512];
    int fd = mkstemp(path), bad = 0;
    assert_true(fd >= 0);
    const char *text = expose_with(m, METRICS_TEXT, &log);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    snprintf(command, sizeof command, "promtool check metrics <%s 2>&1", path);
    FILE *f = popen(command, "re");
    assert_non_null(f);
    while (fgets(finding, sizeof finding, f)) {
        finding[strcspn(finding, "\n")] = '\0';
        if (!is_dictated(finding)) {
            print_error("promtool: %s\n", finding);
            bad++;
        }
    }
    pclose(f);
    unlink(path);
    assert_int_equal(bad, 0);
    metrics_free(m);
}

/* ---- a strict reader of OpenMetrics, as far as weir writes it ---- */

struct family_seen {
    char name[96], type[16], unit[16];
    bool help, samples;
};

struct reading {
    struct family_seen families[192];
    int family_count;
    char series[8192][420]; /* name and labels, to find repeats */
    int series_count;
    char histogram[420]; /* labels without le of the buckets being read */
    double last_le, last_count;
    bool inf;
    int exemplars;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static struct family_seen *meta_family(struct reading *g, const char *name)
{
    struct family_seen *last = g->family_count ? &g->families[g->family_count - 1] : NULL;
    if (last && strcmp(last->name, name) == 0) {
        assert_false(last->samples); /* what describes a family stands before its samples */
        return last;
    }
    for (int i = 0; i < g->family_count; i++)
        if (strcmp(g->families[i].name, name) == 0)
            fail_msg("%s: its lines are not together", name);
    assert_true(g->family_count < (int)COUNT(g->families));
    struct family_seen *f = &g->families[g->family_count++];
    snprintf(f->name, sizeof f->name, "%s", name);
    return f;
}

static void read_meta(struct reading *g, const char *line)
{
    char kind[8], name[96];
    int at = 0;
    if (sscanf(line, "# %7s %95s %n", kind, name, &at) != 2 || at == 0)
        fail_msg("not a descriptor: %s", line);
    struct family_seen *f = meta_family(g, name);
    if (strcmp(kind, "HELP") == 0)
        f->help = line[at] != '\0';
    else if (strcmp(kind, "TYPE") == 0)
        snprintf(f->type, sizeof f->type, "%s", line + at);
    else if (strcmp(kind, "UNIT") == 0)
        snprintf(f->unit, sizeof f->unit, "%s", line + at);
    else
        fail_msg("not a descriptor: %s", line);
    if (f->unit[0])
        assert_true(str_ends(str_from(f->name), str_from(f->unit)) &&
                    f->name[strlen(f->name) - strlen(f->unit) - 1] == '_');
}

/* One label pair at p; returns what follows it. */
static const char *read_label(const char *p, const char *line)
{
    size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz_0123456789");
    if (n == 0 || p[n] != '=' || p[n + 1] != '"')
        fail_msg("not a label at %.20s: %s", p, line);
    for (p += n + 2; *p != '"'; p++) {
        if (*p == '\0' || (*p == '\\' && !strchr("\\n\"", p[1])))
            fail_msg("a label's text is not escaped well: %s", line);
        p += *p == '\\';
    }
    return p + 1;
}

static const char *read_labels(const char *p, const char *line)
{
    if (*p != '{')
        return p;
    for (p = read_label(p + 1, line); *p == ',';)
        p = read_label(p + 1, line);
    if (*p != '}')
        fail_msg("labels do not end: %s", line);
    return p + 1;
}

static void check_suffix(const struct family_seen *f, const char *suffix, const char *line)
{
    static const struct {
        const char *type, *suffixes[4];
    } allowed[] = {
        {"counter", {"_total"}},
        {"gauge", {""}},
        {"unknown", {""}},
        {"info", {"_info"}},
        {"histogram", {"_bucket", "_sum", "_count"}},
    };
    for (size_t i = 0; i < COUNT(allowed); i++)
        for (size_t k = 0; strcmp(allowed[i].type, f->type) == 0 && k < 4 && allowed[i].suffixes[k];
             k++)
            if (strcmp(allowed[i].suffixes[k], suffix) == 0)
                return;
    fail_msg("a %s has no sample %s: %s", f->type, suffix, line);
}

/* Buckets rise in le and in count, and end with +Inf, which equals the count. */
static void read_bucket(struct reading *g, const char *labels, const char *le, double count,
                        double exemplar)
{
    if (strncmp(labels, g->histogram, (size_t)(le - labels)) != 0 || g->inf) {
        snprintf(g->histogram, sizeof g->histogram, "%.*s", (int)(le - labels), labels);
        g->last_le = -1;
        g->last_count = 0;
    }
    double bound = strncmp(le, "le=\"+Inf", 8) == 0 ? HUGE_VAL : strtod(le + 4, NULL);
    assert_true(bound > g->last_le);
    assert_true(count >= g->last_count);
    if (exemplar >= 0)
        assert_true(exemplar <= bound && exemplar > g->last_le - 1e-12 && count > g->last_count);
    g->last_le = bound;
    g->last_count = count;
    g->inf = bound == HUGE_VAL;
}

static void read_sample(struct reading *g, const char *line)
{
    struct family_seen *f = &g->families[g->family_count - 1];
    size_t name = strcspn(line, "{ "), base = strlen(f->name);
    if (name < base || strncmp(line, f->name, base) != 0)
        fail_msg("not of family %s: %s", f->name, line);
    char suffix[32], *end;
    snprintf(suffix, sizeof suffix, "%.*s", (int)(name - base), line + base);
    check_suffix(f, suffix, line);
    const char *after = read_labels(line + name, line);
    assert_true(*after == ' ');
    double value = strtod(after + 1, &end), exemplar = -1;
    if (strncmp(end, " # {trace_id=\"", 14) == 0) {
        const char *p = read_labels(end + 3, line);
        assert_int_equal(p - (end + 3), strlen("{trace_id=\"\"}") + 32);
        exemplar = strtod(p, &end);
        assert_true(strtod(end, &end) > 1e9);
        g->exemplars++;
    }
    if (*end != '\0')
        fail_msg("something behind the value: %s", line);
    const char *le = strstr(line, "le=\"");
    if (strcmp(suffix, "_bucket") == 0)
        read_bucket(g, line + name, le, value, exemplar);
    else if (strcmp(suffix, "_count") == 0)
        assert_true(g->inf && value == g->last_count);
    assert_true(g->series_count < (int)COUNT(g->series));
    assert_true((size_t)(after - line) < sizeof g->series[0]);
    snprintf(g->series[g->series_count++], sizeof g->series[0], "%.*s", (int)(after - line), line);
    f->samples = true;
}

static void openmetrics_is_strict(void **state)
{
    (void)state;
    struct metrics *m = busy_metrics();
    struct log_stats log = {.records = 12};
    struct reading *g = mem_alloc(sizeof *g);
    exposed_deployments = some_deployments;
    char *text = mem_strdup(str_from(expose_with(m, METRICS_OPENMETRICS, &log)));
    bool ended = false;
    exposed_deployments = NULL;
    for (char *line = text; *line;) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        assert_false(ended);
        if (strcmp(line, "# EOF") == 0)
            ended = true;
        else if (line[0] == '#')
            read_meta(g, line);
        else
            read_sample(g, line);
        line = end + 1;
    }
    assert_true(ended);
    assert_true(g->exemplars > 10);
    assert_int_equal(g->family_count, COUNT(rows)); /* each has data in this test */
    for (int i = 0; i < g->family_count; i++)
        if (!g->families[i].help || !g->families[i].type[0] || !g->families[i].samples)
            fail_msg("%s: not described, or empty", g->families[i].name);
    qsort(g->series, (size_t)g->series_count, sizeof g->series[0], by_text);
    for (int i = 1; i < g->series_count; i++)
        if (strcmp(g->series[i - 1], g->series[i]) == 0)
            fail_msg("twice: %s", g->series[i]);
    mem_free(text);
    mem_free(g);
    metrics_free(m);
}

static void equal_state_gives_equal_bytes(void **state)
{
    (void)state;
    struct metrics *m[2] = {metrics_new(2, &config), metrics_new(2, &config)};
    for (int i = 0; i < 40; i++) {
        struct record r = record_of(&deployments[i % 4]),
                      other = record_of(&deployments[3 - i % 4]);
        metrics_record(m[0], i % 2, &r);
        metrics_record(m[1], (i + 1) % 2, &other);
    }
    char *first = mem_strdup(str_from(expose(m[0])));
    const char *second = expose(m[1]);
    *strstr(first, "# HELP process_") = '\0';
    assert_int_equal(strncmp(first, second, strlen(first)), 0);
    mem_free(first);
    metrics_free(m[0]);
    metrics_free(m[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_sound),
        cmocka_unit_test(docs_name_every_row),
        cmocka_unit_test(labels_are_escaped_once),
        cmocka_unit_test(process_and_log),
        cmocka_unit_test(deployments_and_engines),
        cmocka_unit_test(exemplars_only_in_openmetrics),
        cmocka_unit_test(a_full_buffer_gets_nothing),
        cmocka_unit_test(budgets_of_keys),
        cmocka_unit_test(limits_of_keys),
        cmocka_unit_test(the_counter_without_total_has_no_type),
        cmocka_unit_test(negotiation),
        cmocka_unit_test(promtool_has_nothing_to_say),
        cmocka_unit_test(openmetrics_is_strict),
        cmocka_unit_test(equal_state_gives_equal_bytes),
    };
    return cmocka_run_group_tests_name("metrics_write", tests, NULL, NULL);
}
