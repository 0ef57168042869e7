"""04: which provider or deployment fails, is slow, rests, and what the gateway does about it: retries, fallbacks, cooldowns."""
from model import (BLUE, GREEN, GREY, ORANGE, PAGES, RED, SAME, YELLOW, column, dashboard, drawn, either, lines, or_zero, quantile, rate, row,
                   stat, states, steps, table, to_logs, to_page, values)
from overview import OUTCOME_COLORS, SHARE_STEPS, answered, fixed

STATE = "litellm_deployment_state{@d}"
NAME = "litellm_model_name, api_base"
LEGEND = "{{litellm_model_name}} at {{api_base}}"
OF_PROVIDER = [to_logs("provider", only=' | status="failure"'), to_page("weir-provider-health", "This provider only", provider="provider")]
OF_DEPLOYMENT = [to_logs("api_base", only=' | status="failure"')]
FAILURES = "litellm_deployment_failure_responses_total"
HEALTH_CHECKS_OFF = "Health checks are off (general_settings.background_health_checks)"
NO_LIMITS_TOLD = "No provider sends x-ratelimit headers"
NO_LIMITS_SET = "No deployment has tpm or rpm in the configuration"

AT_A_GLANCE = row(
    "Are the providers well?", 4,
    stat("In rotation", "Share of deployments that take requests.", "the state timeline shows which ones do not, and since when.",
         "percentunit", f"1 - (count({STATE} == 2) or on () vector(0)) / count({STATE})", thresholds=steps((0.5, ORANGE), (1, GREEN), base=RED),
         decimals=0),
    stat("Out of rotation", "Deployments that rest after failures (cooldown).",
         "see Failures by status for the reason; it ends by itself when the provider recovers.",
         "short", or_zero(f"count({STATE} == 2)"), thresholds=steps((1, ORANGE)), decimals=0),
    stat("Providers' faults", "Share of requests that ended in a provider's fault, after all retries and fallbacks.",
         "clients see these. Give the model a fallback, or take the provider out.",
         "percentunit", or_zero(rate("weir_request_outcomes_total", '@mp,outcome="provider_error"') + " / " + rate("weir_request_outcomes_total")),
         thresholds=steps((0.001, ORANGE), (0.01, RED)), decimals=2),
    stat("Failed attempts", "Share of attempts at providers that failed, before retries and fallbacks made it good.",
         "higher than the providers' faults: retries hide the trouble, and cost time.",
         "percentunit", or_zero(rate("weir_attempts_total", '@mp,status="failure"') + " / " + rate("weir_attempts_total")),
         thresholds=steps((0.01, YELLOW), (0.05, ORANGE), (0.2, RED)), decimals=2),
    stat("Attempts/request", "How much retries, fallbacks and hedges add to the load: 1 is nothing.",
         "well above 1: retries feed an overload; lower num_retries, or take the provider out.",
         "short", f"{rate('weir_attempts_total')} / {rate('litellm_requests_total')}", thresholds=steps((1.1, YELLOW), (1.5, ORANGE), (2, RED)),
         decimals=2),
    stat("Retries/min", "Attempts that were followed by another one.", "see by provider below.",
         "short", or_zero(f"{rate('weir_retries_total')} * 60"), thresholds=steps((1, YELLOW)), decimals=1),
    stat("Fallbacks/min", "Requests that another model had to answer.", "see by model below: the first model is in trouble.",
         "short", or_zero(f"{rate('weir_fallbacks_total', '@m')} * 60"), thresholds=steps((1, YELLOW)), decimals=1),
    stat("Cooldowns, 1 h", "Times a deployment was taken out of rotation in the last hour.",
         "many for one deployment: it fails as soon as it is tried again.",
         "short", or_zero("sum(increase(litellm_deployment_cooled_down_total{@d}[1h]))"), thresholds=steps((1, YELLOW), (10, RED)), decimals=0))

STATES = row(
    "Since when?", 9,
    states("State of deployments", "Green: healthy. Yellow: the newest request failed. Red: out of rotation. Twenty a page.",
           "red and back again and again: the provider fails each time it is tried.",
           LEGEND, f"max by ({NAME}) ({STATE})",
           [values(_0=("healthy", GREEN), _1=("last request failed", YELLOW), _2=("out of rotation", RED))], links=OF_DEPLOYMENT))

