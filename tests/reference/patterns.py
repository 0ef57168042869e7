#!/usr/bin/env python3
"""patterns.py -- what `weir analyze --errors` must say of error patterns, computed slowly: every message kept, every rule a regular
expression.

    patterns.py FILE...

One JSON object a pattern on stdout. The rules of folding are those of src/observe/error_text.h, by its numbers; they are written here
a second time, otherwise. Beyond them:

 P1. Failed requests (analyze.py, rules 14, 15, 20) are grouped by error.type ("" is none), status and folded message. Status is the
     provider's, else the client's, and these two are different.
 P2. Patterns are joined, the most frequent first (equals by type, message, status, whose status; texts by their bytes): each with the first one
     before it of the same type, status and number of words (5 or more), where 7 in 10 words are equal to those it began with, and no two that
     differ are both plain (small letters, but for punctuation around them). Words that differ in any of those joined become <*>.
 P3. first, last: of the stamps. An example is the id of the earliest request that has one (equal stamps: the smaller id), and of the
     latest (the greater).
 P4. Trend over all requests of the window: by quarters and halves; see error_patterns.h.
"""
import json
import re
import sys
from collections import Counter
from datetime import datetime, timezone

import analyze

SOURCE_BYTES, TEXT_BYTES = 4096, 400
WHITE = r"\x00-\x20\x7f"
WORD = r"[A-Za-z0-9_-]"
END = rf"(?!{WORD})"
DIGITS = r"\d+(?!\d)"


def maybe(pattern):
    """It, if it is there: never given back, unlike (...)?."""
    return f"(?:{pattern}|(?!{pattern}))"


HOST = rf"{WORD}+{END}(?:\.{WORD}+{END}){{1,7}}(?!\.{WORD})"
PORT = r":\d{1,5}(?!\d)"
FRACTION = maybe(rf"[.,]{DIGITS}")
CLOCK = r":\d\d(?!\d)" + maybe(r":\d\d(?!\d)" + FRACTION)
ZONE = maybe(r"(?:Z|[+-]\d{4}(?!\d)|[+-]\d\d:\d\d(?!\d))")
TIME_OF_DAY = maybe(r"[T ]\d\d(?!\d)" + CLOCK + ZONE)
DECIMALS = maybe(rf"\.{DIGITS}")
GROUPS_6 = r"(?=[0-9A-Fa-f:]*::|(?:[0-9A-Fa-f]*:){3})[0-9A-Fa-f]{0,4}(?![0-9A-Fa-f])(?::[0-9A-Fa-f]{0,4}(?![0-9A-Fa-f]))+(?!:)"
ID_HEADS = ("req|request|chatcmpl|cmpl|call|msg|resp|run|thread|org|proj|asst|file|batch|toolu|ft|step|gen|user|trace|embd|rs|fc|ws|"
            "sess|conv|vs|key|team|ses|evt|task")


def compiled(text, flags=0):
    return re.compile(text, re.ASCII | flags)


# Rule 7, in its order; each is tried where no word goes on from before.
FOLDS = [
    ("<url>", compiled(rf"[A-Za-z]+://[^{WHITE}\"'<>`]*[^{WHITE}\"'<>`.,;:!?)\]}}]")),
    ("<time>", compiled(rf"\d{{4}}-\d\d-\d\d(?!\d){TIME_OF_DAY}{END}")),
    ("<time>", compiled(rf"\d{{1,2}}:\d\d(?!\d):\d\d(?!\d){FRACTION}{END}")),
    ("<addr>", compiled(rf"\d{{1,3}}(?!\d)(?:\.\d{{1,3}}(?!\d)){{3}}{maybe(PORT)}{END}")),
    ("<addr>", compiled(rf"\[{GROUPS_6}\]{maybe(PORT)}{END}")),
    ("<addr>", compiled(rf"{GROUPS_6}{END}")),
    ("<email>", compiled(rf"[A-Za-z0-9_.+%-]{{1,64}}@{HOST}")),
    ("<addr>", compiled(rf"(?:localhost(?=:)|{HOST}){PORT}{END}")),
    ("<id>", compiled(rf"[0-9A-Fa-f]{{8}}-(?:[0-9A-Fa-f]{{4}}-){{3}}[0-9A-Fa-f]{{12}}{END}")),
    ("<n>", compiled(rf"(?:{DIGITS}{DECIMALS}(?:ms|us|ns|[dhms]))+{END}")),
    ("<id>", compiled(rf"(?:{ID_HEADS})[_-](?={WORD}*\d|[A-Za-z0-9]{{16,}}{END}){WORD}{{4,}}{END}")),
    ("<id>", compiled(rf"(?={WORD}*?(?<![A-Za-z0-9])(?=[A-Za-z0-9]{{8}})(?=[A-Za-z]*\d)(?=\d*[A-Za-z])){WORD}+{END}")),
    ("<n>", compiled(rf"(?:{DIGITS}(?:[.,]{DIGITS})*(?![.,]\d)[A-Za-z]{{0,3}}(?![A-Za-z]))+{END}")),
]
INSIDE_KEYS = ("message", "detail", "error", "msg")
WRAPPER = compiled(
    rf"data:|Error: |error: |Error code: \d+(?!\d)(?: -|(?! -))"
    rf"|[A-Za-z0-9_.]+(?![A-Za-z0-9_.])(?:(?<=Error)|(?<=Exception)|(?<=Timeout)|(?<=Exceeded))(?::(?=[{WHITE}])| - )")
