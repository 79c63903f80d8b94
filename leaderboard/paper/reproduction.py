"""The paper's numbers beside ours: which records speak to a row of the paper, and whether they agree with it.

RULE says what "agrees" means; the claims that the paper makes of its numbers are in claims.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.records.record import ModelInfo, Record
from leaderboard.board.answers import Answers, read_answers, tally
from leaderboard.board.assemble import Found, build_board
from leaderboard.board.labels import GREEK, short_fact
from leaderboard.board.model import BoardTable, Row
from leaderboard.paper.published import Paper, PaperModel, PaperRow, PaperTable, lm_eval_task
from leaderboard.stats.intervals import Estimate, mean_interval, normal_quantile, rounded

PAPER_SHOTS = 5
PAPER_METRICS = ("exact_match", "f1")
RULE = """\
A row agrees where 0 lies in the 95% interval of ours minus the paper's, for exact match and for F1; else it \
disagrees. The ends of that interval are m − p − √((m − L)² + (h − p)²) and m − p + √((H − m)² + (p − l)²): m with [L, \
H] is ours, over seeds and subjects as everywhere on the board (docs/statistics.md); p with [l, h] is the paper's \
value with Wilson's binomial interval at the number of questions that the paper asked per field (as many as ours where \
it does not say), since it gives no interval of its own. An F1 varies no more than a share of the same mean, so for F1 \
the rule is on the safe side. What has no interval cannot be in it: the paper's one seed, and that its value is the \
best of its grid on the very questions it reports."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class Member:
    """A row of the board with its records, one per seed, and their answers in the same order.

    Answers are those with as many examples before the question as the paper gives, or where a record has none of them
    those that the board shows.
    """

    table: BoardTable
    row: Row
    records: tuple[Record, ...]
    answers: tuple[Answers, ...]

    @property
    def alpha(self) -> Any:
        """The α of the row's method; None where it has none."""
        return self.row.parameters.get("alpha")

    @property
    def development(self) -> float:
        """The row's exact match on the development half."""
        return self.row.development

    def score(self, metric: str, task: str) -> Estimate | None:
        """A metric of one lm-eval task, with its interval over seeds and subjects; None if it is not measured."""
        counted = tally(list(self.answers), metric, task)
        return mean_interval(*counted) if counted else None

    def questions(self, task: str) -> int:
        """How many questions of one lm-eval task each seed answered."""
        return int((self.answers[0].task == task).sum())


class Ours(_Frozen):
    """What a row of our board has for one field of a row of the paper; `difference` is ours minus the paper's."""

    label: str
    data: str
    seeds: tuple[int, ...]
    files: tuple[Path, ...]
    scores: dict[str, Estimate]
    difference: dict[str, Estimate]

    @property
    def beyond(self) -> dict[str, float]:
        """By how much the nearer end of a difference's interval misses 0, for the metrics where it does."""
        missed = {metric: gap.low if gap.low > 0 else gap.high for metric, gap in self.difference.items()}
        return {m: end for m, end in missed.items() if not self.difference[m].low <= 0 <= self.difference[m].high}


class Finding(_Frozen):
    """One field of one row of the paper, what we have for it, the verdict and why; `command` runs what is missing."""

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


def members(records: Sequence[Found]) -> list[Member]:
    """The rows of the board of these records, with records and answers; raises UserError as `build_board` does."""
    by_path = dict(records)
    found = []
    for table in build_board(records).tables:
        for row in table.rows:
            some = tuple(by_path[path] for path in row.files)
            shots = PAPER_SHOTS if PAPER_SHOTS in row.by_shots else row.shots
            answers = tuple(
                read_answers(path, record).with_shots(shots) for path, record in zip(row.files, some, strict=True)
            )
            found.append(Member(table, row, some, answers))
    return found


