/* measure_options.h -- the options that all measuring commands share, with one meaning: whom to ask, and what.
 *
 *     static struct measure_options shared = MEASURE_OPTIONS_DEFAULTS;
 *     static const struct option_row rows[] = {
 *         {.name = "--iterations", ...}, MEASURE_PROMPT_ROWS(shared), MEASURE_TARGET_ROWS(shared)};
 *
 * Each of the two begins a heading of its own in --help, so a command's own rows stand before them. Owner: the command's statics. */
#pragma once

#include <math.h>

#include "cli/command.h"
#include "measure/prompts.h"
#include "measure/target.h"

#define MEASURE_MAX_TOKENS 64 /* asked for where nothing else is said: enough to see a stream by */

struct measure_options {
    /* MEASURE_TARGET_ROWS */
    const char *url, *key, *ca_file;
    struct option_list headers;
    bool insecure;
    double timeout_s; /* of a whole request */
    /* MEASURE_PROMPT_ROWS */
    const char *prompt, *prompt_file, *body_file, *metadata;
    int64_t prompt_tokens, max_tokens,
        seed; /* max_tokens < 0: not given; see measure_options_prompts */
    double temperature;
    bool no_stream, no_nonce;
    int api; /* enum prompt_api */
};

#define MEASURE_OPTIONS_DEFAULTS                                                                   \
    {                                                                                              \
        .timeout_s = 120, .max_tokens = -1, .temperature = NAN                                     \
    }

extern const char *const measure_api_names[]; /* by enum prompt_api */

// clang-format off
#define MEASURE_TARGET_ROWS(o)                                                                     \
    {.heading = "Whom to ask", .name = "--url", .type = OPT_STR, .into = &(o).url, .value = "URL", .help = "an OpenAI-compatible server, with or without /v1; unix:/path for a socket (default http://localhost:4000)"}, \
    {.name = "--key", .type = OPT_STR, .into = &(o).key, .value = "KEY", .help = "sent as Authorization: Bearer (default: of the environment WEIR_API_KEY, LITELLM_API_KEY, LITELLM_MASTER_KEY or OPENAI_API_KEY, the first one set)"}, \
    {.name = "--header", .short_name = "-H", .type = OPT_LIST, .into = &(o).headers, .value = "LINE", .help = "a header \"Name: value\" for each request; may be given several times"}, \
    {.name = "--timeout", .type = OPT_F64, .into = &(o).timeout_s, .min = 0, .max = 86400, .value = "SECONDS", .help = "for a whole request; 0: none"}, \
    {.name = "--ca-file", .type = OPT_STR, .into = &(o).ca_file, .value = "FILE", .help = "certificates to trust instead of the system's (PEM)"}, \
    {.name = "--insecure", .type = OPT_FLAG, .into = &(o).insecure, .help = "do not check the server's certificate"}

#define MEASURE_PROMPT_ROWS(o)                                                                     \
    {.heading = "What to ask", .name = "--prompt", .type = OPT_STR, .into = &(o).prompt, .value = "TEXT", .help = "the prompt"}, \
    {.name = "--prompt-file", .type = OPT_STR, .into = &(o).prompt_file, .value = "FILE", .help = "prompts, one a line; or JSON lines with \"prompt\" or \"messages\""}, \
    {.name = "--prompt-tokens", .type = OPT_INT, .into = &(o).prompt_tokens, .min = 1, .max = 10000000, .value = "N", .help = "prompts of about N tokens, made up"}, \
    {.name = "--body", .type = OPT_STR, .into = &(o).body_file, .value = "FILE", .help = "a whole JSON body; model, stream and what other options say are set in it"}, \
    {.name = "--max-tokens", .type = OPT_INT, .into = &(o).max_tokens, .min = 0, .max = 100000000, .value = "N", .help = "tokens to answer with at most; 0: not sent (default 64)"}, \
    {.name = "--temperature", .type = OPT_F64, .into = &(o).temperature, .min = 0, .max = 2, .value = "T", .help = "sent as it is; not sent by default"}, \
    {.name = "--no-stream", .type = OPT_FLAG, .into = &(o).no_stream, .help = "ask for a whole answer instead of a stream"}, \
    {.name = "--no-nonce", .type = OPT_FLAG, .into = &(o).no_nonce, .help = "send the prompt as it is, so that caches may answer; otherwise each begins differently"}, \
    {.name = "--metadata", .type = OPT_STR, .into = &(o).metadata, .value = "JSON", .help = "an object for the gateway's log: '{\"team\": \"search\"}'"}, \
    {.name = "--api", .type = OPT_CHOICE, .into = &(o).api, .choices = measure_api_names, .value = "API", .help = "which call to make"}, \
    {.name = "--seed", .type = OPT_INT, .into = &(o).seed, .min = 0, .max = INT64_MAX, .value = "N", .help = "for what is random: equal seeds, equal requests; 0: another one each time"}
// clang-format on

/* The key: --key, else WEIR_API_KEY, LITELLM_API_KEY, LITELLM_MASTER_KEY, OPENAI_API_KEY of the environment, in that order. NULL: none.
 * *source (may be NULL) becomes "--key", or the variable's name, or NULL. */
const char *measure_options_key(const struct measure_options *o, const char **source);
/* NULL with a sentence on stderr and *status set (EXIT_USAGE, or EXIT_UNREACHABLE for a file that cannot be read). */
MUST_USE struct measure_target *
measure_options_target(const char *command, const struct measure_options *o, int *status);
/* The same. Where --max-tokens was not given, MEASURE_MAX_TOKENS are asked for, but not of embeddings and with --body. */
MUST_USE struct prompts *measure_options_prompts(const char *command,
                                                 const struct measure_options *o, int *status);
/* `model`, or the first one that the gateway offers; copied into `a`. STR_NONE with a sentence on stderr. */
struct str measure_options_model(const char *command, const struct measure_target *t,
                                 struct arena *a, const char *model, int *status);
/* "weir COMMAND: sentence" on stderr, made safe. Returns `status`. */
int measure_options_fail(const char *command, const struct err *e, int status);
