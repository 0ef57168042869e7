"""The log's way into a store of logs, with a real VictoriaLogs: it takes Loki's push format, which is what Alloy sends, and JSON lines, which docs/logs.md sends
with weir tail and curl. What the pipeline of monitoring/alloy/config.alloy makes of a line is computed by tests/monitoring/alloy.py: Alloy itself cannot be had.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request

import peers
import pytest
from harness import ROOT, WEIR, config, model, wait_for
from shared import failing, needs

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "monitoring"))

import alloy  # noqa: E402

PAGE = ROOT / "docs/logs.md"
EXAMPLE_ID = re.search(r'request_id="([^"]+)"', PAGE.read_text()).group(1)
KEY = "sk-team-a-0123456789abcdef"


def post(url, body, **headers):
    return urllib.request.urlopen(urllib.request.Request(url, body, {k.replace("_", "-"): v for k, v in headers.items()}), timeout=30)


class Store:
    def __init__(self, peer):
        self.root = peer.root

    def ask(self, query):
        with post(f"{self.root}/select/logsql/query", urllib.parse.urlencode({"query": query}).encode()) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def has(self, count):
        """Waits until so many lines can be found."""
        def enough():
            """the lines in VictoriaLogs"""
            found = self.ask("* | count() n")
            return found and int(found[0]["n"]) >= count

        wait_for(enough, 20, 0.2)
        assert self.ask("* | count() n") == [{"n": str(count)}]


@pytest.fixture
def store(tmp_path):
    needs("victorialogs")
    folder = tmp_path / "store"
    folder.mkdir()
    port = peers.free_port()
    words = [peers.INSTALLED / "victorialogs/victoria-logs", f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=30d"]
    with peers.Peer(folder, words, port, "/health") as running:
        yield Store(running)


@pytest.fixture
def gateway(weir, mock):
    """A weir that has answered, failed and tried again, with the id that the page asks for."""
    started = weir(config(
        model("sim-fast", mock.base, input_cost_per_token=0.001, output_cost_per_token=0.001), failing("sick", mock.base, status="500"),
        router_settings={"num_retries": 1, "retry_after": 0}, general_settings={"master_key": "sk-master"},
        litellm_settings={"logging": {"log_requests": True, "log_responses": True}},
        weir_settings={"keys": [{"key": KEY, "key_alias": "team-a"}]}))
    who = {"authorization": f"Bearer {KEY}"}
    started.chat("sim-fast", {**who, "x-request-id": EXAMPLE_ID}, text="SECRET-PROMPT", metadata={"a": {"request": 1}})
    started.chat("sim-fast", who, text="SECRET-PROMPT", stream=True)
    started.chat("sick", who, text="SECRET-PROMPT")
    started.requests(3)
    return started


def page_queries():
    return [q.strip() for q in re.findall(r"^```logsql\n(.*?)^```", PAGE.read_text(), re.M | re.S)]


def test_the_push_format(store, gateway):
    pipeline = alloy.Pipeline((ROOT / "monitoring/alloy/config.alloy").read_text())
    lines = gateway.log_path.read_text(encoding="utf-8").splitlines()
    entries = [pipeline.run(line) for line in lines]
    with post(f"{store.root}/insert/loki/api/v1/push", json.dumps(alloy.push_body(entries)).encode(), content_type="application/json") as answer:
        assert answer.status == 204
    store.has(len(lines))
    (found,) = store.ask(f'{{job="weir"}} request_id:="{EXAMPLE_ID}"')
    (record,) = [r for r in map(json.loads, lines) if r.get("request_id") == EXAMPLE_ID]
    assert found["_time"] == record["timestamp"] and found["model"] == "sim-fast" and found["key_alias"] == "team-a"
    assert found["total_tokens"] == str(record["total_tokens"]) and float(found["latency_ms"]) == record["latency_ms"]
    assert found["_stream"] == '{event="request",instance="gw1",job="weir",level="INFO"}'
    assert store.ask("_msg:SECRET | count() n") == [{"n": "0"}] and "SECRET" not in json.dumps(store.ask("*"))
    assert len(page_queries()) >= 5
    for query in page_queries():
        assert store.ask(query), query
    (failed,) = store.ask(page_queries()[1])
    assert failed == {"model": "sick", "errors": "1"}


def test_the_pages_command_without_an_agent(store, gateway):
    if not shutil.which("curl"):
        pytest.skip("no curl here")
    (url,) = re.findall(r"^weir tail --json --since 1m \| curl -sS -X POST -T - 'http://127\.0\.0\.1:9428([^']+)'$", PAGE.read_text(), re.M)
    tail = subprocess.Popen([WEIR, "tail", gateway.log_path, "--json", "--since", "1m"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    curl = subprocess.Popen(["curl", "-sS", "--noproxy", "*", "-X", "POST", "-T", "-", store.root + url], stdin=tail.stdout, stdout=subprocess.DEVNULL)
    try:
        store.has(len(gateway.lines()))
        gateway.chat("sim-fast", {"authorization": f"Bearer {KEY}"}, text="SECRET-PROMPT")  # while it follows
        gateway.requests(4)
        store.has(len(gateway.lines()))
        (found,) = store.ask(f'{{job="weir"}} request_id:="{EXAMPLE_ID}"')
        assert found["_stream"] == '{event="request",instance="gw1",job="weir",level="INFO"}' and found["cost_usd"]
        assert "SECRET" not in json.dumps(store.ask("*"))
        for query in page_queries():
            assert store.ask(query), query
    finally:
        tail.terminate()
        tail.wait(10)
        curl.wait(10)
