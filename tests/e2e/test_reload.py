"""Reload: by signal, by the file and by request; what it changes, what it must not disturb, and what a bad file does (nothing)."""
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
from harness import PATIENCE_S, SANITIZED, WEIR, Process, chat_body, config, delta, forever, model, request, usage_event, wait_for


def rewrite(w, settings):
    """The gateway's file with other settings; host, port, workers and log file stay as the harness chose them, and how to try again."""
    merged = dict(settings)
    for section in ("weir_settings", "router_settings"):
        merged[section] = {**w.settings.get(section, {}), **settings.get(section, {})}
    logging = merged.setdefault("litellm_settings", {}).setdefault("logging", {})
    logging.setdefault("log_file", w.settings["litellm_settings"]["logging"]["log_file"])
    new = w.config_path.with_suffix(".new")
    new.write_text(json.dumps(merged, indent=1))
    new.rename(w.config_path)


def unwatched(*models, **sections):
    """A configuration that is reloaded only when the test says so."""
    sections.setdefault("weir_settings", {}).setdefault("watch_config", False)
    return config(*models, **sections)


def reload(w, **options):
    return w.post("/config/reload", b"", **options)


def events(w, name="reload"):
    return [line for line in w.lines() if line["event"] == name]


def names(w, headers=None):
    return [m["id"] for m in w.get("/v1/models", headers).json["data"]]


def trigger(w, how):
    if how == "signal":
        w.signal(signal.SIGHUP)
    elif how == "api":
        assert reload(w).status == 200


@pytest.mark.parametrize("how", ["signal", "api", "file"])
def test_a_new_model_is_there_after_a_reload(weir, mock, how):
    w = weir(config(model("old", mock.base, "openai/sim-fast"), weir_settings={"watch_config": how == "file"}))
    rewrite(w, config(model("new", mock.base, "openai/sim-fast"), weir_settings={"watch_config": how == "file"}))
    trigger(w, how)
    wait_for(lambda: names(w) == ["new"])
    assert w.chat("new").status == 200 and w.chat("old").status == 400
    event = wait_for(lambda: events(w))[0]
    assert event["status"] == "success" and event["metadata"]["trigger"] == how
    assert [(c["change"], c["name"]) for c in event["metadata"]["changes"]] == [("removed", "model_list[old]"), ("added", "model_list[new]")]
    assert "+ model_list[new]: openai/sim-fast" in w.said()


# ---- the ways a file is replaced ----

def in_place(path, text):
    path.write_text(text)


def renamed_over(path, text):
    other = path.with_name("editor~")
    other.write_text(text)
    other.rename(path)


def deleted_and_made_again(path, text):
    path.unlink()
    time.sleep(0.02)
    path.write_text(text)


