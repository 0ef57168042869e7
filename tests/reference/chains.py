#!/usr/bin/env python3
"""chains.py -- what `weir analyze` must say of chains, traces, slow requests and rate limits, computed slowly and obviously.

    chains.py --shape weir|litellm --requests N --seed S -o FILE     a log with retries, fallbacks, sessions and bursts of 429

Rules 1 to 18 of analyze.py hold (records.py reads the lines). Further ones:

CHAINS
C1. weir: a request is a chain of `attempts` attempts (absent: 0); with fallback_from it fell back, from there to its model, or
    where that is the same to its upstream_model. Added time: latency - upstream, at least 0; absent where one of them is.
C2. litellm: lines with cache hit or without provider are chains of 0 attempts; lines without trace_id chains of 1. Others are grouped by trace_id; first
    is the line of earliest start (endTime - latency), last that of latest endTime. A group is a chain when none succeeded, or
    just one and that is the last. It ended as its last line; it fell back where first and last have another model; it counts for
    the first one's model and the last one's provider; added time, of 2 lines and more: start of the last - start of the first.
C3. A group that is no chain is a session of as many requests as lines succeeded, and one more where the last did not; they
    count as requests and reached; model and provider are the last's.
C4. A chain reached an upstream with 1 attempt or more. It was needed again with 2 or more, or a fallback.
C5. Failed attempts: lines of event attempt that failed (time: latency, else upstream), litellm's that failed and reached (latency),
    and requests of weir's that failed with 1 attempt or more and a provider (upstream; else, with 1 attempt, latency). By their own
    model, provider.
C6. Worst: chains of C4's second sort by attempts, latency (both falling), stamp, id.

TRACES
T1. A line is of an id when its request_id or trace_id is equal to it. Where none is, and the id has 6 bytes or more, those that
    begin so, under their request_id if that does, else their trace_id: with one such id it is that, with several they are candidates.

SLOWEST
S1. Requests with a latency by latency (falling), stamp (absent last), id, model.

LIMITS
L1. 429 of the provider: error.provider_status 429 (litellm: and a provider). Of the gateway: http_status 429 without a
    provider_status; litellm: error code 429 without provider.
L2. Requests and attempts count in the minute of stamp - upstream (absent: - latency), by key (alias, else the first 12 of the hash) and provider. Sent are
    429s of the provider, and without any 429 what has a provider, is not from cache and has no `attempts` of 0. Tokens: total, else
    prompt + completion, of what was sent.
L3. passed: the most in a minute, of requests less the provider's 429s; hit: the least in a minute with such a 429. passed is the
    estimate where hit > the most in a minute without. p95: nearest rank over minutes with something sent. now: the minute before the log's last.
"""
import argparse
import functools
import json
import random
from collections import defaultdict
from datetime import datetime, timezone

from analyze import nearest_rank
from records import Broken, parse_object, record_of, strip_line

MINUTE_US = 60_000_000
START_US = 1_795_000_000_000_000


# ---- the reference ----


@functools.lru_cache(maxsize=4)
def records_of(path):
    return list(read_records(path))


def read_records(path):
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            stripped = strip_line(line, at_file_start=number == 1)
            try:
                record = record_of(parse_object(stripped)) if stripped else None
            except Broken:
                continue
            if record and record.shape != "json_logs":
                yield record


