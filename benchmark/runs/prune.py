"""Delete the weights of finished cells, which take most of the space in a store."""

from dataclasses import replace
from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.progress.presence import any_running
from benchmark.runs.runner import missing
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.plan import Plan


def to_prune(plan: Plan, store: Store, records: Path) -> list[StageCall]:
    """The trainings in the store that no cell of the plan reads again, since their cells all have good records."""
    good, todo = missing(plan, records)
    needed = {call.key for call in replace(plan, cells=todo).calls()}
    trained = {cell.stages["train"].key: cell.stages["train"] for cell in plan.cells if cell.key in good}
    return [call for key, call in trained.items() if key not in needed and store.path(call).exists()]


def prune(plan: Plan, store: Store, records: Path) -> tuple[int, int]:
    """Delete the trainings that `to_prune` lists; returns their number and the bytes of their files.

    A training whose lock is held stays. Raises UserError if a run is active on the store, since it may read them, or if
    they cannot be deleted.
    """
    if any_running(store):
        raise UserError(f"{store.root}: a run is active (see `benchmark status`); prune when it has ended")
    sizes = [size for call in to_prune(plan, store, records) if (size := store.remove(call)) is not None]
    return len(sizes), sum(sizes)
