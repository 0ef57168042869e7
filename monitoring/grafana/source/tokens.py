"""02: what is used, by whom, what it costs, and what the month will cost."""
from model import (BLUE, FAILURES, GREEN, ORANGE, PAGES, RED, YELLOW, bars, column, dashboard, drawn, lines, or_zero, rate, row, stat, steps, table,
                   to_logs, to_page)

SPEND = "litellm_spend_metric_total"
HOURLY = f"{rate(SPEND, '@dk')} * 3600"
PROJECTED = f"sum(rate({SPEND}{{@dk}}[1d])) * 86400 * on () days_in_month()"
GOOD = rate("litellm_requests_total", '@mp,status="success"')
NO_KEYS = "No virtual key has a budget"


def spent(by, over="$__range"):
    return f"topk(10, sum by ({by}) (increase({SPEND}{{@dk}}[{over}])))"


def used(kind, by=None):
    return rate("litellm_tokens_total", f'@mp,type="{kind}"', by)


AT_A_GLANCE = row(
    "What does it cost, and what will the month cost?", 4,
    stat("Cost per hour", "US dollars an hour at the present rate.", "the panels below name the model and the key.",
         "currencyUSD", HOURLY, width=4, thresholds=steps(base=BLUE)),
    stat("Spent in the time shown", "US dollars spent from the left edge of the page to its right.",
         "compare with the same time of another day: the panel Against last week.",
         "currencyUSD", f"sum(increase({SPEND}{{@dk}}[$__range]))", width=4, spark=False, thresholds=steps(base=BLUE)),
    stat("Month at this pace",
         "What this calendar month costs in full if all of it went like the last 24 hours. With less than a day of data it is too low.",
         "above the budget: see the keys. The budget for the alert stands in the recording rules (weir:month_budget_usd:objective).",
         "currencyUSD", PROJECTED, width=4, thresholds=steps(base=BLUE)),
    stat("Tokens per second", "Prompt and completion tokens a second.",
         "compare with requests: either there are more of them, or their prompts grew.",
         "suffix: tok/s", rate("litellm_tokens_total", '@mp,type=~"prompt|completion"'), width=4, thresholds=steps(base=BLUE), decimals=1),
    stat("Cached share of prompts", "Share of prompt tokens that the provider read from its own cache, mostly at a lower price.",
         "a fall means that the start of the prompts changes with each request: put what is constant first.",
         "percentunit", f"{used('cached')} / {used('prompt')}", width=4, thresholds=steps(base=BLUE), decimals=1, high=1),
    stat("Requests without a price", "Requests with tokens in the time shown for which no price is known: their cost is missing everywhere here.",
         "give the model a price (input_cost_per_token, docs/config.md), or 0 where it is your own machine.",
         "short", "sum(increase(weir_unpriced_requests_total{@mp}[$__range]))", width=4, spark=False, thresholds=steps((1, YELLOW)), decimals=0))

MONEY = row(
    "Where does the money go?", 9,
    lines("Cost per hour by model",
          "US dollars an hour by the model called upstream (LiteLLM's spend has no other); chosen models and providers only.",
          "one model grows: more requests, longer prompts, or a dear model as a fallback.",
          "currencyUSD", ("{{model}}", f"{rate(SPEND, '@dk', 'model')} * 3600"), width=12, stack="normal", side=True,
          links=[to_logs("model", "upstream_model")]),
    lines("Cost per hour by key", "US dollars an hour by the key's alias; None: requests without a key.",
          "ask the key's owner; give it a budget, or block it.",
          "currencyUSD", ("{{api_key_alias}}", f"{rate(SPEND, '@dk', 'api_key_alias')} * 3600"), width=12, stack="normal", side=True,
          links=[to_logs("api_key_alias", "key_alias"), to_page("weir-tokens", "This key only", key="api_key_alias")]),
    bars("Spent by model", "The ten models that cost most in the time shown.", "think of a cheaper model, or of the cache, for the first of them.",
         "currencyUSD", ("{{model}}", spent("model"))),
    bars("Spent by key", "The ten keys that cost most in the time shown.", "ask the key's owner; give it a budget.",
         "currencyUSD", ("{{api_key_alias}}", spent("api_key_alias"))),
    lines("Against last week",
          "Cost per hour now, and at the same hour a week ago (0 where there are no data of then). The alert on cost compares the same two.",
          "the model and the key above say why; a retry loop of one client is the usual cause.",
          "currencyUSD", ("now", f"sum(increase({SPEND}{{@dk}}[1h]))"),
          ("a week ago", or_zero(f"sum(increase({SPEND}{{@dk}}[1h] offset 1w))"))))

