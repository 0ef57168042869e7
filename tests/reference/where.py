#!/usr/bin/env python3
"""where.py -- what --where and --by must select, evaluated slowly and obviously over parsed lines.

    where.py EXPRESSION FILE...      how many requests it is true of

The rules, beside those of analyze.py:

 1. either = both {or both}; both = one {and one}; one = {not} (either) | test; && || ! are and or not. Words of the language have
    no case. A word ends at a blank, a quote, or one of = < > ! ~ & | ( ) [ ] and the comma; '...' and "..." are texts, without escapes.
 2. test = NAME | NAME SIGN VALUE | NAME [not] in (VALUE, ...). != !~ and `not in` are the opposites of = ~ and `in`.
 3. A NAME is a field by its key in weir's line; metadata.STEP..., request.STEP..., response.STEP... a member, or an array's element by
    its number; tag is LiteLLM's request_tags, where that is an array, else metadata.tags. In LiteLLM's lines what metadata has not is looked for in
    metadata.requester_metadata. null is not there.
 4. A test of what is not there is false. Of an array (at a path, or tag) it is true when it is of one element. A NAME alone is true of what is
    there and is not false.
 5. Durations are in ms, or have units (us ms s m h d w); counts and rates take k, M, G and %; money a $. Values are compared exactly.
 6. At a path a number (or a text that is one) is compared as a number with a VALUE that is one and not in quotes; else texts are compared, a
    number as it is written. < <= > >= are for numbers.
 7. ~ is a pattern: alternatives between commas, blanks around them taken off; * is any run of characters; one with ! shuts out; when all shut out,
    what is not shut out matches; 4xx is any number of three digits that begins with 4.
 8. By tag a request counts for each distinct tag that is a text (32 at most), or once as null; at a path by the value's text, arrays as JSON.
"""
import re
import sys
from fractions import Fraction
from pathlib import Path

from records import (Broken, Number, member, microseconds_of_ms, microseconds_of_stamp, parse_object, record_of, shape_of, strip_line,
                     text_of)

TAGS_MAX = 32
TEXT, COUNT, MS, USD, RATE, FLAG, TIME, ANY = "text", "count", "ms", "usd", "rate", "flag", "time", "any"

# name: kind, attribute of Record, its units in one of the field's
FIELDS = {name: (TEXT, name, 1) for name in (
    "level", "request_id", "model", "provider", "deployment", "upstream_model", "call_type", "status", "tokens_source", "cache",
    "fallback_from", "finish_reason", "key_alias", "key_hash", "trace_id", "api_base", "user", "client", "user_agent")}
