"""weir export: its numbers are the log's, whatever happens to the log, to it and to the machine's patience."""
import collections
import gzip
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from harness import SANITIZED, WEIR, Metrics, Process, Raw, config, model, request, wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))
import analyze as slow_reader  # noqa: E402
import generate  # noqa: E402
import records as reference  # noqa: E402

TOKENS_MAX = 1 << 40  # what one request can add (metrics.c)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def export(*words, status=0, **more):
    """Runs it to its end; returns what it printed and what it said."""
    done = subprocess.run([WEIR, "export", *map(str, words)], capture_output=True, check=False, timeout=120, **more)
    assert done.returncode == status, (done.stdout[-500:], done.stderr[-2000:])
    return done.stdout.decode(), done.stderr.decode()


def once(log, *words, **more):
    return Metrics(export(log, "--once", *words, **more)[0])


class Exporter(Process):
    """A running one. Its state is saved often, so that tests need not wait."""

    def __init__(self, folder, log, *words, env=None, save_every="100ms"):
        self.log = pathlib.Path(log)
        super().__init__(folder, ["export", log, "--listen", "127.0.0.1:0", "--save-every", save_every, *words], env)

    def start(self):
        said = pathlib.Path(self.folder / "stderr")
        seen = said.stat().st_size if said.exists() else 0
        self.launch()

        def listening():
            assert self.process.poll() is None, self.said()[seen:]
            return re.search(r"listens on http://127\.0\.0\.1:(\d+)", self.said()[seen:])

        self.port = int(wait_for(listening, every_s=0.002).group(1))
        return self

    def get(self, path, method="GET", **headers):
        with Raw("127.0.0.1", self.port) as raw:
            fields = {"connection": "close"} | {k.replace("_", "-"): v for k, v in headers.items()}
            raw.send(request(method, path, b"", fields))
            return raw.answer(method)

    def scrape(self, **headers):
        """None while it is still reading what was there at its start."""
        answer = self.get("/metrics", **headers)
        assert answer.status in (200, 503)
        return Metrics(answer.text) if answer.status == 200 else None

    def metrics(self):
        return wait_for(self.scrape)

    def total(self):
        return self.metrics().total("litellm_requests_total")

    def wait_total(self, count):
        def there():
            """so many requests counted"""
            found = self.total()
            assert found <= count, f"{found} counted of {count}"
            return found == count

        wait_for(there)

    def ready(self):
        return self.get("/health/readiness").status == 200


@pytest.fixture
def exporter(tmp_path):
    """exporter(log, ...) starts one with its files in the test's folder."""
    started = []

    def start(log, *words, **options):
        folder = tmp_path / f"exporter{len(started)}"
        folder.mkdir()
        started.append(Exporter(folder, log, *words, **options))
        return started[-1].start()

    yield start
    for running in started:
        running.finish()


