"""A real Prometheus watches a running weir for a minute of mixed traffic; then every expression that is shipped must have something to show.

One minute (LIVE_S in the environment makes it another time) of answers, streams, cache hits, retries, fallbacks, slow requests and errors, over four
providers, is watched with the shipped prometheus.yml and rules. All questions are asked afterwards, of the same Prometheus. What must be empty in
health is proven by test_live_faults.py.
"""
import os
import re
import shutil
import subprocess
import time

import pytest
from expressions import dashboards
from expressions_rules import rules
from harness import wait_for
from litellm_dashboards import queries
from live import JOB, log_totals, needs_tool
from stack import ALICE, GOOD, MASTER, Stack

LIVE_S = float(os.environ.get("LIVE_S", 60))
QUIET_S = min(10, LIVE_S / 3)  # of it: good answers only
RATE_INTERVAL = "20s"
pytestmark = [pytest.mark.heavy, needs_tool("prometheus", "promtool", "prometheus-alertmanager")]


class Watched:
    """The stack after its traffic has ended and was scraped: nothing changes any more."""

    def __init__(self, stack, quiet, traffic, begin, early):
        self.stack, self.quiet, self.traffic, self.begin, self.early = stack, quiet, traffic, begin, early
        self.sent = quiet.sent + traffic.sent
        self.gateway, self.prometheus = stack.gateway, stack.prometheus
        self.records = [r for r in self.gateway.lines() if r["event"] == "request"]
        self.at = time.time()

    def query(self, expr):
        return self.prometheus.query(expr, self.at)

    def value(self, expr):
        return self.prometheus.value(expr, self.at)


def alerts_that_stay(prometheus):
    """Those active now and two seconds later: one late scrape is no alarm."""
    now = set(prometheus.alerts())
    time.sleep(2.2)
    return now & set(prometheus.alerts())


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("live")) as stack:
        stack.watch(stack.gateway).settle()  # what is there at 0 before the traffic is what rate() begins with
        begin = time.time()
        quiet = stack.traffic(GOOD, seed=2).run_for(QUIET_S)
        early = alerts_that_stay(stack.prometheus)
        traffic = stack.traffic().run_for(LIVE_S - QUIET_S)

        def logged():
            """a log line for each request"""
            return sum(r["event"] == "request" for r in stack.gateway.lines()) >= quiet.sent + traffic.sent

        wait_for(logged)
        stack.prometheus.settle()
        yield Watched(stack, quiet, traffic, begin, early)


def nothing_found(found):
    """A sentence for each expression that found nothing."""
    return "\n".join(f"{where}: no series:\n    {expr}" for where, expr in found)


# ---- what came of the traffic ----

def test_the_traffic_was_mixed(watched):
    answers = watched.traffic.answers
    assert watched.traffic.sent == sum(n for by_status in answers.values() for n in by_status.values())
    assert watched.sent == len(watched.records)
    assert set(answers["another deployment helps"]) == set(answers["another model helps"]) == {200}
    assert set(answers["client leaves"]) == {"left"} and 400 in answers["over budget"] and 429 in answers["over its rate"]
    seen = {key[0] for key in log_totals(watched.records, None, "status")}
    assert seen == {"success", "failure", "cancelled"}
    assert len({r["provider"] for r in watched.records if r.get("provider")}) >= 3
    assert any(r.get("cache") == "hit" for r in watched.records) and any(r.get("fallback_from") for r in watched.records)
    assert any(r.get("slow") for r in watched.records) and any(r.get("stream") for r in watched.records)


def test_prometheus_scraped_without_a_complaint(watched):
    span = f"{int(watched.at - watched.begin)}s"
    assert watched.value(f'avg_over_time(up{{job="{JOB}"}}[{span}])') > 0.9  # a machine that stands still for a second costs one
    assert watched.value(f'count_over_time(up{{job="{JOB}"}}[{span}])') > 0.5 * LIVE_S

    def no_error():
        """a scrape of the gateway that Prometheus is content with"""
        targets = watched.prometheus.json("/api/v1/targets")["data"]["activeTargets"]
        return [t["lastError"] for t in targets if t["labels"]["job"] == JOB] == [""]

    wait_for(no_error)
    assert not re.search(r"level=(warn|error)(?!.*alertmanager)", watched.prometheus.said()), watched.prometheus.said()


