"""Each family of metrics moves under the traffic that must move it, and not under other traffic; what it says is what the log says."""
import collections
import json
import re
import shutil
import subprocess
import threading

import pytest

from harness import COMPLETION, ROOT, WEIR, Metrics, chat_body, config, delta, forever, model, request, usage_event, wait_for

OUTCOMES = ("success", "client_error", "provider_error", "gateway_error", "cancelled")


def outcomes_of(metrics, **labels):
    return {o: metrics.total("weir_request_outcomes_total", outcome=o, **labels) for o in OUTCOMES}


def outcomes(w, **labels):
    return outcomes_of(w.metrics(), **labels)


def only(**counts):
    return {**dict.fromkeys(OUTCOMES, 0), **counts}


def exported(w):
    """What `weir export` makes of the gateway's log, with its configuration."""
    done = subprocess.run([WEIR, "export", w.log_path, "--once", "--config", w.config_path], capture_output=True, check=True, timeout=30)
    return Metrics(done.stdout.decode())


def agrees_with_export(w, *names):
    """Series of these families are the same in what `weir export` makes of the log. Those without an observation may be missing there."""
    mine, theirs = w.metrics(), exported(w)
    for (name, labels), value in mine.samples.items():
        if re.sub("_(bucket|sum|count)$", "", name) in names or name in names:
            assert theirs.samples.get((name, labels), 0) == pytest.approx(value, rel=0.02, abs=1e-9), (name, labels)


# ---- whose fault ----

def test_all_outcomes_of_configured_models_are_there_before_any_request(weir, mock):
    metrics = weir(config(*(model(n, mock.base) for n in ("sim-fast", "real", "sim-slow")),
                          model("sim-embed", mock.base, info={"mode": "embedding"}))).metrics()
    seen = {(s["model"], s["outcome"]) for s in metrics.series("weir_request_outcomes_total")}
    assert seen == {(m, o) for m in ("sim-fast", "real", "sim-embed", "sim-slow") for o in OUTCOMES}
    assert metrics.total("weir_request_outcomes_total") == 0
    for family in ("weir_retries_total", "weir_slow_requests_total"):
        assert {s["model"] for s in metrics.series(family)} == {"sim-fast", "real", "sim-embed", "sim-slow"}
    for family in ("weir_ttft_seconds_count", "weir_output_token_seconds_count"):  # embeddings have neither
        assert {s["model"] for s in metrics.series(family)} == {"sim-fast", "real", "sim-slow"}


@pytest.mark.parametrize("status, outcome", [
    (400, "client_error"), (401, "provider_error"), (402, "provider_error"), (403, "provider_error"), (404, "provider_error"),
    (408, "provider_error"), (409, "provider_error"), (413, "client_error"), (422, "client_error"), (429, "provider_error"),
    (500, "provider_error"), (503, "provider_error"), (529, "provider_error")])
def test_whose_fault_a_providers_status_is(gateway, status, outcome):
    gateway.chat("sim-fast", {"x-mock-status": str(status)})
    assert outcomes(gateway, model="sim-fast", provider="openai") == only(**{outcome: 1})
    assert outcomes(gateway) == only(**{outcome: 1}), "nowhere else"


def test_a_404_for_a_name_the_client_made_up_is_the_clients(weir, mock):
    w = weir(config(model("any/*", mock.base, "openai/*")))
    w.chat("any/thing", {"x-mock-status": "404"})
    assert outcomes(w, model="any/*") == only(client_error=1)


@pytest.mark.parametrize("fault, stream, outcome", [
    ({}, False, "success"), ({}, True, "success"),
    ({"x-mock-cut-after": "2"}, True, "provider_error"), ({"x-mock-error-in-stream": "4"}, True, "provider_error"),
    ({"x-mock-close-before-head": "1"}, False, "provider_error"), ({"x-mock-garbage": "1"}, False, "provider_error"),
    ({"x-mock-not-json": "1"}, False, "provider_error"), ({"x-mock-cut-json": "1"}, False, "provider_error")])
def test_whose_fault_an_upstreams_behaviour_is(gateway, fault, stream, outcome):
    gateway.chat("sim-fast", fault, stream=stream)
    assert outcomes(gateway, model="sim-fast") == only(**{outcome: 1}), gateway.record()


