"""Prometheus' and Alertmanager's files: valid by their own tools, their metrics there, each alert explained in docs/runbooks.md.

What the rules give is shown by test_rules_units.py, that the real programs run with them by test_rules_run.py, what expressions return from a gateway in
health and that alerts fire from real faults by test_live.py and test_live_faults.py.
"""
import json
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest
import yaml
from expressions_rules import files, rules, split_outside, watched
from harness import WEIR
from live import needs_tool

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONITORING = ROOT / "monitoring"
ALERTMANAGER = MONITORING / "alertmanager/alertmanager.yml"
NATIVE, LINK, DOCKER = "prometheus/prometheus.yml", "prometheus.yml", "prometheus/prometheus.docker.yml"
DASHBOARDS = {f"/d/weir-{name}" for name in ("overview", "tokens", "performance", "provider-health", "system-health", "slo")}
OF_EVERY_SCRAPE = {"up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling"}


def run(*words, cwd=ROOT):
    return subprocess.run([str(w) for w in words], cwd=cwd, capture_output=True, text=True, check=False)


def ok(*words, cwd=ROOT):
    done = run(*words, cwd=cwd)
    assert done.returncode == 0, f"{shlex.join(map(str, words))}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def load(name):
    return yaml.safe_load((MONITORING / name).read_text())


def groups():
    return [group for path in files() for group in yaml.safe_load(path.read_text())["groups"]]


def all_rules(kind):
    return [rule for group in groups() for rule in group["rules"] if kind in rule]


ALERTS = {rule["alert"] for rule in all_rules("alert")}
RECORDS = [rule["record"] for rule in all_rules("record")]


# ---- Prometheus' files ----

@needs_tool("promtool")
@pytest.mark.parametrize("name", [NATIVE, LINK, DOCKER])
def test_the_configuration_is_valid_and_finds_all_rules(name):
    count = len(all_rules("alert")) + len(all_rules("record"))
    # From two folders: relative paths are relative to the file, whatever the working directory is.
    for said in (ok("promtool", "check", "config", "--lint=all", "--lint-fatal", MONITORING / name, cwd="/"),
                 ok("promtool", "check", "config", "--lint=all", "--lint-fatal", name, cwd=MONITORING)):
        assert f"SUCCESS: {len(files())} rule files found" in said
        assert sum(int(n) for n in re.findall(r"SUCCESS: (\d+) rules found", said)) == count


@needs_tool("promtool")
def test_a_rule_that_comes_twice_is_refused(tmp_path):
    """What --lint-fatal is there for: that it does refuse."""
    tree = yaml.safe_load((MONITORING / "prometheus/rules/recording.yml").read_text())
    tree["groups"][0]["rules"].append(tree["groups"][0]["rules"][0])
    (tmp_path / "twice.yml").write_text(json.dumps(tree))
    assert run("promtool", "check", "rules", "--lint=all", "--lint-fatal", tmp_path / "twice.yml").returncode != 0


def test_the_values_that_were_asked_for():
    config = load(NATIVE)
    assert config["global"]["scrape_interval"] == config["global"]["evaluation_interval"] == "10s"
    job = next(j for j in config["scrape_configs"] if j["job_name"] == "litellm")
    assert job["static_configs"] == [{"targets": ["localhost:4000"]}]
    assert (job["metrics_path"], job["scrape_interval"], job["scrape_timeout"]) == ("/metrics", "10s", "5s")
    assert (MONITORING / LINK).is_symlink() and (MONITORING / LINK).resolve() == MONITORING / NATIVE
    assert config["global"]["external_labels"] == {"monitor": "weir"} and config["storage"] == {"exemplars": {"max_exemplars": 100000}}
    others = {j["job_name"]: j["static_configs"] for j in config["scrape_configs"] if j is not job}
    assert others == {"prometheus": [{"targets": ["localhost:9090"]}], "alertmanager": [{"targets": ["localhost:9093"]}]}
    assert config["alerting"] == {"alertmanagers": [{"static_configs": [{"targets": ["localhost:9093"]}]}]}


def test_bounds_of_a_scrape_are_wider_than_what_weir_shows():
    """The longest label values are api_base and model, which the configuration bounds; the widest family is known; a full budget has some 60,000 samples."""
    job = next(j for j in load(NATIVE)["scrape_configs"] if j["job_name"] == "litellm")
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]*) \|", (ROOT / "docs/metrics.md").read_text(), re.M)
    most = max(len(labels.split(",")) for _, labels in rows) + len(["__name__", "le", "job", "instance"])
    assert most * 2 <= job["label_limit"] and max(len(name) for name, _ in rows) * 2 <= job["label_name_length_limit"]
    assert job["label_value_length_limit"] >= 1024
    megabytes = int(job["body_size_limit"].removesuffix("MB"))
    assert job["sample_limit"] >= 200000 and megabytes * 1e6 / job["sample_limit"] >= 300, "a line has up to some 300 bytes"