def in_two_pieces(path, text):
    """A copy under way: its first half is valid YAML, and must not be what is loaded."""
    with open(path, "w") as f:
        f.write(text[:len(text) // 2])
        f.flush()
        time.sleep(0.05)
        f.write(text[len(text) // 2:])


def yaml_for(mock, *which):
    return "model_list:\n" + "".join(
        f"  - {{model_name: {n}, litellm_params: {{model: openai/sim-fast, api_base: \"{mock.base}\", api_key: k}}}}\n" for n in which)


def start_on(weir, path):
    w = weir(config(), words=["--config", path, "--host", "127.0.0.1", "--port", "0", "--workers", "2", "--log-file", str(path) + ".log"])
    return w


@pytest.mark.parametrize("how", [in_place, renamed_over, deleted_and_made_again, in_two_pieces])
def test_the_file_is_watched_however_it_is_replaced(weir, mock, tmp_path, how):
    path = tmp_path / "watched.yaml"
    path.write_text(yaml_for(mock, "a"))
    w = start_on(weir, path)
    for which in (["a", "b"], ["c", "d"], ["e", "f"]):
        how(path, yaml_for(mock, *which))
        wait_for(lambda: names(w) == which)  # pylint: disable=cell-var-from-loop
    assert "not reloaded" not in w.said()


def test_a_kubernetes_config_map_is_watched(weir, mock, tmp_path):
    """A mounted ConfigMap: config.yaml -> ..data/config.yaml, ..data -> a folder that is exchanged."""
    def publish(number, *which):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml_for(mock, *which))
        (tmp_path / "..data_tmp").symlink_to(folder.name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    publish(1, "a")
    (tmp_path / "config.yaml").symlink_to("..data/config.yaml")
    w = start_on(weir, tmp_path / "config.yaml")
    publish(2, "b")
    wait_for(lambda: names(w) == ["b"])
    publish(3, "c")
    wait_for(lambda: names(w) == ["c"])


def test_a_folder_behind_a_link_is_watched(weir, mock, tmp_path):
    """Deployment tools: current -> release-1, exchanged as a whole."""
    for number, name in ((1, "a"), (2, "b")):
        (tmp_path / f"release-{number}").mkdir()
        (tmp_path / f"release-{number}/weir.yaml").write_text(yaml_for(mock, name))
    (tmp_path / "current").symlink_to("release-1")
    w = start_on(weir, tmp_path / "current/weir.yaml")
    (tmp_path / "next").symlink_to("release-2")
    (tmp_path / "next").rename(tmp_path / "current")
    wait_for(lambda: names(w) == ["b"])


def test_included_files_and_prices_are_watched(weir, mock, tmp_path):
    path, more, prices = tmp_path / "main.yaml", tmp_path / "more.yaml", tmp_path / "prices.json"
    prices.write_text("{}")
    path.write_text(f"include: [more.yaml]\nweir_settings: {{prices_file: {prices}}}\n" + yaml_for(mock, "a"))
    more.write_text(yaml_for(mock, "b"))
    w = start_on(weir, path)
    assert names(w) == ["a", "b"]
    more.write_text(yaml_for(mock, "c"))
    wait_for(lambda: names(w) == ["a", "c"])
    prices.write_text(json.dumps({"sim-fast": {"input_cost_per_token": 1, "output_cost_per_token": 2}}))
    wait_for(lambda: "price per token" in w.said())
    assert float(w.chat("a")["x-litellm-response-cost"]) > 1


def test_a_file_that_was_only_touched_is_read_and_changes_nothing(weir, mock):
    w = weir(config(model("a", mock.base, "openai/sim-fast")))
    os.utime(w.config_path)
    event = wait_for(lambda: events(w))[0]
    assert event["metadata"]["change_count"] == 0
    time.sleep(0.5)
    assert len(events(w)) == 1


def test_watching_can_be_switched_off(weir, mock):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast")))
    rewrite(w, unwatched(model("b", mock.base, "openai/sim-fast")))
    time.sleep(0.6)
    assert names(w) == ["a"]


# ---- a bad file ----

def test_a_bad_file_leaves_the_good_one_running(weir, mock):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast")))
    assert w.get("/health/readiness").json["config"]["status"] == "loaded"
    good = w.config_path.read_text()
    w.config_path.write_text("model_list:\n  - model_name: b\n    litellm_params:\n      model: openai/b\n      rpm: lots\n")
    answer = reload(w)
    assert answer.status == 422
    assert answer.error["code"] == "422" and answer.error["message"].startswith(f"{w.config_path}:5:12: litellm_params.rpm")
    assert (answer.json["file"], answer.json["line"], answer.json["column"]) == (str(w.config_path), 5, 12)
    w.signal(signal.SIGHUP)
    wait_for(lambda: len(events(w)) == 2)
    for event in events(w):
        assert (event["status"], event["level"], event["error"]["type"]) == ("failure", "ERROR", "config_invalid")
        assert ":5:12:" in event["error"]["message"]
    assert names(w) == ["a"] and w.chat("a").status == 200
    ready = wait_for(lambda: (r := w.get("/health/readiness")).json["config"]["status"] == "failed" and r)
    assert ready.status == 200 and ready.json["status"] == "healthy" and ":5:12:" in ready.json["config"]["error"]
    m = w.metrics()
    assert m.total("weir_config_reloads_total", result="failure") == 2 and m.total("weir_config_last_reload_successful") == 0
    assert "not reloaded" in w.said() and ":5:12:" in w.said()

    w.config_path.write_text(good)
    assert reload(w).json["status"] == "unchanged"
    m = w.metrics()
    assert m.total("weir_config_reloads_total", result="success") == 1 and m.total("weir_config_last_reload_successful") == 1
    assert abs(m.total("weir_config_last_reload_success_timestamp_seconds") - time.time()) < 60
    assert w.get("/health/readiness").json["config"]["error"] is None


@pytest.mark.parametrize("text, says", [
    ("", "no models"),
    ("model_list: [\n", ":2:"),
    ("include: [nowhere.yaml]\n", "nowhere.yaml"),
    (None, "No such file"),
    ("weir_settings: {tls_cert_file: /nowhere/c.pem, tls_key_file: /nowhere/k.pem}\n" +
     "model_list: [{model_name: a, litellm_params: {model: openai/a, api_base: http://127.0.0.1:1, api_key: k}}]\n", "/nowhere/c.pem"),
])
def test_whatever_is_wrong_changes_nothing(weir, mock, text, says):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast")))
    if text is None:
        w.config_path.unlink()
    else:
        w.config_path.write_text(text)
    answer = reload(w)
    assert answer.status == 422 and says in answer.error["message"]
    assert names(w) == ["a"] and w.chat("a").status == 200


def test_a_bad_file_that_is_mended_is_taken_by_itself(weir, mock):
    w = weir(config(model("a", mock.base, "openai/sim-fast")))
    good = w.config_path.read_text()
    w.config_path.write_text("model_list: {")
    wait_for(lambda: w.get("/health/readiness").json["config"]["status"] == "failed")
    w.config_path.write_text(good.replace('"a"', '"b"'))
    wait_for(lambda: names(w) == ["b"])
    assert w.get("/health/readiness").json["config"]["status"] == "loaded"


def test_a_file_that_the_bad_one_names_is_watched_too(weir, mock, tmp_path):
    """The configuration is right, and what it names comes later: prices, then the certificate's files."""
    w = weir(config(model("a", mock.base, "openai/sim-fast")))
    prices = tmp_path / "prices.json"
    rewrite(w, config(model("b", mock.base, "openai/sim-fast"), weir_settings={"prices_file": str(prices)}))
    wait_for(lambda: w.get("/health/readiness").json["config"]["status"] == "failed")
    prices.write_text("{")
    wait_for(lambda: len(events(w)) == 2)
    prices.write_text("{}")
    wait_for(lambda: names(w) == ["b"])


# ---- what takes effect ----

def test_old_requests_end_on_the_old_configuration(weir, upstream):
    """A stream that began before its deployment was removed ends as it began."""
    go_on = threading.Event()

    def event(c, data):
        c.send_chunk(f"data: {json.dumps(data)}\n\n")

    def slowly(c, _):
        c.begin_stream()
        event(c, delta("one"))
        go_on.wait(PATIENCE_S)
        event(c, delta("two", "stop"))
        event(c, usage_event())
        c.send_chunk("data: [DONE]\n\n")
        c.end_stream()

    old, new = upstream(forever(slowly)), upstream(forever(lambda c, q: c.stream(delta("new", "stop"), usage_event(), "[DONE]")))
    w = weir(unwatched(model("m", old.base, "openai/x", info={"id": "old"})))
    with w.connect() as client:
        client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m", stream=True)).encode(), {"connection": "close"}))
        status, headers = client.head()
        assert status == 200 and headers["x-litellm-model-id"] == "old"
        rewrite(w, unwatched(model("m", new.base, "openai/x", info={"id": "new"})))
        assert reload(w).status == 200
        answer = w.chat("m", stream=True)
        assert answer["x-litellm-model-id"] == "new" and "new" in answer.text
        go_on.set()
        rest = client.rest()
    assert b"two" in rest and b"[DONE]" in rest
    assert sorted((r["deployment"], r["status"]) for r in w.requests(2)) == [("new", "success"), ("old", "success")]


def test_a_restart_is_asked_for_where_it_is_needed(weir, mock):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast")))
    rewrite(w, unwatched(model("a", mock.base, "openai/sim-fast"), weir_settings={"workers": 3, "idle_timeout_ms": "9s"}))
    answer = reload(w).json
    assert answer["restart_needed"] == ["weir_settings.workers"]
    assert {(c["name"], c["before"], c["after"], c["restart"]) for c in answer["changes"]} == {
        ("weir_settings.workers", "2", "3", True), ("weir_settings.idle_timeout_ms", "120000ms", "9000ms", False)}
    assert "~ weir_settings.workers: 2 -> 3 (takes effect at a restart)" in w.said()
    assert w.get("/health/readiness").json["workers"] == 2


def test_keys_change_and_are_not_shown(weir, mock):
    old, new, other = ({"authorization": f"Bearer sk-{x}-0123456789"} for x in ("old", "new", "upstream-new"))
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast", info={"id": "a1"}), general_settings={"master_key": "sk-old-0123456789"}))
    assert reload(w).status == 401
    settings = unwatched(model("a", mock.base, "openai/sim-fast", info={"id": "a1"}), general_settings={"master_key": "sk-new-0123456789"})
    settings["model_list"][0]["litellm_params"]["api_key"] = "sk-upstream-new-0123456789"
    rewrite(w, settings)
    answer = reload(w, headers=old)
    assert {(c["name"], c["change"], c["secret"]) for c in answer.json["changes"]} == {
        ("general_settings.master_key", "changed", True), ("model_list[a].litellm_params.api_key", "changed", True)}
    wait_for(lambda: w.chat("a", new).status == 200)
    assert w.chat("a", old).status == 401 and w.chat("a", other).status == 401
    for text in (answer.text, w.said(), w.log_path.read_text()):
        assert "0123456789" not in text


def test_virtual_keys_follow_the_file(weir, mock):
    def settings(*keys):
        return unwatched(model("a", mock.base, "openai/sim-fast"), general_settings={"master_key": "sk-master"},
                         weir_settings={"watch_config": False, "key_file": "", "keys": list(keys)})

    master, one, two = ({"authorization": f"Bearer {key}"} for key in ("sk-master", "key-one-0123456789", "key-two-0123456789"))
    w = weir(settings({"key": "key-one-0123456789", "key_alias": "one"}))
    assert w.chat("a", one).status == 200 and reload(w, headers=one).status in (401, 403)
    rewrite(w, settings({"key": "key-two-0123456789", "key_alias": "two"}))
    answer = reload(w, headers=master)
    assert [(c["change"], c["name"]) for c in answer.json["changes"]] == [("removed", "weir_settings.keys[one]"), ("added", "weir_settings.keys[two]")]
    wait_for(lambda: w.chat("a", two).status == 200)
    wait_for(lambda: w.chat("a", one).status == 401)
    for text in (answer.text, w.said(), w.log_path.read_text()):
        assert "0123456789" not in text


def test_the_environment_is_read_anew(weir, mock):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast"), environment_variables={"WEIR_TEST_NAME": "first"},
                       router_settings={"model_group_alias": {"x": "a"}}, weir_settings={"cors_origin": "os.environ/WEIR_TEST_NAME"}))
    assert w.get("/v1/models", {"origin": "http://o"})["access-control-allow-origin"] == "first"
    rewrite(w, unwatched(model("a", mock.base, "openai/sim-fast"), environment_variables={"WEIR_TEST_NAME": "second"},
                         router_settings={"model_group_alias": {"y": "a"}}, weir_settings={"cors_origin": "os.environ/WEIR_TEST_NAME"}))
    answer = reload(w)
    assert [c["name"] for c in answer.json["changes"]] == ["environment_variables.WEIR_TEST_NAME", "router_settings.model_group_alias",
                                                           "weir_settings.cors_origin"]
    assert w.get("/v1/models", {"origin": "http://o"})["access-control-allow-origin"] == "second"
    assert names(w) == ["a", "y"]


def test_limits_take_effect_on_open_connections_too(weir, mock):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast"), weir_settings={"max_request_body_bytes": 20000}))

    def statuses(client, sizes):
        found = []
        for size in sizes:
            client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("a", "x" * size)).encode()))
            found.append(client.answer().status)
            if found[-1] == 413:
                break
        return found

    with w.connect() as client:
        assert statuses(client, [100, 10000]) == [200, 200]
        rewrite(w, unwatched(model("a", mock.base, "openai/sim-fast"), weir_settings={"max_request_body_bytes": 2000000}))
        assert reload(w).status == 200
        assert statuses(client, [100, 1900000]) == [200, 200]
        rewrite(w, unwatched(model("a", mock.base, "openai/sim-fast"), weir_settings={"max_request_body_bytes": 1024}))
        assert reload(w).status == 200
        assert statuses(client, [100, 10000]) == [200, 413]


