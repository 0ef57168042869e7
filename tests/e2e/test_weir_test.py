"""`weir test` (the seed's test-request): parts that add up, what failed and why, every model asked, no secret shown, exit statuses."""
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from harness import ROOT, WEIR, Gateway, Mock, config, model, wait_for

KEYS = ("WEIR_API_KEY", "LITELLM_API_KEY", "LITELLM_MASTER_KEY", "OPENAI_API_KEY")
ENV = {k: v for k, v in os.environ.items() if k not in KEYS and not k.lower().endswith("_proxy")}
ENV.update(LANG="C.UTF-8", TZ="UTC")
SECRET = "sk-topsecret-1234567"


def base(server):
    return f"http://127.0.0.1:{server.port}"


def run(*words, status=0, env=None, program=(str(WEIR), "test")):
    done = subprocess.run([*program, *map(str, words)], capture_output=True, text=True, check=False, env={**ENV, **(env or {})}, timeout=60)
    assert done.returncode == status, (done.returncode, done.stdout[-3000:], done.stderr[-2000:])
    return done


def measured(*words, status=0, **more):
    return json.loads(run(*words, "--json", status=status, **more).stdout)["requests"]


@pytest.fixture(scope="module")
def slow():
    """A provider whose first token comes after 100 ms, and one each 5 ms then."""
    with Mock("--ttft-ms", "100", "--tokens-per-second", "200", "--tokens", "8") as m:
        yield m


@pytest.fixture(scope="module")
def through(slow, tmp_path_factory):
    """A gateway before it, with a price, an embedding model, and one whose provider is not there."""
    g = Gateway(tmp_path_factory.mktemp("weir"), config(
        model("llama3.1:8b", slow.base, "openai/sim-fast", input_cost_per_token=1e-6, output_cost_per_token=2e-6),
        model("sim-embed", slow.base), model("nobody", "http://127.0.0.1:9/v1", "openai/x")))
    g.start()
    yield g
    g.finish()


# ---- where the time went ----

def test_the_parts_of_a_stream_add_up(through):
    r, = measured("--url", base(through), "--model", "llama3.1:8b")
    assert r["outcome"] == "ok" and r["stream"] and r["http_status"] == 200 and r["flaws"] == []
    phases = {p["phase"]: p["took_ms"] for p in r["phases"]}
    assert sum(phases.values()) == pytest.approx(r["total_ms"], abs=1e-5)
    begins = [p["begins_ms"] for p in r["phases"]]
    assert begins[0] == 0 and begins == sorted(begins)
    wait = r["wait"]
    assert wait["gateway_before_ms"] + wait["upstream_ms"] + wait["gateway_after_ms"] + wait["network_and_client_ms"] \
        == pytest.approx(wait["all_ms"], abs=1e-5)
    # A stream that begins with its first event has waited for the upstream, not for the gateway.
    assert wait["upstream_ms"] > 95 > wait["gateway_before_ms"] + wait["gateway_after_ms"]
    assert {"dns", "tcp", "send", "gateway_before", "upstream", "network_and_client", "first_event", "first_token", "tokens", "usage", "done", "end"} <= set(phases)
    assert r["ttft_ms"] >= r["ttfb_ms"] > 95 and r["ttft_cold_ms"] > r["ttft_ms"]
    assert r["chunks"] == r["completion_tokens"] == 8 and len(r["gaps_ms"]) == 7 and not r["tokens_counted"]
    assert r["longest_gap_ms"] == max(r["gaps_ms"]) and r["e2e_ms"] == pytest.approx(r["ttft_ms"] + sum(r["gaps_ms"]), abs=1e-4)
    assert r["finish_reason"] == "stop" and re.fullmatch("[0-9a-f]{64}", r["deployment"])
    record = wait_for(lambda: next((line for line in through.lines() if line.get("request_id") == r["request_id"]), None))
    assert record["completion_tokens"] == 8 and record["stream"]


def test_the_parts_of_a_whole_answer_add_up(through):
    r, = measured("--url", base(through), "--model", "llama3.1:8b", "--no-stream")
    assert r["outcome"] == "ok" and not r["stream"] and r["ttft_ms"] is None and r["chunks"] == 0
    assert sum(p["took_ms"] for p in r["phases"]) == pytest.approx(r["total_ms"], abs=1e-5)
    assert r["wait"]["upstream_ms"] > 95
    assert r["cost_usd"] == pytest.approx(r["prompt_tokens"] * 1e-6 + r["completion_tokens"] * 2e-6)


