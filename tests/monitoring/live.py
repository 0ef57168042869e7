"""A monitoring stack that runs: real Prometheus and Alertmanager with the shipped files, simulated providers and engines, and a driver of traffic.

The shipped files are used as they are but for where things listen and how often they look: copy_of_config() changes targets and intervals, nothing
else, and says so in what it returns. Standard library, PyYAML and the harness of tests/e2e only; everything listens on 127.0.0.1.
"""
import contextlib
import copy
import json
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import yaml
from harness import ROOT, chat_body, forever, request, wait_for

SHIPPED = ROOT / "monitoring"
JOB = "litellm"


def needs_tool(*names):
    """A mark: skips where one of Debian's programs is not there, and says how to get it."""
    missing = [name for name in names if not shutil.which(name)]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)} here: run scripts/dev/install-deps test")


# ---- what is shipped, and the copy of it that can be run here ----

INTERVALS = {"scrape_interval", "scrape_timeout", "evaluation_interval", "interval", "refresh_interval"}


def leaves(value, path=()):
    """{path: scalar} of a tree of mappings and lists."""
    if isinstance(value, dict):
        return {p: v for key, inner in value.items() for p, v in leaves(inner, (*path, key)).items()}
    if isinstance(value, list):
        return {p: v for i, inner in enumerate(value) for p, v in leaves(inner, (*path, i)).items()}
    return {path: value}


def differences(one, other):
    """The paths at which two trees differ."""
    a, b = leaves(one), leaves(other)
    return sorted((p for p in a.keys() | b.keys() if a.get(p, a) != b.get(p, a)), key=str)


def with_intervals(tree, interval):
    """A copy of the tree in which everything that is an interval is this one."""
    if isinstance(tree, dict):
        return {k: interval if k in INTERVALS and isinstance(v, str) else with_intervals(v, interval) for k, v in tree.items()}
    return [with_intervals(v, interval) for v in tree] if isinstance(tree, list) else tree


def set_targets(job, targets, folder):
    """Puts targets where the job has its own: a static list, or the files it reads. Labels that the shipped files give to targets are kept."""
    if "file_sd_configs" in job:
        files = [path for sd in job["file_sd_configs"] for pattern in sd["files"] for path in sorted(folder.glob(pattern))]
        labels = next((group["labels"] for path in files for group in json.loads(path.read_text()) if group.get("labels")), {})
        for path in files:
            path.write_text("[]")
        first = folder / job["file_sd_configs"][0]["files"][0].replace("*", "live")
        first.parent.mkdir(parents=True, exist_ok=True)
        first.write_text(json.dumps([{"targets": targets, "labels": labels}]))
        return
    job["static_configs"] = [{**job["static_configs"][0], "targets": targets}]


def with_commented_jobs(text, names):
    """prometheus.yml with those jobs in force that are asked for and stand in comments."""
    def uncommented(found):
        block = re.sub(r"(?m)^  # ", "  ", found.group())
        return block if found.group(1) in names else found.group()

    return re.sub(r"(?m)^  # - job_name: '([\w-]+)'\n(?:  #   .*\n)+", uncommented, text)


def copy_of_config(folder, targets, interval="1s", rules=None):
    """Copies the shipped prometheus/ to the folder and points it at `targets`, {job name: [host:port]}, with "alertmanagers" for where alerts go.
    `rules(name, tree)` may return another tree for a rule file. Returns the path of prometheus.yml. Fails where anything else would differ.
    May be called again for a folder, with other targets."""
    folder = pathlib.Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SHIPPED / "prometheus", folder, symlinks=False)
    path = folder / "prometheus.yml"
    shipped = yaml.safe_load(with_commented_jobs(path.read_text(), targets))
    changed = with_intervals(copy.deepcopy(shipped), interval)
    for job in changed["scrape_configs"]:
        set_targets(job, targets[job["job_name"]], folder)
    for manager in changed.get("alerting", {}).get("alertmanagers", []):
        set_targets(manager, targets["alertmanagers"], folder)
    for where in differences(shipped, changed):
        assert where[-1] in INTERVALS or "targets" in where, f"prometheus.yml: the test would change {where}"
    path.write_text(json.dumps(changed, indent=1))
    for rule_file in folder.glob("rules/*.yml"):
        tree = with_intervals(yaml.safe_load(rule_file.read_text()), interval)
        rule_file.write_text(json.dumps(rules(rule_file.name, tree) if rules else tree, indent=1))
    return path


