#!/usr/bin/env python3
"""run.py -- `make bench`: weir beside nginx, HAProxy, Portkey and LiteLLM.

Each peer alone on core 0; the simulated provider and the generator on core 1. Rounds are
interleaved (A B C A B C), figures are medians. README.md says what is measured and how."""

import argparse
import datetime
import pathlib
import resource
import shutil
import signal
import subprocess
import sys

import machine
import report
from peers import PEERS, ROOT, Mock
from scenarios import SCENARIOS


class Bench:
    def __init__(self, options):
        self.options = options
        self.results = report.Results()

    def say(self, text):
        print(text, flush=True)

    def run_scenario(self, scenario):
        self.say(f"\n{scenario.name}: {scenario.says}")
        mock = Mock(self.options.work, self.options)
        try:
            peers = [p(self.options.work, mock.port, self.options) for p in self.options.peers]
            peers = [p for p in peers if scenario.takes(p)]
            for peer, number, result in scenario.run(self, peers):
                self.results.add(scenario.name, peer.name, number, result)
                self.say(f"  {number + 1} {peer.name:8} {progress(result)}")
        finally:
            mock.stop()

    def run(self):
        for scenario in self.options.scenarios:
            try:
                self.run_scenario(scenario)
            except machine.BenchError as e:
                self.results.add(scenario.name, "", 0, e)
                self.say(f"  {e}")


def progress(result):
    if isinstance(result, Exception):
        return f"not measured: {result}"
    parts = []
    for heading, metric, divisor, digits in report.COLUMNS:
        if metric in result:
            parts.append(f"{heading} {result[metric] / divisor:,.{digits}f}")
    if "which" in result:
        parts.append(", ".join(f"{k} {v}" for k, v in result["which"].items()))
    return "; ".join(parts)


def named(rows, text, what):
    """The rows whose names are in a comma-separated list."""
    by_name = {row.name: row for row in rows}
    chosen = []
    for name in text.split(","):
        if name not in by_name:
            raise argparse.ArgumentTypeError(f"no {what} \"{name}\"; there are {', '.join(by_name)}")
        chosen.append(by_name[name])
    return chosen


def arguments(argv):
    build = ROOT / "build" / "release"
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--weir", default=str(build / "weir"), help="the program to measure")
    p.add_argument("--mock", default="", help="the provider's command (default: WEIR mock)")
    p.add_argument("--stream-load", default=str(build / "stream_load"), help="generator of streams")
    p.add_argument("--latency-load", default=str(build / "latency_load"),
                   help="generator of requests one at a time")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=int, default=2, help="length of a run")
    p.add_argument("--realtime", action="store_true", help="for a shared machine (root): what is "
                   "measured goes before all other work, scheduled round robin")
    p.add_argument("--quick", action="store_true", help="one round of one second, no slow peers")
    p.add_argument("--only", metavar="SCENARIO,...",
                   type=lambda t: named(SCENARIOS, t, "scenario"), dest="scenarios",
                   default=SCENARIOS, help=", ".join(s.name for s in SCENARIOS))
    p.add_argument("--peers", metavar="PEER,...", type=lambda t: named(PEERS, t, "peer"),
                   default=PEERS, help=", ".join(s.name for s in PEERS))
    p.add_argument("--results", type=pathlib.Path, default=ROOT / "bench" / "results")
    p.add_argument("--work", type=pathlib.Path, default=ROOT / "bench" / "work",
                   help="logs and configurations of the run (emptied first)")
    options = p.parse_args(argv)
    machine.realtime = options.realtime
    options.mock = options.mock.split() or [options.weir, "mock"]
    if options.quick:
        options.rounds, options.seconds = 1, 1
        options.peers = [peer for peer in options.peers if not peer.slow]
    return options


def present(options):
    """The peers that can be measured here; names what is missing. Returns their versions."""
    versions = {}
    for peer_class in list(options.peers):
        peer = peer_class(options.work, 0, options)
        missing = peer.missing()
        if missing:
            print(f"{peer.name} is left out: {missing}")
            options.peers.remove(peer_class)
        else:
            versions[peer.name] = peer.version()
    return versions


def need_tools(options):
    for tool in ("wrk", options.stream_load, options.latency_load, options.mock[0]):
        if not shutil.which(tool):
            raise machine.BenchError(
                f"{tool} is not there: run scripts/dev/bench-deps, then cmake --preset release && "
                "cmake --build build/release --target weir bench_tools")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 12000:
        raise machine.BenchError(f"{hard} open files are allowed, 12,000 are needed: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def commit():
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() or "uncommitted"


def main(argv):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays behind
    options = arguments(argv)
    options.peers = list(options.peers)
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    options.work = options.work.resolve()
    try:
        need_tools(options)
    except machine.BenchError as e:
        print(f"bench: {e}", file=sys.stderr)
        return 3
    versions = present(options)
    bench = Bench(options)
    meta = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "commit": commit(), "rounds": options.rounds, "seconds": options.seconds,
            "realtime": options.realtime,
            "machine": machine.describe(), "versions": versions}
    print(f"{meta['commit']}; {meta['machine']}")
    bench.run()
    print()
    for bar in report.bars(bench.results):
        print(report.bar_line(bar))
    print(f"\n{report.save(bench.results, meta, options.scenarios, options.results)}")
    return 1 if bench.results.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
