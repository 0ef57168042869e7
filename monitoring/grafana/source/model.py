"""What dashboards are made of: panels, rows, variables, links. The tables beside this file say what is on them.

A panel is what Grafana wants as JSON, without id, place and data source, which dashboard() adds. Widths are of 24 columns; every
line of a row must be full, so that a dashboard has no holes.

In expressions, @ and a word stand for matchers, so that tables stay short: `litellm_requests_total{@mp,status="failure"}`.
"""
import json
import re
import urllib.parse

COLUMNS = 24
SCHEMA_VERSION = 42
PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
LOKI = {"type": "loki", "uid": "${logs}"}
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#6b7280"

# The dashboards, in the order of their files: (uid, title, what it answers).
PAGES = (
    ("weir-overview", "Overview", "Is it healthy, what is slow, what fails, what does it cost, whose fault is it?"),
    ("weir-tokens", "Tokens and cost", "What is used, by whom, what does it cost, what will the month cost?"),
    ("weir-performance", "Performance", "How long do answers take, and where does the time go?"),
    ("weir-provider-health", "Provider health", "Which provider fails, is slow, is out of rotation?"),
    ("weir-system-health", "System health", "Is the gateway itself well: processor, memory, connections, log, metrics, engines?"),
    ("weir-slo", "Service levels", "How much of the error budget is left, and how fast is it going?"),
)

GATEWAY = 'job=~"$job",instance=~"$instance"'
MATCHERS = {
    "": GATEWAY,
    "m": f'{GATEWAY},model=~"$model"',
    "mp": f'{GATEWAY},model=~"$model",provider=~"$provider"',
    # LiteLLM's families of deployments name the model sent upstream; the deployment's id ties them to the model asked for.
    "d": f'{GATEWAY},model_id=~"$deployment"',
    "dk": f'{GATEWAY},model_id=~"$deployment",api_key_alias=~"$key"',
    "rk": f'{GATEWAY},requested_model=~"$model",api_key_alias=~"$key"',
}


def expand(expr):
    """Matchers for @words; one line."""
    return re.sub(r"@(\w*)", lambda m: MATCHERS[m.group(1)], " ".join(expr.split()))


# ---- expressions that many panels have ----

def rate(metric, matchers="@mp", by=None):
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{matchers}}}[$__rate_interval]))"


def quantile(q, histogram, matchers="@mp", by=None):
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({histogram}_bucket{{{matchers}}}[$__rate_interval])))"


def mean(histogram, matchers="@mp", by=None):
    return f"{rate(histogram + '_sum', matchers, by)} / {rate(histogram + '_count', matchers, by)}"


def or_zero(expr, label=None, text="none"):
    """`expr`, or one series of 0 where it has none: a counter that nothing has counted yet."""
    zero = f'label_replace(vector(0), "{label}", "{text}", "", "")' if label else "vector(0)"
    return f"({expr}) or on () {zero}"


def drawn(expr, label):
    """Curves of those series of `expr` that are numbers. One that was not asked in this time is 0 / 0, which is NaN: it draws nothing and
    stands in the legend all the same, and NaN >= 0 is false. Where there is none at all, one that says so."""
    return f'({expr}) >= 0 or on () label_replace(vector(NaN), "{label}", "no traffic", "", "")'


# ---- links ----

def explore(query):
    """A link to the log lines that `query` finds in Loki, at the time shown."""
    source = {"type": "loki", "uid": "${logs}"}
    panes = {"logs": {"datasource": "${logs}", "range": {"from": "${__from}", "to": "${__to}"},
                      "queries": [{"refId": "A", "datasource": source, "queryType": "range", "expr": query}]}}
    text = json.dumps(panes, separators=(",", ":"))
    parts = re.split(r"(\$\{[^}]+\})", text)
    return "/explore?schemaVersion=1&orgId=1&panes=" + "".join(p if p.startswith("${") else urllib.parse.quote(p, safe="") for p in parts)


def label(name):
    return f"${{__field.labels.{name}:percentencode}}"


def link(title, url):
    return {"title": title, "url": url, "targetBlank": False}


