"""A bar on stderr for a command with one long task: at a terminal a bar, in a log a line now and then."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmark.core.progress import Progress

_EVERY = 30.0  # seconds between two lines of a log


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """Show the progress that is reported within the block.

    Args:
        what: What is counted, such as "texts written".
    """
    if not sys.stderr.isatty():
        yield _lines(what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(file=sys.stderr), transient=True) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total, *_: bars.update(task, completed=done, total=total)


def _lines(what: str) -> Progress:
    last = time.monotonic()

    def report(done: int, total: int, *_: int) -> None:
        nonlocal last
        if time.monotonic() - last > _EVERY:
            last = time.monotonic()
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    return report
