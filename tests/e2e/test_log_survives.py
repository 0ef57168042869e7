"""Promise 3: what was answered is in the log. SIGKILL, rotation, full disks, folders that cannot be written."""
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import threading
import time

import pytest
from harness import PATIENCE_S, SANITIZED, Closed, chat_body, config, model, request, wait_for

KILLS = int(os.environ.get("WEIR_KILLS", "10" if SANITIZED else "200"))


class Caller(threading.Thread):
    """Asks as fast as it can over one connection, and remembers the ids of answers that came whole."""

    def __init__(self, port, name, stream):
        super().__init__(daemon=True)
        self.port, self.prefix, self.stream, self.whole, self.sent = port, name, stream, [], 0

    def run(self):
        from harness import Raw
        body = json.dumps(chat_body(stream=self.stream)).encode()
        try:
            with Raw("127.0.0.1", self.port) as client:
                while True:
                    number = f"{self.prefix}-{self.sent}"
                    self.sent += 1
                    client.send(request("POST", "/v1/chat/completions", body, {"x-request-id": number}))
                    answer = client.answer()
                    if not answer.complete or answer.status != 200:
                        return
                    self.whole.append(number)
        except (OSError, Closed):
            pass


@pytest.mark.parametrize("stream", [False, True])
def test_sigkill_at_any_moment(weir, mock, stream):
    rng = random.Random(7 + stream)
    w = weir(config(model("sim-fast", mock.base)))
    answered, sent = [], 0
    for kill in range(KILLS // 2):
        callers = [Caller(w.port, f"{kill}-{i}", stream) for i in range(3)]
        for caller in callers:
            caller.start()
        time.sleep(rng.uniform(0.005, 0.06) * (5 if SANITIZED else 1))
        w.kill()
        for caller in callers:
            caller.join(20)
            answered += caller.whole
            sent += caller.sent
        w.start()
    w.finish()
    data = w.log_path.read_bytes()
    assert data.endswith(b"\n"), "the last line is torn"
    records = [json.loads(line) for line in data.splitlines()]  # a torn line would not be JSON
    logged = [r["request_id"] for r in records if r["event"] == "request"]
    assert len(logged) == len(set(logged)), "a record is there twice"
    missing = set(answered) - set(logged)
    assert not missing, f"{len(missing)} of {len(answered)} answers are not in the log, e.g. {sorted(missing)[:3]}"
    assert len(answered) > KILLS, "too little was asked to mean anything"
    print(f"{KILLS // 2} kills, {len(answered)} whole answers, {sent} sent, {len(logged)} logged")


def test_rename_and_usr1(weir, mock):
    w = weir(config(model("sim-fast", mock.base)))
    w.chat("sim-fast", {"x-request-id": "before"})
    w.requests(1)
    old = w.log_path.rename(w.log_path.with_suffix(".1"))
    w.signal(signal.SIGUSR1)
    wait_for(w.log_path.exists)
    w.chat("sim-fast", {"x-request-id": "after"})
    assert w.record()["request_id"] == "after"
    assert '"before"' in old.read_text() and '"after"' not in old.read_text()
    assert w.metrics().total("weir_log_reopens_total") >= 1


@pytest.mark.parametrize("how", ["rename", "delete"])
def test_rotation_without_a_signal(weir, mock, how):
    """Somebody moved or deleted the file and told nobody: noticed within about a second."""
    w = weir(config(model("sim-fast", mock.base)))
    w.chat()
    w.requests(1)
    if how == "rename":
        w.log_path.rename(w.log_path.with_suffix(".1"))
    else:
        w.log_path.unlink()

    def back():
        """a new log file with records"""
        w.chat()
        return w.log_path.exists() and len(w.lines()) > 0

    wait_for(back, 5, every_s=0.2)


def test_copytruncate(weir, mock):
    w = weir(config(model("sim-fast", mock.base)))
    for _ in range(5):
        w.chat()
    w.requests(5)
    os.truncate(w.log_path, 0)
    w.chat("sim-fast", {"x-request-id": "after"})
    assert w.record()["request_id"] == "after"
    assert not w.log_path.read_bytes().startswith(b"\0"), "a hole where the old lines were"


def test_rotation_under_load_loses_nothing(weir, mock):
    w = weir(config(model("sim-fast", mock.base)))
    callers = [Caller(w.port, f"c{i}", False) for i in range(2)]
    for caller in callers:
        caller.start()
    for turn in range(8):
        time.sleep(0.08)
        w.log_path.rename(w.folder / f"old.{turn}")
        w.signal(signal.SIGUSR1)
        wait_for(w.log_path.exists)
    time.sleep(0.05)
    w.finish()
    for caller in callers:
        caller.join(20)
    logged = []
    for path in [*w.folder.glob("old.*"), w.log_path]:
        logged += [json.loads(line).get("request_id") for line in path.read_text().splitlines()]
    answered = [i for caller in callers for i in caller.whole]
    assert len(answered) > 20 and not set(answered) - set(logged)


def mount_tmpfs(folder, size):
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "weir-test", str(folder)], capture_output=True).returncode == 0


