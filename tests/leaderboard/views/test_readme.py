"""The board as READMEs show it."""

from pathlib import Path

import pytest

from leaderboard.board.assemble import build_board, load_records
from leaderboard.views.readme import small_board
from tests.leaderboard.factory import Grade, write_record, wrong

METHODS = ("plain_matched", "plain", "contrastive_dropout", "eda", "aeda", "reverse", "full_name", "random_dropout")


def halves(development: float, test: float) -> Grade:
    """People 0 to 7 are of the development half; the share of them, and of those of the test half, that are right."""

    def grade(field: str, person: int, seed: int) -> float:
        return float(person % 8 < 8 * (test if person >= 8 else development))

    return grade


def board_of(folder: Path) -> str:
    return small_board(build_board(load_records(folder)), "there.md")


def rows_of(folder: Path) -> dict[str, list[str]]:
    """The first cell of each line, heading first, with the cells after it."""
    table = [line for line in board_of(folder).split("\n") if line[:1] == "|"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in [table[0], *table[2:]]]
    return {first: rest for first, *rest in cells}


def test_of_several_parameters_the_development_half_decides_and_the_test_half_is_shown(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=halves(0.5, 0.5))
    write_record(tmp_path, "random_dropout", grade=halves(0.25, 1.0), method__parameters={"alpha": 0.2})
    write_record(tmp_path, "random_dropout", grade=halves(0.5, 0.75), method__parameters={"alpha": 0.6})
    rows = rows_of(tmp_path)
    assert list(rows) == ["Method", "random dropout α=.6", "plain matched"]
    assert rows["random dropout α=.6"][0].startswith(".75 [")


def test_no_more_than_six_rows_and_five_columns_are_shown_and_the_rest_is_counted(tmp_path: Path) -> None:
    for number, method in enumerate(METHODS):
        grade = halves(number / 8, 0.5 + number / 16)
        write_record(tmp_path, method, shots={0: grade, 5: wrong}, others={"_paraphrased": wrong, "_reverse": wrong})
    rows = rows_of(tmp_path)
    names = {name.strip("*") for name in rows} - {"Method"}
    # The paper's comparison whatever it scores, then the best of the others on the development half.
    assert names == {"plain", "plain matched", "contrastive dropout", "random dropout", "full name", "reverse"}
    assert all(len(cells) == 4 for cells in rows.values())
    assert "Rows not shown: 2; other tables: 0." in board_of(tmp_path)


def test_the_table_with_most_records_is_shown_and_the_others_are_counted(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=halves(0.5, 1.0), training__budget="9 steps")
    for seed in (1, 2):
        write_record(tmp_path, "plain_matched", seed, grade=halves(0.5, 0.25))
    assert rows_of(tmp_path)["plain matched"][0].startswith("**.25** [")
    assert "biography, tiny-large, 400 steps; 2 seeds" in board_of(tmp_path)
    assert "Rows not shown: 0; other tables: 1." in board_of(tmp_path)


@pytest.mark.parametrize(("seeds", "shown"), [(3, "real"), (2, "tiny-large")])
def test_the_largest_model_with_enough_seeds_is_shown(tmp_path: Path, seeds: int, shown: str) -> None:
    for seed in range(1, 6):
        write_record(tmp_path, "plain_matched", seed)
    for seed in range(1, seeds + 1):
        write_record(tmp_path, "plain_matched", seed, model__name="real", model__parameters=10**9)
    assert f"biography, {shown}, 400 steps" in board_of(tmp_path)


def test_questions_in_other_words_have_a_column_where_they_were_asked(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=halves(0.5, 0.75), others={"_paraphrased": halves(0.5, 0.25)})
    rows = rows_of(tmp_path)
    column = rows["Method"].index("Paraphrased")
    assert rows["plain matched"][column] == ".25"
    assert "*Paraphrased*: exact match on the same questions in other words, with the row's best" in board_of(tmp_path)


@pytest.mark.parametrize(("share", "mark"), [(0.0, "▼"), (1.0, "")])
def test_a_mark_says_that_a_method_differs_from_plain_matched(tmp_path: Path, share: float, mark: str) -> None:
    write_record(tmp_path, "plain_matched", grade=halves(1.0, 1.0))
    write_record(tmp_path, "plain", grade=halves(share, share))
    rows = rows_of(tmp_path)
    plain = next(cells for name, cells in rows.items() if name.strip("*") == "plain")
    assert plain[0].endswith(mark or "]")


def test_the_methods_with_the_highest_exact_match_are_bold(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=halves(0.5, 0.5))
    write_record(tmp_path, "eda", grade=halves(0.5, 1.0))
    rows = rows_of(tmp_path)
    assert list(rows) == ["Method", "eda", "plain matched"]
    assert rows["eda"][0].startswith("**1.00** [") and "**" not in rows["plain matched"][0]


def test_the_numbers_of_seeds_are_those_of_the_rows_that_are_shown(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_record(tmp_path, "plain_matched", seed, grade=halves(0.5, 0.5))
        if seed < 3:
            write_record(tmp_path, "eda", seed, grade=halves(0.5, 1.0))
    assert "400 steps; 2 to 3 seeds, " in board_of(tmp_path)
