#!/usr/bin/env python3
"""follow.py -- how long after a line is written does `weir tail` print it?

    follow.py [--rate LINES_PER_S] [--seconds S] [--weir BINARY] [--poll] [--options "--json --show-content"]

One process writes lines at an even rate, each with the moment of its writing in its id; another reads what weir tail prints into a
pipe. Told are the median, p99 and the longest, in ms, the processor time of weir tail, and that no line was lost or doubled.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

LINE = ('{"timestamp":"%s","level":"INFO","event":"request","request_id":"%d.%d","model":"gpt-4o-mini","provider":"openai",'
        '"call_type":"chat.completions","stream":true,"status":"success","http_status":200,"latency_ms":912.345,"ttft_ms":301.2,'
        '"upstream_ms":912.3,"overhead_ms":0.045,"prompt_tokens":412,"completion_tokens":96,"total_tokens":508,'
        '"tokens_source":"provider","tokens_per_second":157.1,"cost_usd":0.0001194,"finish_reason":"stop"}\n')
STEP_S = 0.002


def stamp():
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"


def write(path, rate, seconds):
    """Lines in small writes, one each STEP_S, as a gateway's workers flush them."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    begin, written, total = time.monotonic(), 0, int(rate * seconds)
    while written < total:
        due = min(int((time.monotonic() - begin) * rate) + 1, total)
        if due > written:
            text, now = stamp(), time.monotonic_ns()
            os.write(fd, "".join(LINE % (text, number, now) for number in range(written, due)).encode())
            written = due
        time.sleep(STEP_S)
    os.close(fd)
    return total


def measure(weir, rate, seconds, *options):
    """{"lines", "lost", "median_ms", "p99_ms", "max_ms", "cpu_s"}"""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "requests.log")
        pathlib.Path(path).touch()
        tail = subprocess.Popen([str(weir), "tail", path, "-n", "0", *options], stdout=subprocess.PIPE,
                                env={**os.environ, "LANG": "C.UTF-8"})
        delays, ids = [], []

        def read():
            rest = b""
            while chunk := os.read(tail.stdout.fileno(), 1 << 20):
                now = time.monotonic_ns()
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    number, written = line.split(b'"request_id":"', 1)[1].split(b'"', 1)[0].split(b".")
                    delays.append((now - int(written)) / 1e6)
                    ids.append(int(number))

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.3)
        writer = subprocess.run([sys.executable, "-B", __file__, "--write", path, "--rate", str(rate), "--seconds", str(seconds)],
                                stdout=subprocess.PIPE, check=True)
        time.sleep(1)
        tail.terminate()
        reader.join()
        _, _, usage = os.wait4(tail.pid, 0)
        total = int(writer.stdout)
    delays.sort()
    return {"lines": total, "lost": total - len(set(ids)), "doubled": len(ids) - len(set(ids)), "in_order": ids == sorted(ids),
            "median_ms": round(delays[len(delays) // 2], 2), "p99_ms": round(delays[len(delays) * 99 // 100], 2),
            "max_ms": round(delays[-1], 2), "cpu_s": round(usage.ru_utime + usage.ru_stime, 2)}


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--weir", default=root / "build/release/weir")
    parser.add_argument("--poll", action="store_true")
    parser.add_argument("--options", default="--json", help="more for weir tail: what it prints must hold the lines")
    parser.add_argument("--write", metavar="FILE", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write:
        print(write(asked.write, asked.rate, asked.seconds))
        return
    print(json.dumps(measure(asked.weir, asked.rate, asked.seconds, *asked.options.split(), *(["--poll"] if asked.poll else [])), indent=1))


if __name__ == "__main__":
    main()
