"""Fixtures: start a gateway, a simulated provider or a scripted upstream, and stop them all afterwards."""
import atexit
import contextlib
import itertools
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest

from harness import ROOT, Gateway, Mock, Upstream, config, model

# Whoever runs this in the background has a shell that ignores Ctrl-C for it; what is started here shall not inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupted(number, _):
    """As Ctrl-C: fixtures are finished. A second one ends at once."""
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt(signal.Signals(number).name)


def children():
    """Processes that this one started and that are not waited for."""
    found = []
    for task in pathlib.Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def end_what_is_left():
    """Who is interrupted between the start of a process and what would have ended it leaves one. At the exit: tests are judged by then."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in children():
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        end = time.monotonic() + 2
        while children() and time.monotonic() < end:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            time.sleep(0.02)


if threading.current_thread() is threading.main_thread():
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) == signal.SIG_DFL:  # nohup's SIGHUP stays ignored
            signal.signal(ending, interrupted)
atexit.register(end_what_is_left)

# promtool, prometheus, amtool: those of the machine first, then those that scripts/dev/install-deps unpacked.
os.environ["PATH"] += f":{ROOT}/build/tools/usr/bin"


@pytest.fixture(scope="session")
def mock():
    """weir mock, alone, for the whole session. Tests that count use `fresh_mock`."""
    with Mock() as m:
        yield m


@pytest.fixture
def fresh_mock():
    with Mock() as m:
        yield m


@pytest.fixture
def weir(tmp_path):
    """weir(config(...), ...) starts a gateway in the test's own folder and waits until it is ready."""
    started, numbers = [], itertools.count()

    def start(settings, **options):
        folder = tmp_path / options.pop("folder", f"weir{next(numbers)}")
        folder.mkdir(exist_ok=True)
        gateway = Gateway(folder, settings, **options)
        started.append(gateway)
        return gateway.start()

    yield start
    for gateway in started:
        gateway.finish()


@pytest.fixture
def upstream():
    """upstream(script) is a server on a free port that runs script(connection) for each connection."""
    started = []

    def start(script, **options):
        started.append(Upstream(script, **options))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def gateway(weir, mock):
    """A gateway in front of the session's mock, with the models sim-fast and "real" (sim-fast by another name)."""
    return weir(config(model("sim-fast", mock.base), model("real", mock.base, "openai/sim-fast"),
                       model("sim-embed", mock.base), model("sim-slow", mock.base)))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A certificate authority, and a certificate of it for localhost and 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=weir test CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost,DNS:upstream.test,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", "names", "-out", "server.pem")
    return folder
