"""What a client may write for `model`: ids, aliases, names, patterns, upstream names; and what a wrong configuration says."""
import json
import subprocess

import pytest
from harness import config, find_binary, model


@pytest.fixture
def gateway(weir, mock):
    return weir(config(model("mine", mock.base, "openai/sim-fast", info={"id": "one"}), model("mine", mock.base, "openai/sim-tools", info={"id": "two"}),
                       model("openai/*", mock.base, "openai/*"),
                       router_settings={"model_group_alias": {"aka": "mine"}}, litellm_settings={"model_alias_map": {"old": "mine"}}))


@pytest.mark.parametrize("asked, deployment, upstream", [
    ("one", "one", "sim-fast"), ("two", "two", "sim-tools"),
])
def test_an_id_is_that_deployment(gateway, asked, deployment, upstream):
    for _ in range(8):
        answer = gateway.chat(asked)
        assert answer.status == 200 and answer["x-litellm-model-id"] == deployment
    record = gateway.requests(8)[-1]
    assert (record["model"], record["deployment"], record["upstream_model"]) == (asked, deployment, upstream)


@pytest.mark.parametrize("asked", ["mine", "aka", "old"])
def test_a_name_is_all_of_them(gateway, asked):
    assert {gateway.chat(asked)["x-litellm-model-id"] for _ in range(40)} == {"one", "two"}


def test_a_pattern_is_before_an_upstream_name(gateway):
    assert gateway.chat("openai/sim-fast").status == 200
    assert gateway.record()["deployment"] not in ("one", "two")


def test_an_upstream_name(weir, mock):
    gateway = weir(config(model("mine", mock.base, "openai/sim-fast", info={"id": "one"}), model("mine", mock.base, "openai/sim-tools", info={"id": "two"})))
    assert {gateway.chat("openai/sim-tools")["x-litellm-model-id"] for _ in range(8)} == {"two"}
    assert gateway.chat("openai/sim-slow").status == 400
    listed = {m["id"] for m in gateway.get("/v1/models").json["data"]}
    assert "mine" in listed and not listed & {"one", "two", "openai/sim-fast", "openai/sim-tools"}


def test_unknown_names_lead_to_the_first_default_fallback(weir, mock):
    gateway = weir(config(model("mine", mock.base, "openai/sim-fast", info={"id": "one"}), litellm_settings={"default_fallbacks": ["mine"]}))
    answer = gateway.chat("a-strangers-own-name")
    assert answer.status == 200 and answer["x-litellm-model-id"] == "one"
    assert gateway.record()["model"] == "a-strangers-own-name"
    metrics = gateway.get("/metrics").text
    assert "litellm_requests_total{" in metrics and "a-strangers-own" not in metrics


def test_a_fallback_that_is_not_there_is_an_error(mock, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(json.dumps(config(model("mine", mock.base, "openai/sim-fast"), router_settings={"fallbacks": [{"mine": ["mien"]}]})))
    done = subprocess.run([find_binary(), "check", "config", str(file)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert 'router_settings.fallbacks: "mien" is no model of model_list; did you mean mine?' in done.stdout + done.stderr
