"""Progress: bars for people at a terminal, plain lines for logs."""

import errno
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol, cast

from benchmark.store import StageCall


class _Lasting:
    """A stream that is no error when its terminal is gone: a run that was started to outlive it (setsid) goes on."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with _unless_gone():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with _unless_gone():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise


def _stderr() -> IO[str]:
    return cast("IO[str]", _Lasting(sys.stderr))


class Display(Protocol):
    """What a run tells about itself."""

    def progress(self, call: StageCall, done: int, total: int) -> None:
        """A stage has come so far."""

    def done(self, call: StageCall) -> None:
        """A stage's artifact is there."""

    def note(self, line: str) -> None:
        """Something that happened to the run."""


class PlainDisplay:
    """A line per finished stage and one about every half minute while a stage goes on."""

    def __init__(self, total: int) -> None:
        self.total, self.finished, self.began, self.last = total, 0, time.monotonic(), time.monotonic()
        self.stream = _stderr()

    def progress(self, call: StageCall, done: int, total: int) -> None:
        """Say how far a long stage is, now and then."""
        if time.monotonic() - self.last > 30 and done < total:
            self._say(f"{call.stage} {call.key[:8]} {done}/{total}")

    def done(self, call: StageCall) -> None:
        """Count a finished stage."""
        self.finished += 1
        self._say(f"{call.stage} {call.key[:8]} done")

    def note(self, line: str) -> None:
        """Say what happened."""
        self._say(line)

    def _say(self, what: str) -> None:
        self.last = time.monotonic()
        print(
            f"[{self.finished}/{self.total}] {time.monotonic() - self.began:6.0f} s  {what}",
            file=self.stream,
            flush=True,
        )


class RichDisplay:
    """One bar for the run and one for every stage under way."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.bars = Progress(*columns, console=Console(file=_stderr()), transient=True)
        self.whole = self.bars.add_task("stages", total=total)
        self.tasks: dict[str, int] = {}
        self.finished: set[str] = set()

    def progress(self, call: StageCall, done: int, total: int) -> None:
        """Move the stage's bar; what comes in late, when the stage is finished, is left aside."""
        if call.key in self.finished:
            return
        if call.key not in self.tasks:
            self.tasks[call.key] = self.bars.add_task(f"  {call.stage} {call.key[:8]}", total=total)
        self.bars.update(self.tasks[call.key], completed=done, total=total)  # type: ignore[arg-type]

    def done(self, call: StageCall) -> None:
        """Take the stage's bar away and move that of the run."""
        self.finished.add(call.key)
        if call.key in self.tasks:
            self.bars.remove_task(self.tasks.pop(call.key))  # type: ignore[arg-type]
        self.bars.advance(self.whole)

    def note(self, line: str) -> None:
        """Say what happened, above the bars."""
        self.bars.console.print(line, markup=False, highlight=False)


@contextmanager
def display(total: int, plain: bool | None = None) -> Iterator[Display]:
    """Choose by what stderr is; `plain` overrides."""
    if plain or (plain is None and not sys.stderr.isatty()):
        yield PlainDisplay(total)
        return
    shown = RichDisplay(total)
    with shown.bars:
        yield shown