def test_the_report_for_people(through):
    text = run("--url", base(through), "--model", "llama3.1:8b").stdout
    assert "\x1b" not in text and "Health  healthy" in text and "200 OK" in text
    rows = re.findall(r"^(\S.*?)\s{2,}.*?(-?[\d.]+) ms +[\d.-]+ %$", text, re.M)
    total = float(re.search(r"^sum: the whole request +([\d.]+) ms$", text, re.M).group(1))
    assert len(rows) == 13 and sum(float(ms) for _, ms in rows) == pytest.approx(total, abs=0.01)
    said = re.search(r"first byte, ([\d.]+) ms = gateway ([\d.]+) ms \+ upstream ([\d.]+) ms \+ gateway ([\d.]+) ms \+ network and client (-?[\d.]+) ms", text)
    wait, *parts = map(float, said.groups())
    assert sum(parts) == pytest.approx(wait, abs=0.003)
    assert "Between chunks" in text and "a new connection" in text and "round trip" in text and "What is odd" not in text


def test_a_server_may_claim_what_it_likes():
    """Bars are drawn on a terminal only: of a phase that is said to begin long after the end there is none."""
    body = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver-timing: queue;dur=900000000, upstream;dur=900000000\r\n"

    def answer():
        with server.accept()[0] as c:
            seen = b""
            while b'"messages"' not in seen:
                seen += c.recv(65536)
            c.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            c.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, daemon=True).start()
        terminal, side = pty.openpty()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        p = subprocess.Popen([str(WEIR), "test", "--no-health", "--no-stream", "--model", "x", "--url", url],
                             stdout=side, stderr=side, stdin=subprocess.DEVNULL, env={**ENV, "COLUMNS": "140", "TERM": "xterm"})
        os.close(side)
        shown = b""
        while b"Times by" not in shown:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                break
        os.close(terminal)
        assert p.wait(10) in (0, -signal.SIGHUP) and b"gateway before upstream" in shown


def test_a_plain_server_is_told_apart(slow):
    text = run("--url", slow.base, "--model", "sim-fast").stdout
    assert "a plain OpenAI-compatible server" in text and "wait cannot be taken apart" in text
    r, = measured("--url", slow.base, "--model", "sim-fast")
    assert r["wait"]["upstream_ms"] is None and "wait" in {p["phase"] for p in r["phases"]}


def test_repeats_keep_the_connection_unless_cold(through):
    kept = measured("--url", base(through), "--model", "llama3.1:8b", "--repeat", "3")
    assert [r["connection"]["reused"] for r in kept] == [False, True, True]
    assert [r["ttft_cold_ms"] is None for r in kept] == [False, True, True]
    assert len({r["request_id"] for r in kept}) == 3
    cold = measured("--url", base(through), "--model", "llama3.1:8b", "--repeat", "2", "--cold")
    assert [r["connection"]["reused"] for r in cold] == [False, False]
    text = run("--url", base(through), "--model", "llama3.1:8b", "-n", "3").stdout
    assert "3 requests" in text and re.search(r"Shown below: request [123],", text)


def test_over_tls(weir, mock, certificates):
    g = weir(config(model("sim-fast", mock.base), weir_settings={
        "tls_cert_file": str(certificates / "server.pem"), "tls_key_file": str(certificates / "server.key")}))
    url = f"https://localhost:{g.port}"
    r, = measured("--url", url, "--ca-file", certificates / "ca.pem")
    link = r["connection"]
    assert link["tls_version"].startswith("TLSv1.") and link["tls_cipher"] and not link["tls_resumed"]
    assert "tls" in {p["phase"] for p in r["phases"]}
    again = measured("--url", url, "--ca-file", certificates / "ca.pem", "--repeat", "2", "--cold")
    assert again[1]["connection"]["tls_resumed"]
    assert "certificate" in run("--url", url, status=3).stderr
    r, = measured("--url", url, "--insecure", "--model", "sim-fast")
    assert r["outcome"] == "ok"


# ---- what fails ----

