"""Delete what takes most of the space in a store: the weights of finished cells, and unpacked GGUF models."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmark.core.errors import UserError
from benchmark.models.unpacked import remove_unpacked
from benchmark.progress.presence import any_running
from benchmark.runs.recording import split_by_record
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.plan import Plan


def to_prune(plan: Plan, store: Store, good: Collection[str]) -> list[StageCall]:
    """The trainings in the store that no cell of the plan reads again, since their cells all have good records.

    `good` holds the keys of the cells with such a record.
    """
    todo = [cell for cell in plan.cells if cell.key not in good]
    needed = {call.key for call in replace(plan, cells=todo).calls()}
    finished = [cell for cell in plan.cells if cell.key in good and cell.recipe]  # references train nothing
    trained = {cell.stages["train"].key: cell.stages["train"] for cell in finished}
    return [call for key, call in trained.items() if key not in needed and store.path(call).exists()]


class Pruned(NamedTuple):
    """What was deleted: the numbers of trainings and of GGUF models with unpacked files, and the bytes of all files."""

    trainings: int
    unpacked: int
    bytes: int


def prune(plan: Plan, store: Store, records: Path, dry_run: bool = False) -> Pruned:
    """Delete the trainings that `to_prune` lists and, if all cells have records, the suite's unpacked GGUF models.

    A training whose lock is held stays. With `dry_run` nothing is deleted, only counted.

    Raises:
        UserError: A run is active on the store, since it may read them, or they cannot be deleted.
    """
    if not dry_run and any_running(store):
        raise UserError(f"{store.root}: a run is active (see `benchmark status`); prune when it has ended")
    good, todo = split_by_record(plan, records)
    calls = to_prune(plan, store, good)
    sizes = [store.size(call) if dry_run else store.remove(call) for call in calls]
    trainings = [size for size in sizes if size is not None]
    models = () if todo else (*plan.suite.models.values(), *plan.suite.local_writers.values())
    unpacked = remove_unpacked(store.root, models, dry_run)
    return Pruned(len(trainings), len(unpacked), sum(trainings) + sum(unpacked))
