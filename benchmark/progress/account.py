"""The account of a run: counts its cells and stages, and estimates its speed, time left and cost."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.progress.events import Listener
from benchmark.progress.state import LONGEST_NAME, RunningStage, RunState

if TYPE_CHECKING:
    from benchmark.records.record import Record
    from benchmark.store.artifacts import StageCall


@dataclass(frozen=True)
class _Reading:
    """The steps and tokens of a stage at one moment of the monotonic clock."""

    at: float
    done: int
    total: int
    tokens: int | None


@dataclass
class _Stage:
    """A running stage: its first and its latest reading, which its rates follow from."""

    call: StageCall
    where: str
    started: float
    first: _Reading | None = None
    latest: _Reading | None = None

    def read(self, reading: _Reading) -> None:
        if self.first is None or self.latest is None:
            self.first = reading
        elif reading.total != self.latest.total or reading.done < self.latest.done:
            self.first = reading  # another round of steps began: the next text to measure, or kind of request
        self.latest = reading

    @property
    def done(self) -> int:
        return self.latest.done if self.latest else 0

    @property
    def total(self) -> int:
        return self.latest.total if self.latest else 0

    def steps_per_second(self) -> float | None:
        first, latest = self.first, self.latest
        if first is None or latest is None or latest.at <= first.at or latest.done <= first.done:
            return None
        return (latest.done - first.done) / (latest.at - first.at)

    def tokens_per_second(self) -> float | None:
        first, latest = self.first, self.latest
        if first is None or latest is None or latest.at <= first.at:
            return None
        if latest.tokens is None or first.tokens is None:
            return None
        return max(0, latest.tokens - first.tokens) / (latest.at - first.at)

    def shown(self, now: float) -> RunningStage:
        return RunningStage(
            stage=self.call.stage,
            key=self.call.key,
            where=self.where,
            seconds=now - self.started,
            done=self.done,
            total=self.total,
            steps_per_second=self.steps_per_second(),
            tokens_per_second=self.tokens_per_second(),
        )


class Account(Listener):
    """Listens to a run and keeps its account; any thread may ask for its `state`.

    Attributes:
        stages: Stages whose artifacts were missing when the run started.
        stages_done: How many of these have finished.
    """

    def __init__(self, suite: str, price: float | None = None) -> None:
        """Start the account of a suite's run; `price` is that of one worker for an hour."""
        self._suite, self._price, self._started = suite, price, time.monotonic()
        self._cells = self._cells_done = self.stages = self.stages_done = self._most_at_once = 0
        self._worker_seconds = self._device_seconds = 0.0
        self._pending: dict[str, StageCall] = {}
        self._running: dict[str, _Stage] = {}
        self._durations: dict[tuple[str, ...], list[float]] = {}
        self._lock = threading.RLock()

    def add(self, cells: int, cells_done: int, missing: Iterable[StageCall]) -> None:
        """Add cells to the totals, and the stages whose artifacts are missing."""
        with self._lock:
            self._cells += cells
            self._cells_done += cells_done
            more = {call.key: call for call in missing}
            self._pending |= more
            self.stages += len(more)

    def add_duration(self, call: StageCall, seconds: float) -> None:
        """Note how long a finished stage took, in any run: similar stages are expected to take as long."""
        with self._lock:
            self._durations.setdefault(_kind(call), []).append(seconds)

    def stage_started(self, call: StageCall, where: str) -> None:
        """Count it as running. A stage that has finished stays finished: this news is late."""
        with self._lock:
            self._add_cost(call)
            if self._pending.pop(call.key, None) is None and call.key not in self._running:
                return
            self._running[call.key] = _Stage(call, where[:LONGEST_NAME], time.monotonic())
            self._most_at_once = max(self._most_at_once, len(self._running))

    def stage_progressed(self, call: StageCall, done: int, total: int, tokens: int | None = None) -> None:
        """Note its steps. News of a stage that has finished is ignored."""
        with self._lock:
            if call.key in self._pending:
                self.stage_started(call, "")
            if stage := self._running.get(call.key):
                stage.read(_Reading(time.monotonic(), done, total, tokens))

    def stage_finished(self, call: StageCall) -> None:
        """Count it as done."""
        with self._lock:
            self._add_cost(call)
            self._running.pop(call.key, None)
            self._pending.pop(call.key, None)
            self.stages_done += 1

    def cell_recorded(self, record: Record) -> None:
        """Count the cell as done."""
        with self._lock:
            self._cells_done += 1

    def running_stage(self, call: StageCall) -> RunningStage | None:
        """The state of a stage; None if it is not running."""
        with self._lock:
            stage = self._running.get(call.key)
            return stage.shown(time.monotonic()) if stage else None

    def state(self) -> RunState:
        """The state of the run now."""
        with self._lock:
            now = time.monotonic()
            running = list(self._running.values())
            return RunState(
                suite=self._suite,
                host=platform.node(),
                pid=os.getpid(),
                at=time.time(),
                seconds=now - self._started,
                cells=self._cells,
                cells_done=self._cells_done,
                stages=self.stages,
                stages_done=self.stages_done,
                under_way=[stage.shown(now) for stage in running],
                seconds_left=self._seconds_left(now),
                worker_seconds=self._worker_seconds + sum(now - stage.started for stage in running),
                device_seconds=self._device_seconds
                + sum(now - stage.started for stage in running if stage.call.uses_gpu),
                price=self._price,
            )

    def _add_cost(self, call: StageCall) -> None:
        """Add the time that a stage has run so far to the run's cost, if it is running."""
        if stage := self._running.get(call.key):
            seconds = time.monotonic() - stage.started
            self._worker_seconds += seconds
            self._device_seconds += seconds if call.uses_gpu else 0.0

    def _seconds_left(self, now: float) -> float | None:
        """The work left, shared by the largest number of stages seen at once; at least what the longest one needs."""
        running = [self._remaining(stage, now) for stage in self._running.values()]
        kinds = Counter(_kind(call) for call in self._pending.values())
        pending = [(count, self._expected(kind)) for kind, count in kinds.items()]
        known = [seconds for seconds in running if seconds is not None]
        known_pending = [count * seconds for count, seconds in pending if seconds is not None]
        if len(known) < len(running) or len(known_pending) < len(pending):
            return None
        return max([(sum(known) + sum(known_pending)) / max(1, self._most_at_once), *known])

    def _remaining(self, stage: _Stage, now: float) -> float | None:
        expected = self._expected(_kind(stage.call))
        by_duration = None if expected is None else max(0.0, expected - (now - stage.started))
        rate = stage.steps_per_second()
        if rate is None or stage.latest is None:
            return by_duration
        by_rate = max(0.0, (stage.total - stage.done) / rate - (now - stage.latest.at))
        # A training has one round of steps. Other stages may have further rounds, which the rate says nothing about.
        return by_rate if stage.call.stage == "train" else max(by_rate, by_duration or 0.0)

    def _expected(self, kind: tuple[str, ...]) -> float | None:
        durations = self._durations.get(kind)
        return sum(durations) / len(durations) if durations else None


def _kind(call: StageCall) -> tuple[str, ...]:
    """Equal for stages that take about the same time."""
    return call.stage, str(call.params.get("model")), str(call.params.get("budget"))
