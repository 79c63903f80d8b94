"""Peak memory of stages, measured beside what `benchmark plan --memory` predicts from configuration files alone.

    python -m perf.memory zoo:large
    python -m perf.memory PATH.gguf --people 6 --steps 2

Every stage runs in a process of its own. On a CPU the peak is that of its resident memory above what it had with all
libraries loaded; on a GPU it is what torch allocated. Beside it stands the prediction without its overhead. So that on
a CPU too the peak is what was in use at once, glibc gives back at once what is freed; left to itself it keeps blocks
of up to 32 MiB.
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
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(128 << 10)}  # glibc's own first value, which it raises unless it is set


@dataclass(frozen=True)
class Peak:
    """A stage's peak in bytes, as measured and as predicted; `libraries` is what the process had before, on a CPU."""

    stage: str
    model: str
    measured: int
    predicted: int
    libraries: int

    @property
    def ratio(self) -> float:
        """Predicted over measured: above 1, more was predicted than was needed."""
        return self.predicted / self.measured


def main(given: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = arguments(str(__doc__))
    parser.add_argument("model", nargs="*", help="zoo:NAME, hub id, folder or .gguf file; several may be given")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--autocast", choices=("none", "bfloat16"), default="none")
    parser.add_argument("--people", type=int, default=10, help="biographies")
    parser.add_argument("--steps", type=int, default=2, help="of training; the peak is there after two")
    parser.add_argument("--batch", type=int, default=8, help="texts of a step")
    parser.add_argument("--tokens", type=int, default=4096, help="most tokens of the held-out text")
    parser.add_argument("--stage", nargs=2, type=Path, metavar=("FILE", "STORE"), help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.stage:
        file, store = options.stage
        print(json.dumps(_here(file, store, options)))
        return 0
    found = [peak for model in options.model for peak in peaks(model, options)]
    _show(found, options)
    return 0


def peaks(model: str, options: argparse.Namespace) -> list[Peak]:
    """Do every stage of a suite of one model, adapters and all weights, and measure those that have the model."""
    from benchmark.memory.predict import STAGES
    from benchmark.memory.report import predictions
    from benchmark.store.calls import write_call
    from benchmark.suite.plan import make_plan
    from benchmark.suite.schema import Suite

    plan = make_plan(Suite.model_validate(_suite(model, options)))
    predicted = predictions(plan)
    found = []
    with TemporaryDirectory() as scratch:
        file, store = Path(scratch) / "stage.json", Path(scratch) / "store"
        store.mkdir()
        for call in plan.calls():
            write_call(file, call)
            told = _in_a_process(file, store, options)
            if call.stage in STAGES:
                need = predicted[call.key].needs[0]
                name = f"{call.stage}{_what(call)}"
                found.append(Peak(name, model, told["peak"], need.on() - need.overhead, told["libraries"]))
    return found


def _what(call: Any) -> str:
    """Which of the stages of a kind it is, in words."""
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
    """Do a stage in this process: bytes before it, with all libraries loaded, and how many more at its peak."""
    from benchmark.executors.worker import prepare, work
    from benchmark.store.artifacts import Store
    from benchmark.store.calls import read_call

    call = read_call(file)
    prepare(options.threads)
    _load_libraries()
    from benchmark.stages import peak_memory, reset_peak_memory

    on_gpu = options.device == "cuda"
    reset_peak_memory(on_gpu)
    before = peak_memory(on_gpu)
    work(store, call, lambda *steps: None)
    return {"libraries": before, "peak": Store(store).cost(call).peak_memory_bytes - before}


def _load_libraries() -> None:
    """Have what stages import, and what torch sets up at its first steps, stand in memory."""
    import lm_eval.evaluator
    import peft
    import torch
    import transformers

    for stage in ("evaluate", "retain", "score", "train"):
        __import__(f"benchmark.stages.{stage}")
    __import__("benchmark.training.fit")
    __import__("benchmark.evaluation.shared_prefix_lm")
    for part in (transformers.Trainer, transformers.LlamaForCausalLM, peft.get_peft_model, lm_eval.evaluator.evaluate):
        assert part  # transformers loads such things when they are asked for
    layer = torch.nn.Linear(64, 64)
    torch.nn.functional.cross_entropy(layer(torch.ones(8, 64)), torch.zeros(8, dtype=torch.long)).backward()


def _show(found: Sequence[Peak], options: argparse.Namespace) -> None:
    if options.json:
        from benchmark.core.environment import environment

        made_on = environment(options.device, options.threads).model_dump(mode="json")
        peaks = [{**vars(one), "ratio": one.ratio} for one in found]
        print(json.dumps({"peaks": peaks, "environment": made_on}, indent=1))
        return
    from tabulate import tabulate

    rows = [
        [one.model, one.stage, f"{one.measured / GIB:.3f}", f"{one.predicted / GIB:.3f}", f"{one.ratio:.2f}"]
        for one in found
    ]
    heads = ["model", "stage", "measured, GiB", "predicted, GiB", "predicted / measured"]
    print(tabulate(rows, headers=heads, tablefmt="pipe", disable_numparse=True))
    if options.device == "cpu":
        print(f"libraries: {max(one.libraries for one in found) / GIB:.3f} GiB")


if __name__ == "__main__":
    raise SystemExit(run(main))
