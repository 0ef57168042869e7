/* directive_tables.c -- every key of the configuration, one row each: type, where it goes, default, range, help.
 *
 * The keys are LiteLLM's (1.81 and, where known, later), in its sections, and weir's own under weir_settings. What a row says is
 * all there is: parsing and messages (directives.c), the warning of a key that is not built yet (config.c), the documentation
 * (docs/config.md) and the test that config/examples/all-directives.yaml names them all come from here.
 *
 * LATER(key, help): known to LiteLLM, not built here yet. NODE(key, type, help): read by config.c or model_list.c. */
#include "config/directives.h"

#define LATER(name, text)                                                                          \
    {                                                                                              \
        .key = name, .type = D_ANY, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = text    \
    }
#define NODE(name, kind, text)                                                                     \
    {                                                                                              \
        .key = name, .type = kind, .offset = DIRECTIVE_NOT_STORED, .help = text                    \
    }
#define SET(name, kind, field, ...)                                                                \
    {                                                                                              \
        .key = name, .type = kind, .offset = offsetof(struct config, field), __VA_ARGS__           \
    }
#define ENTRY(name, kind, field, ...)                                                              \
    {                                                                                              \
        .key = name, .type = kind, .offset = offsetof(struct model_entry, field), __VA_ARGS__      \
    }
#define KEY(name, kind, field, ...)                                                                \
    {                                                                                              \
        .key = name, .type = kind, .offset = offsetof(struct key_entry, field), __VA_ARGS__        \
    }
#define PRICES(field)                                                                              \
    ENTRY("input_cost_per_token", D_PRICE, field, .help = "USD per token of the prompt."),         \
        ENTRY("output_cost_per_token", D_PRICE, field, .help = "USD per token of the answer."),    \
        ENTRY("cache_read_input_token_cost", D_PRICE, field,                                       \
              .help = "USD per prompt token read from the provider's cache."),                     \
        ENTRY("cache_creation_input_token_cost", D_PRICE, field,                                   \
              .help = "USD per prompt token written to the provider's cache."),                    \
        ENTRY("output_cost_per_reasoning_token", D_PRICE, field,                                   \
              .help = "USD per token of reasoning."),                                              \
        ENTRY("input_cost_per_second", D_PRICE, field,                                             \
              .help = "USD per second, where there is no price per token."),                       \
        ENTRY("output_cost_per_second", D_PRICE, field,                                            \
              .help = "USD per second, where there is no price per token."),                       \
        ENTRY("input_cost_per_request", D_PRICE, field, .help = "USD per request.")

#define HOUR_S      3600
#define DAY_MS      86400000
#define TEN_YEARS_S 315360000

// clang-format off
static const char *const level_choices[] = {"DEBUG", "INFO", "WARNING", "ERROR", NULL}; /* index: config.log_level_rank */
static const char *const format_choices[] = {"json", "text", NULL};                     /* index: enum log_format */
/* index: enum routing_strategy */
static const char *const strategy_choices[] = {"simple-shuffle", "least-busy", "usage-based-routing", "usage-based-routing-v2",
                                               "latency-based-routing", "cost-based-routing", NULL};
static const char *const health_check_choices[] = {"models", "completion", NULL};                  /* index: enum health_check */
static const char *const engine_choices[] = {"none", "auto", "ollama", "vllm", "llama.cpp", NULL}; /* index: enum engine_kind */

static const char *const token_choices[] = {"total", "output", "input", NULL}; /* index: enum token_kind */

static const char *const cache_choices[] = {"local", "redis", "redis-semantic", "qdrant-semantic", "s3", "gcs", "azure-blob", "disk", NULL};
static const char *const cache_mode_choices[] = {"default_on", "default_off", NULL}; /* index: enum cache_mode */

static const struct directive top_rows[] = {
    NODE("model_list", D_LIST, "The models: public name, provider's parameters, facts about it."),
    NODE("litellm_settings", D_MAP, "Logging, tracing and defaults for all requests."),
    NODE("router_settings", D_MAP, "Choosing among deployments."),
    NODE("general_settings", D_MAP, "The gateway itself: keys and limits."),
    NODE("weir_settings", D_MAP, "What LiteLLM has no setting for."),
    NODE("environment_variables", D_MAP, "Written to the process's environment before anything else is resolved."),
    NODE("include", D_LIST, "Further files, relative to this one: lists are appended, everything else is replaced."),
    LATER("callback_settings", "Parameters of callbacks."),
    LATER("guardrails", "Checks of prompts and answers."),
    LATER("prompts", "Managed prompts."),
    LATER("credential_list", "Named credentials."),
    LATER("mcp_servers", "MCP servers."),
    LATER("mcp_tools", "MCP tools."),
    LATER("agent_list", "Agents."),
    LATER("search_tools", "Search tools."),
    LATER("vector_store_registry", "Vector stores."),
    LATER("files_settings", "Credentials of the files endpoints."),
    LATER("finetune_settings", "Credentials of the fine-tuning endpoints."),
    LATER("assistant_settings", "Assistants."),
    LATER("default_vertex_config", "Vertex AI pass-through defaults."),
    LATER("policies", "Guardrail policies."),
    LATER("policy_attachments", "Where guardrail policies apply."),
};

static const struct directive model_rows[] = {
    {.key = "model_name", .type = D_STR, .offset = DIRECTIVE_NOT_STORED, .min = 1, .max = 512, .help = "The name clients ask for; entries of equal name share its load. May hold '*'."},
    NODE("litellm_params", D_MAP, "How to reach the model."),
    NODE("model_info", D_MAP, "Facts about the model; unknown keys are kept and shown by /model/info."),
};