def test_in_containers_only_the_targets_are_others():
    native, docker = load(NATIVE), load(DOCKER)
    assert "localhost:4000" not in json.dumps(docker), "in a container that is the container itself"
    assert "localhost:9093" not in json.dumps(docker)

    def without_targets(tree):
        for job in [*tree["scrape_configs"], *tree["alerting"]["alertmanagers"]]:
            for key in ("static_configs", "file_sd_configs", "dns_sd_configs", "relabel_configs"):
                job.pop(key, None)
        tree["rule_files"] = tree["rule_files"][:1]  # the folder's other name is for the link, which containers have not
        return tree

    assert without_targets(native) == without_targets(docker)


def test_there_are_targets_for_each_layout():
    found = {path.parent.name: json.loads(path.read_text()) for path in (MONITORING / "prometheus/targets").glob("*/*.json")}
    assert found == {"compose": [{"targets": ["litellm:4000"]}], "host": [{"targets": ["host.docker.internal:4000"]}]}
    # The folder is what is mounted; a file directly in targets/ would be read together with whichever that is.
    assert not list((MONITORING / "prometheus/targets").glob("*.json"))


def test_the_bound_that_an_alert_warns_of_is_the_one_that_holds():
    for name in (NATIVE, DOCKER):
        job = next(j for j in load(name)["scrape_configs"] if j["job_name"] == "litellm")
        alerts = {rule["alert"]: rule for rule in all_rules("alert")}
        assert alerts["GatewayScrapeNearLimit"]["expr"].endswith(f"> 0.8 * {job['sample_limit']}")
        assert f"of {job['sample_limit']} allowed" in alerts["GatewayScrapeNearLimit"]["annotations"]["summary"]
        assert alerts["GatewayScrapeSlow"]["expr"].endswith(f"> {int(job['scrape_timeout'].rstrip('s')) - 1}")


# ---- rules: shape, metrics, grammar ----

def test_alerts_say_what_and_where():
    for rule in all_rules("alert"):
        name, labels, words = rule["alert"], rule["labels"], rule["annotations"]
        assert re.fullmatch(r"([A-Z][a-z0-9]+)+", name), name
        assert labels["severity"] in ("page", "ticket", "none"), name
        assert rule["annotations"].keys() <= {"summary", "description", "runbook", "dashboard"}, name
        assert words["runbook"] == f"docs/runbooks.md#{name.lower()}", name
        assert words.get("dashboard", "/d/weir-slo") in DASHBOARDS, name
        assert len(words["summary"]) < 160 and "\n" not in words["description"], name
        # One that fires at once says how long it is to be seen: its trouble may be over at once, too.
        assert rule.get("for", "0s") != "0s" or "keep_firing_for" in rule or name == "Watchdog", name
        assert rule.get("for", "1s").endswith(("s", "m", "h")), name


def test_burn_rates_say_how_much_of_the_budget_is_gone():
    """A factor for a time is factor * time / 30 days of it."""
    hours, seen = {"1h": 1, "6h": 6, "1d": 24}, 0
    for rule in all_rules("alert"):
        if told := re.search(r"That is (\d+) % of it", rule["annotations"]["description"]):
            factor = float(re.search(r"> ([\d.]+)", rule["expr"]).group(1))
            assert round(factor * hours[rule["labels"]["window"]] / 7.2) == int(told.group(1)), rule["labels"]
            seen += 1
    assert seen == 3


def test_recording_rules_are_named_by_level_metric_operations():
    assert len(RECORDS) == len(set(RECORDS))
    for name in RECORDS:
        assert re.fullmatch(r"(weir|instance|job)[a-z_]*:[a-z0-9_]+:[a-z0-9_]+", name), name


def test_a_window_in_a_name_is_the_one_that_is_looked_at():
    for rule in all_rules("record"):
        window, ranges = re.search(r"(\d+[mhd])$", rule["record"]), set(re.findall(r"\[(\w+)\]", rule["expr"]))
        if window and ranges and rule["record"] != "job:litellm_spend_usd:expected1h":  # that hour, from a mean of the day
            assert ranges == {window.group(1)}, rule["record"]
    for path in files():
        for group in yaml.safe_load(path.read_text())["groups"]:
            assert group.get("interval", "10s") in ("10s", "30s"), f"{group['name']}: series that are older than 5 minutes are gone"


def test_objectives_have_all_windows():
    for stem in ("job:weir_requests_bad:ratio_rate", "job:weir_availability:burnrate", "job:weir_ttft_good:ratio_rate", "job:weir_ttft:burnrate"):
        for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"):
            assert stem + window in RECORDS


