"""The paper's numbers beside ours: which records match a row of the paper, and whether they agree with it.

RULE defines agreement. The paper's claims are in `leaderboard.paper.claims`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.records.record import ModelInfo, Record
from leaderboard.board.answers import Answers, read_answers, tally
from leaderboard.board.assemble import build_board
from leaderboard.board.choice import RecordFile
from leaderboard.board.labels import GREEK, short_fact
from leaderboard.board.model import BoardTable, Row
from leaderboard.paper.published import Paper, PaperModel, PaperRow, PaperTable, lm_eval_task
from leaderboard.stats.intervals import Estimate, mean_interval, normal_quantile, rounded

PAPER_SHOTS = 5
PAPER_METRICS = ("exact_match", "f1")
RULE = """\
A row agrees if 0 lies in the 95% interval of our value minus the paper's, for exact match and for F1; otherwise it \
disagrees. The ends of that interval are m − p − √((m − L)² + (h − p)²) and m − p + √((H − m)² + (p − l)²). m with [L, \
H] is our value, with its interval over seeds and subjects as everywhere on the board (docs/statistics.md). p with [l, \
h] is the paper's value. The paper gives no intervals, so [l, h] is Wilson's binomial interval for the number of \
questions that the paper asked per field, or our number of questions if the paper does not give it. An F1 varies no \
more than a share with the same mean, so the rule is conservative for F1. The interval does not cover two sources of \
error: the paper has one seed, and its value is the best of a grid on the same questions that it reports."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class BoardRow:
    """A row of the board with its records, one for each seed, and their answers in the same order.

    Attributes:
        table: The row's table.
        row: The row.
        records: Its records.
        all_answers: Their answers with every number of examples that was asked.
        shots: The number of examples in the prompt of `answers`.
    """

    table: BoardTable
    row: Row
    records: tuple[Record, ...]
    all_answers: tuple[Answers, ...]
    shots: int

    @cached_property
    def answers(self) -> tuple[Answers, ...]:
        """The answers with this number of examples."""
        return tuple(answers.with_shots(self.shots) for answers in self.all_answers)

    def asked_with(self, shots: int) -> "BoardRow | None":
        """The same row with the answers of another number of examples; None if it was not asked with as many."""
        return replace(self, shots=shots) if shots in self.row.by_shots else None

    @property
    def alpha(self) -> Any:
        """The α of the row's method; None if the method has none."""
        return self.row.parameters.get("alpha")

    @property
    def development(self) -> float:
        """The row's exact match on the development half."""
        return self.row.development

    @property
    def tokens(self) -> float:
        """The tokens that the row read in training."""
        return self.row.tokens

    def score(self, metric: str, task: str) -> Estimate | None:
        """A metric of one lm-eval task with its interval over seeds and subjects; None if it was not measured."""
        counted = tally(list(self.answers), metric, task)
        return mean_interval(*counted) if counted else None

    def questions(self, task: str) -> int:
        """Number of questions of one lm-eval task that each seed answered."""
        return int((self.answers[0].task == task).sum())


class Ours(_Frozen):
    """Our scores for one field of a row of the paper; `difference` is our score minus the paper's, by metric."""

    label: str
    data: str
    seeds: tuple[int, ...]
    files: tuple[Path, ...]
    scores: dict[str, Estimate]
    difference: dict[str, Estimate]

    @property
    def beyond(self) -> dict[str, float]:
        """Distance from 0 to the nearer end of each difference's interval, for metrics whose interval excludes 0."""
        excluding = {metric: gap for metric, gap in self.difference.items() if not gap.low <= 0 <= gap.high}
        return {metric: gap.low if gap.low > 0 else gap.high for metric, gap in excluding.items()}


class Finding(_Frozen):
    """One field of one row of the paper, our scores for it, and the verdict with its reason.

    `command` runs the suite of the row.
    """

    model: str
    hub: str
    method: str
    parameters: dict[str, float]
    field: str
    paper: dict[str, float]
    note: str
    ours: Ours | None
    verdict: Literal["agrees", "disagrees", "not run"]
    why: str
    command: str


def board_rows(records: Sequence[RecordFile]) -> list[BoardRow]:
    """The rows of the board of these records, with records and answers.

    The answers are those with the paper's number of examples in the prompt (PAPER_SHOTS), or the board's if the row has
    none with that number.

    Raises:
        UserError: As `build_board` does.
    """
    by_path = dict(records)
    rows = []
    for table in build_board(records).tables:
        for row in table.rows:
            of_row = tuple(by_path[path] for path in row.files)
            shots = PAPER_SHOTS if PAPER_SHOTS in row.by_shots else row.shots
            answers = tuple(read_answers(path, record) for path, record in zip(row.files, of_row, strict=True))
            rows.append(BoardRow(table, row, of_row, answers, shots))
    return rows


