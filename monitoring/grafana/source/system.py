"""05: is the gateway itself well: processor, memory, connections, log, metrics, cache, engines, configuration."""
from model import BLUE, GREEN, ORANGE, PAGES, RED, YELLOW, dashboard, either, lines, on_the_right, rate, row, stat, states, steps, table, values
from overview import UP

NO_EXPORT = "No weir export is scraped: it is needed only for a log that weir did not write (docs/export.md)"
NO_ENGINE = "No engine that tells of itself (Ollama, vLLM, llama.cpp) is configured"
NO_OLLAMA = "No Ollama, or it has no model in memory"
NO_QUEUE = "No vLLM or llama.cpp that tells of its queue"
ENGINE = "{{engine}} at {{api_base}}"
LOST = "weir_log_dropped_records_total", "weir_log_write_errors_total"


def each(metric, matchers="@"):
    return f"sum by (instance) ({metric}{{{matchers}}})"


def per(metric):
    return f"sum by (instance) (rate({metric}{{@}}[$__rate_interval]))"


def change(metric):
    return f"sum by (instance) (increase({metric}{{@}}[$__rate_interval]))"


def full(used, size):
    """How full the fullest of the gateways is."""
    return f"max({used}{{@}} / on (job, instance) ({size}{{@}} > 0))"


AT_A_GLANCE = row(
    "Is the gateway well?", 4,
    stat("Gateway", "Whether every gateway answers Prometheus and takes requests; the worst one counts.",
         "look at the service (systemctl status, docker compose ps) and at its last lines.",
         "none", UP, **either("up", "DOWN")),
    stat("Newest start", "How long the gateway that was started last has been running.",
         "a start that nobody asked for: it crashed or was killed (memory?); its log has an event start.",
         "s", "time() - max(process_start_time_seconds{@})", thresholds=steps((300, GREEN), base=YELLOW), spark=False),
    stat("Processor", "Processor cores in use, all gateways together.", "near the number of cores: more cores, more workers, or more gateways.",
         "short", rate("process_cpu_seconds_total", "@"), thresholds=steps(base=BLUE), decimals=2),
    stat("Memory", "Resident memory of the largest gateway.",
         "grows without end: report it, with weir_open_connections and weir_cache_bytes of the time.",
         "bytes", "max(process_resident_memory_bytes{@})", thresholds=steps((1 << 30, YELLOW), (4 << 30, ORANGE))),
    stat("Open streams", "Event streams being relayed now.", "as many as connections and not falling: clients do not read.",
         "short", "sum(weir_open_streams{@})", thresholds=steps(base=BLUE), decimals=0),
    stat("File descriptors", "Descriptors in use, as a share of those allowed; the fullest gateway.",
         "near 1 no connection can be opened: raise LimitNOFILE, or see who keeps connections open.",
         "percentunit", full("process_open_fds", "process_max_fds"), thresholds=steps((0.7, YELLOW), (0.9, RED)), decimals=1),
    stat("Lost log records", "Records that are missing from the log: dropped for want of room, or not written, in the time shown.",
         "the disk is full or stalls: df, iostat. The log has a line with event gap for each gap.",
         "short", " + ".join(f"sum(increase({m}{{@}}[$__range]))" for m in LOST), thresholds=steps((1, RED)), decimals=0, spark=False),
    stat("Series budget", "How full the fullest part of the budget of label combinations is: models, keys, or keys with statuses and errors; the fullest gateway. "
         "Beyond it new ones are counted as other.",
         "many keys or models, or names that clients invent: raise weir_settings.series_budget, or see which label grew.",
         "percentunit", "max(weir_metrics_series_fullest_ratio{@})", thresholds=steps((0.7, YELLOW), (0.9, RED)), decimals=1))

PROCESS = row(
    "The process", 8,
    lines("Processor by gateway", "Cores in use by each gateway.", "flat at a whole number: its workers are at their limit; add workers or gateways.",
          "short", ("{{instance}}", per("process_cpu_seconds_total"))),
    lines("Memory by gateway", "Resident and virtual memory of each gateway. Virtual is what is mapped, rings and stacks included: large is no harm.",
          "resident grows for hours at the same load: a leak; report it.",
          "bytes", ("{{instance}} resident", each("process_resident_memory_bytes")), ("{{instance}} virtual", each("process_virtual_memory_bytes"))),
    lines("File descriptors by gateway", "Open descriptors of each gateway, and how many it may have.", "near the limit: raise LimitNOFILE.",
          "short", ("{{instance}} open", each("process_open_fds")), ("{{instance}} allowed", each("process_max_fds"))),
    states("Up and ready", "Whether each gateway answers Prometheus and takes requests. Starting and draining are not ready.",
           "down: the service. Not ready for long: it drains and streams do not end.",
           "{{instance}}", "min by (instance) ((up{@} + on (job, instance) weir_ready{@}) or on (job, instance) up{@})",
           [values(_2=("ready", GREEN), _1=("not ready", YELLOW), _0=("DOWN", RED))], width=12, thresholds=steps((1, YELLOW), (2, GREEN), base=RED)),
    lines("Passes of event loops", "Passes a second of the workers' event loops.",
          "many at little traffic: something wakes them needlessly; report it.",
          "cps", ("{{instance}}", per("weir_loop_passes_total")), width=12))