def exposed():
    """Names of samples in docs/metrics.md."""
    found = set()
    for name, kind in re.findall(r"^\| `(\w+)` \| (\w+) \|", (ROOT / "docs/metrics.md").read_text(), re.M):
        found |= {name + part for part in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return found


def parsed(expressions):
    """What the grammar of Grafana's own editor makes of PromQL."""
    asked = json.dumps([{"lang": "promql", "expr": expr} for expr in expressions])
    done = subprocess.run(["node", ROOT / "tests/monitoring/parse.mjs"], input=asked, capture_output=True, text=True, check=False, cwd=ROOT / "tests")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not shutil.which("node"), reason="no node here")
def test_expressions_are_promql_and_name_metrics_that_exist():
    known = exposed() | set(RECORDS) | OF_EVERY_SCRAPE
    asked = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in (*all_rules("alert"), *all_rules("record"))]
    for (name, expr), found in zip(asked, parsed([expr for _, expr in asked]), strict=True):
        assert not found["errors"], (name, found["errors"])
        assert found["metrics"] or expr.startswith("vector("), name
        for metric in found["metrics"]:
            # Those of Prometheus and Alertmanager are looked up in the real ones below.
            assert metric["name"] in known or metric["name"].startswith(("prometheus_", "alertmanager_")), f"{name}: no such metric: {metric['name']}"


def test_what_an_alert_looks_at_is_told_from_its_thresholds():
    assert list(watched('up{job="a > 1 and b"} == 0')) == ['up{job="a > 1 and b"}']
    assert list(watched("a > 3 * b\n  and on (x)\nc[5m] - (d > 0) >= 10")) == ["a", "3 * b", "c[5m] - (d > 0)"]
    assert list(watched('absent(up{job="x"})')) == ['up{job="x"}']
    assert split_outside("f(a or b) or c", re.compile(r"\bor\b")) == ["f(a or b) ", " c"]
    assert {r.name for r in rules()} == ALERTS | set(RECORDS)


# ---- runbooks ----

RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOKS, re.M | re.S))


def test_every_alert_has_its_runbook_and_every_runbook_its_alert():
    assert list(SECTIONS) == list(dict.fromkeys(rule["alert"] for rule in all_rules("alert"))), "in the order of alerts.yml"
    for name, text in SECTIONS.items():
        for part in ("Meaning", "Impact", "Diagnosis", "Mitigation"):
            assert f"**{part}**" in text or f"**{part}.**" in text, (name, part)
        assert "```sh" in text, f"{name}: what is to be typed?"
        assert f"[{name}](#{name.lower()})" in RUNBOOKS.split("\n## ")[0], f"{name}: not in the list at the top"
    for anchor in re.findall(r"\]\(#(\w+)\)", RUNBOOKS):
        assert anchor in {name.lower() for name in SECTIONS}, anchor
    for page in set(re.findall(r"\]\((\w[\w./]*\.md)\)", RUNBOOKS)):
        assert (ROOT / "docs" / page).exists(), page


def shown_commands():
    for block in re.findall(r"```sh\n(.*?)```", RUNBOOKS, re.S):
        for line in block.splitlines():
            yield line


def options_of(command):
    """Options in docs/cli.md of `weir COMMAND`, and whether each takes a value."""
    page = re.search(rf"^## weir {command}\n(.*?)(?=^## |\Z)", (ROOT / "docs/cli.md").read_text(), re.M | re.S).group(1)
    found = {}
    for cell in re.findall(r"^\| `(-[^`]*)` \|", page, re.M):
        for option in re.findall(r"--[\w-]+", cell):
            found[option] = " " in cell.split(option, 1)[1].strip() or bool(re.search(rf"{option} [A-Z]", cell))
    usage = re.search(r"```\n(weir .*?)```", page, re.S).group(1)
    return found | {option: False for option in re.findall(r"\[(--[\w-]+)\]", usage)}


def test_weir_commands_that_are_shown_exist():
    seen = 0
    for line in shown_commands():
        if not line.startswith("weir "):
            continue
        words = shlex.split(line, comments=True)
        command = next(c for c in (" ".join(words[1:3]), words[1]) if re.search(rf"^## weir {re.escape(c)}$", (ROOT / "docs/cli.md").read_text(), re.M))
        known = options_of(command)
        for option in [w for w in words if w.startswith("--")]:
            assert option in known, f"{line}: weir {command} has no {option}"
        seen += 1
    assert seen > 30


