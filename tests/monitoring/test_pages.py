"""The commands that the monitoring's pages show are right, as far as can be told without Docker, systemd and root: programs have the options, files and
services are there, addresses answer. A block ```sh has commands; each of them is looked at, and one of a kind that this test does not know fails."""
import pathlib
import re
import shlex
import subprocess
import sys
import time

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in (ROOT / "tests/monitoring", ROOT / "tests/e2e"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from harness import WEIR, Gateway, config, model  # noqa: E402  pylint: disable=wrong-import-position

PAGES = ["monitoring/README.md", "monitoring/secrets/README.md", "monitoring/PROMETHEUS-LIMITATION.md", "docs/monitoring.md", "docs/migration.md"]
COMPOSE = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "monitoring/docker-compose.yml").read_text(encoding="utf-8")))
PROFILES = {profile for service in COMPOSE["services"].values() for profile in service["profiles"]}
COMPOSE_OPTIONS = {"up": {"-d"}, "rm": {"-f"}, "kill": {"-s"}, "stop": set(), "restart": set(), "logs": set(), "ps": set(), "exec": set(), "build": set(), "down": {"-v"}}
ADDRESSES = {"localhost:4000", "localhost:9090", "localhost:3000"}
PROMETHEUS_PATHS = {"/api/v1/targets"}


def blocks(page):
    """[(line number, command)] of the blocks ```sh, indented ones too."""
    found, inside = [], False
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
        fence = line.strip()
        if fence.startswith("```"):
            inside = fence == "```sh"
        elif inside and fence and not fence.startswith("#"):
            found.append((number, fence))
    return found