# ---- alerts ----

# On purpose: the model at the vLLM has no price.
EXPECTED = {"Watchdog", "UnpricedRequests"}
# A busy machine may be as slow as they say: not a fault of what is tested here.
SLOW_MACHINE = {"GatewayOverheadHigh", "GatewayScrapeSlow", "TtftBudgetBurn"}


def test_no_alert_while_all_is_well(watched):
    """Neither firing nor pending, after good answers of all providers."""
    assert {status for by_status in watched.quiet.answers.values() for status in by_status} == {200}
    assert watched.early - SLOW_MACHINE == EXPECTED


def test_the_watchdog_arrives_at_its_receiver(watched):
    assert {labels["alertname"] for labels in watched.stack.notified()["watchdog"]} == {"Watchdog"}


# ---- every expression ----

def test_every_panel_shows_something(watched):
    asked = [e for e in dashboards(rate_interval=RATE_INTERVAL, range="60s") if e.kind == "promql"]
    empty = [(f"{e.file}: {e.title}", e.expr) for e in asked if not watched.query(e.expr) and not e.may_be_empty_reason]
    assert len(asked) > 100 and not empty, nothing_found(empty)


def test_every_panel_shows_a_number(watched):
    """One at least that can be drawn: after its traffic nothing is 0 / 0 as a whole."""
    asked = [e for e in dashboards(rate_interval=RATE_INTERVAL, range="60s") if e.kind == "promql" and not e.may_be_empty_reason]
    odd = [(f"{e.file}: {e.title}", e.expr) for e in asked if all(float(series["value"][1]) != float(series["value"][1]) for series in watched.query(e.expr))]
    assert not odd, nothing_found(odd)


def test_curves_of_those_that_were_not_asked_are_left_out(watched):
    """A model that nobody has asked in this time has no curve, rather than one that is not a number and stands in the legend."""
    asked = [e for e in dashboards(rate_interval="5s", range="60s") if "vector(NaN)" in e.expr and "rate(" in e.expr]
    later = watched.at + 8
    wait_for(lambda: time.time() > later, 20)
    assert watched.prometheus.value("sum(rate(litellm_requests_total[5s]))", later) == 0
    last = [(e.title, watched.prometheus.query(e.expr, later)) for e in asked]
    named = [title for title, found in last if len(found) != 1 or "no traffic" not in found[0]["metric"].values()]
    assert len(asked) > 8 and not named, named


def test_every_rule_and_alert_has_something_to_look_at(watched):
    """Alerts without their thresholds: that they fire is shown by test_live_faults.py."""
    asked = rules()
    empty = [(f"{r.file}: {r.group}: {r.name}", r.expr) for r in asked if not r.may_be_empty_reason and not watched.query(r.expr)]
    assert len(asked) > 100 and not empty, nothing_found(empty)


def test_every_rule_is_evaluated_without_an_error(watched):
    states = watched.prometheus.rules()
    assert {r["name"] for r in states} == {r.name for r in rules()}
    assert [r for r in states if r["health"] != "ok"] == []
    absent = [r.name for r in rules() if r.kind == "record" and not r.may_be_empty_reason and not watched.query(r.name)]
    assert not absent, f"recorded nothing: {absent}"


def test_every_variable_has_values(watched):
    missing = []
    for e in dashboards(rate_interval=RATE_INTERVAL, range="60s"):
        if e.kind == "labels":
            found = watched.prometheus.json(f"/api/v1/label/{e.label}/values", **{"match[]": e.expr})["data"]
            missing += [] if found else [(f"{e.file}: {e.title}", e.expr)]
    assert not missing, nothing_found(missing)


def test_a_panel_over_time(watched):
    """As Grafana draws it: a range query, whose line has points over the whole of the traffic."""
    found = watched.prometheus.query_range(f'sum(rate(litellm_requests_total[{RATE_INTERVAL}]))', watched.begin + 10, watched.at, 1)
    assert len(found) == 1 and len(found[0]["values"]) > 0.6 * (watched.at - watched.begin - 10)
    assert max(float(v) for _, v in found[0]["values"]) > 1


# ---- numbers, not only presence ----