static const struct directive params_rows[] = {
    ENTRY("model", D_STR, model, .min = 1, .max = 512, .help = "\"provider/model\". May hold '*', which takes what the '*' of model_name matched."),
    ENTRY("custom_llm_provider", D_STR, custom_llm_provider, .help = "The provider, instead of the model's prefix."),
    ENTRY("api_key", D_SECRET, api_key, .help = "The provider's key; default: the provider's environment variable."),
    ENTRY("api_base", D_STR, api_base, .max = 2048, .help = "Where the API is, e.g. http://localhost:8000/v1 or unix:/run/llama.sock; default: the provider's own."),
    NODE("organization", D_ANY, "OpenAI organization, sent as a header; a list makes one deployment of each."),
    NODE("extra_headers", D_MAP, "Header fields added to every request to this deployment."),
    ENTRY("weight", D_F64, weight, .min = 0, .max = 1000000000, .help = "Share of the load among entries of this name, if the first of them has one."),
    ENTRY("rpm", D_F64, rpm, .min = 0, .max = 1000000000000, .help = "Requests per minute; serves as weight where there is none. Kept to by the usage-based strategies, and with router_settings.optional_pre_call_checks: [enforce_model_rate_limits]."),
    ENTRY("tpm", D_F64, tpm, .min = 0, .max = 1000000000000, .help = "Tokens per minute; serves as weight where there is neither weight nor rpm. Kept to as rpm is."),
    ENTRY("timeout", D_SECONDS_AS_MS, timeout_ms, .min = 0, .max = 24 * HOUR_S, .help = "Seconds for a whole answer; default: router_settings.timeout, litellm_settings.request_timeout, 600."),
    ENTRY("stream_timeout", D_SECONDS_AS_MS, stream_timeout_ms, .min = 0, .max = 24 * HOUR_S, .help = "Seconds for a stream's first token and between tokens; default: router_settings.stream_timeout, else as timeout."),
    ENTRY("max_parallel_requests", D_INT32, max_parallel_requests, .min = 0, .max = 1000000, .help = "Requests in flight at once; 0: no limit."),
    ENTRY("ssl_verify", D_BOOL, ssl_verify, .help = "Check the upstream's certificate; default: litellm_settings.ssl_verify."),
    PRICES(price),
    LATER("api_version", "Azure's API version."),
    ENTRY("order", D_INT32, order, .min = 0, .max = 1000000, .help = "Lower is preferred: a higher one is tried when all of the lower ones rest or have failed."),
    ENTRY("num_retries", D_INT32, num_retries, .min = 0, .max = 100, .help = "Attempts after the first, where the first was made here; default: router_settings.num_retries."),
    ENTRY("max_retries", D_INT32, num_retries, .min = 0, .max = 100, .help = "The same as num_retries."),
    ENTRY("cooldown_time", D_SECONDS_AS_MS, cooldown_ms, .min = 0, .max = 24 * HOUR_S, .help = "Seconds this deployment rests after failures; 0: never; default: router_settings.cooldown_time."),
    NODE("tags", D_LIST, "Names for router_settings.enable_tag_filtering; \"default\" takes requests without tags."),
    LATER("drop_params", "Leave out parameters that the model does not take."),
    LATER("additional_drop_params", "Further parameters to leave out."),
    LATER("region_name", "Region, for checks before the call."),
    LATER("vertex_project", "Vertex AI project."),
    LATER("vertex_location", "Vertex AI location."),
    {.key = "vertex_credentials", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "Vertex AI credentials."},
    {.key = "aws_access_key_id", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "Bedrock credentials."},
    {.key = "aws_secret_access_key", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "Bedrock credentials."},
    {.key = "aws_session_token", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "Bedrock credentials."},
    LATER("aws_region_name", "Bedrock region."),
    LATER("aws_bedrock_runtime_endpoint", "Bedrock endpoint."),
    LATER("watsonx_region_name", "watsonx region."),
    LATER("max_budget", "Budget of this deployment, USD."),
    LATER("budget_duration", "Time after which the budget starts again."),
    LATER("max_file_size_mb", "Largest audio upload."),
    LATER("mock_response", "A canned answer."),
    LATER("configurable_clientside_auth_params", "Parameters that a client may set."),
    LATER("litellm_credential_name", "Name in credential_list."),
    LATER("use_in_pass_through", "Use for pass-through endpoints."),
    LATER("use_litellm_proxy", "Send through another LiteLLM."),
    LATER("merge_reasoning_content_in_choices", "Put reasoning into the content."),
};

static const struct directive info_rows[] = {
    ENTRY("id", D_STR, id, .min = 1, .max = 256, .help = "Id of the deployment in logs, metrics and headers; default: a hash of the entry, stable over restarts."),
    ENTRY("mode", D_STR, mode, .max = 64, .help = "chat, embedding, completion, image_generation, ..."),
    ENTRY("base_model", D_STR, base_model, .max = 256, .help = "The name to look prices up by."),
    NODE("db_model", D_ANY, "Shown by /model/info."),
    ENTRY("max_input_tokens", D_INT, max_input_tokens, .min = 0, .max = 1000000000000, .help = "Longest prompt; router_settings.enable_pre_call_checks leaves the deployment out for longer ones."),
    NODE("max_output_tokens", D_ANY, "Shown by /model/info."),
    NODE("version", D_ANY, "Shown by /model/info."),
    PRICES(info_price),
    LATER("tier", "free or paid."),
    LATER("team_id", "The team that may use the model."),
    LATER("team_public_model_name", "The team's name for the model."),
    LATER("access_groups", "Groups of keys that may use the model."),
    ENTRY("health_check_model", D_STR, health_check_model, .max = 512, .help = "The model that completion health checks ask for; default: the entry's own. A wildcard needs one."),
    ENTRY("health_check_timeout", D_SECONDS_AS_MS, health_check_timeout_ms, .min = 1, .max = HOUR_S, .help = "Seconds a health check may take; default: 5 for a list of models, 60 for a completion."),
    ENTRY("engine", D_CHOICE, engine, .choices = engine_choices, .help = "What serves the model, to be asked for its load (docs/health.md): none, auto, ollama, vllm or llama.cpp; default: by provider."),
    LATER("health_check_voice", "Voice of health checks."),
};

