"""weir load: what was asked for is what was sent, counted three times (report, log, provider); thresholds decide; reports add up."""
import csv
import io
import json
import re
import signal
import socket
import subprocess
import xml.etree.ElementTree as xml

import pytest

from harness import PATIENCE_S, WEIR, Gateway, Mock, Process, config, model, wait_for

SECRET = "sk-load-secret"


@pytest.fixture(scope="module")
def mock():
    with Mock("--ttft-ms", "5", "--tokens-per-second", "1000", "--tokens", "6", "--workers", "1") as m:
        yield m


@pytest.fixture(scope="module")
def faulty():
    with Mock("--fault", "status=503", "--tokens", "4") as m:
        yield m


@pytest.fixture
def load(tmp_path, mock):
    def run(*words, status=0, url=None, env=None):
        """Its report as JSON (of --export), standard output, standard error."""
        report = tmp_path / "report.json"
        report.unlink(missing_ok=True)
        target = [] if url == "" else ["--url", url or mock.base]
        p = Process(tmp_path, [], env)
        done = subprocess.run([str(WEIR), "load", *map(str, words), *target, "--export", str(report)], capture_output=True,
                              text=True, cwd=tmp_path, env=p.env, stdin=subprocess.DEVNULL, timeout=6 * PATIENCE_S)
        assert is_expected(done, status), f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        done.json = json.loads(report.read_text()) if report.exists() else None
        return done

    return run


@pytest.fixture
def weir_serve(tmp_path):
    started = []

    def start(settings):
        folder = tmp_path / "gateway"
        folder.mkdir()
        started.append(Gateway(folder, settings))
        return started[0].start()

    yield start
    for gateway in started:
        gateway.finish()


def is_expected(done, status):
    """A machine that stands still while tests run makes a good run a client-limited one, which is right to say so."""
    limited = done.returncode == 1 and "client-limited" in done.stderr and "threshold failed" not in done.stderr
    return done.returncode == status or (status == 0 and limited)


def provider_count(mock):
    return mock.stats()["requests"]


def weir(*words, status=0):
    done = subprocess.run([str(WEIR), *map(str, words)], capture_output=True, text=True, timeout=6 * PATIENCE_S)
    assert is_expected(done, status), f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def write(path, text):
    path.write_text(text)
    return path


# ---- counts ----

def test_users_send_as_many_as_asked_and_all_counts_agree(load, mock, tmp_path):
    before = provider_count(mock)
    done = load("-c", 4, "-n", 150, "--log", "load.log", "--mix", "a=60,b=25,c=15", "--seed", 7)
    s = done.json["summary"]
    assert (s["requests"], s["ok"], s["failed"], s["dropped"]) == (150, 150, 0, 0)
    assert provider_count(mock) - before == 150
    records = [json.loads(line) for line in (tmp_path / "load.log").read_text().splitlines()]
    assert len(records) == 150 and all(r["event"] == "request" and r["status"] == "success" for r in records)
    by_model = {m["name"]: m["requests"] for m in done.json["models_measured"]}
    assert sum(by_model.values()) == 150 and by_model["a"] > by_model["b"] > by_model["c"] > 0
    assert {m: sum(r["model"] == m for r in records) for m in by_model} == by_model
    assert s["completion_tokens"] == 150 * 6 == sum(r["completion_tokens"] for r in records)
    assert s["metrics"]["ttft"]["count"] == 150
    assert done.json["scenario"]["open_loop"] is False
    # ... and weir analyze reads what was logged
    read = json.loads(weir("analyze", tmp_path / "load.log", "--format", "json").stdout)
    assert read["total"]["requests"] == 150


def test_a_rate_is_kept_and_both_latencies_are_told(load):
    done = load("--rate", 150, "--duration", "1s", "--poisson", "--model", "m", "--slo", "ttft=10s", "--seed", 3)
    s, account = done.json["summary"], done.json["account"]
    assert account["offered"] == account["sent"] == s["requests"] and account["dropped"] == 0
    assert 100 < s["requests"] < 200  # Poisson: 150 +- 4 sd
    assert s["metrics"]["response"]["count"] == s["metrics"]["latency"]["count"] == s["ok"]
    assert s["metrics"]["response"]["p50_ms"] >= s["metrics"]["latency"]["p50_ms"]
    assert s["good_share"] == 1
    for text in ("Never sent", "Total, from due", "TTFT, from due", "What the numbers mean", "Goodput"):
        assert text in done.stdout
    again = load("--rate", 150, "--duration", "1s", "--poisson", "--model", "m", "--seed", 3, "-q")
    assert again.json["summary"]["requests"] == s["requests"], "equal seeds, equal arrivals"
    assert again.json["scenario"]["hash"] == done.json["scenario"]["hash"]


