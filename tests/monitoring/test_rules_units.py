"""The rules by promtool's unit tests (tests/monitoring/rules/), and that there is one for each alert, each way it can go, and for each recording rule."""
import re

import pytest
import yaml
from live import needs_tool
from test_rules import ALERTS, RECORDS, ROOT, all_rules, ok

UNITS = sorted((ROOT / "tests/monitoring/rules").glob("*.yml"))


@needs_tool("promtool")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_unit(path):
    ok("promtool", "test", "rules", path.name, cwd=path.parent)


def unit_tests():
    """(expression, expected samples) of every unit test."""
    for path in UNITS:
        for group in yaml.safe_load(path.read_text())["tests"]:
            for test in group.get("promql_expr_test", []):
                yield test["expr"], test["exp_samples"]


def matches(expr, alert):
    found = re.search(r'alertname(=~?)"([^"]*)"', expr)
    return bool(found) and (re.fullmatch(found.group(2), alert) if found.group(1) == "=~" else found.group(2) == alert)


def firing_labels():
    """{alert: labels of those samples that unit tests expect of it while it fires}."""
    found = {}
    for _, samples in unit_tests():
        for sample in samples:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', sample.get("labels", "")))
            if labels.get("alertstate") == "firing":
                found.setdefault(labels["alertname"], []).append(labels)
    return found


def test_every_alert_is_shown_to_fire_and_to_stay_quiet():
    assert firing_labels().keys() == ALERTS
    quiet = {alert for expr, samples in unit_tests() if not samples and "ALERTS" in expr for alert in ALERTS if matches(expr, alert)}
    assert quiet == ALERTS - {"Watchdog"}


def test_each_window_of_each_budget_is_shown_to_fire():
    wanted = {(r["alert"], r["labels"]["window"], r["labels"]["severity"]) for r in all_rules("alert") if "window" in r["labels"]}
    assert wanted == {(a, found["window"], found["severity"]) for a, all_found in firing_labels().items() for found in all_found if "window" in found}
    assert len(wanted) == 8


def test_every_recording_rule_has_a_value_test():
    tested = {name for expr, samples in unit_tests() if samples and "ALERTS" not in expr for name in re.findall(r"\w+:\w+:\w+", expr)}
    assert tested == set(RECORDS)


def test_annotations_use_labels_that_the_alert_has():
    """A template that names another label shows an empty place, and nobody sees that before the night it matters."""
    fired = firing_labels()
    for rule in all_rules("alert"):
        for text in rule["annotations"].values():
            for label in re.findall(r"\$labels\.(\w+)", text):
                assert all(label in found for found in fired[rule["alert"]]), f"{rule['alert']}: {label}"
