"""Limits of virtual keys: exact over all workers, counted at the provider; what a refusal says; tokens; budgets.

64 clients at once on four workers, each on a connection of its own. A window lasts 60 s and starts with its first request, so all
that a test asks for lies in one.
"""
import json
import re
import threading
import time

import pytest
from harness import COMPLETION, chat_body, config, forever, model, request, usage_event, wait_for

CLIENTS = 64
MASTER = {"authorization": "Bearer sk-master"}
CHAT = "/v1/chat/completions"


def bearer(key):
    return {"authorization": f"Bearer {key}"}


def keyed(base, *keys, general=None, **sections):
    """A configuration of four workers and these keys. A token costs a cent, or nothing."""
    price = {"input_cost_per_token": 0.01, "output_cost_per_token": 0.01}
    free = {"input_cost_per_token": 0, "output_cost_per_token": 0}
    return config(model("sim-fast", base, **price), model("free", base, "openai/sim-fast", **free),
                  general_settings={"master_key": "sk-master", **(general or {})},
                  weir_settings={"workers": 4, "keys": [{"key": "sk-limited", "key_alias": "limited", **k} for k in keys]}, **sections)


def crowd(w, each, rounds=1, headers=None, **body):
    """`each` is called with every answer of 64 clients that ask `rounds` times at once; connections are kept."""
    problems, gate = [], threading.Barrier(CLIENTS)
    data = request("POST", CHAT, json.dumps(chat_body(**body)).encode(), headers or bearer("sk-limited"))

    def client():
        try:
            with w.connect() as raw:
                gate.wait()
                for _ in range(rounds):
                    raw.send(data)
                    each(raw.answer())
        except Exception as problem:  # pylint: disable=broad-except
            problems.append(problem)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems[0]


def crowd_answers(w, **options):
    answers = []
    crowd(w, answers.append, **options)
    return [a for a in answers if a.status == 200], [a for a in answers if a.status != 200]


@pytest.mark.parametrize("limit", [1, 100])
def test_never_one_request_more_than_rpm_limit(weir, fresh_mock, limit):
    w = weir(keyed(fresh_mock.base, {"rpm_limit": limit}))
    good, refused = crowd_answers(w, rounds=5)
    assert len(good) == limit and len(good) + len(refused) == 5 * CLIENTS
    assert fresh_mock.stats()["requests"] == limit
    assert {a.status for a in refused} == {429}
    assert {a["rate_limit_type"] for a in refused} == {"requests"}
    assert sorted(int(a["x-ratelimit-api_key-remaining-requests"]) for a in good)[0] == 0
    records = w.requests(5 * CLIENTS)
    assert sum(r["status"] == "success" for r in records) == limit
    assert {r["error"]["type"] for r in records if r["status"] != "success"} == {"key_requests_limit"}


def test_a_refusal_is_as_litellms(weir, fresh_mock):
    w = weir(keyed(fresh_mock.base, {"rpm_limit": 1}))
    began = time.time()
    first, second = w.chat(headers=bearer("sk-limited")), w.chat(headers=bearer("sk-limited"))
    assert first.status == 200 and second.status == 429
    assert first["x-ratelimit-api_key-limit-requests"] == first["x-ratelimit-limit-requests"] == "1"
    assert first["x-ratelimit-api_key-remaining-requests"] == first["x-ratelimit-remaining-requests"] == "0"
    assert "x-ratelimit-limit-tokens" not in first.headers and "retry-after" not in first.headers
    assert second.error["type"] == "rate_limit_error" and second.error["code"] == "429"
    found = re.fullmatch(r"Rate limit exceeded for api_key: limited\. Limit type: requests\. Current limit: 1, Remaining: 0\. "
                         r"Limit resets at: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC)", second.error["message"])
    assert found and second["reset_at"] == found.group(1)
    resets = time.mktime(time.strptime(found.group(1), "%Y-%m-%d %H:%M:%S UTC")) - time.timezone
    assert began + 59 <= resets <= time.time() + 61
    assert 55 <= int(second["retry-after"]) <= 60
    assert second["x-request-id"] and "llm_provider-date" not in second.headers


def test_the_upstreams_own_limits_win_under_the_plain_names(weir, upstream):
    server = upstream(forever(lambda c, asked: c.reply(COMPLETION, headers={"x-ratelimit-remaining-requests": "7"})))
    w = weir(keyed(server.base, {"rpm_limit": 10, "tpm_limit": 10000}))
    a = w.chat(headers=bearer("sk-limited"))
    assert a.status == 200 and a["x-ratelimit-remaining-requests"] == "7"
    assert "x-ratelimit-limit-requests" not in a.headers
    assert a["x-ratelimit-api_key-remaining-requests"] == "9" and a["x-ratelimit-api_key-limit-tokens"] == "10000"