CONNECTIONS = row(
    "Connections", 8,
    lines("Clients", "Client connections open, and streams being relayed.",
          "connections grow and requests do not: clients do not reuse or close them.",
          "short", ("connections", "sum(weir_open_connections{@})"), ("streams", "sum(weir_open_streams{@})")),
    lines("Accepted and refused", "Client connections a second. Refused: max_connections were open.",
          "refused: raise weir_settings.max_connections and LimitNOFILE, or add a gateway.",
          "cps", ("accepted", rate("weir_connections_total", "@")), ("refused", rate("weir_connections_refused_total", "@"))),
    lines("Bytes", "Bytes a second from and to clients.", "much received, few requests: large bodies (images, documents).",
          "Bps", ("received", rate("weir_received_bytes_total", "@")), ("sent", rate("weir_sent_bytes_total", "@"))),
    lines("Upstream connections", "Connections to providers, by state.", "active without idle: none is kept; the provider closes them.",
          "short", ("{{state}}", "sum by (state) (weir_upstream_connections{@})"), stack="normal"),
    lines("Reuse", "Requests a second sent on a kept connection, connections made anew, and those that failed.",
          "many made anew cost a TLS handshake each: raise keep-alive at the provider.",
          "cps", ("reused", rate("weir_upstream_reuses_total", "@")), ("made", rate("weir_upstream_connects_total", "@")),
          ("failed", rate("weir_upstream_connect_failures_total", "@"))),
    lines("HTTP", "HTTP requests a second of any kind, health and metrics included, and those refused before they were understood.",
          "refused: a scanner, or a client that sends malformed, too large or too slow requests.",
          "reqps", ("requests", rate("weir_http_requests_total", "@")), ("refused", rate("weir_http_errors_total", "@"))))

LOG = row(
    "Log and export", 8,
    lines("Records and bytes", "Records a second written to the request log; bytes a second on the right.",
          "no records while there are requests: see Lost records.",
          "cps", ("records", rate("weir_log_records_total", "@")), ("bytes", rate("weir_log_bytes_total", "@")),
          overrides=[on_the_right("bytes", "Bps")]),
    lines("Waiting to be written", "How full the rings are in which records wait for the disk.",
          "above a half: the disk stalls. Full: records are lost, requests are not delayed.",
          "percentunit", ("{{instance}}", "max by (instance) (weir_log_ring_used_bytes{@} / on (job, instance) (weir_log_ring_bytes{@} > 0))"),
          high=1, thresholds=steps((0.5, RED), base="transparent"), bound=True),
    lines("Lost, failed, reopened", "Records dropped, writes that failed, and times the log was opened anew (rotation).",
          "dropped or failed: disk full or stalled. The log's own gap lines say how many are missing and when.",
          "short", ("dropped", change(LOST[0])), ("write errors", change(LOST[1])), ("reopened", change("weir_log_reopens_total")),
          ("recovered after a crash", change("weir_log_recovered_records_total"))),
    lines("Export: behind", "weir export: bytes written to the log and not read yet.", "grows: the exporter has too little processor time.",
          "bytes", ("{{instance}}", "sum by (instance) (weir_export_behind_bytes)"), empty=NO_EXPORT),
    lines("Export: age of the newest line",
          "weir export: how long ago the newest line read was written; grows as well when nobody asks for anything.",
          "grows while there are requests: the exporter reads another file, or stands.",
          "s", ("{{instance}}", "max by (instance) (weir_export_newest_line_age_seconds)"), empty=NO_EXPORT),
    lines("Export: lines", "weir export: lines a second read, those it could not read, and records that are missing.",
          "broken: the log is not JSON. Missing: the gateway could not write them.",
          "cps", ("read", "sum(rate(weir_export_lines_total[$__rate_interval]))"), ("broken", "sum(rate(weir_export_broken_lines_total[$__rate_interval]))"),
          ("missing", "sum(rate(weir_export_dropped_records_total[$__rate_interval]))"), empty=NO_EXPORT))

