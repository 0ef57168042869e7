"""What `make install` puts in place: the program, the tools' names as links to it, and a manual page of each command."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from harness import WEIR

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/reference"))
import generate  # noqa: E402

TOOLS = {"tail-requests": "tail", "analyze-logs": "analyze", "test-request": "test", "profile-latency": "profile latency",
         "profile-throughput": "profile throughput", "compare-providers": "compare"}
READERS = {"tail-requests": "--no-follow", "analyze-logs": "--errors"}  # of files


def said(*words, status=0, **options):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, **options)
    assert done.returncode == status, (words, done.returncode, done.stdout[-500:], done.stderr[-2000:])
    return done.stdout if status == 0 else done.stderr


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """As a package is built: below DESTDIR, for another place."""
    folder = tmp_path_factory.mktemp("staged")
    said("cmake", "--install", pathlib.Path(WEIR).resolve().parent, "--prefix", "/opt/weir", env={**os.environ, "DESTDIR": str(folder)})
    return folder / "opt/weir"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "requests.log"
    generate.write(str(path), shape="weir", lines=300, seed=5)
    return path


def commands():
    return re.findall(r"^  (\w+(?: \w+)*?)  +\S", said(WEIR, "help"), re.MULTILINE)


def pages(prefix):
    return {path.stem: path.read_text(encoding="utf-8") for path in (prefix / "share/man/man1").iterdir()}


def test_tools_are_links_that_can_be_moved(prefix):
    assert {path.name for path in (prefix / "bin").iterdir()} == {"weir", *TOOLS}
    for tool in TOOLS:
        assert os.readlink(prefix / "bin" / tool) == "weir"


def test_analyze_logs_is_weir_analyze(prefix, log):
    def report(*words):
        whole = json.loads(said(*words, log, "--format", "json", "--by", "model", "--errors"))
        del whole["input"]["seconds"]
        return whole

    by_name = report(prefix / "bin/analyze-logs")
    assert by_name["total"]["requests"] > 200
    assert by_name == report(prefix / "bin/weir", "analyze")
    # From any folder, found by PATH.
    assert by_name == report("env", "-C", "/", f"PATH={prefix}/bin:/usr/bin:/bin", "analyze-logs")


def test_tail_requests_is_weir_tail(prefix, log):
    words = [log, "--no-follow", "-n", "3", "--json"]
    lines = said(prefix / "bin/tail-requests", *words).splitlines()
    assert len(lines) == 3
    assert lines == said(WEIR, "tail", *words).splitlines()


@pytest.mark.parametrize("tool", TOOLS)
def test_options_of_a_tool_are_those_of_its_command(prefix, tool):
    assert said(prefix / "bin" / tool, "--help") == said(WEIR, *TOOLS[tool].split(), "--help")
    error = said(prefix / "bin" / tool, "--modle", "x", status=2)
    assert error == f'weir {TOOLS[tool]}: unknown option --modle; did you mean --model{"s" if tool == "compare-providers" else ""}?\nTry "weir {TOOLS[tool]} --help".\n'
    # A command's name is no command here but a file, or a word too many.
    words = [READERS[tool]] if tool in READERS else []
    assert "serve" in said(prefix / "bin" / tool, "serve", *words, status=3 if words else 2, cwd="/")


@pytest.mark.parametrize("tool", TOOLS)
def test_launchers_of_the_checkout_run_the_same(tool):
    if not any((ROOT / f"build/{preset}/weir").exists() for preset in ("release", "dev")):
        pytest.skip("neither the release nor the dev build is there")
    folder = next(path for path in ("debugging", "profiling") if (ROOT / "scripts" / path / tool).exists())
    assert said(ROOT / "scripts" / folder / tool, "--help", cwd="/").startswith(f"weir {TOOLS[tool]} - ")


def test_every_command_has_a_page(prefix):
    names = {f"weir-{name.replace(' ', '-')}" for name in commands()}
    assert len(names) >= 9
    assert set(pages(prefix)) == {"weir", *names, *TOOLS}
    for tool, command in TOOLS.items():
        assert pages(prefix)[tool] == f".so man1/weir-{command.replace(' ', '-')}.1\n"


def test_a_page_says_what_help_says(prefix):
    """Every option with its value, its text and its default; and the examples, as they can be pasted."""
    unescape = {r"\-": "-", r"\(aq": "'", r"\(ga": "`", r"\(ha": "^", r"\(ti": "~", r"\(dq": '"', r"\e": "\\", r"\&": ""}
    for command in commands():
        page = pages(prefix)[f"weir-{command.replace(' ', '-')}"]
        plain = re.sub(r"\\(?:\(..|[-e&]|f[BIR])", lambda m: unescape.get(m.group(), ""), page)
        page_words = " ".join(re.sub(r"^\.\w.*$", "", plain, flags=re.MULTILINE).split())
        helped = said(WEIR, *command.split(), "--help")
        options = [part for part in re.split(r"\n(?=  (?:-\w,|   ) --)", helped)[1:] if not part.startswith("  -h, --help")]
        for option in options:
            text = re.split(r"\n\n", option)[0]
            assert " ".join(text.split()) in page_words, (command, text)
        if "Examples:\n" in helped:
            assert helped.split("Examples:\n")[1].rstrip() in plain, command


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_has_nothing_to_say(prefix):
    for path in (prefix / "share/man/man1").iterdir():
        done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", path], capture_output=True, text=True, check=False, cwd=prefix / "share/man")
        assert (done.returncode, done.stderr) == (0, ""), path.name


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_examples_can_be_pasted_from_the_page(prefix):
    shown = subprocess.run(["groff", "-man", "-Tutf8", "-P-cbou", prefix / "share/man/man1/weir-analyze.1"], capture_output=True, text=True,
                           check=True).stdout
    assert "weir analyze --where 'latency_ms > 2s and provider = ollama' --by metadata.team" in shown


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    error = said(WEIR, "docs", "man", tmp_path / "no/such", status=3)
    assert error == f"weir docs man: cannot make the folder {tmp_path}/no/such: No such file or directory\n"
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in said(WEIR, "docs", "man", tmp_path / "file", status=3)
