"""/metrics is written by a thread that only runs where nobody else wants to; where it does not come to run at all, monitoring goes on."""
import contextlib
import ctypes
import gzip
import os
import pathlib
import signal
import threading

import pytest
from harness import PATIENCE_S, config, model, request, wait_for

SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000  # ptrace(2), waitpid(2)
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(what, thread):
    if libc.ptrace(what, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def scrape_thread(w):
    def named():
        """the thread, once it has run so far as to name itself"""
        return [task for task in pathlib.Path(f"/proc/{w.process.pid}/task").iterdir() if (task / "comm").read_text() == "weir-scrape\n"]

    found = wait_for(named)
    assert len(found) == 1
    return int(found[0].name)


@contextlib.contextmanager
def held(thread):
    """Nothing of it runs meanwhile, as on a machine whose cores are all taken. The others run."""
    try:
        ptrace(SEIZE, thread)
    except PermissionError:
        pytest.skip("ptrace is not allowed here")
    try:
        ptrace(INTERRUPT, thread)
        assert os.waitpid(thread, WALL)[0] == thread
        yield
    finally:
        ptrace(DETACH, thread)


def scrape(raw):
    raw.send(request("GET", "/metrics", b"", {"accept-encoding": "gzip"}))
    reply = raw.answer()
    assert reply.status == 200
    text = gzip.decompress(reply.body).decode()
    assert text.endswith("\n") and "litellm_requests_total" in text
    return text


def test_the_thread_only_runs_where_nobody_else_wants_to(weir, mock):
    w = weir(config(model("sim-fast", mock.base)))
    wait_for(lambda: os.sched_getscheduler(scrape_thread(w)) == os.SCHED_IDLE)
    others = {os.sched_getscheduler(int(t.name)) for t in pathlib.Path(f"/proc/{w.process.pid}/task").iterdir() if int(t.name) != scrape_thread(w)}
    assert others == {os.SCHED_OTHER}


def test_metrics_come_though_the_thread_does_not_run(weir, mock):
    w = weir(config(model("sim-fast", mock.base)))
    assert w.chat("sim-fast").status == 200
    thread = scrape_thread(w)
    with held(thread), w.connect() as raw:
        for _ in range(2):
            assert 'model="sim-fast"' in scrape(raw)
        with w.connect() as other:  # neither the road nor what control does waits for it
            other.send(request("GET", "/health/readiness", b"", {}))
            assert other.answer().status == 200
        assert w.chat("sim-fast").status == 200
    with w.connect() as raw:
        assert w.metrics().total("litellm_requests_total", model="sim-fast") == 2
        scrape(raw)


def test_a_stop_answers_what_the_thread_has_not_written(weir, mock):
    w = weir(config(model("sim-fast", mock.base)))
    with w.connect() as raw:
        with held(scrape_thread(w)):
            raw.send(request("GET", "/metrics", b"", {}))
            w.process.send_signal(signal.SIGTERM)
            assert raw.answer().complete
        assert w.process.wait(PATIENCE_S) == 0


def test_a_stop_at_once_leaves_nothing_behind(weir, mock):
    """What the thread has not begun, and what it is at, ends with the process: a leak sanitizer looks."""
    w = weir(config(*(model(f"model-{i:03}", mock.base, "openai/sim-fast") for i in range(60))))
    with w.connect() as one, w.connect() as other:
        with held(scrape_thread(w)):
            for raw in (one, other):
                raw.send(request("GET", "/metrics", b"", {}))
            with w.connect() as raw:  # control takes jobs in their order: both are under way
                raw.send(request("GET", "/health/readiness", b"", {}))
                raw.answer()
            for _ in range(2):
                w.process.send_signal(signal.SIGTERM)
        assert w.process.wait(PATIENCE_S) in (0, 1)


def test_many_scrapes_at_once(weir, mock):
    """Each has its own numbers and its own end, through reloads, too."""
    w = weir(config(*(model(f"model-{i:03}", mock.base, "openai/sim-fast") for i in range(60)), weir_settings={"series_budget": 1000}))
    problems = []

    def some():
        try:
            with w.connect() as raw:
                for _ in range(15):
                    text = scrape(raw)
                    assert {f'model="model-{i:03}"' in text for i in range(60)} == {True}
        except Exception as e:  # pylint: disable=broad-exception-caught
            problems.append(e)

    threads = [threading.Thread(target=some) for _ in range(6)]
    for t in threads:
        t.start()
    for _ in range(5):
        w.process.send_signal(signal.SIGHUP)
        assert w.chat("model-007").status == 200
    for t in threads:
        t.join()
    assert problems == []
    assert w.metrics().total("litellm_requests_total", model="model-007") == 5
