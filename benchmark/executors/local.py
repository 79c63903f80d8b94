"""Run stages in worker processes on this machine, each as soon as what it reads is there."""

import errno
import multiprocessing
import os
import queue
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.store import StageCall, Store

_channel: Any = None  # in a worker: where its progress goes


class StageFailed(Exception):
    """A stage failed for a reason that is not the user's; the message holds the traceback of the worker."""


def _start_worker(channel: Any, threads: int, parent: int) -> None:
    global _channel
    _channel = channel
    channel.cancel_join_thread()  # progress that nobody reads any more is no reason to stay
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["TQDM_DISABLE"] = "1"  # bars of several processes over one another; this project shows its own
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore")


def _end_with_parent(parent: int) -> None:
    """A worker whose parent was killed would go on unseen, holding locks: end it within a second."""
    import time

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
        import time

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

    # safetensors reports a full disk by an exception of its own, which has no errno
    full = "No space left on device" in str(error)
    if full or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES)):
        reason = os.strerror(errno.ENOSPC) if full else getattr(error, "strerror", "")
        where = getattr(error, "filename", None) or "results folder"
        return UserError(f"stage {call.stage}: {where}: {reason}; free it or give another folder, then run again")
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
    channel = context.Queue()
    with _pool(workers, context, (channel, threads, os.getpid())) as pool:
        running: dict[Future[bool], StageCall] = {}
        while waiting or running:
            ready = [key for key, sources in waiting.items() if not sources]
            # None is queued ahead: the calls stand cell by cell, so that a cell is finished before the next is begun.
            for key in ready[: workers - len(running)]:
                del waiting[key]
                with _without_interrupts():
                    running[pool.submit(_work, store.root, by_key[key])] = by_key[key]
            finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            for key, done, total in _drain(channel):
                on_progress(by_key[key], done, total)
            for future in finished:
                call = running.pop(future)
                _result(future, call)
                for sources in waiting.values():
                    sources.discard(call.key)
                on_done(call)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back for a moment. A process started meanwhile never gets it, not even before it can say so."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _pool(workers: int, context: Any, initargs: tuple[Any, ...]) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=initargs)
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
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
        raise StageFailed(
            f"stage {call.stage}: a worker process died, most often for lack of memory; run again with fewer --workers"
        ) from None
