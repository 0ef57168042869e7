#!/usr/bin/env python3
"""metrics.py -- what /metrics costs with the series budget full, and whether requests notice it.

    python3 bench/metrics.py              # 6 minutes; --quick: 1
    python3 bench/metrics.py --write      # into bench/results/metrics.md

First the exposition alone (metrics_render): a gateway's numbers with 200 models at 4 providers and 50 keys, everything full. Then a running
`weir serve` of that configuration, driven full by requests; requests go through it at a steady rate while nobody scrapes it, while one scrape a second does, and while
one scrape follows the other. README.md says how far to trust it."""

import argparse
import concurrent.futures
import contextlib
import gzip
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import machine
from peers import CHAT, ROOT, Mock, Weir
from run import commit

MODELS, KEYS = 200, 50
PROVIDERS = ["openai", "groq", "mistral", "deepseek"]
MASTER = "sk-bench-master"
LOADED = "model-007-instruct"
PIECE_BYTES = 16384  # a scraper reads: what the kernel copies at once nobody else can interrupt
RENDER_BAR_MS = 50
P99_BAR = 1.10
FORMATS = {"text": "text 0.0.4", "openmetrics": "OpenMetrics 1.0", "text_gzip": "text, gzip", "openmetrics_gzip": "OpenMetrics, gzip"}
ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
SCRAPES = {"none": "nobody scrapes", "second": "one scrape a second, gzip, as Prometheus asks", "always": "one scrape after the other, gzip",
           "plain": "one scrape a second, not packed"}


# ---- the exposition alone ----

def rendered(options):
    """{name: metrics_render's account} for the whole configuration, and for each model at one provider only."""
    found = {}
    for name, words in (("4", []), ("1", ["--providers", "1"])):
        argv = [options.render, "--rounds", str(options.renders), *words]
        out = subprocess.run(argv, capture_output=True, text=True, check=True,
                             preexec_fn=lambda: machine.pin(machine.PEER_CORE)).stdout
        found[name] = json.loads(out)
    return found


# ---- a gateway driven full ----

def key_of(i):
    return f"sk-bench-metrics-{i:02}-0123456789"


