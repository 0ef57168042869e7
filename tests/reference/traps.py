"""traps.py -- what real logs do to a reader: each trap turns a good line into an awkward one and corrects its facts.

A trap is a function (kit, line, variant) -> None that changes a Line: its members (raw texts of keys and values), how
they are joined, the bytes around them, and its facts. TRAPS at the end names each with its rate and its number of
variants. Each variant of each stands once at a fixed place (generate.py: schedule), so that a file of a few thousand
lines has them all; beyond that they come at their rates.
"""
import json
from datetime import datetime, timedelta, timezone

BAD_BYTES = [b"\xff", b"caf\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\x80ok\xbf"]
NOT_JSON = [
    b"panic: runtime error", b"[1,2]", b"42", b'"text"', b"null", b"{'model':'x'}", b'{"model":"x",}', b'{"model":NaN}',
    b'{"latency_ms":01}', b'{"latency_ms":1.}', b'{"latency_ms":.5}', b'{"latency_ms":+1}', b'{"latency_ms":0x10}',
    b'{"model":"\\x41"}', b'{"model":"\\u12G4"}', b'{"model":tru}', b'{"model" "x"}', b'{model:"x"}', b'{"model":"x"]',
    b'{"model":"x","model"}', b'{"a":[1,2}}', b'{"a":-}', b'{"a":1e}', b'{"a":"\\"}', b"}", b"{", b"\xff\xfe{\x00}\x00",
    b'\xef\xbb\xbf{"model":"bom inside the file"}', b'{"model":"x"}\xc2\xa0', b'{"a":Infinity}', b'{"model":"nul\x00"}',
    b'{"a":1}//', b'/* */{"a":1}', b"{,}", b'{"a":,}', b"\x0c{}", b'{"a":"' + b"x" * 300]
PLACEHOLDER = "\ue000"  # where bytes go that are not text
TOKEN_KEYS = ("prompt_tokens", "completion_tokens", "total_tokens")
USER_KEY = {"weir": "user", "litellm": "end_user", "json_logs": "note"}
COST_KEY = {"weir": "cost_usd", "litellm": "response_cost", "json_logs": "cost"}


class Line:
    """A line being spoilt."""

    def __init__(self, shape, text, facts):
        self.shape, self.text, self.facts = shape, text, facts
        self.members = split_members(text)
        self.comma, self.colon = (",", ":") if shape == "weir" else (", ", ": ")
        self.opening, self.closing = "{", "}"
        self.before, self.after, self.bad_bytes = b"", b"\n", b""
        self.whole = None  # the line's bytes, where they are not made of members

    def body(self):
        joined = self.comma.join(f"{key}{self.colon}{value}" for key, value in self.members)
        body = f"{self.opening}{joined}{self.closing}".encode()
        return body.replace(PLACEHOLDER.encode(), self.bad_bytes) if self.bad_bytes else body

    def bytes(self):
        return self.before + (self.body() if self.whole is None else self.whole) + self.after

    def get(self, name):
        """The raw text of a member's value, or None."""
        return next((value for key, value in self.members if key == f'"{name}"'), None)

    def set(self, name, value):
        """Replaces the member, or adds it."""
        for index, (key, _) in enumerate(self.members):
            if key == f'"{name}"':
                self.members[index] = (key, value)
                return
        self.members.append((f'"{name}"', value))

    def alter(self, name, value, attribute, fact):
        """Gives a member that is there another value, and says what is true then."""
        if self.facts.event == "request" and self.get(name) is not None:
            self.set(name, value)
            setattr(self.facts, attribute, fact)

    def set_user(self, value):
        self.set(USER_KEY[self.shape], value)

    def is_broken(self, whole=None):
        self.whole, self.facts.fate = whole, "broken"


def split_members(text):
    """[(raw key with quotes, raw value)] of a good line."""
    decode, members, at = json.JSONDecoder().raw_decode, [], 1
    while text[at] != "}":
        while text[at] in ", ":
            at += 1
        _, key_end = decode(text, at)
        value_at = key_end + 1
        while text[value_at] == " ":
            value_at += 1
        _, value_end = decode(text, value_at)
        members.append((text[at:key_end], text[value_at:value_end]))
        at = value_end
    return members


