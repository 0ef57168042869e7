"""Tests that are interrupted leave no process: conftest.py takes SIGTERM and SIGHUP as Ctrl-C, and ends what nobody else does."""
import pathlib
import signal
import subprocess
import sys

import pytest

from harness import wait_for

HERE = pathlib.Path(__file__).resolve().parent
TESTS = """
import subprocess, sys, time
sys.path.insert(0, sys.argv[1])
import conftest
forgotten = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('there', flush=True); time.sleep(600)"]
                             if sys.argv[2] == "stubborn" else ["sh", "-c", "echo there; exec sleep 600"], stdout=subprocess.PIPE)
forgotten.stdout.readline()
try:
    print(forgotten.pid, flush=True)
    time.sleep(600)
finally:
    print("finished", flush=True)
"""


def gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number, kind", [(signal.SIGINT, "plain"), (signal.SIGTERM, "plain"), (signal.SIGHUP, "plain"), (signal.SIGTERM, "stubborn")])
def test_nothing_is_left(number, kind):
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN and number == signal.SIGHUP:
        pytest.skip("started by nohup: SIGHUP ends nothing here")
    with subprocess.Popen([sys.executable, "-B", "-c", TESTS, HERE, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert out == "finished\n" and "KeyboardInterrupt" in err
    wait_for(lambda: gone(pid))
