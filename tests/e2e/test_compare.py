"""`weir compare`: whom it asks and in which order, what it says of what it found, where it ends, and how it fails.

Differences here are many times what a busy machine adds, or none at all: no test hangs on milliseconds."""

import csv
import html.parser
import io
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

from harness import PATIENCE_S, WEIR, Process, config, delta, forever, model, usage_event, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENV = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY") and not k.startswith("LITELLM")}


def compare(url, *words, status=0):
    done = subprocess.run([WEIR, "compare", "--url", url, *map(str, words)], capture_output=True, check=False, text=True,
                          env=ENV, timeout=20 * PATIENCE_S)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


def compared(url, *words, **options):
    return json.loads(compare(url, "--format", "json", *words, **options).stdout)


def pair(report, metric):
    return next(c for c in report["comparisons"] if c["metric"] == metric)["pairs"][0]


def measured(report):
    return [m for m in report["measurements"] if m["phase"] == "measured"]


# ---- a server whose models differ as we like ----

class Kinds:
    """script(connection) for models by name: each gives (seconds before the first token, tokens) or a status that is no 200."""

    def __init__(self, infos=(), **kinds):
        self.kinds, self.infos = kinds, infos

    def answer(self, connection, asked):
        if asked.target.endswith("/model/info"):
            return connection.reply({"data": list(self.infos)}, "200 OK" if self.infos else "404 Not Found")
        if asked.target.endswith("/models"):
            return connection.reply({"data": [{"id": name} for name in self.kinds]})
        kind = self.kinds[asked.json["model"]]
        kind = kind(asked) if callable(kind) else kind
        if isinstance(kind, int):
            return connection.reply({"error": {"message": "no \x1b[31mway\x1b[0m", "code": kind}}, f"{kind} No")
        time.sleep(kind[0])
        first = f"data: {json.dumps(delta('a'))}\n\n".encode()
        rest = "".join(f"data: {json.dumps(event)}\n\n" for event in
                       [*[delta("b")] * (kind[1] - 1), delta(finish="stop"), usage_event(9, kind[1])]) + "data: [DONE]\n\n"
        chunks = b"".join(f"{len(data):x}\r\n".encode() + data + b"\r\n" for data in (first, rest.encode(), b""))
        # In one write: several would wait for each other's acknowledgements.
        return connection.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + chunks)

    def __call__(self, connection):
        forever(self.answer)(connection)


def info(name, provider, **prices):
    return {"model_name": name, "litellm_params": {"model": f"{provider}/{name}"}, "model_info": {"id": name, **prices}}


def chats(server):
    return [r for r in server.requests if r.target.endswith("/chat/completions")]


def prompt_of(asked):
    return asked.json["messages"][-1]["content"]


# ---- blocks ----

def test_every_block_asks_all_the_same_in_an_order_of_its_own(upstream):
    server = upstream(Kinds(a=(0, 3), b=(0, 3), c=(0, 3)))
    report = compared(server.base, "--models", "a", "b", "c", "-n", "12", "--warmup", "1", "--cold", "1", "--seed", "7")
    assert len(chats(server)) == 3 * 14 == report["requests"]
    blocks = {}
    for m in measured(report):
        blocks.setdefault(m["block"], []).append(m)
    assert len(blocks) == 12
    ids = {r.headers["x-request-id"]: r for r in chats(server)}
    orders, prompts = [], set()
    for trials in blocks.values():
        trials.sort(key=lambda m: m["position"])
        orders.append([m["model"] for m in trials])
        assert sorted(orders[-1]) == ["a", "b", "c"]
        asked = {prompt_of(ids[m["request_id"]]) for m in trials}
        assert len(asked) == 1  # the same prompt for all ...
        prompts |= asked
        assert [ids[m["request_id"]].json["model"] for m in trials] == orders[-1]
        starts = [m["started_ms"] for m in trials]
        assert starts == sorted(starts)
    assert len(prompts) == 12  # ... and another one in each block
    assert [sum(order[0] == name for order in orders) for name in "abc"] == [4, 4, 4]
    assert len({tuple(order) for order in orders}) > 2
    # Cold requests go over new connections; one connection for each model is kept.
    phases = [(m["phase"], m["new_connection"]) for m in report["measurements"]]
    assert [new for phase, new in phases if phase == "cold"] == [True] * 3
    assert [new for phase, new in phases if phase == "warm_up"] == [True] * 3
    assert not any(new for phase, new in phases if phase == "measured")
    assert all(m["cold_connect_ms"] > 0 for m in report["models"])


