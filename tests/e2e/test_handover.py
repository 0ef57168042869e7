"""Handover: the listening sockets go from one process to the next, and no client notices."""
import contextlib
import errno
import json
import os
import pathlib
import re
import signal
import socket
import struct
import sys
import threading
import time

import harness
import pytest
from harness import PATIENCE_S, SANITIZED, Closed, Process, Raw, chat_body, config, model, request, wait_for


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Line:
    """A gateway and those that took over from it; all write to the same files."""

    def __init__(self, weir, settings, **options):
        self.first = weir(settings, **options)
        self.pids = [self.first.pid]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.pids[1:]:
            if is_running(pid):
                os.kill(pid, signal.SIGTERM)
        for pid in self.pids[1:]:
            wait_for(lambda: not is_running(pid))  # pylint: disable=cell-var-from-loop
        text = self.first.said()
        assert "Sanitizer" not in text and "runtime error" not in text, text

    def successor(self):
        """The next process that says it has taken over."""
        found = wait_for(lambda: re.findall(r"process (\d+) has taken", self.first.said())[len(self.pids) - 1:])
        self.pids.append(int(found[0]))
        return self.pids[-1]

    def hand_over(self):
        os.kill(self.pids[-1], signal.SIGUSR2)
        return self.successor()


def events(w, name):
    return [line for line in w.lines() if line["event"] == name]


def test_a_signal_starts_the_next_one(weir, mock):
    with Line(weir, config(model("a", mock.base, "openai/sim-fast"))) as line:
        w = line.first
        assert w.chat("a").status == 200
        second = line.hand_over()
        assert w.wait() == 0  # nothing was open
        assert w.chat("a").status == 200
        assert w.metrics().total("litellm_requests_total") == 1  # metrics start anew
        starts = wait_for(lambda: len(found := events(w, "start")) == 2 and found)
        # Two processes write to the log: in what order is not promised.
        assert {(e["metadata"]["pid"], e["metadata"]["took_over"]) for e in starts} == {(line.pids[0], False), (second, True)}
        assert wait_for(lambda: events(w, "stop"))[0]["metadata"]["handed_over"] is True
        w.requests(2)
    wait_for(lambda: len(events(w, "stop")) == 2)


def test_the_next_one_has_the_new_configuration(weir, mock):
    settings = config(model("a", mock.base, "openai/sim-fast"), weir_settings={"watch_config": False})
    with Line(weir, settings) as line:
        w = line.first
        w.config_path.write_text(w.config_path.read_text().replace('"model_name": "a"', '"model_name": "b"'))
        line.hand_over()
        assert w.wait() == 0
        assert w.chat("b").status == 200


def second_start(folder, w, *words):
    folder.mkdir()
    return Process(folder, ["serve", "--config", w.config_path, "--no-builtin", "--port", str(w.port), *words]).launch()


def test_a_second_start_takes_over_where_it_is_told_to(weir, mock, tmp_path):
    w = weir(config(model("a", mock.base, "openai/sim-fast")))
    plain = second_start(tmp_path / "plain", w)
    assert plain.wait() == 1 and "in use" in plain.said()
    assert w.chat("a").status == 200
    second = second_start(tmp_path / "second", w, "--takeover")
    assert w.wait() == 0 and f"handed over to process {second.pid}" in w.said()
    assert w.chat("a").status == 200
    third = second_start(tmp_path / "third", w, "--takeover")
    assert second.wait() == 0
    assert w.chat("a").status == 200
    for process in (second, third):
        process.finish()


def test_taking_over_from_nobody_is_an_error(weir, mock, tmp_path):
    w = weir(config(model("a", mock.base, "openai/sim-fast")))
    port = w.port
    w.finish()
    process = second_start(tmp_path / "second", w, "--takeover")
    assert process.wait() == 1 and re.search(rf"port {port}.*start without --takeover", process.said())
    process = Process(tmp_path / "second", ["serve", "--port", "0", "--takeover", "--log-file", "none"]).launch()
    assert process.wait() == 1 and "--takeover: expected a port" in process.said()