def test_the_master_key_and_other_keys_are_not_limited(weir, fresh_mock):
    settings = keyed(fresh_mock.base, {"rpm_limit": 1})
    settings["weir_settings"]["keys"].append({"key": "sk-another", "key_alias": "another"})
    w = weir(settings)
    assert [w.chat(headers=bearer("sk-limited")).status for _ in range(3)] == [200, 429, 429]
    for headers in (MASTER, bearer("sk-another")):
        a = w.chat(headers=headers)
        assert a.status == 200 and not [n for n in a.headers if n.startswith("x-ratelimit")]


class Crowded:
    """An upstream that counts how many requests it has at once."""

    def __init__(self, stay_s):
        self.lock, self.now, self.most, self.all, self.stay_s = threading.Lock(), 0, 0, 0, stay_s

    def reply(self, connection, _):
        with self.lock:
            self.now, self.all = self.now + 1, self.all + 1
            self.most = max(self.most, self.now)
        time.sleep(self.stay_s)
        with self.lock:
            self.now -= 1
        connection.reply(COMPLETION)


@pytest.mark.parametrize("where", ["key", "all keys"])
def test_never_one_more_in_flight_than_max_parallel_requests(weir, upstream, where):
    counted = Crowded(0.05)
    server = upstream(forever(counted.reply))
    limit = {"max_parallel_requests": 5}
    w = weir(keyed(server.base, limit if where == "key" else {}, general=limit if where == "all keys" else None))
    good, refused = crowd_answers(w, rounds=10)
    assert counted.most == 5 and counted.all == len(good) >= 5
    assert {a["rate_limit_type"] for a in refused} == {"max_parallel_requests"} and {a["retry-after"] for a in refused} == {"1"}
    assert w.chat(headers=bearer("sk-limited")).status == 200  # all places were given back


def test_a_place_is_free_again_when_the_client_leaves(weir, upstream):
    asked = threading.Event()

    def script(connection):
        connection.asked()
        asked.set()
        connection.rest()

    w = weir(keyed(upstream(script).base, {"max_parallel_requests": 1}))
    with w.connect() as client:
        client.send(request("POST", CHAT, json.dumps(chat_body()).encode(), bearer("sk-limited")))
        assert asked.wait(10)
        assert w.chat(headers=bearer("sk-limited")).status == 429
    asked.clear()

    def taken():
        """a place for another"""
        with w.connect() as client:
            client.send(request("POST", CHAT, json.dumps(chat_body()).encode(), bearer("sk-limited")))
            return asked.wait(0.1)

    wait_for(taken)


@pytest.mark.parametrize("stream", [False, True])
def test_who_waits_for_the_answer_never_meets_the_own_place(weir, fresh_mock, stream):
    w = weir(keyed(fresh_mock.base, {"max_parallel_requests": 1}))
    connections = [w.connect() for _ in range(16)]  # on all workers
    data = request("POST", CHAT, json.dumps(chat_body(stream=stream)).encode(), bearer("sk-limited"))
    for i in range(200):
        connections[i % 16].send(data)
        assert connections[i % 16].answer().status == 200
    for c in connections:
        c.close()


def test_no_place_is_lost_when_many_clients_leave(weir, upstream):
    counted = Crowded(0.02)
    w = weir(keyed(upstream(forever(counted.reply)).base, {"max_parallel_requests": 8, "rpm_limit": 100000}))
    data = request("POST", CHAT, json.dumps(chat_body()).encode(), bearer("sk-limited"))
    for _ in range(10):
        clients = [w.connect() for _ in range(32)]
        for client in clients:
            client.send(data)
        time.sleep(0.01)
        for client in clients:
            client.reset()

    def all_free():
        """8 places at once, and no 9th"""
        clients = [w.connect() for _ in range(9)]
        for client in clients:
            client.send(data)
        statuses = sorted(client.answer().status for client in clients)
        for client in clients:
            client.close()
        return statuses == [200] * 8 + [429]

    counted.stay_s = 0.5
    wait_for(all_free)


def test_never_one_token_more_than_tpm_limit(weir, fresh_mock):
    w = weir(keyed(fresh_mock.base, {"tpm_limit": 1000}))
    good, refused = crowd_answers(w, rounds=5, max_tokens=16)
    stats = fresh_mock.stats()
    used = stats["prompt_tokens"] + stats["completion_tokens"]
    each = used / len(good)
    assert used == sum(a.json["usage"]["total_tokens"] for a in good)
    assert 1000 - 2 * (16 + 20) < used <= 1000, (used, each)  # as many as there is room for, and none beyond
    assert {a["rate_limit_type"] for a in refused} == {"tokens"}
    assert good[0]["x-ratelimit-api_key-limit-tokens"] == "1000"


