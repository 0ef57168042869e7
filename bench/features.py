#!/usr/bin/env python3
"""features.py -- what keys, limits, retries, sessions, tags and the response cache cost a request.

    python3 bench/features.py             # 10 minutes; --quick: 1
    python3 bench/features.py --base OLD/build/release/weir --instructions --write

Each feature is a weir of its own with that feature's configuration, beside the plain relay's and on the same road: 1 KB
requests over 16 kept connections, answers of 1 KB from `weir mock`, log and metrics on; then streams of 16 tokens. In
each round all of them run once, shuffled, the plain ones twice; what counts is the ratio to the plain relay of
the same round. README.md says how far to trust it."""

import argparse
import contextlib
import dataclasses
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
import time

import load
import machine
from peers import CHAT, ROOT, Mock, Weir
from run import commit

CONNECTIONS = 16
BODY_BYTES = 1024
TOKENS = 16
MASTER = "sk-bench-master"
KEY = "sk-bench-features-0123456789"
PLACE = "@NUMBER@"  # becomes a running number of ten digits
MOCK_HEADERS = {"x-mock-body-bytes": "1024", "x-mock-tokens": str(TOKENS)}
BAR, BASE_BAR = 1.10, 1.03
TRIES, SLOWEST_PER_S = 5, 1000  # slower than that others have the cores, and start-up counts
FILL_SECONDS = 60


# ---- what is compared: a table ----

def deployment(name, number, **params):
    """Deployments of a group differ in name only: one provider, one pool of connections, as in the plain relay."""
    return {"model_name": name,
            "litellm_params": {"model": "openai/sim-fast", "api_base": "@UPSTREAM@", "api_key": "sk-upstream", **params},
            "model_info": {"id": f"{name}-{number}", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}}


def group(**params):
    return [deployment("sim-fast", n, **params) for n in range(3)]


def keyed(**limits):
    return {"general_settings": {"master_key": MASTER},
            "weir_settings": {"key_file": "", "keys": [{"key": KEY, "key_alias": "bench", **limits}]}}


RETRIES = {
    "model_list": [*group(), deployment("spare", 0), deployment("long", 0)],
    "router_settings": {
        "num_retries": 2, "allowed_fails": 3, "cooldown_time": 5, "fallbacks": [{"sim-fast": ["spare"]}],
        "context_window_fallbacks": [{"sim-fast": ["long"]}], "content_policy_fallbacks": [{"sim-fast": ["spare"]}],
        "retry_policy": {"RateLimitErrorRetries": 3, "TimeoutErrorRetries": 1, "AuthenticationErrorRetries": 0},
        "allowed_fails_policy": {"RateLimitErrorAllowedFails": 10, "TimeoutErrorAllowedFails": 2}}}


def strategy(name):
    return {"model_list": group(), "router_settings": {"routing_strategy": name}}


@dataclasses.dataclass
class Feature:
    name: str
    says: str
    config: dict = dataclasses.field(default_factory=dict)  # on top of the plain relay's
    headers: dict = dataclasses.field(default_factory=dict)
    distinct: bool = False  # each request has a body of its own
    instead: str = ""  # the name of the one whose weir it shares
    bar: float = BAR

    @property
    def against(self):
        return "plain-distinct" if self.distinct else "plain"

    @property
    def is_plain(self):
        return self.name == self.against


