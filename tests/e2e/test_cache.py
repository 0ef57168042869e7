"""The response cache: what is asked again is answered from memory, byte for byte; what must not be kept is not; hits are told of everywhere."""
import concurrent.futures
import itertools
import json
import re
import time

import pytest
from harness import (COMPLETION, SANITIZED, chat_body, config, delta, forever, model, request, usage_event, wait_for)


def cached(*models, params=None, weir_settings=None, **sections):
    """A configuration with the cache on; one worker, so that records come in the order of requests."""
    weir_settings = {"workers": 1, **(weir_settings or {})}
    litellm = {"cache": True, **({"cache_params": params} if params else {})}
    return config(*models, litellm_settings={**litellm, **sections.pop("litellm_settings", {})},
                  weir_settings=weir_settings, **sections)


def numbered():
    """Each answer is another one, so that a repeated one can only come from the cache. Streams where a stream is asked for."""
    count = itertools.count(1)

    def reply(connection, asked):
        n = next(count)
        if asked.json.get("stream"):
            connection.stream(delta(f"answer {n}"), delta(None, "stop"), usage_event(7, 3), "[DONE]")
        else:
            connection.reply({**COMPLETION, "id": f"answer {n}"})
    return forever(reply)


@pytest.fixture
def server(upstream):
    return upstream(numbered())


@pytest.fixture
def w(weir, server):
    return weir(cached(model("m", server.base, info={"id": "dep-1"}), params={"ttl": 600}))


def hit(answer):
    return (answer["cache-status"] or "").startswith("weir; hit")


# ---- hits ----

def test_a_plain_answer_comes_again(w, server):
    first, second = w.chat("m"), w.chat("m")
    assert (first.status, second.status) == (200, 200)
    assert first.body == second.body and len(server.requests) == 1
    assert not hit(first) and first["cache-status"] == "weir; fwd=uri-miss" and first["age"] is None
    assert hit(second) and second["age"] == "0"
    assert first["x-litellm-cache-key"] == second["x-litellm-cache-key"] and len(first["x-litellm-cache-key"]) == 64
    assert second["content-type"] == first["content-type"] == "application/json"
    assert second["content-length"] == first["content-length"]
    assert second["x-litellm-model-id"] == "dep-1" and second["x-litellm-response-cost"] == "0"
    assert second["x-request-id"] != first["x-request-id"]


def test_the_record_and_the_metrics_of_a_hit(w):
    w.chat("m")
    w.chat("m")
    miss, found = w.requests(2)
    assert (miss["cache"], found["cache"]) == ("miss", "hit")
    for name in ("model", "provider", "deployment", "upstream_model", "api_base", "prompt_tokens", "completion_tokens", "total_tokens",
                 "tokens_source", "finish_reason", "status", "http_status", "call_type"):
        assert miss[name] == found[name], name
    assert found["cost_usd"] == 0 and found["attempts"] == 0 and "upstream_ms" not in found
    metrics = w.metrics()
    assert metrics.total("litellm_cache_hits", model="m") == 1
    assert metrics.total("litellm_cache_hits_metric_total", model_id="dep-1") == 1
    assert metrics.total("litellm_cache_misses_metric_total", model_id="dep-1") == 1
    assert metrics.total("litellm_cached_tokens_metric_total") == 11
    assert metrics.total("litellm_requests_total", status="success") == 2
    assert metrics.total("litellm_deployment_total_requests_total") == 1, "a hit is no request to the deployment"
    assert metrics.total("litellm_deployment_success_responses_total") == 1
    assert metrics.total("weir_unpriced_requests_total") == 1, "what a hit costs is known"
    assert metrics.total("weir_cache_entries") == 1 and metrics.total("weir_cache_stores_total") == 1
    assert 0 < metrics.total("weir_cache_bytes") < 64 << 20


