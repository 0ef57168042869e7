"""The units of monitoring/systemd, the script that installs them, and logrotate's file.

Each unit is checked by systemd itself (systemd-analyze); test_services_booted.py runs them.
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
from harness import Gateway, Mock, Process, config, model, wait_for  # noqa: E402

UNITS = ROOT / "monitoring/systemd"
LOGROTATE = ROOT / "monitoring/logrotate/litellm"
USERS = sorted(p for p in UNITS.iterdir() if p.suffix in (".service", ".socket", ".timer"))
SYSTEMS = sorted(p for p in (UNITS / "system").iterdir() if p.suffix in (".service", ".socket", ".timer"))
WHERE_SYSTEMD_LOOKS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # for what has no path
analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


# ---- what systemd says of them ----

def verify(folder, units, user, tmp_path):
    """(exit status, what it said) of copies in which every program exists."""
    folder.mkdir()
    for unit in units:
        text = re.sub(r"(?m)^(Exec(?:Start|Reload)=)(\S+)", lambda m: m[1] + (m[2] if shutil.which(m[2], path=WHERE_SYSTEMD_LOOKS) else "/bin/true"), unit.read_text())
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


# What keeps a service from the rest of the machine. Of a user's service what its systemd can do; of the machine's more.
SANDBOX = {"PrivateUsers=yes", "ProtectSystem=strict", "PrivateTmp=yes", "ProtectClock=yes", "ProtectControlGroups=yes", "ProtectHostname=yes",
           "ProtectKernelLogs=yes", "ProtectKernelModules=yes", "ProtectKernelTunables=yes", "NoNewPrivileges=yes", "RestrictSUIDSGID=yes",
           "RestrictNamespaces=yes", "RestrictRealtime=yes", "LockPersonality=yes", "SystemCallArchitectures=native", "SystemCallFilter=@system-service",
           "SystemCallErrorNumber=EPERM"}
OF_THE_MACHINE = SANDBOX | {"AmbientCapabilities=", "CapabilityBoundingSet=", "ProtectHome=yes", "PrivateDevices=yes", "DevicePolicy=closed",
                            "ProtectProc=invisible", "KeyringMode=private", "UMask=0027", "WantedBy=multi-user.target"}
GATEWAY = {"MemoryDenyWriteExecute=yes", "SystemCallFilter=~@privileged @resources", "SystemCallFilter=sched_setscheduler",
           "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "UMask=0027"}
LESS = {"alloy.service": {"PrivateUsers=yes"}}  # it reads the log by a group, which a namespace of users would hide


@pytest.mark.parametrize("unit", [u for u in USERS + SYSTEMS if u.suffix == ".service" and u.stem not in ("promtail", "backup-monitoring")],
                         ids=lambda u: f"{u.parent.name}-{u.stem}")
def test_each_service_is_in_its_sandbox(unit):
    of_machine = unit in SYSTEMS
    wanted = (OF_THE_MACHINE if of_machine else SANDBOX | {"WantedBy=default.target"}) | (GATEWAY if unit.stem == "litellm" else set())
    if of_machine and unit.stem == "litellm":
        wanted |= {"ProcSubset=pid"}
    assert wanted - (LESS.get(unit.name, set()) if of_machine else set()) - set(words(unit)) == set()
    assert "Restart=on-failure" in words(unit)
    user = [line for line in words(unit) if line.startswith("User=")]
    assert user == ([f"User={unit.stem}"] if of_machine and unit.stem != "alertmanager" else ["User=prometheus"] if of_machine else []), user


@pytest.mark.parametrize("folder", [UNITS, UNITS / "system"], ids=["user", "system"])
def test_what_the_gateways_unit_promises(folder):
    """What weir says to systemd is heard, from it alone; one that hangs is started anew, one that is told wrongly is not; there is time to drain."""
    wanted = {"Type=notify", "NotifyAccess=main", "WatchdogSec=30s", "ExecReload=kill -HUP $MAINPID", "Restart=on-failure", "RestartSec=1s",
              "RestartPreventExitStatus=2", "TimeoutStopSec=15s", "StartLimitIntervalSec=60", "StartLimitBurst=5"}
    if folder != UNITS:
        wanted |= {"LimitNOFILE=1048576", "User=litellm", "Group=litellm", "RuntimeDirectoryPreserve=yes", "StateDirectory=litellm", "LogsDirectory=litellm"}
    assert wanted - set(words(folder / "litellm.service")) == set()
    assert {"ListenStream=127.0.0.1:4000", "FileDescriptorName=http", "Accept=no"} <= set(words(folder / "litellm.socket"))


def test_services_listen_on_the_loopback():
    """None of them asks for a password but Grafana, whose is admin at first."""
    seen = 0
    for unit in USERS + SYSTEMS:
        for option, value in re.findall(r"(listen-addr(?:ess)?|HTTP_ADDR|LOKI_ADDRESS|ListenStream)=(\S*)", "\n".join(words(unit))):
            seen += 1
            assert value.startswith("127.0.0.1") or (option, value, unit.stem) == ("listen-address", "", "alertmanager"), (unit, option, value)
    assert seen == 13
    for unit in (UNITS / "grafana.service", UNITS / "system/grafana.service"):
        assert {"Environment=WEIR_PROMETHEUS_URL=http://localhost:9090", "Environment=WEIR_LOKI_URL=http://localhost:3100",
                "Environment=GF_USERS_ALLOW_SIGN_UP=false", "Environment=GF_ANALYTICS_REPORTING_ENABLED=false",
                "Environment=GF_SNAPSHOTS_EXTERNAL_ENABLED=false", "Environment=GF_PATHS_PROVISIONING=%E/litellm/monitoring/grafana"} <= set(words(unit))


def test_prometheus_keeps_thirty_days_and_exemplars():
    for unit in (UNITS / "prometheus.service", UNITS / "system/prometheus.service"):
        (start,) = [line for line in words(unit) if line.startswith("ExecStart=")]
        assert {"--storage.tsdb.retention.time=30d", "--enable-feature=exemplar-storage"} <= set(start.split())
        assert "admin-api" not in start and "enable-lifecycle" not in start
    assert "-config.expand-env=true" in (UNITS / "system/loki.service").read_text()


def test_a_nightly_backup_is_made_up_for_and_is_nobody_elses():
    for folder in (UNITS, UNITS / "system"):
        assert {"Persistent=true", "OnCalendar=*-*-* 03:15:00"} <= set(words(folder / "backup-monitoring.timer"))
        assert {"UMask=0077", "Type=oneshot", "TimeoutStartSec=1h"} <= set(words(folder / "backup-monitoring.service"))
    assert "ReadWritePaths=/var/backups" in words(UNITS / "system/backup-monitoring.service")


def test_users_of_the_system_units_are_made():
    made = set(re.findall(r"(?m)^u +(\w+)", (UNITS / "sysusers.conf").read_text()))
    assert made == {line[5:] for unit in SYSTEMS for line in words(unit) if line.startswith("User=")}


def test_a_reload_that_is_waited_for_takes_the_old_command_away():
    assert words(UNITS / "notify-reload.conf") == ["[Service]", "Type=notify-reload", "ExecReload="]


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


def test_two_weeks_day_by_day():
    directives = {line.strip() for line in LOGROTATE.read_text().splitlines()}
    assert {"daily", "rotate 14", "maxsize 1G", "missingok", "notifempty", "nocreate", "compress", "delaycompress", "su litellm litellm",
            "sharedscripts", "dateext", "dateformat -%Y%m%d-%s"} <= directives
    assert "copytruncate" not in directives


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
