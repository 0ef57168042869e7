"""--where and --by of `weir analyze` against an independent evaluator (tests/reference/where.py): random expressions on generated logs."""

import collections
import json
import pathlib
import random
import re
import subprocess
import sys
from datetime import datetime, timezone

import pytest

from harness import SANITIZED, WEIR

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))
import generate  # noqa: E402
import where  # noqa: E402
from tags import add_tags  # noqa: E402

ENV = {"TZ": "UTC", "PATH": "/usr/bin:/bin"}


def weir(*args, status=0):
    done = subprocess.run([WEIR, "analyze", *map(str, args)], capture_output=True, check=False, env=ENV)
    assert done.returncode == status, (args, done.stdout[-500:], done.stderr[-2000:])
    return done


def report(path, *args):
    return json.loads(weir(path, "--format", "json", *args).stdout)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """(shape, traps) -> path, its requests by the reference."""
    made = {}

    def make(shape, traps):
        if (shape, traps) not in made:
            path = tmp_path_factory.mktemp("log") / "requests.log"
            generate.write(str(path), shape=shape, lines=2000, seed=7, traps=traps)
            add_tags(path, shape, random.Random(shape))
            made[shape, traps] = path, where.requests_of(path)
        return made[shape, traps]
    return make


class Expressions:
    """Random ones, of values that the log has, and of values near them."""

    PATHS = ["metadata.team", "metadata.run", "metadata.status", "metadata.nested.model", "metadata.nested.list.1", "metadata.latency_ms",
             "metadata.tags", "tag", "metadata.none", "request.model", "request.messages.0.role", "metadata.user_api_key_alias",
             "metadata.usage_object.prompt_tokens_details.cached_tokens"]

    def __init__(self, requests, seed):
        self.rng, self.requests = random.Random(seed), requests
        self.fields = list(where.FIELDS)

    def expression(self, depth=0):
        rng = self.rng
        draw = rng.random()
        if depth > 4 or draw < 0.4:
            return self.test()
        if draw < 0.5:
            return f"{rng.choice(['not ', '!', 'NOT '])}({self.expression(depth + 1)})"
        parts = [self.expression(depth + 1) for _ in range(rng.randrange(2, 4))]
        joined = rng.choice([" and ", " or ", " && ", "||", " AND "]).join(parts)
        return f"({joined})" if rng.random() < 0.5 else joined

    def test(self):
        name = self.rng.choice(self.PATHS if self.rng.random() < 0.35 else self.fields)
        if self.sample(name) is None and self.rng.random() < 0.8:  # mostly what the log has
            return self.test()
        kind = where.FIELDS[name][0] if name in where.FIELDS else where.ANY
        if self.rng.random() < 0.1:
            return name
        signs = ["=", "==", "!=", "in", "not in"]
        signs += {where.TEXT: ["~", "!~"] * 2, where.FLAG: []}.get(kind, ["<", "<=", ">", ">="] * 2)
        signs += ["~", "!~"] if kind in (where.COUNT, where.ANY) else []
        sign = self.rng.choice(signs)
        if sign.endswith("in"):
            values = ", ".join(self.value(name, kind, "=") for _ in range(self.rng.randrange(1, 4)))
            return f"{name} {sign} ({values})"
        blank = self.rng.choice(["", " "])
        return f"{name}{blank}{sign}{blank}{self.value(name, kind, sign)}"

    def sample(self, name):
        """A value that some line has, or None."""
        for _ in range(50):
            record, line = self.rng.choice(self.requests)
            _, values = where.values_of(record, line, name)
            if values:
                return self.rng.choice(values)
        return None

    def value(self, name, kind, sign):
        value = self.sample(name)
        writers = {where.TEXT: self.text, where.ANY: self.any, where.FLAG: lambda v, s: self.rng.choice(["true", "False"]),
                   where.COUNT: self.count, where.MS: self.duration, where.TIME: self.moment,
                   where.USD: self.money, where.RATE: lambda v, s: f"{int(v or 9)}.{self.rng.randrange(60):02d}5"}
        return writers[kind](value, sign)

    def text(self, value, sign):
        if value is None or not value.isprintable() or "\ufffd" in value or ("'" in value and '"' in value):
            value = "none"
        if sign in ("~", "!~"):
            value = self.pattern(value.replace(",", "*").replace("!", "*"))
        quote = '"' if "'" in value else "'"
        return value if re.fullmatch(r"[\w.*/:-]+", value) and self.rng.random() < 0.5 else f"{quote}{value}{quote}"

    def pattern(self, value):
        at = self.rng.randrange(len(value) + 1)
        return self.rng.choice([value[:at] + "*", "*" + value[at:], f"*{value[at:]}*", f"none, {value[:at]}*", f"!{value[:at]}*", f"*,!{value}"])

    def any(self, value, sign):
        if sign in ("<", "<=", ">", ">="):
            return self.rng.choice(["0", "99999.5", "500k", "-1", "10", "50%", "'20'"])
        if isinstance(value, (dict, list)) or value is None:
            return "none"
        text = where.any_text(value)
        return self.text(text, sign) if not isinstance(value, where.Number) or sign != "=" else text

    def count(self, value, sign):
        if sign in ("~", "!~"):
            return self.rng.choice(["4xx", "'2xx,5XX'", "1*", "'!5xx'", "*0", "200"])
        value = 100 if value is None or value >= 10**15 else int(value)
        return self.rng.choice([f"{value}", f"{value}.0", f"{value + self.rng.randrange(-5, 6)}", f"{value / 1000:.6f}k"])

    def duration(self, value, sign):
        us = 1000 if value is None or value >= 10**9 else int(value * 1000)
        us += self.rng.choice([0, 0, 1, -1, self.rng.randrange(10**6)])
        us = max(us, 1)
        whole = f"{us // 1000}.{us % 1000:03d}"
        return self.rng.choice([whole, f"{us}us", f"{whole}ms", f"{us // 10**6}.{us % 10**6:06d}s", f"'{max(us // 10**6, 1)} s'"])

    def money(self, value, sign):
        pico = 10**9 if value is None or value > 1000 else max(int(value * 10**12), 1000)  # below, the reference rounds
        return self.rng.choice(["", "$"]) + f"{pico // 10**12}.{pico % 10**12:012d}"

    def moment(self, value, sign):
        us = int(value) if value is not None else 1795000000000000
        seconds, fraction = divmod(us + self.rng.choice([0, 0, 1000, -3600 * 10**6]), 10**6)
        moment = datetime.fromtimestamp(seconds, timezone.utc)
        return f"'{moment:%Y-%m-%dT%H:%M:%S}.{fraction:06d}Z'"


