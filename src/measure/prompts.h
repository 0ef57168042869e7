/* prompts.h -- what is asked: request bodies, made before the clock runs or spliced while it does, never built in the hot path.
 *
 * A body is a template with two places: the model (JSON string) and a nonce in front of the prompt, so that no prefix cache makes an answer
 * look better than it is. Immutable once made, shared by all threads. */
#pragma once

#include "base/err.h"
#include "base/mem.h"

enum prompt_source { PROMPT_TEXT, PROMPT_FILE, PROMPT_SYNTHETIC, PROMPT_BODY };
enum prompt_api { API_CHAT, API_COMPLETIONS, API_EMBEDDINGS };
/* As a record's call_type: "chat.completions". */
struct str prompts_call_type(enum prompt_api api);

struct prompts_options {
    enum prompt_source source;
    const char *text; /* PROMPT_TEXT; NULL: a short default */
    const char *
        file; /* PROMPT_FILE: a prompt a line, or JSON lines with "prompt" or "messages"; PROMPT_BODY: a JSON body */
    int64_t prompt_tokens; /* PROMPT_SYNTHETIC */
    int64_t max_tokens;    /* < 0: not sent */
    double temperature;    /* NaN: not sent */
    bool stream;           /* with stream_options.include_usage */
    bool nonce;            /* a distinct prompt each time */
    const char *metadata;  /* a JSON object, or NULL */
    enum prompt_api api;
    uint64_t seed;
};

struct prompts;
/* NULL with a sentence that names file and line. */
MUST_USE struct prompts *prompts_new(const struct prompts_options *o, struct err *e);
void prompts_free(struct prompts *p);
size_t prompts_count(const struct prompts *p);
bool prompts_stream(const struct prompts *p);
/* Path below the target's base_path: "/chat/completions". */
struct str prompts_path(const struct prompts *p);
/* Bytes that prompts_write needs at most for prompt `i` and a model of `model_bytes`. */
size_t prompts_bytes_max(const struct prompts *p, size_t i, size_t model_bytes);
/* Writes the body of prompt `i` for `model`; `nonce` makes it distinct (equal nonces, equal bodies). Returns its length. [any thread] */
size_t prompts_write(const struct prompts *p, size_t i, struct str model, uint64_t nonce,
                     char *out);
