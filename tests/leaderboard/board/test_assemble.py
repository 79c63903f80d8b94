"""From records to the board: what makes a row and a table, and what is refused."""

import re
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from leaderboard.board.assemble import load_records
from leaderboard.views.markdown import markdown_page
from tests.leaderboard.factory import board_of, even_chance, only_table, retention, right, write_record, wrong

ALPHA = {"alpha": 0.6, "beta": 0.05}


def test_the_seeds_of_a_method_make_one_row(tmp_path: Path) -> None:
    files = [write_record(tmp_path, seed=seed) for seed in (3, 1, 2)]
    (row,) = only_table(tmp_path).rows
    assert row.seeds == (1, 2, 3)
    assert row.files == (files[1], files[2], files[0])
    assert row.seconds == 12.0
    assert (row.steps, row.texts) == ((400, 400), (176, 176))


CHOICE = ["method.parameters.alpha", "training.recipe.learning_rate", "training.budget"]


def _point(
    folder: Path, method: str, alpha: float | None, budget: str, development: int, test: int, **more: Any
) -> Path:
    """A record whose first so many people of either half (8 each) are answered right in everything."""
    parameters = {} if alpha is None else {"alpha": alpha}
    choice = CHOICE if alpha is not None else CHOICE[1:]
    return write_record(
        folder,
        method,
        grade=lambda field, person, seed: float(person < development if person < 8 else person - 8 < test),
        method__parameters=parameters,
        training__budget=budget,
        choice=choice,
        **more,
    )


def test_the_point_best_on_the_development_half_is_shown_with_its_test_results(tmp_path: Path) -> None:
    _point(tmp_path, "plain_matched", None, "400 steps", development=2, test=7)
    _point(tmp_path, "plain_matched", None, "1600 steps", development=3, test=1)
    _point(tmp_path, "random_dropout", 0.2, "400 steps", development=4, test=5)
    best = _point(tmp_path, "random_dropout", 0.6, "1600 steps", development=6, test=4)
    _point(tmp_path, "random_dropout", 0.6, "400 steps", development=5, test=8)
    table = only_table(tmp_path)
    first, second = table.rows
    assert (first.method, first.headline.mean, first.tried, first.files) == ("random_dropout", 4 / 8, 3, (best,))
    assert (second.method, second.headline.mean, second.tried) == ("plain_matched", 1 / 8, 2)
    assert first.to_baseline and first.to_baseline.interval.mean == pytest.approx(3 / 8)
    assert first.chosen == {
        "method.parameters.alpha": 0.6,
        "training.recipe.learning_rate": 0.0005,
        "training.budget": "1600 steps",
    }
    assert first.label == "random_dropout α=.6 learning_rate=.0005 budget=1600 steps"
    assert table.budget == "budget chosen"


def test_a_point_with_fewer_seeds_is_not_chosen(tmp_path: Path) -> None:
    _point(tmp_path, "random_dropout", 0.2, "400 steps", development=8, test=8, seed=1)
    for seed in (1, 2):
        _point(tmp_path, "random_dropout", 0.6, "400 steps", development=1, test=1, seed=seed)
    (row,) = only_table(tmp_path).rows
    assert (row.seeds, row.tried, row.chosen["method.parameters.alpha"]) == ((1, 2), 2, 0.6)


def test_records_of_a_choice_are_in_another_table_than_records_without_a_choice(tmp_path: Path) -> None:
    _point(tmp_path, "plain_matched", None, "400 steps", development=2, test=7)
    write_record(tmp_path)
    assert len(board_of(tmp_path).tables) == 2


def _curve(*values: float) -> list[dict[str, Any]]:
    """Checkpoints every 100 steps with that exact match on the test half of either of two tasks."""
    scores = [
        {"biography_major": {"0": {"test": {"exact_match": value}, "development": {"exact_match": 1.0}}}}
        for value in values
    ]
    return [{"steps": 100 * (place + 1), "scores": told} for place, told in enumerate(scores)]


