"""`weir analyze` against the slow reference (tests/reference) on generated logs with every trap."""

import contextlib
import csv
import datetime
import gzip
import io
import itertools
import json
import os
import pathlib
import pty
import random
import signal
import subprocess
import sys
import time

import pytest

from harness import WEIR

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))
import analyze as reference  # noqa: E402
import generate  # noqa: E402

SPREADS = ("latency_ms", "ttft_ms", "upstream_ms", "overhead_ms", "queue_ms", "tokens_per_second")
COUNTS = ("requests", "success", "failure", "cancelled", "unknown", "prompt_tokens", "completion_tokens",
          "total_tokens", "cached_tokens", "reasoning_tokens", "attempts", "cache_hits")


def weir(*args, status=0, **more):
    done = subprocess.run([WEIR, "analyze", *map(str, args)], capture_output=True, check=False, **more)
    assert done.returncode == status, (done.stdout[-500:], done.stderr[-2000:])
    return done


def report(*args, **more):
    return json.loads(weir(*args, "--format", "json", **more).stdout)


def same_spread(mine, theirs, where, exact=False):
    if not theirs:
        assert not mine, where
        return
    assert mine["count"] == theirs["count"], where
    for name in ("min", "max"):
        assert mine[name] == pytest.approx(theirs[name], abs=0.011), (where, name)
    assert mine["mean"] == pytest.approx(theirs["mean"], rel=1e-4, abs=0.011), where
    for name in ("p50", "p90", "p95", "p99"):
        within = {"abs": 0.00051} if exact else {"rel": 0.004, "abs": 0.0065}
        assert mine[name] == pytest.approx(theirs[name], **within), (where, name)


def same_group(mine, theirs, where, exact):
    for name in COUNTS:
        assert mine[name] == theirs[name], (where, name)
    assert mine["cost_usd"] == pytest.approx(float(theirs["cost_usd"]), rel=1e-9, abs=1e-12), where
    for name in SPREADS:
        same_spread(mine.get(name), theirs[name], (where, name), exact and name == "latency_ms")
    for name in ("first", "last"):
        assert (mine[name] or "")[:23] == (theirs[name] or "")[:23], (where, name)


def same_report(mine, theirs, by):
    assert mine["input"]["lines"] == theirs["lines"]
    assert mine["input"]["blank"] == theirs["blank"]
    assert mine["input"]["broken"] == theirs["broken"]["count"]
    for shape, count in theirs["shapes"].items():
        assert mine["input"][shape] == count, shape
    if mine["since"] is None and mine["until"] is None:  # weir counts those of the window
        assert mine["input"]["dropped"] == theirs["dropped"]
    assert mine["input"]["outside"] == theirs["left_out"]
    exact = "latency exact" in mine["percentiles"]
    same_group(mine["total"], theirs["total"], "total", exact)
    groups = {tuple(g["by"][f] for f in by): g for g in mine["groups"]}
    assert len(groups) == len(theirs["groups"])
    for group in theirs["groups"]:
        key = tuple(group["key"][f] for f in by)
        same_group(groups[key], group, key, exact)
    errors = {(e["error.type"], e["provider"], e["model"]): e["failure"] for e in mine["errors"]}
    assert errors == {(e["type"], e["provider"], e["model"]): e["count"] for e in theirs["errors"]}
    hours = {t["start"][:19]: t["requests"] for t in mine["timeline"]}
    assert hours == {h["hour"][:19]: h["requests"] for h in theirs["hours"]}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """(shape, traps, seed) -> path, made once."""
    made = {}

    def make(shape, traps, seed=1, lines=4000):
        key = (shape, traps, seed, lines)
        if key not in made:
            path = tmp_path_factory.mktemp("log") / f"{shape}-{traps}-{seed}.log"
            generate.write(str(path), shape=shape, lines=lines, seed=seed, traps=traps)
            made[key] = str(path)
        return made[key]
    return make


@pytest.mark.parametrize("shape,traps,seed", [
    ("weir", False, 1), ("weir", True, 1), ("weir", True, 2), ("litellm", False, 1), ("litellm", True, 1),
    ("litellm", True, 2)])
def test_agrees_with_the_reference(log, shape, traps, seed):
    path = log(shape, traps, seed)
    by = ("model", "provider")
    theirs = reference.analyze([path], by=by)
    for threads in ("1", "3"):
        same_report(report(path, "--timeline", "1h", "--threads", threads), theirs, by)


