"""Checks on one record: schema, hashes, every question answered, every mean recomputed.

`leaderboard submit` and `leaderboard check` call `examine` for each record. It detects records that were edited or
damaged. It cannot detect a record that was forged completely, with matching hashes: it then only shows that the numbers
fit the answers and the answers the questions. It lists what it could not check.
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
from benchmark.records.record import CHOSEN, CLOZED, REFERENCES, Record, WrittenInfo, read_record
from benchmark.records.scores import flat_scores
from leaderboard.submission.answer_checks import TOLERANCE, check_gold, check_scores, check_table

MAX_SEED = 2**32 - 1

NAME = r"[\w][\w .,:;+=()/@%-]{0,119}"  # no characters with a meaning in HTML, Markdown or a shell
API_MODEL = r"[\w./~][\w .,:;+=()/@%~-]{0,199}"  # the name of a model at an endpoint, which may be a path
PROBLEM = r"[a-z_]{1,30}"
SHA256 = r"[0-9a-f]{64}"
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
WRITTEN_AMOUNTS = ("texts", "samples", "gold_questions", "prompt_tokens", "tokens")


def examine(path: Path, questions: Questions) -> tuple[Record, list[str]]:
    """Check a record and the answers beside it against the project's own questions.

    Returns:
        The record, and a line for each property that could not be checked.

    Raises:
        UserError: A check failed; the message names the file, the field, the problem and the remedy.
    """
    content = parse_json(read_bounded(path, MAX_JSON_BYTES), path)
    check_values(content, path)
    check_stem(path, path.stem)
    try:
        # Strict: the hash is of the text as it is, so values may not be converted ("1" to 1).
        record = Record.model_validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "record"
        raise UserError(f"{path}: {where}: {first['msg']}; {AGAIN}") from None
    answers = path.with_name(f"{path.stem}.answers.parquet")
    if record.answers.file != answers.name:
        raise UserError(
            f"{path}: answers.file: is {record.answers.file!r}, not {answers.name!r}, the name of the file beside this "
            "record; give both files the names that the run gave them"
        )
    table = read_table(answers)
    read_record(path)  # checks the hashes
    try:
        _check_fields(record, path.stem, questions)
        known = questions.gold(record)
        if known is not None and not record.task.may_redistribute and questions.may_be_published(record):
            raise ValueError(
                "task.may_redistribute: false, but answers to the corpora of this project are published, so that "
                "their scores can be checked"
            )
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
    """Check single fields for what the schema does not cover."""
    patterns = [
        ("cell", record.cell, r"[0-9a-f]{24}"),
        ("suite", record.suite, r"[a-z0-9_]{1,60}"),
        ("task.corpus_hash", record.task.corpus_hash, SHA256),
        ("task.name", record.task.name, NAME),
        ("model.name", record.model.name, NAME),
        ("pair.name", record.pair.name if record.pair else "none", NAME),
        ("method.name", record.method.name, NAME),
        ("training.budget", record.training.budget if record.training else "none", NAME),
        *(("scores", name, TASK_NAME) for name in record.scores),
        *(_written_names(record.written) if record.written else ()),
    ]
    for where, value, pattern in patterns:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{where}: {value[:60]!a} is not of the form {pattern}")
    if not stem.endswith(f"-{record.cell[:8]}"):
        raise ValueError(f"cell: the file name does not end in -{record.cell[:8]}, the start of this key")
    if not 0 <= record.seed <= MAX_SEED:
        raise ValueError(f"seed: {record.seed} is not from 0 to {MAX_SEED}")
    try:
        if datetime.fromisoformat(record.created).tzinfo is None:
            raise ValueError
    except ValueError:
        raise ValueError(f"created: {record.created!r} is not an ISO date and time with a time zone") from None
    for where, number in _amounts(record):
        if number < 0:
            raise ValueError(f"{where}: {number} is less than 0")
    if record.environment.dirty:
        raise ValueError(
            "environment.dirty: files differed from the commit, so the record cannot be reproduced; commit them first"
        )
    definitions = questions.definitions(record)
    if definitions is not None and record.task.definition_hash not in definitions:
        raise ValueError(
            f"task.definition_hash: the task {record.task.name!r} of this checkout asks other questions; run the suite "
            "with this version of the project"
        )
    if record.task.may_redistribute and not questions.may_be_published(record):
        raise ValueError("task.may_redistribute: true, but only answers to corpora of this project may be published")
    if missing := sorted(record.scores.keys() - record.task.versions.keys()):
        raise ValueError(f"task.versions: no version of {missing[0]!r}, which has scores")
    _check_kind(record)
    _check_amounts_fit(record)
    _check_written(record)
    _check_retention(record)


def _check_kind(record: Record) -> None:
    """Check that exactly the references have no training, and that shares lie between 0 and 1."""
    if (record.method.name in REFERENCES) != record.is_reference:
        raise ValueError(f"training: {record.method.name!r} and {'no' if record.is_reference else 'a'} training")
    if record.is_reference and (record.seed, record.pair, record.facts, record.written) != (0, None, None, None):
        raise ValueError(f"seed, pair, facts, written: {record.method.name!r} has none")
    if record.facts:
        for name in ("answer", "answer_and_name"):
            if not 0 <= (getattr(record.facts, name) or 0) <= 1:
                raise ValueError(f"facts.{name}: {getattr(record.facts, name)} is not from 0 to 1")


def _check_amounts_fit(record: Record) -> None:
    """Check that a training took no more steps than its budget names, and that no part is larger than the whole."""
    if record.confirms and not record.choice:
        raise ValueError("confirms: true, but choice names no parameter that was chosen")
    if record.training is None:
        return
    training = record.training
    in_steps = re.fullmatch(r"(\d+) steps?", training.budget)
    if in_steps and training.steps > int(in_steps[1]):
        raise ValueError(f"training.steps: {training.steps} is more than the budget of {training.budget}")
    for name in ("loss_tokens", "rehearsal_tokens"):
        if (getattr(training, name) or 0) > training.tokens:
            raise ValueError(f"training.{name}: {getattr(training, name)} is more than tokens, {training.tokens}")


def _written_names(written: WrittenInfo) -> list[tuple[str, str, str]]:
    """Names and hashes of what a writer wrote, with their fields and forms."""
    models = [("written.model.name", written.model.name, NAME)] if written.model else []
    models += [] if written.api_model is None else [("written.api_model", written.api_model, API_MODEL)]
    return [
        ("written.writer", written.writer, NAME),
        *models,
        *(("written.left_out", problem, PROBLEM) for problem in written.left_out),
        *(("written.drawn_again", problem, PROBLEM) for problem in written.drawn_again),
        *(("written.sha256", digest, SHA256) for digest in written.sha256),
    ]


def _check_written(record: Record) -> None:
    """Check that what a writer wrote comes from one model and from the record's stages, and that counts fit."""
    written = record.written
    stages = sum(role.startswith("write") for role in record.stages)
    if len(written.sha256 if written else []) != stages:
        raise ValueError(f"written.sha256: must have the hash of each of the {stages} stages that wrote texts")
    if not written:
        return
    if (written.model is None) == (written.api_model is None):
        raise ValueError("written.model, written.api_model: must have exactly one of the two")
    if not 0 < written.texts <= written.samples:
        raise ValueError(f"written.texts: {written.texts} is not from 1 to written.samples, {written.samples}")
    if not 0 <= (written.invented or 0) <= 1:
        raise ValueError(f"written.invented: {written.invented} is not from 0 to 1")


