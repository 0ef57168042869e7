"""What can go wrong with a provider, and what weir promises then: one row a fault. docs/failover.md shows this table (run.py --docs).

A fault is named as `weir mock` names it (weir mock --help). What is promised follows from its class:

  fine        nothing failed: one attempt, the answer
  connection  not reached, closed, reset, not HTTP, or cut short before the caller had a byte
  timeout     no answer in time, or a provider's 408
  server      the provider answered 5xx, or an error inside a 200
  rate        429
  denied      401, 403, 404: another attempt at the same deployment cannot help
  request     the request itself is refused: nothing is tried again, the deployment is not to blame
  midway      it failed after the caller had its first bytes: an error event, and nothing is tried again
"""
from typing import NamedTuple

NUM_RETRIES, ALLOWED_FAILS, COOLDOWN_S, TIMEOUT_S = 2, 3, 5, 0.6


class Class(NamedTuple):
    same: bool      # tried again at the same deployment
    other: bool     # tried at another one of the group, and at a fallback
    rests: bool     # counts against the deployment: after ALLOWED_FAILS + 1 in a row it rests
    says: str       # for the docs


CLASSES = {
    "fine": Class(False, False, False, "the answer"),
    "connection": Class(True, True, True, "not reached, closed, reset, not HTTP, or cut short before the caller had a byte"),
    "timeout": Class(True, True, True, "nothing in time, or a provider's 408"),
    "server": Class(True, True, True, "the provider's own failure: 5xx, or an error inside a 200"),
    "rate": Class(True, True, True, "too many requests; Retry-After is waited for"),
    "denied": Class(False, True, True, "401, 403, 404: the same deployment would say the same again"),
    "request": Class(False, False, False, "the request's own fault"),
    "midway": Class(False, False, True, "failed after the caller had its first bytes"),
}


class Promise(NamedTuple):
    kind: str         # a class
    status: int       # what the caller gets where nothing else is left
    body: str = "json"  # as run.py's kind_of tells them apart


class Fault(NamedTuple):
    name: str
    spec: str              # for weir mock; "" for none
    plain: Promise
    stream: Promise
    where: str = "shared"  # the mock: shared; own (its connections are never reused); port (one a cell, faulty as a whole); none
    params: dict = {}      # of the faulty deployment
    wait_s: float = 0      # a single deployment's caller waits at least so long for the retries


FINE = Promise("fine", 200, "whole")
MIDWAY = Promise("midway", 200, "event")
LATE = Promise("timeout", 408)
BROKEN = Promise("connection", 502)


def answered(kind, status, body="json"):
    return Promise(kind, status, body)


def both(name, spec, promise, **more):
    return Fault(name, spec, promise, promise, **more)


FAULTS = [
    both("none", "", FINE),
    both("refused", "", BROKEN, where="none"),
    both("close-on-accept", "close-on-accept", BROKEN, where="port"),
    both("reset-on-accept", "reset-on-accept", BROKEN, where="port"),
    both("close-before-head", "close-before-head", BROKEN, where="own"),
    both("reset-before-head", "reset-before-head", BROKEN, where="own"),
    both("hang-head", "hang-head", LATE),
    both("late-head", "delay-ms=3000", LATE),
    both("slow-head-late", "slow-head=40", LATE),
    both("garbage", "garbage", BROKEN),
    both("cut-head", "cut-head", BROKEN),
    both("hang-in-head", "hang-in-head", LATE),
    both("400", "status=400", answered("request", 400)),
    both("401", "status=401", answered("denied", 401)),
    both("403", "status=403", answered("denied", 403)),
    both("404", "status=404", answered("denied", 404)),
    both("408", "status=408", answered("timeout", 408)),
    both("422", "status=422", answered("request", 422)),
    both("429", "status=429", answered("rate", 429)),
    both("429-retry-after", "status=429,retry-after=1", answered("rate", 429), wait_s=2),
    both("429-retry-after-ms", "status=429,retry-after-ms=200", answered("rate", 429), wait_s=0.4),
    both("429-retry-after-date", "status=429,retry-after-date=2", answered("rate", 429), wait_s=1.5),
    both("500", "status=500", answered("server", 500)),
    both("502", "status=502", answered("server", 502)),
    both("503", "status=503", answered("server", 503)),
    both("503-retry-after", "status=503,retry-after=1", answered("server", 503), wait_s=2),
    both("529", "status=529", answered("server", 529)),
    both("html-502", "html-error=502", answered("server", 502, "html")),
    both("huge-500", "huge-error=1000000", answered("server", 500)),
    both("context-window", "context-window", answered("request", 400)),
    both("content-policy", "content-policy", answered("request", 400)),
    both("content-filter", "content-filter", answered("request", 400)),
    both("error-in-200", "error-in-200", answered("server", 500)),
    both("empty-200", "empty-200", BROKEN),
    both("not-json", "not-json", BROKEN),
    both("cut-json", "cut-json", BROKEN),
    both("hang-body", "hang-body", LATE),
    Fault("length-too-long", "length-too-long", BROKEN, MIDWAY),
    Fault("length-too-short", "length-too-short", BROKEN, MIDWAY),
    Fault("cut-chunk", "cut-chunk", BROKEN, MIDWAY),
    both("cut-at-once", "cut-after=0", BROKEN),
    Fault("cut-after", "cut-after=3", BROKEN, MIDWAY),
    both("reset-at-once", "reset-after=0", BROKEN),
    Fault("reset-after", "reset-after=3", BROKEN, MIDWAY),
    both("stall-at-once", "stall-after=0", LATE),
    Fault("stall-after", "stall-after=3", LATE, MIDWAY),
    Fault("error-event-first", "error-in-stream=0", FINE, answered("server", 500)),
    Fault("error-event-later", "error-in-stream=3", FINE, Promise("midway", 200, "told")),
    Fault("no-end", "no-end", FINE, MIDWAY),
    both("slow-bytes", "slow-bytes=1,tokens=2", FINE, params={"timeout": 20, "stream_timeout": 20}),
    both("slow-head", "slow-head=1", FINE, params={"timeout": 20, "stream_timeout": 20}),
    both("delay", "delay-ms=100", FINE),
]

