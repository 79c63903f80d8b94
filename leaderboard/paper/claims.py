"""The paper's claims, tried on every model that there are records of.

The paper's numbers need its models; what it says of them, that one method beats another and that facts far from the
name are learned less, can be tried on any. A claim is an exact match minus another that should lie above 0; the verdict
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
from leaderboard.paper.reproduction import Member, data_of
from leaderboard.stats.comparisons import BASELINE, best_on_development, with_alpha
from leaderboard.stats.intervals import Estimate, mean_interval, paired_difference

Verdict = Literal["holds", "does not hold", "cannot be told"]
COMPARISONS = (
    ("contrastive_dropout", "plain"),
    ("contrastive_dropout", BASELINE),
    ("contrastive_dropout", "random_dropout"),
    ("contrastive_dropout", "attention_dropout"),
    ("attention_dropout", "plain"),
    ("random_dropout", "plain"),
)
CLAIM_RULE = """\
A claim is a difference in exact match that should be above 0, paired by seed and subject. It holds where the whole \
95% interval lies above 0, does not hold where the whole interval lies below 0, and else cannot be told. Each \
interval is one of its own, not adjusted for how many there are, and with one seed it is over subjects alone and says \
nothing of other seeds. A method is set against the row of the other one with the same α, or else against its best on \
the development half."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Backing(_Frozen):
    """What the paper's own numbers say: how many of its cells have a difference above 0, and the mean of all."""

    holds: int
    cells: int
    mean: float


class Trial(_Frozen):
    """A claim on the records of one board table; `parts` are the differences by field, `whole` that of the verdict."""

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
        """What the interval of the whole difference says."""
        if self.whole.low > 0:
            return "holds"
        return "does not hold" if self.whole.high < 0 else "cannot be told"


class Claim(_Frozen):
    """A claim, what the paper's numbers say of it (None where it has none), and every trial of it."""

    text: str
    backing: Backing | None
    trials: tuple[Trial, ...]

    def count(self, verdict: Verdict) -> int:
        """How many trials ended so."""
        return sum(trial.verdict == verdict for trial in self.trials)


def comparisons(paper: Paper, table: PaperTable, ours: Sequence[Member]) -> list[Claim]:
    """One method against another, on every board table of the tasks that speak to the paper's table."""
    here = [one for one in ours if one.records[0].task.name in table.tasks]
    claims = []
    for method, other in COMPARISONS:
        trials = []
        for one in here:
            opponents = [two for two in here if two.table is one.table and two.row.method == other]
            if one.row.method == method and opponents:
                trials += _trial(paper, table, one, _nearest(one, opponents))
        claims.append(
            Claim(text=f"{method} above {other}", backing=_backing(table, method, other), trials=tuple(trials))
        )
    return claims


def distance(paper: Paper, table: PaperTable, ours: Sequence[Member]) -> Claim:
    """That plain fine-tuning learns less of a fact the farther from the name it stands: the fall per place.

    The fields stand in the text in the order of the table, at places 1, 2, …; a subject's fall is minus the slope of
    the least-squares line through its exact matches.
    """
    backing = [_fall(np.array([exact for exact, _ in row.scores.values()])) for row in table.rows]
    trials = []
    for one in ours:
        if one.records[0].task.name != table.task or one.row.method not in ("plain", BASELINE):
            continue
        tasks = {field: lm_eval_task(table.task, field) for field in table.fields}
        scores = {field: one.score("exact_match", task) for field, task in tasks.items()}
        tallies = [counted for task in tasks.values() if (counted := tally(list(one.answers), "exact_match", task))]
        # Every subject has to be asked about every field.
        if len(tallies) < len(tasks) or len({counts.shape for _, counts in tallies}) > 1:
            continue
        falls = _fall(np.stack([totals / counts for totals, counts in tallies]))
        trials.append(
            Trial(
                table=one.table.title,
                data=data_of(paper, one.records[0]),
                label=one.row.label,
                other="",
                seeds=one.row.seeds,
                files=one.row.files,
                parts={field: score for field, score in scores.items() if score},
                whole=mean_interval(falls, bounds=(-_most(len(tallies)), _most(len(tallies)))),
            )
        )
    return Claim(
        text="plain fine-tuning learns less of a fact the farther from the name it stands",
        backing=_count(backing),
        trials=tuple(trials),
    )


def _most(places: int) -> float:
    """The greatest fall that there can be over so many places: all right before the middle and all wrong after it."""
    return float(_fall(np.array([float(2 * place < places - 1) for place in range(places)])))


def _fall(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minus the slope of the least-squares line along the first axis, whose places are a step apart."""
    places = np.arange(len(scores)) - (len(scores) - 1) / 2
    fall: NDArray[np.float64] = -np.tensordot(places, scores, axes=1) / (places**2).sum()
    return fall


def _backing(table: PaperTable, method: str, other: str) -> Backing | None:
    gaps = []
    for model in dict.fromkeys(row.model for row in table.rows):
        mine, theirs = table.exact_match(model, method), table.exact_match(model, other)
        gaps += [mine[field] - theirs[field] for field in mine.keys() & theirs.keys()]
    return _count(gaps)


def _count(gaps: Sequence[float | NDArray[np.float64]]) -> Backing | None:
    if not gaps:
        return None
    values = [round(float(gap), 9) for gap in gaps]
    return Backing(holds=sum(gap > 0 for gap in values), cells=len(values), mean=round(sum(values) / len(values), 9))


def _nearest(one: Member, others: Sequence[Member]) -> Member:
    """The row to compare with, as the board does: the same α where there is one, else the best on the development half.

    Of several, the one with most parameters in common, then the first by its label.
    """

    def alike(other: Member) -> int:
        return sum(other.row.parameters.get(key) == value for key, value in one.row.parameters.items())

    found = with_alpha(one.alpha, others) or best_on_development(others)
    return max(sorted(found, key=lambda other: other.row.label), key=alike)


def _trial(paper: Paper, table: PaperTable, one: Member, other: Member) -> list[Trial]:
    """The difference over the seeds that both have; nothing where there are none, or none of the fields is asked."""
    seeds = tuple(seed for seed in one.row.seeds if seed in other.row.seeds)
    mine, theirs = _of_seeds(one, seeds), _of_seeds(other, seeds)
    name = one.records[0].task.name
    tasks = {field: lm_eval_task(name, field) for field in table.fields}
    parts = {field: _difference(mine, theirs, [task]) for field, task in tasks.items()} if seeds else {}
    whole = _difference(mine, theirs, list(tasks.values())) if seeds else None
    if whole is None:
        return []
    return [
        Trial(
            table=one.table.title,
            data=data_of(paper, one.records[0]),
            label=one.row.label,
            other=other.row.label,
            seeds=seeds,
            files=(*one.row.files, *other.row.files),
            parts={field: part for field, part in parts.items() if part},
            whole=whole,
        )
    ]


def _of_seeds(one: Member, seeds: Sequence[int]) -> list[Answers]:
    return [one.answers[one.row.seeds.index(seed)] for seed in seeds]


def _difference(mine: list[Answers], theirs: list[Answers], tasks: list[str]) -> Estimate | None:
    a, b = _tally(mine, tasks), _tally(theirs, tasks)
    return paired_difference(a[0], b[0], a[1]) if a and b else None


def _tally(answers: list[Answers], tasks: list[str]) -> Tally | None:
    """As `tally`, of several lm-eval tasks together."""
    return tally(answers, "exact_match", among=np.isin(answers[0].task.astype(str), tasks))