@pytest.mark.parametrize("fault, words, outcome, why", [
    ("cut-after=3", (), "truncated", "closed"),
    ("no-end", (), "truncated", "without a finish_reason"),
    ("error-in-stream=2", (), "stream_error", "an error inside the stream: "),
    ("error-in-200", ("--no-stream",), "stream_error", "an error under a status of success: "),
    ("not-json", ("--no-stream",), "invalid", "the answer is not JSON"),
    ("status=429", (), "http_429", "status 429: "),
    ("status=503", ("--no-stream",), "http_5xx", "status 503: "),
    ("html-error=502", (), "http_5xx", "status 502: <"),
    ("hang-head", ("--timeout", "0.4"), "timeout", "no complete answer within 400 ms"),
    ("stall-after=2", ("--timeout", "0.4"), "timeout", "no complete answer within 400 ms"),
    ("close-before-head", (), "send", "closed"),
    ("garbage", (), "truncated", "closed without an answer"),
])
def test_what_failed_is_said(fault, words, outcome, why):
    with Mock("--fault", fault) as m:
        r, = measured("--url", m.base, "--model", "sim-fast", *words, status=1)
        assert r["outcome"] == outcome and why in r["error"]
        assert sum(p["took_ms"] for p in r["phases"]) == pytest.approx(r["total_ms"], abs=1e-5)
        text = run("--url", m.base, "--model", "sim-fast", *words, status=1).stdout
        assert f"{outcome}: " in text


def test_flaws_are_told(slow):
    with Mock("--fault", "no-end") as m:
        r, = measured("--url", m.base, "--model", "sim-fast", status=1)
        assert any("[DONE]" in flaw for flaw in r["flaws"]) and any("finish_reason" in flaw for flaw in r["flaws"])
    r, = measured("--url", slow.base, "--model", "sim-reasoning")
    assert any("a chunk is not a token" in flaw for flaw in r["flaws"])


def test_nobody_there_is_3(through):
    assert "Connection refused" in run("--url", "http://127.0.0.1:9", status=3).stderr
    assert "weir serve" in run("--url", "http://127.0.0.1:9", status=3).stderr
    run("--url", "http://127.0.0.1:9", "--no-health", "--model", "m", status=3)
    run("--url", "http://127.0.0.1:9", "--list-models", status=3)
    run("--url", "http://there-is-no-such-host.invalid", status=3)
    run("--url", base(through), "--prompt-file", "/nowhere", status=3)


@pytest.mark.parametrize("words, sentence", [
    (("word",), "a model is named with --model"),
    (("--stream", "--no-stream"), "give one of them"),
    (("--prompt", "a", "--prompt-tokens", "5"), "both say what to ask"),
    (("--metadata", "[1]"), "expected a JSON object"),
    (("--header", "no colon"), 'expected "Name: value"'),
    (("--header", "content-length: 5"), "cannot be set"),
    (("--test-routing", "--model", "x"), "asks each model once"),
    (("--config", "x"), "--test-routing"),
    (("--cold",), "--repeat"),
    (("--url", "http://user:pass@host"), "no place in the URL"),
    (("--timeout", "-1"), "expected a number from 0"),
    (("--modle", "x"), "did you mean --model?"),
])
def test_wrong_usage_is_2(words, sentence):
    said = run(*words, status=2).stderr
    assert sentence in said and "pass@" not in said


def test_ctrl_c_ends_with_the_report_so_far():
    with Mock("--ttft-ms", "20", "--tokens-per-second", "20", "--tokens", "2000") as m:
        process = subprocess.Popen([str(WEIR), "test", "--url", m.base, "--model", "sim-fast", "--max-tokens", "2000", "--json"],
                                   stdout=subprocess.PIPE, text=True, env=ENV)
        wait_for(lambda: m.stats()["requests"] if "requests" in m.stats() else any(m.stats().values()))
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            pass
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    r, = json.loads(out)["requests"]
    assert process.returncode == 1 and r["outcome"] == "cancelled" and "Ctrl-C" in r["error"]
    assert r["chunks"] >= 1 and r["phases"]


def test_a_failure_through_the_gateway_is_taken_apart(weir):
    with Mock("--fault", "delay-ms=150,status=500") as m:
        g = weir(config(model("m", m.base), router_settings={"num_retries": 1, "disable_cooldowns": True, "retry_after": 0}))
        r, = measured("--url", base(g), "--model", "m", status=1)
        wait = r["wait"]
        assert r["outcome"] == "http_5xx" and wait["upstream_ms"] is not None
        # The first attempt is before the one that is told of.
        assert wait["all_ms"] > 290 and wait["gateway_before_ms"] > 140 and wait["gateway_after_ms"] < 140
        assert sum(p["took_ms"] for p in r["phases"]) == pytest.approx(r["total_ms"], abs=1e-5)


