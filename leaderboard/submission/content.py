"""Whether a record holds what it says: its schema and hashes, every question answered, every mean recomputed.

`examine` is what `leaderboard submit` and `leaderboard check` ask of each record. It tells edited and broken records;
of one that was forged whole, hashes and all, it tells no more than that its numbers agree with its answers, and its
answers with the questions. What could not be looked at is said.
"""

import re
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from benchmark.core.errors import UserError
from benchmark.core.untrusted import (
    AGAIN,
    MAX_JSON_BYTES,
    check_stem,
    check_values,
    parse_json,
    read_bounded,
    read_table,
)
from benchmark.records.questions import Gold, Questions
from benchmark.records.record import CHOSEN, CLOZED, REFERENCES, Record, read_record
from benchmark.records.scores import flat_scores
from leaderboard.submission.answer_checks import TOLERANCE, check_gold, check_scores, check_table

MAX_SEED = 2**32 - 1

NAME = r"[\w][\w .,:;+=()/@%-]{0,119}"  # what names are made of: nothing that HTML, Markdown or a shell would obey
TASK_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"  # part of a file name in lm-eval's layout
AMOUNTS = (
    "steps",
    "epochs",
    "tokens",
    "loss_tokens",
    "rehearsal_tokens",
    "micro_batch",
    "effective_batch",
    "trainable_parameters",
    "loss_first",
    "loss_last",
)


def examine(path: Path, questions: Questions) -> tuple[Record, list[str]]:
    """Check a record and the answers beside it against the project's own questions.

    Returns the record, and what could not be checked.

    Raises UserError naming the file, the field, what is wrong with it and what to do.
    """
    content = parse_json(read_bounded(path, MAX_JSON_BYTES), path)
    check_values(content, path)
    check_stem(path, path.stem)
    try:
        # Nothing is made to fit: a "1" for a 1 would be another record than the one that is hashed.
        record = Record.model_validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "record"
        raise UserError(f"{path}: {where}: {first['msg']}; {AGAIN}") from None
    answers = path.with_name(f"{path.stem}.answers.parquet")
    if record.answers.file != answers.name:
        raise UserError(
            f"{path}: answers.file: {record.answers.file!r} is not {answers.name!r}, the name beside this record; "
            "give both files the names that the run gave them"
        )
    table = read_table(answers)
    read_record(path)  # the hashes
    try:
        _check_fields(record, path.stem, questions)
        known = questions.gold(record)
    except ValueError as error:
        raise UserError(f"{path}: {error}; {AGAIN}") from None
    try:
        check_table(record, table)
        if known is not None:
            check_gold(record, table, known, questions)
    except ValueError as error:
        raise UserError(f"{answers}: {error}; {AGAIN}") from None
    try:
        check_scores(record, table)
    except ValueError as error:
        raise UserError(f"{path}: {error}; {AGAIN}") from None
    return record, _unchecked(record, known, questions)


def _check_fields(record: Record, stem: str, questions: Questions) -> None:
    """What the schema does not say of single fields."""
    patterns = [
        ("cell", record.cell, r"[0-9a-f]{24}"),
        ("suite", record.suite, r"[a-z0-9_]{1,60}"),
        ("task.corpus_hash", record.task.corpus_hash, r"[0-9a-f]{64}"),
        ("task.name", record.task.name, NAME),
        ("model.name", record.model.name, NAME),
        ("pair.name", record.pair.name if record.pair else "none", NAME),
        ("method.name", record.method.name, NAME),
        ("training.budget", record.training.budget if record.training else "none", NAME),
        *(("scores", name, TASK_NAME) for name in record.scores),
    ]
    for where, value, pattern in patterns:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{where}: {value[:60]!a} is not of the form {pattern}")
    if not stem.endswith(f"-{record.cell[:8]}"):
        raise ValueError(f"cell: the file name does not end in -{record.cell[:8]}, the beginning of this key")
    if not 0 <= record.seed <= MAX_SEED:
        raise ValueError(f"seed: {record.seed} is not from 0 to {MAX_SEED}")
    try:
        if datetime.fromisoformat(record.created).tzinfo is None:
            raise ValueError
    except ValueError:
        raise ValueError(f"created: {record.created!r} is no ISO date and time with its zone") from None
    for where, number in _amounts(record):
        if number < 0:
            raise ValueError(f"{where}: {number} is less than 0")
    if record.environment.dirty:
        raise ValueError(
            "environment.dirty: made from files that differ from the commit, so that nobody can make it again; commit "
            "them first"
        )
    here = questions.definitions(record)
    if here is not None and record.task.definition_hash not in here:
        raise ValueError(
            f"task.definition_hash: the task {record.task.name!r} of this checkout asks otherwise; take this version "
            "of the project"
        )
    if record.task.may_redistribute and not questions.may_be_published(record):
        raise ValueError(
            "task.may_redistribute: true, but answers may be published of corpora alone that come with the project"
        )
    if missing := sorted(record.scores.keys() - record.task.versions.keys()):
        raise ValueError(f"task.versions: none for {missing[0]!r}, which scores are of")
    _check_kind(record)
    _check_retention(record)


