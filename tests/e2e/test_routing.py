"""Routing: which deployment of a group answers. Counted at the provider where it counts, and read from x-litellm-model-id."""
import collections
import concurrent.futures
import contextlib
import json
import socket

import pytest
from harness import Mock, chat_body, config, model, request

LETTERS = "abcdefgh"
AGAIN = {"num_retries": 3}  # where another deployment is to answer for one that is dead


def group(*bases, name="m", **each):
    """One deployment a base, with ids a, b, ...; `each` has lists of further litellm_params, None where one has none."""
    entries = []
    for i, base in enumerate(bases):
        params = {k: v[i] for k, v in each.items() if v[i] is not None}
        entries.append(model(name, base, f"openai/{LETTERS[i]}", info={"id": LETTERS[i]}, **params))
    return entries


def closed_port():
    """A base where nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}/v1"


def ask(w, count=1, headers=None, name="m", **more):
    """The ids of the deployments that answered, over one connection."""
    ids = []
    with w.connect() as client:
        for _ in range(count):
            client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body(name, **more)).encode(), headers))
            answer = client.answer()
            assert answer.status == 200, answer.body
            ids.append(answer["x-litellm-model-id"])
    return ids


def ask_together(w, clients, count, **more):
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        parts = [pool.submit(ask, w, count, **more) for _ in range(clients)]
        return [i for p in parts for i in p.result()]


def counts_at(mock):
    return {name: of["requests"] for name, of in mock.stats()["models"].items()}


@pytest.fixture
def mocks():
    """mocks(["--ttft-ms", "5"], []) are simulated providers, one a list of options."""
    with contextlib.ExitStack() as stack:
        yield lambda *options: [stack.enter_context(Mock(*words)) for words in options]


def with_strategy(strategy, *models, args=None, **sections):
    router = {"routing_strategy": strategy, **sections.pop("router_settings", {})}
    if args:
        router["routing_strategy_args"] = args
    return config(*models, router_settings=router, **sections)


# ---- strategies ----

def test_weights_are_shares(weir, fresh_mock):
    w = weir(config(*group(*[fresh_mock.base] * 3, weight=[6, 3, 1])))
    seen = collections.Counter(ask_together(w, 4, 150))
    assert sum(seen.values()) == 600
    for letter, expected in zip("abc", (360, 180, 60)):
        assert abs(seen[letter] - expected) < 60, seen  # five standard deviations of the widest
    assert counts_at(fresh_mock) == seen


def test_rpm_is_a_weight_where_there_is_none(weir, fresh_mock):
    w = weir(config(*group(*[fresh_mock.base] * 2, rpm=[9000, 1000])))
    seen = collections.Counter(ask(w, 300))
    assert 240 < seen["a"] < 300, seen


def test_weight_0_stands_by(weir, fresh_mock):
    w = weir(config(*group(*[fresh_mock.base] * 2, weight=[0, 5])))
    assert set(ask(w, 50)) == {"b"}
    dead = weir(config(*group(fresh_mock.base, closed_port(), weight=[0, 5]), router_settings=AGAIN))
    assert set(ask(dead, 5)) == {"a"}


def test_least_busy_leaves_the_slow_one_alone(weir, mocks):
    slow, fast = mocks(["--delay-ms", "400"], ["--delay-ms", "2"])
    w = weir(with_strategy("least-busy", *group(slow.base, fast.base)))
    seen = collections.Counter(ask_together(w, 8, 40))
    assert seen["a"] + seen["b"] == 320
    assert 1 <= seen["a"] < 60, seen  # at random it were 160
    assert slow.stats()["requests"] == seen["a"] and fast.stats()["requests"] == seen["b"]


@pytest.mark.parametrize("stream", [False, True])
def test_latency_picks_the_faster(weir, mocks, stream):
    slow, fast = mocks(["--ttft-ms", "120", "--tokens-per-second", "200"], ["--ttft-ms", "5", "--tokens-per-second", "2000"])
    w = weir(with_strategy("latency-based-routing", *group(slow.base, fast.base, slow.base)))
    seen = collections.Counter(ask(w, 30, stream=stream))
    assert seen["b"] == 28 and seen["a"] == seen["c"] == 1, seen  # each is tried once, then it is known


def test_latency_within_the_buffer_is_alike(weir, mocks):
    bases = [m.base for m in mocks(["--ttft-ms", "20"], ["--ttft-ms", "22"], ["--ttft-ms", "150"])]
    w = weir(with_strategy("latency-based-routing", *group(*bases), args={"lowest_latency_buffer": 1.5}))
    seen = collections.Counter(ask(w, 40))
    assert seen["a"] > 5 and seen["b"] > 5 and seen["c"] == 1, seen


def test_cost_picks_the_cheaper(weir, fresh_mock):
    w = weir(with_strategy("cost-based-routing", *group(*[fresh_mock.base] * 3, input_cost_per_token=[3e-6, 1e-6, None],
                                                        output_cost_per_token=[1e-6, 2e-6, None])))
    assert set(ask(w, 20)) == {"b"}  # 3e-6 in all; c is not in the price list: 10


@pytest.mark.parametrize("strategy", ["usage-based-routing", "usage-based-routing-v2"])
def test_usage_evens_out_tokens(weir, fresh_mock, strategy):
    w = weir(with_strategy(strategy, *group(*[fresh_mock.base] * 2)))
    for i in range(60):
        ask(w, 1, {"x-mock-tokens": str(100 if i % 3 == 0 else 10)})
    used = [of["completion_tokens"] for of in fresh_mock.stats()["models"].values()]
    assert len(used) == 2 and abs(used[0] - used[1]) <= 120, used  # one long answer


def test_usage_keeps_to_rpm_and_says_when(weir, fresh_mock):
    w = weir(with_strategy("usage-based-routing-v2", *group(*[fresh_mock.base] * 2, rpm=[3, 2])))
    assert collections.Counter(ask(w, 5)) == {"a": 3, "b": 2}
    answer = w.chat("m")
    assert answer.status == 429
    assert 1 <= int(answer["retry-after"]) <= 60
    assert "at a limit: 2" in answer.error["message"]
    assert fresh_mock.stats()["requests"] == 5


def test_rpm_holds_with_any_strategy_if_asked_for(weir, fresh_mock):
    w = weir(config(*group(*[fresh_mock.base] * 2, rpm=[7, 4]),
                    router_settings={"optional_pre_call_checks": ["enforce_model_rate_limits"], "num_retries": 0}))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        statuses = collections.Counter(a.status for a in pool.map(lambda _: w.chat("m"), range(40)))
    assert statuses == {200: 11, 429: 29}
    assert counts_at(fresh_mock) == {"a": 7, "b": 4}


# ---- tags ----

TAGS = [["gold", "eu"], ["silver", "eu"], ["default"], None]


def tagged(mock, **router):
    return config(*group(*[mock.base] * 4, tags=TAGS), router_settings={"enable_tag_filtering": True, **router})


@pytest.mark.parametrize("headers, body, expected", [
    ({"x-litellm-tags": "gold"}, {}, "a"),
    ({"x-litellm-tags": "nobody, gold"}, {}, "a"),
    ({"x-litellm-tags": "eu"}, {}, "ab"),
    ({}, {"metadata": {"tags": ["silver"]}}, "b"),
    ({}, {"tags": ["silver", "gold"]}, "ab"),
    ({"x-litellm-tags": "nobody"}, {}, "c"),
    ({}, {}, "c"),
])
def test_tags(weir, fresh_mock, headers, body, expected):
    w = weir(tagged(fresh_mock))
    assert set(ask(w, 24, headers, **body)) == set(expected)


def test_all_tags_must_match_if_asked_for(weir, fresh_mock):
    w = weir(tagged(fresh_mock, tag_filtering_match_any=False))
    assert set(ask(w, 12, {"x-litellm-tags": "eu,gold"})) == {"a"}
    assert set(ask(w, 12, {"x-litellm-tags": "gold,silver"})) == {"c"}


def test_tags_that_no_deployment_has(weir, fresh_mock):
    w = weir(config(*group(*[fresh_mock.base] * 2, tags=[["gold"], None]), router_settings={"enable_tag_filtering": True}))
    answer = w.chat("m", {"x-litellm-tags": "lead"})
    assert answer.status == 401
    assert answer.error["type"] == "auth_error"
    assert w.record()["attempts"] == 0
    assert fresh_mock.stats()["requests"] == 0
    assert set(ask(w, 30)) == {"a", "b"}  # without "default" the untagged go anywhere


def test_tags_are_only_data_where_filtering_is_off(weir, fresh_mock):
    w = weir(config(*group(*[fresh_mock.base] * 2, tags=[["gold"], ["silver"]])))
    assert set(ask(w, 40, {"x-litellm-tags": "gold"})) == {"a", "b"}


# ---- levels, rest ----

def test_a_higher_order_serves_when_the_lower_is_gone(weir, fresh_mock):
    w = weir(config(*group(*[fresh_mock.base] * 3, order=[2, 1, 1])))
    assert set(ask(w, 40)) == {"b", "c"}
    dead = weir(config(*group(fresh_mock.base, closed_port(), closed_port(), order=[2, 1, 1]), router_settings=AGAIN))
    assert set(ask(dead, 5)) == {"a"}
    assert max(r["attempts"] for r in dead.requests(5)) == 3  # both of the first level, then the second


def test_when_all_rest_the_answer_says_how_long(weir):
    w = weir(config(*group(closed_port(), closed_port()),
                    router_settings={**AGAIN, "allowed_fails": 0, "cooldown_time": 30}))
    first = w.chat("m")
    assert first.status >= 429
    answer = w.chat("m")
    assert answer.status == 429
    assert 1 <= int(answer["retry-after"]) <= 30
    assert "No deployments available for selected model, Try again in" in answer.error["message"]
    assert "resting after failures: 2" in answer.error["message"]
    assert sorted(r["attempts"] for r in w.requests(2)) == [0, 2]


def test_long_prompts_go_where_they_fit(weir, fresh_mock):
    small, large = (model("m", fresh_mock.base, f"openai/{i}", info={"id": i, "max_input_tokens": n}) for i, n in (("a", 100), ("b", 5000)))
    w = weir(config(small, large, router_settings={"enable_pre_call_checks": True}))
    assert set(ask(w, 20, text="word " * 1000)) == {"b"}
    assert set(ask(w, 30, text="word")) == {"a", "b"}
    answer = w.chat("m", text="word " * 50000)
    assert answer.status == 400
    assert "prompt too long for: 2" in answer.error["message"]


# ---- sessions ----

SESSIONS = [f"session-{i}" for i in range(24)]
PLACES = {
    "header": lambda s: ({"x-litellm-session-id": s}, {}),
    "body": lambda s: ({}, {"litellm_session_id": s}),
    "metadata": lambda s: ({}, {"metadata": {"session_id": s}}),
    "prompt_cache_key": lambda s: ({}, {"prompt_cache_key": s}),
}


def homes(w, place="header", count=4):
    """Where each session is answered; each must be at one place alone."""
    found = {}
    for session in SESSIONS:
        headers, body = PLACES[place](session)
        ids = set(ask(w, count, headers, **body))
        assert len(ids) == 1, (session, ids)
        found[session] = ids.pop()
    return found


@pytest.mark.parametrize("place", PLACES)
def test_a_session_stays(weir, fresh_mock, place):
    settings = config(*group(*[fresh_mock.base] * 3), weir_settings={"workers": 3})
    w = weir(settings)
    at = homes(w, place)
    assert set(at.values()) == {"a", "b", "c"}
    w.restart()
    assert homes(w, place, 2) == at  # nothing was remembered, it is computed
    if place != "header":
        assert homes(w, "header", 1) == at  # an id is an id, wherever it stands


def test_sessions_may_be_switched_off(weir, fresh_mock):
    w = weir(config(*group(*[fresh_mock.base] * 2), weir_settings={"session_affinity": False}))
    assert set(ask(w, 40, {"x-litellm-session-id": "s"})) == {"a", "b"}


def test_one_that_dies_moves_only_its_own_sessions(weir, mocks):
    three = mocks([], [], [])
    w = weir(config(*group(*[m.base for m in three]),
                    router_settings={**AGAIN, "allowed_fails": 0, "cooldown_time": 60}))
    before = homes(w, count=2)
    three[1].kill()
    after = homes(w, count=2)
    for session in SESSIONS:
        assert after[session] != "b"
        if before[session] != "b":
            assert after[session] == before[session]
    three[1].process = None  # it is gone, and that was meant


def test_a_conversation_stays_as_it_grows(weir, fresh_mock):
    w = weir(config(*group(*[fresh_mock.base] * 4), weir_settings={"prefix_affinity": True}))
    everywhere = set()
    for i in range(16):
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"question {i}"}]
        seen = set()
        for turn in range(5):
            body = json.dumps({"model": "m", "messages": messages}).encode()
            seen.add(w.post("/v1/chat/completions", body)["x-litellm-model-id"])
            messages += [{"role": "assistant", "content": f"answer {turn}"}, {"role": "user", "content": f"and {turn}?"}]
        assert len(seen) == 1
        everywhere |= seen
    assert len(everywhere) > 1


# ---- names ----

def test_an_alias_is_its_group(weir, fresh_mock):
    w = weir(config(*group(fresh_mock.base, name="real"), *group(fresh_mock.base, name="other"),
                    router_settings={"model_group_alias": {"nick": "real", "secret": {"model": "real", "hidden": True}}}))
    for name in ("nick", "secret"):
        answer = w.chat(name)
        assert answer.status == 200 and answer["x-litellm-model-id"] == "a"
    names = [m["id"] for m in w.get("/v1/models").json["data"]]
    assert "nick" in names and "secret" not in names
