"""What follows a failed attempt: retries, waits, fallbacks, time-outs, hedges; counted at the provider, in the log and in /metrics.

Every test ends with settled(): nothing is in flight, each attempt that the provider saw is in the log once, and /metrics says the same.
"""
import collections
import concurrent.futures
import json
import random
import re
import signal
import socket
import subprocess
import time

import pytest

from harness import (COMPLETION, SANITIZED, WEIR, Mock, Raw, chat_body, config, delta, forever, model, request, usage_event,
                     wait_for)

ROUTER = {"num_retries": 2, "disable_cooldowns": True}
SLACK_S = 3 if SANITIZED else 0.6  # what a busy machine may add to a wait


class Provider(Mock):
    """A simulated provider whose faults are set by model while it runs. Deployments are told apart by the model's name there."""

    def tell(self, method, path, **body):
        with Raw("127.0.0.1", self.port) as raw:
            raw.send(request(method, path, json.dumps(body).encode() if body else b"", {"connection": "close"}))
            answer = raw.answer()
        assert answer.status == 200, answer.text
        return answer.json

    def fault(self, name, spec, **more):
        self.tell("POST", "/mock/fault", model=name, fault=spec, **more)

    def counts(self):
        return {name: of["requests"] for name, of in self.stats()["models"].items()}


@pytest.fixture
def provider():
    with Provider() as p:
        yield p


def at(base, name, upstream=None, **params):
    upstream = upstream or name
    return model(name, base, f"openai/{upstream}", info={"id": upstream}, **params)


def attempts(w):
    """The lines of attempts that were not their request's last."""
    return [line for line in w.lines() if line["event"] == "attempt"]


def in_flight(w):
    return w.get("/health/backlog").json["in_flight_requests"]


def settled(w, provider=None, requests=1):
    """Returns the request records. `provider`: all attempts went there, and nothing else did."""
    wait_for(lambda: in_flight(w) == 0)
    records, extra = w.requests(requests), attempts(w)
    metrics = w.metrics()
    assert {s: v for s, v in metrics.samples.items() if "in_flight" in s[0] and v} == {}
    with_deployment = [r for r in records if "deployment" in r]
    at_deployments = len(extra) + len(with_deployment)
    assert metrics.total("litellm_deployment_total_requests_total") == at_deployments
    assert metrics.total("weir_attempts_total") == at_deployments
    assert metrics.total("weir_retries_total") == len(extra)
    assert metrics.total("weir_request_outcomes_total") == len(records)
    assert metrics.total("weir_request_outcomes_total", outcome="success") == sum(r["status"] == "success" for r in records)
    assert metrics.total("weir_fallbacks_total") == sum("fallback_from" in r for r in records)
    assert metrics.total("litellm_deployment_successful_fallbacks_total") == metrics.total("weir_fallbacks_total", status="success")
    assert sum(r.get("attempts", 0) for r in records) == at_deployments
    for record in records:  # each attempt has its number, and each number one attempt
        mine = sorted(a["attempts"] for a in extra if a["request_id"] == record["request_id"])
        last = [n for n in range(1, record.get("attempts", 0) + 1) if n not in mine]
        assert len(set(mine)) == len(mine) and len(last) == ("deployment" in record), (record, mine)
    if provider:
        stats = wait_for(lambda: (s := provider.stats())["in_flight"] == 0 and s)
        assert stats["requests"] == at_deployments, (stats, records, extra)
        logged = collections.Counter(r["deployment"] for r in extra + with_deployment)
        assert {n: m["requests"] for n, m in stats["models"].items()} == logged
    return records


def analyzed(w, *words):
    done = subprocess.run([WEIR, "analyze", w.log_path, *words], capture_output=True, check=True)
    return done.stdout.decode()


def chains(w):
    return json.loads(analyzed(w, "--chains", "--format", "json"))["chains"]


# ---- hedging ----

HEDGE = {"hedge_percentile": 90, "hedge_max_share": 1, "hedge_min_ms": 250, "workers": 1}


def hedged(provider, more=(), router=None, **weir_settings):
    """a is asked first, b is its rival. Twenty requests have been made, so percentiles are known."""
    return config(at(provider.base, "m", "a", order=1), at(provider.base, "m", "b", order=2), *more,
                  router_settings={**ROUTER, **(router or {})}, weir_settings={**HEDGE, **weir_settings})


def warm(w, count=20, **more):
    with w.connect() as client:
        for _ in range(count):
            client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m", **more)).encode()))
            assert client.answer().status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_late_first_token_gets_a_rival_that_wins(weir, provider, stream):
    w = weir(hedged(provider))
    warm(w, stream=stream)
    provider.fault("a", "hang-head")
    began = time.monotonic()
    answer = w.chat("m", stream=stream)
    took_s = time.monotonic() - began
    assert answer.status == 200 and answer["x-litellm-model-id"] == "b" and answer.complete
    assert 0.25 <= took_s < 0.25 + SLACK_S
    record = settled(w, provider, 21)[-1]
    assert (record["deployment"], record["attempts"], record["status"]) == ("b", 2, "success")
    [lost] = attempts(w)
    assert (lost["deployment"], lost["status"], lost["http_status"], lost["attempts"]) == ("a", "cancelled", 499, 1)
    assert lost["error"]["type"] == "hedge_lost"
    assert record["latency_ms"] >= 250 and record["upstream_ms"] < record["latency_ms"] - 200  # the rival's alone
    assert provider.stats()["cancelled"] == 1


