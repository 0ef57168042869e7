"""tally.py -- what the generator knows of the lines it wrote, counted without reading them back.

It shares no code with analyze.py, so that a mistake must be made twice to go unnoticed.
"""
from array import array


class Facts:
    """What is true of one line, whatever it looks like. Absent is None; durations in µs, money in 1e-12 USD."""

    __slots__ = (
        "fate", "event", "model", "provider", "outcome", "time_us", "latency_us", "ttft_us", "prompt_tokens",
        "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens", "cost_pico", "is_hit", "attempts",
        "error_type", "dropped", "is_other_shape")

    def __init__(self, event, time_us):
        self.fate = "read"  # or "broken", "blank"
        self.event, self.time_us = event, time_us
        self.model = self.provider = self.outcome = self.latency_us = self.ttft_us = None
        self.prompt_tokens = self.completion_tokens = self.total_tokens = None
        self.cached_tokens = self.reasoning_tokens = None
        self.cost_pico = self.attempts = self.error_type = self.dropped = None
        self.is_hit = self.is_other_shape = False


class Sums:
    """Totals of the requests of one model."""

    __slots__ = ("outcomes", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens",
                 "attempts", "cost_pico", "cache_hits", "latencies_us", "ttfts_us", "first_us", "last_us")

    def __init__(self):
        self.outcomes = {"success": 0, "failure": 0, "cancelled": 0, "unknown": 0}
        self.prompt_tokens = self.completion_tokens = self.total_tokens = 0
        self.cached_tokens = self.reasoning_tokens = self.attempts = self.cost_pico = self.cache_hits = 0
        self.latencies_us, self.ttfts_us = array("q"), array("q")
        self.first_us = self.last_us = None

    def add(self, facts):
        self.outcomes[facts.outcome] += 1
        self.prompt_tokens += facts.prompt_tokens or 0
        self.completion_tokens += facts.completion_tokens or 0
        self.total_tokens += facts.total_tokens or 0
        self.cached_tokens += facts.cached_tokens or 0
        self.reasoning_tokens += facts.reasoning_tokens or 0
        self.attempts += facts.attempts or 0
        self.cost_pico += facts.cost_pico or 0
        self.cache_hits += facts.is_hit
        if facts.latency_us is not None:
            self.latencies_us.append(facts.latency_us)
        if facts.ttft_us is not None:
            self.ttfts_us.append(facts.ttft_us)
        time_us = facts.time_us
        if time_us is not None:
            if self.first_us is None or time_us < self.first_us:
                self.first_us = time_us
            if self.last_us is None or time_us > self.last_us:
                self.last_us = time_us

    def as_dict(self):
        sums = {"requests": sum(self.outcomes.values())} | self.outcomes
        sums |= {name: getattr(self, name) for name in (
            "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens", "attempts",
            "cost_pico", "cache_hits", "first_us", "last_us")}
        return sums | {"latency_us": spread(self.latencies_us), "ttft_us": spread(self.ttfts_us)}


def spread(values):
    """Nearest-rank percentiles, the plain way."""
    if not values:
        return None
    ordered, count = sorted(values), len(values)

    def rank(percent):
        return next(ordered[i] for i in range(max(percent * count // 100 - 1, 0), count) if (i + 1) * 100 >= percent * count)

    return {"count": count, "sum": sum(ordered), "min": ordered[0], "max": ordered[-1],
            "p50": rank(50), "p90": rank(90), "p95": rank(95), "p99": rank(99)}


class Tally:
    def __init__(self, shape):
        self.shape = shape
        self.lines = self.read = self.broken = self.blank = self.bytes = self.dropped = self.without_time = 0
        self.broken_lines, self.shapes, self.events, self.log_errors = [], {}, {}, {}
        self.models, self.errors, self.hours, self.traps = {}, {}, {}, {}

    def add(self, facts):
        self.lines += 1
        if facts.fate != "read":
            if facts.fate == "broken":
                self.broken += 1
                self.broken_lines.append(self.lines)
            else:
                self.blank += 1
            return
        self.read += 1
        bump(self.shapes, "other" if facts.is_other_shape else self.shape)
        if facts.is_other_shape:
            return
        bump(self.events, facts.event)
        if facts.event == "request":
            self.add_request(facts)
        elif facts.event == "gap":
            self.dropped += facts.dropped or 0
        elif facts.event == "log" and facts.outcome == "failure":
            bump(self.log_errors, facts.error_type)

    def add_request(self, facts):
        sums = self.models.get(facts.model)
        if sums is None:
            sums = self.models[facts.model] = Sums()
        sums.add(facts)
        if facts.outcome == "failure":
            bump(self.errors, (facts.error_type, facts.provider, facts.model))
        if facts.time_us is None:
            self.without_time += 1
        else:
            bump(self.hours, facts.time_us // 3_600_000_000)

    def as_dict(self):
        return {
            "lines": self.lines, "read": self.read, "broken": self.broken, "blank": self.blank, "bytes": self.bytes,
            "dropped": self.dropped, "without_time": self.without_time, "broken_lines": self.broken_lines,
            "shapes": self.shapes, "events": self.events, "traps": self.traps,
            "log_errors": [[name, count] for name, count in self.log_errors.items()],
            "models": [[model, sums.as_dict()] for model, sums in self.models.items()],
            "errors": [[*key, count] for key, count in self.errors.items()],
            "hours": [[hour * 3600, count] for hour, count in sorted(self.hours.items())]}


def bump(counts, key):
    counts[key] = counts.get(key, 0) + 1
