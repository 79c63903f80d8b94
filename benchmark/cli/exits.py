"""Exit codes, and the one line on stderr that a failed command ends with."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from traceback import format_exception

from benchmark.core import signals as stop
from benchmark.core.errors import USER_ERRNOS, StageFailed, UserError, clean, hide_secrets


def run_command(app: Callable[[], object]) -> None:
    """Run the Typer app on the process's arguments, and end the process with the right exit code.

    Bad input is one line on stderr and exit code 2, a failed stage its report and 1, Ctrl-C one line and 130, another
    termination signal one line and 128 plus its number. Any other exception keeps its traceback, without secrets.
    """
    sys.excepthook = lambda kind, error, trace: print(
        hide_secrets("".join(format_exception(error))), end="", file=sys.stderr
    )
    with stop.listening():
        try:
            _run_and_flush(app)
        except SystemExit as end:
            if end.code and (stop.first_signal() or end.code == 130):  # Typer turns KeyboardInterrupt into 130
                stop.exit_stopped()
            raise
        except Exception as error:
            if stop.first_signal():  # a library may have replaced KeyboardInterrupt by an exception of its own
                stop.exit_stopped()
            _exit_with_line(error)
            raise


def _run_and_flush(app: Callable[[], object]) -> None:
    """Run the app and flush stdout, so that a full disk is reported like any other error."""
    try:
        app()
    except SystemExit as end:
        if not end.code:
            sys.stdout.flush()
        raise


def _exit_with_line(error: Exception) -> None:
    """Print the error as one line and exit; return without doing either if it needs its traceback."""
    if isinstance(error, UserError):
        code, line = 2, clean(str(error))  # the message may quote a file with terminal control characters
    elif isinstance(error, StageFailed):
        code, line = 1, hide_secrets(str(error))
    elif isinstance(error, BrokenPipeError):  # the reader has closed the pipe (`| head`)
        code, line = 1, ""
    elif isinstance(error, OSError) and error.errno in USER_ERRNOS:
        code, line = 2, f"{error.filename or 'disk'}: {error.strerror}; free it or give another folder"
    else:
        return
    _discard_output()
    if line:
        with suppress(OSError):  # the terminal itself may be gone
            print(f"error: {line}", file=sys.stderr)
    raise SystemExit(code) from None


def _discard_output() -> None:
    """Empty stdout's buffer: Python would flush it again at exit, fail, and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
