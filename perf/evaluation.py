"""Questions per second: stock lm-eval's model and evaluation against the evaluate stage's.

    python -m perf.evaluation zoo:large --people 20
    python -m perf.evaluation models/SmolLM2.gguf --dtype bfloat16 --people 4 --threads 2 --json

Both ask the questions of the task biography, on the same model. Stock lm-eval also describes the machine at the end, by
running pip; the row "stock, machine not described" leaves that away, so that what is left is the work for the questions.
Besides: how many answers differ, between the two and between stock lm-eval with this batch size and with half of it, and
the share of the time spent in forward passes.
"""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perf.ratios import Timed, arguments, show, timed

STOCK, BARE, OURS = "stock lm-eval", "stock, machine not described", "ours"
TASKS = ("biography", "biography_choice")


def main() -> None:
    """Read the command line, measure, print."""
    parser = arguments(str(__doc__), rounds=3)
    parser.add_argument("model", help="zoo:NAME, hub id, folder or GGUF file")
    parser.add_argument("--trained", type=Path, help="folder with weights or an adapter that a train stage wrote")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--tasks", nargs="+", default=TASKS, help="lm-eval tasks or groups of the folder tasks/")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    given = parser.parse_args()
    import torch

    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.models.spec import ModelSpec
    from benchmark.stages.evaluate import quiet_lm_eval, trained_model

    torch.set_num_threads(given.threads)
    quiet_lm_eval()
    spec = ModelSpec(model=given.model, dtype=given.dtype)
    model = trained_model(spec, given.device, given.trained) if given.trained else load_model(spec, given.device)
    asking = _Asking(model, tokenizer_of(spec), given.people)
    found, also = [], {}
    for task in given.tasks:
        one, differences, shares = _measure(asking, task, given.batch_size, given.rounds)
        found.append(one)
        also[task] = {"differences": differences, "share_in_forward_passes": shares}
    show(found, given, tasks=also)
    if not given.json:
        for task, told in also.items():
            print(f"\n{task}: {_told(told)}")


class _Asking:
    """The questions about some people, put to a model by stock lm-eval and by the evaluate stage."""

    def __init__(self, model: Any, tokenizer: Any, people: int) -> None:
        self._tokenizer = tokenizer
        self._metadata = {"half": "all", "people": people}
        self.model = model

    def stock(self, task: str, batch_size: int, described: bool = True) -> list[dict[str, Any]]:
        """Rows of answers."""
        from lm_eval.evaluator import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        from benchmark.corpora import TASKS as FOLDER
        from benchmark.models.answering import evaluated
        from benchmark.stages.evaluate import answer_rows

        manager = TaskManager(include_path=str(FOLDER), include_defaults=False, metadata=dict(self._metadata))
        asked = HFLM(pretrained=self.model, tokenizer=copy.deepcopy(self._tokenizer), batch_size=batch_size)
        evaluate: Callable[..., Any] = simple_evaluate if described else evaluated
        found = evaluate(asked, tasks=[task], task_manager=manager, bootstrap_iters=0, log_samples=True)
        return answer_rows(found["samples"])

    def ours(self, task: str, batch_size: int) -> list[dict[str, Any]]:
        """Rows of answers."""
        from benchmark.stages.evaluate import answer_rows, ask

        samples, _ = ask(self.model, self._tokenizer, [task], self._metadata, batch_size, num_fewshot=None)
        return answer_rows(samples)


def _measure(
    asking: _Asking, task: str, batch_size: int, rounds: int
) -> tuple[Timed, dict[str, int], dict[str, float]]:
    """Times, numbers of answers that differ, shares of the time in forward passes."""
    ways: dict[str, Callable[[], list[dict[str, Any]]]] = {
        STOCK: lambda: asking.stock(task, batch_size),
        BARE: lambda: asking.stock(task, batch_size, described=False),
        OURS: lambda: asking.ours(task, batch_size),
    }
    stock, mine = ways[BARE](), ways[OURS]()
    halved = asking.stock(task, max(1, batch_size // 2), described=False)
    differences = {
        "questions": len(stock),
        "ours from stock": _differing(mine, stock),
        "stock from stock with half the batch": _differing(halved, stock),
    }
    found = timed(f"questions of {task}", ways, to=BARE, rounds=rounds, amount=(len(stock), "questions"))
    return found, differences, {way: _share(asking.model, ways[way]) for way in (BARE, OURS)}


def _differing(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> int:
    return sum(one != other for one, other in zip(some, others, strict=True))


def _share(model: Any, work: Callable[[], object]) -> float:
    """Share of the time that the model's forward passes take."""
    with _passes(model) as seconds:
        began = time.perf_counter()
        work()
        whole = time.perf_counter() - began
    return round(sum(seconds) / whole, 3)


@contextmanager
def _passes(model: Any) -> Iterator[list[float]]:
    """While this is open, the seconds of every forward pass."""
    import torch

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    wait = torch.cuda.synchronize if base.device.type == "cuda" else lambda: None
    seconds: list[float] = []
    began = 0.0

    def before(*_: Any) -> None:
        nonlocal began
        wait()
        began = time.perf_counter()

    def after(*_: Any) -> None:
        wait()
        seconds.append(time.perf_counter() - began)

    hooks = [base.register_forward_pre_hook(before), base.register_forward_hook(after)]
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()


def _told(also: dict[str, dict[str, Any]]) -> str:
    differences, shares = also["differences"], also["share_in_forward_passes"]
    questions = differences["questions"]
    differing = ", ".join(f"{name}: {number}" for name, number in differences.items() if name != "questions")
    passes = ", ".join(f"{way} {share:.0%}" for way, share in shares.items())
    return f"of {questions} answers differ: {differing}; time in forward passes: {passes}"


if __name__ == "__main__":
    main()
