"""The reference reader against lines written by hand, rule by rule (the numbers are analyze.py's), and against what the
generator knows of its own lines."""
import json
import pathlib
import subprocess
import sys
import time

import pytest
from analyze import analyze, nearest_rank, usd_text
from generate import Generator, schedule, write
from records import Broken, Number, microseconds_of_stamp, parse_object, record_of, scaled, strip_line
from traps import TRAPS

HOUR = 3_600_000_000


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    set_zone(monkeypatch, "UTC")
    yield
    monkeypatch.undo()
    time.tzset()


def set_zone(monkeypatch, name):
    monkeypatch.setenv("TZ", name)
    time.tzset()


@pytest.fixture
def read(tmp_path):
    """read(bytes, ...) is the report on a file of these bytes."""
    def report(data, **options):
        path = tmp_path / "requests.log"
        path.write_bytes(data)
        return analyze([path], **options)
    return report


def record(text):
    """The record of a line that is expected to parse."""
    return record_of(parse_object(text.encode() if isinstance(text, str) else text))


def counts(report):
    return report["lines"], report["read"], report["blank"], report["broken"]["count"]


def broken_lines(report):
    return [number for lines in report["broken"]["lines"].values() for number in lines]


# ---- lines ----


def test_1_lines_end_at_newlines_only(read):
    assert counts(read(b"")) == (0, 0, 0, 0)
    assert counts(read(b'{"model":"a"}\n')) == (1, 1, 0, 0)
    assert counts(read(b'{"model":"a"}\n{"model":"b"}')) == (2, 2, 0, 0)
    assert counts(read(b'{"model":"a",\r"x":"\xc2\x85\xe2\x80\xa8"}\n')) == (1, 1, 0, 0)


def test_1_a_cut_last_line_is_broken_unless_it_parses(read):
    cut = read(b'{"model":"a"}\n{"model":"b"')
    assert counts(cut) == (2, 1, 0, 1) and broken_lines(cut) == [2] and len(cut["unfinished"]) == 1
    whole = read(b'{"model":"a"}\n{"model":"b"}')
    assert whole["total"]["requests"] == 2 and len(whole["unfinished"]) == 1
    assert read(b'{"model":"a"}\n')["unfinished"] == []


def test_2_byte_order_mark(read):
    assert counts(read(b'\xef\xbb\xbf{"model":"a"}\n')) == (1, 1, 0, 0)
    assert counts(read(b'\xef\xbb\xbf\n')) == (1, 0, 1, 0)
    inside = read(b'{"model":"a"}\n\xef\xbb\xbf{"model":"b"}\n')
    assert counts(inside) == (2, 1, 0, 1) and broken_lines(inside) == [2]


def test_3_holes_and_blanks_around_a_line(read):
    assert counts(read(b'\0\0\0{"model":"a"}\n \t{"model":"b"}\t \r\n')) == (2, 2, 0, 0)
    assert counts(read(b'\xef\xbb\xbf\0\0 {"model":"a"}\n')) == (1, 1, 0, 0)
    assert counts(read(b'{"model":"a"}\0\n')) == (1, 0, 0, 1)
    assert counts(read(b' \0{"model":"a"}\n')) == (1, 0, 0, 1)
    assert counts(read(b'{"model":\0"a"}\n{"model":"a\0"}\n')) == (2, 0, 0, 2)


def test_4_blank_lines_and_line_numbers(read):
    report = read(b'\n \t\n\r\n\0\0\nnope\n{"model":"a"}\n\n{')
    assert counts(report) == (8, 1, 5, 2) and broken_lines(report) == [5, 8]
    first = report["broken"]["first"]
    assert [(entry["line"], entry["text"]) for entry in first] == [(5, "nope"), (8, "{")]


@pytest.mark.parametrize("data, text", [
    (b"\xff", "\ufffd"), (b"caf\xc3", "caf\ufffd"), (b"\xe2\x82", "\ufffd"), (b"\xed\xa0\x80", "\ufffd" * 3),
    (b"\xc0\xaf", "\ufffd" * 2), (b"\xf0\x9f\x98", "\ufffd"), (b"\xf4\x90\x80\x80", "\ufffd" * 4), (b"\x80a\xbf", "\ufffda\ufffd"),
    (b"\xe2\x82\xac", "€"), (b"\xf0\x9f\x98\x80", "\U0001f600"), (b"\xe2\xe2\x82\xac", "\ufffd€"),
])
def test_5_broken_utf8_never_takes_the_next_byte_along(data, text):
    assert record(b'{"model":"' + data + b'","provider":"p"}').model == text
    assert record(b'{"model":"' + data + b'","provider":"p"}').provider == "p"


