import itertools

import numpy as np
import pytest
from scipy import stats

from leaderboard.stats import intervals as statistics
from leaderboard.stats.intervals import mean_interval, paired_difference, resampled_deviations
from leaderboard.stats.variance import effects


def half_width(values: np.ndarray, **options: object) -> float:
    found = mean_interval(values, **options)  # type: ignore[arg-type]
    return (found.high - found.low) / 2


def test_the_mean_weights_all_questions_equally_whatever_their_subject() -> None:
    # Subject one: 3 of 4 right, subject two: 0 of 1; 3 of 5 in all, where the mean of means would be .375.
    assert mean_interval([[3, 0]], [[4, 1]]).mean == 0.6


def test_a_subject_without_questions_changes_nothing() -> None:
    assert mean_interval([[3, 0, 2]], [[4, 0, 2]]) == mean_interval([[3, 2]], [[4, 2]])


@pytest.mark.parametrize("subjects", [1, 8, 50])
def test_all_wrong_or_all_right_gives_the_exact_binomial_bound_over_subjects(subjects: int) -> None:
    exact = stats.binomtest(0, subjects).proportion_ci(method="exact").high
    wrong, right = mean_interval(np.zeros((3, subjects)), 5), mean_interval(np.full((3, subjects), 5), 5)
    assert (wrong.mean, wrong.low, right.mean, right.high) == (0, 0, 1, 1)
    assert (wrong.high, right.low) == pytest.approx((exact, 1 - exact), abs=1e-8)


def test_equal_values_between_the_bounds_have_an_interval_to_both_sides() -> None:
    few = stats.binomtest(0, 7).proportion_ci(method="exact").high
    found = mean_interval(np.full((3, 7), 0.25 * 3), 3)
    assert (found.low, found.high) == pytest.approx((0.25 * (1 - few), 0.25 + 0.75 * few), abs=1e-8)


def test_equal_values_without_bounds_give_an_interval_without_width() -> None:
    found = mean_interval(np.full((3, 7), 2.5), bounds=None)
    assert (found.mean, found.low, found.high) == (2.5, 2.5, 2.5)


def test_draws_follow_the_distribution_of_all_resamples_with_one_seed_and_subject_fewer() -> None:
    totals = np.array([[1.0, 0, 2], [3, 1, 0], [2, 2, 2]])
    mean = totals.mean()
    every = [
        totals[list(seeds)].mean() - mean + totals[:, list(subjects)].mean() - mean
        for seeds in itertools.product(range(3), repeat=2)
        for subjects in itertools.product(range(3), repeat=2)
    ]
    draws = resampled_deviations(effects(totals), draws=100_000)
    assert draws.mean() == pytest.approx(0, abs=0.005)
    assert draws.std() == pytest.approx(np.std(every), abs=0.005)
    assert set(np.round(draws, 9) + 0.0) == set(np.round(every, 9) + 0.0)


def test_draws_over_subjects_have_the_unbiased_variance_of_a_mean() -> None:
    values = np.random.default_rng(2).normal(size=6)
    draws = resampled_deviations(effects(values[None]), draws=100_000)
    assert draws.std() == pytest.approx(stats.sem(values), rel=0.01)


@pytest.mark.parametrize(("size", "axis"), [(60, 0), (60, 1), (4, 0), (2, 0)])
def test_with_one_seed_or_subject_the_interval_agrees_with_student_s_interval_of_scipy(size: int, axis: int) -> None:
    values = np.random.default_rng(3).normal(size=size)
    theirs = stats.ttest_1samp(values, 0).confidence_interval()
    ours = half_width(np.expand_dims(values, axis), bounds=None, draws=20_000)
    # The bootstrap's own quantile differs from the normal one by a few percent.
    assert ours == pytest.approx((theirs.high - theirs.low) / 2, rel=0.06)