@pytest.mark.parametrize("break_it, says", [
    (lambda text: "model_list: {", "config.yaml:"),
    (lambda text: text.replace('"port": 0', '"port": 1'), "a change of address needs a restart"),
])
def test_a_next_one_that_cannot_start_changes_nothing(weir, mock, break_it, says):
    w = weir(config(model("a", mock.base, "openai/sim-fast"), weir_settings={"watch_config": False}))
    good = w.config_path.read_text()
    w.config_path.write_text(break_it(good))
    w.signal(signal.SIGUSR2)
    wait_for(lambda: re.search(r"process \d+ ended with status 1 before it was ready; this one goes on", w.said()))
    assert says in w.said()
    assert w.chat("a").status == 200 and w.process.poll() is None
    w.config_path.write_text(good)  # and it can still be handed over
    w.signal(signal.SIGUSR2)
    pid = int(wait_for(lambda: re.search(r"process (\d+) has taken", w.said())).group(1))
    assert w.wait() == 0 and w.chat("a").status == 200
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not is_running(pid))


def test_what_runs_ends_in_the_old_one_in_its_own_time(weir, mock):
    """A stream that takes longer than drain_timeout is not cut; an idle connection gets one more answer."""
    settings = config(model("a", mock.base, "openai/sim-fast"), weir_settings={"drain_timeout_ms": 500})
    with Line(weir, settings) as line:
        w = line.first
        with w.connect() as stream, w.connect() as idle, w.connect() as silent:
            for client in (idle, silent):
                client.send(request("GET", "/health/liveliness"))
                client.answer()
            stream.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("a", stream=True)).encode(),
                                {"x-mock-tokens": "40", "x-mock-tokens-per-second": "20"}))
            stream.head()
            line.hand_over()
            idle.send(request("GET", "/health/readiness"))
            answer = idle.answer()
            assert answer.status == 200 and answer["connection"] == "close" and answer.json["status"] == "healthy"
            assert silent.is_closed()  # after drain_timeout
            assert w.process.poll() is None
            assert b"[DONE]" in stream.rest()
        assert w.wait() == 0
        assert w.requests(1)[0]["status"] == "success"


def test_a_signal_ends_the_old_one_as_ever(weir, mock):
    settings = config(model("a", mock.base, "openai/sim-fast"), weir_settings={"drain_timeout_ms": 300})
    with Line(weir, settings) as line:
        w = line.first
        with w.connect() as client:
            client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("a")).encode(), {"x-mock-delay-ms": "20000"}))
            time.sleep(0.1)
            line.hand_over()
            w.signal(signal.SIGUSR2)
            w.signal(signal.SIGHUP)
            time.sleep(0.5)
            assert w.process.poll() is None
            w.signal(signal.SIGTERM)
            assert w.wait() == 0
        assert len(re.findall("has taken", w.said())) == 1


def test_a_successor_that_is_ready_after_the_signal_does_not_prolong_the_end(weir, mock):
    settings = config(model("a", mock.base, "openai/sim-fast"), weir_settings={"host": "127.0.0.1", "drain_timeout_ms": 1000})
    w = weir(settings)
    with w.connect() as client, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as successor:
        successor.connect(f"\0weir-takeover/127.0.0.1:{w.port}")
        assert successor.recv(4096)  # the sockets
        client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("a")).encode(), {"x-mock-delay-ms": "60000"}))
        time.sleep(0.2)
        w.signal(signal.SIGTERM)
        time.sleep(0.2)
        successor.send(struct.pack("=QIi", 0x32726f7469657768, 0, os.getpid()))
        assert w.wait(20) == 0
    assert "handed over to process" in w.said()


# ---- SIGTERM while the next one is starting ----

def started_by(w):
    """The process that SIGUSR2 started, before it is ready."""
    found = wait_for(lambda: pathlib.Path(f"/proc/{w.pid}/task/{w.pid}/children").read_text().split())
    return int(found[0])


