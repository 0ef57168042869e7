"""A past for a Prometheus that has just begun: blocks of samples, made by promtool from OpenMetrics text before it starts.

For what no test can wait for (the same hour a week ago, six hours of growing memory) and what a healthy build of weir cannot be made to do
(an error of the kind that is a bug, a scrape of 240,000 samples). These series have the instance "history".
"""
import shutil
import subprocess
import time

LABELS = 'job="litellm",instance="history"'
HOUR_S, WEEK_S, STEP_S = 3600, 7 * 86400, 60


def steps(begin_s, end_s):
    """Moments before now, oldest first."""
    return range(-begin_s, -end_s + 1, STEP_S)


def growing(at_s):
    """A process that had 300 MB seven hours ago and has 1 GB now."""
    return 3e8 + 1e8 * (at_s + 7 * HOUR_S) / HOUR_S


# (name, type, more labels, moments, value at a moment before now)
LATELY = (8 * HOUR_S, 0)
SERIES = [
    ("job:litellm_spend_usd:increase1h", "gauge", None, (WEEK_S + HOUR_S, WEEK_S - HOUR_S), lambda at_s: 0.1),
    ("process_resident_memory_bytes", "gauge", LABELS, LATELY, growing),
    ("process_start_time_seconds", "gauge", LABELS, LATELY, lambda at_s: 1000),
    ("weir_errors", "counter", LABELS + ',error="internal"', LATELY, lambda at_s: max(0, 8 + at_s // 60)),
    ("weir_ready", "gauge", LABELS, LATELY, lambda at_s: 0),
    ("scrape_duration_seconds", "gauge", LABELS, LATELY, lambda at_s: 4.5),
    ("scrape_samples_post_metric_relabeling", "gauge", LABELS, LATELY, lambda at_s: 250000),
]


def openmetrics(now_s):
    lines = []
    for name, kind, labels, (begin_s, end_s), value in SERIES:
        lines.append(f"# TYPE {name} {kind}")
        sample = f"{name}{'_total' if kind == 'counter' else ''}{{{labels or 'job=' + chr(34) + 'litellm' + chr(34)}}}"
        lines += [f"{sample} {value(at_s)} {now_s + at_s}" for at_s in steps(begin_s, end_s)]
    return "\n".join([*lines, "# EOF", ""])


def make(folder):
    """Fills Prometheus's data folder, which must not be in use. The newest sample is of just now."""
    text = folder / "history.txt"
    folder.mkdir(parents=True, exist_ok=True)
    text.write_text(openmetrics(int(time.time()) - 2))
    done = subprocess.run([shutil.which("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