def test_the_expressions_that_weir_is_asked_are_understood(tmp_path):
    """--where of all of them, on an empty log: a mistake in one is exit status 2."""
    (tmp_path / "requests.log").write_text("")
    for line in shown_commands():
        words = shlex.split(line, comments=True) if line.startswith("weir ") else []
        if words[1:2] not in (["analyze"], ["tail"]) or "--what-if" in words:
            continue
        more = ["--no-follow"] if words[1] == "tail" and "--no-follow" not in words else []
        done = run(WEIR.resolve(), words[1], tmp_path / "requests.log", *words[2:], *more)
        assert done.returncode in (0, 1), f"{line}:\n{done.stderr}"


@pytest.mark.skipif(not shutil.which("node"), reason="no node here")
def test_queries_that_are_shown_are_promql_over_metrics_that_exist():
    queries = [shlex.split(line, comments=True)[-1] for line in shown_commands() if line.startswith("promtool query")]
    assert len(queries) > 8
    known = exposed() | set(RECORDS) | {"ALERTS"}
    for query, found in zip(queries, parsed(queries), strict=True):
        assert not found["errors"], (query, found["errors"])
        assert {metric["name"] for metric in found["metrics"]} <= known, query


# ---- Alertmanager's file ----

def with_examples(text):
    """The file with all its examples taken in."""
    return re.sub(r"#\| ", "", text)


@needs_tool("amtool")
def test_alertmanager_takes_the_file_and_its_examples(tmp_path):
    full = tmp_path / "full.yml"
    full.write_text(with_examples(ALERTMANAGER.read_text()))
    for path in (ALERTMANAGER, full):
        assert "SUCCESS" in ok("amtool", "check-config", path)
    receivers = {r["name"]: r for r in yaml.safe_load(full.read_text())["receivers"]}
    assert receivers["page"].keys() == {"name", "webhook_configs", "pagerduty_configs"} and "email_configs" in receivers["ticket"]
    assert all(r.keys() == {"name"} for r in yaml.safe_load(ALERTMANAGER.read_text())["receivers"]), "as shipped nothing is sent, and no secret is needed"
    # Secrets only by files.
    assert not re.search(r"(password|token|key|api_url|credentials): *\S", with_examples(ALERTMANAGER.read_text()))


@needs_tool("amtool")
@pytest.mark.parametrize("labels, receiver", [
    (["alertname=GatewayDown", "severity=page"], "page"), (["alertname=CostSpike", "severity=ticket"], "ticket"),
    (["alertname=Watchdog", "severity=none"], "watchdog"), (["alertname=SomebodyElses"], "ticket")])
def test_routes(labels, receiver):
    ok("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={receiver}", *labels)


def test_how_often_one_is_told():
    """A page within seconds and again each hour; tickets once a day; the watchdog often enough for what waits for it to notice within minutes."""
    route = load("alertmanager/alertmanager.yml")["route"]
    watchdog, page, ticket = route["routes"]
    times = [(r.get("group_wait"), r.get("group_interval"), r.get("repeat_interval")) for r in (route, watchdog, page, ticket)]
    assert times == [("30s", "5m", "24h"), ("0s", "1m", "5m"), ("10s", "1m", "1h"), (None, None, None)]
    assert route["group_by"] == ["alertname", "job"] and page["group_by"] == ["job"] and "continue" not in json.dumps(route)


def test_inhibitions_are_of_one_thing_and_never_of_themselves():
    """What is equal keeps one gateway's, provider's or budget's trouble from hiding another's; windows are those of the rules."""
    windows = {(rule["labels"]["slo"], rule["labels"]["window"]) for rule in all_rules("alert") if "slo" in rule["labels"]}
    for rule in load("alertmanager/alertmanager.yml")["inhibit_rules"]:
        source, target = " ".join(rule["source_matchers"]), " ".join(rule["target_matchers"])
        if "slo" in source:
            assert rule["equal"] == ["job", "slo"], source
        for window in re.findall(r'window = "(\w+)"', source + target):
            assert {(slo, window) for slo in ("availability", "ttft")} <= windows, window
        if "alertname !~" in target:
            assert "|Watchdog" in target, "the watchdog must never be quiet"
        labels = set(rule["equal"]) - {"job", "instance", "slo"}
        if labels:  # these must be what both alerts really have
            names = re.findall(r"\w+", " ".join(re.findall(r'"(.*?)"', source + target)))
            for alert in (r for r in all_rules("alert") if r["alert"] in names):
                assert all(f"$labels.{label} " in json.dumps(alert["annotations"]) for label in labels), (alert["alert"], labels)


def test_inhibitions_name_alerts_that_exist():
    for rule in load("alertmanager/alertmanager.yml")["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            label, names = re.fullmatch(r'(\w+) !?=?~? ?=?\s*"(.*)"', matcher).groups()
            assert label != "alertname" or set(names.split("|")) <= ALERTS, matcher
