"""`python -m benchmark` is the command `benchmark`."""

import atexit
import os
import sys

from benchmark.core import signals as stop


def main() -> None:
    """The command, as the system starts it: signals are listened to from here until the process ends."""
    stop.listen()
    atexit.register(stop.ignore)  # the first to be registered is the last to be called
    _open_streams()
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars of libraries; this project shows its own
    try:
        from benchmark.cli.app import main as run

        run()
    except KeyboardInterrupt:  # while it was being loaded
        stop.exit_stopped()
    finally:
        stop.ignore_repeats()


def _open_streams() -> None:
    """Put nothing in the place of streams that are closed: else the next file opened would get what they print."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):  # the lowest number that is free comes next
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w"))  # noqa: SIM115 (open to the end)


if __name__ == "__main__":
    main()
