"""Makes valid records with answers beside them, without running a stage, and the board of them."""

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.core.files import file_hash
from benchmark.data.people import FIELDS
from benchmark.records.record import ANSWER_COLUMNS, DISTANCE_COLUMNS, HALVES, METRICS, Record
from benchmark.records.scores import Scores
from leaderboard.board.assemble import build_board, load_records
from leaderboard.board.model import Board, BoardTable

Grade = Callable[[str, int, int], float]  # field, person, seed → probability or value of an exact match
Distance = Callable[[str, int], int | None]  # field, person → tokens from the name to the fact


def even_chance(field: str, person: int, seed: int) -> float:
    """A coin for every question, the same whenever it is asked."""
    return float(zlib.crc32(f"{field}:{person}:{seed}".encode()) % 2)


def right(field: str, person: int, seed: int) -> float:
    """Everything is answered right."""
    return 1.0


def wrong(field: str, person: int, seed: int) -> float:
    """Nothing is answered right."""
    return 0.0


def write_record(
    folder: Path,
    method: str = "plain_matched",
    seed: int = 1,
    grade: Grade = even_chance,
    people: int = 8,
    with_choice: bool = True,
    name: str | None = None,
    distance: Distance | None = None,
    shots: Mapping[int, Grade] | None = None,
    answered: Grade = right,
    with_cloze: bool = False,
    others: Mapping[str, Grade] | None = None,
    **changes: Any,
) -> Path:
    """Write a record and its answers: `people` of the development half, then as many of the test half.

    `grade` gives every exact match, the F1 with it and, if `with_choice` and `with_cloze`, the accuracy and the exact
    match of the cloze; `shots` another one for each number of examples (without it, 0 examples alone); `answered`
    whether it was answered at all. `distance` is how far the fact stands from the name, which the answers do not say
    without it. `others` gives the exact match of other questions by the ending of their task. `changes` replaces fields
    of the record by dotted name with __ for the dot, such as
    task__corpus_hash="…" or method__parameters={"alpha": 0.6}.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = name or f"{method}-{len(list(folder.glob('*.json'))):04d}"
    rows = _rows(seed, shots or {0: grade}, answered, people)
    rows += [
        row
        for kind, asked in (("choice", with_choice), ("cloze", with_cloze))
        if asked
        for row in _beside(kind, seed, grade, people)
    ]
    for ending, graded in (others or {}).items():
        asked = _rows(seed, dict.fromkeys(shots or {0: grade}, graded), answered, people)
        rows += [row | {"task": row["task"] + ending} for row in asked]
    answers = folder / f"{name}.answers.parquet"
    kinds = dict.fromkeys(METRICS, pa.float32()) | {"shots": pa.int32()}
    schema = pa.schema([(c, kinds.get(c, pa.string())) for c in ANSWER_COLUMNS])
    table = pa.table({c: [row[c] for row in rows] for c in ANSWER_COLUMNS}, schema=schema)
    if distance:
        tokens = [distance(*_asked(row["question"])) for row in rows]
        for column in DISTANCE_COLUMNS:
            table = table.append_column(column, pa.array(tokens, pa.int32()))
    pq.write_table(table, answers)
    content = _content(method, seed, people, rows)
    content["answers"] = {"file": answers.name, "sha256": file_hash(answers), "rows": len(rows)}
    for key, value in changes.items():
        *path, last = key.split("__")
        target = content
        for part in path:
            target = target[part]
        target[last] = value
    record = Record.model_validate(content)
    sealed = record.model_copy(update={"sha256": record.body_hash()})
    (folder / f"{name}.json").write_text(sealed.model_dump_json(indent=1), encoding="utf-8")
    return folder / f"{name}.json"


def _rows(seed: int, shots: Mapping[int, Grade], answered: Grade, people: int) -> list[dict[str, Any]]:
    return [
        _row(person, field, people)
        | {"task": f"biography_{field}", "shots": number, "answer": "Oslo"}
        | {"exact_match": (value := grade(field, person, seed)), "f1": value, "answered": answered(field, person, seed)}
        for number, grade in shots.items()
        for person in range(2 * people)
        for field in FIELDS
    ]


def _beside(kind: str, seed: int, grade: Grade, people: int) -> list[dict[str, Any]]:
    metrics = ("acc", "acc_norm") if kind == "choice" else ("cloze",)
    return [
        _row(person, field, people)
        | {"task": f"biography_{field}_{kind}", "shots": 0}
        | dict.fromkeys(metrics, grade(field, person, seed))
        for person in range(2 * people)
        for field in FIELDS
    ]


def _row(person: int, field: str, people: int) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(ANSWER_COLUMNS)
    return row | {"question": f"p{person}-{field}", "cluster": f"p{person}", "half": HALVES[person >= people]}


def _asked(question: str) -> tuple[str, int]:
    """The field and the number of the person that a question is about."""
    person, field = question.split("-")
    return field, int(person.removeprefix("p"))


def _scores(rows: list[dict[str, Any]]) -> Scores:
    values: dict[tuple[str, str, str, str], list[float]] = {}
    for row in rows:
        for metric in METRICS:
            if row[metric] is not None:
                values.setdefault((row["task"], str(row["shots"]), row["half"], metric), []).append(row[metric])
    scores: Scores = {}
    for (task, shots, half, metric), numbers in values.items():
        means = scores.setdefault(task, {}).setdefault(shots, {}).setdefault(half, {})
        means[metric] = round(float(np.mean(numbers)), 6)
    return scores


def _content(method: str, seed: int, people: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    model = {"name": "tiny-large", "spec": {}, "fingerprint": "a" * 64, "parameters": 1000}
    return {
        "cell": f"{method}-{seed}",
        "suite": "tiny",
        "created": "2025-01-01T00:00:00Z",
        "model": model,
        "pair": {"name": "tiny", "large": model, "small": {**model, "name": "tiny-small", "fingerprint": "b" * 64}},
        "task": {
            "name": "biography",
            "options": {},
            "corpus_hash": "c" * 64,
            "definition_hash": "d" * 64,
            "versions": {"biography_company": "1.0"},
            "texts": 2 * people,
            "questions": len(rows),
            "clusters": 2 * people,
            "may_redistribute": True,
        },
        "method": {"name": method, "parameters": {}, "copies": 10, "texts": 176},
        "seed": seed,
        "training": {
            "budget": "400 steps",
            "recipe": {"learning_rate": 0.0005, "micro_batch": None},
            "steps": 400,
            "epochs": 10.0,
            "tokens": 100_000,
            "loss_tokens": 90_000,
            "micro_batch": 8,
            "effective_batch": 8,
            "trainable_parameters": 10,
            "loss_first": 3.0,
            "loss_last": 1.0,
        },
        "evaluation": {"precision": "float32", "batch_size": 32, "num_fewshot": sorted({row["shots"] for row in rows})},
        "scoring": {"reduction": "received"},
        "scores": _scores(rows),
        "stages": {},
        "cost": {"train": {"seconds": 10.0 + seed, "peak_memory_bytes": 1}},
        "environment": {
            "benchmark_version": "0.1.0",
            "code_hash": "e" * 64,
            "commit": None,
            "dirty": None,
            "python": "3.11",
            "packages": {"torch": "2.13.0"},
            "platform": "Linux",
            "device": "cpu",
            "threads": 1,
        },
    }


def retention(forgetting: float, metric: str = "perplexity", **measured: Any) -> dict[str, Any]:
    """What a record says of a held-out text that the untouched model has a perplexity of 20 on."""
    higher = metric.startswith("acc")
    before = 0.5 if higher else 20.0
    after = before - forgetting if higher else before + forgetting
    return {
        "measured": {"name": "words", "text": "f" * 64, **measured},
        "metric": metric,
        "higher_is_better": higher,
        "before": before,
        "after": after,
        "forgetting": forgetting,
        "numbers": {"before": {metric: before}, "after": {metric: after}},
    }


def written(writer: str = "qwen", source: str = "Qwen/Qwen2.5-1.5B", **changes: Any) -> dict[str, Any]:
    """What a record says of a writer on the machine."""
    return {
        "writer": writer,
        "model": {"name": writer, "spec": {"model": source}, "fingerprint": "1" * 64},
        "sampling": {"temperature": 0.8, "seed": 1},
        "texts": 1200,
        "samples": 1300,
        "left_out": {"cut": 30, "empty": 4},
        "drawn_again": {"cut": 90},
        "gold_questions": 0,
        "prompt_tokens": 250_000,
        "tokens": 100_000,
        "invented": 0.25,
        "sha256": ["2" * 64],
        **changes,
    }


def cost(**seconds: float) -> dict[str, Any]:
    """The costs of stages by role."""
    return {role: {"seconds": value, "peak_memory_bytes": 1} for role, value in seconds.items()}


def board_of(folder: Path) -> Board:
    """The board of the records in a folder."""
    return build_board(load_records(folder))


def only_table(folder: Path) -> BoardTable:
    """The one table that the records in a folder make."""
    (table,) = board_of(folder).tables
    return table
