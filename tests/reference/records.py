"""records.py -- one line of a log to one record, slowly and obviously: the rules are numbered in analyze.py.

Everything that is measured becomes a whole number, so that sums and percentiles are exact and can be compared with
the C reader's to the last digit: times and durations are microseconds, money is 1e-12 USD (pico), rates are hundredths.
None means absent: not in the line, null, or of a type or value that the field cannot have.
"""
import json
import re
import sys
from dataclasses import dataclass
from datetime import datetime, timezone

sys.set_int_max_str_digits(0)
sys.setrecursionlimit(20_000)

DEPTH_MAX = 1000
NUMBER_DIGITS_MAX = 15  # a number of 1e15 or more is absent
EPOCH_SECONDS_MAX = 253_402_300_800  # the year 10000
BOM = b"\xef\xbb\xbf"
BLANKS = b" \t\r"


@dataclass(slots=True)
class Record:
    """A request (or another event) as record.def names it; durations in _us, money in pico USD, rates in hundredths."""

    shape: str
    event: str | None = None
    time_us: int | None = None
    level: str | None = None
    request_id: str | None = None
    model: str | None = None
    provider: str | None = None
    deployment: str | None = None
    upstream_model: str | None = None
    call_type: str | None = None
    stream: bool | None = None
    status: str | None = None
    http_status: int | None = None
    latency_us: int | None = None
    ttft_us: int | None = None
    upstream_us: int | None = None
    overhead_us: int | None = None
    queue_us: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    tokens_source: str | None = None
    rate_hundredths: int | None = None
    cost_pico: int | None = None
    cache: str | None = None
    attempts: int | None = None
    fallback_from: str | None = None
    finish_reason: str | None = None
    slow: bool | None = None
    key_alias: str | None = None
    key_hash: str | None = None
    trace_id: str | None = None
    api_base: str | None = None
    user: str | None = None
    client: str | None = None
    user_agent: str | None = None
    dropped: int | None = None
    error_type: str | None = None
    error_provider_status: int | None = None
    error_message: str | None = None
    logged_error: bool = False  # a json_logs line of level ERROR or CRITICAL

    @property
    def is_request(self):
        return self.event == "request"

    @property
    def outcome(self):
        """success, failure, cancelled or unknown (rule 15)."""
        if self.status in ("success", "failure", "cancelled"):
            return self.status
        if self.http_status is not None:
            return outcome_of_http_status(self.http_status)
        return "failure" if self.error_type is not None else "unknown"


def outcome_of_http_status(code):
    if 100 <= code < 400:
        return "success"
    if code == 499:
        return "cancelled"
    return "failure" if 400 <= code < 600 else "unknown"


class Broken(Exception):
    """The line is not one JSON object; the text says why."""


# ---- JSON: a line to an object ----


class Number:
    """A JSON number as it was written."""

    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def depth_of(text):
    """How deep arrays and objects are nested; 1 for the line's own object."""
    depth = deepest = 0
    inside_string = escaped = False
    for character in text:
        if inside_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                inside_string = False
        elif character == '"':
            inside_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def strip_line(line, at_file_start):
    """The line without newline, byte order mark and leading NULs (rules 1 to 4); b"" when it is blank."""
    if line.endswith(b"\n"):
        line = line[:-1]
    if at_file_start and line.startswith(BOM):
        line = line[len(BOM):]
    return line.lstrip(b"\0").strip(BLANKS)


def parse_object(line):
    """The object of a stripped line, its numbers as Number. Raises Broken (rules 5 to 8)."""
    text = line.decode("utf-8", errors="replace")
    if text.count("[") + text.count("{") > DEPTH_MAX and depth_of(text) > DEPTH_MAX:
        raise Broken(f"nested deeper than {DEPTH_MAX} levels")
    try:
        value = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as reason:
        raise Broken(str(reason)) from None
    if not isinstance(value, dict):
        raise Broken("not an object")
    return value


# ---- values of a type; None where they are not of it (rules 10 to 13) ----


def text_of(value):
    return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else None


def filled_text(value):
    """For LiteLLM, which writes "" where it has nothing to say."""
    return text_of(value) or None


def flag_of(value):
    return value if isinstance(value, bool) else None


