"""Run a suite: plan it, make the artifacts that are missing, and write a record for each cell.

`run_suite` → `SuiteRun.run_cells` → `Executor.run` → `schedule.run_in_order` → `worker.run_in_worker` (in a process, a
container or on a node) → `stages.run_stage` → `Store.make_artifact` → `run` of the stage's own module.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.executors.local import LocalExecutor
from benchmark.executors.protocol import Executor, Job
from benchmark.models.unpacked import unpacked_in
from benchmark.progress.account import Account
from benchmark.progress.display import display
from benchmark.progress.events import Events, Listener
from benchmark.progress.presence import published, remove_killed
from benchmark.records.record import Record
from benchmark.runs.folders import Folders
from benchmark.runs.prechecks import check_cells
from benchmark.runs.recording import clean_up, files_by_name, record_path, split_by_record, write_record
from benchmark.store.artifacts import StageCall
from benchmark.suite.choice import in_rounds
from benchmark.suite.plan import Cell, Plan, make_plan
from benchmark.suite.schema import Suite


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        plan: The suite's plan. With successive halving it holds the cells that were selected to run.
        records: The records of all cells, by cell key.
        made: Cells that had no valid record when the run began.
        stages: Stages whose artifacts this run made.
    """

    plan: Plan
    records: dict[str, Record]
    made: int
    stages: int


def run_suite(
    suite: Suite,
    results: Path,
    records: Path,
    executor: Executor | None = None,
    plain: bool | None = None,
    price: float | None = None,
) -> Outcome:
    """Make what a suite lacks, and write its records.

    Args:
        suite: The suite.
        results: Folder of the store.
        records: Folder of the records; each suite has a folder in it.
        executor: Runs the stages; by default in processes of this machine.
        plain: Show progress as lines even at a terminal.
        price: Price of one worker for an hour, to show what the run costs.

    Raises:
        UserError: The suite, its models or its data are wrong, or a folder cannot be written.
        StageFailed: A stage failed for another reason.
    """
    plan = make_plan(suite)
    run = SuiteRun(plan, Folders(results, records), executor or LocalExecutor(), Account(suite.name, price), plain)
    parts: list[Outcome] = []

    def run_round(cells: list[Cell]) -> dict[str, Record]:
        parts.append(run.run_cells(cells))
        return parts[-1].records

    cells, made = in_rounds(plan, run_round)
    return Outcome(
        replace(plan, cells=cells), made, sum(part.made for part in parts), sum(part.stages for part in parts)
    )


@dataclass(frozen=True)
class SuiteRun:
    """A run of a suite.

    Attributes:
        plan: The suite's plan.
        folders: Where its artifacts and records go.
        executor: Runs the stages.
        account: Counts cells and stages.
        plain: Show progress as lines even at a terminal; None decides by what stderr is.
    """

    plan: Plan
    folders: Folders
    executor: Executor
    account: Account
    plain: bool | None = None

    def run_cells(self, cells: list[Cell]) -> Outcome:
        """Make the artifacts and records that some cells lack; with successive halving, the cells of one round."""
        with unpacked_in(self.folders.store.root):
            return self._run_cells(cells)

    def _run_cells(self, cells: list[Cell]) -> Outcome:
        plan, store, records = self.plan, self.folders.store, self.folders.records
        good, todo = split_by_record(plan, records, cells)
        clean_up(
            store,
            records / plan.suite.name,
            {record_path(records, plan, cell): good[cell.key] for cell in cells if cell.key in good},
        )
        remove_killed(store, plan.suite.name)
        if not todo:
            return Outcome(plan, good, 0, 0)
        self.folders.create(plan.suite.name)
        store.sweep()
        calls = replace(plan, cells=todo).calls()
        needed = [call for call in calls if not store.verified(call)]
        self.account.add(len(cells), len(good), needed)
        events = Events(self.account)
        recorder = _Recorder(self, todo, needed, events)
        recorder.write(todo)
        if needed:
            check_cells(plan, todo, self.folders.results, remember=True)
            keys = {call.key for call in needed}
            for call in calls:
                if call.key not in keys:
                    self.account.add_duration(call, store.cost(call).seconds)
            self._execute(needed, events, recorder)
        return Outcome(plan, {**good, **recorder.records}, len(todo), len(needed))

    def _execute(self, needed: list[StageCall], events: Events, recorder: "_Recorder") -> None:
        """Run stages, while the display, the state's file and the recorder listen."""
        store, threads = self.folders.store, self.plan.suite.threads
        with display(self.account, self.plain) as shown, events.heard_by(shown):
            if note := slow_precision(self.plan):
                events.note(note)
            with published(store, self.account, events), events.heard_by(recorder):
                self.executor.run(Job(store, needed, threads), events)


class _Recorder(Listener):
    """Writes the record of each cell when the last of its stages has finished."""

    def __init__(self, run: SuiteRun, cells: list[Cell], needed: list[StageCall], events: Events) -> None:
        self._folders, self._plan, self._account, self._events = run.folders, run.plan, run.account, events
        self._older = files_by_name(run.folders.records / run.plan.suite.name)
        keys = {call.key for call in needed}
        self._lacks = {cell.key: keys & {call.key for call in cell.stages.values()} for cell in cells}
        self._lacked_by: dict[str, list[Cell]] = {}
        for cell in cells:
            for key in self._lacks[cell.key]:
                self._lacked_by.setdefault(key, []).append(cell)
        self.records: dict[str, Record] = {}

    def stage_finished(self, call: StageCall) -> None:
        """Note how long it took, and write the records of the cells that lacked only this stage."""
        self._account.add_duration(call, self._folders.store.cost(call).seconds)
        cells = self._lacked_by.pop(call.key, [])
        for cell in cells:
            self._lacks[cell.key].discard(call.key)
        self.write(cells)

    def write(self, cells: list[Cell]) -> None:
        """Write the record of each given cell whose stages have all finished."""
        for cell in cells:
            if not self._lacks[cell.key]:
                record = write_record(self._folders.store, self._plan, cell, self._folders.records, self._older)
                self.records[cell.key] = record
                self._events.cell_recorded(record)


def slow_precision(plan: Plan) -> str:
    """A note if a suite computes in bfloat16 on a CPU that has no instructions for it; else empty.

    The precision stays as the suite says: another one would be another experiment.
    """
    suite = plan.suite
    low = [f"models.{name}.dtype" for name in plan.fingerprints if suite.models[name].dtype != "float32"]
    low += ["recipe.autocast"] if any(recipe.autocast != "none" for recipe in suite.recipes) else []
    if plan.device != "cpu" or not low:
        return ""
    from benchmark.doctor import SLOW, bfloat16_slowdown

    if (ratio := bfloat16_slowdown()) < SLOW:
        return ""
    return (
        f"note: {', '.join(low)}: this CPU computes in bfloat16 {ratio:.0f} times as slowly as in float32; "
        "dtype: float32 and autocast: none make another, faster comparison"
    )
