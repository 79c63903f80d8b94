"""What a writer wrote and cost, in every view of the board, and which records of writers share a row."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from benchmark.records.comparable import treatment
from benchmark.records.record import read_record
from leaderboard.board.assemble import load_records
from leaderboard.views.csv_file import board_csv
from leaderboard.views.export_tables import export_tables
from leaderboard.views.markdown import markdown_page
from leaderboard.web.data import page_data
from tests.leaderboard.factory import board_of, cost, only_table, write_record, written

NEW = (
    *("writer", "writer_model", "written_texts", "left_out", "written_prompt_tokens", "written_tokens"),
    *("writing_seconds", "invented"),
)


def write_rewrite(folder: Path, seed: int = 1, label: str = "by qwen", **changes: Any) -> Path:
    """A record of a method whose copies a writer wrote in 100 seconds, and trained in 10."""
    settings = {"method__parameters": {"label": label}, "written": written(), "cost": cost(write=100.0, train=10.0)}
    return write_record(folder, "rewrite", seed=seed, **(settings | changes))


def cells(page: str, heading: str) -> list[list[str]]:
    """The lines of the table under a heading of the Markdown page, the head first."""
    lines = page.partition(f"{heading}\n\n")[2].partition("\n\n")[0].split("\n")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|:")]


def test_the_page_lists_texts_tokens_seconds_and_inventions_of_a_writer(tmp_path: Path) -> None:
    facts = {"copies": 8, "facts": 40, "answer": 0.5, "answer_and_name": 0.25, "tokens": 0.125}
    write_rewrite(tmp_path, 1, facts=facts)
    write_rewrite(tmp_path, 2, facts=facts)
    write_record(tmp_path, "random_dropout", facts=facts)
    write_record(tmp_path)
    page = markdown_page(board_of(tmp_path), tmp_path)
    head, row = cells(page, "Texts by a writer:")
    assert dict(zip(head, row, strict=True)) | {"Method": ""} == {
        "Method": "",
        "Writer": "qwen",
        "Writer's model": "Qwen/Qwen2.5-1.5B",
        "Written texts": "1,200",
        "Left out": "34",
        "Tokens in": "250,000",
        "Tokens out": "100,000",
        "Writing": "100 s",
        "Invented": ".250",
    }
    assert row[0].strip("*") == "rewrite by qwen"
    kept = cells(page, "Kept of the facts in the copies:")
    assert kept[0][-1] == "Invented"
    assert {line[0].strip("*"): line[-1] for line in kept[1:]} == {"rewrite by qwen": ".250", "random_dropout": "–"}


def test_a_board_without_writers_has_no_table_of_them_and_empty_columns_at_the_end_of_the_csv(tmp_path: Path) -> None:
    write_record(tmp_path, facts={"copies": 8, "facts": 40, "answer": 0.5, "answer_and_name": 0.25, "tokens": 0.125})
    board = board_of(tmp_path)
    page = markdown_page(board, tmp_path)
    assert "Texts by a writer" not in page
    assert "Invented" not in cells(page, "Kept of the facts in the copies:")[0]
    (line,) = csv.DictReader(io.StringIO(board_csv(board, tmp_path)))
    assert tuple(line)[-len(NEW) :] == NEW and {line[name] for name in NEW} == {""}
    (row,) = page_data(board, tmp_path)["rows"]
    assert "seconds_with_writing" not in row and row["writer"] is None


def test_csv_and_export_hold_what_a_writer_wrote(tmp_path: Path) -> None:
    parts = cost(write_rewrite=60.0, write_self_qa=40.5, train=10.0, facts=1.0)
    write_record(tmp_path, "mixed", written=written(sha256=["2" * 64, "3" * 64]), cost=parts)
    write_record(tmp_path, name="plain")
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(board_csv(board_of(tmp_path), tmp_path)))}
    shown = [lines["mixed"][name] for name in NEW]
    assert shown == ["qwen", "Qwen/Qwen2.5-1.5B", "1200", "34", "250000", "100000", "100.5", "0.25"]
    tables = export_tables(load_records(tmp_path), tmp_path)
    board = {row.method: row for row in tables.board}
    assert [getattr(board["mixed"], name) for name in NEW][:4] == ["qwen", "Qwen/Qwen2.5-1.5B", 1200, 34]
    assert [getattr(board["plain_matched"], name) for name in NEW] == [None] * len(NEW)
    of_record = {row.method: row for row in tables.records}
    assert of_record["mixed"].written_left_out == {"cut": 30, "empty": 4}
    assert of_record["mixed"].written_sha256 == ["2" * 64, "3" * 64]
    assert of_record["plain_matched"].written_texts is None and of_record["plain_matched"].writer_sampling == {}


def test_the_model_of_an_endpoint_is_named_and_unknown_seconds_stay_empty(tmp_path: Path) -> None:
    write_rewrite(tmp_path, written=written(model=None, api_model="qwen2.5", invented=None), cost=cost(train=10.0))
    (row,) = only_table(tmp_path).rows
    assert row.writing is not None
    assert (row.writing.model, row.writing.seconds, row.writing.invented) == ("qwen2.5", None, None)
    assert row.seconds_with_writing is None
    assert cells(markdown_page(board_of(tmp_path), tmp_path), "Texts by a writer:")[1][-2:] == ["–", "–"]


def test_the_seconds_of_a_teacher_are_part_of_training_and_those_of_scores_are_not(tmp_path: Path) -> None:
    write_record(tmp_path, "context_distillation", cost=cost(train=10.0, teach=4.0, score_large=7.0))
    (row,) = only_table(tmp_path).rows
    assert row.seconds == 14.0


def test_names_of_writers_are_shown_as_text(tmp_path: Path) -> None:
    write_rewrite(tmp_path, written=written("[a](b)", "x | <b> ~~y~~"))
    page = markdown_page(board_of(tmp_path), tmp_path)
    row = page.partition("Texts by a writer:")[2].split("\n")[4]
    assert r"\[a\](b)" in row and r"x \| &lt;b&gt; \~\~y\~\~" in row


def test_the_pareto_front_can_count_the_seconds_of_writing(tmp_path: Path) -> None:
    # Both are right everywhere, so the cheaper one alone is on a front: rewriting trains faster, and writes for long.
    def always(field: str, person: int, seed: int) -> float:
        return 1.0

    write_rewrite(tmp_path, grade=always)
    write_record(tmp_path, grade=always, cost=cost(train=50.0))
    rows = {row["method"]: row for row in page_data(board_of(tmp_path), tmp_path)["rows"]}
    assert rows["rewrite"]["seconds_with_writing"] == 110 and rows["plain_matched"]["seconds_with_writing"] == 50
    assert "seconds" in rows["rewrite"]["front"] and "seconds" not in rows["plain_matched"]["front"]
    assert "seconds_with_writing" in rows["plain_matched"]["front"]
    assert "seconds_with_writing" not in rows["rewrite"]["front"]


@pytest.mark.parametrize(
    "other",
    [
        written("llama"),
        written(sampling={"temperature": 0.3, "seed": 1}),
        written(sampling={"temperature": 0.8, "seed": 2}),
        written(model=None, api_model="qwen"),
        {**written(), "model": {**written()["model"], "fingerprint": "4" * 64}},
        {**written(), "model": {**written()["model"], "spec": {"model": "a", "quantization": "4bit"}}},
    ],
    ids=["writer", "temperature", "seed", "endpoint", "weights", "quantization"],
)
def test_another_writer_or_sampling_makes_another_row(tmp_path: Path, other: dict[str, Any]) -> None:
    write_rewrite(tmp_path, 1)
    write_rewrite(tmp_path, 1, written=other, name="other")
    labels = [row.label for row in only_table(tmp_path).rows]
    assert len(set(labels)) == 2 and all(label.startswith("rewrite by qwen") for label in labels)


def test_where_the_writer_came_from_and_what_it_wrote_make_no_other_row(tmp_path: Path) -> None:
    a = write_rewrite(tmp_path, 1)
    b = write_rewrite(tmp_path, 2, written=written(source="folder", tokens=90_000, sha256=["5" * 64]))
    assert treatment(read_record(a)) == treatment(read_record(b))
    (row,) = only_table(tmp_path).rows
    assert row.seeds == (1, 2) and row.writing is not None and row.writing.tokens == 95_000


def test_a_row_is_named_after_its_writer(tmp_path: Path) -> None:
    write_rewrite(tmp_path)
    write_rewrite(tmp_path, label="by trained", written=written("trained"))
    assert {row.label for row in only_table(tmp_path).rows} == {"rewrite by qwen", "rewrite by trained"}