def _amounts(record: Record) -> list[tuple[str, float]]:
    """Numbers that cannot be less than 0, with their fields."""
    training = record.training.model_dump(include=set(AMOUNTS), exclude_none=True) if record.training else {}
    models = [("model", record.model)]
    models += [("pair.large", record.pair.large), ("pair.small", record.pair.small)] if record.pair else []
    if record.written and record.written.model:
        models.append(("written.model", record.written.model))
    return [
        *((f"training.{name}", value) for name, value in training.items()),
        *((f"task.{name}", getattr(record.task, name)) for name in ("texts", "questions", "clusters")),
        *((f"method.{name}", getattr(record.method, name)) for name in ("copies", "texts")),
        *((f"cost.{role}.seconds", cost.seconds) for role, cost in record.cost.items()),
        *((f"cost.{role}.peak_memory_bytes", cost.peak_memory_bytes) for role, cost in record.cost.items()),
        *(_written_amounts(record.written) if record.written else ()),
        *((f"{field}.parameters", model.parameters or 0) for field, model in models),
        ("environment.threads", record.environment.threads),
    ]


def _written_amounts(written: WrittenInfo) -> list[tuple[str, float]]:
    counts = {"left_out": written.left_out, "drawn_again": written.drawn_again}
    return [
        *((f"written.{name}", getattr(written, name)) for name in WRITTEN_AMOUNTS),
        *((f"written.{name}.{problem}", count) for name, of in counts.items() for problem, count in of.items()),
    ]


def _check_retention(record: Record) -> None:
    for name, info in record.retention.items():
        change = info.before - info.after if info.higher_is_better else info.after - info.before
        if abs(info.forgetting - change) > TOLERANCE:
            raise ValueError(f"retention.{name}.forgetting: {info.forgetting}, but before and after give {change:.6f}")
    steps, last = [point.steps for point in record.curve], record.training.steps if record.training else 0
    if steps != sorted(set(steps)) or any(not 0 <= step < last for step in steps):
        raise ValueError(f"curve: the steps {steps[:10]} must increase and stay below training.steps, {last}")
    known = flat_scores(record.scores)
    for point in record.curve:
        for key, value in flat_scores(point.scores).items():
            name = ".".join(map(str, key))
            if key not in known:
                raise ValueError(f"curve: {name} at {point.steps} steps: the record has no such score")
            if not 0 <= value <= 1:
                raise ValueError(f"curve: {name} at {point.steps} steps: {value} is not from 0 to 1")


def _unchecked(record: Record, known: Gold | None, questions: Questions) -> list[str]:
    """A line for each property of a record that could not be checked."""
    notes = []
    if known is None:
        properties = "whether all questions are answered, and whether the scores of the answers are correct"
        corpus = f"the corpus {record.task.corpus_hash[:8]} of {record.task.name!r}"
        notes.append(f"{properties}: {corpus} does not come with the project")
    elif not record.task.may_redistribute:
        notes.append("whether the scores of the answers are correct: the texts of the answers may not be published")
    if questions.definitions(record) is None:
        notes.append(f"the questions: this checkout has no definition of the task {record.task.name!r}")
    if any(metric in (*CHOSEN, *CLOZED) for _, _, _, metric in flat_scores(record.scores)):
        notes.append("acc, acc_norm and cloze of single questions: records do not contain likelihoods")
    if record.retention or record.curve:
        notes.append("retention and the scores of checkpoints: records do not contain their answers")
    if record.written:
        notes.append("the texts that a writer wrote: records contain their hashes alone")
    if record.environment.commit is None:
        notes.append("the code: the record was made outside a git checkout")
    return notes