def test_an_upstream_that_is_not_there_is_the_providers_fault(weir):
    w = weir(config(model("m", "http://127.0.0.1:1/v1", "openai/m")))
    assert w.chat("m").status == 502
    assert outcomes(w, model="m") == only(provider_error=1)


def test_what_the_client_does_wrong_is_its_own_fault(weir, mock):
    w = weir(config(model("sim-fast", mock.base), general_settings={"master_key": "sk-1234"},
                    weir_settings={"keys": [{"key": "sk-one", "key_alias": "one", "rpm_limit": 1},
                                            {"key": "sk-poor", "key_alias": "poor", "max_budget": 0},
                                            {"key": "sk-other", "key_alias": "other", "models": ["elsewhere"]}]}))
    one, master = {"authorization": "Bearer sk-one"}, {"authorization": "Bearer sk-1234"}
    assert w.chat("sim-fast", one).status == 200
    assert w.chat("sim-fast", one).status == 429                                     # its own limit
    assert w.chat("nobody-has-this", master).status == 400                           # no such model
    assert w.post("/v1/chat/completions", b"{", master).status == 400                # no JSON
    assert w.chat("sim-fast", {"authorization": "Bearer sk-other"}).status == 401    # not its model
    assert w.chat("sim-fast", {"authorization": "Bearer sk-poor"}).status == 400     # its own budget
    w.requests(6)
    assert outcomes(w) == outcomes_of(exported(w)) == only(success=1, client_error=5)
    assert outcomes(w, model="sim-fast") == outcomes_of(exported(w), model="sim-fast") == only(success=1, client_error=3)
    agrees_with_export(w, "weir_request_outcomes_total")


def test_what_the_operator_limits_for_all_is_the_gateways_fault(weir, mock):
    limited = model("sim-fast", mock.base, max_parallel_requests=1)
    w = weir(config(limited, model("real", mock.base, "openai/sim-fast"), general_settings={"global_max_parallel_requests": 2}))
    slow = {"x-mock-ttft-ms": "3000"}
    threads = [threading.Thread(target=w.chat, args=("sim-fast", slow))]
    threads[0].start()
    wait_for(lambda: w.metrics().total("litellm_in_flight_requests") == 1)
    assert w.chat("sim-fast").status == 429                                          # every deployment is full
    threads.append(threading.Thread(target=w.chat, args=("real", slow)))
    threads[1].start()
    wait_for(lambda: w.metrics().total("litellm_in_flight_requests") == 2)
    assert w.chat("real").status == 429                                              # the gateway is
    for t in threads:
        t.join()
    w.requests(4)
    assert outcomes(w) == only(success=2, gateway_error=2)
    assert outcomes(w, model="sim-fast") == outcomes(w, model="real") == only(success=1, gateway_error=1)
    agrees_with_export(w, "weir_request_outcomes_total")


def test_deployments_that_rest_are_the_providers_fault(weir, mock):
    w = weir(config(model("sim-fast", mock.base), router_settings={"num_retries": 0, "allowed_fails": 0, "cooldown_time": 60}))
    w.chat("sim-fast", {"x-mock-status": "500"})
    assert w.chat("sim-fast").status == 429
    w.requests(2)
    assert outcomes(w) == only(provider_error=2)
    assert w.metrics().total("weir_errors_total", error="deployments_rest") == 1


def test_a_client_that_leaves_is_nobodys_fault(gateway):
    with gateway.connect() as raw:
        body = json.dumps(chat_body("sim-fast", stream=True)).encode()
        raw.send(request("POST", "/v1/chat/completions", body, {"x-mock-ttft-ms": "5000"}))
        wait_for(lambda: gateway.metrics().total("weir_deployment_in_flight") == 1)
    wait_for(lambda: gateway.metrics().total("weir_request_outcomes_total") == 1)
    assert outcomes(gateway) == only(cancelled=1)


