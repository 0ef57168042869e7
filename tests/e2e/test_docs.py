"""The commands in the documentation run, and print what it says they print.

In pages that are listed here a block ```sh has commands, a line each, and ```cron has them behind their times; ```console has commands behind "$ " and what they print ("…" on
a line of its own stands for lines left out). Other blocks are not looked at, but a command must not hide in one.

`weir` is a wrapper: where no log is named it names one, since the default is outside the test's folder; and it ends what would go on
for ever. Programs that are not weir's are stand-ins, unless they are part of every Debian."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

from harness import WEIR

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/reference"))
import generate  # noqa: E402

PAGES = ["README.md", "docs/analyze.md", "docs/tail.md", "docs/export.md", "scripts/debugging/README.md"]
TRACE = "5f0c2c1e-8a54-4f0e-9d0a-3f0e6a0f7f11"
SPEED = re.compile(r" in [\d.]+ m?s \([\d.,]+ \wi?B/s\)")  # not the same twice
LEFT_OUT = "…"
SPAN_S = 600  # a history is some MB a minute

WRAPPER = f"""#!{sys.executable}
import os, sys
words = sys.argv[1:]
values = {{w for at, w in enumerate(words) if at and words[at - 1] in ("--export", "--state", "--openmetrics-history", "--html", "--config")}}
if words and words[0] in ("tail", "analyze", "export"):
    if not any(w == "-" or w.endswith((".log", ".gz", ".zst")) for w in words[1:] if w not in values):
        words.insert(1, "requests.log")
    if words[0] == "tail" and "-" not in words and "--no-follow" not in words:
        words.append("--no-follow")
    if words[0] == "export" and "--once" not in words and "--openmetrics-history" not in words:
        words.append("--once")
os.execv({str(pathlib.Path(WEIR).resolve())!r}, ["weir", *words])
"""
TOOL = "#!/bin/sh\nexec weir {} \"$@\"\n"
STAND_INS = {"kubectl": "exec cat requests.log", "promtool": "exec true", "curl": "exec true", "jq": "cat >jq.in; test -s jq.in",
             "test-request": "exec true",  # asks a gateway: test_weir_test.py does
             "zstdcat": "exec cat requests.log", "sudo": "exec true", "make": "exec true"}


def blocks(page, language):
    """(number of the block's first line, lines) of each block in that language."""
    found, number, fence = [], 0, None
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
        if fence is None and line.startswith("```"):
            fence = line[3:].strip()
            found.append((fence, number + 1, []))
        elif line.startswith("```"):
            fence = None
        elif fence is not None:
            found[-1][2].append(line)
    assert fence is None, (page, number)
    return [(at, lines) for fence, at, lines in found if fence == language]


def of_pages(language):
    return [pytest.param(lines, id=f"{page}:{at}") for page in PAGES for at, lines in blocks(page, language)]


def stamp(seconds_ago):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds_ago))