class Full(Weir):
    """Models at all providers, keys, one worker. It may use both cores: what is asked is whether the control thread is in the worker's way."""

    name = "weir-metrics"

    def argv(self, body_bytes):
        rows = [{"model_name": f"model-{m:03}-instruct",
                 "litellm_params": {"model": f"{p}/sim-fast", "api_base": f"http://127.0.0.1:{self.upstream}/v1", "api_key": "sk-upstream"},
                 "model_info": {"id": f"{p}-model-{m:03}-0f3a9b2c4d5e6f70", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}}
                for m in range(MODELS) for p in PROVIDERS]
        settings = {"model_list": rows, "general_settings": {"master_key": MASTER},
                    "router_settings": {"num_retries": 0, "disable_cooldowns": True},
                    "litellm_settings": {"logging": {"log_file": f"{self.work}/metrics.log"}},
                    "weir_settings": {"key_file": "", "keys": [{"key": key_of(i), "key_alias": f"team-{i:02}"} for i in range(KEYS)]}}
        path = self.work / "metrics.yaml"
        path.write_text(json.dumps(settings), encoding="utf-8")
        return [self.options.weir, "serve", "--config", str(path), "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]

    def start(self, body_bytes=1024):
        seconds = super().start(body_bytes)
        for pid in machine.tree(self.pid):
            for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
                subprocess.run(["taskset", "-cp", "0,1", thread.name], check=True, capture_output=True)
        return seconds


def ask(port, pairs):
    """One kept connection: a request for each (model, key, headers, stream), ten at a time."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as s:
        held = b""
        for begin in range(0, len(pairs), 10):
            batch = pairs[begin:begin + 10]
            s.sendall(b"".join(one_request(*p) for p in batch))
            for pair in batch:
                held = skip_answer(s, held, pair[3])


def one_request(name, key, headers, stream):
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "hello"}], "stream": stream}).encode()
    head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    return (f"POST {CHAT} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{head}"
            f"content-length: {len(body)}\r\n\r\n").encode() + body


def skip_answer(s, held, stream):
    """Reads over one answer; returns what of the next is there already."""
    while b"\r\n\r\n" not in held:
        held = more(s, held)
    head, _, held = held.partition(b"\r\n\r\n")
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if lengths:
        while len(held) < lengths[0]:
            held = more(s, held)
        return held[lengths[0]:]
    while b"0\r\n\r\n" not in held:
        held = more(s, held)
    return held.partition(b"0\r\n\r\n")[2]


def more(s, held):
    piece = s.recv(262144)
    if not piece:
        raise machine.BenchError(f"weir closed the connection after {held[:200]!r}")
    return held + piece


def drive_full(peer):
    """Every deployment answers, streams and fails; each key asks for every model. Returns the state of the budget."""
    names = [f"model-{m:03}-instruct" for m in range(MODELS)]
    pairs = [(n, key_of(k), {"x-mock-tokens": "2"}, k % 2 == 0) for n in names for k in range(KEYS)]
    pairs += [(n, MASTER, {"x-mock-status": status}, False) for n in names for status in ("400", "429", "500", "503") for _ in range(10)]
    random.Random(1).shuffle(pairs)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: ask(peer.port, pairs[i::8]), range(8)))
    text = scrape(peer.port, False).decode()
    state = {name: float(next(line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(name + " ")))
             for name in ("weir_metrics_series", "weir_metrics_series_budget", "weir_metrics_series_overflow_total")}
    if state["weir_metrics_series_overflow_total"] == 0:
        raise machine.BenchError(f"the budget is not full: {state}")
    return {**state, "lines": text.count("\n"), "bytes": len(text)}


def scrape(port, packed):
    """The body of one scrape."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as s:
        accept = "accept-encoding: gzip\r\n" if packed else ""
        s.sendall(f"GET /metrics HTTP/1.1\r\nhost: bench\r\naccept: {ACCEPT}\r\n{accept}connection: close\r\n\r\n".encode())
        pieces = []
        while piece := s.recv(PIECE_BYTES):
            pieces.append(piece)
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise machine.BenchError(f"/metrics answered {head[:100]!r}")
    return body


class Scraper:
    """A thread that scrapes until it is told to end, and how long each took."""

    def __init__(self, port, how):
        self.port, self.how = port, how
        self.took_s, self.ended = [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        if self.how != "none":
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        if self.how != "none":
            self.thread.join()

    def run(self):
        os.sched_setaffinity(0, {machine.LOAD_CORE})  # this thread
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # in life a scraper has a machine of its own
        while not self.ended.is_set():
            begin = time.perf_counter()
            scrape(self.port, self.how != "plain")
            self.took_s.append(time.perf_counter() - begin)
            self.ended.wait(0 if self.how == "always" else max(0, 1 - self.took_s[-1]))


# ---- the rounds ----

def scrape_cpu_s(pid):
    """Seconds on a CPU of the threads that scrapes are made by: the control thread, which is the process's first, and the one that writes."""
    writers = [t for t in pathlib.Path(f"/proc/{pid}/task").iterdir() if t.name == str(pid) or (t / "comm").read_text(encoding="ascii") == "weir-scrape\n"]
    return sum(int((t / "schedstat").read_text(encoding="ascii").split()[0]) for t in writers) / 1e9


def own_p99_ms(log, begin):
    """The p99 of what the gateway took by itself (overhead_ms of its log), of the requests of one run: those from the file's byte `begin` on."""
    time.sleep(0.3)  # the log's writer is a moment behind
    with open(log, encoding="utf-8") as lines:
        lines.seek(begin)
        own = sorted(row["overhead_ms"] for row in map(json.loads, lines) if row.get("model") == LOADED and "overhead_ms" in row)
    return own[int(len(own) * 0.99)]


def one_run(options, peer, how, number):
    export = options.work / f"load-{number}-{how}.json"
    argv = [options.weir, "load", "--url", f"http://127.0.0.1:{peer.port}", "--key", key_of(0), "--rate", str(options.rate), "--poisson", "--no-spin",
            "--duration", f"{options.seconds}s", "--warmup", "1s", "--no-stream", "--seed", "7", "-m", LOADED, "--quiet",
            "-H", "x-mock-tokens: 16", "--export", str(export), "--format", "json"]
    log = options.work / "metrics.log"
    before, begin = scrape_cpu_s(peer.pid), log.stat().st_size
    with Scraper(peer.port, how) as scraper:
        done = subprocess.run(argv, capture_output=True, text=True, preexec_fn=lambda: machine.pin(machine.LOAD_CORE), check=False)
    cpu_s = scrape_cpu_s(peer.pid) - before
    if not export.exists():
        raise machine.BenchError(f"weir load: {done.stderr[-400:]}")
    summary = json.loads(export.read_text(encoding="utf-8"))["summary"]
    scrapes = len(scraper.took_s)
    return {"p50": summary["p50_latency_ms"], "p99": summary["p99_latency_ms"], "own": own_p99_ms(log, begin), "scrapes": scrapes,
            "scrape_ms": statistics.median(scraper.took_s) * 1e3 if scrapes else None,
            "cpu_ms": cpu_s * 1e3 / scrapes if scrapes else None}


def measured(options):
    """Rounds of all ways of scraping, shuffled; nobody's twice, so that what there is of noise is known."""
    rng, rounds = random.Random(options.seed), []
    mock = Mock(options.work, options)
    with contextlib.ExitStack() as stack:
        stack.callback(mock.stop)
        peer = Full(options.work, mock.port, options)
        peer.start()
        stack.callback(peer.stop)
        state = drive_full(peer)
        state["rss_kib"] = machine.rss_kib(peer.pid)
        state["packed_bytes"] = len(scrape(peer.port, True))
        if len(gzip.decompress(scrape(peer.port, True))) < state["bytes"] * 0.9:
            raise machine.BenchError("what comes packed is not the whole")
        for number in range(options.rounds):
            turns = ["none", *SCRAPES]
            rng.shuffle(turns)
            found = {}
            for turn, how in enumerate(turns):
                found.setdefault(how, []).append(one_run(options, peer, how, f"{number}-{turn}"))
            rounds.append(found)
            print(f"  round {number + 1}: " + ", ".join(f"{how} p99 {found[how][0]['p99']:.3f} ms" for how in SCRAPES), flush=True)
        state["rss_after_kib"] = machine.rss_kib(peer.pid)
    return state, rounds


# ---- report ----

def spread(values, digits=1):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def mean_of(found, how, what):
    return statistics.mean(run[what] for run in found[how])


def ratios(rounds, how, what):
    """Of the same round; nobody against nobody: the one run over the other."""
    if how == "none":
        return [max(a[what], b[what]) / min(a[what], b[what]) for a, b in (found["none"] for found in rounds)]
    return [mean_of(found, how, what) / mean_of(found, "none", what) for found in rounds]


def render_table(found):
    rows = ["| providers a model | format | lines | bytes | ms | CPU ms | bar |", "|" + " --- |" * 7]
    for name, formats in found.items():
        for f, says in FORMATS.items():
            r = formats[f]
            bar = ("met" if r["ms"]["median"] < RENDER_BAR_MS else "MISSED") + f": < {RENDER_BAR_MS} ms"
            rows.append(f"| {name} | {says} | {r['lines']:,} | {r['bytes']:,} | " + " | ".join(
                f"{r[w]['median']:.1f} ({r[w]['min']:.1f}-{r[w]['max']:.1f})" for w in ("ms", "cpu_ms")) + f" | {bar} |")
    return rows


def requests_table(rounds):
    rows = ["| scraping | p50 ms | over none | p99 ms | over none | range | the gateway's own p99 ms | over none | a scrape, ms | CPU ms a scrape | bar |", "|" + " --- |" * 11]
    for how, says in SCRAPES.items():
        runs = [run for found in rounds for run in found[how]]
        over = ratios(rounds, how, "p99")
        middle = statistics.median(over)
        scrapes = [run["scrape_ms"] for run in runs if run["scrapes"]]
        cpu = [run["cpu_ms"] for run in runs if run["scrapes"]]
        bar = ("met" if middle < P99_BAR else "MISSED") + f": < {P99_BAR:.2f}" if how == "second" else ""
        rows.append(f"| {says} | {spread([r['p50'] for r in runs], 3)} | {statistics.median(ratios(rounds, how, 'p50')):.3f} | "
                    f"{spread([r['p99'] for r in runs], 3)} | {middle:.3f} | {min(over):.3f}-{max(over):.3f} | {spread([r['own'] for r in runs], 3)} | "
                    f"{statistics.median(ratios(rounds, how, 'own')):.3f} | "
                    f"{spread(scrapes) if scrapes else ''} | {spread(cpu) if cpu else ''} | {bar} |")
    return rows


def report(options, before, found, state, rounds):
    shared = sum(before["busy_before"]) > 0.1
    return "\n".join([
        f"# What /metrics costs, {time.strftime('%Y-%m-%d')}, {commit()}", "",
        f"{before['cpu']}, {before['cores']} cores, Linux {before['kernel']}" + "; the machine was shared" * shared +
        ". Made by `bench/metrics.py`; what and how: there and bench/README.md. Medians, ranges in brackets.", "",
        "## The exposition", "",
        f"{MODELS} models, {KEYS} keys, the default series budget full at two workers; {options.renders} rounds.", "", *render_table(found), "",
        "## Requests meanwhile", "",
        f"`weir serve` with {MODELS} models at {len(PROVIDERS)} providers each and {KEYS} keys, driven full: {state['weir_metrics_series']:,.0f} label combinations of at "
        f"most {state['weir_metrics_series_budget']:,.0f}, {state['weir_metrics_series_overflow_total']:,.0f} requests that came too late for their key; "
        f"{state['lines']:,} lines, {state['bytes']:,} bytes, {state['packed_bytes']:,} packed. RSS {state['rss_kib'] / 1024:.1f} MiB before the rounds, "
        f"{state['rss_after_kib'] / 1024:.1f} MiB after. One worker; {options.rate} requests/s (Poisson), {options.rounds} rounds of {options.seconds} s each, shuffled. The "
        "first row's ratios are of two runs in which nobody scraped, the larger over the smaller: the noise. The gateway's own: overhead_ms of its log.", "", *requests_table(rounds), ""])


# ---- the command ----

def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--weir", default=str(ROOT / "build" / "release" / "weir"), help="the program to measure")
    p.add_argument("--render", default=str(ROOT / "build" / "release" / "metrics_render"), help="the bench's own (target bench_tools)")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--renders", type=int, default=21, help="rounds of the exposition alone")
    p.add_argument("--seconds", type=int, default=8, help="length of a run")
    p.add_argument("--rate", type=int, default=500, help="requests a second")
    p.add_argument("--seed", type=int, default=1, help="of the order")
    p.add_argument("--quick", action="store_true", help="two short rounds")
    p.add_argument("--write", action="store_true", help="into bench/results/metrics.md")
    options = p.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.renders = 2, 4, 7
    options.mock = [options.weir, "mock"]
    return options


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays behind
    options = arguments()
    for tool in (options.weir, options.render, "taskset"):
        if not shutil.which(tool):
            sys.exit(f"metrics: {tool} is not there: cmake --build build/release --target weir bench_tools")
    with tempfile.TemporaryDirectory(prefix="weir-metrics-") as folder:
        options.work = pathlib.Path(folder)
        before = machine.describe()
        try:
            found = rendered(options)
            state, rounds = measured(options)
        except machine.BenchError as e:
            sys.exit(f"metrics: {e}")
    text = report(options, before, found, state, rounds)
    print(text)
    if options.write:
        (ROOT / "bench" / "results" / "metrics.md").write_text(text, encoding="utf-8")
    missed = [f for formats in found.values() for f in FORMATS if formats[f]["ms"]["median"] >= RENDER_BAR_MS]
    return 1 if missed or statistics.median(ratios(rounds, "second", "p99")) >= P99_BAR else 0


if __name__ == "__main__":
    sys.exit(main())
