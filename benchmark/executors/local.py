"""Run stages in worker processes on this machine, each as soon as what it reads is there."""

import multiprocessing
import os
import queue
import signal
import sys
import threading
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


def _start_worker(channel: Any, threads: int) -> None:
    global _channel
    _channel = channel
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
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

    return do(Store(root), call, progress)


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
    with context.Manager() as manager:
        channel = manager.Queue()
        with _pool(workers, context, channel, threads) as pool:
            running: dict[Future[bool], StageCall] = {}
            while waiting or running:
                for key in [key for key, sources in waiting.items() if not sources][
                    : max(0, 2 * workers - len(running))
                ]:
                    del waiting[key]
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
def _pool(workers: int, context: Any, channel: Any, threads: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(channel, threads))
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
    except UserError:
        raise
    except BrokenProcessPool:
        raise StageFailed(
            f"stage {call.stage}: a worker process died, most often for lack of memory; run again with fewer --workers"
        ) from None
    except OSError as error:
        if error.errno in (28, 30, 13):  # no space, read-only, no permission
            raise UserError(
                f"stage {call.stage}: {error.strerror}: {error.filename or 'results folder'}; free it and run again"
            ) from None
        raise StageFailed(f"stage {call.stage} ({call.key}): {error!r}") from error
    except Exception as error:
        print(getattr(error, "__cause__", "") or "", file=sys.stderr)
        raise StageFailed(f"stage {call.stage} ({call.key}): {error!r}") from error
