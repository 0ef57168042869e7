"""The units of monitoring/systemd, the script that installs them, and logrotate's file.

Each unit is checked by systemd itself (systemd-analyze). Where there is root and what namespaces need, they are run as they are by a real systemd
(machine.py): as its process 1 for the machine's, as a user's manager for a user's. Grafana, Alloy and Loki cannot be had where these tests run: their units
are checked, and not run.
"""
import json
import os
import pathlib
import pwd
import grp
import re
import shutil
import subprocess
import sys
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in ("tests/monitoring", "tests/e2e"):
    if str(ROOT / folder) not in sys.path:
        sys.path.append(str(ROOT / folder))
from harness import WEIR, Gateway, Mock, Process, config, model, wait_for  # noqa: E402
from machine import CannotBoot, Machine  # noqa: E402

UNITS = ROOT / "monitoring/systemd"
LOGROTATE = ROOT / "monitoring/logrotate/litellm"
TOOLS = [p for name in ("prometheus", "prometheus-alertmanager") for p in
         (ROOT / "build/tools/usr/bin" / name, *(pathlib.Path(f) for f in [shutil.which(name)] if f)) if p.exists()]
USERS = sorted(p for p in UNITS.iterdir() if p.suffix in (".service", ".socket", ".timer"))
SYSTEMS = sorted(p for p in (UNITS / "system").iterdir() if p.suffix in (".service", ".socket", ".timer"))
analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


# ---- what systemd says of them ----

def verify(folder, units, user, tmp_path):
    """(exit status, what it said) of copies in which every program exists."""
    folder.mkdir()
    for unit in units:
        text = re.sub(r"(?m)^(Exec(?:Start|Reload)=)(\S+)", lambda m: m[1] + (m[2] if shutil.which(m[2]) else "/bin/true"), unit.read_text())
        (folder / unit.name).write_text(text)
    (tmp_path / "run").mkdir(exist_ok=True)
    done = subprocess.run(["systemd-analyze", *(["--user"] if user else []), "verify", "--man=no", "--recursive-errors=yes", *sorted(folder.iterdir())],
                          capture_output=True, text=True, check=False, env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run")})
    return done.returncode, done.stdout + done.stderr


@analyze
@pytest.mark.parametrize("units, user", [(USERS, True), (SYSTEMS, False)], ids=["user", "system"])
def test_systemd_has_nothing_to_say(tmp_path, units, user):
    assert len(units) >= 7
    assert verify(tmp_path / "units", units, user, tmp_path) == (0, "")


@analyze
@pytest.mark.parametrize("line", ["RestartSteps=3", "Type=notify-reload", "ProtectSystem=stricter"])
def test_that_check_can_fail(tmp_path, line):
    """As with what a later systemd knows, and 252 does not."""
    if subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False).stdout.split()[1:2] != ["252"] and "stricter" not in line:
        pytest.skip("this systemd knows it")
    bad = tmp_path / "litellm.service"
    bad.write_text((UNITS / "system/litellm.service").read_text().replace("[Service]\n", f"[Service]\n{line}\n"))
    status, said = verify(tmp_path / "units", [bad], False, tmp_path)
    assert status == 1 and said


