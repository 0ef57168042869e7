"""One configuration, two gateways: what LiteLLM answers and what weir answers, request by request.

Where the two differ on purpose, the case says so with both statuses (docs/compatibility.md has the reasons), so that a change of either shows.
"""
import json
import time

import pytest
from harness import Metrics, wait_for
from shared import MASTER_KEY, ask, chat, compact, events, said, shared_config

CHAT = "/v1/chat/completions"
ERROR_KEYS = {"message", "type", "param", "code"}


def case(name, method, path, body=None, litellm=200, weir=None, **headers):
    return pytest.param(method, path, body, headers, litellm, weir or litellm, id=name)


CASES = [
    case("chat", "POST", CHAT, chat("sim-fast")),
    case("chat without /v1", "POST", "/chat/completions", chat("sim-fast")),
    case("alias", "POST", CHAT, chat("aka")),
    case("wildcard", "POST", CHAT, chat("any/sim-fast")),
    case("stream", "POST", CHAT, chat("sim-fast", stream=True)),
    case("unknown parameters", "POST", CHAT, chat("sim-fast", top_k=3)),
    case("completions", "POST", "/v1/completions", compact({"model": "sim-fast", "prompt": "once"})),
    case("embeddings", "POST", "/v1/embeddings", compact({"model": "sim-embed", "input": ["one"]})),
    case("key in x-api-key", "POST", CHAT, chat("sim-fast"), key=None, x_api_key=MASTER_KEY),
    case("key in api-key", "POST", CHAT, chat("sim-fast"), key=None, api_key=MASTER_KEY),
    case("key in x-litellm-api-key", "POST", CHAT, chat("sim-fast"), key=None, x_litellm_api_key=f"Bearer {MASTER_KEY}"),
    case("key as basic", "POST", CHAT, chat("sim-fast"), key=None, authorization=f"Basic {MASTER_KEY}"),
    case("key without a scheme", "POST", CHAT, chat("sim-fast"), key=None, authorization=MASTER_KEY, litellm=401, weir=200),
    case("no key", "POST", CHAT, chat("sim-fast"), key=None, litellm=401),
    case("wrong key", "POST", CHAT, chat("sim-fast"), key="sk-wrong", litellm=400, weir=401),
    case("unknown model", "POST", CHAT, chat("nope"), litellm=400),
    case("bad JSON", "POST", CHAT, b'{"model": ', litellm=400),
    case("an array", "POST", CHAT, b"[1]", litellm=500, weir=400),
    case("no body", "POST", CHAT, b"", litellm=400),
    case("no model", "POST", CHAT, b'{"messages":[]}', litellm=400),
    case("model is a number", "POST", CHAT, b'{"model":5,"messages":[]}', litellm=400),
    case("no messages", "POST", CHAT, b'{"model":"sim-fast"}', litellm=400),
    case("body called text", "POST", CHAT, chat("sim-fast"), content_type="text/plain", litellm=200, weir=415),
    case("body called a form", "POST", CHAT, chat("sim-fast"), content_type="application/x-www-form-urlencoded", litellm=400, weir=415),
    case("upstream 400", "POST", CHAT, chat("fails-400"), litellm=400),
    case("upstream 401", "POST", CHAT, chat("fails-401"), litellm=401),
    case("upstream 404", "POST", CHAT, chat("fails-404"), litellm=404),
    case("upstream 429", "POST", CHAT, chat("fails-429"), litellm=429),
    case("upstream 500", "POST", CHAT, chat("fails-500"), litellm=500),
    case("upstream 503", "POST", CHAT, chat("fails-503"), litellm=503),
    case("upstream too slow", "POST", CHAT, chat("slow"), litellm=408),
    case("upstream absent", "POST", CHAT, chat("absent"), litellm=500, weir=502),
    case("stream, upstream 429", "POST", CHAT, chat("fails-429", stream=True), litellm=429),
    case("stream, upstream 500", "POST", CHAT, chat("fails-500", stream=True), litellm=500),
    case("stream, upstream too slow", "POST", CHAT, chat("slow", stream=True), litellm=408),
    case("GET where POST is due", "GET", CHAT, litellm=405),
    case("no such path", "GET", "/v1/nope", litellm=404),
    case("models", "GET", "/v1/models"),
    case("models without a key", "GET", "/v1/models", key=None, litellm=401),
    case("a model", "GET", "/v1/models/sim-fast"),
    case("an alias", "GET", "/v1/models/aka", litellm=404, weir=200),
    case("an unknown model", "GET", "/v1/models/nope", litellm=404),
    case("model info", "GET", "/model/info"),
    case("model info with /v1", "GET", "/v1/model/info"),
    case("liveliness", "GET", "/health/liveliness", key=None),
    case("liveness", "GET", "/health/liveness", key=None),
    case("readiness", "GET", "/health/readiness", key=None),
    case("health without a key", "GET", "/health", key=None, litellm=401),
    case("metrics with a key", "GET", "/metrics/"),
    case("metrics without a key", "GET", "/metrics/", key=None, litellm=401, weir=200),
    case("HEAD", "HEAD", "/health/liveliness", key=None, litellm=405, weir=200),
]


