"""The units of monitoring/systemd as they are, run by a real systemd (machine.py): as its process 1 for the machine's, as a user's manager for a user's.

Skipped where there is no root, or not what namespaces need. Grafana, Alloy and Loki cannot be had where these tests run: their units are checked
(test_services.py), and not run.
"""
import json
import os
import pathlib
import re
import shutil
import sys
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in ("tests/monitoring", "tests/e2e"):
    if str(ROOT / folder) not in sys.path:
        sys.path.append(str(ROOT / folder))
from harness import WEIR, wait_for  # noqa: E402
from machine import CannotBoot, Machine  # noqa: E402

TOOLS = [p for name in ("prometheus", "prometheus-alertmanager") for p in
         [q for q in (ROOT / "build/tools/usr/bin" / name, pathlib.Path(shutil.which(name) or "/nonexistent")) if q.exists()][:1]]
LOGROTATE_PROGRAM = shutil.which("logrotate") or "/usr/sbin/logrotate"


@pytest.fixture(scope="module")
def machine():
    try:
        m = Machine(pathlib.Path(WEIR).resolve(), *TOOLS)
    except CannotBoot as why:
        pytest.skip(f"no systemd can be run here: {why}")
    yield m
    m.end()


CONFIG = {"model_list": [{"model_name": "a", "litellm_params": {"model": "openai/a", "api_base": "http://127.0.0.1:9", "api_key": "os.environ/PROVIDER_KEY"}}],
          "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
          "weir_settings": {"host": "127.0.0.1", "port": 4000, "workers": 2, "watch_config": False},
          "litellm_settings": {"logging": {"log_file": "/var/log/litellm/requests.log"}}}
KEY = ("-H", "authorization: Bearer sk-master")


@pytest.fixture(scope="module")
def system(machine):
    """The system's units, installed by the script, with keys in the environment's file."""
    machine.write("/etc/litellm/config.yaml", json.dumps(CONFIG))
    machine.write("/etc/litellm/litellm.env", "PROVIDER_KEY=sk-provider\nLITELLM_MASTER_KEY=sk-master\n", "600")
    said = machine.run("/run/checkout/scripts/install-services", "system").stdout
    assert "make install" not in said  # weir is there
    return machine


def chat(tokens, per_second):
    return ("-N", *KEY, "-H", "content-type: application/json", "-H", f"x-mock-tokens: {tokens}", "-H", f"x-mock-tokens-per-second: {per_second}", "-d",
            json.dumps({"model": "sim-fast", "messages": [{"role": "user", "content": "hello"}], "stream": True}))


URL = "http://localhost:4000"
CHAT = f"{URL}/v1/chat/completions"


def drop_in(m, text):
    m.write("/etc/systemd/system/litellm.service.d/test.conf", text)
    m.run("systemctl", "daemon-reload")


@pytest.fixture
def running(system):
    drop_in(system, "[Unit]\nStartLimitBurst=100\n")
    system.run("systemctl", "restart", "litellm.service")
    yield system
    system.run("systemctl", "stop", "litellm.service", "litellm.socket")
    drop_in(system, "")
    system.write("/etc/litellm/config.yaml", json.dumps(CONFIG))


def state(m):
    return m.show("litellm.service", "StatusText", "ActiveState", "SubState", "Result", "MainPID", "NRestarts", "ExecMainStatus", "StatusErrno")


def test_the_hardened_service_serves(running):
    """Every call it needs is allowed; it has no privilege, sees no other process, and still knows its own numbers."""
    now = state(running)
    assert now["ActiveState"] == "active" and re.fullmatch(r"ready: \d+ models, \d+ deployments, http://127.0.0.1:4000", now["StatusText"])
    assert "[DONE]" in running.get(CHAT, *chat(5, 1000))
    assert "sk-" in running.get(f"{URL}/key/generate", *KEY, "-d", "{}")  # SQLite in /var/lib/litellm
    numbers = dict(re.findall(r"(?m)^(process_\w+) (\S+)$", running.get(f"{URL}/metrics", *KEY)))
    for name in ("process_resident_memory_bytes", "process_virtual_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds"):
        assert float(numbers[name]) > 0, name
    facts = running.run("cat", f"/proc/{now['MainPID']}/status").stdout
    uid = running.run("id", "-u", "litellm").stdout.strip()
    for line in (rf"Uid:\s+{uid}\s", r"CapEff:\s+0{16}\n", r"CapBnd:\s+0{16}\n", r"NoNewPrivs:\s+1\n", r"Seccomp:\s+2\n"):
        assert re.search(line, facts), (line, facts)
    assert running.run("stat", "-c", "%a %U", "/var/log/litellm", "/var/log/litellm/requests.log").stdout.split() == ["750", "litellm", "640", "litellm"]
    threads = running.run("sh", "-c", f"cat /proc/{now['MainPID']}/task/*/stat").stdout
    policies = {name: int(rest.split()[38]) for name, rest in re.findall(r"\((.*)\) (.*)", threads)}  # proc(5): policy is field 41
    assert policies["weir-scrape"] == os.SCHED_IDLE and policies["weir"] == os.SCHED_OTHER
    seen = running.run("nsenter", "--target", now["MainPID"], "--mount", "ls", "/proc", "/home").stdout.split()
    assert "self" in seen and "meminfo" not in seen  # ProcSubset=pid