def test_a_curve_is_the_mean_over_seeds_and_ends_with_the_last_step(tmp_path: Path) -> None:
    write_record(tmp_path, seed=1, grade=right, curve=_curve(0.1, 0.4))
    write_record(tmp_path, seed=2, grade=right, curve=_curve(0.3, 0.5))
    write_record(tmp_path, "random_dropout", grade=wrong)
    table = only_table(tmp_path)
    assert table.rows[0].curve == pytest.approx({100: 0.2, 200: 0.45, 400: 1.0})
    assert table.rows[1].curve == {}
    text = markdown_page(board_of(tmp_path), tmp_path)
    assert re.search(r"Method +\| +100 \| +200 \| +400", text) and re.search(r"\| +\.200 \| +\.450 \| +1\.000", text)


def test_the_numbers_come_from_the_test_half_alone(tmp_path: Path) -> None:
    def first_of_test(field: str, person: int, seed: int) -> float:
        return float(person < 8 or person == 8)

    write_record(tmp_path, grade=first_of_test, answered=first_of_test, people=8, with_cloze=True)
    (row,) = only_table(tmp_path).rows
    assert row.headline.mean == 0.125
    assert {metric: score.mean for metric, score in row.scores.items()} == dict.fromkeys(row.scores, 0.125)


def test_fields_have_their_own_exact_match_in_the_order_of_the_task(tmp_path: Path) -> None:
    write_record(
        tmp_path, grade=lambda field, person, seed: float(field == "major" or (field, person) == ("company", 9))
    )
    table = only_table(tmp_path)
    assert table.fields == ("birth_date", "birth_city", "university", "major", "company")
    assert [table.rows[0].fields[field].mean for field in table.fields] == [0, 0, 0, 1, 0.125]
    assert table.rows[0].headline.mean == pytest.approx((1 + 0.125) / 5)
    assert (table.questions, table.subjects) == (40, 8)


def test_choice_is_left_out_if_it_was_not_measured(tmp_path: Path) -> None:
    write_record(tmp_path, with_choice=False)
    assert set(only_table(tmp_path).rows[0].scores) == {"exact_match", "f1", "answered"}


@pytest.mark.parametrize(
    "change",
    [
        {"task__corpus_hash": "0" * 64},
        {"task__definition_hash": "0" * 64},
        {"task__versions": {"biography_company": "2.0"}},
        {"model__fingerprint": "0" * 64},
        {"training__budget": "1600 steps"},
        {"training__recipe": {"learning_rate": 0.001}},
        {"evaluation": {"precision": "bfloat16"}},
    ],
)
def test_records_with_different_conditions_are_in_different_tables(tmp_path: Path, change: Any) -> None:
    write_record(tmp_path, seed=1)
    write_record(tmp_path, seed=2, **change)
    tables = board_of(tmp_path).tables
    assert len(tables) == 2
    assert len({table.title for table in tables}) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"suite": "other"},
        {"training__recipe": {"learning_rate": 0.0005, "micro_batch": 2}},
        {"evaluation": {"precision": "float32", "batch_size": 4, "num_fewshot": [0]}},
    ],
)
def test_the_suite_and_limits_of_memory_do_not_split_a_row(tmp_path: Path, change: Any) -> None:
    write_record(tmp_path, seed=1)
    write_record(tmp_path, seed=2, **change)
    (row,) = only_table(tmp_path).rows
    assert row.seeds == (1, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"method__parameters": {"alpha": 0.2, "beta": 0.05}},
        {"method__copies": 5},
        {"method__package": "others 1.0"},
        {"pair": None},
        {"scoring": {"reduction": "received_strict"}},
    ],
)
def test_different_methods_have_rows_and_labels_of_their_own(tmp_path: Path, change: Any) -> None:
    write_record(tmp_path, "random_dropout", method__parameters=ALPHA)
    write_record(tmp_path, "random_dropout", **{"method__parameters": ALPHA, **change})
    rows = only_table(tmp_path).rows
    assert len({row.label for row in rows}) == 2
    assert all(row.label.startswith("random_dropout α=.") for row in rows)


def test_the_same_cell_and_seed_twice_is_refused_naming_both_files(tmp_path: Path) -> None:
    first, second = write_record(tmp_path / "a"), write_record(tmp_path / "b", suite="other")
    with pytest.raises(UserError) as caught:
        board_of(tmp_path)
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_records_of_one_task_that_answer_other_questions_are_refused(tmp_path: Path) -> None:
    write_record(tmp_path, seed=1, people=8)
    write_record(tmp_path, seed=2, people=7)
    with pytest.raises(UserError, match="answers other questions than"):
        board_of(tmp_path)