CACHE = {"litellm_settings": {"cache": True, "cache_params": {"ttl": 600}}}
FEATURES = [
    Feature("plain", "no master key, one deployment, equal bodies"),
    Feature("plain-distinct", "the same, each body another", distinct=True, instead="plain"),
    Feature("key", "a virtual key", keyed()),
    Feature("key-limits", "a virtual key with rpm, tpm, parallel requests and a budget",
            keyed(rpm_limit=10**9, tpm_limit=10**9, max_parallel_requests=100_000, max_budget=1e6,
                  budget_duration="30d")),
    Feature("retries", "a group of three, fallbacks of all kinds, both policies, cooldowns", RETRIES),
    Feature("least-busy", "a group of three, least-busy", strategy("least-busy")),
    Feature("latency", "a group of three, latency-based-routing", strategy("latency-based-routing")),
    Feature("session", "a group of three, a session's name in a header, each request another",
            {"model_list": group()}, {"x-litellm-session-id": f"session-{PLACE}"}),
    Feature("tags", "a group of three, tags wanted by a header",
            {"model_list": group(tags=["paid", "eu"]), "router_settings": {"enable_tag_filtering": True}},
            {"x-litellm-tags": "eu"}),
    Feature("cache-miss", "cache on, each request a miss whose answer is kept", CACHE, distinct=True),
    Feature("cache-hit", "cache on, each request a hit", CACHE, instead="cache-miss", bar=1.0),
]


def plain_config(work, name):
    return {"model_list": [deployment("sim-fast", 0)],
            "litellm_settings": {"callbacks": ["prometheus"],
                                 "logging": {"level": "INFO", "log_format": "json", "log_file": f"{work}/{name}.log"}}}


def merged(under, over):
    both = {k: merged(under[k], v) if isinstance(v, dict) and isinstance(under.get(k), dict) else v
            for k, v in over.items()}
    return {**under, **both}


class Variant(Weir):
    """A weir with a feature's configuration. JSON is YAML, too."""

    def __init__(self, feature, program, work, upstream_port, options):
        super().__init__(work, upstream_port, options)
        self.name = feature.name
        self.program = program
        self.settings = merged(plain_config(work, feature.name), feature.config)
        self.wrapper = []
        self.environment = None

    def env(self):
        return self.environment

    def argv(self, body_bytes):
        path = self.work / f"{self.name}.yaml"
        text = json.dumps(self.settings, indent=1)
        path.write_text(text.replace("@UPSTREAM@", f"http://127.0.0.1:{self.upstream}/v1"), encoding="utf-8")
        return [*self.wrapper, self.program, "serve", "--config", str(path), "--host", "127.0.0.1", "--port", str(self.port),
                "--workers", "1"]


# ---- loads ----

LOADS = [("requests", False), ("streams", True)]

def body_of(feature, stream):
    """1 KB with the model behind the messages; distinct ones differ at the front of the prompt."""
    text = load.chat_body(BODY_BYTES).decode()
    if stream:
        text = text[:-1] + ',"stream":true}'
    return text.replace("the river ", PLACE + "  ", 1) if feature.distinct else text


class Numbered(load.Requests):
    """wrk, whose requests are numbered: from a number on that no run before had."""

    first = 0

    def __init__(self, options, feature, stream):
        self.options, self.connections, self.delay_ms = options, CONNECTIONS, 0
        self.headers = headers_of(feature)
        self.body_path = options.work / f"body-{feature.name}-{'stream' if stream else 'plain'}.json"
        self.body_path.write_text(body_of(feature, stream), encoding="utf-8")
        self.numbered = PLACE in body_of(feature, stream) + str(self.headers)

    def run(self, peer, seconds):
        env = {**os.environ, "BENCH_BODY": str(self.body_path),
               "BENCH_HEADERS": "".join(f"{k}: {v}\n" for k, v in self.headers.items())}
        if self.numbered:
            env["BENCH_FIRST"] = str(Numbered.first)
        result = self.wrk(peer, seconds, env)
        Numbered.first += result["requests"] + CONNECTIONS
        return result


def headers_of(feature):
    """All send a key: without a master key it is only hashed for the record, which is the plain relay's work."""
    return {"content-type": "application/json", "authorization": f"Bearer {KEY}", **MOCK_HEADERS, **feature.headers}




# ---- CPU time ----

def check_cache(feature, hits, requests):
    """The cache serves all of a run or nothing: else something else was measured."""
    wanted = feature.name == "cache-hit"
    if (hits > requests / 100) != wanted or (wanted and hits < 0.99 * requests):
        raise machine.BenchError(f"{feature.name}: {hits:.0f} of {requests} requests were hits")


