"""`weir analyze --errors`: patterns of messages against the slow reference (tests/reference/patterns.py); what json_logs lines tell."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

from test_analyze import report, weir

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))
import analyze as reference  # noqa: E402
import generate  # noqa: E402
import nasty_errors  # noqa: E402
import patterns as pattern_reference  # noqa: E402
import records  # noqa: E402

SAME = ("count", "error.type", "message", "provider_status", "http_status", "first", "last", "first_id", "last_id", "trend")


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    """json_logs have local time: the reference's process and weir's must mean the same."""
    monkeypatch.setenv("TZ", "UTC")


def patterns_of(*args, **more):
    return report(*args, "--errors", **more)["patterns"]


def same_patterns(mine, theirs):
    assert mine["other"] == 0
    assert mine["errors"] == sum(t["count"] for t in theirs)
    assert [m["message"] for m in mine["list"]] == [t["message"] for t in theirs]
    for m, t in zip(mine["list"], theirs):
        for name in SAME:
            assert m[name] == t[name], (name, t)
        for name in ("models", "providers", "keys"):
            assert {k: m[name][k] for k in ("distinct", "top")} == t[name], (name, t)
        assert m["share"] == pytest.approx(m["count"] / mine["errors"], abs=1e-6)
        if t["first"]:
            assert sum(m["timeline"]["counts"]) <= m["count"]
            assert len(m["timeline"]["counts"]) <= 32


@pytest.mark.parametrize("shape,traps,seed", [
    ("weir", False, 1), ("weir", True, 2), ("litellm", False, 3), ("litellm", True, 4), ("json_logs", True, 5)])
def test_patterns_agree_with_the_reference(tmp_path, shape, traps, seed):
    path = tmp_path / "requests.log"
    generate.write(str(path), shape=shape, lines=6000, seed=seed, traps=traps)
    theirs = pattern_reference.analyze_patterns([path])
    assert len(theirs) > 1
    for threads in ("1", "3"):
        same_patterns(patterns_of(path, "--threads", threads), theirs)


@pytest.mark.parametrize("seed", [1, 2])
def test_nasty_messages_fold_as_the_reference_says(tmp_path, seed):
    path = tmp_path / "nasty.log"
    nasty_errors.write(path, lines=2000, seed=seed)
    theirs = pattern_reference.analyze_patterns([path])
    for threads in ("1", "3"):
        same_patterns(patterns_of(path, "--threads", threads), theirs)


def test_many_threads_and_files_give_the_same(tmp_path):
    """Lines reach threads in blocks: files of a few blocks each, so that each thread has some of each pattern."""
    paths = []
    for seed in (7, 8):
        paths.append(tmp_path / f"{seed}.log")
        generate.write(str(paths[-1]), shape="weir", lines=15000, seed=seed, traps=False)
    first = patterns_of(*paths, "--threads", "1")
    for threads in ("2", "3", "7"):
        got = patterns_of(*paths, "--threads", threads)
        assert got == first


# What providers and LiteLLM really write, and what is left of it. {model} is the line's model.
REAL = [
    ("litellm.RateLimitError: RateLimitError: OpenAIException - Error code: 429 - {{'error': {{'message': 'Rate limit reached for {model} in "
     "organization org-Ab3dEf6hIj9kLm2n on tokens per min (TPM): Limit 30000, Used 29811, Requested 1200. Please try again in 2.022s. Visit "
     "https://platform.openai.com/account/rate-limits to learn more.', 'type': 'tokens', 'param': None, 'code': 'rate_limit_exceeded'}}}}. "
     "Received Model Group={model}\nAvailable Model Group Fallbacks=None LiteLLM Retried: 2 times, LiteLLM Max Retries: 2",
     "Rate limit reached for <model> in organization <id> on tokens per min (TPM): Limit <n>, Used <n>, Requested <n>. Please try again in <n>. "
     "Visit <url> to learn more", "rate_limit"),
    ('{{"error":{{"message":"Rate limit reached for {model} in organization org-Zz9Yy8Xx7 on tokens per min (TPM): Limit 30000, Used 1, Requested '
     '5. Please try again in 6m0s. Visit https://platform.openai.com/account/rate-limits to learn more."}}}}',
     None, "rate_limit"),
    ('litellm.AuthenticationError: AnthropicException - {{"type":"error","error":{{"type":"authentication_error","message":"invalid x-api-key"}},'
     '"request_id":"req_011CSHoEeqs5C35K2UUqR7Fy"}}', "invalid x-api-key", "auth"),
    ("Incorrect API key provided: sk-proj-A1b2C3d4E5f6. You can find your API key at https://platform.openai.com/account/api-keys.",
     "Incorrect API key provided: sk-proj-***. You can find your API key at <url>", "auth"),
    ("This model's maximum context length is 128000 tokens. However, your messages resulted in 151203 tokens.",
     "This model's maximum context length is <n> tokens. However, your messages resulted in <n> tokens", "context_window"),
    ("litellm.APIConnectionError: OllamaException - [Errno 111] Connection refused 127.0.0.1:11434 (2026-11-24T10:30:15.123Z)",
     "[Errno <n>] Connection refused <addr> (<time>)", "connect"),
    ("litellm.Timeout: APITimeoutError - Request timed out. Error_str: Request timed out.", "Request timed out. Error_str: Request timed out",
     "timeout"),
    ('{{"type":"error","error":{{"type":"overloaded_error","message":"Overloaded"}}}}', "Overloaded", "overloaded"),
    ("model '{model}' not found, try pulling it first", "model '<model>' not found, try pulling it first", "model_not_found"),
    ("You exceeded your current quota, please check your plan and billing details.",
     "You exceeded your current quota, please check your plan and billing details", "quota"),
    ("The response was filtered due to the prompt triggering Azure OpenAI's content management policy (id 550e8400-e29b-41d4-a716-446655440000)",
     "The response was filtered due to the prompt triggering Azure OpenAI's content management policy (id <id>)", "content_policy"),
    ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate (_ssl.c:1006)",
     "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate (<addr>)", "tls"),
    ("user me@example.org of 10.1.2.3 asked for too much", "user <email> of <addr> asked for too much", "unknown"),
]


def line(number, message, model="gpt-4o", **more):
    return json.dumps({"timestamp": f"2026-11-24T10:{number // 60 % 60:02}:{number % 60:02}.000Z", "event": "request", "request_id": f"r{number:04}",
                       "model": model, "status": "failure", "error": {"type": "t", "message": message}} | more)


def test_real_messages_are_told_apart_and_explained(tmp_path):
    path = tmp_path / "real.log"
    models = ["gpt-4o", "claude-sonnet-4-20250514", "llama3.2:3b"]
    path.write_text("".join(line(n * 3 + m, text.format(model=model), model) + "\n"
                            for n, (text, _, _) in enumerate(REAL) for m, model in enumerate(models)))
    got = {p["message"]: p for p in patterns_of(path)["list"]}
    expected = {text: cause for _, text, cause in REAL if text}
    assert set(got) == set(expected)
    for text, cause in expected.items():
        assert got[text]["cause"]["name"] == cause, text
        assert got[text]["count"] == (6 if cause == "rate_limit" else 3)
        assert got[text]["models"]["distinct"] == 3


def test_patterns_that_differ_in_names_are_joined_and_in_words_are_not(tmp_path):
    path = tmp_path / "near.log"
    texts = [f"the deployment {name} is not known to this gateway" for name in ("Alpha", "Beta", "Gamma-x")]
    texts += ["the connection to the upstream was refused", "the connection to the upstream was reset", "of four words Alpha", "of four words Beta"]
    path.write_text("".join(line(n, text) + "\n" for n, text in enumerate(texts)))
    assert {p["message"]: p["count"] for p in patterns_of(path)["list"]} == {
        "the deployment <*> is not known to this gateway": 3, "the connection to the upstream was refused": 1,
        "the connection to the upstream was reset": 1, "of four words Alpha": 1, "of four words Beta": 1}


def test_trends(tmp_path):
    path = tmp_path / "trends.log"
    lines = [line(0, "x", status="success"), line(3599, "x", status="success")]
    for n in range(0, 3600, 60):
        lines.append(line(n, "it is steady"))
        lines += [line(n, "it grows")] * (n // 300) + [line(n, "it falls")] * (12 - n // 300)
        if n < 1200:
            lines.append(line(n, "it is gone"))
        if n >= 3000:
            lines.append(line(n, "it is new"))
    lines += [line(10, "seldom"), line(20, "seldom")]
    path.write_text("\n".join(lines))
    trends = {p["message"]: (p["trend"], p["new"]) for p in patterns_of(path)["list"]}
    assert trends == {"it is steady": ("steady", False), "it grows": ("growing", False), "it falls": ("falling", False),
                      "it is gone": ("gone", False), "it is new": ("new", True), "seldom": ("few", False)}
    assert patterns_of(path)["list"] == pattern_reference_fields(path)


def pattern_reference_fields(path):
    """The report itself, its counts checked against the reference's."""
    mine = patterns_of(path)
    same_patterns(mine, pattern_reference.analyze_patterns([path]))
    return mine["list"]