class Chains:
    def __init__(self, path):
        self.requests = self.reached = self.attempts = 0
        self.need = [[0, 0] for _ in range(5)]
        self.retry, self.fallback = [0, 0, []], [0, 0, []]
        self.failed = [0, 0, 0]
        self.models, self.providers = defaultdict(lambda: [0] * 7), defaultdict(lambda: [0] * 7)
        self.routes = defaultdict(lambda: [0, 0, 0, []])
        self.worst, self.sessions = [], [0, 0, 0]
        traces = defaultdict(list)
        for record in records_of(path):
            if record.shape == "litellm":
                self.call(record, traces)
            elif record.event == "attempt" and record.outcome == "failure":
                self.fail(record, record.latency_us if record.latency_us is not None else record.upstream_us or 0)
            elif record.event == "request":
                self.request(record)
        for trace_id, lines in traces.items():
            self.trace(trace_id, lines)
        self.worst.sort(key=lambda w: (-w[0], -(w[1] if w[1] is not None else -1), w[2], w[3].encode()))

    def fail(self, record, took_us):
        self.failed = [a + b for a, b in zip(self.failed, (1, took_us, record.cost_pico or 0))]
        for group in (self.models[record.model], self.providers[record.provider]):
            group[4:] = [a + b for a, b in zip(group[4:], (1, took_us, record.cost_pico or 0))]

    def request(self, record):
        latency_us, upstream_us, attempts = record.latency_us, record.upstream_us, record.attempts or 0
        added_us = None if latency_us is None or upstream_us is None else max(latency_us - upstream_us, 0)
        origin = record.fallback_from
        to = record.upstream_model if origin == record.model else record.model
        self.chain(attempts, record.outcome, record.model, record.provider, (origin, to) if origin is not None else None,
                   added_us, record.cost_pico or 0, latency_us, record.time_us, record.request_id)
        if record.outcome == "failure" and attempts and record.provider is not None:
            self.fail(record, upstream_us if upstream_us is not None else (latency_us or 0) if attempts == 1 else 0)

    def call(self, record, traces):
        reached = record.provider is not None and record.cache != "hit"
        if record.outcome == "failure" and reached:
            self.fail(record, record.latency_us or 0)
        if not reached or not record.trace_id:
            self.chain(int(reached), record.outcome, record.model, record.provider, None, None, 0, None,
                       None, None)
        else:
            traces[record.trace_id].append(record)

    def trace(self, trace_id, lines):
        first = min(lines, key=lambda r: r.time_us - (r.latency_us or 0))
        last = max(lines, key=lambda r: r.time_us)
        start_us, last_start_us = first.time_us - (first.latency_us or 0), last.time_us - (last.latency_us or 0)
        success = sum(line.outcome == "success" for line in lines)
        if success > 1 or (success == 1 and last.outcome != "success"):
            requests = success + (last.outcome != "success")
            self.sessions = [a + b for a, b in zip(self.sessions, (1, requests, len(lines)))]
            self.requests, self.reached = self.requests + requests, self.reached + requests
            self.attempts += len(lines)
            for group in (self.models[last.model], self.providers[last.provider]):
                group[0], group[1] = group[0] + requests, group[1] + len(lines)
            return
        self.chain(len(lines), last.outcome, first.model, last.provider,
                   (first.model, last.model) if first.model != last.model else None,
                   max(last_start_us - start_us, 0) if len(lines) > 1 else None,
                   sum(line.cost_pico or 0 for line in lines), last.time_us - start_us, last.time_us, trace_id)

    def chain(self, attempts, outcome, model, provider, route, added_us, cost, latency_us, time_us, identity):
        success, again = outcome == "success", attempts > 1 or route is not None
        self.requests += 1
        self.need[min(attempts, 4)][0] += 1
        self.need[min(attempts, 4)][1] += success
        added = [added_us] if added_us is not None else []
        if again:
            group = self.fallback if route else self.retry
            group[0], group[1] = group[0] + 1, group[1] + success
            group[2] += added
        if route:
            entry = self.routes[route]
            entry[0], entry[1], entry[2] = entry[0] + 1, entry[1] + success, entry[2] + cost
            entry[3] += added
        if attempts:
            self.reached += 1
            self.attempts += attempts
            for group in (self.models[model], self.providers[provider]):
                group[:4] = [a + b for a, b in zip(group, (1, attempts, again, again and success))]
            if again:
                self.worst.append((attempts, latency_us, time_us if time_us is not None else 1 << 62, identity or ""))


def trace(path, identity):
    """(id or None, its records, candidates): rule T1."""
    lines = records_of(path)
    exact = [r for r in lines if identity in (r.request_id, r.trace_id)]
    if exact:
        return identity, exact, {}
    begins = defaultdict(list)
    for record in lines if len(identity.encode()) >= 6 else []:
        found = next((i for i in (record.request_id, record.trace_id) if i and i.startswith(identity)), None)
        if found:
            begins[found].append(record)
    if len(begins) == 1:
        found, its = next(iter(begins.items()))
        return found, its, {}
    return None, [], {name: len(its) for name, its in begins.items()}


def slowest(path, count):
    timed = [r for r in records_of(path) if r.event == "request" and r.latency_us is not None]
    timed.sort(key=lambda r: (-r.latency_us, r.time_us if r.time_us is not None else 1 << 62,
                              (r.request_id or "").encode(), (r.model or "").encode()))
    return timed[:count]


def refusal_of(record):
    if record.error_provider_status == 429:
        return "gateway" if record.shape == "litellm" and record.provider is None else "provider"
    return "gateway" if record.http_status == 429 and not record.error_provider_status else None