def metric(peer, name):
    """The sum of a metric's series."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", peer.port), timeout=10)) as s:
        s.sendall(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")
        text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
    if " 200 " not in text.split("\r\n", 1)[0]:
        raise machine.BenchError(f"{peer.name}: /metrics answered {text[:100]!r}")
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def cache_hits(peer):
    return metric(peer, "litellm_cache_hits_metric_total")


def fill_cache(peer, feature, options):
    """An empty cache touches memory for the first time with each answer; a full one is how it lives."""
    for _ in range(FILL_SECONDS):
        Numbered(options, feature, False).run(peer, 1)
        if metric(peer, "weir_cache_evictions_total") > 0:
            return
    raise machine.BenchError(f"{feature.name}: the cache is not full after {FILL_SECONDS} s")


class Cpu:
    """Rounds of all features; {(load, feature): [CPU µs a request of each round]}."""

    def __init__(self, options):
        self.options = options
        self.rng = random.Random(options.seed)
        self.rounds = {(what, f.name): [] for what, _ in LOADS for f in options.features}
        self.foreign = []

    def start(self, number):
        """All started anew (how a process lies in memory lasts as long as it runs), then some rounds of each load."""
        mock = Mock(self.options.work, self.options)
        with contextlib.ExitStack() as stack:
            stack.callback(mock.stop)
            peers = started(self.options, mock, stack)
            stack.enter_context(machine.awake((machine.PEER_CORE, machine.LOAD_CORE)))
            for _ in range(self.options.rounds):
                for what, stream in LOADS:
                    self.round(peers, what, stream)
                    print(f"  start {number + 1}, {what}: " + ", ".join(
                        f"{f.name} {self.rounds[what, f.name][-1]:.1f}" for f in self.options.features) + " µs", flush=True)

    def round(self, peers, what, stream):
        turns = [f for f in self.options.features for _ in range(2 if f.is_plain else 1)]
        self.rng.shuffle(turns)
        found = {}
        for feature in turns:
            peer = peers[feature.name]
            peer.resume()
            found.setdefault(feature.name, []).append(self.one(peer, feature, stream))
            peer.pause()
        for name, values in found.items():
            self.rounds[what, name].append(statistics.mean(values))

    def one(self, peer, feature, stream):
        generator = Numbered(self.options, feature, stream)
        problem = None
        for _ in range(TRIES):
            try:
                generator.run(peer, 1)
                before = cache_hits(peer) if "cache" in feature.name else 0
                result = generator.measured(peer, self.options.seconds)
                if result["requests_per_s"] < SLOWEST_PER_S:
                    raise machine.BenchError(f"{feature.name}: {result['requests_per_s']:.0f} requests/s: "
                                             "other programs have the cores")
                if "cache" in feature.name:
                    check_cache(feature, cache_hits(peer) - before, result["requests"])
                self.foreign.append(result["foreign_share"])
                return result["cpu_us_per_request"]
            except machine.BenchError as e:
                problem = e
        raise problem


def started(options, mock, stack):
    """{feature: its running weir, paused}."""
    peers = {}
    for feature in options.features:
        if feature.instead in peers:
            peers[feature.name] = peers[feature.instead]
            continue
        program = options.base if feature.name == "base" else options.weir
        peer = Variant(feature, program, options.work, mock.port, options)
        peer.headers = headers_of(feature)
        peer.start()
        stack.callback(peer.stop)
        peer.check(body_of(feature, False).replace(PLACE, "0000000000"))
        if feature.name == "cache-miss":
            fill_cache(peer, feature, options)
        peer.pause()
        peers[feature.name] = peer
    return peers


# ---- instructions ----

class Lockstep:
    """A fixed number of requests over 16 connections: one on each, then all answers. The same work every time."""

    def __init__(self, peer, feature, stream):
        self.feature, self.stream = feature, stream
        self.number = 0
        self.sockets = [socket.create_connection(("127.0.0.1", peer.port), timeout=60) for _ in range(CONNECTIONS)]
        self.end = b"0\r\n\r\n" if stream else b"}"

    def request(self):
        self.number += 1
        body = body_of(self.feature, self.stream).replace(PLACE, f"{self.number:010}")
        head = "".join(f"{k}: {v}\r\n" for k, v in headers_of(self.feature).items()).replace(PLACE, f"{self.number:010}")
        return f"POST {CHAT} HTTP/1.1\r\nhost: bench\r\n{head}content-length: {len(body)}\r\n\r\n{body}".encode()

    def answer(self, s):
        text = b""
        while not whole(text, self.stream):
            piece = s.recv(65536)
            if not piece:
                raise machine.BenchError(f"{self.feature.name}: closed after {text[:300]!r}")
            text += piece
        if not text.startswith(b"HTTP/1.1 200"):
            raise machine.BenchError(f"{self.feature.name}: {text[:300]!r}")

    def run(self, requests):
        for _ in range(requests // CONNECTIONS):
            for s in self.sockets:
                s.sendall(self.request())
            for s in self.sockets:
                self.answer(s)

    def close(self):
        for s in self.sockets:
            s.close()


def whole(text, stream):
    head, blank, body = text.partition(b"\r\n\r\n")
    if not blank:
        return False
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return len(body) >= lengths[0] if lengths else stream and body.endswith(b"0\r\n\r\n")


def instructions(options, feature, stream):
    """Instructions a request in user mode: what 2,000 requests more take under callgrind, over 2,000."""
    return (total_instructions(options, feature, stream, 2400) - total_instructions(options, feature, stream, 400)) / 2000


def total_instructions(options, feature, stream, requests):
    out = options.work / f"callgrind.{feature.name}.{'streams' if stream else 'requests'}.{requests}"
    mock = Mock(options.work, options)
    peer = Variant(feature, options.base if feature.name == "base" else options.weir, options.work, mock.port, options)
    peer.wrapper = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "-q"]
    peer.start_timeout_s = 60
    try:
        peer.start()
        client = Lockstep(peer, feature, stream)
        client.run(requests)
        client.close()
        peer.process.send_signal(signal.SIGTERM)
        peer.process.wait(60)
    finally:
        peer.stop()
        mock.stop()
    for line in out.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(("summary:", "totals:")):
            return int(line.split()[1])
    raise machine.BenchError(f"{out}: callgrind wrote no summary")


# ---- report ----

def spread(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def ratios(cpu, what, feature):
    return [a / b for a, b in zip(cpu.rounds[what, feature.name], cpu.rounds[what, feature.against])]


def table(cpu, counted, what):
    counts = any(key[0] == what for key in counted)
    heads = ["", "what", "CPU µs a request", "over plain", "range", "bar"] + ["instructions", "over plain"] * counts
    rows = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for f in cpu.options.features:
        found = ratios(cpu, what, f)
        cells = [f.name, f.says, spread(cpu.rounds[what, f.name])]
        if f.is_plain:
            cells += ["", "", ""]
        else:
            middle = statistics.median(found)
            cells += [f"{middle:.3f}", f"{min(found):.3f}-{max(found):.3f}",
                      f"{'met' if met(f, middle) else 'MISSED'}: {says_bar(f)}"]
        if counts:
            own, plain = counted[what, f.name], counted[what, f.against]
            cells += [f"{own:,.0f}", "" if f.is_plain else f"{own / plain:.3f}"]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def met(feature, ratio):
    """The base is what may have been faster: its ratio is turned round."""
    return 1 / ratio < feature.bar if feature.name == "base" else ratio < feature.bar


def says_bar(feature):
    return f"plain < {feature.bar:.2f} of it" if feature.name == "base" else f"< {feature.bar:.2f}"


def report(options, cpu, counted, before):
    foreign = statistics.median(cpu.foreign)
    rows = [f"# What features cost, {time.strftime('%Y-%m-%d')}, {commit()}", "",
            f"{before['cpu']}, {before['cores']} cores, Linux {before['kernel']}. {options.starts} starts of {options.rounds} rounds of "
            f"{options.seconds} s. Other programs took {foreign:.0%} of weir's core (median){': the machine was shared' * (foreign > 0.02)}. "
            "Medians of all rounds, ranges in brackets; ratios are of the same round. Made by "
            "`bench/features.py`; what and how: there and bench/README.md.", ""]
    if options.base:
        rows += [f"base: `{version(options.base)}`; the others: `{version(options.weir)}`.", ""]
    for what, _ in LOADS:
        rows += [f"## {what.capitalize()}", "", *table(cpu, counted, what), ""]
    return "\n".join(rows)


def version(program):
    return subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


# ---- the command ----

def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--weir", default=str(ROOT / "build" / "release" / "weir"), help="the program to measure")
    p.add_argument("--base", help="an older one, whose plain relay is compared as well")
    p.add_argument("--starts", type=int, default=3, help="times that all are started anew")
    p.add_argument("--rounds", type=int, default=3, help="rounds of each start")
    p.add_argument("--seconds", type=int, default=1, help="length of a run")
    p.add_argument("--only", help="features, by name: " + ", ".join(f.name for f in FEATURES))
    p.add_argument("--seed", type=int, default=1, help="of the order")
    p.add_argument("--quick", action="store_true", help="one start of one round")
    p.add_argument("--realtime", action="store_true", help="for a shared machine (root): see README.md")
    p.add_argument("--instructions", action="store_true", help="count instructions too, by callgrind: 5 minutes more")
    p.add_argument("--keep", action="store_true", help="leave logs and callgrind's profiles in bench/work-features")
    p.add_argument("--write", action="store_true", help="into bench/results/features.md")
    options = p.parse_args()
    if options.quick:
        options.starts, options.rounds = 1, 1
    options.mock = [options.weir, "mock"]
    machine.realtime = options.realtime
    return options


def chosen(options):
    features = list(FEATURES)
    if options.base:
        features.append(Feature("base", "the plain relay of the base", bar=BASE_BAR))
    if not options.only:
        return features
    wanted = set(options.only.split(","))
    unknown = wanted - {f.name for f in features}
    if unknown:
        sys.exit(f"features: no feature {', '.join(sorted(unknown))}; there are {', '.join(f.name for f in features)}")
    needed = {f.against for f in features if f.name in wanted} | {f.instead for f in features if f.name in wanted}
    return [f for f in features if f.name in wanted | needed | {"plain"}]


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays behind
    options = arguments()
    options.features = chosen(options)
    for tool in ["wrk", options.weir, *([options.base] if options.base else []), *["valgrind"] * options.instructions]:
        if not shutil.which(tool):
            sys.exit(f"features: {tool} is not there: run scripts/dev/bench-deps, then make release")
    with tempfile.TemporaryDirectory(prefix="weir-features-") as folder:
        options.work = ROOT / "bench" / "work-features" if options.keep else pathlib.Path(folder)
        options.work.mkdir(parents=True, exist_ok=True)
        before = machine.describe()
        try:
            cpu = Cpu(options)
            for number in range(options.starts):
                cpu.start(number)
            counted = {(what, f.name): instructions(options, f, stream)
                       for what, stream in LOADS for f in options.features} if options.instructions else {}
        except machine.BenchError as e:
            sys.exit(f"features: {e}")
    text = report(options, cpu, counted, before)
    print(text)
    if options.write:
        (ROOT / "bench" / "results" / "features.md").write_text(text, encoding="utf-8")
    missed = [f.name for what, _ in LOADS for f in options.features
              if not f.is_plain and not met(f, statistics.median(ratios(cpu, what, f)))]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
