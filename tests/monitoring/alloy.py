"""Reads Alloy's configuration language and follows what a pipeline of it does to lines. Not Alloy: it knows the parts that
monitoring/alloy/config.alloy uses, and refuses everything else, so that a file that passes holds nothing that was not looked at.

The grammar and the meaning of each block are Alloy's documentation's (components local.file_match, loki.source.file, loki.process, loki.write; August 2026).
"""
import json
import re
from datetime import datetime, timezone

TOKEN = re.compile(r"""
    (?P<skip>[ \t\r]+|//[^\n]*|/\*.*?\*/)
  | (?P<newline>\n)
  | (?P<raw>`[^`]*`)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<number>-?\d+(?:\.\d+)?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<mark>[{}\[\]().,=])
""", re.X | re.S)


class Wrong(Exception):
    pass


def tokens(text):
    """[(kind, text, line)]; a newline is a token: it ends an attribute."""
    at, line, found = 0, 1, []
    while at < len(text):
        m = TOKEN.match(text, at)
        if not m:
            raise Wrong(f"line {line}: {text[at:at + 20]!r} is nothing of the language")
        if m.lastgroup != "skip":
            found.append((m.lastgroup, m.group(), line))
        line += m.group().count("\n")
        at = m.end()
    return [*found, ("newline", "\n", line), ("end", "", line)]


class Block:
    def __init__(self, name, label, line):
        self.name, self.label, self.line = name, label, line
        self.attributes, self.blocks = {}, []

    @property
    def key(self):
        return f"{self.name}.{self.label}" if self.label else self.name

    def all(self, name):
        return [b for b in self.blocks if b.name == name]


class Reference(str):
    """A dotted name, as loki.write.loki.receiver."""


class Call:
    def __init__(self, name, arguments):
        self.name, self.arguments = name, arguments


class Parser:
    def __init__(self, text):
        self.tokens, self.at = tokens(text), 0

    def peek(self):
        return self.tokens[self.at]

    def take(self, *texts):
        kind, text, line = self.tokens[self.at]
        if texts and text not in texts:
            raise Wrong(f"line {line}: {text!r} where {' or '.join(map(repr, texts))} belongs")
        self.at += 1
        return kind, text, line

    def newlines(self):
        while self.peek()[0] == "newline":
            self.at += 1

    def dotted(self):
        kind, text, line = self.take()
        if kind != "name":
            raise Wrong(f"line {line}: {text!r} where a name belongs")
        while self.peek()[1] == ".":
            self.take()
            text += "." + self.take()[1]
        return text, line

    def body(self, into, closing):
        while True:
            self.newlines()
            if self.peek()[1] == closing and (closing or self.peek()[0] == "end"):
                self.at += 1
                return into
            name, line = self.dotted()
            if self.peek()[1] == "=":
                self.take()
                if name in into.attributes:
                    raise Wrong(f"line {line}: {name} twice")
                into.attributes[name] = self.value()
                if self.peek()[0] not in ("newline",) and self.peek()[1] != "}":
                    raise Wrong(f"line {line}: {self.peek()[1]!r} behind the value of {name}")
                continue
            label = json.loads(self.take()[1]) if self.peek()[0] == "string" else None
            self.take("{")
            into.blocks.append(self.body(Block(name, label, line), "}"))

    def value(self):
        kind, text, line = self.peek()
        if kind == "string":
            self.take()
            return json.loads(text)
        if kind == "raw":
            self.take()
            return text[1:-1]
        if kind == "number":
            self.take()
            return float(text) if "." in text else int(text)
        if text == "[":
            return self.items("[", "]", self.value)
        if text == "{":
            return dict(self.items("{", "}", self.pair))
        name, _ = self.dotted()
        if name in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[name]
        if self.peek()[1] == "(":
            return Call(name, self.items("(", ")", self.value))
        return Reference(name)

    def pair(self):
        kind, text, line = self.take()
        if kind not in ("name", "string"):
            raise Wrong(f"line {line}: {text!r} where a key belongs")
        self.take("=")
        return json.loads(text) if kind == "string" else text, self.value()

    def items(self, opening, closing, one):
        """A list; Alloy wants a comma behind the last item where the closing bracket is on another line."""
        self.take(opening)
        found, comma = [], True
        while True:
            newline = self.peek()[0] == "newline"
            self.newlines()
            if self.peek()[1] == closing:
                if newline and found and not comma:
                    raise Wrong(f"line {self.peek()[2]}: no comma before the newline and {closing!r}")
                self.take()
                return found
            if not comma:
                raise Wrong(f"line {self.peek()[2]}: {self.peek()[1]!r} where a comma belongs")
            found.append(one())
            comma = self.peek()[1] == ","
            if comma:
                self.take()


