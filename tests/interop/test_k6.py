"""The k6 scripts against weir: what they count, the gateway's log counts too, and the exit code is what the thresholds say.

By a real k6 where there is one (K6=/path/to/k6, or k6 in the PATH: it is under the AGPL, so nothing here installs it), and always by the
stand-in in k6_stand_in, which runs the scripts' own code but is no k6. That the scripts call k6 as it wants to be called is checked
against k6's type definitions."""
import collections
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree

import peers
import pytest
from harness import ROOT
from load import counted, records, same_in_metrics

SCRIPTS = ROOT / "scripts/loadtesting/k6"
STAND_IN = ROOT / "tests/interop/k6_stand_in/k6"
TYPES = peers.INSTALLED / "k6-types"
NODE_LEAST = 20
THRESHOLDS_FAILED, ABORTED = 99, 108
RUN_S = 90


def real_k6():
    return os.environ.get("K6") or shutil.which("k6")


def node_version():
    node = shutil.which("node")
    return int(subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout[1:].split(".")[0]) if node else 0


@pytest.fixture(params=["k6", "stand-in"])
def k6(request):
    if request.param == "k6" and not real_k6():
        pytest.skip("there is no k6 here: put one into the PATH, or say K6=/path/to/k6")
    if request.param == "stand-in" and node_version() < NODE_LEAST:
        pytest.skip(f"the stand-in for k6 needs Node.js {NODE_LEAST} or later")
    return real_k6() if request.param == "k6" else STAND_IN


class Run:
    """A run of a script, over."""

    def __init__(self, k6, folder, script, *flags, base, **env):
        kept = {"PATH": os.environ["PATH"], "HOME": str(folder), "K6_NO_USAGE_REPORT": "true", "BASE_URL": base}
        words = [str(k6), "run", *flags, *(w for name, value in env.items() for w in ("-e", f"{name}={value}")), str(SCRIPTS / script)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=kept, timeout=RUN_S)
        self.code, self.said, self.folder, self.script = done.returncode, done.stdout + done.stderr, folder, script

    @property
    def metrics(self):
        return json.loads((self.folder / self.script.replace(".js", "-summary.json")).read_text())["metrics"]

    def value(self, name, key="count"):
        return self.metrics[name]["values"][key] if name in self.metrics else 0


def base_of(gateway):
    return f"http://127.0.0.1:{gateway.port}"


def agrees_with_log(run, gateway):
    """Request for request, token for token; k6 waits for the answers under way, so none is cut."""
    found = records(gateway)
    same_in_metrics(gateway, found)
    by = counted(found)
    good = [r for r in found if r["status"] == "success"]
    assert run.value("llm_requests") == len(found) == sum(by.values()) > 0
    assert run.value("llm_failed", "passes") == len(found) - len(good)
    for kind, streamed in (("plain", False), ("stream", True)):
        assert run.value(f"llm_requests{{kind:{kind}}}") == len([r for r in found if r["stream"] == streamed])
    for name in run.metrics:
        if model := re.fullmatch(r"llm_requests\{model:(.*)\}", name):
            assert run.value(name) == len([r for r in found if r["model"] == model[1]])
    assert run.value("llm_stream_chunks") == len([r for r in good if r["stream"]])
    assert run.value("llm_output_tokens") == sum(r["completion_tokens"] for r in good)
    return found


# ---- counts ----

def test_the_smoke_test(k6, weir_simulated, tmp_path):
    gateway = weir_simulated()
    run = Run(k6, tmp_path, "smoke-test.js", "--duration", "3s", base=base_of(gateway), SUMMARY_JUNIT="junit.xml")
    assert run.code == 0, run.said
    found = agrees_with_log(run, gateway)
    assert {r["model"] for r in found} == {"sim-fast"} and len(found) >= 15  # five users, a request each half second
    assert run.value("checks", "rate") == 1 and "FAILED" not in run.said and "llm_duration" in run.said
    suite = xml.etree.ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert suite.get("failures") == "0" and len(suite) == int(suite.get("tests")) >= 5


