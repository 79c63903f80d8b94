"""The presence of runs in a store: a lock that each run holds, and a file with its state for `benchmark status`.

STORE/.locks/run-ID         locked while the run lives; a killed run leaves it unlocked
STORE/.runs/ID.json         its state (progress/state.py), written every few seconds, removed when the run ends
"""

import os
import re
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from benchmark.core import signals as stop
from benchmark.core.errors import UserError
from benchmark.core.files import is_locked
from benchmark.core.inputs import read_text
from benchmark.progress.account import Account
from benchmark.progress.events import Listener
from benchmark.progress.state import RunState
from benchmark.store.artifacts import Store

EVERY = 2.0  # seconds between two writes of a state
_PATIENCE = 3.0  # seconds that the end of a run waits for a write
_MOST_BYTES = 2**20  # of a state's file
_MOST_FILES = 1000  # that a store's runs are looked for among
_RUN_ID = re.compile(r"[0-9a-f]{12}")


@contextmanager
def run_lock(store: Store) -> Iterator[str]:
    """Hold the lock of a new run while the block lasts; yields the run's id."""
    run = uuid.uuid4().hex[:12]
    with store.locked(_lock_name(run)):
        try:
            yield run
        finally:
            with suppress(OSError):
                _lock_file(store, run).unlink()


def has_ended(store: Store, run: str) -> bool:
    """Whether no process holds the lock of a run; the lock's file is then removed."""
    with store.locked(_lock_name(run), wait=False) as free:
        if free:
            with suppress(OSError):
                _lock_file(store, run).unlink()
        return free


def any_running(store: Store) -> bool:
    """Whether a run holds its lock on a store, also before it has written its state."""
    return any(is_locked(lock) for lock in (store.root / ".locks").glob(_lock_name("*")))


@contextmanager
def published(store: Store, account: Account, events: Listener) -> Iterator[None]:
    """Write the state of a run to its store, for `benchmark status`, while the block lasts.

    A store that refuses the file does not stop the run: `events` receives one note.
    """
    try:
        lock = run_lock(store)
        run = lock.__enter__()
    except (OSError, UserError) as error:
        events.note(_refused(error))
        yield
        return
    publisher = _Publisher(_state_file(store, run), account, events)
    publisher.start()
    try:
        yield
    finally:
        with stop.finishing():
            publisher.end()
            lock.__exit__(None, None, None)


class _Publisher(threading.Thread):
    """Writes the state of a run again and again, in a thread of its own, so that a slow disk does not delay the run."""

    def __init__(self, file: Path, account: Account, events: Listener) -> None:
        super().__init__(daemon=True, name="state")
        self._file, self._account, self._events = file, account, events
        self._temporary = file.with_name(f".{file.name}.new")
        self._over = threading.Event()

    def run(self) -> None:
        """Write until `end`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, stop.SIGNALS)  # the main thread handles them
        noted = False
        while True:
            try:
                self._write()
            except OSError as error:
                with suppress(OSError):
                    if not noted:
                        self._events.note(_refused(error))
                noted = True
            if self._over.wait(EVERY):
                return

    def end(self) -> None:
        """Stop writing and remove the file."""
        self._over.set()
        self.join(_PATIENCE)
        for file in (self._file, self._temporary):
            with suppress(OSError):
                file.unlink()

    def _write(self) -> None:
        """Write the file whole or not at all. It is not flushed to the disk: after a power cut it is of no use."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._temporary.write_text(self._account.state().model_dump_json(), encoding="utf-8")
        os.replace(self._temporary, self._file)


def _refused(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or error
    return f"benchmark status will not show this run: its state cannot be written ({reason})"


@dataclass(frozen=True)
class ListedRun:
    """A run as `benchmark status` lists it: its id, whether its process lives, and its last state."""

    name: str
    alive: bool
    state: RunState


def list_runs(store: Store) -> tuple[list[ListedRun], list[str]]:
    """The runs that have a state in a store, the oldest first, and a line for each file that holds no state.

    Writes nothing. Anyone may have written the files: pass names through `benchmark.core.errors.clean` to show them.
    """
    runs: list[ListedRun] = []
    problems: list[str] = []
    for file in _state_files(store):
        try:
            state = _read(file)
            runs.append(ListedRun(file.stem, is_locked(_lock_file(store, file.stem)), state))
        except FileNotFoundError:  # the run has ended meanwhile
            continue
        except (UserError, OSError) as error:
            problems.append(str(error))
    return sorted(runs, key=lambda run: run.state.at - run.state.seconds), problems


def remove_killed(store: Store, suite: str) -> None:
    """Remove the states of a suite's killed runs, since a new run replaces them. Never fails."""
    for file in _state_files(store):
        with suppress(OSError, UserError):
            try:
                replaced = _read(file).suite == suite
            except UserError:
                replaced = True  # a file that holds no state is useless to every suite
            if replaced and has_ended(store, file.stem):
                file.unlink(missing_ok=True)
                file.with_name(f".{file.name}.new").unlink(missing_ok=True)


def _lock_name(run: str) -> str:
    return f"run-{run}"


def _lock_file(store: Store, run: str) -> Path:
    return store.root / ".locks" / _lock_name(run)


def _state_file(store: Store, run: str) -> Path:
    return store.root / ".runs" / f"{run}.json"


def _state_files(store: Store) -> list[Path]:
    """The files in a store that are named as states are."""
    try:
        with os.scandir(store.root / ".runs") as entries:
            paths = [Path(entry.path) for entry in islice(entries, _MOST_FILES)]
    except OSError:
        return []
    return sorted(path for path in paths if path.suffix == ".json" and _RUN_ID.fullmatch(path.stem))


def _read(file: Path) -> RunState:
    """Read a state. Raises UserError naming a file that holds none, FileNotFoundError if the file is gone."""
    if not os.path.lexists(file):
        raise FileNotFoundError(file)
    try:
        return RunState.model_validate_json(read_text(file, _MOST_BYTES, "remove it"), strict=True)
    except ValidationError:
        raise UserError(f"{file}: holds no state of a run; remove it") from None
    except UserError:
        if not os.path.lexists(file):
            raise FileNotFoundError(file) from None
        raise