def test_percentiles_of_latency_are_exact_up_to_a_limit_and_the_report_says_which(log):
    path = log("weir", True)
    theirs = reference.analyze([path], by=("model", "provider"))
    for limit, exact in (("8000", True), ("100", False), ("0", False)):
        mine = report(path, "--timeline", "1h", "--exact", limit)
        assert ("latency exact" in mine["percentiles"]) == exact
        same_report(mine, theirs, ("model", "provider"))
        assert ("within 0.4 %" in weir(path, "--exact", limit).stdout.decode()) != exact


@pytest.mark.parametrize("by", [("key_alias",), ("status", "http_status"), ("upstream_model", "model", "stream")])
def test_groups_by_any_fields(log, by):
    path = log("weir", True)
    theirs = reference.analyze([path], by=by)
    mine = report(path, "--timeline", "1h", "--by", ",".join(by))
    # A number or a boolean is a text in weir's keys.
    text = {None: None, True: "true", False: "false"}
    for group in theirs["groups"]:
        group["key"] = {k: text.get(v, str(v)) if not isinstance(v, str) else v for k, v in group["key"].items()}
    same_report(mine, theirs, by)


def test_broken_lines_are_told_with_their_place(log):
    path = log("weir", True)
    theirs = reference.analyze([path])["broken"]
    first = report(path)["input"]["first_broken"]
    assert [b["line"] for b in first] == list(itertools.chain(*theirs["lines"].values()))[:5]
    assert all(b["file"] == path for b in first)
    text = weir(path).stdout.decode()
    assert f"{path}:{first[0]['line']}:{first[0]['column']}: expected" in text


def test_windows_are_exact(log):
    path = log("weir", False)
    window = {"since": "2026-11-19T12:00:00Z", "until": "2026-11-21T00:00:00Z"}
    theirs = reference.analyze([path], by=("model", "provider"), **window)
    assert theirs["total"]["requests"] > 100
    mine = report(path, "--timeline", "1h", "--since", window["since"], "--until", window["until"])
    same_report(mine, theirs, ("model", "provider"))


def test_packed_files_and_streams_read_the_same(log, tmp_path):
    plain = log("weir", True, lines=3000)
    data = pathlib.Path(plain).read_bytes()
    packed, packed_zstd = tmp_path / "a.log.gz", tmp_path / "a.log.zst"
    half = len(data) // 2
    packed.write_bytes(gzip.compress(data[:half]) + gzip.compress(data[half:]))  # two members, as `cat` makes them
    expected = report(plain)
    sources = [([packed], {}), (["-"], {"input": data}), (["-"], {"input": packed.read_bytes()})]
    if subprocess.run(["sh", "-c", "command -v zstd"], capture_output=True, check=False).returncode == 0:
        subprocess.run(["zstd", "-q", plain, "-o", packed_zstd], check=True)
        sources.append(([packed_zstd], {}))
    for args, more in sources:
        got = report(*args, "--timeline", "1h", **more)
        assert got["total"] == expected["total"]
        assert got["groups"] == expected["groups"]
        assert got["input"]["broken"] == expected["input"]["broken"]


def test_a_packed_file_cut_short_gives_what_it_has(log, tmp_path):
    data = pathlib.Path(log("weir", False)).read_bytes()
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(data)[:-2000])
    done = weir(cut, "--format", "json", status=3)
    assert b"cut short" in done.stderr
    assert json.loads(done.stdout)["total"]["requests"] > 1000


def test_several_files_add_up(log):
    a, b = log("weir", True), log("litellm", True)
    both = report(a, b)
    assert both["total"]["requests"] == report(a)["total"]["requests"] + report(b)["total"]["requests"]
    assert both["input"]["lines"] == report(a)["input"]["lines"] + report(b)["input"]["lines"]


