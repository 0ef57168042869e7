"""Health: checks on demand and in the background, what engines say, and what is shown of both.

Ollama, vLLM and llama.cpp are imitated here by a scripted upstream that answers with bodies as their documentation shows them (a real llama.cpp is asked
in test_llama.py).
"""
import json
import threading
import time

import pytest
from harness import COMPLETION, Metrics, Raw, chat_body, config, forever, model, request, wait_for

PS = {"models": [
    {"name": "llama3.2:latest", "model": "llama3.2:latest", "size": 3427000000, "digest": "a80c4f17acd5",
     "details": {"format": "gguf", "family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
     "expires_at": "2026-06-04T14:38:31.83753-07:00", "size_vram": 2000000000},
    {"name": "somebody's own:7b", "model": "somebody's own:7b", "size": 5137025024, "digest": "2ae6f6dd7a3d", "size_vram": 7}]}
VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="Qwen/Qwen3-8B"} 8.0
vllm:num_requests_waiting{engine="0",model_name="Qwen/Qwen3-8B"} 3.0
vllm:kv_cache_usage_perc{engine="0",model_name="Qwen/Qwen3-8B"} 0.25
"""
PROPS = {"default_generation_settings": {"id": 0, "n_ctx": 1024}, "total_slots": 2, "model_path": "m.gguf", "build_info": "b6123-abc"}
SLOTS = [{"id": 0, "is_processing": True}, {"id": 1, "is_processing": False}]
TEXT = {"content-type": "text/plain; version=0.0.4"}


def by_path(pages):
    """Answers by path: bytes, JSON, or (status, body); what is not there is 404. `pages` may be changed while it runs."""
    def reply(connection, asked):
        page = pages.get(asked.target, ("404 Not Found", {"error": "no such path"}))
        if callable(page):
            page(connection, asked)
            return
        status, body = page if isinstance(page, tuple) else ("200 OK", page)
        connection.reply(body, status)
    return forever(reply)


MODELS = {"object": "list", "data": []}


def asked_for(server, path):
    return [a for a in server.requests if a.target == path]


# ---- checks on demand ----

@pytest.mark.parametrize("answer, alive, says", [
    ("200 OK", True, None), ("404 Not Found", True, "404"), ("405 Method Not Allowed", True, "405"), ("401 Unauthorized", False, "key was refused"),
    ("403 Forbidden", False, "key was refused"), ("429 Too Many", False, "429"), ("302 Found", False, "302"), ("503 Unavailable", False, "503")])
def test_what_an_answer_means(weir, upstream, answer, alive, says):
    up = upstream(by_path({"/v1/models": (answer, MODELS)}))
    health = weir(config(model("m", up.base))).get("/health").json
    assert (health["healthy_count"], health["unhealthy_count"]) == ((1, 0) if alive else (0, 1))
    entry = (health["healthy_endpoints"] + health["unhealthy_endpoints"])[0]
    said = entry.get("note" if alive else "error")
    assert ("error" in entry) == (not alive) and (says in said if says else said is None)
    assert entry["model"] == "openai/m" and entry["model_name"] == "m" and entry["traffic"]["state"] == "healthy"
    assert 0 <= entry["checked_seconds_ago"] < 10


def test_what_is_not_there_and_what_is_silent(weir, upstream):
    quiet = threading.Event()
    up = upstream(by_path({"/v1/models": lambda connection, asked: quiet.wait(20)}))
    w = weir(config(model("gone", "http://127.0.0.1:9/v1"), model("silent", up.base, info={"health_check_timeout": 1})))
    begin = time.monotonic()
    health = w.get("/health").json
    assert 0.9 < time.monotonic() - begin < 8
    quiet.set()
    errors = {e["model_name"]: e["error"] for e in health["unhealthy_endpoints"]}
    assert "refused" in errors["gone"] and "did not answer in time" in errors["silent"]


def test_one_model_is_asked_for(weir, upstream):
    up = upstream(by_path({"/a/models": MODELS, "/b/models": MODELS}))
    root = up.base[:-len("/v1")]
    w = weir(config(model("m", root + "/a", info={"id": "first"}), model("m", root + "/b", "openai/other", info={"id": "second"}), model("n", root + "/a")))
    assert w.get("/health?model=n").json["healthy_count"] == 1 and len(up.requests) == 1
    assert [e["model_id"] for e in w.get("/health?model_id=second").json["healthy_endpoints"]] == ["second"]
    assert w.get("/health?model=openai%2Fother").json["healthy_count"] == 1
    assert len(up.requests) == 2  # the second one's answer was fresh
    assert {e["model_id"] for e in w.get("/health?model=m").json["healthy_endpoints"]} == {"first", "second"}
    for query in ("model=nobody", "model_id=nobody", "model=n&model_id=first"):
        refused = w.get(f"/health?{query}")
        assert refused.status == 404 and "/model/info" in refused.error["message"]


def test_details_can_be_left_out(weir, upstream):
    up = upstream(by_path({"/v1/models": MODELS}))
    w = weir(config(model("m", up.base), model("dead", "http://127.0.0.1:9/v1"), general_settings={"health_check_details": False}))
    health = w.get("/health").json
    assert health["healthy_endpoints"] == [{"model": "openai/m"}] and health["unhealthy_endpoints"] == [{"model": "openai/dead"}]


def test_a_completion_of_one_token(weir, upstream):
    pages = {"/v1/chat/completions": COMPLETION, "/v1/embeddings": {"data": []}, "/v1/models": MODELS, "/v1/completions": COMPLETION}
    up = upstream(by_path(pages))
    own = {"extra_headers": {"x-team": "blue"}}
    w = weir(config(model("chat", up.base, **own), model("all/*", up.base, "openai/*"), model("some/*", up.base, "openai/*", info={"health_check_model": "openai/small"}),
                    model("vectors", up.base, info={"mode": "embedding"}), model("old", up.base, info={"mode": "completion"}),
                    model("thinks", up.base, "openai/o3-mini"), model("pictures", up.base, info={"mode": "image_generation"}),
                    weir_settings={"health_check": "completion"}))
    assert w.get("/health").json["healthy_count"] == 7
    chats = sorted((a.json for a in asked_for(up, "/v1/chat/completions")), key=lambda body: body["model"])
    assert [(c["model"], c.get("max_tokens"), c.get("max_completion_tokens")) for c in chats] == [
        ("chat", 1, None), ("o3-mini", None, 16), ("small", 1, None)]
    assert all(len(c["messages"]) == 1 for c in chats)
    assert [a.json for a in asked_for(up, "/v1/embeddings")] == [{"model": "vectors", "input": "Hi"}]
    assert [a.json["prompt"] for a in asked_for(up, "/v1/completions")] == ["Hi"]
    assert len(asked_for(up, "/v1/models")) == 2  # a wildcard without a name to ask for, and what is no text
    sent = next(a for a in up.requests if a.method == "POST" and a.json["model"] == "chat")
    assert sent.headers["authorization"] == "Bearer sk-upstream" and sent.headers["x-team"] == "blue"
    assert w.lines() == [] or all(r["event"] != "request" for r in w.lines())  # nobody's request
    pages["/v1/chat/completions"] = ("404 Not Found", {"error": {"message": "no such model"}})
    wait_for(lambda: w.get("/health?model=chat").json["unhealthy_count"] == 1)


# ---- in the background ----

def test_background_checks(weir, upstream):
    pages = {"/v1/models": MODELS}
    up = upstream(by_path(pages))
    w = weir(config(model("m", up.base, info={"id": "one"}), general_settings={"background_health_checks": True, "health_check_interval": 1}))
    assert w.get("/health").json["healthy_count"] == 1  # the first round is waited for
    wait_for(lambda: len(up.requests) >= 2)
    before = len(up.requests)
    for _ in range(20):
        assert w.get("/health").json["healthy_endpoints"][0]["checked_seconds_ago"] < 5
    assert len(up.requests) - before <= 1  # by the clock, not by those who ask
    pages["/v1/models"] = ("503 Unavailable", {})

    def found_dead():
        return w.get("/health").json["unhealthy_count"] == 1

    wait_for(found_dead)
    seen = w.metrics()
    assert seen.total("weir_deployment_probe_success", model_id="one") == 0 and 0 <= seen.total("weir_deployment_probe_age_seconds", model_id="one") < 5


def test_without_background_checks_nobody_is_asked(weir, upstream):
    up = upstream(by_path({"/v1/models": MODELS}))
    w = weir(config(model("m", up.base)))
    assert w.metrics().series("weir_deployment_probe_success") == []
    time.sleep(1.2)
    assert up.requests == []
    w.get("/health")
    assert w.metrics().total("weir_deployment_probe_success") == 1


# ---- engines ----

def engines(w):
    return {m["model"]: m["engine"] for m in w.get("/api/v1/status").json["models"]}


def test_ollama(weir, upstream):
    pages = {"/api/ps": PS, "/api/version": {"version": "0.9.1"}}
    up = upstream(by_path(pages))
    root = up.base[:-len("/v1")]
    w = weir(config(model("small", root, "ollama/llama3.2"), model("chat", root, "ollama_chat/llama3.2"), weir_settings={"engine_poll_ms": 100}))
    engine = wait_for(lambda: (engines(w)["small"] or {}).get("up") and engines(w)["small"])
    assert engines(w)["chat"]["base"] == engine["base"] == root
    assert (engine["engine"], engine["version"], engine["loaded_models"], engine["running"]) == ("ollama", "0.9.1", 2, None)
    assert engine["models"][0] == {"name": "llama3.2:latest", "size_bytes": 3427000000, "vram_bytes": 2000000000, "expires_at": PS["models"][0]["expires_at"]}
    seen, where = w.metrics(), {"engine": "ollama", "api_base": root}
    assert seen.series("weir_engine_up") == [where]  # one engine, whatever number of deployments
    assert seen.total("weir_engine_up", **where) == 1 and seen.total("weir_engine_loaded_models", **where) == 2
    assert seen.total("weir_engine_model_vram_bytes", model="llama3.2", **where) == 2000000000
    assert seen.total("weir_engine_model_vram_bytes", model="other", **where) == 7  # a name of the engine's own is no label
    assert "somebody" not in seen.text
    assert up.requests[0].headers["authorization"] == "Bearer sk-upstream"  # as requests to it have it


def test_vllm_and_what_it_said_before_it_went_down(weir, upstream):
    pages = {"/metrics": VLLM.encode(), "/version": {"version": "0.11.0"}}
    up = upstream(by_path(pages))
    w = weir(config(model("q", up.base, "hosted_vllm/Qwen/Qwen3-8B"), weir_settings={"engine_poll_ms": 100}))
    wait_for(lambda: w.metrics().total("weir_engine_up") == 1)
    seen = w.metrics()
    assert [seen.total(f"weir_engine_{n}", engine="vllm") for n in ("requests_running", "requests_waiting", "kv_cache_usage_ratio")] == [8, 3, 0.25]
    assert engines(w)["q"]["version"] == "0.11.0" and engines(w)["q"]["kv_cache_usage"] == 0.25
    pages["/metrics"] = ("500 Oops", b"")

    def is_down():
        return w.metrics().total("weir_engine_up", engine="vllm") == 0

    wait_for(is_down)
    seen = w.metrics()
    assert seen.series("weir_engine_up") and not seen.series("weir_engine_requests_running")  # nothing older is shown


def test_llama_cpp_is_found_out(weir, upstream):
    pages = {"/props": PROPS, "/metrics": ("501 Not Implemented", {"error": {"code": 501}}), "/slots": SLOTS}
    up = upstream(by_path(pages))
    w = weir(config(model("m", up.base, info={"engine": "auto"}), weir_settings={"engine_poll_ms": 100}))
    engine = wait_for(lambda: (engines(w)["m"] or {}).get("up") and engines(w)["m"])
    assert (engine["engine"], engine["version"], engine["slots"], engine["running"], engine["waiting"]) == ("llama.cpp", "b6123-abc", 2, 1, None)
    known = len(asked_for(up, "/api/ps"))
    wait_for(lambda: len(asked_for(up, "/props")) >= 4)
    assert len(asked_for(up, "/api/ps")) == known  # once it is known, it is not taken for something else
    pages["/metrics"] = b"llamacpp:requests_processing 2\nllamacpp:requests_deferred 5\n"
    wait_for(lambda: w.metrics().total("weir_engine_requests_waiting", engine="llama.cpp") == 5)
    pages.clear()
    pages.update({"/api/ps": {"models": []}})  # another engine takes the port
    wait_for(lambda: (engines(w)["m"] or {}).get("engine") == "ollama")


def test_engines_that_misbehave_cost_nobody_anything(weir, upstream):
    def endless(connection, _):
        connection.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        connection.send(b'{"models":[' + b" " * 3000000)
        connection.send(b"]}")

    def silent(connection, _):
        connection.more()

    bodies = [endless, silent, b"\xff\xfe", b"[" * 100000, b'{"models": "many"}', ("302 Found", b""), b""]
    ups = [upstream(by_path({"/api/ps": body, "/v1/chat/completions": COMPLETION})) for body in bodies]
    w = weir(config(*[model(f"m{i}", u.base[:-3], f"ollama/m{i}") for i, u in enumerate(ups)], weir_settings={"engine_poll_ms": 100}))
    wait_for(lambda: all(e and e["asked_seconds_ago"] is not None for e in engines(w).values()))
    assert not any(e["up"] for e in engines(w).values())
    for i in range(len(ups)):
        assert w.chat(f"m{i}").status == 200
    assert w.metrics().total("weir_engine_up") == 0


def test_engines_are_asked_only_where_they_are_meant_to_be(weir, upstream):
    up = upstream(by_path({}))
    w = weir(config(model("plain", up.base), model("said", up.base, "ollama/x", info={"engine": "none"}), weir_settings={"engine_poll_ms": 50}), folder="a")
    off = weir(config(model("x", up.base, "ollama/x"), weir_settings={"engine_poll_ms": 0}), folder="b")
    time.sleep(1.3)
    assert up.requests == [] and set(engines(w).values()) == {None} and set(engines(off).values()) == {None}


# ---- what is shown ----

def test_backlog(weir, upstream):
    release = threading.Event()

    def hold(connection, _):
        release.wait(20)
        connection.reply(COMPLETION)

    up = upstream(by_path({"/v1/chat/completions": hold}))
    w = weir(config(model("m", up.base)))
    assert w.get("/health/backlog").json == {"in_flight_requests": 0}
    with Raw("127.0.0.1", w.port) as client:
        client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m")).encode()))
        wait_for(lambda: w.get("/health/backlog").json == {"in_flight_requests": 1})
        release.set()
        assert client.answer().status == 200
    wait_for(lambda: w.get("/health/backlog").json == {"in_flight_requests": 0})


def test_readiness_has_litellm_s_members(weir, mock):
    ready = weir(config(model("sim-fast", mock.base))).get("/health/readiness").json
    assert {"status", "db", "cache", "litellm_version", "success_callbacks", "use_aiohttp_transport"} <= set(ready)
    assert (ready["status"], ready["db"], ready["cache"]) == ("healthy", "Not connected", None)


def test_model_info_of_one(weir, mock):
    w = weir(config(model("a", mock.base, info={"id": "id a"}), model("b", mock.base, info={"id": "id-b"})))
    assert [d["model_name"] for d in w.get("/model/info?litellm_model_id=id%20a").json["data"]] == ["a"]
    assert [d["model_name"] for d in w.get("/v1/model/info?litellm_model_id=id-b").json["data"]] == ["b"]
    assert len(w.get("/model/info").json["data"]) == 2
    refused = w.get("/model/info?litellm_model_id=id")
    assert refused.status == 400 and "litellm_model_id" in refused.error["message"]


def test_keys_stay_secret(weir, upstream):
    up = upstream(by_path({"/api/ps": PS, "/v1/models": ("401 Unauthorized", {"error": {"message": "bad key sk-very-secret"}})}))
    w = weir(config(model("m", up.base[:-3], "ollama/m", api_key="sk-very-secret", extra_headers={"x-key": "hush-hush"}),
                    general_settings={"master_key": "sk-master"}, weir_settings={"engine_poll_ms": 50}))
    auth = {"authorization": "Bearer sk-master"}
    wait_for(lambda: "weir_engine_up" in w.get("/metrics", auth).text)
    pages = [w.get(p, auth).text for p in ("/health", "/api/v1/status", "/metrics", "/health/backlog")]
    for text in pages + [w.said()]:
        assert "very-secret" not in text and "hush-hush" not in text and "sk-master" not in text
    assert w.get("/health").status == w.get("/health/backlog").status == 401
    assert Metrics(pages[2]).total("weir_engine_loaded_models") == 2