REQUEST_QUERY = '{job="weir"} |= "$request_id" | json'
TO_REQUEST = link("Logs: request ${request_id} (set the variable Request id)",
                  explore('{job="weir"} | json | request_id="${request_id:percentencode}"'))


def to_logs(of=None, field=None, only=""):
    """To the log lines of the label `of` of the series clicked at; `only` narrows them further, e.g. to failures."""
    match = f' | {field or of}="{label(of)}"' if of else ""
    return link(f"Logs: {'this ' + of if of else 'lines'}{', failures' if 'failure' in only else ''}",
                explore(f'{{job="weir"}} | json{match}{only}'))


SAME = "${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"  # what a link takes along


def to_page(uid, title, **variables):
    words = "".join(f"&var-{name}={label(value)}" for name, value in variables.items())
    return link(title, f"/d/{uid}?{SAME}{words}")


FAILURES = ' | status="failure"'

# ---- panels ----

NO_TRAFFIC = {"type": "special", "options": {"match": "nan", "result": {"text": "no traffic", "color": GREY, "index": 9}}}


def values(**texts):
    """Words for numbers: values(_1=("up", GREEN), _0=("DOWN", RED))."""
    return {"type": "value", "options": {name[1:]: {"text": text, "color": color, "index": i}
                                         for i, (name, (text, color)) in enumerate(texts.items())}}


def steps(*pairs, base=GREEN):
    """Colours from values on: steps((0.95, YELLOW), (0.99, GREEN), base=RED)."""
    return {"mode": "absolute", "steps": [{"color": base, "value": None}, *({"color": c, "value": v} for v, c in pairs)]}


def panel(kind, title, what, bad, unit=None, targets=(), width=8, thresholds=None, mappings=(), empty=None, links=(), decimals=None,
          low=None, high=None, custom=None, options=None, overrides=(), **more):
    defaults = {"unit": unit, "thresholds": thresholds or steps(), "mappings": list(mappings), "links": list(links),
                "color": {"mode": "thresholds"}, "custom": custom or {}}
    for name, value in (("noValue", empty), ("decimals", decimals), ("min", low), ("max", high)):
        if value is not None:
            defaults[name] = value
    if empty:
        what = f"{what} Empty: {empty[0].lower() + empty[1:]}."
    return {"type": kind, "title": title, "description": f"{what}\n\nWhen it is bad: {bad}", "width": width,
            "fieldConfig": {"defaults": defaults, "overrides": list(overrides)}, "options": options or {},
            "targets": [{"refId": chr(65 + i), **t} for i, t in enumerate(targets)], **more}


def query(expr, legend="", instant=False, form="time_series", exemplars=False):
    return {"datasource": PROMETHEUS, "expr": expand(expr), "legendFormat": legend or "__auto", "instant": instant, "range": not instant,
            "format": form, "exemplar": exemplars, "editorMode": "code"}


def log_query(expr, legend="", lines=200):
    return {"datasource": LOKI, "expr": " ".join(expr.split()), "legendFormat": legend, "queryType": "range", "maxLines": lines,
            "editorMode": "code"}


def stat(title, what, bad, unit, expr, width=3, spark=True, legend="", **more):
    """One number, its colour by thresholds, with its course behind it. legend: what to write beside it, e.g. the series' model."""
    shown = query(expr, legend or title, instant=not spark)
    return panel("stat", title, what, bad, unit, [shown], width, mappings=[*more.pop("mappings", ()), NO_TRAFFIC],
                 options={"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "orientation": "auto",
                          "textMode": "value_and_name" if legend else "value", "colorMode": "background", "graphMode": "area" if spark else "none",
                          "justifyMode": "auto", "wideLayout": True, "showPercentChange": False, "percentChangeColorMode": "standard"},
                 **more)


def worst(title, what, bad, unit, expr, legend, **more):
    """The series with the highest number, by name."""
    return stat(title, what, bad, unit, f"topk(1, {expr})", spark=False, legend=legend, **more)