SUCCESS = row(
    "Who fails, and how?", 8,
    lines("Answered well, by provider",
          "Share of valid requests that were answered, by the provider that had them last; None: no provider was reached.",
          "one provider: its status page, its key, its quota. All: the gateway's network.",
          "percentunit", ("{{provider}}", drawn(answered("provider"), "provider")), high=1, low=None,
          thresholds=steps((0.999, "transparent"), base=RED), bound=True, links=OF_PROVIDER),
    lines("Failures by status", "Failed attempts by what the provider answered; 408 is its timeout, 200 an answer that broke off.",
          "401, 403: the key. 429: the quota. 404: the model's name. 5xx: theirs; wait or switch.",
          "reqps", ("{{api_provider}} {{exception_status}}", or_zero(rate(FAILURES, "@d", "api_provider, exception_status"), "api_provider", "none")),
          links=[to_logs(only=' | status="failure"')]),
    lines("Failures by kind", "Failed attempts by LiteLLM's class of the exception.",
          "RateLimitError: ask for more quota, or add a deployment. AuthenticationError: renew the key.",
          "reqps", ("{{exception_class}}", or_zero(rate(FAILURES, "@d", "exception_class"), "exception_class", "none"))),
    lines("Outcome of requests", "Requests by outcome, of the models and providers chosen above.",
          "provider_error and gateway_error are seen by clients.",
          "reqps", ("{{outcome}}", rate("weir_request_outcomes_total", by="outcome")), stack="normal", overrides=fixed(OUTCOME_COLORS)),
    lines("Failed attempts, by deployment", "Share of attempts at the deployment that failed.",
          "one deployment of several: take it out of the configuration until it is mended.",
          "percentunit", (LEGEND, or_zero(f"{rate(FAILURES, '@d', NAME)} / {rate('litellm_deployment_total_requests_total', '@d', NAME)} >= 0",
                                          "litellm_model_name", "none")), links=OF_DEPLOYMENT),
    lines("Connections that could not be made", "Connections to providers a second: made, and failed; of all providers.",
          "failed: name resolution, firewall, or nobody listens there. Many made: the provider closes kept connections.",
          "cps", ("failed", rate("weir_upstream_connect_failures_total", "@")), ("made", rate("weir_upstream_connects_total", "@"))))

REMEDIES = row(
    "What does the gateway do about it?", 8,
    lines("Retries by provider", "Attempts a second that failed, or lost a race, and were followed by another.",
          "steady retries: the first choice is in trouble though clients do not see it.",
          "reqps", ("{{provider}}", or_zero(rate("weir_retries_total", by="provider"), "provider", "none")), links=OF_PROVIDER),
    lines("Fallbacks", "Requests a second that another model had to answer, by both models and by how it ended.",
          "failure: the fallback is in trouble as well.",
          "reqps", ("{{model}} to {{fallback_model}}: {{status}}",
                    or_zero(rate("weir_fallbacks_total", "@m", "model, fallback_model, status"), "model", "none"))),
    lines("Cooldowns", "Times a deployment was taken out of rotation in the last 15 minutes, by the status that did it.",
          "429: less traffic for it, or more quota. 5xx: theirs.",
          "short", ("{{litellm_model_name}} at {{api_base}}: {{exception_status}}",
                    or_zero(f"sum by ({NAME}, exception_status) (increase(litellm_deployment_cooled_down_total{{@d}}[15m]))", "litellm_model_name", "none"))),
    lines("Rest left", "Seconds until a deployment may be tried again; 0: it is in rotation.", "does not come down: it fails as soon as it is tried.",
          "s", (LEGEND, f"max by ({NAME}) (weir_deployment_rest_seconds{{@d}})")),
    lines("Added load", "Attempts over requests, by model: 1 is nothing added.", "above 1.5: retries make an overload worse.",
          "short", ("{{model}}", drawn(f"{rate('weir_attempts_total', by='model')} / {rate('litellm_requests_total', by='model')}", "model")), low=None,
          links=[to_logs("model", only=" | attempts > 1")]),
    states("Health checks", "What the last health check of each deployment found.",
           "unhealthy while requests are answered: the check asks for something else than requests do; see GET /health.",
           LEGEND, f"min by ({NAME}) (weir_deployment_probe_success{{@d}})", width=8, empty=HEALTH_CHECKS_OFF, **either("alive", "not alive")))

