#!/usr/bin/env python3
"""analyze.py -- what `weir analyze` must answer, computed slowly and obviously: json.loads on every line.

    analyze.py FILE... [--since ISO] [--until ISO] [--model M] [--by FIELD,...]

One JSON object on stdout. The rules, by number; tests and the C reader name them so.

LINES
 1. A file is bytes; lines end at \\n and nowhere else. \\n at the file's end begins no further line. What follows the
    last \\n is a line like any other: read when it parses, broken when not ("unfinished" names the file).
 2. A byte order mark (EF BB BF) is taken off at a file's first byte, nowhere else.
 3. Then NUL bytes are taken off the line's start (holes left by copytruncate); then blanks, tabs and CR off both ends.
    NULs anywhere else make the line broken.
 4. What is empty then is blank. lines = read + blank + broken. Line numbers begin at 1 in each file and count all.
 5. Bytes that are not UTF-8 become U+FFFD, one for each maximal ill-formed part (Unicode 3.9; 80..FF alone, a
    sequence cut short, each byte of an overlong form or raw surrogate), and never take the byte behind them along.
 6. A line is read when the WHOLE of it is one JSON object by RFC 8259: no NaN, no leading zeros, no raw control
    bytes in strings, no trailing comma, nothing behind the object. Else broken: two lines glued together are one.
 7. Nesting deeper than 1000 (the line's object is 1) is broken. Length is not limited.
 8. Keys are compared after decoding escapes ("mod\\u0065l" is model), case-sensitive. Of equal keys in one object the
    last wins, whatever it holds; objects are not merged. Only the object's own keys and the paths named below count.

SHAPES
 9. By keys that are there, whatever they hold, first that fits: startTime and endTime: litellm; message without event:
    json_logs; any of event, request_id, model, status, latency_ms: weir; else other, which is read and counted only.

VALUES
10. null and a value of the wrong type are absent: "12" is no number, 1 is no bool, true is no number. "" is a text in
    weir's lines; in LiteLLM's it is absent. A lone surrogate escape counts as U+FFFD.
11. A number is its decimal text, exactly. Negative (-0 is 0): absent. 1e15 or more, in the unit as written: absent.
    Exponents count. A whole-number field takes 100, 100.0 and 1E2; 12.5 is absent.
12. Durations (*_ms) are rounded to whole microseconds, money to 1e-12 USD, rates to 0.01, each half up, line by line;
    everything after that is whole numbers. A request that cost more than a million dollars counts as that much, and a sum of money
    that is more than 2^64 - 1 of 1e-12 USD is that much.
13. Stamps: YYYY-MM-DD, T t or blank, HH:MM:SS, optional . or , and digits (cut after six), optional Z z +HH:MM +HHMM
    +HH. A second of 60 is the next minute's 0. Without zone: UTC in weir's lines, local time (TZ) in json_logs lines,
    --since and --until. Anything else, no such day, before 1970, after 9999: absent.
    LiteLLM's startTime, endTime, completionStartTime: seconds since 1970, rounded half up to microseconds, below
    253402300800.

REQUESTS
14. weir: event "request", or event absent, is a request. Every other event is counted under "events" only; the
    `dropped` of gap lines is summed. litellm: every line is a request. json_logs: see 20.
15. Outcome: status success, failure or cancelled; else by http_status (100-399 success, 499 cancelled, other 400-599
    failure, else unknown); else failure when error.type is there; else unknown. error_rate = failure / requests.
16. weir's fields are record.def's. error.* are members of the object `error`.
17. litellm's fields: time = endTime, else startTime; latency = endTime - startTime; ttft = completionStartTime -
    startTime where stream is true; overhead_ms = hidden_params.litellm_overhead_time_ms; differences below 0 are
    absent; queue is absent, and so is upstream but where the callback of examples/litellm-callback, which adds upstream_ms, wrote the
    line. model = model_group, else model; upstream_model = model; provider = custom_llm_provider; deployment = model_id;
    request_id = litellm_call_id, else id; user = end_user; client = requester_ip_address; key_alias, key_hash =
    metadata.user_api_key_alias, _hash; cost_usd = response_cost; cache = hit where cache_hit is true, miss where it is false
    (asked for and not there), absent where it is null (not asked); cached and reasoning tokens =
    metadata.usage_object.prompt_tokens_details.cached_tokens, .completion_tokens_details.reasoning_tokens; error.type = error_information.error_class; provider_status =
    error_code (a number, or three digits in a text); message = error_message, else error_str. Same names: status,
    call_type, stream, *_tokens, trace_id, api_base, user_agent.
18. Nothing else is derived: an absent total is not prompt + completion, an absent attempts adds 0.
19. litellm's tokens_per_second: stream: (completion - 1) / (latency - ttft); else completion / latency; in 0.01 1/s,
    half up; absent where tokens or time are absent or 0.
20. json_logs: a message that is wholly `HOST:PORT - "POST PATH HTTP/V" CODE` is a request when PATH without its query
    ends in /chat/completions, /completions, /embeddings, /responses or /messages: it has time, client, http_status.
21. json_logs: other lines of level ERROR or CRITICAL count in log_errors, by the exception class in the stacktrace's
    last line that is not blank (text before its first ":", after the last "."); not in errors, nor as requests.

COUNTING
22. --since <= time < --until. Requests without time count when neither is given. --model: equal to the record's model.
    Filters are for requests (and time for log_errors; --model leaves those out), not for lines, shapes, events.
23. Groups: one for each distinct tuple of the --by fields, absent being a value of its own (null), not equal to "".
24. Percentiles: nearest rank over the group's requests of any outcome that have the value: the smallest value with at
    least q * n values <= it. mean: sum / n, half up to the unit.
25. Errors: requests whose outcome is failure, by (error.type, provider, model); not cancelled ones, not attempts.
26. Hours begin at full hours UTC; requests without time are in none.
"""
import argparse
import json
import sys
from collections import Counter
from datetime import datetime, timezone