static const struct directive litellm_rows[] = {
    NODE("logging", D_MAP, "The request log: litellm_settings.logging."),
    NODE("tracing", D_MAP, "Request ids and traces: litellm_settings.tracing."),
    SET("request_timeout", D_SECONDS_AS_MS, request_timeout_ms, .min = 0, .max = 24 * HOUR_S, .help = "Seconds for a whole answer, where neither deployment nor router say; default 600 (LiteLLM: 6000)."),
    SET("ssl_verify", D_BOOL, ssl_verify, .def = "true", .help = "Check upstreams' certificates."),
    SET("json_logs", D_BOOL, json_logs, .def = "false", .help = "weir's own messages (not the request log) as JSON lines."),
    SET("turn_off_message_logging", D_BOOL, turn_off_message_logging, .def = "false", .help = "Never log prompts and answers, whatever log_requests and log_responses say."),
    SET("require_auth_for_metrics_endpoint", D_BOOL, require_auth_for_metrics, .def = "false", .help = "/metrics asks for the master key."),
    NODE("callbacks", D_ANY, "Callbacks; \"prometheus\" is always on, others are not built yet."),
    NODE("success_callback", D_ANY, "As callbacks."),
    NODE("failure_callback", D_ANY, "As callbacks."),
    NODE("service_callback", D_ANY, "As callbacks; \"prometheus_system\" is always on."),
    {.key = "prometheus_latency_buckets", .type = D_LIST, .offset = DIRECTIVE_NOT_STORED, .restart = true, .help = "Upper bounds of latency histograms in seconds, ascending."},
    SET("drop_params", D_BOOL, drop_params, .def = "false", .later = true, .help = "Leave out parameters that the model does not take. Requests to OpenAI-compatible providers are passed on as they are."),
    LATER("redact_user_api_key_info", "Leave key details out of logs."),
    LATER("log_raw_request_response", "Log the raw exchange with the provider."),
    LATER("redact_messages_in_exceptions", "Leave prompts out of errors."),
    LATER("standard_logging_payload_excluded_fields", "Fields left out of LiteLLM's payload."),
    LATER("set_verbose", "Deprecated in LiteLLM."),
    LATER("s3_callback_params", "S3 logging."),
    LATER("extra_spend_tag_headers", "Headers that become spend tags."),
    LATER("disable_add_user_agent_to_request_tags", "No tag for the client's program."),
    LATER("modify_params", "Change requests to suit the model."),
    SET("num_retries", D_INT32, routing.num_retries, .min = 0, .max = 100, .help = "As router_settings.num_retries, which wins."),
    NODE("fallbacks", D_LIST, "As router_settings.fallbacks, which wins."),
    NODE("context_window_fallbacks", D_LIST, "As router_settings.context_window_fallbacks, which wins."),
    NODE("content_policy_fallbacks", D_LIST, "As router_settings.content_policy_fallbacks, which wins."),
    NODE("default_fallbacks", D_LIST, "As router_settings.default_fallbacks, which wins."),
    SET("allowed_fails", D_INT32, routing.allowed_fails, .min = 0, .max = 1000000, .help = "As router_settings.allowed_fails, which wins."),
    LATER("force_ipv4", "Only IPv4."),
    NODE("model_alias_map", D_MAP, "As router_settings.model_group_alias, over which it wins."),
    LATER("forward_traceparent_to_llm_provider", "Pass traceparent on (weir always continues it)."),
    LATER("return_response_headers", "Pass the provider's headers on."),
    LATER("network_mock", "LiteLLM's benchmark mode."),
    LATER("custom_provider_map", "Providers written in Python."),
    LATER("guardrails", "Checks of prompts and answers."),
    LATER("mcp_aliases", "Names of MCP servers."),
    SET("cache", D_BOOL, caching.on, .def = "false", .help = "Answer equal requests from a cache of answers (docs/cache.md)."),
    NODE("cache_params", D_MAP, "How the cache works: litellm_settings.cache_params."),
    LATER("enable_redis_auth_cache", "Keys cached in Redis."),
    LATER("post_call_rules", "Python functions that check answers."),
    SET("max_budget", D_F64, proxy.max_budget_usd, .def = "0", .min = 0, .max = 1000000000000, .help = "USD that all requests together may cost; 0: no limit. Then they get 400, but for models that cost nothing."),
    SET("budget_duration", D_STR, proxy.budget_duration_text, .max = 16, .help = "Time after which max_budget starts again: 30s, 30m, 12h, 30d, 2w, 1mo; \"\": never."),
    LATER("default_soft_budget", "Soft budget of new keys."),
    LATER("max_internal_user_budget", "Budget of new users."),
    LATER("max_end_user_budget", "Budget of end users."),
    LATER("max_end_user_budget_id", "Budget of end users, by id."),
    LATER("upperbound_key_generate_params", "Upper bounds for new keys."),
    LATER("default_key_generate_params", "Defaults of new keys."),
    LATER("default_internal_user_params", "Defaults of new users."),
    LATER("default_team_settings", "Settings of teams."),
    LATER("default_team_params", "Defaults of new teams."),
    LATER("key_generation_settings", "Who may make keys."),
    LATER("disable_end_user_cost_tracking", "No cost by end user."),
    LATER("cost_discount_config", "Discounts by provider."),
    LATER("cost_margin_config", "Margins by provider."),
    LATER("include_cost_in_streaming_usage", "Cost within the usage of streams."),
    LATER("custom_prometheus_metadata_labels", "Metric labels from metadata."),
    LATER("custom_prometheus_tags", "Metric labels from tags."),
    LATER("prometheus_metrics_config", "Choice of metrics and labels."),
    LATER("prometheus_initialize_budget_metrics", "Budget metrics at start."),
    LATER("disable_end_user_cost_tracking_prometheus_only", "No end user label."),
    LATER("enable_end_user_cost_tracking_prometheus_only", "An end user label."),
    LATER("prometheus_emit_stream_label", "A stream label."),
    LATER("prometheus_exclude_metrics", "Metrics left out."),
    LATER("prometheus_exclude_labels", "Labels left out."),
    LATER("prometheus_emit_input_sequence_length_label", "A prompt length label."),
    LATER("responses", "Settings of the responses API."),
    LATER("priority_reservation", "Share of the load by priority."),
    LATER("priority_reservation_settings", "Settings of priority_reservation."),
    LATER("model_group_settings", "Settings by model group."),
};

