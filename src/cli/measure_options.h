/* measure_options.h -- the options that all measuring commands share, with one meaning: whom to ask, and what.
 *
 *     static struct measure_options shared = MEASURE_OPTIONS_DEFAULTS;
 *     static const struct option_row rows[] = {
 *         MEASURE_TARGET_ROWS(shared), MEASURE_PROMPT_ROWS(shared), {"--iterations", ...}};
 *
 * Owner: the command's statics. */
#pragma once

#include "cli/command.h"
#include "measure/prompts.h"
#include "measure/target.h"

struct measure_options {
    /* MEASURE_TARGET_ROWS: --url --key --header (repeatable) --ca-file --insecure --timeout */
    const char *url, *key, *ca_file;
    const char *headers[16];
    size_t header_count;
    bool insecure;
    double timeout_s;
    /* MEASURE_PROMPT_ROWS: --prompt --prompt-file --prompt-tokens --body --max-tokens --temperature --no-stream --no-nonce --metadata --api
     * --seed */
    const char *prompt, *prompt_file, *body_file, *metadata;
    int64_t prompt_tokens, max_tokens, seed;
    double temperature;
    bool no_stream, no_nonce;
    int api; /* enum prompt_api */
};

/* The key: --key, else WEIR_API_KEY, LITELLM_API_KEY, LITELLM_MASTER_KEY, OPENAI_API_KEY of the environment, in that order. NULL with a sentence
 * on stderr and *status set (EXIT_USAGE or EXIT_UNREACHABLE). */
MUST_USE struct measure_target *
measure_options_target(const char *command, const struct measure_options *o, int *status);
MUST_USE struct prompts *measure_options_prompts(const char *command,
                                                 const struct measure_options *o, int *status);
/* `model`, or the first one that the gateway offers; copied into `a`. STR_NONE with a sentence on stderr. */
struct str measure_options_model(const char *command, const struct measure_target *t,
                                 struct arena *a, const char *model, int *status);