@pytest.mark.parametrize("shape,traps", [("weir", False), ("weir", True), ("litellm", False), ("litellm", True)])
def test_random_expressions_select_what_the_reference_selects(log, shape, traps):
    path, requests = log(shape, traps)
    made = Expressions(requests, seed=shape)
    some = 0
    rounds = 12 if SANITIZED else 60
    for _ in range(rounds):
        expression = made.expression()
        expected = where.count(requests, expression)
        got = report(path, "--where", expression)["total"]["requests"]
        assert got == expected, expression
        some += 0 < expected < len(requests)
    assert some > rounds * 0.4  # expressions that are true of all or nothing prove little


@pytest.mark.parametrize("shape", ["weir", "litellm"])
@pytest.mark.parametrize("by", ["tag", "metadata.team", "metadata.run", "metadata.tags.0", "metadata.nested.model", "metadata.user_api_key_alias"])
def test_groups_by_values_of_the_metadata(log, shape, by):
    path, requests = log(shape, True)
    expected = collections.Counter(key for record, line in requests for key in where.keys_of(record, line, by))
    for threads in ("1", "3"):
        mine = report(path, "--by", by, "--threads", threads)
        assert {group["by"][by]: group["requests"] for group in mine["groups"]} == expected
        assert mine["total"]["requests"] == len(requests)


def test_groups_by_a_field_and_the_tag(log):
    path, requests = log("weir", False)
    expected = collections.Counter((record.model, tag) for record, line in requests for tag in where.keys_of(record, line, "tag"))
    mine = report(path, "--by", "model,tag")
    assert {(group["by"]["model"], group["by"]["tag"]): group["requests"] for group in mine["groups"]} == expected
    assert sum(expected.values()) > len(requests) == mine["total"]["requests"]
    plain = report(path, "--by", "model")["total"]
    assert mine["total"] == plain
    assert b"a request counts once for each of its tags" in weir(path, "--by", "model,tag").stdout


def test_names_with_anything_in_them_are_escaped(tmp_path):
    path = tmp_path / "odd.log"
    path.write_bytes(b'{"event":"request","metadata":{"a\\"\\\\b":"x","gr\xc3\xbcn":"y"}}\n')
    mine = report(path, "--by", 'metadata.a"\\b,metadata.grün')
    assert mine["groups"][0]["by"]['metadata.a"\\b'] == "x"
    assert mine["groups"][0]["by"]["metadata.grün"] == "y"


def test_the_page_says_it_safely(log):
    path, _ = log("weir", False)
    page = weir(path, "--html", "-", "--where", "model = '<b>' or stream").stdout.decode()
    assert "Only requests with <code>model = &#39;&lt;b&gt;&#39; or stream</code>" in page.replace("&apos;", "&#39;").replace("'", "&#39;")


def test_errors_alone_look_at_whole_lines(log):
    """Without --where, --errors need not read lines that did not fail to their end."""
    path, requests = log("weir", False)
    expression = "latency_ms > 100 and not metadata.team = blue"
    done = weir(path, "--errors", "--where", expression)
    assert f"{where.count(requests, expression):,}: ".encode() in done.stdout


def test_filters_add_up(log):
    path, requests = log("weir", False)
    both = report(path, "--status", "failure", "--where", "latency_ms > 1s")["total"]
    assert both["requests"] == both["failure"] == where.count(requests, "status = failure and latency_ms > 1000") > 0
    times = report(path, "--where", "timestamp >= 2026-11-20")["total"]
    assert times == report(path, "--since", "2026-11-20")["total"]


@pytest.mark.parametrize("args,sentence", [
    (["--where", "latency > 2s"], b"--where: column 1: expected a field of the log (docs/log.md), metadata.NAME or tag, got \"latency\"; "
     b"did you mean latency_ms?\n  latency > 2s\n  ^\n"),
    (["--where", "stream and model = "], b"column 20: expected a value to compare model with\n  stream and model = \n                     ^\n"),
    (["--where", "user = '\x1b[2J"], b"expected a closing quote\n  user = '?[2J\n         ^\n"),
    (["--by", "metadata."], b"--by: expected a name behind each dot"),
    (["--by", "latency_ms"], b"--by: expected texts, whole numbers, flags, metadata.NAME or tag, got latency_ms"),
])
def test_mistakes_are_shown_with_their_place(args, sentence):
    done = weir(*args, status=2)
    assert sentence in done.stderr, done.stderr.decode()
