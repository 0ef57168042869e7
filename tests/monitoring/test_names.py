"""Every metric that is named anywhere exists: in dashboards, rules, alerts, documents, examples and READMEs, every word that looks like a metric's name
is one that weir exposes, a recording rule, or one of those listed here with what else it is."""
import functools
import pathlib
import re
import subprocess

import pytest
import yaml
from harness import WEIR
from litellm_dashboards import without_counterpart

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCANNED = ["monitoring", "docs", "examples", "config", "scripts", "README.md", "CHANGELOG.md", "ARCHITECTURE.md"]
NAME = re.compile(r"(?<![\w:/.$<-])(?:(?:litellm|weir|process)_[a-z0-9_]+|[a-z_]+:(?:litellm|weir|process)_[a-z0-9_]+(?::\w+)?)")
METRIC_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", re.M)

# Words that look like metrics and are something else.
ELSE = {
    "weir_log": "a Python module of examples/litellm-callback",
    "weir_default": "the network that compose makes",
    "litellm_session_id": "a field of requests",
    "litellm_provider": "a key of LiteLLM's price file",
    "litellm_cache_params": "a section of the configuration",
    "weir_test": "a test's file",
}


@functools.lru_cache
def rows():
    """(name, type, labels) of what weir exposes, as it says itself: docs/metrics.md, made anew."""
    page = subprocess.run([str(WEIR.resolve()), "docs", "metrics"], capture_output=True, text=True, check=True).stdout
    return METRIC_ROW.findall(page)


def exposed():
    return {name: kind for name, kind, _ in rows()}


def labels():
    return {label.strip() for _, _, names in rows() for label in names.split(",")} - {""}


def sample_names():
    """What can be asked for: with a histogram's parts."""
    return {name + part for name, kind in exposed().items() for part in (["", "_bucket", "_sum", "_count"] if kind == "histogram" else [""])}


def recorded():
    groups = [g for path in ROOT.glob("monitoring/prometheus/rules/*.yml") for g in yaml.safe_load(path.read_text())["groups"]]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def compatibility(answer):
    """LiteLLM's names in docs/compatibility.md that weir has ("yes") or has not ("no")."""
    rows_of = re.findall(rf"^\| ([^|]*) \| {answer} \|", (ROOT / "docs/compatibility.md").read_text(), re.M)
    return {name for row in rows_of for name in re.findall(r"`(litellm_\w+)\*?`", row)}


def settings():
    """Keys of the configuration: `litellm_settings` and the like."""
    text = (ROOT / "docs/config.md").read_text()
    later = " ".join(re.findall(r"^Known, not built yet.*", text, re.M))
    return set(re.findall(r"^\| `(\w+)` \|", text, re.M)) | set(re.findall(r"`(\w+)`", later)) | set(re.findall(r"^## `(\w+)", text, re.M))


def texts():
    for name in SCANNED:
        top = ROOT / name
        for path in sorted([top] if top.is_file() else top.rglob("*")):
            if path.is_file() and "node_modules" not in path.parts:
                try:
                    yield path.relative_to(ROOT), path.read_text()
                except UnicodeDecodeError:
                    continue  # a picture


def named():
    """(file, line, name, whether it stands in prose) of everything that looks like a metric's name."""
    for path, text in texts():
        for number, line in enumerate(text.splitlines(), 1):
            for found in NAME.finditer(line):
                # Not a file, a function, or a container's volume. After "^" (of a grep) it is how names begin, as with "_*" behind it.
                if not re.match(r"\.py|\.json|\(|-[a-z]", line[found.end():]):
                    begins = line[:found.start()].endswith("^") or found.group().endswith("_")
                    yield path, number, found.group() + ("*" if begins else ""), path.suffix == ".md" or line.lstrip().startswith("#")


def is_known(name, known):
    if name.endswith("*"):
        return any(other.startswith(name[:-1]) for other in known)
    return name in known


def test_every_metric_named_anywhere_exists():
    records = recorded()
    parts = {part for record in records for part in record.split(":")}
    known = sample_names() | records | labels() | settings() | set(ELSE)
    told = known | parts | without_counterpart() | compatibility("no")  # prose may speak of the middle of a rule's name, and of what weir has not
    unknown = [f"{path}:{line}: {name}" for path, line, name, prose in named() if not is_known(name, told if prose else known)]
    assert not unknown, "no such metric, recording rule or setting:\n" + "\n".join(unknown)


def test_the_page_of_compatibility_tells_the_truth():
    known = exposed()
    assert len(compatibility("yes")) > 30 and len(compatibility("no")) > 30
    assert sorted(compatibility("yes") - set(known)) == [] and sorted(compatibility("no") & set(known)) == []
    missing = {f for f in without_counterpart() if f in known}
    assert not missing, f"litellm_dashboards.py says that weir has not: {missing}"


