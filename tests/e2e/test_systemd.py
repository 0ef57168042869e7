"""The conversation with systemd: readiness, reload, watchdog, drain, handover, and sockets that it passes. The other end is a real datagram socket."""
import ctypes
import errno
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
from harness import PATIENCE_S, SANITIZED, WEIR, Closed, Gateway, Process, Raw, chat_body, config, model, request, wait_for

WATCHDOG_S = 2.0 if SANITIZED else 0.6


class Manager:
    """What systemd is to a service: a socket where it says how it does. Keeps every message with its sender and its time."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.settimeout(0.05)
        self.address, self.messages, self.stop = address, [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(8192, socket.CMSG_SPACE(12))
            except socket.timeout:
                continue
            pid = struct.unpack("iii", ancillary[0][2])[0]
            said = dict(line.split("=", 1) for line in data.decode().split("\n"))
            self.messages.append((time.monotonic(), pid, said))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join()
        self.socket.close()

    @property
    def env(self):
        return {"NOTIFY_SOCKET": self.address}

    def said(self, pid=None):
        return [said for _, sender, said in list(self.messages) if pid in (None, sender)]

    def wait(self, key, value=None, after=0):
        """The first message from number `after` on that says so."""
        def there():
            return next((said for said in self.said()[after:] if key in said and value in (None, said[key])), None)

        there.__doc__ = f"{key}={value}"
        return wait_for(there)

    def pings_for(self, seconds):
        before = len(self.messages)
        time.sleep(seconds)
        return sum("WATCHDOG" in said for said in self.said()[before:])


@pytest.fixture(params=["path", "abstract"])
def any_manager(request, tmp_path):  # pylint: disable=redefined-outer-name
    with Manager(str(tmp_path / "notify") if request.param == "path" else f"@weir-test-{os.getpid()}-{time.monotonic_ns()}") as m:
        yield m


@pytest.fixture
def manager(tmp_path):
    with Manager(str(tmp_path / "notify")) as m:
        yield m


def two_models(mock):
    return config(model("a", mock.base, "openai/sim-fast"), model("a", mock.base, "openai/sim-fast", info={"id": "second"}),
                  model("b", mock.base, "openai/sim-fast"), weir_settings={"watch_config": False})


# ---- start ----

def test_ready_is_said_when_it_is(any_manager, weir, mock):
    w = weir(two_models(mock), env=any_manager.env)
    said = any_manager.wait("READY", "1")
    assert said["STATUS"] == f"ready: 2 models, 3 deployments, http://127.0.0.1:{w.port}"
    assert w.get("/health/liveliness").status == 200
    assert any_manager.said()[0] is said  # nothing before it
    assert any_manager.pings_for(0.3) == 0  # no WatchdogSec=


def test_a_start_that_fails_says_why(manager, tmp_path, mock):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = Process(tmp_path, ["serve", "--host", "127.0.0.1", "--port", port, "--log-file", "none"], env=manager.env).launch()
        assert process.wait() == 1
    said = manager.wait("ERRNO")
    assert int(said["ERRNO"]) == errno.EADDRINUSE and re.match(rf"cannot start: .*{port}", said["STATUS"])
    process = Process(tmp_path, ["serve", "--config", "nowhere.yaml"], env=manager.env).launch()
    assert process.wait() == 1
    said = manager.wait("ERRNO", str(errno.ENOENT))
    assert "nowhere.yaml" in said["STATUS"]
    (tmp_path / "bad.yaml").write_text("weir_settings:\n  port: 70000\n")
    process = Process(tmp_path, ["serve", "--config", "bad.yaml"], env=manager.env).launch()
    assert process.wait() == 1
    said = wait_for(lambda: next((s for s in manager.said() if "bad.yaml:2:" in s["STATUS"]), None))
    assert "ERRNO" not in said and not any("READY" in s for s in manager.said())
    before = len(manager.messages)
    process = Process(tmp_path, ["serve", "--check", "--config", "bad.yaml"], env=manager.env).launch()
    assert process.wait() == 1 and len(manager.messages) == before  # a check is not a start


def test_an_address_that_is_none_is_a_warning(weir, mock):
    w = weir(two_models(mock), env={"NOTIFY_SOCKET": "notify"})
    assert 'NOTIFY_SOCKET: expected a path or @name, got "notify"' in w.said()
    assert w.chat("a").status == 200


# ---- reload ----

def test_a_reload_as_notify_reload_wants_it(manager, weir, mock):
    w = weir(two_models(mock), env=manager.env)
    manager.wait("READY", "1")
    good = w.config_path.read_text()

    def reload(text):
        before, began = len(manager.messages), time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        w.config_path.write_text(text)
        w.signal(signal.SIGHUP)
        ready = manager.wait("READY", "1", before)
        reloading = manager.said()[before]
        assert reloading["RELOADING"] == "1" and manager.said()[before + 1] is ready
        assert began <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return ready["STATUS"]

    assert reload(good.replace('"model_name": "b"', '"model_name": "c"')).startswith("ready: 2 models, 3 deployments, http")
    bad = reload("model_list: {")
    assert bad.startswith("reload failed, the configuration in force goes on: ") and "config.yaml:" in bad
    assert reload(good.replace('"model_name": "b"', '"model_name": "a"')).startswith("ready: 1 model, 3 deployments")


# ---- watchdog ----

def watched(manager, pid=None):
    env = {**manager.env, "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
    return {**env, "WATCHDOG_PID": str(pid)} if pid else env


class Frozen:
    """One thread of a process, stopped as a debugger does it; the others go on."""

    PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, tid):
        self.tid = tid

    def ptrace(self, what):
        if self.libc.ptrace(what, self.tid, None, None) != 0:
            number = ctypes.get_errno()
            if number in (errno.EPERM, errno.ENOSYS) and what == self.PTRACE_SEIZE:
                pytest.skip("no ptrace here: a single thread cannot be stopped")
            raise OSError(number, os.strerror(number))

    def __enter__(self):
        self.ptrace(self.PTRACE_SEIZE)
        self.ptrace(self.PTRACE_INTERRUPT)
        os.waitpid(self.tid, 0x40000000)  # __WALL
        return self

    def __exit__(self, *_):
        self.ptrace(self.PTRACE_DETACH)


def test_pings_come_twice_an_interval(manager, weir, mock):
    w = weir(two_models(mock), env=watched(manager))
    manager.wait("WATCHDOG", "1")
    pings = manager.pings_for(WATCHDOG_S * 4)
    assert 4 <= pings <= 9
    w.signal(signal.SIGSTOP)
    time.sleep(0.1)
    assert manager.pings_for(WATCHDOG_S * 2) == 0
    w.signal(signal.SIGCONT)
    manager.wait("WATCHDOG", "1", len(manager.messages))


def test_a_worker_that_hangs_silences_it(manager, weir, mock):
    """Each thread in turn. Those whose stop silences the watchdog are the workers and control; the log's and the keys' threads may wait for a disk."""
    workers = 3
    settings = two_models(mock)
    settings["weir_settings"]["workers"] = workers
    w = weir(settings, env=watched(manager))
    manager.wait("WATCHDOG", "1")
    silent = []
    for tid in sorted(int(t) for t in os.listdir(f"/proc/{w.pid}/task")):
        with Frozen(tid):
            time.sleep(WATCHDOG_S * 0.6)  # a round that had passed it already
            if manager.pings_for(WATCHDOG_S * 1.2) == 0:
                silent.append(tid)
        manager.wait("WATCHDOG", "1", len(manager.messages))  # forgiven
    assert len(silent) == workers + 1 and w.pid in silent
    assert len(set(re.findall(r"worker (\d) has not turned for", w.said()))) == workers
    assert w.chat("a").status == 200


def test_a_watchdog_of_another_process_is_not_fed(manager, weir, mock):
    weir(two_models(mock), env=watched(manager, os.getpid()))
    manager.wait("READY", "1")
    assert manager.pings_for(WATCHDOG_S * 1.5) == 0


# ---- the end ----

def test_a_drain_asks_for_its_time(manager, weir, mock):
    settings = two_models(mock)
    settings["weir_settings"]["drain_timeout_ms"] = 20000
    w = weir(settings, env=watched(manager))
    manager.wait("WATCHDOG", "1")
    with w.connect() as client:
        client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("a", stream=True)).encode(),
                            {"x-mock-tokens": "50", "x-mock-tokens-per-second": "20", "connection": "close"}))
        client.head()
        before = len(manager.messages)
        w.signal(signal.SIGTERM)
        stopping = manager.wait("STOPPING", "1")
        assert b"[DONE]" in client.rest()
    assert w.wait() == 0
    said = manager.said()[before:]
    said = said[said.index(stopping):]
    assert re.fullmatch(r"draining: 1 connection left, for (19|20) s at most", stopping["STATUS"])
    assert len(said) >= 2 and not any("WATCHDOG" in s or "READY" in s for s in said)
    stamps = [t for t, _, s in manager.messages if "EXTEND_TIMEOUT_USEC" in s]
    for s, (earlier, later) in zip(said, zip(stamps, stamps[1:])):
        assert later - earlier < int(s["EXTEND_TIMEOUT_USEC"]) / 1e6  # in time, each of them
    assert all(re.match("draining: 1 connection left", s["STATUS"]) for s in said)


# ---- handover ----

def ended(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def hand_over(w, pid=None):
    """SIGUSR2; the successor's pid."""
    before = len(re.findall(r"process (\d+) has taken", w.said()))
    os.kill(pid or w.pid, signal.SIGUSR2)
    return int(wait_for(lambda: re.findall(r"process (\d+) has taken", w.said())[before:])[0])