@pytest.mark.parametrize("asks_usage", [False, True])
def test_a_stream_comes_again_as_a_stream(w, server, asks_usage):
    more = {"stream_options": {"include_usage": True}} if asks_usage else {}
    first, second = w.chat("m", stream=True, **more), w.chat("m", stream=True, **more)
    assert len(server.requests) == 1 and hit(second)
    assert first.body == second.body and second.complete
    assert second["transfer-encoding"] == "chunked" and second["content-type"] == "text/event-stream"
    assert second.events[-1] == "[DONE]" and any('"usage"' in e for e in second.events) == asks_usage
    miss, found = w.requests(2)
    assert found["stream"] is True and found["cache"] == "hit" and found["ttft_ms"] >= 0
    assert found["prompt_tokens"] == miss["prompt_tokens"] == 7 and "tokens_per_second" not in found


def test_a_stream_is_no_answer_to_who_asks_for_none(w, server):
    w.chat("m", stream=True)
    assert not hit(w.chat("m")) and not hit(w.chat("m", stream=True, stream_options={"include_usage": True}))
    assert len(server.requests) == 3


def test_embeddings_and_completions(weir, upstream):
    answers = {"/v1/embeddings": {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.25]}],
                                  "usage": {"prompt_tokens": 1, "total_tokens": 1}},
               "/v1/completions": {"object": "text_completion", "choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]}}
    server = upstream(forever(lambda c, asked: c.reply(answers[asked.target])))
    w = weir(cached(model("m", server.base)))
    for path, body in (("/v1/embeddings", {"input": ["a"]}), ("/v1/completions", {"prompt": "a"})):
        first, second = w.post(path, {"model": "m", **body}), w.post(path, {"model": "m", **body})
        assert first.body == second.body and (hit(first), hit(second)) == (False, True), path
    assert len(server.requests) == 2
    assert [r["tokens_source"] for r in w.requests(4)] == ["provider", "provider", "estimated", "estimated"]


def test_large_answers_are_replayed_whole(weir, upstream):
    """Larger than what is held, than a piece, than a socket's buffer: with and without a length, and as a stream."""
    text = "x" * 700_000

    def reply(c, asked):
        if asked.json.get("stream"):
            c.stream(*(delta(f"{i} " + text[:5000]) for i in range(100)), delta(None, "stop"), "[DONE]")
            return
        body = json.dumps({**COMPLETION, "padding": text}).encode()
        c.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 50_000):
            c.send_chunk(body[at:at + 50_000])
        c.end_stream()

    server = upstream(forever(reply))
    w = weir(cached(model("m", server.base)))
    for stream in (False, True):
        first = w.chat("m", stream=stream)
        with w.connect(receive_buffer=4096) as slow:
            slow.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m", stream=stream)).encode()))
            time.sleep(0.2)
            second = slow.answer()
            slow.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m", stream=stream)).encode()))
            third = slow.answer()  # the connection lives on
        assert first.complete and second.complete and hit(second) and hit(third)
        assert first.body == second.body == third.body and len(first.body) > 500_000
    assert len(server.requests) == 2
    assert [r["cache"] for r in w.requests(6)] == ["miss", "hit", "hit"] * 2


def test_eight_clients_at_once(weir, fresh_mock):
    w = weir(cached(model("sim-fast", fresh_mock.base), weir_settings={"workers": 4}))
    bodies = [chat_body("sim-fast", f"question {n}", stream=n % 2 == 1) for n in range(20)]
    first = [w.post("/v1/chat/completions", body).body for body in bodies]
    rounds = 3 if SANITIZED else 20

    def same(body):
        """Of two answers to one question: where a shard was busy the simulator was asked again, and says the same with another id and time."""
        return re.sub(rb'"id":"[^"]*"|"created":[0-9]+', b"", body)

    def client(seed):
        with w.connect() as raw:
            for i in range(rounds * len(bodies)):
                n = (i * 7 + seed) % len(bodies)
                raw.send(request("POST", "/v1/chat/completions", json.dumps(bodies[n]).encode()))
                answer = raw.answer()
                assert answer.status == 200 and answer.complete and same(answer.body) == same(first[n])
        return rounds * len(bodies)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        total = sum(pool.map(client, range(8)))
    records, metrics = w.requests(total + len(bodies)), w.metrics()
    misses = sum(r["cache"] == "miss" for r in records)
    asked = fresh_mock.stats()["requests"]
    assert asked == misses == metrics.total("litellm_cache_misses_metric_total")
    assert metrics.total("litellm_cache_hits") == total + len(bodies) - misses
    assert misses - len(bodies) <= metrics.total("weir_cache_busy_total"), "a miss of what is there, and no shard was busy"
    assert misses < len(bodies) + total / 4, "the machine may be busy, but not so busy"