from records import Broken, microseconds_of_stamp, parse_object, record_of, strip_line

FIRST_BROKEN_SHOWN = 10
USD_MAX_PICO = 10**18
SUM_MAX = 2**64 - 1
OUTCOMES = ("success", "failure", "cancelled", "unknown")
SUMS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens", "attempts")
MEASURES = {
    # name in the report: attribute of Record, units in one of the report's
    "latency_ms": ("latency_us", 1000),
    "ttft_ms": ("ttft_us", 1000),
    "upstream_ms": ("upstream_us", 1000),
    "overhead_ms": ("overhead_us", 1000),
    "queue_ms": ("queue_us", 1000),
    "tokens_per_second": ("rate_hundredths", 100),
}
PERCENTILES = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}
BY_FIELDS = {name: name for name in (
    "event", "level", "model", "provider", "deployment", "upstream_model", "call_type", "stream", "status",
    "http_status", "tokens_source", "cache", "attempts", "fallback_from", "finish_reason", "slow", "key_alias",
    "key_hash", "api_base", "user", "client", "user_agent", "shape", "outcome")}
BY_FIELDS |= {"error.type": "error_type", "error.provider_status": "error_provider_status"}


def nearest_rank(ordered, percent):
    """The smallest of the ordered values with at least percent/100 of all values <= it."""
    rank = -(-percent * len(ordered) // 100)
    return ordered[max(rank, 1) - 1]


def summary_of(values, units):
    """Percentiles of whole numbers, in the report's unit; None when there are none."""
    if not values:
        return None
    ordered = sorted(values)
    count = len(ordered)
    summary = {"min": ordered[0], "max": ordered[-1], "mean": (2 * sum(ordered) + count) // (2 * count)}
    summary |= {name: nearest_rank(ordered, percent) for name, percent in PERCENTILES.items()}
    return {"count": count} | {name: value / units for name, value in summary.items()}


def sum_of_money(amounts):
    return min(sum(amounts), SUM_MAX)


def usd_text(pico):
    """As weir writes money, but never with fewer decimals: 0.0001194."""
    whole, fraction = divmod(pico, 10**12)
    return f"{whole}.{fraction:012d}".rstrip("0").rstrip(".")


def stamp_text(time_us):
    if time_us is None:
        return None
    seconds, fraction = divmod(time_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{fraction:06d}Z"


def hour_text(time_us):
    return f"{datetime.fromtimestamp(time_us // 1_000_000, timezone.utc):%Y-%m-%dT%H}:00:00Z"


class Group:
    """Requests that are counted together."""

    def __init__(self):
        self.outcomes = Counter()
        self.sums = Counter()
        self.cost_pico = 0
        self.cache_hits = 0
        self.values = {name: [] for name in MEASURES}
        self.first_us = self.last_us = None

    def add(self, record):
        self.outcomes[record.outcome] += 1
        for name in SUMS:
            self.sums[name] += getattr(record, name) or 0
        self.cost_pico = sum_of_money((self.cost_pico, min(record.cost_pico or 0, USD_MAX_PICO)))
        self.cache_hits += record.cache == "hit"
        for name, (attribute, _) in MEASURES.items():
            value = getattr(record, attribute)
            if value is not None:
                self.values[name].append(value)
        if record.time_us is not None:
            self.first_us = record.time_us if self.first_us is None else min(self.first_us, record.time_us)
            self.last_us = record.time_us if self.last_us is None else max(self.last_us, record.time_us)

    def report(self):
        requests = self.outcomes.total()
        report = {"requests": requests} | {name: self.outcomes[name] for name in OUTCOMES}
        report["error_rate"] = round(self.outcomes["failure"] / requests, 9) if requests else None
        report |= {name: self.sums[name] for name in SUMS}
        report |= {"cost_usd": usd_text(self.cost_pico), "cache_hits": self.cache_hits}
        report |= {name: summary_of(self.values[name], units) for name, (_, units) in MEASURES.items()}
        return report | {"first": stamp_text(self.first_us), "last": stamp_text(self.last_us)}


class ErrorGroup:
    """Failed requests of one type, provider and model."""

    def __init__(self):
        self.count = 0
        self.provider_statuses = Counter()
        self.first_us = self.last_us = None

    def add(self, record):
        self.count += 1
        if record.error_provider_status is not None:
            self.provider_statuses[str(record.error_provider_status)] += 1
        if record.time_us is not None:
            self.first_us = record.time_us if self.first_us is None else min(self.first_us, record.time_us)
            self.last_us = record.time_us if self.last_us is None else max(self.last_us, record.time_us)

    def report(self):
        return {"count": self.count, "provider_statuses": dict(sorted(self.provider_statuses.items())),
                "first": stamp_text(self.first_us), "last": stamp_text(self.last_us)}


class Filter:
    """Rule 22. Times in microseconds; None for no bound."""

    def __init__(self, since_us=None, until_us=None, model=None):
        self.since_us, self.until_us, self.model = since_us, until_us, model

    def time_is_in(self, time_us):
        if self.since_us is None and self.until_us is None:
            return True
        if time_us is None:
            return False
        return (self.since_us is None or self.since_us <= time_us) and (self.until_us is None or time_us < self.until_us)

    def takes(self, record):
        if record.logged_error and self.model is not None:
            return False
        return self.time_is_in(record.time_us) and (self.model is None or record.model == self.model)


class Analysis:
    def __init__(self, by=("model",), chosen=None):
        self.by, self.chosen = tuple(by), chosen or Filter()
        self.files, self.unfinished = [], []
        self.lines = self.read = self.blank = self.dropped = self.left_out = self.without_time = 0
        self.broken = []  # (file, line number, reason, first bytes)
        self.shapes, self.events, self.log_errors = Counter(), Counter(), Counter()
        self.total, self.groups, self.errors, self.hours = Group(), {}, {}, {}

    def read_file(self, path):
        self.files.append(path)
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):  # splits at \n only
                self.read_line(path, number, line)
        if is_unfinished(path):
            self.unfinished.append(path)

    def read_line(self, path, number, line):
        self.lines += 1
        stripped = strip_line(line, at_file_start=number == 1)
        if not stripped:
            self.blank += 1
            return
        try:
            parsed = parse_object(stripped)
        except Broken as reason:
            self.broken.append((path, number, str(reason), stripped[:80].decode("utf-8", errors="replace")))
            return
        self.read += 1
        record = record_of(parsed)
        self.shapes[record.shape if record else "other"] += 1
        if record:
            self.count(record)

    def count(self, record):
        self.events[record.event] += 1
        if record.event == "gap":
            self.dropped += record.dropped or 0
        if record.logged_error and self.chosen.takes(record):
            self.log_errors[record.error_type] += 1
        if not record.is_request:
            return
        if not self.chosen.takes(record):
            self.left_out += 1
            return
        self.count_request(record)

    def count_request(self, record):
        self.total.add(record)
        key = tuple(field_of(record, field) for field in self.by)
        self.groups.setdefault(key, Group()).add(record)
        if record.outcome == "failure":
            self.errors.setdefault((record.error_type, record.provider, record.model), ErrorGroup()).add(record)
        if record.time_us is None:
            self.without_time += 1
        else:
            self.hours.setdefault(hour_text(record.time_us), Group()).add(record)

    def report(self):
        report = {
            "files": self.files, "lines": self.lines, "read": self.read, "blank": self.blank,
            "broken": self.broken_report(), "unfinished": self.unfinished,
            "shapes": dict(sorted(self.shapes.items())), "events": dict(sorted(self.events.items())),
            "dropped": self.dropped, "left_out": self.left_out, "without_time": self.without_time,
            "total": self.total.report(), "by": list(self.by)}
        report["groups"] = [{"key": dict(zip(self.by, key))} | group.report() for key, group in in_order(self.groups)]
        report["errors"] = [dict(zip(("type", "provider", "model"), key)) | group.report()
                            for key, group in in_order(self.errors)]
        report["log_errors"] = [{"type": key[0], "count": count}
                                for key, count in in_order({(name,): n for name, n in self.log_errors.items()})]
        report["hours"] = [hour_report(hour, group) for hour, group in sorted(self.hours.items())]
        return report

    def broken_report(self):
        lines = {}
        for path, number, _, _ in self.broken:
            lines.setdefault(path, []).append(number)
        first = [dict(zip(("file", "line", "reason", "text"), entry)) for entry in self.broken[:FIRST_BROKEN_SHOWN]]
        return {"count": len(self.broken), "lines": lines, "first": first}


def is_unfinished(path):
    """Does the file end within a line?"""
    with open(path, "rb") as file:
        if file.seek(0, 2) == 0:
            return False
        file.seek(-1, 2)
        return file.read() != b"\n"


def field_of(record, field):
    if field == "hour":
        return None if record.time_us is None else hour_text(record.time_us)
    return getattr(record, BY_FIELDS[field])


def in_order(groups):
    """Items by key: absent first, then by text."""
    return sorted(groups.items(), key=lambda item: [(part is not None, str(part)) for part in item[0]])


def hour_report(hour, group):
    report = group.report()
    return {"hour": hour} | {name: report[name] for name in ("requests", *OUTCOMES, *SUMS, "cost_usd", "cache_hits")}


def analyze(paths, by=("model",), since=None, until=None, model=None):
    """The report as a dict. since, until: ISO texts."""
    unknown = [field for field in by if field not in BY_FIELDS and field != "hour"]
    if unknown:
        raise ValueError(f"no such field: {unknown[0]}; there are hour, {', '.join(sorted(BY_FIELDS))}")
    analysis = Analysis(by, Filter(bound_of(since), bound_of(until), model))
    for path in paths:
        analysis.read_file(str(path))
    return analysis.report()


def bound_of(text):
    if text is None:
        return None
    time_us = microseconds_of_stamp(text, None)
    if time_us is None:
        raise ValueError(f"not a time: {text!r}; write 2026-11-24T01:50:23Z")
    return time_us


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--since", metavar="ISO", help="requests from this time on")
    parser.add_argument("--until", metavar="ISO", help="requests before this time")
    parser.add_argument("--model", metavar="M", help="requests for this model only")
    parser.add_argument("--by", metavar="FIELD,...", default="model", help="what to group by (model)")
    options = parser.parse_args()
    try:
        report = analyze(options.files, options.by.split(","), options.since, options.until, options.model)
    except ValueError as reason:
        parser.error(str(reason))
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