def test_a_handover_moves_the_service(manager, tmp_path, mock):
    """The new process is told to be the main one by the old one, says READY itself, and feeds the watchdog, though WATCHDOG_PID was the old one's."""
    w = Gateway(tmp_path, two_models(mock), env=watched(manager))
    w.words = ["-c", 'export WATCHDOG_PID=$$; exec "$@"', "sh", str(WEIR), *w.words]
    start_by_shell(w)
    manager.wait("WATCHDOG", "1")
    second = hand_over(w)
    try:
        assert manager.wait("MAINPID")["MAINPID"] == str(second)
        assert w.wait() == 0
        wait_for(lambda: any("WATCHDOG" in s for s in manager.said(second)))
        order = [(pid, said) for _, pid, said in list(manager.messages) if "WATCHDOG" not in said]
        assert [pid for pid, _ in order] == [w.pid, w.pid, second]
        assert "READY" in order[2][1] and order[2][1]["STATUS"].startswith("ready: 2 models")
        assert not any("STOPPING" in s for s in manager.said())
    finally:
        os.kill(second, signal.SIGTERM)
        wait_for(lambda: ended(second))
    assert "STOPPING" in manager.said(second)[-1] or "STATUS" in manager.said(second)[-1]


def test_a_successor_that_fails_is_not_the_service(manager, weir, mock):
    w = weir(two_models(mock), env=manager.env)
    manager.wait("READY", "1")
    w.config_path.write_text("model_list: {")
    w.signal(signal.SIGUSR2)
    wait_for(lambda: "before it was ready; this one goes on" in w.said())
    assert len(manager.said()) == 1  # and nobody heard of it


