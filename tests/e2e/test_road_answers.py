"""Plain answers and requests under attack: framing by the end of the connection, odd statuses, odd names, odd headers."""
import json

import pytest
from harness import COMPLETION, chat_body, config, model, request, wait_for

CLOSE = "HTTP/1.1 {} OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"


def test_json_that_ends_with_the_connection_at_every_byte(weir, upstream):
    """Without a length or chunks only the JSON itself can tell whether the answer is whole."""
    whole = json.dumps(COMPLETION)
    cuts = list(range(len(whole) + 1))
    served = []

    def script(c):
        c.asked()
        at = cuts[len(served)]
        served.append(at)
        c.send(CLOSE.format(200) + whole[:at])
        c.close()

    w = weir(config(model("m", upstream(script).base)))
    for at in cuts:
        answer = w.chat("m")
        assert answer.status == (200 if at == len(whole) else 502), at
    records = w.requests(len(cuts))
    assert sum(r["status"] == "success" for r in records) == 1
    assert {r["error"]["type"] for r in records if "error" in r} == {"upstream_truncated"}


def test_large_json_that_ends_with_the_connection(weir, upstream):
    text = json.dumps({"x": "y" * 300_000})

    def script(c):
        c.asked()
        c.send(CLOSE.format(200) + (text if len(u.requests) == 1 else text[:-1]))
        c.close()

    u = upstream(script)
    w = weir(config(model("m", u.base)))
    assert w.chat("m").complete
    assert not w.chat("m").complete
    assert sorted(r["status"] for r in w.requests(2)) == ["failure", "success"]


def test_an_error_in_a_good_status_is_a_failure(weir, upstream):
    u = upstream(lambda c: (c.asked(), c.reply({"error": {"message": "no \u20ac left " + "x" * 200, "type": "quota"}})))
    w = weir(config(model("m", u.base)))
    answer = w.chat("m")
    assert answer.status == 502 and answer.error["type"] == "quota"
    record = w.record()
    assert (record["status"], record["error"]["type"]) == ("failure", "upstream_error")
    assert record["error"]["message"] == "no \u20ac left " + "x" * 200


@pytest.mark.parametrize("status", [204, 304, 302, 101, 199])
def test_statuses_that_are_no_answers(weir, upstream, status):
    def script(c):
        c.asked()
        c.send(f"HTTP/1.1 {status} Odd\r\nlocation: http://127.0.0.1:1/\r\n\r\n")
        wait_for(lambda: c.is_closed() if status != 204 else True)

    w = weir(config(model("m", upstream(script).base, timeout=1)))
    answer = w.chat("m")
    assert answer.status == (204 if status == 204 else 408 if status == 199 else 502)
    assert w.record()["http_status"] == answer.status