def parse(text):
    return Parser(text).body(Block("", None, 0), "")


# ---- what is allowed where: name -> (attributes, blocks); an attribute that is needed ends in "!" ----

STAGES = {
    "stage.json": ({"expressions!": dict, "drop_malformed": bool, "source": str}, {}),
    "stage.timestamp": ({"source!": str, "format!": str, "fallback_formats": list, "location": str, "action_on_failure": str}, {}),
    "stage.labels": ({"values!": dict}, {}),
    "stage.structured_metadata": ({"values!": dict}, {}),
    "stage.replace": ({"expression!": str, "replace": str, "source": str}, {}),
    "stage.label_drop": ({"values!": list}, {}),
}
STAGES["stage.match"] = ({"selector!": str, "action": str, "drop_counter_reason": str, "pipeline_name": str}, dict(STAGES))
COMPONENTS = {
    "local.file_match": ({"path_targets!": list, "sync_period": str, "ignore_older_than": str}, {}, {"targets"}),
    "loki.source.file": ({"targets!": Reference, "forward_to!": list, "encoding": str, "tail_from_end": bool, "legacy_positions_file": str}, {}, set()),
    "loki.process": ({"forward_to!": list}, STAGES, {"receiver"}),
    "loki.write": ({"external_labels": dict, "max_streams": int}, {"endpoint": ({
        "url!": str, "name": str, "headers": dict, "batch_wait": str, "batch_size": str, "remote_timeout": str, "tenant_id": str,
        "min_backoff_period": str, "max_backoff_period": str, "max_backoff_retries": int, "retry_on_http_429": bool, "bearer_token_file": str,
    }, {"basic_auth": ({"username": str, "password": str, "password_file": str}, {})})}, {"receiver"}),
}
FUNCTIONS = {"coalesce": None, "sys.env": 1}
CONSTANTS = {"constants.hostname"}


def check_body(block, attributes, blocks):
    wanted = {a.rstrip("!"): kind for a, kind in attributes.items()}
    for name, value in block.attributes.items():
        if name not in wanted:
            raise Wrong(f"line {block.line}: {block.name} has no attribute {name}; it has {', '.join(sorted(wanted))}")
        if not isinstance(value, (wanted[name], Call, Reference)):
            raise Wrong(f"line {block.line}: {block.name}.{name} is a {type(value).__name__}, not a {wanted[name].__name__}")
    for name in attributes:
        if name.endswith("!") and name[:-1] not in block.attributes:
            raise Wrong(f"line {block.line}: {block.name} needs {name[:-1]}")
    for inner in block.blocks:
        if inner.name not in blocks:
            raise Wrong(f"line {inner.line}: no block {inner.name} in {block.name}")
        check_body(inner, *blocks[inner.name])


def references(value):
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, Call):
        count = FUNCTIONS.get(value.name, -1)
        if value.name not in FUNCTIONS or (count is not None and len(value.arguments) != count):
            raise Wrong(f"no function {value.name} of {len(value.arguments)} arguments")
        value = value.arguments
    if isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from references(inner)


def check(tree):
    """Names, types and references. A component whose exports nobody uses is wrong too: a pipeline with a gap."""
    exports, used = set(), set()
    for component in tree.blocks:
        if component.name not in COMPONENTS or not component.label:
            raise Wrong(f"line {component.line}: no component {component.key}")
        attributes, blocks, exported = COMPONENTS[component.name]
        check_body(component, attributes, blocks)
        exports |= {f"{component.key}.{e}" for e in exported}

    def walk(block):
        for value in block.attributes.values():
            used.update(references(value))
        for inner in block.blocks:
            walk(inner)

    walk(tree)
    if missing := used - exports - CONSTANTS:
        raise Wrong(f"nothing exports {', '.join(sorted(missing))}")
    if idle := exports - used:
        raise Wrong(f"nothing uses {', '.join(sorted(idle))}")


# ---- what a pipeline does ----

def evaluate(value, env, hostname):
    if isinstance(value, Call):
        arguments = [evaluate(a, env, hostname) for a in value.arguments]
        return env.get(arguments[0], "") if value.name == "sys.env" else next((a for a in arguments if a), arguments[-1])
    if isinstance(value, Reference):
        return hostname
    return {k: evaluate(v, env, hostname) for k, v in value.items()} if isinstance(value, dict) else value


def search(expression, record):
    """JMESPath, as far as dotted names go."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", expression):
        raise Wrong(f"{expression!r}: only dotted names are known here")
    for name in expression.split("."):
        record = record.get(name) if isinstance(record, dict) else None
    return record


def as_text(value):
    """Alloy's getString(): a number without a needless fraction; null is no text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None if value is None else value if isinstance(value, str) else str(value)


