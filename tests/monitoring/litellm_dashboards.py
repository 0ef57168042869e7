"""The queries of LiteLLM's own published Grafana dashboards, and whether they find series at a weir.

LiteLLM publishes four: dashboard_1 "LLM Proxy", dashboard_v2 "LiteLLM Prod v2", dashboard_all_metrics (95 panels, 134 families, written by a few patterns),
and one of OpenTelemetry's names. queries() lists them: (dashboard, panel, expr, reason). reason is None where the query must find series; else it
says why weir has no such thing, and then the query must find none: the day it does, this table is to be put right.
"""
import collections

Query = collections.namedtuple("Query", "dashboard panel expr reason")

# ---- why there is no such thing ----

GUARDRAILS = "weir has no guardrails"
MCP = "weir is no MCP gateway"
FILES = "weir relays files and batches nowhere"
TEAMS = "weir's keys have a team's name, but teams have no budgets of their own"
PEOPLE = "weir keeps no users, organisations or customers: keys only"
REDIS = "weir uses no Redis"
DATABASE = "weir keeps no database of spend: the log has each request's"
CALLBACKS = "weir's sinks are not LiteLLM's callbacks"
ADMISSION = "weir has no queue before a request is admitted: it takes or refuses it"
PROVIDER_BUDGET = "weir has no budgets by provider"
QUEUE = "not observed by LiteLLM either; weir_queue_seconds has it"
MEDIA = "weir relays images, video and audio without counting them"
OTEL = "OpenTelemetry's names: not Prometheus's /metrics"
KEY_LIMITS = "a key's limits hold for all models: litellm_api_key_rate_limit_*"
CACHE_WRITES = "tokens written to a provider's cache are in the spend, and not counted apart"
ROUTER = "a request is one call of the router: litellm_self_* counts them"
AUTH = "a key is looked up in memory, in microseconds: weir_overhead_seconds has them"
PRE_CALL = "weir has no hooks before a call"

# ---- dashboard_1 and dashboard_v2: as they are published, one by one ----

OLD = [
    ("dashboard_1", "Time to first token", 'histogram_quantile(0.99, sum(rate(litellm_self_latency_bucket{self="self"}[1m])) by (le))', None),
    ("dashboard_1", "Spend by key", "sum(increase(litellm_spend_metric_total[30d])) by (hashed_api_key)", None),
    ("dashboard_1", "Requests by model", "sum by (model) (increase(litellm_requests_metric_total[5m]))", None),
    ("dashboard_1", "Failed requests", "sum(increase(litellm_llm_api_failed_requests_metric_total[1h]))", None),
    ("dashboard_1", "Spend by model", "sum(increase(litellm_spend_metric_total[30d])) by (model)", None),
    ("dashboard_1", "Tokens (a name LiteLLM itself no longer has)", "sum(increase(litellm_total_tokens_total[5m])) by (model)", None),
    ("dashboard_v2", "Requests per second", "sum(rate(litellm_proxy_total_requests_metric_total[2m]))", None),
    ("dashboard_v2", "Failures by class", "sum(rate(litellm_proxy_failed_requests_metric_total[2m])) by (exception_class)", None),
    ("dashboard_v2", "Mean latency",
     "sum(rate(litellm_request_total_latency_metric_sum[2m])) / sum(rate(litellm_request_total_latency_metric_count[2m]))", None),
    ("dashboard_v2", "Median latency", "histogram_quantile(0.5, sum(rate(litellm_request_total_latency_metric_bucket[2m])) by (le))", None),
    ("dashboard_v2", "By key", "sum(rate(litellm_proxy_total_requests_metric_total[2m])) by (api_key_alias)", None),
    ("dashboard_v2", "By team", "sum(rate(litellm_proxy_total_requests_metric_total[2m])) by (team_alias)", None),
    ("dashboard_v2", "Remaining requests (stale name)", "litellm_remaining_requests", None),
    ("dashboard_v2", "Remaining tokens (stale name)", "litellm_remaining_tokens", None),
]

# ---- dashboard_all_metrics: families by pattern ----

