/* health.h -- the choices of health checks and engines that a configuration can make. Part of the snapshot; told to users in docs/health.md. */
#pragma once

/* weir_settings.health_check: what is asked of a deployment. In the order of directive_tables.c's health_check_choices. */
enum health_check {
    HEALTH_CHECK_MODELS,     /* GET {api_base}/models: costs nothing */
    HEALTH_CHECK_COMPLETION, /* a completion of one token: proves that the model answers */
};

/* What serves a deployment, where it tells of itself beside the API. In the order of directive_tables.c's engine_choices, which are their names. */
enum engine_kind {
    ENGINE_NONE,
    ENGINE_AUTO, /* one of those below: asked for until one answers */
    ENGINE_OLLAMA,
    ENGINE_VLLM,
    ENGINE_LLAMA_CPP,
    ENGINE_KIND_COUNT
};
