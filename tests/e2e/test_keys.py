"""Virtual keys: made, used, changed and taken away; what a key may do; what survives restarts and SIGKILL; what is never written down."""
import concurrent.futures
import datetime
import hashlib
import json
import re
import sqlite3
import time

import pytest
from harness import Gateway, SANITIZED, chat_body, config, model, request, wait_for

MASTER = "sk-master-1234"
ADMIN = {"authorization": f"Bearer {MASTER}"}
CONFIG_KEY = "sk-from-the-configuration-1"
OTHER_KEY = "sk-from-the-configuration-2"


def bearer(key):
    return {"authorization": f"Bearer {key}"}


def sha(key):
    return hashlib.sha256(key.encode()).hexdigest()


def settings(mock, keys=None, **own):
    return config(model("sim-fast", mock.base), model("openai/*", mock.base, "openai/sim-fast"), model("real", mock.base, "openai/sim-fast"),
                  general_settings={"master_key": MASTER}, router_settings={"model_group_alias": {"nick": "sim-fast"}},
                  weir_settings={**({"keys": keys} if keys else {}), **own})


@pytest.fixture
def locked(weir, mock):
    return weir(settings(mock))


def generate(gateway, **body):
    answer = gateway.post("/key/generate", body, ADMIN)
    assert answer.status == 200, answer.text
    return answer.json


def info(gateway, key):
    answer = gateway.get(f"/key/info?key={key}", ADMIN)
    assert answer.status == 200, answer.text
    return answer.json["info"]


# ---- the life of a key ----

def test_the_life_of_a_key(locked):
    made = generate(locked, key_alias="alice", models=["sim-fast"], max_budget=2.5, budget_duration="30d", duration="12h",
                    rpm_limit=100, tpm_limit=200000, max_parallel_requests=5, user_id="u1", team_id="t1", metadata={"a": [1, {"b": "é"}]})
    key = made["key"]
    assert re.fullmatch(r"sk-[A-Za-z0-9]{22,}", key)
    assert made["token"] == made["token_id"] == sha(key) and made["key_name"] == f"sk-...{key[-4:]}"
    wanted = {"key_alias": "alice", "models": ["sim-fast"], "max_budget": 2.5, "budget_duration": "30d", "rpm_limit": 100, "tpm_limit": 200000,
              "max_parallel_requests": 5, "user_id": "u1", "team_id": "t1", "metadata": {"a": [1, {"b": "é"}]}, "spend": 0, "blocked": False}
    assert {name: made[name] for name in wanted} == wanted
    expires = datetime.datetime.fromisoformat(made["expires"].replace("Z", "+00:00")).timestamp()
    reset = datetime.datetime.fromisoformat(made["budget_reset_at"].replace("Z", "+00:00")).timestamp()
    assert abs(expires - time.time() - 12 * 3600) < 30 and abs(reset - time.time() - 30 * 86400) < 30

    assert locked.chat(headers=bearer(key)).status == 200
    record = locked.record()
    assert record["key_alias"] == "alice" and record["key_hash"] == sha(key)
    assert {name: info(locked, key)[name] for name in wanted if name != "spend"} == {n: v for n, v in wanted.items() if n != "spend"}
    assert "token" not in info(locked, key) and "key" not in info(locked, key)

    # An update changes what it names, a null takes a limit away.
    answer = locked.post("/key/update", {"key": key, "models": ["real"], "rpm_limit": None, "metadata": {}}, ADMIN)
    assert answer.status == 200 and answer.json["models"] == ["real"] and answer.json["rpm_limit"] is None
    assert answer.json["tpm_limit"] == 200000 and answer.json["metadata"] == {} and answer.json["key_alias"] == "alice"
    denied = locked.chat(headers=bearer(key))
    assert denied.status == 401 and denied.error["type"] == "key_model_access_denied" and denied.error["param"] == "model"
    assert "'real'" in denied.error["message"] and "sim-fast" in denied.error["message"]
    assert locked.chat("real", bearer(key)).status == 200

    assert locked.post("/key/block", {"key": key}, ADMIN).json["blocked"] is True
    blocked = locked.chat("real", bearer(key))
    assert blocked.status == 401 and blocked.error["type"] == "auth_error" and "blocked" in blocked.error["message"]
    assert locked.post("/key/unblock", {"key": sha(key)}, ADMIN).json["blocked"] is False  # by its hash, as LiteLLM
    assert locked.chat("real", bearer(key)).status == 200

    assert locked.post("/key/delete", {"keys": [key]}, ADMIN).json == {"deleted_keys": [sha(key)]}
    assert locked.chat("real", bearer(key)).status == 401
    assert locked.get(f"/key/info?key={key}", ADMIN).status == 404
    errors = sorted(r["error"]["type"] for r in locked.requests(6) if "error" in r)
    assert errors == ["bad_key", "key_blocked", "key_model_denied"]


