"""Event streams under attack: cut anywhere, ended anyhow, larger than anything, packed, or asked for in odd ways."""
import gzip
import json

import pytest
from harness import chat_body, config, delta, model, usage_event, wait_for

HEAD = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
FRAMES = [f"data: {json.dumps(delta('Hel'))}\n\n", f"data: {json.dumps(delta('lo', 'stop'))}\n\n"]
USAGE = f"data: {json.dumps(usage_event())}\n\n"
ASKED = {"stream_options": {"include_usage": True}}


def sends(c, data, cuts=(), framing="chunked"):
    """The stream in pieces, each a chunk and a write of its own."""
    data = data.encode() if isinstance(data, str) else data
    c.asked()
    chunked = framing == "chunked"
    c.send(HEAD + ("transfer-encoding: chunked\r\n\r\n" if chunked else "connection: close\r\n\r\n"))
    edges = [0, *cuts, len(data)]
    for start, end in zip(edges, edges[1:]):
        if end > start:
            (c.send_chunk if chunked else c.send)(data[start:end])
    if chunked:
        c.end_stream()
    else:
        c.close()


@pytest.mark.parametrize("asks", [{}, ASKED], ids=["hidden", "asked"])
@pytest.mark.parametrize("end", ["data: [DONE]\n\n", "data: [DONE]\n", "data: [DONE]", "data: [DONE]\r\n\r\n", "data: [DONE]\r\r"])
@pytest.mark.parametrize("cut", [None, 1, 7, 12])
def test_the_end_comes_once(weir, upstream, asks, end, cut):
    """Whether or not the last event has its empty line, and wherever it was cut."""
    body = "".join(FRAMES) + USAGE + end
    w = weir(config(model("m", upstream(lambda c: sends(c, body, [len(body) - cut] if cut else [])).base)))
    answer = w.chat("m", stream=True, **asks)
    assert answer.complete
    assert answer.text == (body if asks else body.replace(USAGE, ""))
    record = w.record()
    assert (record["status"], record["prompt_tokens"], record["tokens_source"]) == ("success", 9, "provider")


def test_a_usage_event_without_its_empty_line_is_hidden_too(weir, upstream):
    body = "".join(FRAMES) + "data: [DONE]\n\n" + USAGE.rstrip()
    w = weir(config(model("m", upstream(lambda c: sends(c, body)).base)))
    answer = w.chat("m", stream=True)
    assert answer.complete and "usage" not in answer.text
    assert w.record()["total_tokens"] == 11


@pytest.mark.parametrize("asks", [{}, ASKED], ids=["hidden", "asked"])
@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_cut_at_every_byte(weir, upstream, asks, framing):
    """A stream that stops anywhere before [DONE] is complete is a failure, to the client and in the log."""
    body = FRAMES[0] + "data: [DONE]\n\n"
    done_at = body.index("[DONE]") + len("[DONE]")
    cuts = list(range(0, len(body)))

    def script(c):
        at = cuts[len(served)]
        served.append(at)
        sends(c, body[:at], framing=framing)
        c.close()

    served = []
    w = weir(config(model("m", upstream(script).base)))
    for at in cuts:
        answer = w.chat("m", stream=True, **asks)
        if answer.status == 502:  # nothing of the first event had been passed on
            assert at < len(FRAMES[0]) and answer.error["code"] == "502"
            continue
        assert answer.complete == (at >= done_at), body[:at]
        if at < done_at:
            assert "[DONE]" not in answer.events
            assert json.loads(answer.text.split("data: ")[-1])["error"]["code"] == "502"
    good = sum(at >= done_at for at in cuts)
    assert sum(r["status"] == "success" for r in w.requests(len(cuts))) == good
    metrics = w.metrics()
    assert metrics.total("litellm_requests_total", status="success") == good
    assert metrics.total("litellm_requests_total", status="failure") == len(cuts) - good


@pytest.mark.parametrize("framing, complete", [("chunked", True), ("close", False)])
def test_a_finish_without_done_needs_framing(weir, upstream, framing, complete):
    """With several choices, the first one's finish_reason is not the end: only framing proves that it is."""
    w = weir(config(model("m", upstream(lambda c: sends(c, "".join(FRAMES), framing=framing)).base)))
    assert w.chat("m", stream=True).complete == complete
    assert w.record()["status"] == ("success" if complete else "failure")


EVENT_SHAPES = {
    "crlf": "data: {}\r\n\r\n", "cr": "data: {}\r\r", "comment": ": keep-alive\n\ndata: {}\n\n",
    "named": "event: x\nid: 7\nretry: 10\ndata: {}\n\n", "lines": "data: {\ndata: }\n\n",
    "bom": "\ufeffdata: {}\n\n", "empty": "\n\n\ndata: {}\n\n", "no blank": "data:{}\n\n", "not json": "data: hello\n\n",
    "unicode": 'data: {"x":"\u20ac\U0001f600"}\n\n',
}


@pytest.mark.parametrize("asks", [{}, ASKED], ids=["hidden", "asked"])
def test_every_shape_cut_at_every_byte(weir, upstream, asks):
    """Byte for byte, wherever the pieces end."""
    served = []
    todo = []
    for shape in EVENT_SHAPES.values():
        data = (shape + "".join(FRAMES) + "data: [DONE]\n\n").encode()
        todo += [(data, [at]) for at in range(1, len(shape.encode()) + 3)]

    def script(c):
        data, cuts = todo[len(served)]
        served.append(1)
        sends(c, data, cuts)

    w = weir(config(model("m", upstream(script).base)))
    for data, cuts in todo:
        answer = w.chat("m", stream=True, **asks)
        assert answer.complete and answer.body == data, (data[:60], cuts)


