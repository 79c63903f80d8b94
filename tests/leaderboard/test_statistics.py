import itertools
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from leaderboard import statistics
from leaderboard.statistics import mean_interval, paired_difference, resampled_means


def test_the_mean_counts_every_question_once_however_they_spread_over_subjects() -> None:
    # Subject one: 3 of 4 right, subject two: 0 of 1; 3 of 5 in all, where the mean of means would be .375.
    assert mean_interval([[3, 0]], [[4, 1]]).mean == 0.6


def test_a_subject_without_questions_changes_nothing() -> None:
    assert mean_interval([[3, 0, 2]], [[4, 0, 2]]) == mean_interval([[3, 2]], [[4, 2]])


def test_equal_values_give_an_interval_without_width() -> None:
    assert mean_interval(np.full((3, 7), 0.25)) == mean_interval([[0.25]])


def test_two_subjects_and_one_seed_give_the_three_means_that_can_be_drawn() -> None:
    means = resampled_means([[0, 1]], draws=40_000)
    values, times = np.unique(means, return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert times / 40_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.01)


def test_draws_follow_the_distribution_over_all_pairs_of_resampled_seeds_and_subjects() -> None:
    totals, counts = np.array([[1.0, 0, 2], [3, 1, 0]]), np.array([[2.0, 1, 3], [3, 1, 1]])
    every = [
        totals[np.ix_(seeds, subjects)].sum() / counts[np.ix_(seeds, subjects)].sum()
        for seeds in itertools.product(range(2), repeat=2)
        for subjects in itertools.product(range(3), repeat=3)
    ]
    draws = resampled_means(totals, counts, draws=100_000)
    assert draws.mean() == pytest.approx(np.mean(every), abs=0.003)
    assert draws.std() == pytest.approx(np.std(every), abs=0.003)
    assert set(np.round(draws, 9)) == set(np.round(every, 9))


def test_one_seed_agrees_with_the_percentile_bootstrap_of_scipy() -> None:
    values = np.random.default_rng(3).normal(size=60)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=50_000, rng=1).confidence_interval
    ours = mean_interval(values[None], draws=50_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.006)


def test_a_pair_agrees_with_the_paired_percentile_bootstrap_of_scipy() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 50)) + rng.normal(size=50)
    theirs = stats.bootstrap(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        paired=True,
        method="percentile",
        n_resamples=50_000,
        rng=1,
    ).confidence_interval
    ours = paired_difference(a[None], b[None], draws=50_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_pairing_cancels_what_makes_a_subject_hard_for_both() -> None:
    hard = np.random.default_rng(5).normal(size=(3, 40))
    gap = paired_difference(hard + 0.5, hard)
    assert (gap.mean, gap.low, gap.high) == (0.5, 0.5, 0.5)


def test_seeds_that_differ_widen_the_interval() -> None:
    subjects = np.random.default_rng(6).normal(size=40)
    alike = mean_interval(np.stack([subjects] * 5))
    unlike = mean_interval(np.stack([subjects + shift for shift in (-1, -0.5, 0, 0.5, 1)]))
    assert unlike.high - unlike.low > 1.5 * (alike.high - alike.low)


def test_the_same_table_gives_the_same_interval_and_another_random_stream_another() -> None:
    values = np.random.default_rng(7).normal(size=(3, 20))
    assert mean_interval(values) == mean_interval(values.copy())
    assert mean_interval(values) != mean_interval(values, seed=1)


@pytest.mark.parametrize("block", [1, 100, 10**9])
def test_drawing_a_block_at_a_time_changes_no_mean(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Against the bootstrap written out, all subjects' numbers drawn at once."""
    monkeypatch.setattr(statistics, "BLOCK", block)
    statistics._resamples.cache_clear()
    totals = np.random.default_rng(9).integers(0, 6, size=(3, 23))
    seeds = np.random.default_rng([4, 0, 3]).integers(3, size=(50, 3))
    subjects = np.random.default_rng([4, 1, 23]).integers(23, size=(50, 23))
    expected = [totals[np.ix_(s, c)].sum() / (5 * 3 * 23) for s, c in zip(seeds, subjects, strict=True)]
    assert resampled_means(totals, 5, draws=50, seed=4) == pytest.approx(expected, rel=1e-12)
    statistics._resamples.cache_clear()


@pytest.mark.parametrize("totals", [[1.0, 2.0], [[[1.0]]]])
def test_a_table_of_another_shape_is_refused(totals: list[object]) -> None:
    with pytest.raises(ValueError, match=r"expected a table \[seeds, subjects\]"):
        mean_interval(np.array(totals))


def test_a_table_without_questions_is_refused() -> None:
    with pytest.raises(ValueError, match="no question"):
        mean_interval([[0.0, 0.0]], 0)


def test_tables_of_different_shape_are_no_pair() -> None:
    with pytest.raises(ValueError, match="one shape"):
        paired_difference([[1.0, 2.0]], [[1.0]])


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "spread", "least"), [(5, 0.1, 0.93), (5, 0.4, 0.90), (3, 0.1, 0.92), (2, 0.4, 0.80)])
def test_intervals_hold_the_true_mean_about_as_often_as_they_say(seeds: int, spread: float, least: float) -> None:
    """Value = seed effect + subject effect + chance, true mean 0. Two seeds far apart are known to fall short."""
    rng = np.random.default_rng(8)
    runs, held = 600, 0
    for run in range(runs):
        values = spread * rng.normal(size=(seeds, 1)) + rng.normal(size=(1, 50)) + rng.normal(size=(seeds, 50))
        interval = mean_interval(values, draws=1000, seed=run)
        held += interval.low <= 0 <= interval.high
    slack = 2 * sqrt(0.05 * 0.95 / runs)
    assert least - slack <= held / runs <= 0.99