def inline(page):
    """`docker compose ...`, `weir ...` and the like within sentences and tables."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"`((?:docker compose|weir|\./scripts/[^`\s]+|scripts/[^`\s]+|monitoring/secrets/generate)(?: [^`]+)?)`", text)


def simple_commands(line):
    """[[word, ...], ...]: what stands between &&, ; and |, with leading NAME=value taken off, and (...) around all of it."""
    words, parts = shlex.split(re.sub(r"^\((.*)\)$", r"\1", line), comments=True), [[]]
    for word in words:
        if word in ("&&", "|", ";"):
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def options_of(*words):
    done = subprocess.run([*words, "--help"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, (words, done.stderr)
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", done.stdout))


def check_options(words, allowed):
    for word in words:
        if word.startswith("-") and word != "-":
            assert word.split("=")[0] in allowed, word


def check_weir(words):
    name = next(n for n in (" ".join(words[:2]), words[0]) if n in COMMANDS)
    rest = words[len(name.split()):]
    check_options(rest, options_of(str(WEIR), *name.split()))
    if name == "compare" and "--models" in rest:
        assert len([w for w in rest[rest.index("--models") + 1:rest.index("--models") + 3] if not w.startswith("-")]) == 2, "two models are the least"
    for option, value in zip(rest, rest[1:]):
        if option == "--config" and not value.startswith("/"):
            assert (ROOT / value).is_file() or value == "config.yaml", value
    for word in rest:
        if word.startswith("config/"):
            assert (ROOT / word).is_file(), word


def check_compose(words):
    assert words[0] == "compose", words
    words = words[1:]
    while words and words[0].startswith("-"):
        option, value, *words = words
        assert option in ("-f", "--profile"), option
        assert value in PROFILES if option == "--profile" else (ROOT / "monitoring" / value).is_file(), value
    if not words:
        return
    name, *rest = words
    assert name in COMPOSE_OPTIONS, name
    if name == "exec":
        service, program, *rest = rest
        assert service in COMPOSE["services"]
        if service == "litellm":
            assert program == "/weir"
            check_weir([word for word in rest if not word.startswith("/etc/weir")])
        return
    check_options(rest, COMPOSE_OPTIONS[name])
    for word in rest:
        assert word.startswith("-") or word == "HUP" or word in COMPOSE["services"], word


def check_script(words):
    path = ROOT / words[0]
    assert path.is_file() and path.stat().st_mode & 0o111, words[0]
    if len(words) > 1:
        check_options(words[1:], options_of(str(path)))


def check_curl(words):
    for url in (w for w in words if "localhost" in w):
        address, _, path = url.removeprefix("http://").partition("/")
        assert address in ADDRESSES, url
        if address == "localhost:4000":
            ASKED.add("/" + path)
        elif address == "localhost:9090":
            assert "/" + path in PROMETHEUS_PATHS, url


def check_files(words):
    """--config.file=X and words that are paths of the repository."""
    for word in words:
        path = word.split("=", 1)[-1]
        if path.startswith("monitoring/") or path.startswith("config/"):
            assert (ROOT / path).exists() or path.endswith(".backup"), word


def check_unit(words):
    for word in words:
        if word.endswith(".service"):
            units = ROOT / "monitoring/systemd"
            assert not units.exists() or list(units.rglob("backup*")) == list(units.rglob("*.*")) or list(units.rglob(word)), word


def anything(_):
    """export, cd, ls, jq, grep: nothing of ours."""


CHECKS = {"docker": check_compose, "weir": check_weir, "curl": check_curl, "prometheus": check_files, "prometheus-alertmanager": check_files,
          "loki": check_files, "alloy": check_files, "cp": check_files, "systemctl": check_unit, "journalctl": check_unit,
          "cd": anything, "export": anything, "ls": anything, "jq": anything, "grep": anything, "grafana": anything}
COMMANDS = set(re.findall(r"^  (\w+(?: \w+)*?)  +\S", subprocess.run([WEIR, "help"], capture_output=True, text=True, check=True).stdout, re.MULTILINE))
ASKED = set()


def check(line):
    for words in simple_commands(line):
        if "/" in words[0]:
            check_script(words)
        else:
            assert words[0] in CHECKS, f"a command of a kind that is not known here: {words}"
            CHECKS[words[0]](words[1:])


@pytest.mark.parametrize("page, line, command", [pytest.param(page, line, command, id=f"{page}:{line}") for page in PAGES for line, command in blocks(page)])
def test_commands(page, line, command):  # pylint: disable=unused-argument
    check(command)


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences(page):
    for command in inline(page):
        if re.fullmatch(r"(weir|docker compose)( [A-Z.]+)?|docker compose.*\.\.\..*", command):
            continue
        check(command)


def test_what_curl_asks_is_answered(tmp_path):
    for page in PAGES:
        for _, command in blocks(page):
            check(command)
    assert "/metrics" in ASKED
    with_gateway = Gateway(tmp_path, config(model("m", "http://127.0.0.1:1/v1")))
    try:
        with_gateway.start()
        for path in ASKED:
            assert with_gateway.get(path).status == 200, path
        assert b"\nlitellm_requests_total" in with_gateway.get("/metrics").body
    finally:
        with_gateway.finish()


def test_the_licence_is_taken_and_not_needed(tmp_path):
    """The sentence that the pages quote."""
    quoted = re.search(r"`(LITELLM_LICENSE is set[^`]+)`", (ROOT / "monitoring/PROMETHEUS-LIMITATION.md").read_text()).group(1)
    gateway = Gateway(tmp_path, config(model("m", "http://127.0.0.1:1/v1")), env={"LITELLM_LICENSE": "lic-4711"})
    try:
        gateway.start()
        assert quoted in gateway.said() and gateway.said().count("LITELLM_LICENSE") == 1, "once, as the page says"
        assert gateway.get("/metrics").status == 200
        assert "lic-4711" not in gateway.said() + gateway.get("/metrics").text
    finally:
        gateway.finish()


# What was checked against LiteLLM's releases and pull requests: a change here needs a look at these, not at this page.
HISTORY = [("19 March 2024", "1.32.x", 2591), ("18 September 2024", "1.46.5", 5769), ("19 July 2025", "1.74.5", 12659), ("15 November 2025", "1.80.2", 16689)]


def test_the_history_of_the_limitation():
    text = (ROOT / "monitoring/PROMETHEUS-LIMITATION.md").read_text()
    rows = re.findall(r"^\| (\d+ \w+ \d{4}) \| ([\d.x]+), pull request (\d+) \|", text, re.M)
    assert [(day, version, int(number)) for day, version, number in rows] == HISTORY
    began, ended = (time.strptime(day, "%d %B %Y") for day in ("18 September 2024", "15 November 2025"))
    months = (ended.tm_year - began.tm_year) * 12 + ended.tm_mon - began.tm_mon
    assert months == 14 and "for fourteen months, from 1.46.5 until before 1.80.2," in " ".join(text.split())
    config_page = (ROOT / "docs/config.md").read_text()
    for section, name in re.findall(r"`(weir_settings|litellm_settings)\.(\w+)", text):
        assert f"`{name}`" in config_page, (section, name)
    assert "`PROMETHEUS_MULTIPROC_DIR`" in text and "`LITELLM_LICENSE`" in text and 'callbacks: ["prometheus"]' in text


def test_readme_says_what_compose_has():
    text = (ROOT / "monitoring/README.md").read_text()
    for name, service in COMPOSE["services"].items():
        if "build" not in service:
            assert f"`{service['image']}`" in text, name
        assert "ports" not in service or f"| {service['ports'][0].split(':')[1]} |" in text
    for profile in PROFILES:
        gib = sum(int(s["mem_limit"][:-1]) / (1 if s["mem_limit"].endswith("g") else 1024) for s in COMPOSE["services"].values() if profile in s["profiles"])
        assert f"{gib:.1f} GB" in text, (profile, gib)
    for volume in COMPOSE["volumes"]:
        assert f"`weir_{volume}`" in (ROOT / "docs/monitoring.md").read_text(), volume


def test_files_of_the_readme_are_there():
    """The tree names what is in the folder."""
    tree = re.search(r"```\nmonitoring/\n(.*?)```", (ROOT / "monitoring/README.md").read_text(), re.DOTALL).group(1)
    names = [name for line in tree.splitlines() for name in re.findall(r"[\w.-]+", line[:30].split("  ")[0].replace("│", ""))]
    assert len(names) > 15
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "monitoring"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    for name in names:
        assert name in tracked, name
    for part in {line.split("/")[1] for line in tracked.split()}:
        assert part in tree or part == "Dockerfile.dockerignore", f"{part} is not in the README's tree"
