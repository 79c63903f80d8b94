"""The events of a run: what executors and the runner report, and who receives it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.records.record import Record
    from benchmark.store.artifacts import StageCall


class Listener:
    """Receives the events of a run. Each method ignores its event; subclasses override those that they need."""

    def stage_started(self, call: StageCall, where: str) -> None:
        """A stage started, or started again after it was lost; `where` names its worker, container or node."""

    def stage_progressed(self, call: StageCall, done: int, total: int, tokens: int | None = None) -> None:
        """A stage has done some of its steps; `tokens` counts the tokens that it has read, where it knows."""

    def stage_finished(self, call: StageCall) -> None:
        """The artifact of a stage is in the store."""

    def cell_recorded(self, record: Record) -> None:
        """The record of a cell was written."""

    def note(self, text: str) -> None:
        """Something happened that the user should know; one line."""


class Events(Listener):
    """Passes each event of a run to several listeners, in the order in which they were added."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = [*listeners]

    @contextmanager
    def heard_by(self, listener: Listener) -> Iterator[None]:
        """Add a listener for the duration of the block."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def stage_started(self, call: StageCall, where: str) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.stage_started(call, where)

    def stage_progressed(self, call: StageCall, done: int, total: int, tokens: int | None = None) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.stage_progressed(call, done, total, tokens)

    def stage_finished(self, call: StageCall) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.stage_finished(call)

    def cell_recorded(self, record: Record) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.cell_recorded(record)

    def note(self, text: str) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.note(text)


class Relay(Listener):
    """Collects the events that other threads report, until the main thread delivers them."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def deliver(self) -> None:
        """Pass on the collected events, in their order, in the calling thread."""
        while not self._waiting.empty():
            self._waiting.get()()

    def stage_started(self, call: StageCall, where: str) -> None:
        """Collect it."""
        self._waiting.put(partial(self._listener.stage_started, call, where))

    def stage_progressed(self, call: StageCall, done: int, total: int, tokens: int | None = None) -> None:
        """Collect it."""
        self._waiting.put(partial(self._listener.stage_progressed, call, done, total, tokens))

    def note(self, text: str) -> None:
        """Collect it."""
        self._waiting.put(partial(self._listener.note, text))
