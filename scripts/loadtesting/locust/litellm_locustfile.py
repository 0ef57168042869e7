"""Load on an OpenAI-compatible gateway (weir, LiteLLM) by Locust: a mix of models, plain and streamed.

    locust -f litellm_locustfile.py --host http://localhost:4000                      # web interface on :8089
    locust -f litellm_locustfile.py --host http://localhost:4000 --headless -u 20 -r 5 -t 1m --stop-timeout 30 --html report.html

LiteLLMUser is somebody who asks, reads and asks again; LiteLLMStressUser asks as fast as it is answered and runs only where it is
named. A stream is timed here, event by event, since Locust's own column would end at the answer's head. README.md beside this file
tells the options, the statistics and what they cannot show. Works with Locust 2.12 and later.
"""
import argparse
import json
import logging
import math
import os
import random
import sys
import time
import urllib.error
import urllib.request
import uuid

import gevent
import locust
from gevent.lock import BoundedSemaphore
from locust import FastHttpUser, between, events, task
from locust.runners import WorkerRunner

PATH = "/v1/chat/completions"
SHARES = (60, 25, 15)  # of the first, second and third model
OFF = -1.0  # a threshold that is not looked at; not None, which Locust's web form cannot change
EXIT_THRESHOLD, EXIT_UNREACHABLE = 1, 3
# Parts of streams. They are events like any other, but no requests: kept out of the row "Aggregated".
PARTS = ("TTFT", "ITL", "ICL", "E2E")
TOKEN_KEYS = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls")
# Chunks and tokens may differ by so much for the gaps between chunks to be called gaps between tokens.
ITL_TOLERANCE = 0.05

log = logging.getLogger("litellm")


# ---- options ----

def mix_of(text):
    """{model: share} of "a=60,b=25" or of "a,b,c", whose shares are 60, 25 and 15."""
    mix = {}
    for at, part in enumerate(p.strip() for p in text.split(",") if p.strip()):
        name, _, share = part.rpartition("=") if "=" in part else (part, "", "")
        if not share and at >= len(SHARES):
            raise ValueError(f'"{part}": the fourth model and those after it need a share: {part}=5')
        try:
            mix[name] = float(share) if share else SHARES[at]
        except ValueError:
            mix[name] = 0
        if not name or not mix[name] > 0:
            raise ValueError(f'"{part}": a share is a number above 0, as in llama3=60')
    return mix


def seconds_of(text):
    """(least, most) of "1-3" or "0.5"."""
    least, _, most = text.partition("-")
    try:
        least, most = float(least), float(most or least)
    except ValueError:
        most = -1
    if most < 0 or not 0 <= least <= most:
        raise ValueError(f'"{text}" is no time and no range of times: 2 and 1-3 are')
    return least, most


