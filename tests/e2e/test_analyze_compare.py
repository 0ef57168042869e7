"""`weir analyze --compare-with` against tests/reference/compare.py."""

import datetime
import json
import pathlib
import subprocess
import sys

import pytest

from harness import WEIR

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))
import compare as reference  # noqa: E402
import generate  # noqa: E402

DAY_US = 24 * reference.HOUR_US


def weir(*args):
    done = subprocess.run([WEIR, "analyze", *map(str, args)], capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout[-500:], done.stderr[-2000:])
    return done.stdout.decode()


def micros(text):
    return round(datetime.datetime.fromisoformat(text).timestamp()) * 10**6


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("log") / "requests.log")
    generate.write(path, shape="weir", lines=6000, seed=4, traps=True)
    return path


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("now,before,word", [
    (("2026-11-22T00:00:00+00:00", "2026-11-23T00:00:00+00:00"), ("2026-11-21T00:00:00+00:00", "2026-11-22T00:00:00+00:00"),
     "previous"),
    (("2026-11-23T06:00:00+00:00", "2026-11-23T10:00:00+00:00"), ("2026-11-19T00:00:00+00:00", "2026-11-21T12:00:00+00:00"),
     "2026-11-19T00:00:00Z..2026-11-21T12:00:00Z")])
def test_agrees_with_the_reference(log, threads, now, before, word):
    changes, explained = reference.compare(log, tuple(map(micros, now)), tuple(map(micros, before)))
    mine = json.loads(weir(log, "--since", now[0], "--until", now[1], "--compare-with", word, "--threads", threads,
                           "--format", "json"))["compare"]
    assert {change["what"] for change in mine["changes"]} == set(changes)
    for change in mine["changes"]:
        was, became, p = changes[change["what"]]
        close = {"rel": 0.004, "abs": 0.0065} if change["what"].endswith("_ms") else {"rel": 1e-9}
        assert change["before"] == pytest.approx(was, **close), change
        assert change["now"] == pytest.approx(became, **close), change
        # The ranks of buckets are nearly those of values.
        assert change["p"] == (None if p is None else pytest.approx(p, abs=0.01)), change
    for name, groups in explained.items():
        got = {(group["by"]["model"], group["by"]["provider"]): group for group in mine["explained"][name]}
        assert set(got) == set(groups)
        for key, (was, became, share) in groups.items():
            assert got[key]["before_per_hour"] == pytest.approx(was or 0, rel=1e-6, abs=1e-11), key
            assert got[key]["now_per_hour"] == pytest.approx(became or 0, rel=1e-6, abs=1e-11), key
            assert got[key]["share"] == pytest.approx(share, abs=2e-6), key
            assert (got[key]["new"], got[key]["gone"]) == (was is None, became is None), key
        moved = [round(abs(group["now_per_hour"] - group["before_per_hour"]), 9) for group in mine["explained"][name]]
        assert moved == sorted(moved, reverse=True)


def test_what_changed_is_found_and_explained(tmp_path):
    """On the second day model b fails more and takes twice as long; a stays as it was; c is new."""
    path, lines = tmp_path / "requests.log", []
    for day in (21, 22):
        for i in range(1440):
            worse = day == 22
            calls = [("a", 300, i % 50 == 0, 0.01), ("b", 600 if worse else 300, i % (5 if worse else 50) == 0, 0.01)]
            for model, ms, fails, usd in calls + ([("c", 300, False, 0.5)] if worse and i % 10 == 0 else []):
                lines.append({"timestamp": f"2026-11-{day}T{i // 60:02}:{i % 60:02}:00.000Z", "event": "request",
                              "model": model, "provider": "p", "status": "failure" if fails else "success",
                              "latency_ms": ms + (i * 7919) % 200, "total_tokens": 10, "cost_usd": usd})
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    args = (path, "--since", "2026-11-22T00:00:00Z", "--until", "2026-11-23T00:00:00Z", "--compare-with", "previous")
    mine = json.loads(weir(*args, "--format", "json"))["compare"]
    real = {change["what"] for change in mine["changes"] if change["real"]}
    assert {"error_rate", "latency_p50_ms", "latency_p95_ms"} <= real
    assert "cancelled_rate" not in real
    assert mine["explained"]["errors"][0]["by"]["model"] == "b"
    assert mine["explained"]["time"][0]["by"]["model"] == "b"
    assert (mine["explained"]["cost"][0]["by"]["model"], mine["explained"]["cost"][0]["new"]) == ("c", True)
    text = " ".join(weir(*args, "--color", "never").split())
    assert "More than noise: Error rate +8." in text
    assert "What moved the errors" in text and "What moved the cost" in text
