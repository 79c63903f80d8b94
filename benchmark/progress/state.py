"""The state of a run at one moment, as its file holds it, and the words for it in bars, logs and `benchmark status`."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_STAGES_SHOWN = 8  # stages that a line describes one by one
LONGEST_NAME = 500  # characters

# Bounds on the values of a state: anyone who can write to the store may have written its file.
_Name = Annotated[str, Field(max_length=LONGEST_NAME)]
_Count = Annotated[int, Field(ge=0, le=2**53)]
_Number = Annotated[float, Field(ge=0, le=1e15)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RunningStage(_Strict):
    """A stage that is running.

    Attributes:
        stage: Its kind, as "train".
        key: Its key in the store.
        where: The worker, container or node that runs it; empty if unknown.
        seconds: Time since it started.
        done: Steps done.
        total: Steps in all; 0 if it has not reported any yet.
        steps_per_second: None if unknown.
        tokens_per_second: None if unknown.
    """

    stage: _Name
    key: _Name
    where: _Name
    seconds: _Number
    done: _Count
    total: _Count
    steps_per_second: _Number | None
    tokens_per_second: _Number | None


class RunState(_Strict):
    """The state of a run at one moment.

    Attributes:
        suite: Name of the suite.
        host: Name of the machine that the command runs on.
        pid: Process id of the command.
        at: The moment, in seconds since the epoch.
        seconds: Time since the run started.
        cells: Cells of the suite.
        cells_done: Cells that have their record.
        stages: Stages whose artifacts were missing when the run started.
        stages_done: How many of these have finished.
        under_way: The stages that are running.
        seconds_left: Estimate of the time left; None if there is nothing yet to estimate it from.
        worker_seconds: Time that workers have spent on stages, over all workers.
        device_seconds: The part of it spent on stages that use a GPU. Two stages that share a GPU both count.
        price: Price of one worker for an hour; None if not given.
    """

    suite: _Name
    host: _Name
    pid: _Count
    at: _Number
    seconds: _Number
    cells: _Count
    cells_done: _Count
    stages: _Count
    stages_done: _Count
    under_way: list[RunningStage]
    seconds_left: _Number | None
    worker_seconds: _Number
    device_seconds: _Number
    price: _Number | None


def line(state: RunState) -> str:
    """Running stages, cells, time left and cost in one line, for a log that counts the stages itself."""
    shown = [f"{stage_name(stage)} {stage_words(stage)}" for stage in state.under_way[:_STAGES_SHOWN]]
    if len(state.under_way) > _STAGES_SHOWN:
        shown.append(f"{len(state.under_way) - _STAGES_SHOWN} more")
    return "; ".join([*shown, summary(state)])


def summary(state: RunState) -> str:
    """Cells, time left and cost, as "3 of 10 cells, time left about 12 min, 640 worker seconds"."""
    left = "not known" if state.seconds_left is None else f"about {duration(state.seconds_left)}"
    cost = f"{state.worker_seconds:,.0f} worker seconds"
    if state.device_seconds:
        cost += f" ({state.device_seconds:,.0f} on a GPU)"
    if state.price is not None:
        cost += f", cost {state.worker_seconds / 3600 * state.price:,.2f}"
    return f"{state.cells_done} of {state.cells} cells, time left {left}, {cost}"


def stage_name(stage: RunningStage) -> str:
    """Its kind and the beginning of its key, which names its files and logs."""
    return f"{stage.stage} {stage.key[:8]}"


def stage_words(stage: RunningStage) -> str:
    """Its steps, where it runs, and how fast."""
    words = [f"{stage.done}/{stage.total}"] if stage.total else ["started"]
    words += [stage.where] if stage.where else []
    words += rates(stage)
    return ", ".join(words)


def rates(stage: RunningStage) -> list[str]:
    """Steps and tokens per second, as far as they are known."""
    words = [] if stage.steps_per_second is None else [f"{_short(stage.steps_per_second)} steps/s"]
    return words if stage.tokens_per_second is None else [*words, f"{_short(stage.tokens_per_second)} tokens/s"]


def duration(seconds: float) -> str:
    """Seconds in a unit that suits them: s, min, h or days."""
    for unit, length, most in (("s", 1, 100), ("min", 60, 6000), ("h", 3600, 48 * 3600)):
        if seconds < most:
            return f"{seconds / length:.1f} {unit}" if unit == "h" else f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:,.1f} days"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
