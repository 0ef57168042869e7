/* cmd_analyze.c -- `weir analyze`: what happened, from the request log. The seed's scripts/debugging/analyze-logs.
 *
 * Options become a filter, a window and a list of views; logread hands the lines to one rollup a thread; they are merged,
 * and analyze_tables.c or analyze_json.c tells the result. Ctrl-C ends the reading, and the report is of what was read. */
#include "cli/analyze.h"

#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/when.h"
#include "cli/command.h"
#include "cli/default_log.h"
#include "cli/thresholds.h"
#include "config/config.h"
#include "observe/log_filter.h"
#include "observe/log_range.h"
#include "observe/log_seek.h"
#include "observe/log_set.h"

#define TIMELINE_POINTS 60
#define PAGE_POINTS     100 /* a page has more room */
#define PAGE_STEPS_KEPT 2000

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV, FORMAT_MARKDOWN };
static const char *const formats[] = {"table", "json", "csv", "markdown", NULL};

static const char *since_text, *until_text, *last_text, *compare_text, *timeline_text, *by_text,
    *export_path, *html_path;
static const char *model, *provider, *key_alias, *user, *status, *level;
static struct analyze_sections show;
static const char *trace_id, *where_text, *fail_if_text, *config_path, *what_if, *prices_path;
static struct log_where *where;
static bool show_content;
static int format = FORMAT_TABLE, color = COLOR_AUTO;
static int64_t top = 10, threads, slow_ms, exact_max = 50000000;

// clang-format off
static const struct option_row rows[] = {
    {.heading = "What to tell", .name = "--errors", .type = OPT_FLAG, .into = &show.errors, .help = "what failed: by type, provider and model; patterns of messages with cause, trend and next step"},
    {.name = "--performance", .type = OPT_FLAG, .into = &show.performance, .help = "latency, time to first token, tokens a second, overhead; where the time goes; the slowest requests"},
    {.name = "--cost", .type = OPT_FLAG, .into = &show.tokens, .help = "tokens and cost: what was spent and for whom, what is ahead, what was wasted and saved"},
    {.name = "--tokens", .type = OPT_FLAG, .into = &show.tokens, .help = "the same as --cost"},
    {.name = "--providers", .type = OPT_FLAG, .into = &show.providers, .help = "each model's providers side by side, and which is better"},
    {.name = "--chains", .type = OPT_FLAG, .into = &show.chains, .help = "retries and fallbacks: how many attempts, what they saved and what they cost"},
    {.name = "--limits", .type = OPT_FLAG, .into = &show.limits, .help = "429s by key, provider and minute: whose limit, where it lies, what room is left"},
    {.name = "--config", .type = OPT_STR, .into = &config_path, .value = "FILE", .help = "with --limits: the configuration that rpm and tpm are compared with"},
    {.name = "--compare-with", .type = OPT_STR, .into = &compare_text, .value = "WINDOW", .help = "what changed since then: yesterday, \"last week\", 2h..1h, or previous: as long a time just before"},
    {.name = "--what-if", .type = OPT_STR, .into = &what_if, .value = "MODEL=MODEL,...", .help = "what it would have cost had one model's tokens gone to another: gpt-4o=gpt-4o-mini,claude*=groq/llama-3.3-70b-versatile"},
    {.name = "--prices", .type = OPT_STR, .into = &prices_path, .value = "FILE", .help = "what it would have cost by these prices (JSON, as LiteLLM's model_prices_and_context_window.json)"},
    {.name = "--trace", .type = OPT_STR, .into = &trace_id, .value = "ID", .help = "one request, every attempt of it: by request_id or trace_id, or how it begins"},
    {.name = "--show-content", .type = OPT_FLAG, .into = &show_content, .help = "with --trace: what was asked and answered, too, where the log has it"},
    {.name = "--by", .type = OPT_STR, .into = &by_text, .value = "FIELD[,FIELD]", .help = "group by these: fields of the record (docs/log.md), metadata.NAME, tag (default model,provider)"},
    {.name = "--timeline", .type = OPT_STR, .into = &timeline_text, .value = "SPAN", .help = "length of a step of the timeline: 1m, 5m, 1h (default: what fits)"},
    {.name = "--top", .type = OPT_INT, .into = &top, .min = 1, .max = 100000, .value = "N", .help = "rows of each table"},
    {.heading = "Of what", .name = "--since", .type = OPT_STR, .into = &since_text, .value = "TIME", .help = "from then on: \"1 hour ago\", 15m, \"yesterday 14:00\", 2026-11-25T14:00:00Z"},
    {.name = "--until", .type = OPT_STR, .into = &until_text, .value = "TIME", .help = "up to then"},
    {.name = "--last", .type = OPT_STR, .into = &last_text, .value = "SPAN", .help = "the same as --since SPAN: 15m, 2h, 7d"},
    {.name = "--model", .type = OPT_STR, .into = &model, .value = "NAME", .help = "only this model; * is a wildcard, commas separate, ! shuts out"},
    {.name = "--provider", .type = OPT_STR, .into = &provider, .value = "NAME", .help = "only this provider"},
    {.name = "--key", .type = OPT_STR, .into = &key_alias, .value = "ALIAS", .help = "only this key's alias"},
    {.name = "--user", .type = OPT_STR, .into = &user, .value = "NAME", .help = "only this user"},
    {.name = "--status", .type = OPT_STR, .into = &status, .value = "STATUS", .help = "only success, failure or cancelled; or a status sent to the client: 429, 5xx"},
    {.name = "--level", .type = OPT_STR, .into = &level, .value = "LEVEL", .help = "only INFO, WARNING or ERROR"},
    {.name = "--slow", .type = OPT_INT, .into = &slow_ms, .min = 1, .max = INT64_MAX, .value = "MS", .help = "only requests that took at least this long"},
    {.name = "--where", .type = OPT_STR, .into = &where_text, .value = "EXPRESSION", .help = "only what this is true of: 'latency_ms > 2s and provider = ollama'"},
    {.heading = "How to tell it", .name = "--format", .type = OPT_CHOICE, .into = &format, .choices = formats, .value = "FORMAT", .help = "how to tell it; csv is one table, of what is asked for"},
    {.name = "--export", .type = OPT_STR, .into = &export_path, .value = "FILE", .help = "write it to FILE instead"},
    {.name = "--html", .type = OPT_STR, .into = &html_path, .value = "FILE", .help = "write a page with plots, too; - is standard output, which then has nothing else"},
    {.name = "--color", .type = OPT_CHOICE, .into = &color, .choices = term_color_modes, .value = "WHEN", .help = "colours"},
    {.name = "--fail-if", .type = OPT_STR, .into = &fail_if_text, .value = "BOUNDS", .help = "exit with 1 when one holds: 'error_rate > 5%, p95 > 5s, any error_rate > 20% and requests > 100'"},
    {.heading = "Reading", .name = "--exact", .type = OPT_INT, .into = &exact_max, .min = 0, .max = INT64_C(1) << 40, .value = "N", .help = "requests up to which percentiles of latency are exact, at 4 bytes each; with more they are within 0.4 %"},
    {.name = "--threads", .type = OPT_INT, .into = &threads, .min = 1, .max = LOGREAD_THREADS_MAX, .value = "N", .help = "threads that read (default: one a core)"},
};
// clang-format on

