"""Every expression of the shipped dashboards, ready to be parsed or run: Grafana's variables are replaced by values.

    for e in dashboards(): e.file, e.panel_id, e.title, e.kind, e.expr, e.may_be_empty_reason

kind is promql, logql or labels. labels is a variable's query: expr is then the selector whose series must have the label
`e.label`. may_be_empty_reason is None where the expression must return at least one series from a gateway in health. Else it is
the text that the panel shows instead ("no value"), which says when it is empty.
"""
import collections
import json
import pathlib
import re

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "monitoring/grafana/dashboards"

Expression = collections.namedtuple("Expression", "file panel_id title kind expr may_be_empty_reason label", defaults=(None,))

# Grafana's own variables. The intervals are durations; the range in seconds is a number.
VALUES = {"__rate_interval": "1m", "__interval": "15s", "__range": "1h", "__range_s": "3600", "__interval_ms": "15000"}
EVERYTHING = ".*"  # what model, provider, key and the like become
TEXTS = {"request_id": "", "job": "litellm"}  # the job: what it is until another is chosen
VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")
LABEL_VALUES = re.compile(r"label_values\((.*),\s*(\w+)\)\Z", re.S)


def replaced(text, values=None):
    """`text` with every Grafana variable replaced: those of `values`, then Grafana's own, then the dashboards'."""
    known = {**VALUES, **TEXTS, **(values or {})}
    return VARIABLE.sub(lambda m: known.get(m.group(1) or m.group(2), EVERYTHING), text)


def variables_in(text):
    """Names of the variables in `text`, Grafana's own included."""
    return {m.group(1) or m.group(2) for m in VARIABLE.finditer(text)}


def files():
    return sorted(FOLDER.glob("*.json"))


def load(path):
    return json.loads(path.read_text())


def all_panels(dashboard):
    """Its panels, and those inside collapsed rows."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def kind_of(target):
    return "logql" if target["datasource"]["type"] == "loki" else "promql"


def expressions_of(path, values=None):
    dashboard = load(path)
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            series, label = LABEL_VALUES.match(variable["query"]["query"]).groups()
            yield Expression(path.name, 0, f"variable {variable['name']}", "labels", replaced(series, values), None, label)
    for note in dashboard["annotations"]["list"]:
        if "target" in note:
            yield Expression(path.name, 0, f"annotation {note['name']}", "promql", replaced(note["target"]["expr"], values),
                             "nothing to mark in this time")
    for panel in all_panels(dashboard):
        empty = panel.get("fieldConfig", {}).get("defaults", {}).get("noValue")
        for target in panel.get("targets", []):
            yield Expression(path.name, panel["id"], panel["title"], kind_of(target), replaced(target["expr"], values), empty)


def dashboards(rate_interval="1m", range="1h", **values):
    """All of them, in the order of the files and of the panels in each."""
    values = {"__rate_interval": rate_interval, "__range": range, **values}
    return [e for path in files() for e in expressions_of(path, values)]


if __name__ == "__main__":
    for e in dashboards():
        print(f"{e.file} {e.panel_id} {e.kind} {'may be empty' if e.may_be_empty_reason else ''}\n    {e.expr}")