def test_a_reload_and_one_that_fails(running):
    pid = state(running)["MainPID"]
    running.write("/etc/litellm/config.yaml", json.dumps({**CONFIG, "model_list": CONFIG["model_list"] * 2}))
    running.run("systemctl", "reload", "litellm")
    before = state(running)["StatusText"]
    wait_for(lambda: re.match("ready: ", state(running)["StatusText"]))
    running.write("/etc/litellm/config.yaml", "model_list: {")
    running.run("systemctl", "reload", "litellm")
    wait_for(lambda: state(running)["StatusText"].startswith("reload failed, the configuration in force goes on: /etc/litellm/config.yaml:"))
    assert state(running)["MainPID"] == pid and state(running)["ActiveState"] == "active" and before


def test_a_handover_makes_the_successor_the_main_process(running):
    before = state(running)["MainPID"]
    running.run("systemctl", "kill", "--kill-whom=main", "--signal=USR2", "litellm.service")
    wait_for(lambda: state(running)["MainPID"] not in ("0", before))
    wait_for(lambda: not os.path.exists(f"/proc/{running.inner}/root/proc/{before}"))
    assert "alive" in running.get(f"{URL}/health/liveliness")
    assert state(running)["ActiveState"] == "active" and state(running)["NRestarts"] == "0"


def test_a_process_that_hangs_is_started_anew(running):
    drop_in(running, "[Unit]\nStartLimitBurst=100\n[Service]\nWatchdogSec=1s\n")
    running.run("systemctl", "restart", "litellm")
    time.sleep(2.5)
    before = state(running)
    assert before["NRestarts"] == "0"  # alive as long as it turns
    running.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "litellm.service")
    wait_for(lambda: state(running)["NRestarts"] == "1" and state(running)["StatusText"].startswith("ready"))
    assert state(running)["MainPID"] != before["MainPID"]


def test_a_stop_waits_for_a_stream(running):
    """Longer than TimeoutStopSec= and than WatchdogSec=: weir asks for the time, and no watchdog bites while it ends."""
    drop_in(running, "[Unit]\nStartLimitBurst=100\n[Service]\nTimeoutStopSec=1s\nWatchdogSec=1s\n")
    running.run("systemctl", "restart", "litellm")
    got = []
    client = threading.Thread(target=lambda: got.append(running.get(CHAT, *chat(80, 20))))
    client.start()
    time.sleep(0.7)
    began = time.monotonic()
    running.run("systemctl", "stop", "litellm")
    took = time.monotonic() - began
    client.join()
    assert "[DONE]" in got[0] and took > 2
    assert state(running)["Result"] == "success"


def test_systemds_socket_outlives_the_service(running):
    running.run("systemctl", "stop", "litellm.service")
    running.run("systemctl", "start", "litellm.socket")
    assert "alive" in running.get(f"{URL}/health/liveliness")  # which starts it
    stop, answers = threading.Event(), []

    def ask():
        while not stop.is_set():
            answers.append(running.get(f"{URL}/health/liveliness"))

    client = threading.Thread(target=ask)
    client.start()
    for _ in range(3):
        before = len(answers)
        running.run("systemctl", "restart", "litellm.service")
        wait_for(lambda: len(answers) > before + 2)  # pylint: disable=cell-var-from-loop
    stop.set()
    client.join()
    assert all("alive" in a for a in answers), answers
    assert "http://127.0.0.1:4000" in state(running)["StatusText"]