def scaled(value, decimals, whole=False):
    """value * 10^decimals, rounded half up; None when negative, 1e15 or more, or (whole) not an integer."""
    if not isinstance(value, Number):
        return None
    sign, integer, fraction, exponent = re.fullmatch(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?", value.text).groups()
    digits = (integer + (fraction or "")).lstrip("0")
    if not digits:
        return 0
    if sign:
        return None
    shift = int(exponent or 0) - len(fraction or "")
    if len(digits) + shift > NUMBER_DIGITS_MAX:
        return None
    shift += decimals
    if shift >= 0:
        return int(digits) * 10**shift
    if -shift > len(digits):  # less than a tenth of a unit
        return None if whole else 0
    divisor = 10**-shift
    if whole and int(digits) % divisor:
        return None
    return (2 * int(digits) + divisor) // (2 * divisor)


def count_of(value):
    return scaled(value, 0, whole=True)


def microseconds_of_ms(value):
    return scaled(value, 3)


def pico_of_usd(value):
    return scaled(value, 12)


def hundredths_of(value):
    return scaled(value, 2)


def microseconds_of_epoch(value):
    time_us = scaled(value, 6)
    return time_us if time_us is not None and time_us < EPOCH_SECONDS_MAX * 1_000_000 else None


STAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?", re.ASCII)


def microseconds_of_stamp(value, zone_unless_given):
    """RFC 3339, or ISO 8601 as Python writes it (rule 13). zone_unless_given: timezone.utc, or None for local time."""
    match = STAMP.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, zulu, sign, zone_hours, zone_minutes = match.groups()[6:]
    if second > 60 or (sign and (int(zone_hours) > 23 or int(zone_minutes or 0) > 59)):
        return None
    zone = timezone.utc if zulu or sign else zone_unless_given
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
        seconds = int(moment.timestamp()) + (second == 60)
    except (ValueError, OverflowError, OSError):
        return None
    if sign:
        offset = int(zone_hours) * 3600 + int(zone_minutes or 0) * 60
        seconds += -offset if sign == "+" else offset
    time_us = seconds * 1_000_000 + int((fraction or "")[:6].ljust(6, "0"))
    return time_us if 0 <= time_us < EPOCH_SECONDS_MAX * 1_000_000 else None


def member(value, *path):
    """value[path[0]][path[1]]...; None where it is not there."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


# ---- the three shapes ----


def shape_of(line):
    """Rule 9: by the keys that are there, whatever they hold."""
    if "startTime" in line and "endTime" in line:
        return "litellm"
    if "message" in line and "event" not in line:
        return "json_logs"
    if any(key in line for key in ("event", "request_id", "model", "status", "latency_ms")):
        return "weir"
    return "other"


WEIR_MEMBERS = [
    # attribute of Record, where in the line, how it is read
    ("level", ("level",), text_of),
    ("request_id", ("request_id",), text_of),
    ("model", ("model",), text_of),
    ("provider", ("provider",), text_of),
    ("deployment", ("deployment",), text_of),
    ("upstream_model", ("upstream_model",), text_of),
    ("call_type", ("call_type",), text_of),
    ("stream", ("stream",), flag_of),
    ("status", ("status",), text_of),
    ("http_status", ("http_status",), count_of),
    ("latency_us", ("latency_ms",), microseconds_of_ms),
    ("ttft_us", ("ttft_ms",), microseconds_of_ms),
    ("upstream_us", ("upstream_ms",), microseconds_of_ms),
    ("overhead_us", ("overhead_ms",), microseconds_of_ms),
    ("queue_us", ("queue_ms",), microseconds_of_ms),
    ("prompt_tokens", ("prompt_tokens",), count_of),
    ("completion_tokens", ("completion_tokens",), count_of),
    ("total_tokens", ("total_tokens",), count_of),
    ("cached_tokens", ("cached_tokens",), count_of),
    ("reasoning_tokens", ("reasoning_tokens",), count_of),
    ("tokens_source", ("tokens_source",), text_of),
    ("rate_hundredths", ("tokens_per_second",), hundredths_of),
    ("cost_pico", ("cost_usd",), pico_of_usd),
    ("cache", ("cache",), text_of),
    ("attempts", ("attempts",), count_of),
    ("fallback_from", ("fallback_from",), text_of),
    ("finish_reason", ("finish_reason",), text_of),
    ("slow", ("slow",), flag_of),
    ("key_alias", ("key_alias",), text_of),
    ("key_hash", ("key_hash",), text_of),
    ("trace_id", ("trace_id",), text_of),
    ("api_base", ("api_base",), text_of),
    ("user", ("user",), text_of),
    ("client", ("client",), text_of),
    ("user_agent", ("user_agent",), text_of),
    ("dropped", ("dropped",), count_of),
    ("error_type", ("error", "type"), text_of),
    ("error_provider_status", ("error", "provider_status"), count_of),
    ("error_message", ("error", "message"), text_of),
]


def weir_record(line):
    record = Record("weir")
    for attribute, path, read in WEIR_MEMBERS:
        setattr(record, attribute, read(member(line, *path)))
    event = text_of(line.get("event"))
    record.event = "request" if event is None else event
    record.time_us = microseconds_of_stamp(line.get("timestamp"), timezone.utc)
    return record


LITELLM_MEMBERS = [
    ("provider", ("custom_llm_provider",), filled_text),
    ("deployment", ("model_id",), filled_text),
    ("upstream_model", ("model",), filled_text),
    ("call_type", ("call_type",), filled_text),
    ("stream", ("stream",), flag_of),
    ("status", ("status",), filled_text),
    ("prompt_tokens", ("prompt_tokens",), count_of),
    ("completion_tokens", ("completion_tokens",), count_of),
    ("total_tokens", ("total_tokens",), count_of),
    ("cached_tokens", ("metadata", "usage_object", "prompt_tokens_details", "cached_tokens"), count_of),
    ("reasoning_tokens", ("metadata", "usage_object", "completion_tokens_details", "reasoning_tokens"), count_of),
    ("overhead_us", ("hidden_params", "litellm_overhead_time_ms"), microseconds_of_ms),
    ("upstream_us", ("upstream_ms",), microseconds_of_ms),
    ("cost_pico", ("response_cost",), pico_of_usd),
    ("key_alias", ("metadata", "user_api_key_alias"), filled_text),
    ("key_hash", ("metadata", "user_api_key_hash"), filled_text),
    ("trace_id", ("trace_id",), filled_text),
    ("api_base", ("api_base",), filled_text),
    ("user", ("end_user",), filled_text),
    ("client", ("requester_ip_address",), filled_text),
    ("user_agent", ("user_agent",), filled_text),
    ("error_type", ("error_information", "error_class"), filled_text),
]


def litellm_record(line):
    record = Record("litellm", event="request")
    for attribute, path, read in LITELLM_MEMBERS:
        setattr(record, attribute, read(member(line, *path)))
    record.model = filled_text(line.get("model_group")) or record.upstream_model
    record.request_id = filled_text(line.get("litellm_call_id")) or filled_text(line.get("id"))
    record.cache = {True: "hit", False: "miss"}.get(flag_of(line.get("cache_hit")))
    record.error_message = filled_text(member(line, "error_information", "error_message")) \
        or filled_text(line.get("error_str"))
    record.error_provider_status = status_code_of(member(line, "error_information", "error_code"))
    fill_litellm_times(record, line)
    return record


def status_code_of(value):
    """LiteLLM writes the status as text: "429"."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\d{3}", value, re.ASCII) else None
    return count_of(value)