def test_a_rival_that_loses_is_cancelled(weir, provider):
    w = weir(hedged(provider))
    warm(w)
    provider.fault("a", "delay-ms=700")
    provider.fault("b", "hang-head")
    answer = w.chat("m")
    assert answer.status == 200 and answer["x-litellm-model-id"] == "a"
    record = settled(w, provider, 21)[-1]
    assert (record["deployment"], record["attempts"]) == ("a", 2)
    [lost] = attempts(w)
    assert (lost["deployment"], lost["status"], lost["attempts"]) == ("b", "cancelled", 2)


def test_no_rival_for_what_is_in_time(weir, provider):
    w = weir(hedged(provider))
    warm(w, 40)
    settled(w, provider, 40)
    assert attempts(w) == [] and provider.counts() == {"a": 40}


def test_no_more_rivals_than_their_share(weir, provider):
    w = weir(hedged(provider, hedge_max_share=0.05, hedge_percentile=50))
    warm(w, 40)
    provider.fault("a", "delay-ms=500")
    for _ in range(20):
        assert w.chat("m").status == 200
    settled(w, provider, 60)
    rivals = provider.counts()["b"]
    assert 2 <= rivals <= 3, rivals  # a twentieth of 60


def test_answers_of_rivals_do_not_make_a_model_look_fast(weir, provider):
    """A rival's answer counts from when the first attempt began. So when all answers are slow, soon they are not late any more."""
    w = weir(hedged(provider))
    warm(w)
    provider.fault("a", "delay-ms=700")
    provider.fault("b", "delay-ms=300")
    ids = [w.chat("m")["x-litellm-model-id"] for _ in range(5)]
    assert ids[0] == "b" and ids[4] == "a", ids  # by b after 250 + 300 ms, from which on 700 ms are as usual
    settled(w, provider, 25)


@pytest.mark.parametrize("stream", [False, True])
def test_both_fail_and_the_request_goes_on(weir, provider, stream):
    w = weir(hedged(provider, [at(provider.base, "m", "c", order=3)]))
    warm(w, stream=stream)
    provider.fault("a", "delay-ms=500,status=500")
    provider.fault("b", "status=503")  # fails first, and the first one goes on alone
    answer = w.chat("m", stream=stream)
    assert answer.status == 200 and answer["x-litellm-model-id"] == "c"
    record = settled(w, provider, 21)[-1]
    assert record["attempts"] == 3
    assert [(a["deployment"], a["attempts"], a["http_status"]) for a in attempts(w)] == [("b", 2, 503), ("a", 1, 500)]


def test_when_both_failed_each_is_waited_for_before_it_is_asked_again(weir, provider):
    w = weir(hedged(provider))
    warm(w)
    provider.fault("a", "delay-ms=500,status=500", count=1)
    provider.fault("b", "status=503", count=1)
    began = time.monotonic()
    assert w.chat("m").status == 200
    assert time.monotonic() - began >= 1  # 500 ms, then a backoff of at least 500 ms
    settled(w, provider, 21)


def test_the_first_one_fails_with_an_error_event_and_its_rival_answers_well(weir, upstream, provider):
    """What the first one said must not be taken for the rival's."""
    events = [delta("one"), delta("two"), delta(None, "stop"), usage_event()]
    late = {"now": False}

    def first(connection, asked):  # pylint: disable=unused-argument
        if late["now"]:
            time.sleep(0.5)
            connection.stream({"error": {"message": "a is overloaded", "code": "rate_limit_exceeded"}})
        else:
            connection.stream(*events, "[DONE]")

    def rival(connection, asked):  # pylint: disable=unused-argument
        time.sleep(0.8)
        connection.stream(*events, "[DONE]")

    a, b = upstream(forever(first)), upstream(forever(rival))
    w = weir(config(at(a.base, "m", "a", order=1), at(b.base, "m", "b", order=2), router_settings=ROUTER, weir_settings=HEDGE))
    warm(w, stream=True)
    late["now"] = True
    answer = w.chat("m", stream=True)
    assert answer.status == 200 and answer.events[-1] == "[DONE]" and answer["x-litellm-model-id"] == "b"
    record = settled(w, requests=21)[-1]
    assert record["status"] == "success" and "error" not in record and record["deployment"] == "b", record
    [failed] = attempts(w)
    assert failed["error"]["message"] == "a is overloaded" and failed["http_status"] == 429 and failed["status"] == "failure"


