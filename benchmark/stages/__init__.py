"""The stages, each a function from artifacts to an artifact: corpus → score → augment → train → evaluate.

Beside them, `write` has a language model write texts, `teach` computes a teacher's probabilities, `facts` counts which
facts a method's copies keep, `curve` evaluates checkpoints, and `retain` measures retention: the model before and after
training on what a suite lists there. A stage's `run` reads `call.params` and the folders of `inputs`, and writes its
files to `out`. Its version (`store.versions`) is part of every key: raise it when the same inputs give another result.
The stages in `RESUMABLE` also get a `resume_folder`, and return the seconds spent before the interruption, 0 where
they are not known. How a stage computes its result belongs to the room of its subject.
"""

import contextlib
import resource
import time
from importlib import import_module
from pathlib import Path

from benchmark.core.environment import Cost, environment
from benchmark.core.progress import Progress
from benchmark.store.artifacts import StageCall, Store
from benchmark.store.versions import RESUMABLE


def run_stage(store: Store, call: StageCall, progress: Progress) -> bool:
    """Make the artifact of a stage, and before it each input that is missing or damaged.

    Returns:
        Whether the stage ran; False if its artifact is in the store already.
    """
    for source in call.inputs.values():
        if not store.verified(source):
            run_stage(store, source, lambda *steps: None)
    inputs = {role: store.path(source) for role, source in call.inputs.items()}
    stage = import_module(f"benchmark.stages.{call.stage}")

    def work(out: Path) -> Cost:
        started = time.perf_counter()
        on_gpu = call.params.get("device") == "cuda"
        reset_peak_memory(on_gpu)
        seconds_before = 0.0
        if call.stage in RESUMABLE:
            seconds_before = stage.run(call, inputs, out, progress, store.resume_folder(call))
        else:
            stage.run(call, inputs, out, progress)
        seconds = round(seconds_before + time.perf_counter() - started, 3)
        return Cost(seconds=seconds, peak_memory_bytes=peak_memory(on_gpu))

    made_on = environment(call.params.get("device", "cpu"), call.params.get("threads", 1)).model_dump(mode="json")
    return store.make_artifact(call, work, made_on)


def reset_peak_memory(on_gpu: bool) -> None:
    """Start a new measurement for `peak_memory`."""
    if on_gpu:
        import torch

        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):  # not on Linux: there the peak is that of the whole process
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(on_gpu: bool) -> int:
    """Peak memory in bytes since `reset_peak_memory`.

    On a GPU it is what torch allocated, on a CPU the resident memory of the process.
    """
    if on_gpu:
        import torch

        return int(torch.cuda.max_memory_allocated())
    try:
        status = Path("/proc/self/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
