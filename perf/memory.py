"""Peak memory of stages, compared with the prediction of `benchmark plan --memory` from configuration files.

    python -m perf.memory zoo:large
    python -m perf.memory PATH.gguf --people 6 --steps 2

Every stage runs in a process of its own. On a CPU the peak is its resident memory minus the memory with all libraries
loaded; on a GPU it is the memory that torch allocated. The prediction is given without its overhead. So that the peak
on a CPU is memory in use, glibc is set to return freed memory at once; by default it keeps blocks of up to 32 MiB.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from perf.ratios import arguments, run

GIB = 2**30
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(128 << 10)}  # glibc's initial value, which it raises unless it is set


@dataclass(frozen=True)
class Peak:
    """A stage's measured and predicted peak in bytes; on a CPU, `libraries` is the memory of the process before."""

    stage: str
    model: str
    measured: int
    predicted: int
    libraries: int

    @property
    def ratio(self) -> float:
        """Predicted divided by measured: above 1, the prediction was too high."""
        return self.predicted / self.measured


def main(given: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = arguments(str(__doc__))
    parser.add_argument("model", nargs="*", help="zoo:NAME, hub id, folder or .gguf file; several may be given")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--autocast", choices=("none", "bfloat16"), default="none")
    parser.add_argument("--people", type=int, default=10, help="number of biographies")
    parser.add_argument("--steps", type=int, default=2, help="steps of training; the peak is reached after two")
    parser.add_argument("--batch", type=int, default=8, help="texts per step")
    parser.add_argument("--tokens", type=int, default=4096, help="maximum tokens of the held-out text")
    parser.add_argument("--stage", nargs=2, type=Path, metavar=("FILE", "STORE"), help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.stage:
        file, store = options.stage
        print(json.dumps(_here(file, store, options)))
        return 0
    measured = [peak for model in options.model for peak in peaks(model, options)]
    _show(measured, options)
    return 0


def peaks(model: str, options: argparse.Namespace) -> list[Peak]:
    """Run every stage of a suite of one model, with LoRA and full training; measure the stages that load the model."""
    from benchmark.memory.predict import STAGES
    from benchmark.memory.report import predictions
    from benchmark.store.calls import write_call
    from benchmark.suite.plan import make_plan
    from benchmark.suite.schema import Suite

    plan = make_plan(Suite.model_validate(_suite(model, options)))
    predicted = predictions(plan)
    measured = []
    with TemporaryDirectory() as scratch:
        file, store = Path(scratch) / "stage.json", Path(scratch) / "store"
        store.mkdir()
        for call in plan.calls():
            write_call(file, call)
            figures = _in_a_process(file, store, options)
            if call.stage in STAGES:
                need = predicted[call.key].needs[0]
                name = f"{call.stage}{_what(call)}"
                measured.append(Peak(name, model, figures["peak"], need.on() - need.overhead, figures["libraries"]))
    return measured


def _what(call: Any) -> str:
    """The words that distinguish stages of a kind."""
    source = call if call.stage == "train" else call.inputs.get("trained")
    return f", {source.params['recipe']['adaptation']}" if source else ""


def _suite(model: str, options: argparse.Namespace) -> dict[str, Any]:
    evaluate = ["biography_major", "biography_major_choice"]
    return {
        "name": "memory",
        "models": {"model": {"model": model, "dtype": options.dtype}},
        "tasks": [{"name": "biography", "people": options.people, "evaluate": evaluate}],
        "train": ["model"],
        "methods": ["attention_dropout"],
        "budgets": [{"steps": options.steps}],
        "recipe": {
            "adaptation": ["lora", "full"] if options.dtype == "float32" else "lora",
            "batch_size": options.batch,
            "learning_rate": 1e-4,
            "autocast": options.autocast,
        },
        "retention": [{"name": "licence", "text": "LICENSE", "tokens": options.tokens}],
        "device": options.device,
        "threads": options.threads,
    }


def _in_a_process(file: Path, store: Path, options: argparse.Namespace) -> dict[str, int]:
    command = [sys.executable, "-m", "perf.memory", "--stage", str(file), str(store)]
    command += ["--threads", str(options.threads), "--device", options.device]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | GIVE_BACK)
    if done.returncode:
        raise RuntimeError(f"{file.name}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _here(file: Path, store: Path, options: argparse.Namespace) -> dict[str, int]:
    """Run a stage in this process; bytes with all libraries loaded, and further bytes at its peak."""
    from benchmark.executors.worker import prepare, run_in_worker
    from benchmark.store.artifacts import Store
    from benchmark.store.calls import read_call

    call = read_call(file)
    prepare(options.threads)
    _load_libraries()
    from benchmark.stages import peak_memory, reset_peak_memory

    on_gpu = options.device == "cuda"
    reset_peak_memory(on_gpu)
    before = peak_memory(on_gpu)
    run_in_worker(store, call, lambda *steps: None)
    return {"libraries": before, "peak": Store(store).cost(call).peak_memory_bytes - before}


def _load_libraries() -> None:
    """Load everything that stages import, and what torch sets up in its first steps."""
    import lm_eval.evaluator
    import peft
    import torch
    import transformers

    for stage in ("evaluate", "retain", "score", "train"):
        __import__(f"benchmark.stages.{stage}")
    __import__("benchmark.training.fit")
    __import__("benchmark.evaluation.shared_prefix_lm")
    for part in (transformers.Trainer, transformers.LlamaForCausalLM, peft.get_peft_model, lm_eval.evaluator.evaluate):
        assert part  # transformers loads them on access
    layer = torch.nn.Linear(64, 64)
    torch.nn.functional.cross_entropy(layer(torch.ones(8, 64)), torch.zeros(8, dtype=torch.long)).backward()


def _show(measured: Sequence[Peak], options: argparse.Namespace) -> None:
    if options.json:
        from benchmark.core.environment import environment

        made_on = environment(options.device, options.threads).model_dump(mode="json")
        peaks = [{**vars(peak), "ratio": peak.ratio} for peak in measured]
        print(json.dumps({"peaks": peaks, "environment": made_on}, indent=1))
        return
    from tabulate import tabulate

    rows = [
        [peak.model, peak.stage, f"{peak.measured / GIB:.3f}", f"{peak.predicted / GIB:.3f}", f"{peak.ratio:.2f}"]
        for peak in measured
    ]
    heads = ["model", "stage", "measured, GiB", "predicted, GiB", "predicted / measured"]
    print(tabulate(rows, headers=heads, tablefmt="pipe", disable_numparse=True))
    if options.device == "cpu":
        print(f"libraries: {max(peak.libraries for peak in measured) / GIB:.3f} GiB")


if __name__ == "__main__":
    raise SystemExit(run(main))