KEY = "hashed_api_key, api_key_alias"
KEY4 = f"{KEY}, team, team_alias"
SPEND = f"end_user, {KEY}, model, team, team_alias, user, user_email, client_ip, user_agent, model_id"
TOKENS = f"end_user, {KEY}, model, team, team_alias, user, user_email, requested_model, model_id"
OF_A_DEPLOYMENT = "litellm_model_name, model_id, api_base, api_provider"
AT_A_DEPLOYMENT = f"requested_model, {OF_A_DEPLOYMENT}"
LIMITS = f"model_group, api_provider, api_base, litellm_model_name, {KEY}, model_id"
CACHE = f"model, {KEY4}, end_user, user, model_id"
UPSTREAM = f"model, {KEY4}, requested_model, end_user, user, model_id"
FALLBACKS = f"requested_model, fallback_model, {KEY4}, exception_status, exception_class, model_id"
# Types and labels of LiteLLM 1.81.12's families, in its order; dashboards made for it ask by them.
LITELLM = {
    "litellm_proxy_total_requests_metric_total": ("counter", f"end_user, {KEY}, requested_model, team, team_alias, user, status_code, user_email, route, "
                                                  "client_ip, user_agent, model_id"),
    "litellm_proxy_failed_requests_metric_total": ("counter", f"end_user, {KEY}, requested_model, team, team_alias, user, user_email, exception_status, "
                                                   "exception_class, route, client_ip, user_agent, model_id"),
    "litellm_spend_metric_total": ("counter", SPEND), "litellm_requests_metric_total": ("counter", SPEND),
    **{f"litellm_{kind}_tokens_metric_total": ("counter", TOKENS) for kind in ("total", "input", "output")},
    **{f"litellm_deployment_{kind}_total": ("counter", f"{AT_A_DEPLOYMENT}, {KEY4}, client_ip, user_agent")
       for kind in ("total_requests", "success_responses")},
    "litellm_deployment_failure_responses_total": ("counter", f"{AT_A_DEPLOYMENT}, exception_status, exception_class, {KEY4}, client_ip, user_agent"),
    "litellm_deployment_cooled_down_total": ("counter", f"{OF_A_DEPLOYMENT}, exception_status"),
    **{f"litellm_deployment_{kind}_fallbacks_total": ("counter", FALLBACKS) for kind in ("successful", "failed")},
    "litellm_llm_api_failed_requests_metric_total": ("counter", f"end_user, {KEY}, model, team, team_alias, user, model_id"),
    **{f"litellm_{kind}_metric_total": ("counter", CACHE) for kind in ("cache_hits", "cache_misses", "cached_tokens")},
    "litellm_request_total_latency_metric": ("histogram", f"end_user, {KEY}, requested_model, team, team_alias, user, model, model_id"),
    **{f"litellm_llm_api_{kind}_metric": ("histogram", UPSTREAM) for kind in ("latency", "time_to_first_token")},
    "litellm_overhead_latency_metric": ("histogram", LIMITS),
    "litellm_deployment_latency_per_output_token": ("histogram", f"{OF_A_DEPLOYMENT}, {KEY4}"),
    **{f"litellm_{kind}": ("gauge", KEY) for kind in ("remaining_api_key_budget_metric", "api_key_max_budget_metric",
                                                      "api_key_budget_remaining_hours_metric")},
    **{f"litellm_remaining_{kind}_metric": ("gauge", LIMITS) for kind in ("requests", "tokens")},
    **{f"litellm_deployment_{kind}": ("gauge", OF_A_DEPLOYMENT) for kind in ("state", "tpm_limit", "rpm_limit")},
}


def test_litellms_families_have_its_types_and_labels():
    have = {name: (kind, names.strip()) for name, kind, names in rows()}
    other = {name: (have.get(name), wanted) for name, wanted in LITELLM.items() if have.get(name) != wanted}
    assert len(LITELLM) == 30 and not other, other
    for stale, name in (("litellm_total_tokens_total", "litellm_total_tokens_metric_total"), ("litellm_remaining_requests", "litellm_remaining_requests_metric"),
                        ("litellm_remaining_tokens", "litellm_remaining_tokens_metric")):
        assert have[stale] == have[name]


def test_the_search_finds_names():
    """... or the test above could not fail."""
    found = {name for _, _, name, _ in named()}
    assert {"litellm_requests_total", "weir_settings", "process_open_fds"} <= found
    assert [n for n in NAME.findall('sum(weir_nothing_total{a="b"}) / job:weir_x:rate5m')] == ["weir_nothing_total", "job:weir_x:rate5m"]
    assert not is_known("weir_nothing_total", sample_names()) and is_known("weir_engine_*", sample_names())


@pytest.mark.parametrize("name", sorted(ELSE))
def test_what_is_listed_here_is_still_needed(name):
    assert any(name == found for _, _, found, _ in named()), f"{name} is named nowhere any more: take it out of ELSE"
