"""Fixtures for all tests. Tests marked slow, docker, gpu or browser run only with -m (pyproject.toml)."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # else the threads of the test processes wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it when it is imported

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in `make test &`
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # as in `nohup make test`
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The same examples in every run, so that no test fails at random; --hypothesis-profile=explore searches for new ones.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", max_examples=5000, deadline=None, print_blob=True)
hypothesis.settings.load_profile("fixed")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of data outside the repository: BENCHMARK_SHARED, or ../shared beside the repository."""
    folder = Path(os.environ.get("BENCHMARK_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; set BENCHMARK_SHARED to the folder of the shared data")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random two-layer Llama with its tokenizer."""
    from tests.tiny import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")
