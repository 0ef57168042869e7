/* config.h -- one immutable snapshot of the configuration, made from LiteLLM's YAML (facts: docs/config.md, generated).
 *
 * config_load reads, checks and resolves everything (environment variables, providers, prices, URLs), so nothing on a request's road
 * has to parse or look up again. A snapshot is never changed after config_load returned it: any thread may read it while it holds a
 * reference. Strings are NUL-terminated behind their end and owned by the snapshot. */
#pragma once

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "config/caching.h"
#include "config/health.h"
#include "config/key_facts.h"
#include "config/prices.h"
#include "config/providers.h"
#include "config/routing.h"

struct yaml_node;

struct config_header {
    struct str name, value;
};

/* Where an upstream is: the parsed api_base. */
struct endpoint {
    bool tls;
    struct str host; /* name, IP literal without brackets, or "unix:/path", "unix:@abstract" */
    uint16_t port;
    struct str
        authority; /* for the Host header: "api.openai.com", "127.0.0.1:8000", "localhost" for Unix sockets */
    struct str path; /* "/v1", no trailing slash; "" for none */
};

/* One row of model_list. */
struct deployment {
    uint32_t id;           /* index in config.deployments */
    struct str model_name; /* the public name (group); may hold '*' */
    struct str model_id; /* model_info.id, or a sha256 as LiteLLM makes it: stable over restarts */
    struct str litellm_model;  /* litellm_params.model as written: "groq/llama-3.1-8b" */
    struct str upstream_model; /* without the provider's prefix; may hold '*' */
    const struct provider_info *provider;
    struct str provider_name; /* provider->name */
    struct str
        api_base; /* as shown in logs, headers and metrics: no credentials, no query, no trailing slash */
    struct endpoint endpoint;
    uint32_t
        target; /* deployments of equal (endpoint, tls settings) share one connection pool: index below config.target_count */
    struct str authorization; /* whole header value, "Bearer sk-..."; "" for none. Secret. */
    const struct config_header *extra_headers;
    int extra_header_count;
    bool ssl_verify;
    double weight, rpm, tpm; /* negative: not given */
    int64_t timeout_ms,
        stream_timeout_ms;     /* resolved: deployment's, else router's, else litellm_settings' */
    int max_parallel_requests; /* 0: no limit */
    int order;                 /* lower is preferred; 0 where not given */
    int num_retries;           /* negative: as the router's */
    int64_t cooldown_ms;       /* negative: as the router's */
    int64_t max_input_tokens;  /* model_info's; negative: not given */
    const struct str *tags;
    int tag_count;
    struct price price; /* custom price, else from the tables; price.known says */
    struct str mode;    /* model_info.mode, or "" */
    struct str
        model_info_json; /* whole model_info as JSON object (for /model/info), with id and db_model */
    struct str
        params_json; /* litellm_params as JSON without secrets (for /model/info and /health) */
    bool builtin;    /* one of weir's simulated models */
    struct str
        health_check_model; /* asked by completion checks instead of upstream_model; "": that one */
    int64_t health_check_timeout_ms; /* negative: not given */
    enum engine_kind engine;
    const struct yaml_node *item; /* the entry of model_list, for config_diff */
};

struct model_group {
    struct str name;
    struct deployment **deployments;
    int count;
    bool wildcard;
    double weight_total; /* simple-shuffle: sum of the weights in use, 0: uniform */
};

/* What a name leads to. */
struct model_ref {
    const struct model_group *group;
    struct str matched; /* what '*' of the group's name stands for, or STR_NONE */
};

struct config_note { /* what the loader has to say: errors and warnings */
    bool is_error;
    int line, column; /* 0: no place in a file */
    const char *file;
    struct str text;
};

/* Which tokens count. In the order of directive_tables.c's token_choices. */
enum token_kind { TOKENS_TOTAL, TOKENS_OUTPUT, TOKENS_INPUT };

enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_TEXT };

struct config {
    /* ---- model_list ---- */
    struct deployment *deployments;
    uint32_t deployment_count, target_count;
    struct model_group *groups; /* in the file's order, exact ones first */
    uint32_t group_count;
    uint32_t exact_count;          /* how many of them are no patterns */
    uint32_t catch_all;            /* index of the first that is but "*"; group_count: none */
    struct map group_by_name;      /* model_names: struct model_group */
    struct map names;              /* struct model_ref by deployment's id, alias, model_name */
    struct map upstream_names;     /* the same by litellm_params.model, asked behind the patterns */
    struct model_ref unknown_name; /* where all others lead (default_fallbacks), or .group NULL */
    struct str *
        model_names; /* what /v1/models lists: groups, then aliases that are not hidden; sorted as in the file */
    uint32_t model_name_count;