@contextlib.contextmanager
def starting_slowly(weir, mock):
    """A gateway, its successor's process id, and what writes the configuration that the successor waits for."""
    w = weir(config(model("a", mock.base, "openai/sim-fast"), weir_settings={"watch_config": False}))
    text = w.config_path.read_text()
    w.config_path.unlink()
    os.mkfifo(w.config_path)
    w.signal(signal.SIGUSR2)

    def writer():
        """somebody reads the pipe"""
        try:
            return os.fdopen(os.open(w.config_path, os.O_WRONLY | os.O_NONBLOCK), "w")
        except OSError as none:
            assert none.errno == errno.ENXIO
            return None

    with wait_for(writer) as pipe:
        yield w, started_by(w), lambda: (pipe.write(text), pipe.close())


def test_a_stop_ends_the_next_one_before_it_has_taken_over(weir, mock):
    """Both are gone, in this order, and nobody is reset meanwhile."""
    with starting_slowly(weir, mock) as (w, pid, go_on):
        w.signal(signal.SIGTERM)
        wait_for(lambda: f"process {pid}, which was to take over, is to end as well" in w.said())
        w.signal(signal.SIGUSR2)
        w.signal(signal.SIGHUP)
        for _ in range(5):
            assert w.chat("a").status == 200
        go_on()
        assert w.wait() == 0
        assert not is_running(pid)
    said = w.said()
    assert "told to end before it has taken over" in said and "killing it" not in said and "has taken the listening" not in said
    with pytest.raises(OSError):
        w.connect()
    w.requests(5)


def test_a_next_one_that_does_not_end_is_killed(weir, mock):
    with starting_slowly(weir, mock) as (w, pid, _):
        w.signal(signal.SIGTERM)
        assert w.wait() == 0
        assert f"process {pid} has not ended within 5 s: killing it" in w.said() and not is_running(pid)


def test_a_second_signal_does_not_wait_for_the_next_one(weir, mock):
    with starting_slowly(weir, mock) as (w, pid, _):
        w.signal(signal.SIGTERM)
        wait_for(lambda: "is to end as well" in w.said())
        w.signal(signal.SIGINT)
        w.wait()
        assert "a second signal" in w.said() and "killing it" not in w.said()
        wait_for(lambda: not is_running(pid))


# Stands for a weir that is ready at the moment at which it is told to end.
READY_AT_SIGTERM = """#!{python} -B
import os, signal, socket, struct, sys
peer = socket.socket(fileno=3)
peer.recv(4096)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
sys.stderr.write("waiting\\n")
sys.stderr.flush()
signal.sigtimedwait([signal.SIGTERM], 30)
peer.setblocking(True)
peer.send(struct.pack("=QIi", 0x32726f7469657768, 0, os.getpid()))
kind = struct.unpack("=QIi", peer.recv(16))[1]
sys.stderr.write("heard %d\\n" % kind)
"""