def test_outcomes_past_the_series_budget_are_told_apart(weir, mock):
    names = [f"m{i:02}" for i in range(30)]
    w = weir(config(*(model(n, mock.base, "openai/sim-fast") for n in names), weir_settings={"series_budget": 16, "workers": 1}))
    for n, kind in zip(names, [{}, {"x-mock-status": "400"}, {"x-mock-status": "503"}] * 10):
        w.chat(n, kind)
    w.requests(30)
    assert outcomes(w) == only(success=10, client_error=10, provider_error=10)
    assert w.metrics().total("weir_metrics_series_overflow_total") > 0


# ---- times ----

def observed(metrics, family, **labels):
    return metrics.total(family + "_count", **labels), metrics.total(family + "_sum", **labels)


def test_time_to_first_token_is_of_streams(gateway):
    gateway.chat("sim-fast")
    gateway.chat("sim-fast", {"x-mock-status": "500"}, stream=True)
    assert observed(gateway.metrics(), "weir_ttft_seconds") == (0, 0)
    gateway.chat("sim-fast", {"x-mock-ttft-ms": "40"}, stream=True)
    gateway.chat("real", {"x-mock-cut-after": "3"}, stream=True)                     # it had begun
    records = [r for r in gateway.requests(4) if "ttft_ms" in r]
    metrics = gateway.metrics()
    assert len(records) == 2
    for r in records:
        count, total = observed(metrics, "weir_ttft_seconds", model=r["model"], provider="openai")
        assert (count, total) == (1, pytest.approx(r["ttft_ms"] / 1000))
    assert metrics.total("weir_ttft_seconds_bucket", model="sim-fast", le="2.0") == 1
    assert metrics.total("weir_ttft_seconds_bucket", model="sim-fast", le="0.025") == 0
    agrees_with_export(gateway, "weir_ttft_seconds")


def test_time_per_output_token(weir, mock):
    w = weir(config(model("sim-fast", mock.base), litellm_settings={"cache": True, "cache_params": {"type": "local"}}))
    slow = {"x-mock-tokens": "5", "x-mock-tokens-per-second": "50"}
    w.chat("sim-fast", slow, stream=True)                                            # four steps of 20 ms
    w.chat("sim-fast", slow, "another", max_tokens=9)
    first = observed(w.metrics(), "weir_output_token_seconds", model="sim-fast")
    assert first[0] == 2 and first[1] > 0.02
    for more in ({"stream": True}, {"max_tokens": 9}):                               # from the response cache: nothing was written
        assert w.chat("sim-fast", slow, "hello" if "stream" in more else "another", **more).status == 200
    assert collections.Counter(r["cache"] for r in w.requests(4)) == {"miss": 2, "hit": 2}
    assert observed(w.metrics(), "weir_output_token_seconds") == first
    w.chat("sim-fast", {"x-mock-status": "500"}, "third")
    assert observed(w.metrics(), "weir_output_token_seconds") == first
    assert observed(w.metrics(), "weir_ttft_seconds")[0] == 2, "a stream from the cache has a first token, too"


def test_slow_requests(weir, mock):
    def start(on):
        return weir(config(model("sim-fast", mock.base), model("real", mock.base, "openai/sim-fast"),
                           litellm_settings={"logging": {"log_slow_requests": on, "slow_request_threshold_ms": 60}}))

    w = start(True)
    w.chat("real")
    w.chat("sim-fast", {"x-mock-delay-ms": "200"})
    records = w.requests(2)
    slow = collections.Counter(r["model"] for r in records if r.get("slow"))
    assert slow["sim-fast"] == 1
    for name in ("sim-fast", "real"):
        assert w.metrics().total("weir_slow_requests_total", model=name, provider="openai") == slow[name]
    agrees_with_export(w, "weir_slow_requests_total")
    off = start(False)
    off.chat("sim-fast", {"x-mock-delay-ms": "200"})
    assert off.metrics().total("weir_slow_requests_total") == 0


