"""The Locust file against weir, with Locust's newest version and the oldest it says it works with: what Locust counts, the gateway's log
counts too, by model, by outcome, streamed or not; and the exit code is what the thresholds say."""
import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import peers
import pytest
from harness import ROOT, Gateway, Mock, Upstream, config, delta, forever, model, usage_event, wait_for
from load import counted, records, same_in_metrics, simulated
from shared import needs

FILE = ROOT / "scripts/loadtesting/locust/litellm_locustfile.py"
VERSIONS = ["locust", "locust-2.12"]
RUN_S = 60


@pytest.fixture(params=VERSIONS)
def locust(request):
    needs(request.param)
    return request.param


@pytest.fixture(scope="module")
def current():
    needs("locust")
    return "locust"


class Run:
    """A headless run, over."""

    def __init__(self, version, folder, base, *words, env=None):
        self.summary = folder / "run.json"
        whole = [peers.INSTALLED / version / "bin/locust", "-f", FILE, "--host", base, "--headless", "--summary-json", self.summary, *words]
        kept = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8", **(env or {})}
        done = subprocess.run([str(w) for w in whole], capture_output=True, text=True, check=False, cwd=folder, env=kept, timeout=RUN_S)
        self.code, self.said = done.returncode, done.stdout + done.stderr

    def rows(self):
        """{(type, name): row} of the statistics, the row "Aggregated" under ("", "Aggregated")"""
        return {(row["type"], row["name"]): row for row in json.loads(self.summary.read_text())["rows"]}

    def requests(self):
        """{(model, streamed, good): requests}, from the rows of whole requests"""
        found = {}
        for (kind, name), row in self.rows().items():
            match = re.fullmatch(r"chat (\S+)( \(stream\))?", name)
            if kind == "POST":
                found[match[1], bool(match[2]), "success"] = row["requests"] - row["failures"]
                found[match[1], bool(match[2]), "failure"] = row["failures"]
        return {key: count for key, count in found.items() if count}


def base_of(gateway):
    return f"http://127.0.0.1:{gateway.port}"


def count_of(rows, kind, name):
    return rows[kind, name]["requests"] if (kind, name) in rows else 0


# ---- counts ----

def agrees_with_log(run, gateway, left=0):
    """Request for request, part for part. `left`: requests that the end of the run may have cut."""
    found, rows = records(gateway), run.rows()
    same_in_metrics(gateway, found)
    log = {key: count for key, count in counted(found).items() if key[2] != "cancelled"}
    assert run.requests() == log
    assert len(found) - sum(log.values()) <= left
    total = rows["", "Aggregated"]
    assert total["requests"] == sum(log.values())  # tokens are no requests
    assert total["failures"] == sum(count for key, count in log.items() if key[2] == "failure")
    for name in {r["model"] for r in found}:
        streams = [r for r in found if r["model"] == name and r["stream"] and r["status"] == "success"]
        assert count_of(rows, "TTFT", name) == count_of(rows, "E2E", name) == len(streams)
        assert count_of(rows, "ITL", name) == sum(r["completion_tokens"] - 1 for r in streams)
    return found


def test_the_mix_that_the_gateway_offers(locust, weir_simulated, tmp_path):
    gateway = weir_simulated()
    run = Run(locust, tmp_path, base_of(gateway), "-u", "10", "-r", "10", "-t", "4s", "--stop-timeout", "20", "--think-s", "0.1-0.2",
              "--html", tmp_path / "report.html")
    found = agrees_with_log(run, gateway)
    assert {r["model"] for r in found} == {"sim-fast", "sim-slow", "sim-flaky"} and {r["stream"] for r in found} == {True, False}
    assert run.code == any(r["status"] == "failure" for r in found)  # Locust's own rule: 1 where a request failed
    page = (tmp_path / "report.html").read_text()
    assert "chat sim-fast (stream)" in page and "TTFT" in page


def test_many_processes(current, weir_simulated, tmp_path):
    gateway = weir_simulated()
    run = Run(current, tmp_path, base_of(gateway), "-u", "8", "-r", "8", "-t", "4s", "--stop-timeout", "20", "--think-s", "0.05", "--processes", "2",
              "--models", "sim-fast=3,sim-long=1")
    assert run.code == 0 and "2 workers connected" in run.said
    assert len(agrees_with_log(run, gateway)) > 50


def test_what_the_end_of_a_run_cuts_is_cancelled_in_the_log_and_not_counted(locust, weir_simulated, tmp_path):
    gateway = weir_simulated()
    run = Run(locust, tmp_path, base_of(gateway), "-u", "6", "-r", "6", "-t", "4s", "--think-s", "0", "--models", "sim-slow")
    found = agrees_with_log(run, gateway, left=6)
    assert {r["status"] for r in found} == {"success", "cancelled"}


