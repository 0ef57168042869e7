"""--fail-if of `weir analyze`: exit statuses, what is said, and values that are those of the independent reader."""

import collections
import json
import os
import pathlib
import subprocess
import sys

import pytest

from harness import WEIR

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))
import generate  # noqa: E402
import where  # noqa: E402
from analyze import nearest_rank  # noqa: E402


def weir(*args, status=0, **more):
    done = subprocess.run([WEIR, "analyze", *map(str, args)], capture_output=True, check=False, env=os.environ | {"TZ": "UTC"}, **more)
    assert done.returncode == status, (args, done.stdout[-500:], done.stderr[-2000:])
    return done


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "requests.log"
    generate.write(str(path), shape="weir", lines=3000, seed=11)
    return path


def measured(log, bounds, status=1):
    return json.loads(weir(log, "--fail-if", bounds, "--format", "json", status=status).stdout)["thresholds"]


def test_values_are_those_of_the_reference(log):
    records = [record for record, _ in where.requests_of(log)]
    groups = collections.defaultdict(list)
    for record in records:
        groups[record.model, record.provider].append(record)

    def error_rate(some):
        return sum(record.outcome == "failure" for record in some) / len(some)

    ollama = [record for record in records if record.provider == "ollama"]
    llama_or_phi = [record for record in records if record.model.startswith(("llama", "gpt-"))]
    large = {key: some for key, some in groups.items() if len(some) >= 50}
    worst = max(large, key=lambda key: error_rate(large[key]))
    total, scoped, pattern, some, p95, cost = measured(
        log, "error_rate >= 0, error_rate[provider=ollama] >= 0, error_rate[model ~ 'llama*,gpt-*'] >= 0, "
             "any error_rate >= 0 and requests >= 50, p95 > 0, cost_usd > 0")
    assert total["value"] == pytest.approx(error_rate(records), rel=1e-11)
    assert scoped["value"] == pytest.approx(error_rate(ollama), rel=1e-11)
    assert pattern["value"] == pytest.approx(error_rate(llama_or_phi), rel=1e-11)
    assert some["value"] == pytest.approx(error_rate(large[worst]), rel=1e-11)
    assert error_rate(groups[some["group"]["model"], some["group"]["provider"]]) == pytest.approx(some["value"], rel=1e-11)
    latencies = sorted(record.latency_us for record in records if record.latency_us is not None)
    assert p95["value"] == pytest.approx(nearest_rank(latencies, 95) / 1000, rel=1e-11)
    assert cost["value"] == pytest.approx(sum(record.cost_pico or 0 for record in records) / 1e12, rel=1e-11)


def test_the_exit_status_is_for_scripts(log, tmp_path):
    assert weir(log, "--fail-if", "error_rate > 50%").stderr == b""
    done = weir(log, "--fail-if", "error_rate > 50% or requests > 10, requests > 1M", status=1)
    assert done.stderr.startswith(b"weir analyze: --fail-if: requests > 10: 2,")
    assert done.stderr.count(b"\n") == 1
    assert b"Requests" in done.stdout  # the report is told all the same
    weir("-", "--fail-if", "error_rate > 1%", input=b"")
    assert weir("-", "--fail-if", "error_rate > 1%, no_data", status=1, input=b"").stderr == \
        b"weir analyze: --fail-if: no_data: there is nothing to measure by\n"
    weir(tmp_path / "none.log", "--fail-if", "requests >= 0", status=3)
    weir(tmp_path / "none.log", log, "--fail-if", "requests > 0", status=3)  # what could not be read weighs more


def test_filters_come_first(log):
    assert not measured(log, "error_rate >= 100%", status=0)[0]["holds"]
    done = weir(log, "--where", "status = failure", "--fail-if", "error_rate >= 100%", status=1)
    assert b"error_rate >= 100%: 100 %" in done.stderr


def test_names_from_the_log_do_not_reach_the_terminal_raw(tmp_path):
    path = tmp_path / "evil.log"
    path.write_bytes(b'{"event":"request","model":"x\\u001b[2Jy","status":"failure"}\n')
    done = weir(path, "--fail-if", "any error_rate > 5%", status=1)
    assert b"\x1b" not in done.stderr and b"model x" in done.stderr


@pytest.mark.parametrize("bounds,sentence", [
    ("error_rate > 5", b"--fail-if: column 14: expected a share of at most 100%: 5% or 0.05\n  error_rate > 5\n               ^\n"),
    ("latency_p59s > 1", b"did you mean latency_p95?"),
    ("p95[user=x] > 1s", b"column 5: expected a field of --by, such as model"),
])
def test_mistakes_are_shown_with_their_place(log, bounds, sentence):
    assert sentence in weir(log, "--fail-if", bounds, status=2).stderr