# ---- Debian's programs ----

def free_port():
    """A port below those that the kernel gives out, so that no connection takes it before its server does."""
    for _ in range(200):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError("no free port in 200 tries")


def fetch(url, timeout_s=10):
    """The body of a GET; no proxy, whatever the environment says."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout_s) as answer:
        return answer.read()


class Server:
    """One of Debian's servers, on a port of its own; its output is in the folder."""

    READY = "/-/ready"

    def __init__(self, folder, name, words):
        self.folder, self.name, self.words = pathlib.Path(folder), name, words
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process, self.port = None, None

    def launch(self, port):
        with open(self.folder / "output", "ab") as out:
            self.process = subprocess.Popen([self.name, f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn", *self.words],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder)
        self.port = port

    def said(self):
        return (self.folder / "output").read_text(errors="replace")

    def start(self, port=None):
        for _ in range(3):  # another program may take the port between the look and the start
            self.launch(port or free_port())
            if self.comes_up():
                return self
        raise AssertionError(f"{self.name} did not start:\n{self.said()}")

    def comes_up(self):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if self.process.poll() is not None:
                if "address already in use" in self.said():
                    return False
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.said()}")
            with contextlib.suppress(OSError):
                fetch(self.url(self.READY))
                return True
            time.sleep(0.1)
        return False

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def url(self, path, **parameters):
        return f"http://127.0.0.1:{self.port}{path}" + (f"?{urllib.parse.urlencode(parameters, doseq=True)}" if parameters else "")

    def json(self, path, **parameters):
        try:
            return json.loads(fetch(self.url(path, **parameters)))
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{self.name} {path} {parameters}: {refused.code} {refused.read().decode()}") from None

    def finish(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.finish()


class Alertmanager(Server):
    """Debian's. It reads its templates from one fixed folder of the installed package; where that is not there, since the package was only unpacked, a copy
    of the program runs in which the folder's name is another one of the same length."""

    SHARE = "/usr/share/prometheus/alertmanager"

    def __init__(self, folder, config_path):
        self.config_path = pathlib.Path(config_path)
        super().__init__(folder, "prometheus-alertmanager", [f"--config.file={config_path}", "--storage.path=data", "--cluster.listen-address="])
        if not pathlib.Path(self.SHARE).exists():
            self.name = self.copy_of_program(pathlib.Path(shutil.which(self.name)).resolve())

    def copy_of_program(self, program):
        (self.folder / "share").symlink_to(program.parents[1] / "share/prometheus/alertmanager")
        path = self.folder / program.name
        path.write_bytes(program.read_bytes().replace(self.SHARE.encode(), b"share".ljust(len(self.SHARE), b"/")))
        path.chmod(0o755)
        return str(path)

    def alerts(self):
        return self.json("/api/v2/alerts")


class Prometheus(Server):
    def __init__(self, folder, config_path, *words, data="data"):
        """`words`: more options; `data`: where the samples are, seen from the folder."""
        self.config_path = pathlib.Path(config_path)
        super().__init__(folder, "prometheus", [
            f"--config.file={config_path}", f"--storage.tsdb.path={data}", "--enable-feature=exemplar-storage",
            "--rules.alert.resend-delay=2s", "--rules.alert.for-grace-period=0s", "--storage.tsdb.retention.time=60d", *words])

    def query(self, expr, at=None):
        """The result of an instant query: a list of {metric, value}, or the [time, value] of a scalar."""
        answer = self.json("/api/v1/query", query=expr, **({"time": f"{at:.3f}"} if at else {}))
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def value(self, expr, at=None):
        """The one number of an expression."""
        found = self.query(expr, at)
        assert len(found) == 1, f"{expr}: {len(found)} series"
        return float(found[0]["value"][1])

    def query_range(self, expr, begin, end, step_s=1):
        answer = self.json("/api/v1/query_range", query=expr, start=f"{begin:.3f}", end=f"{end:.3f}", step=step_s)
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def alerts(self):
        """The active alerts: {name: {state, ...}}."""
        found = {}
        for alert in self.json("/api/v1/alerts")["data"]["alerts"]:
            found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    def rules(self):
        return [rule for group in self.json("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]

    def has_scraped(self, since, times=2):
        """True when every target of the job was scraped so many times after that moment (time.time())."""
        found = self.query(f'count_over_time(up{{job="{JOB}"}}[{max(1, int(time.time() - since))}s])')
        return bool(found) and all(float(series["value"][1]) > times for series in found)

    def settle(self):
        """Waits until what has happened before this call has been scraped and the rules have seen it."""
        since = time.time()

        def scraped():
            """two scrapes"""
            return time.time() - since > 3 and self.has_scraped(since)

        wait_for(scraped, 60, 0.3)
        return since


# ---- expressions ----

SELECTOR = re.compile(r'[a-zA-Z_:][\w:]*\{(?:[^}"]|"(?:[^"\\]|\\.)*")*\}')


def selectors(expr):
    """The `name{label="value"}` in an expression: an operator after it can hide that one finds nothing ("or vector(0)")."""
    return set(SELECTOR.findall(expr))


# ---- engines and a provider with limits, as upstreams of their own ----

WORDS = "a stream of words that says nothing in particular but has a length".split()
OLLAMA_PS = {"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest", "size": 3427000000, "size_vram": 2000000000,
                         "expires_at": "2026-06-04T14:38:31.83753-07:00"}]}
VLLM_METRICS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
"""
LLAMA_METRICS = """# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 0
"""
PAGES = {
    "openai": {},
    "ollama": {"/api/ps": OLLAMA_PS, "/api/version": {"version": "0.9.1"}},
    "vllm": {"/metrics": VLLM_METRICS.encode(), "/version": {"version": "0.11.0"}},
    "llama.cpp": {"/metrics": LLAMA_METRICS.encode(), "/slots": [{"id": 0, "is_processing": True}, {"id": 1, "is_processing": False}],
                  "/props": {"total_slots": 2, "model_path": "m.gguf", "build_info": "b6123-abc", "default_generation_settings": {"n_ctx": 1024}}},
}
# What engines add to an answer: llama.cpp its timings; Ollama durations in ns, as its own API has them.
EXTRAS = {"llama.cpp": {"timings": {"prompt_n": 9, "prompt_ms": 12.5, "predicted_n": 12, "predicted_ms": 80.25}},
          "ollama": {"total_duration": 150000000, "load_duration": 40000000, "prompt_eval_count": 9, "prompt_eval_duration": 20000000,
                     "eval_count": 12, "eval_duration": 90000000}}


def simulated(kind, headers=None, token_s=0.004, state=None):
    """The script of an upstream that answers chats, whole and streamed, and the questions that weir asks an engine of that kind.
    `state` is a dict that a test may change while it runs: {"status": "503 Unavailable"} makes it fail, "headers" are
    added to its answers, "pages" are what it says of itself."""
    state = state if state is not None else {}
    usage = {"prompt_tokens": 9, "completion_tokens": len(WORDS), "total_tokens": 9 + len(WORDS)}

    def reply(connection, asked):
        target = asked.target.split("?")[0]
        if state.get("status"):
            connection.reply({"error": {"message": "simulated failure", "type": "server_error"}}, state["status"])
        elif target in PAGES[kind]:
            page = state.get("pages", PAGES[kind])[target]
            connection.reply(page() if callable(page) else page)
        elif asked.method == "GET" and target.endswith("/models"):
            connection.reply({"object": "list", "data": []})
        elif asked.method == "POST" and target.endswith("/chat/completions"):
            chat(connection, asked)
        else:
            connection.reply({"error": "no such path"}, "404 Not Found")

    def chat(connection, asked):
        extra, more = EXTRAS.get(kind, {}), {**(headers or {}), **state.get("headers", {})}
        base = {"id": "chatcmpl-1", "created": 1700000000, "model": asked.json["model"]}
        if not asked.json.get("stream"):
            time.sleep(token_s * len(WORDS))
            message = {"role": "assistant", "content": " ".join(WORDS)}
            connection.reply({**base, "object": "chat.completion", "usage": usage, **extra,
                              "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}, headers=more)
            return
        connection.begin_stream("".join(f"{k}: {v}\r\n" for k, v in more.items()))
        base["object"] = "chat.completion.chunk"
        for i, word in enumerate(WORDS):
            time.sleep(token_s)
            finish = "stop" if i == len(WORDS) - 1 else None
            event = {**base, "choices": [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": finish}]}
            connection.send_chunk(f"data: {json.dumps(event)}\n\n")
        connection.send_chunk(f"data: {json.dumps({**base, 'choices': [], 'usage': usage, **extra})}\n\ndata: [DONE]\n\n")
        connection.end_stream()

    return forever(reply)


# ---- traffic ----

AT_LEAST = 3  # of each kind


class Kind:
    """One kind of request: how often it comes beside the others, whom it asks, and how."""

    def __init__(self, name, weight, model, stream=False, headers=None, key=None, text=None, leave=False, path="/v1/chat/completions",
                 body=None, **more):
        self.name, self.weight, self.model, self.stream, self.headers = name, weight, model, stream, headers or {}
        self.key, self.text, self.leave, self.path, self.body, self.more = key, text, leave, path, body, more


class Traffic:
    """Sends requests of many kinds at a steady pace from a few threads until stop(). Everything that was sent is counted; one seed, one traffic."""

    def __init__(self, gateway, kinds, per_second=20, threads=6, seed=1):
        self.gateway, self.kinds, self.gap_s, self.seed = gateway, kinds, threads / per_second, seed
        self.sent, self.answers, self.problems = 0, {}, []
        self.ending, self.lock = threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        """Lets what is in flight end."""
        self.ending.set()
        for thread in self.threads:
            thread.join(30)
        assert not self.problems, self.problems[:3]
        return self

    def run_for(self, seconds):
        self.start()
        time.sleep(seconds)
        return self.stop()

    def run(self, part):
        rng = random.Random(f"{self.seed} {part}")
        # Each kind comes at the start, so that a short run has them all.
        first = [kind for i, kind in enumerate(self.kinds) if i % len(self.threads) == part] * AT_LEAST
        next_at = time.monotonic() + self.gap_s * rng.random()
        while not self.ending.is_set():
            kind = first.pop() if first else rng.choices(self.kinds, [k.weight for k in self.kinds])[0]
            try:
                self.one(kind, f"{part} {rng.random()}")
            except Exception as problem:  # pylint: disable=broad-except  # told by stop(), in the test's own thread
                self.problems.append(f"{kind.name}: {problem!r}")
                return
            next_at = max(next_at + self.gap_s, time.monotonic())
            self.ending.wait(max(0, next_at - time.monotonic()))

    def one(self, kind, nonce):
        headers = {"connection": "close", "traceparent": f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-01", **kind.headers}
        if kind.key:
            headers["authorization"] = f"Bearer {kind.key}"
        if kind.body is not None:
            body = kind.body
        elif kind.path.endswith("embeddings"):
            body = json.dumps({"model": kind.model, "input": nonce}).encode()
        else:
            body = json.dumps(chat_body(kind.model, kind.text or f"hello {nonce}", **({"stream": True} if kind.stream else {}), **kind.more)).encode()
        with self.gateway.connect(timeout_s=30) as raw:
            raw.send(request("POST", kind.path, body, headers))
            with self.lock:
                self.sent += 1
            if kind.leave:
                raw.until(b"data: ")
                raw.reset()
                status = "left"
            else:
                status = raw.answer("POST").status
        with self.lock:
            self.answers.setdefault(kind.name, {}).setdefault(status, 0)
            self.answers[kind.name][status] += 1


# ---- numbers of a log, to hold Prometheus's against ----

def log_totals(records, field, *labels):
    """{label values: sum of a field over the request records} ("" counts them)."""
    sums = {}
    for record in records:
        key = tuple(str(record.get(label, "")) for label in labels)
        sums[key] = sums.get(key, 0) + (record.get(field, 0) if field else 1)
    return sums
