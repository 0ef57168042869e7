"""Things that each have tests of their own, at the same time: reload, handover, keys, limits, cache, health."""
import json
import re
import signal
import socket
import threading
import time

import pytest
from harness import COMPLETION, PATIENCE_S, Closed, Process, Raw, chat_body, config, forever, model, request, wait_for
from test_handover import Line
from test_reload import dry_run, events, reload, rewrite, unwatched

MASTER = {"authorization": "Bearer sk-master"}


def key_of(w, **members):
    answer = w.post("/key/generate", members, MASTER)
    assert answer.status == 200, answer.text
    return {"authorization": f"Bearer {answer.json['key']}"}


def locked(*models, **sections):
    sections.setdefault("general_settings", {}).setdefault("master_key", "sk-master")
    return unwatched(*models, **sections)


def answers(connection, _):
    connection.reply(COMPLETION)


def spend_of(w, key):
    return w.get(f"/key/info?key={key['authorization'].split()[1]}", MASTER).json["info"]["spend"]


# ---- who may what ----

def test_a_virtual_key_reloads_nothing(weir, mock):
    w = weir(locked(model("a", mock.base, "openai/sim-fast")))
    user = key_of(w)
    rewrite(w, locked(model("b", mock.base, "openai/sim-fast")))
    for path in ("/config/reload", "/config/reload?dry_run=true"):
        answer = w.post(path, b"", user)
        assert answer.status in (401, 403) and "model_list" not in answer.text
        assert w.post(path, b"").status == 401
    assert w.chat("a", user).status == 200 and events(w) == []


def test_virtual_keys_at_metrics(weir, mock):
    """Open by default; where a key is asked for any good one will do, as with LiteLLM, and none that is blocked."""
    w = weir(locked(model("a", mock.base, "openai/sim-fast"), litellm_settings={"require_auth_for_metrics_endpoint": True}))
    user = key_of(w, max_budget=5)
    assert w.get("/metrics").status == 401
    answer = w.get("/metrics", user)
    assert answer.status == 200 and user["authorization"].split()[1] not in answer.text
    w.post("/key/block", {"key": user["authorization"].split()[1]}, MASTER)
    assert w.get("/metrics", user).status == 401
    assert w.get("/metrics", MASTER).status == 200


def test_a_key_that_a_reload_takes_away_opens_nothing_once_that_is_said(weir, mock):
    """Master key and a key of the configuration, on kept-alive connections of all workers, from the answer on."""
    def settings(number):
        return locked(model("a", mock.base, "openai/sim-fast"), general_settings={"master_key": f"sk-master-{number}"},
                      weir_settings={"watch_config": False, "workers": 4, "key_file": "", "keys": [{"key": f"key-{number}-0123456789"}]})

    w = weir(settings(0))
    connections = [w.connect() for _ in range(24)]

    def status(client, key):
        client.send(request("GET", "/v1/models", b"", {"authorization": f"Bearer {key}"}))
        return client.answer().status

    for n in range(5):
        keys = [f"sk-master-{n}", f"key-{n}-0123456789"]
        assert {status(c, key) for c in connections for key in keys} == {200}
        rewrite(w, settings(n + 1))
        assert reload(w, headers={"authorization": f"Bearer {keys[0]}"}).json["status"] == "reloaded"
        assert {status(c, key) for c in connections for key in keys} == {401}
    for client in connections:
        client.close()


# ---- cache, keys, limits and a reload in between ----

def test_hits_count_as_requests_and_cost_nothing_over_a_reload(weir, upstream):
    server = upstream(forever(answers))
    params = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.001}

    def settings(**more):
        return locked(model("m", server.base, info={"id": "m1"}, **params), litellm_settings={"cache": True, "cache_params": {"ttl": 600}}, **more)

    w = weir(settings())
    user = key_of(w, rpm_limit=5, max_budget=0.02)
    assert [w.chat("m", user)["cache-status"].split(";")[1].strip() for _ in range(3)] == ["fwd=uri-miss", "hit", "hit"]
    assert spend_of(w, user) == pytest.approx(0.011)
    rewrite(w, settings(router_settings={"num_retries": 1}))
    assert reload(w, headers=MASTER).json["status"] == "reloaded"
    again = w.chat("m", user)
    assert "hit" in again["cache-status"] and again["x-ratelimit-api_key-remaining-requests"] == "1"
    assert spend_of(w, user) == pytest.approx(0.011)
    assert w.chat("m", user, text="another").status == 200  # 0.022: over the budget from now on
    refused = w.chat("m", user)
    assert refused.status == 400 and refused.error["type"] == "budget_exceeded", "a hit is a request too"
    other = key_of(w, rpm_limit=1)
    assert "hit" in w.chat("m", other)["cache-status"]
    assert w.chat("m", other).status == 429
    assert len(server.requests) == 2


