"""`weir analyze --format csv`: one table of what was asked for, with the numbers that the JSON has."""

import csv
import io
import json
import pathlib
import subprocess
import sys

import pytest

from harness import WEIR

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))
import chains  # noqa: E402
import generate  # noqa: E402

ALL = ("--top", "10000")


def weir(*args, status=0):
    done = subprocess.run([WEIR, "analyze", *map(str, args)], capture_output=True, check=False)
    assert done.returncode == status, (done.stdout[-500:], done.stderr[-2000:])
    return done


def rows(*args, status=0):
    """The table's rows by its columns' names; a column has one name, and all rows are as long as the head."""
    text = weir(*args, "--format", "csv", *ALL, status=status).stdout.decode()
    head, *lines = csv.reader(io.StringIO(text))
    assert len(set(head)) == len(head) and all(len(line) == len(head) for line in lines)
    return head, [dict(zip(head, line)) for line in lines]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "requests.log"
    generate.write(str(path), shape="weir", lines=4000, seed=4, traps=False)
    return path


CASES = [
    # what is asked for, where the same rows are in the JSON, what is compared: column, how the JSON has it
    ([], lambda r: r["groups"], {"model": lambda g: g["by"]["model"], "requests": lambda g: g["requests"], "cost_usd": lambda g: g["cost_usd"]}),
    (["--performance"], lambda r: r["groups"], {"provider": lambda g: g["by"]["provider"], "latency_p95_ms": lambda g: (g.get("latency_ms") or {}).get("p95")}),
    (["--tokens", "--by", "key_alias"], lambda r: r["groups"],
     {"key_alias": lambda g: g["by"]["key_alias"], "total_tokens": lambda g: g["total_tokens"]}),
    (["--errors"], lambda r: r["errors"], {"error.type": lambda g: g["error.type"], "model": lambda g: g["model"], "requests": lambda g: g["failure"]}),
    (["--chains"], lambda r: r["chains"]["models"],
     {name: lambda g, name=name: g[name] for name in ("model", "requests", "attempts", "saved", "failed_attempts", "wasted_ms")}),
    (["--limits"], lambda r: r["limits"]["keys"], {name: lambda g, name=name: g[name] for name in ("provider", "sent", "provider_429", "gateway_429")}),
    (["--providers"], lambda r: [p | {"model": m["model"]} for m in r["providers"]["models"] for p in m["providers"]],
     {name: lambda g, name=name: g[name] for name in ("model", "requests", "success_rate", "rate_limited", "timeouts")}),
    (["--what-if", "gpt-4o=gpt-4o-mini"], lambda r: [g for g in r["what_if"]["groups"] if g["priced_as"] is not None],
     {name: lambda g, name=name: g[name] for name in ("model", "provider", "priced_as", "then_usd", "requests")}),
    (["--compare-with", "previous", "--since", "2026-11-22"],
     lambda r: [c for c in r["compare"]["changes"] if (c["now"] or c["before"])],
     {"what": lambda c: c["what"], "now": lambda c: c["now"], "before": lambda c: c["before"]}),
]


def same(text, value):
    if value is None or isinstance(value, str):
        return text == (value or "")
    return float(text) == pytest.approx(value, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("args,of,columns", CASES, ids=[" ".join(case[0]) or "groups" for case in CASES])
def test_the_table_of_what_was_asked_for(log, args, of, columns):
    _, mine = rows(log, *args)
    theirs = of(json.loads(weir(log, *args, "--format", "json", *ALL).stdout))
    assert len(mine) == len(theirs) > 2
    for row, group in zip(mine, theirs):
        for name, value in columns.items():
            assert same(row[name], value(group)), (row, group)


def test_a_trace(tmp_path):
    path = tmp_path / "requests.log"
    chains.write(str(path), requests=300)
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    one = next(line["request_id"] for line in lines if line["event"] == "attempt")
    head, mine = rows(path, "--trace", one)
    assert sorted(row["event"] for row in mine) == sorted(line["event"] for line in lines if line["request_id"] == one)
    assert [row["number"] for row in mine] == [str(i + 1) for i in range(len(mine))] and len(mine) > 1
    assert rows(path, "--trace", "nobody-has-this", status=1) == (head, [])


def test_several_ids_that_begin_so(tmp_path):
    path = tmp_path / "requests.log"
    path.write_text("".join(json.dumps({"event": "request", "request_id": f"abcdef-{i}", "model": "m"}) + "\n" for i in (1, 2, 2)))
    assert rows(path, "--trace", "abcdef", status=1) == (["id", "lines", "first"], [
        {"id": "abcdef-1", "lines": "1", "first": ""}, {"id": "abcdef-2", "lines": "2", "first": ""}])


def test_what_is_not_there_is_nothing(tmp_path):
    """A dash is for people."""
    path = tmp_path / "requests.log"
    path.write_text('{"event":"request","request_id":"request-1","status":"failure","http_status":429,"total_tokens":5,"timestamp":"2026-11-24T01:00:00.000Z"}\n')
    for args, name in ((["--trace", "request-1"], "model"), (["--limits"], "provider"), (["--limits"], "key"), (["--errors"], "error.type"), ([], "model")):
        _, mine = rows(path, *args)
        assert [row[name] for row in mine] == [""], args


def test_the_head_is_there_when_nothing_else_is(tmp_path):
    path = tmp_path / "empty.log"
    path.write_text("")
    for args, _, columns in CASES[:-1]:
        head, mine = rows(path, *args)
        assert not mine and set(columns) <= set(head)


@pytest.mark.parametrize("args,count", [
    (["--errors", "--chains"], 2), (["--performance", "--tokens", "--limits"], 3), (["--cost", "--prices", "PRICES"], 2),
    (["--trace", "abcdef", "--providers"], 2), (["--compare-with", "previous", "--errors"], 2)])
def test_two_tables_are_no_csv(log, tmp_path, args, count):
    prices = tmp_path / "prices.json"
    prices.write_text('{"x":{"input_cost_per_token":1,"output_cost_per_token":1}}')
    args = [str(prices) if arg == "PRICES" else arg for arg in args]
    error = weir(log, *args, "--format", "csv", status=2).stderr.decode()
    assert "--format csv is one table" in error and f"got {count} of them" in error
    weir(log, *args, "--format", "markdown", status=1 if "--trace" in args else 0)
