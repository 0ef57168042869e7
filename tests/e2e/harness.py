"""What the end-to-end tests are written with: a gateway, a simulated provider, a scripted upstream, a raw client.

Nothing here knows HTTP better than it must: requests and answers are bytes that the tests write and read themselves,
so that a test shows exactly what went over the wire. Standard library only.
"""
import json
import os
import pathlib
import re
import resource
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]


def find_binary():
    given = os.environ.get("WEIR")
    candidates = [given] if given else ["build/release/weir", "build/dev/weir"]
    for name in candidates:
        path = ROOT / name
        if path.exists():
            return path
    raise SystemExit(f"no weir binary at {', '.join(candidates)}: run make build")


WEIR = find_binary()
SANITIZED = any(name in str(WEIR) for name in ("asan", "tsan"))
PATIENCE_S = 30 if SANITIZED else 10


def wait_for(what, timeout_s=PATIENCE_S, every_s=0.01):
    """Calls what() until it gives something true, and returns that."""
    end = time.monotonic() + timeout_s
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout_s} s in vain: {getattr(what, '__doc__', None) or what}")
        time.sleep(every_s)


# ---- configuration ----

def model(name, base, litellm_model=None, info=None, **params):
    entry = {"model_name": name, "litellm_params": {"model": litellm_model or f"openai/{name}", "api_base": base,
                                                    "api_key": "sk-upstream", **params}}
    if info:
        entry["model_info"] = info
    return entry


def config(*models, **sections):
    """A configuration as a dict; Gateway adds port 0, the log file and two workers where they are not given."""
    return {"model_list": list(models), **sections}


# ---- processes ----

class Process:
    """A weir command with its output in files, so that it can never be held up by a full pipe."""

    def __init__(self, folder, words, env=None, limits=None):
        self.folder, self.words, self.limits = pathlib.Path(folder), [str(w) for w in words], limits or {}
        self.env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith("LITELLM")}
        self.env.update(env or {})
        self.process = None

    def launch(self):
        def limit():
            for what, value in self.limits.items():
                resource.setrlimit(what, (value, value))

        with open(self.folder / "stdout", "ab") as out, open(self.folder / "stderr", "ab") as err:
            self.process = subprocess.Popen([str(WEIR), *self.words], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                            cwd=self.folder, env=self.env, preexec_fn=limit if self.limits else None)
        return self

    @property
    def pid(self):
        return self.process.pid

    def said(self, which="stderr"):
        return (self.folder / which).read_text(errors="replace")

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout_s=PATIENCE_S):
        return self.process.wait(timeout_s)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def rss_bytes(self):
        pages = int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def finish(self):
        """Ends it as an operator would; a sanitizer's finding or a crash fails the test that used it."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"did not end on SIGTERM:\n{self.said()}") from None
        code, text = self.process.returncode, self.said()
        self.process = None
        assert "Sanitizer" not in text and "runtime error" not in text, text
        assert code in (0, -signal.SIGKILL, *getattr(self, "allowed_exits", ())), f"exit {code}:\n{text}"


class Gateway(Process):
    def __init__(self, folder, settings, words=(), env=None, limits=None, log_file="requests.log"):
        self.settings = json.loads(json.dumps(settings))
        folder = pathlib.Path(folder)
        own = self.settings.setdefault("weir_settings", {})
        own.setdefault("port", 0)
        own.setdefault("host", "127.0.0.1")
        own.setdefault("workers", 2)
        if "router_settings" not in self.settings:  # one request, one attempt: a test that wants more says so
            self.settings["router_settings"] = {"num_retries": 0, "disable_cooldowns": True}
        self.log_path = folder / log_file if log_file else None
        if log_file:
            logging = self.settings.setdefault("litellm_settings", {}).setdefault("logging", {})
            logging.setdefault("log_file", str(self.log_path))
        self.config_path = folder / "config.yaml"
        self.config_path.write_text(json.dumps(self.settings, indent=1))  # JSON is YAML
        self.tls = "tls_cert_file" in own
        super().__init__(folder, ["serve", "--config", self.config_path, "--no-builtin", *words], env, limits)
        self.port, self.host = None, own["host"]

    def start(self):
        try:
            seen = (self.folder / "stderr").stat().st_size
        except FileNotFoundError:
            seen = 0
        self.launch()

        def listening():
            text = self.said()[seen:]
            if self.process.poll() is not None:
                raise AssertionError(f"weir ended with {self.process.returncode}:\n{text}")
            return re.search(r"listens on (?:https?://\S+:(\d+)[, \n]|unix:\S+)", text)

        found = wait_for(listening, every_s=0.002)
        self.port = int(found.group(1)) if found.group(1) else None
        return self

    def restart(self):
        """As it was, in the same folder. The port may be another one."""
        if self.process and self.process.poll() is None:
            self.finish()
        return self.start()

    # -- talking to it --

    def connect(self, timeout_s=PATIENCE_S, verify=None, receive_buffer=None):
        return Raw(self.host, self.port, timeout_s, tls=verify if self.tls else None, receive_buffer=receive_buffer)

    def ask(self, method, path, body=b"", headers=None, **options):
        with self.connect(**options) as raw:
            raw.send(request(method, path, body, {"connection": "close", **(headers or {})}))
            return raw.answer(method)

    def get(self, path, headers=None, **options):
        return self.ask("GET", path, b"", headers, **options)

    def post(self, path, body, headers=None, **options):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, data, headers, **options)

    def chat(self, name="sim-fast", headers=None, text="hello", **more):
        return self.post("/v1/chat/completions", chat_body(name, text, **more), headers)

    # -- what it wrote --

    def lines(self):
        """The log's complete lines; each must be JSON."""
        if not self.log_path.exists():
            return []
        data = self.log_path.read_bytes()
        return [json.loads(line) for line in data.split(b"\n")[:-1]]

    def requests(self, count):
        """Waits until the log has `count` request records (exactly; more is an error), and returns them."""
        def there():
            """enough request records in the log"""
            found = [r for r in self.lines() if r["event"] == "request"]
            return len(found) >= count and (found or True)

        found = wait_for(there)
        found = [] if found is True else found
        assert len(found) == count, f"{len(found)} records instead of {count}"
        return found

    def record(self):
        return self.requests(1)[0]

    def metrics(self, accept=None):
        answer = self.get("/metrics", {"accept": accept} if accept else None)
        assert answer.status == 200
        return Metrics(answer.text)


