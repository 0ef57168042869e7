"""The scenarios: what is run against each peer, and what comes out of it."""

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import time

import load
import machine
import peers as peers_module
from machine import BenchError

KIB = 1024
IDLE_CONNECTIONS = 5000


class Scenario:
    """Peers are started once, then measured in turns, A B C, C B A: a machine that becomes slower or
    faster does so for all. One that waits is stopped."""

    def __init__(self, name, says, body_bytes=KIB, slow_peers=False, direct=True):
        self.name = name
        self.says = says
        self.body_bytes = body_bytes
        self.slow_peers = slow_peers
        self.direct = direct

    def takes(self, peer):
        return (self.slow_peers or not peer.slow) and (self.direct or peer.name != "direct") and \
            (peer.only is None or self.name in peer.only)

    def generator(self, options):
        raise NotImplementedError

    def run(self, bench, peers):
        """Yields (peer, round, result or BenchError)."""
        generator = self.generator(bench.options)
        running = []
        with contextlib.ExitStack() as stack:
            for peer in peers:
                try:
                    peer.start(self.body_bytes)
                    stack.callback(peer.stop)
                    peer.check(load.chat_body(self.body_bytes))
                    peer.pause()
                    running.append(peer)
                except BenchError as e:
                    yield peer, 0, e
            stack.enter_context(machine.awake((machine.PEER_CORE, machine.LOAD_CORE)))
            for number in range(bench.options.rounds):
                for peer in running if number % 2 == 0 else running[::-1]:
                    peer.resume()
                    yield peer, number, self.one(bench, generator, peer)
                    peer.pause()

    def one(self, bench, generator, peer):
        try:
            generator.run(peer, 3 if peer.slow else 1)  # connections, caches, the JIT compiler
            return generator.measured(peer, bench.options.seconds)
        except BenchError as e:
            return e


class RequestScenario(Scenario):
    def __init__(self, name, says, connections, delay_ms=0, **more):
        super().__init__(name, says, **more)
        self.connections = connections
        self.delay_ms = delay_ms

    def generator(self, options):
        return load.Requests(options, load.chat_body(self.body_bytes), self.connections,
                             self.delay_ms)


class LatencyScenario(Scenario):
    def generator(self, options):
        return load.OneAtATime(options, load.chat_body(self.body_bytes))


class StreamScenario(Scenario):
    def __init__(self, name, says, streams, tokens, rate, **more):
        super().__init__(name, says, **more)
        self.streams = streams
        self.tokens = tokens
        self.rate = rate

    def generator(self, options):
        return load.Streams(options, self.streams, self.tokens, self.rate)

    def one(self, bench, generator, peer):
        try:
            load.Streams(bench.options, self.streams, 5, 10).run(peer, 1)
            return generator.measured(peer, bench.options.seconds)
        except BenchError as e:
            return e


class Once(Scenario):
    """Scenarios that need a freshly started peer each time."""

    def __init__(self, name, says, slow_peers=False):
        super().__init__(name, says, slow_peers=slow_peers, direct=False)

    def run(self, bench, peers):
        for number in range(bench.options.rounds):
            for peer in peers:
                if peer.slow and number > 0:
                    continue
                try:
                    result = self.fresh(bench, peer)
                except BenchError as e:
                    result = e
                finally:
                    peer.stop()
                yield peer, number, result

    def fresh(self, bench, peer):
        raise NotImplementedError


class ColdStart(Once):
    """From exec to the first 200 of the health check, and what the program weighs."""

    def fresh(self, bench, peer):
        result = {"cold_start_ms": peer.start() * 1000}
        if peer.binary():
            result["binary_kib"] = stripped_bytes(peer.binary(), bench.options.work) / KIB
        return result


def stripped_bytes(binary, work):
    copy = work / "stripped"
    try:
        done = subprocess.run(["strip", "-o", str(copy), binary], check=False, capture_output=True)
    except OSError:
        done = None
    return os.path.getsize(copy if done and done.returncode == 0 else binary)