GO_LAYOUTS = {"RFC3339": None, "RFC3339Nano": None}


def moment(text, layouts):
    """Nanoseconds since 1970 by the first layout that fits, or None."""
    for layout in layouts:
        zoned = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", text)
        naked = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?", text)
        if layout not in GO_LAYOUTS and layout != "2006-01-02T15:04:05.999999":
            raise Wrong(f"layout {layout!r} is not known here")
        m = zoned if layout in GO_LAYOUTS else naked
        if m:
            zone = m.group(3).replace("Z", "+00:00") if layout in GO_LAYOUTS else "+00:00"
            seconds = round(datetime.fromisoformat(m.group(1) + zone).astimezone(timezone.utc).timestamp())
            return seconds * 10**9 + int((m.group(2) or "").ljust(9, "0"))
    return None


class Entry:
    def __init__(self, line, labels):
        self.line, self.labels, self.metadata, self.extracted, self.time_ns = line, dict(labels), {}, {}, None


def selector_fits(selector, labels):
    pairs = re.fullmatch(r"\{(.*)\}", selector)
    wanted = re.findall(r'(\w+)="([^"]*)"', pairs.group(1)) if pairs else []
    if not wanted or ", ".join(f'{k}="{v}"' for k, v in wanted) != pairs.group(1):
        raise Wrong(f"{selector}: only label=\"value\" is known here")
    return all(labels.get(k) == v for k, v in wanted)


def run_stages(stages, entry):
    """The entry after the stages, or None where it was dropped."""
    for stage in stages:
        a = stage.attributes
        if stage.name == "stage.json":
            try:
                record = json.loads(entry.line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                if a.get("drop_malformed"):
                    return None
                continue
            for name, expression in a["expressions"].items():
                entry.extracted[name] = search(expression or name, record)
        elif stage.name == "stage.timestamp":
            entry.time_ns = moment(entry.extracted.get(a["source"]) or "", [a["format"], *a.get("fallback_formats", [])])
        elif stage.name in ("stage.labels", "stage.structured_metadata"):
            into = entry.labels if stage.name == "stage.labels" else entry.metadata
            for name, source in a["values"].items():
                text = as_text(entry.extracted.get(source or name))
                if text is not None:
                    into[name] = text
        elif stage.name == "stage.replace":
            assert "source" not in a
            entry.line = replace_groups(a["expression"], a.get("replace", ""), entry.line)
        elif stage.name == "stage.match":
            if selector_fits(a["selector"], entry.labels):
                entry = run_stages(stage.blocks, entry)
        elif stage.name == "stage.label_drop":
            for name in a["values"]:
                entry.labels.pop(name, None)
    return entry


def replace_groups(expression, replacement, line):
    """Each captured group is replaced, what is around it stays."""
    out, at = "", 0
    for m in re.finditer(expression, line):
        for group in range(1, (m.re.groups or 0) + 1):
            if m.start(group) >= at:
                out += line[at:m.start(group)] + replacement
                at = m.end(group)
    return out + line[at:]


class Pipeline:
    """The shipped file as a function of a line; `path` is the file that it was read from."""

    def __init__(self, text, env=None, hostname="gw1"):
        self.tree = parse(text)
        check(self.tree)
        self.components = {b.key: b for b in self.tree.blocks}
        (self.source,) = self.tree.all("loki.source.file")
        matched = self.components[self.source.attributes["targets"].rpartition(".")[0]]
        (self.target,) = (evaluate(t, env or {}, hostname) for t in matched.attributes["path_targets"])
        (receiver,) = self.source.attributes["forward_to"]
        self.process = self.components[receiver.rpartition(".")[0]]
        (receiver,) = self.process.attributes["forward_to"]
        (self.endpoint,) = self.components[receiver.rpartition(".")[0]].all("endpoint")
        self.url = evaluate(self.endpoint.attributes["url"], env or {}, hostname)

    def run(self, line, path="/var/log/litellm/requests.log"):
        labels = {k: v for k, v in self.target.items() if not k.startswith("__")} | {"filename": path}
        return run_stages(self.process.blocks, Entry(line, labels))


def push_body(entries):
    """The body of POST /loki/api/v1/push: streams by labels; times are texts of nanoseconds; the third member is structured metadata."""
    streams = {}
    for e in entries:
        streams.setdefault(tuple(sorted(e.labels.items())), []).append([str(e.time_ns), e.line, e.metadata])
    return {"streams": [{"stream": dict(labels), "values": values} for labels, values in streams.items()]}
