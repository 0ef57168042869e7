#!/usr/bin/env python3
"""The failover suite: every fault of faults.py against single and grouped deployments, plain and as a stream.

One weir, one simulated provider (and a few more for faults of connections), and for every cell of the table models of its own, so that no
cell sees another one's cooldowns. For each cell requests are sent, first one after another, then at once; then what the callers saw is
compared with the promise, and the attempts that the provider counted with those in the log and in /metrics. One line a cell; exit 1 when
any of them differs.

  make failover                     the whole table
  tests/failover/run.py --quick     some of it
  tests/failover/run.py --only hang --only 429
"""
import argparse
import collections
import concurrent.futures
import contextlib
import json
import pathlib
import re
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import faults  # noqa: E402  pylint: disable=wrong-import-position
from harness import Gateway, Mock, Raw, chat_body, config, model, request, wait_for  # noqa: E402  pylint: disable=wrong-import-position

# One by one until a dead deployment must be out of rotation, so that none of those at once has an excuse.
ONE_BY_ONE = {"single": 4, "group": 6, "fallback": 4, "rest": 6}
AT_ONCE = {"single": 3, "group": 4, "fallback": 3, "rest": 4}
DELAY_S = faults.TIMEOUT_S * 0.7  # a caller that waited longer than this was delayed
CELLS_AT_ONCE = 12
PATIENCE_S = 30


# ---- providers ----

class FaultyMock(Mock):
    """A weir mock with a control port, which its faults leave alone."""

    def __init__(self, *words):
        super().__init__("--control-port", "0", *words)

    def __enter__(self):
        super().__enter__()
        found = wait_for(lambda: re.search(r"control port +(\d+)", self.said("stdout")))
        self.control = int(found.group(1))
        return self

    def tell(self, method, path, body=b""):
        with Raw("127.0.0.1", self.control) as raw:
            raw.send(request(method, path, body, {"connection": "close"}))
            answer = raw.answer()
        assert answer.status == 200, answer.text
        return answer.json

    def set_fault(self, name, spec):
        self.tell("POST", "/mock/fault", json.dumps({"fault": spec, "model": name}).encode())

    def stats(self):
        return self.tell("GET", "/mock/stats")


class NoListener:
    """A port that is taken, but where nothing listens: connections are refused."""

    def __enter__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"
        return self

    def __exit__(self, *_):
        self.socket.close()


# ---- cells ----

Seen = collections.namedtuple("Seen", "status kind took_s request_id retry_after")