def test_users_and_duration_from_the_command_line(k6, weir_simulated, tmp_path):
    """The seed's line, `k6 run --vus 50 --duration 10m litellm-load-test.js`, shorter."""
    gateway = weir_simulated()
    run = Run(k6, tmp_path, "litellm-load-test.js", "--vus", "8", "--duration", "4s", base=base_of(gateway), THINK_MIN_S="0", THINK_MAX_S="0.2",
              MODELS="sim-fast=4,sim-slow=2,sim-flaky=4", MAX_FAIL_RATIO="1")
    assert run.code == 0, run.said
    found = agrees_with_log(run, gateway)
    assert {r["model"] for r in found} == {"sim-fast", "sim-slow", "sim-flaky"} and {r["status"] for r in found} >= {"success"}
    assert run.value("llm_duration{model:sim-slow}", "min") >= 1549  # 800 ms, and 15 tokens more every 50 ms


@pytest.mark.parametrize("scenario", ["gradual", "spike", "constant", "rate", "ramp-rate", "constant,spike"])
def test_scenarios(k6, weir_simulated, tmp_path, scenario):
    gateway = weir_simulated()
    run = Run(k6, tmp_path, "litellm-load-test.js", base=base_of(gateway), SCENARIO=scenario, DURATION="3s", VUS="6", RATE="40", MAX_DROPPED="1000",
              MODELS="sim-fast", THINK_MIN_S="0.1", THINK_MAX_S="0.1")
    assert run.code == 0, run.said
    found = agrees_with_log(run, gateway)
    if scenario == "rate":
        assert abs(len(found) + run.value("dropped_iterations") - 3 * 40) <= 2
    elif scenario == "ramp-rate":  # 80 % of the time up to the rate, then at it
        assert abs(len(found) + run.value("dropped_iterations") - 3 * 40 * 0.6) <= 3
    else:
        assert len(found) > 15


def test_the_mix_that_the_gateway_offers(k6, weir_simulated, tmp_path):
    gateway = weir_simulated()
    run = Run(k6, tmp_path, "litellm-load-test.js", base=base_of(gateway), SCENARIO="rate", DURATION="3s", RATE="60", MAX_DROPPED="1000",
              MAX_FAIL_RATIO="1", MAX_TOKENS="1")
    found = agrees_with_log(run, gateway)
    have = collections.Counter(r["model"] for r in found)
    shares = {"sim-fast": 0.60, "sim-slow": 0.25, "sim-flaky": 0.15}
    assert set(have) == set(shares)
    for name, share in shares.items():
        assert abs(have[name] - share * len(found)) <= 5 * (len(found) * share * (1 - share)) ** 0.5


def test_no_two_prompts_alike(k6, weir_simulated, tmp_path):
    gateway = weir_simulated(litellm_settings={"logging": {"log_requests": True}})
    Run(k6, tmp_path, "smoke-test.js", "--duration", "2s", base=base_of(gateway), THINK_S="0.1", MAX_TOKENS="9", PROMPT_WORDS="12")
    asked = [r["request"] for r in records(gateway)]
    texts = [a["messages"][0]["content"] for a in asked]
    assert len(set(texts)) == len(texts) > 20 and {a["max_tokens"] for a in asked} == {9}
    assert {len(t.split()) for t in texts} == {14}  # "Continue:", a nonce, twelve words


# ---- exit codes ----

@pytest.mark.parametrize("env,code", [
    ({"MODELS": "sim-slow", "STREAM_SHARE": "0", "MAX_P95_MS": "1000"}, THRESHOLDS_FAILED),
    ({"MODELS": "sim-slow", "STREAM_SHARE": "1", "MAX_STREAM_P95_MS": "1000"}, THRESHOLDS_FAILED),
    ({"MODELS": "sim-slow", "STREAM_SHARE": "1", "MAX_TTFT_P95_MS": "400"}, THRESHOLDS_FAILED),
    ({"MODELS": "sim-slow", "STREAM_SHARE": "1", "MAX_TTFT_P95_MS": "20000"}, 0),
    ({"MODELS": "absent"}, THRESHOLDS_FAILED),
    ({"MODELS": "absent", "MAX_FAIL_RATIO": "1"}, 0)])
def test_thresholds_decide_the_exit_code(k6, weir_simulated, tmp_path, env, code):
    gateway = weir_simulated()
    run = Run(k6, tmp_path, "smoke-test.js", "--vus", "2", "--duration", "2s", base=base_of(gateway), **env)
    assert run.code == code, run.said
    assert ("FAILED" in run.said) == (code != 0)


