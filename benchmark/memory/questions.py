"""The longest prompts of an evaluation: lm-eval builds its requests for a model that only records them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.evaluation.request_recorder import RequestRecorder, record_requests


@dataclass(frozen=True)
class Generation:
    """The prompts of a task with generated answers.

    Attributes:
        prompts: Number of prompts.
        longest: Tokens of the longest prompt.
        common: Tokens that all prompts begin with.
        limit: Most tokens of an answer.
    """

    prompts: int
    longest: int
    common: int
    limit: int


@dataclass(frozen=True)
class Comparison:
    """The requests of a task that compares likelihoods, in rows of a context and all its continuations.

    Attributes:
        rows: Of each row, its tokens and those of its context, the longest row first.
        common: Tokens that all contexts begin with.
        longest: Tokens of the longest context with one of its continuations.
    """

    rows: tuple[tuple[int, int], ...]
    common: int
    longest: int


@dataclass(frozen=True)
class Requests:
    """All requests that lm-eval makes to a model, by task, as texts."""

    generations: Mapping[str, Sequence[tuple[str, int]]]
    comparisons: Mapping[str, Mapping[str, Sequence[str]]]

    def in_tokens(self, tokenizer: Any) -> list[Generation | Comparison]:
        """The largest prompts of each task in the tokens of a tokenizer."""
        workloads: list[Generation | Comparison] = []
        for prompts in self.generations.values():
            ids = tokenizer([prompt for prompt, _ in prompts])["input_ids"]
            limit = max(limit for _, limit in prompts)
            workloads.append(Generation(len(ids), max(map(len, ids)), _common(ids), limit))
        for rows in self.comparisons.values():
            contexts = tokenizer(list(rows))["input_ids"]
            lengths = [
                [len(ids) for ids in tokenizer(list(continuations), add_special_tokens=False)["input_ids"]]
                for continuations in rows.values()
            ]
            pairs = list(zip(map(len, contexts), lengths, strict=True))
            sizes = ((context + sum(each), context) for context, each in pairs)
            longest = max(context + max(each) for context, each in pairs)
            workloads.append(Comparison(tuple(sorted(sizes, key=_longest_first)), _common(contexts), longest))
        return workloads


def requests_of(tasks: Sequence[str], metadata: Mapping[str, Any], num_fewshot: Sequence[int]) -> Requests:
    """The requests of this project's tasks, with each number of examples."""
    recorder = RequestRecorder()
    record_requests(recorder, tasks, metadata, num_fewshot)
    return Requests(recorder.generations, recorder.comparisons)


def _common(rows: Sequence[list[int]]) -> int:
    """The number of tokens that all rows begin with."""
    first, last = min(rows), max(rows)  # in lexicographic order, all rows between share what these two share
    return next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))


def _longest_first(size: tuple[int, int]) -> tuple[int, int]:
    """The order of rows, given as tokens of the row and of its context; the shorter context first among equal rows."""
    return -size[0], size[1]
