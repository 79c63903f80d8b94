"""Progress: bars for people at a terminal, plain lines for logs."""

import errno
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol, cast

from benchmark.progress.account import Overview, line, rates, stage_name, summary
from benchmark.store.artifacts import StageCall


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

    def start(self, call: StageCall, where: str) -> None:
        """A stage is begun somewhere: in a worker, a container, on a node."""

    def progress(self, call: StageCall, done: int, total: int, *tokens: int) -> None:
        """A stage has come so far, and read so many tokens where that is known."""

    def done(self, call: StageCall) -> None:
        """A stage's artifact is there."""

    def note(self, line: str) -> None:
        """Something that happened to the run."""


class PlainDisplay:
    """A line per finished stage and one about every half minute while a stage goes on, with all there is to say."""

    def __init__(self, overview: Overview) -> None:
        self.overview, self.began, self.last = overview, time.monotonic(), time.monotonic()
        self.stream = _stderr()

    def start(self, call: StageCall, where: str) -> None:
        """Take note of it."""
        self.overview.start(call, where)

    def progress(self, call: StageCall, done: int, total: int, *tokens: int) -> None:
        """Say how far the run is, now and then."""
        self.overview.progress(call, done, total, *tokens)
        if time.monotonic() - self.last > 30 and done < total:
            self._say(line(self.overview.state()))

    def done(self, call: StageCall) -> None:
        """Count a finished stage."""
        self.overview.done(call)
        self._say(f"{call.stage} {call.key[:8]} done")

    def note(self, line: str) -> None:
        """Say what happened."""
        self._say(line)

    def _say(self, what: str) -> None:
        self.last = time.monotonic()
        print(
            f"[{self.overview.stages_done}/{self.overview.stages}] {time.monotonic() - self.began:6.0f} s  {what}",
            file=self.stream,
            flush=True,
        )


class RichDisplay:
    """One bar for the run, one for every stage under way, and a line for what concerns all of it."""

    def __init__(self, overview: Overview) -> None:
        from rich.console import Console, RenderableType
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column
        from rich.text import Text

        class Bars(Progress):
            def get_renderables(self) -> Iterable[RenderableType]:
                yield self.make_tasks_table(self.tasks)
                yield Text(summary(overview.state()))

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}", markup=False, table_column=Column(no_wrap=False)),
        )
        self.overview = overview
        self.bars: Any = Bars(*columns, console=Console(file=_stderr()), transient=True)
        self.whole = self.bars.add_task("stages", total=overview.stages, words="")
        self.tasks: dict[str, int] = {}

    def start(self, call: StageCall, where: str) -> None:
        """Show a bar for it."""
        self.overview.start(call, where)
        self._show(call)

    def progress(self, call: StageCall, done: int, total: int, *tokens: int) -> None:
        """Move the stage's bar; what comes in late, when the stage is finished, is left aside."""
        self.overview.progress(call, done, total, *tokens)
        self._show(call)

    def done(self, call: StageCall) -> None:
        """Take the stage's bar away and move that of the run."""
        self.overview.done(call)
        if call.key in self.tasks:
            self.bars.remove_task(self.tasks.pop(call.key))
        self.bars.update(self.whole, completed=self.overview.stages_done)

    def note(self, line: str) -> None:
        """Say what happened, above the bars."""
        self.bars.console.print(line, markup=False, highlight=False)

    def _show(self, call: StageCall) -> None:
        one = self.overview.under_way(call)
        if one is None:
            return
        if call.key not in self.tasks:
            self.tasks[call.key] = self.bars.add_task(f"  {stage_name(one)}", total=None, words="")
        words = ", ".join([*([one.where] if one.where else []), *rates(one)])
        self.bars.update(self.tasks[call.key], completed=one.done, total=one.total or None, words=words)


@contextmanager
def display(overview: Overview, plain: bool | None = None) -> Iterator[Display]:
    """Choose by what stderr is; `plain` overrides."""
    if plain or (plain is None and not sys.stderr.isatty()):
        yield PlainDisplay(overview)
        return
    shown = RichDisplay(overview)
    with shown.bars:
        yield shown