def sandbox(folder, **log):
    """A folder with what the pages' commands name, and the PATH to run them with."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "weir").write_text(WRAPPER)
    for name, script in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    for tool, command in (("tail-requests", "tail"), ("analyze-logs", "analyze")):
        launcher = folder / "scripts/debugging" / tool
        launcher.parent.mkdir(parents=True, exist_ok=True)
        for path in (launcher, programs / tool):
            path.write_text(TOOL.format(command))
            path.chmod(0o755)
    shutil.copy(programs / "test-request", folder / "scripts/debugging/test-request")
    for path in (*programs.iterdir(), folder / "scripts/debugging/test-request"):
        path.chmod(0o755)
    for name in ("var/log/litellm", "var/lib/weir", "var/lib/node_exporter", "var/lib/prometheus"):
        (folder / name).mkdir(parents=True)
    log_path = folder / "requests.log"
    generate.write(str(log_path), shape="weir", seed=7, **log)
    (folder / "var/log/litellm/requests.log").symlink_to(log_path)
    generate.write(str(folder / "requests.log.1"), shape="weir", lines=50, seed=8, start=stamp(SPAN_S + 900), span_s=300)
    subprocess.run(["gzip", folder / "requests.log.1"], check=True)
    (folder / "config.yaml").write_text(
        "model_list:\n- model_name: gpt-4o\n  litellm_params: {model: openai/gpt-4o, api_key: x, rpm: 60, tpm: 90000}\n")
    (folder / "model_prices_and_context_window.json").write_text(json.dumps(
        {"gpt-4o": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "litellm_provider": "openai", "mode": "chat"}}))
    return {"PATH": f"{programs}:/usr/bin:/bin", "TZ": "UTC", "COLUMNS": "100", "LC_ALL": "C.UTF-8"}


@pytest.fixture(scope="module")
def now_box(tmp_path_factory):
    """Ten minutes of log that ended five minutes ago, for commands that say how long ago; since then there was one good request, whose id --trace asks for,
    so that no --fail-if of theirs holds."""
    folder = tmp_path_factory.mktemp("docs")
    env = sandbox(folder, lines=100, start=stamp(SPAN_S + 310), span_s=SPAN_S)
    line = {"timestamp": stamp(30), "level": "INFO", "event": "request", "request_id": TRACE, "model": "gpt-4o", "provider": "openai",
            "status": "success", "http_status": 200, "latency_ms": 6000.0}
    with open(folder / "requests.log", "a", encoding="utf-8") as out:
        out.write(json.dumps(line, separators=(",", ":")) + "\n")
    return folder, env


@pytest.fixture(scope="module")
def fixed_box(tmp_path_factory):
    """The log that the printed examples are of: tests/reference/generate.py --lines 20000 --seed 7."""
    folder = tmp_path_factory.mktemp("docs")
    return folder, sandbox(folder, lines=20000)


def bash(box, script):
    folder, env = box
    for place in ("/var/log/litellm", "/var/lib"):
        script = script.replace(place, f"{folder}{place}")
    return subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, check=False, cwd=folder, env=env, timeout=60)


@pytest.mark.parametrize("lines", of_pages("sh") + of_pages("cron"))
def test_commands_run(now_box, lines):
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        line = re.sub(r"^(?:[*/\d]+ +){5}", "", line)  # a crontab's minute, hour, ...
        done = bash(now_box, line)
        assert done.returncode == 0, (line, done.returncode, done.stdout[-1000:], done.stderr[-1000:])


def parts_of(lines):
    """(command, what it prints) of a console block."""
    parts = []
    for line in lines:
        if line.startswith("$ "):
            parts.append((line[2:], []))
        else:
            parts[-1][1].append(line)
    return parts


def runs_between_gaps(shown):
    run, runs = [], []
    for line in [*shown, LEFT_OUT]:
        if line == LEFT_OUT:
            runs.append(run)
            run = []
        else:
            run.append(SPEED.sub("", line))
    return runs


@pytest.mark.parametrize("lines", of_pages("console"))
def test_examples_print_what_they_show(fixed_box, lines):
    status = 0
    for command, shown in parts_of(lines):
        if command == "echo $?":
            assert shown == [str(status)]
            continue
        done = bash(fixed_box, f"{{ {command}\n}} 2>&1")
        status = done.returncode
        printed = [SPEED.sub("", line.rstrip()) for line in done.stdout.splitlines()]
        first, *others = runs_between_gaps(shown)
        assert printed[:len(first)] == first, command
        if not others:
            assert len(printed) == len(first), (command, "more is printed than is shown: end with …")
        at = len(first)
        for run in others:
            here = [i for i in range(at, len(printed) - len(run) + 1) if printed[i:i + len(run)] == run]
            assert here, (command, run, printed)
            at = here[0] + len(run)


@pytest.mark.parametrize("page", PAGES)
def test_no_command_hides_in_another_block(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    tested = {line for language in ("sh", "cron", "console") for _, lines in blocks(page, language) for line in lines}
    commands = [line for line in text.splitlines() if re.match(r"^(    |\$ )?(\S*weir (tail|analyze|export)|\S*/analyze-logs|\S*/tail-requests)( [^ |:]|$)", line)]
    assert [line for line in commands if line not in tested] == []


def links_of(page):
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors_of(path):
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def all_pages():
    done = subprocess.run(["git", "ls-files", "*.md"], capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout.split() or PAGES


@pytest.mark.parametrize("page", all_pages())
def test_links_lead_somewhere(page):
    if not (ROOT / page).exists():
        pytest.skip("deleted, not yet committed")
    for link in links_of(page):
        if re.match(r"https?:|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), (page, link)
        if anchor and target.suffix == ".md":
            assert anchor in anchors_of(target), (page, link)
