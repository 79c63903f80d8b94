"""A stage that is interrupted and resumed, as the store sees it."""

import json
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest

from benchmark.stages import run_stage
from benchmark.store.artifacts import Store
from benchmark.store.versions import RESUMABLE, VERSIONS
from benchmark.suite.plan import make_plan
from benchmark.training import checkpoints
from tests.tiny import make_tiny_model, tiny_suite


def test_the_cost_of_a_resumed_training_includes_the_time_before_the_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS_APART", 0.0)
    monkeypatch.setattr(checkpoints, "LARGEST_SHARE", 1e9)
    suite = tiny_suite(make_tiny_model(tmp_path / "model"), budgets=[{"steps": 8}])
    call = make_plan(suite).cells[0].stages["train"]
    store, seen = Store(tmp_path / "store"), list[int]()

    def until_five(done: int, total: int, tokens: int) -> None:
        seen.append(done)
        if seen == [1, 2, 3, 4, 5]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(store, call, until_five)
    (folder,) = store.resume_folder(call).parent.iterdir()
    assert folder == store.resume_folder(call)
    seal_with(folder / "trainer/checkpoint-4/seal.json", seconds=3600.0)
    assert run_stage(store, call, until_five)
    assert seen == [1, 2, 3, 4, 5, 5, 6, 7, 8]
    assert 3600 < store.cost(call).seconds < 3700
    assert not folder.exists()


def seal_with(file: Path, **info: float) -> None:
    seal = json.loads(file.read_text())
    seal["resume"] |= info
    file.write_text(json.dumps(seal))


def test_exactly_the_stages_that_can_resume_get_a_folder_to_resume_from() -> None:
    able = {
        name
        for name in VERSIONS
        if "resume_folder" in signature(import_module(f"benchmark.stages.{name}").run).parameters
    }
    assert able == RESUMABLE
