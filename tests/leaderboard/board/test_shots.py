"""Questions asked with several numbers of examples: which of them is a row's headline, and what stands beside it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.records.record import Record, read_record
from leaderboard.board.answers import read_answers
from leaderboard.board.assemble import build_board, load_records
from leaderboard.views.markdown import markdown_page
from tests.leaderboard.factory import Grade, board_of, only_table, right, write_record, wrong

ROOT = Path(__file__).parents[3]


def first_people(development: int, test: int) -> Grade:
    """Right about the first so many people of either half, of 8 each."""
    return lambda field, person, seed: float(person < development if person < 8 else person - 8 < test)


def test_each_row_shows_the_number_of_examples_that_is_best_on_its_development_half(tmp_path: Path) -> None:
    write_record(tmp_path, shots={0: first_people(3, 1), 1: first_people(5, 2), 5: first_people(4, 8)})
    write_record(tmp_path, "random_dropout", shots={0: first_people(6, 6), 1: first_people(5, 7), 5: wrong})
    first, second = only_table(tmp_path).rows
    assert (first.method, first.shots, first.headline.mean) == ("random_dropout", 0, 6 / 8)
    assert (second.method, second.shots, second.headline.mean) == ("plain_matched", 1, 2 / 8)
    assert {shots: score.mean for shots, score in second.by_shots.items()} == {0: 1 / 8, 1: 2 / 8, 5: 1.0}
    assert second.development == 5 / 8
    assert [score.mean for score in second.fields.values()] == [2 / 8] * 5, "as the headline was asked"


def test_of_equally_good_numbers_of_examples_the_lowest_counts(tmp_path: Path) -> None:
    write_record(tmp_path, shots={5: first_people(4, 1), 1: first_people(4, 2), 0: first_people(3, 8)})
    assert only_table(tmp_path).rows[0].shots == 1


def test_the_number_of_examples_is_chosen_by_the_mean_over_seeds(tmp_path: Path) -> None:
    write_record(tmp_path, seed=1, shots={0: first_people(8, 0), 5: first_people(5, 0)})
    write_record(tmp_path, seed=2, shots={0: first_people(0, 0), 5: first_people(5, 0)})
    assert only_table(tmp_path).rows[0].shots == 5


def test_rows_with_different_numbers_of_examples_are_compared_question_by_question(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_record(tmp_path, seed=seed, shots={0: first_people(3, 3), 5: wrong})
        write_record(tmp_path, "random_dropout", seed=seed, shots={0: wrong, 5: first_people(4, 5)})
    first, second = only_table(tmp_path).rows
    assert (first.shots, second.shots) == (5, 0)
    assert first.to_baseline and first.to_baseline.interval.mean == pytest.approx(5 / 8 - 3 / 8)


def test_rows_are_also_compared_in_the_other_ways_of_asking(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_record(tmp_path, seed=seed, grade=first_people(4, 4), with_cloze=True, shots={0: right, 5: wrong})
        write_record(
            tmp_path,
            "random_dropout",
            seed=seed,
            grade=first_people(4, 6),
            with_cloze=True,
            shots={0: wrong, 5: right},
            answered=first_people(2, 2),
        )
    rows = {row.method: row for row in only_table(tmp_path).rows}
    assert rows["plain_matched"].also == {}
    told = {way: difference.interval.mean for way, difference in rows["random_dropout"].also.items()}
    assert told == pytest.approx(
        {
            "exact_match, 0 shots": -1.0,
            "exact_match, 5 shots": 1.0,
            "answered": 2 / 8 - 1,
            "acc": 2 / 8,
            "cloze": 2 / 8,
        }
    )


def test_exact_match_among_answered_questions_equals_that_computed_by_hand(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_record(tmp_path, seed=seed, grade=first_people(2, 2), answered=first_people(4, 4))
    row = only_table(tmp_path).rows[0]
    assert (row.headline.mean, row.scores["answered"].mean, row.of_answered) == (2 / 8, 4 / 8, 2 / 4)


def test_a_reference_is_in_the_tables_of_its_model_and_questions_alone(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"training": None, "pair": None, "seed": 0}
    write_record(tmp_path, grade=first_people(4, 4))
    write_record(tmp_path, training__budget="1600 steps")
    write_record(tmp_path, model__fingerprint="0" * 64, model__name="other")
    write_record(tmp_path, "untouched", grade=first_people(1, 1), **nothing)
    write_record(tmp_path, "open_book", grade=first_people(8, 7), with_choice=False, **nothing)
    tables = {table.title: table for table in board_of(tmp_path).tables}
    assert len(tables) == 3
    with_them = [table for table in tables.values() if table.references]
    assert {table.model for table in with_them} == {"tiny-large"} and len(with_them) == 2
    for table in with_them:
        assert {one.label: one.scores["exact_match"].mean for one in table.references} == {
            "untouched": 1 / 8,
            "open_book": 7 / 8,
        }
        assert [row.method for row in table.rows] == ["plain_matched"]
    text = markdown_page(board_of(tmp_path), tmp_path)
    assert "open_book" in text and "untouched" in text


def test_the_markdown_page_names_the_number_of_examples_and_shows_the_others(tmp_path: Path) -> None:
    write_record(tmp_path, shots={0: first_people(3, 3), 1: first_people(5, 2), 5: wrong})
    text = markdown_page(board_of(tmp_path), tmp_path)
    assert re.search(r"\|\s+Shots \|", text)
    assert all(f"{shots} shots" in text for shots in (0, 1, 5))


# --- seeds that confirm


def _confirmed(folder: Path, alpha: float, seed: int, development: int, test: int, confirms: bool) -> None:
    write_record(
        folder,
        "random_dropout",
        seed=seed,
        shots={0: first_people(development, test), 5: first_people(0, 8)},
        method__parameters={"alpha": alpha},
        choice=["method.parameters.alpha"],
        points=2,
        confirms=confirms,
    )


def test_a_row_is_chosen_with_some_seeds_and_reported_with_others(tmp_path: Path) -> None:
    for seed in (1, 2):
        _confirmed(tmp_path, 0.2, seed, development=6, test=7, confirms=False)
        _confirmed(tmp_path, 0.6, seed, development=5, test=1, confirms=False)
    for seed in (11, 12, 13):
        _confirmed(tmp_path, 0.2, seed, development=1, test=4, confirms=True)
    (row,) = only_table(tmp_path).rows
    assert (row.chosen, row.seeds, row.confirmed) == ({"method.parameters.alpha": 0.2}, (11, 12, 13), True)
    assert (row.headline.mean, row.tried, row.shots) == (4 / 8, 2, 0), "the number of examples was chosen before, too"
    assert row.development == 6 / 8


# --- records of version 1


@pytest.mark.parametrize("suite", ["smollm2", "squad_smollm2"])
def test_records_of_version_1_are_read_as_asked_with_five_examples(suite: str, tmp_path: Path) -> None:
    (path, *_) = sorted((ROOT / "leaderboard" / "results" / suite).glob("*.json"))
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["schema_version"] == 1
    record = read_record(path)
    written = {task for task, halves in content["scores"].items() if "exact_match" in halves["test"]}
    for task, halves in content["scores"].items():
        assert record.scores[task] == {"5" if task in written else "0": halves}
    answers = read_answers(path, record)
    asked = answers.measured("exact_match")
    assert set(answers.shots[asked]) == {5} and not answers.measured("answered").any()
    for file in path.parent.glob(f"{path.stem}.*"):
        shutil.copy(file, tmp_path / file.name)
    (table,) = build_board(load_records(tmp_path)).tables
    assert table.rows[0].shots == 5 and set(table.rows[0].by_shots) == {5}


def test_the_number_of_examples_of_an_old_record_comes_from_its_suite(tmp_path: Path) -> None:
    content = json.loads(write_record(tmp_path).read_text(encoding="utf-8"))
    flat = {task: by_shots["0"] for task, by_shots in content["scores"].items()}
    content |= {"schema_version": 1, "scores": flat, "evaluation": {"num_fewshot": 3}}
    record = Record.model_validate(content)
    assert record.shots == [3] and set(record.scores["biography_company_choice"]) == {"0"}
