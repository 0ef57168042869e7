#!/usr/bin/env python3
"""measuring.py -- how right the instruments are, and what they cost: weir load beside wrk, hey and a Python client.

    python3 bench/measuring.py --write            # 25 minutes
    python3 bench/measuring.py --quick            # 5
    python3 bench/measuring.py --only truth --connections 64

`weir mock` answers with delays that are told to it and keeps its own account of when each request came (the kernel's receive time) and each part of the
answer was handed to the kernel: the truth of a run is that run's account, not only what was programmed. What an instrument says is held against it.
Where the provider stands still for two seconds, the truth is what somebody saw who came on schedule.

README.md says what is measured and how far to trust it. Ends with 1 where a bar was missed."""

import argparse
import dataclasses
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time

import load
import machine
from measuring_tools import MS, S, TOOLS, US, Provider, Python, Weir, nearest_rank, pair, run
from peers import ROOT
from run import commit

ALLOWED_SHARE, ALLOWED_NS = 0.01, 100 * US
CPU_BAR, CHUNK_BAR_US = 1.05, 12
RATE, RATE_BAR, LATE_P50_BAR_US, LATE_P99_BAR_US = 20000, 0.001, 5, 100
STALL_S, STALL_AFTER_S = 2, 2.5
REALTIME_S = 0.8  # the kernel lets who never sleeps have 950 ms of each second (sched_rt_runtime_us)
RARE_ROUNDS = 3  # of cost, of those that are many times as dear
CPU_SETTLE_S = 0.7  # connections are made and caches warm
METRICS = (("total", "total"), ("ttft", "TTFT"), ("gap", "inter-token"))


# ---- what the provider is told: a table ----

@dataclasses.dataclass
class Cell:
    """One provider and one load. Delays grow with the connections, so that the provider's core is never what is measured."""

    kind: str
    connections: int
    words: list
    stream: bool
    rate: int = 0  # of a schedule; 0: one request after the other
    stall: bool = False
    says: str = ""


DELAYS = {1: (10, 1000, 6), 64: (50, 200, 8), 512: (200, 50, 8)}  # ms to the first token, tokens/s, tokens
SCHEDULES = {1: 40, 64: 400, 512: 800}  # requests/s while it stands still


def cells_for(connections):
    ms, rate, tokens = DELAYS[connections]
    stream = ["--ttft-ms", ms, "--tokens-per-second", rate, "--tokens", tokens]
    slow = ["--slow-share", 0.05, "--slow-ms", 4 * ms]
    return [
        Cell("plain", connections, ["--delay-ms", ms], False, says=f"whole answers after {ms} ms"),
        Cell("fixed", connections, stream, True, says=f"first token after {ms} ms, then {tokens - 1} more at {rate}/s"),
        Cell("bimodal", connections, stream + slow, True, says=f"the same; of 20 requests one takes {4 * ms} ms longer"),
        Cell("stall", connections, stream, True, rate=SCHEDULES[connections], stall=True,
             says=f"the same as fixed, and the provider stands still for {STALL_S} s; weir keeps to {SCHEDULES[connections]} requests/s"),
    ]


# ---- truth ----

def stalled(times, typical_ns, share):
    """What somebody sees who comes at any moment of the run, by arithmetic: who would be done by the stall's begin is done, who would not is done at its end, and
    who comes meanwhile is only then served."""
    rows, base = times["rows"], times["base_ns"]
    begin, end = (times["freezes"][-1][k] - base for k in ("begin_ns", "end_ns"))
    seen, last, steps = [], rows[-1][0], 20000
    for i in range(steps):
        at = last * i / steps
        if at + typical_ns < begin or at >= end:
            seen.append(typical_ns)
        else:
            seen.append(end - at + (typical_ns if at >= begin else 0))
    return nearest_rank(seen, share)


def from_due(rows, rate, column):
    """Of a schedule: what happened less when the k-th request was due. It began no later than the promptest request says (the first one had to connect)."""
    began = min(row[0] - k * S / rate for k, row in enumerate(rows))
    return pair(row[column] - began - k * S / rate for k, row in enumerate(rows))