@pytest.mark.parametrize("method,path,body,headers,theirs,ours", CASES)
def test_status(gateway, litellm, method, path, body, headers, theirs, ours):
    answers = {name: ask(server, method, path, body, **headers) for name, server in (("litellm", litellm), ("weir", gateway))}
    assert {name: a.status for name, a in answers.items()} == {"litellm": theirs, "weir": ours}, {n: a.text[:300] for n, a in answers.items()}
    if ours < 400 or method == "HEAD":
        return
    error = answers["weir"].error
    assert set(error) == ERROR_KEYS and isinstance(error["message"], str) and error["message"]
    if "x-litellm-model-group" not in answers["weir"].headers:  # weir's own words, not an upstream's
        assert error["code"] == str(ours) and error["type"]
    if theirs >= 400 and "error" in answers["litellm"].json:
        assert set(answers["litellm"].error) >= {"message", "type"}


# ---- bodies ----

def without_details(message):
    return {k: v for k, v in message.items() if k not in ("provider_specific_fields", "refusal")}


def test_a_chat_says_the_same(gateway, litellm):
    theirs, ours = ask(litellm, "POST", CHAT, chat("renamed")).json, ask(gateway, "POST", CHAT, chat("renamed")).json
    assert without_details(ours["choices"][0]["message"]) == without_details(theirs["choices"][0]["message"])
    assert ours["choices"][0]["finish_reason"] == theirs["choices"][0]["finish_reason"] == "stop"
    assert {k: ours["usage"][k] for k in ("prompt_tokens", "completion_tokens", "total_tokens")} == theirs["usage"]
    assert set(theirs) - {"service_tier"} == set(ours)
    assert (theirs["model"], ours["model"]) == ("renamed", "sim-fast")  # LiteLLM restamps; weir leaves the upstream's bytes alone


def test_a_stream_says_the_same(gateway, litellm):
    asked = chat("sim-fast", stream=True, stream_options={"include_usage": True})
    theirs, ours = events(ask(litellm, "POST", CHAT, asked)), events(ask(gateway, "POST", CHAT, asked))
    assert said(ours) == said(theirs) and len(said(ours).split()) == 16
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert {k: ours[-1]["usage"][k] for k in counts} == {k: theirs[-1]["usage"][k] for k in counts}
    assert len(ours) == len(theirs)
    assert ours[-1]["choices"] == [] and theirs[-1]["choices"] == [{"index": 0, "delta": {}}]  # OpenAI's is the empty list


def test_tools_say_the_same(gateway, litellm):
    tool = {"type": "function", "function": {"name": "depth", "parameters": {"type": "object", "properties": {"river": {"type": "string"}}}}}
    theirs, ours = (ask(s, "POST", CHAT, chat("sim-tools", tools=[tool])).json["choices"][0] for s in (litellm, gateway))
    assert ours["finish_reason"] == theirs["finish_reason"] == "tool_calls"
    (our_call,), (their_call,) = ours["message"]["tool_calls"], theirs["message"]["tool_calls"]
    assert our_call["function"] == their_call["function"] and our_call["type"] == their_call["type"] == "function"
    assert our_call["id"] and their_call["id"]  # the simulated provider gives each call an id of its own


def test_embeddings_are_the_same(gateway, litellm):
    body = compact({"model": "sim-embed", "input": ["one", "two"]})
    theirs, ours = ask(litellm, "POST", "/v1/embeddings", body).json, ask(gateway, "POST", "/v1/embeddings", body).json
    assert [d["embedding"] for d in ours["data"]] == [d["embedding"] for d in theirs["data"]]
    assert ours["usage"]["prompt_tokens"] == theirs["usage"]["prompt_tokens"]