def test_phases_of_engines(weir, upstream):
    timings = {"prompt_n": 5, "prompt_ms": 120.5, "predicted_n": 7, "predicted_ms": 301.25}
    server = upstream(forever(lambda c, q: c.reply(COMPLETION | ({"timings": timings} if b"timed" in q.body else {}))))
    w = weir(config(model("llama", server.base, "openai/llama"), model("other", server.base, "openai/other")))
    w.chat("other")
    assert w.metrics().series("weir_engine_phase_seconds_total") == []
    for _ in range(2):
        w.chat("llama", None, "timed")
    phases = {s["phase"]: w.metrics().total("weir_engine_phase_seconds_total", **s) for s in w.metrics().series("weir_engine_phase_seconds_total")}
    assert phases == {"load": 0, "prefill": pytest.approx(0.241), "decode": pytest.approx(0.6025)}
    assert {s["model"] for s in w.metrics().series("weir_engine_phase_seconds_total")} == {"llama"}
    logged = [r["engine"] for r in w.requests(3) if "engine" in r]
    assert sum(e["decode_ms"] for e in logged) / 1000 == pytest.approx(phases["decode"])
    agrees_with_export(w, "weir_engine_phase_seconds_total")


# ---- retries and fallbacks ----

def test_retries_are_the_attempts_that_others_followed(weir, fresh_mock):
    up = fresh_mock
    w = weir(config(model("m", up.base, "openai/sim-fast"), model("n", up.base, "openai/sim-fast"),
                    router_settings={"num_retries": 2, "disable_cooldowns": True, "retry_after": 0}))
    w.chat("m", {"x-mock-retry-after-ms": "1", "x-mock-status": "503"})              # fails three times
    w.chat("n", {"x-mock-status": "400"})                                            # never again
    w.chat("n")
    w.requests(3)
    metrics = w.metrics()
    extra = collections.Counter(line["model"] for line in w.lines() if line["event"] == "attempt")
    assert extra == {"m": 2}
    assert metrics.total("weir_retries_total", model="m", provider="openai") == 2
    assert metrics.total("weir_retries_total", model="n") == 0
    assert metrics.total("weir_attempts_total") - metrics.total("litellm_requests_total") == metrics.total("weir_retries_total")
    assert up.stats()["requests"] == 5
    agrees_with_export(w, "weir_retries_total")


def fallback_config(base, **router):
    fails = "http://127.0.0.1:1/v1"
    return config(model("a", fails, "openai/a"), model("b", fails, "openai/b"), model("c", base, "openai/sim-fast"),
                  model("d", base, "openai/sim-fast"), model("w/*", fails, "openai/*"),
                  router_settings={"num_retries": 0, "disable_cooldowns": True, **router})


def fallbacks_of(metrics, family="weir_fallbacks_total"):
    return {(s.get("model", s.get("requested_model")), s["fallback_model"], s.get("status")): metrics.total(family, **s)
            for s in metrics.series(family)}


def test_configured_fallbacks_are_there_as_zeros(weir, mock):
    w = weir(fallback_config(mock.base, fallbacks=[{"a": ["b", "c"]}], context_window_fallbacks=[{"a": ["c"]}, {"d": ["c"]}],
                             default_fallbacks=["d"]))
    zeros = fallbacks_of(w.metrics())
    pairs = {("a", "b"), ("a", "c"), ("d", "c"), ("b", "d"), ("c", "d"), ("w/*", "d")}
    assert zeros == {(m, f, s): 0 for m, f in pairs for s in ("success", "failure")}
    w.chat("c")
    w.chat("d", {"x-mock-status": "400"})
    assert sum(fallbacks_of(w.metrics()).values()) == sum(v for k, v in fallbacks_of(w.metrics()).items() if k[0] == "d")


def test_fallbacks_that_answer(weir, mock):
    w = weir(fallback_config(mock.base, fallbacks=[{"a": ["c"]}, {"w/*": ["c"]}]))
    for _ in range(3):
        assert w.chat("a").status == 200
    assert w.chat("w/made-up").status == 200
    w.chat("c")
    assert collections.Counter(r.get("fallback_from") for r in w.requests(5)) == {"a": 3, "w/*": 1, None: 1}
    metrics = w.metrics()
    moved = {k: v for k, v in fallbacks_of(metrics).items() if v}
    assert moved == {("a", "c", "success"): 3, ("w/*", "c", "success"): 1}
    assert "made-up" not in metrics.text
    [series] = [s for s in metrics.series("litellm_deployment_successful_fallbacks_total") if s["requested_model"] == "a"]
    assert series == {"requested_model": "a", "fallback_model": "c", "hashed_api_key": "None", "api_key_alias": "None", "team": "None",
                      "team_alias": "None", "exception_status": "502", "exception_class": "Openai.APIConnectionError", "model_id": "None"}
    assert metrics.total("litellm_deployment_successful_fallbacks_total", requested_model="a") == 3
    line = next(x for x in metrics.text.splitlines() if x.startswith("litellm_deployment_successful_fallbacks_total{"))
    assert re.findall(r'(\w+)="', line) == ["requested_model", "fallback_model", "hashed_api_key", "api_key_alias", "team", "team_alias",
                                            "exception_status", "exception_class", "model_id"]
    assert metrics.series("litellm_deployment_failed_fallbacks_total") == []
    agrees_with_export(w, "weir_fallbacks_total")


