"""The parts of a suite file: pairs, methods with their grids, the choice among points, scoring and evaluation."""

import itertools
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from benchmark.core.validation import Count, Seed, not_a_bool
from benchmark.corpora import Task

MAX_POINTS = 10_000  # of one grid: far more than real suites have, and few enough to be expanded at once


class Strict(BaseModel):
    """A part of a suite: unknown keys and numbers that are not finite are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Pair(Strict):
    """Names of the large and the small model whose attention is contrasted."""

    large: str
    small: str


class MethodEntry(BaseModel):
    """A method and its parameters. A parameter with a list of values makes a grid.

    Attributes:
        name: The method's name.
        trained: The trained models to use the method with (`for` in the file); None for all.
        pairs: The pairs to use the method with; None for all.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    trained: list[str] | None = Field(default=None, alias="for", min_length=1)
    pairs: list[str] | None = Field(default=None, min_length=1)

    def points(self) -> list[dict[str, Any]]:
        """Every combination of the listed parameter values, in the order of the file."""
        return combinations(self.model_extra or {})


class Choose(Strict):
    """Parameters over which the best point is chosen, by exact match on the development half.

    The board then shows one row per method: the results of the best point on the test half, and the number of points.

    Attributes:
        over: Parameters of methods, fields of the recipe, or "budget".
        halving: Successive halving: only the best 1/`halving` of the points goes on from a shorter budget to a longer
            one, and from one seed to several (see suite/choice.py). Saves work on large grids.
        confirm: Seeds with which the best point of each row is trained again. The row then shows these seeds alone,
            because the seeds that a point was chosen with favour it.
    """

    over: list[str] = Field(min_length=1)
    halving: Annotated[int, BeforeValidator(not_a_bool), Field(ge=2)] | None = None
    confirm: list[Seed] = []

    @model_validator(mode="after")
    def _halving_or_confirm(self) -> "Choose":
        if self.halving and self.confirm:
            raise ValueError("confirm needs the results of all points; leave out halving or confirm")
        if len(set(self.confirm)) < len(self.confirm):
            raise ValueError("confirm: duplicate seed; list each seed once")
        return self


class Scoring(Strict):
    """How tokens are scored.

    Attributes:
        reduction: How attention is reduced to one score per token; see `benchmark.scoring.attention`.
        prefix: Text put before every text and not scored. A model's first position receives much attention whatever is
            there. With "auto" a token always comes first: the tokenizer's own if it adds one, else the model's start or
            end token, else "Text: ".
        tokens_per_batch: Tokens in a batch; bounds memory and changes no score.
    """

    reduction: Literal["received", "received_strict"] = "received"
    prefix: str = "auto"
    tokens_per_batch: Count = 4096


def _in_a_list(value: Any) -> Any:
    return [value] if isinstance(value, int) else value


class Evaluation(Strict):
    """How lm-eval is run.

    Attributes:
        batch_size: Questions in a batch.
        num_fewshot: The numbers of few-shot examples; every question is asked with each of them. None means 0, 1 and 5,
            as far as a task has examples. Likelihood and cloze questions take none.
    """

    batch_size: Count = 32
    num_fewshot: (
        Annotated[
            list[Annotated[int, BeforeValidator(not_a_bool), Field(ge=0, le=1000)]],
            BeforeValidator(_in_a_list),
            Field(min_length=1),
        ]
        | None
    ) = None

    def shots(self, task: Task) -> list[int]:
        """The numbers of examples that the questions of a task are asked with, ascending."""
        return task.default_fewshot if self.num_fewshot is None else sorted(set(self.num_fewshot))


def combinations(listed: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the listed values; a single value counts as a list of one.

    Raises:
        ValueError: There are more than MAX_POINTS combinations.
    """
    values = [value if isinstance(value, list) else [value] for value in listed.values()]
    if (points := math.prod(map(len, values))) > MAX_POINTS:
        raise ValueError(f"its lists make {points:,} combinations, more than {MAX_POINTS:,}; shorten them")
    return [dict(zip(listed, point, strict=True)) for point in itertools.product(*values)]
