"""Every expression of the shipped rules, ready to be run against a Prometheus that watches a gateway in health.

    for r in rules(): r.file, r.group, r.name, r.kind, r.expr, r.may_be_empty_reason

kind "record": a recording rule's expression as it is. kind "alert": what an alert looks at, without the thresholds, since the whole of it
must be empty in health: `up{job="litellm"} == 0` becomes `up{job="litellm"}`; of `a > 1 and b >= 10` there are two, a and b. That
alerts fire is shown by tests/monitoring/rules/. may_be_empty_reason is None where there must be at least one series.
"""
import collections
import pathlib
import re

import yaml

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "monitoring/prometheus/rules"

Rule = collections.namedtuple("Rule", "file group name kind expr may_be_empty_reason")

# What may be empty in health, and why: (name of rules, as a pattern; pattern found in the expression; reason).
EMPTY = [
    (r".*", r"\boffset [61]", "compares with hours or a week ago: there must have been that time"),
    (r".*", r"expected1h", "what is usual is known after six hours"),
    (r"Prometheus\w+", r"prometheus_", "Prometheus about itself: needs the job prometheus; asked in test_rules_run.py"),
    (r"Alertmanager\w+", r"alertmanager_", "Alertmanager about itself: needs the job alertmanager; asked in test_rules_run.py"),
    (r"TargetDown", r"", "needs the jobs prometheus and alertmanager; asked in test_rules_run.py"),
    (r"FallbacksFailing", r"", "there must have been a request whose fallbacks failed"),
]
COMPARISON = re.compile(r"(==|!=|>=|<=|>|<)(\s*bool\b)?")
NUMBER = re.compile(r"[\d\s.+*/()-]+\Z")
ABSENT = re.compile(r"absent\((.*)\)\Z", re.S)
MATCHING = re.compile(r"\s*(on|ignoring|group_left|group_right)\s*\([^)]*\)")


def split_outside(text, pattern):
    """Splits where the pattern matches outside of brackets, braces and quotes."""
    parts, begin, depth, quote, i = [], 0, 0, None, 0
    while i < len(text):
        c = text[i]
        if quote:
            i += c == "\\"
            quote = None if c == quote else quote
        elif c in "\"'`":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif depth == 0 and (found := pattern.match(text, i)):
            parts.append(text[begin:i])
            begin = i = found.end()
            continue
        i += 1
    return [*parts, text[begin:]]


def watched(expr):
    """The parts of an alert's expression that are there whether it fires or not."""
    for operand in split_outside(expr, re.compile(r"\b(and|or|unless)\b")):
        matching = MATCHING.match(operand)
        for side in split_outside(operand[matching.end():] if matching else operand, COMPARISON):
            side = side.strip()
            inner = ABSENT.match(side)
            if not NUMBER.match(side):
                yield inner.group(1) if inner else side


def reason(name, expr):
    return next((why for names, found, why in EMPTY if re.fullmatch(names, name) and re.search(found, expr)), None)


def files():
    return sorted(FOLDER.glob("*.yml"))


def rules():
    found = []
    for path in files():
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                kind = "record" if "record" in rule else "alert"
                for expr in [rule["expr"].strip()] if kind == "record" else dict.fromkeys(watched(rule["expr"].strip())):
                    found.append(Rule(path.name, group["name"], rule[kind], kind, expr, reason(rule[kind], expr)))
    return found


if __name__ == "__main__":
    for r in rules():
        print(f"{r.file} {r.group} {r.name} ({r.kind}) {'may be empty: ' + r.may_be_empty_reason if r.may_be_empty_reason else ''}\n    {r.expr}")