@pytest.mark.parametrize("line", [
    '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', '{"a":01}', '{"a":1.}', '{"a":.5}', '{"a":+1}', '{"a":-}', '{"a":1e}',
    '{"a":"\t"}', '{"a":"\x01"}', '{"a":"\\x41"}', '{"a":"\\u12"}', '{"a":1,}', '{"a":[1,]}', '{"a":[1}}', '{"a" 1}', "{'a':1}",
    '{"a":1} x', '{"a":1},', '{"a":1}{"a":2}', '{"a":1} {"a":2}', '{"a":1', '{"a":"', "[1]", "1", '"a"', "null", "true", "}",
    '{"a":1}\xa0', "\x0c{}", '{"a":tru}', '{"a":"x" "b":1}', '{"a":"\\"}',
])
def test_6_not_one_object(read, line):
    assert counts(read(line.encode() + b"\n")) == (1, 0, 0, 1)


def test_6_a_fault_behind_all_wanted_keys_breaks_the_line_too(read):
    report = read(b'{"event":"request","model":"a","status":"success","metadata":{"x":[1,2}}}\n')
    assert counts(report) == (1, 0, 0, 1) and report["total"]["requests"] == 0


def test_7_depth():
    def line(levels):
        return b'{"model":"a","x":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
    assert record(line(500)).model == record(line(1000)).model == "a"
    for levels in (1001, 5000, 100_000):
        with pytest.raises(Broken):
            parse_object(line(levels))
    brackets_in_a_text = '{"model":"a","x":"\\"' + "[" * 5000 + '"}'
    assert record(brackets_in_a_text).model == "a"


def test_7_length():
    assert record('{"x":"' + "ü" * 3_000_000 + '","model":"a"}').model == "a"


def test_8_keys():
    assert record('{"mod\\u0065l":"a"}').model == "a"
    assert record('{"model":"a","mod\\u0065l":"b"}').model == "b"
    assert record('{"model":"a","model":null,"status":"success"}').model is None
    assert record('{"model":"a","model":5}').model is None
    assert record('{"Model":"a","status":"failure"}').model is None
    assert record('{"error":{"type":"a","message":"m"},"error":{"type":"b"},"model":"x"}').error_type == "b"
    assert record('{"error":{"type":"a","message":"m"},"error":{"type":"b"},"model":"x"}').error_message is None
    assert record('{"error":{"type":"a"},"error":"text","model":"x"}').error_type is None
    assert record('{"metadata":{"model":"decoy","status":"failure"},"model":"a","status":"success"}').outcome == "success"
    assert record('{"model":"a","x":{"model":"decoy"}}').model == "a"
    assert record('{"model":"a","error.type":"decoy"}').error_type is None


# ---- shapes ----


@pytest.mark.parametrize("line, shape", [
    ('{"startTime":1,"endTime":2}', "litellm"), ('{"startTime":null,"endTime":[],"event":"x","message":1}', "litellm"),
    ('{"message":"m","level":"INFO","timestamp":"t"}', "json_logs"), ('{"message":null,"status":"x"}', "json_logs"),
    ('{"message":"m","event":"request"}', "weir"), ('{"event":null}', "weir"), ('{"request_id":1}', "weir"), ('{"model":1}', "weir"),
    ('{"status":1}', "weir"), ('{"latency_ms":1}', "weir"), ('{"latency\\u005fms":1}', "weir"), ('{"startTime":1,"x":2}', "other"),
    ('{}', "other"), ('{"x":{"model":"m"}}', "other"), ('{"http_status":200}', "other"),
])
def test_9_shapes(read, line, shape):
    report = read(line.encode())
    assert report["shapes"] == {shape: 1}
    assert report["total"]["requests"] == (shape in ("weir", "litellm"))


# ---- values ----


def test_10_wrong_types_are_absent():
    wrong = record('{"model":1,"provider":null,"stream":"true","slow":1,"latency_ms":"12","prompt_tokens":[1],"total_tokens":{},'
                   '"cost_usd":true,"cache":false,"timestamp":1795485023,"error":["type"],"http_status":"200","event":7}')
    for name in ("model", "provider", "stream", "slow", "latency_us", "prompt_tokens", "total_tokens", "cost_pico", "cache", "time_us",
                 "error_type", "http_status"):
        assert getattr(wrong, name) is None
    assert wrong.event == "request" and wrong.outcome == "unknown"
    assert record('{"model":""}').model == ""
    assert record('{"model":"\\ud800|\\udc00\\ud83d|\\ud83d\\ude00|\\u0000"}').model == "\ufffd|\ufffd\ufffd|\U0001f600|\0"


