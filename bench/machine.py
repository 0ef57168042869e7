"""What the bench needs from the machine: pinned processes, their CPU time and memory, awake cores."""

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import time

PEER_CORE = 0
LOAD_CORE = 1
realtime = False  # everything that is measured goes before the machine's other work (root)


class BenchError(Exception):
    """A measurement that could not be made; the sentence says why and what to do."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pin(core):
    """For a child between fork and exec."""
    os.sched_setaffinity(0, {core})
    if realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def spawn(argv, core, log_path=None, env=None, cwd=None):
    """Starts a process pinned to a core, in a group of its own so that all of it can be ended. Not in a session of its own: to the scheduler sessions
    are groups (sched(7), autogroup) of equal weight, and priorities only count within one."""
    out = open(log_path, "ab") if log_path else subprocess.DEVNULL
    try:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=cwd,
            env=env, process_group=0,
            preexec_fn=lambda: pin(core))
    finally:
        if log_path:
            out.close()


def end(process, grace_s=3):
    """Ends a process that spawn started, with its children."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sig)
        try:
            process.wait(grace_s)
            return
        except subprocess.TimeoutExpired:
            continue


def signal_group(process, number):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


# ---- the process tree ----

def _read(path):
    try:
        with open(path, encoding="ascii", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def tree(pid):
    """The process and all its descendants."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _read(f"/proc/{name}/stat").rpartition(")")[2].split()
            if fields:
                children.setdefault(int(fields[1]), []).append(int(name))
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop())
        queue += children.get(found[-1], [])
    return found


def cpu_times(pid):
    """(ns on a CPU, ns runnable but waiting for one), all threads of the tree.

    From the scheduler (proc(5), schedstat): exact, where utime and stime count timer ticks."""
    on_cpu = waited = 0
    for p in tree(pid):
        try:
            threads = os.listdir(f"/proc/{p}/task")
        except OSError:
            continue
        for thread in threads:
            fields = _read(f"/proc/{p}/task/{thread}/schedstat").split()
            if len(fields) >= 2:
                on_cpu += int(fields[0])
                waited += int(fields[1])
    return on_cpu, waited


def rss_kib(pid):
    """Resident memory of the tree, as the kernel counts it for each process (pages that parent and
    child share count twice)."""
    total = 0
    for p in tree(pid):
        for line in _read(f"/proc/{p}/status").splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


def core_busy_s(core):
    """Seconds a core was busy with anything but its idle task and SCHED_IDLE work (which is "nice")."""
    for line in _read("/proc/stat").splitlines():
        fields = line.split()
        if fields[0] == f"cpu{core}":
            user, _nice, system, _idle, _wait, irq, softirq = (int(x) for x in fields[1:8])
            return (user + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    raise BenchError(f"/proc/stat has no cpu{core}: the bench needs two cores")


# ---- awake cores ----

# Nothing but system calls: a kernel with lazy preemption (Linux 6.13 on) takes the core from a
# program that stays in user mode only at the next tick, milliseconds later.
SPIN = "from os import getppid\nparent = getppid()\nwhile getppid() == parent:\n    pass\n"


@contextlib.contextmanager
def awake(cores):
    """Keeps cores from going idle: on a virtual machine waking one costs more than a request, and
    whether it has to be woken flips results between two states. SCHED_IDLE gives way to all others."""
    spinners = []

    def lowest(core):
        os.sched_setaffinity(0, {core})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        os.nice(19)  # counted as "nice" in /proc/stat

    try:
        for core in cores:
            spinners.append(subprocess.Popen([sys.executable, "-S", "-c", SPIN],
                                             preexec_fn=lambda core=core: lowest(core)))
        yield
    finally:
        for s in spinners:
            s.kill()
            s.wait()


def describe():
    cpu = [line.split(":", 1)[1].strip() for line in _read("/proc/cpuinfo").splitlines()
           if line.startswith("model name")]
    before = [core_busy_s(c) for c in (PEER_CORE, LOAD_CORE)]
    time.sleep(1)
    foreign = [core_busy_s(c) - b for c, b in zip((PEER_CORE, LOAD_CORE), before)]
    return {"cpu": cpu[0] if cpu else "unknown", "cores": os.cpu_count(), "kernel": platform.release(),
            "busy_before": [round(f, 2) for f in foreign]}
