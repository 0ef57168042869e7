"""`weir tail`: no line lost, none twice, whatever happens to the file; filters as a slow check has them; terminals left as found."""
import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

import pytest

from harness import WEIR, wait_for

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "reference"), str(HERE.parent.parent / "bench")]
import follow  # noqa: E402
import generate  # noqa: E402

ENV = {**os.environ, "LANG": "C.UTF-8", "TERM": "xterm-256color", "TZ": "UTC"}
for name in ("NO_COLOR", "COLUMNS", "LC_ALL", "LC_CTYPE"):
    ENV.pop(name, None)


def record(number, **more):
    line = {"timestamp": follow.stamp(), "level": "INFO", "event": "request", "request_id": f"id-{number}", "model": "gpt-4o",
            "provider": "openai", "status": "success", "http_status": 200, "latency_ms": 12.5, **more}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"


def append(path, *lines):
    with open(path, "a", encoding="utf-8") as out:
        out.write("".join(lines))


def ids(text):
    return [int(n) for n in re.findall(r'"request_id":"id-(\d+)"', text)]


def run(*args, status=0, **more):
    done = subprocess.run([str(WEIR), "tail", *map(str, args)], capture_output=True, check=False, env=ENV, timeout=60, **more)
    assert done.returncode == status, (done.stdout[-500:], done.stderr[-2000:])
    return done.stdout.decode()


class Tail:
    """weir tail at work, with what it prints so far."""

    def __init__(self, *args):
        self.files = {"text": tempfile.TemporaryFile(), "said": tempfile.TemporaryFile()}
        self.process = subprocess.Popen([str(WEIR), "tail", *map(str, args)], stdout=self.files["text"], stderr=self.files["said"],
                                        stdin=subprocess.DEVNULL, env=ENV)

    def read(self, where, last_bytes=None):
        fd = self.files[where].fileno()
        size = os.fstat(fd).st_size
        return os.pread(fd, size, 0 if last_bytes is None else max(size - last_bytes, 0)).decode(errors="replace")

    @property
    def text(self):
        return self.read("text")

    def expect(self, text, where="text"):
        wait_for(lambda: text in self.read(where, 100_000), 30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


# ---- following ----

@pytest.mark.parametrize("how", ["told", "polled"])
def test_a_hundred_rotations_under_a_writer_lose_none(tmp_path, how):
    log, rotations, each = tmp_path / "requests.log", 100, 2000  # a generation takes some ms: stamps tell them apart
    append(log, record(0))
    with Tail(log, "--json", "-n", "1", *(["--poll"] if how == "polled" else [])) as tail:
        tail.expect('"id-0"')
        number = 1
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for rotation in range(rotations):
            head, rest = record("@").split("@")
            for _ in range(each):
                os.write(fd, f"{head}{number}{rest}".encode())
                number += 1
            os.rename(log, f"{log}.{rotation + 1}")
            head, rest = record("@").split("@")
            for _ in range(20):  # the writer has not noticed yet
                os.write(fd, f"{head}{number}{rest}".encode())
                number += 1
            os.close(fd)
            fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, record(number).encode())
        os.close(fd)
        tail.expect(f'"id-{number}"')
    assert ids(tail.text) == list(range(number + 1))


