/* measure_options.c -- what the shared options of the measuring commands mean, and what is said where they cannot be meant. */
#include "cli/measure_options.h"

#include <signal.h>
#include <unistd.h>

#include "cli/term.h"

const char *const measure_api_names[] = {
    [API_CHAT] = "chat", [API_COMPLETIONS] = "completions", [API_EMBEDDINGS] = "embeddings", NULL};

int measure_options_fail(const char *command, const struct err *e, int status)
{
    char text[sizeof e->text + sizeof e->file + 32], safe[TERM_SAFE_BYTES(sizeof text)];
    err_format(e, text, sizeof text);
    term_safe(true, str_from(text), 0, safe, sizeof safe);
    fprintf(stderr, "weir %s: %s\n", command, safe);
    return status;
}

const char *measure_options_key(const struct measure_options *o, const char **source)
{
    static const char *const variables[] = {"WEIR_API_KEY", "LITELLM_API_KEY", "LITELLM_MASTER_KEY",
                                            "OPENAI_API_KEY"};
    const char *ignored;
    source = source ? source : &ignored;
    *source = NULL;
    if (o->key) {
        *source = o->key[0] ? "--key" : NULL; /* --key "": none, whatever the environment says */
        return o->key[0] ? o->key : NULL;
    }
    for (size_t i = 0; i < COUNT(variables); i++) {
        const char *value = getenv(variables[i]);
        if (value && value[0]) {
            *source = variables[i];
            return value;
        }
    }
    return NULL;
}

/* A file that cannot be read is "could not read", not "wrong usage". */
static int status_for(const char *file)
{
    return file && access(file, R_OK) != 0 ? EXIT_UNREACHABLE : EXIT_USAGE;
}

struct measure_target *measure_options_target(const char *command, const struct measure_options *o,
                                              int *status)
{
    struct err e = {0};
    signal(SIGPIPE, SIG_IGN); /* TLS writes without asking the kernel to leave it out */
    struct measure_target *t =
        measure_target_new(&(struct measure_target_options){.url = o->url,
                                                            .key = measure_options_key(o, NULL),
                                                            .headers = o->headers.values,
                                                            .header_count = o->headers.count,
                                                            .ca_file = o->ca_file,
                                                            .insecure = o->insecure},
                           &e);
    if (!t)
        *status = measure_options_fail(command, &e, status_for(o->ca_file));
    return t;
}

/* What is asked comes from one place. */
static bool one_source(const struct measure_options *o, struct prompts_options *out, struct err *e)
{
    const struct {
        const char *name, *file;
        bool given;
        enum prompt_source source;
    } sources[] = {
        {"--prompt", NULL, o->prompt != NULL, PROMPT_TEXT},
        {"--prompt-file", o->prompt_file, o->prompt_file != NULL, PROMPT_FILE},
        {"--prompt-tokens", NULL, o->prompt_tokens > 0, PROMPT_SYNTHETIC},
        {"--body", o->body_file, o->body_file != NULL, PROMPT_BODY},
    };
    const char *first = NULL;
    out->source = PROMPT_TEXT;
    for (size_t i = 0; i < COUNT(sources); i++) {
        if (!sources[i].given)
            continue;
        if (first)
            return err_set(e, "%s and %s both say what to ask: give one of them", first,
                           sources[i].name);
        first = sources[i].name;
        out->source = sources[i].source;
        out->file = sources[i].file;
    }
    return true;
}

static int64_t max_tokens(const struct measure_options *o)
{
    if (o->max_tokens >= 0)
        return o->max_tokens ? o->max_tokens : -1;
    return o->api == API_EMBEDDINGS || o->body_file ? -1 : MEASURE_MAX_TOKENS;
}

struct prompts *measure_options_prompts(const char *command, const struct measure_options *o,
                                        int *status)
{
    struct err e = {0};
    struct prompts_options p = {
        .text = o->prompt,
        .prompt_tokens = o->prompt_tokens,
        .max_tokens = max_tokens(o),
        .temperature = o->temperature,
        .stream = !o->no_stream,
        .nonce = !o->no_nonce,
        .metadata = o->metadata,
        .api = (enum prompt_api)o->api,
        .seed = (uint64_t)o->seed,
    };
    struct prompts *made = one_source(o, &p, &e) ? prompts_new(&p, &e) : NULL;
    if (!made)
        *status = measure_options_fail(command, &e, status_for(p.file));
    return made;
}

struct str measure_options_model(const char *command, const struct measure_target *t,
                                 struct arena *a, const char *model, int *status)
{
    struct err e = {0};
    struct str *names;
    size_t count;
    if (model)
        return arena_str(a, str_from(model));
    if (!measure_models(t, a, &names, &count, &e)) {
        *status = measure_options_fail(command, &e, EXIT_UNREACHABLE);
        return STR_NONE;
    }
    for (size_t i = 0; i < count; i++)
        if (str_find(names[i], '*') < 0) /* a pattern is no model that can be asked for */
            return names[i];
    err_set(&e, "%.*s offers no models: name one with --model", STR_ARG(t->url));
    *status = measure_options_fail(command, &e, EXIT_USAGE);
    return STR_NONE;
}