NAMES = ['a"b\\c', "\u20ac/\U0001f600", "tab\there", "x" * 250, "with space", "\u0001"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_wildcards_model_needs_escaping(weir, upstream, name):
    u = upstream(lambda c: (c.asked(), c.reply(COMPLETION)))
    w = weir(config(model("any/*", u.base, "openai/*")))
    assert w.chat("any/" + name, seed=1).status == 200
    assert u.requests[0].json["model"] == name
    assert w.record()["model"] == "any/" + name


def test_a_name_longer_than_any_is_refused_not_shortened(weir, upstream):
    u = upstream(lambda c: (c.asked(), c.reply(COMPLETION)))
    w = weir(config(model("any/*", u.base, "openai/*")))
    answer = w.chat("any/" + "x" * 300)
    assert answer.status == 400 and answer.error["param"] == "model" and not u.requests


@pytest.mark.parametrize("body", [
    b'[{"model":"m"}]', b'\xef\xbb\xbf{"model":"m"}', b'{"model":"m","model":"m"}', b'{"a":{"model":"m"}}', b'{"model":["m"]}',
    b'{"model":"m"}x', b'{"model":"m\xff"}', b'', b'"m"', b'{"model":""}',
])
def test_bodies_with_no_model_to_be_had(weir, upstream, body):
    u = upstream(lambda c: (c.asked(), c.reply(COMPLETION)))
    w = weir(config(model("m", u.base)))
    assert w.post("/v1/chat/completions", body).status == 400
    record = w.record()
    assert (record["status"], record["http_status"]) == ("failure", 400) and not u.requests


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/metrics", "/v1/models", "/health/liveness", "/nowhere", "/"])
@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
def test_a_preflight_of_any_length(gateway, path, method):
    """A list of header names that is sent back must not be longer than what it is put into."""
    for size in (10, 500, 1024, 1025, 3000, 20_000):
        answer = gateway.ask(method, path, headers={"origin": "https://a.test", "access-control-request-method": "POST",
                                                    "access-control-request-headers": "x" * size})
        assert answer.status in (200, 204, 404, 405)
        assert answer["access-control-allow-origin"] == "*"
        if method == "OPTIONS":
            assert answer["access-control-allow-headers"] == ("x" * size if size <= 1024 else "*")


@pytest.mark.parametrize("method, path, allow", [
    ("GET", "/v1/chat/completions", "POST, OPTIONS"), ("POST", "/v1/models", "GET, HEAD, OPTIONS"), ("POST", "/", "GET, HEAD, OPTIONS")])
def test_405_says_what_is_allowed_and_the_connection_lives(gateway, method, path, allow):
    with gateway.connect() as client:
        for _ in range(2):
            client.send(request(method, path, b"{}" if method == "POST" else b"", {"origin": "https://a.test"}))
            answer = client.answer()
            assert answer.status == 405 and answer["allow"] == allow and answer["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("given", ["00-{0}-{1}-zz", "00-{0}-{1}-0G", "zz-{0}-{1}-01", "00-{0}-{1}-01-x", "ff-{0}-{1}-01", "00-{2}-{1}-01",
                                   "00-{0}-{1}", "00-{0}-{1}-01 x"])
def test_a_traceparent_that_is_none(weir, upstream, given):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    u = upstream(lambda c: (c.asked(), c.reply(COMPLETION)))
    w = weir(config(model("m", u.base)))
    w.chat("m", {"traceparent": given.format(trace, "00f067aa0ba902b7", "0" * 32), "tracestate": "a=b"})
    assert trace not in u.requests[0].headers["traceparent"]
    assert "tracestate" not in u.requests[0].headers


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Basic ", ""])
def test_schemes_in_any_case(weir, mock, scheme):
    w = weir(config(model("sim-fast", mock.base), general_settings={"master_key": "sk-road"}))
    assert w.chat("sim-fast", {"authorization": scheme + "sk-road"}).status == 200
    assert w.chat("sim-fast", {"authorization": scheme + "sk-roax"}).status == 401
    assert "sk-roa" not in w.log_path.read_text()


def test_early_answer_to_a_large_request(weir, upstream):
    """An upstream that refuses before it read the body: its answer arrives, and the body's memory stays until it is not needed."""
    def script(c):
        c.until(b"\r\n\r\n")
        c.reply({"error": {"message": "too large"}}, "413 Payload Too Large", {"connection": "close"})
        c.rest()

    w = weir(config(model("m", upstream(script).base)))
    for _ in range(3):
        answer = w.post("/v1/chat/completions", chat_body("m", "x" * 8_000_000))
        assert answer.status in (413, 502)
    assert len(w.requests(3)) == 3


def test_secrets_are_nowhere(weir, mock):
    entry = model("sim-fast", mock.base, extra_headers={"x-secret": "sk-extra"})
    w = weir(config(entry, general_settings={"master_key": "sk-master"}))
    auth = {"authorization": "Bearer sk-master"}
    w.chat("sim-fast", auth)
    w.chat("nope", auth)
    w.chat("sim-fast", {"authorization": "Bearer sk-stranger"})
    pages = [w.get(p, auth).text for p in ("/model/info", "/v1/model/info", "/health", "/api/v1/status", "/api/v1/requests", "/metrics", "/")]
    seen = "".join(pages) + w.log_path.read_text() + w.said()
    for secret in ("sk-master", "sk-upstream", "sk-extra", "sk-stranger"):
        assert secret not in seen


def test_health_names_a_dialect_that_is_not_spoken(weir, mock):
    w = weir(config(model("sim-fast", mock.base), model("claude", "http://127.0.0.1:1", "anthropic/claude")))
    health = w.get("/health").json
    assert (health["healthy_count"], health["unhealthy_count"]) == (1, 1)
    assert "dialect" in health["unhealthy_endpoints"][0]["error"]
