"""The second run: everything goes wrong that is watched for, and every alert that is shipped fires in a real Prometheus and reaches a real Alertmanager.

Four gateways: one whose providers fail, are late, refuse and cost too much; one with a full disk, a tiny series budget and a broken configuration; one that is
restarted again and again and then crowded; one that has no file descriptors left. The rules are the shipped ones but for `for`, which is 0 s here: how long
something must last is what promtool's unit tests show (tests/monitoring/rules/). Windows are as shipped: they look at what there is. What takes days, or what
a weir in order never does, is told by history.py.
"""
import contextlib
import itertools
import resource
import signal
import threading
import time

import history
import pytest
import yaml
from expressions import dashboards
from expressions_rules import rules
from harness import COMPLETION, Upstream, config, model, wait_for
from live import PAGES, SHIPPED, Kind, free_port, needs_tool, selectors
from stack import ALICE, BOB, MASTER, POOR, Stack

FAULTS_S = 25
pytestmark = [pytest.mark.heavy, needs_tool("prometheus", "promtool", "prometheus-alertmanager")]

DEAR = {"input_cost_per_token": 0.01, "output_cost_per_token": 0.02}  # a spike of cost within seconds
BROKEN_RULES = {"groups": [{"name": "wrong-on-purpose", "interval": "1s", "rules": [
    {"record": "test:wrong:on_purpose", "expr": 'up{job="litellm"} * on() up{job="litellm"}'}]}]}

# Requests that go wrong. Streams are late but for a few, so that the objective of the first token is missed.
KINDS = [
    Kind("down", 4, "local-ollama", key=ALICE),
    Kind("errors", 4, "falls", key=ALICE),
    Kind("limits", 4, "doomed", key=BOB),
    Kind("refused again and again", 16, "refused", key=BOB),
    Kind("wrong again and again", 12, "wrong", key=ALICE),
    Kind("dear", 5, "dear", key=ALICE),
    Kind("unpriced", 3, "local-vllm", key=ALICE),
    Kind("over budget", 1, "gpt-main", key=POOR),
    Kind("in time", 1, "local-llama", stream=True, key=MASTER),
]
LATE = [Kind("late stream", 1, "late", stream=True, key=ALICE, headers={"x-mock-ttft-ms": "2300", "x-mock-tokens": "3"})]
FAR = [Kind("far", 1, "far", key=ALICE)]
TRAITS = [{}, *({"x-mock-status": str(status)} for status in (400, 401, 404, 408, 429, 500))]


