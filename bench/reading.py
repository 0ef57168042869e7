#!/usr/bin/env python3
"""reading.py -- how fast logs are read: `weir analyze` beside wc -l, DuckDB, Node and jq.

    reading.py [--gb 1] [--rounds 5] [--shape weir|litellm|both] [--only NAME,...] [--week] [--write]

One question for all: "requests, errors, p50/p95/p99, tokens, by model and provider", of one file whose pages are in memory.
(weir's answer has more: it is its whole report.) The file is made by tests/reference/generate.py from a seed. Rounds are
interleaved, every other one backwards (A B C C B A); what is quoted is the median of the rounds' ratios, so that a machine that
others use disturbs all alike. CPU time is user and system of the process and its children.

Before it is timed, each peer's answer is compared with weir's: requests, failures and tokens must be the same, percentiles
within 0.5 % of it (jq's ranks are those of text with all digits, DuckDB's are nearest-rank).

--week: also a window of the last hour of a week of 10 GB (11 GB of disk in build/bench/logs).
"""
import argparse
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers" / "reading"
NODE_HOME = ROOT / "build" / "bench" / "node"
LOGS = ROOT / "build" / "bench" / "logs"
WEIR = os.environ.get("WEIR", str(ROOT / "build" / "release" / "weir"))
RARE = {"jq": 1, "node": 2}  # rounds of the slow ones


def command_of(name, path, shape):
    return {
        "wc": ["wc", "-l", path],
        "weir": [WEIR, "analyze", path, "--threads", "1"],
        "weir-2": [WEIR, "analyze", path, "--threads", "2"],
        "weir-errors": [WEIR, "analyze", path, "--threads", "1", "--errors"],
        "duckdb": ["node", PEERS / "duckdb.mjs", path, shape],
        "node": ["node", PEERS / "plain.mjs", path, shape],
        "jq": [PEERS / "jq.sh", path, shape],
    }[name]


def have(name):
    if name.startswith("weir"):
        return os.access(WEIR, os.X_OK)
    if name == "duckdb":
        return (NODE_HOME / "node_modules" / "@duckdb" / "node-api").is_dir() and shutil.which("node")
    return shutil.which(name)


