"""Runs services of the compose file in a network of their own and says what came of it, as JSON. Started by test_compose_runs.py within
`unshare --mount --net --pid --fork --kill-child`, so that their ports are free and nothing is left behind.

All of them share one loopback, and /etc/hosts and a name server here lead every service's name to it, as Docker's do: names, ports, files and commands are
compose's, the wire is not."""
import fcntl
import json
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import container  # noqa: E402  pylint: disable=wrong-import-position

PATIENCE_S = 40


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14s", b"lo", 0x1 | 0x40, b""))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING


def name_server(names):
    """Answers A of these names with 127.0.0.1, their other types with nothing, and all other names with "there is none" (RFC 1035 section 4)."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 53))

    def serve():
        while True:
            question, peer = s.recvfrom(2000)
            end = question.index(b"\0", 12)
            labels, at = [], 12
            while at < end:
                labels.append(question[at + 1:at + 1 + question[at]].decode().lower())
                at += 1 + question[at]
            known = ".".join(labels) in names
            is_a = question[end + 1:end + 3] == b"\0\1"
            record = b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\4\x7f\0\0\1" if known and is_a else b""
            head = question[:2] + (b"\x85\x80" if known else b"\x85\x83") + b"\0\1" + struct.pack(">HHH", bool(record), 0, 0)
            s.sendto(head + question[12:end + 5] + record, peer)

    threading.Thread(target=serve, daemon=True).start()


def get(url, body=None):
    headers = {"content-type": "application/json"} if body else {}
    with urllib.request.urlopen(urllib.request.Request(url, body and json.dumps(body).encode(), headers), timeout=5) as answer:
        return json.loads(answer.read())


def data(path):
    return get(f"http://127.0.0.1:9090/api/v1/{path}")["data"]


def targets():
    return {t["labels"]["job"]: [t["scrapeUrl"], t["health"], t["lastError"]] for t in data("targets?state=active")["activeTargets"]}


def until(what):
    """Calls it until it gives something true, and gives that; None after a while."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            value = what()
            if value:
                return value
        except (urllib.error.URLError, ConnectionError, KeyError, json.JSONDecodeError):
            pass
        time.sleep(0.2)
    return None


def check(service):
    """The service's healthcheck of the compose file."""
    done = subprocess.run(container.words(service["root"], service["user"], service["environment"], service["writable"], service["healthcheck"]),
                          capture_output=True, text=True, check=False)
    return [done.returncode, done.stdout + done.stderr]


def observe(services):
    found = {}
    chat = {"model": "sim-fast", "messages": [{"role": "user", "content": "hello"}]}
    found["answer"] = bool(until(lambda: get("http://127.0.0.1:4000/v1/chat/completions", chat)["choices"]))
    found["healthchecks"] = {s["name"]: until(lambda s=s: (lambda r: r if r[0] == 0 else None)(check(s))) for s in services if s["healthcheck"]}
    until(lambda: len(targets()) == len(services) and all(health == "up" for _, health, _ in targets().values()))
    found["targets"] = until(targets)
    found["counted"] = until(lambda: data("query?query=sum(litellm_requests_total)")["result"])
    found["rules"] = until(lambda: [r["name"] for g in data("rules")["groups"] for r in g["rules"]])
    found["alertmanagers"] = until(lambda: [a["url"] for a in data("alertmanagers")["activeAlertmanagers"]])
    found["flags"] = until(lambda: data("status/flags"))
    found["firing"] = until(lambda: [a["labels"]["alertname"] for a in data("alerts")["alerts"] if a["state"] == "firing"])
    return found


def main():
    services = json.load(sys.stdin)
    loopback_up()
    name_server({s["name"] for s in services})
    started = []
    for s in services:
        with open(f"{s['root']}.said", "w", encoding="utf-8") as said:
            started.append(subprocess.Popen(container.words(s["root"], s["user"], s["environment"], s["writable"], s["command"]),
                                            stdin=subprocess.DEVNULL, stdout=said, stderr=said))
    found = observe(services)
    found["ended"] = {s["name"]: p.poll() for s, p in zip(services, started)}
    for p in started:
        p.terminate()
    found["status"] = {s["name"]: p.wait(20) for s, p in zip(services, started)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