APPENDED = ("Received Model Group=", "Available Model Group Fallbacks=", "LiteLLM Retried:")


# ---- folding ----


def cut_bytes(text, count):
    return text.encode("utf-8", "surrogatepass")[:count].decode("utf-8", "ignore")


def strip_white(text):
    return re.sub(rf"^[{WHITE}]+|[{WHITE}]+$", "", text)


def unescape(text):
    return re.sub(r"\\(.)", lambda m: " " if m[1] in "ntr" else m[1], text, flags=re.DOTALL)


def text_until(text, quote, escapes):
    """What stands before the closing quote; all of it where there is none."""
    for match in re.finditer(rf"(\\*){quote}", text):
        backslashes = len(match[1])
        if backslashes >= escapes and (backslashes - escapes) % (2 * (escapes + 1)) == 0:
            return text[:match.end() - 1 - escapes]
    return text


def inside(text):
    """Rule 2, once; None where there is nothing inside."""
    brace = text.find("{")
    if brace < 0:
        return None
    text = text[brace:]
    for key in INSIDE_KEYS:
        for match in re.finditer(
                rf"(?<!\\)(?P<q>\\{{0,7}}[\"']){key}(?P=q)[{WHITE}]*:[{WHITE}]*(?P<v>\\{{0,7}})(?P<mark>[\"'])", text):
            value = text_until(text[match.end():], match["mark"], len(match["v"]))
            if strip_white(value):
                for _ in range((len(match["v"]) + 1).bit_length()):
                    value = unescape(value)
                return value
    return None


def unwrapped(text):
    """Rules 3 and 4."""
    for tail in APPENDED:
        text = text.split(tail, 1)[0]
    text = strip_white(text)
    while match := WRAPPER.match(text):
        rest = strip_white(text[match.end():])
        if not rest:
            break
        text = rest
    return text


ESCAPES = r"\\u[0-9A-Fa-f]{4}|\\[\"\\/bfnrt]|%(?![Bb]earer )[0-9A-Fa-f]{2}"
MASKED = compiled(
    rf"(?P<kept>{ESCAPES})|(?P<scheme>[Bb]earer )(?=[A-Za-z0-9_.~+/=-]*(?:\d|[a-z][A-Z])|[A-Za-z0-9_.~+/=-]{{20}})[A-Za-z0-9_.~+/=-]{{4,}}"
    rf"|(?P<head>sk-)(?={WORD}*(?:\d|[a-z][A-Z])|{WORD}{{20}}){WORD}{{4,}}|{WORD}+")


def masked(text):
    """Rule 6, for the few kinds of secret that generated messages hold."""
    return MASKED.sub(lambda m: m[0] if not (m["scheme"] or m["head"]) else (m["scheme"] or m["head"]) + "***", text)


def folded_word(word):
    return re.sub(r"[A-Za-z0-9]+", lambda m: "<n>" if m[0].isdigit() else m[0], word)


def folded(text, names):
    """Rule 7."""
    out, at = [], 0
    while at < len(text):
        if not re.match(rf"{WORD}|\[", text[at]):
            out.append(text[at])
            at += 1
            continue
        size, piece = fold_at(text, at, names)
        out.append(piece)
        at += size
    return "".join(out)


def fold_at(text, at, names):
    for name in names:
        if text.startswith(name, at) and not re.match(WORD, text[at + len(name):at + len(name) + 1]):
            return len(name), "<model>"
    for placeholder, pattern in FOLDS:
        if match := pattern.match(text, at):
            return match.end() - at, placeholder
    word = re.match(rf"{WORD}+|\[", text[at:])[0]
    return len(word), folded_word(word)


def fold(message, names=()):
    """The message as the pattern shows it."""
    text = cut_bytes(message, SOURCE_BYTES)
    for _ in range(4):
        found = inside(text)
        if found is None:
            break
        text = found
    text = strip_white(re.sub(rf"[{WHITE}]+", " ", unwrapped(text)))
    names = sorted((n for n in names if n and len(n.encode()) >= 3 and re.match(WORD, n)), key=lambda n: -len(n.encode()))
    return cut_bytes(folded(masked(text), names), TEXT_BYTES).rstrip(" .,:;-")


# ---- patterns ----


