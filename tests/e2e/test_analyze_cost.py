"""`weir analyze` --cost, --what-if, --providers and the phases of --performance against tests/reference/cost.py."""

import datetime
import json
import pathlib
import random
import re
import subprocess
import sys

import pytest

from harness import WEIR

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))
import cost as reference  # noqa: E402
import generate  # noqa: E402
from tags import TAGS, add_tags  # noqa: E402

CASES = [("weir", False, 1), ("weir", True, 2), ("litellm", True, 1)]


def weir(*args, status=0):
    done = subprocess.run([WEIR, "analyze", *map(str, args)], capture_output=True, check=False)
    assert done.returncode == status, (done.stdout[-500:], done.stderr[-2000:])
    return done


def report(*args, **more):
    return json.loads(weir(*args, "--format", "json", **more).stdout)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    made = {}

    def make(shape, traps, seed, days=7):
        key = (shape, traps, seed, days)
        if key not in made:
            path = str(tmp_path_factory.mktemp("log") / "requests.log")
            generate.write(path, shape=shape, lines=4000, seed=seed, traps=traps, span_s=days * 86400)
            add_tags(path, shape, random.Random(seed))
            made[key] = path
        return made[key]
    return make


@pytest.fixture(scope="module")
def prices(tmp_path_factory, log):
    """A table that has most (provider, upstream model) of a log exactly, and the same for the reference."""
    tables = {}

    def make(path):
        if path not in tables:
            names = sorted({f"{r.provider}/{r.upstream_model}" for r in reference.requests(path)
                            if r.provider and r.upstream_model})
            rates, table = {}, {}
            for number, name in enumerate(names):
                if number % 5 == 4:
                    continue
                rates[name] = {"input": 1_000_000 + 7 * number, "output": 3_000_000 + 11 * number}
                table[name] = {"input_cost_per_token": rates[name]["input"] / 1e12,
                               "output_cost_per_token": rates[name]["output"] / 1e12}
                if number % 2:
                    rates[name]["cached"] = 250_000 + number
                    table[name]["cache_read_input_token_cost"] = rates[name]["cached"] / 1e12
                if number % 3 == 0:
                    rates[name]["reasoning"] = 5_000_000
                    table[name]["output_cost_per_reasoning_token"] = 5e-6
            file = tmp_path_factory.mktemp("prices") / "prices.json"
            file.write_text(json.dumps(table))
            tables[path] = (str(file), rates, names)
        return tables[path]
    return make


def usd(pico):
    return pytest.approx(pico / 1e12, rel=1e-9, abs=2e-12)


def alike(text):
    """weir keeps texts apart that are not UTF-8, the reference once they are replaced: compared as one."""
    return text and re.sub("\ufffd+", "\ufffd", text)


def added(one, other):
    if one is None:
        return other
    total = {name: one[name] + other[name] for name in (
        "requests", "success", "total_tokens", "cost_usd", "failed_usd", "cancelled_usd")}
    total["usd_per_request"] = total["cost_usd"] / total["requests"]
    total["usd_per_success"] = total["cost_usd"] / total["success"] if total["success"] else None
    return total


def same_sum(mine, theirs, where):
    for name in ("requests", "success"):
        assert mine[name] == theirs[name], where
    assert mine["total_tokens"] == theirs["tokens"], where
    for name, key in (("cost_usd", "pico"), ("failed_usd", "failed_pico"), ("cancelled_usd", "cancelled_pico")):
        assert mine[name] == usd(theirs[key]), (where, name)
    for name, count in (("usd_per_request", "requests"), ("usd_per_success", "success")):
        assert mine[name] == (usd(theirs["pico"] / theirs[count]) if theirs[count] else None), (where, name)