def test_who_leaves_during_a_replay_is_cancelled(weir, upstream):
    server = upstream(forever(lambda c, asked: c.reply({**COMPLETION, "padding": "x" * 8_000_000})))
    w = weir(cached(model("m", server.base), weir_settings={"cache_bytes": "128MiB", "cache_item_bytes": "16MiB"}))
    w.chat("m")
    with w.connect(receive_buffer=4096) as client:
        client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m")).encode()))
        client.until(b"\r\n\r\n")
        time.sleep(0.2)
        assert len(w.lines()) < 3, "no record before the client has it, or has left"
        client.reset()
    record = w.requests(2)[1]
    assert record["status"] == "cancelled" and record["cache"] == "hit" and record["http_status"] == 499
    assert hit(w.chat("m"))


# ---- what makes a request another one ----

def test_white_space_and_labels_do_not(w, server):
    base = {"model": "m", "messages": [{"role": "user", "content": "a  b"}], "n": 1}
    spaced = b' {\n "model" : "m", "messages": [ {"role":"user" , "content":"a  b"} ] ,\t"n":1 }\r\n'
    assert not hit(w.post("/v1/chat/completions", base))
    assert hit(w.post("/v1/chat/completions", spaced))
    for more in ({"metadata": {"trace": 1}}, {"cache": {}}, {"tags": ["x"]}, {"litellm_session_id": "s"}):
        assert hit(w.post("/v1/chat/completions", {**base, **more})), more
    assert len(server.requests) == 1


def test_everything_else_does(w, server):
    base = {"model": "m", "messages": [{"role": "user", "content": "a b"}], "temperature": 1}
    others = [{**base, "temperature": 1.0}, {**base, "user": "u"}, {**base, "seed": 1}, {**base, "stream": False},
              {**base, "messages": [{"role": "user", "content": "a  b"}]}, {"temperature": 1, **base}]
    for body in [base, *others]:
        assert not hit(w.post("/v1/chat/completions", body)), body
    assert not hit(w.post("/v1/chat/completions", base, {"openai-beta": "assistants=v2"}))
    assert hit(w.post("/v1/chat/completions", base))
    assert len(server.requests) == len(others) + 2


def test_models_and_their_aliases(weir, server):
    w = weir(cached(model("m", server.base), model("other", server.base), model("any/*", server.base, "openai/*"),
                    router_settings={"model_group_alias": {"alias": "m"}}))
    assert not hit(w.chat("m")) and hit(w.chat("alias")), "an alias is the same model"
    assert not hit(w.chat("other"))
    assert not hit(w.chat("any/a")) and not hit(w.chat("any/b")) and hit(w.chat("any/a"))


def test_virtual_keys_share_answers_and_pay_once(weir, server):
    keys = [{"key": f"sk-{name}", "key_alias": name, "models": models} for name, models in (("a", ["m"]), ("b", ["m"]), ("c", ["x"]))]
    w = weir(cached(model("m", server.base, input_cost_per_token=1, output_cost_per_token=1), model("x", server.base),
                    general_settings={"master_key": "sk-master"}, weir_settings={"keys": keys}))
    answers = [w.chat("m", {"authorization": f"Bearer sk-{name}"}) for name in "abc"]
    assert not hit(answers[0]) and hit(answers[1]) and answers[2].status in (401, 403)
    paid, free, refused = w.requests(3)
    assert (paid["key_alias"], paid["cost_usd"]) == ("a", 11) and (free["key_alias"], free["cost_usd"]) == ("b", 0)
    assert w.get("/cache/ping", {"authorization": "Bearer sk-a"}).status == 200
    assert w.post("/cache/flushall", b"", {"authorization": "Bearer sk-a"}).status in (401, 403)