static const struct directive logging_rows[] = {
    SET("level", D_CHOICE, log_level_rank, .def = "INFO", .choices = level_choices, .help = "Lowest level written: INFO is every request, WARNING slow and failed ones, ERROR failed ones."),
    SET("log_format", D_CHOICE, log_format, .def = "json", .choices = format_choices, .help = "json: one object a line. text: one readable line."),
    SET("log_file", D_STR, log_file, .def = "/var/log/litellm/requests.log", .max = 4096, .restart = true, .help = "The request log; null or \"\": none."),
    SET("log_requests", D_BOOL, log_requests, .def = "false", .help = "Put requests' bodies into the log."),
    SET("log_responses", D_BOOL, log_responses, .def = "false", .help = "Put answers' bodies into the log."),
    SET("log_slow_requests", D_BOOL, log_slow_requests, .def = "true", .help = "Mark slow requests and log them as WARNING."),
    SET("slow_request_threshold_ms", D_MS, slow_request_threshold_ms, .def = "5000", .min = 0, .max = DAY_MS, .help = "What slow is."),
    SET("slow_request_threshold", D_SECONDS_AS_MS, slow_request_threshold_ms, .min = 0, .max = 24 * HOUR_S, .help = "The same in seconds."),
};

static const struct directive cache_rows[] = {
    SET("type", D_CHOICE, caching.type, .def = "local", .choices = cache_choices, .help = "Where answers are kept (LiteLLM's default: redis); only local, in memory, is built yet, and is used for all."),
    SET("ttl", D_SECONDS_AS_MS, caching.ttl_ms, .min = 0, .max = TEN_YEARS_S, .help = "Seconds an answer is kept, where its request does not say; default: default_in_memory_ttl."),
    SET("default_in_memory_ttl", D_SECONDS_AS_MS, caching.memory_ttl_ms, .def = "600", .min = 0, .max = TEN_YEARS_S, .help = "The same, where ttl is not given."),
    SET("mode", D_CHOICE, caching.mode, .def = "default_on", .choices = cache_mode_choices, .help = "default_off: only requests that ask for it (\"cache\": {\"use-cache\": true}) use the cache."),
    SET("namespace", D_STR, caching.space, .max = 256, .help = "Part of every key, where the request names none: answers are shared within a namespace only."),
    NODE("supported_call_types", D_LIST, "Calls that use the cache: completion, text_completion, embedding, or with an \"a\" before them; default: all."),
    LATER("default_in_redis_ttl", "Cache in Redis."),
    LATER("host", "Cache in Redis."),
    LATER("port", "Cache in Redis."),
    LATER("db", "Cache in Redis."),
    LATER("username", "Cache in Redis."),
    {.key = "password", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "Cache in Redis."},
    {.key = "url", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "Cache in Redis."},
    {.key = "redis_url", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "Cache in Redis."},
    LATER("max_connections", "Cache in Redis."),
    LATER("ssl", "Cache in Redis."),
    LATER("socket_timeout", "Cache in Redis."),
    LATER("redis_startup_nodes", "Cache in Redis."),
    LATER("redis_flush_size", "Cache in Redis."),
    LATER("sentinel_nodes", "Cache in Redis."),
    LATER("service_name", "Cache in Redis."),
    LATER("gcp_service_account", "Cache in Redis."),
    LATER("gcp_ssl_ca_certs", "Cache in Redis."),
    {.key = "sentinel_password", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "Cache in Redis."},
    LATER("similarity_threshold", "Semantic cache."),
    LATER("redis_semantic_cache_embedding_model", "Semantic cache."),
    LATER("redis_semantic_cache_index_name", "Semantic cache."),
    LATER("qdrant_semantic_cache_embedding_model", "Semantic cache."),
    LATER("qdrant_semantic_cache_vector_size", "Semantic cache."),
    LATER("qdrant_api_base", "Semantic cache."),
    LATER("qdrant_collection_name", "Semantic cache."),
    LATER("qdrant_quantization_config", "Semantic cache."),
    {.key = "qdrant_api_key", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "Semantic cache."},
    LATER("s3_bucket_name", "Cache in S3."),
    LATER("s3_region_name", "Cache in S3."),
    LATER("s3_api_version", "Cache in S3."),
    LATER("s3_use_ssl", "Cache in S3."),
    LATER("s3_verify", "Cache in S3."),
    LATER("s3_endpoint_url", "Cache in S3."),
    LATER("s3_config", "Cache in S3."),
    LATER("s3_path", "Cache in S3."),
    {.key = "s3_aws_access_key_id", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "Cache in S3."},
    {.key = "s3_aws_secret_access_key", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "Cache in S3."},
    {.key = "s3_aws_session_token", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "Cache in S3."},
    LATER("gcs_bucket_name", "Cache in Google Cloud Storage."),
    LATER("gcs_path_service_account", "Cache in Google Cloud Storage."),
    LATER("gcs_path", "Cache in Google Cloud Storage."),
    LATER("azure_account_url", "Cache in Azure Blob Storage."),
    LATER("azure_blob_container", "Cache in Azure Blob Storage."),
    LATER("disk_cache_dir", "Cache on disk."),
    LATER("enable_caching_on_provider_specific_optional_params", "Whether members that only some providers know are part of the key; here all are, always."),
};

static const struct directive tracing_rows[] = {
    SET("enabled", D_BOOL, tracing_enabled, .def = "true", .help = "Take part in W3C traces: continue traceparent, put trace ids into the log."),
    SET("generate_request_id", D_BOOL, generate_request_id, .def = "true", .help = "Make an id for requests that come without x-request-id."),
    SET("include_request_id_in_response", D_BOOL, include_request_id_in_response, .def = "true", .help = "x-request-id on every answer."),
    SET("sampling_rate", D_F64, sampling_rate, .def = "1.0", .min = 0, .max = 1, .help = "Share of new traces that are sampled."),
};