# (row, family, labels to sum by, reason). A counter is asked as sum(rate(FAMILY_total[$__rate_interval])) by (LABELS).
COUNTERS = [
    ("Proxy traffic", "litellm_proxy_total_requests_metric", "status_code", None),
    ("Proxy traffic", "litellm_proxy_failed_requests_metric", "exception_class", None),
    ("Proxy traffic", "litellm_requests_metric", "model", None),
    ("Proxy traffic", "litellm_llm_api_failed_requests_metric", "model", None),
    ("Proxy traffic", "litellm_admission_rejected_requests", "reason", ADMISSION),
    ("Spend and tokens", "litellm_spend_metric", "model", None),
    ("Spend and tokens", "litellm_total_tokens_metric", "model", None),
    ("Spend and tokens", "litellm_input_tokens_metric", "model", None),
    ("Spend and tokens", "litellm_output_tokens_metric", "model", None),
    ("Spend and tokens", "litellm_input_cached_tokens_metric", "model", None),
    ("Spend and tokens", "litellm_input_cache_creation_tokens_metric", "model", CACHE_WRITES),
    ("Spend and tokens", "litellm_output_reasoning_tokens_metric", "model", None),
    ("Spend and tokens", "litellm_input_audio_tokens_metric", "model", MEDIA),
    ("Spend and tokens", "litellm_output_audio_tokens_metric", "model", MEDIA),
    ("Spend and tokens", "litellm_images_generated_metric", "model", MEDIA),
    ("Spend and tokens", "litellm_video_duration_seconds_metric", "model", MEDIA),
    ("Cache", "litellm_cache_hits_metric", "model", None),
    ("Cache", "litellm_cache_misses_metric", "model", None),
    ("Cache", "litellm_cached_tokens_metric", "model", None),
    ("Cache", "litellm_provider_cache_read_input_tokens_metric", "model", None),
    ("Cache", "litellm_provider_cache_creation_input_tokens_metric", "model", CACHE_WRITES),
    ("LLM API deployments", "litellm_deployment_total_requests", "requested_model", None),
    ("LLM API deployments", "litellm_deployment_success_responses", "requested_model", None),
    ("LLM API deployments", "litellm_deployment_failure_responses", "litellm_model_name, exception_class", None),
    ("LLM API deployments", "litellm_deployment_cooled_down", "litellm_model_name, exception_status", None),
    ("LLM API deployments", "litellm_deployment_successful_fallbacks", "requested_model, fallback_model", None),
    ("LLM API deployments", "litellm_deployment_failed_fallbacks", "requested_model, fallback_model", None),
    ("Guardrails", "litellm_guardrail_requests", "guardrail_name, status", GUARDRAILS),
    ("Guardrails", "litellm_guardrail_errors", "guardrail_name, error_type", GUARDRAILS),
    ("MCP", "litellm_mcp_tool_calls", "tool_name", MCP),
    ("MCP", "litellm_mcp_tool_call_spend_metric", "tool_name", MCP),
    ("Managed files and batches", "litellm_managed_file_created", "model", FILES),
    ("Managed files and batches", "litellm_managed_file_deleted", "model", FILES),
    ("Managed files and batches", "litellm_managed_batch_created", "model", FILES),
    ("Users, teams, callbacks", "litellm_callback_logging_failures_metric", "callback_name", CALLBACKS),
    ("Redis circuit breaker", "litellm_redis_circuit_breaker_transitions", "state", REDIS),
    ("Redis circuit breaker", "litellm_redis_circuit_breaker_failures", "", REDIS),
]

# histogram_quantile(Q, sum(rate(FAMILY_bucket[$__rate_interval])) by (le)), for p50, p95 and p99.
HISTOGRAMS = [
    ("Latency", "litellm_request_total_latency_metric", None),
    ("Latency", "litellm_llm_api_latency_metric", None),
    ("Latency", "litellm_llm_api_time_to_first_token_metric", None),
    ("Latency", "litellm_overhead_latency_metric", None),
    ("Latency", "litellm_request_queue_time_seconds", QUEUE),
    ("Latency", "litellm_overhead_with_guardrails_latency_metric", GUARDRAILS),
    ("LLM API deployments", "litellm_deployment_latency_per_output_token", None),
    ("Guardrails", "litellm_guardrail_latency_seconds", GUARDRAILS),
    ("Managed files and batches", "litellm_managed_batch_duration_seconds", FILES),
]