def test_the_log_changes_its_format_and_level(weir, mock):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast")))

    def with_logging(**logging):
        rewrite(w, unwatched(model("a", mock.base, "openai/sim-fast"), litellm_settings={"logging": logging}))
        assert reload(w).status == 200

    with_logging(log_format="text")
    assert w.chat("a").status == 200
    wait_for(lambda: " request " in w.log_path.read_text())
    with_logging(level="ERROR")
    w.chat("a")
    with_logging(level="INFO")
    w.chat("a")
    wait_for(lambda: '"event":"request"' in w.log_path.read_text())
    time.sleep(0.1)
    assert w.log_path.read_text().count('"event":"request"') == 1


def test_a_renewed_certificate_is_used_by_new_connections(weir, mock, certificates, tmp_path):
    for name in ("server.pem", "server.key"):
        shutil.copy(certificates / name, tmp_path / name)
    w = weir(config(model("a", mock.base, "openai/sim-fast"),
                    weir_settings={"tls_cert_file": str(tmp_path / "server.pem"), "tls_key_file": str(tmp_path / "server.key")}))
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE

    def certificate():
        with socket.create_connection(("127.0.0.1", w.port), PATIENCE_S) as plain, anybody.wrap_socket(plain) as s:
            return s.getpeercert(True)

    first = certificate()
    kept = w.connect(verify=anybody)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=renewed", "-keyout", "k", "-out", "c"], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "k").rename(tmp_path / "server.key")
    (tmp_path / "c").rename(tmp_path / "server.pem")
    wait_for(lambda: certificate() != first)
    kept.send(request("GET", "/health/liveliness"))
    assert kept.answer().status == 200
    kept.close()


