"""weir healthcheck: the exit status that a container engine asks for, wherever and however the gateway listens."""
import json
import signal
import socket
import threading
import time

import pytest
from harness import ROOT, Process, chat_body, config, forever, model, request, wait_for


def check(folder, *words, env=None):
    """(exit status, what it said, seconds)."""
    process = Process(folder, ["healthcheck", *words], env=env)
    for name in ("stdout", "stderr"):
        (process.folder / name).unlink(missing_ok=True)
    began = time.monotonic()
    status = process.launch().wait()
    return status, process.said("stdout") + process.said(), time.monotonic() - began


@pytest.fixture
def here(tmp_path):
    folder = tmp_path / "check"
    folder.mkdir()
    return folder


@pytest.fixture
def ready(weir, mock):
    return weir(config(model("sim-fast", mock.base)))


def test_ready(ready, here):
    status, said, _ = check(here, "--port", str(ready.port))
    assert status == 0 and f"ready: http://127.0.0.1:{ready.port}, " in said
    assert check(here, "--port", str(ready.port), "--quiet")[:2] == (0, "")


def test_a_proxy_of_the_environment_is_not_asked(ready, here):
    status, said, _ = check(here, "--port", str(ready.port), env={"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"})
    assert status == 0, said


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_address_of_the_configuration(weir, mock, here):
    port = free_port()
    w = weir(config(model("sim-fast", mock.base), weir_settings={"port": port, "host": "0.0.0.0"}))
    status, said, _ = check(here, "--config", str(w.config_path))
    assert status == 0 and f"http://127.0.0.1:{port}" in said
    status, said, _ = check(here, "--config", str(w.config_path), "--port", str(free_port()))
    assert status == 1 and "refused" in said


def test_a_file_that_has_become_wrong_since(weir, mock, here):
    """It runs on what it has; an engine that restarted it now would take it down."""
    port = free_port()
    w = weir(config(model("sim-fast", mock.base), weir_settings={"port": port}))
    broken = {**w.settings, "router_settings": {"num_retries": "many"}}
    w.config_path.write_text(json.dumps(broken, indent=1))
    wait_for(lambda: json.loads(w.get("/health/readiness").body)["config"]["status"] == "failed")
    status, said, _ = check(here, "--config", str(w.config_path))
    assert status == 0 and "num_retries" in said and "asking all the same" in said


def test_tls(weir, mock, here, certificates):
    w = weir(config(model("sim-fast", mock.base), weir_settings={
        "port": free_port(), "tls_cert_file": str(certificates / "server.pem"), "tls_key_file": str(certificates / "server.key")}))
    status, said, _ = check(here, "--config", str(w.config_path))
    assert status == 0 and "ready: https://127.0.0.1" in said
    plain = here / "plain.yaml"  # the same port, but the file says nothing of TLS
    plain.write_text(json.dumps({"model_list": [], "weir_settings": {"port": w.port, "host": "127.0.0.1"}}))
    assert check(here, "--config", str(plain))[0] == 1


def test_unix_socket(weir, mock, here, tmp_path):
    path = f"unix:{tmp_path}/w.sock"
    w = weir(config(model("sim-fast", mock.base), weir_settings={"host": path}))
    status, said, _ = check(here, "--config", str(w.config_path))
    assert status == 0 and f"ready: {path}" in said
    assert check(here, "--host", path)[0] == 0


def test_draining(weir, upstream, here):
    held = threading.Event()

    def reply(connection, _):
        held.wait(20)
        connection.reply({})

    up = upstream(forever(reply))
    w = weir(config(model("m", up.base)))
    with w.connect() as raw:
        raw.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m")).encode()))
        wait_for(lambda: up.requests)
        assert check(here, "--port", str(w.port))[0] == 0
        w.signal(signal.SIGTERM)
        wait_for(lambda: check(here, "--port", str(w.port))[0] == 1)
        status, said, _ = check(here, "--port", str(w.port))
        assert status == 1 and ("draining" in said or "refused" in said)
        held.set()
        raw.answer()


def test_nobody_there(here):
    port = free_port()
    status, said, _ = check(here, "--port", str(port))
    assert status == 1 and f"http://127.0.0.1:{port}" in said and "refused" in said


def test_no_answer_in_time(here):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        status, said, took_s = check(here, "--port", str(silent.getsockname()[1]), "--timeout", "0.3")
    assert status == 1 and 0.3 <= took_s < 3, said


@pytest.mark.parametrize("answer", [({"status": "fine"},), (b"<html>",), ({"status": "healthy"}, "500 Oops")])
def test_something_else_there(upstream, here, answer):
    up = upstream(forever(lambda connection, _: connection.reply(*answer)))
    status, said, _ = check(here, "--port", str(up.port))
    assert status == 1 and ("another program" in said or "not ready" in said)


@pytest.mark.parametrize("words, hint", [(["--port", "0"], "1"), (["now"], "--config"), (["--prot", "1"], "--port")])
def test_mistakes(here, words, hint):
    status, said, _ = check(here, *words)
    assert status == 2 and hint in said


def test_a_file_that_is_not_there(here):
    """Said, and the default address is asked."""
    status, said, _ = check(here, "--config", "nowhere.yaml", "--port", str(free_port()))
    assert status == 1 and "nowhere.yaml" in said and "refused" in said


def test_it_is_documented():
    assert "weir healthcheck" in (ROOT / "docs/cli.md").read_text()