# A fault of a single deployment whose group falls back to another one: (fault, the router's table of fallbacks).
FALLBACKS = [
    ("refused", "fallbacks"),
    ("hang-head", "fallbacks"),
    ("401", "fallbacks"),
    ("429", "fallbacks"),
    ("500", "fallbacks"),
    ("html-502", "fallbacks"),
    ("error-in-200", "fallbacks"),
    ("cut-after", "fallbacks"),
    ("context-window", "context_window_fallbacks"),
    ("content-policy", "content_policy_fallbacks"),
    ("content-filter", "content_policy_fallbacks"),
]

# Faults of the preferred deployment of a group that are waited out: while it rests, when it is tried again, and when it is well again.
RESTS = [("500", "rest"), ("hang-head", "rest"), ("hang-head", "rest-stream"), ("close-before-head", "rest"), ("cut-after", "rest")]

SETUPS = ["single", "single-stream", "group", "group-stream"]
QUICK = [("none", "group"), ("500", "rest"), ("refused", "group-stream"), ("close-before-head", "group"), ("hang-head", "single"),
         ("hang-head", "group-stream"), ("401", "group"), ("429-retry-after-ms", "single"), ("500", "group"),
         ("500", "fallback"), ("context-window", "single"), ("context-window", "fallback"), ("cut-json", "group"),
         ("cut-after", "group"), ("cut-after", "single-stream"), ("stall-after", "group-stream"),
         ("error-event-first", "group-stream"), ("no-end", "single-stream")]


def first_attempts(promise, setup, falls_back):
    """Attempts of the first request, when nothing rests yet."""
    kind = CLASSES[promise.kind]
    if setup.startswith(("group", "rest")):
        return 2 if kind.other else 1
    return 1 + (NUM_RETRIES if kind.same else 0) + (1 if falls_back and promise.kind not in ("fine", "midway") else 0)


def cell_words(promise, setup):
    """What the docs say of one cell: what the caller sees, and after how many attempts."""
    kind = CLASSES[promise.kind]
    if promise.kind == "fine" or (setup == "group" and kind.other):
        return f"200, {first_attempts(promise, setup, False)}"
    shown = f"200, an error event" if promise.kind == "midway" else f"{promise.status} html" if promise.body == "html" else str(promise.status)
    return f"{shown}, {first_attempts(promise, setup, False)}"


def docs():
    """The tables of docs/failover.md."""
    yes = {True: "yes", False: "no"}
    lines = ["| class | what it is | same deployment again | another one, fallbacks | counts towards rest |",
             "| --- | --- | --- | --- | --- |"]
    lines += [f"| {name} | {c.says} | {yes[c.same]} | {yes[c.other]} | {yes[c.rests]} |" for name, c in CLASSES.items()]
    lines += ["", "| fault | as `weir mock` is told | class | single | group | stream: class | single | group |",
              "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for f in FAULTS:
        told = f"`{f.spec}`" if f.spec else "a port where nothing listens" if f.where == "none" else ""
        lines.append(f"| {f.name} | {told} | " + " | ".join(
            f"{p.kind} | {cell_words(p, 'single')} | {cell_words(p, 'group')}" for p in (f.plain, f.stream)) + " |")
    return "\n".join(lines) + "\n"