def test_rotated_as_logrotate_does(tmp_path):
    """requests.log.1 becomes .2 and so on, and the new file is there before the writer takes it."""
    log = tmp_path / "requests.log"
    append(log, record(0))
    with Tail(log, "--json", "-n", "1") as tail:
        tail.expect('"id-0"')
        number = 1
        out = open(log, "a", encoding="utf-8")
        for _ in range(30):
            for k in range(40, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{log}.{k}", f"{log}.{k + 1}")
            os.rename(log, f"{log}.1")
            log.touch()
            for _ in range(2):
                for _ in range(50):
                    out.write(record(number))
                    number += 1
                out.flush()
                time.sleep(0.002)
            out.close()
            out = open(log, "a", encoding="utf-8")
        out.write(record(number))
        out.close()
        tail.expect(f'"id-{number}"')
    assert ids(tail.text) == list(range(number + 1))


def test_truncated_and_removed(tmp_path):
    log = tmp_path / "requests.log"
    append(log, *(record(n) for n in range(50)))
    with Tail(log, "--json", "-n", "5") as tail:
        tail.expect('"id-49"')
        os.truncate(log, 0)
        append(log, record(50))
        tail.expect('"id-50"')
        os.unlink(log)
        append(log, record(51))
        tail.expect('"id-51"')
        tail.expect("was emptied", "said")
        tail.expect("was rotated", "said")
    assert ids(tail.text) == list(range(45, 52))


def test_waits_for_a_file(tmp_path):
    log = tmp_path / "requests.log"
    with Tail(log, "--json") as tail:
        tail.expect("waiting for it", "said")
        append(log, *(record(n) for n in range(30)))
        tail.expect('"id-29"')
    assert ids(tail.text) == list(range(30))


@pytest.mark.heavy
def test_lines_come_soon():
    took = follow.measure(WEIR, 50_000, 2, "--json", "--show-content")
    print("50,000 lines/s:", took)
    assert took["lost"] == took["doubled"] == 0
    assert took["in_order"]
    assert took["median_ms"] < 500  # a busy machine's; bench/follow.py tells a quiet one's


# ---- what is shown ----

def fits(pattern, text):
    wanted, only_negative = False, True
    for one in pattern.split(","):
        shut_out, one = one.startswith("!"), one.lstrip("!")
        match = re.fullmatch(".*".join(map(re.escape, one.split("*"))), text, re.DOTALL) is not None
        match = match or (len(one) == 3 and one.lower().endswith("xx") and len(text) == 3 and text[0] == one[0])
        if match and shut_out:
            return False
        wanted, only_negative = wanted or match, only_negative and shut_out
    return wanted or only_negative


def field(name):
    return lambda r, pattern: fits(pattern, str(r.get(name, "")))


CHECKS = {"--model": field("model"), "--provider": field("provider"), "--key": field("key_alias"), "--user": field("user"),
          "--level": field("level"), "--slow": lambda r, ms: r.get("latency_ms", -1) >= float(ms),
          "--where": lambda r, _: r.get("latency_ms", 0) > 2000 and r.get("provider") == "ollama",
          "--status": lambda r, s: fits(s, str(r.get("http_status" if s.lstrip("!")[0].isdigit() else "status", "")))}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("tail") / "requests.log"
    made = generate.Generator(shape="weir", lines=4000, seed=7, start="2026-11-20T00:00:00Z", span_s=7200)
    path.write_bytes(b"".join(made.chunks()))
    return path


@pytest.mark.parametrize("options", [
    ("--model", "gpt-4o"), ("--model", "gpt-*,!gpt-4o"), ("--model", "!*4*"), ("--provider", "ollama,vllm"), ("--level", "ERROR"),
    ("--status", "failure"), ("--status", "5xx,429"), ("--status", "!200"), ("--slow", "4000"), ("--key", "team-0*"),
    ("--user", "*1@*"), ("--where", "latency_ms > 2s and provider = ollama"), ("--model", "llama*", "--level", "ERROR"), ("--provider", "openai", "--slow", "1000", "--status", "success")])
def test_filters(log, options):
    lines = log.read_text(encoding="utf-8").splitlines()
    pairs = list(zip(options[::2], options[1::2]))
    expected = [line for line in lines if all(CHECKS[o](json.loads(line), p) for o, p in pairs)]
    assert 0 < len(expected) < len(lines)
    got = run(log, "--no-follow", "--json", "--show-content", "-n", 100000, *options).splitlines()
    assert got == expected
    assert run(log, "--no-follow", "--json", "--show-content", "-n", 3, *options).splitlines() == expected[-3:]


def test_errors_since_and_n(log):
    lines = log.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    failed = [line for line, r in zip(lines, records) if r.get("status") == "failure" or r.get("level") == "ERROR"]
    assert run(log, "--no-follow", "--json", "--show-content", "-n", 100000, "--errors").splitlines() == failed
    since = "2026-11-20T01:30:00Z"
    late = [line for line, r in zip(lines, records) if r["timestamp"] >= since]
    assert 0 < len(late) < len(lines)
    assert run(log, "--no-follow", "--json", "--show-content", "--since", since).splitlines() == late
    for n in (0, 1, 10, 3999, 5000):
        assert run(log, "--no-follow", "--json", "--show-content", "-n", n).splitlines() == lines[-n:] * (n > 0)
    assert len(run(log, "--no-follow", "--json").splitlines()) == 10


def test_a_line_for_people(tmp_path):
    log = tmp_path / "requests.log"
    append(log, record(1, ttft_ms=3.25, prompt_tokens=1234, completion_tokens=56, tokens_per_second=78.9, cost_usd=0.00123,
                       key_alias="team", user="ann", slow=True, attempts=3, fallback_from="o3"),
           record(2, status="failure", level="ERROR", http_status=502, latency_ms=1500,
                  error={"type": "upstream_error", "provider_status": 503, "message": "no\nroom"}),
           '{"timestamp":"2026-11-24T00:00:00.000Z","event":"gap","dropped":7}\n',
           '{"message": "hello", "level": "INFO", "timestamp": "2026-11-24T00:00:00.000"}\n', "plain words\n")
    text = run(log, "--no-follow", "-n", 20).splitlines()
    for word in (" 200 ", "gpt-4o", "openai", "12.5 ms", "3.25 ms", "1,234→56", "78.9/s", "$0.00123", "team/ann", "id-1",
                 "slow, 3 attempts, instead of o3"):
        assert word in text[0], word
    assert " 502 " in text[1]
    assert text[2].split("  ")[-3:] == ["upstream_error", "provider said 503", "no room"]
    assert "gap: 7 requests" in text[3]
    assert "INFO" in text[4] and "hello" in text[4]
    assert text[5:] == ["plain words"]
    assert [line.index("gpt-4o") for line in text[:2]] == [text[0].index("gpt-4o")] * 2
    ascii_only = subprocess.run([str(WEIR), "tail", str(log), "--no-follow"], capture_output=True, check=True,
                                env={**ENV, "LANG": "C"}).stdout
    assert ascii_only.isascii() and b"1,234->56" in ascii_only
    chosen = run(log, "--no-follow", "-n", 5, "--fields", "request_id,latency_ms,error.message").splitlines()
    assert chosen[0].split() == ["id-1", "12.500"] and chosen[1].split() == ["id-2", "1500.000", "no", "room"]


def test_contents_are_hidden(tmp_path):
    log = tmp_path / "requests.log"
    secret = {"messages": [{"content": "SECRET"}]}
    whole = record(1, key_hash="0123456789abcdef" * 4, metadata=secret, request=secret, response=secret)
    litellm = json.dumps({"id": "x", "startTime": 1.5, "endTime": 2.5, "messages": secret, "response": secret, "model": "m"})
    tricky = '{"requ\\u0065st": "SECRET", "request_id":"id-2" , "request":{"a":"SECRET"},"request" : 3,"model":"m"}\n'
    append(log, whole, litellm + "\n", tricky)
    assert "SECRET" not in run(log, "--no-follow")
    public = run(log, "--no-follow", "--json")
    assert "SECRET" not in public
    assert [sorted(json.loads(line)) for line in public.splitlines()][2] == ["model", "request_id"]
    assert ids(public) == [1, 2]
    assert run(log, "--no-follow", "--json", "--show-content") == log.read_text(encoding="utf-8")
    run(log, "--fields", "request", status=2)
    assert "SECRET" in run(log, "--no-follow", "--show-content", "--fields", "request")


def test_secrets_are_masked(tmp_path):
    log = tmp_path / "requests.log"
    key, mail = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789", "ann@example.org"
    append(log, record(1, status="failure", user=mail, error={"type": "auth", "message": f"Incorrect API key: {key}, Bearer {key}"},
                       api_key=key, nested={"password": "hunter22", "token": None, "n": 1}),
           f"a plain line with {key}\n", json.dumps({"message": f"used {key}", "level": "INFO"}) + "\n")
    plain, public = run(log, "--no-follow"), run(log, "--no-follow", "--json")
    for text in (plain, public, run(log, "--no-follow", "--fields", "error.message")):
        assert key[8:] not in text and "hunter22" not in text
        assert "***" in text
    assert mail in plain and mail in public
    assert json.loads(public.splitlines()[0])["nested"]["token"] is None
    assert key in run(log, "--no-follow", "--show-content")


def test_text_from_strangers_is_harmless(tmp_path):
    log = tmp_path / "requests.log"
    evil = "m\x1b]0;owned\x07\x9b31m\u202e"
    append(log, record(1, model=evil, provider=evil, user=evil, key_alias=evil, status="failure",
                       error={"type": evil, "message": evil}), "\x1b[2J no JSON\n")
    for options in ((), ("--fields", "model,error.message,user")):
        text = run(log, "--no-follow", *options)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), repr(text)


