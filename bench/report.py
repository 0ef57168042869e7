"""What was measured, put together: medians, the bars of the project, JSON and Markdown."""

import json
import statistics

MIB = 1024  # in KiB

# (heading, metric, divisor, digits): columns of a scenario's table. Absent metrics leave no column.
COLUMNS = [
    ("CPU µs a request", "cpu_us_per_request", 1, 1),
    ("CPU µs an event", "cpu_us_per_event", 1, 1),
    ("requests/s", "requests_per_s", 1, 0),
    ("events/s", "events_per_s", 1, 0),
    ("p50 µs", "p50_us", 1, 0),
    ("p99 µs", "p99_us", 1, 0),
    ("TTFT p50 µs", "ttft_p50_us", 1, 0),
    ("TTFT p99 µs", "ttft_p99_us", 1, 0),
    ("frame delay p50 µs", "frame_delay_p50_us", 1, 0),
    ("frame delay p99 µs", "frame_delay_p99_us", 1, 0),
    ("RSS MiB", "rss_kib", MIB, 1),
    ("RSS at start MiB", "rss_start_kib", MIB, 1),
    ("RSS, 64 connections MiB", "rss_64_kib", MIB, 1),
    ("RSS, 5,000 idle MiB", "rss_idle_5000_kib", MIB, 1),
    ("an idle connection KiB", "idle_connection_kib", 1, 1),
    ("RSS, 5,000 gone MiB", "rss_gone_5000_kib", MIB, 1),
    ("calls a request", "calls_per_request", 1, 2),
    ("cold start ms", "cold_start_ms", 1, 1),
    ("binary MiB", "binary_kib", MIB, 2),
    ("core busy with others", "foreign_share", 1, 2),
]


class Results:
    """All runs: by scenario and peer a list of rounds, each a dict of metrics or None."""

    def __init__(self):
        self.runs = {}
        self.failures = []

    def add(self, scenario, peer, number, result):
        if isinstance(result, Exception):
            self.failures.append(f"{scenario}: {result}")
            return
        rounds = self.runs.setdefault(scenario, {}).setdefault(peer, {})
        rounds[number] = result

    def values(self, scenario, peer, metric):
        """{round: value}"""
        rounds = self.runs.get(scenario, {}).get(peer, {})
        return {n: r[metric] for n, r in rounds.items() if metric in r}

    def median(self, scenario, peer, metric):
        values = self.values(scenario, peer, metric).values()
        return statistics.median(values) if values else None

    def paired(self, scenario, metric, first, second, combine):
        """combine(first, second) round by round: what slows the machine down for a while slows
        both. Returns the sorted list."""
        a, b = (self.values(scenario, p, metric) for p in (first, second))
        return sorted(combine(a[n], b[n]) for n in a if n in b)

    def summary(self):
        return {scenario: {peer: self._spread(scenario, peer) for peer in by_peer}
                for scenario, by_peer in self.runs.items()}

    def _spread(self, scenario, peer):
        names = {k for r in self.runs[scenario][peer].values() for k, v in r.items()
                 if isinstance(v, (int, float))}
        out = {}
        for name in sorted(names):
            values = self.values(scenario, peer, name).values()
            out[name] = {"median": statistics.median(values), "min": min(values),
                         "max": max(values), "rounds": len(values)}
        return out


# ---- bars ----

def ratio(scenario, metric, peer):
    """weir's value over the peer's, round by round."""
    return lambda r: r.paired(scenario, metric, "weir", peer, lambda a, b: a / b if b else 0)


def added(scenario, metric, divisor=1):
    return lambda r: r.paired(scenario, metric, "weir", "direct", lambda a, b: (a - b) / divisor)


def plain(scenario, metric, divisor=1):
    return lambda r: sorted(v / divisor for v in r.values(scenario, "weir", metric).values())