def test_fallbacks_that_fail_and_lead_on(weir, mock):
    w = weir(fallback_config(mock.base, fallbacks=[{"a": ["b", "c"]}]))
    assert w.chat("a", {"x-mock-status": "400"}).status == 400                       # b cannot be reached, c says no
    assert w.chat("a").status == 200
    w.requests(2)
    metrics = w.metrics()
    moved = {k: v for k, v in fallbacks_of(metrics).items() if v}
    assert moved == {("a", "c", "failure"): 1, ("a", "c", "success"): 1}, "a request is one, wherever it went in between"
    assert fallbacks_of(metrics, "litellm_deployment_failed_fallbacks_total") == {("a", "b", None): 2, ("a", "c", None): 1}
    assert fallbacks_of(metrics, "litellm_deployment_successful_fallbacks_total") == {("a", "c", None): 1}
    assert outcomes(w, model="a") == only(success=1, client_error=1)
    agrees_with_export(w, "weir_fallbacks_total")


def test_a_fallback_because_all_rest(weir, mock):
    w = weir(config(model("a", mock.base, "openai/sim-fast"), model("c", mock.base, "openai/sim-fast"),
                    router_settings={"num_retries": 0, "allowed_fails": 0, "cooldown_time": 60, "fallbacks": [{"a": ["c"]}]}))
    assert w.chat("a", {"x-mock-status": "503"}).status == 503                       # the header reaches c, too
    assert w.chat("a", None).status in (200, 429)
    w.requests(2)
    seen = {s["exception_class"]: s["exception_status"] for name in ("successful", "failed")
            for s in w.metrics().series(f"litellm_deployment_{name}_fallbacks_total")}
    assert seen == {"Openai.ServiceUnavailableError": "503", "ProxyException": "429"}


# ---- what is left of limits ----

def remaining(w, family):
    return {(s["model_group"], s["litellm_model_name"]): w.metrics().total(family, **s) for s in w.metrics().series(family)}


def test_limits_of_providers_as_their_answers_tell(weir, upstream):
    left = iter([("9", "8000"), ("8", "7500"), (None, None), ("-1", "many"), ("0", "0")])

    def reply(c, _):
        requests, tokens = next(left)
        lines = {"x-ratelimit-remaining-requests": requests, "x-ratelimit-remaining-tokens": tokens} if requests else {}
        c.reply(COMPLETION, headers=lines, status="429 Slow" if requests == "0" else "200 OK")

    server = upstream(forever(reply))
    claude = upstream(forever(lambda c, q: c.reply(COMPLETION, headers={
        "Anthropic-RateLimit-Requests-Remaining": "49",
        "anthropic-ratelimit-tokens-remaining": "39000"})))
    w = weir(config(model("g", server.base, "openai/gpt"), model("c", claude.base, "openai/claude"), model("quiet", server.base, "openai/q")))
    assert w.metrics().series("litellm_remaining_requests_metric") == []
    expected = [(9, 8000), (8, 7500), (8, 7500), (8, 7500), (0, 0)]
    for requests, tokens in expected:
        w.chat("g")
        for alias in ("", "_metric"):
            assert remaining(w, "litellm_remaining_requests" + alias) == {("g", "gpt"): requests}
            assert remaining(w, "litellm_remaining_tokens" + alias) == {("g", "gpt"): tokens}
    w.chat("c")
    assert remaining(w, "litellm_remaining_requests_metric") == {("g", "gpt"): 0, ("c", "claude"): 49}
    assert remaining(w, "litellm_remaining_tokens_metric") == {("g", "gpt"): 0, ("c", "claude"): 39000}
    line = next(x for x in w.metrics().text.splitlines() if x.startswith("litellm_remaining_tokens_metric{"))
    assert re.findall(r'(\w+)="', line) == ["model_group", "api_provider", "api_base", "litellm_model_name", "hashed_api_key",
                                            "api_key_alias", "model_id"]


