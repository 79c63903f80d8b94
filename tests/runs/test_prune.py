"""Pruning: which artifacts it deletes, and which have to stay."""

from pathlib import Path

import pytest

from benchmark.core.errors import UserError
from benchmark.progress.presence import run_lock
from benchmark.runs.plan_status import plan_status
from benchmark.runs.prune import prune, to_prune
from benchmark.runs.recording import split_by_record
from benchmark.runs.runner import run_suite
from benchmark.store.artifacts import Store
from benchmark.suite.plan import Plan, make_plan
from tests.tiny import InThisProcess, make_tiny_model, tiny_suite


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def finished(tiny: Path, tmp_path: Path) -> tuple[Plan, Store, Path]:
    """A finished suite of two cells."""
    suite = tiny_suite(tiny)
    run_suite(suite, tmp_path, tmp_path / "records", InThisProcess(), plain=True)
    return make_plan(suite), Store(tmp_path / "store"), tmp_path / "records"


def test_pruning_deletes_the_weights_of_finished_cells_and_the_suite_stays_finished(
    finished: tuple[Plan, Store, Path],
) -> None:
    plan, store, records = finished
    folders = [store.path(cell.stages["train"]) for cell in plan.cells]
    size = sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
    assert size > 10_000 and prune(plan, store, records) == (2, 0, size)
    assert not any(folder.exists() for folder in folders)
    assert all(store.verified(call) for call in plan.calls() if call.stage != "train")
    again = run_suite(plan.suite, store.root.parent, records, InThisProcess(), plain=True)
    assert (again.made, again.stages, len(again.records)) == (0, 0, 2)
    assert prune(plan, store, records) == (0, 0, 0)


def test_the_weights_that_an_unfinished_cell_reads_stay(finished: tuple[Plan, Store, Path]) -> None:
    plan, store, records = finished
    (record,) = records.glob("*/*random_dropout*.json")
    record.unlink()
    assert prune(plan, store, records)[0] == 1
    left = {cell.method.name: store.verified(cell.stages["train"]) for cell in plan.cells}
    assert left == {"plain_matched": False, "random_dropout": True}


def test_nothing_is_deleted_during_a_run_or_while_its_lock_is_held(finished: tuple[Plan, Store, Path]) -> None:
    plan, store, records = finished
    train = plan.cells[0].stages["train"]
    with store.locked(f"train-{train.key}"):
        assert prune(plan, store, records)[0] == 1
    assert store.verified(train)
    with (
        run_lock(store),
        pytest.raises(UserError, match=r"store: a run is active \("),
    ):
        prune(plan, store, records)
    assert to_prune(plan, store, split_by_record(plan, records)[0]) == [train]


def test_gguf_models_are_unpacked_once_counted_by_the_plan_and_removed_when_the_suite_is_finished(
    tiny: Path, tmp_path: Path
) -> None:
    from benchmark.models.loading import load_model
    from scripts.strangers.models import write_gguf

    suite = tiny_suite(write_gguf(tiny, tmp_path / "tiny.gguf"))
    results, records = tmp_path / "results", tmp_path / "records"
    (name,) = suite.models
    numbers = sum(weights.numel() for weights in load_model(suite.models[name], "cpu").parameters())
    assert plan_status(suite, results, records).unpacked == {name: 4 * numbers}
    assert not results.exists()
    run_suite(suite, results, records, InThisProcess(), plain=True)
    assert plan_status(suite, results, records).unpacked == {}
    plan, store = make_plan(suite), Store(results / "store")
    expected = prune(plan, store, records, dry_run=True)
    assert (expected.trainings, expected.unpacked) == (2, 1) and expected.bytes > 4 * numbers
    assert prune(plan, store, records) == expected
    assert not list(store.root.glob(".unpacked/*"))