MONTH = row(
    "The month", 8,
    lines("The calendar month",
          "What the calendar month costs in full at the rate of the last day, and of the last week. Both are too low until they "
          "have a day, or a week, of data.",
          "the day above the week: spend is growing.",
          "currencyUSD", ("at the last day's pace", PROJECTED),
          ("at the last week's pace", f"sum(rate({SPEND}{{@dk}}[7d])) * 86400 * on () days_in_month()"), width=12),
    lines("30 days against the budget",
          "Of all keys and models, by the recording rules: 30 days at the last day's pace, and the budget that the alert knows.",
          "change the budget in the recording rules if it is wrong; else see who spends.",
          "currencyUSD", ("30 days at this pace", 'sum(job:litellm_spend_usd:projected_month{job=~"$job"})'),
          ("budget", "max(weir:month_budget_usd:objective)"), width=12))

TOKENS = row(
    "Which tokens, of whom?", 8,
    lines("Tokens by kind", "Tokens a second. cached is a part of prompt, reasoning a part of completion, so they are not stacked.",
          "prompt grows alone: someone sends whole documents or long histories.",
          "suffix: tok/s", ("{{type}}", rate("litellm_tokens_total", by="type"))),
    lines("Tokens by model", "Prompt and completion tokens a second by the model asked for.", "see which model grew.",
          "suffix: tok/s", ("{{model}}", rate("litellm_tokens_total", '@mp,type=~"prompt|completion"', "model")), stack="normal",
          links=[to_logs("model")]),
    lines("Tokens by key", "Tokens a second by the key's alias; of all providers.", "see which key grew; limit its tokens a minute.",
          "suffix: tok/s", ("{{api_key_alias}}", rate("litellm_total_tokens_metric_total", "@rk", "api_key_alias")), stack="normal",
          links=[to_logs("api_key_alias", "key_alias")]),
    lines("Tokens per request", "Mean prompt and completion of a request.",
          "longer prompts cost time to first token; longer answers cost time and money.",
          "short", ("prompt", f"{used('prompt')} / {GOOD}"), ("completion", f"{used('completion')} / {GOOD}")),
    lines("Cost of a million tokens", "US dollars for a million tokens, input and output together, by the model called upstream.",
          "a rise at the same prices: more output than before, or fewer tokens from the provider's cache.",
          "currencyUSD", ("{{model}}", drawn(f"{rate(SPEND, '@dk', 'model')} / {rate('litellm_total_tokens_metric_total', '@dk', 'model')} * 1e6", "model"))),
    lines("Not counted, not priced",
          "Tokens a second that weir had to estimate since the provider sent no count (all models), and requests a second without a price.",
          "estimates: ask the provider for usage in streams (stream_options). No price: give the model one.",
          "cps", ("estimated tokens", rate("weir_tokens_estimated_total", "@")), ("requests without a price", rate("weir_unpriced_requests_total"))))