@pytest.mark.parametrize("shape,traps,seed", CASES)
def test_spend_agrees_with_the_reference(log, prices, shape, traps, seed):
    path = log(shape, traps, seed)
    table, rates, names = prices(path)
    # What the table lacks is looked for in the built-in one: not here.
    lacking = [name for name in names if name not in rates]
    theirs = reference.spend(path, rates)
    for threads in ("1", "3"):
        mine = report(path, "--cost", "--prices", table, "--threads", threads)["cost"]
        same_sum(mine["total"], theirs, "total")
        assert len(theirs["by"]["tag"]) == len(TAGS) + 1
        for field in ("model", "provider", "key_alias", "user", "tag"):
            groups = {}
            for group in mine[f"by_{field}"]:
                key = alike(group[field])
                groups[key] = added(groups.get(key), group)
            assert set(groups) == set(map(alike, theirs["by"][field]))
            for key, group in groups.items():
                expected = [of for other, of in theirs["by"][field].items() if alike(other) == key]
                same_sum(group, {name: sum(of[name] for of in expected) for name in expected[0]}, (field, key))
            costs = [group["cost_usd"] for group in mine[f"by_{field}"]]
            assert costs == sorted(costs, reverse=True)
        retries = mine["retries"]
        assert (retries["requests"], retries["extra_attempts"], retries["attempt_lines"]) == (
            theirs["retried"], theirs["extra_attempts"], theirs["attempt_lines"])
        assert retries["attempts_usd"] == usd(theirs["attempts_pico"])
        saved = mine["saved"]
        assert saved["cached_tokens"] == theirs["cached_tokens"]
        assert saved["response_cache_hits"] == theirs["hits"]
        assert saved["response_cache_hits_unpriced"] == theirs["hits_unknown"]
        assert saved["response_cache_usd"] == usd(theirs["hits_pico"])
        unpriced = {(u["model"], u["provider"], u["upstream_model"]): (u["unpriced"], u["unpriced_tokens"])
                    for u in mine["unpriced"] if u["unpriced"]}
        free = {(u["model"], u["provider"], u["upstream_model"]): (u["free"], u["free_tokens"])
                for u in mine["unpriced"] if u["free"]}
        assert (unpriced, free) == (theirs["unpriced"], theirs["free"])
    assert lacking and theirs["retried" if shape == "weir" else "hits"]


def test_prompt_caches_saved_the_difference(log, tmp_path):
    path = log("weir", True, 2)
    names = {f"{r.provider}/{r.upstream_model}" for r in reference.requests(path) if r.provider and r.upstream_model}
    rates = {name: {"input": 2_000_000, "output": 1, "cached": 500_000} for name in names}
    table = tmp_path / "prices.json"
    table.write_text(json.dumps({name: {"input_cost_per_token": 2e-6, "output_cost_per_token": 1e-12,
                                        "cache_read_input_token_cost": 5e-7} for name in names}))
    theirs = reference.spend(path, rates)
    mine = report(path, "--cost", "--prices", table)["cost"]["saved"]
    assert theirs["prompt_cache_pico"] > 10**9
    assert mine["prompt_cache_usd"] == usd(theirs["prompt_cache_pico"])
    assert mine["cached_tokens_unpriced"] == theirs["cached_unpriced"]


