"""What a run of a suite would still have to do, and how long that takes by the stages done before."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmark.models.unpacked import is_unpacked, unpacked_in
from benchmark.runs.folders import Folders
from benchmark.runs.prechecks import check_cells
from benchmark.runs.recording import split_by_record
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.plan import Plan, make_plan
from benchmark.suite.schema import Suite


@dataclass(frozen=True)
class PlanStatus:
    """A plan compared with the store.

    Attributes:
        plan: All cells of the suite.
        cells_done: Number of cells that have a valid record.
        missing: The stages that the other cells still need, sources before what reads them.
        mean_seconds: Mean seconds of the stored stages, by kind of stage.
        unpacked: Bytes on the disk of each GGUF model that a run unpacks into the store first, by its name.
    """

    plan: Plan
    cells_done: int
    missing: list[StageCall]
    mean_seconds: dict[str, float]
    unpacked: dict[str, int]

    @property
    def stages(self) -> dict[str, int]:
        """Number of stages of the whole plan, by kind."""
        return dict(Counter(call.stage for call in self.plan.calls()))

    @property
    def stages_left(self) -> dict[str, int]:
        """Number of missing stages, by kind."""
        return dict(Counter(call.stage for call in self.missing))

    @property
    def worker_seconds_left(self) -> float | None:
        """Seconds that one worker needs for the missing stages; None if no stage of some kind was done before."""
        left = self.stages_left
        if not all(stage in self.mean_seconds for stage in left):
            return None
        return sum(count * self.mean_seconds[stage] for stage, count in left.items())


def plan_status(suite: Suite, results: Path, records: Path) -> PlanStatus:
    """Look up what is stored of a suite; nothing is written.

    Args:
        suite: What to plan.
        results: Folder of the store.
        records: Folder of the records.

    Raises:
        UserError: The suite, its models or its data cannot be used.
    """
    plan = make_plan(suite)
    good, todo = split_by_record(plan, records)
    store = Folders(results, records).store
    with unpacked_in(store.root, writes=False):
        check_cells(plan, todo, results, remember=False, ask=False)
        unpacked = _to_unpack(suite, store) if todo else {}
    needed = {call.key for cell in todo for call in cell.stages.values()}
    calls = plan.calls()
    stored = [call for call in calls if store.has(call)]
    stored_keys = {call.key for call in stored}
    seconds: dict[str, list[float]] = {}
    for call in stored:
        seconds.setdefault(call.stage, []).append(store.cost(call).seconds)
    return PlanStatus(
        plan,
        len(good),
        [call for call in calls if call.key in needed and call.key not in stored_keys],
        {stage: sum(values) / len(values) for stage, values in seconds.items()},
        unpacked,
    )


def _to_unpack(suite: Suite, store: Store) -> dict[str, int]:
    """Bytes of the weights of each GGUF model that is not yet unpacked; a file that two models share counts once."""
    sizes: dict[str, int] = {}
    seen = set()
    for name, spec in {**suite.local_writers, **suite.models}.items():
        if spec.is_gguf and (spec.local, spec.dtype) not in seen and not is_unpacked(store.root, spec):
            from benchmark.memory.needs import SIZES
            from benchmark.memory.shape import shape_of

            seen.add((spec.local, spec.dtype))
            whole = spec.model_copy(update={"skip_layers": []})
            sizes[name] = shape_of(whole).parameters * SIZES[spec.dtype]
    return sizes