def test_health_checks_the_new_deployments(weir, mock):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast")))
    assert w.get("/health").json["healthy_count"] == 1
    rewrite(w, unwatched(model("b", "http://127.0.0.1:1", "openai/sim-fast"), model("c", mock.base, "openai/sim-fast")))
    assert reload(w).status == 200
    health = w.get("/health").json
    assert [e["model_name"] for e in health["unhealthy_endpoints"]] == ["b"]
    assert [e["model_name"] for e in health["healthy_endpoints"]] == ["c"]


def test_a_health_check_under_way_survives_reloads(weir, upstream):
    silent = upstream(lambda c: (c.asked(), time.sleep(1)))
    w = weir(unwatched(model("a", silent.base, "openai/x")))
    with w.connect() as client:
        client.send(request("GET", "/health"))
        for _ in range(5):
            time.sleep(0.02)
            assert reload(w).status == 200
        assert client.answer().json["unhealthy_count"] == 1


def test_metrics_show_new_deployments_from_the_start(weir, mock):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast")))
    w.chat("a")
    rewrite(w, unwatched(model("b", mock.base, "openai/sim-fast")))
    assert reload(w).status == 200
    w.chat("b")
    w.requests(2)
    m = w.metrics()
    assert m.total("litellm_requests_total", model="a", status="success") == 1
    assert m.total("litellm_requests_total", model="b", status="success") == 1