def test_an_error_inside_a_stream(gateway, litellm):
    for server in (litellm, gateway):
        answer = ask(server, "POST", CHAT, chat("stream-error", stream=True))
        assert answer.status == 200 and "[DONE]" not in answer.events
        found = events(answer)
        assert len(said(found[:-1]).split()) == 3
        assert set(found[-1]) == {"error"} and set(found[-1]["error"]) == ERROR_KEYS
        assert "had an error" in found[-1]["error"]["message"]


def test_a_stream_cut_short_is_no_success(gateway, litellm):
    theirs, ours = ask(litellm, "POST", CHAT, chat("stream-cut", stream=True)), ask(gateway, "POST", CHAT, chat("stream-cut", stream=True))
    assert "[DONE]" not in theirs.text + ours.text
    # weir had passed three words on when the upstream went away; the connection then ends without its last chunk.
    assert ours.status == 200 and not ours.complete and "error" in events(ours)[-1]
    assert len(said(events(ours)).split()) == 3
    # LiteLLM holds the beginning of a stream back: a whole error, or an error event, by how much had come.
    assert theirs.status == 500 or "error" in events(theirs)[-1]


# ---- headers ----

NEVER_SENT = {"x-litellm-callback-duration-ms", "x-litellm-key-spend", "x-litellm-model-name"}  # no callbacks; no virtual key here


def litellm_headers(answer):
    return {k for k in answer.headers if k.startswith("x-litellm-") and not k.startswith("x-litellm-response-cost-")}


@pytest.mark.parametrize("stream", [False, True])
def test_headers(gateway, litellm, stream):
    theirs, ours = (ask(s, "POST", CHAT, chat("sim-fast", stream=stream)) for s in (litellm, gateway))
    assert litellm_headers(theirs) - litellm_headers(ours) == NEVER_SENT
    assert litellm_headers(ours) - litellm_headers(theirs) == set()
    for name in ("x-litellm-model-id", "x-litellm-model-group", "x-litellm-model-api-base"):
        assert ours[name] == theirs[name]
    assert ours["x-request-id"] and theirs["x-request-id"] is None
    assert ours["content-type"] == theirs["content-type"]
    assert float(ours["x-litellm-overhead-duration-ms"]) < float(theirs["x-litellm-overhead-duration-ms"])


def test_what_an_answer_cost(gateway, litellm):
    theirs, ours = (float(ask(s, "POST", CHAT, chat("renamed"))["x-litellm-response-cost"]) for s in (litellm, gateway))
    assert ours == pytest.approx(theirs, rel=1e-9) and ours > 16 * 2e-6


def test_weights(gateway, litellm):
    for server in (litellm, gateway):
        picked = [ask(server, "POST", CHAT, chat("pair"))["x-litellm-model-id"] for _ in range(60)]
        assert set(picked) <= {"pair-1", "pair-9"}
        assert 42 <= picked.count("pair-9") <= 60, f"{picked.count('pair-9')} of 60 where 54 are due"


def test_a_timeout_takes_its_time_and_no_more(gateway, litellm):
    for server, most_s in ((litellm, 2.5), (gateway, 1.0)):
        start = time.monotonic()
        ask(server, "POST", CHAT, chat("slow"))
        assert 0.45 < time.monotonic() - start < most_s


# ---- what each says of itself ----

def test_models(gateway, litellm):
    theirs, ours = ask(litellm, "GET", "/v1/models").json, ask(gateway, "GET", "/v1/models").json
    assert set(theirs) == set(ours) and theirs["object"] == ours["object"] == "list"
    by_id = {m["id"]: m for m in theirs["data"]}
    for entry in ours["data"]:
        assert entry.items() <= by_id[entry["id"]].items()
    names = {m["id"] for m in ours["data"]}
    assert {"sim-fast", "aka"} <= names
    assert all(n.startswith("any/") for n in set(by_id) - names)  # LiteLLM writes a wildcard out with every model it has heard of


def test_model_info(gateway, litellm):
    theirs, ours = ask(litellm, "GET", "/model/info").json["data"], ask(gateway, "GET", "/model/info").json["data"]
    configured = [m["model_name"] for m in shared_config("")["model_list"]]
    assert [e["model_name"] for e in ours] == configured
    assert set(configured) - {"any/*"} < {e["model_name"] for e in theirs}  # it writes wildcards and aliases out
    for name in ("fast-id", "pair-1", "pair-9"):
        a, b = (next(e for e in entries if e["model_info"]["id"] == name) for entries in (ours, theirs))
        assert a["litellm_params"]["model"] == b["litellm_params"]["model"] and a["litellm_params"]["api_base"] == b["litellm_params"]["api_base"]
    assert "sk-upstream" not in json.dumps([theirs, ours])


