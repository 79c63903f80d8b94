"""The board: a table per set of equal conditions, a row per method, best first.

Every display (Markdown, CSV, terminal, page) shows this one, and its numbers come from the answers of the test half.
"""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmark.records.comparable import Facts
from leaderboard.board.distance import DistanceBin
from leaderboard.board.labels import short_number
from leaderboard.stats.comparisons import BASELINE, Difference
from leaderboard.stats.intervals import Estimate

ALIKE = 1.01  # how many times the least the greatest of numbers that count as alike may be


def _amount(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def with_shots(shots: int) -> str:
    """The name of a way of asking, a key of `Row.also`: the exact match with so many examples."""
    return f"exact_match, {shots} shots"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class RetentionChange(_Frozen):
    """What training cost on one held-out text or task: the change for the worse, by the metric named at the table.

    `low` and `high` are the ends of the 95% interval over the seeds that measured it, None where that is one seed.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: tuple[int, ...]


class HeldOut(_Frozen):
    """A held-out text or task that records of a table measured, `before` being the untouched model's value."""

    label: str
    metric: str
    before: float


class Reference(_Frozen):
    """The untouched model, asked without or with the document in the prompt: no row of the ranking.

    `scores` maps each metric to its mean, with the number of examples, `shots`, that is best on the development half;
    `by_shots` each number of examples to the exact match. `questions` counts the questions asked: fewer than a table's
    where a document has no room in the prompt.
    """

    label: str
    shots: int
    by_shots: dict[int, Estimate]
    scores: dict[str, Estimate]
    fields: dict[str, Estimate]
    questions: int
    file: Path


class MethodFacts(_Frozen):
    """What a method's copies keep of the facts, the mean over seeds: see `benchmark.records.record.FactsInfo`."""

    answer: float | None
    answer_and_name: float | None
    tokens: float | None


class Row(_Frozen):
    """A method's records, one per seed, put together.

    Questions are asked with several numbers of examples before them. `shots` is the number with the highest exact match
    on the development half; `scores` maps each metric to its mean over all fields with that number, `fields` each field
    to its exact match, and `by_shots` every number of examples to the exact match. `of_answered` is the exact match
    among the questions that were answered at all. `also` compares the row with plain_matched in other ways of asking:
    with each number of examples, by choice, by cloze, and by the share answered.
    `to_baseline` compares the exact match with that of plain_matched, `to_random` with that of random_dropout (the row
    that drops with the same probability where there is one, else the best on the development half). `rank` is 1 + the
    number of rows with a higher exact match, and `among_first` says that the row is not told apart from the first.
    `steps` and `texts` are the least and the most over the seeds; `tokens` and `seconds` are the means of what training
    read and took.
    `answers` are the files beside `files`. Where a suite chose among `tried` points by the development half, these are
    the results of the best, and `chosen` says what it was. `retention` is by the label of the table's `held_out`.
    `loss_tokens` is how many of the tokens the loss was taken of, `facts` what the copies keep. With `confirmed` the
    seeds are others than those that the point was chosen with. `curve` maps steps to the exact match of that
    checkpoint, the mean over seeds and lm-eval tasks; the last step is among them. `by_distance` is the exact match by
    how far the answer stands from the name, in bins that the rows of a table share; empty where no record of the table
    says. `development` is the exact match of the development half, for choosing among rows, no result.
    """

    label: str
    method: str
    parameters: Facts
    copies: int
    pair: str | None
    seeds: tuple[int, ...]
    files: tuple[Path, ...]
    answers: tuple[Path, ...]
    shots: int
    by_shots: dict[int, Estimate]
    scores: dict[str, Estimate]
    of_answered: float | None
    fields: dict[str, Estimate]
    steps: tuple[int, int]
    epochs: float
    texts: tuple[int, int]
    tokens: float
    loss_tokens: float | None
    seconds: float | None
    facts: MethodFacts | None = None
    also: dict[str, Difference] = {}
    confirmed: bool = False
    to_baseline: Difference | None = None
    to_random: Difference | None = None
    rank: int = 1
    among_first: bool = True
    tried: int = 1
    chosen: Facts = {}
    retention: dict[str, RetentionChange] = {}
    curve: dict[int, float] = {}
    by_distance: tuple[DistanceBin, ...] = ()
    development: float = 0.0

    @property
    def headline(self) -> Estimate:
        """The exact match over all fields with the number of examples chosen, by which rows are ordered."""
        return self.scores["exact_match"]


class BoardTable(_Frozen):
    """Rows made under equal conditions, best first.

    `questions` counts the test half's questions that have an exact match, `subjects` the people or paragraphs there.
    """

    title: str
    task: str
    model: str
    budget: str
    suites: tuple[str, ...]
    conditions: Facts
    questions: int
    subjects: int
    fields: tuple[str, ...]
    rows: tuple[Row, ...]
    references: tuple[Reference, ...] = ()
    held_out: tuple[HeldOut, ...] = ()

    def is_best(self, row: Row) -> bool:
        """Whether no row of this table has a higher exact match."""
        return row.headline.mean == self.rows[0].headline.mean

    def best_of_methods(self) -> dict[str, Row]:
        """Every method's row with the highest exact match on the development half, of those with most seeds."""
        found: dict[str, Row] = {}
        for row in sorted(self.rows, key=lambda row: (-len(row.seeds), -row.development, row.label)):
            found.setdefault(row.method, row)
        return found

    def alike_in(self) -> str:
        """In which of steps, tokens and passes the rows are alike, and how far apart they are in the others.

        `plain` is left out: it is meant to take fewer steps.
        """
        rows = [row for row in self.rows if row.method != "plain"] or list(self.rows)
        spans: dict[str, list[float]] = {
            "optimizer steps": [end for row in rows for end in row.steps],
            "tokens read": [row.tokens for row in rows],
            "passes over their own texts": [row.epochs for row in rows],
        }
        alike = [name for name, values in spans.items() if max(values) <= ALIKE * min(values)]
        others = [
            f"{name} ({_amount(min(values))} to {_amount(max(values))})"
            for name, values in spans.items()
            if name not in alike
        ]
        line = f"Alike in {' and '.join(alike)}" if alike else "Alike in neither steps, tokens nor passes"
        return f"{line}, not in {' and '.join(others)}." if others else f"{line}."

    def summary(self, name: Callable[[str], str] = str) -> str:
        """The best method, those not told apart from it, and those told to be above plain_matched.

        `name` renders a label for the display that the line is meant for.
        """
        best = ", ".join(name(row.label) for row in self.rows if self.is_best(row))
        line = f"Best: {best} (exact match {short_number(self.rows[0].headline.mean)})."
        alike = [name(row.label) for row in self.rows if row.among_first and not self.is_best(row)]
        line += f" Not told apart from it: {', '.join(alike)}." if alike else ""
        if not any(row.to_baseline for row in self.rows):
            return f"{line} Nothing here to compare with {name(BASELINE)}."
        above = [name(row.label) for row in self.rows if row.to_baseline and row.to_baseline.verdict == "above"]
        return f"{line} Above {name(BASELINE)}: {', '.join(above) or 'none'}."


class Board(_Frozen):
    """All tables, in the order of task, model and budget."""

    tables: tuple[BoardTable, ...]
