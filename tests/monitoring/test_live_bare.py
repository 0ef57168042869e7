"""The dashboards of a gateway that has nothing to tell yet: one model, no key, no cache, no stream, no fault; before its first request and after.
Whoever opens Grafana for the first time must not think that it is broken: every panel shows something, or says why it does not."""
from expressions import dashboards
from harness import config, model, wait_for
from live import JOB, Prometheus, copy_of_config, needs_tool

NOBODY = ["127.0.0.1:1"]  # nothing listens there: Prometheus is watched by nobody here


def empty(prometheus):
    """Panels that have no series, and no text for that."""
    asked = [e for e in dashboards(rate_interval="10s", range="60s") if e.kind == "promql" and not e.may_be_empty_reason]
    assert len(asked) > 100
    return [f"{e.file}: {e.title}: {e.expr}" for e in asked if not prometheus.query(e.expr)]


@needs_tool("prometheus")
def test_nothing_is_empty_before_and_after_the_first_request(weir, mock, tmp_path):
    gateway = weir(config(model("sim-fast", mock.base)))
    shipped = copy_of_config(tmp_path / "shipped", {JOB: [f"127.0.0.1:{gateway.port}"], "prometheus": NOBODY, "alertmanager": NOBODY,
                                                    "alertmanagers": NOBODY})
    with Prometheus(tmp_path / "prometheus", shipped) as prometheus:
        missing = ["not asked yet"]

        def all_show_something():
            """every panel has a series"""
            missing[:] = empty(prometheus)
            return not missing

        for requests in (0, 5):
            for _ in range(requests):
                assert gateway.chat().status == 200
            prometheus.settle()
            try:
                wait_for(all_show_something, 30, 0.5)
            except AssertionError:
                raise AssertionError(f"after {requests} requests no series:\n" + "\n".join(missing)) from None
        assert prometheus.value("sum(litellm_requests_total)") == 5
