"""What a process does that has one stage after another to do, and what it makes of their exceptions."""

import os
import re
import threading
import time
import traceback
import warnings
from pathlib import Path

from benchmark.core.errors import USER_ERRNOS, StageFailed, UserError
from benchmark.core.progress import Progress
from benchmark.store.artifacts import StageCall, Store


def prepare(threads: int) -> None:
    """Set this process up for stages; before torch is loaded, which reads the number of threads then."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["TQDM_DISABLE"] = "1"  # bars of several processes over one another; this project shows its own
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore")
    from tqdm import tqdm  # here, since it reads the environment when it is imported

    # Else the first bar takes a semaphore of the system, which a worker that is killed never gives back.
    tqdm.set_lock(threading.RLock())


def quiet() -> None:
    """Leave transformers' log to its errors."""
    from transformers.utils import logging

    logging.set_verbosity_error()


def work(root: Path, call: StageCall, tell: Progress) -> bool:
    """Make a stage's artifact in the store at `root`, telling how far it is a few times a second.

    Returns whether there was anything to do. Raises UserError or StageFailed, and nothing else of an error: exceptions
    of a library may not survive the way to another process.
    """
    import gc

    from benchmark.stages import do

    quiet()
    last = 0.0

    def progress(done: int, total: int, *tokens: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.25 or done == total:
            last = time.monotonic()
            tell(done, total, *tokens)

    try:
        return do(Store(root), call, progress)
    except UserError:
        raise
    except Exception as error:
        raise explained(error, call) from None
    finally:
        gc.collect()  # a trainer and its model hold on to each other; the next stage needs their memory


def explained(error: Exception, call: StageCall) -> Exception:
    """The user's mistake that an exception of a stage comes from, or the failure with its traceback."""
    from benchmark.training.out_of_memory import is_out_of_memory

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
    return number if number in USER_ERRNOS else None
