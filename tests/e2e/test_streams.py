"""Event streams: every frame goes out when it came in, unchanged; usage is asked for, and hidden from who did not ask."""
import json
import threading
import time

import pytest
from harness import chat_body, config, delta, forever, model, request, usage_event

EVENTS = [delta("Hello"), delta(" there"), delta(finish="stop"), usage_event(), "[DONE]"]


def test_include_usage_is_spliced_in_and_its_event_hidden(weir, upstream):
    up = upstream(forever(lambda c, q: c.stream(*EVENTS)))
    w = weir(config(model("m", up.base)))
    body = b'{"model":"m","messages":[],"stream":true}'
    answer = w.post("/v1/chat/completions", body)
    assert up.requests[0].json == {**json.loads(body), "stream_options": {"include_usage": True}}
    assert [e if e == "[DONE]" else json.loads(e) for e in answer.events] == EVENTS[:3] + ["[DONE]"]
    record = w.record()
    assert (record["prompt_tokens"], record["completion_tokens"], record["tokens_source"]) == (9, 2, "provider")


def test_usage_that_was_asked_for_is_passed_on(weir, upstream):
    up = upstream(forever(lambda c, q: c.stream(*EVENTS)))
    w = weir(config(model("m", up.base)))
    body = b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}'
    answer = w.post("/v1/chat/completions", body)
    assert up.requests[0].body == body
    assert json.loads(answer.events[3]) == EVENTS[3]
    assert w.record()["total_tokens"] == 11


@pytest.mark.parametrize("given, sent", [
    ('{}', '{"include_usage":true}'),
    ('{"include_usage":false}', '{"include_usage":true}'),
    ('{ "x" : 1 }', '{"include_usage":true, "x" : 1 }'),
    ('null', '{"include_usage":true}'),
])
def test_stream_options_are_kept(weir, upstream, given, sent):
    up = upstream(forever(lambda c, q: c.stream(*EVENTS)))
    w = weir(config(model("m", up.base)))
    body = '{"model":"m","stream_options":%s,"messages":[],"stream":true}'
    w.post("/v1/chat/completions", (body % given).encode())
    assert up.requests[0].body.decode() == body % sent


def test_frames_are_not_buffered(weir, upstream):
    step = threading.Semaphore(0)

    def script(c):
        c.asked()
        c.begin_stream()
        for text in "abcd":
            c.send_chunk(f"data: {json.dumps(delta(text))}\n\n")
            assert step.acquire(timeout=10)  # the next one only when the client has this one
        c.send_chunk(f"data: {json.dumps(delta(finish='stop'))}\n\ndata: [DONE]\n\n")
        c.end_stream()

    w = weir(config(model("m", upstream(script).base)))
    with w.connect() as client:
        client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m", stream=True)).encode()))
        status, fields = client.head()
        assert status == 200 and fields["content-type"].startswith("text/event-stream")
        for text in "abcd":
            frame = client.until(b"\n\n")
            assert f'"content": "{text}"'.encode() in frame
            step.release()
        assert b"[DONE]" in client.until(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
def test_frames_cut_anywhere_arrive_as_they_were(weir, upstream, cut):
    text = "".join(f"data: {e if isinstance(e, str) else json.dumps(e)}\r\n\r\n" for e in EVENTS) .encode()
    text = b": a comment\r\n\r\n" + text

    def script(c):
        c.asked()
        c.begin_stream()
        for at in range(0, len(text), cut):
            c.send_chunk(text[at:at + cut])
        c.end_stream()

    w = weir(config(model("m", upstream(script).base)))
    asked = w.chat("m", stream=True, stream_options={"include_usage": True})
    assert asked.body == text
    not_asked = w.chat("m", stream=True)
    hidden = f"data: {json.dumps(EVENTS[3])}\r\n\r\n".encode()
    assert not_asked.body == text.replace(hidden, b"")
    assert [r["total_tokens"] for r in w.requests(2)] == [11, 11]


def test_time_to_first_token_is_measured(weir, upstream):
    def script(c):
        c.asked()
        c.begin_stream()
        c.send_chunk(f"data: {json.dumps(delta(''))}\n\n")  # the role only: no token yet
        time.sleep(0.15)
        c.send_chunk(f"data: {json.dumps(delta('now'))}\n\n")
        time.sleep(0.1)
        c.send_chunk(f"data: {json.dumps(delta(' end'))}\n\ndata: {json.dumps(delta(finish='stop'))}\n\ndata: [DONE]\n\n")
        c.end_stream()

    w = weir(config(model("m", upstream(script).base)))
    assert w.chat("m", stream=True).complete
    record = w.record()
    assert record["stream"] is True
    assert record["ttft_ms"] >= 150
    assert record["latency_ms"] >= record["ttft_ms"] + 50  # 100, but for a busy machine that sees the first token late
    assert record["tokens_source"] == "estimated" and record["completion_tokens"] == 2


def test_mocks_stream_equals_direct(gateway, mock):
    from harness import Raw
    body = json.dumps(chat_body("sim-fast", "the same words", stream=True, stream_options={"include_usage": True})).encode()
    with Raw("127.0.0.1", mock.port) as client:
        client.send(request("POST", "/v1/chat/completions", body))
        direct = client.answer()
    through = gateway.post("/v1/chat/completions", body)

    def words(answer):
        return ["".join(c["delta"].get("content") or "" for c in json.loads(e)["choices"]) for e in answer.events[:-1]]

    assert words(through) == words(direct) and through.events[-1] == "[DONE]"
    assert json.loads(through.events[-2])["usage"] == json.loads(direct.events[-2])["usage"]


def test_many_streams_at_once(gateway):
    results = []

    def one(i):
        answer = gateway.chat("sim-fast", {"x-mock-tokens": "50", "x-mock-tokens-per-second": "200"}, f"number {i}", stream=True)
        results.append((answer.complete, len(answer.events)))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(40)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 40 and len(set(results)) == 1 and results[0][0]
    assert {r["completion_tokens"] for r in gateway.requests(40)} == {50}


def test_a_usage_event_with_an_empty_choice_is_hidden_too(weir, upstream):
    """LiteLLM as the upstream: its usage event carries a choice with an empty delta behind the one that finished."""
    def script(c):
        c.asked()
        c.begin_stream()
        c.send_chunk('data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n')
        c.send_chunk('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
        c.send_chunk('data: {"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}\n\n')
        c.send_chunk("data: [DONE]\n\n")
        c.end_stream()

    w = weir(config(model("m", upstream(script).base)))
    answer = w.chat("m", stream=True)
    assert "usage" not in answer.text and answer.text.rstrip().endswith("[DONE]")
    assert w.requests(1)[0]["prompt_tokens"] == 5