def test_tokens_are_settled_to_what_the_provider_counted(weir, upstream):
    server = upstream(forever(lambda c, asked: c.reply(COMPLETION)))  # 11 tokens
    w = weir(keyed(server.base, {"tpm_limit": 1000}))
    for _ in range(20):  # each reserves 700 and more, and gives back nearly all of it
        assert w.chat(headers=bearer("sk-limited"), max_tokens=700).status == 200
    too_much = w.chat(headers=bearer("sk-limited"), max_tokens=790)
    assert too_much.status == 429 and "Remaining: 780" in too_much.error["message"]
    never = w.chat(headers=bearer("sk-limited"), max_tokens=1001)
    assert never.status == 429 and never["x-should-retry"] == "false" and "max_tokens" in never.error["message"]
    assert "retry-after" not in never.headers


@pytest.mark.parametrize("kind, left", [("total", 989), ("output", 998), ("input", 991)])
def test_token_rate_limit_type(weir, upstream, kind, left):
    server = upstream(forever(lambda c, asked: c.reply(COMPLETION)))
    w = weir(keyed(server.base, {"tpm_limit": 1000}, general={"token_rate_limit_type": kind}))
    assert w.chat(headers=bearer("sk-limited")).status == 200
    refused = w.chat(headers=bearer("sk-limited"), max_tokens=1000) if kind != "input" else None
    if refused:
        assert refused.status == 429 and f"Remaining: {left}" in refused.error["message"]
    else:
        a = w.chat(headers=bearer("sk-limited"), text="")
        reserved = left - int(a["x-ratelimit-api_key-remaining-tokens"])
        assert a.status == 200 and 0 < reserved < 20  # an estimate of its own prompt


def test_a_stream_is_settled_too(weir, upstream):
    def script(connection):
        while True:
            connection.asked()
            connection.stream({"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]},
                              usage_event(30, 70), "[DONE]")

    w = weir(keyed(upstream(script).base, {"tpm_limit": 1000}))
    a = w.chat(headers=bearer("sk-limited"), stream=True, max_tokens=500)
    assert a.status == 200 and int(a["x-ratelimit-api_key-remaining-tokens"]) < 500
    refused = w.chat(headers=bearer("sk-limited"), max_tokens=1000)
    assert "Remaining: 900" in refused.error["message"]


def test_what_no_upstream_got_is_not_counted(weir, upstream):
    server = upstream(forever(lambda c, asked: c.reply(COMPLETION)))
    settings = keyed(server.base, {"rpm_limit": 2})
    settings["model_list"].append(model("gone", "http://127.0.0.1:9/v1"))
    w = weir(settings)
    for name, status in (("no-such-model", 400), ("gone", 502), ("gone", 502)):
        assert w.chat(name, headers=bearer("sk-limited")).status == status
    assert [w.chat(headers=bearer("sk-limited")).status for _ in range(3)] == [200, 200, 429]


def spent_until_refused(w, most=50, **options):
    for count in range(most):
        a = w.chat(**options)
        if a.status != 200:
            return count, a
    raise AssertionError("never refused")


def test_a_budget_ends_and_starts_again(weir, fresh_mock):
    w = weir(keyed(fresh_mock.base, {"max_budget": 1.0, "budget_duration": "2s"}))
    began = time.monotonic()
    count, a = spent_until_refused(w, headers=bearer("sk-limited"))
    assert count > 0 and a.status == 400, a.body
    assert a.error["type"] == "budget_exceeded" and a.error["code"] == "400"
    spent = float(re.fullmatch(r"Budget has been exceeded! Current cost: ([0-9.]+), Max budget: 1", a.error["message"]).group(1))
    assert spent >= 1.0
    assert w.chat("free", headers=bearer("sk-limited")).status == 200  # what costs nothing goes on
    wait_for(lambda: w.chat(headers=bearer("sk-limited")).status == 200)
    assert time.monotonic() - began < 8
    assert w.chat(headers=MASTER).status == 200
    wait_for(lambda: [r for r in w.lines() if r.get("error", {}).get("type") == "budget_exceeded"])


def test_a_budget_of_all_together(weir, fresh_mock):
    w = weir(keyed(fresh_mock.base, {}, litellm_settings={"max_budget": 1.0, "budget_duration": "2s"}))
    count, a = spent_until_refused(w, headers=MASTER)
    assert count > 0 and a.status == 400 and a.error["type"] == "budget_exceeded"
    assert w.chat(headers=bearer("sk-limited")).status == 400
    wait_for(lambda: w.chat(headers=bearer("sk-limited")).status == 200)


def test_what_all_spent_survives_a_kill(weir, fresh_mock):
    settings = keyed(fresh_mock.base, {}, litellm_settings={"max_budget": 1.0})
    w = weir(settings)
    _, before = spent_until_refused(w, headers=MASTER)
    w.kill()
    w.start()
    after = w.chat(headers=MASTER)
    assert after.status == 400 and after.error["message"] == before.error["message"]