def test_the_cache_switched_on_and_off_by_reloads(weir, upstream):
    server = upstream(forever(answers))

    def settings(on):
        return unwatched(model("m", server.base, info={"id": "m1"}), litellm_settings={"cache": on})

    w = weir(settings(False))
    for on, status in ((True, ["weir; fwd=uri-miss", True]), (False, [None, None]), (True, [True, True])):
        rewrite(w, settings(on))
        assert reload(w).status == 200
        seen = [w.chat("m")["cache-status"] for _ in range(2)]
        assert [s if not s or "hit" not in s else True for s in seen] == status
    assert len(server.requests) == 3


def test_the_answer_of_a_deployment_that_a_reload_took_out_is_not_given(weir, upstream):
    servers = [upstream(forever(answers)) for _ in range(2)]

    def settings(number):
        return unwatched(model("m", servers[number].base, info={"id": f"m{number}"}), litellm_settings={"cache": True})

    w = weir(settings(0))
    assert ["hit" in w.chat("m")["cache-status"] for _ in range(2)] == [False, True]
    for number, first in ((1, False), (0, False), (0, True)):
        rewrite(w, settings(number))
        assert reload(w).status == 200
        assert ["hit" in w.chat("m")["cache-status"] for _ in range(2)] == [first, True]
    assert [len(s.requests) for s in servers] == [2, 1]


# ---- reloads that meet something ----

def test_a_deployment_goes_while_it_rests_and_while_it_answers(weir, upstream):
    """Its requests end, its rest does not come back with another one, and comes back with itself."""
    go = threading.Event()

    def slow(connection, asked):
        if "wait" in asked.body.decode():
            assert go.wait(PATIENCE_S)
            connection.reply(COMPLETION)
        else:
            connection.reply({"error": {"message": "no"}}, "500 Internal Server Error")

    bad, good = upstream(forever(slow)), upstream(forever(answers))
    routing = {"num_retries": 0, "cooldown_time": 300, "allowed_fails": 0}
    both = unwatched(model("m", bad.base, "openai/bad", info={"id": "bad"}), model("m", good.base, "openai/good", info={"id": "good"}),
                     router_settings=routing)
    only = unwatched(model("m", good.base, "openai/good", info={"id": "good"}), router_settings=routing)
    alone = unwatched(model("m", bad.base, "openai/bad", info={"id": "bad"}), router_settings={**routing, "disable_cooldowns": False})
    w = weir(alone)
    with w.connect() as client:
        client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m", "wait")).encode(), {"connection": "close"}))
        wait_for(lambda: len(bad.requests) == 1)
        assert w.chat("m").status == 500
        rewrite(w, only)
        assert reload(w).status == 200
        assert [w.chat("m").status for _ in range(10)] == [200] * 10
        assert [m["model_id"] for m in w.get("/api/v1/status").json["models"]] == ["good"]
        go.set()
        assert client.answer().status == 200
    rewrite(w, both)
    assert reload(w).status == 200
    asked = len(bad.requests)
    assert [w.chat("m").status for _ in range(10)] == [200] * 10
    states = {m["model_id"]: m["traffic"] for m in w.get("/api/v1/status").json["models"]}
    assert states["bad"]["in_flight"] == 0 and states["good"]["in_flight"] == 0
    assert states["bad"]["last_failure"]["status"] == 500 and len(bad.requests) - asked <= 10
    assert len(w.requests(22)) == 22


