"""A real llama.cpp behind the gateway: its own tokenizer, its own counts, text as it becomes whole characters."""
import json
import re
import subprocess

import pytest
from harness import ROOT, Raw, chat_body, config, model, request, wait_for

pytestmark = pytest.mark.skipif(not (ROOT / "tests/node_modules/node-llama-cpp").exists(),
                                reason="npm packages are not installed: make test does it")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    subprocess.run(["python3", ROOT / "tests/llama/make_gguf.py", folder / "tiny.gguf"], check=True)
    with open(folder / "out", "wb") as out:
        process = subprocess.Popen(["node", ROOT / "tests/llama/server.mjs", folder / "tiny.gguf"], stdout=out, stderr=subprocess.STDOUT)

    def ready():
        assert process.poll() is None, (folder / "out").read_text()
        return re.search(r"ready (\d+)", (folder / "out").read_text())

    yield int(wait_for(ready, 60).group(1))
    process.terminate()
    process.wait(10)


def ask(port, **more):
    with Raw("127.0.0.1", port, 60) as client:
        body = chat_body("tiny", "héllo, 水", max_tokens=40, seed=11, **more)
        client.send(request("POST", "/v1/chat/completions", json.dumps(body).encode()))
        return client.answer()


def words(answer):
    return "".join(c["delta"].get("content", "") for e in answer.events[:-1] for c in json.loads(e)["choices"])


@pytest.fixture
def through(weir, llama):
    return weir(config(model("tiny", f"http://127.0.0.1:{llama}/v1")))


def test_plain(through, llama):
    direct, ours = ask(llama), ask(through.port)
    assert ours.body == direct.body and len(ours.json["choices"][0]["message"]["content"]) > 0
    usage, record = direct.json["usage"], through.record()
    assert usage["completion_tokens"] == 40
    for field in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert record[field] == usage[field]
    assert record["tokens_source"] == "provider" and record["finish_reason"] == "length"


@pytest.mark.parametrize("asks_usage", [False, True])
def test_streamed(through, llama, asks_usage):
    direct = ask(llama, stream=True, stream_options={"include_usage": True})
    ours = ask(through.port, stream=True, **({"stream_options": {"include_usage": True}} if asks_usage else {}))
    assert words(ours) == words(direct) and words(ours)
    assert (ours.body == direct.body) == asks_usage
    record, usage = through.record(), json.loads(direct.events[-2])["usage"]
    assert (record["prompt_tokens"], record["completion_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert 0 < record["ttft_ms"] <= record["latency_ms"]


def test_health_asks_the_engine(through):
    health = through.get("/health").json
    assert (health["healthy_count"], health["unhealthy_count"]) == (1, 0)


def test_the_engine_s_load_is_seen(weir, llama):
    w = weir(config(model("tiny", f"http://127.0.0.1:{llama}/v1", info={"engine": "auto"}), weir_settings={"engine_poll_ms": 20}))

    def engine():
        return w.get("/api/v1/status").json["models"][0]["engine"]

    idle = wait_for(lambda: engine()["up"] and engine())
    assert (idle["engine"], idle["slots"], idle["running"], idle["waiting"]) == ("llama.cpp", 1, 0, 0) and idle["version"].startswith("b")
    with Raw("127.0.0.1", w.port, 60) as first, Raw("127.0.0.1", w.port, 60) as second:
        for client in (first, second):
            client.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("tiny", "long", max_tokens=500, seed=3)).encode()))
        wait_for(lambda: (engine()["running"], engine()["waiting"]) == (1, 1), 60, 0.005)
        assert first.answer().status == second.answer().status == 200
    wait_for(lambda: (engine()["running"], engine()["waiting"]) == (0, 0))
    assert w.metrics().total("weir_engine_up", engine="llama.cpp", api_base=f"http://127.0.0.1:{llama}") == 1