@pytest.mark.parametrize("fault", ["hang-head", "hang-body"])
def test_a_client_that_leaves_two_attempts_cancels_both(weir, provider, fault):
    w = weir(hedged(provider))
    warm(w, stream=True)
    provider.fault("a", fault)
    provider.fault("b", fault)
    late_ms = []
    for n in range(1, 4):
        with w.connect() as raw:
            raw.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m", stream=True)).encode()))
            wait_for(lambda: provider.stats()["in_flight"] == 2)
            raw.socket.close()
        left_ns = time.monotonic_ns()
        wait_for(lambda: provider.stats()["cancelled"] == 2 * n)  # pylint: disable=cell-var-from-loop
        late_ms.append((provider.stats()["last_cancel_ns"] - left_ns) / 1e6)
    assert sorted(late_ms)[1] < (200 if SANITIZED else 10), late_ms
    records = settled(w, provider, 23)[20:]
    assert [(r["status"], r["attempts"], r["deployment"]) for r in records] == [("cancelled", 2, "a")] * 3
    assert [(a["status"], a["attempts"], a["deployment"]) for a in attempts(w)] == [("cancelled", 2, "b")] * 3


def test_a_client_that_leaves_the_rival_that_is_left(weir, provider):
    """The record tells of the rival: the first one, which failed, has a line of its own."""
    w = weir(hedged(provider))
    warm(w)
    provider.fault("a", "delay-ms=500,status=500")
    provider.fault("b", "hang-head")
    with w.connect() as raw:
        raw.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m")).encode()))
        wait_for(lambda: attempts(w))
        raw.socket.close()
    record = settled(w, provider, 21)[-1]
    assert (record["status"], record["deployment"], record["attempts"]) == ("cancelled", "b", 2)


@pytest.mark.parametrize("name", ["openai/shared", "never-heard-of"])
def test_hedging_where_the_name_is_no_models(weir, provider, name):
    """Groups that are no rows of model_list: of an upstream name, and of the default's copy."""
    w = weir(config(*[model("m", provider.base, "openai/shared", info={"id": i}, order=n) for n, i in enumerate("ab")],
                    router_settings={**ROUTER, "default_fallbacks": ["m"]}, weir_settings=HEDGE))
    for _ in range(20):
        assert w.chat(name).status == 200
    provider.fault("shared", "delay-ms=500", count=1)
    answer = w.chat(name)
    assert answer.status == 200 and answer["x-litellm-model-id"] == "b"
    settled(w, requests=21)
    assert provider.stats()["requests"] == 22


def test_a_hedge_that_was_not_due_is_not_made_in_the_next_model(weir, provider):
    w = weir(hedged(provider, [at(provider.base, "n", "c", order=1), at(provider.base, "n", "d", order=2)],
                    {"num_retries": 0, "fallbacks": [{"m": ["n"]}]}, hedge_min_ms=300))
    warm(w)
    provider.fault("a", "status=500")
    provider.fault("c", "delay-ms=700")
    answer = w.chat("m")
    assert answer.status == 200 and answer["x-litellm-model-id"] == "c"
    settled(w, provider, 21)
    assert provider.counts() == {"a": 21, "c": 1}


def test_hedges_give_back_their_places(weir, provider):
    w = weir(config(at(provider.base, "m", "a", order=1, max_parallel_requests=1), at(provider.base, "m", "b", order=2, max_parallel_requests=1),
                    router_settings={**ROUTER, "num_retries": 0}, weir_settings=HEDGE))
    warm(w)
    provider.fault("a", "delay-ms=500")
    for _ in range(6):  # one after another: were a place kept, the next but one would be refused
        assert w.chat("m").status == 200
    settled(w, provider, 26)


# ---- what a client asks for ----

@pytest.mark.parametrize("headers, body, expected", [
    ({}, {}, 3),
    ({"x-litellm-num-retries": "0"}, {}, 1),
    ({"x-litellm-num-retries": "1"}, {"num_retries": 0}, 2),
    ({}, {"num_retries": 1}, 2),
    ({}, {"num_retries": 0}, 1),
    ({"x-litellm-num-retries": "many"}, {"num_retries": 1}, 2),
    ({}, {"num_retries": -1}, 3),
    ({}, {"num_retries": "2"}, 3),  # no number: as if it were not there
])
def test_num_retries_of_the_client(weir, provider, headers, body, expected):
    provider.fault("a", "status=500,retry-after-ms=1")
    w = weir(config(at(provider.base, "m", "a"), router_settings=ROUTER))
    answer = w.chat("m", headers, **body)
    assert answer.status == 500 and answer["x-litellm-attempted-retries"] == str(expected - 1)
    [record] = settled(w, provider)
    assert record["attempts"] == expected


def test_no_client_gets_more_than_ten_retries(weir, provider):
    provider.fault("a", "status=500,retry-after-ms=1")
    w = weir(config(at(provider.base, "m", "a"), router_settings=ROUTER))
    assert w.chat("m", num_retries=1000000).status == 500
    assert settled(w, provider)[0]["attempts"] == 11