def test_usage_in_an_event_with_choices_is_kept(weir, upstream):
    last = delta("", "stop", usage=usage_event()["usage"])
    w = weir(config(model("m", upstream(lambda c: (c.asked(), c.stream(delta("Hi"), last, "[DONE]"))).base)))
    answer = w.chat("m", stream=True)
    assert json.loads(answer.events[1])["usage"]["total_tokens"] == 11
    assert w.record()["completion_tokens"] == 2


@pytest.mark.parametrize("options, sent", [
    ('5', '5'), ('"x"', '"x"'), ('[]', '[]'), ('true', 'true'),
    ('null', '{"include_usage":true}'), ('{ }', '{"include_usage":true }'),
    ('{"include_usage":null}', '{"include_usage":true}'), ('{"include_usage":"no","a":{"b":[1]}}', '{"include_usage":true,"a":{"b":[1]}}'),
    ('{"include_usage":true}', '{"include_usage":true}'),
])
def test_odd_stream_options(weir, upstream, options, sent):
    """What is no object is the upstream's to refuse."""
    u = upstream(lambda c: (c.asked(), c.stream(delta("Hi", "stop"), "[DONE]")))
    w = weir(config(model("m", u.base)))
    body = f' \r\n{{ "model" : "m", "stream":true, "stream_options": {options} }} '
    w.post("/v1/chat/completions", body.encode())
    assert u.requests[0].body.decode() == body.replace(options, sent)


def test_huge_events(weir, upstream):
    """Nothing is lost where nothing is hidden; else a clean error, for an event of that size cannot be looked at."""
    big = f"data: {json.dumps(delta('x' * 3_000_000))}\n\n"
    body = big + FRAMES[1] + "data: [DONE]\n\n"
    w = weir(config(model("m", upstream(lambda c: sends(c, body)).base)))
    asked = w.chat("m", stream=True, **ASKED)
    assert asked.complete and asked.text == body
    hidden = w.chat("m", stream=True)
    assert not hidden.complete and "[DONE]" not in hidden.text
    assert json.loads(hidden.events[-1])["error"]["code"] == "502"
    assert sorted(r["status"] for r in w.requests(2)) == ["failure", "success"]


def test_an_event_without_end_does_not_grow(weir, upstream):
    """Given up at a mebibyte, not at the event's end, which may never come."""
    gone = []

    def script(c):
        c.asked()
        c.begin_stream()
        try:
            for _ in range(10_000):
                c.send_chunk(b"data: " + b"x" * 65536)
        except OSError:
            gone.append(1)

    w = weir(config(model("m", upstream(script).base)))
    answer = w.chat("m", stream=True)
    assert not answer.complete and json.loads(answer.events[-1])["error"]["code"] == "502"
    wait_for(lambda: gone)


@pytest.mark.parametrize("stream", [False, True])
def test_packed_although_not_asked_for(weir, upstream, stream):
    """The bytes and their Content-Encoding are passed on together."""
    plain = ("".join(FRAMES) + USAGE + "data: [DONE]\n\n").encode() if stream else json.dumps({"choices": []}).encode()
    packed = gzip.compress(plain)
    kind = "text/event-stream" if stream else "application/json"
    u = upstream(lambda c: (c.asked(), c.reply(packed, headers={"content-type": kind, "content-encoding": "gzip"})))
    w = weir(config(model("m", u.base)))
    answer = w.chat("m", stream=stream)
    assert answer.complete and answer["content-encoding"] == "gzip" and answer.body == packed
    assert u.requests[0].headers["accept-encoding"] == "identity"
    assert w.record()["status"] == "success"


def test_an_error_after_half_an_event_stands_alone(weir, upstream):
    def script(c):
        c.asked()
        c.begin_stream()
        c.send_chunk(FRAMES[0] + 'data: {"half')

    w = weir(config(model("m", upstream(script).base)))
    answer = w.chat("m", stream=True, **ASKED)
    assert not answer.complete
    assert json.loads(answer.text.split("\n\n")[-2][len("data: "):])["error"]["code"] == "502"


@pytest.mark.heavy
def test_the_same_finish_in_every_event_does_not_grow(weir, upstream):
    """Some upstreams say finish_reason (or an error) in each of very many events."""
    event = f"data: {json.dumps(delta('a', 'stop'))}\n\n"

    def script(c):
        c.asked()
        c.begin_stream()
        for _ in range(200):
            c.send_chunk(event * 1000)
        c.send_chunk("data: [DONE]\n\n")
        c.end_stream()

    w = weir(config(model("m", upstream(script).base), weir_settings={"workers": 1}))
    w.chat("m", stream=True, **ASKED)
    before = w.rss_bytes()
    answer = w.chat("m", stream=True, **ASKED)
    assert answer.complete and len(answer.body) > 200_000 * len(event)
    assert w.rss_bytes() - before < 12_000_000
    assert w.requests(2)[1]["finish_reason"] == "stop"


def test_a_stream_of_another_type_is_not_held(weir, upstream):
    def script(c):
        c.asked()
        c.send("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")
        c.send_chunk('{"a":1}\n')
        c.until(b"never")

    w = weir(config(model("m", upstream(script).base)))
    with w.connect() as client:
        body = json.dumps(chat_body("m", stream=True)).encode()
        client.send(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n", body)
        assert client.head()[0] == 200
        assert client.chunk() == b'{"a":1}\n'
    assert w.record()["status"] == "cancelled"
