"""Run stages in worker processes on this machine, each as soon as what it reads is there."""

import multiprocessing
import os
import queue
import re
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmark import stop
from benchmark.errors import MISTAKES, UserError
from benchmark.store import StageCall, Store

_channel: Any = None  # in a worker: where its progress goes
_PATIENCE = 5.0  # seconds that killed workers are waited for; one may hang in a file system that does not answer


class StageFailed(Exception):
    """A stage failed for a reason that is not the user's; the message holds the traceback of the worker."""


def _start_worker(channel: Any, threads: int, parent: int) -> None:
    global _channel
    _channel = channel
    channel.cancel_join_thread()  # progress that nobody reads any more is no reason to stay
    for number in stop.SIGNALS:  # sent to all processes by a terminal or a scheduler, and the parent's to handle
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # Linux: where memory runs out, a worker is to be killed, and not the run that can say so
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["TQDM_DISABLE"] = "1"  # bars of several processes over one another; this project shows its own
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore")


def _end_with_parent(parent: int) -> None:
    """A worker whose parent was killed would go on unseen, holding locks: end it within a second."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _work(root: Path, call: StageCall) -> bool:
    """Do a stage in this worker. Raises UserError or StageFailed; exceptions of a library may not survive the way."""
    import gc

    from transformers.utils import logging

    from benchmark.stages import do

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.25 or done == total:
            last = time.monotonic()
            _channel.put((call.key, done, total))

    try:
        return do(Store(root), call, progress)
    except UserError:
        raise
    except Exception as error:
        raise _explained(error, call) from None
    finally:
        gc.collect()  # a trainer and its model hold on to each other; the next stage needs their memory


def _explained(error: Exception, call: StageCall) -> Exception:
    """The user's mistake that an exception of a stage comes from, or the failure with its traceback."""
    from benchmark.stages.train import is_out_of_memory

    if number := _system_error(error):
        where = getattr(error, "filename", None) or "results folder"
        return UserError(
            f"stage {call.stage}: {where}: {os.strerror(number)}; free it or give another folder, then run again"
        )
    if isinstance(error, IndexError) and "index out of range in self" in str(error):  # what torch says of embeddings
        return UserError(
            f"stage {call.stage}: the tokenizer gives tokens that the model has no embedding for; the two do not "
            "belong together, or the embeddings were not resized"
        )
    if is_out_of_memory(error):
        return UserError(
            f"stage {call.stage}: out of memory; lower evaluation.batch_size or scoring.tokens_per_batch, "
            "use fewer --workers or a smaller model"
        )
    return StageFailed(f"stage {call.stage} ({call.key}) failed:\n{''.join(traceback.format_exception(error))}")


def _system_error(error: Exception) -> int | None:
    """The number of the system's error that a folder or disk of the user's made; None if it was another.

    safetensors tells it in the text of an exception of its own alone.
    """
    told = re.search(r"\(os error (\d+)\)", str(error))
    number = int(told[1]) if told else getattr(error, "errno", None)
    return number if number in MISTAKES else None


def run_calls(
    store: Store,
    calls: list[StageCall],
    workers: int,
    threads: int,
    on_progress: Callable[[StageCall, int, int], None],
    on_done: Callable[[StageCall], None],
) -> None:
    """Make every artifact of `calls` (each listed once, sources first) with `workers` processes.

    `on_done` is called in this process as each becomes available. Raises UserError for a user's mistake found by a
    stage and StageFailed for anything else; stages under way are then given up, finished ones kept.
    """
    by_key = {call.key: call for call in calls}
    waiting = {call.key: {source.key for source in call.inputs.values()} & by_key.keys() for call in calls}
    context = multiprocessing.get_context("spawn")
    with _out_of_reach():
        channel = context.Queue()
    with _swept(store), _pool(workers, context, (channel, threads, os.getpid())) as pool:
        running: dict[Future[bool], StageCall] = {}
        while waiting or running:
            ready = [key for key, sources in waiting.items() if not sources]
            # None is queued ahead: the calls stand cell by cell, so that a cell is finished before the next is begun.
            for key in ready[: workers - len(running)]:
                del waiting[key]
                with _out_of_reach():
                    running[pool.submit(_work, store.root, by_key[key])] = by_key[key]
            finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            stop.raise_if_asked()
            if not finished and _has_lost_worker(pool):
                raise _worker_died(call.stage for call in running.values())
            for key, done, total in _drain(channel):
                on_progress(by_key[key], done, total)
            for future in finished:
                call = running.pop(future)
                _result(future, call)
                for sources in waiting.values():
                    sources.discard(call.key)
                on_done(call)


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


def _drain(channel: Any) -> Iterator[tuple[str, int, int]]:
    while True:
        try:
            yield channel.get_nowait()
        except queue.Empty:
            return


def _result(future: "Future[bool]", call: StageCall) -> None:
    try:
        future.result()
    except BrokenProcessPool:
        raise _worker_died([call.stage]) from None


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