def line(number=0, **more):
    """A request of weir's log."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    record = {"timestamp": stamp, "level": "INFO", "event": "request", "request_id": f"r{number}", "model": "gpt", "provider": "openai",
              "deployment": "id-1", "upstream_model": "gpt-4o", "call_type": "chat.completions", "stream": False,
              "status": "success", "http_status": 200, "latency_ms": 12.5, "upstream_ms": 12, "overhead_ms": 0.5,
              "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost_usd": 0.001,
              "api_base": "http://a/v1", **more}
    return json.dumps({k: v for k, v in record.items() if v is not None}, separators=(",", ":")) + "\n"


def append(path, text):
    with open(path, "ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


# ---- the numbers ----

def requests_of(path):
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            stripped = reference.strip_line(raw, at_file_start=number == 1)
            if not stripped or not raw.endswith(b"\n"):
                continue
            try:
                record = reference.record_of(reference.parse_object(stripped))
            except reference.Broken:
                continue
            if record and record.is_request and record.shape != "json_logs":
                yield record


def shown(text):
    """As a label: broken UTF-8 is '?' (the reference has U+FFFD), and so are control bytes."""
    text = re.sub("[\x00-\x1f\x7f\ufffd]+", "?", text or "")
    return text or "None"


def expected_of(path):
    requests, tokens = collections.Counter(), collections.Counter()
    cost = latencies = latency_us = hits = 0
    for r in requests_of(path):
        served = r.provider or r.deployment or r.api_base
        requests[shown(r.model) if served else "other", shown(r.provider), r.outcome] += 1
        for kind in ("prompt", "completion", "cached", "reasoning"):
            tokens[kind] += min(getattr(r, f"{kind}_tokens") or 0, TOKENS_MAX)
        cost += min(r.cost_pico or 0, 10**18)
        hits += r.cache == "hit"
        if r.latency_us is not None:
            latencies += 1
            latency_us += r.latency_us
    return requests, tokens, cost, latencies, latency_us, hits


@pytest.mark.parametrize("shape", ["weir", "litellm"])
@pytest.mark.parametrize("traps", [False, True], ids=["plain", "traps"])
def test_numbers_are_those_of_the_reference(tmp_path, shape, traps):
    log = tmp_path / "requests.log"
    generate.write(log, shape=shape, lines=4000, seed=5, traps=traps)
    requests, tokens, cost, latencies, latency_us, hits = expected_of(log)
    assert len(requests) > 20
    metrics = once(log, "--series-max", 1000000)
    found = collections.Counter()
    for (name, labels), value in metrics.samples.items():
        if name == "litellm_requests_total" and value:
            labels = {k: v.replace('\\"', '"').replace("\\\\", "\\") for k, v in labels}
            found[re.sub(r"\?+", "?", labels["model"]), labels["provider"], labels["status"]] += value
    assert found == requests
    for kind, count in tokens.items():
        assert metrics.total("litellm_tokens_total", type=kind) == count
    assert metrics.total("litellm_spend_metric_total") <= cost / 1e12 * (1 + 1e-9)  # those that nobody served cost nothing
    assert metrics.total("litellm_spend_metric_total") == pytest.approx(cost / 1e12, rel=1e-6)
    assert metrics.total("litellm_latency_seconds_count") == latencies
    assert metrics.total("litellm_latency_seconds_sum") == pytest.approx(latency_us / 1e6, rel=1e-9)
    assert metrics.total("litellm_cache_hits") == hits
    assert metrics.total("weir_export_requests_total") == sum(requests.values())


def test_access_lines_of_json_logs_are_requests_by_status_and_route(tmp_path):
    log = tmp_path / "litellm.log"
    generate.write(log, shape="json_logs", lines=200, seed=1)
    metrics, theirs = once(log), slow_reader.analyze([str(log)])["total"]
    assert metrics.total("weir_export_lines_total") == 200 and metrics.total("weir_export_broken_lines_total") == 0
    for status in ("success", "failure", "cancelled"):
        assert metrics.total("litellm_requests_total", status=status) == theirs[status]
    assert metrics.total("litellm_proxy_total_requests_metric_total", route="/v1/chat/completions", status_code="200") > 0
    assert metrics.total("litellm_total_tokens_metric_total") == 0


def test_export_shows_what_the_gateway_shows(weir, mock):
    """The same families, the same labels, the same numbers, from the log that the gateway wrote."""
    names = ["sim-fast", "real", "sim-reasoning"]
    w = weir(config(*(model(n, mock.base, None if n != "real" else "openai/sim-fast", info={"id": f"{n}-id"}) for n in names),
                    model("any/*", mock.base, "openai/*", info={"id": "any-id"})))
    rng = random.Random(3)
    kinds = [{}, {"x-mock-tokens": "9"}, {"x-mock-status": "429"}, {"x-mock-status": "500"}, {"x-mock-error-in-stream": "2"}]
    for i in range(80):
        w.chat(rng.choice([*names, "any/sim-fast", "nobody-has-this"]), kinds[i % len(kinds)], stream=i % 2 == 0)
        w.requests(i + 1)  # the next one begins when this one is over: else it is open which of two is a deployment's newest
    theirs, mine = w.metrics(), once(w.log_path, "--config", w.config_path)
    # A log tells the rate of a stream's tokens with two decimals, and not the route's spelling.
    rounded = "litellm_deployment_latency_per_output_token"
    of_requests = {key: value for key, value in theirs.samples.items()
                   if key[0].startswith("litellm_") and not re.search("_limit$|in_flight|in_progress", key[0]) or
                   re.match("weir_(errors|overhead|queue|tokens_est|unpriced|request_outcomes|ttft|retries|slow|fallbacks)", key[0])}
    assert len(of_requests) > 500
    for key, value in of_requests.items():
        if key[0].startswith(rounded):
            if not key[0].endswith("_bucket"):
                assert mine.samples[key] == pytest.approx(value, rel=0.02), key
        else:
            assert mine.samples.get(key) == value, key


def test_models_nobody_served_and_models_past_the_budget_are_other(tmp_path):
    log = tmp_path / "requests.log"
    for i in range(50):
        append(log, line(i, model=f"guess-{i}", provider=None, deployment=None, api_base=None, upstream_model=None, cost_usd=None,
                         status="failure", http_status=400, error={"type": "model_unknown", "message": "no"}))
    assert once(log).samples[("litellm_requests_total", frozenset({"model": "other", "provider": "None", "status": "failure"}.items()))] == 50
    assert once(log).total("weir_errors_total", error="model_unknown") == 50
    for i in range(100):
        append(log, line(i, model=f"m{i}"))
    metrics = once(log, "--series-max", 40)
    assert metrics.total("litellm_requests_total") == 150
    assert metrics.total("weir_metrics_series") <= 40
    assert metrics.total("weir_metrics_series_overflow_total") == metrics.total("litellm_requests_total", provider="other") == 94  # a fifth of it for models
    assert once(log).total("weir_metrics_series_overflow_total") == 0


def test_labels_of_strangers_cannot_break_the_exposition(tmp_path):
    log = tmp_path / "requests.log"
    nasty = ['a"b\\c\nd', "nul\0byte", "x" * 5000, "\ud800", 'le="0.5"} 1', "é" * 200]
    for i, text in enumerate(nasty):
        append(log, line(i, model=text, key_alias=text))
    append(log, line(99).encode().replace(b'"gpt"', b'"\xff\xfe"'))
    append(log, line(99).encode().replace(b'"gpt"', b'"\xfd\xfc"'))
    metrics = once(log)  # which fails on a series that comes twice
    assert metrics.total("litellm_requests_total", status="success") == len(nasty) + 2
    assert metrics.total("litellm_requests_total", model="??") == 2
    assert max(len(dict(labels)["model"]) for name, labels in metrics.samples if name == "litellm_requests_total") <= 256 + 16


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
@pytest.mark.parametrize("shape", ["weir", "litellm"])
def test_promtool_finds_nothing_of_ours(tmp_path, shape):
    log = tmp_path / "requests.log"
    generate.write(log, shape=shape, lines=1000, seed=2, traps=True)
    done = subprocess.run(["promtool", "check", "metrics"], input=export(log, "--once")[0].encode(), capture_output=True, check=False)
    assert done.stderr.decode().split("\n") == ['litellm_cache_hits counter metrics should have "_total" suffix', ""] or not done.stderr


# ---- serving ----

def test_what_it_answers(exporter, tmp_path):
    log = tmp_path / "requests.log"
    log.write_text(line(1, trace_id="0af7651916cd43dd8448eb211c80319c") + "not JSON\n" + line(2))
    e = exporter(log)
    metrics = e.metrics()
    assert metrics.total("litellm_requests_total") == 2
    assert metrics.total("weir_export_lines_total") == 3 and metrics.total("weir_export_broken_lines_total") == 1
    assert metrics.total("weir_export_behind_bytes") == 0 and metrics.total("weir_export_ready") == 1
    assert 0 <= metrics.total("weir_export_newest_line_age_seconds") < 60
    assert metrics.total("weir_export_read_bytes_total") == log.stat().st_size
    for gone in ("weir_open_connections", "weir_ready", "weir_log_records_total", "litellm_in_flight_requests"):
        assert gone not in metrics.types, gone
    open_metrics = e.get("/metrics", accept=OPENMETRICS)
    assert "openmetrics-text" in open_metrics["content-type"] and open_metrics.text.endswith("# EOF\n")
    assert 'trace_id="0af7651916cd43dd8448eb211c80319c"' in open_metrics.text
    packed = e.get("/metrics", accept_encoding="gzip")
    assert packed["content-encoding"] == "gzip" and b"litellm_requests_total" in gzip.decompress(packed.body)
    assert e.get("/").status == 200 and str(log) in e.get("/").text
    assert e.get("/health/liveliness").json == "I'm alive!"
    assert e.get("/health/readiness").json["status"] == "healthy"
    assert e.get("/metrics", method="HEAD").status == 200
    assert e.get("/nothing").status == 404 and e.get("/nothing").error["code"] == "404"
    assert e.get("/metrics", method="POST").status == 405


def test_a_gateway_does_not_show_the_exporters_families(gateway):
    assert not [name for name in gateway.metrics().types if name.startswith("weir_export")]


def test_listening_on_a_socket_and_where_it_cannot(tmp_path):
    log = tmp_path / "requests.log"
    log.write_text(line())
    path = tmp_path / "sock"
    e = Process(tmp_path, ["export", log, "--listen", f"unix:{path}"]).launch()
    wait_for(path.exists)
    connection = http.client.HTTPConnection("weir.test")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("GET", "/health/liveliness")
    assert connection.getresponse().status == 200
    e.finish()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        _, said = export(log, "--listen", f"127.0.0.1:{taken.getsockname()[1]}", status=3)
        assert "in use" in said
    for bad, status in (("127.0.0.1", 2), ("1.2.3.4:x", 2), ("127.0.0.1:70000", 2), ("nowhere:1", 3)):
        assert "expected" in export(log, "--listen", bad, status=status)[1]


def test_it_tells_systemd(exporter, tmp_path):
    log = tmp_path / "requests.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "notify"))
        s.settimeout(10)
        e = exporter(log, env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert s.recv(100) == b"READY=1"
        e.signal(signal.SIGTERM)
        assert s.recv(100) == b"STOPPING=1"
        assert e.wait() == 0


# ---- following ----

@pytest.mark.parametrize("poll", [[], ["--poll"]], ids=["inotify", "poll"])
def test_it_follows_through_rotation_and_truncation(exporter, tmp_path, poll):
    log = tmp_path / "requests.log"
    log.write_text(line(0))
    e = exporter(log, *poll)
    e.wait_total(1)
    append(log, line(1) + line(2)[:-20])  # half a line
    e.wait_total(2)
    append(log, line(2)[-20:])
    e.wait_total(3)
    log.rename(tmp_path / "requests.log.1")
    append(tmp_path / "requests.log.1", line(3))  # by a writer that has not opened it anew yet
    append(log, line(4))
    e.wait_total(5)
    assert e.metrics().total("weir_export_rotations_total") == 1
    shutil.copy(log, tmp_path / "copy")
    os.truncate(log, 0)
    append(log, line(5))
    e.wait_total(6)
    assert e.metrics().total("weir_export_rotations_total") == 2


def test_a_log_that_is_not_there_yet(exporter, tmp_path):
    log = tmp_path / "requests.log"
    e = exporter(log)
    assert e.total() == 0 and not e.ready()
    assert e.get("/health/readiness").json["status"] == "log missing"
    log.write_text(line(0))
    e.wait_total(1)
    assert e.ready()
    _, said = export(tmp_path / "nowhere" / "requests.log", status=3)
    assert "folder" in said
    _, said = export(tmp_path / "absent.log", "--once", status=3)
    assert "no such file" in said


def test_backfill(tmp_path, exporter):
    log = tmp_path / "requests.log"
    old = line(0, timestamp="2026-01-01T00:00:00.000Z")
    (tmp_path / "requests.log.2").write_text(old + old)
    with gzip.open(tmp_path / "requests.log.1.gz", "wt") as file:
        file.write(line(7) + line(8) + line(9))
    os.rename(tmp_path / "requests.log.2", tmp_path / "requests.log.2")
    log.write_text(line(1))
    assert once(log).total("litellm_requests_total") == 6
    recent = once(log, "--backfill", "1h")
    assert recent.total("litellm_requests_total") == 4 and recent.total("weir_export_older_requests_total") == 2
    e = exporter(log, "--backfill", "none")
    assert e.total() == 0
    append(log, line(2) + old)  # a late line with an old stamp is no backfill
    e.wait_total(2)


def test_standard_input(tmp_path):
    text = "".join(line(i) for i in range(1000)).encode()
    assert Metrics(export("-", "--once", input=text)[0]).total("litellm_requests_total") == 1000
    _, said = export("-", "--once", "--state", tmp_path / "s", input=text, status=2)
    assert "--state" in said


# ---- restarts ----

@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda s: s.name)
def test_a_restart_goes_on_where_it_ended(exporter, tmp_path, end):
    log = tmp_path / "requests.log"
    log.write_text("".join(line(i) for i in range(10)))
    e = exporter(log, save_every="1h")
    e.wait_total(10)
    before = e.metrics()
    e.signal(end)
    assert e.wait() == 0
    append(log, line(10))
    log.rename(tmp_path / "requests.log.1")
    append(log, line(11))
    e.start()
    e.wait_total(12)
    after = e.metrics()
    for (name, labels), value in before.samples.items():
        if after.types.get(name) == "counter" and not name.startswith("process_"):
            assert after.samples[name, labels] >= value, name
    assert after.total("weir_export_lines_total") == 12 and after.total("weir_export_state_writes_total") >= 1
    assert after.total("litellm_spend_metric_total") == pytest.approx(0.012)


class Writer(threading.Thread):
    """Writes some thousand lines a second, and rotates as logrotate does: rename, then a new file. Nothing is removed, and on a slow
    machine it must not get away: it pauses at its limits."""

    LINES_MAX, ROTATIONS_MAX = 40000, 20

    def __init__(self, log, seed):
        super().__init__(daemon=True)
        self.log, self.rng, self.stopped, self.written, self.rotations = log, random.Random(seed), threading.Event(), 0, 0

    def rotate(self):
        for number in range(self.rotations, 0, -1):
            os.rename(f"{self.log}.{number}", f"{self.log}.{number + 1}")
        os.rename(self.log, f"{self.log}.1")
        self.rotations += 1

    def run(self):
        file = open(self.log, "ab", buffering=0)
        while not self.stopped.is_set():
            time.sleep(self.rng.random() * 0.01)
            if self.written > self.LINES_MAX:
                continue
            count = self.rng.randrange(1, 40)
            text = "".join(line(self.written + i) for i in range(count)).encode()
            cut = self.rng.randrange(len(text))  # a reader sees half lines, too
            file.write(text[:cut])
            file.write(text[cut:])
            self.written += count
            if self.rng.random() < 0.015 and self.rotations < self.ROTATIONS_MAX:
                file.close()
                self.rotate()
                file = open(self.log, "ab", buffering=0)
        file.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_moment_nothing_is_counted_twice_or_left_out(exporter, tmp_path, seed):
    log = tmp_path / "requests.log"
    log.write_text(line(0))
    writer, rng, highest = Writer(log, seed), random.Random(seed), 0
    writer.written = 1
    e = exporter(log, save_every="20ms")
    writer.start()
    for _ in range(8 if SANITIZED else 15):
        time.sleep(rng.random() * 0.4)
        metrics = e.scrape()
        if metrics:
            seen = metrics.total("litellm_requests_total")
            assert seen >= highest, "a counter went backwards"
            highest = seen
        e.kill()
        time.sleep(rng.random() * 0.1)
        e.start()
    time.sleep(0.5)
    writer.stopped.set()
    writer.join()
    assert writer.rotations >= 3 and writer.written > 2000, (writer.rotations, writer.written)
    e.wait_total(writer.written)
    metrics = e.metrics()
    assert metrics.total("litellm_tokens_total", type="prompt") == 3 * writer.written
    assert metrics.total("litellm_latency_seconds_count") == writer.written
    assert metrics.total("weir_export_broken_lines_total") == 0 and metrics.total("weir_export_lost_positions_total") == 0


def test_what_is_older_than_a_lost_position_is_not_counted_again(exporter, tmp_path):
    log = tmp_path / "requests.log"
    (tmp_path / "requests.log.1").write_text(line(0) * 3)
    time.sleep(0.05)
    log.write_text(line(1) * 2)
    e = exporter(log)
    e.wait_total(5)
    e.finish()
    log.unlink()
    time.sleep(0.01)
    log.write_text(line(2) * 4)
    e.start()
    e.wait_total(9)
    metrics = e.metrics()
    assert metrics.total("weir_export_lost_positions_total") == 1 and metrics.total("weir_export_older_requests_total") == 3
    assert "is gone" in e.said()


# ---- the state file ----

def test_a_damaged_state_is_refused_and_begun_anew(exporter, tmp_path):
    log, state = tmp_path / "requests.log", tmp_path / "state"
    log.write_text("".join(line(i) for i in range(5)))
    once(log, "--state", state)
    good = state.read_bytes()
    rng = random.Random(1)
    damaged = [good[:n] for n in (25, 30, len(good) // 2, len(good) - 1)]
    for _ in range(20):
        at = rng.randrange(21, len(good))
        damaged.append(good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1:])
    for data in damaged:
        state.write_bytes(data)
        out, said = export(log, "--once", "--state", state)
        assert "damaged" in said and "beginning anew" in said, said
        assert Metrics(out).total("litellm_requests_total") == 5
        assert pathlib.Path(f"{state}.refused").read_bytes() == data
    state.write_bytes(good)
    append(log, line(5))
    assert once(log, "--state", state).total("litellm_requests_total") == 6
    e = exporter(log, "--state", state)
    e.wait_total(6)


def test_what_is_no_state_is_left_alone(tmp_path):
    log, state = tmp_path / "requests.log", tmp_path / "state"
    log.write_text(line())
    state.write_text("dear diary\n")
    _, said = export(log, "--state", state, status=2)
    assert "not a state file" in said and state.read_text() == "dear diary\n"
    state.write_text("")
    assert once(log, "--state", state).total("litellm_requests_total") == 1
    other = tmp_path / "other.log"
    other.write_text(line() * 2)
    out, said = export(other, "--once", "--state", state)
    assert "another log" in said and Metrics(out).total("litellm_requests_total") == 2
    _, said = export(log, "--state", tmp_path, status=2)
    assert "state file" in said


def test_other_buckets_begin_anew(tmp_path):
    log, state, conf = tmp_path / "requests.log", tmp_path / "state", tmp_path / "config.yaml"
    log.write_text(line() * 3)
    once(log, "--state", state)
    conf.write_text(json.dumps(config(model("gpt", "http://127.0.0.1:1/v1"), litellm_settings={"prometheus_latency_buckets": [1, 2]})))
    out, said = export(log, "--once", "--state", state, "--config", conf)
    assert "other buckets" in said
    metrics = Metrics(out)
    assert metrics.total("litellm_latency_seconds_bucket", le="2.0", provider="openai", model="gpt") == 3
    assert metrics.total("litellm_requests_total") == 3


def test_two_on_one_state(exporter, tmp_path):
    log = tmp_path / "requests.log"
    log.write_text(line())
    e = exporter(log)
    e.wait_total(1)
    _, said = export(log, "--listen", "127.0.0.1:0", status=3)
    assert "in use by another weir export" in said and str(e.pid) in said and "--state" in said
    e.kill()
    e.start()  # a dead one's lock is nobody's
    e.wait_total(1)


def test_where_the_state_goes(exporter, tmp_path):
    log = tmp_path / "requests.log"
    log.write_text(line())
    exporter(log).finish()
    assert (tmp_path / "requests.log.weir-export").stat().st_mode & 0o777 == 0o600
    (tmp_path / "states").mkdir()
    exporter(log, env={"STATE_DIRECTORY": str(tmp_path / "states")}).finish()
    assert list((tmp_path / "states").glob("requests.log-*.weir-export"))


def test_a_state_that_cannot_be_saved_is_told(exporter, tmp_path):
    log, folder = tmp_path / "requests.log", tmp_path / "states"
    log.write_text(line())
    folder.mkdir()
    e = exporter(log, "--state", folder / "state")
    e.wait_total(1)
    wait_for((folder / "state").exists)
    shutil.rmtree(folder)
    append(log, line())
    wait_for(lambda: e.metrics().total("weir_export_state_write_errors_total") >= 2)
    assert e.said().count("cannot write") == 1
    folder.mkdir()
    wait_for((folder / "state").exists)


def test_once_goes_on_from_its_state_and_replaces_its_file_as_a_whole(tmp_path):
    log, state, out = tmp_path / "requests.log", tmp_path / "state", tmp_path / "llm.prom"
    log.write_text(line() * 2)
    for count in (2, 3, 4):
        export(log, "--once", "--state", state, "--export", out)
        assert Metrics(out.read_text()).total("litellm_requests_total") == count
        append(log, line())
        log.rename(tmp_path / f"requests.log.{count}")
        log.write_text("")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("llm")) == ["llm.prom"]
    assert not (tmp_path / "requests.log.weir-export").exists()
    _, said = export(log, "--once", "--export", tmp_path / "no" / "llm.prom", status=3)
    assert "cannot write" in said


def test_wrong_usage_is_told(tmp_path):
    log = tmp_path / "requests.log"
    log.write_text(line())
    for words, told in ((["--backfill", "much"], "--backfill"), (["--save-every", "0"], "--save-every"), (["--export", "x"], "--once"),
                        ([log], "one too many"), (["--once", "--openmetrics-history", "x"], "choose one"),
                        (["--openmetrics-history", "x", "--step", "1500ms"], "whole seconds")):
        _, said = export(log, *words, status=2)
        assert told in said, (words, said)
    assert "none.yaml" in export(log, "--config", tmp_path / "none.yaml", status=1)[1]


# ---- history ----

def day_of_lines(log):
    """Two requests every ten minutes of a day, and what Prometheus would have scraped each half hour."""
    totals, count = {}, 0
    begin = 1767225600  # 2026-01-01
    with open(log, "w", encoding="utf-8") as file:
        for second in range(0, 24 * 3600, 600):
            for model_name in ("gpt", "o3"):
                stamp = time.strftime("%Y-%m-%dT%H:%M:%S.250Z", time.gmtime(begin + second))
                file.write(line(second, timestamp=stamp, model=model_name))
            count += 1
            totals[begin + (second // 1800 + 1) * 1800] = count
    totals[begin] = 0
    return totals


def test_history_is_what_would_have_been_scraped(tmp_path):
    log, out = tmp_path / "requests.log", tmp_path / "history.om"
    totals = day_of_lines(log)
    export(log, "--openmetrics-history", out, "--step", "30m")
    text = out.read_text()
    assert text.endswith("# EOF\n") and text.count("# TYPE litellm_requests counter\n") == 1
    found, stamps, closed, family = {}, {}, set(), None
    for row in text.splitlines()[:-1]:
        if row.startswith("# HELP "):
            assert row.split(" ")[2] not in closed, "a family that comes twice"
            family = row.split(" ")[2]
            closed.add(family)
        if row.startswith("#"):
            continue
        series, value, stamp = re.fullmatch(r"(\S+) (\S+) (\d+)", row).groups()
        assert series.startswith(family)
        assert int(stamp) > stamps.get(series, 0), "time goes backwards"
        stamps[series] = int(stamp)
        if series == 'litellm_requests_total{model="gpt",provider="openai",status="success"}':
            found[int(stamp)] = int(value)
    assert found == totals
    assert not [name for name in closed if name.startswith(("weir_export", "process_", "weir_build"))]
    _, said = export(log, "--openmetrics-history", tmp_path, status=3)
    assert "cannot write" in said
    export(log, "--openmetrics-history", out, "--backfill", "1h")
    assert out.read_text() == "# EOF\n"


def test_history_with_too_many_steps_says_so(tmp_path):
    log = tmp_path / "requests.log"
    log.write_text(line(timestamp="1990-01-01T00:00:00Z") + line())
    _, said = export(log, "--openmetrics-history", tmp_path / "h", status=3)
    assert "--step" in said and "--backfill" in said


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)")
def test_promtool_makes_blocks_of_the_history(tmp_path):
    log, out, data = tmp_path / "requests.log", tmp_path / "history.om", tmp_path / "data"
    totals = day_of_lines(log)
    export(log, "--openmetrics-history", out, "--step", "30m")
    subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", out, data], check=True, capture_output=True)
    (data / "wal").mkdir()  # promtool 2.42 looks for it
    dump = subprocess.run(["promtool", "tsdb", "dump", data], check=True, capture_output=True, text=True).stdout
    found = {int(stamp) // 1000: float(value) for value, stamp in
             re.findall(r'^\{__name__="litellm_requests_total", model="gpt", provider="openai", status="success"\} (\S+) (\d+)$', dump, re.M)}
    assert found == totals