# ---- routing ----

def test_routing_asks_every_model(through):
    done = run("--url", base(through), "--test-routing", status=1)
    text = done.stdout
    assert "2 of 3 models answer." in text
    row = next(line for line in text.splitlines() if line.startswith("llama3.1:8b"))
    assert " ok " in row and " 200 " in row and "http://127.0.0.1" in row
    row = next(line for line in text.splitlines() if line.startswith("nobody"))
    assert "http_5xx" in row and "Connection refused" in row
    rows = {r["model"]: r for r in measured("--url", base(through), "--test-routing", status=1)}
    assert rows["sim-embed"]["outcome"] == "ok" and rows["sim-embed"]["chunks"] == 0  # asked for an embedding
    assert rows["nobody"]["http_status"] == 502 and rows["llama3.1:8b"]["ttft_ms"] > 95


def test_routing_by_a_configuration(weir, mock):
    g = weir(config(model("a", mock.base, "openai/sim-fast"), model("a", mock.base, "openai/sim-slow", info={"id": "second"}), model("x/*", mock.base, "openai/*")))
    text = run("--url", base(g), "--test-routing", "--config", g.config_path).stdout
    assert "1 of 1 models answer." in text and "patterns (with *)" in text
    run("--url", base(g), "--test-routing", "--config", "/nowhere.yaml", status=3)
    assert run("--url", base(g), "--list-models").stdout.split()[0] == "a"
    assert "a" in json.loads(run("--url", base(g), "--list-models", "--json").stdout)


def test_embeddings_by_their_mode(weir, mock):
    g = weir(config(model("vectors", mock.base, "openai/sim-embed", info={"mode": "embedding"})))
    for more in ((), ("--config", g.config_path)):
        r, = measured("--url", base(g), "--test-routing", *more)
        assert r["outcome"] == "ok" and r["chunks"] == 0 and not r["stream"]