def test_requests_are_those_of_the_log(watched):
    assert watched.value("sum(litellm_requests_total)") == len(watched.records) == watched.sent
    for (status,), count in log_totals(watched.records, None, "status").items():
        assert watched.value(f'sum(litellm_requests_total{{status="{status}"}})') == count
    known = {entry["model_name"] for entry in watched.gateway.settings["model_list"]}
    for (name,), count in log_totals([r for r in watched.records if r.get("model") in known], None, "model").items():
        assert watched.value(f'sum(litellm_requests_total{{model="{name}"}})') == count, name
    strange = sum(r.get("model") not in known for r in watched.records)
    assert strange and watched.value('sum(litellm_requests_total{model="other"})') == strange
    assert watched.value("sum(litellm_proxy_total_requests_metric_total)") == len(watched.records)
    assert watched.value("sum(litellm_cache_hits)") == sum(r.get("cache") == "hit" for r in watched.records)
    assert watched.value("sum(litellm_latency_seconds_count)") == len(watched.records)
    assert watched.value("sum(litellm_latency_seconds_sum)") == pytest.approx(sum(r["latency_ms"] for r in watched.records) / 1000, rel=1e-4)


def test_cost_and_tokens_are_those_of_the_log(watched):
    cost = sum(r.get("cost_usd", 0) for r in watched.records)
    assert cost > 0 and watched.value("sum(litellm_spend_metric_total)") == pytest.approx(cost, rel=1e-6)
    for alias, total in log_totals(watched.records, "cost_usd", "key_alias").items():
        if total:
            assert watched.value(f'sum(litellm_spend_metric_total{{api_key_alias="{alias[0]}"}})') == pytest.approx(total, rel=1e-6), alias
    for kind, field in (("prompt", "prompt_tokens"), ("completion", "completion_tokens"), ("reasoning", "reasoning_tokens")):
        logged = sum(r.get(field, 0) for r in watched.records)
        assert logged and watched.value(f'sum(litellm_tokens_total{{type="{kind}"}})') == logged, kind
    left = watched.value('litellm_remaining_api_key_budget_metric{api_key_alias="alice"}')
    spent = watched.gateway.get(f"/key/info?key={ALICE}", {"authorization": f"Bearer {MASTER}"}).json["info"]["spend"]
    assert left == pytest.approx(100 - spent, rel=1e-6)


def test_a_rate_is_the_traffic_of_its_time(watched):
    """rate() over the whole of it, times that time, is about the number of requests: the first ones were not missed."""
    span = int(watched.at - watched.begin) + 5
    assert watched.value(f"sum(increase(litellm_requests_total[{span}s]))") == pytest.approx(len(watched.records), rel=0.15)


def test_exemplars_lead_to_the_log(watched):
    found = watched.prometheus.json("/api/v1/query_exemplars", query="litellm_latency_seconds_bucket", start=watched.begin, end=watched.at)["data"]
    traces = {e["labels"]["trace_id"] for series in found for e in series["exemplars"]}
    assert traces and traces <= {r.get("trace_id") for r in watched.records}


# ---- what promtool says of the exposition ----

# The name is LiteLLM's, which dashboards made for it ask for.
NOT_OURS = {'litellm_api_key_budget_remaining_hours_metric use base unit "seconds" instead of "hours"'}


def test_promtool_has_nothing_to_say(watched):
    """Of the older format, which is all that it reads: Prometheus itself has read the other one all the time."""
    done = subprocess.run([shutil.which("promtool"), "check", "metrics"], input=watched.gateway.get("/metrics").body, capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode()
    assert set(said.splitlines()) <= NOT_OURS, said


# ---- dashboards made for LiteLLM ----

def test_litellms_own_dashboards_find_their_series(watched):
    asked = queries(RATE_INTERVAL)
    empty = [(f"{q.dashboard}: {q.panel}", q.expr) for q in asked if not q.reason and not watched.query(q.expr)]
    assert not empty, nothing_found(empty)


def test_what_weir_has_not_it_does_not_show(watched):
    found = [q for q in queries(RATE_INTERVAL) if q.reason and watched.query(q.expr)]
    assert not found, f"these are found after all, put litellm_dashboards.py right: {found}"