def test_the_difference_is_to_plain_matched_over_the_seeds_of_both(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_record(tmp_path, seed=seed, grade=lambda field, person, seed: float(seed == 1))
    for seed in (2, 3):
        write_record(tmp_path, "random_dropout", seed=seed, grade=right)
    dropout, plain = only_table(tmp_path).rows
    told = dropout.to_baseline
    assert told is not None
    assert (told.interval.mean, told.seeds, told.other, told.verdict) == (1.0, (2,), "plain_matched", "above")
    assert plain.to_baseline is None


def test_a_difference_whose_interval_contains_zero_has_no_verdict(tmp_path: Path) -> None:
    write_record(tmp_path, grade=even_chance)
    write_record(tmp_path, "random_dropout", grade=lambda field, person, seed: 1 - even_chance(field, person, seed))
    dropout = next(row for row in only_table(tmp_path).rows if row.method == "random_dropout")
    assert dropout.to_baseline is not None
    assert dropout.to_baseline.interval.low < 0 < dropout.to_baseline.interval.high
    assert dropout.to_baseline.verdict is None


def test_each_row_is_compared_with_the_plain_matched_that_shares_most_with_it(tmp_path: Path) -> None:
    other: dict[str, Any] = {"scoring": {"reduction": "received_strict"}}
    write_record(tmp_path, grade=wrong)
    write_record(tmp_path, grade=right, **other)
    write_record(tmp_path, "random_dropout", grade=right, **other)
    dropout = next(row for row in only_table(tmp_path).rows if row.method == "random_dropout")
    assert dropout.to_baseline is not None
    assert dropout.to_baseline.interval.mean == 0


def test_tables_of_one_task_and_model_are_ordered_by_steps(tmp_path: Path) -> None:
    for steps in (1600, 400):
        write_record(tmp_path, training__budget=f"{steps} steps", training__steps=steps)
    assert [table.budget for table in board_of(tmp_path).tables] == ["400 steps", "1600 steps"]


def test_the_alpha_of_released_random_is_the_probability_of_keeping(tmp_path: Path) -> None:
    write_record(tmp_path, "random_dropout", method__parameters={"alpha": 0.2})
    write_record(tmp_path, "random_dropout", method__parameters={"alpha": 0.8})
    write_record(tmp_path, "released_random", method__parameters={"alpha": 0.2})
    released = next(row for row in only_table(tmp_path).rows if row.method == "released_random")
    assert released.to_random is not None
    assert released.to_random.other == "random_dropout α=.8"


def test_retention_by_different_metrics_is_not_averaged(tmp_path: Path) -> None:
    write_record(tmp_path, "plain", retention={"words": retention(0.1)})
    write_record(tmp_path, "plain_matched", retention={"words": {**retention(0.2), "metric": "bits_per_byte"}})
    assert {row.method: [one.mean for one in row.retention.values()] for row in only_table(tmp_path).rows} == {
        "plain": [0.1],
        "plain_matched": [0.2],
    }


def test_a_tampered_record_is_refused_by_name(tmp_path: Path) -> None:
    path = write_record(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace('"steps": 400', '"steps": 401'), encoding="utf-8")
    with pytest.raises(UserError, match=r"plain_matched-0000.json: sha256"):
        load_records(tmp_path)


def test_tampered_answers_are_refused_by_name(tmp_path: Path) -> None:
    write_record(tmp_path)
    with (tmp_path / "plain_matched-0000.answers.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match="plain_matched-0000.answers.parquet"):
        load_records(tmp_path)


def test_scores_that_are_not_the_means_of_the_answers_are_refused_even_with_a_fitting_hash(tmp_path: Path) -> None:
    write_record(tmp_path, scores__biography_company__0__test__exact_match=0.99)
    with pytest.raises(UserError, match=r"plain_matched-0000.json: scores.biography_company.0.test.exact_match: 0.99"):
        board_of(tmp_path)


def test_a_folder_without_records_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no record"):
        load_records(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        load_records(tmp_path / "nowhere")