def lines(title, what, bad, unit, *series, width=8, stack=None, fill=8, bound=False, exemplars=False, side=False, calcs=("lastNotNull", "max"),
          overrides=(), **more):
    """Curves. series: (legend, expression) pairs; stack: None, "normal" or "percent"; bound: thresholds as dashed lines."""
    custom = {"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 40 if stack else fill,
              "gradientMode": "none", "spanNulls": False, "showPoints": "auto", "pointSize": 4, "axisPlacement": "auto",
              "axisLabel": "", "axisColorMode": "text", "axisBorderShow": False, "axisCenteredZero": False,
              "scaleDistribution": {"type": "linear"}, "barAlignment": 0, "insertNulls": False,
              "stacking": {"mode": stack or "none", "group": "A"}, "hideFrom": {"legend": False, "tooltip": False, "viz": False},
              "thresholdsStyle": {"mode": "dashed" if bound else "off"}}
    made = panel("timeseries", title, what, bad, unit, [query(e, l, exemplars=exemplars) for l, e in series], width, custom=custom,
                 low=more.pop("low", 0), overrides=overrides,
                 options={"legend": {"displayMode": "table", "placement": "right" if side else "bottom", "showLegend": True,
                                     "calcs": list(calcs), "sortBy": "Max", "sortDesc": True},
                          "tooltip": {"mode": "multi", "sort": "desc", "hideZeros": False}}, **more)
    made["fieldConfig"]["defaults"]["color"] = {"mode": "palette-classic-by-name"}
    return made


def heat(title, what, bad, histogram, matchers="@mp", width=12, **more):
    """How many requests took how long, over time: one row a bucket."""
    expr = f"sum by (le) (increase({histogram}_bucket{{{matchers}}}[$__rate_interval]))"
    made = panel("heatmap", title, what, bad, "short", [query(expr, "{{le}}", form="heatmap", exemplars=True)], width,
                 custom={"hideFrom": {"legend": False, "tooltip": False, "viz": False}, "scaleDistribution": {"type": "linear"}},
                 options={"calculate": False, "cellGap": 1, "cellValues": {"unit": "short"}, "exemplars": {"color": "rgba(255,0,255,0.7)"},
                          "color": {"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "scale": "exponential",
                                    "exponent": 0.5, "steps": 64, "reverse": False},
                          "filterValues": {"le": 1e-9}, "legend": {"show": True}, "rowsFrame": {"layout": "auto"}, "showValue": "never",
                          "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True},
                          "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"}}, **more)
    return made


def states(title, what, bad, legend, expr, mappings, width=24, thresholds=None, **more):
    """One bar a series; its colour is its state."""
    return panel("state-timeline", title, what, bad, "none", [query(expr, legend)], width, mappings=mappings,
                 thresholds=thresholds or steps((1, YELLOW), (2, RED)),
                 custom={"fillOpacity": 80, "lineWidth": 0,
                         "hideFrom": {"legend": False, "tooltip": False, "viz": False}},
                 options={"mergeValues": True, "showValue": "never", "alignValue": "left", "rowHeight": 0.85, "perPage": 20,
                          "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
                          "tooltip": {"mode": "single", "sort": "none", "hideZeros": False}}, **more)


def bars(title, what, bad, unit, *series, width=8, **more):
    """The largest first, as horizontal bars; each expression at the end of the time shown."""
    return panel("bargauge", title, what, bad, unit, [query(e, l, instant=True) for l, e in series], width, low=more.pop("low", 0),
                 options={"displayMode": "gradient", "orientation": "horizontal", "valueMode": "color", "namePlacement": "auto",
                          "showUnfilled": True, "sizing": "auto", "minVizHeight": 16, "minVizWidth": 8, "maxVizHeight": 40,
                          "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                          "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False}}, **more)


def either(yes, no):
    """A panel's words and colours for 1 and 0: states(..., **either("up", "DOWN"))."""
    return {"mappings": [values(_1=(yes, GREEN), _0=(no, RED))], "thresholds": steps((1, GREEN), base=RED)}


def on_the_right(name, unit):
    """A series that is measured by an axis of its own."""
    return {"matcher": {"id": "byName", "options": name},
            "properties": [{"id": "unit", "value": unit}, {"id": "custom.axisPlacement", "value": "right"}]}