def test_health(gateway, litellm):
    assert ask(gateway, "GET", "/health/liveliness", key=None).body == ask(litellm, "GET", "/health/liveliness", key=None).body
    theirs, ours = ask(litellm, "GET", "/health/readiness", key=None).json, ask(gateway, "GET", "/health/readiness", key=None).json
    assert theirs.items() <= ours.items()


# ---- metrics ----

NEWER_LABELS = {"org_id", "org_alias", "api_provider", "model_group", "service_tier", "requested_model"}  # LiteLLM has them since 1.82


def metrics_of(server):
    return Metrics(ask(server, "GET", "/metrics/").text)


def labels(metrics):
    return {name: set(dict(have)) for name, have in metrics.samples if name.startswith("litellm_")}


def ask_all(server):
    for body in (chat("renamed"), chat("renamed", stream=True, stream_options={"include_usage": True}), chat("fails-429"), chat("fails-500")):
        ask(server, "POST", CHAT, body)


def test_metric_families(gateway, litellm):
    for server in (litellm, gateway):
        ask_all(server)
    wait_for(lambda: metrics_of(litellm).total("litellm_requests_metric_total"), 30, every_s=0.5)
    theirs, ours = labels(metrics_of(litellm)), labels(metrics_of(gateway))
    shared = set(theirs) & set(ours)
    for name in shared:
        assert ours[name] <= theirs[name], f"{name} has labels that LiteLLM has not: {ours[name] - theirs[name]}"
        assert theirs[name] - ours[name] <= NEWER_LABELS, f"{name} lacks {theirs[name] - ours[name]}"
    assert {"litellm_proxy_total_requests_metric_total", "litellm_proxy_failed_requests_metric_total", "litellm_spend_metric_total",
            "litellm_requests_metric_total", "litellm_total_tokens_metric_total", "litellm_input_tokens_metric_total",
            "litellm_output_tokens_metric_total", "litellm_deployment_total_requests_total", "litellm_deployment_success_responses_total",
            "litellm_deployment_failure_responses_total", "litellm_request_total_latency_metric_bucket", "litellm_llm_api_latency_metric_bucket",
            "litellm_llm_api_time_to_first_token_metric_bucket", "litellm_overhead_latency_metric_bucket", "litellm_deployment_state",
            "litellm_deployment_latency_per_output_token_bucket", "litellm_in_flight_requests"} <= shared


def test_latency_buckets(gateway, litellm):
    for server in (litellm, gateway):
        ask_all(server)
    wait_for(lambda: metrics_of(litellm).series("litellm_request_total_latency_metric_bucket"), 30, every_s=0.5)
    theirs, ours = ({float(s["le"]) for s in metrics_of(server).series("litellm_request_total_latency_metric_bucket")} for server in (litellm, gateway))
    assert ours == theirs


@pytest.mark.parametrize("name,which", [("litellm_input_tokens_metric_total", {"requested_model": "renamed"}),
                                        ("litellm_output_tokens_metric_total", {"requested_model": "renamed"}),
                                        ("litellm_proxy_failed_requests_metric_total", {"requested_model": "fails-429", "exception_status": "429"}),
                                        ("litellm_proxy_total_requests_metric_total", {"requested_model": "renamed", "status_code": "200"}),
                                        ("litellm_deployment_failure_responses_total", {"requested_model": "fails-500"})])
def test_the_same_requests_count_the_same(gateway, litellm, name, which):
    grown = []
    for server in (litellm, gateway):
        settled = steady(server, name, which)
        ask_all(server)
        wait_for(lambda: metrics_of(server).total(name, **which) > settled, 30, every_s=0.2)
        grown.append(steady(server, name, which) - settled)
    assert grown[1] == grown[0] > 0


def steady(server, name, which):
    """LiteLLM counts after it answered: the value once it has stopped moving."""
    before = None
    while before != (now := metrics_of(server).total(name, **which)):
        before = now
        time.sleep(1 if server.__class__.__name__ == "Peer" else 0.05)
    return now