def findings(paper: Paper, table: PaperTable, ours: Sequence[Member]) -> list[Finding]:
    """Every row and field of one of the paper's tables with what our records say; a row of ours each if several do."""
    result = []
    for row in table.rows:
        model = paper.models[row.model]
        same_model = [one for one in ours if _is(one.records[0].model, model)]
        same_task = [one for one in same_model if one.records[0].task.name == table.task]
        matches = [one for one in same_task if _same_method(one, row)]
        for field in row.scores:
            found = [_finding(paper, table, row, field, one) for one in matches]
            result += found or [_finding(paper, table, row, field, None, _missing(table, row, same_model))]
    return result


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95% score interval of a share seen in `count` questions (Wilson 1927, JASA 22, 209-212)."""
    z = normal_quantile()
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def against(ours: Estimate, paper: float, questions: int) -> Estimate:
    """Ours minus the paper's, of so many questions, with an interval made of both: see RULE.

    The two intervals are put together by squaring and adding (Newcombe 1998, Statistics in Medicine 17, 873-890,
    method 10; Zou & Donner 2008, Statistics in Medicine 27, 1693-1702).
    """
    low, high = wilson(paper, questions)
    gap = ours.mean - paper
    ends = gap - math.hypot(ours.mean - ours.low, high - paper), gap + math.hypot(ours.high - ours.mean, paper - low)
    return rounded(gap, *ends)


def parameters_text(parameters: dict[str, float]) -> str:
    """The α and β of a method, as `α .6, β .05`; a dash where it has none."""
    return ", ".join(f"{GREEK[key]} {short_fact(value)}" for key, value in parameters.items()) or "–"


def _is(model: ModelInfo, wanted: PaperModel) -> bool:
    """Whether these are the weights that the paper trained: nothing left out, no adapter."""
    names = {name.lower() for name in (wanted.hub, *wanted.also)}
    changed = model.spec.get("skip_layers") or model.spec.get("adapter")
    return not changed and bool(names & {str(model.spec.get("model", "")).lower(), model.fingerprint.lower()})


def _same_method(one: Member, row: PaperRow) -> bool:
    given = one.row.parameters
    return one.row.method == row.method and all(given.get(key) == value for key, value in row.parameters.items())


def _missing(table: PaperTable, row: PaperRow, same_model: Sequence[Member]) -> str:
    if not same_model:
        return "no record of it"
    if not any(one.records[0].task.name == table.task for one in same_model):
        return f"no record of it on {table.task}"
    return "no record of it with this method" + (" and its parameters" if row.parameters else "")


def _finding(
    paper: Paper, table: PaperTable, row: PaperRow, field: str, one: Member | None, missing: str = ""
) -> Finding:
    values = dict(zip(PAPER_METRICS, row.scores[field], strict=True))
    ours = _ours(paper, table, field, values, one) if one else None
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
        why=missing or "its questions are not in the record" if ours is None else _why(ours),
        command=f"benchmark run {table.suite} --records leaderboard/results",
    )


def _ours(paper: Paper, table: PaperTable, field: str, values: dict[str, float], one: Member) -> Ours | None:
    task = lm_eval_task(table.task, field)
    scores = {metric: score for metric in PAPER_METRICS if (score := one.score(metric, task))}
    if not scores:
        return None
    questions = table.questions or one.questions(task)
    return Ours(
        label=f"{one.table.title}: {one.row.label}",
        data=data_of(paper, one.records[0]),
        seeds=one.row.seeds,
        files=one.row.files,
        scores=scores,
        difference={metric: against(score, values[metric], questions) for metric, score in scores.items()},
    )


def data_of(paper: Paper, record: Record) -> str:
    """Whether a record is of the paper's own data, in words."""
    whole = not record.task.options.get("people") and not record.task.options.get("paragraphs")
    return paper.corpora.get(record.task.corpus_hash, "other data") if whole else "other data"


def _why(ours: Ours) -> str:
    names = {"exact_match": "exact match", "f1": "F1"}
    where = f"{ours.label}, {ours.data}"
    if not ours.beyond:
        gaps = ", ".join(f"{names[metric]} {gap.mean:+.3f}" for metric, gap in ours.difference.items())
        return f"ours minus the paper's: {gaps}, 0 within the intervals ({where})"
    told = ", ".join(
        f"{names[metric]} {ours.difference[metric].mean:+.3f}, by {abs(end):.3f} beyond its interval"
        for metric, end in ours.beyond.items()
    )
    return f"ours minus the paper's: {told} ({where})"