# max(FAMILY) by (LABELS)
GAUGES = [
    ("Proxy traffic", "litellm_in_flight_requests", "", None),
    ("Proxy traffic", "litellm_admission_admitted_requests", "", ADMISSION),
    ("Proxy traffic", "litellm_admission_queued_requests", "", ADMISSION),
    ("LLM API deployments", "litellm_deployment_state", "litellm_model_name, api_base", None),
    ("LLM API deployments", "litellm_deployment_tpm_limit", "litellm_model_name, api_base", None),
    ("LLM API deployments", "litellm_deployment_rpm_limit", "litellm_model_name, api_base", None),
    ("LLM API deployments", "litellm_deployment_in_progress_requests", "litellm_model_name, api_base", None),
    ("LLM API deployments", "litellm_remaining_requests_metric", "model_group, api_provider", None),
    ("LLM API deployments", "litellm_remaining_tokens_metric", "model_group, api_provider", None),
    ("Key and team rate limits", "litellm_remaining_api_key_requests_for_model", "api_key_alias", KEY_LIMITS),
    ("Key and team rate limits", "litellm_remaining_api_key_tokens_for_model", "api_key_alias", KEY_LIMITS),
    ("Key and team rate limits", "litellm_api_key_rate_limit_allowed_metric", "api_key_alias", None),
    ("Key and team rate limits", "litellm_api_key_rate_limit_used_metric", "api_key_alias", None),
    ("Key and team rate limits", "litellm_team_rate_limit_allowed_metric", "team_alias", TEAMS),
    ("Key and team rate limits", "litellm_team_rate_limit_used_metric", "team_alias", TEAMS),
    ("Budgets", "litellm_remaining_api_key_budget_metric", "api_key_alias", None),
    ("Budgets", "litellm_api_key_max_budget_metric", "api_key_alias", None),
    ("Budgets", "litellm_api_key_budget_remaining_hours_metric", "api_key_alias", None),
    *(("Budgets", f"litellm_{name}", f"{who}_alias" if who != "user" else who, TEAMS if who == "team" else PEOPLE)
      for who in ("team", "user", "org")
      for name in (f"remaining_{who}_budget_metric", f"{who}_max_budget_metric", f"{who}_budget_remaining_hours_metric")),
    ("Budgets", "litellm_provider_remaining_budget_metric", "api_provider", PROVIDER_BUDGET),
    ("Users, teams, callbacks", "litellm_total_users", "", PEOPLE),
    ("Users, teams, callbacks", "litellm_active_users", "", PEOPLE),
    ("Users, teams, callbacks", "litellm_teams_count", "", TEAMS),
    ("Users, teams, callbacks", "litellm_team_members_metric", "team_alias", TEAMS),
    ("Redis circuit breaker", "litellm_redis_circuit_breaker_state", "", REDIS),
    ("Service callbacks", "litellm_pod_lock_manager_size", "", REDIS),
    ("Service callbacks", "litellm_in_memory_daily_spend_update_queue_size", "", DATABASE),
    ("Service callbacks", "litellm_redis_daily_spend_update_queue_size", "", REDIS),
    ("Service callbacks", "litellm_in_memory_spend_update_queue_size", "", DATABASE),
    ("Service callbacks", "litellm_redis_spend_update_queue_size", "", REDIS),
]

# p95 of litellm_SERVICE_latency; rate of its requests, and its failures by error_class: (service, reason for the first, for the others).
SERVICES = [("self", None, None), ("router", None, ROUTER), ("auth", AUTH, AUTH), ("redis", REDIS, REDIS), ("postgres", DATABASE, DATABASE),
            ("batch_write_to_db", DATABASE, DATABASE), ("reset_budget_job", DATABASE, DATABASE), ("proxy_pre_call", PRE_CALL, PRE_CALL)]

GENAI = ["gen_ai_client_operation_duration_seconds_count", "gen_ai_usage_cost_USD_sum", "gen_ai_client_token_usage_sum",
         "gen_ai_server_time_to_first_token_seconds_bucket", "gen_ai_client_response_duration_seconds_bucket"]


def by(labels):
    return f" by ({labels})" if labels else ""


def queries(rate_interval="1m"):
    """All of them, in the order of the dashboards."""
    found = [Query(*row) for row in OLD]
    name, rate = "dashboard_all_metrics", rate_interval
    for row, family, labels, reason in COUNTERS:
        found.append(Query(name, row, f"sum(rate({family}_total[{rate}])){by(labels)}", reason))
    for row, family, reason in HISTOGRAMS:
        for quantile in (0.5, 0.95, 0.99):
            found.append(Query(name, row, f"histogram_quantile({quantile}, sum(rate({family}_bucket[{rate}])) by (le))", reason))
    for row, family, labels, reason in GAUGES:
        for how in ("max", "min"):
            found.append(Query(name, row, f"{how}({family}){by(labels)}", reason))
    for service, no_times, no_counts in SERVICES:
        row = "Service callbacks"
        found.append(Query(name, row, f"histogram_quantile(0.95, sum(rate(litellm_{service}_latency_bucket[{rate}])) by (le))", no_times))
        found.append(Query(name, row, f"sum(rate(litellm_{service}_total_requests_total[{rate}]))", no_counts))
        found.append(Query(name, row, f"sum(rate(litellm_{service}_failed_requests_total[{rate}])) by (error_class)", no_counts))
    for metric in GENAI:
        found.append(Query("dashboard_genai_otel", "GenAI", f"sum(rate({metric}[{rate}]))", OTEL))
    return found


def without_counterpart():
    """Names of LiteLLM's metrics that weir has not, as the table above says: with the endings that samples have."""
    families = {family for _, family, _, reason in COUNTERS if reason} | {family for _, family, reason in HISTOGRAMS if reason}
    families |= {family for _, family, _, reason in GAUGES if reason}
    families |= {f"litellm_{service}_latency" for service, no_times, _ in SERVICES if no_times}
    families |= {f"litellm_{service}_{kind}" for service, _, no_counts in SERVICES if no_counts for kind in ("total_requests", "failed_requests")}
    return {family + ending for family in families for ending in ("", "_total", "_bucket", "_sum", "_count")}