METRICS = row(
    "Metrics", 8,
    lines("Series", "Label combinations held, and the most that may be.",
          "near the budget: raise weir_settings.series_budget, or see which label grew.",
          "short", ("{{instance}} held", each("weir_metrics_series")), ("{{instance}} budget", each("weir_metrics_series_budget"))),
    lines("Counted as other", "Requests a second counted under other because the budget was used up.",
          "not 0: numbers by model or key are too low; raise weir_settings.series_budget.",
          "reqps", ("{{instance}}", per("weir_metrics_series_overflow_total"))),
    lines("Scrape", "How long the gateway took for its page of metrics, and Prometheus for fetching it.",
          "near the scrape timeout (5 s): fewer series, or scrape less often.",
          "s", ("{{instance}} made in", "max by (instance) (weir_metrics_scrape_seconds{@})"),
          ("{{instance}} fetched in", "max by (instance) (scrape_duration_seconds{@})")),
    lines("Samples of a scrape", "Samples that Prometheus took from each gateway.",
          "grows with models, keys and providers; sample_limit in prometheus.yml ends it.",
          "short", ("{{instance}}", "max by (instance) (scrape_samples_scraped{@})"), width=12),
    lines("Tokens estimated", "Tokens a second that weir had to estimate because the provider sent no count.",
          "ask the provider for usage in streams (stream_options.include_usage).",
          "suffix: tok/s", ("estimated", rate("weir_tokens_estimated_total", "@")), width=12))

CACHE = row(
    "Response cache", 8,
    lines("Size", "Memory the cache uses, and answers in it on the right.",
          "at weir_settings.cache_bytes and evicting much: make it larger, or the time to live shorter.",
          "bytes", ("bytes", "sum(weir_cache_bytes{@})"), ("answers", "sum(weir_cache_entries{@})"),
          overrides=[on_the_right("answers", "short")]),
    lines("Kept, evicted, refused", "Answers a second that were kept, had to make room, or found none; look-ups that met a busy part of the cache.",
          "evicted near kept: too small. Refused: answers are too large for it.",
          "cps", ("kept", rate("weir_cache_stores_total", "@")), ("evicted", rate("weir_cache_evictions_total", "@")),
          ("refused", rate("weir_cache_refused_total", "@")), ("busy", rate("weir_cache_busy_total", "@"))),
    lines("Hits by model", "Requests a second answered from the cache.", "0: it is off, or prompts never repeat.",
          "reqps", ("{{model}}", rate("litellm_cache_hits", "@", "model")), stack="normal"))

ENGINES = row(
    "Engines", 8,
    states("Engines", "Whether each engine told of itself when it was last asked.", "down: its service; the gateway goes on asking.",
           ENGINE, "min by (engine, api_base) (weir_engine_up{@})", width=8, empty=NO_ENGINE, **either("up", "DOWN")),
    lines("Running and waiting", "Requests an engine works on, and those in its queue, whoever sent them.",
          "waiting grows: the engine is full; add one, or limit max_parallel_requests.",
          "short", (ENGINE + " running", "sum by (engine, api_base) (weir_engine_requests_running{@})"),
          (ENGINE + " waiting", "sum by (engine, api_base) (weir_engine_requests_waiting{@})"), empty=NO_QUEUE),
    lines("Cache of keys and values", "Share of an engine's cache of keys and values in use.",
          "near 1: requests wait or are recomputed; shorter contexts, or more memory.",
          "percentunit", (ENGINE, "max by (engine, api_base) (weir_engine_kv_cache_usage_ratio{@})"), empty=NO_QUEUE, high=1),
    lines("Memory of the graphics card", "Memory that each loaded model uses (Ollama).",
          "models come and go: they make room for one another; fewer models, or more memory.",
          "bytes", ("{{model}} at {{api_base}}", "sum by (model, api_base) (weir_engine_model_vram_bytes{@})"), stack="normal", width=12, empty=NO_OLLAMA),
    lines("Models in memory", "Models that an engine has loaded (Ollama).", "goes up and down: models are loaded anew; raise keep_alive.",
          "short", (ENGINE, "sum by (engine, api_base) (weir_engine_loaded_models{@})"), width=12, empty=NO_OLLAMA))

SETUP = row(
    "Versions and configuration", 7,
    table("Gateways", "What runs where.", "different versions for long: a roll-out stands still.",
          {"instance": "Instance", "version": "Version", "commit": "Commit", "compiler": "Compiler"},
          ("Running", "max by (instance, version, commit, compiler) (weir_build_info{@})", None), width=10, sort="Instance"),
    lines("Reloads", "Times the configuration was read anew, by result.",
          "failure: an older configuration is in force than the one on disk; weir check config says what is wrong.",
          "short", ("{{result}}", "sum by (result) (increase(weir_config_reloads_total{@}[$__rate_interval]))"), width=7),
    states("Configuration in force", "Whether the newest reload worked.", "weir check config FILE says what is wrong with the file.",
           "{{instance}}", "min by (instance) (weir_config_last_reload_successful{@})", width=7, **either("as on disk", "older than on disk")))

PAGE = dashboard(PAGES[4][0], ("datasource", "job", "instance"),
                 (AT_A_GLANCE, PROCESS, CONNECTIONS, LOG, METRICS, CACHE, ENGINES, SETUP))
