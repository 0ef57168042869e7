"""The launchers in scripts/: each runs the weir command that its first line names, of the checkout that it lies in, else the one installed."""
import pathlib
import re
import shutil
import subprocess

import pytest

from harness import ROOT, WEIR

FOLDERS = ("debugging", "profiling", "loadtesting")
NAMED = re.compile(r"^#!/bin/sh\n# .*`weir ([a-z ]+)`")
# Says what it was started as, and ends with a code of its own.
FAKE = '#!/bin/sh\necho "{name}"\nfor word in "$@"; do printf "<%s>\\n" "$word"; done\nexit 7\n'


def launchers():
    found = [path for folder in FOLDERS for path in sorted((ROOT / "scripts" / folder).iterdir()) if path.is_file() and not path.suffix]
    assert found
    return [pytest.param(path, id=path.name) for path in found]


def command_of(path):
    named = NAMED.match(path.read_text())
    assert named, f"{path}: the second line does not say `weir COMMAND`"
    return named[1].split()


class Checkout:
    """A folder with one launcher in its place, and weir where the test wants one."""

    def __init__(self, folder, launcher):
        self.folder = folder / "a checkout"
        self.path = self.folder / launcher.relative_to(ROOT)
        self.path.parent.mkdir(parents=True)
        shutil.copy(launcher, self.path)

    def fake(self, place):
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FAKE.format(name=place))
        path.chmod(0o755)

    def run(self, *words, through=None):
        env = {"PATH": f"{self.folder}/installed:/usr/bin:/bin"}
        return subprocess.run([through or self.path, *words], capture_output=True, text=True, check=False, cwd="/", env=env, timeout=20)


@pytest.mark.parametrize("launcher", launchers())
def test_the_newest_build_is_preferred_and_words_and_exit_code_pass(tmp_path, launcher):
    checkout, command = Checkout(tmp_path, launcher), command_of(launcher)
    words = ["--model", "two words", "", "*", "$HOME", "--since=1 hour ago"]
    passed = [f"<{w}>" for w in command + words]
    for place in ("installed/weir", "build/dev/weir", "build/release/weir"):
        checkout.fake(place)
        done = checkout.run(*words)
        assert (done.returncode, done.stdout.splitlines(), done.stderr) == (7, [place, *passed], "")


@pytest.mark.parametrize("launcher", launchers())
def test_a_link_to_it_finds_its_checkout(tmp_path, launcher):
    checkout = Checkout(tmp_path, launcher)
    checkout.fake("build/release/weir")
    link = tmp_path / "bin" / launcher.name
    link.parent.mkdir()
    link.symlink_to(checkout.path)
    assert checkout.run(through=link).stdout.splitlines() == ["build/release/weir", *(f"<{w}>" for w in command_of(launcher))]


@pytest.mark.parametrize("launcher", launchers())
def test_without_weir_it_says_what_to_do(tmp_path, launcher):
    checkout = Checkout(tmp_path, launcher)
    done = checkout.run("--help")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"{launcher.name}: weir is not built: run make release in {checkout.folder}\n"


@pytest.mark.parametrize("launcher", launchers())
def test_its_command_exists(tmp_path, launcher):
    checkout = Checkout(tmp_path, launcher)
    (checkout.folder / "build/release").mkdir(parents=True)
    (checkout.folder / "build/release/weir").symlink_to(pathlib.Path(WEIR).resolve())
    by_name = checkout.run("--help")
    itself = subprocess.run([WEIR, *command_of(launcher), "--help"], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    assert by_name.returncode == itself.returncode == 0
    assert by_name.stdout == itself.stdout and f"weir {' '.join(command_of(launcher))}" in by_name.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_tells_of_its_tools(folder):
    here = ROOT / "scripts" / folder
    text = (here / "README.md").read_text()
    scripts = [p for p in here.rglob("*") if p.is_file() and p.suffix in ("", ".js", ".py")]
    told = text + "".join(page.read_text() for page in here.glob("*/README.md"))
    assert scripts and [p.name for p in scripts if p.name not in told] == []