def test_a_key_of_ones_own_choice_and_a_new_one_in_its_place(locked):
    assert generate(locked, key="sk-my-own-key", key_alias="mine")["key"] == "sk-my-own-key"
    assert locked.chat(headers=bearer("sk-my-own-key")).status == 200
    answer = locked.post("/key/regenerate", {"key": "sk-my-own-key"}, ADMIN)
    assert answer.status == 200 and answer.json["key"] != "sk-my-own-key" and answer.json["key_alias"] == "mine"
    assert locked.chat(headers=bearer("sk-my-own-key")).status == 401
    assert locked.chat(headers=bearer(answer.json["key"])).status == 200
    assert locked.restart().chat(headers=bearer(answer.json["key"])).status == 200
    assert locked.chat(headers=bearer("sk-my-own-key")).status == 401


@pytest.mark.parametrize("name", ["x-litellm-api-key", "api-key", "x-api-key", "x-goog-api-key"])
def test_every_header_carries_a_key(locked, name):
    assert locked.chat(headers={name: generate(locked)["key"]}).status == 200


def test_a_key_ends(locked):
    key = generate(locked, duration="2s")["key"]
    assert locked.chat(headers=bearer(key)).status == 200
    time.sleep(2.1)
    answer = locked.chat(headers=bearer(key))
    assert answer.status == 400 and answer.error["type"] == "expired_key" and answer.error["code"] == "400"
    assert locked.post("/key/update", {"key": key, "duration": None}, ADMIN).json["expires"] is None
    assert locked.chat(headers=bearer(key)).status == 200


# ---- what a key may use ----

@pytest.mark.parametrize("models, may, may_not", [
    ([], ["sim-fast", "nick", "openai/x", "real"], []),
    (["all-proxy-models"], ["sim-fast", "nick", "openai/x", "real"], []),
    (["*"], ["sim-fast", "nick", "openai/x", "real"], []),
    (["sim-fast"], ["sim-fast", "nick"], ["real", "openai/x"]),
    (["nick"], ["nick"], ["sim-fast", "real"]),
    (["openai/*"], ["openai/x", "openai/gpt-4o"], ["sim-fast", "nick"]),
    (["openai/gpt-*"], ["openai/gpt-4o"], ["openai/x", "sim-fast"]),
    (["openai/gpt-4o", "real"], ["openai/gpt-4o", "real"], ["openai/gpt-4", "sim-fast"]),
])
def test_models_of_a_key(locked, models, may, may_not):
    key = generate(locked, models=models)["key"]
    for name in may:
        assert locked.chat(name, bearer(key)).status == 200, name
        assert locked.get(f"/v1/models/{name.replace('/', '%2F')}", bearer(key)).status == 200, name
    for name in may_not:
        answer = locked.chat(name, bearer(key))
        assert answer.status == 401 and answer.error["type"] == "key_model_access_denied", name
        assert locked.get(f"/v1/models/{name.replace('/', '%2F')}", bearer(key)).status == 404, name
    shown = {entry["id"] for entry in locked.get("/v1/models", bearer(key)).json["data"]}
    assert shown == {n for n in ("sim-fast", "real", "nick") if n in may}