def test_filters(log):
    path = log("weir", False)
    theirs = reference.analyze([path], by=("model",), model="gpt-4o")
    mine = report(path, "--model", "gpt-4o", "--by", "model")
    assert mine["total"]["requests"] == theirs["total"]["requests"] > 0
    names = {g["by"]["model"] for g in report(path, "--model", "gpt-*,!gpt-4o", "--by", "model")["groups"]}
    assert names and all(n.startswith("gpt-") and n != "gpt-4o" for n in names)
    failed = report(path, "--status", "failure")["total"]
    assert failed["requests"] == failed["failure"] == report(path)["total"]["failure"]
    assert report(path, "--status", "5xx", "--by", "http_status")["total"]["requests"] > 0
    assert report(path, "--slow", "5000")["total"]["latency_ms"]["min"] >= 5000


def test_lines_of_any_length_and_at_any_cut(tmp_path):
    """Lines that are longer than a block, and lines at every place relative to a chunk's border."""
    path = tmp_path / "long.log"
    lines = []
    for n in range(3000):
        fill = "x" * (n * 37 % 20011 if n % 100 else 700_000)
        lines.append('{"event":"request","model":"m%d","status":"success","latency_ms":%d,"user":"%s"}\n' % (n % 3, n, fill))
    path.write_text("".join(lines), encoding="utf-8")
    assert path.stat().st_size > 3 * 8 * 1024 * 1024  # several chunks
    for threads in ("1", "4"):
        got = report(path, "--threads", threads, "--by", "model")
        assert got["input"]["lines"] == got["total"]["requests"] == 3000
        assert got["input"]["bytes"] == path.stat().st_size
        assert got["total"]["latency_ms"]["max"] == 2999
        assert [g["requests"] for g in got["groups"]] == [1000, 1000, 1000]


@pytest.mark.parametrize("args,sentence", [
    (["--since", "whenever"], b"--since: expected a moment"),
    (["--last", "2 fortnights"], b"--last: "),
    (["--since", "1h", "--last", "1h"], b"the same thing"),
    (["--since", "now", "--until", "2h"], b"--until: expected a time after --since"),
    (["--by", "modle"], b"did you mean model?"),
    (["--by", "model,provider,user,client"], b"at most 3 fields"),
    (["--timeline", "0m"], b"--timeline: "),
    (["--format", "yaml"], b"expected table, json, csv or markdown"),
])
def test_mistakes_are_told(args, sentence):
    done = weir(*args, status=2)
    assert sentence in done.stderr, done.stderr


def test_a_missing_file_is_told(tmp_path):
    done = weir(tmp_path / "none.log", status=3)
    assert b"cannot open: No such file" in done.stderr
    done = weir(tmp_path, status=3)
    assert b"is a folder" in done.stderr


def test_empty_input_is_an_answer():
    got = report("-", input=b"")
    assert got["input"]["lines"] == 0 and got["total"]["requests"] == 0
    assert b"Requests" in weir("-", input=b"").stdout