def column(name, unit, thresholds=None, links=(), decimals=None):
    """How a table shows one column."""
    properties = [{"id": "unit", "value": unit}]
    if decimals is not None:
        properties.append({"id": "decimals", "value": decimals})
    if thresholds:
        properties += [{"id": "thresholds", "value": thresholds}, {"id": "custom.cellOptions", "value": {"type": "color-text"}}]
    if links:
        properties.append({"id": "links", "value": list(links)})
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}


def table(title, what, bad, keys, *columns, width=24, sort=None, **more):
    """One row a label set. keys: {label: heading}; columns: (heading, expression, column(...))."""
    names = {f"Value #{chr(65 + i)}" if len(columns) > 1 else "Value": c[0] for i, c in enumerate(columns)}
    order = [*keys, *names]
    return panel("table", title, what, bad, "none", [query(c[1], instant=True, form="table") for c in columns], width,
                 mappings=[NO_TRAFFIC], overrides=[*(c[2] for c in columns if c[2]), *more.pop("overrides", ())],
                 custom={"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": False},
                 options={"showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": sort or columns[0][0], "desc": True}]},
                 transformations=[{"id": "merge", "options": {}},
                                  {"id": "filterFieldsByName", "options": {"include": {"names": order}}},
                                  {"id": "organize", "options": {"excludeByName": {}, "includeByName": {},
                                                                 "indexByName": {n: i for i, n in enumerate(order)},
                                                                 "renameByName": {**keys, **names}}}], **more)


def logs(title, what, bad, expr, width=24, **more):
    return panel("logs", title, what, bad, "none", [log_query(expr)], width,
                 options={"showTime": True, "showLabels": False, "showCommonLabels": False, "wrapLogMessage": True,
                          "prettifyLogMessage": False, "enableLogDetails": True, "dedupStrategy": "none", "sortOrder": "Descending"},
                 **more)


def text(title, what, content, width=24):
    return {"type": "text", "title": title, "description": what, "width": width,
            "options": {"mode": "markdown", "content": content, "code": {"language": "plaintext", "showLineNumbers": False,
                                                                         "showMiniMap": False}},
            "fieldConfig": {"defaults": {}, "overrides": []}}


def row(title, height, *panels, collapsed=False):
    return {"title": title, "height": height, "panels": panels, "collapsed": collapsed}


# ---- variables ----

def source_variable(name, title, kind, uid, hide=0):
    return {"name": name, "label": title, "type": "datasource", "query": kind, "regex": "", "hide": hide, "refresh": 1, "multi": False,
            "includeAll": False, "options": [], "skipUrlSync": False, "current": {"selected": False, "text": uid.title(), "value": uid},
            "description": f"Where {title.lower()} are asked for."}


def label_variable(name, title, about, series, of, all_value=".*", first=None, hide=0):
    """Values of a label; everything unless `first` is given. all_value None: all is the list of what was found."""
    found = f"label_values({expand(series)}, {of})"
    current = {"selected": True, "text": [first or "All"], "value": [first or "$__all"]}
    made = {"name": name, "label": title, "description": about, "type": "query", "datasource": PROMETHEUS, "definition": found,
            "query": {"qryType": 1, "query": found, "refId": "PrometheusVariableQueryEditor-VariableQuery"}, "refresh": 2, "sort": 1,
            "regex": "", "multi": True, "includeAll": True, "hide": hide, "options": [], "skipUrlSync": False, "current": current}
    if all_value:
        made["allValue"] = all_value
    return made


