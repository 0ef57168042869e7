"""traffic.py -- an invented week at a gateway: which requests come, what becomes of them, how long they take.

Draws calls from a seeded generator; shapes.py writes them as lines. All that costs time is made beforehand and drawn
by index: distributions are tables of a few thousand values, texts are lists.
"""
import json
import math

from tally import Facts

FACTORS = 8192  # size of the tables of latencies and tokens
SLOW_US = 5_000_000


class Call(Facts):
    """Facts, and what else a line says of a request."""

    __slots__ = ("level", "request_id", "trace_id", "route", "caller", "stream", "http_status", "upstream_us",
                 "overhead_us", "queue_us", "rate_hundredths", "cache", "fallback_from", "finish_reason", "is_slow",
                 "failure", "provider_status", "message", "is_bare", "spice")

    def __init__(self, event, time_us):
        super().__init__(event, time_us)
        self.level = "INFO"
        self.route = self.caller = self.stream = self.http_status = self.upstream_us = self.overhead_us = None
        self.queue_us = self.rate_hundredths = self.fallback_from = self.finish_reason = None
        self.failure = self.provider_status = self.message = self.request_id = self.trace_id = None
        self.cache, self.is_slow, self.is_bare = "off", False, False


class Route:
    """A deployment: prices are pico USD a token; no output price means no price at all."""

    def __init__(self, model, provider, upstream_model, api_base, median_ms, prices, kind="chat.completions"):
        self.model, self.provider, self.upstream_model, self.api_base = model, provider, upstream_model, api_base
        self.median_us, self.prices, self.call_type = median_ms * 1000, prices, kind
        self.is_embedding = kind == "embeddings"
        self.deployment = f"{provider}-{model}-1".replace("/", "-")


ROUTES = [
    Route("gpt-4o", "openai", "gpt-4o-2024-08-06", "https://api.openai.com/v1", 1400, (2_500_000, 1_250_000, 10_000_000)),
    Route("gpt-4o", "azure", "gpt4o-eu", "https://weir-eu.openai.azure.com", 1250, (2_750_000, 1_375_000, 11_000_000)),
    Route("gpt-4o-mini", "openai", "gpt-4o-mini", "https://api.openai.com/v1", 730, (150_000, 75_000, 600_000)),
    Route("gpt-4o-mini", "azure", "gpt4o-mini-eu", "https://weir-eu.openai.azure.com", 690, (165_000, 82_500, 660_000)),
    Route("o3-mini", "openai", "o3-mini", "https://api.openai.com/v1", 5200, (1_100_000, 550_000, 4_400_000)),
    Route("claude-sonnet", "anthropic", "claude-sonnet-4-20250514", "https://api.anthropic.com", 1900,
          (3_000_000, 300_000, 15_000_000)),
    Route("claude-sonnet", "bedrock", "eu.anthropic.claude-sonnet-4-20250514-v1:0",
          "https://bedrock-runtime.eu-central-1.amazonaws.com", 2100, (3_000_000, 300_000, 15_000_000)),
    Route("claude-haiku", "anthropic", "claude-3-5-haiku-20241022", "https://api.anthropic.com", 800,
          (800_000, 80_000, 4_000_000)),
    Route("gemini-flash", "vertex_ai", "gemini-2.0-flash", "https://europe-west4-aiplatform.googleapis.com/v1", 520,
          (100_003, 25_001, 400_007)),
    Route("mistral-large", "mistral", "mistral-large-latest", "https://api.mistral.ai/v1", 1600,
          (2_000_000, 2_000_000, 6_000_000)),
    Route("llama-3.3-70b", "groq", "llama-3.3-70b-versatile", "https://api.groq.com/openai/v1", 310,
          (590_000, 590_000, 790_000)),
    Route("llama-3.3-70b", "vllm", "meta-llama/Llama-3.3-70B-Instruct", "http://localhost:8001/v1", 1150, None),
    Route("qwen2.5-coder", "ollama", "qwen2.5-coder:14b", "http://localhost:11434", 3300, None),
    Route("deepseek-v3", "vllm", "deepseek-ai/DeepSeek-V3", "http://localhost:8001/v1", 2400, None),
    Route("text-embedding-3-small", "openai", "text-embedding-3-small", "https://api.openai.com/v1", 140,
          (20_000, 20_000, 0), "embeddings"),
    Route("nomic-embed", "ollama", "nomic-embed-text", "http://localhost:11434", 25, (1, 1, 0), "embeddings"),
]