# ---- socket activation ----

def start_by_shell(w, pass_fds=()):
    """Launches w.words with bash and waits until it listens."""
    with open(w.folder / "stderr", "ab") as err:
        w.process = subprocess.Popen(["/bin/bash", *w.words], stdin=subprocess.DEVNULL, stdout=err, stderr=err, cwd=w.folder, env=w.env, pass_fds=pass_fds)
    wait_for(lambda: w.process.poll() is not None or "listens on" in w.said())
    return w


class Holder:
    """Plays systemd's part of socket activation: makes the sockets, keeps them, passes them to what it starts."""

    SCRIPT = 'at=3; for fd in $FDS; do eval "exec $at<&$fd"; at=$((at + 1)); done; export LISTEN_PID=$$; exec "$@"'

    def __init__(self, folder, settings, *sockets, names=None, words=(), env=None):
        self.sockets = sockets
        env = {"LISTEN_FDS": str(len(sockets)), "FDS": " ".join(str(s.fileno()) for s in sockets), **(env or {})}
        if names is not None:
            env["LISTEN_FDNAMES"] = names
        settings.setdefault("weir_settings", {}).setdefault("port", 1)  # not used
        self.w = Gateway(folder, settings, words, env=env)
        self.w.words = ["-c", self.SCRIPT, "sh", str(WEIR), *self.w.words]
        if sockets[0].family == socket.AF_INET:
            self.w.port = sockets[0].getsockname()[1]
        else:
            self.w.host = f"unix:{sockets[0].getsockname()}"

    def start(self):
        return start_by_shell(self.w, [s.fileno() for s in self.sockets])

    def __enter__(self):
        self.start()
        return self.w

    def __exit__(self, *_):
        self.w.finish()
        for s in self.sockets:
            s.close()


def test_the_sockets_passed_are_the_ones(tmp_path, mock):
    """Two of them, each by both workers; host and port of the file do not matter, and nothing else listens."""
    path = str(tmp_path / "weir.sock")
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(path)
    unix.listen()
    with Holder(tmp_path, two_models(mock), socket.create_server(("127.0.0.1", 0)), unix, names="http:litellm.socket") as w:
        assert f"listens on http://127.0.0.1:{w.port} (systemd's socket" in w.said()
        assert w.chat("a").status == 200
        with Raw(f"unix:{path}", None) as raw:
            raw.send(request("GET", "/health/liveliness", b"", {"connection": "close"}))
            assert raw.answer().status == 200
        listening = pathlib.Path(f"/proc/{w.pid}/net/tcp").read_text()
        assert listening.count(f":{w.port:04X} 00000000:0000 0A") == 1
    assert os.path.exists(path)  # systemd's, not ours to remove