static const struct option_row *options(size_t *count)
{
    *count = COUNT(rows);
    return rows;
}

/* ---- options into what they ask for ---- */

static bool take_ref(struct str name, struct log_ref *ref, struct err *e)
{
    if (!log_ref_parse(ref, name, e))
        return err_prefix(e, "--by");
    return log_ref_groups(ref) ||
           err_set(e, "--by: expected texts, whole numbers, flags, metadata.NAME or tag, got %s",
                   ref->name);
}

static bool take_by(struct analysis *a, struct err *e)
{
    struct str rest = str_from(by_text ? by_text : "model,provider");
    while (rest.n) {
        struct str name = str_trim(str_cut(&rest, ','));
        if (a->by_count == ROLLUP_FIELDS_MAX - 1)
            return err_set(e, "--by: expected at most %d fields, got \"%s\"", ROLLUP_FIELDS_MAX - 1,
                           by_text);
        if (!take_ref(name, &a->by_refs[a->by_count], e))
            return false;
        for (int i = 0; i < a->by_count; i++)
            if (strcmp(a->by_refs[i].name, a->by_refs[a->by_count].name) == 0)
                return err_set(e, "--by: %s is there twice", a->by_refs[i].name);
        a->by_count++;
    }
    return a->by_count > 0 || err_set(e, "--by: expected a field, such as model");
}

static bool take_window(struct analysis *a, struct err *e)
{
    int64_t span_us, now_us = a->now_us;
    a->since_us = INT64_MIN;
    a->until_us = INT64_MAX;
    if (since_text && !when_parse(str_from(since_text), now_us, &a->since_us, e))
        return err_prefix(e, "--since");
    if (until_text && !when_parse(str_from(until_text), now_us, &a->until_us, e))
        return err_prefix(e, "--until");
    if (last_text && !when_span(str_from(last_text), &span_us, e))
        return err_prefix(e, "--last");
    if (last_text && since_text)
        return err_set(e, "--last and --since are the same thing: give one of them");
    if (last_text)
        a->since_us = now_us - span_us;
    return a->since_us < a->until_us || err_set(e, "--until: expected a time after --since");
}

