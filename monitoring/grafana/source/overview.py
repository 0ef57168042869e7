"""01: the page to open first. Its first line answers, from left to right: is it up, does anything ring, what is asked of it, does it
keep its promise, is it slow, what does it cost."""
from model import (BLUE, FAILURES, GREEN, GREY, ORANGE, PAGES, RED, SAME, TO_REQUEST, YELLOW, column, dashboard, drawn, either, lines, log_query,
                   logs, or_zero, panel, quantile, rate, row, stat, steps, table, text, to_logs, to_page, worst)

VALID = 'outcome=~"success|provider_error|gateway_error"'
UP = "min((up{@} * on (job, instance) weir_ready{@}) or on (job, instance) up{@})"
COST_PER_HOUR = f"{rate('litellm_spend_metric_total', '@dk')} * 3600"
FAULT_SHARES = or_zero(rate("weir_request_outcomes_total", '@mp,outcome!="success"', "outcome")
                       + f" / on () group_left () ({rate('weir_request_outcomes_total')} > 0)", "outcome", "no traffic")
OUTCOME_COLORS = {"success": GREEN, "client_error": BLUE, "provider_error": ORANGE, "gateway_error": RED, "cancelled": GREY}

SHARE_STEPS = steps((0.99, ORANGE), (0.999, GREEN), base=RED)
FAIL_STEPS = steps((0.001, YELLOW), (0.01, ORANGE), (0.05, RED))


