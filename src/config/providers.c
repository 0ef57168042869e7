#include "config/providers.h"

// clang-format off
/* Prefixes, bases and variables as LiteLLM has them. Where LiteLLM knows two variables for a base, the one that its own clients
 * do not read is here: OPENAI_BASE_URL is what a user sets to reach weir, and weir would call itself. */
const struct provider_info providers[] = {
    {"openai",                 "openai",                 DIALECT_OPENAI,    "https://api.openai.com/v1",                            "OPENAI_API_BASE",      "OPENAI_API_KEY",         false, ENGINE_NONE},
    {"text-completion-openai", "text-completion-openai", DIALECT_OPENAI,    "https://api.openai.com/v1",                            "OPENAI_API_BASE",      "OPENAI_API_KEY",         false, ENGINE_NONE},
    {"openai_like",            "openai_like",            DIALECT_OPENAI,    NULL,                                                   "OPENAI_LIKE_API_BASE", "OPENAI_LIKE_API_KEY",    false, ENGINE_NONE},
    {"custom_openai",          "custom_openai",          DIALECT_OPENAI,    NULL,                                                   NULL,                   NULL,                     false, ENGINE_NONE},
    {"azure",                  "azure",                  DIALECT_OTHER,     NULL,                                                   "AZURE_API_BASE",       "AZURE_API_KEY",          false, ENGINE_NONE},
    {"anthropic",              "anthropic",              DIALECT_ANTHROPIC, "https://api.anthropic.com/v1",                         "ANTHROPIC_API_BASE",   "ANTHROPIC_API_KEY",      false, ENGINE_NONE},
    {"gemini",                 "gemini",                 DIALECT_GEMINI,    "https://generativelanguage.googleapis.com/v1beta",     "GEMINI_API_BASE",      "GEMINI_API_KEY",         false, ENGINE_NONE},
    {"vertex_ai",              "vertex_ai",              DIALECT_GEMINI,    NULL,                                                   NULL,                   NULL,                     false, ENGINE_NONE},
    {"bedrock",                "bedrock",                DIALECT_OTHER,     NULL,                                                   NULL,                   NULL,                     false, ENGINE_NONE},
    {"ollama",                 "ollama",                 DIALECT_OPENAI,    "http://localhost:11434",                               "OLLAMA_API_BASE",      "OLLAMA_API_KEY",         true,  ENGINE_OLLAMA},
    {"ollama_chat",            "ollama_chat",            DIALECT_OPENAI,    "http://localhost:11434",                               "OLLAMA_API_BASE",      "OLLAMA_API_KEY",         true,  ENGINE_OLLAMA},
    {"hosted_vllm",            "hosted_vllm",            DIALECT_OPENAI,    NULL,                                                   "HOSTED_VLLM_API_BASE", "HOSTED_VLLM_API_KEY",    false, ENGINE_VLLM},
    {"vllm",                   "vllm",                   DIALECT_OPENAI,    NULL,                                                   "HOSTED_VLLM_API_BASE", "HOSTED_VLLM_API_KEY",    false, ENGINE_VLLM},
    {"llamafile",              "llamafile",              DIALECT_OPENAI,    "http://127.0.0.1:8080/v1",                             "LLAMAFILE_API_BASE",   "LLAMAFILE_API_KEY",      false, ENGINE_LLAMA_CPP},
    {"lm_studio",              "lm_studio",              DIALECT_OPENAI,    "http://localhost:1234/v1",                             "LM_STUDIO_API_BASE",   "LM_STUDIO_API_KEY",      false, ENGINE_NONE},
    {"litellm_proxy",          "litellm_proxy",          DIALECT_OPENAI,    NULL,                                                   "LITELLM_PROXY_API_BASE", "LITELLM_PROXY_API_KEY", false, ENGINE_NONE},
    {"groq",                   "groq",                   DIALECT_OPENAI,    "https://api.groq.com/openai/v1",                       "GROQ_API_BASE",        "GROQ_API_KEY",           false, ENGINE_NONE},
    {"openrouter",             "openrouter",             DIALECT_OPENAI,    "https://openrouter.ai/api/v1",                         "OPENROUTER_API_BASE",  "OPENROUTER_API_KEY",     false, ENGINE_NONE},
    {"together_ai",            "together_ai",            DIALECT_OPENAI,    "https://api.together.xyz/v1",                          NULL,                   "TOGETHERAI_API_KEY",     false, ENGINE_NONE},
    {"mistral",                "mistral",                DIALECT_OPENAI,    "https://api.mistral.ai/v1",                            "MISTRAL_API_BASE",     "MISTRAL_API_KEY",        false, ENGINE_NONE},
    {"codestral",              "codestral",              DIALECT_OPENAI,    "https://codestral.mistral.ai/v1",                      NULL,                   "CODESTRAL_API_KEY",      false, ENGINE_NONE},
    {"deepseek",               "deepseek",               DIALECT_OPENAI,    "https://api.deepseek.com/v1",                          "DEEPSEEK_API_BASE",    "DEEPSEEK_API_KEY",       false, ENGINE_NONE},
    {"fireworks_ai",           "fireworks_ai",           DIALECT_OPENAI,    "https://api.fireworks.ai/inference/v1",                "FIREWORKS_API_BASE",   "FIREWORKS_API_KEY",      false, ENGINE_NONE},
    {"perplexity",             "perplexity",             DIALECT_OPENAI,    "https://api.perplexity.ai",                            "PERPLEXITY_API_BASE",  "PERPLEXITYAI_API_KEY",   false, ENGINE_NONE},
    {"xai",                    "xai",                    DIALECT_OPENAI,    "https://api.x.ai/v1",                                  "XAI_API_BASE",         "XAI_API_KEY",            false, ENGINE_NONE},
    {"cerebras",               "cerebras",               DIALECT_OPENAI,    "https://api.cerebras.ai/v1",                           "CEREBRAS_API_BASE",    "CEREBRAS_API_KEY",       false, ENGINE_NONE},
    {"nvidia_nim",             "nvidia_nim",             DIALECT_OPENAI,    "https://integrate.api.nvidia.com/v1",                  "NVIDIA_NIM_API_BASE",  "NVIDIA_NIM_API_KEY",     false, ENGINE_NONE},
    {"deepinfra",              "deepinfra",              DIALECT_OPENAI,    "https://api.deepinfra.com/v1/openai",                  NULL,                   "DEEPINFRA_API_KEY",      false, ENGINE_NONE},
    {"sambanova",              "sambanova",              DIALECT_OPENAI,    "https://api.sambanova.ai/v1",                          "SAMBANOVA_API_BASE",   "SAMBANOVA_API_KEY",      false, ENGINE_NONE},
    {"moonshot",               "moonshot",               DIALECT_OPENAI,    "https://api.moonshot.ai/v1",                           "MOONSHOT_API_BASE",    "MOONSHOT_API_KEY",       false, ENGINE_NONE},
    {"dashscope",              "dashscope",              DIALECT_OPENAI,    "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_BASE", "DASHSCOPE_API_KEY",      false, ENGINE_NONE},
    {"github",                 "github",                 DIALECT_OPENAI,    "https://models.inference.ai.azure.com",                "GITHUB_API_BASE",      "GITHUB_API_KEY",         false, ENGINE_NONE},
    {"huggingface",            "huggingface",            DIALECT_OTHER,     NULL,                                                   "HUGGINGFACE_API_BASE", "HUGGINGFACE_API_KEY",    false, ENGINE_NONE},
    {"cohere",                 "cohere",                 DIALECT_OTHER,     "https://api.cohere.ai/v1",                             "COHERE_API_BASE",      "COHERE_API_KEY",         false, ENGINE_NONE},
    {"sim",                    "sim",                    DIALECT_OPENAI,    NULL,                                                   NULL,                   NULL,                     false, ENGINE_NONE},
};
// clang-format on
const size_t provider_count = COUNT(providers);

const struct provider_info *provider_find(struct str prefix)
{
    for (size_t i = 0; i < provider_count; i++)
        if (str_eq(prefix, str_from(providers[i].prefix)))
            return &providers[i];
    return NULL;
}

const struct provider_info *provider_of_bare_model(struct str model)
{
    static const char *const openai_heads[] = {"gpt-",    "o1", "o3", "o4", "text-embedding-",
                                               "chatgpt-"};
    for (size_t i = 0; i < COUNT(openai_heads); i++)
        if (str_starts(model, str_from(openai_heads[i])))
            return provider_find(STR("openai"));
    return NULL;
}
