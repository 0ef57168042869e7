"""--trace, --chains, --limits and the slowest requests of `weir analyze`, against tests/reference/chains.py."""

import json
import pathlib
import random
import shlex
import subprocess
import sys

import pytest

from harness import SANITIZED, WEIR

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))
import chains as reference  # noqa: E402
import generate  # noqa: E402
from analyze import nearest_rank, stamp_text  # noqa: E402


def weir(*args, status=0, **more):
    done = subprocess.run([WEIR, "analyze", *map(str, args)], capture_output=True, check=False, **more)
    assert done.returncode == status, (done.returncode, done.stdout[-500:], done.stderr[-2000:])
    return done


def report(*args, **more):
    return json.loads(weir(*args, "--format", "json", **more).stdout)


def text(*args, **more):
    return weir(*args, **more).stdout.decode()


LOGS = [("chains", "weir", 1), ("chains", "weir", 2), ("chains", "litellm", 1), ("chains", "litellm", 2),
        ("traps", "weir", 1), ("traps", "litellm", 1)]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """(kind, shape, seed) -> path, made once."""
    made = {}

    def make(kind, shape, seed):
        if (kind, shape, seed) not in made:
            path = str(tmp_path_factory.mktemp("log") / f"{kind}-{shape}-{seed}.log")
            if kind == "chains":
                reference.write(path, shape=shape, seed=seed)
            else:
                generate.write(path, shape=shape, lines=4000, seed=seed, traps=True)
            made[kind, shape, seed] = path
        return made[kind, shape, seed]
    return make


def same_median(mine_ms, values_us):
    if not values_us:
        assert mine_ms is None
    else:
        assert mine_ms == pytest.approx(nearest_rank(sorted(values_us), 50) / 1000, rel=0.004, abs=0.001)


def same_usd(mine, pico):
    assert mine == pytest.approx(pico / 1e12, rel=1e-9, abs=2e-12)


# ---- chains ----


def same_groups(mine, theirs, key):
    assert len(mine) == len(theirs)
    for group in mine:
        requests, attempts, retried, saved, failed, wasted_us, pico = theirs[group[key]]
        assert [group[n] for n in ("requests", "attempts", "retried", "saved", "failed_attempts")] \
            == [requests, attempts, retried, saved, failed], group
        assert group["wasted_ms"] == pytest.approx(wasted_us / 1000)
        assert group["amplification"] == (pytest.approx(attempts / requests, abs=1e-6) if requests else None)
        same_usd(group["wasted_usd"], pico)


def same_chains(mine, theirs, top):
    assert (mine["requests"], mine["reached_upstream"], mine["attempts"]) == (theirs.requests, theirs.reached, theirs.attempts)
    assert [[n["requests"], n["success"]] for n in mine["need"]] == theirs.need
    for name, (requests, success, added_us) in (("retry", theirs.retry), ("fallback", theirs.fallback)):
        assert (mine[name]["requests"], mine[name]["success"]) == (requests, success)
        same_median(mine[name]["added_p50_ms"], added_us)
    assert mine["failed_attempts"] == theirs.failed[0]
    assert mine["wasted_ms"] == pytest.approx(theirs.failed[1] / 1000)
    same_usd(mine["wasted_usd"], theirs.failed[2])
    assert list(mine["sessions"].values()) == theirs.sessions
    assert mine["sample_one_in"] == 1
    same_groups(mine["models"], theirs.models, "model")
    same_groups(mine["providers"], theirs.providers, "provider")
    assert len(mine["routes"]) == len(theirs.routes)
    for route in mine["routes"]:
        count, success, pico, added_us = theirs.routes[route["from"], route["to"]]
        assert (route["requests"], route["success"]) == (count, success)
        same_usd(route["cost_usd"], pico)
        same_median(route["added_p50_ms"], added_us)
    assert [(w["attempts"], w["id"]) for w in mine["worst"]] == [(w[0], w[3][:127]) for w in theirs.worst[:top]]


@pytest.mark.parametrize("kind,shape,seed", LOGS)
def test_chains_agree_with_the_reference(log, kind, shape, seed):
    path = log(kind, shape, seed)
    theirs = reference.Chains(path)
    assert theirs.failed[0] > 50
    if kind == "chains":  # the log has what this is about
        assert theirs.retry[0] > 100 and theirs.fallback[0] > 50 and len(theirs.worst) > 150
        assert shape == "weir" or theirs.sessions[0] > 5
    for threads in ("1", "3"):
        same_chains(report(path, "--chains", "--top", "50", "--threads", threads)["chains"], theirs, 50)