@pytest.mark.parametrize("text, value", [
    ("0", 0), ("-0", 0), ("-0.0e5", 0), ("0e999999999999", 0), ("12", 12), ("12.0", 12), ("1E2", 100), ("1.5e1", 15), ("1500e-2", 15),
    ("12.5", None), ("1e-1", None), ("1e-400", None), ("-1", None), ("-0.5", None), ("999999999999999", 999_999_999_999_999),
    ("1000000000000000", None), ("1e15", None), ("9223372036854775808", None), ("1e999999999999", None), ("9" * 5000, None),
    ("0.00012e4", None), ("0.00012e5", 12), ("1" + "0" * 5000 + "e-5000", 1),
])
def test_11_whole_numbers(text, value):
    assert scaled(Number(text), 0, whole=True) == value


@pytest.mark.parametrize("text, decimals, value", [
    ("912.345", 3, 912_345), ("301.2", 3, 301_200), ("0.0004", 3, 0), ("0.0005", 3, 1), ("0.00049999999999999999999", 3, 0),
    ("1.2345", 3, 1235), ("1.2344999999999999999999999", 3, 1234), ("-0.0001", 3, None), ("1E2", 3, 100_000), ("1e15", 3, None),
    ("999999999999999.9999", 3, 10**18), ("0.0001194", 12, 119_400_000), ("1.286e-05", 12, 12_860_000), ("0.0", 12, 0), ("5e-13", 12, 1),
    ("4.9e-13", 12, 0), ("1e-12", 12, 1), ("1e-9999999", 12, 0), ("157.1", 2, 15710), ("157.105", 2, 15711), ("-1e-99", 12, None),
])
def test_12_rounding_half_up(text, decimals, value):
    assert scaled(Number(text), decimals) == value


@pytest.mark.parametrize("text, time_us", [
    ("1970-01-01T00:00:00Z", 0), ("1970-01-02T00:00:01.5Z", 86_401_500_000), ("1970-01-01 01:00:00,25", HOUR + 250_000),
    ("1970-01-01t00:00:00.1234569z", 123_456), ("1970-01-01T05:30:00+05:30", 0), ("1970-01-01T00:00:00-0100", HOUR),
    ("1970-01-01T02:00:00.001+02", 1000), ("1970-01-01T00:59:60Z", HOUR), ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
    ("2024-02-29T00:00:00Z", 1_709_164_800_000_000), ("2026-11-24T01:50:23.417Z", 1_795_485_023_417_000),
    ("2025-02-29T00:00:00Z", None), ("1969-12-31T23:59:59Z", None), ("1970-01-01T00:00:00+00:01", None), ("1970-13-01T00:00:00Z", None),
    ("1970-01-01T24:00:00Z", None), ("1970-01-01T00:60:00Z", None), ("1970-01-01T00:00:61Z", None), ("1970-01-01", None),
    ("1970-01-01T00:00Z", None), ("1970-01-01T00:00:00.Z", None), (" 1970-01-01T00:00:00Z", None), ("1970-01-01T00:00:00 Z", None),
    ("0000-01-01T00:00:00Z", None), ("1970-01-01T00:00:00+24:00", None), ("1970-01-01T00:00:00+01:60", None), ("", None),
    ("٢٠٢٦-01-01T00:00:00Z", None), ("9999-12-31T23:59:59Z", 253_402_300_799_000_000), ("9999-12-31T23:59:59-01:00", None),
])
def test_13_stamps(text, time_us):
    assert record(json.dumps({"model": "a", "timestamp": text})).time_us == time_us


def test_13_local_time(monkeypatch):
    set_zone(monkeypatch, "XYZ-2")  # two hours east of Greenwich
    stamp = "1970-01-01T03:00:00.000001"
    assert record(f'{{"message":"m","timestamp":"{stamp}"}}').time_us == HOUR + 1
    assert record(f'{{"message":"m","timestamp":"{stamp}Z"}}').time_us == 3 * HOUR + 1
    assert record(f'{{"model":"m","timestamp":"{stamp}"}}').time_us == 3 * HOUR + 1
    assert microseconds_of_stamp("1970-01-01T01:59:59", None) is None


# ---- requests ----


def test_14_what_is_a_request(read):
    report = read(b'{"event":"request","model":"a"}\n{"model":"a"}\n{"event":"attempt","model":"a","status":"failure"}\n'
                  b'{"event":"gap","dropped":7}\n{"event":"gap","dropped":"9"}\n{"event":"gap","dropped":2}\n{"event":"start"}\n'
                  b'{"event":"","model":"a"}\n{"event":"r\\u0065quest"}\n{"dropped":5,"event":"request"}\n')
    assert report["events"] == {"": 1, "attempt": 1, "gap": 3, "request": 4, "start": 1}
    assert report["dropped"] == 9 and report["total"]["requests"] == 4 and report["errors"] == []