class Rates:
    """cells[(key, is hash, provider)][minute] = [sent, tokens, provider's 429, gateway's 429]"""

    def __init__(self, path):
        self.cells = defaultdict(lambda: defaultdict(lambda: [0, 0, 0, 0]))
        for record in records_of(path):
            self.take(record)
        minutes = [m for cells in self.cells.values() for m in cells]
        self.last_minute = max(minutes, default=0)
        self.wholes = defaultdict(lambda: defaultdict(lambda: [0, 0, 0, 0]))
        for (_, _, provider), cells in self.cells.items():
            for minute, cell in cells.items():
                whole = self.wholes[provider]
                whole[minute] = [a + b for a, b in zip(whole[minute], cell)]

    def take(self, record):
        refusal = refusal_of(record)
        sent = refusal == "provider" or (refusal is None and record.provider is not None and record.cache != "hit"
                                         and record.attempts != 0)
        if record.event not in ("request", "attempt") or record.time_us is None or not (sent or refusal):
            return
        hashed = record.key_alias is None and bool(record.key_hash)
        key = record.key_hash[:12] if hashed else record.key_alias
        took_us = record.upstream_us if record.upstream_us is not None else record.latency_us or 0
        cell = self.cells[key, hashed, record.provider][max(record.time_us - took_us, 0) // MINUTE_US]
        tokens = record.total_tokens
        if tokens is None:
            tokens = (record.prompt_tokens or 0) + (record.completion_tokens or 0)
        cell[0] += sent
        cell[1] += tokens if sent else 0
        cell[2] += refusal == "provider"
        cell[3] += refusal == "gateway"

    def limit(self, cells, which):
        """peak, p95, passed, hit, now, estimate of requests (0) or tokens (1) a minute."""
        busy = sorted(cell[which] for cell in cells.values() if cell[0])
        clean = max((cell[which] for cell in cells.values() if not cell[2]), default=0)
        passed = max((cell[which] - (0 if which else cell[2]) for cell in cells.values()), default=0)
        hit = min((cell[which] for cell in cells.values() if cell[2]), default=None)
        now = cells[self.last_minute - 1][which] if self.last_minute - 1 in cells else 0
        estimate = passed if hit is not None and hit > clean else None
        return (busy[-1] if busy else 0, nearest_rank(busy, 95) if busy else 0, passed, hit, now, estimate)


# ---- a log with what generate.py's has too little of ----


class Maker:
    """Makes calls as lists of tries, and writes them in either shape; bursts refuse what is past a limit in a minute."""

    MODELS = {"gpt-4o": ("openai", "azure"), "claude": ("anthropic",), "llama": ("groq", "vllm"), "gpt-4o-mini": ("openai",)}
    KEYS = ("team-a", "équipe-β", 'the "third"', None)

    def __init__(self, shape, seed):
        self.shape, self.rng = shape, random.Random(f"chains {shape} {seed}")
        self.now_us, self.sent = START_US, defaultdict(int)
        self.serial = 0

    def identity(self):
        self.serial += 1
        return f"{self.rng.getrandbits(48):012x}-{self.serial:06d}"

    def lines(self, requests):
        """In order of time, then a little out of it."""
        made = []
        for _ in range(requests):
            self.now_us += self.rng.randrange(1, 400_000)
            made += self.session() if self.shape == "litellm" and self.rng.random() < 0.01 else self.call()
        return [text for _, text in sorted(made, key=lambda item: item[0] + self.rng.randrange(3_000_000))]

    def tries(self):
        """(model, provider, start, latency, status or None where it answered) of one request."""
        model, at, made = self.rng.choice(list(self.MODELS)), self.now_us, []
        first = model
        for number in range(7):
            provider = self.rng.choice(self.MODELS[model])
            minute = (provider, at // MINUTE_US)
            self.sent[minute] += 1
            latency = self.rng.randrange(2_000, 3_000_000)
            status = 429 if provider == "openai" and self.sent[minute] > 60 else \
                self.rng.choice((500, 503, 408)) if self.rng.random() < 0.12 else None
            made.append((model, provider, at, latency, status))
            if status is None or self.rng.random() < 0.15:
                break
            at += latency + self.rng.randrange(1, 500_000)
            if number == 2:
                model = self.rng.choice([m for m in self.MODELS if m != model])
        return first, made

    def call(self):
        identity, trace_id, key = self.identity(), self.identity(), self.rng.choice(self.KEYS)
        draw = self.rng.random()
        if draw < 0.03:
            return [self.cached(identity, trace_id, key)]
        if draw < 0.05:
            return [self.refused(identity, trace_id, key)]
        first, tries = self.tries()
        if self.shape == "litellm":
            trace_id = None if self.rng.random() < 0.02 else trace_id
            return [self.litellm(self.identity(), trace_id, key, one) for one in tries]
        made = [self.weir("attempt", identity, trace_id, key, one, one[3]) for one in tries[:-1]]
        last = tries[-1]
        more = {"attempts": len(tries)}
        if last[0] != first:
            more["fallback_from"] = first
        total = last[2] + last[3] - self.now_us + self.rng.randrange(500)
        return made + [self.weir("request", identity, trace_id, key, last, total, more)]

    def session(self):
        trace_id, key, made = self.identity(), self.rng.choice(self.KEYS), []
        for _ in range(self.rng.randrange(2, 6)):
            self.now_us += self.rng.randrange(1, 900_000)
            made += [self.litellm(self.identity(), trace_id, key, one) for one in self.tries()[1]]
        return made

    def cached(self, identity, trace_id, key):
        one = ("gpt-4o", "openai", self.now_us, self.rng.randrange(100, 900), None)
        if self.shape == "litellm":
            return self.litellm(identity, trace_id, key, one, cache_hit=True)
        return self.weir("request", identity, trace_id, key, one, one[3], {"attempts": 0, "cache": "hit"})

    def refused(self, identity, trace_id, key):
        one = ("gpt-4o", None, self.now_us, self.rng.randrange(20, 90), 429)
        if self.shape == "litellm":
            return self.litellm(identity, trace_id, key, one)
        return self.weir("request", identity, trace_id, key, one, one[3], {"http_status": 429})

    def key_of(self, key, alias, hashed):
        return {alias: key} if key else {hashed: "0123456789abcdef" * 4} if self.rng.random() < 0.7 else {}

    def weir(self, event, identity, trace_id, key, one, latency, more=()):
        model, provider, start, upstream, status = one
        end = start + upstream if event == "attempt" else self.now_us + latency
        line = {"timestamp": f"{datetime.fromtimestamp(end // 1000 / 1000, timezone.utc):%Y-%m-%dT%H:%M:%S.%f}"[:23] + "Z",
                "event": event, "request_id": identity, "model": model}
        if provider:
            line |= {"provider": provider, "upstream_model": f"{model}-x", "upstream_ms": upstream / 1000}
        line |= {"status": "failure" if status else "success", "latency_ms": latency / 1000, "trace_id": trace_id}
        if status is None:
            line |= {"prompt_tokens": self.rng.randrange(900), "completion_tokens": self.rng.randrange(90)}
            line["total_tokens"] = line["prompt_tokens"] + line["completion_tokens"]
        if status is None or self.rng.random() < 0.3:
            line["cost_usd"] = self.rng.randrange(10**9) / 1e12
        line |= self.key_of(key, "key_alias", "key_hash") | dict(more)
        if status:
            line["error"] = {"type": "upstream_error"} | ({"provider_status": status} if provider else {})
        return end, json.dumps(line, ensure_ascii=self.rng.random() < 0.5, separators=(",", ":"))

    def litellm(self, identity, trace_id, key, one, cache_hit=None):
        model, provider, start, latency, status = one
        end = start + latency
        line = {"id": identity, "trace_id": trace_id, "call_type": "acompletion", "stream": False,
                "status": "failure" if status else "success", "custom_llm_provider": provider or "", "model": f"{model}-x",
                "model_group": model, "startTime": start / 1e6, "endTime": end / 1e6, "completionStartTime": end / 1e6,
                "response_cost": 0 if status else self.rng.randrange(10**9) / 1e12, "cache_hit": cache_hit,
                "total_tokens": 0 if status else self.rng.randrange(900),
                "metadata": self.key_of(key, "user_api_key_alias", "user_api_key_hash")}
        if status:
            line["error_information"] = {"error_code": str(status), "error_class": "RateLimitError"}
        return end, json.dumps(line, ensure_ascii=self.rng.random() < 0.5)


def write(path, shape="weir", requests=3000, seed=1):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in Maker(shape, seed).lines(requests))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shape", choices=("weir", "litellm"), default="weir")
    parser.add_argument("--requests", type=int, default=3000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("-o", "--output", default="/dev/stdout", metavar="FILE")
    options = parser.parse_args()
    write(options.output, options.shape, options.requests, options.seed)


if __name__ == "__main__":
    main()