TRAFFIC = row(
    "Who has the traffic, and who is fast?", 8,
    lines("Share of traffic by provider", "Which part of the requests each provider answered; None: no provider was reached.",
          "moves without a change of yours: a cooldown or a fallback.", "percentunit",
          ("{{provider}}", rate("litellm_requests_total", by="provider")), stack="percent", links=OF_PROVIDER),
    lines("Attempts by deployment", "Attempts a second at each deployment.", "uneven at equal weights: one of them rests, or is slow and full.",
          "reqps", (LEGEND, rate("litellm_deployment_total_requests_total", "@d", NAME)), stack="normal"),
    lines("In flight by deployment", "Requests each deployment works on.", "grows at one: it answers slower than requests come.",
          "short", (LEGEND, f"sum by ({NAME}) (weir_deployment_in_flight{{@d}})")),
    lines("First token, p95 by provider", "Streams: request read to first token sent.", "one provider: less weight for it.",
          "s", ("{{provider}}", drawn(quantile(0.95, "weir_ttft_seconds", by="provider"), "provider")), links=OF_PROVIDER),
    lines("Time per output token, p95 by provider", "Seconds from one output token to the next.", "rises with the provider's load.",
          "s", ("{{provider}}", drawn(quantile(0.95, "weir_output_token_seconds", by="provider"), "provider")), links=OF_PROVIDER),
    lines("First token as routing sees it", "Running mean of each deployment, the newest requests counting most: latency-based routing goes by it.",
          "one is far above the others and still has traffic: routing_strategy is not latency-based.",
          "s", (LEGEND, f"avg by ({NAME}) (weir_deployment_ttft_seconds{{@d}})"), empty="No stream was answered yet"))

LIMITS = row(
    "How near are limits?", 8,
    lines("Requests left, as providers tell", "What the provider's x-ratelimit headers said last.",
          "near 0: 429 is next. Spread over more deployments, or ask for quota.",
          "short", ("{{model_group}} at {{api_provider}}", "min by (model_group, api_provider) (litellm_remaining_requests_metric{@d})"), empty=NO_LIMITS_TOLD),
    lines("Tokens left, as providers tell", "What the provider's x-ratelimit headers said last.", "near 0: 429 is next.",
          "short", ("{{model_group}} at {{api_provider}}", "min by (model_group, api_provider) (litellm_remaining_tokens_metric{@d})"), empty=NO_LIMITS_TOLD),
    lines("Share of the configured limits used", "Attempts a minute over rpm, and tokens a minute over tpm, of the configuration.",
          "at 100 % the deployment is passed over: raise its rpm or tpm, or add a deployment.",
          "percentunit", (LEGEND + ": requests", f"{rate('litellm_deployment_total_requests_total', '@d', NAME)} * 60 / on ({NAME}) group_left () "
                                  f"sum by ({NAME}) (litellm_deployment_rpm_limit{{@d}})"),
          (LEGEND + ": tokens", f"{rate('litellm_total_tokens_metric_total', '@d', 'model_id')} * 60 / on (model_id) group_right () "
                                f"sum by (model_id, {NAME}) (litellm_deployment_tpm_limit{{@d}})"), empty=NO_LIMITS_SET))

TABLE = row(
    "Providers at a glance", 8,
    table("Providers", "Each provider over the last minutes.", "the provider's name leads to its page.",
          {"provider": "Provider"},
          ("Requests/s", rate("litellm_requests_total", by="provider"), column("Requests/s", "reqps", decimals=2)),
          ("Answered well", answered("provider"), column("Answered well", "percentunit", SHARE_STEPS, decimals=2)),
          ("Attempts/s", rate("weir_attempts_total", by="provider"), column("Attempts/s", "reqps", decimals=2)),
          ("First token p95", quantile(0.95, "weir_ttft_seconds", by="provider"), column("First token p95", "s", steps((2, ORANGE), (5, RED)))),
          ("p50", quantile(0.5, "litellm_latency_seconds", by="provider"), column("p50", "s")),
          ("p95", quantile(0.95, "litellm_latency_seconds", by="provider"), column("p95", "s")),
          overrides=[column("Provider", "none", links=[{"title": "This provider only", "targetBlank": False,
                                                        "url": f"/d/weir-provider-health?{SAME}&var-provider=${{__value.text:percentencode}}"}])]))

PAGE = dashboard(PAGES[3][0], ("datasource", "logs", "job", "instance", "model", "provider", "deployment"),
                 (AT_A_GLANCE, STATES, SUCCESS, REMEDIES, TRAFFIC, LIMITS, TABLE))
