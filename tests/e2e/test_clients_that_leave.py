"""A client that leaves stops its upstream at once, and the record says so; one that is slow stops the reading."""
import json
import threading
import time

import pytest
from harness import Closed, chat_body, config, delta, model, request, wait_for


class Endless:
    """An upstream that streams until it is cut off, and remembers when that was."""

    def __init__(self, pause_s=0.01, frame_bytes=0):
        self.pause_s, self.frame_bytes = pause_s, frame_bytes
        self.ended, self.sent_bytes = threading.Event(), 0

    def __call__(self, c):
        c.asked()
        frame = f"data: {json.dumps(delta('x' + 'y' * self.frame_bytes))}\n\n"
        try:
            c.begin_stream()
            while True:
                c.send_chunk(frame)
                self.sent_bytes += len(frame)
                time.sleep(self.pause_s)
        except (OSError, Closed):
            self.ended.set()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_leaving_a_stream(weir, upstream, how):
    up = Endless()
    w = weir(config(model("m", upstream(up).base)))
    client = w.connect()
    client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m", stream=True)).encode()))
    client.head()
    for _ in range(5):
        client.until(b"\n\n")
    getattr(client, how)()
    assert up.ended.wait(3), "the upstream was not stopped"
    record = w.record()
    assert (record["status"], record["http_status"], record["level"]) == ("cancelled", 499, "WARNING")
    assert record["error"]["type"] == "client_gone"
    assert record["completion_tokens"] >= 5 and record["tokens_source"] == "estimated"
    metrics = w.metrics()
    assert metrics.total("litellm_requests_total", status="cancelled") == 1
    assert metrics.total("weir_open_streams") == 0 and metrics.total("litellm_in_flight_requests") == 0


def test_leaving_before_the_answer_begins(weir, upstream):
    gone = threading.Event()

    def script(c):
        c.asked()
        c.rest()
        gone.set()

    w = weir(config(model("m", upstream(script).base)))
    client = w.connect()
    client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m")).encode()))
    time.sleep(0.1)
    client.close()
    assert gone.wait(3)
    assert w.record()["status"] == "cancelled"


def test_leaving_in_the_middle_of_a_request_is_no_request(weir, mock):
    w = weir(config(model("sim-fast", mock.base)))
    client = w.connect()
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"model\"")
    client.close()
    assert w.chat().status == 200
    assert w.record()["status"] == "success"  # the only one


@pytest.mark.heavy
def test_a_slow_client_stops_the_reading(weir, upstream):
    up = Endless(pause_s=0, frame_bytes=4000)
    w = weir(config(model("m", upstream(up).base)))
    before = w.rss_bytes()
    client = w.connect(receive_buffer=8192)
    client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m", stream=True)).encode()))
    client.head()

    def stalled():
        """the upstream could not send for half a second"""
        sent = up.sent_bytes
        time.sleep(0.5)
        return up.sent_bytes == sent

    wait_for(stalled, 20)
    assert up.sent_bytes < 16 << 20, "socket buffers and no more"
    assert w.rss_bytes() - before < 4 << 20
    already = up.sent_bytes
    got = 0
    while got < already:  # reads on, and everything is there
        client.more()
        got += len(client.held)
        client.held.clear()
    wait_for(lambda: up.sent_bytes > already, 5)
    client.close()
    assert up.ended.wait(2)
    assert w.record()["status"] == "cancelled"


@pytest.mark.heavy
def test_a_slow_client_gets_all_of_a_large_answer(weir, upstream):
    body = b'{"x":"' + b"abcdefghij" * 800_000 + b'"}'

    def script(c):
        c.asked()
        c.reply(body)
        c.rest()

    w = weir(config(model("m", upstream(script).base)))
    before = w.rss_bytes()
    client = w.connect(receive_buffer=8192)
    client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m")).encode()))
    time.sleep(0.5)
    assert w.rss_bytes() - before < 4 << 20
    answer = client.answer()
    assert answer.complete and answer.body == body
    assert w.record()["status"] == "success"


@pytest.mark.heavy
def test_memory_comes_back_after_many_connections(weir, mock):
    w = weir(config(model("sim-fast", mock.base)))
    clients = [w.connect() for _ in range(400)]
    for client in clients:
        client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body()).encode()))
    for client in clients:
        assert client.answer().status == 200
    for client in clients:
        client.close()
    wait_for(lambda: w.metrics().total("weir_open_connections") <= 1)
    assert w.rss_bytes() < 25 << 20
    assert w.open_files() < 700