def test_keys_share_answers_and_refused_ones_get_none(weir, server):
    w = weir(cached(model("m", server.base), general_settings={"master_key": "sk-master"}))
    key = {"authorization": "Bearer sk-master"}
    assert not hit(w.chat("m", key)) and hit(w.chat("m", key))
    assert w.chat("m", {"authorization": "Bearer sk-wrong"}).status == 401 and w.chat("m").status == 401


# ---- controls ----

def test_no_cache_asks_anew_and_keeps(w, server):
    for control, headers in (({"cache": {"no-cache": True}}, {}), ({}, {"cache-control": "no-cache"})):
        first = w.chat("m")
        fresh = w.chat("m", headers, **control)
        assert fresh.body != first.body and fresh["cache-status"] == "weir; fwd=request"
        again = w.chat("m")
        assert hit(again) and again.body == fresh.body
    assert [r["cache"] for r in w.requests(6)] == ["miss", "off", "hit", "hit", "off", "hit"]


def test_no_store_keeps_nothing_but_reads(w, server):
    for n, (control, headers) in enumerate([({"cache": {"no-store": True}}, {}), ({}, {"cache-control": "max-age=9, No-Store"})]):
        first = w.chat("m", headers, text=f"q{n}", **control)
        assert first["x-litellm-cache-key"] is None
        second = w.chat("m", headers, text=f"q{n}", **control)
        assert not hit(second) and second.body != first.body
        w.chat("m", text=f"q{n}")
        assert hit(w.chat("m", headers, text=f"q{n}", **control))
    assert len(server.requests) == 6


def test_neither_read_nor_kept(w, server):
    both = {"cache": {"no-cache": True, "no-store": True}}
    answers = [w.chat("m", **both) for _ in range(2)]
    assert all(a["cache-status"] is None and a["x-litellm-cache-key"] is None for a in answers)
    assert len(server.requests) == 2


@pytest.mark.parametrize("control, headers", [({"cache": {"ttl": 1}}, {}), ({}, {"cache-control": "s-maxage=1"}),
                                              ({"cache": {"ttl": 1}}, {"cache-control": "s-maxage=1000"})])
def test_ttl(w, server, control, headers):
    w.chat("m", headers, **control)
    began = time.monotonic()
    assert hit(w.chat("m"))
    wait_for(lambda: not hit(w.chat("m", {"cache-control": "no-store"})))
    assert 0.7 < time.monotonic() - began < 5


def test_the_configurations_ttl(weir, server):
    w = weir(cached(model("m", server.base), params={"default_in_memory_ttl": 0.5}))
    w.chat("m")
    assert hit(w.chat("m"))
    time.sleep(0.7)
    assert not hit(w.chat("m")) and hit(w.chat("m"))
    assert not hit(w.chat("m", cache={"ttl": 0}, text="never")) and not hit(w.chat("m", text="never"))


@pytest.mark.parametrize("control, headers", [({"cache": {"s-maxage": 0.5}}, {}), ({"cache": {"s-max-age": 0.5}}, {}),
                                              ({}, {"cache-control": "max-age=0"})])
def test_an_answer_that_is_too_old(w, server, control, headers):
    w.chat("m")
    time.sleep(0.7)
    assert hit(w.chat("m"))
    assert not hit(w.chat("m", headers, **control))
    assert len(server.requests) == 2


def test_age(w):
    w.chat("m")
    time.sleep(1.1)
    answer = w.chat("m")
    assert answer["age"] in ("1", "2") and answer["cache-status"].startswith("weir; hit; ttl=59")