def test_limits_of_keys(weir, mock):
    w = weir(config(model("sim-fast", mock.base), general_settings={"master_key": "sk-1234"},
                    weir_settings={"keys": [{"key": "sk-l", "key_alias": "limited", "rpm_limit": 5, "max_parallel_requests": 2},
                                            {"key": "sk-t", "key_alias": "tokens", "tpm_limit": 1000},
                                            {"key": "sk-f", "key_alias": "free"}]}))

    def limits(which):
        name = f"litellm_api_key_rate_limit_{which}_metric"
        return {(s["api_key_alias"], s["rate_limit_type"]): w.metrics().total(name, **s) for s in w.metrics().series(name)}

    assert limits("allowed") == {("limited", "requests"): 5, ("limited", "max_parallel_requests"): 2, ("tokens", "tokens"): 1000}
    assert set(limits("used").values()) == {0} and set(limits("used")) == set(limits("allowed"))
    for key in ("sk-l", "sk-l", "sk-t", "sk-f"):
        assert w.chat("sim-fast", {"authorization": f"Bearer {key}"}).status == 200
    used = sum(r["total_tokens"] for r in w.requests(4) if r["key_alias"] == "tokens")
    wait_for(lambda: limits("used")[("tokens", "tokens")] == used)
    assert limits("used") == {("limited", "requests"): 2, ("limited", "max_parallel_requests"): 0, ("tokens", "tokens"): used}
    assert w.metrics().series("litellm_api_key_max_budget_metric") == []


# ---- LiteLLM's own names ----

def test_litellms_services(gateway):
    metrics = gateway.metrics()
    for family in ("litellm_self_latency_count", "litellm_self_total_requests_total"):
        assert metrics.series(family) == [{"self": "self"}] and metrics.total(family) == 0
    for kind in ({}, {}, {"x-mock-status": "429"}):
        gateway.chat("sim-fast", kind)
    gateway.chat("nobody-has-this")
    records = gateway.requests(4)
    metrics = gateway.metrics()
    good = [r for r in records if r["status"] == "success"]
    assert metrics.total("litellm_self_latency_count") == len(good) == 2
    assert metrics.total("litellm_self_latency_sum") == pytest.approx(sum(r["latency_ms"] for r in good) / 1000, rel=1e-4)
    assert metrics.total("litellm_self_total_requests_total") == 4
    failed = {s["error_class"]: s["function_name"] for s in metrics.series("litellm_self_failed_requests_total")}
    assert failed == {"Openai.RateLimitError": "/v1/chat/completions", "ProxyException": "/v1/chat/completions"}
    queued = [r["queue_ms"] for r in records if "queue_ms" in r]
    assert metrics.total("litellm_router_latency_count", router="router") == len(queued) == 3
    assert metrics.total("litellm_router_latency_sum") == pytest.approx(sum(queued) / 1000, rel=1e-3)
    agrees_with_export(gateway, "litellm_self_latency", "litellm_self_total_requests_total", "litellm_self_failed_requests_total")


def test_tokens_of_the_provider_cache_and_of_reasoning(weir, upstream):
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150, "prompt_tokens_details": {"cached_tokens": 64},
             "completion_tokens_details": {"reasoning_tokens": 30}}
    server = upstream(forever(lambda c, q: c.reply(COMPLETION | {"usage": usage})))
    w = weir(config(model("o", server.base, "openai/o3")))
    w.chat("o")
    record, metrics = w.record(), w.metrics()
    for family in ("litellm_input_cached_tokens_metric_total", "litellm_provider_cache_read_input_tokens_metric_total"):
        assert metrics.total(family, model="o3") == record["cached_tokens"] == 64
    assert metrics.total("litellm_output_reasoning_tokens_metric_total", model="o3", requested_model="o") == record["reasoning_tokens"] == 30
    assert metrics.total("litellm_cached_tokens_metric_total") == 0, "that is the response cache"