def all_escaped(text, form="\\u%04x"):
    """Every UTF-16 unit of a text as an escape."""
    units = text.encode("utf-16-be")
    return "".join(form % int.from_bytes(units[i:i + 2], "big") for i in range(0, len(units), 2))


class Kit:
    """What traps need besides the line."""

    def __init__(self, rng, next_line):
        self.rng, self.next_line = rng, next_line


# ---- the same record, written otherwise ----


def shuffled(kit, line, variant):
    if variant == 0:
        kit.rng.shuffle(line.members)
    elif variant == 1:
        line.members.reverse()
    else:  # status last: `"failure"}` rather than `"failure",`
        line.members.sort(key=lambda member: member[0] == '"status"')


def blanks(kit, line, variant):
    line.comma, line.colon = ((", ", ": "), (" ,\t", " :\t "), (",\r ", ":\r"))[variant]
    if variant:
        line.opening, line.closing = " { \t", " \r} "
    for index, (key, value) in enumerate(line.members):
        if value[0] in "{[":
            line.members[index] = (key, json.dumps(json.loads(value), ensure_ascii=variant == 1))


def escaped_strings(kit, line, variant):
    for index, (key, value) in enumerate(line.members):
        if value[0] == '"':
            text = json.loads(value)
            if variant == 2:
                line.members[index] = (key, value.replace("/", "\\/"))
            elif len(text) < 500:
                escaped = all_escaped(text, ("\\u%04x", "\\u%04X")[variant])
                line.members[index] = (key, f'"{escaped}"')


def surrogate_pairs(kit, line, variant):
    line.set_user('"\\ud83d\\ude00 and \\uD83D\\uDE80, \\u00e9"')


def lone_surrogates(kit, line, variant):
    line.set_user(('"\\ud800"', '"x\\udc00\\ud800y"', '"\\ud83d\\u0041"', '"\\ud83d"', '"\\ud83d\\ud83d\\ude00"')[variant])


def escaped_keys(kit, line, variant):
    for index, (key, value) in enumerate(line.members):
        name = key[1:-1]
        if variant == 1 or name in ("model", "model_group", "status", "message", "event", "latency_ms", "endTime"):
            escaped = all_escaped(name) if variant else name[:3] + all_escaped(name[3]) + name[4:]
            line.members[index] = (f'"{escaped}"', value)


def raw_utf8(kit, line, variant):
    line.set_user('"Zoë 日本語 😀 \u2028 \ufeff \ufffd \x7f"')


def broken_utf8(kit, line, variant):
    line.bad_bytes = BAD_BYTES[variant]
    line.set_user(f'"{PLACEHOLDER}"')


def crlf(kit, line, variant):
    line.after = b"\r\n"


def nul_hole(kit, line, variant):
    line.before = b"\0" * (1, 17, 4096, 100_000)[variant]


def backslashes(kit, line, variant):
    line.set_user((f'"{100 * chr(92)}"', f'"{200 * chr(92)}"', f'"{100 * chr(92)}\\""', f'"{100 * chr(92)}\\u0022,"')[variant])


def decoy_first(kit, line, variant):
    decoy = '{"model":"decoy","status":"failure","event":"attempt","startTime":1,"endTime":2,"message":"m"}'
    line.members.insert(0, ('"x"', (decoy, json.dumps(decoy), f'[{decoy},"]}}"]')[variant]))


def deep_extra(kit, line, variant):
    if variant == 0:
        value = "[" * 499 + "]" * 499
    elif variant == 1:
        value = '{"a":["}]",' * 250 + '"\\"]}"' + "]}" * 250
    else:  # as deep as may be: the line's object is one level
        value = "[" * 999 + "]" * 999
    line.members.insert(kit.rng.randrange(len(line.members) + 1), ('"x_deep"', value))