@pytest.mark.parametrize("members, outcome", [
    ('"status":"success","http_status":500', "success"), ('"status":"failure"', "failure"), ('"status":"cancelled"', "cancelled"),
    ('"status":"Success","http_status":200', "success"), ('"http_status":399', "success"), ('"http_status":499', "cancelled"),
    ('"http_status":400', "failure"), ('"http_status":599', "failure"), ('"http_status":600', "unknown"), ('"http_status":0', "unknown"),
    ('"http_status":600,"error":{"type":"x"}', "unknown"), ('"error":{"type":"x"}', "failure"), ('"error":{"type":5}', "unknown"),
    ('"status":null,"http_status":"200"', "unknown"), ('"status":"error","http_status":2E2', "success"),
])
def test_15_outcome(members, outcome):
    assert record(f'{{"model":"a",{members}}}').outcome == outcome


def test_15_error_rate(read):
    lines = [b'{"status":"%s"}' % status for status in (b"success",) * 5 + (b"failure",) * 2 + (b"cancelled", b"?")]
    total = read(b"\n".join(lines))["total"]
    assert (total["requests"], total["success"], total["failure"], total["cancelled"], total["unknown"]) == (9, 5, 2, 1, 1)
    assert total["error_rate"] == pytest.approx(2 / 9, abs=1e-9)


def test_16_weirs_line():
    line = ('{"timestamp":"2026-11-24T01:50:23.417Z","level":"INFO","event":"request","request_id":"r","model":"m","provider":"p",'
            '"deployment":"d","upstream_model":"um","call_type":"chat.completions","stream":true,"status":"success","http_status":200,'
            '"latency_ms":912.345,"ttft_ms":301.2,"upstream_ms":912.3,"overhead_ms":0.045,"queue_ms":0.03,"prompt_tokens":412,'
            '"completion_tokens":96,"total_tokens":508,"cached_tokens":128,"reasoning_tokens":64,"tokens_source":"provider",'
            '"tokens_per_second":157.1,"cost_usd":0.0001194,"cache":"hit","attempts":2,"fallback_from":"f","finish_reason":"stop",'
            '"slow":true,"key_alias":"k","key_hash":"h","trace_id":"t","api_base":"b","user":"u","client":"c","user_agent":"a",'
            '"error":{"type":"e","provider_status":503,"message":"em"},"metadata":{"model":"decoy"}}')
    it = record(line)
    assert (it.time_us, it.level, it.event, it.request_id, it.model, it.provider, it.deployment, it.upstream_model) == (
        1_795_485_023_417_000, "INFO", "request", "r", "m", "p", "d", "um")
    assert (it.latency_us, it.ttft_us, it.upstream_us, it.overhead_us, it.queue_us) == (912_345, 301_200, 912_300, 45, 30)
    assert (it.prompt_tokens, it.completion_tokens, it.total_tokens, it.cached_tokens, it.reasoning_tokens) == (412, 96, 508, 128, 64)
    assert (it.rate_hundredths, it.cost_pico, it.attempts) == (15_710, 119_400_000, 2)
    assert (it.call_type, it.stream, it.status, it.http_status, it.tokens_source, it.cache, it.fallback_from, it.finish_reason,
            it.slow) == (
        "chat.completions", True, "success", 200, "provider", "hit", "f", "stop", True)
    assert (it.key_alias, it.key_hash, it.trace_id, it.api_base, it.user, it.client, it.user_agent) == ("k", "h", "t", "b", "u", "c", "a")
    assert (it.error_type, it.error_provider_status, it.error_message) == ("e", 503, "em")