class Pattern:
    def __init__(self, key):
        self.type, self.status, self.status_is_clients, self.text = key
        self.count, self.stamps, self.ids = 0, [], []
        self.names = {"models": Counter(), "providers": Counter(), "keys": Counter()}

    def add(self, record):
        self.count += 1
        if record.time_us is not None:
            self.stamps.append(record.time_us)
        if record.request_id:
            self.ids.append((record.time_us, record.request_id.encode()))
        for title, name in (("models", record.model), ("providers", record.provider), ("keys", record.key_alias)):
            if name:
                self.names[title][name] += 1

    def join(self, other):
        self.count += other.count
        self.stamps += other.stamps
        self.ids += other.ids
        for title, names in other.names.items():
            self.names[title] += names

    def order(self):
        return (-self.count, (self.type or "").encode(), self.text.encode(), self.status, self.status_is_clients)

    def first_id(self):
        return min(self.ids, key=lambda i: (i[0] is None, i[0] or 0, i[1]))[1].decode() if self.ids else None

    def last_id(self):
        return max(self.ids, key=lambda i: (i[0] is not None, i[0] or 0, i[1]))[1].decode() if self.ids else None

    def report(self, window):
        return {
            "count": self.count, "error.type": self.type, "message": self.text,
            "provider_status": None if self.status_is_clients or self.status < 0 else self.status,
            "http_status": self.status if self.status_is_clients else None,
            "first": stamp_text(min(self.stamps, default=None)), "last": stamp_text(max(self.stamps, default=None)),
            "first_id": self.first_id(), "last_id": self.last_id(), "trend": trend(self.stamps, self.count, window),
        } | {title: {"distinct": len(names), "top": [{"name": n, "count": c} for n, c in sorted(
            names.items(), key=lambda item: (-item[1], item[0].encode()))[:3]]} for title, names in self.names.items()}


def stamp_text(time_us):
    if time_us is None:
        return None
    seconds, fraction = divmod(time_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{fraction // 1000:03d}Z"


def trend(stamps, count, window):
    first, last = window
    if not stamps or first is None or first >= last:
        return "unknown"
    last_quarter = last - (last - first) // 4
    if min(stamps) >= last_quarter:
        return "new"
    if count < 8:
        return "few"
    if max(stamps) < last_quarter:
        return "gone"
    step = 1000
    while last // step - first // step >= 32:
        step *= 2
    buckets = [0] * (last // step - first // step + 1)
    for stamp in stamps:
        buckets[stamp // step - first // step] += 1
    half = len(buckets) // 2
    early, late = sum(buckets[:half]), sum(buckets[-half:]) if half else 0
    few, many = sorted((early, late))
    if many < 1.5 * few or (many - few)**2 <= 9 * (many + few):
        return "steady"
    return "growing" if late > early else "falling"


def is_plain(word):
    return re.fullmatch("[a-z]+", word.rstrip(".,:;!?()'\"").lstrip("('\"")) is not None


def are_near(a, b):
    if len(a) != len(b) or len(a) < 5:
        return False
    differing = [(x, y) for x, y in zip(a, b) if x != y]
    return 10 * len(differing) <= 3 * len(a) and not any(is_plain(x) and is_plain(y) for x, y in differing)


def joined(patterns):
    """P2."""
    clusters = []  # (pattern, its words, which differ)
    for pattern in sorted(patterns, key=Pattern.order):
        words = pattern.text.split(" ")
        for cluster, its_words, differing in clusters:
            same = (cluster.type, cluster.status, cluster.status_is_clients) == \
                (pattern.type, pattern.status, pattern.status_is_clients)
            if same and are_near(its_words, words):
                cluster.join(pattern)
                differing.update(i for i, (x, y) in enumerate(zip(its_words, words)) if x != y)
                break
        else:
            clusters.append((pattern, words, set()))
    for pattern, words, differing in clusters:
        if differing:
            pattern.text = " ".join("<*>" if i in differing else word for i, word in enumerate(words))
    return sorted((pattern for pattern, _, _ in clusters), key=Pattern.order)


class Analysis(analyze.Analysis):
    """Reads as the reference does, and keeps failures."""

    def __init__(self, chosen=None):
        super().__init__(("model",), chosen)
        self.patterns = {}

    def count_request(self, record):
        super().count_request(record)
        if record.outcome != "failure":
            return
        status, is_clients = record.error_provider_status, False
        if status is None:
            status, is_clients = record.http_status, record.http_status is not None
        names = (record.model, record.upstream_model, record.deployment)
        key = (record.error_type or None, -1 if status is None else status, is_clients,
               fold(record.error_message or "", names) if record.error_message else "")
        self.patterns.setdefault(key, Pattern(key)).add(record)

    def pattern_reports(self):
        window = (self.total.first_us, self.total.last_us)
        return [pattern.report(window) for pattern in joined(self.patterns.values())]


def analyze_patterns(paths):
    analysis = Analysis()
    for path in paths:
        analysis.read_file(str(path))
    return analysis.pattern_reports()


if __name__ == "__main__":
    for row in analyze_patterns(sys.argv[1:]):
        print(json.dumps(row, ensure_ascii=False))
