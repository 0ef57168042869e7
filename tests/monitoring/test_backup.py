"""backup-monitoring and restore-monitoring, with a real Prometheus that has scraped a real weir: what was saved is what is restored, and a second
Prometheus started from the restored data gives the same answers. What cannot be saved or is damaged is said, and leaves no half file."""
import contextlib
import fcntl
import io
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import tarfile
import time

import pytest
from harness import ROOT, Gateway, Mock, config, model, wait_for
from live import Prometheus, free_port

BACKUP, RESTORE = ROOT / "scripts/backup-monitoring", ROOT / "scripts/restore-monitoring"
NOT_ARCHIVES = {".monitoring-backup.lock"}
FORMATS = [pytest.param("zst", marks=pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd here")), "gz"]


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory):
    """Scripts that are killed leave their folder of work where the tests' own folders are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))
        yield


def run(script, *words, **options):
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")} | {"NO_PROXY": "*"}
    return subprocess.run([script, *map(str, words)], capture_output=True, text=True, env=environment, timeout=60, check=False, **options)


def backup(output, *words, **options):
    """Saves into `output`, and returns the archive."""
    before = set(archives(output))
    ran = run(BACKUP, "--output", output, *words, **options)
    assert ran.returncode == 0, ran.stderr
    (new,) = set(archives(output)) - before
    return new


def refused(ran, said):
    assert ran.returncode == 1 and said in ran.stderr, (ran.returncode, ran.stdout, ran.stderr)


def archives(folder):
    return sorted(folder.glob("monitoring-*")) if folder.exists() else []


def nothing_left(folder):
    left = set(os.listdir(folder)) - NOT_ARCHIVES if folder.exists() else set()
    assert not left, left


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A small checkout: some of the shipped files, and some that are hard to save."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "config").mkdir()
    shutil.copy2(ROOT / "config/litellm-unified.yaml", folder / "config")
    for name in ("loki", "alloy"):
        shutil.copytree(ROOT / "monitoring" / name, folder / "monitoring" / name)
    odd = folder / "monitoring/odd ones"
    odd.mkdir()
    (odd / "größe 'quoted' \"twice\" $HOME.yml").write_text("a: 1\n")
    (odd / "-rf").write_text("a file's name that looks like options\n")
    (odd / "empty").write_text("")
    (odd / "bytes").write_bytes(bytes(range(256)) * 300)
    (odd / "link.yml").symlink_to("empty")
    (odd / "out.yml").symlink_to("/etc/hostname")
    (odd / "run").write_text("#!/bin/sh\n")
    (odd / "run").chmod(0o750)
    (folder / "monitoring/secrets").mkdir(exist_ok=True)
    (folder / "monitoring/secrets/grafana_admin_password").write_text("hunter2\n")
    (folder / "monitoring/secrets/grafana_admin_password.example").write_text("change me\n")
    (folder / "monitoring/gateway.env").write_text("OPENAI_API_KEY=sk-secret\n")
    return folder


@pytest.fixture(scope="module")
def archive(project, tmp_path_factory):
    return backup(tmp_path_factory.mktemp("archive") / "out", "--project", project, "--no-system")


@pytest.fixture(scope="module")
def archive_gz(project, tmp_path_factory):
    return backup(tmp_path_factory.mktemp("archive") / "out", "--project", project, "--no-system", "--format", "gz")


# ---- a real Prometheus ----

def prometheus_in(folder, targets=(), data=None, words=()):
    """A Prometheus that scrapes these twice a second, and writes into `data` or a folder of its own."""
    folder.mkdir(exist_ok=True)
    (folder / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "500ms"},
        "scrape_configs": [{"job_name": "litellm", "scrape_timeout": "400ms", "static_configs": [{"targets": list(targets)}]}] if targets else []}))
    return Prometheus(folder, folder / "prometheus.yml", *words, data=data or folder / "data")


def samples(prometheus, expr, at):
    return sorted(prometheus.query(expr, at), key=str)


def series_names(prometheus):
    return {m["__name__"] for m in prometheus.json("/api/v1/series", **{"match[]": '{job="litellm"}'})["data"]}


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """A Prometheus that takes snapshots and has looked at a weir with traffic for a while."""
    if not shutil.which("prometheus"):
        pytest.skip("no prometheus here: run scripts/dev/install-deps test")
    folder = tmp_path_factory.mktemp("scraped")
    with contextlib.ExitStack() as stack:
        mock = stack.enter_context(Mock())
        gateway = Gateway(folder, config(model("sim-fast", mock.base), model("other", mock.base, "openai/sim-fast")))
        stack.callback(gateway.finish)
        gateway.start()
        prometheus = stack.enter_context(prometheus_in(folder / "prometheus", [f"127.0.0.1:{gateway.port}"], words=["--web.enable-admin-api"]))
        for name in ("sim-fast", "other", "sim-fast", "there-is-none"):
            gateway.chat(name)
        since = time.time()

        def looked_at():
            """three scrapes after the traffic"""
            return time.time() - since > 2.5 and prometheus.query('sum(count_over_time(up{job="litellm"}[2s])) > 2')

        wait_for(looked_at, 30, 0.2)
        yield prometheus


EXPRESSIONS = ["litellm_proxy_total_requests_metric_total", "weir_latency_seconds_bucket", "up", "count({job=\"litellm\"}) by (__name__)",
               "rate(litellm_proxy_total_requests_metric_total[2s])"]


def test_a_second_prometheus_gives_the_same_answers(scraped, project, tmp_path):
    at = time.time() - 0.6
    archive = backup(tmp_path / "out", "--project", project, "--prometheus-url", scraped.url(""), "--no-system")
    before = {e: samples(scraped, e, at) for e in EXPRESSIONS}
    names = series_names(scraped)
    assert before["up"] and before[EXPRESSIONS[3]] and len(names) > 30, names
    assert run(RESTORE, archive, tmp_path / "restored").returncode == 0
    with prometheus_in(tmp_path / "second", data=tmp_path / "restored/prometheus") as second:
        for expr in EXPRESSIONS:
            assert samples(second, expr, at) == before[expr], expr
        assert series_names(second) == names
    assert not os.listdir(scraped.folder / "data/snapshots"), "the snapshot was left"
    with open_archive(archive) as tar:
        text = tar.extractfile("BACKUP.txt").read().decode()
    assert "prometheus: 2." in text and "secrets: no" in text and "\nweir: " in text


def test_the_snapshot_stays_when_asked(scraped, project, tmp_path):
    backup(tmp_path / "out", "--project", project, "--prometheus-url", scraped.url(""), "--no-system", "--keep-snapshot", "--format", "gz")
    (kept,) = (scraped.folder / "data/snapshots").iterdir()
    shutil.rmtree(kept)


def test_only_the_metrics(scraped, project, tmp_path):
    archive = backup(tmp_path / "out", "--project", project, "--prometheus-url", scraped.url(""), "--prometheus-data", scraped.folder / "data", "--no-system")
    assert run(RESTORE, "--only", "prometheus", archive, tmp_path / "restored").returncode == 0
    assert {p.name for p in (tmp_path / "restored").iterdir()} == {"prometheus", "BACKUP.txt", "MANIFEST.sha256"}
    assert list((tmp_path / "restored/prometheus").glob("*/meta.json"))
    refused(run(RESTORE, "--only", "logs", archive, tmp_path / "other"), "holds no logs")


def test_a_prometheus_without_the_admin_api_is_named(project, tmp_path):
    if not shutil.which("prometheus"):
        pytest.skip("no prometheus here: run scripts/dev/install-deps test")
    with prometheus_in(tmp_path / "plain") as plain:
        refused(run(BACKUP, "-o", tmp_path / "out", "--project", project, "--prometheus-url", plain.url("")), "start it with --web.enable-admin-api")
    nothing_left(tmp_path / "out")


def test_a_prometheus_that_is_not_there_or_none(project, tmp_path):
    refused(run(BACKUP, "-o", tmp_path / "out", "--project", project, "--prometheus-url", f"http://127.0.0.1:{free_port()}"), "does not answer")
    with Mock() as mock:
        refused(run(BACKUP, "-o", tmp_path / "out", "--project", project, "--prometheus-url", f"http://127.0.0.1:{mock.port}"), "is no Prometheus")
    nothing_left(tmp_path / "out")


def test_a_data_folder_that_is_not_prometheus_own(scraped, project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    ran = run(BACKUP, "-o", tmp_path / "out", "--project", project, "--prometheus-url", scraped.url(""), "--prometheus-data", tmp_path / "elsewhere")
    refused(ran, "is --prometheus-data its folder?")
    nothing_left(tmp_path / "out")
    for left in (scraped.folder / "data/snapshots").iterdir():
        shutil.rmtree(left)


def test_a_name_of_a_snapshot_that_leads_elsewhere_is_not_followed(project, tmp_path):
    """What is not Prometheus could name a folder that is then removed."""
    import http.server
    import threading

    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply({"data": {"version": "2.42.0"}})

        def do_POST(self):
            self.reply({"status": "success", "data": {"name": "../precious"}})

        def reply(self, body):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body, separators=(",", ":")).encode())

        def log_message(self, *_):
            pass

    (tmp_path / "data/snapshots").mkdir(parents=True)
    (tmp_path / "data/precious").mkdir()
    server = http.server.HTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    refused(run(BACKUP, "-o", tmp_path / "out", "--project", project, "--prometheus-url", url, "--prometheus-data", tmp_path / "data"), "strange name")
    server.shutdown()
    assert (tmp_path / "data/precious").exists()


# ---- files ----

@contextlib.contextmanager
def open_archive(path):
    data = subprocess.run(["zstd", "-dc", path] if path.suffix == ".zst" else ["gzip", "-dc", path], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        yield tar


def members(path):
    with open_archive(path) as tar:
        return {m.name.removeprefix("./") for m in tar if not m.isdir()}


def tree_of(folder):
    """{name: what is there}: bytes and mode of a file, target of a link."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = (path.read_bytes(), oct(path.stat().st_mode), path.stat().st_mtime_ns)
        else:
            found[name] = oct(path.stat().st_mode)
    return found


@pytest.mark.parametrize("form", FORMATS)
def test_files_come_back_byte_for_byte(project, tmp_path, form):
    archive = backup(tmp_path / "out", "--project", project, "--no-system", "--format", form, "--with-secrets")
    assert archive.name.endswith(f".tar.{form}") and archive.stat().st_mode & 0o777 == 0o600
    assert run(RESTORE, archive, tmp_path / "restored").returncode == 0
    back = tree_of(tmp_path / "restored/project")
    for room in ("monitoring", "config"):
        for name, what in tree_of(project / room).items():
            if name == "odd ones/out.yml":  # a link that leads out: its file is saved
                assert back[f"{room}/{name}"][0] == pathlib.Path("/etc/hostname").read_bytes()
            else:
                assert back[f"{room}/{name}"] == what, name
    assert len(back) == sum(1 for room in ("monitoring", "config") for _ in (project / room).rglob("*")) + 2


def test_verify_and_list(archive):
    ran = run(BACKUP, "--verify", archive)
    assert ran.returncode == 0 and "all as in the manifest" in ran.stdout
    ran = run(RESTORE, "--list", archive)
    assert ran.returncode == 0 and "format: 1" in ran.stdout and "project/monitoring/loki/loki.yml" in ran.stdout
    with open_archive(archive) as tar:
        assert next(iter(tar)).name == "MANIFEST.sha256"


def test_the_real_checkout_is_the_default_and_comes_back(tmp_path):
    """All that git has below monitoring/ and config/, links and modes too: nothing shipped is taken for a secret."""
    archive = backup(tmp_path / "out", "--no-system")
    assert run(RESTORE, archive, tmp_path / "restored").returncode == 0
    listed = subprocess.run(["git", "ls-files", "-z", "monitoring", "config"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = [n for n in listed.stdout.split("\0") if n] if listed.returncode == 0 else ["config/litellm-unified.yaml", "monitoring/loki/loki.yml"]
    for name in names:
        one, other = ROOT / name, tmp_path / "restored/project" / name
        assert other.is_symlink() == one.is_symlink() and (os.readlink(one) == os.readlink(other) if one.is_symlink() else
                                                           one.read_bytes() == other.read_bytes() and one.stat().st_mode == other.stat().st_mode), name


def test_a_users_configuration_and_units(project, tmp_path):
    """~/.config/litellm, whose monitoring/ is a link to the checkout, as docs/services.md has it; what it leads to is saved once."""
    home = tmp_path / "home"
    (home / ".config/litellm").mkdir(parents=True)
    (home / ".config/systemd/user/litellm.service.d").mkdir(parents=True)
    (home / ".config/litellm/config.yaml").write_text("model_list: []\n")
    (home / ".config/litellm/litellm.env").write_text("OPENAI_API_KEY=sk-secret\n")
    (home / ".config/litellm/monitoring").symlink_to(project / "monitoring")
    (home / ".config/systemd/user/litellm.service").write_text("[Service]\n")
    (home / ".config/systemd/user/litellm.service.d/own.conf").write_text("[Service]\n")
    ran = run("/usr/bin/env", f"HOME={home}", "XDG_CONFIG_HOME=", BACKUP, "-o", tmp_path / "out", "--project", project)
    assert ran.returncode == 0 and "left out: " not in ran.stderr, ran.stderr
    names = members(archives(tmp_path / "out")[0])
    own = f"system{home}/.config"
    assert {f"{own}/litellm/config.yaml", f"{own}/systemd/user/litellm.service", f"{own}/systemd/user/litellm.service.d/own.conf"} <= names
    assert not any("litellm.env" in n or n.startswith(f"{own}/litellm/monitoring") for n in names)


def test_config_and_include(project, tmp_path):
    (tmp_path / "etc").mkdir(mode=0o711)
    (tmp_path / "etc/gateway.yaml").write_text("model_list: []\n")
    archive = backup(tmp_path / "out", "--project", project, "--no-system", "--config", tmp_path / "etc/gateway.yaml", "--include", tmp_path / "etc")
    assert f"system{tmp_path}/etc/gateway.yaml" in members(archive)
    assert run(RESTORE, archive, tmp_path / "restored").returncode == 0
    assert pathlib.Path(f"{tmp_path}/restored/system{tmp_path}/etc").stat().st_mode & 0o777 == 0o711, "copied back, it would change the real folder's mode"
    refused(run(BACKUP, "-o", tmp_path / "o2", "--config", tmp_path / "none.yaml"), "none.yaml: no such file")


def test_secrets_are_left_out_unless_asked_for(project, tmp_path):
    ran = run(BACKUP, "-o", tmp_path / "out", "--project", project, "--no-system")
    assert "left out, since they hold secrets" in ran.stdout and "grafana_admin_password" in ran.stdout
    (without,) = archives(tmp_path / "out")
    names = members(without)
    assert "project/monitoring/secrets/grafana_admin_password.example" in names
    assert not {"project/monitoring/secrets/grafana_admin_password", "project/monitoring/gateway.env"} & names
    with open_archive(without) as tar:
        assert not any(b"hunter2" in tar.extractfile(m).read() for m in tar if m.isfile())
    names = members(backup(tmp_path / "out", "--project", project, "--no-system", "--with-secrets"))
    assert {"project/monitoring/secrets/grafana_admin_password", "project/monitoring/gateway.env"} <= names
    assert run(BACKUP, "-o", tmp_path / "o2", "--secret", "/etc/hostname").returncode == 2


def test_a_key_in_clear_in_a_configuration_is_told(project, tmp_path):
    (tmp_path / "c.yaml").write_text("general_settings:\n  master_key: sk-1234567890abcdef\n")
    ran = run(BACKUP, "-o", tmp_path / "out", "--project", project, "--no-system", "--config", tmp_path / "c.yaml")
    assert ran.returncode == 0 and "a key stands in clear" in ran.stderr and "c.yaml" in ran.stderr and "1234567890" not in ran.stderr


def test_a_database_in_use_is_saved_whole(project, tmp_path):
    path = tmp_path / "keys.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE keys(name)")
    database.executemany("INSERT INTO keys VALUES (?)", [(f"k{i}",) for i in range(1000)])  # in the WAL, not in the file
    assert (tmp_path / "keys.db-wal").stat().st_size > 0
    archive = backup(tmp_path / "out", "--project", project, "--no-system", "--with-secrets", "--secret", path)
    database.close()
    assert run(RESTORE, archive, tmp_path / "restored").returncode == 0
    with sqlite3.connect(f"{tmp_path}/restored/secrets{path}") as restored:
        assert restored.execute("SELECT count(*) FROM keys").fetchone() == (1000,)


def test_logs(project, tmp_path):
    (tmp_path / "requests.log").write_text('{"event":"request"}\n')
    (tmp_path / "requests.log.1").write_text('{"event":"start"}\n')
    names = members(backup(tmp_path / "out", "--project", project, "--no-system", "--with-logs", "--log-file", tmp_path / "requests.log"))
    assert {f"logs{tmp_path}/requests.log", f"logs{tmp_path}/requests.log.1"} <= names
    refused(run(BACKUP, "-o", tmp_path / "o2", "--with-logs", "--log-file", tmp_path / "none.log"), "no such log")


def test_each_part_alone(project, tmp_path):
    """--only of each, and what is said of what was restored and what to do with it."""
    for name in ("gateway.yaml", "keys.db", "requests.log"):
        (tmp_path / name).write_text("model_list: []\n")
    archive = backup(tmp_path / "out", "--project", project, "--no-system", "--config", tmp_path / "gateway.yaml", "--with-secrets", "--secret",
                     tmp_path / "keys.db", "--with-logs", "--log-file", tmp_path / "requests.log")
    parts = ["project", "system", "secrets", "logs"]
    for only in (*([part] for part in parts), parts):
        words = [word for part in only for word in ("--only", part)] if len(only) == 1 else []
        folder = tmp_path / "-".join(only)
        ran = run(RESTORE, *words, archive, folder)
        assert ran.returncode == 0 and f"restored into {folder}: {' '.join(only)}\n" in ran.stdout, ran
        assert {path.name for path in folder.iterdir() if path.is_dir()} == set(only)
        assert re.findall(r"^  (\w+)/ ", ran.stdout, re.M) == only
    assert f"cp -dR {tmp_path}/project/project/. CHECKOUT/" in run(RESTORE, "--force", "--only", "project", archive, tmp_path / "project").stdout


def test_a_dry_run_writes_nothing(project, tmp_path):
    ran = run(BACKUP, "-o", tmp_path / "out", "--project", project, "--no-system", "--dry-run")
    assert ran.returncode == 0 and "project/monitoring/loki/loki.yml" in ran.stdout and not (tmp_path / "out").exists()
    assert f"left out  {project}/monitoring/gateway.env" in ran.stdout


def test_keep_removes_the_oldest_and_nothing_else(project, tmp_path):
    (tmp_path / "out").mkdir()
    strangers = [tmp_path / "out" / name for name in ("monitoring-notes.txt", "a-backup.tar.gz", "monitoring-of-mine.tar.zst")]
    for stranger in strangers:
        stranger.write_text("mine")
    made = [backup(tmp_path / "out", "--project", project, "--no-system") for _ in range(3)]
    newest = backup_with_keep(tmp_path / "out", project, 2)
    assert sorted(p for p in archives(tmp_path / "out") if p not in strangers) == [made[2], newest]
    assert all(stranger.exists() for stranger in strangers)


def backup_with_keep(output, project, keep):
    ran = run(BACKUP, "-o", output, "--project", project, "--no-system", "--keep", keep)
    assert ran.returncode == 0, ran.stderr
    return sorted(output.glob("monitoring-2*"))[-1]


# ---- what goes wrong ----

def rewritten(archive, change, path):
    """A copy of the archive after change(members: {name: bytes})."""
    with open_archive(archive) as tar:
        content = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
    change(content)
    with tarfile.open(path, "w:gz") as tar:
        for member, data in content.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


LOKI = "project/monitoring/loki/loki.yml"


@pytest.mark.parametrize("name, change, said", [
    ("changed", lambda c: c.update({LOKI: c[LOKI] + b" "}), f"does not fit its manifest: {LOKI}"),
    ("missing", lambda c: c.pop(LOKI), f"does not fit its manifest: {LOKI}"),
    ("more", lambda c: c.update({"project/monitoring/evil.yml": b"x"}), "does not fit its manifest: project/monitoring/evil.yml"),
    ("none", lambda c: c.pop("MANIFEST.sha256"), "has no MANIFEST.sha256"),
    ("out", lambda c: c.update({"project/../../x": b"x"}), "lead out of its folder"),
    ("root", lambda c: c.update({"/tmp/x": b"x"}), "lead out of its folder"),
])
def test_an_archive_that_does_not_fit_is_refused(archive, tmp_path, name, change, said):
    wrong = rewritten(archive, change, tmp_path / f"{name}.tar.gz")
    refused(run(RESTORE, wrong, tmp_path / "restored"), said)
    assert not (tmp_path / "restored").exists()


@pytest.mark.parametrize("target", ["/tmp", "../../.."])
def test_a_link_that_leads_out_writes_nothing_outside(tmp_path, target):
    """An archive whose manifest fits, made by somebody else: a folder that is a link, and a file in it."""
    import hashlib
    path, data = tmp_path / "a.tar.gz", b"evil"
    manifest = f"{hashlib.sha256(data).hexdigest()}  project/out/weir-evil\nlink  project/out -> {target}\n".encode()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (("MANIFEST.sha256", manifest), ("project/out", None), ("project/out/weir-evil", data)):
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, target
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    (tmp_path / "a/b").mkdir(parents=True)
    ran = run(RESTORE, path, tmp_path / "a/b/restored")
    assert ran.returncode == 1, (ran.stdout, ran.stderr)
    assert not list(tmp_path.rglob("weir-evil")) and not pathlib.Path("/tmp/weir-evil").exists()


def test_a_device_in_an_archive_is_refused(tmp_path):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("project/fifo")
        info.type = tarfile.FIFOTYPE
        tar.addfile(info)
    refused(run(RESTORE, path, tmp_path / "restored"), "neither file, folder nor link")


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_archive_is_refused(archive, archive_gz, tmp_path, form):
    whole = (archive if form == "zst" else archive_gz).read_bytes()
    rng = random.Random(7)
    for damage in range(6):
        at = len(whole) // 2 if damage == 0 else rng.randrange(20, len(whole) - 20)
        hurt = whole[:at] if damage % 3 == 2 else whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1:]
        path = tmp_path / f"hurt{damage}.tar.{form}"
        path.write_bytes(hurt)
        ran = run(RESTORE, path, tmp_path / "restored")
        assert ran.returncode == 1 and ("damaged" in ran.stderr or "manifest" in ran.stderr), (damage, at, ran.stderr)
        assert not (tmp_path / "restored").exists()


def test_what_is_no_archive(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"hello")
    refused(run(BACKUP, "--verify", tmp_path / "a.tar.gz"), "damaged")
    (tmp_path / "a.zip").write_bytes(b"hello")
    refused(run(BACKUP, "--verify", tmp_path / "a.zip"), "its name ends neither in")
    refused(run(RESTORE, tmp_path / "none.tar.gz", tmp_path / "x"), "no such file")


def test_a_folder_that_is_not_empty_is_refused(archive, tmp_path):
    there = tmp_path / "there"
    (there / "project/monitoring/loki").mkdir(parents=True)
    (there / "project/monitoring/loki/loki.yml").write_text("mine")
    (there / "project/other").write_text("also mine")
    refused(run(RESTORE, archive, there), "is not empty")
    assert (there / "project/monitoring/loki/loki.yml").read_text() == "mine"
    assert run(RESTORE, "--force", archive, there).returncode == 0
    assert (there / "project/monitoring/loki/loki.yml").read_bytes() == (ROOT / "monitoring/loki/loki.yml").read_bytes()
    assert (there / "project/other").read_text() == "also mine"
    (tmp_path / "file").write_text("")
    refused(run(RESTORE, archive, tmp_path / "file"), "is no folder")


def test_force_does_not_write_through_links(archive, tmp_path):
    there, outside = tmp_path / "there", tmp_path / "outside"
    (there / "project/monitoring/loki").mkdir(parents=True)
    outside.mkdir()
    (outside / "precious").write_text("mine")
    (there / "project/monitoring/loki/loki.yml").symlink_to(outside / "precious")
    assert run(RESTORE, "--force", archive, there).returncode == 0
    assert (outside / "precious").read_text() == "mine" and not (there / "project/monitoring/loki/loki.yml").is_symlink()
    shutil.rmtree(there / "project")
    (there / "project").symlink_to(outside)
    refused(run(RESTORE, "--force", archive, there), "is a link")
    assert os.listdir(outside) == ["precious"]


def test_a_full_disk_leaves_no_half_file(project, tmp_path):
    """Past a limit of its size a file takes no more: the same to a writer as a full disk. The biggest file saved is below it, the archive is not."""
    (tmp_path / "big").mkdir()
    for i in range(6):
        (tmp_path / f"big/{i}").write_bytes(random.Random(i).randbytes(100_000))  # does not compress

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    ran = run(BACKUP, "-o", tmp_path / "out", "--project", project, "--no-system", "--include", tmp_path / "big", preexec_fn=limited, restore_signals=False)
    refused(ran, "could not write the archive")
    assert "nothing was left" in ran.stderr
    nothing_left(tmp_path / "out")
    assert backup(tmp_path / "out", "--project", project, "--no-system", "--include", tmp_path / "big").stat().st_size > 300_000


def test_a_really_full_disk(project, tmp_path):
    """A file system of 256 KiB in a namespace of its own, where that is allowed."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    (tmp_path / "small").mkdir()
    (tmp_path / "big").write_bytes(random.Random(1).randbytes(1_000_000))
    archive = backup(tmp_path / "out", "--project", project, "--no-system", "--include", tmp_path / "big")
    script = f"""mount -t tmpfs -o size=256k none {tmp_path}/small || exit 77
        {BACKUP} -o {tmp_path}/small --project '{project}' --no-system --include {tmp_path}/big; echo "backup $?"; ls -A {tmp_path}/small
        {RESTORE} {archive} {tmp_path}/small/restored; echo "restore $?"; ls -A {tmp_path}/small/restored"""
    ran = run("/usr/bin/env", "unshare", "-rm", "sh", "-c", script)
    if ran.returncode == 77:
        pytest.skip("no tmpfs in a namespace here")
    assert ran.stdout.split("\n") == ["backup 1", ".monitoring-backup.lock", "restore 1", ""], (ran.stdout, ran.stderr)
    assert "No space left" in ran.stderr and "could not unpack" in ran.stderr, ran.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_is_killed_leaves_nothing_or_a_whole_archive(project, tmp_path, number):
    out, big = tmp_path / "out", tmp_path / "big"
    big.write_bytes(random.Random(2).randbytes(20_000_000))
    words = ["--project", project, "--no-system", "--include", big]
    process = subprocess.Popen([BACKUP, "-o", out, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: list(out.glob(".monitoring-work.*")) or process.poll() is not None)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    process.wait(20)
    for path in archives(out):
        assert run(BACKUP, "--verify", path).returncode == 0
    if number == signal.SIGTERM:
        assert set(os.listdir(out)) - NOT_ARCHIVES <= {p.name for p in archives(out)}
    backup(out, "--project", project, "--no-system")
    assert set(os.listdir(out)) - NOT_ARCHIVES == {p.name for p in archives(out)}, "the next run tidies up"


def test_a_folder_that_cannot_be_written(project, tmp_path):
    (tmp_path / "file").write_text("")
    refused(run(BACKUP, "-o", tmp_path / "file/out", "--project", project), "cannot be made")
    refused(run(BACKUP, "-o", project / "monitoring/out", "--project", project), "which is saved")


def test_two_at_a_time(project, tmp_path):
    (tmp_path / "out").mkdir()
    with open(tmp_path / "out/.monitoring-backup.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(run(BACKUP, "-o", tmp_path / "out", "--project", project, "--no-system"), "another backup")
    backup(tmp_path / "out", "--project", project, "--no-system")


@pytest.mark.parametrize("script, words, said", [
    (BACKUP, ["--nonsense"], "unknown option"),
    (BACKUP, ["--keep", "0"], "a number from 1 on"),
    (BACKUP, ["--keep"], "needs a value"),
    (BACKUP, ["--format", "zip"], "zst or gz"),
    (BACKUP, ["--prometheus-data", "/x"], "only with --prometheus-url"),
    (RESTORE, ["a"], "an archive and a folder"),
    (RESTORE, ["--only", "all", "a", "b"], "project, system, prometheus"),
    (RESTORE, ["--nonsense"], "unknown option"),
    (RESTORE, ["--list"], "wants one archive"),
])
def test_wrong_use(script, words, said, tmp_path):
    ran = run(script, *words, cwd=tmp_path)
    assert ran.returncode == 2 and said in ran.stderr and "--help" in ran.stderr
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("script", [BACKUP, RESTORE])
def test_help_names_every_option(script):
    for word in ("-h", "--help"):
        ran = run(script, word)
        assert ran.returncode == 0 and "Usage:" in ran.stdout and not ran.stderr
    import re
    taken = set(re.findall(r"^    (?:-\w \| )?(--[a-z-]+)\)", script.read_text(), re.M))
    assert taken and taken == {t for t in taken if re.search(rf"(?<![\w-]){t}\b", ran.stdout)}


UNITS = ROOT / "monitoring/systemd"


def test_the_units(tmp_path):
    """systemd's own check; the unit names a checkout in /opt/weir, here it is this one. Options of the command are options of the script."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    for folder, checkout, words in ((UNITS / "system", "/opt/weir", []), (UNITS, "%h/weir", ["--user"])):
        text = (folder / "backup-monitoring.service").read_text()
        assert text.count(f"{checkout}/scripts/backup-monitoring") == 1
        copies = tmp_path / (words[0] if words else "system")
        copies.mkdir()
        (copies / "backup-monitoring.service").write_text(text.replace(checkout, str(ROOT)))
        shutil.copy(folder / "backup-monitoring.timer", copies)
        for name in ("backup-monitoring.service", "backup-monitoring.timer"):
            ran = run("/usr/bin/env", f"XDG_RUNTIME_DIR={tmp_path}", "systemd-analyze", *words, "verify", "--man=no", "--recursive-errors=no", copies / name)
            assert ran.returncode == 0 and not ran.stderr, ran.stderr
    ran = run("/usr/bin/env", "systemd-analyze", "security", "--offline=true", "--threshold=25", tmp_path / "system/backup-monitoring.service")
    assert ran.returncode == 0, ran.stdout[-300:]


def test_commands_of_the_page_have_options_that_exist():
    import re
    known = set(re.findall(r"--[a-z-]+", run(BACKUP, "--help").stdout + run(RESTORE, "--help").stdout))
    texts = [p.read_text() for p in (ROOT / "docs/backup.md", UNITS / "backup-monitoring.service", UNITS / "system/backup-monitoring.service")]
    lines = [line for text in texts for line in text.splitlines() if re.search(r"(backup|restore)-monitoring .*--|^# BACKUP_OPTIONS", line)]
    assert len(lines) >= 6
    for line in lines:
        used = set(re.findall(r"(?<![\w-])--[a-z-]+", line)) - {"--web"}
        assert used <= known | {"--help", "--now", "--user"}, line


def test_it_runs_from_anywhere_and_through_a_link(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/backup-monitoring").symlink_to(BACKUP)
    (tmp_path / "bin/restore-monitoring").symlink_to(RESTORE)
    ran = run(tmp_path / "bin/backup-monitoring", "--no-system", "--quiet", cwd=tmp_path)
    assert ran.returncode == 0 and ran.stdout == "", ran.stderr
    (archive,) = archives(tmp_path / "backups")
    assert run(tmp_path / "bin/restore-monitoring", archive, tmp_path / "restored").returncode == 0
