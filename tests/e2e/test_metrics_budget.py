"""The series budget: whatever strangers send, /metrics stays as large as the configuration makes it, and loses nothing."""
import contextlib
import gzip
import json
import os
import random
import re
import threading

from harness import PATIENCE_S, SANITIZED, Raw, chat_body, config, model, request, wait_for

MASTER = "sk-budget-master"
KEYS = [{"key": f"sk-budget-{i:02}-0123456789", "key_alias": f"team-{i:02}"} for i in range(40)]
SCANS = 4_000 if SANITIZED else 100_000
THREADS, PIPELINED = 4, 100
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def scan(w, count, seed, statuses):
    """`count` requests of a scanner over one kept connection: random models and paths, keys, agents, users. Counts the answers."""
    rng = random.Random(seed)

    def one():
        word = f"{rng.getrandbits(64):016x}"
        headers = {"user-agent": f"scan-{word}", "authorization": f"Bearer sk-{word if rng.random() < 0.5 else KEYS[0]['key'][3:]}",
                   "x-litellm-tags": word}
        if rng.random() < 0.3:
            return request("GET", f"/{word}/{rng.getrandbits(32)}?{word}", b"", headers)
        name = rng.choice([word, f"openai/{word}", f"{word}\n\"\\", "gpt\u00e9" + word])
        body = ('{"model":"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") +
                '","user":"' + word + '","messages":[{"role":"user","content":"x"}]}').encode()
        path = rng.choice(["/v1/chat/completions", "/v1/embeddings", "/v1/completions", f"/v1/{word}"])
        return request("POST", path, body, headers)

    with Raw(w.host, w.port, PATIENCE_S * 3) as raw:
        for _ in range(count // PIPELINED):
            raw.send(b"".join(one() for _ in range(PIPELINED)))
            for _ in range(PIPELINED):
                status = raw.answer().status
                statuses[status] = statuses.get(status, 0) + 1


def scan_all(w):
    found = [{} for _ in range(THREADS)]
    threads = [threading.Thread(target=scan, args=(w, SCANS // THREADS, i, found[i])) for i in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return {status: sum(f.get(status, 0) for f in found) for status in {s for f in found for s in f}}


def rss_kib(w):
    text = open(f"/proc/{w.process.pid}/status", encoding="ascii").read()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1))


def label_values(metrics):
    return {value for _, labels in metrics.samples for name, value in labels if name != "le"}


def log_counts(path):
    """Requests in the log by outcome; a hundred thousand lines are not worth parsing one by one."""
    text = path.read_bytes()
    return {status: len(re.findall(rb'"event":"request"[^\n]*"status":"' + status.encode(), text)) for status in ("success", "failure", "cancelled")}


def test_a_scanner_makes_no_series(weir, mock):
    w = weir(config(model("sim-fast", mock.base), model("real", mock.base, "openai/sim-fast"),
                    general_settings={"master_key": MASTER}, weir_settings={"key_file": "", "keys": KEYS, "series_budget": 200}))
    for key in KEYS[:2]:  # the first of each kind: its series are there for good
        for name in ("sim-fast", "real"):
            assert w.chat(name, {"authorization": f"Bearer {key['key']}"}).status == 200
    scan(w, 2 * PIPELINED, 99, {})
    before, rss = w.metrics(), rss_kib(w)
    known = label_values(before)
    statuses = scan_all(w)
    after = w.metrics()

    assert sum(statuses.values()) == SCANS and set(statuses) <= {400, 401, 404}
    # What a scanner is told is a handful of statuses and routes: no more labels come of it than there already were.
    assert len(after.samples) <= len(before.samples) + 40
    assert label_values(after) <= known | {"other"}, label_values(after) - known
    assert after.total("weir_metrics_series") <= after.total("weir_metrics_series_budget") == 400
    assert after.total("weir_metrics_series_overflow_total") == 0 and 0 < after.total("weir_metrics_series_fullest_ratio") < 1
    if not SANITIZED:  # their allocators keep what was freed
        assert rss_kib(w) < rss + 8192

    total = int(after.total("litellm_requests_total"))
    assert total == int(after.total("litellm_proxy_total_requests_metric_total"))
    wait_for(lambda: sum(log_counts(w.log_path).values()) >= total)
    logged = log_counts(w.log_path)
    assert sum(logged.values()) == total
    for status, count in logged.items():
        assert after.total("litellm_requests_total", status=status) == count


def test_keys_fold_before_models(weir, mock):
    """More keys than there is room for: each model's sums stay what the log says, and the same whatever labels are added up."""
    names = [f"m{i}" for i in range(5)]
    w = weir(config(*(model(n, mock.base, "openai/sim-fast") for n in names), general_settings={"master_key": MASTER},
                    weir_settings={"key_file": "", "keys": KEYS, "series_budget": 60, "workers": 1}))
    for key in KEYS:
        headers = {"authorization": f"Bearer {key['key']}"}
        with w.connect() as raw:
            for i, name in enumerate(names):
                failing = {"x-mock-status": "500"} if (i + int(key["key_alias"][-2:])) % 4 == 0 else {}
                raw.send(request("POST", "/v1/chat/completions", json.dumps(chat_body(name)).encode(), {**headers, **failing}))
                assert raw.answer().status in (200, 500)
    records = w.requests(len(KEYS) * len(names))
    metrics = w.metrics()
    assert metrics.total("weir_metrics_series_overflow_total") > 0
    assert metrics.total("weir_metrics_series") <= 60
    assert metrics.total("weir_metrics_series_fullest_ratio") == 1  # the keys' part, though there is room for models
    assert not metrics.total("litellm_requests_total", model="other")
    aliases = {labels["api_key_alias"] for labels in metrics.series("litellm_spend_metric_total")}
    assert "other" in aliases and len(aliases) < len(KEYS)
    for name in names:
        of_model = [r for r in records if r["model"] == name]
        failed = [r for r in of_model if r["status"] == "failure"]
        assert metrics.total("litellm_requests_total", model=name) == len(of_model)
        assert metrics.total("litellm_proxy_total_requests_metric_total", requested_model=name) == len(of_model)
        assert metrics.total("litellm_proxy_failed_requests_metric_total", requested_model=name) == len(failed)
        assert metrics.total("litellm_deployment_failure_responses_total", requested_model=name, exception_status="500") == len(failed)
        assert metrics.total("litellm_total_tokens_metric_total", requested_model=name) == sum(r.get("total_tokens", 0) for r in of_model)


def test_a_long_exposition_comes_whole(weir, mock):
    """Megabytes go out in pieces: all of it, to slow readers too, and those who leave in between leave nothing behind."""
    w = weir(config(*(model(f"model-{i:03}", mock.base, "openai/sim-fast") for i in range(400)), weir_settings={"series_budget": 4000}))
    plain = w.get("/metrics")
    assert plain.complete and len(plain.body) > 2_000_000 and plain.text.endswith("\n")
    packed = w.get("/metrics", {"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip" and len(packed.body) < len(plain.body) / 5
    lines = {line.rsplit(" ", 1)[0] for line in plain.text.splitlines()}
    assert {line.rsplit(" ", 1)[0] for line in gzip.decompress(packed.body).decode().splitlines()} == lines
    for _ in range(20):
        with w.connect(receive_buffer=4096) as raw:
            raw.send(request("GET", "/metrics", b"", {}))
            raw.socket.recv(1000)
    with w.connect(receive_buffer=4096) as raw:
        raw.send(request("GET", "/metrics", b"", {}))
        slow = raw.answer()
        assert slow.complete and {line.rsplit(" ", 1)[0] for line in slow.text.splitlines()} == lines
        raw.send(request("GET", "/health/liveliness", b"", {"connection": "close"}))
        assert raw.answer().status == 200
    wait_for(lambda: w.metrics().total("weir_open_connections") == 1)
    assert os.path.exists(f"/proc/{w.process.pid}")


def test_slow_readers_hold_no_more_than_their_share(weir, mock):
    """Each client that does not take a large exposition keeps one in memory: together they may keep 128 MiB, then the next is refused, until they go."""
    w = weir(config(*(model(f"model-{i:04}", mock.base, "openai/sim-fast") for i in range(1200)), weir_settings={"series_budget": 20000}))
    with contextlib.ExitStack() as slow:
        size = len(w.get("/metrics").body)
        assert size > 3 << 20
        for _ in range((128 << 20) // size + 2):
            client = slow.enter_context(w.connect(receive_buffer=4096))
            client.send(request("GET", "/metrics"))
            client.socket.recv(1)  # it is there
        refused = w.get("/metrics")
        assert refused.status == 503 and "have not taken their metrics yet" in refused.json["error"]["message"]
        assert w.get("/health/liveliness").status == 200
    wait_for(lambda: w.get("/metrics").status == 200)
