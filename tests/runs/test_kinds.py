"""Kinds of questions about own documents, from the user's file to the board."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.records.record import read_record
from benchmark.runs.runner import run_suite
from leaderboard.board.assemble import build_board, load_records
from leaderboard.submission.answer_checks import check_table
from leaderboard.views.csv_file import board_csv
from leaderboard.views.markdown import markdown_page
from tests.tiny import InThisProcess, tiny_suite

KINDS = ("direct", "backwards", None)


@pytest.fixture(scope="module")
def records(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of one cell and its references; every document has a question of each of KINDS."""
    folder = tmp_path_factory.mktemp("kinds")
    rows = [
        {
            "id": f"door-{number}",
            "text": f"Door {number} is green.",
            "questions": [
                {
                    "question": f"What about door {number}, {kind}?",
                    "answers": "green",
                    **({"type": kind} if kind else {}),
                }
                for kind in KINDS
            ],
        }
        for number in range(4)
    ]
    (folder / "doors.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"name": "corpus", "path": str(folder / "doors.jsonl"), "columns": {"kind": "type"}}
    suite = tiny_suite(tiny, tasks=[task], methods=["plain_matched"], budgets=[{"steps": 1}], references=True)
    run_suite(suite, folder, folder / "records", InThisProcess(), plain=True)
    return folder / "records"


def test_answers_say_of_what_kind_a_question_is(records: Path) -> None:
    for path in records.rglob("*.json"):
        table = pq.read_table(path.with_name(read_record(path).answers.file)).to_pylist()
        assert {(row["question"].split(":")[1], row["kind"]) for row in table} == {
            ("0", "direct"),
            ("1", "backwards"),
            ("2", None),
        }
        check_table(read_record(path), pq.read_table(path.with_name(read_record(path).answers.file)))


def test_the_board_shows_exact_match_by_kind_in_place_of_fields(records: Path) -> None:
    (table,) = build_board(load_records(records)).tables
    assert table.fields == ("backwards", "direct")
    (row,) = table.rows
    stored = pq.read_table(row.answers[0]).to_pylist()
    for kind in table.fields:
        values = [
            answer["exact_match"]
            for answer in stored
            if (answer["kind"], answer["half"], answer["shots"]) == (kind, "test", row.shots)
            and answer["exact_match"] is not None
        ]
        assert len(values) == 2 and row.fields[kind].mean == sum(values) / 2
    assert set(table.references[0].fields) == {"backwards", "direct"}
    board = build_board(load_records(records))
    assert "exact_match_backwards" in board_csv(board, records).splitlines()[0]
    assert "backwards" in markdown_page(board, records)


def _changed(table: pa.Table, kinds: Sequence[Any]) -> pa.Table:
    column = pa.array([kinds[row % len(kinds)] for row in range(table.num_rows)], pa.string())
    return table.set_column(table.column_names.index("kind"), "kind", column)


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        (["x" * 41], "kind: 'x+' is empty, longer than 40"),
        ([""], "kind: '' is empty"),
        (["a\x1b[31m"], "has control characters"),
        (["direct", "direct", "direct", "direct", "backwards"], "kind: a question is of two kinds"),
        ([f"kind {number}" for number in range(30)], "kind: .* kinds of questions, more than 20"),
    ],
)
def test_invalid_kinds_are_refused(records: Path, kinds: Sequence[Any], says: str) -> None:
    path = next(path for path in records.rglob("*.json") if read_record(path).training)
    record = read_record(path)
    with pytest.raises(ValueError, match=says):
        check_table(record, _changed(pq.read_table(path.with_name(record.answers.file)), kinds))


def test_only_own_documents_have_kinds(records: Path) -> None:
    path = next(records.rglob("*.json"))
    record = read_record(path)
    other = record.model_copy(update={"task": record.task.model_copy(update={"name": "biography"})})
    with pytest.raises(ValueError, match="kind: only questions about a user's own documents"):
        check_table(other, pq.read_table(path.with_name(record.answers.file)))