def test_what_only_the_master_key_may(locked):
    key, other = generate(locked)["key"], generate(locked)["key"]
    for path in ("/key/generate", "/key/update", "/key/delete", "/key/block", "/key/unblock", "/key/regenerate"):
        for headers, kind in ((bearer(key), "only the master key"), ({}, "No api key"), (bearer("sk-wrong"), "not known")):
            answer = locked.post(path, {"key": other}, headers)
            assert answer.status == 401 and answer.error["type"] == "auth_error" and kind in answer.error["message"]
    for path in ("/key/list", "/api/v1/requests", "/api/v1/status"):
        assert locked.get(path, bearer(key)).status == 401, path
    for path in ("/v1/models", "/model/info", "/health"):
        assert locked.get(path, bearer(key)).status == 200, path
    own = locked.get("/key/info", bearer(key)).json
    assert own["key"] == sha(key) and own["info"]["key_name"] == f"sk-...{key[-4:]}"
    assert locked.get(f"/key/info?key={key}", bearer(key)).status == 200
    assert locked.get(f"/key/info?key={other}", bearer(key)).status == 401
    assert locked.get(f"/key/info?key={sha('sk-none')}", bearer(key)).status == 401
    assert locked.chat(headers=bearer(other)).status == 200  # nothing of all that had an effect


def test_a_change_counts_at_once_on_every_worker(weir, mock):
    gateway = weir(settings(mock, workers=4))
    key = generate(gateway, key_alias="shared")["key"]
    ask = request("POST", "/v1/chat/completions", json.dumps(chat_body()).encode(), bearer(key))
    clients = [gateway.connect() for _ in range(24)]

    def all_answer(status):
        for client in clients:
            client.send(ask)
        return all(client.answer("POST").status == status for client in clients)

    assert all_answer(200)
    for path, status in (("/key/block", 401), ("/key/unblock", 200), ("/key/block", 401), ("/key/unblock", 200)):
        gateway.post(path, {"key": key}, ADMIN)
        assert all_answer(status), path
    gateway.post("/key/update", {"key": key, "models": ["real"]}, ADMIN)
    assert all_answer(401)
    gateway.post("/key/update", {"key": key, "models": None}, ADMIN)
    assert all_answer(200)
    gateway.post("/key/delete", {"key_aliases": ["shared"]}, ADMIN)
    assert all_answer(401)
    for client in clients:
        client.close()


# ---- the list ----

def test_the_list_in_pages(locked):
    keys = [generate(locked, key_alias=f"k{i}", user_id="even" if i % 2 == 0 else "odd")["token"] for i in range(25)]
    page = locked.get("/key/list", ADMIN).json
    assert page["total_count"] == 25 and page["current_page"] == 1 and page["total_pages"] == 3
    assert page["keys"] == keys[::-1][:10]
    last = locked.get("/key/list?page=3&size=12", ADMIN).json
    assert last["keys"] == [keys[0]] and last["total_pages"] == 3
    assert locked.get("/key/list?page=9", ADMIN).json["keys"] == []
    odd = locked.get("/key/list?user_id=odd&size=100&return_full_object=true", ADMIN).json
    assert odd["total_count"] == 12 and {entry["user_id"] for entry in odd["keys"]} == {"odd"}
    one = locked.get("/key/list?key_alias=k7&return_full_object=true", ADMIN).json["keys"]
    assert [entry["token"] for entry in one] == [keys[7]]
    for query, word in (("page=0", "page"), ("size=101", "size"), ("size=x", "size"), ("sort_by=spend", "sort_by")):
        answer = locked.get(f"/key/list?{query}", ADMIN)
        assert answer.status == 400 and word in answer.error["message"], query


# ---- bodies ----