class Cell:
    def __init__(self, fault, setup, fallback_table=None):
        self.fault, self.setup, self.fallback_table = fault, setup, fallback_table
        self.stream = setup.endswith("-stream")
        self.shape = setup.split("-")[0]
        self.promise = fault.stream if self.stream else fault.plain
        self.name = f"{fault.name}.{setup}"
        self.bad, self.good = f"{self.name}.bad", [f"{self.name}.good{n}" for n in (1, 2)]
        self.grouped = self.shape in ("group", "rest")
        if not self.grouped:
            self.good = self.good[:1] if fallback_table else []
        self.seen, self.wrong = [], []
        self.provider = None

    def models(self, shared):
        def entry(name, deployment, base, **params):
            return model(name, base, f"openai/{deployment}", {"id": deployment}, **params)

        yield entry(self.name, self.bad, self.provider.base, order=1, **self.fault.params)
        for name in self.good:
            yield entry(self.name if self.grouped else f"{self.name}.other", name, shared.base,
                        **({"order": 2} if self.grouped else {}))

    # -- asking --

    def ask(self, gateway):
        body = json.dumps(chat_body(self.name, **({"stream": True} if self.stream else {}))).encode()
        began = time.monotonic()
        with gateway.connect(PATIENCE_S) as raw:
            raw.send(request("POST", "/v1/chat/completions", body, {"connection": "close"}))
            answer = raw.answer("POST")
        return Seen(answer.status, kind_of(answer, self.stream), time.monotonic() - began, answer["x-request-id"],
                    answer["retry-after"])

    def one_by_one(self, gateway, count):
        for _ in range(count):
            self.seen.append(self.ask(gateway))

    def run(self, gateway):
        self.one_by_one(gateway, ONE_BY_ONE[self.shape])
        if self.shape == "rest":
            self.wait_out(gateway)
        else:
            self.at_once(gateway)

    def tries(self):
        """Attempts at the faulty deployment so far."""
        return self.provider.stats()["models"].get(self.bad, {}).get("requests", 0)

    def wait_out(self, gateway):
        """It rests, one request tries it and fails; then it is well again, and is found out to be."""
        before, patience = self.tries(), time.monotonic() + 6 * faults.COOLDOWN_S
        self.at_once(gateway)
        self.expect(self.tries() == before, f"{self.tries() - before} attempts at a deployment that rests")
        time.sleep(faults.COOLDOWN_S)
        self.at_once(gateway)
        self.expect(self.tries() == before + 1, f"{self.tries() - before} attempts at a half-open deployment instead of 1")
        self.provider.set_fault(self.bad, "none")
        while self.tries() <= before + 1 and time.monotonic() < patience:
            time.sleep(0.5)
            self.one_by_one(gateway, 1)
        self.expect(self.tries() > before + 1, "it never came back into rotation")
        known = self.tries()
        self.one_by_one(gateway, 3)
        self.expect(self.tries() == known + 3, f"{self.tries() - known} of 3 requests went to the deployment that is well again")

    def at_once(self, gateway):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE[self.shape]) as pool:
            self.seen += pool.map(lambda _: self.ask(gateway), range(AT_ONCE[self.shape]))

    # -- judging --

    def expect(self, holds, what):
        if not holds:
            self.wrong.append(what)

    def judge_callers(self):
        first, promise, rests = self.seen[0], self.promise, faults.CLASSES[self.promise.kind].rests
        helped = self.good and faults.CLASSES[promise.kind].other or (
            self.fallback_table and promise.kind == "request")
        if promise.kind == "fine" or helped:
            wanted = {(200, "whole")}
        else:
            wanted = {(promise.status, promise.body)}
        self.expect((first.status, first.kind) in wanted,
                    f"the first caller saw {first.status} {first.kind} instead of {show(wanted)}")
        later = set(wanted)
        if rests and not helped:  # out of rotation: another deployment answers, or weir says that none is left
            later |= {(200, "whole")} if self.good else {(429, "json"), (503, "json")}
        odd = {(s.status, s.kind) for s in self.seen} - later
        self.expect(not odd, f"callers saw {show(odd)}, not only {show(later)}")
        delayed = sum(s.took_s > DELAY_S for s in self.seen)
        bound = faults.ALLOWED_FAILS + 1 + (self.shape == "rest")  # and the one that tries it again
        if promise.kind != "fine":
            self.expect(delayed <= bound, f"{delayed} callers were delayed; at most {bound} may be")
        alone = self.shape == "single" and faults.CLASSES[promise.kind].same
        if alone and self.fault.wait_s:
            self.expect(first.took_s >= self.fault.wait_s,
                        f"Retry-After was not waited for: {first.took_s:.2f} s instead of {self.fault.wait_s}")

    def judge_log(self, records, attempts):
        """records: of event "request", by id; attempts: lines of event "attempt", counted by id."""
        ids = [s.request_id for s in self.seen]
        self.expect(len(set(ids)) == len(ids) and None not in ids, "request ids are missing or came twice")
        total = 0
        for at, s in enumerate(self.seen):
            mine = records.get(s.request_id, [])
            self.expect(len(mine) == 1, f"{len(mine)} records of a request instead of 1")
            if len(mine) != 1:
                continue
            r = mine[0]
            made = r.get("attempts") or 0
            total += made
            self.expect(r.get("http_status") == s.status, f"the log says {r.get('http_status')}, the caller saw {s.status}")
            self.expect((r["status"] == "success") == (s.kind == "whole"), f"the log says {r['status']}, the caller saw {s.kind}")
            self.expect(made or s.retry_after, "a caller for whom nothing was tried was not told when to come back")
            self.expect(attempts[s.request_id] == max(made - 1, 0),
                        f"{attempts[s.request_id]} lines of failed attempts in the log, with attempts={made}")
            if at == 0:
                wanted = faults.first_attempts(self.promise, self.setup, bool(self.fallback_table))
                self.expect(made == wanted, f"{made} attempts for the first request instead of {wanted}")
        return total

    def judge_counts(self, gateway_metrics, in_log, counted):
        """counted: attempts by deployment, as the providers counted them; None where a provider cannot count."""
        metric = lambda name, d: gateway_metrics.total(f"litellm_deployment_{name}", model_id=d)  # noqa: E731
        by_deployment = {d: metric("total_requests_total", d) for d in (self.bad, *self.good)}
        for d, have in by_deployment.items():
            if counted[d] is not None:
                self.expect(have == counted[d], f"/metrics counts {have:.0f} attempts at {d}, the provider {counted[d]}")
            parts = metric("success_responses_total", d) + metric("failure_responses_total", d)
            self.expect(parts == have, f"successes and failures at {d} are {parts:.0f} in /metrics, its requests {have:.0f}")
        self.expect(sum(by_deployment.values()) == in_log,
                    f"attempts: {in_log} in the log, {sum(by_deployment.values()):.0f} in /metrics")
        asked = gateway_metrics.total("litellm_requests_total", model=self.name)
        self.expect(asked == len(self.seen), f"litellm_requests_total is {asked:.0f}, requests were {len(self.seen)}")
        if faults.CLASSES[self.promise.kind].rests and self.shape == "group":
            bound = faults.ALLOWED_FAILS + 1
            self.expect(by_deployment[self.bad] <= bound,
                        f"{by_deployment[self.bad]:.0f} attempts at the dead deployment; at most {bound} may be made")
        self.counts = (sum(v or 0 for v in counted.values()), in_log, int(sum(by_deployment.values())))

    def line(self, records):
        saw = collections.Counter(f"{s.status} {s.kind}" for s in self.seen)
        mine = [r for s in self.seen for r in records.get(s.request_id, [])]
        log = collections.Counter(r["status"] + (":" + r["error"]["type"] if r.get("error") else "") for r in mine)
        return {"fault": self.fault.name, "setup": self.setup, "saw": dict(saw), "mock": self.counts[0], "log_attempts": self.counts[1],
                "metrics": self.counts[2], "slowest_s": round(max(s.took_s for s in self.seen), 3),
                "log": dict(log), "wrong": sorted(set(self.wrong))}


