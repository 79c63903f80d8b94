"""Run stages in this process: set it up, make an artifact, and explain the exceptions of a stage."""

import os
import re
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.core.errors import USER_ERRNOS, StageFailed, UserError
from benchmark.core.progress import Progress
from benchmark.executors.cpu_share import CpuShare
from benchmark.store.artifacts import StageCall, Store

_MEMORY_FIELDS = {  # by stage, the field of a suite that bounds its memory
    "train": "recipe.micro_batch",
    "score": "scoring.tokens_per_batch",
    "teach": "scoring.tokens_per_batch",
    "write": "batch_size of the writer",
    **dict.fromkeys(("evaluate", "curve", "retain"), "evaluation.batch_size"),
}


def prepare(threads: int) -> None:
    """Set this process up for stages. Call it before torch is imported, which reads the number of threads then."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["TQDM_DISABLE"] = "1"  # bars of several processes overwrite each other; this project shows its own
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore")
    from tqdm import tqdm  # imported here because it reads the environment on import

    # Otherwise the first bar takes a semaphore of the system, which a killed worker never gives back.
    tqdm.set_lock(threading.RLock())


def quiet() -> None:
    """Limit transformers' log to errors."""
    from transformers.utils import logging

    logging.set_verbosity_error()


def run_in_worker(
    root: Path, call: StageCall, report: Progress, note: Callable[[str], None] = lambda text: None
) -> bool:
    """Make a stage's artifact in the store at `root`, and report its progress a few times a second.

    `note` gets a line if other processes slow a training down (`benchmark.executors.cpu_share`).

    Returns whether the artifact was missing. Raises UserError or StageFailed only: exceptions of libraries may not
    survive being sent to another process.
    """
    import gc

    from benchmark.models.unpacked import unpacked_in
    from benchmark.stages import run_stage

    quiet()
    last = 0.0
    share = CpuShare(call.params["threads"]) if call.stage == "train" and not call.uses_gpu else None

    def progress(done: int, total: int, *tokens: int) -> None:
        nonlocal last
        if share and (line := share.step_done()):
            note(f"note: this training ({call.stage} {call.key[:8]}) {line}")
        if time.monotonic() - last > 0.25 or done == total:
            last = time.monotonic()
            report(done, total, *tokens)

    try:
        with explaining(call), unpacked_in(root):
            return run_stage(Store(root), call, progress)
    finally:
        gc.collect()  # a trainer and its model refer to each other; the next stage needs their memory


@contextmanager
def explaining(call: StageCall) -> Iterator[None]:
    """Raise UserError or StageFailed in place of other exceptions of a stage within the block: see `explained`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise explained(error, call) from None


def explained(error: Exception, call: StageCall) -> Exception:
    """The UserError that an exception of a stage amounts to, or StageFailed with its traceback."""
    from benchmark.training.out_of_memory import is_out_of_memory

    if number := _system_error(error):
        where = getattr(error, "filename", None) or "results folder"
        return UserError(
            f"stage {call.stage}: {where}: {os.strerror(number)}; free it or give another folder, then run again"
        )
    if isinstance(error, IndexError) and "index out of range in self" in str(error):  # torch's words for embeddings
        return UserError(
            f"stage {call.stage}: the tokenizer makes tokens that the model has no embedding for; use the model's own "
            "tokenizer, or resize the embeddings"
        )
    if is_out_of_memory(error):
        return UserError(f"stage {call.stage}: out of memory; use fewer --workers, {memory_remedy(call.stage)}")
    return StageFailed(f"stage {call.stage} ({call.key}) failed:\n{''.join(traceback.format_exception(error))}")


def memory_remedy(stage: str) -> str:
    """What lowers the memory of a stage, to end an error with."""
    field = _MEMORY_FIELDS.get(stage)
    return f"lower {field} or use a smaller model" if field else "or use a smaller model"


def _system_error(error: Exception) -> int | None:
    """The number of a system error that the user can mend, as a full disk; None for other errors.

    safetensors raises exceptions of its own, which give the number in their text only.
    """
    quoted = re.search(r"\(os error (\d+)\)", str(error))
    number = int(quoted[1]) if quoted else getattr(error, "errno", None)
    return number if number in USER_ERRNOS else None
