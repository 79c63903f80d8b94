"""A stand-in for a model that records lm-eval's requests, so that prompts are known before a model is loaded."""

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.model import LM

from benchmark.evaluation.asking import MAX_GEN_TOKS, evaluate_tasks, load_by_shots, quiet_lm_eval, task_manager


def samples_of(
    tasks: Sequence[str], metadata: Mapping[str, Any], num_fewshot: Sequence[int], limit: int | None = None
) -> list[dict[str, list[dict[str, Any]]]]:
    """lm-eval's samples by task, with empty answers: an entry for each number of examples.

    Args:
        tasks: Names of this project's tasks or groups.
        metadata: Metadata of lm-eval's task manager.
        num_fewshot: Numbers of examples before a question.
        limit: Number of first questions of each task; all if None.
    """
    return [results["samples"] for results in record_requests(RequestRecorder(), tasks, metadata, num_fewshot, limit)]


def record_requests(
    recorder: "RequestRecorder",
    tasks: Sequence[str],
    metadata: Mapping[str, Any],
    num_fewshot: Sequence[int],
    limit: int | None = None,
) -> list[Any]:
    """Record the requests of tasks; returns lm-eval's results for each number of examples. See `samples_of`."""
    quiet_lm_eval()
    manager = task_manager(metadata)
    return [
        evaluate_tasks(recorder, loaded, shots, limit) for shots, loaded in load_by_shots(manager, tasks, num_fewshot)
    ]


class RequestRecorder(LM):  # type: ignore[misc]
    """A model for lm-eval that gives empty answers and records what it is asked.

    Attributes:
        generations: By task, the prompts with the most tokens that may be generated for each.
        comparisons: By task and context, the continuations whose likelihoods are compared.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generations: dict[str, list[tuple[str, int]]] = {}
        self.comparisons: dict[str, dict[str, list[str]]] = {}

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Record prompts, and how many tokens may be generated for each."""
        for request in requests:
            prompt, settings = request.args
            limit = int(settings.get("max_gen_toks", MAX_GEN_TOKS))
            self.generations.setdefault(request.task_name, []).append((prompt, limit))
        return [""] * len(requests)

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Record contexts with their continuations."""
        for request in requests:
            context, continuation = request.args
            self.comparisons.setdefault(request.task_name, {}).setdefault(context, []).append(continuation)
        return [(0.0, False)] * len(requests)

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """No task of this project asks for this."""
        return [0.0] * len(requests)