/* The window to compare with; "previous" needs to know how long this one is. Without --since the last hour is meant. */
static bool take_other(struct analysis *a, struct err *e)
{
    if (!compare_text)
        return true;
    a->compares = true;
    if (a->since_us == INT64_MIN)
        a->since_us = a->now_us - INT64_C(3600000000);
    int64_t until_us = MIN(a->until_us, a->now_us);
    if (strcmp(compare_text, "previous") == 0) {
        a->other_since_us = a->since_us - (until_us - a->since_us);
        a->other_until_us = a->since_us;
        return true;
    }
    return when_window(str_from(compare_text), a->now_us, &a->other_since_us, &a->other_until_us,
                       e) ||
           err_prefix(e, "--compare-with");
}

static bool take_files(struct analysis *a, struct log_set *set, int count, char **names,
                       struct err *e)
{
    const char *fallback[] = {default_log()};
    const char *const *patterns = count > 0 ? (const char *const *)names : fallback;
    int64_t since_us = a->compares ? MIN(a->since_us, a->other_since_us) : a->since_us, first_us;
    bool ok = log_set_open(set, patterns, count > 0 ? (size_t)count : 1, false, e);
    if (ok && set->count == 1 && strcmp(set->paths[0], "-") != 0 && since_us != INT64_MIN &&
        log_first_stamp(set->paths[0], &first_us) && first_us > since_us) {
        log_set_close(set);
        ok = log_set_open(set, patterns, 1, true, e);
        log_set_since(set, since_us - LOG_SEEK_SLACK_US);
    }
    a->paths = set->paths;
    a->path_count = set->count;
    return ok;
}

static void take_filter(struct log_filter *f)
{
    *f = (struct log_filter){.slow_only = slow_ms > 0, .slow_us = slow_ms * 1000};
    log_filter_add(f, LOG_model, model);
    log_filter_add(f, LOG_provider, provider);
    log_filter_add(f, LOG_key_alias, key_alias);
    log_filter_add(f, LOG_user, user);
    log_filter_add(f, LOG_level, level);
    log_filter_add_status(f, status);
}

static bool take_where(struct analysis *a, struct err *e)
{
    if (where_text)
        a->filter.where = where = log_where_parse(str_from(where_text), a->now_us, e);
    return !where_text || where || err_prefix(e, "--where");
}

static bool take_thresholds(struct analysis *a, struct err *e)
{
    if (fail_if_text)
        a->thresholds = thresholds_parse(str_from(fail_if_text), a->by_refs, a->by_count, e);
    return !fail_if_text || a->thresholds || err_prefix(e, "--fail-if");
}

static bool page_is_stdout(void)
{
    return html_path && strcmp(html_path, "-") == 0;
}

/* ---- other prices ---- */

/* The table and the plan live as long as the analysis: until the process ends. */
static bool take_prices(struct analysis *a, struct err *e)
{
    static struct arena memory;
    static struct what_if_plan plan;
    struct err broken = {0};
    char text[sizeof broken.file + sizeof broken.text + 32];
    if (!what_if && !prices_path)
        return true;
    arena_init(&memory, NULL, 0);
    if (prices_path && !(a->prices = prices_load(&memory, prices_path, &broken))) {
        err_format(&broken, text, sizeof text);
        return err_set(e, "--prices: %s", text);
    }
    if (!what_if_plan(&plan, what_if, a->prices, e))
        return err_prefix(e, "--what-if");
    a->what_if = &plan;
    return true;
}

/* ---- the timeline's step ---- */

/* From the first stamp to the last, as far as the window goes; -1: not known before all is read. */
static int64_t range_us(const struct analysis *a)
{
    int64_t first_us = INT64_MAX, last_us = INT64_MIN, from_us, to_us;
    for (size_t i = 0; i < a->path_count; i++) {
        /* Standard input can be read once only. */
        if (strcmp(a->paths[i], "-") == 0 || !log_range(a->paths[i], &from_us, &to_us))
            return -1;
        first_us = MIN(first_us, from_us);
        last_us = MAX(last_us, to_us);
    }
    return MAX(MIN(last_us, a->until_us) - MAX(first_us, a->since_us), INT64_C(0));
}

