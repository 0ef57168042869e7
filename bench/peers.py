"""The peers: how each gateway is started, what it needs to be told, and whether it is there."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import machine

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
INSTALLED = ROOT / "build" / "bench"
CHAT = "/v1/chat/completions"
KIB = 1024


class Peer:
    """One gateway (or, for "direct", none). Subclasses say how it is started."""

    name = ""
    slow = False  # takes part only in the scenarios that it can finish in sensible time
    only = None  # names of the scenarios it takes part in, where not in all
    health = "/health/liveliness"
    headers = {}
    start_timeout_s = 10

    def __init__(self, work, upstream_port, options):
        self.work = work
        self.upstream = upstream_port
        self.options = options
        self.port = machine.free_port()
        self.process = None

    def missing(self):
        """Why it cannot be measured here, or None."""
        return None

    def version(self):
        return ""

    def argv(self, body_bytes):
        raise NotImplementedError

    def binary(self):
        return None

    def env(self):
        return None

    def config(self, source, body_bytes):
        """Writes a configuration with its places filled in; returns its path."""
        text = (HERE / "peers" / source).read_text(encoding="utf-8")
        # A buffer that holds head and body whole: HAProxy looks for the model in it.
        places = {"PORT": self.port, "UPSTREAM": self.upstream, "WORK": self.work,
                  "BODY_BUFFER": max(16 * KIB, body_bytes + 8 * KIB), "PEERS": HERE / "peers"}
        for place, value in places.items():
            text = text.replace(f"@{place}@", str(value))
        path = self.work / f"{self.name}-{source}"
        path.write_text(text, encoding="utf-8")
        return str(path)

    def start(self, body_bytes=KIB):
        """Starts it and waits for its first 200; returns the seconds from exec to then."""
        argv = self.argv(body_bytes)
        begin = time.perf_counter()
        self.process = machine.spawn(argv, machine.PEER_CORE, self.work / f"{self.name}.out",
                                     env=self.env(), cwd=self.work)
        while not self.healthy():
            if self.process.poll() is not None or \
                    time.perf_counter() - begin > self.start_timeout_s:
                self.stop()
                raise machine.BenchError(
                    f"{self.name} did not start: see {self.work / self.name}.out")
            time.sleep(0.0005)
        return time.perf_counter() - begin

    def healthy(self):
        try:
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            c.request("GET", self.health)
            return c.getresponse().status == 200
        except OSError:
            return False
        finally:
            c.close()

    def stop(self):
        if self.process:
            machine.signal_group(self.process, signal.SIGCONT)
            machine.end(self.process)
            self.process = None

    def pause(self):
        """While another is measured it must not run: timers and collectors would be in the way."""
        machine.signal_group(self.process, signal.SIGSTOP)

    def resume(self):
        machine.signal_group(self.process, signal.SIGCONT)

    @property
    def pid(self):
        return self.process.pid

    def check(self, body):
        """One request through it must bring an answer of the simulator with its token counts."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            c.request("POST", CHAT, body, {"content-type": "application/json", **self.headers})
            r = c.getresponse()
            text = r.read()
            if r.status != 200 or json.loads(text)["usage"]["completion_tokens"] != 16:
                raise machine.BenchError(f"{self.name} answered {r.status}: {text[:300]!r}")
        except (OSError, ValueError, KeyError) as e:
            raise machine.BenchError(f"{self.name}: no usable answer: {e!r}") from e
        finally:
            c.close()


def first_line(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        return (done.stdout + done.stderr).strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return "unknown"


class Direct(Peer):
    name = "direct"

    def __init__(self, *args):
        super().__init__(*args)
        self.port = self.upstream

    def start(self, body_bytes=KIB):
        return 0.0

    def stop(self):
        pass

    pause = resume = stop


class Weir(Peer):
    name = "weir"

    def binary(self):
        return self.options.weir

    def missing(self):
        if not os.access(self.options.weir, os.X_OK):
            return f"{self.options.weir} is not there: build it (cmake --build build/release)"
        return None

    def version(self):
        return first_line([self.options.weir, "version"])

    def argv(self, body_bytes):
        return [self.options.weir, "serve", "--config", self.config("weir.yaml", body_bytes),
                "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]


class Nginx(Peer):
    name = "nginx"

    def binary(self):
        return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")

    def missing(self):
        return None if self.binary() else "nginx is not installed: scripts/dev/bench-deps"

    def version(self):
        return first_line([self.binary(), "-v"])

    def argv(self, body_bytes):
        return [self.binary(), "-p", str(self.work), "-c", self.config("nginx.conf", body_bytes)]


class Haproxy(Peer):
    name = "haproxy"

    def binary(self):
        return shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")

    def missing(self):
        return None if self.binary() else "haproxy is not installed: scripts/dev/bench-deps"

    def version(self):
        return first_line([self.binary(), "-v"])

    def argv(self, body_bytes):
        return [self.binary(), "-db", "-f", self.config(f"{self.name}.cfg", body_bytes)]


class HaproxyTokens(Haproxy):
    """The same work as weir's: also a request id, and tokens and finish_reason of the answer."""

    name = "haproxy-tokens"
    only = ("kb1", "syscalls")  # elsewhere plain HAProxy is the harder rival


class Portkey(Peer):
    name = "portkey"
    slow = True
    health = "/"
    start_timeout_s = 60
    script = INSTALLED / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"

    def __init__(self, *args):
        super().__init__(*args)
        self.headers = {
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{self.upstream}/v1",
            "x-portkey-forward-headers": "x-mock-stamp,x-mock-tokens,x-mock-tokens-per-second",
        }

    def missing(self):
        if not self.script.exists() or not shutil.which("node"):
            return "Portkey is not installed: scripts/dev/bench-deps"
        return None

    def version(self):
        package = json.loads((self.script.parent.parent / "package.json").read_text())
        return f"@portkey-ai/gateway {package['version']}, node {first_line(['node', '-v'])}"

    def argv(self, body_bytes):
        return [shutil.which("node"), str(self.script), f"--port={self.port}", "--headless"]


class Litellm(Peer):
    name = "litellm"
    slow = True
    start_timeout_s = 180
    program = INSTALLED / "litellm/bin/litellm"

    def missing(self):
        return None if self.program.exists() else "LiteLLM is not installed: scripts/dev/bench-deps"

    def version(self):
        return first_line([str(self.program.parent / "python"), "-c",
                           "import importlib.metadata as m; print('litellm', m.version('litellm'))"])

    def env(self):
        return {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION",
                "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}  # as the others

    def argv(self, body_bytes):
        return [str(self.program), "--config", self.config("litellm.yaml", body_bytes),
                "--host", "127.0.0.1", "--port", str(self.port), "--num_workers", "1",
                "--telemetry", "False"]


PEERS = [Direct, Weir, Nginx, Haproxy, HaproxyTokens, Portkey, Litellm]


class Mock:
    """The upstream of all of them: weir's simulated provider, beside the generator."""

    def __init__(self, work, options):
        self.port = machine.free_port()
        self.process = machine.spawn(
            [*options.mock, "--port", str(self.port), "--quiet"], machine.LOAD_CORE,
            work / "mock.out")
        for _ in range(200):
            try:
                c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                c.request("GET", "/mock/stats")
                if c.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.02)
            finally:
                c.close()
        self.stop()
        raise machine.BenchError(f"the simulated provider did not start: see {work}/mock.out")

    def stop(self):
        machine.end(self.process)