def test_chains_are_told(log):
    told = text(log("chains", "weir", 1), "--chains", "--top", "3")
    for words in ("Retries and fallbacks", "a request", "by fallback", "4 or more", "Fell back from", "Most attempts",
                  "The first one in full: weir analyze "):
        assert words in told
    command = told.split("The first one in full: ")[1].splitlines()[0]
    found = subprocess.run([WEIR, *shlex.split(command)[1:]], capture_output=True, check=True)
    assert b"attempt" in found.stdout


@pytest.mark.heavy
def test_many_traces_become_a_sample(tmp_path):
    """What the sample says of the whole is near the truth, and the same however the work was divided."""
    path, rng = tmp_path / "many.log", random.Random(5)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(300_000):
            trace, failed = f"{rng.getrandbits(64):016x}", number % 10 == 0
            for status in (["failure"] if failed else []) + ["success"]:
                file.write('{"id":"%d","trace_id":"%s","status":"%s","custom_llm_provider":"p","model":"m",'
                           '"startTime":%d,"endTime":%d}\n' % (number, trace, status, number + (status == "success"),
                                                              number + 2 + (status == "success")))
    one, three = (report(path, "--chains", "--threads", n)["chains"] for n in ("1", "3"))
    assert one == three
    assert one["sample_one_in"] == 4 and one["failed_attempts"] == 30_000
    assert one["requests"] * 4 == pytest.approx(300_000, rel=0.02)
    assert one["retry"]["requests"] / one["requests"] == pytest.approx(0.1, rel=0.05)
    assert "1 in 4" in text(path, "--chains")


# ---- traces ----


def some_ids(path, rng, count=6):
    records = reference.records_of(path)
    ids = [r.request_id for r in rng.sample(records, count) if r.request_id]
    return ids + [r.trace_id for r in rng.sample(records, count) if r.trace_id]


def line_of(record):
    return (stamp_text(record.time_us)[:23] if record.time_us is not None else "", record.request_id, record.provider,
            record.latency_us, record.error_type)


def told_line(line):
    record = line["record"]
    return ((record.get("timestamp") or "")[:23], record.get("request_id"), record.get("provider"),
            None if "latency_ms" not in record else round(record["latency_ms"] * 1000), record.get("error.type"))


@pytest.mark.parametrize("kind,shape,seed", LOGS)
def test_traces_agree_with_the_reference(log, kind, shape, seed):
    path = log(kind, shape, seed)
    for identity in list(some_ids(path, random.Random(seed)))[:4 if SANITIZED else None]:
        for wanted in (identity, identity[:10], identity[:5]):
            found, records, candidates = reference.trace(path, wanted)
            for threads in ("1", "3"):
                got = report(path, f"--trace={wanted}", "--threads", threads, status=0 if found else 1)["trace"]
                assert got["found"] == (found is not None) and got["id"] == found and got["wanted"] == wanted
                assert sorted(map(str, map(told_line, got["lines"]))) == sorted(map(str, map(line_of, records)))
                assert got["line_count"] == len(records)
                assert {c["id"]: c["lines"] for c in got["candidates"]} == dict(sorted(candidates.items())[:1000])
                starts = [line["start"] for line in got["lines"] if line["start"]]
                assert starts == sorted(starts)
                for line in got["lines"]:
                    assert sum(line["parts_ms"].values()) == pytest.approx(line["record"].get("latency_ms", 0), abs=0.01)