def findings(paper: Paper, table: PaperTable, ours: Sequence[BoardRow]) -> list[Finding]:
    """A finding for every row and field of one of the paper's tables; several where several of our rows match."""
    result = []
    for row in table.rows:
        model = paper.models[row.model]
        same_model = [board_row for board_row in ours if is_model(board_row.records[0].model, model)]
        same_task = [board_row for board_row in same_model if board_row.records[0].task.name == table.task]
        matches = [board_row for board_row in same_task if _same_method(board_row, row)]
        for field in row.scores:
            of_field = [_finding(paper, table, row, field, match) for match in matches]
            result += of_field or [_finding(paper, table, row, field, None, _missing(table, row, same_model))]
    return result


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95% score interval of a share observed in `count` questions (Wilson 1927, JASA 22, 209-212)."""
    z = normal_quantile()
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def minus_paper(ours: Estimate, paper: float, questions: int) -> Estimate:
    """Our value minus the paper's, measured on `questions` questions, with the interval that RULE describes.

    The two intervals are combined by the square root of the sum of squares (Newcombe 1998, Statistics in Medicine 17,
    873-890, method 10; Zou & Donner 2008, Statistics in Medicine 27, 1693-1702).
    """
    low, high = wilson(paper, questions)
    gap = ours.mean - paper
    ends = gap - math.hypot(ours.mean - ours.low, high - paper), gap + math.hypot(ours.high - ours.mean, paper - low)
    return rounded(gap, *ends)


def parameters_text(parameters: dict[str, float]) -> str:
    """The α and β of a method, as `α .6, β .05`; a dash if it has none."""
    return ", ".join(f"{GREEK[key]} {short_fact(value)}" for key, value in parameters.items()) or "–"


def is_model(model: ModelInfo, paper_model: PaperModel) -> bool:
    """Whether a record's model has the weights that the paper trained: all layers and no adapter."""
    names = {name.lower() for name in (paper_model.hub, *paper_model.also)}
    changed = model.spec.get("skip_layers") or model.spec.get("adapter")
    return not changed and bool(names & {str(model.spec.get("model", "")).lower(), model.fingerprint.lower()})


def _same_method(ours: BoardRow, row: PaperRow) -> bool:
    parameters = ours.row.parameters
    return ours.row.method == row.method and all(parameters.get(key) == value for key, value in row.parameters.items())


def _missing(table: PaperTable, row: PaperRow, same_model: Sequence[BoardRow]) -> str:
    if not same_model:
        return "no record of it"
    if not any(board_row.records[0].task.name == table.task for board_row in same_model):
        return f"no record of it on {table.task}"
    return "no record of it with this method" + (" and its parameters" if row.parameters else "")


def _finding(
    paper: Paper, table: PaperTable, row: PaperRow, field: str, match: BoardRow | None, missing: str = ""
) -> Finding:
    values = dict(zip(PAPER_METRICS, row.scores[field], strict=True))
    ours = _ours(paper, table, field, values, match) if match else None
    return Finding(
        model=paper.models[row.model].title,
        hub=paper.models[row.model].hub,
        method=row.method,
        parameters=row.parameters,
        field=field,
        paper=values,
        note=row.note,
        ours=ours,
        verdict="not run" if ours is None else "disagrees" if ours.beyond else "agrees",
        why=missing or "the record has no answers to its questions" if ours is None else _why(ours),
        command=f"benchmark run {table.suite} --records leaderboard/results",
    )


def _ours(paper: Paper, table: PaperTable, field: str, values: dict[str, float], match: BoardRow) -> Ours | None:
    task = lm_eval_task(table.task, field)
    scores = {metric: score for metric in PAPER_METRICS if (score := match.score(metric, task))}
    if not scores:
        return None
    questions = table.questions or match.questions(task)
    return Ours(
        label=f"{match.table.title}: {match.row.label}",
        data=data_of(paper, match.records[0]),
        seeds=match.row.seeds,
        files=match.row.files,
        scores=scores,
        difference={metric: minus_paper(score, values[metric], questions) for metric, score in scores.items()},
    )


def data_of(paper: Paper, record: Record) -> str:
    """The data of a record, in words: the name that paper.yaml gives, of a part with its size, or "other data"."""
    name = paper.corpora.get(record.task.corpus_hash)
    if name is None:
        return "other data"
    people = record.task.options.get("people")
    return f"{people} of {name}" if people else name


def _why(ours: Ours) -> str:
    names = {"exact_match": "exact match", "f1": "F1"}
    where = f"{ours.label}, {ours.data}"
    if not ours.beyond:
        gaps = ", ".join(f"{names[metric]} {gap.mean:+.3f}" for metric, gap in ours.difference.items())
        return f"ours minus the paper's: {gaps}, 0 within the intervals ({where})"
    gaps = ", ".join(
        f"{names[metric]} {ours.difference[metric].mean:+.3f}, by {abs(end):.3f} beyond its interval"
        for metric, end in ours.beyond.items()
    )
    return f"ours minus the paper's: {gaps} ({where})"