class Mock(Process):
    def __init__(self, *words):
        self.scratch = tempfile.TemporaryDirectory()
        super().__init__(self.scratch.name, ["mock", "--port", "0", *words])

    def __enter__(self):
        self.launch()
        found = wait_for(lambda: re.search(r"listening on (\S+)", self.said("stdout")))
        self.base = found.group(1)
        self.port = urllib.parse.urlsplit(self.base).port
        return self

    def __exit__(self, *_):
        self.finish()
        self.scratch.cleanup()

    def stats(self):
        with Raw("127.0.0.1", self.port) as raw:
            raw.send(request("GET", "/mock/stats", b"", {"connection": "close"}))
            return raw.answer().json


# ---- HTTP, as bytes ----

def chat_body(name="sim-fast", text="hello", **more):
    return {"model": name, "messages": [{"role": "user", "content": text}], **more}


def request(method, path, body=b"", headers=None):
    fields = {"host": "weir.test", **(headers or {})}
    if method == "POST" and "transfer-encoding" not in fields and "content-length" not in fields:
        fields["content-length"] = str(len(body))
    if method == "POST":
        fields.setdefault("content-type", "application/json")
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items() if v is not None)
    return head.encode() + b"\r\n" + body


class Answer:
    def __init__(self, status, headers, body, complete):
        self.status, self.headers, self.body, self.complete = status, headers, body, complete

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]

    def __getitem__(self, name):
        return self.headers.get(name.lower())

    @property
    def events(self):
        """The data of each server-sent event."""
        return [e[len("data: "):] for e in self.text.split("\n\n") if e.startswith("data: ")]


class Closed(Exception):
    pass