def test_standard_input_and_pipes(tmp_path):
    lines = "".join(record(n) for n in range(30))
    assert ids(run("-", "--json", input=lines.encode())) == list(range(30))
    log = tmp_path / "requests.log"
    append(log, *(record(n) for n in range(20000)))
    done = subprocess.run(f"'{WEIR}' tail '{log}' -n 20000 --json | head -3", shell=True, capture_output=True, check=True, env=ENV,
                          timeout=60)
    assert ids(done.stdout.decode()) == [0, 1, 2] and done.stderr == b""
    tail = subprocess.Popen([str(WEIR), "tail", str(log), "-n", "1"], stdout=subprocess.PIPE, env=ENV)
    assert tail.stdout.readline()
    tail.stdout.close()  # while nothing happens
    assert tail.wait(30) == 0
    for number in (signal.SIGINT, signal.SIGTERM):
        with Tail(log, "--json") as tail:
            tail.expect("id-19999")
            assert tail.end(number) == 0


def test_a_slow_reader_of_a_pipe_gets_everything(tmp_path):
    log = tmp_path / "requests.log"
    append(log, *(record(n) for n in range(5000)))
    process = subprocess.Popen([str(WEIR), "tail", str(log), "-n", "5000", "--json"], stdout=subprocess.PIPE, env=ENV)
    time.sleep(0.3)
    append(log, *(record(n) for n in range(5000, 8000)))
    text = b""
    while text.count(b"\n") < 8000:
        time.sleep(0.001)
        text += os.read(process.stdout.fileno(), 30000)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    process.stdout.close()
    assert ids(text.decode()) == list(range(8000))