@pytest.mark.parametrize("fallbacks", [["b"], [{"model": "b", "temperature": 1}], ["a", "b"], [{"model": "a"}, "b"]])
def test_fallbacks_of_the_client(weir, provider, fallbacks):
    provider.fault("a", "status=500")
    w = weir(config(at(provider.base, "a"), at(provider.base, "b"), at(provider.base, "c"),
                    router_settings={**ROUTER, "num_retries": 0, "fallbacks": [{"a": ["c"]}]}))
    answer = w.chat("a", fallbacks=fallbacks)
    assert answer.status == 200 and answer["x-litellm-model-id"] == "b" and answer["x-litellm-attempted-fallbacks"] == "1"
    [record] = settled(w, provider)
    assert record["fallback_from"] == "a" and "fallback_from" not in attempts(w)[0]


def test_a_fallback_that_is_no_model_is_refused(weir, provider):
    w = weir(config(at(provider.base, "a"), router_settings=ROUTER))
    answer = w.chat("a", fallbacks=["a", {"model": "nowhere"}])
    assert answer.status == 400 and "nowhere" in answer.error["message"]
    assert settled(w, provider)[0]["attempts"] == 0


def test_who_has_no_key_is_not_told_which_models_are_there(weir, provider):
    w = weir(config(at(provider.base, "a"), general_settings={"master_key": "sk-master"}, router_settings=ROUTER))
    answers = [w.chat("a", {"authorization": "Bearer sk-wrong"}, fallbacks=[name]) for name in ("a", "nowhere")]
    assert [a.status for a in answers] == [401, 401] and answers[0].text == answers[1].text


def test_a_failure_in_the_stream_that_sends_to_rest_says_so(weir, provider):
    provider.fault("a", "error-in-stream=2")
    w = weir(config(at(provider.base, "a"), router_settings={"num_retries": 0, "allowed_fails": 0, "cooldown_time": 30}))
    w.chat("a", stream=True)
    [record] = settled(w, provider)
    assert (record["error"]["type"], record["rested"]) == ("stream_error", True)
    assert w.chat("a", stream=True).status == 429


def test_a_member_given_twice_is_refused(weir, provider):
    w = weir(config(at(provider.base, "a"), router_settings=ROUTER))
    answer = w.post("/v1/chat/completions", b'{"model":"a","timeout":1,"messages":[],"timeout":2}')
    assert answer.status == 400 and answer.error["message"].startswith('"timeout" is given 2 times')


def test_a_fallback_that_the_key_may_not_use_is_refused(weir, provider):
    provider.fault("a", "status=500")
    w = weir(config(at(provider.base, "a"), at(provider.base, "b"), general_settings={"master_key": "sk-master"}, router_settings=ROUTER,
                    weir_settings={"keys": [{"key": "sk-only-a", "alias": "only-a", "models": ["a"]}]}))
    answer = w.chat("a", {"authorization": "Bearer sk-only-a"}, fallbacks=["b"])
    assert answer.status == 401 and "b" in answer.error["message"], answer.text
    assert provider.stats()["requests"] == 0
    assert w.chat("a", {"authorization": "Bearer sk-master"}, fallbacks=["b"], num_retries=0).status == 200


def test_disable_fallbacks(weir, provider):
    provider.fault("a", "status=500")
    w = weir(config(at(provider.base, "a"), at(provider.base, "b"), router_settings={"num_retries": 0, "fallbacks": [{"a": ["b"]}]}))
    assert w.chat("a", disable_fallbacks=True).status == 500
    assert w.chat("a", disable_fallbacks=False).status == 200
    settled(w, provider, 2)
    assert provider.counts() == {"a": 2, "b": 1}


def test_litellms_own_members_do_not_go_upstream(weir, upstream):
    server = upstream(forever(lambda connection, asked: connection.reply(COMPLETION)))
    w = weir(config(at(server.base, "a"), router_settings=ROUTER))
    body = chat_body("a", num_retries=1, fallbacks=["a"], disable_fallbacks=True, timeout=9, tags=["x"], litellm_session_id="s",
                     metadata={"tags": ["y"]}, temperature=1)
    assert w.post("/v1/chat/completions", body).status == 200
    assert server.requests[0].json == chat_body("a", metadata={"tags": ["y"]}, temperature=1)


# ---- time-outs ----

def timed(w, name="a", headers=None, **more):
    began = time.monotonic()
    answer = w.chat(name, headers, **more)
    return answer, time.monotonic() - began


@pytest.mark.parametrize("headers, body", [({"x-litellm-timeout": "0.3"}, {}), ({}, {"timeout": 0.3}),
                                           ({"x-litellm-timeout": "0.3"}, {"timeout": 60}),
                                           ({"x-litellm-stream-timeout": "0.3"}, {"stream": True, "timeout": 60})])
def test_time_out_of_the_client(weir, provider, headers, body):
    provider.fault("a", "hang-head")
    w = weir(config(at(provider.base, "a"), router_settings={"num_retries": 0}))
    answer, took_s = timed(w, headers=headers, **body)
    assert answer.status == 408 and 0.29 < took_s < 0.3 + SLACK_S
    [record] = settled(w, provider)
    assert record["error"]["type"] == "upstream_timeout"