def test_the_first_token_is_the_gateways(k6, weir_simulated, tmp_path):
    """800 ms lies in the bucket from 0.5 to 1 s, or the one above it on a busy machine."""
    gateway = weir_simulated()
    run = Run(k6, tmp_path, "smoke-test.js", "--vus", "2", "--duration", "2s", base=base_of(gateway), MODELS="sim-slow", STREAM_SHARE="1")
    assert run.value("gateway_ttft_p50_ms", "value") > 500


def test_requests_that_are_dropped_fail_the_run(k6, weir_simulated, tmp_path):
    gateway = weir_simulated()
    run = Run(k6, tmp_path, "litellm-load-test.js", base=base_of(gateway), SCENARIO="rate", DURATION="4s", RATE="10", MAX_VUS="1", VUS="1", MODELS="sim-slow")
    assert run.code == THRESHOLDS_FAILED and run.value("dropped_iterations") > 0
    agrees_with_log(run, gateway)


def test_keys(k6, weir_simulated, tmp_path):
    gateway = weir_simulated(general_settings={"master_key": "sk-load-1234"})
    good = Run(k6, tmp_path, "smoke-test.js", "--duration", "1s", base=base_of(gateway), API_KEY="sk-load-1234")
    assert good.code == 0 and "sk-load-1234" not in good.said + (tmp_path / "smoke-test-summary.json").read_text()
    bad = Run(k6, tmp_path, "smoke-test.js", "--duration", "1s", base=base_of(gateway), API_KEY="sk-wrong")
    assert bad.code == ABORTED and "HTTP 401" in bad.said and "API_KEY" in bad.said


def test_nobody_there(k6, tmp_path):
    run = Run(k6, tmp_path, "smoke-test.js", "--duration", "1s", base=f"http://127.0.0.1:{peers.free_port()}")
    assert run.code == ABORTED and "Is the gateway running" in run.said


@pytest.mark.parametrize("env,says", [
    ({"SCENARIO": "storm"}, "there are gradual"), ({"DURATION": "soon"}, "duration such as"), ({"VUS": "many"}, "a number"),
    ({"MODELS": "a,b,c,d"}, "need a share"), ({"MODELS": "a=0"}, "share above 0")])
def test_settings_that_make_no_sense(k6, tmp_path, env, says):
    run = Run(k6, tmp_path, "litellm-load-test.js", base="http://127.0.0.1:9", **env)
    assert run.code not in (0, THRESHOLDS_FAILED) and says in run.said


def test_a_first_token_that_cannot_be_measured_is_not_judged_good(k6, weir_simulated, tmp_path):
    gateway = weir_simulated()
    run = Run(k6, tmp_path, "smoke-test.js", "--duration", "1s", base=base_of(gateway), STREAM_SHARE="0", MAX_TTFT_P95_MS="100")
    assert run.code == ABORTED and "nothing is streamed" in run.said


def test_another_format_of_k6s_summary_is_written_as_it_is(k6, weir_simulated, tmp_path):
    gateway = weir_simulated()
    run = Run(k6, tmp_path, "smoke-test.js", "--duration", "1s", "--new-machine-readable-summary", base=base_of(gateway))
    assert run.code == 0 and "new summary format" in run.said
    assert "results" in json.loads((tmp_path / "smoke-test-summary.json").read_text())


# ---- k6's interface ----

def test_the_scripts_call_k6_as_its_types_say(tmp_path):
    if not (TYPES / "installed").exists():
        pytest.skip("k6's type definitions could not be installed here")
    for script in SCRIPTS.glob("*.js"):
        shutil.copy(script, tmp_path)
    (tmp_path / "node_modules").symlink_to(TYPES / "node_modules")
    (tmp_path / "console.d.ts").write_text("declare const console: { log(...words: unknown[]): void };\n")  # k6 has it, its types lack it
    options = {"allowJs": True, "checkJs": True, "noEmit": True, "target": "es2020", "lib": ["es2020"], "module": "esnext", "moduleResolution": "bundler",
               "types": ["k6"], "strict": False}
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "include": ["*.js", "*.d.ts"]}))
    done = subprocess.run([tmp_path / "node_modules/.bin/tsc", "-p", tmp_path], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
