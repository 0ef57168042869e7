"""The way of the log into Loki: config.alloy and loki.yml as far as they can be checked without the programs, and what the pipeline does to real
lines of a real weir; the LogQL of queries.md, parsed, its names checked, and each query's selection tried on those lines.

There is no Alloy and no Loki to be had for these tests (docs/logs.md says why). alloy.py stands in for the first: it knows the parts that are used
and refuses the rest.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import alloy  # noqa: E402
from harness import ROOT, Gateway, Mock, Upstream, chat_body, config, forever, model, request  # noqa: E402

CONFIG = ROOT / "monitoring/alloy/config.alloy"
LOKI = ROOT / "monitoring/loki/loki.yml"
QUERIES = ROOT / "monitoring/loki/queries.md"
LOG_PAGE, PAGE = ROOT / "docs/log.md", ROOT / "docs/logs.md"

# Loki's defaults, which loki.yml keeps.
LINE_BYTES_MAX, METADATA_BYTES_MAX, METADATA_COUNT_MAX, LABELS_MAX = 256 * 1024, 64 * 1024, 128, 15


# ---- real lines ----

def failing(name, base, **headers):
    return model(name, base, "openai/sim-fast", extra_headers={f"x-mock-{k.replace('_', '-')}": v for k, v in headers.items()})


def cached(connection, _):
    """An upstream whose prompt came from its cache."""
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 8}}
    connection.reply({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
                      "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]})


def ids_of_queries():
    """The ids that queries.md asks for, so that the traffic can have them."""
    text = QUERIES.read_text()
    return re.search(r'request_id="([^"]+)"', text).group(1), re.search(r'trace_id="([^"]+)"', text).group(1)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Every kind of line that weir writes but `gap`: what it takes is in the requests below. Contents are logged, so that their leaving out is seen."""
    folder = tmp_path_factory.mktemp("weir")
    request_id, trace_id = ids_of_queries()
    upstream = Upstream(forever(cached))
    with Mock() as mock:
        gateway = Gateway(folder, config(
            model("sim-fast", mock.base, input_cost_per_token=0.02, output_cost_per_token=0.02), model("unpriced", mock.base, "openai/sim-fast"),
            failing("sick", mock.base, status="500"), failing("broken", mock.base, status="503"), failing("limited", mock.base, status="429"),
            failing("slow", mock.base, delay_ms="150"), model("remembers", upstream.base),
            router_settings={"num_retries": 1, "retry_after": 0, "fallbacks": [{"sick": ["sim-fast"]}], "allowed_fails": 0, "cooldown_time": 1},
            litellm_settings={"logging": {"log_requests": True, "log_responses": True, "slow_request_threshold_ms": 100}},
            general_settings={"master_key": "sk-master"},
            weir_settings={"keys": [{"key": "sk-team-a-0123456789abcdef", "key_alias": "team-a"}]})).start()
        who = {"authorization": "Bearer sk-team-a-0123456789abcdef"}
        nasty = {"note": 'a "quoted", and ,"request":{ in a text', "request": {"x": 1}, "response": "}"}
        gateway.chat("sim-fast", {**who, "x-request-id": request_id, "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}, metadata=nasty)
        for name in ("sick", "broken", "limited", "slow", "unpriced", "remembers", "there-is-no-such-model"):
            gateway.chat(name, who, text="SECRET-PROMPT Größe 🚰", metadata=nasty)
        gateway.chat("sim-fast", who, stream=True, text="SECRET-PROMPT " + "long " * 20000, user='u,"response":1')
        gateway.chat("sim-fast", {})
        with gateway.connect() as raw:  # leaves before the answer
            raw.send(request("POST", "/v1/chat/completions", json.dumps(chat_body("slow", stream=True)).encode(), who))
            time.sleep(0.05)
        gateway.requests(11)
        gateway.finish()
    upstream.close()
    return gateway.log_path.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def pipeline():
    return alloy.Pipeline(CONFIG.read_text())


@pytest.fixture(scope="module")
def entries(pipeline, lines):
    return [pipeline.run(line) for line in lines]


def log_fields():
    """Names of docs/log.md's table, nested ones with a dot."""
    return set(re.findall(r"^\| `([a-z_.]+)` \|", LOG_PAGE.read_text(), re.M))


# ---- config.alloy ----

def test_alloy_config_is_well_formed_and_complete(pipeline):
    assert [b.name for b in pipeline.tree.blocks] == ["local.file_match", "loki.source.file", "loki.process", "loki.write"]
    assert pipeline.url == "http://127.0.0.1:3100/loki/api/v1/push"
    assert pipeline.target["__path__"] == "/var/log/litellm/*.log" and pipeline.target["job"] == "weir" and pipeline.target["instance"] == "gw1"


def test_alloy_environment_changes_what_it_says():
    other = alloy.Pipeline(CONFIG.read_text(), {"WEIR_LOGS": "/srv/*.log", "WEIR_INSTANCE": "berlin-2", "LOKI_URL": "http://loki:3100/loki/api/v1/push"})
    assert other.target["__path__"] == "/srv/*.log" and other.target["instance"] == "berlin-2" and other.url.startswith("http://loki:3100/")


@pytest.mark.parametrize("old, new, said", [
    ("loki.write.loki.receiver", "loki.write.other.receiver", "nothing exports"),
    ("drop_malformed = true", "drop_broken = true", "no attribute drop_broken"),
    ('source           = "timestamp"\n', "\n", "needs source"),
    ("stage.label_drop {", "stage.labeldrop {", "no block stage.labeldrop"),
    ("sys.env(", "env(", "no function env"),
    ('sync_period = "5s"\n}', 'sync_period = "5s"\n', "where|belongs"),
    ('error_type  = "error.type",\n', 'error_type  = "error.type"\n', "no comma"),
    ('values = {level = "", event = ""}', 'values = {level = "" event = ""}', "comma"),
    ("forward_to = [loki.process.weir.receiver]", "forward_to = []", "nothing uses"),
])
def test_the_checker_finds_mistakes(old, new, said):
    text = CONFIG.read_text()
    assert old in text
    with pytest.raises(alloy.Wrong, match=said):
        alloy.check(alloy.parse(text.replace(old, new, 1)))


def test_files_that_are_read_and_files_that_are_not(pipeline):
    names = {"requests.log": True, "requests.log.1": False, "requests.log-20261124": False, "requests.log.2.gz": False, "requests.log-20261124.zst": False}
    pattern, excluded = pathlib.PurePath(pipeline.target["__path__"]), pipeline.target["__path_exclude__"]
    for name, wanted in names.items():
        path = pathlib.PurePath("/var/log/litellm", name)
        assert path.match(str(pattern)) == wanted, name
    endings = re.search(r"\{(.*)\}", excluded).group(1).split(",")
    assert {"gz", "zst"} <= set(endings)


# ---- the pipeline, on real lines ----

def test_every_expression_finds_its_field(pipeline, lines, entries):
    (stage,) = [b for b in pipeline.process.blocks if b.name == "stage.json"]
    for name, expression in stage.attributes["expressions"].items():
        assert expression in log_fields(), f"{expression} is no field of docs/log.md"
        assert any(e.extracted[name] is not None for e in entries), f"{expression} is in none of {len(lines)} lines"


def test_lines_of_every_kind_are_there(entries):
    seen = {(e.labels["event"], e.labels["level"]) for e in entries}
    assert {("request", "INFO"), ("request", "WARNING"), ("request", "ERROR"), ("attempt", "WARNING")} <= seen
    assert {"start", "stop"} <= {event for event, _ in seen}


def test_times_are_those_of_the_lines(lines, entries):
    for line, entry in zip(lines, entries):
        stamp = json.loads(line)["timestamp"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
        assert entry.time_ns is not None
        assert time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(entry.time_ns // 10**9)) + f".{entry.time_ns // 10**6 % 1000:03}Z" == stamp


def test_labels_are_few(entries):
    assert all(set(e.labels) == {"job", "instance", "level", "event"} for e in entries)
    streams = {tuple(sorted(e.labels.items())) for e in entries}
    assert len(streams) <= 10
    assert {e.labels["level"] for e in entries} <= {"INFO", "WARNING", "ERROR"}
    page = LOG_PAGE.read_text()
    assert {e.labels["event"] for e in entries} <= set(re.search(r"`event` \| string \|  \| ([a-z, ]+) \|", page).group(1).split(", "))


def test_loki_would_take_all_of_it(entries):
    for e in entries:
        assert len(e.line.encode()) < LINE_BYTES_MAX
        assert len(e.labels) <= LABELS_MAX and len(e.metadata) <= METADATA_COUNT_MAX
        assert sum(len(k) + len(v.encode()) for k, v in e.metadata.items()) < METADATA_BYTES_MAX
        assert all(isinstance(v, str) and len(v.encode()) <= 2048 for v in e.metadata.values())
        assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", k) for k in [*e.labels, *e.metadata])
    body = alloy.push_body(entries)
    assert sum(len(s["values"]) for s in body["streams"]) == len(entries)


def test_contents_stay_and_nothing_else_does(lines, entries):
    had = 0
    for line, entry in zip(lines, entries):
        record = json.loads(line)
        if record["event"] == "request":
            had += "request" in record
            for name in ("metadata", "request", "response"):
                record.pop(name, None)
        assert json.loads(entry.line) == record  # in the same order, byte for byte:
        assert line.startswith(entry.line[:-1])
        assert "SECRET-PROMPT" not in entry.line
    assert had >= 10
    start = [e for e in entries if e.labels["event"] == "start"]
    assert "version" in json.loads(start[0].line)["metadata"]


def test_contents_are_the_last_keys_of_the_table():
    """What the cut in config.alloy relies on."""
    rows = re.findall(r"^\| `([a-z_.]+)` \| ([^|]*) \|", LOG_PAGE.read_text(), re.M)
    assert [name for name, _ in rows[-3:]] == ["metadata", "request", "response"]
    assert [name for name, kind in rows if kind == "JSON"] == ["metadata", "request", "response"]


@pytest.mark.parametrize("name", ["metadata", "request", "response"])
def test_each_content_alone_stays_too(pipeline, name):
    """A gateway may log answers and no questions."""
    line = '{"timestamp":"2026-11-24T01:50:23.417Z","level":"INFO","event":"request","request_id":"r1","%s":{"text":"SECRET"}}' % name
    assert pipeline.run(line).line == line.split(f',"{name}"')[0] + "}"


@pytest.mark.parametrize("line", ["", "2026-11-24 text", '{"timestamp":"2026-11-24T01:50:23.417Z","event":"requ', "[1]", '"x"'])
def test_what_is_no_record_goes_no_further(pipeline, line):
    assert pipeline.run(line) is None


def test_a_stock_litellms_json_logs_go_through_too(pipeline):
    """Its lines have message, level and a local time without a zone (docs/logs.md): no event and no id."""
    line = ('{"message": "10.0.0.5:51234 - \\"POST /chat/completions HTTP/1.1\\" 200", "level": "INFO", '
            '"timestamp": "2026-11-24T01:50:23.417012"}')
    e = pipeline.run(line)
    assert e.line == line and e.labels == {"job": "weir", "instance": "gw1", "level": "INFO"} and e.metadata == {}
    assert e.time_ns == 1795485023417012000
    assert time.gmtime(e.time_ns // 10**9)[:6] == (2026, 11, 24, 1, 50, 23)


def test_the_pages_name_the_labels_and_metadata_that_are_sent(pipeline):
    stages = {b.name: b.attributes for b in pipeline.process.blocks}
    for page in (PAGE, QUERIES):
        rows = {first: re.findall(r"`([a-z_]+)[`=]", rest) for first, rest in re.findall(r"^\| (labels|structured metadata) \| ([^|]*) \|", page.read_text(), re.M)}
        assert rows["labels"] == ["job", "instance", *stages["stage.labels"]["values"]], page
        assert rows["structured metadata"] == list(stages["stage.structured_metadata"]["values"]), page


def test_what_the_page_says_of_leaving_out_more_works(lines):
    (block,) = re.findall(r"^```alloy\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    text = CONFIG.read_text()
    at = text.index("  // The path says nothing")
    changed = alloy.Pipeline(text[:at] + block + text[at:])
    for line in lines:
        record = json.loads(changed.run(line).line)
        assert "client" not in record and record["timestamp"] == json.loads(line)["timestamp"]


# ---- loki.yml ----

def loki():
    return yaml.safe_load(LOKI.read_text())


def test_loki_keeps_for_30_days_and_does_delete():
    settings = loki()
    assert settings["compactor"]["retention_enabled"] is True and settings["compactor"]["delete_request_store"] == "filesystem"
    assert settings["limits_config"]["retention_period"] == "720h"
    (period,) = settings["schema_config"]["configs"]
    assert period["index"]["period"] == "24h", "retention works with nothing else"


def test_loki_takes_structured_metadata():
    settings = loki()
    (period,) = settings["schema_config"]["configs"]
    assert (period["store"], period["schema"], period["object_store"]) == ("tsdb", "v13", "filesystem")
    assert settings["limits_config"]["allow_structured_metadata"] is True
    assert settings["limits_config"]["max_structured_metadata_entries_count"] == METADATA_COUNT_MAX


def test_loki_listens_on_the_loopback_and_tells_nobody():
    settings = loki()
    assert settings["server"]["http_listen_address"] == "${LOKI_ADDRESS:-127.0.0.1}"
    assert settings["server"]["grpc_listen_address"] == "127.0.0.1" and settings["common"]["instance_addr"] == "127.0.0.1"
    assert settings["analytics"]["reporting_enabled"] is False
    assert settings["server"]["http_listen_port"] == 3100


def size(text):
    return int(text[:-2]) * {"KB": 1 << 10, "MB": 1 << 20}[text[-2:]]


def test_loki_has_room_for_a_busy_gateway():
    """20 GB a day, nearly all of it in one stream, and three times that at noon; a long line is cut and not refused; what is kept can be asked for."""
    limits, at_noon = loki()["limits_config"], 3 * 20e9 / 86400
    assert size(limits["max_line_size"]) == LINE_BYTES_MAX and limits["max_line_size_truncate"] is True
    assert size(limits["per_stream_rate_limit"]) > at_noon and limits["ingestion_rate_mb"] * 1e6 > at_noon
    assert size(limits["per_stream_rate_limit_burst"]) >= size(limits["per_stream_rate_limit"])
    assert limits["ingestion_rate_mb"] * 1e6 >= size(limits["per_stream_rate_limit"]), "else one stream never gets so far"
    assert limits["ingestion_burst_size_mb"] >= limits["ingestion_rate_mb"] and limits["max_global_streams_per_user"] >= 1000
    assert int(limits["max_query_length"].removesuffix("h")) > int(limits["retention_period"].removesuffix("h"))
    assert limits["reject_old_samples_max_age"] == "168h"


def test_alloy_waits_for_hours():
    """With less it would give up, and what it was sending would be lost."""
    text = CONFIG.read_text()
    retries, minutes = (int(re.search(rf'{name} += "?(\d+)m?"?\n', text).group(1)) for name in ("max_backoff_retries", "max_backoff_period"))
    assert minutes <= 10 and retries * minutes >= 8 * 60


def test_lokis_environment_is_what_its_head_says():
    text = LOKI.read_text()
    named = set(re.findall(r"^#     ([A-Z_]+) ", text, re.M))
    assert named == set(re.findall(r"\$\{([A-Z_]+):-", text)) and "-config.expand-env=true" in text
    assert len(re.findall(r"\$", text)) == len(re.findall(r"\$\{[A-Z_]+:-[a-z0-9./]+\}", text)), "the expansion knows no comments"


# ---- LogQL ----

def queries(page=QUERIES):
    return [q.strip() for q in re.findall(r"^```logql\n(.*?)^```", page.read_text(), re.M | re.S)]


def parsed(expressions):
    if not shutil.which("node"):
        pytest.skip("no node here")
    ran = subprocess.run(["node", ROOT / "tests/monitoring/logql.mjs"], input=json.dumps(expressions), capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def trees():
    return parsed(queries())


def nodes(tree, *names):
    """All nodes of these names, outer ones first."""
    if not names or tree[0] in names:
        yield tree
    for child in tree[2]:
        yield from nodes(child, *names)


def unquoted(text):
    return text[1:-1] if text.startswith("`") else json.loads(text)


def test_queries_parse(trees):
    assert len(trees) >= 30
    for q, tree in zip(queries(), trees):
        assert not list(nodes(tree, "⚠")), q


def test_queries_of_the_page_parse():
    assert len(queries(PAGE)) >= 2
    for q, tree in zip(queries(PAGE), parsed(queries(PAGE))):
        assert not list(nodes(tree, "⚠")), q


def test_the_parser_finds_mistakes():
    wrong = ['{job="weir"', '{job="weir"} | json a=', 'sum by (model (rate({job="weir"}[5m]))', 'rate({job="weir"})']
    for text, tree in zip(wrong, parsed(wrong)):
        assert list(nodes(tree, "⚠")), text


def test_every_name_in_a_query_exists(trees, pipeline):
    stages = {b.name: b.attributes for b in pipeline.process.blocks}
    labels = {"job", "instance", *stages["stage.labels"]["values"]}
    metadata = set(stages["stage.structured_metadata"]["values"])
    for q, tree in zip(queries(), trees):
        extracted = {}
        for _, _, (name, _, value) in nodes(tree, "LabelExtractionExpression"):
            extracted[name[1]] = unquoted(value[1])
        for field in extracted.values():
            assert field in log_fields(), f"{field} is no field of docs/log.md: {q}"
        for _, _, inner in nodes(tree, "Selector"):
            names = {n[1] for part in inner for n in nodes(part, "Identifier")}
            assert names <= labels and "job" in names, q
        known = labels | metadata | set(extracted) | {"__error__"}
        for _, name, _ in nodes(tree, "Identifier"):
            assert name in known, f"{name}: {q}"
        for _, _, inner in nodes(tree, "LineFormatExpr"):
            used = re.findall(r"\{\{\s*\.(\w+)\s*\}\}", unquoted(inner[1][1]))
            assert used and set(used) <= known, q


def test_a_query_that_sums_requests_leaves_attempts_out(trees):
    for q, tree in zip(queries(), trees):
        if list(nodes(tree, "Unwrap")):
            assert 'event="request"' in q or 'event="gap"' in q, q


def test_quantiles_are_shares_and_seconds_are_said_where_they_are():
    """The log has milliseconds."""
    seen = 0
    for title, query in re.findall(r"^([^\n]+):\n\n```logql\n(.*?)^```", QUERIES.read_text(), re.M | re.S):
        for share in re.findall(r"quantile_over_time\(([^,]+),", query):
            seen += 1
            assert 0 < float(share) < 1, query
            percent = re.search(r"\bp(\d+)\b", title)
            assert not percent or float(share) == int(percent.group(1)) / 100, title
            assert ("/ 1000" in query) == ("_ms |" in query and "millisecond" not in title), title
    assert seen >= 3


# Names that a line may not have: unwrap fails for it, and one such line makes the whole query fail.
def test_unwrap_is_followed_by_a_filter_of_its_errors(trees):
    for q, tree in zip(queries(), trees):
        assert len(list(nodes(tree, "Unwrap"))) == len(re.findall(r'\| unwrap \w+ \| __error__=""', q)), q


def compare(sign, left, right):
    if sign in ("=", "!=", "=~", "!~"):
        fits = left == right if sign[-1] == "=" else bool(re.fullmatch(right, left))
        return fits != sign.startswith("!")
    try:
        left = float(left)
    except ValueError:
        return False
    return {">": left > right, ">=": left >= right, "<": left < right, "<=": left <= right, "==": left == right}[sign]


def flattened(record, before=""):
    """The names that `| json` without expressions makes: nested ones with an underscore, arrays left out."""
    found = {}
    for name, value in record.items():
        name = re.sub(r"[^a-zA-Z0-9_]", "_", before + name)
        if isinstance(value, dict):
            found.update(flattened(value, f"{name}_"))
        elif not isinstance(value, list):
            found[name] = alloy.as_text(value) or ""
    return found


STAGES = ("Selector", "LineFilter", "LabelParser", "LabelFilter", "LabelExtractionExpression", "Unwrap", "UnwrapExpr")
UNKNOWN = ("Regexp", "Pattern", "Logfmt", "Unpack", "LabelFormatExpr", "DropLabelsExpr", "KeepLabelsExpr", "Decolorize", "DistinctFilter")


def selected(log_expr, entry):
    """Whether a log expression lets an entry through, as Loki's documentation describes its stages. Refuses stages that it does not know."""
    names = {**entry.labels, **entry.metadata}
    for tree in nodes(log_expr, *STAGES, *UNKNOWN):
        kind, text, inner = tree
        if kind == "Selector":
            for _, _, (name, sign, value) in nodes(tree, "Matcher"):
                if not compare(sign[1], entry.labels.get(name[1], ""), unquoted(value[1])):
                    return False
        elif kind == "LineFilter":
            assert inner[0][1] == "|=", text
            if unquoted(inner[1][1]) not in entry.line:
                return False
        elif kind == "LabelParser":
            assert text == "json", text
            names = {**flattened(json.loads(entry.line)), **names}
        elif kind == "LabelExtractionExpression":
            value = alloy.search(unquoted(inner[2][1]), json.loads(entry.line))
            names[inner[0][1]] = alloy.as_text(value) or ""
        elif kind == "LabelFilter":
            (one,) = inner
            name, sign, value = one[2]
            if name[1] == "__error__":
                continue
            right = unquoted(value[1]) if one[0] == "Matcher" else float(value[1])
            if not compare(sign[1], names.get(name[1], ""), right):
                return False
        elif kind == "UnwrapExpr" and inner[1][0] == "Unwrap":
            try:
                float(names.get(inner[2][1], ""))
            except ValueError:
                return False
        else:
            assert kind in ("Unwrap", "UnwrapExpr"), f"{kind} is not known here: {text}"
    return True


def may_be_empty(selection):
    """Why a selection finds nothing in the lines above, or None."""
    reasons = {'event="gap"': "no disk was full", "latency_ms > 10000": "no request took ten seconds"}
    return next((why for what, why in reasons.items() if what in selection), None)


def test_every_query_selects_lines_of_a_real_log(trees, entries):
    for q, tree in zip(queries(), trees):
        selections = list(nodes(tree, "LogRangeExpr")) or list(nodes(tree, "LogExpr"))
        assert selections, q
        for selection in selections:
            found = [e for e in entries if selected(selection, e)]
            assert bool(found) != bool(may_be_empty(selection[1])), f"{len(found)} of {len(entries)} lines: {selection[1]}"


def dashboards_queries():
    """(file, title, expression) of every log query in the dashboards, Grafana's variables replaced: an id is empty, an interval a minute."""
    for path in sorted((ROOT / "monitoring/grafana/dashboards").glob("*.json")):
        panels = json.loads(path.read_text())["panels"]
        for panel in [*panels, *(inner for p in panels for inner in p.get("panels", []))]:
            for target in panel.get("targets", []):
                if target["datasource"]["type"] == "loki":
                    expr = re.sub(r"\$\{?__\w+\}?", "1m", target["expr"])
                    yield path.name, panel["title"], re.sub(r"\$\{?request_id\}?", "", expr)


def test_the_dashboards_log_panels_show_lines(entries):
    """With the labels and the structured metadata of config.alloy."""
    found = list(dashboards_queries())
    if not found:
        pytest.skip("no log panels in monitoring/grafana/dashboards")
    for (name, title, expr), tree in zip(found, parsed([expr for _, _, expr in found])):
        assert not list(nodes(tree, "⚠")), (name, title, expr)
        for selection in list(nodes(tree, "LogRangeExpr")) or list(nodes(tree, "LogExpr")):
            assert any(selected(selection, e) for e in entries), (name, title, selection[1])


def test_the_gap_query_selects_a_gap(trees, pipeline):
    """The line is as docs/log.md describes it; a full disk cannot be had here (tests/e2e/test_log_survives.py has one)."""
    entry = pipeline.run('{"timestamp":"2026-11-24T01:50:23.417Z","level":"WARNING","event":"gap","dropped":12}')
    assert sum(any(selected(s, entry) for s in nodes(t, "LogRangeExpr")) for t in trees) >= 3
