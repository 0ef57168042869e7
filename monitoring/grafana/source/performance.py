"""03: how long answers take, and where the time goes: the provider, the model, the engine, or the gateway."""
from model import (BLUE, GREEN, ORANGE, PAGES, RED, YELLOW, column, dashboard, drawn, heat, lines, mean, or_zero, quantile, rate, row, stat,
                   steps, table, to_logs, to_page)

LATENCY, TTFT, TOKEN, OVERHEAD, QUEUE = ("litellm_latency_seconds", "weir_ttft_seconds", "weir_output_token_seconds", "weir_overhead_seconds",
                                         "weir_queue_seconds")
OF_MODEL = [to_logs("model"), to_page("weir-performance", "This model only", model="model")]
OF_PROVIDER = [to_logs("provider"), to_page("weir-provider-health", "Health of this provider", provider="provider")]
NO_ENGINES = "No request was answered by an engine that tells its times (Ollama, llama.cpp)"


def quantiles(histogram, matchers="@mp", by=None):
    return [(f"p{n}" + (f" {{{{{by}}}}}" if by else ""), quantile(n / 100, histogram, matchers, by)) for n in (50, 95, 99)]


AT_A_GLANCE = row(
    "How long does it take now?", 4,
    stat("Answer, p50", "Half of the requests were done within this time.", "all requests are slower than they were: provider, network or host.",
         "s", quantile(0.5, LATENCY), thresholds=steps((10, YELLOW), (60, ORANGE))),
    stat("Answer, p95", "95 of 100 requests were done within this time.", "see the tables below for the model.",
         "s", quantile(0.95, LATENCY), thresholds=steps((30, YELLOW), (120, ORANGE))),
    stat("Answer, p99", "99 of 100 requests were done within this time.", "a few requests are long: the heatmap shows whether they are a group.",
         "s", quantile(0.99, LATENCY), thresholds=steps((60, YELLOW), (300, ORANGE))),
    stat("First token, p95", "Streams: 95 of 100 had their first token within this time. Promised: 2 s.",
         "by model and by provider below.", "s", quantile(0.95, TTFT), thresholds=steps((2, ORANGE), (5, RED)),
         links=[to_page("weir-slo", "Service levels")]),
    stat("Speed of output", "Tokens a second that a typical answer is written with: 1 over the median time per output token.",
         "below some 10 a second people read faster than it writes: the provider or engine is loaded.",
         "suffix: tok/s", f"1 / {quantile(0.5, TOKEN)}", thresholds=steps((5, ORANGE), (10, GREEN), base=RED), decimals=0),
    stat("Gateway, p99", "What weir added to 99 of 100 requests at most: latency less the provider's time.",
         "above some milliseconds: processor, disk or DNS of the host; see System health.",
         "s", quantile(0.99, OVERHEAD, "@"), thresholds=steps((0.005, YELLOW), (0.05, RED)), links=[to_page("weir-system-health", "System health")]),
    stat("Slow requests", "Share of requests that took longer than slow_request_threshold_ms.",
         "the link in Slow requests by model, below, leads to their lines.",
         "percentunit", f"{rate('weir_slow_requests_total')} / {rate('litellm_requests_total')}",
         thresholds=steps((0.05, YELLOW), (0.2, ORANGE)), decimals=1),
    stat("In flight", "Requests being worked on now, of all models.", "grows without end: providers answer slower than requests come.",
         "short", "sum(litellm_in_flight_requests{@})", thresholds=steps(base=BLUE), decimals=0))

WHOLE = row(
    "The whole answer", 9,
    lines("Answer", "Request read to last byte sent. The diamonds are single requests; a click leads to the log by trace id.",
          "p50 rises: all are slow. Only p99 rises: a few are; see the heatmap.", "s", *quantiles(LATENCY), width=12, exemplars=True,
          links=[to_logs(only=' | slow="true"')]),
    heat("Answers by time taken", "How many requests took how long; the darker, the more. Two bands are two kinds of requests, not one slow one.",
         "a new band above: some requests go another way (a fallback, a cold model); the diamonds are single requests.", LATENCY))

FIRST = row(
    "First token, and the speed of output", 8,
    lines("First token", "Streams: request read to first token sent.",
          "queueing or loading at the provider; if the gateway's own share rises too, the host.",
          "s", *quantiles(TTFT), thresholds=steps((2, RED), base="transparent"), bound=True, exemplars=True),
    heat("First tokens by time taken", "How many streams had their first token after how long.",
         "a band at some seconds: a model that is loaded anew each time (keep_alive of Ollama).", TTFT, width=8),
    lines("First token, p95 by model", "Streams; models without have no curve.", "one model: its provider or engine. All: the host.",
          "s", ("{{model}}", drawn(quantile(0.95, TTFT, by="model"), "model")), links=OF_MODEL),
    lines("Time per output token", "Seconds from one output token to the next, over all answers.",
          "rises with the load of the engine: more requests share it; or a larger model answers than before.",
          "s", *quantiles(TOKEN)),
    lines("Speed of output by model", "Tokens a second that a typical answer of the model is written with.",
          "falls: see the model's engine or provider.",
          "suffix: tok/s", ("{{model}}", drawn(f"1 / {quantile(0.5, TOKEN, by='model')}", "model")), links=OF_MODEL),
    lines("Output tokens of all requests", "Completion tokens a second, all requests together: the throughput.",
          "stays flat while requests in flight grow: the engine is at its limit.",
          "suffix: tok/s", ("{{provider}}", rate("litellm_tokens_total", '@mp,type="completion"', "provider")), stack="normal", links=OF_PROVIDER))