def test_namespaces(weir, server):
    w = weir(cached(model("m", server.base), params={"namespace": "ours"}))
    assert not hit(w.chat("m"))
    assert not hit(w.chat("m", cache={"namespace": "theirs"})) and hit(w.chat("m", cache={"namespace": "theirs"}))
    assert hit(w.chat("m", cache={"namespace": "ours"})) and hit(w.chat("m"))
    assert not hit(w.chat("m", cache={"namespace": ""}))


def test_default_off(weir, server):
    w = weir(cached(model("m", server.base), params={"mode": "default_off"}))
    plain = [w.chat("m") for _ in range(2)]
    assert all(a["cache-status"] is None for a in plain) and len(server.requests) == 2
    assert not hit(w.chat("m", cache={"use-cache": True})) and hit(w.chat("m", cache={"use-cache": True}))
    assert not hit(w.chat("m"))
    assert [r["cache"] for r in w.requests(5)] == ["off", "off", "miss", "hit", "off"]


def test_supported_call_types(weir, mock):
    w = weir(cached(model("sim-fast", mock.base), model("sim-embed", mock.base), params={"supported_call_types": ["aembedding"]}))
    assert not any(hit(w.chat("sim-fast")) for _ in range(2))
    ask = {"model": "sim-embed", "input": "x"}
    assert [hit(w.post("/v1/embeddings", ask)) for _ in range(2)] == [False, True]


def test_off_by_default(weir, server):
    w = weir(config(model("m", server.base)))
    assert not any(hit(w.chat("m", cache={"use-cache": True})) for _ in range(2))
    assert "cache" not in server.requests[0].json and w.get("/cache/ping").status == 503
    assert {r["cache"] for r in w.requests(2)} == {"off"}


def test_cache_responses_is_the_same_switch(weir, server):
    w = weir(config(model("m", server.base), router_settings={"cache_responses": True}))
    assert [hit(w.chat("m")) for _ in range(2)] == [False, True]


@pytest.mark.parametrize("member, sentence", [
    (True, '"cache": expected an object, such as {"no-cache": true}'),
    ({"ttl": "10"}, '"cache": "ttl": expected a number of seconds, 0 or more'),
    ({"s-maxage": -1}, '"cache": "s-maxage": expected a number of seconds, 0 or more'),
    ({"no-cache": 1}, '"cache": "no-cache": expected true or false'),
    ({"namespace": "x" * 257}, '"cache": "namespace": expected a text of at most 256 bytes'),
])
def test_wrong_controls(w, server, member, sentence):
    answer = w.chat("m", cache=member)
    assert answer.status == 400 and answer.error["message"] == sentence and not server.requests
    assert w.chat("m", cache=None).status == 200


def test_cache_given_twice(w, server):
    answer = w.post("/v1/chat/completions", b'{"model":"m","cache":{},"messages":[],"cache":null}')
    assert answer.status == 400 and "give it once" in answer.error["message"] and not server.requests


@pytest.mark.parametrize("body, upstream_body", [
    (b'{"cache":{"ttl":1},"model":"m","messages":[]}', b'{"model":"m","messages":[]}'),
    (b'{"model":"m","messages":[],"cache":{"ttl":1}}', b'{"model":"m","messages":[]}'),
    (b'{"model":"m","cache" : null , "messages":[]}', b'{"model":"m", "messages":[]}'),
    (b'{"model":"m" , \n "cac\\u0068e":{"no-store":true}\n}', b'{"model":"m" }'),
    (b'{"model":"m","messages":[{"cache":1}],"x":{"cache":2}}', b'{"model":"m","messages":[{"cache":1}],"x":{"cache":2}}'),
    (b'{"cache":{},"model":"real","stream":true}', b'{"stream_options":{"include_usage":true},"model":"m","stream":true}'),
    (b'{"stream":true,"cache":{},"model":"real"}', b'{"stream_options":{"include_usage":true},"stream":true,"model":"m"}'),
])
def test_the_member_does_not_go_upstream(weir, server, body, upstream_body):
    w = weir(cached(model("m", server.base), model("real", server.base, "openai/m")))
    assert w.post("/v1/chat/completions", body).status == 200
    assert server.requests[0].body == upstream_body