static int64_t choose_step_us(int64_t us, int points)
{
    static const int64_t steps_s[] = {1,        5,        10,        30,    60,       120,
                                      300,      600,      900,       1800,  3600,     7200,
                                      3 * 3600, 6 * 3600, 12 * 3600, 86400, 7 * 86400};
    if (us < 0)
        return 3600 * INT64_C(1000000);
    for (size_t i = 0; i < COUNT(steps_s); i++)
        if (us / 1000000 / steps_s[i] < points)
            return steps_s[i] * 1000000;
    return 30 * 86400 * INT64_C(1000000);
}

/* For a page a step holds histograms: there are not to be more than memory is for. */
static bool take_step(struct analysis *a, struct err *e)
{
    char least[WHEN_TEXT_BYTES];
    int64_t us = range_us(a);
    if (!timeline_text) {
        a->step_us = choose_step_us(us, html_path ? PAGE_POINTS : TIMELINE_POINTS);
        return true;
    }
    if (!when_span(str_from(timeline_text), &a->step_us, e))
        return err_prefix(e, "--timeline");
    if (!html_path || us / a->step_us < PAGE_STEPS_KEPT)
        return true;
    when_span_text(choose_step_us(us, PAGE_STEPS_KEPT), least, sizeof least);
    return err_set(e, "--timeline %s: with --html there can be %d steps: expected at least %s",
                   timeline_text, PAGE_STEPS_KEPT, least);
}

/* ---- the command ---- */

/* Two reports into one stream are neither. */
static bool check_outputs(struct err *e)
{
    return !page_is_stdout() || export_path || format == FORMAT_TABLE ||
           err_set(e,
                   "--format %s: standard output is the page's (--html -): give one of them a "
                   "file, with --html FILE or --export FILE",
                   formats[format]);
}

/* A file of CSV is one table. */
static bool check_csv(const struct analysis *a, struct err *e)
{
    int tables = a->show.errors + a->show.performance + a->show.tokens;
    for (size_t i = 0; i < analyze_part_count; i++)
        tables += analyze_parts[i]->is_csv && analyze_parts[i]->wanted(a);
    return format != FORMAT_CSV || tables <= 1 ||
           err_set(e,
                   "--format csv is one table: expected one of --errors, --performance, --tokens, "
                   "--trace, --chains, --limits, --providers, --what-if (--prices) and "
                   "--compare-with, or none for the groups of --by; got %d of them",
                   tables);
}

static int usage(const struct err *e)
{
    fprintf(stderr, "weir analyze: %s\n", e->text);
    return EXIT_USAGE;
}

static int write_report(const struct analysis *a)
{
    static const enum table_format tables[] = {[FORMAT_TABLE] = TABLE_TERMINAL,
                                               [FORMAT_CSV] = TABLE_CSV,
                                               [FORMAT_MARKDOWN] = TABLE_MARKDOWN};
    struct term t;
    FILE *out = export_path ? fopen(export_path, "w") : stdout;
    if (!out) {
        fprintf(stderr, "weir analyze: --export: cannot write %s: %m\n", export_path);
        return EXIT_UNREACHABLE;
    }
    term_init(&t, out, (enum color_mode)color);
    if (format == FORMAT_JSON)
        analyze_write_json(a, out);
    else
        analyze_write_tables(a, tables[format], &t);
    bool failed = fflush(out) != 0 || ferror(out);
    if (export_path)
        failed |= fclose(out) != 0;
    if (failed)
        fprintf(stderr, "weir analyze: cannot write the report: %m\n");
    return failed ? EXIT_UNREACHABLE : EXIT_GOOD;
}

/* The page and the report; the report not where the page has its place. */
static int write_all(const struct analysis *a)
{
    struct err e = {0};
    bool page_failed = a->html_path && !analyze_write_page(a, &e);
    if (page_failed)
        fprintf(stderr, "weir analyze: %s\n", e.text);
    int exit_status = page_is_stdout() && !export_path ? EXIT_GOOD : write_report(a);
    return page_failed ? EXIT_UNREACHABLE : exit_status;
}

/* False: one of the thresholds holds, and was told. */
static bool passes(const struct analysis *a)
{
    struct term t;
    if (!a->thresholds || !thresholds_check(a->thresholds, a))
        return true;
    term_init(&t, stderr, (enum color_mode)color);
    thresholds_write(a->thresholds, &t);
    return false;
}

static bool has_problem(const struct analysis *a)
{
    for (size_t i = 0; i < analyze_part_count; i++)
        if (a->parts[i] && analyze_parts[i]->is_problem &&
            analyze_parts[i]->is_problem(a, a->parts[i]))
            return true;
    return false;
}

static void on_interrupt(int number)
{
    (void)number;
    analyze_stop();
}

