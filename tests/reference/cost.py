"""cost.py -- what `weir analyze --cost, --what-if, --providers` and the phases of --performance must answer, slowly and obviously.

Rules, going on from analyze.py's:

C1. Money is that of the lines, of requests (rule 14); attempts' is summed apart. By tag a request counts for each of its tags (where.py, 8).
C2. Failed and cancelled: by outcome. Unpriced: a total of tokens above 0 and no cost. Free: a success with such a total at a cost of 0.
    Neither counts what the response cache answered (cache hit).
C3. Prompt caches saved the price of the line's tokens had none been cached, less their price as they were, by the table.
C4. Response caches saved, for each hit, the mean cost of its model's successes that have one and were no hits.
C5. A rate of N minutes is over the N full minutes up to and with the last stamp's; over first to last stamp (a minute at least) where that
    is not longer, or N is 0. Requests without a stamp are in none.
C6. Ahead: from the last stamp on. With at least 168 whole hours before the last stamp's hour (the first hour is whole when the first stamp
    begins it), an hour to come costs what the hour of the same day and time of those 168 did, parts of hours in proportion; else
    the whole rate (C5, N = 0). Less than an hour of log: no answer. low, high: +- t95(n-1) * s * sqrt(D + W); s: standard deviation of the
    last n = min(28, whole hours // 24) days of 24 hours up to the last stamp's hour; D: days ahead; W: D^2 / n, or with
    hours of the week the sum of squares of how often each of 7 days comes in D. Less than 3 days: none. Never below 0.
P1. Price of a line's tokens: (prompt - cached) * input + cached * cached price + (completion - reasoning) * output + reasoning * its price;
    missing special prices are the plain ones; cached <= prompt, reasoning <= completion; a hit costs nothing; without any token
    count it has none. Rounded half up to 1e-12, line by line.
P2. what-if: the first route whose pattern fits the model or the upstream model; else the table if it has the model; else, or where P1 has
    no answer, as now.
F1. Phases: requests that say their latency, but for hits. queue <= latency; first token = ttft (within queue and latency) - queue;
    generation = latency - ttft; between tokens = generation / (completion - 1) half up, where that is more than 0.
F2. Shares of the sum of latencies: queue; first token; gateway = overhead - queue (0 at least, what is left at most); generation or, without
    ttft, the answer: the rest.
S1. Providers: requests with a provider, but for hits, by (model, provider, deployment). Success is out of those not cancelled. Times are
    of successes. Models with one such group only are counted, not compared. Of a model the 32 with the most requests count.
"""
import fnmatch
import math
from collections import defaultdict

import where
from analyze import USD_MAX_PICO, nearest_rank, sum_of_money
from records import Broken, parse_object, record_of, strip_line

HOUR_US = 3_600_000_000
MINUTE_US = 60_000_000
STUDENT_T95 = [math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
               2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052]


