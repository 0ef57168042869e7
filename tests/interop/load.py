"""What the tests of load generators share: a gateway with its built-in models, and what its log and /metrics counted."""
import collections
import json
import time

from harness import Gateway, config

SETTLE_S = 15


def simulated(folder, **sections):
    """weir with its simulated models (sim-fast, sim-slow, ...), as `weir serve` without a configuration has them."""
    gateway = Gateway(folder, config(**sections))
    gateway.words.remove("--no-builtin")
    return gateway


def records(gateway):
    """The requests in the log, once none is under way and the log is still."""
    end, count = time.monotonic() + SETTLE_S, -1
    while True:
        found = [r for r in gateway.lines() if r["event"] == "request"]
        if len(found) == count and gateway.metrics().total("litellm_in_flight_requests") == 0:
            return found
        assert time.monotonic() < end, "the gateway's log does not come to rest"
        count = len(found)
        time.sleep(0.1)


def counted(found):
    """{(model, streamed, status): requests}"""
    return collections.Counter((r["model"], r["stream"], r["status"]) for r in found)


def same_in_metrics(gateway, found):
    """/metrics has the same requests as the log, to the last one."""
    metrics = gateway.metrics()
    for (name, status), count in collections.Counter((r["model"], r["status"]) for r in found).items():
        assert metrics.total("litellm_requests_total", model=name, status=status) == count, (name, status)
    assert metrics.total("litellm_requests_total") == len(found)
    assert metrics.total("litellm_llm_api_time_to_first_token_metric_count") == len([r for r in found if r["stream"] and "ttft_ms" in r])