# (what, limit, unit, how to get it). "Adds no more than nginx" is measured without the direct run:
# that is in both, and taking a third run's noise from each would only blur the ratio.
BARS = [
    ("CPU a request at 1 KB, over nginx's", 0.8, "x", ratio("kb1", "cpu_us_per_request", "nginx")),
    ("CPU a request at 1 KB, over HAProxy's doing the same work", 0.55, "x",
     ratio("kb1", "cpu_us_per_request", "haproxy-tokens")),
    ("CPU a request at 1 KB, over HAProxy's without ids and tokens", 0.55, "x",
     ratio("kb1", "cpu_us_per_request", "haproxy")),
    ("system calls a request at 64 connections", 5, "", plain("syscalls", "calls_per_request")),
    ("CPU a request at 100 KB, over nginx's", 1.0, "x",
     ratio("kb100", "cpu_us_per_request", "nginx")),
    ("CPU an event, over HAProxy's", 1.0, "x", ratio("events", "cpu_us_per_event", "haproxy")),
    ("latency at concurrency 1, p50, over nginx's", 1.0, "x",
     ratio("latency", "p50_us", "nginx")),
    ("latency at concurrency 1, p99, over nginx's", 1.0, "x",
     ratio("latency", "p99_us", "nginx")),
    ("time to first token, 64 streams, p50, over nginx's", 1.0, "x",
     ratio("stream64", "ttft_p50_us", "nginx")),
    ("time to first token, 64 streams, p99, over nginx's", 1.0, "x",
     ratio("stream64", "ttft_p99_us", "nginx")),
    ("5,000 streams: frame delay p99 beyond direct", 1.0, "ms",
     added("stream5000", "frame_delay_p99_us", 1000)),
    ("RSS at 64 connections", 10, "MiB", plain("memory", "rss_64_kib", MIB)),
    ("RSS after 5,000 connections are gone", 25, "MiB", plain("memory", "rss_gone_5000_kib", MIB)),
    ("memory of an idle connection", 20, "KiB", plain("memory", "idle_connection_kib")),
    ("cold start", 50, "ms", plain("start", "cold_start_ms")),
]


def bars(results):
    out = []
    for what, limit, unit, get in BARS:
        values = get(results)
        if not values:
            continue
        middle = statistics.median(values)
        out.append({"bar": what, "limit": limit, "unit": unit, "measured": round(middle, 3),
                    "min": round(values[0], 3), "max": round(values[-1], 3),
                    "holds": middle <= limit})
    return out


def bar_line(b):
    unit = f" {b['unit']}" if b["unit"] else ""
    return (f"bar: {b['bar']} <= {b['limit']}{unit}: measured {b['measured']}{unit} "
            f"({b['min']} to {b['max']}): {'holds' if b['holds'] else 'SHORT'}")


# ---- tables ----

def _cell(value, divisor, digits):
    return "–" if value is None else f"{value / divisor:,.{digits}f}"


def _table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |",
             "| --- |" + " ---: |" * (len(heads) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def scenario_table(results, scenario):
    peers = results.runs[scenario]
    columns = [c for c in COLUMNS
               if any(results.median(scenario, p, c[1]) is not None for p in peers)]
    rows = [[p] + [_cell(results.median(scenario, p, metric), divisor, digits)
                   for _, metric, divisor, digits in columns] for p in peers]
    return _table(["peer"] + [c[0] for c in columns], rows)


def markdown(results, meta, scenarios):
    m = meta["machine"]
    lines = [
        "# Bench: latest results", "",
        f"{meta['date']}, commit {meta['commit']}; {m['cpu']}, {m['cores']} cores, Linux "
        f"{m['kernel']}. Medians of {meta['rounds']} interleaved rounds of {meta['seconds']} s; "
        "what is measured and how far to trust it: [README](../README.md).", ""]
    if max(m["busy_before"]) > 0.15:
        lines += ["**The machine was shared**: other programs used "
                  f"{m['busy_before'][0]:.2f} and {m['busy_before'][1]:.2f} of the two cores before "
                  "the start. CPU time is comparable; latencies and rates are not.", ""]
    lines += ["Versions: " + "; ".join(f"{k}: {v}" for k, v in meta["versions"].items() if v), ""]
    verdicts = bars(results)
    if verdicts:
        lines += ["## Bars", ""]
        lines += _table(["bar", "limit", "measured", "range", "verdict"], [
            [b["bar"], f"{b['limit']} {b['unit']}".strip(), str(b["measured"]),
             f"{b['min']} – {b['max']}", "holds" if b["holds"] else "**short**"]
            for b in verdicts]) + [""]
    for scenario in scenarios:
        if scenario.name in results.runs:
            lines += [f"## {scenario.name}: {scenario.says}", "",
                      *scenario_table(results, scenario.name), ""]
    if results.failures:
        lines += ["## Not measured", "", *(f"- {f}" for f in results.failures), ""]
    return "\n".join(lines)


def save(results, meta, scenarios, folder):
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{meta['date'][:10]}-{meta['commit']}.json"
    everything = {"meta": meta, "bars": bars(results), "summary": results.summary(),
                  "runs": results.runs, "failures": results.failures}
    (folder / name).write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    (folder / "latest.md").write_text(markdown(results, meta, scenarios), encoding="utf-8")
    return folder / name