def test_the_first_token_may_be_late_in_coming_only_so_long(weir, provider):
    """The head and its first event do not count: a token does. What comes after has no such limit."""
    provider.fault("a", "stall-after=0")
    provider.fault("slow", "tokens=20,tokens-per-second=20")
    w = weir(config(at(provider.base, "a"), at(provider.base, "slow"), router_settings={"num_retries": 0},
                    weir_settings={"first_token_timeout_ms": 300}))
    answer, took_s = timed(w, stream=True)
    assert took_s < 0.3 + SLACK_S and (answer.status == 408 or not answer.complete), answer.text
    assert w.chat("slow", stream=True).events[-1] == "[DONE]"
    settled(w, provider, 2)


@pytest.mark.parametrize("name", ["content", "reasoning_content", "reasoning"])
def test_a_thought_is_a_token(weir, upstream, name):
    """By whatever name providers send it: from then on the first token is not waited for."""
    def script(connection, asked):  # pylint: disable=unused-argument
        connection.begin_stream()
        for _ in range(8):
            event = delta()
            event["choices"][0]["delta"] = {name: "hm", "content": "hm" if name == "content" else ""}
            connection.send_chunk(f"data: {json.dumps(event)}\n\n")
            time.sleep(0.08)
        connection.send_chunk(f"data: {json.dumps(delta(None, 'stop'))}\n\ndata: [DONE]\n\n")
        connection.end_stream()

    w = weir(config(at(upstream(forever(script)).base, "a"), router_settings={"num_retries": 0}, weir_settings={"first_token_timeout_ms": 300}))
    answer = w.chat("a", stream=True)
    assert answer.complete and answer.events[-1] == "[DONE]"
    [record] = settled(w)
    assert record["status"] == "success" and record["ttft_ms"] < 200 + SLACK_S * 1000 and record["completion_tokens"] == 8