WHERE = row(
    "Where does the time go: what the gateway adds", 8,
    lines("Gateway's own share", "Latency less the provider's time and failed attempts, of all requests.",
          "above some milliseconds: processor, disk or DNS of the host.", "s", *quantiles(OVERHEAD, "@"),
          links=[to_page("weir-system-health", "System health")]),
    heat("Gateway's own share, by time", "How many requests the gateway delayed by how much.",
         "a second band: a part of the requests waits for something (connections made anew, body copies, a busy processor).",
         OVERHEAD, "@", width=8),
    lines("Until sent upstream", "Request read to request sent upstream: choosing, connecting, waiting, failed attempts.",
          "higher than the gateway's own share: connections to providers are made anew, or first attempts fail.", "s", *quantiles(QUEUE, "@"),
          links=[to_page("weir-provider-health", "Provider health")]),
    lines("Mean: gateway and provider", "Seconds of a mean request: in all, and what weir added to it.",
          "the distance between the two is the provider's.", "s", ("in all", mean(LATENCY)), ("gateway", mean(OVERHEAD, "@"))),
    lines("Slow requests by model", "Share of requests slower than slow_request_threshold_ms, by model.", "the link leads to their log lines.",
          "percentunit", ("{{model}}", drawn(f"{rate('weir_slow_requests_total', by='model')} / {rate('litellm_requests_total', by='model')}", "model")),
          links=[to_logs("model", only=' | slow="true"'), *OF_MODEL[1:]]),
    lines("In flight, and streams", "Requests being worked on, and streams among them.",
          "grows without end: answers take longer than requests are apart.",
          "short", ("requests", "sum(litellm_in_flight_requests{@})"), ("streams", "sum(weir_open_streams{@})")))

COMPARE = row(
    "Which model, which provider?", 8,
    lines("Answer, p95 by model", "95 of 100 requests of the model were done within this time.", "compare with its output: long answers take long.",
          "s", ("{{model}}", drawn(quantile(0.95, LATENCY, by="model"), "model")), width=12, side=True, links=OF_MODEL),
    lines("Answer, p95 by provider", "95 of 100 requests that the provider answered were done within this time.",
          "one provider is slower than the others at the same models: give it less weight.",
          "s", ("{{provider}}", drawn(quantile(0.95, LATENCY, by="provider"), "provider")), width=12, side=True, links=OF_PROVIDER),
    table("Models and providers", "Each pair over the last minutes.", "the same model at two providers: the faster one should have more weight.",
          {"model": "Model", "provider": "Provider"},
          ("Requests/s", rate("litellm_requests_total", by="model, provider"), column("Requests/s", "reqps", decimals=2)),
          ("p50", quantile(0.5, LATENCY, by="model, provider"), column("p50", "s")),
          ("p95", quantile(0.95, LATENCY, by="model, provider"), column("p95", "s")),
          ("p99", quantile(0.99, LATENCY, by="model, provider"), column("p99", "s")),
          ("First token p50", quantile(0.5, TTFT, by="model, provider"), column("First token p50", "s")),
          ("First token p95", quantile(0.95, TTFT, by="model, provider"), column("First token p95", "s", steps((2, ORANGE), (5, RED)))),
          ("Output tok/s", f"1 / {quantile(0.5, TOKEN, by='model, provider')}", column("Output tok/s", "short", decimals=0))))

ENGINES = row(
    "Engines that tell their times (Ollama, llama.cpp)", 8,
    lines("What the engine does", "Share of an engine's time: loading the model, prefill (reading the prompt), decode (writing the answer).",
          "load is high: the model leaves memory between requests (keep_alive). Prefill is high: prompts are long.",
          "percentunit", ("{{phase}}", "sum by (phase) (rate(weir_engine_phase_seconds_total{@mp}[$__rate_interval])) / on () group_left () "
                          "(sum(rate(weir_engine_phase_seconds_total{@mp}[$__rate_interval])) > 0)"), stack="normal", width=12, empty=NO_ENGINES,
          high=1),
    lines("Loading, by model", "Seconds of loading a second: 1 is a model that does nothing but load.",
          "raise keep_alive, or give the engine more memory so that models need not make room for one another.",
          "s", ("{{model}}", or_zero("sum by (model) (rate(weir_engine_phase_seconds_total{@mp,phase=\"load\"}[$__rate_interval]))", "model", "none")),
          width=12, links=OF_MODEL))

PAGE = dashboard(PAGES[2][0], ("datasource", "logs", "job", "instance", "model", "provider"),
                 (AT_A_GLANCE, WHOLE, FIRST, WHERE, COMPARE, ENGINES))