def show(pairs):
    return " or ".join(sorted(f"{status} {kind}" for status, kind in pairs))


def kind_of(answer, stream):
    """What a caller saw:
    whole   the answer
    json    an error as the API words it; html, other: an error in other words
    event   a stream that breaks off with an error event; told: one whose error event is the provider's own, its framing whole
    cut     a connection that ended early, without a word
    passed  something broken that was passed off as whole
    """
    if answer.status != 200:
        with contextlib.suppress(ValueError):
            if answer.complete and isinstance(answer.json.get("error"), dict):
                return "json"
        return "html" if answer.complete and b"<html>" in answer.body else "other" if answer.complete else "cut"
    if not stream:
        with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
            if answer.complete and answer.json["choices"][0]["finish_reason"] and answer.json["usage"]:
                return "whole"
        return "passed" if answer.complete else "cut"
    if any(e.startswith('{"error"') for e in answer.events):
        return "told" if answer.complete else "event"
    whole = answer.events[-1:] == ["[DONE]"] and '"finish_reason":"stop"' in answer.text
    return "cut" if not answer.complete else "whole" if whole else "passed"


# ---- the run ----

def cells_of(options):
    known = {f.name: f for f in faults.FAULTS}
    cells = [Cell(f, setup) for f in faults.FAULTS for setup in faults.SETUPS]
    for name, table in faults.FALLBACKS:
        cells += [Cell(known[name], setup, table) for setup in ("fallback", "fallback-stream")]
    cells += [Cell(known[name], setup) for name, setup in faults.RESTS]
    if options.quick:
        cells = [c for c in cells if (c.fault.name, c.setup) in faults.QUICK]
    if options.only:
        cells = [c for c in cells if any(word in c.name for word in options.only)]
    return cells


def start_providers(cells, stack):
    """Gives each cell its faulty provider; returns the one that is shared."""
    shared, own = stack.enter_context(FaultyMock()), stack.enter_context(FaultyMock())
    for cell in cells:
        where, spec = cell.fault.where, cell.fault.spec
        if where == "port":
            cell.provider = stack.enter_context(FaultyMock("--fault", spec))
            continue
        cell.provider = stack.enter_context(NoListener()) if where == "none" else own if where == "own" else shared
        if spec:
            cell.provider.set_fault(cell.bad, spec)
    return shared


def settings_of(cells, shared):
    tables = collections.defaultdict(list)
    for cell in cells:
        if cell.fallback_table:
            tables[cell.fallback_table].append({cell.name: [f"{cell.name}.other"]})
    return config(*(m for cell in cells for m in cell.models(shared)),
                  router_settings={"num_retries": faults.NUM_RETRIES, "allowed_fails": faults.ALLOWED_FAILS,
                                   "cooldown_time": faults.COOLDOWN_S, "timeout": faults.TIMEOUT_S,
                                   "stream_timeout": faults.TIMEOUT_S, **tables},
                  weir_settings={"series_budget": 100000})


def run_cells(cells, gateway):
    """CELLS_AT_ONCE of them at a time, those that take longest first; a cell that could not be run has said why."""
    def run(cell):
        try:
            cell.run(gateway)
        except Exception as problem:  # pylint: disable=broad-except
            cell.wrong.append(f"a request got no answer: {type(problem).__name__} {problem}")

    with concurrent.futures.ThreadPoolExecutor(CELLS_AT_ONCE) as pool:
        list(pool.map(run, sorted(cells, key=lambda cell: cell.shape != "rest")))