def test_what_is_due_and_not_sent_is_never_hidden(load):
    with Mock("--delay-ms", "400") as slow:
        done = load("--rate", 40, "--duration", "1s", "--connections", 1, "--grace", "600ms", "--threshold",
                    "dropped count = 0", url=slow.base, status=1)
    dropped = done.json["summary"]["dropped"]
    assert dropped > 0 and done.json["account"]["offered"] == done.json["account"]["sent"] + dropped == 40
    assert re.search(rf"Never sent +{dropped} ", done.stdout)
    assert "threshold failed: dropped count = 0" in done.stderr and "client-limited" in done.stderr
    assert sum(done.json["asked"]["never_sent"]) == dropped


def test_fresh_connections_are_not_reused(load):
    done = load("-c", 2, "-n", 20, "--fresh-connections", "-q")
    assert done.json["summary"]["on_kept_connections"] == 0
    assert done.json["summary"]["metrics"]["connect"]["count"] == 20


# ---- scenarios ----

SCENARIO = """\
name: small
key: os.environ/LOAD_TEST_KEY
models: {a: 3, b: 1}
prompts: {tokens: 20, max_tokens: 4}
stages:
  - {name: warm, users: 2, duration: 500ms, warm_up: true}
  - {name: steady, rate: 50, duration: 1s}
  - {name: burst, rate: 40, burst: 10, requests: 40}
slo: {ttft: 5s}
thresholds:
  - errors < 1%
  - latency[stage=steady] max < 10s
  - goodput > 90%
threads: 2
seed: 11
"""


def test_a_scenario_runs_as_written(load, tmp_path):
    done = load(write(tmp_path / "small.yaml", SCENARIO), "--html", "page.html", "--junit", "junit.xml",
                env={"LOAD_TEST_KEY": SECRET})
    stages = {s["name"]: s for s in done.json["stages"]}
    assert stages["steady"]["requests"] == 50 and stages["burst"]["requests"] == 40
    assert done.json["summary"]["requests"] == 90 and done.json["warm_up"]["requests"] > 0
    assert [s["name"] for s in done.json["scenario"]["stages"]] == ["warm", "steady", "burst"]
    assert [t["verdict"] for t in done.json["thresholds"]] == ["held"] * 3
    page, junit = (tmp_path / "page.html").read_text(), (tmp_path / "junit.xml").read_text()
    for text in (page, junit, done.stdout, done.stderr, json.dumps(done.json)):
        assert SECRET not in text
    suite = xml.fromstring(junit).find("testsuite")
    assert suite.get("name") == "small" and int(suite.get("tests")) > 3
    assert not [c for c in suite.iter("testcase") if c.get("classname") == "thresholds" and c.find("failure") is not None]
    assert "<script" not in page and not re.search(r"(src|href)=\"?(https?:)?//", page)
    assert "Load test: small" in page and page.count("<figure") == page.count("</figure>") > 5


def test_options_go_before_the_file(load, tmp_path):
    env, options = {"LOAD_TEST_KEY": SECRET}, ("-c", 2, "-n", 10, "--model", "other", "--name", "mine", "--max-tokens", 2)
    done = load(write(tmp_path / "small.yaml", SCENARIO), *options, env=env, status=2)
    assert "there is no stage \"steady\": options replaced the stages of the file" in done.stderr
    without = SCENARIO.replace("  - latency[stage=steady] max < 10s\n", "")
    done = load(write(tmp_path / "small.yaml", without), *options, env=env)
    assert done.json["summary"]["requests"] == 10 and done.json["models"] == ["other"]
    assert done.json["scenario"]["name"] == "mine" and done.json["summary"]["completion_tokens"] == 20