def test_ends_though_nobody_reads(tmp_path):
    log = tmp_path / "requests.log"
    append(log, *(record(n) for n in range(20000)))
    process = subprocess.Popen([str(WEIR), "tail", str(log), "-n", "20000", "--json"], stdout=subprocess.PIPE, env=ENV)
    assert select.select([process.stdout], [], [], 30)[0]  # it has begun
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    process.stdout.close()


def processor_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("keys", ["", " ", "/x"])
def test_waiting_costs_nothing(growing, keys):
    for options in ((), ("--no-summary",)):
        with Terminal(WEIR, "tail", growing, *options) as t:
            t.expect("id-0")
            wait_for(lambda: not t.echoes())
            t.send(keys)
            t.pump(0.3)
            before = processor_s(t.pid)
            t.pump(1)
            time.sleep(1)
            assert processor_s(t.pid) - before < 0.2


def test_summary_every(tmp_path):
    log = tmp_path / "requests.log"
    append(log, record(0))
    with Tail(log, "--summary-every", "300ms") as tail:
        tail.expect("0 requests")
        append(log, *(record(n, completion_tokens=10) for n in range(1, 8)), record(8, status="failure"))
        tail.expect(": 8 requests, 1 failed, 70 tokens")


@pytest.mark.parametrize("args, says", [
    (("a", "b"), "expected one FILE"), (("--since", "never"), "--since: "), (("-n", "3", "--since", "1h"), "give one of them"),
    (("--fields", "modle"), "did you mean model?"), (("--json", "--fields", "model"), "give one of them"), (("-", "-n", "3"), "standard input"),
    (("--where", "latency_ms >"), "--where: "), (("--summary-every", "x"), "--summary-every: ")])
