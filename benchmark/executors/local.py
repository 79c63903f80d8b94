"""Run stages in worker processes on this machine, each as soon as what it reads is there."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmark.core import signals as stop
from benchmark.core.errors import StageFailed
from benchmark.executors.schedule import drive
from benchmark.executors.worker import prepare, work
from benchmark.store.artifacts import StageCall, Store

_channel: Any = None  # in a worker: where its progress goes
_PATIENCE = 5.0  # seconds that killed workers are waited for; one may hang in a file system that does not answer


def _start_worker(channel: Any, threads: int, parent: int) -> None:
    global _channel
    _channel = channel
    channel.cancel_join_thread()  # progress that nobody reads any more is no reason to stay
    for number in stop.SIGNALS:  # sent to all processes by a terminal or a scheduler, and the parent's to handle
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # Linux: where memory runs out, a worker is to be killed, and not the run that can say so
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    prepare(threads)


def _end_with_parent(parent: int) -> None:
    """A worker whose parent was killed would go on unseen, holding locks: end it within a second."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _work(root: Path, call: StageCall) -> bool:
    """Do a stage in this worker. Raises UserError or StageFailed; exceptions of a library may not survive the way."""
    _channel.put((call.key, f"worker {os.getpid()}"))
    return work(root, call, lambda *steps: _channel.put((call.key, *steps)))


def run_calls(
    store: Store,
    calls: list[StageCall],
    workers: int,
    threads: int,
    on_progress: Callable[..., None],
    on_done: Callable[[StageCall], None],
    on_start: Callable[[StageCall, str], None] = lambda call, where: None,
) -> None:
    """Make every artifact of `calls` (each listed once, sources first) with `workers` processes.

    `on_start` is told of the worker that begins a stage; `on_progress` of the steps done, of how many there are and,
    where it is known, of the tokens read; `on_done` is called in this process as each becomes available. Raises
    UserError for a user's mistake found by a stage and StageFailed for anything else; stages under way are then given
    up, finished ones kept.
    """
    by_key = {call.key: call for call in calls}
    context = multiprocessing.get_context("spawn")
    with _out_of_reach():
        channel = context.Queue()
    with _swept(store), _pool(workers, context, (channel, threads, os.getpid())) as pool:

        def submit(call: StageCall) -> Future[bool]:
            with _out_of_reach():
                return pool.submit(_work, store.root, call)

        under_way: list[str] = []

        def look(running: Collection[StageCall], any_finished: bool) -> None:
            under_way[:] = [call.stage for call in running]
            if not any_finished and _has_lost_worker(pool):
                raise _worker_died(under_way)
            for key, *told in _drain(channel):
                (on_start if isinstance(told[0], str) else on_progress)(by_key[key], *told)

        try:
            drive(calls, workers, submit, on_done, look)
        except BrokenProcessPool:
            raise _worker_died(under_way) from None


@contextmanager
def _out_of_reach() -> Iterator[None]:
    """Hold signals back for a moment. A process started meanwhile never gets them, not even before it can say so."""
    with stop.finishing():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, stop.SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _swept(store: Store) -> Iterator[None]:
    """Leave nothing half done in the store, where a disk may be full, when workers were given up."""
    try:
        yield
    finally:
        with stop.finishing():
            store.sweep()


@contextmanager
def _pool(workers: int, context: Any, initargs: tuple[Any, ...]) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=initargs)
    try:
        yield pool
    except BaseException:
        with stop.finishing():
            processes = list((pool._processes or {}).values())
            for process in processes:
                process.kill()  # nothing is lost by it: what they write is not there before it is whole
            deadline = time.monotonic() + _PATIENCE
            for process in processes:  # until the system has their files closed, and so their locks free
                process.join(max(0.0, deadline - time.monotonic()))
            pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _drain(channel: Any) -> Iterator[tuple[Any, ...]]:
    while True:
        try:
            yield channel.get_nowait()
        except queue.Empty:
            return


def _has_lost_worker(pool: ProcessPoolExecutor) -> bool:
    """Whether a worker has ended, which none does before the pool is shut down.

    The pool looks after its workers too, but may miss the one it started last: `submit` wakes the thread that waits for
    their ends before it starts the process, and that thread may then wait for the earlier ones alone, for ever.
    """
    return any(process.exitcode is not None for process in list((pool._processes or {}).values()))


def _worker_died(stages: Iterable[str]) -> StageFailed:
    return StageFailed(
        f"stage {' or '.join(dict.fromkeys(stages))}: a worker process died, most often for lack of memory; run again "
        "with fewer --workers"
    )
