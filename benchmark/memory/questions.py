"""The longest prompts of an evaluation: lm-eval builds its requests for a model that only notes what it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.evaluation.request_recorder import RequestRecorder, record_requests


@dataclass(frozen=True)
class Generation:
    """What one task has answered in words.

    Attributes:
        prompts: how many.
        longest: tokens of the longest.
        common: tokens that all begin with.
        limit: most tokens of an answer.
    """

    prompts: int
    longest: int
    common: int
    limit: int


@dataclass(frozen=True)
class Comparison:
    """What one task has compared, in rows of a context and all its continuations.

    Attributes:
        contexts: how many rows.
        row: tokens of the longest.
        common: tokens that all contexts begin with.
        continuations: tokens of that row behind its context.
        longest: tokens of the longest context with one of its continuations.
    """

    contexts: int
    row: int
    common: int
    continuations: int
    longest: int


@dataclass(frozen=True)
class Requests:
    """What lm-eval asks of a model, task by task, as texts."""

    generations: Mapping[str, Sequence[tuple[str, int]]]
    comparisons: Mapping[str, Mapping[str, Sequence[str]]]

    def in_tokens(self, tokenizer: Any) -> list[Generation | Comparison]:
        """The most that each task asks of a model with this tokenizer."""
        found: list[Generation | Comparison] = []
        for asked in self.generations.values():
            ids = tokenizer([prompt for prompt, _ in asked])["input_ids"]
            limit = max(limit for _, limit in asked)
            found.append(Generation(len(ids), max(map(len, ids)), _common(ids), limit))
        for rows in self.comparisons.values():
            contexts = tokenizer(list(rows))["input_ids"]
            rests = [
                [len(ids) for ids in tokenizer(list(rest), add_special_tokens=False)["input_ids"]]
                for rest in rows.values()
            ]
            pairs = list(zip(map(len, contexts), rests, strict=True))
            whole, continuations = max((context + sum(rest), sum(rest)) for context, rest in pairs)
            longest = max(context + max(rest) for context, rest in pairs)
            found.append(Comparison(len(contexts), whole, _common(contexts), continuations, longest))
        return found


def requests_of(tasks: Sequence[str], metadata: Mapping[str, Any], num_fewshot: Sequence[int]) -> Requests:
    """What lm-eval asks in tasks of this project, with each number of examples."""
    recorder = RequestRecorder()
    record_requests(recorder, tasks, metadata, num_fewshot)
    return Requests(recorder.generations, recorder.comparisons)


def _common(rows: Sequence[list[int]]) -> int:
    """How many tokens all rows begin with."""
    low, high = min(rows), max(rows)  # in the order of a dictionary: what these two share, all between share
    return next((place for place, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