def test_mistakes(args, says):
    done = subprocess.run([str(WEIR), "tail", *args], capture_output=True, check=False, stdin=subprocess.DEVNULL, env=ENV)
    assert done.returncode == 2 and says in done.stderr.decode(), done.stderr


def test_what_cannot_be_followed(tmp_path):
    for path in (tmp_path / "none" / "requests.log", tmp_path):
        assert run(path, status=3) == ""
    assert run(tmp_path / "requests.log", "--no-follow", status=3) == ""


# ---- on a terminal ----

class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *words, columns=120, rows=24, **env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(str(words[0]), [str(w) for w in words], {**ENV, **env})
        self.resize(columns, rows)
        self.text, self.at = "", 0
        self.before = termios.tcgetattr(self.fd)

    def resize(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def pump(self, seconds=0.02):
        while select.select([self.fd], [], [], seconds)[0]:
            try:
                got = os.read(self.fd, 1 << 16)
            except OSError:
                return
            self.text += got.decode(errors="replace")
            seconds = 0

    def expect(self, pattern):
        """Waits for it behind what was last expected, and returns the match."""
        def found():
            self.pump()
            return re.search(pattern, self.text[self.at:])
        wait_for(found)
        match = found()
        self.at += match.end()
        return match

    def send(self, keys):
        os.write(self.fd, keys.encode())

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def status(self):
        """Waits for its end; the exit status."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self.pump()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"it goes on: {self.text[-500:]!r}")


@pytest.fixture
def growing(tmp_path):
    path = tmp_path / "requests.log"
    append(path, record(0))
    return path


@pytest.mark.parametrize("ending", ["q", "\x03", signal.SIGTERM, signal.SIGABRT])
def test_terminal_is_left_as_it_was(growing, ending):
    with Terminal(WEIR, "tail", growing) as t:
        t.expect("id-0")
        t.expect(r"req/s")
        wait_for(lambda: not t.echoes())
        append(growing, record(1))
        t.expect("id-1")
        if isinstance(ending, str):
            t.send(ending)
        else:
            os.kill(t.pid, ending)
        if ending != signal.SIGABRT:
            t.expect("1 requests, 0 failed")
        wait_for(t.echoes)
        assert termios.tcgetattr(t.fd) == t.before
        assert t.status() == (-signal.SIGABRT if ending == signal.SIGABRT else 0)


def test_keys(growing):
    with Terminal(WEIR, "tail", growing) as t:
        t.expect("id-0")
        wait_for(lambda: not t.echoes())
        t.send("?")
        t.expect("pause, and go on")
        t.send("\r")
        t.expect(r'"request_id".*: .*"id-0"')
        t.send(" ")
        t.expect(r"paused, \+0 new")
        append(growing, record(1, model="other"), record(2, status="failure", http_status=500))
        t.expect(r"paused, \+2 new")
        assert "500" not in t.text
        t.send(" ")
        t.expect("id-1")
        t.expect("id-2")
        t.send("e")
        t.expect("only errors")
        t.expect("id-2")
        append(growing, record(3), record(4, status="failure"))
        t.expect("id-4")
        assert "id-3" not in t.text
        t.send("e")
        t.expect("all lines")
        t.expect("id-3")
        t.send("\x1b[A")  # an arrow: nothing
        t.send("/othxy\x7f\x7f")
        t.expect("/oth_")
        t.send("er\r")
        t.expect("only lines with other")
        t.expect("id-1")
        append(growing, record(5), record(6, model="other"))
        t.expect("id-6")
        assert "id-5" not in t.text
        t.send("\x1b")
        t.expect("all lines")
        t.send("/gpt*\r")
        append(growing, record(7, model="some-gpt"), record(8))
        t.expect("id-8")
        assert "id-7" not in t.text
        t.send("q")
        assert t.status() == 0


def test_resize_and_colours(growing):
    with Terminal(WEIR, "tail", growing, columns=150) as t:
        t.expect("\x1b\\[32m200")
        t.expect("id-0")
        t.expect("req/s")
        t.resize(50, 24)
        time.sleep(0.3)
        append(growing, record(1, provider="openai-provider"))
        t.expect("gpt-4o.*12.5 ms")
        t.pump(0.3)
        rows = [re.sub("\x1b\\[[0-9;]*[mK]", "", row) for row in re.split("[\r\n]+", t.text[t.at - 60:])]
        assert all(len(row) <= 50 for row in rows), rows
        assert "openai-provider" not in t.text
    with Terminal(WEIR, "tail", growing, NO_COLOR="1") as t:
        t.expect("id-0")
        t.expect("req/s")
        assert "\x1b[32m" not in t.text


def test_stopped_and_gone_on(growing):
    with Terminal("bash", "--norc", "--noprofile", "-i", PS1="$ ") as t:
        t.expect(r"\$ ")
        t.send(f"'{WEIR}' tail '{growing}' --no-summary\n")
        t.expect("id-0")
        time.sleep(0.2)
        t.send("\x1a")
        t.expect("Stopped")
        append(growing, record(1))
        t.send("fg\n")
        t.expect("id-1")
        t.send("?")
        t.expect("pause, and go on")
        t.send("q")
        t.expect(r"\$ ")
        t.send("echo $((6 * 7))\n")
        t.expect("42")
        t.send("exit\n")
        assert t.status() == 0


def test_a_terminal_that_cannot_keep_up(growing):
    with Terminal(WEIR, "tail", growing) as t:
        t.expect("id-0")
        t.expect("req/s")
        for part in range(20):  # nobody reads the terminal meanwhile
            append(growing, *(record(n) for n in range(1000 * part + 1, 1000 * part + 1001)))
            time.sleep(0.01)
        t.expect(r"[\d,]+ lines not shown: the terminal is slower than the log")
        t.expect("id-20000")  # and in the end the newest
        t.expect(r"[\d,]+ lines not shown  ")
        append(growing, record(20001))
        t.expect("id-20001")
        t.send("q")
        t.expect(r"20,001 requests, 0 failed")
        assert t.status() == 0


def test_bottom_line_is_taken_away_before_lines(growing):
    with Terminal(WEIR, "tail", growing) as t:
        for n in range(1, 6):
            t.expect("req/s")
            append(growing, record(n))
            t.expect(f"id-{n}")
        t.send("q")
        assert t.status() == 0
    screen = [""]
    for piece in re.findall("\x1b\\[K|\x1b\\[[0-9;]*m|\r\n|\r|[^\r\x1b]+", t.text):
        if piece == "\r\n":
            screen.append("")
        elif piece == "\r":
            column = 0
        elif piece == "\x1b[K":
            screen[-1] = ""
        elif not piece.startswith("\x1b"):
            screen[-1] += piece
    assert [row for row in screen if "req/s" in row and "requests" not in row] == []
    assert sum("gpt-4o" in row for row in screen) == 6