def test_many_reloads_at_once(weir, mock):
    """Each is answered for itself; the file is as good for the last as for the first, and what is in force is what it says."""
    w = weir(unwatched(model("m", mock.base, "openai/sim-fast", info={"id": "id-0"})))
    found, problems = [], []

    def ask():
        try:
            for _ in range(5):
                answer = reload(w)
                found.append((answer.status, answer.json["status"]))
        except Exception as problem:  # pylint: disable=broad-except
            problems.append(problem)

    rewrite(w, unwatched(model("m", mock.base, "openai/sim-fast", info={"id": "id-1"})))
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        w.signal(signal.SIGHUP)
        assert w.chat("m").status == 200
    for thread in threads:
        thread.join()
    assert not problems and len(found) == 40 and {s for s, _ in found} == {200}
    assert {s for _, s in found} <= {"reloaded", "unchanged"}
    wait_for(lambda: len(events(w)) >= 41)
    changed = [e for e in events(w) if e["metadata"]["change_count"]]
    assert len(changed) == 1 and w.chat("m")["x-litellm-model-id"] == "id-1"


def test_a_file_that_disappears_and_comes_back(weir, mock):
    w = weir(config(model("a", mock.base, "openai/sim-fast")))
    text = w.config_path.read_text()
    w.config_path.unlink()
    state = wait_for(lambda: (s := w.get("/health/readiness").json["config"])["status"] == "failed" and s)
    assert str(w.config_path) in state["error"] and "No such file" in state["error"]
    assert w.chat("a").status == 200 and reload(w).status == 422
    w.config_path.write_text(text.replace('"a"', '"b"'))
    wait_for(lambda: w.get("/health/readiness").json["config"]["status"] == "loaded" and w.chat("b").status == 200)


def test_a_hangup_without_a_configuration(tmp_path):
    """The engines of this machine are looked for again; the simulated models stay."""
    log = tmp_path / "requests.log"
    w = Process(tmp_path, ["serve", "--host", "127.0.0.1", "--port", "0", "--workers", "2", "--log-file", log])
    w.launch()
    try:
        port = int(wait_for(lambda: re.search(r"listens on http://127\.0\.0\.1:(\d+)", w.said())).group(1))

        def ask(method, path, body=b""):
            with Raw("127.0.0.1", port) as client:
                client.send(request(method, path, body, {"connection": "close"}))
                return client.answer(method)

        w.signal(signal.SIGHUP)
        wait_for(lambda: "configuration reloaded (SIGHUP)" in w.said())
        assert w.said().count("no --config: found") == 2
        assert ask("POST", "/config/reload").json["status"] in ("unchanged", "reloaded")
        assert ask("POST", "/v1/chat/completions", json.dumps(chat_body("sim-fast")).encode()).status == 200
        assert ask("GET", "/health/readiness").json["config"]["status"] == "loaded"
    finally:
        w.finish()


def test_a_reload_is_answered_though_the_end_comes(weir, mock):
    """SIGTERM right behind the request: what was reloaded is answered, what was not is refused or not read, and nothing hangs."""
    for _ in range(8):
        w = weir(unwatched(model("a", mock.base, "openai/sim-fast"), weir_settings={"workers": 4}))
        rewrite(w, unwatched(model("b", mock.base, "openai/sim-fast")))
        with w.connect() as client:
            client.send(request("POST", "/config/reload"))
            w.signal(signal.SIGTERM)
            try:
                status = client.answer().status
            except Closed:
                status = None
        assert w.wait() == 0
        assert status == 200 if events(w) else status in (503, None)


def test_a_second_signal_while_a_reload_is_answered(weir, mock):
    """Workers that stop at once: whoever comes last must not answer to one that is gone."""
    for _ in range(5):
        w = weir(unwatched(model("a", mock.base, "openai/sim-fast"), weir_settings={"workers": 4}))
        with w.connect() as client:
            client.send(*[request("POST", "/config/reload")] * 3)
            w.signal(signal.SIGTERM)
            w.signal(signal.SIGINT)
            client.rest()
        assert w.wait() == 0


def test_a_hangup_during_a_drain_and_after_a_handover(weir, mock):
    """Nothing is reloaded by one that ends; a request for it is refused by 503."""
    with Line(weir, unwatched(model("a", mock.base, "openai/sim-fast"))) as line:
        w = line.first
        with w.connect() as client, w.connect() as idle:
            idle.send(request("GET", "/health/liveliness"))
            assert idle.answer().status == 200
            client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("a", stream=True)).encode(),
                                {"x-mock-tokens": "30", "x-mock-tokens-per-second": "20", "connection": "close"}))
            client.head()
            line.hand_over()
            w.signal(signal.SIGHUP)
            idle.send(request("POST", "/config/reload"))
            refused = idle.answer()
            assert refused.status == 503 and refused["connection"] == "close"
            assert b"[DONE]" in client.rest()
        assert w.wait() == 0
        assert reload(w).status == 200
        wait_for(lambda: len(events(w)) == 1)
        assert "not reloading any more" in w.said()