def test_equal_seeds_give_equal_orders_and_prompts(upstream):
    server = upstream(Kinds(a=(0, 2), b=(0, 2)))

    def asked(seed):
        first = len(chats(server))
        compare(server.base, "--models", "a", "b", "-n", "8", "--seed", seed)
        return [(r.json["model"], prompt_of(r)) for r in chats(server)[first:]]

    one, again, other = asked(5), asked(5), asked(6)
    assert one == again
    assert one != other


@pytest.mark.parametrize("words", [("--duet",), ("--concurrency", "4")])
def test_several_at_once(upstream, words):
    server = upstream(Kinds(a=(.05, 2), b=(.05, 2)))
    report = compared(server.base, "--models", "a", "b", "-n", "12", *words)
    assert report["blocks"] == 12
    spans = [(m["started_ms"], m["started_ms"] + m["latency_ms"]) for m in measured(report)]
    together = max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)
    assert together >= 2
    assert not any(m["new_connection"] for m in measured(report))


# ---- verdicts ----

def test_a_difference_is_found_and_said(upstream, tmp_path):
    server = upstream(Kinds(slow=(.06, 8), quick=(.001, 8)))
    files = {kind: tmp_path / f"r.{kind}" for kind in ("json", "csv", "md")}
    done = compare(server.base, "--models", "slow", "quick", "-n", "12", "--export", files["json"], "--seed", "3")
    report = json.loads(files["json"].read_text())
    assert report["schema"] == "weir.compare/1" and report["seed"] == 3 and report["primary_metric"] == "e2e"
    for metric in ("e2e", "ttft"):
        found = pair(report, metric)
        assert (found["a"], found["b"], found["verdict"], found["beyond_min_effect"]) == ("slow", "quick", "slower", True)
        assert found["p_holm"] < .05
        low, high = found["typical_ratio_ci95"]
        assert 1.05 < low <= found["typical_ratio"] <= high
    assert '"quick" is faster than "slow": its end-to-end time is typically' in done.stdout
    assert report["verdicts"][0] in " ".join(done.stdout.split())
    by_name = {m["name"]: m for m in report["models"]}
    assert by_name["slow"]["metrics"]["ttft"]["median_ms"] >= 60
    assert by_name["slow"]["metrics"]["e2e"]["p95_ms"] is None  # 12 requests carry no 95th percentile
    assert by_name["slow"]["metrics"]["e2e"]["p95_needs"] == 72
    assert "n < 72" in done.stdout
    assert compare(server.base, "--models", "slow", "quick", "-n", "8", "--fail-if-slower", "--export", files["csv"], status=1)
    rows = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
    total = next(r for r in rows if r["model"] == "quick" and r["metric"] == "e2e")
    assert total["against"] == "slow" and total["verdict"] == "faster" and float(total["ratio"]) < 1
    compare(server.base, "--models", "quick", "slow", "-n", "8", "--fail-if-slower", "--export", files["md"])
    assert "| E2E" in files["md"].read_text()


def test_no_difference_is_said_to_be_none(upstream):
    server = upstream(Kinds(a=(.02, 4), b=(.02, 4)))
    done = compare(server.base, "--models", "a", "b", "-n", "5")
    assert "No difference shown" in done.stdout and "6 are the least" in done.stdout
    report = compared(server.base, "--models", "a", "b", "-n", "10", "--min-effect", "90%")
    assert pair(report, "e2e")["verdict"] == "equivalent"
    assert "equivalent in end-to-end time" in report["verdicts"][0]


def test_failures_are_worse_than_any_time(upstream):
    turns = iter(range(10 ** 6))
    server = upstream(Kinds(steady=(.005, 4), shaky=lambda asked: (0, 4) if next(turns) < 4 or next(turns) % 5 == 0 else 429))
    report = compared(server.base, "--models", "steady", "shaky", "-n", "20")
    shaky = next(m for m in report["models"] if m["name"] == "shaky")
    assert shaky["limited_429"] == shaky["outcomes"]["http_429"] > 8
    assert shaky["ok"] + shaky["limited_429"] == 20
    assert pair(report, "e2e")["verdict"] == "faster"
    assert report["successes"][0]["p"] < .05
    said = " ".join(report["verdicts"] + report["remarks"])
    assert '"shaky" fails more often than "steady"' in said and "was limited (429)" in said
    assert "\x1b" not in compare(server.base, "--models", "steady", "shaky", "-n", "6", "--color", "never").stdout


def test_answers_of_other_lengths_are_compared_by_the_token(upstream):
    server = upstream(Kinds(brief=(.001, 3), wordy=(.001, 40)))
    report = compared(server.base, "--models", "brief", "wordy", "-n", "8")
    assert report["primary_metric"] == "normalized"
    assert "e2e" not in {c["metric"] for c in report["comparisons"]}
    assert report["drift"]["blocks_of_unequal_length"] == 8
    assert any("Answers differ in length in 8 of 8 blocks" in r for r in report["remarks"])


