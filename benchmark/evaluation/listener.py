"""What lm-eval asks, without a model: its requests, noted instead of answered."""

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from benchmark.corpora.base import TASKS
from benchmark.evaluation.asking import loaded_by_shots, quiet_lm_eval
from benchmark.evaluation.model import evaluated


def samples_of(
    tasks: Sequence[str], metadata: Mapping[str, Any], num_fewshot: Sequence[int], limit: int | None = None
) -> list[dict[str, list[dict[str, Any]]]]:
    """lm-eval's samples of this project's tasks by number of examples, the first `limit` of each; answers are empty."""
    return [results["samples"] for results in listen(Listener(), tasks, metadata, num_fewshot, limit)]


def listen(
    listener: "Listener",
    tasks: Sequence[str],
    metadata: Mapping[str, Any],
    num_fewshot: Sequence[int],
    limit: int | None = None,
) -> list[Any]:
    """Ask a listener this project's tasks with each number of examples; returns lm-eval's results for each."""
    quiet_lm_eval()
    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata=dict(metadata))
    return [evaluated(listener, loaded, shots, limit) for shots, loaded in loaded_by_shots(manager, tasks, num_fewshot)]


class Listener(LM):  # type: ignore[misc]
    """A model that answers nothing and notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.generations: dict[str, list[tuple[str, int]]] = {}
        self.comparisons: dict[str, dict[str, list[str]]] = {}

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Note prompts, and how many tokens may follow each."""
        for request in requests:
            prompt, how = request.args
            self.generations.setdefault(request.task_name, []).append((prompt, int(how.get("max_gen_toks", 256))))
        return [""] * len(requests)

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Note contexts with their continuations."""
        for request in requests:
            context, rest = request.args
            self.comparisons.setdefault(request.task_name, {}).setdefault(context, []).append(rest)
        return [(0.0, False)] * len(requests)

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """No task of this project asks for this."""
        return [0.0] * len(requests)