    /* ---- litellm_settings.logging ---- */
    struct str log_level; /* "DEBUG".."ERROR": lowest level written */
    int log_level_rank;   /* 0 DEBUG, 1 INFO, 2 WARNING, 3 ERROR */
    enum log_format log_format;
    struct str log_file;              /* "" = no log */
    bool log_requests, log_responses; /* bodies into the record */
    bool log_slow_requests;
    int64_t slow_request_threshold_ms;
    /* ---- litellm_settings.tracing ---- */
    bool tracing_enabled, generate_request_id, include_request_id_in_response;
    double sampling_rate; /* share of traces sampled (W3C flag, trace_id in the record) */
    /* ---- litellm_settings, other ---- */
    bool drop_params, json_logs, turn_off_message_logging, require_auth_for_metrics;
    bool ssl_verify; /* for deployments that do not say */
    int64_t
        request_timeout_ms; /* for deployments and router that do not say; negative: not given */
    struct key_facts
        proxy; /* max_budget and budget_duration of all requests, as if of one key; its name never a label */
    double *latency_buckets; /* seconds, ascending, without +Inf; NULL: LiteLLM's own */
    int latency_bucket_count;

    /* ---- router_settings ---- */
    int64_t router_timeout_ms,
        router_stream_timeout_ms; /* for deployments that do not say; negative: not given */

    struct routing routing;
    struct caching caching;

    /* ---- general_settings ---- */
    struct str master_key;            /* "" = everything is open. Secret. */
    struct str key_header;            /* litellm_key_header_name, or "" */
    int global_max_parallel_requests; /* 0: no limit */
    int key_max_parallel_requests;    /* of keys that do not say; 0: no limit */
    int token_rate_limit_type;        /* enum token_kind */
    bool background_health_checks, health_check_details;
    int64_t health_check_interval_ms; /* of background checks */

    /* ---- weir_settings ---- */
    struct str host;
    int64_t port;
    int workers; /* 0: one a core */
    struct str tls_cert_file, tls_key_file, ca_file;
    int64_t max_request_body_bytes, max_header_bytes, max_connections;
    int64_t header_timeout_ms, body_timeout_ms, idle_timeout_ms, drain_timeout_ms,
        connect_timeout_ms, upstream_idle_timeout_ms;
    int64_t log_body_bytes;        /* cap on `request` and `response` in a log line */
    int64_t log_ring_bytes;        /* per worker */
    struct str log_ring_dir;       /* "" = choose */
    int64_t reserve_output_tokens; /* for an answer whose length nothing tells */
    int64_t series_budget;
    struct str cors_origin;       /* "*" default; "" = no CORS headers */
    struct str key_file;          /* "": no keys by the API */
    bool key_file_given;          /* else it is the default place */
    const struct key_facts *keys; /* weir_settings.keys */
    int key_count;
    bool watch_config; /* reload when the file changes on disk */
    struct str prices_file;
    const struct prices *prices; /* prices_file's, for prices_find; NULL: none given */
    int health_check;            /* enum health_check */
    int64_t engine_poll_ms;      /* 0: engines are not asked */

    /* ---- about the snapshot ---- */
    struct str path;    /* "" when none was read */
    const char **files; /* all that was read: `path`, then those it includes */
    int file_count;
    struct yaml_node
        *tree; /* as read, includes merged and the environment put in: config_diff compares it */
    struct config_note *notes; /* warnings: unknown keys, keys not built yet, unset variables */
    int note_count;
    int64_t loaded_real_us;
    struct arena arena;
    int references; /* atomic */
};

struct config_options {
    const char *path; /* NULL: no file, only what discovery found */
    struct str
        text; /* used instead of reading `path` when .p is not NULL (tests, fuzzers, discovery) */
    const char *
        builtin_base; /* api_base of the built-in simulated provider, or NULL: sim/ models are then refused */
    bool add_builtin_models; /* sim-fast, sim-slow, ... are added to model_list */
    /* Told of every file that is read, the ones that cannot be included: what to watch. May be NULL. */
    void (*on_file)(void *arg, const char *path);
    void *on_file_arg;
    bool strict; /* notes on a place in a file become errors (check config --strict) */
    bool
        sealed; /* text only: no file is read, the environment is neither read nor written (fuzzers) */
};

/* NULL with the first error in `e`. On success references is 1. [control] */
struct config *config_load(const struct config_options *o, struct err *e);
/* Every error and warning of a file, in order, for `weir check config`; returns how many were errors. */
int config_check(const struct config_options *o, struct arena *a, struct config_note **notes,
                 int *note_count);
/* Where a gateway with this configuration listens. Mistakes elsewhere in the file do not matter: one that runs already keeps what it had. False with the
 * first error in `e` when there are any; what could not be read has its default. Texts belong to `a`. */
struct config_listener {
    struct str host; /* as weir_settings.host */
    uint16_t port;
    bool tls;
};
bool config_listener(const struct config_options *o, struct arena *a, struct config_listener *out,
                     struct err *e);
void config_get(struct config *c); /* one more reference [any] */
void config_put(struct config *c); /* frees the snapshot with the last one [any] */

/* Resolves a model name as LiteLLM: id of a deployment, alias, exact, pattern (longest literal part first), "*", litellm_params.model, first
 * default fallback: see model_names.c. NULL: unknown. `matched` (may be NULL) gets what '*' stood for. A group with .wildcard is one
 * that strangers' names lead to: such a name is never a label. [any] */
const struct model_group *config_group(const struct config *c, struct str model,
                                       struct str *matched);
/* "http://host:1234/v1" and "unix:/path" (with "http+unix://" too). */
MUST_USE bool endpoint_parse(struct arena *a, struct str url, struct endpoint *out, struct err *e);
