"""The instruments that bench/measuring.py holds against each other, and the simulated provider whose truth is known."""

import base64
import csv
import http.client
import json
import math
import os
import shutil
import struct
import subprocess
import time
import zlib

import machine
from peers import CHAT, HERE

CLIENT = HERE / "peers" / "measuring" / "client.py"
PYTHON = "/usr/bin/python3"  # Debian's: python3-aiohttp is its package
US, MS, S = 1e3, 1e6, 1e9  # in ns


def nearest_rank(values, share):
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def pair(values):
    """(p50, p99), or None of nothing."""
    values = list(values)
    return (nearest_rank(values, 0.5), nearest_rank(values, 0.99)) if values else None


def hdr_counts(text):
    """[(value, count)] of a histogram in HdrHistogram's V2 encoding (compressed, base64): three digits, values from 1 on."""
    packed = base64.b64decode(text)
    payload = zlib.decompress(packed[8:])
    found, at, index = [], 40, 0
    end = 40 + struct.unpack(">i", payload[4:8])[0]
    while at < end:
        number = shift = 0
        while True:  # ZigZag LEB128; the ninth byte has eight bits
            byte = payload[at]
            at += 1
            number |= (byte if shift == 56 else byte & 127) << shift
            shift += 7
            if byte < 128 or shift == 63:
                break
        number = (number >> 1) ^ -(number & 1)
        if number < 0:
            index -= number
            continue
        if number:
            bucket = max((index >> 10) - 1, 0)
            sub = index if index < 2048 else (index & 1023) + 1024
            found.append(((sub << bucket) + ((1 << bucket) >> 1), number))
        index += 1
    return found


def hdr_quantile(text, share):
    counts = hdr_counts(text)
    left = math.ceil(share * sum(n for _, n in counts))
    for value, n in counts:
        left -= n
        if left <= 0:
            return value
    return None


class Provider:
    """weir mock on the peers' core, with an account of its answers."""

    def __init__(self, options, *words):
        self.port = machine.free_port()
        self.log = options.work / "mock.out"
        self.process = machine.spawn([options.weir, "mock", "--port", str(self.port), "--times", "400000", *map(str, words)],
                                     machine.PEER_CORE, self.log)
        deadline = time.monotonic() + 10
        while not self.listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise machine.BenchError(f"weir mock did not start: see {self.log}")
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        machine.end(self.process)

    def listens(self):
        try:
            return self.ask("GET", "/health") is not None
        except OSError:
            return False

    def ask(self, method, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            c.request(method, path, json.dumps(body) if body else None, {"content-type": "application/json"})
            answer = c.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise machine.BenchError(f"weir mock {path}: {answer.status} {text[:200]!r}")
            return json.loads(text)
        finally:
            c.close()

    def reset(self):
        self.ask("POST", "/mock/reset")

    def stats(self):
        return self.ask("GET", "/mock/stats")

    def times(self, rows=False):
        return self.ask("GET", "/mock/times?rows" if rows else "/mock/times")

    def freeze(self, after_s, seconds):
        self.ask("POST", "/mock/freeze", {"after_ms": round(after_s * 1000), "ms": round(seconds * 1000)})

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


def run(argv, limit_s, env=None):
    """Runs an instrument on the load core; (exit status, its output, what it said on stderr)."""
    p = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
                         preexec_fn=lambda: machine.pin(machine.LOAD_CORE))
    try:
        out, err = p.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        p.kill()
        p.communicate()
        raise machine.BenchError(f"{argv[0]}: not done after {limit_s:.0f} s") from None
    return p.returncode, out, err


class Tool:
    """One instrument. `measure` returns {"total": (p50, p99), "ttft": ..., "gap": ..., "requests": n}, ns; what it can't measure is not there."""

    name = ""
    rare = False  # takes part in few rounds of what is about cost
    open_loop = False  # keeps to a schedule when the provider stands still

    def __init__(self, options):
        self.options = options

    def missing(self):
        return None

    def argv(self, cell, provider, body, seconds):
        raise NotImplementedError

    def env(self, _body):
        return None

    def read(self, out, err, status):
        raise NotImplementedError

    def measure(self, cell, provider, body, seconds):
        status, out, err = run(self.argv(cell, provider, body, seconds), seconds + 60, self.env(body))
        found = self.read(out, err, status)
        if found.get("failed") or not found["requests"]:
            raise machine.BenchError(f"{self.name}: {found.get('failed')} of {found['requests']} failed: {(out + err)[-300:]}")
        return found


