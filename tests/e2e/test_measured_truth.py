"""weir load against a simulated provider whose own account is the truth: what it says is that, what it could not send is told, and its self-test fits
together. How close it is on a quiet machine is bench/measuring.py's business: here the allowances are those of a busy one."""
import json
import subprocess
import time

import pytest

from harness import ROOT, SANITIZED, WEIR, Mock, Raw, request, wait_for

ALLOWED_MS = 150 if SANITIZED else 25


def load(tmp_path, mock, *words):
    """(exit status, the JSON report, what it said)"""
    export = tmp_path / "report.json"
    done = subprocess.run([str(WEIR), "load", "--url", f"http://127.0.0.1:{mock.port}", "--model", "sim-fast", "--export", str(export), *map(str, words)],
                          capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert export.exists(), done.stderr
    return done.returncode, json.loads(export.read_text()), done.stdout + done.stderr


def ask(mock, method, path, body=None):
    with Raw("127.0.0.1", mock.port) as raw:
        raw.send(request(method, path, json.dumps(body).encode() if body else b"", {"connection": "close"}))
        return raw.answer(method)


def times(mock, query=""):
    return ask(mock, "GET", f"/mock/times{query}").json


def near(said_ms, truth_ns):
    assert said_ms == pytest.approx(truth_ns / 1e6, abs=ALLOWED_MS), f"{said_ms} ms said, {truth_ns / 1e6} ms in truth"


def metric(report, name):
    return report["summary"]["metrics"][name]


def test_whole_answers_take_what_the_provider_says(tmp_path):
    with Mock("--delay-ms", "20", "--times", "5000") as mock:
        _, report, _ = load(tmp_path, mock, "--concurrency", 4, "--requests", 200, "--no-stream")
        truth, said = times(mock), metric(report, "latency")
        assert truth["answers"] == report["summary"]["ok"] == mock.stats()["completed"] == 200
        near(said["p50_ms"], truth["total_ns"]["p50"])
        near(said["max_ms"], truth["total_ns"]["max"])
        assert said["min_ms"] >= 20


def test_tokens_come_when_they_were_sent(tmp_path):
    with Mock("--ttft-ms", "30", "--tokens-per-second", "100", "--tokens", "6", "--times", "5000") as mock:
        _, report, _ = load(tmp_path, mock, "--concurrency", 4, "--requests", 100)
        truth = times(mock)
        assert metric(report, "ttft")["count"] == truth["ttft_ns"]["count"] == 100
        assert metric(report, "icl")["count"] == truth["gap_ns"]["count"] == 500
        near(metric(report, "ttft")["p50_ms"], truth["ttft_ns"]["p50"])
        near(metric(report, "icl")["p50_ms"], truth["gap_ns"]["p50"])
        near(metric(report, "e2e")["p50_ms"], truth["e2e_ns"]["p50"])
        assert metric(report, "ttft")["min_ms"] >= 30


def test_two_kinds_of_answers_are_two_kinds_in_the_report(tmp_path):
    with Mock("--delay-ms", "5", "--slow-share", "0.1", "--slow-ms", "300", "--times", "5000") as mock:
        _, report, _ = load(tmp_path, mock, "--concurrency", 4, "--requests", 200, "--no-stream")
        said = metric(report, "latency")
        assert mock.stats()["slow"] == 20
        assert said["p50_ms"] < 300 <= said["max_ms"]
        assert said["mean_ms"] == pytest.approx(times(mock)["total_ns"]["mean"] / 1e6, abs=ALLOWED_MS)


def test_a_standstill_is_charged_to_all_who_were_due(tmp_path):
    """100 requests/s for 3 s, and one second of them nothing moves: a third of them wait, and the schedule goes on."""
    with Mock("--delay-ms", "5", "--times", "5000") as mock:
        assert ask(mock, "POST", "/mock/freeze", {"ms": 1000, "after_ms": 1000}).status == 200
        _, report, _ = load(tmp_path, mock, "--rate", 100, "--duration", "3s", "--no-stream")
        truth = times(mock, "?rows")
        frozen_ms = (truth["freezes"][0]["end_ns"] - truth["freezes"][0]["begin_ns"]) / 1e6
        came_meanwhile = sum(truth["freezes"][0]["begin_ns"] <= truth["base_ns"] + row[0] < truth["freezes"][0]["end_ns"] for row in truth["rows"])
        said = metric(report, "response")
        assert frozen_ms >= 999
        assert report["summary"]["ok"] == len(truth["rows"]) == 300
        assert 60 <= came_meanwhile <= 140, "they did not stop coming"
        assert said["max_ms"] >= 900
        near(said["max_ms"], max(row[5] - row[0] for row in truth["rows"]))
        assert said["mean_ms"] >= 100, "a third of them waited half a second"


def test_what_was_never_sent_is_told_and_fails_the_run(tmp_path):
    with Mock("--delay-ms", "100") as mock:
        status, report, said = load(tmp_path, mock, "--rate", 500, "--connections", 2, "--duration", "2s", "--no-stream", "--grace", "5s")
        came, dropped = mock.stats()["requests"], report["summary"]["dropped"]
        assert status == 1
        assert came + dropped == 1000
        assert dropped > 800
        assert f"{dropped}" in said.replace(",", ""), said
        assert report["validity"]["client_limited"]


def test_the_self_test_says_good_or_what_to_do(tmp_path):
    done = subprocess.run([str(WEIR), "load", "--self-test", "--format", "json"], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    found = json.loads(done.stdout)
    judged = [e for part in found["loads"] if part["judged"] for e in part["errors"]]
    assert done.stderr == ""
    assert {(e["metric"], e["quantile"]) for e in judged} >= {("latency", "p50"), ("ttft", "p99"), ("icl", "p99")}
    assert done.returncode == {"good": 0, "poor": 1}[found["verdict"]]
    if found["verdict"] == "good":
        assert all(e["holds"] for e in judged)
    else:
        assert found["advice"]
    assert all(part["requests"] > 100 and not part["failed"] for part in found["loads"])


def test_the_provider_stands_still_by_option():
    with Mock("--freeze-ms", "400", "--freeze-after-ms", "100") as mock:
        time.sleep(0.2)
        begun = time.monotonic()
        assert ask(mock, "GET", "/health").status == 200  # answered when it is over
        freezes = wait_for(lambda: mock.stats()["freezes"])
        assert freezes[0]["end_ns"] - freezes[0]["begin_ns"] >= 380e6  # of 400 ms; a worker may notice the beginning late
        assert time.monotonic() - begun < 30
        assert ask(mock, "GET", "/mock/times").status == 404


def test_wrong_options_of_the_account_are_refused():
    for words, expected in ((("--times", "-1"), "--times"), (("--slow-share", "2"), "--slow-share"), (("--freeze-ms", "soon"), "--freeze-ms")):
        done = subprocess.run([str(WEIR), "mock", *words], capture_output=True, text=True, timeout=30, cwd=ROOT, check=False)
        assert done.returncode == 2 and expected in done.stderr