# ---- what is not kept ----

def status_500(c, asked):
    c.reply({"error": {"message": "no"}}, "500 Internal Server Error")


def error_in_200(c, asked):
    c.reply({"error": {"message": "no"}})


def no_finish_reason(c, asked):
    c.reply({**COMPLETION, "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hel"}, "finish_reason": None}]})


def not_json(c, asked):
    c.reply(b"<html>busy</html>", headers={"content-type": "text/html"})


def packed(c, asked):
    c.reply(COMPLETION, headers={"content-encoding": "gzip"})


def cut(c, asked):
    c.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n", json.dumps(COMPLETION))
    c.close()


def cut_stream(c, asked):
    c.begin_stream()
    c.send_chunk(f"data: {json.dumps(delta('Hello'))}\n\n")
    c.close()


def stream_without_done(c, asked):
    c.stream(delta("Hello"))


def error_in_stream(c, asked):
    c.stream(delta("Hello"), {"error": {"message": "no"}}, "[DONE]")


def done_without_a_reason(c, asked):
    c.stream(delta("Hello"), "[DONE]")


@pytest.mark.parametrize("reply", [status_500, error_in_200, no_finish_reason, not_json, packed, cut, cut_stream, stream_without_done,
                                   error_in_stream, done_without_a_reason], ids=lambda f: f.__name__)
def test_only_whole_successes_are_kept(weir, upstream, reply):
    def script(connection):
        asked = connection.asked()
        reply(connection, asked)
        connection.close()

    server = upstream(script)
    w = weir(cached(model("m", server.base), router_settings={"num_retries": 0}))
    for n in range(2):
        answer = w.chat("m", stream="stream" in reply.__name__ or "done" in reply.__name__)
        assert not hit(answer)
        assert len(server.requests) >= n + 1
    metrics = w.metrics()
    assert metrics.total("weir_cache_entries") == 0 and metrics.total("weir_cache_stores_total") == 0


def test_a_fallbacks_answer_is_not_kept(weir, upstream, server):
    broken = upstream(forever(status_500))
    w = weir(cached(model("m", broken.base), model("other", server.base),
                    router_settings={"num_retries": 0, "fallbacks": [{"m": ["other"]}], "disable_cooldowns": True}))
    for n in range(2):
        answer = w.chat("m")
        assert answer.status == 200 and not hit(answer) and len(server.requests) == n + 1
    assert w.metrics().total("weir_cache_entries") == 0
    assert not hit(w.chat("other")) and hit(w.chat("other"))


def test_a_second_attempts_answer_is(weir, upstream):
    tries = itertools.count()

    def reply(c, asked):
        return status_500(c, asked) if next(tries) == 0 else c.reply(COMPLETION)

    server = upstream(forever(reply))
    w = weir(cached(model("m", server.base), router_settings={"num_retries": 1, "disable_cooldowns": True}))
    first, second = w.chat("m"), w.chat("m")
    assert first.status == 200 and hit(second) and first.body == second.body and len(server.requests) == 2
    record = w.requests(2)[1]
    assert record["attempts"] == 0 and record["cache"] == "hit"


def test_who_left_early_leaves_nothing(weir, upstream):
    def script(c):
        c.asked()
        c.begin_stream()
        for _ in range(1000):
            c.send_chunk(f"data: {json.dumps(delta('Hello'))}\n\n")
            time.sleep(0.005)

    w = weir(cached(model("m", upstream(script).base)))
    with w.connect() as client:
        client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m", stream=True)).encode()))
        client.until(b"Hello")
        client.reset()
    assert w.record()["status"] == "cancelled"
    assert w.metrics().total("weir_cache_entries") == 0