def test_key_file_takes_a_restart_and_says_so(weir, mock, tmp_path):
    def settings(path):
        return locked(model("a", mock.base, "openai/sim-fast"), weir_settings={"watch_config": False, "key_file": str(path)})

    w = weir(settings(tmp_path / "one.db"))
    user = key_of(w)
    rewrite(w, settings(tmp_path / "two.db"))
    assert reload(w, headers=MASTER).json["restart_needed"] == ["weir_settings.key_file"]
    assert w.chat("a", user).status == 200 and key_of(w) and not (tmp_path / "two.db").exists()
    w.restart()
    assert w.chat("a", user).status == 401 and (tmp_path / "two.db").exists()


def test_the_socket_that_is_removed_at_the_end_is_the_one_listened_on(weir, mock, tmp_path):
    own, others = tmp_path / "own.sock", tmp_path / "others.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(others))
        w = weir(unwatched(model("a", mock.base, "openai/sim-fast"), weir_settings={"host": f"unix:{own}"}))
        rewrite(w, unwatched(model("a", mock.base, "openai/sim-fast"), weir_settings={"host": f"unix:{others}"}))
        assert reload(w).json["restart_needed"] == ["weir_settings.host"]
        w.finish()
        assert others.exists() and not own.exists()


# ---- handover that meets something ----

def test_limits_and_budget_over_a_handover_while_keys_spend(weir, mock):
    """64 requests before, during and after: what the key has spent is what the log says, to the last one."""
    settings = locked(model("a", mock.base, "openai/sim-fast", input_cost_per_token=0.001, output_cost_per_token=0.001))
    with Line(weir, settings) as line:
        w = line.first
        user, stop, found, problems = key_of(w, key_alias="k"), threading.Event(), [], []

        def ask():
            while not stop.is_set():
                try:
                    found.append(w.chat("a", user).status)
                except Exception as problem:  # pylint: disable=broad-except
                    problems.append(repr(problem))
                    return

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(2):
            time.sleep(0.3)
            line.hand_over()
        time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join()
        assert not problems and set(found) == {200}
        records = w.requests(len(found))
        assert {r["key_alias"] for r in records} == {"k"}
        wait_for(lambda: abs(spend_of(w, user) - sum(r["cost_usd"] for r in records)) < 1e-9)


def test_a_key_made_in_the_old_process_is_good_in_the_new_one_at_once(weir, mock):
    settings = locked(model("a", mock.base, "openai/sim-fast"))
    with Line(weir, settings) as line:
        w = line.first
        key_of(w)  # the database is there
        users = [key_of(w) for _ in range(5)]
        line.hand_over()
        assert {w.chat("a", user).status for user in users} == {200}
        w.wait()
        assert {w.chat("a", user).status for user in users} == {200}


def test_a_health_check_under_way_during_a_handover(weir, upstream):
    go = threading.Event()

    def late(connection, _):
        assert go.wait(PATIENCE_S)
        connection.reply({"data": []})

    server = upstream(forever(late))
    with Line(weir, unwatched(model("a", server.base))) as line:
        w = line.first
        with w.connect() as client:
            client.send(request("GET", "/health", b"", {"connection": "close"}))
            wait_for(lambda: server.requests)
            line.hand_over()
            go.set()
            found = client.answer()
            assert found.status == 200 and found.json["healthy_count"] == 1
        assert w.wait() == 0
        assert w.get("/health").json["healthy_count"] == 1


# ---- asking the weir that runs ----

