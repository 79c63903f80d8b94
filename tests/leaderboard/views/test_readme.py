"""The board in one table, as READMEs show it."""

from pathlib import Path

from leaderboard.board.assemble import build_board, load_records
from leaderboard.views.readme import readme_table
from tests.leaderboard.factory import Grade, write_record, wrong


def halves(development: float, test: float) -> Grade:
    """People 0 to 7 are of the development half; the share of them, and of those of the test half, that are right."""

    def grade(field: str, person: int, seed: int) -> float:
        return float(person % 8 < 8 * (test if person >= 8 else development))

    return grade


def lines_of(folder: Path) -> list[list[str]]:
    """The cells of the table, heading first."""
    table = [
        line for line in readme_table(build_board(load_records(folder)), "there.md").split("\n") if line[:1] == "|"
    ]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in [table[0], *table[2:]]]


def test_of_several_parameters_the_development_half_decides_and_the_test_half_is_shown(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=halves(0.5, 0.5))
    write_record(tmp_path, "random_dropout", grade=halves(0.25, 1.0), method__parameters={"alpha": 0.2})
    write_record(tmp_path, "random_dropout", grade=halves(0.5, 0.75), method__parameters={"alpha": 0.6})
    head, line = lines_of(tmp_path)
    assert head == ["Exact match", "plain_matched", "random_dropout"]
    assert line[0] == "biography, tiny-large, 400 steps"
    assert line[1].startswith(".500 [")
    assert line[2].startswith(".750 [") and line[2].endswith("] α=.6")


def test_the_best_of_the_other_methods_is_named_and_the_best_of_all_is_bold(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=halves(0.5, 0.5))
    write_record(tmp_path, "aeda", grade=halves(0.25, 0.25))
    write_record(tmp_path, "eda", grade=halves(0.75, 1.0))
    write_record(tmp_path, "plain_matched", grade=halves(0.5, 0.5), training__budget="9 steps")
    head, four_hundred, nine = lines_of(tmp_path)
    assert head[-1] == "best of the others"
    assert four_hundred[-1].startswith("eda **1.000 [")
    assert nine[1].startswith("**.500 [") and nine[-1] == "–"


def test_a_row_of_fewer_seeds_says_so_and_gives_way_to_one_of_more(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_record(tmp_path, "plain_matched", seed, grade=halves(0.5, 0.5))
    write_record(tmp_path, "plain", 1, grade=halves(0.5, 0.5))
    write_record(tmp_path, "random_dropout", 1, halves(1.0, 1.0), method__parameters={"alpha": 0.2})
    for seed in (1, 2):
        write_record(tmp_path, "random_dropout", seed, halves(0.25, 0.25), method__parameters={"alpha": 0.6})
    _, line = lines_of(tmp_path)
    assert line[1].endswith("(1 of 3 seeds)")
    assert line[2].endswith("]")
    assert line[3].endswith("α=.6 (2 of 3 seeds)")


def test_a_mark_says_that_a_method_is_told_apart_from_plain_matched(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=halves(1.0, 1.0))
    write_record(tmp_path, "plain", grade=halves(0.0, 0.0))
    _, line = lines_of(tmp_path)
    assert "▼" in line[1] and "▲" not in line[2] + line[1]


def test_a_table_where_nothing_was_recalled_is_named_and_has_no_line(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=halves(0.5, 0.5))
    write_record(tmp_path, "plain_matched", grade=wrong, training__budget="9 steps")
    write_record(tmp_path, "eda", grade=wrong, training__budget="9 steps")
    _, *lines = lines_of(tmp_path)
    assert [line[0] for line in lines] == ["biography, tiny-large, 400 steps"]
    assert readme_table(build_board(load_records(tmp_path)), "there.md").endswith(
        "Left out, since no method recalled anything there: biography, tiny-large, 9 steps.\n"
    )


def test_where_nothing_was_recalled_at_all_the_zeros_are_shown(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=wrong)
    _, line = lines_of(tmp_path)
    assert line[1].startswith("**.000 [")
    assert "Left out" not in readme_table(build_board(load_records(tmp_path)), "there.md")
