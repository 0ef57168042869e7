/* test_routing.c -- does every model answer, and who answers for it? One small request each, one after another: --test-routing. And --list-models.
 *
 * Models of embeddings are asked for an embedding: which those are the gateway's /model/info says ("mode"), or the configuration, else
 * the name. A pattern ("groq/" and a star) is no model that can be asked for: it is told, and not counted. */
#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/table.h"
#include "cli/test.h"

struct routed {
    struct str name;
    bool pattern, embeds;
    struct test_result result;
};

struct routes {
    struct arena arena;
    struct routed *list;
    size_t count;
    size_t failed, asked;
};

/* ---- which models ---- */

static struct routed *find(struct routes *r, struct str name)
{
    for (size_t i = 0; i < r->count; i++)
        if (str_eq(r->list[i].name, name))
            return &r->list[i];
    return NULL;
}

/* Of models that have several deployments, once. */
static void add_model(struct routes *r, struct str name, struct str mode)
{
    struct routed *known = find(r, name);
    if (known)
        return;
    r->list[r->count++] = (struct routed){.name = arena_str(&r->arena, name),
                                          .pattern = str_find(name, '*') >= 0,
                                          .embeds = mode.n ? STR_IS(mode, "embedding")
                                                           : str_contains(name, STR("embed"))};
}

static bool from_config(struct routes *r, const char *path, struct err *e)
{
    struct config *c = config_load(&(struct config_options){.path = path}, e);
    if (!c)
        return false;
    r->list = arena_zalloc(&r->arena, MAX(c->deployment_count, 1u) * sizeof *r->list);
    for (uint32_t i = 0; i < c->deployment_count; i++)
        add_model(r, c->deployments[i].model_name, c->deployments[i].mode);
    config_put(c);
    return true;
}

/* "mode" of each model, where the gateway tells it. */
static void take_modes(struct routes *r, const struct measure_target *t)
{
    struct measure_reply reply;
    struct err ignored = {0};
    struct str path = arena_printf(&r->arena, "%.*s/model/info", STR_ARG(t->root_path));
    if (!measure_ask(t, &r->arena, STR("GET"), path, STR_NONE, 30000, &reply, &ignored) ||
        reply.status != 200)
        return;
    struct json_node *root = json_parse(&r->arena, reply.body, &ignored),
                     *data = root ? json_get(root, "data") : NULL;
    for (struct json_node *m = data ? data->child : NULL; m; m = m->next) {
        struct json_node *name = json_get(m, "model_name"), *info = json_get(m, "model_info"),
                         *mode = info ? json_get(info, "mode") : NULL;
        struct routed *known = name ? find(r, name->text) : NULL;
        if (known && mode && mode->kind == JSON_STRING)
            known->embeds = STR_IS(mode->text, "embedding");
    }
}

static bool from_gateway(struct routes *r, const struct measure_target *t, struct err *e)
{
    struct str *names;
    size_t count;
    if (!measure_models(t, &r->arena, &names, &count, e))
        return false;
    r->list = arena_zalloc(&r->arena, MAX(count, (size_t)1) * sizeof *r->list);
    for (size_t i = 0; i < count; i++)
        add_model(r, names[i], STR_NONE);
    take_modes(r, t);
    return true;
}

int test_list_models(const struct measure_target *t, bool json)
{
    struct arena a;
    struct err e = {0};
    struct str *names;
    size_t count;
    struct term term;
    arena_init(&a, NULL, 0);
    if (!measure_models(t, &a, &names, &count, &e)) {
        arena_fini(&a);
        return measure_options_fail("test", &e, EXIT_UNREACHABLE);
    }
    term_init(&term, stdout, COLOR_AUTO);
    struct json_out j;
    json_out_init(&j);
    json_nest(&j, NULL, "[");
    for (size_t i = 0; i < count; i++) {
        json_text(&j, NULL, names[i]);
        if (json)
            continue;
        term_put(&term, STYLE_NONE, names[i], 0);
        fputc('\n', stdout);
    }
    json_unnest(&j, "]");
    if (json)
        json_out_end(&j, stdout);
    else
        buf_fini(&j.out);
    arena_fini(&a);
    return EXIT_GOOD;
}