@pytest.mark.parametrize("path, body, words", [
    ("/key/generate", b"{", ["not JSON", "line 1"]),
    ("/key/generate", b"[]", ["JSON object"]),
    ("/key/generate", b"", ["not JSON"]),
    ("/key/generate", {"modles": []}, ["modles", "models"]),
    ("/key/generate", {"keys": ["sk-x"]}, ["keys", "no such member"]),
    ("/key/generate", {"soft_budget": 5}, ["soft_budget", "not built yet"]),
    ("/key/generate", {"guardrails": ["g"]}, ["guardrails", "not built yet"]),
    ("/key/generate", {"models": "gpt"}, ["models", "list"]),
    ("/key/generate", {"models": ["all-team-models"]}, ["models", "not built yet"]),
    ("/key/generate", {"max_budget": "much"}, ["max_budget", "US dollars"]),
    ("/key/generate", {"max_budget": -1}, ["max_budget"]),
    ("/key/generate", {"rpm_limit": 1.5}, ["rpm_limit", "whole number"]),
    ("/key/generate", {"duration": "1y"}, ["duration", "1mo"]),
    ("/key/generate", {"budget_duration": 30}, ["budget_duration", "30d"]),
    ("/key/generate", {"blocked": "yes"}, ["blocked", "true or false"]),
    ("/key/generate", {"metadata": []}, ["metadata", "object"]),
    ("/key/generate", {"metadata": {"a": "x" * 17000}}, ["metadata", "16 KiB"]),
    ("/key/generate", {"key_alias": "a\nb"}, ["key_alias"]),
    ("/key/generate", {"key": "no-prefix"}, ["key", "sk-"]),
    ("/key/generate", {"key": "sk-with blank"}, ["key"]),
    ("/key/generate", {"key": MASTER}, ["master key"]),
    ("/key/update", {"models": []}, ["key", "expected"]),
    ("/key/block", {"key": None}, ["key"]),
    ("/key/block", {"key": "sk-x", "blocked": True}, ["blocked", "no such member"]),
    ("/key/delete", {}, ["keys"]),
    ("/key/delete", {"keys": []}, ["keys"]),
    ("/key/regenerate", {"key": "sk-x", "models": ["a"]}, ["models", "not built yet"]),
])
def test_bodies_that_make_no_sense(locked, path, body, words):
    answer = locked.post(path, body, ADMIN)
    assert answer.status == 400 and answer.error["type"] == "invalid_request_error", answer.text
    assert all(word in answer.error["message"] for word in words), answer.error["message"]
    assert MASTER not in answer.text
    assert locked.get("/key/list", ADMIN).json["total_count"] == 0


def test_members_that_say_nothing_are_let_pass(locked):
    generate(locked, aliases={}, config={}, permissions={}, guardrails=[], soft_budget=None, tags=None, key_alias=None, models=None, blocked=None)


def test_what_is_not_there_or_there_already(locked):
    generate(locked, key="sk-first", key_alias="first")
    second = generate(locked, key_alias="second")["key"]
    for path, body, status in (("/key/generate", {"key": "sk-first"}, 400), ("/key/generate", {"key_alias": "first"}, 400),
                               ("/key/update", {"key": second, "key_alias": "first"}, 400), ("/key/update", {"key": "sk-none"}, 404),
                               ("/key/block", {"key": sha("sk-none")}, 404), ("/key/regenerate", {"key": "sk-none"}, 404),
                               ("/key/delete", {"keys": [second, "sk-none"]}, 404), ("/key/delete", {"key_aliases": ["none"]}, 404)):
        answer = locked.post(path, body, ADMIN)
        assert answer.status == status, (path, body, answer.text)
    assert locked.get("/key/info", ADMIN).status == 400
    assert locked.get("/key/info?kye=x", ADMIN).status == 400
    assert locked.get("/key/list", ADMIN).json["total_count"] == 2  # nothing was deleted in part
    assert locked.post("/key/generate", b"x" * 70000, ADMIN).status == 413
    assert locked.get("/key/generate", ADMIN).status == 405
    assert locked.post("/key/info", {}, ADMIN).status == 405


# ---- where keys come from ----

def test_keys_of_the_configuration(weir, mock):
    gateway = weir(settings(mock, [{"key": "os.environ/TEAM_KEY", "key_alias": "team", "models": ["sim-fast"], "rpm_limit": 1000},
                                   {"key_hash": sha(OTHER_KEY), "metadata": {"x": 1}},
                                   {"key": "sk-blocked-in-the-file", "blocked": True},
                                   {"key": "sk-expired-in-the-file", "expires": "2020-01-01"}]), env={"TEAM_KEY": CONFIG_KEY})
    assert gateway.chat(headers=bearer(CONFIG_KEY)).status == 200
    assert gateway.record()["key_alias"] == "team"
    assert gateway.chat("real", bearer(CONFIG_KEY)).status == 401
    assert gateway.chat("real", bearer(OTHER_KEY)).status == 200
    assert gateway.chat(headers=bearer("sk-blocked-in-the-file")).status == 401
    assert gateway.chat(headers=bearer("sk-expired-in-the-file")).status == 400
    assert gateway.get("/key/list", ADMIN).json["total_count"] == 4
    assert info(gateway, OTHER_KEY)["metadata"] == {"x": 1} and info(gateway, CONFIG_KEY)["rpm_limit"] == 1000
    for path, body in (("/key/update", {"key": CONFIG_KEY, "models": []}), ("/key/delete", {"keys": [CONFIG_KEY]}),
                       ("/key/delete", {"key_aliases": ["team"]}), ("/key/block", {"key": CONFIG_KEY})):
        answer = gateway.post(path, body, ADMIN)
        assert answer.status == 400 and "weir_settings.keys" in answer.error["message"]
    assert gateway.chat(headers=bearer(CONFIG_KEY)).status == 200


