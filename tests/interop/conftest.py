"""Fixtures: real peers, and weir beside, in front of or behind them. The harness is that of the end-to-end tests."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import json  # noqa: E402

import peers  # noqa: E402
import pytest  # noqa: E402
from harness import Gateway, Mock  # noqa: E402
from load import simulated  # noqa: E402
from shared import needs, shared_config  # noqa: E402


def pytest_report_header():
    packages = {"sdk": "openai", "litellm": "litellm", "llama": "llama_cpp_python", "locust": "locust", "locust-2.12": "locust"}
    have = [f"{p} {peers.version_of(e, p)}" if peers.is_installed(e) else f"{p} not installed" for e, p in packages.items()]
    return "interop: " + ", ".join(have)


@pytest.fixture(scope="session")
def mock():
    with Mock() as m:
        yield m


@pytest.fixture
def weir_simulated(tmp_path):
    started = []

    def start(**sections):
        started.append(simulated(tmp_path, **sections))
        return started[-1].start()

    yield start
    for gateway in started:
        gateway.finish()


@pytest.fixture
def fresh_mock():
    with Mock() as m:
        yield m


@pytest.fixture(scope="session")
def gateway(mock, tmp_path_factory):
    """weir by the shared configuration."""
    started = Gateway(tmp_path_factory.mktemp("weir"), shared_config(mock.base)).start()
    yield started
    started.finish()


@pytest.fixture(scope="session")
def litellm(mock, tmp_path_factory):
    """LiteLLM by the shared configuration."""
    needs("litellm")
    folder = tmp_path_factory.mktemp("litellm")
    (folder / "config.yaml").write_text(json.dumps(shared_config(mock.base), indent=1))  # JSON is YAML
    with peers.litellm(folder, folder / "config.yaml") as running:
        yield running


@pytest.fixture
def weir(tmp_path):
    """weir(config(...)) starts a gateway of the test's own."""
    started = []

    def start(settings):
        folder = tmp_path / f"weir{len(started)}"
        folder.mkdir()
        started.append(Gateway(folder, settings))
        return started[-1].start()

    yield start
    for running in started:
        running.finish()
