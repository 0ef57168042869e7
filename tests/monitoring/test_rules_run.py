"""The real Prometheus and the real Alertmanager with the shipped files: they start, load all rules, hand alerts on, and keep quiet about what follows from them."""
import http.server
import json
import shutil
import threading
import time
import urllib.request

import pytest
import yaml
from expressions_rules import rules
from harness import wait_for
from live import Alertmanager, Prometheus, copy_of_config, free_port, needs_tool
from test_rules import ALERTMANAGER, LINK, MONITORING, NATIVE, RECORDS, all_rules, groups, with_examples


@needs_tool("prometheus")
@pytest.mark.parametrize("name", [NATIVE, LINK])
def test_prometheus_starts_with_the_shipped_file(name, tmp_path):
    """As it is, by each of its names; nothing need listen on its targets for that."""
    with Prometheus(tmp_path, MONITORING / name) as prometheus:
        loaded = prometheus.json("/api/v1/rules")["data"]["groups"]
        assert {g["name"] for g in loaded} == {g["name"] for g in groups()}
        assert sum(len(g["rules"]) for g in loaded) == len(RECORDS) + len(all_rules("alert"))


@needs_tool("prometheus")
def test_prometheus_starts_with_the_containers_file_and_finds_its_targets(tmp_path):
    shutil.copytree(MONITORING / "prometheus", tmp_path / "etc", ignore=shutil.ignore_patterns("targets"))
    shutil.copytree(MONITORING / "prometheus/targets/compose", tmp_path / "etc/targets")  # as compose mounts it
    with Prometheus(tmp_path / "run", tmp_path / "etc/prometheus.docker.yml") as prometheus:
        def found():
            """the target of the file"""
            targets = prometheus.json("/api/v1/targets")["data"]["activeTargets"]
            return {t["labels"]["job"]: t["scrapeUrl"] for t in targets if t["labels"]["job"] == "litellm"}

        assert wait_for(found) == {"litellm": "http://litellm:4000/metrics"}
        assert not [t for t in prometheus.json("/api/v1/targets")["data"]["activeTargets"] if t["labels"]["job"] == "alertmanager"], "there is none of that name"


@needs_tool("prometheus", "prometheus-alertmanager")
def test_every_rule_is_evaluated_and_the_watchdog_arrives(tmp_path):
    with Alertmanager(tmp_path / "alertmanager", ALERTMANAGER) as alertmanager:
        port, address = free_port(), f"127.0.0.1:{alertmanager.port}"
        path = copy_of_config(tmp_path / "prometheus", {"litellm": [], "alertmanager": [address], "alertmanagers": [address], "prometheus": [f"127.0.0.1:{port}"]})
        prometheus = Prometheus(tmp_path / "run", path)
        try:
            prometheus.start(port)

            def evaluated():
                """all rules evaluated"""
                return {r["health"] for r in prometheus.rules()} == {"ok"}

            wait_for(evaluated, 30, 0.2)
            # The watchers watch each other.
            for rule in rules():
                if rule.group == "weir-watching":
                    wait_for(lambda expr=rule.expr: prometheus.query(expr), 20, 0.2)
            wait_for(lambda: {a["labels"]["alertname"]: a["status"]["state"] for a in alertmanager.alerts()}.get("Watchdog") == "active", 20, 0.2)
        finally:
            prometheus.finish()


class Sink(http.server.BaseHTTPRequestHandler):
    """Takes what Alertmanager posts."""

    got = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, self.headers["Authorization"], json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def sink():
    handler = type("OwnSink", (Sink,), {"got": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.got = handler.got
    yield server
    server.shutdown()
    server.server_close()


def post(alertmanager, *alerts):
    body = json.dumps([{"labels": labels} for labels in alerts]).encode()
    urllib.request.urlopen(urllib.request.Request(alertmanager.url("/api/v2/alerts"), body, {"Content-Type": "application/json"}), timeout=10).close()


@needs_tool("prometheus-alertmanager")
def test_a_page_is_posted_with_its_secret_and_what_follows_from_it_is_not(tmp_path, sink):
    """The webhook of the examples, to a server here; waits are made short. A gateway is down, and much else with it."""
    (tmp_path / "token").write_text("sesame")
    tree = yaml.safe_load(with_examples(ALERTMANAGER.read_text()))
    page = tree["receivers"][0]
    page["webhook_configs"][0]["url"] = f"http://127.0.0.1:{sink.server_address[1]}/page"
    page["webhook_configs"][0]["http_config"]["authorization"]["credentials_file"] = str(tmp_path / "token")
    tree["receivers"] = [{"name": "page", "webhook_configs": page["webhook_configs"]}, {"name": "ticket"}, {"name": "watchdog"}]
    tree["route"]["routes"][1].update(group_wait="500ms")
    (tmp_path / "alertmanager.yml").write_text(json.dumps(tree))

    def alert(name, severity="ticket", **labels):
        return {"alertname": name, "severity": severity, "job": "litellm", **labels}

    with Alertmanager(tmp_path / "run", tmp_path / "alertmanager.yml") as alertmanager:
        post(alertmanager,
             alert("GatewayDown", "page", instance="a"), alert("GatewayConnectionsRefused", "page", instance="a"), alert("CostSpike"),
             alert("LogRecordsDropped", "page", instance="b"), alert("LogRingNearlyFull", "page", instance="b"),
             alert("AvailabilityBudgetBurn", "page", slo="availability", window="1h"), alert("AvailabilityBudgetBurn", "page", slo="availability", window="6h"),
             {"alertname": "Watchdog", "severity": "none"},
             {**alert("TtftBudgetBurn", "ticket", slo="ttft", window="1d"), "job": "other"}, {**alert("ProviderDown", api_provider="p"), "job": "other"},
             {**alert("ProviderErrors", api_provider="p"), "job": "other"}, {**alert("ProviderErrors", api_provider="q"), "job": "other"})
        wait_for(lambda: sink.got, 20, 0.1)
        path, authorization, body = sink.got[0]
        assert (path, authorization) == ("/page", "Bearer sesame")
        told = sorted((a["labels"]["alertname"], a["labels"].get("instance") or a["labels"].get("window")) for a in body["alerts"])
        assert told == [("AvailabilityBudgetBurn", "1h"), ("GatewayDown", "a"), ("LogRecordsDropped", "b")]
        time.sleep(0.2)
        quiet = sorted((a["labels"]["alertname"], a["labels"].get("api_provider", "")) for a in alertmanager.alerts() if a["status"]["inhibitedBy"])
        assert quiet == [("AvailabilityBudgetBurn", ""), ("CostSpike", ""), ("GatewayConnectionsRefused", ""), ("LogRingNearlyFull", ""), ("ProviderErrors", "p")]