def test_without_a_master_key_there_are_no_virtual_keys(weir, mock):
    gateway = weir(config(model("sim-fast", mock.base)))
    for answer in (gateway.post("/key/generate", {}), gateway.get("/key/list"), gateway.get("/key/info?key=sk-x")):
        assert answer.status == 400 and "master_key" in answer.error["message"]
    assert gateway.chat(headers=bearer("sk-whatever")).status == 200
    assert not list(gateway.folder.glob("keys.db*"))


def test_without_a_key_file(weir, mock):
    gateway = weir(settings(mock, [{"key": CONFIG_KEY, "max_budget": 1}], key_file=""))
    answer = gateway.post("/key/generate", {}, ADMIN)
    assert answer.status == 400 and "key_file" in answer.error["message"]
    assert gateway.chat(headers=bearer(CONFIG_KEY)).status == 200 and info(gateway, CONFIG_KEY)["max_budget"] == 1
    assert not list(gateway.folder.glob("*.db*"))


def test_no_file_before_the_first_key(locked):
    assert locked.chat(headers=ADMIN).status == 200
    assert not list(locked.folder.glob("keys.db*")) and locked.get("/health/readiness").json["db"] == "Not connected"
    generate(locked)
    assert locked.get("/health/readiness").json["db"] == "connected"
    files = {path.name: path.stat().st_mode & 0o777 for path in locked.folder.glob("keys.db*")}
    assert "keys.db" in files and set(files.values()) == {0o600}


def test_the_state_directory(weir, mock, tmp_path):
    gateway = weir(settings(mock), env={"STATE_DIRECTORY": f"{tmp_path}:/elsewhere"})
    key = generate(gateway)["key"]
    assert (tmp_path / "keys.db").exists() and not list(gateway.folder.glob("keys.db*"))
    assert gateway.restart().chat(headers=bearer(key)).status == 200


def test_a_key_file_that_cannot_be_used_is_said_at_the_start(mock, tmp_path):
    for name, content in (("no/such/folder.db", None), ("not-a-database", b"something else entirely\n" * 200)):
        path = tmp_path / name
        if content:
            path.write_bytes(content)
        with pytest.raises(AssertionError, match=re.escape(str(path))):
            Gateway(tmp_path, settings(mock, key_file=str(path))).start()
        if content:
            assert path.read_bytes() == content


# ---- what survives ----

def test_keys_survive_a_restart(locked):
    key = generate(locked, key_alias="stays", models=["sim-fast"], max_budget=1.25, metadata={"n": 1})["key"]
    before = info(locked, key)
    locked.restart()
    assert info(locked, key) == before
    assert locked.chat(headers=bearer(key)).status == 200 and locked.chat("real", bearer(key)).status == 401


def test_an_answered_change_survives_sigkill(locked):
    made, deleted = [], []
    for round_number in range(3 if SANITIZED else 8):
        for number in range(4):
            made.append(generate(locked, key_alias=f"{round_number}.{number}")["key"])
        deleted.append(made.pop(0))
        assert locked.post("/key/delete", {"keys": [deleted[-1]]}, ADMIN).status == 200
        assert locked.post("/key/block", {"key": made[-1]}, ADMIN).status == 200
        locked.kill()
        locked.start()
        assert locked.get("/key/list", ADMIN).json["total_count"] == len(made)
        assert info(locked, made[-1])["blocked"] and locked.chat(headers=bearer(made[-1])).status == 401
        assert all(locked.chat(headers=bearer(key)).status == 401 for key in deleted)
        assert locked.post("/key/unblock", {"key": made[-1]}, ADMIN).status == 200
    assert all(locked.chat(headers=bearer(key)).status == 200 for key in made)


def priced(mock, **own):
    return config(model("sim-fast", mock.base, input_cost_per_token=0.0000013, output_cost_per_token=0.0000071),
                  general_settings={"master_key": MASTER}, weir_settings={"workers": 4, **own})


def logged_cost(gateway, key):
    return sum(r.get("cost_usd", 0) for r in gateway.lines() if r["event"] == "request" and r.get("key_hash") == sha(key))