def test_every_mistake_of_a_scenario_is_told_with_its_place(load, tmp_path):
    bad = write(tmp_path / "bad.yaml", "modles: {a: 1}\nstages:\n  - {users: 2, duration: 5}\n  - {rate: 3}\n"
                                       "thresholds: [latncy p95 < 3]\n")
    done = load(bad, status=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("weir load: ")]
    places = [re.search(r"bad\.yaml:(\d+):(\d+): ", line).groups() for line in lines]
    assert places == [("1", "1"), ("3", "26"), ("4", "5"), ("5", "14")]
    assert "did you mean models?" in lines[0] and "with its unit" in lines[1] and "did you mean latency?" in done.stderr
    assert "sk-" not in done.stderr


@pytest.mark.parametrize("words, says", [
    (["--rate", "5", "--concurrency", "5"], "--concurrency and --rate"),
    (["--stages", "10s"], "--stages: expected stages as time:number"),
    (["--mix", "a=0"], "--mix: expected a weight above 0"),
    (["--threshold", "latency p95"], "--threshold: column 12: expected <"),
    (["--threshold", "goodput > 1%"], "--slo"),
    (["--threshold", "achieved > 99%"], "--rate"),
    (["--threshold", "p95[model=x] < 1", "--model", "y"], "there is no model \"x\""),
    (["--poisson"], "--rate"),
    (["--speed", "2"], "--replay"),
    (["--rate", "0"], "--rate: expected a number above 0"),
    (["--duration", "30"], "--duration: "),
    (["--slo", "ttfb=1s"], "--slo: "),
    (["--export", "x.pdf"], ".hgrm"),
    (["a.yaml", "b.yaml"], "expected one scenario"),
])
def test_mistakes_on_the_command_line(load, words, says):
    done = load(*words, status=2)
    assert says in done.stderr and done.json is None, done.stderr


def test_where_nothing_can_be_written_nothing_is_measured(load, mock, tmp_path):
    before = provider_count(mock)
    for words in (["--html", "nowhere/x.html"], ["--junit", str(tmp_path)], ["--log", "nowhere/x.log"]):
        done = load("-n", 5, "--model", "m", *words, status=3)
        assert words[0] in done.stderr and words[1] in done.stderr
    assert provider_count(mock) == before


# ---- judging ----

def test_a_failed_threshold_is_named_and_one_without_samples_fails_too(load, tmp_path):
    done = load("-c", 1, "-n", 30, "--threshold", "p(50)<0.001, p(99)<10s", "--threshold", "errors < 1%", "--junit", "j.xml",
                status=1)
    assert "threshold failed: p(50)<0.001: it is " in done.stderr
    assert "p(99)<10s: p99 needs 368 values, and there are 30" in done.stderr
    assert [t["verdict"] for t in done.json["thresholds"]] == ["failed", "refused", "held"]
    suite = xml.fromstring((tmp_path / "j.xml").read_text()).find("testsuite")
    failed = [c.get("name") for c in suite.iter("testcase") if c.find("failure") is not None]
    assert failed[:2] == ["p(50)<0.001", "p(99)<10s"] and done.json["passed"] is False


def test_a_threshold_ends_the_run(load, faulty):
    done = load("-c", 2, "-d", "60s", "--threshold", "errors < 10% abort after 500ms", url=faulty.base, status=1)
    assert "the threshold errors < 10% abort after 500ms ends the run" in done.stderr
    assert done.json["account"]["duration_s"] < 30 and done.json["thresholds"][0]["ended_the_run"]
    assert done.json["failures"][0]["outcome"] == "http_5xx" and "Ended early" in done.stdout


def test_a_warm_up_is_not_in_what_ends_the_run(load):
    """Its seconds are no seconds of the measured stages: a rate that is kept would look like a third of itself."""
    done = load("--rate", 60, "--warmup", "2s", "-d", "2s", "--threshold", "requests rate > 40 abort", status=0)
    assert "ends the run" not in done.stderr and done.json["thresholds"][0]["verdict"] == "held"


def test_who_is_only_slow_was_reached(load):
    with Mock("--delay-ms", "60000") as slow:
        done = load("--rate", 20, "--connections", 1, "-d", "1s", "--grace", "100ms", url=slow.base, status=1)
    assert done.json["summary"]["outcomes"]["cancelled"] == 1 and done.json["summary"]["outcomes"]["dropped"] > 1
    assert "no request reached the server" not in done.stderr and "no request was answered well" in done.stderr