def test_a_bad_file_is_told_where_one_looks(running):
    running.write("/etc/litellm/config.yaml", "model_list: {")
    assert running.run("systemctl", "restart", "litellm", check=False).returncode != 0
    now = state(running)
    assert now["ExecMainStatus"] == "1" and now["StatusText"].startswith("cannot start: /etc/litellm/config.yaml:")
    running.run("rm", "/etc/litellm/config.yaml")
    running.run("systemctl", "restart", "litellm", check=False)
    assert state(running)["StatusErrno"] == "2"  # ENOENT


def test_a_crash_loses_no_line(running):
    """What the process could not write is in its rings; they outlive it, and the service's stop (RemoveIPC= and DynamicUser= would take them)."""
    for _ in range(5):
        running.get(CHAT, *chat(3, 1000))
    running.run("setpriv", "--reuid=litellm", "--regid=litellm", "--clear-groups", "touch", "/dev/shm/weir-as-a-ring", "/run/litellm/weir-as-a-ring")
    running.run("systemctl", "kill", "--signal=KILL", "litellm.service")
    wait_for(lambda: state(running)["NRestarts"] == "1" and state(running)["ActiveState"] == "active")
    running.run("systemctl", "stop", "litellm")
    running.run("ls", "/dev/shm/weir-as-a-ring", "/run/litellm/weir-as-a-ring")
    lines = running.run("cat", "/var/log/litellm/requests.log").stdout.splitlines()
    assert sum('"event":"request"' in line for line in lines) >= 5


def test_keys_by_credential(running):
    """LoadCredential= and an include of what it gives: docs/services.md."""
    running.write("/etc/litellm/keys.yaml", "environment_variables:\n  FROM_CREDENTIAL: sk-from-credential\n", "600")
    text = {**CONFIG, "include": ["/run/credentials/litellm.service/keys.yaml"], "general_settings": {"master_key": "os.environ/FROM_CREDENTIAL"}}
    running.write("/etc/litellm/config.yaml", json.dumps(text))
    drop_in(running, "[Unit]\nStartLimitBurst=100\n[Service]\nLoadCredential=keys.yaml:/etc/litellm/keys.yaml\n")
    running.run("systemctl", "restart", "litellm")
    assert "sim-fast" in running.get(f"{URL}/v1/models", "-H", "authorization: Bearer sk-from-credential")
    assert "sim-fast" not in running.get(f"{URL}/v1/models", *KEY)


@pytest.mark.skipif(len(TOOLS) < 2, reason="no prometheus here: run scripts/dev/install-deps test")
def test_prometheus_and_alertmanager_run_hardened(running):
    """Debian's programs in the shipped units, with the shipped configuration: Prometheus sees weir, itself and Alertmanager."""
    running.run("systemctl", "stop", "litellm")
    running.write("/etc/litellm/config.yaml", json.dumps({**CONFIG, "general_settings": {}}))
    running.run("sed", "-i", "-E", r"s/^( *(scrape_interval|evaluation_interval|scrape_timeout): ).*/\11s/", "/etc/litellm/monitoring/prometheus/prometheus.yml")
    running.run("systemctl", "start", "litellm", "prometheus", "alertmanager")
    try:
        def up():
            """all three are up"""
            said = running.get("http://localhost:9090/api/v1/query?query=up")
            found = {r["metric"]["job"]: r["value"][1] for r in json.loads(said)["data"]["result"]} if said.startswith("{") else {}
            return found == {"litellm": "1", "prometheus": "1", "alertmanager": "1"}

        wait_for(up, 40, 0.5)
        running.run("systemctl", "reload", "prometheus", "alertmanager")
        time.sleep(0.3)
        for unit in ("prometheus", "alertmanager"):
            assert running.show(unit, "ActiveState") == {"ActiveState": "active"}
    finally:
        running.run("systemctl", "stop", "prometheus", "alertmanager")


@pytest.mark.skipif(not os.path.exists(LOGROTATE_PROGRAM), reason="logrotate is not installed")
def test_logrotate_reaches_the_service(running):
    running.get(CHAT, *chat(3, 1000))
    wait_for(lambda: "request" in running.run("cat", "/var/log/litellm/requests.log").stdout)
    running.run("chmod", "644", "/etc/logrotate.d/litellm")
    running.run(LOGROTATE_PROGRAM, "--state", "/run/logrotate.state", "--force", "/etc/logrotate.d/litellm")
    running.get(CHAT, *chat(3, 1000))
    wait_for(lambda: "request" in running.run("cat", "/var/log/litellm/requests.log", check=False).stdout)
    assert len(running.run("ls", "/var/log/litellm").stdout.split()) == 2


