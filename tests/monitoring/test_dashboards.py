"""The dashboards without a Grafana: their structure, their links, and that every expression is right by the grammar and by the metrics
that exist. That every expression returns something is test_live.py's part."""
import json
import pathlib
import re
import subprocess
import sys
import urllib.parse

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import expressions  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "monitoring/grafana"
FILES = {path.name: expressions.load(path) for path in expressions.files()}
UIDS = {"01-overview.json": "weir-overview", "02-tokens.json": "weir-tokens", "03-performance.json": "weir-performance",
        "04-provider-health.json": "weir-provider-health", "05-system-health.json": "weir-system-health", "06-slo.json": "weir-slo"}
# Ids of Grafana's units (valueFormats/categories of @grafana/data 13.2.3) that make sense here.
UNITS = {"none", "short", "percentunit", "percent", "s", "ms", "h", "d", "dtdurations", "reqps", "cps", "ops", "bytes", "decbytes", "Bps", "binBps",
         "currencyUSD", "bool_yes_no"}
OWN_UNIT = re.compile(r"(suffix|prefix|time|si|count|currency|bool):.+")
GRAFANA_VARIABLES = {"__rate_interval", "__interval", "__range", "__range_s", "__from", "__to", "__url_time_range", "__all_variables",
                     "__field", "__value", "__data", "__series", "__auto"}
KINDS = {"stat", "timeseries", "heatmap", "state-timeline", "bargauge", "table", "logs", "text", "row"}
OF_EVERY_SERIES = {"job", "instance"}
OF_PROMETHEUS = {"up": OF_EVERY_SERIES, "scrape_duration_seconds": OF_EVERY_SERIES, "scrape_samples_scraped": OF_EVERY_SERIES,
                 "ALERTS": {"alertname", "alertstate", "severity"}}


def every_panel():
    for name, dashboard in FILES.items():
        for panel in expressions.all_panels(dashboard):
            yield name, panel


def every_target():
    for name, panel in every_panel():
        for target in panel.get("targets", []):
            yield name, panel, target


def every_link():
    """(file, panel's title, url) of data links, in defaults and in overrides."""
    for name, panel in every_panel():
        config = panel.get("fieldConfig", {"defaults": {}, "overrides": []})
        links = list(config["defaults"].get("links", []))
        for override in config["overrides"]:
            links += [link for p in override["properties"] if p["id"] == "links" for link in p["value"]]
        for link in links:
            assert link["title"], (name, panel["title"])
            yield name, panel["title"], link["url"]


def logs_query(url):
    """The LogQL in a link to Explore."""
    address = urllib.parse.urlsplit(url)
    assert address.path == "/explore", url
    panes = json.loads(urllib.parse.parse_qs(address.query)["panes"][0])
    (pane,) = panes.values()
    (query,) = pane["queries"]
    assert query["datasource"]["type"] == "loki"
    return query["expr"]


def wrong(findings):
    assert not findings, "\n".join(map(str, findings))


# ---- structure ----

