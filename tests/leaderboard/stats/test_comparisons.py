"""Rows against each other: which one each is compared with, p-values for their number, ranks."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from leaderboard.board.assemble import build_board, load_records
from leaderboard.board.model import Row
from leaderboard.stats.comparisons import Difference
from leaderboard.stats.intervals import Estimate
from tests.leaderboard.factory import Grade, write_record


def rows_of(folder: Path) -> dict[str, Row]:
    (table,) = build_board(load_records(folder)).tables
    return {row.label: row for row in table.rows}


def first_so_many(right: int, development: int = 0) -> Grade:
    """Of the 8 people of either half the first so many are answered right in everything."""
    return lambda field, person, seed: float(person < development if person < 8 else person - 8 < right)


def by_chance(rate: float, stream: int) -> Grade:
    def grade(field: str, person: int, seed: int) -> float:
        return float(np.random.default_rng([stream, seed, person, *field.encode()]).random() < rate)

    return grade


def test_a_method_with_an_alpha_is_compared_with_random_dropout_at_the_same_alpha(tmp_path: Path) -> None:
    for alpha, right, development in ((0.2, 4, 8), (0.6, 2, 1)):
        write_record(
            tmp_path, "random_dropout", grade=first_so_many(right, development), method__parameters={"alpha": alpha}
        )
    write_record(tmp_path, "contrastive_dropout", grade=first_so_many(6), method__parameters={"alpha": 0.6})
    write_record(tmp_path, "eda", grade=first_so_many(6), method__parameters={})
    write_record(tmp_path, "attention_dropout", grade=first_so_many(6), method__parameters={"alpha": 0.4})
    rows = rows_of(tmp_path)
    same, best, other = (rows[name].to_random for name in ("contrastive_dropout α=.6", "eda", "attention_dropout α=.4"))
    assert same and (same.other, same.interval.mean) == ("random_dropout α=.6", 4 / 8)
    assert best and (best.other, best.interval.mean) == ("random_dropout α=.2", 2 / 8)
    assert other and other.other == "random_dropout α=.2"
    assert rows["random_dropout α=.2"].to_random is None and rows["random_dropout α=.6"].to_random is None


def test_of_two_random_dropouts_at_the_same_alpha_the_one_that_reads_about_as_many_tokens_is_taken(
    tmp_path: Path,
) -> None:
    """A pair in common must not decide: at equal α, random dropout deletes more than a method that spares tokens."""
    for rate, tokens, right in ((None, 700, 1), ("as contrastive_dropout", 930, 4)):
        write_record(
            tmp_path,
            "random_dropout",
            grade=first_so_many(right),
            method__parameters={"alpha": 0.6, "rate": rate},
            training__tokens=tokens,
        )
    for name, tokens in (("contrastive_dropout", 940), ("attention_dropout", 900), ("eda_with_alpha", 720)):
        write_record(tmp_path, name, grade=first_so_many(6), method__parameters={"alpha": 0.6}, training__tokens=tokens)
    rows = rows_of(tmp_path)
    found = {label.split()[0]: row.to_random.interval.mean for label, row in rows.items() if row.to_random}
    assert found == {"contrastive_dropout": 2 / 8, "attention_dropout": 2 / 8, "eda_with_alpha": 5 / 8}


def test_without_random_dropout_or_a_shared_seed_there_is_no_comparison(tmp_path: Path) -> None:
    write_record(tmp_path, seed=1)
    write_record(tmp_path, "eda", seed=2)
    rows = rows_of(tmp_path)
    assert rows["eda"].to_random is None and rows["eda"].to_baseline is None
    assert rows["eda"].among_first and rows["plain_matched"].among_first


def test_p_values_are_adjusted_for_the_number_of_rows_compared_with_the_same_row(tmp_path: Path) -> None:
    write_record(tmp_path, grade=by_chance(0.4, 0), people=30)
    for number, rate in enumerate((0.45, 0.55, 0.6), start=1):
        write_record(tmp_path, f"m{number}", grade=by_chance(rate, number), people=30)
    against = [row.to_baseline for row in rows_of(tmp_path).values() if row.to_baseline]
    alone = sorted(difference.p for difference in against if difference.p is not None)
    assert len(set(alone)) == 3
    first, second = min(1, 3 * alone[0]), min(1, 2 * alone[1])
    expected = [first, max(first, second), max(first, second, alone[2])]
    assert sorted(
        difference.p_adjusted for difference in against if difference.p_adjusted is not None
    ) == pytest.approx(expected, abs=1e-8)


def test_the_p_value_is_computed_from_the_answers_of_the_test_half(tmp_path: Path) -> None:
    write_record(tmp_path, grade=by_chance(0.3, 1), people=30)
    write_record(tmp_path, "eda", grade=by_chance(0.5, 2), people=30)
    fields = ("birth_date", "birth_city", "university", "major", "company")
    sums = [[sum(by_chance(*g)(f, p, 1) for f in fields) for p in range(30, 60)] for g in ((0.5, 2), (0.3, 1))]
    difference = rows_of(tmp_path)["eda"].to_baseline
    assert difference and difference.p == pytest.approx(stats.ttest_rel(*sums).pvalue, abs=1e-8)
    assert difference.p_adjusted == difference.p


def test_equal_means_share_a_rank_and_the_next_rank_is_skipped(tmp_path: Path) -> None:
    for name, right in (("a", 5), ("b", 7), ("c", 5), ("d", 2)):
        write_record(tmp_path, name, grade=first_so_many(right))
    assert {label: row.rank for label, row in rows_of(tmp_path).items()} == {"b": 1, "a": 2, "c": 2, "d": 4}


def test_rows_that_do_not_differ_significantly_from_the_first_are_among_the_first(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        for stream, (name, rate) in enumerate((("best", 0.8), ("near", 0.78), ("far", 0.3))):
            write_record(tmp_path, name, seed=seed, grade=by_chance(rate, stream), people=30)
    rows = rows_of(tmp_path)
    assert {label: row.among_first for label, row in rows.items()} == {"best": True, "near": True, "far": False}


@pytest.mark.parametrize(
    ("mean", "p", "verdict"),
    [(0.1, 0.049, "above"), (-0.1, 0.049, "below"), (0.1, 0.05, None), (0.1, None, None), (0.0, 0.001, None)],
)
def test_the_verdict_uses_the_adjusted_p_value(mean: float, p: float | None, verdict: str | None) -> None:
    made = Difference(other="x", interval=Estimate(mean, -1, 1), seeds=(1,), p=0.001, p_adjusted=p)
    assert made.verdict == verdict
