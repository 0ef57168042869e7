/* routing.h -- what router_settings (and the same keys of litellm_settings) say about choosing, trying again and falling back.
 *
 * Part of the snapshot (struct config); filled by directive_tables.c's rows and routing.c. The meaning of each key is told in docs/routing.md.
 * The functions only read: any thread may call them. */
#pragma once

#include "base/str.h"

/* In the order of directive_tables.c's strategy_choices. */
enum routing_strategy {
    STRATEGY_SIMPLE_SHUFFLE,
    STRATEGY_LEAST_BUSY,
    STRATEGY_USAGE,
    STRATEGY_USAGE_V2,
    STRATEGY_LATENCY,
    STRATEGY_COST,
};

/* How an attempt failed, as retry policies, cooldowns and fallbacks tell failures apart. */
enum failure_class {
    FAILURE_NONE,
    FAILURE_BAD_REQUEST, /* 400, 422 and the other 4xx: the request's own fault */
    FAILURE_CONTEXT_WINDOW,
    FAILURE_CONTENT_POLICY,
    FAILURE_AUTHENTICATION, /* 401, 403 */
    FAILURE_NOT_FOUND,      /* 404 */
    FAILURE_TIMEOUT,        /* 408, and weir's own time-outs */
    FAILURE_RATE_LIMIT,     /* 429 */
    FAILURE_SERVER,         /* 5xx, 409 */
    FAILURE_CONNECTION,     /* not reached, closed, no HTTP, cut short */
    FAILURE_CLASS_COUNT
};

/* A number by class of failure: retries, or failures allowed. Negative: not given. */
struct failure_policy {
    int by_class[FAILURE_CLASS_COUNT];
};

/* What to try instead of a model group, in order. */
struct fallback {
    struct str from; /* a model's name; "*" for any */
    const struct str *to;
    int count; /* 0: none are wanted, not even the default ones */
};

enum fallback_kind {
    FALLBACK_GENERAL, /* default_fallbacks are its row "*" */
    FALLBACK_CONTEXT_WINDOW,
    FALLBACK_CONTENT_POLICY,
    FALLBACK_KIND_COUNT
};

struct fallback_table {
    const struct fallback *rows;
    int count;
};

struct group_retry_policy {
    struct str group;
    struct failure_policy policy;
};

struct routing {
    enum routing_strategy strategy;
    /* routing_strategy_args */
    int64_t latency_ttl_ms;       /* a measurement older than this counts no more */
    double lowest_latency_buffer; /* share above the lowest within which the choice is random */

    int num_retries;        /* after the first attempt, for what no policy names */
    int64_t retry_after_ms; /* least wait before a retry on the same deployment */
    struct failure_policy retry_policy;
    const struct group_retry_policy *group_retry_policies;
    int group_retry_policy_count;

    struct fallback_table fallbacks[FALLBACK_KIND_COUNT];
    int max_fallbacks;

    int allowed_fails; /* failures in a row a deployment may have and stay in rotation */
    struct failure_policy allowed_fails_policy;
    int64_t cooldown_ms;
    bool disable_cooldowns;

    bool pre_call_checks;     /* max_input_tokens of model_info against the prompt's estimate */
    bool enforce_rate_limits; /* rpm and tpm of deployments (optional_pre_call_checks) */
    bool tag_filtering;       /* enable_tag_filtering */
    bool tags_match_any;      /* else all of the request's tags */
    bool session_affinity;    /* requests of a session stay at a deployment */
    bool
        prefix_affinity; /* those with the same beginning of prompt too, where no session is named */
    int default_max_parallel_requests; /* of a deployment that does not say; 0: no limit */
    bool health_check_routing;         /* leave out what the background health check found dead */
    int64_t health_check_staleness_ms;
    bool health_check_ignores_transient; /* 408 and 429: neither alive nor dead */

    /* weir_settings */
    double
        hedge_percentile; /* of the group's times to first token, after which a second attempt starts; 0: never */
    double hedge_max_share; /* of requests that may be hedged, 0 to 1 */
    int64_t hedge_min_ms;   /* and never earlier than this */
    int64_t first_token_timeout_ms, silence_timeout_ms,
        stream_total_timeout_ms; /* streams; 0: as stream_timeout, none for the total */
};

/* Before the rows' defaults: nothing is said by any policy. */
void routing_init(struct routing *r);
/* What to try where `group`, that was asked for as `asked`, cannot answer: the row of the name asked for, else of the group's, else of these
 * without a provider's prefix, else "*". NULL: none. Names in it are known to config_group. */
const struct fallback *routing_fallback(const struct routing *r, enum fallback_kind kind,
                                        struct str asked, struct str group);
/* Retries after a failure of this class, as the group's policy says, else (there is none) retry_policy. Negative: they do not say; then
 * the deployment's num_retries holds, then the router's. */
int routing_policy_retries(const struct routing *r, struct str asked, struct str group,
                           enum failure_class class);
