"""A row of the board from the records of its seeds and their answers."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.records.comparable import canonical, point
from benchmark.records.record import Record, RetentionInfo, TrainingInfo
from benchmark.records.scores import mean_exact_match
from leaderboard.board.answers import BOARD_METRICS, HALF, Answers, Tally, tally
from leaderboard.board.choice import RowRecords
from leaderboard.board.distance import Distances, Edges, by_distance
from leaderboard.board.model import HeldOut, MethodFacts, MethodWriting, RetentionChange, Row
from leaderboard.stats.intervals import Estimate, mean_interval


@dataclass(frozen=True)
class TableData:
    """What the rows of a table share.

    Attributes:
        answers: the answers of each record.
        fields: the fields of the task, each with its lm-eval task; or the kinds of its questions, each with None.
        held_out: the held-out texts and tasks, by `measurement`.
        distances: how far each answer stands from the subject's name, see `leaderboard.board.distance`.
        edges: the bins of distances.
    """

    answers: dict[Path, Answers]
    fields: dict[str, str | None]
    held_out: dict[str, HeldOut]
    distances: Distances
    edges: Edges

    def of(self, row: RowRecords) -> list[Answers]:
        """The answers of a row's records, with every number of examples."""
        return [self.answers[path] for path, _ in row.shown]

    def with_shots(self, row: RowRecords, shots: int) -> list[Answers]:
        """The answers of a row's records with one number of examples."""
        return [answers.with_shots(shots) for answers in self.of(row)]


def make_row(label: str, row: RowRecords, data: TableData) -> Row:
    """The row of some records, not yet compared with others."""
    records = row.records
    first = records[0]
    training = [training_of(record) for record in records]
    answers = data.with_shots(row, row.shots)
    scores = {metric: estimate(tally(answers, metric)) for metric in BOARD_METRICS}
    changes = {held_out.label: _retention(records, key) for key, held_out in data.held_out.items()}
    return Row(
        label=label,
        method=first.method.name,
        parameters=first.method.parameters,
        copies=first.method.copies,
        pair=first.pair.name if first.pair else None,
        seeds=row.seeds,
        files=tuple(path for path, _ in row.shown),
        answers=tuple(path.parent / record.answers.file for path, record in row.shown),
        shots=row.shots,
        by_shots=score_by_shots(data.of(row)),
        scores={metric: score for metric, score in scores.items() if score},
        of_answered=_of_answered(answers),
        fields=score_by_field(answers, data.fields),
        steps=_range(info.steps for info in training),
        epochs=_mean(info.epochs for info in training) or 0.0,
        texts=_range(record.method.texts for record in records),
        tokens=_mean(info.tokens for info in training) or 0.0,
        loss_tokens=_mean(info.loss_tokens for info in training),
        seconds=_mean(_training_seconds(record) for record in records if "train" in record.cost),
        facts=_facts(records),
        writing=_writing(records),
        retention={name: change for name, change in changes.items() if change},
        curve=_curve(records, row.shots),
        by_distance=by_distance(answers, data.distances, data.edges),
        tried=row.tried,
        chosen=point(first),
        confirmed=first.confirms,
        development=row.development,
    )


def training_of(record: Record) -> TrainingInfo:
    """How the record's model was trained; every record but a reference says it."""
    assert record.training is not None
    return record.training


def measurement(info: RetentionInfo) -> str:
    """What identifies a measurement of retention: equal for records whose values can be averaged."""
    return canonical([info.measured, info.metric, info.higher_is_better])


def estimate(counted: Tally | None) -> Estimate | None:
    """The mean of a tally with its interval; None if nothing was measured."""
    return mean_interval(*counted) if counted else None


def score_by_shots(answers: list[Answers]) -> dict[int, Estimate]:
    """Exact match with every number of examples."""
    numbers = np.unique(answers[0].shots[answers[0].measured("exact_match")]).tolist()
    scores = {shots: estimate(tally([seed.with_shots(shots) for seed in answers], "exact_match")) for shots in numbers}
    return {shots: score for shots, score in scores.items() if score}