def test_files_are_what_the_tables_say():
    done = subprocess.run([ROOT / "scripts/dev/dashboards", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_file_is_drift(tmp_path):
    """In a copy, so that the real ones stay."""
    copy = tmp_path / "scripts/dev/dashboards"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((ROOT / "scripts/dev/dashboards").read_bytes())
    for path in (*(GRAFANA / "source").glob("*.py"), *(GRAFANA / "dashboards").glob("*.json")):
        there = tmp_path / path.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(path.read_bytes())
    check = [sys.executable, copy, "--check"]
    assert subprocess.run(check, capture_output=True).returncode == 0
    changed = tmp_path / "monitoring/grafana/dashboards/02-tokens.json"
    changed.write_text(changed.read_text().replace("Cost per hour", "Costs", 1))
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 1 and "02-tokens.json" in done.stdout and "run scripts/dev/dashboards" in done.stdout
    assert subprocess.run(check[:2], capture_output=True).returncode == 0
    assert subprocess.run(check, capture_output=True).returncode == 0
    (changed.parent / "07-more.json").write_text("{}")
    assert subprocess.run(check, capture_output=True).returncode == 1


@pytest.mark.parametrize("name", UIDS)
def test_dashboard(name):
    d = FILES[name]
    assert d["uid"] == UIDS[name] and len(d["uid"]) <= 40
    assert d["id"] is None and d["schemaVersion"] == 42 and d["version"] == 1 and d["tags"] == ["weir"] and d["editable"] is False
    assert d["title"].startswith("weir: ") and d["description"].endswith("?")
    assert d["refresh"] and d["time"] and d["timezone"] == "browser"
    assert "__inputs" not in d and "DS_PROMETHEUS" not in json.dumps(d)


def test_titles_and_uids_are_unique():
    assert sorted(FILES) == sorted(UIDS)
    for key in ("uid", "title"):
        assert len({d[key] for d in FILES.values()}) == len(FILES)


@pytest.mark.parametrize("name", UIDS)
def test_ids_are_unique_and_places_do_not_overlap(name):
    ids, taken, bottom = set(), {}, 0
    for panel in expressions.all_panels(FILES[name]):
        assert panel["id"] not in ids, panel["title"]
        ids.add(panel["id"])
    for group in [FILES[name]["panels"], *(p["panels"] for p in FILES[name]["panels"] if p.get("panels"))]:
        taken.clear()
        for panel in group:
            at = panel["gridPos"]
            assert at["w"] >= 1 and at["h"] >= 1 and at["x"] >= 0 and at["x"] + at["w"] <= 24, panel["title"]
            for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
                assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
                taken[cell] = panel["title"]
        rows = {y for _, y in taken}
        for y in rows:  # no holes: each line is full, and no line is empty
            assert all((x, y) in taken for x in range(24)), f"a hole at line {y}"
        assert rows == set(range(min(rows), max(rows) + 1))


def test_panels_say_what_they_show_and_what_to_do():
    findings = []
    for name, panel in every_panel():
        place = f"{name}: {panel['title']}"
        assert panel["type"] in KINDS, place
        if panel["type"] == "row":
            continue
        about = panel["description"]
        if panel["type"] != "text":
            what, _, bad = about.partition("\n\nWhen it is bad: ")
            if not (what.endswith(".") and bad.endswith(".") and len(what) > 15 and len(bad) > 15):
                findings.append(f"{place}: {about!r}")
            if not panel["targets"]:
                findings.append(f"{place}: asks for nothing")
        if len(panel["title"]) > 7 * panel["gridPos"]["w"]:  # about what fits where the page is 1280 pixels wide
            findings.append(f"{place}: its title is cut off on a small screen")
    wrong(findings)


def test_titles_are_unique_in_a_dashboard():
    for name, d in FILES.items():
        titles = [p["title"] for p in expressions.all_panels(d) if p["type"] != "row"]
        assert len(titles) == len(set(titles)), (name, [t for t in titles if titles.count(t) > 1])


def test_units():
    findings = []
    for name, panel in every_panel():
        if panel["type"] in ("row", "text"):
            continue
        config = panel["fieldConfig"]
        units = [config["defaults"].get("unit")]
        units += [p["value"] for o in config["overrides"] for p in o["properties"] if p["id"] == "unit"]
        findings += [f"{name}: {panel['title']}: {u}" for u in units if u not in UNITS and not OWN_UNIT.match(u or "")]
    wrong(findings)


def test_units_are_those_of_what_is_shown():
    """By the metric's name: seconds as s, dollars as dollars; shares have thresholds that are shares; and what a title promises is done."""
    findings = []
    for name, panel, target in every_target():
        if expressions.kind_of(target) != "promql" or panel["type"] == "table":
            continue
        title, expr, defaults = panel["title"], target["expr"], panel["fieldConfig"]["defaults"]
        unit, place = defaults["unit"], f"{name}: {title}: {target['legendFormat']}: {expr}"
        times = "_seconds_bucket" in expr or ":p95_" in expr
        if times and panel["type"] != "heatmap" and unit != ("suffix: tok/s" if re.search(r"\b1 / hist", expr) else "s"):
            findings.append(f"{place}: {unit} for seconds")
        money = re.search(r"spend|budget_usd", expr) and "max_budget" not in expr
        if bool(money) != (unit == "currencyUSD"):
            findings.append(f"{place}: {unit}, and dollars are {'' if money else 'not '}asked for")
        if "per hour" in title and "* 3600" not in expr or title.endswith("/min") and "* 60" not in expr:
            findings.append(f"{place}: not what the title says")
        if unit == "percentunit" and any(step["value"] is not None and step["value"] > 1.2 for step in defaults["thresholds"]["steps"]):
            findings.append(f"{place}: a threshold above 100 %")
        for percent in re.findall(r"\bp(50|95|99)\b", target["legendFormat"] if re.match(r"p\d", target["legendFormat"]) else title):
            if f"histogram_quantile({int(percent) / 100:g}," not in expr and f":p{percent}_" not in expr:
                findings.append(f"{place}: is no p{percent}")
        if target["legendFormat"] in ("failed", "dropped") and target["legendFormat"][:4] not in expr:
            findings.append(f"{place}: the legend is another's")
    wrong(findings)


def test_words_for_numbers_have_the_colour_of_what_they_mean():
    for name, panel in every_panel():
        for mapping in panel.get("fieldConfig", {}).get("defaults", {}).get("mappings", []):
            if mapping["type"] == "value":
                words = {value: (shown["text"], shown["color"]) for value, shown in mapping["options"].items()}
                good = "0" if "2" in words and "healthy" in str(words) else max(words)
                assert {value for value, (_, color) in words.items() if color == "green"} == {good}, (name, panel["title"], words)


def test_how_near_alerts_are_is_told_of_the_alerts_there_are():
    """Their factors and windows; of budgets the least is shown, of burn rates the greatest."""
    rules = yaml.safe_load((ROOT / "monitoring/prometheus/rules/alerts.yml").read_text())["groups"]
    shipped = set()
    for rule in (r for g in rules for r in g["rules"] if "window" in r["labels"]):
        (long, factor), (short, other) = re.findall(r"burnrate(\w+) > ([\d.]+)", rule["expr"])
        assert factor == other and long == rule["labels"]["window"]
        shipped.add((rule["labels"]["slo"], rule["labels"]["severity"], factor, long, short))
    shown = set()
    for name, panel, target in every_target():
        if panel["title"].endswith("how near are alerts?"):
            severity, factor, long, short = re.fullmatch(r"(\w+) ([\d.]+)x: (\w+) and (\w+)", target["legendFormat"]).groups()
            (slo, *_), (first, second) = zip(*re.findall(r"job:weir_(\w+):burnrate(\w+)\{", target["expr"]))
            assert (first, second) == (long, short) and target["expr"].endswith(f"/ {factor}")
            shown.add((slo, severity, factor, long, short))
        for function, kind in re.findall(r"(\w+)\(job:weir_\w+:(burnrate|budget_remaining)", target["expr"]):
            assert function == {"burnrate": "max", "budget_remaining": "min"}[kind], (name, panel["title"])
    assert shown == shipped and len(shown) == 8


def test_thresholds_rise_and_begin_with_a_base():
    for name, panel in every_panel():
        config = panel.get("fieldConfig", {"defaults": {}, "overrides": []})
        found = [config["defaults"].get("thresholds")]
        found += [p["value"] for o in config["overrides"] for p in o["properties"] if p["id"] == "thresholds"]
        for thresholds in filter(None, found):
            first, *rest = [step["value"] for step in thresholds["steps"]]
            assert first is None and rest == sorted(rest), (name, panel["title"])


def test_columns_that_tables_format_exist():
    for name, panel in every_panel():
        if panel["type"] != "table":
            continue
        organize = next(t for t in panel["transformations"] if t["id"] == "organize")["options"]
        shown = set(organize["renameByName"].values())
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"] == {"id": "byName", "options": override["matcher"]["options"]}
            assert override["matcher"]["options"] in shown, (name, panel["title"], override["matcher"])
        assert panel["options"]["sortBy"][0]["displayName"] in shown, (name, panel["title"])
        values = {f"Value #{t['refId']}" for t in panel["targets"]} if len(panel["targets"]) > 1 else {"Value"}
        assert values <= set(organize["renameByName"]), (name, panel["title"])


# ---- data sources, variables, links ----

def test_data_sources_are_variables():
    for name, panel in every_panel():
        if panel["type"] in ("row", "text"):
            continue
        assert panel["datasource"] in ({"type": "prometheus", "uid": "${datasource}"}, {"type": "loki", "uid": "${logs}"}), (name, panel["title"])
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] and target["refId"] and target["expr"], (name, panel["title"])
        assert len({t["refId"] for t in panel["targets"]}) == len(panel["targets"])
    for name, d in FILES.items():
        for variable in d["templating"]["list"]:
            assert variable["type"] != "query" or variable["datasource"]["uid"] == "${datasource}"
        for note in d["annotations"]["list"]:
            assert note.get("builtIn") or note["datasource"]["uid"] == "${datasource}"


def test_loki_is_asked_only_when_a_row_is_opened():
    """Where no Loki runs nothing must look broken: what asks it is in a closed row."""
    closed = 0
    for name, d in FILES.items():
        for panel in d["panels"]:
            assert panel.get("datasource", {}).get("type") != "loki", (name, panel["title"])
            inside = [p for p in panel.get("panels", []) if p.get("datasource", {}).get("type") == "loki"]
            assert not inside or panel["collapsed"] is True
            closed += len(inside)
    assert closed >= 2


@pytest.mark.parametrize("name", UIDS)
def test_variables(name):
    d = FILES[name]
    variables = {v["name"]: v for v in d["templating"]["list"]}
    assert len(variables) == len(d["templating"]["list"])
    assert {"datasource", "job", "instance"} <= set(variables)
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    for v in variables.values():
        assert v["label"] and v["description"]
        if v["type"] == "query":
            assert v["multi"] and v["includeAll"] and v["refresh"] == 2
            assert v.get("allValue") == {"job": None, "instance": ".+", "deployment": None}.get(v["name"], ".*")
    elsewhere = {**d, "templating": [{k: v[k] for k in ("query", "definition") if k in v} for v in variables.values()]}
    used = expressions.variables_in(json.dumps(elsewhere))
    assert used <= set(variables) | GRAFANA_VARIABLES, f"used and not defined: {used - set(variables) - GRAFANA_VARIABLES}"
    assert set(variables) <= used, f"defined and not used: {set(variables) - used}"


def test_every_dashboard_leads_to_all_others():
    for name, d in FILES.items():
        urls = [link["url"] for link in d["links"]]
        assert sorted(urls) == sorted(f"/d/{uid}" for uid in UIDS.values() if uid != d["uid"]), name
        for link in d["links"]:
            assert link["type"] == "link" and link["keepTime"] and link["includeVars"] and link["title"] and link["tooltip"]


def test_data_links_lead_somewhere():
    variables = {d["uid"]: {v["name"] for v in d["templating"]["list"]} for d in FILES.values()}
    seen, findings = set(), []
    for name, title, url in every_link():
        address = urllib.parse.urlsplit(url)
        if address.path == "/explore":
            seen.add("logs")
            logs_query(url)
            continue
        uid = address.path.removeprefix("/d/")
        seen.add(uid)
        given = set(re.findall(r"&var-(\w+)=", url))
        kept = ("${__url_time_range}", "${datasource:queryparam}", "${job:queryparam}", "${instance:queryparam}")
        if uid not in variables or not given <= variables[uid] or not all(k in address.query for k in kept):
            findings.append(f"{name}: {title}: {url}")
    wrong(findings)
    assert seen >= {"logs", "weir-tokens", "weir-performance", "weir-provider-health", "weir-system-health", "weir-slo"}


def test_links_name_labels_that_their_series_have():
    findings = []
    for name, panel in every_panel():
        text = json.dumps(panel.get("fieldConfig", {}).get("defaults", {}).get("links", []))
        for label in set(re.findall(r"__field\.labels\.(\w+)", text)):
            if not any(re.search(rf"by \([^)]*\b{label}\b", t["expr"]) for t in panel["targets"]):
                findings.append(f"{name}: {panel['title']}: a link by {label}, which its series do not have")
    wrong(findings)


def test_single_requests_lead_to_their_log():
    """Exemplars on latency, a request id to type in, ids in lines as links."""
    assert sum(t["exemplar"] for _, _, t in every_target() if "exemplar" in t) >= 3
    assert any('request_id=\\"${request_id' in urllib.parse.unquote(url) for _, _, url in every_link())
    prometheus = yaml.safe_load((GRAFANA / "datasources/prometheus.yml").read_text())["datasources"][0]["jsonData"]
    (to_log,) = prometheus["exemplarTraceIdDestinations"]
    assert to_log["name"] == "trace_id"
    assert logs_query(to_log["url"].replace("$$", "$")) == '{job="weir"} | json | trace_id="${__value.raw}"'


# ---- provisioning ----

@pytest.mark.parametrize("kind", ["prometheus", "loki"])
def test_data_source(kind):
    text = (GRAFANA / f"datasources/{kind}.yml").read_text()
    settings = yaml.safe_load(text)
    (source,) = settings["datasources"]
    assert settings["apiVersion"] == 1 and settings["prune"] is True
    assert source["type"] == source["uid"] == kind and source["access"] == "proxy" and source["editable"] is False
    assert source["url"] == f"${{WEIR_{kind.upper()}_URL}}"
    assert source.get("isDefault", False) is (kind == "prometheus")
    # Any other dollar is for Grafana's links, and would be replaced by nothing if it stood alone.
    values = json.dumps({**source, "url": ""})
    assert not re.search(r"(?<!\$)\$(?!\$)", values.replace("$$", "")), "a single dollar"
    for name, d in FILES.items():
        for variable in d["templating"]["list"]:
            if variable["type"] == "datasource" and variable["query"] == kind:
                assert variable["current"] == {"selected": False, "text": source["name"], "value": source["uid"]}, name


def test_ids_in_log_lines_are_links():
    (source,) = yaml.safe_load((GRAFANA / "datasources/loki.yml").read_text())["datasources"]
    line = '{"timestamp":"2026-11-24T01:50:23.417Z","request_id":"5f0c2c1e-8a54-4f0e-9d0a-3f0e6a0f7f11","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}'
    found = {f["name"]: re.search(f["matcherRegex"], line).group(1) for f in source["jsonData"]["derivedFields"]}
    assert found["request_id"] == found["request on the overview"] == "5f0c2c1e-8a54-4f0e-9d0a-3f0e6a0f7f11"
    assert found["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    for field in source["jsonData"]["derivedFields"]:
        if "datasourceUid" in field:
            assert field["datasourceUid"] == "loki"
        else:
            assert field["url"] == "/d/weir-overview?var-request_id=$${__value.raw}"
    assert "request_id" in {v["name"] for v in FILES["01-overview.json"]["templating"]["list"]}


def test_prometheus_source_knows_how_often_it_scrapes():
    """$__rate_interval is made of it: a wrong one makes gaps, or flat curves."""
    (source,) = yaml.safe_load((GRAFANA / "datasources/prometheus.yml").read_text())["datasources"]
    scrape = yaml.safe_load((ROOT / "monitoring/prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scrape and source["jsonData"]["httpMethod"] == "POST"


def test_provider_reads_the_folder_it_lies_in():
    settings = yaml.safe_load((GRAFANA / "dashboards/provider.yml").read_text())
    (provider,) = settings["providers"]
    assert provider["options"]["path"] == "${GF_PATHS_PROVISIONING}/dashboards" and provider["type"] == "file"
    assert provider["allowUiUpdates"] is False and provider["disableDeletion"] is True
    assert provider["folder"] == provider["folderUid"] == "weir" and provider["updateIntervalSeconds"] == 30


def test_who_starts_grafana_says_where_its_sources_are():
    """The data sources and the provider have variables for what differs between containers and services."""
    starts = [p for p in (ROOT / "monitoring/docker-compose.yml", *(ROOT / "monitoring/systemd").glob("**/grafana*.service")) if p.exists()]
    if not starts:
        pytest.skip("nothing here starts Grafana")
    for path in starts:
        text = path.read_text()
        assert "WEIR_PROMETHEUS_URL" in text and "WEIR_LOKI_URL" in text, path
        assert "/etc/grafana/provisioning/dashboards" in text or "GF_PATHS_PROVISIONING" in text, path


# ---- expressions ----

def known_metrics():
    """{name as asked for: (type, labels)} of docs/metrics.md, Prometheus itself, and the recording rules (labels None: not known here)."""
    known = {name: ("gauge", labels) for name, labels in OF_PROMETHEUS.items()}
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        if m := re.match(r"\| `(\w+)` \| (\w+) \| ([^|]*) \|", line):
            name, kind, labels = m.group(1), m.group(2), {x.strip() for x in m.group(3).split(",") if x.strip()} | OF_EVERY_SERIES
            if kind == "histogram":
                known[f"{name}_bucket"] = ("counter", labels | {"le"})
                known[f"{name}_sum"] = known[f"{name}_count"] = ("counter", labels)
            else:
                known[name] = ("gauge" if kind == "info" else kind, labels)
    for path in (ROOT / "monitoring/prometheus/rules").glob("*.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            known.update({rule["record"]: ("gauge", None) for rule in group["rules"] if "record" in rule})
    return known


@pytest.fixture(scope="module")
def metrics():
    return known_metrics()


def asked():
    """(place, language, expression) of everything that Grafana would send: panels, annotations, links to logs; series of variables."""
    for e in expressions.dashboards():
        yield f"{e.file}: {e.title}", "logql" if e.kind == "logql" else "promql", e.expr
    for name, title, url in every_link():
        if url.startswith("/explore"):
            yield f"{name}: {title}: its link", "logql", expressions.replaced(re.sub(r"\$\{__[^}]*\}", "value", logs_query(url)))
    for source in (GRAFANA / "datasources").glob("*.yml"):
        for field in yaml.safe_load(source.read_text())["datasources"][0]["jsonData"].get("derivedFields", []):
            if "datasourceUid" in field:
                yield f"{source.name}: {field['name']}", "logql", field["url"].replace("$${__value.raw}", "value")


@pytest.fixture(scope="module")
def parsed():
    """(place, language, expression, what parse.mjs found) of each; one run of Node for all."""
    everything = list(dict.fromkeys(asked()))
    ask = json.dumps([{"lang": lang, "expr": expr} for _, lang, expr in everything])
    done = subprocess.run(["node", ROOT / "tests/monitoring/parse.mjs"], input=ask, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stderr}\nnode and tests/node_modules are needed: scripts/dev/install-deps test"
    return [(*e, found) for e, found in zip(everything, json.loads(done.stdout), strict=True)]


def test_expressions_parse(parsed):
    wrong([f"{place}: {found['errors']}" for place, _, _, found in parsed if found["errors"]])
    languages = [lang for _, lang, _, _ in parsed]
    assert languages.count("promql") > 200 and languages.count("logql") > 10


def test_the_parser_finds_errors():
    bad = [{"lang": "promql", "expr": "sum(rate(x[5m])"}, {"lang": "promql", "expr": "x[$__rate_interval]"},
           {"lang": "logql", "expr": '{job="weir" | json'}]
    done = subprocess.run(["node", ROOT / "tests/monitoring/parse.mjs"], input=json.dumps(bad), capture_output=True, text=True, check=True)
    assert all(found["errors"] for found in json.loads(done.stdout))


def test_metrics_exist(parsed, metrics):
    wrong(sorted({f"{place}: no metric {m['name']}" for place, _, _, found in parsed for m in found["metrics"] if m["name"] not in metrics}))


def test_labels_exist(parsed, metrics):
    """A matcher on a label that the metric does not have finds nothing, or everything."""
    findings = set()
    for place, _, _, found in parsed:
        for m in found["metrics"]:
            _, labels = metrics.get(m["name"], (None, None))
            used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", m["text"]))
            if labels is not None and not used <= labels:
                findings.add(f"{place}: {m['name']} has no label {', '.join(used - labels)}")
        for call in found["calls"]:
            if by := re.match(r"\w+ by \(([^)]*)\)", call["text"]):
                names = [m["name"] for m in found["metrics"] if m["text"] in call["text"]]
                have = set().union(*((metrics.get(n, (None, None))[1] or set()) for n in names)) | set(re.findall(r'"(\w+)", "', call["text"]))
                missing = {x.strip() for x in by.group(1).split(",") if x.strip()} - have
                if missing and all(metrics.get(n, (None, None))[1] is not None for n in names):
                    findings.add(f"{place}: by {', '.join(missing)}, which {', '.join(names)} does not have")
    wrong(sorted(findings))


def test_rates_are_of_counters_only(parsed, metrics):
    findings = []
    for place, _, expr, found in parsed:
        for m in found["metrics"]:
            kind = metrics.get(m["name"], (None,))[0]
            inner = m["around"][0] if m["around"] else ""
            if inner in ("rate", "increase", "irate") and kind not in ("counter", None):
                findings.append(f"{place}: {inner}() of the {kind} {m['name']}")
            if kind == "counter" and not re.search(r": variable \w+$", place) and inner not in ("rate", "increase", "irate", "resets"):
                findings.append(f"{place}: the counter {m['name']} without rate() or increase()")
            if m["ranged"] and inner in ("rate", "increase") and m["name"].endswith("_bucket") and "le" not in expr:
                findings.append(f"{place}: buckets without le")
    wrong(findings)


def test_quantiles_are_of_buckets_by_le(parsed):
    findings, seen = [], 0
    for place, _, _, found in parsed:
        for call in found["calls"]:
            if call["name"] == "histogram_quantile":
                seen += 1
                if not re.search(r"by \(le\b", call["text"]) or "_bucket" not in call["text"] or "rate(" not in call["text"]:
                    findings.append(f"{place}: {call['text']}")
    wrong(findings)
    assert seen > 30


def test_rates_follow_the_scrape_interval():
    """[$__rate_interval] for what is drawn now; a fixed range only where the title's time is meant, and that is long."""
    for name, panel, target in every_target():
        if expressions.kind_of(target) == "promql":
            for range_ in re.findall(r"\[([^\]]*)\]", target["expr"]):
                assert range_ in ("$__rate_interval", "$__range", "15m", "1h", "1d", "7d"), (name, panel["title"], range_)


def test_legends_name_labels_that_are_left():
    findings = []
    for name, panel, target in every_target():
        expr = target["expr"]
        left = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expr))))
        for label in re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"]):
            if label not in left:
                findings.append(f"{name}: {panel['title']}: {{{{{label}}}}} of {expr}")
        if target.get("format") == "time_series" and target["legendFormat"] == "__auto":
            findings.append(f"{name}: {panel['title']}: no legend")
    wrong(findings)


def test_log_queries_name_fields_of_the_log(parsed):
    fields = {m.group(1).replace(".", "_") for m in re.finditer(r"^\| `([\w.]+)` \|", (ROOT / "docs/log.md").read_text(), re.M)}
    findings = []
    for place, lang, expr, _ in parsed:
        if lang == "logql":
            assert expr.count('{job="weir"}') == 1, place
            rest = re.sub(r'"[^"]*"', lambda m: " ".join(re.findall(r"\{\{\.(\w+)\}\}", m.group(0))) and f'<{m.group(0)[1:-1]}>' or '""', expr)
            used = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|>=|<=|>|<|=)\s", rest + " ")) | set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\"", rest))
            used |= set(re.findall(r"\{\{\.(\w+)\}\}", expr)) | {w for by in re.findall(r"by \(([^)]*)\)", expr) for w in re.findall(r"\w+", by)}
            findings += [f"{place}: the log has no field {u}: {expr}" for u in used - fields - {"job"}]
    wrong(findings)


def test_what_may_be_empty_says_when():
    """A panel that can be empty in health has a text for it, and the description has the same text."""
    texts = {e.may_be_empty_reason for e in expressions.dashboards() if e.may_be_empty_reason and e.panel_id}
    assert 5 < len(texts) < 25
    for name, panel in every_panel():
        empty = panel.get("fieldConfig", {}).get("defaults", {}).get("noValue")
        if empty:
            assert len(empty) > 10 and empty[1:] in panel["description"], (name, panel["title"])


def test_files_that_panels_name_are_there():
    named = {(name, path) for name, panel in every_panel() for path in re.findall(r"\b(?:docs|scripts|monitoring)/[\w./-]*\w", json.dumps(panel))}
    assert {path for _, path in named} > {"docs/runbooks.md", "scripts/debugging/analyze-logs"}
    wrong([f"{name}: there is no {path}" for name, path in sorted(named) if not (ROOT / path).exists()])