def truth_of(cell, tool, provider):
    """{"total": (p50, p99), ...} ns, and what the account says of the provider itself."""
    times = provider.times(rows=cell.stall)
    spans = {"total": "total_ns", "ttft": "ttft_ns", "gap": "gap_ns"}
    truth = {k: (times[name]["p50"], times[name]["p99"]) for k, name in spans.items() if times[name]["count"]}
    if cell.stall and not times["freezes"]:
        raise machine.BenchError("the provider did not stand still")
    if cell.stall and tool.open_loop:
        truth.update(total=from_due(times["rows"], cell.rate, 5), ttft=from_due(times["rows"], cell.rate, 3))
    elif cell.stall:
        for key, name in (("total", "total_ns"), ("ttft", "ttft_ns")):
            truth[key] = tuple(stalled(times, times[name]["p50"], q) for q in (0.5, 0.99))
    return truth, {"answers": times["answers"], "read_lag_p99": times["read_lag_ns"]["p99"], "late_p99": times["late_ns"]["p99"]}


def allowance(truth_ns):
    return max(ALLOWED_SHARE * truth_ns, ALLOWED_NS)


# ---- measuring ----

class Bench:
    def __init__(self, options):
        self.options = options
        self.tools = []
        for tool in (t(options) for t in TOOLS):
            missing = tool.missing() if tool.name in options.tools else "not asked for"
            if missing:
                print(f"{tool.name} is left out: {missing}")
            else:
                self.tools.append(tool)
        self.bodies = {s: self.write_body(s) for s in (False, True)}
        self.readings = {}  # (kind, connections, tool): [(reported, truth, notes)]
        self.costs = {}     # (what, tool): [µs]
        self.paces = []
        self.drops = []
        self.failures = []

    def write_body(self, stream):
        body = load.chat_body(1024).replace(b',"max_tokens":16', b"")  # as many tokens as the provider is told
        if stream:
            body = body[:-1] + b',"stream":true,"stream_options":{"include_usage":true}}'
        path = self.options.work / f"body-{'stream' if stream else 'plain'}.json"
        path.write_bytes(body)
        return path

    def say(self, text):
        print(text, flush=True)

    def order(self, number):
        return self.tools if number % 2 == 0 else self.tools[::-1]

    def attempt(self, what, work):
        try:
            return work()
        except machine.BenchError as e:
            self.failures.append(f"{what}: {e}")
            self.say(f"  {what}: {e}")
            return None

    # -- how right --

    def one_truth(self, cell, tool, provider, seconds):
        provider.reset()
        if cell.stall:
            provider.freeze(STALL_AFTER_S, STALL_S)
        said = tool.measure(cell, provider, self.bodies[cell.stream], seconds)
        truth, notes = truth_of(cell, tool, provider)
        self.readings.setdefault((cell.kind, cell.connections, tool.name), []).append((said, truth, notes))
        parts = [f"{key} {said[key][q] / MS:.2f} of {truth[key][q] / MS:.2f}" for key, _ in METRICS for q in (0, 1)
                 if said.get(key) and truth.get(key)]
        self.say(f"  {cell.kind} {cell.connections:3} {tool.name:8} {', '.join(parts)} ms")

    def truth(self):
        for number in range(self.options.rounds):
            for connections in self.options.connections:
                for cell in cells_for(connections):
                    seconds = self.options.seconds + (8 if cell.stall else 0)
                    with Provider(self.options, *cell.words) as provider:
                        for tool in self.order(number):
                            self.attempt(f"{cell.kind} {connections} {tool.name}",
                                         lambda c=cell, t=tool, p=provider, s=seconds: self.one_truth(c, t, p, s))

    # -- what it costs --

    def steady_cost(self, argv, env, provider, seconds, counter):
        """CPU µs for each of the provider's `counter`, without start and end."""
        p = subprocess.Popen(list(map(str, argv)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env,
                             preexec_fn=lambda: machine.pin(machine.LOAD_CORE))
        try:
            time.sleep(CPU_SETTLE_S)
            marks = []
            for pause in (seconds, 0):
                marks.append((machine.cpu_times(p.pid)[0], provider.stats()[counter]))
                if p.poll() is not None:
                    raise machine.BenchError(f"{argv[0]}: it ended before its cost was taken: the machine is too busy")
                time.sleep(pause)
            p.wait(seconds + 60)
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()
        (cpu_a, done_a), (cpu_b, done_b) = marks
        if done_b - done_a < 1000:
            raise machine.BenchError(f"{argv[0]}: {done_b - done_a} {counter} in {seconds} s")
        return (cpu_b - cpu_a) / (done_b - done_a) / US

    def cost(self, what, cell, tools, counter, rounds):
        seconds = max(2, self.options.seconds / 2)
        with Provider(self.options, *cell.words) as provider:
            for number in range(rounds):
                taking_part = [t for t in tools if number < RARE_ROUNDS or not t.rare]
                for tool in taking_part if number % 2 == 0 else taking_part[::-1]:
                    argv = tool.argv(cell, provider, self.bodies[cell.stream], round(seconds + 3))
                    us = self.attempt(f"{what} {tool.name}", lambda t=tool, a=argv, p=provider: self.steady_cost(
                        a, t.env(self.bodies[cell.stream]), p, seconds, counter))
                    if us:
                        self.costs.setdefault((what, tool.name), []).append(us)
                        self.say(f"  {what} {tool.name:8} {us:.2f} µs")

    def cpu(self):
        self.cost("request", Cell("cpu", 64, [], False), self.tools, "completed", self.options.cost_rounds)

    def chunks(self):
        tools = [t for t in self.tools if isinstance(t, (Weir, Python))]
        cell = Cell("chunks", 128, ["--tokens-per-second", 400, "--tokens", 400], True)
        self.cost("chunk", cell, tools, "sent_tokens", self.options.cost_rounds)

    # -- does it keep to its schedule, and does it say what it could not send --

    def pace(self):
        tool, cell = Weir(self.options), Cell("pace", 512, [], False)
        seconds = REALTIME_S if machine.realtime else self.options.seconds
        with Provider(self.options) as provider:
            for number in range(self.options.cost_rounds):
                provider.reset()
                time.sleep(1 if machine.realtime else 0)
                argv = tool.argv(cell, provider, self.bodies[False], seconds, RATE)
                self.attempt("pace", lambda a=argv, p=provider, n=number: self.one_pace(tool, a, p, seconds, n))

    def one_pace(self, tool, argv, provider, seconds, number):
        run(argv, seconds + 60)
        report = tool.report()
        rows = provider.times(rows=True)["rows"]
        spread = [row[0] - k * S / RATE for k, row in enumerate(rows)]
        first = min(spread)
        arrived = pair(s - first for s in spread)
        account = report["account"]
        found = {"sent": provider.stats()["requests"], "asked": round(RATE * seconds),
                 "late_p50_us": account["send_lateness_p50_ms"] * 1000, "late_p99_us": account["send_lateness_p99_ms"] * 1000,
                 "arrived_p50_us": arrived[0] / US, "arrived_p99_us": arrived[1] / US}
        self.paces.append(found)
        self.say(f"  pace {number + 1}: " + ", ".join(f"{k} {v:,.1f}" for k, v in found.items()))

    def dropped(self):
        """Eight connections to a provider that takes 100 ms carry 80 requests/s: of 2,000/s most can never be sent."""
        tool, cell = Weir(self.options), Cell("dropped", 8, [], False)
        with Provider(self.options, "--delay-ms", 100) as provider:
            status, _out, _err = run(tool.argv(cell, provider, self.bodies[False], 3, 2000), 120)
            came = provider.stats()["requests"]
        summary = tool.report()["summary"]
        found = {"asked": 6000, "came": came, "dropped": summary["dropped"], "exit": status}
        self.drops.append(found)
        self.say(f"  dropped: {found}")


# ---- the result ----

def middle(values):
    values = list(values)
    return statistics.median(values) if values else None


def error_of(readings, key, q):
    """(reported, truth, error in allowances, error in ns, was it refused) in the middle of the rounds; None: not measured."""
    pairs = [(said[key][q], truth[key][q]) for said, truth, _ in readings if said.get(key) and truth.get(key)]
    if not pairs:
        return None
    refused = any(q in said.get("refused", {}).get(key, ()) for said, _, _ in readings)
    return (middle(a for a, _ in pairs), middle(b for _, b in pairs), middle((a - b) / allowance(b) for a, b in pairs),
            middle(a - b for a, b in pairs), refused)


def cell_text(found):
    if found is None:
        return "–"
    error_ns = found[3]
    error = f"{error_ns / US:+.0f} µs" if abs(error_ns) < MS else f"{error_ns / MS:+.1f} ms"
    text = f"{found[0] / MS:.2f}{'ʰ' if found[4] else ''} ({error})"
    return text if abs(found[2]) <= 1 else f"**{text}**"


def truth_tables(bench):
    lines = []
    for kind in ("plain", "fixed", "bimodal", "stall"):
        cells = [c for n in bench.options.connections for c in cells_for(n) if c.kind == kind]
        if not any((kind, c.connections, t.name) in bench.readings for c in cells for t in bench.tools):
            continue
        lines += [f"### {kind}", ""]
        lines += [f"- {c.connections}: {c.says}" for c in cells] + [""]
        heads = ["connections", "instrument"] + [f"{heading} {q}" for _, heading in METRICS for q in ("p50", "p99")]
        lines += ["| " + " | ".join(heads) + " |", "|" + " ---: |" + " --- |" + " ---: |" * (len(heads) - 2)]
        for c in cells:
            for t in bench.tools:
                readings = bench.readings.get((kind, c.connections, t.name))
                if readings:
                    row = [str(c.connections), t.name] + [cell_text(error_of(readings, key, q)) for key, _ in METRICS for q in (0, 1)]
                    lines.append("| " + " | ".join(row) + " |")
        lines.append("")
    return lines


def ratios(bench, what, base):
    pairs = list(zip(bench.costs.get((what, "weir"), []), bench.costs.get((what, base), [])))
    return sorted(a / b for a, b in pairs)


def spread(values, digits=2):
    values = sorted(values)
    return f"{statistics.median(values):.{digits}f} ({values[0]:.{digits}f} to {values[-1]:.{digits}f})" if values else "–"


def bars(bench):
    """[(what, limit, measured as text, holds)]"""
    out = []
    for kind in ("plain", "fixed", "bimodal", "stall"):
        worst = None
        for n in bench.options.connections:
            for key, heading in METRICS:
                for q, name in ((0, "p50"), (1, "p99")):
                    found = error_of(bench.readings.get((kind, n, "weir"), []), key, q)
                    if found and (worst is None or abs(found[2]) > abs(worst[0])):
                        worst = (found[2], f"{heading} {name} at {n}: " + cell_text(found).strip("*") + " ms")
        if worst:
            out.append((f"{kind}: weir's largest error, in allowances (1 % or 100 µs)", 1, f"{abs(worst[0]):.2f}; {worst[1]}", abs(worst[0]) <= 1))
    ratio = ratios(bench, "request", "wrk")
    if ratio:
        out.append(("CPU a plain request over wrk's, 64 connections", CPU_BAR, spread(ratio, 3), statistics.median(ratio) <= CPU_BAR))
    chunk = bench.costs.get(("chunk", "weir"))
    if chunk:
        out.append(("CPU a streamed chunk, 128 streams, µs", CHUNK_BAR_US, spread(chunk), statistics.median(chunk) <= CHUNK_BAR_US))
    if bench.paces:
        off = [abs(p["sent"] / p["asked"] - 1) for p in bench.paces]
        out.append((f"{RATE:,} requests/s asked: share not sent", RATE_BAR, spread(off, 5), statistics.median(off) <= RATE_BAR))
        for key, bar in (("late_p50_us", LATE_P50_BAR_US), ("late_p99_us", LATE_P99_BAR_US)):
            values = [p[key] for p in bench.paces]
            out.append((f"lateness of a send, {key[5:8]}, µs", bar, spread(values, 1), statistics.median(values) <= bar))
    for d in bench.drops:
        told = d["came"] + d["dropped"] == d["asked"] and d["exit"] == 1
        out.append(("requests that could not be sent are told of, and the run fails", "all",
                    f"{d['came']:,} came, {d['dropped']:,} dropped, of {d['asked']:,}; exit {d['exit']}", told))
    return out


def markdown(bench, meta):
    m = meta["machine"]
    lines = ["# Measuring: how right, and at what cost", "",
             f"{meta['date']}, commit {meta['commit']}; {m['cpu']}, {m['cores']} cores, Linux {m['kernel']}. {bench.options.rounds} rounds of "
             f"{bench.options.seconds} s for truth, {bench.options.cost_rounds} of half of that for cost, in turn, every other one backwards. Made by `bench/measuring.py`; "
             "what and how: there and bench/README.md.", ""]
    if max(m["busy_before"]) > 0.15:
        lines += [f"**The machine was shared**: other programs used {m['busy_before'][0]:.2f} and {m['busy_before'][1]:.2f} of the two cores before the start.",
                  ""]
    found = bars(bench)
    if found:
        lines += ["## Bars", "", "| bar | limit | measured | verdict |", "| --- | ---: | --- | --- |"]
        lines += [f"| {what} | {limit} | {measured} | {'holds' if holds else '**short**'} |" for what, limit, measured, holds in found] + [""]
    tables = truth_tables(bench)
    if tables:
        lines += ["## Truth", "", "What each says in ms, and how far it is off the provider's account of the same run; bold: by more than 1 % and 100 µs. "
                  "For `stall` the truth is what somebody sees who comes on schedule. ʰ: weir's report refuses this percentile (its samples are too few, or too alike "
                  "their neighbours); the value is its histogram's.", "", *tables]
    if bench.costs:
        lines += ["## Cost", "", "| what | instrument | CPU µs | over wrk's |", "| --- | --- | ---: | ---: |"]
        for (what, tool), values in sorted(bench.costs.items()):
            base = bench.costs.get((what, "wrk"))
            over = spread([a / b for a, b in zip(values, base)]) if base else "–"
            lines.append(f"| a {what} | {tool} | {spread(values)} | {over} |")
        lines.append("")
    if bench.paces:
        lines += [f"## Schedule: {RATE:,} requests/s", "", "| round | sent of asked | late p50 µs | late p99 µs | at the provider p50 µs | p99 µs |",
                  "| ---: | ---: | ---: | ---: | ---: | ---: |"]
        lines += [f"| {i + 1} | {p['sent']:,} of {p['asked']:,} | {p['late_p50_us']:.1f} | {p['late_p99_us']:.1f} | {p['arrived_p50_us']:.1f} | "
                  f"{p['arrived_p99_us']:.1f} |" for i, p in enumerate(bench.paces)]
        lines += ["", "The last two columns are the provider's view: by how much later than the earliest request's schedule each arrived, by the kernel's clock.", ""]
    if bench.failures:
        lines += ["## Not measured", "", *(f"- {f}" for f in bench.failures), ""]
    return "\n".join(lines)


PARTS = {"truth": Bench.truth, "cpu": Bench.cpu, "chunks": Bench.chunks, "pace": Bench.pace, "dropped": Bench.dropped}


def arguments(argv):
    p = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    p.add_argument("--weir", default=os.environ.get("WEIR", str(ROOT / "build" / "release" / "weir")))
    p.add_argument("--rounds", type=int, default=3, help="of truth")
    p.add_argument("--cost-rounds", type=int, default=11)
    p.add_argument("--seconds", type=int, default=5, help="length of a run")
    p.add_argument("--quick", action="store_true", help="one round of truth, three of cost, of 4 s")
    p.add_argument("--only", default=",".join(PARTS), help=", ".join(PARTS))
    p.add_argument("--tools", default=",".join(t.name for t in TOOLS), help=", ".join(t.name for t in TOOLS))
    p.add_argument("--connections", default="1,64,512")
    p.add_argument("--realtime", action="store_true", help="for a shared machine (root): what is measured goes before all other work")
    p.add_argument("--write", action="store_true", help="into bench/results/measuring.md")
    p.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "bench" / "measuring")
    options = p.parse_args(argv)
    machine.realtime = options.realtime
    if options.realtime:  # whoever reads the clocks must not wait behind those who are measured
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
    options.weir = str(pathlib.Path(options.weir).resolve())
    options.only, options.tools = options.only.split(","), options.tools.split(",")
    options.connections = [int(n) for n in options.connections.split(",")]
    for n in options.connections:
        if n not in DELAYS:
            p.error(f"--connections: expected some of {', '.join(map(str, DELAYS))}, got {n}")
    for name in options.only:
        if name not in PARTS:
            p.error(f"--only: no part \"{name}\"; there are {', '.join(PARTS)}")
    if options.quick:
        options.rounds, options.cost_rounds, options.seconds = 1, 3, 4
    return options


def main(argv):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays behind
    options = arguments(argv)
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    bench = Bench(options)
    meta = {"date": time.strftime("%Y-%m-%d"), "commit": commit(), "machine": machine.describe()}
    print(f"{meta['commit']}; {meta['machine']}")
    for name in options.only:
        print(f"\n{name}", flush=True)
        # Who keeps to a schedule of 20,000/s never sleeps: what keeps its core awake would only take some of it.
        cores = (machine.PEER_CORE,) if name == "pace" else (machine.PEER_CORE, machine.LOAD_CORE)
        with machine.awake(cores):
            PARTS[name](bench)
    text = markdown(bench, meta)
    print(f"\n{text}")
    if options.write:
        (ROOT / "bench" / "results" / "measuring.md").write_text(text, encoding="utf-8")
    missed = [what for what, _, _, holds in bars(bench) if not holds]
    for what in missed:
        print(f"measuring: missed: {what}", file=sys.stderr)
    return 1 if missed or bench.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