def test_the_seeds_name_for_it(log):
    tool = pathlib.Path(__file__).resolve().parents[2] / "scripts/debugging/analyze-logs"
    for option in ([], ["--errors"], ["--performance"], ["--since", "2026-11-20 00:00"]):
        done = subprocess.run([tool, log("weir", False), *option], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert b"Requests" in done.stdout


def test_tables_in_all_formats(log, tmp_path):
    path = log("weir", False)
    text = weir(path).stdout.decode()
    assert "By model, provider" in text and "Errors" in text and "Requests each" in text
    assert "\033[" not in text and "\033[" in weir(path, "--color", "always").stdout.decode()
    out = tmp_path / "report.csv"
    weir(path, "--format", "csv", "--export", out)
    head, *rows = out.read_text().splitlines()
    assert head.startswith("model,provider,requests,failure,error_rate,latency_p50_ms")
    assert len(rows) == 10
    assert "| model " in weir(path, "--format", "markdown").stdout.decode()
    assert "First token p50" in weir(path, "--performance").stdout.decode()
    assert "Prompt" in weir(path, "--tokens").stdout.decode()
    errors = weir(path, "--errors", "--top", "3").stdout.decode()
    assert "error.type" in errors and "more: --top" in errors


@pytest.mark.parametrize("traps", [False, True])
@pytest.mark.parametrize("args", [(), ("--model", "gpt-4o-mini")])
def test_errors_alone_are_the_same_although_most_lines_are_passed_over(log, args, traps):
    """Asked for --errors only, weir reads lines that did not fail no further than their status."""
    path = log("weir", traps)
    theirs = reference.analyze([path], model="gpt-4o-mini" if args else None)
    text = weir(path, "--errors", "--format", "csv", "--top", "10000", *args).stdout.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    mine = {tuple(row[f] or None for f in ("error.type", "provider", "model")): int(row["requests"])
            for row in rows}
    assert mine == {(e["type"], e["provider"], e["model"]): e["count"] for e in theirs["errors"]}
    table = weir(path, "--errors", *args).stdout.decode()
    total = theirs["total"]
    assert "as far as their status" in table
    if not traps:  # nobody looks whether a line that is passed over is sound behind its status
        assert f"{total['requests']:,}: {total['failure']:,} failed" in table


# ---- large files: only what a window needs is read ----

def write_large(path, minutes, order=lambda m: m):
    """A log of 40 MB, `minutes` long, whose stamps are a little out of order, with a broken line each hour."""
    rng = random.Random(5)
    start = datetime.datetime(2026, 11, 20, tzinfo=datetime.timezone.utc)
    per_minute = 40_000_000 // 220 // minutes + 1
    with open(path, "w", encoding="utf-8") as out:
        for minute in map(order, range(minutes)):
            for i in range(per_minute):
                at = start + datetime.timedelta(minutes=minute, seconds=60 * i / per_minute - rng.random() * 200)
                out.write(f'{{"timestamp":"{at:%Y-%m-%dT%H:%M:%S}.{rng.randrange(1000):03}Z","level":"INFO","event":"request",'
                          f'"model":"m{i % 3}","status":"success","latency_ms":{rng.randrange(9999)},"user":"{"x" * 90}"}}\n')
            if minute % 60 == 30:
                out.write("{broken\n")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "large.log"
    write_large(path, 3000)
    return path


def same_window(path, *window):
    """The report of a window, which must be that of a stream: a stream is read from end to end."""
    got = report(path, *window)
    with open(path, "rb") as stream:
        whole = report("-", *window, stdin=stream)
    assert got["total"] == whole["total"]
    assert got["groups"] == whole["groups"]
    assert whole["input"]["skipped_bytes"] == 0
    return got


@pytest.mark.parametrize("since,until", [
    ("2026-11-21T00:00:00Z", "2026-11-21T01:00:00Z"), ("2026-11-22T01:30:00Z", None), (None, "2026-11-20T00:20:00Z"),
    ("2026-11-20T12:00:00.001Z", "2026-11-20T12:00:00.500Z"), ("2026-12-01T00:00:00Z", None),
    (None, "2026-11-01T00:00:00Z"), ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")])
def test_a_window_of_a_large_file_is_found_without_reading_the_rest(large, since, until):
    window = (*(("--since", since) if since else ()), *(("--until", until) if until else ()))
    got = same_window(large, *window)["input"]
    assert got["bytes"] + got["skipped_bytes"] == large.stat().st_size
    whole = since and until and since.startswith("2026-11-01") and until.startswith("2026-12-01")
    assert got["skipped_bytes"] == 0 if whole else got["skipped_bytes"] > large.stat().st_size * 0.8


def test_what_is_broken_in_a_window_is_told_by_its_byte(large):
    got = report(large, "--since", "2026-11-21T00:00:00Z", "--until", "2026-11-21T01:00:00Z")["input"]
    assert got["broken"] == 1
    broken = got["first_broken"][0]
    assert broken["line"] is None
    with open(large, "rb") as file:
        file.seek(broken["byte"])
        assert file.readline() == b"{broken\n"
    text = weir(large, "--since", "2026-11-21T00:00:00Z", "--until", "2026-11-21T01:00:00Z").stdout.decode()
    assert f"line at byte {broken['byte']}, column 2: expected" in text


def test_a_large_file_out_of_order_is_read_whole(tmp_path):
    path = tmp_path / "turned.log"
    write_large(path, 3000, order=lambda minute: (minute + 1500) % 3000)  # an old log behind a newer one
    got = same_window(path, "--since", "2026-11-21T00:00:00Z", "--until", "2026-11-21T01:00:00Z")
    assert got["total"]["requests"] > 0
    assert got["input"]["skipped_bytes"] == 0


# ---- rotated logs ----

@pytest.fixture
def rotated(tmp_path):
    """A log that was rotated twice, a day each."""
    def line(day, hour):
        return (f'{{"timestamp":"2026-11-{day}T{hour:02}:00:00.000Z","event":"request","model":"m{day}",'
                '"status":"success"}\n').encode()
    days = {day: b"".join(line(day, hour) for hour in range(24)) for day in (22, 23, 24)}
    (tmp_path / "r.log").write_bytes(days[24])
    (tmp_path / "r.log.1").write_bytes(days[23])
    (tmp_path / "r.log.2.gz").write_bytes(gzip.compress(days[22]))
    (tmp_path / "r.log.bak").write_bytes(days[22])
    return tmp_path


@pytest.mark.parametrize("since,until,files,requests", [
    (None, None, ["r.log"], 24),
    ("2026-11-24T12:00:00Z", None, ["r.log"], 12),
    ("2026-11-23T12:00:00Z", None, ["r.log.1", "r.log"], 36),
    ("2026-11-20T00:00:00Z", None, ["r.log.2.gz", "r.log.1", "r.log"], 72),
    (None, "2026-11-24T01:00:00Z", ["r.log"], 1)])
def test_rotated_files_come_along_when_the_time_asked_for_is_in_them(rotated, since, until, files, requests):
    window = (*(("--since", since) if since else ()), *(("--until", until) if until else ()))
    got = report(rotated / "r.log", *window)
    assert [pathlib.Path(f).name for f in got["input"]["files"]] == files
    assert got["total"]["requests"] == requests


def test_globs_are_read_in_the_order_of_time(rotated):
    got = report(rotated / "r.log*", "--by", "model")
    assert [pathlib.Path(f).name for f in got["input"]["files"]] == ["r.log.2.gz", "r.log.bak", "r.log.1", "r.log"]
    assert {g["by"]["model"]: g["requests"] for g in got["groups"]} == {"m22": 48, "m23": 24, "m24": 24}
    assert b"no file matches" in weir(rotated / "x*.log", status=2).stderr


# ---- while it reads ----

def slow_stream(pieces, pause_s):
    """A pipe that gives a piece every pause_s seconds, and its process."""
    script = ("import sys,time\n"
              "for piece in sys.argv[2:]:\n"
              "    sys.stdout.write(piece); sys.stdout.flush(); time.sleep(float(sys.argv[1]))\n")
    return subprocess.Popen([sys.executable, "-c", script, str(pause_s), *pieces], stdout=subprocess.PIPE)


def line_of(n):
    return (f'{{"timestamp":"2026-11-24T00:00:{n:02}.000Z","event":"request","model":"m","status":"success",'
            f'"latency_ms":{n + 1}}}\n')


def test_ctrl_c_ends_with_the_report_so_far():
    stream = slow_stream([line_of(n) for n in range(40)], 0.25)
    process = subprocess.Popen([WEIR, "analyze", "-", "--format", "json"], stdin=stream.stdout, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    stream.stdout.close()
    time.sleep(1.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    stream.kill()
    stream.wait()
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["input"]["complete"] is False
    assert 1 <= told["total"]["requests"] < 40
    assert told["total"]["latency_ms"]["max"] == told["total"]["requests"]


def test_a_second_ctrl_c_ends_at_once():
    read_end, write_end = os.pipe()  # nobody ever writes
    process = subprocess.Popen([WEIR, "analyze", "-"], stdin=read_end, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    os.close(read_end)
    os.close(write_end)
    assert process.returncode == -signal.SIGINT


def test_long_work_shows_how_far_it_is_on_a_terminal_only():
    for on_terminal in (True, False):
        stream = slow_stream([line_of(n) for n in range(12)], 0.2)
        terminal, side = pty.openpty()
        process = subprocess.Popen([WEIR, "analyze", "-", "--color", "never"], stdin=stream.stdout, stdout=subprocess.PIPE,
                                   stderr=side if on_terminal else subprocess.PIPE)
        stream.stdout.close()
        out, err = process.communicate(timeout=20)
        os.close(side)
        shown = b""
        if on_terminal:
            with contextlib.suppress(OSError):  # the other side is closed
                while piece := os.read(terminal, 4096):
                    shown += piece
        os.close(terminal)
        stream.wait()
        assert process.returncode == 0
        assert b"Requests  12:" in out
        if on_terminal:
            assert b"\rreading: " in shown
            assert shown.endswith(b"\r\x1b[K")  # and leaves nothing behind
        else:
            assert err == b""
