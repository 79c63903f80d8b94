"""When a training is said to be slowed down by other processes, from the times of its threads."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.executors import local
from benchmark.executors.cpu_share import CpuShare, ThreadTime, thread_times
from benchmark.executors.local import LocalExecutor
from benchmark.executors.protocol import Job
from benchmark.progress.events import Events
from benchmark.store.artifacts import StageCall, Store
from tests.tiny import Heard, note_twice

SECOND = 10**9


class Machine:
    """Threads of a training whose every step takes 10 s, in which each runs and waits for some seconds."""

    def __init__(self, threads: int = 2, cores: int = 2) -> None:
        self._threads, self._now, self._total = threads, 0.0, ThreadTime(0, 0)
        self._share = CpuShare(threads, cores, lambda: dict.fromkeys(range(threads), self._total), lambda: self._now)

    def lines(self, steps: int, ran: float, waited: float) -> list[str | None]:
        """What is noted after each of some steps."""
        told = []
        for _ in range(steps):
            self._now += 10
            self._total = ThreadTime(self._total.ran + int(ran * SECOND), self._total.waited + int(waited * SECOND))
            told.append(self._share.step_done())
        return told


def test_a_training_that_waits_for_cores_is_noted_once_with_its_share() -> None:
    line = "gets 40% of the CPU time that its 2 threads could use: other processes run beside it"
    assert Machine().lines(9, ran=4, waited=6) == [None, None, None, line, *[None] * 5]


@pytest.mark.parametrize(
    ("ran", "waited"), [(10, 0), (6, 4), (1, 0), (0.2, 0.1), (0, 0)], ids=["alone", "some", "data", "idle", "uncounted"]
)
def test_a_training_that_gets_most_of_what_it_could_use_is_not_noted(ran: float, waited: float) -> None:
    assert Machine().lines(9, ran, waited) == [None] * 9


def test_a_short_training_is_not_noted() -> None:
    assert Machine().lines(3, ran=1, waited=9) == [None] * 3


def test_threads_that_wait_for_each_other_are_not_noted() -> None:
    four_on_two = {"threads": 4, "cores": 2}  # of 10 s, each of the threads can run 5
    assert Machine(**four_on_two).lines(9, ran=4, waited=6) == [None] * 9
    (line,) = filter(None, Machine(**four_on_two).lines(9, ran=2, waited=8))
    assert line.startswith("gets 40% ")


def test_load_that_begins_later_is_noted_then() -> None:
    machine = Machine()
    assert machine.lines(7, ran=10, waited=0) == [None] * 7
    line = "gets 10% of the CPU time that its 2 threads could use: other processes run beside it"
    assert machine.lines(3, ran=1, waited=9) == [None, None, line]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_times_of_this_process_count_its_threads() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    before = thread_times()
    ends = time.process_time() + 0.1
    while time.process_time() < ends:
        pass
    after = thread_times()
    over.set()
    thread.join()
    if not before:
        pytest.skip("this system does not count")
    ran = {number: after[number].ran - before[number].ran for number in before}
    assert ran[os.getpid()] >= 0.09 * SECOND
    assert thread.native_id is not None and ran[thread.native_id] < 0.01 * SECOND


def test_a_run_notes_it_once_whatever_the_number_of_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work: Callable[..., bool] = note_twice
    monkeypatch.setattr(local, "_work", work)
    calls = [
        StageCall("corpus", 1, {"people": number}, where={"entry": {"name": "biography", "people": number}})
        for number in (2, 3)
    ]
    heard = Heard()
    LocalExecutor(1).run(Job(Store(tmp_path), calls), Events(heard))
    assert len(heard.finished) == 2
    assert heard.notes == [f"note: this training (corpus {calls[0].key[:8]}) is slow"]
