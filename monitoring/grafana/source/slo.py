"""06: what was promised, what is left of the error budgets, and how fast they go. Everything comes from the recording rules
(prometheus/rules/recording.yml), over all models and providers of a job; the objectives are set there and nowhere else."""
from model import BLUE, GREEN, ORANGE, PAGES, RED, YELLOW, bars, dashboard, drawn, lines, row, stat, steps, to_page
from overview import FAULT_SHARES, OUTCOME_COLORS, fixed

JOB = '{job=~"$job"}'
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")
BUDGET = steps((0, ORANGE), (0.25, YELLOW), (0.5, GREEN), base=RED)
# What the alerts compare: (severity, burn rate, long window, short window). Both windows must be above it.
ALERTS = (("page", 14.4, "1h", "5m"), ("page", 6, "6h", "30m"), ("ticket", 3, "1d", "2h"), ("ticket", 1, "3d", "6h"))


def burn(slo, window):
    return f"max(job:weir_{slo}:burnrate{window}{JOB})"


def at_a_glance(title, what, slo, good, promised, bad):
    """One line of numbers: kept so far, promised, left, burning, and when nothing will be left."""
    left = f"min(job:weir_{slo}:budget_remaining_ratio30d{JOB})"
    return row(
        title, 4,
        stat(f"{what}: kept, 30 days",
             "Share that kept the promise in the last 30 days, or since Prometheus began.", bad, "percentunit", good, width=4,
             thresholds=steps(base=BLUE), decimals=3, high=1),
        stat(f"{what}: promised", "The objective, as the recording rules have it.", "change it there if it is not what you promise.", "percentunit",
             promised, width=4, thresholds=steps(base=BLUE), decimals=2, spark=False),
        stat(f"{what}: budget left", "What is left of the 30 days' error budget: 100 % untouched, 0 used up, below 0 overspent.",
             "no risky changes until it has recovered; find what used it in the burn rates below.", "percentunit", left, width=4, thresholds=BUDGET,
             decimals=1),
        stat(f"{what}: burn rate, 1 h", "How fast the budget goes: 1 uses it up in exactly 30 days, 14.4 a fiftieth of it in an hour.",
             "above 14.4 the alert pages: treat it as an outage.", "short", burn(slo, "1h"), width=4,
             thresholds=steps((1, YELLOW), (6, ORANGE), (14.4, RED)), decimals=2),
        stat(f"{what}: burn rate, 3 d", "The slow burn over three days.", "above 1: not urgent, but the promise will not be kept.",
             "short", burn(slo, "3d"),
             width=4, thresholds=steps((1, ORANGE), (3, RED)), decimals=2),
        stat(f"{what}: used up in", "When nothing will be left at the pace of the last 6 hours; at least 0, at most a year.",
             "less than three days: act now.", "s",
             f"clamp({left} / (clamp_min({burn(slo, '6h')}, 0.01) / (30 * 86400)), 0, 365 * 86400)", width=4, spark=False,
             thresholds=steps((3 * 86400, ORANGE), (10 * 86400, GREEN), base=RED)))


def course(slo, what):
    return row(
        f"{what}: how fast does the budget go?", 8,
        lines(f"{what}: burn rates", "The budget's burn rate over each window. 1 (the line) uses it up in exactly 30 days.",
              "short windows rise first; an alert needs a long one as well, and ends soon after the short one has fallen.",
              "short", *((w, burn(slo, w)) for w in WINDOWS[:-1]), width=12, side=True, thresholds=steps((1, RED), base="transparent"), bound=True),
        lines(f"{what}: error budget over time", "What was left of the 30 days' budget at each moment.",
              "a steep step is an incident; a slope a lasting fault.",
              "percentunit", ("left", f"min(job:weir_{slo}:budget_remaining_ratio30d{JOB})"), width=12, low=None, high=1, bound=True,
              thresholds=steps((0.25, "transparent"), base=RED)))


def alerts(slo, what):
    """Each alert's two burn rates as shares of its threshold: 100 % in both, and it fires."""
    both = [(f"{severity} {factor}x: {long} and {short}",
             f'min(label_replace({burn(slo, long)}, "window", "long", "", "") or label_replace({burn(slo, short)}, "window", "short", "", "")) / {factor}')
            for severity, factor, long, short in ALERTS]
    return bars(f"{what}: how near are alerts?", "The smaller of an alert's two burn rates, as a share of its threshold. At 100 % it fires, "
                "if there is traffic enough.", "the alert's part in docs/runbooks.md says what to do.", "percentunit", *both, width=12,
                thresholds=steps((0.5, YELLOW), (1, RED)), high=1.2)


AVAILABILITY = at_a_glance("Availability: valid requests that are answered", "Availability", "availability", f"1 - max(job:weir_requests_bad:ratio_rate30d{JOB})",
                           "max(weir:availability:objective)", "the budget below says how bad.")
TTFT = at_a_glance("Time to first token: streams that begin within 2 s", "First token", "ttft", f"min(job:weir_ttft_good:ratio_rate30d{JOB})",
                   "max(weir:ttft:objective)", "Performance shows which model and provider.")

WHY = row(
    "Why?", 8,
    alerts("availability", "Availability"), alerts("ttft", "First token"),
    lines("Whose fault, as a share of requests", "What used the budget: provider_error and gateway_error count; client_error and cancelled do not.",
          "provider_error: Provider health. gateway_error: System health.",
          "percentunit", ("{{outcome}}", FAULT_SHARES), overrides=fixed(OUTCOME_COLORS),
          links=[to_page("weir-provider-health", "Provider health"), to_page("weir-system-health", "System health")]),
    lines("Not answered, by provider", "Share of valid requests that were not answered well, by provider.", "Provider health has the reason.",
          "percentunit", ("{{provider}}", 'max by (provider) (job_provider:weir_requests_bad:ratio_rate5m{job=~"$job",provider=~"$provider"})'),
          links=[to_page("weir-provider-health", "Health of this provider", provider="provider")]),
    lines("Not answered, by model", "Share of valid requests that were not answered well, by model.",
          "a fallback for the model would have kept the promise.",
          "percentunit", ("{{model}}", 'max by (model) (job_model:weir_requests_bad:ratio_rate5m{job=~"$job",model=~"$model"})'),
          links=[to_page("weir-performance", "Performance of this model", model="model")]),
    lines("First token, p95 by model", "95 of 100 streams had their first token within this time; the line is the promise.",
          "the model's provider or engine is slow.",
          "s", ("{{model}}", drawn('max by (model) (job_model:weir_ttft_seconds:p95_5m{job=~"$job",model=~"$model"})', "model")),
          width=12, thresholds=steps((2, RED), base="transparent"), bound=True, links=[to_page("weir-performance", "Performance of this model", model="model")]),
    lines("Traffic that counts", "Valid requests and streams a second. Little traffic makes rates jump: the alerts need a least number of requests.",
          "next to none: one failure is a large share; do not read much into it.",
          "reqps", ("valid requests", f"sum(job:weir_requests_valid:rate5m{JOB})"), ("streams", f"sum(job:weir_streams_valid:rate5m{JOB})"), width=12))

PAGE = dashboard(PAGES[5][0], ("datasource", "job", "instance", "model", "provider"),
                 (AVAILABILITY, course("availability", "Availability"), TTFT, course("ttft", "First token"), WHY), refresh="1m", time_from="now-24h")
