"""`weir profile latency` and `weir profile throughput`, against servers whose times and limits are known. Speed is the bench's affair: nothing here
depends on how fast the machine is, beyond bounds that a busy one keeps."""
import csv
import http.server
import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import time
import xml.etree.ElementTree as xml

import pytest

from harness import ROOT, WEIR, Mock, config, model

ENV = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY") and not k.startswith("LITELLM")}
# What the client says of itself depends on the machine; the tests that are about other things take either.
LIMITED = 1


def profile(what, *words, status=(0,), env=None):
    done = subprocess.run([WEIR, "profile", what, *map(str, words)], capture_output=True, text=True, check=False,
                          env={**ENV, **(env or {})}, timeout=60)
    assert done.returncode in status or (done.returncode == LIMITED and "client-limited" in done.stderr), \
        (done.returncode, done.stdout[-2000:], done.stderr)
    return done


@pytest.fixture(scope="module")
def server():
    with Mock("--ttft-ms", 20, "--tokens-per-second", 500, "--tokens", 6) as m:
        yield f"http://127.0.0.1:{m.port}"


# ---- latency ----

def test_latency_tells_what_the_server_does(server, tmp_path):
    out, log = tmp_path / "results.json", tmp_path / "requests.log"
    done = profile("latency", "--url", server, "--model", "sim-fast", "--iterations", 20, "--warmup", 2, "--cold", 3,
                   "--export", out, "--log", log, "--seed", 7)
    assert done.stdout.startswith("\nLatency profile\nsim-fast at http://127.0.0.1:")
    assert "20 requests, one after another, streamed; 2 of warm-up" in done.stdout
    assert "Times on kept connections" in done.stdout and "Times on new connections" in done.stdout
    assert "n < 368" in done.stdout and "Seed 7." in done.stdout
    assert "\x1b" not in done.stdout, "a pipe gets no colours"

    d = json.loads(out.read_text())
    assert d["schema"] == "weir.measure/1" and d["rule"].startswith("exact values, nearest rank")
    s = d["summary"]
    assert (s["requests"], s["ok"], s["failed"], s["completion_tokens"]) == (20, 20, 0, 120)
    # 20 ms to the first token, 5 gaps of 2 ms
    assert 30 <= s["p50_latency_ms"] == s["median_latency_ms"] < 300
    assert s["mean_latency_ms"] >= 30
    assert s["p90_latency_ms"] is None and s["p95_latency_ms"] is None and s["p99_latency_ms"] is None
    assert s["metrics"]["latency"]["percentiles_refused"]["p99"] == 368
    low, high = s["metrics"]["ttft"]["p50_ci95_ms"]
    # On a busy machine neighbours may be so alike that not even the median has an interval.
    assert low is None or 20 <= low <= s["metrics"]["ttft"]["p50_ms"] <= high
    assert s["metrics"]["itl"]["count"] == 100
    assert s["on_kept_connections"] == 20 and d["new_connections"]["on_kept_connections"] == 0
    assert d["new_connections"]["requests"] == 3 and "connect" in d["new_connections"]["metrics"]

    rows = d["measurements"]
    assert len(rows) == 20 and len({m["request_id"] for m in rows}) == 20
    assert sorted(m["latency_ms"] for m in rows)[9] == pytest.approx(s["p50_latency_ms"], abs=1e-5), "nearest rank"
    assert all(m["ttft_ms"] < m["latency_ms"] <= m["response_ms"] for m in rows)

    # The log has every request, those of the warm-up and on new connections, too; weir analyze reads it.
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == 25 and {m["request_id"] for m in rows} < {line["request_id"] for line in lines}
    read = subprocess.run([WEIR, "analyze", log, "--format", "json"], capture_output=True, check=True)
    assert json.loads(read.stdout)["total"]["requests"] == 25


def test_exports_by_extension(server, tmp_path):
    names = [tmp_path / n for n in ("r.csv", "r.md", "r.json", "r.xml", "r.hgrm")]
    words = [w for n in names for w in ("--export", n)]
    profile("latency", "--url", server, "--model", "sim-fast", "--iterations", 10, "--warmup", 0, "--cold", 0, *words)
    rows = list(csv.DictReader(names[0].open()))
    assert len(rows) == 10 and rows[0]["connection"] == "new" and rows[1]["connection"] == "kept"
    assert all(float(r["ttft_ms"]) >= 20 and r["completion_tokens"] == "6" for r in rows)
    assert "| Total " in names[1].read_text() and "n/a (n" in names[1].read_text()
    assert json.loads(names[2].read_text())["summary"]["ok"] == 10
    suite = xml.parse(names[3]).getroot().find("testsuite")
    assert {c.get("name") for c in suite.iter("testcase")} >= {"Client's CPU", "Receive lag"}
    assert names[4].read_text().split()[:2] == ["Value", "Percentile"] and "#[Mean" in names[4].read_text()
    assert not list(tmp_path.glob("*.tmp"))