/* Is nothing asked about requests that did not fail, but how many they are? Then they need not be read to the end. The filter must
 * be content with what comes first in a line. */
static bool asks_for_failures_only(const struct analysis *a)
{
    static const uint64_t head =
        LOG_BIT(timestamp) | LOG_BIT(level) | LOG_BIT(model) | LOG_BIT(provider) | LOG_BIT(status);
    const struct analyze_sections *s = &a->show;
    if (a->filter.where || a->thresholds)
        return false;
    for (int i = 0; i < a->filter.count; i++)
        if (!(head >> a->filter.rows[i].field & 1))
            return false;
    return s->errors && !s->performance && !s->tokens && !s->providers && !s->chains &&
           !s->limits && !a->trace_id && !a->what_if && !a->compares && !a->filter.slow_only &&
           !a->html_path && format != FORMAT_JSON;
}

/* The overview for people, of all lines, by anything but times: then some need not be read. */
static bool asks_for_little(const struct analysis *a)
{
    for (int i = 0; i < a->by_count; i++)
        if (a->by_refs[i].kind == LOG_REF_FIELD &&
            record_fields[a->by_refs[i].field].kind == RECORD_MS)
            return false;
    return analysis_is_overview(a) && log_filter_is_empty(&a->filter) && !a->compares &&
           !a->html_path && !a->thresholds && format != FORMAT_JSON;
}

/* Options into what they ask for. */
static bool take_options(struct analysis *a, struct log_set *set, int argc, char **argv,
                         struct err *e)
{
    if (!take_by(a, e) || !take_window(a, e) || !take_other(a, e) || !take_prices(a, e) ||
        !take_files(a, set, argc, argv, e) || !take_step(a, e) || !check_outputs(e) ||
        !check_csv(a, e))
        return false;
    if (config_path && !(a->config = config_load(&(struct config_options){.path = config_path}, e)))
        return err_prefix(e, "--config");
    take_filter(&a->filter);
    if (!take_where(a, e) || !take_thresholds(a, e))
        return false;
    a->failures_only = asks_for_failures_only(a);
    a->plain = asks_for_little(a);
    return true;
}

static int run(int argc, char **argv)
{
    struct err e = {0};
    struct log_set set = {0};
    struct analysis a = {.now_us = clock_real_us(),
                         .show = show,
                         .trace_id = trace_id,
                         .html_path = html_path,
                         .show_content = show_content,
                         .top = (int)top,
                         .exact_max = exact_max,
                         .threads = threads > 0 ? (int)threads : logread_threads()};
    if (!take_options(&a, &set, argc, argv, &e)) {
        log_set_close(&set);
        return usage(&e);
    }
    /* The second Ctrl-C ends the program: a pipe that says nothing is waited for. */
    struct sigaction interrupt = {.sa_handler = on_interrupt, .sa_flags = SA_RESETHAND};
    sigaction(SIGINT, &interrupt, NULL);
    bool ok = analyze_read(&a, &e);
    if (!ok)
        fprintf(stderr, "weir analyze: %s\n", e.text);
    bool good = passes(&a);
    int exit_status = !ok && a.sum.lines == 0 ? EXIT_UNREACHABLE : write_all(&a);
    if (exit_status == EXIT_GOOD && !ok)
        exit_status = EXIT_UNREACHABLE;
    if (exit_status == EXIT_GOOD && (!good || has_problem(&a)))
        exit_status = EXIT_PROBLEM;
    analyze_free(&a);
    log_set_close(&set);
    thresholds_free(a.thresholds);
    log_where_free(where);
    if (a.config)
        config_put(a.config);
    return exit_status;
}

const struct command cmd_analyze = {
    .name = "analyze",
    .summary = "say what happened, from the request log",
    .usage = "weir analyze [FILE...] [options]      (FILE: a log, plain, .gz or .zst; - is "
             "standard input)",
    .examples =
        "  weir analyze                                    " DEFAULT_LOG "\n"
        "  weir analyze --errors --since \"1 hour ago\"\n"
        "  weir analyze requests.log requests.log.1.gz --cost --by key_alias\n"
        "  weir analyze --trace 5f0c2c1e-8a54\n"
        "  weir analyze --limits --config config.yaml --last 1d\n"
        "  weir analyze --where 'latency_ms > 2s and provider = ollama' --by metadata.team\n"
        "  weir analyze --last 2h --compare-with previous\n"
        "  weir analyze --last 5m --fail-if 'error_rate > 5% or p95 > 10s'\n"
        "  weir analyze --html report.html\n"
        "  weir analyze --model 'gpt-*' --status 5xx --format json\n",
    .options = options,
    .run = run,
};