def records(path):
    """All records of a file."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            stripped = strip_line(line, at_file_start=number == 1)
            if not stripped:
                continue
            try:
                record = record_of(parse_object(stripped))
            except Broken:
                continue
            if record:
                yield record


def requests(path):
    return [record for record in records(path) if record.is_request and record.shape != "json_logs"]


def pico_of(record):
    return min(record.cost_pico or 0, USD_MAX_PICO)


# ---- prices (P1): {"provider/upstream_model": {"input": pico, "output": pico, "cached": pico, "reasoning": pico}} ----


def price(record, rates, cached=True):
    """In 1e-12 USD; None where the line does not say how many tokens."""
    if record.cache == "hit":
        return 0
    if record.prompt_tokens is None and record.completion_tokens is None:
        return None
    prompt, completion = record.prompt_tokens or 0, record.completion_tokens or 0
    read = min(record.cached_tokens or 0, prompt) if cached else 0
    thought = min(record.reasoning_tokens or 0, completion)
    usd = ((prompt - read) * rates["input"] + read * rates.get("cached", rates["input"])
           + (completion - thought) * rates["output"] + thought * rates.get("reasoning", rates["output"]))
    return min(round(usd), USD_MAX_PICO)


def rates_of(record, table):
    return table.get(f"{record.provider}/{record.upstream_model}")


# ---- spend ----


def spend(path, table):
    everything = list(records(path))
    lines = [record for record in everything if record.is_request and record.shape != "json_logs"]
    attempts = [record for record in everything if record.event == "attempt"]
    hits = [record for record in lines if record.cache == "hit"]
    others = [record for record in lines if record.cache != "hit"]
    report = sums(lines)
    report["by"] = {field: {key: sums(of) for key, of in grouped(lines, field).items()}
                    for field in ("model", "provider", "key_alias", "user")}
    report["by"]["tag"] = {tag: sums(of) for tag, of in by_tag(path).items()}
    report["retried"] = sum((record.attempts or 0) > 1 for record in lines)
    report["extra_attempts"] = sum(max((record.attempts or 0) - 1, 0) for record in lines)
    report["attempt_lines"], report["attempts_pico"] = len(attempts), sum(map(pico_of, attempts))
    cached = [record for record in others if record.cached_tokens]
    known = [record for record in cached if rates_of(record, table) and price(record, rates_of(record, table)) is not None]
    report["cached_tokens"] = sum(record.cached_tokens for record in cached)
    report["cached_unpriced"] = report["cached_tokens"] - sum(record.cached_tokens for record in known)
    report["prompt_cache_pico"] = sum(price(record, rates_of(record, table), cached=False)
                                      - price(record, rates_of(record, table)) for record in known)
    report["hits"], report["hits_pico"], report["hits_unknown"] = len(hits), 0, 0
    for model, of in grouped(hits, "model").items():
        costs = [pico_of(record) for record in others
                 if record.model == model and record.outcome == "success" and record.cost_pico is not None]
        if costs:
            report["hits_pico"] += len(of) * sum(costs) / len(costs)
        else:
            report["hits_unknown"] += len(of)
    priced_not = [record for record in others if record.total_tokens and record.cost_pico is None]
    free = [record for record in others if record.total_tokens and record.cost_pico == 0 and record.outcome == "success"]
    report["unpriced"] = {key: (len(of), sum(record.total_tokens for record in of))
                          for key, of in grouped(priced_not, "model", "provider", "upstream_model").items()}
    report["free"] = {key: (len(of), sum(record.total_tokens for record in of))
                      for key, of in grouped(free, "model", "provider", "upstream_model").items()}
    return report


def sums(lines):
    return {"requests": len(lines), "success": sum(record.outcome == "success" for record in lines),
            "tokens": sum(record.total_tokens or 0 for record in lines), "pico": sum_of_money(map(pico_of, lines)),
            "failed_pico": sum_of_money(pico_of(record) for record in lines if record.outcome == "failure"),
            "cancelled_pico": sum_of_money(pico_of(record) for record in lines if record.outcome == "cancelled")}


def by_tag(path):
    groups = defaultdict(list)
    for record, line in where.requests_of(path):
        for tag in where.keys_of(record, line, "tag") if record.shape != "json_logs" else ():
            groups[tag].append(record)
    return groups


def grouped(lines, *fields):
    groups = defaultdict(list)
    for record in lines:
        key = tuple(getattr(record, field) for field in fields)
        groups[key if len(fields) > 1 else key[0]].append(record)
    return groups


def stamped(path):
    return [record for record in requests(path) if record.time_us is not None]


def rate(path, minutes):
    """(USD an hour, hours)."""
    lines = stamped(path)
    first_us, last_us = min(record.time_us for record in lines), max(record.time_us for record in lines)
    hours = max(last_us - first_us, MINUTE_US) / HOUR_US
    if minutes and hours * 60 > minutes:
        last = last_us // MINUTE_US
        lines = [record for record in lines if last - minutes < record.time_us // MINUTE_US <= last]
        hours = minutes / 60
    return sum(map(pico_of, lines)) / 1e12 / hours, hours


def ahead(path, until_us):
    """(method, usd, low, high) from the log's end to until_us."""
    lines = stamped(path)
    first_us, last_us = min(record.time_us for record in lines), max(record.time_us for record in lines)
    if last_us - first_us < HOUR_US:
        return "none", None, None, None
    by_hour = defaultdict(int)
    for record in lines:
        by_hour[record.time_us // HOUR_US] += pico_of(record)
    end, first_whole = last_us // HOUR_US, -(-first_us // HOUR_US)
    days_ahead = (until_us - last_us) / HOUR_US / 24
    days = min((end - first_whole) // 24, 28)
    if end - first_whole >= 168:
        method, usd, at_us = "hour_of_week", 0, last_us
        while at_us < until_us:
            hour = at_us // HOUR_US
            next_us = min((hour + 1) * HOUR_US, until_us)
            like = hour
            while like >= end:
                like -= 168
            usd += by_hour[like] / 1e12 * (next_us - at_us) / HOUR_US
            at_us = next_us
        weeks, more = divmod(days_ahead, 7)
        weight = (7 - more) * weeks**2 + more * (weeks + 1) ** 2
    else:
        method, usd = "mean", rate(path, 0)[0] * days_ahead * 24
        weight = days_ahead**2 / days if days else 0
    if days < 3:
        return method, usd, None, None
    costs = [sum(by_hour[end - 1 - day * 24 - hour] for hour in range(24)) / 1e12 for day in range(days)]
    mean = sum(costs) / days
    spread = math.sqrt(sum((cost - mean) ** 2 for cost in costs) / (days - 1))
    half = STUDENT_T95[days - 1] * spread * math.sqrt(days_ahead + weight)
    return method, usd, max(usd - half, 0), usd + half


# ---- what if ----


def what_if(path, routes, table=None):
    """routes: (pattern, name shown, rates). {(model, provider, priced as): (requests, tokens, now, then, unpriced, unknown)}"""
    groups = defaultdict(lambda: [0] * 6)
    for record in requests(path):
        shown, rates = None, None
        for pattern, name, prices in routes:
            if fnmatch.fnmatchcase(record.model or "", pattern) or (
                    record.upstream_model and fnmatch.fnmatchcase(record.upstream_model, pattern)):
                shown, rates = name, prices
                break
        if rates is None and table is not None and rates_of(record, table):
            shown, rates = "", rates_of(record, table)
        now = then = pico_of(record)
        unknown = False
        if rates is not None:
            priced = price(record, rates)
            unknown = priced is None
            then = now if unknown else priced
        unpriced = bool(record.total_tokens) and record.cost_pico is None
        for place, value in enumerate((1, record.total_tokens or 0, now, then, unpriced, unknown)):
            groups[record.model, record.provider, shown][place] += value
    return dict(groups)


# ---- phases ----

PHASES = ("queue_ms", "overhead_ms", "first_token_ms", "generation_ms", "inter_token_ms", "tokens_per_second")
SHARES = ("queue", "first_token", "generation", "answer", "gateway")


def phases(path):
    """{None or (model, provider): {"requests", "shares": us, phase: summary in us}}"""
    groups = defaultdict(lambda: {"requests": 0, "shares": dict.fromkeys(SHARES, 0), **{name: [] for name in PHASES}})
    hits = 0
    for record in requests(path):
        if record.latency_us is None:
            continue
        if record.cache == "hit":
            hits += 1
            continue
        values, shares = phases_of(record)
        for group in (groups[None], groups[record.model, record.provider]):
            group["requests"] += 1
            for name, value in values.items():
                group[name].append(value)
            for name, value in shares.items():
                group["shares"][name] += value
    return {key: group | {name: summary(group[name]) for name in PHASES} for key, group in groups.items()}, hits


def phases_of(record):
    latency, values = record.latency_us, {}
    queue = min(record.queue_us, latency) if record.queue_us is not None else 0
    if record.queue_us is not None:
        values["queue_ms"] = queue
    after = 0
    if record.overhead_us is not None:
        values["overhead_ms"] = min(record.overhead_us, latency)
        after = max(values["overhead_ms"] - queue, 0)
    if record.ttft_us is None:
        shares = {"queue": queue, "gateway": after, "answer": latency - queue - after}
    else:
        ttft = max(min(record.ttft_us, latency), queue)
        values["first_token_ms"], values["generation_ms"] = ttft - queue, latency - ttft
        after = min(after, latency - ttft)
        shares = {"queue": queue, "first_token": ttft - queue, "gateway": after, "generation": latency - ttft - after}
        between = (record.completion_tokens or 0) - 1
        if latency > ttft and between > 0:
            values["inter_token_ms"] = (2 * (latency - ttft) + between) // (2 * between)
    if record.rate_hundredths is not None:
        values["tokens_per_second"] = record.rate_hundredths * 10
    return values, shares


def summary(values):
    ordered = sorted(values)
    if not ordered:
        return None
    return {"count": len(ordered), "mean": sum(ordered) / len(ordered),
            **{f"p{percent}": nearest_rank(ordered, percent) for percent in (50, 95, 99)}}


# ---- providers ----


def providers(path):
    """({model: {(provider, deployment): counts}}, how many models have one only)."""
    models = defaultdict(dict)
    lines = [record for record in requests(path) if record.provider is not None and record.cache != "hit"]
    for (model, provider, deployment), of in grouped(lines, "model", "provider", "deployment").items():
        models[model][provider, deployment] = provider_of(of)
    several = {model: of for model, of in models.items() if len(of) > 1}
    return several, len(models) - len(several)


def provider_of(lines):
    good = [record for record in lines if record.outcome == "success"]
    failed = [record for record in lines if record.outcome == "failure"]
    priced = [record for record in lines if record.cost_pico is not None]
    tokens = sum(record.total_tokens or 0 for record in priced)
    return {
        "requests": len(lines), "success": len(good),
        "cancelled": sum(record.outcome == "cancelled" for record in lines),
        "rate_limited": sum(429 in (record.http_status, record.error_provider_status) for record in failed),
        "timeouts": sum(any(part in (record.error_type or "") for part in ("timeout", "Timeout"))
                        or bool({408, 504} & {record.http_status, record.error_provider_status}) for record in failed),
        "total_tokens": sum(record.total_tokens or 0 for record in lines),
        "usd_per_1k_tokens": sum(map(pico_of, priced)) / 1e9 / tokens if tokens else None,
        "usd_per_request": sum(map(pico_of, priced)) / 1e12 / len(priced) if priced else None,
        "latency_ms": summary([record.latency_us for record in good if record.latency_us is not None]),
        "ttft_ms": summary([record.ttft_us for record in good if record.ttft_us is not None]),
        "tokens_per_second": summary([10 * record.rate_hundredths for record in good if record.rate_hundredths is not None]),
    }


def wilson(good, count):
    """95 %, by solving (p - good/count)^2 = z^2 p (1 - p) / count for p."""
    z = 1.959963984540054
    share = good / count
    a, b, c = 1 + z * z / count, -(2 * share + z * z / count), share * share
    root = math.sqrt(max(b * b - 4 * a * c, 0))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)
