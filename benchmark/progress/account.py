"""How far a run is: what is done, what is under way and where, how fast, how long it may take, what it has cost.

One account for all executors and all who look at it: bars at a terminal, lines of a log, and `benchmark status`.
"""

import os
import platform
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from benchmark.store.artifacts import StageCall

_AT_ONCE = 8  # stages under way that a line tells of
_LONGEST = 500  # letters of a name

# Bounds of what a state may say: it is read from a file that anybody may have written who can write the store.
_Name = Annotated[str, Field(max_length=_LONGEST)]
_Count = Annotated[int, Field(ge=0, le=2**53)]
_Number = Annotated[float, Field(ge=0, le=1e15)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class UnderWay(_Strict):
    """A stage under way: where it runs, since how many seconds, its steps, and steps and tokens a second."""

    stage: _Name
    key: _Name
    where: _Name
    seconds: _Number
    done: _Count
    total: _Count
    steps_per_second: _Number | None
    tokens_per_second: _Number | None


class State(_Strict):
    """How far a run is, `at` a time (seconds of the epoch), so many `seconds` after it began.

    `seconds_left` is None as long as nothing is known to go by. Worker seconds are those of all stages together, device
    seconds those of stages on a GPU; two that share a GPU count each. `price` is that of an hour of one worker.
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
    under_way: list[UnderWay]
    seconds_left: _Number | None
    worker_seconds: _Number
    device_seconds: _Number
    price: _Number | None


@dataclass
class _Stage:
    call: StageCall
    where: str
    began: float
    done: int = 0
    total: int = 0
    tokens: int | None = None
    at: float = 0.0
    first: tuple[float, int, int | None] | None = None  # what the rates are counted from

    def told(self, now: float, done: int, total: int, tokens: int | None) -> None:
        if self.first is None or total != self.total or done < self.done:
            self.first = (now, done, tokens)  # another round begins: the next entry or kind of request
        self.at, self.done, self.total, self.tokens = now, done, total, tokens

    def steps_per_second(self) -> float | None:
        if self.first is None or self.at <= self.first[0] or self.done <= self.first[1]:
            return None
        return (self.done - self.first[1]) / (self.at - self.first[0])

    def tokens_per_second(self) -> float | None:
        if self.first is None or self.at <= self.first[0] or self.tokens is None or self.first[2] is None:
            return None
        return max(0, self.tokens - self.first[2]) / (self.at - self.first[0])


class Overview:
    """The account of a run, told by its runner and its executor; any thread may ask for its `state`.

    `stages` and `stages_done` count the stages that had to be done when the run began.
    """

    def __init__(self, suite: str, price: float | None = None) -> None:
        self._suite, self._price, self._began = suite, price, time.monotonic()
        self._cells = self._cells_done = self.stages = self.stages_done = self._most_at_once = 0
        self._worker_seconds = self._device_seconds = 0.0
        self._waiting: dict[str, StageCall] = {}
        self._under_way: dict[str, _Stage] = {}
        self._costs: dict[tuple[str, ...], list[float]] = {}
        self._lock = threading.RLock()

    def expect(self, cells: int, cells_done: int, to_do: Iterable[StageCall]) -> None:
        """There are so many cells more, some of them done, and these stages more to do."""
        with self._lock:
            self._cells += cells
            self._cells_done += cells_done
            more = {call.key: call for call in to_do}
            self._waiting |= more
            self.stages += len(more)

    def took(self, call: StageCall, seconds: float) -> None:
        """A finished stage took so many seconds, now or in an earlier run: those of its kind are expected to."""
        with self._lock:
            self._costs.setdefault(_kind(call), []).append(seconds)

    def start(self, call: StageCall, where: str) -> None:
        """A stage is begun, or begun again, somewhere."""
        with self._lock:
            self._end(call)
            if self._waiting.pop(call.key, None) is None and call.key not in self._under_way:
                return
            self._under_way[call.key] = _Stage(call, where[:_LONGEST], time.monotonic())
            self._most_at_once = max(self._most_at_once, len(self._under_way))

    def progress(self, call: StageCall, done: int, total: int, tokens: int | None = None) -> None:
        """A stage has done so many of its steps, and read so many tokens; late news of a finished one is left aside."""
        with self._lock:
            if call.key in self._waiting:
                self.start(call, "")
            if one := self._under_way.get(call.key):
                one.told(time.monotonic(), done, total, tokens)

    def done(self, call: StageCall) -> None:
        """A stage's artifact is there."""
        with self._lock:
            self._end(call)
            self._under_way.pop(call.key, None)
            self._waiting.pop(call.key, None)
            self.stages_done += 1

    def under_way(self, call: StageCall) -> UnderWay | None:
        """A stage as it stands; None if it is not under way."""
        with self._lock:
            one = self._under_way.get(call.key)
            return _told(one, time.monotonic()) if one else None

    def cell_done(self) -> None:
        """A cell's record is there."""
        with self._lock:
            self._cells_done += 1

    def state(self) -> State:
        """How far it is now."""
        with self._lock:
            now = time.monotonic()
            running = list(self._under_way.values())
            on_device = [one for one in running if _on_gpu(one.call)]
            return State(
                suite=self._suite,
                host=platform.node(),
                pid=os.getpid(),
                at=time.time(),
                seconds=now - self._began,
                cells=self._cells,
                cells_done=self._cells_done,
                stages=self.stages,
                stages_done=self.stages_done,
                under_way=[_told(one, now) for one in running],
                seconds_left=self._seconds_left(now),
                worker_seconds=self._worker_seconds + sum(now - one.began for one in running),
                device_seconds=self._device_seconds + sum(now - one.began for one in on_device),
                price=self._price,
            )

    def _end(self, call: StageCall) -> None:
        """Count what a stage has cost so far, if it is under way."""
        if one := self._under_way.get(call.key):
            seconds = time.monotonic() - one.began
            self._worker_seconds += seconds
            self._device_seconds += seconds if _on_gpu(call) else 0.0

    def _seconds_left(self, now: float) -> float | None:
        """What is left for all workers, divided by as many as were seen at work at once; at least the longest stage."""
        running = [self._remaining(one, now) for one in self._under_way.values()]
        kinds = Counter(_kind(call) for call in self._waiting.values())
        waiting = [(count, self._expected(kind)) for kind, count in kinds.items()]
        known = [seconds for seconds in running if seconds is not None]
        known_waiting = [count * seconds for count, seconds in waiting if seconds is not None]
        if len(known) < len(running) or len(known_waiting) < len(waiting):
            return None
        return max([(sum(known) + sum(known_waiting)) / max(1, self._most_at_once), *known])

    def _remaining(self, one: _Stage, now: float) -> float | None:
        expected = self._expected(_kind(one.call))
        by_kind = None if expected is None else max(0.0, expected - (now - one.began))
        if rate := one.steps_per_second():
            by_rate = max(0.0, (one.total - one.done) / rate - (now - one.at))
            # A training has one round of steps; others may have more to come, of which the rate says nothing.
            return by_rate if one.call.stage == "train" else max(by_rate, by_kind or 0.0)
        return by_kind

    def _expected(self, kind: tuple[str, ...]) -> float | None:
        costs = self._costs.get(kind)
        return sum(costs) / len(costs) if costs else None


def _kind(call: StageCall) -> tuple[str, ...]:
    """What stages have in common that take about the same time."""
    return call.stage, str(call.params.get("model")), str(call.params.get("budget"))


def _on_gpu(call: StageCall) -> bool:
    return call.params.get("device") == "cuda"


def _told(one: _Stage, now: float) -> UnderWay:
    return UnderWay(
        stage=one.call.stage,
        key=one.call.key,
        where=one.where,
        seconds=now - one.began,
        done=one.done,
        total=one.total,
        steps_per_second=one.steps_per_second(),
        tokens_per_second=one.tokens_per_second(),
    )


def line(state: State) -> str:
    """All of it in one line, for a log that counts the stages itself."""
    shown = [f"{stage_name(one)} {stage_words(one)}" for one in state.under_way[:_AT_ONCE]]
    if len(state.under_way) > _AT_ONCE:
        shown.append(f"{len(state.under_way) - _AT_ONCE} more")
    return "; ".join([*shown, summary(state)])


def summary(state: State) -> str:
    """Cells, time left and cost, as "3 of 10 cells, about 12 min left, 640 worker seconds"."""
    left = "not known" if state.seconds_left is None else f"about {duration(state.seconds_left)}"
    cost = f"{state.worker_seconds:,.0f} worker seconds"
    if state.device_seconds:
        cost += f" ({state.device_seconds:,.0f} on a GPU)"
    if state.price is not None:
        cost += f", cost {state.worker_seconds / 3600 * state.price:,.2f}"
    return f"{state.cells_done} of {state.cells} cells, time left {left}, {cost}"


def stage_name(one: UnderWay) -> str:
    """The stage and the beginning of its key, by which its files and logs are found."""
    return f"{one.stage} {one.key[:8]}"


def stage_words(one: UnderWay) -> str:
    """Its steps, where it runs, and how fast."""
    words = [f"{one.done}/{one.total}"] if one.total else ["begun"]
    words += [one.where] if one.where else []
    words += rates(one)
    return ", ".join(words)


def rates(one: UnderWay) -> list[str]:
    """Steps and tokens a second, where known."""
    words = [] if one.steps_per_second is None else [f"{_short(one.steps_per_second)} steps/s"]
    return words if one.tokens_per_second is None else [*words, f"{_short(one.tokens_per_second)} tokens/s"]


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them: s, min, h or days."""
    for unit, length, most in (("s", 1, 100), ("min", 60, 6000), ("h", 3600, 48 * 3600)):
        if seconds < most:
            return f"{seconds / length:.1f} {unit}" if unit == "h" else f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:,.1f} days"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