def test_a_full_disk_delays_nobody_and_is_told(weir, mock, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if not mount_tmpfs(disk, "64k"):
        pytest.skip("needs the right to mount a tmpfs")
    try:
        log = disk / "requests.log"
        w = weir(config(model("sim-fast", mock.base), litellm_settings={"logging": {"log_file": str(log)}},
                        weir_settings={"log_ring_bytes": 65536, "workers": 1}))
        w.log_path = log
        began = time.monotonic()
        with w.connect() as client:
            for _ in range(800):
                client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body()).encode()))
                assert client.answer().status == 200
        assert time.monotonic() - began < PATIENCE_S
        metrics = w.metrics()
        assert metrics.total("weir_log_dropped_records_total") > 0 and metrics.total("weir_log_write_errors_total") > 0
        assert "space" in w.said()
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)

        later = 0

        def told():
            """a gap record in the log"""
            nonlocal later
            later += w.chat().status == 200
            return [r for r in w.lines() if r["event"] == "gap"]

        wait_for(told, 10, every_s=0.1)
        dropped = w.metrics().total("weir_log_dropped_records_total")
        w.finish()
        records = w.lines()
        gaps = [r for r in records if r["event"] == "gap"]
        assert sum(g["dropped"] for g in gaps) == dropped
        assert sum(r["event"] == "request" for r in records) + dropped == 800 + later
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_dev_full_never_stops_requests(weir, mock, tmp_path):
    """Its rings are kept at the end, for who can write them one day: in the test's folder."""
    w = weir(config(model("sim-fast", mock.base), litellm_settings={"logging": {"log_file": "/dev/full"}}, weir_settings={"log_ring_dir": str(tmp_path)}), log_file=None)
    for _ in range(20):
        assert w.chat().status == 200
    wait_for(lambda: w.metrics().total("weir_log_write_errors_total") > 0)


def test_a_folder_that_cannot_be_written_is_named_and_stepped_around(weir, mock):
    w = weir(config(model("sim-fast", mock.base), litellm_settings={"logging": {"log_file": "/proc/none/requests.log"}}))
    w.log_path = w.folder / "requests.log"
    assert w.chat().status == 200
    assert w.record()["status"] == "success"
    said = w.said()
    assert "/proc/none" in said and "requests.log" in said


def test_a_log_file_option_that_cannot_be_written_is_an_error(tmp_path):
    from harness import Process
    p = Process(tmp_path, ["serve", "--log-file", "/proc/none/x.log", "--port", "0"]).launch()
    assert p.wait() == 1
    assert "/proc/none/x.log" in p.said()


def test_rings_are_removed_when_all_is_written(weir, mock):
    w = weir(config(model("sim-fast", mock.base), weir_settings={"log_ring_dir": "rings"}))
    rings = pathlib.Path(w.folder) / "rings"
    found = re.findall(r"\S+\.ring", " ".join(os.listdir(rings))) if rings.exists() else []
    w.chat()
    w.finish()
    assert not (rings.exists() and any(p.suffix == ".ring" for p in rings.iterdir())), found


def test_recovered_records_are_counted(weir, mock):
    w = weir(config(model("sim-fast", mock.base)))
    with w.connect() as client:
        for i in range(30):
            client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body()).encode(), {"x-request-id": f"r{i}"}))
            client.answer()
    w.kill()
    before = len([r for r in w.lines() if r["event"] == "request"])
    w.start()
    assert [r["request_id"] for r in w.requests(30)] == [f"r{i}" for i in range(30)]
    assert w.metrics().total("weir_log_recovered_records_total") >= 30 - before
