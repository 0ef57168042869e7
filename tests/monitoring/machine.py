"""A real systemd for tests of units: process 1 of a PID namespace, with mounts, users and a network of its own. Needs root and what a container may lack.

Of the machine that runs it nothing changes but a control group, weir-test-PID, below the root of the hierarchy, which end() removes. Where a systemd
manages the machine, the hierarchy is that one's: there it only boots when WEIR_BOOT_SYSTEMD is set.
"""
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SYSTEMD = "/usr/lib/systemd/systemd"


class CannotBoot(Exception):
    """Why there is no such machine here."""


def _cgroup():
    """(folder, kind): where a control group can be made, and which of the two hierarchies that is."""
    for folder, kind in (("/sys/fs/cgroup/systemd", "v1"), ("/sys/fs/cgroup", "v2")):
        if (kind == "v1" and os.path.isdir(folder)) or os.path.exists(f"{folder}/cgroup.controllers"):
            return pathlib.Path(folder), kind
    raise CannotBoot("no control groups")


def _sweep(base):
    """Control groups of runs that were killed."""
    for folder in base.glob("weir-test-*"):
        if not os.path.exists(f"/proc/{folder.name.rpartition('-')[2]}"):
            _remove(folder)


def _remove(group):
    """False: there are processes in it, or it has gone."""
    try:
        for folder in sorted((p for p in group.rglob("*") if p.is_dir()), reverse=True):
            folder.rmdir()
        group.rmdir()
    except OSError:
        return False
    return True


class Machine:
    def __init__(self, weir, *programs):
        """`weir` and more programs, by path, are in its /usr/local/bin; the checkout is /run/checkout."""
        missing = [p for p in ("unshare", "nsenter", "systemctl", "systemd-sysusers", "curl") if not shutil.which(p)]
        if missing or not os.path.exists(SYSTEMD):
            raise CannotBoot(f"no {', '.join(missing) or 'systemd'}")
        if os.geteuid() != 0:
            raise CannotBoot("not root")
        if os.path.isdir("/run/systemd/system") and not os.environ.get("WEIR_BOOT_SYSTEMD"):
            raise CannotBoot("a systemd manages this machine; set WEIR_BOOT_SYSTEMD=1 to make a control group beside its own")
        base, self.kind = _cgroup()
        _sweep(base)
        self.cgroup, self.process = base / f"weir-test-{os.getpid()}", None
        try:
            self.cgroup.mkdir()
        except OSError as e:
            raise CannotBoot(f"no control group can be made: {e.strerror}") from None
        try:
            self._boot(weir, programs)
        except subprocess.SubprocessError as e:
            self.end()
            raise CannotBoot(f"no process in a control group of its own: {e}") from None
        except BaseException:  # a test that is interrupted leaves nothing, either
            self.end()
            raise

    def _boot(self, weir, programs):
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--cgroup", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--ipc", "--net",
             str(HERE / "boot-systemd"), str(weir), str(self.cgroup), self.kind,
             *(str(p) for p in programs)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=self._join, text=True)
        self.inner = self._wait_for_first()
        self._wait_for_boot()

    def _join(self):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: ends with the tests, however they end
        (self.cgroup / "cgroup.procs").write_text("0")

    def _why(self):
        return (self.process.stderr.read().strip().splitlines() or ["process 1 ended"])[-1]

    def _wait_for_first(self):
        """The PID, here, of its process 1."""
        for _ in range(200):
            if self.process.poll() is not None:
                raise CannotBoot(self._why())
            children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            if children:
                return int(children[0])
            time.sleep(0.02)
        raise CannotBoot("unshare does not start anything")

    def _wait_for_boot(self):
        for _ in range(100):
            if self.process.poll() is not None:
                raise CannotBoot(self._why())
            if pathlib.Path(f"/proc/{self.inner}/comm").read_text().strip() == "systemd":
                said = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                if said in ("running", "degraded"):
                    return
            time.sleep(0.05)
        raise CannotBoot("systemd does not get through its boot")

    def run(self, *words, check=True, env=None, stdin=None):
        """Runs a command in there as root."""
        variables = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **(env or {})}
        done = subprocess.run(["nsenter", "--target", str(self.inner), "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net",
                               "env", "-i", *(f"{k}={v}" for k, v in variables.items()), *(str(w) for w in words)],
                              input=stdin, capture_output=True, text=True, check=False, timeout=60)
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def write(self, path, text, mode="644"):
        self.run("install", "-Dm", mode, "/dev/stdin", path, stdin=text)

    def show(self, unit, *names):
        """{property: value} of a unit, as systemd has it."""
        return dict(line.split("=", 1) for line in self.run("systemctl", "show", "-p", ",".join(names), unit).stdout.splitlines())

    def get(self, url, *options):
        """A body; "" if nobody answers."""
        return self.run("curl", "-s", "--max-time", "10", *options, url, check=False).stdout

    def end(self):
        if self.process:
            self.process.kill()  # and with it, by --kill-child, all of its processes
            self.process.wait()
            self.process.stderr.close()
        for _ in range(100):
            if _remove(self.cgroup) or not self.cgroup.exists():
                return
            time.sleep(0.05)