static const struct directive router_rows[] = {
    SET("routing_strategy", D_CHOICE, routing.strategy, .def = "simple-shuffle", .choices = strategy_choices, .help = "How to choose among the deployments of a model (docs/routing.md)."),
    NODE("model_group_alias", D_MAP, "Further names: alias to model, or to {model, hidden}."),
    SET("timeout", D_SECONDS_AS_MS, router_timeout_ms, .min = 0, .max = 24 * HOUR_S, .help = "Seconds for a whole answer, where the deployment does not say."),
    SET("stream_timeout", D_SECONDS_AS_MS, router_stream_timeout_ms, .min = 0, .max = 24 * HOUR_S, .help = "Seconds for a stream's first token and between tokens, where the deployment does not say."),
    NODE("routing_strategy_args", D_MAP, "Parameters of the strategy: router_settings.routing_strategy_args."),
    LATER("redis_url", "State shared through Redis."),
    LATER("redis_host", "State shared through Redis."),
    LATER("redis_port", "State shared through Redis."),
    {.key = "redis_password", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "State shared through Redis."},
    LATER("redis_db", "Deprecated in LiteLLM."),
    SET("cache_responses", D_BOOL, caching.router_on, .def = "false", .help = "The same as litellm_settings.cache: either switches the cache on."),
    LATER("cache_kwargs", "Response cache parameters."),
    LATER("caching_groups", "Groups that share a cache."),
    LATER("client_ttl", "Seconds a provider's client is kept."),
    LATER("polling_interval", "Priority scheduler."),
    LATER("default_priority", "Priority scheduler."),
    SET("num_retries", D_INT32, routing.num_retries, .def = "2", .min = 0, .max = 100, .help = "Attempts after the first one that failed, until one succeeds."),
    SET("max_fallbacks", D_INT32, routing.max_fallbacks, .def = "5", .min = 0, .max = 100, .help = "Most other models tried for a request."),
    LATER("default_litellm_params", "Defaults for litellm_params."),
    SET("default_max_parallel_requests", D_INT32, routing.default_max_parallel_requests, .def = "0", .min = 0, .max = 1000000, .help = "max_parallel_requests of deployments that do not say; 0: no limit."),
    NODE("fallbacks", D_LIST, "Other models to try, by model: [{gpt-4o: [claude, llama]}]; \"*\" for all others."),
    NODE("context_window_fallbacks", D_LIST, "The same, for prompts that are too long for the model."),
    NODE("content_policy_fallbacks", D_LIST, "The same, for content that the provider refused."),
    NODE("default_fallbacks", D_LIST, "Models to try for any other: a list of names."),
    SET("enable_pre_call_checks", D_BOOL, routing.pre_call_checks, .def = "false", .help = "Leave out deployments whose model_info.max_input_tokens is less than the prompt is estimated to have."),
    SET("enable_tag_filtering", D_BOOL, routing.tag_filtering, .def = "false", .help = "Choose among deployments that have the request's tags (x-litellm-tags, metadata.tags)."),
    SET("tag_filtering_match_any", D_BOOL, routing.tags_match_any, .def = "true", .help = "One tag in common is enough; else all of the request's must be there."),
    SET("retry_after", D_SECONDS_AS_MS, routing.retry_after_ms, .def = "0", .min = 0, .max = HOUR_S, .help = "Least seconds before a retry on the same deployment."),
    NODE("retry_policy", D_MAP, "Retries by kind of error, where num_retries is not meant: router_settings.retry_policy."),
    NODE("model_group_retry_policy", D_MAP, "The same by model: {gpt-4o: {TimeoutErrorRetries: 1}}; takes the place of retry_policy for it."),
    SET("allowed_fails", D_INT32, routing.allowed_fails, .def = "3", .min = 0, .max = 1000000, .help = "Failures in a row after which one more makes a deployment rest."),
    NODE("allowed_fails_policy", D_MAP, "The same by kind of error: router_settings.allowed_fails_policy."),
    SET("cooldown_time", D_SECONDS_AS_MS, routing.cooldown_ms, .def = "5", .min = 0, .max = 24 * HOUR_S, .help = "Seconds a failed deployment rests before one request tries it again; 0: never."),
    SET("disable_cooldowns", D_BOOL, routing.disable_cooldowns, .def = "false", .help = "Failed deployments do not rest."),
    NODE("optional_pre_call_checks", D_LIST, "A list: enforce_model_rate_limits (rpm and tpm of deployments), session_affinity, deployment_affinity, prompt_caching (prefix_affinity)."),
    LATER("provider_budget_config", "Budgets by provider."),
    LATER("alerting_config", "Alerts."),
    LATER("assistants_config", "Assistants."),
    LATER("search_tools", "Search tools."),
    LATER("guardrail_list", "Checks of prompts and answers."),
    LATER("ignore_invalid_deployments", "Start without deployments that are wrong."),
    LATER("set_verbose", "LiteLLM's debugging."),
    LATER("debug_level", "LiteLLM's debugging."),
    LATER("deployment_affinity_ttl_seconds", "How long a session stays; weir computes where it goes, and keeps no table that could forget it."),
    LATER("model_group_affinity_config", "Same client, same deployment."),
    SET("enable_health_check_routing", D_BOOL, routing.health_check_routing, .def = "false", .help = "Leave out deployments that the background health check found dead."),
    SET("health_check_staleness_threshold", D_SECONDS_AS_MS, routing.health_check_staleness_ms, .def = "600", .min = 1, .max = 24 * HOUR_S, .help = "Seconds after which a health check counts no more."),
    SET("health_check_ignore_transient_errors", D_BOOL, routing.health_check_ignores_transient, .def = "false", .help = "A health check that got 408 or 429 says nothing about where requests go."),
};

#define RETRIES(name, class, text) \
    SET(name "Retries", D_INT32, routing.retry_policy.by_class[class], .min = 0, .max = 100, .help = "Retries after " text)
#define ALLOWED(name, class, text) \
    SET(name "AllowedFails", D_INT32, routing.allowed_fails_policy.by_class[class], .min = 0, .max = 1000000, .help = "Allowed in a row: " text)