def test_a_next_one_that_is_ready_at_that_moment_has_taken_over(weir, mock, tmp_path, monkeypatch):
    """Then the old one leaves it the sockets, and drains; the new one drains by the signal that it was sent."""
    program, script = tmp_path / "weir", tmp_path / "script"
    program.symlink_to(pathlib.Path(harness.WEIR).resolve())
    script.write_text(READY_AT_SIGTERM.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setattr(harness, "WEIR", program)
    w = weir(config(model("a", mock.base, "openai/sim-fast")))
    program.unlink()
    program.symlink_to(script)
    w.signal(signal.SIGUSR2)
    pid = started_by(w)
    wait_for(lambda: "waiting" in w.said())
    w.signal(signal.SIGTERM)
    assert w.wait() == 0
    wait_for(lambda: not is_running(pid))
    assert f"handed over to process {pid}" in w.said() and "heard 1" in w.said()
    assert [e["metadata"]["handed_over"] for e in events(w, "stop")] == [True]


def test_another_number_of_workers_serves_all_sockets(weir, mock):
    """The old one's sockets have a queue each: all must be served, by fewer workers too."""
    settings = config(model("a", mock.base, "openai/sim-fast"), weir_settings={"watch_config": False, "workers": 4})
    with Line(weir, settings) as line:
        w, workers = line.first, 4
        for number in (1, 6, 2):
            text = w.config_path.read_text()
            w.config_path.write_text(text.replace(f'"workers": {workers}', f'"workers": {number}'))
            workers = number
            line.hand_over()
            for _ in range(40):
                ready = w.get("/health/readiness")
                assert ready.status == 200
            assert wait_for(lambda: w.get("/health/readiness").json["workers"] == workers)  # pylint: disable=cell-var-from-loop


def test_a_unix_socket_stays_where_it_is(weir, mock, tmp_path):
    path = tmp_path / "s"
    settings = config(model("a", mock.base, "openai/sim-fast"), weir_settings={"host": f"unix:{path}"})
    with Line(weir, settings) as line:
        w = line.first
        for _ in range(2):
            line.hand_over()
            assert w.chat("a").status == 200
        assert w.wait() == 0
        assert path.exists() and w.chat("a").status == 200
        last = line.pids[-1]
        os.kill(last, signal.SIGTERM)
        wait_for(lambda: not is_running(last))
        assert not path.exists()


def test_systemd_learns_the_new_main_process(weir, mock, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(PATIENCE_S)
        with Line(weir, config(model("a", mock.base, "openai/sim-fast")), env={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as line:
            assert notify.recv(1000).startswith(b"READY=1\n")
            pid = line.hand_over()
            assert notify.recv(1000) == f"MAINPID={pid}".encode()
            assert notify.recv(1000).startswith(b"READY=1\n")
            assert line.first.wait() == 0
            os.kill(pid, signal.SIGTERM)
            assert notify.recv(1000).startswith(b"STOPPING=1\n")  # not the old one's


def test_a_stranger_at_the_door_gets_nothing(weir, mock):
    """Connecting and leaving, or talking nonsense, is not taking over."""
    w = weir(config(model("a", mock.base, "openai/sim-fast")))
    for nonsense in (b"", b"ready", b"\0" * 16):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            door.connect(f"\0weir-takeover/127.0.0.1:{w.port}")
            if nonsense:
                door.send(nonsense)
            time.sleep(0.1)
        wait_for(lambda: w.said().count("has ended before it was ready"))
        assert w.chat("a").status == 200
    assert w.process.poll() is None


class OldOne:
    """Plays the process that listens, up to the moment when the new one is ready."""

    OFFER = "=QII257sBHxxxx"

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.door.bind(f"\0weir-takeover/127.0.0.1:{self.port}")
        self.door.listen()
        self.door.settimeout(PATIENCE_S)

    def offer(self):
        peer, _ = self.door.accept()
        peer.settimeout(PATIENCE_S)
        offer = struct.pack(self.OFFER, 0x32726f7469657768, 1, 1, b"127.0.0.1", 0, self.port)
        socket.send_fds(peer, [offer], [self.listener.fileno()])
        return peer

    def close(self):
        self.door.close()
        self.listener.close()


def taking_over(tmp_path, mock, old):
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(config(model("a", mock.base, "openai/sim-fast"), weir_settings={"host": "127.0.0.1", "port": old.port, "workers": 2})))
    return Process(tmp_path, ["serve", "--config", path, "--no-builtin", "--takeover", "--log-file", "none"]).launch()


def test_an_old_one_that_has_given_up_is_not_taken_over(mock, tmp_path):
    old = OldOne()
    process = taking_over(tmp_path, mock, old)
    with old.offer() as peer:
        assert len(peer.recv(100)) == 16  # ready
        peer.send(struct.pack("=QIi", 0x32726f7469657768, 2, os.getpid()))
        assert process.wait() == 1 and "has given up waiting" in process.said()
    old.close()


def test_an_old_one_that_dies_is_replaced(mock, tmp_path):
    """What waits in the queue of its socket is answered."""
    old = OldOne()
    with Raw("127.0.0.1", old.port) as early:
        early.send(request("GET", "/health/readiness", b"", {"connection": "close"}))
        process = taking_over(tmp_path, mock, old)
        old.offer().close()
        old.close()
        assert early.answer().status == 200
    wait_for(lambda: "does not answer; going on without it" in process.said())
    with Raw("127.0.0.1", old.port) as late:
        late.send(request("GET", "/health/readiness", b"", {"connection": "close"}))
        assert late.answer().status == 200
    process.finish()


def test_an_offer_that_makes_no_sense_is_refused(mock, tmp_path):
    old = OldOne()
    process = taking_over(tmp_path, mock, old)
    peer, _ = old.door.accept()
    peer.send(b"nonsense")
    assert process.wait() == 1 and "did not hand over its sockets" in process.said()
    peer.close()
    old.close()


def test_what_keys_have_spent_goes_over(weir, mock):
    """In the old process before, in the new one after, and in the old one while it ends."""
    settings = config(model("a", mock.base, "openai/sim-fast", input_cost_per_token=0.001, output_cost_per_token=0.001),
                      general_settings={"master_key": "sk-master"})
    admin = {"authorization": "Bearer sk-master"}
    with Line(weir, settings) as line:
        w = line.first
        key = w.post("/key/generate", {"key_alias": "k"}, admin).json["key"]
        user = {"authorization": f"Bearer {key}"}
        assert w.chat("a", user).status == 200
        with w.connect() as client:
            client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("a", stream=True)).encode(),
                                {"x-mock-tokens": "20", "x-mock-tokens-per-second": "20", "connection": "close", **user}))
            client.head()
            line.hand_over()
            assert w.chat("a", user).status == 200
            assert b"[DONE]" in client.rest()
        assert w.wait() == 0
        assert w.chat("a", user).status == 200
        logged = sum(r["cost_usd"] for r in w.requests(4))

        def spend():
            """what the key has spent is what the log says"""
            return abs(w.get(f"/key/info?key={key}", admin).json["info"]["spend"] - logged) < 1e-9

        wait_for(spend)