FIELDS |= {name: (COUNT, name, 1) for name in (
    "http_status", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens", "attempts", "dropped")}
FIELDS |= {f"{name}_ms": (MS, f"{name}_us", 1000) for name in ("latency", "ttft", "upstream", "overhead", "queue")}
FIELDS |= {f"engine.{name}_ms": (MS, f"engine {name}", 1000) for name in ("load", "prefill", "decode")}
FIELDS |= {"stream": (FLAG, "stream", 1), "slow": (FLAG, "slow", 1), "cost_usd": (USD, "cost_pico", 10**12),
           "tokens_per_second": (RATE, "rate_hundredths", 100), "timestamp": (TIME, "time_us", 1), "event": (TEXT, "event", 1),
           "error.type": (TEXT, "error_type", 1), "error.provider_status": (COUNT, "error_provider_status", 1),
           "error.message": (TEXT, "error_message", 1)}
PATHS = ("metadata.", "request.", "response.")
SPANS_US = {"us": 1, "ms": 1000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6, "w": 7 * 86400 * 10**6}
SCALES = {"k": 1000, "K": 1000, "M": 10**6, "G": 10**9, "%": Fraction(1, 100)}
DECIMAL = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
TOKEN = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)"|(==|!=|<=|>=|!~|&&|\|\||[=<>~!(),])|([^\s'"=<>!~&|()\[\],]+))""", re.ASCII)
SYNONYMS = {"&&": "and", "||": "or", "!": "not", "==": "="}


# ---- the text to a tree ----


def tokens_of(text):
    """(is it in quotes, token)..."""
    tokens, at = [], 0
    while text[at:].strip():
        match = TOKEN.match(text, at)
        single, double, sign, word = match.groups()
        quoted = single if single is not None else double
        if quoted is not None:
            tokens.append((True, quoted))
        else:
            token = sign or word
            tokens.append((False, SYNONYMS.get(token, token.lower() if token.lower() in ("and", "or", "not", "in") else token)))
        at = match.end()
    return tokens


class Parser:
    def __init__(self, text):
        self.tokens = tokens_of(text)

    def take(self, *wanted):
        if self.tokens and not self.tokens[0][0] and self.tokens[0][1] in wanted:
            return self.tokens.pop(0)[1]
        return None

    def whole(self):
        tree = self.either()
        assert not self.tokens, self.tokens
        return tree

    def either(self):
        trees = [self.both()]
        while self.take("or"):
            trees.append(self.both())
        return ("or", trees)

    def both(self):
        trees = [self.one()]
        while self.take("and"):
            trees.append(self.one())
        return ("and", trees)

    def one(self):
        if self.take("not"):
            return ("not", [self.one()])
        if self.take("("):
            tree = self.either()
            assert self.take(")")
            return tree
        return self.test()

    def test(self):
        _, name = self.tokens.pop(0)
        negated = bool(self.take("not"))
        if self.take("in"):
            assert self.take("(")
            values = [self.tokens.pop(0)]
            while self.take(","):
                values.append(self.tokens.pop(0))
            assert self.take(")")
            tree = ("or", [("test", name, "=", value) for value in values])
            return ("not", [tree]) if negated else tree
        sign = self.take("=", "!=", "<", "<=", ">", ">=", "~", "!~")
        if sign is None:
            return ("exists", name)
        negated, sign = sign in ("!=", "!~"), {"!=": "=", "!~": "~"}.get(sign, sign)
        tree = ("test", name, sign, self.tokens.pop(0))
        return ("not", [tree]) if negated else tree


# ---- values of a line ----


def at_path(value, steps):
    for step in steps:
        if isinstance(value, list):
            value = value[int(step)] if step.isdigit() and int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def json_at(line, name):
    """What is at a path, or the tags; None where it is not there."""
    is_litellm = shape_of(line) == "litellm"
    if name == "tag":
        if is_litellm and isinstance(line.get("request_tags"), list):
            return line["request_tags"]
        name = "metadata.tags"
    root, *steps = name.split(".")
    value = line.get(root)
    if root == "metadata" and is_litellm:
        value = value if isinstance(value, dict) else None
    found = at_path(value, steps)
    if found is None and root == "metadata" and is_litellm:
        found = at_path(value, ["requester_metadata", *steps])
    return found


def field_of(record, line, name):
    """(kind, exact value in the field's unit); the value is None where it is not there."""
    kind, attribute, units = FIELDS[name]
    if name == "event":
        return kind, text_of(line.get("event"))
    if attribute.startswith("engine "):
        value = microseconds_of_ms(member(line, "engine", f"{attribute[7:]}_ms"))
    else:
        value = getattr(record, attribute)
    if value is None or kind in (TEXT, FLAG):
        return kind, value
    return kind, Fraction(value, units)


def values_of(record, line, name):
    """(kind, the values that a test may be true of)"""
    if name in FIELDS:
        kind, value = field_of(record, line, name)
        return kind, [] if value is None else [value]
    value = json_at(line, name)
    values = value if isinstance(value, list) else [value]
    return ANY, [v for v in values if v is not None]


# ---- tests ----


def number_of(text):
    """5, 10k, 5%; None."""
    scale = SCALES.get(text[-1:])
    digits = text[:-1] if scale else text
    if scale and re.search("[eE]", digits):
        return None
    return Fraction(digits) * (scale or 1) if re.fullmatch(DECIMAL, digits, re.ASCII) else None


def span_ms(text):
    if re.fullmatch(DECIMAL, text, re.ASCII):
        return Fraction(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)", text)
    return sum(Fraction(digits) * SPANS_US[unit] for digits, unit in parts) / 1000


def operand_of(kind, text):
    if kind == MS:
        return span_ms(text)
    if kind == USD:
        return number_of(text.removeprefix("$"))
    if kind in (COUNT, RATE):
        return number_of(text)
    if kind == FLAG:
        return text.lower() == "true"
    if kind == TIME:
        return Fraction(microseconds_of_stamp(text, None))
    return text


def glob(pattern, text):
    if len(pattern) == len(text) == 3 and pattern[1:].lower() == "xx" and pattern[0] == text[0]:
        return True
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def is_like(patterns, text):
    alternatives = [one.strip(" \t") for one in patterns.split(",")]
    if any(glob(one[1:], text) for one in alternatives if one.startswith("!")):
        return False
    wanted = [one for one in alternatives if not one.startswith("!")]
    return not wanted or any(glob(one, text) for one in wanted)


def compared(sign, a, b):
    return {"=": a == b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[sign]


def any_text(value):
    """Of what is no array and no object."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.text if isinstance(value, Number) else text_of(value)


def any_is(value, sign, operand):
    quoted, wanted = operand
    text = any_text(value)
    if sign == "~":
        return is_like(wanted, text)
    number = Fraction(text) if re.fullmatch(DECIMAL, text, re.ASCII) else None
    other = None if quoted and sign == "=" else number_of(wanted)
    if number is not None and other is not None:
        return compared(sign, number, other)
    return sign == "=" and text == wanted


def test(kind, value, sign, operand):
    if kind == ANY:
        return not isinstance(value, (dict, list)) and any_is(value, sign, operand)
    if sign == "~":
        return is_like(operand[1], value if kind == TEXT else str(value))
    return compared(sign, value, operand_of(kind, operand[1]))


def holds(tree, record, line):
    what, *rest = tree
    if what == "or":
        return any(holds(one, record, line) for one in rest[0])
    if what == "and":
        return all(holds(one, record, line) for one in rest[0])
    if what == "not":
        return not holds(rest[0][0], record, line)
    kind, values = values_of(record, line, rest[0])
    if what == "exists":
        return any(value is not False for value in values)
    return any(test(kind, value, *rest[1:]) for value in values)


# ---- files ----


def requests_of(path):
    """(record, parsed line) of each request."""
    requests = []
    for number, raw in enumerate(Path(path).read_bytes().split(b"\n")):
        stripped = strip_line(raw, at_file_start=number == 0)
        try:
            line = parse_object(stripped) if stripped else None
        except Broken:
            continue
        record = record_of(line) if line is not None else None
        if record and record.is_request:
            requests.append((record, line))
    return requests


def count(requests, expression):
    tree = Parser(expression).whole()
    return sum(holds(tree, record, line) for record, line in requests)


def keys_of(record, line, name):
    """Rule 8: the groups that a request counts in; texts or None."""
    if name == "tag":
        _, tags = values_of(record, line, "tag")
        texts = list(dict.fromkeys(text_of(tag) for tag in tags if isinstance(tag, str)))
        return texts[:TAGS_MAX] or [None]
    if name in FIELDS:
        value = field_of(record, line, name)[1]
        return [value if value is None or isinstance(value, str) else str(value).lower()]
    value = json_at(line, name)
    return [None if value is None else any_text(value)]


def main():
    expression, *paths = sys.argv[1:]
    print(sum(count(requests_of(path), expression) for path in paths))


if __name__ == "__main__":
    main()