def test_options_win_at_a_reload_as_they_did_at_the_start(weir, mock):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast")), words=["--workers", "1"])
    rewrite(w, unwatched(model("a", mock.base, "openai/sim-fast"), weir_settings={"workers": 7}))
    assert reload(w).json["changes"] == []


def test_there_is_nothing_to_reload_while_draining(weir, mock):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast")))
    with w.connect() as client:
        client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("a", stream=True)).encode(),
                            {"x-mock-tokens": "20", "x-mock-tokens-per-second": "20"}))
        client.head()
        w.signal(signal.SIGTERM)
        time.sleep(0.1)
        w.signal(signal.SIGHUP)
        assert b"[DONE]" in client.rest()
    assert w.wait() == 0
    assert events(w) == [] and len(events(w, "stop")) == 1


def test_a_wrong_query_is_refused(weir, mock):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast")))
    assert w.post("/config/reload?dry=true", b"").status == 400
    assert w.get("/config/reload").status == 405


def test_systemd_is_told(weir, mock, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(PATIENCE_S)
        w = weir(unwatched(model("a", mock.base, "openai/sim-fast")), env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert notify.recv(1000).startswith(b"READY=1\n")
        before = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        w.signal(signal.SIGHUP)
        state, stamp, _ = notify.recv(1000).decode().split("\n")
        assert state == "RELOADING=1" and before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= before + PATIENCE_S * 1e6
        assert notify.recv(1000).startswith(b"READY=1\n")
        w.config_path.write_text("{")
        w.signal(signal.SIGHUP)
        assert notify.recv(1000).startswith(b"RELOADING=1") and notify.recv(1000).startswith(b"READY=1\n")


# ---- weir serve --dry-run ----

def dry_run(folder, *words, env=None):
    folder.mkdir(exist_ok=True)
    process = Process(folder, ["serve", "--dry-run", *words], env=env).launch()
    return process.wait(), process.said("stdout"), process.said()


def test_a_dry_run_shows_what_a_reload_would_change(weir, mock, tmp_path):
    w = weir(unwatched(model("a", mock.base, "openai/sim-fast"), general_settings={"master_key": "sk-m"}))
    rewrite(w, unwatched(model("a", mock.base, "openai/sim-fast", rpm=5), general_settings={"master_key": "sk-m"}))
    words = ["--config", w.config_path, "--port", w.port, "--no-builtin"]
    status, out, _ = dry_run(tmp_path / "1", *words)
    assert status == 0 and out.startswith("+ model_list[a].litellm_params.rpm: 5\n") and "1 change to the weir that runs" in out
    assert "\x1b" not in out
    status, out, _ = dry_run(tmp_path / "2", *words, "--json")
    found = json.loads(out)
    assert (found["against"], found["reason"], [c["name"] for c in found["changes"]]) == ("running", None, ["model_list[a].litellm_params.rpm"])
    assert events(w) == [] and w.metrics().total("weir_config_reloads_total") == 0
    assert w.get("/model/info", {"authorization": "Bearer sk-m"}).json["data"][0]["litellm_params"].get("rpm") is None
    w.config_path.write_text(w.config_path.read_text().replace(": 5", ': "x"'))
    status, out, err = dry_run(tmp_path / "3", *words)
    assert status == 1 and "rpm" in err and out == ""


def test_a_dry_run_without_a_running_weir_compares_with_the_defaults(weir, mock, tmp_path):
    path = tmp_path / "alone.yaml"
    path.write_text(yaml_for(mock, "a") + "weir_settings: {port: 1, host: 127.0.0.1}\n")
    status, out, _ = dry_run(tmp_path / "1", "--config", path, "--no-builtin")
    assert status == 0 and "+ model_list[a]" in out and "~ weir_settings.port: 4000 -> 1" in out
    assert "changes to the defaults (not compared with a running one:" in out
    w = weir(unwatched(model("other", mock.base)))
    status, out, _ = dry_run(tmp_path / "2", "--config", path, "--no-builtin", "--port", w.port, "--json")
    found = json.loads(out)
    assert found["against"] == "defaults" and str(w.config_path) in found["reason"]


# ---- under load ----

class Load:
    """Clients that ask one thing after the other until told to stop; what each found is kept."""

    def __init__(self, count, ask):
        self.stop, self.found, self.problems = threading.Event(), [], []
        self.threads = [threading.Thread(target=self.run, args=(ask,), daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, ask):
        while not self.stop.is_set():
            try:
                self.found.append(ask())
            except Exception as problem:  # pylint: disable=broad-except
                self.problems.append(repr(problem))
                return

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE_S * 3)
        assert not self.problems, self.problems[:3]
        return self.found


def generation(mock, number, **sections):
    """Every reload has another deployment under the same name; the mock answers by the upstream's name, so a mix would show."""
    return unwatched(model("m", mock.base, f"openai/generation-{number}", info={"id": f"id-{number}"}), **sections)


def test_reloads_under_load_drop_and_mix_nothing(weir, fresh_mock):
    mock, reloads = fresh_mock, 10 if SANITIZED else 50
    w = weir(generation(mock, 0))

    def ask():
        answer = w.chat("m", {"x-mock-tokens": "8", "x-mock-tokens-per-second": "200"}, stream=True)
        assert answer.status == 200 and answer.complete and answer.events[-1] == "[DONE]", answer.body[-200:]
        upstream_name = json.loads(answer.events[0])["model"]
        assert answer["x-litellm-model-id"].split("-")[1] == upstream_name.split("-")[1]
        return answer["x-litellm-model-id"]

    load = Load(16, ask)
    for number in range(1, reloads + 1):
        rewrite(w, generation(mock, number))
        assert reload(w).json["status"] == "reloaded"
        time.sleep(0.02)
    found = load.end()
    assert len(set(found)) > reloads // 2
    records = w.requests(len(found))
    assert all(r["status"] == "success" for r in records)
    assert sorted(r["deployment"] for r in records) == sorted(found)
    assert w.metrics().total("litellm_requests_total", status="success") == len(found)
    assert mock.stats()["requests"] == len(found)
    wait_for(lambda: w.metrics().total("weir_upstream_connections") <= 32)


@pytest.mark.heavy
def test_memory_does_not_grow_over_reloads(weir, mock):
    w = weir(generation(mock, 0, litellm_settings={"logging": {"level": "ERROR"}}))
    sizes = []
    for number in range(1, 601):
        rewrite(w, generation(mock, number % 7, litellm_settings={"logging": {"level": "ERROR"}}))
        assert reload(w).status == 200
        if number % 10 == 0:
            assert w.chat("m").status == 200
        if number in (100, 600):
            sizes.append(w.rss_bytes() / 1024)
    print(f"resident after 100 reloads {sizes[0]:.0f} KiB, after 600 {sizes[1]:.0f} KiB")
    if "tsan" not in str(WEIR):  # whose shadow memory grows with everything that was ever touched
        assert sizes[1] < sizes[0] + 1024
    assert w.open_files() < 64


@pytest.mark.heavy
def test_a_large_file_does_not_hold_up_the_road(weir, mock):
    many = [model(f"m{i}", mock.base, f"openai/m{i}", rpm=i + 1) for i in range(3000)]
    w = weir(unwatched(model("m0", mock.base, "openai/sim-fast")))
    times = {"quiet": [], "reloading": []}
    which = "quiet"

    def ask():
        began = time.monotonic()
        assert w.chat("m0").status == 200
        times[which].append(time.monotonic() - began)

    def scrape_ms():
        """As Prometheus asks: 14 MB of text would take a busy test longer to read than to get."""
        began = time.monotonic()
        assert w.get("/metrics", {"accept-encoding": "gzip"}).status == 200
        return (time.monotonic() - began) * 1000

    load = Load(2, ask)
    time.sleep(0.5)
    rewrite(w, unwatched(*many))
    which = "reloading"
    scrapes = Load(1, scrape_ms)
    took = [reload(w).json["took_ms"] for _ in range(3)]
    slowest_ms = max(scrapes.end())
    which = "after"
    times["after"] = []
    alone_ms = max(scrape_ms() for _ in range(5))  # what this machine needs for one while nothing is reloaded
    load.end()
    quiet, reloading = (sorted(times[k])[int(len(times[k]) * 0.99)] * 1000 for k in ("quiet", "reloading"))
    print(f"3000 models: reload {max(took):.0f} ms; requests p99 {quiet:.1f} ms before, {reloading:.1f} ms during ({len(times['reloading'])} requests); slowest scrape meanwhile {slowest_ms:.0f} ms, afterwards {alone_ms:.0f} ms")
    assert slowest_ms < 2 * (max(took) + alone_ms) + 1000
    assert max(times["reloading"]) < max(took) / 1000 + 0.5