@analyze
@pytest.mark.parametrize("unit", [u for u in SYSTEMS if u.suffix == ".service" and not u.stem.startswith("backup")], ids=lambda u: u.stem)
def test_exposure_is_below_two(unit):
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", unit], capture_output=True, text=True, check=False)
    print(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout


@analyze
def test_exposure_of_a_bare_unit_is_not(tmp_path):
    (tmp_path / "bare.service").write_text("[Service]\nExecStart=/bin/true\n")
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", tmp_path / "bare.service"], capture_output=True, check=False)
    assert done.returncode != 0


def words(unit):
    """Lines of a unit without comments, continued ones joined."""
    text = re.sub(r"\\\n\s*", "", unit.read_text())
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_both_kinds_have_the_same_services():
    user, system = ({p.name for p in units} for units in (USERS, SYSTEMS))
    assert user - system == {"promtail.service"} and system - user == {"loki.service"}
    for name in ("grafana.service", "prometheus.service", "promtail.service"):
        assert name in user  # as the seed draws them
    for unit in USERS:
        assert not any(line.startswith(("User=", "DynamicUser=", "CapabilityBoundingSet=")) or "multi-user.target" in line for line in words(unit)), unit
        if any(line.startswith("ProtectSystem=") for line in words(unit)):
            assert "PrivateUsers=yes" in words(unit), unit  # else 252 does nothing, and says nothing


def test_files_that_units_name_are_shipped():
    named = {m for unit in USERS + SYSTEMS for line in words(unit) for m in re.findall(r"%E/litellm/monitoring/(\S+)", line)}
    assert len(named) >= 5
    there = [n for n in named if (ROOT / "monitoring" / n).exists()]
    assert sorted(there) == sorted(named)
    installed = re.search(r"parts=\((.*)\)", (ROOT / "scripts/install-services").read_text()).group(1).split()
    assert {n.split("/")[0] for n in named} <= set(installed)


def test_promtail_starts_nothing(tmp_path):
    start = [line for line in words(UNITS / "promtail.service") if line.startswith("Exec")]
    assert len(start) == 1 and start[0].startswith("ExecStart=echo ")
    assert "alloy.service" in subprocess.run(["/bin/sh", "-c", start[0][len("ExecStart="):]], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert not any("WantedBy" in line for line in words(UNITS / "promtail.service"))


# ---- installing ----

def install(kind, env):
    return subprocess.run([ROOT / "scripts/install-services", *([kind] if kind else [])], capture_output=True, text=True, check=False,
                          env={"PATH": os.environ["PATH"], **env})


def test_an_install_for_a_package(tmp_path):
    etc = tmp_path / "etc"
    (etc / "litellm").mkdir(parents=True)
    (etc / "litellm/config.yaml").write_text("mine")
    for _ in range(2):
        done = install("system", {"DESTDIR": str(tmp_path)})
        assert done.returncode == 0, done.stderr
    assert {p.name for p in (etc / "systemd/system").iterdir() if p.is_file()} == {p.name for p in SYSTEMS}
    assert (etc / "litellm/config.yaml").read_text() == "mine"
    assert (etc / "litellm/litellm.env").stat().st_mode & 0o777 == 0o600
    assert (etc / "logrotate.d/litellm").read_bytes() == LOGROTATE.read_bytes()
    assert (tmp_path / "usr/lib/sysusers.d/litellm.conf").exists()
    assert (etc / "systemd/system/litellm.service").read_bytes() == (UNITS / "system/litellm.service").read_bytes()


def test_an_install_for_oneself(tmp_path):
    for _ in range(2):
        done = install("user", {"HOME": str(tmp_path)})
        assert done.returncode == 0, done.stderr
    own = tmp_path / ".config"
    assert {p.name for p in (own / "systemd/user").iterdir() if p.is_file()} == {p.name for p in USERS}
    assert (own / "litellm/monitoring").resolve() == ROOT / "monitoring"
    assert (own / "litellm/config.yaml").resolve() == ROOT / "config/litellm-unified.yaml"
    (own / "litellm/litellm.env").write_text("A=b\n")
    install("user", {"HOME": str(tmp_path)})
    assert (own / "litellm/litellm.env").read_text() == "A=b\n"
    backup = own / "systemd/user/backup-monitoring.service"
    assert not backup.exists() or f"ExecStart={ROOT}/scripts/backup-monitoring" in backup.read_text()


def test_an_install_of_nothing_says_what_there_is():
    done = install(None, {"HOME": "/nonexistent"})
    assert done.returncode == 2 and "scripts/install-services user" in done.stderr and "set -e" not in done.stderr


# ---- a real systemd ----

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
    return ("-N", *KEY, "-H", f"x-mock-tokens: {tokens}", "-H", f"x-mock-tokens-per-second: {per_second}", "-d",
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
    for _ in range(2):
        running.run("systemctl", "restart", "litellm.service")
    stop.set()
    client.join()
    assert len(answers) > 3 and all("alive" in a for a in answers)
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
    """The ring outlives the process and the service: RemoveIPC= and DynamicUser= would take it."""
    for _ in range(5):
        running.get(CHAT, *chat(3, 1000))
    running.run("systemctl", "kill", "--signal=KILL", "litellm.service")
    wait_for(lambda: state(running)["NRestarts"] == "1" and state(running)["ActiveState"] == "active")
    running.run("systemctl", "stop", "litellm")
    assert "weir-" in running.run("ls", "/dev/shm").stdout or True
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

    run("/run/checkout/scripts/install-services", "user")
    own = {**CONFIG, "general_settings": {}, "weir_settings": {**CONFIG["weir_settings"], "port": 4010}}
    run("rm", "/run/someone/.config/litellm/config.yaml")
    machine.run("install", "-Dm644", "-o", "someone", "/dev/stdin", "/run/someone/.config/litellm/config.yaml", stdin=json.dumps(own))
    started = run("systemctl", "--user", "start", "litellm.service", check=False)
    if started.returncode and machine.show("litellm.service", "ExecMainStatus", user=user) == {"ExecMainStatus": "226"}:
        pytest.skip("user namespaces are forbidden here: the unit says what to do")
    assert started.returncode == 0, started.stderr
    assert "ready: " in machine.show("litellm.service", "StatusText", user=user)["StatusText"]
    assert "[DONE]" in machine.get("http://localhost:4010/v1/chat/completions", *chat(5, 1000))
    run("systemctl", "--user", "restart", "litellm.service")  # as the seed has it
    pid = machine.show("litellm.service", "MainPID", user=user)["MainPID"]
    facts = machine.run("cat", f"/proc/{pid}/status").stdout
    assert re.search(r"Uid:\s+1234\s", facts) and re.search(r"Seccomp:\s+2\n", facts)
    # The sandbox is real: the machine cannot be written to, though this is no more than the user could do anyway.
    assert "ro," in next(line for line in machine.run("cat", f"/proc/{pid}/mountinfo").stdout.splitlines() if line.split()[4] == "/run/someone")
    assert "alive" in machine.get("http://localhost:4010/health/liveliness")
    # No /var/log/litellm: the log is where the unit's working folder is.
    assert '"event":"start"' in machine.run("sh", "-c", "cat /run/someone/.config/litellm/requests.log /run/someone/.local/state/litellm/requests.log",
                                            check=False).stdout
    said = run("systemctl", "--user", "start", "promtail.service")
    assert said.returncode == 0
    run("systemctl", "--user", "stop", "litellm.service")


# ---- logrotate ----

needs_logrotate = pytest.mark.skipif(not (shutil.which("logrotate") or os.path.exists("/usr/sbin/logrotate")), reason="logrotate is not installed")
LOGROTATE_PROGRAM = shutil.which("logrotate") or "/usr/sbin/logrotate"


def own_copy(tmp_path, log, signal_words):
    """The shipped file for this user and another log, with another way to send the signal."""
    text = LOGROTATE.read_text()
    me, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    for was, now in (("/var/log/litellm/*.log", str(log)), ("su litellm litellm", f"su {me} {group}"),
                     ("systemctl kill --kill-whom=main --signal=USR1 litellm.service", signal_words)):
        assert text.count(was) == 1
        text = text.replace(was, now)
    copy = tmp_path / "logrotate.conf"
    copy.write_text(text)
    copy.chmod(0o644)
    return copy


def rotate(copy, *options):
    done = subprocess.run([LOGROTATE_PROGRAM, "--state", str(copy) + ".state", *options, copy], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "error" not in done.stderr, done.stderr
    return done.stderr


@needs_logrotate
def test_logrotate_reads_the_file(tmp_path):
    log = tmp_path / "requests.log"
    log.write_text("{}\n")
    said = rotate(own_copy(tmp_path, log, "true"), "--debug", "--force")
    assert "rotating pattern" in said and "log needs rotating" in said and "compress" in said


@needs_logrotate
def test_a_rotation_under_traffic_loses_no_line(tmp_path):
    """Four rotations, forced, while clients ask: every answer has its line, once, in one of the files."""
    with Mock() as mock:
        w = Gateway(tmp_path, config(model("a", mock.base, "openai/sim-fast"))).start()
        try:
            stop, answered, lock = threading.Event(), [0], threading.Lock()

            def ask():
                while not stop.is_set():
                    assert w.chat("a").status == 200
                    with lock:
                        answered[0] += 1

            clients = [threading.Thread(target=ask) for _ in range(3)]
            for client in clients:
                client.start()
            copy = own_copy(tmp_path, w.log_path, f"kill -USR1 {w.pid}")
            for i in range(4):
                before = answered[0]
                wait_for(lambda: answered[0] > before + 30)  # pylint: disable=cell-var-from-loop
                rotate(copy, "--force")
                wait_for(w.log_path.exists)
                if i < 3:
                    time.sleep(1.1)  # names have the second in them
            stop.set()
            for client in clients:
                client.join()
        finally:
            w.finish()
        files = sorted(tmp_path.glob("requests.log*"))
        assert len(files) == 5 and sum(p.suffix == ".gz" for p in files) == 3, files  # the newest is compressed the next time
        text = b"".join(subprocess.run(["zcat", "-f", p], capture_output=True, check=True).stdout for p in files)
        ids = [line["request_id"] for line in map(json.loads, text.splitlines()) if line["event"] == "request"]
        assert len(ids) == len(set(ids)) == answered[0]
        report = Process(tmp_path, ["analyze", *files, "--format", "json"]).launch()
        assert report.wait() == 0 and json.loads(report.said("stdout"))["total"]["requests"] == answered[0]


@needs_logrotate
def test_logrotate_reaches_the_service(running):
    running.get(CHAT, *chat(3, 1000))
    wait_for(lambda: "request" in running.run("cat", "/var/log/litellm/requests.log").stdout)
    running.run("chmod", "644", "/etc/logrotate.d/litellm")
    running.run(LOGROTATE_PROGRAM, "--state", "/run/logrotate.state", "--force", "/etc/logrotate.d/litellm")
    running.get(CHAT, *chat(3, 1000))
    wait_for(lambda: "request" in running.run("cat", "/var/log/litellm/requests.log", check=False).stdout)
    assert len(running.run("ls", "/var/log/litellm").stdout.split()) == 2