def checked(reads):
    """The text itself, once `reads` takes it: Locust's web form keeps an option's type, so that it must stay text."""
    def check(text):
        try:
            reads(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return check


@events.init_command_line_parser.add_listener
def add_options(parser):
    def add(name, default, kind, text, **more):
        parser.add_argument(f"--{name}", env_var="LITELLM_" + name.upper().replace("-", "_"), default=default, type=kind, help=text, **more)

    add("models", "", checked(mix_of), "models and their shares: a=60,b=25,c=15 (default: the first three that the gateway offers)")
    add("api-key", os.environ.get("LITELLM_MASTER_KEY", ""), str, "the gateway's key", include_in_web_ui=False)
    add("stream-share", 0.5, float, "share of the requests that are streamed, 0 to 1")
    add("max-tokens", 64, int, "longest answer, in tokens")
    add("prompt-words", 30, int, "length of a prompt, in words")
    add("think-s", "1-3", checked(seconds_of), "time between an answer and the next question, in seconds: 2, or 1-3")
    add("max-fail-ratio", OFF, float, "exit 1 when a larger share of the requests failed; -1: not looked at")
    add("max-p95-ms", OFF, float, "exit 1 when a model's 95th percentile, whole answers, is longer; -1: not looked at")
    add("max-ttft-p95-ms", OFF, float, "exit 1 when a model's 95th percentile to the first token is longer; -1: not looked at")
    add("min-rps", OFF, float, "exit 1 when fewer requests a second were done; -1: not looked at")
    add("summary-json", "", str, "write the run's rows and thresholds to this file at the end", include_in_web_ui=False)


# ---- which models ----

class Mix:
    """The models and their shares, asked for once a gateway and process."""

    known = {}
    lock = BoundedSemaphore()

    @classmethod
    def get(cls, host, options):
        with cls.lock:
            key = (host, options.models)
            if key not in cls.known:
                cls.known[key] = mix_of(options.models) if options.models else cls.offered(host, options.api_key)
                log.info("models: %s", ", ".join(f"{name} {share:g}" for name, share in cls.known[key].items()))
            return cls.known[key]

    @classmethod
    def offered(cls, host, api_key):
        """The first three chat models. Where /v1/model/info tells a model's mode, embeddings and the like are left out."""
        names = [m["id"] for m in cls.ask(host, "/v1/models", api_key)["data"]]
        try:
            modes = {m["model_name"]: m.get("model_info", {}).get("mode") for m in cls.ask(host, "/v1/model/info", api_key)["data"]}
        except (OSError, ValueError, KeyError):
            modes = {}  # not LiteLLM's interface: all names are taken for chat models
        names = [n for n in names if modes.get(n) in (None, "chat")][:len(SHARES)]
        if not names:
            raise ValueError(f"{host} offers no chat model")
        return dict(zip(names, SHARES))

    @staticmethod
    def ask(host, path, api_key):
        request = urllib.request.Request(host.rstrip("/") + path, headers=headers_of(api_key))
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


def headers_of(api_key):
    # Events that were compressed cannot be told apart as they come.
    fields = {"content-type": "application/json", "accept-encoding": "identity"}
    if api_key:
        fields["authorization"] = f"Bearer {api_key}"
    return fields


@events.test_start.add_listener
def find_models(environment, **_):
    if isinstance(environment.runner, WorkerRunner):
        return  # the master has looked; a worker's users ask for themselves
    host = environment.host or LiteLLMUser.host
    try:
        Mix.get(host, environment.parsed_options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else error
        log.error("no models from %s/v1/models: %s. Is the gateway running, and the key right (--api-key)?", host, said)
        environment.process_exit_code = EXIT_UNREACHABLE
        # Not at once: Locust is about to start users, and would go on to do so.
        gevent.spawn_later(0.5, environment.runner.quit if environment.web_ui is None else environment.runner.stop)


# ---- answers ----

class Bad(Exception):
    """Why an answer is no good. No ids in it: Locust counts failures by their text."""


def judge_status(status, body):
    if status == 200:
        return
    if status == 0:
        raise Bad("no connection")
    try:
        error = json.loads(body)["error"]
        kind = error.get("type") or error.get("code") or "error"
    except (ValueError, KeyError, TypeError, AttributeError):
        kind = "an answer that is no OpenAI error"
    raise Bad(f"HTTP {status}: {kind}")


def judge_answer(body):
    try:
        message = json.loads(body)["choices"][0]["message"]
    except (ValueError, KeyError, IndexError, TypeError):
        raise Bad("200 without choices[0].message") from None
    if not any(message.get(key) for key in TOKEN_KEYS):
        raise Bad("200 with an empty message")


class Stream:
    """What came of a stream: when its chunks with tokens came, in seconds of the monotonic clock, and how it ended."""

    def __init__(self):
        self.chunks, self.tokens, self.done, self.bytes = [], None, False, 0

    def read(self, response):
        """A line at a time: iter_content(), and Locust's iter_lines() on it, hold a chunk back until a kilobyte is full."""
        while line := response.readline(b"\n"):
            self.line(line.rstrip(b"\r\n"), time.perf_counter(), len(line))
        if rest := response.read():
            self.line(rest, time.perf_counter(), len(rest))

    def line(self, line, now, length):
        self.bytes += length
        if not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self.done = True
            return
        try:
            event = json.loads(data)
        except ValueError:
            raise Bad("an event that is no JSON") from None
        if event.get("error"):
            raise Bad(f"an error in the stream: {event['error'].get('type', 'error')}")
        if event.get("usage"):
            self.tokens = event["usage"].get("completion_tokens")
        if any(choice.get("delta", {}).get(key) for choice in event.get("choices", []) for key in TOKEN_KEYS):
            self.chunks.append(now)

    def gaps_are_tokens(self):
        """One chunk, one token? Only then is the gap between chunks the time of a token."""
        return self.tokens is not None and abs(self.tokens - len(self.chunks)) <= max(1, ITL_TOLERANCE * self.tokens)


# ---- users ----

class LiteLLMChat(FastHttpUser):
    """What both users share. A request is counted when its answer is whole, with the time until then, streamed or not."""

    abstract = True
    host = "http://localhost:4000"
    insecure = os.environ.get("LITELLM_INSECURE") == "1"  # Locust's own default is not to look at certificates
    network_timeout = float(os.environ.get("LITELLM_TIMEOUT_S", "600"))
    connection_timeout = 10.0
    stream_share = None  # of --stream-share

    def on_start(self):
        self.options = self.environment.parsed_options
        try:
            mix = Mix.get(self.host, self.options)
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.debug("no models: %s", error)
            raise gevent.GreenletExit from None  # find_models has said it, and ends the run
        self.models, self.shares = list(mix), list(mix.values())
        self.headers = headers_of(self.options.api_key)
        self.client.client.valid_response_codes = frozenset(range(100, 600))  # judged here, with what the body says

    def body(self, model, **more):
        words = [uuid.uuid4().hex]  # no two prompts alike: a cache of answers or prefixes would flatter the gateway
        words += random.choices(("river", "stone", "bridge", "water", "measure", "level", "morning", "field"), k=self.options.prompt_words)
        message = {"role": "user", "content": "Continue: " + " ".join(words)}
        return json.dumps({"model": model, "messages": [message], "max_tokens": self.options.max_tokens, **more})

    def ask(self):
        model = random.choices(self.models, self.shares)[0]
        share = self.options.stream_share if self.stream_share is None else self.stream_share
        self.streamed(model) if random.random() < share else self.plain(model)

    def plain(self, model):
        with self.client.post(PATH, data=self.body(model), headers=dict(self.headers), name=f"chat {model}", catch_response=True) as answer:
            try:
                judge_status(answer.status_code, answer.content)
                judge_answer(answer.content)
                answer.success()
            except Bad as bad:
                answer.failure(bad)

    def streamed(self, model):
        body = self.body(model, stream=True, stream_options={"include_usage": True})
        stream, failure = Stream(), None
        begin_wall, begin = time.time(), time.perf_counter()
        try:
            response = self.client.client.urlopen(self.host.rstrip("/") + PATH, method="POST", payload=body, headers=dict(self.headers))
            if response.status_code != 200:
                judge_status(response.status_code, response.content)
            stream.read(response._response)  # the answer below Locust's, which reads no single line
            if not stream.done:
                raise Bad("a stream without [DONE]")
            if not stream.chunks:
                raise Bad("a stream without a token")
        except Bad as bad:
            failure = bad
        except Exception as error:  # whatever the client raises: a connection lost is a request failed
            failure = Bad(f"{type(error).__name__}")
        self.count("POST", f"chat {model} (stream)", (time.perf_counter() - begin) * 1000, stream.bytes, failure, begin_wall)
        if failure is None:
            self.count_parts(model, stream, begin, begin_wall)

    def count_parts(self, model, stream, begin, begin_wall):
        chunks = stream.chunks
        self.count("TTFT", model, (chunks[0] - begin) * 1000, 0, None, begin_wall)
        self.count("E2E", model, (chunks[-1] - begin) * 1000, stream.bytes, None, begin_wall)
        gap = "ITL" if stream.gaps_are_tokens() else "ICL"
        for before, after in zip(chunks, chunks[1:]):
            self.count(gap, model, (after - before) * 1000, 0, None, begin_wall)

    def count(self, kind, name, ms, length, failure, begin_wall):
        self.environment.events.request.fire(request_type=kind, name=name, response_time=ms, response_length=length, response=None,
                                             exception=failure, context=self.context(), start_time=begin_wall, url=PATH)


class LiteLLMUser(LiteLLMChat):
    """Asks, reads, thinks (--think-s), asks again."""

    def wait_time(self):
        return random.uniform(*seconds_of(self.options.think_s))

    @task
    def chat(self):
        self.ask()


class LiteLLMStressUser(LiteLLMChat):
    """Asks as soon as it is answered, plain answers only: as many requests as the gateway takes. Runs only where it is named."""

    wait_time = between(0, 0)
    stream_share = 0

    @task
    def chat(self):
        self.ask()


# ---- before and after a run ----

@events.init.add_listener
def prepare(environment, **_):
    named = getattr(environment.parsed_options, "user_classes", None)
    if not named and len(environment.user_classes) > 1:
        environment.user_classes = [u for u in environment.user_classes if u is not LiteLLMStressUser]
    keep_parts_apart(environment.stats)


def keep_parts_apart(stats):
    """The row "Aggregated", the charts and the share of failures are of requests; a token is none."""
    log_request = stats.log_request

    def log_one(kind, name, ms, length):
        if kind in PARTS:
            stats.get(name, kind).log(ms, length)
        else:
            log_request(kind, name, ms, length)

    stats.log_request = log_one


def thresholds_of(stats, options):
    """(what, value, limit, good) of each threshold that is looked at."""
    found = []
    if options.max_fail_ratio >= 0:
        found.append(("share of failures", stats.total.fail_ratio, options.max_fail_ratio, stats.total.fail_ratio <= options.max_fail_ratio))
    if options.min_rps >= 0:
        found.append(("requests/s", stats.total.total_rps, options.min_rps, stats.total.total_rps >= options.min_rps))
    for kind, limit in (("POST", options.max_p95_ms), ("TTFT", options.max_ttft_p95_ms)):
        if limit < 0:
            continue
        rows = [e for (_, method), e in sorted(stats.entries.items()) if method == kind]
        for entry in rows:
            value = entry.get_response_time_percentile(0.95)
            found.append((f"{kind} {entry.name}: p95 ms", value, limit, value <= limit))
        if not rows:  # nothing was measured: not what was asked for
            found.append((f"{kind}: p95 ms", float("nan"), limit, False))
    return found


def summary_of(stats, results):
    """The final rows. Locust's own --csv files lack the last second of a run."""
    rows = [{"type": e.method or "", "name": e.name, "requests": e.num_requests, "failures": e.num_failures,
             "average_ms": e.avg_response_time, "min_ms": e.min_response_time or 0, "max_ms": e.max_response_time,
             **{f"p{p}_ms": e.get_response_time_percentile(p / 100) for p in (50, 90, 95, 99)}, "requests_per_s": e.total_rps}
            for e in [*(stats.entries[key] for key in sorted(stats.entries)), stats.total]]
    thresholds = [{"what": what, "value": None if math.isnan(value) else value, "limit": limit, "ok": good} for what, value, limit, good in results]
    return {"locust": locust.__version__, "rows": rows, "thresholds": thresholds}


@events.quitting.add_listener
def judge_run(environment, **_):
    """With a threshold, the thresholds alone decide the exit code; without one Locust does: 1 where a request failed."""
    options = environment.parsed_options
    if isinstance(environment.runner, WorkerRunner) or environment.process_exit_code is not None:
        return
    results = thresholds_of(environment.stats, options)
    if results and environment.stats.total.num_requests == 0:
        results.append(("requests", 0, 1, False))
    for what, value, limit, good in results:
        print(f"threshold {'ok    ' if good else 'FAILED'} {what} {value:.6g} (limit {limit:g})", file=sys.stderr)
    if results:
        environment.process_exit_code = 0 if all(r[-1] for r in results) else EXIT_THRESHOLD
    if options.summary_json:
        with open(options.summary_json, "w", encoding="utf-8") as out:
            json.dump(summary_of(environment.stats, results), out, indent=1)
            out.write("\n")