def test_larger_than_an_item_may_be(weir, upstream):
    sizes = iter([2000, 2000, 200, 200])
    server = upstream(forever(lambda c, asked: c.reply({**COMPLETION, "padding": "x" * next(sizes)})))
    w = weir(cached(model("m", server.base), weir_settings={"cache_item_bytes": 1500}))
    first, second = w.chat("m"), w.chat("m")
    assert not hit(first) and not hit(second) and first["x-litellm-cache-key"] is None
    assert not hit(w.chat("m")) and hit(w.chat("m"))


# ---- bounds ----

def test_bounded_by_bytes_under_a_flood(weir, mock):
    """Distinct requests for six times the cache's size: memory stays, the newest are there, old ones are not."""
    size = {"x-mock-body-bytes": "20000"}
    w = weir(cached(model("sim-fast", mock.base), weir_settings={"cache_bytes": "8MiB", "cache_item_bytes": "64KiB", "workers": 2}))

    def flood(numbers):
        with w.connect() as raw:
            for n in numbers:
                raw.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("sim-fast", f"q{n}")).encode(), size))
                assert raw.answer().status == 200

    flood(range(500))
    before, metrics = w.rss_bytes(), w.metrics()
    assert metrics.total("weir_cache_bytes") <= 8 << 20
    flood(range(500, 2500))
    metrics = w.metrics()
    assert metrics.total("weir_cache_bytes") <= 8 << 20
    assert metrics.total("weir_cache_evictions_total") > 1500
    assert metrics.total("weir_cache_stores_total") == metrics.total("weir_cache_entries") + metrics.total("weir_cache_evictions_total")
    assert 200 < metrics.total("weir_cache_entries") < 400
    if not SANITIZED:
        assert w.rss_bytes() - before < 4 << 20
    assert hit(w.chat(headers=size, text="q2499")) and not hit(w.chat(headers=size, text="q3"))


# ---- the endpoints ----

def test_ping(w):
    w.chat("m")
    answer = w.get("/cache/ping").json
    assert answer["status"] == "healthy" and answer["cache_type"] == "local"
    params = json.loads(answer["litellm_cache_params"])
    assert params["entries"] == 1 and params["ttl"] == 600 and params["mode"] == "default_on"
    assert w.get("/health/readiness").json["cache"] == "local"


def test_delete(w):
    key = w.chat("m")["x-litellm-cache-key"]
    other = w.chat("m", text="other")["x-litellm-cache-key"]
    assert w.post("/cache/delete", {"keys": [key, "0" * 64]}).json == {"status": "success", "deleted": 1}
    assert not hit(w.chat("m")) and hit(w.chat("m", text="other"))
    for wrong in (b"", b"[]", b"{}", b'{"keys":"x"}', b'{"keys":["x"]}', json.dumps({"keys": [other + "0"]}).encode()):
        assert w.post("/cache/delete", wrong).status == 400
    assert hit(w.chat("m", text="other"))


def test_flushall(w):
    for n in range(5):
        w.chat("m", text=f"q{n}")
    assert w.post("/cache/flushall", b"").json == {"status": "success", "deleted": 5}
    assert w.metrics().total("weir_cache_entries") == 0
    assert not hit(w.chat("m", text="q1"))


def test_the_endpoints_need_the_master_key(weir, server):
    w = weir(cached(model("m", server.base), general_settings={"master_key": "sk-master"}))
    for ask in (lambda **h: w.get("/cache/ping", h), lambda **h: w.post("/cache/delete", {"keys": []}, h),
                lambda **h: w.post("/cache/flushall", b"", h)):
        assert ask().status == 401
        assert ask(authorization="Bearer sk-master").status == 200


def test_responses_are_logged_of_hits_too(weir, server):
    w = weir(cached(model("m", server.base), litellm_settings={"logging": {"log_responses": True}}))
    w.chat("m")
    w.chat("m")
    first, second = w.requests(2)
    assert first["response"] == second["response"] and second["response"]["id"] == "answer 1"
