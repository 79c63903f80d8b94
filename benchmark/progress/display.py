"""The display of a run on stderr: bars at a terminal, plain lines in a log.

Lines are printed here and not by `logging`: a full disk has to end the run, and logging's handlers hide such errors.
"""

import errno
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from benchmark.progress.account import Account
from benchmark.progress.events import Listener
from benchmark.progress.state import line, rates, stage_name, summary
from benchmark.store.artifacts import StageCall

if TYPE_CHECKING:
    from rich.progress import TaskID

_EVERY = 30.0  # seconds of a log without a line, after which one about the running stages follows


class _LastingStream:
    """A stream that ignores the loss of its terminal: a run that was started to outlive it (setsid) continues."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with _terminal_may_be_gone():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with _terminal_may_be_gone():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _terminal_may_be_gone() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise


def _stderr() -> IO[str]:
    return cast("IO[str]", _LastingStream(sys.stderr))


class PlainDisplay(Listener):
    """Prints a line for each finished stage, and one about all running stages after half a minute without a line."""

    def __init__(self, account: Account) -> None:
        """Show a run by its account, which has to hear of each event first."""
        self._account, self._started, self._last = account, time.monotonic(), time.monotonic()
        self._stream = _stderr()

    def stage_progressed(self, call: StageCall, done: int, total: int, tokens: int | None = None) -> None:
        """Print the state of the run if the last line is old."""
        if time.monotonic() - self._last > _EVERY and done < total:
            self._print(line(self._account.state()))

    def stage_finished(self, call: StageCall) -> None:
        """Print that it is done."""
        self._print(f"{call.stage} {call.key[:8]} done")

    def note(self, text: str) -> None:
        """Print it."""
        self._print(text)

    def _print(self, text: str) -> None:
        self._last = time.monotonic()
        count = f"[{self._account.stages_done}/{self._account.stages}]"
        print(f"{count} {self._last - self._started:6.0f} s  {text}", file=self._stream, flush=True)


class RichDisplay(Listener):
    """Shows a bar for the run, one for each running stage, and a line with cells, time left and cost."""

    def __init__(self, account: Account) -> None:
        """Show a run by its account, which has to hear of each event first."""
        from rich.console import Console, RenderableType
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column
        from rich.text import Text

        class Bars(Progress):
            def get_renderables(self) -> Iterable[RenderableType]:
                yield self.make_tasks_table(self.tasks)
                yield Text(summary(account.state()))

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}", markup=False, table_column=Column(no_wrap=False)),
        )
        self._account = account
        self.bars: Progress = Bars(*columns, console=Console(file=_stderr()), transient=True)
        self._whole = self.bars.add_task("stages", total=account.stages, words="")
        self._bar_of: dict[str, TaskID] = {}

    def stage_started(self, call: StageCall, where: str) -> None:
        """Show a bar for it."""
        self._update(call)

    def stage_progressed(self, call: StageCall, done: int, total: int, tokens: int | None = None) -> None:
        """Move its bar. News of a stage that has finished is ignored."""
        self._update(call)

    def stage_finished(self, call: StageCall) -> None:
        """Remove its bar, and move that of the run."""
        if call.key in self._bar_of:
            self.bars.remove_task(self._bar_of.pop(call.key))
        self.bars.update(self._whole, completed=self._account.stages_done)

    def note(self, text: str) -> None:
        """Print it above the bars."""
        self.bars.console.print(text, markup=False, highlight=False)

    def _update(self, call: StageCall) -> None:
        stage = self._account.running_stage(call)
        if stage is None:
            return
        if call.key not in self._bar_of:
            self._bar_of[call.key] = self.bars.add_task(f"  {stage_name(stage)}", total=None, words="")
        words = ", ".join([*([stage.where] if stage.where else []), *rates(stage)])
        self.bars.update(self._bar_of[call.key], completed=stage.done, total=stage.total or None, words=words)


@contextmanager
def display(account: Account, plain: bool | None = None) -> Iterator[Listener]:
    """Show a run while the block lasts: by bars if stderr is a terminal, else by lines; `plain` overrides that."""
    if plain or (plain is None and not sys.stderr.isatty()):
        yield PlainDisplay(account)
        return
    shown = RichDisplay(account)
    with shown.bars:
        yield shown