def write_lines(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def one(tmp_path):
    return write_lines(
        tmp_path / "one.log",
        {"timestamp": "2026-11-24T10:00:00.400Z", "event": "attempt", "request_id": "req-abcdef-1", "model": "m", "provider": "p1",
         "status": "failure", "latency_ms": 400, "upstream_ms": 400,
         "error": {"type": "upstream_error", "provider_status": 500, "message": "key sk-ant-api03-SECRETSECRETSECRETSECRET is \x1b[31mbad"}},
        {"timestamp": "2026-11-24T10:00:01.400Z", "event": "request", "request_id": "req-abcdef-1", "model": "m", "provider": "p2",
         "status": "success", "http_status": 200, "latency_ms": 1400, "ttft_ms": 900, "upstream_ms": 900, "queue_ms": 500,
         "attempts": 2, "key_hash": "0123456789abcdef0123", "request": {"prompt": "my words"}, "response": {"text": "its words"}},
        {"timestamp": "2026-11-24T10:00:02.000Z", "event": "request", "request_id": "req-abcxyz-2", "status": "success"})


def test_a_trace_is_drawn(one):
    told = text(one, "--trace", "req-abcdef-1", env={"COLUMNS": "100", "LC_ALL": "C.UTF-8"})
    lines = told.splitlines()
    request, = [line for line in lines if line.startswith(" 1 request p2")]
    attempt, = [line for line in lines if line.startswith(" 2 attempt p1")]
    bar = request[31:]
    shares = {glyph: bar.count(glyph) / len(bar) for glyph in "░▒█"}
    assert shares == {"░": pytest.approx(5 / 14, abs=0.03), "▒": pytest.approx(4 / 14, abs=0.03),
                      "█": pytest.approx(5 / 14, abs=0.03)}
    assert attempt[31:] == "▓" * len(attempt[31:]) and len(attempt[31:]) / len(bar) == pytest.approx(4 / 14, abs=0.03)
    assert "░ queue   ▒ first token   █ generation   ▓ upstream" in told
    assert "upstream_error 500" in told and "success 200" in told and "0123456789ab…" in told


def test_a_trace_keeps_secrets_and_content(one):
    for more in ([], ["--format", "markdown"], ["--format", "json"]):
        told = text(one, "--trace", "req-abcdef-1", *more)
        assert "SECRETSECRET" not in told and "sk-ant-" in told and "\x1b[31m" not in told
        assert "my words" not in told and "its words" not in told
        shown = text(one, "--trace", "req-abcdef-1", "--show-content", *more)
        assert "my words" in shown and "its words" in shown
    assert "not shown: --show-content" in text(one, "--trace", "req-abcdef-1")


def test_litellms_messages_are_content(tmp_path):
    path = write_lines(tmp_path / "l.log", {"id": "chatcmpl-1", "trace_id": "t-000001", "status": "success", "startTime": 1.5,
                                            "endTime": 2.5, "messages": [{"role": "user", "content": "my words"}]})
    assert "my words" not in text(path, "--trace", "t-000001")
    assert "my words" in text(path, "--trace", "t-000001", "--show-content")
    assert "All of its trace: " in text(path, "--trace", "chatcmpl-1")


def test_an_id_that_is_not_there(one):
    told = text(one, "--trace", "nowhere", status=1, env={"TZ": "UTC"})
    assert "Not found\nnowhere is no request_id or trace_id in the 3 lines from 2026-11-24" in told
    assert "without --since" in text(one, "--trace", "nowhere", "--since", "2026-11-01", status=1)
    assert "at least 6 letters" in text(one, "--trace", "req-a", status=1)
    several = text(one, "--trace", "req-abc", status=1)
    assert "Several ids begin with req-abc" in several and "req-abcdef-1" in several and "req-abcxyz-2" in several
    assert "req-abcdef-1" in text(one, "--trace", "req-abcd")


def test_a_trace_of_too_many_lines(tmp_path):
    path = tmp_path / "session.log"
    with open(path, "w", encoding="utf-8") as file:
        for number in random.Random(1).sample(range(5000), 5000):
            file.write('{"id":"c%d","trace_id":"session","status":"success","startTime":%d,"endTime":%d}\n'
                       % (number, 1_795_000_000 + number, 1_795_000_001 + number))
    for threads in ("1", "3"):
        got = report(path, "--trace", "session", "--threads", threads)["trace"]
        assert got["line_count"] == 5000
        assert [line["record"]["request_id"] for line in got["lines"]] == [f"c{n}" for n in range(1000)]
    assert "5,000 lines have this id: these are the earliest 1000" in text(path, "--trace", "session")


def test_the_next_command_is_quoted_for_a_shell(tmp_path):
    evil = "x'; touch /tmp/owned; echo $(id) `id`"
    path = write_lines(tmp_path / "a log's.log", {"event": "request", "request_id": evil, "status": "success", "latency_ms": 5})
    command = report(path, "--performance")["slowest"][0]["next"]
    assert shlex.split(command) == ["weir", "analyze", str(path), "--trace", evil]
    assert report(path, "--trace", evil)["trace"]["found"]


# ---- slowest ----


@pytest.mark.parametrize("kind,shape,seed", LOGS)
def test_slowest_agree_with_the_reference(log, kind, shape, seed):
    path = log(kind, shape, seed)
    theirs = [(r.latency_us, r.request_id or None, r.model or None, r.provider or None, r.total_tokens,
               None if r.ttft_us is None else r.ttft_us, r.outcome) for r in reference.slowest(path, 40)]
    assert len(theirs) == 40
    for threads in ("1", "3"):
        mine = report(path, "--performance", "--top", "40", "--threads", threads)["slowest"]
        assert [(round(m["latency_ms"] * 1000), m["request_id"], m["model"], m["provider"], m["total_tokens"],
                 None if m["ttft_ms"] is None else round(m["ttft_ms"] * 1000), m["status"]) for m in mine] == theirs
        for m in mine:
            assert sum(m["parts_ms"].values()) == pytest.approx(m["latency_ms"], abs=0.01)
    assert "Slowest requests" in text(path, "--performance")


# ---- limits ----


def same_limit(mine, theirs):
    peak, p95, passed, hit, now, estimate = theirs
    assert (mine["peak"], mine["p95"], mine["passed"], mine["now"]) == (peak, p95, passed, now)
    assert mine["hit"] == (hit or None)
    assert mine["estimate"] == (estimate if estimate is not None else None)
    if estimate:
        assert mine["headroom"] == pytest.approx(1 - now / estimate, abs=1e-6)


def same_rates(mine, cells, rates):
    sums = [sum(cell[i] for cell in cells.values()) for i in range(4)]
    assert [mine[n] for n in ("sent", "tokens", "provider_429", "gateway_429")] == sums
    assert mine["minutes"] == sum(cell[0] > 0 for cell in cells.values())
    limited = {minute: cell for minute, cell in cells.items() if cell[2] or cell[3]}
    assert mine["minutes_429"] == len(limited)
    assert [(m["minute"][:19], [m["sent"], m["tokens"], m["provider_429"], m["gateway_429"]]) for m in mine["limited_minutes"]] \
        == [(stamp_text(minute * 60_000_000)[:19], cell) for minute, cell in sorted(limited.items())][:1000]
    same_limit(mine["rpm"], rates.limit(cells, 0))
    same_limit(mine["tpm"], rates.limit(cells, 1))


@pytest.mark.parametrize("kind,shape,seed", LOGS)
def test_limits_agree_with_the_reference(log, kind, shape, seed):
    path = log(kind, shape, seed)
    rates = reference.Rates(path)
    assert sum(cell[2] for cells in rates.wholes.values() for cell in cells.values()) > 10
    assert sum(cell[3] for cells in rates.wholes.values() for cell in cells.values()) > 3
    for threads in ("1", "3"):
        mine = report(path, "--limits", "--top", "1000", "--threads", threads)["limits"]
        assert mine["left_out"] == 0
        assert {p["provider"] for p in mine["providers"]} == set(rates.wholes)
        for provider in mine["providers"]:
            same_rates(provider, rates.wholes[provider["provider"]], rates)
        assert {(p["key"], p["key_is_hash"], p["provider"]) for p in mine["keys"]} == set(rates.cells)
        for pair in mine["keys"]:
            same_rates(pair, rates.cells[pair["key"], pair["key_is_hash"], pair["provider"]], rates)


def test_the_limit_is_found(log):
    """The generator's openai lets 60 requests a minute through."""
    for shape in ("weir", "litellm"):
        mine = report(log("chains", shape, 1), "--limits")["limits"]
        openai, = [p for p in mine["providers"] if p["provider"] == "openai"]
        assert openai["limited_by"] in ("requests", "requests or tokens") and openai["rpm"]["estimate"] == 60
        assert any("about 60 requests" in hint for hint in mine["hints"])
        assert any("the gateway refused" in hint for hint in mine["hints"])


def test_limits_are_compared_with_the_configuration(log, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("model_list:\n"
                      "  - model_name: gpt-4o\n    litellm_params: {model: openai/gpt-4o, api_key: k, rpm: 70, tpm: 1000}\n"
                      "  - model_name: gpt-4o-mini\n    litellm_params: {model: openai/gpt-4o-mini, api_key: k, rpm: 50, tpm: 500}\n"
                      "  - model_name: claude\n    litellm_params: {model: groq/llama, api_key: k}\n", encoding="utf-8")
    path = log("chains", "weir", 1)
    mine = report(path, "--limits", "--config", config)["limits"]
    by_name = {p["provider"]: p for p in mine["providers"]}
    assert (by_name["openai"]["configured_rpm"], by_name["openai"]["configured_tpm"]) == (120, 1500)
    assert by_name["groq"]["configured_rpm"] is None
    assert any("the configuration says rpm: 120, and about 60 is what passes" in hint for hint in mine["hints"])
    assert any("more than the configured tpm: 1,500" in hint for hint in mine["hints"])
    told = text(path, "--limits", "--config", config, env={"COLUMNS": "160"})
    assert "Set rpm" in told and "no 429" in told
    done = weir(path, "--limits", "--config", tmp_path / "none.yaml", status=2)
    assert b"--config: " in done.stderr


@pytest.mark.parametrize("option", ["--chains", "--limits", "--performance", "--trace=abcdefgh"])
def test_an_empty_log_is_an_answer(option):
    for form in ("table", "json", "markdown"):
        weir("-", option, "--format", form, input=b"", status=1 if "trace" in option else 0)
