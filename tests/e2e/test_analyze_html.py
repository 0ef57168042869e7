"""`weir analyze --html`: the page is well formed, fetches and runs nothing, and says what the JSON report says."""

import html.parser
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest

from harness import WEIR

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))
import generate  # noqa: E402

VOID = {"meta", "br", "link", "img", "input"}
TAGS = {"html", "head", "meta", "title", "style", "body", "nav", "main", "header", "footer", "section", "div", "figure",
        "figcaption", "h1", "h2", "p", "b", "i", "a", "span", "small", "code", "ul", "li", "table", "caption", "thead",
        "tbody", "tfoot", "tr", "th", "td", "svg", "g", "line", "path", "rect", "text"}
HOSTILE = ("</td></table><script>alert(1)</script>", "\" onmouseover=\"alert(1)", "'><img src=https://evil.example/x>",
           "\u202egpt-4o\u202c", "\u001b[31mred\u001b[0m", "a|b `c` [d](https://evil.example)", "]]>&amp;<!--", "x" * 3000)
UNITS = {"ms": 1, "s": 1000, "min": 60000, "h": 3600000, "d": 86400000}


def analyze(*args, status=0):
    done = subprocess.run([WEIR, "analyze", *map(str, args)], capture_output=True, check=False,
                          env={**os.environ, "TZ": "UTC"})
    assert done.returncode == status, (done.stdout[-500:], done.stderr[-2000:])
    return done


