/* cmd_test.c -- `weir test`: is the gateway well, and where does one request's time go? The seed's scripts/debugging/test-request.
 *
 * First its health, so that "nobody is there" is said in one sentence; then one request, or --repeat of them, measured as the definitions in
 * docs/measuring.md say. Exit status: 0 the answer is good; 1 it is not, or the gateway says that it is not well; 3 nobody could be reached. */
#include <math.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/numbers.h"
#include "cli/test.h"
#include "measure/failure.h"

#define REPEAT_MAX         1000
#define HEALTH_PATIENCE_MS 10000

static struct measure_options shared = MEASURE_OPTIONS_DEFAULTS;
static const char *model, *config_path, *har_path;
static bool stream, list_models, routing, cold, curl, json, verbose, no_health;
static int64_t repeat = 1;
static int color = COLOR_AUTO;

// clang-format off
static const struct option_row rows[] = {
    {.name = "--model", .short_name = "-m", .type = OPT_STR, .into = &model, .value = "NAME", .help = "whom to ask for an answer (default: the first model that the gateway offers)"},
    {.name = "--verbose", .short_name = "-v", .type = OPT_FLAG, .into = &verbose, .help = "show the whole exchange with times: heads, bodies, each event; secrets masked"},
    {.name = "--stream", .type = OPT_FLAG, .into = &stream, .help = "ask for a stream, which is what is done without it, too; see --no-stream"},
    {.name = "--repeat", .short_name = "-n", .type = OPT_INT, .into = &repeat, .min = 1, .max = REPEAT_MAX, .value = "N", .help = "so many requests, one after another, over one connection"},
    {.name = "--cold", .type = OPT_FLAG, .into = &cold, .help = "with --repeat: a new connection for each request"},
    {.name = "--list-models", .type = OPT_FLAG, .into = &list_models, .help = "only say which models the gateway offers, one a line"},
    {.name = "--test-routing", .type = OPT_FLAG, .into = &routing, .help = "one request to each model: which deployment answers, what it costs, what fails and why"},
    {.name = "--config", .type = OPT_STR, .into = &config_path, .value = "FILE", .help = "with --test-routing: the models of this configuration, not those that the gateway offers"},
    {.name = "--curl", .type = OPT_FLAG, .into = &curl, .help = "send nothing: print the same request as a curl command, the key as a variable"},
    {.name = "--json", .type = OPT_FLAG, .into = &json, .help = "print what was measured as JSON"},
    {.name = "--har", .type = OPT_STR, .into = &har_path, .value = "FILE", .help = "write the exchange as an HTTP Archive, secrets masked"},
    {.name = "--no-health", .type = OPT_FLAG, .into = &no_health, .help = "do not look at /health/readiness first"},
    {.name = "--color", .type = OPT_CHOICE, .into = &color, .choices = term_color_modes, .value = "WHEN", .help = "colours"},
    MEASURE_PROMPT_ROWS(shared),
    MEASURE_TARGET_ROWS(shared),
};
// clang-format on

static const struct option_row *options(size_t *count)
{
    *count = COUNT(rows);
    return rows;
}

static int64_t timeout_ms(void)
{
    return (int64_t)(shared.timeout_s * 1e3);
}

/* ---- health ---- */

enum health { HEALTH_GOOD, HEALTH_BAD, HEALTH_NONE, HEALTH_UNREACHABLE };

struct health_answer {
    enum health verdict;
    char text[300]; /* "healthy, 0.1.0" */
    uint64_t took_ns;
};

/* What /health/readiness says: {"status": "healthy", "litellm_version": ...}. */
static void read_health(struct arena *a, const struct measure_reply *reply,
                        struct health_answer *out)
{
    struct err ignored = {0};
    struct json_node *root = json_parse(a, reply->body, &ignored), *status = NULL, *version = NULL;
    if (root) {
        status = json_get(root, "status");
        version = json_get(root, "litellm_version");
    }
    bool told = status && status->kind == JSON_STRING;
    struct str text = told                   ? status->text
                      : reply->status == 200 ? STR("alive")
                                             : arena_printf(a, "status %d", reply->status);
    bool versioned = version && version->kind == JSON_STRING;
    snprintf(out->text, sizeof out->text, "%.*s%s%.*s", (int)MIN(text.n, (size_t)120), text.p,
             versioned ? ", version " : "", (int)(versioned ? MIN(version->text.n, (size_t)60) : 0),
             versioned ? version->text.p : "");
}