def test_systemd_socket_activate(tmp_path, mock):
    """The real one: it waits for the first connection, and starts weir with it in the queue."""
    program = shutil.which("systemd-socket-activate")
    if not program:
        pytest.skip("systemd-socket-activate is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    w = Gateway(tmp_path, two_models(mock))
    w.words = ["-c", 'exec "$@"', "sh", program, "--listen", f"127.0.0.1:{port}", "--fdname=http", str(WEIR), *w.words]
    with open(tmp_path / "stderr", "ab") as err:
        w.process = subprocess.Popen(["/bin/bash", *w.words], stdin=subprocess.DEVNULL, stdout=err, stderr=err, cwd=tmp_path, env=w.env)
    w.port = port
    wait_for(lambda: "Listening on" in w.said())
    assert "listens on" not in w.said()
    assert w.chat("a").status == 200
    wait_for(lambda: f"listens on http://127.0.0.1:{port} (systemd's socket" in w.said())
    w.finish()


class Callers:
    """Ask one thing after the other, each on a connection of its own, until told to stop; every failure is kept."""

    def __init__(self, w, count):
        self.w, self.answered, self.problems, self.stop, self.lock = w, 0, [], threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.stop.is_set():
            try:
                answer = self.w.chat("a")
                assert answer.status == 200 and answer.complete, answer.body
                with self.lock:
                    self.answered += 1
            except (OSError, Closed, AssertionError) as problem:
                self.problems.append(repr(problem))

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE_S)


def test_a_restart_refuses_nobody(tmp_path, mock):
    """Stop and start, three times under load: what comes in between waits in the socket's queue."""
    holder = Holder(tmp_path, two_models(mock), socket.create_server(("127.0.0.1", 0), backlog=512))
    with holder as w:
        callers = Callers(w, 6)
        for _ in range(3):
            before = callers.answered
            wait_for(lambda: callers.answered > before + 20)  # pylint: disable=cell-var-from-loop
            w.finish()
            time.sleep(0.2)
            (tmp_path / "stderr").write_text("")
            holder.start()
        before = callers.answered
        wait_for(lambda: callers.answered > before + 20)
        callers.end()
        assert callers.problems == []
        assert len({r["request_id"] for r in w.requests(callers.answered)}) == callers.answered


def test_a_handover_of_sockets_that_are_systemds(tmp_path, mock):
    """They go on to the successor, though it was not passed them; another number of workers shares them all the same."""
    settings = two_models(mock)
    holder = Holder(tmp_path, settings, socket.create_server(("127.0.0.1", 0), backlog=512))
    with holder as w:
        w.config_path.write_text(w.config_path.read_text().replace('"workers": 2', '"workers": 3'))
        callers = Callers(w, 4)
        second = hand_over(w)
        try:
            assert w.wait() == 0
            before = callers.answered
            wait_for(lambda: callers.answered > before + 20)
            callers.end()
            assert callers.problems == []
            third = hand_over(w, second)
            wait_for(lambda: ended(second))
            second = third
            assert w.chat("a").status == 200
            assert "3 workers" in w.said()
        finally:
            os.kill(second, signal.SIGTERM)
            wait_for(lambda: ended(second))


@pytest.mark.parametrize("kind, names, words, says", [
    (socket.SOCK_DGRAM, "http", (), "it is not a stream socket: use ListenStream="),
    (socket.SOCK_STREAM, "http", (), "it does not listen"),
    ("listening", "metrics", (), 'is called "metrics"; expected FileDescriptorName=http'),
    ("listening", "http", ("--takeover",), "--takeover: systemd has passed the sockets already"),
])
def test_a_socket_of_the_wrong_kind_is_named(manager, tmp_path, mock, kind, names, words, says):
    passed = socket.create_server(("127.0.0.1", 0)) if kind == "listening" else socket.socket(socket.AF_INET, kind)
    if kind != "listening":
        passed.bind(("127.0.0.1", 0))
    holder = Holder(tmp_path, two_models(mock), passed, names=names, words=words, env=manager.env)
    with passed:
        w = holder.start()
        assert w.wait() == 1 and says in w.said()
    if not words:
        assert says in manager.wait("STATUS")["STATUS"]
