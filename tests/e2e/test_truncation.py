"""A truncated answer is never passed off as success: not to the client, not in the log, not in the metrics."""
import json

import pytest
from harness import config, delta, model

FRAME = f"data: {json.dumps(delta('Hello'))}\n\n"


def cut_before_the_end(c):
    c.asked()
    c.begin_stream()
    c.send_chunk(FRAME)


def cut_inside_a_chunk(c):
    c.asked()
    c.begin_stream()
    c.send(f"{len(FRAME):x}\r\n{FRAME[:20]}")


def cut_inside_a_later_chunk(c):
    c.asked()
    c.begin_stream()
    c.send_chunk(FRAME)
    c.send(f"{len(FRAME):x}\r\n{FRAME[:20]}")


def ends_without_done(c):
    c.asked()
    c.begin_stream()
    c.send_chunk(FRAME)
    c.end_stream()


def closes_an_unframed_stream(c):
    c.asked()
    c.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + FRAME)


@pytest.mark.parametrize("asks_usage", [False, True])
def test_a_stream_cut_in_its_first_event_is_a_clean_502(weir, upstream, asks_usage):
    w = weir(config(model("m", upstream(cut_inside_a_chunk).base)))
    more = {"stream_options": {"include_usage": True}} if asks_usage else {}
    answer = w.chat("m", stream=True, **more)
    assert answer.status == 502 and answer.error["code"] == "502"
    record = w.record()
    assert (record["status"], record["error"]["type"]) == ("failure", "upstream_truncated")


@pytest.mark.parametrize("script", [cut_before_the_end, cut_inside_a_later_chunk, ends_without_done, closes_an_unframed_stream],
                         ids=lambda s: s.__name__)
@pytest.mark.parametrize("asks_usage", [False, True])
def test_streams(weir, upstream, script, asks_usage):
    w = weir(config(model("m", upstream(script).base)))
    more = {"stream_options": {"include_usage": True}} if asks_usage else {}
    answer = w.chat("m", stream=True, **more)
    assert answer.status == 200
    assert not answer.complete, "the terminating chunk must not come"
    assert "[DONE]" not in answer.events
    last = json.loads(answer.events[-1])
    assert last["error"]["code"] == "502"
    record = w.record()
    assert record["status"] == "failure"
    assert record["error"]["type"] == "upstream_truncated"
    metrics = w.metrics()
    assert metrics.total("litellm_requests_total", status="success") == 0
    assert metrics.total("litellm_requests_total", status="failure") == 1


@pytest.mark.parametrize("sent", [0, 10, 60_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_small_plain_answers_become_a_clean_502(weir, upstream, sent, chunked):
    def script(c):
        c.asked()
        if chunked:
            c.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            if sent:
                c.send_chunk(b"{" + b" " * (sent - 1))
        else:
            c.send(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {sent + 5}\r\n\r\n" + " " * sent)

    w = weir(config(model("m", upstream(script).base)))
    answer = w.chat("m")
    assert answer.status == 502 and answer.error["code"] == "502"
    record = w.record()
    assert (record["status"], record["error"]["type"]) == ("failure", "upstream_truncated")


def test_large_plain_answers_are_cut_visibly(weir, upstream):
    def script(c):
        c.asked()
        c.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500000\r\n\r\n" + " " * 400_000)

    w = weir(config(model("m", upstream(script).base)))
    answer = w.chat("m")
    assert answer.status == 200 and not answer.complete
    assert w.record()["error"]["type"] == "upstream_truncated"


def test_the_simulator_cuts_a_stream(gateway):
    answer = gateway.chat("sim-fast", {"x-mock-cut-after": "5"}, stream=True)
    assert not answer.complete and "[DONE]" not in answer.text
    record = gateway.record()
    assert record["status"] == "failure"
    assert record["completion_tokens"] == 5 and record["tokens_source"] == "estimated"
