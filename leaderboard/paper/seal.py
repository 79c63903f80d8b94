"""SEAL's published ladder of ways to learn passages, beside our records.

SEAL grades by a language model and this project by exact match and F1, so a rung is shown beside our rows without a
verdict.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from leaderboard.board.labels import short_number
from leaderboard.board.model import UNTOUCHED
from leaderboard.paper.parts import Grid, Markdown, Section
from leaderboard.paper.published import PaperModel
from leaderboard.paper.reproduction import PAPER_METRICS, BoardRow, is_model
from leaderboard.stats.intervals import Estimate
from leaderboard.views.text import with_interval

FILE = Path(__file__).with_name("seal.yaml")
NAME = "seal"

Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rung(_Strict):
    """A way to learn passages, the method that is it here, and its published accuracy; None where none is given.

    `alone` is with an adapter for each passage, `together` with one adapter for all of them.
    """

    title: str
    method: str
    alone: Share | None = None
    together: Share | None = None


class Ladder(_Strict):
    """The content of seal.yaml. `corpora` names the data of known corpus hashes."""

    source: str
    model: PaperModel
    suite: str
    task: str
    corpora: dict[str, str]
    rungs: tuple[Rung, ...]
    notes: tuple[str, ...]


class Ours(_Strict):
    """Our scores for a rung: a row of the board, or the untouched model of a table of the board."""

    label: str
    data: str
    seeds: tuple[int, ...]
    files: tuple[Path, ...]
    scores: dict[str, Estimate]


class Step(_Strict):
    """A rung and our scores for it. `command` runs the suite that has them."""

    rung: Rung
    ours: Ours | None
    state: Literal["run", "not run"]
    command: str


@lru_cache(maxsize=1)
def read_ladder() -> Ladder:
    """The published ladder."""
    content: Any = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return Ladder.model_validate(content)


def steps(ladder: Ladder, ours: Sequence[BoardRow]) -> list[Step]:
    """A step for every rung; several where several of our rows match. They match by model, paragraphs and method."""
    same = [row for row in ours if _is_of_task(ladder, row) and is_model(row.records[0].model, ladder.model)]
    same = [row for row in same if row.records[0].task.corpus_hash in ladder.corpora]
    command = f"benchmark run {ladder.suite} --records leaderboard/results"
    made = []
    for rung in ladder.rungs:
        found = _of_rung(ladder, rung, same)
        made += [Step(rung=rung, ours=one, state="run", command=command) for one in found]
        if not found:
            made.append(Step(rung=rung, ours=None, state="not run", command=command))
    return made


def section(ladder: Ladder, ours: Sequence[BoardRow]) -> tuple[Section, dict[str, Any]]:
    """The ladder beside our rows, for readers and as JSON values."""
    of_ladder = steps(ladder, ours)
    run = {step.rung for step in of_ladder if step.ours}
    notes = [ladder.source, f"{len(ladder.rungs)} rungs: {len(run)} run, {len(ladder.rungs) - len(run)} not run."]
    notes += [f"{note[0].upper()}{note[1:]}." for note in ladder.notes]
    missing = len(run) < len(ladder.rungs)
    commands = (of_ladder[0].command, "benchmark reproduce --out docs/reproduction.md") if missing else ()
    others = [row for row in ours if _is_of_task(ladder, row) and _is_other(ladder, row)]
    found = Section(
        title="SEAL: what 200 passages of SQuAD are learned from",
        notes=tuple(notes),
        grids=(_ladder_grid(ladder, of_ladder), _others_grid(ladder, others)),
        commands=commands,
        judged=False,
    )
    return found, {"source": ladder.source, "rows": [step.model_dump(mode="json") for step in of_ladder]}


def _is_of_task(ladder: Ladder, row: BoardRow) -> bool:
    return row.records[0].task.name == ladder.task


def _is_other(ladder: Ladder, row: BoardRow) -> bool:
    """Whether a row is of a method of the ladder, but of another model or of other paragraphs."""
    record = row.records[0]
    same = is_model(record.model, ladder.model) and record.task.corpus_hash in ladder.corpora
    return not same and row.row.method in {rung.method for rung in ladder.rungs}


def _of_rung(ladder: Ladder, rung: Rung, rows: Sequence[BoardRow]) -> list[Ours]:
    if rung.method == UNTOUCHED:
        found = {}
        for row in rows:
            for reference in row.table.untouched:
                found[reference.file] = Ours(
                    label=f"{row.table.title}: {reference.label}",
                    data=_data(ladder, row),
                    seeds=(),
                    files=(reference.file,),
                    scores={name: reference.scores[name] for name in PAPER_METRICS if name in reference.scores},
                )
        return list(found.values())
    return [_ours(ladder, row) for row in rows if row.row.method == rung.method]


def _ours(ladder: Ladder, row: BoardRow) -> Ours:
    return Ours(
        label=f"{row.table.title}: {row.row.label}",
        data=_data(ladder, row),
        seeds=row.row.seeds,
        files=row.row.files,
        scores={name: score for name in PAPER_METRICS if (score := row.score(name, ladder.task))},
    )


def _data(ladder: Ladder, row: BoardRow) -> str:
    return ladder.corpora.get(row.records[0].task.corpus_hash, "other paragraphs")


def _ladder_grid(ladder: Ladder, of_ladder: Sequence[Step]) -> Grid:
    headers = ["Trained on", "Method", "SEAL, an adapter each", "SEAL, one adapter"]
    headers += ["Ours, exact match", "Ours, F1", "Row", "State"]
    rows = []
    for step in of_ladder:
        published = [_share(step.rung.alone), _share(step.rung.together)]
        label = step.ours.label if step.ours else "–"
        rows.append([step.rung.title, step.rung.method, *published, *_scores(step.ours), label, step.state])
    title = f"{ladder.model.title} on these passages"
    return Grid(title, headers, rows, [step.ours.files if step.ours else () for step in of_ladder])


def _others_grid(ladder: Ladder, others: Sequence[BoardRow]) -> Grid:
    headers = ["Model and budget", "Method", "Data", "Ours, exact match", "Ours, F1", "Seeds"]
    rows = [
        [row.table.title, row.row.label, _data(ladder, row), *_scores(_ours(ladder, row)), str(len(row.row.seeds))]
        for row in others
    ]
    notes = () if rows else ("No record.",)
    title = "These methods with other models or paragraphs of SQuAD"
    return Grid(title, headers, rows, [row.row.files for row in others], notes)


def _share(value: float | None) -> str:
    return short_number(value, 3) if value is not None else "–"


def _scores(ours: Ours | None) -> list[str]:
    scores = ours.scores if ours else {}
    return [Markdown(with_interval(scores.get(name))) for name in PAPER_METRICS]