/* LiteLLM's two ways to ask; the second one for gateways that have not the first. */
static bool ask_health(const struct measure_target *t, struct arena *a, struct measure_reply *reply,
                       struct err *e)
{
    static const char *const paths[] = {"/health/readiness", "/health/liveliness"};
    int64_t patience_ms =
        timeout_ms() ? MIN(timeout_ms(), (int64_t)HEALTH_PATIENCE_MS) : HEALTH_PATIENCE_MS;
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct str path = arena_printf(a, "%.*s%s", STR_ARG(t->root_path), paths[i]);
        if (!measure_ask(t, a, STR("GET"), path, STR_NONE, patience_ms, reply, e))
            return false;
        if (reply->status != 404)
            break;
    }
    return true;
}

static void look_at_health(const struct measure_target *t, struct health_answer *out, struct err *e)
{
    struct arena a;
    struct measure_reply reply;
    arena_init(&a, NULL, 0);
    if (!ask_health(t, &a, &reply, e)) {
        out->verdict = HEALTH_UNREACHABLE;
    } else if (reply.status == 200 || reply.status >= 500) {
        out->verdict = reply.status == 200 ? HEALTH_GOOD : HEALTH_BAD;
        read_health(&a, &reply, out);
    } else {
        out->verdict = HEALTH_NONE;
        snprintf(out->text, sizeof out->text,
                 reply.status == 404 || reply.status == 405
                     ? "no /health/readiness here (status %d): a plain OpenAI-compatible server"
                     : "not told (status %d for /health/readiness)",
                 reply.status);
    }
    out->took_ns = reply.took_ns;
    arena_fini(&a);
}

static void show_health(const struct term *term, const struct measure_target *t,
                        const struct health_answer *h)
{
    static const enum term_style styles[] = {STYLE_GOOD, STYLE_BAD, STYLE_NONE, STYLE_BAD};
    const char *source;
    bool key = measure_options_key(&shared, &source) != NULL;
    fputs("Server  ", term->out);
    term_put(term, STYLE_NONE, t->url, 0);
    fprintf(term->out, "  (%s%s%s)\nHealth  ", key ? "key from " : "no key", key ? source : "",
            shared.insecure ? "; its certificate is not checked" : "");
    term_put(term, styles[h->verdict], str_from(h->text), 0);
    fprintf(term->out, "  (%s)\n", num_ms((double)h->took_ns / 1e3).text);
}

/* False: nobody is there, and *status is set. Whether it is well goes into *well. */
static bool check_health(const struct measure_target *t, const struct term *term, bool *well,
                         int *status)
{
    struct health_answer h = {0};
    struct err e = {0};
    *well = true;
    if (no_health)
        return true;
    look_at_health(t, &h, &e);
    if (h.verdict == HEALTH_UNREACHABLE) {
        *status = measure_options_fail("test", &e, EXIT_UNREACHABLE);
        fputs("Is it running? Start it with weir serve, or name another one with --url.\n", stderr);
        return false;
    }
    *well = h.verdict != HEALTH_BAD;
    if (!json)
        show_health(term, t, &h);
    return true;
}

/* ---- requests ---- */

/* Nobody was reached: another status than that of an answer that is not good. */
static int status_of(const struct test_result *list, size_t count)
{
    int status = EXIT_GOOD;
    for (size_t i = 0; i < count; i++) {
        enum outcome o = list[i].sample.outcome;
        if (outcome_is_unreached(o))
            return EXIT_UNREACHABLE;
        if (o != OUTCOME_OK)
            status = EXIT_PROBLEM;
    }
    return status;
}

static int show(const struct test_result *list, size_t count, const struct measure_target *t,
                const struct term *term)
{
    struct err e = {0};
    const char *key = measure_options_key(&shared, NULL);
    int status = status_of(list, count);
    if (json) {
        test_json(list, count, key);
    } else if (count) {
        if (count > 1)
            test_report_repeats(list, count, term);
        test_report(&list[test_median(list, count)], term);
        for (size_t i = 0; verbose && i < count; i++)
            test_show_exchange(&list[i], term, key);
    }
    if (har_path && !test_har(list, count, t, key, har_path, &e))
        return measure_options_fail("test", &e, EXIT_UNREACHABLE);
    return status;
}

static int send_all(struct tester *t, const struct prompts *p, struct str name,
                    const struct term *term)
{
    struct arena a;
    struct test_result *list = mem_alloc((size_t)repeat * sizeof *list);
    size_t count = 0;
    arena_init(&a, NULL, 0);
    while (count < (size_t)repeat && !test_stop) {
        tester_send(t, &a, p, name, count, &list[count]);
        count++;
    }
    int status = show(list, count, t->target, term);
    arena_fini(&a);
    mem_free(list);
    return status;
}