class Page(html.parser.HTMLParser):
    """Reads a page, and does not forgive."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.tables, self.captions, self.cell = [], set(), [], {}, [], None
        self.table_id, self.rows, self.titles = None, None, []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, tag
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        for name, value in attrs:
            assert not name.startswith("on") and name not in ("src", "srcset", "data", "action", "xlink:href"), (tag, attrs)
            assert name != "href" or value.startswith("#"), value
            assert name != "style" or value in ("text-align:left", "text-align:right"), value
            if name == "id":
                assert value not in self.ids
                self.ids.add(value)
        if tag == "a":
            self.links.append(dict(attrs)["href"])
        if tag == "div" and dict(attrs).get("id"):
            self.table_id = dict(attrs)["id"]
        if tag == "table":
            self.rows = self.tables.setdefault(self.table_id, [])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th", "title"):
            self.cell = ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell)
        if tag == "title":
            self.titles.append(self.cell)
        if tag in ("td", "th", "title"):
            self.cell = None

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data


def read_page(path):
    data = pathlib.Path(path).read_bytes()
    text = data.decode("utf-8")  # strict
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u0080-\u009f\u202a-\u202e\u2066-\u2069]", text)
    page = Page(text)
    for link in page.links:
        assert link[1:] in page.ids, link
    style = re.search(r"<style>(.*?)</style>", text, re.S).group(1)
    assert "url(" not in style and "@import" not in style
    svgs = re.findall(r"<svg class.*?\n</svg>\n(?=</figure>)", text, re.S)
    for svg in svgs:
        root = xml.fromstring(svg)
        assert root.get("role") == "img" and root.get("aria-label")
    assert len(svgs) == text.count("<figure")
    assert "Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; " in text
    return page, text


def ms(text):
    """'2 min 5 s' as 125000."""
    words = text.split()
    return sum(float(number.replace(",", "")) * UNITS[unit] for number, unit in zip(words[::2], words[1::2]))


@pytest.fixture(scope="module", name="week")
def make_week(tmp_path_factory):
    path = tmp_path_factory.mktemp("html") / "week.log"
    generate.write(str(path), shape="weir", lines=20000, seed=3, traps=True)
    return path


def test_says_what_the_json_says(week, tmp_path):
    out = tmp_path / "page.html"
    report = json.loads(analyze(week, "--html", out, "--format", "json").stdout)
    page, text = read_page(out)
    total = report["total"]
    tiles = dict(re.findall(r'<div class="tile[^"]*"><span>([^<]*)</span><b>([^<]*)</b>', text))
    assert tiles["Requests"] == f"{total['requests']:,}"
    assert ms(tiles["Latency p50"]) == pytest.approx(total["latency_ms"]["p50"], rel=.006)
    assert ms(tiles["First token p50"]) == pytest.approx(total["ttft_ms"]["p50"], rel=.006)
    assert float(tiles["Cost"][1:]) == pytest.approx(total["cost_usd"], rel=.006)
    assert float(tiles["Failed"].split()[0]) == pytest.approx(100 * total["error_rate"], rel=.006)

    head, *steps = page.tables["steps"]
    assert head[:5] == ["From", "Requests", "Failed", "Error rate", "Cancelled"]
    assert 20 < len(steps) <= 100
    known = {t["start"][:19].replace("T", " "): t for t in report["timeline"]}
    assert len(known) > 20
    for row in steps:
        step = known.get(row[0])
        if not step:
            assert row[1] == "0"
            continue
        assert row[1] == f"{step['requests']:,}"
        assert row[2] == f"{step['failure']:,}"
        assert row[4] == f"{step['cancelled']:,}"
        assert ms(row[5]) == pytest.approx(step["latency_ms"]["p50"], rel=.006)
        assert ms(row[7]) == pytest.approx(step["latency_ms"]["p99"], rel=.006)
    assert sum(int(row[1].replace(",", "")) for row in steps) == sum(t["requests"] for t in report["timeline"])

    _, *bands = page.tables["latencies"]
    assert sum(int(row[2].replace(",", "")) for row in bands) == total["latency_ms"]["count"]
    assert bands[-1][4] == "100 %"
    _, *groups = [row for row in page.tables["groups"] if len(row) > 2]
    assert [row[2] for row in groups] == [f"{g['requests']:,}" for g in report["groups"][:10]]
    # The tooltips of the first plot: the same again.
    succeeded = [int(n.replace(",", "")) for t in page.titles for n in re.findall(r"\nsucceeded: ([\d,]+)", t)]
    assert sum(succeeded) == sum(t["success"] for t in report["timeline"])


def test_more_steps_than_a_page_has_are_put_together(week, tmp_path):
    out = tmp_path / "page.html"
    report = json.loads(analyze(week, "--html", out, "--format", "json", "--timeline", "20m").stdout)
    assert len(report["timeline"]) > 400
    page, _ = read_page(out)
    _, *steps = page.tables["steps"]
    assert 50 <= len(steps) <= 100
    assert sum(int(row[1].replace(",", "")) for row in steps) == sum(t["requests"] for t in report["timeline"])


def test_is_small_and_whole(week, tmp_path):
    out = tmp_path / "page.html"
    out.write_text("what was there", encoding="utf-8")
    text = analyze(week, "--html", out).stdout.decode()
    assert "Requests  " in text  # the report is written all the same
    assert out.stat().st_size < 300_000
    assert os.listdir(tmp_path) == ["page.html"]  # and nothing of another name
    read_page(out)


def test_hostile_names_are_inert(tmp_path):
    log, out = tmp_path / "hostile<b>.log", tmp_path / "page.html"
    lines = []
    for n, name in enumerate(HOSTILE):
        for failed in (False, True):
            record = {"timestamp": f"2026-11-24T0{n}:00:00Z", "event": "request", "model": name, "provider": name,
                      "status": "failure" if failed else "success", "latency_ms": 10 * n + 1, "total_tokens": 7,
                      "prompt_tokens": 5, "completion_tokens": 2, "cost_usd": 0.5}
            if failed:
                record["error"] = {"type": name, "message": name}
            lines.append(json.dumps(record))
    lines += ["<script>alert('broken')</script>", "{\"a\": <img src=x onerror=alert(1)>", "\u202e```\x1b[31m"]
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    analyze(log, "--html", out, "--model", "*")
    page, text = read_page(out)
    assert "<script" not in text and "<img" not in text
    assert any("alert(1)" in cell for row in page.tables["groups"] for cell in row)  # shown, as text
    assert "&lt;script&gt;alert(&#39;broken&#39;)" in text
    assert "hostile&lt;b&gt;.log" in text
    assert len(text) < 200_000  # long names are cut where they come often


def test_markdown_is_inert_too(tmp_path):
    log = tmp_path / "m.log"
    record = {"timestamp": "2026-11-24T00:00:00Z", "event": "request", "model": "a|b `c`", "status": "success", "latency_ms": 5}
    later = {**record, "timestamp": "2026-11-24T05:00:00Z"}
    log.write_text(f"{json.dumps(record)}\n{json.dumps(later)}\n```\n<script>\n", encoding="utf-8")
    text = analyze(log, "--format", "markdown").stdout.decode()
    code, fence, rest = text.removeprefix("```text\n").partition("\n```\n")
    assert fence and "2 lines could not be read" in code and "<script>" in code and "▇" in code or "█" in code
    assert "Requests each" in code
    assert "<script>" not in rest and "```" not in rest
    rows = [line for line in rest.splitlines() if line.startswith("|")]
    assert any(r"a\|b \`c\`" in row for row in rows)
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1  # as many columns in each


@pytest.mark.parametrize("lines", [
    [], ["not json"], ['{"event":"request","model":"m","status":"success"}'],
    ['{"event":"request","model":"m","status":"success","latency_ms":5}'],
    ['{"timestamp":"2026-11-24T00:00:00Z","event":"request","model":"m","status":"failure"}'],
    ['{"timestamp":"2026-11-24T00:00:00Z","event":"request","model":"m","latency_ms":0}'],
    ['{"timestamp":"1970-01-01T00:00:00Z","event":"request","model":"m","latency_ms":1e14}',
     '{"timestamp":"9999-12-31T00:00:00Z","event":"request","model":"m","latency_ms":0.001,"cost_usd":1e300}'],
])
def test_little_to_show(tmp_path, lines):
    log, out = tmp_path / "a.log", tmp_path / "page.html"
    log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    analyze(log, "--html", out)
    _, text = read_page(out)
    assert not re.search(r"\b(nan|inf)\b", re.sub(r"<style>.*?</style>", "", text, flags=re.S))


def test_standard_output_has_one_thing(week, tmp_path):
    text = analyze(week, "--html", "-").stdout
    assert text.startswith(b"<!doctype html>") and text.endswith(b"</html>\n")
    out = tmp_path / "report.json"
    assert analyze(week, "--html", "-", "--format", "json", "--export", out).stdout.startswith(b"<!doctype html>")
    assert json.loads(out.read_text(encoding="utf-8"))["schema"] == 1
    assert b"--html -" in analyze(week, "--html", "-", "--format", "json", status=2).stderr
    several = analyze("--html", tmp_path / "p.html", "--timeline", "1s", week, status=2).stderr
    assert b"--timeline" in several and b"at least" in several


def test_what_is_no_plain_file_is_written_into(week, tmp_path):
    out, link = tmp_path / "real.html", tmp_path / "link.html"
    out.write_text("old", encoding="utf-8")
    link.symlink_to(out)
    analyze(week, "--html", link)
    assert link.is_symlink()
    read_page(out)
    analyze(week, "--html", "/dev/null")
    assert not pathlib.Path("/dev/null").is_file()
    assert b"--html: cannot write" in analyze(week, "--html", tmp_path / "none" / "p.html", status=3).stderr


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")
def test_a_browser_has_nothing_to_complain_of(week, tmp_path):
    out, shot = tmp_path / "page.html", tmp_path / "page.png"
    analyze(week, "--html", out)
    done = subprocess.run(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
         "--enable-logging=stderr", "--window-size=1240,1600", f"--screenshot={shot}", out.as_uri()],
        capture_output=True, check=False, timeout=120)
    said = [line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    assert not said
    assert shot.stat().st_size > 20_000