class Memory(Once):
    """Resident memory: at start, under load, with idle connections, and after a crowd has gone."""

    def fresh(self, bench, peer):
        peer.start()
        time.sleep(0.3)
        result = {"rss_start_kib": machine.rss_kib(peer.pid)}
        body = load.chat_body(KIB)
        seconds = 5 if peer.slow else 1
        busy = load.Requests(bench.options, body, 64).measured(peer, seconds)
        result["rss_64_kib"] = busy["rss_kib"]
        if not peer.slow:
            result |= self.crowd(bench, peer, body)
        return result

    def crowd(self, bench, peer, body):
        before = machine.rss_kib(peer.pid)
        with idle_connections(peer, body, IDLE_CONNECTIONS):
            idle = machine.rss_kib(peer.pid)
        load.Requests(bench.options, body, IDLE_CONNECTIONS, delay_ms=20).run(peer, 2)
        load.Streams(bench.options, IDLE_CONNECTIONS, 5, 2).run(peer, 1)
        time.sleep(2)
        return {"rss_idle_5000_kib": idle,
                "idle_connection_kib": (idle - before) / IDLE_CONNECTIONS,
                "rss_gone_5000_kib": machine.rss_kib(peer.pid)}


@contextlib.contextmanager
def idle_connections(peer, body, count):
    """Keep-alive connections that made one request each and then say nothing."""
    head = (f"POST {peers_module.CHAT} HTTP/1.1\r\nhost: bench\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n").encode()
    sockets = []
    try:
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", peer.port), timeout=10)
            sockets.append(s)
            s.sendall(head + body)
            answer = http.client.HTTPResponse(s)
            answer.begin()
            answer.read()
            if answer.status != 200:
                raise BenchError(f"{peer.name} answered {answer.status} on an idle connection")
        time.sleep(0.5)
        yield
    except OSError as e:
        raise BenchError(f"{peer.name}: connection {len(sockets)} of {count}: {e}") from e
    finally:
        for s in sockets:
            s.close()


class SystemCalls(Once):
    """System calls a request at 64 connections. strace slows the peer down, so only counts count."""

    def fresh(self, bench, peer):
        if not shutil.which("strace"):
            raise BenchError("strace is not installed: scripts/dev/bench-deps")
        peer.start()
        generator = load.Requests(bench.options, load.chat_body(KIB), 64)
        generator.run(peer, 1)
        report = bench.options.work / "strace.txt"
        argv = ["strace", "-c", "-f", "-U", "calls,name", "-o", str(report)]
        for pid in machine.tree(peer.pid):
            argv += ["-p", str(pid)]
        tracer = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        requests = generator.run(peer, 2)["requests"]
        tracer.terminate()
        tracer.wait()
        return count_calls(report.read_text(encoding="ascii"), requests)


def count_calls(report, requests):
    calls = {}
    for line in report.splitlines():
        fields = line.split()
        if len(fields) == 2 and fields[0].isdigit():
            calls[fields[1]] = int(fields[0])
    total = calls.pop("total", 0)
    if not total or not requests:
        raise BenchError("strace counted nothing: may this process be traced? (ptrace)")
    most = sorted(calls, key=calls.get, reverse=True)[:6]
    return {"calls_per_request": total / requests,
            "which": {name: round(calls[name] / requests, 2) for name in most}}


SCENARIOS = [
    RequestScenario("kb1", "1 KB requests, 64 connections, as fast as they go", 64,
                    slow_peers=True),
    RequestScenario("kb100", "100 KB requests, 64 connections, as fast as they go", 64,
                    body_bytes=100 * KIB),
    LatencyScenario("latency", "1 KB requests, one at a time", slow_peers=True),
    RequestScenario("delay64", "1 KB requests, 64 connections, provider takes 20 ms", 64, 20),
    RequestScenario("delay1000", "1 KB requests, 1,000 connections, provider takes 20 ms", 1000, 20),
    # Short ones: p99 of the time to first token needs hundreds of firsts a round.
    StreamScenario("stream64", "64 streams of 10 tokens at 50 tokens/s", 64, 10, 50,
                   slow_peers=True),
    StreamScenario("stream512", "512 streams of 20 tokens/s", 512, 40, 20),
    StreamScenario("stream5000", "5,000 streams of 2 tokens/s", 5000, 10, 2),
    StreamScenario("events", "128 streams of 400 tokens/s: the cost of an event", 128, 400, 400),
    Memory("memory", "resident memory", slow_peers=True),
    SystemCalls("syscalls", "system calls, 1 KB requests, 64 connections"),
    ColdStart("start", "from exec to the first answered health check", slow_peers=True),
]