def _check_kind(record: Record) -> None:
    """A reference was not trained, all else was; shares are shares."""
    if (record.method.name in REFERENCES) != record.is_reference:
        raise ValueError(f"training: {record.method.name!r} and {'no' if record.is_reference else 'a'} training")
    if record.is_reference and (record.seed, record.pair, record.facts) != (0, None, None):
        raise ValueError(f"seed, pair, facts: {record.method.name!r} has none")
    if record.facts:
        for name in ("answer", "answer_and_name"):
            if not 0 <= (getattr(record.facts, name) or 0) <= 1:
                raise ValueError(f"facts.{name}: {getattr(record.facts, name)} is no share")


def _amounts(record: Record) -> list[tuple[str, float]]:
    """Numbers that cannot be less than 0, with their places."""
    training = record.training.model_dump(include=set(AMOUNTS), exclude_none=True) if record.training else {}
    models = [("model", record.model)]
    models += [("pair.large", record.pair.large), ("pair.small", record.pair.small)] if record.pair else []
    return [
        *((f"training.{name}", value) for name, value in training.items()),
        *((f"task.{name}", getattr(record.task, name)) for name in ("texts", "questions", "clusters")),
        *((f"method.{name}", getattr(record.method, name)) for name in ("copies", "texts")),
        *((f"cost.{role}.seconds", cost.seconds) for role, cost in record.cost.items()),
        *((f"cost.{role}.peak_memory_bytes", cost.peak_memory_bytes) for role, cost in record.cost.items()),
        *((f"{place}.parameters", model.parameters or 0) for place, model in models),
        ("environment.threads", record.environment.threads),
    ]


def _check_retention(record: Record) -> None:
    for name, info in record.retention.items():
        change = info.before - info.after if info.higher_is_better else info.after - info.before
        if abs(info.forgetting - change) > TOLERANCE:
            raise ValueError(f"retention.{name}.forgetting: {info.forgetting}, but before and after give {change:.6f}")
    steps, last = [point.steps for point in record.curve], record.training.steps if record.training else 0
    if steps != sorted(set(steps)) or any(not 0 <= step < last for step in steps):
        raise ValueError(f"curve: its steps {steps[:10]} do not rise to below training.steps, {last}")
    known = flat_scores(record.scores)
    for point in record.curve:
        for place, value in flat_scores(point.scores).items():
            if not 0 <= value <= 1 or place not in known:
                raise ValueError(f"curve: {'.'.join(map(str, place))} at {point.steps} steps: {value} cannot be")


def _unchecked(record: Record, known: Gold | None, questions: Questions) -> list[str]:
    """What of a record nobody could look at here."""
    notes = []
    if known is None:
        what = "whether all questions are there, and whether the answers earn their scores"
        notes.append(
            f"{what}: the corpus {record.task.corpus_hash[:8]} of {record.task.name!r} does not come with the project"
        )
    elif not record.task.may_redistribute:
        notes.append("whether the answers earn their scores: their texts may not be published")
    if questions.definitions(record) is None:
        notes.append(f"what is asked: this checkout has no definition of the task {record.task.name!r}")
    if any(metric in (*CHOSEN, *CLOZED) for _, _, _, metric in flat_scores(record.scores)):
        notes.append("acc, acc_norm and cloze of single questions: likelihoods are not kept")
    if record.retention or record.curve:
        notes.append("forgetting and the scores of checkpoints: their answers are not kept")
    if record.environment.commit is None:
        notes.append("the code: made outside of a git checkout")
    return notes