# error name in weir's log, status sent, status of the upstream, LiteLLM's class and code
FAILURES = [
    ("upstream_error", 429, 429, "RateLimitError", "429"),
    ("upstream_error", 503, 503, "ServiceUnavailableError", "503"),
    ("upstream_error", 400, 400, "ContextWindowExceededError", "400"),
    ("upstream_timeout", 408, None, "Timeout", "408"),
    ("upstream_connect", 502, None, "APIConnectionError", "500"),
    ("upstream_closed", 502, None, "InternalServerError", "500"),
    ("upstream_truncated", 200, None, "APIError", "500"),
    ("stream_error", 200, None, "APIError", "500"),
    ("too_many_requests", 429, None, "RateLimitError", "429"),
    ("bad_key", 401, None, "AuthenticationError", "401"),
]
BARE = ("too_many_requests", "bad_key")  # refused before a route was chosen

MESSAGES = {
    "upstream_error": [
        '{"error":{"message":"Rate limit reached for org-%(hex)s: Limit %(n)d, Used %(m)d. Try again in %(k)d.%(n)dms.\\n",'
        '"type":"tokens","param":null,"code":"rate_limit_exceeded"}}',
        'litellm.BadRequestError: {"status":"success","model":"gpt-decoy","inner":"{\\"error\\":{\\"type\\":\\"nested\\"}}"} req_%(hex)s',
        "This model's maximum context length is %(n)d tokens. However, your messages resulted in %(m)d tokens.",
        "Überlastet: bitte in %(k)d s erneut versuchen (Anfrage %(hex)s) — 過負荷です",
    ],
    "upstream_timeout": ["10.0.%(k)d.%(k)d:443 did not answer within %(n)d ms\t(attempt %(k)d)\nrequest %(hex)s"],
    "upstream_connect": ["connect to [2001:db8::%(k)d]:%(n)d: Connection refused",
                         "C:\\proxy\\weir\\%(hex)s.sock: no such file; 192.168.%(k)d.7:%(n)d unreachable"],
    "upstream_closed": ["peer closed after %(n)d of %(m)d bytes\r\n\tat stream %(k)d \"%(hex)s\"\\"],
    "upstream_truncated": ["the answer ended after %(n)d bytes, without data: [DONE]"],
    "stream_error": ['data: {"error":{"message":"engine \\"%(hex)s\\" died","code":%(k)d}}\n\n'],
    "too_many_requests": ["%(n)d requests are in flight, %(m)d are allowed"],
    "bad_key": ["Authentication Error, the API key sk-...%(k)d is not known here."],
    "client_gone": ["the client closed the connection before the answer was complete"],
}

WEIR_SHARES = {"answered": 871, "hit": 82, "failed": 31, "cancelled": 15, "retried": 20, "rare": 5}
LITELLM_SHARES = {"answered": 911, "hit": 82, "failed": 31}


class Clock:
    """Times of completion: rising, `lines` of them in `span_us` on the average."""

    def __init__(self, rng, start_us, span_us, lines):
        self.now_us, self.step_us, self.random = float(start_us), 2 * span_us / max(lines, 1), rng.random

    def tick(self):
        self.now_us += self.step_us * self.random()
        return int(self.now_us)


def lognormal_table(rng, median, sigma, tail_share=0.0, tail_factor=1.0):
    values = [median * math.exp(rng.gauss(0, sigma)) for _ in range(FACTORS)]
    return [value * tail_factor if rng.random() < tail_share else value for value in values]


class Caller:
    def __init__(self, alias, key_hash, user, client, user_agent):
        self.alias, self.key_hash, self.user, self.client, self.user_agent = alias, key_hash, user, client, user_agent


ALIASES = ["équipe-données", "チーム-β", 'team "red"', "ops\\night", "smoke😀test", "batch/nightly"]
AGENTS = ["OpenAI/Python 1.52.0", "OpenAI/JS 4.71.1", "curl/8.5.0", "python-httpx/0.27.2", "LangChain/0.3 (Zürich)",
          'Mozilla/5.0 (X11; Linux x86_64) "quoted" \\agent\\']


