"""The gateway that the live tests watch: eight models over four providers, keys with budgets, a cache, fallbacks, retries; and its traffic.

    with Stack(folder) as stack:                      # providers, gateway, Alertmanager, Prometheus
        stack.traffic().run_for(60)
"""
import contextlib
import json
import pathlib
import re

import yaml
from harness import Gateway, Mock, Process, Upstream, config, forever, model, wait_for
from live import JOB, SHIPPED, Alertmanager, Kind, Prometheus, Traffic, copy_of_config, free_port, simulated

MASTER = "sk-live-master"
ALICE, BOB, POOR, HURRIED = "sk-live-alice", "sk-live-bob", "sk-live-poor", "sk-live-hurried"
KEYS = [
    {"key": ALICE, "key_alias": "alice", "team_id": "blue", "max_budget": 100, "budget_duration": "30d", "rpm_limit": 100000, "tpm_limit": 100000000},
    {"key": BOB, "key_alias": "bob", "max_budget": 5, "budget_duration": "1d"},
    {"key": POOR, "key_alias": "poor", "max_budget": 0.0000001, "budget_duration": "30d"},
    {"key": HURRIED, "key_alias": "hurried", "rpm_limit": 2},
]
PRICED = {"input_cost_per_token": 0.00000015, "output_cost_per_token": 0.0000006, "cache_read_input_token_cost": 0.00000007}
FREE = {"input_cost_per_token": 0, "output_cost_per_token": 0}
LIMITS = {"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "437",
          "x-ratelimit-limit-tokens": "200000", "x-ratelimit-remaining-tokens": "151000"}
SLOW_MS = 800

# What goes wrong for good at the first simulated provider: models of these upstream names.
FAULTS = "broken:status=503 worse:status=500 busy:status=429,retry-after=0"


def settings(openai, limited, ollama, vllm, llama, **more):
    """A configuration with these bases."""
    def info(name):
        return {"id": name}

    models = [
        model("gpt-main", openai, "openai/sim-fast", info("gpt-main-a"), rpm=100000, tpm=100000000, **PRICED),
        model("gpt-main", limited, "openai/gpt-4o-mini", info("gpt-main-b"), rpm=100000, tpm=100000000, **PRICED),
        model("gpt-think", openai, "openai/sim-reasoning", info("gpt-think"), **PRICED),
        model("moody", openai, "openai/sim-fast", info("moody"), **PRICED),         # the one that is told to fail
        model("embed", openai, "openai/sim-embed", {"id": "embed", "mode": "embedding"}, **PRICED),
        model("local-ollama", ollama, "ollama/llama3.2", info("local-ollama"), **FREE),
        model("local-vllm", vllm, "hosted_vllm/Qwen/Qwen3-8B", info("local-vllm")),  # no price is known: counted as unpriced
        model("local-llama", llama, "llamafile/m", info("local-llama"), **FREE),
        model("shaky", openai, "openai/broken", info("shaky-bad"), **PRICED),       # a retry at the other deployment helps
        model("shaky", openai, "openai/sim-fast", info("shaky-good"), **PRICED),
        model("falls", openai, "openai/worse", info("falls"), **PRICED),            # another model answers for it
        model("doomed", openai, "openai/busy", info("doomed"), **PRICED),           # so does none for this one
    ]
    router = {"num_retries": 1, "allowed_fails": 2, "cooldown_time": 2, "routing_strategy": "simple-shuffle",
              "fallbacks": [{"falls": ["gpt-main"]}, {"doomed": ["falls-too"]}]}
    models.append(model("falls-too", openai, "openai/worse", info("falls-too"), **PRICED))
    models += more.pop("models", [])
    router.update(more.pop("router_settings", {}))
    own = {"engine_poll_ms": 1000, "workers": 2, "keys": KEYS, **more.pop("weir_settings", {})}
    litellm = {"cache": True, "cache_params": {"ttl": 60}, "logging": {"slow_request_threshold_ms": SLOW_MS}, **more.pop("litellm_settings", {})}
    general = {"master_key": MASTER, "background_health_checks": True, "health_check_interval": 2, **more.pop("general_settings", {})}
    return config(*models, router_settings=router, litellm_settings=litellm, general_settings=general, weir_settings=own, **more)