def test_fallbacks_are_seen(weir, mock):
    g = weir(config(model("bad", "http://127.0.0.1:9/v1", "openai/x"), model("good", mock.base, "openai/sim-fast"),
                    router_settings={"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"bad": ["good"]}]}))
    assert "1 fallbacks" in run("--url", base(g), "--model", "bad").stdout


# ---- keys and what is shown ----

@pytest.fixture(scope="module")
def locked(slow, tmp_path_factory):
    """A gateway that wants a key."""
    g = Gateway(tmp_path_factory.mktemp("locked"), config(model("sim-fast", slow.base), general_settings={"master_key": SECRET}))
    g.start()
    yield g
    g.finish()


def test_keys_and_where_they_come_from(locked):
    assert "wants a key" in run("--url", base(locked), status=3).stderr
    r, = measured("--url", base(locked), "--model", "sim-fast", status=1)
    assert r["outcome"] == "http_401"
    for name in KEYS:
        assert f"key from {name}" in run("--url", base(locked), env={name: SECRET}).stdout
    assert "key from --key" in run("--url", base(locked), "--key", SECRET, env={"WEIR_API_KEY": "sk-wrong"}).stdout
    run("--url", base(locked), "--key", "", "--model", "sim-fast", env={"WEIR_API_KEY": SECRET}, status=1)


def test_no_secret_is_shown(locked, tmp_path):
    har = tmp_path / "x.har"
    words = ("--url", base(locked), "--header", "x-api-key: alsosecret99", "--prompt", f"my key is {SECRET}", "--metadata", '{"password": "hunter2secret"}')
    shown = []
    shown.append(run(*words, "-v", env={"LITELLM_API_KEY": SECRET}).stdout)
    shown.append(run(*words, "--json", "--har", har, env={"LITELLM_API_KEY": SECRET}).stdout)
    shown.append(har.read_text())
    shown.append(run(*words, "--curl", env={"LITELLM_API_KEY": SECRET}).stdout)
    for text in shown:
        assert SECRET not in text and "alsosecret99" not in text and "hunter2secret" not in text
    assert "authorization: Bearer ***" in shown[0] and "$LITELLM_API_KEY" in shown[3]


def test_the_whole_exchange(through):
    text = run("--url", base(through), "--model", "llama3.1:8b", "-v", "--prompt", "hello").stdout
    whole = text[text.index("The whole exchange"):]
    assert re.search(r"^ +[\d.]+ ms > POST /v1/chat/completions HTTP/1.1$", whole, re.M) and "< HTTP/1.1 200 OK" in whole
    assert len(re.findall(r"^ +[\d.]+ ms < .*content +\{", whole, re.M)) == 8
    assert re.search(r"\+[\d.]+ ms +content", whole) and "role" in whole and re.search(r"done +\[DONE\]", whole)
    assert "TCP is connected" in whole and "hello" in whole


def test_an_archive_that_adds_up(through, tmp_path):
    har = tmp_path / "x.har"
    run("--url", base(through), "--model", "llama3.1:8b", "--repeat", "2", "--har", har)
    log = json.loads(har.read_text())["log"]
    assert log["version"] == "1.2" and len(log["entries"]) == 2
    for entry in log["entries"]:
        timings = entry["timings"]
        assert {"send", "wait", "receive"} <= set(timings)
        parts = sum(v for k, v in timings.items() if v > 0 and k != "ssl")
        assert parts == pytest.approx(entry["time"], abs=1e-4)
        assert entry["request"]["method"] == "POST" and entry["request"]["url"].endswith("/v1/chat/completions")
        assert json.loads(entry["request"]["postData"]["text"])["model"] == "llama3.1:8b"
        assert entry["response"]["status"] == 200 and "data: [DONE]" in entry["response"]["content"]["text"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", entry["startedDateTime"])
    assert log["entries"][1]["timings"]["connect"] == -1 and log["entries"][0]["timings"]["connect"] >= 0
    assert "No such file" in run("--url", base(through), "--har", "/nowhere/x.har", status=3).stderr


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_curl_command_is_the_same_request(locked):
    command = run("--url", base(locked), "--curl", "--prompt", "it's \"quoted\" $HOME", env={"LITELLM_API_KEY": SECRET}).stdout
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, env={**ENV, "LITELLM_API_KEY": SECRET}, timeout=30)
    assert done.stdout.rstrip().endswith("data: [DONE]")
    refused = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, env=ENV, timeout=30)
    assert "Authentication Error" in refused.stdout


def test_metadata_reaches_the_log(weir, mock):
    g = weir(config(model("sim-fast", mock.base)))
    run("--url", base(g), "--metadata", '{"team": "search"}')
    assert g.record()["metadata"]["team"] == "search"


def test_rate_limits_are_read(upstream):
    def script(connection):
        connection.asked()
        connection.send(b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 7\r\nX-RateLimit-Limit-Requests: 100\r\n"
                        b"x-ratelimit-remaining-requests: 25\r\nx-ratelimit-reset-requests: 12s\r\ncontent-length: 33\r\n\r\n"
                        b'{"error":{"message":"slow down"}}')
    server = upstream(script)
    r, = measured("--url", f"http://127.0.0.1:{server.port}", "--model", "m", "--no-health", status=1)
    limits = {entry["name"]: entry["meaning"] for entry in r["rate_limits"]}
    assert limits["x-ratelimit-limit-requests"] == "25 of 100 left (25 %); again full: 12s" and limits["retry-after"].startswith("7 ")
    assert r["outcome"] == "http_429" and r["error"] == "status 429: slow down"


# ---- the seed's command lines ----

def test_the_launcher(through, tmp_path):
    launcher = ROOT / "scripts" / "debugging" / "test-request"
    program = (str(launcher),)
    if not any((ROOT / "build" / kind / "weir").exists() for kind in ("release", "dev")):
        (tmp_path / "weir").symlink_to(WEIR)
    path = {"PATH": f"{tmp_path}:{ENV.get('PATH', '')}"}
    text = run("--url", base(through), "--model", "llama3.1:8b", program=program, env=path).stdout
    assert "200 OK" in text
    assert "2 of 3 models answer." in run("--url", base(through), "--test-routing", program=program, env=path, status=1).stdout
    named = tmp_path / "test-request"
    named.symlink_to(WEIR)
    assert "200 OK" in run("--url", base(through), program=(str(named),)).stdout