def make_log(shape, size_bytes, span_s=None):
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{shape}-{size_bytes // 1_000_000}MB.log"
    if not path.exists() or path.stat().st_size < size_bytes:
        print(f"making {path.name}", flush=True)
        extra = ["--span", str(span_s)] if span_s else []
        subprocess.run([sys.executable, ROOT / "tests/reference/generate.py", "--shape", shape, "--bytes", str(size_bytes),
                        "--seed", "7", "-o", path, *extra], check=True, stdout=subprocess.DEVNULL)
    return path


def rss_mib(argv):
    """The most memory it had. Told by time(1): what is forked from here begins with this program's."""
    if not os.access("/usr/bin/time", os.X_OK):
        return float("nan")
    done = subprocess.run(["/usr/bin/time", "-f", "%M", *map(str, argv)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True,
                          cwd=NODE_HOME if NODE_HOME.is_dir() else None)
    return int(done.stderr.split()[-1]) / 1024


def run(argv):
    """({wall s, CPU s}, output) of one run."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, cwd=NODE_HOME if NODE_HOME.is_dir() else None)
    output = process.stdout.read()
    process.wait()
    wall_s = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        sys.exit(f"reading: {argv[0]} ended with {process.returncode}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall_s, "cpu_s": cpu_s}, output


def answer_of(output):
    """{(model, provider): (requests, failure, p50, p95, p99, tokens)} of a peer's table."""
    rows = {}
    for line in output.decode().splitlines():
        model, provider, requests, failure, p50, p95, p99, tokens = line.split("\t")
        key = tuple("" if v in ("null", "undefined") else v for v in (model, provider))
        rows[key] = (int(requests), int(failure), *(float(v) if v not in ("", "undefined") else None for v in (p50, p95, p99)),
                     int(float(tokens)) if tokens not in ("", "null") else 0)
    return rows


def answer_of_weir(path):
    _, output = run([WEIR, "analyze", path, "--format", "json"])
    rows = {}
    for g in json.loads(output)["groups"]:
        spread = g.get("latency_ms") or {}
        by = g["by"]
        rows[(by["model"] or "", by["provider"] or "")] = (
            g["requests"], g["failure"], spread.get("p50"), spread.get("p95"), spread.get("p99"), g["total_tokens"])
    return rows


def compare(name, theirs, ours):
    """What is not the same, as sentences."""
    wrong = []
    for key in ours.keys() | theirs.keys():
        a, b = ours.get(key), theirs.get(key)
        if not a or not b or a[:2] != b[:2] or a[5] != b[5]:
            wrong.append(f"{name}: {key}: {b}, weir {a}")
        elif any((x is None) != (y is None) or (x and abs(x - y) > 0.005 * x) for x, y in zip(a[2:5], b[2:5])):
            wrong.append(f"{name}: {key}: percentiles {b[2:5]}, weir {a[2:5]}")
    return wrong


def measure(path, shape, names, rounds):
    results = {name: [] for name in names}
    subprocess.run(["wc", "-l", path], stdout=subprocess.DEVNULL, check=True)
    ours = answer_of_weir(path)
    for name in names:
        if name in ("duckdb", "node", "jq"):
            wrong = compare(name, answer_of(run(command_of(name, path, shape))[1]), ours)
            print(f"{name}: {len(ours)} groups, {len(wrong)} not the same", *wrong[:3], sep="\n  ", flush=True)
    for n in range(rounds):
        for name in names if n % 2 == 0 else reversed(names):
            if n < RARE.get(name, rounds):
                results[name].append(run(command_of(name, path, shape))[0])
    return results


def median(runs, key):
    return statistics.median(r[key] for r in runs)


def ratio(results, name, base, key):
    """The median of the rounds' ratios, and their range."""
    pairs = [a[key] / b[key] for a, b in zip(results[name], results[base])]
    return statistics.median(pairs), min(pairs), max(pairs)


def table_of(shape, path, results):
    rows = [f"### {shape}, {path.stat().st_size / 1e9:.2f} GB", "",
            "| reader | wall s | CPU s | GB/s | RSS MiB | wall / wc | CPU / wc | rounds |", "|---|---|---|---|---|---|---|---|"]
    for name, runs in results.items():
        wall = median(runs, "wall_s")
        ratios = [("{:.2f} ({:.2f}-{:.2f})".format(*ratio(results, name, "wc", key)) if "wc" in results else "")
                  for key in ("wall_s", "cpu_s")]
        rows.append(f"| {name} | {wall:.3f} | {median(runs, 'cpu_s'):.3f} | {path.stat().st_size / 1e9 / wall:.2f} | "
                    f"{rss_mib(command_of(name, path, shape)):.1f} | {ratios[0]} | {ratios[1]} | {len(runs)} |")
    rows.append("")
    for name, base, what in (("weir-2", "weir", "two threads / one"), ("duckdb", "weir-2", "DuckDB / weir, all threads"),
                             ("node", "weir", "Node / weir"), ("jq", "weir", "jq / weir")):
        if results.get(name) and results.get(base):
            rows.append(f"- {what}: wall " + "{:.2f} ({:.2f}-{:.2f})".format(*ratio(results, name, base, "wall_s")) +
                        ", CPU " + "{:.2f}".format(ratio(results, name, base, "cpu_s")[0]))
    return rows


def measure_week(rounds):
    """The last hour of a week of 10 GB."""
    path = make_log("weir", 10_000_000_000)
    last = subprocess.run(["tail", "-n", "1", path], capture_output=True, check=True).stdout
    until = json.loads(last)["timestamp"]
    since = f"{until[:11]}{(int(until[11:13]) - 1) % 24:02}{until[13:]}" if until[11:13] != "00" else None
    if not since:
        sys.exit("reading: the log ends within the first hour of a day; take another seed")
    argv = [WEIR, "analyze", path, "--since", since, "--format", "csv"]
    run(argv)
    walls = [run(argv)[0]["wall_s"] * 1000 for _ in range(max(rounds * 4, 20))]
    report = json.loads(run([*argv[:-1], "json"])[1])
    return [f"### The last hour of a week, {path.stat().st_size / 1e9:.1f} GB", "",
            f"- {report['total']['requests']} requests in {statistics.median(walls):.1f} ms ({min(walls):.1f}-{max(walls):.1f}, "
            f"{len(walls)} runs, the process included); {report['input']['bytes'] / 1e6:.0f} MB read, "
            f"{report['input']['skipped_bytes'] / 1e9:.2f} GB not"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", choices=("weir", "litellm", "both"), default="both")
    parser.add_argument("--only", help="readers, by name")
    parser.add_argument("--week", action="store_true")
    parser.add_argument("--write", action="store_true", help="into bench/results/reading.md")
    options = parser.parse_args()
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    rows = [f"# Reading logs, {time.strftime('%Y-%m-%d')}, {commit.stdout.strip()}", "",
            f"{os.cpu_count()} cores, {platform.machine()}; medians, ratios round by round with their range. "
            "Made by `bench/reading.py`; what and how: there and bench/README.md.", ""]
    for shape in ("weir", "litellm") if options.shape == "both" else (options.shape,):
        path = make_log(shape, int(options.gb * 1e9))
        wanted = options.only.split(",") if options.only else ["wc", "weir", "weir-2", "weir-errors", "duckdb", "node", "jq"]
        names = [n for n in wanted if have(n) and not (shape == "litellm" and n == "weir-errors")]
        for name in set(wanted) - set(names):
            print(f"{name}: left out" + ("" if have(name) else ", not installed (scripts/dev/bench-deps)"))
        rows += table_of(shape, path, measure(path, shape, names, options.rounds)) + [""]
    if options.week:
        rows += measure_week(options.rounds) + [""]
    text = "\n".join(rows)
    print(text)
    if options.write:
        (ROOT / "bench" / "results" / "reading.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