class Wrk(Tool):
    name = "wrk"

    def missing(self):
        return None if shutil.which("wrk") else "not installed (scripts/dev/bench-deps)"

    def argv(self, cell, provider, body, seconds):
        return ["wrk", "-t1", f"-c{cell.connections}", f"-d{seconds}s", "--timeout", "30s", "-s", HERE / "wrk.lua", provider.url + CHAT]

    def env(self, body):
        return {**os.environ, "BENCH_BODY": str(body), "BENCH_HEADERS": "content-type: application/json\n"}

    def read(self, out, err, status):
        for line in out.splitlines():
            if line.startswith("RESULT "):
                r = json.loads(line[7:])
                return {"requests": r["requests"], "failed": r["failed"], "total": (r["p50_us"] * US, r["p99_us"] * US)}
        raise machine.BenchError(f"wrk: {(out + err)[-300:]}")


class Hey(Tool):
    """Its times have four digits behind the second's point. Its "response delay" ends with the first byte of the head: with streams it is no TTFT,
    and is shown as one because it is what it has."""

    name = "hey"
    rare = True

    def missing(self):
        return None if shutil.which("hey") else "not installed (Debian package hey)"

    def argv(self, cell, provider, body, seconds):
        return ["hey", "-z", f"{seconds}s", "-c", cell.connections, "-t", 60, "-m", "POST", "-T", "application/json", "-D", body, "-o", "csv",
                provider.url + CHAT]

    def read(self, out, err, status):
        rows = [r for r in csv.DictReader(out.splitlines()) if r.get("status-code", "").isdigit()]
        found = {"requests": len(rows), "failed": sum(r["status-code"] != "200" for r in rows)}
        found["total"] = pair(float(r["response-time"]) * S for r in rows)
        found["ttft"] = pair(float(r["Response-delay"]) * S for r in rows)
        return found


class Python(Tool):
    name = "aiohttp"
    rare = True

    def missing(self):
        have = subprocess.run([PYTHON, "-c", "import aiohttp"], capture_output=True, check=False).returncode == 0
        return None if have else "not installed (Debian package python3-aiohttp)"

    def argv(self, cell, provider, body, seconds):
        words = [PYTHON, CLIENT, provider.url + CHAT, cell.connections, seconds, "--body", body]
        return words + (["--stream"] if cell.stream else [])

    def read(self, out, err, status):
        try:
            r = json.loads(out)
        except ValueError:
            raise machine.BenchError(f"client.py: {(out + err)[-300:]}") from None
        found = {k: (r[k]["p50"], r[k]["p99"]) for k in ("total", "ttft", "gap") if r[k]["count"]}
        return {**found, "requests": r["requests"], "failed": r["failed"]}


class Weir(Tool):
    """weir load. Where the provider stands still it keeps to a schedule, and its times are those from when a request was due."""

    name = "weir"
    open_loop = True

    def __init__(self, options):
        super().__init__(options)
        self.export = options.work / "weir.json"

    def argv(self, cell, provider, body, seconds, rate=None):
        self.export.unlink(missing_ok=True)
        words = [self.options.weir, "load", "--url", provider.url, "--model", "sim-fast", "--body", body, "--duration", f"{seconds}s",
                 "--export", self.export, "--quiet"]
        if not cell.stream:
            words.append("--no-stream")
        rate = rate or cell.rate
        return words + (["--rate", rate, "--connections", cell.connections] if rate else ["--concurrency", cell.connections])

    def report(self):
        try:
            return json.loads(self.export.read_text(encoding="utf-8"))
        except (OSError, ValueError) as e:
            raise machine.BenchError(f"weir load left no report in {self.export}: {e}") from None

    def times(self, report, name):
        """(p50, p99) of a metric; where the report refuses one (its samples are too few, or depend on each other too much), its histogram's."""
        told = report["summary"]["metrics"].get(name)
        if not told or not told["count"]:
            return None, ()
        said, refused = [], []
        for q, key, share in ((0, "p50_ms", 0.5), (1, "p99_ms", 0.99)):
            if told[key] is None:
                refused.append(q)
                said.append(hdr_quantile(report["mergeable"]["total"]["metrics"][name]["hdr"], share))
            else:
                said.append(told[key] * MS)
        return tuple(said), tuple(refused)

    def measure(self, cell, provider, body, seconds):
        status, out, err = run(self.argv(cell, provider, body, seconds), seconds + 60)
        report = self.report()
        found = {"requests": report["summary"]["requests"], "refused": {}, "status": status}
        if report["summary"]["failed"] or not found["requests"]:
            raise machine.BenchError(f"weir: {report['summary']['failed']} of {found['requests']} failed: {(out + err)[-300:]}")
        names = {"total": "response", "ttft": "ttft_corrected", "gap": "icl"} if cell.rate else {"total": "latency", "ttft": "ttft", "gap": "icl"}
        for key, name in names.items():
            said, found["refused"][key] = self.times(report, name)
            if said and (cell.stream or key == "total"):
                found[key] = said
        return found


TOOLS = (Weir, Wrk, Hey, Python)