def settle(gateway, mocks, wanted):
    """Waits until every request is in the log and no provider has one in hand."""
    def quiet():
        """all requests in the log, none in flight"""
        logged = sum(r["event"] == "request" for r in gateway.lines())
        return logged >= wanted and all(m.stats()["in_flight"] == 0 for m in mocks)

    with contextlib.suppress(AssertionError):  # what is missing is told cell by cell
        wait_for(quiet, 10, 0.05)


def attempts_counted(cell, stats):
    def of(mock, name):
        return stats[mock]["models"].get(name, {}).get("requests", 0)

    counted = {name: of(cell.shared, name) for name in cell.good}
    if cell.fault.where == "none":
        counted[cell.bad] = None  # nobody is there to count
    elif cell.fault.where == "port":
        counted[cell.bad] = stats[cell.provider]["connections"]["accepted"]
    else:
        counted[cell.bad] = of(cell.provider, cell.bad)
    return counted


def judge(cells, gateway, stats):
    records, attempts = collections.defaultdict(list), collections.Counter()
    for line in gateway.lines():
        if line["event"] == "request":
            records[line["request_id"]].append(line)
        elif line["event"] == "attempt":
            attempts[line["request_id"]] += 1
    metrics = gateway.metrics()
    rows = []
    for cell in cells:
        cell.counts = (0, 0, 0)
        if cell.seen:
            cell.judge_callers()
            cell.judge_counts(metrics, cell.judge_log(records, attempts), attempts_counted(cell, stats))
            rows.append(cell.line(records))
        else:
            rows.append({"fault": cell.fault.name, "setup": cell.setup, "saw": {}, "mock": 0, "log_attempts": 0, "metrics": 0,
                         "slowest_s": 0, "log": {}, "wrong": cell.wrong})
    known = {s.request_id for cell in cells for s in cell.seen}
    return rows, [r for r in records if r not in known]


def print_rows(rows):
    def words(counts):
        return ", ".join(f"{n}x {what}" for what, n in counts.items())

    table = [("fault", "set-up", "callers saw", "attempts", "slowest", "log", "")]
    table += [(r["fault"], r["setup"], words(r["saw"]), f"{r['mock']}/{r['log_attempts']}/{r['metrics']}", f"{r['slowest_s']:.2f} s",
               words(r["log"]), "DIFFERS" if r["wrong"] else "ok") for r in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip())


def check_docs():
    path = pathlib.Path(__file__).resolve().parents[2] / "docs" / "failover.md"
    if not all(table in path.read_text() for table in faults.docs().split("\n\n")):
        print("docs/failover.md does not have the table of tests/failover/faults.py: put in what run.py --docs prints")
        return False
    return True


def options_given():
    parser = argparse.ArgumentParser(description="Every fault against every set-up; exit 1 when a promise is not kept.")
    parser.add_argument("--quick", action="store_true", help="a dozen cells of the table")
    parser.add_argument("--only", action="append", metavar="WORD", help="cells whose name (fault.set-up) has this in it; may be repeated")
    parser.add_argument("--json", metavar="FILE", help="write the result of each cell there")
    parser.add_argument("--docs", action="store_true", help="print the tables of docs/failover.md and end")
    return parser.parse_args()


def main():
    options = options_given()
    if options.docs:
        print(faults.docs(), end="")
        return 0
    began, cells = time.monotonic(), cells_of(options)
    if not cells:
        print("no cell has such a name")
        return 2
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        shared = start_providers(cells, stack)
        for cell in cells:
            cell.shared = shared
        gateway = Gateway(folder, settings_of(cells, shared)).start()
        stack.callback(gateway.finish)
        run_cells(cells, gateway)
        mocks = {cell.provider for cell in cells if cell.fault.where != "none"} | {shared}
        settle(gateway, mocks, sum(len(cell.seen) for cell in cells))
        rows, strangers = judge(cells, gateway, {m: m.stats() for m in mocks})
    print_rows(rows)
    differ = [r for r in rows if r["wrong"]]
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    print(f"\nattempts: at the provider / in the log / in /metrics. {len(rows)} cells, {len(rows) - len(differ)} as promised, "
          f"{time.monotonic() - began:.0f} s.")
    for r in differ:
        print(f"\n{r['fault']}, {r['setup']}:")
        for what in r["wrong"]:
            print(f"  {what}")
    if strangers:
        print(f"\n{len(strangers)} requests in the log that nobody sent")
    return 1 if differ or strangers or not check_docs() else 0


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    sys.exit(main())
