"""The compose file's gateway, Prometheus and Alertmanager run: with its commands, users, mounts, names and ports, but Debian's Prometheus and Alertmanager,
and no engine. Each is in a root folder that holds what compose mounts and nothing else of the repository."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in (ROOT / "tests/monitoring", ROOT / "tests/e2e"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

import container  # noqa: E402  pylint: disable=wrong-import-position
import dockerfile  # noqa: E402  pylint: disable=wrong-import-position
from test_compose import COMPOSE, MONITORING, ON_HOST, PORTS, mount  # noqa: E402  pylint: disable=wrong-import-position
from harness import WEIR  # noqa: E402  pylint: disable=wrong-import-position
from test_image import DOCKERFILE  # noqa: E402  pylint: disable=wrong-import-position

UNPACKED = ROOT / "build/tools/usr"
PROGRAMS = {"prometheus": {"/bin/prometheus": "prometheus"}, "alertmanager": {"/bin/alertmanager": "prometheus-alertmanager", "/bin/amtool": "amtool"}}
ENTRYPOINTS = {"prometheus": ["/bin/prometheus"], "alertmanager": ["/bin/alertmanager"]}  # of the images


def found(name):
    return shutil.which(name, path=f"{os.environ['PATH']}:{UNPACKED}/bin")


TOOLS = [tool for programs in PROGRAMS.values() for tool in programs.values()]
pytestmark = [pytest.mark.heavy,
              pytest.mark.skipif(not container.possible(), reason="root folders and a network of their own need root, unshare and setpriv"),
              pytest.mark.skipif(not all(map(found, TOOLS)), reason=f"{', '.join(TOOLS)}: scripts/dev/install-deps test")]


def furnish(project, name, root):
    """Copies what compose mounts into the root folder, folders before what is mounted within them; gives the places that may be written."""
    service, writable = project["services"][name], []
    uid, gid = map(int, service["user"].split(":"))
    for source, target, read_only in sorted(map(mount, service["volumes"]), key=lambda m: len(m[1])):
        place = root / target.lstrip("/")
        if source.startswith("."):
            if place.exists():
                shutil.rmtree(place)
            shutil.copytree(MONITORING / source, place)
        else:
            place.mkdir(parents=True, exist_ok=True)
            os.chown(place, uid, gid)
        if not read_only:
            writable.append(target)
    for secret in service.get("secrets", []):
        place = root / "run/secrets" / secret
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(MONITORING / project["secrets"][secret]["file"], place)
    container.put_names(root, [*PORTS, "host.docker.internal"])
    return writable


def spec(project, name, root):
    service = project["services"][name]
    if name == "litellm":
        subprocess.run([ROOT / "monitoring/image-root", WEIR, root], check=True)
        entry, environment = dockerfile.words(dockerfile.of(DOCKERFILE, "ENTRYPOINT")[0]), dockerfile.environment(DOCKERFILE)
        command = dockerfile.words(dockerfile.of(DOCKERFILE, "CMD")[0])
    else:
        entry, environment, command = ENTRYPOINTS[name], {}, service["command"]
        for place, tool in PROGRAMS[name].items():
            container.put_program(root, found(tool), place)
        if name == "alertmanager" and (UNPACKED / "share/prometheus").exists():
            shutil.copytree(UNPACKED / "share/prometheus/alertmanager", root / "usr/share/prometheus/alertmanager", ignore=shutil.ignore_patterns("ui", "no-ui"))
    check = service["healthcheck"]["test"][1:]
    return {"name": name, "root": str(root), "user": service["user"], "environment": environment, "writable": furnish(project, name, root),
            "command": entry + command, "healthcheck": None if "promtool" in check[0] else check}  # 2.42's promtool has no "check healthy"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Both layouts at the same time, since each waits for its first scrapes: {name: (what was observed, what the programs said)}."""
    running = {}
    try:
        for layout, project in (("compose", COMPOSE), ("host", ON_HOST)):
            folder = tmp_path_factory.mktemp(layout)
            services = [spec(project, name, folder / name) for name in ("litellm", "alertmanager", "prometheus")]
            process = subprocess.Popen(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", sys.executable, "-B", ROOT / "tests/monitoring/compose_run.py"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            running[layout] = services, process
            process.stdin.write(json.dumps(services))
            process.stdin.close()
            process.stdin = None
        return {layout: told(*running[layout]) for layout in running}
    finally:
        for _, process in running.values():
            process.kill()  # and by --kill-child all that it runs; they have ended but where this is interrupted
            process.wait()


def told(services, process):
    out, err = process.communicate(timeout=200)
    said = "\n".join(f"{s['name']}: {pathlib.Path(s['root'] + '.said').read_text()[-1500:]}" for s in services)
    assert process.returncode == 0, err + said
    return json.loads(out), said


@pytest.mark.parametrize("layout, gateway", [("compose", "litellm"), ("host", "host.docker.internal")])
def test_runs(results, layout, gateway):
    result, said = results[layout]
    assert result["ended"] == {"litellm": None, "alertmanager": None, "prometheus": None}, said
    assert result["targets"] == {"litellm": [f"http://{gateway}:4000/metrics", "up", ""], "prometheus": ["http://localhost:9090/metrics", "up", ""],
                                 "alertmanager": ["http://127.0.0.1:9093/metrics", "up", ""]}, said
    assert {name: check and check[0] for name, check in result["healthchecks"].items()} == {"litellm": 0, "alertmanager": 0}, result["healthchecks"]
    assert result["answer"] and float(result["counted"][0]["value"][1]) >= 1
    assert len(result["rules"]) > 40 and result["alertmanagers"] == ["http://127.0.0.1:9093/api/v2/alerts"]
    assert result["flags"]["storage.tsdb.retention.time"] == "30d" and result["flags"]["web.enable-admin-api"] == "false"
    assert result["firing"] == ["Watchdog"], "and no other alert"
    assert result["status"] == {"litellm": 0, "alertmanager": 0, "prometheus": 0}, said
