"""Every command that docs/runbooks.md shows runs, against a gateway, a Prometheus and an Alertmanager that run. Ports, the log's folder and the model's name
are those of the test; programs of the machine's that tell of services and hardware are stand-ins."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from harness import ROOT, WEIR, wait_for
from live import needs_tool
from stack import MASTER, Stack
from test_rules import shown_commands

pytestmark = [pytest.mark.heavy, needs_tool("prometheus", "promtool", "prometheus-alertmanager", "amtool"),
              pytest.mark.skipif(not all(map(shutil.which, ("curl", "jq", "ss"))), reason="runbooks use curl, jq and ss")]
STAND_INS = "journalctl", "nvidia-smi", "iostat"
# weir: where no log is named it names the test's, and it ends what would go on for ever.
WRAPPER = """#!{python}
import os, sys
words = sys.argv[1:]
if words[0] in ("tail", "analyze"):
    words.insert(1, {log!r})
    if words[0] == "tail" and "--no-follow" not in words:
        words.append("--no-follow")
elif words[0] in ("profile", "test"):
    words += ["--url", "http://127.0.0.1:{port}"]
os.execv({weir!r}, ["weir", *words])
"""
# These measure: what they find may be bad (exit status 1). Some models of this gateway are broken on purpose, and the machine is not idle.
MEASURING = "weir test", "weir profile"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """(the stack, its names and ports: {as shown: as here}, the environment)"""
    folder = tmp_path_factory.mktemp("runbooks")
    programs = folder / "bin"
    programs.mkdir()
    with Stack(folder / "stack") as stack:
        prometheus = stack.watch(stack.gateway)
        for kind in ("gpt-main", "local-vllm", "falls", "doomed"):
            stack.gateway.chat(kind, {"authorization": f"Bearer {MASTER}"})
            stack.gateway.chat(kind, {"authorization": f"Bearer {MASTER}"}, stream=True)
        assert stack.gateway.post("/key/generate", {"key_alias": "carol"}, {"authorization": f"Bearer {MASTER}"}).status == 200
        wait_for(lambda: prometheus.query('ALERTS{alertname="Watchdog"}') and stack.alertmanager.alerts(), 30, 0.2)
        here = {"/etc/litellm/config.yaml": str(stack.gateway.config_path), "/var/log/litellm": str(stack.gateway.folder), "llama3.1:8b": "gpt-main",
                "http://localhost:11434/v1": stack.mock.base, "--iterations 50": "--iterations 5", "--iterations 20": "--iterations 5", "'weir serve'": f"'{stack.gateway.config_path}'"}
        ports = {4000: stack.gateway.port, 9090: prometheus.port, 9093: stack.alertmanager.port, 11434: stack.servers["ollama"].port, 8001: stack.servers["vllm"].port}
        here |= {f"localhost:{shown}": f"127.0.0.1:{port}" for shown, port in ports.items()} | {":4000": f":{stack.gateway.port}"}
        (programs / "weir").write_text(WRAPPER.format(python=sys.executable, log=str(stack.gateway.log_path), port=stack.gateway.port, weir=str(pathlib.Path(WEIR).resolve())))
        for name in STAND_INS:
            (programs / name).write_text("#!/bin/sh\necho 'weir: nobody to notify'\n")
        for program in programs.iterdir():
            program.chmod(0o755)
        environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        yield here, environment | {"PATH": f"{programs}:{os.environ['PATH']}", "LITELLM_MASTER_KEY": MASTER}


def test_every_command_runs(machine):
    here, environment = machine
    wrong, seen = [], set(shown_commands())
    for line in sorted(seen):
        command = line
        for shown, found in here.items():
            command = command.replace(shown, found)
        # "| head" and "grep -m" end what is before them: no pipefail there.
        options = [] if command.endswith("| head") or "| grep -m" in command else ["-o", "pipefail"]
        done = subprocess.run(["bash", *options, "-c", command], capture_output=True, text=True, check=False, env=environment, cwd=ROOT, timeout=60)
        if done.returncode not in (0, int(line.startswith(MEASURING))):
            wrong.append(f"{line}\n    {done.returncode}: {(done.stdout + done.stderr)[-300:]}")
    assert len(seen) > 60
    assert not wrong, "\n".join(wrong)