PAYLOAD = {
    "id": "chatcmpl-1", "trace_id": "t", "call_type": "acompletion", "stream": True, "response_cost": 1.286e-05, "status": "success",
    "custom_llm_provider": "openai", "prompt_tokens": 12, "completion_tokens": 41, "total_tokens": 53, "startTime": 1000.25,
    "endTime": 1003.0, "completionStartTime": 1001.0, "response_time": 0.75, "model": "gpt-4o-2024-08-06", "model_id": "d",
    "model_group": "gpt-4o", "api_base": "b", "metadata": {
        "user_api_key_hash": "h", "user_api_key_alias": "clé", "usage_object": {
            "prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 3}}},
    "cache_hit": True, "end_user": "", "requester_ip_address": "c", "user_agent": "a", "error_str": None, "error_information": None,
    "hidden_params": {"litellm_overhead_time_ms": 1.25}}


def payload(**changes):
    return record(json.dumps(PAYLOAD | changes))


def test_17_litellms_payload():
    it = payload()
    assert (it.shape, it.event, it.outcome, it.model, it.upstream_model, it.provider, it.deployment) == (
        "litellm", "request", "success", "gpt-4o", "gpt-4o-2024-08-06", "openai", "d")
    assert (it.time_us, it.latency_us, it.ttft_us, it.overhead_us, it.upstream_us) == (1_003_000_000, 2_750_000, 750_000, 1250, None)
    assert (it.prompt_tokens, it.completion_tokens, it.total_tokens, it.cached_tokens, it.reasoning_tokens) == (12, 41, 53, 8, 3)
    assert (it.cost_pico, it.cache, it.key_alias, it.key_hash, it.request_id, it.trace_id) == (
        12_860_000, "hit", "clé", "h", "chatcmpl-1", "t")
    assert (it.user, it.client, it.user_agent, it.api_base, it.call_type, it.error_type, it.attempts) == (
        None, "c", "a", "b", "acompletion", None, None)


def test_17_what_litellm_may_leave_out():
    assert payload(model_group="").model == payload(model_group=None).model == "gpt-4o-2024-08-06"
    assert payload(custom_llm_provider="").provider is None
    assert payload(cache_hit=False).cache == "miss"
    for cache_hit in (None, "True", 1):
        assert payload(cache_hit=cache_hit).cache is None
    assert payload(upstream_ms=700.25).upstream_us == 700_250
    assert payload(litellm_call_id="call-1").request_id == "call-1"
    assert payload(litellm_call_id="").request_id == payload(litellm_call_id=None).request_id == "chatcmpl-1"
    assert payload(stream=False).ttft_us is None and payload(stream=None).ttft_us is None
    assert payload(endTime="1003").latency_us is None and payload(endTime="1003").time_us == 1_000_250_000
    assert payload(startTime=1003.5).latency_us is None and payload(completionStartTime=1).ttft_us is None
    assert payload(endTime=253402300800).time_us == 1_000_250_000
    assert record('{"startTime":1769939999.1234565,"endTime":1.7699399991234569e9}').latency_us == 0
    assert record('{"startTime":1.0000004,"endTime":2.0000005}').latency_us == 1_000_001
    assert payload(metadata=[1]).key_alias is None


def test_17_litellms_errors():
    told = {"error_code": "429", "error_class": "RateLimitError", "llm_provider": "openai", "error_message": "slow down"}
    it = payload(status="failure", error_information=told, error_str="other")
    assert (it.outcome, it.error_type, it.error_provider_status, it.error_message) == ("failure", "RateLimitError", 429, "slow down")
    assert payload(error_information=told | {"error_message": ""}, error_str="other").error_message == "other"
    assert payload(error_information=told | {"error_code": 503}).error_provider_status == 503
    for code in ("", "42", "4290", "x29", None, True):
        assert payload(error_information=told | {"error_code": code}).error_provider_status is None
    assert payload(status=None, error_information=told).outcome == "failure"
    assert payload(status=None).outcome == payload(status="", error_information=told | {"error_class": ""}).outcome == "unknown"


def test_18_nothing_else_is_derived(read):
    report = read(b'{"model":"a","prompt_tokens":3,"completion_tokens":4,"upstream_ms":5,"overhead_ms":1}')["total"]
    assert (report["total_tokens"], report["attempts"], report["latency_ms"], report["tokens_per_second"]) == (0, 0, None, None)


def test_19_litellms_rate():
    assert payload().rate_hundredths == 2000  # 40 tokens in 2 s
    assert payload(stream=False).rate_hundredths == 1491  # 41 in 2.75 s: 14.909
    assert payload(stream=False, endTime=1003.25, completion_tokens=2).rate_hundredths == 67  # 0.666
    assert payload(completion_tokens=1).rate_hundredths is None and payload(completion_tokens=0).rate_hundredths is None
    assert payload(completionStartTime=1003.0).rate_hundredths is None
    assert payload(completionStartTime=None).rate_hundredths is None


# ---- json_logs ----


def access(message):
    it = record(json.dumps({"message": message, "level": "INFO", "timestamp": "1970-01-01T00:00:01.5"}))
    return (it.event, it.outcome, it.http_status, it.client, it.time_us) if it.event == "request" else it.event


def test_20_access_lines():
    assert access('10.0.0.5:51234 - "POST /chat/completions HTTP/1.1" 200') == ("request", "success", 200, "10.0.0.5", 1_500_000)
    assert access('::1:5 - "POST /v1/messages?beta=true HTTP/2" 429') == ("request", "failure", 429, "::1", 1_500_000)
    assert access('h:1 - "POST /openai/deployments/x/embeddings HTTP/1.0" 499')[1] == "cancelled"
    assert access('h:1 - "POST /v1/completions HTTP/1.1" 500')[1] == "failure"
    assert access('h:1 - "POST /v1/responses HTTP/1.1" 200')[1] == "success"
    for other in ('h:1 - "GET /chat/completions HTTP/1.1" 200', 'h:1 - "POST /key/generate HTTP/1.1" 200',
                  'h:1 - "POST /x?y=/chat/completions HTTP/1.1" 200', ' h:1 - "POST /embeddings HTTP/1.1" 200',
                  'h:1 - "POST /embeddings HTTP/1.1" 200 OK', 'h - "POST /embeddings HTTP/1.1" 200'):
        assert access(other) == "log"
    assert record('{"message":5,"model":"x"}').event == "log"


def test_21_errors_in_json_logs(read):
    def line(trace, level="ERROR"):
        return json.dumps({"message": "it failed", "level": level, "timestamp": "1970-01-01T00:00:01", "stacktrace": trace})
    lines = [line("Traceback:\n  File x\nlitellm.exceptions.Timeout: litellm.Timeout: a.b: c\n \n"), line("KeyError: 'x'", "CRITICAL"),
             line("KeyError"), line("", "ERROR"), line(None), line("no class here: x"), line("KeyError: 1", "WARNING")]
    report = read("\n".join(lines).encode())
    assert {entry["type"]: entry["count"] for entry in report["log_errors"]} == {None: 3, "KeyError": 2, "Timeout": 1}
    assert report["events"] == {"log": 7} and report["total"]["requests"] == 0 and report["errors"] == []


# ---- counting ----


def test_22_filters(read):
    data = b"".join(b'{"model":"%s","timestamp":"1970-01-01T0%d:00:00Z"}\n' % (model, hour)
                    for model, hour in ((b"a", 1), (b"b", 2), (b"a", 3), (b"a", 4))) + b'{"model":"a"}\n'
    data += b'{"message":"m","level":"ERROR","timestamp":"1970-01-01T02:30:00"}\n'
    everything = read(data)
    assert (everything["total"]["requests"], everything["without_time"], everything["left_out"]) == (5, 1, 0)
    some = read(data, since="1970-01-01T02:00:00Z", until="1970-01-01T04:00:00Z")
    assert (some["total"]["requests"], some["without_time"], some["left_out"]) == (2, 0, 3)
    assert [hour["hour"][11:13] for hour in some["hours"]] == ["02", "03"]
    assert (some["lines"], some["events"], some["log_errors"]) == (6, {"log": 1, "request": 5}, [{"type": None, "count": 1}])
    assert read(data, since="1970-01-01T02:30:00.000001Z")["log_errors"] == []
    only_a = read(data, model="a")
    assert only_a["total"]["requests"] == 4 and only_a["log_errors"] == [] and only_a["shapes"] == {"json_logs": 1, "weir": 5}
    with pytest.raises(ValueError):
        read(data, since="yesterday")
    with pytest.raises(ValueError):
        read(data, by=("modell",))


def test_23_groups(read):
    data = ('{"model":"clé","key_alias":"k"}\n{"model":"cl\\u00e9","key_alias":"k"}\n'
            '{"model":""}\n{"model":null}\n{"status":"x"}\n').encode()
    assert [(group["key"]["model"], group["requests"]) for group in read(data)["groups"]] == [(None, 2), ("", 1), ("clé", 2)]
    two = read(data, by=("key_alias", "model"))["groups"]
    assert [(group["key"], group["requests"]) for group in two] == [
        ({"key_alias": None, "model": None}, 2), ({"key_alias": None, "model": ""}, 1), ({"key_alias": "k", "model": "clé"}, 2)]


def test_24_percentiles(read):
    assert [nearest_rank([1], percent) for percent in (50, 99)] == [1, 1]
    assert nearest_rank([1, 2, 3, 4], 50) == 2 and nearest_rank([1, 2, 3], 50) == 2
    hundred = list(range(1, 101))
    assert [nearest_rank(hundred, percent) for percent in (50, 90, 95, 99)] == [50, 90, 95, 99]
    assert nearest_rank(list(range(1, 102)), 99) == 100
    data = b"".join(b'{"latency_ms":%s,"status":"%s"}\n' % pair for pair in (
        (b"3.5", b"failure"), (b"1", b"success"), (b"2.0005", b"cancelled"), (b"null", b"success")))
    assert read(data)["total"]["latency_ms"] == {
        "count": 3, "min": 1.0, "max": 3.5, "mean": 2.167, "p50": 2.001, "p90": 3.5, "p95": 3.5, "p99": 3.5}


def test_25_errors(read):
    def line(status, kind, model, second, code=b"null"):
        return (b'{"status":"%s","error":{"type":"%s","provider_status":%s},"provider":"p","model":"%s",'
                b'"timestamp":"1970-01-01T00:00:%02dZ"}' % (status, kind, code, model, second))
    report = read(b"\n".join([line(b"failure", b"x", b"a", 5, b"429"), line(b"failure", b"x", b"a", 3, b"503"),
                              line(b"failure", b"x", b"b", 1), line(b"cancelled", b"x", b"a", 2), line(b"failure", b"y", b"a", 4, b"429"),
                              b'{"status":"failure","model":"a"}', b'{"event":"attempt","status":"failure","model":"a"}']))
    assert [(error["type"], error["provider"], error["model"], error["count"]) for error in report["errors"]] == [
        (None, None, "a", 1), ("x", "p", "a", 2), ("x", "p", "b", 1), ("y", "p", "a", 1)]
    of_x = report["errors"][1]
    assert of_x["provider_statuses"] == {"429": 1, "503": 1}
    assert (of_x["first"], of_x["last"]) == ("1970-01-01T00:00:03.000000Z", "1970-01-01T00:00:05.000000Z")


def test_26_hours(read):
    line = b'{"model":"a","status":"success","total_tokens":5,"cost_usd":0.5,"timestamp":"1970-01-01T%s"}\n'
    data = b"".join(line % stamp for stamp in (
        b"00:59:59.999999Z", b"01:00:00Z", b"03:30:00+02:00", b"00:00:00Z")) + b'{"model":"a"}\n'
    hours = read(data)["hours"]
    assert [(hour["hour"], hour["requests"], hour["total_tokens"], hour["cost_usd"]) for hour in hours] == [
        ("1970-01-01T00:00:00Z", 2, 10, "1"), ("1970-01-01T01:00:00Z", 2, 10, "1")]


def test_sums_are_exact(read):
    total = read(b'{"model":"a","cost_usd":1e-12,"prompt_tokens":999999999999999,"cache":"hit","attempts":2}\n' * 3
                 + b'{"model":"a","cost_usd":0.1}\n' * 7 + b'{"cache":"miss","model":"a","attempts":1}\n')["total"]
    assert (total["cost_usd"], total["prompt_tokens"], total["cache_hits"], total["attempts"]) == (
        "0.700000000003", 2_999_999_999_999_997, 3, 7)
    assert usd_text(0) == "0" and usd_text(10**12) == "1" and usd_text(119_400_000) == "0.0001194"


def test_stripping_is_not_greedy():
    assert strip_line(b"\0\xef\xbb\xbf{}\n", True) == b"\xef\xbb\xbf{}"
    assert strip_line(b'\xef\xbb\xbf\0{}\r\n', True) == b"{}"


# ---- the generator against the reader ----


def stamp(time_us):
    if time_us is None:
        return None
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time_us // 1_000_000))}.{time_us % 1_000_000:06d}Z"


def compare_group(group, sums):
    plain = ("requests", "success", "failure", "cancelled", "unknown", "prompt_tokens", "completion_tokens", "total_tokens",
             "cached_tokens", "reasoning_tokens", "attempts", "cache_hits")
    assert {name: group[name] for name in plain} == {name: sums[name] for name in plain}
    assert group["cost_usd"] == usd_text(sums["cost_pico"])
    assert (group["first"], group["last"]) == (stamp(sums["first_us"]), stamp(sums["last_us"]))
    for name in ("latency", "ttft"):
        measured, known = group[f"{name}_ms"], sums[f"{name}_us"]
        if known is None:
            assert measured is None
            continue
        for key in ("count", "min", "max", "p50", "p90", "p95", "p99"):
            assert measured[key] == (known[key] if key == "count" else known[key] / 1000)


def compare(report, tally):
    for name in ("lines", "read", "blank", "dropped", "without_time", "shapes", "events"):
        assert report[name] == tally[name], name
    assert broken_lines(report) == tally["broken_lines"]
    groups = {group["key"]["model"]: group for group in report["groups"]}
    assert set(groups) == {model for model, _ in tally["models"]}
    for model, sums in tally["models"]:
        compare_group(groups[model], sums)
    assert {(error["type"], error["provider"], error["model"]): error["count"] for error in report["errors"]} == {
        (kind, provider, model): count for kind, provider, model, count in tally["errors"]}
    assert {entry["type"]: entry["count"] for entry in report["log_errors"]} == dict(tally["log_errors"])
    assert [(hour["hour"], hour["requests"]) for hour in report["hours"]] == [
        (time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(second)), count) for second, count in tally["hours"]]


@pytest.mark.parametrize("traps", [False, True], ids=["plain", "traps"])
@pytest.mark.parametrize("shape", ["weir", "litellm", "json_logs"])
def test_the_reader_finds_what_the_generator_wrote(tmp_path, shape, traps):
    path = tmp_path / "log"
    tally = write(path, shape=shape, lines=3000, seed=7, traps=traps)
    assert tally.lines == 3000 and tally.bytes == path.stat().st_size
    if traps:
        assert set(tally.traps) == {trap.__name__ for trap, _, _ in TRAPS} and tally.broken and tally.blank
    else:
        assert tally.read == 3000
    compare(analyze([path]), tally.as_dict())


@pytest.mark.parametrize("shape", ["weir", "litellm"])
def test_rare_traps_at_other_seeds(tmp_path, shape):
    for seed in range(3):
        tally = write(tmp_path / "log", shape=shape, lines=1500, seed=seed, traps=True)
        compare(analyze([tmp_path / "log"]), tally.as_dict())


def test_local_stamps_of_json_logs(tmp_path, monkeypatch):
    set_zone(monkeypatch, "XYZ-5:30")
    tally = write(tmp_path / "log", shape="json_logs", lines=500, seed=1, traps=True)
    compare(analyze([tmp_path / "log"]), tally.as_dict())


def test_same_seed_same_bytes():
    def made(**options):
        return b"".join(Generator(lines=400, **options).chunks())
    assert made(seed=5, traps=True) == made(seed=5, traps=True) != made(seed=6, traps=True)
    assert made(shape="litellm") == made(shape="litellm") != made(shape="json_logs")


def test_the_commands(tmp_path):
    def run(program, *options):
        path = pathlib.Path(__file__).with_name(program)
        return subprocess.run([sys.executable, "-B", path, *options], capture_output=True, check=False, text=True)

    log, tally = tmp_path / "log", tmp_path / "tally"
    assert run("generate.py", "--shape", "weir", "--lines", "200", "--seed", "4", "--start", "2026-01-01T00:00:00Z", "--span", "7200",
               "-o", log, "--tally", tally).returncode == 0
    report = json.loads(run("analyze.py", log, "--by", "model").stdout)
    compare(report, json.loads(tally.read_text()))
    assert report["total"]["first"] >= "2026-01-01T00" and report["total"]["last"] < "2026-01-01T03"
    later = json.loads(run("analyze.py", log, "--since", "2026-01-01T01:00:00Z", "--by", "key_alias,hour").stdout)
    assert 0 < later["total"]["requests"] == sum(group["requests"] for group in later["groups"]) < report["total"]["requests"]
    assert run("generate.py", "--bytes", "50000", "-o", log).returncode == 0 and 50_000 <= log.stat().st_size < 55_000
    assert run("generate.py").returncode == 2 and run("analyze.py", log, "--since", "noon").returncode == 2


def test_every_variant_has_its_place(tmp_path):
    generator = Generator(lines=2000, seed=3, traps=True)
    data = b"".join(generator.chunks())
    assert not generator.waiting_traps and len(schedule()) > 180
    assert data.startswith(b"\xef\xbb\xbf{") and not data.endswith(b"\n") and data.count(b"\n") == 1999


ORDER = ["timestamp", "level", "event", "request_id", "model", "provider", "deployment", "upstream_model", "call_type", "stream",
         "status", "http_status", "latency_ms", "ttft_ms", "upstream_ms", "overhead_ms", "queue_ms", "prompt_tokens",
         "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens", "tokens_source", "tokens_per_second",
         "cost_usd", "cache", "attempts", "fallback_from", "finish_reason", "slow", "key_alias", "key_hash", "trace_id", "api_base",
         "engine", "user", "client", "user_agent", "dropped", "error", "metadata", "request", "response"]


def test_weirs_lines_are_as_record_c_writes_them():
    lines = b"".join(Generator(lines=4000, seed=2).chunks()).splitlines()
    seen, aliases = set(), set()
    for text in lines:
        line = json.loads(text)
        assert list(line) == sorted(line, key=ORDER.index)
        assert b"null" not in text.replace(b'"param\\":null', b"") and b'": ' not in text.partition(b'"user_agent"')[0]
        seen |= set(line)
        aliases.add(line.get("key_alias"))
        if line["event"] == "request" and "upstream_ms" in line:
            assert line["latency_ms"] == pytest.approx(line["upstream_ms"] + line["overhead_ms"], abs=1e-6)
            assert line["queue_ms"] <= line["overhead_ms"] and line.get("ttft_ms", 0) <= line["latency_ms"]
    assert set(ORDER) - seen <= {"response", "dropped"} and len(aliases - {None}) == 40