/* ---- asking ---- */

struct askers {
    struct prompts *chat, *embeddings;
};

static void ask_all(struct routes *r, struct tester *t, const struct askers *with)
{
    bool shows = isatty(STDERR_FILENO);
    for (size_t i = 0; i < r->count && !test_stop; i++) {
        struct routed *one = &r->list[i];
        if (one->pattern)
            continue;
        if (shows)
            fprintf(stderr, "\r\033[K%zu of %zu", i + 1, r->count);
        tester_send(t, &r->arena, one->embeds ? with->embeddings : with->chat, one->name, i,
                    &one->result);
        r->asked++;
        r->failed += one->result.sample.outcome != OUTCOME_OK;
    }
    if (shows)
        fputs("\r\033[K", stderr);
}

/* ---- telling ---- */

static struct num tokens(const struct sample *s)
{
    bool known = s->prompt_tokens >= 0 || s->completion_tokens >= 0;
    return num_count(
        known ? (double)(MAX(s->prompt_tokens, (int64_t)0) + MAX(s->completion_tokens, (int64_t)0))
              : NAN);
}

static double span_us(uint64_t from_ns, uint64_t to_ns)
{
    int64_t ns = sample_span_ns(from_ns, to_ns);
    return ns < 0 ? NAN : (double)ns / 1e3;
}

/* Attempts the gateway made, and whether another model's deployment answered. NaN: it does not say. */
static double attempts(const struct test_result *r, double *fallbacks)
{
    double retries = NAN;
    *fallbacks = NAN;
    if (!str_to_f64(test_header(r, "x-litellm-attempted-retries"), &retries))
        return NAN;
    if (!str_to_f64(test_header(r, "x-litellm-attempted-fallbacks"), fallbacks))
        *fallbacks = NAN;
    return retries + 1;
}

static void put_row(struct table *t, const struct routed *one, bool with_why)
{
    const struct sample *s = &one->result.sample;
    double fallbacks, tried = attempts(&one->result, &fallbacks);
    bool good = s->outcome == OUTCOME_OK;
    enum term_style style = good ? STYLE_NONE : STYLE_BAD;
    struct str base = test_header(&one->result, "x-litellm-model-api-base");
    double total_us = span_us(s->start_ns, s->end_ns),
           ttft_us = span_us(s->sent_first_ns, s->first_token_ns);
    table_row(t);
    table_text(t, style, one->name);
    table_text(t, good ? STYLE_GOOD : STYLE_BAD, str_from(outcome_key(s->outcome)));
    table_number(t, style, num_count(s->http_status ? s->http_status : NAN),
                 s->http_status ? s->http_status : NAN);
    table_maybe(t, STYLE_NONE, (struct str){s->deployment, MIN(strlen(s->deployment), (size_t)12)});
    table_maybe(t, STYLE_DIM, base);
    table_number(t, tried > 1 ? STYLE_WARN : STYLE_NONE, num_count(tried), tried);
    table_number(t, fallbacks > 0 ? STYLE_WARN : STYLE_NONE, num_count(fallbacks), fallbacks);
    table_number(t, STYLE_NONE, tokens(s), (double)MAX(s->completion_tokens, (int64_t)0));
    table_number(t, STYLE_NONE, num_usd(s->cost_usd < 0 ? NAN : s->cost_usd),
                 s->cost_usd < 0 ? NAN : s->cost_usd);
    table_number(t, STYLE_NONE, num_ms(ttft_us), ttft_us / 1e3);
    table_number(t, STYLE_NONE, num_ms(total_us), total_us / 1e3);
    if (with_why)
        table_text(t, STYLE_NONE, str_from(s->error));
}