# ---- under load ----

class Clients:
    """Each asks one thing after the other. Every refusal, reset and wrong answer is kept."""

    def __init__(self, w, count, keep_alive):
        self.w, self.keep_alive, self.stop = w, keep_alive, threading.Event()
        self.answered, self.problems = 0, []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        raw, headers = None, {} if self.keep_alive else {"connection": "close"}
        body = json.dumps(chat_body("a")).encode()
        while not self.stop.is_set():
            try:
                raw = raw or Raw(self.w.host, self.w.port)
                raw.send(request("POST", "/v1/chat/completions", body, headers))
                answer = raw.answer()
                assert answer.status == 200 and answer.complete and answer.json["usage"], answer.body
                with self.lock:
                    self.answered += 1
                if not self.keep_alive or answer["connection"] == "close":
                    raw.close()
                    raw = None
            except (OSError, Closed, AssertionError) as problem:
                self.problems.append(repr(problem))
                raw = None
        if raw:
            raw.close()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE_S)
        return self.answered


@pytest.mark.parametrize("workers", [1, 2])
def test_three_handovers_under_load_lose_nothing(weir, fresh_mock, workers):
    mock = fresh_mock
    with Line(weir, config(model("a", mock.base, "openai/sim-fast"), weir_settings={"workers": workers})) as line:
        w = line.first
        fresh, kept = Clients(w, 8, False), Clients(w, 8, True)
        for _ in range(3):
            time.sleep(0.7 if SANITIZED else 0.3)
            line.hand_over()
        time.sleep(0.3)
        answered = fresh.end() + kept.end()
        assert fresh.problems == [] and kept.problems == [], (fresh.problems[:3], kept.problems[:3])
        assert fresh.answered > 50 and kept.answered > 50
        assert mock.stats()["requests"] == answered
        records = w.requests(answered)
        assert len({r["request_id"] for r in records}) == answered
        assert {r["status"] for r in records} == {"success"}
        assert w.wait() == 0
        print(f"{answered} requests over 3 handovers with {workers} workers")


def test_log_records_of_both_processes_are_whole(weir, mock):
    """A process that starts while another one writes must not take the other's ring for an abandoned one."""
    with Line(weir, config(model("a", mock.base, "openai/sim-fast"))) as line:
        w = line.first
        with w.connect() as client:
            client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("a", stream=True)).encode(),
                                {"x-mock-tokens": "20", "x-mock-tokens-per-second": "20", "connection": "close"}))
            client.head()
            line.hand_over()
            w.chat("a")
            assert b"[DONE]" in client.rest()
        w.requests(2)
        assert "were added to" not in w.said()  # nothing was recovered