class Raw:
    """A client that sends and reads bytes."""

    def __init__(self, host, port, timeout_s=PATIENCE_S, tls=None, receive_buffer=None):
        if str(host).startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(host[len("unix:"):])
        elif receive_buffer:
            self.socket = socket.socket()
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.connect((host, port))
        else:
            self.socket = socket.create_connection((host, port), timeout_s)
        self.socket.settimeout(timeout_s)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.held = bytearray()  # grows in place: an answer of megabytes is not copied with each piece of it

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Leaves with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def send(self, *pieces):
        for piece in pieces:
            self.socket.sendall(piece.encode() if isinstance(piece, str) else piece)

    def more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(bytes(self.held[:200]))
        self.held += data

    def until(self, mark):
        while mark not in self.held:
            self.more()
        taken = self.exactly(self.held.index(mark))
        self.exactly(len(mark))
        return taken

    def exactly(self, count):
        while len(self.held) < count:
            self.more()
        taken = bytes(self.held[:count])
        del self.held[:count]
        return taken

    def head(self):
        """(status, headers) of the next answer."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        assert re.fullmatch(r"HTTP/1\.1 \d{3} [ -~]*", lines[0]), lines[0]
        fields = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            fields[name.lower()] = fields[name.lower()] + ", " + value.strip() if name.lower() in fields else value.strip()
        return int(lines[0].split()[1]), fields

    def chunk(self):
        """The next chunk; b"" is the last one."""
        size = int(self.until(b"\r\n"), 16)
        data = self.exactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    def answer(self, method="GET"):
        status, fields = self.head()
        body, complete = bytearray(), True
        try:
            if method == "HEAD" or status in (204, 304) or status < 200:
                pass
            elif fields.get("transfer-encoding") == "chunked":
                while piece := self.chunk():
                    body += piece
            elif "content-length" in fields:
                body = self.exactly(int(fields["content-length"]))
            else:
                while True:
                    body += self.exactly(1)
        except Closed:
            complete = "content-length" not in fields and "transfer-encoding" not in fields
        return Answer(status, fields, bytes(body), complete)

    def rest(self):
        """Everything up to the end of the connection."""
        try:
            while True:
                self.more()
        except Closed:
            return self.exactly(len(self.held))

    def is_closed(self):
        """Nothing more came, and the other side closed."""
        try:
            self.more()
        except Closed:
            return not self.held
        return False


# ---- a scripted upstream ----

class Asked:
    def __init__(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ")
        self.headers = {n.lower(): v.strip() for n, v in (line.split(":", 1) for line in lines[1:])}
        self.head, self.body = head, body

    @property
    def json(self):
        return json.loads(self.body)


class UpstreamConnection(Raw):
    def __init__(self, sock, server):
        self.socket, self.server, self.held = sock, server, bytearray()
        sock.settimeout(PATIENCE_S)

    def asked(self):
        """Reads one request; it is also kept in server.requests."""
        head = self.until(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        found = Asked(head, self.exactly(int(length.group(1))) if length else b"")
        self.server.requests.append(found)
        return found

    def reply(self, body=b"", status="200 OK", headers=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
        self.send(f"HTTP/1.1 {status}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items() if v is not None) + "\r\n", data)

    def begin_stream(self, headers=""):
        self.send(f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n{headers}\r\n")

    def send_chunk(self, data):
        data = data.encode() if isinstance(data, str) else data
        self.send(f"{len(data):x}\r\n", data, "\r\n")

    def end_stream(self):
        self.send("0\r\n\r\n")

    def stream(self, *events):
        """A whole event stream, one chunk an event."""
        self.begin_stream()
        for event in events:
            self.send_chunk(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n")
        self.end_stream()


class Upstream:
    """Listens, and runs script(connection) in a thread for each connection. What went wrong there is raised by close()."""

    def __init__(self, script, tls=None, family=socket.AF_INET, path=None, port=0):
        self.script, self.requests, self.connections, self.problems = script, [], 0, []
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if path:
            self.listener.bind(str(path))
            self.base = f"unix:{path}"
        else:
            self.listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
            self.port = self.listener.getsockname()[1]
            host = "[::1]" if family == socket.AF_INET6 else "localhost" if tls else "127.0.0.1"
            self.base = f"{'https' if tls else 'http'}://{host}:{self.port}/v1"
        self.listener.listen(512)
        self.tls, self.closing = tls, False
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with UpstreamConnection(sock, self) as connection:
                self.script(connection)
        except (Closed, ConnectionError, ssl.SSLError, socket.timeout):
            pass  # the gateway left: each test says itself whether that is right
        except Exception as problem:  # pylint: disable=broad-except
            if not self.closing:
                self.problems.append(problem)

    def close(self):
        if not self.closing:
            self.closing = True
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread: it must be gone before another socket gets the descriptor's number
            self.accepting.join(PATIENCE_S)
            self.listener.close()
        if self.problems:
            raise self.problems[0]


def forever(reply):
    """A script that answers each request of a connection by reply(connection, asked)."""
    def script(connection):
        while True:
            reply(connection, connection.asked())
    return script


COMPLETION = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": "upstream-name",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}


def delta(text=None, finish=None, **more):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "upstream-name",
            "choices": [{"index": 0, "delta": {"content": text} if text is not None else {}, "finish_reason": finish}], **more}


def usage_event(prompt=9, completion=2):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "upstream-name",
            "choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}}


# ---- metrics ----

class Metrics:
    SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*?)\})? (\S+)(?: # (\{.*\} \S+.*))?$')
    LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

    def __init__(self, text):
        self.text, self.samples, self.exemplars, self.types = text, {}, {}, {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.types[name] = kind
            if not line or line.startswith("#"):
                continue
            found = self.SAMPLE.match(line)
            assert found, line
            key = (found.group(1), frozenset(self.LABEL.findall(found.group(2) or "")))
            assert key not in self.samples, f"twice: {line}"
            self.samples[key] = float(found.group(3))
            if found.group(4):
                self.exemplars[key] = found.group(4)

    def total(self, name, **labels):
        """The sum of all series of that name that have these labels."""
        wanted = set(labels.items())
        return sum(v for (n, have), v in self.samples.items() if n == name and wanted <= have)

    def series(self, name):
        return [dict(have) for (n, have) in self.samples if n == name]
