"""Stopping on Ctrl-C, SIGTERM (`docker stop`, a scheduler, a shutdown) and SIGHUP (a closed terminal).

The first such signal raises Stopped in the main thread, or at the end of a `finishing()` block. Signals within
REPEATS_IGNORED seconds after it (an impatient second Ctrl-C, a SIGHUP that accompanies it) are ignored, so that they do
not interrupt the cleaning up.
"""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REPEATS_IGNORED = 5.0  # seconds; a later signal raises again, because a library may have swallowed the first exception
STOPPED = "stopped; finished stages are kept; run the same command to continue"


class Stopped(KeyboardInterrupt):
    """Raised when a termination signal arrives. Libraries treat it like Ctrl-C."""


class _State:
    """Signals received so far by the main thread."""

    first: int | None = None
    quiet_until = 0.0
    finishing_blocks = 0
    due = False


def first_signal() -> int | None:
    """Number of the first signal received; None if there was none."""
    return _State.first


def listen() -> dict[int, Any]:
    """Make signals raise Stopped from now on; returns the previous handlers.

    Signals that were ignored when this process started (by nohup, for instance) stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    if _stop not in before.values():
        _forget()
    replaced = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in replaced:
        signal.signal(number, _stop)
    return replaced


@contextmanager
def listening() -> Iterator[None]:
    """Make signals raise Stopped within the block; see `listen`."""
    before = listen()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if _stop not in before.values():
            _forget()


@contextmanager
def finishing() -> Iterator[None]:
    """Delay Stopped until the end of the block: for writes and for cleaning up."""
    _State.finishing_blocks += 1
    try:
        yield
    finally:
        _State.finishing_blocks -= 1
    raise_if_due()


def raise_if_due() -> None:
    """Raise Stopped if a signal was delayed and no `finishing()` block is open any more."""
    if _State.due and not _State.finishing_blocks:
        _State.due = False
        raise Stopped


def raise_if_signalled() -> None:
    """Raise Stopped again if a signal was received: a library may have swallowed the first exception."""
    if _State.first is not None:
        raise Stopped


def exit_stopped() -> NoReturn:
    """Print how to continue, and exit with 128 plus the signal's number, as shells do."""
    with suppress(OSError):  # the terminal may be closed
        print(STOPPED, file=sys.stderr, flush=True)
    raise SystemExit(128 + (_State.first or signal.SIGINT))


def ignore_repeats() -> None:
    """Ignore signals for the next REPEATS_IGNORED seconds: the command has ended or is about to."""
    _State.quiet_until = time.monotonic() + REPEATS_IGNORED


def ignore() -> None:
    """Ignore signals for the rest of this process: Python would restore the handlers that kill it when it exits."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _forget() -> None:
    _State.first, _State.quiet_until, _State.finishing_blocks, _State.due = None, 0.0, 0, False


def _stop(number: int, _: FrameType | None) -> None:
    if time.monotonic() < _State.quiet_until:
        return
    ignore_repeats()
    _State.first, _State.due = _State.first or number, True
    raise_if_due()