def test_a_stream_that_answers_with_json_has_no_first_token_to_wait_for(weir, upstream):
    """Also where the answer takes longer than a first token may."""
    def script(connection, asked):  # pylint: disable=unused-argument
        data = json.dumps(COMPLETION).encode()
        connection.send(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n")
        for i in range(0, len(data), 40):
            connection.send(data[i:i + 40])
            time.sleep(0.06)

    w = weir(config(at(upstream(forever(script)).base, "a"), router_settings={"num_retries": 0}, weir_settings={"first_token_timeout_ms": 300}))
    answer, took_s = timed(w, stream=True)
    assert answer.status == 200 and answer.json == COMPLETION and took_s > 0.4
    assert settled(w)[0]["status"] == "success"


def test_silence_in_a_stream(weir, provider):
    provider.fault("a", "stall-after=3")
    w = weir(config(at(provider.base, "a"), router_settings=ROUTER, weir_settings={"silence_timeout_ms": 300, "first_token_timeout_ms": 60000}))
    answer, took_s = timed(w, stream=True)
    assert answer.status == 200 and not answer.complete and "[DONE]" not in answer.text and 0.29 < took_s < 0.3 + SLACK_S
    assert json.loads(answer.events[-1])["error"]["type"]
    [record] = settled(w, provider)
    assert (record["status"], record["attempts"], record["error"]["type"]) == ("failure", 1, "upstream_timeout")


def test_the_whole_of_a_stream(weir, provider):
    provider.fault("a", "tokens=200,tokens-per-second=50")
    w = weir(config(at(provider.base, "a"), router_settings=ROUTER, weir_settings={"stream_total_timeout_ms": 400}))
    answer, took_s = timed(w, stream=True)
    assert answer.status == 200 and not answer.complete and 0.39 < took_s < 0.4 + SLACK_S
    [record] = settled(w, provider)
    assert record["error"]["type"] == "upstream_timeout" and record["completion_tokens"] > 5


def test_a_blackhole(weir, provider):
    """A listener whose queue is full: packets of further connections are dropped."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        port, waiting = hole.getsockname()[1], []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
            waiting.append(s)
        w = weir(config(at(f"http://127.0.0.1:{port}/v1", "m", "a", order=1), at(provider.base, "m", "b", order=2), router_settings=ROUTER,
                        weir_settings={"connect_timeout_ms": 300}))
        answer, took_s = timed(w, "m")
        assert answer.status == 200 and answer["x-litellm-model-id"] == "b" and 0.29 < took_s < 0.3 + SLACK_S
        settled(w)
        [failed] = attempts(w)
        assert failed["error"]["type"] == "upstream_connect" and "upstream_ms" not in failed
        for s in waiting:
            s.close()


# ---- fallbacks of the configuration ----

def test_chains_of_fallbacks_go_depth_first(weir, provider):
    names = "abcdefg"
    for name in names[:-1]:
        provider.fault(name, "status=500")
    w = weir(config(*[at(provider.base, n) for n in names], router_settings={
        **ROUTER, "num_retries": 0, "max_fallbacks": 10,
        "fallbacks": [{"a": ["b", "e"]}, {"b": ["c", "a", "d"]}, {"c": ["b"]}, {"e": ["f"]}, {"f": ["a", "g"]}]}))
    answer = w.chat("a")
    assert answer.status == 200 and answer["x-litellm-attempted-fallbacks"] == "6"
    [record] = settled(w, provider)
    assert "".join(a["deployment"] for a in attempts(w)) + record["deployment"] == "abcdefg"
    assert [a.get("fallback_from") for a in attempts(w)] + [record["fallback_from"]] == [None, *"abcdef"]
    seen = chains(w)
    assert (seen["attempts"], seen["failed_attempts"], seen["fallback"]["success"]) == (7, 6, 1), seen


def test_max_fallbacks(weir, provider):
    for name in "abcd":
        provider.fault(name, "status=500")
    w = weir(config(*[at(provider.base, n) for n in "abcd"],
                    router_settings={"num_retries": 0, "max_fallbacks": 2, "fallbacks": [{"a": ["b", "c", "d"]}]}))
    assert w.chat("a").status == 500
    settled(w, provider)
    assert provider.counts() == {"a": 1, "b": 1, "c": 1}


def test_a_fallback_has_retries_of_its_own(weir, provider):
    provider.fault("a", "status=500,retry-after-ms=1")
    provider.fault("b", "status=500,retry-after-ms=1", count=2)
    w = weir(config(at(provider.base, "a"), at(provider.base, "b"), router_settings={**ROUTER, "fallbacks": [{"a": ["b"]}]}))
    assert w.chat("a").status == 200
    settled(w, provider)
    assert provider.counts() == {"a": 3, "b": 3}


def test_the_default_is_not_its_own_fallback(weir, provider):
    """A name that nobody knows leads to a copy of the default's group: that group is not tried again as its fallback."""
    provider.fault("a", "status=500")
    w = weir(config(at(provider.base, "a"), router_settings={"num_retries": 0, "disable_cooldowns": True, "default_fallbacks": ["a"]}))
    assert w.chat("never-heard-of").status == 500
    settled(w, provider)
    assert provider.counts() == {"a": 1}


@pytest.mark.parametrize("fault, answered_by", [("context-window", "long"), ("content-policy", "lax"), ("content-filter", "lax"),
                                                ("status=400", "any"), ("status=500", "any")])
def test_fallbacks_by_kind_of_failure(weir, provider, fault, answered_by):
    provider.fault("a", fault)
    w = weir(config(*[at(provider.base, n) for n in ("a", "long", "lax", "any")], router_settings={
        "num_retries": 0, "fallbacks": [{"a": ["any"]}], "context_window_fallbacks": [{"a": ["long"]}],
        "content_policy_fallbacks": [{"a": ["lax"]}]}))
    answer = w.chat("a")
    assert answer.status == 200 and answer["x-litellm-model-id"] == answered_by
    settled(w, provider)


def test_what_is_the_requests_fault_is_not_tried_again(weir, provider):
    provider.fault("a", "status=400")
    w = weir(config(at(provider.base, "m", "a", order=1), at(provider.base, "m", "b", order=2), router_settings=ROUTER))
    assert w.chat("m", num_retries=5).status == 400
    settled(w, provider)
    assert provider.counts() == {"a": 1}


def test_a_refused_key_is_tried_elsewhere_only(weir, provider):
    provider.fault("a", "status=401")
    provider.fault("b", "status=403")
    w = weir(config(at(provider.base, "m", "a", order=1), at(provider.base, "m", "b", order=2), router_settings={**ROUTER, "num_retries": 5}))
    assert w.chat("m").status == 403
    settled(w, provider)
    assert provider.counts() == {"a": 1, "b": 1}


def test_a_fallback_that_is_full_leaves_the_attempt_counted_once(weir, provider):
    """The last attempt has a line of its own, as the request ends with a refusal that is nobody's attempt."""
    provider.fault("a", "status=500")
    provider.fault("b", "hang-head")
    w = weir(config(at(provider.base, "a"), at(provider.base, "b", max_parallel_requests=1),
                    router_settings={"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"a": ["b"]}]}))
    with w.connect() as holder:
        holder.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("b")).encode()))
        wait_for(lambda: provider.stats()["in_flight"] == 1)
        answer = w.chat("a")
        assert answer.status == 429, answer.text
    records = settled(w, provider, 2)
    assert sorted((r["attempts"], "deployment" in r) for r in records) == [(1, False), (1, True)]
    seen = chains(w)
    assert (seen["attempts"], seen["failed_attempts"]) == (2, 1), seen


# ---- waits ----

@pytest.mark.parametrize("fault, least_s", [("status=429,retry-after=1", 1.0), ("status=503,retry-after-ms=300", 0.3), ("status=500", 0.5)])
def test_the_same_deployment_is_waited_for(weir, provider, fault, least_s):
    provider.fault("a", fault, count=1)
    w = weir(config(at(provider.base, "a"), router_settings=ROUTER))
    answer, took_s = timed(w)
    assert answer.status == 200
    assert least_s <= took_s < least_s + SLACK_S + (0.75 if "retry" not in fault else 0)
    [record] = settled(w, provider)
    assert record["latency_ms"] >= least_s * 1000 and record["upstream_ms"] < least_s * 1000 / 2
    assert record["overhead_ms"] < least_s * 1000 / 2  # waiting for the provider's Retry-After is not the gateway's doing
    assert record["attempts"] == 2 and attempts(w)[0]["latency_ms"] < least_s * 1000 / 2


def test_another_deployment_is_not_waited_for(weir, provider):
    provider.fault("a", "status=429,retry-after=30")
    w = weir(config(at(provider.base, "m", "a", order=1), at(provider.base, "m", "b", order=2), router_settings=ROUTER))
    answer, took_s = timed(w, "m")
    assert answer.status == 200 and took_s < SLACK_S
    settled(w, provider)


def test_a_client_that_leaves_during_a_wait_is_not_tried_for_again(weir, provider):
    provider.fault("a", "status=500,retry-after-ms=600")
    w = weir(config(at(provider.base, "a", max_parallel_requests=1), router_settings=ROUTER))
    with w.connect() as raw:
        raw.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("a")).encode()))
        wait_for(lambda: len(attempts(w)) == 1)
        raw.socket.close()
    record = w.record()
    assert (record["status"], record["http_status"], record["attempts"]) == ("cancelled", 499, 1)
    time.sleep(0.8)
    settled(w, provider)
    assert provider.stats()["requests"] == 1


