"""examples/litellm-callback in a real LiteLLM: its log, read by weir, has every request once and every number that LiteLLM told."""
import json
import pathlib
import shutil
import subprocess

import peers
import pytest
from harness import ROOT, WEIR, Metrics, wait_for
from shared import MASTER_KEY, ask, chat, compact, needs, shared_config

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
EXAMPLE = ROOT / "examples/litellm-callback"


@pytest.fixture(scope="module")
def logged(mock, tmp_path_factory):
    """LiteLLM with the callback, and where its log is."""
    needs("litellm")
    folder = tmp_path_factory.mktemp("logged")
    shutil.copy(EXAMPLE / "weir_log.py", folder)
    settings = shared_config(mock.base)
    settings["litellm_settings"]["callbacks"] = ["prometheus", "weir_log.weir_log"]
    (folder / "config.yaml").write_text(json.dumps(settings, indent=1))
    with peers.litellm(folder, folder / "config.yaml", {"WEIR_LOG_FILE": str(folder / "requests.log")}) as running:
        running.log = folder / "requests.log"
        yield running


def lines(path):
    return [json.loads(text) for text in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def export(log):
    done = subprocess.run([WEIR, "export", log, "--once"], check=True, capture_output=True, text=True)
    return Metrics(done.stdout)


def analyze(log):
    done = subprocess.run([WEIR, "analyze", log, "--format", "json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_every_request_is_in_the_log_once(logged, fresh_log):
    plain, streams, embeddings, limited, broken = 7, 5, 3, 4, 2
    prompt = completion = 0
    for i in range(plain):
        usage = ask(logged, "POST", CHAT, chat("sim-fast", f"number {i}")).json["usage"]
        prompt, completion = prompt + usage["prompt_tokens"], completion + usage["completion_tokens"]
    for i in range(streams):
        asked = chat("renamed", f"stream {i}", stream=True, stream_options={"include_usage": True})
        usage = json.loads(ask(logged, "POST", CHAT, asked).events[-2])["usage"]
        prompt, completion = prompt + usage["prompt_tokens"], completion + usage["completion_tokens"]
    for i in range(embeddings):
        assert ask(logged, "POST", EMBEDDINGS, compact({"model": "sim-embed", "input": ["one"]})).status == 200
    for i in range(limited):
        assert ask(logged, "POST", CHAT, chat("fails-429", f"limited {i}")).status == 429
    for i in range(broken):
        assert ask(logged, "POST", CHAT, chat("fails-500", f"broken {i}")).status == 500
    count = plain + streams + embeddings + limited + broken
    wait_for(lambda: len(lines(logged.log)) >= count, 20)
    assert len(lines(logged.log)) == count, [r["status"] for r in lines(logged.log)]

    metrics, report = export(logged.log), analyze(logged.log)
    for (model, outcome), wanted in {("sim-fast", "success"): plain, ("renamed", "success"): streams, ("sim-embed", "success"): embeddings,
                                     ("fails-429", "failure"): limited, ("fails-500", "failure"): broken}.items():
        assert metrics.total("litellm_requests_total", model=model, status=outcome) == wanted, (model, outcome)
    assert metrics.total("litellm_requests_total") == count == report["total"]["requests"]
    assert report["total"]["failure"] == limited + broken and report["input"]["litellm"] == count
    # Embeddings have prompt tokens, too, which their answers were not asked for here.
    tokens = {kind: metrics.total("litellm_tokens_total", type=kind) for kind in ("prompt", "completion")}
    chats = {kind: sum(metrics.total("litellm_tokens_total", type=kind, model=m) for m in ("sim-fast", "renamed")) for kind in tokens}
    assert chats == {"prompt": prompt, "completion": completion}
    assert tokens == {kind: report["total"][f"{kind}_tokens"] for kind in tokens}
    assert metrics.total("litellm_spend_metric_total") == pytest.approx(report["total"]["cost_usd"], rel=1e-9)
    assert metrics.total("litellm_spend_metric_total") > 0  # "renamed" has a price
    assert metrics.total("litellm_llm_api_time_to_first_token_metric_count") == streams
    assert metrics.total("litellm_llm_api_latency_metric_count") == plain + streams + embeddings
    assert metrics.total("litellm_deployment_failure_responses_total", exception_class="Openai.RateLimitError", exception_status="429") == limited
    assert metrics.total("litellm_deployment_failure_responses_total", exception_status="500") == broken
    assert metrics.total("litellm_proxy_total_requests_metric_total", route=EMBEDDINGS) == embeddings


def test_it_says_what_litellms_own_metrics_say(logged, fresh_log):
    """LiteLLM's counters before and after, against the log's."""
    def theirs():
        return Metrics(ask(logged, "GET", "/metrics/").text)

    def failures_and_tokens(m):
        return {"failed": m.total("litellm_deployment_failure_responses_total", exception_class="Openai.RateLimitError"),
                "answered": m.total("litellm_deployment_success_responses_total"),
                "input": m.total("litellm_input_tokens_metric_total"), "output": m.total("litellm_output_tokens_metric_total")}

    before = failures_and_tokens(theirs())
    for i in range(4):
        ask(logged, "POST", CHAT, chat("sim-fast", f"again {i}"))
        ask(logged, "POST", CHAT, chat("fails-429", f"again {i}"))
    wait_for(lambda: len(lines(logged.log)) >= 8, 20)
    mine = failures_and_tokens(export(logged.log))

    def same():
        """LiteLLM's own counters saying the same"""
        after = failures_and_tokens(theirs())
        return {name: after[name] - before[name] for name in after} == mine

    wait_for(same, 20, every_s=0.5)


def test_what_was_said_is_not_in_the_log(logged, fresh_log):
    secret = "xyzzy-do-not-log"
    ask(logged, "POST", CHAT, chat("sim-fast", secret, tools=[{"type": "function", "function": {"name": secret, "parameters": {}}}]))
    ask(logged, "POST", CHAT, chat("sim-fast", secret, stream=True))
    wait_for(lambda: len(lines(logged.log)) == 2, 20)
    assert secret not in logged.log.read_text()
    assert MASTER_KEY not in logged.log.read_text() and "sk-upstream" not in logged.log.read_text()


def test_rotation_needs_no_signal(logged, fresh_log):
    ask(logged, "POST", CHAT, chat("sim-fast", "one"))
    wait_for(lambda: len(lines(logged.log)) == 1, 20)
    old = logged.log.with_name("requests.log.1")
    logged.log.rename(old)
    ask(logged, "POST", CHAT, chat("sim-fast", "two"))
    wait_for(lambda: len(lines(logged.log)) == 1, 20)
    assert len(lines(old)) == 1
    assert export(logged.log).total("litellm_requests_total") == 2  # rotated files come along


def test_a_log_that_cannot_be_written_harms_nobody(logged, fresh_log):
    logged.log.mkdir()
    try:
        assert ask(logged, "POST", CHAT, chat("sim-fast", "three")).status == 200
        wait_for(lambda: "is lost" in logged.said(), 20)
    finally:
        logged.log.rmdir()
    ask(logged, "POST", CHAT, chat("sim-fast", "four"))
    wait_for(lambda: len(lines(logged.log)) == 1, 20)


@pytest.fixture
def fresh_log(logged):
    for path in pathlib.Path(logged.log).parent.glob("requests.log*"):
        path.unlink()
