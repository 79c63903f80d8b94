from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.record import read_record
from leaderboard.compare import compare, compare_files
from tests.leaderboard.factory import write_record


def test_comparable_records_tell_how_they_differ_and_no_more(tmp_path: Path) -> None:
    a = write_record(tmp_path, seed=1, pair=None)
    b = write_record(
        tmp_path,
        "random_dropout",
        seed=2,
        pair=None,
        method__parameters={"alpha": 0.6},
        environment__packages={"torch": "3"},
    )
    assert compare(read_record(a), read_record(b)) == [
        'method.name: "plain_matched" against "random_dropout"',
        "method.parameters.alpha: null against 0.6",
        "seed: 1 against 2",
        'environment.packages.torch: "2.13.0" against "3"',
    ]


def test_unlike_records_are_refused_naming_each_field_that_differs(tmp_path: Path) -> None:
    a = write_record(tmp_path)
    b = write_record(tmp_path, training__budget="1600 steps", task__versions={"biography_company": "2.0"})
    with pytest.raises(UserError) as caught:
        compare(read_record(a), read_record(b))
    assert str(caught.value) == (
        'not comparable: task.versions.biography_company: "1.0" against "2.0"; '
        'training.budget: "400 steps" against "1600 steps"; compare records that share all of this'
    )


def test_a_record_is_comparable_with_itself_and_differs_in_nothing(tmp_path: Path) -> None:
    path = write_record(tmp_path)
    assert compare(read_record(path), read_record(path)) == []


def test_files_are_compared_by_their_scores_too(tmp_path: Path) -> None:
    a = write_record(tmp_path, "random_dropout", grade=lambda field, person, seed: 1.0)
    b = write_record(tmp_path, grade=lambda field, person, seed: 0.0)
    lines = compare_files(a, b)
    assert lines[0] == 'method.name: "random_dropout" against "plain_matched"'
    # All 8 people differ alike: 1 less twice the exact binomial bound of 0 in 8, .369.
    assert "exact_match: 1.000 against 0.000, difference +1.000 [+0.261, +1.000]" in lines


def test_a_record_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        compare_files(tmp_path / "a.json", tmp_path / "b.json")