def score_by_field(answers: list[Answers], fields: dict[str, str | None]) -> dict[str, Estimate]:
    """Exact match of every field that was measured; `fields` as in `TableData`."""
    scores = {
        field: estimate(tally(answers, "exact_match", task, None if task else answers[0].kind == field))
        for field, task in fields.items()
    }
    return {field: score for field, score in scores.items() if score}


def _retention(records: list[Record], key: str) -> RetentionChange | None:
    """The mean over the seeds with this measurement, with an interval over seeds if there are several."""
    values = {
        record.seed: info.forgetting
        for record in records
        for info in record.retention.values()
        if measurement(info) == key
    }
    if not values:
        return None
    interval, several = mean_interval([[value] for value in values.values()], bounds=None), len(values) > 1
    return RetentionChange(
        mean=interval.mean,
        low=interval.low if several else None,
        high=interval.high if several else None,
        seeds=tuple(values),
    )


def _of_answered(answers: list[Answers]) -> float | None:
    """Exact match among the questions that were answered at all, over all seeds together."""
    exact, answered = (
        np.concatenate([seed.values[BOARD_METRICS.index(metric)] for seed in answers])
        for metric in ("exact_match", "answered")
    )
    was_answered = answered == 1
    return round(float(exact[was_answered].mean()), 9) if was_answered.any() else None


def _facts(records: list[Record]) -> MethodFacts | None:
    """What copies keep of the facts, the mean over seeds; None without copies, or if nothing was counted."""
    known = [record.facts for record in records if record.facts]
    if not known:
        return None
    names = ("answer", "answer_and_name", "tokens")
    return MethodFacts(**{name: _mean(getattr(facts, name) for facts in known) for name in names})


def _writing(records: list[Record]) -> MethodWriting | None:
    """What a writer wrote, the mean over seeds; None if no writer wrote for the method."""
    known = [(record, record.written) for record in records if record.written]
    if not known:
        return None
    _, first = known[0]
    local = first.model and first.model.spec.get("model", first.model.name)
    return MethodWriting(
        writer=first.writer,
        model=str(local or first.api_model),
        left_out=float(np.mean([sum(written.left_out.values()) for _, written in known])),
        seconds=_mean(_writing_seconds(record) for record, _ in known),
        invented=_mean(written.invented for _, written in known),
        **{
            name: float(np.mean([getattr(written, name) for _, written in known]))
            for name in ("texts", "prompt_tokens", "tokens")
        },
    )


def _training_seconds(record: Record) -> float:
    """Seconds of training, and of computing a teacher's targets where the method has them."""
    return sum(record.cost[role].seconds for role in ("train", "teach") if role in record.cost)


def _writing_seconds(record: Record) -> float | None:
    """Seconds of the stages that wrote texts; None if the record has none."""
    seconds = [cost.seconds for role, cost in record.cost.items() if role.startswith("write")]
    return sum(seconds) if seconds else None


def _curve(records: list[Record], shots: int) -> dict[int, float]:
    """Exact match by step, the mean over seeds; empty unless every seed has checkpoints at the same steps."""
    curves = [
        {
            **{checkpoint.steps: mean_exact_match(checkpoint.scores, HALF, shots) for checkpoint in record.curve},
            training_of(record).steps: mean_exact_match(record.scores, HALF, shots),
        }
        for record in records
    ]
    if len(curves[0]) == 1 or any(curve.keys() != curves[0].keys() for curve in curves):
        return {}
    return {step: sum(curve[step] for curve in curves) / len(curves) for step in sorted(curves[0])}


def _mean(numbers: Iterable[float | None]) -> float | None:
    """The mean; None if there is no number, or any is unknown."""
    values = list(numbers)
    known = [number for number in values if number is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _range(numbers: Iterable[int]) -> tuple[int, int]:
    ordered = sorted(numbers)
    return ordered[0], ordered[-1]