@pytest.mark.parametrize("way", ["tls", "unix", "tls over unix"])
def test_a_dry_run_asks_over_tls_and_unix_sockets(weir, mock, certificates, tmp_path, way):
    own = {"watch_config": False}
    if "tls" in way:
        own.update(tls_cert_file=str(certificates / "server.pem"), tls_key_file=str(certificates / "server.key"))
    if "unix" in way:
        own.update(host=f"unix:{tmp_path}/weir.sock")
    w = weir(locked(model("a", mock.base, "openai/sim-fast"), weir_settings=own))
    rewrite(w, locked(model("a", mock.base, "openai/sim-fast", rpm=5), weir_settings=own))
    words = ["--config", w.config_path, "--no-builtin", "--json", *(["--port", w.port] if w.port else [])]
    status, out, err = dry_run(tmp_path / "1", *words)
    found = json.loads(out)
    assert (status, found["against"], [c["name"] for c in found["changes"]]) == (0, "running", ["model_list[a].litellm_params.rpm"]), err


# ---- what is said in public ----

def test_what_a_deployment_is_configured_with_is_shown_without_its_secrets(weir, mock):
    """To holders of virtual keys by /model/info; in a diff, the log and on stderr by a reload."""
    def settings(secret):
        entry = model("a", mock.base, "openai/sim-fast", info={"id": "a1"}, extra_headers={"x-one": f"{secret}-1"},
                      headers={"x-two": f"{secret}-2"}, extra_body={"token": f"{secret}-3", "n": "os.environ/WEIR_TEST_SECRET"})
        return locked(entry, general_settings={"master_key": f"sk-{secret}"}, weir_settings={"watch_config": False, "key_file": ""},
                      environment_variables={"A": f"{secret}-4"})

    w = weir(settings("Hemlich-1"), env={"WEIR_TEST_SECRET": "Hemlich-5"})
    old, new = ({"authorization": f"Bearer sk-Hemlich-{n}"} for n in (1, 2))
    said = [w.get(path, old).text for path in ("/model/info", "/health", "/api/v1/status", "/metrics")]
    assert '"x-two":"***"' in said[0]
    rewrite(w, settings("Hemlich-2"))
    answer = reload(w, headers=old)
    assert len(answer.json["changes"]) == 5, answer.text
    wait_for(lambda: events(w))
    said += [answer.text, w.get("/api/v1/requests", new).text, w.said(), w.log_path.read_text()]
    for text in said:
        assert "Hemlich" not in text, text


@pytest.mark.parametrize("change", [
    lambda s: s["model_list"][0]["litellm_params"].update(api_base="https://user:Hemlich-77@host/v1"),
    lambda s: s["model_list"][0]["litellm_params"].update(api_base="user:Hemlich-77@host/v1"),
    lambda s: s["model_list"][0]["litellm_params"].update(api_base="https://user:Hemlich-77 @host/v1"),
    lambda s: s["model_list"][0]["litellm_params"].update(api_base="https://user:Hemlich-77@host:x/v1"),
    lambda s: s["model_list"][0]["litellm_params"].update(api_key=["Hemlich-77"]),
    lambda s: s["general_settings"].update(master_key=["Hemlich-77"]),
    lambda s: s["general_settings"].update(master_key="Hemlich-77\n"),
    lambda s: s["weir_settings"].update(keys=[{"key": "Hemlich-77\t"}]),
    lambda s: s["weir_settings"].update(keys=["Hemlich-77"]),
    lambda s: s["weir_settings"].update(keys=[{"key": "Hemlich-77"}, {"key": "Hemlich-77"}]),
    lambda s: s["weir_settings"].update(keys=[{"key_hash": "Hemlich-77"}]),
    lambda s: s["weir_settings"].update(port="os.environ/WEIR_TEST_SECRET"),
    lambda s: s["weir_settings"].update(port="sk-Hemlich-77-0123456789abcdef"),
    lambda s: s.update(environment_variables={"X": ["Hemlich-77"]}),
])
def test_an_error_of_a_reload_tells_no_secret(weir, mock, change):
    """/health/readiness needs no key."""
    def settings():
        return locked(model("a", mock.base, "openai/sim-fast"), weir_settings={"watch_config": False})

    w = weir(settings(), env={"WEIR_TEST_SECRET": "Hemlich-77"})
    bad = settings()
    change(bad)
    rewrite(w, bad)
    answer = reload(w, headers=MASTER)
    assert answer.status == 422, answer.text
    ready = w.get("/health/readiness")
    assert ready.json["config"]["status"] == "failed" and len(ready.json["config"]["error"]) > len(str(w.config_path)) + 20
    wait_for(lambda: events(w))
    for text in (answer.text, ready.text, w.said(), w.log_path.read_text()):
        assert "emlich-77" not in text, text
