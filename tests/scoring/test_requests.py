"""A suite and the command line must make the same texts, so they must request the same scores."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.data.texts import read_augmented
from benchmark.methods import METHODS
from benchmark.methods.mixed import Mixed
from benchmark.methods.texts import Texts
from benchmark.methods.written import WrittenMethod
from benchmark.stages import run_stage
from benchmark.store.artifacts import Store
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import Suite

PREFIX = "So: "
NEEDED = {"contrastive_blend": {"low": 0.5}}  # so that not all of the attention counts


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


# The texts of other methods come from a file or a writer.
BY_ITSELF = sorted(n for n, method in METHODS.items() if not issubclass(method, (Texts, WrittenMethod, Mixed)))


@pytest.mark.parametrize("name", BY_ITSELF)
def test_the_augment_command_makes_the_texts_of_a_suite(name: str, store: Store, tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "name": "requests",
        "models": {"large": "zoo:large", "small": "zoo:small"},
        "pairs": {"tiny": {"large": "large", "small": "small"}},
        "tasks": [{"name": "biography", "people": 3}],
        "train": ["small" if name == "selective_loss" else "large"],  # its reference is the large model
        "methods": [{"name": name, **NEEDED.get(name, {})}],
        "references": False,
        "copies": 2,
        "budgets": [{"steps": 1}],
        "scoring": {"prefix": PREFIX},
        "device": "cpu",
    }
    (cell,) = make_plan(Suite.model_validate(content)).cells
    run_stage(store, cell.stages["augment"], lambda *steps: None)
    texts = store.path(cell.stages["corpus"]) / "texts.jsonl"
    words = ["augment", name, "--texts", str(texts), "--out", str(tmp_path / "out.jsonl"), "--copies", "2"]
    words += ["--large", "zoo:large", "--small", "zoo:small", "--prefix", PREFIX, "--device", "cpu"]
    words += [word for key, value in NEEDED.get(name, {}).items() for word in ("--set", f"{key}={value}")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert read_augmented(tmp_path / "out.jsonl") == read_augmented(
        store.path(cell.stages["augment"]) / "augmented.jsonl"
    )
