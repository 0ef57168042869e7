"""Start, stop, and what weir says on the way: ports, files, signals, systemd, --check, discovery."""
import json
import re
import signal
import socket
import time

import pytest
from harness import COMPLETION, ROOT, Closed, Gateway, Process, chat_body, config, forever, model, request, wait_for


def ended(folder, *words, env=None):
    """Runs a command to its end: (exit status, what it said)."""
    process = Process(folder, words, env=env).launch()
    status = process.wait()
    return status, process.said() + process.said("stdout")


@pytest.mark.heavy
def test_start_is_quick(weir, mock):
    w = weir(config(model("sim-fast", mock.base)))
    w.finish()
    times = []
    for _ in range(5):
        began = time.monotonic()
        w.start()
        assert w.get("/health/liveliness").status == 200
        times.append((time.monotonic() - began) * 1000)
        w.finish()
    print(f"start to first answer: {min(times):.0f} to {max(times):.0f} ms")
    assert min(times) < 500


def test_a_taken_port_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, said = ended(tmp_path, "serve", "--host", "127.0.0.1", "--port", str(port), "--log-file", "none")
    assert status == 1 and str(port) in said and re.search("in use|taken", said)


def test_a_missing_file_is_named(tmp_path):
    status, said = ended(tmp_path, "serve", "--config", "nowhere.yaml")
    assert status == 1 and "nowhere.yaml" in said and "No such file" in said


@pytest.mark.parametrize("text, place, hint", [
    ("model_list:\n  - model_name: a\n    litellm_params:\n      modle: openai/x\n", ":4:", "model"),
    ("model_list: [\n", ":", ""),
    ("weir_settings:\n  port: 70000\n", ":2:", "65535"),
    ("weir_settings:\n  port: many\n", ":2:", "port"),
    ("litellm_settings:\n  logging:\n    level: LOUD\n", ":3:", "INFO"),
])
def test_a_bad_configuration_is_told_with_its_place(tmp_path, text, place, hint):
    (tmp_path / "bad.yaml").write_text(text)
    for words in (("serve", "--config", "bad.yaml"), ("serve", "--check", "--config", "bad.yaml"), ("check", "config", "bad.yaml")):
        status, said = ended(tmp_path, *words)
        assert status == 1, (words, said)
        assert "bad.yaml" + place in said and hint in said


def test_what_is_not_built_yet_is_named(weir, mock):
    w = weir(config(model("sim-fast", mock.base), litellm_settings={"guardrails": []}, nonsense={"a": 1}))
    said = w.said()
    assert "guardrails" in said and "nonsense" in said and re.search(r"config\.yaml:\d+:\d+", said)


def test_check_and_the_shipped_examples(tmp_path):
    examples = [ROOT / "config/litellm-unified.yaml", *sorted((ROOT / "config/examples").glob("*.yaml"))]
    assert len(examples) > 1
    for path in examples:
        status, said = ended(tmp_path, "serve", "--check", "--config", str(path), env={"OPENAI_API_KEY": "sk-x", "LITELLM_MASTER_KEY": "sk-y"})
        assert status == 0, f"{path}: {said}"


def test_version_help_and_mistakes(tmp_path):
    status, said = ended(tmp_path, "version")
    assert status == 0 and re.match(r"weir \d+\.\d+\.\d+ \(\S+\)", said)
    assert ended(tmp_path, "--version")[0] == 0
    assert ended(tmp_path, "help")[0] == 0 and ended(tmp_path, "--help")[0] == 0
    status, said = ended(tmp_path, "serve", "--help")
    assert status == 0 and "--config" in said and "--check" in said
    status, said = ended(tmp_path, "serve", "--prot", "4000")
    assert status == 2 and "--port" in said
    assert ended(tmp_path, "server")[0] == 2


@pytest.mark.parametrize("page", ["config", "log", "metrics", "errors", "cli"])
def test_the_program_documents_itself(tmp_path, page):
    status, said = ended(tmp_path, "docs", page)
    assert status == 0 and said.startswith("# ") and "| --- |" in said


# ---- stopping ----

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_running_requests_finish(weir, mock, number):
    w = weir(config(model("sim-fast", mock.base)))
    running, idle = w.connect(), w.connect()
    idle.send(request("GET", "/health/liveliness"))
    idle.answer()
    running.send(request("POST", "/v1/chat/completions", json.dumps(chat_body(stream=True)).encode(),
                         {"x-mock-tokens": "30", "x-mock-tokens-per-second": "60"}))
    running.head()
    w.signal(number)
    assert idle.is_closed()

    def refused():
        """no new connections"""
        try:
            w.connect().close()
        except OSError:
            return True

    wait_for(refused, 5)
    assert b"[DONE]" in running.rest()
    assert w.wait(10) == 0
    assert [r["status"] for r in w.lines() if r["event"] == "request"] == ["success"]


