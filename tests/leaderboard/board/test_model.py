"""The board's tables: which of their rows are best, and the line that sums them up."""

from pathlib import Path

from tests.leaderboard.factory import only_table, right, write_record, wrong


def test_rows_are_ordered_best_first_and_the_best_are_marked(tmp_path: Path) -> None:
    write_record(tmp_path, "a", grade=wrong)
    write_record(tmp_path, "b", grade=right)
    write_record(tmp_path, "c", grade=right)
    table = only_table(tmp_path)
    assert [(row.label, table.is_best(row)) for row in table.rows] == [("b", True), ("c", True), ("a", False)]


def test_the_summary_names_the_best_and_those_above_plain_matched(tmp_path: Path) -> None:
    write_record(tmp_path, grade=lambda field, person, seed: float(field == "major"))
    write_record(tmp_path, "good", grade=right)
    write_record(tmp_path, "bad", grade=wrong)
    assert only_table(tmp_path).summary() == ("Best: good (exact match 1.000). Above plain_matched: good.")