def test_the_interval_over_few_seeds_is_never_narrower_than_student_s() -> None:
    """Two seeds have but two resamples: their quantile, one standard deviation, is not to be believed."""
    theirs = stats.ttest_1samp([1.0, 2.0], 0).confidence_interval()
    ours = mean_interval([[1.0], [2.0]], bounds=None)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_a_paired_interval_agrees_with_that_of_scipy_s_paired_t_test() -> None:
    rng = np.random.default_rng(4)
    a, b = 0.01 * (rng.normal(size=(2, 50)) + rng.normal(size=50))
    theirs = stats.ttest_rel(a, b).confidence_interval()
    ours = paired_difference(a[None], b[None], draws=20_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.0003)


def test_pairing_cancels_what_makes_a_subject_hard_for_both() -> None:
    hard = np.random.default_rng(5).normal(size=(3, 40))
    gap = paired_difference(hard + 0.5, hard, bounds=None)
    assert (gap.mean, gap.low, gap.high) == (0.5, 0.5, 0.5)


def test_seeds_that_differ_widen_the_interval() -> None:
    subjects = np.random.default_rng(6).normal(size=40)
    shifts = (-1, -0.5, 0, 0.5, 1)
    assert half_width(np.stack([subjects + shift for shift in shifts]), bounds=None) > 1.5 * half_width(
        np.stack([subjects] * 5), bounds=None
    )


@pytest.mark.parametrize("rate", [0.02, 0.5, 0.98])
def test_the_ends_stay_within_the_bounds_however_different_two_seeds_are(rate: float) -> None:
    right = np.random.default_rng(7).binomial(5, [[rate] * 20, [rate / 3] * 20]).astype(float)
    found = mean_interval(right, 5)
    assert 0 <= found.low < found.mean < found.high <= 1


def test_the_interval_of_wrong_answers_mirrors_that_of_right_answers() -> None:
    right = np.random.default_rng(8).binomial(5, 0.2, size=(3, 30)).astype(float)
    one, other = mean_interval(right, 5), mean_interval(5 - right, 5)
    assert (1 - one.high, 1 - one.low) == pytest.approx((other.low, other.high), abs=1e-8)
    assert one.high - one.mean > one.mean - one.low


def test_equal_tables_give_equal_intervals_and_another_random_stream_gives_another() -> None:
    values = np.zeros((3, 40))
    values[:, 0] = 1  # one subject alone: draws with heavy tails, which widen the interval
    assert mean_interval(values) == mean_interval(values.copy())
    assert mean_interval(values) != mean_interval(values, seed=1)


@pytest.mark.parametrize("block", [1, 100, 10**9])
def test_drawing_in_blocks_does_not_change_the_deviations(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Against the bootstrap written out, all subjects' numbers drawn at once."""
    monkeypatch.setattr(statistics, "BLOCK", block)
    statistics._resamples.cache_clear()
    totals = np.random.default_rng(9).integers(0, 6, size=(3, 23))
    seeds = np.random.default_rng([4, 0, 3]).integers(3, size=(50, 2))
    subjects = np.random.default_rng([4, 1, 23]).integers(23, size=(50, 22))
    expected = [
        (totals[s].mean() + totals[:, c].mean() - 2 * totals.mean()) / 5 for s, c in zip(seeds, subjects, strict=True)
    ]
    assert resampled_deviations(effects(totals, 5), draws=50, seed=4) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    statistics._resamples.cache_clear()


@pytest.mark.parametrize("totals", [[1.0, 2.0], [[[1.0]]]])
def test_a_table_with_other_than_two_dimensions_is_refused(totals: list[object]) -> None:
    with pytest.raises(ValueError, match=r"expected a table \[seeds, subjects\]"):
        mean_interval(np.array(totals))


def test_a_table_without_questions_is_refused() -> None:
    with pytest.raises(ValueError, match="no question"):
        mean_interval([[0.0, 0.0]], 0)


def test_a_mean_outside_its_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="a mean of 1.5 is not between 0 and 1"):
        mean_interval([[1.0, 2.0]])


def test_tables_of_different_shapes_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="one shape"):
        paired_difference([[1.0, 2.0]], [[1.0]])