def test_shares_of_the_mix(locust, tmp_path):
    """60, 25 and 15 of 100, each within five standard deviations; so are two models at 60 and 25 of 85."""
    with Mock() as mock:
        names = ("first", "second", "third")
        for count in (3, 2, 1):
            folder = tmp_path / str(count)
            folder.mkdir()
            gateway = simulated(folder, **config(*(model(name, mock.base, "openai/sim-fast") for name in names[:count])))
            gateway.words.append("--no-builtin")
            gateway.start()
            try:
                run = Run(locust, folder, base_of(gateway), "-u", "4", "-r", "4", "-t", "3s", "--stop-timeout", "20", "LiteLLMStressUser")
                found = agrees_with_log(run, gateway)
            finally:
                gateway.finish()
            shares = dict(zip(names[:count], (60, 25, 15)))
            assert run.code == 0 and len(found) > 300 and not any(r["stream"] for r in found)
            for name, share in shares.items():
                p = share / sum(shares.values())
                have = len([r for r in found if r["model"] == name])
                assert abs(have - p * len(found)) <= 5 * (len(found) * p * (1 - p)) ** 0.5


def test_no_two_prompts_alike(current, weir_simulated, tmp_path):
    gateway = weir_simulated(litellm_settings={"logging": {"log_requests": True}})
    Run(current, tmp_path, base_of(gateway), "-u", "4", "-r", "4", "-t", "3s", "--stop-timeout", "20", "--think-s", "0.05",
        "--models", "sim-fast", "--max-tokens", "9", "--prompt-words", "12")
    asked = [r["request"] for r in records(gateway)]
    texts = [a["messages"][0]["content"] for a in asked]
    assert len(set(texts)) == len(texts) > 20 and {a["max_tokens"] for a in asked} == {9}
    assert {len(t.split()) for t in texts} == {14}  # "Continue:", a nonce, twelve words


# ---- times ----

def test_a_stream_is_timed_by_its_tokens(locust, weir_simulated, tmp_path):
    """sim-slow: the first of 16 tokens after 800 ms, then one every 50 ms. Lower bounds only: a busy machine is late, never early."""
    gateway = weir_simulated()
    run = Run(locust, tmp_path, base_of(gateway), "-u", "2", "-r", "2", "-t", "3s", "--stop-timeout", "20", "--think-s", "0",
              "--models", "sim-slow", "--stream-share", "1")
    found, rows = agrees_with_log(run, gateway), run.rows()
    least = {key: row["min_ms"] for key, row in rows.items()}
    assert least["TTFT", "sim-slow"] >= 799 and least["E2E", "sim-slow"] >= 799 + 15 * 50 - 1
    assert least["POST", "chat sim-slow (stream)"] >= least["E2E", "sim-slow"] - 1  # the older Locust keeps whole milliseconds
    assert rows["ITL", "sim-slow"]["average_ms"] >= 45
    assert least["TTFT", "sim-slow"] >= min(r["ttft_ms"] for r in found) - 1


def test_gaps_of_chunks_with_many_tokens_are_not_called_times_of_tokens(current, tmp_path):
    def reply(connection, asked):
        if asked.method == "POST":
            connection.stream(delta("one two three four"), delta(" five six seven eight"), delta(finish="stop"), usage_event(completion=8), "[DONE]")

    upstream = Upstream(forever(reply))
    gateway = Gateway(tmp_path, config(model("chunky", upstream.base))).start()
    try:
        run = Run(current, tmp_path, base_of(gateway), "-u", "1", "-r", "1", "-t", "2s", "--stop-timeout", "20", "--think-s", "0.1", "--stream-share", "1")
        rows, streams = run.rows(), len(records(gateway))
    finally:
        gateway.finish()
        upstream.close()
    assert run.code == 0 and count_of(rows, "ICL", "chunky") == streams > 0 and ("ITL", "chunky") not in rows


# ---- exit codes ----

@pytest.mark.parametrize("name,threshold,code", [
    ("sim-fast", ["--max-fail-ratio", "0", "--max-p95-ms", "30000", "--max-ttft-p95-ms", "30000", "--min-rps", "0.1"], 0),
    ("sim-slow", ["--max-ttft-p95-ms", "700"], 1), ("sim-slow", ["--max-p95-ms", "1000"], 1), ("sim-fast", ["--min-rps", "1000000"], 1),
    ("absent", ["--max-fail-ratio", "0.5"], 1), ("absent", ["--max-fail-ratio", "1"], 0), ("sim-fast", ["--max-ttft-p95-ms", "1", "--stream-share", "0"], 1)])
def test_thresholds_decide_the_exit_code(current, weir_simulated, tmp_path, name, threshold, code):
    gateway = weir_simulated()
    run = Run(current, tmp_path, base_of(gateway), "-u", "2", "-r", "2", "-t", "3s", "--stop-timeout", "20", "--think-s", "0.1", "--models", name, *threshold)
    assert run.code == code, run.said
    assert ("threshold FAILED" in run.said) == (code == 1) and "threshold" in run.said


