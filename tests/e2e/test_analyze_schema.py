"""`weir analyze --format json` against docs/analyze.schema.json, strictly: a member without a schema fails here, and so does one that nothing
writes."""

import json
import os
import pathlib
import re
import subprocess
import sys

import jsonschema
import pytest

from harness import WEIR

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/reference"))
import generate  # noqa: E402

SCHEMA = json.loads((ROOT / "docs/analyze.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
# Members that only --by can bring; the names are checked against record.def.
BY = SCHEMA["$defs"]["by"]["properties"]


def records():
    """(key in the line, kind) of each field of record.def."""
    text = (ROOT / "src/observe/record.def").read_text(encoding="utf-8")
    for group, name, kind in re.findall(r"^[FN]\((?:(\w+), +)?(\w+), +([A-Z]+),", text, re.MULTILINE):
        yield (f"{group}." if group else "") + name, kind


REPORTS = [
    ("weir", []), ("weir", ["--exact", "0"]), ("litellm", []), ("json_logs", []), ("weir", ["--errors"]), ("weir", ["--performance"]),
    ("weir", ["--tokens"]), ("weir", ["--since", "2026-11-19", "--until", "2026-11-20T12:00:00Z"]),
    ("weir", ["--by", "metadata.team,tag"]), ("weir", ["--by", "http_status,stream,error.type"]), ("litellm", ["--by", "key_alias"]),
    ("weir", ["--where", "model = nothing"]), ("weir", ["--timeline", "1h"]),
]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """All of REPORTS, and one that fails its thresholds."""
    made, paths = [], {}
    for shape in ("weir", "litellm", "json_logs"):
        paths[shape] = str(tmp_path_factory.mktemp("log") / f"{shape}.log")
        generate.write(paths[shape], shape=shape, lines=2500, seed=3, traps=True)
    for shape, args in REPORTS:
        made.append(report([paths[shape], *args], 0))
    bounds = "any p95 > 1ms and requests > 1, cost_usd > $1000000, no_data, error_rate[model=none] > 1%"
    made.append(report([paths["weir"], "--fail-if", bounds], 1))
    made.append(report(["-"], 0))
    return made


def report(args, status):
    done = subprocess.run([WEIR, "analyze", *args, "--format", "json"], capture_output=True, check=False, input=b"",
                          env=os.environ | {"TZ": "UTC"})
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def test_every_report_is_as_the_schema_says(reports):
    for one in reports:
        errors = [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in VALIDATOR.iter_errors(one)]
        assert not errors, errors[:5]


def test_the_schema_is_one_and_is_closed():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    bases = [SCHEMA["$defs"]["group"], SCHEMA["$defs"]["by"]]  # closed by those who use them

    def walk(schema):
        if isinstance(schema, list):
            for one in schema:
                walk(one)
        if not isinstance(schema, dict):
            return
        if "properties" in schema and isinstance(schema["properties"], dict) and schema not in bases:
            assert schema.get("additionalProperties") is False or schema.get("unevaluatedProperties") is False, schema
        for one in schema.values():
            walk(one)
    walk(SCHEMA)


@pytest.mark.parametrize("place", [
    lambda r: r, lambda r: r["input"], lambda r: r["total"], lambda r: r["groups"][0], lambda r: r["errors"][0], lambda r: r["timeline"][0],
    lambda r: r["total"]["latency_ms"], lambda r: r["thresholds"][0], lambda r: r["thresholds"][0]["group"],
    lambda r: r["input"]["first_broken"][0]])
def test_what_the_schema_has_not_is_refused(reports, place):
    one = json.loads(json.dumps(reports[-2]))
    assert VALIDATOR.is_valid(one)
    place(one)["surprise"] = 1
    assert not VALIDATOR.is_valid(one)


def members(value):
    """All names of members, anywhere."""
    if isinstance(value, dict):
        return set(value).union(*map(members, value.values()))
    return set().union(*map(members, value)) if isinstance(value, list) else set()


def test_all_that_the_schema_has_is_written(reports):
    def named(schema):
        if isinstance(schema, list):
            return set().union(*map(named, schema))
        if not isinstance(schema, dict):
            return set()
        properties = schema.get("properties")
        own = set(properties) if isinstance(properties, dict) else set()
        return own.union(*map(named, schema.values()))
    written = set().union(*map(members, reports))
    missing = named(SCHEMA) - written - set(BY)
    assert not missing


def test_the_schemas_names_of_groups_are_those_of_the_record():
    counts = set(SCHEMA["$defs"]["group"]["properties"])
    groupable = {name for name, kind in records() if kind in ("STR", "INT", "BOOL")}
    assert len(groupable) > 30
    assert set(BY) == groupable - counts | {"tag"}