def test_requests_in_progress(gateway):
    threads = [threading.Thread(target=gateway.chat, args=("sim-slow", {"x-mock-ttft-ms": "1500"})) for _ in range(2)]
    for t in threads:
        t.start()
    wait_for(lambda: gateway.metrics().total("litellm_deployment_in_progress_requests", litellm_model_name="sim-slow") == 2)
    assert gateway.metrics().total("litellm_deployment_in_progress_requests") == 2
    for t in threads:
        t.join()
    wait_for(lambda: gateway.metrics().total("litellm_deployment_in_progress_requests") == 0)


# ---- the whole exposition ----

@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_says_nothing(weir, upstream):
    """With every family there: budgets, limits, failures, fallbacks, engines."""
    timings = {"prompt_ms": 1.5, "predicted_ms": 3}
    lines = {"x-ratelimit-remaining-requests": "3", "x-ratelimit-remaining-tokens": "4"}

    def reply(c, q):
        if q.json.get("stream"):
            c.stream(delta("hi"), delta(" there", "stop"), usage_event(), "[DONE]")
        elif b"bad" in q.body:
            c.reply({"error": {"message": "no"}}, "500 No")
        else:
            c.reply(COMPLETION | {"timings": timings}, headers=lines)

    server = upstream(forever(reply))
    w = weir(config(model("m", server.base, "openai/m", rpm=100, tpm=1000), model("n", "http://127.0.0.1:1/v1", "openai/n"),
                    general_settings={"master_key": "sk-1234"}, litellm_settings={"cache": True, "cache_params": {"type": "local"}},
                    router_settings={"num_retries": 1, "allowed_fails": 0, "fallbacks": [{"n": ["m"]}]},
                    weir_settings={"keys": [{"key": "sk-k", "key_alias": "k", "max_budget": 5, "budget_duration": "30d", "rpm_limit": 50}]}))
    key = {"authorization": "Bearer sk-k"}
    for name, text, more in (("m", "hello", {}), ("m", "hello", {}), ("m", "hi", {"stream": True}), ("n", "hello again", {}), ("m", "bad", {})):
        w.chat(name, key, text, **more)
    w.requests(5)
    text = w.get("/metrics", {"authorization": "Bearer sk-1234"}).text
    for family in ("litellm_deployment_successful_fallbacks_total", "litellm_api_key_budget_remaining_hours_metric", "weir_engine_phase_seconds_total",
                   "litellm_remaining_requests", "litellm_cache_hits", "litellm_deployment_cooled_down_total",
                   "litellm_api_key_rate_limit_used_metric"):
        assert f"\n{family}{{" in text, family
    # A name of LiteLLM's own, to which promtool 2.42 objects. Without a key that has a budget it is not there.
    dictated = b'litellm_api_key_budget_remaining_hours_metric use base unit "seconds" instead of "hours"\n'
    without = "".join(x for x in text.splitlines(True) if "litellm_api_key_budget_remaining_hours_metric" not in x)
    done = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True)
    assert done.stdout + done.stderr in (b"", dictated)
    for exposition in (without, subprocess.run([WEIR, "export", w.log_path, "--once"], capture_output=True, check=True).stdout.decode()):
        done = subprocess.run(["promtool", "check", "metrics"], input=exposition.encode(), capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_list_of_litellms_families_is_true():
    """docs/compatibility.md names what there is and what there is not; docs/metrics.md is made from the table."""
    there = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.M))
    text = (ROOT / "docs/compatibility.md").read_text().split("### LiteLLM's families, one by one")[1].split("\n## ")[0]
    listed = set()
    for names, answer in re.findall(r"^\| (`litellm_[^|]*) \| (yes|no) \|", text, re.M):
        for name in re.findall(r"`(litellm_\w+)`", names):
            assert (name in there) == (answer == "yes"), name
            assert name not in listed, f"twice: {name}"
            listed.add(name)
    own = {"litellm_requests_total", "litellm_latency_seconds", "litellm_tokens_total", "litellm_cache_hits"}
    assert {n for n in there if n.startswith("litellm_")} - listed == own
    assert len(listed) > 90
