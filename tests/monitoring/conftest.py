"""Fixtures of the monitoring folder's tests: those of tests/e2e (weir, mock, fresh_mock, upstream), and where tools and shipped files are.

Tools of Debian (prometheus, promtool, prometheus-alertmanager, amtool) are the machine's, or those that scripts/dev/install-deps unpacked. A test that
needs one says so by needs_tool("prometheus") of live.py and is skipped, with a line that says why, where it is not there.
"""
import importlib.util
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in (ROOT / "tests/monitoring", ROOT / "tests/e2e"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

# By path and under a name of its own: both folders have a conftest.
_spec = importlib.util.spec_from_file_location("e2e_conftest", ROOT / "tests/e2e/conftest.py")
_e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_e2e)
mock, fresh_mock, weir, upstream = _e2e.mock, _e2e.fresh_mock, _e2e.weir, _e2e.upstream

# They wait a minute or more. Whole files are handed to processes in the order of collection: one that came last would be waited for alone.
LONGEST_FIRST = ("test_live.py", "test_live_faults.py")


def pytest_collection_modifyitems(items):
    """Of a whole run, those of tests/e2e too. The order of the others stays."""
    places = {name: at for at, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)) if item.path.parent.name == "monitoring" else len(places))
