/* providers.h -- what LiteLLM's model prefixes mean: one row a provider. Facts only; behaviour is gateway/provider.c's. */
#pragma once

#include "base/str.h"
#include "config/health.h"

enum dialect { DIALECT_OPENAI, DIALECT_ANTHROPIC, DIALECT_OLLAMA, DIALECT_GEMINI, DIALECT_OTHER };

struct provider_info {
    const char *prefix;   /* "groq" in "groq/llama-3.1-8b" */
    const char *name;     /* LiteLLM's custom_llm_provider: label value and log field */
    enum dialect dialect; /* DIALECT_OPENAI is spoken; the others' own APIs are a later issue */
    const char *base; /* default api_base, with "/v1" where the API has it; NULL: must be given */
    const char *base_env; /* environment variable that replaces `base`, or NULL */
    const char *key_env;  /* environment variable of the key, or NULL */
    bool appends_v1; /* a given api_base is the server's root: "/v1" is added if missing (ollama) */
    enum engine_kind engine; /* what it is, unless model_info.engine says otherwise */
};

extern const struct provider_info providers[];
extern const size_t provider_count;
/* By prefix; NULL: no such provider. */
const struct provider_info *provider_find(struct str prefix);
/* Of a model without a prefix, by OpenAI's names ("gpt-...", "o3..."); NULL: not one of them. */
const struct provider_info *provider_of_bare_model(struct str model);
