"""The data model of the board: a table for each set of equal conditions, a row for each method, best first.

All views show this model. Its numbers come from the answers of the test half.
"""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmark.records.comparable import Facts
from leaderboard.board.distance import DistanceBin
from leaderboard.board.labels import short_number
from leaderboard.stats.comparisons import BASELINE, Difference
from leaderboard.stats.intervals import Estimate

UNTOUCHED = "untouched"  # label of the model before training
WHAT_HELPS = (
    "What can help: a model that has read more text, and more passes over the documents; if only cloze is high, "
    "written questions and answers (self_qa), or rehearsal."
)
ALIKE = 1.01  # numbers count as equal if the greatest is at most so many times the least


def _amount(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def with_shots(shots: int) -> str:
    """The name of a way of asking, a key of `Row.also`: the exact match with so many examples."""
    return f"exact_match, {shots} shots"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class RetentionChange(_Frozen):
    """What training cost on one held-out text or task: the change for the worse of its metric.

    Attributes:
        mean: the mean over the seeds that measured it; above 0 is a loss.
        low: the lower end of the 95% interval over these seeds; None for one seed.
        high: the upper end of the interval; None for one seed.
        seeds: the seeds that measured it.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: tuple[int, ...]


class HeldOut(_Frozen):
    """A held-out text or task that records of a table measured; `before` is the untouched model's value."""

    label: str
    metric: str
    before: float


class Reference(_Frozen):
    """The untouched model, asked without or with the document in the prompt. It has no rank.

    Attributes:
        label: "untouched" or "open_book".
        shots: the number of examples that is best on the development half.
        by_shots: number of examples → exact match.
        scores: metric → its mean, with `shots` examples.
        fields: field → exact match, with `shots` examples.
        questions: how many questions were asked; fewer than the table's if documents do not fit into the prompt.
        file: the record.
    """

    label: str
    shots: int
    by_shots: dict[int, Estimate]
    scores: dict[str, Estimate]
    fields: dict[str, Estimate]
    questions: int
    file: Path


class MethodFacts(_Frozen):
    """What a method's copies keep of the facts, the mean over seeds; see `benchmark.records.record.FactsInfo`."""

    answer: float | None
    answer_and_name: float | None
    tokens: float | None


class MethodWriting(_Frozen):
    """What a writer wrote for a row, numbers as means over seeds; see `benchmark.records.record.WrittenInfo`.

    Attributes:
        writer: the name of the writer in the suite.
        model: the writer's model: a hub id, the last part of a path, or the name of the model at an endpoint.
        texts: texts that can be used; each seed trains on the same ones.
        left_out: texts that are missing after all tries.
        prompt_tokens: tokens of all prompts.
        tokens: tokens of all answers, also of those that could not be used.
        seconds: duration of the stages in which the texts were written; None if unknown.
        invented: share of names and numbers in the copies that their originals lack; None if copies have none.
    """

    writer: str
    model: str
    texts: float
    left_out: float
    prompt_tokens: float
    tokens: float
    seconds: float | None
    invented: float | None


class Row(_Frozen):
    """The records of a method, one per seed, combined.

    Attributes:
        label: the method with what distinguishes the row from others of its table.
        method: the name of the method.
        parameters: its parameters.
        copies: how many copies of each text it made.
        pair: the name of the contrasted pair, if any.
        seeds: the seeds of the records.
        files: the records, in the order of the seeds.
        answers: the answer files beside them.
        shots: the number of examples with the highest exact match on the development half.
        by_shots: number of examples → exact match.
        scores: metric → its mean over all fields, with `shots` examples.
        of_answered: exact match among the questions that were answered at all.
        fields: field → exact match, with `shots` examples.
        steps: least and most optimizer steps of a seed.
        epochs: passes over the training texts, the mean over seeds.
        texts: least and most training texts of a seed.
        tokens: tokens read in training, the mean over seeds.
        loss_tokens: how many of these the loss was computed on.
        seconds: duration of training, the mean over seeds.
        facts: what copies keep of the facts.
        writing: what a writer wrote, for a method whose copies it writes.
        also: way of asking → difference to plain_matched; the ways are each number of examples (see `with_shots`), and
            the metrics answered, acc and cloze, and those of other questions.
        confirmed: whether the seeds are others than those that the point was chosen with.
        to_baseline: difference to plain_matched.
        to_random: difference to random_dropout: the row with the same probability of dropping, else the row that is
            best on the development half.
        above_floor: whether it recalls more, by interval and test, than the untouched model; than nothing, where a
            table has no such reference.
        rank: 1 + the number of rows with a higher exact match.
        among_first: whether the row does not differ significantly from the first.
        tried: how many points a suite chose among by the development half.
        chosen: the chosen point, by dotted field.
        retention: label of a held-out text or task → the change for the worse.
        curve: steps → exact match of that checkpoint, the mean over seeds and lm-eval tasks; includes the last step.
        by_distance: exact match by how far the answer stands from the name, in bins that the rows of a table share.
        development: exact match on the development half. It serves to choose among rows, and is no result.
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
    writing: MethodWriting | None = None
    also: dict[str, Difference] = {}
    confirmed: bool = False
    to_baseline: Difference | None = None
    to_random: Difference | None = None
    above_floor: bool = False
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
        """The exact match over all fields with the chosen number of examples; rows are ordered by it."""
        return self.scores["exact_match"]

    @property
    def seconds_with_writing(self) -> float | None:
        """Seconds of training and of writing the texts; None if either is unknown."""
        writing = self.writing.seconds if self.writing else 0.0
        return None if self.seconds is None or writing is None else self.seconds + writing


class BoardTable(_Frozen):
    """Rows made under equal conditions, best first.

    Attributes:
        title: task, model and budget, and what else distinguishes the table from others.
        task: the name of the task.
        model: the trained model.
        parameters: how many parameters it has; None if unknown.
        budget: the label of the training budget.
        suites: the suites that made the records.
        conditions: what the records share, by dotted field.
        questions: how many questions of the test half have an exact match.
        subjects: how many people or paragraphs of the test half these are about.
        fields: the fields of the task, in its order; or the kinds of its questions.
        rows: the rows.
        references: the untouched model, without and with the document in the prompt.
        held_out: the held-out texts and tasks that records measured.
    """

    title: str
    task: str
    model: str
    parameters: int | None
    budget: str
    suites: tuple[str, ...]
    conditions: Facts
    questions: int
    subjects: int
    fields: tuple[str, ...]
    rows: tuple[Row, ...]
    references: tuple[Reference, ...] = ()
    held_out: tuple[HeldOut, ...] = ()

    @property
    def floor(self) -> float:
        """The exact match of the untouched model; 0 if the table has no such reference."""
        return max((reference.scores["exact_match"].mean for reference in self.untouched), default=0.0)

    @property
    def recalled(self) -> bool:
        """Whether training taught anything: a row recalls more than the untouched model, by interval and test."""
        return any(row.above_floor for row in self.rows)

    @property
    def untouched(self) -> list[Reference]:
        """The references of the model before training, without a document in the prompt; at most one per record."""
        return [reference for reference in self.references if reference.label == UNTOUCHED]

    def is_best(self, row: Row) -> bool:
        """Whether anything was recalled, and no row of this table has a higher exact match."""
        return self.recalled and row.headline.mean == self.rows[0].headline.mean

    def best_of_methods(self) -> dict[str, Row]:
        """The best row of every method: of its rows with most seeds, the best on the development half."""
        best: dict[str, Row] = {}
        for row in sorted(self.rows, key=lambda row: (-len(row.seeds), -row.development, row.label)):
            best.setdefault(row.method, row)
        return best

    def alike_in(self) -> str:
        """A sentence that says in which of steps, tokens and passes the rows are equal, and the ranges of the others.

        `plain` does not count: it takes fewer steps by design.
        """
        rows = [row for row in self.rows if row.method != "plain"] or list(self.rows)
        spans: dict[str, list[float]] = {
            "optimizer steps": [end for row in rows for end in row.steps],
            "tokens read": [row.tokens for row in rows],
            "passes over their own texts": [row.epochs for row in rows],
        }
        equal = [name for name, values in spans.items() if max(values) <= ALIKE * min(values)]
        others = [
            f"{name} ({_amount(min(values))} to {_amount(max(values))})"
            for name, values in spans.items()
            if name not in equal
        ]
        sentence = f"Equal in {' and '.join(equal)}" if equal else "Equal in neither steps, tokens nor passes"
        return f"{sentence}, but not in {' and '.join(others)}." if others else f"{sentence}."

    def summary(self, name: Callable[[str], str] = str) -> str:
        """Sentences on the best row, the rows that do not differ significantly from it, and those above plain_matched.

        If nothing was recalled: sentences that say so, what cloze and choice show, and what can help. `name` renders a
        label for the display.
        """
        if not self.recalled:
            return self._nothing_recalled(name)
        best = ", ".join(name(row.label) for row in self.rows if self.is_best(row))
        sentences = [f"Best: {best} (exact match {short_number(self.rows[0].headline.mean)})."]
        if similar := [name(row.label) for row in self.rows if row.among_first and not self.is_best(row)]:
            sentences.append(f"Not significantly different from it: {', '.join(similar)}.")
        if any(row.to_baseline for row in self.rows):
            above = [name(row.label) for row in self.rows if row.to_baseline and row.to_baseline.verdict == "above"]
            sentences.append(f"Above {name(BASELINE)}: {', '.join(above) or 'none'}.")
        else:
            sentences.append(f"There is no {name(BASELINE)} to compare with.")
        if not self.untouched:
            sentences.append("The untouched model was not asked, so some of this may be guesses.")
        return " ".join(sentences)

    def _nothing_recalled(self, name: Callable[[str], str]) -> str:
        if self.rows[0].headline.mean == 0:
            sentences = ["Nothing was recalled: every exact match is .000."]
        else:
            floor = f"{short_number(self.floor)}, the exact match of the untouched model" if self.untouched else ".000"
            sentences = [f"Nothing was recalled: no row is significantly above {floor}."]
        sentences += [self._highest(metric, what, name) for metric, what in (("cloze", "Cloze"), ("acc", "Choice"))]
        return " ".join([*filter(None, sentences), WHAT_HELPS])

    def _highest(self, metric: str, what: str, name: Callable[[str], str]) -> str:
        """The highest score in a metric, its rows and the untouched model's score; empty if it was not measured."""
        scores = {row.label: row.scores[metric].mean for row in self.rows if metric in row.scores}
        if not scores:
            return ""
        highest = max(scores.values())
        rows = [name(label) for label, score in scores.items() if score == highest]
        untouched = [short_number(found.scores[metric].mean) for found in self.untouched if metric in found.scores]
        beside = [*([", ".join(rows)] if highest else []), *(f"untouched {value}" for value in untouched[:1])]
        among = f" ({'; '.join(beside)})" if beside else ""
        return f"{what}: at most {short_number(highest)}{among}."


class Board(_Frozen):
    """All tables, in the order of task, model and budget."""

    tables: tuple[BoardTable, ...]