def test_whole_answers_have_no_first_token(server):
    done = profile("latency", "--url", server, "--model", "sim-fast", "--iterations", 8, "--no-stream", "--cold", 0, "--format",
                   "json")
    metrics = json.loads(done.stdout)["summary"]["metrics"]
    assert "latency" in metrics and "ttft" not in metrics and "itl" not in metrics


def test_the_first_model_of_the_gateway_is_taken(server, weir):
    gateway = weir(config(model("some-model", f"{server}/v1", "openai/sim-fast")))
    done = profile("latency", "--url", f"http://127.0.0.1:{gateway.port}", "--iterations", 6, "--cold", 0, "--format", "json")
    d = json.loads(done.stdout)
    assert d["models"] == ["some-model"] and d["summary"]["ok"] == 6
    ids = {r["request_id"] for r in gateway.requests(9)}
    assert {m["request_id"] for m in d["measurements"]} <= ids, "the gateway's log has the same ids"


def test_regression_is_real_or_it_is_none(server, tmp_path):
    base = tmp_path / "base.json"
    common = ("--model", "sim-fast", "--iterations", 15, "--cold", 0)
    profile("latency", "--url", server, *common, "--export", base)
    with Mock("--ttft-ms", 80, "--tokens-per-second", 500, "--tokens", 6) as slow:
        out, junit = tmp_path / "now.json", tmp_path / "now.xml"
        done = profile("latency", "--url", f"http://127.0.0.1:{slow.port}", *common, "--baseline", base, "--max-regression",
                       "50%", "--export", out, "--export", junit, status=(1,))
    assert "REGRESSION" in done.stdout and "with other settings: url" in done.stdout
    assert "a regression against" in done.stderr or "client-limited" in done.stderr
    b = json.loads(out.read_text())["baseline"]
    assert b["failed"] and b["metrics"]["ttft"]["verdict"] == "regression" and b["metrics"]["ttft"]["p"] < 0.01
    assert b["metrics"]["ttft"]["ratio_ci95"][0] > 1.5 and b["metrics"]["ttft"]["interval_above_bound"]

    failed = [c.get("name") for c in xml.parse(junit).iter("testcase") if c.find("failure") is not None]
    assert any(name.startswith("TTFT against") for name in failed), failed

    # The other way round it is better. Against itself ten times as much may be lost: that holds on any machine.
    done = profile("latency", "--url", server, *common, "--baseline", out)
    assert "better" in done.stdout and "REGRESSION" not in done.stdout
    profile("latency", "--url", server, *common, "--baseline", base, "--max-regression", "1000%")


def test_more_failures_than_then_are_a_regression(server, tmp_path):
    base = tmp_path / "base.json"
    common = ("--model", "sim-fast", "--iterations", 30, "--cold", 0)
    profile("latency", "--url", server, *common, "--export", base)
    with Mock("--ttft-ms", 20, "--tokens-per-second", 500, "--tokens", 6, "--error-rate", 0.5, "--error-status", 503) as bad:
        done = profile("latency", "--url", f"http://127.0.0.1:{bad.port}", *common, "--baseline", base, "--max-regression",
                       "1000%", status=(1,))
    assert "More requests failed than then" in done.stdout and "http_5xx" in done.stdout


@pytest.mark.parametrize("text, says", [
    ("{", "is not JSON"), ("{}", 'no "schema"'), ('{"schema": "weir.measure/99"}', "expected weir.measure/1"),
    ('{"schema": "weir.measure/1"}', 'no "measurements"'),
    ('{"schema": "weir.measure/1", "measurements": [{"outcome": "ok", "latency_ms": 5}, 7]}', "at least 8"),
])
def test_bad_baselines_are_refused_before_anything_is_sent(text, says, tmp_path):
    path = tmp_path / "base.json"
    path.write_text(text)
    done = profile("latency", "--url", "http://127.0.0.1:1", "--model", "m", "--baseline", path, status=(3,))
    assert says in done.stderr and str(path) in done.stderr and not done.stdout


