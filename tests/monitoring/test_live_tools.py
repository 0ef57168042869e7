"""What the live tests stand on: that the copies which run differ from what is shipped in targets and intervals only, and that LiteLLM's table is whole."""
import shutil
import subprocess

import litellm_dashboards
import live
import pytest
import yaml
from live import SHIPPED, copy_of_config, differences, needs_tool, with_commented_jobs, with_intervals

NOBODY = ["127.0.0.1:1"]
TARGETS = {"litellm": ["127.0.0.1:4"], "prometheus": NOBODY, "alertmanager": NOBODY, "alertmanagers": NOBODY}


def test_differences():
    one = {"a": [1, {"b": 2}], "c": 3}
    assert differences(one, {"a": [1, {"b": 2}], "c": 3}) == []
    assert differences(one, {"a": [1, {"b": 4}], "c": 3}) == [("a", 1, "b")]
    assert differences(one, {"a": [1, {"b": 2}, 5]}) == [("a", 2), ("c",)]
    assert with_intervals({"interval": "30s", "x": [{"scrape_interval": "10s", "y": 1}]}, "1s") == {"interval": "1s", "x": [{"scrape_interval": "1s", "y": 1}]}


def test_the_copy_of_the_configuration(tmp_path):
    copied = yaml.safe_load(copy_of_config(tmp_path / "prometheus", TARGETS).read_text())
    shipped = yaml.safe_load((SHIPPED / "prometheus/prometheus.yml").read_text())
    changed = {path[-1] if isinstance(path[-1], str) else path[-2] for path in differences(shipped, copied)}
    assert changed == {"scrape_interval", "scrape_timeout", "evaluation_interval", "targets"}
    assert [job["static_configs"][0]["targets"] for job in copied["scrape_configs"] if job["job_name"] == "litellm"] == [TARGETS["litellm"]]
    for path in (SHIPPED / "prometheus/rules").glob("*.yml"):
        rules = yaml.safe_load((tmp_path / "prometheus/rules" / path.name).read_text())
        assert {where[-1] for where in differences(yaml.safe_load(path.read_text()), rules)} <= {"interval"}


def test_a_change_that_is_not_allowed_is_refused(tmp_path, monkeypatch):
    def too_much(tree, interval):
        changed = with_intervals(tree, interval)
        return {**changed, "rule_files": []} if isinstance(tree, dict) and "rule_files" in tree else changed

    monkeypatch.setattr(live, "with_intervals", too_much)
    with pytest.raises(AssertionError, match="rule_files"):
        copy_of_config(tmp_path / "prometheus", TARGETS)


def test_jobs_in_comments_are_right():
    """The job of `weir export` is shipped in comments: without them it is a job as the others."""
    for name in ("prometheus.yml", "prometheus.docker.yml"):
        text = (SHIPPED / "prometheus" / name).read_text()
        jobs = {job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]}
        with_export = {job["job_name"] for job in yaml.safe_load(with_commented_jobs(text, {"weir-export"}))["scrape_configs"]}
        assert with_export == jobs | {"weir-export"}


@needs_tool("promtool")
def test_the_copy_is_valid(tmp_path):
    path = copy_of_config(tmp_path / "prometheus", {**TARGETS, "weir-export": NOBODY})
    done = subprocess.run([shutil.which("promtool"), "check", "config", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_tool("promtool")
def test_litellms_queries_are_queries(tmp_path):
    """Each of them parses, none stands there twice, and most are expected to find something."""
    asked = litellm_dashboards.queries()
    assert len({q.expr for q in asked}) == len(asked) > 150
    assert sum(not q.reason for q in asked) > 60
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [{"record": f"r{i}", "expr": q.expr} for i, q in enumerate(asked)]}]}))
    done = subprocess.run([shutil.which("promtool"), "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
