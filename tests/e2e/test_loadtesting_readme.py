"""The settings that the READMEs of the load tests list are those that the scripts have, with the same defaults."""
import re

from harness import ROOT

K6 = ROOT / "scripts/loadtesting/k6"
LOCUST = ROOT / "scripts/loadtesting/locust"
# Read by the scripts, and told in the row of another setting.
KEYS = {"LITELLM_API_KEY", "LITELLM_MASTER_KEY"}


def rows(page):
    """The cells of each row of each table."""
    lines = re.findall(r"^\| (.*) \|$", page.read_text(), re.MULTILINE)
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def quoted(cell):
    return re.findall(r"`([^`]*)`", cell)


def test_k6():
    told = {}
    for name, default, *_ in rows(K6 / "README.md"):
        for at, setting in enumerate(re.findall(r"`([A-Z][A-Z0-9_]+)`", name)):
            told[setting] = [d.strip().strip("`") for d in default.split(",")][at:at + 1] or [""]
    source = "".join(path.read_text() for path in K6.glob("*.js"))
    read = set(re.findall(r"(?:number|seconds|text)\(\s*'([A-Z0-9_]+)'", source)) | set(re.findall(r"__ENV\.([A-Z0-9_]+)", source))
    assert set(told) - KEYS == read - KEYS
    for name, default in re.findall(r"number\('([A-Z0-9_]+)', '([^']*)'\)", source):
        assert told[name][0].split(":")[0] == default, name
    for scenario in re.findall(r"^  '?([a-z-]+)'?: \(\) =>", source, re.MULTILINE):
        assert f"`{scenario}`" in (K6 / "README.md").read_text()


def test_locust():
    source = (LOCUST / "litellm_locustfile.py").read_text()
    options = dict(re.findall(r'^    add\("([a-z0-9-]+)", ([^,]+(?:\([^)]*\))?),', source, re.MULTILINE))
    listed = [row for row in rows(LOCUST / "README.md") if row[0].startswith("`--")]
    told = {quoted(option)[0][2:]: (quoted(env), default) for option, env, default, *_ in listed}
    assert set(told) == set(options) and len(options) >= 10
    for name, (env, default) in told.items():
        assert env[0] == "LITELLM_" + name.upper().replace("-", "_")
        value = {"OFF": "-1"}.get(options[name], options[name].strip('"'))
        if re.fullmatch(r"[-\d.]+", value):
            assert default.split(":")[0] == value, name
    text = (LOCUST / "README.md").read_text()
    for name in re.findall(r'environ\.get\("([A-Z_]+)"', source):
        assert name in text
    for kind in re.search(r'PARTS = \((.*)\)', source)[1].replace('"', "").split(", "):
        assert f"`{kind} MODEL`" in text