@pytest.mark.parametrize("unit, command", [
    ("alloy", "test -s /etc/litellm/monitoring/alloy/config.alloy && grep -q start /var/log/litellm/requests.log && touch /var/lib/alloy/positions"),
    ("grafana", "test -s $GF_PATHS_PROVISIONING/dashboards/provider.yml -a -n $WEIR_PROMETHEUS_URL && touch $GF_PATHS_DATA/grafana.db $GF_PATHS_LOGS/log"),
    ("loki", "test -s /etc/litellm/monitoring/loki/loki.yml && touch $LOKI_DATA/index"),
])
def test_sandboxes_of_programs_that_cannot_be_had(running, unit, command):
    """In place of the program: reads what that reads, writes where that writes, and nowhere else."""
    running.write("/run/instead", f"#!/bin/sh\nset -e\n{command}\nfor f in /etc/x /var/lib/x /var/log/litellm/x; do ! touch $f 2>/dev/null || exit 7; done\n", "755")
    running.write(f"/etc/systemd/system/{unit}.service.d/test.conf",
                  "[Service]\nType=oneshot\nRestart=no\nWorkingDirectory=/\nExecStart=\nExecStart=/run/instead\nExecReload=\n")
    running.run("systemctl", "daemon-reload")
    running.run("systemctl", "start", unit)
    assert running.show(unit, "Result") == {"Result": "success"}


# ---- a user's manager ----

@pytest.fixture(scope="module")
def user(machine):
    """The environment of somebody who has logged in: a manager as logind starts it, without logind."""
    machine.write("/run/someone.conf", "u someone 1234 - /run/someone /bin/bash\n")
    machine.run("systemd-sysusers", "/run/someone.conf")
    machine.run("install", "-d", "-o", "someone", "-m", "700", "/run/someone", "/run/user/1234")
    machine.run("install", "-d", "-o", "someone", "/var/log/someone")
    machine.write("/etc/systemd/system/manager.service", "[Service]\nType=notify\nUser=someone\nDelegate=yes\nExecStart=/usr/lib/systemd/systemd --user\n"
                  "Environment=XDG_RUNTIME_DIR=/run/user/1234 HOME=/run/someone\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "manager.service")
    return {"XDG_RUNTIME_DIR": "/run/user/1234", "HOME": "/run/someone"}


def test_a_users_service(machine, user):
    def run(*command, check=True):
        return machine.run("setpriv", "--reuid=someone", "--regid=someone", "--clear-groups", *command, env=user, check=check)

    def show(name):
        return run("systemctl", "--user", "show", "--value", "-p", name, "litellm.service").stdout.strip()

    run("/run/checkout/scripts/install-services", "user")
    own = {**CONFIG, "general_settings": {}, "weir_settings": {**CONFIG["weir_settings"], "port": 4010}}
    run("rm", "/run/someone/.config/litellm/config.yaml")
    machine.run("install", "-Dm644", "-o", "someone", "/dev/stdin", "/run/someone/.config/litellm/config.yaml", stdin=json.dumps(own))
    started = run("systemctl", "--user", "start", "litellm.service", check=False)
    if started.returncode and show("ExecMainStatus") == "226":
        pytest.skip("user namespaces are forbidden here: the unit says what to do")
    assert started.returncode == 0, started.stderr
    assert "ready: " in show("StatusText")
    assert "[DONE]" in machine.get("http://localhost:4010/v1/chat/completions", *chat(5, 1000))
    run("systemctl", "--user", "restart", "litellm.service")  # as the seed has it
    pid = show("MainPID")
    facts = machine.run("cat", f"/proc/{pid}/status").stdout
    assert re.search(r"Uid:\s+1234\s", facts) and re.search(r"Seccomp:\s+2\n", facts)
    # The sandbox is real: 252 makes none, and says nothing, without PrivateUsers=.
    mounts = {line.split()[4]: line.split()[5] for line in machine.run("cat", f"/proc/{pid}/mountinfo").stdout.splitlines()}
    assert mounts["/"].startswith("ro,") and machine.run("cat", f"/proc/{pid}/uid_map").stdout.split()[0] != "0"
    assert "alive" in machine.get("http://localhost:4010/health/liveliness")
    # No /var/log/litellm: the log is where the unit's working folder is.
    assert '"event":"start"' in machine.run("sh", "-c", "cat /run/someone/.config/litellm/requests.log /run/someone/.local/state/litellm/requests.log",
                                            check=False).stdout
    said = run("systemctl", "--user", "start", "promtail.service")
    assert said.returncode == 0
    run("systemctl", "--user", "stop", "litellm.service")
