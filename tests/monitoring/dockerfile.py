"""A Dockerfile as its instructions, for tests: enough of the syntax for monitoring/Dockerfile, and an error for what it does not know."""
import json
import re


def instructions(text):
    """[(stage, name, argument)] with continued lines joined; comments are left out. Stages are numbered from 0."""
    found, stage, line = [], -1, ""
    for raw in text.splitlines():
        if raw.lstrip().startswith("#"):
            continue
        line += raw.removesuffix("\\") if raw.endswith("\\") else raw
        if raw.endswith("\\"):
            continue
        if line.strip():
            name, _, argument = line.strip().partition(" ")
            assert re.fullmatch("[A-Z]+", name), line
            stage += name == "FROM"
            found.append((stage, name, re.sub(r"\s+", " ", argument.strip())))
        line = ""
    return found


def of(text, name, stage=None):
    last = max(at for at, _, _ in instructions(text))
    wanted = last if stage is None else stage
    return [argument for at, other, argument in instructions(text) if other == name and at == wanted]


def words(argument):
    """The exec form: ["/weir", ...]."""
    return json.loads(argument[argument.index("["):])


def environment(text):
    return dict(argument.split("=", 1) for argument in of(text, "ENV"))


def copied(text, stage=0):
    """[(source in the context, place)]"""
    pairs = []
    for argument in of(text, "COPY", stage):
        *sources, place = argument.split()
        assert not argument.startswith("--"), argument
        pairs += [(source, place) for source in sources]
    return pairs