@pytest.mark.parametrize("days", [0.02, 0.5, 4, 7, 12, 40])
def test_rates_and_projections(log, days):
    path = log("weir", False, 3, days)
    mine = report(path, "--cost")["cost"]
    for name, minutes in (("last_hour", 60), ("last_day", 1440), ("window", 0)):
        per_hour, hours = reference.rate(path, minutes)
        assert mine["rates"][name]["usd_per_hour"] == pytest.approx(per_hour, rel=1e-9, abs=1e-12), name
        assert mine["rates"][name]["hours"] == pytest.approx(hours, abs=1e-6), name
    last_us = max(r.time_us for r in reference.stamped(path))
    last = datetime.datetime.fromtimestamp(last_us / 1e6, datetime.timezone.utc)
    begin = datetime.datetime(last.year, last.month, 1, tzinfo=datetime.timezone.utc)
    end = datetime.datetime(last.year + last.month // 12, last.month % 12 + 1, 1, tzinfo=datetime.timezone.utc)
    spent = sum(map(reference.pico_of, (r for r in reference.stamped(path)
                                        if begin.timestamp() * 1e6 <= r.time_us < end.timestamp() * 1e6))) / 1e12
    for name, until_us, before in (("next_30_days", last_us + 30 * 24 * reference.HOUR_US, 0),
                                   ("month", round(end.timestamp()) * 10**6, spent)):
        method, ahead, low, high = reference.ahead(path, until_us)
        got = mine[name]
        assert got["method"] == method
        assert got["spent_usd"] == pytest.approx(before, rel=1e-9, abs=1e-11)
        for key, value in (("usd", ahead), ("low_usd", low), ("high_usd", high)):
            expected = None if value is None else pytest.approx(before + value, rel=1e-6, abs=1e-9)
            assert got[key] == expected, (name, key)


@pytest.mark.parametrize("shape,traps,seed", CASES)
def test_what_if_agrees_with_the_reference(log, prices, shape, traps, seed):
    path = log(shape, traps, seed)
    table, rates, names = prices(path)
    target = names[0]
    routes = [("gpt-4o*", target, rates[target]), ("*sonnet*", names[1], rates[names[1]])]
    text = ",".join(f"{pattern}={name}" for pattern, name, _ in routes)
    for args, theirs in ((("--what-if", text, "--prices", table), reference.what_if(path, routes, rates)),
                         (("--prices", table), reference.what_if(path, [], rates))):
        for threads in ("1", "3"):
            mine = report(path, *args, "--threads", threads)["what_if"]
            groups = {(g["model"], g["provider"], g["priced_as"]): g for g in mine["groups"]}
            assert set(groups) == set(theirs)
            for key, (count, tokens, now, then, unpriced, unknown) in theirs.items():
                group = groups[key]
                assert (group["requests"], group["total_tokens"]) == (count, tokens), key
                assert (group["unpriced_now"], group["unknown_then"]) == (unpriced, unknown), key
                assert group["now_usd"] == usd(now), key
                assert group["then_usd"] == pytest.approx(then / 1e12, rel=1e-9, abs=count * 1e-12), key
            assert mine["total"]["requests"] == sum(group[0] for group in theirs.values())
            assert mine["total"]["then_usd"] == pytest.approx(sum(group[3] for group in theirs.values()) / 1e12, rel=1e-9)


def test_what_if_says_what_is_wrong(log, tmp_path):
    path = log("weir", False, 1)
    bad = tmp_path / "bad.json"
    bad.write_text('{"a": {\n "input_cost_per_token": }}')
    for args, said in ((("--what-if", "gpt-4o"), b"--what-if: expected MODEL=MODEL"),
                       (("--what-if", "a=no-such"), b'no price is known for "no-such"'),
                       (("--prices", tmp_path / "none.json"), b"none.json"),
                       (("--prices", bad), b"bad.json:2:")):
        assert said in weir(path, *args, status=2).stderr
    text = weir(path, "--what-if", "gpt-4o=gpt-4o-mini", "--color", "never").stdout.decode()
    assert "gpt-4o-mini" in text and "another number of them" in text


def same_summary(mine, theirs, where):
    if theirs is None:
        assert not mine or mine["count"] == 0, where
        return
    assert mine["count"] == theirs["count"], where
    for name in ("p50", "p95"):
        assert mine[name] == pytest.approx(theirs[name] / 1000, rel=0.004, abs=0.0011), (where, name)


@pytest.mark.parametrize("shape,traps,seed", CASES)
def test_phases_agree_with_the_reference(log, shape, traps, seed):
    path = log(shape, traps, seed)
    theirs, hits = reference.phases(path)
    for threads in ("1", "3"):
        mine = report(path, "--performance", "--threads", threads)["phases"]
        assert mine["cache_hits_left_out"] == hits
        groups = {(g["model"], g["provider"]): g for g in mine["groups"]} | {None: mine["total"]}
        assert set(groups) == set(theirs)
        for key, group in theirs.items():
            assert groups[key]["requests"] == group["requests"]
            whole = sum(group["shares"].values())
            for name, share in group["shares"].items():
                assert groups[key]["shares"][name] == (pytest.approx(share / whole, abs=1e-8) if whole else None)
            for name in reference.PHASES:
                same_summary(groups[key].get(name), group[name], (key, name))
        gateway = theirs[None]["shares"]["queue"] + theirs[None]["shares"]["gateway"]
        assert mine["gateway_share"] == pytest.approx(gateway / sum(theirs[None]["shares"].values()), abs=1e-8)
        assert mine["verdict"].startswith("The time is the providers'")


@pytest.mark.parametrize("shape,traps,seed", CASES)
def test_providers_agree_with_the_reference(log, shape, traps, seed):
    path = log(shape, traps, seed)
    theirs, alone = reference.providers(path)
    assert len(theirs) >= 4
    for threads in ("1", "3"):
        mine = report(path, "--providers", "--threads", threads)["providers"]
        assert mine["with_one_provider"] == alone
        assert {m["model"] for m in mine["models"]} == set(theirs)
        for model in mine["models"]:
            groups = {(p["provider"], p["deployment"]): p for p in model["providers"]}
            assert set(groups) == set(theirs[model["model"]])
            for key, expected in theirs[model["model"]].items():
                got = groups[key]
                for name in ("requests", "success", "cancelled", "rate_limited", "timeouts", "total_tokens"):
                    assert got[name] == expected[name], (key, name)
                for name in ("usd_per_1k_tokens", "usd_per_request"):
                    assert got[name] == (None if expected[name] is None
                                         else pytest.approx(expected[name], rel=1e-9, abs=1e-12)), (key, name)
                for name in ("latency_ms", "ttft_ms", "tokens_per_second"):
                    same_summary(got[name], expected[name], (key, name))
                ended = expected["requests"] - expected["cancelled"]
                if ended:
                    low, high = reference.wilson(expected["success"], ended)
                    assert (got["success_rate_low"], got["success_rate_high"]) == pytest.approx((low, high), abs=1e-6)


def test_advice_is_for_the_faster_one(tmp_path):
    """llama3 at ollama-b: faster, as good, cheaper; mixtral's two differ in nothing."""
    lines = []
    for i in range(400):
        for model, provider, ms, price in (("llama3", "ollama-a", 1000, 0.02), ("llama3", "ollama-b", 620, 0.01),
                                           ("mixtral", "x", 800, 0.01), ("mixtral", "y", 800, 0.01)):
            if provider == "ollama-b" and i % 2:
                continue
            lines.append({"timestamp": f"2026-11-24T{i // 60:02}:{i % 60:02}:00.000Z", "event": "request", "model": model,
                          "provider": provider, "deployment": provider, "status": "failure" if i % 40 == 0 else "success",
                          "latency_ms": ms + (i * 7919) % 200, "total_tokens": 1000, "cost_usd": price})
    path = tmp_path / "requests.log"
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    models = {m["model"]: m for m in report(path, "--providers")["providers"]["models"]}
    assert (models["llama3"]["verdict"], models["llama3"]["best"], models["llama3"]["than"]) == (
        "route", "ollama-b", "ollama-a")
    assert models["llama3"]["p"] < 1e-20
    assert "50 % cheaper" in models["llama3"]["advice"]
    assert models["mixtral"]["verdict"] == "no_difference"
    text = " ".join(weir(path, "--providers", "--color", "never").stdout.decode().split())
    assert "route llama3 to ollama-b: than ollama-a it is" in text
    assert "no difference shown between x and y" in text


@pytest.mark.parametrize("section", ["--cost", "--performance", "--providers", "--what-if=gpt-4o*=gpt-4o-mini"])
def test_every_format_is_safe_and_complete(log, section):
    path = log("weir", True, 2)
    for form in ("table", "markdown", "csv", "json"):
        out = weir(path, section, "--format", form, "--color", "never").stdout
        assert not set(out) & (set(range(32)) - {10}), form
        assert out.decode()  # UTF-8
    markdown = weir(path, section, "--format", "markdown").stdout.decode()
    wanted = {"--cost": ["Spend", "Cost by model", "Without a price, or at $0", "To price them"],
              "--performance": ["Where the time goes", "The time is the providers'", "Phases by model, provider"],
              "--providers": ["gpt-4o by provider", "95 %"],
              "--what-if=gpt-4o*=gpt-4o-mini": ["What if", "the rest", "another number of them"]}
    for text in wanted[section]:
        assert text in markdown, text


def test_cost_by_tag(tmp_path):
    path = tmp_path / "requests.log"
    one = {"event": "request", "model": "m", "status": "success", "total_tokens": 10}
    tagged = [one | {"cost_usd": 3, "metadata": {"tags": ["prod", "batch", "prod"]}},
              one | {"cost_usd": 1, "metadata": {"tags": ["prod"]}}, one | {"cost_usd": 0.5}]
    path.write_text("".join(json.dumps(line) + "\n" for line in tagged))
    cost = report(path, "--cost")["cost"]
    assert [(g["tag"], g["cost_usd"], g["requests"]) for g in cost["by_tag"]] == [("prod", 4, 2), ("batch", 3, 1), (None, 0.5, 1)]
    assert cost["total"]["cost_usd"] == 4.5
    assert "Cost by tag (a request counts once for each of its tags)" in weir(path, "--cost").stdout.decode()
    path.write_text(json.dumps(one | {"cost_usd": 3}) + "\n")
    assert "Cost by tag" not in weir(path, "--cost").stdout.decode()


def test_nonsense_money_does_not_wrap(tmp_path):
    path = tmp_path / "requests.log"
    line = {"timestamp": "2026-11-24T01:00:00.000Z", "event": "request", "model": "m", "status": "failure", "cost_usd": 9e14}
    path.write_text((json.dumps(line) + "\n") * 40)
    for threads in ("1", "4"):
        got = report(path, "--cost", "--threads", threads)
        full = pytest.approx((2**64 - 1) / 1e12)
        assert got["total"]["cost_usd"] == got["groups"][0]["failed_cost_usd"] == full
        assert got["cost"]["total"]["failed_usd"] == got["cost"]["by_model"][0]["cost_usd"] == full


def test_a_log_without_requests_is_told_too(tmp_path):
    path = tmp_path / "empty.log"
    path.write_text('{"timestamp":"2026-11-24T01:00:00.000Z","event":"start"}\n')
    for section in ("--cost", "--performance", "--providers", "--what-if=gpt-4o=gpt-4o-mini"):
        for form in ("table", "markdown", "csv", "json"):
            assert "nan" not in weir(path, section, "--format", form).stdout.decode().lower(), (section, form)
    cost = report(path, "--cost")["cost"]
    assert cost["total"]["requests"] == 0 and cost["rates"]["last_hour"]["usd_per_hour"] is None
    assert cost["next_30_days"] == {"method": "none", "until": None, "spent_usd": 0.0, "usd": None, "low_usd": None,
                                    "high_usd": None, "days_known": 0}


@pytest.mark.parametrize("queue_ms,latency_ms,said", [
    (1, 1000, "The time is the providers'"), (100, 1000, "Most of the time is the providers', but"),
    (300, 1000, "A good part of the time is the gateway's"), (900, 1000, "Most of the time is the gateway's"),
    (0.5, 2, "Answers are so quick")])
def test_whose_fault_it_is(tmp_path, queue_ms, latency_ms, said):
    path = tmp_path / "requests.log"
    line = {"event": "request", "model": "m", "provider": "p", "status": "success", "latency_ms": latency_ms,
            "overhead_ms": queue_ms, "queue_ms": queue_ms}
    path.write_text((json.dumps(line) + "\n") * 20)
    phases = report(path, "--performance")["phases"]
    assert phases["verdict"].startswith(said)
    assert phases["gateway_share"] == pytest.approx(queue_ms / latency_ms, abs=1e-6)
    line.pop("overhead_ms"), line.pop("queue_ms")
    path.write_text((json.dumps(line) + "\n") * 20)
    assert "cannot be told" in report(path, "--performance")["phases"]["verdict"]