def test_spend_is_the_sum_of_the_log_after_sigkill(weir, mock, tmp_path):
    gateway = weir(priced(mock, keys=[{"key": CONFIG_KEY}], log_ring_dir=str(tmp_path)))
    keys = [generate(gateway, max_budget=1000, budget_duration="1mo")["key"], CONFIG_KEY]
    total = 0
    for round_number in range(3):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda n: gateway.chat(headers=bearer(keys[n % 2]), text="x" * (1 + n)), range(200))
            assert all(answer.status == 200 for answer in answers)
        total += 200
        gateway.kill()
        gateway.start()
        wait_for(lambda: len([r for r in gateway.lines() if r["event"] == "request"]) == total)
        for key in keys:
            assert logged_cost(gateway, key) > 0
            assert info(gateway, key)["spend"] == pytest.approx(logged_cost(gateway, key), abs=1e-11), round_number
    # ... when only the database is left of it, a few seconds later, as after a crash of the machine ...
    time.sleep(3)
    gateway.kill()
    spend_file, = tmp_path.glob("weir-keys-*.spend")
    assert spend_file.stat().st_mode & 0o777 == 0o600
    spend_file.unlink()
    gateway.start()
    for key in keys:
        assert info(gateway, key)["spend"] == pytest.approx(logged_cost(gateway, key), abs=1e-11)
    # ... and after an end in peace, which leaves nothing behind but the database.
    gateway.finish()
    assert not list(tmp_path.glob("weir-keys-*"))
    gateway.start()
    for key in keys:
        assert info(gateway, key)["spend"] == pytest.approx(logged_cost(gateway, key), abs=1e-11)
    # A deleted key's spending does not come back with the key.
    assert gateway.post("/key/delete", {"keys": [keys[0]]}, ADMIN).status == 200
    assert generate(gateway, key=keys[0])["spend"] == 0


def test_spend_in_headers_and_metrics(weir, mock):
    gateway = weir(priced(mock))
    key = generate(gateway, key_alias="rich", max_budget=1, budget_duration="2h", spend=0.25, rpm_limit=100)["key"]
    assert info(gateway, key)["spend"] == 0.25
    first = gateway.chat(headers=bearer(key))
    cost = float(first["x-litellm-response-cost"])
    assert cost > 0 and float(first["x-litellm-key-spend"]) == pytest.approx(0.25 + cost, abs=1e-12)  # this one included
    assert first["x-litellm-key-max-budget"] == "1" and first["x-litellm-key-rpm-limit"] == "100" and first["x-litellm-key-tpm-limit"] is None
    stream = gateway.chat(headers=bearer(key), stream=True)
    assert float(stream["x-litellm-key-spend"]) == pytest.approx(0.25 + cost, abs=1e-12)  # its own cost is not known yet
    refused = gateway.chat("no-such-model", bearer(key))
    assert refused.status == 400 and float(refused["x-litellm-key-spend"]) > 0.25 + cost
    assert gateway.chat(headers=ADMIN)["x-litellm-key-spend"] is None
    assert gateway.post("/key/update", {"key": key, "spend": 0.25}, ADMIN).json["spend"] == 0.25
    generate(gateway, key_alias="no-budget")
    metrics = gateway.metrics()
    labels = {"hashed_api_key": sha(key), "api_key_alias": "rich"}
    assert metrics.total("litellm_api_key_max_budget_metric", **labels) == 1
    assert metrics.total("litellm_remaining_api_key_budget_metric", **labels) == 0.75
    assert 1.9 < metrics.total("litellm_api_key_budget_remaining_hours_metric", **labels) <= 2
    assert len(metrics.series("litellm_api_key_max_budget_metric")) == 1
    assert gateway.post("/key/update", {"key": key, "spend": 0}, ADMIN).json["spend"] == 0
    assert gateway.metrics().total("litellm_remaining_api_key_budget_metric", **labels) == 1


