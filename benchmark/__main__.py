"""`python -m benchmark` is the command `benchmark`."""

import atexit
import os
import sys
import warnings

from benchmark.core import signals as stop


def main() -> None:
    """Run the command line as a process of its own, with termination signals handled until it ends."""
    stop.listen()
    atexit.register(stop.ignore)  # runs after all other exit handlers, which are registered later
    _open_streams()
    os.environ.setdefault("TQDM_DISABLE", "1")  # no bars of libraries: this project shows its own
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries warn each other's developers
    try:
        from benchmark.cli.app import main as run

        run()
    except KeyboardInterrupt:  # while the command line was being imported
        stop.exit_stopped()
    finally:
        stop.ignore_repeats()


def _open_streams() -> None:
    """Open closed standard streams on the null device: the next file opened would otherwise take their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):  # a new file gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w"))  # noqa: SIM115 (stays open until the process ends)


if __name__ == "__main__":
    main()