VARIABLES = {
    "datasource": lambda: source_variable("datasource", "Metrics", "prometheus", "prometheus"),
    "logs": lambda: source_variable("logs", "Logs", "loki", "loki"),
    "job": lambda: label_variable("job", "Job", "Prometheus' job of the gateways.", "weir_build_info", "job", None, first="litellm"),
    "instance": lambda: label_variable("instance", "Instance", "Gateways.", 'weir_build_info{job=~"$job"}', "instance", ".+"),
    "model": lambda: label_variable("model", "Model", "Models as clients ask for them.", "litellm_requests_total{@}", "model"),
    "provider": lambda: label_variable("provider", "Provider", "Providers; None: requests that reached no provider.",
                                       'litellm_requests_total{@m}', "provider"),
    "key": lambda: label_variable("key", "Key", "Keys, by alias, where numbers are kept by key: requests, tokens, cost. None: without a key.",
                                  "litellm_proxy_total_requests_metric_total{@}", "api_key_alias"),
    "deployment": lambda: label_variable(
        "deployment", "Deployment", "Follows from model and provider.",
        'litellm_deployment_total_requests_total{@,requested_model=~"$model",api_provider=~"$provider"}', "model_id", None, hide=2),
    "request_id": lambda: {"name": "request_id", "label": "Request id", "type": "textbox", "query": "", "hide": 0, "skipUrlSync": False,
                           "options": [{"selected": True, "text": "", "value": ""}], "current": {"selected": True, "text": "", "value": ""},
                           "description": "From an answer's x-request-id. Empty: all lines."},
}

# ---- a dashboard ----

MARKS = (
    ("Restarts", "purple", 'changes(process_start_time_seconds{@}[$__rate_interval]) > 0', "{{instance}} started"),
    ("Configuration", "blue", 'changes(weir_config_last_reload_success_timestamp_seconds{@}[$__rate_interval]) > 0',
     "{{instance}} read its configuration"),
    ("Alerts", "red", 'ALERTS{alertstate="firing",severity!="none"}', "{{alertname}}"),
)


def marks():
    builtin = {"builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": True, "hide": True,
               "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard"}
    return [builtin, *({"name": name, "iconColor": color, "enable": name != "Alerts", "hide": False, "datasource": PROMETHEUS,
                        "target": {"datasource": PROMETHEUS, "expr": expand(expr), "interval": "60s", "refId": "Anno"},
                        "titleFormat": title, "textFormat": "", "tagKeys": "instance", "useValueForTime": False}
                       for name, color, expr, title in MARKS)]


def placed(panels, y, height, first_id):
    """Panels with ids and places, and the y below them. Each line must be exactly as wide as the dashboard."""
    x, out = 0, []
    for i, p in enumerate(panels):
        p = dict(p)
        width = p.pop("width")
        if p["type"] != "text":
            p["datasource"] = LOKI if p["targets"][0]["datasource"] == LOKI else PROMETHEUS
        out.append({"id": first_id + i, **p, "gridPos": {"h": height, "w": width, "x": x, "y": y}})
        x += width
        if x > COLUMNS:
            raise ValueError(f"{p['title']}: its line is {x} columns wide; {COLUMNS} are there")
        if x == COLUMNS:
            x, y = 0, y + height
    if x:
        raise ValueError(f"{panels[-1]['title']}: its line is {x} columns wide; fill {COLUMNS}")
    return out, y


def dashboard(uid, variables, rows, refresh="30s", time_from="now-3h"):
    """Panel ids are 100 times the row's number and on from there: they stay when another row grows."""
    title, about = next((t, a) for u, t, a in PAGES if u == uid)
    panels, y = [], 0
    for number, r in enumerate(rows, 1):
        inside, below = placed(r["panels"], y + 1, r["height"], number * 100 + 1)
        header = {"id": number * 100, "type": "row", "title": r["title"], "collapsed": r["collapsed"],
                  "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y}, "panels": inside if r["collapsed"] else []}
        panels += [header] if r["collapsed"] else [header, *inside]
        y = y + 1 if r["collapsed"] else below
    others = [{"type": "link", "title": t, "url": f"/d/{u}", "tooltip": a, "icon": "dashboard", "keepTime": True, "includeVars": True,
               "targetBlank": False, "asDropdown": False, "tags": []} for u, t, a in PAGES if u != uid]
    return {"id": None, "uid": uid, "title": f"weir: {title}", "description": about, "tags": ["weir"], "schemaVersion": SCHEMA_VERSION,
            "version": 1, "editable": False, "graphTooltip": 1, "fiscalYearStartMonth": 0, "liveNow": False, "preload": False,
            "refresh": refresh, "time": {"from": time_from, "to": "now"}, "timezone": "browser", "timepicker": {}, "weekStart": "",
            "links": others, "annotations": {"list": marks()}, "templating": {"list": [VARIABLES[v]() for v in variables]},
            "panels": panels}