def test_thresholds_by_environment(locust, weir_simulated, tmp_path):
    gateway = weir_simulated()
    env = {"LITELLM_MODELS": "sim-slow", "LITELLM_MAX_TTFT_P95_MS": "700", "LITELLM_THINK_S": "0.1", "LITELLM_STREAM_SHARE": "1"}
    assert Run(locust, tmp_path, base_of(gateway), "-u", "1", "-r", "1", "-t", "2s", "--stop-timeout", "20", env=env).code == 1
    env["LITELLM_MAX_TTFT_P95_MS"] = "30000"
    assert Run(locust, tmp_path, base_of(gateway), "-u", "1", "-r", "1", "-t", "2s", "--stop-timeout", "20", env=env).code == 0


def test_keys(locust, weir_simulated, tmp_path):
    gateway = weir_simulated(general_settings={"master_key": "sk-load-1234"})
    words = ["-u", "1", "-r", "1", "-t", "2s", "--stop-timeout", "20", "--think-s", "0.1", "--models", "sim-fast"]
    good = Run(locust, tmp_path, base_of(gateway), *words, env={"LITELLM_API_KEY": "sk-load-1234"})
    assert good.code == 0 and sum(good.requests().values()) > 0 and "sk-load-1234" not in good.said
    bad = Run(locust, tmp_path, base_of(gateway), *words, env={"LITELLM_API_KEY": "sk-wrong"})
    assert bad.code == 1 and "HTTP 401" in bad.said and {key[2] for key in bad.requests()} == {"failure"}
    unasked = Run(locust, tmp_path, base_of(gateway), *words[:-2], env={"LITELLM_API_KEY": "sk-wrong"})
    assert unasked.code == 3 and "no models" in unasked.said and "HTTP 401" in unasked.said and "Traceback" not in unasked.said


def test_nobody_there(locust, tmp_path):
    run = Run(locust, tmp_path, f"http://127.0.0.1:{peers.free_port()}", "-u", "2", "-r", "2", "-t", "30s")
    assert run.code == 3 and "Is the gateway running" in run.said and "Traceback" not in run.said


@pytest.mark.parametrize("words,says", [
    (["--models", "a,b,c,d"], "need a share"), (["--models", "a=0"], "above 0"), (["--think-s", "3-1"], "no time")])
def test_options_that_make_no_sense(locust, tmp_path, words, says):
    run = Run(locust, tmp_path, "http://127.0.0.1:9", *words)
    assert run.code == 2 and says in run.said


# ---- the web interface ----

class Web:
    """Locust with its web interface, as a person starts it."""

    def __init__(self, version, folder, base, *words):
        self.port, self.out = peers.free_port(), open(folder / "locust.out", "wb")  # closed with the process
        whole = [peers.INSTALLED / version / "bin/locust", "-f", FILE, "--host", base, "--web-host", "127.0.0.1", "--web-port", self.port, *words]
        self.process = subprocess.Popen([str(w) for w in whole], stdout=self.out, stderr=subprocess.STDOUT, cwd=folder)

    def ask(self, path, **form):
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data, timeout=20) as answer:
            return answer.read().decode()

    def is_up(self):
        try:
            return "<html" in self.ask("/").lower()
        except OSError:
            assert self.process.poll() is None
            return False

    def stop(self):
        try:
            self.ask("/stop", now="1")
        except urllib.error.HTTPError as refused:
            assert refused.code == 405  # older ones want a GET
            self.ask("/stop")

    def stats(self):
        return json.loads(self.ask("/stats/requests"))

    def close(self):
        self.process.terminate()
        code = self.process.wait(30)
        self.out.close()
        return code


def test_the_web_interface(locust, weir_simulated, tmp_path):
    gateway = weir_simulated()
    web = Web(locust, tmp_path, base_of(gateway), "--stop-timeout", "20", "--think-s", "0.1", "--models", "sim-fast,sim-long")
    try:
        wait_for(web.is_up, 30, every_s=0.1)
        assert web.stats()["state"] == "ready"
        assert json.loads(web.ask("/swarm", user_count=4, spawn_rate=4, host=base_of(gateway)))["success"]
        wait_for(lambda: sum(row["num_requests"] for row in web.stats()["stats"] if row["method"] == "TTFT") >= 5, 30, every_s=0.2)
        web.stop()
        wait_for(lambda: web.stats()["state"] == "stopped" and web.stats()["user_count"] == 0, 30, every_s=0.2)
        found, stats = records(gateway), web.stats()["stats"]
        assert {r["status"] for r in found} == {"success"}
        rows = {(row["method"] or "", row["name"]): row["num_requests"] for row in stats}
        streams = len([r for r in found if r["stream"]])
        assert rows["", "Aggregated"] == len(found) and rows["TTFT", "sim-fast"] + rows["TTFT", "sim-long"] == streams
        page = web.ask("/stats/report?download=1")
        assert "chat sim-fast" in page and "</html>" in page
    finally:
        code = web.close()
    assert code == 0