# Good answers of every provider; then what goes wrong in ordinary life, most of it the client's or mended by another attempt.
GOOD = [
    Kind("whole", 20, "gpt-main", key=ALICE),
    Kind("streamed", 20, "gpt-main", stream=True, key=BOB, headers={"x-mock-tokens": "12", "x-mock-ttft-ms": "20", "x-mock-tokens-per-second": "200"}),
    Kind("long stream", 3, "gpt-main", stream=True, key=ALICE, headers={"x-mock-tokens": "40", "x-mock-tokens-per-second": "40"}),
    Kind("thinking", 6, "gpt-think", key=ALICE, stream=True),
    Kind("embedding", 5, "embed", key=BOB, path="/v1/embeddings"),
    Kind("ollama", 5, "local-ollama", key=ALICE),
    Kind("ollama streamed", 5, "local-ollama", stream=True, key=BOB),
    Kind("vllm", 5, "local-vllm", key=ALICE),
    Kind("vllm streamed", 5, "local-vllm", stream=True, key=BOB),
    Kind("llama.cpp", 5, "local-llama", key=MASTER),
    Kind("llama.cpp streamed", 5, "local-llama", stream=True, key=MASTER),
    Kind("again", 10, "gpt-main", key=ALICE, text="the same question"),
    Kind("again streamed", 6, "gpt-main", stream=True, key=ALICE, text="the same question"),
]
MIXED = [
    *GOOD,
    Kind("slow", 1, "gpt-think", key=ALICE, headers={"x-mock-delay-ms": str(SLOW_MS + 100)}),
    Kind("another deployment helps", 5, "shaky", key=ALICE),
    Kind("another model helps", 5, "falls", key=BOB),
    Kind("nothing helps", 2, "doomed", key=BOB),
    Kind("provider's own error", 2, "moody", key=ALICE, headers={"x-mock-status": "500"}),
    Kind("provider's limit", 2, "moody", key=ALICE, headers={"x-mock-status": "429"}),
    Kind("cut off", 1, "moody", stream=True, key=ALICE, headers={"x-mock-cut-after": "3", "x-mock-tokens": "9"}),
    Kind("client leaves", 2, "gpt-think", stream=True, key=ALICE, leave=True,
         headers={"x-mock-tokens": "60", "x-mock-ttft-ms": "5", "x-mock-tokens-per-second": "20"}),
    Kind("no such model", 2, "nowhere", key=ALICE),
    Kind("no such key", 1, "gpt-main", key="sk-nobody-knows"),
    Kind("not JSON", 1, "gpt-main", key=ALICE, body=b"{"),
    Kind("over budget", 2, "gpt-main", key=POOR),
    Kind("over its rate", 2, "gpt-main", key=HURRIED),
]


