"""Weights that nobody needs any more: trained models of cells that are finished, which take most of a store's room."""

from dataclasses import replace
from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.progress.presence import any_running
from benchmark.runs.runner import missing
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.plan import Plan


def to_prune(plan: Plan, store: Store, records: Path) -> list[StageCall]:
    """The trainings in the store whose cells all have good records, so that no cell of the plan reads them again."""
    good, todo = missing(plan, records)
    needed = {call.key for call in replace(plan, cells=todo).calls()}
    trained = {cell.stages["train"].key: cell.stages["train"] for cell in plan.cells if cell.key in good}
    return [call for key, call in trained.items() if key not in needed and store.path(call).exists()]


def prune(plan: Plan, store: Store, records: Path) -> tuple[int, int]:
    """Remove these trainings; returns how many, and the bytes of their files. A lock that is held keeps its training.

    Raises UserError if a run is under way on the store, which may read them, or if they cannot be removed.
    """
    if any_running(store):
        raise UserError(f"{store.root}: a run is under way there (`benchmark status`); prune when it is over")
    removed = [store.remove(call) for call in to_prune(plan, store, records)]
    gone = [size for size in removed if size is not None]
    return len(gone), sum(gone)
