"""Questions per second of the evaluate stage, compared with stock lm-eval, and the number of answers that differ.

    python -m perf.evaluation zoo:large --trained STORE/train/KEY/model
    python -m perf.evaluation PATH.gguf --dtype bfloat16 --people 8

Stock lm-eval ends with a report on the machine, which runs pip; the peer is stock lm-eval without the report, so that
ratios compare the work for the questions. The share of forward passes is what a faster model could still save. In
bfloat16, answers depend on what is batched together: the number of stock lm-eval's own answers that change with half
the batch is the yardstick for the number that differ.
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perf.ratios import Timed, arguments, run, show, timed, with_profile

OURS, SEVERAL = "ours", "ours, with 0, 1 and 5 examples"
PEER = "stock lm-eval, no report"
Rows = list[dict[str, Any]]


def main(given: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = with_profile(arguments(str(__doc__), rounds=3))
    parser.add_argument("model", help="zoo:NAME, hub id, folder or .gguf file")
    parser.add_argument("--trained", type=Path, help="weights or an adapter, as the train stage writes them")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument(
        "--tasks",
        nargs="+",
        default=["biography", "biography_choice", "biography_cloze"],
        help="lm-eval tasks, each asked on its own",
    )
    parser.add_argument("--people", type=int, default=20, help="number of people that are asked about")
    parser.add_argument("--batch", type=int, default=32, help="the suite's evaluation.batch_size")
    options = parser.parse_args(given)
    started = time.perf_counter()
    asking = _Asking(options)
    loading = time.perf_counter() - started
    measured, details = [], {}
    for task in options.tasks:
        timed_task, details[task] = _measured(task, asking, options)
        measured.append(timed_task)
    whole = {way: loading + sum(timed_task.median(way) for timed_task in measured) for way in (OURS, SEVERAL)}
    show(measured, options, tasks=details, whole=whole)
    if not options.json:
        seconds = f"{whole[SEVERAL]:.1f} s with 0, 1 and 5 examples, {whole[OURS]:.1f} s with 5 alone"
        print(f"\nIn total with the loading of the model: {seconds}, {whole[SEVERAL] / whole[OURS]:.2f} of that.")
        for task, also in details.items():
            passes = ", ".join(f"{way} {share:.0%}" for way, share in also["forward_passes"].items())
            differ = ", ".join(f"{way} {count}" for way, count in also["differ"].items())
            print(f"\n{task}: in forward passes: {passes}\n{task}: answers that differ from stock lm-eval's: {differ}")
    return 0


class _Asking:
    """A model and the ways to ask it about the first people; each way returns a row per question."""

    def __init__(self, options: argparse.Namespace) -> None:
        import torch

        from benchmark.evaluation.asking import quiet_lm_eval
        from benchmark.models.loading import load_trained, tokenizer_of
        from benchmark.models.spec import ModelSpec

        torch.set_num_threads(options.threads)
        quiet_lm_eval()
        spec = ModelSpec(model=options.model, dtype=options.dtype)
        self.model = load_trained(spec, options.device, options.trained)
        self._tokenizer = tokenizer_of(spec)
        self._metadata = {"half": "all", "people": options.people}

    def ours(self, task: str, batch: int, shots: Sequence[int] = (5,)) -> Rows:
        from benchmark.evaluation.asking import ask
        from benchmark.stages.evaluate import answer_rows

        return answer_rows(ask(self.model, self._tokenizer, [task], self._metadata, batch, shots).samples)

    def stock(self, task: str, batch: int, report: bool = False) -> Rows:
        from lm_eval.evaluator import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        from benchmark.corpora import TASKS
        from benchmark.corpora.base import CHOICE, CLOZE
        from benchmark.evaluation.asking import evaluate_tasks
        from benchmark.stages.evaluate import answer_rows

        manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata=dict(self._metadata))
        asked = HFLM(pretrained=self.model, tokenizer=copy.deepcopy(self._tokenizer), batch_size=batch)
        if report:
            results: Any = simple_evaluate(
                asked, tasks=[task], task_manager=manager, bootstrap_iters=0, log_samples=True
            )
        else:
            results = evaluate_tasks(asked, manager.load([task]), num_fewshot=None)
        shots = 0 if task.endswith((CHOICE, CLOZE)) else 5
        return answer_rows({(name, shots): samples for name, samples in results["samples"].items()})


def _measured(task: str, asking: _Asking, options: argparse.Namespace) -> tuple[Timed, dict[str, Any]]:
    """Times; and the shares of forward passes in them, with the numbers of answers that differ."""
    ways: dict[str, Callable[[], Rows]] = {
        OURS: lambda: asking.ours(task, options.batch),
        SEVERAL: lambda: asking.ours(task, options.batch, (0, 1, 5)),
        PEER: lambda: asking.stock(task, options.batch),
        "stock lm-eval": lambda: asking.stock(task, options.batch, report=True),
    }
    shares, answers = {}, {}
    for way in (OURS, PEER):
        shares[way], answers[way] = _share(asking.model, ways[way])
    stock = answers[PEER]
    halved = asking.stock(task, max(1, options.batch // 2))
    differ = {OURS: _differing(answers[OURS], stock), "stock, half the batch": _differing(halved, stock)}
    measured = timed(task, ways, PEER, options.rounds, (len(stock), "questions"), options.profile)
    return measured, {"forward_passes": shares, "differ": differ, "questions": len(stock)}


def _differing(some: Rows, others: Rows) -> int:
    return sum(row != other for row, other in zip(some, others, strict=True))


def _share(model: Any, work: Callable[[], Rows]) -> tuple[float, Rows]:
    """The share of forward passes in the time of some work, and the rows that it returns."""
    with _passes(model) as seconds:
        started = time.perf_counter()
        rows = work()
        whole = time.perf_counter() - started
    return round(sum(seconds) / whole, 3), rows


@contextmanager
def _passes(model: Any) -> Iterator[list[float]]:
    """Collect the seconds of every forward pass while the block lasts."""
    import torch

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    seconds: list[float] = []

    def clock() -> float:
        if base.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    hooks = [
        base.register_forward_pre_hook(lambda *_: seconds.append(-clock())),
        base.register_forward_hook(lambda *_: seconds.append(seconds.pop() + clock())),
    ]
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()


if __name__ == "__main__":
    raise SystemExit(run(main))