def test_ctrl_c_ends_the_wait_for_the_list_of_models(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        p = Process(tmp_path, ["load", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}", "-d", "1s"]).launch()
        with silent.accept()[0] as asked:
            assert asked.recv(4)
            p.signal(signal.SIGINT)
            assert p.wait() in (-signal.SIGINT, 128 + signal.SIGINT)


def test_nobody_there_is_unreachable(load):
    done = load("-c", 1, "-n", 3, "--model", "m", url="http://127.0.0.1:1", status=3)
    assert "no request reached the server" in done.stderr


def test_ctrl_c_ends_with_the_report_so_far(mock, tmp_path):
    p = Process(tmp_path, ["load", "--url", mock.base, "--rate", 50, "-d", "60s", "--format", "json"]).launch()
    wait_for(lambda: "00:05" in p.said(), 3 * PATIENCE_S)
    p.signal(signal.SIGINT)
    assert p.wait() == 0 or "client-limited" in p.said()
    report = json.loads(p.said("stdout"))
    assert report["cut_short"] is True and 200 < report["summary"]["requests"] < 1500
    assert "stopping" in p.said()
    line = next(x for x in p.said().splitlines() if x.startswith("00:05"))
    for text in ("asked 50/s", "sent ", "in flight", "latency  p50", "TTFT  p50"):
        assert text in line


def test_ctrl_c_again_ends_what_is_in_flight(tmp_path):
    with Mock("--delay-ms", "60000") as slow:
        p = Process(tmp_path, ["load", "--url", slow.base, "-c", 3, "-d", "60s", "--format", "json", "-q", "--model", "m"])
        p.launch()
        wait_for(lambda: slow.stats()["requests"] == 3)
        p.signal(signal.SIGINT)
        wait_for(lambda: "stopping" in p.said())
        p.signal(signal.SIGINT)
        p.wait()
    report = json.loads(p.said("stdout"))
    assert report["cut_short"] and report["summary"]["cancelled"] == report["summary"]["requests"] == 3


def test_the_gateways_log_has_as_many(load, weir_serve, mock, tmp_path):
    gateway = weir_serve(config(*(model(n, mock.base, "openai/sim-fast") for n in ("a", "b"))))
    done = load("--rate", 100, "-d", "1s", "--mix", "a=2,b=1", "--poisson", url=f"http://127.0.0.1:{gateway.port}")
    records = gateway.requests(done.json["summary"]["requests"])
    bad = [r for r in records if r["status"] != "success"]
    assert not bad and not done.json["summary"]["failed"], (bad[:2], done.json["failures"])
    for m in done.json["models_measured"]:
        assert sum(r["model"] == m["name"] for r in records) == m["requests"]
    assert sum(r["completion_tokens"] for r in records) == done.json["summary"]["completion_tokens"]


# ---- formats ----

def test_all_formats_say_the_same(load, tmp_path):
    files = {k: tmp_path / f"out.{k}" for k in ("csv", "md", "hgrm", "html")}
    done = load("-c", 2, "-n", 80, "--mix", "a,b", *[w for f in files.values() for w in ("--export", f)])
    rows = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
    total = {r["metric"]: r for r in rows if r["scope"] == "total"}
    latency = done.json["summary"]["metrics"]["latency"]
    assert float(total["latency"]["p50"]) == pytest.approx(latency["p50_ms"], rel=1e-6)
    assert total["latency"]["p99"] == "" and latency["p99_ms"] is None and total["ttft"]["count"] == "80"
    assert sorted(r["name"] for r in rows if r["scope"] == "model" and r["metric"] == "ttft") == ["a", "b"]
    assert "| Total, from due" in files["md"].read_text()
    hgrm = files["hgrm"].read_text()
    assert hgrm.splitlines()[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert re.search(r"Total count += +80", hgrm)


# ---- several processes ----

def test_reports_add_up(mock, tmp_path):
    both = [Process(tmp_path, ["load", "--url", mock.base, "--rate", 40, "-d", "2s", "--model", "m", "-q", "--export",
                               tmp_path / f"{n}.json", "--threshold", "errors < 1%", "--threshold", "requests >= 150"])
            for n in "ab"]
    for p in both:
        p.launch()
    assert [p.wait() for p in both] == [1, 1], "each alone has too few requests"
    done = weir("load", "merge", tmp_path / "a.json", tmp_path / "b.json", "--export", tmp_path / "c.json")
    a, b, c = (json.loads((tmp_path / f"{n}.json").read_text()) for n in "abc")
    for key in ("requests", "ok", "completion_tokens", "kernel_stamped"):
        assert c["summary"][key] == a["summary"][key] + b["summary"][key]
    assert c["account"]["offered"] == 160 and c["merged"] == 2
    x, y, z = (r["summary"]["metrics"]["ttft"] for r in (a, b, c))
    assert z["count"] == x["count"] + y["count"] and z["min_ms"] == min(x["min_ms"], y["min_ms"])
    assert z["mean_ms"] == pytest.approx((x["mean_ms"] * x["count"] + y["mean_ms"] * y["count"]) / z["count"], rel=1e-6)
    assert sum(s["ended"] for s in c["seconds"]) == sum(s["ended"] for r in (a, b) for s in r["seconds"])
    assert "2 runs, added up" in done.stdout and "differ" not in done.stdout
    # what was merged can be merged again
    weir("load", "merge", tmp_path / "c.json", "--export", tmp_path / "d.json", "--html", tmp_path / "d.html")
    d = json.loads((tmp_path / "d.json").read_text())
    assert d["summary"]["requests"] == 160 and d["summary"]["metrics"]["ttft"]["p50_ms"] == z["p50_ms"]
    assert d["mergeable"]["total"]["metrics"]["ttft"]["hdr"] == c["mergeable"]["total"]["metrics"]["ttft"]["hdr"]


def test_merging_says_what_differs_and_what_cannot_be(load, tmp_path):
    load("-c", 1, "-n", 10, "--model", "m", "--export", "one.json")
    load("-c", 2, "-n", 10, "--model", "n", "--export", "two.json", "--threshold", "errors < 1%")
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    done = weir("load", "merge", one, two, "--threshold", "errors[model=n] < 1%")
    assert "has other thresholds" in done.stdout
    assert "The runs differ in scenario" in done.stdout and "errors[model=n] < 1%" in done.stdout
    for words, says, status in (([one, one], "is there twice", 3), ([], "expected reports", 2),
                                ([write(tmp_path / "x.json", "{}")], "expected a report of weir load", 3),
                                ([write(tmp_path / "y.json", "{")], "y.json:", 3), ([tmp_path / "z.json"], "z.json", 3),
                                ([one, "--threshold", "nonsense < 1"], "--threshold", 2)):
        assert says in weir("load", "merge", *words, status=status).stderr


def test_merging_does_not_cut_what_a_run_says_of_itself(load, tmp_path):
    load("-c", 1, "-n", 10, "--export", "one.json")
    run = json.loads((tmp_path / "one.json").read_text())
    said = "client-limited (3 of 8 checks failed): " + "the generator was late again and again " * 8 + "a lower --rate"
    run["validity"] |= {"client_limited": True, "summary": said}
    write(tmp_path / "limited.json", json.dumps(run))
    done = weir("load", "merge", tmp_path / "limited.json", "--export", tmp_path / "all.json", status=1)
    assert done.stderr.rstrip().endswith(said)
    v = json.loads((tmp_path / "all.json").read_text())["validity"]
    assert v["summary"].endswith(said) and v["checks"][0]["found"] == said


def test_a_log_is_replayed(load, tmp_path):
    load("--rate", 80, "--poisson", "-d", "1s", "--mix", "a=2,b=1", "--log", "first.log", "-q")
    first = [json.loads(line) for line in (tmp_path / "first.log").read_text().splitlines()]
    done = load("--replay", "first.log", "--speed", 2, "--log", "second.log", "-q")
    second = [json.loads(line) for line in (tmp_path / "second.log").read_text().splitlines()]
    assert len(second) == len(first) == done.json["summary"]["requests"]
    for model in "ab":
        assert sum(r["model"] == model for r in first) == sum(r["model"] == model for r in second)
    assert done.json["scenario"]["open_loop"] and done.json["scenario"]["replay_speed"] == 2
    assert "replay of first.log" in done.stdout
