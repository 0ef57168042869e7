"""The generators: wrk for requests, stream_load for streams, both on the load core, and what the
peer spent meanwhile."""

import json
import os
import subprocess
import time

import machine
from peers import CHAT, HERE


def chat_body(size):
    """A chat request of `size` bytes, its model behind the messages as the OpenAI client sends it."""
    tail = '"}],"temperature":0.7,"model":"sim-fast","max_tokens":16}'
    head = '{"messages":[{"role":"user","content":"'
    words = "the river rises slowly under the old stone bridge and then falls again "
    filler = words * (size // len(words) + 1)
    return (head + filler[:size - len(head) - len(tail)] + tail).encode()


def _generate(argv, env, limit_s):
    """Runs a generator on the load core and returns its output."""
    p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
                         preexec_fn=lambda: machine.pin(machine.LOAD_CORE))
    try:
        out, err = p.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        p.kill()
        p.communicate()
        raise machine.BenchError(f"{argv[0]}: not done after {limit_s} s") from None
    return out, err


def measure(peer, work):
    """Runs `work` (which returns a dict) and adds what the peer's processes spent meanwhile."""
    if peer.name == "direct":
        return work()
    busy, begin = machine.core_busy_s(machine.PEER_CORE), time.perf_counter()
    cpu, waited = machine.cpu_times(peer.pid)
    result = work()
    cpu_after, waited_after = machine.cpu_times(peer.pid)
    seconds = time.perf_counter() - begin
    used_s = (cpu_after - cpu) / 1e9
    foreign_s = machine.core_busy_s(machine.PEER_CORE) - busy - used_s
    result.update(
        cpu_s=used_s, peer_core_share=used_s / seconds,
        foreign_share=max(0.0, foreign_s / seconds),
        waited_share=(waited_after - waited) / 1e9 / seconds, rss_kib=machine.rss_kib(peer.pid))
    return result


class Requests:
    """Requests by wrk over kept connections."""

    def __init__(self, options, body, connections, delay_ms=0):
        self.options = options
        self.connections = connections
        self.delay_ms = delay_ms
        self.body_path = options.work / f"body-{len(body)}.json"
        self.body_path.write_bytes(body)

    def run(self, peer, seconds):
        headers = {"content-type": "application/json", "authorization": "Bearer sk-bench",
                   **peer.headers}
        if self.delay_ms:
            headers["x-mock-delay-ms"] = self.delay_ms
        env = {**os.environ, "BENCH_BODY": str(self.body_path),
               "BENCH_HEADERS": "".join(f"{k}: {v}\n" for k, v in headers.items())}
        return self.wrk(peer, seconds, env)

    def wrk(self, peer, seconds, env):
        argv = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "--timeout", "30s", "-s",
                str(HERE / "wrk.lua"), f"http://127.0.0.1:{peer.port}{CHAT}"]
        out, err = _generate(argv, env, seconds + 60)
        for line in out.splitlines():
            if line.startswith("RESULT "):
                return json.loads(line[7:])
        raise machine.BenchError(f"wrk against {peer.name}: {(out + err)[-400:]}")

    def measured(self, peer, seconds):
        result = measure(peer, lambda: self.run(peer, seconds))
        if result["requests"] == 0 or result["failed"] > result["requests"] / 1000:
            raise machine.BenchError(f"{peer.name}: {result['failed']} of {result['requests']} failed")
        result["requests_per_s"] = result["requests"] / result["seconds"]
        if "cpu_s" in result:
            result["cpu_us_per_request"] = result["cpu_s"] * 1e6 / result["requests"]
        return result


class OneAtATime(Requests):
    """Requests one after the other by latency_load: each is a sample as it was."""

    def __init__(self, options, body):
        super().__init__(options, body, 1)

    def run(self, peer, seconds):
        headers = {"content-type": "application/json", "authorization": "Bearer sk-bench",
                   **peer.headers}
        argv = [self.options.latency_load, str(peer.port), str(seconds), str(self.body_path),
                *(f"{k}: {v}" for k, v in headers.items())]
        out, err = _generate(argv, None, seconds + 60)
        try:
            return json.loads(out)
        except ValueError:
            raise machine.BenchError(f"latency_load against {peer.name}: {(out + err)[-400:]}") from None


class Streams:
    """Paced streams by stream_load; every frame carries the time at which it was written."""

    def __init__(self, options, streams, tokens, rate):
        self.options = options
        self.streams = streams
        self.tokens = tokens
        self.rate = rate

    def run(self, peer, seconds):
        argv = [self.options.stream_load]
        for name, value in peer.headers.items():
            argv += ["-H", f"{name}: {value}"]
        argv += ["127.0.0.1", str(peer.port), str(self.streams), str(self.tokens), str(self.rate),
                 str(seconds)]
        out, err = _generate(argv, None, seconds + 150)
        try:
            raw = json.loads(out)
        except ValueError:
            raise machine.BenchError(f"stream_load against {peer.name}: {(out + err)[-400:]}") from None
        result = {k: raw[k] for k in ("streams_done", "failed", "frames", "seconds")}
        for group in ("frame_delay", "ttft"):
            for quantile, value in raw[f"{group}_us"].items():
                result[f"{group}_{quantile}_us"] = value
        return result

    def measured(self, peer, seconds):
        result = measure(peer, lambda: self.run(peer, seconds))
        if result["frames"] == 0 or result["failed"]:
            raise machine.BenchError(f"{peer.name}: {result['failed']} streams failed")
        result["events_per_s"] = result["frames"] / result["seconds"]
        if "cpu_s" in result:
            result["cpu_us_per_event"] = result["cpu_s"] * 1e6 / result["frames"]
        return result
