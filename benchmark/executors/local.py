"""Run stages in worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from benchmark.core import signals as stop
from benchmark.core.environment import usable_cores
from benchmark.core.errors import StageFailed
from benchmark.executors.protocol import Job
from benchmark.executors.schedule import run_in_order, swept
from benchmark.executors.worker import prepare, run_in_worker
from benchmark.progress.events import Events
from benchmark.store.artifacts import StageCall
from benchmark.training.interrupted import made_elsewhere

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

_PATIENCE = 5.0  # seconds that killed workers are waited for; a file system that does not answer may block one


class _Started(NamedTuple):
    """A worker's message: it starts a stage."""

    key: str
    worker: int


class _Progressed(NamedTuple):
    """A worker's message: steps done, steps in all, and tokens read where the stage knows them."""

    key: str
    done: int
    total: int
    tokens: int | None = None


class _Noted(NamedTuple):
    """A worker's message: a line for the user, that other processes slow a training down."""

    text: str


_Message: TypeAlias = _Started | _Progressed | _Noted
_Channel: TypeAlias = "Queue[_Message]"
_channel: _Channel | None = None  # in a worker process: where its messages go


@dataclass(frozen=True)
class LocalExecutor:
    """Runs stages in worker processes.

    Attributes:
        workers: Processes; by default as many as the usable cores hold of the job's threads, and one if stages compute
            on a GPU.
    """

    workers: int | None = None

    def run(self, job: Job, events: Events) -> None:
        """Make every artifact of a job: see `Executor`."""
        note_restarts(job, events)
        by_key = {call.key: call for call in job.calls}
        workers = self.workers or default_workers(job)
        context = multiprocessing.get_context("spawn")
        with _signals_held():
            channel: _Channel = context.Queue()
        with swept(job.store), _pool(workers, context, (channel, job.threads, os.getpid())) as pool:

            def submit(call: StageCall) -> Future[bool]:
                with _signals_held():
                    return pool.submit(_work, job.store.root, call)

            under_way: list[str] = []
            noted = False

            def look(running: Collection[StageCall], any_finished: bool) -> None:
                nonlocal noted
                under_way[:] = [call.stage for call in running]
                if not any_finished and _has_lost_worker(pool):
                    raise _worker_died(under_way)
                for message in _drain(channel):
                    if not isinstance(message, _Noted):
                        _report(message, by_key[message.key], events)
                    elif not noted:  # the other trainings of the run are slowed down alike
                        noted = True
                        events.note(message.text)

            try:
                run_in_order(job.calls, workers, submit, events.stage_finished, look)
            except BrokenProcessPool:
                raise _worker_died(under_way) from None


def note_restarts(job: Job, events: Events) -> None:
    """Report which trainings restart although they have checkpoints, and why."""
    if restarted := made_elsewhere(job.store, job.calls):
        causes = ", ".join(sorted(set().union(*restarted.values())))
        events.note(
            f"note: interrupted trainings that start over: {len(restarted)}; their checkpoints were made with another "
            f"{causes}, which may compute other bits"
        )


def default_workers(job: Job) -> int:
    """As many processes as the usable cores hold of the job's threads; one if stages compute on a GPU."""
    return 1 if any(call.uses_gpu for call in job.calls) else max(1, usable_cores() // job.threads)


def _report(message: _Started | _Progressed, call: StageCall, events: Events) -> None:
    if isinstance(message, _Started):
        events.stage_started(call, f"worker {message.worker}")
    else:
        events.stage_progressed(call, message.done, message.total, message.tokens)


def _start_worker(channel: _Channel, threads: int, parent: int) -> None:
    global _channel
    _channel = channel
    channel.cancel_join_thread()  # a worker does not wait until its last messages are read
    for number in stop.SIGNALS:  # a terminal or scheduler sends them to all processes; the parent handles them
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # Linux: when memory runs out, kill a worker rather than the run, which can report it
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    prepare(threads)


def _end_with_parent(parent: int) -> None:
    """End this worker within a second of its parent, which may have been killed: it holds locks."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _work(root: Path, call: StageCall) -> bool:
    """Run a stage in this worker.

    Raises UserError or StageFailed only: exceptions of libraries may not survive being sent to the parent.
    """
    _send(_Started(call.key, os.getpid()))
    return run_in_worker(root, call, lambda *steps: _send(_Progressed(call.key, *steps)), _note)


def _note(text: str) -> None:
    _send(_Noted(text))


def _send(message: _Message) -> None:
    assert _channel is not None, "set when the worker started"
    _channel.put(message)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back for the block. A process that it starts inherits that, and so never receives them."""
    with stop.finishing():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, stop.SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _pool(workers: int, context: SpawnContext, initargs: tuple[_Channel, int, int]) -> Iterator[ProcessPoolExecutor]:
    """A pool of worker processes; an exception in the block kills them."""
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=initargs)
    try:
        yield pool
    except BaseException:
        with stop.finishing():
            processes = list((pool._processes or {}).values())
            for process in processes:
                process.kill()  # loses nothing: an artifact appears in the store only when it is whole
            deadline = time.monotonic() + _PATIENCE
            for process in processes:  # the system then has closed their files, and so released their locks
                process.join(max(0.0, deadline - time.monotonic()))
            pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _drain(channel: _Channel) -> Iterator[_Message]:
    """The messages that have arrived."""
    while True:
        try:
            yield channel.get_nowait()
        except queue.Empty:
            return


def _has_lost_worker(pool: ProcessPoolExecutor) -> bool:
    """Whether a worker has ended, which none does before the pool is shut down.

    The pool watches its workers too, but may miss the one that it started last: `submit` wakes the watching thread
    before it starts the process, so that the thread may wait for the earlier workers only, without end.
    """
    return any(process.exitcode is not None for process in list((pool._processes or {}).values()))


def _worker_died(stages: Iterable[str]) -> StageFailed:
    return StageFailed(
        f"stage {' or '.join(dict.fromkeys(stages))}: a worker process died, most often for lack of memory; run again "
        "with fewer --workers"
    )
