"""The scores in a record: their type, and means over lm-eval tasks and seeds."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import WithJsonSchema

# Endings of lm-eval tasks whose questions tell knowing from finishing sentences → the metric that the board shows their
# exact match as, in the order of its columns. They do not count in the headline. The longest ending that fits counts.
OTHER_QUESTIONS = {
    "_paraphrased": "paraphrased",
    "_reverse": "reverse",
    "_two_hop": "two_hop",
    "_one_hop": "one_hop",
    "_first_born_two_hop": "first_born",  # one of two names: chance is .5, unlike in the other tasks
}


def other_metric(task: str) -> str | None:
    """The metric that an lm-eval task's exact match counts as on the board; None for direct questions."""
    fitting = [ending for ending in OTHER_QUESTIONS if task.endswith(ending)]
    return OTHER_QUESTIONS[max(fitting, key=len)] if fitting else None


def _nested(depth: int) -> dict[str, Any]:
    """The JSON Schema of `depth` nested objects with numbers inside."""
    return {"type": "object", "additionalProperties": _nested(depth - 1)} if depth else {"type": "number"}


# lm-eval task → number of examples → half → metric → mean. Files of version 1 lack the number of examples.
Scores = Annotated[
    dict[str, dict[str, dict[str, dict[str, float]]]], WithJsonSchema({"anyOf": [_nested(4), _nested(3)]})
]


def flat_scores(scores: Scores) -> dict[tuple[str, int, str, str], float]:
    """Flatten scores to means by (lm-eval task, number of examples, half, metric)."""
    return {
        (task, int(shots), half, metric): value
        for task, by_shots in scores.items()
        for shots, halves in by_shots.items()
        for half, metrics in halves.items()
        for metric, value in metrics.items()
    }


def shots_of(scores: Scores) -> list[int]:
    """The numbers of examples with which an exact match of direct questions was measured, ascending."""
    return sorted(
        {shots for task, shots, _, metric in flat_scores(scores) if metric == "exact_match" and not other_metric(task)}
    )


def mean_exact_match(scores: Scores, half: str, shots: int) -> float:
    """Mean exact match over the lm-eval tasks on one half with `shots` examples; 0 if no task measures it.

    Tasks of other questions (OTHER_QUESTIONS) do not count.
    """
    asked = (
        by_shots.get(str(shots), {}).get(half, {}) for task, by_shots in scores.items() if other_metric(task) is None
    )
    values = [metrics["exact_match"] for metrics in asked if "exact_match" in metrics]
    return sum(values) / len(values) if values else 0.0


def best_shots(scores: Sequence[Scores], half: str) -> tuple[int, float]:
    """The number of examples with the highest mean exact match on one half, and that exact match.

    Args:
        scores: The scores of one or more seeds, all with the same numbers of examples.
        half: "development" or "test".

    Returns:
        The lowest number of examples that has the highest mean over lm-eval tasks and seeds, and that mean; 0 and 0.0
        if there is no exact match.
    """
    means = {  # rounded, so that the same shares of fields, added up in another order, are equal
        shots: round(sum(mean_exact_match(seed, half, shots) for seed in scores) / len(scores), 9)
        for shots in shots_of(scores[0])
    }
    best = max(means, key=lambda shots: (means[shots], -shots), default=0)
    return best, means.get(best, 0.0)


OLD_SHOTS = 5  # the default of written questions in version 1


def with_shots(scores: Any, asked: Any) -> Any:
    """Add the level of the number of examples to scores of version 1, which are task → half → metric."""
    if not isinstance(scores, dict):
        return scores
    return {task: {str(old_shots(task, asked)): halves} for task, halves in scores.items()}


def old_shots(task: str, asked: Any) -> int:
    """The number of examples with which a record of version 1 asked an lm-eval task."""
    if task.endswith("_choice") or task == "corpus":
        return 0
    return asked if isinstance(asked, int) else OLD_SHOTS