#define POLICY(ROW)                                                                                                                      \
    ROW("BadRequestError", FAILURE_BAD_REQUEST, "400, 422 and other faults of the request: too long a prompt, and refused content where that has no number of its own."), \
    ROW("NotFoundError", FAILURE_NOT_FOUND, "404."),                                                                                     \
    ROW("AuthenticationError", FAILURE_AUTHENTICATION, "401 and 403."),                                                                  \
    ROW("TimeoutError", FAILURE_TIMEOUT, "408, and what weir gave up waiting for."),                                                     \
    ROW("RateLimitError", FAILURE_RATE_LIMIT, "429."),                                                                                   \
    ROW("ContentPolicyViolationError", FAILURE_CONTENT_POLICY, "content that the provider refused."),                                    \
    ROW("InternalServerError", FAILURE_SERVER, "5xx, and connections refused or broken.")

static const struct directive retry_policy_rows[] = {POLICY(RETRIES)};
static const struct directive allowed_fails_rows[] = {
    POLICY(ALLOWED),
    LATER("ServiceUnavailableErrorAllowedFails", "503 by itself; it counts as InternalServerError."),
    LATER("BadGatewayErrorAllowedFails", "502 by itself; it counts as InternalServerError."),
};

static const struct directive strategy_args_rows[] = {
    SET("ttl", D_SECONDS_AS_MS, routing.latency_ttl_ms, .def = "3600", .min = 1, .max = 30 * 24 * HOUR_S, .help = "latency-based-routing: seconds after which a measurement counts no more."),
    SET("lowest_latency_buffer", D_F64, routing.lowest_latency_buffer, .def = "0", .min = 0, .max = 100, .help = "latency-based-routing: who is slower than the fastest by no more than this share of its time is as good."),
    LATER("max_latency_list_size", "LiteLLM's last measurements; weir keeps decayed means."),
};

static const struct directive general_rows[] = {
    SET("master_key", D_SECRET, master_key, .max = 512, .help = "The key clients must send; none: everything is open. Default: the environment's LITELLM_MASTER_KEY."),
    SET("litellm_key_header_name", D_STR, key_header, .max = 128, .help = "A header field of your own that carries the client's key."),
    SET("global_max_parallel_requests", D_INT32, global_max_parallel_requests, .def = "0", .min = 0, .max = 10000000, .help = "Requests in flight at once; 0: no limit. More get 429."),
    {.key = "database_url", .type = D_SECRET, .offset = DIRECTIVE_NOT_STORED, .later = true, .help = "LiteLLM's database."},
    LATER("database_connection_pool_limit", "LiteLLM's database."),
    LATER("database_connection_timeout", "LiteLLM's database."),
    LATER("allow_requests_on_db_unavailable", "LiteLLM's database."),
    LATER("store_model_in_db", "LiteLLM's database."),
    LATER("disable_spend_logs", "LiteLLM's database."),
    LATER("disable_error_logs", "LiteLLM's database."),
    LATER("disable_spend_updates", "LiteLLM's database."),
    LATER("store_prompts_in_spend_logs", "LiteLLM's database."),
    LATER("maximum_spend_logs_retention_period", "LiteLLM's database."),
    LATER("maximum_spend_logs_retention_interval", "LiteLLM's database."),
    LATER("maximum_spend_logs_cleanup_cron", "LiteLLM's database."),
    LATER("proxy_batch_write_at", "LiteLLM's database."),
    LATER("proxy_budget_rescheduler_min_time", "Budgets."),
    LATER("proxy_budget_rescheduler_max_time", "Budgets."),
    LATER("user_api_key_cache_ttl", "Seconds a key is cached."),
    LATER("use_redis_transaction_buffer", "LiteLLM's database."),
    SET("background_health_checks", D_BOOL, background_health_checks, .def = "false", .help = "Check every deployment's health all the time; /health then answers what was found last."),
    SET("health_check_interval", D_SECONDS_AS_MS, health_check_interval_ms, .def = "300", .min = 1, .max = 24 * HOUR_S, .help = "Seconds between two background checks of a deployment, give or take a tenth."),
    SET("health_check_details", D_BOOL, health_check_details, .def = "true", .help = "false: /health shows nothing of a deployment but its model."),
    LATER("use_shared_health_check", "Health checks shared through Redis."),
    LATER("alerting", "Alerts."),
    LATER("alerting_threshold", "Seconds after which a request is reported."),
    LATER("alert_types", "Alerts."),
    LATER("alert_to_webhook_url", "Alerts."),
    LATER("alerting_args", "Alerts."),
    SET("max_parallel_requests", D_INT32, key_max_parallel_requests, .def = "0", .min = 0, .max = 10000000, .help = "Requests in flight at once of each virtual key that has no max_parallel_requests of its own; 0: no limit."),
    SET("token_rate_limit_type", D_CHOICE, token_rate_limit_type, .def = "total", .choices = token_choices, .help = "Which tokens count for a key's tpm_limit: of prompt and answer, of the answer, of the prompt."),
    LATER("infer_model_from_keys", "Models for all keys found in the environment."),
    LATER("completion_model", "One model for all chat requests."),
    LATER("embedding_model", "One model for all embeddings."),
    LATER("image_generation_model", "One model for all images."),
    LATER("moderation_model", "One model for all moderations."),
    LATER("max_request_size_mb", "Largest request; see weir_settings.max_request_body_bytes."),
    LATER("max_response_size_mb", "Largest answer."),
    LATER("custom_auth", "Python code that checks keys."),
    LATER("custom_key_generate", "Python code that makes keys."),
    LATER("pass_through_endpoints", "Paths passed on as they are."),
    LATER("allowed_routes", "Paths that are open."),
    LATER("allowed_ips", "Client addresses let in."),
    LATER("public_routes", "Paths that need no key."),
    LATER("admin_only_routes", "Paths for admins."),
    LATER("enforced_params", "Parameters every request must have."),
    LATER("enable_jwt_auth", "JWT."),
    LATER("litellm_jwtauth", "JWT."),
    LATER("enable_oauth2_auth", "OAuth 2."),
    LATER("use_x_forwarded_for", "The client's address from X-Forwarded-For."),
    LATER("user_header_name", "The end user from a header."),
    LATER("user_header_mappings", "The end user from headers."),
    LATER("enforce_user_param", "Every request must have a user."),
    LATER("forward_client_headers_to_llm_api", "Pass the client's headers on."),
    LATER("forward_openai_org_id", "Pass the client's organization on."),
    LATER("disable_master_key_return", "LiteLLM's user interface."),
    LATER("disable_adding_master_key_hash_to_db", "LiteLLM's database."),
    LATER("service_account_settings", "Service accounts."),
    LATER("ui_access_mode", "LiteLLM's user interface."),
    LATER("key_management_system", "A secret manager."),
    LATER("key_management_settings", "A secret manager."),
    LATER("always_include_stream_usage", "Usage at the end of every stream (weir always asks for it)."),
};