@pytest.mark.parametrize("patience_s, status", [(10, 200), (0.2, None)])
def test_sigterm_during_a_wait(weir, provider, patience_s, status):
    """The request may come to its end; where that takes too long it is cut, and recorded."""
    provider.fault("a", "status=500,retry-after-ms=1000", count=1)
    w = weir(config(at(provider.base, "a"), router_settings=ROUTER, weir_settings={"drain_timeout_ms": int(patience_s * 1000)}))
    with w.connect() as raw:
        raw.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("a")).encode()))
        wait_for(lambda: len(attempts(w)) == 1)
        w.signal(signal.SIGTERM)
        if status:
            assert raw.answer("POST").status == status
        else:
            raw.rest()
    w.wait()
    [record] = [line for line in w.lines() if line["event"] == "request"]
    assert record["status"] == ("success" if status else "cancelled") and record["attempts"] == (2 if status else 1), record
    assert provider.stats()["requests"] == record["attempts"]


# ---- what is sent again ----

def test_a_large_body_is_sent_again_whole(weir, upstream):
    def script(connection):
        connection.asked()
        connection.reply({"error": {"message": "no"}}, "500 Internal Server Error", {"retry-after-ms": "1", "connection": "close"})

    def good(connection, asked):  # pylint: disable=unused-argument
        connection.reply(COMPLETION)

    bad, well = upstream(script), upstream(forever(good))
    w = weir(config(at(bad.base, "m", "a", order=1), at(well.base, "m", "b", order=2), router_settings=ROUTER))
    text = "".join(f"{i:07d} " for i in range(2 * 1024 * 1024 // 8))
    assert w.chat("m", text=text, num_retries=2).status == 200
    [first], [second] = bad.requests, well.requests
    assert first.json == chat_body("a", text) and second.json == chat_body("b", text)
    settled(w)


def test_an_answer_before_the_body_was_read(weir, upstream):
    """The upstream refuses early, and reads no further: it was reached, and what it said is what counts."""
    def early(connection):
        connection.until(b"\r\n\r\n")
        connection.reply({"error": {"message": "too busy to read"}}, "500 Internal Server Error", {"connection": "close"})
        time.sleep(0.3)

    bad, well = upstream(early), upstream(forever(lambda connection, asked: connection.reply(COMPLETION)))
    w = weir(config(at(bad.base, "m", "a", order=1), at(well.base, "m", "b", order=2), router_settings=ROUTER))
    assert w.chat("m", text="x" * 8_000_000).status == 200
    settled(w)
    [failed] = attempts(w)
    assert failed["error"] == {"type": "upstream_error", "provider_status": 500, "message": "too busy to read"}
    assert 0 <= failed["upstream_ms"] <= failed["latency_ms"]


def test_a_kept_connection_that_was_closed_is_no_attempt(weir, provider, upstream):
    def script(connection):
        connection.asked()
        connection.reply(COMPLETION)  # as if it were kept, and then closed when the next request is on its way
        connection.until(b"\r\n\r\n")

    server = upstream(script)
    w = weir(config(at(server.base, "a"), router_settings={"num_retries": 0}, weir_settings={"workers": 1}))
    for _ in range(4):
        assert w.chat("a").status == 200
    records = settled(w, requests=4)
    assert [r["attempts"] for r in records] == [1] * 4 and attempts(w) == []


def test_nothing_is_tried_again_once_a_token_was_sent(weir, provider):
    provider.fault("a", "reset-after=2")
    w = weir(config(at(provider.base, "m", "a", order=1), at(provider.base, "m", "b", order=2), router_settings=ROUTER))
    answer = w.chat("m", stream=True)
    assert answer.status == 200 and not answer.complete and "[DONE]" not in answer.text
    settled(w, provider)
    assert provider.counts() == {"a": 1}


# ---- what tells of it ----

def test_the_log_tells_the_whole_story(weir, provider):
    provider.fault("a", "delay-ms=20,status=500")  # starts are told to the millisecond
    provider.fault("b", "delay-ms=100,status=503")
    w = weir(config(at(provider.base, "m", "a", order=1), at(provider.base, "m", "b", order=2), at(provider.base, "n", "c"),
                    router_settings={**ROUTER, "num_retries": 1, "fallbacks": [{"m": ["n"]}]}))
    answer = w.chat("m")
    assert answer.status == 200 and (answer["x-litellm-attempted-retries"], answer["x-litellm-attempted-fallbacks"]) == ("2", "1")
    [record] = settled(w, provider)
    assert (record["model"], record["fallback_from"], record["deployment"], record["attempts"]) == ("m", "m", "c", 3)
    first, second = attempts(w)
    assert (first["deployment"], first["http_status"], first["attempts"]) == ("a", 500, 1)
    assert (second["deployment"], second["http_status"], second["attempts"]) == ("b", 503, 2)
    assert record["latency_ms"] > first["latency_ms"] + second["latency_ms"] and second["upstream_ms"] >= 100
    assert record["upstream_ms"] < 100 + SLACK_S * 1000
    trace = json.loads(analyzed(w, "--trace", record["request_id"], "--format", "json"))
    told = re.findall(r'"deployment": "([abc])"', json.dumps(trace))
    assert sorted(told) == ["a", "b", "c"] and told[-1] == "b", trace  # in the order in which they began
    seen = chains(w)
    assert (seen["attempts"], seen["failed_attempts"]) == (provider.stats()["requests"], 2), seen


# ---- all at once ----

FAULTS = ["status=500", "hang-head", "stall-after=0", "error-in-stream=0", "cut-after=3", "delay-ms=60"]


def ask_and_perhaps_leave(w, dice):
    """One request of some kind over a connection of its own; sometimes its client leaves in the middle. True: it was answered."""
    body = chat_body(dice.choice(["m", "n", "openai/a", "unknown"]), stream=dice.random() < 0.5, **dice.choice([{}, {}, {"num_retries": 3}]))
    with w.connect() as raw:
        raw.send(request("POST", "/v1/chat/completions", json.dumps(body).encode(), {"connection": "close"}))
        if dice.random() < 0.3:
            time.sleep(dice.random() * 0.3)
            return False
        answer = raw.answer("POST")
        assert answer.status in (200, 408, 429, 500, 502), answer.text
        return True


def test_nothing_is_left_behind_by_a_storm(weir, provider):
    """Hedges, retries, fallbacks, rests and clients that leave, on all workers at once: afterwards each place is free and each attempt told of once."""
    for name, fault in zip("abcdef", FAULTS):
        provider.fault(name, fault, share=0.5)
    w = weir(config(*[at(provider.base, "m" if n in "abc" else "n", n, max_parallel_requests=4) for n in "abcdef"],
                    router_settings={"num_retries": 2, "retry_after": 0, "cooldown_time": 0.2, "allowed_fails": 1, "default_fallbacks": ["n"],
                                     "fallbacks": [{"m": ["n"]}], "timeout": 0.4},
                    weir_settings={"hedge_percentile": 50, "hedge_max_share": 1, "hedge_min_ms": 20, "silence_timeout_ms": 300,
                                   "first_token_timeout_ms": 300, "workers": 2}))

    def some(seed):
        dice = random.Random(seed)
        for _ in range(25):
            ask_and_perhaps_leave(w, dice)

    wanted, kinds = {"success", "cancelled", "hedge_lost", "upstream_timeout"}, set()
    for storm in range(1, 6):  # which hedges are sent, and which of them lose, is up to the machine
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(some, range(8 * storm, 8 * storm + 8)))
        records = settled(w, requests=200 * storm)
        kinds |= {r["status"] for r in records} | {a["error"]["type"] for a in attempts(w)}
        if kinds >= wanted:
            break
    assert kinds >= wanted, kinds
    stats = wait_for(lambda: (s := provider.stats())["in_flight"] == 0 and s)
    logged = len(attempts(w)) + sum("deployment" in r for r in records)
    unsent = sum("upstream_ms" not in r for r in attempts(w) + [r for r in records if "deployment" in r])
    assert logged - unsent <= stats["requests"] <= logged, (stats, logged, unsent)
    provider.tell("DELETE", "/mock/fault")
    time.sleep(0.5)
    for name in "abcdef":  # by its id: no other one helps out
        for _ in range(2):
            wait_for(lambda: w.chat(name).status == 200)  # pylint: disable=cell-var-from-loop
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: w.chat(name, {"x-mock-delay-ms": "150"}), range(4)))  # pylint: disable=cell-var-from-loop
        assert [a.status for a in answers] == [200] * 4, [a.text for a in answers]
