"""The failover suite's quick part, and how soon an upstream learns that its client has left."""
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from harness import WEIR, chat_body, config, model, request, wait_for

SUITE = pathlib.Path(__file__).resolve().parents[1] / "failover" / "run.py"
CANCELLED_WITHIN_MS = 10

pytestmark = pytest.mark.heavy  # both measure time


def test_faults_are_dealt_with_as_promised():
    run = subprocess.run([sys.executable, "-B", str(SUITE), "--quick"], env={**os.environ, "WEIR": str(pathlib.Path(WEIR).resolve())},
                         capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("fault", ["hang-head", "hang-body", "stall-after=3"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_its_upstream_within_10_ms(weir, fresh_mock, fault, stream):
    gateway = weir(config(model("m", fresh_mock.base)))
    late_ms = []
    for round_ in range(5):  # the median counts: another program may have had the processor
        with gateway.connect() as raw:
            name, _, value = fault.partition("=")
            raw.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("m", stream=stream)).encode(),
                             {f"x-mock-{name}": value or "1"}))
            wait_for(lambda: fresh_mock.stats()["in_flight"] == 1)
            if fault.startswith("stall") and stream:
                raw.until(b"data: ")
            raw.socket.close()
        left_ns = time.monotonic_ns()
        wait_for(lambda: fresh_mock.stats()["cancelled"] == round_ + 1)  # pylint: disable=cell-var-from-loop
        late_ms.append((fresh_mock.stats()["last_cancel_ns"] - left_ns) / 1e6)
    assert sorted(late_ms)[2] < CANCELLED_WITHIN_MS, late_ms
    assert {r["status"] for r in gateway.requests(5)} == {"cancelled"}


def test_a_kept_connection_found_closed_is_replaced_within_the_attempt(weir, fresh_mock):
    gateway = weir(config(model("m", fresh_mock.base), router_settings={"num_retries": 0}, weir_settings={"workers": 1}))
    assert gateway.chat("m").status == 200
    headers = {"x-mock-close-before-head": "1"}
    assert gateway.chat("m", headers).status == 502  # the new connection gets no further
    records = gateway.requests(2)
    assert [r["attempts"] for r in records] == [1, 1]
    assert fresh_mock.stats()["requests"] == 3
    assert fresh_mock.stats()["faults"] == {"close-before-head": 2}