static const struct directive weir_rows[] = {
    SET("host", D_STR, host, .def = "0.0.0.0", .min = 1, .max = 256, .restart = true, .help = "Address to listen on: IPv4, IPv6, or unix:/path."),
    SET("port", D_INT, port, .def = "4000", .min = 0, .max = 65535, .restart = true, .help = "Port to listen on; 0: any free one."),
    SET("workers", D_INT32, workers, .def = "0", .min = 0, .max = 1024, .restart = true, .help = "Worker threads; 0: one a core."),
    SET("tls_cert_file", D_STR, tls_cert_file, .max = 4096, .help = "PEM file with the certificate and its chain: listen with TLS."),
    SET("tls_key_file", D_STR, tls_key_file, .max = 4096, .help = "PEM file with the certificate's key."),
    SET("ca_file", D_STR, ca_file, .max = 4096, .help = "PEM file with the authorities that upstreams' certificates are checked against; default: the system's."),
    SET("max_request_body_bytes", D_BYTES, max_request_body_bytes, .def = "64MiB", .min = 1024, .max = 4294967296, .help = "Largest request body; more gets 413."),
    SET("max_header_bytes", D_BYTES, max_header_bytes, .def = "65536", .min = 1024, .max = 1048576, .help = "Largest request head; more gets 431."),
    SET("max_connections", D_INT, max_connections, .def = "65536", .min = 1, .max = 10000000, .help = "Client connections at once, all workers together."),
    SET("header_timeout_ms", D_MS, header_timeout_ms, .def = "10000", .min = 1, .max = DAY_MS, .help = "Time for a request's head to arrive."),
    SET("body_timeout_ms", D_MS, body_timeout_ms, .def = "30000", .min = 1, .max = DAY_MS, .help = "Longest silence within a request's body."),
    SET("idle_timeout_ms", D_MS, idle_timeout_ms, .def = "120000", .min = 1, .max = DAY_MS, .help = "How long an idle client connection is kept."),
    SET("drain_timeout_ms", D_MS, drain_timeout_ms, .def = "30000", .min = 0, .max = DAY_MS, .help = "How long a shutdown waits for requests in flight."),
    SET("connect_timeout_ms", D_MS, connect_timeout_ms, .def = "5000", .min = 1, .max = DAY_MS, .help = "Time to connect to an upstream, TLS included."),
    SET("upstream_idle_timeout_ms", D_MS, upstream_idle_timeout_ms, .def = "60000", .min = 0, .max = DAY_MS, .help = "How long an idle upstream connection is kept."),
    SET("log_body_bytes", D_BYTES, log_body_bytes, .def = "4096", .min = 0, .max = 1048576, .help = "Most bytes of a body in a log line; the rest is cut and marked."),
    SET("log_ring_bytes", D_BYTES, log_ring_bytes, .def = "4194304", .min = 65536, .max = 1073741824, .restart = true, .help = "Log ring of each worker: records wait here for the writer, and outlive a crash."),
    SET("log_ring_dir", D_STR, log_ring_dir, .max = 4096, .restart = true, .help = "Folder of the log rings and of the numbers that keys spent since the database was written last; \"\": chosen by itself."),
    SET("session_affinity", D_BOOL, routing.session_affinity, .def = "true", .help = "Requests of one session stay at one deployment while it is in rotation."),
    SET("prefix_affinity", D_BOOL, routing.prefix_affinity, .def = "false", .help = "So do requests without a session that begin with the same prompt, for the provider's prompt cache."),
    SET("first_token_timeout_ms", D_MS, routing.first_token_timeout_ms, .def = "0", .min = 0, .max = DAY_MS, .help = "Streams: time from request sent to first token; 0: as stream_timeout."),
    SET("silence_timeout_ms", D_MS, routing.silence_timeout_ms, .def = "0", .min = 0, .max = DAY_MS, .help = "Streams: longest silence after the first token; 0: as stream_timeout."),
    SET("stream_total_timeout_ms", D_MS, routing.stream_total_timeout_ms, .def = "0", .min = 0, .max = DAY_MS, .help = "Streams: time for the whole of one; 0: no limit."),
    SET("hedge_percentile", D_F64, routing.hedge_percentile, .def = "0", .min = 0, .max = 100, .help = "A second attempt at another deployment when the first token is later than this percentile of the model's; 0: never."),
    SET("hedge_max_share", D_F64, routing.hedge_max_share, .def = "0.05", .min = 0, .max = 1, .help = "Largest share of a model's requests that get a second attempt this way."),
    SET("hedge_min_ms", D_MS, routing.hedge_min_ms, .def = "10", .min = 0, .max = DAY_MS, .help = "Never a second attempt this way earlier than this."),
    SET("reserve_output_tokens", D_INT, reserve_output_tokens, .def = "256", .min = 0, .max = 1000000, .help = "tpm_limit: tokens reserved for the answer to a request without max_tokens, until the key's own answers show what they take."),
    SET("cache_bytes", D_BYTES, caching.bytes, .def = "64MiB", .min = 65536, .max = 1099511627776, .restart = true, .help = "Memory of the response cache, all told: answers kept, their bookkeeping, and answers still arriving."),
    SET("cache_item_bytes", D_BYTES, caching.item_bytes, .def = "1MiB", .min = 1024, .max = 137438953472, .restart = true, .help = "Largest answer kept; at most, and with a small cache by default, an eighth of cache_bytes."),
    SET("series_budget", D_INT, series_budget, .def = "6000", .min = 16, .max = 1000000, .restart = true, .help = "Most label combinations of request metrics that a worker holds; what comes after is counted as \"other\", the key first, the model last. The default has room for 200 models at 4 providers each and 50 keys."),
    SET("cors_origin", D_STR, cors_origin, .def = "*", .max = 1024, .help = "Access-Control-Allow-Origin; \"\": no CORS headers."),
    SET("key_file", D_STR, key_file, .max = 4000, .restart = true, .help = "SQLite file of the keys made by /key/generate, and of what all keys have spent; default: keys.db in $STATE_DIRECTORY, else in the working folder; \"\": no keys by the API."),
    NODE("keys", D_LIST, "Virtual keys, beside those made by the API (docs/keys.md)."),
    SET("watch_config", D_BOOL, watch_config, .def = "true", .help = "Reload when the file, or one it includes or names (prices_file, tls_cert_file, tls_key_file, ca_file), changes on disk."),
    SET("prices_file", D_STR, prices_file, .max = 4096, .help = "Prices in LiteLLM's format (model_prices_and_context_window.json), asked before the built-in ones."),
    SET("health_check", D_CHOICE, health_check, .def = "models", .choices = health_check_choices, .help = "What a health check asks: models (GET /models, costs nothing) or completion (one token, as LiteLLM)."),
    SET("engine_poll_ms", D_MS, engine_poll_ms, .def = "10000", .min = 0, .max = DAY_MS, .help = "How often engines (ollama, vllm, llama.cpp) are asked for their load; 0: never."),
};

