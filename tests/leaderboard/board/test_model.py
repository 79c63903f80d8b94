"""The board's tables: which of their rows are best, and the line that sums them up."""

from pathlib import Path

import pytest

from tests.leaderboard.factory import Grade, only_table, right, write_record, wrong


def major(field: str, person: int, seed: int) -> float:
    """A fifth of the questions is answered right."""
    return float(field == "major")


def one_question(field: str, person: int, seed: int) -> float:
    """A single question of the test half is answered right."""
    return float(field == "major" and person == 15)


def write_untouched(folder: Path, grade: Grade) -> None:
    write_record(folder, "untouched", seed=0, grade=grade, with_cloze=True, training=None)


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
    assert only_table(tmp_path).summary() == (
        "Best: good (exact match 1.000). Above plain_matched: good. "
        "The untouched model was not asked, so some of this may be guesses."
    )


def test_where_every_answer_is_wrong_no_row_is_best_and_the_summary_says_what_can_help(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=wrong)
    write_record(tmp_path, "eda", grade=wrong)
    table = only_table(tmp_path)
    assert not table.recalled
    assert not any(table.is_best(row) for row in table.rows)
    summary = table.summary()
    assert summary.startswith("Nothing was recalled: every exact match is .000. Choice: at most .000. What can help:")
    assert "a model that has read more text, and more passes" in summary
    assert "Best" not in summary


def test_rows_that_are_not_clearly_above_the_untouched_model_recall_nothing(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=major, with_cloze=True)
    write_untouched(tmp_path, major)
    table = only_table(tmp_path)
    assert table.floor == pytest.approx(0.2)  # one of five fields
    assert not table.recalled
    assert table.summary().startswith(
        "Nothing was recalled: no row is significantly above .200, the exact match of the untouched model. "
        "Cloze: at most .200 (plain_matched; untouched .200). Choice: at most .200 (plain_matched; untouched .200)."
    )


def test_a_row_above_the_untouched_model_is_best(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=right)
    write_untouched(tmp_path, major)
    table = only_table(tmp_path)
    assert table.recalled
    assert table.summary().startswith("Best: plain_matched (exact match 1.000).")


@pytest.mark.parametrize("asked", [True, False])
def test_one_right_answer_may_be_a_guess(tmp_path: Path, asked: bool) -> None:
    write_record(tmp_path, "plain_matched", grade=one_question)
    if asked:
        write_untouched(tmp_path, wrong)
    table = only_table(tmp_path)
    assert not table.recalled
    assert table.summary().startswith("Nothing was recalled: no row is significantly above .000")


@pytest.mark.parametrize(("grade", "recalled"), [(right, True), (wrong, False)])
def test_of_too_few_questions_for_a_test_the_interval_decides(tmp_path: Path, grade: Grade, recalled: bool) -> None:
    write_record(tmp_path, "plain_matched", grade=grade, people=1)
    assert only_table(tmp_path).recalled == recalled