static void show_table(const struct routes *r, const struct term *term)
{
    static const struct table_column columns[] = {
        {"Model", ALIGN_LEFT, "model"},          {"Outcome", ALIGN_LEFT, "outcome"},
        {"Status", ALIGN_RIGHT, "http_status"},  {"Deployment", ALIGN_LEFT, "deployment"},
        {"At", ALIGN_LEFT, "api_base"},          {"Attempts", ALIGN_RIGHT, "attempts"},
        {"Fallbacks", ALIGN_RIGHT, "fallbacks"}, {"Tokens", ALIGN_RIGHT, "completion_tokens"},
        {"Cost", ALIGN_RIGHT, "cost_usd"},       {"TTFT", ALIGN_RIGHT, "ttft_ms"},
        {"Total", ALIGN_RIGHT, "total_ms"},      {"Why", ALIGN_LEFT, "error"}};
    struct table t;
    size_t patterns = 0;
    table_init(&t, columns, COUNT(columns) - (r->failed == 0)); /* no "why" where all is well */
    table_title(&t, "A request to each model");
    for (size_t i = 0; i < r->count; i++) {
        patterns += r->list[i].pattern;
        if (!r->list[i].pattern && r->list[i].result.arena)
            put_row(&t, &r->list[i], r->failed > 0);
    }
    if (patterns)
        table_note(
            &t, "%zu patterns (with *) are no models that can be asked for: name one with --model",
            patterns);
    table_write(&t, TABLE_TERMINAL, term);
    table_fini(&t);
    fprintf(term->out, "\n%zu of %zu models answer.\n", r->asked - r->failed, r->asked);
}

static void show_json(const struct routes *r, const char *key)
{
    size_t n = 0;
    struct test_result *list = mem_alloc(MAX(r->count, (size_t)1) * sizeof *list);
    for (size_t i = 0; i < r->count; i++)
        if (r->list[i].result.arena)
            list[n++] = r->list[i].result;
    test_json(list, n, key);
    mem_free(list);
}

/* An embedding's request: the same prompt, without what embeddings do not have. */
static struct prompts *embedding_prompts(const struct measure_options *o, int *status)
{
    struct measure_options plain = *o;
    plain.api = API_EMBEDDINGS;
    plain.max_tokens = -1;
    plain.temperature = NAN;
    plain.body_file = NULL;
    return measure_options_prompts("test", &plain, status);
}

static int run(struct routes *r, struct tester *t, const struct askers *with,
               const struct measure_options *o, bool json, const struct term *term)
{
    ask_all(r, t, with);
    if (json)
        show_json(r, measure_options_key(o, NULL));
    else
        show_table(r, term);
    if (!r->asked && !test_stop) {
        struct err e = {0};
        err_set(&e, "there is no model to ask: name one with --model");
        return measure_options_fail("test", &e, EXIT_PROBLEM);
    }
    return r->failed || test_stop ? EXIT_PROBLEM : EXIT_GOOD;
}

int test_routing(struct tester *t, const struct measure_target *look,
                 const struct measure_options *o, const char *config, bool json,
                 const struct term *term)
{
    struct routes r = {0};
    struct err e = {0};
    int status = EXIT_GOOD;
    arena_init(&r.arena, NULL, 0);
    struct askers with = {.chat = measure_options_prompts("test", o, &status)};
    if (with.chat)
        with.embeddings = embedding_prompts(o, &status);
    if (with.embeddings) {
        if (config ? from_config(&r, config, &e) : from_gateway(&r, look, &e))
            status = run(&r, t, &with, o, json, term);
        else
            status = measure_options_fail(
                "test", &e, config && access(config, R_OK) == 0 ? EXIT_USAGE : EXIT_UNREACHABLE);
    }
    prompts_free(with.chat);
    prompts_free(with.embeddings);
    arena_fini(&r.arena);
    return status;
}