def long_text(length):
    piece = '\\"status\\":\\"failure\\",\\"model\\":\\"decoy\\" \\\\ \\n über 日本 } ] '
    return '"' + piece * (length // len(piece.encode())) + '"'


def long_line(kit, line, variant):
    line.set("request", f'{{"messages":[{{"role":"user","content":{long_text(200_000)}}}]}}')


def huge_line(kit, line, variant):
    line.members.insert(len(line.members) // 2, ('"request"', long_text(3_000_000)))


def duplicate_keys(kit, line, variant):
    """The last one wins: first true ones behind decoys, then late ones that change what is true."""
    facts = line.facts
    if variant == 0:
        line.members[:0] = [(key, '"decoy"') for key, _ in line.members]
    elif variant == 1:
        line.members[:0] = [(key, "null") for key, _ in line.members] + [(key, '{"a":1}') for key, _ in line.members]
    elif variant == 2:
        line.members += [('"note"', '"x"')] * 50
    elif facts.event == "request" and line.shape != "json_logs":
        if variant == 3:
            line.members.append(('"completion_tokens"', "7"))
            facts.completion_tokens = 7
        elif variant == 4:
            line.members.append(('"mod\\u0065l"' if line.shape == "weir" else '"model\\u005fgroup"', '"late-model"'))
            facts.model = "late-model"
        else:
            line.members.append(('"prompt_tokens"', "null"))
            facts.prompt_tokens = None


# ---- values ----


def numbers_of(line):
    """Members that hold numbers, and the facts they are."""
    members = [(key, key) for key in TOKEN_KEYS] + [(COST_KEY[line.shape], "cost_pico")]
    return members + [("latency_ms", "latency_us"), ("ttft_ms", "ttft_us"), ("attempts", "attempts")]


def null_values(kit, line, variant):
    key, attribute = numbers_of(line)[variant]
    line.alter(key, "null", attribute, None)


def wrong_numbers(kit, line, variant):
    """Arrays, objects, strings, booleans where a number was expected: absent."""
    wrong = ("[1,2]", '{"a":1}', '"12"', "true", '""', "[]", '"1.5"')[variant]
    key, attribute = numbers_of(line)[variant]
    line.alter(key, wrong, attribute, None)


def negative_numbers(kit, line, variant):
    key, attribute = numbers_of(line)[variant]
    line.alter(key, ("-5", "-1", "-0.1", "-5e-7", "-12.5", "-0.001", "-9223372036854775808")[variant], attribute, None)


def huge_integers(kit, line, variant):
    text, fact = (("123456789012345678901234567890", None), ("1e15", None), ("999999999999999", 999_999_999_999_999),
                  ("9223372036854775808", None), ("1e999999999999", None), ("1000000000000000", None),
                  ("9" * 5000, None))[variant]
    line.alter("prompt_tokens", text, "prompt_tokens", fact)


def token_notation(kit, line, variant):
    count = line.facts.total_tokens or 0
    digits = str(count)
    exact = (f"{count}.0", f"{count}e0", f"{digits[0]}.{digits[1:] or '0'}E{len(digits) - 1}", f"0.{digits}E+{len(digits)}",
             f"{count * 100_000}e-05", f"{count}.{'0' * 60}")
    text, fact = [(text, count) for text in exact][variant] if variant < len(exact) else (
        ("-0", 0), ("1E2", 100), ("12.5", None), ("1e-1", None), ("0e99999999999", 0), ("-0.0E+5", 0))[variant - len(exact)]
    line.alter("total_tokens", text, "total_tokens", fact)


def cost_notation(kit, line, variant):
    pico = line.facts.cost_pico or 0
    text, fact = ((f"{pico}e-12", pico), (f"{pico}.000E-12", pico), (f"0.{pico:030d}e+18", pico),
                  (f"{pico * 10**60}E-72", pico), ("0.0", 0), ("1e-400", 0), ("1.286e-05", 12_860_000), ("5E-13", 1),
                  ("4.999e-13", 0), ("-0", 0), ("1E2", 100 * 10**12))[variant]
    line.alter(COST_KEY[line.shape], text, "cost_pico", fact)


def latency_notation(kit, line, variant):
    us = line.facts.latency_us or 0
    text, fact = ((f"{us // 1000}.{us % 1000:03d}4999", us), (f"{us // 1000}.{us % 1000:03d}5", us + 1), (f"{us}E-3", us),
                  (f"{us}e-000003", us), (f"0.{us:020d}e+17", us))[variant]
    line.alter("latency_ms", text, "latency_us", fact)


def missing_members(kit, line, variant):
    """Two members less."""
    for key, attribute in numbers_of(line)[variant:variant + 2]:
        if line.facts.event == "request" and line.get(key) is not None:
            line.members = [member for member in line.members if member[0] != f'"{key}"']
            setattr(line.facts, attribute, None)


def wrong_status(kit, line, variant):
    """No status that is one: the HTTP status decides in weir's lines, an error's class in LiteLLM's."""
    facts = line.facts
    if facts.event != "request" or line.shape == "json_logs":
        return
    line.set("status", ("[]", "null", '"Success"', "200", '{"status":"failure"}')[variant])
    if line.shape == "litellm":
        facts.outcome = "failure" if facts.error_type else "unknown"
    else:
        code = int(line.get("http_status"))
        facts.outcome = "cancelled" if code == 499 else "success" if code < 400 else "failure"


def wrong_event(kit, line, variant):
    """An event that is no text is absent, and absent means a request. LiteLLM's lines have none."""
    if line.shape == "weir" and line.facts.event == "request":
        line.set("event", ("null", '["attempt"]', "5", '{"event":"gap"}')[variant])


def wrong_stream(kit, line, variant):
    if line.get("stream") is not None:
        line.set("stream", ('"true"', "1", "null")[variant])
        if line.shape == "litellm":
            line.facts.ttft_us = None


# ---- stamps ----


def set_stamp(line, text, time_us):
    if line.shape != "litellm":
        line.set("timestamp", text)
        line.facts.time_us = time_us


def stamp_text(line):
    return None if line.shape == "litellm" else json.loads(line.get("timestamp"))


def zone_offset(kit, line, variant):
    """The same moment on another clock."""
    if line.shape != "litellm":
        minutes, zone = ((330, "+05:30"), (-480, "-08:00"), (0, "+0000"), (120, "+02"), (-45, "-0045"))[variant]
        seconds, fraction = divmod(line.facts.time_us, 1_000_000)
        there = datetime.fromtimestamp(seconds, timezone.utc) + timedelta(minutes=minutes)
        set_stamp(line, f'"{there:%Y-%m-%dT%H:%M:%S}.{fraction:06d}{zone}"', line.facts.time_us)


def no_fraction(kit, line, variant):
    if text := stamp_text(line):
        whole = text.partition(".")[0] + ("Z" if text.endswith("Z") else "")
        set_stamp(line, f'"{whole}"', line.facts.time_us // 1_000_000 * 1_000_000)


def long_fraction(kit, line, variant):
    """Digits behind the sixth are cut, not rounded."""
    text, time_us = stamp_text(line), line.facts.time_us
    if text and text.endswith("Z"):
        more, added_us = (("1", 100), ("123", 123), ("123999", 123), ("999" + "9" * 50, 999))[variant]
        set_stamp(line, f'"{text[:-1]}{more}Z"', time_us + added_us)
    elif text:
        set_stamp(line, f'"{text}999"', time_us)


def stamp_forms(kit, line, variant):
    if text := stamp_text(line):
        forms = (text.replace("T", " "), text.replace("T", "t").replace("Z", "z"), text.replace(".", ","),
                 text.removesuffix("Z"))
        set_stamp(line, f'"{forms[variant]}"', line.facts.time_us)


def bad_stamps(kit, line, variant):
    set_stamp(line, ('"2026-02-30T10:00:00Z"', '"yesterday"', "1795485023", "null", '"2026-11-24"', '"1969-12-31T23:00:00Z"',
                     '"2026-11-24T24:00:00Z"', '" 2026-11-24T01:50:23Z"', '"2026-11-24T01:50:23.Z"')[variant], None)


def out_of_order(kit, line, variant):
    move_back(line, kit.rng.randrange(30_000) * 1000)


def far_out_of_order(kit, line, variant):
    move_back(line, 6 * 3_600_000_000)


def move_back(line, by_us):
    """Milliseconds, so that no shape loses digits."""
    seconds, fraction = divmod(line.facts.time_us - by_us, 1_000_000)
    if line.shape != "litellm":
        there = datetime.fromtimestamp(seconds, timezone.utc)
        set_stamp(line, f'"{there:%Y-%m-%dT%H:%M:%S}.{fraction:06d}Z"', line.facts.time_us - by_us)
        return
    for key in ("startTime", "endTime", "completionStartTime"):
        whole, _, digits = line.get(key).partition(".")
        moved_us = int(whole) * 1_000_000 + int(digits.ljust(6, "0")) - by_us
        line.set(key, f"{moved_us // 1_000_000}.{moved_us % 1_000_000:06d}")
    line.facts.time_us -= by_us


# ---- lines that are none ----


def blank_line(kit, line, variant):
    line.whole, line.facts.fate = (b"", b" ", b"\t  \t", b"\r", b"\0\0\0\0")[variant], "blank"


def other_object(kit, line, variant):
    line.whole, line.facts.is_other_shape = (b"{}", b'{"foo":1}', b'{"Model":"x","error":{"model":"y"}}')[variant], True


def not_json(kit, line, variant):
    line.is_broken(NOT_JSON[variant])


def raw_control(kit, line, variant):
    line.set_user(f'"a{chr((9, 0, 31, 13)[variant])}b"')
    line.is_broken()


def truncated(kit, line, variant):
    body = line.body()
    line.is_broken(body[:(kit.rng.randrange(1, len(body)), len(body) - 1, 1)[variant]])


def glued(kit, line, variant):
    """Two lines without a newline between them, or the first cut short: one broken line."""
    other, body = kit.next_line()[0].encode(), line.body()
    line.is_broken((body + other, body[:len(body) // 2] + other, body + b" " + other)[variant])


def trailing_garbage(kit, line, variant):
    line.is_broken(line.body() + (b" x", b",", b"}", b"\0\0", b"\xef\xbb\xbf", b"\xff")[variant])


def too_deep(kit, line, variant):
    depth = (1000, 5000, 100_000)[variant]  # the line's object is one level more
    line.members.append(('"x_deep"', "[" * depth + "]" * depth))
    line.is_broken()


TRAPS = [
    # what it does, share of lines, variants
    (shuffled, 0.05, 3), (blanks, 0.03, 3), (escaped_strings, 0.01, 3), (surrogate_pairs, 0.002, 1),
    (lone_surrogates, 0.002, 5), (escaped_keys, 0.005, 2), (raw_utf8, 0.01, 1), (broken_utf8, 0.002, len(BAD_BYTES)),
    (crlf, 0.01, 1), (nul_hole, 0.0001, 4), (backslashes, 0.001, 4), (decoy_first, 0.002, 3), (deep_extra, 0.0003, 3),
    (long_line, 1e-5, 1), (huge_line, 1e-7, 1), (duplicate_keys, 0.003, 6), (null_values, 0.003, 7),
    (wrong_numbers, 0.002, 7), (negative_numbers, 0.0005, 7), (huge_integers, 0.0005, 7), (token_notation, 0.003, 12),
    (cost_notation, 0.005, 11), (latency_notation, 0.002, 5), (missing_members, 0.02, 6), (wrong_status, 0.001, 5),
    (wrong_event, 0.0005, 4), (wrong_stream, 0.0005, 3), (zone_offset, 0.003, 5), (no_fraction, 0.003, 1),
    (long_fraction, 0.002, 4), (stamp_forms, 0.002, 4), (bad_stamps, 0.0005, 9), (out_of_order, 0.01, 1),
    (far_out_of_order, 1e-7, 1), (blank_line, 0.001, 5), (other_object, 0.0002, 3), (not_json, 0.001, len(NOT_JSON)),
    (raw_control, 0.0005, 4), (truncated, 0.001, 3), (glued, 0.0005, 3), (trailing_garbage, 0.0005, 6),
    (too_deep, 1e-6, 3),
]
