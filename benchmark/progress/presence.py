"""The runs on a store: each holds a lock as long as it lives, and leaves word of how far it is.

STORE/.locks/run-ID         held by the run; that of a killed run is free
STORE/.runs/ID.json         its state (see account.py), written anew every few seconds, gone when the run is over
"""

import os
import re
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from benchmark.core import signals as stop
from benchmark.core.errors import UserError
from benchmark.core.files import is_locked
from benchmark.core.inputs import read_text
from benchmark.progress.account import State
from benchmark.store.artifacts import Store

EVERY = 2.0  # seconds between two writes of a state
_PATIENCE = 3.0  # seconds that a write under way is waited for at the end
_MOST_BYTES = 2**20  # of a state
_MOST_FILES = 1000  # that are looked at
_NAME = re.compile(r"[0-9a-f]{12}")


@contextmanager
def running(store: Store) -> Iterator[str]:
    """The name of a run, whose lock is held meanwhile."""
    run = uuid.uuid4().hex[:12]
    with store.locked(_lock(run)):
        try:
            yield run
        finally:
            with suppress(OSError):
                (store.root / ".locks" / _lock(run)).unlink()


def is_over(store: Store, run: str) -> bool:
    """Whether no process holds a run's lock any more; its file is then removed."""
    with store.locked(_lock(run), wait=False) as free:
        if free:
            with suppress(OSError):
                (store.root / ".locks" / _lock(run)).unlink()
        return free


def any_under_way(store: Store) -> bool:
    """Whether a run is under way on a store, going by the locks that runs hold, be there word of them or not yet."""
    return any(is_locked(lock) for lock in (store.root / ".locks").glob(_lock("*")))


def _lock(run: str) -> str:
    return f"run-{run}"


@contextmanager
def reported(store: Store, state: Callable[[], State], note: Callable[[str], None]) -> Iterator[None]:
    """Leave word of a run in its store, for `benchmark status`, while the block lasts.

    A run goes on where that cannot be written; `note` is told so, once.
    """
    try:
        held = running(store)
        run = held.__enter__()
    except (OSError, UserError) as error:
        note(_untold(error))
        yield
        return
    reporter = _Reporter(_file(store, run), state, note)
    reporter.start()
    try:
        yield
    finally:
        with stop.finishing():
            reporter.end()
            held.__exit__(None, None, None)


class _Reporter(threading.Thread):
    """Writes a state again and again, beside the run, which a slow disk must not hold up."""

    def __init__(self, file: Path, state: Callable[[], State], note: Callable[[str], None]) -> None:
        super().__init__(daemon=True, name="state")
        self._file, self._state, self._note = file, state, note
        self._aside = file.with_name(f".{file.name}.new")
        self._over = threading.Event()

    def run(self) -> None:
        """Until the end."""
        signal.pthread_sigmask(signal.SIG_BLOCK, stop.SIGNALS)  # they are the main thread's
        told = False
        while True:
            try:
                self._write()
            except OSError as error:
                with suppress(OSError):
                    if not told:
                        self._note(_untold(error))
                told = True
            if self._over.wait(EVERY):
                return

    def end(self) -> None:
        """Write no more, and leave nothing."""
        self._over.set()
        self.join(_PATIENCE)
        for file in (self._file, self._aside):
            with suppress(OSError):
                file.unlink()

    def _write(self) -> None:
        """Whole or not at all; not flushed to the disk, since of no use after a power cut."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._aside.write_text(self._state().model_dump_json(), encoding="utf-8")
        os.replace(self._aside, self._file)


def _untold(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or error
    return f"benchmark status will not tell of this run: its state cannot be written ({reason})"


@dataclass(frozen=True)
class Run:
    """A run that left word: its name, whether it lives, and its last state."""

    name: str
    alive: bool
    state: State


def runs_on(store: Store) -> tuple[list[Run], list[str]]:
    """The runs that left word on a store, the oldest first, and a line for every file that holds no state.

    Nothing is written. What is read may be from anybody: names are to be shown by `benchmark.core.errors.clean`.
    """
    found: list[Run] = []
    strange: list[str] = []
    for file in _files(store):
        try:
            state = _read(file)
            found.append(Run(file.stem, is_locked(store.root / ".locks" / _lock(file.stem)), state))
        except FileNotFoundError:  # the run came to its end meanwhile
            continue
        except (UserError, OSError) as error:
            strange.append(str(error))
    return sorted(found, key=lambda run: run.state.at - run.state.seconds), strange


def forget_killed(store: Store, suite: str) -> None:
    """Remove what killed runs of a suite left word of, since another goes on in their place; never an error."""
    for file in _files(store):
        with suppress(OSError, UserError):
            try:
                gone = _read(file).suite == suite
            except UserError:
                gone = True  # cut off or made up: of no use to anybody
            if gone and is_over(store, file.stem):
                file.unlink(missing_ok=True)
                file.with_name(f".{file.name}.new").unlink(missing_ok=True)


def _file(store: Store, run: str) -> Path:
    return store.root / ".runs" / f"{run}.json"


def _files(store: Store) -> list[Path]:
    """The files of states, as far as they are named like one."""
    try:
        with os.scandir(store.root / ".runs") as entries:
            paths = [Path(entry.path) for entry in islice(entries, _MOST_FILES)]
    except OSError:
        return []
    return sorted(path for path in paths if path.suffix == ".json" and _NAME.fullmatch(path.stem))


def _read(file: Path) -> State:
    """Raises UserError naming the file if it holds no state, FileNotFoundError if it is not there any more."""
    if not os.path.lexists(file):
        raise FileNotFoundError(file)
    try:
        return State.model_validate_json(read_text(file, _MOST_BYTES, "remove it"), strict=True)
    except ValidationError:
        raise UserError(f"{file}: holds no state of a run; remove it") from None
    except UserError:
        if not os.path.lexists(file):
            raise FileNotFoundError(file) from None
        raise
