"""Being told to stop: by Ctrl-C, by SIGTERM (`docker stop`, a scheduler, a shutdown), by a terminal that goes away.

The first such signal raises Stopped in the main thread; within `finishing()`, when that block is through. What comes
within PATIENCE seconds after it (an impatient second Ctrl-C, a terminal's SIGHUP beside it) changes nothing, so that
what winds up is not torn apart.
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
PATIENCE = 5.0  # seconds; a signal after them raises again, for a library may have swallowed the first exception
LINE = "stopped; what is finished is kept, the same command goes on from there"


class Stopped(KeyboardInterrupt):
    """Somebody wants the command to end. Libraries take it for Ctrl-C."""


class _State:
    """What was asked for so far, of the one main thread."""

    asked: int | None = None
    quiet_until = 0.0
    holding = 0
    due = False


def asked() -> int | None:
    """Number of the signal that asked first; None if none has."""
    return _State.asked


def listen() -> dict[int, Any]:
    """Have signals raise Stopped from now on; returns the handlers there were.

    Those that this process was started to ignore (by nohup, say) stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    if _stop not in before.values():
        _forget()
    heard = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in heard:
        signal.signal(number, _stop)
    return heard


@contextmanager
def listening() -> Iterator[None]:
    """Have signals raise Stopped within the block: see `listen`."""
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
    """Let the block come to its end before a signal stops the command: for writes, and for cleaning up."""
    _State.holding += 1
    try:
        yield
    finally:
        _State.holding -= 1
    raise_if_due()


def raise_if_due() -> None:
    """Raise Stopped if a signal was put off and nothing has to be finished any more."""
    if _State.due and not _State.holding:
        _State.due = False
        raise Stopped


def raise_if_asked() -> None:
    """Raise Stopped if a signal came and nothing has ended since: a library may have swallowed the exception."""
    if _State.asked is not None:
        raise Stopped


def leave() -> NoReturn:
    """Say how to go on, and exit with 128 and the number of the signal, as shells count."""
    with suppress(OSError):  # the terminal may be gone
        print(LINE, file=sys.stderr, flush=True)
    raise SystemExit(128 + (_State.asked or signal.SIGINT))


def wind_up() -> None:
    """The command is through: for a while signals change nothing any more."""
    _State.quiet_until = time.monotonic() + PATIENCE


def ignore() -> None:
    """Ignore signals for the rest of this process: Python, as it ends, would give them back their power to kill."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _forget() -> None:
    _State.asked, _State.quiet_until, _State.holding, _State.due = None, 0.0, 0, False


def _stop(number: int, _: FrameType | None) -> None:
    if time.monotonic() < _State.quiet_until:
        return
    wind_up()
    _State.asked, _State.due = _State.asked or number, True
    raise_if_due()
