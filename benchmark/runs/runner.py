"""Run a suite: plan it, do what is missing, write the records."""

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.core.environment import usable_cores
from benchmark.core.errors import UserError
from benchmark.executors.local import run_calls
from benchmark.progress.account import Overview
from benchmark.progress.display import Display, display
from benchmark.progress.presence import forget_killed, reported
from benchmark.records.record import Record
from benchmark.runs.prechecks import check_cells
from benchmark.runs.recording import by_place, good_record, record_path, settle, write_record
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.choice import is_searched
from benchmark.suite.plan import Cell, Plan, make_plan
from benchmark.suite.schema import Suite
from benchmark.training.interrupted import made_elsewhere

# Makes artifacts elsewhere than in processes here: of the calls, sources first, with so many threads each. It tells the
# display of progress, and the function of each call that is done.
Executor = Callable[[Store, list[StageCall], int, Display, Callable[[StageCall], None]], None]


@dataclass(frozen=True)
class Outcome:
    """What a run did: the records of all its cells, how many of them and of the stages were made now.

    Where a suite asks for successive halving, the plan holds only the cells that came to be run.
    """

    plan: Plan
    records: dict[str, Record]
    made: int
    stages: int


def missing(plan: Plan, records: Path, cells: list[Cell] | None = None) -> tuple[dict[str, Record], list[Cell]]:
    """Good records by cell key, and the cells that have none; of all cells of the plan, or of `cells`."""
    good: dict[str, Record] = {}
    todo: list[Cell] = []
    for cell in plan.cells if cells is None else cells:
        record = good_record(record_path(records, plan, cell), plan, cell)
        if record:
            good[cell.key] = record
        else:
            todo.append(cell)
    return good, todo


def run_suite(
    suite: Suite,
    results: Path,
    records: Path,
    workers: int | None = None,
    plain: bool | None = None,
    executor: Executor | None = None,
    price: float | None = None,
) -> Outcome:
    """Do what is missing of a suite and write its records.

    Args:
        suite: what to run.
        results: folder of the store.
        records: folder of the records, one folder per suite in it.
        workers: processes; by default as many as the CPU has cores for the suite's threads, one on a GPU.
        plain: progress as lines even at a terminal.
        executor: where stages run; by default in `workers` processes here.
        price: of an hour of one worker, to tell what the run costs.

    Raises:
        UserError: something in the suite, its models or data is wrong, or the folders cannot be written.
    """
    plan = make_plan(suite)
    overview = Overview(suite.name, price)
    if not is_searched(suite):
        return _run_cells(plan, plan.cells, results, records, workers, plain, executor, overview)
    from benchmark.suite.choice import searches

    whole = Outcome(replace(plan, cells=[]), {}, 0, 0)
    under_way = [(search, next(search)) for search in searches(plan)]
    while under_way:
        wanted = [cell for _, cells in under_way for cell in cells]
        part = _run_cells(plan, wanted, results, records, workers, plain, executor, overview)
        whole = Outcome(
            replace(plan, cells=[*whole.plan.cells, *wanted]),
            {**whole.records, **part.records},
            whole.made + part.made,
            whole.stages + part.stages,
        )
        going_on = []
        for search, _ in under_way:
            with suppress(StopIteration):
                going_on.append((search, search.send(whole.records)))
        under_way = going_on
    return whole


def _run_cells(
    plan: Plan,
    cells: list[Cell],
    results: Path,
    records: Path,
    workers: int | None,
    plain: bool | None,
    executor: Executor | None,
    overview: Overview,
) -> Outcome:
    """Do what is missing of some of a plan's cells."""
    suite = plan.suite
    good, todo = missing(plan, records, cells)
    store = Store(results / "store")
    there = {record_path(records, plan, cell): good[cell.key] for cell in cells if cell.key in good}
    settle(store, records / suite.name, there)
    forget_killed(store, suite.name)
    if not todo:
        return Outcome(plan, good, 0, 0)
    for folder in (store.root, records / suite.name):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder}: {error.strerror}; give a folder that can be written with --results or --records"
            ) from None
    store.sweep()
    older = by_place(records / suite.name)

    calls = Plan(suite, plan.fingerprints, plan.device, todo).calls()
    needed = [call for call in calls if not store.verified(call)]
    to_do = {call.key for call in needed}
    overview.expect(len(cells), len(good), needed)
    lacks = {cell.key: to_do & {call.key for call in cell.stages.values()} for cell in todo}
    lacked_by: dict[str, list[Cell]] = {}
    for cell in todo:
        for key in lacks[cell.key]:
            lacked_by.setdefault(key, []).append(cell)

    def finish(cells: list[Cell]) -> None:
        """Write the record of every one of these cells whose stages are all there."""
        for cell in cells:
            if not lacks[cell.key]:
                good[cell.key] = write_record(store, plan, cell, records, older)
                overview.cell_done()

    finish(todo)
    if needed:
        check_cells(plan, todo, results, remember=True)
        _tell_if_slow(plan)
        for call in calls:
            if call.key not in to_do:
                overview.took(call, store.cost(call).seconds)
        with display(overview, plain) as shown, reported(store, overview.state, shown.note):

            def done(call: StageCall) -> None:
                shown.done(call)
                overview.took(call, store.cost(call).seconds)
                cells = lacked_by.pop(call.key, [])
                for cell in cells:
                    lacks[cell.key].discard(call.key)
                finish(cells)

            if executor is not None:
                executor(store, needed, suite.threads, shown, done)
            else:
                if note := _begun_on_something_else(store, needed):
                    shown.note(note)
                at_once = workers or default_workers(plan)
                run_calls(store, needed, at_once, suite.threads, shown.progress, done, shown.start)
    return Outcome(plan, good, len(todo), len(needed))


def _tell_if_slow(plan: Plan) -> None:
    """Say it where a suite on a CPU computes in bfloat16, and this CPU has no instructions for that.

    Another precision would be another experiment, so nothing is changed.
    """
    suite = plan.suite
    low = [f"models.{name}.dtype" for name in plan.fingerprints if suite.models[name].dtype != "float32"]
    low += ["recipe.autocast"] if any(recipe.autocast != "none" for recipe in suite.recipes) else []
    if plan.device != "cpu" or not low:
        return
    from benchmark.doctor import SLOW, bfloat16_slowdown

    if (ratio := bfloat16_slowdown()) >= SLOW:
        print(
            f"note: {', '.join(low)}: this CPU computes in bfloat16 {ratio:.0f} times as slowly as in float32; "
            "dtype: float32 and autocast: none make another, faster comparison",
            file=sys.stderr,
        )


def _begun_on_something_else(store: Store, needed: list[StageCall]) -> str:
    """Which trainings begin anew although they have checkpoints, and why; empty if none does."""
    if not (found := made_elsewhere(store, needed)):
        return ""
    what = ", ".join(sorted(set().union(*found.values())))
    return (
        f"note: {len(found)} of the trainings that were cut off begin anew, since their checkpoints were made with "
        f"another {what}, which may compute other bits"
    )


def default_workers(plan: Plan) -> int:
    """One process on a GPU; on a CPU as many as its usable cores hold of the suite's threads."""
    if plan.device == "cuda":
        return 1
    return max(1, usable_cores() // plan.suite.threads)
