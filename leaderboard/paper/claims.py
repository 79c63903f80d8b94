"""The paper's claims, tested on every model with records.

The paper's numbers need the paper's models. Its claims (one method beats another; facts far from the name are learned
less well) can be tested on any model. A claim is a difference in exact match that should be above 0. Its verdict
follows from the 95% interval of that difference, paired by seed and subject.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from leaderboard.board.answers import Answers, Tally, tally
from leaderboard.paper.published import Paper, PaperTable, lm_eval_task
from leaderboard.paper.reproduction import BoardRow, data_of
from leaderboard.stats.comparisons import BASELINE, RANDOM, opponents
from leaderboard.stats.intervals import Estimate, mean_interval, paired_difference

Verdict = Literal["holds", "does not hold", "undecided"]
SAME_RATE = f"{RANDOM} at its rate"  # deletes as many tokens; in the paper it has the same α and deletes more
COMPARISONS = (
    ("contrastive_dropout", "plain"),
    ("contrastive_dropout", BASELINE),
    ("contrastive_dropout", RANDOM),
    ("contrastive_dropout", SAME_RATE),
    ("contrastive_dropout", "attention_dropout"),
    ("attention_dropout", "plain"),
    (RANDOM, "plain"),
)
CLAIM_RULE = """\
A claim is a difference in exact match that should be above 0, paired by seed and subject. It holds if the whole 95% \
interval lies above 0, does not hold if the whole interval lies below 0, and is undecided otherwise. Intervals are not \
adjusted for the number of tests. With one seed the interval covers subjects alone and says nothing about other seeds. \
A method is compared with the other method's row of the same α, or else with its best row on the development half; of \
several, with the one that reads most nearly as many tokens. A row whose trained models are all among those of another \
row, asked in other ways, is left out."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class PaperEvidence(_Frozen):
    """The claim in the paper's own numbers: cells with a difference above 0, all cells, and the mean difference."""

    holds: int
    cells: int
    mean: float


class Trial(_Frozen):
    """A test of a claim on one table of the board.

    `parts` has the difference by field, `whole` the difference over all fields, which decides the verdict.
    """

    table: str
    data: str
    label: str
    other: str
    seeds: tuple[int, ...]
    files: tuple[Path, ...]
    parts: dict[str, Estimate]
    whole: Estimate

    @property
    def verdict(self) -> Verdict:
        """The verdict of the interval of the whole difference, as CLAIM_RULE defines it."""
        if self.whole.low > 0:
            return "holds"
        return "does not hold" if self.whole.high < 0 else "undecided"


class Claim(_Frozen):
    """A claim, its evidence in the paper's numbers (None if the paper has none), and its trials on our records."""

    text: str
    backing: PaperEvidence | None
    trials: tuple[Trial, ...]

    def count(self, verdict: Verdict) -> int:
        """Number of trials with this verdict."""
        return sum(trial.verdict == verdict for trial in self.trials)


def comparisons(paper: Paper, table: PaperTable, ours: Sequence[BoardRow]) -> list[Claim]:
    """The claims that one method beats another, tested on every board table of the paper table's tasks."""
    of_tasks = _trained_once([row for row in ours if row.records[0].task.name in table.tasks])
    claims = []
    for method, other in COMPARISONS:
        trials = []
        for row in of_tasks:
            others = [opponent for opponent in of_tasks if opponent.table is row.table and _kind(opponent) == other]
            if _kind(row) == method and others:
                trials += _trial(paper, table, row, _opponent(row, others))
        evidence = _paper_evidence(table, method, other)
        claims.append(Claim(text=f"{method} above {other}", backing=evidence, trials=tuple(trials)))
    return claims