def test_a_second_signal_waits_for_nobody(weir, mock):
    w = weir(config(model("sim-fast", mock.base)))
    client = w.connect()
    client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body()).encode(), {"x-mock-delay-ms": "20000"}))
    time.sleep(0.2)
    w.signal(signal.SIGTERM)
    time.sleep(0.2)
    began = time.monotonic()
    w.signal(signal.SIGTERM)
    w.wait(5)
    assert time.monotonic() - began < 3
    assert [r["status"] for r in w.lines() if r["event"] == "request"] == ["cancelled"]


def test_the_drain_has_an_end(weir, mock):
    w = weir(config(model("sim-fast", mock.base), weir_settings={"drain_timeout_ms": 300}))
    client = w.connect()
    client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body()).encode(), {"x-mock-delay-ms": "20000"}))
    time.sleep(0.2)
    began = time.monotonic()
    w.signal(signal.SIGTERM)
    w.wait(10)
    assert 0.25 < time.monotonic() - began < 5


def test_who_waits_in_the_queue_at_a_stop_is_answered(weir, mock):
    """More than one pass accepts: the kernel has taken these connections, and the clients do not know of a stop."""
    w = weir(config(model("sim-fast", mock.base), weir_settings={"workers": 1}))
    w.signal(signal.SIGSTOP)
    clients = [w.connect() for _ in range(200)]
    for client in clients:
        client.send(request("GET", "/health/liveliness"))
    w.signal(signal.SIGTERM)
    w.signal(signal.SIGCONT)
    assert {client.answer().status for client in clients} == {200}
    assert w.wait(10) == 0


# ---- systemd ----

def test_sd_notify(weir, mock, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(10)
        w = weir(config(model("sim-fast", mock.base)), env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert b"READY=1" in notify.recv(1000)
        w.finish()
        assert b"STOPPING=1" in notify.recv(1000)


# ---- built-in models, and what is found without a configuration ----

def test_no_models_at_all_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "empty.yaml").write_text("model_list: []\n")
    status, said = ended(tmp_path, "serve", "--no-builtin", "--config", "empty.yaml")
    assert status == 1 and "--config" in said and "--no-builtin" in said


def test_discovery(tmp_path, upstream):
    """Plays vLLM on its usual port, where that is free."""
    def answer(c, q):
        if q.target == "/v1/models":
            c.reply({"object": "list", "data": [{"id": "found-me", "object": "model"}]})
        else:
            c.reply({"object": "chat.completion", "model": "found-me", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})

    try:
        up = upstream(forever(answer), port=8001)
    except OSError:
        pytest.skip("port 8001 is taken")
    w = Gateway(tmp_path, config())
    w.words = ["serve", "--host", "127.0.0.1", "--port", "0", "--log-file", str(w.log_path)]
    w.start()
    try:
        ids = [m["id"] for m in w.get("/v1/models").json["data"]]
        assert "found-me" in ids and "sim-fast" in ids
        assert w.chat("found-me").status == 200
        assert w.chat("sim-fast").json["usage"]["completion_tokens"] == 16
        records = {r["model"]: r for r in w.requests(2)}
        assert records["found-me"]["provider"] == "hosted_vllm"
    finally:
        w.finish()


def test_a_wildcard_passes_the_name_on(weir, mock):
    w = weir(config(model("local/*", mock.base, "openai/*")))
    assert w.chat("local/some-name").json["model"] == "some-name"
    record = w.record()
    assert (record["model"], record["upstream_model"]) == ("local/some-name", "some-name")


def test_an_alias(weir, mock):
    w = weir(config(model("sim-fast", mock.base), router_settings={"model_group_alias": {"gpt-4": "sim-fast"}}))
    assert w.chat("gpt-4").status == 200
    assert "gpt-4" in [m["id"] for m in w.get("/v1/models").json["data"]]


def test_two_deployments_share_the_load(weir, upstream):
    ups = [upstream(forever(lambda c, q: c.reply(COMPLETION))) for _ in range(2)]
    w = weir(config(*(model("m", up.base, "openai/x") for up in ups)))
    for _ in range(60):
        w.chat("m")
    counts = [len(up.requests) for up in ups]
    assert sum(counts) == 60 and min(counts) > 10
    assert len({r["deployment"] for r in w.requests(60)}) == 2


def test_weights(weir, upstream):
    ups = [upstream(forever(lambda c, q: c.reply(COMPLETION))) for _ in range(2)]
    w = weir(config(model("m", ups[0].base, "openai/x", weight=9), model("m", ups[1].base, "openai/x", weight=1)))
    for _ in range(100):
        w.chat("m")
    assert len(ups[0].requests) > 70


def test_nothing_leaks_over_many_requests(weir, mock):
    w = weir(config(model("sim-fast", mock.base)))
    for _ in range(50):
        w.chat()
    files = w.open_files()
    for i in range(200):
        w.chat("sim-fast", {"x-mock-status": "500"} if i % 3 == 0 else {}, stream=i % 2 == 0)
    try:
        with w.connect() as client:
            client.send(b"nonsense\r\n\r\n")
            client.rest()
    except Closed:
        pass
    assert w.open_files() <= files + 4
