"""nasty_errors.py -- logs of failed requests whose messages are glued together from what is hard to fold.

Pieces are what providers, wrappers and people write, and what looks like it without being it; glue is what may stand between. Nothing here is
told to be right: patterns.py and weir must say the same of it.
"""
import json
import random

MODELS = ["gpt-4o", "claude-sonnet-4-20250514", "meta-llama/Llama-3.3-70B-Instruct", "qwen2.5-coder:14b", "o3", "modèle-é"]
WORDS = ["Rate", "limit", "reached", "for", "the", "model", "connect", "to", "refused", "Überlastet", "過負荷です", "ContextWindowExceeded",
         "sk-learn", "x", "-", "_", "--", "user", "call", "run_a", "E", "Limit", "tokens", "(attempt", "n/a)", "…"]
NUMBERS = ["7", "1,234", "1.5", "1.2.3", "6m0s", "350ms", "1h2m3.5s", "20 s", "30k", "512MiB", "0x7fff5fbff8a0", "3rd", "-5", "$0.50", "12%", "1e9",
           "429", "007", "5.", "5,", "4o", "1.5x2", "2.", "99,9ms", "1d2h", "10:30", "v1", "3.5-turbo", "70b"]
IDS = ["req_011CSHoEeqs5C35K2UUqR7Fy", "chatcmpl-9kQwErTyUiOp", "call_abc123", "org-AbCdEfGhIjKlMnOpQrSt", "550e8400-e29b-41d4-a716-446655440000",
       "9f86d081884c7d65", "deadbeef", "a1b2c3", "a1b2c3d4", "1a2b3c4d", "worker-17", "team-07", "user_message_too_long", "run_2024_eval",
       "file-not-found", "550E8400-E29B-41D4-A716-44665544000", "msg_x_1234567", "abc-12345678-x", "abcdefgh1-2", "claude-3-5-haiku-20241022",
       "/v1/threads/thread_abc123/runs/9999", "12345678", "key-12345", "stepping-1234", "step-12", "step-1234"]
PLACES = ["10.0.0.5", "10.0.0.5:443", "1.2.3.4.5", "999.1.1.1", "1.2.3", "[2001:db8::1]:8080", "2001:db8::1", "[::1]", "::1", "fe80::1%eth0",
          "aa:bb:cc:dd:ee:ff", "[10:30:45]", "localhost:8001", "localhost", "api.openai.com:443", "api.openai.com", "main.py:123", "a.b.c.d.e.f.g.h.i:80",
          "https://api.openai.com/v1/chat?key=1&x=2.", "http://x", "(see https://a.b/c).", "ftp://", "std::string", "dead::beef", "a:b:c:d",
          "me@example.org", "a.b+c@d-e.org,", "@home", "x@y", "C:\\temp\\new\\file", "10.0.0.5:999999", "host.name:1"]
TIMES = ["2026-11-24", "2026-11-24T10:30:15.123Z", "2026-11-24 10:30:15,123", "2026-11-24T10:30", "2026-11-24 10:3", "10:30:45", "9:05:01.5",
         "2026-11-24T10:30:15+01:00", "2026-11-24T10:30:15+0100", "2026-11-24T10:30:15+01", "2026-11-24abc", "2026-11-24 10:30:15abc", "12:30:45:99",
         "2026-11-241", "1:2:3", "2026-11-24 10:30:15 UTC"]
SECRETS = ["sk-1234abcd", "sk-proj", "Bearer abc123def"]
HEADS = ["litellm.RateLimitError: ", "RateLimitError: OpenAIException - ", "Error code: 429 - ", "Error code: 500", "Error: ", "data: ", "error: ",
         "litellm.Timeout: APITimeoutError - ", "ContextWindowExceededError:", "a.b.CException:\n", "No Error - ", "Exceeded: Exceeded: ", "Error"]
TAILS = [". Received Model Group=gpt-4o\nAvailable Model Group Fallbacks=None", " LiteLLM Retried: 1 times, LiteLLM Max Retries: 2", "...", " - ", "\n\n",
         "\t", " ,.", "\u00e9", "\x7f"]
GLUE = [" "] * 12 + ["", ", ", ": ", "\n", "\t ", "/", "=", "'", "\"", "`", "(", ")", "[", "]", ".", "@", "%", "#", "é", "+"]
KEYS = ["message", "detail", "error", "msg", "code", "Message"]


class Nasty:
    def __init__(self, seed):
        self.rng = random.Random(f"nasty {seed}")

    def text(self):
        rng = self.rng
        pieces = []
        for _ in range(rng.randint(1, 14)):
            kind = rng.choice([WORDS, WORDS, WORDS, NUMBERS, IDS, PLACES, TIMES, MODELS, SECRETS])
            pieces += [rng.choice(kind), rng.choice(GLUE)]
        return "".join(pieces)

    def wrapped(self, text):
        """Within JSON or Python's repr, perhaps more than once, perhaps cut short."""
        rng = self.rng
        for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
            value = {rng.choice(KEYS): text, "code": rng.choice([429, None, "x"])}
            if rng.random() < 0.3:
                value = {"type": "nested", "error": value}
            text = rng.choice([json.dumps, repr, lambda v: json.dumps(json.dumps(v)),
                               lambda v: json.dumps(v, separators=(",", ":"), ensure_ascii=False)])(value)
            if rng.random() < 0.4:
                text = rng.choice(HEADS) + text
        return text[:rng.randint(1, len(text))] if text and rng.random() < 0.1 else text

    def message(self):
        rng = self.rng
        text = self.wrapped(self.text())
        for heads in range(rng.choice([0, 0, 1, 2])):
            text = rng.choice(HEADS) + text
        if rng.random() < 0.2:
            text += rng.choice(TAILS)
        if rng.random() < 0.02:
            text *= rng.choice([20, 200])
        return text

    def line(self, number):
        rng = self.rng
        model = rng.choice(MODELS)
        line = {"timestamp": f"2026-11-{18 + number % 7}T{number % 24:02}:{number % 60:02}:00.{number % 1000:03}Z", "event": "request",
                "request_id": f"r-{rng.randrange(1000):03}", "model": model, "upstream_model": rng.choice(["", model + "-eu", "gpt-4o"]),
                "status": "failure", "key_alias": rng.choice(["a", "b", ""]), "error": {"type": rng.choice(["x", "y", ""]), "message": self.message()}}
        if rng.random() < 0.5:
            line["error"]["provider_status"] = rng.choice([400, 429])
        elif rng.random() < 0.8:
            line["http_status"] = rng.choice([400, 500])
        return json.dumps(line, ensure_ascii=rng.random() < 0.3)


def write(path, lines=1000, seed=1):
    nasty = Nasty(seed)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(lines):
            file.write(nasty.line(number) + "\n")
