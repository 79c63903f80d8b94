"""Exact match by distance, against what is counted by hand."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.data.people import FIELDS
from leaderboard.board.distance import bin_edges
from leaderboard.stats.intervals import mean_interval
from tests.leaderboard.factory import only_table, write_record


def far(field: str, person: int) -> int:
    """Ten tokens farther with every field, and for every second person one more."""
    return 10 * FIELDS.index(field) + person % 2


def near_is_right(field: str, person: int, seed: int) -> float:
    return float(FIELDS.index(field) < 2 or (FIELDS.index(field) == 2 and seed == 1))


def test_bins_have_about_equally_many_questions_and_keep_equal_distances_together() -> None:
    distances = np.array([1, 1, 1, 1, 2, 3, 4, 5, 5, 6, 7, 9], dtype=float)
    assert bin_edges(distances, 3) == ((1, 1), (2, 4), (5, 9))
    assert bin_edges(distances, 100) == ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (9, 9))
    assert bin_edges(np.full(50, 8.0)) == ((8, 8),)


def test_answers_before_the_name_have_their_own_bin_and_unknown_distances_have_none() -> None:
    assert bin_edges(np.array([-3, 0, 5, np.nan, -20, 4]), 1) == ((-20, -3), (0, 5))
    assert bin_edges(np.full(4, np.nan)) == ()


def test_a_row_has_the_exact_match_of_every_bin_over_seeds_and_the_test_half(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_record(tmp_path, seed=seed, grade=near_is_right, distance=far, people=6)
    (row,) = only_table(tmp_path).rows
    # Six people of the test half, two distances to each field: ten distances of three questions each, in six bins.
    assert [(one.low, one.high) for one in row.by_distance] == [
        (0, 1),
        (10, 10),
        (11, 20),
        (21, 30),
        (31, 31),
        (40, 41),
    ]
    assert [one.questions for one in row.by_distance] == [6, 3, 6, 6, 3, 6]
    # The third field, at 20 and 21, is right under seed 1 alone.
    assert [one.score.mean for one in row.by_distance] == pytest.approx([1, 1, 0.75, 0.25, 0, 0])
    # In the order of their names, p10 p11 p6 p7 p8 p9: the odd are asked at 21, the even at 30, where all were wrong.
    assert row.by_distance[3].score == mean_interval([[0, 1, 0, 1, 0, 1], [0] * 6])


def test_rows_of_a_table_share_bins_and_records_without_distances_use_those_of_others(
    tmp_path: Path,
) -> None:
    write_record(tmp_path, "plain", distance=far, grade=near_is_right)
    write_record(tmp_path, "plain_matched", grade=lambda field, person, seed: 1.0)
    told, silent = sorted(only_table(tmp_path).rows, key=lambda row: row.method)
    assert [(one.low, one.high, one.questions) for one in told.by_distance] == [
        (one.low, one.high, one.questions) for one in silent.by_distance
    ]
    assert {one.score.mean for one in silent.by_distance} == {1.0}
    assert told.by_distance[-1].score.mean == 0.0


def test_a_table_without_recorded_distances_has_no_bins(tmp_path: Path) -> None:
    write_record(tmp_path)
    (row,) = only_table(tmp_path).rows
    assert row.by_distance == ()


def test_a_question_of_unknown_distance_is_in_no_bin(tmp_path: Path) -> None:
    write_record(tmp_path, people=6, distance=lambda field, person: None if field == "major" else 5)
    (row,) = only_table(tmp_path).rows
    assert [(one.low, one.high, one.questions) for one in row.by_distance] == [(5, 5, 24)]