CACHES = row(
    "What do caches save?", 8,
    lines("Answered from weir's cache",
          "Share of look-ups in the response cache that found an answer. No curve: it is off, or nothing was looked up.",
          "near 0: prompts never repeat, or the time to live is too short; then it only costs memory.",
          "percentunit", ("share", f"{rate('litellm_cache_hits_metric_total', '@dk')} / ({rate('litellm_cache_hits_metric_total', '@dk')} + "
                          f"{rate('litellm_cache_misses_metric_total', '@dk')})"), high=1),
    lines("Tokens that were not bought", "Tokens a second of answers from weir's cache.", "0: the cache is off or does not help.",
          "suffix: tok/s", ("{{model}}", rate("litellm_cached_tokens_metric_total", "@dk", "model")), stack="normal"),
    lines("Cached share of prompts, by model",
          "Share of prompt tokens that the provider read from its own cache, by the model asked for. Models without prompts have no curve.",
          "a fall: the start of the prompts changes with each request.",
          "percentunit", ("{{model}}", drawn(f"{used('cached', 'model')} / {used('prompt', 'model')}", "model")), high=1, links=[to_logs("model")]))

BUDGETS = row(
    "Keys: requests, limits, budgets", 8,
    lines("Requests by key", "Requests a second by the key's alias; None: without a key. Of all providers.",
          "one key grows: ask its owner; a limit (rpm_limit) holds it.",
          "reqps", ("{{api_key_alias}}", rate("litellm_proxy_total_requests_metric_total", "@rk", "api_key_alias")), stack="normal",
          links=[to_logs("api_key_alias", "key_alias")]),
    lines("Failures by key", "Requests a second that were answered with an error, by key and status.",
          "401: a wrong or expired key. 429: its limit or budget. 400: what its owner sends is wrong.",
          "reqps", ("{{api_key_alias}}: {{exception_status}}",
                    or_zero(rate("litellm_proxy_failed_requests_metric_total", "@rk", "api_key_alias, exception_status"), "api_key_alias", "none")),
          links=[to_logs("api_key_alias", "key_alias", FAILURES)]),
    lines("Limits used", "Share of each key's limit that is used now, by kind of limit.",
          "at 100 % the key's requests are refused with 429: raise the limit, or tell the owner.",
          "percentunit", ("{{api_key_alias}}: {{rate_limit_type}}",
                          "max by (api_key_alias, rate_limit_type) (litellm_api_key_rate_limit_used_metric{@,api_key_alias=~\"$key\"}) / "
                          "max by (api_key_alias, rate_limit_type) (litellm_api_key_rate_limit_allowed_metric{@,api_key_alias=~\"$key\"} > 0)"),
          empty="No virtual key has a limit"),
    table("Keys with a budget", "What each virtual key with a budget may still spend, and when its budget starts again.",
          "raise the budget, or tell the owner before requests are refused with 429.",
          {"api_key_alias": "Key"},
          ("Left", 'min by (api_key_alias) (litellm_remaining_api_key_budget_metric{@,api_key_alias=~"$key"})',
           column("Left", "currencyUSD", steps((1, ORANGE), (10, GREEN), base=RED))),
          ("Budget", 'max by (api_key_alias) (litellm_api_key_max_budget_metric{@,api_key_alias=~"$key"})', column("Budget", "currencyUSD")),
          ("Starts again in", 'min by (api_key_alias) (litellm_api_key_budget_remaining_hours_metric{@,api_key_alias=~"$key"})',
           column("Starts again in", "h")), width=12, empty=NO_KEYS),
    lines("Share of the budget left", "By key: 1 is untouched, 0 is used up.", "raise the budget, or tell the owner.",
          "percentunit", ("{{api_key_alias}}", 'min by (api_key_alias) (litellm_remaining_api_key_budget_metric{@,api_key_alias=~"$key"}) / '
                          'max by (api_key_alias) (litellm_api_key_max_budget_metric{@,api_key_alias=~"$key"})'),
          width=12, empty=NO_KEYS, high=1))

PAGE = dashboard(PAGES[1][0], ("datasource", "logs", "job", "instance", "model", "provider", "key", "deployment"),
                 (AT_A_GLANCE, MONEY, MONTH, TOKENS, CACHES, BUDGETS), refresh="1m", time_from="now-24h")