def test_more_than_two_are_corrected(upstream):
    server = upstream(Kinds(a=(.001, 3), b=(.05, 3), c=(.001, 3)))
    report = compared(server.base, "--models", "a", "b", "c", "-n", "12")
    total = next(c for c in report["comparisons"] if c["metric"] == "e2e")
    assert total["friedman_p"] < .05 and not total["nothing_shown"]
    assert [(p["a"], p["b"]) for p in total["pairs"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert all(p["p_holm"] >= p["p"] for p in total["pairs"])
    assert [p["verdict"] for p in total["pairs"] if "b" in (p["a"], p["b"])] == ["faster", "slower"]


# ---- whom to compare ----

def test_by_default_one_model_of_each_provider(upstream):
    infos = [info("first", "groq"), info("second", "groq"), info("wild-*", "azure"), info("third", "mistral"),
             info("vectors", "cohere", mode="embedding")]
    server = upstream(Kinds(infos, first=(0, 2), second=(0, 2), third=(0, 2)))
    report = compared(server.base, "-n", "2")
    assert [(m["name"], m["provider"]) for m in report["models"]] == [("first", "groq"), ("third", "mistral")]


def test_of_one_provider_its_first_models_and_of_a_plain_server_its_list(upstream):
    server = upstream(Kinds(a=(0, 2), b=(0, 2), c=(0, 2)))
    assert [m["name"] for m in compared(server.base, "-n", "2")["models"]] == ["a", "b", "c"]
    alone = upstream(Kinds(a=(0, 2)))
    assert 'offers only "a"' in compare(alone.base, "-n", "2", status=2).stderr


def test_models_of_a_configuration_with_prices(weir, mock, tmp_path):
    settings = config(model("one", mock.base, "openai/sim-fast", input_cost_per_token=.001, output_cost_per_token=.002),
                      model("two", mock.base, "groq/sim-fast", input_cost_per_token=.003, output_cost_per_token=.002))
    gateway = weir(settings)
    url = f"http://127.0.0.1:{gateway.port}"
    for words in ((), ("--config", gateway.config_path)):
        report = compared(url, "-n", "6", "--max-tokens", "4", *words)
        assert [m["name"] for m in report["models"]] == ["one", "two"]
        costs = [m["metrics"]["cost_per_1k"]["median_usd"] for m in report["models"]]
        assert 1 < costs[0] < costs[1] < 3
        trials = measured(report)
        for t in trials:
            price = .001 if t["model"] == "one" else .003
            assert t["cost_usd"] == pytest.approx(price * t["prompt_tokens"] + .002 * t["completion_tokens"])
        assert report["spent_usd"] == pytest.approx(sum(t["cost_usd"] for t in report["measurements"]))
        assert pair(report, "cost_per_1k")["verdict"] == "faster"  # less
        assert any("cost: cheaper" in v or "cost: dearer" in v for v in report["verdicts"])
    # What the client counted is what the gateway's log says it spent.
    log = sum(line["cost_usd"] for line in gateway.requests(2 * (6 + 3) * 2))
    assert log == pytest.approx(2 * report["spent_usd"])


def test_the_launcher_of_the_seed(upstream):
    server = upstream(Kinds(**{"llama3.1:8b": (0, 2), "qwen-coder": (0, 2)}))
    done = subprocess.run([ROOT / "scripts/profiling/compare-providers", "--url", server.base, "--models", "llama3.1:8b",
                           "qwen-coder", "--iterations", "4"], capture_output=True, check=False, text=True,
                          env={**ENV, "PATH": f"{pathlib.Path(WEIR).parent}:{os.environ['PATH']}"})
    if done.returncode == 3 and "not built" in done.stderr:
        pytest.skip("only this preset is built")
    assert done.returncode == 0, done.stderr
    assert "llama3.1:8b" in done.stdout and "over 4 blocks" in done.stdout


def test_its_log_is_one_that_weir_reads(upstream, tmp_path):
    server = upstream(Kinds([info("a", "groq"), info("b", "mistral")], a=(0, 3), b=500))
    log = tmp_path / "requests.log"
    compare(server.base, "-n", "6", "--warmup", "0", "--cold", "0", "--log", log, status=1)  # b never answers: exit 1
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == 12 and {line["provider"] for line in lines} == {"groq", "mistral"}
    assert sum(line["status"] == "failure" for line in lines) == 6
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)
    done = subprocess.run([WEIR, "analyze", log, "--format", "json"], capture_output=True, check=True, text=True)
    assert json.loads(done.stdout)["total"]["requests"] == 12


# ---- where it ends ----

@pytest.mark.parametrize("words, ended_by", [(("--budget-requests", 20), "budget_requests"), (("--budget-usd", ".02"), "budget_usd")])
def test_budgets_end_it_in_time(upstream, words, ended_by):
    prices = {"input_cost_per_token": 0, "output_cost_per_token": .0005}
    infos = [info("a", "x", **prices), info("b", "y", **prices)]
    server = upstream(Kinds(infos, a=(0, 2), b=(0, 2)))
    report = compared(server.base, "-n", "50", *words)  # each request costs $0.001
    assert report["ended_by"] == ended_by
    assert len(chats(server)) == report["requests"] == 20
    assert report["blocks"] == 10 - 3
    assert any("Stopped at the budget" in r for r in report["remarks"])


def test_a_budget_that_is_too_small(upstream):
    server = upstream(Kinds(a=(0, 2), b=(0, 2)))
    assert "the budget is spent before" in compare(server.base, "--models", "a", "b", "--budget-requests", "3", status=2).stderr


def test_stopping_early_is_labelled(upstream):
    server = upstream(Kinds(a=(.001, 2), b=(.03, 2)))
    report = compared(server.base, "--models", "a", "b", "-n", "200", "--stop-early", "--min-effect", "95%")
    assert report["ended_by"] == "stopped_early" and 30 <= report["blocks"] < 200 and report["blocks"] % 10 == 0
    assert any("not adjusted" in r for r in report["remarks"])


def test_an_interrupt_gives_the_report_so_far(upstream, tmp_path):
    server = upstream(Kinds(a=(.02, 2), b=(.02, 2)))
    run = Process(tmp_path, ["compare", "--url", server.base, "--models", "a", "b", "-n", "5000", "--format", "json"]).launch()
    wait_for(lambda: len(chats(server)) > 20)
    run.signal(signal.SIGINT)
    assert run.wait() == 0
    report = json.loads(run.said("stdout"))
    assert report["cut_short"] and report["ended_by"] == "interrupted" and report["blocks"] >= 3
    assert len(measured(report)) == 2 * report["blocks"]
    run.finish()


# ---- mistakes ----

@pytest.mark.parametrize("words, status, said", [
    (("--models", "a"), 2, "two are the least"),
    (("--models", "a", "a"), 2, "named twice"),
    (("a", "b"), 2, "name models with --models a b"),
    (("--min-effect", "5"), 2, "such as 5%"),
    (("--min-effect", "little"), 2, "--min-effect"),
    (("--budget-usd", "-1"), 2, "--budget-usd"),
    (("--models", "a", "b", "--export", "x.pdf"), 2, ".json, .csv, .md or .html"),
    (("--models", "a", "b", "--export", "/nonexistent/x.json", "-n", "1"), 3, "--export"),
    (("--models", "a", "nosuch", "-n", "1"), 3, '"nosuch" answered none of its first requests'),
    (("--models", "a", "b", "--html", "/nonexistent/x.html"), 3, "--html"),
    (("--models", "a", "b", "--log", "/nonexistent/x.log"), 3, "--log"),
    (("--config", "/nonexistent.yaml"), 3, "/nonexistent.yaml"),
])
def test_mistakes_are_told(upstream, words, status, said):
    server = upstream(Kinds(a=(0, 2), b=(0, 2), nosuch=404))
    assert said in compare(server.base, *words, status=status).stderr


def test_nobody_there():
    for words in ((), ("--models", "a", "b")):
        assert "refused" in compare("http://127.0.0.1:1", *words, status=3).stderr


# ---- the page ----

class Checked(html.parser.HTMLParser):
    """Well formed, and neither fetches nor runs anything."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.text = [], set(), []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "img", "link", "iframe", "object")
        assert not any(n.startswith("on") or n in ("src", "xlink:href") for n, _ in attrs)
        self.seen.add(tag)
        if tag not in ("meta", "br", "rect", "line", "circle", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("rect", "line", "circle", "path"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_and_safe(upstream, tmp_path):
    evil = "<script>alert(1)</script>\u202e"
    server = upstream(Kinds(**{"a": (.001, 3), evil: (.03, 3)}))
    page = tmp_path / "page.html"
    done = compare(server.base, "--models", "a", evil, "-n", "10", "--html", page)
    text = page.read_text()
    checked = Checked(text)
    assert {"table", "svg", "figure"} <= checked.seen
    assert "<script" not in text and "\u202e" not in text and "\u202e" not in done.stdout
    assert "is faster than" in "".join(checked.text)