def make_callers(rng):
    """40 keys, each used from a few places."""
    aliases = ALIASES + [f"team-{number:02d}" for number in range(40 - len(ALIASES))]
    callers = []
    for alias in aliases:
        key_hash = f"{rng.getrandbits(256):064x}"
        for number in range(rng.randint(2, 6)):
            callers.append(Caller(alias, key_hash, f"user-{rng.randrange(1000)}@example.org" if number else None,
                                  f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}",
                                  rng.choice(AGENTS)))
    return callers


def make_metadata(rng, count=512):
    """Objects that clients send along: a quarter holds keys that must not be mistaken for the line's own."""
    objects = []
    for number in range(count):
        value = {"team": rng.choice(["blue", "grün", "赤"]), "run": rng.randrange(10**6)}
        if number % 4 == 0:
            value |= {"model": "gpt-decoy", "status": "failure", "event": "attempt", "latency_ms": 99999.5,
                      "nested": {"model": "deeper-decoy", "error": {"type": "decoy"}, "list": [{"status": "error"}, "]}"]},
                      "prompt_tokens": 1e6, "cost_usd": 1000, "startTime": 1, "message": "decoy"}
        elif number % 4 == 1:
            value["preview"] = f'say "status":"failure", {{"model":"decoy-{number}"}} \\ and\n\t"error"}} once'
        objects.append(json.dumps(value, separators=(",", ":"), ensure_ascii=rng.random() < 0.2))
    return objects


def make_prompts(rng, count=256):
    words = ["explain", "the", "weir", "über", "“quoted”", "status", '"error"', "C:\\temp\\x", "{}", "}]", "日本", "\n", "\t"]
    return [" ".join(rng.choice(words) for _ in range(rng.randint(8, 60)))
            + ' "model":"decoy","status":"failure","event":"attempt"' for _ in range(count)]


