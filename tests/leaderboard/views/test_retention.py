"""What training cost elsewhere, on the board: means over seeds, and shown only where it was measured."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from leaderboard.views.csv_file import board_csv
from leaderboard.views.markdown import markdown_page
from leaderboard.views.terminal import print_board
from tests.leaderboard.factory import board_of, only_table, retention, write_record


def in_terminal(folder: Path) -> str:
    output = io.StringIO()
    print_board(board_of(folder), Console(file=output, width=100, force_terminal=False))
    return output.getvalue()


def lines_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(board_csv(board_of(folder), folder))))


def test_retention_is_the_mean_over_seeds_with_an_interval(tmp_path: Path) -> None:
    for seed, change in ((1, 1.0), (2, 2.0), (3, 6.0)):
        write_record(tmp_path, seed=seed, retention={"words": retention(change)})
    table = only_table(tmp_path)
    (change_of,) = (row.retention["words"] for row in table.rows)
    assert (change_of.mean, change_of.seeds) == (3.0, (1, 2, 3))
    # Student's interval: a standard error of √(7 / 3), and the 97.5% quantile of two degrees of freedom, 4.303.
    assert (change_of.low, change_of.high) == pytest.approx((3 - 6.572, 3 + 6.572), abs=0.15)
    low, high = float(change_of.low or 0), float(change_of.high or 0)
    assert [(one.label, one.metric, one.before) for one in table.held_out] == [("words", "perplexity", 20.0)]
    text = markdown_page(board_of(tmp_path), tmp_path)
    assert "words (perplexity, untouched 20.000)" in text
    assert f"| **plain_matched** | +3.000 [{low:+.3f}, {high:+.3f}] |" in text
    assert f"+3.000 [{low:+.3f}, {high:+.3f}]" in in_terminal(tmp_path)
    (line,) = lines_of(tmp_path)
    told = {name: value for name, value in line.items() if name.startswith("forgetting")}
    assert told == {
        "forgetting_words_perplexity": "3.0",
        "forgetting_words_perplexity_low": str(round(low, 6)),
        "forgetting_words_perplexity_high": str(round(high, 6)),
        "forgetting_words_perplexity_seeds": "1 2 3",
    }


def test_retention_of_one_seed_has_no_interval(tmp_path: Path) -> None:
    write_record(tmp_path, retention={"words": retention(-0.25)})
    (row,) = only_table(tmp_path).rows
    assert (row.retention["words"].low, row.retention["words"].high) == (None, None)
    assert "| **plain_matched** |   -.250 |" in markdown_page(board_of(tmp_path), tmp_path)
    (line,) = lines_of(tmp_path)
    assert (line["forgetting_words_perplexity"], line["forgetting_words_perplexity_low"]) == ("-0.25", "")


def test_seeds_and_rows_without_retention_are_marked(tmp_path: Path) -> None:
    write_record(tmp_path, seed=1, retention={"words": retention(0.5)})
    write_record(tmp_path, seed=2)
    write_record(tmp_path, "plain", seed=1)
    text = markdown_page(board_of(tmp_path), tmp_path)
    assert "+.500 (1 of 2 seeds) |" in text
    assert "+.500 (1 of 2 seeds)" in in_terminal(tmp_path)
    table = only_table(tmp_path)
    assert {row.method: bool(row.retention) for row in table.rows} == {"plain_matched": True, "plain": False}


def test_different_measurements_of_one_name_are_not_averaged(tmp_path: Path) -> None:
    write_record(tmp_path, seed=1, retention={"words": retention(1.0, tokens=100)})
    write_record(tmp_path, seed=2, retention={"words": retention(3.0, tokens=900)})
    table = only_table(tmp_path)
    (row,) = table.rows
    assert {label: change.mean for label, change in row.retention.items()} == {
        "words tokens=100": 1.0,
        "words tokens=900": 3.0,
    }


def test_two_measurements_have_a_column_each_with_its_metric(tmp_path: Path) -> None:
    both = {"words": retention(1.5), "quiz": retention(0.02, "acc_norm", name="quiz")}
    write_record(tmp_path, retention=both)
    shown = in_terminal(tmp_path)
    assert "words (perplexity, untouched 20.000), quiz (acc_norm, untouched .500)" in " ".join(shown.split())
    (row,) = only_table(tmp_path).rows
    assert row.retention["quiz"].mean == 0.02
    (line,) = lines_of(tmp_path)
    assert line["forgetting_quiz_acc_norm"] == "0.02"


@pytest.mark.parametrize(("show", "word"), [(markdown_page, "Retention"), (board_csv, "forgetting")])
def test_retention_is_shown_only_where_it_was_measured(tmp_path: Path, show: Callable[..., str], word: str) -> None:
    write_record(tmp_path / "with", retention={"words": retention(1.0)}, name="a")
    write_record(tmp_path / "without", name="a")
    shown, plain = (show(board_of(tmp_path / part), tmp_path / part) for part in ("with", "without"))
    assert word in shown
    assert word not in plain and "Retention" not in in_terminal(tmp_path / "without")


def test_retention_does_not_split_tables_or_rows(tmp_path: Path) -> None:
    write_record(tmp_path, seed=1, retention={"words": retention(1.0)})
    write_record(tmp_path, seed=2, retention={"words": retention(1.0)})
    write_record(tmp_path, seed=3)
    assert [row.seeds for row in only_table(tmp_path).rows] == [(1, 2, 3)]


def test_names_of_held_out_texts_are_shown_as_text(tmp_path: Path) -> None:
    evil = "a|b <img> [x](y) \x1b[31m"
    write_record(tmp_path, retention={evil: retention(1.0, evil)})
    text = markdown_page(board_of(tmp_path), tmp_path)
    assert "<img>" not in text and "[x](y)" not in text and "\x1b" not in text + in_terminal(tmp_path)