static int print_curl(struct tester *t, const struct prompts *p, struct str name)
{
    struct arena a;
    struct test_result r;
    arena_init(&a, NULL, 0);
    tester_compose(t, &a, p, name, 0, &r);
    test_show_curl(&r, t->target, &shared);
    arena_fini(&a);
    return EXIT_GOOD;
}

/* Whom to ask. What is only looked at (health, models) has TLS sessions of its own: the request that is measured is not to find one there. */
struct targets {
    struct measure_target *measured, *looked_at;
};

static int run_requests(const struct targets *at, struct tester *t, const struct term *term)
{
    struct arena a;
    int status = EXIT_GOOD;
    bool well = true;
    struct prompts *p = measure_options_prompts("test", &shared, &status);
    arena_init(&a, NULL, 0);
    if (p && (curl || check_health(at->looked_at, term, &well, &status))) {
        struct str name = measure_options_model("test", at->looked_at, &a, model, &status);
        if (name.n && curl)
            status = print_curl(t, p, name);
        else if (name.n) {
            status = send_all(t, p, name, term);
            status = status == EXIT_GOOD && !well ? EXIT_PROBLEM : status;
        }
    }
    prompts_free(p);
    arena_fini(&a);
    return status;
}

static int run_routing(const struct targets *at, struct tester *t, const struct term *term)
{
    int status = EXIT_GOOD;
    bool well = true;
    if (!check_health(at->looked_at, term, &well, &status))
        return status;
    if (!json)
        fputc('\n', term->out);
    status = test_routing(t, at->looked_at, &shared, config_path, json, term);
    return status == EXIT_GOOD && !well ? EXIT_PROBLEM : status;
}

static int run_at(const struct targets *at)
{
    struct term term;
    struct tester tester;
    int status;
    signal(SIGPIPE, SIG_IGN);
    term_init(&term, stdout, (enum color_mode)color);
    tester_init(&tester, at->measured, timeout_ms(), cold);
    tester.progress = isatty(STDERR_FILENO) && !json;
    if (list_models)
        status = test_list_models(at->looked_at, json);
    else
        status = routing ? run_routing(at, &tester, &term) : run_requests(at, &tester, &term);
    tester_fini(&tester);
    return status;
}

/* ---- options that do not go together ---- */

static bool options_fit(int argc, char **argv, struct err *e)
{
    if (argc > 0)
        return err_set(e, "unexpected word \"%.80s\": a model is named with --model", argv[0]);
    if (stream && shared.no_stream)
        return err_set(e, "--stream and --no-stream: give one of them");
    if (stream && shared.api == API_EMBEDDINGS)
        return err_set(e, "--stream: there are no streams of embeddings");
    if (config_path && !routing)
        return err_set(e, "--config names the models for --test-routing: give that, too");
    if (cold && repeat == 1 && !routing)
        return err_set(
            e, "--cold: a single request is over a new connection anyway; give --repeat, too");
    if (routing && (repeat > 1 || curl || verbose || har_path || model))
        return err_set(
            e,
            "--test-routing asks each model once: without --model, --repeat, --curl, -v and --har");
    if (routing && shared.body_file)
        return err_set(e, "--test-routing: --body fits one kind of model only; give --prompt");
    if (routing && shared.api != API_CHAT)
        return err_set(e, "--test-routing: --api is chosen by the model");
    if (json && verbose)
        return err_set(e, "--json and -v: give --har FILE for the whole exchange");
    if (curl && (json || verbose || har_path || repeat > 1))
        return err_set(e, "--curl sends nothing: without --json, -v, --har and --repeat");
    return true;
}

static int run(int argc, char **argv)
{
    struct err e = {0};
    int status = EXIT_GOOD;
    if (!options_fit(argc, argv, &e))
        return measure_options_fail("test", &e, EXIT_USAGE);
    struct targets at = {.measured = measure_options_target("test", &shared, &status)};
    if (at.measured)
        at.looked_at = measure_options_target("test", &shared, &status);
    if (at.looked_at)
        status = run_at(&at);
    measure_target_free(at.measured);
    measure_target_free(at.looked_at);
    return status;
}

const struct command cmd_test = {
    .name = "test",
    .summary = "check the gateway, and see where one request's time goes",
    .usage = "weir test [--url URL] [--model NAME] [options]",
    .examples = "  weir test --model llama3.1:8b\n"
                "  weir test --test-routing\n"
                "  weir test --url http://localhost:11434 --model llama3.1:8b -v\n"
                "  weir test --repeat 10 --cold --no-stream\n"
                "  weir test --model gpt-4o --metadata '{\"team\": \"search\"}' --json | jq "
                ".requests[0].wait\n"
                "  weir test --curl --prompt hello | sh\n",
    .options = options,
    .run = run,
};