def test_two_processes_share_a_key_file(weir, mock, tmp_path):
    """As when one takes over from another: what one makes or changes, the other knows within seconds, and what is spent is one sum."""
    one, other = (weir(priced(mock, key_file=str(tmp_path / "shared.db"), log_ring_dir=str(tmp_path))) for _ in range(2))
    key, gone = generate(one, key_alias="a")["key"], generate(other, key_alias="b")["key"]
    for gateway in (one, other):
        wait_for(lambda: all(gateway.chat(headers=bearer(k)).status == 200 for k in (key, gone)))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(a.status == 200 for a in pool.map(lambda n: (one, other)[n % 2].chat(headers=bearer(key)), range(60)))
    assert one.post("/key/delete", {"keys": [gone]}, ADMIN).status == 200
    assert other.post("/key/block", {"key": key}, ADMIN).status == 200
    wait_for(lambda: other.chat(headers=bearer(gone)).status == 401)
    wait_for(lambda: one.chat(headers=bearer(key)).status == 401)
    spend = info(one, key)["spend"]
    assert spend == info(other, key)["spend"] == pytest.approx(logged_cost(one, key) + logged_cost(other, key), abs=1e-11)
    one.kill()
    other.kill()
    assert info(one.start(), key)["spend"] == spend


# ---- what must not happen ----

def test_a_key_is_written_down_nowhere(weir, mock, tmp_path):
    gateway = weir(settings(mock, [{"key": "os.environ/TEAM_KEY"}], log_ring_dir=str(tmp_path)), env={"TEAM_KEY": CONFIG_KEY})
    keys = [generate(gateway, key_alias="a")["key"], generate(gateway, key="sk-chosen-by-somebody")["key"], CONFIG_KEY, "sk-not-known-at-all"]
    for key in keys:
        gateway.chat(headers=bearer(key))
        gateway.get(f"/key/info?key={key}", ADMIN)
        gateway.post("/key/update", {"key": key, "models": 1}, ADMIN)
        gateway.post("/key/block", {"key": key}, ADMIN)
        gateway.chat("no-such-model", headers=bearer(key))
    gateway.requests(8)
    shown = [gateway.metrics().text, gateway.get("/model/info", ADMIN).text, gateway.get("/key/list?return_full_object=true", ADMIN).text,
             gateway.get("/api/v1/requests", ADMIN).text]
    gateway.kill()
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"keys.db", "keys.db-wal", "requests.log", "stderr"} <= {path.name for path in written}
    for key in [*keys, MASTER]:
        for text in shown:
            assert key not in text
        for path, data in written.items():
            assert key.encode() not in data or (key == MASTER and path.name == "config.yaml"), path


def test_a_disk_that_waits_holds_up_nobody_else(locked):
    key = generate(locked)["key"]
    other = sqlite3.connect(locked.folder / "keys.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waits = pool.submit(lambda: locked.post("/key/generate", {}, ADMIN))
        time.sleep(0.2)
        begin = time.monotonic()
        assert locked.get("/metrics").status == 200 and locked.chat(headers=bearer(key)).status == 200
        assert locked.get("/health/readiness").status == 200
        assert time.monotonic() - begin < 2 and not waits.done()
        if SANITIZED:
            other.execute("ROLLBACK")
            assert waits.result().status == 200
        else:
            answer = waits.result()
            assert answer.status == 500 and answer.error["type"] == "api_error" and "locked" in answer.error["message"]
            other.execute("ROLLBACK")
    other.close()
    assert locked.post("/key/generate", {}, ADMIN).status == 200


def test_many_at_once(weir, mock):
    gateway = weir(settings(mock, workers=4))
    count = 40 if SANITIZED else 120

    def live(number):
        key = generate(gateway, key_alias=f"n{number}")["key"]
        answers = [gateway.chat(headers=bearer(key)).status]
        if number % 2:
            gateway.post("/key/delete", {"keys": [key]}, ADMIN)
            answers.append(gateway.chat(headers=bearer(key)).status)
        return answers

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        lives = list(pool.map(live, range(count)))
    assert all(answers == ([200, 401] if number % 2 else [200]) for number, answers in enumerate(lives))
    assert gateway.get("/key/list", ADMIN).json["total_count"] == count // 2
    # Of many that want one alias, one gets it.
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda _: gateway.post("/key/generate", {"key_alias": "one"}, ADMIN).status, range(12)))
    assert sorted(statuses) == [200] + [400] * 11


def test_a_client_that_does_not_wait_for_its_key(locked):
    """The job ends in silence, the gateway goes on."""
    for _ in range(20):
        with locked.connect() as client:
            client.send(request("POST", "/key/generate", b"{}", ADMIN))
            client.reset()
    assert locked.post("/key/generate", {}, ADMIN).status == 200