def test_what_the_gateway_adds(server):
    with Mock("--ttft-ms", 60, "--tokens-per-second", 500, "--tokens", 2) as slow:
        done = profile("latency", "--url", f"http://127.0.0.1:{slow.port}", "--direct", server, "--model", "sim-fast",
                       "--iterations", 8, "--cold", 0, "--format", "json")
    o = json.loads(done.stdout)["overhead"]
    assert o["pairs"] == 6 and o["direct_url"] == server
    low, high = o["ttft"]["added_ci95_ms"]
    assert low <= o["ttft"]["added_ms"] <= high and o["ttft"]["added_ms"] == pytest.approx(40, abs=25)


class Slots(http.server.ThreadingHTTPServer):
    """Answers so many at a time, each in `seconds`; the others wait. Number `stall_at` takes a second more, the first `cold` 0.1 s more."""

    daemon_threads, request_queue_size, disable_nagle_algorithm = True, 128, True

    def __init__(self, slots, seconds, stall_at=None, cold=0):
        slot, lock, count = threading.Semaphore(slots), threading.Lock(), [0]
        keys = self.keys = set()
        body = json.dumps({"id": "x", "object": "chat.completion", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                with lock:
                    keys.add(self.headers["authorization"])
                    count[0] += 1
                    mine = count[0]
                with slot:
                    time.sleep(seconds + (mine == stall_at) + 0.1 * (mine <= cold))
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                                 % (len(body), body))

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def slots():
    servers = []

    def start(*args, **more):
        servers.append(Slots(*args, **more))
        return servers[-1]

    yield start
    for s in servers:
        s.shutdown()
        s.server_close()


def test_outliers_are_named(slots, tmp_path):
    out = tmp_path / "r.json"
    done = profile("latency", "--url", slots(1, 0.005, stall_at=20).url, "--model", "m", "--no-stream", "--iterations", 40,
                   "--warmup", 0, "--cold", 0, "--export", out)
    d = json.loads(out.read_text())
    late = max(d["measurements"], key=lambda m: m["latency_ms"])
    worst = d["outliers"][0]
    assert late["latency_ms"] >= 1005 and worst["request_id"] == late["request_id"] and worst["metric"] == "latency"
    assert worst["iqrs_above_q3"] > 3 and d["summary"]["metrics"]["latency"]["max_ms"] >= 1005, "and it is left in"
    assert late["request_id"] in done.stdout


def test_a_server_that_was_still_getting_warm(slots):
    done = profile("latency", "--url", slots(1, 0.005, cold=7).url, "--model", "m", "--no-stream", "--iterations", 40, "--warmup", 2,
                   "--cold", 0)
    first, warmup = re.search(r"The first (\d+) requests differ from the others[^.]*\.[^.]*--warmup\s+(\d+)", done.stdout).groups()
    assert 5 <= int(first) == int(warmup) - 2 <= 20


def test_the_gateways_key_goes_to_the_gateway_only(slots):
    gateway, provider = slots(1, 0.001), slots(1, 0.001)
    words = ("--url", gateway.url, "--direct", provider.url, "--model", "m", "--no-stream", "--iterations", 4, "--cold", 0)
    profile("latency", *words, "--key", "sk-gateway", env={"OPENAI_API_KEY": "sk-environment"})
    assert gateway.keys == {"Bearer sk-gateway"} and provider.keys == {None}
    done = profile("latency", *words, "--direct-key", "sk-provider", env={"LITELLM_API_KEY": "sk-environment"})
    assert gateway.keys == {"Bearer sk-gateway", "Bearer sk-environment"} and provider.keys == {None, "Bearer sk-provider"}
    assert "sk-" not in done.stdout + done.stderr


def test_nobody_at_the_direct_address_is_said(server, tmp_path):
    """The gateway's own figures are told all the same."""
    out = tmp_path / "results.json"
    words = ("--url", server, "--model", "sim-fast", "--iterations", 8, "--cold", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    done = profile("latency", *words, "--direct", url, "--export", out, status=(3,))
    reason = f"no request reached {url}: "
    assert f"--direct: {reason}" in done.stderr and "is it running?" in done.stderr, done.stderr
    assert f"What the gateway adds is not known: {reason}" in done.stdout and "Times on kept connections" in done.stdout
    d = json.loads(out.read_text())
    assert d["summary"]["ok"] == 8 and (d["overhead"]["pairs"], d["overhead"]["failed"]) == (1, 4)
    assert d["overhead"]["latency"]["added_ms"] is None


def test_a_direct_address_that_refuses_the_model_is_said(server):
    with Mock("--error-rate", 1, "--error-status", 404) as wrong:
        done = profile("latency", "--url", server, "--model", "sim-fast", "--iterations", 8, "--cold", 0,
                       "--direct", f"http://127.0.0.1:{wrong.port}", status=(1,))
        assert f"--direct: no request to http://127.0.0.1:{wrong.port} was answered well: " in done.stderr, done.stderr


# ---- throughput ----

def test_the_seeds_line(server):
    done = subprocess.run([ROOT / "scripts/profiling/profile-throughput", "--requests", "100", "--concurrency", "10", "--url",
                           server, "--model", "sim-fast"], capture_output=True, text=True, check=False, env=ENV, timeout=60)
    assert done.returncode == 0 or "client-limited" in done.stderr, done.stderr
    assert "10 users, streamed" in done.stdout and "100 answered well" in done.stdout
    assert "While the load was on" in done.stdout and "The instrument" in done.stdout


def test_sweep_finds_the_knee_and_says_why(slots, tmp_path):
    out, page, rows = tmp_path / "sweep.json", tmp_path / "sweep.html", tmp_path / "sweep.csv"
    url = slots(4, 0.04).url
    for _ in range(3):
        done = profile("throughput", "--sweep", "--max-concurrency", 16, "--requests", 32, "--url", url, "--model", "m",
                       "--no-stream", "--slo", "response=100ms", "--export", out, "--export", rows, "--html", page)
        d = json.loads(out.read_text())
        if not d["client_limited"]:
            break
    else:
        pytest.skip("this machine is too busy for a client to be believed")
    levels = {lv["users"]: lv for lv in d["levels"]}
    assert {1, 2, 4, 8, 16} <= set(levels) and list(levels) == sorted(levels)
    assert all(lv["summary"]["ok"] == 32 for lv in levels.values())
    # Four slots of 40 ms: at most 100 a second. Around the knee other loads were measured, too.
    assert levels[16]["steady"]["requests_per_s"] < 103 and levels[1]["steady"]["requests_per_s"] < 26
    assert d["knee"]["found"] == "found" and 2 <= d["knee"]["users"] <= 8, "4, where nothing else is done on this machine"
    assert d["knee"]["beyond"]["latency_gain"] > 0
    assert set(levels) - {1, 2, 4, 8, 16}, "a closer look beside the knee"
    assert not d["slo"]["met"] or d["slo"]["highest_load"] <= 12
    assert levels[16]["summary"]["good_share"] < levels[1]["summary"]["good_share"] == 1
    assert re.search(r"The knee is at \d+ users: \d.* requests a second at a mean latency of", done.stdout)
    assert re.search(r"From \d+ to \d+ users: .* requests/s, \+\d.* latency\.", done.stdout)
    assert "The objectives response=100ms are " in done.stdout
    assert "█" in done.stdout or "#" in done.stdout
    assert [r["users"] for r in csv.DictReader(rows.open())] == [str(u) for u in levels]
    text = page.read_text()
    assert "<svg" in text and "knee" in text and "<script" not in text and "http-equiv=\"Content-Security-Policy\"" in text


def test_rate_is_kept_whoever_waits(server):
    done = profile("throughput", "--url", server, "--model", "sim-fast", "--rate", 100, "--duration", "1500ms", "--format", "json")
    d = json.loads(done.stdout)
    level = d["levels"][0]
    assert level["rate_per_s"] == 100 and level["account"]["offered"] == 150 == level["account"]["sent"]
    assert level["summary"]["ok"] == 150 and level["summary"]["dropped"] == 0
    checks = {c["check"]: c["verdict"] for c in level["validity"]["checks"]}
    assert checks["achieved_rate"] == "good"


def test_poisson_gaps_are_not_equal(server):
    counts = []
    for seed in (1, 2):
        done = profile("throughput", "--url", server, "--model", "sim-fast", "--rate", 400, "--poisson", "--duration", "500ms", "--threads", 2,
                       "--seed", seed, "--format", "json")
        counts.append(json.loads(done.stdout)["levels"][0]["account"]["offered"])
    assert all(120 < n < 280 for n in counts) and counts != [200, 200]


def test_failures_are_told(server):
    with Mock("--error-rate", 1, "--error-status", 429) as bad:
        done = profile("throughput", "--url", f"http://127.0.0.1:{bad.port}", "--model", "sim-fast", "--requests", 10, status=(1,))
    assert "http_429" in done.stdout and "no request was answered well" in done.stderr


# ---- both ----

@pytest.mark.parametrize("what, words, says", [
    ("latency", ["--max-regression", "5%"], "--baseline FILE, which is not given"),
    ("latency", ["--export", "a.xlsx"], "ends in .json, .csv, .md, .xml or .hgrm"),
    ("latency", ["--direct-model", "m"], "--direct URL"),
    ("latency", ["surplus"], 'unexpected word "surplus"'),
    ("latency", ["--iteration", "3"], "--iterations"),
    ("throughput", ["--sweep", "--rate", "5"], "cannot be combined with --rate"),
    ("throughput", ["--sweep", "--concurrency", "5"], "--max-concurrency"),
    ("throughput", ["--rate", "5", "--concurrency", "5"], "give one of them"),
    ("throughput", ["--rate", "0"], "more than 0"),
    ("throughput", ["--poisson"], "--rate has, which is not given"),
    ("throughput", ["--slo", "speed=3"], "ttft"),
    ("throughput", ["--slo-share", "50%"], "--slo, which is not given"),
    ("throughput", ["--slo", "e2e=1s", "--slo-share", "150%"], "up to 100%"),
    ("throughput", ["--duration", "soon"], "--duration"),
])
def test_mistakes_are_explained(what, words, says):
    done = subprocess.run([WEIR, "profile", what, *words], capture_output=True, text=True, check=False, env=ENV, timeout=20)
    assert done.returncode == 2 and says in done.stderr and not done.stdout


def test_nobody_there():
    for what in ("latency", "throughput"):
        done = profile(what, "--url", "http://127.0.0.1:1", "--model", "m", status=(3,))
        assert "no request reached the server" in done.stderr and "connect_refused" in done.stdout


def test_ctrl_c_ends_with_the_report_so_far(server, tmp_path):
    for what, words in (("latency", ["--iterations", "100000"]), ("throughput", ["--duration", "10m"])):
        out = tmp_path / f"{what}.json"
        with subprocess.Popen([WEIR, "profile", what, "--url", server, "--model", "sim-fast", "--export", out, *words],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV) as p:
            time.sleep(1)
            p.send_signal(signal.SIGINT)
            told, wrong = p.communicate(timeout=20)
        assert "Stopped by Ctrl-C" in told and (p.returncode == 0 or "client-limited" in wrong), wrong
        d = json.loads(out.read_text())
        assert d["cut_short"] and d["summary"]["ok"] > 0 and d["summary"]["failed"] == 0


def test_ctrl_c_does_not_wait_for_a_server_that_hangs(tmp_path):
    with Mock("--fault", "stall-after=2") as hangs:
        with subprocess.Popen([WEIR, "profile", "latency", "--url", f"http://127.0.0.1:{hangs.port}", "--model", "sim-fast"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV) as p:
            time.sleep(0.7)
            p.send_signal(signal.SIGINT)
            time.sleep(0.2)
            p.send_signal(signal.SIGINT)
            told = p.communicate(timeout=10)[0]
    assert "Stopped by Ctrl-C" in told and p.returncode in (0, LIMITED)


def test_progress_is_for_terminals(server):
    """On stderr, once it takes more than a second, and gone when the report comes."""
    master, slave = pty.openpty()
    with subprocess.Popen([WEIR, "profile", "latency", "--url", server, "--model", "sim-fast", "--iterations", "60", "--cold", "0"],
                          stdout=subprocess.PIPE, stderr=slave, text=True, env={**ENV, "TERM": "xterm"}) as p:
        os.close(slave)
        told = p.communicate(timeout=30)[0]
    said = os.read(master, 65536).decode()
    os.close(master)
    assert re.search(r"measuring: \d+ of 63 requests, 0 failed, \d+ in flight", said), said
    assert "measuring:" not in told and "\r\x1b[K" in said


def test_names_of_strangers_are_made_safe(server):
    done = profile("latency", "--url", server, "--model", "sim\x1b[2Jfast", "--iterations", 6, "--cold", 0)
    assert "\x1b" not in done.stdout and "fast" in done.stdout
