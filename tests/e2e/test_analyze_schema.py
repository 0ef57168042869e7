"""`weir analyze --format json` against docs/analyze.schema.json, strictly: a member without a schema fails here, and so does one that nothing
writes."""

import json
import os
import pathlib
import random
import re
import subprocess
import sys

import jsonschema
import pytest

from harness import WEIR

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/reference"))
import chains  # noqa: E402
import generate  # noqa: E402
import tags  # noqa: E402

SCHEMA = json.loads((ROOT / "docs/analyze.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
DEFS = SCHEMA["$defs"]


def records():
    """(key in the line, kind) of each field of record.def."""
    text = (ROOT / "src/observe/record.def").read_text(encoding="utf-8")
    for group, name, kind in re.findall(r"^[FN]\((?:(\w+), +)?(\w+), +([A-Z]+),", text, re.MULTILINE):
        yield (f"{group}." if group else "") + name, kind


WINDOW = ["--since", "2026-11-19", "--until", "2026-11-20T12:00:00Z"]
REPORTS = [
    ("weir", []), ("weir", ["--exact", "0"]), ("litellm", []), ("json_logs", []), ("weir", ["--errors"]), ("weir", ["--performance"]),
    ("weir", ["--tokens"]), ("weir", WINDOW), ("litellm", ["--performance", "--cost", "--providers", "--errors"]),
    ("weir", ["--by", "metadata.team,tag"]), ("weir", ["--by", "http_status,stream,error.type"]), ("litellm", ["--by", "key_alias"]),
    ("weir", ["--by", "attempts,slow,total_tokens"]), ("weir", ["--where", "model = nothing"]), ("weir", ["--timeline", "1h"]),
    ("weir", ["--providers"]), ("weir", ["--what-if", "gpt-4o=gpt-4o-mini", "--top", "3"]), ("weir", ["--compare-with", "previous", *WINDOW]),
    ("litellm", ["--compare-with", "2026-11-01..2026-11-20", "--since", "2026-11-20", "--by", "attempts,model"]),
    ("weir", ["--chains", "--limits", "--config", "CONFIG"]), ("weir_chains", ["--chains", "--limits", "--errors"]),
    ("litellm_chains", ["--chains", "--limits"]), ("json_logs", ["--chains", "--limits", "--cost", "--providers", "--performance"]),
    ("full", ["--trace", "request-1", "--show-content"]), ("litellm_full", ["--trace", "call-1", "--show-content"]), ("full", ["--trace", "request-1"]),
    ("weir", ["--performance", "--status", "failure"]),
]
CONFIG = """model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: x, rpm: 10, tpm: 1000}
"""
VALUES = {"TIME": "2026-11-24T10:00:00.000Z", "STR": "text", "INT": 7, "MS": 1.5, "USD": 0.25, "RATE": 12.5, "BOOL": True, "RAW": {"a": 1}}


def write_full(path):
    """A line that has all that a record can have."""
    line = {}
    for name, kind in records():
        group, _, member = name.rpartition(".")
        (line.setdefault(group, {}) if group else line)[member + ("_ms" if kind == "MS" else "")] = VALUES[kind]
    line |= {"event": "request", "request_id": "request-1", "status": "failure", "cache": "miss", "tokens_source": "provider"}
    other = {"event": "request", "request_id": "request-2", "status": "success", "timestamp": "2026-11-24T10:00:01.000Z"}
    path.write_text("".join(json.dumps(one) + "\n" for one in (line, other)))


def write_logs(folder):
    """{name: path}"""
    paths = {name: folder / f"{name}.log" for name in ("weir", "litellm", "json_logs", "weir_chains", "litellm_chains", "full", "litellm_full")}
    for shape in ("weir", "litellm", "json_logs"):
        generate.write(str(paths[shape]), shape=shape, lines=2500, seed=3, traps=True)
    for shape in ("weir", "litellm"):
        tags.add_tags(paths[shape], shape, random.Random(3))
        chains.write(str(paths[f"{shape}_chains"]), shape=shape, requests=2500)
    with paths["weir"].open("a", encoding="utf-8") as out:  # a cause that a pattern's trend can be told of
        for minute in range(60):
            out.write(json.dumps({"timestamp": f"2026-11-24T10:{minute:02}:00.000Z", "event": "request", "model": "gpt-4o", "provider": "openai",
                                  "status": "failure", "http_status": 500, "key_alias": "k"}) + "\n")
    write_full(paths["full"])
    paths["litellm_full"].write_text(json.dumps({
        "litellm_call_id": "call-1", "startTime": 1795485023.5, "endTime": 1795485024.5, "model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}],
        "metadata": {"user_api_key_alias": "k"}, "status": "success"}) + "\n")
    return paths


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """All of REPORTS, an id that several begin with, one report that fails its thresholds, and one of nothing."""
    folder = tmp_path_factory.mktemp("log")
    paths, made = write_logs(folder), []
    (folder / "config.yaml").write_text(CONFIG)
    for shape, args in REPORTS:
        args = [str(folder / "config.yaml") if arg == "CONFIG" else arg for arg in args]
        made.append(report([str(paths[shape]), *args], 0))
    made.append(report([str(paths["full"]), "--trace", "request"], 1))
    bounds = "any p95 > 1ms and requests > 1, cost_usd > $1000000, no_data, error_rate[model=none] > 1%"
    made.append(report([str(paths["weir"]), "--fail-if", bounds], 1))
    made.append(report(["-"], 0))
    return made


def without_twice(pairs):
    assert len({name for name, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


def report(args, status):
    done = subprocess.run([WEIR, "analyze", *args, "--format", "json"], capture_output=True, check=False, input=b"",
                          env=os.environ | {"TZ": "UTC"})
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout, object_pairs_hook=without_twice)


def test_every_report_is_as_the_schema_says(reports):
    for one in reports:
        errors = [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in VALIDATOR.iter_errors(one)]
        assert not errors, errors[:5]


def test_the_schema_is_one_and_is_closed():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    bases = [DEFS[name] for name in ("group", "phase_sum", "spend_sum", "what_if_sum")]  # closed by those who use them

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


def small(value):
    """A report with the first of each list."""
    if isinstance(value, list):
        return [small(one) for one in value[:1]]
    return {name: small(one) for name, one in value.items()} if isinstance(value, dict) else value


def objects(value, at=()):
    """Where the objects of a small report are."""
    if isinstance(value, dict):
        yield at
        for name, one in value.items():
            yield from objects(one, (*at, name))
    if isinstance(value, list) and value:
        yield from objects(value[0], (*at, 0))


def test_what_the_schema_has_not_is_refused(reports):
    """A member too many, anywhere."""
    tried = set()
    for one in map(small, reports):
        for place in set(objects(one)) - tried:
            tried.add(place)
            value = one
            for step in place:
                value = value[step]
            value["surprise"] = 1
            assert not VALIDATOR.is_valid(one), place
            del value["surprise"]
        assert VALIDATOR.is_valid(one)
    assert len(tried) > 80


def places(schema, at="", known=None):
    """All (place in the schema, member) there are."""
    known = set() if known is None else known
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        if name not in known:
            known.add(name)
            yield from places(DEFS[name], name, known)
    for one in schema.get("anyOf", []):
        yield from places(one, at, known)
    for name, one in schema.get("properties", {}).items():
        yield at, name
        yield from places(one, f"{at}/{name}", known)
    if "items" in schema:
        yield from places(schema["items"], at, known)


def written(schema, value, at=""):
    """Those of them that a report has something at."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        yield from written(DEFS[name], value, name)
    for one in schema.get("anyOf", []):
        yield from written(one, value, at)
    for name, one in schema.get("properties", {}).items() if isinstance(value, dict) else ():
        if value.get(name) not in (None, [], {}):
            yield at, name
            yield from written(one, value[name], f"{at}/{name}")
    for one in value if "items" in schema and isinstance(value, list) else ():
        yield from written(schema["items"], one, at)


def test_all_that_the_schema_has_is_written(reports):
    """Somewhere with a value; what --by can bring is checked below."""
    there = {place for one in reports for place in written(SCHEMA, one)}
    missing = {place for place in places(SCHEMA) if place[0] != "by"} - there
    assert len(there) > 300 and not missing


def test_the_schemas_names_are_those_of_the_record():
    groupable = {name for name, kind in records() if kind in ("STR", "INT", "BOOL")}
    assert len(groupable) > 30
    assert set(DEFS["by"]["properties"]) == groupable | {"tag"}
    assert set(DEFS["record"]["properties"]) == {name + ("_ms" if kind == "MS" else "") for name, kind in records()}


def test_every_part_has_a_member():
    parts = (ROOT / "src/cli/analyze_parts.c").read_text(encoding="utf-8")
    names = set(re.findall(r"&analyze_(\w+),", parts))
    assert len(names) > 10 and names <= set(SCHEMA["properties"])
