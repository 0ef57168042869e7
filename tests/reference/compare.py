"""compare.py -- what `weir analyze --compare-with` must answer, slowly and obviously.

Rules, going on from analyze.py's and cost.py's:

W1. Amounts are divided by the hours of their window. Shares are of the window's requests.
W2. Shares are tested as two proportions, pooled, without a correction; no answer where less than 5 of the rarer kind are to be expected in
    the smaller window, but 1 where there are none of it at all and at least 5 requests.
W3. Times are tested by Mann and Whitney's U, normal, corrected for ties; no answer with less than 8 values in a window.
W4. Real: p below 0.01 / 5, and a value that is not the same.
W5. A group's share is its movement by all groups' movements without their signs.
"""
import bisect
import math
from collections import Counter

from analyze import nearest_rank
from cost import grouped, pico_of, requests

HOUR_US = 3_600_000_000
AMOUNTS = {"requests_per_hour": lambda lines: len(lines),
           "tokens_per_hour": lambda lines: sum(record.total_tokens or 0 for record in lines),
           "cost_usd_per_hour": lambda lines: sum(map(pico_of, lines)) / 1e12,
           "attempts_per_hour": lambda lines: sum(record.attempts or 0 for record in lines)}
SHARES = {"error_rate": lambda record: record.outcome == "failure",
          "cancelled_rate": lambda record: record.outcome == "cancelled",
          "cache_hit_rate": lambda record: record.cache == "hit"}
TIMES = {"latency_p50_ms": ("latency_us", 50), "latency_p95_ms": ("latency_us", 95), "latency_p99_ms": ("latency_us", 99),
         "ttft_p50_ms": ("ttft_us", 50), "ttft_p95_ms": ("ttft_us", 95)}
EXPLAINED = {"errors": lambda lines: sum(record.outcome == "failure" for record in lines),
             "cost": lambda lines: sum(map(pico_of, lines)) / 1e12,
             "time": lambda lines: sum(record.latency_us or 0 for record in lines) / 1e6}


def two_sided(z):
    return math.erfc(abs(z) / math.sqrt(2))


def proportions_p(a, of_a, b, of_b):
    if not of_a or not of_b:
        return None
    pooled = (a + b) / (of_a + of_b)
    rarer, smaller = min(pooled, 1 - pooled), min(of_a, of_b)
    if rarer == 0 and smaller >= 5:
        return 1
    if rarer * smaller < 5:
        return None
    return two_sided((a / of_a - b / of_b) / math.sqrt(pooled * (1 - pooled) * (1 / of_a + 1 / of_b)))


def ranks_p(a, b):
    if len(a) < 8 or len(b) < 8:
        return None
    ordered = sorted(b)
    u = sum(len(b) - (bisect.bisect_left(ordered, value) + bisect.bisect_right(ordered, value)) / 2 for value in a)
    n = len(a) + len(b)
    ties = sum(count**3 - count for count in Counter(a + b).values())
    variance = len(a) * len(b) / 12 * (n + 1 - ties / (n * (n - 1)))
    return two_sided((u - len(a) * len(b) / 2) / math.sqrt(variance)) if variance > 0 else 1


def in_window(path, since_us, until_us):
    return [record for record in requests(path) if record.time_us is not None and since_us <= record.time_us < until_us]


def compare(path, now, before):
    """now, before: (since_us, until_us). ({what: (before, now, p)}, {what: {key: (before, now, share)}})"""
    lines = [in_window(path, *window) for window in (before, now)]
    hours = [(until_us - since_us) / HOUR_US for since_us, until_us in (before, now)]
    changes = {name: (*(amount(of) / long for of, long in zip(lines, hours)), None) for name, amount in AMOUNTS.items()}
    for name, is_one in SHARES.items():
        counts = [sum(map(is_one, of)) for of in lines]
        p = proportions_p(counts[1], len(lines[1]), counts[0], len(lines[0]))
        changes[name] = (*(count / len(of) if of else None for count, of in zip(counts, lines)), p)
    for name, (attribute, percent) in TIMES.items():
        values = [[getattr(record, attribute) for record in of if getattr(record, attribute) is not None] for of in lines]
        changes[name] = (*(nearest_rank(sorted(of), percent) / 1000 if of else None for of in values),
                         ranks_p(values[1], values[0]))
    explained = {}
    for name, amount in EXPLAINED.items():
        groups = [{key: amount(of) / long for key, of in grouped(side, "model", "provider").items()}
                  for side, long in zip(lines, hours)]
        keys = set(groups[0]) | set(groups[1])
        moved = {key: groups[1].get(key, 0) - groups[0].get(key, 0) for key in keys}
        whole = sum(map(abs, moved.values()))
        explained[name] = {key: (groups[0].get(key), groups[1].get(key), moved[key] / whole if whole else 0) for key in keys}
    return changes, explained