def fixed(colors):
    """A colour for each name, so that an outcome looks alike everywhere."""
    return [{"matcher": {"id": "byName", "options": name}, "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}]}
            for name, color in colors.items()]


def answered(by=None):
    """Share of valid requests that were answered well; what the client did wrong or left is not counted."""
    good, all_ = rate("weir_request_outcomes_total", '@mp,outcome="success"', by), rate("weir_request_outcomes_total", f"@mp,{VALID}", by)
    return f"{good} / {all_}"


AT_A_GLANCE = row(
    "Is it healthy, what is slow, what fails, whose fault is it, what does it cost?", 4,
    stat("Gateway", "Whether every gateway answers Prometheus and takes requests; the worst one counts.",
         "look at the service (systemctl status, docker compose ps) and at its last lines; System health shows which instance it is.",
         "none", UP, **either("up", "DOWN"),
         links=[to_page("weir-system-health", "System health")]),
    stat("Alerts firing", "Alerts that fire now, the watchdog not counted. They are listed further down.",
         "open the alert's runbook (docs/runbooks.md has a part for each).",
         "none", or_zero('count(ALERTS{alertstate="firing",severity!="none"})'), thresholds=steps((1, RED))),
    stat("Requests", "Requests a second, whatever came of them.",
         "no requests at a time when there should be some: look in front of the gateway (DNS, load balancer, certificate).",
         "reqps", rate("litellm_requests_total"), thresholds=steps(base=BLUE)),
    stat("Answered well", "Share of valid requests that were answered: what clients did wrong or gave up is left out. Promised: 99.9 %.",
         "the tiles below and the next row say whose fault it is.",
         "percentunit", answered(), thresholds=SHARE_STEPS, decimals=2, high=1, links=[to_page("weir-slo", "Service levels")]),
    stat("First token, p95", "95 of 100 streams had their first token within this time. Promised: 2 s.",
         "the slowest model is named below; Performance tells the provider's share from the gateway's.",
         "s", quantile(0.95, "weir_ttft_seconds"), thresholds=steps((2, ORANGE), (5, RED)),
         links=[to_page("weir-performance", "Performance")]),
    stat("Answer, p95", "95 of 100 requests were done within this time, long answers included.",
         "long answers are slow by nature: compare with time to first token and time per output token before waking anyone.",
         "s", quantile(0.95, "litellm_latency_seconds"), thresholds=steps((30, YELLOW), (120, ORANGE)),
         links=[to_page("weir-performance", "Performance")]),
    stat("Cost per hour", "US dollars an hour at the present rate, of priced models.",
         "the dearest key is named below; it can be blocked or given a budget.",
         "currencyUSD", COST_PER_HOUR, thresholds=steps(base=BLUE), links=[to_page("weir-tokens", "Tokens and cost")]),
    stat("Error budget left", "What is left of the 30 days' error budget of availability. The promise is set in the recording rules.",
         "below zero the promise is broken: no risky changes until it has recovered. Service levels shows how fast it goes.",
         "percentunit", 'min(job:weir_availability:budget_remaining_ratio30d{job=~"$job"})',
         thresholds=steps((0, ORANGE), (0.5, GREEN), base=RED), decimals=1, links=[to_page("weir-slo", "Service levels")]),
    worst("Slowest model", "The model with the highest p95 to the first token. Only models with streams are seen.",
          "its provider or engine is busy, far away, or loads the model.", "s", quantile(0.95, "weir_ttft_seconds", by="model"), "{{model}}",
          width=5, thresholds=steps((2, ORANGE), (5, RED)), links=[to_page("weir-performance", "Performance of this model", model="model")]),
    worst("Model that fails most", "The model with the largest share of valid requests that were not answered.",
          "give it a fallback, or see its provider.", "percentunit", f"1 - {answered('model')}", "{{model}}", width=5,
          thresholds=FAIL_STEPS, decimals=2, links=[to_logs("model", only=FAILURES)]),
    worst("Provider that fails most", "The provider with the largest share of failed attempts, those that a retry made good included.",
          "its status page, its key, its quota; Provider health has the statuses.",
          "percentunit", or_zero(rate("weir_attempts_total", '@mp,status="failure"', "provider") + " / " + rate("weir_attempts_total", by="provider"),
                                 "provider", "none"), "{{provider}}", width=5, thresholds=FAIL_STEPS, decimals=2,
          links=[to_page("weir-provider-health", "Health of this provider", provider="provider")]),
    worst("Largest fault",
          "Whose fault the largest part of the failed requests is, as a share of all requests: the provider's, the gateway's or the client's.",
          "provider_error: Provider health. gateway_error: System health. client_error: Why requests fail, below.",
          "percentunit", or_zero(rate("weir_request_outcomes_total", '@mp,outcome=~"client_error|provider_error|gateway_error"', "outcome")
                                 + f" / on () group_left () {rate('weir_request_outcomes_total')}", "outcome", "none"), "{{outcome}}", width=5,
          thresholds=FAIL_STEPS, decimals=2, links=[to_page("weir-provider-health", "Provider health")]),
    worst("Dearest key", "The key that costs most, in US dollars an hour; None: requests without a key.",
          "ask its owner; give it a budget, or block it.", "currencyUSD", f"{rate('litellm_spend_metric_total', '@dk', 'api_key_alias')} * 3600",
          "{{api_key_alias}}", width=4, thresholds=steps(base=BLUE), links=[to_page("weir-tokens", "Tokens and cost of this key", key="api_key_alias")]))

FAILS = row(
    "What fails, and whose fault is it?", 8,
    lines("Requests by outcome", "What came of the requests: success; client_error, which the client must mend; provider_error; gateway_error, "
          "which is weir's; cancelled, the client left.",
          "the largest colour that is not green says where to look.",
          "reqps", ("{{outcome}}", rate("weir_request_outcomes_total", by="outcome")), width=6, stack="normal",
          overrides=fixed(OUTCOME_COLORS), links=[TO_REQUEST, to_logs(only=FAILURES)]),
    lines("Whose fault, as a share of requests", "Share of all requests that ended in a fault of each side.",
          "provider_error: Provider health. gateway_error: System health and the log. client_error: the keys and models they ask for.",
          "percentunit", ("{{outcome}}", FAULT_SHARES), width=6, overrides=fixed(OUTCOME_COLORS),
          links=[to_page("weir-provider-health", "Provider health"), to_page("weir-system-health", "System health")]),
    lines("Why requests fail", "Requests that ended in an error, by its name; docs/errors.md says what each means. Of all models and providers.",
          "look the name up in docs/errors.md: it says what to do. The link leads to the log lines.",
          "reqps", ("{{error}}", or_zero(f"{rate('weir_errors_total', '@', 'error')} > 0", "error", "no error")), width=6,
          links=[to_logs("error", "error_type")]),
    lines("Answers by HTTP status", "Requests a second by the status the client got, of the models and keys chosen. 499: the client left.",
          "401, 403: a key. 429: a limit or a budget. 5xx: nothing the client can mend.",
          "reqps", ("{{status_code}}", rate("litellm_proxy_total_requests_metric_total", "@rk", "status_code")), width=6, stack="normal",
          links=[to_logs("status_code", "http_status")]))

SLOW = row(
    "What is slow?", 8,
    lines("Whole answer", "Time from the request read to the last byte sent: half, 95 and 99 of 100 requests were faster. The diamonds are "
          "single requests; a click leads to the log by trace id.",
          "if only p99 rises, a few requests are long; if p50 rises, all are slow.",
          "s", *((f"p{n}", quantile(n / 100, "litellm_latency_seconds")) for n in (50, 95, 99)), exemplars=True,
          links=[TO_REQUEST, to_page("weir-performance", "Performance")]),
    lines("Time to first token, p95 by model", "Streams: request read to first token sent. Models without streams have no curve.",
          "one model: its provider or engine is busy or loads the model. All models: the gateway's host or network.",
          "s", ("{{model}}", drawn(quantile(0.95, "weir_ttft_seconds", by="model"), "model")), thresholds=steps((2, RED), base="transparent"), bound=True,
          links=[to_logs("model"), to_page("weir-performance", "Performance of this model", model="model")]),
    lines("What the gateway adds", "Latency less the provider's time: what weir itself cost.",
          "above some milliseconds: the host lacks processor time, or the disk or DNS stalls; see System health.",
          "s", *((f"p{n}", quantile(n / 100, "weir_overhead_seconds", "@")) for n in (50, 95, 99)),
          links=[to_page("weir-system-health", "System health")]))

WHO = row(
    "Who asks for what, and what does it cost?", 8,
    lines("Requests by model", "Requests a second by the model asked for; other: models that are not configured.",
          "much of other: clients ask for models that do not exist here.",
          "reqps", ("{{model}}", rate("litellm_requests_total", by="model")), stack="normal",
          links=[to_logs("model"), to_page("weir-performance", "Performance of this model", model="model")]),
    lines("Requests by provider", "Requests a second by the provider that answered; None: none was reached.",
          "a share that moves without a change of yours is a fallback or a cooldown at work.",
          "reqps", ("{{provider}}", rate("litellm_requests_total", by="provider")), stack="normal",
          links=[to_logs("provider"), to_page("weir-provider-health", "Health of this provider", provider="provider")]),
    lines("Cost per hour by key", "US dollars an hour at the present rate, by the key's alias; None: without a key.",
          "one key grows: ask its owner, or give it a budget.",
          "currencyUSD", ("{{api_key_alias}}", f"{rate('litellm_spend_metric_total', '@dk', 'api_key_alias')} * 3600"), stack="normal",
          links=[to_logs("api_key_alias", "key_alias"), to_page("weir-tokens", "Tokens and cost of this key", key="api_key_alias")]))

MODELS = row(
    "Models at a glance, and alerts", 9,
    table("Models", "Each model over the last minutes: its rate, how much of it was answered well, how fast.",
          "sort by the column in question; the model's name leads to its page.",
          {"model": "Model"},
          ("Requests/s", rate("litellm_requests_total", by="model"), column("Requests/s", "reqps", decimals=2)),
          ("Answered well", answered("model"), column("Answered well", "percentunit", SHARE_STEPS, decimals=2)),
          ("First token p95", quantile(0.95, "weir_ttft_seconds", by="model"), column("First token p95", "s", steps((2, ORANGE), (5, RED)))),
          ("p50", quantile(0.5, "litellm_latency_seconds", by="model"), column("p50", "s")),
          ("p95", quantile(0.95, "litellm_latency_seconds", by="model"), column("p95", "s")),
          ("Tokens/s", rate("litellm_tokens_total", '@mp,type=~"prompt|completion"', "model"), column("Tokens/s", "short", decimals=1)),
          width=16,
          overrides=[column("Model", "none", links=[{"title": "Performance of this model", "targetBlank": False,
                                                     "url": f"/d/weir-performance?{SAME}&var-model=${{__value.text:percentencode}}"}])]),
    table("Alerts", "Alerts that fire or are about to.", "each has its part in docs/runbooks.md.",
          {"alertname": "Alert", "severity": "Severity", "alertstate": "State"},
          ("Firing", 'max by (alertname, severity, alertstate) (ALERTS{severity!="none"})', None), width=8, sort="State",
          empty="No alert fires"))

HELP = """**Where are the lines?** Set *Request id* above to the `x-request-id` of an answer (or of an error: it is in its text), or leave it
empty for all. These panels ask Loki. Where no Loki runs they show an error, and the same lines are on the gateway's host:

    scripts/debugging/analyze-logs /var/log/litellm/requests.log --trace ID
    scripts/debugging/tail-requests --errors

docs/log.md has the fields, docs/errors.md the errors."""

LOGS = row(
    "Logs of one request, and of failures (opens when needed; asks Loki)", 9,
    text("Request by id", "How to find the lines of a request, with Loki and without.", HELP, width=8),
    panel("timeseries", "Failures in the log, by error", "Failed requests a minute, counted from the log.",
          "compare with Why requests fail above: both count the same requests. Fewer here: lines are lost on their way to Loki.",
          "short", [log_query('sum by (error_type) (count_over_time({job="weir"} | json error_type="error.type", status="status", event="event"'
                              ' | event="request" | status="failure" [1m]))', "{{error_type}}")], 16,
          empty="No failure in this time",
          options={"legend": {"displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["sum"]},
                   "tooltip": {"mode": "multi", "sort": "desc"}}, custom={"drawStyle": "bars", "fillOpacity": 60, "lineWidth": 0}, low=0),
    logs("Lines of the request", "Every line that has the request id: the request, and before it the attempts that failed. Open a line for its "
         "fields; request_id and trace_id are links.",
         "read error.type, attempts and api_base; times are milliseconds.",
         '{job="weir"} |= "$request_id" | json | request_id=~"$request_id.*"', empty="No line has this id in this time: widen the time"),
    logs("Failures", "Requests that failed, the newest first: status, model, provider, error, id.",
         "look the error up in docs/errors.md.",
         '{job="weir"} | json | event="request" | status="failure" | line_format "{{.http_status}} {{.model}} {{.provider}} '
         '{{.error_type}} {{.latency_ms}} ms {{.key_alias}} {{.request_id}} {{.error_message}}"', empty="No failure in this time"),
    collapsed=True)

PAGE = dashboard(PAGES[0][0], ("datasource", "logs", "job", "instance", "model", "provider", "key", "deployment", "request_id"),
                 (AT_A_GLANCE, FAILS, SLOW, WHO, MODELS, LOGS))