def _trained_once(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """The rows without those whose trained models are all among those of another row: they are no new evidence."""
    trained = [{record.stages.get("train", record.sha256) for record in row.records} for row in rows]
    return [
        row
        for number, (row, own) in enumerate(zip(rows, trained, strict=True))
        if not any(own < other or (own == other and before < number) for before, other in enumerate(trained))
    ]


def _kind(row: BoardRow) -> str:
    """The name of a row's method, where random dropout at another method's rate is one of its own."""
    return SAME_RATE if row.row.method == RANDOM and row.row.parameters.get("rate") else row.row.method


def distance(paper: Paper, table: PaperTable, ours: Sequence[BoardRow]) -> Claim:
    """The claim that plain fine-tuning learns a fact less well the farther it stands from the name.

    The text states the fields in the order of the table, at positions 1, 2, …. The difference of this claim is the fall
    per position: minus the slope of the least-squares line through a subject's exact matches.
    """
    paper_falls = [_fall(np.array([exact for exact, _ in row.scores.values()])) for row in table.rows]
    trials = []
    of_task = [row for row in ours if row.records[0].task.name == table.task]
    for row in _trained_once(of_task):
        if row.row.method not in ("plain", BASELINE):
            continue
        tasks = {field: lm_eval_task(table.task, field) for field in table.fields}
        scores = {field: row.score("exact_match", task) for field, task in tasks.items()}
        tallies = [counted for task in tasks.values() if (counted := tally(list(row.answers), "exact_match", task))]
        # The slope needs an answer of every subject about every field.
        if len(tallies) < len(tasks) or len({counts.shape for _, counts in tallies}) > 1:
            continue
        falls = _fall(np.stack([totals / counts for totals, counts in tallies]))
        trials.append(
            Trial(
                table=row.table.title,
                data=data_of(paper, row.records[0]),
                label=row.row.label,
                other="",
                seeds=row.row.seeds,
                files=row.row.files,
                parts={field: score for field, score in scores.items() if score},
                whole=mean_interval(falls, bounds=(-_greatest_fall(len(tallies)), _greatest_fall(len(tallies)))),
            )
        )
    return Claim(
        text="plain fine-tuning learns a fact less well the farther it stands from the name",
        backing=_evidence(paper_falls),
        trials=tuple(trials),
    )


def _greatest_fall(positions: int) -> float:
    """The greatest possible fall: all answers right before the middle position and all wrong after it."""
    return float(_fall(np.array([float(2 * position < positions - 1) for position in range(positions)])))


def _fall(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minus the slope of the least-squares line along the first axis, in units of one position."""
    positions = np.arange(len(scores)) - (len(scores) - 1) / 2
    fall: NDArray[np.float64] = -np.tensordot(positions, scores, axes=1) / (positions**2).sum()
    return fall


def _paper_evidence(table: PaperTable, method: str, other: str) -> PaperEvidence | None:
    gaps = []
    for model in dict.fromkeys(row.model for row in table.rows):
        mine, theirs = table.exact_match(model, method), table.exact_match(model, other)
        gaps += [mine[field] - theirs[field] for field in mine.keys() & theirs.keys()]
    return _evidence(gaps)


def _evidence(gaps: Sequence[float | NDArray[np.float64]]) -> PaperEvidence | None:
    if not gaps:
        return None
    values = [round(float(gap), 9) for gap in gaps]
    return PaperEvidence(
        holds=sum(gap > 0 for gap in values), cells=len(values), mean=round(sum(values) / len(values), 9)
    )


def _opponent(row: BoardRow, others: Sequence[BoardRow]) -> BoardRow:
    """The row to compare with, chosen as on the board.

    Of several, the row with most parameters in common, then the first by its label.
    """

    def common_parameters(other: BoardRow) -> int:
        return sum(other.row.parameters.get(key) == value for key, value in row.row.parameters.items())

    return max(sorted(opponents(row, others), key=lambda other: other.row.label), key=common_parameters)


def _trial(paper: Paper, table: PaperTable, row: BoardRow, other: BoardRow) -> list[Trial]:
    """The trial over the seeds that both rows have; empty without common seeds or without answers about the fields."""
    seeds = tuple(seed for seed in row.row.seeds if seed in other.row.seeds)
    answers, other_answers = _of_seeds(row, seeds), _of_seeds(other, seeds)
    name = row.records[0].task.name
    tasks = {field: lm_eval_task(name, field) for field in table.fields}
    parts = {field: _difference(answers, other_answers, [task]) for field, task in tasks.items()} if seeds else {}
    whole = _difference(answers, other_answers, list(tasks.values())) if seeds else None
    if whole is None:
        return []
    return [
        Trial(
            table=row.table.title,
            data=data_of(paper, row.records[0]),
            label=row.row.label,
            other=other.row.label,
            seeds=seeds,
            files=(*row.row.files, *other.row.files),
            parts={field: part for field, part in parts.items() if part},
            whole=whole,
        )
    ]


def _of_seeds(row: BoardRow, seeds: Sequence[int]) -> list[Answers]:
    return [row.answers[row.row.seeds.index(seed)] for seed in seeds]


def _difference(answers: list[Answers], other_answers: list[Answers], tasks: list[str]) -> Estimate | None:
    ours, others = _tally(answers, tasks), _tally(other_answers, tasks)
    return paired_difference(ours[0], others[0], ours[1]) if ours and others else None


def _tally(answers: list[Answers], tasks: list[str]) -> Tally | None:
    """As `tally`, for several lm-eval tasks together."""
    return tally(answers, "exact_match", among=np.isin(answers[0].task.astype(str), tasks))