class Traffic:
    def __init__(self, rng, clock, shares):
        self.rng, self.clock, self.bits = rng, clock, rng.getrandbits
        self.kinds = [getattr(self, name) for name, share in shares.items() for _ in range(share)]
        assert len(self.kinds) == 1024
        weights = [rng.choice((2, 3, 5, 8)) for _ in ROUTES]
        self.routes = rng.choices(ROUTES, weights, k=1024)
        self.callers = rng.choices(make_callers(rng), k=1024)
        self.factors = lognormal_table(rng, 1, 0.55, tail_share=0.004, tail_factor=12)
        self.overheads_us = [int(value) + 9 for value in lognormal_table(rng, 55, 0.6, 0.002, 40)]
        self.prompts = [int(value) + 1 for value in lognormal_table(rng, 420, 1.1)]
        self.completions = [int(value) + 1 for value in lognormal_table(rng, 110, 0.9)]
        self.waiting = []

    def next(self):
        if self.waiting:
            call = self.waiting.pop()
            call.time_us = self.clock.tick()
            return call
        return self.kinds[self.bits(10)](self.clock.tick())

    # ---- what may become of a request ----

    def answered(self, time_us):
        call = self.started(time_us)
        self.measure(call)
        call.outcome, call.http_status, call.attempts = "success", 200, 1
        call.finish_reason = None if call.route.is_embedding else "length" if call.spice & 31 == 0 else "stop"
        call.cache = "miss" if call.spice & 3 == 0 else "off"
        if call.latency_us > SLOW_US:
            call.is_slow, call.level = True, "WARNING"
        return call

    def hit(self, time_us):
        call = self.answered(time_us)
        call.latency_us = call.overhead_us = 90 + self.bits(10)
        call.ttft_us = call.latency_us - 20 if call.stream else None
        call.upstream_us = call.queue_us = call.rate_hundredths = None
        call.cache, call.is_hit, call.cost_pico, call.attempts = "hit", True, 0, 0
        call.is_slow, call.level = False, "INFO"
        return call

    def failed(self, time_us, failures=FAILURES):
        call = self.started(time_us)
        self.measure(call)
        name, call.http_status, call.provider_status, _, _ = call.failure = failures[self.bits(16) % len(failures)]
        call.outcome, call.level, call.error_type, call.message = "failure", "ERROR", name, self.message(name)
        if name in ("upstream_truncated", "stream_error"):
            call.attempts = 1  # the tokens seen till then stand
        else:
            self.forget_answer(call)
        if name in BARE:
            call.is_bare, call.attempts, call.provider = True, None, None
            call.latency_us = call.overhead_us = 30 + self.bits(7)
            call.upstream_us = call.queue_us = None
        call.is_slow = call.latency_us > SLOW_US
        return call

    def forget_answer(self, call):
        call.prompt_tokens = call.completion_tokens = call.total_tokens = call.cached_tokens = None
        call.reasoning_tokens = call.rate_hundredths = call.cost_pico = call.ttft_us = None
        call.attempts = 1

    def cancelled(self, time_us):
        call = self.started(time_us)
        call.stream = not call.route.is_embedding
        self.measure(call)
        call.outcome, call.http_status, call.level, call.attempts = "cancelled", 499, "WARNING", 1
        call.error_type, call.message = "client_gone", MESSAGES["client_gone"][0]
        call.is_slow = call.latency_us > SLOW_US
        return call

    def retried(self, time_us):
        """One or two attempts fail, each with a line of its own; then the request ends well, or not."""
        call = self.failed(time_us) if self.bits(3) == 0 else self.answered(time_us)
        if call.is_bare:
            return call
        call.attempts = 2 + self.bits(1)
        lines = [call] + [self.attempt(call) for _ in range(call.attempts - 1)]
        if self.bits(1):
            call.fallback_from = lines[1].model
        first = lines.pop()
        first.time_us = time_us
        self.waiting += lines
        return first

    def attempt(self, of_call):
        call = self.failed(of_call.time_us, FAILURES[:6])
        call.event, call.level, call.attempts = "attempt", "WARNING", None
        call.request_id, call.trace_id, call.caller = of_call.request_id, of_call.trace_id, of_call.caller
        return call

    def rare(self, time_us):
        draw = self.bits(4)
        if draw > 2:
            return self.answered(time_us)
        call = Call(("gap", "start", "reload")[draw], time_us)
        call.spice = 0
        if call.event == "gap":
            call.level, call.dropped, call.error_type = "WARNING", 1 + self.bits(9), "log_gap"
            call.message = (f"{call.dropped} records before this line were dropped: "
                            "the log could not be written fast enough")
        elif call.event == "start":  # before it, what ended the process before
            self.waiting.append(call)
            call = Call("stop", time_us)
            call.spice = 0
        return call

    # ---- its parts ----

    def started(self, time_us):
        draw = self.bits(64)
        call = Call("request", time_us)
        call.route = route = self.routes[draw & 1023]
        call.caller = self.callers[draw >> 10 & 1023]
        call.stream = not route.is_embedding and draw >> 20 & 3 != 0
        call.spice = draw >> 22 & 0xFFFF  # further small decisions
        ids = "%064x" % self.bits(256)
        call.request_id = f"{ids[:8]}-{ids[8:12]}-4{ids[13:16]}-a{ids[17:20]}-{ids[20:32]}"
        call.trace_id = ids[32:]
        call.model, call.provider = route.model, route.provider
        return call

    def measure(self, call):
        draw, route = self.bits(64), call.route
        call.upstream_us = upstream_us = int(route.median_us * self.factors[draw & 8191]) + (draw >> 13 & 1023)
        call.overhead_us = overhead_us = self.overheads_us[draw >> 23 & 8191]
        call.latency_us = latency_us = upstream_us + overhead_us
        call.queue_us = overhead_us * 5 >> 3
        call.prompt_tokens = prompt = self.prompts[draw >> 36 & 8191]
        call.total_tokens = prompt
        if draw >> 49 & 3 == 0:
            call.cached_tokens = prompt & ~127
        if not route.is_embedding:
            completion = self.completions[draw >> 51 & 8191]
            if route.model == "o3-mini":
                call.reasoning_tokens = completion & ~63
            call.completion_tokens, call.total_tokens = completion, prompt + completion
            output_us = upstream_us
            if call.stream:
                output_us -= upstream_us * (8 + (draw & 31)) >> 6
                call.ttft_us = latency_us - output_us
                completion -= 1
            if completion and output_us:
                call.rate_hundredths = (200_000_000 * completion + output_us) // (2 * output_us)
        if route.prices:
            fresh, cached, output = route.prices
            read = call.cached_tokens or 0
            call.cost_pico = (prompt - read) * fresh + read * cached + (call.completion_tokens or 0) * output

    def message(self, name):
        templates = MESSAGES[name]
        return templates[self.bits(8) % len(templates)] % {
            "hex": f"{self.bits(64):016x}", "n": 1000 + self.bits(16), "m": self.bits(20), "k": self.bits(7)}