def at_once(name, tree):
    """The rules, without the time that something must last."""
    for group in tree["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "0s"
    return tree


class FarAway(Upstream):
    """Takes one connection at a time, for one request: who else wants to connect is not heard, and tries again a second later."""

    def __init__(self):
        super().__init__(self.answer)
        self.listener.listen(0)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.serve(sock)
                time.sleep(0.1)

    @staticmethod
    def answer(connection):
        connection.asked()
        connection.reply(COMPLETION, headers={"connection": "close"})


def growing_queue():
    """What a vLLM says whose cache is full and whose queue grows each time it is asked."""
    waiting = itertools.count(11)

    def page():
        return (b"vllm:num_requests_running 8\nvllm:num_requests_waiting %d\nvllm:kv_cache_usage_perc 0.97\n" % next(waiting))

    return {**PAGES["vllm"], "/metrics": page}


def more_models(base, far):
    return [model("dear", base, "openai/sim-fast", {"id": "dear"}, **DEAR), model("late", base, "openai/sim-fast", {"id": "late"}, **DEAR),
            # These never rest, and each failure is followed by an attempt at the next one at once.
            *(model("refused", base, "openai/busy", {"id": f"refused-{i}"}, cooldown_time=0, **DEAR) for i in range(3)),
            *(model("wrong", base, "openai/worse", {"id": f"wrong-{i}"}, cooldown_time=0, **DEAR) for i in range(3)),
            model("far", far, "openai/far", {"id": "far"}, input_cost_per_token=0, output_cost_per_token=0)]


# ---- what is done to each gateway ----

def fill(gateway):
    """Its log goes to a full disk, it has room for 16 combinations of labels, and the configuration on disk is broken."""
    gateway.config_path.write_text("model_list: [")
    gateway.signal(signal.SIGHUP)
    for i in range(80):
        name = f"m{i % 2}" if i < 30 else f"m{i % 30}"  # two models and all they answer with; then more models than there is room for
        gateway.chat(name, TRAITS[i // 2 % len(TRAITS)], text=f"{i} " * 1000, stream=i % 4 == 0)


def restart(gateway, prometheus):
    """Three times, and each time it is seen."""
    for _ in range(3):
        gateway.restart()
        began = gateway.metrics().total("process_start_time_seconds")

        def seen():
            """a scrape of the new process"""
            return prometheus.query(f'process_start_time_seconds{{instance="127.0.0.1:{gateway.port}"}} == {began!r}')  # pylint: disable=cell-var-from-loop

        wait_for(seen, 20, 0.2)


def crowd(gateway, count, held):
    """So many connections that no more are taken; they stay until `held` is closed."""
    for _ in range(count):
        with contextlib.suppress(OSError):
            held.enter_context(gateway.connect())


class Watcher(threading.Thread):
    """Notes which alerts Alertmanager has had."""

    def __init__(self, alertmanager):
        super().__init__(daemon=True)
        self.alertmanager, self.seen, self.ending = alertmanager, set(), threading.Event()

    def run(self):
        while not self.ending.wait(0.5):
            with contextlib.suppress(OSError, AssertionError):
                self.seen |= {identity(alert["labels"]) for alert in self.alertmanager.alerts()}

    def stop(self):
        self.ending.set()
        self.join(10)


def identity(labels):
    """What tells one alert of the rules from another: burn rates have four windows."""
    return labels["alertname"], labels.get("slo"), labels.get("window")


def shipped_alerts():
    groups = [g for path in sorted((SHIPPED / "prometheus/rules").glob("*.yml")) for g in yaml.safe_load(path.read_text())["groups"]]
    return {identity({"alertname": r["alert"], **r.get("labels", {})}) for g in groups for r in g["rules"] if "alert" in r}


class Run:
    def __init__(self, stack, begin, end, delivered):
        self.stack, self.prometheus, self.begin, self.end, self.delivered = stack, stack.prometheus, begin, end, delivered

    def ever(self, expr):
        """The series that the expression had at any time of the run."""
        return self.prometheus.query_range(expr, self.begin, self.end, 1)


ROUTER = {"num_retries": 2, "cooldown_time": 0.3, "allowed_fails": 0}


class Gateways:
    """The other three, beside the stack's own."""

    def __init__(self, stack):
        base = stack.mock.base
        self.full = stack.add_gateway("full", config(
            *(model(f"m{i}", base, "openai/sim-fast") for i in range(30)),
            litellm_settings={"logging": {"log_file": "/dev/full", "log_requests": True}, "prometheus_latency_buckets": [0.1, 3]},
            weir_settings={"series_budget": 16, "log_ring_bytes": 65536, "workers": 1, "log_ring_dir": str(stack.folder)}), log_file=None)
        self.crowded = stack.add_gateway("crowded", config(model("m", base), weir_settings={"max_connections": 6, "workers": 1, "port": free_port()}))
        self.starved = stack.add_gateway("starved", config(model("m", base), weir_settings={"workers": 1}), limits={resource.RLIMIT_NOFILE: 64})

    def each(self):
        return self.full, self.crowded, self.starved


def go_wrong(stack, others, held):
    """All of it, for FAULTS_S."""
    stack.states["ollama"]["status"] = "503 Service Unavailable"
    stack.states["vllm"]["pages"] = growing_queue()
    traffic = [stack.traffic(KINDS, per_second=40, threads=10), stack.traffic(LATE, per_second=30, threads=8), stack.traffic(FAR, per_second=8, threads=4)]
    for part in traffic:
        part.start()
    until = time.monotonic() + FAULTS_S
    fill(others.full)
    restart(others.crowded, stack.prometheus)
    crowd(others.crowded, 9, held)
    crowd(others.starved, 60, held)
    time.sleep(max(0, until - time.monotonic()))
    for part in traffic:
        part.stop()
    for server in (stack.prometheus, stack.alertmanager):
        server.config_path.write_text("neither: [this")
        server.reload()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with contextlib.ExitStack() as held:
        far = held.enter_context(contextlib.closing(FarAway()))
        stack = held.enter_context(Stack(tmp_path_factory.mktemp("faults"), rules=at_once, more_models=lambda base: more_models(base, far.base),
                                         router_settings=ROUTER, general_settings={"health_check_interval": 1}))
        stack.sink_status = "400 Bad Request"  # receivers refuse what they are sent
        others = Gateways(stack)
        stack.add_export(stack.gateway.log_path)
        begin = time.time()
        prometheus = stack.watch(before=history.make)  # no gateway yet: the first thing to be noticed
        watcher = Watcher(stack.alertmanager)
        watcher.start()
        wait_for(lambda: ("GatewayMetricsMissing", None, None) in watcher.seen, 30)
        nobody = f"127.0.0.1:{free_port()}"
        stack.retarget(stack.gateway, *others.each(), more=[nobody], rule_files={"wrong.yml": BROKEN_RULES})
        prometheus.settle()
        go_wrong(stack, others, held)
        prometheus.settle()
        time.sleep(3)  # for the last of them to be sent
        watcher.stop()
        yield Run(stack, begin, time.time(), watcher.seen)


# ---- what must have come of it ----

def test_every_alert_fires(run):
    fired = {identity(s["metric"]) for s in run.ever('ALERTS{alertstate="firing"}')}
    silent = sorted(map(str, shipped_alerts() - fired))
    assert not silent, "never fired:\n" + "\n".join(silent)


def test_every_alert_reaches_alertmanager(run):
    missing = sorted(map(str, shipped_alerts() - run.delivered))
    assert not missing, "never reached Alertmanager:\n" + "\n".join(missing)


def test_pages_page_and_tickets_are_tickets(run):
    notified = run.stack.notified()
    for receiver in ("page", "ticket"):
        assert {labels["severity"] for labels in notified[receiver]} == {receiver}
        assert len({labels["alertname"] for labels in notified[receiver]}) > 1


def test_who_has_no_descriptors_left_can_say_so(run):
    assert run.ever('instance:process_open_fds:ratio{job="litellm"} == 1')


def test_panels_that_are_empty_in_health_show_the_faults(run):
    asked = [e for e in dashboards(rate_interval="20s", range="60s") if e.kind == "promql" and e.may_be_empty_reason]
    empty = [f"{e.file}: {e.title} ({e.may_be_empty_reason}): no series:\n    {e.expr}" for e in asked if not run.ever(e.expr)]
    assert not empty, "\n".join(empty)


def test_every_selector_finds_something(run):
    """Label by label: where an expression adds "or vector(0)", a value that no series has would not be seen."""
    asked = {s: e.file for e in dashboards(rate_interval="20s", range="60s") if e.kind != "logql" for s in selectors(e.expr)}
    asked |= {s: r.file for r in rules() for s in selectors(r.expr)}
    missing = sorted(f"{where}: {selector}" for selector, where in asked.items() if not run.ever(f"count({selector})"))
    assert len(asked) > 100 and not missing, "no series:\n" + "\n".join(missing)


def test_rules_that_are_empty_in_health_have_series(run):
    asked = [r for r in rules() if r.may_be_empty_reason]
    empty = [f"{r.file}: {r.name} ({r.may_be_empty_reason}): no series:\n    {r.expr}" for r in asked if not run.ever(r.expr)]
    assert not empty, "\n".join(empty)