def fill_litellm_times(record, line):
    start_us = microseconds_of_epoch(line.get("startTime"))
    end_us = microseconds_of_epoch(line.get("endTime"))
    first_us = microseconds_of_epoch(line.get("completionStartTime"))
    record.time_us = end_us if end_us is not None else start_us
    record.latency_us = difference(end_us, start_us)
    if record.stream:
        record.ttft_us = difference(first_us, start_us)
    record.rate_hundredths = derived_rate(record)


def difference(later_us, earlier_us):
    if later_us is None or earlier_us is None or later_us < earlier_us:
        return None
    return later_us - earlier_us


def derived_rate(record):
    """Rule 19: as weir computes it, with the whole latency for upstream time."""
    tokens, time_us = record.completion_tokens, record.latency_us
    if record.stream:
        time_us = difference(record.latency_us, record.ttft_us)
        tokens = tokens - 1 if tokens else 0
    if not tokens or not time_us:
        return None
    return (2 * tokens * 100_000_000 + time_us) // (2 * time_us)


ACCESS = re.compile(r'(\S+):\d+ - "POST ([^\s?]+)(?:\?\S*)? HTTP/[0-9.]+" (\d{3})', re.ASCII)
REQUEST_PATHS = ("/chat/completions", "/completions", "/embeddings", "/responses", "/messages")


def json_logs_record(line):
    """Rules 20 and 21. Access lines of calls to models are requests; ERROR lines are errors, of no request."""
    record = Record("json_logs", event="log", level=text_of(line.get("level")))
    record.time_us = microseconds_of_stamp(line.get("timestamp"), None)
    message = text_of(line.get("message")) or ""
    access = ACCESS.fullmatch(message)
    if access and access[2].endswith(REQUEST_PATHS):
        record.event, record.client, record.http_status = "request", access[1], int(access[3])
    elif record.level in ("ERROR", "CRITICAL"):
        record.logged_error = True
        record.error_type = exception_of(text_of(line.get("stacktrace")))
        record.error_message = message
    return record


def exception_of(stacktrace):
    """The class named in a traceback's last line that is not blank: "litellm.exceptions.Timeout: text" is Timeout."""
    lines = [line for line in (stacktrace or "").split("\n") if line.strip(" \t\r")]
    if not lines:
        return None
    name = lines[-1].split(":")[0].strip(" \t\r").split(".")[-1]
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII) else None


def record_of(line):
    """The record of a parsed object; None for the shape "other"."""
    makers = {"weir": weir_record, "litellm": litellm_record, "json_logs": json_logs_record}
    maker = makers.get(shape_of(line))
    return maker(line) if maker else None
