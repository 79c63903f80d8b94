"""Whether other processes slow down a training on a CPU: the share that it gets of the CPU time it could use.

Linux counts for every thread how long it ran, and how long it waited for a core while it was ready to run. A thread
that waits for data or for another thread is not ready, so neither slow disks nor work of a single thread lower the
share. Where the system does not count, nothing is noted.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmark.core.environment import usable_cores

SECONDS = 20.0  # length of a measurement
STEPS = 3  # fewest steps of a measurement
LEAST = 0.5  # share below which a training counts as slowed down


class ThreadTime(NamedTuple):
    """Nanoseconds that a thread ran, and that it waited for a core."""

    ran: int
    waited: int


class CpuShare:
    """Looks at the CPU time of this process after every step of a training, until there is something to note.

    Args:
        threads: Threads that the training computes with. If they are more than the cores, they wait for each other;
            that is no other process's doing.
        cores: Cores that this process may use.
        times: Gives the times of the threads of this process, by id.
        clock: Gives seconds.
    """

    def __init__(
        self,
        threads: int,
        cores: int | None = None,
        times: Callable[[], Mapping[int, ThreadTime]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads, self._times, self._clock = threads, times or thread_times, clock
        self._possible = min(1.0, (cores or usable_cores()) / threads)
        self._noted = False
        self._steps = 0
        self._began: float | None = None
        self._before: Mapping[int, ThreadTime] = {}

    def step_done(self) -> str | None:
        """A line for the user, once, when the steps of the last seconds got too small a share; otherwise None.

        The first step, in which a training allocates its memory, does not count.
        """
        if self._noted:
            return None
        self._steps += 1
        if self._began is None:
            self._start()
            return None
        if self._steps < STEPS or self._clock() - self._began < SECONDS:
            return None
        share = self._share()
        self._start()
        if share is None or share >= LEAST:
            return None
        self._noted = True
        threads = "thread" if self._threads == 1 else f"{self._threads} threads"
        return f"gets {share:.0%} of the CPU time that its {threads} could use: other processes run beside it"

    def _start(self) -> None:
        self._began, self._before, self._steps = self._clock(), self._times(), 0

    def _share(self) -> float | None:
        """The share since the start; None if the system does not count."""
        now = self._times()
        both = [(now[thread], self._before[thread]) for thread in now.keys() & self._before.keys()]
        ran = sum(after.ran - before.ran for after, before in both)
        waited = sum(after.waited - before.waited for after, before in both)
        return min(1.0, ran / (ran + waited) / self._possible) if ran + waited > 0 else None


def thread_times() -> dict[int, ThreadTime]:
    """The times of each thread of this process, by id; empty where the system does not count them."""
    times: dict[int, ThreadTime] = {}
    for folder in Path("/proc/self/task").glob("*"):
        with suppress(OSError, ValueError):  # the thread has ended
            ran, waited, _ = (folder / "schedstat").read_text(encoding="ascii").split()
            times[int(folder.name)] = ThreadTime(int(ran), int(waited))
    return times