def test_the_limit_of_patterns_counts_the_rest(tmp_path):
    path = tmp_path / "many.log"
    words = [a + b + c for a in "abcdefghijklmnopqrstuvw" for b in "aeiouxyz" for c in "abcdefghijklmnopqrstuvw"]
    assert len(words) > 4096
    path.write_text("".join(line(n, word) + "\n" for n, word in enumerate(words)))
    got = patterns_of(path)
    assert len(got["list"]) == 4096
    assert got["errors"] == len(words) and got["other"] == len(words) - 4096
    assert b"past the limit" in weir(path, "--errors").stdout


def test_the_next_command_can_be_typed(tmp_path):
    path = tmp_path / "it's a log.log"
    path.write_text(line(1, "Request timed out", request_id="a b;$(reboot)") + "\n")
    command = patterns_of(path)["list"][0]["next"]
    words = subprocess.run(["sh", "-c", f"set -- {command}; printf '%s\\n' \"$@\""], capture_output=True, check=True).stdout.decode()
    assert words.split("\n") == ["weir", "analyze", str(path), "--trace", "a b;$(reboot)", ""]


def test_no_secret_reaches_the_report(tmp_path):
    path = tmp_path / "secrets.log"
    secrets = ["sk-proj-A1b2C3d4E5f6G7h8", "gsk_0123456789abcdefghijKLMN", "hunter2secretvalue1", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP"]
    texts = [f"refused {secrets[0]}", f"Bearer {secrets[1]}", f'{{"error": {{"message": "bad \\"api_key\\": \\"{secrets[2]}\\""}}}}',
             f"token={secrets[3]}", f"https://user:{secrets[2]}@host/x", f"password: {secrets[2]} and more"]
    path.write_text("".join(line(n, text) + "\n" for n, text in enumerate(texts)))
    for args in (["--errors", "--format", "json"], ["--errors"], ["--errors", "--format", "markdown"]):
        out = weir(path, *args).stdout.decode()
        assert "Error patterns" in out or '"patterns"' in out
        assert not [s for s in secrets if s in out]


def test_tables_read_well(tmp_path):
    path = tmp_path / "requests.log"
    generate.write(str(path), shape="weir", lines=4000, seed=1, traps=False)
    overview = weir(path).stdout.decode()
    assert "Error patterns" not in overview and "what to do: --errors" in overview
    text = weir(path, "--errors", "--top", "2").stdout.decode()
    for word in ("cause", "models", "keys", "when", "ids", "next", "--top"):
        assert word in text, word
    assert "| Errors |" in re.sub(" +", " ", weir(path, "--errors", "--format", "markdown").stdout.decode())
    assert "patterns" not in report(path, "--tokens")


# ---- json_logs (rules 20 and 21) ----


def reference_of(path, **more):
    return reference.analyze([path], by=("http_status", "client"), **more)


def same_logs(mine, theirs):
    assert mine["total"]["requests"] == theirs["total"]["requests"]
    for name in ("success", "failure", "cancelled", "unknown"):
        assert mine["total"][name] == theirs["total"][name]
    groups = {(g["by"]["http_status"], g["by"]["client"]): g["requests"] for g in mine["groups"]}
    assert groups == {(str(g["key"]["http_status"]), g["key"]["client"]): g["requests"] for g in theirs["groups"]}
    assert sum(e["failure"] for e in mine["errors"]) == theirs["total"]["failure"]
    assert {e["class"]: e["count"] for e in mine["log_errors"]["list"]} == {e["type"]: e["count"] for e in theirs["log_errors"]}


@pytest.mark.parametrize("traps,seed", [(False, 1), (True, 2), (True, 3)])
def test_json_logs_agree_with_the_reference(tmp_path, traps, seed):
    path = tmp_path / "proxy.log"
    generate.write(str(path), shape="json_logs", lines=5000, seed=seed, traps=traps)
    theirs = reference_of(path)
    assert theirs["total"]["requests"] > 1000 and theirs["log_errors"]
    for threads in ("1", "3"):
        same_logs(report(path, "--by", "http_status,client", "--threads", threads), theirs)
    window = {"since": "2026-11-19T12:00:00Z", "until": "2026-11-21T00:00:00Z"}
    mine = report(path, "--by", "http_status,client", "--since", window["since"], "--until", window["until"])
    same_logs(mine, reference_of(path, **window))


MESSAGES = [
    '10.0.0.5:51234 - "POST /chat/completions HTTP/1.1" 200', '[::1]:80 - "POST /v1/embeddings?a=b?c HTTP/2" 429', 'h:1 - "POST /x/messages HTTP/1.1" 499',
    '10.0.0.5:51234 - "GET /chat/completions HTTP/1.1" 200', '10.0.0.5:51234 - "POST /key/generate HTTP/1.1" 200',
    '10.0.0.5 - "POST /chat/completions HTTP/1.1" 200', ':1 - "POST /chat/completions HTTP/1.1" 200', 'a:b:1 - "POST /completions HTTP/1.1" 500',
    '10.0.0.5:51234 - "POST /chat/completions HTTP/1.1" 200 ', '10.0.0.5:51234  - "POST /chat/completions HTTP/1.1" 200',
    '10.0.0.5:51234 - "POST /chat/completions HTTP/1.1" 2000', '10.0.0.5:51234 - "POST /chat/completions HTTP/" 200', '10.0.0.5:x1 - "POST /responses HTTP/1.1" 200',
    'é:1 - "POST /responses HTTP/1.1" 200', 'h:1 - "POST /responses/abc HTTP/1.1" 200', 'h:1 - "POST ?/responses HTTP/1.1" 200', "",
    'h:1 - "POST /a b/responses HTTP/1.1" 200', 'h:1\t- "POST /responses HTTP/1.1" 200', "x" * 90 + ':1 - "POST /responses HTTP/1.1" 503']
TRACES = ["litellm.exceptions.RateLimitError: x", "a\nlitellm.Timeout: b: c\n \t\r\n", "", "\n", "Traceback", "KeyError: 'x'\nnot a name: y", "x.y.1z: w", "e.T\n",
          "  Spaced  : x", "a\\nb.Lit: c", "C.é: x", None, 5]


def test_access_lines_and_stacktraces_by_hand(tmp_path):
    """Each message at each level, in each way of writing JSON."""
    lines = []
    for escape in (json.dumps, lambda v: json.dumps(v, ensure_ascii=False), every_escape):
        for level in ("INFO", "ERROR", "CRITICAL", "error"):
            lines += [f'{{"message":{escape(m)},"level":{escape(level)},"timestamp":"2026-11-24T10:00:00"}}' for m in MESSAGES]
            lines += [f'{{"message":"m","stacktrace":{escape(t)},"level":{escape(level)}}}' for t in TRACES]
    lines += ['{"message":5,"level":"ERROR"}', '{"message":null,"message":"x","level":"ERROR","stacktrace":"A: b","stacktrace":null}',
              '{"model":"m","status":"failure","http_status":500,"message":"m","level":"INFO","latency_ms":5}']
    path = tmp_path / "by-hand.log"
    path.write_text("\n".join(lines))
    theirs = reference_of(path)
    # An address that is written in escapes is kept up to 64 bytes.
    long = "x" * 90
    for group in theirs["groups"]:
        assert len(group["key"]["client"]) <= 64 or group["key"]["client"] == long
    mine = report(path, "--by", "http_status,client")
    lost = [g for g in mine["groups"] if g["by"]["client"] is None]
    assert [g["requests"] for g in lost] == [4] and lost[0]["by"]["http_status"] == "503"
    for group in mine["groups"]:
        if group["by"]["client"] == long:
            group["requests"] += 4
    mine["groups"].remove(lost[0])
    same_logs(mine, theirs)


def every_escape(value):
    if not isinstance(value, str):
        return json.dumps(value)
    return '"' + "".join(f"\\u{ord(c):04x}" for c in value) + '"'


def test_log_errors_are_shown(tmp_path):
    path = tmp_path / "proxy.log"
    path.write_text(json.dumps({"message": "m", "level": "ERROR", "timestamp": "2026-11-24T10:00:00", "stacktrace": "x\nlitellm.Timeout: y"}) + "\n")
    out = weir(path).stdout.decode()
    assert "Errors that LiteLLM logged" in out and "Timeout" in out
    assert report(path)["log_errors"] == {"other": 0, "list": [
        {"class": "Timeout", "count": 1, "first": "2026-11-24T10:00:00.000Z", "last": "2026-11-24T10:00:00.000Z"}]}
    assert records.exception_of("x\nlitellm.Timeout: y") == "Timeout"