static const struct directive key_rows[] = {
    KEY("key", D_SECRET, key, .min = 1, .max = 128, .help = "The key itself, mostly os.environ/NAME; or key_hash."),
    KEY("key_hash", D_STR, key_hash, .min = 64, .max = 64, .help = "SHA-256 of the key, in hex, where the file should not know the key."),
    KEY("key_alias", D_STR, key_alias, .max = 128, .help = "Its name in log and metrics."),
    KEY("user_id", D_STR, user_id, .max = 256, .help = "Whose key it is."),
    KEY("team_id", D_STR, team_id, .max = 256, .help = "Whose team's."),
    NODE("models", D_LIST, "Models it may use: names, aliases, wildcards (openai/*); default: all."),
    KEY("rpm_limit", D_INT, rpm_limit, .max = 1000000000, .help = "Requests a minute."),
    KEY("tpm_limit", D_INT, tpm_limit, .max = 1000000000, .help = "Tokens a minute."),
    KEY("max_parallel_requests", D_INT, max_parallel_requests, .max = 1000000, .help = "Requests in flight at once."),
    KEY("max_budget", D_F64, max_budget, .max = 1000000, .help = "US dollars it may spend."),
    KEY("budget_duration", D_STR, budget_duration, .max = 16, .help = "After this the budget starts again: 30s, 30m, 12h, 30d, 2w, 1mo; counted from 1970, so that 1d ends at midnight UTC and 1mo with the month."),
    KEY("expires", D_STR, expires, .max = 64, .help = "When it ends: 2026-12-31, 2026-12-31T12:00:00Z."),
    KEY("blocked", D_BOOL, blocked, .help = "Refuse it."),
    NODE("metadata", D_MAP, "Shown by /key/info."),
};

#define SECTION(name, struct_, table, text, ...) {.path = name, .base = struct_, .rows = table, .count = COUNT(table), .help = text, __VA_ARGS__}

const struct directive_section directive_sections[] = {
    SECTION("", IN_CONFIG, top_rows, "The file's top level."),
    SECTION("model_list", IN_MODEL_ENTRY, model_rows, "Each entry of the list."),
    SECTION("litellm_params", IN_MODEL_ENTRY, params_rows, "model_list[].litellm_params. Unknown keys are kept and shown by /model/info.", .keeps_unknown = true),
    SECTION("model_info", IN_MODEL_ENTRY, info_rows, "model_list[].model_info. Unknown keys are kept and shown by /model/info.", .keeps_unknown = true),
    SECTION("litellm_settings", IN_CONFIG, litellm_rows, "Logging, tracing, and defaults for all requests."),
    SECTION("litellm_settings.logging", IN_CONFIG, logging_rows, "The request log. A stock LiteLLM accepts this block and does nothing with it."),
    SECTION("litellm_settings.cache_params", IN_CONFIG, cache_rows, "The response cache (docs/cache.md)."),
    SECTION("litellm_settings.tracing", IN_CONFIG, tracing_rows, "Request ids and traces. A stock LiteLLM accepts this block and does nothing with it."),
    SECTION("router_settings", IN_CONFIG, router_rows, "Choosing among deployments."),
    SECTION("router_settings.routing_strategy_args", IN_CONFIG, strategy_args_rows, "Parameters of the strategy."),
    SECTION("router_settings.retry_policy", IN_CONFIG, retry_policy_rows, "Retries by kind of error; for one that is not named, num_retries. model_group_retry_policy has these keys for each model."),
    SECTION("router_settings.allowed_fails_policy", IN_CONFIG, allowed_fails_rows, "Failures of a kind, in a row, after which one more makes a deployment rest; for one that is not named, allowed_fails."),
    SECTION("general_settings", IN_CONFIG, general_rows, "The gateway itself: keys and limits."),
    SECTION("weir_settings", IN_CONFIG, weir_rows, "What LiteLLM has no setting for. A stock LiteLLM ignores this section."),
    SECTION("weir_settings.keys", IN_KEY_ENTRY, key_rows, "Each virtual key of the list."),
};
// clang-format on
const size_t directive_section_count = COUNT(directive_sections);