class Stack:
    """Simulated providers, a gateway, Alertmanager and Prometheus, on ports of their own, in one folder."""

    def __init__(self, folder, rules=None, more_models=lambda base: [], **more):
        """`rules` as for copy_of_config(); `more_models(base of the simulated provider)` and `more` for settings() of the gateway."""
        self.folder, self.rules, self.more_models, self.more = pathlib.Path(folder), rules, more_models, more
        self.notifications, self.sink_status = [], "200 OK"
        self.stack, self.states, self.prometheus, self.export_port = contextlib.ExitStack(), {}, None, None

    def __enter__(self):
        with contextlib.ExitStack() as guard:  # whatever was started ends, if the rest of it does not start
            guard.callback(self.stack.close)
            self.start()
            guard.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def start(self):
        self.mock = self.stack.enter_context(Mock("--ttft-ms", "5", "--tokens-per-second", "400", "--jitter", "30", "--fault", FAULTS))
        self.servers = {kind: self.engine(kind, LIMITS if kind == "openai" else None) for kind in ("openai", "ollama", "vllm", "llama.cpp")}
        self.bases = {"openai": self.mock.base, "limited": self.servers["openai"].base, "ollama": self.servers["ollama"].base[:-len("/v1")],
                      "vllm": self.servers["vllm"].base, "llama": self.servers["llama.cpp"].base}
        self.gateway = self.add_gateway("gateway", settings(**self.bases, models=self.more_models(self.mock.base), **self.more))
        self.sink = Upstream(forever(self.take_notification))
        self.stack.callback(self.sink.close)
        self.alertmanager = Alertmanager(self.folder / "alertmanager", self.alertmanager_config())
        self.stack.callback(self.alertmanager.finish)
        self.alertmanager.start()

    def take_notification(self, connection, asked):
        """What Alertmanager sends, of whichever receiver."""
        self.notifications.append(asked.json)
        connection.reply(status=self.sink_status)

    def engine(self, kind, headers=None):
        state = self.states[kind] = {}
        server = Upstream(simulated(kind, headers, state=state))
        self.stack.callback(server.close)
        return server

    def add_gateway(self, name, wanted, **options):
        folder = self.folder / name
        folder.mkdir(parents=True)
        gateway = Gateway(folder, wanted, **options)
        self.stack.callback(gateway.finish)
        return gateway.start()

    def add_export(self, log):
        """`weir export` of a log, as the job that prometheus.yml has in comments."""
        folder = self.folder / "export"
        folder.mkdir()
        export = Process(folder, ["export", log, "--listen", "127.0.0.1:0"])
        self.stack.callback(export.finish)
        export.launch()
        found = wait_for(lambda: re.search(r"127\.0\.0\.1:(\d+)", export.said() + export.said("stdout")))
        self.export_port = int(found.group(1))

    def alertmanager_config(self):
        """A copy of the shipped one that waits a second before it sends, not half a minute, and whose receivers send to the sink."""
        tree = yaml.safe_load((SHIPPED / "alertmanager/alertmanager.yml").read_text())
        for route in (tree["route"], *tree["route"].get("routes", [])):
            route.update(group_wait="1s", group_interval="1s")
        for receiver in tree["receivers"]:
            receiver["webhook_configs"] = [{"url": f"http://127.0.0.1:{self.sink.port}/"}]
        path = self.folder / "alertmanager.yml"
        path.write_text(yaml.safe_dump(tree))
        return path

    def targets(self, *gateways, more=()):
        """`more`: targets of every job."""
        export = {"weir-export": [f"127.0.0.1:{self.export_port}"]} if self.export_port else {}
        return {**export, JOB: [*(f"127.0.0.1:{g.port}" for g in gateways), *more], "prometheus": [f"127.0.0.1:{self.prometheus_port}", *more],
                "alertmanager": [f"127.0.0.1:{self.alertmanager.port}"], "alertmanagers": [f"127.0.0.1:{self.alertmanager.port}", *more]}

    def notified(self):
        """{receiver: its alerts' labels}, of everything that was sent."""
        found = {}
        for notification in self.notifications:
            found.setdefault(notification["receiver"], []).extend(alert["labels"] for alert in notification["alerts"])
        return found

    def watch(self, *gateways, before=None):
        """Starts Prometheus on the gateways. `before(folder)` may put data into its folder first."""
        self.prometheus_port = free_port()
        path = copy_of_config(self.folder / "prometheus", self.targets(*gateways), rules=self.rules)
        self.prometheus = Prometheus(self.folder / "served", path)
        if before:
            before(self.prometheus.folder)
        self.stack.callback(self.prometheus.finish)
        return self.prometheus.start(self.prometheus_port)

    def retarget(self, *gateways, more=(), rule_files=None):
        """Other targets from now on, and rule files beside the shipped ones: {name: tree}."""
        path = copy_of_config(self.folder / "prometheus", self.targets(*gateways, more=more), rules=self.rules)
        for name, tree in (rule_files or {}).items():
            (path.parent / "rules" / name).write_text(json.dumps(tree))
        self.prometheus.reload()

    def traffic(self, kinds=None, **options):
        return Traffic(self.gateway, MIXED if kinds is None else kinds, **options)
